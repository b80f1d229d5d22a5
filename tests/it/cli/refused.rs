//! A policy that cannot be used, beside a daemon that goes by an older one.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::cli::Plain;
use crate::cli::daemon::Daemon;

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_is_refused_is_told_of_until_one_is_accepted() {
    let plain = Plain::new().await;
    plain.agent.run(&["once"]).expect(0);
    let good = plain.policy();
    let bad = good.replace("issuer = \"corp\"", "isuer = \"corp\"");
    assert_ne!(bad, good);
    // Without a daemon there is nobody to answer.
    plain.agent.write_policy(&bad);
    for command in [&["status"][..], &["once"], &["renew", "www"]] {
        plain.agent.run(command).expect(78);
    }
    plain.agent.write_policy(&good);
    let daemon = Daemon::start(&plain.agent);
    daemon.tells("STATUS=1 of 1 certificate healthy");

    plain.agent.write_policy(&bad);
    daemon.signal(Signal::SIGHUP);
    daemon.tells("STATUS=the policy cannot be used and an older one is in force; 1 of 1");
    let run = plain
        .agent
        .run(&["status", "--json"])
        .expect(0)
        .says("by the policy that the daemon goes by");
    let alert = run.json()["alerts"][0].clone();
    assert_eq!(alert["key"], "old-policy/host", "{alert}");
    assert!(alert["text"].as_str().unwrap().contains("isuer"), "{alert}");
    plain.agent.run(&["status", "nobody"]).expect(64);
    let before = plain.serial();
    plain
        .agent
        .run(&["renew", "www"])
        .expect(0)
        .says("by the policy that the daemon goes by");
    assert_ne!(plain.serial(), before);
    let check = plain.agent.run(&["check"]);
    assert_ne!(check.code, Some(0), "{}", check.stdout);

    plain.agent.write_policy(&good);
    daemon.signal(Signal::SIGHUP);
    let begun = Instant::now();
    loop {
        let run = plain.agent.run(&["status", "--json"]);
        if run.code == Some(0) && run.json()["alerts"] == serde_json::json!([]) {
            break;
        }
        assert!(begun.elapsed() < MOST, "{}\n{}", run.stdout, daemon.log());
        std::thread::sleep(Duration::from_millis(100));
    }
    daemon.stop();
}

const MOST: Duration = Duration::from_secs(60);
