//! Unit tests of the rollout machine.

use std::collections::BTreeMap;

use super::*;
use crate::model::{
    CertificateId, CertificateState, EarlierRevision, ErrorClass, HookSteps, RevisionId, RolloutId,
    Started, StepFailure, TargetState,
};
use crate::plan::{open, testing};

const NOW: Timestamp = Timestamp(1_000_000);
const POLICY: Fingerprint = Fingerprint([1; 32]);
const HOST: HostSeed = HostSeed(7);

fn set(revision: &str) -> BTreeMap<CertificateId, RevisionId> {
    let id = CertificateId::new("www").unwrap();
    [(id, RevisionId::new(revision).unwrap())]
        .into_iter()
        .collect()
}

fn rollout(phase: RolloutPhase) -> Rollout {
    let state = TargetState {
        live: set("r1"),
        generation: Some(1),
        ..TargetState::default()
    };
    let target = testing::target("web");
    let id = RolloutId::new("p1").unwrap();
    let mut rollout = open::rollout(id, &target, &state, set("r2"), BTreeMap::new(), 2, NOW);
    rollout.phase = phase;
    rollout
}

fn failed(step: RolloutStep) -> Failed {
    Failed {
        step,
        trouble: Trouble {
            class: ErrorClass::Configuration,
            message: "no".to_owned(),
            output: String::new(),
            retry_after: None,
        },
        again: false,
        restorable: true,
        service_runs: true,
        foreign: false,
        named: BTreeSet::new(),
    }
}

fn after(phase: RolloutPhase, snapshot: &Snapshot, failed: Failed) -> RolloutPhase {
    let rollout = rollout(phase);
    match on_error(&rollout, snapshot, failed, POLICY, NOW) {
        OnError::Event(event) => transition(&rollout.phase, &event).unwrap(),
        OnError::Retry(_) => rollout.phase,
    }
}

fn walk(events: &[RolloutEvent]) -> &'static str {
    let mut phase = RolloutPhase::Opened;
    for event in events {
        phase = transition(&phase, event).unwrap();
    }
    phase.code()
}

const VERIFIED: RolloutEvent = RolloutEvent::Verified {
    reports: Vec::new(),
};

#[test]
fn the_way_forward_ends_live() {
    let way = [
        RolloutEvent::Staged,
        RolloutEvent::Committed,
        RolloutEvent::Tested,
        RolloutEvent::Reloaded,
        VERIFIED,
        RolloutEvent::Closed,
    ];
    assert_eq!(walk(&way), "live");
}

#[test]
fn nothing_is_undone_before_the_commit_and_everything_after_it() {
    let snapshot = Snapshot::default();
    for phase in [RolloutPhase::Opened, RolloutPhase::Staged] {
        let phase = after(phase, &snapshot, failed(RolloutStep::Stage));
        assert_eq!(phase.code(), "abandoned");
    }
    for phase in [
        RolloutPhase::Committed,
        RolloutPhase::Tested,
        RolloutPhase::Reloaded,
    ] {
        let phase = after(phase, &snapshot, failed(RolloutStep::Verify));
        assert_eq!(phase.code(), "undo-decided");
    }
}

#[test]
fn a_commit_that_fails_half_way_is_undone() {
    let phase = after(
        RolloutPhase::Staged,
        &Snapshot::default(),
        failed(RolloutStep::Commit),
    );
    assert_eq!(phase.code(), "undo-decided");
}

#[test]
fn without_anything_to_return_to_the_set_stays_in_place() {
    let mut first = failed(RolloutStep::Test);
    first.restorable = false;
    let phase = after(RolloutPhase::Committed, &Snapshot::default(), first);
    assert_eq!(phase.code(), "awaiting-service");
    let mut stopped = failed(RolloutStep::Reload);
    stopped.service_runs = false;
    let phase = after(RolloutPhase::Tested, &Snapshot::default(), stopped);
    assert_eq!(phase.code(), "awaiting-service");
}

#[test]
fn an_undo_never_returns_to_an_expired_or_unserved_set() {
    let mut snapshot = Snapshot::default();
    let earlier = |not_after| CertificateState {
        earlier: vec![EarlierRevision {
            id: RevisionId::new("r1").unwrap(),
            serial: "01".to_owned(),
            not_after,
            reference: String::new(),
            revoked: false,
        }],
        ..CertificateState::default()
    };
    let id = CertificateId::new("www").unwrap();
    let verify = || failed(RolloutStep::Verify);
    snapshot
        .certificates
        .insert(id.clone(), earlier(NOW + Seconds(1)));
    let phase = after(RolloutPhase::Reloaded, &snapshot, verify());
    assert_eq!(phase.code(), "undo-decided");
    snapshot.certificates.insert(id.clone(), earlier(NOW));
    let phase = after(RolloutPhase::Reloaded, &snapshot, verify());
    assert_eq!(phase.code(), "awaiting-service");

    snapshot.certificates.insert(id, earlier(NOW + Seconds(1)));
    let unserved = TargetState {
        never_served: true,
        ..TargetState::default()
    };
    let target = testing::target("web").id;
    snapshot.targets.insert(target, unserved);
    let phase = after(RolloutPhase::Reloaded, &snapshot, verify());
    assert_eq!(phase.code(), "awaiting-service");
}

