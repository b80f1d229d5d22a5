//! What is on disk after each step, without any service.
#![expect(clippy::disallowed_methods, reason = "tests arrange files directly")]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use renewd::model::{
    DriftKind, ErrorClass, ExportKind, ExportLayout, ExportSpec, FileAttributes, KeyAlgorithm,
    PasswordSource, PfxProfile, RolloutStep, Seconds, SecretRef, TrustFormat,
};
use renewd::pki::Secret;

use crate::deploy::stand::{Stand, class, is_pair, now, pem, serial_in};
use crate::support::certs::Validity;
use crate::support::reader::Reader;

fn inode(path: &Path) -> u64 {
    fs::symlink_metadata(path).unwrap().ino()
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

/// Names in a directory, dot files included.
fn names(path: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(path)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn pfx(path: &str) -> ExportSpec {
    ExportSpec {
        name: "pfx".into(),
        kind: ExportKind::Pfx {
            path: path.into(),
            profile: PfxProfile::Modern,
            alias: "www".into(),
            password: PasswordSource::Generated,
        },
        attributes: FileAttributes::default(),
    }
}

#[tokio::test]
async fn a_set_goes_live_by_its_link_and_an_equal_one_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut stand = Stand::new(
        dir.path(),
        vec![pem("pem", "tls/fullchain.pem", "tls/key.pem")],
    );
    let (www, shop) = (
        stand.issue("www", &["www.test"]),
        stand.issue("shop", &["shop.test"]),
    );
    let set = [www.clone(), shop.clone()];
    let rollout = stand.open(&set);
    stand.step(&rollout, RolloutStep::Stage).await.unwrap();
    assert!(
        !stand.live_path("").exists(),
        "staging shows nobody anything"
    );
    let rollout = stand.drive(rollout).await;
    stand.live_now(&rollout);
    assert_eq!(
        stand.steps(),
        ["stage", "commit", "test", "reload", "verify", "close"]
    );
    for revision in &set {
        let at = |name: &str| stand.live_path(&format!("{}/tls/{name}", revision.0));
        assert_eq!(serial_in(&at("fullchain.pem")), stand.serial(revision));
        assert!(is_pair(&at("fullchain.pem"), &at("key.pem")));
        assert_eq!(
            (mode(&at("key.pem")), mode(&at("fullchain.pem"))),
            (0o600, 0o644)
        );
    }
    let generation = dir.path().join("state/targets/web/generations/1");
    for passable in [
        generation.as_path(),
        &generation.join("www"),
        &generation.join("www/tls"),
    ] {
        assert_eq!(mode(passable), 0o711, "{}", passable.display());
    }
    assert_eq!(mode(&generation.join(".renewd")), 0o700);
    assert_eq!(stand.drift(), None);
    let current = |set: &[_]| {
        stand
            .deployer
            .is_current(&stand.target, &set.iter().cloned().collect())
    };
    assert!(current(&set));
    assert!(!current(&set[..1]));

    // Every step once more: a crash before the journal knew.
    let before = inode(&stand.live_path("www/tls/key.pem"));
    for step in [
        RolloutStep::Stage,
        RolloutStep::Commit,
        RolloutStep::Test,
        RolloutStep::Reload,
        RolloutStep::Close,
    ] {
        stand.step(&rollout, step).await.unwrap();
    }
    assert_eq!(inode(&stand.live_path("www/tls/key.pem")), before);
}

#[tokio::test]
async fn undo_returns_to_the_generation_before_and_is_repeatable() {
    let dir = tempfile::tempdir().unwrap();
    let loose = dir.path().join("etc");
    let at = |name: &str| loose.join(name).display().to_string();
    let exports = vec![
        pem("live", "fullchain.pem", "key.pem"),
        pem("loose", &at("{certificate}.pem"), &at("{certificate}.key")),
    ];
    let mut stand = Stand::new(dir.path(), exports);
    let old = stand.issue("www", &["www.test"]);
    let rollout = stand.open(std::slice::from_ref(&old));
    let rollout = stand.drive(rollout).await;
    stand.live_now(&rollout);
    assert_eq!(names(&loose), ["www.key", "www.pem"]);
    let before = inode(&loose.join("www.key"));

    let new = stand.issue("www", &["www.test"]);
    let rollout = stand.open(std::slice::from_ref(&new));
    for step in [RolloutStep::Stage, RolloutStep::Commit] {
        stand.step(&rollout, step).await.unwrap();
    }
    let shown = |path: &Path| serial_in(path);
    assert_eq!(shown(&loose.join("www.pem")), stand.serial(&new));
    assert_eq!(
        shown(&stand.live_path("www/fullchain.pem")),
        stand.serial(&new)
    );
    assert!(stand.deployer.has_previous(&rollout, now()));
    for _ in 0..2 {
        stand.step(&rollout, RolloutStep::Restore).await.unwrap();
        assert_eq!(shown(&loose.join("www.pem")), stand.serial(&old));
        assert_eq!(
            shown(&stand.live_path("www/fullchain.pem")),
            stand.serial(&old)
        );
        assert!(is_pair(&loose.join("www.pem"), &loose.join("www.key")));
        assert_eq!(inode(&loose.join("www.key")), before, "the very same file");
    }
    assert_eq!(
        names(&loose),
        ["www.key", "www.pem"],
        "nothing waits any more"
    );
    assert_eq!(stand.drift(), None);
}

#[tokio::test]
async fn what_was_at_loose_places_before_comes_back_whatever_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let etc = dir.path().join("etc");
    fs::create_dir(&etc).unwrap();
    let at = |name: &str| etc.join(name).display().to_string();
    let mut stand = Stand::new(
        dir.path(),
        vec![
            pem("one", &at("file.pem"), &at("link.key")),
            pem("two", &at("new/none.pem"), &at("none.key")),
        ],
    );
    fs::write(etc.join("file.pem"), "by hand").unwrap();
    fs::set_permissions(etc.join("file.pem"), fs::Permissions::from_mode(0o640)).unwrap();
    fs::write(etc.join("aim"), "aim").unwrap();
    symlink("aim", etc.join("link.key")).unwrap();
    let new = stand.issue("www", &["www.test"]);
    let rollout = stand.open(std::slice::from_ref(&new));
    for step in [RolloutStep::Stage, RolloutStep::Commit] {
        stand.step(&rollout, step).await.unwrap();
    }
    assert_eq!(serial_in(&etc.join("file.pem")), stand.serial(&new));
    assert!(is_pair(&etc.join("new/none.pem"), &etc.join("none.key")));
    assert_eq!(
        fs::read(etc.join("aim")).unwrap(),
        b"aim",
        "a link is replaced, not followed"
    );
    assert!(
        stand.deployer.has_previous(&rollout, now()),
        "there are originals"
    );
    stand.step(&rollout, RolloutStep::Restore).await.unwrap();
    assert_eq!(fs::read(etc.join("file.pem")).unwrap(), b"by hand");
    assert_eq!(mode(&etc.join("file.pem")), 0o640);
    assert_eq!(
        fs::read_link(etc.join("link.key")).unwrap(),
        Path::new("aim")
    );
    assert_eq!(names(&etc), ["aim", "file.pem", "link.key", "new"]);
    assert!(names(&etc.join("new")).is_empty());
    assert!(fs::symlink_metadata(stand.live_path("")).is_err());
}

