//! Looks at addresses beside the listener that decides: those that names resolve to, and others that the policy names.
//!
//! Bounded in number and in time, since nobody waits for it and strangers answer. Names are resolved by the system's
//! resolver on threads of their own.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use crate::deploy::StepError;
use crate::deploy::deployer::Deployer;
use crate::deploy::prove::{self, Chains, Look, Question};
use crate::model::{
    ErrorClass, Listeners, Observe, Observed, Prelude, Probe, Sight, SightKind, TargetPolicy,
    TargetState, Timestamp,
};

/// An async answer of a resolver.
pub type Addresses<'a> =
    Pin<Box<dyn Future<Output = std::io::Result<Vec<SocketAddr>>> + Send + 'a>>;

/// Turns names into addresses.
pub trait Resolver: Send + Sync {
    /// The addresses of a host, with this port.
    fn addresses<'a>(&'a self, host: &'a str, port: u16) -> Addresses<'a>;
}

/// `getaddrinfo`, so `/etc/hosts` and all that the host has been told of names.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemResolver;

impl Resolver for SystemResolver {
    fn addresses<'a>(&'a self, host: &'a str, port: u16) -> Addresses<'a> {
        Box::pin(async move { Ok(tokio::net::lookup_host((host, port)).await?.collect()) })
    }
}

impl Deployer {
    /// Looks once at every address that the target's policy wants observed. Never fails: what cannot be looked at is
    /// part of what is seen. `since` is not known here.
    pub async fn observe(
        &self,
        target: &TargetPolicy,
        state: &TargetState,
        now: Timestamp,
    ) -> Observed {
        let mut observed = Observed {
            at: now,
            revisions: state.live.clone(),
            asked: target.observe.iter().map(ToString::to_string).collect(),
            since: None,
            sights: Vec::new(),
            left: 0,
        };
        let Probe::Tls {
            connect,
            wildcard_label,
            prelude,
            ..
        } = target.probe.clone()
        else {
            return observed;
        };
        let questions = match self.questions_now(target, state, wildcard_label, now).await {
            Ok(questions) => questions,
            Err(error) => {
                tracing::warn!(target = %target.id, %error, "other addresses could not be observed");
                return observed;
            }
        };
        let end = Instant::now() + WITHIN;
        let (pairs, mut sights, left) = self
            .pairs(&target.observe, &connect, prelude, &questions, end)
            .await;
        observed.left = left;
        let (seen, late) = look_at(pairs, prelude, end).await;
        sights.extend(seen);
        observed.left += late;
        sights.sort_by(|a, b| (&a.name, &a.address).cmp(&(&b.name, &b.address)));
        observed.sights = sights;
        observed
    }

    async fn questions_now(
        &self,
        target: &TargetPolicy,
        state: &TargetState,
        wildcard_label: String,
        now: Timestamp,
    ) -> Result<Vec<Arc<Question>>, StepError> {
        let live = self.as_if_rolled_out(target, state)?;
        let (deployer, target) = (self.clone(), target.clone());
        let asked = tokio::task::spawn_blocking(move || {
            let site = deployer.site(&live, &target.exports);
            prove::forward(&site, &target, &wildcard_label, Chains::Incoming(None), now)
        })
        .await;
        let questions = asked
            .unwrap_or_else(|error| Err(StepError::new(ErrorClass::Bug, error.to_string())))?;
        // Whoever ends TLS in front of us may present the chain in another way.
        let leaves = questions.into_iter().map(Question::for_the_leaf_alone);
        Ok(leaves.map(Arc::new).collect())
    }

    /// Whom to ask what, what resolved to nothing, and how many were too many.
    async fn pairs(
        &self,
        places: &[Observe],
        connect: &Listeners,
        prelude: Prelude,
        questions: &[Arc<Question>],
        end: Instant,
    ) -> (Vec<(Arc<Question>, SocketAddr)>, Vec<Sight>, usize) {
        let Some((_, port)) = split(connect.first()) else {
            return (Vec::new(), Vec::new(), 0);
        };
        let mut wanted: BTreeSet<(usize, (String, u16))> = BTreeSet::new();
        for (at, question) in questions.iter().enumerate() {
            wanted.extend(places.iter().filter_map(|place| match place {
                Observe::Names => Some((at, (question.host()?.to_owned(), port))),
                Observe::At(place) => Some((at, split(place)?)),
            }));
        }
        let hosts: BTreeSet<(String, u16)> = wanted.iter().map(|(_, host)| host.clone()).collect();
        let hosts_left = hosts.len().saturating_sub(MOST);
        let known = self.resolve_all(hosts.into_iter().take(MOST), end).await;
        let own = match prelude.proxy_protocol {
            None => {
                self.resolve_all(connect.iter().filter_map(split), end)
                    .await
            }
            // Whoever comes by another way sends no header, so it is another listener for them.
            Some(_) => BTreeMap::new(),
        };
        let own: BTreeSet<&SocketAddr> = own.values().flatten().flatten().collect();
        let mut sights = Vec::new();
        let mut pairs = BTreeSet::new();
        for (at, host) in &wanted {
            match known.get(host) {
                Some(Ok(found)) if !found.is_empty() => {
                    let others = found.iter().filter(|address| !own.contains(address));
                    pairs.extend(others.map(|address| (*at, *address)));
                }
                Some(answer) => {
                    let why = answer.as_ref().err().map_or("no address", String::as_str);
                    sights.push(Sight {
                        name: questions[*at].name().to_owned(),
                        address: format!("{}:{}", host.0, host.1),
                        kind: SightKind::Silent,
                        detail: format!("{} resolves to nothing: {why}", host.0),
                    });
                }
                None => {}
            }
        }
        sights.truncate(MOST);
        let left = pairs.len().saturating_sub(MOST) + hosts_left;
        let pairs = pairs.into_iter().take(MOST);
        let pairs = pairs.map(|(at, address)| (Arc::clone(&questions[at]), address));
        (pairs.collect(), sights, left)
    }

