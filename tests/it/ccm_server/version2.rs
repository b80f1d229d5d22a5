//! Orders and applications in version 2 (CCM API 7.1), beside version 3.

use renewd::model::Seconds;
use serde_json::{Value, json};

use super::applicant::{Applicant, form};
use super::http::{Reply, Send, delete, get, post, post_nothing};
use super::openssl;

fn v2(world: &Applicant, rest: &str) -> String {
    format!("/v2/{}/scm/{rest}", world.ccm.user.project_id)
}

async fn purchase(world: &Applicant, kind: &str, domain_type: &str, domains: u32) -> String {
    let body = json!({
        "cert_brand": "GLOBALSIGN", "cert_type": kind, "domain_type": domain_type, "effective_time": 1,
        "domain_numbers": domains, "order_number": 1, "agree_privacy_protection": true,
    });
    let bought = post(&world.ccm, &v2(world, "cert/purchase"), &body)
        .await
        .expect(200);
    assert!(bought.text("order_id").starts_with("CS"));
    bought.body["cert"][0]["cert_id"]
        .as_str()
        .unwrap()
        .to_owned()
}

/// One operation on a certificate, with a body or without.
async fn on(world: &Applicant, id: &str, what: &str, body: &Value) -> Reply {
    let path = v2(world, &format!("cert/{id}/{what}"));
    if body.is_null() {
        post_nothing(&world.ccm, &path).await
    } else {
        post(&world.ccm, &path, body).await
    }
}

/// As version 2 wants it.
fn application(domain: &str) -> Value {
    let mut body = form(domain);
    body["domain_method"] = json!("dns");
    body.as_object_mut().unwrap().remove("key_algorithm");
    body
}

/// An issued certificate for many names.
async fn multi(world: &Applicant, domains: u32, sans: &str) -> String {
    let id = purchase(world, "OV_SSL_CERT", "MULTI_DOMAIN", domains).await;
    let mut body = application("www.example.com");
    body["sans"] = json!(sans);
    on(world, &id, "complete", &body).await.expect(200);
    world.prove(&id).await;
    world.pass(Seconds::minutes(1)).await;
    assert_eq!(world.status(&id).await, "ISSUED");
    id
}

#[tokio::test]
async fn both_versions_show_the_same_order() {
    let world = Applicant::at("2027-01-01").await;
    let id = purchase(&world, "DV_SSL_CERT", "SINGLE_DOMAIN", 1).await;
    assert_eq!(world.status(&id).await, "PAID");
    let said = on(&world, &id, "complete", &application("huawei.example"))
        .await
        .expect(200);
    assert_eq!(said.body, json!({"request_info": "success"}));
    let verify = v2(&world, &format!("cert/{id}/domain-verify"));
    let asked = get(&world.ccm, &verify).await.expect(200).body;
    let token = world.shown(&id).await["authentification"][0]["record_value"].clone();
    assert_eq!(
        asked,
        json!({
            "domain_name": "huawei.example", "domain_email": null, "record_name": "_dnsauth.huawei.example",
            "record_value": token, "record_type": "TXT", "domain_method": "DNS",
            "applicant_email": "tom@example.com", "auto_dns_auth": false,
        })
    );
    let said = on(&world, &id, "cancel-cert", &Value::Null)
        .await
        .expect(200);
    assert_eq!(said.body, json!({"cert_id": id, "message": "success"}));
    assert_eq!(world.status(&id).await, "PAID");
    get(&world.ccm, &verify).await.refused(400, "SCM.0010");
}

