//! Names that the policy adds to a public certificate: the process killed with SIGKILL at every boundary, started again,
//! converged. Sent once, nothing bought, the same certificate with the same key, no proof left.

use renewd::ccm::ScmStatus;
use renewd::model::OrderStep::{
    Close, Examine, Fetch, Publish, Resolve, Retract, Supplement, Withdraw,
};
use renewd::model::{OrderPhase, OrderStep, ProofStage, RevisionFacts, Seconds};

use crate::crash::public::{assert_clean, boundaries, counts};
use crate::public_orders::late::comes;
use crate::public_orders::supplement::{SUPPLEMENT, buy, is_supplemented};
use crate::support::agent::{Agent, write_secret};
use crate::support::engine::id;
use crate::support::market::{Market, ONCE, snapshot};
use crate::support::shop::purchase;

/// Steps of such an order.
pub(super) const ADDED: [OrderStep; 6] = [Supplement, Fetch, Publish, Examine, Retract, Close];

/// When nobody wants the names any more.
const TAKEN_BACK: [OrderStep; 3] = [Withdraw, Retract, Close];

fn policy(market: &Market, names: &[String]) -> String {
    let issuer = market.issuer(&purchase(50, 1));
    let names: Vec<String> = names
        .iter()
        .map(|name| format!("\"{name}.example.test\""))
        .collect();
    let names = names.join(", ");
    format!("{issuer}\n[certificate.www]\nissuer = \"public\"\nnames = [{names}]\n")
}

async fn newest(agent: &Agent) -> RevisionFacts {
    let newest = &snapshot(agent).await.certificates[&id("www")].newest;
    newest.clone().unwrap()
}

/// A host that has a certificate for two names out of one that was bought for three, and whose policy wants the third.
async fn wanting(market: &Market, nth: &str) -> (Agent, RevisionFacts) {
    let names = ["a", "b", "c"].map(|letter| format!("{letter}{nth}"));
    buy(&market.shop, 3).await;
    let agent = market.host(&policy(market, &names[..2]));
    market.settle(&agent, nth).await;
    let first = newest(&agent).await;
    agent.write_policy(&policy(market, &names));
    (agent, first)
}

/// Supplements that were sent, then as `counts` has it.
async fn sent(market: &Market) -> (usize, [usize; 4]) {
    let supplements = market.shop.ccm.running.requests_of(SUPPLEMENT);
    (supplements, counts(&market.shop).await)
}

