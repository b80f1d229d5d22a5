//! A member that a rollout only repeats, and that somebody else has replaced, or whose revision is damaged: it stays as it
//! is, and the others go in.
#![expect(
    clippy::disallowed_methods,
    reason = "tests arrange files and processes directly"
)]

use std::fs;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use renewd::model::{
    CertificateId, DriftKind, ExportKind, ExportSpec, FileAttributes, KeyAlgorithm, PasswordSource,
    PfxProfile, Reason, RevisionId, Rollout, RolloutClosing, RolloutPhase, RolloutStep, Seconds,
};
use rustix::fs::inotify;

use crate::deploy::stand::{Stand, is_pair, now, pem, serial_in};
use crate::support::certs::Validity;

type Revision = (CertificateId, RevisionId);

/// `api` and `www` are live, each in the generation and at places of its own.
async fn both_live(dir: &Path) -> (Stand, [Revision; 2]) {
    let at = |name: &str| {
        let path = dir.join("etc/{certificate}").join(name);
        path.display().to_string()
    };
    let exports = vec![
        pem("live", "fullchain.pem", "key.pem"),
        pem("loose", &at("tls.pem"), &at("tls.key")),
    ];
    let mut stand = Stand::new(dir, exports);
    let set = ["api", "www"].map(|name| stand.issue(name, &[&format!("{name}.test")]));
    let rollout = stand.open(&set);
    let rollout = stand.drive(rollout).await;
    stand.live_now(&rollout);
    (stand, set)
}

/// Certificate and key of a member: within the generation, and loose.
fn places(stand: &Stand, name: &str) -> [(PathBuf, PathBuf); 2] {
    let live = |file: &str| stand.live_path(&format!("{name}/{file}"));
    let loose = |file: &str| stand.dir.join("etc").join(name).join(file);
    [
        (live("fullchain.pem"), live("key.pem")),
        (loose("tls.pem"), loose("tls.key")),
    ]
}

/// For a newer `www`.
fn renewal(stand: &mut Stand, api: &Revision) -> (Revision, Rollout) {
    let recent = Validity(now() - Seconds::minutes(1), now() + Seconds::days(60));
    let www = stand.issue_as("www", &["www.test"], KeyAlgorithm::EcP256, recent);
    let mut rollout = stand.open(&[api.clone(), www.clone()]);
    rollout.reasons = [(www.0.clone(), Reason::NotDeployed)].into();
    (www, rollout)
}

#[tokio::test]
async fn a_newer_one_of_somebody_else_stays_and_the_others_go_in() {
    let dir = tempfile::tempdir().unwrap();
    let (mut stand, [api, www]) = both_live(dir.path()).await;
    let hour = Validity(now() - Seconds::hours(1), now() + Seconds::days(60));
    let theirs = stand.material(&["api.test"], KeyAlgorithm::EcP256, hour);
    let serial = renewd::pki::facts(&theirs.leaf).unwrap().serial;
    for (certificate, key) in places(&stand, "api") {
        fs::write(&certificate, theirs.leaf_pem()).unwrap();
        fs::write(&key, theirs.key.to_pem().expose()).unwrap();
    }
    let is_theirs = |stand: &Stand| {
        for (certificate, key) in places(stand, "api") {
            assert_eq!(serial_in(&certificate), serial, "{}", certificate.display());
            assert!(is_pair(&certificate, &key));
        }
        assert_eq!(stand.kinds(), [DriftKind::NewerElsewhere]);
    };
    is_theirs(&stand);

    // And back again.
    let (newer, mut rollout) = renewal(&mut stand, &api);
    stand.target.test = Some(vec!["/bin/false".to_owned()]);
    rollout = stand.drive(rollout).await;
    assert!(
        matches!(
            rollout.phase,
            RolloutPhase::Closed {
                closing: RolloutClosing::RolledBack { .. }
            }
        ),
        "{:?}",
        stand.log
    );
    is_theirs(&stand);
    for (certificate, _) in places(&stand, "www") {
        assert_eq!(serial_in(&certificate), stand.serial(&www));
    }

    stand.target.test = None;
    let mut rollout = stand.open(&[api.clone(), newer.clone()]);
    rollout.reasons = [(newer.0.clone(), Reason::NotDeployed)].into();
    let rollout = stand.drive(rollout).await;
    stand.live_now(&rollout);
    is_theirs(&stand);
    for (certificate, key) in places(&stand, "www") {
        assert_eq!(serial_in(&certificate), stand.serial(&newer));
        assert!(is_pair(&certificate, &key));
    }

    // Until a person wants it replaced.
    stand.overwrite = [api.0.clone()].into();
    let rollout = stand.open(&[api.clone(), newer]);
    let rollout = stand.drive(rollout).await;
    stand.live_now(&rollout);
    for (certificate, _) in places(&stand, "api") {
        assert_eq!(serial_in(&certificate), stand.serial(&api));
    }
    assert_eq!(stand.drift(), None);
}

