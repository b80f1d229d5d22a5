//! Reading that a file system may never answer: one thread for each subject, however long it hangs.
//!
//! A thread that waits for a dead server cannot be ended. Left behind at each look, such threads would use up all that
//! the process may have, and nothing at all would go on. So whoever still hangs is asked for nothing again.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::model::WatchId;

/// Which table, with its patterns: those of a policy that was mended do not wait for those of the old one.
pub(super) type Subject = (WatchId, Vec<String>);

/// Under way, or hanging. Of the process, as its threads are: they outlive the policy that they were begun for.
static UNDER_WAY: Mutex<BTreeSet<Subject>> = Mutex::new(BTreeSet::new());

/// What `work` answers within the limit. `None` when it does not, and at once while an earlier one of the same subject is
/// still under way.
pub(super) async fn read<T: Send + 'static>(
    subject: Subject,
    limit: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    if !under_way().insert(subject.clone()) {
        return None;
    }
    let ends = Ends(subject);
    let read = tokio::task::spawn_blocking(move || {
        let _ends = ends;
        work()
    });
    tokio::time::timeout(limit, read).await.ok()?.ok()
}

/// Says that it is over, also where it panicked or was never begun.
struct Ends(Subject);

impl Drop for Ends {
    fn drop(&mut self) {
        under_way().remove(&self.0);
    }
}

fn under_way() -> MutexGuard<'static, BTreeSet<Subject>> {
    UNDER_WAY.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn what_hangs_has_one_thread_however_often_it_is_looked_at() {
        let subject = (WatchId::new("nfs").unwrap(), vec!["/nfs/*.pem".to_owned()]);
        let begun = Arc::new(AtomicUsize::new(0));
        let (answer, server) = mpsc::channel::<()>();
        let counted = Arc::clone(&begun);
        let hangs = move || {
            counted.fetch_add(1, Ordering::SeqCst);
            let _ = server.recv();
        };
        let short = Duration::from_millis(10);
        assert_eq!(read(subject.clone(), short, hangs).await, None);
        for _ in 0..1000 {
            let counted = Arc::clone(&begun);
            let looks = move || counted.fetch_add(1, Ordering::SeqCst);
            assert_eq!(read(subject.clone(), LONG, looks).await, None);
        }
        assert!(begun.load(Ordering::SeqCst) <= 1);
        // Other patterns do not wait for it.
        let other = (subject.0.clone(), vec!["/etc/*.pem".to_owned()]);
        assert_eq!(read(other, LONG, || 7).await, Some(7));

        // The server is back.
        answer.send(()).unwrap();
        let mut seen = None;
        while seen.is_none() {
            tokio::task::yield_now().await;
            seen = read(subject.clone(), LONG, || 8).await;
        }
        assert_eq!(seen, Some(8));
    }

    const LONG: Duration = Duration::from_secs(60);
}
