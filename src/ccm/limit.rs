//! How many requests an account is asked in a second: whoever comes too early waits for a turn.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Shared by all who ask one account.
#[derive(Debug)]
pub struct Limit {
    per_second: usize,
    /// The last turns that were given, as many as a second may have; the latest may be to come.
    given: Mutex<VecDeque<Instant>>,
}

impl Limit {
    /// No more requests than these begin in any second.
    #[must_use]
    pub fn new(per_second: NonZeroU32) -> Self {
        Self {
            per_second: usize::try_from(per_second.get()).unwrap_or(usize::MAX),
            given: Mutex::default(),
        }
    }

    /// Waits for a turn; answers how long. A turn that is not waited for to its end is lost.
    pub(crate) async fn turn(&self) -> Duration {
        let now = Instant::now();
        let at = self.give(now);
        if at > now {
            tokio::time::sleep_until(at).await;
        }
        now.elapsed()
    }

    fn give(&self, now: Instant) -> Instant {
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        let first = (given.len() >= self.per_second)
            .then(|| given.pop_front())
            .flatten();
        let at = first.map_or(now, |first| now.max(first + SECOND));
        given.push_back(at);
        at
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_second_has_more_turns_than_it_may_and_an_idle_one_saves_none_up() {
        let limit = Limit::new(NonZeroU32::new(5).unwrap());
        let mut now = Instant::now();
        let mut turns = Vec::new();
        // Many at once, some in between, and many again after a rest.
        for rest in [
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 300, 300, 300, 9000, 0, 0, 0, 0, 0, 0, 0,
        ] {
            now += Duration::from_millis(rest);
            let turn = limit.give(now);
            assert!(turn >= now);
            turns.push(turn);
        }
        let begin = turns[0];
        assert_eq!(turns[4], begin, "as many as a second may have go at once");
        assert_eq!(turns[5], begin + SECOND);
        assert!(turns.is_sorted());
        for (early, late) in turns.iter().zip(&turns[5..]) {
            assert!(*late - *early >= SECOND);
        }
        assert!(limit.given.lock().unwrap().len() <= 5);
    }
}
