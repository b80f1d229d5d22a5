//! Targets over time: nothing is touched without need, what others touched is put right, and certificates of one target
//! go in together.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use renewd::model::{KeyAlgorithm, Seconds};
use renewd::pki::PrivateKey;

use crate::support::ccm::Wanted;
use crate::support::engine::{Rig, due, healthy, id};
use crate::support::nginx::{Nginx, Site};
use crate::support::world::{NAME, served};

fn start() -> Wanted {
    Wanted::new().at("2027-04-01")
}

/// Inode, size, and the times of the last change of content and of anything else, in nanoseconds; of all that is below.
type Traces = BTreeMap<PathBuf, (u64, u64, i128, i128)>;

fn traces(directory: &Path) -> Traces {
    let mut found = BTreeMap::new();
    let mut open = vec![directory.to_owned()];
    while let Some(next) = open.pop() {
        let metadata = std::fs::symlink_metadata(&next).unwrap();
        let nanos = |s: i64, ns: i64| i128::from(s) * 1_000_000_000 + i128::from(ns);
        let trace = (
            metadata.ino(),
            metadata.len(),
            nanos(metadata.mtime(), metadata.mtime_nsec()),
            nanos(metadata.ctime(), metadata.ctime_nsec()),
        );
        if metadata.is_dir() {
            let entries = std::fs::read_dir(&next).unwrap();
            open.extend(entries.map(|entry| entry.unwrap().path()));
        }
        found.insert(next, trace);
    }
    found
}

