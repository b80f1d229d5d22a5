//! Everything that is known, as data: `renewd status --json`, the status file that the daemon leaves for others, and the
//! source of `renewd check` and of the metrics.
//!
//! A contract that scripts rely on, described by `docs/status.schema.json`. What is added later is a new key; a key that
//! changes its meaning raises [`VERSION`]. Moments are RFC 3339; what is relative to the present is filled in by
//! [`Status::as_of`], so that a status that was stored becomes true again.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::model::{
    Blocked, CertificateId, CertificatePolicy, CertificateState, Failures, IssuerKind, Order,
    Policy, Rollout, Seconds, Snapshot, TargetId, TargetState, Timestamp,
};
use crate::plan::explain::{self, Report, TargetReport};
use crate::plan::push::{self, PushReport};
use crate::plan::watch::{self, WatchReport};
use crate::plan::{Plan, order_machine, renewal};

/// Of the form of [`Status`].
pub const VERSION: u32 = 1;

/// A word of a fixed list, or one that was read.
pub type Code = Cow<'static, str>;

/// What is known of a host's certificates at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Of this form: 1.
    pub version: u32,
    /// Name of the host.
    pub host: String,
    /// Of which moment this is, RFC 3339.
    pub at: String,
    /// Who looks after the certificates.
    pub agent: AgentStatus,
    /// Counts.
    pub summary: Summary,
    /// The most urgent one first.
    pub certificates: Vec<CertificateStatus>,
    /// Targets, by name.
    pub targets: Vec<TargetStatus>,
    /// Open alerts, the worst first.
    pub alerts: Vec<AlertStatus>,
    /// Ways by which alerts leave the host and that have letters, by name.
    pub channels: Vec<ChannelStatus>,
    /// What is watched and not managed, in the order of the policy.
    #[serde(default)]
    pub watched: Vec<WatchReport>,
    /// Issuers that may be bought from, by name.
    #[serde(default)]
    pub purchases: Vec<PurchaseStatus>,
}

/// The process that looks after the certificates.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentStatus {
    /// Of renewd.
    pub version: String,
    /// Whether `renewd run` is there; `null` where that cannot be seen.
    pub running: Option<bool>,
    /// `daemon` for `renewd run`, `once` for runs by a timer or by hand; `null` where neither ever was.
    pub mode: Option<Code>,
    /// Its process, while it runs.
    pub process: Option<u32>,
    /// When it last came to the end of a round, RFC 3339.
    pub progress_at: Option<String>,
}

/// Counts over all certificates that are shown.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// All of them.
    pub certificates: usize,
    /// In order.
    pub healthy: usize,
    /// Being renewed or rolled out.
    pub act: usize,
    /// Waiting.
    pub wait: usize,
    /// Blocked until a person acts.
    pub blocked: usize,
    /// Past the end of validity.
    pub expired: usize,
    /// Which is renewed next.
    pub next_renewal: Option<NextRenewal>,
}

/// The next renewal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextRenewal {
    /// Of which certificate.
    pub certificate: String,
    /// RFC 3339.
    pub at: String,
}

/// How soon a person should look.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Urgency {
    /// Not at all.
    #[default]
    Ok,
    /// Something is under way, or held by hand.
    Notice,
    /// Something fails or cannot be proven.
    Warning,
    /// Expired or about to, or blocked until a person acts.
    Critical,
}

impl Urgency {
    /// The code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Notice => "notice",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// One certificate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CertificateStatus {
    /// What is decided, as `renewd plan --json` has it.
    #[serde(flatten)]
    pub report: Report,
    /// How soon a person should look.
    pub urgency: Urgency,
    /// Its names.
    pub names: Vec<String>,
    /// Its tags.
    pub tags: Vec<String>,
    /// Begin of the newest revision's validity, RFC 3339.
    pub not_before: Option<String>,
    /// From begin to end of validity, in seconds.
    pub lifetime: Option<i64>,
    /// When renewal is due, RFC 3339.
    pub renewal_at: Option<String>,
    /// From when on it is an emergency that it was not renewed, RFC 3339.
    pub emergency_at: Option<String>,
    /// Until the first end of what is served and of the newest revision, negative past it; of the moment `at`.
    pub days_left: Option<f64>,
    /// How much of the lifetime is left, from 1 to 0; negative past the end; of the moment `at`.
    pub share_left: Option<f64>,
    /// Orders (for a follower: looks into the account) that failed in a row.
    pub failures: u32,
    /// What the last of them said.
    pub failure: Option<String>,
    /// Places of the cloud that it goes to, by name.
    #[serde(default)]
    pub pushes: Vec<PushReport>,
}

