//! Subordinate CAs that are certified by CSR, with their keys elsewhere (CCM API 4.2.2.3, `INTERMEDIATE_CA`).

use std::path::Path;

use serde_json::{Value, json};

use super::authorities::{CAS, create, root, show, subordinate};
use super::http::{Reply, get, post, post_nothing};
use super::openssl::{self, EC, RSA, csr, said};
use crate::support::ccm::Ccm;

const BY_CSR: &str = "/v1/private-certificates/csr";

fn wanted(issuer: &str, csr: &str, path_length: &Value) -> Value {
    json!({
        "issuer_id": issuer, "csr": csr, "type": "INTERMEDIATE_CA", "path_length": path_length,
        "validity": {"type": "YEAR", "value": 1},
    })
}

async fn certify(ccm: &Ccm, issuer: &str, csr: &str, path_length: &Value) -> Reply {
    post(ccm, BY_CSR, &wanted(issuer, csr, path_length)).await
}

/// Certificate and chain of a CA.
async fn exported(ccm: &Ccm, id: &str) -> (String, String) {
    let reply = post_nothing(ccm, &format!("{CAS}/{id}/export")).await;
    let reply = reply.expect(200);
    // A root has none.
    let chain = reply.body["certificate_chain"].as_str().unwrap_or_default();
    (reply.text("certificate"), chain.to_owned())
}

/// Makes a key and a CSR in files, and answers the CSR.
fn request(directory: &Path, subject: &str, more: &[&str]) -> String {
    let start = [
        "req", "-new", "-nodes", "-keyout", "ca.key", "-subj", subject,
    ];
    said(directory, &[&start[..], EC, more].concat())
}

#[tokio::test]
async fn a_ca_by_csr_signs_leaves_elsewhere_that_openssl_accepts() {
    let ccm = Ccm::start().await;
    let top = create(&ccm, &root("Top", "EC384", "SHA384")).await;
    let mut middle = subordinate("Middle", "RSA2048", "SHA256", &top);
    middle["path_length"] = json!(1);
    let middle = create(&ccm, &middle).await;
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let csr = request(directory, "/C=CN/O=Corp/CN=Department CA", &[]);
    let reply = certify(&ccm, &middle, &csr, &json!(0)).await.expect(200);
    let id = reply.text("certificate_id");

    let (certificate, chain) = exported(&ccm, &id).await;
    let words = openssl::text(&certificate);
    assert!(words.contains("CA:TRUE, pathlen:0"), "{words}");
    assert!(
        words.contains("Digital Signature, Certificate Sign, CRL Sign"),
        "{words}"
    );
    assert!(
        words.contains("Subject: C = CN, O = Corp, CN = Department CA"),
        "{words}"
    );
    assert!(
        words.contains("Signature Algorithm: sha384WithRSA"),
        "{words}"
    );
    assert_eq!(chain.matches("BEGIN CERTIFICATE").count(), 2);

    std::fs::write(directory.join("ca.pem"), &certificate).unwrap();
    let leaf = [
        "req",
        "-new",
        "-nodes",
        "-keyout",
        "leaf.key",
        "-out",
        "leaf.csr",
        "-subj",
        "/CN=www.example.com",
    ];
    said(directory, &[&leaf[..], EC].concat());
    let extensions = "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n\
                      subjectAltName=DNS:www.example.com\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n";
    std::fs::write(directory.join("leaf.cnf"), extensions).unwrap();
    let leaf = said(
        directory,
        &[
            "x509",
            "-req",
            "-in",
            "leaf.csr",
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-days",
            "30",
            "-sha256",
            "-extfile",
            "leaf.cnf",
        ],
    );
    let (root, _) = exported(&ccm, &top).await;
    let above = format!("{certificate}{chain}");
    openssl::verify(&root, &above, &leaf, "www.example.com");
}

