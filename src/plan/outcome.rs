//! What a certificate or a target is after an event of an order or a rollout: what the journal writes together with it.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{
    Cause, CertificateId, CertificateState, Difference, Drift, DriftKind, EarlierRevision,
    FailedRollout, Failures, Fingerprint, FulfilledOrder, LeftBehind, Look, Order, OrderClosing,
    OrderEvent, OrderPhase, ProbeFault, Reason, RevisionFacts, RevisionId, Rollout, RolloutClosing,
    RolloutPhase, RolloutStep, StepFailure, TargetState, Timestamp, UndoPhase, Unsupplemented,
    Unused,
};
use crate::plan::{blame, entitlements, orders, pacing, supplement};

/// The certificate after an event of its order; `None` where the event does not change it.
///
/// `revision` goes with `Issued`; `policy` is [`crate::plan::backoff::digest`] of certificate and issuer.
#[must_use]
pub fn certificate_after(
    state: &CertificateState,
    order: &Order,
    event: &OrderEvent,
    revision: Option<&RevisionFacts>,
    policy: Fingerprint,
    now: Timestamp,
) -> Option<CertificateState> {
    match event {
        OrderEvent::Issued { .. } => revision.map(|revision| issued(state, order, revision, now)),
        OrderEvent::Closed { closing } => match closing {
            // It was counted when its end was decided; only now its application is withdrawn.
            OrderClosing::Failed { .. } | OrderClosing::Abandoned { .. }
                if matches!(order.phase, OrderPhase::Ending { .. }) =>
            {
                let mut after = state.clone();
                after.unused.as_mut()?.at = now;
                Some(after)
            }
            // Nothing else is wrong with the certificate: another one is ordered at once.
            OrderClosing::Failed { message, .. } if supplement::of_order(order).is_some() => {
                let mut after = state.clone();
                after.unsupplemented =
                    supplement::of_order(order).map(|supplement| Unsupplemented {
                        reference: supplement.reference.clone(),
                        adds: supplement.adds.clone(),
                        why: message.clone(),
                        at: now,
                    });
                supplement::late::note(&mut after, order, now);
                Some(after)
            }
            OrderClosing::Failed { class, message } => {
                let mut after = state.clone();
                after.unused = entitlements::left(order, now).or(after.unused);
                after.failures.add(StepFailure {
                    at: now,
                    class: *class,
                    message: message.clone(),
                    retry_after: None,
                    policy,
                });
                Some(after)
            }
            OrderClosing::Abandoned { .. } => {
                let mut after = state.clone();
                // What was accepted is taken back by the order itself.
                let lost = matches!(order.phase, OrderPhase::Unclear { .. });
                let noted = lost && supplement::late::note(&mut after, order, now);
                let left = entitlements::left(order, now);
                let key = entitlements::key_of_gone(&order.phase);
                after.gone.extend(key);
                if left.is_some() || is_gone(order, after.unused.as_ref()) {
                    after.unused = left;
                } else if !noted && key.is_none() {
                    return None;
                }
                Some(after)
            }
            OrderClosing::Fulfilled { .. } => None,
        },
        // Enough for another request, which asks for the same names; but not for ever.
        OrderEvent::DefinitelyAbsent => {
            let mut after = state.clone();
            supplement::late::note(&mut after, order, now).then_some(after)
        }
        OrderEvent::LeftBehind { what } => {
            let mut after = state.clone();
            after
                .left_behind
                .retain(|left| left.what != *what && orders::is_told(left, now));
            after.left_behind.push(LeftBehind {
                what: what.clone(),
                at: now,
            });
            Some(after)
        }
        // Somebody else has used what was its own, and left another one for it, or will.
        OrderEvent::Wanting { .. } => {
            let mut after = state.clone();
            after.unused = Some(entitlements::left(order, now)?);
            Some(after)
        }
        OrderEvent::Claimed { .. }
        | OrderEvent::Confirmed
        | OrderEvent::Yielded { .. }
        | OrderEvent::Adopted { .. }
        | OrderEvent::NothingFree { .. }
        | OrderEvent::Bought { .. }
        | OrderEvent::PurchaseLost { .. }
        | OrderEvent::NotBought { .. }
        | OrderEvent::PurchaseUntold { .. }
        | OrderEvent::DefinitelyNotBought
        | OrderEvent::ProofWanted { .. }
        | OrderEvent::Published { .. }
        | OrderEvent::Visible { .. }
        | OrderEvent::Retracted
        | OrderEvent::Withdrawn
        | OrderEvent::KeyStored { .. }
        | OrderEvent::Accepted { .. }
        | OrderEvent::Supplemented { .. }
        | OrderEvent::AnswerLost { .. }
        | OrderEvent::Absent { .. }
        | OrderEvent::NotYet { .. } => None,
    }
}