#[tokio::test]
async fn a_first_set_where_nothing_was_has_nothing_to_return_to() {
    let dir = tempfile::tempdir().unwrap();
    let mut stand = Stand::new(dir.path(), vec![pem("pem", "fullchain.pem", "key.pem")]);
    stand.target.test = Some(vec!["/bin/false".into()]);
    let new = stand.issue("www", &["www.test"]);
    let rollout = stand.open(std::slice::from_ref(&new));
    let rollout = stand.drive(rollout).await;
    assert_eq!(rollout.phase.code(), "awaiting-service");
    assert!(!stand.error(RolloutStep::Test).restorable);
    assert_eq!(
        serial_in(&stand.live_path("www/fullchain.pem")),
        stand.serial(&new)
    );
}

#[tokio::test]
async fn an_expired_set_is_nothing_to_return_to() {
    let dir = tempfile::tempdir().unwrap();
    let mut stand = Stand::new(dir.path(), vec![pem("pem", "fullchain.pem", "key.pem")]);
    let past = Validity(now() - Seconds::days(9), now() - Seconds::hours(1));
    let old = stand.issue_as("www", &["www.test"], KeyAlgorithm::EcP256, past);
    let new = stand.issue("www", &["www.test"]);
    let then = now() - Seconds::hours(2);
    let rollout = stand.open(std::slice::from_ref(&old));
    for step in [RolloutStep::Stage, RolloutStep::Commit] {
        stand.step_at(&rollout, step, then).await.unwrap();
    }
    stand.live = [old].into();
    stand.generation = Some(rollout.generation);
    let rollout = stand.open(std::slice::from_ref(&new));
    assert!(!stand.deployer.has_previous(&rollout, now()));
    assert!(stand.deployer.has_previous(&rollout, then));
}

