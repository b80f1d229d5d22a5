//! The whole plan.

use std::collections::BTreeMap;

use crate::model::{Policy, Seconds, Snapshot, Timestamp};
use crate::plan::Plan;

/// Decides what should happen next. Reads nothing but its arguments.
#[must_use]
pub fn plan(_policy: &Policy, _snapshot: &Snapshot, now: Timestamp) -> Plan {
    Plan {
        actions: Vec::new(),
        verdicts: BTreeMap::new(),
        alerts: BTreeMap::new(),
        next_wake: now + Seconds::hours(24),
    }
}
