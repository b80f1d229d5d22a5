//! Killed with SIGKILL at every journalled boundary, restarted, converged: one certificate per order, the old or the new
//! one served, nothing lost. `make soak` (`RENEWD_SOAK=1`) visits each boundary of each scenario several times over, and
//! each after each.

mod added;
mod batch;
mod claimed;
mod public;
mod tended;
mod twice;

use std::collections::BTreeSet;

use renewd::deploy::CRASH_POINTS;
use renewd::model::{OrderStep, RolloutStep};
use renewd::pki::{PrivateKey, facts, pem};

use crate::architecture::{read, root, rust_files};
use crate::support::ccm::Ccm;
use crate::support::reader::Reader;
use crate::support::world::{NAME, World};

/// Before the effect, between effect and outcome, after the outcome.
const MOMENTS: [&str; 3] = ["started", "effect", "done"];

fn boundaries(machine: &str, steps: &[&str]) -> Vec<String> {
    let mut points = vec![];
    for step in steps {
        points.extend(
            MOMENTS
                .iter()
                .map(|moment| format!("{machine}.{step}.{moment}")),
        );
    }
    points
}

/// Whether this is `make soak`.
fn soaking() -> bool {
    std::env::var_os("RENEWD_SOAK").is_some()
}

fn rounds() -> usize {
    if soaking() { 5 } else { 1 }
}

/// All that a renewal that goes well may pass, and the points inside its commit.
fn boundaries_of_a_renewal() -> Vec<String> {
    let mut points = vec!["order.open.done".to_owned(), "rollout.open.done".to_owned()];
    points.extend(boundaries(
        "order",
        &["store-key", "submit", "fetch", "close"],
    ));
    points.extend(boundaries(
        "rollout",
        &["stage", "commit", "test", "reload", "verify", "close"],
    ));
    points.extend(CRASH_POINTS.iter().map(|point| (*point).to_owned()));
    points
}

/// What is true of a world that has converged.
struct Converged {
    issued: usize,
    serial: String,
}

async fn look(world: &World) -> Converged {
    let status = world.agent.status("www");
    Converged {
        issued: world.ccm.issued(NAME).await,
        serial: status["serial"].as_str().unwrap_or_default().to_owned(),
    }
}

