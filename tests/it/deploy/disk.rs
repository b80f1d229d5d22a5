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
