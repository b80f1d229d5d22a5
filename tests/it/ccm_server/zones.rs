//! `auto_dns_auth`: records that the server writes into the zones of an account, which stand for Huawei Cloud DNS, and what
//! `DNS_push_status` says of them (CCM API 4.1.1.1, 7.1.3).

use std::sync::Arc;

use renewd::model::{Seconds, Timestamp};
use renewd::sys::clock::ManualClock;
use serde_json::{Value, json};

use super::applicant::{Applicant, form, form_with};
use super::http::get;
use super::process::{fresh, json as printed, run};

fn automatic(domain: &str, sans: &str) -> Value {
    let mut body = form_with(domain, "auto_dns_auth", &json!(true));
    body["sans"] = json!(sans);
    body
}

async fn zone(world: &Applicant, name: &str, account: &str) {
    let admin = world.ccm.running.admin();
    admin.add_zone(name, account).await.unwrap();
}

/// 7.1.3
async fn details(world: &Applicant, id: &str) -> Value {
    let project = &world.ccm.user.project_id;
    let path = format!("/v2/{project}/scm/cert/{id}");
    get(&world.ccm, &path).await.expect(200).body
}

async fn push_status(world: &Applicant, id: &str) -> String {
    let details = details(world, id).await;
    details["DNS_push_status"].as_str().unwrap().to_owned()
}

/// The records in the only zone of the account.
async fn records(world: &Applicant) -> Vec<Value> {
    let zones = world.ccm.running.admin().zones("default").await.unwrap();
    zones[0]["records"].as_array().unwrap().clone()
}

#[tokio::test]
async fn an_application_whose_domains_are_hosted_here_is_proven_by_the_server_itself() {
    let world = Applicant::at("2027-01-01").await;
    zone(&world, "Example.COM.", "default").await;
    let id = world.buy("DV_SSL_CERT", "MULTI_DOMAIN", 3).await;
    assert_eq!(push_status(&world, &id).await, "NONE");
    let body = automatic("example.com", "www.example.com;*.shop.example.com");
    world.apply(&id, &body).await.expect(200);
    // At once, not when somebody has looked.
    assert_eq!(push_status(&world, &id).await, "ON");
    world.look().await;
    assert_eq!(world.status(&id).await, "ISSUED");
    assert_eq!(world.names.asked(), 0, "nobody else is asked");
    let details = details(&world, &id).await;
    assert_eq!(details["DNS_push_status"], "ON");
    for auth in details["auth"].as_array().unwrap() {
        assert_eq!(auth["status"], "validated", "{auth}");
    }
    let token = &details["auth"][0]["record"];
    let names: Vec<Value> = records(&world)
        .await
        .iter()
        .map(|record| {
            assert_eq!((&record["type"], &record["value"]), (&json!("TXT"), token));
            record["name"].clone()
        })
        .collect();
    let wanted = ["shop.example.com", "example.com", "www.example.com"];
    let wanted: Vec<Value> = wanted
        .iter()
        .map(|name| json!(format!("_dnsauth.{name}")))
        .collect();
    assert_eq!(names, wanted);
    let managed = world.managed(&id).await;
    assert_eq!(managed["domains"][0]["zone"], "example.com");
}

#[tokio::test]
async fn who_does_not_ask_for_it_shows_the_records_himself() {
    let world = Applicant::at("2027-01-01").await;
    zone(&world, "example.com", "default").await;
    let id = world.buy("DV_SSL_CERT", "SINGLE_DOMAIN", 1).await;
    world.apply(&id, &form("www.example.com")).await.expect(200);
    world.look().await;
    assert_eq!(world.status(&id).await, "CHECKING_DOMAIN");
    assert_eq!(push_status(&world, &id).await, "NONE");
    assert!(records(&world).await.is_empty());
    assert!(world.names.asked() > 0);
    // By mail there is nothing to push.
    let id = world.buy("OV_SSL_CERT", "SINGLE_DOMAIN", 1).await;
    let mut mail = automatic("www.example.com", "");
    mail["domain_method"] = json!("EMAIL");
    world.apply(&id, &mail).await.expect(200);
    world.look().await;
    assert_eq!(push_status(&world, &id).await, "NONE");
    assert_eq!(world.status(&id).await, "CHECKING_DOMAIN");
}

