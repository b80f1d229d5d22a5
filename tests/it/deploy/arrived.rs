//! What somebody else puts at the places of a rollout while it waits: what is newer stays, and no key is lost.
#![expect(clippy::disallowed_methods, reason = "tests arrange files directly")]

use std::fs;
use std::path::{Path, PathBuf};

use renewd::model::{
    CertificateId, ErrorClass, KeyAlgorithm, Rollout, RolloutPhase, RolloutStep, Seconds,
};
use renewd::pki::Material;

use crate::deploy::served::{Served, Variant};
use crate::deploy::stand::{Stand, class, is_pair, now, pem, serial_in};
use crate::support::certs::Validity;

/// A pair of somebody else for these names, from so long ago.
fn foreign(stand: &Stand, names: &[&str], age: Seconds) -> Material {
    let validity = Validity(now() - age, now() + Seconds::days(60));
    stand.material(names, KeyAlgorithm::EcP256, validity)
}

fn serial(material: &Material) -> String {
    renewd::pki::facts(&material.leaf).unwrap().serial
}

/// As a person copies it.
fn install(material: &Material, chain: &Path, key: &Path) {
    let text = material.leaf_pem() + &material.chain_pem();
    fs::write(chain, text).unwrap();
    fs::write(key, material.key.to_pem().expose()).unwrap();
}

fn www() -> CertificateId {
    CertificateId::new("www").unwrap()
}

