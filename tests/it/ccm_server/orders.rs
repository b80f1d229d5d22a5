//! Purchases and the limits of applications (CCM API 4.1.1.1 and 4.1.3.1).

use serde_json::{Value, json};

use super::applicant::{Applicant, CERTIFICATES, form, form_with, order};
use super::http::{get, post};
use super::openssl::{EC, csr};
use crate::support::ccm::Ccm;

const BUY: &str = "/v3/scm/certificates/buy";

fn changed(field: &str, value: &Value) -> Value {
    let mut body = order("OV_SSL_CERT", "MULTI_DOMAIN", 5);
    match value {
        Value::Null => body.as_object_mut().unwrap().remove(field),
        value => body
            .as_object_mut()
            .unwrap()
            .insert(field.to_owned(), value.clone()),
    };
    body
}

#[tokio::test]
async fn the_reference_s_example_buys_what_it_says() {
    let ccm = Ccm::start().await;
    let body = json!({
        "cert_brand": "GLOBALSIGN", "cert_type": "OV_SSL_CERT", "domain_type": "MULTI_DOMAIN", "effective_time": 1,
        "domain_numbers": 5, "order_number": 1, "agree_privacy_protection": true,
    });
    let bought = post(&ccm, BUY, &body).await.expect(200);
    let order_id = bought.text("order_id");
    assert_eq!(order_id.len(), 17, "{order_id}");
    assert!(order_id.starts_with("CS"), "{order_id}");
    assert_eq!(bought.body["cert"].as_array().unwrap().len(), 1);
    let id = bought.body["cert"][0]["cert_id"].as_str().unwrap();
    assert!(id.len() == 16 && id.starts_with("scs"), "{id}");
    let shown = get(&ccm, &format!("{CERTIFICATES}/{id}"))
        .await
        .expect(200)
        .body;
    for (field, value) in [
        ("status", json!("PAID")),
        ("order_id", json!(order_id)),
        ("type", json!("OV_SSL_CERT")),
        ("brand", json!("GLOBALSIGN")),
        ("domain_type", json!("MULTI_DOMAIN")),
        ("domain_count", json!(5)),
        ("validity_period", json!(12)),
        ("push_support", json!("OFF")),
        ("not_after", Value::Null),
        ("authentification", json!([])),
    ] {
        assert_eq!(shown[field], value, "{field}");
    }
    let list = get(&ccm, &format!("{CERTIFICATES}?status=PAID"))
        .await
        .expect(200)
        .body;
    assert_eq!(list["certificates"][0]["id"], id);
}

#[tokio::test]
async fn many_certificates_of_one_order_have_its_id() {
    let ccm = Ccm::start().await;
    let mut body = order("DV_SSL_CERT", "WILDCARD", 1);
    body["order_number"] = json!(100);
    body["order_id"] = json!("CS2601010000COMBI");
    let bought = post(&ccm, BUY, &body).await.expect(200);
    assert_eq!(bought.text("order_id"), "CS2601010000COMBI");
    let mut ids: Vec<&str> = bought.body["cert"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["cert_id"].as_str().unwrap())
        .collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 100);
    let list = get(&ccm, CERTIFICATES).await.expect(200).body;
    assert_eq!(list["total_count"], 100);
}

