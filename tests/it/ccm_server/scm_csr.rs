//! CSRs that SCM keeps (CCM API 4.1.4).

use std::path::Path;

use renewd::model::Seconds;
use serde_json::{Value, json};

use super::http::{delete, get, post, put};
use super::openssl::{self, EC, EC384, RSA, openssl};
use crate::support::ccm::{Ccm, Wanted};

const CSR: &str = "/v3/scm/csr";
const UPLOAD: &str = "/v3/scm/csr/upload";
/// The identity that GB/T 35276 prescribes.
const IDENTITY: &str = "distid:1234567812345678";

pub(super) fn order(algorithm: &str) -> Value {
    json!({
        "name": "front", "domain_name": "www.example.com", "sans": "a.example.com;*.b.example.com",
        "private_key_algo": algorithm, "usage": "ENTERPRISE", "company_country": "CN",
        "company_province": "Beijing", "company_city": "Beijing", "company_name": "Company, Ltd.",
    })
}

/// Puts text into a file of a new directory.
fn file(name: &str, text: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join(name), text).unwrap();
    directory
}

/// The public key of a private key and that of a CSR, in the same form.
fn public_keys(csr: &str, key: &str) -> (String, String) {
    let directory = file("c.pem", csr);
    std::fs::write(directory.path().join("k.pem"), key).unwrap();
    let of_key = ["pkey", "-in", "k.pem", "-pubout"];
    let of_csr = ["req", "-in", "c.pem", "-noout", "-pubkey"];
    (
        openssl::said(directory.path(), &of_key),
        openssl::said(directory.path(), &of_csr),
    )
}

#[tokio::test]
async fn a_csr_of_each_kind_is_made_with_its_key_and_openssl_accepts_it() {
    let ccm = Ccm::start().await;
    for algorithm in [
        "RSA_2048", "RSA_3072", "RSA_4096", "EC_P256", "EC_P384", "SM2",
    ] {
        let made = post(&ccm, CSR, &order(algorithm)).await.expect(201);
        assert_eq!(made.body["private_key_algo"], algorithm);
        assert_eq!(made.body["domain_name"], "www.example.com");
        assert_eq!(made.body["sans"], "a.example.com;*.b.example.com");
        assert_eq!(made.body["company_name"], "Company, Ltd.");
        assert!(made.body["create_time"].as_i64().unwrap() > 1_700_000_000_000);
        let id = made.text("id");
        assert!(id.len() == 32 && id.bytes().all(|c| c.is_ascii_hexdigit()));
        let shown = get(&ccm, &format!("{CSR}/{id}")).await.expect(200);
        let (csr, key) = (
            shown.text("csr"),
            get(&ccm, &format!("{CSR}/{id}/private-key"))
                .await
                .expect(200)
                .text("private_key"),
        );
        let directory = file("c.pem", &csr);
        let verify = ["req", "-in", "c.pem", "-noout", "-verify", "-text"];
        let more: &[&str] = if algorithm == "SM2" {
            &["-vfyopt", IDENTITY]
        } else {
            &[]
        };
        let output = openssl(directory.path(), &[&verify, more].concat());
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{algorithm}: {told}");
        assert!(told.contains("verify OK"), "{algorithm}: {told}");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        for wanted in [
            "C = CN, ST = Beijing, L = Beijing, O = \"Company, Ltd.\", CN = www.example.com",
            "DNS:www.example.com, DNS:a.example.com, DNS:*.b.example.com",
        ] {
            assert!(text.contains(wanted), "{algorithm}: {text}");
        }
        let (of_key, of_csr) = public_keys(&csr, &key);
        assert_eq!(of_key, of_csr, "{algorithm}");
    }
    assert_eq!(get(&ccm, CSR).await.expect(200).body["total"], 6);
}

#[tokio::test]
async fn openssl_does_not_accept_an_sm2_csr_under_another_identity() {
    let ccm = Ccm::start().await;
    let id = post(&ccm, CSR, &order("SM2")).await.expect(201).text("id");
    let csr = get(&ccm, &format!("{CSR}/{id}"))
        .await
        .expect(200)
        .text("csr");
    let directory = file("c.pem", &csr);
    let verify = [
        "req", "-in", "c.pem", "-noout", "-verify", "-vfyopt", "distid:1",
    ];
    let output = openssl(directory.path(), &verify);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("verify failure"), "{told}");
}

