//! Several hosts with one account, and journals that are copies.

use std::sync::Arc;

use renewd::ccm::{CsrQuery, Scm, ScmStatus};
use renewd::engine::new_identity;
use renewd::model::{Claim, Identity, Seconds};
use renewd::plan::Verdict;
use serde_json::json;

use crate::ccm_server::http::post;
use crate::support::engine::{id, tick};
use crate::support::shop::{Host, Shop, issuer, issuer_proven, purchase};
use crate::support::world::NAME;

pub(super) fn policy(shop: &Shop, purchase: &str) -> String {
    let issuer = issuer(&shop.ccm.endpoint(), purchase);
    format!("{issuer}\n[certificate.www]\nissuer = \"public\"\nnames = [\"{NAME}\"]\n")
}

pub(super) async fn buy(shop: &Shop) {
    let body = json!({
        "cert_brand": "GEOTRUST", "cert_type": "DV_SSL_CERT", "domain_type": "SINGLE_DOMAIN", "effective_time": 1,
        "domain_numbers": 1, "order_number": 1, "agree_privacy_protection": true,
    });
    post(&shop.ccm, "/v3/scm/certificates/buy", &body)
        .await
        .expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_hosts_and_one_entitlement_come_to_one_order() {
    let shop = Arc::new(Shop::at("2027-04-01").await);
    buy(&shop).await;
    let hosts: Vec<Host> = (0..20).map(|_| shop.host(&policy(&shop, ""))).collect();
    let mut engines = Vec::new();
    for host in &hosts {
        engines.push(host.engine().await);
    }
    for _ in 0..25 {
        let mut running = tokio::task::JoinSet::new();
        for engine in &engines {
            let engine = Arc::clone(engine);
            running.spawn(async move { tick(&engine).await });
        }
        running.join_all().await;
        shop.pass(Seconds(20)).await;
    }
    assert_eq!(
        shop.ccm.running.requests_of("4.1.1.1"),
        1,
        "applications of twenty hosts"
    );
    let all = shop.all().await;
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].status, ScmStatus::Issued);
    let mut owners = 0;
    for host in &hosts {
        let snapshot = host.snapshot().await;
        let state = snapshot.certificates.get(&id("www"));
        owners += usize::from(state.is_some_and(|state| state.newest.is_some()));
    }
    assert_eq!(owners, 1);
    assert_eq!(shop.board.left(), Vec::<String>::new());
}

/// Twenty hosts of one account, each with two certificates of its own to buy.
async fn twenty(shop: &Shop, purchase: &str) -> Vec<Host> {
    (0..20)
        .map(|n| {
            let issuer = issuer(&shop.ccm.endpoint(), purchase);
            shop.host(&format!(
                "{issuer}
[certificate.a]\nissuer = \"public\"\nnames = [\"a{n}.example.test\"]
[certificate.b]\nissuer = \"public\"\nnames = [\"b{n}.example.test\"]\n"
            ))
        })
        .collect()
}

/// All at the same moments, for so long.
async fn at_once(shop: &Arc<Shop>, hosts: &[Host], rounds: usize, step: Seconds) {
    let mut engines = Vec::new();
    for host in hosts {
        engines.push(host.engine().await);
    }
    for _ in 0..rounds {
        let mut running = tokio::task::JoinSet::new();
        for engine in &engines {
            let engine = Arc::clone(engine);
            running.spawn(async move { tick(&engine).await });
        }
        running.join_all().await;
        shop.pass(step).await;
    }
}