#[tokio::test]
async fn every_limit_of_a_purchase_has_its_code() {
    let ccm = Ccm::start().await;
    let tag = |key: &str, value: &str| json!({"key": key, "value": value});
    let many: Vec<Value> = (0..11).map(|n| tag(&n.to_string(), "")).collect();
    let cases = [
        ("cert_brand", Value::Null, "SCM.0049"),
        ("cert_brand", json!("LETSENCRYPT"), "SCM.0049"),
        ("cert_type", Value::Null, "SCM.0050"),
        ("cert_type", json!("XV"), "SCM.0050"),
        ("domain_type", Value::Null, "SCM.0051"),
        ("domain_type", json!("ALL"), "SCM.0051"),
        ("effective_time", Value::Null, "SCM.0052"),
        ("effective_time", json!(0), "SCM.0052"),
        ("effective_time", json!(4), "SCM.0052"),
        ("domain_numbers", Value::Null, "SCM.0036"),
        ("domain_numbers", json!(1), "SCM.0036"),
        ("domain_numbers", json!(101), "SCM.0036"),
        ("order_number", Value::Null, "SCM.0060"),
        ("order_number", json!(0), "SCM.0060"),
        ("order_number", json!(101), "SCM.0060"),
        ("agree_privacy_protection", Value::Null, "SCM.0005"),
        ("agree_privacy_protection", json!(false), "SCM.0005"),
        ("primary_domain_type", json!("WILDCARD"), "SCM.0051"),
        ("single_domain_number", json!(0), "SCM.0036"),
        ("single_domain_number", json!(5), "SCM.0036"),
        ("wildcard_domain_number", json!(101), "SCM.0036"),
        ("is_auto_pay", json!("maybe"), "SCM.0005"),
        ("order_id", json!("x".repeat(64)), "SCM.0005"),
        ("tags", json!(many), "SCM.0313"),
        ("tags", json!([tag("", "x")]), "SCM.0306"),
        ("tags", json!([tag("a", "x"), tag("a", "y")]), "SCM.0507"),
        ("tags", json!([tag(&"k".repeat(129), "x")]), "SCM.0310"),
        ("tags", json!([tag("k", &"v".repeat(256))]), "SCM.0309"),
    ];
    for (field, value, code) in cases {
        let reply = post(&ccm, BUY, &changed(field, &value)).await;
        assert_eq!(
            (reply.status, reply.body["error_code"].as_str()),
            (400, Some(code)),
            "{field} {value}: {}",
            reply.body
        );
    }
    for (kind, domain_type, domains, code) in [
        ("DV_SSL_CERT", "SINGLE_DOMAIN", 2, "SCM.0036"),
        ("DV_SSL_CERT", "WILDCARD", 2, "SCM.0036"),
        ("EV_SSL_CERT", "WILDCARD", 1, "SCM.0051"),
    ] {
        post(&ccm, BUY, &order(kind, domain_type, domains))
            .await
            .refused(400, code);
    }
    let mut split = order("DV_SSL_CERT", "SINGLE_DOMAIN", 1);
    split["primary_domain_type"] = json!("SINGLE_DOMAIN");
    post(&ccm, BUY, &split).await.refused(400, "SCM.0036");
    let list = get(&ccm, CERTIFICATES).await.expect(200).body;
    assert_eq!(
        list["total_count"], 0,
        "a refused purchase leaves nothing behind"
    );
}

#[tokio::test]
async fn free_certificates_are_twenty() {
    let ccm = Ccm::start().await;
    let mut free = order("DV_SSL_CERT_BASIC", "SINGLE_DOMAIN", 1);
    free["cert_brand"] = json!("SYMANTEC");
    free["order_number"] = json!(19);
    post(&ccm, BUY, &free).await.expect(200);
    free["order_number"] = json!(2);
    post(&ccm, BUY, &free).await.refused(400, "SCM.0011");
    free["order_number"] = json!(1);
    post(&ccm, BUY, &free).await.expect(200);
    post(&ccm, BUY, &free).await.refused(400, "SCM.0011");
    free["cert_brand"] = json!("GEOTRUST");
    post(&ccm, BUY, &free).await.expect(200);
}

#[tokio::test]
async fn every_limit_of_an_application_has_its_code() {
    let world = Applicant::at("2027-01-01").await;
    let ov = world.buy("OV_SSL_CERT", "MULTI_DOMAIN", 3).await;
    let long = |count: usize| json!("x".repeat(count));
    let other = csr(EC, &["-subj", "/CN=other.example"]);
    let nameless = csr(EC, &["-subj", "/O=Example"]);
    let cases = [
        ("domain", json!(""), "SCM.0108"),
        ("domain", json!("com"), "SCM.0108"),
        ("domain", long(256), "SCM.0108"),
        ("domain", json!("a b.example"), "SCM.0108"),
        (
            "domain",
            json!(format!("{}.{}.example", "a".repeat(40), "b".repeat(40))),
            "SCM.0108",
        ),
        ("sans", json!("b.example;b.example"), "SCM.0063"),
        ("sans", json!("b.example;c.example;d.example"), "SCM.0015"),
        ("sans", json!("b.example;x y"), "SCM.0108"),
        ("sans", long(4097), "SCM.0108"),
        ("csr", json!("-----BEGIN"), "SCM.0034"),
        ("csr", long(5121), "SCM.0034"),
        ("csr", json!(other), "SCM.0035"),
        ("csr", json!(nameless), "SCM.0033"),
        ("company_name", long(64), "SCM.0005"),
        ("company_name", json!(""), "SCM.0005"),
        ("company_province", json!(""), "SCM.0005"),
        ("company_city", Value::Null, "SCM.0005"),
        ("company_unit", long(64), "SCM.0005"),
        ("country", json!("CHN"), "SCM.0005"),
        ("country", json!("1A"), "SCM.0005"),
        ("country", Value::Null, "SCM.0005"),
        ("applicant_name", Value::Null, "SCM.0083"),
        ("applicant_name", json!(""), "SCM.0083"),
        ("applicant_name", json!("Tom;"), "SCM.0083"),
        ("applicant_name", long(64), "SCM.0083"),
        ("applicant_phone", Value::Null, "SCM.0085"),
        ("applicant_phone", json!("call me"), "SCM.0085"),
        ("applicant_email", Value::Null, "SCM.0086"),
        ("applicant_email", json!("tom"), "SCM.0086"),
        ("contact_name", long(64), "SCM.0005"),
        ("contact_email", json!("jacky"), "SCM.0005"),
        ("contact_phone", json!("x"), "SCM.0005"),
        ("agree_privacy_protection", json!(false), "SCM.0005"),
        ("agree_privacy_protection", Value::Null, "SCM.0005"),
        ("domain_method", json!("PIGEON"), "SCM.0005"),
        ("domain_method", Value::Null, "SCM.0005"),
        ("domain_method", json!("FILE"), "SCM.0005"),
        ("key_algorithm", json!("RSA_512"), "SCM.0005"),
    ];
    for (field, value, code) in cases {
        let reply = world
            .apply(&ov, &form_with("a.example", field, &value))
            .await;
        assert_eq!(
            (reply.status, reply.body["error_code"].as_str()),
            (400, Some(code)),
            "{field} {value}: {}",
            reply.body
        );
    }
    assert_eq!(world.status(&ov).await, "PAID");
    world
        .apply("short", &form("a.example"))
        .await
        .refused(400, "SCM.0020");
    world
        .apply("scs0000000000000", &form("a.example"))
        .await
        .refused(404, "SCM.0094");
}

