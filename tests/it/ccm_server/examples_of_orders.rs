//! The reference's own examples of purchases and applications, in both versions: taken as they are, and answered in their
//! shape.

use renewd::model::Seconds;
use serde_json::{Value, json};

use super::applicant::Applicant;
use super::conformance::{conforms, example};
use super::http::{get, post, post_nothing};

macro_rules! fixture {
    ($name:literal) => {
        example(include_str!(concat!("../../fixtures/ccm/", $name, ".json")))
    };
}

/// The examples of applications leave out what their tables demand.
fn with_method(mut body: Value) -> Value {
    body["domain_method"] = json!("DNS");
    body
}

#[tokio::test]
async fn version_3_takes_them() {
    let world = Applicant::at("2027-01-01").await;
    let bought = post(
        &world.ccm,
        "/v3/scm/certificates/buy",
        &fixture!("scm-v3.SubscribeCertificate.request"),
    )
    .await
    .expect(200);
    conforms(
        &fixture!("scm-v3.SubscribeCertificate.response"),
        &bought.body,
        "SubscribeCertificate",
    );
    let id = bought.body["cert"][0]["cert_id"].as_str().unwrap();
    let body = fixture!("scm-v3.ApplyCertificate.request");
    world.apply(id, &body).await.refused(400, "SCM.0005");
    let applied = world.apply(id, &with_method(body)).await.expect(200);
    conforms(
        &fixture!("scm-v3.ApplyCertificate.response"),
        &applied.body,
        "ApplyCertificate",
    );
    world.look().await;
    let shown = world.shown(id).await;
    conforms(
        &fixture!("scm-v3.ShowCertificate.response"),
        &shown,
        "ShowCertificate",
    );
    assert_eq!(shown["status"], "CHECKING_DOMAIN");
    let cancelled = world.cancel(id).await.expect(200);
    conforms(
        &fixture!("scm-v3.CancelCertificateRequest.response"),
        &cancelled.body,
        "CancelCertificateRequest",
    );
}

#[tokio::test]
async fn version_2_takes_them() {
    let world = Applicant::at("2027-01-01").await;
    let base = format!("/v2/{}/scm/cert", world.ccm.user.project_id);
    let body = fixture!("scm-v2.PurchaseCertificate.request");
    let bought = post(&world.ccm, &format!("{base}/purchase"), &body)
        .await
        .expect(200);
    conforms(
        &fixture!("scm-v2.PurchaseCertificate.response"),
        &bought.body,
        "PurchaseCertificate",
    );
    let id = bought.body["cert"][0]["cert_id"].as_str().unwrap();
    let base = format!("{base}/{id}");
    let body = fixture!("scm-v2.SaveCertificateInfo.request");
    post(&world.ccm, &format!("{base}/save"), &body)
        .await
        .expect(200);
    let read = post_nothing(&world.ccm, &format!("{base}/read"))
        .await
        .expect(200);
    conforms(
        &fixture!("scm-v2.ReadCertificateInfo.response"),
        &read.body,
        "ReadCertificateInfo",
    );
    assert_eq!(read.body["domain_name"], "www.xzz.com");
    let mut body = with_method(fixture!("scm-v2.CompleteCertificate.request"));
    let complete = format!("{base}/complete");
    let applied = post(&world.ccm, &complete, &body).await.expect(200);
    conforms(
        &fixture!("scm-v2.CompleteCertificate.response"),
        &applied.body,
        "CompleteCertificate",
    );
    let verified = get(&world.ccm, &format!("{base}/domain-verify"))
        .await
        .expect(200);
    conforms(
        &fixture!("scm-v2.ShowDomainVerification.response"),
        &verified.body,
        "ShowDomainVerification",
    );
    let cancelled = post_nothing(&world.ccm, &format!("{base}/cancel-cert"))
        .await
        .expect(200);
    conforms(
        &fixture!("scm-v2.CancelCertificateApplication.response"),
        &cancelled.body,
        "CancelCertificateApplication",
    );
    // The names that the example of a supplement starts from.
    body["sans"] = json!("abc.com;xyz.com");
    post(&world.ccm, &complete, &body).await.expect(200);
    world.prove(id).await;
    world.pass(Seconds::minutes(1)).await;
    let supplement = fixture!("scm-v2.SupplementDomains.request");
    let added = post(&world.ccm, &format!("{base}/supplement"), &supplement)
        .await
        .expect(200);
    conforms(
        &fixture!("scm-v2.SupplementDomains.response"),
        &added.body,
        "SupplementDomains",
    );
    world.prove(id).await;
    world.pass(Seconds::minutes(1)).await;
    assert_eq!(
        world.shown(id).await["sans"],
        "abc.com;xyz.com;example.domain.com"
    );
    let reason = fixture!("scm-v2.RevokeCertificate.request");
    let revoked = post(&world.ccm, &format!("{base}/revoke"), &reason)
        .await
        .expect(200);
    conforms(
        &fixture!("scm-v2.RevokeCertificate.response"),
        &revoked.body,
        "RevokeCertificate",
    );
    assert_eq!(world.status(id).await, "REVOKE");
}
