//! Verdicts on what is watched and not managed. They lead to alerts and lines of `renewd status`, and to nothing else:
//! what is not managed is never ordered and never rolled out.

pub mod account;
mod report;

use std::collections::BTreeSet;

pub use report::{WatchReport, report, text};

use crate::model::{
    AccountLook, CertificateId, Fingerprint, IssuerId, Order, OrderPhase, Policy, Seconds,
    Severity, Snapshot, Source, SubjectAltNames, Timestamp, WatchFaultKind, WatchPolicy,
    WatchState, WatchTroubleKind, Watched, WatchedCertificate, WatchedPlace,
};
use crate::plan::alerts::moments;
use crate::plan::draft::Draft;

/// One certificate, or one place without any, for people and scripts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting<'a> {
    /// The table of the policy.
    pub watch: &'a WatchPolicy,
    /// File, host or id; empty where nothing was looked at yet.
    pub place: &'a str,
    /// `None` where there is none to be seen.
    pub certificate: Option<&'a WatchedCertificate>,
    /// The worst of its verdicts.
    pub verdict: Verdict,
    /// In words; empty where all is well.
    pub detail: String,
}

/// What is to be said of something that is watched, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Past its end.
    Expired,
    /// No such file.
    Missing,
    /// Not a file of certificates.
    Unreadable,
    /// No handshake, or no listing.
    Unreachable,
    /// Before its begin.
    NotYetValid,
    /// The key is of another certificate.
    KeyMismatch,
    /// Another name is served.
    WrongName,
    /// Clients do not get to a root.
    Chain,
    /// A step of `alert_days` was reached.
    Expiring,
    /// Failed, and not often enough to be told.
    Failing,
    /// Another certificate than before, since a short while.
    Changed,
    /// Nothing was looked at yet.
    Unseen,
    /// Nothing to be said.
    Good,
}

impl Verdict {
    /// The code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Missing => "missing",
            Self::Unreadable => "unreadable",
            Self::Unreachable => "unreachable",
            Self::NotYetValid => "not-yet-valid",
            Self::KeyMismatch => "key-mismatch",
            Self::WrongName => "wrong-name",
            Self::Chain => "chain",
            Self::Expiring => "expiring",
            Self::Failing => "failing",
            Self::Changed => "changed",
            Self::Unseen => "unseen",
            Self::Good => "good",
        }
    }

    /// Whether a person has something to do.
    #[must_use]
    pub fn is_trouble(self) -> bool {
        self <= Self::Expiring
    }
}

/// Everything that is watched, in the order of the policy.
#[must_use]
pub fn sightings<'a>(
    policy: &'a Policy,
    snapshot: &'a Snapshot,
    now: Timestamp,
) -> Vec<Sighting<'a>> {
    let mut found = Vec::new();
    for (id, watch) in &policy.watches {
        let state = snapshot.watches.get(id);
        let Some(state) = state.filter(|state| state.policy == Some(watch.digest)) else {
            found.push(Sighting {
                watch,
                place: "",
                certificate: None,
                verdict: Verdict::Unseen,
                detail: "not looked at yet".to_owned(),
            });
            continue;
        };
        for (place, seen) in &state.places {
            each(policy, watch, (place, seen), now, &mut found);
        }
        if let Some(account) = &state.account {
            found.push(of_account(watch, account));
        }
    }
    found
}

fn each<'a>(
    policy: &Policy,
    watch: &'a WatchPolicy,
    (place, seen): (&'a str, &'a WatchedPlace),
    now: Timestamp,
    found: &mut Vec<Sighting<'a>>,
) {
    if let Some(trouble) = &seen.trouble {
        let told = seen.failures >= PATIENCE;
        found.push(Sighting {
            watch,
            place,
            certificate: None,
            verdict: match trouble.kind {
                _ if !told => Verdict::Failing,
                WatchTroubleKind::Missing => Verdict::Missing,
                WatchTroubleKind::Unreadable => Verdict::Unreadable,
                WatchTroubleKind::Unreachable => Verdict::Unreachable,
            },
            detail: trouble.detail.clone(),
        });
    }
    for (at, certificate) in seen.certificates.iter().enumerate() {
        let changed = seen
            .changed_at
            .filter(|changed| at == 0 && changed.until(now) < RECENT);
        let (verdict, detail) = worst(certificate, changed, &policy.alerting.days, now);
        found.push(Sighting {
            watch,
            place,
            certificate: Some(certificate),
            verdict,
            detail,
        });
    }
}