#[tokio::test]
async fn a_project_must_be_the_caller_s() {
    let world = Applicant::at("2027-01-01").await;
    let id = purchase(&world, "DV_SSL_CERT", "SINGLE_DOMAIN", 1).await;
    let stranger = world
        .ccm
        .running
        .admin()
        .add_user_with("stranger", "elsewhere", "*")
        .await
        .unwrap();
    for project in [
        "0123456789abcdef0123456789abcdef",
        &stranger.project_id,
        "x",
    ] {
        let base = format!("/v2/{project}/scm");
        let body = application("a.example");
        for (what, body) in [
            ("complete", &body),
            ("save", &body),
            ("read", &json!({})),
            ("cancel-cert", &json!({})),
            ("info/BL/upload_authentication", &json!({})),
            ("revoke", &json!({"reason": "x"})),
            ("supplement", &json!({"ori_sans": ""})),
        ] {
            let path = format!("{base}/cert/{id}/{what}");
            post(&world.ccm, &path, body).await.refused(403, "SCM.0002");
        }
        get(&world.ccm, &format!("{base}/cert/{id}/domain-verify"))
            .await
            .refused(403, "SCM.0002");
        delete(&world.ccm, &format!("{base}/privacy-protection/{id}"))
            .await
            .refused(403, "SCM.0002");
        let buy = json!({
            "cert_brand": "GLOBALSIGN", "cert_type": "OV_SSL_CERT", "domain_type": "SINGLE_DOMAIN", "effective_time": 1,
            "domain_numbers": 1, "order_number": 1, "agree_privacy_protection": true,
        });
        post(&world.ccm, &format!("{base}/cert/purchase"), &buy)
            .await
            .refused(403, "SCM.0002");
    }
}

#[tokio::test]
async fn version_2_has_its_own_limits() {
    let world = Applicant::at("2027-01-01").await;
    let buy = |field: &str, value: Value| {
        let mut body = json!({
            "cert_brand": "GLOBALSIGN", "cert_type": "DV_SSL_CERT", "domain_type": "SINGLE_DOMAIN", "effective_time": 1,
            "domain_numbers": 1, "order_number": 1, "agree_privacy_protection": true,
        });
        body[field] = value;
        body
    };
    let path = v2(&world, "cert/purchase");
    for (field, value, code) in [
        ("effective_time", json!(3), "SCM.0052"),
        ("order_number", json!(1001), "SCM.0060"),
        ("agree_privacy_protection", json!(false), "SCM.0005"),
        ("cert_brand", Value::Null, "SCM.0049"),
    ] {
        post(&world.ccm, &path, &buy(field, value))
            .await
            .refused(400, code);
    }
    let many = post(&world.ccm, &path, &buy("order_number", json!(1000)))
        .await
        .expect(200);
    assert_eq!(many.body["cert"].as_array().unwrap().len(), 1000);
    let id = purchase(&world, "DV_SSL_CERT", "SINGLE_DOMAIN", 1).await;
    // Mandatory here, but empty for a DV certificate.
    for field in [
        "company_name",
        "company_province",
        "company_city",
        "country",
    ] {
        let mut body = application("a.example");
        body.as_object_mut().unwrap().remove(field);
        on(&world, &id, "complete", &body)
            .await
            .refused(400, "SCM.0005");
    }
    let mut body = application("a.example");
    for field in [
        "company_name",
        "company_province",
        "company_city",
        "country",
    ] {
        body[field] = json!("");
    }
    on(&world, &id, "complete", &body).await.expect(200);
    on(&world, "short", "complete", &body)
        .await
        .refused(400, "SCM.0020");
    on(&world, "scs0000000000000", "read", &Value::Null)
        .await
        .refused(404, "SCM.0094");
}

