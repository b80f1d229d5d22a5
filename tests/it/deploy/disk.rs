//! Full and read-only file systems, real ones: each test mounts a tmpfs of its own, which needs root.
#![expect(
    clippy::disallowed_methods,
    reason = "tests arrange files and mounts directly"
)]

use std::fs;
use std::path::Path;

use renewd::model::{ErrorClass, RolloutStep};

use crate::deploy::stand::{Stand, class, is_pair, pem, serial_in};
use crate::support::tmpfs::Tmpfs;

fn names(path: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(path)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn loose(etc: &Path) -> Vec<renewd::model::ExportSpec> {
    let at = |name: &str| etc.join(name).display().to_string();
    vec![pem("pem", &at("www.pem"), &at("www.key"))]
}

#[tokio::test]
async fn a_full_state_directory_is_waited_for_and_nothing_is_left_behind() {
    let dir = tempfile::tempdir().unwrap();
    let state = Tmpfs::mount(&dir.path().join("state"), "512k");
    let mut stand = Stand::new(dir.path(), vec![pem("pem", "fullchain.pem", "key.pem")]);
    let old = stand.issue("www", &["www.test"]);
    let rollout = stand.open(std::slice::from_ref(&old));
    let rollout = stand.drive(rollout).await;
    stand.live_now(&rollout);
    let new = stand.issue("www", &["www.test"]);
    let rollout = stand.open(std::slice::from_ref(&new));
    let ballast = state.fill();
    let error = stand.step(&rollout, RolloutStep::Stage).await.unwrap_err();
    class(&error, ErrorClass::Transient);
    assert!(
        error.retry && error.message.contains("free space"),
        "{error:?}"
    );
    assert!(
        error.message.contains(&state.0.display().to_string()),
        "{error:?}"
    );
    assert_eq!(
        names(&dir.path().join("state/targets/web/generations")),
        ["1"]
    );
    assert_eq!(stand.drift(), None);
    fs::remove_file(&ballast).unwrap();

    // It fills up between stage and commit: the commit cannot save, so it does not begin.
    stand.step(&rollout, RolloutStep::Stage).await.unwrap();
    let ballast = state.fill();
    let error = stand.step(&rollout, RolloutStep::Commit).await.unwrap_err();
    assert!(error.retry, "{error:?}");
    assert_eq!(
        serial_in(&stand.live_path("www/fullchain.pem")),
        stand.serial(&old)
    );
    fs::remove_file(&ballast).unwrap();
    let rollout = stand.drive(rollout).await;
    stand.live_now(&rollout);
    assert_eq!(
        serial_in(&stand.live_path("www/fullchain.pem")),
        stand.serial(&new)
    );
}

#[tokio::test]
async fn on_a_full_disk_loose_files_are_not_touched_and_undo_needs_no_space() {
    let dir = tempfile::tempdir().unwrap();
    let etc = Tmpfs::mount(&dir.path().join("etc"), "256k");
    let (certificate, key) = (etc.0.join("www.pem"), etc.0.join("www.key"));
    let mut stand = Stand::new(dir.path(), loose(&etc.0));
    let old = stand.issue("www", &["www.test"]);
    let rollout = stand.open(std::slice::from_ref(&old));
    let rollout = stand.drive(rollout).await;
    stand.live_now(&rollout);
    let new = stand.issue("www", &["www.test"]);
    let rollout = stand.open(std::slice::from_ref(&new));
    let ballast = etc.fill();
    let error = stand.step(&rollout, RolloutStep::Stage).await.unwrap_err();
    class(&error, ErrorClass::Transient);
    assert!(error.retry, "{error:?}");
    assert_eq!(
        names(&etc.0),
        ["ballast", "www.key", "www.pem"],
        "no half a key"
    );
    assert_eq!(serial_in(&certificate), stand.serial(&old));
    fs::remove_file(&ballast).unwrap();

    // Staged files wait in their place: from here on neither commit nor undo need space.
    stand.step(&rollout, RolloutStep::Stage).await.unwrap();
    etc.fill();
    stand.step(&rollout, RolloutStep::Commit).await.unwrap();
    assert_eq!(serial_in(&certificate), stand.serial(&new));
    assert!(is_pair(&certificate, &key));
    etc.fill();
    stand.step(&rollout, RolloutStep::Restore).await.unwrap();
    assert_eq!(serial_in(&certificate), stand.serial(&old));
    assert!(is_pair(&certificate, &key));
    assert_eq!(names(&etc.0), ["ballast", "www.key", "www.pem"]);
}

#[tokio::test]
async fn a_read_only_file_system_is_named_with_its_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let etc = Tmpfs::mount(&dir.path().join("etc"), "256k");
    let mut stand = Stand::new(dir.path(), loose(&etc.0));
    let old = stand.issue("www", &["www.test"]);
    etc.remount("ro");
    let rollout = stand.open(std::slice::from_ref(&old));
    let rollout = stand.drive(rollout).await;
    assert_eq!(rollout.phase.code(), "abandoned");
    let error = stand.error(RolloutStep::Stage);
    class(error, ErrorClass::Configuration);
    for part in ["www.key", "read-only", "ReadWritePaths"] {
        assert!(error.message.contains(part), "{part}: {}", error.message);
    }
    etc.remount("rw");
    let rollout = stand.open(std::slice::from_ref(&old));
    let rollout = stand.drive(rollout).await;
    stand.live_now(&rollout);

    // Between stage and commit: nothing changes, and the link stays with the files.
    let new = stand.issue("www", &["www.test"]);
    let rollout = stand.open(std::slice::from_ref(&new));
    stand.step(&rollout, RolloutStep::Stage).await.unwrap();
    etc.remount("ro");
    let error = stand.step(&rollout, RolloutStep::Commit).await.unwrap_err();
    assert!(error.message.contains("read-only"), "{}", error.message);
    assert_eq!(serial_in(&etc.0.join("www.pem")), stand.serial(&old));
    assert_eq!(stand.drift(), None);
    etc.remount("rw");

    // Between commit and undo: the undo fails by name, and works once it can.
    for step in [RolloutStep::Stage, RolloutStep::Commit] {
        stand.step(&rollout, step).await.unwrap();
    }
    etc.remount("ro");
    let error = stand
        .step(&rollout, RolloutStep::Restore)
        .await
        .unwrap_err();
    assert!(error.message.contains("read-only"), "{}", error.message);
    etc.remount("rw");
    stand.step(&rollout, RolloutStep::Restore).await.unwrap();
    assert_eq!(serial_in(&etc.0.join("www.pem")), stand.serial(&old));
    assert!(is_pair(&etc.0.join("www.pem"), &etc.0.join("www.key")));
    assert_eq!(names(&etc.0), ["www.key", "www.pem"]);
}

