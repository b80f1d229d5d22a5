//! Whether something is bought, and whether it was.

use super::*;

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
    assert_eq!(
        step(&order, &copied, NOW + Seconds(3600)),
        blocked,
        "what a person may have bought is not for a copy"
    );
    let references: BTreeSet<String> = ["scs9".to_owned()].into();
    let unknown = bare_order(Spent {
        unknown: references.clone(),
        ..Spent::default()
    });
    let how = Stale::UnknownPurchases { references };
    let blocked = Next::Blocked(Blocked::StaleJournal { how });
    assert_eq!(step(&unknown, &free, NOW), blocked);
    assert_eq!(step(&unknown, &free, NOW + Seconds(3599)), blocked);
    assert_eq!(looks_again(&unknown), Some(NOW + Seconds::hours(1)));
    assert_eq!(
        step(&unknown, &free, NOW + Seconds(3600)),
        look,
        "a person may have bought"
    );
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
fn a_copy_takes_nothing_and_still_looks_for_what_it_may_have_sent() {
    let stale = Stale::OtherMachine;
    let copied = Money {
        stale: Some(&stale),
        ..Money::default()
    };
    let reference = || "scs1".to_owned();
    let purchase = || {
        let mut bare = bare_order(Spent::default());
        lost(&mut bare);
        match bare.phase {
            OrderPhase::PurchaseUnclear { purchase, .. } => purchase,
            other => panic!("{}", other.code()),
        }
    };
    let claiming = |purchase| OrderPhase::Claiming {
        reference: reference(),
        confirm_at: NOW,
        purchase,
    };
    let takes = [
        OrderPhase::Opened,
        OrderPhase::Seeking {
            look_at: NOW,
            want: Want::Entitlement,
        },
        // The order in the mark is the owner's as well.
        claiming(None),
        claiming(Some(purchase())),
        bare_order(Spent::default()).phase,
        OrderPhase::Entitled {
            reference: reference(),
        },
        OrderPhase::KeyStored {
            spki: KEY,
            entitlement: Some(reference()),
        },
    ];
    for phase in takes {
        let code = phase.code();
        let order = order(phase);
        let before = step(&order, &Money::default(), NOW);
        assert!(matches!(before, Next::Step(_)), "{code}: {before:?}");
        let blocked = Next::Blocked(Blocked::StaleJournal { how: stale.clone() });
        assert_eq!(step(&order, &copied, NOW), blocked, "{code}");
        let mut private = order;
        private.request.public = None;
        let private = step(&private, &copied, NOW);
        assert!(!matches!(private, Next::Blocked(_)), "{code}: {private:?}");
    }
    // What the owner has applied for since bears the same id.
    let ending = |withdraw: bool, fulfilled: bool| OrderPhase::Ending {
        closing: if fulfilled {
            let revision = RevisionId::new("r1").unwrap();
            OrderClosing::Fulfilled { revision }
        } else {
            let message = String::new();
            OrderClosing::Abandoned { message }
        },
        withdraw: withdraw.then(reference),
        proof: Some(Box::new(ProofState {
            by: ValidationId::new("zone").unwrap(),
            proofs: vec![proof("a.example", "t1", DomainMethod::Dns)],
            stage: ProofStage::Wanted,
            superseded: Vec::new(),
        })),
    };
    for phase in [ending(true, false), ending(false, false)] {
        let blocked = Next::Blocked(Blocked::StaleJournal { how: stale.clone() });
        assert_eq!(step(&order(phase), &copied, NOW), blocked);
    }
    let put_away = order(ending(false, true));
    let retract = Next::Step(OrderStep::Retract);
    assert_eq!(step(&put_away, &copied, NOW), retract);
    for (phase, goes_on) in [
        (
            OrderPhase::PurchaseUnclear {
                purchase: purchase(),
                look_at: NOW,
            },
            OrderStep::Trace,
        ),
        (
            OrderPhase::Unclear {
                spki: Some(KEY),
                submitted_at: NOW,
                decisive_at: NOW,
                absences: 0,
                gone: None,
                look_at: NOW,
                entitlement: Some(reference()),
                supplement: false,
            },
            OrderStep::Resolve,
        ),
        (submitted_with(None), OrderStep::Fetch),
    ] {
        assert_eq!(step(&order(phase), &copied, NOW), Next::Step(goes_on));
    }
    // A submit that may be on its way is written down as such first.
    let mut sends = order(OrderPhase::Entitled {
        reference: reference(),
    });
    sends.started = Some(Started {
        step: OrderStep::Submit,
        at: NOW,
    });
    assert!(matches!(step(&sends, &copied, NOW), Next::Record(_)));
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