#[tokio::test]
async fn a_private_person_needs_no_company_and_an_enterprise_needs_all_of_it() {
    let ccm = Ccm::start().await;
    let personal = json!({
        "name": "own", "domain_name": "Example.COM", "private_key_algo": "EC_P256", "usage": "personal",
    });
    let made = post(&ccm, CSR, &personal).await.expect(201).body;
    assert_eq!(made["usage"], "PERSONAL");
    assert_eq!(made["domain_name"], "example.com");
    assert_eq!(made["sans"], "");
    assert_eq!(made["company_name"], Value::Null);
    for field in [
        "company_country",
        "company_province",
        "company_city",
        "company_name",
    ] {
        for value in [Value::Null, json!("")] {
            let mut body = order("EC_P256");
            body[field] = value;
            let reply = post(&ccm, CSR, &body).await;
            reply.refused(400, "SCM.0005");
            assert!(reply.text("error_detail").contains(field));
        }
    }
}

#[tokio::test]
async fn what_breaks_a_limit_of_a_csr_is_refused() {
    let ccm = Ccm::start().await;
    let cases = [
        ("name", json!(""), "SCM.0005"),
        ("name", json!("n".repeat(64)), "SCM.0005"),
        ("name", Value::Null, "SCM.0005"),
        ("domain_name", json!(""), "SCM.0108"),
        ("domain_name", json!("a b"), "SCM.0108"),
        ("domain_name", json!("a@b.example"), "SCM.0108"),
        (
            "domain_name",
            json!(format!("{}.example", "d".repeat(60))),
            "SCM.0108",
        ),
        ("domain_name", Value::Null, "SCM.0108"),
        ("sans", json!("a.example.com;b..c"), "SCM.0108"),
        ("sans", json!("x".repeat(256)), "SCM.0108"),
        ("sans", json!("WWW.example.com"), "SCM.0063"),
        ("private_key_algo", json!("RSA_1024"), "SCM.0005"),
        ("private_key_algo", Value::Null, "SCM.0005"),
        ("usage", json!("GOVERNMENT"), "SCM.0005"),
        ("usage", Value::Null, "SCM.0005"),
        ("company_country", json!("China"), "SCM.0005"),
        ("company_province", json!("p".repeat(129)), "SCM.0005"),
        ("company_name", json!("c".repeat(65)), "SCM.0005"),
        ("company_name", json!("a\nb"), "SCM.0005"),
    ];
    for (field, value, code) in cases {
        let mut body = order("EC_P256");
        body[field] = value;
        let reply = post(&ccm, CSR, &body).await;
        assert_eq!(
            (reply.status, reply.body["error_code"].as_str()),
            (400, Some(code)),
            "{field}: {}",
            reply.body
        );
    }
    assert_eq!(get(&ccm, CSR).await.expect(200).body["total"], 0);
}

#[tokio::test]
async fn the_list_of_csrs_has_pages_and_filters_and_the_newest_first() {
    let ccm = Wanted::new().at("2027-01-01").start().await;
    for nth in 0..12 {
        let mut body = order(if nth % 2 == 0 { "EC_P256" } else { "EC_P384" });
        body["name"] = json!(format!("Web-{nth:02}"));
        post(&ccm, CSR, &body).await.expect(201);
        ccm.advance(Seconds(1));
    }
    let names = |query: &str| {
        let target = format!("{CSR}?{query}");
        let ccm = &ccm;
        async move {
            let body = get(ccm, &target).await.expect(200).body;
            let list = body["csr_list"].as_array().unwrap();
            let names = list.iter().map(|csr| csr["name"].as_str().unwrap());
            (
                body["total"].as_i64().unwrap(),
                names.collect::<Vec<_>>().join(" "),
            )
        }
    };
    let (total, first) = names("").await;
    assert_eq!(total, 12);
    assert!(first.starts_with("Web-11 Web-10 Web-09"), "{first}");
    assert_eq!(first.split(' ').count(), 10);
    assert_eq!(
        names("limit=10&offset=10").await,
        (12, "Web-01 Web-00".to_owned())
    );
    assert_eq!(names("name=web-0&limit=50").await.0, 10);
    assert_eq!(names("private_key_algo=EC_P384&limit=50").await.0, 6);
    assert_eq!(
        names("name=-01&private_key_algo=EC_P384").await,
        (1, "Web-01".to_owned())
    );
    assert_eq!(names("name=_").await.0, 0);
    for query in [
        "limit=11",
        "offset=101",
        "offset=-1",
        "private_key_algo=DSA",
        "name=123456789012345678901234567890123",
    ] {
        get(&ccm, &format!("{CSR}?{query}"))
            .await
            .refused(400, "SCM.0005");
    }
}

