//! What the issuer says of certificates in use: revoked ones are replaced at once, with another key.

use renewd::ccm::Pca;
use renewd::model::{Fingerprint, Seconds};
use renewd::pki::PrivateKey;
use renewd::plan::Verdict;

use crate::ccm_server::http;
use crate::support::ccm::Wanted;
use crate::support::engine::{Rig, healthy, id};

fn start() -> Wanted {
    Wanted::new().at("2027-04-01")
}

fn key(rig: &Rig) -> Fingerprint {
    let pem = std::fs::read(rig.world.loose().1).unwrap();
    PrivateKey::from_pem(&pem).unwrap().spki()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_certificate_is_replaced_at_once_with_another_key_whatever_the_policy_says_of_keys()
 {
    let rig = Rig::live(start()).await;
    let policy = rig.world.policy();
    let reuse = policy.replace(
        "validity = \"30d\"\n",
        "validity = \"30d\"\nrekey = false\n",
    );
    assert_ne!(reuse, policy);
    rig.world.agent.write_policy(&reuse);
    let first = key(&rig);
    rig.force("www").await;
    assert!(healthy(&rig.settle().await));
    assert_eq!(key(&rig), first, "the policy keeps the key");
    let (serial, reloads) = (rig.world.served(), rig.world.reloads());
    assert!(healthy(&rig.check().await));
    rig.told();

    let pca = Pca::new(rig.world.ccm.client());
    let reference = rig.reference("www").await;
    pca.revoke_certificate(&reference, Some("KEY_COMPROMISE"))
        .await
        .unwrap();
    assert!(healthy(&rig.tick().await), "only a check asks");
    rig.check().await;
    assert!(healthy(&rig.settle().await));
    let told = rig.told();
    let alert = format!("alert critical: www: certificate {reference} was revoked by its issuer");
    assert_eq!(told[0], alert, "{told:#?}");
    assert!(
        told.contains(&"ok www: order opened: the issuer took it back".to_owned()),
        "{told:#?}"
    );
    assert_ne!(rig.world.served(), serial, "{told:#?}");
    assert_eq!(rig.world.served(), rig.world.written());
    assert_ne!(key(&rig), first, "its key may be known to others");
    assert_eq!(rig.world.reloads(), reloads + 1);
    assert!(
        told.iter()
            .any(|line| line.starts_with("resolved: www: certificate ")),
        "{told:#?}"
    );
    // Once.
    for _ in 0..3 {
        rig.clock.advance(Seconds::hours(1));
        assert!(healthy(&rig.check().await));
    }
    assert_eq!(rig.told(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_ca_and_a_deleted_certificate_are_told_and_nothing_is_changed() {
    let rig = Rig::live(start()).await;
    let (serial, reloads) = (rig.world.served(), rig.world.reloads());
    let code = |verdict: &Verdict| match verdict {
        Verdict::Blocked(blocked) => blocked.code(),
        other => panic!("{other:?}"),
    };
    let ca = format!(
        "/v1/private-certificate-authorities/{}",
        rig.world.ccm.issuing()
    );
    http::post_nothing(&rig.world.ccm, &format!("{ca}/disable")).await;
    for _ in 0..2 {
        let plan = rig.check().await;
        assert_eq!(code(&plan.verdicts[&id("www")]), "issuer-disabled");
    }
    let told = rig.told();
    assert_eq!(told.len(), 1, "{told:#?}");
    assert!(told[0].ends_with("is disabled"), "{told:#?}");
    http::post_nothing(&rig.world.ccm, &format!("{ca}/enable")).await;
    assert!(healthy(&rig.check().await));
    assert!(rig.told()[0].starts_with("resolved: www: CA "));

    let reference = rig.reference("www").await;
    http::delete(
        &rig.world.ccm,
        &format!("/v1/private-certificates/{reference}"),
    )
    .await;
    let plan = rig.check().await;
    assert_eq!(code(&plan.verdicts[&id("www")]), "deleted");
    assert_eq!((rig.world.served(), rig.world.reloads()), (serial, reloads));
    // And it is renewed when it is due.
    rig.clock.advance(Seconds::days(25));
    assert!(healthy(&rig.settle().await));
    assert!(healthy(&rig.check().await));
}
