//! Keystores that somebody else put where one of ours belongs: those that the export's password opens are understood, of
//! the others nobody can say what is in them.
#![expect(clippy::disallowed_methods, reason = "tests arrange files directly")]

use std::fs;
use std::path::{Path, PathBuf};

use renewd::model::{
    DriftKind, ExportKind, ExportSpec, FileAttributes, KeyAlgorithm, PasswordSource, PfxProfile,
    Probe, RolloutEvent, RolloutPhase, RolloutStep, Seconds, SecretRef,
};
use renewd::pki::{Material, Secret, jks, pfx};

use crate::deploy::probe::{certified, config, serve_at};
use crate::deploy::stand::{Stand, class, now};
use crate::support::certs::Validity;

/// The stand's secrets are what they are called.
const PASSWORD: &str = "of-the-policy";

#[derive(Debug, Clone, Copy, PartialEq)]
enum Form {
    Pfx,
    Jks,
}

fn export(form: Form, path: &Path) -> ExportSpec {
    let password = PasswordSource::Given(SecretRef::Env(PASSWORD.into()));
    let kind = match form {
        Form::Pfx => ExportKind::Pfx {
            path: path.to_owned(),
            profile: PfxProfile::Modern,
            alias: "www".into(),
            password,
        },
        Form::Jks => ExportKind::Jks {
            path: path.to_owned(),
            alias: "www".into(),
            password,
        },
    };
    ExportSpec {
        name: "store".into(),
        kind,
        attributes: FileAttributes::default(),
    }
}

fn store(form: Form, material: &Material, password: &str) -> Vec<u8> {
    let password = Secret::from(password.to_owned());
    let bytes = match form {
        Form::Pfx => pfx::write(material, "theirs", PfxProfile::Modern, Some(&password)),
        Form::Jks => jks::write(material, "theirs", Some(&password)),
    };
    bytes.unwrap().expose().to_vec()
}

fn issued(stand: &Stand, names: &[&str], age: Seconds) -> Material {
    let validity = Validity(now() - age, now() + Seconds::days(60));
    stand.material(names, KeyAlgorithm::EcP256, validity)
}

#[tokio::test]
async fn a_newer_certificate_in_a_keystore_is_found_and_not_overwritten() {
    for form in [Form::Pfx, Form::Jks] {
        let dir = tempfile::tempdir().unwrap();
        let path: PathBuf = dir.path().join("etc/www.store");
        let mut stand = Stand::new(dir.path(), vec![export(form, &path)]);
        let ours = stand.issue("www", &["www.test"]);
        let rollout = stand.open(std::slice::from_ref(&ours));
        let rollout = stand.drive(rollout).await;
        stand.live_now(&rollout);
        let was = fs::read(&path).unwrap();
        let hour = Seconds::hours(1);

        let newer = store(form, &issued(&stand, &["www.test"], hour), PASSWORD);
        fs::write(&path, &newer).unwrap();
        assert_eq!(stand.kinds(), [DriftKind::NewerElsewhere], "{form:?}");
        let again = stand.open(std::slice::from_ref(&ours));
        let error = stand.step(&again, RolloutStep::Stage).await.unwrap_err();
        assert!(error.message.contains("--force"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), newer);

        // What is older, of other names, or cut off is damage.
        let older = store(
            form,
            &issued(&stand, &["www.test"], Seconds::days(3)),
            PASSWORD,
        );
        let other = store(form, &issued(&stand, &["other.test"], hour), PASSWORD);
        let cut_off = newer[..newer.len() - 30].to_vec();
        for damage in [older, other, cut_off, b"x".to_vec(), Vec::new()] {
            fs::write(&path, &damage).unwrap();
            assert_eq!(stand.kinds(), [DriftKind::FileEdited], "{form:?}");
            assert!(!stand.sealed(), "{form:?}: {:?}", stand.drift());
        }

        // Of one with another password nobody can say; it stays until a person or a renewal replaces it.
        let sealed = store(form, &issued(&stand, &["www.test"], hour), "of-somebody");
        fs::write(&path, &sealed).unwrap();
        assert_eq!(stand.kinds(), [DriftKind::FileEdited], "{form:?}");
        assert!(stand.sealed(), "{form:?}: {:?}", stand.drift());
        let again = stand.open(std::slice::from_ref(&ours));
        let error = stand.step(&again, RolloutStep::Stage).await.unwrap_err();
        assert!(error.message.contains("does not open it"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), sealed);
        stand.overwrite = [ours.0.clone()].into();
        let forced = stand.open(std::slice::from_ref(&ours));
        let forced = stand.drive(forced).await;
        stand.live_now(&forced);
        assert_eq!(stand.drift(), None);
        if form == Form::Jks {
            assert_eq!(fs::read(&path).unwrap(), was, "byte for byte");
        }
        stand.overwrite.clear();

        fs::write(&path, &sealed).unwrap();
        let written = fs::File::options().write(true).open(&path).unwrap();
        let hours_ago = std::time::SystemTime::UNIX_EPOCH
            + std::time::Duration::from_secs(u64::try_from((now() - Seconds::hours(2)).0).unwrap());
        written.set_modified(hours_ago).unwrap();
        let validity = Validity(now() - Seconds::hours(1), now() + Seconds::days(60));
        let later = stand.issue_as("www", &["www.test"], KeyAlgorithm::EcP256, validity);
        let rollout = stand.open(std::slice::from_ref(&later));
        let rollout = stand.drive(rollout).await;
        stand.live_now(&rollout);
    }
}

