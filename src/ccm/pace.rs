//! How fast one account may be spoken to: so many calls at once and so many in a second, whoever in this process makes
//! them. Two issuers with one key, or a daemon and a survey, must not get an account throttled together.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// The places and the pace of one account at one endpoint.
pub(crate) struct Pace {
    places: Arc<Semaphore>,
    /// When the bucket is full again, were nothing more taken from it.
    full_at: Mutex<Instant>,
}

impl Pace {
    fn new() -> Self {
        Self {
            places: Arc::new(Semaphore::new(AT_ONCE)),
            full_at: Mutex::new(Instant::now()),
        }
    }

    /// That of this account at this host; shared by all clients of the process. Hosts are kept apart, so that one that
    /// hangs takes no place of another.
    pub(crate) fn of(host: &str, account: &str) -> Arc<Self> {
        static ALL: Mutex<BTreeMap<(String, String), Weak<Pace>>> = Mutex::new(BTreeMap::new());
        let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, pace| pace.strong_count() > 0);
        let key = (host.to_owned(), account.to_owned());
        if let Some(pace) = all.get(&key).and_then(Weak::upgrade) {
            return pace;
        }
        let pace = Arc::new(Self::new());
        all.insert(key, Arc::downgrade(&pace));
        pace
    }

    /// Waits for a place and for the moment; `None` when neither comes before `deadline`. The place is free again when
    /// what is returned is dropped.
    pub(crate) async fn place(&self, deadline: Instant) -> Option<OwnedSemaphorePermit> {
        let places = Arc::clone(&self.places);
        let place = tokio::time::timeout_at(deadline, places.acquire_owned());
        // The semaphore is never closed.
        let place = place.await.ok()?.ok()?;
        let now = Instant::now();
        let from = self.take(now, deadline)?;
        // A timer is a millisecond late even where nothing is to be waited for.
        if from > now {
            tokio::time::sleep_until(from).await;
        }
        Some(place)
    }

    /// When a call may begin; nothing is taken where that is too late.
    fn take(&self, now: Instant, deadline: Instant) -> Option<Instant> {
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = (*full_at).max(now) + INTERVAL;
        let from = taken.checked_sub(INTERVAL * BURST).unwrap_or(now).max(now);
        if from >= deadline {
            return None;
        }
        *full_at = taken;
        Some(from)
    }
}

/// Calls at once. A page of a listing takes Huawei's side about a second; more than this brings nothing but throttling.
const AT_ONCE: usize = 16;
/// Between two calls in the long run: 100 in a second, half of what API gateways of Huawei Cloud let through by default.
const INTERVAL: Duration = Duration::from_millis(10);
/// Calls that may come at once after a rest.
const BURST: u32 = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_the_pace_holds() {
        let pace = Pace::new();
        let now = Instant::now() + Duration::from_secs(1);
        let later = now + Duration::from_secs(60);
        for _ in 0..BURST {
            assert_eq!(pace.take(now, later), Some(now));
        }
        assert_eq!(pace.take(now, later), Some(now + INTERVAL));
        assert_eq!(pace.take(now, later), Some(now + INTERVAL * 2));
        // Too late is not taken.
        assert_eq!(pace.take(now, now + INTERVAL), None);
        assert_eq!(pace.take(now, later), Some(now + INTERVAL * 3));
        // After a rest the burst is there again.
        let rested = now + Duration::from_secs(30);
        assert_eq!(
            pace.take(rested, rested + Duration::from_secs(1)),
            Some(rested)
        );
    }

    #[tokio::test]
    async fn an_account_has_one_pace_for_all_its_clients() {
        let one = Pace::of("ccm.example", "ak");
        let held: Vec<_> = {
            let mut held = Vec::new();
            for _ in 0..AT_ONCE {
                held.push(one.place(Instant::now() + Duration::from_secs(5)).await);
            }
            held
        };
        assert!(held.iter().all(Option::is_some));
        let soon = || Instant::now() + Duration::from_millis(20);
        assert!(Pace::of("ccm.example", "ak").place(soon()).await.is_none());
        assert!(Pace::of("scm.example", "ak").place(soon()).await.is_some());
        assert!(Pace::of("ccm.example", "bk").place(soon()).await.is_some());
        drop(held);
        assert!(Pace::of("ccm.example", "ak").place(soon()).await.is_some());
    }
}
