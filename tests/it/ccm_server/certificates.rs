//! Private certificates over the API (CCM API 4.2.2).

use renewd::model::Seconds;
use serde_json::{Value, json};

use super::http::{Send, delete, get, post, post_nothing};
use super::openssl::{self, EC, EC384, RSA, csr, text};
use crate::support::ccm::{Ccm, Wanted};

const CERTIFICATES: &str = "/v1/private-certificates";

fn by_csr(ccm: &Ccm, csr: &str) -> Value {
    json!({"issuer_id": ccm.issuing(), "csr": csr, "validity": {"type": "YEAR", "value": 1}})
}

fn application(ccm: &Ccm, key: &str) -> Value {
    json!({
        "issuer_id": ccm.issuing(), "key_algorithm": key, "signature_algorithm": "SHA256",
        "distinguished_name": {"common_name": "www.example.com"}, "validity": {"type": "DAY", "value": 90},
        "extended_key_usage": {"server_auth": true},
        "subject_alternative_names": [{"type": "DNS", "value": "www.example.com"}],
    })
}

async fn issue(ccm: &Ccm, csr: &str) -> String {
    let path = format!("{CERTIFICATES}/csr");
    post(ccm, &path, &by_csr(ccm, csr))
        .await
        .expect(200)
        .text("certificate_id")
}

async fn export(ccm: &Ccm, id: &str) -> Value {
    let body = json!({"type": "other", "is_compressed": false});
    post(ccm, &format!("{CERTIFICATES}/{id}/export"), &body)
        .await
        .expect(200)
        .body
}