/// A window may lie between the two, and the tool that put it there renews it meanwhile.
#[tokio::test]
async fn what_somebody_puts_there_between_stage_and_commit_is_what_stays() {
    let dir = tempfile::tempdir().unwrap();
    let (mut stand, [api, _]) = both_live(dir.path()).await;
    let put = |stand: &Stand, hours: i64| {
        let since = Validity(now() - Seconds::hours(hours), now() + Seconds::days(60));
        let theirs = stand.material(&["api.test"], KeyAlgorithm::EcP256, since);
        let [(certificate, key), _] = places(stand, "api");
        fs::write(&certificate, theirs.leaf_pem()).unwrap();
        fs::write(&key, theirs.key.to_pem().expose()).unwrap();
        renewd::pki::facts(&theirs.leaf).unwrap().serial
    };
    put(&stand, 2);
    let (_, rollout) = renewal(&mut stand, &api);
    stand.step(&rollout, RolloutStep::Stage).await.unwrap();
    let serial = put(&stand, 1);
    for _ in 0..2 {
        stand.step(&rollout, RolloutStep::Commit).await.unwrap();
        let [(certificate, key), _] = places(&stand, "api");
        assert_eq!(serial_in(&certificate), serial);
        assert!(is_pair(&certificate, &key));
    }
}

/// Sees when the key of a revision is opened.
struct KeyWatch {
    key: PathBuf,
    seen: fs::File,
}

impl KeyWatch {
    fn new(stand: &Stand, (name, revision): &Revision) -> Self {
        let revisions = stand.dir.join("state/revisions").join(name.as_str());
        let key = revisions.join(revision.as_str()).join("key.pem");
        let seen = inotify::init(inotify::CreateFlags::NONBLOCK).unwrap();
        inotify::add_watch(&seen, &key, inotify::WatchFlags::OPEN).unwrap();
        let seen = seen.into();
        Self { key, seen }
    }

    /// Whether it was, since this was asked last.
    fn was_read(&mut self) -> bool {
        match self.seen.read(&mut [0; 4096]) {
            Ok(bytes) => bytes > 0,
            Err(none) => {
                assert_eq!(none.kind(), ErrorKind::WouldBlock);
                false
            }
        }
    }

    /// A watch that sees nothing proves nothing.
    fn assert_sees(&mut self) {
        fs::read(&self.key).unwrap();
        assert!(self.was_read(), "it is seen");
    }
}

/// A rollout of one certificate is about all of its target: their keys are nothing to it where nobody else was at work.
#[tokio::test]
async fn a_commit_reads_no_revision_where_nothing_of_somebody_else_is() {
    let dir = tempfile::tempdir().unwrap();
    let (mut stand, [api, _]) = both_live(dir.path()).await;
    let (www, rollout) = renewal(&mut stand, &api);
    stand.step(&rollout, RolloutStep::Stage).await.unwrap();
    let mut keys = [&api, &www].map(|of| KeyWatch::new(&stand, of));
    stand.step(&rollout, RolloutStep::Commit).await.unwrap();
    for key in &mut keys {
        assert!(!key.was_read());
        key.assert_sees();
    }
}

