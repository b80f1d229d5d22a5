//! The plan for people and for machines: `renewd plan`, `renewd status`, and their `--json`.
//!
//! One [`Report`] per certificate. Its fields and codes are a contract that scripts rely on; they are described in the
//! manual page. The texts are for people and may change.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::{
    CertificateId, CertificatePolicy, CertificateState, OrderMode, Policy, Probe, ProbeReport,
    RevisionId, Rollout, RolloutPhase, SightKind, Snapshot, TargetId, TargetPolicy, TargetState,
    Timestamp, Waiting,
};
use crate::plan::forecast::Foreseen;
use crate::plan::spending::{self, Spending};
use crate::plan::status::Code;
use crate::plan::{Action, Plan, Verdict, supplement};

/// What is known and decided about one certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// In the policy.
    pub name: String,
    /// `healthy`, `act`, `wait` or `blocked`.
    pub verdict: Code,
    /// Code of the reason, the wait or the block; `not-due` for a healthy one.
    pub reason: Code,
    /// The reason in words.
    pub message: String,
    /// Of the newest revision, lower-case hex; `null` before the first.
    pub serial: Option<String>,
    /// End of its validity, RFC 3339.
    pub not_after: Option<String>,
    /// What happens next; `null` when nothing does until a person acts.
    pub next_action: Option<NextAction>,
    /// What it would buy, or may; `null` for nothing.
    #[serde(default)]
    pub spending: Option<Spending>,
    /// Where the policy added names: to which certificate they are added, or why it takes another one; `null` elsewhere.
    #[serde(default)]
    pub added: Option<String>,
    /// What comes until the moment that was asked for; only where one was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub foreseen: Option<Foreseen>,
    /// One for each target of the certificate.
    pub targets: Vec<TargetReport>,
}

/// What happens next, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextAction {
    /// Such as `renew`, `retry`, `open-order`, `submit`, `commit`.
    pub action: Code,
    /// RFC 3339; `null` for now, or as soon as what it waits for is done.
    pub at: Option<String>,
}

/// What is known of a certificate on one of its targets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetReport {
    /// In the policy.
    pub name: String,
    /// `live` (the newest is served), `unproven` (the newest is in place, and `probe = "none"` asks nobody), `behind` (an
    /// older one is), `held` (an older one is, by hand), `absent` (none is), `pending` (written; proven when the service comes up), `undo-failed` (unknown: a person must look).
    pub state: Code,
    /// Serial of what is served, where it is remembered.
    pub serial: Option<String>,
    /// End of its validity, RFC 3339, where it is remembered.
    #[serde(default)]
    pub not_after: Option<String>,
    /// Phase of the open rollout, if there is one.
    pub rollout: Option<Code>,
    /// When a handshake showed the present set, RFC 3339; `null` for never, or where the policy says `probe = "none"`.
    pub proven_at: Option<String>,
    /// What was seen of the target's names at other addresses, at the last look: `observed-same`, `observed-silent`
    /// (somewhere nobody answers) or `observed-differs`; `null` where the policy observes nothing.
    pub observed: Option<Code>,
}

impl TargetReport {
    /// The newest revision is in place, and nobody has seen it served, although the policy has somebody look.
    #[must_use]
    pub fn is_in_doubt(&self) -> bool {
        self.state == "pending" || (self.state == "live" && self.proven_at.is_none())
    }
}

/// A report for every certificate of the policy, in the order of their names.
#[must_use]
pub fn report(policy: &Policy, snapshot: &Snapshot, plan: &Plan, now: Timestamp) -> Vec<Report> {
    let unknown = CertificateState::default();
    let doing = doing(snapshot, plan);
    let mut spending = spending::of(policy, snapshot, plan, now);
    let mut added = supplement::notes(policy, snapshot, plan, now);
    let rollouts: BTreeMap<&TargetId, &Rollout> = snapshot
        .rollouts
        .values()
        .map(|rollout| (&rollout.target, rollout))
        .collect();
    plan.verdicts
        .iter()
        .filter_map(|(id, verdict)| {
            let certificate = policy.certificates.get(id)?;
            let state = snapshot.certificates.get(id).unwrap_or(&unknown);
            let newest = state.newest.as_ref();
            Some(Report {
                name: id.to_string(),
                verdict: verdict.code().into(),
                reason: reason(verdict).into(),
                message: message(verdict, certificate, state),
                serial: newest.map(|newest| newest.facts.serial.clone()),
                not_after: newest.map(|newest| newest.facts.not_after.to_string()),
                next_action: next_action(verdict, certificate, doing.get(id).copied()),
                // Blocked, it buys nothing.
                spending: spending.remove(id).filter(|_| verdict.code() != BLOCKED),
                added: added.remove(id),
                foreseen: None,
                targets: certificate
                    .targets
                    .iter()
                    .map(|target| {
                        let place = snapshot.targets.get(target);
                        let rollout = rollouts.get(target).copied();
                        let policy = policy.targets.get(target);
                        on_target(id, state, target, place, rollout, policy)
                    })
                    .collect(),
            })
        })
        .collect()
}

