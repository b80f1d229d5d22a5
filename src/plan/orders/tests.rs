//! Unit tests of what is told of orders, and how they are given up.

use std::collections::BTreeMap;

use super::*;
use crate::model::{CertificateState, Reason};
use crate::model::{
    DomainProof, ErrorClass, Failures, LeftBehind, OrderClosing, OrderId, OrderStep, RevisionId,
    StepFailure, Supplement, ValidationId,
};
use crate::plan::{outcome, plan, testing};

const NOW: Timestamp = Timestamp(1_000_000_000);

fn order(phase: OrderPhase) -> Order {
    let (policy, state) = (testing::policy(), CertificateState::default());
    let certificate = testing::certificate("www");
    let id = OrderId::new("o1").unwrap();
    let reason = Reason::NoRevision;
    let mut order = open::order(id, &policy, &certificate, &state, reason, NOW);
    order.request.public = Some(Box::new(PublicRequest {
        buying: None,
        validation: ValidationId::new("zone").unwrap(),
        kind: None,
        replaces: None,
        replaces_until: None,
        supplements: None,
    }));
    order.phase = phase;
    order
}

fn proof() -> Box<ProofState> {
    Box::new(ProofState {
        by: ValidationId::new("zone").unwrap(),
        proofs: vec![DomainProof {
            domain: "www.example".to_owned(),
            method: DomainMethod::Dns,
            place: "_dnsauth.www.example".to_owned(),
            record_type: "TXT".to_owned(),
            value: "t".to_owned(),
        }],
        stage: ProofStage::Wanted,
        superseded: Vec::new(),
    })
}

fn ending(withdraw: bool) -> OrderPhase {
    OrderPhase::Ending {
        closing: OrderClosing::Abandoned {
            message: String::new(),
        },
        withdraw: withdraw.then(|| "scs1".to_owned()),
        proof: Some(proof()),
    }
}

/// What a plan does for an order of a certificate that left the policy, with its issuer or without.
fn orphan(order: &Order, issuer: bool) -> Action {
    let mut policy = testing::policy();
    if issuer {
        let lab = testing::issuer();
        policy.issuers.insert(lab.id.clone(), lab);
    }
    let snapshot = Snapshot {
        orders: BTreeMap::from([(order.id.clone(), order.clone())]),
        ..Snapshot::default()
    };
    let mut plan = plan(&policy, &snapshot, NOW + Seconds(60));
    assert_eq!(plan.actions.len(), 1, "{:?}", plan.actions);
    plan.actions.remove(0)
}

fn steps(step: OrderStep) -> impl Fn(&Action) -> bool {
    move |action| matches!(action, Action::AdvanceOrder { step: one, .. } if *one == step)
}

#[test]
fn an_order_that_nobody_wants_clears_away_what_it_left_also_without_its_issuer() {
    let withdraw = order(ending(true));
    assert!(steps(OrderStep::Withdraw)(&orphan(&withdraw, true)));
    // Nobody can be asked; the proof is still taken away.
    let recorded = orphan(&withdraw, false);
    let Action::RecordOrder { event, .. } = recorded else {
        panic!("{recorded:?}");
    };
    assert_eq!(event, OrderEvent::Withdrawn);
    let retract = order(ending(false));
    for issuer in [true, false] {
        assert!(steps(OrderStep::Retract)(&orphan(&retract, issuer)));
    }
    let issued = order(OrderPhase::Issued {
        revision: RevisionId::new("r1").unwrap(),
        proof: Some(proof()),
    });
    for issuer in [true, false] {
        assert!(steps(OrderStep::Close)(&orphan(&issued, issuer)));
    }
}

