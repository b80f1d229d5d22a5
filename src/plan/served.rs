//! What is told of a certificate that is served in the place of a newer one.

use std::collections::BTreeSet;

use crate::model::{Seconds, Severity, Standing, Timestamp};
use crate::plan::alerts::moments;
use crate::plan::draft::Draft;
use crate::plan::targets::{Member, Place};
use crate::plan::{again, backoff, drift};

/// A newer revision is there and kept back, by whatever, while the one that is served runs out. What is only on its way is not
/// told. Told again at each of the days of the policy that are left, and at the end.
pub(crate) fn old_one(place: &Place<'_>, member: &Member<'_>, now: Timestamp, draft: &mut Draft) {
    let state = place.state;
    let certificate = &member.subject.policy.id;
    let (Some(live), Some(newest)) = (
        state.live.get(certificate),
        member.subject.state.newest.as_ref(),
    ) else {
        return;
    };
    let Some(not_after) = member.subject.state.not_after(live) else {
        return;
    };
    if *live == newest.id {
        return;
    }
    let lifetime = newest.facts.lifetime();
    let first = not_after - Seconds(lifetime.0.max(0) / 10);
    let mut steps: BTreeSet<Timestamp> = moments(not_after, lifetime, place.days)
        .filter(|at| *at > first)
        .collect();
    steps.extend([first, not_after]);
    steps.iter().for_each(|at| draft.wake(*at));
    let step = steps.iter().filter(|at| **at <= now).count();
    let held = state.held.contains(&newest.id);
    // One that failed and was closed, or one that is tried again and again.
    let open = place
        .rollout
        .filter(|open| open.revisions.contains_key(certificate));
    let mut failures = std::iter::once(&state.failures).chain(open.map(|open| &open.failures));
    let failed = failures.any(|of| backoff::count(of, place.policy.digest) > 0);
    let silent = drift::is_silent(place, now);
    let shut = silent || state.unwritable.contains_key(certificate);
    let alone = again::aside(place, member).is_some();
    if step == 0 || !(held || failed || shut || alone || state.undo_failed.is_some()) {
        return;
    }
    let what = if held {
        "`renewd release` lets the newer one in"
    } else {
        "`renewd status` says what keeps the newer one back"
    };
    let target = &place.policy.id;
    let ends = if not_after <= now { "ended" } else { "ends" };
    draft.alert_step(
        Severity::Critical,
        ("old-one-served", u32::try_from(step).unwrap_or(u32::MAX)),
        &format!("{target}/{certificate}"),
        format!("{certificate} on {target}: what is served {ends} at {not_after}"),
        format!(
            "A newer one is there, valid until {}, and not served: {what}.",
            newest.facts.not_after
        ),
    );
}

/// A revoked one is served still.
pub(crate) fn revoked_one(place: &Place<'_>, member: &Member<'_>, draft: &mut Draft) {
    let state = member.subject.state;
    let certificate = &member.subject.policy.id;
    let Some(live) = place.state.live.get(certificate) else {
        return;
    };
    let newest = state.newest.as_ref().map(|newest| &newest.id);
    // Of the newest it is told already.
    if !state.is_revoked(live) || newest == Some(live) {
        return;
    }
    let target = &place.policy.id;
    draft.alert(
        Severity::Critical,
        Standing::Revoked.code(),
        &format!("{target}/{certificate}"),
        format!("{certificate} on {target}: what is served was taken back by its issuer"),
        format!("A newer one goes in as soon as it can; `renewd history {certificate}` says what keeps it back."),
    );
}
