//! The edge: the only place that may call clock, files, processes, signals and entropy.

pub mod access;
pub mod clock;
pub mod crash;
pub mod entropy;
pub mod fs;
pub mod host;
pub mod listener;
pub mod outside;
pub mod pid;
pub mod process;
pub mod reference;
pub mod sockets;
pub mod systemd;

/// The name of this host, as its kernel knows it.
#[must_use]
pub fn host_name() -> String {
    let name = nix::unistd::gethostname().unwrap_or_default();
    let name = name.to_string_lossy().into_owned();
    if name.is_empty() {
        "localhost".to_owned()
    } else {
        name
    }
}

/// An error and everything that caused it, in one line.
#[must_use]
pub fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        // Some libraries repeat the cause in the text.
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}
