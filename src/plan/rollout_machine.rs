//! The rollout machine: `Opened → Staged → Committed → Tested → Reloaded → Verified → Closed`.
//!
//! A failure before the commit abandons the rollout. A failure after it undoes what was committed, unless there is
//! nothing worth returning to (the first rollout, an expired set, a service that is not running): then the new set
//! stays in place and test, reload and proof are repeated until the service shows it (`AwaitingService`, which waits
//! and looks, and leaves only for `Verified` or for another set).
//! The hooks of a target add steps of their own and do not exist without it: `PreHooks` after `Staged`, `PostHooks`
//! after `Verified`, and `OnFailure` before a bad end is closed.
//! Every step is idempotent: one that was started and has no outcome is simply done again.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{
    Cause, CertificateId, Fingerprint, HostSeed, Look, ProbeFault, RevisionId, Rollout,
    RolloutClosing, RolloutEvent, RolloutPhase, RolloutStep, Seconds, Snapshot, Timestamp,
    UndoPhase, Waiting,
};
use crate::plan::backoff::{self, Seed};
use crate::plan::blame;
use crate::plan::{IllegalTransition, Next, OnError, Trouble};

/// What comes next for a rollout. `policy` is the digest of the target's policy.
#[must_use]
pub fn next(
    rollout: &Rollout,
    policy: Fingerprint,
    host: HostSeed,
    now: Timestamp,
) -> Next<RolloutStep, RolloutEvent> {
    if matches!(rollout.phase, RolloutPhase::Closed { .. }) {
        return Next::Done;
    }
    let seed = Seed::new(rollout.target.as_str(), host);
    if let Some(waiting) = backoff::waiting(&rollout.failures, seed, policy, now) {
        return Next::Wait(waiting);
    }
    match &rollout.phase {
        RolloutPhase::Opened => Next::Step(RolloutStep::Stage),
        RolloutPhase::Staged if rollout.hooks.pre => Next::Step(RolloutStep::PreHook),
        RolloutPhase::Staged | RolloutPhase::PreHooks => Next::Step(RolloutStep::Commit),
        RolloutPhase::Committed => Next::Step(RolloutStep::Test),
        RolloutPhase::Tested => Next::Step(RolloutStep::Reload),
        RolloutPhase::Reloaded => Next::Step(RolloutStep::Verify),
        RolloutPhase::Verified { .. } if rollout.hooks.post => Next::Step(RolloutStep::PostHook),
        RolloutPhase::Verified { .. } | RolloutPhase::PostHooks => Next::Step(RolloutStep::Close),
        RolloutPhase::OnFailure { .. } => Next::Step(RolloutStep::FailureHook),
        RolloutPhase::AwaitingService {
            detail,
            look_at,
            look: Look::Waiting,
        } if backoff::is_ahead(*look_at, now) => Next::Wait(Waiting::Service {
            until: *look_at,
            detail: detail.clone(),
        }),
        RolloutPhase::AwaitingService { look, .. } => Next::Step(match look {
            Look::Waiting => RolloutStep::Test,
            Look::Tested => RolloutStep::Reload,
            Look::Reloaded => RolloutStep::Verify,
        }),
        RolloutPhase::Undoing { undo, .. } => Next::Step(match undo {
            UndoPhase::Decided => RolloutStep::Restore,
            UndoPhase::Restored => RolloutStep::ReloadBack,
            UndoPhase::Reloaded => RolloutStep::VerifyBack,
            UndoPhase::Verified => RolloutStep::Close,
        }),
        RolloutPhase::Closed { .. } => Next::Done,
    }
}

