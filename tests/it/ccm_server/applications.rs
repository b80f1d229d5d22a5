//! How an application becomes a certificate, or does not (CCM API 4.1.1 and 4.1.5.3): real questions to a name server, a
//! web server and people.

use renewd::model::Seconds;
use serde_json::{Value, json};

use super::applicant::{Applicant, form, form_with};
use super::openssl::{self, EC, RSA, csr};

#[tokio::test]
async fn a_domain_is_issued_for_once_its_record_is_there_and_not_before() {
    let world = Applicant::at("2027-01-01").await;
    let id = world.buy("DV_SSL_CERT", "SINGLE_DOMAIN", 1).await;
    let said = world.apply(&id, &form("www.example.com")).await.expect(200);
    assert_eq!(said.body, json!({"request_info": "success"}));
    world.look().await;
    let shown = world.shown(&id).await;
    assert_eq!(shown["status"], "CHECKING_DOMAIN");
    assert_eq!(shown["validation_method"], "DNS");
    assert_eq!(shown["domain"], "www.example.com");
    let proof = &shown["authentification"][0];
    assert_eq!(proof["record_name"], "_dnsauth.www.example.com");
    assert_eq!(proof["record_type"], "TXT");
    assert_eq!(proof["domain"], "www.example.com");
    let token = proof["record_value"].as_str().unwrap();
    assert!(
        token.len() == 63 && token.starts_with("202701010000001"),
        "{token}"
    );
    let problem = world.managed(&id).await["domains"][0]["problem"].clone();
    assert_eq!(problem, "_dnsauth.www.example.com has no TXT record");
    world.exported(&id).await.refused(400, "SCM.0010");

    // Another record is none, and neither is the right one at another name.
    world
        .names
        .put("_dnsauth.www.example.com", "202701010000001wrong");
    world.names.put("_dnsauth.example.com", token);
    world.pass(Seconds::minutes(2)).await;
    assert_eq!(world.status(&id).await, "CHECKING_DOMAIN");
    // A resolver that fails is no answer.
    world.names.put("_dnsauth.www.example.com", token);
    world.names.broken(true);
    world.pass(Seconds::minutes(2)).await;
    let problem = world.managed(&id).await["domains"][0]["problem"].clone();
    assert!(
        problem.as_str().unwrap().contains("ServerFailure"),
        "{problem}"
    );
    assert_eq!(world.status(&id).await, "CHECKING_DOMAIN");
    world.names.broken(false);
    world.pass(Seconds::minutes(2)).await;

    let shown = world.shown(&id).await;
    assert_eq!(shown["status"], "ISSUED");
    assert_eq!(shown["issue_time"], "2027-01-01 00:06:00.0");
    assert_eq!(shown["not_before"], "2027-01-01 00:06:00.0");
    // 200 days are allowed in January 2027; both ends count.
    assert_eq!(shown["not_after"], "2027-07-20 00:05:59.0");
    assert_eq!(shown["signature_algorithm"], "SHA256WITHECDSA");
    assert_eq!(shown["push_support"], "ON");
    assert_eq!(
        shown["application_info"]["applicant_email"],
        "tom@example.com"
    );
    assert_eq!(shown["fingerprint"].as_str().unwrap().len(), 40);
}

