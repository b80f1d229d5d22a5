//! The daemon: sleeps until something is due, holds the lock only while it works.
//!
//! tokio-cron-scheduler rings a bell every minute; what is due is decided here by the wall clock: the planner's
//! `next_wake`, and the policy's jobs. A machine that was suspended and a clock that is set are noticed at once, by the
//! kernel's word, and at the next minute where it says nothing; a bell that does not ring is done without, and another
//! one is hung up.

use std::fmt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::engine::bell::{Bell, Rings};
use crate::engine::converge::{Awaited, Call, Course};
use crate::engine::deliveries::Deliveries;
use crate::engine::exposition::Exposition;
use crate::engine::reload::NOT_IN_FORCE;
use crate::engine::status::daemon_lock;
use crate::engine::steps::Steps;
use crate::engine::watchdog::longest_step;
use crate::engine::wish::Pending;
use crate::engine::wishes::Wishes;
use crate::engine::{Begun, Engine, EngineError, Judge, Publisher, Wanted, Wish};
use crate::model::{JobName, Milestone, Policy, Seconds, Snapshot, Timestamp};
use crate::plan::explain::{counted, summary};
use crate::plan::{Plan, jobs, plan};
use crate::store::{Foreseen, journal};
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
    pub engine: Box<dyn Fn(Arc<Policy>) -> Answer<Engine, E> + Send + Sync>,
    /// Takes the lock of a state directory.
    pub lock: Box<dyn Fn(PathBuf) -> Answer<Lock, E> + Send + Sync>,
    /// Says what wishes have come to.
    pub judge: Judge,
    /// Hears of each policy that comes into force.
    pub in_force: watch::Sender<Arc<Policy>>,
    /// The journal, where it was read ahead.
    pub foreseen: Option<JoinHandle<Option<Foreseen>>>,
    /// When the bell rings.
    pub rings: Rings,
    /// Hears until when the loop lies down, and that it is up (`None`): whoever moves the clock by hand waits for that.
    pub naps: watch::Sender<Option<Timestamp>>,
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
    policy: Arc<Policy>,
    mut options: RunOptions<E>,
    mut heard: mpsc::Receiver<Wish>,
) -> Result<(), RunError<E>> {
    let mut terminate = listen(SignalKind::terminate()).map_err(RunError::Setup)?;
    let mut interrupt = listen(SignalKind::interrupt()).map_err(RunError::Setup)?;
    let mut hangup = listen(SignalKind::hangup()).map_err(RunError::Setup)?;
    let rings = options.rings.clone();
    let mut bell = Bell::hang(rings).await.map_err(RunError::Setup)?;
    let foreseen = options.foreseen.take();
    let mut daemon = Daemon::new(policy, &options).await?;
    daemon.foreseen = foreseen;
    tracing::info!(
        event = Milestone::Started.code(),
        "started with a policy of {}",
        counted(daemon.engine.policy.certificates.len(), "certificate")
    );
    let mut seen = daemon.engine.clock.now();
    let mut look = false;
    while !daemon.engine.stop.load(Ordering::SeqCst) {
        // Whatever the last round was about is over, or within its limit. One that does not end is not spoken for.
        let now = daemon.engine.clock.now();
        if daemon.keeps_its_limits() {
            systemd::alive();
            daemon.mark(now).await;
        }
        daemon.make_up(now).await;
        if now + SET_BACK < seen {
            tracing::warn!("the clock was set back by {}", now.until(seen));
            daemon.begin_anew(now);
        }
        seen = now;
        while let Ok(wish) = heard.try_recv() {
            daemon.take(wish, &options).await;
        }
        if look || now >= daemon.due {
            look = false;
            daemon.deliveries.look(now);
            // Who writes the policy for long holds up no stop.
            let changed = tokio::select! {
                changed = daemon.has_changed(&options) => changed,
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
            };
            if changed {
                // What came of it is in the log.
                let _ = daemon.reload(&options).await;
            } else {
                daemon.reload_again(&options).await;
            }
        }
        if now >= daemon.due {
            let stop = Arc::clone(&daemon.engine.stop);
            let clock = Arc::clone(&daemon.engine.clock);
            let stamp = daemon.stamp.clone();
            // What comes in meanwhile has the tick come back, and the steps under way go on beside the next one.
            let call = Call::default();
            let mut came = Vec::new();
            let mut reload = false;
            {
                let tick = daemon.tick(&options, &call);
                let mark = clock.sleep_until(now + BETWEEN_MARKS);
                let long = tokio::time::sleep(LONG_TICK);
                tokio::pin!(tick, mark, long);
                loop {
                    tokio::select! {
                        () = &mut tick => break,
                        _ = terminate.recv() => {
                            stop.store(true, Ordering::SeqCst);
                            call.ring();
                        }
                        _ = interrupt.recv() => {
                            stop.store(true, Ordering::SeqCst);
                            call.ring();
                        }
                        _ = hangup.recv() => {
                            reload = true;
                            call.ring();
                        }
                        Some(wish) = heard.recv() => {
                            came.push(wish);
                            call.ring();
                        }
                        () = bell.rung() => if (options.stamp)() != stamp {
                            call.ring();
                        },
                        () = &mut mark, if !call.is_rung() => call.ring(),
                        // Every step has a limit of its own; should one not keep it, that must not go unseen.
                        () = &mut long => {
                            tracing::warn!("still at work after {} minutes", LONG_TICK.as_secs() / 60);
                            long.as_mut().reset(Instant::now() + LONG_TICK);
                        }
                    }
                }
            }
            for wish in came {
                daemon.take(wish, &options).await;
            }
            if reload {
                // What came of it is in the log.
                let _ = daemon.reload(&options).await;
            }
            continue;
        }
        let clock = Arc::clone(&daemon.engine.clock);
        let news = daemon.deliveries.news();
        options.naps.send_replace(Some(daemon.due));
        tokio::select! {
            () = clock.sleep_until(daemon.due) => {}
            () = news.notified() => daemon.due = clock.now(),
            () = tokio::time::sleep(systemd::longest_nap().min(options.rings.unheard)) => {
                look = true;
                if bell.is_silent() {
                    bell.replace().await;
                }
            }
            () = bell.rung() => look = true,
            Some(wish) = heard.recv() => daemon.take(wish, &options).await,
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => {
                // What came of it is in the log.
                let _ = daemon.reload(&options).await;
            }
        }
        options.naps.send_replace(None);
    }
    systemd::stopping();
    daemon.end_steps().await;
    daemon.wishes.give_up(&mut heard);
    daemon.deliveries.stop().await;
    close(&daemon.engine).await;
    tracing::info!(event = Milestone::Stopped.code(), "stopped");
    Ok(())
}