#[tokio::test]
async fn an_unchanged_certificate_is_not_written_again_when_another_changes() {
    let dir = tempfile::tempdir().unwrap();
    let etc = dir.path().join("etc");
    let at = |name: &str| etc.join(name).display().to_string();
    let exports = vec![
        pem("pem", &at("{certificate}.pem"), &at("{certificate}.key")),
        pfx(&at("{certificate}.pfx")),
        ExportSpec {
            name: "trust".into(),
            kind: ExportKind::Trust {
                path: at("{certificate}.p12").into(),
                format: TrustFormat::Pkcs12(PfxProfile::Modern),
                password: PasswordSource::Generated,
            },
            attributes: FileAttributes::default(),
        },
    ];
    let mut stand = Stand::new(dir.path(), exports);
    let (www, shop) = (
        stand.issue("www", &["www.test"]),
        stand.issue("shop", &["shop.test"]),
    );
    let rollout = stand.open(&[www.clone(), shop]);
    let rollout = stand.drive(rollout).await;
    stand.live_now(&rollout);
    let inodes = |name: &str| {
        ["pem", "key", "pfx", "p12"].map(|end| inode(&etc.join(format!("{name}.{end}"))))
    };
    assert_eq!(mode(&etc.join("www.pfx")), 0o600);
    assert_eq!(mode(&etc.join("www.p12")), 0o644, "there is no key in it");
    let (www_before, shop_before) = (inodes("www"), inodes("shop"));
    let pfx_before = fs::read(etc.join("www.pfx")).unwrap();
    let password = dir.path().join("state/secrets/web/pfx/www");
    let password_before = fs::read(&password).unwrap();
    assert_eq!(mode(&password), 0o600);

    let shop = stand.issue("shop", &["shop.test"]);
    let rollout = stand.open(&[www.clone(), shop]);
    let rollout = stand.drive(rollout).await;
    stand.live_now(&rollout);
    assert_eq!(inodes("www"), www_before);
    let changed = inodes("shop")
        .iter()
        .zip(shop_before)
        .map(|(now, before)| *now != before)
        .collect::<Vec<_>>();
    assert_eq!(changed, [true, true, true, false], "its CA is the same");
    assert_eq!(
        fs::read(etc.join("www.pfx")).unwrap(),
        pfx_before,
        "no new salts for nothing"
    );
    let secret =
        |name: &str| fs::read(dir.path().join("state/secrets/web/pfx").join(name)).unwrap();
    assert_eq!(secret("www"), password_before, "passwords survive renewals");
    assert_ne!(secret("www"), secret("shop"));
}

#[tokio::test]
async fn a_commit_that_was_cut_off_is_completed_before_test_and_reload() {
    let dir = tempfile::tempdir().unwrap();
    let etc = dir.path().join("etc");
    let at = |name: &str| etc.join(name).display().to_string();
    let mut stand = Stand::new(dir.path(), vec![pem("pem", &at("www.pem"), &at("www.key"))]);
    let old = stand.issue("www", &["www.test"]);
    let rollout = stand.open(std::slice::from_ref(&old));
    let rollout = stand.drive(rollout).await;
    stand.live_now(&rollout);
    let (old_cert, old_key) = (
        fs::read(etc.join("www.pem")).unwrap(),
        fs::read(etc.join("www.key")).unwrap(),
    );
    let new = stand.issue("www", &["www.test"]);
    let rollout = stand.open(std::slice::from_ref(&new));
    for step in [RolloutStep::Stage, RolloutStep::Commit] {
        stand.step(&rollout, step).await.unwrap();
    }
    let link = dir.path().join("state/targets/web/live");
    for step in [RolloutStep::Commit, RolloutStep::Test, RolloutStep::Reload] {
        for (file, content) in [("www.pem", &old_cert), ("www.key", &old_key)] {
            fs::write(etc.join(file), content).unwrap();
            fs::remove_file(&link).unwrap();
            symlink("generations/1", &link).unwrap();
            stand.step(&rollout, step).await.unwrap();
            assert_eq!(serial_in(&etc.join("www.pem")), stand.serial(&new));
            assert!(is_pair(&etc.join("www.pem"), &etc.join("www.key")));
            assert_eq!(fs::read_link(&link).unwrap(), Path::new("generations/2"));
        }
    }
    // The generation was there first, and is still what undo returns to.
    stand.step(&rollout, RolloutStep::Restore).await.unwrap();
    assert_eq!(fs::read(etc.join("www.pem")).unwrap(), old_cert);
}

