//! Whether a record is seen by everybody: each authoritative server of its zone is asked, and a resolver that checks
//! signatures, as CAs do.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::task::JoinSet;

use crate::model::{DomainProof, Timestamp, ValidationPolicy};
use crate::validation::ValidationError;
use crate::validation::dns::ask::{NoAnswer, ask};
use crate::validation::dns::find::{Place, Resolvers, Server};
use crate::validation::dns::name;
use crate::validation::dns::update::MOST_ALIASES;
use crate::validation::dns::wire::{Data, Message, Rcode, flag, kind};
use crate::validation::sighting::{Gap, Lack};

/// What is missing of a record; nothing where all see it.
pub(in crate::validation) async fn record(
    policy: &ValidationPolicy,
    proof: &DomainProof,
    now: i64,
) -> Result<Vec<Gap>, ValidationError> {
    let resolvers = Resolvers::of(policy)?;
    let wanted = Wanted::of(proof);
    let mut at = name::plain(&proof.place);
    for _ in 0..MOST_ALIASES {
        let look = Look {
            resolvers: &resolvers,
            wanted: &wanted,
            place: &proof.place,
            now,
        };
        match look.at(&at).await? {
            Seen::Gaps(gaps) => return Ok(gaps),
            Seen::Elsewhere(next) => at = next,
        }
    }
    Ok(vec![Gap {
        place: proof.place.clone(),
        server: String::new(),
        lack: Lack::NoZone("aliases (CNAME) lead from one to the next without end".to_owned()),
    }])
}

/// What is to be found.
#[derive(Clone)]
struct Wanted {
    kind: u16,
    value: String,
}

impl Wanted {
    fn of(proof: &DomainProof) -> Self {
        if proof.record_type.eq_ignore_ascii_case("CNAME") {
            Self {
                kind: kind::CNAME,
                value: name::plain(&proof.value),
            }
        } else {
            Self {
                kind: kind::TXT,
                value: proof.value.clone(),
            }
        }
    }

    /// The values of this type at a name.
    fn values(&self, answer: &Message, name: &str) -> Vec<String> {
        let records = answer.answers.iter().filter(|record| record.name == name);
        let values = records.filter_map(|record| match (&record.data, self.kind) {
            (Data::Text(text), kind::TXT) => Some(text.clone()),
            (Data::Alias(name), kind::CNAME) => Some(name.clone()),
            _ => None,
        });
        values.collect()
    }
}

enum Seen {
    Gaps(Vec<Gap>),
    /// An alias leads there.
    Elsewhere(String),
}

struct Look<'a> {
    resolvers: &'a Resolvers,
    wanted: &'a Wanted,
    place: &'a str,
    now: i64,
}

impl Look<'_> {
    async fn at(&self, name: &str) -> Result<Seen, ValidationError> {
        let zone = match self.resolvers.place(name).await? {
            Place::Zone(zone) => zone,
            Place::Bogus => {
                return Ok(Seen::Gaps(vec![self.gap("", Lack::Dnssec(refused(name)))]));
            }
        };
        if !zone.contains('.') && zone != name {
            let why = format!(
                "no zone holds it: the nearest one that is there is {}; is the domain registered and delegated?",
                if zone.is_empty() { "the root" } else { &zone }
            );
            return Ok(Seen::Gaps(vec![self.gap("", Lack::NoZone(why))]));
        }
        let asked = Arc::new(Asked {
            wanted: self.wanted.clone(),
            name: name.to_owned(),
            signed: self.is_signed(&zone).await?,
            now: self.now,
        });
        // All at once: several that do not answer take no longer than one.
        let mut looks = JoinSet::new();
        for server in self.resolvers.servers(&zone).await? {
            let asked = Arc::clone(&asked);
            looks.spawn(async move { asked.server(&server).await });
        }
        let mut gaps = Vec::new();
        let mut elsewhere = None;
        for found in looks.join_all().await {
            match found {
                Ok(()) => {}
                Err(Found::Alias(next)) => elsewhere = Some(next),
                Err(Found::Lack(who, lack)) => gaps.push(self.gap(&who, lack)),
            }
        }
        gaps.sort_by(|one, other| one.server.cmp(&other.server));
        if let Some(next) = elsewhere.filter(|_| gaps.is_empty()) {
            return Ok(Seen::Elsewhere(next));
        }
        // Only now: a resolver that is asked too early remembers that there was nothing.
        if gaps.is_empty() && self.is_bogus(name).await? {
            gaps.push(self.gap("", Lack::Dnssec(refused(name))));
        }
        Ok(Seen::Gaps(gaps))
    }

    fn gap(&self, server: &str, lack: Lack) -> Gap {
        Gap {
            place: self.place.to_owned(),
            server: server.to_owned(),
            lack,
        }
    }

    /// Whether the zone above says that this one is signed (RFC 4035 §5.2).
    async fn is_signed(&self, zone: &str) -> Result<bool, ValidationError> {
        let answer = self.resolvers.ask(zone, kind::DS, true).await?;
        let mut records = answer.answers.iter();
        Ok(records.any(|record| record.kind == kind::DS && record.name == zone))
    }

    /// Whether a resolver refuses what it would answer without a look at the signatures.
    async fn is_bogus(&self, name: &str) -> Result<bool, ValidationError> {
        let answer = self.resolvers.ask(name, self.wanted.kind, true).await?;
        Ok(answer.rcode() == Rcode::SERVER_FAILURE
            && self
                .resolvers
                .answers_unchecked(name, self.wanted.kind)
                .await)
    }
}