/// Whether what an earlier order left is what this one found deleted.
fn is_gone(order: &Order, unused: Option<&Unused>) -> bool {
    let (
        OrderPhase::Unclear {
            gone: Some(_),
            entitlement: Some(gone),
            ..
        },
        Some(unused),
    ) = (&order.phase, unused)
    else {
        return false;
    };
    unused.reference == *gone
}

fn issued(
    state: &CertificateState,
    order: &Order,
    revision: &RevisionFacts,
    now: Timestamp,
) -> CertificateState {
    let mut after = state.clone();
    if let Some(old) = after.newest.take()
        && old.id != revision.id
    {
        after.earlier.retain(|earlier| earlier.id != old.id);
        after.earlier.insert(
            0,
            EarlierRevision {
                id: old.id.clone(),
                serial: old.facts.serial.clone(),
                not_after: old.facts.not_after,
                reference: old.reference.clone(),
                revoked: state.is_revoked(&old.id),
            },
        );
        after.earlier.truncate(EARLIER_KEPT);
        after.shortened = match order.reason {
            Reason::RenewalDue { .. } | Reason::Emergency { .. } => {
                revision.facts.not_after <= old.facts.not_after
            }
            Reason::NoRevision
            | Reason::Unusable { .. }
            | Reason::IssuerChanged
            | Reason::NamesChanged { .. }
            | Reason::KeyChanged
            | Reason::Revoked
            | Reason::Expired { .. }
            | Reason::NewerOffered
            | Reason::Forced
            | Reason::NotDeployed
            | Reason::TargetChanged
            | Reason::Drifted { .. }
            | Reason::RollbackAsked
            | Reason::UndoFailed { .. } => false,
        };
    }
    after.earlier.retain(|earlier| earlier.id != revision.id);
    after.newest = Some(revision.clone());
    after.issuer = Some(order.issuer.clone());
    after.unusable = None;
    after.remote = None;
    after.fulfilled = Some(FulfilledOrder {
        reason: order.reason.code().to_owned(),
        at: now,
    });
    after.forced = false;
    after.failures = Failures::default();
    after.unused = None;
    after.gone = Vec::new();
    after.unsupplemented = None;
    supplement::late::forget(&mut after, revision);
    entitlements::forget(&mut after, now);
    still_compromised(&mut after, revision, now);
    after
}

/// A key that others may know is remembered until the last certificate with it has ended, and as long as another one could come
/// with it by itself or by reuse.
fn still_compromised(after: &mut CertificateState, revision: &RevisionFacts, now: Timestamp) {
    let CertificateState {
        compromised,
        entitlements,
        ..
    } = after;
    for key in compromised.iter_mut() {
        if key.spki == revision.facts.spki {
            key.until = key.until.max(revision.facts.not_after);
        }
    }
    compromised.retain(|key| {
        key.until > now
            || key.spki == revision.facts.spki
            || entitlements.iter().any(|one| one.spki == Some(key.spki))
    });
}

