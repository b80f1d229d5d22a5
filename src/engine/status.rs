//! What is known of everything, for whoever shows it: the command line, the status file, the metrics.
//!
//! Read from the journal alone, so that it can be told with and without a daemon.

use std::path::{Path, PathBuf};

use crate::engine::plan_within_space;
use crate::model::{JobRun, Policy, Seconds, Snapshot, Timestamp};
use crate::plan::status::{AgentStatus, AlertStatus, Status, Surroundings};
use crate::plan::{Plan, count_by_account};
use crate::store::{Store, StoreError, StoredAlert};
use crate::sys::clock::BUILT_AT;
use crate::sys::fs::Lock;
use crate::sys::{host, host_name};

/// The status at one moment, by the journal; `None` for one that was never written.
///
/// # Errors
/// When the journal cannot be read.
pub async fn status(
    policy: &Policy,
    store: Option<&dyn Store>,
    now: Timestamp,
) -> Result<Status, StoreError> {
    let (mut snapshot, alerts) = match store {
        Some(store) => (store.snapshot().await?, store.open_alerts().await?),
        None => (Snapshot::default(), Vec::new()),
    };
    snapshot.host = host::seed();
    let identity = snapshot.identity.as_ref();
    snapshot.stale = identity.and_then(|identity| identity.stale_on(&host::machine()));
    snapshot.clock.built_at = BUILT_AT;
    count_by_account(policy, &mut snapshot);
    let plan = plan_within_space(policy, &mut snapshot, now).await;
    Ok(status_of(policy, &snapshot, &plan, alerts, now))
}

/// The same by what is in memory.
pub(super) fn status_of(
    policy: &Policy,
    snapshot: &Snapshot,
    plan: &Plan,
    alerts: Vec<StoredAlert>,
    now: Timestamp,
) -> Status {
    let alerts = alerts.into_iter().map(|alert| AlertStatus {
        key: alert.key,
        severity: alert.severity,
        title: alert.title,
        text: alert.text,
        since: alert.raised_at.to_string(),
    });
    let around = Surroundings {
        host: host_name(),
        agent: agent(&policy.state_dir, snapshot),
        alerts: alerts.collect(),
    };
    Status::new(policy, snapshot, plan, now, around)
}

/// The file that a daemon holds locked for as long as it lives, and marks as often as it gets on.
#[must_use]
pub(crate) fn daemon_lock(state_dir: &Path) -> PathBuf {
    state_dir.join("daemon.lock")
}

/// Whether a daemon is there, and who got on last: it, or a run of `renewd once`.
#[must_use]
pub(crate) fn agent(state_dir: &Path, snapshot: &Snapshot) -> AgentStatus {
    let held = Lock::look(&daemon_lock(state_dir));
    let ended = |run: &JobRun| {
        let took = i64::try_from(run.took_ms / 1000).unwrap_or(0);
        run.started_at + Seconds(took)
    };
    let ran = snapshot.jobs.values().map(ended).max();
    let (running, process, marked) = match held {
        Ok(Some(held)) => {
            let process = held.by.as_ref().and_then(|by| by.split(' ').nth(1));
            let process = process.and_then(|number| number.parse().ok());
            (Some(held.by.is_some()), process, Some(held.marked_at))
        }
        Ok(None) => (Some(false), None, None),
        Err(_) => (None, None, None),
    };
    let daemon = running == Some(true) || (marked.is_some() && marked >= ran);
    let last = if running == Some(true) {
        marked
    } else {
        marked.max(ran)
    };
    AgentStatus {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        running,
        mode: last.map(|_| if daemon { "daemon" } else { "once" }.into()),
        process,
        progress_at: last.map(|at| at.to_string()),
    }
}
