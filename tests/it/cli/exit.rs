//! Every exit status by a cause that makes it in real life.

use std::time::{Duration, Instant};

use renewd::ccm::Pca;
use renewd::sys::fs::Lock;

use crate::cli::Plain;
use crate::support::agent::{Agent, write_secret};
use crate::support::nginx::free_port;
use crate::support::tmpfs::Tmpfs;

#[test]
fn a_wrong_command_line_ends_with_64() {
    let agent = Agent::new("");
    for (arguments, says) in [
        (&["renw"][..], "'renew'"),
        (&["plan", "--at", "tomorrow"], "write 2027-04-01"),
        (&["once", "--wait", "soon"], "write a number and a unit"),
        (&["renew"], "<NAME>"),
        (&["renew", "a/b"], "a/b"),
        (&["status", "--jsn"], "--json"),
    ] {
        agent.run(arguments).expect(64).says(says).silent();
    }
    let help = agent.run(&["--help"]).expect(0);
    assert!(help.stdout.contains("Usage: renewd"), "{}", help.stdout);
    assert_eq!(help.stderr, "");
    let none = agent.run(&[]).expect(64);
    assert!(none.stderr.contains("Usage: renewd"), "{}", none.stderr);
}

#[test]
fn a_wrong_policy_ends_with_78_and_every_problem_of_every_file() {
    let agent = Agent::new(
        "[certificate.www]\nissuer = \"corp\"\nnames = [\"www.example.test\"]\ntarget = [\"web\"]\n",
    );
    let drop_ins = agent.path().join("policy.d");
    std::fs::create_dir(&drop_ins).unwrap();
    let file = drop_ins.join("10-api.toml");
    let text =
        "[certificate.api]\nissuer = \"corp\"\nnames = [\"not a name\"]\nvalidity = \"long\"\n";
    std::fs::write(&file, text).unwrap();
    for command in ["validate", "plan", "once", "status", "run"] {
        let run = agent.run(&[command]).expect(78).silent();
        let text = &run.stderr;
        assert!(text.contains("renewd.toml:5:1"), "{command}: {text}");
        assert!(text.contains("did you mean `targets`"), "{command}: {text}");
        assert!(text.contains("10-api.toml:3:"), "{command}: {text}");
        assert!(text.contains("10-api.toml:4:"), "{command}: {text}");
        assert!(text.contains("cannot be used"), "{command}: {text}");
    }
    std::fs::remove_file(agent.path().join("renewd.toml")).unwrap();
    agent
        .run(&["validate"])
        .expect(78)
        .says("cannot read")
        .silent();
}