#[tokio::test]
async fn what_is_saved_is_read_back_and_applies_for_nothing() {
    let world = Applicant::at("2027-01-01").await;
    let id = purchase(&world, "OV_SSL_CERT", "MULTI_DOMAIN", 3).await;
    let empty = on(&world, &id, "read", &Value::Null).await.expect(200).body;
    assert_eq!(
        (&empty["domain_name"], &empty["bl"], &empty["tl"]),
        (&Value::Null, &json!("0"), &json!("0"))
    );
    let mut body = application("www.xzz.example");
    body["sans"] = json!("a.xzz.example");
    body.as_object_mut().unwrap().remove("domain_method");
    body["agree_privacy_protection"] = json!(false);
    on(&world, &id, "save", &body)
        .await
        .refused(400, "SCM.0005");
    body["agree_privacy_protection"] = json!(true);
    on(&world, &id, "save", &body).await.expect(200);
    assert_eq!(world.status(&id).await, "PAID");
    let picture = |kind: &str, bytes: Vec<u8>| {
        let path = v2(
            &world,
            &format!("cert/{id}/info/{kind}/upload_authentication"),
        );
        let mut send = Send::new("POST", &path);
        send.body = bytes;
        send.by_user(&world.ccm)
    };
    let said = picture("TL", b"\x89PNG picture".to_vec())
        .send(&world.ccm)
        .await
        .expect(200);
    assert_eq!(said.body, json!({"request_info": "success"}));
    picture("TL", b"\x89PNG another".to_vec())
        .send(&world.ccm)
        .await
        .expect(200);
    picture("TL", Vec::new())
        .send(&world.ccm)
        .await
        .refused(400, "SCM.0005");
    picture("XL", b"x".to_vec())
        .send(&world.ccm)
        .await
        .refused(400, "SCM.0005");
    picture("BL", vec![0; 1024 * 1024 + 1])
        .send(&world.ccm)
        .await
        .refused(400, "SCM.0065");
    let read = on(&world, &id, "read", &Value::Null).await.expect(200).body;
    assert_eq!(
        read,
        json!({
            "domain_name": "www.xzz.example", "sans": "a.xzz.example", "CSR": null, "country": "CN",
            "company_unit": "IT", "company_name": "Example Ltd", "company_province": "Sichuan",
            "company_city": "Chengdu", "applicant_name": "Tom", "applicant_phone": "13212345678",
            "applicant_email": "tom@example.com", "contact_name": "Jacky", "contact_phone": "13512345678",
            "contact_email": "jacky@example.com", "bl": "0", "tl": "1",
        })
    );
    // Nobody looks at papers of a DV applicant.
    let dv = purchase(&world, "DV_SSL_CERT", "SINGLE_DOMAIN", 1).await;
    on(
        &world,
        &dv,
        "info/BL/upload_authentication",
        &json!({"a": 1}),
    )
    .await
    .refused(400, "SCM.0010");
}

#[tokio::test]
async fn privacy_is_forgotten_when_nobody_needs_it_any_more() {
    let world = Applicant::at("2021-02-01").await;
    let id = world.buy_for("OV_SSL_CERT", "SINGLE_DOMAIN", 1, 2).await;
    world.apply(&id, &form("www.example.com")).await.expect(200);
    on(
        &world,
        &id,
        "info/BL/upload_authentication",
        &json!({"a": 1}),
    )
    .await
    .expect(200);
    let forget = v2(&world, &format!("privacy-protection/{id}"));
    delete(&world.ccm, &forget).await.refused(400, "SCM.0010");
    world.prove(&id).await;
    world.pass(Seconds::minutes(1)).await;
    assert_eq!(world.managed(&id).await["auto_renew_status"], 1);
    let said = delete(&world.ccm, &forget).await.expect(200);
    assert_eq!(said.body, json!({"message": "success"}));
    let shown = world.shown(&id).await;
    assert_eq!(shown["status"], "ISSUED");
    assert!(shown.get("application_info").is_none(), "{shown}");
    let read = on(&world, &id, "read", &Value::Null).await.expect(200).body;
    assert_eq!(
        (&read["applicant_name"], &read["bl"]),
        (&Value::Null, &json!("0"))
    );
    assert_eq!(world.managed(&id).await["auto_renew_status"], 0);
    world.pass(Seconds::days(360)).await;
    let list = get(&world.ccm, "/v3/scm/certificates")
        .await
        .expect(200)
        .body;
    assert_eq!(list["total_count"], 1, "nobody can be applied for");
}

