//! The daemon: sleeps until something is due, holds the lock only while it works.
//!
//! tokio-cron-scheduler rings a bell every 15 seconds; what is due is decided here by the wall clock: the planner's
//! `next_wake`, and the policy's jobs. A suspended machine or a clock that is set make a tick late by one nap of the
//! clock at most; a bell that stops is missed within a minute, and another one is hung up.

use std::fmt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_cron_scheduler::{Job, JobScheduler};

use crate::engine::deliveries::Deliveries;
use crate::engine::exposition::Exposition;
use crate::engine::status::daemon_lock;
use crate::engine::watchdog::longest_step;
use crate::engine::wish::Pending;
use crate::engine::wishes::Wishes;
use crate::engine::{
    Begun, Engine, EngineError, Judge, Outcome, Patience, Progress, Publisher, Wanted, Wish,
};
use crate::model::{JobName, Policy, Seconds, Snapshot, Timestamp};
use crate::plan::explain::{counted, summary};
use crate::plan::{Plan, jobs, plan};
use crate::sys::clock::SET_BACK;
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
    /// Says what wishes have come to.
    pub judge: Judge,
    /// Hears of each policy that comes into force.
    pub in_force: watch::Sender<Arc<Policy>>,
}

/// Why the daemon could not start.
#[derive(Debug)]
pub enum RunError<E> {
    /// What its surroundings said.
    Given(E),
    /// Signals or the bell could not be set up.
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
    wishes: mpsc::Receiver<Wish>,
) -> Result<(), RunError<E>> {
    let mut terminate = listen(SignalKind::terminate()).map_err(RunError::Setup)?;
    let mut interrupt = listen(SignalKind::interrupt()).map_err(RunError::Setup)?;
    let mut hangup = listen(SignalKind::hangup()).map_err(RunError::Setup)?;
    let mut bell = Bell::hang().await.map_err(RunError::Setup)?;
    let mut daemon = Daemon::new(policy, &options, wishes).await?;
    tracing::info!(
        "started with a policy of {}",
        counted(daemon.engine.policy.certificates.len(), "certificate")
    );
    let mut seen = daemon.engine.clock.now();
    while !daemon.engine.stop.load(Ordering::SeqCst) {
        // Whatever the last round was about is over. A round that does not end is not spoken for.
        systemd::alive();
        let now = daemon.engine.clock.now();
        daemon.mark(now).await;
        if now + SET_BACK < seen {
            tracing::warn!("the clock was set back by {}", now.until(seen));
            daemon.begin_anew(now);
        }
        seen = now;
        daemon.hear(&options).await;
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
                    // Every step has a limit of its own; should one not keep it, that must not go unseen.
                    () = tokio::time::sleep(LONG_TICK) => {
                        tracing::warn!("still at work after {} minutes", LONG_TICK.as_secs() / 60);
                    }
                }
            }
            continue;
        }
        let clock = Arc::clone(&daemon.engine.clock);
        let news = daemon.deliveries.news();
        tokio::select! {
            () = clock.sleep_until(daemon.due) => {}
            () = news.notified() => daemon.due = clock.now(),
            () = tokio::time::sleep(systemd::longest_nap().min(SILENCE)) => {
                if bell.is_silent() {
                    daemon.reload_if_changed(&options).await;
                    bell.replace().await;
                }
            }
            _ = bell.rings.recv() => {
                bell.heard_at = Instant::now();
                daemon.reload_if_changed(&options).await;
            }
            Some(wish) = daemon.wishes.next() => daemon.take(wish, &options).await,
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => {
                // What came of it is in the log.
                let _ = daemon.reload(&options).await;
            }
        }
    }
    systemd::stopping();
    daemon.wishes.give_up();
    daemon.deliveries.stop().await;
    if let Err(error) = daemon.engine.store.close().await {
        tracing::warn!(error = error_chain(&error), "the journal was not closed");
    }
    tracing::info!("stopped");
    Ok(())
}

struct Daemon {
    engine: Arc<Engine>,
    deliveries: Deliveries,
    snapshot: Option<Snapshot>,
    seen_version: i64,
    /// Whether systemd was told that the start is over.
    started: bool,
    /// Of the policy's files, as they were read last.
    stamp: String,
    due: Timestamp,
    /// Says to others that we are here, as long as we live.
    presence: Option<Lock>,
    publisher: Publisher,
    exposition: Option<Exposition>,
    /// When it was last marked with our progress.
    marked: Timestamp,
    wishes: Wishes,
}

