//! Where a name is served: its zone, the zone's servers, their addresses, as resolvers say.

use std::net::{IpAddr, SocketAddr};

use crate::model::{ErrorClass, ValidationPolicy};
use crate::validation::ValidationError;
use crate::validation::dns::ask::{NoAnswer, ask, resolvers_of_host};
use crate::validation::dns::name;
use crate::validation::dns::wire::{Data, Message, Rcode, flag, kind};

/// Whom to ask.
pub(in crate::validation) struct Resolvers {
    addresses: Vec<SocketAddr>,
    /// Where authoritative servers listen.
    pub(super) port: u16,
}

/// A server of a zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Server {
    pub(super) name: String,
    pub(super) addresses: Vec<SocketAddr>,
}

/// What is known of a name's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// In this zone.
    Zone(String),
    /// The resolver refuses to answer, and would answer if it did not check signatures.
    Bogus,
}

impl Resolvers {
    /// Those of the policy, or the system's.
    ///
    /// # Errors
    /// `Configuration` where there is none.
    pub(in crate::validation) fn of(policy: &ValidationPolicy) -> Result<Self, ValidationError> {
        let given: Vec<SocketAddr> = policy
            .resolvers
            .iter()
            .filter_map(|text| text.parse().ok())
            .collect();
        let addresses = if policy.resolvers.is_empty() {
            resolvers_of_host()
        } else {
            given
        };
        if addresses.is_empty() {
            return Err(ValidationError::configuration(
                "there is no resolver to ask: /etc/resolv.conf names none; set `resolvers`",
            ));
        }
        Ok(Self {
            addresses,
            port: policy.ports.dns,
        })
    }

    /// The first answer of a resolver that has one.
    ///
    /// # Errors
    /// Where none of them answers.
    pub(super) async fn ask(
        &self,
        name: &str,
        kind: u16,
        checking: bool,
    ) -> Result<Message, ValidationError> {
        let mut flags = flag::RECURSION_DESIRED;
        if !checking {
            flags |= flag::CHECKING_DISABLED;
        }
        let mut last = None;
        for server in &self.addresses {
            match ask(*server, name, kind, flags).await {
                Ok(answer) if usable(answer.rcode()) => return Ok(answer),
                Ok(answer) => last = Some(Err(answer)),
                Err(NoAnswer::Name) => {
                    let message = format!("{name}: {}", NoAnswer::Name);
                    return Err(ValidationError::new(ErrorClass::Rejected, message));
                }
                Err(error) => last = last.or(Some(Ok(error))),
            }
        }
        match last {
            // What is no answer for good is for whoever asked.
            Some(Err(answer)) => Ok(answer),
            Some(Ok(error)) => Err(ValidationError::transient(format!(
                "looking for {name}: the resolver {error}; check the network or `resolvers`"
            ))),
            None => Err(ValidationError::configuration("there is no resolver")),
        }
    }

    /// The zone that a name is in. Asked by the one type that no resolver follows an alias for: where that leads, or
    /// whether anybody answers there, says nothing about the name.
    pub(super) async fn place(&self, name: &str) -> Result<Place, ValidationError> {
        let mut last = Rcode::NO_ERROR;
        for at in name::upwards(name) {
            let answer = self.ask(at, kind::CNAME, true).await?;
            if let Some(zone) = zone_of(&answer, at) {
                return Ok(Place::Zone(zone));
            }
            if answer.rcode() == Rcode::SERVER_FAILURE
                && self.answers_unchecked(at, kind::CNAME).await
            {
                return Ok(Place::Bogus);
            }
            last = answer.rcode();
            // An alias hides the zone that it stands in; the name above it shows it.
            if !usable(last) {
                break;
            }
        }
        Err(ValidationError::transient(format!(
            "looking for the zone of {name}: the resolver answered {last}; the zone's servers may be down"
        )))
    }

    /// Whether a resolver that failed answers where it is asked not to check signatures.
    pub(super) async fn answers_unchecked(&self, name: &str, kind: u16) -> bool {
        let answer = self.ask(name, kind, false).await;
        answer.is_ok_and(|answer| usable(answer.rcode()))
    }

    /// The servers of a zone with their addresses, in the order of their names.
    pub(super) async fn servers(&self, zone: &str) -> Result<Vec<Server>, ValidationError> {
        let answer = self.ask(zone, kind::NS, true).await?;
        let mut names: Vec<String> = answer
            .answers
            .iter()
            .filter(|record| record.name == zone)
            .filter_map(|record| match &record.data {
                Data::Server(name) => Some(name.clone()),
                _ => None,
            })
            .collect();
        names.sort();
        names.dedup();
        if names.is_empty() {
            return Err(ValidationError::transient(format!(
                "looking for the servers of the zone {zone}: the resolver answered {} without any",
                answer.rcode()
            )));
        }
        let mut servers = Vec::new();
        for name in names {
            let addresses = self.addresses(&name).await?;
            let port = self.port;
            servers.push(Server {
                addresses: addresses
                    .into_iter()
                    .map(|address| SocketAddr::new(address, port))
                    .collect(),
                name,
            });
        }
        Ok(servers)
    }

    /// The addresses of a host, aliases followed, those of IPv4 first.
    pub(in crate::validation) async fn addresses(
        &self,
        host: &str,
    ) -> Result<Vec<IpAddr>, ValidationError> {
        let mut found = Vec::new();
        for kind in [kind::A, kind::AAAA] {
            let answer = self.ask(host, kind, true).await?;
            found.extend(
                answer
                    .answers
                    .iter()
                    .filter_map(|record| match record.data {
                        Data::Address(address) => Some(address),
                        _ => None,
                    }),
            );
        }
        Ok(found)
    }
}

/// Whether a resolver said what there is, were it nothing.
pub(super) fn usable(rcode: Rcode) -> bool {
    matches!(rcode, Rcode::NO_ERROR | Rcode::NO_SUCH_NAME)
}

/// The zone, as the SOA record tells it that comes with an answer: in it or beside it.
pub(super) fn zone_of(answer: &Message, name: &str) -> Option<String> {
    if !usable(answer.rcode()) {
        return None;
    }
    let records = answer.answers.iter().chain(&answer.authority);
    let mut starts = records.filter(|record| record.data == Data::Start);
    // Behind an alias the zone is that of the name it leads to, which is not asked for here.
    let zone = starts.find(|record| name::is_within(name, &record.name))?;
    Some(zone.name.clone())
}
