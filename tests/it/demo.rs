//! `make demo` from its script on: everything that it shows is so, and nothing is left behind.
#![expect(
    clippy::disallowed_methods,
    reason = "tests arrange files and processes directly"
)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

#[test]
fn the_demo_shows_everything_and_leaves_nothing() {
    let place = TempDir::new().expect("a temporary directory");
    let programs = Path::new(env!("CARGO_BIN_EXE_renewd")).parent();
    let begun = Instant::now();
    let run = demo(place.path(), programs.expect("a parent"));
    let elapsed = begun.elapsed();
    let shown = String::from_utf8_lossy(&run.stdout);
    let complaints = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{shown}\n{complaints}");
    for part in [
        "curl trusts it",
        "openssl reads the PFX",
        "keytool reads the JKS",
        "a new serial is served",
        "during the renewal, 0 failed",
        "an alert in the output",
        "the old certificate is still served",
    ] {
        assert!(shown.contains(part), "`{part}` is missing in {shown}");
    }
    assert!(elapsed < Duration::from_secs(60), "it took {elapsed:?}");
    assert_nothing_is_left(place.path());
}

#[test]
fn a_demo_that_fails_says_so_and_leaves_nothing() {
    let place = TempDir::new().expect("a temporary directory");
    let programs = TempDir::new().expect("a temporary directory");
    // A renewd that does nothing at all; the server is the real one.
    std::os::unix::fs::symlink("/bin/true", programs.path().join("renewd")).expect("a link");
    let server = programs.path().join("renewd-ccm");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_renewd-ccm"), server).expect("a link");
    let run = demo(place.path(), programs.path());
    let complaints = String::from_utf8_lossy(&run.stderr);
    assert_eq!(run.status.code(), Some(1), "{complaints}");
    assert!(
        complaints.contains("FAILED renewd does not say 'order opened'"),
        "{complaints}"
    );
    assert_nothing_is_left(place.path());
}

fn demo(place: &Path, programs: &Path) -> Output {
    Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/demo.sh"))
        .env("TMPDIR", place)
        .env("RENEWD_BIN", programs)
        .env_remove("KEEP")
        .stdin(Stdio::null())
        .output()
        .expect("the script runs")
}

/// No file, and no process that knows the directory.
#[track_caller]
fn assert_nothing_is_left(place: &Path) {
    let files: Vec<_> = fs::read_dir(place).expect("the directory").collect();
    assert!(files.is_empty(), "{files:?}");
    let place = place.display().to_string();
    let running: Vec<String> = fs::read_dir("/proc")
        .expect("/proc")
        .filter_map(|entry| fs::read(entry.ok()?.path().join("cmdline")).ok())
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|line| line.contains(&place))
        .collect();
    assert!(running.is_empty(), "{running:?}");
}