#[test]
fn a_copy_gives_up_nothing_that_its_owner_may_wait_for() {
    let submitted = order(OrderPhase::Submitted {
        spki: None,
        reference: "scs1".to_owned(),
        poll_after: NOW,
        public: true,
        proof: Some(proof()),
        review: Review::default(),
    });
    let mut adds = order(OrderPhase::Unclear {
        spki: None,
        submitted_at: NOW,
        decisive_at: NOW,
        absences: 0,
        gone: None,
        look_at: NOW,
        entitlement: Some("scs1".to_owned()),
        supplement: true,
    });
    adds.request.public.as_mut().unwrap().supplements = Some(Box::new(Supplement {
        reference: "scs1".to_owned(),
        spki: None,
        adds: testing::certificate("www").names,
    }));
    let ends = [order(ending(true)), order(ending(false))];
    for order in [submitted, adds].into_iter().chain(ends) {
        let code = order.phase.code();
        for issuer in [true, false] {
            let mut policy = testing::policy();
            if issuer {
                let lab = testing::issuer();
                policy.issuers.insert(lab.id.clone(), lab);
            }
            let mut snapshot = Snapshot {
                orders: BTreeMap::from([(order.id.clone(), order.clone())]),
                ..Snapshot::default()
            };
            let now = NOW + Seconds(60);
            let told = format!("stale-journal/{}", order.issuer);
            let owner = plan(&policy, &snapshot, now);
            assert_eq!(owner.actions.len(), 1, "{code}: {:?}", owner.actions);
            assert!(owner.alerts.keys().all(|key| key.as_str() != told));
            snapshot.stale = Some(Stale::OtherMachine);
            let copy = plan(&policy, &snapshot, now);
            assert_eq!(copy.actions, [], "{code}");
            let mut keys = copy.alerts.keys();
            assert!(keys.any(|key| key.as_str() == told), "{code}");
        }
    }
}

#[test]
fn an_order_that_may_have_bought_is_traced_before_it_is_given_up() {
    let purchase = |automatic_payment, absences| {
        order(OrderPhase::PurchaseUnclear {
            purchase: Box::new(Purchase {
                began_at: NOW,
                decisive_at: NOW + Seconds(630),
                absences,
                listed: std::collections::BTreeSet::new(),
                automatic_payment,
            }),
            look_at: NOW,
        })
    };
    let trace = steps(OrderStep::Trace);
    assert!(trace(&orphan(&purchase(true, 0), true)));
    assert!(trace(&orphan(&purchase(true, 1), true)));
    assert!(trace(&orphan(&purchase(false, 0), true)));
    let given_up = orphan(&purchase(false, 1), true);
    let Action::AbandonOrder { message, .. } = given_up else {
        panic!("{given_up:?}");
    };
    assert!(message.contains("unpaid"), "{message}");
    let mut buys = order(OrderPhase::Bare {
        listed: std::collections::BTreeSet::new(),
        looked_at: NOW,
        spent: Spent::default(),
    });
    buys.started = Some(crate::model::Started {
        step: OrderStep::Buy,
        at: NOW,
    });
    let recorded = orphan(&buys, true);
    assert!(
        matches!(
            recorded,
            Action::RecordOrder {
                event: OrderEvent::PurchaseLost { .. },
                ..
            }
        ),
        "{recorded:?}"
    );
}

#[test]
fn an_application_with_a_lost_answer_is_found_before_it_is_withdrawn() {
    let unclear = order(OrderPhase::Unclear {
        spki: None,
        submitted_at: NOW,
        decisive_at: NOW,
        absences: 0,
        gone: None,
        look_at: NOW,
        entitlement: Some("scs1".to_owned()),
        supplement: false,
    });
    assert!(steps(OrderStep::Resolve)(&orphan(&unclear, true)));
    let given_up = orphan(&unclear, false);
    assert!(matches!(given_up, Action::AbandonOrder { .. }));
}

