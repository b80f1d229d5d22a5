//! Who hangs keeps nobody else waiting: a reload that does not end, an issuer that does not answer. By the order of events,
//! not by the clock.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use renewd::engine::{Patience, Scope};
use renewd::model::Seconds;
use tokio::net::TcpListener;

use crate::support::ccm::Wanted;
use crate::support::engine::{Rig, healthy};
use crate::support::gate::Gate;

fn certificate(name: &str, issuer: &str, target: &str) -> String {
    format!(
        r#"
[certificate.{name}]
issuer = "{issuer}"
names = ["{name}.example.test"]
targets = [{target}]
validity = "30d"
"#
    )
}

fn target(name: &str) -> String {
    format!(
        r#"
[target.command.{name}]
test = ["/bin/true"]
reload = ["{{dir}}/reload-{name}"]
probe = "none"
command_timeout = "10s"

[target.command.{name}.export.pem.files]
fullchain = "fullchain.pem"
key = "key.pem"
"#
    )
}

fn write_script(rig: &Rig, name: &str, body: &str) {
    let path = rig.world.agent.path().join(name);
    std::fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// Where the first line with this beginning is.
#[track_caller]
fn at(told: &[String], beginning: &str) -> usize {
    let found = told.iter().position(|line| line.starts_with(beginning));
    found.unwrap_or_else(|| panic!("no {beginning}: {told:#?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_that_hangs_delays_neither_the_rollout_nor_the_undo_of_others() {
    let rig = Rig::new(Wanted::new().at("2027-04-01")).await;
    let dir = rig.world.agent.path().display().to_string();
    // Once, and only once it was told to.
    let hangs = format!("[ -e {dir}/hang ] || exit 0\nrm {dir}/hang\nexec sleep 1000");
    let fails = format!("[ -e {dir}/fail ] || exit 0\nrm {dir}/fail\nexit 1");
    write_script(&rig, "reload-slow", &hangs);
    write_script(&rig, "reload-quick", "exit 0");
    write_script(&rig, "reload-bad", &fails);
    let mut policy = rig.world.issuer();
    for name in ["slow", "quick", "bad"] {
        policy += &certificate(name, "corp", &format!("{name:?}"));
        policy += &target(name);
    }
    rig.world.agent.write_policy(&policy);
    let plan = rig.tick().await;
    assert!(healthy(&plan), "{:#?}", rig.told());
    rig.told();

    for file in ["hang", "fail"] {
        std::fs::write(format!("{dir}/{file}"), "").unwrap();
    }
    for name in ["slow", "quick", "bad"] {
        rig.force(name).await;
    }
    rig.tick().await;
    let told = rig.told();
    let over = at(&told, "fail slow: reload failed");
    assert!(at(&told, "ok quick: rollout is live") < over, "{told:#?}");
    assert!(at(&told, "fail bad: rolled back") < over, "{told:#?}");
    // And its own way back goes on when its time is over.
    assert!(at(&told, "fail slow: rolled back") > over, "{told:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_that_does_not_answer_delays_nothing_of_another() {
    let rig = Rig::new(Wanted::new().at("2027-04-01")).await;
    // Takes connections and says nothing.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = listener.local_addr().unwrap();
    let open = Arc::new(tokio::sync::Mutex::new(Vec::new()));
    let kept = Arc::clone(&open);
    let accepting = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            kept.lock().await.push(stream);
        }
    });
    let corp = rig.world.issuer();
    let endpoint = corp
        .lines()
        .find_map(|line| line.strip_prefix("endpoint = "))
        .unwrap();
    let other = corp
        .replace(endpoint, &format!("\"http://{silent}\""))
        .replace(".corp]", ".silent]")
        .replace("timeout = \"2s\"", "timeout = \"10s\"");
    let mut policy = corp + &other;
    // More than are asked for at a time.
    for n in 0..40 {
        policy += &certificate(&format!("c{n:02}"), "silent", "");
    }
    policy += &certificate("www", "corp", "\"web\"");
    policy += &target("web");
    rig.world.agent.write_policy(&policy);
    write_script(&rig, "reload-web", "exit 0");
    let plan = rig.tick().await;
    let told = rig.told();
    let failed = told.iter().position(|line| line.starts_with("fail c"));
    let failed = failed.unwrap_or_else(|| panic!("{told:#?}"));
    assert!(at(&told, "ok web: rollout is live") < failed, "{told:#?}");
    let waits = plan
        .verdicts
        .values()
        .filter(|verdict| matches!(verdict, renewd::plan::Verdict::Wait(_)));
    assert_eq!(waits.count(), 40);
    // Nobody was asked again and again meanwhile.
    let asked = open.lock().await.len();
    assert!(asked <= 100, "{asked} connections");
    accepting.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_set_back_in_mid_step_does_not_make_the_tick_wait() {
    let rig = Rig::new(Wanted::new().at("2027-04-01")).await;
    let gate = Gate::new(rig.world.agent.path(), "reload-web");
    let policy = rig.world.issuer() + &certificate("web", "corp", "\"web\"") + &target("web");
    rig.world.agent.write_policy(&policy);
    let engine = rig.engine().await;
    let mut snapshot = engine.observe().await.unwrap();
    let meanwhile = async {
        gate.begun().await;
        // It is tried again at a moment that is before the tick began.
        rig.clock.jump(Seconds(-Seconds::days(2).0));
        gate.end(1);
    };
    let tick = engine.converge(&mut snapshot, &Scope::All, Patience::NONE);
    let both = async { tokio::join!(tick, meanwhile).0 };
    let plan = tokio::time::timeout(PATIENCE, both).await;
    let plan = plan.expect("it came back").unwrap();
    assert!(!healthy(&plan), "{plan:?}");
    assert!(plan.next_wake > rig.clock_now());
}

/// Ample for a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
