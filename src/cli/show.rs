//! Commands that only look: validate, plan, history. They never write and never wait.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::cli::args::Arguments;
use crate::cli::context;
use crate::cli::exit::Exit;
use crate::cli::output::{self, BOLD};
use crate::cli::{CommandResult, Failure};
use crate::engine::plan_within_space;
use crate::model::{CertificateId, ClockFacts, Policy, Seconds, Snapshot, Timestamp};
use crate::plan::explain::{self, Report, counted};
use crate::plan::forecast::{self, Foreseen};
use crate::plan::watch::{self, WatchReport};
use crate::plan::{Plan, count_by_account};
use crate::store::{HistoryEntry, Store};
use crate::sys::clock::{BUILT_AT, Clock, SystemClock};
use crate::sys::host;

/// Reads the policy and says so.
pub(crate) fn validate(arguments: &Arguments) -> CommandResult {
    let loaded = context::load(arguments)?;
    output::data(&format!(
        "{} is good: {}, {}, {} from {}\n",
        arguments.config.display(),
        counted(loaded.policy.certificates.len(), "certificate"),
        counted(loaded.policy.issuers.len(), "issuer"),
        counted(loaded.policy.targets.len(), "target"),
        counted(loaded.files.len(), "file")
    ));
    Ok(Exit::Done)
}

/// What would be done and why.
pub(crate) async fn plan(
    arguments: &Arguments,
    json: bool,
    at: Option<Timestamp>,
) -> CommandResult {
    let loaded = context::load(arguments)?;
    let mut seen = look(&loaded.policy, at).await?;
    let now = seen.now;
    let foreseen = match at {
        Some(at) => foresee(&loaded.policy, at).await?,
        None => BTreeMap::new(),
    };
    for report in &mut seen.report {
        report.foreseen = foreseen.get(report.name.as_str()).cloned();
    }
    if json {
        print_json(&seen.objects()?)?;
    } else {
        let mut text = explain::text(&loaded.policy, &seen.snapshot, &seen.plan, now);
        text.push_str(&watch::text(&seen.watched));
        if !foreseen.is_empty() {
            text.push_str(&forecast::text(&foreseen, now));
        }
        output::data(&text);
    }
    Ok(Exit::Done)
}

/// What comes from now on until then; nothing where that is over.
async fn foresee(
    policy: &Policy,
    at: Timestamp,
) -> Result<BTreeMap<CertificateId, Foreseen>, Failure> {
    let present = look(policy, None).await?;
    if at <= present.now {
        return Ok(BTreeMap::new());
    }
    let span = (present.now, at);
    Ok(forecast::forecast(policy, &present.snapshot, span))
}

/// Every step of every order and rollout.
pub(crate) async fn history(
    arguments: &Arguments,
    name: &CertificateId,
    json: bool,
) -> CommandResult {
    let loaded = context::load(arguments)?;
    let store = context::reader(&loaded.policy).await?;
    let events = match &store {
        Some(store) => store
            .history(name)
            .await
            .map_err(|error| context::store_failure(&error))?,
        None => Vec::new(),
    };
    // What left the policy keeps its history; only a name that nothing knows is a mistake.
    if events.is_empty() {
        context::known(&loaded.policy, name)?;
    }
    if json {
        let seen = look(&loaded.policy, None).await?;
        let report = seen
            .report
            .iter()
            .find(|report| report.name == name.as_str());
        print_json(&[history_object(name, report, &events)?])?;
    } else {
        output::data(&render_history(&events));
    }
    Ok(Exit::Done)
}

/// The certificate's report, as `status` has it, with its events beside; a certificate that left the policy has no
/// report.
fn history_object(
    name: &CertificateId,
    report: Option<&Report>,
    events: &[HistoryEntry],
) -> Result<Value, Failure> {
    let bug = |error: serde_json::Error| Failure::new(Exit::Bug, error.to_string());
    let mut object = match report {
        Some(report) => serde_json::to_value(report).map_err(bug)?,
        None => serde_json::json!({ "name": name }),
    };
    let mut list = serde_json::to_value(events).map_err(bug)?;
    // The journal counts seconds; scripts read the same form of time everywhere.
    for (value, event) in list.as_array_mut().into_iter().flatten().zip(events) {
        value["at"] = event.at.to_string().into();
        let probes = value["probes"].as_array_mut();
        for (value, probe) in probes.into_iter().flatten().zip(&event.probes) {
            value["not_after"] = probe.not_after.to_string().into();
        }
    }
    object["events"] = list;
    Ok(object)
}

