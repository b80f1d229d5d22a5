//! Verify and VerifyBack: the service itself is asked what it serves.

mod ask;
mod questions;

pub(super) use ask::{Look, Sight, ask, ask_once, look, somebody_listens, wrong};
pub(super) use questions::{Question, backward, fits, former_expired, forward, presentable, roots};
