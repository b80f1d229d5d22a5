//! Reading that a file system may never answer: one thread for each subject, however long it hangs.
//!
//! A thread that waits for a dead server cannot be ended. Left behind at each look, such threads would use up all that
//! the process may have, and nothing at all would go on. So whoever still hangs is asked for nothing again. They are no
//! threads of the runtime, whose number is limited and whose end is waited for at the end of the process.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::model::{Fingerprint, TargetId, WatchId};

/// What is read. What a policy says is part of it: what was mended there does not wait for what hangs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Subject {
    /// A table of watched files, with its patterns.
    Watch(WatchId, Vec<String>),
    /// The places of a target of this state directory, by one policy of it.
    Target(PathBuf, TargetId, Fingerprint),
    /// The revisions that are stored there.
    Revisions(PathBuf),
    /// How much room the disks of these targets have, and that of the state directory.
    Room(PathBuf, Vec<TargetId>),
}

/// Under way, and whether it hangs. Of the process, as its threads are: they outlive the policy that they were begun for.
static UNDER_WAY: Mutex<BTreeMap<Subject, bool>> = Mutex::new(BTreeMap::new());

/// Says that a look that takes long gets on.
#[derive(Debug, Clone, Default)]
pub(super) struct Pulse(Arc<AtomicU64>);

impl Pulse {
    /// One more file was answered for.
    pub(super) fn beat(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn beats(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What `work` answers, as long as no time of `limit` passes without a beat. `None` when one does, and at once while an
/// earlier one of the same subject hangs; one that is only under way is waited for.
pub(super) async fn read<T: Send + 'static>(
    subject: Subject,
    limit: Duration,
    work: impl FnOnce(&Pulse) -> T + Send + 'static,
) -> Option<T> {
    read_in_turn(subject, limit, (), work).await
}

/// The same for one of many, which hold places among those that work side by side: a place that does not beat goes to
/// the next one.
pub(super) async fn read_in_turn<T: Send + 'static, P>(
    subject: Subject,
    limit: Duration,
    place: P,
    work: impl FnOnce(&Pulse) -> T + Send + 'static,
) -> Option<T> {
    let until = Instant::now() + limit;
    while !begin(&subject)? {
        if Instant::now() >= until {
            return None;
        }
        tokio::time::sleep(TURN).await;
    }
    let mut watched = Watched {
        subject: subject.clone(),
        over: false,
    };
    let ends = Ends(subject);
    let pulse = Pulse::default();
    let beating = pulse.clone();
    let (tell, mut told) = oneshot::channel();
    let thread = std::thread::Builder::new().name("look".to_owned());
    let begun = thread.spawn(move || {
        let found = work(&beating);
        // Before it is told: whoever hears of it may ask again at once.
        drop(ends);
        // Perhaps nobody waits any more.
        let _ = tell.send(found);
    });
    if let Err(error) = begun {
        tracing::warn!(%error, "no thread could be had to read files");
        watched.over = true;
        return None;
    }
    let mut place = Some(place);
    let (mut beats, mut beaten) = (pulse.beats(), Instant::now());
    loop {
        match tokio::time::timeout(limit / LISTENS, &mut told).await {
            Ok(found) => {
                watched.over = true;
                return found.ok();
            }
            Err(_) if pulse.beats() != beats => (beats, beaten) = (pulse.beats(), Instant::now()),
            Err(_) if beaten.elapsed() >= limit => return None,
            Err(_) => drop(place.take()),
        }
    }
}

/// Whether it is begun now, and not under way already; `None` where that one hangs.
fn begin(subject: &Subject) -> Option<bool> {
    let mut under_way = under_way();
    match under_way.get(subject) {
        Some(true) => None,
        Some(false) => Some(false),
        None => {
            under_way.insert(subject.clone(), false);
            Some(true)
        }
    }
}

/// One that nobody waits for any more counts as one that hangs, until it ends.
struct Watched {
    subject: Subject,
    over: bool,
}

impl Drop for Watched {
    fn drop(&mut self) {
        if !self.over
            && let Some(hangs) = under_way().get_mut(&self.subject)
        {
            *hangs = true;
        }
    }
}

/// How often within a limit it is listened for beats.
const LISTENS: u32 = 10;
/// How soon it is asked again whether another look is over.
const TURN: Duration = Duration::from_millis(20);

/// Says that it is over, also where it panicked or was never begun.
struct Ends(Subject);

impl Drop for Ends {
    fn drop(&mut self) {
        under_way().remove(&self.0);
    }
}

fn under_way() -> MutexGuard<'static, BTreeMap<Subject, bool>> {
    UNDER_WAY.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn what_hangs_has_one_thread_however_often_it_is_looked_at() {
        let table =
            |pattern: &str| Subject::Watch(WatchId::new("nfs").unwrap(), vec![pattern.to_owned()]);
        let subject = table("/nfs/*.pem");
        let begun = Arc::new(AtomicUsize::new(0));
        let (answer, server) = mpsc::channel::<()>();
        let counted = Arc::clone(&begun);
        let hangs = move |_: &Pulse| {
            counted.fetch_add(1, Ordering::SeqCst);
            let _ = server.recv();
        };
        let short = Duration::from_millis(10);
        assert_eq!(read(subject.clone(), short, hangs).await, None);
        for _ in 0..1000 {
            let counted = Arc::clone(&begun);
            let looks = move |_: &Pulse| counted.fetch_add(1, Ordering::SeqCst);
            assert_eq!(read(subject.clone(), LONG, looks).await, None);
        }
        assert!(begun.load(Ordering::SeqCst) <= 1);
        // Other patterns do not wait for it.
        assert_eq!(read(table("/etc/*.pem"), LONG, |_| 7).await, Some(7));

        // The server is back.
        answer.send(()).unwrap();
        let mut seen = None;
        while seen.is_none() {
            tokio::task::yield_now().await;
            seen = read(subject.clone(), LONG, |_| 8).await;
        }
        assert_eq!(seen, Some(8));
    }

