//! What happens to one target: which rollout is opened, carried on or superseded.
//!
//! The wanted set of a target holds, for every certificate of the policy that names it, the newest revision; the live
//! one where the newest is held off, unusable or expired; and what a person asked for before anything else. A rollout
//! is opened only when something wanted differs from what is live. A certificate that left the policy stays in place
//! until the next rollout: taking it away would be a reload for nothing, and may break a service that still names it.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{
    Blocked, CertificateId, CertificateState, HostSeed, Reason, RevisionId, Rollout, RolloutEvent,
    Seconds, Split, TargetPolicy, TargetState, Timestamp, Waiting,
};
use crate::plan::again::{self, aside, keeps_aside};
use crate::plan::certificates::{Coming, Subject};
use crate::plan::draft::Draft;
use crate::plan::{Action, Next, Verdict, backoff, drift, pacing, rollout_machine};

/// A certificate on the target.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Member<'a> {
    /// Position in the list of certificates.
    pub(crate) at: usize,
    /// The certificate.
    pub(crate) subject: Subject<'a>,
    /// Whether a newer revision of it is on its way.
    pub(crate) coming: Coming,
}

/// A target with what is known of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    /// What the administrator wants.
    pub(crate) policy: &'a TargetPolicy,
    /// Of this host.
    pub(crate) host: HostSeed,
    /// What is known.
    pub(crate) state: &'a TargetState,
    /// Its open rollout.
    pub(crate) rollout: Option<&'a Rollout>,
    /// So many days before the end of a certificate it is told of, as shares of a usual lifetime.
    pub(crate) days: &'a BTreeSet<u32>,
    /// What a person asked for and what is not in place, see [`Place::with`].
    pub(crate) asked: Option<&'a BTreeMap<CertificateId, RevisionId>>,
}

impl Place<'_> {
    /// Once its members are known. What was asked for of a certificate that has left the target is nothing to wait for:
    /// the others would never get anything newer.
    #[must_use]
    pub(crate) fn with(self, members: &[Member<'_>]) -> Self {
        let is_missing = |(id, revision): (&CertificateId, &RevisionId)| {
            let found = members.binary_search_by(|member| member.subject.policy.id.cmp(id));
            // What cannot be put in the place of somebody else's is nothing that the others wait for either.
            let may_go = found.is_ok_and(|at| !drift::is_taken(&self, &members[at]));
            may_go && self.state.live.get(id) != Some(revision)
        };
        let wanted = self.state.wanted.as_ref();
        let asked = wanted.filter(|wanted| wanted.iter().any(is_missing));
        Self { asked, ..self }
    }
}

/// What a target says about one of its certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// Position in the list of certificates.
    pub(crate) at: usize,
    /// What was decided; never `Healthy`.
    pub(crate) verdict: Verdict,
}