#[test]
fn names_with_a_lost_answer_are_looked_for_as_long_as_they_may_come_before_they_are_taken_back() {
    let unclear = |decisive_at| {
        order(OrderPhase::Unclear {
            spki: None,
            submitted_at: NOW,
            decisive_at,
            absences: 0,
            gone: None,
            look_at: NOW,
            entitlement: Some("scs1".to_owned()),
            supplement: true,
        })
    };
    let early = orphan(&unclear(NOW + Seconds(61)), true);
    assert!(steps(OrderStep::Resolve)(&early), "{early:?}");
    let late = orphan(&unclear(NOW + Seconds(60)), true);
    assert!(matches!(late, Action::AbandonOrder { .. }), "{late:?}");
}

#[test]
fn what_an_order_cannot_clear_away_is_told_of_also_for_what_left_the_policy() {
    let mut order = order(ending(false));
    order.failures = Failures {
        count: 3,
        last: Some(StepFailure {
            at: NOW,
            class: ErrorClass::Transient,
            message: "the server is gone".to_owned(),
            retry_after: None,
            policy: order.request.policy,
        }),
    };
    let policy = testing::policy();
    let snapshot = Snapshot {
        orders: BTreeMap::from([(order.id.clone(), order.clone())]),
        ..Snapshot::default()
    };
    let plan = plan(&policy, &snapshot, NOW + Seconds(1));
    assert!(plan.actions.is_empty(), "it waits: {:?}", plan.actions);
    let kinds: Vec<&str> = plan.alerts.keys().map(|key| key.as_str()).collect();
    assert_eq!(kinds, ["left-over/www"]);
}

fn failed(order: &mut Order, count: u32, class: ErrorClass) {
    order.failures = Failures {
        count,
        last: Some(StepFailure {
            at: NOW,
            class,
            message: "the token expired".to_owned(),
            retry_after: None,
            policy: order.request.policy,
        }),
    };
}

#[test]
fn what_cannot_be_cleared_away_keeps_no_certificate_that_is_due_waiting() {
    let state = CertificateState::default();
    let not_after = NOW;
    let due = || Some(Reason::RenewalDue { since: NOW });
    let emergency = || Some(Reason::Emergency { not_after });
    for (withdraw, what) in [
        (
            true,
            "the application scs1 is not withdrawn: the token expired",
        ),
        (
            false,
            "_dnsauth.www.example is not taken away: the token expired",
        ),
    ] {
        let mut order = order(ending(withdraw));
        assert_eq!(leaves_behind(&order, &state, emergency), None, "not tried");
        failed(&mut order, 5, ErrorClass::Authentication);
        assert_eq!(leaves_behind(&order, &state, due), None, "for hours only");
        let event = leaves_behind(&order, &state, emergency).unwrap();
        assert_eq!(
            event,
            OrderEvent::LeftBehind {
                what: what.to_owned()
            }
        );
        failed(&mut order, 30, ErrorClass::Authentication);
        assert_eq!(
            leaves_behind(&order, &state, || None),
            None,
            "nothing is due"
        );
        assert_eq!(leaves_behind(&order, &state, due), Some(event.clone()));
        // One after the other.
        let after = order_machine::transition(&order.phase, &event).unwrap();
        let OrderPhase::Ending {
            withdraw: None,
            proof: left,
            ..
        } = &after
        else {
            panic!("{after:?}");
        };
        assert_eq!(left.is_some(), withdraw);
    }
    let mut cleared = order(ending(false));
    let OrderPhase::Ending { proof, .. } = &mut cleared.phase else {
        panic!("it ends");
    };
    *proof = None;
    failed(&mut cleared, 30, ErrorClass::Transient);
    assert_eq!(
        leaves_behind(&cleared, &state, emergency),
        None,
        "only put away"
    );
}