/// The phase an event leads to.
///
/// # Errors
/// [`IllegalTransition`] when the event does not fit the phase; the rollout stays as it is.
pub fn transition(
    phase: &RolloutPhase,
    event: &RolloutEvent,
) -> Result<RolloutPhase, IllegalTransition> {
    let next = match phase {
        RolloutPhase::Opened => match event {
            RolloutEvent::Staged => Some(RolloutPhase::Staged),
            RolloutEvent::Failed { cause, .. } => Some(abandoned(cause)),
            RolloutEvent::Superseded { message } => Some(superseded(message, false)),
            other => none_of(other),
        },
        RolloutPhase::Staged | RolloutPhase::PreHooks => match event {
            RolloutEvent::PreHookPassed if *phase == RolloutPhase::Staged => {
                Some(RolloutPhase::PreHooks)
            }
            RolloutEvent::Committed => Some(RolloutPhase::Committed),
            // A commit that failed half-way may have replaced loose files: they are put back.
            RolloutEvent::Failed {
                cause,
                restorable: true,
                ..
            } if cause.step == RolloutStep::Commit => Some(undoing(cause, UndoPhase::Decided)),
            RolloutEvent::Failed { cause, .. } => Some(abandoned(cause)),
            RolloutEvent::Superseded { message } => Some(superseded(message, false)),
            other => none_of(other),
        },
        RolloutPhase::Committed => match event {
            RolloutEvent::Tested => Some(RolloutPhase::Tested),
            other => failed_after_commit(other),
        },
        RolloutPhase::Tested => match event {
            RolloutEvent::Reloaded => Some(RolloutPhase::Reloaded),
            other => failed_after_commit(other),
        },
        RolloutPhase::Reloaded => match event {
            RolloutEvent::Verified { reports } => Some(RolloutPhase::Verified {
                reports: reports.clone(),
            }),
            other => failed_after_commit(other),
        },
        RolloutPhase::Verified { .. } => match event {
            RolloutEvent::PostHookPassed => Some(RolloutPhase::PostHooks),
            // What is live and proven stays so; the next rollout runs the hook again.
            RolloutEvent::Closed | RolloutEvent::Superseded { .. } => {
                Some(closed(RolloutClosing::Live))
            }
            other => none_of(other),
        },
        RolloutPhase::PostHooks => match event {
            RolloutEvent::Closed => Some(closed(RolloutClosing::Live)),
            other => none_of(other),
        },
        RolloutPhase::OnFailure { closing } => match event {
            RolloutEvent::FailureHookEnded { .. } => Some(closed(closing.clone())),
            other => none_of(other),
        },
        // A look goes through the same steps without leaving the phase, so that what it waits for is not forgotten.
        RolloutPhase::AwaitingService {
            detail,
            look_at,
            look,
        } => {
            let goes_on = |look| {
                Some(RolloutPhase::AwaitingService {
                    detail: detail.clone(),
                    look_at: *look_at,
                    look,
                })
            };
            match (look, event) {
                (Look::Waiting, RolloutEvent::Tested) => goes_on(Look::Tested),
                (Look::Tested, RolloutEvent::Reloaded) => goes_on(Look::Reloaded),
                (Look::Reloaded, RolloutEvent::Verified { reports }) => {
                    Some(RolloutPhase::Verified {
                        reports: reports.clone(),
                    })
                }
                (_, RolloutEvent::Failed { cause, look_at, .. }) => Some(awaiting(cause, *look_at)),
                (Look::Waiting, RolloutEvent::Superseded { message }) => {
                    Some(superseded(message, true))
                }
                (_, other) => none_of(other),
            }
        }
        RolloutPhase::Undoing { cause, undo } => match (undo, event) {
            (UndoPhase::Decided, RolloutEvent::Restored) => {
                Some(undoing(cause, UndoPhase::Restored))
            }
            (UndoPhase::Restored, RolloutEvent::ReloadedBack { refused }) => {
                let mut cause = cause.clone();
                cause.refused |= *refused;
                Some(undoing(&cause, UndoPhase::Reloaded))
            }
            (UndoPhase::Reloaded, RolloutEvent::VerifiedBack { blind, strange, .. }) => {
                let mut cause = cause.clone();
                cause.strange.clone_from(strange);
                if *blind {
                    cause.refused = true;
                    cause.probe = ProbeFault::Certain;
                }
                Some(undoing(&cause, UndoPhase::Verified))
            }
            (UndoPhase::Verified, RolloutEvent::Closed) => {
                Some(closed(RolloutClosing::RolledBack {
                    cause: cause.clone(),
                }))
            }
            (
                UndoPhase::Decided | UndoPhase::Restored | UndoPhase::Reloaded,
                RolloutEvent::Failed { cause: undo, .. },
            ) => Some(closed(RolloutClosing::RollbackFailed {
                cause: cause.clone(),
                undo: undo.clone(),
            })),
            (_, other) => none_of(other),
        },
        RolloutPhase::Closed { .. } => None,
    };
    next.ok_or_else(|| IllegalTransition {
        phase: phase.code(),
        event: event.code(),
    })
}