/// Copies that a rollout kept of what it found.
fn found(stand: &Stand, rollout: &Rollout) -> Vec<Vec<u8>> {
    let at = format!(
        "state/targets/web/generations/{}/.renewd/found",
        rollout.generation
    );
    let Ok(entries) = fs::read_dir(stand.dir.join(at)) else {
        return Vec::new();
    };
    let mut all: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    all.sort();
    all.into_iter()
        .map(|path| fs::read(path).unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_pair_that_came_while_a_rollout_waits_for_its_service_stays() {
    let dir = tempfile::tempdir().unwrap();
    let (mut served, _) = Served::running(dir.path(), Variant::Loose).await;
    served.nginx.stop();
    let new = served.issue();
    let waiting = served.roll(&new).await;
    assert_eq!(waiting.phase.code(), "awaiting-service");

    let theirs = foreign(&served.stand, &["www.test", "127.0.0.1"], Seconds(60));
    let chain = served.file("www");
    let key = chain.with_file_name("key.pem");
    install(&theirs, &chain, &key);
    served.nginx.start();
    for step in [RolloutStep::Test, RolloutStep::Reload] {
        let error = served.stand.step(&waiting, step).await.unwrap_err();
        class(&error, ErrorClass::Rejected);
        assert_eq!(error.named, [www()].into(), "{error}");
        assert!(
            error.message.contains("renewd release www --force"),
            "{error}"
        );
        assert_eq!(serial_in(&chain), serial(&theirs));
        assert!(is_pair(&chain, &key));
    }
    let waiting = served.stand.fail(&waiting, RolloutStep::Test).await;
    assert_eq!(waiting.phase.code(), "awaiting-service");
    assert_eq!(served.served("www.test").await, serial(&theirs));
    // It started with what was in place for it.
    assert_eq!(
        served.served("shop.test").await,
        served.stand.serial(&new[1])
    );
}

/// Nobody can say then what is newer, and their key may be nowhere else.
#[tokio::test(flavor = "multi_thread")]
async fn what_came_stays_where_what_is_stored_of_ours_cannot_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let (mut served, _) = Served::running(dir.path(), Variant::Loose).await;
    served.nginx.stop();
    let new = served.issue();
    let waiting = served.roll(&new).await;
    assert_eq!(waiting.phase.code(), "awaiting-service");
    let theirs = foreign(&served.stand, &["www.test", "127.0.0.1"], Seconds(60));
    let chain = served.file("www");
    let key = chain.with_file_name("key.pem");
    install(&theirs, &chain, &key);
    let revision = &waiting.revisions[&www()];
    let stored = dir
        .path()
        .join("state/revisions/www")
        .join(revision.as_str());
    for entry in fs::read_dir(stored).unwrap() {
        fs::write(entry.unwrap().path(), "no PEM").unwrap();
    }
    served.nginx.start();
    for step in [RolloutStep::Test, RolloutStep::Reload] {
        let error = served.stand.step(&waiting, step).await.unwrap_err();
        class(&error, ErrorClass::Rejected);
        assert_eq!(error.named, [www()].into(), "{error}");
        assert_eq!(serial_in(&chain), serial(&theirs));
        assert!(is_pair(&chain, &key));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_pair_that_came_after_the_commit_is_left_alone_on_the_way_back() {
    for variant in [Variant::Loose, Variant::Live] {
        let dir = tempfile::tempdir().unwrap();
        let (mut served, old) = Served::running(dir.path(), variant).await;
        let new = served.issue();
        let mut rollout = served.stand.open(&new);
        for step in [RolloutStep::Stage, RolloutStep::Commit] {
            served.stand.step(&rollout, step).await.unwrap();
        }
        rollout.phase = RolloutPhase::Tested;
        let theirs = foreign(&served.stand, &["www.test", "127.0.0.1"], Seconds(60));
        let chain = served.file("www");
        let key = chain.with_file_name("key.pem");
        install(&theirs, &chain, &key);

        let undoing = served.stand.fail(&rollout, RolloutStep::Reload).await;
        assert_eq!(undoing.phase.code(), "undo-decided");
        let undone = served.stand.drive(undoing).await;
        assert_eq!(serial_in(&chain), serial(&theirs), "{:?}", served.stand.log);
        assert!(is_pair(&chain, &key));
        assert_eq!(served.served("www.test").await, serial(&theirs));
        let (ends, shop) = match variant {
            Variant::Loose => ("rolled-back", &old[1]),
            // One link for all: it stays where the newer one is, and a way back that was not gone is told.
            Variant::Live => ("rollback-failed", &new[1]),
        };
        assert_eq!(undone.phase.code(), ends, "{:?}", served.stand.log);
        assert_eq!(served.served("shop.test").await, served.stand.serial(shop));
    }
}

#[tokio::test]
async fn what_came_and_is_not_newer_is_replaced_and_a_copy_of_it_kept() {
    let dir = tempfile::tempdir().unwrap();
    let etc = dir.path().join("etc");
    let at = |name: &str| etc.join(name).display().to_string();
    let mut stand = Stand::new(dir.path(), vec![pem("pem", &at("www.pem"), &at("www.key"))]);
    let (chain, key) = (etc.join("www.pem"), etc.join("www.key"));
    let old = stand.issue("www", &["www.test"]);
    let rollout = stand.open(std::slice::from_ref(&old));
    let rollout = stand.drive(rollout).await;
    stand.live_now(&rollout);
    let new = stand.issue("www", &["www.test"]);
    let rollout = stand.open(std::slice::from_ref(&new));
    for step in [RolloutStep::Stage, RolloutStep::Commit] {
        stand.step(&rollout, step).await.unwrap();
    }
    assert_eq!(found(&stand, &rollout), Vec::<Vec<u8>>::new());

    let earlier = foreign(&stand, &["www.test"], Seconds::days(9));
    install(&earlier, &chain, &key);
    let lost = fs::read(&key).unwrap();
    stand.step(&rollout, RolloutStep::Test).await.unwrap();
    assert_eq!(serial_in(&chain), stand.serial(&new));
    assert!(is_pair(&chain, &key));
    let kept = found(&stand, &rollout);
    assert_eq!(kept.len(), 2, "key and certificate");
    assert!(kept.contains(&lost));
    // Once more finds nothing more.
    stand.step(&rollout, RolloutStep::Test).await.unwrap();
    assert_eq!(found(&stand, &rollout), kept);

    // On the way back too, and the one that was saved comes back.
    let other = foreign(&stand, &["www.test"], Seconds::days(8));
    install(&other, &chain, &key);
    let lost = fs::read(&key).unwrap();
    stand.step(&rollout, RolloutStep::Restore).await.unwrap();
    assert_eq!(serial_in(&chain), stand.serial(&old));
    assert!(is_pair(&chain, &key));
    assert!(found(&stand, &rollout).contains(&lost));
    stand.step(&rollout, RolloutStep::Restore).await.unwrap();
    assert_eq!(found(&stand, &rollout).len(), 4);
}

#[tokio::test]
async fn a_newer_pair_that_came_before_the_commit_of_a_staged_set_stays_unless_a_person_says_otherwise()
 {
    let dir = tempfile::tempdir().unwrap();
    let etc = dir.path().join("etc");
    let at = |name: &str| etc.join(name).display().to_string();
    let mut stand = Stand::new(dir.path(), vec![pem("pem", &at("www.pem"), &at("www.key"))]);
    let (chain, key) = (etc.join("www.pem"), etc.join("www.key"));
    let ours = stand.issue("www", &["www.test"]);
    let rollout = stand.open(std::slice::from_ref(&ours));
    stand.step(&rollout, RolloutStep::Stage).await.unwrap();
    let theirs = foreign(&stand, &["www.test"], Seconds(60));
    install(&theirs, &chain, &key);
    let error = stand.step(&rollout, RolloutStep::Commit).await.unwrap_err();
    assert_eq!(error.named, [www()].into(), "{error}");
    assert_eq!(serial_in(&chain), serial(&theirs));

    stand.overwrite = [www()].into();
    let forced = stand.open(std::slice::from_ref(&ours));
    for step in [RolloutStep::Stage, RolloutStep::Commit] {
        stand.step(&forced, step).await.unwrap();
    }
    assert_eq!(serial_in(&chain), stand.serial(&ours));
    // What a person wants replaced is replaced again, were it put there once more.
    install(&theirs, &chain, &key);
    stand.step(&forced, RolloutStep::Test).await.unwrap();
    assert_eq!(serial_in(&chain), stand.serial(&ours));
}