#[tokio::test]
async fn a_stage_reads_the_keys_of_those_alone_that_change() {
    let dir = tempfile::tempdir().unwrap();
    let (mut stand, [api, _]) = both_live(dir.path()).await;
    let (www, rollout) = renewal(&mut stand, &api);
    let mut keys = [&api, &www].map(|of| KeyWatch::new(&stand, of));
    // Also where it is done again.
    for again in [false, true] {
        stand.step(&rollout, RolloutStep::Stage).await.unwrap();
        assert_eq!(
            keys.each_mut().map(KeyWatch::was_read),
            [false, true],
            "{again}"
        );
    }
    keys[0].assert_sees();
    let rollout = stand.drive(rollout).await;
    stand.live_now(&rollout);
    for (name, of) in [("api", &api), ("www", &www)] {
        for (certificate, key) in places(&stand, name) {
            assert_eq!(serial_in(&certificate), stand.serial(of));
            assert!(is_pair(&certificate, &key), "{name}");
        }
    }
    assert_eq!(stand.drift(), None);
}

/// What the generation before has not, or not as it was, is made from the revision, with its key.
#[tokio::test]
async fn a_stage_reads_every_key_that_something_is_made_with() {
    let keystore = |stand: &mut Stand| {
        stand.target.exports.push(ExportSpec {
            name: "store".to_owned(),
            kind: ExportKind::Pfx {
                path: "store.pfx".into(),
                profile: PfxProfile::Modern,
                alias: "it".into(),
                password: PasswordSource::Generated,
            },
            attributes: FileAttributes::default(),
        });
    };
    let another = |stand: &mut Stand| {
        stand
            .target
            .exports
            .push(pem("more", "more.pem", "more.key"));
    };
    let damaged = |stand: &mut Stand| {
        let [(_, key), _] = places(stand, "api");
        fs::write(key, "damaged").unwrap();
    };
    type Case<'a> = (&'a str, &'a dyn Fn(&mut Stand), Option<&'a str>);
    let cases: [Case<'_>; 3] = [
        ("keystore", &keystore, Some("store.pfx")),
        ("another", &another, Some("more.key")),
        ("damaged", &damaged, None),
    ];
    for (case, change, file) in cases {
        let dir = tempfile::tempdir().unwrap();
        let (mut stand, [api, _]) = both_live(dir.path()).await;
        change(&mut stand);
        let (www, rollout) = renewal(&mut stand, &api);
        let mut keys = [&api, &www].map(|of| KeyWatch::new(&stand, of));
        stand.step(&rollout, RolloutStep::Stage).await.unwrap();
        assert_eq!(
            keys.each_mut().map(KeyWatch::was_read),
            [true, true],
            "{case}"
        );
        let rollout = stand.drive(rollout).await;
        stand.live_now(&rollout);
        for name in ["api", "www"] {
            let (certificate, key) = &places(&stand, name)[0];
            assert!(is_pair(certificate, key), "{case}: {name}");
            if let Some(file) = file {
                assert!(stand.live_path(name).join(file).exists(), "{case}: {name}");
            }
        }
        assert_eq!(stand.drift(), None, "{case}");
    }
}

