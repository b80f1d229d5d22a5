//! A probe that cannot see any certificate of its listener, on a real nginx: said before anything happens, undone when it
//! does, and in nobody's way once it is mended.

use renewd::model::Seconds;

use crate::support::ccm::Wanted;
use crate::support::engine::{Rig, healthy};

fn with(policy: &str, line: &str) -> String {
    let header = "[target.nginx.web]\n";
    assert!(policy.contains(header));
    policy.replace(header, &format!("{header}{line}\n"))
}

/// The last rollout was undone to its end, and the alert names the probe.
fn is_told(rig: &Rig, says: &str) {
    let told = rig.told();
    let is = |line: &&String, start: &str| line.starts_with(start) && line.contains(says);
    assert!(
        told.iter()
            .any(|line| is(&line, "alert critical: web: the probe cannot work: ")),
        "{told:#?}"
    );
    let back = "ok web: the old set is in place, unproven: the probe cannot see it either";
    assert!(told.iter().any(|line| line == back), "{told:#?}");
    assert!(
        !told.iter().any(|line| line.contains("the way back failed")),
        "{told:#?}"
    );
}

fn target_test(rig: &Rig) -> (Option<i32>, String) {
    let run = rig.world.agent.run(&["target", "test", "web"]);
    (run.code, format!("{}{}", run.stdout, run.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_that_speaks_another_protocol_than_its_listener_is_named_and_blocks_nothing() {
    let rig = Rig::live(Wanted::new().at("2027-04-01")).await;
    let good = rig.world.policy();
    for (line, says) in [
        ("starttls = \"smtp\"", "no word of SMTP before TLS"),
        (
            "proxy_protocol = \"v1\"",
            "check `starttls` and `proxy_protocol`",
        ),
        ("proxy_protocol = \"v2\"", ""),
    ] {
        let first = rig.world.served();
        rig.world.agent.write_policy(&with(&good, line));
        let (code, said) = target_test(&rig);
        assert_ne!(code, Some(0), "{line}: {said}");
        assert!(said.contains("the probe cannot work: "), "{line}: {said}");
        rig.told();
        rig.force("www").await;
        rig.tick().await;
        is_told(&rig, says);
        assert_eq!(rig.world.served(), first, "{line}");
        let targets = rig.world.agent.run(&["target", "list", "--json"]);
        let targets = targets.expect(0).json();
        assert_eq!(
            targets[0]["proven_at"],
            serde_json::Value::Null,
            "{targets}"
        );
        // Mended, and nobody has to say so.
        rig.world.agent.write_policy(&good);
        assert!(healthy(&rig.settle().await), "{line}");
        assert_ne!(rig.world.served(), first, "{line}");
        let told = rig.told();
        let over = "resolved: web: the probe cannot work: ";
        assert!(told.iter().any(|line| line.starts_with(over)), "{told:#?}");
        let (_, said) = target_test(&rig);
        assert!(said.contains("serves what is live for 1 names"), "{said}");
        rig.clock.advance(Seconds::hours(2));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_awaits_something_else_from_a_reload_on_is_no_failed_undo() {
    let mut rig = Rig::live(Wanted::new().at("2027-04-01")).await;
    let good = rig.world.policy();
    let first = rig.world.written();
    // With the reload of the rollout the listener changes: it cannot be asked on the way there, nor on the way back.
    rig.world.nginx.await_proxy_protocol();
    rig.force("www").await;
    rig.tick().await;
    is_told(&rig, "set `starttls` or `proxy_protocol`");
    assert_eq!(
        rig.world.written(),
        first,
        "what was there before is in place"
    );
    assert!(target_test(&rig).1.contains("the probe cannot work: "));
    rig.world
        .agent
        .write_policy(&with(&good, "proxy_protocol = \"v2\""));
    assert!(healthy(&rig.settle().await));
    assert_ne!(rig.world.written(), first);
}
