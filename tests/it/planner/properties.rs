//! Properties: over random worlds, and over random events at both machines.

use proptest::prelude::*;

use renewd::model::{
    Cause, ErrorClass, Fingerprint, HostSeed, Order, OrderClosing, OrderEvent, OrderPhase,
    OrderStep, Reason, RevisionId, Rollout, RolloutEvent, RolloutPhase, RolloutStep, Seconds,
    Timestamp,
};
use renewd::plan::order_machine::{self, Timing};
use renewd::plan::{Next, Verdict, open, rollout_machine};

use super::script::obey;
use super::world::World;

proptest! {
    #![proptest_config(config())]

    /// Whatever happens, nothing panics, no plan contradicts itself, every run ends, nothing is applied for twice (all
    /// asserted inside the world), and once everything works again a person's two commands make everything healthy.
    #[test]
    fn a_random_world_comes_to_rest_healthy(commands in prop::collection::vec(command(), 1..40)) {
        let mut world = World::new();
        for line in START {
            obey(&mut world, line);
        }
        for line in &commands {
            if possible(&world, line) {
                obey(&mut world, line);
            }
        }
        for line in MEND {
            obey(&mut world, line);
        }
        // Long enough for every backoff and for a follower to look again.
        let plan = world.run(world.now + Seconds::days(3));
        for (id, verdict) in &plan.verdicts {
            prop_assert!(
                matches!(verdict, Verdict::Healthy { .. } | Verdict::Blocked(_)),
                "{id}: {verdict:?}\n{}", world.log.lines.join("\n")
            );
        }
        for line in ["release t1", "release t2", "force a", "force b", "force c"] {
            if possible(&world, line) {
                obey(&mut world, line);
            }
        }
        let plan = world.run(world.now + Seconds::days(1));
        for (id, verdict) in &plan.verdicts {
            prop_assert!(
                matches!(verdict, Verdict::Healthy { .. }),
                "{id}: {verdict:?}\n{}", world.log.lines.join("\n")
            );
            let newest = &world.snapshot.certificates[id].newest.as_ref().unwrap().id;
            for target in &world.policy.certificates[id].targets {
                prop_assert_eq!(world.services[target].served.get(id), Some(newest));
            }
        }
        prop_assert!(world.snapshot.orders.is_empty());
        prop_assert!(world.snapshot.rollouts.is_empty());
    }

    #[test]
    fn random_events_never_leave_the_order_machine(events in prop::collection::vec(order_event(), 1..30)) {
        let mut order = an_order();
        for (at, (event, step)) in events.into_iter().enumerate() {
            let now = Timestamp(i64::try_from(at).unwrap() * 60);
            let before = order.phase.clone();
            let purchase = matches!(&before, OrderPhase::PurchaseUnclear { purchase, .. } if purchase.absences < 2);
            match order_machine::transition(&order.phase, &event) {
                Ok(phase) => order.phase = phase,
                Err(error) => prop_assert_eq!(error.phase, before.code()),
            }
            if matches!(before, OrderPhase::Closed { .. }) {
                prop_assert_eq!(&order.phase, &before, "a closed order stays closed");
            }
            if purchase {
                let known = matches!(
                    order.phase,
                    OrderPhase::PurchaseUnclear { .. }
                        | OrderPhase::Claiming { purchase: Some(_), .. }
                        | OrderPhase::Entitled { .. }
                        | OrderPhase::Closed { closing: OrderClosing::Abandoned { .. } }
                );
                prop_assert!(known, "a purchase was forgotten: {:?}", order.phase);
            }
            order.started = step.map(|step| renewd::model::Started { step, at: now });
            match order_machine::next(&order, TIMING, &order_machine::Money::default(), Fingerprint([0; 32]), HostSeed(7), now) {
                Next::Step(_) => {}
                Next::Record(event) => {
                    prop_assert!(order_machine::transition(&order.phase, &event).is_ok());
                }
                Next::Wait(waiting) => prop_assert!(waiting.until().is_some_and(|until| until > now)),
                Next::Blocked(blocked) => prop_assert!(blocked.until().is_none_or(|until| until > now)),
                Next::Done => { prop_assert!(matches!(order.phase, OrderPhase::Closed { .. }), "done"); }
            }
        }
    }

    #[test]
    fn random_events_never_leave_the_rollout_machine(events in prop::collection::vec(rollout_event(), 1..30)) {
        let mut rollout = a_rollout();
        let mut was_committed = false;
        for (at, event) in events.into_iter().enumerate() {
            let now = Timestamp(i64::try_from(at).unwrap() * 60);
            let before = rollout.phase.clone();
            match rollout_machine::transition(&rollout.phase, &event) {
                Ok(phase) => rollout.phase = phase,
                Err(error) => prop_assert_eq!(error.phase, before.code()),
            }
            if matches!(before, RolloutPhase::Closed { .. }) {
                prop_assert_eq!(&rollout.phase, &before, "a closed rollout stays closed");
            }
            was_committed |= rollout.phase == RolloutPhase::Committed;
            if let RolloutPhase::Closed { closing } = &rollout.phase {
                use renewd::model::RolloutClosing as Closing;
                let fits = match closing {
                    Closing::Live | Closing::Superseded { committed: true, .. } => was_committed,
                    Closing::Abandoned { .. } | Closing::Superseded { committed: false, .. } => !was_committed,
                    Closing::RolledBack { cause } | Closing::RollbackFailed { cause, .. } => {
                        was_committed || cause.step == RolloutStep::Commit
                    }
                };
                prop_assert!(fits, "{closing:?}");
            }
            match rollout_machine::next(&rollout, Fingerprint([0; 32]), HostSeed(7), now) {
                Next::Step(_) => {}
                Next::Record(event) => {
                    prop_assert!(rollout_machine::transition(&rollout.phase, &event).is_ok());
                }
                Next::Wait(waiting) => prop_assert!(waiting.until().is_some_and(|until| until > now)),
                Next::Blocked(blocked) => prop_assert!(blocked.until().is_none_or(|until| until > now)),
                Next::Done => { prop_assert!(matches!(rollout.phase, RolloutPhase::Closed { .. }), "done"); }
            }
        }
    }
}

