//! The year in a process of its own, which this one watches as systemd would: it is told that the daemon is ready, and has to
//! hear within the watchdog's time that something was completed.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "the test is started anew as a program, and the account is for people"
)]

use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::{Duration, Instant};

/// Whether this process is the one that is watched.
pub(super) fn is_watched() -> bool {
    std::env::var_os(WATCHED).is_some()
}

/// Runs this test once more, watched. Signals that it raises for its daemon hit nobody else there.
pub(super) fn watch(test: &str) {
    let place = tempfile::tempdir().unwrap();
    let socket = place.path().join("notify");
    let notices = UnixDatagram::bind(&socket).unwrap();
    notices.set_read_timeout(Some(BETWEEN_LOOKS)).unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(WATCHED, "1")
        .env("NOTIFY_SOCKET", &socket)
        .env("WATCHDOG_USEC", WATCHDOG.as_micros().to_string())
        .spawn()
        .unwrap();
    let mut seen = Seen::default();
    let status = loop {
        let mut buffer = [0; 4096];
        match notices.recv(&mut buffer) {
            Ok(length) => seen.hear(&String::from_utf8_lossy(&buffer[..length])),
            Err(error) => assert!(
                matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
                "{error}"
            ),
        }
        if let Some(late) = seen.is_late() {
            child.kill().unwrap();
            panic!("nothing was completed for {late:?}: systemd would have killed it");
        }
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
    };
    assert!(status.success(), "{status}");
    println!(
        "systemd heard of {} starts and reloads, {} times that something was completed, after {:?} at most",
        seen.ready, seen.alive, seen.longest
    );
    assert!(seen.ready > 2 && seen.alive > 100, "{seen:?}");
}

#[derive(Debug, Default)]
struct Seen {
    ready: u64,
    alive: u64,
    /// The last sign of life of a daemon that runs.
    last: Option<Instant>,
    /// What was allowed, where that is more.
    allowed: Option<Duration>,
    longest: Duration,
}

impl Seen {
    fn hear(&mut self, notice: &str) {
        for line in notice.lines() {
            match line.split_once('=') {
                Some(("READY", _)) => {
                    self.ready += 1;
                    self.sign();
                }
                Some(("WATCHDOG", _)) => {
                    self.alive += 1;
                    self.sign();
                }
                Some(("WATCHDOG_USEC", time)) => {
                    self.allowed = Some(Duration::from_micros(time.parse().unwrap()));
                }
                // What follows is no matter of the watchdog.
                Some(("STOPPING", _)) => self.last = None,
                _ => {}
            }
        }
    }

    fn sign(&mut self) {
        let now = Instant::now();
        if let Some(last) = self.last.replace(now) {
            self.longest = self.longest.max(now - last);
        }
    }

    fn is_late(&self) -> Option<Duration> {
        let since = self.last?.elapsed();
        (since > self.allowed.unwrap_or(WATCHDOG)).then_some(since)
    }
}

const WATCHED: &str = "RENEWD_SOAK_WATCHED";
/// As the unit has it.
const WATCHDOG: Duration = Duration::from_secs(5 * 60);
const BETWEEN_LOOKS: Duration = Duration::from_millis(200);