/// One target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetStatus {
    /// In the policy.
    pub name: String,
    /// Rollouts that failed in a row.
    pub failures: u32,
    /// What the last of them said.
    pub failure: Option<String>,
    /// An undo could not be proven: what is served is unknown.
    pub undo_failed: bool,
    /// When a handshake last showed the present set, RFC 3339.
    pub proven_at: Option<String>,
    /// Phase of the open rollout.
    pub rollout: Option<Code>,
}

/// An open alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertStatus {
    /// What it is about.
    pub key: String,
    /// `critical`, `warning` or `notice`.
    pub severity: String,
    /// One line.
    pub title: String,
    /// What happened and what to do.
    pub text: String,
    /// Since when, RFC 3339.
    pub since: String,
}

/// How the letters of a channel fare.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelStatus {
    /// In the policy.
    pub name: String,
    /// Letters that were tried in vain and wait for another attempt, those that were refused aside.
    pub failing: u32,
    /// Letters on their way to the recipient that has most of them.
    pub longest_queue: u32,
    /// Recipients who have a letter that was refused.
    pub refused: usize,
}

/// What was bought of an issuer, as far as this host's journal knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PurchaseStatus {
    /// Name of the issuer.
    pub name: String,
    /// Within 24 hours.
    pub day: u32,
    /// What the policy allows within 24 hours.
    pub day_allowed: u32,
    /// Within 30 days.
    pub month: u32,
    /// What the policy allows within 30 days.
    pub month_allowed: u32,
}

/// What the planner does not know.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// Name of the host.
    pub host: String,
    /// Who looks after the certificates.
    pub agent: AgentStatus,
    /// Open alerts.
    pub alerts: Vec<AlertStatus>,
}

impl Status {
    /// Of the whole policy, at one moment.
    #[must_use]
    pub fn new(
        policy: &Policy,
        snapshot: &Snapshot,
        plan: &Plan,
        now: Timestamp,
        around: Surroundings,
    ) -> Self {
        let orders = snapshot.orders.values();
        let orders: BTreeMap<_, _> = orders.map(|order| (&order.certificate, order)).collect();
        let rollouts = snapshot.rollouts.values();
        let rollouts: BTreeMap<_, _> = rollouts.map(|open| (&open.target, open)).collect();
        let certificates = explain::report(policy, snapshot, plan, now)
            .into_iter()
            .filter_map(|report| {
                let id = CertificateId::new(&report.name).ok()?;
                let wanted = policy.certificates.get(&id)?;
                let state = snapshot.certificates.get(&id);
                let order = orders.get(&id).copied();
                let pushes = push::report(policy, snapshot, wanted, now);
                Some(CertificateStatus {
                    pushes,
                    ..certificate(policy, wanted, state, order, report, now)
                })
            })
            .collect();
        let mut alerts = around.alerts;
        alerts.sort_by_key(|alert| (rank(&alert.severity), alert.since.clone()));
        let channels = snapshot.channels.iter();
        let mut status = Self {
            version: VERSION,
            host: around.host,
            at: now.to_string(),
            agent: around.agent,
            summary: Summary::default(),
            certificates,
            targets: policy
                .targets
                .keys()
                .map(|id| target(id, snapshot.targets.get(id), rollouts.get(id).copied()))
                .collect(),
            alerts,
            channels: channels
                .map(|(id, state)| ChannelStatus {
                    name: id.to_string(),
                    failing: state.failing,
                    longest_queue: state.longest_queue,
                    refused: state.refused.len(),
                })
                .collect(),
            watched: watch::report(policy, snapshot, now),
            purchases: purchases(policy, snapshot, now),
        };
        status.settle(now);
        status
    }

    /// The same, with what is relative to the present as of this moment.
    #[must_use]
    pub fn as_of(mut self, now: Timestamp) -> Self {
        self.at = now.to_string();
        self.settle(now);
        self
    }

