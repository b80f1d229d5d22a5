//! What people see while steps are carried out.

use std::sync::Arc;

/// One line of progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// A step was done.
    Done {
        /// Certificate or target.
        subject: String,
        /// What happened.
        text: String,
    },
    /// A step failed.
    Failed {
        /// Certificate or target.
        subject: String,
        /// What and why.
        text: String,
        /// Captured output of a command; empty where there was none.
        output: String,
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
        /// `critical`, `warning` or `notice`.
        severity: String,
        /// One line.
        title: String,
        /// What to do.
        text: String,
    },
    /// An alert is true no more.
    Resolved {
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
        Progress::Done { subject, text } => tracing::info!(%subject, "{text}"),
        Progress::Failed {
            subject,
            text,
            output,
        } => tracing::warn!(%subject, output, "{text}"),
        Progress::Waiting { subject, text } => tracing::debug!(%subject, "{text}"),
        Progress::Alert {
            severity,
            title,
            text,
        } if severity == "critical" => tracing::error!(%severity, text, "alert: {title}"),
        Progress::Alert {
            severity,
            title,
            text,
        } => tracing::warn!(%severity, text, "alert: {title}"),
        Progress::Resolved { title } => tracing::info!("resolved: {title}"),
    })
}