#[tokio::test]
async fn a_certificate_stands_up_to_strict_checks_and_is_exported_with_the_key_that_was_made_for_it()
 {
    let world = Applicant::now().await;
    let id = world.buy("OV_SSL_CERT", "MULTI_DOMAIN", 4).await;
    let body = form_with(
        "www.example.com",
        "sans",
        &json!("example.com;*.example.org"),
    );
    world.apply(&id, &body).await.expect(200);
    world.prove(&id).await;
    world.look().await;
    // The background may have been first; either way it is over now.
    let shown = world.shown(&id).await;
    if shown["status"] != "ISSUED" {
        let approved = world
            .manage("POST", &format!("/applications/{id}/approve"), &Value::Null)
            .await;
        assert_eq!(approved.0, 200, "{approved:?}");
    }
    let exported = world.exported(&id).await.expect(200);
    let (leaf, chain) = (
        exported.text("certificate"),
        exported.text("certificate_chain"),
    );
    let root = world.ccm.running.admin().scm_root().await.unwrap();
    for host in ["www.example.com", "example.com", "a.example.org"] {
        openssl::verify(&root, &chain, &leaf, host);
    }
    let text = openssl::text(&leaf);
    for part in [
        "Subject: C = CN, ST = Sichuan, L = Chengdu, O = Example Ltd, CN = www.example.com",
        "Issuer: O = renewd-ccm, CN = renewd-ccm SCM TLS CA",
        "DNS:www.example.com, DNS:example.com, DNS:*.example.org",
        "TLS Web Server Authentication",
        "CA:FALSE",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("k.pem"), exported.text("private_key")).unwrap();
    std::fs::write(directory.path().join("c.pem"), &leaf).unwrap();
    let of_key = openssl::said(directory.path(), &["pkey", "-in", "k.pem", "-pubout"]);
    let of_leaf = openssl::said(
        directory.path(),
        &["x509", "-in", "c.pem", "-noout", "-pubkey"],
    );
    assert_eq!(of_key, of_leaf);
    // The CA of SCM is none of PCA's.
    assert_ne!(root, world.ccm.root_pem().await);
}

#[tokio::test]
async fn a_csr_keeps_the_key_with_the_applicant() {
    let world = Applicant::at("2027-01-01").await;
    let id = world.buy("DV_SSL_CERT", "SINGLE_DOMAIN", 1).await;
    let own = csr(RSA, &["-subj", "/CN=www.example.com/O=Not certified"]);
    world
        .apply(&id, &form_with("www.example.com", "csr", &json!(own)))
        .await
        .expect(200);
    world.prove(&id).await;
    world.pass(Seconds::minutes(1)).await;
    let exported = world.exported(&id).await.expect(200);
    assert_eq!(exported.body["private_key"], Value::Null);
    let leaf = exported.text("certificate");
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("r.pem"), &own).unwrap();
    std::fs::write(directory.path().join("c.pem"), &leaf).unwrap();
    let of_csr = openssl::said(
        directory.path(),
        &["req", "-in", "r.pem", "-noout", "-pubkey"],
    );
    let of_leaf = openssl::said(
        directory.path(),
        &["x509", "-in", "c.pem", "-noout", "-pubkey"],
    );
    assert_eq!(of_csr, of_leaf);
    let text = openssl::text(&leaf);
    assert!(text.contains("Subject: CN = www.example.com\n"), "{text}");
    assert!(text.contains("Key Encipherment"), "{text}");
    assert_eq!(world.shown(&id).await["push_support"], "OFF");
}

#[tokio::test]
async fn every_key_algorithm_is_made_and_rsa_is_the_default() {
    let world = Applicant::at("2027-01-01").await;
    for (algorithm, said) in [
        ("EC_P384", "(384 bit)"),
        ("EC_P256", "(256 bit)"),
        ("", "(2048 bit)"),
        ("RSA_3072", "(3072 bit)"),
    ] {
        let id = world.buy("DV_SSL_CERT", "WILDCARD", 1).await;
        let body = form_with("*.example.com", "key_algorithm", &json!(algorithm));
        world.apply(&id, &body).await.expect(200);
        // A wildcard is proven at the domain below its star.
        let proof = world.shown(&id).await["authentification"][0].clone();
        assert_eq!(proof["record_name"], "_dnsauth.example.com");
        world.prove(&id).await;
        world.pass(Seconds::minutes(1)).await;
        let leaf = world.exported(&id).await.expect(200).text("certificate");
        let text = openssl::text(&leaf);
        assert!(text.contains(said), "{algorithm}: {text}");
    }
}

