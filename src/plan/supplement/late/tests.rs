//! Unit tests of names that come late.

use super::*;
use crate::model::{
    CertificatePolicy, ErrorClass, Failures, OrderClosing, OrderEvent, OrderPhase, StepFailure,
    SubjectAltNames,
};
use crate::plan::order_machine::transition;
use crate::plan::outcome::certificate_after;
use crate::plan::supplement::tests::{NOW, POLICY, names, order, supplemented, unclear, world};

fn closed(failed: bool) -> OrderEvent {
    let message = "a CAA record forbids it".to_owned();
    let closing = if failed {
        let class = ErrorClass::Rejected;
        OrderClosing::Failed { class, message }
    } else {
        OrderClosing::Abandoned { message }
    };
    OrderEvent::Closed { closing }
}

fn submitted() -> OrderPhase {
    transition(&OrderPhase::Opened, &supplemented()).unwrap()
}

fn after(phase: OrderPhase, failed: bool) -> Option<CertificateState> {
    let (_, _, state) = world();
    certificate_after(&state, &order(phase), &closed(failed), None, POLICY, NOW)
}

/// The host, after an order for `b.example` ended without it; with or without the name in the policy.
fn ended(wanted: bool) -> (Policy, Snapshot, CertificateId) {
    let (mut policy, mut certificate, _) = world();
    if !wanted {
        certificate.names = names(&["www.example", "a.example"]);
    }
    let id = certificate.id.clone();
    policy.certificates.insert(id.clone(), certificate);
    let mut snapshot = Snapshot::default();
    let state = after(unclear(1), !wanted).unwrap();
    snapshot.certificates.insert(id.clone(), state);
    (policy, snapshot, id)
}

fn first(snapshot: &mut Snapshot) -> &mut Unseen {
    let state = snapshot.certificates.values_mut().next().unwrap();
    state.unseen.first_mut().unwrap()
}

fn at(world: &(Policy, Snapshot, CertificateId), now: Timestamp) -> Step {
    let (policy, snapshot, id) = world;
    let unseen = snapshot.certificates[id].unseen.first().unwrap();
    step(policy, snapshot, id, unseen, now)
}

#[test]
fn an_order_that_ends_without_having_seen_what_it_sent_leaves_it_to_be_looked_for() {
    for (phase, failed) in [(submitted(), true), (unclear(1), true), (unclear(1), false)] {
        let state = after(phase, failed).unwrap();
        let unseen = &state.unseen[0];
        assert_eq!(unseen.supplement.adds, names(&["b.example"]));
        assert_eq!(unseen.until, NOW + Seconds::days(90));
    }
    let accepted = after(submitted(), false);
    let accepted = accepted.map_or_else(Vec::new, |state| state.unseen);
    assert_eq!(accepted, [], "the order takes back what was accepted");
    // Two looks without it allow another request, and say nothing of the day after.
    let (_, _, state) = world();
    let absent = OrderEvent::DefinitelyAbsent;
    let after_looks = |order| certificate_after(&state, &order, &absent, None, POLICY, NOW);
    let state = after_looks(order(unclear(2))).unwrap();
    assert_eq!(state.unseen[0].supplement.adds, names(&["b.example"]));
    let mut bought = order(unclear(2));
    if let OrderPhase::Unclear { supplement, .. } = &mut bought.phase {
        *supplement = false;
    }
    assert_eq!(after_looks(bought), None, "an application");
    // What was refused, or never sent.
    let refused = after(OrderPhase::Opened, true).unwrap();
    assert_eq!(refused.unseen, Vec::new());
    assert_eq!(after(OrderPhase::Opened, false), None);
    // Counted once: what is left of such an order is only put away.
    let ending = transition(&submitted(), &closed(false)).unwrap();
    assert!(matches!(ending, OrderPhase::Ending { .. }));
    assert_eq!(after(ending, false), None);
}

#[test]
fn a_copy_looks_for_nothing_that_its_owner_may_wait_for() {
    let mut world = ended(false);
    let due = NOW + Seconds::hours(1);
    assert_eq!(at(&world, due), Step::Due);
    world.1.stale = Some(crate::model::Stale::OtherMachine);
    assert_eq!(at(&world, due), Step::Waits(None));
}

#[test]
fn what_may_come_late_is_looked_for_less_and_less_until_the_certificate_ends() {
    let mut world = ended(false);
    let mut now = NOW;
    let mut pauses = Vec::new();
    for _ in 0..12 {
        let Step::Waits(Some(next)) = at(&world, now) else {
            panic!("{:?}", at(&world, now));
        };
        assert_eq!(at(&world, next), Step::Due);
        pauses.push(now.until(next));
        first(&mut world.1).looked_at = next;
        now = next;
    }
    assert_eq!(pauses[..3], [10, 10, 20].map(Seconds::minutes));
    assert_eq!(pauses[10..], [Seconds::days(1), Seconds::days(1)]);
    assert_eq!(at(&world, NOW + Seconds::days(90)), Step::Over);
    // What failed has the pauses of every step, and what is nobody's any more waits.
    first(&mut world.1).failures = Failures {
        count: 3,
        last: Some(StepFailure {
            at: now + Seconds::days(1),
            class: ErrorClass::Transient,
            message: String::new(),
            retry_after: None,
            policy: world.0.issuers.values().next().unwrap().digest,
        }),
    };
    let failed = at(&world, now + Seconds::days(1));
    assert!(matches!(failed, Step::Waits(Some(_))), "{failed:?}");
    world.0.issuers.clear();
    assert_eq!(at(&world, now + Seconds::days(1)), Step::Waits(None));
}