#[tokio::test]
async fn a_domain_that_is_hosted_elsewhere_is_told_and_waits_for_its_record() {
    let world = Applicant::at("2027-01-01").await;
    zone(&world, "example.com", "default").await;
    let id = world.buy("DV_SSL_CERT", "MULTI_DOMAIN", 3).await;
    // What ends alike is not below it.
    let body = automatic("www.example.com", "www.another-example.com");
    world.apply(&id, &body).await.expect(200);
    world.look().await;
    assert_eq!(world.status(&id).await, "CHECKING_DOMAIN");
    let shown = details(&world, &id).await;
    assert_eq!(shown["DNS_push_status"], "OFF");
    assert_eq!(shown["auth"][0]["status"], "validated");
    assert_eq!(shown["auth"][1]["status"], "checking");
    // The applicant may still write it himself.
    world.prove(&id).await;
    world.pass(Seconds::minutes(1)).await;
    assert_eq!(world.status(&id).await, "ISSUED");
    assert_eq!(push_status(&world, &id).await, "OFF");
}

#[tokio::test]
async fn a_zone_that_comes_later_is_found_at_the_next_look() {
    let world = Applicant::at("2027-01-01").await;
    let id = world.buy("DV_SSL_CERT", "SINGLE_DOMAIN", 1).await;
    let body = automatic("www.example.com", "");
    world.apply(&id, &body).await.expect(200);
    world.look().await;
    assert_eq!(push_status(&world, &id).await, "OFF");
    zone(&world, "example.com", "default").await;
    world.pass(Seconds::minutes(1)).await;
    assert_eq!(world.status(&id).await, "ISSUED");
    assert_eq!(push_status(&world, &id).await, "ON");
}

#[tokio::test]
async fn zones_of_others_prove_nothing() {
    let world = Applicant::at("2027-01-01").await;
    zone(&world, "example.com", "default").await;
    zone(&world, "dev.example.com", "strangers").await;
    let admin = world.ccm.running.admin();
    assert!(admin.add_zone("example.com", "strangers").await.is_err());
    let id = world.buy("DV_SSL_CERT", "SINGLE_DOMAIN", 1).await;
    let body = automatic("www.dev.example.com", "");
    world.apply(&id, &body).await.expect(200);
    world.look().await;
    // The part of the zone that somebody else holds is not this account's to write into.
    assert_eq!(push_status(&world, &id).await, "OFF");
    assert_eq!(world.status(&id).await, "CHECKING_DOMAIN");
    assert!(records(&world).await.is_empty());
}

#[tokio::test]
async fn records_end_with_the_application_and_come_back_with_the_next_certificate() {
    let world = Applicant::at("2021-02-01").await;
    zone(&world, "example.com", "default").await;
    let id = world.buy_for("OV_SSL_CERT", "SINGLE_DOMAIN", 1, 2).await;
    world
        .manage("POST", "/reviews/ov", &json!({"checking_seconds": 3600}))
        .await;
    let body = automatic("www.example.com", "");
    world.apply(&id, &body).await.expect(200);
    assert_eq!(world.status(&id).await, "CHECKING");
    assert_eq!(records(&world).await.len(), 1);
    world.cancel(&id).await.expect(200);
    assert!(records(&world).await.is_empty());
    assert_eq!(push_status(&world, &id).await, "NONE");
    world.apply(&id, &body).await.expect(200);
    world.pass(Seconds(3600)).await;
    assert_eq!(world.status(&id).await, "ISSUED");
    world.pass(Seconds::days(340)).await;
    let both = records(&world).await;
    assert_eq!(both.len(), 2, "{both:?}");
    assert_eq!(both[0]["value"], both[1]["value"], "under the same token");
    let next = both.iter().find(|r| r["certificate_id"] != json!(id));
    let next = next.unwrap()["certificate_id"].as_str().unwrap();
    assert_eq!(world.status(next).await, "ISSUED");
    assert_eq!(push_status(&world, next).await, "ON");
}

#[tokio::test]
async fn further_domains_are_the_applicant_s_to_prove_and_what_was_written_stays() {
    let world = Applicant::at("2027-01-01").await;
    zone(&world, "example.com", "default").await;
    let id = world.buy("DV_SSL_CERT", "MULTI_DOMAIN", 3).await;
    let body = automatic("www.example.com", "");
    world.apply(&id, &body).await.expect(200);
    world.look().await;
    assert_eq!(world.status(&id).await, "ISSUED");
    let project = &world.ccm.user.project_id;
    let path = format!("/v2/{project}/scm/cert/{id}/supplement");
    let more = json!({"ori_sans": "", "add_sans": "more.example.com"});
    super::http::post(&world.ccm, &path, &more)
        .await
        .expect(200);
    world.look().await;
    // 7.1.20 has no `auto_dns_auth`.
    assert_eq!(world.status(&id).await, "SUPPLEMENTCHECKING");
    assert_eq!(records(&world).await.len(), 1);
    assert_eq!(push_status(&world, &id).await, "OFF");
    world.prove(&id).await;
    world.pass(Seconds::minutes(1)).await;
    assert_eq!(world.status(&id).await, "ISSUED");
}

