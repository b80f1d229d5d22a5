//! Where the log goes: to the journal under systemd, to standard error elsewhere.
//!
//! `RENEWD_LOG` sets what is written (`info`, `renewd=debug`, …); without it the daemon writes `info`, and a person's
//! command the warnings of renewd itself, beside its progress.
//!
//! What has a field `event` (the kind of an alert, or a milestone) gets the journal's own field `MESSAGE_ID`, by which
//! the catalog explains it and people find it again.

use std::fmt;
use std::io::IsTerminal as _;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::model::message_id;

/// Starts logging, by default what the filter `default` lets through; call once.
pub fn start(default: &str) {
    let filter = EnvFilter::try_from_env("RENEWD_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let registry = tracing_subscriber::registry().with(filter);
    // Set by systemd for services whose output goes to the journal.
    let under_systemd = std::env::var_os("JOURNAL_STREAM").is_some();
    let journal = under_systemd.then(journal).transpose();
    let (journal, without) = match journal {
        Ok(journal) => (journal, None),
        Err(error) => (None, Some(error)),
    };
    // Fails only when logging was started before, by a test.
    let _ = match journal {
        Some(layer) => registry.with(Journal(layer)).try_init(),
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

/// Entries with fields that begin with `RENEWD_`.
fn journal() -> std::io::Result<tracing_journald::Layer> {
    let layer = tracing_journald::layer()?;
    Ok(layer.with_field_prefix(Some("RENEWD".to_owned())))
}

/// The journal, which knows some entries by a number. The crate's layer puts its prefix before every field of an event,
/// and fields without it are the same for each entry of a layer: so an entry with a number goes through a layer of its
/// own, made for it alone. There are few of them, and none is lost where no socket can be had for it.
struct Journal(tracing_journald::Layer);

impl<S> Layer<S> for Journal
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        self.0.on_new_span(attributes, id, context);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        self.0.on_record(id, values, context);
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut number = Number(None);
        event.record(&mut number);
        let own = number.0.and_then(|number| {
            let layer = journal().ok()?;
            Some(layer.with_custom_fields([("MESSAGE_ID", number)]))
        });
        own.as_ref().unwrap_or(&self.0).on_event(event, context);
    }
}

/// That of the field `event`, where there is one.
struct Number(Option<&'static str>);

impl Visit for Number {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "event" {
            self.0 = message_id(value);
        }
    }

    fn record_debug(&mut self, _field: &Field, _value: &dyn fmt::Debug) {}
}
