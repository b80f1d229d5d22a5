//! The daemon: sleeps until something is due, holds the lock only while it works.
//!
//! tokio-cron-scheduler rings a bell every 15 seconds; what is due is decided here by the wall clock: the planner's
//! `next_wake`, and the policy's check schedule. A bell that stops, a suspended machine or a clock that is set make a
//! tick late by one nap of the clock at most.

use std::fmt;
use std::path::PathBuf;
use std::pin::Pin;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio_cron_scheduler::{Job, JobScheduler};

use crate::engine::watchdog::longest_step;
use crate::engine::{Engine, EngineError, Patience, Scope};
use crate::model::{Policy, Seconds, Snapshot, Timestamp};
use crate::plan::explain::counted;
use crate::plan::{Plan, Verdict, plan};
use crate::sys::fs::Lock;
use crate::sys::{error_chain, systemd};

/// An async answer of a callback.
pub type Answer<T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send>>;

/// What the daemon asks of its surroundings; `E` is why they could not.
pub struct RunOptions<E> {
    /// Reads the policy again, on SIGHUP; an error is a text for the log.
    pub load: Box<dyn Fn() -> Result<Policy, String> + Send + Sync>,
    /// Tells one state of the policy's files from another.
    pub stamp: Box<dyn Fn() -> String + Send + Sync>,
    /// The stamp from before the first policy was read.
    pub first_stamp: String,
    /// Makes an engine for a policy.
    pub engine: Box<dyn Fn(Policy) -> Answer<Engine, E> + Send + Sync>,
    /// Takes the lock of a state directory.
    pub lock: Box<dyn Fn(PathBuf) -> Answer<Lock, E> + Send + Sync>,
}

/// Why the daemon could not start.
#[derive(Debug)]
pub enum RunError<E> {
    /// What its surroundings said.
    Given(E),
    /// Signals, the bell or the schedule could not be set up.
    Setup(String),
}

/// Stays until SIGTERM or SIGINT; ends the step under way before it returns. SIGHUP reads the policy again; the old
/// one stays in force when the new one is bad.
///
/// # Errors
/// When signals, the bell or the journal cannot be set up. Later failures are logged, and tried again.
pub async fn run<E: fmt::Display>(
    policy: Policy,
    options: RunOptions<E>,
) -> Result<(), RunError<E>> {
    let mut terminate = listen(SignalKind::terminate()).map_err(RunError::Setup)?;
    let mut interrupt = listen(SignalKind::interrupt()).map_err(RunError::Setup)?;
    let mut hangup = listen(SignalKind::hangup()).map_err(RunError::Setup)?;
    let (ring, mut bell) = mpsc::channel(1);
    let _scheduler = start_bell(ring).await.map_err(RunError::Setup)?;
    let mut daemon = Daemon::new(policy, &options).await?;
    tracing::info!(
        "started with a policy of {}",
        counted(daemon.engine.policy.certificates.len(), "certificate")
    );
    loop {
        // Whatever the last round was about is over. A round that does not end is not spoken for.
        systemd::alive();
        let now = daemon.engine.clock.now();
        if now >= daemon.due {
            daemon.reload_if_changed(&options).await;
            let stop = Arc::clone(&daemon.engine.stop);
            let tick = daemon.tick(&options);
            tokio::pin!(tick);
            loop {
                tokio::select! {
                    () = &mut tick => break,
                    _ = terminate.recv() => stop.store(true, Ordering::SeqCst),
                    _ = interrupt.recv() => stop.store(true, Ordering::SeqCst),
                }
            }
        }
        if daemon.engine.stop.load(Ordering::SeqCst) {
            break;
        }
        let clock = Arc::clone(&daemon.engine.clock);
        tokio::select! {
            () = clock.sleep_until(daemon.due) => {}
            () = tokio::time::sleep(systemd::longest_nap()) => {}
            _ = bell.recv() => daemon.reload_if_changed(&options).await,
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => daemon.reload(&options).await,
        }
    }
    systemd::stopping();
    if let Err(error) = daemon.engine.store.close().await {
        tracing::warn!(error = error_chain(&error), "the journal was not closed");
    }
    tracing::info!("stopped");
    Ok(())
}

struct Daemon {
    engine: Arc<Engine>,
    snapshot: Option<Snapshot>,
    seen_version: i64,
    /// Whether systemd was told that the start is over.
    started: bool,
    /// Of the policy's files, as they were read last.
    stamp: String,
    schedule: croner::Cron,
    next_check: Timestamp,
    due: Timestamp,
}

impl Daemon {
    async fn new<E>(policy: Policy, options: &RunOptions<E>) -> Result<Self, RunError<E>> {
        let schedule = schedule(&policy.check_schedule).map_err(RunError::Setup)?;
        let engine = make_engine(policy, options)
            .await
            .map_err(RunError::Given)?;
        systemd::allow(longest_step(&engine.policy));
        let now = engine.clock.now();
        Ok(Self {
            engine: Arc::new(engine),
            snapshot: None,
            seen_version: 0,
            started: false,
            stamp: options.first_stamp.clone(),
            schedule,
            next_check: now,
            due: now,
        })
    }

