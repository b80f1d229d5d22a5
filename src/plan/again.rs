//! When what is blocked is tried again by itself.
//!
//! A block is loud and stands until a set goes in, but nobody may be there to hear it: a target whose way back failed, a
//! set that was undone too often and a member that was set aside for good are tried once a day, and whenever what is
//! served comes nearer to its end by a step of `alert_days`, its last moment included (ADR 0010). Never sooner than
//! [`SOONEST`] after the attempt before.

use std::collections::BTreeSet;

use crate::model::{
    Blocked, CertificateId, Fingerprint, Seconds, SetAside, StepFailure, TargetState, Timestamp,
};
use crate::plan::targets::{Member, Place};
use crate::plan::{Verdict, alerts, backoff, blame};

/// When a target is tried again whose way back failed, or whose set was undone too often; `None` for now.
pub(crate) fn target(
    place: &Place<'_>,
    members: &[Member<'_>],
    now: Timestamp,
) -> Option<Timestamp> {
    // Nobody is served anything that another attempt could disturb.
    if place.state.never_served {
        return None;
    }
    let last = place.state.failures.last.as_ref();
    at(last, place, members, now)
}

/// When a member is tried again that was set aside and failed alone too often; `None` for now.
fn member(
    place: &Place<'_>,
    member: &Member<'_>,
    aside: &SetAside,
    now: Timestamp,
) -> Option<Timestamp> {
    let last = aside.failures.last.as_ref();
    at(last, place, std::slice::from_ref(member), now)
}

fn at(
    last: Option<&StepFailure>,
    place: &Place<'_>,
    members: &[Member<'_>],
    now: Timestamp,
) -> Option<Timestamp> {
    let policy: Fingerprint = place.policy.digest;
    // A person changed something, or the clock was set back: waiting for that moment could take for ever.
    let last = last.filter(|last| last.policy == policy && last.at <= now)?;
    let ends = members
        .iter()
        .filter_map(|member| next_step(place.state, member, place.days, last.at))
        .min()
        .map(|step| step.max(last.at + SOONEST));
    let daily = last.at + DAILY;
    let next = ends.map_or(daily, |ends| ends.min(daily));
    (next > now).then_some(next)
}

/// The next moment after this one at which what is served of a member comes near its end, where something newer is there
/// to take its place.
fn next_step(
    state: &TargetState,
    member: &Member<'_>,
    days: &BTreeSet<u32>,
    after: Timestamp,
) -> Option<Timestamp> {
    let certificate = member.subject.state;
    let newest = certificate.newest.as_ref()?;
    let live = state.live.get(&member.subject.policy.id)?;
    if *live == newest.id {
        return None;
    }
    let end = certificate.not_after(live)?;
    alerts::moments(end, newest.facts.lifetime(), days)
        .chain([end])
        .filter(|at| *at > after)
        .min()
}

/// What is known of a member that was set aside; `None` once it has a newer revision, the target another policy, or a
/// person asked for a set with it.
pub(crate) fn aside<'a>(place: &Place<'a>, member: &Member<'_>) -> Option<&'a SetAside> {
    let id = &member.subject.policy.id;
    if place.asked.is_some_and(|set| set.contains_key(id)) {
        return None;
    }
    let newest = member.subject.state.newest.as_ref()?;
    let aside = place.state.aside.get(id)?;
    let counts = backoff::count(&aside.failures, place.policy.digest) > 0;
    (aside.revision == newest.id && counts).then_some(aside)
}

/// Why a member that was set aside is not tried again yet.
pub(crate) fn keeps_aside(
    place: &Place<'_>,
    of: &Member<'_>,
    aside: &SetAside,
    now: Timestamp,
) -> Option<Verdict> {
    let SetAside { failures, .. } = aside;
    let id: &CertificateId = &of.subject.policy.id;
    if blame::is_given_up(aside) {
        let until = member(place, of, aside, now)?;
        let last = failures.last.as_ref();
        return Some(Verdict::Blocked(Blocked::RolloutFailed {
            failures: failures.count,
            message: last.map(|last| last.message.clone()).unwrap_or_default(),
            until,
        }));
    }
    let seed = backoff::Seed::new(id.as_str(), place.host);
    backoff::waiting(failures, seed, place.policy.digest, now).map(Verdict::Wait)
}

/// Without a person. An attempt costs two reloads at most, which no service minds once a day.
const DAILY: Seconds = Seconds::days(1);

/// However many ends come near: what failed a moment ago fails again.
const SOONEST: Seconds = Seconds::hours(1);