    async fn resolve_all(
        &self,
        hosts: impl IntoIterator<Item = (String, u16)>,
        end: Instant,
    ) -> BTreeMap<(String, u16), Result<BTreeSet<SocketAddr>, String>> {
        let end = end.min(Instant::now() + LONGEST_LOOKUP);
        let mut found = BTreeMap::new();
        let mut running = JoinSet::new();
        let mut waiting = hosts.into_iter();
        loop {
            while running.len() < AT_ONCE
                && let Some((host, port)) = waiting.next()
            {
                if let Ok(address) = host.parse::<IpAddr>() {
                    let address = SocketAddr::new(address, port);
                    found.insert((host, port), Ok(BTreeSet::from([address])));
                    continue;
                }
                let resolver = Arc::clone(self.resolver());
                running.spawn(async move {
                    let answer = match timeout_at(end, resolver.addresses(&host, port)).await {
                        Ok(Ok(addresses)) => Ok(addresses.into_iter().collect()),
                        Ok(Err(error)) => Err(error.to_string()),
                        Err(_) => Err("the resolver does not answer".to_owned()),
                    };
                    ((host, port), answer)
                });
            }
            match running.join_next().await {
                Some(Ok((host, answer))) => drop(found.insert(host, answer)),
                Some(Err(_)) => {}
                None => return found,
            }
        }
    }
}

/// What was seen, and how many there was no time for.
async fn look_at(
    pairs: Vec<(Arc<Question>, SocketAddr)>,
    prelude: Prelude,
    end: Instant,
) -> (Vec<Sight>, usize) {
    // Whoever comes from outside sends no PROXY header.
    let prelude = Prelude {
        proxy_protocol: None,
        ..prelude
    };
    let longest = match prelude.starttls {
        // Mail servers make strangers wait.
        Some(_) => WITHIN,
        None => LONGEST_HANDSHAKE,
    };
    let mut sights = Vec::new();
    let mut running = JoinSet::new();
    let mut waiting = pairs.into_iter();
    loop {
        let mut left = end.saturating_duration_since(Instant::now());
        while running.len() < AT_ONCE
            && !left.is_zero()
            && let Some((question, address)) = waiting.next()
        {
            let within = left.min(longest);
            running.spawn(async move {
                let address = address.to_string();
                let look = prove::look(&address, prelude, &question, within).await;
                let (kind, detail) = match look {
                    Look::Same(report) => (
                        SightKind::Same,
                        format!("{address} serves serial {}", report.serial),
                    ),
                    Look::Silent(detail) => (SightKind::Silent, detail),
                    Look::Differs(detail) => (SightKind::Differs, detail),
                };
                Sight {
                    name: question.name().to_owned(),
                    address,
                    kind,
                    detail,
                }
            });
            left = end.saturating_duration_since(Instant::now());
        }
        match running.join_next().await {
            Some(Ok(sight)) => sights.push(sight),
            Some(Err(_)) => {}
            None => return (sights, waiting.count()),
        }
    }
}

/// Host, without the brackets of an IPv6 address, and port.
fn split(place: &str) -> Option<(String, u16)> {
    let (host, port) = place.rsplit_once(':')?;
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    Some((bare.unwrap_or(host).to_owned(), port.parse().ok()?))
}

/// For all: the state directory is locked meanwhile, and a person's command waits ten seconds for it.
const WITHIN: Duration = Duration::from_secs(8);
const LONGEST_LOOKUP: Duration = Duration::from_secs(3);
const LONGEST_HANDSHAKE: Duration = Duration::from_secs(3);
/// Hosts, and names at addresses.
const MOST: usize = 64;
const AT_ONCE: usize = 16;
