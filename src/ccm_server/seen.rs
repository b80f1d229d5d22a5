//! The requests a server saw: counted all, remembered some. For tests, and for whoever rehearses.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

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
    last: VecDeque<Kept>,
    counts: BTreeMap<Arc<str>, usize>,
    all: u64,
}

/// A request as it is remembered: in one piece, since a thousand small ones that stay keep the memory around them from going back.
struct Kept {
    operation: Arc<str>,
    status: u16,
    /// Its 32 hexadecimal digits.
    request_id: u128,
    fault: Option<Fault>,
}

impl RequestLog {
    /// Remembers one.
    pub(super) fn add(&self, seen: Seen) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = state.counts.get_key_value(seen.operation.as_str());
        let operation = known.map_or_else(|| seen.operation.into(), |(name, _)| Arc::clone(name));
        *state.counts.entry(Arc::clone(&operation)).or_insert(0) += 1;
        state.all += 1;
        if state.last.len() == REMEMBERED {
            state.last.pop_front();
        }
        state.last.push_back(Kept {
            operation,
            status: seen.status,
            request_id: u128::from_str_radix(&seen.request_id, 16).unwrap_or(0),
            fault: seen.fault,
        });
    }

    /// Those that are remembered, oldest first.
    pub(super) fn last(&self) -> Vec<Seen> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let last = state.last.iter().map(|kept| Seen {
            operation: kept.operation.as_ref().to_owned(),
            status: kept.status,
            request_id: format!("{:032x}", kept.request_id),
            fault: kept.fault,
        });
        last.collect()
    }

    /// How many there were.
    pub(super) fn all(&self) -> u64 {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.all
    }

    /// How many there were of each operation.
    pub(super) fn counts(&self) -> BTreeMap<String, usize> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let counts = state.counts.iter();
        counts
            .map(|(name, count)| (name.as_ref().to_owned(), *count))
            .collect()
    }

    /// How many there were of an operation.
    pub(super) fn count(&self, operation: &str) -> usize {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.counts.get(operation).copied().unwrap_or(0)
    }
}

/// Requests that are remembered one by one.
const REMEMBERED: usize = 1000;
