//! Rollouts against a real nginx: the good path, and each way in which it goes wrong.
#![expect(clippy::disallowed_methods, reason = "tests arrange files directly")]

use std::fs;
use std::path::Path;

use renewd::deploy::probe::{KeyKind, ProbeError, handshake};
use renewd::model::{
    ErrorClass, KeyAlgorithm, Probe, ProbeReport, ProxyProtocol, Reload, RolloutEvent,
    RolloutPhase, RolloutStep, Seconds,
};

use crate::deploy::served::{Served, Variant};
use crate::deploy::stand::{Stand, class, now, pem, serial_in, validity};
use crate::support::nginx::{Nginx, Site, free_port};

/// Returns how many requests were made meanwhile.
async fn a_renewal_fails_no_request(variant: Variant) -> u64 {
    let dir = tempfile::tempdir().unwrap();
    let (mut served, old) = Served::running(dir.path(), variant).await;
    if let Probe::Tls { roots, .. } = &mut served.stand.target.probe {
        let path = dir.path().join("roots.pem");
        fs::write(
            &path,
            renewd::pki::pem::certificate(&served.stand.ca.root.der),
        )
        .unwrap();
        *roots = Some(renewd::model::Roots::File(path));
    }
    let load = served.load();
    let new = served.issue();
    let rollout = served.roll(&new).await;
    served.stand.live_now(&rollout);
    served.assert_serves(&new).await;
    let got = load.stop();
    assert_eq!(got.failed, Vec::<String>::new());
    let serials = [&old, &new].map(|set| served.stand.serial(&set[0]));
    assert!(
        got.good > 0 && got.serials.iter().all(|serial| serials.contains(serial)),
        "{got:?}"
    );
    assert!(got.serials.contains(&serials[1]), "{got:?}");
    got.good
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_by_the_link_fails_no_request() {
    let requests = a_renewal_fails_no_request(Variant::Live).await;
    println!("{requests} requests, none failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_of_loose_files_fails_no_request() {
    let requests = a_renewal_fails_no_request(Variant::Loose).await;
    println!("{requests} requests, none failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_name_is_asked_for_and_reported() {
    let dir = tempfile::tempdir().unwrap();
    let (mut served, _) = Served::running(dir.path(), Variant::Live).await;
    let new = served.issue();
    let rollout = served.stand.open(&new);
    for step in [
        RolloutStep::Stage,
        RolloutStep::Commit,
        RolloutStep::Test,
        RolloutStep::Reload,
    ] {
        served.stand.step(&rollout, step).await.unwrap();
    }
    let event = served
        .stand
        .step(&rollout, RolloutStep::Verify)
        .await
        .unwrap();
    let RolloutEvent::Verified { reports } = event else {
        panic!("{event:?}");
    };
    let names: Vec<&str> = reports.iter().map(|report| report.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "127.0.0.1",
            "renewd-probe.shop.test",
            "shop.test",
            "www.test"
        ]
    );
    for ProbeReport {
        name,
        address,
        serial,
        names,
        not_after,
        chain,
        protocol,
        ..
    } in &reports
    {
        let revision = if name.contains("shop") {
            &new[1]
        } else {
            &new[0]
        };
        assert_eq!(*serial, served.stand.serial(revision), "{name}");
        assert_eq!(*address, served.nginx.address());
        assert!(
            names.contains(if name.contains("shop") {
                "shop.test"
            } else {
                "www.test"
            }),
            "{names}"
        );
        assert!(*not_after > now());
        assert_eq!((*chain, protocol.as_str()), (2, "TLSv1.3"));
    }
}

async fn a_failing_test_changes_nothing_for_clients(variant: Variant) {
    let dir = tempfile::tempdir().unwrap();
    let (mut served, old) = Served::running(dir.path(), variant).await;
    let load = served.load();
    served.nginx.break_configuration();
    let new = served.issue();
    let rollout = served.roll(&new).await;
    assert_eq!(
        rollout.phase.code(),
        "rolled-back",
        "{:?}",
        served.stand.log
    );
    assert_eq!(
        served.stand.steps(),
        [
            "stage",
            "commit",
            "test",
            "restore",
            "reload-back",
            "verify-back",
            "close"
        ]
    );
    let error = served.stand.error(RolloutStep::Test);
    class(error, ErrorClass::Configuration);
    assert!(
        error.message.contains("unknown directive \"brokn\"")
            && error.message.contains("ended with status 1"),
        "{}",
        error.message
    );
    assert!(error.output.contains("test failed"), "{}", error.output);
    served.assert_serves(&old).await;
    assert_eq!(served.stand.drift(), None);
    // Mended, the next one goes through.
    served.nginx.mend();
    let rollout = served.roll(&new).await;
    served.stand.live_now(&rollout);
    served.assert_serves(&new).await;
    assert_eq!(load.stop().failed, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_test_changes_nothing_for_clients_of_the_link() {
    a_failing_test_changes_nothing_for_clients(Variant::Live).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_test_changes_nothing_for_clients_of_loose_files() {
    a_failing_test_changes_nothing_for_clients(Variant::Loose).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_that_hangs_is_killed_with_its_children_and_undone() {
    let dir = tempfile::tempdir().unwrap();
    let (mut served, old) = Served::running(dir.path(), Variant::Live).await;
    // On the way back it works: it hangs only the first time.
    let (pids, script) = (dir.path().join("pids"), dir.path().join("reload"));
    let reload = served.nginx.reload().join(" ");
    let text = format!(
        "if test -e {0}; then exec {reload}; fi\nsleep 600 & echo $$ $! >{0}\nwait\n",
        pids.display()
    );
    fs::write(&script, text).unwrap();
    served.stand.target.reload = Some(Reload::Command(vec![
        "/bin/sh".into(),
        script.display().to_string(),
    ]));
    served.stand.target.command_timeout = Seconds(1);
    let new = served.issue();
    let rollout = served.roll(&new).await;
    assert_eq!(
        rollout.phase.code(),
        "rolled-back",
        "{:?}",
        served.stand.log
    );
    let error = served.stand.error(RolloutStep::Reload);
    class(error, ErrorClass::Transient);
    assert!(
        error.message.contains("took longer than 1s and was killed"),
        "{}",
        error.message
    );
    for pid in fs::read_to_string(&pids).unwrap().split_whitespace() {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        assert!(stat.is_empty() || stat.contains(") Z "), "{stat}");
    }
    served.assert_serves(&old).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_without_effect_is_found_out_and_undone() {
    let dir = tempfile::tempdir().unwrap();
    let (mut served, old) = Served::running(dir.path(), Variant::Loose).await;
    served.stand.target.reload = Some(Reload::Command(vec!["/bin/true".into()]));
    served.deadline(1);
    let new = served.issue();
    let rollout = served.roll(&new).await;
    assert_eq!(
        rollout.phase.code(),
        "rolled-back",
        "{:?}",
        served.stand.log
    );
    let error = served.stand.error(RolloutStep::Verify);
    class(error, ErrorClass::Configuration);
    for part in [
        served.stand.serial(&old[0]),
        served.stand.serial(&new[0]),
        served.nginx.address(),
        "3 more names".into(),
    ] {
        assert!(error.message.contains(&part), "{part}: {}", error.message);
    }
    assert_eq!(error.output.lines().count(), 4, "{}", error.output);
    served.assert_serves(&old).await;
    assert!(!error.retry && error.restorable && error.service_runs);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_does_not_run_is_waited_for_and_then_proven() {
    let dir = tempfile::tempdir().unwrap();
    let (mut served, _) = Served::running(dir.path(), Variant::Live).await;
    served.nginx.stop();
    let new = served.issue();
    let rollout = served.roll(&new).await;
    assert_eq!(
        rollout.phase.code(),
        "awaiting-service",
        "{:?}",
        served.stand.log
    );
    let error = served.stand.error(RolloutStep::Reload);
    assert!(
        !error.service_runs && error.message.contains("nobody listens at"),
        "{error:?}"
    );
    // It comes up with the new set; the repetition of the machine proves it.
    served.nginx.start();
    served.assert_serves(&new).await;
    let mut again = rollout;
    again.phase = RolloutPhase::AwaitingService {
        detail: String::new(),
        look_at: now(),
        look: renewd::model::Look::Waiting,
    };
    let rollout = served.stand.drive(again).await;
    served.stand.live_now(&rollout);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_set_that_its_service_does_not_use_waits_for_it() {
    let dir = tempfile::tempdir().unwrap();
    // Somebody else's server is on the port.
    let (elsewhere, foreign) = Served::running(&dir.path().join("elsewhere"), Variant::Live).await;
    let mut served = Served::new(&dir.path().join("here"), Variant::Live);
    served.deadline(1);
    served.stand.target.test = None;
    served.stand.target.reload = None;
    if let Probe::Tls { connect, .. } = &mut served.stand.target.probe {
        *connect = elsewhere.nginx.address().into();
    }
    let new = served.issue();
    let rollout = served.roll(&new).await;
    assert_eq!(
        rollout.phase.code(),
        "awaiting-service",
        "{:?}",
        served.stand.log
    );
    let error = served.stand.error(RolloutStep::Verify);
    assert!(
        error.message.contains(&elsewhere.stand.serial(&foreign[0])),
        "{}",
        error.message
    );
    assert_eq!(
        serial_in(&served.file("www")),
        served.stand.serial(&new[0]),
        "the files stay"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn originals_of_a_first_set_are_served_again_after_a_failure() {
    let dir = tempfile::tempdir().unwrap();
    let mut served = Served::new(dir.path(), Variant::Loose);
    // What an administrator had there before renewd: a pair by hand for each site.
    let mut before = Vec::new();
    for name in ["www", "shop"] {
        let material = served
            .stand
            .material(&["by-hand.test"], KeyAlgorithm::EcP256, validity());
        let at = served.etc.join(name);
        fs::create_dir_all(&at).unwrap();
        fs::write(at.join("key.pem"), material.key.to_pem().expose()).unwrap();
        fs::write(at.join("fullchain.pem"), material.leaf_pem()).unwrap();
        before.push(material.facts().unwrap().serial);
    }
    served.nginx.start();
    served.stand.target.reload = Some(Reload::Command(vec!["/bin/false".into()]));
    let new = served.issue();
    let rollout = served.roll(&new).await;
    assert_eq!(
        rollout.phase.code(),
        "rolled-back",
        "{:?}",
        served.stand.log
    );
    for (name, serial) in ["www", "shop"].into_iter().zip(&before) {
        assert_eq!(served.served(&format!("{name}.test")).await, *serial);
        assert_eq!(serial_in(&served.file(name)), *serial);
    }
    // And the first set replaces them once the reload is mended.
    served.stand.target.reload = Some(Reload::Command(served.nginx.reload()));
    let rollout = served.roll(&new).await;
    served.stand.live_now(&rollout);
    served.assert_serves(&new).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undo_that_does_not_bring_back_the_old_set_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let (mut served, old) = Served::running(dir.path(), Variant::Live).await;
    let reload = served.nginx.reload().join(" ");
    // It reloads and says that it failed, the first time; then it does nothing any more.
    let script = dir.path().join("reload");
    let once = dir.path().join("once");
    let text = format!(
        "test -e {0} && exit 1\ntouch {0}\n{reload}\nsleep 1\nexit 1\n",
        once.display()
    );
    fs::write(&script, text).unwrap();
    served.stand.target.reload = Some(Reload::Command(vec![
        "/bin/sh".into(),
        script.display().to_string(),
    ]));
    served.deadline(1);
    let new = served.issue();
    let rollout = served.roll(&new).await;
    assert_eq!(
        rollout.phase.code(),
        "rollback-failed",
        "{:?}",
        served.stand.log
    );
    let error = served.stand.error(RolloutStep::VerifyBack);
    assert!(
        error.output.contains(&served.stand.serial(&new[0])),
        "{}",
        error.output
    );
    assert_eq!(
        serial_in(&served.file("www")),
        served.stand.serial(&old[0]),
        "the files are the old ones"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_rsa_and_ecdsa_is_proven_for_both() {
    let dir = tempfile::tempdir().unwrap();
    let mut stand = Stand::new(dir.path(), vec![pem("pem", "fullchain.pem", "key.pem")]);
    let pair = |stand: &Stand, name: &str| {
        (
            stand.live_path(&format!("{name}/fullchain.pem")),
            stand.live_path(&format!("{name}/key.pem")),
        )
    };
    let site = Site {
        names: vec!["www.test".into()],
        pairs: vec![pair(&stand, "ec"), pair(&stand, "rsa")],
    };
    let mut nginx = Nginx::prepare(&dir.path().join("nginx"), &[site]);
    stand.target.test = Some(nginx.test());
    stand.target.reload = Some(Reload::Command(nginx.reload()));
    stand.target.probe = Probe::Tls {
        connect: nginx.address().into(),
        deadline: Seconds(10),
        roots: None,
        wildcard_label: "x".into(),
        prelude: renewd::model::Prelude::default(),
    };
    let set = |stand: &Stand| {
        [("ec", KeyAlgorithm::EcP256), ("rsa", KeyAlgorithm::Rsa2048)]
            .map(|(id, algorithm)| stand.issue_as(id, &["www.test"], algorithm, validity()))
    };
    let first = set(&stand);
    let rollout = stand.open(&first);
    for step in [RolloutStep::Stage, RolloutStep::Commit] {
        stand.step(&rollout, step).await.unwrap();
    }
    nginx.start();
    let rollout = stand.drive(rollout).await;
    stand.live_now(&rollout);
    let second = set(&stand);
    let rollout = stand.open(&second);
    for step in [
        RolloutStep::Stage,
        RolloutStep::Commit,
        RolloutStep::Test,
        RolloutStep::Reload,
    ] {
        stand.step(&rollout, step).await.unwrap();
    }
    let event = stand.step(&rollout, RolloutStep::Verify).await.unwrap();
    let RolloutEvent::Verified { reports } = event else {
        panic!("{event:?}");
    };
    let mut served: Vec<String> = reports.into_iter().map(|report| report.serial).collect();
    let mut wanted: Vec<String> = second
        .iter()
        .map(|revision| stand.serial(revision))
        .collect();
    served.sort();
    wanted.sort();
    assert_eq!(served, wanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_pointed_at_the_leaf_alone_or_at_other_roots_is_not_proven() {
    let dir = tempfile::tempdir().unwrap();
    let mut exports = pem("pem", "fullchain.pem", "key.pem");
    if let renewd::model::ExportKind::Pem(files) = &mut exports.kind {
        files.certificate = Some("leaf.pem".into());
    }
    let mut stand = Stand::new(dir.path(), vec![exports]);
    let site = Site::new(
        &["www.test"],
        &stand.live_path("www/leaf.pem"),
        &stand.live_path("www/key.pem"),
    );
    let mut nginx = Nginx::prepare(&dir.path().join("nginx"), &[site]);
    let new = stand.issue("www", &["www.test"]);
    let rollout = stand.open(std::slice::from_ref(&new));
    for step in [RolloutStep::Stage, RolloutStep::Commit] {
        stand.step(&rollout, step).await.unwrap();
    }
    nginx.start();
    let probe = |roots: Option<&Path>| Probe::Tls {
        connect: nginx.address().into(),
        deadline: Seconds(0),
        roots: roots.map(|path| renewd::model::Roots::File(path.to_owned())),
        wildcard_label: "x".into(),
        prelude: renewd::model::Prelude::default(),
    };
    stand.target.probe = probe(None);
    let error = stand.step(&rollout, RolloutStep::Verify).await.unwrap_err();
    assert!(
        error
            .message
            .contains("point the service at the full chain"),
        "{}",
        error.message
    );
    // Where no export has the chain the service cannot serve it.
    if let renewd::model::ExportKind::Pem(files) = &mut stand.target.exports[0].kind {
        files.fullchain = None;
    }
    stand.step(&rollout, RolloutStep::Verify).await.unwrap();
    // Then clients do not get to the root, if they are asked to.
    let roots = dir.path().join("roots.pem");
    fs::write(&roots, renewd::pki::pem::certificate(&stand.ca.root.der)).unwrap();
    stand.target.probe = probe(Some(&roots));
    let error = stand.step(&rollout, RolloutStep::Verify).await.unwrap_err();
    assert!(
        error.message.contains("a chain that clients refuse"),
        "{}",
        error.message
    );
    // Known beforehand, nothing is written at all.
    let rollout = stand.open(std::slice::from_ref(&new));
    for (content, says) in [
        (None, "will refuse it"),
        (Some("nothing"), "there is no certificate in it"),
    ] {
        if let Some(content) = content {
            fs::write(&roots, content).unwrap();
        }
        let error = stand.step(&rollout, RolloutStep::Stage).await.unwrap_err();
        assert!(error.message.contains(says), "{}", error.message);
        assert!(!dir.path().join("state/targets/web/generations/2").exists());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_program_is_told_and_the_old_set_stays() {
    let dir = tempfile::tempdir().unwrap();
    let (mut served, old) = Served::running(dir.path(), Variant::Loose).await;
    served.stand.target.test = Some(vec!["/no/such/nginx".into(), "-t".into()]);
    let new = served.issue();
    let rollout = served.roll(&new).await;
    assert_eq!(
        rollout.phase.code(),
        "rolled-back",
        "{:?}",
        served.stand.log
    );
    let error = served.stand.error(RolloutStep::Test);
    assert!(
        error.message.contains("`/no/such/nginx -t` was not run"),
        "{}",
        error.message
    );
    served.assert_serves(&old).await;
    // Nobody at all on the port, and a failing test: nothing changed for anybody.
    served.nginx.stop();
    served.deadline(0);
    if let Probe::Tls { connect, .. } = &mut served.stand.target.probe {
        *connect = format!("127.0.0.1:{}", free_port()).into();
    }
    let rollout = served.roll(&new).await;
    assert_eq!(
        rollout.phase.code(),
        "rolled-back",
        "{:?}",
        served.stand.log
    );
}

#[tokio::test]
async fn a_listener_that_awaits_the_proxy_protocol_is_proven_through_it() {
    for version in ProxyProtocol::ALL {
        let dir = tempfile::tempdir().unwrap();
        let mut served = Served::new(dir.path(), Variant::Live);
        served.nginx.await_proxy_protocol();
        if let Probe::Tls { prelude, .. } = &mut served.stand.target.probe {
            prelude.proxy_protocol = Some(version);
        }
        let set = served.issue();
        let rollout = served.stand.open(&set);
        for step in [RolloutStep::Stage, RolloutStep::Commit] {
            served.stand.step(&rollout, step).await.unwrap();
        }
        served.nginx.start();
        let event = served.stand.step(&rollout, RolloutStep::Verify).await;
        let Ok(RolloutEvent::Verified { reports }) = event else {
            panic!("{version:?}: {event:?}\n{}", served.nginx.log());
        };
        let serials = set.each_ref().map(|revision| served.stand.serial(revision));
        assert!(!reports.is_empty());
        for report in &reports {
            assert!(serials.contains(&report.serial), "{report:?}");
            assert_eq!(report.address, served.nginx.address());
            assert!(report.protocol.starts_with("TLSv1."), "{report:?}");
            assert!(report.chain >= 2, "{report:?}");
        }
        // The listener does insist on the header.
        let within = std::time::Duration::from_secs(10);
        let error = handshake(
            &served.nginx.address(),
            Some("www.test"),
            KeyKind::Any,
            within,
        )
        .await
        .unwrap_err();
        assert!(matches!(error, ProbeError::Handshake { .. }), "{error}");
    }
}
