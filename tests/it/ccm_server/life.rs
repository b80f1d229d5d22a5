//! What becomes of orders in the course of years: the next certificate, restarts, and what nobody saw in time.

use std::sync::Arc;

use renewd::ccm_server::ScmOptions;
use renewd::model::{Seconds, Timestamp};
use renewd::sys::clock::ManualClock;
use serde_json::{Value, json};

use super::applicant::{Applicant, CERTIFICATES, form, form_with, order};
use super::http::{get, post};
use crate::support::ccm::Wanted;

/// The ids of all certificates, oldest first.
async fn all(world: &Applicant) -> Vec<String> {
    let list = get(&world.ccm, &format!("{CERTIFICATES}?limit=50&sort_dir=ASC"))
        .await
        .expect(200)
        .body;
    let list = list["certificates"].as_array().unwrap().clone();
    list.iter()
        .map(|one| one["id"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn three_years_of_one_order_are_three_certificates_of_a_year() {
    let world = Applicant::at("2021-02-01").await;
    let first = world.issued("www.example.com", 3).await;
    let managed = world.managed(&first).await;
    assert_eq!(managed["remain_cert_number"], 2);
    assert_eq!(managed["auto_renew_status"], 1);
    assert_eq!(managed["origin_cert_id"], Value::Null);
    assert_eq!(
        world.shown(&first).await["not_after"],
        "2022-02-01 00:01:00.0"
    );
    world.pass(Seconds::days(334)).await;
    assert_eq!(all(&world).await, [first.as_str()]);
    // 30 days before its end, the second.
    world.pass(Seconds::days(1)).await;
    let ids = all(&world).await;
    assert_eq!(ids.len(), 2);
    let second = ids.iter().find(|id| **id != first).unwrap();
    let shown = world.shown(second).await;
    assert_eq!(shown["status"], "ISSUED", "the record is still in place");
    assert_eq!(shown["not_after"], "2023-02-01 00:01:00.0");
    assert_eq!(shown["domain"], "www.example.com");
    assert_eq!(shown["order_id"], world.shown(&first).await["order_id"]);
    let managed = world.managed(second).await;
    assert_eq!(managed["origin_cert_id"], first.as_str());
    assert_eq!(managed["renewal_cert_id"], first.as_str());
    assert_eq!(
        (
            &managed["remain_cert_number"],
            &managed["auto_renew_status"]
        ),
        (&json!(1), &json!(1))
    );
    let managed = world.managed(&first).await;
    assert_eq!(
        (
            &managed["remain_cert_number"],
            &managed["auto_renew_status"]
        ),
        (&json!(0), &json!(0))
    );
    let keys = (
        world.exported(&first).await.text("private_key"),
        world.exported(second).await.text("private_key"),
    );
    assert_ne!(keys.0, keys.1, "every certificate has a key of its own");

    world.pass(Seconds::days(365)).await;
    let ids = all(&world).await;
    assert_eq!(ids.len(), 3);
    let third = ids
        .iter()
        .find(|id| **id != first && *id != second)
        .unwrap();
    assert_eq!(
        world.shown(third).await["not_after"],
        "2024-02-01 00:01:00.0"
    );
    let managed = world.managed(third).await;
    assert_eq!(managed["origin_cert_id"], first.as_str());
    assert_eq!(managed["renewal_cert_id"], second.as_str());
    assert_eq!(
        (
            &managed["remain_cert_number"],
            &managed["auto_renew_status"]
        ),
        (&json!(0), &json!(0))
    );
    assert_eq!(world.status(&first).await, "EXPIRED");
    world.pass(Seconds::days(700)).await;
    assert_eq!(all(&world).await.len(), 3);
}

#[tokio::test]
async fn a_next_certificate_waits_for_its_record_as_the_first_did() {
    let world = Applicant::at("2021-02-01").await;
    let first = world.issued("www.example.com", 2).await;
    world.names.clear("_dnsauth.www.example.com");
    world.pass(Seconds::days(336)).await;
    let ids = all(&world).await;
    let second = ids.iter().find(|id| **id != first).unwrap();
    assert_eq!(world.status(second).await, "CHECKING_DOMAIN");
    world.prove(second).await;
    world.pass(Seconds::days(1)).await;
    assert_eq!(world.status(second).await, "ISSUED");
}

#[tokio::test]
async fn an_organization_is_not_looked_at_again_for_the_next_certificate() {
    let world = Applicant::at("2021-02-01").await;
    let first = world.buy_for("OV_SSL_CERT", "SINGLE_DOMAIN", 1, 2).await;
    world
        .apply(&first, &form("www.example.com"))
        .await
        .expect(200);
    world.prove(&first).await;
    world.pass(Seconds::minutes(1)).await;
    assert_eq!(world.status(&first).await, "ISSUED");
    world
        .manage("POST", "/reviews/ov", &json!({"outcome": "hold"}))
        .await;
    world.pass(Seconds::days(336)).await;
    let ids = all(&world).await;
    let second = ids.iter().find(|id| **id != first).unwrap();
    assert_eq!(world.status(second).await, "ISSUED");
}

#[tokio::test]
async fn a_year_takes_several_certificates_where_the_limit_is_below_a_year() {
    let world = Applicant::at("2026-06-01").await;
    let first = world.issued("www.example.com", 1).await;
    assert_eq!(world.managed(&first).await["remain_cert_number"], 1);
    world.pass(Seconds::days(171)).await;
    let ids = all(&world).await;
    let second = ids.iter().find(|id| **id != first).unwrap();
    let shown = world.shown(second).await;
    assert_eq!(
        shown["not_after"], "2027-06-01 00:01:00.0",
        "no longer than what was paid for"
    );
    assert_eq!(world.managed(second).await["auto_renew_status"], 0);
}

#[tokio::test]
async fn a_server_that_was_off_catches_up_and_a_restart_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("ccm");
    let clock = Arc::new(ManualClock::new(Timestamp::parse("2021-02-01").unwrap()));
    let world = Applicant::on(&state, &clock).await;
    let first = world.issued("www.example.com", 2).await;
    let open = world.buy("DV_SSL_CERT", "SINGLE_DOMAIN", 1).await;
    world
        .apply(&open, &form("open.example.com"))
        .await
        .expect(200);
    let token = world.shown(&open).await["authentification"].clone();
    let root = world.ccm.running.admin().scm_root().await.unwrap();
    world.ccm.stop().await;

    clock.advance(Seconds::days(20));
    let world = Applicant::on(&state, &clock).await;
    assert_eq!(world.shown(&open).await["authentification"], token);
    world.prove(&open).await;
    world.look().await;
    world.pass(Seconds::minutes(20)).await;
    assert_eq!(world.status(&open).await, "ISSUED");
    assert_eq!(world.ccm.running.admin().scm_root().await.unwrap(), root);
    assert_eq!(world.status(&first).await, "ISSUED");
    world.ccm.stop().await;

    // Off for longer than the first certificate lived: the second begins late and ends with what was paid for.
    clock.advance(Seconds::days(400));
    let world = Applicant::on(&state, &clock).await;
    world.look().await;
    let ids = all(&world).await;
    assert_eq!(ids.len(), 3);
    let second = ids.iter().find(|id| **id != first && **id != open).unwrap();
    world.prove(second).await;
    world.pass(Seconds::minutes(2)).await;
    let shown = world.shown(second).await;
    assert_eq!(
        (&shown["status"], &shown["not_after"]),
        (&json!("ISSUED"), &json!("2023-02-01 00:01:00.0"))
    );
}

#[tokio::test]
async fn without_validation_everything_is_issued_at_once() {
    let scm = ScmOptions {
        no_validation: true,
        ..ScmOptions::default()
    };
    let ccm = Wanted::new().at("2027-01-01").scm(scm).start().await;
    let bought = post(
        &ccm,
        "/v3/scm/certificates/buy",
        &order("OV_SSL_CERT", "MULTI_DOMAIN", 2),
    )
    .await;
    let id = bought.expect(200).body["cert"][0]["cert_id"]
        .as_str()
        .unwrap()
        .to_owned();
    let body = form_with("a.example.com", "sans", &json!("b.example.com"));
    post(&ccm, &format!("{CERTIFICATES}/{id}/apply"), &body)
        .await
        .expect(200);
    ccm.running.admin().look_at_applications().await.unwrap();
    let shown = get(&ccm, &format!("{CERTIFICATES}/{id}"))
        .await
        .expect(200)
        .body;
    assert_eq!(shown["status"], "ISSUED");
    assert!(ccm.running.management().is_none());
}
