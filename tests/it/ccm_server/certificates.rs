//! Private certificates, issued and looked at.

use serde_json::{Value, json};

use super::http::{get, post};
use crate::support::ccm::Ccm;

/// A CSR made by OpenSSL with these arguments behind `openssl req -new`.
pub(crate) fn csr(key: &[&str], rest: &[&str]) -> String {
    let directory = tempfile::tempdir().unwrap();
    let mut arguments = vec!["req", "-new", "-nodes", "-keyout", "key.pem"];
    arguments.extend_from_slice(key);
    arguments.extend_from_slice(rest);
    let output = std::process::Command::new("openssl")
        .args(&arguments)
        .current_dir(directory.path())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

pub(crate) const EC: &[&str] = &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];

pub(crate) fn by_csr(ccm: &Ccm, csr: &str) -> Value {
    json!({"issuer_id": ccm.issuing(), "csr": csr, "validity": {"type": "YEAR", "value": 1}})
}

#[tokio::test]
async fn a_certificate_by_csr_is_issued_shown_and_exported() {
    let ccm = Ccm::start().await;
    let csr = csr(
        EC,
        &[
            "-subj",
            "/CN=www.example.com",
            "-addext",
            "subjectAltName=DNS:www.example.com",
        ],
    );
    let id = post(&ccm, "/v1/private-certificates/csr", &by_csr(&ccm, &csr))
        .await
        .expect(200)
        .text("certificate_id");
    let shown = get(&ccm, &format!("/v1/private-certificates/{id}"))
        .await
        .expect(200);
    assert_eq!(shown.body["status"], "ISSUED");
    assert_eq!(shown.body["issuer_id"], ccm.issuing());
    let export = json!({"type": "other", "is_compressed": false});
    let exported = post(
        &ccm,
        &format!("/v1/private-certificates/{id}/export"),
        &export,
    )
    .await
    .expect(200);
    assert!(
        exported
            .text("certificate")
            .contains("-----BEGIN CERTIFICATE-----\r\n")
    );
    assert!(exported.body.get("private_key").is_none());
    assert_eq!(ccm.issued("www.example.com").await, 1);
}