/// Nothing is left open or lying about, and every copy on disk is of one certificate with its key.
fn assert_clean(world: &World, at: &str) {
    let status = world.agent.status("www");
    assert_eq!(status["verdict"], "healthy", "{at}: {status}");
    assert_eq!(status["targets"][0]["state"], "live", "{at}: {status}");
    let keys = world.agent.state().join("keys");
    let left: Vec<_> = std::fs::read_dir(keys)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    assert!(
        left.is_empty(),
        "{at}: keys of closed orders stay: {left:?}"
    );
    let (certificate, key) = world.loose();
    assert_eq!(
        pair(&certificate, &key),
        status["serial"],
        "{at}: the loose pair"
    );
    let directory = certificate.parent().unwrap();
    let names: BTreeSet<String> = std::fs::read_dir(directory)
        .unwrap()
        .map(|e| e.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    assert_eq!(
        names,
        BTreeSet::from(["server.crt".into(), "server.key".into()]),
        "{at}"
    );
}

fn pair(certificate: &std::path::Path, key: &std::path::Path) -> String {
    let text = std::fs::read_to_string(certificate).unwrap();
    let leaf = facts(&pem::certificates(&text).unwrap()[0]).unwrap();
    let key = PrivateKey::from_pem(&std::fs::read(key).unwrap()).unwrap();
    assert_eq!(
        key.spki(),
        leaf.spki,
        "{} and its key",
        certificate.display()
    );
    leaf.serial
}

/// Kills a forced renewal at the point, starts again until all is done, and compares.
async fn survive(world: &World, point: &str) -> bool {
    let before = look(world).await;
    let killed = world
        .agent
        .run_with(&format!("{point}=return"), &["renew", "www"]);
    if killed.signal != Some(9) {
        // Not on the way of this scenario; the caller knows which must be.
        killed.expect(0);
        return false;
    }
    world.agent.run(&["once", "--wait", "60s"]).expect(0);
    assert_one_new(world, &before, point).await;
    true
}

/// The wish for a new one is in the journal before the first of the boundaries: it may not be forgotten.
async fn assert_one_new(world: &World, before: &Converged, at: &str) {
    let after = look(world).await;
    assert_ne!(after.serial, before.serial, "{at}");
    assert_eq!(
        after.issued,
        before.issued + 1,
        "{at}: one certificate per order"
    );
    assert_eq!(world.served(), after.serial, "{at}");
    assert_clean(world, at);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_any_boundary_of_order_and_rollout_converges_to_one_new_certificate() {
    let world = World::live(Ccm::start().await).await;
    let reader = Reader::start(&world.agent.live("web"), "www/server.crt", "www/server.key");
    let points = boundaries_of_a_renewal();
    let mut passed = BTreeSet::new();
    for _ in 0..rounds() {
        for point in &points {
            if survive(&world, point).await {
                passed.insert(point.clone());
            }
        }
    }
    let seen = reader.stop();
    println!(
        "killed at {} boundaries; {} matching pairs of {} certificates read meanwhile, {} others",
        passed.len(),
        seen.pairs,
        seen.certificates.len(),
        seen.wrong.len()
    );
    assert_eq!(seen.wrong, Vec::<String>::new());
    assert!(
        seen.certificates.len() > 5 && seen.pairs > 1000,
        "the reader saw too little"
    );
    // A point that was never passed would prove nothing; those of the way back have their own test.
    let missed: Vec<&String> = points
        .iter()
        .filter(|point| !passed.contains(*point) && !way_back(point))
        .collect();
    assert!(missed.is_empty(), "never passed: {missed:?}");
}

fn way_back(point: &str) -> bool {
    point.starts_with("rollout.restore")
        || point.starts_with("rollout.reload-back")
        || point.starts_with("rollout.verify-back")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_any_boundary_of_the_way_back_converges_to_the_old_certificate() {
    let world = World::live(Ccm::start().await).await;
    let reader = Reader::start(&world.agent.live("web"), "www/server.crt", "www/server.key");
    let mut points = boundaries("rollout", &["restore", "reload-back", "verify-back"]);
    points.extend(
        CRASH_POINTS
            .iter()
            .filter(|p| way_back(p))
            .map(|p| (*p).to_owned()),
    );
    for _ in 0..rounds() {
        for point in &points {
            let old = world.served();
            let issued = world.ccm.issued(NAME).await;
            // The reload says that it went well and does nothing: the proof fails, and the old set comes back.
            world.write_reload(false);
            let killed = world
                .agent
                .run_with(&format!("{point}=return"), &["renew", "www"]);
            assert_eq!(killed.signal, Some(9), "{point}: {}", killed.stderr);
            let ended = world.agent.run(&["once", "--wait", "0s"]);
            assert_ne!(
                ended.code,
                Some(0),
                "{point}: a rollback is no success\n{}",
                ended.stderr
            );
            assert_eq!(world.served(), old, "{point}");
            assert_eq!(world.ccm.issued(NAME).await, issued + 1, "{point}");
            let (certificate, key) = world.loose();
            assert_eq!(
                pair(&certificate, &key),
                old,
                "{point}: the loose pair is the old one"
            );
            let live = world.agent.live("web").join("www");
            assert_eq!(
                pair(&live.join("server.crt"), &live.join("server.key")),
                old,
                "{point}"
            );
            // A person mends it and asks again.
            world.write_reload(true);
            world.agent.run(&["release", "www"]);
            world
                .agent
                .run(&["renew", "www", "--wait", "60s"])
                .expect(0);
            assert_eq!(world.served(), look(&world).await.serial, "{point}");
            assert_clean(&world, point);
        }
    }
    let seen = reader.stop();
    println!(
        "killed at {} boundaries of the way back; {} matching pairs read meanwhile, {} others",
        points.len(),
        seen.pairs,
        seen.wrong.len()
    );
    assert_eq!(seen.wrong, Vec::<String>::new());
    assert!(seen.pairs > 1000, "the reader saw too little");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_around_a_hook_runs_it_again_and_converges() {
    let world = World::live(Ccm::start().await).await;
    let hooked = |pre: &str| {
        format!(
            r#"{}
[target.nginx.web.hooks]
pre = ["{pre}"]
post = ["/usr/bin/true"]
on_failure = ["/bin/sh", "-c", "echo $RENEWD_ROLLOUT >>{{dir}}/failures"]
"#,
            world.policy()
        )
    };
    for _ in 0..rounds() {
        world.agent.write_policy(&hooked("/usr/bin/true"));
        for point in boundaries("rollout", &["pre-hook", "post-hook"]) {
            assert!(survive(&world, &point).await, "{point} was never passed");
        }
        world.agent.write_policy(&hooked("/usr/bin/false"));
        for point in boundaries("rollout", &["failure-hook"]) {
            let failures = world.agent.path().join("failures");
            let runs = || -> Vec<String> {
                let text = std::fs::read_to_string(&failures).unwrap_or_default();
                text.lines().map(str::to_owned).collect()
            };
            let (before, old) = (runs().len(), world.served());
            let killed = world
                .agent
                .run_with(&format!("{point}=return"), &["renew", "www"]);
            assert_eq!(killed.signal, Some(9), "{point}: {}", killed.stderr);
            let ended = world.agent.run(&["once", "--wait", "0s"]).expect(65);
            // The first is the one that was killed; more may follow it, each with a run of its own.
            let since = runs().split_off(before);
            let of_it = since.iter().filter(|rollout| **rollout == since[0]);
            let wanted = if point.ends_with("effect") { 2 } else { 1 };
            assert_eq!(of_it.count(), wanted, "{point}: {}", ended.stderr);
            assert_eq!((world.served(), world.written()), (old.clone(), old));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_while_a_lost_answer_is_looked_for_never_leads_to_a_second_certificate() {
    let world = World::live(Ccm::start().await).await;
    for _ in 0..rounds() {
        for point in boundaries("order", &["resolve"]) {
            let before = look(&world).await;
            // The certificate exists, and nobody here knows its id.
            let killed = world
                .agent
                .run_with("order.submit.effect=return", &["renew", "www"]);
            assert_eq!(killed.signal, Some(9), "{}", killed.stderr);
            let killed = world.agent.run_with(&format!("{point}=return"), &["once"]);
            assert_eq!(killed.signal, Some(9), "{point}: {}", killed.stderr);
            world.agent.run(&["once", "--wait", "60s"]).expect(0);
            let after = look(&world).await;
            assert_eq!(
                after.issued,
                before.issued + 1,
                "{point}: found, not ordered again"
            );
            assert_eq!(world.served(), after.serial, "{point}");
            assert_clean(&world, &point);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_any_boundary_of_a_follower_converges_to_the_offered_certificate() {
    let world = World::live(Ccm::start().await).await;
    let policy = format!(
        r#"{}
[certificate.made]
issuer = "corp"
names = ["copy.example.test"]
key = "ccm"

[certificate.copy]
issuer = "corp"
names = ["copy.example.test"]
order = "never"
"#,
        world.policy()
    );
    world.agent.write_policy(&policy);
    // The account has nothing to follow yet, which is no success.
    world.agent.run(&["once"]).expect(75);
    world.agent.run(&["renew", "copy"]).expect(0);
    let mut points = vec!["order.open.done".to_owned()];
    points.extend(boundaries("order", &["locate", "fetch", "close"]));
    for _ in 0..rounds() {
        for point in &points {
            world.agent.run(&["renew", "made"]).expect(0);
            let killed = world
                .agent
                .run_with(&format!("{point}=return"), &["renew", "copy"]);
            assert_eq!(killed.signal, Some(9), "{point}: {}", killed.stderr);
            world
                .agent
                .run(&["renew", "copy", "--wait", "60s"])
                .expect(0);
            let (made, copy) = (world.agent.status("made"), world.agent.status("copy"));
            assert_eq!(copy["serial"], made["serial"], "{point}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_that_was_raised_and_not_told_is_told_by_the_next_run() {
    let world = World::live(Ccm::start().await).await;
    world.write_reload(false);
    let killed = world
        .agent
        .run_with("alert.raised=return", &["renew", "www"]);
    assert_eq!(killed.signal, Some(9), "{}", killed.stderr);
    assert!(!killed.stderr.contains("ALERT"), "{}", killed.stderr);
    let next = world.agent.run(&["once", "--wait", "0s"]);
    assert!(next.stderr.contains("ALERT"), "{}", next.stderr);
    let third = world.agent.run(&["once", "--wait", "0s"]);
    assert!(
        !third.stderr.contains("ALERT"),
        "told once: {}",
        third.stderr
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_that_is_over_and_not_told_so_is_over_all_the_same() {
    let world = World::live(Ccm::start().await).await;
    world.write_reload(false);
    world.agent.run(&["renew", "www"]);
    let stands = || {
        let status = world.agent.run(&["status"]).stdout;
        status.contains("ALERT")
    };
    assert!(stands());
    world.write_reload(true);
    world.agent.run(&["release", "www"]);
    assert!(stands(), "nothing was proven yet");
    let killed = world
        .agent
        .run_with("alert.resolved=return", &["renew", "www"]);
    assert_eq!(killed.signal, Some(9), "{}", killed.stderr);
    world.agent.run(&["once", "--wait", "60s"]).expect(0);
    assert!(!stands());
    assert_eq!(world.served(), look(&world).await.serial);
    assert_clean(&world, "alert.resolved");
}

/// A point of the code that no test names has no kill. Those of steps are made of two words, and the tests take them from
/// the steps themselves.
#[test]
fn every_boundary_in_the_code_is_named_by_a_test() {
    let mut named = BTreeSet::new();
    let mut made = BTreeSet::new();
    for file in rust_files(&root().join("src")) {
        for after in read(&file).split("crash::point(").skip(1) {
            let after = after.trim_start();
            let quoted = after.strip_prefix("&format!(").unwrap_or(after);
            let text = quoted
                .strip_prefix('"')
                .and_then(|text| text.split_once('"'));
            let (point, _) = text.unwrap_or_else(|| panic!("{}: {after:.40}", file.display()));
            let all = if after.starts_with('"') {
                &mut named
            } else {
                &mut made
            };
            // A kill at one of two would pass for a kill at both.
            let new = all.insert(point.to_owned());
            assert!(new, "{point} is at two sites: {}", file.display());
        }
    }
    let of = |machine: &str| MOMENTS.map(|moment| format!("{machine}.{{step}}.{moment}"));
    assert_eq!(made, of("order").into_iter().chain(of("rollout")).collect());
    assert!(named.len() > 25, "{named:?}");
    let tests: String = rust_files(&root().join("tests/it"))
        .iter()
        .map(|file| read(file))
        .collect();
    let silent: Vec<&String> = named
        .iter()
        .filter(|point| !CRASH_POINTS.contains(&point.as_str()))
        .filter(|point| !tests.contains(&format!("\"{point}")))
        .collect();
    assert!(silent.is_empty(), "no test kills at {silent:?}");
}

/// Every step is visited above: a new one must find its place here.
#[test]
fn every_step_has_its_kill() {
    let visited = [
        "store-key",
        "submit",
        "locate",
        "resolve",
        "fetch",
        "close",
        "stage",
        "commit",
        "test",
        "reload",
        "verify",
        "restore",
        "reload-back",
        "verify-back",
        "pre-hook",
        "post-hook",
        "failure-hook",
    ];
    // Those that only a public certificate needs are in `crash::public` and `crash::added`, which take every step of it.
    for step in OrderStep::ALL {
        let public = matches!(
            step,
            OrderStep::Look
                | OrderStep::Confirm
                | OrderStep::Buy
                | OrderStep::Trace
                | OrderStep::Supplement
                | OrderStep::Publish
                | OrderStep::Examine
                | OrderStep::Retract
                | OrderStep::Withdraw
        );
        assert_ne!(visited.contains(&step.code()), public, "{step}");
    }
    for step in RolloutStep::ALL {
        assert!(visited.contains(&step.code()), "{step}");
    }
}