    /// One tick under the lock.
    async fn tick<E: fmt::Display>(&mut self, options: &RunOptions<E>) {
        let state_dir = self.engine.policy.state_dir.clone();
        let lock = match (options.lock)(state_dir).await {
            Ok(lock) => lock,
            Err(busy) => {
                // Most likely a person's command is at work; it leaves nothing undone that would have to be hurried for.
                tracing::warn!("{busy}");
                self.due = self.engine.clock.now() + BUSY_RETRY;
                return;
            }
        };
        if (options.stamp)() != self.stamp {
            // Changed while the lock was waited for, perhaps by whoever had it: read first.
            self.due = self.engine.clock.now();
            return;
        }
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
    }

    async fn work(&mut self) -> Result<Plan, EngineError> {
        let now = self.engine.clock.now();
        let version = self.engine.store.data_version().await?;
        let check = now >= self.next_check;
        let mut snapshot = match self.snapshot.take() {
            Some(snapshot) if !check && version == self.seen_version => snapshot,
            _ => self.engine.observe().await?,
        };
        self.start_is_over(&snapshot);
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

    /// With the first plan, and before anything of it is done: an issuer that hangs must not make systemd give the start
    /// up. A journal that cannot be read may.
    fn start_is_over(&mut self, snapshot: &Snapshot) {
        if self.started {
            return;
        }
        let now = self.engine.clock.now();
        systemd::status(&status(&plan(&self.engine.policy, snapshot, now)));
        systemd::ready();
        self.started = true;
    }

    /// A person's command reads the policy as it is now; a daemon that went on by an older one would undo what that
    /// command did, and order certificates for names that nobody wants any more.
    async fn reload_if_changed<E: fmt::Display>(&mut self, options: &RunOptions<E>) {
        let mut seen = (options.stamp)();
        if seen == self.stamp {
            return;
        }
        // Somebody may still be writing, and a file that was only emptied so far would pass for a policy without
        // certificates. So two looks must agree; who writes for ever is not waited for.
        for _ in 0..MOST_LOOKS {
            tokio::time::sleep(BETWEEN_LOOKS).await;
            let again = (options.stamp)();
            if again == seen {
                break;
            }
            seen = again;
        }
        tracing::info!("the policy's files changed");
        self.reload(options).await;
    }

    async fn reload<E: fmt::Display>(&mut self, options: &RunOptions<E>) {
        systemd::reloading();
        // Before reading: a change in between is noticed at the next tick.
        self.stamp = (options.stamp)();
        self.take_over(options).await;
        systemd::ready();
    }

    async fn take_over<E: fmt::Display>(&mut self, options: &RunOptions<E>) {
        let policy = match (options.load)() {
            Ok(policy) => policy,
            Err(problems) => {
                tracing::error!("{REFUSED}\n{problems}");
                systemd::status(REFUSED);
                return;
            }
        };
        let made = match schedule(&policy.check_schedule) {
            // The journal of this state directory is in order; a person's command may hold its lock.
            Ok(schedule) if policy.state_dir == self.engine.policy.state_dir => {
                let made = (options.engine)(policy).await;
                made.map(|engine| (schedule, engine))
                    .map_err(|error| error.to_string())
            }
            Ok(schedule) => {
                let made = make_engine(policy, options).await;
                made.map(|engine| (schedule, engine))
                    .map_err(|error| error.to_string())
            }
            Err(error) => Err(error),
        };
        match made {
            Ok((schedule, engine)) => {
                let now = engine.clock.now();
                systemd::allow(longest_step(&engine.policy));
                let old = std::mem::replace(&mut self.engine, Arc::new(engine));
                if let Err(error) = old.store.close().await {
                    tracing::warn!(error = error_chain(&error), "the journal was not closed");
                }
                self.schedule = schedule;
                self.snapshot = None;
                self.next_check = now;
                self.due = now;
                tracing::info!("policy reloaded");
            }
            Err(error) => {
                tracing::error!("{REFUSED}: {error}");
                systemd::status(REFUSED);
            }
        }
    }
}

/// The lock is needed for the schema's sake only; each tick takes it again.
async fn make_engine<E>(policy: Policy, options: &RunOptions<E>) -> Result<Engine, E> {
    let _lock = (options.lock)(policy.state_dir.clone()).await?;
    (options.engine)(policy).await
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
        "{healthy} of {} healthy{next}",
        counted(plan.verdicts.len(), "certificate")
    )
}

const REFUSED: &str = "the new policy cannot be used; the old one stays in force";
/// Between two looks at files that changed.
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);
/// Of these.
const MOST_LOOKS: u32 = 30;
/// The bell's cron expression, with seconds, UTC.
const BELL: &str = "*/15 * * * * *";
/// After somebody else held the lock.
const BUSY_RETRY: Seconds = Seconds(30);
/// After the journal could not be written.
const ERROR_RETRY: Seconds = Seconds(60);
/// Between two ticks, whatever the plan says: nothing is retried in a tight loop.
const SHORTEST_NAP: Seconds = Seconds(1);
