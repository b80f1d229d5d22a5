//! Disks that fail in the middle, by injected errors: what the kernel says is passed on with path and remedy, and what was
//! there stays, and what fails at the place of one member is blamed on it. Full and read-only disks for real are in `disk`.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use renewd::model::{
    Cause, CertificateId, ErrorClass, Probe, ProbeFault, RolloutPhase, RolloutStep, Seconds,
    UndoPhase,
};

use crate::deploy::served::{Served, Variant};
use crate::deploy::stand::{Stand, is_pair, pem, serial_in};

/// What the kernel says, what it means, and what helps.
const ERRORS: [(&str, ErrorClass, &str); 5] = [
    ("EDQUOT", ErrorClass::Transient, "raise the quota"),
    ("EIO", ErrorClass::Transient, "kernel log"),
    ("ENOSPC", ErrorClass::Transient, "free space"),
    ("EROFS", ErrorClass::Configuration, "remount it"),
    ("EACCES", ErrorClass::Configuration, "access to it"),
];

/// Sets a point, for paths with this text in them, while it lives.
pub(crate) struct Fault(&'static str);

impl Fault {
    pub(crate) fn at(point: &'static str, error: &str, path: &str) -> Self {
        fail::cfg(point, &format!("return({error} {path})")).unwrap();
        Self(point)
    }
}

impl Drop for Fault {
    fn drop(&mut self) {
        fail::remove(self.0);
    }
}

fn left_beside(etc: &Path) -> Vec<String> {
    let names = std::fs::read_dir(etc).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with('.')).collect()
}

/// All in one: the points are the process's.
#[tokio::test]
async fn a_disk_that_fails_in_any_phase_is_told_and_leaves_the_old_state_intact() {
    let dir = tempfile::tempdir().unwrap();
    let etc = dir.path().join("etc");
    let at = |name: &str| etc.join(name).display().to_string();
    let (certificate, key) = (etc.join("www.pem"), etc.join("www.key"));
    let mut stand = Stand::new(
        dir.path(),
        vec![
            pem("live", "fullchain.pem", "key.pem"),
            pem("loose", &at("www.pem"), &at("www.key")),
        ],
    );
    let mut old = stand.issue("www", &["www.test"]);
    let rollout = stand.open(std::slice::from_ref(&old));
    let rollout = stand.drive(rollout).await;
    stand.live_now(&rollout);
    let state = dir.path().join("state/targets/web");
    let staging = state.join("generations/.staging-").display().to_string();
    let live = state.join("live").display().to_string();
    let beside = |name: &str| {
        etc.join(format!(".{name}.renewd-new"))
            .display()
            .to_string()
    };
    use RolloutStep::{Commit, Stage};
    let cases = [
        (Stage, "fs.create", staging.clone()),
        (Stage, "fs.write", staging.clone()),
        (Stage, "fs.sync", staging),
        (Stage, "fs.create", beside("www.key")),
        (Stage, "fs.write", beside("www.pem")),
        (Stage, "fs.sync", beside("www.pem")),
        (Commit, "fs.read", at("www.key")),
        (Commit, "fs.write", "/.renewd/saved/".to_owned()),
        (Commit, "fs.sync", "/.renewd/.saved.json".to_owned()),
        (Commit, "fs.rename", at("www.key")),
        // The new key is in its place by then.
        (Commit, "fs.rename", at("www.pem")),
        (Commit, "fs.rename", live),
    ];
    for (step, point, path) in &cases {
        for (error, class, remedy) in ERRORS {
            let what = format!("{step}: {error} at {point} of {path}");
            let new = stand.issue("www", &["www.test"]);
            let rollout = stand.open(std::slice::from_ref(&new));
            if *step == Commit {
                stand.step(&rollout, Stage).await.unwrap();
            }
            let fault = Fault::at(point, error, path);
            let failed = stand.step(&rollout, *step).await;
            drop(fault);
            let failed = failed.expect_err(&what);
            assert_eq!(failed.class, class, "{what}: {failed:?}");
            assert_eq!(failed.retry, class == ErrorClass::Transient, "{what}");
            for part in [path.trim_end_matches('-'), remedy] {
                assert!(
                    failed.message.contains(part),
                    "{what}, {part}: {}",
                    failed.message
                );
            }
            let serial = stand.serial(&old);
            for file in [certificate.clone(), stand.live_path("www/fullchain.pem")] {
                assert_eq!(serial_in(&file), serial, "{what}: {}", file.display());
            }
            assert!(is_pair(&certificate, &key), "{what}");
            assert_eq!(stand.drift(), None, "{what}");
            if *step == Commit {
                // What waits beside its place may be tried again; once the rollout is given up, it goes.
                stand.step(&rollout, RolloutStep::Close).await.unwrap();
            }
            assert_eq!(left_beside(&etc), Vec::<String>::new(), "{what}");
        }
        // The same goes in once the disk is well again.
        let new = stand.issue("www", &["www.test"]);
        let rollout = stand.open(std::slice::from_ref(&new));
        let rollout = stand.drive(rollout).await;
        stand.live_now(&rollout);
        assert_eq!(left_beside(&etc), Vec::<String>::new());
        old = new;
    }

    // On the way back it is told as well, and goes on where it stopped.
    for (error, _, remedy) in ERRORS {
        let new = stand.issue("www", &["www.test"]);
        let rollout = stand.open(std::slice::from_ref(&new));
        for step in [Stage, Commit] {
            stand.step(&rollout, step).await.unwrap();
        }
        let fault = Fault::at("fs.rename", error, &at("www.pem"));
        let failed = stand
            .step(&rollout, RolloutStep::Restore)
            .await
            .unwrap_err();
        drop(fault);
        for part in ["www.pem", remedy] {
            assert!(failed.message.contains(part), "{}", failed.message);
        }
        stand.step(&rollout, RolloutStep::Restore).await.unwrap();
        assert_eq!(serial_in(&certificate), stand.serial(&old));
        assert!(is_pair(&certificate, &key));
    }

    // A revision that cannot be stored is not half there.
    let material = stand.material(
        &["api.test"],
        renewd::model::KeyAlgorithm::EcP256,
        crate::deploy::stand::validity(),
    );
    let api = CertificateId::new("api").unwrap();
    for (error, _, remedy) in ERRORS {
        let fault = Fault::at("fs.write", error, "state/revisions/api");
        let failed = stand
            .deployer
            .materials()
            .store_revision(&api, &material)
            .unwrap_err();
        drop(fault);
        let text = renewd::sys::error_chain(&failed);
        assert!(
            text.contains("revisions/api") && text.contains(remedy),
            "{text}"
        );
        let revision = material.revision_id();
        assert!(
            stand
                .deployer
                .materials()
                .revision_fault(&api, &revision)
                .is_some()
        );
    }
    stand
        .deployer
        .materials()
        .store_revision(&api, &material)
        .unwrap();
}