#[tokio::test]
async fn a_keystore_that_came_while_a_rollout_waited_is_not_overwritten_either() {
    for (password, says) in [
        (PASSWORD, "later than serial"),
        ("other", "does not open it"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("etc/www.p12");
        let mut stand = Stand::new(dir.path(), vec![export(Form::Pfx, &path)]);
        let ours = stand.issue("www", &["www.test"]);
        let rollout = stand.open(std::slice::from_ref(&ours));
        for step in [RolloutStep::Stage, RolloutStep::Commit] {
            stand.step(&rollout, step).await.unwrap();
        }
        let theirs = store(
            Form::Pfx,
            &issued(&stand, &["www.test"], Seconds(60)),
            password,
        );
        fs::write(&path, &theirs).unwrap();
        let error = stand.step(&rollout, RolloutStep::Test).await.unwrap_err();
        assert!(error.message.contains(says), "{error}");
        assert_eq!(error.named, [ours.0.clone()].into());
        assert_eq!(fs::read(&path).unwrap(), theirs);
    }
}

/// A service that was given a keystore by its administrator before renewd came: the way back is proven by what was in it.
#[tokio::test(flavor = "multi_thread")]
async fn the_way_back_to_a_former_keystore_is_proven_by_its_own_certificate() {
    for (password, opens) in [(PASSWORD, true), ("of-somebody", false)] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("etc/www.p12");
        let mut stand = Stand::new(dir.path(), vec![export(Form::Pfx, &path)]);
        fs::create_dir(dir.path().join("etc")).unwrap();
        let former = issued(&stand, &["www.test"], Seconds::days(5));
        fs::write(&path, store(Form::Pfx, &former, password)).unwrap();
        let new = stand.issue("www", &["www.test"]);
        let material = stand
            .deployer
            .materials()
            .load_revision(&new.0, &new.1)
            .unwrap();
        let other = issued(&stand, &["www.test"], Seconds::days(4));
        let mut rollout = stand.open(std::slice::from_ref(&new));
        for step in [RolloutStep::Stage, RolloutStep::Commit] {
            stand.step(&rollout, step).await.unwrap();
        }
        rollout.phase = RolloutPhase::Reloaded;
        stand.step(&rollout, RolloutStep::Restore).await.unwrap();
        for (served, fits) in [
            (&former, true),
            // Nobody can say more of a keystore that does not open than that the new one must be gone.
            (&other, !opens),
            (&material, false),
        ] {
            let served = config(vec![certified(served, served)], rustls::ALL_VERSIONS, None);
            let (address, _) = serve_at("127.0.0.1:0", served, std::time::Duration::ZERO).await;
            stand.target.probe = Probe::Tls {
                connect: address.into(),
                deadline: Seconds(1),
                roots: None,
                wildcard_label: "x".into(),
                prelude: renewd::model::Prelude::default(),
            };
            let back = stand.step(&rollout, RolloutStep::VerifyBack).await;
            match back {
                Ok(RolloutEvent::VerifiedBack { reports, .. }) => {
                    assert!(fits, "{password}");
                    assert_eq!(reports.len(), 1);
                }
                Ok(other) => panic!("{other:?}"),
                Err(error) => {
                    assert!(!fits, "{password}: {error}");
                    class(&error, renewd::model::ErrorClass::Configuration);
                }
            }
        }
    }
}
