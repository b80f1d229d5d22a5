//! Records of a zone, changed by dynamic update (RFC 2136) signed with TSIG.
//!
//! One update changes one record and leaves others of its name alone: two certificates may be proven at one name. Doing it
//! twice does no harm. Where the name is an alias, the record it leads to is changed.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::time::timeout;

use crate::model::{DomainProof, ErrorClass, ValidationPolicy};
use crate::validation::ValidationError;
use crate::validation::dns::ask::{NoAnswer, ask, exchange, random_id};
use crate::validation::dns::find::{Resolvers, zone_of};
use crate::validation::dns::name;
use crate::validation::dns::tsig::{Trouble, TsigKey, Verdict};
use crate::validation::dns::wire::{self, Change, Data, Message, Rcode, flag, kind};

/// What is to become of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::validation) enum Changed {
    /// It is there, with this time to live in seconds.
    Added(u32),
    /// It is not there.
    Deleted,
}

/// The primary server of a zone and how it recognises us.
pub(in crate::validation) struct Primary<'a> {
    pub(in crate::validation) server: &'a str,
    pub(in crate::validation) zone: Option<&'a str>,
    pub(in crate::validation) key_name: &'a str,
    pub(in crate::validation) key: TsigKey,
    /// Whom to ask for aliases that the server does not serve.
    pub(in crate::validation) policy: &'a ValidationPolicy,
}

/// Changes the record of a proof at the primary server.
pub(in crate::validation) async fn change(
    primary: &Primary<'_>,
    proof: &DomainProof,
    wanted: Changed,
    now: u64,
) -> Result<(), ValidationError> {
    let place = name::plain(&proof.place);
    let what = match wanted {
        Changed::Added(_) => format!("adding the record {place} at {}", primary.server),
        Changed::Deleted => format!("taking the record {place} away at {}", primary.server),
    };
    let done = async {
        let server = address(primary.server).await?;
        // An alias that is asked for stands at its place itself.
        let owner = match data(proof) {
            Some((kind::CNAME, _)) | None => place.clone(),
            Some(_) => followed(primary, server, &place).await?,
        };
        let zone = primary.zone.map(name::plain);
        let zone = zone.filter(|zone| owner == place || name::is_within(&owner, zone));
        let changed = async {
            let zone = match zone {
                Some(zone) => zone,
                None => zone_at(server, &owner).await?,
            };
            update(primary, server, &zone, &owner, proof, wanted, now).await?;
            match wanted {
                Changed::Added(_) => read_back(server, &owner, proof).await,
                Changed::Deleted => Ok(()),
            }
        };
        changed.await.map_err(|error| match owner == place {
            true => error,
            false => error.of(&format!(
                "the name is an alias (CNAME) of {owner}, and that cannot be changed; take the alias away, let the key change that name at this server, or prove by a `command`"
            )),
        })
    };
    done.await.map_err(|error| error.of(&what))
}

/// Where a record belongs so that a CA finds it at `place`: behind every alias (RFC 1034 §3.6.2). The primary server is
/// asked for what it serves, as it knows of a change before any resolver; for all else resolvers are.
async fn followed(
    primary: &Primary<'_>,
    server: SocketAddr,
    place: &str,
) -> Result<String, ValidationError> {
    let mut at = place.to_owned();
    for _ in 0..MOST_ALIASES {
        let own = ask(server, &at, kind::CNAME, 0).await.map_err(unasked)?;
        let answer = if own.has(flag::AUTHORITATIVE) {
            own
        } else {
            let resolvers = Resolvers::of(primary.policy)?;
            resolvers.ask(&at, kind::CNAME, true).await?
        };
        let next = answer.answers.iter().find_map(|record| match &record.data {
            Data::Alias(to) if record.name == at => Some(to.clone()),
            _ => None,
        });
        match next {
            Some(next) => at = next,
            None => return Ok(at),
        }
    }
    Err(ValidationError::configuration(
        "aliases (CNAME) lead from one to the next without end",
    ))
}

async fn address(server: &str) -> Result<SocketAddr, ValidationError> {
    let failed = |why: String| ValidationError::transient(format!("{why}; check `server`"));
    let found = timeout(LOOKING_UP, lookup_host(server)).await;
    let mut found = found
        .map_err(|_| failed("its address was not found in time".to_owned()))?
        .map_err(|error| failed(error.to_string()))?;
    found
        .next()
        .ok_or_else(|| failed("it has no address".to_owned()))
}

/// The zone of a name, as the server that is to change it says.
async fn zone_at(server: SocketAddr, owner: &str) -> Result<String, ValidationError> {
    let mut last = Rcode::NO_SUCH_NAME;
    for at in name::upwards(owner) {
        let answer = ask(server, at, kind::SOA, 0).await.map_err(unasked)?;
        if let Some(zone) = zone_of(&answer, at).filter(|zone| !zone.is_empty()) {
            return Ok(zone);
        }
        last = answer.rcode();
    }
    Err(ValidationError::configuration(format!(
        "the server does not say which zone that is in ({last}); set `zone`, and let it answer questions of this host"
    )))
}

fn unasked(error: NoAnswer) -> ValidationError {
    let class = match error {
        NoAnswer::Name => ErrorClass::Rejected,
        NoAnswer::Silence(_) | NoAnswer::Network(..) | NoAnswer::Malformed(_) => {
            ErrorClass::Transient
        }
    };
    ValidationError::new(class, error.to_string())
}

