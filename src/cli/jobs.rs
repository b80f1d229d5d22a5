//! Commands about jobs: when each ran and runs, and a run now.

use std::time::Duration;

use serde_json::{Value, json};

use crate::cli::args::Arguments;
use crate::cli::context::{self, execute};
use crate::cli::exit::Exit;
use crate::cli::output::{self, BOLD, RED};
use crate::cli::{CommandResult, Failure, act, control};
use crate::engine::{Begun, Patience, Wanted};
use crate::model::{JobName, JobPolicy, JobResult, JobRun, Seconds, Snapshot, Timestamp};
use crate::plan::jobs;
use crate::store::Store;
use crate::sys::clock::{Clock, SystemClock};
use crate::sys::host;

/// Every job with its last run and its next.
pub(crate) async fn list(arguments: &Arguments, as_json: bool) -> CommandResult {
    let policy = context::load(arguments)?.policy;
    let mut snapshot = match context::reader(&policy).await? {
        Some(store) => store
            .snapshot()
            .await
            .map_err(|error| context::store_failure(&error))?,
        None => Snapshot::default(),
    };
    snapshot.host = host::seed();
    let now = SystemClock.now();
    let all = jobs::schedule(&policy, &snapshot, now).filter_map(|(name, next)| {
        let job = policy.jobs.get(&name)?;
        Some((name, job, snapshot.jobs.get(&name), next))
    });
    if as_json {
        let objects: Vec<Value> = all
            .map(|(name, job, run, next)| object(name, job, run, next))
            .collect();
        let mut text = serde_json::to_string_pretty(&objects)
            .map_err(|error| Failure::new(Exit::Bug, error.to_string()))?;
        text.push('\n');
        output::data(&text);
    } else {
        let texts = all.map(|(name, job, run, next)| text(name, job, run, next, now));
        output::data(&texts.collect::<String>());
    }
    Ok(Exit::Done)
}

/// A run now, whatever the schedule says.
pub(crate) async fn run(arguments: &Arguments, name: JobName, wait: Seconds) -> CommandResult {
    let loaded = context::load(arguments)?;
    let quiet = arguments.quiet;
    let control = &loaded.policy.control;
    if let Some(exit) = control::through(arguments, control, Wanted::Job(name), wait).await? {
        return Ok(exit);
    }
    execute(
        loaded.policy,
        output::progress_sink(quiet),
        async |engine| {
            let begun = Begun::now(&*engine.clock);
            let mut snapshot = engine
                .observe()
                .await
                .map_err(|error| context::engine_failure(&error))?;
            // One that never ran is due.
            snapshot.jobs.remove(&name);
            let plan = engine
                .run_jobs(&[name], begun, &mut snapshot, Patience { total: wait })
                .await
                .map_err(|error| context::engine_failure(&error))?;
            Ok(act::tell(engine, &snapshot, &plan, quiet))
        },
    )
    .await
}

fn object(name: JobName, job: &JobPolicy, run: Option<&JobRun>, next: Timestamp) -> Value {
    json!({
        "name": name.as_str(),
        "schedule": job.schedule.as_str(),
        "time_zone": zone(job),
        "last_run": run.map(|run| run.started_at.to_string()),
        "result": run.map(|run| run.result.code()),
        "message": run.map(|run| run.message.as_str()),
        "duration": run.map(|run| Duration::from_millis(run.took_ms).as_secs_f64()),
        "next_run": next.to_string(),
    })
}

fn text(
    name: JobName,
    job: &JobPolicy,
    run: Option<&JobRun>,
    next: Timestamp,
    now: Timestamp,
) -> String {
    let last = run.map_or_else(
        || "never ran".to_owned(),
        |run| {
            let took = Duration::from_millis(run.took_ms).as_secs_f64();
            let result = match run.result {
                JobResult::Done | JobResult::Doubted => run.result.to_string(),
                JobResult::Failed => format!("{RED}{}{RED:#}", run.result),
            };
            format!(
                "{} {result} in {took:.1} s: {}",
                run.started_at, run.message
            )
        },
    );
    let next = if next <= now {
        "now".to_owned()
    } else {
        format!("{next}, in {}", now.until(next))
    };
    format!(
        "{BOLD}{name}{BOLD:#}: {} ({})\n  last: {last}\n  next: {next}\n",
        job.schedule.as_str(),
        zone(job)
    )
}

fn zone(job: &JobPolicy) -> &str {
    job.zone.iana_name().unwrap_or("UTC")
}