/// Everything that a service may read, and what it is made of.
fn all_files(rig: &Rig) -> Traces {
    let mut all = traces(&rig.world.agent.path().join("loose"));
    for part in ["targets", "revisions", "keys"] {
        all.extend(traces(&rig.world.agent.state().join(part)));
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_due_means_that_no_file_is_touched_and_nobody_told() {
    let rig = Rig::live(start()).await;
    let before = all_files(&rig);
    assert!(before.len() > 10, "{before:?}");
    for _ in 0..10 {
        rig.clock.advance(Seconds::days(1));
        assert!(healthy(&rig.tick().await));
    }
    assert_eq!(all_files(&rig), before);
    assert_eq!(rig.world.reloads(), 1);
    assert_eq!(rig.told(), Vec::<String>::new());
    let rollouts = rig.history("www").await;
    let opened = rollouts
        .iter()
        .filter(|entry| entry.machine == "rollout" && entry.kind == "opened");
    assert_eq!(opened.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_changes_on_a_target_is_put_right_with_the_same_certificate() {
    let rig = Rig::live(start()).await;
    let serial = rig.world.served();
    let live = rig.world.agent.live("web");
    let (loose, loose_key) = rig.world.loose();
    let certificate = std::fs::read(&loose).unwrap();
    type Harm<'a> = (&'a str, Box<dyn Fn() + 'a>);
    let harms: [Harm<'_>; 6] = [
        (
            "was changed",
            Box::new(|| std::fs::write(&loose, b"edited by hand\n").unwrap()),
        ),
        (
            "is missing",
            Box::new(|| std::fs::remove_file(&loose_key).unwrap()),
        ),
        (
            "mode",
            Box::new(|| {
                let open = std::fs::Permissions::from_mode(0o644);
                std::fs::set_permissions(&loose_key, open).unwrap();
            }),
        ),
        (
            "was changed",
            Box::new(|| std::fs::write(live.join("www/server.crt"), b"edited\n").unwrap()),
        ),
        (
            "is missing",
            Box::new(|| std::fs::remove_file(live.join("www/server.key")).unwrap()),
        ),
        (
            "is missing",
            Box::new(|| std::fs::remove_file(&live).unwrap()),
        ),
    ];
    for (times, (what, harm)) in harms.iter().enumerate() {
        harm();
        rig.told();
        let plan = rig.tick().await;
        let told = rig.told();
        assert!(healthy(&plan), "{told:#?}");
        let opened: Vec<&String> = told
            .iter()
            .filter(|line| line.contains("rollout opened"))
            .collect();
        assert_eq!(opened.len(), 1, "{told:#?}");
        assert!(
            opened[0].starts_with("ok web: rollout opened: www (the target differs: ")
                && opened[0].contains(what),
            "{opened:?} does not say `{what}`"
        );
        assert_eq!(rig.world.reloads(), times + 2);
        assert_eq!(std::fs::read(&loose).unwrap(), certificate, "{what}");
        assert_eq!(
            std::fs::read(live.join("www/server.crt")).unwrap(),
            certificate
        );
        let key = std::fs::metadata(&loose_key).unwrap();
        assert_eq!(key.permissions().mode() & 0o777, 0o600, "{what}");
        assert_eq!(rig.world.served(), serial);
        assert!(healthy(&rig.tick().await));
        assert_eq!(rig.told(), Vec::<String>::new(), "put right once");
    }
    assert_eq!(rig.world.ccm.issued(NAME).await, 1, "nothing was ordered");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revision_that_is_damaged_is_replaced_and_the_service_never_without_one() {
    let rig = Rig::live(start()).await;
    let key = PrivateKey::generate(KeyAlgorithm::EcP256).unwrap().to_pem();
    let damages: [(&str, &str, Option<&[u8]>); 4] = [
        ("key.pem", "missing", None),
        ("key.pem", "damaged", Some(b"-----BEGIN PRIVATE KEY-----\n")),
        ("key.pem", "damaged", Some(key.expose())),
        ("cert.pem", "damaged", Some(b"")),
    ];
    for (times, (file, what, content)) in damages.into_iter().enumerate() {
        let serial = rig.world.served();
        let newest = rig.newest("www").await;
        let revisions = rig.world.agent.state().join("revisions/www");
        let path = revisions.join(newest.id.as_str()).join(file);
        match content {
            Some(content) => std::fs::write(&path, content).unwrap(),
            None => std::fs::remove_file(&path).unwrap(),
        }
        assert!(healthy(&rig.settle().await));
        let told = rig.told();
        assert!(
            told.iter().any(
                |line| line.contains("order opened: the stored revision is unusable")
                    && line.contains(what)
            ),
            "{file} {what}: {told:#?}"
        );
        assert_ne!(rig.world.served(), serial);
        assert_eq!(rig.world.ccm.issued(NAME).await, times + 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_of_one_target_go_in_with_one_reload() {
    let mut rig = Rig::new(start()).await;
    let live = rig.world.agent.live("web");
    let site = |name: &str, host: &str| {
        let (certificate, key) = (format!("{name}/server.crt"), format!("{name}/server.key"));
        Site::new(&[host], &live.join(certificate), &live.join(key))
    };
    let other = "api.example.test";
    let sites = [site("www", NAME), site("api", other)];
    rig.world.nginx = Nginx::prepare(&rig.world.agent.path().join("nginx"), &sites);
    rig.world.write_reload(true);
    // The loose files are of one certificate only.
    let policy = rig
        .world
        .policy()
        .replace("{dir}/loose", "{dir}/loose/{certificate}");
    let policy = format!(
        r#"{policy}
[certificate.api]
issuer = "corp"
names = ["{other}"]
targets = ["web"]
validity = "30d"
"#
    );
    rig.world.agent.write_policy(&policy);
    rig.tick().await;
    rig.world.nginx.start();
    rig.clock.advance(Seconds::minutes(2));
    let plan = rig.tick().await;
    assert!(healthy(&plan), "{:#?}", rig.told());

    let rollouts = async |rig: &Rig| {
        let mut found = std::collections::BTreeSet::new();
        for name in ["www", "api"] {
            let entries = rig.history(name).await;
            let rollouts = entries.into_iter().filter(|one| one.machine == "rollout");
            found.extend(rollouts.map(|one| one.id));
        }
        found.len()
    };
    assert_eq!((rollouts(&rig).await, rig.world.reloads()), (1, 1));
    let address = rig.world.nginx.address();
    let first = [served(&address, NAME), served(&address, other)];
    assert_ne!(first[0], first[1], "each name its own certificate");

    // A month later both are due, at moments of their own.
    let last = due(&plan, "www").max(due(&plan, "api"));
    assert_ne!(due(&plan, "www"), due(&plan, "api"), "jitter");
    rig.clock.set(last);
    let plan = rig.tick().await;
    assert!(healthy(&plan), "{:#?}", rig.told());
    assert_eq!((rollouts(&rig).await, rig.world.reloads()), (2, 2));
    let second = [served(&address, NAME), served(&address, other)];
    assert!(first[0] != second[0] && first[1] != second[1]);

    // Only one of them is renewed: the other's files stay, and one reload is all.
    let file = live.join("api/server.crt");
    let before = std::fs::read(&file).unwrap();
    rig.force("www").await;
    assert!(healthy(&rig.tick().await));
    assert_eq!((rollouts(&rig).await, rig.world.reloads()), (3, 3));
    assert_eq!(std::fs::read(&file).unwrap(), before);
    let engine = rig.engine().await;
    assert_eq!(engine.store.revisions(&id("api")).await.unwrap().len(), 2);
}