/// Until so many were bought.
async fn at_once_until(shop: &Arc<Shop>, hosts: &[Host], wanted: usize) {
    for _ in 0..12 {
        if shop.ccm.running.requests_of("4.1.3.1") >= wanted {
            return;
        }
        at_once(shop, hosts, 4, Seconds(20)).await;
    }
    panic!("fewer than {wanted} were bought");
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_hosts_at_once_keep_within_the_budget_where_they_reserve() {
    let shop = Arc::new(Shop::at("2027-04-01").await);
    let hosts = twenty(&shop, &(purchase(3, 1) + "reserve = true\n")).await;
    at_once_until(&shop, &hosts, 3).await;
    at_once(&shop, &hosts, 4, Seconds(20)).await;
    assert_eq!(shop.ccm.running.requests_of("4.1.3.1"), 3);
    // Those that wait are no sooner served for it, and nobody is forgotten.
    at_once(&shop, &hosts, 10, Seconds::hours(1)).await;
    assert_eq!(shop.ccm.running.requests_of("4.1.3.1"), 3);
    shop.pass(Seconds::hours(14)).await;
    at_once_until(&shop, &hosts, 4).await;
    at_once(&shop, &hosts, 12, Seconds(20)).await;
    let bought = shop.ccm.running.requests_of("4.1.3.1");
    assert!(bought <= 6, "{bought}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_that_the_account_does_not_show_is_told_and_not_taken_again_and_again() {
    let shop = Shop::at("2027-04-01").await;
    let host = shop.host(&policy(&shop, &(purchase(3, 1) + "reserve = true\n")));
    let taken = || shop.ccm.running.requests_of("4.1.4.1");
    let scm = Scm::new(shop.ccm.client());
    host.tick().await;
    host.tick().await;
    assert_eq!(taken(), 1, "{:#?}", host.told());
    for place in scm.all_csrs(&CsrQuery::default()).await.unwrap().items {
        scm.delete_csr(&place.id).await.unwrap();
    }
    for _ in 0..20 {
        shop.pass(Seconds::minutes(2)).await;
        host.tick().await;
    }
    let told = host.told();
    assert_eq!(taken(), 1, "{told:#?}");
    let says = |line: &String| line.contains("does not show the place in the queue");
    assert!(told.iter().any(says), "{told:#?}");
    assert_eq!(shop.ccm.running.requests_of("4.1.3.1"), 0);
    // It lapsed, and the next one is shown.
    for _ in 0..40 {
        shop.pass(Seconds::minutes(2)).await;
        host.tick().await;
    }
    assert_eq!(taken(), 2, "{:#?}", host.told());
    assert_eq!(shop.ccm.running.requests_of("4.1.3.1"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_whose_answer_is_lost_is_the_one_that_counts() {
    let shop = Shop::at("2027-04-01").await;
    let host = shop.host(&policy(&shop, &(purchase(3, 1) + "reserve = true\n")));
    shop.faults("at=4.1.4.1:1:lost-response").await;
    for _ in 0..10 {
        host.tick().await;
        shop.pass(Seconds::minutes(2)).await;
    }
    assert_eq!(shop.ccm.running.requests_of("4.1.4.1"), 1);
    let told = host.told();
    assert_eq!(shop.ccm.running.requests_of("4.1.3.1"), 1, "{told:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_reservation_the_budget_is_passed_by_one_purchase_of_each_host_at_most() {
    let shop = Arc::new(Shop::at("2027-04-01").await);
    let hosts = twenty(&shop, &purchase(3, 1)).await;
    at_once(&shop, &hosts, 12, Seconds(20)).await;
    let mut most = 0;
    for host in &hosts {
        let snapshot = host.snapshot().await;
        let bought = snapshot.purchases.values().map(Vec::len).sum();
        most = most.max(bought);
    }
    assert!(most <= 1, "{most} of one host");
    let bought = shop.ccm.running.requests_of("4.1.3.1");
    assert!((3..=20).contains(&bought), "{bought}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fresh_claim_of_another_host_is_left_alone_and_one_that_nobody_uses_is_free_after_an_hour()
 {
    let shop = Shop::at("2027-04-01").await;
    buy(&shop).await;
    let (first, second) = (shop.host(&policy(&shop, "")), shop.host(&policy(&shop, "")));
    first.tick().await;
    let reference = shop.all().await.remove(0).id;
    let scm = Scm::new(shop.ccm.client());
    let claim = async || {
        let mut tags = scm.list_tags(&reference).await.unwrap().tags.into_iter();
        tags.find(|tag| tag.key == Claim::KEY)
            .and_then(|tag| tag.value)
    };
    let written = claim().await;
    assert!(written.is_some(), "{:#?}", first.told());
    // The first one is away from here on.
    shop.pass(Seconds::minutes(50)).await;
    second.tick().await;
    assert_eq!(claim().await, written, "{:#?}", second.told());
    second.settle(&shop).await;
    assert_ne!(claim().await, written);
    assert_eq!(shop.ccm.running.requests_of("4.1.1.1"), 1);
    // And comes back.
    first.tick().await;
    first.tick().await;
    assert_eq!(shop.ccm.running.requests_of("4.1.1.1"), 1);
    let snapshot = first.snapshot().await;
    let state = snapshot.certificates.get(&id("www"));
    assert!(state.is_none_or(|state| state.newest.is_none()));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_issuers_of_one_account_have_one_journal_of_purchases() {
    let shop = Shop::at("2027-04-01").await;
    let (endpoint, budget) = (shop.ccm.endpoint(), purchase(1, 1));
    let second = issuer_proven(&endpoint, &budget, "").replace("scm.public", "scm.second");
    let host = shop.host(&format!(
        "{}{second}
[certificate.one]\nissuer = \"public\"\nnames = [\"one.example.test\"]
[certificate.two]\nissuer = \"second\"\nnames = [\"two.example.test\"]\n",
        issuer(&endpoint, &budget)
    ));
    // The account does not say for a while what was bought: the journal alone knows.
    shop.faults("late-tags=20000").await;
    let begun = shop.clock_now();
    while shop.clock_now() < begun + Seconds::hours(5) {
        let plan = host.tick().await;
        let wait = shop.clock_now().until(plan.next_wake).0.clamp(1, 600);
        shop.pass(Seconds(wait)).await;
    }
    let told = host.told();
    assert_eq!(shop.ccm.running.requests_of("4.1.3.1"), 1, "{told:#?}");
    let plan = host.tick().await;
    let waits = plan.verdicts.values().filter(
        |verdict| matches!(verdict, Verdict::Wait(waiting) if waiting.code() == "purchase-budget"),
    );
    assert_eq!(waits.count(), 1, "{:#?}", plan.verdicts);
    shop.pass(Seconds::hours(20)).await;
    host.settle(&shop).await;
    assert_eq!(shop.ccm.running.requests_of("4.1.3.1"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_of_another_machine_buys_nothing_until_it_is_claimed() {
    let shop = Shop::at("2027-04-01").await;
    let host = shop.host(&policy(&shop, &purchase(1, 1)));
    let engine = host.engine().await;
    let other = Identity {
        machine: "0".repeat(32),
        ..new_identity()
    };
    engine.store.identify(&other).await.unwrap();
    for _ in 0..20 {
        let plan = host.tick().await;
        shop.wake(&plan).await;
    }
    let plan = host.tick().await;
    let verdict = &plan.verdicts[&id("www")];
    let Verdict::Blocked(blocked) = verdict else {
        panic!("{verdict:?}");
    };
    assert_eq!(blocked.code(), "stale-journal");
    assert_eq!(shop.all().await.len(), 0);
    let claimed = engine
        .store
        .claim(&new_identity(), shop.clock_now())
        .await
        .unwrap();
    assert_eq!(claimed.orders.len(), 1);
    host.settle(&shop).await;
    assert_eq!(shop.all().await.len(), 1);
}

/// Says in a journal that it was made on another machine.
#[expect(clippy::disallowed_methods, reason = "tests arrange files directly")]
pub(crate) fn belongs_to_another(state: &std::path::Path) {
    let done = std::process::Command::new("sqlite3")
        .arg(state.join("state.db"))
        .arg("UPDATE identity SET body = json_set(body, '$.d.machine', 'another')")
        .status();
    assert!(done.unwrap().success());
}

/// What the account says of who claims a certificate.
async fn claim_of(shop: &Shop, reference: &str) -> Option<String> {
    let scm = Scm::new(shop.ccm.client());
    let tags = scm.list_tags(reference).await.unwrap().tags;
    let claim = tags.into_iter().find(|tag| tag.key == Claim::KEY);
    claim.and_then(|tag| tag.value)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_takes_nothing_from_its_owner_so_that_nothing_is_bought_in_its_place() {
    for copied_in in ["opened", "claiming"] {
        let shop = Shop::at("2027-04-01").await;
        buy(&shop).await;
        let reference = shop.all().await.remove(0).id;
        let owner = shop.host(&policy(&shop, &purchase(3, 1)));
        let clone = shop.host(&policy(&shop, &purchase(3, 1)));
        // So that each of the phases is one that it waits in.
        shop.faults("at=4.1.2.1:1:server-error").await;
        let is_in = async |phase: &str| {
            let orders = owner.snapshot().await.orders;
            orders.values().any(|order| order.phase.code() == phase)
        };
        for _ in 0..20 {
            let plan = owner.tick().await;
            if is_in(copied_in).await {
                break;
            }
            shop.wake(&plan).await;
        }
        assert!(is_in(copied_in).await, "{copied_in}: {:#?}", owner.told());
        let engine = owner.engine().await;
        engine.store.close().await.unwrap();
        copy(&owner.dir().join("state"), &clone.dir().join("state"));
        belongs_to_another(&clone.dir().join("state"));
        for _ in 0..20 {
            if is_in("opened").await {
                let plan = owner.tick().await;
                shop.wake(&plan).await;
            }
        }
        let claim = claim_of(&shop, &reference).await;
        assert!(claim.is_some(), "{copied_in}: {:#?}", owner.told());
        // The owner is away for a while.
        for _ in 0..8 {
            let plan = clone.tick().await;
            let verdict = &plan.verdicts[&id("www")];
            let Verdict::Blocked(blocked) = verdict else {
                panic!("{copied_in}: {verdict:?}");
            };
            assert_eq!(blocked.code(), "stale-journal", "{copied_in}");
            let told: Vec<&str> = plan.alerts.keys().map(|key| key.as_str()).collect();
            assert_eq!(told, ["stale-journal/public"], "{copied_in}");
            shop.pass(Seconds::minutes(2)).await;
        }
        assert_eq!(claim_of(&shop, &reference).await, claim, "{copied_in}");
        assert_eq!(shop.count(&ScmStatus::Paid).await, 1, "{copied_in}");
        owner.settle(&shop).await;
        let bought = shop.ccm.running.requests_of("4.1.3.1");
        assert_eq!(bought, 1, "{copied_in}: by hand, and no other");
        assert_eq!(shop.count(&ScmStatus::Issued).await, 1, "{copied_in}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_looks_for_a_lost_purchase_takes_nothing_that_only_may_be_it() {
    let shop = Shop::at("2027-04-01").await;
    let host = shop.host(&policy(&shop, &purchase(3, 1)));
    // What is bought has no tags for a while.
    shop.faults("at=4.1.3.1:1:lost-response,late-tags=86400")
        .await;
    host.tick().await;
    let looks = async || {
        let orders = host.snapshot().await.orders;
        let phases = orders.values().map(|order| order.phase.code());
        assert_eq!(phases.collect::<Vec<_>>(), ["purchase-unclear"]);
    };
    looks().await;
    let engine = host.engine().await;
    engine.store.close().await.unwrap();
    belongs_to_another(&host.dir().join("state"));
    let reference = shop.all().await.remove(0).id;
    for _ in 0..20 {
        let plan = host.tick().await;
        looks().await;
        let told = plan
            .alerts
            .keys()
            .any(|key| key.as_str() == "stale-journal/public");
        assert!(told, "{:?}", plan.alerts);
        shop.pass(Seconds::minutes(5)).await;
    }
    assert_eq!(
        claim_of(&shop, &reference).await,
        None,
        "{:#?}",
        host.told()
    );
    let engine = host.engine().await;
    let identity = new_identity();
    let claimed = engine.store.claim(&identity, shop.clock_now());
    claimed.await.unwrap();
    host.settle(&shop).await;
    assert_eq!(shop.ccm.running.requests_of("4.1.3.1"), 1);
    assert_eq!(shop.all().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_that_was_restored_from_before_a_purchase_buys_nothing_until_it_is_claimed() {
    let shop = Shop::at("2027-04-01").await;
    let host = shop.host(&policy(&shop, &purchase(3, 1)));
    // As it was before anything was bought: it has a name, and nothing else.
    let engine = host.engine().await;
    engine.observe().await.unwrap();
    engine.store.close().await.unwrap();
    let state = host.dir().join("state");
    let saved = host.dir().join("saved");
    copy(&state, &saved);
    host.settle(&shop).await;
    // Its backup comes back.
    remove(&state);
    copy(&saved, &state);
    host.write(&format!(
        "{}\n[certificate.other]\nissuer = \"public\"\nnames = [\"other.example.test\"]\n",
        policy(&shop, &purchase(3, 1))
    ));
    for _ in 0..12 {
        let plan = host.tick().await;
        shop.wake(&plan).await;
    }
    assert_eq!(
        shop.ccm.running.requests_of("4.1.3.1"),
        1,
        "{:#?}",
        host.told()
    );
    let plan = host.tick().await;
    let verdict = &plan.verdicts[&id("other")];
    let Verdict::Blocked(blocked) = verdict else {
        panic!("{verdict:?}");
    };
    assert_eq!(blocked.code(), "stale-journal");
    let engine = host.engine().await;
    let claimed = engine
        .store
        .claim(&new_identity(), shop.clock_now())
        .await
        .unwrap();
    assert_eq!(claimed.purchases.len(), 1, "{claimed:?}");
    let purchases = host.snapshot().await.purchases;
    assert_eq!(
        purchases.values().map(Vec::len).sum::<usize>(),
        1,
        "the journal counts it from now on"
    );
    host.settle(&shop).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_from_before_the_purchase_of_its_open_order_does_not_take_it_for_its_own() {
    let shop = Shop::at("2027-04-01").await;
    let host = shop.host(&policy(&shop, &purchase(3, 1)));
    // The order is open, and its first look came to nothing.
    shop.faults("at=4.1.2.1:1:server-error").await;
    host.tick().await;
    assert_eq!(host.snapshot().await.orders.len(), 1);
    let engine = host.engine().await;
    engine.store.close().await.unwrap();
    let (state, saved) = (host.dir().join("state"), host.dir().join("saved"));
    copy(&state, &saved);
    host.settle(&shop).await;
    assert_eq!(shop.ccm.running.requests_of("4.1.3.1"), 1);
    remove(&state);
    copy(&saved, &state);
    for _ in 0..12 {
        let plan = host.tick().await;
        shop.wake(&plan).await;
    }
    assert_eq!(
        shop.ccm.running.requests_of("4.1.3.1"),
        1,
        "{:#?}",
        host.told()
    );
    let plan = host.tick().await;
    let verdict = &plan.verdicts[&id("www")];
    let Verdict::Blocked(blocked) = verdict else {
        panic!("{verdict:?}");
    };
    assert_eq!(blocked.code(), "stale-journal");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_does_not_forget_a_purchase_whose_answer_is_lost() {
    let shop = Shop::at("2027-04-01").await;
    let host = shop.host(&policy(&shop, &purchase(3, 1)));
    shop.faults("at=4.1.3.1:1:lost-response,late-effect=300")
        .await;
    host.tick().await;
    let snapshot = host.snapshot().await;
    let open: Vec<&str> = snapshot
        .orders
        .values()
        .map(|order| order.phase.code())
        .collect();
    assert_eq!(open, ["purchase-unclear"]);
    let engine = host.engine().await;
    let identity = new_identity();
    let claimed = engine.store.claim(&identity, shop.clock_now());
    assert_eq!(claimed.await.unwrap().orders.len(), 0);
    host.settle(&shop).await;
    assert_eq!(shop.ccm.running.requests_of("4.1.3.1"), 1);
    assert_eq!(shop.all().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_leaves_what_its_order_had_claimed_and_buys_nothing_in_its_place() {
    let shop = Shop::at("2027-04-01").await;
    buy(&shop).await;
    let host = shop.host(&policy(&shop, &purchase(3, 1)));
    host.tick().await;
    let snapshot = host.snapshot().await;
    let open: Vec<&str> = snapshot
        .orders
        .values()
        .map(|order| order.phase.code())
        .collect();
    assert_eq!(open, ["claiming"]);
    let engine = host.engine().await;
    let identity = new_identity();
    let claimed = engine.store.claim(&identity, shop.clock_now());
    assert_eq!(claimed.await.unwrap().orders.len(), 1);
    host.settle(&shop).await;
    assert_eq!(shop.ccm.running.requests_of("4.1.3.1"), 1, "only ours");
    assert_eq!(shop.all().await.len(), 1);
}

#[expect(clippy::disallowed_methods, reason = "tests arrange files directly")]
pub(crate) fn copy(from: &std::path::Path, to: &std::path::Path) {
    let done = std::process::Command::new("cp")
        .arg("-a")
        .arg(from)
        .arg(to)
        .status();
    assert!(done.unwrap().success());
}

#[expect(clippy::disallowed_methods, reason = "tests arrange files directly")]
pub(super) fn remove(what: &std::path::Path) {
    std::fs::remove_dir_all(what).unwrap();
}
