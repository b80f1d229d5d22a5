//! A clock together with what issuers say of the time, and with how it was set since.

use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::model::{Fresh, Heard, Seconds, Timestamp};
use crate::sys::clock::{Clock, SET_FAR};

/// Shows what the clock within shows.
pub struct Reference<C> {
    clock: C,
    known: Mutex<Known>,
}

struct Known {
    heard: Option<Heard>,
    /// What both clocks showed when that was heard, or at the start.
    base: (Timestamp, Seconds),
    /// By the steady clock: since when it is known that the clock was set far.
    set_since: Option<Seconds>,
    asked_at: Option<Seconds>,
}

impl<C: Clock> Reference<C> {
    /// Nothing is known yet.
    pub fn new(clock: C) -> Self {
        let known = Known {
            heard: None,
            base: (clock.now(), clock.steady()),
            set_since: None,
            asked_at: None,
        };
        Self {
            clock,
            known: Mutex::new(known),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// By how much the clock was set forward since.
    fn moved(&self, (at, steady): (Timestamp, Seconds)) -> Seconds {
        let shown = at.until(self.clock.now());
        let passed = self.clock.steady().0.saturating_sub(steady.0);
        Seconds(shown.0.saturating_sub(passed))
    }
}

impl<C: Clock> Clock for Reference<C> {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn sleep_until<'a>(
        &'a self,
        until: Timestamp,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        self.clock.sleep_until(until)
    }

    fn steady(&self) -> Seconds {
        self.clock.steady()
    }

    fn told(&self, date: i64) {
        let at = self.clock.now();
        let date = Timestamp(date);
        let heard = Heard { date, at };
        let mut known = self.known();
        // One of several issuers whose own clock is wrong does not outweigh one that agrees with this host.
        if let Some(before) = known.heard {
            let age = Seconds(self.clock.steady().0.saturating_sub(known.base.1.0));
            let agreed = is_near(before.ahead()) && is_near(self.moved(known.base));
            if agreed && age < PREFERRED && !is_near(heard.ahead()) {
                return;
            }
        }
        known.heard = Some(heard);
        known.base = (at, self.clock.steady());
        known.set_since = None;
    }

    fn heard(&self) -> Option<Fresh> {
        let mut known = self.known();
        let heard = known.heard;
        let moved = self.moved(known.base);
        let now = self.clock.steady();
        let since = if is_near(moved) {
            known.set_since = None;
            now
        } else {
            *known.set_since.get_or_insert(now)
        };
        Some(Fresh {
            heard,
            moved,
            unsure_for: Seconds(now.0.saturating_sub(since.0)),
        })
    }

    fn may_ask(&self) -> bool {
        let now = self.clock.steady();
        let mut known = self.known();
        let due = known
            .asked_at
            .is_none_or(|at| now.0.saturating_sub(at.0) >= ASKING.0);
        if due {
            known.asked_at = Some(now);
        }
        due
    }
}

fn is_near(length: Seconds) -> bool {
    length.0.saturating_abs() <= SET_FAR.0
}

/// Between two questions for the time.
const ASKING: Seconds = Seconds::minutes(5);

/// How long an issuer that agrees is preferred to one that does not.
const PREFERRED: Seconds = Seconds::minutes(10);

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::sys::clock::ManualClock;

    const NOW: Timestamp = Timestamp(1_800_000_000);
    const MONTHS: Seconds = Seconds::days(90);

    fn reference() -> (Arc<ManualClock>, Reference<Arc<ManualClock>>) {
        let clock = Arc::new(ManualClock::new(NOW));
        (Arc::clone(&clock), Reference::new(clock))
    }

    fn said(reference: &Reference<Arc<ManualClock>>) -> Heard {
        reference.heard().unwrap().heard.unwrap()
    }

    #[test]
    fn time_that_passes_is_no_clock_that_is_set() {
        let (clock, reference) = reference();
        assert_eq!(reference.heard().unwrap().heard, None);
        clock.jump(MONTHS);
        assert_eq!(reference.heard().unwrap().moved, MONTHS);
        clock.jump(Seconds(-MONTHS.0));
        reference.told(NOW.0);
        clock.advance(MONTHS);
        let fresh = reference.heard().unwrap();
        assert_eq!((fresh.moved, fresh.unsure_for), (Seconds(0), Seconds(0)));
        clock.jump(MONTHS);
        assert_eq!(reference.heard().unwrap().moved, MONTHS);
        clock.advance(Seconds(30));
        assert_eq!(reference.heard().unwrap().unsure_for, Seconds(30));
        clock.jump(Seconds(-MONTHS.0));
        let fresh = reference.heard().unwrap();
        assert_eq!((fresh.moved, fresh.unsure_for), (Seconds(0), Seconds(0)));
    }

    #[test]
    fn an_issuer_that_agrees_is_preferred_for_a_while() {
        let (clock, reference) = reference();
        let wrong = NOW + Seconds::days(3650);
        reference.told(NOW.0);
        reference.told(wrong.0);
        assert_eq!(said(&reference).date, NOW);
        // The host's clock was set: what it agreed with is gone.
        clock.jump(MONTHS);
        reference.told(NOW.0);
        assert_eq!(said(&reference).ahead(), MONTHS);
        reference.told((NOW + MONTHS).0);
        assert_eq!(said(&reference).ahead(), Seconds(0));
        clock.advance(PREFERRED);
        reference.told(wrong.0);
        assert_eq!(said(&reference).date, wrong);
    }

    #[test]
    fn nobody_is_asked_in_a_tight_loop() {
        let (clock, reference) = reference();
        assert!(reference.may_ask());
        assert!(!reference.may_ask());
        clock.jump(MONTHS);
        assert!(!reference.may_ask(), "a clock that is set is no time");
        clock.advance(ASKING);
        assert!(reference.may_ask());
    }
}