/// The phase an event leads this very rollout to: as [`transition`], with the `on_failure` hook before a bad end.
///
/// # Errors
/// As [`transition`].
pub fn after(rollout: &Rollout, event: &RolloutEvent) -> Result<RolloutPhase, IllegalTransition> {
    let phase = transition(&rollout.phase, event)?;
    Ok(match phase {
        RolloutPhase::Closed { closing }
            if rollout.hooks.on_failure
                && closing.cause().is_some()
                && !matches!(rollout.phase, RolloutPhase::OnFailure { .. }) =>
        {
            RolloutPhase::OnFailure { closing }
        }
        other => other,
    })
}

/// What a failed step means.
///
/// `again`: the step may succeed later without anybody's help. `restorable`: there is something on disk to return to;
/// `service_runs`: as far as the step could tell. `policy` is the digest of the target's policy.
#[must_use]
pub fn on_error(
    rollout: &Rollout,
    snapshot: &Snapshot,
    failed: Failed,
    policy: Fingerprint,
    now: Timestamp,
) -> OnError<RolloutEvent> {
    let tries = match &rollout.phase {
        // Putting away changes nothing outside, so there is nothing to undo either.
        // What is live and proven is not touched for a hook's sake either; only another set ends its repetition.
        _ if matches!(failed.step, RolloutStep::Close | RolloutStep::PostHook) => {
            return OnError::Retry(backoff::failure(failed.trouble, policy, now));
        }
        RolloutPhase::OnFailure { .. } => {
            return OnError::Event(RolloutEvent::FailureHookEnded {
                trouble: Some(failed.trouble.message),
            });
        }
        // What fails for some alone holds back the others no longer than this one attempt.
        RolloutPhase::Opened | RolloutPhase::Staged | RolloutPhase::PreHooks
            if blame::leaves_others(rollout, &failed.named) =>
        {
            1
        }
        RolloutPhase::Opened | RolloutPhase::Staged | RolloutPhase::PreHooks => u32::MAX,
        RolloutPhase::Committed
        | RolloutPhase::Tested
        | RolloutPhase::Reloaded
        | RolloutPhase::Verified { .. }
        | RolloutPhase::PostHooks => TRIES_AFTER_COMMIT,
        // Waiting for a service is itself the repetition.
        RolloutPhase::AwaitingService { .. } => 1,
        RolloutPhase::Undoing { .. } => TRIES_OF_UNDO,
        RolloutPhase::Closed { .. } => 1,
    };
    if failed.again && failed.service_runs && rollout.failures.count.saturating_add(1) < tries {
        return OnError::Retry(backoff::failure(failed.trouble, policy, now));
    }
    let restorable = failed.restorable
        && failed.service_runs
        && nothing_to_return_to(rollout, snapshot, now).is_none();
    OnError::Event(RolloutEvent::Failed {
        cause: Cause {
            step: failed.step,
            class: failed.trouble.class,
            message: failed.trouble.message,
            output: failed.trouble.output,
            named: failed.named,
            strange: BTreeMap::new(),
            refused: false,
            probe: match failed.foreign {
                true => ProbeFault::Suspected,
                false => ProbeFault::None,
            },
        },
        look_at: now + look_again(rollout.opened_at, now),
        restorable,
    })
}

