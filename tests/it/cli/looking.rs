//! Commands that only look: never a write, never a wait, data alone on standard output.

use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use renewd::store::SqliteStore;
use renewd::sys::fs::Lock;
use serde_json::Value;

use crate::cli::Plain;
use crate::support::tmpfs::Tmpfs;

const LOOKS: [&[&str]; 9] = [
    &["jobs"],
    &["jobs", "--json"],
    &["validate"],
    &["plan"],
    &["plan", "--json"],
    &["status"],
    &["status", "--json"],
    &["history", "www"],
    &["history", "www", "--json"],
];

/// Content of each file and when it was written last. SQLite, run by root, sets the log's owner again whenever it opens
/// it, so the time of the last change of anything says nothing.
fn files(directory: &Path) -> BTreeMap<PathBuf, (i64, i64, Vec<u8>)> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let metadata = std::fs::symlink_metadata(&path).unwrap();
        if metadata.is_dir() {
            found.extend(files(&path));
        } else if metadata.is_file() {
            let content = std::fs::read(&path).unwrap();
            found.insert(path, (metadata.mtime(), metadata.mtime_nsec(), content));
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_can_be_looked_at_before_the_first_run_and_nothing_is_made() {
    let plain = Plain::new().await;
    for look in LOOKS {
        let run = plain.agent.run(look).expect(0);
        assert_eq!(run.stderr, "", "{look:?}");
        assert!(!run.stdout.contains('\x1b'), "{look:?}: {}", run.stdout);
    }
    let status = plain.agent.status("www");
    assert_eq!(status["verdict"], "act");
    assert_eq!(status["reason"], "no-revision");
    assert_eq!(status["serial"], Value::Null);
    assert_eq!(status["next_action"]["action"], "open-order");
    assert!(!plain.agent.state().exists(), "somebody made it");
    assert_eq!(plain.ccm.running.requests().len(), 0, "somebody asked CCM");
}

#[tokio::test(flavor = "multi_thread")]
async fn looking_neither_waits_for_an_executor_nor_writes() {
    let plain = Plain::new().await;
    plain.agent.run(&["once"]).expect(0);
    let state = plain.agent.state();
    let lock = Lock::try_acquire(&state.join("lock"), "somebody").unwrap();
    let journal = SqliteStore::open(&state.join("state.db")).await.unwrap();
    let writing = journal.hold_write_lock().await.unwrap();
    let before = files(&state);
    let begun = Instant::now();
    for look in LOOKS {
        let run = plain.agent.run(look).expect(0);
        assert_eq!(run.stderr, "", "{look:?}");
        assert!(!run.stdout.is_empty(), "{look:?}");
    }
    let waited = begun.elapsed();
    assert!(
        waited < Duration::from_secs(9),
        "{waited:?}: somebody waited"
    );
    for (path, old) in files(&state) {
        let name = path.file_name().unwrap().to_str().unwrap();
        // SQLite's log and the index of it are bookkeeping of whoever has the journal open; the journal itself is not.
        if !["state.db-shm", "state.db-wal"].contains(&name) {
            assert!(
                before.get(&path) == Some(&old),
                "{} was written",
                path.display()
            );
        }
    }
    drop(writing);
    drop(lock);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_state_directory_can_be_looked_at_also_after_a_kill() {
    let plain = Plain::new().await;
    let state = Tmpfs::mount(&plain.agent.state(), "4m");
    plain.agent.run(&["once"]).expect(0);
    let log = plain.agent.state().join("state.db-wal");
    assert!(!log.exists(), "the journal was not closed");
    state.remount("ro");
    let serial = plain.serial();
    for look in LOOKS {
        assert_eq!(plain.agent.run(look).expect(0).stderr, "", "{look:?}");
    }
    assert_eq!(plain.agent.status("www")["serial"], serial);
    state.remount("rw");
    let killed = plain
        .agent
        .run_with("rollout.commit.done=return", &["renew", "www"]);
    assert_eq!(killed.signal, Some(9));
    state.remount("ro");
    for look in LOOKS {
        assert_eq!(plain.agent.run(look).expect(0).stderr, "", "{look:?}");
    }
    // What was written last is seen as well.
    let status = plain.agent.status("www");
    assert_ne!(status["serial"], serial, "{status}");
    assert_eq!(status["targets"][0]["rollout"], "committed", "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_run_can_be_looked_at_from_its_first_moment() {
    let plain = Plain::new().await;
    let mut command = plain.agent.command(&["once"]);
    let mut first = command
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut looks = 0;
    while first.try_wait().unwrap().is_none() {
        let run = plain.agent.run(&["status", "--json"]).expect(0);
        assert_eq!(run.stderr, "");
        looks += 1;
    }
    let mut text = String::new();
    first
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    assert!(first.wait().unwrap().success(), "{text}");
    assert!(looks > 2, "{looks} looks");
}

fn keys(value: &Value) -> Vec<&str> {
    value
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_scripts_read_has_the_documented_keys() {
    let plain = Plain::new().await;
    plain.agent.run(&["once"]).expect(0);
    let report = [
        "added",
        "message",
        "name",
        "next_action",
        "not_after",
        "reason",
        "serial",
        "spending",
        "targets",
        "verdict",
    ];
    for command in ["status", "plan"] {
        let all = plain.agent.run(&[command, "--json"]).expect(0).json();
        let all = all.get("certificates").unwrap_or(&all);
        let all = all.as_array().unwrap();
        assert_eq!(all.len(), 1);
        let mut found = keys(&all[0]);
        found.sort_unstable();
        // What `status` has beside it is held against its schema.
        found.retain(|key| command == "plan" || report.contains(key));
        assert_eq!(found, report);
        assert_eq!(all[0]["verdict"], "healthy");
        assert_eq!(all[0]["reason"], "not-due");
        assert_eq!(all[0]["serial"], plain.serial());
        let mut place = keys(&all[0]["targets"][0]);
        place.sort_unstable();
        let wanted = [
            "name",
            "not_after",
            "observed",
            "proven_at",
            "rollout",
            "serial",
            "state",
        ];
        assert_eq!(place, wanted);
        let mut next = keys(&all[0]["next_action"]);
        next.sort_unstable();
        assert_eq!(next, ["action", "at"]);
        let at = all[0]["next_action"]["at"].as_str().unwrap();
        assert!(renewd::model::Timestamp::parse(at).is_ok(), "{at}");
    }
    let history = plain
        .agent
        .run(&["history", "www", "--json"])
        .expect(0)
        .json();
    let events = history[0]["events"].as_array().unwrap();
    assert_eq!(history.as_array().unwrap().len(), 1);
    assert_eq!(history[0]["serial"], plain.serial());
    for event in events {
        let mut found = keys(event);
        found.sort_unstable();
        let wanted = [
            "at",
            "id",
            "kind",
            "machine",
            "message",
            "milliseconds",
            "output",
            "phase",
            "probes",
            "step",
            "target",
        ];
        assert_eq!(found, wanted);
        let is_outcome = event["kind"] == "succeeded";
        assert_eq!(event["milliseconds"].is_u64(), is_outcome, "{event}");
    }
    let steps = |machine: &str| -> Vec<&str> {
        let done = events
            .iter()
            .filter(|e| e["machine"] == machine && e["kind"] == "succeeded");
        done.map(|e| e["step"].as_str().unwrap()).collect()
    };
    assert_eq!(steps("order"), ["store-key", "submit", "fetch", "close"]);
    assert_eq!(
        steps("rollout"),
        ["stage", "commit", "test", "reload", "verify", "close"]
    );

    // For people: one line per step, and one certificate is one.
    let text = plain.agent.run(&["history", "www"]).expect(0).stdout;
    assert_eq!(
        text.matches("\n  ").count() + 2,
        events.len() / 2 + 3,
        "{text}"
    );
    let valid = plain.agent.run(&["validate"]).expect(0).stdout;
    assert!(
        valid.ends_with("is good: 1 certificate, 1 issuer, 1 target from 1 file\n"),
        "{valid}"
    );
    plain
        .agent
        .run(&["once"])
        .expect(0)
        .says("1 certificate: 1 healthy, 0 waiting");
    let quiet = plain.agent.run(&["once", "--quiet"]).expect(0);
    assert_eq!((quiet.stdout, quiet.stderr), (String::new(), String::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn plan_looks_into_the_future() {
    let plain = Plain::new().await;
    plain.agent.run(&["once"]).expect(0);
    let reason = |arguments: &[&str]| {
        let mut all = vec!["plan", "--json"];
        all.extend(arguments);
        plain.agent.run(&all).expect(0).json()[0]["reason"].clone()
    };
    assert_eq!(reason(&[]), "not-due");
    let renew_at = plain.agent.status("www")["next_action"]["at"].clone();
    assert_eq!(reason(&["--at", renew_at.as_str().unwrap()]), "renewal-due");
    let not_after = plain.agent.status("www")["not_after"].clone();
    assert_eq!(reason(&["--at", not_after.as_str().unwrap()]), "expired");
    assert_eq!(reason(&["--at", "2094-04-01"]), "expired");
    let text = plain
        .agent
        .run(&["plan", "--at", "2094-04-01"])
        .expect(0)
        .stdout;
    assert!(
        text.contains("open-order now") && text.contains("it expired at"),
        "{text}"
    );
    assert!(text.contains("alert (critical): www: expired at"), "{text}");
    // Looking into the future changes nothing of the present.
    assert_eq!(plain.agent.status("www")["verdict"], "healthy");
    plain.agent.run(&["once"]).expect(0);
    assert_eq!(plain.ccm.issued("www.example.test").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_goes_away_is_no_failure() {
    let plain = Plain::new().await;
    plain.agent.run(&["once"]).expect(0);
    for look in LOOKS.iter().chain(&[&["--help"][..], &["--version"]]) {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = plain.agent.command(look).stdout(writer).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{look:?}: {text}");
        assert_eq!(text, "", "{look:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_name_is_answered_with_the_nearest() {
    let plain = Plain::new().await;
    for command in ["renew", "rollback", "release", "history"] {
        let run = plain.agent.run(&[command, "wwww"]).expect(64);
        run.says("the policy has no certificate `wwww`; did you mean `www`?")
            .silent();
        let run = plain.agent.run(&[command, "mail"]).expect(64);
        assert!(!run.stderr.contains("did you mean"), "{}", run.stderr);
    }
    // What left the policy keeps its history.
    plain.agent.run(&["once"]).expect(0);
    plain.change("certificate.www", "certificate.site");
    let text = plain.agent.run(&["history", "www"]).expect(0).stdout;
    assert!(text.contains("certificate issued"), "{text}");
    let json = plain
        .agent
        .run(&["history", "www", "--json"])
        .expect(0)
        .json();
    assert_eq!(json[0]["name"], "www");
    assert_eq!(json[0].get("verdict"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_of_a_target_on_which_nothing_is_live_looks_at_what_is_stored_for_it() {
    let plain = Plain::new().await;
    let target = r#"
[target.command.store]
reload = ["/bin/true"]
probe = "none"

[target.command.store.hooks]
pre = ["/bin/false"]

[target.command.store.export.layout.site]"#;
    let with = |from: &str, to: &str| {
        let policy = plain
            .policy()
            .replace("\n[target.files.store.export.layout.site]", target);
        assert!(policy.contains(target) && policy.contains(from), "{policy}");
        plain.agent.write_policy(&policy.replace(from, to));
    };
    with("", "");
    let test = || plain.agent.run(&["target", "test", "store"]);
    let before = test().expect(0).stdout;
    assert!(before.contains("nothing is live yet"), "{before}");
    // Obtained, and kept from going in by the hook.
    assert_ne!(plain.agent.run(&["once", "--wait", "0s"]).code, Some(0));
    let stored = test().expect(0).stdout;
    assert!(
        stored.contains("1 certificate is stored and fit to be served"),
        "{stored}"
    );
    with("www.example.test", "shop.example.test");
    let other = test().expect(65).stdout;
    assert!(
        other.contains("the policy wants shop.example.test"),
        "{other}"
    );
    with("", "");
    let revisions = plain.agent.state().join("revisions/www");
    let revision = std::fs::read_dir(revisions).unwrap().next().unwrap();
    std::fs::write(revision.unwrap().path().join("key.pem"), "no key").unwrap();
    let damaged = test().expect(65).stdout;
    assert!(damaged.contains("failed to use"), "{damaged}");
}
