//! Alerts by mail of the whole program: killed in between, as a daemon, and silent about its secrets.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use base64::Engine as _;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::mail::Post;
use crate::support::mail::PASSWORD;

/// A policy for the program. Its clock is the machine's and the server's is not, so the secret key is missing: orders
/// fail before anybody is asked.
pub(super) async fn program() -> Post {
    let post = Post::new("starttls").await;
    post.write("", "");
    std::fs::remove_file(post.rig.world.agent.path().join("sk")).unwrap();
    post
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_killed_at_any_moment_leaves_no_alert_untold() {
    for (point, most) in [("alert.raised", 1), ("alert.told", 1), ("letter.sent", 2)] {
        let post = program().await;
        let agent = &post.rig.world.agent;
        let killed = agent.run_with(&format!("{point}=return"), &["once", "--wait", "0s"]);
        assert_eq!(killed.signal, Some(9), "{point}: {}", killed.stderr);
        for _ in 0..2 {
            agent.run(&["once", "--wait", "0s"]);
        }
        let mails = post.mail.mails();
        for recipient in ["ops@example.test", "boss@example.test"] {
            let got = crate::mail::to(&mails, recipient);
            assert!(
                (1..=most).contains(&got.len()),
                "{point}: {} to {recipient}",
                got.len()
            );
            let ids: BTreeSet<_> = got.iter().map(|mail| mail.header("Message-ID")).collect();
            assert_eq!(ids.len(), 1, "{point}: one letter, were it sent twice");
        }
        if most == 2 {
            assert_eq!(
                mails.len(),
                3,
                "{point}: the killed one's letter came twice"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_can_try_see_and_list() {
    let post = program().await;
    let agent = &post.rig.world.agent;
    let preview = agent.run(&["alert", "preview"]).expect(0).stdout;
    assert!(preview.starts_with("Subject: ["), "{preview}");
    assert!(preview.contains(" (www: 6 days left)\n\n"), "{preview}");
    assert_eq!(agent.run(&["alert", "list"]).expect(0).stdout, "");

    let said = agent.run(&["alert", "test", "ops"]).expect(0).stdout;
    assert!(said.contains("ok    ops: boss@example.test: 250"), "{said}");
    let mails = post.mail.mails();
    assert_eq!(mails.len(), 2, "{mails:#?}");
    assert!(mails[0].subject().contains("a test of renewd's alerts"));
    let unknown = agent.run(&["alert", "test", "pager"]).expect(64).stderr;
    assert!(
        unknown.contains("no alert channel `pager`; there are: ops"),
        "{unknown}"
    );

    let no = serde_json::json!({"login": ["mailer", "another"]});
    post.mail.answer(no);
    let said = agent.run(&["alert", "test"]).expect(69).stdout;
    assert!(said.contains("fail  ops: ops@example.test: "), "{said}");
    assert!(said.contains("535") && !said.contains(PASSWORD), "{said}");

    let once = agent.run(&["once", "--wait", "0s"]).stderr;
    assert!(once.contains("alerts could not be sent"), "{once}");
    let list = agent.run(&["alert", "list"]).expect(0).stdout;
    let line = "waiting  renewal-failing/www to ops@example.test by ops, 1 attempts, next at ";
    assert!(list.contains(line), "{list}");
    let list = agent.run(&["alert", "list", "--json"]).expect(0).json();
    assert_eq!(list.as_array().unwrap().len(), 2);
    assert_eq!(list[0]["state"], "waiting");
    assert_eq!(post.mail.mails().len(), 2, "a test is not queued");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_that_passes_ends_what_was_refused() {
    let post = program().await;
    let agent = &post.rig.world.agent;
    let login = serde_json::json!(["mailer", PASSWORD]);
    let full = serde_json::json!({"boss@example.test": "552 5.2.2 mailbox full"});
    post.mail
        .answer(serde_json::json!({"login": login, "rcpt": full}));
    let stands = || {
        agent.run(&["once", "--wait", "0s"]);
        let status = agent.run(&["status", "--json"]).stdout;
        status.contains("alerts-refused/ops")
    };
    stands();
    assert!(stands());
    let boss = || crate::mail::to(&post.mail.mails(), "boss@example.test").len();
    assert_eq!(boss(), 0);
    post.mail.answer(serde_json::json!({"login": login}));
    assert!(stands(), "nobody tries within the day");
    agent.run(&["alert", "test", "ops"]).expect(0);
    assert_eq!(boss(), 1);
    assert!(!stands());
    assert_eq!(boss(), 2, "the alert, at once");
    let list = agent.run(&["alert", "list"]).expect(0).stdout;
    assert!(list.contains("sent  test/renewd to boss@"), "{list}");
    assert!(!list.contains("sent  test/renewd to ops@"), "{list}");
    assert!(!stands());
    assert_eq!(boss(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_could_not_have_a_courier_tries_again() {
    let post = program().await;
    let agent = &post.rig.world.agent;
    let shift = agent.path().join("shift");
    std::fs::write(&shift, "+0").unwrap();
    let log = agent.path().join("daemon.log");
    let mut command = agent.command(&["run"]);
    crate::clock::faked(&mut command, &shift);
    let mut daemon = command
        .env_remove("NOTIFY_SOCKET")
        .env_remove("JOURNAL_STREAM")
        .env("FAILPOINTS", "journal.another=1*return")
        .stderr(std::fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let said = || std::fs::read_to_string(&log).unwrap();
    let begun = Instant::now();
    while !said().contains("alert: www: no new certificate") {
        assert!(begun.elapsed() < PATIENCE, "{}", said());
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(said().contains("no alert can be sent; tried again every minute"));
    assert_eq!(post.mail.mails().len(), 0);
    // A minute later.
    let new = agent.path().join("shift.new");
    std::fs::write(&new, "+70s").unwrap();
    std::fs::rename(new, &shift).unwrap();
    while post.mail.mails().len() < 2 {
        assert!(begun.elapsed() < PATIENCE, "{}", said());
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(said().contains("alerts can be sent again"), "{}", said());
    daemon.kill().unwrap();
    daemon.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_daemon_sends_beside_its_ticks_and_its_secrets_are_nowhere() {
    let post = program().await;
    let agent = &post.rig.world.agent;
    let log = agent.path().join("daemon.log");
    let mut daemon = agent
        .command(&["run"])
        .env_remove("NOTIFY_SOCKET")
        .env_remove("JOURNAL_STREAM")
        .env("RENEWD_LOG", "trace")
        .env("RUST_LOG", "trace")
        .stderr(std::fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    while post.mail.mails().len() < 2 {
        let log = std::fs::read_to_string(&log).unwrap();
        assert!(begun.elapsed() < PATIENCE, "{log}");
        std::thread::sleep(Duration::from_millis(50));
    }
    kill(
        Pid::from_raw(i32::try_from(daemon.id()).unwrap()),
        Signal::SIGTERM,
    )
    .unwrap();
    assert!(daemon.wait().unwrap().success());
    agent.run(&["once", "--wait", "0s"]);
    let mails = post.mail.mails();
    assert_eq!(mails.len(), 2, "{mails:#?}");

    // In no form in anything that was said, kept or sent.
    let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    let hex: String = PASSWORD.bytes().map(|byte| format!("{byte:02x}")).collect();
    let writings = [
        PASSWORD.to_owned(),
        encode(PASSWORD),
        encode(&format!("\0mailer\0{PASSWORD}")),
        hex.to_uppercase(),
        hex,
    ];
    let mut places = vec![("log".to_owned(), std::fs::read(&log).unwrap())];
    for name in ["state.db", "state.db-wal"] {
        if let Ok(bytes) = std::fs::read(agent.state().join(name)) {
            places.push((name.to_owned(), bytes));
        }
    }
    for mail in &mails {
        places.push(("a mail".to_owned(), mail.text("raw").into()));
    }
    for arguments in [&["status"][..], &["status", "--json"], &["history", "www"]] {
        let run = agent.run(arguments);
        places.push((arguments.join(" "), (run.stdout + &run.stderr).into()));
    }
    assert!(places.len() >= 7, "{}", places.len());
    for (place, bytes) in &places {
        assert!(!bytes.is_empty(), "{place}");
        for writing in &writings {
            let found = bytes
                .windows(writing.len())
                .any(|window| window == writing.as_bytes());
            assert!(!found, "{writing} is in {place}");
        }
    }
}

/// For a first mail of a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