/// What only looking shows.
pub(crate) struct Seen {
    pub(crate) now: Timestamp,
    pub(crate) snapshot: Snapshot,
    pub(crate) plan: Plan,
    report: Vec<Report>,
    watched: Vec<WatchReport>,
}

impl Seen {
    /// The certificates of the policy, then what is watched.
    fn objects(&self) -> Result<Vec<Value>, Failure> {
        let certificates = self.report.iter().map(serde_json::to_value);
        let watched = self.watched.iter().map(serde_json::to_value);
        let all: Result<Vec<Value>, _> = certificates.chain(watched).collect();
        all.map_err(|error| Failure::new(Exit::Bug, error.to_string()))
    }
}

/// At the present moment, unless another one is asked for.
pub(crate) async fn look(policy: &Policy, at: Option<Timestamp>) -> Result<Seen, Failure> {
    let store = context::reader(policy).await?;
    let mut snapshot = match &store {
        Some(store) => store
            .snapshot()
            .await
            .map_err(|error| context::store_failure(&error))?,
        None => Snapshot::default(),
    };
    snapshot.host = host::seed();
    let identity = snapshot.identity.as_ref();
    snapshot.stale = identity.and_then(|identity| identity.stale_on(&host::machine()));
    snapshot.clock.built_at = BUILT_AT;
    count_by_account(policy, &mut snapshot);
    if at.is_some() {
        // Of a moment that is asked for nobody says that it is now.
        snapshot.clock = ClockFacts::default();
    }
    let now = at.unwrap_or_else(|| SystemClock.now());
    let plan = plan_within_space(policy, &mut snapshot, now).await;
    let report = explain::report(policy, &snapshot, &plan, now);
    let watched = watch::report(policy, &snapshot, now);
    Ok(Seen {
        now,
        snapshot,
        plan,
        report,
        watched,
    })
}

fn print_json<T: serde::Serialize + ?Sized>(value: &T) -> Result<(), Failure> {
    let mut text = serde_json::to_string_pretty(value)
        .map_err(|error| Failure::new(Exit::Bug, error.to_string()))?;
    text.push('\n');
    output::data(&text);
    Ok(())
}

fn render_history(events: &[HistoryEntry]) -> String {
    let mut text = String::new();
    let mut last = "";
    for event in events {
        // A started step is of interest only where its outcome is missing.
        if event.kind == "started" {
            continue;
        }
        if event.id != last {
            let target = event
                .target
                .as_deref()
                .map(|t| format!(" on {t}"))
                .unwrap_or_default();
            text.push_str(&format!(
                "{BOLD}{} {}{target}{BOLD:#}\n",
                event.machine, event.id
            ));
            last = &event.id;
        }
        let step = event.step.as_deref().unwrap_or("-");
        let took = event.milliseconds.map(duration).unwrap_or_default();
        text.push_str(&format!(
            "  {}  {:<12} {:<9} {took:>8}  {}\n",
            event.at, step, event.kind, event.message
        ));
        for probe in &event.probes {
            text.push_str(&format!("      - {}\n", explain::describe_report(probe)));
        }
        for line in event.output.trim_end().lines() {
            text.push_str(&format!("      | {line}\n"));
        }
    }
    text
}

/// `240 ms`, `3.2 s`, `2m 5s`.
fn duration(milliseconds: u64) -> String {
    match milliseconds {
        0..1000 => format!("{milliseconds} ms"),
        1000..60_000 => format!("{}.{} s", milliseconds / 1000, milliseconds / 100 % 10),
        longer => Seconds(i64::try_from(longer / 1000).unwrap_or(i64::MAX)).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_short_to_read() {
        for (milliseconds, shown) in [
            (0, "0 ms"),
            (999, "999 ms"),
            (1000, "1.0 s"),
            (3250, "3.2 s"),
            (59_999, "59.9 s"),
            (125_000, "2m 5s"),
        ] {
            assert_eq!(duration(milliseconds), shown);
        }
    }
}
