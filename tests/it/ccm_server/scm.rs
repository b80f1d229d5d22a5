//! SSL certificates over the API (CCM API 4.1.5).

use renewd::model::Seconds;
use serde_json::{Value, json};

use super::http::{delete, get, post, post_nothing};
use super::openssl::{self, EC, csr, self_signed};
use crate::support::ccm::{Ccm, Wanted};

const CERTIFICATES: &str = "/v3/scm/certificates";
const IMPORT: &str = "/v3/scm/certificates/import";

fn upload(name: &str, certificate: &str, key: &str) -> Value {
    json!({"name": name, "certificate": certificate, "private_key": key})
}

/// A certificate of the server's own CA with key and chain.
async fn issued(ccm: &Ccm, common_name: &str, days: i64) -> (String, String, String) {
    let body = json!({
        "issuer_id": ccm.issuing(), "key_algorithm": "EC256", "signature_algorithm": "SHA256",
        "distinguished_name": {"common_name": common_name}, "validity": {"type": "DAY", "value": days},
        "subject_alternative_names": [{"type": "DNS", "value": common_name}],
    });
    let id = post(ccm, "/v1/private-certificates", &body)
        .await
        .expect(200)
        .text("certificate_id");
    let body = json!({"type": "OTHER", "is_compressed": false});
    let path = format!("/v1/private-certificates/{id}/export");
    let exported = post(ccm, &path, &body).await.expect(200);
    (
        exported.text("certificate"),
        exported.text("certificate_chain"),
        exported.text("private_key"),
    )
}

#[tokio::test]
async fn an_imported_certificate_is_shown_and_exported_as_it_came() {
    let ccm = Ccm::start().await;
    let (certificate, chain, key) = issued(&ccm, "www.example.com", 90).await;
    let mut body = upload("www", &certificate, &key);
    body["certificate_chain"] = json!(chain);
    let id = post(&ccm, IMPORT, &body)
        .await
        .expect(200)
        .text("certificate_id");
    assert!(id.len() == 16 && id.starts_with("scs"), "{id}");
    let shown = get(&ccm, &format!("{CERTIFICATES}/{id}"))
        .await
        .expect(200)
        .body;
    assert_eq!(shown["status"], "UPLOAD");
    assert_eq!(shown["domain"], "www.example.com");
    assert_eq!(shown["domain_type"], "SINGLE_DOMAIN");
    assert_eq!(shown["fingerprint"].as_str().unwrap().len(), 40);
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("c.pem"), &certificate).unwrap();
    let said = openssl::said(
        directory.path(),
        &["x509", "-in", "c.pem", "-noout", "-fingerprint", "-sha1"],
    );
    let fingerprint = said
        .trim()
        .split('=')
        .next_back()
        .unwrap()
        .replace(':', "")
        .to_lowercase();
    assert_eq!(shown["fingerprint"], fingerprint);
    let exported = post_nothing(&ccm, &format!("{CERTIFICATES}/{id}/export"))
        .await
        .expect(200);
    let unix = |text: &str| text.replace("\r\n", "\n");
    assert_eq!(exported.text("certificate"), unix(&certificate));
    assert_eq!(exported.text("certificate_chain"), unix(&chain));
    assert_eq!(
        exported.text("entire_certificate"),
        unix(&format!("{certificate}{chain}"))
    );
    assert_eq!(exported.text("private_key"), unix(&key));
    delete(&ccm, &format!("{CERTIFICATES}/{id}"))
        .await
        .expect(204);
    get(&ccm, &format!("{CERTIFICATES}/{id}"))
        .await
        .refused(404, "SCM.0094");
}

#[tokio::test]
async fn a_chain_may_come_in_the_certificate_field() {
    let ccm = Ccm::start().await;
    let (certificate, chain, key) = issued(&ccm, "www.example.com", 90).await;
    let body = upload("www", &format!("{certificate}{chain}"), &key);
    let id = post(&ccm, IMPORT, &body)
        .await
        .expect(200)
        .text("certificate_id");
    let exported = post_nothing(&ccm, &format!("{CERTIFICATES}/{id}/export"))
        .await
        .expect(200);
    assert_eq!(
        exported.text("certificate_chain"),
        chain.replace("\r\n", "\n")
    );
}

