//! Ids of orders and rollouts: 16 random hex digits, file-name safe.

use crate::engine::EngineError;
use crate::model::{OrderId, RolloutId};
use crate::sys::entropy;

/// A new order's id.
pub(crate) fn order() -> Result<OrderId, EngineError> {
    make(OrderId::new)
}

/// A new rollout's id.
pub(crate) fn rollout() -> Result<RolloutId, EngineError> {
    make(RolloutId::new)
}

fn make<T, E: std::fmt::Display>(new: impl Fn(&str) -> Result<T, E>) -> Result<T, EngineError> {
    let text = entropy::hex(8);
    new(&text).map_err(|error| EngineError::Bug(format!("id {text}: {error}")))
}