/// The target after its rollout came to this phase; `None` where that does not change it.
#[must_use]
pub fn target_after(state: &TargetState, rollout: &Rollout, now: Timestamp) -> Option<TargetState> {
    let mut after = state.clone();
    let closing = match &rollout.phase {
        // Here and not at the close, since only here the reports say whether anybody looked.
        RolloutPhase::Verified { reports } => {
            in_place(&mut after, rollout);
            after.never_served = false;
            after.failures = Failures::default();
            after.failed = None;
            after.undo_failed = None;
            after.proven_at = (!reports.is_empty()).then_some(now);
            return Some(after);
        }
        RolloutPhase::Closed { closing } => closing,
        // The way back is not counted: it must never wait, and it must not make the next attempt wait either.
        RolloutPhase::Reloaded
        | RolloutPhase::AwaitingService {
            look: Look::Reloaded,
            ..
        } => {
            reloaded(&mut after, now);
            return Some(after);
        }
        // A reload that failed may have disturbed the service all the same.
        RolloutPhase::Undoing {
            cause,
            undo: UndoPhase::Decided,
        } if cause.step == RolloutStep::Reload => {
            reloaded(&mut after, now);
            return Some(after);
        }
        RolloutPhase::Opened
        | RolloutPhase::Staged
        | RolloutPhase::PreHooks
        | RolloutPhase::Committed
        | RolloutPhase::Tested
        | RolloutPhase::PostHooks
        | RolloutPhase::AwaitingService { .. }
        | RolloutPhase::Undoing { .. }
        | RolloutPhase::OnFailure { .. } => return None,
    };
    match closing {
        RolloutClosing::Live => return None,
        RolloutClosing::Superseded {
            committed: true, ..
        } => {
            in_place(&mut after, rollout);
            after.never_served = true;
            after.proven_at = None;
        }
        RolloutClosing::Superseded {
            committed: false, ..
        } => {}
        RolloutClosing::RolledBack { cause } => {
            let before = rolled_back(state, rollout);
            if cause.probe == ProbeFault::Certain {
                after.proven_at = None;
            } else if !cause.refused {
                // An earlier way back was not proven; this one was.
                after.undo_failed = None;
            }
            remember_strange(&mut after, cause);
            if is_elsewhere(rollout, cause) {
                // Not the set's, so it goes once more, without asking for them.
                give_up(&mut after, cause);
            } else {
                fail(&mut after, rollout, cause, before.saturating_add(1), now);
            }
        }
        RolloutClosing::Abandoned { cause } => {
            let before = rolled_back(state, rollout);
            fail(&mut after, rollout, cause, before, now);
        }
        RolloutClosing::RollbackFailed { cause, undo } => {
            let before = rolled_back(state, rollout);
            after.undo_failed = Some(format!("{}: {}", undo.step, undo.message));
            fail(&mut after, rollout, cause, before.saturating_add(1), now);
        }
    }
    Some(after)
}

/// Only what a budget still asks for is kept.
fn reloaded(after: &mut TargetState, now: Timestamp) {
    after.reloads = pacing::recent(&after.reloads, now).collect();
    after.reloads.push(now);
}

fn in_place(after: &mut TargetState, rollout: &Rollout) {
    let over = after
        .wanted
        .as_ref()
        .is_some_and(|set| is_over(set, rollout, after));
    after.live = rollout.revisions.clone();
    after.generation = Some(rollout.generation);
    after.policy = Some(rollout.policy);
    still_taken(after, rollout);
    after.overwrite.clear();
    still_strange(after, rollout);
    blame::after_success(after, rollout);
    let reached = after.wanted.as_ref().is_some_and(|wanted| {
        wanted
            .iter()
            .all(|(id, revision)| rollout.revisions.get(id).is_none_or(|new| new == revision))
    });
    if reached {
        after.wanted = None;
        hold_off(after, rollout);
    } else if over {
        after.wanted = None;
    }
}

/// What was asked for was in place already but for certificates that have left the target, or whose place somebody else has
/// taken, and this rollout went past it: it must not come back.
fn is_over(
    wanted: &BTreeMap<CertificateId, RevisionId>,
    rollout: &Rollout,
    before: &TargetState,
) -> bool {
    let drift = before.drift.iter();
    let theirs = drift.flat_map(Drift::perhaps_newer);
    let taken: BTreeSet<&CertificateId> = theirs
        .filter_map(|found| found.certificate.as_ref())
        .filter(|id| rollout.repeats(id) && !rollout.reasons.contains_key(*id))
        .collect();
    let left = |id| !rollout.revisions.contains_key(id) || taken.contains(id);
    let was_there = |id, revision| left(id) || rollout.previous.get(id) == Some(revision);
    wanted.keys().any(left) && wanted.iter().all(|(id, revision)| was_there(id, revision))
}

/// What the rollout wrote is as it should be; what somebody else installed and it spared is there still.
fn still_taken(after: &mut TargetState, rollout: &Rollout) {
    let Some(drift) = &mut after.drift else {
        return;
    };
    if drift.generation == Some(rollout.generation) {
        // It came after the commit.
        return;
    }
    drift.differences.retain(|found| {
        let id = found.certificate.as_ref();
        found.may_be_newer()
            && id.is_some_and(|id| rollout.repeats(id) && !rollout.reasons.contains_key(id))
    });
    if drift.differences.is_empty() {
        after.drift = None;
    }
}