#[tokio::test]
async fn unfit_revisions_are_refused_before_anything_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let mut stand = Stand::new(dir.path(), vec![pem("pem", "fullchain.pem", "key.pem")]);
    let past = Validity(now() - Seconds::days(9), now() - Seconds::days(1));
    let future = Validity(now() + Seconds::days(1), now() + Seconds::days(9));
    let expired = stand.issue_as("www", &["www.test"], KeyAlgorithm::EcP256, past);
    let early = stand.issue_as("www", &["www.test"], KeyAlgorithm::EcP256, future);
    let other_key = stand.issue("www", &["www.test"]);
    let torn = stand.issue("www", &["www.test"]);
    let stranger = stand.issue("www", &["www.test"]);
    let revisions = dir.path().join("state/revisions/www");
    let file = |revision: &(_, renewd::model::RevisionId), name: &str| {
        revisions.join(revision.1.as_str()).join(name)
    };
    fs::copy(file(&torn, "key.pem"), file(&other_key, "key.pem")).unwrap();
    fs::remove_file(file(&torn, "chain.pem")).unwrap();
    let elsewhere = Stand::new(&dir.path().join("elsewhere"), Vec::new());
    fs::write(
        file(&stranger, "chain.pem"),
        renewd::pki::pem::certificate(&elsewhere.ca.intermediate.der),
    )
    .unwrap();
    for (revision, says) in [
        (&expired, "expired at"),
        (&early, "not valid before"),
        (&other_key, "the key is not the certificate's"),
        (&torn, "chain.pem"),
        (&stranger, "the chain is broken"),
    ] {
        let rollout = stand.open(std::slice::from_ref(revision));
        let error = stand.step(&rollout, RolloutStep::Stage).await.unwrap_err();
        assert!(error.message.contains(says), "{says}: {}", error.message);
        assert!(!error.retry, "{error:?}");
        let rollout = stand.drive(rollout).await;
        assert_eq!(rollout.phase.code(), "abandoned");
    }
    let generations = dir.path().join("state/targets/web/generations");
    assert!(!generations.exists() || names(&generations).is_empty());
}

#[tokio::test]
async fn unusable_exports_say_which_and_why() {
    let dir = tempfile::tempdir().unwrap();
    let etc = dir.path().join("etc");
    fs::create_dir_all(etc.join("directory.pem")).unwrap();
    let at = |name: &str| etc.join(name).display().to_string();
    let unknown_user = ExportSpec {
        attributes: FileAttributes {
            owner: Some("no-such-user".into()),
            ..FileAttributes::default()
        },
        ..pem("who", "a.pem", "a.key")
    };
    let no_password = ExportSpec {
        name: "store".into(),
        kind: ExportKind::Layout {
            layout: ExportLayout::Tomcat,
            directory: "".into(),
            password: PasswordSource::Given(SecretRef::File("/no/such".into())),
        },
        attributes: FileAttributes::default(),
    };
    for (exports, says) in [
        (
            vec![pem("one", "a.pem", "a.key"), pem("two", "b.pem", "a.key")],
            "claimed by export one",
        ),
        (vec![pem("up", "../a.pem", "a.key")], "no usable path"),
        (
            vec![pem("dir", &at("directory.pem"), &at("a.key"))],
            "is no file",
        ),
        (vec![unknown_user], "no-such-user"),
        (vec![no_password], "password of export store"),
    ] {
        let mut stand = Stand::new(dir.path(), exports);
        let new = stand.issue("www", &["www.test"]);
        let rollout = stand.open(std::slice::from_ref(&new));
        let error = stand.step(&rollout, RolloutStep::Stage).await.unwrap_err();
        assert!(error.message.contains(says), "{says}: {}", error.message);
        class(&error, ErrorClass::Configuration);
        assert_eq!(
            names(&etc),
            ["directory.pem"],
            "no key stays beside its place"
        );
    }
}

