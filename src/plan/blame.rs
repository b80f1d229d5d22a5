//! What a failed rollout means for the members of its set: one bad member must not hold back the rest.
//!
//! Members that the failure names are set aside, and the rest goes again without them. Where it names nobody, and what
//! was there before is accepted, the fault is in the set: it is split into halves that go one after the other, and the
//! halves that fail are split again, down to the single member, which is set aside. A bad member among `n` is found
//! with `2·log2(n) + 1` rollouts at most. A search that has failed `2·log2(n) + 2` times pauses with backoff and goes
//! on with what is left; by then it has found one bad member at least, so it ends. Where the service refuses what was
//! there before as well, the fault is not in the set, and nothing is split.
//!
//! Whoever names everybody names nobody: one bad member has broken the listener of all, or the reload had no effect. The
//! set is halved too, and the second half goes before the first is split further. If both fail like the whole did, it is
//! probably not the set, so the search pauses after these three; each pause lets it look one level deeper the next time
//! (3, 7, 15 … failures), which ends at the single members. As soon as one part has gone in, the service is out of
//! doubt, and the search goes on as above (ADR 0007).

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{
    Cause, CertificateId, ErrorClass, Failures, Reason, RevisionId, Rollout, RolloutStep, SetAside,
    Split, StepFailure, TargetState,
};
use crate::plan::{backoff, targets};

type Set = BTreeMap<CertificateId, RevisionId>;

/// After a rollout that was rolled back or abandoned.
pub(crate) fn after_failure(
    after: &mut TargetState,
    rollout: &Rollout,
    cause: &Cause,
    failure: &StepFailure,
) {
    let changed = changed(rollout);
    if changed.is_empty() {
        return;
    }
    let former = after.split.take();
    let mut search = former.filter(|split| split.policy == rollout.policy);
    if let Some(split) = &mut search {
        forget(split, |id, revision| changed.get(id) == Some(revision));
    }
    let (named, rest): (Set, Set) = changed
        .clone()
        .into_iter()
        .partition(|(id, _)| cause.named.contains(id));
    let in_set = is_in_set(cause);
    let everybody = rest.is_empty();
    if changed.len() == 1 {
        let known = changed.iter().any(|(id, revision)| {
            let aside = after.aside.get(id);
            aside.is_some_and(|aside| aside.revision == *revision)
        });
        let found = search.is_some() && (in_set || everybody);
        if known || found {
            set_aside(after, changed, rollout, cause, failure);
        } else if let Some(split) = &mut search {
            split.parts.insert(0, changed);
        }
    } else if !named.is_empty() && !everybody {
        set_aside(after, named, rollout, cause, failure);
        if let Some(split) = &mut search {
            split.parts.insert(0, rest);
        }
    } else if in_set {
        let split = search.get_or_insert_with(|| Split {
            policy: rollout.policy,
            parts: Vec::new(),
            left: 0,
            pauses: Failures::default(),
            doubts: 0,
            went: false,
        });
        if split.left == 0 {
            split.left = patience(changed.len());
        }
        let (first, second) = halves(changed);
        let at = if everybody && !split.went {
            split.parts.len()
        } else {
            0
        };
        split.parts.splice(at..at, [first, second]);
    } else if let Some(split) = &mut search {
        split.parts.insert(0, changed);
    }
    after.split = search.and_then(|split| go_on(split, cause, in_set && everybody, failure));
}

/// After a rollout whose set is in place.
pub(crate) fn after_success(after: &mut TargetState, rollout: &Rollout) {
    let new = &rollout.revisions;
    after
        .aside
        .retain(|id, aside| new.get(id) != Some(&aside.revision));
    let Some(mut split) = after.split.take() else {
        return;
    };
    let members = |split: &Split| split.parts.iter().map(BTreeMap::len).sum::<usize>();
    let before = members(&split);
    forget(&mut split, |id, revision| {
        let there = new.get(id);
        // It is in place, or another one of the same certificate was put there.
        there == Some(revision) || (there.is_some() && there != rollout.previous.get(id))
    });
    split.went |= members(&split) < before;
    after.split = Some(split).filter(|split| !split.parts.is_empty());
}

/// Whether a failing step that names these leaves others who can go without them.
pub(crate) fn leaves_others(rollout: &Rollout, named: &BTreeSet<CertificateId>) -> bool {
    let changed = changed(rollout);
    let (blamed, others): (Vec<_>, Vec<_>) = changed.keys().partition(|id| named.contains(*id));
    !blamed.is_empty() && !others.is_empty()
}

/// Whether a member that was set aside is blocked, and tried once a day at most.
pub(crate) const fn is_given_up(aside: &SetAside) -> bool {
    aside.failures.count >= targets::LONGEST_ROW && !aside.harmless
}