/// A failed step of a rollout, as [`on_error`] judges it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// Which step.
    pub step: RolloutStep,
    /// What was said.
    pub trouble: Trouble,
    /// It may succeed later without anybody's help.
    pub again: bool,
    /// There is something on disk to return to.
    pub restorable: bool,
    /// The service runs, as far as the step could tell. One that does not run cannot prove an undo either: the set
    /// stays in place and is proven once the service is back.
    pub service_runs: bool,
    /// Somebody answered in another protocol than the probe speaks.
    pub foreign: bool,
    /// Members of the set that the step blames.
    pub named: BTreeSet<CertificateId>,
}

/// Why the previous set is not worth returning to, by what is known of its revisions.
#[must_use]
pub fn nothing_to_return_to(
    rollout: &Rollout,
    snapshot: &Snapshot,
    now: Timestamp,
) -> Option<String> {
    let unserved = snapshot
        .targets
        .get(&rollout.target)
        .is_some_and(|target| target.never_served);
    if unserved {
        return Some("the set before was never served".to_owned());
    }
    expired_before(rollout, snapshot, now)
}

/// Why there is nothing valid among what the rollout replaces: expired, or revoked. Where one of many is still valid the
/// whole set goes back, since those who are well must not be left with a set that fails for the sake of one that is not;
/// then they go on apart.
#[must_use]
pub fn expired_before(rollout: &Rollout, snapshot: &Snapshot, now: Timestamp) -> Option<String> {
    let ended = |(id, revision): (&CertificateId, &RevisionId)| {
        let state = snapshot.certificates.get(id)?;
        if state.is_revoked(revision) {
            return Some(format!(
                "the revision of {id} before it was taken back by its issuer"
            ));
        }
        let not_after = state.not_after(revision)?;
        (not_after <= now).then(|| format!("the revision of {id} before it expired at {not_after}"))
    };
    let replaced = rollout.previous.iter();
    let replaced = replaced.filter(|(id, revision)| rollout.revisions.get(*id) != Some(*revision));
    let all: Option<Vec<String>> = replaced.map(ended).collect();
    all?.into_iter().next()
}

/// The set was committed and is not undone: a step may rely on it being in place.
#[must_use]
pub fn is_committed(rollout: &Rollout) -> bool {
    match &rollout.phase {
        RolloutPhase::Opened
        | RolloutPhase::Undoing { .. }
        | RolloutPhase::OnFailure { .. }
        | RolloutPhase::Closed { .. } => false,
        RolloutPhase::Staged | RolloutPhase::PreHooks => rollout
            .started
            .as_ref()
            .is_some_and(|started| started.step == RolloutStep::Commit),
        RolloutPhase::Committed
        | RolloutPhase::Tested
        | RolloutPhase::Reloaded
        | RolloutPhase::Verified { .. }
        | RolloutPhase::PostHooks
        | RolloutPhase::AwaitingService { .. } => true,
    }
}

/// Nothing of it is in place, and no step that puts it there is under way.
#[must_use]
pub fn is_untouched(rollout: &Rollout) -> bool {
    match &rollout.phase {
        RolloutPhase::Opened | RolloutPhase::Staged | RolloutPhase::PreHooks => {
            !is_committed(rollout)
        }
        RolloutPhase::Committed
        | RolloutPhase::Tested
        | RolloutPhase::Reloaded
        | RolloutPhase::Verified { .. }
        | RolloutPhase::PostHooks
        | RolloutPhase::AwaitingService { .. }
        | RolloutPhase::Undoing { .. }
        | RolloutPhase::OnFailure { .. }
        | RolloutPhase::Closed { .. } => false,
    }
}

