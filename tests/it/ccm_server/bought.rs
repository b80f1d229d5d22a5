//! What is known everywhere of a certificate that was bought: its tags, what follows it, the quota, the key of its CSR.

use renewd::model::Seconds;
use serde_json::{Value, json};

use super::applicant::{Applicant, CERTIFICATES, form, form_with, order};
use super::http::{delete, get, post};
use super::openssl::{self, EC, csr};
use super::scm_deploy::resource;

const BUY: &str = "/v3/scm/certificates/buy";
const FILTER: &str = "/v3/scm/resource_instances/action";
const CSR: &str = "/v3/scm/csr";

/// Buys a DV certificate of this body.
async fn buy(world: &Applicant, body: &Value) -> String {
    let bought = post(&world.ccm, BUY, body).await.expect(200);
    let id = bought.body["cert"][0]["cert_id"].as_str().unwrap();
    id.to_owned()
}

async fn tags(world: &Applicant, id: &str) -> Value {
    let path = format!("/v3/scm/{id}/tags");
    get(&world.ccm, &path).await.expect(200).body["tags"].clone()
}

/// What the filter finds, by id.
async fn found(world: &Applicant, filter: &Value) -> Vec<(String, Value)> {
    let answer = post(&world.ccm, FILTER, filter).await.expect(200).body;
    let resources = answer["resources"].as_array().unwrap().iter();
    resources
        .map(|one| {
            let id = one["resource_id"].as_str().unwrap().to_owned();
            (id, one["resource_detail"].clone())
        })
        .collect()
}

/// Applies, proves and waits.
async fn issue(world: &Applicant, id: &str, body: &Value) {
    world.apply(id, body).await.expect(200);
    world.prove(id).await;
    world.pass(Seconds::minutes(1)).await;
    assert_eq!(
        world.status(id).await,
        "ISSUED",
        "{}",
        world.managed(id).await
    );
}

#[tokio::test]
async fn tags_of_a_purchase_are_tags_like_others_and_go_on_to_the_next_certificate() {
    let world = Applicant::at("2021-02-01").await;
    let mut body = order("DV_SSL_CERT", "SINGLE_DOMAIN", 1);
    body["effective_time"] = json!(2);
    body["order_number"] = json!(2);
    body["tags"] =
        json!([{"key": "team", "value": "web"}, {"key": "costs"}, {"key": "area", "value": "a/b"}]);
    let bought = post(&world.ccm, BUY, &body).await.expect(200);
    let ids: Vec<&str> = bought.body["cert"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["cert_id"].as_str().unwrap())
        .collect();
    let wanted = json!([
        {"key": "area", "value": "a/b"}, {"key": "costs", "value": ""}, {"key": "team", "value": "web"},
    ]);
    for id in &ids {
        assert_eq!(tags(&world, id).await, wanted);
    }
    let filter = json!({"action": "filter", "tags": [{"key": "team", "values": ["web"]}]});
    assert_eq!(found(&world, &filter).await.len(), 2);

    // What is set later goes on too.
    let late = json!({"tag": {"key": "late", "value": "1"}});
    post(&world.ccm, &format!("/v3/scm/{}/tags", ids[0]), &late)
        .await
        .expect(200);
    issue(&world, ids[0], &form("www.example.com")).await;
    world.pass(Seconds::days(335)).await;
    let all = found(&world, &filter).await;
    assert_eq!(all.len(), 3);
    let (next, _) = all
        .iter()
        .find(|(id, _)| !ids.contains(&id.as_str()))
        .unwrap();
    assert_eq!(tags(&world, next).await, tags(&world, ids[0]).await);
    assert_eq!(tags(&world, next).await.as_array().unwrap().len(), 4);
    delete(&world.ccm, &format!("{CERTIFICATES}/{next}"))
        .await
        .expect(204);
    assert_eq!(found(&world, &filter).await.len(), 2);
}

#[tokio::test]
async fn tags_of_a_purchase_have_the_characters_of_tags() {
    let world = Applicant::at("2027-01-01").await;
    for (key, value, code) in [("a*", "b", "SCM.0306"), ("a", "b*", "SCM.0305")] {
        let mut body = order("DV_SSL_CERT", "SINGLE_DOMAIN", 1);
        body["tags"] = json!([{"key": key, "value": value}]);
        post(&world.ccm, BUY, &body).await.refused(400, code);
    }
}

