//! Unit tests of where added names go.

use super::*;
use crate::model::{
    Entitlement, ErrorClass, Fingerprint, KeyAlgorithm, Name, OrderClosing, OrderEvent, OrderId,
    OrderStep, RemoteTrouble, Review, RevokedBy, Revoking, ScmPolicy, Seconds, Spent, Standing,
    Started, ValidationId, Want,
};
use crate::plan::checks::{self, CheckInput};
use crate::plan::order_machine::{self, Money, Timing, transition};
use crate::plan::{Next, OnError, Trouble, entitlements, open, outcome, testing};

pub(super) const NOW: Timestamp = Timestamp(1_000_000_000);
const KEY: Fingerprint = Fingerprint([3; 32]);
pub(super) const POLICY: Fingerprint = Fingerprint([1; 32]);
const TIMING: Timing = Timing {
    timeout: Seconds(30),
    settle: Seconds(120),
};

pub(super) fn names(all: &[&str]) -> SubjectAltNames {
    all.iter().map(|name| Name::parse(name).unwrap()).collect()
}

/// `www.example` and `a.example` of something that was bought for three, and a policy that adds `b.example`.
pub(super) fn world() -> (Policy, CertificatePolicy, CertificateState) {
    let mut policy = testing::policy();
    let mut issuer = testing::issuer();
    issuer.kind = IssuerKind::Scm(ScmPolicy {
        validation: Some(ValidationId::new("zone").unwrap()),
        ..ScmPolicy::default()
    });
    policy.issuers.insert(issuer.id.clone(), issuer);
    let mut certificate = testing::certificate("www");
    certificate.names = names(&["www.example", "a.example"]);
    let mut state = testing::healthy(&certificate, NOW, Seconds::days(90));
    let newest = state.newest.as_mut().unwrap();
    newest.reference = "scs1".to_owned();
    newest.policy = None;
    state.entitlements.push(Entitlement {
        reference: "scs1".to_owned(),
        purchase: None,
        kind: None,
        domains: Some(3),
        spki: Some(KEY),
        remaining: 0,
        auto_renew: false,
        brought: false,
        until: NOW + Seconds::days(90),
        asked_at: NOW,
    });
    certificate.names = names(&["www.example", "a.example", "b.example"]);
    (policy, certificate, state)
}

fn reason(adds: &[&str]) -> Reason {
    Reason::NamesChanged {
        missing: names(adds),
    }
}

type Change = fn(&mut CertificatePolicy, &mut CertificateState);

fn decided(adds: &[&str], change: Change) -> Option<Result<Supplement, Unfit>> {
    let (policy, mut certificate, mut state) = world();
    change(&mut certificate, &mut state);
    of(&policy, &certificate, &state, &reason(adds), NOW)
}

#[test]
fn added_names_go_into_the_certificate_that_has_room_for_them() {
    let expected = Supplement {
        reference: "scs1".to_owned(),
        spki: Some(KEY),
        adds: names(&["b.example"]),
    };
    let supplement = decided(&["b.example"], |_, _| {}).unwrap();
    assert_eq!(supplement, Ok(expected.clone()));
    // As long as the account did not say for how many it was bought.
    let unsaid = decided(&["b.example"], |_, state| {
        state.entitlements[0].domains = None;
    });
    assert_eq!(unsaid, Some(Ok(expected.clone())));
    // A key of CCM's stays there.
    let theirs = decided(&["b.example"], |certificate, state| {
        certificate.key_source = KeySource::Ccm;
        state.entitlements[0].spki = None;
    });
    let without_key = Supplement {
        spki: None,
        ..expected
    };
    assert_eq!(theirs, Some(Ok(without_key)));
}