#[tokio::test]
async fn further_domains_are_verified_and_then_in_the_certificate() {
    let world = Applicant::at("2027-01-01").await;
    let id = multi(&world, 4, "a.example.com").await;
    let before = world.shown(&id).await;
    let key = world.exported(&id).await.text("private_key");
    let add = |original: &str, add: &str| json!({"ori_sans": original, "add_sans": add, "email": "tom@example.com"});
    for (body, code) in [
        (add("x.example.com", "b.example.com"), "SCM.0067"),
        (add("", "b.example.com"), "SCM.0067"),
        (add("a.example.com", ""), "SCM.0005"),
        (add("a.example.com", "a.example.com"), "SCM.0063"),
        (add("a.example.com", "www.example.com"), "SCM.0063"),
        (
            add("a.example.com", "b.example.com;c.example.com;d.example.com"),
            "SCM.0015",
        ),
        (add("a.example.com", "x y"), "SCM.0108"),
        (add("a.example.com", "192.0.2.1"), "SCM.0015"),
        (json!({"add_sans": "b.example.com"}), "SCM.0005"),
        (
            json!({"ori_sans": "a.example.com", "add_sans": "b.example.com", "email": "tom"}),
            "SCM.0005",
        ),
    ] {
        let reply = on(&world, &id, "supplement", &body).await;
        assert_eq!(
            (reply.status, reply.body["error_code"].as_str()),
            (400, Some(code)),
            "{body}: {}",
            reply.body
        );
    }
    on(
        &world,
        &id,
        "supplement",
        &add("a.example.com", "b.example.com"),
    )
    .await
    .expect(200);
    world.pass(Seconds::minutes(5)).await;
    assert_eq!(world.status(&id).await, "SUPPLEMENTCHECKING");
    // The certificate serves on meanwhile.
    world.exported(&id).await.expect(200);
    world.prove(&id).await;
    world.pass(Seconds::minutes(5)).await;
    let after = world.shown(&id).await;
    assert_eq!(after["status"], "ISSUED");
    assert_eq!(after["sans"], "a.example.com;b.example.com");
    assert_eq!(after["not_after"], before["not_after"]);
    assert_ne!(after["fingerprint"], before["fingerprint"]);
    let exported = world.exported(&id).await;
    assert_eq!(exported.text("private_key"), key);
    let text = openssl::text(&exported.text("certificate"));
    assert!(
        text.contains("DNS:www.example.com, DNS:a.example.com, DNS:b.example.com"),
        "{text}"
    );
    let single = purchase(&world, "DV_SSL_CERT", "SINGLE_DOMAIN", 1).await;
    on(&world, &single, "supplement", &add("", "b.example.com"))
        .await
        .refused(400, "SCM.0010");
}

#[tokio::test]
async fn a_supplement_that_is_cancelled_or_rejected_changes_nothing() {
    let world = Applicant::at("2027-01-01").await;
    let id = multi(&world, 4, "a.example.com").await;
    let before = world.exported(&id).await.text("certificate");
    let add = json!({"ori_sans": "a.example.com", "add_sans": "b.example.com"});
    on(&world, &id, "supplement", &add).await.expect(200);
    // The names that it has are proven.
    let wanted = world.shown(&id).await["authentification"].clone();
    assert_eq!(wanted.as_array().unwrap().len(), 1, "{wanted}");
    assert_eq!(wanted[0]["domain"], "b.example.com", "{wanted}");
    on(&world, &id, "cancel-cert", &Value::Null)
        .await
        .expect(200);
    assert_eq!(world.status(&id).await, "ISSUED");
    let text = |field: &str| wanted[0][field].as_str().unwrap();
    world.names.put(text("record_name"), text("record_value"));
    world.pass(Seconds::minutes(5)).await;
    assert_eq!(world.exported(&id).await.text("certificate"), before);
    world.names.clear(text("record_name"));
    on(&world, &id, "supplement", &add).await.expect(200);
    let reject = format!("/applications/{id}/reject");
    let (status, said) = world
        .manage("POST", &reject, &json!({"reason": "no"}))
        .await;
    assert_eq!(
        (status, &said["status"], &said["fail_reason"]),
        (200, &json!("ISSUED"), &json!("no")),
        "{said}"
    );
    assert_eq!(said["domains"].as_array().unwrap().len(), 2);
    on(&world, &id, "supplement", &add).await.expect(200);
    world.pass(Seconds::days(31)).await;
    let said = world.managed(&id).await;
    assert_eq!(said["status"], "ISSUED");
    assert_eq!(
        said["fail_reason"],
        "the domains were not verified within 30 days"
    );
    assert_eq!(world.exported(&id).await.text("certificate"), before);
}