fn of_account<'a>(watch: &'a WatchPolicy, account: &AccountLook) -> Sighting<'a> {
    let (verdict, detail) = if account.failures > 0 {
        let verdict = if account.failures >= PATIENCE {
            Verdict::Unreachable
        } else {
            Verdict::Failing
        };
        (verdict, account.problem.clone())
    } else {
        (Verdict::Good, String::new())
    };
    Sighting {
        watch,
        place: "",
        certificate: None,
        verdict,
        detail,
    }
}

fn worst(
    certificate: &WatchedCertificate,
    changed: Option<Timestamp>,
    days: &BTreeSet<u32>,
    now: Timestamp,
) -> (Verdict, String) {
    let end = certificate.not_after;
    if end <= now {
        return (Verdict::Expired, format!("expired at {end}"));
    }
    if let Some(begin) = certificate.not_before.filter(|begin| *begin > now) {
        return (Verdict::NotYetValid, format!("is not valid before {begin}"));
    }
    let faults = certificate.faults.iter().map(|fault| {
        let verdict = match fault.kind {
            WatchFaultKind::KeyMismatch => Verdict::KeyMismatch,
            WatchFaultKind::WrongName => Verdict::WrongName,
            WatchFaultKind::Chain => Verdict::Chain,
        };
        (verdict, fault.detail.clone())
    });
    if let Some(fault) = faults.min_by_key(|(verdict, _)| *verdict) {
        return fault;
    }
    if steps(certificate, days).iter().any(|at| *at <= now) {
        return (Verdict::Expiring, format!("expires at {end}"));
    }
    match changed {
        Some(at) => (Verdict::Changed, format!("is another one since {at}")),
        None => (Verdict::Good, String::new()),
    }
}

/// The moments at which it is told: the days of the policy, or the same shares of a short life, then a tenth of its life
/// before its end, then the end.
fn steps(certificate: &WatchedCertificate, days: &BTreeSet<u32>) -> BTreeSet<Timestamp> {
    let (end, lifetime) = (certificate.not_after, certificate.lifetime());
    let mut steps: BTreeSet<Timestamp> = moments(end, lifetime, days).collect();
    if !steps.is_empty() {
        steps.insert(emergency(certificate));
    }
    steps.insert(end);
    steps
}

/// Ten days at most: many a watched certificate lives for years.
fn emergency(certificate: &WatchedCertificate) -> Timestamp {
    let tenth = Seconds(certificate.lifetime().0.max(0) / 10);
    certificate.not_after - tenth.min(Seconds::days(10))
}

/// What stands for everything that is watched.
pub(crate) fn alerts(policy: &Policy, snapshot: &Snapshot, now: Timestamp, draft: &mut Draft) {
    for (id, watch) in &policy.watches {
        let state = snapshot.watches.get(id);
        let Some(state) = state.filter(|state| state.policy == Some(watch.digest)) else {
            continue;
        };
        let mut telling = Telling {
            watch,
            days: &policy.alerting.days,
            now,
            draft,
            told: 0,
            more: 0,
            known: BTreeSet::new(),
        };
        telling.all(state);
    }
}

/// Alerts of one table in the making.
struct Telling<'a, 'b> {
    watch: &'a WatchPolicy,
    days: &'a BTreeSet<u32>,
    now: Timestamp,
    draft: &'b mut Draft,
    told: usize,
    more: usize,
    /// One certificate in several files ends once.
    known: BTreeSet<Fingerprint>,
}