#[tokio::test]
async fn a_csr_is_renamed_and_deleted_and_then_gone() {
    let ccm = Wanted::new().at("2027-01-01").start().await;
    let id = post(&ccm, CSR, &order("EC_P256"))
        .await
        .expect(201)
        .text("id");
    let path = format!("{CSR}/{id}");
    ccm.advance(Seconds(5));
    let renamed = put(&ccm, &path, &json!({"name": "back"})).await.expect(200);
    assert_eq!(renamed.text("name"), "back");
    let time = |field: &str| renamed.body[field].as_i64().unwrap();
    assert_eq!(time("update_time") - time("create_time"), 5000);
    assert_eq!(get(&ccm, &path).await.expect(200).body, renamed.body);
    // The tables of 4.1.4.1 and 4.1.4.4 differ.
    let long = "n".repeat(255);
    let renamed = put(&ccm, &path, &json!({"name": long})).await.expect(200);
    assert_eq!(renamed.text("name"), long);
    assert_eq!(get(&ccm, &path).await.expect(200).text("name"), long);
    for name in [String::new(), "n".repeat(256)] {
        put(&ccm, &path, &json!({"name": name}))
            .await
            .refused(400, "SCM.0005");
    }
    put(&ccm, &path, &json!({})).await.refused(400, "SCM.0005");
    delete(&ccm, &path).await.expect(204);
    for reply in [
        get(&ccm, &path).await,
        delete(&ccm, &path).await,
        put(&ccm, &path, &json!({"name": "x"})).await,
        get(&ccm, &format!("{path}/private-key")).await,
        // The table of 4.1.4.5 takes other lengths as well.
        delete(&ccm, &format!("{CSR}/scs1234567890123")).await,
    ] {
        reply.refused(404, "SCM.0094");
    }
    for wrong in [
        get(&ccm, &format!("{CSR}/short")).await,
        get(&ccm, &format!("{CSR}/{}", "g".repeat(32))).await,
        delete(&ccm, &format!("{CSR}/short")).await,
    ] {
        wrong.refused(400, "SCM.0005");
    }
}

#[tokio::test]
async fn a_csr_of_one_account_is_not_there_for_another() {
    let ccm = Ccm::start().await;
    let id = post(&ccm, CSR, &order("EC_P256"))
        .await
        .expect(201)
        .text("id");
    let admin = ccm.running.admin();
    let other = admin
        .add_user_with("other", "elsewhere", "*")
        .await
        .unwrap();
    let ask = |target: String| {
        let (ccm, other) = (&ccm, &other);
        async move {
            let secret = other.secret_key.expose_str().unwrap();
            let date = super::http::date(ccm);
            super::http::Send::new("GET", &target)
                .signed(ccm, &other.access_key, secret, &date)
                .send(ccm)
                .await
        }
    };
    ask(format!("{CSR}/{id}")).await.refused(404, "SCM.0094");
    ask(format!("{CSR}/{id}/private-key"))
        .await
        .refused(404, "SCM.0094");
    assert_eq!(ask(CSR.to_owned()).await.expect(200).body["total"], 0);
}

/// A CSR of OpenSSL and its key; `rest` goes to `openssl req -new`.
fn made(key: &[&str], rest: &[&str]) -> (String, String) {
    let directory = tempfile::tempdir().unwrap();
    let arguments = [&["req", "-new", "-nodes", "-keyout", "key.pem"], key, rest].concat();
    let csr = openssl::said(directory.path(), &arguments);
    let key = std::fs::read_to_string(directory.path().join("key.pem")).unwrap();
    (csr, key)
}

fn sm2(directory: &Path, identity: &[&str]) -> (String, String) {
    let key = [
        "genpkey",
        "-algorithm",
        "EC",
        "-pkeyopt",
        "ec_paramgen_curve:SM2",
        "-out",
        "k.pem",
    ];
    openssl::said(directory, &key);
    let request = [
        "req",
        "-new",
        "-sm3",
        "-key",
        "k.pem",
        "-subj",
        "/CN=sm.example.com/O=Company",
    ];
    let csr = openssl::said(directory, &[&request, identity].concat());
    let key = std::fs::read_to_string(directory.join("k.pem")).unwrap();
    (csr, key)
}