/// Decides, adds what is to be done to the draft, and says what it means for the certificates concerned.
pub(crate) fn decide(
    place: &Place<'_>,
    members: &[Member<'_>],
    now: Timestamp,
    draft: &mut Draft,
) -> Vec<Finding> {
    if let Some(since) = place.state.silent {
        draft.wake(now + BETWEEN_LOOKS);
        return all(members, &Verdict::Blocked(Blocked::NoAnswer { since }));
    }
    let wanted = wanted(place, members, now);
    let mut findings = rollout(place, members, &wanted, now, draft);
    // Said when it is known, and not when a renewal is due and nobody looks.
    findings.extend(members.iter().filter_map(|member| {
        let path = place.state.unwritable.get(&member.subject.policy.id)?;
        let blocked = Blocked::RestartNeeded { path: path.clone() };
        Some(Finding {
            at: member.at,
            verdict: Verdict::Blocked(blocked),
        })
    }));
    for member in members {
        let id = &member.subject.policy.id;
        let Some(aside) = aside(place, member) else {
            continue;
        };
        if wanted.get(id) == Some(&aside.revision) || findings.iter().any(|f| f.at == member.at) {
            continue;
        }
        // One whose time has come, while others go first.
        let verdict =
            keeps_aside(place, member, aside, now).unwrap_or(Verdict::Wait(Waiting::Rollout));
        wake(&verdict, draft);
        findings.push(Finding {
            at: member.at,
            verdict,
        });
    }
    if turn(place, members, now).is_some() {
        // The parts of the set whose turn it is not, and what became ready meanwhile.
        for member in members {
            let newest = fit(member.subject.state, place.state, now);
            let later = newest.is_some() && newest != wanted.get(&member.subject.policy.id);
            if later && findings.iter().all(|found| found.at != member.at) {
                let verdict = Verdict::Wait(Waiting::Rollout);
                findings.push(Finding {
                    at: member.at,
                    verdict,
                });
            }
        }
    }
    findings
}

fn rollout(
    place: &Place<'_>,
    members: &[Member<'_>],
    wanted: &BTreeMap<CertificateId, RevisionId>,
    now: Timestamp,
    draft: &mut Draft,
) -> Vec<Finding> {
    if let Some(rollout) = place.rollout {
        return carry_on(place, rollout, members, wanted, now, draft);
    }
    let undo_failed = place.state.undo_failed.as_ref();
    let undo_failed = undo_failed.filter(|_| place.asked.is_none());
    let until_again = |detail: &String, until| {
        Verdict::Blocked(Blocked::UndoFailed {
            detail: detail.clone(),
            until,
        })
    };
    if let Some(detail) = undo_failed
        && let Some(until) = again::target(place, members, now)
    {
        let verdict = until_again(detail, until);
        wake(&verdict, draft);
        return all(members, &verdict);
    }
    let mut reasons = reasons(place, members, wanted);
    if let (Some(detail), true) = (undo_failed, reasons.is_empty()) {
        // What is in place is what is wanted, and nobody has seen it served.
        let detail = detail.clone();
        let reason = Reason::UndoFailed { detail };
        reasons.extend(wanted.keys().map(|id| (id.clone(), reason.clone())));
    }
    let mut findings = held(place.state, members, &reasons);
    findings.extend(drift::left(place, members, |id| reasons.contains_key(id)));
    if reasons.is_empty() {
        return findings;
    }
    let keeps_back = drift::in_the_way(place, members)
        .map(drift::kept_back)
        .or_else(|| keeps_back(place, members, wanted, &reasons, now));
    let keeps_back = keeps_back.map(|verdict| match (undo_failed, verdict.until()) {
        // It is due, and held for its service's sake; it is blocked all the same.
        (Some(detail), Some(until)) => until_again(detail, until),
        _ => verdict,
    });
    if let Some(verdict) = &keeps_back {
        wake(verdict, draft);
    }
    findings.extend(members.iter().filter_map(|member| {
        let reason = reasons.get(&member.subject.policy.id)?;
        let verdict = match &keeps_back {
            Some(verdict) => verdict.clone(),
            None => Verdict::Act(reason.clone()),
        };
        Some(Finding {
            at: member.at,
            verdict,
        })
    }));
    if keeps_back.is_none() {
        draft.new_rollouts.push(Action::OpenRollout {
            target: place.policy.id.clone(),
            revisions: wanted.clone(),
            reasons,
        });
    }
    findings
}

/// Whether nothing about the target needs a look: then only its certificates' newest revisions are compared.
pub(crate) fn is_quiet(place: &Place<'_>) -> bool {
    let state = place.state;
    place.rollout.is_none()
        && state.drift.is_none()
        && state.wire.is_none()
        && state.unwritable.is_empty()
        && state.silent.is_none()
        && state.failures.count == 0
        && state.undo_failed.is_none()
        && state.wanted.is_none()
        && state.held.is_empty()
        && state.aside.is_empty()
        && state.split.is_none()
        && !policy_changed(place)
}

/// The set the target should have. What was set aside goes alone, once its time has come and nothing else is to be done:
/// it must not hold back the rest once more.
fn wanted(
    place: &Place<'_>,
    members: &[Member<'_>],
    now: Timestamp,
) -> BTreeMap<CertificateId, RevisionId> {
    let state = place.state;
    let mut wanted = without_aside(place, members, now);
    let changes = wanted
        .iter()
        .any(|(id, revision)| state.live.get(id) != Some(revision));
    let alone = members.iter().find_map(|member| {
        let id = &member.subject.policy.id;
        let aside = aside(place, member)?;
        let fits =
            fit(member.subject.state, state, now) == Some(&aside.revision) && !stays(place, member);
        let due = fits && keeps_aside(place, member, aside, now).is_none();
        due.then(|| (id.clone(), aside.revision.clone()))
    });
    if let (false, Some((id, revision))) = (changes, alone) {
        wanted.insert(id, revision);
    }
    wanted
}

fn without_aside(
    place: &Place<'_>,
    members: &[Member<'_>],
    now: Timestamp,
) -> BTreeMap<CertificateId, RevisionId> {
    let state = place.state;
    let turn = turn(place, members, now);
    let waits = |id| turn.as_ref().is_some_and(|turn| !turn.contains(id));
    members
        .iter()
        .filter_map(|member| {
            let id = &member.subject.policy.id;
            let asked = place.asked.and_then(|set| set.get(id));
            let revision = match asked {
                // What cannot be written, or must not be, keeps nobody else back.
                _ if stays(place, member) => state.live.get(id),
                Some(asked) => Some(asked),
                None if aside(place, member).is_some() || waits(id) => state.live.get(id),
                None => newest_or_live(member.subject.state, state, id, now),
            };
            Some((id.clone(), revision?.clone()))
        })
        .collect()
}

/// Members of the part of a split set whose turn it is, of what is still wanted of it.
fn turn<'a>(
    place: &Place<'a>,
    members: &[Member<'_>],
    now: Timestamp,
) -> Option<BTreeSet<&'a CertificateId>> {
    let state = place.state;
    let split = split(place).filter(|_| place.asked.is_none())?;
    let is_due = |id: &CertificateId, revision: &RevisionId| {
        let found = members.binary_search_by(|member| member.subject.policy.id.cmp(id));
        found.is_ok_and(|at| {
            let member = &members[at];
            fit(member.subject.state, state, now) == Some(revision)
                && state.live.get(id) != Some(revision)
                && aside(place, member).is_none()
                && !stays(place, member)
        })
    };
    let parts = split.parts.iter().map(|part| {
        let due = part.iter().filter(|(id, revision)| is_due(id, revision));
        due.map(|(id, _)| id).collect::<BTreeSet<_>>()
    });
    let mut parts = parts.filter(|part| !part.is_empty());
    parts.next()
}

/// Whether nothing of this member is touched, whatever is done with the others.
fn stays(place: &Place<'_>, member: &Member<'_>) -> bool {
    let id = &member.subject.policy.id;
    place.state.unwritable.contains_key(id) || drift::is_taken(place, member)
}

/// A set in parts, unless it failed under another policy of the target.
fn split<'a>(place: &Place<'a>) -> Option<&'a Split> {
    let split = place.state.split.as_ref();
    split.filter(|split| split.policy == place.policy.digest)
}

fn newest_or_live<'a>(
    certificate: &'a CertificateState,
    state: &'a TargetState,
    id: &CertificateId,
    now: Timestamp,
) -> Option<&'a RevisionId> {
    certificate.newest.as_ref()?;
    // What is in place already stays, whatever is wrong with it: there is nothing better to put there.
    fit(certificate, state, now).or(state.live.get(id))
}

