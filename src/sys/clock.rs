//! The clock. Everything else takes `now` as an argument.
#![expect(
    clippy::disallowed_methods,
    reason = "this is the one place that reads the clock"
)]

use std::future::Future;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{self, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use nix::time::{ClockId, clock_gettime};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::model::{Fresh, Seconds, Timestamp};

/// Says what time it is and waits for a time.
pub trait Clock: Send + Sync {
    /// The present moment in whole seconds.
    fn now(&self) -> Timestamp;

    /// Returns once `now() >= until`, or when the clock was set back: then `until` may be a moment of another time. That
    /// the clock was set, and that the machine was suspended, is noticed at once.
    fn sleep_until<'a>(&'a self, until: Timestamp)
    -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

    /// Seconds since some moment by a clock that nobody sets, and that goes on in suspend.
    fn steady(&self) -> Seconds;

    /// A trusted remote side says that it is `date` now, in seconds since 1970. A clock alone makes nothing of it.
    fn told(&self, _date: i64) {}

    /// The last thing that was [told](Self::told), and how the clock was set since, where that is kept.
    fn heard(&self) -> Option<Fresh> {
        None
    }

    /// Whether it is long enough ago that this was asked: remote sides may be asked for the time.
    fn may_ask(&self) -> bool {
        false
    }
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
            let begun = (self.now(), self.steady());
            loop {
                let now = self.now();
                let left = now.until(until);
                let passed = Seconds(self.steady().0.saturating_sub(begun.1.0));
                if left <= Seconds(0) || now + SET_BACK < begun.0 + passed {
                    return;
                }
                let left = left.to_std();
                match alarm(until) {
                    Ok(alarm) => {
                        let rings = tokio::time::timeout(left.min(LONGEST_NAP), alarm.readable());
                        // Whatever it was, the clock says what to make of it.
                        let _ = rings.await;
                    }
                    Err(error) => {
                        tracing::debug!(%error, "there is no timer, so the clock is looked at again and again");
                        tokio::time::sleep(left.min(SHORT_NAP)).await;
                    }
                }
            }
        })
    }

    fn steady(&self) -> Seconds {
        // Linux has it since 2.6.39.
        Seconds(clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(0, |time| time.tv_sec()))
    }
}

/// Rings at this moment, after a suspend as well, and when the clock is set: timers of the runtime go by a clock that stands
/// still in suspend, and see nothing of the other one.
#[expect(
    deprecated,
    reason = "what it is warned of cannot be with an OwnedFd, and what takes its place is unsafe code"
)]
fn alarm(at: Timestamp) -> std::io::Result<AsyncFd<OwnedFd>> {
    let flags = TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK;
    let timer = TimerFd::new(timerfd::ClockId::CLOCK_REALTIME, flags)?;
    let moment = Expiration::OneShot(TimeSpec::new(at.0.max(1), 0));
    let how = TimerSetTimeFlags::TFD_TIMER_ABSTIME | TimerSetTimeFlags::TFD_TIMER_CANCEL_ON_SET;
    timer.set(moment, how)?;
    AsyncFd::with_interest(OwnedFd::from(timer), Interest::READABLE)
}

/// A clock is as good as its owner.
impl<C: Clock + ?Sized> Clock for std::sync::Arc<C> {
    fn now(&self) -> Timestamp {
        (**self).now()
    }

    fn sleep_until<'a>(
        &'a self,
        until: Timestamp,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        (**self).sleep_until(until)
    }

    fn steady(&self) -> Seconds {
        (**self).steady()
    }

    fn told(&self, date: i64) {
        (**self).told(date);
    }

    fn heard(&self) -> Option<Fresh> {
        (**self).heard()
    }

    fn may_ask(&self) -> bool {
        (**self).may_ask()
    }
}

/// A clock that moves when it is told to: for tests, and for rehearsals against renewd-ccm.
#[derive(Debug)]
pub struct ManualClock {
    now: AtomicI64,
    steady: AtomicI64,
    moved: tokio::sync::Notify,
}

impl ManualClock {
    /// Stands at `now`.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self {
            now: AtomicI64::new(now.0),
            steady: AtomicI64::new(0),
            moved: tokio::sync::Notify::new(),
        }
    }

    /// Lets time pass and wakes sleepers.
    pub fn advance(&self, by: Seconds) {
        self.steady.fetch_add(by.0, Ordering::SeqCst);
        self.jump(by);
    }

    /// Lets time pass up to this moment and wakes sleepers.
    pub fn set(&self, now: Timestamp) {
        self.advance(self.now().until(now));
    }

    /// Is set forward (or back), as by a person, without time passing; wakes sleepers.
    pub fn jump(&self, by: Seconds) {
        self.now.fetch_add(by.0, Ordering::SeqCst);
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

    fn steady(&self) -> Seconds {
        Seconds(self.steady.load(Ordering::SeqCst))
    }
}

/// Real time between two looks at the clock while sleeping, should the kernel not say that it was set.
const LONGEST_NAP: Duration = Duration::from_secs(3600);

/// The same where the kernel has no timer left to say it.
const SHORT_NAP: Duration = Duration::from_secs(30);

/// A clock that steps back by less is being disciplined; what is due is late by no more than that.
pub const SET_BACK: Seconds = Seconds(60);

/// A clock that is set by more is not one that is being disciplined.
pub(super) const SET_FAR: Seconds = Seconds::hours(1);

/// No moment before this one can be now: when this renewd was built (`SOURCE_DATE_EPOCH`), else when its source was
/// worked on last.
pub const BUILT_AT: Timestamp = Timestamp(match option_env!("SOURCE_DATE_EPOCH") {
    Some(text) => later(seconds(text), SOURCE),
    None => SOURCE,
});

/// 2026-11-01.
const SOURCE: i64 = 1_793_491_200;

const fn later(one: i64, other: i64) -> i64 {
    if one > other { one } else { other }
}

/// 0 for what is no number of seconds.
const fn seconds(text: &str) -> i64 {
    match i64::from_str_radix(text, 10) {
        Ok(number) => number,
        Err(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_kernel_rings_at_a_moment_and_not_before() {
        let clock = SystemClock;
        let until = clock.now() + Seconds(2);
        clock.sleep_until(until).await;
        assert!(clock.now() >= until);
        // A moment that is past is over at once, and one before all times too.
        clock.sleep_until(until).await;
        alarm(Timestamp(i64::MIN))
            .unwrap()
            .readable()
            .await
            .unwrap()
            .retain_ready();
        let far = alarm(clock.now() + Seconds::days(1)).unwrap();
        let early = tokio::time::timeout(Duration::from_millis(50), far.readable());
        assert!(early.await.is_err(), "a day is not over");
    }

    #[test]
    fn the_clock_of_whoever_builds_is_not_before_the_build() {
        assert!(BUILT_AT >= Timestamp::parse("2026-11-01").unwrap());
        assert!(SystemClock.now() >= BUILT_AT, "set the clock of this host");
        let before = SystemClock.steady();
        assert!(before > Seconds(0) && SystemClock.steady() >= before);
        assert_eq!((seconds("1793491200"), seconds("tomorrow")), (SOURCE, 0));
    }
}
