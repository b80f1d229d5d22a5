//! Who may be at work on the directories that buckets are. What a disk is asked for cannot be taken back: where it does not answer, the
//! thread that asked is lost until it does. So each bucket has few such threads, all of them together have a bound far below what the
//! server has, and where one has waited for long nobody else begins.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::ccm_server::failure::Failure;
use crate::sys::fs::FsError;

/// The places of all buckets.
pub(super) struct Disk {
    /// Of those in which somebody is at work, or waits to be.
    lanes: Mutex<HashMap<(Way, String), Weak<Lane>>>,
    /// Of all buckets together: they may all be on one disk.
    threads: Arc<Semaphore>,
    /// How long reading and writing may take before a bucket is left alone.
    longest: [Duration; 2],
}

/// What is done in a bucket. Who reads has places of his own: an old list may be there while no new one can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Way {
    Read,
    Write,
}

/// One way into one bucket.
struct Lane {
    places: Arc<Semaphore>,
    longest: Duration,
    /// Since when those wait for the disk who do.
    begun: Mutex<Vec<Instant>>,
}

/// May be at work in a bucket, and is it until dropped.
pub(super) struct Place {
    lane: Arc<Lane>,
    begun: Option<Instant>,
    _own: OwnedSemaphorePermit,
    _thread: OwnedSemaphorePermit,
}

/// Why nobody begins.
#[derive(Debug, thiserror::Error)]
#[error("the bucket {0} does not answer: what was begun in it has not come to an end")]
pub(super) struct Unanswered(pub(super) String);

impl Disk {
    pub(super) fn new() -> Self {
        Self::with([LONGEST_READING, LONGEST_WRITING])
    }

    fn with(longest: [Duration; 2]) -> Self {
        Self {
            lanes: Mutex::default(),
            threads: Arc::new(Semaphore::new(THREADS)),
            longest,
        }
    }

    /// Waits for a place in a bucket, for as long as work in it may take.
    ///
    /// # Errors
    /// [`Unanswered`], at once where somebody has waited for the bucket for so long already.
    pub(super) async fn place(&self, way: Way, bucket: &str) -> Result<Place, Unanswered> {
        let lane = self.lane(way, bucket);
        let unanswered = || Unanswered(bucket.to_owned());
        if lane.hangs() {
            return Err(unanswered());
        }
        let places = async {
            let own = Arc::clone(&lane.places).acquire_owned().await.ok()?;
            let thread = Arc::clone(&self.threads).acquire_owned().await.ok()?;
            Some((own, thread))
        };
        let places = tokio::time::timeout(lane.longest, places).await;
        let (own, thread) = places.ok().flatten().ok_or_else(unanswered)?;
        Ok(Place {
            lane,
            begun: None,
            _own: own,
            _thread: thread,
        })
    }

    fn lane(&self, way: Way, bucket: &str) -> Arc<Lane> {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever asks may name any bucket: those without anybody are forgotten.
        lanes.retain(|_, lane| lane.strong_count() > 0);
        let lane = lanes.entry((way, bucket.to_owned())).or_default();
        lane.upgrade().unwrap_or_else(|| {
            let new = Arc::new(Lane::new(way, self.longest));
            *lane = Arc::downgrade(&new);
            new
        })
    }
}

impl Lane {
    fn new(way: Way, [reading, writing]: [Duration; 2]) -> Self {
        let (places, longest) = match way {
            Way::Read => (READERS, reading),
            Way::Write => (WRITERS, writing),
        };
        Self {
            places: Arc::new(Semaphore::new(places)),
            longest,
            begun: Mutex::default(),
        }
    }

    fn hangs(&self) -> bool {
        let begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        begun.iter().any(|begun| begun.elapsed() > self.longest)
    }
}

impl Place {
    /// Does it on a thread of its own, which has this place until the work ends, whether or not anybody still waits for that.
    pub(super) async fn run<T: Send + 'static>(
        mut self,
        work: impl FnOnce() -> Result<T, FsError> + Send + 'static,
    ) -> Result<T, Failure> {
        let now = Instant::now();
        self.begun = Some(now);
        {
            let begun = self.lane.begun.lock();
            begun.unwrap_or_else(PoisonError::into_inner).push(now);
        }
        let done = tokio::task::spawn_blocking(move || {
            let done = work();
            drop(self);
            done
        });
        let done = done.await.map_err(|error| Failure::internal(&error))?;
        done.map_err(|error| Failure::internal(&error))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(own) = self.begun else { return };
        let mut begun = self
            .lane
            .begun
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = begun.iter().position(|begun| *begun == own) {
            begun.swap_remove(at);
        }
    }
}

/// Who may read in a bucket at a time. Not all that may read at all: the lists of other buckets are read meanwhile.
const READERS: usize = 2;
/// Who may write in a bucket at a time.
const WRITERS: usize = 4;
/// At work in all buckets together; the runtime has 512 threads for what blocks.
const THREADS: usize = 64;
/// How long reading a list may take, and waiting for it.
pub(super) const LONGEST_READING: Duration = Duration::from_secs(5);
/// How long writing one may take before the bucket is left alone.
const LONGEST_WRITING: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn where_a_disk_does_not_answer_few_wait_and_nobody_else_begins() {
        let hour = Duration::from_secs(3600);
        let disk = Disk::with([Duration::from_millis(100), hour]);
        // Polled once: it has a place, or the refusal; or it waits.
        let at_once = async |way, bucket| {
            let place = disk.place(way, bucket);
            tokio::time::timeout(Duration::ZERO, place).await.ok()
        };
        let mut answers = Vec::new();
        for _ in 0..READERS {
            let (answer, answered) = mpsc::channel::<()>();
            let place = disk.place(Way::Read, "hung").await.unwrap();
            // Ends when its sender does.
            let work = place.run(move || Ok(answered.recv().is_ok()));
            let gone = tokio::time::timeout(Duration::ZERO, work).await;
            assert!(gone.is_err(), "nobody waits for it any more");
            answers.push(answer);
        }
        assert!(
            at_once(Way::Write, "hung")
                .await
                .is_some_and(|it| it.is_ok())
        );
        assert!(
            at_once(Way::Read, "other")
                .await
                .is_some_and(|it| it.is_ok())
        );
        assert!(disk.place(Way::Read, "hung").await.is_err());
        let refused = at_once(Way::Read, "hung").await.expect("at once");
        let said = refused.err().unwrap().to_string();
        assert!(said.contains("the bucket hung does not answer"), "{said}");
        drop(answers);
        // The threads end, and their places are free.
        let lane = disk.lane(Way::Read, "hung");
        let all = u32::try_from(READERS).unwrap();
        let free = Arc::clone(&lane.places).acquire_many_owned(all).await;
        drop((free.unwrap(), lane));
        assert!(disk.place(Way::Read, "hung").await.is_ok());
        drop(disk.place(Way::Write, "another").await.unwrap());
        let known = disk.lanes.lock().unwrap().len();
        assert_eq!(known, 1, "those without anybody are forgotten");
    }

    #[tokio::test]
    async fn all_buckets_together_take_no_more_threads_than_there_are_for_them() {
        let short = Duration::from_millis(50);
        let disk = Disk::with([short, short]);
        let mut all = Vec::new();
        for nth in 0..THREADS {
            let bucket = format!("bucket-{}", nth / WRITERS);
            all.push(disk.place(Way::Write, &bucket).await.unwrap());
        }
        assert!(disk.place(Way::Read, "one-more").await.is_err());
        all.pop();
        assert!(disk.place(Way::Read, "one-more").await.is_ok());
    }
}