#[test]
fn whatever_a_supplement_cannot_do_leads_to_another_certificate() {
    let cases: [(&str, Change); 12] = [
        ("scs1 was bought for one name", |_, state| {
            state.entitlements[0].domains = Some(1);
        }),
        (
            "scs1 was bought for 2 names, and 3 are wanted",
            |_, state| state.entitlements[0].domains = Some(2),
        ),
        ("a.example left the policy as well", |certificate, _| {
            certificate.names = names(&["www.example", "b.example"]);
        }),
        ("its first name is another one now", |certificate, _| {
            certificate.common_name = "b.example".to_owned();
        }),
        (
            "what the present one was bought as is not known",
            |_, state| {
                state.entitlements.clear();
            },
        ),
        ("the key has to change", |certificate, _| {
            certificate.key_algorithm = KeyAlgorithm::Rsa4096;
        }),
        ("the key has to change", |certificate, _| {
            certificate.key_source = KeySource::Ccm;
        }),
        ("the key has to change", |_, state| {
            state.entitlements[0].spki = Some(Fingerprint([9; 32]));
        }),
        ("the key has to change", |_, state| {
            let newest = state.newest.as_ref().unwrap();
            state.revoking.push(Revoking {
                revision: newest.id.clone(),
                reference: newest.reference.clone(),
                issuer: state.issuer.clone().unwrap(),
                reason: crate::model::RevocationReason::KeyCompromise,
                not_before: NOW,
                asked_at: NOW,
                by: RevokedBy::Person,
                spki: Some(KEY),
                until: None,
                failures: crate::model::Failures::default(),
            });
        }),
        ("somebody asked for another one", |_, state| {
            state.forced = true;
        }),
        ("the present one is revoked", |_, state| {
            state.remote = Some(RemoteTrouble {
                revision: state.newest.as_ref().unwrap().id.clone(),
                standing: Standing::Revoked,
                detail: String::new(),
            });
        }),
        (
            "they could not be added to scs1: no further domains",
            |_, state| {
                state.unsupplemented = Some(Unsupplemented {
                    reference: "scs1".to_owned(),
                    adds: names(&["b.example"]),
                    why: "no further domains".to_owned(),
                    at: NOW,
                });
            },
        ),
    ];
    for (why, change) in cases {
        let unfit = decided(&["b.example"], change).unwrap().unwrap_err();
        assert_eq!(unfit.to_string(), why);
    }
    let (policy, certificate, state) = world();
    let late = NOW + Seconds::days(61);
    let due = of(&policy, &certificate, &state, &reason(&["b.example"]), late);
    assert!(matches!(due, Some(Err(Unfit::Due(_)))));
}

#[test]
fn names_that_were_refused_are_asked_for_no_more_but_others_are() {
    let refused: Change = |certificate, state| {
        certificate.names = names(&["www.example", "a.example", "c.example"]);
        state.unsupplemented = Some(Unsupplemented {
            reference: "scs1".to_owned(),
            adds: names(&["b.example"]),
            why: String::new(),
            at: NOW,
        });
    };
    assert!(matches!(decided(&["c.example"], refused), Some(Ok(_))));
    let another: Change = |_, state| {
        state.unsupplemented = Some(Unsupplemented {
            reference: "scs0".to_owned(),
            adds: names(&["b.example"]),
            why: String::new(),
            at: NOW,
        });
    };
    assert!(matches!(decided(&["b.example"], another), Some(Ok(_))));
}

#[test]
fn names_that_nobody_applied_for_speak_against_nothing() {
    let bonus: Change = |_, state| {
        let newest = state.newest.as_mut().unwrap();
        newest.facts.names = names(&["www.example", "a.example", "www.a.example"]);
        newest.applied = Some(names(&["www.example", "a.example"]));
    };
    assert!(matches!(decided(&["b.example"], bonus), Some(Ok(_))));
    // What was applied for and left the policy must not stay.
    let left: Change = |_, state| {
        let newest = state.newest.as_mut().unwrap();
        newest.facts.names = names(&["www.example", "a.example", "www.a.example"]);
        newest.applied = Some(newest.facts.names.clone());
    };
    let unfit = decided(&["b.example"], left).unwrap().unwrap_err();
    assert_eq!(unfit, Unfit::NamesLeft(names(&["www.a.example"])));
}

#[test]
fn what_was_asked_for_in_vain_is_looked_for_by_the_order_that_would_buy() {
    let late_of = |change: Change| {
        let (policy, mut certificate, mut state) = world();
        state.unsupplemented = Some(Unsupplemented {
            reference: "scs1".to_owned(),
            adds: names(&["b.example"]),
            why: String::new(),
            at: NOW,
        });
        change(&mut certificate, &mut state);
        let (id, reason) = (OrderId::new("o2").unwrap(), reason(&["b.example"]));
        let order = open::order(id, &policy, &certificate, &state, reason, NOW);
        late(&order, &state)
    };
    let expected = Supplement {
        reference: "scs1".to_owned(),
        spki: Some(KEY),
        adds: names(&["b.example"]),
    };
    assert_eq!(late_of(|_, _| {}), Some(expected));
    let others: [Change; 5] = [
        |_, state| state.unsupplemented = None,
        |_, state| state.forced = true,
        |_, state| state.entitlements.clear(),
        |certificate, _| certificate.key_algorithm = KeyAlgorithm::Rsa4096,
        |certificate, _| certificate.names = names(&["www.example", "b.example"]),
    ];
    for (nth, change) in others.into_iter().enumerate() {
        assert_eq!(late_of(change), None, "{nth}");
    }
}