impl Daemon {
    async fn new<E>(
        policy: Policy,
        options: &RunOptions<E>,
        wishes: mpsc::Receiver<Wish>,
    ) -> Result<Self, RunError<E>> {
        let engine = make_engine(policy, options)
            .await
            .map_err(RunError::Given)?;
        systemd::allow(longest_step(&engine.policy));
        let now = engine.clock.now();
        let deliveries = Deliveries::start(Arc::clone(&engine.clock));
        deliveries.hire(&engine).await;
        Ok(Self {
            presence: announce(&engine.policy.state_dir).await,
            publisher: Publisher::default(),
            exposition: Exposition::open(&engine).await,
            marked: Timestamp::default(),
            deliveries,
            engine: Arc::new(engine),
            snapshot: None,
            seen_version: 0,
            started: false,
            stamp: options.first_stamp.clone(),
            due: now,
            wishes: Wishes::new(wishes),
        })
    }

    /// Nothing that is remembered of the world or of the time is trusted.
    fn begin_anew(&mut self, now: Timestamp) {
        self.snapshot = None;
        self.due = now;
    }

    /// Leaves for others when we last got on, once a minute: the mark costs a write of the file's inode.
    async fn mark(&mut self, now: Timestamp) {
        // Forward or back: a clock that is set is noticed at once.
        if self.marked.until(now).0.abs() < BETWEEN_MARKS.0 {
            return;
        }
        self.mark_presence(now);
        // The first tick leaves something to be kept true.
        if self.started {
            self.publisher.beat(&self.engine, now).await;
        }
    }

    fn mark_presence(&mut self, now: Timestamp) {
        self.marked = now;
        if let Some(Err(error)) = self.presence.as_ref().map(|lock| lock.mark(now)) {
            tracing::debug!(%error, "progress was not marked");
        }
    }

