//! Names that the policy adds: into the certificate that is there (CCM API 7.1.20) where CCM takes them, else into another
//! one; once, whatever is lost. Hosts that are killed meanwhile: `crash::added`.

use renewd::ccm::{Scm, ScmStatus, Supplement};
use renewd::model::{Name, OrderPhase, RevisionFacts, Seconds, Want};
use renewd::plan::explain;
use serde_json::json;

use crate::after::push::{REGION, resource, served};
use crate::ccm_server::http::post;
use crate::support::engine::id;
use crate::support::shop::{Host, Shop, issuer, purchase};

/// The operation.
pub(crate) const SUPPLEMENT: &str = "7.1.20";
/// Of a purchase, and of an application.
const PURCHASE: &str = "4.1.3.1";
const APPLICATION: &str = "4.1.1.1";

pub(crate) fn policy(shop: &Shop, names: &[&str], rest: &str) -> String {
    let issuer = issuer(&shop.ccm.endpoint(), &purchase(50, 1));
    let names: Vec<String> = names
        .iter()
        .map(|name| format!("\"{name}.example.com\""))
        .collect();
    let names = names.join(", ");
    format!("{issuer}\n[certificate.www]\nissuer = \"public\"\nnames = [{names}]\n{rest}")
}

/// A person buys one for so many names, which lies unused.
pub(crate) async fn buy(shop: &Shop, names: u32) {
    let body = json!({
        "cert_brand": "GEOTRUST", "cert_type": "DV_SSL_CERT", "domain_type": "MULTI_DOMAIN", "effective_time": 1,
        "domain_numbers": names, "order_number": 1, "agree_privacy_protection": true,
    });
    post(&shop.ccm, "/v3/scm/certificates/buy", &body)
        .await
        .expect(200);
}

/// A host with a certificate for these names, out of one that was bought for so many.
pub(crate) async fn with(shop: &Shop, names: &[&str], room: u32) -> (Host, RevisionFacts) {
    buy(shop, room).await;
    let host = shop.host(&policy(shop, names, ""));
    host.settle(shop).await;
    let first = newest(&host).await;
    host.told();
    (host, first)
}

pub(crate) async fn newest(host: &Host) -> RevisionFacts {
    let snapshot = host.snapshot().await;
    snapshot.certificates[&id("www")].newest.clone().unwrap()
}

/// No proof is left and no key of a closed order, and the newest has its key.
async fn assert_clean(shop: &Shop, host: &Host, at: &str) {
    assert_eq!(shop.board.left(), Vec::<String>::new(), "{at}: proofs stay");
    let kept = host.engine().await.deployer.materials().public_keys();
    let newest = newest(host).await;
    assert!(
        kept.unwrap().contains(&newest.facts.spki),
        "{at}: its key is not kept"
    );
    let keys = renewd::sys::fs::list(&host.dir().join("state/keys")).unwrap();
    let of_orders = keys.iter().filter(|name| *name != "public");
    assert_eq!(of_orders.count(), 0, "{at}: keys of closed orders stay");
}

/// Supplements, purchases, applications that were sent.
pub(crate) fn sent(shop: &Shop) -> (usize, usize, usize) {
    let of = |operation| shop.ccm.running.requests_of(operation);
    (of(SUPPLEMENT), of(PURCHASE), of(APPLICATION))
}

/// How the added names come in, as `renewd plan` has it.
async fn told_by_plan(host: &Host) -> (Option<String>, bool) {
    let engine = host.engine().await;
    let snapshot = engine.observe().await.unwrap();
    let now = engine.clock.now();
    let plan = renewd::plan::plan(&engine.policy, &snapshot, now);
    let report = explain::report(&engine.policy, &snapshot, &plan, now);
    (report[0].added.clone(), report[0].spending.is_some())
}

#[track_caller]
pub(crate) fn has(revision: &RevisionFacts, names: &[&str]) {
    for name in names {
        let name = Name::parse(&format!("{name}.example.com")).unwrap();
        assert!(revision.facts.covers_name(&name), "{name} is not in it");
    }
}

