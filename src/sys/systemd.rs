//! What renewd tells systemd and gets from it. Outside of systemd every call does nothing.

use std::path::PathBuf;
use std::time::Duration;

use sd_notify::NotifyState;

/// The start is over: the state is open, the policy loaded (`Type=notify`).
pub fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The policy is being read again; [`ready`] ends it.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

/// The stop has begun.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// One line for `systemctl status`.
pub fn status(text: &str) {
    // A second line would be another message.
    tell(&[NotifyState::Status(text.lines().next().unwrap_or_default())]);
}

/// Still alive; to be said at least twice within [`watchdog`].
pub fn alive() {
    tell(&[NotifyState::Watchdog]);
}

/// After how long without [`alive`] systemd kills us, if it does (`WatchdogSec=`).
#[must_use]
pub fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled()
}

/// The directory of the unit's credentials (`LoadCredential=`).
#[must_use]
pub fn credentials_directory() -> Option<PathBuf> {
    std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from)
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        // systemd will notice what it does not hear; a service that works must not stop for it.
        tracing::debug!(%error, "systemd could not be told");
    }
}
