//! Verify and VerifyBack: the service itself is asked what it serves.

mod ask;
mod questions;
mod trust;

pub(super) use ask::{
    Look, Sight, Unproven, ask, ask_once, look, names, somebody_listens, speaks, wrong,
};
pub(super) use questions::{
    Chains, Question, backward, fits, former_expired, forward, presentable,
};
pub(super) use trust::Trust;
