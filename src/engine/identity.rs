//! Who a journal is: named at random when it is made, and again when a person claims it.

use crate::model::Identity;
use crate::sys::{entropy, host};

/// A new identity, of this machine.
#[must_use]
pub fn new() -> Identity {
    Identity {
        journal: entropy::hex(8),
        machine: host::machine(),
        host: host::name().unwrap_or_else(|| "unnamed".to_owned()),
    }
}