    /// The same without what is relative to the present, and without the signs of life: equal means that nothing happened.
    #[must_use]
    pub fn timeless(mut self) -> Self {
        self.at.clear();
        self.agent.progress_at = None;
        for one in &mut self.certificates {
            (one.days_left, one.share_left) = (None, None);
        }
        self
    }

    /// Only certificates that are named and have one of the tags; where none is named or no tag is given, any. Targets and
    /// alerts are those that concern what is left.
    #[must_use]
    pub fn only(mut self, names: &[CertificateId], tags: &BTreeSet<String>) -> Self {
        if names.is_empty() && tags.is_empty() {
            return self;
        }
        // Those are names and tags of certificates of the policy.
        self.watched.clear();
        self.certificates.retain(|one| {
            let named = names.is_empty() || names.iter().any(|n| n.as_str() == one.report.name);
            named && (tags.is_empty() || one.tags.iter().any(|tag| tags.contains(tag)))
        });
        let shown = &self.certificates;
        let places = || shown.iter().flat_map(|one| &one.report.targets);
        self.targets
            .retain(|target| places().any(|place| place.name == target.name));
        self.alerts.retain(|alert| {
            let subject = alert.key.split_once('/').map_or("", |(_, subject)| subject);
            subject.split('/').any(|part| {
                shown.iter().any(|one| one.report.name == part)
                    || places().any(|place| place.name == part)
            })
        });
        self.count();
        self
    }

    /// What is relative to the present, the order and the counts.
    fn settle(&mut self, now: Timestamp) {
        for one in &mut self.certificates {
            one.settle(now);
        }
        for one in &mut self.watched {
            one.settle(now);
        }
        self.certificates.sort_by(|a, b| {
            let key = |one: &CertificateStatus| {
                let end = one.ends().map(|at| at.0);
                (std::cmp::Reverse(one.urgency), end, one.report.name.clone())
            };
            key(a).cmp(&key(b))
        });
        self.count();
    }

    fn count(&mut self) {
        let of = |verdict: &str| {
            let all = self.certificates.iter();
            all.filter(|one| one.report.verdict == verdict).count()
        };
        let next = self
            .certificates
            .iter()
            .filter_map(|one| {
                let next = one.report.next_action.as_ref()?;
                let at = next.at.as_ref().filter(|_| next.action == "renew")?;
                Some((at, &one.report.name))
            })
            .min();
        self.summary = Summary {
            certificates: self.certificates.len(),
            healthy: of("healthy"),
            act: of("act"),
            wait: of("wait"),
            blocked: of("blocked"),
            expired: self.certificates.iter().filter(|one| one.expired()).count(),
            next_renewal: next.map(|(at, name)| NextRenewal {
                certificate: name.clone(),
                at: at.clone(),
            }),
        };
    }
}

impl CertificateStatus {
    /// End of validity.
    #[must_use]
    pub fn not_after(&self) -> Option<Timestamp> {
        moment(self.report.not_after.as_ref())
    }

    /// The first end of what is served anywhere, and of the newest: a newer one may be kept back.
    #[must_use]
    pub fn ends(&self) -> Option<Timestamp> {
        let places = self.report.targets.iter();
        let served = places.filter_map(|place| moment(place.not_after.as_ref()));
        served.chain(self.not_after()).min()
    }

    /// Whether that is past, as of the status.
    #[must_use]
    pub fn expired(&self) -> bool {
        self.days_left.is_some_and(|days| days <= 0.0)
    }

    fn settle(&mut self, now: Timestamp) {
        let left = self.ends().map(|end| now.until(end));
        let round = |number: f64, digits: f64| (number * digits).round() / digits;
        // The end itself belongs to what is past, also when it is rounded.
        self.days_left = left.map(|left| match round(left.0 as f64 / DAY, 100.0) {
            0.0 if left.0 > 0 => 0.01,
            days => days,
        });
        self.share_left = left
            .zip(self.lifetime.filter(|lifetime| *lifetime > 0))
            .map(|(left, lifetime)| round(left.0 as f64 / lifetime as f64, 10_000.0));
        self.urgency = self.urgency(now);
    }