    /// One tick under the lock.
    async fn tick<E: fmt::Display>(&mut self, options: &RunOptions<E>) {
        let state_dir = self.engine.policy.state_dir.clone();
        let lock = match (options.lock)(state_dir).await {
            Ok(lock) => lock,
            Err(busy) => {
                // Most likely a person's command is at work; it leaves nothing undone that would have to be hurried for.
                tracing::warn!("{busy}");
                let now = self.engine.clock.now();
                let hurry = self.wishes.refuse_late(now, &busy.to_string());
                self.due = now + if hurry { SHORTEST_NAP } else { BUSY_RETRY };
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
        self.deliveries.ring(result.is_ok());
        match result {
            Ok(plan) => {
                systemd::status(&summary(&plan));
                if let Some(snapshot) = &self.snapshot {
                    self.wishes
                        .settle(&self.engine, snapshot, &plan, &options.judge);
                }
                self.publish(&plan).await;
                let now = self.engine.clock.now();
                self.mark_presence(now);
                self.due = self.next_wake(&plan, now).max(now + SHORTEST_NAP);
            }
            Err(error) => {
                // Nothing may be done that the journal would not know of. It may be a full disk: try again.
                let what = match &error {
                    EngineError::Store(_) => NO_JOURNAL,
                    EngineError::Bug(_) => "the tick could not be finished",
                };
                tracing::error!(error = error_chain(&error), "{what}");
                systemd::status(&format!("{what}: {}", error_chain(&error)));
                self.wishes.fail(&error, &options.judge);
                self.snapshot = None;
                self.due = self.engine.clock.now() + ERROR_RETRY;
            }
        }
    }

    async fn publish(&mut self, plan: &Plan) {
        let Some(snapshot) = &self.snapshot else {
            return;
        };
        let done = self
            .publisher
            .after_tick(&self.engine, snapshot, plan)
            .await;
        if let Err(error) = done {
            tracing::warn!(error = error_chain(&error), "the status was not written");
        }
    }

    async fn work(&mut self) -> Result<Plan, EngineError> {
        let begun = Begun::now(&*self.engine.clock);
        let version = self.engine.store.data_version().await?;
        let kept = self.snapshot.take().filter(|kept| {
            let check = jobs::due(&self.engine.policy, kept, begun.at).contains(&JobName::Check);
            version == self.seen_version && !check && self.wishes.are_begun()
        });
        self.wishes.begin(&self.engine).await?;
        let mut snapshot = match kept {
            Some(snapshot) => snapshot,
            None => self.engine.observe().await?,
        };
        self.start_is_over(&snapshot);
        let due = self
            .wishes
            .due(&self.engine.policy, &mut snapshot, begun.at);
        let plan = self
            .engine
            .run_jobs(&due, begun, &mut snapshot, Patience::NONE)
            .await?;
        self.seen_version = version;
        self.snapshot = Some(snapshot);
        Ok(plan)
    }

    /// Everything that was asked for since.
    async fn hear<E: fmt::Display>(&mut self, options: &RunOptions<E>) {
        while let Some(wish) = self.wishes.heard() {
            self.take(wish, options).await;
        }
    }

    async fn take<E: fmt::Display>(&mut self, wish: Wish, options: &RunOptions<E>) {
        let now = self.engine.clock.now();
        let pending = Pending::new(wish, now);
        if pending.wish.wanted == Wanted::Reload {
            let outcome = self.reload(options).await;
            pending.answer(outcome);
        } else {
            self.wishes.keep(pending);
            self.due = now;
        }
    }

    /// With the first plan, and before anything of it is done: an issuer that hangs must not make systemd give the start
    /// up. A journal that cannot be read may.
    fn start_is_over(&mut self, snapshot: &Snapshot) {
        if self.started {
            return;
        }
        let now = self.engine.clock.now();
        systemd::status(&summary(&plan(&self.engine.policy, snapshot, now)));
        systemd::ready();
        self.started = true;
    }

    /// What the plan says and, now that the jobs have run, when the next of them does.
    fn next_wake(&self, plan: &Plan, now: Timestamp) -> Timestamp {
        let snapshot = self.snapshot.as_ref();
        let job = snapshot.and_then(|seen| jobs::next_of_all(&self.engine.policy, seen, now));
        job.map_or(plan.next_wake, |job| job.min(plan.next_wake))
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
        // What came of it is in the log.
        let _ = self.reload(options).await;
    }

    async fn reload<E: fmt::Display>(&mut self, options: &RunOptions<E>) -> Outcome {
        systemd::reloading();
        // Before reading: a change in between is noticed at the next tick.
        self.stamp = (options.stamp)();
        let outcome = self.take_over(options).await;
        systemd::ready();
        let accepted = outcome.errors.is_empty();
        let text = if accepted {
            outcome.note.clone()
        } else {
            outcome.errors.join("\n")
        };
        (self.engine.progress)(Progress::Policy { accepted, text });
        outcome
    }

    async fn take_over<E: fmt::Display>(&mut self, options: &RunOptions<E>) -> Outcome {
        let policy = match (options.load)() {
            Ok(policy) => policy,
            Err(problems) => {
                tracing::error!("{REFUSED}\n{problems}");
                systemd::status(REFUSED);
                return Outcome::refused(BAD_POLICY, format!("{REFUSED}\n{problems}"));
            }
        };
        // The journal of this state directory is in order; a person's command may hold its lock.
        let made = if policy.state_dir == self.engine.policy.state_dir {
            (options.engine)(policy).await
        } else {
            make_engine(policy, options).await
        };
        match made {
            Ok(engine) => {
                let now = engine.clock.now();
                systemd::allow(longest_step(&engine.policy));
                self.deliveries.hire(&engine).await;
                let old = std::mem::replace(&mut self.engine, Arc::new(engine));
                let state_dir = &self.engine.policy.state_dir;
                if old.policy.state_dir != *state_dir {
                    self.presence = announce(state_dir).await;
                    self.marked = Timestamp::default();
                }
                // The address of the old one may be wanted again.
                if let Some(exposition) = self.exposition.take() {
                    exposition.close().await;
                }
                self.exposition = Exposition::open(&self.engine).await;
                if let Err(error) = old.store.close().await {
                    tracing::warn!(error = error_chain(&error), "the journal was not closed");
                }
                self.begin_anew(now);
                let policy = &self.engine.policy;
                if policy.control.socket != old.policy.control.socket
                    || policy.control.group != old.policy.control.group
                {
                    tracing::warn!("the control socket changes with the next start of renewd");
                }
                options.in_force.send_replace(Arc::new(policy.clone()));
                tracing::info!("policy reloaded");
                Outcome {
                    exit: 0,
                    note: format!(
                        "the policy is in force: {}",
                        counted(policy.certificates.len(), "certificate")
                    ),
                    errors: Vec::new(),
                }
            }
            Err(error) => {
                tracing::error!("{REFUSED}: {error}");
                systemd::status(REFUSED);
                Outcome::refused(TRY_LATER, format!("{REFUSED}: {error}"))
            }
        }
    }
}

/// The lock is needed for the schema's sake only; each tick takes it again.
async fn make_engine<E>(policy: Policy, options: &RunOptions<E>) -> Result<Engine, E> {
    let _lock = (options.lock)(policy.state_dir.clone()).await?;
    (options.engine)(policy).await
}

/// Lets others see that a daemon looks after this state directory. Nothing depends on it: what is done is done under the
/// other lock, so a second daemon is useless and harms nothing.
async fn announce(state_dir: &Path) -> Option<Lock> {
    let path = daemon_lock(state_dir);
    match Lock::acquire(&path, "renewd run", Duration::from_secs(1)).await {
        Ok(lock) => Some(lock),
        Err(error) => {
            tracing::warn!("another daemon seems to be at work: {error}");
            None
        }
    }
}

fn listen(kind: SignalKind) -> Result<Signal, String> {
    signal(kind).map_err(|error| format!("failed to listen for signals: {error}"))
}

/// Only rings; may fall silent for good after a stall of the process.
struct Bell {
    rings: mpsc::Receiver<()>,
    heard_at: Instant,
    _scheduler: JobScheduler,
}

impl Bell {
    async fn hang() -> Result<Self, String> {
        let failed = |error: tokio_cron_scheduler::JobSchedulerError| {
            format!("failed to start the bell: {error}")
        };
        let (ring, rings) = mpsc::channel(1);
        let scheduler = JobScheduler::new().await.map_err(failed)?;
        let job = Job::new(BELL, move |_, _| {
            // A full channel means that a wake is waiting already.
            let _ = ring.try_send(());
        })
        .map_err(failed)?;
        scheduler.add(job).await.map_err(failed)?;
        scheduler.start().await.map_err(failed)?;
        Ok(Self {
            rings,
            heard_at: Instant::now(),
            _scheduler: scheduler,
        })
    }

    fn is_silent(&self) -> bool {
        self.heard_at.elapsed() >= SILENCE
    }

    /// Another one in its place, since it was not heard for long; without one, the silence itself wakes.
    async fn replace(&mut self) {
        tracing::debug!("the bell was not heard for {} s", SILENCE.as_secs());
        match Self::hang().await {
            Ok(new) => *self = new,
            Err(error) => tracing::warn!("{error}"),
        }
    }
}

/// The exit statuses of the command line that a reload and a wish can have here.
const BAD_POLICY: u8 = 78;
const TRY_LATER: u8 = 75;
const REFUSED: &str = "the new policy cannot be used; the old one stays in force";
const NO_JOURNAL: &str = "the journal cannot be read or written: nothing more is done until it can, and no letter can tell of it, since letters wait in the journal too";
/// Between two looks at files that changed.
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);
/// Of these.
const MOST_LOOKS: u32 = 30;
/// The bell's cron expression, with seconds, UTC.
const BELL: &str = "*/15 * * * * *";
/// After so long without a ring, a new bell. Four rings; the loop wakes by itself as well.
const SILENCE: Duration = Duration::from_secs(60);
/// A tick over many certificates takes minutes.
const LONG_TICK: Duration = Duration::from_secs(15 * 60);
/// After somebody else held the lock.
const BUSY_RETRY: Seconds = Seconds(30);
/// After the journal could not be written.
const ERROR_RETRY: Seconds = Seconds(60);
/// Between two marks of our progress.
const BETWEEN_MARKS: Seconds = Seconds(60);
/// Between two ticks, whatever the plan says: nothing is retried in a tight loop.
const SHORTEST_NAP: Seconds = Seconds(1);
