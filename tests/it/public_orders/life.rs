//! From an empty account to the renewal of an order of several years.

use std::sync::Arc;

use renewd::ccm::ScmStatus;
use renewd::model::Seconds;
use serde_json::json;

use crate::ccm_server::http::{post, post_nothing};
use crate::support::engine::{Rig, due, healthy, id};
use crate::support::shop::{Board, Shop, issuer, purchase, wanted};
use crate::support::world::NAME;

fn policy(shop: &Shop, years: u32) -> String {
    let issuer = issuer(&shop.ccm.endpoint(), &purchase(1, years));
    format!("{issuer}\n[certificate.www]\nissuer = \"public\"\nnames = [\"{NAME}\"]\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_account_comes_to_a_certificate_by_one_purchase() {
    let shop = Shop::at("2027-04-01").await;
    let host = shop.host(&policy(&shop, 1));
    host.settle(&shop).await;
    let all = shop.all().await;
    assert_eq!(all.len(), 1, "{all:?}");
    assert_eq!(all[0].status, ScmStatus::Issued);
    assert_eq!(shop.board.left(), Vec::<String>::new(), "proofs stay");
    let snapshot = host.snapshot().await;
    let state = &snapshot.certificates[&id("www")];
    assert_eq!(
        state.newest.as_ref().unwrap().reference,
        all[0].id,
        "{:?}",
        host.told()
    );
    assert_eq!(state.entitlements.len(), 1);
    let spki = state.newest.as_ref().unwrap().facts.spki;
    assert_eq!(state.entitlements[0].spki, Some(spki));
    let kind = state.entitlements[0].kind.as_deref();
    assert_eq!(kind, Some("DV_SSL_CERT"), "how long the next one takes");
    let engine = host.engine().await;
    let kept = engine.deployer.materials().public_keys().unwrap();
    assert_eq!(kept, [spki].into(), "a certificate may come for it");
    assert_eq!(snapshot.purchases.values().map(Vec::len).sum::<usize>(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_bought_is_remembered_as_what_it_is_and_renewed_in_the_time_that_it_takes() {
    let shop = Shop::at("2027-04-01").await;
    let body = json!({
        "cert_brand": "GEOTRUST", "cert_type": "OV_SSL_CERT", "domain_type": "SINGLE_DOMAIN", "effective_time": 1,
        "domain_numbers": 1, "order_number": 1, "agree_privacy_protection": true,
    });
    post(&shop.ccm, "/v3/scm/certificates/buy", &body)
        .await
        .expect(200);
    let text = issuer(&shop.ccm.endpoint(), "");
    let person = "email = \"tom@example.com\"\n";
    assert!(text.contains(person));
    let text = text.replace(person, &format!("{person}company = \"Example Ltd\"\n"));
    let host = shop.host(&format!(
        "{text}\n[certificate.www]\nissuer = \"public\"\nnames = [\"{NAME}\"]\n[certificate.www.subject]\ncountry = \"SG\"\nstate = \"Singapore\"\nlocality = \"Singapore\"\n"
    ));
    let plan = host.settle(&shop).await;
    let mut state = host.snapshot().await.certificates[&id("www")].clone();
    let kind = state.entitlements[0].kind.as_deref();
    assert_eq!(kind, Some("OV_SSL_CERT"));
    // One of which this were not known would be renewed later.
    let policy = host.policy();
    let newest = state.newest.clone().unwrap();
    let certificate = &policy.certificates[&id("www")];
    state.entitlements[0].kind = None;
    let unknown = renewd::plan::renewal::of(&policy, certificate, &state, &newest);
    assert_eq!(
        due(&plan, "www") + Seconds::days(14),
        unknown.renew_at,
        "an organization is looked at for days"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_that_a_person_takes_back_ends_its_order_and_the_next_one_applies_with_the_same()
 {
    let shop = Shop::at("2027-04-01").await;
    let host = shop.host(&policy(&shop, 1));
    shop.board.hide();
    for _ in 0..20 {
        let plan = host.tick().await;
        if !shop.board.left().is_empty() {
            break;
        }
        shop.wake(&plan).await;
    }
    let under_way = shop.all().await;
    assert_eq!(under_way.len(), 1, "{:#?}", host.told());
    let first = host.snapshot().await.orders.keys().next().cloned().unwrap();
    // In the console.
    let path = format!("/v3/scm/certificates/{}/cancel-cert", under_way[0].id);
    post_nothing(&shop.ccm, &path).await.expect(200);
    shop.look().await;
    assert_eq!(shop.count(&ScmStatus::Paid).await, 1);
    shop.board.show();
    host.settle(&shop).await;
    let history = host.engine().await.store.history(&id("www")).await.unwrap();
    let said = history
        .iter()
        .find(|entry| entry.message.contains("was taken back"));
    assert!(
        said.is_some_and(|entry| entry.message.contains("PAID")),
        "{history:#?}"
    );
    let second = history.iter().rfind(|entry| entry.machine == "order");
    assert_ne!(second.unwrap().id, first.to_string(), "{history:#?}");
    assert_eq!(
        shop.ccm.running.requests_of("4.1.3.1"),
        1,
        "nothing more is bought"
    );
    assert_eq!(shop.ccm.running.requests_of("4.1.1.1"), 2);
    assert_eq!(shop.count(&ScmStatus::Issued).await, 1);
    assert_eq!(shop.board.left(), Vec::<String>::new(), "proofs stay");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proof_whose_validation_left_the_policy_is_told_of_as_left_behind() {
    let shop = Shop::at("2027-04-01").await;
    let host = shop.host(&policy(&shop, 1));
    shop.board.hide();
    for _ in 0..20 {
        let plan = host.tick().await;
        if !shop.board.left().is_empty() {
            break;
        }
        shop.wake(&plan).await;
    }
    let places = shop.board.left();
    assert_eq!(places.len(), 1, "{:#?}", host.told());
    // By another one from now on, which nothing published is of.
    let other = policy(&shop, 1)
        .replace("validation = \"zone\"", "validation = \"other\"")
        .replace("[validation.command.zone]", "[validation.command.other]");
    host.write(&other);
    shop.board.show();
    let plan = host.settle(&shop).await;
    assert_eq!(shop.count(&ScmStatus::Issued).await, 1);
    let told = plan
        .alerts
        .iter()
        .find(|(key, _)| key.as_str() == "left-over/www");
    let (_, alert) = told.unwrap_or_else(|| panic!("{:?}", plan.alerts));
    let what = format!(
        "{} is not taken away: validation zone is no longer in the policy",
        places[0]
    );
    assert!(alert.title.contains(&what), "{alert:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_bought_where_the_policy_does_not_say_so() {
    let shop = Shop::at("2027-04-01").await;
    let issuer = issuer(&shop.ccm.endpoint(), "");
    let host = shop.host(&format!(
        "{issuer}\n[certificate.www]\nissuer = \"public\"\nnames = [\"{NAME}\"]\n"
    ));
    for _ in 0..30 {
        let plan = host.tick().await;
        assert!(!healthy(&plan));
        shop.wake(&plan).await;
    }
    assert_eq!(shop.all().await.len(), 0);
    assert_eq!(shop.ccm.running.requests_of("4.1.3.1"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_of_two_years_brings_every_certificate_of_them_without_another_purchase() {
    let shop = Shop::at("2027-04-01").await;
    let host = shop.host(&policy(&shop, 2));
    host.settle(&shop).await;
    let first = host.snapshot().await.certificates[&id("www")]
        .newest
        .clone()
        .unwrap();
    // Two months before the end of what was paid for; then the last of its certificates is to be renewed.
    let end = shop.clock_now() + Seconds::days(660);
    let mut serials = std::collections::BTreeSet::from([first.facts.serial.clone()]);
    while shop.clock_now() < end {
        let plan = host.tick().await;
        let state = host.snapshot().await.certificates[&id("www")].clone();
        let newest = state.newest.unwrap();
        assert!(
            newest.facts.not_after > shop.clock_now(),
            "a gap at {}: {:?}\n{:#?}",
            shop.clock_now(),
            plan.verdicts,
            host.told()
        );
        serials.insert(newest.facts.serial);
        host.told();
        shop.wake(&plan).await;
    }
    assert!(serials.len() > 1, "never renewed");
    assert_eq!(
        shop.ccm.running.requests_of("4.1.3.1"),
        1,
        "one purchase for all of {serials:?}"
    );
    assert_eq!(shop.board.left(), Vec::<String>::new(), "proofs stay");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bought_certificate_is_served_by_a_real_nginx_and_renewed_in_time() {
    let (wanted, names) = wanted("2027-04-01").await;
    let mut rig = Rig::new(wanted).await;
    let endpoint = rig.world.ccm.endpoint();
    let (issuer, old) = (issuer(&endpoint, &purchase(2, 1)), rig.world.policy());
    let targets = old.split_once("[target.nginx.web]").unwrap().1;
    rig.world.agent.write_policy(&format!(
        "{issuer}\n[certificate.www]\nissuer = \"public\"\nnames = [\"{NAME}\"]\ntargets = [\"web\"]\n\n[target.nginx.web]{targets}"
    ));
    let board = Arc::new(Board::new(names));
    let same = Arc::clone(&board);
    rig.adjust = Arc::new(move |engine| {
        engine.prover = Arc::<Board>::clone(&same);
    });
    let mut started = false;
    let mut plan = rig.tick().await;
    for _ in 0..60 {
        if healthy(&plan) {
            break;
        }
        if !started && rig.world.agent.live("web").exists() {
            rig.world.nginx.start();
            started = true;
        }
        rig.wake(&plan);
        let admin = rig.world.ccm.running.admin();
        admin.look_at_applications().await.unwrap();
        plan = rig.tick().await;
    }
    assert!(healthy(&plan), "{:?}\n{:#?}", plan.verdicts, rig.told());
    let serial = rig.newest("www").await.facts.serial;
    assert_eq!(rig.world.served(), serial);
    assert_eq!(board.left(), Vec::<String>::new());
    // An order of one year holds several certificates of this time: the next one comes by itself.
    let renew_at = due(&plan, "www");
    rig.clock.set(renew_at + Seconds::hours(1));
    for _ in 0..60 {
        let plan = rig.tick().await;
        if healthy(&plan) && rig.newest("www").await.facts.serial != serial {
            break;
        }
        rig.wake(&plan);
        let admin = rig.world.ccm.running.admin();
        admin.look_at_applications().await.unwrap();
    }
    let second = rig.newest("www").await.facts.serial;
    assert_ne!(second, serial, "{:#?}", rig.told());
    assert_eq!(rig.world.served(), second);
    assert_eq!(rig.world.ccm.running.requests_of("4.1.3.1"), 1);
}