#[tokio::test]
async fn domains_must_fit_what_was_bought() {
    let world = Applicant::at("2027-01-01").await;
    let single = world.buy("DV_SSL_CERT", "SINGLE_DOMAIN", 1).await;
    let wildcard = world.buy("DV_SSL_CERT", "WILDCARD", 1).await;
    let extended = world.buy("EV_SSL_CERT", "MULTI_DOMAIN", 3).await;
    let mut body = order("OV_SSL_CERT", "MULTI_DOMAIN", 4);
    body["primary_domain_type"] = json!("WILDCARD_DOMAIN");
    body["single_domain_number"] = json!(2);
    body["wildcard_domain_number"] = json!(1);
    let bought = post(&world.ccm, BUY, &body).await.expect(200);
    let split = bought.body["cert"][0]["cert_id"].as_str().unwrap();
    let cases = [
        (single.as_str(), "*.example.com", "", "SCM.0015"),
        (&single, "a.example", "b.example", "SCM.0015"),
        (&single, "192.0.2.1", "", "SCM.0005"),
        (&wildcard, "a.example", "", "SCM.0015"),
        (&wildcard, "*.example.com", "b.example", "SCM.0015"),
        (&extended, "a.example", "*.example.com", "SCM.0015"),
        (&extended, "192.0.2.1", "", "SCM.0015"),
        (split, "a.example", "", "SCM.0015"),
        (split, "*.a.example", "*.b.example;*.c.example", "SCM.0015"),
        (
            split,
            "*.a.example",
            "b.example;c.example;d.example",
            "SCM.0015",
        ),
    ];
    for (id, domain, sans, code) in cases {
        let reply = world
            .apply(id, &form_with(domain, "sans", &json!(sans)))
            .await;
        assert_eq!(
            (reply.status, reply.body["error_code"].as_str()),
            (400, Some(code)),
            "{domain} {sans}: {}",
            reply.body
        );
    }
    let sans = json!("*.a.example;*.b.example;b.example;c.example");
    world
        .apply(split, &form_with("*.a.example", "sans", &sans))
        .await
        .expect(200);
    let shown = world.shown(split).await;
    assert_eq!(shown["sans"], "*.b.example;b.example;c.example");
    assert_eq!(shown["multi_domain_type"], "primary_wildcard");
    assert_eq!(shown["wildcard_count"], 2);
    // The other way round, DV takes no mail.
    let mail = form_with("a.example", "domain_method", &json!("email"));
    world.apply(&single, &mail).await.refused(400, "SCM.0005");
}

#[tokio::test]
async fn a_user_needs_the_action_and_another_account_sees_nothing() {
    let world = Applicant::at("2027-01-01").await;
    let id = world.buy("DV_SSL_CERT", "SINGLE_DOMAIN", 1).await;
    let admin = world.ccm.running.admin();
    let reader = admin
        .add_user_with("reader", "default", "scm:cert:list scm:cert:get")
        .await
        .unwrap();
    let stranger = admin
        .add_user_with("stranger", "elsewhere", "*")
        .await
        .unwrap();
    let mut ccm = world.ccm;
    ccm.user = reader;
    post(&ccm, BUY, &order("DV_SSL_CERT", "SINGLE_DOMAIN", 1))
        .await
        .refused(403, "SCM.1019");
    let apply = format!("{CERTIFICATES}/{id}/apply");
    post(&ccm, &apply, &form("a.example"))
        .await
        .refused(403, "SCM.1019");
    post(
        &ccm,
        &format!("{CERTIFICATES}/{id}/cancel-cert"),
        &json!({}),
    )
    .await
    .refused(403, "SCM.1019");
    ccm.user = stranger;
    post(&ccm, &apply, &form("a.example"))
        .await
        .refused(404, "SCM.0094");
}
