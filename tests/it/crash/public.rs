//! Orders of public certificates: the process killed with SIGKILL at every boundary, started again, converged. One purchase,
//! one application, one issued certificate, no proof left, its key kept. The account's clock is every process's.

use std::collections::BTreeSet;

use renewd::ccm::{BatchTags, ScmStatus, Tag, TagAction};
use renewd::model::OrderStep::{
    Buy, Close, Confirm, Examine, Fetch, Look, Publish, Resolve, Retract, StoreKey, Submit, Trace,
    Withdraw,
};
use renewd::model::{Claim, OrderId, OrderStep, Seconds};
use serde_json::json;

use crate::ccm_server::http::post;
use crate::crash::{MOMENTS, soaking};
use crate::support::agent::Agent;
use crate::support::engine::id;
use crate::support::market::{Market, ONCE, snapshot};
use crate::support::shop::{Shop, purchase};

/// From a purchase to the retracted proof.
const BOUGHT: [OrderStep; 9] = [
    Look, Buy, StoreKey, Submit, Fetch, Publish, Examine, Retract, Close,
];
/// Where an answer is lost, and the step that looks for its effect.
const LOST: [(&str, OrderStep); 2] = [
    ("order.buy.effect", Trace),
    ("order.submit.effect", Resolve),
];
/// With an entitlement that is there.
const CLAIMED: [OrderStep; 3] = [Look, Confirm, Submit];
/// When nobody wants it any more.
const WITHDRAWN: [OrderStep; 3] = [Withdraw, Retract, Close];
/// When the account brings the next one.
const SUCCEEDED: [OrderStep; 3] = [Look, Fetch, Close];

pub(super) fn boundaries(steps: &[OrderStep]) -> Vec<String> {
    let each = steps
        .iter()
        .flat_map(|step| MOMENTS.map(|moment| format!("order.{step}.{moment}")));
    each.collect()
}

/// A certificate `www` of this name, bought for so many years where nothing is there.
pub(super) fn policy(market: &Market, name: &str, rest: &str, years: u32) -> String {
    let issuer = market.issuer(&purchase(50, years));
    format!(
        "{issuer}\n[certificate.www]\nissuer = \"public\"\nnames = [\"{name}.example.test\"]\n{rest}"
    )
}

/// Purchases, applications, issued certificates, revocations of the account.
pub(super) async fn counts(shop: &Shop) -> [usize; 4] {
    let of = |operation| shop.ccm.running.requests_of(operation);
    let issued = shop.count(&ScmStatus::Issued).await;
    [of("4.1.3.1"), of("4.1.1.1"), issued, of("7.1.16")]
}

pub(super) async fn assert_one_more(market: &Market, agent: &Agent, before: [usize; 4], at: &str) {
    market.settle(agent, at).await;
    let [bought, applied, issued, revoked] = before;
    let wanted = [bought + 1, applied + 1, issued + 1, revoked];
    assert_eq!(counts(&market.shop).await, wanted, "{at}");
    assert_clean(market, agent, at).await;
}

/// Nothing is left of what the killed ones did, and the newest has its key.
pub(super) async fn assert_clean(market: &Market, agent: &Agent, at: &str) {
    // A check clears away what killed processes left.
    market.once(agent).expect(0);
    assert_eq!(market.proofs(), Vec::<String>::new(), "{at}: proofs stay");
    let keys = renewd::sys::fs::list(&agent.state().join("keys")).unwrap();
    let of_orders = keys.iter().filter(|name| *name != "public");
    assert_eq!(of_orders.count(), 0, "{at}: keys of closed orders stay");
    let newest = &snapshot(agent).await.certificates[&id("www")].newest;
    let newest = newest.as_ref().unwrap();
    let materials = renewd::deploy::Materials::new(agent.state());
    let kept = materials.load_revision(&id("www"), &newest.id).unwrap();
    assert_eq!(kept.key.spki(), newest.facts.spki, "{at}");
    assert!(
        materials
            .public_keys()
            .unwrap()
            .contains(&newest.facts.spki),
        "{at}: another certificate may come for its key"
    );
}

