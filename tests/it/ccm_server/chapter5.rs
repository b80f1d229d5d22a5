//! The three procedures of chapter 5, "Examples", with the requests as the chapter prints them: where it gives the page of a
//! list as a body of a GET, that is sent, and it deletes with a body that is not even JSON. What it does not print, the
//! bodies of an import and of a push, is taken from the chapters that it refers to.

use renewd::model::Seconds;
use serde_json::{Value, json};

use super::applicant::{Applicant, CERTIFICATES, form_with};
use super::http::{Peer, Reply, Send, get, post, put};
use super::openssl::self_signed;
use crate::support::ccm::{Ccm, Wanted};

/// The body of the list in 5.1 and 5.3.
const PAGE: &str = "{\n    \"limit\": \"2\",\n    \"offset\": \"0\"\n}";
/// The same in 5.2.
const PAGE_IN_ONE_LINE: &str = "{  \"limit\": \"2\",  \"offset\": \"0\"}";

async fn send(peer: &impl Peer, method: &'static str, target: &str, body: &str) -> Reply {
    let mut send = Send::new(method, target);
    send.body = body.as_bytes().to_vec();
    send.by_user(peer).send(peer).await
}

/// "Query the certificate list."
async fn listed(peer: &impl Peer, body: &str) -> Vec<Value> {
    let list = send(peer, "GET", CERTIFICATES, body).await.expect(200).body;
    let certificates = list["certificates"].as_array().unwrap().clone();
    assert_eq!(list["total_count"], certificates.len());
    certificates
}

/// "Push a certificate", to WAF and CDN as the scenarios say.
async fn push_everywhere(ccm: &Ccm, id: &str) {
    for service in ["WAF", "CDN"] {
        let body = json!({"target_project": "cn-north-4", "target_service": service});
        let pushed = post(ccm, &format!("{CERTIFICATES}/{id}/push"), &body).await;
        assert!(pushed.expect(204).bytes.is_empty());
    }
    let history = format!("/v2/{}/scm/cert/{id}/push-history", ccm.user.project_id);
    let history = get(ccm, &history).await.expect(200).body;
    let pushes = history["push_history_list"].as_array().unwrap().iter();
    let services: Vec<&str> = pushes
        .map(|push| push["push_service"].as_str().unwrap())
        .collect();
    assert_eq!(services, ["CDN", "WAF"]);
}

/// The certificate that the chapter has in its answers; it is issued at its moment.
async fn of_the_examples() -> (Applicant, String) {
    let world = Applicant::at("2020-05-27T16:45:25Z").await;
    let id = world.buy("OV_SSL_CERT", "MULTI_DOMAIN", 2).await;
    let form = form_with("www.zx.com", "sans", &json!("zx.com"));
    world.apply(&id, &form).await.expect(200);
    world.prove(&id).await;
    world.pass(Seconds::minutes(1)).await;
    let name = json!({"modify_key": "cert_name", "modify_value": "test"});
    let path = format!("/v2/{}/scm/cert/{id}", world.ccm.user.project_id);
    put(&world.ccm, &path, &name).await.expect(200);
    (world, id)
}

/// The answer that is printed three times; the id is another each time.
fn printed(id: &str, status: &str) -> Value {
    json!({
        "id": id, "name": "test", "domain": "www.zx.com", "type": "OV_SSL_CERT", "brand": "GEOTRUST",
        "expire_time": "2021-05-27 16:46:25.0", "domain_type": "MULTI_DOMAIN", "validity_period": 12,
        "status": status, "domain_count": 2, "wildcard_count": 0, "description": null,
    })
}

/// Without the fields that 4.1.5.1 has and chapter 5 does not print.
fn as_printed(certificate: &Value, printed: &Value) -> Value {
    let names = printed.as_object().unwrap().keys();
    let fields = names.map(|name| (name.clone(), certificate[name].clone()));
    Value::Object(fields.collect())
}

#[tokio::test]
async fn example_1_deletes_an_expired_certificate() {
    let (world, id) = of_the_examples().await;
    let other = world.issued("other.zx.com", 1).await;
    world.pass(Seconds::days(365)).await;
    let list = listed(&world.ccm, PAGE).await;
    let expired: Vec<&Value> = list
        .iter()
        .filter(|one| one["status"] == "EXPIRED")
        .collect();
    assert_eq!(list.len(), 2);
    assert_eq!(expired.len(), 1, "the other was issued two minutes later");
    let wanted = printed(&id, "EXPIRED");
    assert_eq!(as_printed(expired[0], &wanted), wanted);
    let target = format!("{CERTIFICATES}/{id}");
    let body = format!("{{\n    certificate_id:{id}\n}}");
    let done = send(&world.ccm, "DELETE", &target, &body).await.expect(204);
    assert!(done.bytes.is_empty());
    let left = listed(&world.ccm, PAGE).await;
    assert_eq!(left.len(), 1);
    assert_eq!(left[0]["id"], other.as_str());
    // "or", says the chapter, and prints a refusal.
    let again = send(&world.ccm, "DELETE", &target, &body).await;
    again.refused(404, "SCM.0094");
}

#[tokio::test]
async fn example_2_pushes_an_external_certificate() {
    let ccm = Wanted::new().start().await;
    let (certificate, key) = self_signed("www.zx.com", "DNS:www.zx.com,DNS:zx.com", "300");
    let body = json!({
        "name": "test", "certificate": certificate, "certificate_chain": "", "private_key": key,
    });
    let imported = post(&ccm, "/v3/scm/certificates/import", &body).await;
    let imported = imported.expect(200).text("certificate_id");
    let list = listed(&ccm, PAGE_IN_ONE_LINE).await;
    assert_eq!(list.len(), 1);
    assert_eq!(list[0]["id"], imported.as_str());
    assert_eq!(list[0]["name"], "test");
    assert_eq!(list[0]["domain"], "www.zx.com");
    push_everywhere(&ccm, list[0]["id"].as_str().unwrap()).await;
}

#[tokio::test]
async fn example_3_pushes_a_purchased_certificate() {
    let (world, id) = of_the_examples().await;
    let list = listed(&world.ccm, PAGE).await;
    assert_eq!(list.len(), 1);
    let wanted = printed(&id, "ISSUED");
    assert_eq!(as_printed(&list[0], &wanted), wanted);
    push_everywhere(&world.ccm, list[0]["id"].as_str().unwrap()).await;
}