/// Three members, each with a directory of its own below this one.
fn each_its_own(etc: &Path) -> Vec<renewd::model::ExportSpec> {
    let at = |name: &str| etc.join("{certificate}").join(name).display().to_string();
    vec![pem("pem", &at("tls.pem"), &at("tls.key"))]
}

#[tokio::test]
async fn the_disk_of_one_member_is_blamed_on_it_and_the_others_go_without_it() {
    let dir = tempfile::tempdir().unwrap();
    let etc = dir.path().join("etc");
    let bad = Tmpfs::mount(&etc.join("shop"), "256k");
    let tls = |name: &str| etc.join(name).join("tls.pem");
    let mut stand = Stand::new(dir.path(), each_its_own(&etc));
    let issue = |stand: &Stand| {
        ["api", "shop", "www"].map(|name| stand.issue(name, &[&format!("{name}.test")]))
    };
    let mut old = issue(&stand);
    let rollout = stand.open(&old);
    let rollout = stand.drive(rollout).await;
    stand.live_now(&rollout);
    for (how, retry) in [("ro", false), ("full", true)] {
        for step in [RolloutStep::Stage, RolloutStep::Commit] {
            let new = issue(&stand);
            let rollout = stand.open(&new);
            if step == RolloutStep::Commit {
                stand.step(&rollout, RolloutStep::Stage).await.unwrap();
            }
            let ballast = break_it(&bad, how);
            if (how, step) == ("full", RolloutStep::Commit) {
                // It needs no space any more.
                stand.step(&rollout, step).await.unwrap();
                stand.step(&rollout, RolloutStep::Restore).await.unwrap();
            } else {
                let error = stand.step(&rollout, step).await.unwrap_err();
                let named: Vec<&str> = error.named.iter().map(|id| id.as_str()).collect();
                assert_eq!(named, ["shop"], "{how}, {step}: {error:?}");
                assert_eq!(error.retry, retry, "{error:?}");
                assert!(error.message.contains("etc/shop"), "{error:?}");
            }
            // A way back from a disk that went in between has nothing to do there.
            stand.step(&rollout, RolloutStep::Restore).await.unwrap();
            for old in &old {
                assert_eq!(serial_in(&tls(old.0.as_str())), stand.serial(old), "{how}");
            }

            // Without it, on a disk that is broken still.
            let [api, _, www] = new;
            let rest = [api, old[1].clone(), www];
            let mut rollout = stand.open(&rest);
            rollout.reasons = [&rest[0], &rest[2]]
                .map(|(id, _)| (id.clone(), renewd::model::Reason::NotDeployed))
                .into();
            let rollout = stand.drive(rollout).await;
            stand.live_now(&rollout);
            old = rest;
            for member in &old {
                let (certificate, key) = (tls(member.0.as_str()), "tls.key");
                assert_eq!(
                    serial_in(&certificate),
                    stand.serial(member),
                    "{how}, {step}"
                );
                assert!(is_pair(&certificate, &certificate.with_file_name(key)));
            }
            assert_eq!(stand.drift(), None, "{how}, {step}");
            mend(&bad, how, ballast);
        }
    }
    // What was left behind meanwhile goes with the next rollouts.
    let new = issue(&stand);
    let rollout = stand.open(&new);
    let rollout = stand.drive(rollout).await;
    stand.live_now(&rollout);
    for member in &new {
        assert_eq!(serial_in(&tls(member.0.as_str())), stand.serial(member));
    }
}