impl Telling<'_, '_> {
    fn all(&mut self, state: &WatchState) {
        for (place, seen) in &state.places {
            if let Some(trouble) = &seen.trouble
                && seen.failures >= PATIENCE
            {
                let title = format!("{place}: {}", trouble.detail);
                let text = "What was seen there last is still held against its dates. Mend it, or take it out of the policy.";
                self.tell(
                    Severity::Warning,
                    (trouble.kind.code(), 0),
                    place,
                    &title,
                    text.to_owned(),
                );
            }
            for certificate in &seen.certificates {
                self.certificate(place, certificate);
            }
        }
        if let Some(account) = &state.account {
            self.account(account);
        }
        if self.more > 0 {
            let id = &self.watch.id;
            self.draft.alert(
                Severity::Warning,
                "watched-more",
                id.as_str(),
                format!("{id}: {} more things are wrong", self.more),
                "Only the first are told one by one; `renewd status` shows all of them.".to_owned(),
            );
        }
    }

    fn certificate(&mut self, place: &str, certificate: &WatchedCertificate) {
        let which = match certificate.which.as_str() {
            "" => place.to_owned(),
            which => format!("{place} {which}"),
        };
        let name = format!("{which} ({})", certificate.names);
        for fault in &certificate.faults {
            let title = format!("{name}: {}", fault.detail);
            let text = "renewd does not manage it and changes nothing. Mend it where it is made, or take it out of the policy.";
            self.tell(
                Severity::Warning,
                (fault.kind.code(), 0),
                &which,
                &title,
                text.to_owned(),
            );
        }
        if certificate
            .fingerprint
            .is_some_and(|print| !self.known.insert(print))
        {
            return;
        }
        if let Some(begin) = certificate.not_before.filter(|begin| *begin > self.now) {
            self.draft.wake(begin);
            self.tell(
                Severity::Warning,
                ("watched-not-yet-valid", 0),
                &which,
                &format!("{name}: is not valid before {begin}"),
                "Clients refuse it until then, unless the clock of this host is wrong.".to_owned(),
            );
        }
        let steps = steps(certificate, self.days);
        let step = steps.iter().filter(|at| **at <= self.now).count();
        steps.iter().for_each(|at| self.draft.wake(*at));
        if step == 0 {
            return;
        }
        let end = certificate.not_after;
        let title = if end <= self.now {
            format!("{name}: expired at {end}")
        } else {
            format!("{name}: expires at {end}")
        };
        let severity = if emergency(certificate) <= self.now {
            Severity::Critical
        } else {
            Severity::Warning
        };
        let text = match &self.watch.what {
            Watched::Account { issuer, .. } => format!(
                "Nobody renews it, or whoever does is late: no policy on this host manages it, and the account of {issuer} has no newer one for its names. Renew it, delete it there, or put it into `ignore`."
            ),
            Watched::Files { .. } | Watched::Host { .. } => {
                "renewd does not manage it: somebody else must renew it.".to_owned()
            }
        };
        let step = u32::try_from(step).unwrap_or(u32::MAX);
        self.tell(severity, ("watched-expiring", step), &which, &title, text);
    }

    fn account(&mut self, account: &AccountLook) {
        let id = self.watch.id.as_str();
        if account.failures >= PATIENCE {
            self.draft.alert(
                Severity::Warning,
                "watched-unreachable",
                id,
                format!("{id}: the account could not be listed: {}", account.problem),
                "What is known of it is from an earlier look. Check network, credentials and what they may do (`scm:cert:list`).".to_owned(),
            );
        }
        if !account.differing.is_empty() {
            let mut some: Vec<&str> = account.differing.iter().map(String::as_str).collect();
            let more = some.len().saturating_sub(MOST_IDS);
            some.truncate(MOST_IDS);
            let more = if more > 0 {
                format!(" and {more} more")
            } else {
                String::new()
            };
            self.draft.alert(
                Severity::Warning,
                "watched-differs",
                id,
                format!(
                    "{id}: what the account lists by `expired_days_since` or as EXPIRED is not what it lists whole: {}{more}",
                    some.join(", ")
                ),
                "Documents disagree about that filter. renewd goes by the whole listing; whoever relies on the filter (a script, the console) does not see these.".to_owned(),
            );
        }
        if account.unread > 0 {
            let (severity, seen) = match account.ending_unread {
                0 => (
                    Severity::Notice,
                    "What ends soon was read, and so were the first and the last by their ends."
                        .to_owned(),
                ),
                unseen => (
                    Severity::Warning,
                    format!(
                        "Of what ends soon, {unseen} could not be read either: nobody may renew them."
                    ),
                ),
            };
            self.draft.alert(
                severity,
                "watched-incomplete",
                id,
                format!(
                    "{id}: {} certificates of the account could not be listed",
                    account.unread
                ),
                format!("The API lists no further. {seen} Delete what nobody needs."),
            );
        }
    }