#[tokio::test]
async fn a_ca_by_csr_is_shown_and_exported_and_nothing_else() {
    let ccm = Ccm::start().await;
    let (list, quota) = (format!("{CAS}?limit=100"), format!("{CAS}/quotas"));
    let before = (
        get(&ccm, &list).await.expect(200).body,
        get(&ccm, &quota).await.expect(200).body,
    );
    let csr = csr(EC, &["-subj", "/CN=Department CA"]);
    let reply = certify(&ccm, ccm.issuing(), &csr, &Value::Null).await;
    // The issuing CA of a new server has CAs below it forbidden.
    reply.refused(400, "PCA.00020203");
    let top = create(&ccm, &root("Top", "EC384", "SHA384")).await;
    let before_total = before.0["total"].as_i64().unwrap() + 1;
    let reply = certify(&ccm, &top, &csr, &Value::Null).await.expect(200);
    let id = reply.text("certificate_id");
    let shown = show(&ccm, &id).await;
    for (field, value) in [
        ("ca_id", json!(id)),
        ("type", json!("SUBORDINATE")),
        ("status", json!("ACTIVED")),
        ("path_length", json!(0)),
        ("issuer_id", json!(top)),
        ("issuer_name", json!("Top")),
        ("key_algorithm", json!("EC256")),
        ("signature_algorithm", json!("SHA384")),
        ("gen_mode", json!("CSR")),
        ("delete_time", Value::Null),
    ] {
        assert_eq!(shown[field], value, "{field}");
    }
    assert_eq!(shown["distinguished_name"]["common_name"], "Department CA");
    assert_eq!(shown["crl_configuration"]["enabled"], false);

    let list = get(&ccm, &list).await.expect(200).body;
    assert_eq!(list["total"], before_total, "it is in no list: {list}");
    let used = |quota: &Value| quota["quotas"]["resources"][0]["used"].as_i64().unwrap();
    let quota = get(&ccm, &quota).await.expect(200).body;
    assert_eq!(used(&quota), used(&before.1) + 1, "it counts for nothing");
    get(&ccm, &format!("/v1/private-certificates/{id}"))
        .await
        .refused(404, "PCA.00030102");

    // Its key is somewhere else: it issues nothing, and there is nothing to change.
    let leaf = json!({"issuer_id": id, "csr": csr, "validity": {"type": "DAY", "value": 30}});
    post(&ccm, BY_CSR, &leaf).await.refused(403, "PCA.00030201");
    for what in ["disable", "revoke", "activate"] {
        let body = match what {
            "activate" => json!({
                "issuer_id": top, "signature_algorithm": "SHA256", "validity": {"type": "YEAR", "value": 1},
            }),
            _ => json!({}),
        };
        post(&ccm, &format!("{CAS}/{id}/{what}"), &body)
            .await
            .refused(403, "PCA.00030201");
    }
    get(&ccm, &format!("{CAS}/{id}/csr"))
        .await
        .refused(403, "PCA.00030201");
}

#[tokio::test]
async fn a_csr_is_heard_about_key_usages_of_cas_and_about_nothing_else() {
    let ccm = Ccm::start().await;
    let top = create(&ccm, &root("Top", "EC256", "SHA256")).await;
    for (usages, certified) in [
        ("keyCertSign", "Certificate Sign\n"),
        (
            "cRLSign,digitalSignature",
            "Digital Signature, Certificate Sign, CRL Sign\n",
        ),
        ("keyCertSign,keyEncipherment", "Certificate Sign\n"),
        (
            "keyEncipherment",
            "Digital Signature, Certificate Sign, CRL Sign\n",
        ),
    ] {
        let usages = format!("keyUsage=critical,{usages}");
        let more = [
            "-subj",
            "/CN=Department CA",
            "-addext",
            &usages,
            "-addext",
            "basicConstraints=critical,CA:TRUE,pathlen:5",
            "-addext",
            "extendedKeyUsage=serverAuth",
            "-addext",
            "subjectAltName=DNS:www.example.com",
        ];
        let csr = csr(RSA, &more);
        let reply = certify(&ccm, &top, &csr, &json!(1)).await.expect(200);
        let (certificate, _) = exported(&ccm, &reply.text("certificate_id")).await;
        let words = openssl::text(&certificate);
        let said = words
            .split("Key Usage: critical\n")
            .nth(1)
            .unwrap()
            .trim_start();
        assert!(said.starts_with(certified), "{usages}: {words}");
        assert!(words.contains("CA:TRUE, pathlen:1"), "{words}");
        assert!(
            !words.contains("Extended Key Usage") && !words.contains("www.example.com"),
            "{words}"
        );
    }
}

#[tokio::test]
async fn what_no_ca_could_be_made_of_is_refused() {
    let ccm = Ccm::start().await;
    let top = create(&ccm, &root("Top", "EC256", "SHA256")).await;
    let mut middle = subordinate("Middle", "EC256", "SHA256", &top);
    middle["path_length"] = json!(1);
    let middle = create(&ccm, &middle).await;
    let good = csr(EC, &["-subj", "/CN=Department CA"]);
    let nameless = csr(EC, &["-subj", "/O=Corp"]);
    let nobody = "2cb2878b-6cd1-460d-bd25-afe655159bdc";
    for (issuer, csr, path_length, status, code) in [
        (&middle[..], &good[..], json!(1), 400, "PCA.00020203"),
        (&top, &good, json!(7), 400, "PCA.00020203"),
        (&top, &good, json!(-1), 400, "PCA.00020203"),
        (&top, &nameless, json!(0), 400, "PCA.00020101"),
        (&top, "no CSR", json!(0), 400, "PCA.00020401"),
        (nobody, &good, json!(0), 404, "PCA.00030103"),
    ] {
        let reply = certify(&ccm, issuer, csr, &path_length).await;
        reply.refused(status, code);
    }
    let mut long = wanted(&top, &good, &json!(0));
    long["validity"]["value"] = json!(21);
    post(&ccm, BY_CSR, &long).await.refused(400, "PCA.00020109");
    post(&ccm, &format!("{CAS}/{top}/disable"), &json!({}))
        .await
        .expect(204);
    certify(&ccm, &top, &good, &json!(0))
        .await
        .refused(403, "PCA.00030201");
}