pub(super) struct Daemon {
    pub(super) engine: Arc<Engine>,
    pub(super) deliveries: Deliveries,
    pub(super) snapshot: Option<Snapshot>,
    /// For the first tick.
    foreseen: Option<JoinHandle<Option<Foreseen>>>,
    pub(super) seen_version: i64,
    /// Whether systemd was told that the start is over.
    pub(super) started: bool,
    /// Of the policy's files, as they were read last.
    pub(super) stamp: String,
    pub(super) due: Timestamp,
    /// Says to others that we are here, as long as we live.
    pub(super) presence: Option<Lock>,
    pub(super) publisher: Publisher,
    pub(super) exposition: Option<Exposition>,
    /// When it was last marked with our progress.
    pub(super) marked: Timestamp,
    /// When it last tried to have what it could not have before.
    made_up: Timestamp,
    pub(super) wishes: Wishes,
    /// Those under way, which go on from tick to tick.
    pub(super) steps: Steps,
    /// How long each of them may take.
    pub(super) longest: Duration,
    /// Of the state directory, for as long as a step is under way.
    pub(super) held: Option<Lock>,
    /// Why the policy that lies there is not in force.
    pub(super) refused: Option<String>,
    /// When that was last tried.
    pub(super) retried: Timestamp,
    /// Those that steps of earlier policies still use.
    pub(super) retired: Vec<Arc<Engine>>,
}