/// What the proof saw is served; what it left out is as it was.
fn still_strange(after: &mut TargetState, rollout: &Rollout) {
    let Some(wire) = &mut after.wire else {
        return;
    };
    wire.differences.retain(|seen| {
        let id = seen.certificate.as_ref();
        let chain = seen.kind == DriftKind::ServedChain;
        id.is_some_and(|id| {
            rollout.leaves_strange(id) || (chain && !rollout.reasons.contains_key(id))
        })
    });
    if wire.differences.is_empty() {
        after.wire = None;
    }
}

/// A person asked for the set: what it replaced stays away until it is released or a newer one is there, and so does
/// what could not be rolled out before.
fn hold_off(after: &mut TargetState, rollout: &Rollout) {
    let TargetState { held, failed, .. } = after;
    for (id, revision) in &rollout.revisions {
        let Some(replaced) = rollout.previous.get(id).filter(|old| *old != revision) else {
            continue;
        };
        held.insert(replaced.clone());
        let failed = failed.as_ref().and_then(|failed| failed.revisions.get(id));
        held.extend(failed.filter(|failed| *failed != revision).cloned());
    }
    // Asked for again, it is welcome.
    for revision in rollout.revisions.values() {
        held.remove(revision);
    }
}

/// What the way back has shown to be served otherwise, as a check would have found it. The service was told a moment ago.
fn remember_strange(after: &mut TargetState, cause: &Cause) {
    for (id, seen) in &cause.strange {
        let wire = after.wire.get_or_insert_default();
        if wire
            .differences
            .iter()
            .any(|known| known.certificate.as_ref() == Some(id))
        {
            continue;
        }
        wire.differences.push(Difference {
            kind: DriftKind::ServedOther,
            certificate: Some(id.clone()),
            detail: seen.clone(),
            issued_at: None,
        });
        wire.retold = true;
    }
}

/// Whether the proof failed for none but members that the set does not change, and that were served no better before it,
/// nor after the way back.
fn is_elsewhere(rollout: &Rollout, cause: &Cause) -> bool {
    let is_served = |id| match rollout.reasons.get(id) {
        None => true,
        Some(Reason::Drifted { kind, .. }) => kind.is_served(),
        Some(_) => false,
    };
    let was_strange = |id| rollout.strange.contains(id) && rollout.repeats(id) && is_served(id);
    cause.step == RolloutStep::Verify
        && !cause.named.is_empty()
        && cause
            .named
            .iter()
            .all(|id| cause.strange.contains_key(id) || was_strange(id))
}

/// The service was told once more, and shows no other than before for the named ones.
fn give_up(after: &mut TargetState, cause: &Cause) {
    after.overwrite.retain(|id| !cause.named.contains(id));
    if let Some(wire) = &mut after.wire {
        wire.retold = true;
    }
}

/// How often this very set was rolled back before.
fn rolled_back(state: &TargetState, rollout: &Rollout) -> u32 {
    match &state.failed {
        // Failures cleared by hand begin a new row.
        Some(failed) if failed.revisions == rollout.revisions && state.failures.count > 0 => {
            failed.rolled_back
        }
        Some(_) | None => 0,
    }
}

fn fail(after: &mut TargetState, rollout: &Rollout, cause: &Cause, times: u32, now: Timestamp) {
    if let Some(wire) = &mut after.wire
        && rollout.only_tells_again()
        && times > 0
    {
        // Not repeated, and no failure of the set, which was proven before.
        wire.retold = true;
        after.overwrite.clear();
        if after.undo_failed.is_none() {
            return;
        }
    }
    let same = after
        .failed
        .as_ref()
        .is_some_and(|failed| failed.revisions == rollout.revisions);
    if !same {
        after.failures = Failures::default();
    }
    let failure = StepFailure {
        at: now,
        class: cause.class,
        message: format!("{}: {}", cause.step, cause.message),
        retry_after: None,
        policy: rollout.policy,
    };
    after.failures.add(failure.clone());
    after.failed = Some(FailedRollout {
        rollout: rollout.id.clone(),
        revisions: rollout.revisions.clone(),
        rolled_back: times,
        cause: cause.clone(),
    });
    // While nobody knows how the service is, only what failed before anything was put in place speaks against a member.
    if after.undo_failed.is_none() || rollout_is_abandoned(rollout) {
        blame::after_failure(after, rollout, cause, &failure);
    }
}

const fn rollout_is_abandoned(rollout: &Rollout) -> bool {
    matches!(
        rollout.phase,
        RolloutPhase::Closed {
            closing: RolloutClosing::Abandoned { .. }
        }
    )
}

/// As many as a rollback by hand may sensibly reach; each costs a hundred bytes per certificate.
const EARLIER_KEPT: usize = 5;