/// Live and proven, and all that is missing is a `post` hook that has failed.
#[must_use]
pub fn waits_for_post_hook(rollout: &Rollout) -> bool {
    matches!(rollout.phase, RolloutPhase::Verified { .. })
        && rollout.hooks.post
        && rollout.failures.count > 0
}

/// Another set may take its place: nothing is half done.
#[must_use]
pub fn may_be_superseded(rollout: &Rollout) -> bool {
    match &rollout.phase {
        RolloutPhase::Opened => true,
        RolloutPhase::AwaitingService { look, .. } => *look == Look::Waiting,
        RolloutPhase::Staged | RolloutPhase::PreHooks => !is_committed(rollout),
        // A hook that never passes must not keep the next certificate away.
        RolloutPhase::Verified { .. } => waits_for_post_hook(rollout),
        RolloutPhase::Committed
        | RolloutPhase::Tested
        | RolloutPhase::Reloaded
        | RolloutPhase::PostHooks
        | RolloutPhase::OnFailure { .. }
        | RolloutPhase::Undoing { .. }
        | RolloutPhase::Closed { .. } => false,
    }
}

/// A quarter of the time it has been waiting, within limits: soon for a restart, rarely for a service switched off.
fn look_again(opened_at: Timestamp, now: Timestamp) -> Seconds {
    Seconds(opened_at.until(now).0 / 4).clamp(LOOK_SOONEST, LOOK_LATEST)
}

fn failed_after_commit(event: &RolloutEvent) -> Option<RolloutPhase> {
    match event {
        RolloutEvent::Failed {
            cause,
            look_at,
            restorable,
        } => Some(if *restorable {
            undoing(cause, UndoPhase::Decided)
        } else {
            awaiting(cause, *look_at)
        }),
        other => none_of(other),
    }
}

/// Lists what fits nowhere else, so that a new event must be thought about.
const fn none_of(event: &RolloutEvent) -> Option<RolloutPhase> {
    match event {
        RolloutEvent::Staged
        | RolloutEvent::PreHookPassed
        | RolloutEvent::PostHookPassed
        | RolloutEvent::FailureHookEnded { .. }
        | RolloutEvent::Committed
        | RolloutEvent::Tested
        | RolloutEvent::Reloaded
        | RolloutEvent::Verified { .. }
        | RolloutEvent::Failed { .. }
        | RolloutEvent::Restored
        | RolloutEvent::ReloadedBack { .. }
        | RolloutEvent::VerifiedBack { .. }
        | RolloutEvent::Superseded { .. }
        | RolloutEvent::Closed => None,
    }
}

fn abandoned(cause: &Cause) -> RolloutPhase {
    closed(RolloutClosing::Abandoned {
        cause: cause.clone(),
    })
}

fn superseded(message: &str, committed: bool) -> RolloutPhase {
    closed(RolloutClosing::Superseded {
        message: message.to_owned(),
        committed,
    })
}

fn awaiting(cause: &Cause, look_at: Timestamp) -> RolloutPhase {
    RolloutPhase::AwaitingService {
        detail: cause.message.clone(),
        look_at,
        look: Look::Waiting,
    }
}

fn undoing(cause: &Cause, undo: UndoPhase) -> RolloutPhase {
    RolloutPhase::Undoing {
        cause: cause.clone(),
        undo,
    }
}

const fn closed(closing: RolloutClosing) -> RolloutPhase {
    RolloutPhase::Closed { closing }
}

/// After the commit, files and service may differ: three attempts within minutes, then back to what worked.
const TRIES_AFTER_COMMIT: u32 = 3;

/// An undo that does not succeed needs a person; five attempts spread over a quarter of an hour outlast a restart.
const TRIES_OF_UNDO: u32 = 5;

/// A service that is being restarted is back within a minute.
const LOOK_SOONEST: Seconds = Seconds::minutes(1);

/// Each look costs a configuration test and a reload; a quarter of an hour is what a person may wait after starting it.
const LOOK_LATEST: Seconds = Seconds::minutes(15);

#[cfg(test)]
mod tests;