/// One question, for every server of a zone.
struct Asked {
    wanted: Wanted,
    name: String,
    /// Whether its answer must have a signature.
    signed: bool,
    now: i64,
}

impl Asked {
    /// Whether one server has it. Any of its addresses may answer: hosts have IPv6 or not.
    async fn server(&self, server: &Server) -> Result<(), Found> {
        if server.addresses.is_empty() {
            let why = "it has no address".to_owned();
            return Err(Found::Lack(server.name.clone(), Lack::Silent(why)));
        }
        let (mut answered, mut silent) = (false, None);
        for address in &server.addresses {
            let who = format!("{} ({})", server.name, shown(*address));
            let lack = match ask(*address, &self.name, self.wanted.kind, 0).await {
                Ok(answer) => match self.judge(&answer) {
                    None => {
                        answered = true;
                        continue;
                    }
                    Some(Judged::Alias(next)) => return Err(Found::Alias(next)),
                    Some(Judged::Lack(lack)) => return Err(Found::Lack(who, lack)),
                },
                Err(NoAnswer::Silence(_)) => Lack::Silent("no answer".to_owned()),
                Err(NoAnswer::Network(_, why)) => Lack::Silent(why),
                Err(NoAnswer::Malformed(_)) => Lack::Refused("nonsense".to_owned()),
                Err(NoAnswer::Name) => Lack::NoZone(NoAnswer::Name.to_string()),
            };
            silent = Some(Found::Lack(who, lack));
        }
        match silent {
            Some(found) if !answered => Err(found),
            _ => Ok(()),
        }
    }

    fn judge(&self, answer: &Message) -> Option<Judged> {
        match answer.rcode() {
            Rcode::NO_ERROR | Rcode::NO_SUCH_NAME => {}
            Rcode::REFUSED => return Some(Judged::Lack(Lack::Lame)),
            other => return Some(Judged::Lack(Lack::Refused(other.to_string()))),
        }
        if !answer.has(flag::AUTHORITATIVE) {
            return Some(Judged::Lack(Lack::Lame));
        }
        let values = self.wanted.values(answer, &self.name);
        if !values.contains(&self.wanted.value) {
            let alias = answer.answers.iter().find_map(|record| match &record.data {
                Data::Alias(next)
                    if record.name == self.name && self.wanted.kind != kind::CNAME =>
                {
                    Some(next.clone())
                }
                _ => None,
            });
            return Some(match alias {
                Some(next) => Judged::Alias(next),
                None if values.is_empty() => Judged::Lack(Lack::Absent),
                None => Judged::Lack(Lack::Other(values)),
            });
        }
        if self.signed {
            self.unsigned(answer)
        } else {
            None
        }
    }

    /// What is wrong with the signatures of a record in a zone that must have them, as far as it is seen without keys: the
    /// rest is a validating resolver's.
    fn unsigned(&self, answer: &Message) -> Option<Judged> {
        let mut signatures = answer
            .answers
            .iter()
            .filter_map(|record| match record.data {
                Data::Signature {
                    covered,
                    inception,
                    expiration,
                } if record.name == self.name && covered == self.wanted.kind => {
                    Some((inception, expiration))
                }
                _ => None,
            });
        let Some(first) = signatures.next() else {
            let why = "the zone above has a DS record, and the record comes without a signature";
            return Some(Judged::Lack(Lack::Dnssec(why.to_owned())));
        };
        let mut all = std::iter::once(first).chain(signatures);
        // Serial numbers (RFC 4034 §3.1.5), but nobody signs for half a century.
        let good = |(from, until): (u32, u32)| {
            i64::from(from) <= self.now + CLOCKS && self.now <= i64::from(until) + CLOCKS
        };
        if all.any(good) {
            return None;
        }
        let (from, until) = first;
        let why = if self.now > i64::from(until) {
            format!("the record's signature ended {}", moment(until))
        } else {
            format!("the record's signature begins only {}", moment(from))
        };
        Some(Judged::Lack(Lack::Dnssec(why)))
    }
}

enum Found {
    Alias(String),
    Lack(String, Lack),
}

enum Judged {
    Alias(String),
    Lack(Lack),
}

fn refused(name: &str) -> String {
    format!(
        "a validating resolver refuses {name} (SERVFAIL) and answers when it is told not to check signatures"
    )
}

fn shown(address: SocketAddr) -> String {
    if address.port() == 53 {
        address.ip().to_string()
    } else {
        address.to_string()
    }
}

fn moment(seconds: u32) -> String {
    Timestamp(i64::from(seconds)).to_string()
}

/// Seconds by which clocks differ.
const CLOCKS: i64 = 60;