    fn tell(
        &mut self,
        severity: Severity,
        (kind, step): (&str, u32),
        place: &str,
        title: &str,
        text: String,
    ) {
        if self.told == MOST_ALERTS {
            self.more += 1;
            return;
        }
        self.told += 1;
        let id = &self.watch.id;
        let subject = format!("{id} {place}");
        self.draft.alert_step(
            severity,
            (kind, step),
            &subject,
            format!("{id}: {title}"),
            text,
        );
    }
}

/// Certificates of an account that somebody on this host answers for: by the issuer's own ids.
#[must_use]
pub fn managed(policy: &Policy, snapshot: &Snapshot) -> BTreeSet<String> {
    let known = |id: &CertificateId| policy.certificates.contains_key(id);
    let states = snapshot.certificates.iter().filter(|(id, _)| known(id));
    let references = states.flat_map(|(_, state)| {
        let newest = state.newest.iter().map(|newest| newest.reference.clone());
        let earlier = state
            .earlier
            .iter()
            .map(|earlier| earlier.reference.clone());
        let bought = state.entitlements.iter().map(|one| one.reference.clone());
        let uploads = state.pushes.values().flat_map(|push| &push.imports);
        let uploads = uploads.map(|one| one.reference.clone());
        newest.chain(earlier).chain(bought).chain(uploads)
    });
    let under_way = snapshot.orders.values().filter_map(reference);
    references
        .chain(under_way.map(str::to_owned))
        .filter(|reference| !reference.is_empty())
        .collect()
}

/// What an open order is about at its issuer.
fn reference(order: &Order) -> Option<&str> {
    match &order.phase {
        OrderPhase::Claiming { reference, .. }
        | OrderPhase::Entitled { reference }
        | OrderPhase::Submitted { reference, .. } => Some(reference),
        OrderPhase::KeyStored { entitlement, .. } | OrderPhase::Unclear { entitlement, .. } => {
            entitlement.as_deref()
        }
        OrderPhase::Opened
        | OrderPhase::Seeking { .. }
        | OrderPhase::Bare { .. }
        | OrderPhase::PurchaseUnclear { .. }
        | OrderPhase::Issued { .. }
        | OrderPhase::Ending { .. }
        | OrderPhase::Closed { .. } => None,
    }
}

/// For which names an issuer has an open order of this host: another certificate for them is on its way.
#[must_use]
pub fn ordered(snapshot: &Snapshot, issuer: &IssuerId) -> Vec<SubjectAltNames> {
    let orders = snapshot.orders.values();
    let orders = orders.filter(|order| order.issuer == *issuer);
    let orders = orders.filter(|order| order.request.source != Source::Follow);
    orders.map(|order| order.request.names.clone()).collect()
}

/// Looks in a row that bring nothing before it is told: a packet gets lost, a file is being replaced.
pub const PATIENCE: u32 = 3;
/// Of one table; a page of mails helps nobody.
const MOST_ALERTS: usize = 50;
/// In one title.
const MOST_IDS: usize = 20;
/// How long another certificate is news.
const RECENT: Seconds = Seconds::hours(24);

#[cfg(test)]
mod tests;
