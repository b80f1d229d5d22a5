//! Verify and VerifyBack: the service itself is asked what it serves.

mod ask;
mod questions;

pub(super) use ask::{Sight, ask, ask_once, somebody_listens, wrong};
pub(super) use questions::{Question, backward, fits, former_expired, forward, presentable, roots};
