//! Answers against the reference's own examples: every field of an example is there, and of its type.

use serde_json::{Value, json};

use super::http::{get, post, post_nothing};
use super::openssl::{EC, csr, self_signed};
use crate::support::ccm::Ccm;

/// Stops the test unless `answer` has every field of `example`, of the same type or null.
#[track_caller]
pub(super) fn conforms(example: &Value, answer: &Value, at: &str) {
    match (example, answer) {
        (Value::Object(fields), Value::Object(have)) => {
            for (name, value) in fields {
                let found = have
                    .get(name)
                    .unwrap_or_else(|| panic!("{at}.{name} is missing"));
                conforms(value, found, &format!("{at}.{name}"));
            }
        }
        (Value::Array(items), Value::Array(have)) => {
            if let Some(first) = items.first() {
                assert!(!have.is_empty(), "{at} is empty, so nothing was compared");
                have.iter()
                    .for_each(|item| conforms(first, item, &format!("{at}[]")));
            }
        }
        (Value::String(_), Value::String(_))
        | (Value::Number(_), Value::Number(_))
        | (Value::Bool(_), Value::Bool(_))
        | (Value::Null, _)
        | (_, Value::Null) => {}
        _ => panic!("{at} is {answer}, where the example has {example}"),
    }
}

pub(super) fn example(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// The example with its placeholders replaced.
fn filled(text: &str, with: &[(&str, &str)]) -> Value {
    let mut body = example(text);
    for (field, value) in with {
        body[*field] = json!(value);
    }
    body
}

#[tokio::test]
async fn pca_takes_the_example_requests_and_answers_in_the_example_s_shape() {
    let ccm = Ccm::start().await;
    let issuer = ("issuer_id", ccm.issuing());

    let request = example(include_str!(
        "../../fixtures/ccm/pca-v1.CreateCertificateAuthority.request.json"
    ));
    let made = post(&ccm, "/v1/private-certificate-authorities", &request)
        .await
        .expect(200);
    conforms(
        &example(include_str!(
            "../../fixtures/ccm/pca-v1.CreateCertificateAuthority.response.json"
        )),
        &made.body,
        "CreateCertificateAuthority",
    );
    let list = get(&ccm, "/v1/private-certificate-authorities")
        .await
        .expect(200);
    conforms(
        &example(include_str!(
            "../../fixtures/ccm/pca-v1.ListCertificateAuthority.response.json"
        )),
        &list.body,
        "ListCertificateAuthority",
    );
    let path = format!("/v1/private-certificate-authorities/{}", ccm.issuing());
    conforms(
        &example(include_str!(
            "../../fixtures/ccm/pca-v1.ShowCertificateAuthority.response.json"
        )),
        &get(&ccm, &path).await.expect(200).body,
        "ShowCertificateAuthority",
    );
    conforms(
        &example(include_str!(
            "../../fixtures/ccm/pca-v1.ExportCertificateAuthorityCertificate.response.json"
        )),
        &post_nothing(&ccm, &format!("{path}/export"))
            .await
            .expect(200)
            .body,
        "ExportCertificateAuthorityCertificate",
    );

    let request = filled(
        include_str!("../../fixtures/ccm/pca-v1.CreateCertificate.request.json"),
        &[issuer],
    );
    let made = post(&ccm, "/v1/private-certificates", &request)
        .await
        .expect(200);
    conforms(
        &example(include_str!(
            "../../fixtures/ccm/pca-v1.CreateCertificate.response.json"
        )),
        &made.body,
        "CreateCertificate",
    );
    let path = format!("/v1/private-certificates/{}", made.text("certificate_id"));
    conforms(
        &example(include_str!(
            "../../fixtures/ccm/pca-v1.ShowCertificate.response.json"
        )),
        &get(&ccm, &path).await.expect(200).body,
        "ShowCertificate",
    );
    let request = example(include_str!(
        "../../fixtures/ccm/pca-v1.ExportCertificate.request.json"
    ));
    conforms(
        &example(include_str!(
            "../../fixtures/ccm/pca-v1.ExportCertificate.response.json"
        )),
        &post(&ccm, &format!("{path}/export"), &request)
            .await
            .expect(200)
            .body,
        "ExportCertificate",
    );

    let own = csr(EC, &["-subj", "/CN=www.example.com"]);
    let request = filled(
        include_str!("../../fixtures/ccm/pca-v1.CreateCertificateByCsr.request.json"),
        &[issuer, ("csr", &own)],
    );
    let made = post(&ccm, "/v1/private-certificates/csr", &request)
        .await
        .expect(200);
    conforms(
        &example(include_str!(
            "../../fixtures/ccm/pca-v1.CreateCertificateByCsr.response.json"
        )),
        &made.body,
        "CreateCertificateByCsr",
    );
    let list = get(&ccm, "/v1/private-certificates").await.expect(200);
    conforms(
        &example(include_str!(
            "../../fixtures/ccm/pca-v1.ListCertificate.response.json"
        )),
        &list.body,
        "ListCertificate",
    );
    let request = example(include_str!(
        "../../fixtures/ccm/pca-v1.RevokeCertificate.request.json"
    ));
    post(&ccm, &format!("{path}/revoke"), &request)
        .await
        .expect(204);
}

#[tokio::test]
async fn scm_takes_the_example_requests_and_answers_in_the_example_s_shape() {
    let ccm = Ccm::start().await;
    let (certificate, key) = self_signed(
        "www.example.com",
        "DNS:www.example.com,DNS:a.example.com",
        "30",
    );
    let request = filled(
        include_str!("../../fixtures/ccm/scm-v3.ImportCertificate.request.json"),
        &[("certificate", &certificate), ("private_key", &key)],
    );
    let made = post(&ccm, "/v3/scm/certificates/import", &request)
        .await
        .expect(200);
    conforms(
        &example(include_str!(
            "../../fixtures/ccm/scm-v3.ImportCertificate.response.json"
        )),
        &made.body,
        "ImportCertificate",
    );
    let list = get(&ccm, "/v3/scm/certificates").await.expect(200);
    conforms(
        &example(include_str!(
            "../../fixtures/ccm/scm-v3.ListCertificates.response.json"
        )),
        &list.body,
        "ListCertificates",
    );
    let path = format!("/v3/scm/certificates/{}", made.text("certificate_id"));
    let mut shown = example(include_str!(
        "../../fixtures/ccm/scm-v3.ShowCertificate.response.json"
    ));
    // An imported certificate has no domain to be validated, so there is nothing to compare here.
    shown["authentification"] = json!([]);
    conforms(
        &shown,
        &get(&ccm, &path).await.expect(200).body,
        "ShowCertificate",
    );
    conforms(
        &example(include_str!(
            "../../fixtures/ccm/scm-v3.ExportCertificate.response.json"
        )),
        &post_nothing(&ccm, &format!("{path}/export"))
            .await
            .expect(200)
            .body,
        "ExportCertificate",
    );
}