async fn assert_sent_once(
    market: &Market,
    (agent, first): (&Agent, &RevisionFacts),
    before: (usize, [usize; 4]),
    at: &str,
) {
    market.settle(agent, at).await;
    let then = newest(agent).await;
    is_supplemented(first, &then);
    assert_eq!(then.facts.names.len(), 3, "{at}: {:?}", then.facts.names);
    // Killed before it was sent, it is sent after two complete looks without it.
    assert_eq!(sent(market).await, (before.0 + 1, before.1), "{at}");
    assert_clean(market, agent, at).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_any_boundary_of_a_supplement_sends_it_once_and_comes_to_one_certificate() {
    let market = Market::at("2027-04-01").await;
    let mut points = vec!["order.open.done".to_owned()];
    points.extend(boundaries(&ADDED));
    for (nth, point) in points.iter().enumerate() {
        let (agent, first) = wanting(&market, &format!("s{nth}")).await;
        let before = sent(&market).await;
        assert!(
            market.die(&agent, point, &ONCE).await,
            "{point} was never passed"
        );
        assert_sent_once(&market, (&agent, &first), before, point).await;
    }
    println!("killed at {} boundaries of a supplement", points.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_while_a_lost_supplement_is_looked_for_sends_no_second_one() {
    let market = Market::at("2027-04-01").await;
    for (nth, point) in boundaries(&[Resolve]).iter().enumerate() {
        let (agent, first) = wanting(&market, &format!("u{nth}")).await;
        let before = sent(&market).await;
        for point in ["order.supplement.effect", point] {
            assert!(
                market.die(&agent, point, &ONCE).await,
                "{point} was never passed"
            );
        }
        assert_sent_once(&market, (&agent, &first), before, point).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_while_added_names_are_taken_back_leaves_the_certificate_as_it_was() {
    let market = Market::at("2027-04-01").await;
    for (nth, point) in boundaries(&TAKEN_BACK).iter().enumerate() {
        let nth = format!("w{nth}");
        let (agent, first) = wanting(&market, &nth).await;
        // The proof of the new name is brought nowhere, so that it is not issued.
        write_secret(&agent.path().join("hook"), "exit 0\n");
        let (before, withdrawn) = (
            sent(&market).await,
            market.shop.ccm.running.requests_of(WITHDRAWAL),
        );
        let published = async || {
            let orders = snapshot(&agent).await.orders;
            let mut orders = orders.into_values();
            orders.any(|order| {
                matches!(order.phase, OrderPhase::Submitted { proof: Some(proof), .. } if proof.stage != ProofStage::Wanted)
            })
        };
        for _ in 0..20 {
            let run = market.once(&agent);
            if published().await {
                break;
            }
            market.wake(&run).await;
        }
        assert!(published().await, "{point}");
        let adding = async || market.shop.count(&ScmStatus::SupplementChecking).await;
        assert_eq!(adding().await, 1, "{point}");
        let names = ["a", "b"].map(|letter| format!("{letter}{nth}"));
        agent.write_policy(&policy(&market, &names));
        assert!(
            market.die(&agent, point, &ONCE).await,
            "{point} was never passed"
        );
        market.settle(&agent, point).await;
        assert_eq!(adding().await, 0, "{point}");
        assert_eq!(newest(&agent).await.id, first.id, "{point}");
        assert_eq!(sent(&market).await, (before.0 + 1, before.1), "{point}");
        let withdrawals = market.shop.ccm.running.requests_of(WITHDRAWAL);
        assert_eq!(withdrawals, withdrawn + 1, "{point}");
        assert_clean(&market, &agent, point).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_while_names_that_came_late_are_taken_back_takes_them_back_once() {
    let market = Market::at("2027-04-01").await;
    let withdrawals = || market.shop.ccm.running.requests_of(WITHDRAWAL);
    for (nth, point) in ["supplement.late.effect", "supplement.late.done"]
        .iter()
        .enumerate()
    {
        let nth = format!("l{nth}");
        let (agent, first) = wanting(&market, &nth).await;
        // Sent, with an answer and an effect that do not come; then nobody wants it any more.
        market
            .shop
            .faults(&format!("at={SUPPLEMENT}:1:lost-request"))
            .await;
        let unclear = async || {
            let orders = snapshot(&agent).await.orders;
            let mut orders = orders.into_values();
            orders.any(|order| matches!(order.phase, OrderPhase::Unclear { .. }))
        };
        for _ in 0..10 {
            let run = market.once(&agent);
            if unclear().await {
                break;
            }
            market.wake(&run).await;
        }
        assert!(unclear().await, "{point}");
        let names = ["a", "b"].map(|letter| format!("{letter}{nth}"));
        agent.write_policy(&policy(&market, &names));
        market.settle(&agent, point).await;
        let unseen = async || {
            let state = &snapshot(&agent).await.certificates[&id("www")];
            state.unseen.len()
        };
        let history = || market.run(&agent, &["history", "www"]).stdout;
        assert_eq!(unseen().await, 1, "{point}: {}", history());
        let full = |letter: &str| format!("{letter}{nth}.example.test");
        let (before, withdrawn) = (sent(&market).await, withdrawals());
        comes(&market.shop, &first.reference, &full("b"), &full("c")).await;
        market.shop.pass(Seconds::days(1)).await;
        assert!(
            market.die(&agent, point, &ONCE).await,
            "{point} was never passed"
        );
        // What is done and not noted is looked for again.
        assert_eq!(unseen().await, usize::from(point.ends_with("effect")));
        market.settle(&agent, point).await;
        let adding = market.shop.count(&ScmStatus::SupplementChecking).await;
        assert_eq!(adding, 0, "{point}");
        // One more is what comes late, by whoever sent it.
        let after = (sent(&market).await, withdrawals());
        assert_eq!(after, ((before.0 + 1, before.1), withdrawn + 1), "{point}");
        assert_eq!(newest(&agent).await.id, first.id, "{point}");
        assert_clean(&market, &agent, point).await;
    }
}

/// What takes back added names that are not issued yet.
const WITHDRAWAL: &str = "4.1.1.2";
