//! What is never put into place: certificates that are for other uses or do not have every name, however they came into
//! the store.

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose};
use renewd::model::{
    CertificateId, ErrorClass, KeyAlgorithm, Name, Reason, RevisionId, RolloutStep,
};
use renewd::pki::Material;

use crate::deploy::stand::{Stand, class, pem, validity};
use crate::support::certs;

/// A stored revision whose leaf is what `change` makes of a server's.
fn stored(
    stand: &Stand,
    names: &[&str],
    change: impl FnOnce(&mut CertificateParams),
) -> (CertificateId, RevisionId) {
    let key = certs::key(KeyAlgorithm::EcP256);
    let mut parameters = certs::leaf(names, validity());
    change(&mut parameters);
    let leaf = (stand.ca.intermediate).sign(&key.signer().unwrap(), &parameters);
    let chain = vec![stand.ca.intermediate.der.clone(), stand.ca.root.der.clone()];
    let id = CertificateId::new("www").unwrap();
    let material = Material { key, leaf, chain };
    let revision = stand.deployer.materials().store_revision(&id, &material);
    (id, revision.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_tls_server_may_use_is_never_put_into_place() {
    let dir = tempfile::tempdir().unwrap();
    let mut stand = Stand::new(dir.path(), vec![pem("pem", "fullchain.pem", "key.pem")]);
    type Change = fn(&mut CertificateParams);
    let harms: [(Change, &str); 3] = [
        (
            |leaf| leaf.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)),
            "is a CA certificate",
        ),
        (
            |leaf| leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth],
            "lacks serverAuth",
        ),
        (
            |leaf| leaf.key_usages = vec![KeyUsagePurpose::KeyEncipherment],
            "lacks digitalSignature",
        ),
    ];
    for (change, says) in harms {
        let bad = stored(&stand, &["www.test"], change);
        let mut rollout = stand.open(std::slice::from_ref(&bad));
        // Not even where a person asked for it.
        rollout.reasons.insert(bad.0.clone(), Reason::RollbackAsked);
        let error = stand.step(&rollout, RolloutStep::Stage).await.unwrap_err();
        class(&error, ErrorClass::Rejected);
        assert!(error.message.contains(says), "{}", error.message);
        assert!(error.named.contains(&bad.0), "{:?}", error.named);
        assert!(!dir.path().join("state/targets/web/live").exists());
    }
    let good = stored(&stand, &["www.test"], |_| {});
    let rollout = stand.open(std::slice::from_ref(&good));
    stand.step(&rollout, RolloutStep::Stage).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_goes_in_only_with_every_name_of_the_policy_unless_a_person_asks_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut stand = Stand::new(dir.path(), vec![pem("pem", "fullchain.pem", "key.pem")]);
    let id = CertificateId::new("www").unwrap();
    let wanted = ["www.test", "api.www.test", "10.0.0.1"];
    let names = wanted.iter().map(|name| Name::parse(name).unwrap());
    let names = [(id.clone(), names.collect())].into();
    stand.deployer = stand.deployer.clone().asking_for(names);
    for (has, missing) in [
        (vec!["www.test"], "the policy wants api.www.test, 10.0.0.1;"),
        (vec!["www.test", "*.www.test"], "the policy wants 10.0.0.1;"),
        (vec!["*.test", "10.0.0.1"], "the policy wants api.www.test;"),
    ] {
        let narrow = stored(&stand, &has, |_| {});
        let mut rollout = stand.open(std::slice::from_ref(&narrow));
        let error = stand.step(&rollout, RolloutStep::Stage).await.unwrap_err();
        class(&error, ErrorClass::Rejected);
        assert!(error.message.contains(missing), "{}", error.message);
        assert!(error.named.contains(&id), "{:?}", error.named);
        rollout.reasons.insert(id.clone(), Reason::RollbackAsked);
        stand.step(&rollout, RolloutStep::Stage).await.unwrap();
    }
    let wide = stored(
        &stand,
        &["www.test", "*.www.test", "10.0.0.1", "more.test"],
        |_| {},
    );
    let rollout = stand.open(std::slice::from_ref(&wide));
    stand.step(&rollout, RolloutStep::Stage).await.unwrap();
}
