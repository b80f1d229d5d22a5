//! From an entitlement to a certificate.

use renewd::issuer::{Applied, Fetched, Sighting};
use renewd::model::{DomainMethod, DomainProof, Seconds, Source};
use renewd::pki::{self, pem};

use super::hand::{Hand, at_ccm, publish, wanted};
use crate::ccm_server::applicant::Applicant;

async fn waits(host: &Hand, reference: &str) -> (String, Vec<DomainProof>) {
    match host.issuer.fetch(reference, false).await.unwrap() {
        Fetched::NotYet { status, proofs, .. } => (status, proofs),
        Fetched::Issued(_) => panic!("{reference} is issued"),
    }
}

#[tokio::test]
async fn an_application_with_a_csr_is_proven_by_the_record_that_is_asked_for_and_issued() {
    let scene = Applicant::at("2027-04-01").await;
    let mut host = Hand::on("one", &scene.ccm);
    let (now, request) = (scene.ccm.now(), wanted(&["www.example.com"]));
    let id = host.buy("o-1", now).await.unwrap();
    let key = host.key();
    let unused = host.orders().applied(&id, &request, Some(key.spki())).await;
    assert_eq!(unused.unwrap(), Applied::Unused);
    let accepted = host.apply(&id, &request, Some(&key)).await.unwrap();
    assert_eq!(accepted.reference, id);
    let ours = host.orders().applied(&id, &request, Some(key.spki())).await;
    assert_eq!(ours.unwrap(), Applied::Ours);
    let under_way = Sighting::UnderWay {
        reference: id.clone(),
        spki: Some(key.spki()),
    };
    assert_eq!(host.look("o-2", &request, now).await.unwrap(), under_way);

    let (status, proofs) = waits(&host, &id).await;
    assert_eq!(status, "CHECKING_DOMAIN");
    assert_eq!(proofs.len(), 1);
    assert_eq!(proofs[0].domain, "www.example.com");
    assert_eq!(proofs[0].method, DomainMethod::Dns);
    assert_eq!(proofs[0].place, "_dnsauth.www.example.com");
    assert_eq!(proofs[0].record_type, "TXT");
    scene.look().await;
    publish(&scene, &proofs);
    scene.pass(Seconds::minutes(1)).await;
    let Fetched::Issued(issued) = host.issuer.fetch(&id, false).await.unwrap() else {
        panic!("{}", scene.managed(&id).await);
    };
    let leaf = pem::certificates(&issued.certificate).unwrap();
    let facts = pki::facts(&leaf[0]).unwrap();
    assert_eq!(facts.spki, key.spki());
    assert!(facts.covers(&request.names));
    let seen = host.look("o-3", &request, scene.ccm.now()).await.unwrap();
    let issued = Sighting::Issued {
        reference: id.clone(),
        spki: Some(key.spki()),
    };
    assert_eq!(seen, issued);

    let entitlement = host.orders().entitlement(&id, scene.ccm.now()).await;
    let entitlement = entitlement.unwrap();
    assert_eq!(entitlement.spki, Some(key.spki()));
    assert_eq!(entitlement.until, facts.not_after);
    assert!(entitlement.auto_renew);
    assert!(entitlement.remaining >= 3, "{entitlement:?}");
    assert!(entitlement.purchase.is_some());
}

#[tokio::test]
async fn a_key_that_is_made_at_ccm_comes_with_the_certificate() {
    let scene = Applicant::at("2027-04-01").await;
    let host = Hand::on("one", &scene.ccm);
    let request = at_ccm(wanted(&["www.example.com"]));
    assert_eq!(request.source, Source::Ccm);
    let id = host.buy("o-1", scene.ccm.now()).await.unwrap();
    host.apply(&id, &request, None).await.unwrap();
    let ours = host.orders().applied(&id, &request, None).await.unwrap();
    assert_eq!(ours, Applied::Ours);
    let seen = host.look("o-2", &request, scene.ccm.now()).await.unwrap();
    let under_way = Sighting::UnderWay {
        reference: id.clone(),
        spki: None,
    };
    assert_eq!(seen, under_way);
    scene.prove(&id).await;
    scene.pass(Seconds::minutes(1)).await;
    let Fetched::Issued(issued) = host.issuer.fetch(&id, true).await.unwrap() else {
        panic!("{}", scene.managed(&id).await);
    };
    assert!(issued.private_key.is_some());
    let seen = host.look("o-3", &request, scene.ccm.now()).await.unwrap();
    let issued = Sighting::Issued {
        reference: id,
        spki: None,
    };
    assert_eq!(seen, issued);
}

#[tokio::test]
async fn what_is_withdrawn_is_unused_again_and_withdrawing_twice_does_no_harm() {
    let scene = Applicant::at("2027-04-01").await;
    let mut host = Hand::on("one", &scene.ccm);
    let (now, request) = (scene.ccm.now(), wanted(&["www.example.com"]));
    let id = host.buy("o-1", now).await.unwrap();
    host.orders().withdraw(&id, None).await.unwrap();
    let key = host.key();
    host.apply(&id, &request, Some(&key)).await.unwrap();
    host.orders().withdraw(&id, None).await.unwrap();
    host.orders().withdraw(&id, None).await.unwrap();
    host.orders()
        .withdraw("scs1234567890123", None)
        .await
        .unwrap();
    let seen = host.look("o-2", &request, now).await.unwrap();
    assert_eq!(seen, Sighting::Unused { reference: id });
}
