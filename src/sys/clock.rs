//! The clock. Everything else takes `now` as an argument.
#![expect(
    clippy::disallowed_methods,
    reason = "this is the one place that reads the clock"
)]

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::model::{Seconds, Timestamp};

/// Says what time it is and waits for a time.
pub trait Clock: Send + Sync {
    /// The present moment in whole seconds.
    fn now(&self) -> Timestamp;

    /// Returns once `now() >= until`, or when the clock was set back: then `until` may be a moment of another time.
    /// Re-reads the clock at least every 30 s of real time, since timers are monotonic: they stand still in suspend and
    /// do not see the clock being set.
    fn sleep_until<'a>(&'a self, until: Timestamp)
    -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        Timestamp(since.map_or(0, |d| i64::try_from(d.as_secs()).unwrap_or(i64::MAX)))
    }

    fn sleep_until<'a>(
        &'a self,
        until: Timestamp,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(async move {
            let mut seen = self.now();
            loop {
                let now = self.now();
                let left = now.until(until);
                if left <= Seconds(0) || now + SET_BACK < seen {
                    return;
                }
                seen = now;
                tokio::time::sleep(left.to_std().min(LONGEST_NAP)).await;
            }
        })
    }
}

/// A clock that moves when it is told to: for tests, and for rehearsals against renewd-ccm.
#[derive(Debug)]
pub struct ManualClock {
    now: AtomicI64,
    moved: tokio::sync::Notify,
}

impl ManualClock {
    /// Stands at `now`.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self {
            now: AtomicI64::new(now.0),
            moved: tokio::sync::Notify::new(),
        }
    }

    /// Moves forward (or back) and wakes sleepers.
    pub fn advance(&self, by: Seconds) {
        self.now.fetch_add(by.0, Ordering::SeqCst);
        self.moved.notify_waiters();
    }

    /// Jumps and wakes sleepers.
    pub fn set(&self, now: Timestamp) {
        self.now.store(now.0, Ordering::SeqCst);
        self.moved.notify_waiters();
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.now.load(Ordering::SeqCst))
    }

    fn sleep_until<'a>(
        &'a self,
        until: Timestamp,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(async move {
            let mut seen = self.now();
            loop {
                // Registered before the clock is read, so that a move in between is not missed.
                let moved = self.moved.notified();
                tokio::pin!(moved);
                moved.as_mut().enable();
                let now = self.now();
                if now >= until || now + SET_BACK < seen {
                    return;
                }
                seen = now;
                moved.await;
            }
        })
    }
}

/// Real time between two looks at the clock while sleeping.
const LONGEST_NAP: Duration = Duration::from_secs(30);

/// A clock that steps back by less is being disciplined; what is due is late by no more than that.
pub const SET_BACK: Seconds = Seconds(60);