#[tokio::test]
async fn certificates_by_tag_say_what_came_before_and_what_comes_after() {
    let world = Applicant::at("2021-02-01").await;
    let mut body = order("DV_SSL_CERT", "SINGLE_DOMAIN", 1);
    body["effective_time"] = json!(3);
    body["tags"] = json!([{"key": "team", "value": "web"}]);
    let first = buy(&world, &body).await;
    let filter = json!({"action": "filter", "tags": [{"key": "team", "values": []}]});
    let fields = |detail: &Value| {
        let names = [
            "origin_cert_id",
            "renewal_cert_id",
            "auto_renew_status",
            "remain_cert_number",
        ];
        Value::from(names.map(|name| detail[name].clone()).to_vec())
    };
    let all = found(&world, &filter).await;
    assert_eq!(fields(&all[0].1), json!([null, null, 0, 0]), "not issued");
    issue(&world, &first, &form("www.example.com")).await;
    let all = found(&world, &filter).await;
    assert_eq!(fields(&all[0].1), json!([null, null, 1, 2]));
    world.pass(Seconds::days(335)).await;
    let all = found(&world, &filter).await;
    assert_eq!(all.len(), 2);
    for (id, detail) in &all {
        let wanted = if *id == first {
            json!([null, null, 0, 0])
        } else {
            json!([first, first, 1, 1])
        };
        assert_eq!(fields(detail), wanted, "{id}");
    }
}

#[tokio::test]
async fn a_failed_application_says_why_wherever_certificates_are_found() {
    let world = Applicant::at("2027-01-01").await;
    let id = world.buy("DV_SSL_CERT", "SINGLE_DOMAIN", 1).await;
    world.apply(&id, &form("www.example.com")).await.expect(200);
    world.pass(Seconds::days(31)).await;
    assert_eq!(world.status(&id).await, "UNPASSED");
    let filter = json!({"action": "filter", "without_any_tag": true});
    let all = found(&world, &filter).await;
    assert_eq!(all[0].1["order_status"], "UNPASSED");
    assert_eq!(
        all[0].1["fail_reason"],
        world.managed(&id).await["fail_reason"]
    );
    assert!(all[0].1["fail_reason"].is_string());
}

#[tokio::test]
async fn version_2_shows_what_the_applicant_said_and_how_far_the_names_are_proven() {
    let world = Applicant::at("2027-01-01").await;
    let id = world.buy("OV_SSL_CERT", "MULTI_DOMAIN", 2).await;
    let path = format!("/v2/{}/scm/cert/{id}", world.ccm.user.project_id);
    let shown = get(&world.ccm, &path).await.expect(200).body;
    assert_eq!(
        (&shown["applicant_name"], &shown["auth"]),
        (&Value::Null, &json!([]))
    );
    let body = form_with("www.example.com", "sans", &json!("*.example.org"));
    world.apply(&id, &body).await.expect(200);
    let shown = get(&world.ccm, &path).await.expect(200).body;
    for (field, value) in [
        ("company_name", "Example Ltd"),
        ("company_province", "Sichuan"),
        ("company_city", "Chengdu"),
        ("country", "CN"),
        ("organization_unit", "IT"),
        ("applicant_name", "Tom"),
        ("applicant_phone", "13212345678"),
        ("applicant_email", "tom@example.com"),
        ("contact_name", "Jacky"),
        ("contact_phone", "13512345678"),
        ("contact_email", "jacky@example.com"),
    ] {
        assert_eq!(shown[field], value, "{field}");
    }
    let token = world.shown(&id).await["authentification"][0]["record_value"].clone();
    let proof = |status: &str, domain: &str, record: &str| {
        json!({
            "method": "DNS", "status": status, "domain_name": domain, "host_record": record,
            "record_type": "TXT", "record": token,
        })
    };
    assert_eq!(
        shown["auth"],
        json!([
            proof("checking", "www.example.com", "_dnsauth.www.example.com"),
            proof("checking", "*.example.org", "_dnsauth.example.org"),
        ])
    );
    world.look().await;
    world
        .names
        .put("_dnsauth.example.org", token.as_str().unwrap());
    world.pass(Seconds::minutes(1)).await;
    let shown = get(&world.ccm, &path).await.expect(200).body;
    assert_eq!(
        (&shown["auth"][0]["status"], &shown["auth"][1]["status"]),
        (&json!("checking"), &json!("validated"))
    );
}