    #[tokio::test]
    async fn one_that_is_only_under_way_is_waited_for() {
        let subject = Subject::Revisions("/both".into());
        let (answer, server) = mpsc::channel::<()>();
        let (begun, is_begun) = mpsc::channel::<()>();
        let first = tokio::spawn(read(subject.clone(), LONG, move |_: &Pulse| {
            begun.send(()).unwrap();
            server.recv().unwrap();
            1
        }));
        let begun = tokio::task::spawn_blocking(move || is_begun.recv());
        begun.await.unwrap().unwrap();
        let second = tokio::spawn(read(subject, LONG, |_: &Pulse| 2));
        tokio::time::sleep(TURN * 2).await;
        assert!(!second.is_finished(), "nothing hangs");
        answer.send(()).unwrap();
        assert_eq!(first.await.unwrap(), Some(1));
        assert_eq!(second.await.unwrap(), Some(2));
    }

    #[tokio::test]
    async fn one_that_hangs_gives_its_place_to_the_next_and_takes_no_longer_for_beats_before() {
        let places = Arc::new(tokio::sync::Semaphore::new(1));
        let place = Arc::clone(&places).acquire_owned().await.unwrap();
        let (answer, server) = mpsc::channel::<()>();
        let limit = Duration::from_secs(2);
        let hangs = move |pulse: &Pulse| {
            pulse.beat();
            let _ = server.recv();
        };
        let begun = Instant::now();
        let first = read_in_turn(Subject::Revisions("/dead".into()), limit, place, hangs);
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await.unwrap();
            let subject = Subject::Revisions("/alive".into());
            let found = read_in_turn(subject, limit, place, |_| 7).await;
            (found, begun.elapsed())
        };
        let (first, (found, after)) = tokio::join!(first, next);
        assert_eq!((first, found), (None, Some(7)));
        // Of the order in which they ended, and not of how long it took.
        assert!(after < begun.elapsed());
        drop(answer);
    }

    #[tokio::test]
    async fn what_gets_on_may_take_longer_than_the_limit() {
        let subject = Subject::Revisions("/long".into());
        let limit = Duration::from_millis(500);
        let walks = move |pulse: &Pulse| {
            let mut beats = 0;
            let begun = Instant::now();
            while begun.elapsed() < limit * 3 {
                std::thread::sleep(limit / 50);
                pulse.beat();
                beats += 1;
            }
            beats
        };
        assert!(
            read(subject, limit, walks)
                .await
                .is_some_and(|beats| beats > 3)
        );
    }

    const LONG: Duration = Duration::from_secs(60);
}
