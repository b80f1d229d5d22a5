//! What people see while steps are carried out.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tracing::Span;

use crate::model::{AlertKey, CertificateId, Milestone, OrderId, RolloutId, Snapshot};
use crate::plan::Action;

/// One line of progress. As JSON it is an event of the control socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Progress {
    /// A step was done.
    Done {
        /// Certificate or target.
        subject: String,
        /// What happened.
        text: String,
        /// Where it is worth finding again: `issued` or `live`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        milestone: Option<Milestone>,
    },
    /// A step failed.
    Failed {
        /// Certificate or target.
        subject: String,
        /// What and why.
        text: String,
        /// Captured output of a command; empty where there was none.
        #[serde(default)]
        output: String,
        /// Where it is worth finding again: `rolled-back`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        milestone: Option<Milestone>,
    },
    /// Nothing to do but wait.
    Waiting {
        /// Certificate or target.
        subject: String,
        /// For what, until when.
        text: String,
    },
    /// Somebody must know.
    Alert {
        /// What it is about, such as `rolled-back/web`; the same until it is resolved.
        key: String,
        /// `critical`, `warning` or `notice`.
        severity: String,
        /// One line.
        title: String,
        /// What to do.
        text: String,
    },
    /// The policy was read again.
    Policy {
        /// Whether the new one is in force.
        accepted: bool,
        /// Of what it is; or what is wrong with it.
        text: String,
    },
    /// An alert is true no more.
    Resolved {
        /// What it was about.
        key: String,
        /// Its title.
        title: String,
    },
}

/// Receives progress; called from several tasks.
pub type ProgressSink = Arc<dyn Fn(Progress) + Send + Sync>;

/// Writes progress to the log; what the daemon uses.
#[must_use]
pub fn log_sink() -> ProgressSink {
    Arc::new(|progress| match progress {
        Progress::Done {
            subject,
            text,
            milestone,
        } => tracing::info!(%subject, event = milestone.map(Milestone::code), "{text}"),
        Progress::Failed {
            subject,
            text,
            output,
            milestone,
        } => tracing::warn!(%subject, output, event = milestone.map(Milestone::code), "{text}"),
        Progress::Waiting { subject, text } => tracing::debug!(%subject, "{text}"),
        Progress::Alert {
            key,
            severity,
            title,
            text,
        } => {
            let event = AlertKey::kind_of(&key);
            if severity == "critical" {
                tracing::error!(event, alert = key, %severity, text, "alert: {title}");
            } else {
                tracing::warn!(event, alert = key, %severity, text, "alert: {title}");
            }
        }
        // Where that happens, more is logged.
        Progress::Policy { .. } => {}
        Progress::Resolved { key, title } => {
            tracing::info!(
                event = Milestone::Over.code(),
                alert = key,
                "resolved: {title}"
            );
        }
    })
}

/// What a step is about, for everything that is logged while it is carried out. journald keeps it as the fields
/// `RENEWD_CERTIFICATE` (several for several certificates), `RENEWD_TARGET`, `RENEWD_ORDER` and `RENEWD_ROLLOUT`.
pub(super) fn span(action: &Action, snapshot: &Snapshot) -> Span {
    let span = tracing::info_span!(
        "step",
        certificate = tracing::field::Empty,
        target = tracing::field::Empty,
        order = tracing::field::Empty,
        rollout = tracing::field::Empty,
    );
    match action {
        Action::OpenOrder { certificate, .. }
        | Action::Survey { certificate }
        | Action::Tend { certificate, .. } => {
            about_certificates(&span, [certificate]);
        }
        Action::AdvanceOrder { order, .. }
        | Action::AbandonOrder { order, .. }
        | Action::RecordOrder { order, .. } => about_order(&span, order, snapshot),
        Action::OpenRollout {
            target, reasons, ..
        } => {
            span.record("target", target.as_str());
            about_certificates(&span, reasons.keys());
        }
        Action::Observe { target } => {
            span.record("target", target.as_str());
        }
        Action::AdvanceRollout { rollout, .. } | Action::RecordRollout { rollout, .. } => {
            about_rollout(&span, rollout, snapshot);
        }
    }
    span
}

fn about_order(span: &Span, id: &OrderId, snapshot: &Snapshot) {
    span.record("order", id.as_str());
    let order = snapshot.orders.get(id);
    about_certificates(span, order.map(|order| &order.certificate));
}

fn about_rollout(span: &Span, id: &RolloutId, snapshot: &Snapshot) {
    span.record("rollout", id.as_str());
    if let Some(rollout) = snapshot.rollouts.get(id) {
        span.record("target", rollout.target.as_str());
        about_certificates(span, rollout.reasons.keys());
    }
}

/// Those that change, up to a limit. A field that is recorded again is another field of the same name.
fn about_certificates<'a>(span: &Span, all: impl IntoIterator<Item = &'a CertificateId>) {
    for certificate in all.into_iter().take(MOST_CERTIFICATES) {
        span.record("certificate", certificate.as_str());
    }
}

/// In each log entry of a rollout, which may change thousands.
const MOST_CERTIFICATES: usize = 16;
