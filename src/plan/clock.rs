//! Whether the clock can be believed, and the plan of a host whose clock cannot: to look again, and to say why.

use std::collections::BTreeSet;

use crate::model::{
    Alert, AlertKey, ClockFacts, Doubt, HostSeed, Policy, Rollout, RolloutPhase, Seconds, Severity,
    Snapshot, TargetPolicy, Timestamp, Waiting,
};
use crate::plan::{Action, Next, Plan, Verdict, rollout_machine};

/// Why `now` is not believed, if it is not.
///
/// What an issuer says to this process counts most, then what it said before. Both are replaced by whatever it says
/// next, up or down: neither a jump of the host's clock nor one of the issuer's is held against the host for ever.
#[must_use]
pub fn doubt(facts: &ClockFacts, now: Timestamp) -> Option<Doubt> {
    if now < facts.built_at {
        let built_at = facts.built_at;
        return Some(Doubt::BeforeBuild { built_at });
    }
    if let Some(fresh) = &facts.fresh {
        if let Some(heard) = fresh.heard {
            let ahead = Seconds(heard.ahead().0.saturating_add(fresh.moved.0));
            if is_small(ahead) {
                return None;
            }
            if is_small(fresh.moved) {
                return Some(Doubt::Far { ahead });
            }
        }
        if !is_small(fresh.moved) && fresh.unsure_for < GRACE {
            return Some(Doubt::Moved { by: fresh.moved });
        }
    }
    let heard = facts.remembered?;
    let ahead = heard.ahead();
    let since = heard.at.until(now);
    // Of another process, so nobody knows whether the clock was set since; what is old says nothing.
    let recent = since >= Seconds(0) && since <= EVIDENCE;
    let heard_nothing = facts.fresh.is_none_or(|fresh| fresh.heard.is_none());
    if heard_nothing && recent && ahead > TOLERANCE {
        return Some(Doubt::Far { ahead });
    }
    let mark = heard.date;
    (now < mark - TOLERANCE).then_some(Doubt::BeforeMark { mark })
}

/// Nothing is begun, every certificate waits, and the one alert says why. An undo goes on: it was decided by a clock that
/// was believed, and half way there is no place to stay.
#[must_use]
pub(crate) fn wait(policy: &Policy, snapshot: &Snapshot, doubt: Doubt, now: Timestamp) -> Plan {
    let until = now + LOOK;
    let verdict = |_: &_| Verdict::Wait(Waiting::Clock { until, doubt });
    let key = AlertKey::new("clock", "host");
    let alert = Alert {
        key: key.clone(),
        severity: Severity::Critical,
        step: 0,
        title: doubt.to_string(),
        text: "Nothing is ordered, rolled out or removed until it is right; then everything goes on by itself. `timedatectl` shows the clock and whether it is kept right."
            .to_owned(),
    };
    Plan {
        actions: snapshot
            .rollouts
            .values()
            .filter(|rollout| matches!(rollout.phase, RolloutPhase::Undoing { .. }))
            .filter_map(|rollout| {
                let target = policy.targets.get(&rollout.target)?;
                next_of(rollout, target, snapshot.host, now)
            })
            .collect(),
        verdicts: policy
            .certificates
            .keys()
            .map(|id| (id.clone(), verdict(id)))
            .collect(),
        alerts: [(key, alert)].into_iter().collect(),
        covered: BTreeSet::new(),
        next_wake: until,
        doubt: Some(doubt),
    }
}

fn next_of(
    rollout: &Rollout,
    target: &TargetPolicy,
    host: HostSeed,
    now: Timestamp,
) -> Option<Action> {
    let id = rollout.id.clone();
    match rollout_machine::next(rollout, target.digest, host, now) {
        Next::Step(step) => Some(Action::AdvanceRollout { rollout: id, step }),
        Next::Record(event) => Some(Action::RecordRollout { rollout: id, event }),
        Next::Wait(_) | Next::Blocked(_) | Next::Done => None,
    }
}