#[tokio::test]
async fn owners_are_set_on_files_in_the_generation_and_on_loose_ones() {
    let dir = tempfile::tempdir().unwrap();
    let (uid, gid) = (
        nix::unistd::geteuid().as_raw(),
        nix::unistd::getegid().as_raw(),
    );
    // Only root may give files away; anybody may name himself.
    let (uid, gid) = if uid == 0 {
        (12_345, 54_321)
    } else {
        (uid, gid)
    };
    let attributes = FileAttributes {
        owner: Some(uid.to_string()),
        group: Some(gid.to_string()),
        key_mode: 0o640,
        mode: 0o444,
        ..FileAttributes::default()
    };
    let loose = dir.path().join("loose.pem").display().to_string();
    let mut stand = Stand::new(
        dir.path(),
        vec![ExportSpec {
            attributes,
            ..pem("pem", &loose, "key.pem")
        }],
    );
    let new = stand.issue("www", &["www.test"]);
    let rollout = stand.open(std::slice::from_ref(&new));
    let rollout = stand.drive(rollout).await;
    stand.live_now(&rollout);
    for (path, mode) in [
        (dir.path().join("loose.pem"), 0o444),
        (stand.live_path("www/key.pem"), 0o640),
    ] {
        let meta = fs::metadata(&path).unwrap();
        assert_eq!(
            (meta.uid(), meta.gid(), meta.mode() & 0o7777),
            (uid, gid, mode),
            "{}",
            path.display()
        );
    }
}

