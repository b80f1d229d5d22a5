//! Looks at the accounts of the policy's `[watch.NAME]`, at each check: by the filters of the API, and whole, once a day
//! and whenever a filter or an earlier look shows something that nobody renews.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::engine::watch::fresh;
use crate::engine::{Engine, EngineError};
use crate::issuer::{Account, Effect, Issuer, IssuerError, Orders, Part};
use crate::model::{
    AccountLook, ErrorClass, IssuerId, Listed, Seconds, Snapshot, SubjectAltNames, Timestamp,
    WatchId, WatchState, Watched, WatchedPlace,
};
use crate::plan::watch::account::{
    Listings, Measure, differing, leave_to_others, may_be_late, orphans,
};
use crate::plan::watch::{managed, ordered};
use crate::sys::{host, systemd};

/// What a look needs to know.
struct Ask {
    issuer: IssuerId,
    days: u32,
    ignore: Vec<String>,
    managed: Arc<BTreeSet<String>>,
    ordered: Vec<SubjectAltNames>,
    now: Timestamp,
    /// The names of this host that certificates may be marked with.
    hosts: BTreeSet<String>,
    before: WatchState,
}

impl Engine {
    /// Every account, side by side. One that cannot be listed keeps what was known of it.
    ///
    /// # Errors
    /// When the journal cannot be written.
    pub async fn look_at_accounts(&self, snapshot: &mut Snapshot) -> Result<(), EngineError> {
        self.forget_watches(snapshot).await?;
        let now = self.clock.now();
        let identity = self.store.identity().await?;
        // A host that was renamed has marked some with its old name, and tags what it brings there with the new one.
        let hosts = identity.map(|identity| identity.host).into_iter();
        let hosts: BTreeSet<String> = hosts.chain(host::name()).collect();
        let managed = Arc::new(managed(&self.policy, snapshot));
        let mut looks = JoinSet::new();
        for (id, watch) in &self.policy.watches {
            let Watched::Account {
                issuer,
                days,
                ignore,
            } = &watch.what
            else {
                continue;
            };
            let ask = Ask {
                issuer: issuer.clone(),
                days: *days,
                ignore: ignore.clone(),
                managed: Arc::clone(&managed),
                ordered: ordered(snapshot, issuer),
                now,
                hosts: hosts.clone(),
                before: fresh(watch, snapshot.watches.get(id)),
            };
            match self.issuers.get(issuer) {
                Ok(connected) => {
                    let id = id.clone();
                    looks.spawn(async move {
                        let seen = timeout(LONGEST_LOOK, look(&*connected, &ask)).await;
                        (id, ask, seen.unwrap_or_else(|_| Err(too_long())))
                    });
                }
                Err(error) => self.keep(snapshot, (id, ask), Err(error)).await?,
            }
        }
        while let Some(joined) = looks.join_next().await {
            systemd::alive();
            let (id, ask, seen) = joined.map_err(|error| EngineError::Bug(error.to_string()))?;
            self.keep(snapshot, (&id, ask), seen).await?;
        }
        Ok(())
    }

    async fn keep(
        &self,
        snapshot: &mut Snapshot,
        (id, ask): (&WatchId, Ask),
        seen: Result<WatchState, IssuerError>,
    ) -> Result<(), EngineError> {
        let state = match seen {
            Ok(state) => state,
            Err(error) => {
                if error.class == ErrorClass::Authentication {
                    self.issuers.forget(&ask.issuer);
                }
                tracing::info!(watch = %id, issuer = %ask.issuer, %error, "the account could not be listed");
                let mut state = ask.before;
                let account = state.account.get_or_insert_default();
                account.failures = account.failures.saturating_add(1);
                account.problem = error.message;
                state
            }
        };
        self.store.watch_seen(id, Some(&state)).await?;
        snapshot.watches.insert(id.clone(), state);
        Ok(())
    }
}