impl Daemon {
    async fn new<E>(policy: Arc<Policy>, options: &RunOptions<E>) -> Result<Self, RunError<E>> {
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
            made_up: now,
            deliveries,
            longest: longest_step(&engine.policy),
            engine: Arc::new(engine),
            snapshot: None,
            foreseen: None,
            seen_version: 0,
            started: false,
            stamp: options.first_stamp.clone(),
            due: now,
            wishes: Wishes::default(),
            steps: Steps::default(),
            held: None,
            refused: None,
            retried: now,
            retired: Vec::new(),
        })
    }

    /// Nothing that is remembered of the world or of the time is trusted.
    pub(super) fn begin_anew(&mut self, now: Timestamp) {
        self.snapshot = None;
        self.due = now;
    }

    /// Leaves for others when we last got on, once a minute: the mark costs a write of the file's inode.
    async fn mark(&mut self, now: Timestamp) {
        // Forward or back: a clock that is set is noticed at once.
        if self.marked.until(now).0.abs() < FRESH_MARK.0 {
            return;
        }
        self.mark_presence(now);
        // The first tick leaves something to be kept true.
        if self.started {
            self.publisher.beat(&self.engine, now).await;
        }
    }

    /// What could not be had when the policy was taken over may be there by now: asked once a minute.
    async fn make_up(&mut self, now: Timestamp) {
        if self.made_up.until(now).0.abs() < BETWEEN_MARKS.0 {
            return;
        }
        self.made_up = now;
        self.deliveries.fill(&self.engine).await;
        if self.exposition.is_none() {
            self.exposition = Exposition::again(&self.engine).await;
        }
    }

    fn mark_presence(&mut self, now: Timestamp) {
        self.marked = now;
        if let Some(Err(error)) = self.presence.as_ref().map(|lock| lock.mark(now)) {
            tracing::debug!(%error, "progress was not marked");
        }
    }

    /// Whether no step has been under way for longer than it may.
    fn keeps_its_limits(&self) -> bool {
        self.steps.oldest() <= self.longest
    }

    /// One tick under the lock, which is kept while steps are under way.
    async fn tick<E: fmt::Display>(&mut self, options: &RunOptions<E>, call: &Call) {
        if self.held.is_none() {
            let state_dir = self.engine.policy.state_dir.clone();
            match (options.lock)(state_dir).await {
                Ok(lock) => self.held = Some(lock),
                Err(busy) => {
                    // Most likely a person's command is at work; it leaves nothing undone that would have to be hurried for.
                    tracing::warn!("{busy}");
                    let now = self.engine.clock.now();
                    let hurry = self.wishes.refuse_late(now, &busy.to_string());
                    self.due = now + if hurry { SHORTEST_NAP } else { BUSY_RETRY };
                    return;
                }
            }
        }
        // Changed while the lock was waited for, perhaps by whoever had it: read first.
        if (options.stamp)() == self.stamp {
            self.work_and_tell(options, call).await;
        } else {
            self.due = self.engine.clock.now();
        }
        if self.steps.is_empty() {
            self.held = None;
            self.retire().await;
        }
    }

    async fn work_and_tell<E>(&mut self, options: &RunOptions<E>, call: &Call) {
        let result = self.work(call).await;
        if self.steps.is_empty() {
            self.held = None;
        }
        // One that does not keep its limit is not spoken for, by anything that says that we got on.
        let keeps_its_limits = self.keeps_its_limits();
        self.deliveries.ring(result.is_ok() && keeps_its_limits);
        match result {
            Ok(plan) => {
                let refused = self.refused.as_ref().map_or("", |_| NOT_IN_FORCE);
                systemd::status(&format!("{refused}{}", summary(&plan)));
                if let Some(snapshot) = &self.snapshot {
                    let seen = (snapshot, &plan);
                    self.wishes
                        .settle(&self.engine, seen, &self.steps, &options.judge);
                }
                let now = self.engine.clock.now();
                if keeps_its_limits {
                    self.publish(&plan).await;
                    self.mark_presence(now);
                }
                let goes_on =
                    !self.steps.is_empty() || !plan.actions.is_empty() || !self.wishes.are_begun();
                self.due = if goes_on {
                    now
                } else {
                    self.next_wake(&plan, now).max(now + SHORTEST_NAP)
                };
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

    /// Closes the journals that nobody uses any more.
    pub(super) async fn retire(&mut self) {
        for old in self.retired.drain(..) {
            close(&old).await;
        }
    }

    /// Waits for the steps under way; what they came to is in the journal. systemd waits with us, for as long as they may
    /// take: it would kill us after `TimeoutStopSec=` otherwise.
    async fn end_steps(&mut self) {
        loop {
            let left = self.longest.saturating_sub(self.steps.youngest());
            if !self.steps.is_empty() && !left.is_zero() {
                systemd::stops_within(left + CLOSING);
            }
            let ended = tokio::select! {
                ended = self.steps.next() => ended,
                () = tokio::time::sleep(BETWEEN_PLEAS) => continue,
            };
            let Some(ended) = ended else { break };
            systemd::alive();
            if let Err(error) = ended {
                tracing::error!(error = error_chain(&error), "a step could not be finished");
            }
        }
        self.held = None;
        self.retire().await;
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

    async fn work(&mut self, call: &Call) -> Result<Plan, EngineError> {
        let begun = Begun::now(&*self.engine.clock);
        let version = self.engine.store.data_version().await?;
        let mut ended = self.steps.reap()?;
        let busy = self.steps.busy();
        let kept = self.snapshot.take().filter(|kept| {
            let check = jobs::due(&self.engine.policy, kept, begun.at).contains(&JobName::Check);
            version == self.seen_version && !check && self.wishes.are_begun()
        });
        self.wishes.begin(&self.engine, &busy).await?;
        let mut snapshot = match kept {
            Some(mut snapshot) => {
                self.engine.look_again(&mut snapshot, &busy).await?;
                snapshot
            }
            None => {
                let known = self.known().await?;
                self.start_is_over(&known);
                self.engine.look_beside(known, &busy).await?
            }
        };
        snapshot.refused.clone_from(&self.refused);
        ended.merge(self.steps.reap()?);
        self.engine.store.refresh(&mut snapshot, &ended).await?;
        // Which jobs are due is a matter of the clock as well.
        self.engine.gather(&mut snapshot).await?;
        let due = self
            .wishes
            .due(&self.engine.policy, &mut snapshot, begun.at);
        let awaited = if due.is_empty() {
            self.wishes.awaited()
        } else {
            Awaited::AtOnce
        };
        let course = Course { call, awaited };
        let run = self
            .engine
            .run_jobs_beside(&due, begun, &mut snapshot, &mut self.steps, course);
        let plan = run.await?;
        self.seen_version = version;
        self.snapshot = Some(snapshot);
        Ok(plan)
    }

    /// By the journal alone.
    async fn known(&mut self) -> Result<Snapshot, EngineError> {
        let Some(foreseen) = self.foreseen.take() else {
            return self.engine.known().await;
        };
        // Under the lock, so that nobody writes from here on.
        let journal = journal(&self.engine.policy.state_dir);
        let still = match foreseen.await {
            Ok(Some(foreseen)) => foreseen.still(&journal).await,
            Ok(None) | Err(_) => None,
        };
        match still {
            Some(snapshot) => self.engine.own(snapshot).await,
            None => self.engine.known().await,
        }
    }

    async fn take<E: fmt::Display>(&mut self, wish: Wish, options: &RunOptions<E>) {
        let now = self.engine.clock.now();
        let pending = Pending::new(wish);
        if pending.wish.wanted == Wanted::Reload {
            let outcome = self.reload(options).await;
            pending.answer(outcome);
        } else {
            self.wishes.keep(pending);
            self.due = now;
        }
    }

    /// With the first plan, by the journal alone, and before anything of it is done: an issuer that hangs, or a disk with
    /// a hundred thousand files, must not make systemd give the start up. A journal that cannot be read may.
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
        if snapshot.is_some_and(|seen| jobs::is_back(plan, &self.engine.policy, seen, now)) {
            return now;
        }
        let job = snapshot.and_then(|seen| jobs::next_of_all(&self.engine.policy, seen, now));
        job.map_or(plan.next_wake, |job| job.min(plan.next_wake))
    }
}

/// The lock is needed for the schema's sake only; each tick takes it again.
pub(super) async fn make_engine<E>(
    policy: Arc<Policy>,
    options: &RunOptions<E>,
) -> Result<Engine, E> {
    let _lock = (options.lock)(policy.state_dir.clone()).await?;
    (options.engine)(policy).await
}

/// Lets others see that a daemon looks after this state directory. Nothing depends on it: what is done is done under the
/// other lock, so a second daemon is useless and harms nothing.
pub(super) async fn announce(state_dir: &Path) -> Option<Lock> {
    let path = daemon_lock(state_dir);
    match Lock::acquire(&path, "renewd run", Duration::from_secs(1)).await {
        Ok(lock) => Some(lock),
        Err(error) => {
            tracing::warn!("another daemon seems to be at work: {error}");
            None
        }
    }
}

async fn close(engine: &Engine) {
    if let Err(error) = engine.store.close().await {
        tracing::warn!(error = error_chain(&error), "the journal was not closed");
    }
}

fn listen(kind: SignalKind) -> Result<Signal, String> {
    signal(kind).map_err(|error| format!("failed to listen for signals: {error}"))
}

const NO_JOURNAL: &str = "the journal cannot be read or written: nothing more is done until it can, and no letter can tell of it, since letters wait in the journal too";
/// A tick over many certificates takes minutes.
const LONG_TICK: Duration = Duration::from_secs(15 * 60);
/// After somebody else held the lock.
const BUSY_RETRY: Seconds = Seconds(30);
/// After the journal could not be written.
const ERROR_RETRY: Seconds = Seconds(60);
/// Between two marks of our progress.
const BETWEEN_MARKS: Seconds = Seconds(60);
/// A mark that is younger will do: one is left at each ring of the bell.
const FRESH_MARK: Seconds = Seconds(30);
/// While steps are waited for at the end.
const BETWEEN_PLEAS: Duration = Duration::from_secs(10);
/// After the last step: a letter under way, and the journal.
const CLOSING: Duration = Duration::from_secs(45);
/// Between two ticks, whatever the plan says: nothing is retried in a tight loop.
const SHORTEST_NAP: Seconds = Seconds(1);