/// One line per certificate, then what would be bought, then the alerts that stand, then when the next look is.
#[must_use]
pub fn text(policy: &Policy, snapshot: &Snapshot, plan: &Plan, now: Timestamp) -> String {
    let reports = report(policy, snapshot, plan, now);
    let rows: Vec<[String; 5]> = reports
        .iter()
        .map(|report| {
            [
                report.name.clone(),
                report.verdict.to_string(),
                report.reason.to_string(),
                when(report, now),
                report.message.clone(),
            ]
        })
        .collect();
    let mut text = table(&rows);
    for report in &reports {
        if let Some(added) = &report.added {
            text.push_str(&format!("{} {added}\n", report.name));
        }
        if let Some(spending) = &report.spending {
            text.push_str(&format!("{} {}\n", report.name, spending.describe()));
        }
    }
    let all = reports.iter().filter_map(|report| report.spending.as_ref());
    if let Some(sum) = spending::sum(all) {
        text.push_str(&format!("{sum}\n"));
    }
    for alert in plan.alerts.values() {
        text.push_str(&format!("alert ({}): {}\n", alert.severity, alert.title));
    }
    let next = now.until(plan.next_wake);
    text.push_str(&if plan.actions.is_empty() {
        format!("next look in {next}, at {}\n", plan.next_wake)
    } else {
        format!(
            "{} to carry out now\n",
            counted(plan.actions.len(), "action")
        )
    });
    text
}

/// What is there and where it is served; several lines per certificate.
#[must_use]
pub fn status(reports: &[Report]) -> String {
    let mut text = String::new();
    for report in reports {
        text.push_str(&format!("{}: {}", report.name, report.verdict));
        if report.verdict != HEALTHY {
            text.push_str(&format!(" ({}): {}", report.reason, report.message));
        }
        text.push('\n');
        match (&report.serial, &report.not_after) {
            (Some(serial), Some(not_after)) => {
                text.push_str(&format!("  serial {serial}, valid until {not_after}\n"));
            }
            _ => text.push_str("  no certificate yet\n"),
        }
        for target in &report.targets {
            text.push_str(&format!("  on {}: {}\n", target.name, place(target)));
        }
        if let Some(next) = &report.next_action {
            let at = next
                .at
                .as_ref()
                .map_or_else(|| "as soon as possible".to_owned(), |at| format!("at {at}"));
            text.push_str(&format!("  next: {} {at}\n", next.action));
        }
    }
    text
}

/// How many certificates are healthy, and which is renewed next; one line.
#[must_use]
pub fn summary(plan: &Plan) -> String {
    let healthy = plan
        .verdicts
        .values()
        .filter(|verdict| matches!(verdict, Verdict::Healthy { .. }))
        .count();
    let first = plan
        .verdicts
        .iter()
        .filter_map(|(id, verdict)| match verdict {
            Verdict::Healthy { renew_at } => Some((*renew_at, id)),
            Verdict::Act(_) | Verdict::Wait(_) | Verdict::Blocked(_) => None,
        })
        .min();
    let next = first.map_or(String::new(), |(at, id)| {
        format!("; next renewal {id} at {at}")
    });
    format!(
        "{healthy} of {} healthy{next}",
        counted(plan.verdicts.len(), "certificate")
    )
}