#[test]
fn a_set_goes_back_as_a_whole_for_the_sake_of_those_that_are_still_valid() {
    let id = |name: &str| CertificateId::new(name).unwrap();
    let revision = |name: &str| RevisionId::new(name).unwrap();
    let set = |number: &str| {
        let members = ["a", "b", "c"].map(|name| (id(name), revision(&format!("{name}{number}"))));
        BTreeMap::from(members)
    };
    let state = TargetState {
        live: set("1"),
        generation: Some(1),
        ..TargetState::default()
    };
    let target = testing::target("web");
    let mut new = set("2");
    // One is not replaced, and says nothing about what is worth returning to.
    new.insert(id("c"), revision("c1"));
    let rollout_id = RolloutId::new("p1").unwrap();
    let mut rollout = open::rollout(rollout_id, &target, &state, new, BTreeMap::new(), 2, NOW);
    rollout.phase = RolloutPhase::Committed;
    let ended = |ended: &[&str]| {
        let mut snapshot = Snapshot::default();
        for name in ["a", "b", "c"] {
            let has_ended = ended.contains(&name);
            let state = CertificateState {
                earlier: vec![EarlierRevision {
                    id: revision(&format!("{name}1")),
                    serial: "01".to_owned(),
                    not_after: NOW + Seconds(if has_ended { 0 } else { 1 }),
                    reference: String::new(),
                    revoked: false,
                }],
                ..CertificateState::default()
            };
            snapshot.certificates.insert(id(name), state);
        }
        match on_error(&rollout, &snapshot, failed(RolloutStep::Test), POLICY, NOW) {
            OnError::Event(event) => transition(&rollout.phase, &event).unwrap().code(),
            OnError::Retry(_) => panic!("it is not tried again"),
        }
    };
    assert_eq!(ended(&[]), "undo-decided");
    assert_eq!(ended(&["a"]), "undo-decided");
    assert_eq!(ended(&["b", "c"]), "undo-decided");
    assert_eq!(ended(&["a", "b"]), "awaiting-service");
}

#[test]
fn a_look_at_a_service_keeps_its_phase_until_the_proof() {
    let mut failing = failed(RolloutStep::Test);
    failing.restorable = false;
    let waiting = after(RolloutPhase::Committed, &Snapshot::default(), failing);
    let mut rollout = rollout(waiting);
    assert!(matches!(
        next(&rollout, POLICY, HOST, NOW),
        Next::Wait(Waiting::Service { .. })
    ));
    let later = NOW + Seconds(60);
    for (step, event) in [
        (RolloutStep::Test, RolloutEvent::Tested),
        (RolloutStep::Reload, RolloutEvent::Reloaded),
        (RolloutStep::Verify, VERIFIED),
    ] {
        assert_eq!(rollout.phase.code(), "awaiting-service");
        assert_eq!(next(&rollout, POLICY, HOST, later), Next::Step(step));
        rollout.phase = transition(&rollout.phase, &event).unwrap();
    }
    assert_eq!(rollout.phase.code(), "verified");
}

#[test]
fn a_service_is_looked_at_less_and_less_often_up_to_a_quarter_of_an_hour() {
    let look = |age| look_again(NOW, NOW + Seconds(age)).0;
    assert_eq!(look(0), 60);
    assert_eq!(look(1200), 300);
    assert_eq!(look(1_000_000), 900);
    assert_eq!(look(-1_000_000), 60, "the clock was set back");
}

#[test]
fn what_may_pass_is_tried_three_times_after_the_commit_and_without_end_before() {
    let mut again = failed(RolloutStep::Reload);
    again.again = true;
    let decide = |phase, count, failed: &Failed| {
        let mut rollout = rollout(phase);
        rollout.failures.count = count;
        let snapshot = Snapshot::default();
        matches!(
            on_error(&rollout, &snapshot, failed.clone(), POLICY, NOW),
            OnError::Retry(_)
        )
    };
    assert!(decide(RolloutPhase::Tested, 1, &again));
    assert!(!decide(RolloutPhase::Tested, 2, &again));
    assert!(decide(RolloutPhase::Opened, 1000, &again));
    let undoing = undoing(
        &Cause {
            step: RolloutStep::Verify,
            class: ErrorClass::Configuration,
            message: String::new(),
            output: String::new(),
            named: BTreeSet::new(),
            strange: BTreeMap::new(),
            refused: false,
            probe: ProbeFault::None,
        },
        UndoPhase::Restored,
    );
    assert!(decide(undoing.clone(), 3, &again));
    assert!(!decide(undoing, 4, &again));
}