#[tokio::test(flavor = "multi_thread")]
async fn each_trouble_with_an_issuer_has_its_status_and_says_what_to_do() {
    let plain = Plain::new().await;
    let agent = &plain.agent;
    let once = ["once", "--wait", "0s"];

    write_secret(&agent.path().join("sk"), "not-the-secret-key");
    agent
        .run(&once)
        .expect(77)
        .says("Check the issuer's credentials and what they may do, then `renewd renew www`.")
        .silent();
    // It waits for its next attempt, unless somebody asks: an open order is tried at once.
    agent.run(&once).expect(77);
    write_secret(&agent.path().join("sk"), plain.ccm.secret_key());
    agent.run(&once).expect(77);
    agent.run(&["renew", "www"]).expect(0).silent();
    agent.run(&["once"]).expect(0).silent();
    assert_eq!(
        plain.ccm.issued("www.example.test").await,
        1,
        "the same order"
    );

    let nobody = format!("http://127.0.0.1:{}", free_port());
    plain.change(&plain.ccm.endpoint(), &nobody);
    agent
        .run(&["renew", "www", "--wait", "0s"])
        .expect(69)
        .says("transient");
    plain.change(plain.ccm.issuing(), "no such CA");
    agent
        .run(&["renew", "www", "--wait", "0s"])
        .expect(78)
        .says("no such CA");
    plain.agent.write_policy(&plain.policy());
    agent.run(&["renew", "www"]).expect(0);
    assert_eq!(
        plain.ccm.issued("www.example.test").await,
        2,
        "one more, not one per trouble"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_issuer_takes_back_ends_with_65_and_what_was_there_stays() {
    let plain = Plain::new().await;
    let agent = &plain.agent;
    agent.run(&["once"]).expect(0);
    let before = plain.serial();
    let killed = agent.run_with("order.submit.done=return", &["renew", "www"]);
    assert_eq!(killed.signal, Some(9));
    // Somebody revokes it in the console before it was fetched.
    let history = agent.run(&["history", "www"]).expect(0).stdout;
    let (_, reference) = history.rsplit_once("CSR sent: ").unwrap();
    let reference = reference.lines().next().unwrap();
    let pca = Pca::new(plain.ccm.client());
    pca.revoke_certificate(reference, None).await.unwrap();
    agent
        .run(&["once"])
        .expect(65)
        .says("REVOKED")
        .says("ALERT (warning) www: no new certificate")
        .silent();
    assert_eq!(plain.serial(), before);
    let status = agent.status("www");
    assert_eq!(status["targets"][0]["state"], "unproven", "{status}");
    assert_eq!(status["reason"], "backoff", "{status}");
    agent.run(&["renew", "www"]).expect(0);
    assert_ne!(plain.serial(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_directory_that_cannot_be_written_ends_with_73() {
    let plain = Plain::new().await;
    let agent = &plain.agent;
    let state = Tmpfs::mount(&agent.state(), "4m");
    state.remount("ro");
    for command in ["once", "run"] {
        agent.run(&[command]).expect(73).says("read-only").silent();
    }
    state.remount("rw");
    let first = agent.run(&["once"]).expect(0);
    let ballast = state.fill();
    agent.run(&["renew", "www"]).expect(73).silent();
    assert_eq!(
        plain.ccm.issued("www.example.test").await,
        1,
        "{}",
        first.stderr
    );
    std::fs::remove_file(ballast).unwrap();
    agent.run(&["renew", "www"]).expect(0);
    assert_eq!(plain.ccm.issued("www.example.test").await, 2);

    // A file where the directory should be.
    drop(state);
    std::fs::remove_dir(agent.state()).unwrap();
    std::fs::write(agent.state(), "").unwrap();
    agent.run(&["once"]).expect(73).says("state").silent();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_journal_ends_with_65_and_is_left_alone() {
    let plain = Plain::new().await;
    plain.agent.run(&["once"]).expect(0);
    let journal = plain.agent.state().join("state.db");
    let rubbish = vec![b'x'; 8192];
    std::fs::write(&journal, &rubbish).unwrap();
    // With its log SQLite would mend it.
    for rest in ["state.db-wal", "state.db-shm"] {
        let _ = std::fs::remove_file(plain.agent.state().join(rest));
    }
    for command in [&["once"][..], &["status"], &["history", "www"], &["run"]] {
        let run = plain.agent.run(command).expect(65).says("state.db");
        run.says("put a backup").silent();
    }
    assert_eq!(std::fs::read(&journal).unwrap(), rubbish);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_executor_waits_ten_seconds_and_names_the_holder() {
    let plain = Plain::new().await;
    plain.agent.run(&["once"]).expect(0);
    let lock = plain.agent.state().join("lock");
    let held = Lock::try_acquire(&lock, "renewd run --config x").unwrap();
    let begun = Instant::now();
    let holder = format!(
        "is held by process {} (renewd run --config x)",
        std::process::id()
    );
    plain.agent.run(&["once"]).expect(75).says(&holder).silent();
    let waited = begun.elapsed();
    assert!(waited >= Duration::from_secs(10), "{waited:?}");
    drop(held);
    plain.agent.run(&["once"]).expect(0);
}
