//! The next certificate of an order that is there, and lacks names that were added to the one before it meanwhile: nothing
//! is bought in its place.

use renewd::ccm::{Scm, ScmCertificate, ScmStatus, Supplement};
use renewd::model::{RevisionFacts, Seconds};
use renewd::plan::Plan;

use super::supplement::{buy, has, is_supplemented, newest, policy, sent};
use crate::ccm_server::http::post_nothing;
use crate::support::engine::id;
use crate::support::shop::{Host, Shop};

/// Renewal is due ten days before the end, and the next certificate of the order comes thirty days before it. A share of the life
/// would change with the names, since a certificate with more of them begins anew and ends as before.
const LATE: &str = "expired_days_since = 10\n";
const ALERT: &str = "successor-lacks-names/www";

/// A host whose certificate has had `c` added after the next one of its order came without it; renewal is due. `issued`
/// says whether the CA has issued that one.
async fn due(shop: &Shop, issued: bool) -> (Host, RevisionFacts, ScmCertificate) {
    buy(shop, 4).await;
    let host = shop.host(&policy(shop, &["a", "b"], LATE));
    host.settle(shop).await;
    let first = newest(&host).await;
    let end = first.facts.not_after;
    shop.pass(shop.clock_now().until(end - Seconds::days(28)))
        .await;
    shop.look().await;
    let next = |all: Vec<ScmCertificate>| all.into_iter().find(|one| one.id != first.reference);
    let mut came = next(shop.all().await).expect("the next one of the order");
    if issued {
        shop.approve(&came.id).await;
        came = next(shop.all().await).unwrap();
        assert_eq!(came.status, ScmStatus::Issued);
    }
    host.write(&policy(shop, &["a", "b", "c"], LATE));
    host.settle(shop).await;
    let then = newest(&host).await;
    is_supplemented(&first, &then);
    has(&then, &["a", "b", "c"]);
    shop.pass(shop.clock_now().until(end - Seconds::days(9)))
        .await;
    host.told();
    (host, then, came)
}

/// Ticks for some hours.
async fn hours(shop: &Shop, host: &Host, count: u32) -> Plan {
    let mut plan = host.tick().await;
    for _ in 0..count {
        shop.pass(Seconds::hours(1)).await;
        plan = host.tick().await;
    }
    plan
}

#[track_caller]
fn is_told(plan: &Plan, next: &ScmCertificate) {
    let mut all = plan.alerts.iter();
    let told = all.find(|(key, _)| key.as_str() == ALERT);
    let (_, alert) = told.unwrap_or_else(|| panic!("{:?}", plan.alerts));
    for part in [next.id.as_str(), "lacks c.example.com"] {
        assert!(alert.title.contains(part), "{alert:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_came_after_the_successor_are_added_to_it_by_a_person_and_not_bought() {
    let shop = Shop::at("2027-04-01").await;
    let (host, present, next) = due(&shop, true).await;
    let before = sent(&shop);
    let plan = hours(&shop, &host, 12).await;
    let told = host.told();
    assert_eq!(sent(&shop), before, "{told:#?}");
    assert_eq!(newest(&host).await.id, present.id, "no names are lost");
    is_told(&plan, &next);
    // In the console. While its names are being proven nothing is bought, either.
    let names = Supplement {
        ori_sans: "b.example.com".to_owned(),
        add_sans: Some("c.example.com".to_owned()),
        email: None,
    };
    let colleague = Scm::new(shop.ccm.client()).v2(shop.ccm.user.project_id.clone());
    let answer = colleague.supplement(&next.id, &names).await;
    answer.unwrap();
    let plan = hours(&shop, &host, 3).await;
    assert_eq!(shop.count(&ScmStatus::SupplementChecking).await, 1);
    is_told(&plan, &next);
    shop.approve(&next.id).await;
    let plan = host.settle(&shop).await;
    let then = newest(&host).await;
    assert_eq!(then.reference, next.id, "{:#?}", host.told());
    has(&then, &["a", "b", "c"]);
    assert_eq!(then.facts.spki, present.facts.spki);
    assert_eq!(sent(&shop), (before.0 + 1, before.1, before.2), "theirs");
    assert!(plan.alerts.keys().all(|key| key.as_str() != ALERT));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_may_have_another_one_bought_in_the_place_of_a_successor_that_lacks_names() {
    let shop = Shop::at("2027-04-01").await;
    let (host, _, next) = due(&shop, true).await;
    let before = sent(&shop);
    is_told(&hours(&shop, &host, 1).await, &next);
    let engine = host.engine().await;
    engine.ask_renewal(&id("www")).await.unwrap();
    host.settle(&shop).await;
    let then = newest(&host).await;
    assert_ne!(then.reference, next.id, "{:#?}", host.told());
    has(&then, &["a", "b", "c"]);
    assert_eq!(sent(&shop), (before.0, before.1 + 1, before.2 + 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_successor_whose_application_lacks_names_is_applied_for_with_them_once_a_person_withdrew_it()
 {
    let shop = Shop::at("2027-04-01").await;
    let (host, present, next) = due(&shop, false).await;
    let before = sent(&shop);
    let plan = hours(&shop, &host, 12).await;
    assert_eq!(sent(&shop), before, "{:#?}", host.told());
    assert_eq!(newest(&host).await.id, present.id);
    is_told(&plan, &next);
    let path = format!("/v3/scm/certificates/{}/cancel-cert", next.id);
    post_nothing(&shop.ccm, &path).await.expect(200);
    shop.look().await;
    host.settle(&shop).await;
    let then = newest(&host).await;
    assert_eq!(then.reference, next.id, "{:#?}", host.told());
    has(&then, &["a", "b", "c"]);
    assert_eq!(sent(&shop), (before.0, before.1, before.2 + 1));
}