/// The newest revision, where it may be rolled out.
fn fit<'a>(
    certificate: &'a CertificateState,
    state: &TargetState,
    now: Timestamp,
) -> Option<&'a RevisionId> {
    let newest = certificate.newest.as_ref()?;
    let fit = certificate.unusable.is_none()
        && !certificate.is_revoked(&newest.id)
        && newest.facts.not_after > now
        && !state.held.contains(&newest.id);
    fit.then_some(&newest.id)
}

fn policy_changed(place: &Place<'_>) -> bool {
    place
        .state
        .policy
        .is_some_and(|digest| digest != place.policy.digest)
}

/// Why each certificate of the target should be rolled out; empty when nothing is to be done.
fn reasons(
    place: &Place<'_>,
    members: &[Member<'_>],
    wanted: &BTreeMap<CertificateId, RevisionId>,
) -> BTreeMap<CertificateId, Reason> {
    let state = place.state;
    let changed = policy_changed(place);
    members
        .iter()
        .filter_map(|member| {
            let id = &member.subject.policy.id;
            let revision = wanted.get(id)?;
            if stays(place, member) {
                return None;
            }
            let asked = place.asked.and_then(|set| set.get(id));
            let reason = if state.live.get(id) != Some(revision) {
                match asked {
                    Some(_) => Reason::RollbackAsked,
                    None => Reason::NotDeployed,
                }
            } else if changed {
                Reason::TargetChanged
            } else {
                drift::reason(place, members, id)?
            };
            Some((id.clone(), reason))
        })
        .collect()
}

/// What stands between a reason and its rollout.
fn keeps_back(
    place: &Place<'_>,
    members: &[Member<'_>],
    wanted: &BTreeMap<CertificateId, RevisionId>,
    reasons: &BTreeMap<CertificateId, Reason>,
    now: Timestamp,
) -> Option<Verdict> {
    let state = place.state;
    let seed = backoff::Seed::new(place.policy.id.as_str(), place.host);
    if let Some(split) = split(place).filter(|split| split.left == 0)
        && turn(place, members, now).is_some()
        && let Some(pause) = backoff::waiting(&split.pauses, seed, place.policy.digest, now)
    {
        return Some(Verdict::Wait(pause));
    }
    let failures = backoff::count(&state.failures, place.policy.digest);
    if let Some(failed) = &state.failed
        && failures > 0
        && failed.revisions == *wanted
    {
        let blocked = failed.rolled_back >= LONGEST_ROW;
        if blocked && let Some(until) = again::target(place, members, now) {
            return Some(Verdict::Blocked(Blocked::RolloutFailed {
                failures: failed.rolled_back,
                message: format!("{}: {}", failed.cause.step, failed.cause.message),
                until,
            }));
        }
        // What is tried once a day has waited long enough; what was never served is not held to that.
        let has_waited = (blocked || state.undo_failed.is_some()) && !state.never_served;
        if !has_waited
            && let Some(pause) = backoff::waiting(&state.failures, seed, place.policy.digest, now)
        {
            return Some(Verdict::Wait(pause));
        }
    }
    let routine = reasons
        .values()
        .all(|reason| matches!(reason, Reason::NotDeployed));
    let batch = pacing::batch(place, members, reasons, now).filter(|_| routine);
    let waiting = batch.map_or_else(
        || pacing::holds(place, members, reasons, now),
        |until| Some(Waiting::Batch { until }),
    );
    waiting.map(Verdict::Wait)
}

fn carry_on(
    place: &Place<'_>,
    rollout: &Rollout,
    members: &[Member<'_>],
    wanted: &BTreeMap<CertificateId, RevisionId>,
    now: Timestamp,
    draft: &mut Draft,
) -> Vec<Finding> {
    let lacks = |id: &CertificateId| {
        wanted
            .get(id)
            .is_some_and(|revision| rollout.revisions.get(id) != Some(revision))
    };
    // What somebody else put there since the commit is told, and nothing to begin anew for.
    let is_wanted = |member: &Member<'_>| {
        let spared = rollout_machine::is_committed(rollout) && drift::is_taken(place, member);
        lacks(&member.subject.policy.id) && !spared
    };
    let next = match rollout_machine::next(rollout, place.policy.digest, place.host, now) {
        Next::Step(step) => match pacing::holds_step(place, rollout, members, now) {
            Some(waiting) => Next::Wait(waiting),
            None => Next::Step(step),
        },
        other => other,
    };
    let waits = matches!(next, Next::Wait(_));
    let untouched = rollout_machine::is_untouched(rollout);
    if rollout_machine::may_be_superseded(rollout) {
        let message = if rollout.policy != place.policy.digest {
            Some("the target's policy changed")
        } else if members.iter().any(is_wanted) {
            Some("another set of revisions is wanted")
        } else if (waits || !untouched) && repair_is_due(place, rollout, members, wanted, now) {
            Some(if untouched {
                "what is in place differs and is put right at once"
            } else {
                "what it put into place differs and is put right; the `post` hook is run after that"
            })
        } else {
            None
        };
        if let Some(message) = message {
            draft.rollouts.push(Action::RecordRollout {
                rollout: rollout.id.clone(),
                event: RolloutEvent::Superseded {
                    message: message.to_owned(),
                },
            });
            return changing(rollout, members, |reason| Verdict::Act(reason.clone()));
        }
    }
    let mut findings = match next {
        Next::Step(step) => {
            draft.rollouts.push(Action::AdvanceRollout {
                rollout: rollout.id.clone(),
                step,
            });
            changing(rollout, members, |reason| Verdict::Act(reason.clone()))
        }
        Next::Record(event) => {
            draft.rollouts.push(Action::RecordRollout {
                rollout: rollout.id.clone(),
                event,
            });
            changing(rollout, members, |reason| Verdict::Act(reason.clone()))
        }
        Next::Wait(waiting) => {
            let verdict = Verdict::Wait(waiting);
            wake(&verdict, draft);
            changing(rollout, members, |_| verdict.clone())
        }
        Next::Blocked(blocked) => {
            let verdict = Verdict::Blocked(blocked);
            changing(rollout, members, |_| verdict.clone())
        }
        Next::Done => Vec::new(),
    };
    findings.extend(
        members
            .iter()
            .filter(|member| {
                let id = &member.subject.policy.id;
                lacks(id) && !rollout.reasons.contains_key(id)
            })
            .map(|member| Finding {
                at: member.at,
                verdict: Verdict::Wait(Waiting::Rollout),
            }),
    );
    findings
}

/// A hook that never passes, a window or a disk that is full keeps nobody from putting right what somebody else changed
/// meanwhile, where that can begin now. A rollout that has it in its own set does it by itself.
fn repair_is_due(
    place: &Place<'_>,
    rollout: &Rollout,
    members: &[Member<'_>],
    wanted: &BTreeMap<CertificateId, RevisionId>,
    now: Timestamp,
) -> bool {
    let untouched = rollout_machine::is_untouched(rollout);
    if !untouched && !rollout_machine::waits_for_post_hook(rollout) {
        return false;
    }
    let mut reasons = reasons(place, members, wanted);
    reasons.retain(|id, reason| {
        let known = untouched && rollout.reasons.contains_key(id);
        matches!(reason, Reason::Drifted { .. }) && !known
    });
    !reasons.is_empty()
        && drift::in_the_way(place, members).is_none()
        && keeps_back(place, members, wanted, &reasons, now).is_none()
}

/// A finding for each certificate that the rollout changes.
fn changing(
    rollout: &Rollout,
    members: &[Member<'_>],
    verdict: impl Fn(&Reason) -> Verdict,
) -> Vec<Finding> {
    members
        .iter()
        .filter_map(|member| {
            let reason = rollout.reasons.get(&member.subject.policy.id)?;
            Some(Finding {
                at: member.at,
                verdict: verdict(reason),
            })
        })
        .collect()
}

/// A hold is all that there is to say where nothing else is to be done: a rollback that is not in place yet says more.
fn held(
    state: &TargetState,
    members: &[Member<'_>],
    reasons: &BTreeMap<CertificateId, Reason>,
) -> Vec<Finding> {
    members
        .iter()
        .filter(|member| {
            let newest = member.subject.state.newest.as_ref();
            newest.is_some_and(|newest| state.held.contains(&newest.id))
                && !reasons.contains_key(&member.subject.policy.id)
        })
        .map(|member| Finding {
            at: member.at,
            verdict: Verdict::Blocked(Blocked::Held),
        })
        .collect()
}

fn all(members: &[Member<'_>], verdict: &Verdict) -> Vec<Finding> {
    members
        .iter()
        .map(|member| Finding {
            at: member.at,
            verdict: verdict.clone(),
        })
        .collect()
}

fn wake(verdict: &Verdict, draft: &mut Draft) {
    if let Some(until) = verdict.until() {
        draft.wake(until);
    }
}

/// How often the same set may be rolled back in a row before a person is needed. With backoff, five attempts take from a
/// quarter of an hour to a few hours: longer than a restart, shorter than anybody's patience. Then it goes on once a day,
/// loudly, see [`again`].
pub(crate) const LONGEST_ROW: u32 = 5;

/// At files that gave no answer: that costs nothing while they still do not.
const BETWEEN_LOOKS: Seconds = Seconds::minutes(1);