#[tokio::test]
async fn every_name_must_be_proven_and_what_is_proven_is_not_asked_again() {
    let world = Applicant::at("2027-01-01").await;
    let id = world.buy("DV_SSL_CERT", "MULTI_DOMAIN", 2).await;
    let body = form_with("a.example.com", "sans", &json!("b.example.com"));
    world.apply(&id, &body).await.expect(200);
    let token = world.shown(&id).await["authentification"][0]["record_value"].clone();
    world
        .names
        .put("_dnsauth.a.example.com", token.as_str().unwrap());
    world.pass(Seconds::minutes(2)).await;
    let domains = world.managed(&id).await["domains"].clone();
    assert_eq!(
        (&domains[0]["validated"], &domains[1]["validated"]),
        (&json!(true), &json!(false))
    );
    assert_eq!(world.status(&id).await, "CHECKING_DOMAIN");
    // The first record may go once it was seen.
    world.names.clear("_dnsauth.a.example.com");
    let before = world.names.asked();
    world
        .names
        .put("_dnsauth.b.example.com", token.as_str().unwrap());
    world.pass(Seconds::minutes(2)).await;
    assert_eq!(world.names.asked(), before + 1);
    assert_eq!(world.status(&id).await, "ISSUED");
}

#[tokio::test]
async fn long_answers_are_asked_for_over_tcp() {
    let world = Applicant::at("2027-01-01").await;
    world.names.short();
    let id = world.issued("www.example.com", 1).await;
    assert_eq!(world.status(&id).await, "ISSUED");
    assert!(world.names.by_tcp() > 0);
}

#[tokio::test]
async fn an_ip_address_is_proven_by_a_file() {
    let world = Applicant::at("2027-01-01").await;
    let id = world.buy("OV_SSL_CERT", "SINGLE_DOMAIN", 1).await;
    world
        .apply(&id, &form("192.0.2.7"))
        .await
        .refused(400, "SCM.0005");
    let body = form_with("192.0.2.7", "domain_method", &json!("file"));
    world.apply(&id, &body).await.expect(200);
    world.look().await;
    let proof = world.shown(&id).await["authentification"][0].clone();
    assert_eq!(proof["record_type"], "FILE");
    assert_eq!(
        proof["record_name"],
        "/.well-known/pki-validation/fileauth.txt"
    );
    let token = proof["record_value"].as_str().unwrap();
    for wrong in [
        "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_owned(),
        "HTTP/1.1 301 Moved\r\nLocation: http://other.example/\r\nContent-Length: 0\r\n\r\n"
            .to_owned(),
        "not HTTP at all".to_owned(),
        format!(
            "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n{}",
            "x".repeat(100_000)
        ),
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong".to_owned(),
    ] {
        world.web.put(&wrong);
        world.pass(Seconds::minutes(2)).await;
        let managed = world.managed(&id).await;
        assert_eq!(managed["status"], "CHECKING_DOMAIN", "{wrong}");
        assert!(managed["domains"][0]["problem"].is_string(), "{managed}");
    }
    world.web.put_file(&format!("{token}\n"));
    world.pass(Seconds::minutes(2)).await;
    assert_eq!(
        world.status(&id).await,
        "ISSUED",
        "{}",
        world.managed(&id).await
    );
    let seen = world.web.seen();
    let last = seen.last().unwrap();
    assert!(
        last.starts_with("GET /.well-known/pki-validation/fileauth.txt HTTP/1.1\r\n"),
        "{last}"
    );
    assert!(last.contains("host: 192.0.2.7\r\n"), "{last}");
    let leaf = world.exported(&id).await.expect(200).text("certificate");
    assert!(openssl::text(&leaf).contains("IP Address:192.0.2.7"));
}