/// A number with its noun: `1 action`, `2 actions`.
#[must_use]
pub fn counted(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

/// What one handshake showed, in one line.
#[must_use]
pub fn describe_report(report: &ProbeReport) -> String {
    format!(
        "{} at {}: serial {}, names {}, valid until {}, {}, {}, {} ms",
        report.name,
        report.address,
        report.serial,
        report.names,
        report.not_after,
        counted(report.chain, "certificate"),
        report.protocol,
        report.milliseconds
    )
}

/// A target in one line, behind its name.
#[must_use]
pub fn place(target: &TargetReport) -> String {
    let mut text = target.state.to_string();
    if let Some(serial) = &target.serial {
        text.push_str(&format!(", serial {serial}"));
    }
    if let Some(phase) = &target.rollout {
        text.push_str(&format!(", rollout {phase}"));
    }
    match &target.proven_at {
        Some(at) => text.push_str(&format!(", proven at {at}")),
        None if target.serial.is_some() && target.state != UNPROVEN => text.push_str(", unproven"),
        None => {}
    }
    if target.observed.as_deref() == Some(SightKind::Differs.code()) {
        text.push_str(", another certificate elsewhere");
    }
    text
}

const fn reason(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Healthy { .. } => "not-due",
        Verdict::Act(reason) => reason.code(),
        Verdict::Wait(waiting) => waiting.code(),
        Verdict::Blocked(blocked) => blocked.code(),
    }
}

fn message(verdict: &Verdict, certificate: &CertificatePolicy, state: &CertificateState) -> String {
    match verdict {
        Verdict::Healthy { .. } => {
            let until = state.newest.as_ref().map_or_else(String::new, |newest| {
                format!("valid until {}", newest.facts.not_after)
            });
            match certificate.order {
                OrderMode::Auto => until,
                OrderMode::Never => format!("{until}, renewed by others"),
            }
        }
        Verdict::Act(reason) => reason.to_string(),
        Verdict::Wait(waiting) => waiting.to_string(),
        Verdict::Blocked(blocked) => blocked.to_string(),
    }
}

fn next_action(
    verdict: &Verdict,
    certificate: &CertificatePolicy,
    doing: Option<&'static str>,
) -> Option<NextAction> {
    let (action, at) = match verdict {
        Verdict::Healthy { renew_at } => (
            match certificate.order {
                OrderMode::Auto => "renew",
                OrderMode::Never => "expect-newer",
            },
            Some(*renew_at),
        ),
        Verdict::Act(_) => (doing.unwrap_or("act"), None),
        // A follower's account is asked again while it waits.
        Verdict::Wait(_) if doing.is_some() => (doing?, None),
        Verdict::Wait(waiting) => (
            match waiting {
                Waiting::Issuance { .. } | Waiting::Review { .. } => "fetch",
                Waiting::Successor { .. } | Waiting::Entitlement { .. } => "look",
                Waiting::Claim { .. } => "confirm",
                Waiting::PurchaseBudget { .. } => "buy",
                Waiting::Purchase { .. } => "trace",
                Waiting::DomainProof { .. } => "examine",
                Waiting::Settling { .. } => "resolve",
                Waiting::Backoff { .. } => "retry",
                Waiting::Service { .. } => "verify",
                Waiting::NoOffer { .. } => "survey",
                Waiting::Clock { .. } => "ask-the-time",
                Waiting::Schedule { .. } => "renew",
                Waiting::NoSpace { .. } | Waiting::IssuerBudget { .. } => "open-order",
                Waiting::Window { .. }
                | Waiting::ReloadBudget { .. }
                | Waiting::Rollout
                | Waiting::Batch { .. } => OPEN_ROLLOUT,
            },
            waiting.until(),
        ),
        Verdict::Blocked(blocked) => ("retry", Some(blocked.until()?)),
    };
    Some(NextAction {
        action: action.into(),
        at: at.map(|at| at.to_string()),
    })
}

