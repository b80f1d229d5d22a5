//! Unit tests of the order machine.

use super::*;
use crate::model::{CertificateState, OrderId, Reason, RevisionId, Started};
use crate::plan::{open, testing};

const TIMING: Timing = Timing {
    timeout: Seconds(30),
    settle: Seconds(120),
};
const POLICY: Fingerprint = Fingerprint([1; 32]);
const KEY: Fingerprint = Fingerprint([5; 32]);
const NOW: Timestamp = Timestamp(1_000_000);

fn order(source: Source, phase: OrderPhase) -> Order {
    let id = OrderId::new("o1").unwrap();
    let (certificate, state) = (testing::certificate("www"), CertificateState::default());
    let policy = testing::policy();
    let mut order = open::order(id, &policy, &certificate, &state, Reason::NoRevision, NOW);
    order.request.source = source;
    order.phase = phase;
    order
}

fn trouble(class: ErrorClass) -> Trouble {
    Trouble {
        class,
        message: "no".to_owned(),
        output: String::new(),
        retry_after: None,
    }
}

fn step(order: &Order, now: Timestamp) -> Next<OrderStep, OrderEvent> {
    next(order, TIMING, &Money::default(), POLICY, HostSeed(7), now)
}

#[test]
fn each_source_begins_with_its_own_step() {
    for (source, first) in [
        (Source::Csr, OrderStep::StoreKey),
        (Source::Ccm, OrderStep::Submit),
        (Source::Follow, OrderStep::Locate),
    ] {
        assert_eq!(
            step(&order(source, OrderPhase::Opened), NOW),
            Next::Step(first)
        );
    }
}

#[test]
fn a_submit_without_an_outcome_is_recorded_as_lost_before_anything_else() {
    for (source, phase) in [
        (
            Source::Csr,
            OrderPhase::KeyStored {
                spki: KEY,
                entitlement: None,
            },
        ),
        (Source::Ccm, OrderPhase::Opened),
    ] {
        let mut order = order(source, phase);
        assert!(!is_submitted(&order));
        order.started = Some(Started {
            step: OrderStep::Submit,
            at: NOW,
        });
        assert!(is_submitted(&order));
        let Next::Record(event) = step(&order, NOW + Seconds(5)) else {
            panic!("not recorded");
        };
        order.phase = transition(&order.phase, &event).unwrap();
        order.started = None;
        // The first look is at once: it may find the certificate.
        assert_eq!(
            step(&order, NOW + Seconds(5)),
            Next::Step(OrderStep::Resolve)
        );
    }
}

#[test]
fn other_steps_without_an_outcome_are_done_again() {
    let mut order = order(Source::Csr, OrderPhase::Opened);
    order.started = Some(Started {
        step: OrderStep::StoreKey,
        at: NOW,
    });
    assert_eq!(step(&order, NOW), Next::Step(OrderStep::StoreKey));
}

#[test]
fn only_two_complete_listings_after_the_settling_time_allow_another_submit() {
    let mut order = order(
        Source::Csr,
        OrderPhase::KeyStored {
            spki: KEY,
            entitlement: None,
        },
    );
    let lost = lost(&order, NOW, TIMING);
    order.phase = transition(&order.phase, &lost).unwrap();
    let decisive_at = NOW + Seconds(150);
    let mut now = NOW;
    let mut counted = Vec::new();
    for _ in 0..20 {
        match step(&order, now) {
            Next::Step(OrderStep::Resolve) => {
                let event = absent(&order, TIMING, now);
                order.phase = transition(&order.phase, &event).unwrap();
                if now >= decisive_at {
                    counted.push(now);
                }
            }
            Next::Wait(Waiting::Settling { until }) => now = until,
            Next::Record(OrderEvent::DefinitelyAbsent) => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(counted, [decisive_at, decisive_at + Seconds(120)]);
    order.phase = transition(&order.phase, &OrderEvent::DefinitelyAbsent).unwrap();
    assert_eq!(
        order.phase,
        OrderPhase::KeyStored {
            spki: KEY,
            entitlement: None,
        },
        "the same key again"
    );
}

#[test]
fn absence_is_not_declared_before_it_is_known() {
    let mut order = order(
        Source::Csr,
        OrderPhase::KeyStored {
            spki: KEY,
            entitlement: None,
        },
    );
    order.phase = transition(&order.phase, &lost(&order, NOW, TIMING)).unwrap();
    assert!(transition(&order.phase, &OrderEvent::DefinitelyAbsent).is_err());
}

#[test]
fn an_unclear_order_cannot_fail() {
    let opened = order(Source::Csr, OrderPhase::Opened);
    let unclear = transition(&opened.phase, &lost(&opened, NOW, TIMING)).unwrap();
    let failed = OrderEvent::Closed {
        closing: OrderClosing::Failed {
            class: ErrorClass::Rejected,
            message: String::new(),
        },
    };
    assert!(transition(&unclear, &failed).is_err());
    let order = order(Source::Ccm, unclear);
    let decision = on_error(
        &order,
        OrderStep::Resolve,
        trouble(ErrorClass::Rejected),
        false,
        TIMING,
        POLICY,
        NOW,
    );
    assert!(matches!(decision, OnError::Retry(_)));
}

#[test]
fn what_a_failed_submit_means_depends_on_whether_it_was_sent() {
    let mut order = order(
        Source::Csr,
        OrderPhase::KeyStored {
            spki: KEY,
            entitlement: None,
        },
    );
    order.started = Some(Started {
        step: OrderStep::Submit,
        at: NOW - Seconds(30),
    });
    let decide = |class, unknown| {
        let trouble = trouble(class);
        on_error(
            &order,
            OrderStep::Submit,
            trouble,
            unknown,
            TIMING,
            POLICY,
            NOW,
        )
    };
    assert!(matches!(
        decide(ErrorClass::Transient, false),
        OnError::Retry(_)
    ));
    assert!(matches!(
        decide(ErrorClass::Authentication, false),
        OnError::Retry(_)
    ));
    assert!(matches!(
        decide(ErrorClass::Rejected, false),
        OnError::Event(OrderEvent::Closed { .. })
    ));
    for class in [ErrorClass::Transient, ErrorClass::Rejected] {
        assert_eq!(
            decide(class, true),
            OnError::Event(OrderEvent::AnswerLost {
                submitted_at: NOW - Seconds(30),
                look_at: NOW + Seconds(120),
                supplement: None,
            }),
        );
    }
}

#[test]
fn an_order_closes_as_fulfilled_with_its_own_revision_only() {
    let id = |text| RevisionId::new(text).unwrap();
    let issued = OrderPhase::Issued {
        revision: id("r1"),
        proof: None,
    };
    let close = |revision| OrderEvent::Closed {
        closing: OrderClosing::Fulfilled { revision },
    };
    assert!(transition(&issued, &close(id("r1"))).is_ok());
    assert!(transition(&issued, &close(id("r2"))).is_err());
    assert!(transition(&OrderPhase::Opened, &close(id("r1"))).is_err());
}

#[test]
fn an_illegal_event_names_phase_and_event() {
    let error = transition(&OrderPhase::Opened, &OrderEvent::DefinitelyAbsent).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the phase opened has no way for the event definitely-absent"
    );
}