#[tokio::test]
async fn mail_is_answered_by_whoever_manages() {
    let world = Applicant::at("2027-01-01").await;
    let id = world.buy("OV_SSL_CERT", "SINGLE_DOMAIN", 1).await;
    let body = form_with("www.example.com", "domain_method", &json!("Email"));
    world.apply(&id, &body).await.expect(200);
    world.pass(Seconds::days(3)).await;
    assert_eq!(world.status(&id).await, "CHECKING_DOMAIN");
    assert_eq!(world.names.asked(), 0);
    let approve = format!("/applications/{id}/approve");
    let (status, said) = world.manage("POST", &approve, &Value::Null).await;
    assert_eq!((status, &said["status"]), (200, &json!("ISSUED")), "{said}");
    let (status, said) = world.manage("POST", &approve, &Value::Null).await;
    assert_eq!(status, 400, "{said}");
}

#[tokio::test]
async fn an_organization_is_reviewed_for_as_long_as_it_was_set_and_the_stages_are_seen() {
    let world = Applicant::at("2027-01-01").await;
    let review = json!({"checking_seconds": 3600, "issuing_seconds": 86_400});
    let (status, said) = world.manage("POST", "/reviews/ov", &review).await;
    assert_eq!(
        (status, &said["ov"]["issuing_seconds"]),
        (200, &json!(86_400)),
        "{said}"
    );
    let id = world.buy("OV_SSL_CERT_PRO", "SINGLE_DOMAIN", 1).await;
    world.apply(&id, &form("www.example.com")).await.expect(200);
    world.prove(&id).await;
    world.look().await;
    assert_eq!(world.status(&id).await, "CHECKING");
    // A second application is none while the first is worked on.
    world
        .apply(&id, &form("www.example.com"))
        .await
        .refused(400, "SCM.0064");
    world.pass(Seconds(3599)).await;
    assert_eq!(world.status(&id).await, "CHECKING");
    world.pass(Seconds(1)).await;
    assert_eq!(world.status(&id).await, "CHECKING_ORG");
    world.pass(Seconds(86_399)).await;
    assert_eq!(world.status(&id).await, "CHECKING_ORG");
    world.pass(Seconds(1)).await;
    assert_eq!(world.status(&id).await, "ISSUED");
}

#[tokio::test]
async fn a_review_may_fail_or_wait_for_a_decision() {
    let world = Applicant::at("2027-01-01").await;
    world
        .manage("POST", "/reviews/ev", &json!({"outcome": "fail"}))
        .await;
    world
        .manage("POST", "/reviews/dv", &json!({"outcome": "hold"}))
        .await;
    let failing = world.buy("EV_SSL_CERT", "SINGLE_DOMAIN", 1).await;
    world
        .apply(&failing, &form("a.example.com"))
        .await
        .expect(200);
    world.prove(&failing).await;
    let held = world.buy("DV_SSL_CERT", "SINGLE_DOMAIN", 1).await;
    world.apply(&held, &form("b.example.com")).await.expect(200);
    world.prove(&held).await;
    let rejected = world.buy("DV_SSL_CERT", "SINGLE_DOMAIN", 1).await;
    world
        .apply(&rejected, &form("c.example.com"))
        .await
        .expect(200);
    world.prove(&rejected).await;
    world.pass(Seconds::minutes(2)).await;
    let managed = world.managed(&failing).await;
    assert_eq!(managed["status"], "UNPASSED");
    assert_eq!(managed["fail_reason"], "the CA rejected the application");
    world.pass(Seconds::days(10)).await;
    assert_eq!(world.status(&held).await, "ISSUING");
    let reason = json!({"reason": "on a list of names that nobody gets"});
    let reject = format!("/applications/{rejected}/reject");
    let (status, said) = world.manage("POST", &reject, &reason).await;
    assert_eq!(
        (status, &said["status"]),
        (200, &json!("UNPASSED")),
        "{said}"
    );
    assert_eq!(said["fail_reason"], reason["reason"]);
    // Who is held is let go when the review changes.
    world
        .manage("POST", "/reviews/dv", &json!({"outcome": "pass"}))
        .await;
    world.look().await;
    assert_eq!(world.status(&held).await, "ISSUED");
    // One may apply again for what was not passed.
    world
        .manage("POST", "/reviews/ev", &json!({"outcome": "pass"}))
        .await;
    world
        .apply(&failing, &form("d.example.com"))
        .await
        .expect(200);
    world.prove(&failing).await;
    world.pass(Seconds::minutes(2)).await;
    let shown = world.shown(&failing).await;
    assert_eq!(
        (&shown["status"], &shown["domain"]),
        (&json!("ISSUED"), &json!("d.example.com"))
    );
}

