//! When a rollout may begin: others that go in with it, maintenance windows, the budget of reloads in an hour, and what
//! may not wait for either. And the budget of an issuer's orders.
//!
//! Held are routine rollouts only, and only before anything is in place: a person's wish, a service that has nothing (or
//! nothing that is valid) and one whose certificate runs out pass, and an undo is never asked. A window says *begins*: a
//! rollout that has been committed is carried to its end.

use std::collections::BTreeMap;

use crate::model::{
    CertificateId, DriftKind, MaintenanceWindow, Reason, Rollout, RolloutPhase, Seconds, Timestamp,
    Waiting,
};
use crate::plan::certificates::{BATCH_WINDOW, Coming, Subject};
use crate::plan::rollout_machine;
use crate::plan::targets::{Member, Place};

/// What holds a new rollout; `None` when it may begin.
pub(crate) fn holds(
    place: &Place<'_>,
    members: &[Member<'_>],
    reasons: &BTreeMap<CertificateId, Reason>,
    now: Timestamp,
) -> Option<Waiting> {
    // A key that others can read is not left so until Saturday; whoever keeps exposing it still gets no more reloads.
    let opens = opens(&place.policy.pacing.windows, now).filter(|_| !exposes_key(reasons));
    let frees = frees(place, now);
    if opens.is_none() && frees.is_none() {
        return None;
    }
    let end = end(place, members, reasons)?;
    let held = |until| end.holds_until(until, now);
    let window = opens.and_then(held).map(|until| Waiting::Window { until });
    window.or_else(|| {
        let until = frees.and_then(held)?;
        Some(Waiting::ReloadBudget { until })
    })
}

/// What holds the next step of an open rollout. Until its `pre` hook was run, or without one until its commit, it is as
/// good as not begun; and each look at a service that does not show the new set costs a reload.
pub(crate) fn holds_step(
    place: &Place<'_>,
    rollout: &Rollout,
    members: &[Member<'_>],
    now: Timestamp,
) -> Option<Waiting> {
    match &rollout.phase {
        RolloutPhase::Opened | RolloutPhase::Staged if !rollout_machine::is_committed(rollout) => {
            holds(place, members, &rollout.reasons, now)
        }
        RolloutPhase::AwaitingService { .. } if rollout_machine::may_be_superseded(rollout) => {
            let frees = frees(place, now)?;
            let until = end(place, members, &rollout.reasons)?.holds_until(frees, now)?;
            Some(Waiting::ReloadBudget { until })
        }
        RolloutPhase::Opened
        | RolloutPhase::Staged
        | RolloutPhase::PreHooks
        | RolloutPhase::Committed
        | RolloutPhase::Tested
        | RolloutPhase::Reloaded
        | RolloutPhase::Verified { .. }
        | RolloutPhase::PostHooks
        | RolloutPhase::AwaitingService { .. }
        | RolloutPhase::Undoing { .. }
        | RolloutPhase::OnFailure { .. }
        | RolloutPhase::Closed { .. } => None,
    }
}

/// Until when what is live may stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct End {
    /// From here on it is an emergency.
    emergency_at: Timestamp,
    /// The first of it is no longer valid.
    not_after: Timestamp,
}

impl End {
    /// Held at `now` for the sake of `until`, it is looked at again then, or when the emergency begins.
    fn holds_until(self, until: Timestamp, now: Timestamp) -> Option<Timestamp> {
        (self.emergency_at > now && self.not_after > until).then(|| until.min(self.emergency_at))
    }
}

/// Of what a rollout would replace; `None` where it is not to be held at all.
fn end(
    place: &Place<'_>,
    members: &[Member<'_>],
    reasons: &BTreeMap<CertificateId, Reason>,
) -> Option<End> {
    let state = place.state;
    // Nobody is served anything that could be disturbed.
    if state.live.is_empty() || state.never_served {
        return None;
    }
    let mut first = End {
        emergency_at: Timestamp(i64::MAX),
        not_after: Timestamp(i64::MAX),
    };
    for member in members {
        let id = &member.subject.policy.id;
        let Some(reason) = reasons.get(id) else {
            continue;
        };
        if is_asked_for(member, reason) || state.overwrite.contains(id) {
            return None;
        }
        // A certificate that is new on a service waits: those that are served beside it would be disturbed.
        let Some(live) = state.live.get(id) else {
            continue;
        };
        // What clients may refuse is replaced at once.
        if member.subject.state.is_revoked(live) {
            return None;
        }
        // Of what nobody remembers it may be over already.
        let (emergency_at, not_after) = member.subject.end_of(live)?;
        first.emergency_at = first.emergency_at.min(emergency_at);
        first.not_after = first.not_after.min(not_after);
    }
    Some(first)
}

fn exposes_key(reasons: &BTreeMap<CertificateId, Reason>) -> bool {
    let exposed = |reason: &Reason| {
        matches!(
            reason,
            Reason::Drifted {
                kind: DriftKind::KeyExposed,
                ..
            }
        )
    };
    reasons.values().any(exposed)
}

/// A person wants it now.
fn is_asked_for(member: &Member<'_>, reason: &Reason) -> bool {
    let fulfilled = member.subject.state.fulfilled.as_ref();
    match reason {
        Reason::RollbackAsked => true,
        Reason::NotDeployed => fulfilled.is_some_and(|last| last.reason == Reason::Forced.code()),
        Reason::NoRevision
        | Reason::Unusable { .. }
        | Reason::IssuerChanged
        | Reason::NamesChanged { .. }
        | Reason::KeyChanged
        | Reason::Revoked
        | Reason::Expired { .. }
        | Reason::Emergency { .. }
        | Reason::RenewalDue { .. }
        | Reason::NewerOffered
        | Reason::Forced
        | Reason::TargetChanged
        | Reason::UndoFailed { .. }
        | Reason::Drifted { .. } => false,
    }
}

/// When the first of the windows opens; `None` while one is open, and where there are no windows.
fn opens(windows: &[MaintenanceWindow], now: Timestamp) -> Option<Timestamp> {
    let into_week = now.0.saturating_add(MONDAY).rem_euclid(WEEK);
    let mut wait: Option<i64> = None;
    for window in windows {
        let days = (0_i64..).zip(window.days);
        for (day, _) in days.filter(|(_, on)| *on) {
            let start = day * DAY + window.from.0;
            // Counted from its start, so that midnight and the end of the week are nothing special.
            if (into_week - start).rem_euclid(WEEK) < window.length.0 {
                return None;
            }
            let ahead = (start - into_week).rem_euclid(WEEK);
            wait = Some(wait.map_or(ahead, |wait| wait.min(ahead)));
        }
    }
    wait.map(|wait| now + Seconds(wait))
}

/// When another reload of the target fits into its budget; `None` for now.
fn frees(place: &Place<'_>, now: Timestamp) -> Option<Timestamp> {
    room(
        &place.state.reloads,
        place.policy.pacing.reloads_per_hour?,
        now,
    )
}

/// `reloads` are in the order in which they were made.
fn room(reloads: &[Timestamp], per_hour: u32, now: Timestamp) -> Option<Timestamp> {
    let recent: Vec<Timestamp> = recent(reloads, now).collect();
    let budget = usize::try_from(per_hour.max(1)).unwrap_or(usize::MAX);
    let over = recent.len().checked_sub(budget)?;
    recent.get(over).map(|at| *at + HOUR)
}

/// Those that count. One that lies ahead was written by a clock that was wrong: it holds nothing up.
pub(crate) fn recent(
    reloads: &[Timestamp],
    now: Timestamp,
) -> impl Iterator<Item = Timestamp> + '_ {
    let counts = move |at: &Timestamp| *at <= now && at.until(now) < HOUR;
    reloads.iter().copied().filter(counts)
}

/// What of an issuer's orders of an hour is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OrderBudget {
    left: usize,
    /// When there is more.
    frees: Timestamp,
}

