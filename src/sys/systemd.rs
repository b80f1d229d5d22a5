//! What renewd tells systemd and gets from it. Outside of systemd every call does nothing.

use std::path::PathBuf;
use std::time::Duration;

use sd_notify::NotifyState;

/// The start is over: the journal is open, and the policy planned for the first time (`Type=notify`).
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

/// The stop takes so much longer: systemd kills nothing before, whatever `TimeoutStopSec=` says. Said again in time, it goes
/// on.
pub fn stops_within(time: Duration) {
    let whole = u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
    tell(&[NotifyState::ExtendTimeoutUsec(whole)]);
}

/// One line for `systemctl status`.
pub fn status(text: &str) {
    // A second line would be another message.
    tell(&[NotifyState::Status(text.lines().next().unwrap_or_default())]);
}

/// Something was completed: a step, a call of a server, a round of the daemon. Nothing else says this, so that a daemon
/// that stands still is killed and started again (`WatchdogSec=`).
pub fn alive() {
    if watchdog().is_some() {
        tell(&[NotifyState::Watchdog]);
    }
}

/// A step that is under way may take this long before it is completed: systemd waits so much longer than
/// `WatchdogSec=` says.
pub fn allow(step: Duration) {
    if let Some(limit) = watchdog() {
        let whole = (limit + step).as_micros();
        tell(&[NotifyState::Custom(&format!("WATCHDOG_USEC={whole}"))]);
    }
}

/// How long the daemon may sleep between two rounds.
#[must_use]
pub fn longest_nap() -> Duration {
    watchdog().map_or(UNWATCHED, |limit| limit / 3)
}

/// After how long without [`alive`] systemd kills us, if it does.
fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled()
}

/// Whether systemd is this machine's process 1.
#[must_use]
pub fn booted() -> bool {
    sd_notify::booted().unwrap_or(false)
}

/// Whether systemd started this very process as a service: then it is in the sandbox of its unit.
#[must_use]
pub fn is_service() -> bool {
    // Both are inherited by children of services; the first one (systemd 248) says whose it is.
    match std::env::var("SYSTEMD_EXEC_PID") {
        Ok(process) => process == std::process::id().to_string(),
        Err(_) => std::env::var_os("INVOCATION_ID").is_some(),
    }
}

/// Which start of our unit this is (`INVOCATION_ID`); `None` outside of one.
#[must_use]
pub fn invocation() -> Option<String> {
    let id = std::env::var("INVOCATION_ID").ok()?;
    // It becomes part of a unit's name.
    id.chars().all(|c| c.is_ascii_alphanumeric()).then_some(id)
}

/// The directory for what others read while the service runs (`RuntimeDirectory=`); `None` outside of a service of ours.
#[must_use]
pub fn runtime_directory() -> Option<PathBuf> {
    let directories = std::env::var_os("RUNTIME_DIRECTORY").filter(|_| is_service())?;
    // Several are separated by colons.
    std::env::split_paths(&directories).next()
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

/// Without a watchdog; other things wake the daemon far more often.
const UNWATCHED: Duration = Duration::from_secs(3600);
