//! A CA that is ACTIVED can do its work: sign certificates, and the lists that its certificates name.

use serde_json::{Value, json};

use super::authorities::{CAS, create, root, show, subordinate};
use super::crl::{certificate, fetched, judged, pem_of, point_of, prepared, with_list};
use super::http::{get, post};
use super::lifecycle::{Company, pending};
use super::openssl::text;
use crate::support::ccm::{Ccm, Wanted};

fn narrow(mut body: Value) -> Value {
    body["key_usages"] = json!(["digitalSignature", "keyCertSign"]);
    body
}

async fn activate(ccm: &Ccm, id: &str, issuer: &str, usages: &Value) {
    let mut body = json!({
        "issuer_id": issuer, "signature_algorithm": "SHA256", "path_length": 0,
        "validity": {"type": "YEAR", "value": 1},
    });
    if !usages.is_null() {
        body["key_usages"] = usages.clone();
    }
    post(ccm, &format!("{CAS}/{id}/activate"), &body)
        .await
        .expect(204);
}

#[tokio::test]
async fn a_ca_with_a_list_may_sign_it_whatever_usages_were_asked_for() {
    let ccm = prepared(Wanted::new()).await;
    let top = create(&ccm, &root("Top", "EC256", "SHA256")).await;
    let low = with_list(subordinate("At once", "EC256", "SHA256", &top), 7);
    let at_once = create(&ccm, &narrow(low)).await;
    let later = create(&ccm, &narrow(with_list(pending("Later"), 7))).await;
    activate(&ccm, &later, &top, &Value::Null).await;
    let then = create(&ccm, &with_list(pending("Said then"), 7)).await;
    activate(&ccm, &then, &top, &json!(["keyCertSign"])).await;
    let directory = tempfile::tempdir().unwrap();
    for ca in [&at_once, &later, &then] {
        let pem = pem_of(&ccm, ca).await;
        let (_, leaf) = certificate(&ccm, ca).await;
        fetched(&point_of(&leaf), directory.path()).await;
        let said = judged(directory.path(), &pem, &leaf);
        assert!(said.contains("leaf.pem: OK"), "{said}");
    }
    // Without a list it stays as it was asked for.
    let plain = narrow(subordinate("Without", "EC256", "SHA256", &top));
    let plain = create(&ccm, &plain).await;
    let words = text(&pem_of(&ccm, &plain).await);
    assert!(
        words.contains("Digital Signature, Certificate Sign\n"),
        "{words}"
    );
}

#[tokio::test]
async fn a_certificate_from_elsewhere_that_forbids_a_ca_its_work_is_refused() {
    let ccm = prepared(Wanted::new()).await;
    let company = Company::new();
    let certified = async |id: &str, usages: &str| {
        let request = get(&ccm, &format!("{CAS}/{id}/csr")).await.expect(200);
        let usages = format!("keyUsage=critical,{usages}\n");
        let usages = if usages.contains("none") { "" } else { &usages };
        company.certify_with(
            &request.text("csr"),
            &format!("basicConstraints=critical,CA:TRUE\nsubjectKeyIdentifier=hash\n{usages}"),
        )
    };
    let import = async |id: &str, usages: &str| {
        let body = json!({"certificate": certified(id, usages).await});
        post(&ccm, &format!("{CAS}/{id}/import"), &body).await
    };
    let plain = create(&ccm, &pending("Plain")).await;
    let listing = create(&ccm, &with_list(pending("Listing"), 7)).await;
    for (id, usages) in [
        (&plain, "digitalSignature"),
        (&plain, "cRLSign"),
        (&listing, "digitalSignature"),
        (&listing, "keyCertSign"),
    ] {
        let refused = import(id, usages).await;
        refused.refused(400, "PCA.00020402");
        assert_eq!(show(&ccm, id).await["status"], "PENDING", "{usages}");
    }
    import(&plain, "keyCertSign").await.expect(204);
    import(&listing, "keyCertSign,cRLSign").await.expect(204);
    // What is not limited may do everything.
    let open = create(&ccm, &with_list(pending("Unlimited"), 7)).await;
    import(&open, "none").await.expect(204);
    for id in [&plain, &listing, &open] {
        assert_eq!(show(&ccm, id).await["status"], "ACTIVED");
    }
}