#[tokio::test]
async fn what_fails_at_the_place_of_one_is_blamed_on_it_and_what_fails_at_ours_on_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| {
        let path = dir.path().join("etc/{certificate}").join(name);
        path.display().to_string()
    };
    let exports = vec![
        pem("live", "fullchain.pem", "key.pem"),
        pem("loose", &at("tls.pem"), &at("tls.key")),
    ];
    let mut stand = Stand::new(dir.path(), exports);
    let issue = |stand: &Stand| {
        ["api", "shop", "www"].map(|name| stand.issue(name, &[&format!("{name}.test")]))
    };
    let old = issue(&stand);
    let rollout = stand.open(&old);
    let rollout = stand.drive(rollout).await;
    stand.live_now(&rollout);
    use RolloutStep::{Commit, Stage};
    let cases = [
        (Stage, "fs.create", "etc/shop/", Some("shop")),
        (Stage, "fs.write", "etc/www/.tls.key", Some("www")),
        (Stage, "fs.sync", "etc/api/.tls.pem", Some("api")),
        (Stage, "fs.write", "generations/.staging-", None),
        (Commit, "fs.read", "etc/shop/tls.key", Some("shop")),
        (Commit, "fs.rename", "etc/www/tls.pem", Some("www")),
        (Commit, "fs.write", "/.renewd/saved/", None),
        (Commit, "fs.rename", "targets/web/live", None),
    ];
    for (step, point, path, blamed) in cases {
        for (error, class, _) in ERRORS {
            let what = format!("{step}: {error} at {point} of {path}");
            let new = issue(&stand);
            let rollout = stand.open(&new);
            if step == Commit {
                stand.step(&rollout, Stage).await.unwrap();
            }
            let fault = Fault::at(point, error, path);
            let failed = stand.step(&rollout, step).await;
            drop(fault);
            let failed = failed.expect_err(&what);
            let named: Vec<&str> = failed.named.iter().map(CertificateId::as_str).collect();
            assert_eq!(named, Vec::from_iter(blamed), "{what}: {failed:?}");
            assert_eq!(failed.class, class, "{what}");
            for member in &old {
                let tls = dir
                    .path()
                    .join("etc")
                    .join(member.0.as_str())
                    .join("tls.pem");
                assert_eq!(serial_in(&tls), stand.serial(member), "{what}");
                assert!(is_pair(&tls, &tls.with_file_name("tls.key")), "{what}");
            }
            assert_eq!(stand.drift(), None, "{what}");
            stand.step(&rollout, RolloutStep::Close).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_that_fails_on_the_way_back_keeps_back_nobody_else_and_is_told() {
    for (error, passes) in [("EROFS", false), ("EIO", true)] {
        let dir = tempfile::tempdir().unwrap();
        let (mut served, old) = Served::running(dir.path(), Variant::Loose).await;
        let new = served.issue();
        let mut rollout = served.stand.open(&new);
        use RolloutStep::{Commit, Reload, Stage, Test};
        for step in [Stage, Commit, Test, Reload] {
            served.stand.step(&rollout, step).await.unwrap();
        }
        rollout.phase = undoing();
        let fault = Fault::at("fs.rename", error, "etc/www/fullchain.pem");
        let undone = served.stand.drive(rollout).await;
        let failed = served.stand.error(RolloutStep::VerifyBack);
        assert!(
            failed.message.contains("etc/www/fullchain.pem"),
            "{failed:?}"
        );
        assert_eq!(failed.named, [old[0].0.clone()].into(), "{failed:?}");
        // The other went all the way back.
        let serial = |of| served.stand.serial(of);
        assert_eq!(serial_in(&served.file("shop")), serial(&old[1]));
        let (shop, www) = (serial(&old[1]), serial(&new[0]));
        served.comes_to_serve("shop.test", &shop).await;
        // This one is whole, were it the new one.
        let file = served.file("www");
        assert_eq!(serial_in(&file), www);
        assert!(is_pair(&file, &file.with_file_name("key.pem")));
        served.comes_to_serve("www.test", &www).await;
        drop(fault);
        if !passes {
            assert_eq!(
                undone.phase.code(),
                "rollback-failed",
                "{:?}",
                served.stand.log
            );
            continue;
        }
        // What passes by itself is tried again, and the service is told once more.
        let undone = served.stand.drive(undone).await;
        assert_eq!(undone.phase.code(), "rolled-back", "{:?}", served.stand.log);
        served.assert_serves(&old).await;
    }
}

/// A service that was told reads some time later, and must not meet half of a pair then.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_go_back_is_not_tried_again_before_the_others_are_served() {
    use RolloutStep::{Commit, Reload, ReloadBack, Restore, Stage, Test, VerifyBack};
    let dir = tempfile::tempdir().unwrap();
    let (mut served, _) = Served::running(dir.path(), Variant::Loose).await;
    let new = served.issue();
    let mut rollout = served.stand.open(&new);
    for step in [Stage, Commit, Test, Reload] {
        served.stand.step(&rollout, step).await.unwrap();
    }
    rollout.phase = undoing();
    let fault = Fault::at("fs.rename", "EROFS", "etc/www/fullchain.pem");
    for step in [Restore, ReloadBack] {
        served.stand.step(&rollout, step).await.unwrap();
    }

    // Stands for the service, sees what it would read whenever it is asked, and never answers.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    served.stand.target.probe = Probe::Tls {
        connect: listener.local_addr().unwrap().to_string().into(),
        deadline: Seconds(1),
        roots: None,
        wildcard_label: "renewd-probe".into(),
        prelude: renewd::model::Prelude::default(),
    };
    let key = served.file("www").with_file_name("key.pem");
    // A file that was replaced can have the number of the one before; the time of its last change differs then.
    let state = {
        let key = key.clone();
        move || {
            let found = std::fs::metadata(&key).unwrap();
            (found.ino(), found.ctime(), found.ctime_nsec())
        }
    };
    let before = state();
    let seen = std::thread::spawn({
        let state = state.clone();
        move || {
            let _asked = listener.accept().unwrap();
            state()
        }
    });
    let failed = served.stand.step(&rollout, VerifyBack).await.unwrap_err();
    assert!(
        failed.message.contains("etc/www/fullchain.pem"),
        "{failed:?}"
    );
    assert_eq!(seen.join().unwrap(), before, "the key was touched before");
    assert_ne!(state(), before, "it was tried in the end");
    drop(fault);
}

/// A way back that begins.
pub(crate) fn undoing() -> RolloutPhase {
    RolloutPhase::Undoing {
        cause: Cause {
            step: RolloutStep::Verify,
            class: ErrorClass::Configuration,
            message: "another certificate is served".into(),
            output: String::new(),
            named: [].into(),
            refused: false,
            probe: ProbeFault::None,
            strange: [].into(),
        },
        undo: UndoPhase::Decided,
    }
}
