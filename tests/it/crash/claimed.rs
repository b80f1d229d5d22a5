//! A disk that moves to another machine at any boundary, and whose journal a person claims there before the first look: what
//! was under way is neither bought nor applied for a second time.

use renewd::model::OrderStep;
use renewd::model::OrderStep::{Buy, Confirm, Fetch, Look, StoreKey, Submit};

use crate::crash::public::{assert_one_more, boundaries, buy_by_hand, counts, policy};
use crate::public_orders::claim::{belongs_to_another, copy};
use crate::support::agent::{Agent, Run};
use crate::support::engine::id;
use crate::support::market::{Market, ONCE, snapshot};

/// Where nothing is there.
const BOUGHT: [OrderStep; 5] = [Look, Buy, StoreKey, Submit, Fetch];
/// Where a person bought one.
const TAKEN: [OrderStep; 3] = [Look, Confirm, Submit];

fn claim(market: &Market, agent: &Agent) -> Run {
    market.run(agent, &["state", "claim", "--yes"])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_after_a_kill_at_any_boundary_of_a_purchase_never_leads_to_a_second() {
    let market = Market::at("2027-04-01").await;
    for (nth, point) in boundaries(&BOUGHT).iter().enumerate() {
        let agent = market.host(&policy(&market, &format!("j{nth}"), "", 1));
        let before = counts(&market.shop).await;
        assert!(
            market.die(&agent, point, &ONCE).await,
            "{point} was never passed"
        );
        belongs_to_another(&agent.state());
        claim(&market, &agent).expect(0);
        assert_one_more(&market, &agent, before, point).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_after_a_kill_while_something_unused_is_taken_buys_nothing_in_its_place() {
    let market = Market::at("2027-04-01").await;
    for (nth, point) in boundaries(&TAKEN).iter().enumerate() {
        let before = counts(&market.shop).await;
        buy_by_hand(&market.shop).await;
        let agent = market.host(&policy(&market, &format!("k{nth}"), "", 1));
        assert!(
            market.die(&agent, point, &ONCE).await,
            "{point} was never passed"
        );
        belongs_to_another(&agent.state());
        claim(&market, &agent).expect(0);
        // The person's purchase is the one.
        assert_one_more(&market, &agent, before, point).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_says_what_it_gives_up_and_keeps_the_key_that_its_other_owner_may_have_applied_with()
 {
    let market = Market::at("2027-04-01").await;
    let text = policy(&market, "www", "", 1);
    let (owner, other) = (market.host(&text), market.host(&text));
    let point = "order.store-key.done";
    assert!(market.die(&owner, point, &ONCE).await);
    copy(&owner.state(), &other.state());
    belongs_to_another(&other.state());
    market.settle(&owner, "the owner").await;
    let before = counts(&market.shop).await;
    let claimed = claim(&market, &other).expect(0);
    let (asked, done) = (&claimed.stderr, &claimed.stdout);
    assert!(asked.contains("opened anew, 1 at present"), "{asked}");
    assert!(done.contains("1 order given up"), "{done}");
    market.settle(&other, "the other").await;
    assert_eq!(counts(&market.shop).await, before);
    let theirs = snapshot(&owner).await.certificates[&id("www")]
        .newest
        .clone();
    let newest = snapshot(&other).await.certificates[&id("www")]
        .newest
        .clone();
    let (theirs, newest) = (theirs.unwrap(), newest.unwrap());
    assert_eq!(newest.reference, theirs.reference);
    assert_eq!(newest.facts.spki, theirs.facts.spki);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_counts_what_it_gives_up_and_leaves_what_may_have_been_bought() {
    let market = Market::at("2027-04-01").await;
    for (nth, point) in ["order.buy.effect", "order.trace.started"]
        .iter()
        .enumerate()
    {
        let agent = market.host(&policy(&market, &format!("l{nth}"), "", 1));
        // Its tags come late, so that it is looked for for a while.
        market
            .shop
            .faults("seed=1,late-effect=300,late-tags=300")
            .await;
        assert!(market.die(&agent, "order.buy.effect", &ONCE).await);
        if *point != "order.buy.effect" {
            assert!(market.die(&agent, point, &ONCE).await);
        }
        let claimed = claim(&market, &agent).expect(0);
        let (asked, done) = (&claimed.stderr, &claimed.stdout);
        assert!(asked.contains("opened anew, 0 at present"), "{asked}");
        assert!(done.contains("0 orders given up"), "{done}");
        market.shop.faults("seed=1").await;
        market.settle(&agent, point).await;
    }
    assert_eq!(market.shop.ccm.running.requests_of("4.1.3.1"), 2);
}
