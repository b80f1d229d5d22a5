//! When a running service is disturbed, and how often: windows and budgets with a real nginx and weeks of time.

use renewd::model::{Seconds, Timestamp, Waiting};
use renewd::plan::{Plan, Verdict};

use crate::support::ccm::Wanted;
use crate::support::engine::{Rig, due, healthy, id};

/// A Thursday.
const START: &str = "2027-04-01";

async fn rig(pacing: &str) -> Rig {
    let rig = Rig::live(Wanted::new().at(START)).await;
    let (header, policy) = ("[target.nginx.web]\n", rig.world.policy());
    let policy = policy.replace(header, &format!("{header}{pacing}\n"));
    rig.world.agent.write_policy(&policy);
    rig
}

fn moment(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

#[track_caller]
fn waiting(plan: &Plan) -> Waiting {
    match &plan.verdicts[&id("www")] {
        Verdict::Wait(waiting) => waiting.clone(),
        other => panic!("{other:?}"),
    }
}

/// What `renewd target list` shows.
fn target(rig: &Rig) -> serde_json::Value {
    let list = rig.world.agent.run(&["target", "list", "--json"]);
    list.expect(0).json()[0].clone()
}

/// Somebody writes into the served certificate's loose copy.
fn spoil(rig: &Rig) {
    std::fs::write(rig.world.loose().0, "spoiled\n").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_waits_for_its_window_and_a_person_does_not() {
    let rig = rig("windows = [\"Sat 02:00-04:00\"]").await;
    let (first, reloads) = (rig.world.served(), rig.world.reloads());
    let plan = rig.tick().await;
    assert!(healthy(&plan), "another window is no reason for a rollout");
    // Issued on a Thursday for 30 days, renewed after about 20.
    rig.clock.set(due(&plan, "www"));
    let plan = rig.tick().await;
    let now = rig.clock_now();
    let opens = moment("2027-04-24T02:00:00Z");
    assert!(now < opens && now > opens - Seconds::days(7), "{now}");
    assert_eq!(waiting(&plan), Waiting::Window { until: opens });
    assert_eq!(
        (rig.world.served(), rig.world.reloads()),
        (first.clone(), reloads)
    );
    assert_eq!(rig.world.written(), first, "nothing of it is in place");

    let agent = &rig.world.agent;
    let at = now.to_string();
    let run = agent.run(&["plan", "--at", &at]).expect(0);
    let says =
        "ready; the target's maintenance window is closed, next look at 2027-04-24T02:00:00Z";
    assert!(run.stdout.contains(says), "{}", run.stdout);
    let shown = target(&rig);
    assert_eq!(shown["windows"], serde_json::json!(["Sat 02:00-04:00"]));
    let text = agent.run(&["target", "list"]).expect(0).stdout;
    assert!(text.contains("Sat 02:00-04:00 (UTC)"), "{text}");

    rig.told();
    // Once a day everything is looked at, whatever waits.
    let mut looks = 0;
    let mut wake = plan.next_wake;
    while wake < opens {
        rig.clock.set(wake);
        wake = rig.tick().await.next_wake;
        looks += 1;
    }
    assert_eq!(wake, opens, "not a second late");
    // The renewal is due one to two days earlier for one serial number than for another.
    assert!(looks <= 7, "{looks} looks");
    rig.clock.set(opens - Seconds(1));
    rig.tick().await;
    assert_eq!(rig.told(), Vec::<String>::new());
    rig.clock.set(opens);
    assert!(healthy(&rig.tick().await));
    let second = rig.world.served();
    assert_ne!(second, first);
    assert_eq!(rig.world.reloads(), reloads + 1);

    rig.clock.set(opens + Seconds::days(1));
    rig.force("www").await;
    assert!(healthy(&rig.tick().await));
    assert_ne!(rig.world.served(), second);
    assert_eq!(rig.world.reloads(), reloads + 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_end_before_the_window_opens_does_not_wait_for_it() {
    let rig = rig("windows = [\"Sat 02:00-04:00\"]").await;
    let (first, plan) = (rig.world.served(), rig.tick().await);
    // The host slept until Monday: it ends on Saturday at midnight.
    assert!(due(&plan, "www") < moment("2027-04-26"));
    rig.clock.set(moment("2027-04-26"));
    assert!(healthy(&rig.tick().await));
    assert_ne!(rig.world.served(), first);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_somebody_keeps_changing_cost_no_more_reloads_than_allowed() {
    let rig = rig("reloads_per_hour = 2").await;
    rig.clock.advance(Seconds::hours(2));
    let reloads = rig.world.reloads();
    let first = rig.clock_now();
    for times in 1..=2 {
        spoil(&rig);
        assert!(healthy(&rig.tick().await), "{:?}", rig.told());
        assert_eq!(rig.world.reloads(), reloads + times);
        rig.clock.advance(Seconds::minutes(5));
    }
    spoil(&rig);
    let plan = rig.tick().await;
    let until = first + Seconds::hours(1);
    assert_eq!(waiting(&plan), Waiting::ReloadBudget { until });
    assert_eq!(plan.next_wake, until);
    assert_eq!(rig.world.reloads(), reloads + 2);
    let shown = target(&rig);
    assert_eq!(shown["reloads_per_hour"], 2);
    assert_eq!(shown["reloads"].as_array().unwrap().len(), 2, "{shown}");

    // A person passes, and so does the way back.
    let served = rig.world.served();
    rig.world.write_reload(false);
    rig.force("www").await;
    let plan = rig.tick().await;
    assert!(!healthy(&plan), "{:?}", plan.verdicts);
    let told = rig.told();
    let back = "ok web: service reloaded with the old set";
    assert!(told.iter().any(|line| line == back), "{told:#?}");
    assert_eq!(rig.world.served(), served);
    assert_eq!(rig.world.reloads(), reloads + 4);

    rig.world.write_reload(true);
    rig.clock.set(until);
    assert!(healthy(&rig.settle().await));
    assert_ne!(rig.world.served(), served);
}