#[tokio::test]
async fn what_does_not_belong_together_is_refused() {
    let ccm = Ccm::start().await;
    let (certificate, chain, key) = issued(&ccm, "www.example.com", 90).await;
    let (other, other_key) = self_signed("b.example", "DNS:b.example", "30");
    let (nameless, nameless_key) = {
        let directory = tempfile::tempdir().unwrap();
        let arguments = [
            &[
                "req", "-x509", "-nodes", "-keyout", "k.pem", "-subj", "/CN=a b",
            ],
            EC,
        ]
        .concat();
        let certificate = openssl::said(directory.path(), &arguments);
        (
            certificate,
            std::fs::read_to_string(directory.path().join("k.pem")).unwrap(),
        )
    };
    let (malformed, malformed_key) = self_signed("a.example", "DNS:a.example,DNS:b..example", "30");
    let request = csr(EC, &["-subj", "/CN=a.example"]);
    let sound = upload("sound", &certificate, &key);
    let with = |field: &str, value: &str| {
        let mut body = sound.clone();
        body[field] = json!(value);
        body
    };
    // Issuing and root certificate the wrong way round.
    let second = chain.rfind("-----BEGIN").unwrap();
    let turned = format!("{}{}", &chain[second..], &chain[..second]);
    let cases = [
        (
            "another key",
            with("private_key", &other_key),
            400,
            "SCM.0014",
        ),
        ("no key", with("private_key", "x"), 400, "SCM.0012"),
        (
            "an encrypted key",
            with(
                "private_key",
                "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAA==\n-----END ENCRYPTED PRIVATE KEY-----",
            ),
            400,
            "SCM.0012",
        ),
        ("a request", with("certificate", &request), 400, "SCM.0006"),
        ("nothing", with("certificate", ""), 400, "SCM.0006"),
        (
            "a foreign chain",
            with("certificate_chain", &other),
            400,
            "SCM.0079",
        ),
        (
            "a turned chain",
            with("certificate_chain", &turned),
            400,
            "SCM.0079",
        ),
        ("no chain", with("certificate_chain", "x"), 500, "SCM.0013"),
        ("a short name", with("name", "ab"), 400, "SCM.0032"),
        ("a bad name", with("name", "a b c"), 400, "SCM.0032"),
        (
            "no domain",
            upload("nameless", &nameless, &nameless_key),
            400,
            "SCM.0009",
        ),
        (
            "a malformed domain",
            upload("malformed", &malformed, &malformed_key),
            400,
            "SCM.0070",
        ),
        (
            "too long",
            with("certificate", &"x".repeat(4097)),
            400,
            "SCM.0006",
        ),
    ];
    for (what, body, status, code) in cases {
        let reply = post(&ccm, IMPORT, &body).await;
        assert_eq!(
            (reply.status, reply.body["error_code"].as_str()),
            (status, Some(code)),
            "{what}: {}",
            reply.body
        );
    }
    assert_eq!(
        get(&ccm, CERTIFICATES).await.expect(200).body["total_count"],
        0
    );
}

#[tokio::test]
async fn expired_certificates_are_not_imported_and_twins_only_if_they_may() {
    let ccm = Wanted::new().at("2027-01-01").start().await;
    let (certificate, _, key) = issued(&ccm, "www.example.com", 1).await;
    let mut body = upload("www", &certificate, &key);
    post(&ccm, IMPORT, &body).await.expect(200);
    post(&ccm, IMPORT, &body).await.expect(200);
    body["duplicate_check"] = json!(true);
    post(&ccm, IMPORT, &body).await.expect(200);
    body["duplicate_check"] = json!(false);
    post(&ccm, IMPORT, &body).await.refused(400, "SCM.0005");
    ccm.advance(Seconds::days(2));
    post(&ccm, IMPORT, &body).await.refused(400, "SCM.0042");
}

