//! Certificates whose further domains are being verified (CCM API 7.1.20): what they stand for goes on meanwhile.

use renewd::model::Seconds;
use serde_json::{Value, json};

use super::applicant::{Applicant, CERTIFICATES, form_with};
use super::http::{get, post};
use super::scm_deploy::resource;

/// One for two names with room for more, of an order of a year that takes many of 47 days.
async fn issued(world: &Applicant) -> String {
    let id = world.buy("OV_SSL_CERT", "MULTI_DOMAIN", 4).await;
    let body = form_with("www.example.com", "sans", &json!("a.example.com"));
    world.apply(&id, &body).await.expect(200);
    world.prove(&id).await;
    world.pass(Seconds::minutes(1)).await;
    assert_eq!(world.status(&id).await, "ISSUED");
    id
}

async fn supplement(world: &Applicant, id: &str) {
    let project = &world.ccm.user.project_id;
    let path = format!("/v2/{project}/scm/cert/{id}/supplement");
    let body = json!({"ori_sans": "a.example.com", "add_sans": "b.example.com"});
    post(&world.ccm, &path, &body).await.expect(200);
    world.look().await;
    assert_eq!(world.status(id).await, "SUPPLEMENTCHECKING");
}

/// The certificates of this status.
async fn all(world: &Applicant, status: &str) -> Vec<Value> {
    let path = format!("{CERTIFICATES}?limit=50&sort_dir=ASC&status={status}");
    let list = get(&world.ccm, &path).await.expect(200).body;
    list["certificates"].as_array().unwrap().clone()
}

async fn reviewed(world: &Applicant, outcome: &str) {
    let body = json!({"outcome": outcome});
    let (status, said) = world.manage("POST", "/reviews/ov", &body).await;
    assert_eq!(status, 200, "{said}");
}

#[tokio::test]
async fn the_next_certificate_has_the_names_that_are_verified_while_it_waits() {
    let world = Applicant::at("2029-06-01").await;
    let id = issued(&world).await;
    // 31 days before its end.
    world.pass(Seconds::days(16)).await;
    supplement(&world, &id).await;
    world.pass(Seconds::days(2)).await;
    assert_eq!(world.status(&id).await, "SUPPLEMENTCHECKING");
    assert!(all(&world, "ISSUED").await.is_empty());
    assert_eq!(world.managed(&id).await["auto_renew_status"], 1);
    world.prove(&id).await;
    world.pass(Seconds::minutes(20)).await;
    world.look().await;
    let both = all(&world, "ISSUED").await;
    assert_eq!(both.len(), 2, "{both:?}");
    for one in &both {
        assert_eq!(one["sans"], "a.example.com;b.example.com", "{both:?}");
    }
    assert_eq!(world.managed(&id).await["auto_renew_status"], 0);
    world.pass(Seconds::days(1)).await;
    assert_eq!(all(&world, "ALL").await.len(), 2);
}

#[tokio::test]
async fn the_next_certificate_waits_for_no_supplement_that_was_given_up() {
    let world = Applicant::at("2029-06-01").await;
    let id = issued(&world).await;
    world.pass(Seconds::days(16)).await;
    supplement(&world, &id).await;
    world.pass(Seconds::days(2)).await;
    let project = &world.ccm.user.project_id;
    let path = format!("/v2/{project}/scm/cert/{id}/cancel-cert");
    post(&world.ccm, &path, &json!({})).await.expect(200);
    world.pass(Seconds::minutes(1)).await;
    let both = all(&world, "ISSUED").await;
    assert_eq!(both.len(), 2, "{both:?}");
    for one in &both {
        assert_eq!(one["sans"], "a.example.com", "{both:?}");
    }
}

#[tokio::test]
async fn the_next_certificate_that_was_paid_for_waits_for_a_supplement_until_the_last_week() {
    let world = Applicant::at("2029-06-01").await;
    let id = issued(&world).await;
    world.pass(Seconds::days(16)).await;
    supplement(&world, &id).await;
    world.pass(Seconds::days(23)).await;
    assert!(all(&world, "ISSUED").await.is_empty());
    world.pass(Seconds::days(1)).await;
    world.pass(Seconds::minutes(1)).await;
    assert_eq!(world.status(&id).await, "SUPPLEMENTCHECKING");
    let next = all(&world, "ISSUED").await;
    assert_eq!(next.len(), 1, "{next:?}");
    assert_eq!(next[0]["sans"], "a.example.com");
    assert_eq!(world.managed(&id).await["auto_renew_status"], 0);
    // The supplement goes on, and brings no second one.
    world.prove(&id).await;
    world.pass(Seconds::minutes(20)).await;
    let shown = world.shown(&id).await;
    assert_eq!(shown["status"], "ISSUED");
    assert_eq!(shown["sans"], "a.example.com;b.example.com");
    world.pass(Seconds::days(1)).await;
    assert_eq!(world.managed(&id).await["auto_renew_status"], 0);
    assert_eq!(all(&world, "ALL").await.len(), 2);
}

#[tokio::test]
async fn a_supplement_ends_with_its_certificate_whoever_holds_it() {
    let world = Applicant::at("2029-06-01").await;
    let id = issued(&world).await;
    reviewed(&world, "hold").await;
    world.pass(Seconds::days(40)).await;
    supplement(&world, &id).await;
    world.prove(&id).await;
    world.pass(Seconds::minutes(20)).await;
    assert_eq!(world.status(&id).await, "SUPPLEMENTCHECKING");
    world.pass(Seconds::days(7)).await;
    assert_eq!(world.status(&id).await, "EXPIRED");
    let ended = all(&world, "EXPIRED").await;
    assert_eq!(ended.len(), 1, "{ended:?}");
    assert_eq!(ended[0]["id"], id.as_str());
    let managed = world.managed(&id).await;
    assert_eq!(
        managed["fail_reason"],
        "the certificate ended before its new domains were verified"
    );
    assert_eq!(managed["domains"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_supplement_that_is_held_goes_on_when_the_review_is_changed() {
    let world = Applicant::at("2029-06-01").await;
    let id = issued(&world).await;
    reviewed(&world, "hold").await;
    supplement(&world, &id).await;
    world.prove(&id).await;
    world.pass(Seconds::minutes(20)).await;
    assert_eq!(world.status(&id).await, "SUPPLEMENTCHECKING");
    reviewed(&world, "pass").await;
    world.look().await;
    let shown = world.shown(&id).await;
    assert_eq!(shown["status"], "ISSUED");
    assert_eq!(shown["sans"], "a.example.com;b.example.com");
}

#[tokio::test]
async fn what_is_issued_is_pushed_and_found_while_domains_are_added() {
    let world = Applicant::at("2029-06-01").await;
    let id = issued(&world).await;
    let listener = resource(&world.ccm, "ELB", "ap-southeast-3", "front").await;
    supplement(&world, &id).await;
    assert_eq!(world.shown(&id).await["push_support"], "ON");
    let push = json!({"target_service": "ELB", "target_project": "ap-southeast-3"});
    post(&world.ccm, &format!("{CERTIFICATES}/{id}/push"), &push)
        .await
        .expect(204);
    let deploy = json!({"service_name": "ELB", "resources": [{"id": listener}]});
    let done = post(&world.ccm, &format!("{CERTIFICATES}/{id}/deploy"), &deploy).await;
    assert_eq!(done.expect(200).body, json!({"failure_list": []}));
    let body = json!({"certificate_ids": [id], "service_names": ["ELB"]});
    let found = post(&world.ccm, "/v3/scm/deployed-resources", &body).await;
    assert_eq!(found.expect(200).body["results"][0]["total_num"], 1);
}
