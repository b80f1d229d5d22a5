//! The daemon of the year: its real loop, over a clock that says who sleeps until when, so that time passes only while nobody
//! is at work.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::task::Poll;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, raise};
use renewd::engine::{Engine, Outcome, Rings, RunError, RunOptions};
use renewd::model::{Fresh, Policy, Seconds, Timestamp};
use renewd::store::Store;
use renewd::sys::clock::{Clock, ManualClock};
use renewd::sys::fs::Lock;
use renewd::sys::reference::Reference;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::soak::world::Year;
use crate::support::engine::BoxFuture;

/// Who sleeps by the clock, and until when.
type Sleepers = BTreeMap<u64, Timestamp>;

/// A clock moved by hand that knows its sleepers.
struct Watched {
    clock: Arc<ManualClock>,
    sleepers: watch::Sender<Sleepers>,
    next: AtomicU64,
}

impl Clock for Watched {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn sleep_until<'a>(
        &'a self,
        until: Timestamp,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(async move {
            let mut sleep = self.clock.sleep_until(until);
            // Whoever is known to sleep knows from when: a clock that is set back before that would be noticed by the bell alone, up
            // to a minute later.
            if poll_fn(|context| Poll::Ready(sleep.as_mut().poll(context)))
                .await
                .is_ready()
            {
                return;
            }
            let asleep = Asleep(self, self.next.fetch_add(1, Ordering::SeqCst));
            self.sleepers.send_modify(|all| {
                all.insert(asleep.1, until);
            });
            sleep.await;
        })
    }

    fn steady(&self) -> Seconds {
        self.clock.steady()
    }

    fn told(&self, date: i64) {
        self.clock.told(date);
    }

    fn heard(&self) -> Option<Fresh> {
        self.clock.heard()
    }
}

struct Asleep<'a>(&'a Watched, u64);

impl Drop for Asleep<'_> {
    fn drop(&mut self) {
        self.0.sleepers.send_modify(|all| {
            all.remove(&self.1);
        });
    }
}

/// `renewd run` in this process. Signals reach it as they reach a process.
pub(super) struct Daemon {
    task: JoinHandle<Result<(), RunError<String>>>,
    clock: Arc<ManualClock>,
    naps: watch::Receiver<Option<Timestamp>>,
    sleepers: watch::Receiver<Sleepers>,
    /// The journals of its engines, as long as anything of it uses them.
    journals: Arc<Mutex<Vec<Weak<dyn Store>>>>,
}

impl Daemon {
    pub(super) fn start(year: &Year) -> Self {
        let sleepers = watch::Sender::default();
        let slept = sleepers.subscribe();
        let watched = Watched {
            clock: Arc::clone(&year.rig.clock),
            sleepers,
            next: AtomicU64::new(0),
        };
        let make = year
            .rig
            .maker_over(Arc::new(Reference::new(Arc::new(watched))));
        let journals: Arc<Mutex<Vec<Weak<dyn Store>>>> = Arc::default();
        let opened = Arc::clone(&journals);
        let file = year.path().join("renewd.toml");
        let written = file.clone();
        let naps = watch::Sender::default();
        let heard = naps.subscribe();
        let options = RunOptions {
            load: Box::new(move || match renewd::config::load(&file) {
                Ok(loaded) => Ok(loaded.policy),
                Err(problems) => Err(problems.to_string()),
            }),
            first_stamp: renewd::config::stamp(&written),
            stamp: Box::new(move || renewd::config::stamp(&written)),
            foreseen: None,
            rings: Rings::default(),
            engine: Box::new(move |policy: Arc<Policy>| {
                let (engine, opened): (BoxFuture<Engine>, _) =
                    (make((*policy).clone()), Arc::clone(&opened));
                Box::pin(async move {
                    let engine = engine.await;
                    opened.lock().unwrap().push(Arc::downgrade(&engine.store));
                    Ok(engine)
                })
            }),
            lock: Box::new(|state| {
                Box::pin(async move {
                    let lock = Lock::acquire(&state.join("lock"), "soak", PATIENCE).await;
                    lock.map_err(|error| error.to_string())
                })
            }),
            judge: Arc::new(|_| Outcome::refused(70, "nobody asks")),
            in_force: watch::Sender::new(Arc::new(year.rig.policy())),
            naps,
        };
        let (_, wishes) = tokio::sync::mpsc::channel(1);
        Self {
            task: tokio::spawn(renewd::engine::run(
                Arc::new(year.rig.policy()),
                options,
                wishes,
            )),
            clock: Arc::clone(&year.rig.clock),
            naps: heard,
            sleepers: slept,
            journals,
        }
    }

    /// Waits until the loop and the courier sleep; answers until when the first of them does.
    pub(super) async fn asleep(&mut self) -> Timestamp {
        let clock = Arc::clone(&self.clock);
        let later = |until: &Timestamp| *until > clock.now();
        let asleep = async {
            loop {
                let nap = *self
                    .naps
                    .wait_for(|nap| nap.as_ref().is_some_and(later))
                    .await
                    .expect("the daemon runs");
                let sleepers = self
                    .sleepers
                    .wait_for(|all| all.len() >= SLEEPERS && all.values().all(later))
                    .await
                    .expect("the daemon runs");
                // Still, since the other was looked at?
                if *self.naps.borrow() == nap
                    && let Some(first) = sleepers.values().min()
                {
                    return *first;
                }
            }
        };
        match tokio::time::timeout(PATIENCE, asleep).await {
            Ok(until) => until,
            Err(_) => panic!(
                "not asleep: {:?} {:?}",
                *self.naps.borrow(),
                *self.sleepers.borrow()
            ),
        }
    }

    /// Whether the loop itself wakes at this moment, and not the courier alone.
    pub(super) fn wakes_at(&self, moment: Timestamp) -> bool {
        self.naps.borrow().is_none_or(|nap| nap <= moment)
    }

    /// Does something that the loop notices by itself, and waits until it has.
    pub(super) async fn noticing(&mut self, what: impl FnOnce()) {
        self.naps.borrow_and_update();
        what();
        let noticed = tokio::time::timeout(PATIENCE, self.naps.changed()).await;
        noticed.expect("it is noticed").expect("the daemon runs");
    }

    /// SIGHUP.
    pub(super) async fn reload(&mut self) {
        self.noticing(|| raise(Signal::SIGHUP).unwrap()).await;
    }

    /// SIGTERM, and its end.
    pub(super) async fn stop(self) {
        raise(Signal::SIGTERM).unwrap();
        let ended = tokio::time::timeout(PATIENCE, self.task).await;
        assert!(
            matches!(ended, Ok(Ok(Ok(())))),
            "the daemon did not end well"
        );
        forgotten(&self.journals).await;
    }

    /// Its steps end where they are; waits until the last of them has let go, as a process that is killed would.
    pub(super) async fn kill(self) {
        self.task.abort();
        let ended = self.task.await;
        assert!(ended.is_err_and(|error| error.is_cancelled()), "it ended");
        forgotten(&self.journals).await;
    }
}

async fn forgotten(journals: &Mutex<Vec<Weak<dyn Store>>>) {
    let begun = Instant::now();
    let used = || {
        let journals = journals.lock().unwrap();
        journals.iter().any(|journal| journal.strong_count() > 0)
    };
    while used() {
        assert!(begun.elapsed() < PATIENCE, "steps go on");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// The loop, and the courier.
const SLEEPERS: usize = 2;
const PATIENCE: Duration = Duration::from_secs(300);