#[tokio::test]
async fn the_list_knows_status_days_to_the_end_names_order_and_pages() {
    let ccm = Wanted::new().at("2027-01-01").start().await;
    for (name, days) in [("d10", 10), ("d20", 20), ("d30", 30), ("d40", 40)] {
        let (certificate, chain, key) = issued(&ccm, &format!("{name}.example"), days).await;
        let status = if name == "d30" { "ISSUED" } else { "UPLOAD" };
        ccm.import_scm(name, status, &certificate, &chain, &key)
            .await;
        ccm.advance(Seconds(1));
    }
    ccm.advance(Seconds::days(15));
    let query = |query: &str| {
        let target = format!("{CERTIFICATES}?{query}");
        let ccm = &ccm;
        async move {
            let body = get(ccm, &target).await.expect(200).body;
            let list = body["certificates"].as_array().unwrap();
            let names = list.iter().map(|c| c["name"].as_str().unwrap());
            (
                body["total_count"].as_i64().unwrap(),
                names.collect::<Vec<_>>().join(" "),
            )
        }
    };
    assert_eq!(query("").await, (4, "d40 d30 d20 d10".to_owned()));
    assert_eq!(
        query("status=ALL&sort_key=certExpiredTime&sort_dir=ASC")
            .await
            .1,
        "d10 d20 d30 d40"
    );
    assert_eq!(query("status=EXPIRED").await, (1, "d10".to_owned()));
    assert_eq!(query("status=UPLOAD").await.1, "d40 d20");
    assert_eq!(query("status=issued").await.1, "d30");
    assert_eq!(query("status=REVOKED").await.0, 0);
    // Valid now, and ending within so many days: the expired one is not among them.
    assert_eq!(query("expired_days_since=10").await.1, "d20");
    assert_eq!(query("expired_days_since=16").await.1, "d30 d20");
    assert_eq!(query("expired_days_since=0").await.0, 4);
    assert_eq!(query("deploy_support=true").await.0, 3);
    assert_eq!(query("content=D30.exam").await.1, "d30");
    assert_eq!(query("content=d&status=UPLOAD").await.1, "d40 d20");
    assert_eq!(
        query("sort_key=certStatus&sort_dir=ASC").await.1,
        "d10 d30 d20 d40"
    );
    assert_eq!(query("sort_key=certStatus").await.1, "d40 d20 d30 d10");
    assert_eq!(query("owned_by_self=false").await.0, 4);
    assert_eq!(query("enterprise_project_id=0").await.0, 4);
    assert_eq!(
        query("enterprise_project_id=7c0b1c33-491f-4b87-914a-bb708815b51a")
            .await
            .0,
        0
    );
    assert_eq!(query("limit=10&offset=3").await, (4, "d10".to_owned()));
    let first = get(&ccm, &format!("{CERTIFICATES}?content=d10"))
        .await
        .expect(200)
        .body;
    assert_eq!(
        first["certificates"][0]["expire_time"],
        "2027-01-11 00:01:00.0"
    );
}

#[tokio::test]
async fn the_list_s_parameters_have_their_limits() {
    let ccm = Ccm::start().await;
    for (query, code) in [
        ("limit=11", "SCM.0005"),
        ("limit=0", "SCM.0005"),
        ("offset=101", "SCM.0005"),
        ("expired_days_since=1096", "SCM.0005"),
        ("sort_key=name", "SCM.0005"),
        ("sort_dir=UP", "SCM.0005"),
        ("status=LOST", "SCM.0072"),
    ] {
        get(&ccm, &format!("{CERTIFICATES}?{query}"))
            .await
            .refused(400, code);
    }
    for query in [
        "limit=50&offset=100",
        "status=REVOKEING",
        "unheard_of=1",
        "status=",
    ] {
        get(&ccm, &format!("{CERTIFICATES}?{query}"))
            .await
            .expect(200);
    }
    get(&ccm, &format!("{CERTIFICATES}/short"))
        .await
        .refused(400, "SCM.0020");
    get(&ccm, &format!("{CERTIFICATES}/scs0000000000000"))
        .await
        .refused(404, "SCM.0094");
}

#[tokio::test]
async fn a_certificate_with_many_names_is_counted_by_kind() {
    let ccm = Ccm::start().await;
    let names = "DNS:*.example.com,DNS:example.com,DNS:*.example.org";
    let (certificate, key) = self_signed("example.com", names, "30");
    let id = post(&ccm, IMPORT, &upload("many", &certificate, &key))
        .await
        .expect(200)
        .text("certificate_id");
    let shown = get(&ccm, &format!("{CERTIFICATES}/{id}"))
        .await
        .expect(200)
        .body;
    assert_eq!(shown["domain"], "example.com");
    assert_eq!(shown["sans"], "*.example.com;*.example.org");
    assert_eq!(shown["domain_type"], "MULTI_DOMAIN");
    assert_eq!(
        (&shown["domain_count"], &shown["wildcard_count"]),
        (&json!(3), &json!(2))
    );
}
