//! A service with more than one listener: each is asked for every name, and one that was not there before decides nothing
//! about the way back.

use std::collections::BTreeSet;

use renewd::model::{
    ErrorClass, Probe, Reload, Rollout, RolloutEvent, RolloutPhase, RolloutStep, Started, Wire,
};

use crate::deploy::served::{Served, Variant};
use crate::deploy::stand::{class, now};
use crate::support::nginx::{Nginx, Site};

/// A stand whose service is two nginx with the same files; the second one runs if this is wanted.
async fn two(
    dir: &std::path::Path,
    second_runs: bool,
) -> (Served, Nginx, [super::served::Revision; 2]) {
    let (mut served, old) = Served::running(dir, Variant::Live).await;
    let sites = [
        ("www", vec!["www.test", "127.0.0.1"]),
        ("shop", vec!["shop.test", "*.shop.test"]),
    ];
    let sites = sites.map(|(name, names)| {
        let at = |file: &str| served.stand.live_path(&format!("{name}/{file}"));
        Site::new(&names, &at("fullchain.pem"), &at("key.pem"))
    });
    let mut second = Nginx::prepare(&dir.join("second"), &sites);
    if second_runs {
        second.start();
    }
    served.stand.target.reload = Some(reload(&[&served.nginx, &second]));
    if let Probe::Tls { connect, .. } = &mut served.stand.target.probe {
        *connect = [served.nginx.address(), second.address()]
            .into_iter()
            .collect();
    }
    (served, second, old)
}

/// Tells each; who does not run cannot be told, and that is no failure of the others.
fn reload(told: &[&Nginx]) -> Reload {
    let lines = told
        .iter()
        .map(|nginx| format!("{} || true\n", nginx.reload().join(" ")));
    let script: String = lines.collect();
    Reload::Command(["/bin/sh", "-c", &script].map(str::to_owned).into())
}

fn look_again(rollout: &Rollout) -> Rollout {
    let mut again = rollout.clone();
    again.phase = RolloutPhase::AwaitingService {
        detail: String::new(),
        look_at: now(),
        look: renewd::model::Look::Waiting,
    };
    again
}

#[tokio::test(flavor = "multi_thread")]
async fn every_name_is_proven_at_every_listener() {
    let dir = tempfile::tempdir().unwrap();
    let (mut served, second, _) = two(dir.path(), true).await;
    let new = served.issue();
    let rollout = served.roll(&new).await;
    served.stand.live_now(&rollout);
    let proven = served.stand.step(&rollout, RolloutStep::Verify).await;
    let Ok(RolloutEvent::Verified { reports }) = proven else {
        panic!("{proven:?}");
    };
    let at = |address: &str| -> BTreeSet<String> {
        let there = reports.iter().filter(|report| report.address == address);
        there.map(|report| report.name.clone()).collect()
    };
    let names = [
        "127.0.0.1",
        "renewd-probe.shop.test",
        "shop.test",
        "www.test",
    ];
    assert_eq!(at(&served.nginx.address()), names.map(str::to_owned).into());
    assert_eq!(at(&second.address()), names.map(str::to_owned).into());

    // One that was not told serves the old one, and everything is undone.
    served.stand.target.reload = Some(reload(&[&served.nginx]));
    served.deadline(1);
    let next = served.issue();
    let rollout = served.roll(&next).await;
    let error = served.stand.error(RolloutStep::Verify);
    class(error, ErrorClass::Configuration);
    assert!(error.output.contains(&second.address()), "{error:?}");
    assert!(!error.output.contains(&served.nginx.address()), "{error:?}");
    assert_eq!(
        rollout.phase.code(),
        "rolled-back",
        "{:?}",
        served.stand.log
    );
    served.assert_serves(&new).await;

    // A check asks there as well.
    served.stand.target.reload = Some(reload(&[&served.nginx]));
    let state = renewd::model::TargetState {
        live: next.iter().cloned().collect(),
        generation: served.stand.generation,
        ..renewd::model::TargetState::default()
    };
    let found = served
        .stand
        .deployer
        .served(&served.stand.target, &state, now())
        .await;
    let wire = Wire {
        differences: found.unwrap(),
        retold: false,
    };
    assert_eq!(wire.differences.len(), 2, "{wire:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_was_not_there_before_is_waited_for_and_hinders_no_undo() {
    let dir = tempfile::tempdir().unwrap();
    let (mut served, mut second, old) = two(dir.path(), false).await;
    served.deadline(1);
    let new = served.issue();
    let waiting = served.roll(&new).await;
    assert_eq!(
        waiting.phase.code(),
        "awaiting-service",
        "{:?}",
        served.stand.log
    );
    let error = served.stand.error(RolloutStep::Verify);
    assert!(!error.service_runs, "{error:?}");
    assert!(error.message.contains(&second.address()), "{error:?}");
    served.assert_serves(&new).await;
    second.start();
    let rollout = served.stand.drive(look_again(&waiting)).await;
    served.stand.live_now(&rollout);

    // Not there again, and the other one is not told: what could be asked went back.
    second.stop();
    served.stand.log.clear();
    served.stand.target.reload = Some(reload(&[]));
    let next = served.issue();
    let rollout = served.roll(&next).await;
    assert_eq!(
        rollout.phase.code(),
        "rolled-back",
        "{:?}",
        served.stand.log
    );
    served.assert_serves(&new).await;
    assert_ne!(old, new);

    // One that the reload has ended is a failure, also of the way back.
    second.start();
    served.stand.log.clear();
    let stop = second.reload().join(" ").replace("-s reload", "-s stop");
    served.stand.target.reload = Some(Reload::Command(
        ["/bin/sh", "-c", &stop].map(str::to_owned).into(),
    ));
    let next = served.issue();
    let rollout = served.roll(&next).await;
    let error = served.stand.error(RolloutStep::Verify);
    assert!(error.service_runs, "{error:?}");
    assert_eq!(
        rollout.phase.code(),
        "rollback-failed",
        "{:?}",
        served.stand.log
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_gone_after_a_reload_that_was_cut_off_is_no_service_that_did_not_run() {
    let dir = tempfile::tempdir().unwrap();
    let (mut served, _) = Served::running(dir.path(), Variant::Live).await;
    let new = served.issue();
    let mut rollout = served.stand.open(&new);
    use RolloutStep::{Commit, Reload, Stage, Test};
    for step in [Stage, Commit, Test] {
        served.stand.step(&rollout, step).await.unwrap();
    }
    rollout.phase = RolloutPhase::Tested;
    rollout.started = Some(Started {
        step: Reload,
        at: now(),
    });
    served.nginx.stop();
    // It was begun, and nobody was told: he did not run before.
    let error = served.stand.step(&rollout, Reload).await.unwrap_err();
    assert!(!error.service_runs, "{error:?}");
    served.nginx.start();
    served.stand.step(&rollout, Reload).await.unwrap();
    served.nginx.stop();
    let error = served.stand.step(&rollout, Reload).await.unwrap_err();
    assert!(error.service_runs, "{error:?}");
    assert!(error.message.contains("a reload was cut off"), "{error:?}");
    // A new attempt knows nothing of the last one.
    rollout.started = None;
    let error = served.stand.step(&rollout, Reload).await.unwrap_err();
    assert!(!error.service_runs, "{error:?}");
}