#[test]
fn only_added_names_of_a_public_certificate_are_a_matter_of_supplements() {
    let (mut policy, mut certificate, state) = world();
    let b = reason(&["b.example"]);
    for other in [
        reason(&[]),
        Reason::Forced,
        Reason::RenewalDue { since: NOW },
    ] {
        assert_eq!(of(&policy, &certificate, &state, &other, NOW), None);
    }
    certificate.order = OrderMode::Never;
    assert_eq!(of(&policy, &certificate, &state, &b, NOW), None);
    certificate.order = OrderMode::Auto;
    assert!(of(&policy, &certificate, &state, &b, NOW).is_some());
    policy.issuers.clear();
    assert_eq!(of(&policy, &certificate, &state, &b, NOW), None);
}

pub(super) fn order(phase: OrderPhase) -> Order {
    let (policy, certificate, state) = world();
    let id = OrderId::new("o1").unwrap();
    let reason = reason(&["b.example"]);
    let mut order = open::order(id, &policy, &certificate, &state, reason, NOW);
    assert!(of_order(&order).is_some(), "it adds names");
    order.phase = phase;
    order
}

fn next(order: &Order, now: Timestamp) -> Next<OrderStep, OrderEvent> {
    let host = crate::model::HostSeed(1);
    order_machine::next(order, TIMING, &Money::default(), POLICY, host, now)
}

pub(super) fn unclear(absences: u32) -> OrderPhase {
    OrderPhase::Unclear {
        spki: Some(KEY),
        submitted_at: NOW,
        decisive_at: NOW + Seconds(150),
        absences,
        gone: None,
        look_at: NOW,
        entitlement: Some("scs1".to_owned()),
        supplement: true,
    }
}

pub(super) fn supplemented() -> OrderEvent {
    OrderEvent::Supplemented {
        reference: "scs1".to_owned(),
        spki: Some(KEY),
        poll_after: NOW,
    }
}

#[test]
fn a_supplement_is_sent_once_and_then_waited_for_like_an_application() {
    let opened = order(OrderPhase::Opened);
    assert_eq!(next(&opened, NOW), Next::Step(OrderStep::Supplement));
    let phase = transition(&opened.phase, &supplemented()).unwrap();
    let OrderPhase::Submitted {
        spki: Some(KEY),
        reference,
        public: true,
        ..
    } = &phase
    else {
        panic!("{phase:?}");
    };
    assert_eq!(reference, "scs1");
    assert_eq!(next(&order(phase), NOW), Next::Step(OrderStep::Fetch));
}

#[test]
fn a_kill_or_a_lost_answer_is_cleared_up_before_it_is_sent_again() {
    let mut killed = order(OrderPhase::Opened);
    killed.started = Some(Started {
        step: OrderStep::Supplement,
        at: NOW,
    });
    assert!(order_machine::is_submitted(&killed));
    let Next::Record(lost) = next(&killed, NOW + Seconds(5)) else {
        panic!("its intent is in the journal, and no outcome");
    };
    assert_eq!(transition(&killed.phase, &lost).unwrap(), unclear(0));
    let trouble = Trouble {
        class: ErrorClass::Transient,
        message: String::new(),
        output: String::new(),
        retry_after: None,
    };
    let step = OrderStep::Supplement;
    let told = order_machine::on_error(&killed, step, trouble, true, TIMING, POLICY, NOW);
    assert_eq!(told, OnError::Event(lost));

    let asked = order(unclear(0));
    assert_eq!(next(&asked, NOW), Next::Step(OrderStep::Resolve));
    assert!(transition(&asked.phase, &supplemented()).is_ok());
    // Of an order that applies, the event means nothing.
    let mut applies = unclear(0);
    if let OrderPhase::Unclear { supplement, .. } = &mut applies {
        *supplement = false;
    }
    assert!(transition(&applies, &supplemented()).is_err());

    let early = order_machine::absent(&asked, TIMING, NOW + Seconds(10));
    assert_eq!(
        transition(&asked.phase, &early).map(|phase| absences(&phase)),
        Ok(0)
    );
    let mut phase = unclear(0);
    for (seconds, count) in [(150, 1), (270, 2)] {
        let event = order_machine::absent(&order(phase.clone()), TIMING, NOW + Seconds(seconds));
        phase = transition(&phase, &event).unwrap();
        assert_eq!(absences(&phase), count);
    }
    let surely = Next::Record(OrderEvent::DefinitelyAbsent);
    assert_eq!(next(&order(phase.clone()), NOW + Seconds(300)), surely);
    let again = transition(&phase, &OrderEvent::DefinitelyAbsent);
    assert_eq!(again, Ok(OrderPhase::Opened));
}