#[test]
fn what_was_left_behind_is_told_of_for_a_month_beside_the_next_order() {
    let order = order(ending(false));
    let event = OrderEvent::LeftBehind {
        what: "a record is not taken away".to_owned(),
    };
    let state = CertificateState::default();
    let policy = order.request.policy;
    let after = outcome::certificate_after(&state, &order, &event, None, policy, NOW);
    let state = after.unwrap();
    let mut policy = testing::policy();
    let certificate = testing::certificate("www");
    let id = certificate.id.clone();
    policy
        .issuers
        .insert(certificate.issuer.clone(), testing::issuer());
    policy.certificates.insert(id.clone(), certificate);
    let snapshot = Snapshot {
        certificates: BTreeMap::from([(id, state)]),
        ..Snapshot::default()
    };
    let tells = |now| {
        let plan = plan(&policy, &snapshot, now);
        let opens = |action: &Action| matches!(action, Action::OpenOrder { .. });
        assert!(plan.actions.iter().any(opens), "{:?}", plan.actions);
        plan.alerts
            .keys()
            .any(|key| key.as_str() == "left-over/www")
    };
    assert!(tells(NOW));
    assert!(tells(NOW + Seconds::days(29)));
    assert!(!tells(NOW + Seconds::days(30)));
}

#[test]
fn what_a_certificate_left_behind_is_told_of_also_when_it_left_the_policy() {
    let left = LeftBehind {
        what: "a record is not taken away".to_owned(),
        at: NOW,
    };
    let state = CertificateState {
        left_behind: vec![left],
        ..CertificateState::default()
    };
    let id = testing::certificate("www").id;
    let snapshot = Snapshot {
        certificates: BTreeMap::from([(id, state)]),
        ..Snapshot::default()
    };
    let told = |now| {
        let plan = plan(&testing::policy(), &snapshot, now);
        let mut all = plan.alerts.iter();
        let one = all.find(|(key, _)| key.as_str() == "left-over/www");
        (one.map(|(_, alert)| alert.title.clone()), plan.next_wake)
    };
    let title = "www: a record is not taken away".to_owned();
    let over = NOW + Seconds::days(30);
    assert_eq!(told(over - Seconds(1)), (Some(title), over));
    assert_eq!(told(over).0, None);
}

#[test]
fn a_purchase_that_stays_unclear_is_told_of_whoever_waits_for_it() {
    let mut waits = order(OrderPhase::Bare {
        listed: std::collections::BTreeSet::new(),
        looked_at: NOW,
        spent: Spent::default(),
    });
    waits.request.public.as_mut().unwrap().buying = Some(Buying {
        product: crate::model::Product {
            brand: "GEOTRUST".to_owned(),
            kind: "DV_SSL_CERT".to_owned(),
            domain_type: crate::model::DomainType::SingleDomain,
            domains: 1,
            years: 1,
            kinds: None,
        },
        automatic_payment: true,
        budget: crate::model::Budget {
            per_day: 9,
            per_month: 9,
        },
        reserve: false,
    });
    let mut other = order(OrderPhase::PurchaseUnclear {
        purchase: Box::new(Purchase {
            began_at: NOW,
            decisive_at: NOW + Seconds(630),
            absences: 0,
            listed: std::collections::BTreeSet::new(),
            automatic_payment: true,
        }),
        look_at: NOW,
    });
    other.id = OrderId::new("o2").unwrap();
    other.certificate = crate::model::CertificateId::new("shop").unwrap();
    let told = |orders: &[&Order], now| {
        let all = orders
            .iter()
            .map(|order| (order.id.clone(), (*order).clone()));
        let snapshot = Snapshot {
            orders: all.collect(),
            ..Snapshot::default()
        };
        let (policy, mut draft) = (testing::policy(), Draft::new(now));
        let (certificate, state) = (testing::certificate("www"), CertificateState::default());
        let subject = Subject {
            policy: &certificate,
            state: &state,
            order: Some(&waits),
            shortage: None,
            lead: Seconds(0),
        };
        draft.buys(&other.issuer, &other.id);
        alerts(
            &policy,
            &snapshot,
            (&subject, &waits, None),
            now,
            &mut draft,
        );
        let plan = draft.finish(Vec::new());
        let key = |key: &&crate::model::AlertKey| key.as_str() == "purchase-unclear/www";
        let key = plan.alerts.keys().find(key).cloned();
        key.map(|key| plan.alerts[&key].title.clone())
    };
    let hour = NOW + Seconds::hours(1);
    assert_eq!(told(&[&waits, &other], hour - Seconds(1)), None);
    let title = told(&[&waits, &other], hour).unwrap();
    assert!(title.contains("waits for the purchase of shop"), "{title}");
    let mut elsewhere = other.clone();
    elsewhere.issuer = IssuerId::new("elsewhere").unwrap();
    assert_eq!(told(&[&waits, &elsewhere], hour), None);
}

