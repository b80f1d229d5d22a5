//! Lays files over one another: tables are joined key by key, any other value of a later file replaces the earlier one.
//!
//! Every key and value keeps its own place, so a problem points into the file that won.

use std::collections::btree_map::Entry as Slot;

use crate::config::tree::{Table, Value};

/// Lays `over` on `base`.
pub(super) fn lay(base: &mut Table, over: Table) {
    base.partial |= over.partial;
    for (name, entry) in over.entries {
        match base.entries.entry(name) {
            Slot::Vacant(slot) => {
                slot.insert(entry);
            }
            Slot::Occupied(mut slot) => {
                let below = slot.get_mut();
                match (&mut below.node.value, entry.node.value) {
                    (Value::Table(below), Value::Table(above)) => lay(below, above),
                    (_, value) => {
                        below.key = entry.key;
                        below.node.place = entry.node.place;
                        below.node.value = value;
                    }
                }
            }
        }
    }
}