/// What the plan does for each certificate: the first of its actions.
fn doing<'a>(snapshot: &'a Snapshot, plan: &'a Plan) -> BTreeMap<&'a CertificateId, &'static str> {
    let mut doing = BTreeMap::new();
    for action in &plan.actions {
        let (code, certificates): (_, Vec<&CertificateId>) = match action {
            Action::OpenOrder { certificate, .. } => ("open-order", vec![certificate]),
            Action::Survey { certificate } => ("survey", vec![certificate]),
            Action::AdvanceOrder { order, step } => (step.code(), of_order(snapshot, order)),
            Action::RecordOrder { order, event } => (event.code(), of_order(snapshot, order)),
            Action::AbandonOrder { order, .. } => ("abandon-order", of_order(snapshot, order)),
            Action::Tend { certificate, task } => (task.code(), vec![certificate]),
            // It is done for nobody's sake.
            Action::Observe { .. } => continue,
            Action::OpenRollout { reasons, .. } => (OPEN_ROLLOUT, reasons.keys().collect()),
            Action::AdvanceRollout { rollout, step } => {
                (step.code(), of_rollout(snapshot, rollout))
            }
            Action::RecordRollout { rollout, event } => {
                (event.code(), of_rollout(snapshot, rollout))
            }
        };
        for certificate in certificates {
            doing.entry(certificate).or_insert(code);
        }
    }
    doing
}

fn of_order<'a>(snapshot: &'a Snapshot, id: &crate::model::OrderId) -> Vec<&'a CertificateId> {
    let order = snapshot.orders.get(id);
    order.map(|order| &order.certificate).into_iter().collect()
}

fn of_rollout<'a>(snapshot: &'a Snapshot, id: &crate::model::RolloutId) -> Vec<&'a CertificateId> {
    let rollout = snapshot.rollouts.get(id);
    rollout.map_or_else(Vec::new, |rollout| rollout.reasons.keys().collect())
}

fn on_target(
    id: &CertificateId,
    state: &CertificateState,
    target: &TargetId,
    place: Option<&TargetState>,
    rollout: Option<&Rollout>,
    policy: Option<&TargetPolicy>,
) -> TargetReport {
    let probed = policy.is_none_or(|policy| policy.probe != Probe::None);
    let live = place.and_then(|place| place.live.get(id));
    let newest = state.newest.as_ref().map(|newest| &newest.id);
    let held = place.is_some_and(|place| newest.is_some_and(|newest| place.held.contains(newest)));
    TargetReport {
        name: target.to_string(),
        state: if place.is_some_and(|place| place.undo_failed.is_some()) {
            "undo-failed"
        } else if rollout
            .is_some_and(|rollout| matches!(rollout.phase, RolloutPhase::AwaitingService { .. }))
        {
            "pending"
        } else if live.is_none() {
            "absent"
        } else if live == newest && !probed {
            UNPROVEN
        } else if live == newest {
            "live"
        } else if held {
            "held"
        } else {
            "behind"
        }
        .into(),
        serial: live.and_then(|live| serial(state, live)),
        not_after: live
            .and_then(|live| state.not_after(live))
            .map(|at| at.to_string()),
        rollout: rollout.map(|rollout| rollout.phase.code().into()),
        proven_at: place
            .and_then(|place| place.proven_at)
            .filter(|_| live.is_some())
            .map(|at| at.to_string()),
        observed: place
            .and_then(|place| place.observed.as_ref())
            .filter(|_| policy.is_some_and(|policy| !policy.observe.is_empty()))
            .map(|observed| observed.worst().code().into()),
    }
}

fn serial(state: &CertificateState, revision: &RevisionId) -> Option<String> {
    match &state.newest {
        Some(newest) if newest.id == *revision => Some(newest.facts.serial.clone()),
        Some(_) | None => state
            .earlier
            .iter()
            .find(|earlier| earlier.id == *revision)
            .map(|earlier| earlier.serial.clone()),
    }
}

fn when(report: &Report, now: Timestamp) -> String {
    let Some(next) = &report.next_action else {
        return "-".to_owned();
    };
    match next.at.as_deref().map(Timestamp::parse) {
        Some(Ok(at)) if at > now => format!("{} in {}", next.action, now.until(at)),
        // What it waits for has no known end.
        None if report.verdict == WAIT && next.action == OPEN_ROLLOUT => {
            format!("{} later", next.action)
        }
        Some(_) | None => format!("{} now", next.action),
    }
}

/// Columns wide enough for their longest cell, the last one free.
fn table<const COLUMNS: usize>(rows: &[[String; COLUMNS]]) -> String {
    let mut widths = [0; COLUMNS];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (width, cell) in widths.iter().zip(row) {
            line.push_str(&format!("{cell:width$}  "));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

const UNPROVEN: &str = "unproven";
const HEALTHY: &str = "healthy";
const WAIT: &str = "wait";
const BLOCKED: &str = "blocked";
const OPEN_ROLLOUT: &str = "open-rollout";
