//! Names that were asked to be added to a certificate and were believed to have come to nothing: whenever they come, they are
//! taken over or taken back, cost nothing beside what was bought, and hold up nobody.

use renewd::ccm::{Scm, ScmStatus, Supplement};
use renewd::ccm_server::ProofReuse;
use renewd::model::{OrderPhase, RevisionFacts, Seconds};

use super::supplement::{
    SUPPLEMENT, buy, has, is_supplemented, newest, policy, sent, until_published, with,
};
use crate::support::engine::id;
use crate::support::shop::{Host, Shop, purchase};

/// What was sent before has its effect at last.
pub(crate) async fn comes(shop: &Shop, reference: &str, before: &str, adds: &str) {
    let late = Supplement {
        ori_sans: before.to_owned(),
        add_sans: Some(adds.to_owned()),
        email: None,
    };
    let scm = Scm::new(shop.ccm.client()).v2(shop.ccm.user.project_id.clone());
    scm.supplement(reference, &late).await.unwrap();
    assert_eq!(shop.count(&ScmStatus::SupplementChecking).await, 1);
}

/// A host whose names the CA turned down, and that believes it.
pub(super) async fn turned_down(
    shop: &Shop,
    room: u32,
    policy: impl Fn(&[&str]) -> String,
) -> (Host, RevisionFacts) {
    buy(shop, room).await;
    let host = shop.host(&policy(&["a", "b"]));
    host.settle(shop).await;
    let first = newest(&host).await;
    shop.board.hide();
    host.write(&policy(&["a", "b", "c"]));
    until_published(shop, &host).await;
    shop.reject(&first.reference, "a CAA record forbids it")
        .await;
    for _ in 0..100 {
        let plan = host.tick().await;
        if host.snapshot().await.certificates[&id("www")]
            .unsupplemented
            .is_some()
        {
            host.told();
            return (host, first);
        }
        shop.wake(&plan).await;
    }
    panic!("it is not believed: {:#?}", host.told());
}

