//! What others changed, on a real nginx over months: told, put right where the policy says so, and never what is newer.

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use renewd::model::{KeyAlgorithm, Seconds};
use renewd::plan::Verdict;

use crate::support::ccm::Wanted;
use crate::support::certs::{self, Validity};
use crate::support::engine::{Rig, healthy, id};
use crate::support::tmpfs::Tmpfs;
use crate::support::world::NAME;

fn start() -> Wanted {
    Wanted::new().at("2027-04-01")
}

/// Somebody else installs a certificate for the name at the loose places; its serial.
fn install(rig: &Rig) -> String {
    let now = rig.clock_now();
    let validity = Validity(now - Seconds::hours(1), now + Seconds::days(60));
    let material = certs::sample(KeyAlgorithm::EcP256, &[NAME], validity).material;
    let (certificate, key) = rig.world.loose();
    std::fs::write(certificate, material.leaf_pem()).unwrap();
    std::fs::write(key, material.key.to_pem().expose()).unwrap();
    material.facts().unwrap().serial
}

fn code(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Healthy { .. } => "healthy",
        Verdict::Act(reason) => reason.code(),
        Verdict::Wait(waiting) => waiting.code(),
        Verdict::Blocked(blocked) => blocked.code(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_change_is_told_under_its_own_code_and_is_over_when_it_is_put_right() {
    let rig = Rig::live(start()).await;
    let (loose, loose_key) = rig.world.loose();
    let open = || {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&loose_key, Permissions::from_mode(0o644)).unwrap();
    };
    let link = || {
        std::fs::remove_file(&loose).unwrap();
        symlink("/etc/hostname", &loose).unwrap();
    };
    let edit = || std::fs::write(&loose, "by hand").unwrap();
    let remove = || std::fs::remove_file(&loose).unwrap();
    let harms: [(&str, &dyn Fn()); 4] = [
        ("alert critical: web: ", &open),
        ("alert warning: web: ", &link),
        ("alert warning: web: ", &edit),
        ("alert warning: web: ", &remove),
    ];
    let before = std::fs::read(&loose).unwrap();
    for (title, harm) in harms {
        harm();
        rig.told();
        assert!(healthy(&rig.tick().await));
        let told = rig.told();
        let alerts: Vec<_> = told.iter().filter(|l| l.starts_with("alert")).collect();
        assert_eq!(alerts.len(), 1, "{told:#?}");
        assert!(alerts[0].starts_with(title), "{alerts:?}");
        let title = alerts[0].split_once(": ").unwrap().1;
        let over = told
            .iter()
            .position(|line| *line == format!("resolved: {title}"));
        let mended = told.iter().position(|l| l.contains("handshake proven"));
        assert!(over.unwrap() > mended.unwrap(), "{told:#?}");
        assert_eq!(std::fs::read(&loose).unwrap(), before);
    }
    let opened: Vec<_> = rig
        .history("www")
        .await
        .into_iter()
        .filter(|entry| entry.machine == "rollout" && entry.kind == "opened")
        .collect();
    assert_eq!(opened.len(), 1 + harms.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_policy_wants_reported_is_left_until_a_person_says_so() {
    let rig = Rig::live(start()).await;
    let policy = rig.world.policy();
    let report = policy.replace(
        "[target.nginx.web]\n",
        "[target.nginx.web]\ndrift = \"report\"\n",
    );
    assert_ne!(report, policy);
    rig.world.agent.write_policy(&report);
    let reloads = rig.world.reloads();
    assert!(healthy(&rig.tick().await));
    assert_eq!(rig.world.reloads(), reloads, "no other digest");
    let (loose, _) = rig.world.loose();
    let before = std::fs::read(&loose).unwrap();
    std::fs::write(&loose, "by hand").unwrap();
    for _ in 0..3 {
        let plan = rig.tick().await;
        assert_eq!(code(&plan.verdicts[&id("www")]), "file-edited");
        assert_eq!(plan.alerts.len(), 1);
        assert_eq!(std::fs::read(&loose).unwrap(), b"by hand");
    }
    let told = rig.told();
    assert_eq!(told.len(), 1, "told once: {told:#?}");
    let object = rig.world.agent.status("www");
    assert_eq!(object["reason"], "file-edited");
    // Mended by whoever did it.
    std::fs::write(&loose, &before).unwrap();
    assert!(healthy(&rig.tick().await));
    assert!(rig.told()[0].starts_with("resolved: web: "));
    assert_eq!(rig.world.reloads(), reloads);
    // And a renewal goes on over it.
    std::fs::write(&loose, "by hand").unwrap();
    rig.force("www").await;
    assert!(healthy(&rig.settle().await));
    assert_eq!(rig.world.written(), rig.world.served());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_else_installed_and_is_newer_stays_until_renewal_brings_a_later_one() {
    let rig = Rig::live(start()).await;
    let reloads = rig.world.reloads();
    rig.clock.advance(Seconds::days(2));
    let theirs = install(&rig);
    for _ in 0..3 {
        let plan = rig.tick().await;
        assert_eq!(code(&plan.verdicts[&id("www")]), "newer-elsewhere");
        rig.clock.advance(Seconds::hours(1));
    }
    assert_eq!(rig.world.written(), theirs);
    assert_eq!(rig.world.reloads(), reloads);
    let told = rig.told();
    assert_eq!(told.len(), 1, "{told:#?}");
    assert!(told[0].contains(&theirs), "{told:?}");
    // When ours is due the new one is the later one.
    rig.clock.advance(Seconds::days(20));
    assert!(healthy(&rig.settle().await));
    assert_ne!(rig.world.written(), theirs);
    assert_eq!(rig.world.written(), rig.world.served());
    let told = rig.told();
    assert!(
        told.iter().any(|l| l.starts_with("resolved: ")),
        "{told:#?}"
    );
}

/// How many rollouts were opened.
fn opened(told: &[String]) -> usize {
    let lines = told.iter();
    lines
        .filter(|line| line.starts_with("ok web: rollout opened"))
        .count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_others_can_read_is_told_while_a_rollout_cannot_begin_or_waits_for_its_service()
{
    let mut rig = Rig::live(start()).await;
    let first = rig.world.served();
    let live = rig.world.agent.live("web").join("www/server.key");
    let expose = || std::fs::set_permissions(&live, Permissions::from_mode(0o644)).unwrap();
    let mode = || std::fs::metadata(&live).unwrap().permissions().mode() & 0o777;
    let told_of = |told: &[String]| {
        let mut lines = told.iter();
        lines.any(|line| line.starts_with("alert critical: web: ") && line.contains("0644"))
    };
    // The places of its loose files are on a disk that is read-only: nothing can be staged.
    let place = rig.world.loose().0.parent().unwrap().to_owned();
    let files: Vec<(PathBuf, Vec<u8>)> = std::fs::read_dir(&place)
        .unwrap()
        .map(|file| file.unwrap().path())
        .map(|path| (path.clone(), std::fs::read(&path).unwrap()))
        .collect();
    let modes: Vec<u32> = files
        .iter()
        .map(|(path, _)| std::fs::metadata(path).unwrap().permissions().mode())
        .collect();
    let disk = Tmpfs::mount(&place, "256k");
    for ((path, bytes), mode) in files.iter().zip(modes) {
        std::fs::write(path, bytes).unwrap();
        std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }
    disk.remount("ro");
    rig.force("www").await;
    rig.tick().await;
    assert_eq!(opened(&rig.told()), 1);
    expose();
    rig.tick().await;
    let told = rig.told();
    assert!(told_of(&told), "{told:#?}");
    assert_eq!(rig.world.served(), first);
    disk.remount("rw");
    assert!(healthy(&rig.settle().await));
    assert_eq!(mode(), 0o600);
    assert_ne!(rig.world.served(), first);
    rig.told();

    // The service is down: what was committed stays, and is looked at.
    rig.world.nginx.stop();
    rig.force("www").await;
    rig.tick().await;
    assert_eq!(opened(&rig.told()), 1);
    assert_ne!(rig.world.written(), first);
    expose();
    rig.tick().await;
    let told = rig.told();
    assert!(told_of(&told), "{told:#?}");
    assert_eq!(opened(&told), 0, "{told:#?}");
    rig.world.nginx.start();
    assert!(healthy(&rig.settle().await));
    assert_eq!(mode(), 0o600, "put right once it is proven");
    assert_eq!(rig.world.written(), rig.world.served());
}

/// Waits until nginx has read what it was told to read.
async fn until_served(rig: &Rig, serial: &str) {
    let what = format!("{serial} is served");
    until_steady(&what, async || rig.world.served() == serial).await;
}

/// Waits until it holds several times in a row: while a service reloads, those who served before answer now and then.
async fn until_steady(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let mut row = 0;
    for _ in 0..400 {
        row = if holds().await { row + 1 } else { 0 };
        if row == STEADY {
            return;
        }
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    panic!("it never is so that {what}");
}

const STEADY: usize = 6;

impl Rig {
    /// Waits until so many certificates are presented, the leaf among them.
    async fn until_presents(&self, many: usize) {
        use renewd::deploy::probe::{KeyKind, handshake};
        let within = Duration::from_secs(10);
        let what = format!("{many} certificates are presented");
        until_steady(&what, async || {
            let address = self.world.nginx.address();
            let seen = handshake(&address, Some(NAME), KeyKind::Any, within).await;
            seen.is_ok_and(|seen| seen.presented.len() == many)
        })
        .await;
    }
}

/// A pair of somebody else in a directory, valid since so long ago; its serial.
fn pair_in(rig: &Rig, directory: &Path, age: Seconds) -> String {
    let now = rig.clock_now();
    let validity = Validity(now - age, now + Seconds::days(60));
    let material = certs::sample(KeyAlgorithm::EcP256, &[NAME], validity).material;
    let chain = format!("{}{}", material.leaf_pem(), material.chain_pem());
    std::fs::create_dir_all(directory).unwrap();
    std::fs::write(directory.join("server.crt"), chain).unwrap();
    std::fs::write(directory.join("server.key"), material.key.to_pem().expose()).unwrap();
    material.facts().unwrap().serial
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_serves_the_old_one_from_new_files_is_told_once_more() {
    let rig = Rig::live(start()).await;
    let first = rig.world.served();
    rig.force("www").await;
    assert!(healthy(&rig.settle().await));
    let second = rig.world.served();
    assert_ne!(first, second);
    rig.told();
    let live = rig.world.agent.live("web");
    let old = live.parent().unwrap().join("generations/1");
    rig.world.nginx.edit(&live, &old);
    until_served(&rig, &first).await;
    rig.world.nginx.mend();

    let reloads = rig.world.reloads();
    assert!(healthy(&rig.tick().await));
    let told = rig.told();
    assert_eq!(rig.world.served(), second, "{told:#?}");
    assert_eq!(rig.world.reloads(), reloads + 1);
    assert!(
        told[0].starts_with("alert warning: web: 127.0.0.1:"),
        "{told:#?}"
    );
    assert!(told[0].contains(&first), "{told:#?}");
    assert!(
        told.iter().any(|line| line.starts_with("resolved: web: ")),
        "{told:#?}"
    );
    assert!(healthy(&rig.tick().await));
    assert_eq!(rig.told(), Vec::<String>::new());
    assert_eq!(rig.world.reloads(), reloads + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_renewd_does_not_manage_is_reported_and_the_service_told_only_once() {
    let rig = Rig::live(start()).await;
    let ours = rig.world.served();
    let (live, other) = (
        rig.world.agent.live("web"),
        rig.world.agent.path().join("other"),
    );
    let theirs = pair_in(&rig, &other.join("www"), Seconds::days(9));
    rig.world.nginx.edit(&live, &other);
    until_served(&rig, &theirs).await;
    let reloads = rig.world.reloads();
    let mut after_first = 0;
    for round in 0..4 {
        let plan = rig.tick().await;
        assert_eq!(
            code(&plan.verdicts[&id("www")]),
            "served-other",
            "{:#?}",
            rig.told()
        );
        let told = rig.told();
        if round == 0 {
            assert!(told[0].contains(&theirs), "{told:#?}");
            after_first = rig.world.reloads();
            assert!(after_first > reloads, "{told:#?}");
        } else {
            assert_eq!(told, Vec::<String>::new(), "told once");
        }
        rig.clock.advance(Seconds::hours(6));
    }
    assert_eq!(rig.world.reloads(), after_first, "no storm of reloads");
    assert_eq!(rig.world.served(), theirs);
    let targets = rig
        .world
        .agent
        .run(&["target", "list", "--json"])
        .expect(0)
        .json();
    assert_eq!(targets[0]["state"], "drifted");
    assert_eq!(targets[0]["drift"][0]["code"], "served-other");
    // Mended by whoever did it.
    rig.world.nginx.mend();
    rig.world.nginx.tell();
    until_served(&rig, &ours).await;
    assert!(healthy(&rig.tick().await));
    assert!(rig.told()[0].starts_with("resolved: web: "));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_presents_the_right_leaf_with_a_bad_chain_is_drift_and_is_told_once() {
    let rig = Rig::live(start()).await;
    let ours = rig.world.served();
    let (live, other) = (
        rig.world.agent.live("web"),
        rig.world.agent.path().join("other"),
    );
    std::fs::create_dir_all(other.join("www")).unwrap();
    for file in ["server.crt", "server.key"] {
        std::fs::copy(live.join("www").join(file), other.join("www").join(file)).unwrap();
    }
    let good = std::fs::read_to_string(live.join("www/server.crt")).unwrap();
    let end = "-----END CERTIFICATE-----\n";
    let leaf = &good[..good.find(end).unwrap() + end.len()];
    let now = rig.clock_now();
    let year = Validity(now - Seconds::days(1), now + Seconds::days(365));
    let stranger = certs::sample(KeyAlgorithm::EcP256, &[NAME], year).material;
    let strange = format!("{leaf}{}", stranger.chain_pem());
    for (content, says) in [
        (leaf, "serves the right leaf without serial "),
        (&strange, "serves the right leaf with another chain: "),
    ] {
        std::fs::write(other.join("www/server.crt"), content).unwrap();
        rig.world.nginx.edit(&live, &other);
        rig.until_presents(content.matches(end).count()).await;
        let reloads = rig.world.reloads();
        let mut after_first = 0;
        for round in 0..3 {
            let plan = rig.tick().await;
            let told = rig.told();
            assert_eq!(
                code(&plan.verdicts[&id("www")]),
                "served-chain",
                "{told:#?}"
            );
            if round == 0 {
                assert!(told[0].starts_with("alert warning: web: "), "{told:#?}");
                assert!(told[0].contains(says), "{told:#?}");
                after_first = rig.world.reloads();
                assert!(after_first > reloads, "{told:#?}");
            } else {
                assert_eq!(told, Vec::<String>::new(), "told once");
            }
            rig.clock.advance(Seconds::hours(6));
        }
        assert_eq!(rig.world.reloads(), after_first, "no storm of reloads");
        assert_eq!(rig.world.served(), ours, "the leaf was right all the time");
        let targets = rig.world.agent.run(&["target", "list", "--json"]);
        assert_eq!(
            targets.expect(0).json()[0]["drift"][0]["code"],
            "served-chain"
        );
        let looked = rig.world.agent.run(&["target", "test", "web"]);
        let told = format!("{}{}", looked.stdout, looked.stderr);
        assert!(looked.code != Some(0) && told.contains(says), "{told}");
        rig.world.nginx.mend();
        rig.world.nginx.tell();
        rig.until_presents(good.matches(end).count()).await;
        assert!(healthy(&rig.tick().await));
        assert!(rig.told()[0].starts_with("resolved: web: "));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_presents_an_older_chain_from_good_files_is_put_right_by_one_reload() {
    let rig = Rig::live(start()).await;
    let live = rig.world.agent.live("web");
    let other = rig.world.agent.path().join("other");
    std::fs::create_dir_all(other.join("www")).unwrap();
    let good = std::fs::read_to_string(live.join("www/server.crt")).unwrap();
    let end = "-----END CERTIFICATE-----\n";
    let leaf = &good[..good.find(end).unwrap() + end.len()];
    std::fs::write(other.join("www/server.crt"), leaf).unwrap();
    std::fs::copy(live.join("www/server.key"), other.join("www/server.key")).unwrap();
    rig.world.nginx.edit(&live, &other);
    rig.until_presents(1).await;
    // The configuration is right again, and nobody told the service.
    rig.world.nginx.mend();
    let reloads = rig.world.reloads();
    assert!(healthy(&rig.tick().await));
    let told = rig.told();
    assert!(
        told.iter().any(|line| line.starts_with("resolved: web: ")),
        "{told:#?}"
    );
    assert_eq!(rig.world.reloads(), reloads + 1);
    rig.until_presents(good.matches(end).count()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_served_and_was_issued_later_is_not_touched_and_a_service_that_is_down_is_no_drift()
{
    let mut rig = Rig::live(start()).await;
    rig.clock.advance(Seconds::days(2));
    let (live, other) = (
        rig.world.agent.live("web"),
        rig.world.agent.path().join("other"),
    );
    let theirs = pair_in(&rig, &other.join("www"), Seconds::hours(1));
    rig.world.nginx.edit(&live, &other);
    until_served(&rig, &theirs).await;
    let reloads = rig.world.reloads();
    for _ in 0..2 {
        let plan = rig.tick().await;
        assert_eq!(code(&plan.verdicts[&id("www")]), "served-newer");
    }
    assert_eq!(rig.world.reloads(), reloads);
    assert_eq!(rig.told().len(), 1);
    rig.world.nginx.stop();
    assert!(healthy(&rig.tick().await), "nobody serves anything wrong");
    assert_eq!(rig.world.reloads(), reloads);
}