fn is_small(length: Seconds) -> bool {
    length.0.saturating_abs() <= TOLERANCE.0
}

/// Nothing of a certificate's life is decided within an hour; a clock that nobody keeps right is off by seconds.
pub const TOLERANCE: Seconds = Seconds::hours(1);

/// A clock that was set and that no issuer confirms or contradicts in this time is taken for right: the issuer may be
/// down for long, and so may the way to it.
const GRACE: Seconds = Seconds::hours(1);

/// How long it is held against a host that its clock was ahead when a process that is gone heard of it.
const EVIDENCE: Seconds = Seconds::days(7);

/// Between two looks at a clock that is not believed.
const LOOK: Seconds = Seconds::minutes(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        Cause, ErrorClass, Fresh, Heard, ProbeFault, RolloutId, RolloutStep, TargetState, UndoPhase,
    };
    use crate::plan::{open, testing};
    use std::collections::{BTreeMap, BTreeSet};

    const NOW: Timestamp = Timestamp(1_800_000_000);
    const YEARS: Seconds = Seconds::days(3650);
    const MONTHS: Seconds = Seconds::days(90);

    fn heard(date: Timestamp, at: Timestamp) -> Option<Heard> {
        Some(Heard { date, at })
    }

    fn remembered(date: Timestamp, at: Timestamp) -> ClockFacts {
        ClockFacts {
            remembered: heard(date, at),
            ..ClockFacts::default()
        }
    }

    fn fresh(ahead: Seconds, moved: Seconds, unsure_for: Seconds) -> ClockFacts {
        let heard = Heard {
            date: NOW - ahead,
            at: NOW,
        };
        ClockFacts {
            fresh: Some(Fresh {
                heard: Some(heard),
                moved,
                unsure_for,
            }),
            ..ClockFacts::default()
        }
    }

    #[test]
    fn an_undo_under_way_goes_on_and_nothing_else_does() {
        let target = testing::target("web");
        let policy = Policy {
            targets: [(target.id.clone(), target.clone())].into(),
            ..testing::policy()
        };
        let of = |phase| {
            let id = RolloutId::new("p1").unwrap();
            let state = TargetState::default();
            let set = BTreeMap::new();
            let mut rollout = open::rollout(id, &target, &state, set, BTreeMap::new(), 2, NOW);
            rollout.phase = phase;
            let snapshot = Snapshot {
                rollouts: [(rollout.id.clone(), rollout)].into(),
                clock: ClockFacts {
                    built_at: NOW + Seconds(1),
                    ..ClockFacts::default()
                },
                ..Snapshot::default()
            };
            let plan = crate::plan::plan(&policy, &snapshot, NOW);
            assert!(plan.doubt.is_some());
            plan.actions
        };
        let cause = Cause {
            step: RolloutStep::Test,
            class: ErrorClass::Configuration,
            message: "no".to_owned(),
            output: String::new(),
            named: BTreeSet::new(),
            strange: BTreeMap::new(),
            refused: false,
            probe: ProbeFault::None,
        };
        let undo = UndoPhase::Decided;
        let actions = of(RolloutPhase::Undoing { cause, undo });
        assert!(
            matches!(
                actions.as_slice(),
                [Action::AdvanceRollout { step, .. }] if *step == RolloutStep::Restore
            ),
            "{actions:?}"
        );
        assert!(of(RolloutPhase::Committed).is_empty());
    }

    #[test]
    fn nothing_known_is_no_doubt_and_the_build_is_always_known() {
        let mut facts = ClockFacts::default();
        assert_eq!(doubt(&facts, NOW), None);
        facts.built_at = NOW;
        assert_eq!(doubt(&facts, NOW), None);
        let built_at = NOW;
        assert_eq!(
            doubt(&facts, NOW - Seconds(1)),
            Some(Doubt::BeforeBuild { built_at })
        );
    }

    #[test]
    fn an_issuer_decides_and_the_next_thing_it_says_decides_anew() {
        let none = Seconds(0);
        for ahead in [Seconds(-3600), Seconds(0), Seconds(3600)] {
            assert_eq!(doubt(&fresh(ahead, none, none), NOW), None);
        }
        for ahead in [MONTHS, Seconds(-MONTHS.0)] {
            let facts = fresh(ahead, none, none);
            assert_eq!(doubt(&facts, NOW), Some(Doubt::Far { ahead }));
        }
        // A mark from a time when the issuer's clock was wrong by years does not stand against what it says now.
        let mut facts = fresh(none, none, none);
        facts.remembered = heard(NOW + YEARS, NOW);
        assert_eq!(doubt(&facts, NOW), None);
    }

    #[test]
    fn a_clock_that_was_set_is_doubted_until_an_issuer_is_asked_or_an_hour_is_over() {
        let none = Seconds(0);
        for by in [MONTHS, Seconds(-MONTHS.0)] {
            let facts = fresh(none, by, Seconds(10));
            assert_eq!(doubt(&facts, NOW), Some(Doubt::Moved { by }));
            assert_eq!(doubt(&fresh(none, by, GRACE), NOW), None);
        }
        // Also where nothing was heard since the start.
        let mut facts = fresh(none, MONTHS, none);
        facts.fresh.as_mut().unwrap().heard = None;
        assert_eq!(doubt(&facts, NOW), Some(Doubt::Moved { by: MONTHS }));
        // Time synchronisation has put it right: nobody needs to be asked.
        let facts = fresh(MONTHS, Seconds(-MONTHS.0), Seconds(1));
        assert_eq!(doubt(&facts, NOW), None);
        // After the hour, what an issuer confirmed once still stands.
        let mut facts = fresh(none, Seconds(-MONTHS.0), GRACE);
        facts.remembered = heard(NOW, NOW);
        let mark = NOW;
        assert_eq!(
            doubt(&facts, NOW - MONTHS),
            Some(Doubt::BeforeMark { mark })
        );
    }

    #[test]
    fn what_was_heard_before_a_start_counts_as_far_as_it_can() {
        let facts = remembered(NOW, NOW);
        assert_eq!(doubt(&facts, NOW - Seconds(3600)), None);
        let mark = NOW;
        assert_eq!(
            doubt(&facts, NOW - Seconds(3601)),
            Some(Doubt::BeforeMark { mark })
        );
        assert_eq!(doubt(&facts, NOW + YEARS), None);

        // Ahead when it was heard, and still there; then put right; then long ago.
        let facts = remembered(NOW, NOW + MONTHS);
        let later = NOW + MONTHS + Seconds::hours(6);
        assert_eq!(doubt(&facts, later), Some(Doubt::Far { ahead: MONTHS }));
        assert_eq!(doubt(&facts, NOW + Seconds::hours(6)), None);
        assert_eq!(doubt(&facts, NOW + YEARS), None);
    }

    #[test]
    fn a_host_in_doubt_does_nothing_says_one_thing_and_looks_again() {
        let mut policy = testing::policy();
        for name in ["a", "b"] {
            let certificate = testing::certificate(name);
            policy
                .certificates
                .insert(certificate.id.clone(), certificate);
        }
        let snapshot = Snapshot {
            clock: fresh(MONTHS, Seconds(0), Seconds(0)),
            ..Snapshot::default()
        };
        let plan = crate::plan::plan(&policy, &snapshot, NOW);
        assert_eq!(plan.actions, []);
        assert_eq!(plan.doubt, Some(Doubt::Far { ahead: MONTHS }));
        assert_eq!(plan.verdicts.len(), 2);
        let waits = |verdict: &Verdict| matches!(verdict, Verdict::Wait(Waiting::Clock { .. }));
        assert!(plan.verdicts.values().all(waits));
        assert_eq!(plan.alerts.len(), 1);
        assert_eq!(plan.next_wake, NOW + LOOK);
        let text = crate::plan::explain::text(&policy, &snapshot, &plan, NOW);
        assert!(text.contains("90d ahead of the issuer's"), "{text}");
    }
}