impl OrderBudget {
    /// At this moment, after these, which are in the order in which they were opened.
    pub(crate) fn new(opened: &[Timestamp], per_hour: u32, now: Timestamp) -> Self {
        let recent: Vec<Timestamp> = recent(opened, now).collect();
        let budget = usize::try_from(per_hour.max(1)).unwrap_or(usize::MAX);
        let over = recent.len().saturating_sub(budget);
        Self {
            left: budget.saturating_sub(recent.len()),
            // Where all of them are planned for this very moment, an hour from now.
            frees: recent.get(over).map_or(now, |at| *at) + HOUR,
        }
    }

    /// One more order, or when it may be opened. What cannot wait does not, and is counted.
    pub(crate) fn take(&mut self, waits: bool) -> Option<Timestamp> {
        if waits && self.left == 0 {
            return Some(self.frees);
        }
        self.left = self.left.saturating_sub(1);
        None
    }
}

/// Until when what is ready waits for others of the target, so that all go in with one reload; `None` where nobody is on
/// the way, or the time is over.
///
/// The time runs from the moment when the first of them was ready. Where somebody asked for it, or what is served ends
/// soon, only those are waited for whose order can be carried on at once.
pub(crate) fn batch(
    place: &Place<'_>,
    members: &[Member<'_>],
    reasons: &BTreeMap<CertificateId, Reason>,
    now: Timestamp,
) -> Option<Timestamp> {
    let ready = || {
        let ready = |member: &&Member<'_>| reasons.contains_key(&member.subject.policy.id);
        members.iter().filter(ready)
    };
    // One that was ready in the future was so before the clock was set back.
    let since = ready()
        .map(|member| member.subject.state.fulfilled.as_ref().map(|last| last.at))
        .min()
        .flatten()
        .filter(|at| *at <= now)?;
    let until = since + BATCH_WINDOW;
    let urgent = ready().any(|member| is_urgent(place, member, until));
    let on_the_way = members.iter().any(|member| match member.coming {
        Coming::No => false,
        Coming::Now => true,
        Coming::Soon { from } => !urgent && from <= until,
    });
    (on_the_way && until > now).then_some(until)
}

/// Whether a person waits for it, or what it replaces ends too soon after this moment.
fn is_urgent(place: &Place<'_>, member: &Member<'_>, until: Timestamp) -> bool {
    let Subject { policy, state, .. } = member.subject;
    let forced = Reason::Forced.code();
    let asked_for = state.fulfilled.as_ref().is_some_and(|f| f.reason == forced);
    let served = place.state.live.get(&policy.id);
    let end = served.and_then(|served| state.not_after(served));
    let revoked = served.is_some_and(|served| state.is_revoked(served));
    asked_for || revoked || end.is_some_and(|end| end <= until + BATCH_WINDOW)
}

const HOUR: Seconds = Seconds::hours(1);
const DAY: i64 = 24 * 3600;
const WEEK: i64 = 7 * DAY;
/// 1970-01-01 was a Thursday, three days into its week.
const MONDAY: i64 = 3 * DAY;

#[cfg(test)]
mod tests;