#[test]
fn names_came_to_nothing_once_the_certificate_is_issued_without_them_for_longer_than_answers_lag() {
    let review = |status: &str, seconds| Review {
        status: status.to_owned(),
        since: NOW + Seconds(seconds),
    };
    let seen = |status: &str| {
        let mut order = order(transition(&OrderPhase::Opened, &supplemented()).unwrap());
        let not_yet = OrderEvent::NotYet {
            poll_after: NOW,
            review: review(status, 0),
        };
        order.phase = transition(&order.phase, &not_yet).unwrap();
        order
    };
    let over = |order: &Order, status: &str, seconds| {
        order_machine::was_taken_back(order, &review(status, seconds), TIMING)
    };
    assert!(!over(&seen("ISSUED"), "ISSUED", 3599));
    assert!(over(&seen("ISSUED"), "ISSUED", 3600));
    // What is being proven is no sign of an end, nor is what was it a moment ago.
    assert!(!over(&seen("SUPPLEMENTCHECKING"), "ISSUED", 3600));
    assert!(!over(&seen("ISSUED"), "SUPPLEMENTCHECKING", 3600));
    // That it is only paid for is said of applications.
    assert!(!over(&seen("PAID"), "PAID", 3600));
}

#[test]
fn a_plan_says_how_names_come_in_until_they_are_there() {
    let (mut policy, certificate, state) = world();
    let id = certificate.id.clone();
    policy.certificates.insert(id.clone(), certificate);
    let mut snapshot = Snapshot::default();
    snapshot.certificates.insert(id.clone(), state);
    let note = |snapshot: &Snapshot| {
        let plan = crate::plan::plan(&policy, snapshot, NOW);
        notes(&policy, snapshot, &plan, NOW).remove(&id)
    };
    let added = "has b.example added to scs1, which costs nothing".to_owned();
    assert_eq!(note(&snapshot), Some(added.clone()));
    let opened = order(OrderPhase::Opened);
    snapshot.orders.insert(opened.id.clone(), opened.clone());
    assert_eq!(note(&snapshot), Some(added));
    let mut issued = opened;
    issued.phase = OrderPhase::Issued {
        revision: crate::model::RevisionId::new("r02").unwrap(),
        proof: None,
    };
    snapshot.orders.insert(issued.id.clone(), issued);
    assert_eq!(note(&snapshot), None);
}

