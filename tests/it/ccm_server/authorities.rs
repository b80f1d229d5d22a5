//! Private CAs over the API (CCM API 4.2.1).

use renewd::model::Seconds;
use serde_json::{Value, json};

use super::http::{get, post, post_nothing};
use super::openssl::{self, csr};
use crate::support::ccm::{Ccm, Wanted};

pub(super) const CAS: &str = "/v1/private-certificate-authorities";

fn name(common_name: &str) -> Value {
    json!({
        "common_name": common_name, "country": "CN", "state": "sichuan", "locality": "chengdu",
        "organization": "HW", "organizational_unit": "dew",
    })
}

pub(super) fn root(common_name: &str, key: &str, hash: &str) -> Value {
    json!({
        "type": "ROOT", "key_algorithm": key, "signature_algorithm": hash,
        "distinguished_name": name(common_name), "validity": {"type": "YEAR", "value": 3},
    })
}

pub(super) fn subordinate(common_name: &str, key: &str, hash: &str, issuer: &str) -> Value {
    json!({
        "type": "SUBORDINATE", "key_algorithm": key, "signature_algorithm": hash, "issuer_id": issuer,
        "distinguished_name": name(common_name), "validity": {"type": "YEAR", "value": 2},
    })
}

pub(super) async fn create(ccm: &Ccm, body: &Value) -> String {
    post(ccm, CAS, body).await.expect(200).text("ca_id")
}

pub(super) async fn show(ccm: &Ccm, id: &str) -> Value {
    get(ccm, &format!("{CAS}/{id}")).await.expect(200).body
}

#[tokio::test]
async fn chains_of_every_key_type_stand_up_to_openssl_s_strict_check() {
    let ccm = Ccm::start().await;
    for (key, hash) in [
        ("RSA2048", "SHA256"),
        ("RSA2048", "SHA512"),
        ("EC256", "SHA256"),
        ("EC384", "SHA384"),
    ] {
        let top = create(&ccm, &root("Top", key, hash)).await;
        let mut middle = subordinate("Middle", key, hash, &top);
        middle["path_length"] = json!(1);
        let middle = create(&ccm, &middle).await;
        let low = create(&ccm, &subordinate("Low", key, hash, &middle)).await;
        let request = csr(
            openssl::EC,
            &[
                "-subj",
                "/CN=www.example.com",
                "-addext",
                "subjectAltName=DNS:www.example.com",
            ],
        );
        let body =
            json!({"issuer_id": low, "csr": request, "validity": {"type": "MONTH", "value": 1}});
        let id = post(&ccm, "/v1/private-certificates/csr", &body)
            .await
            .expect(200)
            .text("certificate_id");
        let export = format!("/v1/private-certificates/{id}/export");
        let exported = post(
            &ccm,
            &export,
            &json!({"type": "NGINX", "is_compressed": "false"}),
        )
        .await
        .expect(200);
        let authority = post_nothing(&ccm, &format!("{CAS}/{low}/export"))
            .await
            .expect(200);
        let above = authority.text("certificate_chain");
        assert_eq!(
            exported.text("certificate_chain"),
            format!("{}{above}", authority.text("certificate")),
            "issuer first, root last"
        );
        let anchor = post_nothing(&ccm, &format!("{CAS}/{top}/export"))
            .await
            .expect(200);
        assert!(anchor.body["certificate_chain"].is_null());
        assert!(above.ends_with(&anchor.text("certificate")));
        let chain = exported.text("certificate_chain");
        openssl::verify(
            &anchor.text("certificate"),
            &chain,
            &exported.text("certificate"),
            "www.example.com",
        );
    }
}

#[tokio::test]
async fn an_rsa_root_of_4096_bits_is_made_as_the_reference_s_example_asks() {
    let ccm = Ccm::start().await;
    let example = include_str!("../../fixtures/ccm/pca-v1.CreateCertificateAuthority.request.json");
    let example: Value = serde_json::from_str(example).unwrap();
    let id = create(&ccm, &example).await;
    let shown = show(&ccm, &id).await;
    assert_eq!(shown["key_algorithm"], "RSA4096");
    assert_eq!(shown["signature_algorithm"], "SHA512");
    assert_eq!(shown["path_length"], 7);
    assert_eq!(shown["crl_configuration"]["enabled"], false);
    assert_eq!(shown["crl_configuration"]["obs_bucket_name"], Value::Null);
    let years = shown["not_after"].as_i64().unwrap() - shown["not_before"].as_i64().unwrap();
    let days = [3 * 365, 3 * 365 + 1].map(|days: i64| (days * 86_400 + 60) * 1000);
    assert!(
        days.contains(&years),
        "calendar years and a minute: {years}"
    );
    let pem = post_nothing(&ccm, &format!("{CAS}/{id}/export"))
        .await
        .expect(200)
        .text("certificate");
    let text = openssl::text(&pem);
    assert!(text.contains("Public-Key: (4096 bit)"), "{text}");
    assert!(text.contains("sha512WithRSAEncryption"), "{text}");
}