#[tokio::test]
async fn what_was_written_survives_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("ccm");
    let clock = Arc::new(ManualClock::new(Timestamp::parse("2027-01-01").unwrap()));
    let world = Applicant::on(&state, &clock).await;
    zone(&world, "example.com", "default").await;
    let id = world.buy("DV_SSL_CERT", "SINGLE_DOMAIN", 1).await;
    let body = automatic("www.example.com", "");
    world.apply(&id, &body).await.expect(200);
    let before = records(&world).await;
    world.ccm.stop().await;
    let world = Applicant::on(&state, &clock).await;
    assert_eq!(records(&world).await, before);
    assert_eq!(push_status(&world, &id).await, "ON");
}

#[tokio::test]
async fn what_a_removed_zone_has_proven_stays_and_what_it_has_not_waits() {
    let world = Applicant::at("2027-01-01").await;
    let admin = world.ccm.running.admin();
    zone(&world, "example.com", "default").await;
    let done = world.buy("DV_SSL_CERT", "SINGLE_DOMAIN", 1).await;
    world
        .apply(&done, &automatic("www.example.com", ""))
        .await
        .expect(200);
    world.look().await;
    assert_eq!(world.status(&done).await, "ISSUED");
    // Waits for the look at its papers, with its record written.
    world
        .manage("POST", "/reviews/ov", &json!({"checking_seconds": 3600}))
        .await;
    let open = world.buy("OV_SSL_CERT", "SINGLE_DOMAIN", 1).await;
    world
        .apply(&open, &automatic("shop.example.com", ""))
        .await
        .expect(200);
    assert_eq!(records(&world).await.len(), 2);
    assert_eq!(push_status(&world, &open).await, "ON");
    assert!(admin.remove_zone("example.com", "strangers").await.is_err());
    assert_eq!(records(&world).await.len(), 2);
    admin.remove_zone("EXAMPLE.com.", "default").await.unwrap();
    assert!(admin.zones("default").await.unwrap().is_empty());
    assert!(admin.remove_zone("example.com", "default").await.is_err());
    assert_eq!(world.status(&done).await, "ISSUED");
    assert_eq!(push_status(&world, &open).await, "OFF");
    world.pass(Seconds(3600)).await;
    assert_eq!(world.status(&open).await, "CHECKING_DOMAIN");
    // A zone that comes later is as good as the first.
    zone(&world, "example.com", "default").await;
    world.pass(Seconds::minutes(15)).await;
    assert_eq!(world.status(&open).await, "ISSUED");
}

#[test]
fn zones_are_added_removed_and_listed_on_the_command_line() {
    let (_directory, state) = fresh();
    let add = |arguments: &[&str]| run(&state, &[&["zone", "add"], arguments].concat());
    assert!(add(&["example.com"]).status.success());
    assert!(add(&["example.com"]).status.success(), "as it is");
    assert!(add(&["example.org", "--account", "other"]).status.success());
    for refused in [
        &["example.com", "--account", "other"][..],
        &["*.example.net"],
        &["192.0.2.1"],
        &["a b"],
        &[""],
    ] {
        let output = add(refused);
        assert_eq!(output.status.code(), Some(64), "{refused:?}");
    }
    let all = printed(&state, &["zone", "list", "--json"]);
    assert_eq!(all, json!([{"name": "example.com", "records": []}]));
    let plain = run(&state, &["zone", "list", "--account", "other"]);
    assert_eq!(String::from_utf8(plain.stdout).unwrap(), "example.org\n");
    let remove = |arguments: &[&str]| {
        let output = run(&state, &[&["zone", "remove"], arguments].concat());
        output.status.code()
    };
    assert_eq!(remove(&["example.org"]), Some(65), "another account's");
    assert_eq!(remove(&["example.org", "--account", "nobody"]), Some(65));
    assert_eq!(remove(&["*.example.com"]), Some(64));
    assert_eq!(remove(&["example.com"]), Some(0));
    assert_eq!(remove(&["example.com"]), Some(65));
    assert_eq!(printed(&state, &["zone", "list", "--json"]), json!([]));
    assert!(add(&["example.com", "--account", "other"]).status.success());
}
