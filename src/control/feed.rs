//! What happens, for whoever listens: numbered, and never waited for.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

use crate::engine::{Progress, ProgressSink};
use crate::model::Timestamp;
use crate::sys::clock::Clock;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Counts from the start of the daemon, without gaps.
    pub seq: u64,
    /// When, as RFC 3339.
    pub at: String,
    /// What.
    #[serde(flatten)]
    pub progress: Progress,
}

/// Hands progress to everybody who listens at the time. The last few are kept for those who are slow; who is slower still
/// misses the oldest and is told how many.
#[derive(Clone)]
pub struct Feed {
    entries: broadcast::Sender<Arc<Entry>>,
    past: Arc<Mutex<Past>>,
    clock: Arc<dyn Clock>,
}

impl Feed {
    /// Nobody listens yet, and nothing happened.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            entries: broadcast::Sender::new(KEPT),
            past: Arc::default(),
            clock,
        }
    }

    /// A sink that hands on to `log` as well.
    #[must_use]
    pub fn beside(&self, log: ProgressSink) -> ProgressSink {
        let feed = self.clone();
        Arc::new(move |progress| {
            feed.tell(progress.clone());
            log(progress);
        })
    }

    fn tell(&self, mut progress: Progress) {
        if let Progress::Failed { output, .. } = &mut progress {
            shorten(output);
        }
        let at: Timestamp = self.clock.now();
        let mut past = self.past.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = Arc::new(Entry {
            seq: past.told,
            at: at.to_string(),
            progress,
        });
        past.told += 1;
        if past.last.len() == REMEMBERED {
            past.last.pop_front();
        }
        past.last.push_back(Arc::clone(&entry));
        // Under the lock, so that numbers go out in order. That nobody listens is no fault.
        let _ = self.entries.send(entry);
    }

    pub(super) fn recent(&self) -> Vec<Arc<Entry>> {
        let past = self.past.lock().unwrap_or_else(PoisonError::into_inner);
        past.last.iter().cloned().collect()
    }

    pub(super) fn listen(&self) -> broadcast::Receiver<Arc<Entry>> {
        self.entries.subscribe()
    }
}

#[derive(Default)]
struct Past {
    told: u64,
    last: VecDeque<Arc<Entry>>,
}

/// The end of what a command said is what it failed with.
fn shorten(output: &mut String) {
    if output.len() > LONGEST_OUTPUT {
        let mut from = output.len() - LONGEST_OUTPUT;
        while !output.is_char_boundary(from) {
            from += 1;
        }
        output.replace_range(..from, "...");
    }
}

/// Between a slow listener and the present.
const KEPT: usize = 256;
/// For whoever asks what happened last.
const REMEMBERED: usize = 100;
/// In bytes; the journal has it whole.
const LONGEST_OUTPUT: usize = 8 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::clock::SystemClock;

    #[test]
    fn the_past_is_bounded_and_so_is_what_is_in_it() {
        let feed = Feed::new(Arc::new(SystemClock));
        for round in 0..REMEMBERED + 5 {
            feed.tell(Progress::Failed {
                subject: "web".to_owned(),
                text: round.to_string(),
                output: "é".repeat(LONGEST_OUTPUT),
                milestone: None,
            });
        }
        let recent = feed.recent();
        assert_eq!(recent.len(), REMEMBERED);
        assert_eq!(recent.first().map(|entry| entry.seq), Some(5));
        let Progress::Failed { output, .. } = &recent[0].progress else {
            panic!("{recent:?}");
        };
        assert!(output.len() <= LONGEST_OUTPUT + 3 && output.ends_with('é'));
    }
}