async fn look(issuer: &dyn Issuer, ask: &Ask) -> Result<WatchState, IssuerError> {
    let measure = Measure {
        days: ask.days,
        ignore: &ask.ignore,
        managed: &ask.managed,
        ordered: &ask.ordered,
        now: ask.now,
    };
    let mut state = ask.before.clone();
    state.looked_at = Some(ask.now);
    let account = state.account.get_or_insert_default();
    account.failures = 0;
    account.problem.clear();
    let filtered = by_filter(issuer, ask.days).await?;
    let daily = account
        .listed_at
        .is_none_or(|at| at.until(ask.now) >= DAILY || at > ask.now);
    let news = filtered
        .all()
        .any(|one| measure.asks(one) && !account.settled.contains(&one.id));
    if !daily && !news && state.places.is_empty() {
        return Ok(state);
    }
    // Read last: what came meanwhile is in it.
    let whole = part(issuer, Part::Whole).await?.unwrap_or_default();
    let (mut places, mut settled) = orphans(&with_what_filters_show(&whole, &filtered), &measure);
    if !places.is_empty()
        && let Some(orders) = issuer.orders()
    {
        match orders.hosts().await {
            Ok(hosts) => {
                let marked = places.iter_mut().filter(|(id, _)| hosts.contains_key(*id));
                begin(orders, marked, ask).await;
                leave_to_others(&mut places, &mut settled, &hosts, &ask.hosts, ask.now);
            }
            // More is told than needs to be.
            Err(error) => {
                tracing::info!(issuer = %ask.issuer, %error, "which host cares for what is not known");
            }
        }
        systemd::alive();
    }
    let mut differs = compared(&filtered, &whole, &measure);
    if !differs.is_empty() {
        // What was deleted or made between two listings differs once, and not twice.
        let filtered = by_filter(issuer, ask.days).await?;
        let again = part(issuer, Part::Whole).await?.unwrap_or_default();
        let again = compared(&filtered, &again, &measure);
        differs.retain(|id| again.contains(id));
    }
    *account = AccountLook {
        listed_at: Some(ask.now),
        listed: whole.listed.len(),
        unread: whole.unread,
        ending_unread: filtered.ending.as_ref().map_or(0, |part| part.unread),
        differing: differs.into_iter().take(MOST_KEPT).collect(),
        failures: 0,
        problem: String::new(),
        settled: settled.into_iter().take(MOST_KEPT).collect(),
    };
    state.left = places.len().saturating_sub(MOST_KEPT);
    state.places = places.into_iter().take(MOST_KEPT).collect();
    Ok(state)
}

/// Asks how long those live that another host may be late with: no listing of SCM says so.
async fn begin(
    orders: &Orders,
    marked: impl Iterator<Item = (&String, &mut WatchedPlace)>,
    ask: &Ask,
) {
    let near = marked.filter(|(_, place)| {
        let mut all = place.certificates.iter();
        all.any(|one| one.not_before.is_none() && may_be_late(one.not_after, ask.now))
    });
    for (id, place) in near.take(MOST_ASKED) {
        match orders.begin(id).await {
            Ok(begin) => {
                for one in &mut place.certificates {
                    one.not_before = one.not_before.or(begin);
                }
            }
            Err(error) => {
                tracing::info!(issuer = %ask.issuer, certificate = %id, %error, "how long it lives is not known");
                return;
            }
        }
        systemd::alive();
    }
}

/// A listing that the account does not hand out to its end lacks what stands in its middle; the filters may show that.
fn with_what_filters_show<'a>(whole: &'a Account, filtered: &'a Filtered) -> Cow<'a, [Listed]> {
    // What a whole one lacks was deleted meanwhile.
    if whole.unread == 0 {
        return Cow::Borrowed(&whole.listed);
    }
    let mut known: BTreeSet<&str> = whole.listed.iter().map(|one| one.id.as_str()).collect();
    let more = filtered.all().filter(|one| known.insert(&one.id));
    let more: Vec<Listed> = more.cloned().collect();
    Cow::Owned(whole.listed.iter().cloned().chain(more).collect())
}

/// Both filters.
struct Filtered {
    ending: Option<Account>,
    expired: Account,
}

impl Filtered {
    fn all(&self) -> impl Iterator<Item = &Listed> {
        let ending = self.ending.iter().flat_map(|account| &account.listed);
        ending.chain(&self.expired.listed)
    }
}

async fn by_filter(issuer: &dyn Issuer, days: u32) -> Result<Filtered, IssuerError> {
    Ok(Filtered {
        ending: part(issuer, Part::Ending(days)).await?,
        expired: part(issuer, Part::Expired).await?.unwrap_or_default(),
    })
}

async fn part(issuer: &dyn Issuer, part: Part) -> Result<Option<Account>, IssuerError> {
    let answer = issuer.list(part).await;
    systemd::alive();
    answer
}

fn compared(filtered: &Filtered, whole: &Account, measure: &Measure<'_>) -> BTreeSet<String> {
    // A filtered listing that was not read to its end lacks things without lying.
    let ending = filtered.ending.as_ref().filter(|part| part.unread == 0);
    if filtered.expired.unread > 0 {
        return BTreeSet::new();
    }
    let listings = Listings {
        ending: ending.map(|account| account.listed.as_slice()),
        expired: &filtered.expired.listed,
    };
    differing(listings, &whole.listed, whole.unread == 0, measure)
}

fn too_long() -> IssuerError {
    IssuerError {
        class: ErrorClass::Transient,
        effect: Effect::None,
        message: format!("the listing took longer than {} s", LONGEST_LOOK.as_secs()),
        retry_after: None,
        everybody: false,
    }
}

/// A little less than a day, so that a check that comes early does not skip one.
const DAILY: Seconds = Seconds::hours(23);
/// For all listings of one account, with the pauses that it asks for.
const LONGEST_LOOK: Duration = Duration::from_secs(120);
/// Certificates of one account at one look; each is a request. Of the rest the least favourable is taken.
const MOST_ASKED: usize = 100;
/// Of one account, in the journal.
const MOST_KEPT: usize = 1000;
