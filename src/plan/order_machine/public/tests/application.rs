//! From the application to its end: proofs, reviews, what is taken back.

use super::*;

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
fn an_entitlement_that_somebody_else_has_used_is_a_persons() {
    let unclear = |entitlement: Option<&str>| OrderPhase::Unclear {
        spki: Some(KEY),
        submitted_at: NOW,
        decisive_at: NOW,
        absences: 0,
        gone: None,
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
fn an_entitlement_that_is_gone_ends_its_order_after_two_answers_ten_minutes_apart() {
    let unclear = || {
        order(OrderPhase::Unclear {
            spki: Some(KEY),
            submitted_at: NOW,
            decisive_at: NOW + Seconds(150),
            absences: 0,
            gone: None,
            look_at: NOW,
            entitlement: Some("scs1".to_owned()),
            supplement: false,
        })
    };
    let asked = |order: &mut Order, after, bought| {
        let event = gone(order, "scs1 is not there", NOW + Seconds(after), bought);
        order.phase = transition(&order.phase, &event).unwrap();
        order.phase.code()
    };
    let mut order = unclear();
    for after in [0, 149, 150, 151, 749] {
        assert_eq!(asked(&mut order, after, None), "unclear", "{after}");
    }
    // Nothing is sent once more for it meanwhile.
    let next = |order: &Order, after| step(order, &Money::default(), NOW + Seconds(after));
    assert!(matches!(
        next(&order, 749),
        Next::Wait(Waiting::Settling { .. })
    ));
    let ends = gone(&order, "scs1 is not there", NOW + Seconds(750), None);
    let mut state = CertificateState::default();
    let unused = |reference: &str| {
        Some(Unused {
            reference: reference.to_owned(),
            spki: None,
            at: NOW,
        })
    };
    for (before, after) in [
        (None, None),
        (unused("scs1"), None),
        (unused("scs2"), unused("scs2")),
    ] {
        state.unused = before;
        let changed = outcome::certificate_after(&state, &order, &ends, None, POLICY, NOW);
        let changed = changed.unwrap();
        assert_eq!(changed.unused, after);
        // Both answers may have been wrong, and what was applied for with it issued.
        assert!(entitlements::keys(&changed, NOW).contains(&KEY));
    }
    assert_eq!(asked(&mut order, 750, None), "abandoned");

    // An answer that it is unused says that it is not gone.
    let mut order = unclear();
    assert_eq!(asked(&mut order, 150, None), "unclear");
    let there = absent(&order, TIMING, NOW + Seconds(750));
    order.phase = transition(&order.phase, &there).unwrap();
    assert_eq!(asked(&mut order, 751, None), "unclear");
    assert_eq!(asked(&mut order, 1350, None), "unclear");
    assert_eq!(asked(&mut order, 1351, None), "abandoned");

    // What the order bought itself may not be shown yet.
    let mut order = unclear();
    let (bought, shown) = (Some(NOW - Seconds(60)), 6 * 3600 - 60);
    for after in [150, 750, 3600, shown - 1] {
        assert_eq!(asked(&mut order, after, bought), "unclear", "{after}");
    }
    assert_eq!(asked(&mut order, shown, bought), "abandoned");
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
        gone: None,
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