fn absences(phase: &OrderPhase) -> u32 {
    match phase {
        OrderPhase::Unclear { absences, .. } => *absences,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_refusal_is_remembered_and_neither_counted_nor_taken_for_something_unused() {
    let opened = order(OrderPhase::Opened);
    let (_, _, state) = world();
    let trouble = Trouble {
        class: ErrorClass::Rejected,
        message: "no further domains".to_owned(),
        output: String::new(),
        retry_after: None,
    };
    let step = OrderStep::Supplement;
    let OnError::Event(closed) =
        order_machine::on_error(&opened, step, trouble, false, TIMING, POLICY, NOW)
    else {
        panic!("it is refused for good");
    };
    let phase = transition(&opened.phase, &closed).unwrap();
    assert!(matches!(phase, OrderPhase::Closed { .. }));
    let after = outcome::certificate_after(&state, &opened, &closed, None, POLICY, NOW).unwrap();
    assert_eq!(after.failures.count, 0);
    assert_eq!(after.unused, None);
    let kept = after.unsupplemented.unwrap();
    assert_eq!(
        (kept.reference.as_str(), kept.why.as_str()),
        ("scs1", "no further domains")
    );
    assert_eq!(kept.adds, names(&["b.example"]));
}

#[test]
fn an_order_that_adds_names_leaves_no_entitlement_and_buys_nothing() {
    let submitted = transition(&OrderPhase::Opened, &supplemented()).unwrap();
    for phase in [OrderPhase::Opened, unclear(0), submitted] {
        let order = order(phase);
        assert_eq!(entitlements::left(&order, NOW), None);
        assert!(!order_machine::is_buying(&order));
        let opened = order.phase == OrderPhase::Opened;
        let closing = OrderClosing::Abandoned {
            message: String::new(),
        };
        let ended = transition(&order.phase, &OrderEvent::Closed { closing }).unwrap();
        let takes_back =
            matches!(&ended, OrderPhase::Ending { withdraw: Some(one), .. } if one == "scs1");
        assert_eq!(takes_back, !opened, "{ended:?}");
    }
}

const DUE: Timestamp = Timestamp(NOW.0 + 70 * 86_400);

/// The order that is opened for `b.example`, where the present certificate's order has another one to come.
fn opened(now: Timestamp, change: Change) -> Order {
    let (policy, mut certificate, mut state) = world();
    state.entitlements[0].remaining = 1;
    change(&mut certificate, &mut state);
    let newest = state.newest.as_ref().unwrap();
    let reason = checks::first(&CheckInput {
        policy: &certificate,
        state: &state,
        newest: Some((newest, renewal::of(&policy, &certificate, &state, newest))),
        now,
    });
    let id = OrderId::new("o1").unwrap();
    open::order(id, &policy, &certificate, &state, reason.unwrap(), now)
}

#[test]
fn a_successor_that_is_free_comes_before_names_that_were_added() {
    let brought: Change = |_, state| {
        state.entitlements[0].remaining = 0;
        state.entitlements[0].brought = true;
    };
    for change in [(|_, _| {}) as Change, brought] {
        let order = opened(DUE, change);
        let public = order.request.public.unwrap();
        assert_eq!(order.reason.code(), "renewal-due");
        assert_eq!(order.request.names, names(&["www.example", "a.example"]));
        assert_eq!(public.replaces.as_deref(), Some("scs1"));
        assert_eq!(public.supplements, None);
        // What comes of it lacks a name of the policy still.
        assert_ne!(order.request.policy, POLICY);
    }
    // Before it is due they go into the present one.
    let supplements = |order: Order| order.request.public.unwrap().supplements;
    assert!(supplements(opened(NOW, |_, _| {})).is_some());
    let cases: [Change; 5] = [
        |_, state| state.entitlements[0].remaining = 0,
        |_, state| state.entitlements[0].domains = Some(2),
        |_, state| state.forced = true,
        |certificate, _| certificate.key_algorithm = KeyAlgorithm::Rsa4096,
        |certificate, _| certificate.names = names(&["www.example", "b.example"]),
    ];
    for (case, change) in cases.into_iter().enumerate() {
        let order = opened(DUE, change);
        let public = order.request.public.as_ref().unwrap();
        assert_eq!(order.reason.code(), "names-changed", "{case}");
        assert_eq!((&public.replaces, &public.supplements), (&None, &None));
    }
}

#[test]
fn an_order_for_a_successor_goes_on_when_names_are_added_and_buys_nothing() {
    let actions = |phase: OrderPhase, remaining: u32| {
        let (mut policy, certificate, mut state) = world();
        state.entitlements[0].remaining = remaining;
        state.entitlements[0].brought = remaining == 0;
        let mut snapshot = Snapshot::default();
        let order = Order {
            phase,
            ..opened(DUE, |_, _| {})
        };
        snapshot.orders.insert(order.id.clone(), order);
        snapshot.certificates.insert(certificate.id.clone(), state);
        policy
            .certificates
            .insert(certificate.id.clone(), certificate);
        crate::plan::plan(&policy, &snapshot, DUE).actions
    };
    let want = Want::Successor {
        not_after: NOW + Seconds::days(90),
    };
    let waits = OrderPhase::Seeking {
        look_at: DUE + Seconds(60),
        want: want.clone(),
    };
    let of_orders = |actions: Vec<Action>| -> Vec<Action> {
        let all = actions.into_iter();
        all.filter(|action| {
            matches!(
                action,
                Action::AbandonOrder { .. }
                    | Action::AdvanceOrder { .. }
                    | Action::RecordOrder { .. }
                    | Action::OpenOrder { .. }
            )
        })
        .collect()
    };
    assert_eq!(of_orders(actions(waits, 1)), []);
    // The account shows neither it nor anything that is to come: a person is asked.
    let bare = OrderPhase::Bare {
        looked_at: DUE,
        listed: std::collections::BTreeSet::new(),
        spent: Spent::default(),
    };
    let actions = of_orders(actions(bare, 0));
    let [
        Action::RecordOrder {
            event: OrderEvent::Wanting { want: said, .. },
            ..
        },
    ] = actions.as_slice()
    else {
        panic!("{actions:?}");
    };
    assert_eq!(*said, want);
}