/// What the rollout was to bring, without what it only repeats.
fn changed(rollout: &Rollout) -> Set {
    let routine = rollout
        .reasons
        .iter()
        .filter(|(_, reason)| matches!(reason, Reason::NotDeployed));
    routine
        .filter_map(|(id, _)| Some((id, rollout.revisions.get(id)?)))
        .filter(|(id, revision)| rollout.previous.get(*id) != Some(*revision))
        .map(|(id, revision)| (id.clone(), revision.clone()))
        .collect()
}

/// Whether the service fails with the set and not without it. A disk or a hook fails with any set.
const fn is_in_set(cause: &Cause) -> bool {
    let by_service = match cause.step {
        RolloutStep::Test | RolloutStep::Reload | RolloutStep::Verify => true,
        RolloutStep::Stage
        | RolloutStep::PreHook
        | RolloutStep::Commit
        | RolloutStep::PostHook
        | RolloutStep::FailureHook
        | RolloutStep::Restore
        | RolloutStep::ReloadBack
        | RolloutStep::VerifyBack
        | RolloutStep::Close => false,
    };
    by_service && !cause.refused
}

fn set_aside(
    after: &mut TargetState,
    blamed: Set,
    rollout: &Rollout,
    cause: &Cause,
    failure: &StepFailure,
) {
    // A full disk passes without anybody's help, and trying costs nothing.
    let harmless = cause.class == ErrorClass::Transient
        && matches!(cause.step, RolloutStep::Stage | RolloutStep::Commit);
    for (id, revision) in blamed {
        let mut failures = match after.aside.remove(&id) {
            Some(aside) if aside.revision == revision => aside.failures,
            Some(_) | None => Failures::default(),
        };
        if backoff::count(&failures, rollout.policy) == 0 {
            failures = Failures::default();
        }
        failures.add(failure.clone());
        let aside = SetAside {
            revision,
            failures,
            harmless,
        };
        after.aside.insert(id, aside);
    }
}

fn halves(mut set: Set) -> (Set, Set) {
    let middle = set.keys().nth(set.len().div_ceil(2)).cloned();
    let second = middle.map_or_else(Set::new, |middle| set.split_off(&middle));
    (set, second)
}

/// The search after a failure: on with the next part, or a pause in which what is left is one part again. `everybody` of
/// the part was blamed.
fn go_on(mut split: Split, cause: &Cause, everybody: bool, failure: &StepFailure) -> Option<Split> {
    let pauses = if cause.refused {
        true
    } else if everybody && !split.went {
        split.doubts += 1;
        split.doubts >= depth(split.pauses.count)
    } else {
        split.left = split.left.saturating_sub(1);
        split.left == 0
    };
    if pauses {
        let left: Set = split.parts.drain(..).flatten().collect();
        split.parts.push(left);
        split.pauses.add(failure.clone());
        (split.left, split.doubts, split.went) = (0, 0, false);
    }
    split.parts.retain(|part| !part.is_empty());
    (!split.parts.is_empty()).then_some(split)
}

fn forget(split: &mut Split, over: impl Fn(&CertificateId, &RevisionId) -> bool) {
    for part in &mut split.parts {
        part.retain(|id, revision| !over(id, revision));
    }
    split.parts.retain(|part| !part.is_empty());
}

/// How often a search among `members` may fail before it pauses: enough to find one, wherever it is, and to try what
/// stood beside it.
pub(crate) const fn patience(members: usize) -> u32 {
    2 * members.next_power_of_two().ilog2() + 2
}

/// How often everybody may be blamed, with nothing gone in, before the search pauses: the whole and its halves at first,
/// and the next halves of all of them with each pause.
pub(crate) const fn depth(pauses: u32) -> u32 {
    let levels = if pauses < 20 { pauses + 2 } else { 22 };
    (1 << levels) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(size: usize) -> Set {
        (0..size)
            .map(|at| {
                let id = CertificateId::new(&format!("c{at}")).unwrap();
                (id, RevisionId::new("r1").unwrap())
            })
            .collect()
    }

    #[test]
    fn halves_are_the_whole_and_the_first_is_never_the_smaller() {
        for size in 2..20 {
            let (first, second) = halves(set(size));
            assert_eq!(first.len() + second.len(), size);
            assert!(first.len() - second.len() <= 1 && !second.is_empty());
        }
    }

    #[test]
    fn the_whole_and_its_halves_at_first_and_one_level_more_with_each_pause() {
        let all = [0, 1, 2, 3, u32::MAX].map(depth);
        assert_eq!(all, [3, 7, 15, 31, (1 << 22) - 1]);
    }

    #[test]
    fn patience_grows_with_the_logarithm() {
        let all = [2, 3, 4, 8, 50, 1000].map(patience);
        assert_eq!(all, [4, 6, 6, 8, 14, 22]);
    }
}
