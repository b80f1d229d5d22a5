//! Revocations that cannot come about any more: of what is gone at its issuer, and of what has ended.

use renewd::ccm::Pca;
use renewd::engine::{NotAsked, Revocation};
use renewd::model::{RemoteTrouble, RevisionId, RevocationReason, Seconds, Standing};
use renewd::plan::Plan;
use renewd::store::CertificateChange;

use super::check;
use crate::public_orders::supplement::newest;
use crate::support::ccm::Wanted;
use crate::support::engine::{Rig, healthy, id, tick};
use crate::support::shop::{Shop, issuer, purchase};

fn wanted(revision: Option<&RevisionId>, reason: RevocationReason) -> Revocation {
    Revocation {
        name: id("www"),
        revision: revision.cloned(),
        reason,
        at_once: revision.is_none(),
    }
}

fn tells_of_revocations(plan: &Plan) -> bool {
    let mut keys = plan.alerts.keys();
    keys.any(|key| key.as_str().starts_with("revocation-"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_gone_at_its_ca_is_told_once_and_not_revoked_for_ever() {
    let rig = Rig::live(Wanted::new().at("2027-04-01")).await;
    let first = rig.newest("www").await;
    rig.force("www").await;
    assert!(healthy(&rig.settle().await));
    let pca = Pca::new(rig.world.ccm.client());
    pca.delete_certificate(&first.reference).await.unwrap();
    rig.told();
    let engine = rig.engine().await;
    let leaked = wanted(Some(&first.id), RevocationReason::KeyCompromise);
    engine.ask_revocation(&leaked).await.unwrap();
    let mut told = Vec::new();
    for _ in 0..3 {
        tick(&engine).await;
        let plan = check(&engine).await;
        assert!(!tells_of_revocations(&plan), "{:?}", plan.alerts);
        let snapshot = engine.store.snapshot().await.unwrap();
        told.extend(rig.told());
        assert_eq!(snapshot.certificates["www"].revoking, [], "{told:#?}");
        rig.clock.advance(Seconds::hours(1));
    }
    let gone = format!("certificate {} is gone", first.reference);
    let lines = told.iter().filter(|line| line.contains(&gone));
    assert_eq!(lines.count(), 1, "{told:#?}");
    let history = rig.history("www").await;
    let last = history.iter().rfind(|entry| entry.machine == "revocation");
    let last = last.unwrap();
    assert!(last.message.contains(&gone), "{history:#?}");
    let notes = engine.ask_revocation(&leaked).await.unwrap();
    assert!(
        notes[0].contains("is revoked already, or gone"),
        "{notes:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_gone_from_the_account_is_told_once_and_another_one_follows_all_the_same() {
    let shop = Shop::at("2027-04-01").await;
    let issuer = issuer(&shop.ccm.endpoint(), &purchase(50, 1));
    let host = shop.host(&format!(
        "{issuer}\n[certificate.www]\nissuer = \"public\"\nnames = [\"a.example.com\"]\n"
    ));
    host.settle(&shop).await;
    let first = newest(&host).await;
    shop.clear().await;
    let engine = host.engine().await;
    let leaked = wanted(None, RevocationReason::KeyCompromise);
    engine.ask_revocation(&leaked).await.unwrap();
    tick(&engine).await;
    let mut told = host.told();
    let snapshot = host.snapshot().await;
    assert_eq!(snapshot.certificates[&id("www")].revoking, [], "{told:#?}");
    host.settle(&shop).await;
    let then = newest(&host).await;
    assert_ne!(then.facts.spki, first.facts.spki);
    for _ in 0..2 {
        let plan = check(&host.engine().await).await;
        assert!(!tells_of_revocations(&plan), "{:?}", plan.alerts);
        shop.pass(Seconds::hours(2)).await;
    }
    told.extend(host.told());
    let gone = format!("certificate {} is gone", first.reference);
    let lines = told.iter().filter(|line| line.contains(&gone));
    assert_eq!(lines.count(), 1, "{told:#?}");
    let snapshot = host.snapshot().await;
    assert_eq!(snapshot.certificates[&id("www")].revoking, [], "{told:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_that_waits_is_over_when_its_certificate_ends_also_outside_the_policy() {
    let rig = Rig::live(Wanted::new().at("2027-04-01")).await;
    let first = rig.newest("www").await;
    let policy = rig.world.policy();
    let (without, _) = policy.split_once("[certificate.www]").unwrap();
    rig.world.agent.write_policy(without);
    let engine = rig.engine().await;
    let superseded = wanted(Some(&first.id), RevocationReason::Superseded);
    engine.ask_revocation(&superseded).await.unwrap();
    tick(&engine).await;
    rig.clock.advance(Seconds::hours(2));
    let plan = tick(&engine).await;
    let waits = format!("revocation-waits/{}/www", first.id);
    let mut keys = plan.alerts.keys();
    assert!(keys.any(|key| key.as_str() == waits), "{:?}", plan.alerts);
    rig.clock.set(first.facts.not_after);
    let plan = tick(&engine).await;
    assert!(!tells_of_revocations(&plan), "{:?}", plan.alerts);
    check(&engine).await;
    let snapshot = engine.store.snapshot().await.unwrap();
    assert_eq!(snapshot.certificates["www"].revoking, []);
    let history = rig.history("www").await;
    let last = history.iter().rfind(|entry| entry.machine == "revocation");
    let last = last.unwrap();
    assert!(last.message.contains("ended"), "{history:#?}");
    match engine.ask_revocation(&superseded).await {
        Err(NotAsked::Unfit(why)) => assert!(why.contains("nothing left to revoke"), "{why}"),
        other => panic!("{other:?}"),
    }
}

/// An account may delete what it took back.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_taken_back_stays_so_when_it_is_deleted() {
    let rig = Rig::live(Wanted::new().at("2027-04-01")).await;
    let newest = rig.newest("www").await;
    let store = &rig.engine().await.store;
    let www = id("www");
    let mut seen = Vec::new();
    for standing in [
        Some(Standing::Revoked),
        Some(Standing::Deleted),
        None,
        Some(Standing::Deleted),
    ] {
        let trouble = standing.map(|standing| RemoteTrouble {
            revision: newest.id.clone(),
            standing,
            detail: "as the issuer says".to_owned(),
        });
        let change = CertificateChange::Remote(trouble);
        store.change_certificate(&www, change).await.unwrap();
        seen.push(store.revisions(&www).await.unwrap()[0].revoked);
    }
    assert_eq!(seen, [true, true, false, false]);
}
