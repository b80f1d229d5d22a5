//! What is left for monitoring: the textfile and the answers by HTTP, read by Prometheus' own Python parser; the status file.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::cli::Plain;
use crate::cli::status::validate;
use crate::support::nginx::free_port;

const PARSE: &str = r#"
import json, sys
from prometheus_client.parser import text_string_to_metric_families
text = sys.stdin.read()
out = {}
for family in text_string_to_metric_families(text):
    assert family.type == "gauge", family
    assert family.documentation.endswith("."), family
    for sample in family.samples:
        assert sample.name == family.name, sample
        key = sample.name + "".join(" %s=%s" % pair for pair in sorted(sample.labels.items()))
        assert key not in out, key
        out[key] = sample.value
print(json.dumps(out))
"#;

#[track_caller]
fn parse(text: &str) -> BTreeMap<String, f64> {
    let mut python = Command::new("/usr/bin/python3")
        .args(["-c", PARSE])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = python.stdin.take().unwrap();
    input.write_all(text.as_bytes()).unwrap();
    drop(input);
    let output = python.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{text}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// With this in `[metrics]`, besides both files.
fn watched(plain: &Plain, more: &str) -> (PathBuf, PathBuf) {
    let textfile = plain.agent.path().join("renewd.prom");
    let status = plain.agent.path().join("status.json");
    let policy = format!(
        "{}\n[metrics]\ntextfile = \"{}\"\nstatus_file = \"{}\"\n{more}\n",
        plain.policy(),
        textfile.display(),
        status.display()
    );
    plain.agent.write_policy(&policy);
    (textfile, status)
}

/// Ended when dropped.
struct Daemon(Child);

impl Daemon {
    fn start(plain: &Plain, shift: Option<&Path>) -> (Self, PathBuf) {
        let log = plain.agent.path().join("daemon.log");
        let mut command = plain.agent.command(&["run"]);
        if let Some(shift) = shift {
            crate::clock::faked(&mut command, shift);
        }
        let child = command
            .env_remove("NOTIFY_SOCKET")
            .env_remove("JOURNAL_STREAM")
            .env_remove("RENEWD_LOG")
            .stderr(std::fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        (Self(child), log)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[track_caller]
fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "it did not come: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

const PROGRESS: &str = "renewd_last_progress_timestamp_seconds";

#[tokio::test(flavor = "multi_thread")]
async fn once_leaves_metrics_and_status_that_others_can_read() {
    let plain = Plain::new().await;
    let (textfile, status) = watched(&plain, "");
    plain.agent.run(&["once"]).expect(0);
    let metrics = parse(&text(&textfile));
    let shown = plain.agent.status("www");
    let moment = |key: &str| {
        let text = shown[key].as_str().unwrap();
        renewd::model::Timestamp::parse(text).unwrap().0 as f64
    };
    let of = |name: &str| metrics[&format!("renewd_certificate_{name} certificate=www")];
    assert_eq!(of("not_after_timestamp_seconds"), moment("not_after"));
    assert_eq!(of("renewal_timestamp_seconds"), moment("renewal_at"));
    assert_eq!(of("lifetime_seconds"), shown["lifetime"].as_f64().unwrap());
    assert_eq!((of("failures"), of("urgency"), of("live")), (0.0, 0.0, 1.0));
    let verdict = |verdict: &str| {
        metrics[&format!("renewd_certificate_verdict certificate=www verdict={verdict}")]
    };
    assert_eq!((verdict("healthy"), verdict("blocked")), (1.0, 0.0));
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        metrics[&format!("renewd_build_info version={version}")],
        1.0
    );
    assert_eq!(metrics["renewd_certificates verdict=healthy"], 1.0);
    assert_eq!(metrics["renewd_alerts severity=critical"], 0.0);
    assert_eq!(metrics["renewd_target_failures target=store"], 0.0);
    assert!(metrics[PROGRESS] > 1.7e9, "{metrics:?}");

    let stored: Value = serde_json::from_str(&text(&status)).unwrap();
    validate(&stored);
    assert_eq!(stored["certificates"][0]["serial"], shown["serial"]);
    for path in [&textfile, &status] {
        let mode = std::fs::metadata(path).unwrap().mode() & 0o7777;
        assert_eq!(mode, 0o644, "{}", path.display());
    }
    let secret = plain.ccm.secret_key();
    assert!(!text(&status).contains(secret) && !text(&textfile).contains(secret));

    // What cannot be written is said, and nothing else fails for it.
    std::fs::remove_file(&textfile).unwrap();
    std::fs::create_dir(&textfile).unwrap();
    plain
        .agent
        .run(&["once"])
        .expect(0)
        .says("what is left for monitoring is out of date");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_answers_by_http_and_its_progress_stands_still_when_it_is_dead() {
    let plain = Plain::new().await;
    let port = free_port();
    let (textfile, status) = watched(&plain, &format!("listen = \"127.0.0.1:{port}\""));
    let (mut daemon, _) = Daemon::start(&plain, None);
    let curl = |arguments: &[&str]| {
        let output = Command::new("curl")
            .args(["--silent", "--max-time", "20"])
            .args(arguments)
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let url = format!("http://127.0.0.1:{port}/metrics");
    let answered = until("healthy", || {
        let metrics = parse(&curl(&[&url]));
        (metrics.get("renewd_certificates verdict=healthy") == Some(&1.0)).then_some(metrics)
    });
    let written = until("the textfile", || {
        let metrics = parse(&text(&textfile));
        (metrics.get("renewd_certificates verdict=healthy") == Some(&1.0)).then_some(metrics)
    });
    let without = |mut metrics: BTreeMap<String, f64>| {
        metrics.remove(PROGRESS);
        metrics
    };
    assert_eq!(without(answered), without(written));
    let head = curl(&["--include", &url]);
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("text/plain; version=0.0.4"), "{head}");
    let other = curl(&["--include", &format!("http://127.0.0.1:{port}/")]);
    assert!(other.starts_with("HTTP/1.1 404 "), "{other}");
    let posted = curl(&["--include", "--data", "x=1", &url]);
    assert!(posted.starts_with("HTTP/1.1 405 "), "{posted}");

    // Somebody who connects and says nothing keeps nobody else from an answer.
    let silent: Vec<_> = (0..3)
        .map(|_| std::net::TcpStream::connect(("127.0.0.1", port)).unwrap())
        .collect();
    assert!(curl(&[&url]).contains(PROGRESS));
    drop(silent);

    // At a reload the same address is had again, and a UNIX socket in place of a stale one.
    let socket = plain.agent.path().join("metrics.sock");
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    watched(&plain, &format!("listen = \"unix:{}\"", socket.display()));
    let by_socket = until("the socket", || {
        let text = curl(&[
            "--unix-socket",
            socket.to_str().unwrap(),
            "http://x/metrics",
        ]);
        (!text.is_empty()).then_some(text)
    });
    parse(&by_socket);
    assert_eq!(std::fs::metadata(&socket).unwrap().mode() & 0o777, 0o666);
    assert_eq!(curl(&[&url]), "", "the old address is given back");

    daemon.0.kill().unwrap();
    daemon.0.wait().unwrap();
    let last = parse(&text(&textfile))[PROGRESS];
    std::thread::sleep(Duration::from_millis(2100));
    assert_eq!(parse(&text(&textfile))[PROGRESS], last);
    assert!(text(&status).contains("\"running\": true"));
    plain
        .agent
        .run(&["check", "--file", status.to_str().unwrap()])
        .expect(0);
    let run = plain
        .agent
        .run(&["check", "--stale", "1s", "--file", status.to_str().unwrap()])
        .expect(2);
    assert!(
        run.stdout.contains("it is dead, or stands still"),
        "{}",
        run.stdout
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_taken_is_had_as_soon_as_it_is_free() {
    let plain = Plain::new().await;
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap();
    // A tick every second, so that a minute that passes at once is noticed at once.
    let job = "schedule = \"* * * * * *\"\njitter = \"0s\"\nfloor = \"1s\"\n";
    watched(
        &plain,
        &format!("listen = \"{address}\"\n[job.check]\n{job}"),
    );
    let shift = plain.agent.path().join("shift");
    std::fs::write(&shift, "+0").unwrap();
    let (_daemon, log) = Daemon::start(&plain, Some(&shift));
    let line = format!("metrics are not answered at {address}");
    until("the refusal", || text(&log).contains(&line).then_some(()));
    drop(other);
    let new = plain.agent.path().join("shift.new");
    std::fs::write(&new, "+70s").unwrap();
    std::fs::rename(new, &shift).unwrap();
    until("an answer", || {
        std::net::TcpStream::connect(address).is_ok().then_some(())
    });
    let line = format!("metrics are answered at {address}");
    until("the word", || text(&log).contains(&line).then_some(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_daemon_says_once_a_minute_that_it_is_alive_and_logs_nothing() {
    let plain = Plain::new().await;
    // A tick every second.
    let job = "schedule = \"* * * * * *\"\njitter = \"0s\"\nfloor = \"1s\"\n";
    let jobs = format!("[job.check]\n{job}\n[job.renew]\n{job}");
    let (textfile, status) = watched(&plain, &jobs);
    plain.agent.run(&["once"]).expect(0);
    let shift = plain.agent.path().join("shift");
    let set = |to: &str| {
        let new = plain.agent.path().join("shift.new");
        std::fs::write(&new, to).unwrap();
        std::fs::rename(&new, &shift).unwrap();
    };
    set("+0");
    let (_daemon, log) = Daemon::start(&plain, Some(&shift));
    let runs = || {
        let jobs = plain.agent.run(&["jobs", "--json"]).expect(0).json();
        jobs[0]["last_run"].as_str().unwrap_or_default().to_owned()
    };
    let state = || {
        let file = std::fs::metadata(&status).unwrap();
        (file.ino(), file.mtime(), text(&status))
    };
    // Its first tick is over, and what it wrote as a daemon is there.
    until("the first tick", || {
        text(&status).contains("\"daemon\"").then_some(())
    });
    let before = text(&log);
    let (inode, changed, content) = state();
    let mut seen = runs();
    for _ in 0..3 {
        seen = until("another tick", || {
            let now = runs();
            (now != seen).then_some(now)
        });
    }
    // A minute passes for it at once.
    let progress = parse(&text(&textfile))[PROGRESS];
    set("+70s");
    let later = until("a sign of life", || {
        let metrics = parse(&text(&textfile));
        (metrics[PROGRESS] >= progress + 60.0).then_some(metrics)
    });
    until("a sign of life of the status", || {
        (state().1 >= changed + 60).then_some(())
    });
    assert_eq!(state().0, inode, "nothing happened, nothing was written");
    assert_eq!(state().2, content);
    assert_eq!(later["renewd_certificates verdict=healthy"], 1.0);
    assert_eq!(text(&log), before, "an idle tick is not worth a line");
}

const PATIENCE: Duration = Duration::from_secs(60);
