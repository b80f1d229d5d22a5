//! The daemon: sleeps until something is due, holds the lock only while it works.
//!
//! tokio-cron-scheduler rings a bell every 15 seconds; what is due is decided here by the wall clock: the planner's
//! `next_wake`, and the policy's check schedule. A bell that stops, a suspended machine or a clock that is set make a
//! tick late by one nap of the clock at most.

use std::path::PathBuf;
use std::pin::Pin;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio_cron_scheduler::{Job, JobScheduler};

use crate::engine::{Engine, EngineError, Patience, Scope};
use crate::model::{Policy, Seconds, Snapshot, Timestamp};
use crate::plan::{Plan, Verdict};
use crate::sys::fs::Lock;
use crate::sys::{error_chain, systemd};

/// An async answer of a callback.
pub type Answer<T> = Pin<Box<dyn Future<Output = Result<T, String>> + Send>>;

/// What the daemon asks of its surroundings.
pub struct RunOptions {
    /// Reads the policy again, on SIGHUP; an error is a text for the log.
    pub load: Box<dyn Fn() -> Result<Policy, String> + Send + Sync>,
    /// Makes an engine for a policy.
    pub engine: Box<dyn Fn(Policy) -> Answer<Engine> + Send + Sync>,
    /// Takes the lock of a state directory.
    pub lock: Box<dyn Fn(PathBuf) -> Answer<Lock> + Send + Sync>,
}

/// Stays until SIGTERM or SIGINT; ends the step under way before it returns. SIGHUP reads the policy again; the old
/// one stays in force when the new one is bad.
///
/// # Errors
/// When signals, the bell or the journal cannot be set up, or the journal cannot be written any more.
pub async fn run(policy: Policy, options: RunOptions) -> Result<(), String> {
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut hangup = listen(SignalKind::hangup())?;
    let (ring, mut bell) = mpsc::channel(1);
    let _scheduler = start_bell(ring).await?;
    let mut daemon = Daemon::new(policy, &options).await?;
    let mut ready = false;
    loop {
        let now = daemon.engine.clock.now();
        if now >= daemon.due {
            let stop = Arc::clone(&daemon.engine.stop);
            let tick = daemon.tick(&options);
            tokio::pin!(tick);
            let result = loop {
                tokio::select! {
                    result = &mut tick => break result,
                    _ = terminate.recv() => stop.store(true, Ordering::SeqCst),
                    _ = interrupt.recv() => stop.store(true, Ordering::SeqCst),
                }
            };
            result?;
            if !ready {
                systemd::ready();
                ready = true;
            }
        }
        if daemon.engine.stop.load(Ordering::SeqCst) {
            break;
        }
        let clock = Arc::clone(&daemon.engine.clock);
        tokio::select! {
            () = clock.sleep_until(daemon.due) => {}
            _ = bell.recv() => {}
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => {
                systemd::reloading();
                daemon.reload(&options).await;
                systemd::ready();
            }
        }
    }
    systemd::stopping();
    tracing::info!("stopped");
    Ok(())
}

struct Daemon {
    engine: Arc<Engine>,
    snapshot: Option<Snapshot>,
    seen_version: i64,
    schedule: croner::Cron,
    next_check: Timestamp,
    due: Timestamp,
}

impl Daemon {
    async fn new(policy: Policy, options: &RunOptions) -> Result<Self, String> {
        let schedule = schedule(&policy.check_schedule)?;
        // The lock is needed for the schema's sake only; each tick takes it again.
        let lock = (options.lock)(policy.state_dir.clone()).await?;
        let engine = (options.engine)(policy).await?;
        drop(lock);
        let now = engine.clock.now();
        Ok(Self {
            engine: Arc::new(engine),
            snapshot: None,
            seen_version: 0,
            schedule,
            next_check: now,
            due: now,
        })
    }