    fn urgency(&self, now: Timestamp) -> Urgency {
        let late = moment(self.emergency_at.as_ref()).is_some_and(|at| at <= now);
        let blocked = self.report.verdict == "blocked";
        let held = self.report.reason == Blocked::Held.code();
        let places = &self.report.targets;
        let in_state = |state: &str| places.iter().any(|place| place.state == state);
        if late || (blocked && !held) || in_state("undo-failed") {
            Urgency::Critical
        } else if self.failures > 0
            || FAILING.contains(&&*self.report.reason)
            || places.iter().any(TargetReport::is_in_doubt)
            || self.pushes.iter().any(PushReport::is_failing)
        {
            Urgency::Warning
        } else if self.report.verdict != "healthy" {
            Urgency::Notice
        } else {
            Urgency::Ok
        }
    }
}

fn certificate(
    policy: &Policy,
    wanted: &CertificatePolicy,
    state: Option<&CertificateState>,
    order: Option<&Order>,
    report: Report,
    now: Timestamp,
) -> CertificateStatus {
    let newest = state.and_then(|state| state.newest.as_ref());
    let window = state
        .zip(newest)
        .map(|(state, newest)| renewal::of(policy, wanted, state, newest));
    let failures = [
        state.map(|state| &state.failures),
        state.map(|state| &state.survey_failures),
        order.map(|order| &order.failures),
    ];
    let (failures, failure) = worst(failures.into_iter().flatten());
    let mut one = CertificateStatus {
        report,
        urgency: Urgency::Ok,
        names: wanted.names.iter().map(ToString::to_string).collect(),
        tags: wanted.tags.iter().cloned().collect(),
        not_before: newest.map(|newest| newest.facts.not_before.to_string()),
        lifetime: newest.map(|newest| newest.facts.lifetime().0),
        renewal_at: window.map(|window| window.renew_at.to_string()),
        emergency_at: window.map(|window| window.emergency_at.to_string()),
        days_left: None,
        share_left: None,
        failures,
        failure,
        pushes: Vec::new(),
    };
    one.settle(now);
    one
}

fn purchases(policy: &Policy, snapshot: &Snapshot, now: Timestamp) -> Vec<PurchaseStatus> {
    let all = policy.issuers.iter().filter_map(|(id, issuer)| {
        let budget = match &issuer.kind {
            IssuerKind::Scm(scm) => scm.purchase.as_ref()?.budget,
            IssuerKind::Pca(_) => return None,
        };
        let made = snapshot.purchases.get(id).map_or(&[][..], Vec::as_slice);
        let (day, month) = order_machine::spent(made, &[], now);
        Some(PurchaseStatus {
            name: id.to_string(),
            day,
            day_allowed: budget.per_day,
            month,
            month_allowed: budget.per_month,
        })
    });
    all.collect()
}

fn target(id: &TargetId, state: Option<&TargetState>, open: Option<&Rollout>) -> TargetStatus {
    let before = state.map(|state| &state.failures);
    let (failures, failure) = worst(before.into_iter().chain(open.map(|open| &open.failures)));
    TargetStatus {
        name: id.to_string(),
        failures,
        failure,
        undo_failed: state.is_some_and(|state| state.undo_failed.is_some()),
        proven_at: state.and_then(|state| Some(state.proven_at?.to_string())),
        rollout: open.map(|open| open.phase.code().into()),
    }
}

/// Those that are most, with the words of the last one.
fn worst<'a>(all: impl Iterator<Item = &'a Failures>) -> (u32, Option<String>) {
    let worst = all.max_by_key(|failures| failures.count);
    let last = worst.and_then(|failures| Some(failures.last.as_ref()?.message.clone()));
    (worst.map_or(0, |failures| failures.count), last)
}

fn rank(severity: &str) -> u8 {
    match severity {
        "critical" => 0,
        "warning" => 1,
        _ => 2,
    }
}

/// As it was written by us; what somebody else wrote and is no moment counts for nothing.
pub fn moment(text: Option<&String>) -> Option<Timestamp> {
    Timestamp::parse(text?).ok()
}

const DAY: f64 = Seconds::days(1).0 as f64;

/// Reasons to wait that mean that something does not work.
const FAILING: &[&str] = &["backoff", "no-space", "clock", "service", "no-offer"];