/// What was carried over at an attempt that failed is gone with it, once it is theirs no more.
#[tokio::test]
async fn what_is_spared_no_more_is_ours_again_at_the_next_attempt() {
    let dir = tempfile::tempdir().unwrap();
    let (mut stand, [api, _]) = both_live(dir.path()).await;
    let [(certificate, key), _] = places(&stand, "api");
    let ours = [fs::read(&certificate).unwrap(), fs::read(&key).unwrap()];
    let since = Validity(now() - Seconds::hours(1), now() + Seconds::days(60));
    let theirs = stand.material(&["api.test"], KeyAlgorithm::EcP256, since);
    fs::write(&certificate, theirs.leaf_pem()).unwrap();
    fs::write(&key, theirs.key.to_pem().expose()).unwrap();
    let (_, rollout) = renewal(&mut stand, &api);
    stand.step(&rollout, RolloutStep::Stage).await.unwrap();
    fs::write(&certificate, &ours[0]).unwrap();
    fs::write(&key, &ours[1]).unwrap();
    stand.step(&rollout, RolloutStep::Stage).await.unwrap();
    stand.step(&rollout, RolloutStep::Commit).await.unwrap();
    for (certificate, key) in places(&stand, "api") {
        assert_eq!(serial_in(&certificate), stand.serial(&api));
        assert!(is_pair(&certificate, &key));
    }
}

#[tokio::test]
async fn those_that_would_be_replaced_are_all_named() {
    let dir = tempfile::tempdir().unwrap();
    let (mut stand, [api, www]) = both_live(dir.path()).await;
    for (name, of) in [("api", "api.test"), ("www", "www.test")] {
        let hour = Validity(now() - Seconds::hours(1), now() + Seconds::days(60));
        let theirs = stand.material(&[of], KeyAlgorithm::EcP256, hour);
        let (certificate, key) = &places(&stand, name)[1];
        fs::write(certificate, theirs.leaf_pem()).unwrap();
        fs::write(key, theirs.key.to_pem().expose()).unwrap();
    }
    // Issued before theirs.
    let old = Validity(now() - Seconds::hours(9), now() + Seconds::days(60));
    let newer = ["api", "www"]
        .map(|name| stand.issue_as(name, &[&format!("{name}.test")], KeyAlgorithm::EcP256, old));
    let rollout = stand.open(&newer);
    let error = stand.step(&rollout, RolloutStep::Stage).await.unwrap_err();
    assert_eq!(error.named, [api.0, www.0].into());
}

#[tokio::test]
async fn a_damaged_revision_of_one_that_stays_holds_back_nobody() {
    let damages: [(&str, &[u8]); 3] = [
        ("key.pem", b"-----BEGIN PRIVATE KEY-----\n"),
        ("cert.pem", b""),
        (
            "chain.pem",
            b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        ),
    ];
    for (file, content) in damages {
        let dir = tempfile::tempdir().unwrap();
        let (mut stand, [api, _]) = both_live(dir.path()).await;
        let serial = stand.serial(&api);
        let stored = dir.path().join("state/revisions/api").join(api.1.as_str());
        fs::write(stored.join(file), content).unwrap();
        let fault = stand.deployer.materials().revision_fault(&api.0, &api.1);
        assert!(fault.unwrap().contains("damaged"), "{file}");
        let before = places(&stand, "api").map(|(path, _)| fs::read(path).unwrap());

        let (www, rollout) = renewal(&mut stand, &api);
        let rollout = stand.drive(rollout).await;
        stand.live_now(&rollout);
        for (at, (certificate, key)) in places(&stand, "api").into_iter().enumerate() {
            assert_eq!(fs::read(&certificate).unwrap(), before[at]);
            assert_eq!(serial_in(&certificate), serial);
            assert!(is_pair(&certificate, &key), "{file}");
        }
        for (certificate, key) in places(&stand, "www") {
            assert_eq!(serial_in(&certificate), stand.serial(&www));
            assert!(is_pair(&certificate, &key));
        }
        assert_eq!(stand.drift(), None, "{file}");

        // Where it is itself to go in, it is named.
        let later = stand.issue("api", &["api.test"]);
        let stored = dir
            .path()
            .join("state/revisions/api")
            .join(later.1.as_str());
        fs::write(stored.join(file), content).unwrap();
        let rollout = stand.open(&[later.clone(), www]);
        let error = stand.step(&rollout, RolloutStep::Stage).await.unwrap_err();
        assert_eq!(error.named, [later.0].into(), "{error}");
    }
}
