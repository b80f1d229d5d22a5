//! How long a whole `renewd once` takes with a thousand certificates of which none is due: start, policy, journal, a
//! look at every file, plan, end. And the run before it, which obtained and rolled out all of them.
#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark prints, and runs programs with files of its own"
)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Prints the time of the first run, then best and median of the runs with nothing to do.
pub(crate) fn run() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let dir = directory.path();
    let server = Server::start(dir);
    write_policy(dir, &server.address);
    println!(
        "renewd once: the whole process, {CERTIFICATES} certificates on {TARGETS} targets, PEM files in the live directory and at places of their own"
    );

    let first = timed(|| once(dir));
    println!(
        "  all obtained and rolled out {:>10.1} ms  {:>5.2} ms each, by renewd-ccm on this machine",
        first.as_secs_f64() * 1e3,
        first.as_secs_f64() * 1e3 / CERTIFICATES as f64
    );
    // From here on nobody needs the issuer.
    drop(server);
    let before = (exported(dir), reloads(dir));
    let mut times: Vec<Duration> = (0..RUNS).map(|_| timed(|| once(dir))).collect();
    times.sort();
    let after = (exported(dir), reloads(dir));
    let written = after
        .0
        .iter()
        .filter(|(path, look)| before.0.get(*path) != Some(*look));
    println!(
        "  nothing due                 {:>10.1} ms  median {:.1} ms  {} of {} files written, {} reloads (before: {})",
        times[0].as_secs_f64() * 1e3,
        times[RUNS / 2].as_secs_f64() * 1e3,
        written.count(),
        after.0.len(),
        after.1 - before.1,
        before.1
    );
    assert!(before == after, "something was written or reloaded");
}

/// Of every file that is exported, below generations and at places of its own: which one it is, and when it was written.
fn exported(dir: &Path) -> BTreeMap<PathBuf, (u64, i64, i64)> {
    let mut found = BTreeMap::new();
    let mut left = vec![dir.join("etc")];
    for target in 0..TARGETS {
        let live = dir.join(format!("state/targets/place-{target:02}/live"));
        left.push(fs::canonicalize(live).expect("what is live"));
    }
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(directory).expect("a directory") {
            let path = entry.expect("an entry").path();
            let metadata = fs::metadata(&path).expect("its look");
            if metadata.is_dir() {
                left.push(path);
            } else {
                let look = (metadata.ino(), metadata.mtime(), metadata.mtime_nsec());
                found.insert(path, look);
            }
        }
    }
    assert!(found.len() >= 4 * CERTIFICATES, "{} files", found.len());
    found
}

/// How often services were told.
fn reloads(dir: &Path) -> usize {
    let told = fs::read_to_string(dir.join("reloads")).expect("a count");
    told.lines().count()
}

fn timed(work: impl FnOnce()) -> Duration {
    let begin = Instant::now();
    work();
    begin.elapsed()
}

/// Runs it to its end, which must be a good one.
pub(crate) fn once(dir: &Path) {
    let output = Command::new(env!("CARGO_BIN_EXE_renewd"))
        .arg("--config")
        .arg(dir.join("renewd.toml"))
        .args(["once", "--quiet"])
        .output()
        .expect("renewd starts");
    assert!(
        output.status.success(),
        "renewd once: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
}

/// renewd-ccm on a free port; ends when dropped.
struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(dir: &Path) -> Self {
        let state = dir.join("ccm");
        let program = || {
            let mut command = Command::new(env!("CARGO_BIN_EXE_renewd-ccm"));
            command.arg("--state").arg(&state).stderr(Stdio::null());
            command
        };
        let init = program()
            .args(["ca", "init", "--json"])
            .output()
            .expect("renewd-ccm starts");
        assert!(init.status.success(), "renewd-ccm ca init");
        let user = program()
            .args(["user", "add", "bench", "--json"])
            .output()
            .expect("renewd-ccm starts");
        let user: serde_json::Value = serde_json::from_slice(&user.stdout).expect("JSON");
        for (file, field) in [("ak", "access_key"), ("sk", "secret_key")] {
            let path = dir.join(file);
            fs::write(&path, user[field].as_str().expect("a text")).expect("a file");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("a mode");
        }
        let mut child = program()
            .args(["serve", "--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("renewd-ccm starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("a pipe"))
            .read_line(&mut line)
            .expect("its first line");
        let address = line
            .trim()
            .strip_prefix("listening on ")
            .expect("where it listens")
            .to_owned();
        Self { child, address }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn write_policy(dir: &Path, address: &str) {
    let dir_text = dir.display();
    let mut text = format!(
        r#"state_dir = "{dir_text}/state"

[issuer.pca.bench]
endpoint = "{address}"
ca = "renewd-ccm Issuing CA"
access_key = "file:{dir_text}/ak"
secret_key = "file:{dir_text}/sk"
"#
    );
    for target in 0..TARGETS {
        let _ = write!(
            text,
            r#"
[target.command.place-{target:02}]
reload = ["{dir_text}/reload"]
probe = "none"

[target.command.place-{target:02}.export.pem.all]
fullchain = "fullchain.pem"
key = "key.pem"

[target.command.place-{target:02}.export.pem.loose]
fullchain = "{dir_text}/etc/{{certificate}}/fullchain.pem"
key = "{dir_text}/etc/{{certificate}}/key.pem"
"#
        );
    }
    let reload = dir.join("reload");
    fs::write(
        &reload,
        format!("#!/bin/sh\necho told >>'{dir_text}/reloads'\n"),
    )
    .expect("a file");
    fs::set_permissions(&reload, fs::Permissions::from_mode(0o755)).expect("a mode");
    for at in 0..CERTIFICATES {
        let _ = write!(
            text,
            r#"
[certificate.site-{at:04}]
issuer = "bench"
names = ["site-{at:04}.example.test", "www.site-{at:04}.example.test"]
targets = ["place-{:02}"]
"#,
            at % TARGETS
        );
    }
    fs::write(dir.join("renewd.toml"), text).expect("a file");
}

/// A large host.
const CERTIFICATES: usize = 1_000;

/// A hundred certificates on each.
const TARGETS: usize = 10;

/// Enough for a stable median.
const RUNS: usize = 11;