/// The same certificate at SCM with the same key and the same end, issued again.
#[track_caller]
pub(crate) fn is_supplemented(first: &RevisionFacts, then: &RevisionFacts) {
    assert_eq!(then.reference, first.reference);
    assert_ne!(then.facts.serial, first.facts.serial);
    assert_eq!(then.facts.spki, first.facts.spki);
    assert_eq!(then.facts.not_after, first.facts.not_after);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_added_goes_into_the_certificate_that_is_there_and_costs_nothing() {
    let shop = Shop::at("2027-04-01").await;
    let (host, first) = with(&shop, &["a", "b"], 4).await;
    shop.pass(Seconds::days(20)).await;
    let before = sent(&shop);
    host.write(&policy(&shop, &["a", "b", "c"], ""));
    let (told, spends) = told_by_plan(&host).await;
    let told = told.unwrap();
    assert!(told.ends_with("which costs nothing"), "{told}");
    assert!(!spends);
    // Only what is new is proven: the proofs of the others are gone from the name server.
    let mut proven = std::collections::BTreeSet::new();
    let mut then = first.clone();
    for _ in 0..60 {
        let plan = host.tick().await;
        proven.extend(shop.board.left());
        then = newest(&host).await;
        if then.id != first.id && host.snapshot().await.orders.is_empty() {
            break;
        }
        shop.wake(&plan).await;
    }
    let proven: Vec<String> = proven.into_iter().collect();
    assert_eq!(proven, ["_dnsauth.c.example.com"], "{:#?}", host.told());
    is_supplemented(&first, &then);
    has(&then, &["a", "b", "c"]);
    let after = sent(&shop);
    assert_eq!(after, (before.0 + 1, before.1, before.2));
    assert_clean(&shop, &host, "supplement").await;
    // The one before is an earlier revision, as after any renewal.
    let snapshot = host.snapshot().await;
    let state = &snapshot.certificates[&id("www")];
    assert_eq!(state.earlier[0].serial, first.facts.serial);
    assert_eq!(state.entitlements.len(), 1);
    assert_eq!(state.entitlements[0].domains, Some(4));
    assert_eq!(shop.count(&ScmStatus::Issued).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_to_a_supplement_is_looked_for_and_sent_again_only_where_it_did_nothing() {
    let shop = Shop::at("2027-04-01").await;
    for (nth, (fault, times)) in [("lost-response", 1), ("lost-request", 2)]
        .into_iter()
        .enumerate()
    {
        let names = [format!("a{nth}"), format!("b{nth}"), format!("c{nth}")];
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let (host, first) = with(&shop, &names[..2], 3).await;
        // Requests are counted anew from here on.
        shop.faults(&format!("at={SUPPLEMENT}:1:{fault}")).await;
        let before = sent(&shop);
        host.write(&policy(&shop, &names, ""));
        host.settle(&shop).await;
        is_supplemented(&first, &newest(&host).await);
        let told = host.told();
        let lost = told.iter().any(|line| line.contains("supplement failed"));
        assert!(lost, "{fault} was not met: {told:#?}");
        let after = sent(&shop);
        assert_eq!(after, (before.0 + times, before.1, before.2), "{told:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_there_is_no_room_another_certificate_is_bought_and_no_supplement_sent() {
    let shop = Shop::at("2027-04-01").await;
    let (host, first) = with(&shop, &["a", "b"], 2).await;
    let before = sent(&shop);
    host.write(&policy(&shop, &["a", "b", "c"], ""));
    let (told, spends) = told_by_plan(&host).await;
    let told = told.unwrap();
    assert!(
        told.ends_with("was bought for 2 names, and 3 are wanted"),
        "{told}"
    );
    assert!(spends);
    host.settle(&shop).await;
    let then = newest(&host).await;
    assert_ne!(then.reference, first.reference);
    has(&then, &["a", "b", "c"]);
    assert_eq!(sent(&shop), (before.0, before.1 + 1, before.2 + 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_supplement_leads_to_one_purchase_and_is_told() {
    let shop = Shop::at("2027-04-01").await;
    // By kinds: two single names and a wildcard, so that a third single one has no place; 7.1.20 says so, and nothing before.
    let body = json!({
        "cert_brand": "GEOTRUST", "cert_type": "DV_SSL_CERT", "domain_type": "MULTI_DOMAIN", "effective_time": 1,
        "domain_numbers": 3, "single_domain_number": 1, "wildcard_domain_number": 1, "primary_domain_type": "SINGLE_DOMAIN",
        "order_number": 1, "agree_privacy_protection": true,
    });
    post(&shop.ccm, "/v3/scm/certificates/buy", &body)
        .await
        .expect(200);
    let host = shop.host(&policy(&shop, &["a", "b"], ""));
    host.settle(&shop).await;
    let first = newest(&host).await;
    let before = sent(&shop);
    host.told();
    host.write(&policy(&shop, &["a", "b", "c"], ""));
    // The refusal is known before anything is bought, and stands until the new one is there.
    let mut alerted = false;
    for _ in 0..60 {
        let plan = host.tick().await;
        let kinds = plan.alerts.keys().map(|key| key.as_str().to_owned());
        alerted |= kinds.into_iter().any(|key| key == "supplement-refused/www");
        let then = newest(&host).await;
        if then.id != first.id && host.snapshot().await.orders.is_empty() {
            break;
        }
        shop.wake(&plan).await;
    }
    let told = host.told();
    let then = newest(&host).await;
    assert_ne!(then.reference, first.reference, "{told:#?}");
    has(&then, &["a", "b", "c"]);
    assert!(alerted, "{told:#?}");
    assert_eq!(sent(&shop), (before.0 + 1, before.1 + 1, before.2 + 1));
    let snapshot = host.snapshot().await;
    assert_eq!(snapshot.certificates[&id("www")].unsupplemented, None);
    assert!(
        !host
            .tick()
            .await
            .alerts
            .keys()
            .any(|key| key.as_str().starts_with("supplement"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_the_ca_turns_down_lead_to_another_certificate() {
    let shop = Shop::at("2027-04-01").await;
    let (host, first) = with(&shop, &["a", "b"], 3).await;
    let before = sent(&shop);
    shop.board.hide();
    host.write(&policy(&shop, &["a", "b", "c"], ""));
    until_published(&shop, &host).await;
    let why = "a CAA record forbids it";
    shop.reject(&first.reference, why).await;
    shop.board.show();
    host.settle(&shop).await;
    let told = host.told();
    let then = newest(&host).await;
    assert_ne!(then.reference, first.reference, "{told:#?}");
    has(&then, &["a", "b", "c"]);
    assert!(told.iter().any(|line| line.contains(why)), "{told:#?}");
    assert_eq!(sent(&shop), (before.0 + 1, before.1 + 1, before.2 + 1));
    assert_clean(&shop, &host, "turned down").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_come_after_an_order_has_failed_are_taken_over_and_nothing_else_is_looked_for() {
    let shop = Shop::at("2027-04-01").await;
    // Without a purchase, so that the order which follows waits for something to apply with.
    let policy = |names: &[&str]| {
        let bought = policy(&shop, names, "");
        bought.replace(&purchase(50, 1), "")
    };
    buy(&shop, 3).await;
    let host = shop.host(&policy(&["a", "b"]));
    host.settle(&shop).await;
    let first = newest(&host).await;
    shop.board.hide();
    host.write(&policy(&["a", "b", "c"]));
    until_published(&shop, &host).await;
    shop.reject(&first.reference, "a CAA record forbids it")
        .await;
    let failed_at = shop.clock_now();
    for _ in 0..100 {
        let plan = host.tick().await;
        let state = &host.snapshot().await.certificates[&id("www")];
        if state.unsupplemented.is_some() {
            break;
        }
        shop.wake(&plan).await;
    }
    // Not by a replica that lags for less than an hour.
    assert!(failed_at.until(shop.clock_now()) >= Seconds::hours(1));
    let before = sent(&shop);
    let late = Supplement {
        ori_sans: "b.example.com".to_owned(),
        add_sans: Some("c.example.com".to_owned()),
        email: None,
    };
    let colleague = Scm::new(shop.ccm.client()).v2(shop.ccm.user.project_id.clone());
    let answer = colleague.supplement(&first.reference, &late).await;
    answer.unwrap();
    shop.approve(&first.reference).await;
    host.settle(&shop).await;
    let then = newest(&host).await;
    is_supplemented(&first, &then);
    has(&then, &["a", "b", "c"]);
    assert_eq!(sent(&shop), (before.0 + 1, before.1, before.2), "theirs");
    shop.board.show();
}

#[tokio::test(flavor = "multi_thread")]
async fn another_host_waits_while_names_are_added_to_what_it_wants_and_takes_it_over() {
    let shop = Shop::at("2027-04-01").await;
    buy(&shop, 3).await;
    let ccm = "key = \"ccm\"\n";
    let host = shop.host(&policy(&shop, &["a", "b"], ccm));
    host.settle(&shop).await;
    let first = newest(&host).await;
    shop.board.hide();
    host.write(&policy(&shop, &["a", "b", "c"], ccm));
    until_published(&shop, &host).await;
    let before = sent(&shop);
    // It wants no more than is there already.
    let other = shop.host(&policy(&shop, &["a", "b"], ccm));
    for _ in 0..5 {
        let plan = other.tick().await;
        shop.wake(&plan).await;
    }
    let told = other.told();
    let waits = told.iter().any(|line| line.contains("it is waited for"));
    assert!(waits, "{told:#?}");
    shop.board.show();
    host.settle(&shop).await;
    is_supplemented(&first, &newest(&host).await);
    other.settle(&shop).await;
    let then = newest(&other).await;
    assert_eq!(then.reference, first.reference, "{:#?}", other.told());
    has(&then, &["a", "b", "c"]);
    assert_eq!(sent(&shop), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_colleague_adds_at_the_same_time_is_waited_for_and_stays() {
    let shop = Shop::at("2027-04-01").await;
    let (host, first) = with(&shop, &["a"], 3).await;
    let before = sent(&shop);
    let project = shop.ccm.user.project_id.clone();
    let theirs = Supplement {
        // It has no further ones.
        ori_sans: "a.example.com".to_owned(),
        add_sans: Some("x.example.com".to_owned()),
        email: None,
    };
    let colleague = Scm::new(shop.ccm.client()).v2(project);
    let answer = colleague.supplement(&first.reference, &theirs).await;
    answer.unwrap();
    host.write(&policy(&shop, &["a", "b"], ""));
    for _ in 0..5 {
        let plan = host.tick().await;
        shop.wake(&plan).await;
    }
    let told = host.told();
    let waits = told
        .iter()
        .any(|line| line.contains("somebody adds other names"));
    assert!(waits, "{told:#?}");
    assert_eq!(sent(&shop), (before.0 + 1, before.1, before.2), "theirs");
    assert_eq!(shop.count(&ScmStatus::SupplementChecking).await, 1);
    shop.approve(&first.reference).await;
    host.settle(&shop).await;
    let then = newest(&host).await;
    is_supplemented(&first, &then);
    has(&then, &["a", "b", "x"]);
    assert_eq!(sent(&shop), (before.0 + 2, before.1, before.2));
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_nobody_wants_any_more_are_taken_back_and_the_certificate_stays() {
    let shop = Shop::at("2027-04-01").await;
    let (host, first) = with(&shop, &["a", "b"], 3).await;
    let before = sent(&shop);
    shop.board.hide();
    host.write(&policy(&shop, &["a", "b", "c"], ""));
    until_published(&shop, &host).await;
    assert_eq!(shop.count(&ScmStatus::SupplementChecking).await, 1);
    host.write(&policy(&shop, &["a", "b"], ""));
    host.settle(&shop).await;
    shop.board.show();
    let told = host.told();
    assert_eq!(newest(&host).await.id, first.id, "{told:#?}");
    assert_eq!(shop.count(&ScmStatus::Issued).await, 1, "{told:#?}");
    assert_eq!(shop.board.left(), Vec::<String>::new(), "proofs stay");
    assert_eq!(sent(&shop), (before.0 + 1, before.1, before.2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_falls_due_meanwhile_is_not_waited_for() {
    let shop = Shop::at("2027-04-01").await;
    let (host, first) = with(&shop, &["a", "b"], 3).await;
    let before = sent(&shop);
    shop.board.hide();
    host.write(&policy(&shop, &["a", "b", "c"], ""));
    until_published(&shop, &host).await;
    let life = first.facts.not_before.until(first.facts.not_after);
    shop.pass(Seconds(life.0 * 4 / 5)).await;
    shop.board.show();
    host.settle(&shop).await;
    let told = host.told();
    let then = newest(&host).await;
    assert_ne!(then.reference, first.reference, "{told:#?}");
    has(&then, &["a", "b", "c"]);
    assert!(then.facts.not_after > first.facts.not_after);
    // The next one of its order came first, and the name was added to that one.
    assert_eq!(sent(&shop), (before.0 + 2, before.1, before.2), "{told:#?}");
    assert_clean(&shop, &host, "due").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_added_to_what_is_due_waits_for_the_successor_and_nothing_is_bought() {
    let shop = Shop::at("2027-04-01").await;
    let (host, first) = with(&shop, &["a", "b"], 3).await;
    let before = sent(&shop);
    // Due, and some days before its order brings the next one.
    let due = first.facts.not_after - Seconds::days(32);
    shop.pass(shop.clock_now().until(due)).await;
    for _ in 0..5 {
        host.tick().await;
    }
    let waits = |orders: &std::collections::BTreeMap<_, renewd::model::Order>| {
        orders.values().any(|order| {
            let want = |want: &Want| matches!(want, Want::Successor { .. });
            matches!(&order.phase, OrderPhase::Seeking { want: one, .. } if want(one))
        })
    };
    let waiting = host.snapshot().await.orders;
    assert!(waits(&waiting), "{:#?}", host.told());
    host.write(&policy(&shop, &["a", "b", "c"], ""));
    for _ in 0..5 {
        host.tick().await;
    }
    let still = host.snapshot().await.orders;
    assert!(waits(&still), "{:#?}", host.told());
    assert!(still.keys().eq(waiting.keys()), "{:#?}", host.told());
    let (told, spends) = told_by_plan(&host).await;
    let told = told.unwrap();
    assert!(told.contains("c.example.com added to the next"), "{told}");
    assert!(!spends);
    host.settle(&shop).await;
    let told = host.told();
    let then = newest(&host).await;
    assert_ne!(then.reference, first.reference, "{told:#?}");
    assert_eq!(then.facts.spki, first.facts.spki);
    has(&then, &["a", "b", "c"]);
    assert_eq!(sent(&shop), (before.0 + 1, before.1, before.2), "{told:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_successor_that_is_there_already_comes_before_a_name_that_is_added() {
    let shop = Shop::at("2027-04-01").await;
    let (host, first) = with(&shop, &["a", "b"], 3).await;
    let before = sent(&shop);
    // The account has applied for it, says that none is to come any more, and the host was asleep.
    let due = first.facts.not_after - Seconds::days(28);
    shop.pass(shop.clock_now().until(due)).await;
    shop.look().await;
    host.write(&policy(&shop, &["a", "b", "c"], ""));
    host.settle(&shop).await;
    let told = host.told();
    let then = newest(&host).await;
    assert_ne!(then.reference, first.reference, "{told:#?}");
    has(&then, &["a", "b", "c"]);
    assert_eq!(sent(&shop), (before.0 + 1, before.1, before.2), "{told:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_made_at_ccm_stays_there_and_what_uses_the_certificate_has_its_new_names() {
    let shop = Shop::at("2027-04-01").await;
    let front = resource(&shop.ccm, "ELB", "front").await;
    buy(&shop, 3).await;
    let rest = format!(
        "key = \"ccm\"\npush = [\"edge\"]\n\n[push.edge]\naccount = \"public\"\nservice = \"ELB\"\nregion = \"{REGION}\"\nresources = [\"{front}\"]\n"
    );
    let host = shop.host(&policy(&shop, &["a", "b"], &rest));
    host.settle(&shop).await;
    host.tick().await;
    let first = newest(&host).await;
    let there = served(&shop.ccm, &front).await;
    assert_eq!(
        there.as_ref(),
        Some(&first.facts.serial),
        "{:#?}",
        host.told()
    );
    let before = sent(&shop);
    host.write(&policy(&shop, &["a", "b", "c"], &rest));
    host.settle(&shop).await;
    host.tick().await;
    let then = newest(&host).await;
    is_supplemented(&first, &then);
    assert_eq!(sent(&shop), (before.0 + 1, before.1, before.2));
    // Under the same id as before, so that nothing but the push itself brings it there.
    let there = served(&shop.ccm, &front).await;
    assert_eq!(
        there.as_ref(),
        Some(&then.facts.serial),
        "{:#?}",
        host.told()
    );
}

/// Until the proof of the new name is asked for and published.
pub(crate) async fn until_published(shop: &Shop, host: &Host) {
    for _ in 0..60 {
        let plan = host.tick().await;
        let orders = host.snapshot().await.orders;
        let under_way = orders
            .values()
            .any(|order| matches!(order.phase, OrderPhase::Submitted { .. }));
        if under_way && !shop.board.left().is_empty() {
            return;
        }
        shop.wake(&plan).await;
    }
    panic!("nothing is published: {:#?}", host.told());
}
