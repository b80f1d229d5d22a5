//! Unit tests of what only orders of public certificates do.

use super::*;
use crate::model::{
    CertificateState, DomainProof, DomainType, ErrorClass, Fingerprint, HostSeed, OrderClosing,
    OrderId, Product, PublicRequest, Reason, RevisionId, Started, ValidationId,
};
use crate::plan::order_machine::{next as machine, on_error, transition};
use crate::plan::{OnError, Trouble, entitlements, open, testing};

const TIMING: Timing = Timing {
    timeout: Seconds(30),
    settle: Seconds(120),
};
const POLICY: Fingerprint = Fingerprint([1; 32]);
const KEY: Fingerprint = Fingerprint([5; 32]);
const NOW: Timestamp = Timestamp(1_000_000_000);

fn order(phase: OrderPhase) -> Order {
    let (certificate, state) = (testing::certificate("www"), CertificateState::default());
    let policy = testing::policy();
    let id = OrderId::new("o1").unwrap();
    let mut order = open::order(id, &policy, &certificate, &state, Reason::NoRevision, NOW);
    order.request.public = Some(Box::new(PublicRequest {
        buying: Some(Buying {
            product: Product {
                brand: "GEOTRUST".to_owned(),
                kind: "DV_SSL_CERT".to_owned(),
                domain_type: DomainType::SingleDomain,
                domains: 1,
                years: 1,
                kinds: None,
            },
            automatic_payment: true,
            budget: Budget {
                per_day: 1,
                per_month: 3,
            },
            reserve: false,
        }),
        validation: ValidationId::new("zone").unwrap(),
        kind: Some("DV_SSL_CERT".to_owned()),
        replaces: None,
        replaces_until: None,
        supplements: None,
    }));
    order.phase = phase;
    order
}

fn bare_order(spent: Spent) -> Order {
    order(OrderPhase::Bare {
        listed: BTreeSet::new(),
        looked_at: NOW,
        spent,
    })
}

fn without_payment(mut order: Order) -> Order {
    let public = order.request.public.as_mut().unwrap();
    public.buying.as_mut().unwrap().automatic_payment = false;
    order
}

fn step(order: &Order, money: &Money<'_>, now: Timestamp) -> Next<OrderStep, OrderEvent> {
    machine(order, TIMING, money, POLICY, HostSeed(7), now)
}

fn trouble(class: ErrorClass) -> Trouble {
    Trouble {
        class,
        message: "no".to_owned(),
        output: String::new(),
        retry_after: None,
    }
}

fn lost(order: &mut Order) {
    order.started = Some(Started {
        step: OrderStep::Buy,
        at: NOW,
    });
    let Next::Record(event) = step(order, &Money::default(), NOW) else {
        panic!("a purchase in doubt comes first");
    };
    order.phase = transition(&order.phase, &event).unwrap();
    order.started = None;
}

fn proof(domain: &str, value: &str, method: DomainMethod) -> DomainProof {
    DomainProof {
        domain: domain.to_owned(),
        method,
        place: format!("_dnsauth.{domain}"),
        record_type: "TXT".to_owned(),
        value: value.to_owned(),
    }
}

fn submitted_with(proof: Option<ProofState>) -> OrderPhase {
    OrderPhase::Submitted {
        spki: Some(KEY),
        reference: "scs1".to_owned(),
        poll_after: NOW,
        public: true,
        proof: proof.map(Box::new),
        review: Review::default(),
    }
}

fn wanted(value: &str, method: DomainMethod, at: Timestamp) -> OrderEvent {
    OrderEvent::ProofWanted {
        by: ValidationId::new("zone").unwrap(),
        proofs: vec![proof("a.example", value, method)],
        review: Review {
            status: "CHECKING_DOMAIN".to_owned(),
            since: at,
        },
        poll_after: at + Seconds(60),
    }
}