#[tokio::test]
async fn a_member_that_is_not_in_place_and_cannot_be_put_there_keeps_nobody_back() {
    let dir = tempfile::tempdir().unwrap();
    let etc = dir.path().join("etc");
    let bad = Tmpfs::mount(&etc.join("shop"), "256k");
    let mut stand = Stand::new(dir.path(), each_its_own(&etc));
    let old = ["api", "shop"].map(|name| stand.issue(name, &[&format!("{name}.test")]));
    let rollout = stand.open(&old);
    let rollout = stand.drive(rollout).await;
    stand.live_now(&rollout);
    fs::remove_file(bad.0.join("tls.pem")).unwrap();
    bad.remount("ro");
    let drifted = renewd::model::Reason::Drifted {
        kind: renewd::model::DriftKind::FileMissing,
        detail: "it is gone".to_owned(),
    };
    let api = stand.issue("api", &["api.test"]);
    let set = [api.clone(), old[1].clone()];
    let mut rollout = stand.open(&set);
    rollout.reasons = [
        (api.0.clone(), renewd::model::Reason::NotDeployed),
        (old[1].0.clone(), drifted.clone()),
    ]
    .into();
    let rollout = stand.drive(rollout).await;
    stand.live_now(&rollout);
    assert_eq!(serial_in(&etc.join("api/tls.pem")), stand.serial(&api));
    // It is missing still, and told of; alone it is what the rollout is about, so it fails by name.
    assert!(
        stand.drift().unwrap().contains("shop"),
        "{:?}",
        stand.drift()
    );
    let mut rollout = stand.open(&set);
    rollout.reasons = [(old[1].0.clone(), drifted)].into();
    let error = stand.step(&rollout, RolloutStep::Stage).await.unwrap_err();
    assert!(error.named.contains(&old[1].0), "{error:?}");
    bad.remount("rw");
    let rollout = stand.drive(rollout).await;
    stand.live_now(&rollout);
    assert_eq!(stand.drift(), None);
}

#[tokio::test]
async fn a_directory_that_all_share_is_blamed_on_all() {
    let dir = tempfile::tempdir().unwrap();
    let etc = Tmpfs::mount(&dir.path().join("etc"), "256k");
    let mut stand = Stand::new(dir.path(), each_its_own(&etc.0));
    let set = ["api", "shop"].map(|name| stand.issue(name, &[&format!("{name}.test")]));
    etc.remount("ro");
    let rollout = stand.open(&set);
    let error = stand.step(&rollout, RolloutStep::Stage).await.unwrap_err();
    assert_eq!(error.named.len(), 2, "{error:?}");
    etc.remount("rw");
    let rollout = stand.drive(rollout).await;
    stand.live_now(&rollout);
}

fn break_it(disk: &Tmpfs, how: &str) -> Option<std::path::PathBuf> {
    if how == "full" {
        return Some(disk.fill());
    }
    disk.remount("ro");
    None
}

fn mend(disk: &Tmpfs, how: &str, ballast: Option<std::path::PathBuf>) {
    if how == "ro" {
        disk.remount("rw");
    }
    if let Some(ballast) = ballast {
        fs::remove_file(ballast).unwrap();
    }
}