#[tokio::test]
async fn a_subordinate_without_all_three_waits_for_its_activation() {
    let ccm = Wanted::new().at("2027-01-01").start().await;
    let top = create(&ccm, &root("Top", "EC256", "SHA256")).await;
    let mut pending = subordinate("Low", "EC384", "SHA384", &top);
    for left_out in ["issuer_id", "signature_algorithm", "validity"] {
        let mut body = pending.clone();
        body.as_object_mut().unwrap().remove(left_out);
        let id = create(&ccm, &body).await;
        assert_eq!(show(&ccm, &id).await["status"], "PENDING", "{left_out}");
    }
    pending.as_object_mut().unwrap().remove("issuer_id");
    pending["key_usages"] = json!(["digitalSignature", "cRLSign"]);
    let id = create(&ccm, &pending).await;
    let shown = show(&ccm, &id).await;
    for unknown in [
        "not_before",
        "not_after",
        "issuer_id",
        "issuer_name",
        "serial_number",
        "signature_algorithm",
    ] {
        assert!(shown[unknown].is_null(), "{unknown}: {shown}");
    }
    let export = format!("{CAS}/{id}/export");
    post_nothing(&ccm, &export)
        .await
        .refused(403, "PCA.00030201");
    let activate = format!("{CAS}/{id}/activate");
    let body = json!({
        "issuer_id": top, "path_length": 3, "signature_algorithm": "SHA256", "validity": {"type": "YEAR", "value": 9},
    });
    post(&ccm, &activate, &body).await.expect(204);
    post(&ccm, &activate, &body)
        .await
        .refused(403, "PCA.00030201");
    let shown = show(&ccm, &id).await;
    assert_eq!(shown["status"], "ACTIVED");
    assert_eq!(shown["path_length"], 3);
    assert_eq!(shown["issuer_name"], "Top");
    assert_eq!(
        shown["not_after"],
        show(&ccm, &top).await["not_after"],
        "cut to the issuer's end"
    );
    let text = openssl::text(
        &post_nothing(&ccm, &export)
            .await
            .expect(200)
            .text("certificate"),
    );
    assert!(text.contains("CA:TRUE, pathlen:3"), "{text}");
    assert!(
        text.contains("Digital Signature, Certificate Sign, CRL Sign"),
        "{text}"
    );
}

#[tokio::test]
async fn a_ca_below_one_with_path_length_0_is_refused() {
    let ccm = Ccm::start().await;
    let body = subordinate("Too deep", "EC256", "SHA256", ccm.issuing());
    post(&ccm, CAS, &body).await.refused(400, "PCA.00020203");
}

#[tokio::test]
async fn a_disabled_ca_issues_nothing_until_it_is_enabled() {
    let ccm = Ccm::start().await;
    let path = format!("{CAS}/{}", ccm.issuing());
    let issue = || {
        let request = csr(openssl::EC, &["-subj", "/CN=a.example"]);
        json!({"issuer_id": ccm.issuing(), "csr": request, "validity": {"type": "DAY", "value": 1}})
    };
    post(&ccm, "/v1/private-certificates/csr", &issue())
        .await
        .expect(200);
    post_nothing(&ccm, &format!("{path}/enable"))
        .await
        .refused(403, "PCA.00030201");
    post_nothing(&ccm, &format!("{path}/disable"))
        .await
        .expect(204);
    post_nothing(&ccm, &format!("{path}/disable"))
        .await
        .refused(403, "PCA.00030201");
    assert_eq!(show(&ccm, ccm.issuing()).await["status"], "DISABLED");
    post(&ccm, "/v1/private-certificates/csr", &issue())
        .await
        .refused(403, "PCA.00030201");
    post_nothing(&ccm, &format!("{path}/export"))
        .await
        .refused(403, "PCA.00030201");
    post_nothing(&ccm, &format!("{path}/enable"))
        .await
        .expect(204);
    post(&ccm, "/v1/private-certificates/csr", &issue())
        .await
        .expect(200);
}

#[tokio::test]
async fn a_ca_past_its_end_is_expired_and_issues_nothing() {
    let ccm = Wanted::new().at("2027-01-01").start().await;
    let mut short = root("Short", "EC256", "SHA256");
    short["validity"] = json!({"type": "HOUR", "value": 1});
    let id = create(&ccm, &short).await;
    ccm.advance(Seconds(3600 + 60));
    assert_eq!(show(&ccm, &id).await["status"], "ACTIVED");
    ccm.advance(Seconds(1));
    assert_eq!(show(&ccm, &id).await["status"], "EXPIRED");
    let list = get(&ccm, &format!("{CAS}?status=EXPIRED"))
        .await
        .expect(200);
    assert_eq!(
        (
            &list.body["total"],
            &list.body["certificate_authorities"][0]["ca_id"]
        ),
        (&json!(1), &json!(id))
    );
    let request = csr(openssl::EC, &["-subj", "/CN=a.example"]);
    let body = json!({"issuer_id": id, "csr": request, "validity": {"type": "DAY", "value": 1}});
    post(&ccm, "/v1/private-certificates/csr", &body)
        .await
        .refused(403, "PCA.00030201");
    post_nothing(&ccm, &format!("{CAS}/{id}/export"))
        .await
        .expect(200);
}