#[tokio::test]
async fn a_csr_that_is_brought_along_is_read_and_held_against_its_key() {
    let ccm = Ccm::start().await;
    let subject = [
        "-subj",
        "/CN=www.example.com",
        "-addext",
        "subjectAltName=DNS:b.example.com,IP:192.0.2.1",
    ];
    for (kind, name) in [(EC, "EC_P256"), (EC384, "EC_P384"), (RSA, "RSA_2048")] {
        let (csr, key) = made(kind, &subject);
        let body = json!({"name": name, "csr": csr, "private_key": key});
        let uploaded = post(&ccm, UPLOAD, &body).await.expect(200);
        assert_eq!(uploaded.text("name"), name);
        let id = uploaded.text("id");
        let shown = get(&ccm, &format!("{CSR}/{id}")).await.expect(200);
        assert_eq!(shown.text("csr"), csr);
        assert_eq!(shown.text("private_key_algo"), name);
        assert_eq!(shown.text("domain_name"), "www.example.com");
        assert_eq!(shown.text("sans"), "b.example.com;192.0.2.1");
        assert_eq!(shown.text("usage"), "PERSONAL");
        assert_eq!(shown.body["create_time"], uploaded.body["create_time"]);
        let given = get(&ccm, &format!("{CSR}/{id}/private-key"))
            .await
            .expect(200)
            .text("private_key");
        let (of_key, of_csr) = public_keys(&csr, &given);
        assert_eq!(of_key, of_csr);
    }
    let (csr, _) = made(EC, &subject);
    let id = post(&ccm, UPLOAD, &json!({"name": "bare", "csr": csr}))
        .await
        .expect(200)
        .text("id");
    get(&ccm, &format!("{CSR}/{id}/private-key"))
        .await
        .refused(400, "SCM.0059");
}

#[tokio::test]
async fn sm2_csrs_of_openssl_are_taken_with_the_prescribed_and_with_an_empty_identity() {
    let ccm = Ccm::start().await;
    for identity in [["-sigopt", IDENTITY].as_slice(), &[]] {
        let directory = tempfile::tempdir().unwrap();
        let (csr, key) = sm2(directory.path(), identity);
        let body = json!({"name": "sm", "csr": csr, "private_key": key});
        let id = post(&ccm, UPLOAD, &body).await.expect(200).text("id");
        let shown = get(&ccm, &format!("{CSR}/{id}")).await.expect(200);
        assert_eq!(shown.text("private_key_algo"), "SM2");
        assert_eq!(shown.text("usage"), "ENTERPRISE");
        assert_eq!(shown.text("company_name"), "Company");
        let (_, other) = sm2(directory.path(), identity);
        let body = json!({"name": "sm", "csr": csr, "private_key": other});
        post(&ccm, UPLOAD, &body).await.refused(400, "SCM.0014");
    }
    let directory = tempfile::tempdir().unwrap();
    let (csr, key) = sm2(directory.path(), &["-sigopt", "distid:somebody"]);
    let body = json!({"name": "sm", "csr": csr, "private_key": key});
    post(&ccm, UPLOAD, &body).await.refused(400, "SCM.0034");
}

#[tokio::test]
async fn what_is_no_csr_or_not_its_key_is_refused() {
    let ccm = Ccm::start().await;
    let subject = ["-subj", "/CN=www.example.com"];
    let (csr, key) = made(EC, &subject);
    let (_, other) = made(EC, &subject);
    let (nameless, _) = made(EC, &["-subj", "/O=a b"]);
    let (curve, _) = made(
        &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-521"],
        &subject,
    );
    let (weak, _) = made(&["-newkey", "rsa:1024"], &subject);
    let mut broken = csr.clone().into_bytes();
    let at = broken.len() / 2;
    broken[at] = if broken[at] == b'A' { b'B' } else { b'A' };
    let broken = String::from_utf8(broken).unwrap();
    let cases = [
        (json!({"csr": "x"}), "SCM.0034"),
        (json!({"csr": ""}), "SCM.0034"),
        (json!({"csr": null}), "SCM.0034"),
        (json!({"csr": "x".repeat(5121)}), "SCM.0034"),
        (json!({"csr": broken}), "SCM.0034"),
        (json!({"csr": curve}), "SCM.0034"),
        (json!({"csr": weak}), "SCM.0034"),
        (json!({"csr": nameless}), "SCM.0033"),
        (json!({"csr": csr, "private_key": "x"}), "SCM.0012"),
        (json!({"csr": csr, "private_key": csr}), "SCM.0012"),
        (json!({"csr": csr, "private_key": other}), "SCM.0014"),
        (
            json!({"csr": csr, "private_key": key, "name": ""}),
            "SCM.0005",
        ),
    ];
    for (mut body, code) in cases {
        if body.get("name").is_none() {
            body["name"] = json!("mine");
        }
        let reply = post(&ccm, UPLOAD, &body).await;
        assert_eq!(
            (reply.status, reply.body["error_code"].as_str()),
            (400, Some(code)),
            "{body}: {}",
            reply.body
        );
    }
}