#[tokio::test]
async fn free_certificates_are_counted_once_for_both_versions() {
    let world = Applicant::at("2026-06-01").await;
    let list = format!("/v2/{}/scm/certlist", world.ccm.user.project_id);
    let left = async || {
        let list = get(&world.ccm, &list).await.expect(200).body;
        list["free_remain"].as_i64().unwrap()
    };
    assert_eq!(left().await, 20);
    let mut free = order("DV_SSL_CERT_BASIC", "SINGLE_DOMAIN", 1);
    // Of another brand it is not free.
    buy(&world, &free).await;
    assert_eq!(left().await, 20);
    free["cert_brand"] = json!("SYMANTEC");
    let id = buy(&world, &free).await;
    assert_eq!(left().await, 19);
    // A year takes two certificates by now; the second was taken with the first.
    issue(&world, &id, &form("www.example.com")).await;
    world.pass(Seconds::days(171)).await;
    let list = get(&world.ccm, CERTIFICATES).await.expect(200).body;
    assert_eq!(list["total_count"], 3);
    assert_eq!(left().await, 19);
    free["order_number"] = json!(20);
    post(&world.ccm, BUY, &free).await.refused(400, "SCM.0011");
    free["order_number"] = json!(19);
    post(&world.ccm, BUY, &free).await.expect(200);
    assert_eq!(left().await, 0);
    delete(&world.ccm, &format!("{CERTIFICATES}/{id}"))
        .await
        .expect(204);
}

/// A CSR that SCM makes and keeps; its id and text.
async fn kept(world: &Applicant, algorithm: &str) -> (String, String) {
    let body = json!({
        "name": "kept", "domain_name": "www.example.com", "private_key_algo": algorithm, "usage": "PERSONAL",
    });
    let made = post(&world.ccm, CSR, &body).await.expect(201);
    let id = made.text("id");
    let csr = get(&world.ccm, &format!("{CSR}/{id}"))
        .await
        .expect(200)
        .text("csr");
    (id, csr)
}

async fn key_of(world: &Applicant, csr: &str) -> String {
    let path = format!("{CSR}/{csr}/private-key");
    let shown = get(&world.ccm, &path).await.expect(200);
    shown.text("private_key")
}

#[tokio::test]
async fn an_application_with_a_csr_that_is_kept_finds_its_key() {
    let world = Applicant::at("2027-01-01").await;
    for algorithm in ["RSA_2048", "EC_P256"] {
        let (request, csr) = kept(&world, algorithm).await;
        // As it looks when it came through a form.
        let csr = csr.trim().replace('\n', "\r\n");
        let id = world.buy("DV_SSL_CERT", "SINGLE_DOMAIN", 1).await;
        let body = form_with("www.example.com", "csr", &json!(csr));
        issue(&world, &id, &body).await;
        let exported = world.exported(&id).await.expect(200);
        let key = exported.text("private_key");
        assert_eq!(key, key_of(&world, &request).await, "{algorithm}");
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("k.pem"), &key).unwrap();
        std::fs::write(directory.path().join("c.pem"), exported.text("certificate")).unwrap();
        let of_key = openssl::said(directory.path(), &["pkey", "-in", "k.pem", "-pubout"]);
        let of_leaf = openssl::said(
            directory.path(),
            &["x509", "-in", "c.pem", "-noout", "-pubkey"],
        );
        assert_eq!(of_key, of_leaf);

        assert_eq!(world.shown(&id).await["push_support"], "ON");
        let name = format!("front-{algorithm}");
        let listener = resource(&world.ccm, "ELB", "ap-southeast-3", &name).await;
        let deploy = json!({"service_name": "ELB", "project_name": "ap-southeast-3", "resources": [{"id": listener}]});
        let done = post(&world.ccm, &format!("{CERTIFICATES}/{id}/deploy"), &deploy)
            .await
            .expect(200);
        assert_eq!(done.body, json!({"failure_list": []}));
        let push = json!({"target_service": "WAF", "target_project": "ap-southeast-3"});
        post(&world.ccm, &format!("{CERTIFICATES}/{id}/push"), &push)
            .await
            .expect(204);
        let served = world.ccm.running.admin().served(&listener).await.unwrap();
        assert_eq!(served.unwrap().private_key.expose_str().unwrap(), key);
    }
}