#[tokio::test]
async fn the_list_is_filtered_sorted_and_paged_and_answers_both_spellings() {
    let ccm = Ccm::start().await;
    for n in 0..5 {
        create(&ccm, &root(&format!("Root {n}"), "EC256", "SHA256")).await;
    }
    let names = |reply: &Value| {
        let list = reply["certificate_authorities"].as_array().unwrap();
        let names = list
            .iter()
            .map(|ca| ca["distinguished_name"]["common_name"].as_str().unwrap());
        names.map(str::to_owned).collect::<Vec<_>>()
    };
    let sorted = get(
        &ccm,
        &format!("{CAS}?sort_key=common_name&sort_dir=ASC&type=ROOT&limit=2&offset=1"),
    )
    .await;
    let sorted = sorted.expect(200).body;
    assert_eq!(sorted["total"], 6);
    assert_eq!(names(&sorted), ["Root 1", "Root 2"]);
    let found = get(&ccm, &format!("{CAS}?name=oot%203"))
        .await
        .expect(200)
        .body;
    assert_eq!(names(&found), ["Root 3"]);
    let newest = get(&ccm, &format!("{CAS}?limit=1")).await.expect(200).body;
    assert_eq!(names(&newest), ["Root 4"]);
    let none = get(&ccm, &format!("{CAS}?name=%25")).await.expect(200).body;
    assert_eq!(
        none["total"], 0,
        "a percent sign is a character, not a pattern"
    );
    let camel = get(&ccm, "/v1/private-certificateAuthorities?limit=1")
        .await
        .expect(200)
        .body;
    assert_eq!(names(&camel), ["Root 4"]);
}

#[tokio::test]
async fn what_is_out_of_its_limits_gets_the_code_of_its_field() {
    let ccm = Ccm::start().await;
    let sound = root("Sound", "EC256", "SHA256");
    let cases: [(&str, Value, &str); 12] = [
        ("/type", json!("LEAF"), "PCA.00020202"),
        ("/type", Value::Null, "PCA.00020202"),
        ("/key_algorithm", json!("EC521"), "PCA.00020102"),
        ("/signature_algorithm", json!("MD5"), "PCA.00020103"),
        ("/signature_algorithm", Value::Null, "PCA.00020103"),
        ("/validity", Value::Null, "PCA.00020109"),
        ("/validity/value", json!(31), "PCA.00020109"),
        ("/validity/value", json!(0), "PCA.00020109"),
        ("/validity/type", json!("WEEK"), "PCA.00020109"),
        (
            "/distinguished_name/common_name",
            json!("x".repeat(65)),
            "PCA.00020101",
        ),
        ("/distinguished_name/country", json!("1!"), "PCA.00020101"),
        ("/distinguished_name/state", Value::Null, "PCA.00020101"),
    ];
    for (field, value, code) in cases {
        let mut body = sound.clone();
        *body.pointer_mut(field).unwrap() = value;
        post(&ccm, CAS, &body).await.refused(400, code);
    }
    let mut early = sound.clone();
    early["validity"]["start_from"] = json!((ccm.now().0 - 600) * 1000);
    post(&ccm, CAS, &early).await.refused(400, "PCA.00020109");
    let mut orphan = subordinate(
        "Orphan",
        "EC256",
        "SHA256",
        "a6bbf0be-79f3-4f66-858a-0fdcb96dfcbe",
    );
    post(&ccm, CAS, &orphan).await.refused(404, "PCA.00030103");
    orphan["issuer_id"] = json!("x");
    post(&ccm, CAS, &orphan).await.refused(400, "PCA.00020201");
    get(&ccm, &format!("{CAS}/nonsense"))
        .await
        .refused(400, "PCA.00020201");
    get(&ccm, &format!("{CAS}/a6bbf0be-79f3-4f66-858a-0fdcb96dfcbe"))
        .await
        .refused(404, "PCA.00030102");
    get(&ccm, &format!("{CAS}?status=REVOKED"))
        .await
        .refused(400, "PCA.00020404");
    get(&ccm, &format!("{CAS}?limit=1001"))
        .await
        .refused(400, "PCA.00020001");
    get(&ccm, &format!("{CAS}?offset=-1"))
        .await
        .refused(400, "PCA.00020001");
}
