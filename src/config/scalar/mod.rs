//! The small languages inside TOML strings: each text to one value, or one sentence about what is wrong with it.
//!
//! Pure and without places; `lift` knows where the text stood.

mod address;
mod duration;
mod mail;
mod mode;
mod path;
mod schedule;
mod secret;
mod share;
mod window;

pub(super) use address::{
    endpoint, host_maybe_port, host_port, is_loopback, metadata, server, url,
};
pub(super) use duration::duration;
pub(super) use mail::{mail_address, quiet};
pub(super) use mode::{KEY_FORBIDDEN, mode};
pub(super) use path::{PathRule, path};
pub(super) use schedule::{schedule, zone};
pub(super) use secret::{REFERENCES, reference};
pub(super) use share::share;
pub(super) use window::window;

/// What is wrong with a text, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// Goes behind the value: `has no unit`.
    pub(super) why: String,
    /// What to write.
    pub(super) help: Option<String>,
}

impl Refusal {
    pub(super) fn new(why: impl Into<String>) -> Self {
        Self {
            why: why.into(),
            help: None,
        }
    }

    #[must_use]
    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}
