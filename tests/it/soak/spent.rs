//! Where the real time of the year goes: in renewd's own work, or in what the test does to it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

/// By what was waited for: how often, how long in all, and at most.
#[derive(Default)]
pub(super) struct Spent(BTreeMap<&'static str, (u64, Duration, Duration)>);

impl Spent {
    /// Waits for this, and counts it.
    pub(super) async fn on<T>(&mut self, what: &'static str, waited: impl Future<Output = T>) -> T {
        let begun = Instant::now();
        let result = waited.await;
        let took = begun.elapsed();
        let (times, all, most) = self.0.entry(what).or_default();
        *times += 1;
        *all += took;
        *most = took.max(*most);
        result
    }

    /// One line.
    pub(super) fn told(&self) -> String {
        let mut line = String::new();
        for (what, (times, all, most)) in &self.0 {
            let (all, most) = (all.as_secs(), most.as_secs_f64());
            let _ = write!(line, "{what} {times} times {all} s, at most {most:.1} s; ");
        }
        line
    }
}