#[tokio::test]
async fn the_key_of_a_kept_csr_goes_on_to_the_next_certificate_without_the_csr() {
    let world = Applicant::at("2021-02-01").await;
    let (request, csr) = kept(&world, "EC_P256").await;
    let first = world.buy_for("DV_SSL_CERT", "SINGLE_DOMAIN", 1, 2).await;
    issue(
        &world,
        &first,
        &form_with("www.example.com", "csr", &json!(csr)),
    )
    .await;
    let key = world.exported(&first).await.text("private_key");
    delete(&world.ccm, &format!("{CSR}/{request}"))
        .await
        .expect(204);
    world.pass(Seconds::days(336)).await;
    let list = get(&world.ccm, CERTIFICATES).await.expect(200).body;
    let ids = list["certificates"].as_array().unwrap();
    let next = ids.iter().find(|one| one["id"] != first.as_str()).unwrap();
    let next = next["id"].as_str().unwrap();
    assert_eq!(world.status(next).await, "ISSUED");
    let exported = world.exported(next).await.expect(200);
    assert_eq!(exported.text("private_key"), key);
}

#[tokio::test]
async fn a_csr_that_was_uploaded_without_a_key_keeps_it_with_the_applicant() {
    let world = Applicant::at("2027-01-01").await;
    let own = csr(EC, &["-subj", "/CN=www.example.com"]);
    let body = json!({"name": "own", "csr": own});
    post(&world.ccm, &format!("{CSR}/upload"), &body)
        .await
        .expect(200);
    let id = world.buy("DV_SSL_CERT", "SINGLE_DOMAIN", 1).await;
    issue(
        &world,
        &id,
        &form_with("www.example.com", "csr", &json!(own)),
    )
    .await;
    let exported = world.exported(&id).await.expect(200);
    assert_eq!(exported.body["private_key"], Value::Null);
    assert_eq!(world.shown(&id).await["push_support"], "OFF");
}

#[tokio::test]
async fn the_key_of_a_kept_csr_stays_with_the_certificate_when_domains_are_added() {
    let world = Applicant::at("2027-01-01").await;
    let (request, csr) = kept(&world, "EC_P256").await;
    let id = world.buy("OV_SSL_CERT", "MULTI_DOMAIN", 3).await;
    let mut body = form_with("www.example.com", "csr", &json!(csr));
    body["sans"] = json!("a.example.com");
    issue(&world, &id, &body).await;
    let key = world.exported(&id).await.text("private_key");
    delete(&world.ccm, &format!("{CSR}/{request}"))
        .await
        .expect(204);
    let more = json!({"ori_sans": "a.example.com", "add_sans": "b.example.com", "email": "tom@example.com"});
    let project = &world.ccm.user.project_id;
    let path = format!("/v2/{project}/scm/cert/{id}/supplement");
    post(&world.ccm, &path, &more).await.expect(200);
    world.prove(&id).await;
    world.pass(Seconds::minutes(1)).await;
    let shown = world.shown(&id).await;
    assert_eq!(
        (&shown["status"], &shown["sans"], &shown["push_support"]),
        (
            &json!("ISSUED"),
            &json!("a.example.com;b.example.com"),
            &json!("ON")
        )
    );
    let exported = world.exported(&id).await.expect(200);
    assert_eq!(exported.text("private_key"), key);
}

#[tokio::test]
async fn the_key_of_another_account_s_csr_is_not_given_to_who_knows_the_csr() {
    let mut world = Applicant::at("2027-01-01").await;
    let (_, csr) = kept(&world, "EC_P256").await;
    let admin = world.ccm.running.admin();
    let stranger = admin.add_user_with("stranger", "elsewhere", "*");
    world.ccm.user = stranger.await.unwrap();
    let id = world.buy("DV_SSL_CERT", "SINGLE_DOMAIN", 1).await;
    issue(
        &world,
        &id,
        &form_with("www.example.com", "csr", &json!(csr)),
    )
    .await;
    let exported = world.exported(&id).await.expect(200);
    assert_eq!(exported.body["private_key"], Value::Null);
    assert_eq!(world.shown(&id).await["push_support"], "OFF");
}