#[test]
fn an_order_that_wants_them_takes_them_over_and_what_another_has_sent_is_left_alone() {
    let late = NOW + Seconds::days(1);
    assert_eq!(at(&ended(true), late), Step::Waits(None));
    assert_eq!(at(&ended(false), late), Step::Due);
    // Bought in their place.
    let mut bought = ended(true);
    let state = bought.1.certificates.values_mut().next().unwrap();
    state.newest.as_mut().unwrap().reference = "scs2".to_owned();
    assert_eq!(at(&bought, late), Step::Due);
    // Nobody takes over what left the policy altogether.
    let mut gone = ended(true);
    gone.0.certificates.clear();
    assert_eq!(at(&gone, late), Step::Due);
    for (phase, expected) in [
        (OrderPhase::Opened, Step::Due),
        (unclear(0), Step::Waits(None)),
        (submitted(), Step::Waits(None)),
    ] {
        let mut world = ended(false);
        let order = order(phase);
        world.1.orders.insert(order.id.clone(), order);
        assert_eq!(at(&world, late), expected);
    }
}

#[test]
fn what_came_with_a_revision_is_looked_for_no_more() {
    let (_, snapshot, id) = ended(true);
    let mut state = snapshot.certificates[&id].clone();
    let mut revision = state.newest.clone().unwrap();
    forget(&mut state, &revision);
    assert_eq!(state.unseen.len(), 1, "it lacks them");
    let all: SubjectAltNames = names(&["www.example", "a.example", "b.example"]);
    revision.facts.names = all;
    let mut other = revision.clone();
    other.reference = "scs2".to_owned();
    forget(&mut state, &other);
    assert_eq!(state.unseen.len(), 1, "they may come to the one before");
    forget(&mut state, &revision);
    assert_eq!(state.unseen, Vec::new());
}

#[test]
fn names_that_may_be_these_are_told_and_planned_for() {
    let mut world = ended(false);
    first(&mut world.1).unsure = true;
    let plan = crate::plan::plan(&world.0, &world.1, NOW + Seconds::hours(1));
    let alert = plan.alerts.values().find(|alert| {
        let key = alert.key.as_str();
        key == "supplement-late/scs1/www"
    });
    let title = &alert.unwrap().title;
    assert_eq!(
        title,
        "www: names are being added to scs1, perhaps b.example"
    );
    let supplement = first(&mut world.1).supplement.clone();
    let task = plan.actions.iter().find_map(|action| match action {
        crate::plan::Action::Tend { task, .. } => Some(task.clone()),
        _ => None,
    });
    assert_eq!(task, Some(Tending::TakeBack(supplement)));
}

#[test]
fn what_is_added_days_later_is_somebody_elses_and_so_is_what_another_host_orders() {
    let (mut policy, snapshot, id) = ended(false);
    let unseen = snapshot.certificates[&id].unseen[0].clone();
    assert!(may_be_ours(&unseen, NOW + Seconds::days(2)));
    assert!(!may_be_ours(&unseen, NOW + Seconds::days(3)));
    // The policy lists them, and leaves their order to another host.
    let later = NOW + Seconds::hours(1);
    assert_eq!(step(&policy, &snapshot, &id, &unseen, later), Step::Due);
    let (_, certificate, _) = world();
    let certificate = CertificatePolicy {
        order: OrderMode::Never,
        ..certificate
    };
    policy.certificates.insert(id.clone(), certificate);
    let never = step(&policy, &snapshot, &id, &unseen, later);
    assert_eq!(never, Step::Waits(None));
}

#[test]
fn names_that_were_issued_late_are_told_for_a_day_and_looked_for_no_more() {
    let mut world = ended(false);
    let seen = NOW + Seconds::hours(1);
    first(&mut world.1).issued = Some(seen);
    let end = seen + Seconds::days(1);
    assert_eq!(at(&world, end - Seconds(1)), Step::Waits(Some(end)));
    assert_eq!(at(&world, end), Step::Over);
    let plan = crate::plan::plan(&world.0, &world.1, seen);
    let titles: Vec<_> = plan
        .alerts
        .values()
        .filter(|alert| alert.key.as_str() == "supplement-late/scs1/www")
        .map(|alert| alert.title.as_str())
        .collect();
    let told = "www: b.example were added to scs1 after all, and stay there";
    assert_eq!(titles, [told]);
}