/// Until no names are being added anywhere.
async fn until_taken_back(shop: &Shop, host: &Host) {
    for _ in 0..20 {
        let plan = host.tick().await;
        shop.look().await;
        if shop.count(&ScmStatus::SupplementChecking).await == 0 {
            return;
        }
        shop.wake(&plan).await;
    }
    panic!("they are being added still: {:#?}", host.told());
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_come_after_another_certificate_was_bought_for_them_are_taken_back() {
    let shop = Shop::at("2027-04-01").await;
    let (host, first) = turned_down(&shop, 3, |names| policy(&shop, names, "")).await;
    shop.board.show();
    host.settle(&shop).await;
    let then = newest(&host).await;
    assert_ne!(then.reference, first.reference);
    has(&then, &["a", "b", "c"]);
    // Besides what was bought by hand, and applied with.
    let bought = (1, 2, 2);
    assert_eq!(sent(&shop), bought);
    comes(&shop, &first.reference, "b.example.com", "c.example.com").await;
    until_taken_back(&shop, &host).await;
    let told = host.told();
    let back = format!("c.example.com taken back from {}", first.reference);
    assert!(told.iter().any(|line| line.contains(&back)), "{told:#?}");
    host.settle(&shop).await;
    assert_eq!(newest(&host).await.id, then.id);
    assert_eq!(shop.count(&ScmStatus::Issued).await, 2);
    assert_eq!(sent(&shop), (bought.0 + 1, bought.1, bought.2), "theirs");
    assert_eq!(shop.board.left(), Vec::<String>::new(), "proofs stay");
    // What was taken back does not come again.
    let state = &host.snapshot().await.certificates[&id("www")];
    assert_eq!(state.unseen, Vec::new());
    // Of nothing that a person would look for in vain.
    let history = host.engine().await.store.history(&id("www")).await;
    let history = history.unwrap();
    let last = history.iter().rfind(|entry| entry.machine == "supplement");
    assert!(last.unwrap().message.contains(&back), "{history:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_unused_is_not_used_for_names_that_came_late() {
    let shop = Shop::at("2027-04-01").await;
    // Without a purchase, so that the order which follows waits for something to apply with.
    let (host, first) = turned_down(&shop, 3, |names| {
        policy(&shop, names, "").replace(&purchase(50, 1), "")
    })
    .await;
    let before = sent(&shop);
    comes(&shop, &first.reference, "b.example.com", "c.example.com").await;
    buy(&shop, 3).await;
    shop.approve(&first.reference).await;
    host.settle(&shop).await;
    let then = newest(&host).await;
    is_supplemented(&first, &then);
    has(&then, &["a", "b", "c"]);
    assert_eq!(shop.count(&ScmStatus::Paid).await, 1, "it is unused still");
    assert_eq!(sent(&shop).2, before.2);
    shop.board.show();
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_left_the_policy_and_come_late_do_not_hold_up_others() {
    let shop = Shop::at("2027-04-01").await;
    let (host, first) = with(&shop, &["a", "b"], 4).await;
    shop.faults(&format!("at={SUPPLEMENT}:1:lost-request"))
        .await;
    host.write(&policy(&shop, &["a", "b", "c"], ""));
    let mut unclear = false;
    for _ in 0..10 {
        let plan = host.tick().await;
        let orders = host.snapshot().await.orders;
        unclear = orders
            .values()
            .any(|order| matches!(order.phase, OrderPhase::Unclear { .. }));
        if unclear {
            break;
        }
        shop.wake(&plan).await;
    }
    assert!(unclear, "{:#?}", host.told());
    host.write(&policy(&shop, &["a", "b"], ""));
    host.settle(&shop).await;
    assert_eq!(newest(&host).await.id, first.id);
    let before = sent(&shop);
    comes(&shop, &first.reference, "b.example.com", "c.example.com").await;
    host.write(&policy(&shop, &["a", "b", "d"], ""));
    host.told();
    host.settle(&shop).await;
    let told = host.told();
    let back = format!("c.example.com taken back from {}", first.reference);
    assert!(told.iter().any(|line| line.contains(&back)), "{told:#?}");
    let then = newest(&host).await;
    is_supplemented(&first, &then);
    has(&then, &["a", "b", "d"]);
    let c = renewd::model::Name::parse("c.example.com").unwrap();
    assert!(!then.facts.covers_name(&c), "nobody wants it");
    let sent = sent(&shop);
    assert_eq!((sent.1, sent.2), (before.1, before.2));
    assert_eq!(shop.board.left(), Vec::<String>::new(), "proofs stay");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_come_among_others_are_a_colleagues_and_are_told_and_left_alone() {
    let shop = Shop::at("2027-04-01").await;
    let (host, first) = turned_down(&shop, 4, |names| policy(&shop, names, "")).await;
    shop.board.show();
    host.settle(&shop).await;
    let then = newest(&host).await;
    assert_ne!(then.reference, first.reference);
    let adds = "c.example.com;x.example.com";
    comes(&shop, &first.reference, "b.example.com", adds).await;
    host.told();
    let mut alerts = Vec::new();
    for _ in 0..8 {
        let plan = host.tick().await;
        alerts.extend(plan.alerts.values().cloned());
        shop.wake(&plan).await;
    }
    let key = format!("supplement-late/{}/www", first.reference);
    let alert = alerts.iter().find(|alert| alert.key.as_str() == key);
    assert!(alert.is_some(), "{alerts:#?}");
    assert_eq!(shop.count(&ScmStatus::SupplementChecking).await, 1);
    let told = host.told();
    let back = told.iter().any(|line| line.contains("taken back"));
    assert!(!back, "{told:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_due_does_not_wait_for_what_may_be_a_colleagues() {
    // What is proven is not asked for again, so that nothing shows which names are being added.
    let shop = Shop::reusing("2027-04-01", ProofReuse::Ballot).await;
    // Without a purchase: there is what people buy.
    let policy = |names: &[&str]| policy(&shop, names, "").replace(&purchase(50, 1), "");
    buy(&shop, 2).await;
    let elsewhere = shop.host(&policy(&["c", "d"]));
    elsewhere.settle(&shop).await;
    buy(&shop, 3).await;
    let host = shop.host(&policy(&["a", "b"]));
    host.settle(&shop).await;
    let first = newest(&host).await;
    shop.outcome("hold").await;
    host.write(&policy(&["a", "b", "c"]));
    until(&shop, &host, || async {
        shop.count(&ScmStatus::SupplementChecking).await == 1
    })
    .await;
    shop.reject(&first.reference, "a CAA record forbids it")
        .await;
    until(&shop, &host, || async {
        let state = host.snapshot().await;
        state.certificates[&id("www")].unsupplemented.is_some()
    })
    .await;
    comes(&shop, &first.reference, "b.example.com", "c.example.com").await;
    buy(&shop, 3).await;
    let before = sent(&shop);
    host.told();
    for _ in 0..10 {
        let plan = host.tick().await;
        shop.wake(&plan).await;
    }
    let told = host.told();
    let waits = |line: &String| line.contains("perhaps these");
    assert!(told.iter().any(waits), "{told:#?}");
    assert_eq!(sent(&shop), before, "nothing is applied for meanwhile");
    let due = first.facts.not_before + Seconds::days(67);
    shop.pass(shop.clock_now().until(due)).await;
    until(&shop, &host, || async { sent(&shop).2 > before.2 }).await;
    assert!(shop.clock_now() < due + Seconds::days(2));
    assert_eq!(shop.count(&ScmStatus::SupplementChecking).await, 1);
    assert_eq!(sent(&shop).1, before.1, "nothing is bought");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_are_issued_before_anybody_looks_stay_and_are_told() {
    let shop = Shop::at("2027-04-01").await;
    let (host, first) = turned_down(&shop, 3, |names| policy(&shop, names, "")).await;
    shop.board.show();
    host.settle(&shop).await;
    let then = newest(&host).await;
    assert_ne!(then.reference, first.reference);
    let bought = sent(&shop);
    comes(&shop, &first.reference, "b.example.com", "c.example.com").await;
    shop.approve(&first.reference).await;
    shop.look().await;
    assert_eq!(shop.count(&ScmStatus::SupplementChecking).await, 0);
    host.told();
    let key = format!("supplement-late/{}/www", first.reference);
    until(&shop, &host, || async {
        let alerts = host.tick().await.alerts;
        alerts.keys().any(|one| one.as_str() == key)
    })
    .await;
    let told = host.told();
    let said = format!("c.example.com were added to {} after all", first.reference);
    let times = told
        .iter()
        .filter(|line| line.starts_with("ok") && line.contains(&said));
    assert_eq!(times.count(), 1, "{told:#?}");
    // Told for a day, then forgotten.
    shop.pass(Seconds::days(1)).await;
    until(&shop, &host, || async {
        let state = host.snapshot().await;
        state.certificates[&id("www")].unseen.is_empty()
    })
    .await;
    let alerts = host.tick().await.alerts;
    assert!(!alerts.keys().any(|one| one.as_str() == key));
    assert_eq!(newest(&host).await.id, then.id);
    assert_eq!(sent(&shop), (bought.0 + 1, bought.1, bought.2), "theirs");
    let history = host.engine().await.store.history(&id("www")).await;
    let history = history.unwrap();
    let last = history.iter().rfind(|entry| entry.machine == "supplement");
    assert!(last.unwrap().message.contains(&said), "{history:#?}");
}

/// Ticks at each moment that the plan asks for.
async fn until<F: Future<Output = bool>>(shop: &Shop, host: &Host, reached: impl Fn() -> F) {
    for _ in 0..100 {
        let plan = host.tick().await;
        shop.look().await;
        if reached().await {
            return;
        }
        shop.wake(&plan).await;
    }
    panic!("it does not come: {:#?}", host.told());
}
