//! How much an issuer is asked: requests in a second, orders in an hour.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use renewd::model::{Seconds, Waiting};
use renewd::plan::{Plan, Verdict};

use crate::support::ccm::Wanted;
use crate::support::engine::{Rig, healthy, id};

/// Certificates that nobody uses, of an issuer with this in its table.
fn write_policy(rig: &Rig, names: &[&str], pace: &str) {
    let mut policy = rig.world.ccm.issuer("30s") + pace;
    for name in names {
        let _ = write!(
            policy,
            "\n[certificate.{name}]\nissuer = \"corp\"\nnames = [\"{name}.example.test\"]\nvalidity = \"30d\"\n"
        );
    }
    rig.world.agent.write_policy(&policy);
}

async fn issued(rig: &Rig, names: &[&str]) -> usize {
    let mut count = 0;
    for name in names {
        count += rig.world.ccm.issued(&format!("{name}.example.test")).await;
    }
    count
}

fn waiting(plan: &Plan) -> Vec<&str> {
    let verdicts = plan.verdicts.iter();
    let waiting = verdicts.filter_map(|(id, verdict)| match verdict {
        Verdict::Wait(Waiting::IssuerBudget { .. }) => Some(id.as_str()),
        _ => None,
    });
    waiting.collect()
}

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_is_asked_no_more_often_in_a_second_than_the_policy_says() {
    let rig = Rig::new(Wanted::new().at("2027-04-01")).await;
    write_policy(&rig, &NAMES, "requests_per_second = 4\n");
    let before = rig.world.ccm.running.requests().len();
    let begun = Instant::now();
    assert!(healthy(&rig.settle().await));
    let took = begun.elapsed();
    let requests = rig.world.ccm.running.requests().len() - before;
    assert_eq!(issued(&rig, &NAMES).await, NAMES.len());
    assert!(requests >= 2 * NAMES.len(), "{requests}");
    let least = Duration::from_secs(u64::try_from((requests - 1) / 4).unwrap());
    assert!(took >= least, "{requests} requests in {took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_of_an_hour_are_counted_over_restarts_and_what_cannot_wait_is_ordered_all_the_same()
{
    let rig = Rig::new(Wanted::new().at("2027-04-01")).await;
    write_policy(&rig, &NAMES, "orders_per_hour = 2\n");
    let begun = rig.clock_now();
    // Each tick is a new start of the process.
    for _ in 0..3 {
        let plan = rig.tick().await;
        assert_eq!(waiting(&plan), ["c", "d", "e"]);
        assert_eq!(plan.next_wake, begun + Seconds::hours(1), "{plan:?}");
        rig.clock.advance(Seconds::minutes(10));
    }
    assert_eq!(issued(&rig, &NAMES).await, 2);
    // A person does not wait, and is counted.
    rig.force("e").await;
    assert_eq!(waiting(&rig.tick().await), ["c", "d"]);
    assert_eq!(issued(&rig, &["e"]).await, 1);

    rig.clock.set(begun + Seconds::hours(1));
    let plan = rig.tick().await;
    assert_eq!(waiting(&plan), ["d"], "the one of the person counts");
    rig.clock.set(begun + Seconds::minutes(90));
    assert!(healthy(&rig.tick().await));
    assert_eq!(issued(&rig, &NAMES).await, 5);

    // When all have ended nobody waits for an hour.
    rig.clock.advance(Seconds::days(31));
    let plan = rig.tick().await;
    assert!(healthy(&plan), "{:?}", plan.verdicts[&id("e")]);
    assert_eq!(issued(&rig, &NAMES).await, 10);
}