#[test]
fn a_commit_under_way_cannot_be_superseded() {
    let mut rollout = rollout(RolloutPhase::Staged);
    assert!(may_be_superseded(&rollout));
    rollout.started = Some(Started {
        step: RolloutStep::Commit,
        at: NOW,
    });
    assert!(!may_be_superseded(&rollout));
}

#[test]
fn a_failure_is_waited_for() {
    let mut rollout = rollout(RolloutPhase::Opened);
    rollout.failures.add(StepFailure {
        at: NOW,
        class: ErrorClass::Transient,
        message: "disk full".to_owned(),
        retry_after: None,
        policy: POLICY,
    });
    assert!(matches!(
        next(&rollout, POLICY, HOST, NOW),
        Next::Wait(Waiting::Backoff { .. })
    ));
    assert_eq!(
        next(&rollout, POLICY, HOST, NOW + Seconds(90)),
        Next::Step(RolloutStep::Stage)
    );
}

fn hooked(phase: RolloutPhase) -> Rollout {
    let mut rollout = rollout(phase);
    rollout.hooks = HookSteps {
        pre: true,
        post: true,
        on_failure: true,
    };
    rollout
}

fn verified() -> RolloutPhase {
    RolloutPhase::Verified {
        reports: Vec::new(),
    }
}

#[test]
fn hooks_have_steps_only_where_the_target_has_hooks() {
    for (phase, without, with) in [
        (
            RolloutPhase::Staged,
            RolloutStep::Commit,
            RolloutStep::PreHook,
        ),
        (
            RolloutPhase::PreHooks,
            RolloutStep::Commit,
            RolloutStep::Commit,
        ),
        (verified(), RolloutStep::Close, RolloutStep::PostHook),
        (
            RolloutPhase::PostHooks,
            RolloutStep::Close,
            RolloutStep::Close,
        ),
    ] {
        let plain = rollout(phase.clone());
        assert_eq!(
            next(&plain, POLICY, HOST, NOW),
            Next::Step(without),
            "{phase:?}"
        );
        let hooked = hooked(phase.clone());
        assert_eq!(
            next(&hooked, POLICY, HOST, NOW),
            Next::Step(with),
            "{phase:?}"
        );
    }
}

#[test]
fn a_failed_pre_hook_abandons_and_the_failure_hook_comes_first_and_once() {
    let mut rollout = hooked(RolloutPhase::Staged);
    let pre = failed(RolloutStep::PreHook);
    let snapshot = Snapshot::default();
    let OnError::Event(event) = on_error(&rollout, &snapshot, pre, POLICY, NOW) else {
        panic!("it is not repeated");
    };
    rollout.phase = super::after(&rollout, &event).unwrap();
    assert!(matches!(
        &rollout.phase,
        RolloutPhase::OnFailure {
            closing: RolloutClosing::Abandoned { .. }
        }
    ));
    assert_eq!(
        next(&rollout, POLICY, HOST, NOW),
        Next::Step(RolloutStep::FailureHook)
    );
    let mut hook = failed(RolloutStep::FailureHook);
    hook.again = true;
    let OnError::Event(event) = on_error(&rollout, &snapshot, hook, POLICY, NOW) else {
        panic!("it is not repeated");
    };
    rollout.phase = super::after(&rollout, &event).unwrap();
    assert!(matches!(
        &rollout.phase,
        RolloutPhase::Closed {
            closing: RolloutClosing::Abandoned { .. }
        }
    ));
    assert_eq!(next(&rollout, POLICY, HOST, NOW), Next::Done);
}

#[test]
fn a_failed_post_hook_is_repeated_without_end_and_gives_way_to_another_set() {
    let mut rollout = hooked(verified());
    assert!(!may_be_superseded(&rollout), "it has not been run yet");
    let snapshot = Snapshot::default();
    for _ in 0..50 {
        let post = failed(RolloutStep::PostHook);
        let OnError::Retry(failure) = on_error(&rollout, &snapshot, post, POLICY, NOW) else {
            panic!("nothing is undone");
        };
        rollout.failures.add(failure);
    }
    assert!(matches!(
        next(&rollout, POLICY, HOST, NOW),
        Next::Wait(Waiting::Backoff { .. })
    ));
    assert!(may_be_superseded(&rollout));
    let another = RolloutEvent::Superseded {
        message: String::new(),
    };
    let live = RolloutPhase::Closed {
        closing: RolloutClosing::Live,
    };
    assert_eq!(super::after(&rollout, &another).unwrap(), live);
    let passed = super::after(&rollout, &RolloutEvent::PostHookPassed).unwrap();
    assert_eq!(transition(&passed, &RolloutEvent::Closed).unwrap(), live);
}