async fn update(
    primary: &Primary<'_>,
    server: SocketAddr,
    zone: &str,
    owner: &str,
    proof: &DomainProof,
    wanted: Changed,
    now: u64,
) -> Result<(), ValidationError> {
    let bad_name = || {
        let message = "it is no name that a record can have";
        ValidationError::new(ErrorClass::Rejected, message)
    };
    let (kind, data) = data(proof).ok_or_else(bad_name)?;
    let change = match wanted {
        Changed::Added(ttl) => Change::Add { ttl },
        Changed::Deleted => Change::Delete,
    };
    let id = random_id();
    let message = wire::update(id, zone, owner, kind, &data, change);
    let mut message = message.ok_or_else(bad_name)?;
    let mac = primary.key.sign(&mut message, now);
    let bytes = exchange(server, &message).await.map_err(unasked)?;
    let answer = Message::parse(&bytes)
        .filter(|answer| answer.id == id && answer.has(flag::RESPONSE))
        .ok_or_else(|| unasked(NoAnswer::Malformed(server)))?;
    let key = primary.key_name;
    match primary.key.verify(&bytes, &mac, now) {
        Verdict::Good => {}
        Verdict::Time { there } => {
            let there = there.map_or(String::new(), |there| {
                let ahead = i128::from(there) - i128::from(now);
                format!(" by {ahead} s")
            });
            return Err(ValidationError::configuration(format!(
                "the server's clock differs from ours{there}; set both right"
            )));
        }
        Verdict::Unsigned(Some(trouble)) => {
            let why = match trouble {
                Trouble::Key => format!(
                    "the server does not know the key {key} (BADKEY); check `key_name` and `algorithm`"
                ),
                Trouble::Signature => format!(
                    "the server does not accept the signature of the key {key} (BADSIG); check `key`"
                ),
                Trouble::Other(code) => {
                    format!("the server refuses the signature of the key {key} (error {code})")
                }
            };
            return Err(ValidationError::new(ErrorClass::Authentication, why));
        }
        // A refusal need not be signed; that something was done must be.
        Verdict::Unsigned(None) if answer.rcode() != Rcode::NO_ERROR => {}
        Verdict::Unsigned(None) => {
            let why = "the server's answer is not signed: somebody else may have written it";
            return Err(ValidationError::new(ErrorClass::Authentication, why));
        }
        Verdict::Bad(why) => {
            let why = format!("the server's answer is not to be trusted: {why}");
            return Err(ValidationError::new(ErrorClass::Authentication, why));
        }
    }
    refusal(answer.rcode(), zone, key)
}

fn refusal(rcode: Rcode, zone: &str, key: &str) -> Result<(), ValidationError> {
    Err(match rcode {
        Rcode::NO_ERROR => return Ok(()),
        Rcode::REFUSED => ValidationError::new(
            ErrorClass::Authentication,
            format!(
                "the server refuses the update of the zone {zone} (REFUSED); let the key {key} change TXT records there (BIND: `update-policy`)"
            ),
        ),
        Rcode::NOT_AUTHORITATIVE if rcode.is_about_the_signature() => {
            ValidationError::configuration(format!(
                "the server answers NOTAUTH: it does not serve the zone {zone}, or does not know the key {key}"
            ))
        }
        Rcode::NOT_IN_ZONE => ValidationError::configuration(format!(
            "the name is not in the zone {zone} (NOTZONE); correct `zone`"
        )),
        Rcode::NOT_IMPLEMENTED => ValidationError::configuration(
            "the server takes no dynamic updates (NOTIMP); set `server` to one that does",
        ),
        other => ValidationError::transient(format!("the server answers {other}")),
    })
}

/// A server passes over a record that does not go beside an alias, and says nothing (RFC 2136 §3.4.2.2).
async fn read_back(
    server: SocketAddr,
    owner: &str,
    proof: &DomainProof,
) -> Result<(), ValidationError> {
    let Some((kind, _)) = data(proof) else {
        return Ok(());
    };
    let answer = ask(server, owner, kind, 0).await.map_err(unasked)?;
    let mut here = answer.answers.iter().filter(|record| record.name == owner);
    let there = here.clone().any(|record| match &record.data {
        Data::Text(text) => *text == proof.value,
        Data::Alias(to) => kind == kind::CNAME && *to == name::plain(&proof.value),
        _ => false,
    });
    if there || answer.rcode() == Rcode::REFUSED {
        // One that does not answer us is asked by its zone's servers' names later.
        return Ok(());
    }
    let alias = here.find_map(|record| match &record.data {
        Data::Alias(to) => Some(to.clone()),
        _ => None,
    });
    Err(match alias {
        Some(to) => ValidationError::configuration(format!(
            "the name is an alias (CNAME) of {to}, beside which nothing can be; take the alias away, or let records of {to} be changed by a `command`"
        )),
        None => ValidationError::transient(
            "the server took the update, and does not show the record".to_owned(),
        ),
    })
}

/// Type and data of a proof's record.
fn data(proof: &DomainProof) -> Option<(u16, Vec<u8>)> {
    if proof.record_type.eq_ignore_ascii_case("CNAME") {
        let mut data = Vec::new();
        name::write(&name::plain(&proof.value), &mut data)?;
        Some((kind::CNAME, data))
    } else {
        Some((kind::TXT, wire::text(&proof.value)))
    }
}

/// Aliases in a row.
pub(super) const MOST_ALIASES: usize = 8;
/// For the address of the server.
const LOOKING_UP: Duration = Duration::from_secs(10);