async fn certificate(ccm: &Ccm, id: &str) -> String {
    export(ccm, id).await["certificate"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[tokio::test]
async fn a_certificate_by_csr_is_issued_shown_and_exported_without_a_key() {
    let ccm = Ccm::start().await;
    for key in [EC, EC384, RSA] {
        let names = "subjectAltName=DNS:www.example.com,DNS:*.example.org,IP:192.0.2.7,IP:2001:db8::7,\
                     URI:spiffe://corp/web,email:ops@example.com";
        let request = csr(
            key,
            &["-subj", "/C=CN/O=Corp/CN=www.example.com", "-addext", names],
        );
        let id = issue(&ccm, &request).await;
        let shown = get(&ccm, &format!("{CERTIFICATES}/{id}"))
            .await
            .expect(200)
            .body;
        assert_eq!(shown["status"], "ISSUED");
        assert_eq!(shown["issuer_id"], ccm.issuing());
        assert_eq!(shown["gen_mode"], "CSR");
        assert_eq!(shown["distinguished_name"]["organization"], "Corp");
        assert_eq!(shown["serial_number"].as_str().unwrap().len(), 24);
        let exported = export(&ccm, &id).await;
        assert!(exported.get("private_key").is_none());
        let pem = exported["certificate"].as_str().unwrap();
        assert!(pem.starts_with("-----BEGIN CERTIFICATE-----\r\n"), "{pem}");
        // OpenSSL 3.2 and newer write names without spaces.
        let words = text(pem).replace(" = ", "=");
        for expected in [
            "DNS:www.example.com, DNS:*.example.org, IP Address:192.0.2.7, IP Address:2001:DB8:0:0:0:0:0:7",
            "URI:spiffe://corp/web, email:ops@example.com",
            "CA:FALSE",
            "Digital Signature, Key Agreement",
            "Subject: C=CN, O=Corp, CN=www.example.com",
        ] {
            assert!(words.contains(expected), "{expected} is missing in {words}");
        }
        let chain = exported["certificate_chain"].as_str().unwrap();
        openssl::verify(&ccm.root_pem().await, chain, pem, "www.example.com");
    }
}

#[tokio::test]
async fn a_csr_that_wants_to_be_a_ca_gets_a_leaf() {
    let ccm = Ccm::start().await;
    let request = csr(
        EC,
        &[
            "-subj",
            "/CN=evil.example",
            "-addext",
            "basicConstraints=critical,CA:TRUE",
            "-addext",
            "keyUsage=critical,digitalSignature,keyCertSign,cRLSign",
            "-addext",
            "extendedKeyUsage=serverAuth,OCSPSigning,anyExtendedKeyUsage",
            "-addext",
            "nameConstraints=permitted;DNS:example",
            "-addext",
            "tlsfeature=status_request",
        ],
    );
    let words = text(&certificate(&ccm, &issue(&ccm, &request).await).await);
    assert!(words.contains("CA:FALSE"), "{words}");
    for forbidden in [
        "CA:TRUE",
        "Certificate Sign",
        "CRL Sign",
        "OCSP",
        "Any Extended",
        "Name Constraints",
        "status_request",
    ] {
        assert!(!words.contains(forbidden), "{forbidden} is in {words}");
    }
    assert!(words.contains("TLS Web Server Authentication"), "{words}");
    // Nothing but CA usages left: the default, not an empty extension.
    let request = csr(
        EC,
        &[
            "-subj",
            "/CN=evil.example",
            "-addext",
            "keyUsage=keyCertSign",
        ],
    );
    let words = text(&certificate(&ccm, &issue(&ccm, &request).await).await);
    assert!(
        words.contains("Digital Signature, Key Agreement"),
        "{words}"
    );
}

#[tokio::test]
async fn names_in_the_body_of_an_issue_by_csr_are_ignored() {
    let ccm = Ccm::start().await;
    let mut body = by_csr(&ccm, &csr(EC, &["-subj", "/CN=plain.example"]));
    body["subject_alternative_names"] = json!([{"type": "DNS", "value": "sneaked.example"}]);
    let id = post(&ccm, &format!("{CERTIFICATES}/csr"), &body)
        .await
        .expect(200)
        .text("certificate_id");
    let words = text(&certificate(&ccm, &id).await);
    assert!(
        !words.contains("sneaked") && !words.contains("Alternative"),
        "{words}"
    );
}

#[tokio::test]
async fn unusable_requests_are_refused() {
    let ccm = Ccm::start().await;
    let sound = csr(EC, &["-subj", "/CN=a.example"]);
    let mut tampered = sound.clone();
    let middle = tampered.len() / 2;
    let other = if &tampered[middle..=middle] == "A" {
        "B"
    } else {
        "A"
    };
    tampered.replace_range(middle..=middle, other);
    let cases = [
        ("nonsense", String::from("x"), "PCA.00020401"),
        (
            "another PEM",
            sound.replace("CERTIFICATE REQUEST", "CERTIFICATE"),
            "PCA.00020401",
        ),
        ("tampered", tampered, "PCA.00020401"),
        (
            "RSA 1024",
            csr(&["-newkey", "rsa:1024"], &["-subj", "/CN=a.example"]),
            "PCA.00020401",
        ),
        (
            "Ed25519",
            csr(&["-newkey", "ed25519"], &["-subj", "/CN=a.example"]),
            "PCA.00020401",
        ),
        (
            "P-521",
            csr(
                &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-521"],
                &["-subj", "/CN=a.example"],
            ),
            "PCA.00020401",
        ),
        (
            "no common name",
            csr(EC, &["-subj", "/O=Corp"]),
            "PCA.00020101",
        ),
        ("too long", "x".repeat(5121), "PCA.00020401"),
        (
            "a name that is none",
            csr(
                EC,
                &[
                    "-subj",
                    "/CN=a.example",
                    "-addext",
                    "subjectAltName=DNS:a..example",
                ],
            ),
            "PCA.00020401",
        ),
    ];
    for (what, request, code) in cases {
        let reply = post(
            &ccm,
            &format!("{CERTIFICATES}/csr"),
            &by_csr(&ccm, &request),
        )
        .await;
        assert_eq!(reply.body["error_code"], code, "{what}: {}", reply.body);
    }
    assert_eq!(ccm.issued("a.example").await, 0);
}

#[tokio::test]
async fn an_applied_for_certificate_is_exported_with_its_key_in_five_types() {
    let ccm = Ccm::start().await;
    for (key, label) in [
        ("RSA2048", "RSA PRIVATE KEY"),
        ("EC256", "PRIVATE KEY"),
        ("EC384", "PRIVATE KEY"),
    ] {
        let id = post(&ccm, CERTIFICATES, &application(&ccm, key))
            .await
            .expect(200)
            .text("certificate_id");
        let shown = get(&ccm, &format!("{CERTIFICATES}/{id}"))
            .await
            .expect(200)
            .body;
        assert_eq!(shown["gen_mode"], "GENERATE");
        assert_eq!(shown["key_algorithm"], key);
        assert_eq!(
            shown["distinguished_name"]["organization"], "renewd-ccm",
            "inherited from the CA"
        );
        for kind in ["APACHE", "nginx", "IIS", "Tomcat", "OTHER"] {
            let body = json!({"type": kind, "is_compressed": "false"});
            let exported = post(&ccm, &format!("{CERTIFICATES}/{id}/export"), &body)
                .await
                .expect(200);
            let pem = exported.text("private_key");
            assert!(
                pem.starts_with(&format!("-----BEGIN {label}-----\r\n")),
                "{kind}"
            );
            let directory = tempfile::tempdir().unwrap();
            std::fs::write(directory.path().join("k.pem"), pem).unwrap();
            std::fs::write(directory.path().join("c.pem"), exported.text("certificate")).unwrap();
            let of_key = openssl::said(directory.path(), &["pkey", "-in", "k.pem", "-pubout"]);
            let of_certificate = openssl::said(
                directory.path(),
                &["x509", "-in", "c.pem", "-noout", "-pubkey"],
            );
            assert_eq!(of_key, of_certificate);
            let chain = exported.text("certificate_chain");
            openssl::verify(
                &ccm.root_pem().await,
                &chain,
                &exported.text("certificate"),
                "www.example.com",
            );
        }
    }
}

#[tokio::test]
async fn an_application_says_what_the_certificate_holds() {
    let ccm = Ccm::start().await;
    let mut body = application(&ccm, "EC256");
    body["key_usages"] = json!(["digitalSignature", "keyCertSign", "nonRepudiation"]);
    body["extended_key_usage"] =
        json!({"client_auth": true, "email_protection": "true", "server_auth": false});
    body["subject_alternative_names"] = json!([
        {"type": "DNS", "value": "a.example"}, {"type": "IP", "value": "2001:db8::1"},
        {"type": "EMAIL", "value": "a@b.example"}, {"type": "URI", "value": "urn:x:y"},
    ]);
    body["customized_extension"] =
        json!({"object_identifier": "1.3.6.1.4.1.99999.1", "value": "hello"});
    let id = post(&ccm, CERTIFICATES, &body)
        .await
        .expect(200)
        .text("certificate_id");
    let words = text(&certificate(&ccm, &id).await);
    for expected in [
        "Digital Signature, Non Repudiation",
        "TLS Web Client Authentication, E-mail Protection",
        "DNS:a.example, IP Address:2001:DB8:0:0:0:0:0:1, email:a@b.example, URI:urn:x:y",
        "1.3.6.1.4.1.99999.1",
        "hello",
    ] {
        assert!(words.contains(expected), "{expected} is missing in {words}");
    }
    assert!(!words.contains("Certificate Sign"), "{words}");
}

#[tokio::test]
async fn what_is_out_of_its_limits_gets_the_code_of_its_field() {
    let ccm = Ccm::start().await;
    let names = |kind: &str, value: &str| json!([{"type": kind, "value": value}]);
    let cases: [(&str, Value, &str); 14] = [
        ("key_algorithm", json!("DSA"), "PCA.00020102"),
        ("signature_algorithm", Value::Null, "PCA.00020103"),
        (
            "validity",
            json!({"type": "YEAR", "value": 21}),
            "PCA.00020109",
        ),
        (
            "validity",
            json!({"type": "HOUR", "value": "many"}),
            "PCA.00020109",
        ),
        ("distinguished_name", json!({}), "PCA.00020101"),
        ("distinguished_name", json!("CN=x"), "PCA.00020101"),
        (
            "subject_alternative_names",
            names("DNS", "a..b"),
            "PCA.00020110",
        ),
        (
            "subject_alternative_names",
            names("IP", "1.2.3"),
            "PCA.00020111",
        ),
        (
            "subject_alternative_names",
            names("X400", "x"),
            "PCA.00020112",
        ),
        ("key_usages", json!(["fly"]), "PCA.00020001"),
        ("issuer_id", json!("1"), "PCA.00020201"),
        (
            "customized_extension",
            json!({"object_identifier": "2.5.29.19", "value": "x"}),
            "PCA.00020001",
        ),
        (
            "customized_extension",
            json!({"object_identifier": "1.3.6.1.4.1.99999.1"}),
            "PCA.00020001",
        ),
        (
            "customized_extension",
            json!({"value": "x"}),
            "PCA.00020001",
        ),
    ];
    for (field, value, code) in cases {
        let mut body = application(&ccm, "EC256");
        body[field] = value;
        let reply = post(&ccm, CERTIFICATES, &body).await;
        assert_eq!(reply.body["error_code"], code, "{field}: {}", reply.body);
        assert_eq!(reply.status, 400);
    }
    let mut many = application(&ccm, "EC256");
    many["subject_alternative_names"] = (0..21)
        .map(|n| json!({"type": "DNS", "value": format!("n{n}.example")}))
        .collect();
    post(&ccm, CERTIFICATES, &many)
        .await
        .refused(400, "PCA.00020112");
    get(&ccm, &format!("{CERTIFICATES}/x"))
        .await
        .refused(400, "PCA.00020301");
    let absent = format!("{CERTIFICATES}/a6bbf0be-79f3-4f66-858a-0fdcb96dfcbe");
    get(&ccm, &absent).await.refused(404, "PCA.00030102");
    delete(&ccm, &absent).await.refused(404, "PCA.00030102");
    let raw = Send::new("POST", CERTIFICATES);
    for body in ["", "[]", "{", "null", "{\"a\":"] {
        let mut send = raw.clone();
        send.body = body.as_bytes().to_vec();
        send.by_user(&ccm)
            .send(&ccm)
            .await
            .refused(400, "PCA.00020001");
    }
}

#[tokio::test]
async fn a_revoked_certificate_is_not_exported_and_not_revoked_twice() {
    let ccm = Ccm::start().await;
    let id = issue(&ccm, &csr(EC, &["-subj", "/CN=a.example"])).await;
    let revoke = format!("{CERTIFICATES}/{id}/revoke");
    // The body may be empty, but it must be there.
    post_nothing(&ccm, &revoke)
        .await
        .refused(400, "PCA.00020001");
    post(&ccm, &revoke, &json!({"reason": "BOREDOM"}))
        .await
        .refused(400, "PCA.00020001");
    post(&ccm, &revoke, &json!({"reason": "KEY_COMPROMISE"}))
        .await
        .expect(204);
    post(&ccm, &revoke, &json!({}))
        .await
        .refused(403, "PCA.00030201");
    let shown = get(&ccm, &format!("{CERTIFICATES}/{id}")).await.expect(200);
    assert_eq!(shown.body["status"], "REVOKED");
    let body = json!({"type": "OTHER", "is_compressed": false});
    post(&ccm, &format!("{CERTIFICATES}/{id}/export"), &body)
        .await
        .refused(403, "PCA.00030201");
    let second = issue(&ccm, &csr(EC, &["-subj", "/CN=a.example"])).await;
    post(&ccm, &format!("{CERTIFICATES}/{second}/revoke"), &json!({}))
        .await
        .expect(204);
    delete(&ccm, &format!("{CERTIFICATES}/{id}"))
        .await
        .expect(204);
    get(&ccm, &format!("{CERTIFICATES}/{id}"))
        .await
        .refused(404, "PCA.00030102");
}

#[tokio::test]
async fn the_list_is_filtered_by_status_and_name_sorted_and_paged() {
    let ccm = Wanted::new().at("2027-01-01").start().await;
    let path = format!("{CERTIFICATES}/csr");
    for n in 0..4 {
        let mut body = by_csr(&ccm, &csr(EC, &["-subj", &format!("/CN=n{n}.example")]));
        body["validity"] = json!({"type": "DAY", "value": 40 - 10 * n});
        post(&ccm, &path, &body).await.expect(200);
        ccm.advance(Seconds(1));
    }
    ccm.advance(Seconds::days(15));
    let names = |reply: Value| {
        let list = reply["certificates"].as_array().unwrap().clone();
        let names = list.iter().map(|c| {
            c["distinguished_name"]["common_name"]
                .as_str()
                .unwrap()
                .to_owned()
        });
        (
            reply["total"].as_i64().unwrap(),
            names.collect::<Vec<_>>().join(" "),
        )
    };
    let query = |query: &str| {
        let target = format!("{CERTIFICATES}?{query}");
        let ccm = &ccm;
        async move { names(get(ccm, &target).await.expect(200).body) }
    };
    let all = "n3.example n2.example n1.example n0.example";
    assert_eq!(query("").await, (4, all.to_owned()));
    assert_eq!(
        query("sort_key=not_after&sort_dir=ASC").await,
        (4, all.to_owned())
    );
    assert_eq!(
        query("limit=1&offset=2").await,
        (4, "n1.example".to_owned())
    );
    assert_eq!(query("limit=0").await, (4, String::new()));
    assert_eq!(query("name=N2").await, (1, "n2.example".to_owned()));
    assert_eq!(query("status=EXPIRED").await, (1, "n3.example".to_owned()));
    assert_eq!(query("status=REVOKED").await, (0, String::new()));
    assert_eq!(
        query("status=ISSUED&sort_key=common_name&sort_dir=ASC")
            .await
            .0,
        3
    );
}

#[tokio::test]
async fn a_certificate_ends_with_its_issuer_at_the_latest() {
    let ccm = Wanted::new().at("2027-01-01").start().await;
    let mut body = by_csr(&ccm, &csr(EC, &["-subj", "/CN=a.example"]));
    body["validity"]["value"] = json!(20);
    let path = format!("{CERTIFICATES}/csr");
    let id = post(&ccm, &path, &body)
        .await
        .expect(200)
        .text("certificate_id");
    let shown = get(&ccm, &format!("{CERTIFICATES}/{id}"))
        .await
        .expect(200)
        .body;
    let issuer = get(
        &ccm,
        &format!("/v1/private-certificate-authorities/{}", ccm.issuing()),
    )
    .await
    .expect(200)
    .body;
    assert_eq!(shown["not_after"], issuer["not_after"]);
    body["validity"] =
        json!({"type": "DAY", "value": 1, "start_from": (ccm.now().0 + 86_400) * 1000});
    let id = post(&ccm, &path, &body)
        .await
        .expect(200)
        .text("certificate_id");
    let shown = get(&ccm, &format!("{CERTIFICATES}/{id}"))
        .await
        .expect(200)
        .body;
    assert_eq!(shown["not_before"], (ccm.now().0 + 86_400) * 1000);
    assert_eq!(shown["not_after"], (ccm.now().0 + 2 * 86_400 + 60) * 1000);
}

#[tokio::test]
async fn a_csr_is_parsed_in_the_reference_s_words() {
    let ccm = Ccm::start().await;
    let parse = format!("{CERTIFICATES}/csr/parse");
    let request = csr(
        RSA,
        &[
            "-sha384",
            "-subj",
            "/C=CN/ST=sichuan/L=chengdu/O=HW/OU=IT/CN=test.com",
        ],
    );
    let parsed = post(&ccm, &parse, &json!({"csr": request.replace('\n', "\r\n")}))
        .await
        .expect(200)
        .body;
    assert_eq!(parsed["key_algorithm"], "RSA");
    assert_eq!(parsed["key_algorithm_length"], 2048);
    assert_eq!(parsed["signature_algorithm"], "SHA384withRSA");
    assert_eq!(parsed["distinguished_name"]["organizational_unit"], "IT");
    assert!(
        parsed["public_key"]
            .as_str()
            .unwrap()
            .starts_with("-----BEGIN PUBLIC KEY-----\r\n")
    );
    post(&ccm, &parse, &json!({"csr": "x"}))
        .await
        .refused(400, "PCA.00020401");
}
