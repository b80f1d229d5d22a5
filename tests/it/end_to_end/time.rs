//! Time travel: what is obtained today, and what becomes of it in the months after.

use renewd::engine::{Begun, Patience};
use renewd::model::{Blocked, Heard, JobName, KeyAlgorithm, Seconds, Timestamp};
use renewd::pki::facts;
use renewd::plan::{Plan, Verdict};

use crate::support::ccm::Wanted;
use crate::support::engine::{Rig, due, healthy, id};
use crate::support::world::NAME;

const START: &str = "2027-04-01";

fn start() -> Wanted {
    Wanted::new().at(START)
}

/// The served certificate as it lies on disk.
fn live(rig: &Rig) -> renewd::model::CertificateFacts {
    let text = std::fs::read_to_string(rig.world.loose().0).unwrap();
    facts(&renewd::pki::pem::certificates(&text).unwrap()[0]).unwrap()
}

async fn issued(rig: &Rig) -> usize {
    rig.world.ccm.issued(NAME).await
}

fn said<'a>(told: &'a [String], what: &str) -> Vec<&'a String> {
    told.iter().filter(|line| line.contains(what)).collect()
}

/// The present policy, changed in one place.
fn rewrite(rig: &Rig, from: &str, to: &str) {
    let old = rig.world.policy();
    assert!(old.contains(from), "{old}");
    rig.world.agent.write_policy(&old.replace(from, to));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_renewed_at_its_moment_and_not_before() {
    let rig = Rig::live(start()).await;
    let first = rig.world.served();
    assert_eq!(first, live(&rig).serial);
    let plan = rig.tick().await;
    let renew_at = due(&plan, "www");
    let not_after = live(&rig).not_after;
    assert!(renew_at <= not_after - Seconds::days(10), "{renew_at}");
    assert!(renew_at >= not_after - Seconds::days(12), "{renew_at}");
    assert!(plan.next_wake <= renew_at, "it would be missed");

    let mut moment = rig.clock_now() + Seconds::days(1);
    while moment < renew_at {
        rig.clock.set(moment);
        assert_eq!(due(&rig.tick().await, "www"), renew_at);
        moment = moment + Seconds::days(1);
    }
    rig.clock.set(renew_at - Seconds(1));
    rig.tick().await;
    assert_eq!(rig.told(), Vec::<String>::new(), "nothing was due");
    assert_eq!((issued(&rig).await, rig.world.reloads()), (1, 1));

    let key = live(&rig).spki;
    rig.clock.set(renew_at);
    let plan = rig.tick().await;
    assert!(healthy(&plan), "{:?}", plan.verdicts);
    let told = rig.told();
    assert_eq!(said(&told, "order opened: renewal is due since").len(), 1);
    assert_eq!((issued(&rig).await, rig.world.reloads()), (2, 2));
    assert_eq!(rig.world.served(), live(&rig).serial);
    assert_ne!(rig.world.served(), first);
    assert_ne!(live(&rig).spki, key, "a new key with each renewal");
    assert!(due(&plan, "www") > renew_at + Seconds::days(18));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_to_be_kept_is_kept_over_renewals() {
    let rig = Rig::live(start()).await;
    let (first, key) = (rig.world.served(), live(&rig).spki);
    let validity = "validity = \"30d\"";
    rewrite(&rig, validity, &format!("{validity}\nrekey = false"));
    let plan = rig.tick().await;
    assert_eq!(issued(&rig).await, 1, "the rule is for the next renewal");
    rig.clock.set(due(&plan, "www"));
    assert!(healthy(&rig.tick().await));
    assert_eq!(issued(&rig).await, 2);
    assert_ne!(rig.world.served(), first);
    assert_eq!(rig.world.served(), live(&rig).serial);
    assert_eq!(live(&rig).spki, key);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_policy_asks_for_anew_is_ordered_at_once_and_the_reason_told() {
    let rig = Rig::live(start()).await;
    let more = format!("names = [\"{NAME}\", \"api.example.test\"]");
    let less = format!("names = [\"{NAME}\"]");
    let other = format!("[certificate.www]\nissuer = \"other\"\n{less}");
    let second_issuer = rig.world.issuer().replace("pca.corp", "pca.other");
    let changes = [
        (less.clone(), more, "it does not name api.example.test"),
        (less.clone(), less.clone(), "it names more than the policy"),
        (
            less.clone(),
            format!("{less}\nkey_algorithm = \"rsa-2048\""),
            "the policy wants another kind of key",
        ),
        (
            format!("[certificate.www]\nissuer = \"corp\"\n{less}"),
            format!("{second_issuer}\n{other}\nkey_algorithm = \"rsa-2048\""),
            "the policy names another issuer",
        ),
    ];
    for (times, (from, to, reason)) in changes.iter().enumerate() {
        rewrite(&rig, from, to);
        let plan = rig.tick().await;
        let told = rig.told();
        assert!(healthy(&plan), "{told:#?}");
        let wanted = format!("ok www: order opened: {reason}");
        assert!(told.contains(&wanted), "{wanted} is not in {told:#?}");
        assert_eq!(issued(&rig).await, times + 2);
        assert_eq!(rig.world.reloads(), times + 2);
        assert_eq!(rig.world.served(), live(&rig).serial);
        assert!(healthy(&rig.tick().await));
        assert_eq!(rig.told(), Vec::<String>::new(), "once is enough");
    }
    assert_eq!(live(&rig).key_algorithm, Some(KeyAlgorithm::Rsa2048));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_slept_too_long_says_how_bad_it_is_and_mends_it() {
    let rig = Rig::live(start()).await;
    for (asleep, reason) in [
        (Seconds::days(28), "it expires soon, at "),
        (Seconds::days(40), "it expired at "),
    ] {
        let (before, not_after) = (issued(&rig).await, live(&rig).not_after);
        rig.clock.advance(asleep);
        let plan = rig.tick().await;
        let told = rig.told();
        assert!(healthy(&plan), "{told:#?}");
        let wanted = format!("ok www: order opened: {reason}{not_after}");
        assert!(told.contains(&wanted), "{wanted} is not in {told:#?}");
        assert_eq!(issued(&rig).await, before + 1);
        assert_eq!(rig.world.served(), live(&rig).serial);
        assert!(live(&rig).not_after > rig.clock_now());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_past_the_end_is_told_three_times_and_ends_by_itself() {
    let place = tempfile::tempdir().unwrap();
    let state = place.path().join("ccm");
    let mut rig = Rig::live(start().state(&state)).await;
    let old = rig.world.served();
    let again = || Wanted::new().clock(std::sync::Arc::clone(&rig.clock));
    let there = again()
        .state(&state)
        .port(rig.world.ccm.running.address().port());
    // Another server takes its place in the test, and nobody knows that one's address.
    let elsewhere = again().start().await;
    std::mem::replace(&mut rig.world.ccm, elsewhere)
        .stop()
        .await;

    let not_after = live(&rig).not_after;
    let mut plan = rig.tick().await;
    let mut told = Vec::new();
    let mut attempts = 0;
    while rig.clock_now() < not_after + Seconds::days(3) {
        rig.wake(&plan);
        plan = rig.tick().await;
        let new = rig.told();
        attempts += said(&new, "fail www: submit failed (transient)").len();
        told.extend(new);
    }
    assert_eq!(rig.world.served(), old, "there is nothing better to serve");
    assert_eq!(said(&told, "order opened").len(), 1, "{told:#?}");
    assert!(
        (10..100).contains(&attempts),
        "{attempts} attempts in two weeks"
    );
    let alerts: Vec<&str> = said(&told, "alert ")
        .iter()
        .map(|line| line.split(':').next().unwrap())
        .collect();
    let count = |how: &str| alerts.iter().filter(|alert| **alert == how).count();
    assert_eq!(
        count("alert critical"),
        5,
        "three days, and 7, 3 and 1 of 90, and the end: {told:#?}"
    );
    let warnings = count("alert warning");
    assert!(
        (3..=4).contains(&warnings),
        "failing, still failing, 14 of 90: {told:#?}"
    );

    rig.world.ccm = there.start().await;
    rig.settle().await;
    let told = rig.told();
    assert_eq!(said(&told, "order opened").len(), 0, "the same order");
    assert_eq!(issued(&rig).await, 2);
    assert_ne!(rig.world.served(), old);
    assert_eq!(rig.world.served(), live(&rig).serial);
    let resolved = said(&told, "resolved: ").len();
    assert!(resolved >= 2, "{told:#?}");
    let engine = rig.engine().await;
    assert_eq!(engine.store.open_alerts().await.unwrap(), []);
}

/// The job of the schedule.
async fn run_check(rig: &Rig) {
    let engine = rig.engine().await;
    let mut snapshot = engine.observe().await.unwrap();
    let begun = Begun::now(&*engine.clock);
    let run = engine.run_jobs(&[JobName::Check], begun, &mut snapshot, Patience::NONE);
    run.await.unwrap();
}

/// An issuer has said what time it is: the clock that is set by hand hears nothing by itself.
async fn vouch(rig: &Rig) {
    let (date, at) = (rig.clock_now(), rig.clock_now());
    let engine = rig.engine().await;
    engine.store.time_heard(Heard { date, at }).await.unwrap();
}

/// The revisions on disk.
fn stored(rig: &Rig) -> usize {
    let directory = rig.world.agent.state().join("revisions/www");
    std::fs::read_dir(directory).unwrap().count()
}

#[tokio::test(flavor = "multi_thread")]
async fn revisions_go_by_count_and_by_age_and_what_is_served_stays() {
    let rig = Rig::live(start()).await;
    for more in 1..=7 {
        rig.clock.advance(Seconds::minutes(10));
        rig.force("www").await;
        assert!(healthy(&rig.tick().await));
        assert_eq!(
            stored(&rig),
            (more + 1).min(6),
            "the newest and five before it"
        );
    }
    vouch(&rig).await;
    // Issued within an hour, all ended after thirty days; the host slept, and its CA is away.
    let (served, end) = (rig.world.served(), live(&rig).not_after);
    rewrite(&rig, &rig.world.ccm.endpoint(), "http://127.0.0.1:1");
    rig.clock.set(end + Seconds::days(31));
    run_check(&rig).await;
    assert_eq!(stored(&rig), 6, "no issuer vouches for this time");
    assert_eq!(rig.world.served(), served);
    rig.world.agent.write_policy(&rig.world.policy());
    rig.clock.advance(Seconds::days(1));
    rig.settle().await;
    assert_ne!(rig.world.served(), served);
    vouch(&rig).await;
    run_check(&rig).await;
    assert_eq!(stored(&rig), 1, "nothing serves the old one any more");
}

fn blocked(plan: &Plan) -> bool {
    matches!(
        &plan.verdicts[&id("www")],
        Verdict::Blocked(Blocked::IssuerShortens { .. })
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_that_ends_soon_is_told_once_and_not_asked_again_and_again() {
    let mut rig = Rig::new(start()).await;
    // The CA was made at the start for ten years; seventeen days of them are left.
    rig.clock.set(Timestamp::parse("2037-03-15").unwrap());
    rig.tick().await;
    rig.world.nginx.start();
    rig.clock.advance(Seconds::minutes(2));
    let mut plan = rig.tick().await;
    assert!(healthy(&plan), "{:?}", plan.verdicts);
    let end = live(&rig).not_after;
    assert!(end < Timestamp::parse("2037-04-02").unwrap(), "it was cut");

    rig.clock.set(due(&plan, "www"));
    rig.told();
    plan = rig.tick().await;
    assert_eq!(issued(&rig).await, 2, "once it may be worth trying");
    assert_eq!(live(&rig).not_after, end);
    let mut told = rig.told();
    let mut blocks = 0;
    while plan.next_wake < end {
        rig.wake(&plan);
        plan = rig.tick().await;
        blocks += usize::from(blocked(&plan));
        told.extend(rig.told());
    }
    assert!(blocks > 0, "{told:#?}");
    assert_eq!(issued(&rig).await, 2, "{told:#?}");
    assert_eq!(rig.world.reloads(), 2);
    let alerts = said(&told, "the issuer gives no longer validity");
    assert_eq!(alerts.len(), 1, "{told:#?}");
    assert!(alerts[0].starts_with("alert warning"), "{told:#?}");

    // A person knows better, for once.
    rig.force("www").await;
    rig.tick().await;
    assert_eq!(issued(&rig).await, 3);
    assert_eq!(rig.world.served(), live(&rig).serial);
}
