//! Where the log goes: to the journal under systemd, to standard error elsewhere.
//!
//! `RENEWD_LOG` sets what is written (`info`, `renewd=debug`, …); without it the daemon writes `info`, and a person's
//! command the warnings of renewd itself, beside its progress.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Starts logging, by default what the filter `default` lets through; call once.
pub fn start(default: &str) {
    let filter = EnvFilter::try_from_env("RENEWD_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let registry = tracing_subscriber::registry().with(filter);
    // Set by systemd for services whose output goes to the journal.
    let under_systemd = std::env::var_os("JOURNAL_STREAM").is_some();
    let journal = under_systemd.then(tracing_journald::layer).transpose();
    let (journal, without) = match journal {
        Ok(journal) => (journal, None),
        Err(error) => (None, Some(error)),
    };
    // Fails only when logging was started before, by a test.
    let _ = match journal {
        Some(layer) => registry
            .with(layer.with_field_prefix(Some("RENEWD".to_owned())))
            .try_init(),
        None => registry
            .with(
                tracing_subscriber::fmt::layer()
                    .with_writer(std::io::stderr)
                    .with_ansi(colours())
                    .with_target(false),
            )
            .try_init(),
    };
    if let Some(error) = without {
        tracing::warn!(%error, "the journal's socket cannot be used: entries go to standard error and have no fields");
    }
}

fn colours() -> bool {
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    std::io::stderr().is_terminal() && !unwanted
}
