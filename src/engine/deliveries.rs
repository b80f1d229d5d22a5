//! The daemon's deliveries: a task beside the ticks that lets a courier work whenever letters are due.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use crate::engine::{Courier, Engine, Round};
use crate::model::{Seconds, Timestamp};
use crate::sys::clock::Clock;
use crate::sys::error_chain;

/// The task, and how it is spoken to.
pub(crate) struct Deliveries {
    courier: Option<watch::Sender<Option<Arc<Courier>>>>,
    /// There should be a courier, and none could be had.
    vacant: AtomicBool,
    bell: Arc<Notify>,
    /// A tick was completed since the last heartbeat.
    ticked: Arc<AtomicBool>,
    news: Arc<Notify>,
    /// When the outbox was looked into last for letters that nothing tells of.
    looked_at: Timestamp,
    task: Option<JoinHandle<()>>,
}

impl Deliveries {
    /// Waits for a courier.
    pub(crate) fn start(clock: Arc<dyn Clock>) -> Self {
        let (courier, hired) = watch::channel(None);
        let (bell, news) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let ticked = Arc::new(AtomicBool::new(false));
        let heard = (Arc::clone(&bell), Arc::clone(&ticked));
        let task = work(clock, hired, heard, Arc::clone(&news));
        Self {
            courier: Some(courier),
            vacant: AtomicBool::new(false),
            bell,
            ticked,
            news,
            looked_at: Timestamp::default(),
            task: Some(tokio::spawn(task)),
        }
    }

    /// Goes by the policy of this engine from now on.
    pub(crate) async fn hire(&self, engine: &Engine) {
        let courier = engine.courier().await;
        let was_vacant = self.vacant.swap(courier.is_err(), Ordering::SeqCst);
        let courier = match courier {
            Ok(courier) => {
                if was_vacant {
                    tracing::info!("alerts can be sent again");
                }
                courier
            }
            Err(error) => {
                // Once: it may go on for long.
                if !was_vacant {
                    tracing::error!(
                        error = error_chain(&error),
                        "no alert can be sent; tried again every minute"
                    );
                }
                None
            }
        };
        if let Some(sender) = &self.courier
            && let Some(old) = sender.send_replace(courier)
        {
            old.stop();
        }
    }

    /// Tries again to have a courier, where none could be had.
    pub(crate) async fn fill(&self, engine: &Engine) {
        if self.vacant.load(Ordering::SeqCst) {
            self.hire(engine).await;
        }
    }

    /// A tick is over, and was completed or not: there may be new letters, and there is somebody who waits for a sign of
    /// life.
    pub(crate) fn ring(&self, completed: bool) {
        self.ticked.fetch_or(completed, Ordering::SeqCst);
        self.bell.notify_one();
    }

    /// The daemon is awake anyway. Another process's command may have left letters behind; nothing tells of those, and
    /// nobody is woken for their sake alone.
    pub(crate) fn look(&mut self, now: Timestamp) {
        if self.looked_at.until(now).0.abs() >= BETWEEN_LOOKS.0 {
            self.looked_at = now;
            self.bell.notify_one();
        }
    }

    /// Is notified when letters begin to fail, or leave again: the planner has something to say about that.
    pub(crate) fn news(&self) -> Arc<Notify> {
        Arc::clone(&self.news)
    }

    /// Ends after the letter under way.
    pub(crate) async fn stop(&mut self) {
        if let Some(sender) = self.courier.take()
            && let Some(courier) = sender.send_replace(None)
        {
            courier.stop();
        }
        if let Some(mut task) = self.task.take()
            && tokio::time::timeout(LAST_LETTER, &mut task).await.is_err()
        {
            task.abort();
        }
    }
}

async fn work(
    clock: Arc<dyn Clock>,
    mut hired: watch::Receiver<Option<Arc<Courier>>>,
    (bell, ticked): (Arc<Notify>, Arc<AtomicBool>),
    news: Arc<Notify>,
) {
    let mut troubled: Option<Timestamp> = None;
    loop {
        let courier = hired.borrow_and_update().clone();
        let Some(courier) = courier else {
            if hired.changed().await.is_err() {
                return;
            }
            continue;
        };
        loop {
            let round = match courier.deliver().await {
                Ok(round) => round,
                Err(error) => {
                    tracing::error!(error = error_chain(&error), "alerts were not sent");
                    Round::default()
                }
            };
            let now = clock.now();
            if round.failed > 0 && troubled.is_none_or(|at| at.until(now) >= BETWEEN_NEWS) {
                troubled = Some(now);
                news.notify_one();
            } else if round.failed == 0 && round.sent > 0 && troubled.take().is_some() {
                news.notify_one();
            }
            if ticked.swap(false, Ordering::SeqCst) {
                courier.beat().await;
            }
            let latest = now + LONGEST_NAP;
            let next = round.next.unwrap_or(latest).min(latest);
            let next = if round.sent == 0 {
                next.max(now + SHORTEST_NAP)
            } else {
                next
            };
            tokio::select! {
                biased;
                changed = hired.changed() => {
                    if let Err(error) = courier.close().await {
                        tracing::warn!(error = error_chain(&error), "the journal was not closed");
                    }
                    if changed.is_err() {
                        return;
                    }
                    break;
                }
                () = bell.notified() => {}
                () = clock.sleep_until(next) => {}
            }
        }
    }
}

/// Where nothing waits.
const LONGEST_NAP: Seconds = Seconds::hours(24);
/// For what nothing tells of.
const BETWEEN_LOOKS: Seconds = Seconds::minutes(5);
/// Between two rounds without success.
const SHORTEST_NAP: Seconds = Seconds(5);
/// Between two ticks for the sake of letters that fail.
const BETWEEN_NEWS: Seconds = Seconds::minutes(30);
/// For the letter under way when the process shall stop.
const LAST_LETTER: Duration = Duration::from_secs(35);
