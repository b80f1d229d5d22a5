//! What may become of a purchase beside its answer: it took effect and nobody heard, it takes effect later, its tags come
//! later; and what whoever bought can find out then.

use renewd::model::Seconds;
use serde_json::{Value, json};

use super::applicant::{Applicant, CERTIFICATES, form_with, order};
use super::http::{Send, get, post, post_nothing};
use super::openssl::{EC, csr};

const BUY: &str = "/v3/scm/certificates/buy";
const FILTER: &str = "/v3/scm/resource_instances/action";

async fn faults(world: &Applicant, plan: &str) {
    let (status, said) = world
        .manage("POST", "/faults", &json!({"plan": plan}))
        .await;
    assert_eq!(status, 200, "{said}");
}

/// A purchase with a tag that names it.
fn tagged() -> Value {
    let mut body = order("DV_SSL_CERT", "SINGLE_DOMAIN", 1);
    body["tags"] = json!([{"key": "renewd-order", "value": "7f3a"}]);
    body
}

/// The ids of what has the tag.
async fn found(world: &Applicant) -> Vec<String> {
    let filter = json!({"action": "filter", "tags": [{"key": "renewd-order", "values": ["7f3a"]}]});
    let answer = post(&world.ccm, FILTER, &filter).await.expect(200).body;
    let resources = answer["resources"].as_array().unwrap();
    assert_eq!(answer["total_count"], resources.len());
    let ids = resources.iter().map(|one| one["resource_id"].as_str());
    ids.map(|id| id.unwrap().to_owned()).collect()
}

async fn bought(world: &Applicant) -> String {
    let bought = post(&world.ccm, BUY, &tagged()).await.expect(200);
    bought.body["cert"][0]["cert_id"]
        .as_str()
        .unwrap()
        .to_owned()
}

/// How many certificates there are.
async fn total(world: &Applicant) -> Value {
    get(&world.ccm, CERTIFICATES).await.expect(200).body["total_count"].clone()
}

#[tokio::test]
async fn the_tags_of_a_purchase_are_found_by_the_next_request() {
    let world = Applicant::at("2027-01-01").await;
    assert_eq!(found(&world).await, Vec::<String>::new());
    let id = bought(&world).await;
    assert_eq!(found(&world).await, [id]);
}

#[tokio::test]
async fn a_purchase_whose_answer_is_lost_is_found_by_its_tags() {
    let world = Applicant::at("2027-01-01").await;
    faults(&world, "at=4.1.3.1:1:lost-response").await;
    let send = Send::new("POST", BUY).json(&tagged()).by_user(&world.ccm);
    assert!(send.attempt(&world.ccm).await.is_err());
    let all = found(&world).await;
    assert_eq!(all.len(), 1);
    assert_eq!(world.status(&all[0]).await, "PAID");
}

#[tokio::test]
async fn late_tags_appear_when_their_time_has_come_and_not_before() {
    let world = Applicant::at("2027-01-01").await;
    faults(&world, "late-tags=60").await;
    let id = bought(&world).await;
    assert_eq!(world.status(&id).await, "PAID");
    world.pass(Seconds(59)).await;
    assert_eq!(found(&world).await, Vec::<String>::new());
    world.pass(Seconds(1)).await;
    assert_eq!(found(&world).await, [id]);
    // One that is gone by then takes its tags with it.
    let gone = bought(&world).await;
    let path = format!("{CERTIFICATES}/{gone}");
    super::http::delete(&world.ccm, &path).await.expect(204);
    world.pass(Seconds(60)).await;
    assert_eq!(found(&world).await.len(), 1);
    // It ends with the plan.
    faults(&world, "").await;
    let at_once = bought(&world).await;
    assert!(found(&world).await.contains(&at_once));
}

#[tokio::test]
async fn a_late_purchase_is_nowhere_until_it_takes_effect() {
    let world = Applicant::at("2027-01-01").await;
    faults(
        &world,
        "late-effect=90,late-tags=30,at=4.1.3.1:2:lost-response",
    )
    .await;
    let id = bought(&world).await;
    let send = Send::new("POST", BUY).json(&tagged()).by_user(&world.ccm);
    assert!(send.attempt(&world.ccm).await.is_err());
    get(&world.ccm, &format!("{CERTIFICATES}/{id}"))
        .await
        .refused(404, "SCM.0094");
    world.pass(Seconds(89)).await;
    assert_eq!(total(&world).await, 0);
    world.pass(Seconds(1)).await;
    assert_eq!(total(&world).await, 2);
    assert_eq!(world.status(&id).await, "PAID");
    assert_eq!(found(&world).await, Vec::<String>::new());
    world.pass(Seconds(30)).await;
    let all = found(&world).await;
    assert_eq!((all.len(), all.contains(&id)), (2, true));
}

#[tokio::test]
async fn a_late_purchase_is_refused_at_once_where_the_account_may_not_have_it() {
    let world = Applicant::at("2027-01-01").await;
    faults(&world, "late-effect=90").await;
    let mut body = order("DV_SSL_CERT_BASIC", "SINGLE_DOMAIN", 1);
    body["cert_brand"] = json!("SYMANTEC");
    body["order_number"] = json!(21);
    post(&world.ccm, BUY, &body).await.refused(400, "SCM.0011");
    world.pass(Seconds(90)).await;
    assert_eq!(total(&world).await, 0);
}

#[tokio::test]
async fn a_purchase_without_automatic_payment_is_paid_all_the_same() {
    let world = Applicant::at("2027-01-01").await;
    for paid in [json!(false), json!(true), Value::Null] {
        let mut body = tagged();
        body["is_auto_pay"] = paid;
        let bought = post(&world.ccm, BUY, &body).await.expect(200);
        let id = bought.body["cert"][0]["cert_id"].as_str().unwrap();
        assert_eq!(world.status(id).await, "PAID");
    }
}

#[tokio::test]
async fn the_csr_of_an_application_is_read_back_in_version_2_at_every_stage() {
    let world = Applicant::at("2027-01-01").await;
    let own = csr(EC, &["-subj", "/CN=www.example.com"]);
    let id = bought(&world).await;
    let project = &world.ccm.user.project_id;
    let path = format!("/v2/{project}/scm/cert/{id}/read");
    let read = async || {
        let read = post_nothing(&world.ccm, &path).await.expect(200);
        read.body["CSR"].clone()
    };
    assert_eq!(read().await, Value::Null);
    let body = form_with("www.example.com", "csr", &json!(own));
    world.apply(&id, &body).await.expect(200);
    // As it was sent, but for space around it.
    assert_eq!(read().await, own.trim());
    world.prove(&id).await;
    world.pass(Seconds::minutes(1)).await;
    assert_eq!(world.status(&id).await, "ISSUED");
    assert_eq!(read().await, own.trim());
    // What is exported is for this CSR, without a key.
    let exported = world.exported(&id).await.expect(200);
    assert_eq!(exported.body["private_key"], Value::Null);
}