#[tokio::test]
async fn drift_is_told_by_path_and_a_mere_touch_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let loose = dir.path().join("loose.key");
    let mut stand = Stand::new(
        dir.path(),
        vec![pem("pem", "fullchain.pem", &loose.display().to_string())],
    );
    let new = stand.issue("www", &["www.test"]);
    let rollout = stand.open(std::slice::from_ref(&new));
    let rollout = stand.drive(rollout).await;
    stand.live_now(&rollout);
    assert_eq!(stand.drift(), None);
    let says = |stand: &Stand, what: &str| {
        let drift = stand.drift().unwrap_or_else(|| panic!("no drift: {what}"));
        assert!(drift.contains(what), "{what}: {drift}");
    };
    let key = fs::read(&loose).unwrap();
    fs::write(&loose, &key).unwrap();
    assert_eq!(stand.drift(), None, "the same content");
    fs::write(&loose, "something else").unwrap();
    says(&stand, "loose.key was changed");
    fs::remove_file(&loose).unwrap();
    says(&stand, "loose.key is missing");
    symlink("elsewhere", &loose).unwrap();
    says(&stand, "no regular file");
    assert_eq!(stand.kinds(), [DriftKind::LinkChanged]);
    fs::remove_file(&loose).unwrap();
    fs::write(&loose, &key).unwrap();
    fs::set_permissions(&loose, fs::Permissions::from_mode(0o644)).unwrap();
    says(&stand, "mode 0644, not 0600");
    assert_eq!(stand.kinds(), [DriftKind::KeyExposed]);
    fs::set_permissions(&loose, fs::Permissions::from_mode(0o400)).unwrap();
    assert_eq!(stand.kinds(), [DriftKind::AttributesChanged]);
    chown(&loose, Some(65534), None).unwrap();
    fs::set_permissions(&loose, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(
        stand.kinds(),
        [DriftKind::KeyExposed],
        "another owner reads it"
    );
    chown(&loose, Some(0), None).unwrap();
    fs::set_permissions(&loose, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(stand.drift(), None);
    let chain = stand.live_path("www/fullchain.pem");
    let mut bytes = fs::read(&chain).unwrap();
    bytes[100] ^= 1;
    fs::write(&chain, bytes).unwrap();
    says(&stand, "fullchain.pem was changed");
    let link = dir.path().join("state/targets/web/live");
    fs::remove_file(&link).unwrap();
    says(&stand, "live is missing");
    symlink("generations/7", &link).unwrap();
    says(&stand, "points at generations/7");
    assert_eq!(
        stand.kinds(),
        [DriftKind::LinkChanged, DriftKind::FileEdited],
        "every difference is told"
    );
}

/// A target with one pair outside of its generation, and where that is.
fn loose_pair(dir: &Path) -> (Stand, PathBuf, PathBuf) {
    let at = |name: &str| dir.join("etc").join(name);
    let (chain, key) = (at("www.pem"), at("www.key"));
    let text = |path: &Path| path.display().to_string();
    let exports = vec![pem("pem", &text(&chain), &text(&key))];
    (Stand::new(dir, exports), chain, key)
}

/// A pair of somebody else, from so long ago, in PEM.
fn foreign(stand: &Stand, names: &[&str], age: Seconds) -> (String, Vec<u8>, Secret) {
    let validity = Validity(now() - age, now() + Seconds::days(60));
    let material = stand.material(names, KeyAlgorithm::EcP256, validity);
    let serial = renewd::pki::facts(&material.leaf).unwrap().serial;
    (
        serial,
        material.leaf_pem().into_bytes(),
        material.key.to_pem(),
    )
}

#[tokio::test]
async fn only_a_valid_pair_for_the_same_names_that_was_issued_later_is_newer() {
    let dir = tempfile::tempdir().unwrap();
    let (mut stand, chain, key) = loose_pair(dir.path());
    let ours = stand.issue("www", &["www.test"]);
    let rollout = stand.open(std::slice::from_ref(&ours));
    let rollout = stand.drive(rollout).await;
    stand.live_now(&rollout);
    let hour = Seconds::hours(1);
    let (serial, leaf, secret) = foreign(&stand, &["www.test", "more.test"], hour);
    let put = |leaf: &[u8], secret: &Secret| {
        fs::write(&chain, leaf).unwrap();
        fs::write(&key, secret.expose()).unwrap();
    };
    put(&leaf, &secret);
    assert_eq!(stand.kinds(), [DriftKind::NewerElsewhere]);
    assert!(stand.drift().unwrap().contains(&serial));

    let others = [
        foreign(&stand, &["other.test"], hour),
        foreign(&stand, &["www.test"], Seconds::days(2)),
        foreign(&stand, &["www.test"], Seconds(-3600)),
        (
            String::new(),
            leaf.clone(),
            foreign(&stand, &["www.test"], hour).2,
        ),
    ];
    for (serial, leaf, secret) in &others {
        put(leaf, secret);
        assert_eq!(
            stand.kinds(),
            [DriftKind::FileEdited, DriftKind::FileEdited],
            "{serial}"
        );
    }

    // By a link, as other agents install theirs.
    fs::write(chain.with_file_name("theirs.pem"), &leaf).unwrap();
    fs::write(chain.with_file_name("theirs.key"), secret.expose()).unwrap();
    for (path, aim) in [(&chain, "theirs.pem"), (&key, "theirs.key")] {
        fs::remove_file(path).unwrap();
        symlink(aim, path).unwrap();
    }
    assert_eq!(stand.kinds(), [DriftKind::NewerElsewhere]);

    // A rollout of what is older stops before it changes anything, unless a person wants it.
    let again = stand.open(std::slice::from_ref(&ours));
    let error = stand.step(&again, RolloutStep::Stage).await.unwrap_err();
    assert!(
        error.message.contains("renewd release www --force"),
        "{error}"
    );
    assert_eq!(error.named, [ours.0.clone()].into());
    assert_eq!(fs::read_link(&chain).unwrap(), Path::new("theirs.pem"));
    stand.overwrite = [ours.0.clone()].into();
    let forced = stand.open(std::slice::from_ref(&ours));
    let forced = stand.drive(forced).await;
    stand.live_now(&forced);
    assert_eq!(serial_in(&chain), stand.serial(&ours));
    stand.overwrite.clear();
    assert_eq!(stand.drift(), None);
    put(&leaf, &secret);
    let recent = Validity(now() - Seconds::minutes(1), now() + Seconds::days(60));
    let later = stand.issue_as("www", &["www.test"], KeyAlgorithm::EcP256, recent);
    let rollout = stand.open(std::slice::from_ref(&later));
    let rollout = stand.drive(rollout).await;
    stand.live_now(&rollout);
    assert_eq!(
        serial_in(&chain),
        stand.serial(&later),
        "issued later still"
    );
}

#[tokio::test]
async fn a_first_rollout_does_not_replace_what_is_newer_either() {
    let dir = tempfile::tempdir().unwrap();
    let (mut stand, chain, key) = loose_pair(dir.path());
    let ours = stand.issue("www", &["www.test"]);
    let (_, leaf, secret) = foreign(&stand, &["www.test"], Seconds::hours(1));
    fs::create_dir(dir.path().join("etc")).unwrap();
    fs::write(&chain, &leaf).unwrap();
    fs::write(&key, secret.expose()).unwrap();
    let rollout = stand.open(std::slice::from_ref(&ours));
    let rollout = stand.drive(rollout).await;
    assert_eq!(rollout.phase.code(), "abandoned");
    assert_eq!(fs::read(&chain).unwrap(), leaf);
    assert_eq!(names(&dir.path().join("etc")), ["www.key", "www.pem"]);
}

#[tokio::test]
async fn what_was_merely_touched_is_read_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut stand = Stand::new(dir.path(), vec![pem("pem", "fullchain.pem", "key.pem")]);
    let new = stand.issue("www", &["www.test"]);
    let rollout = stand.open(std::slice::from_ref(&new));
    let rollout = stand.drive(rollout).await;
    stand.live_now(&rollout);
    let path = stand.live_path("www/fullchain.pem");
    let seen = dir
        .path()
        .join("state/targets/web/generations/1/.renewd/seen.json");
    let before = fs::read(&seen).unwrap();
    assert_eq!(stand.drift(), None);
    assert_eq!(fs::read(&seen).unwrap(), before);
    fs::write(&path, fs::read(&path).unwrap()).unwrap();
    assert_eq!(stand.drift(), None);
    let after = fs::read(&seen).unwrap();
    assert_ne!(after, before, "how it looks now is right");
    let written = inode(&seen);
    assert_eq!(stand.drift(), None);
    assert_eq!(inode(&seen), written, "nothing is written for nothing");
    fs::write(&path, "by hand").unwrap();
    assert_eq!(stand.kinds(), [DriftKind::FileEdited]);
    assert_eq!(
        fs::read(&seen).unwrap(),
        after,
        "never how a wrong one looks"
    );
}