/// `PROPTEST_CASES` asks for more than the suite has time for.
pub(super) fn config() -> ProptestConfig {
    let asked = std::env::var("PROPTEST_CASES").ok();
    ProptestConfig {
        cases: asked.map_or(60, |cases| {
            cases.parse().expect("PROPTEST_CASES is a number")
        }),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// Three certificates of all kinds on two targets.
const START: [&str; 4] = [
    "now 2030-01-01",
    "policy a: targets=t1",
    "policy b: targets=t1,t2 key=ccm validity=30d renew_at=10",
    "policy c: targets=t2 order=never names=c.example",
];

/// Everything works again, and everybody is in the policy.
const MEND: [&str; 11] = [
    "mend",
    "open t1",
    "open t2",
    "uncrash",
    "lifetime asked",
    "ca-ends 2100-01-01",
    "pending 0",
    "policy a: targets=t1",
    "policy b: targets=t1,t2 key=ccm validity=30d renew_at=10",
    "policy c: targets=t2 order=never names=c.example",
    "offer c names=*.example lifetime=400d",
];

fn possible(world: &World, line: &str) -> bool {
    let mut words = line.split_whitespace();
    let (verb, subject) = (words.next().unwrap(), words.next().unwrap_or_default());
    match verb {
        "unusable" => world
            .snapshot
            .certificates
            .get(subject)
            .is_some_and(|state| state.newest.is_some()),
        "force" => {
            world.snapshot.certificates.contains_key(subject)
                && world.policy.certificates.contains_key(subject)
        }
        "forget" => world.policy.certificates.contains_key(subject),
        "withdraw" => world.account.offers.contains_key(subject),
        "drift" => world
            .snapshot
            .targets
            .get(subject)
            .is_some_and(|state| state.generation.is_some()),
        "release" => world.snapshot.targets.contains_key(subject),
        "close" => world
            .snapshot
            .targets
            .contains_key(words.nth(3).unwrap_or_default()),
        "rollback" => {
            let target = words.nth(1).unwrap();
            // `renewd rollback` refuses both an open rollout and an expired goal.
            world.snapshot.targets.contains_key(target)
                && world
                    .snapshot
                    .rollouts
                    .values()
                    .all(|rollout| rollout.target.as_str() != target)
                && world.snapshot.targets[target].live.contains_key(subject)
                && before_live(world, subject, target)
                    .is_some_and(|not_after| not_after > world.now)
        }
        _ => true,
    }
}

/// End of validity of the revision before the live one.
fn before_live(world: &World, subject: &str, target: &str) -> Option<Timestamp> {
    let state = &world.snapshot.certificates[subject];
    let live = world.snapshot.targets[target].live.get(subject)?;
    let newest = state.newest.as_ref()?;
    let at = if newest.id == *live {
        0
    } else {
        state
            .earlier
            .iter()
            .position(|earlier| earlier.id == *live)?
            + 1
    };
    state.earlier.get(at).map(|earlier| earlier.not_after)
}

fn command() -> impl Strategy<Value = String> {
    let certificate = || prop::sample::select(vec!["a", "b", "c"]);
    let target = || prop::sample::select(vec!["t1", "t2"]);
    let order_step = prop::sample::select(vec![
        "store-key",
        "submit",
        "locate",
        "resolve",
        "fetch",
        "close",
        "survey",
    ]);
    let rollout_step = prop::sample::select(vec![
        "stage",
        "commit",
        "test",
        "reload",
        "verify",
        "restore",
        "reload-back",
        "verify-back",
        "close",
    ]);
    let class = prop::sample::select(vec![
        "transient",
        "rate-limited",
        "rejected",
        "authentication",
        "configuration",
        "bug",
    ]);
    let class_of_disk = prop::sample::select(vec!["transient", "configuration"]);
    let blamed = prop::sample::select(vec!["a", "b", "c", "a+b", "b+c"]);
    let when = || prop::sample::select(vec!["before", "after"]);
    let yes_no = || prop::sample::select(vec!["yes", "no"]);
    prop_oneof![
        3 => Just("run".to_owned()),
        3 => (1..72_u32).prop_map(|hours| format!("run for {hours}h")),
        3 => (1..1500_u32).prop_map(|hours| format!("advance {hours}h")),
        3 => (order_step.clone(), certificate(), 1..5_u32, class.clone(), 1..9_u32).prop_map(
            |(step, subject, times, class, hours)| {
                format!("fail {step} {subject} times={times} class={class} retry_after={hours}h")
            }
        ),
        4 => (rollout_step.clone(), target(), 1..7_u32, class, yes_no(), prop::sample::select(vec!["up", "down"]))
            .prop_map(|(step, subject, times, class, again, service)| {
                format!("fail {step} {subject} times={times} class={class} again={again} service={service}")
            }),
        3 => (
            prop::sample::select(vec!["stage", "commit", "test", "reload", "verify"]),
            target(), 1..7_u32, class_of_disk, yes_no(),
            prop::sample::select(vec!["named", "unnamed", "everybody"]), blamed,
        )
            .prop_map(|(step, subject, times, class, again, how, who)| {
                format!("fail {step} {subject} times={times} class={class} again={again} {how}={who}")
            }),
        2 => (certificate(), target()).prop_map(|(subject, on)| format!("close /srv of {subject} on {on}")),
        1 => target().prop_map(|target| format!("open {target}")),
        2 => (prop::sample::select(vec!["a", "b"]), yes_no())
            .prop_map(|(subject, effect)| format!("lose-answer {subject} effect={effect}")),
        3 => (order_step, certificate(), when())
            .prop_map(|(step, subject, when)| format!("crash {step} {subject} {when}")),
        3 => (rollout_step, target(), when())
            .prop_map(|(step, subject, when)| format!("crash {step} {subject} {when}")),
        1 => Just("mend".to_owned()),
        1 => (1..100_u32).prop_map(|days| format!("lifetime {days}d")),
        1 => prop::sample::select(vec!["2030-03-01", "2030-06-01", "2100-01-01"])
            .prop_map(|at| format!("ca-ends {at}")),
        1 => (0..4_u32).prop_map(|looks| format!("pending {looks}")),
        2 => (1..100_u32).prop_map(|days| format!("offer c names=*.example lifetime={days}d")),
        1 => Just("withdraw c".to_owned()),
        2 => certificate().prop_map(|subject| format!("force {subject}")),
        2 => (certificate(), target()).prop_map(|(subject, on)| format!("rollback {subject} on {on}")),
        1 => target().prop_map(|target| format!("release {target}")),
        1 => certificate().prop_map(|subject| format!("unusable {subject} it is gone")),
        1 => target().prop_map(|target| format!("drift {target} file-missing - a file is gone")),
        1 => certificate().prop_map(|subject| format!("forget {subject}")),
        1 => (1..4_u32).prop_map(|rev| format!("issuer lab: rev={rev}")),
        1 => (target(), 1..4_u32).prop_map(|(target, rev)| format!("target {target}: rev={rev}")),
        1 => prop::sample::select(vec![
            "policy a: targets=t1 names=a.example,more.example",
            "policy a: targets=t1,t2 algorithm=rsa-4096",
            "policy a: targets=t1 issuer=other",
            "policy a: targets=t1 renew_at=200",
            "policy a: order=never targets=t1 names=a.example",
            "policy b: targets=t2",
            "policy c: targets=t1 order=never names=c.example,d.example",
        ]).prop_map(str::to_owned),
    ]
}

const TIMING: Timing = Timing {
    timeout: Seconds(30),
    settle: Seconds(120),
};

fn an_order() -> Order {
    let mut world = World::new();
    obey(&mut world, "issuer prod: kind=scm purchase=DV_SSL_CERT");
    obey(&mut world, "policy a: issuer=prod");
    let id = renewd::model::OrderId::new("o1").unwrap();
    let state = renewd::model::CertificateState::default();
    let certificate = &world.policy.certificates["a"];
    open::order(
        id,
        &world.policy,
        certificate,
        &state,
        Reason::NoRevision,
        Timestamp(0),
    )
}

fn a_rollout() -> Rollout {
    let mut world = World::new();
    obey(&mut world, "target web:");
    open::rollout(
        renewd::model::RolloutId::new("p1").unwrap(),
        &world.policy.targets["web"],
        &renewd::model::TargetState::default(),
        std::collections::BTreeMap::new(),
        std::collections::BTreeMap::new(),
        1,
        Timestamp(0),
    )
}

fn at() -> impl Strategy<Value = Timestamp> {
    (0..3000_i64).prop_map(Timestamp)
}

fn order_event() -> impl Strategy<Value = (OrderEvent, Option<OrderStep>)> {
    let revision =
        || prop::sample::select(vec!["r1", "r2"]).prop_map(|id| RevisionId::new(id).unwrap());
    let closing = prop_oneof![
        revision().prop_map(|revision| OrderClosing::Fulfilled { revision }),
        Just(OrderClosing::Failed {
            class: ErrorClass::Rejected,
            message: String::new()
        }),
        Just(OrderClosing::Abandoned {
            message: String::new()
        }),
    ];
    let event = prop_oneof![
        2 => Just(OrderEvent::KeyStored { spki: Fingerprint([1; 32]) }),
        2 => at().prop_map(|poll_after| OrderEvent::Accepted { reference: "ref".to_owned(), poll_after }),
        2 => (at(), at()).prop_map(|(submitted_at, look_at)| OrderEvent::AnswerLost { submitted_at, look_at, supplement: None }),
        4 => (at(), at(), any::<bool>()).prop_map(|(asked_at, look_at, gone)| {
            OrderEvent::Absent { asked_at, look_at, gone }
        }),
        2 => Just(OrderEvent::DefinitelyAbsent),
        1 => at().prop_map(|poll_after| OrderEvent::NotYet { poll_after, review: renewd::model::Review::default() }),
        1 => revision().prop_map(|revision| OrderEvent::Issued { revision }),
        6 => public_event(),
        1 => closing.prop_map(|closing| OrderEvent::Closed { closing }),
    ];
    (
        event,
        prop::option::of(prop::sample::select(OrderStep::ALL.to_vec())),
    )
}

/// What only an order of a public certificate meets.
fn public_event() -> impl Strategy<Value = OrderEvent> {
    use renewd::model::{DomainMethod, DomainProof, Review, Spent, ValidationId, Want};
    let reference = || "scs1".to_owned();
    let want = prop::sample::select(vec![
        Want::Entitlement,
        Want::Successor {
            not_after: Timestamp(2_000_000),
        },
        Want::Person {
            detail: String::new(),
        },
    ]);
    let proof = |value: &str| DomainProof {
        domain: "a.example".to_owned(),
        method: DomainMethod::Dns,
        place: "_dnsauth.a.example".to_owned(),
        record_type: "TXT".to_owned(),
        value: value.to_owned(),
    };
    let proof = prop::sample::select(vec![proof("one"), proof("two")]);
    prop_oneof![
        at().prop_map(move |confirm_at| OrderEvent::Claimed {
            reference: reference(),
            confirm_at
        }),
        Just(OrderEvent::Confirmed),
        at().prop_map(|look_at| OrderEvent::Yielded { look_at }),
        at().prop_map(move |poll_after| OrderEvent::Adopted {
            reference: reference(),
            spki: None,
            poll_after
        }),
        (want, at()).prop_map(|(want, look_at)| OrderEvent::Wanting { want, look_at }),
        at().prop_map(|looked_at| OrderEvent::NothingFree {
            listed: std::collections::BTreeSet::new(),
            looked_at,
            spent: Spent::default(),
        }),
        Just(OrderEvent::Bought {
            reference: reference()
        }),
        (at(), at(), any::<bool>()).prop_map(|(began_at, decisive_at, automatic_payment)| {
            OrderEvent::PurchaseLost {
                began_at,
                decisive_at,
                automatic_payment,
            }
        }),
        (at(), at()).prop_map(|(asked_at, look_at)| OrderEvent::NotBought { asked_at, look_at }),
        at().prop_map(|look_at| OrderEvent::PurchaseUntold { look_at }),
        Just(OrderEvent::DefinitelyNotBought),
        at().prop_map(move |poll_after| OrderEvent::Supplemented {
            reference: reference(),
            spki: None,
            poll_after
        }),
        (at(), at()).prop_map(move |(submitted_at, look_at)| OrderEvent::AnswerLost {
            submitted_at,
            look_at,
            supplement: Some(Box::new(renewd::model::Supplement {
                reference: reference(),
                spki: None,
                adds: renewd::model::SubjectAltNames::default(),
            })),
        }),
        (proof, at()).prop_map(|(proof, poll_after)| OrderEvent::ProofWanted {
            by: ValidationId::new("zone").unwrap(),
            proofs: vec![proof],
            review: Review::default(),
            poll_after,
        }),
        (at(), at()).prop_map(|(at, examine_at)| OrderEvent::Published { at, examine_at }),
        at().prop_map(|at| OrderEvent::Visible { at }),
        Just(OrderEvent::Retracted),
        Just(OrderEvent::Withdrawn),
        Just(OrderEvent::LeftBehind {
            what: "a record".to_owned(),
        }),
    ]
}

fn rollout_event() -> impl Strategy<Value = RolloutEvent> {
    let failed = (
        prop::sample::select(RolloutStep::ALL.to_vec()),
        at(),
        any::<bool>(),
    )
        .prop_map(|(step, look_at, restorable)| RolloutEvent::Failed {
            cause: Cause {
                step,
                class: ErrorClass::Configuration,
                message: String::new(),
                output: String::new(),
                named: std::collections::BTreeSet::new(),
                strange: std::collections::BTreeMap::new(),
                refused: false,
                probe: renewd::model::ProbeFault::None,
            },
            look_at,
            restorable,
        });
    prop_oneof![
        2 => Just(RolloutEvent::Staged),
        2 => Just(RolloutEvent::PreHookPassed),
        2 => Just(RolloutEvent::PostHookPassed),
        2 => Just(RolloutEvent::FailureHookEnded { trouble: None }),
        2 => Just(RolloutEvent::Committed),
        2 => Just(RolloutEvent::Tested),
        2 => Just(RolloutEvent::Reloaded),
        2 => Just(RolloutEvent::Verified { reports: Vec::new() }),
        2 => failed,
        2 => Just(RolloutEvent::Restored),
        2 => any::<bool>().prop_map(|refused| RolloutEvent::ReloadedBack { refused }),
        2 => Just(RolloutEvent::VerifiedBack { reports: vec![], blind: false, strange: std::collections::BTreeMap::new() }),
        1 => Just(RolloutEvent::Superseded { message: String::new() }),
        2 => Just(RolloutEvent::Closed),
    ]
}
