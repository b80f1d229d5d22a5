//! The requests a server saw: counted all, remembered some. For tests, and for whoever rehearses.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use crate::ccm_server::faults::Fault;

/// One request, as tests look at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The chapter of the operation, such as `4.2.2.3`; `crl` for a list of revoked certificates, by whichever listener; empty
    /// for an unknown path.
    pub operation: String,
    /// The status of the answer; 0 when the connection was dropped.
    pub status: u16,
    /// The id in `X-Request-Id`.
    pub request_id: String,
    /// The fault that hit it.
    pub fault: Option<Fault>,
}

/// The requests seen: counted all, remembered some.
#[derive(Default)]
pub(super) struct RequestLog(Mutex<LogState>);

#[derive(Default)]
struct LogState {
    last: VecDeque<Seen>,
    counts: BTreeMap<String, usize>,
}

impl RequestLog {
    /// Remembers one.
    pub(super) fn add(&self, seen: Seen) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *state.counts.entry(seen.operation.clone()).or_insert(0) += 1;
        if state.last.len() == REMEMBERED {
            state.last.pop_front();
        }
        state.last.push_back(seen);
    }

    /// Those that are remembered, oldest first.
    pub(super) fn last(&self) -> Vec<Seen> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.last.iter().cloned().collect()
    }

    /// How many there were of each operation.
    pub(super) fn counts(&self) -> BTreeMap<String, usize> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.counts.clone()
    }

    /// How many there were of an operation.
    pub(super) fn count(&self, operation: &str) -> usize {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.counts.get(operation).copied().unwrap_or(0)
    }
}

/// Requests that are remembered one by one.
const REMEMBERED: usize = 1000;