#[tokio::test]
async fn what_is_not_proven_in_thirty_days_is_not_passed() {
    let world = Applicant::at("2027-01-01").await;
    let id = world.buy("DV_SSL_CERT", "SINGLE_DOMAIN", 1).await;
    world.apply(&id, &form("www.example.com")).await.expect(200);
    world.pass(Seconds::days(29)).await;
    assert_eq!(world.status(&id).await, "CHECKING_DOMAIN");
    world.pass(Seconds::days(1)).await;
    let managed = world.managed(&id).await;
    assert_eq!(managed["status"], "UNPASSED");
    assert_eq!(
        managed["fail_reason"],
        "the domains were not verified within 30 days"
    );
}

#[tokio::test]
async fn a_cancelled_application_leaves_the_certificate_paid() {
    let world = Applicant::at("2027-01-01").await;
    let id = world.buy("DV_SSL_CERT", "SINGLE_DOMAIN", 1).await;
    world.cancel(&id).await.refused(400, "SCM.0010");
    world.apply(&id, &form("www.example.com")).await.expect(200);
    let old = world.shown(&id).await["authentification"][0]["record_value"].clone();
    let said = world.cancel(&id).await.expect(200).body;
    assert_eq!(said, json!({"cert_id": id, "message": "success"}));
    let shown = world.shown(&id).await;
    assert_eq!(
        (&shown["status"], &shown["domain"]),
        (&json!("PAID"), &Value::Null)
    );
    assert_eq!(shown["authentification"], json!([]));
    // The old token proves nothing any more.
    world
        .names
        .put("_dnsauth.www.example.com", old.as_str().unwrap());
    world.pass(Seconds::minutes(2)).await;
    assert_eq!(world.status(&id).await, "PAID");
    world.apply(&id, &form("www.example.com")).await.expect(200);
    world.pass(Seconds::minutes(2)).await;
    assert_eq!(world.status(&id).await, "CHECKING_DOMAIN");
    world.prove(&id).await;
    world.pass(Seconds::minutes(2)).await;
    assert_eq!(world.status(&id).await, "ISSUED");
    world.cancel(&id).await.refused(400, "SCM.0010");
    world
        .apply(&id, &form("www.example.com"))
        .await
        .refused(400, "SCM.0010");
}

#[tokio::test]
async fn whoever_uploaded_a_certificate_cannot_apply_for_it() {
    let world = Applicant::at("2026-12-01").await;
    let (certificate, key) = openssl::self_signed("a.example", "DNS:a.example", "30");
    let id = world
        .ccm
        .import_scm("own", "UPLOAD", &certificate, "", &key)
        .await;
    world
        .apply(&id, &form("a.example"))
        .await
        .refused(400, "SCM.0010");
    world.cancel(&id).await.refused(400, "SCM.0010");
    assert_eq!(world.shown(&id).await["validation_method"], Value::Null);
    let bought = world
        .ccm
        .import_scm("bought", "ISSUED", &certificate, "", &key)
        .await;
    world
        .apply(&bought, &form("a.example"))
        .await
        .refused(400, "SCM.0010");
    let csr = csr(EC, &["-subj", "/CN=a.example"]);
    world
        .apply(&bought, &form_with("a.example", "csr", &json!(csr)))
        .await
        .refused(400, "SCM.0010");
}