#[test]
fn a_place_in_the_queue_that_leads_to_nothing_is_told_an_hour_after_there_was_room() {
    let told = |reserve: bool, bought: Option<Seconds>, now: Timestamp| {
        let at = bought.map(|after| NOW + after);
        let mut waits = order(OrderPhase::Bare {
            listed: std::collections::BTreeSet::new(),
            looked_at: now,
            spent: Spent {
                at: at.into_iter().collect(),
                placed: Some(now + Seconds(30)),
                ..Spent::default()
            },
        });
        waits.request.public.as_mut().unwrap().buying = Some(Buying {
            product: crate::model::Product {
                brand: "GEOTRUST".to_owned(),
                kind: "DV_SSL_CERT".to_owned(),
                domain_type: crate::model::DomainType::SingleDomain,
                domains: 1,
                years: 1,
                kinds: None,
            },
            automatic_payment: true,
            budget: crate::model::Budget {
                per_day: 1,
                per_month: 9,
            },
            reserve,
        });
        let (policy, mut draft) = (testing::policy(), Draft::new(now));
        let (certificate, state) = (testing::certificate("www"), CertificateState::default());
        let subject = Subject {
            policy: &certificate,
            state: &state,
            order: Some(&waits),
            shortage: None,
            lead: Seconds(0),
        };
        let snapshot = Snapshot::default();
        alerts(
            &policy,
            &snapshot,
            (&subject, &waits, None),
            now,
            &mut draft,
        );
        let plan = draft.finish(Vec::new());
        let mut all = plan.alerts.into_values();
        all.any(|alert| alert.title.contains("its place in the queue"))
    };
    let hour = NOW + Seconds::hours(1);
    assert!(!told(true, None, hour - Seconds(1)));
    assert!(told(true, None, hour));
    assert!(!told(false, None, hour));
    // A day after the last purchase there is room again, and an hour later it is odd.
    let day = hour + Seconds::days(1);
    let bought = Some(Seconds::hours(1));
    assert!(!told(true, bought, day + Seconds::minutes(59)));
    assert!(told(true, bought, day + Seconds::hours(1)));
}

#[test]
fn a_failure_counts_once_however_long_the_end_takes() {
    let closing = OrderClosing::Failed {
        class: ErrorClass::Rejected,
        message: "no".to_owned(),
    };
    let event = OrderEvent::Closed {
        closing: closing.clone(),
    };
    let state = CertificateState::default();
    let submitted = order(OrderPhase::Submitted {
        spki: None,
        reference: "scs1".to_owned(),
        poll_after: NOW,
        public: true,
        proof: Some(proof()),
        review: Review::default(),
    });
    let policy = submitted.request.policy;
    let after = outcome::certificate_after(&state, &submitted, &event, None, policy, NOW);
    let state = after.unwrap();
    assert_eq!(state.failures.count, 1);
    assert_eq!(state.unused.as_ref().unwrap().reference, "scs1");
    let ends = order(OrderPhase::Ending {
        closing,
        withdraw: None,
        proof: None,
    });
    let later = NOW + Seconds::hours(9);
    let after = outcome::certificate_after(&state, &ends, &event, None, policy, later);
    let state = after.unwrap();
    assert_eq!(state.failures.count, 1);
    assert_eq!(state.unused.unwrap().at, later, "only now it is withdrawn");
}
