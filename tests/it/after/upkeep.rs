//! What is ours in an account of SCM: deleted at its end, where the policy says so.

use std::sync::Arc;

use renewd::engine::Engine;
use renewd::model::{IssuerKind, KeyAlgorithm, Seconds};

use super::{check, cloud, pushed, uploads};
use crate::support::ccm::Wanted;
use crate::support::certs;
use crate::support::engine::{Rig, healthy, tick};
use crate::support::world::NAME;

/// The policy as it will be read from `delete_expired`.
async fn deleting(rig: &Rig, wanted: bool) -> Arc<Engine> {
    let mut policy = rig.policy();
    for issuer in policy.issuers.values_mut() {
        if let IssuerKind::Scm(scm) = &mut issuer.kind {
            scm.delete_expired = wanted;
        }
    }
    Arc::new((rig.maker())(policy).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_expired_is_deleted_only_if_it_is_ours_and_the_policy_says_so() {
    let rig = Rig::live(Wanted::new().at("2027-04-01")).await;
    let ccm = &rig.world.ccm;
    let place = "\n[push.list]\naccount = \"cloud\"\nservice = \"ELB\"\nregion = \"ap-southeast-3\"\nimport = true\n";
    let text = pushed(&rig.world.policy(), &["list"]) + &cloud(ccm) + place;
    rig.world.agent.write_policy(&text);
    rig.tick().await;
    let ours = uploads(ccm).await;
    assert_eq!(ours.len(), 1, "{:#?}", rig.told());
    // Of somebody else, with the same end and the same names.
    let now = rig.clock_now();
    let validity = certs::Validity(now - Seconds::days(1), now + Seconds::days(30));
    let sample = certs::sample(KeyAlgorithm::EcP256, &[NAME], validity);
    let (leaf, chain) = (sample.material.leaf_pem(), sample.material.chain_pem());
    let key = sample.material.key.to_pem();
    let theirs = ccm
        .import_scm("theirs", "UPLOAD", &leaf, &chain, key.expose_str().unwrap())
        .await;
    rig.clock.advance(Seconds::days(25));
    assert!(healthy(&rig.settle().await));
    rig.tick().await;
    assert_eq!(uploads(ccm).await.len(), 3);
    rig.clock.advance(Seconds::days(7));
    let keeping = deleting(&rig, false).await;
    tick(&keeping).await;
    check(&keeping).await;
    assert_eq!(uploads(ccm).await.len(), 3, "the policy does not say so");
    let told = rig.told();
    let engine = deleting(&rig, true).await;
    check(&engine).await;
    let left: Vec<String> = uploads(ccm).await.into_iter().map(|one| one.id).collect();
    assert_eq!(left.len(), 2, "{told:#?}\n{:#?}", rig.told());
    assert!(left.contains(&theirs));
    assert!(!left.contains(&ours[0].id));
}