    /// One tick under the lock.
    async fn tick(&mut self, options: &RunOptions) -> Result<(), String> {
        let state_dir = self.engine.policy.state_dir.clone();
        let lock = match (options.lock)(state_dir).await {
            Ok(lock) => lock,
            Err(busy) => {
                // A person's command is at work; it leaves nothing undone that this tick would have to hurry for.
                tracing::info!("{busy}");
                self.due = self.engine.clock.now() + BUSY_RETRY;
                return Ok(());
            }
        };
        let result = self.work().await;
        drop(lock);
        match result {
            Ok(plan) => {
                systemd::status(&status(&plan));
                let now = self.engine.clock.now();
                self.due = plan.next_wake.min(self.next_check).max(now + SHORTEST_NAP);
            }
            Err(error) => {
                // Nothing may be done that the journal would not know of. It may be a full disk: try again.
                tracing::error!(
                    error = error_chain(&error),
                    "the tick could not be finished"
                );
                self.snapshot = None;
                self.due = self.engine.clock.now() + ERROR_RETRY;
            }
        }
        Ok(())
    }

    async fn work(&mut self) -> Result<Plan, EngineError> {
        let now = self.engine.clock.now();
        let version = self.engine.store.data_version().await?;
        let check = now >= self.next_check;
        let mut snapshot = match self.snapshot.take() {
            Some(snapshot) if !check && version == self.seen_version => snapshot,
            _ => self.engine.observe().await?,
        };
        if check {
            self.next_check = next_check(&self.schedule, now);
        }
        let plan = self
            .engine
            .converge(&mut snapshot, &Scope::All, Patience::NONE)
            .await?;
        self.seen_version = version;
        self.snapshot = Some(snapshot);
        Ok(plan)
    }

    async fn reload(&mut self, options: &RunOptions) {
        let policy = match (options.load)() {
            Ok(policy) => policy,
            Err(problems) => {
                tracing::error!(
                    "the new policy cannot be used; the old one stays in force\n{problems}"
                );
                systemd::status("the new policy cannot be used; the old one stays in force");
                return;
            }
        };
        let made = match schedule(&policy.check_schedule) {
            Ok(schedule) => (options.engine)(policy)
                .await
                .map(|engine| (schedule, engine)),
            Err(error) => Err(error),
        };
        match made {
            Ok((schedule, engine)) => {
                let now = engine.clock.now();
                self.engine = Arc::new(engine);
                self.schedule = schedule;
                self.snapshot = None;
                self.next_check = now;
                self.due = now;
                tracing::info!("policy reloaded");
            }
            Err(error) => tracing::error!(
                "the new policy cannot be used; the old one stays in force: {error}"
            ),
        }
    }
}

fn listen(kind: SignalKind) -> Result<Signal, String> {
    signal(kind).map_err(|error| format!("failed to listen for signals: {error}"))
}

async fn start_bell(ring: mpsc::Sender<()>) -> Result<JobScheduler, String> {
    let failed = |error: tokio_cron_scheduler::JobSchedulerError| {
        format!("failed to start the bell: {error}")
    };
    let scheduler = JobScheduler::new().await.map_err(failed)?;
    let job = Job::new(BELL, move |_, _| {
        // A full channel means that a wake is waiting already.
        let _ = ring.try_send(());
    })
    .map_err(failed)?;
    scheduler.add(job).await.map_err(failed)?;
    scheduler.start().await.map_err(failed)?;
    Ok(scheduler)
}

fn schedule(expression: &str) -> Result<croner::Cron, String> {
    croner::parser::CronParser::builder()
        .seconds(croner::parser::Seconds::Optional)
        .build()
        .parse(expression)
        .or_else(|_| croner::Cron::from_str(expression))
        .map_err(|error| format!("check_schedule {expression:?}: {error}"))
}

fn next_check(schedule: &croner::Cron, now: Timestamp) -> Timestamp {
    let fallback = now + Seconds::hours(24);
    let Ok(stamp) = jiff::Timestamp::from_second(now.0) else {
        return fallback;
    };
    let zoned = stamp.to_zoned(jiff::tz::TimeZone::UTC);
    schedule
        .find_next_occurrence(&zoned, false)
        .map_or(fallback, |next| Timestamp(next.timestamp().as_second()))
}

fn status(plan: &Plan) -> String {
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
        "{healthy} of {} certificates healthy{next}",
        plan.verdicts.len()
    )
}

/// The bell's cron expression, with seconds, UTC.
const BELL: &str = "*/15 * * * * *";
/// After somebody else held the lock.
const BUSY_RETRY: Seconds = Seconds(30);
/// After the journal could not be written.
const ERROR_RETRY: Seconds = Seconds(60);
/// Between two ticks, whatever the plan says: nothing is retried in a tight loop.
const SHORTEST_NAP: Seconds = Seconds(1);