fn boundaries_of_a_purchase() -> Vec<String> {
    let mut points = vec!["order.open.done".to_owned()];
    points.extend(boundaries(&BOUGHT));
    points.push("order.store-revision.file".to_owned());
    points
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_any_boundary_from_purchase_to_the_retracted_proof_converges_to_one_certificate()
{
    let market = Market::at("2027-04-01").await;
    let points = boundaries_of_a_purchase();
    for (nth, point) in points.iter().enumerate() {
        let agent = market.host(&policy(&market, &format!("a{nth}"), "", 1));
        let before = counts(&market.shop).await;
        assert!(
            market.die(&agent, point, &ONCE).await,
            "{point} was never passed"
        );
        assert_one_more(&market, &agent, before, point).await;
    }
    println!("killed at {} boundaries of a purchase", points.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_after_a_place_in_the_queue_was_taken_leads_to_one_place_and_one_purchase() {
    let market = Market::at("2027-04-01").await;
    let taken = || market.shop.ccm.running.requests_of("4.1.4.1");
    let issuer = market.issuer(&(purchase(50, 1) + "reserve = true\n"));
    let text =
        format!("{issuer}\n[certificate.www]\nissuer = \"public\"\nnames = [\"q.example.test\"]\n");
    let agent = market.host(&text);
    let before = counts(&market.shop).await;
    let point = "queue.take.effect";
    assert!(
        market.die(&agent, point, &ONCE).await,
        "{point} was never passed"
    );
    assert_eq!((taken(), counts(&market.shop).await), (1, before));
    assert_one_more(&market, &agent, before, point).await;
    assert_eq!(taken(), 1, "the place of the killed one counts");
}

/// The suite takes pairs of which the second kill hits what the first one made necessary; the long mode takes each after each.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_kill_on_the_way_out_of_the_first_still_leads_to_one_purchase() {
    let mut pairs: Vec<(String, String)> = TWICE
        .map(|(first, second)| (first.to_owned(), second.to_owned()))
        .to_vec();
    if soaking() {
        let points = boundaries_of_a_purchase();
        for first in &points {
            pairs.extend(points.iter().map(|second| (first.clone(), second.clone())));
        }
    }
    let mut met = 0;
    // An account for each few, since each has a budget.
    for (round, pairs) in pairs.chunks(20).enumerate() {
        let market = Market::at("2027-04-01").await;
        for (nth, (first, second)) in pairs.iter().enumerate() {
            let at = format!("{first}, then {second}");
            let agent = market.host(&policy(&market, &format!("t{nth}"), "", 1));
            let before = counts(&market.shop).await;
            assert!(market.die(&agent, first, &ONCE).await, "{at}");
            let twice = market.die(&agent, second, &ONCE).await;
            assert!(twice || round > 0 || nth >= TWICE.len(), "only once: {at}");
            met += usize::from(twice);
            assert_one_more(&market, &agent, before, &at).await;
        }
    }
    println!("killed twice at {met} pairs of boundaries of a purchase");
}

const TWICE: [(&str, &str); 5] = [
    ("order.buy.started", "order.trace.effect"),
    ("order.store-key.effect", "order.store-key.effect"),
    ("order.publish.effect", "order.publish.effect"),
    ("order.fetch.effect", "order.retract.effect"),
    ("order.retract.effect", "order.retract.started"),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_while_a_lost_purchase_or_application_is_looked_for_never_leads_to_a_second() {
    let market = Market::at("2027-04-01").await;
    for (nth, (first, step)) in LOST.into_iter().enumerate() {
        if step == Trace {
            // It is there and shows itself later, its tags later still.
            let late = "seed=1,late-effect=300,late-tags=120";
            market.shop.faults(late).await;
        }
        for (also, point) in boundaries(&[step]).iter().enumerate() {
            let agent = market.host(&policy(&market, &format!("b{nth}{also}"), "", 1));
            let before = counts(&market.shop).await;
            for point in [first, point] {
                assert!(
                    market.die(&agent, point, &ONCE).await,
                    "{point} was never passed"
                );
            }
            assert_one_more(&market, &agent, before, &format!("{first}, then {point}")).await;
        }
        market.shop.faults("seed=1").await;
    }
}

/// Its tags come long after the moment from which its absence would count: it is claimed by comparison, and the claim read back.
#[tokio::test(flavor = "multi_thread")]
async fn a_kill_while_a_lost_purchase_is_claimed_by_comparison_never_leads_to_a_second() {
    let market = Market::at("2027-04-01").await;
    let late = "seed=1,late-effect=300,late-tags=3600";
    market.shop.faults(late).await;
    let mut left = ["purchase-unclear", "purchase-unclear", "claiming"].to_vec();
    left.extend(["claiming", "claiming", "entitled"]);
    let points = boundaries(&[Trace, Confirm]);
    assert_eq!(points.len(), left.len());
    for (nth, (point, left)) in points.iter().zip(left).enumerate() {
        let agent = market.host(&policy(&market, &format!("p{nth}"), "", 1));
        let before = counts(&market.shop).await;
        let first = "order.buy.effect";
        assert!(market.die(&agent, first, &ONCE).await, "{first}");
        // The first one that looks may decide.
        market.shop.pass(Seconds::minutes(11)).await;
        assert!(
            market.die(&agent, point, &ONCE).await,
            "{point} was never passed"
        );
        let orders = snapshot(&agent).await.orders;
        let phases: Vec<&str> = orders.values().map(|order| order.phase.code()).collect();
        assert_eq!(phases, [left], "{point}");
        assert_one_more(&market, &agent, before, point).await;
        // Its tags say whose it is before the next one looks.
        market.shop.pass(Seconds::hours(2)).await;
    }
}

/// By a person, in the console.
pub(super) async fn buy_by_hand(shop: &Shop) {
    let body = json!({
        "cert_brand": "GEOTRUST", "cert_type": "DV_SSL_CERT", "domain_type": "SINGLE_DOMAIN", "effective_time": 1,
        "domain_numbers": 1, "order_number": 1, "agree_privacy_protection": true,
    });
    let bought = post(&shop.ccm, "/v3/scm/certificates/buy", &body).await;
    bought.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_around_a_claim_takes_the_one_entitlement_once_and_marks_it() {
    let market = Market::at("2027-04-01").await;
    let mut points = boundaries(&CLAIMED);
    // Whoever bought it gave it no tags.
    points.push("upkeep.tag.effect".to_owned());
    for (nth, point) in points.iter().enumerate() {
        let before = counts(&market.shop).await;
        buy_by_hand(&market.shop).await;
        let agent = market.host(&policy(&market, &format!("c{nth}"), "", 1));
        if point.starts_with("upkeep") {
            // Tags are for the check after that.
            market.settle(&agent, point).await;
        }
        assert!(
            market.die(&agent, point, &ONCE).await,
            "{point} was never passed"
        );
        // The person's purchase is the one.
        assert_one_more(&market, &agent, before, point).await;
        let newest = snapshot(&agent).await.certificates[&id("www")]
            .newest
            .clone();
        let scm = renewd::ccm::Scm::new(market.shop.ccm.client());
        let tags = scm.list_tags(&newest.unwrap().reference).await.unwrap();
        let tags: BTreeSet<(String, String)> = tags
            .tags
            .into_iter()
            .map(|tag| (tag.key, tag.value.unwrap_or_default()))
            .collect();
        for (key, value) in [("managed-by", "renewd"), ("renewd-certificate", "www")] {
            let wanted = (key.to_owned(), value.to_owned());
            assert!(tags.contains(&wanted), "{point}: {key} of {tags:?}");
        }
    }
}

/// Where a key that is there with another value is refused, the old claim is deleted before the new one is written.
#[tokio::test(flavor = "multi_thread")]
async fn a_kill_between_an_old_claim_and_the_new_one_loses_neither_the_entitlement_nor_the_claim() {
    let market = Market::at("2027-04-01").await;
    market.shop.faults("seed=1,tags-stand").await;
    let before = counts(&market.shop).await;
    buy_by_hand(&market.shop).await;
    let reference = market.shop.all().await[0].id.clone();
    let scm = renewd::ccm::Scm::new(market.shop.ccm.client());
    // Of a host that is long gone.
    let old = Claim {
        journal: "gone".to_owned(),
        order: OrderId::new("gone").unwrap(),
        at: market.shop.clock_now() - Seconds::days(2),
    };
    let tag = Tag {
        key: Claim::KEY.to_owned(),
        value: old.to_string(),
    };
    let tags = BatchTags {
        action: TagAction::Create,
        tags: vec![tag],
    };
    scm.batch_tags(&reference, &tags).await.unwrap();
    let claim = async || {
        let tags = scm.list_tags(&reference).await.unwrap().tags;
        let value = tags.into_iter().find(|tag| tag.key == Claim::KEY)?.value?;
        Some(Claim::parse(&value).unwrap())
    };
    let agent = market.host(&policy(&market, "k", "", 1));
    let point = "tags.replace.cleared";
    assert!(
        market.die(&agent, point, &ONCE).await,
        "{point} was never passed"
    );
    assert_eq!(claim().await, None, "nobody's for now");
    let killed = snapshot(&agent).await;
    let order = killed.orders.keys().next().unwrap().clone();
    assert_one_more(&market, &agent, before, point).await;
    let settled = snapshot(&agent).await;
    let newest = settled.certificates[&id("www")].newest.as_ref().unwrap();
    assert_eq!(newest.reference, reference, "the one that was there");
    let claim = claim().await.unwrap();
    let journal = settled.identity.unwrap().journal;
    assert_eq!((claim.order, claim.journal), (order, journal));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_while_an_application_is_taken_back_leaves_neither_it_nor_its_proof() {
    let market = Market::unseen("2027-04-01").await;
    for (nth, point) in boundaries(&WITHDRAWN).iter().enumerate() {
        let name = format!("d{nth}");
        let agent = market.host(&policy(&market, &name, "", 1));
        for _ in 0..20 {
            let run = market.once(&agent);
            if !market.proofs().is_empty() {
                break;
            }
            market.wake(&run).await;
        }
        assert_ne!(market.proofs(), Vec::<String>::new());
        // Nobody wants it any more.
        agent.write_policy(&policy(&market, &name, "order = \"never\"\n", 1));
        assert!(
            market.die(&agent, point, &ONCE).await,
            "{point} was never passed"
        );
        for _ in 0..20 {
            let run = market.once(&agent);
            if snapshot(&agent).await.orders.is_empty() {
                break;
            }
            market.wake(&run).await;
        }
        assert!(snapshot(&agent).await.orders.is_empty(), "{point}");
        assert_eq!(market.proofs(), Vec::<String>::new(), "{point}");
        let all = market.shop.all().await;
        let under_way = all.iter().filter(|one| one.status != ScmStatus::Paid);
        assert_eq!(under_way.count(), 0, "{point}: the application stays");
        assert_eq!(all.len(), 1, "{point}");
        // What was bought is there for the next who needs it; here the test takes it away.
        market.shop.clear().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_while_a_successor_is_taken_over_neither_loses_nor_buys_one() {
    let market = Market::at("2027-04-01").await;
    let points = boundaries(&SUCCEEDED);
    let mut hosts = Vec::new();
    for (nth, point) in points.iter().enumerate() {
        let agent = market.host(&policy(&market, &format!("e{nth}"), "", 2));
        market.settle(&agent, point).await;
        hosts.push(agent);
    }
    let bought = counts(&market.shop).await[0];
    let mut firsts = Vec::new();
    for agent in &hosts {
        let newest = &snapshot(agent).await.certificates[&id("www")].newest;
        firsts.push(newest.clone().unwrap());
    }
    // To where the account has brought the next one.
    let due = firsts.iter().map(|first| first.facts.not_after).max();
    while market.shop.clock_now() < due.unwrap() - Seconds::days(29) {
        market.shop.pass(Seconds::days(1)).await;
    }
    for ((point, agent), first) in points.iter().zip(&hosts).zip(&firsts) {
        assert!(
            market.die(agent, point, &ONCE).await,
            "{point} was never passed"
        );
        market.settle(agent, point).await;
        assert_clean(&market, agent, point).await;
        let newest = &snapshot(agent).await.certificates[&id("www")].newest;
        let newest = newest.as_ref().unwrap();
        assert_ne!(newest.reference, first.reference, "{point}");
        assert_eq!(
            newest.facts.spki, first.facts.spki,
            "{point}: it comes with the first key"
        );
    }
    assert_eq!(counts(&market.shop).await[0], bought);
}

/// Every step that an order of a public certificate has is killed above, as a process: a new one must find its place.
#[test]
fn every_step_of_a_public_order_has_its_kill() {
    let mut killed: Vec<OrderStep> = BOUGHT.to_vec();
    killed.extend(LOST.map(|(_, step)| step));
    killed.extend(CLAIMED);
    killed.extend(WITHDRAWN);
    killed.extend(SUCCEEDED);
    killed.extend(crate::crash::added::ADDED);
    for step in OrderStep::ALL {
        // A follower applies for nothing; its steps are killed in `crash`.
        assert!(
            step == OrderStep::Locate || killed.contains(&step),
            "{step}"
        );
    }
}
