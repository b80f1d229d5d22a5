//! What others changed, on a real nginx over months: told, put right where the policy says so, and never what is newer.

use std::os::unix::fs::symlink;

use renewd::model::{KeyAlgorithm, Seconds};
use renewd::plan::Verdict;

use crate::support::ccm::Wanted;
use crate::support::certs::{self, Validity};
use crate::support::engine::{Rig, healthy, id};
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
        std::fs::set_permissions(&loose_key, std::fs::Permissions::from_mode(0o644)).unwrap();
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