fn state_of(phase: &OrderPhase) -> &ProofState {
    let OrderPhase::Submitted {
        proof: Some(state), ..
    } = phase
    else {
        panic!("no proof in {}", phase.code());
    };
    state
}

#[test]
fn a_definite_no_is_two_complete_answers_ten_minutes_apart_and_ten_after_the_time_out() {
    let mut order = bare_order(Spent::default());
    lost(&mut order);
    let decisive = NOW + Seconds(30) + Seconds::minutes(10);
    let (mut now, mut counted) = (NOW, Vec::new());
    for _ in 0..40 {
        match step(&order, &Money::default(), now) {
            Next::Step(OrderStep::Trace) => {
                let before = absences(&order);
                let event = not_bought(&order, now);
                order.phase = transition(&order.phase, &event).unwrap();
                if absences(&order) > before {
                    counted.push(now);
                }
            }
            Next::Wait(Waiting::Purchase { until }) => now = until,
            Next::Record(OrderEvent::DefinitelyNotBought) => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(counted, [decisive, decisive + Seconds::minutes(10)]);
    let event = OrderEvent::DefinitelyNotBought;
    order.phase = transition(&order.phase, &event).unwrap();
    assert_eq!(order.phase, OrderPhase::Opened, "it looks again first");
}

fn absences(order: &Order) -> u32 {
    match &order.phase {
        OrderPhase::PurchaseUnclear { purchase, .. } => purchase.absences,
        other => panic!("{}", other.code()),
    }
}

#[test]
fn answers_that_follow_each_other_closely_count_once_whoever_asks() {
    let mut order = bare_order(Spent::default());
    lost(&mut order);
    let decisive = NOW + Seconds(30) + Seconds::minutes(10);
    for (after, count) in [(-1, 0), (0, 1), (1, 1), (599, 1), (600, 2)] {
        let event = not_bought(&order, Timestamp(decisive.0 + after));
        order.phase = transition(&order.phase, &event).unwrap();
        assert_eq!(absences(&order), count, "{after}");
    }
}

#[test]
fn an_application_that_is_only_paid_for_again_was_taken_back_once_a_submit_has_settled() {
    let review = |status: &str, at: Timestamp| Review {
        status: status.to_owned(),
        since: at,
    };
    let told = |order: &mut Order, status, at| {
        let event = OrderEvent::NotYet {
            poll_after: at + Seconds(60),
            review: review(status, at),
        };
        order.phase = transition(&order.phase, &event).unwrap();
    };
    let mut order = order(submitted_with(None));
    let is_back = |order: &Order, status, at| was_taken_back(order, &review(status, at), TIMING);
    let late = NOW + Seconds::days(3);
    assert!(!is_back(&order, "PAID", late), "the first answer");
    told(&mut order, "CHECKING_DOMAIN", NOW);
    assert!(!is_back(&order, "PAID", late), "it was not so before");
    told(&mut order, "PAID", late);
    let settled = late + Seconds::minutes(10);
    for (status, at, back) in [
        ("PAID", settled - Seconds(1), false),
        ("PAID", settled, true),
        ("CHECKING_DOMAIN", settled, false),
    ] {
        assert_eq!(is_back(&order, status, at), back, "{status} {at}");
    }
    let refused = trouble(ErrorClass::Rejected);
    let decided = on_error(
        &order,
        OrderStep::Fetch,
        refused,
        false,
        TIMING,
        POLICY,
        settled,
    );
    let OnError::Event(event) = decided else {
        panic!("it is polled for ever: {decided:?}");
    };
    let after = transition(&order.phase, &event).unwrap();
    assert!(
        matches!(after, OrderPhase::Closed { .. }),
        "the next order looks"
    );
}

#[test]
fn an_issuer_that_settles_later_than_ten_minutes_is_waited_for() {
    let slow = Timing {
        settle: Seconds::hours(1),
        ..TIMING
    };
    let event = purchase_lost(&bare_order(Spent::default()), NOW, slow);
    let OrderEvent::PurchaseLost { decisive_at, .. } = event else {
        panic!("{event:?}");
    };
    assert_eq!(decisive_at, NOW + Seconds(3630));
}

#[test]
fn what_hinders_a_trace_is_never_an_absence() {
    let mut order = bare_order(Spent::default());
    lost(&mut order);
    // 401, 403, 429, 5xx, and listings that stop half-way.
    for class in ErrorClass::ALL {
        for unknown in [false, true] {
            let decided = on_error(
                &order,
                OrderStep::Trace,
                trouble(class),
                unknown,
                TIMING,
                POLICY,
                NOW + Seconds::hours(9),
            );
            assert!(matches!(decided, OnError::Retry(_)), "{class} {unknown}");
        }
    }
    assert!(transition(&order.phase, &OrderEvent::DefinitelyNotBought).is_err());
    let failed = OrderEvent::Closed {
        closing: OrderClosing::Failed {
            class: ErrorClass::Rejected,
            message: String::new(),
        },
    };
    assert!(
        transition(&order.phase, &failed).is_err(),
        "another order would buy again"
    );
}

#[test]
fn without_automatic_payment_a_lost_answer_stays_a_persons() {
    let mut order = without_payment(bare_order(Spent::default()));
    lost(&mut order);
    assert!(is_buying(&order));
    let mut now = NOW + Seconds::minutes(11);
    for _ in 0..50 {
        let event = not_bought(&order, now);
        order.phase = transition(&order.phase, &event).unwrap();
        assert!(transition(&order.phase, &OrderEvent::DefinitelyNotBought).is_err());
        let Next::Blocked(Blocked::PurchaseUnclear { since, until }) =
            step(&order, &Money::default(), now + Seconds(1))
        else {
            panic!("not a person's");
        };
        assert_eq!(since, NOW);
        now = until;
    }
    assert!(!is_buying(&order), "nobody else is held up by it");
    let found = OrderEvent::Bought {
        reference: "scs1".to_owned(),
    };
    assert!(transition(&order.phase, &found).is_ok(), "it was paid");
}

#[test]
fn a_failed_purchase_means_what_is_known_of_its_effect() {
    let mut order = bare_order(Spent::default());
    order.started = Some(Started {
        step: OrderStep::Buy,
        at: NOW - Seconds(30),
    });
    let decide = |class, unknown| {
        let trouble = trouble(class);
        on_error(
            &order,
            OrderStep::Buy,
            trouble,
            unknown,
            TIMING,
            POLICY,
            NOW,
        )
    };
    for class in ErrorClass::ALL {
        assert_eq!(
            decide(class, true),
            OnError::Event(OrderEvent::PurchaseLost {
                began_at: NOW - Seconds(30),
                decisive_at: NOW + Seconds::minutes(10),
                automatic_payment: true,
            }),
        );
    }
    assert!(matches!(
        decide(ErrorClass::RateLimited, false),
        OnError::Retry(_)
    ));
    let refused = decide(ErrorClass::Rejected, false);
    assert!(matches!(refused, OnError::Event(OrderEvent::Closed { .. })));
}

#[test]
fn the_budget_is_the_larger_of_journal_and_account() {
    let budget = Budget {
        per_day: 2,
        per_month: 3,
    };
    let ago = |hours| NOW - Seconds::hours(hours);
    let until = |journal: &[Timestamp], account: &[Timestamp]| {
        allowed_at(budget, journal, account, NOW).map(|waiting| waiting.until().unwrap())
    };
    let day = Seconds::days(1);
    let month = Seconds::days(30);
    assert_eq!(until(&[], &[]), None);
    assert_eq!(until(&[ago(2)], &[ago(3)]), None);
    assert_eq!(until(&[ago(3), ago(2)], &[]), Some(ago(3) + day));
    assert_eq!(until(&[ago(9)], &[ago(3), ago(2)]), Some(ago(3) + day));
    assert_eq!(until(&[ago(24), ago(2)], &[]), None, "a day ago is over");
    let old = [ago(500), ago(400), ago(300)];
    assert_eq!(until(&old, &[]), Some(ago(500) + month));
    assert_eq!(until(&[], &old), Some(ago(500) + month));
    assert_eq!(until(&[ago(720), ago(400), ago(300)], &[]), None);
    let ahead = [NOW + Seconds::days(4000), NOW + Seconds::days(4001)];
    assert_eq!(
        until(&ahead, &[]),
        Some(NOW + day),
        "a wrong clock counts, for no longer"
    );
    let none = Budget {
        per_day: 0,
        per_month: 9,
    };
    assert!(allowed_at(none, &[], &[], NOW).is_some());
    assert_eq!(spent(&[ago(2)], &old, NOW), (1, 3));
}

#[test]
fn bought_is_only_by_a_journal_that_can_be_believed_after_a_look_that_is_fresh() {
    let order = bare_order(Spent::default());
    let free = Money::default();
    assert_eq!(step(&order, &free, NOW), Next::Step(OrderStep::Buy));
    let look = Next::Step(OrderStep::Look);
    assert_eq!(step(&order, &free, NOW + Seconds(301)), look);
    assert_eq!(
        step(&order, &free, NOW - Seconds(1)),
        look,
        "the clock was set back"
    );
    let stale = Stale::OtherMachine;
    let copied = Money {
        stale: Some(&stale),
        ..free
    };
    let blocked = Next::Blocked(Blocked::StaleJournal { how: stale.clone() });
    assert_eq!(step(&order, &copied, NOW), blocked);
    assert_eq!(step(&order, &copied, NOW + Seconds(3599)), blocked);
    assert_eq!(looks_again(&order), Some(NOW + Seconds::hours(1)));
    assert_eq!(
        step(&order, &copied, NOW + Seconds(3600)),
        look,
        "a person may have bought"
    );
    let references: BTreeSet<String> = ["scs9".to_owned()].into();
    let unknown = bare_order(Spent {
        unknown: references.clone(),
        ..Spent::default()
    });
    let how = Stale::UnknownPurchases { references };
    let blocked = Next::Blocked(Blocked::StaleJournal { how });
    assert_eq!(step(&unknown, &free, NOW), blocked);
    let busy = Money { busy: true, ..free };
    assert!(matches!(
        step(&order, &busy, NOW),
        Next::Wait(Waiting::Purchase { .. })
    ));
    let journal = [NOW - Seconds(5)];
    let bought = Money {
        journal: &journal,
        ..free
    };
    assert!(matches!(
        step(&order, &bought, NOW),
        Next::Wait(Waiting::PurchaseBudget { .. })
    ));
}

#[test]
fn nothing_is_bought_without_leave_or_while_certificates_are_to_come() {
    let mut order = bare_order(Spent::default());
    let not_after = NOW + Seconds::days(25);
    let money = Money {
        successor: Some(not_after),
        ..Money::default()
    };
    let Next::Record(event) = step(&order, &money, NOW) else {
        panic!("it would buy");
    };
    order.phase = transition(&order.phase, &event).unwrap();
    let asked = |order: &Order, now| step(order, &Money::default(), now);
    assert!(matches!(
        asked(&order, NOW),
        Next::Wait(Waiting::Successor { .. })
    ));
    // Twenty days before the end it is a person's, and stays so.
    for days in [20, 3, -40] {
        let now = not_after - Seconds::days(days);
        if let OrderPhase::Seeking { look_at, .. } = &mut order.phase {
            *look_at = now + Seconds(60);
        }
        assert!(
            matches!(
                asked(&order, now),
                Next::Blocked(Blocked::SuccessorOverdue { .. })
            ),
            "{days}"
        );
    }
    let mut order = bare_order(Spent::default());
    order.request.public.as_mut().unwrap().buying = None;
    let Next::Record(OrderEvent::Wanting { want, .. }) = asked(&order, NOW) else {
        panic!("it would buy");
    };
    assert_eq!(want, Want::Entitlement);
}

#[test]
fn what_was_left_unused_is_looked_for_before_another_is_bought() {
    let unused = Unused {
        reference: "scs1".to_owned(),
        spki: None,
        at: NOW,
    };
    let money = Money {
        unused: Some(&unused),
        ..Money::default()
    };
    let at = |listed: &[&str], minutes| {
        let now = NOW + Seconds::minutes(minutes);
        let listed = listed.iter().map(|one| (*one).to_owned()).collect();
        let order = order(OrderPhase::Bare {
            listed,
            looked_at: now,
            spent: Spent::default(),
        });
        step(&order, &money, now)
    };
    assert!(matches!(
        at(&[], 74),
        Next::Wait(Waiting::Entitlement { .. })
    ));
    assert_eq!(at(&[], 75), Next::Step(OrderStep::Buy));
    assert!(matches!(
        at(&["scs1"], 359),
        Next::Wait(Waiting::Entitlement { .. })
    ));
    assert_eq!(at(&["scs1"], 360), Next::Step(OrderStep::Buy));
}

#[test]
fn a_claim_that_is_yielded_goes_back_to_what_was_looked_for() {
    let claim = OrderEvent::Claimed {
        reference: "scs1".to_owned(),
        confirm_at: NOW + Seconds(30),
    };
    let yields = OrderEvent::Yielded { look_at: NOW };
    let phase = transition(&OrderPhase::Opened, &claim).unwrap();
    assert!(matches!(
        step(&order(phase.clone()), &Money::default(), NOW),
        Next::Wait(Waiting::Claim { .. })
    ));
    let after = transition(&phase, &yields).unwrap();
    assert!(matches!(after, OrderPhase::Seeking { .. }));
    let mut lost_one = bare_order(Spent::default());
    lost(&mut lost_one);
    let phase = transition(&lost_one.phase, &claim).unwrap();
    let after = transition(&phase, &yields).unwrap();
    assert!(matches!(after, OrderPhase::PurchaseUnclear { .. }));
    // Nothing is taken over while it is not known whether something was bought.
    let adopted = OrderEvent::Adopted {
        reference: "scs2".to_owned(),
        spki: None,
        poll_after: NOW,
    };
    assert!(transition(&lost_one.phase, &adopted).is_err());
}

#[test]
fn an_entitlement_that_somebody_else_has_used_is_a_persons() {
    let unclear = |entitlement: Option<&str>| OrderPhase::Unclear {
        spki: Some(KEY),
        submitted_at: NOW,
        decisive_at: NOW,
        absences: 0,
        look_at: NOW,
        entitlement: entitlement.map(str::to_owned),
        supplement: false,
    };
    let foreign = OrderEvent::Wanting {
        want: Want::Person {
            detail: "not ours".to_owned(),
        },
        look_at: NOW + Seconds::hours(1),
    };
    let phase = transition(&unclear(Some("scs1")), &foreign).unwrap();
    assert!(matches!(
        step(&order(phase), &Money::default(), NOW),
        Next::Blocked(Blocked::ForeignApplication { .. })
    ));
    assert!(transition(&unclear(None), &foreign).is_err());
}

#[test]
fn a_proof_is_published_once_and_seen_before_the_issuer_is_asked() {
    let dns = DomainMethod::Dns;
    let mut order = order(submitted_with(None));
    let money = Money::default();
    assert_eq!(step(&order, &money, NOW), Next::Step(OrderStep::Fetch));
    order.phase = transition(&order.phase, &wanted("t1", dns, NOW)).unwrap();
    assert_eq!(step(&order, &money, NOW), Next::Step(OrderStep::Publish));
    let published = |at| OrderEvent::Published {
        at,
        examine_at: at + Seconds(30),
    };
    let visible = OrderEvent::Visible { at: NOW };
    assert!(
        transition(&order.phase, &visible).is_err(),
        "it is not published"
    );
    order.phase = transition(&order.phase, &published(NOW)).unwrap();
    assert!(matches!(
        step(&order, &money, NOW),
        Next::Wait(Waiting::DomainProof { .. })
    ));
    order.phase = transition(&order.phase, &published(NOW + Seconds(60))).unwrap();
    let since = ProofStage::Published { at: NOW };
    assert_eq!(state_of(&order.phase).stage, since, "since the first time");
    order.phase = transition(&order.phase, &wanted("t1", dns, NOW)).unwrap();
    assert_eq!(state_of(&order.phase).stage, since, "the same is asked for");
    // An hour later the issuer is asked in turns: perhaps only this host cannot see it.
    let late = NOW + Seconds::minutes(61);
    assert_eq!(step(&order, &money, late), Next::Step(OrderStep::Examine));
    order.failures.count = 1;
    assert_eq!(step(&order, &money, late), Next::Step(OrderStep::Fetch));
    order.failures.count = 0;
    order.phase = transition(&order.phase, &visible).unwrap();
    assert_eq!(step(&order, &money, late), Next::Step(OrderStep::Fetch));
    // Long after, the issuer does not find it any more.
    let soon = NOW + Seconds::minutes(59);
    let phase = transition(&order.phase, &wanted("t1", dns, soon)).unwrap();
    assert_eq!(state_of(&phase).stage, ProofStage::Visible { at: NOW });
    let phase = transition(&order.phase, &wanted("t1", dns, late)).unwrap();
    assert_eq!(state_of(&phase).stage, ProofStage::Wanted);
}

#[test]
fn a_proof_that_is_replaced_is_not_forgotten() {
    let dns = DomainMethod::Dns;
    let phase = submitted_with(None);
    let phase = transition(&phase, &wanted("t1", dns, NOW)).unwrap();
    let phase = transition(&phase, &wanted("t2", dns, NOW)).unwrap();
    let old = vec![proof("a.example", "t1", dns)];
    assert_eq!(state_of(&phase).superseded, old);
    let phase = transition(&phase, &wanted("t1", dns, NOW)).unwrap();
    let other = vec![proof("a.example", "t2", dns)];
    assert_eq!(
        state_of(&phase).superseded,
        other,
        "wanted again, it is not old"
    );
}

#[test]
fn a_mail_is_a_persons_and_leaves_nothing_to_take_away() {
    let phase = transition(&submitted_with(None), &wanted("", DomainMethod::Email, NOW)).unwrap();
    let order = order(phase.clone());
    assert!(matches!(
        step(&order, &Money::default(), NOW),
        Next::Blocked(Blocked::Person { .. })
    ));
    let later = NOW + Seconds(60);
    let fetch = Next::Step(OrderStep::Fetch);
    assert_eq!(step(&order, &Money::default(), later), fetch);
    let failed = OrderEvent::Closed {
        closing: OrderClosing::Failed {
            class: ErrorClass::Rejected,
            message: String::new(),
        },
    };
    let after = transition(&phase, &failed).unwrap();
    assert!(matches!(after, OrderPhase::Closed { .. }));
}

#[test]
fn what_is_given_up_is_withdrawn_its_proofs_retracted_and_its_entitlement_kept() {
    let state = ProofState {
        by: ValidationId::new("zone").unwrap(),
        proofs: vec![proof("a.example", "t1", DomainMethod::Dns)],
        stage: ProofStage::Wanted,
        superseded: Vec::new(),
    };
    let reference = || "scs1".to_owned();
    let claiming = OrderPhase::Claiming {
        reference: reference(),
        confirm_at: NOW,
        purchase: None,
    };
    let stored = OrderPhase::KeyStored {
        spki: KEY,
        entitlement: Some(reference()),
    };
    let unclear = OrderPhase::Unclear {
        spki: Some(KEY),
        submitted_at: NOW,
        decisive_at: NOW,
        absences: 0,
        look_at: NOW,
        entitlement: Some(reference()),
        supplement: false,
    };
    let seeking = OrderPhase::Seeking {
        look_at: NOW,
        want: Want::Entitlement,
    };
    let entitled = OrderPhase::Entitled {
        reference: reference(),
    };
    // Phase, whether an application is withdrawn, whether proofs are retracted, whether an entitlement is left.
    let cases = [
        (OrderPhase::Opened, false, false, false),
        (seeking, false, false, false),
        (claiming, false, false, false),
        (bare_order(Spent::default()).phase, false, false, false),
        (entitled, false, false, true),
        (stored, false, false, true),
        (unclear, false, false, true),
        (submitted_with(None), true, false, true),
        (submitted_with(Some(state)), true, true, true),
    ];
    let abandoned = OrderClosing::Abandoned {
        message: "nobody wants it".to_owned(),
    };
    for (phase, withdrawn, retracted, left) in cases {
        let mut order = order(phase);
        let code = order.phase.code();
        assert_eq!(entitlements::left(&order, NOW).is_some(), left, "{code}");
        let mut seen = Vec::new();
        let mut event = OrderEvent::Closed {
            closing: abandoned.clone(),
        };
        for _ in 0..4 {
            order.phase = transition(&order.phase, &event).unwrap();
            event = match step(&order, &Money::default(), NOW) {
                Next::Step(OrderStep::Withdraw) => OrderEvent::Withdrawn,
                Next::Step(OrderStep::Retract) => OrderEvent::Retracted,
                Next::Step(OrderStep::Close) => OrderEvent::Closed {
                    closing: abandoned.clone(),
                },
                Next::Done => break,
                other => panic!("{code}: {other:?}"),
            };
            seen.push(event.code());
        }
        assert!(matches!(order.phase, OrderPhase::Closed { .. }), "{code}");
        assert_eq!(seen.contains(&"withdrawn"), withdrawn, "{code}");
        assert_eq!(seen.contains(&"retracted"), retracted, "{code}");
    }
}

#[test]
fn a_certificate_that_is_there_is_put_away_before_its_proof_is() {
    let state = ProofState {
        by: ValidationId::new("zone").unwrap(),
        proofs: vec![proof("a.example", "t1", DomainMethod::Dns)],
        stage: ProofStage::Visible { at: NOW },
        superseded: Vec::new(),
    };
    let revision = RevisionId::new("r1").unwrap();
    let issued = OrderEvent::Issued {
        revision: revision.clone(),
    };
    let closing = OrderClosing::Fulfilled { revision };
    let phase = transition(&submitted_with(Some(state)), &issued).unwrap();
    let abandoned = OrderClosing::Abandoned {
        message: String::new(),
    };
    let give_up = OrderEvent::Closed { closing: abandoned };
    assert!(transition(&phase, &give_up).is_err(), "it is there");
    let close = OrderEvent::Closed { closing };
    let ending = transition(&phase, &close).unwrap();
    assert!(
        transition(&ending, &close).is_err(),
        "the proof is published still"
    );
    let retracted = transition(&ending, &OrderEvent::Retracted).unwrap();
    let closed = transition(&retracted, &close).unwrap();
    assert_eq!(closed.code(), "fulfilled");
}

#[test]
fn an_application_that_cannot_be_withdrawn_holds_nothing_up() {
    let phase = OrderPhase::Ending {
        closing: OrderClosing::Abandoned {
            message: String::new(),
        },
        withdraw: Some("scs1".to_owned()),
        proof: None,
    };
    let order = order(phase);
    let decide = |class| {
        let trouble = trouble(class);
        on_error(
            &order,
            OrderStep::Withdraw,
            trouble,
            false,
            TIMING,
            POLICY,
            NOW,
        )
    };
    assert_eq!(
        decide(ErrorClass::Rejected),
        OnError::Event(OrderEvent::Withdrawn)
    );
    assert!(matches!(decide(ErrorClass::Transient), OnError::Retry(_)));
}

#[test]
fn who_reserves_buys_after_a_look_that_counted_the_others() {
    let free = Money::default();
    let next = |placed: Option<i64>, looked: i64, now: i64| {
        let mut order = bare_order(Spent {
            placed: placed.map(|after| NOW + Seconds(after)),
            ..Spent::default()
        });
        let public = order.request.public.as_mut().unwrap();
        public.buying.as_mut().unwrap().reserve = true;
        if let OrderPhase::Bare { looked_at, .. } = &mut order.phase {
            *looked_at = NOW + Seconds(looked);
        }
        step(&order, &free, NOW + Seconds(now))
    };
    let (look, buy) = (Next::Step(OrderStep::Look), Next::Step(OrderStep::Buy));
    assert_eq!(next(None, 0, 1), look, "a look takes the place");
    let until = NOW + Seconds(30);
    let waits = Next::Wait(Waiting::Purchase { until });
    assert_eq!(next(Some(30), 0, 1), waits);
    assert_eq!(next(Some(30), 0, 30), look);
    assert_eq!(next(Some(30), 30, 31), buy);
}

#[test]
fn nothing_is_bought_after_a_look_that_did_not_see_the_last_purchase() {
    let order = bare_order(Spent::default());
    let after = |last: i64, now: i64| {
        let money = Money {
            last: Some(NOW + Seconds(last)),
            ..Money::default()
        };
        step(&order, &money, NOW + Seconds(now))
    };
    assert_eq!(after(-1, 0), Next::Step(OrderStep::Buy));
    assert_eq!(after(0, 5), Next::Step(OrderStep::Look));
    assert_eq!(after(5, 9), Next::Step(OrderStep::Look));
    let until = NOW + Seconds(6);
    assert_eq!(
        after(5, 5),
        Next::Wait(Waiting::Purchase { until }),
        "a look of the same second would see no more"
    );
    let wrong = i64::from(u32::MAX);
    assert_eq!(after(wrong, 0), Next::Step(OrderStep::Buy));
}

#[test]
fn a_purchase_that_is_about_to_begin_is_held_against_the_journal_of_that_moment() {
    let own = bare_order(Spent::default());
    let at = |change: &dyn Fn(&mut Snapshot)| {
        let mut snapshot = Snapshot::default();
        snapshot.orders.insert(own.id.clone(), own.clone());
        change(&mut snapshot);
        may_buy(&own, &snapshot, NOW)
    };
    assert!(at(&|_| {}));
    assert!(!at(&|snapshot| snapshot.orders.clear()), "it is over");
    assert!(!at(&|snapshot| {
        let own = snapshot.orders.values_mut().next().unwrap();
        own.phase = OrderPhase::Opened;
    }));
    let bought = |issuer: &str, ago: i64| {
        let issuer = crate::model::IssuerId::new(issuer).unwrap();
        let at = NOW - Seconds(ago);
        move |snapshot: &mut Snapshot| drop(snapshot.purchases.insert(issuer.clone(), vec![at]))
    };
    assert!(!at(&bought("lab", 3600)), "one a day");
    assert!(at(&bought("lab", 86_400)));
    assert!(!at(&bought("other", 0)), "perhaps of the same account");
    assert!(at(&bought("other", 1)));
    assert!(!at(&|snapshot| {
        let mut other = bare_order(Spent::default());
        other.id = OrderId::new("o2").unwrap();
        other.started = Some(Started {
            step: OrderStep::Buy,
            at: NOW,
        });
        snapshot.orders.insert(other.id.clone(), other);
    }));
}