#[tokio::test]
async fn old_generations_go_and_those_that_matter_stay() {
    let dir = tempfile::tempdir().unwrap();
    let mut stand = Stand::new(dir.path(), vec![pem("pem", "fullchain.pem", "key.pem")]);
    for _ in 0..9 {
        let new = stand.issue("www", &["www.test"]);
        let rollout = stand.open(std::slice::from_ref(&new));
        let rollout = stand.drive(rollout).await;
        stand.live_now(&rollout);
    }
    assert_eq!(
        names(&dir.path().join("state/targets/web/generations")),
        ["5", "6", "7", "8", "9"]
    );
    // Failures that follow do not push out the live one.
    stand.target.test = Some(vec!["/bin/false".into()]);
    for _ in 0..6 {
        let new = stand.issue("www", &["www.test"]);
        let rollout = stand.open(std::slice::from_ref(&new));
        let rollout = stand.drive(rollout).await;
        assert_eq!(rollout.phase.code(), "rolled-back", "{:?}", stand.log);
    }
    let left = names(&dir.path().join("state/targets/web/generations"));
    assert!(left.contains(&"9".to_owned()), "{left:?}");
    assert_eq!(stand.drift(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_never_sees_a_key_of_another_certificate() {
    let dir = tempfile::tempdir().unwrap();
    let mut stand = Stand::new(dir.path(), vec![pem("pem", "fullchain.pem", "key.pem")]);
    let (one, two) = (
        stand.issue("www", &["www.test"]),
        stand.issue("www", &["www.test"]),
    );
    let reader = Reader::start(
        &dir.path().join("state/targets/web/live/www"),
        "fullchain.pem",
        "key.pem",
    );
    for round in 0..200 {
        let set = if round % 2 == 0 { &one } else { &two };
        let rollout = stand.open(std::slice::from_ref(set));
        for step in [RolloutStep::Stage, RolloutStep::Commit] {
            stand.step(&rollout, step).await.unwrap();
        }
        // Every fourth is taken back.
        if round % 4 == 3 {
            stand.step(&rollout, RolloutStep::Restore).await.unwrap();
        } else {
            stand.live = rollout.revisions.clone();
            stand.generation = Some(rollout.generation);
        }
        stand.step(&rollout, RolloutStep::Close).await.unwrap();
    }
    let seen = reader.stop();
    println!("{} matching pairs were read", seen.pairs);
    assert_eq!(seen.wrong, Vec::<String>::new());
    assert!(seen.pairs > 200 && seen.certificates.len() == 2, "{seen:?}");
}
