//! One object per certificate: the contract of `--json`, and the table of `status`.

use crate::model::{Policy, Snapshot};
use crate::plan::{Plan, Verdict};

/// One certificate.
#[derive(serde::Serialize)]
pub(crate) struct Report {
    pub(crate) name: String,
    pub(crate) verdict: &'static str,
    pub(crate) reason: Option<&'static str>,
    pub(crate) serial: Option<String>,
    pub(crate) not_after: Option<String>,
    pub(crate) next_action: String,
    pub(crate) targets: Vec<String>,
}

pub(crate) fn report(policy: &Policy, snapshot: &Snapshot, plan: &Plan) -> Vec<Report> {
    plan.verdicts
        .iter()
        .map(|(id, verdict)| {
            let newest = snapshot
                .certificates
                .get(id)
                .and_then(|c| c.newest.as_ref());
            let (reason, next) = match verdict {
                Verdict::Healthy { renew_at } => (None, format!("renew at {renew_at}")),
                Verdict::Act(reason) => (Some(reason.code()), reason.to_string()),
                Verdict::Wait(waiting) => (Some(waiting.code()), waiting.to_string()),
                Verdict::Blocked(blocked) => (Some(blocked.code()), blocked.to_string()),
            };
            Report {
                name: id.to_string(),
                verdict: verdict.code(),
                reason,
                serial: newest.map(|n| n.facts.serial.clone()),
                not_after: newest.map(|n| n.facts.not_after.to_string()),
                next_action: next,
                targets: policy
                    .certificates
                    .get(id)
                    .map(|c| c.targets.iter().map(ToString::to_string).collect())
                    .unwrap_or_default(),
            }
        })
        .collect()
}

pub(crate) fn text(report: &[Report]) -> String {
    report
        .iter()
        .map(|r| {
            format!(
                "{:<24} {:<8} {:<40} {} {}\n",
                r.name,
                r.verdict,
                r.serial.as_deref().unwrap_or("-"),
                r.not_after.as_deref().unwrap_or("-"),
                r.next_action
            )
        })
        .collect()
}
