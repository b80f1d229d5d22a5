//! Named boundaries at which a test may kill the process; nothing at all in a build without `failpoints`.
//!
//! `FAILPOINTS='rollout.commit.effect=return'` makes the process kill itself with SIGKILL when it first passes that
//! point. Points are named `<machine>.<step>.<moment>`; moments are `started` (the intent is in the journal),
//! `effect` (the effect happened, the journal does not know) and `done` (the journal knows).

/// A boundary.
#[cfg(feature = "failpoints")]
pub fn point(name: &str) {
    fail::fail_point!(name, |_| kill_self());
}

/// A boundary.
#[cfg(not(feature = "failpoints"))]
#[inline]
pub fn point(_name: &str) {}

/// Reads `FAILPOINTS`; call once at start.
pub fn setup() {
    #[cfg(feature = "failpoints")]
    {
        // The scenario lives as long as the process.
        std::mem::forget(fail::FailScenario::setup());
    }
}

#[cfg(feature = "failpoints")]
fn kill_self() {
    let _ = nix::sys::signal::kill(nix::unistd::Pid::this(), nix::sys::signal::Signal::SIGKILL);
    // SIGKILL is delivered before the call returns to user space on every Linux; this only satisfies the reader.
    std::thread::sleep(std::time::Duration::from_secs(60));
}