#[tokio::test]
async fn a_revocation_has_a_reason_and_may_take_time() {
    let world = Applicant::at("2021-02-01").await;
    let id = world.issued("www.example.com", 2).await;
    for bad in [
        json!({}),
        json!({"reason": ""}),
        json!({"reason": "x".repeat(64)}),
    ] {
        on(&world, &id, "revoke", &bad)
            .await
            .refused(400, "SCM.0027");
    }
    world
        .manage("POST", "/reviews/dv", &json!({"revoking_seconds": 3600}))
        .await;
    let reason = json!({"reason": "certificate information filled incorrectly"});
    let said = on(&world, &id, "revoke", &reason).await.expect(200);
    assert_eq!(said.body, json!({"message": "success"}));
    assert_eq!(world.status(&id).await, "REVOKING");
    on(&world, &id, "cancel-cert", &Value::Null)
        .await
        .expect(200);
    assert_eq!(world.status(&id).await, "ISSUED");
    on(&world, &id, "revoke", &reason).await.expect(200);
    world.pass(Seconds(3599)).await;
    assert_eq!(world.status(&id).await, "REVOKING");
    world.pass(Seconds(1)).await;
    let shown = world.shown(&id).await;
    assert_eq!(shown["status"], "REVOKE");
    assert_eq!(shown["revoke_reason"], reason["reason"]);
    on(&world, &id, "revoke", &reason)
        .await
        .refused(400, "SCM.0010");
    let kept = world.issued("kept.example.com", 2).await;
    on(&world, &kept, "revoke", &reason).await.expect(200);
    on(&world, &kept, "cancel-cert", &Value::Null)
        .await
        .expect(200);
    world.pass(Seconds::days(400)).await;
    assert_eq!(world.status(&id).await, "REVOKE");
    let list = get(&world.ccm, "/v3/scm/certificates")
        .await
        .expect(200)
        .body;
    let next = |of: &str| {
        let all = list["certificates"].as_array().unwrap().iter();
        all.filter(|one| one["domain"] == of).count()
    };
    assert_eq!(
        next("www.example.com"),
        1,
        "no next one follows a revoked one"
    );
    assert_eq!(next("kept.example.com"), 2, "what was not revoked goes on");
}

#[tokio::test]
async fn what_was_put_there_as_if_bought_can_be_revoked_too() {
    let world = Applicant::at("2026-12-01").await;
    let (certificate, key) = openssl::self_signed("a.example", "DNS:a.example", "30");
    let bought = world
        .ccm
        .import_scm("bought", "ISSUED", &certificate, "", &key)
        .await;
    let uploaded = world
        .ccm
        .import_scm("own", "UPLOAD", &certificate, "", &key)
        .await;
    let reason = json!({"reason": "lost"});
    let deployable = async || {
        let list = get(&world.ccm, "/v3/scm/certificates?deploy_support=true").await;
        list.expect(200).body["total_count"].clone()
    };
    assert_eq!(deployable().await, 2);
    // What is not pushed is not said to be.
    let slow = json!({"revoking_seconds": 60});
    world.manage("POST", "/reviews/dv", &slow).await;
    on(&world, &bought, "revoke", &reason).await.expect(200);
    assert_eq!(deployable().await, 1);
    on(&world, &bought, "cancel-cert", &Value::Null)
        .await
        .expect(200);
    assert_eq!(deployable().await, 2);
    assert_eq!(world.shown(&bought).await["push_support"], "ON");
    let quick = json!({"revoking_seconds": 0});
    world.manage("POST", "/reviews/dv", &quick).await;
    on(&world, &bought, "revoke", &reason).await.expect(200);
    assert_eq!(world.status(&bought).await, "REVOKE");
    assert_eq!(deployable().await, 1);
    assert_eq!(world.shown(&bought).await["push_support"], "OFF");
    let gone = world
        .ccm
        .import_scm("gone", "REVOKE", &certificate, "", &key)
        .await;
    assert_eq!(world.shown(&gone).await["push_support"], "OFF");
    on(&world, &uploaded, "revoke", &reason)
        .await
        .refused(400, "SCM.0010");
    on(&world, &uploaded, "read", &Value::Null)
        .await
        .refused(400, "SCM.0010");
}
