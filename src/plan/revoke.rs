//! When a revision is revoked: asked for by a person, or replaced, where the policy says so. And which certificates of
//! ours are deleted at their end.
//!
//! Nothing that is served, or may be put back, is revoked, unless a person says that it cannot wait.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{
    CertificateId, CertificatePolicy, CertificateState, ErrorClass, Failures, Fingerprint,
    IssuerId, IssuerKind, KnownRevision, Listed, ListedStanding, OrderMode, Policy, RevisionFacts,
    RevisionId, RevocationReason, RevokedBy, Revoking, Seconds, Severity, Snapshot, Stale,
    Superseded, Timestamp,
};
use crate::plan::backoff::{self, Seed};
use crate::plan::draft::Draft;
use crate::plan::{Tending, alerts};

/// What is to be done about a revision that is to be revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Revoke it now.
    Due,
    /// Not yet.
    Waits {
        /// When to look again; `None` where another action or a person ends the wait.
        until: Option<Timestamp>,
        /// For what, as the end of a sentence.
        why: String,
    },
    /// The policy does not want it any more.
    Dropped,
    /// It has ended by itself.
    Ended,
}

impl Step {
    fn waits(why: impl Into<String>) -> Self {
        Self::Waits {
            until: None,
            why: why.into(),
        }
    }
}

/// What is to be done about one of them.
#[must_use]
pub fn step(
    policy: &Policy,
    snapshot: &Snapshot,
    certificate: &CertificateId,
    revoking: &Revoking,
    now: Timestamp,
) -> Step {
    if end(snapshot, certificate, revoking).is_some_and(|end| end <= now) {
        return Step::Ended;
    }
    let Some(issuer) = policy.issuers.get(&revoking.issuer) else {
        return Step::waits(format!("issuer {} left the policy", revoking.issuer));
    };
    if revoking.by == RevokedBy::Policy && grace(policy, &revoking.issuer).is_none() {
        return Step::Dropped;
    }
    if revoking.by == RevokedBy::Policy
        && let Some(stale) = &snapshot.stale
    {
        return Step::waits(format!("{stale} and may serve it"));
    }
    if revoking.by != RevokedBy::PersonAtOnce
        && let Some(why) = in_use(policy, snapshot, certificate, revoking)
    {
        return Step::waits(why);
    }
    if revoking.by == RevokedBy::Policy && revoking.not_before > now {
        return Step::Waits {
            until: Some(revoking.not_before),
            why: "the policy gives it time".to_owned(),
        };
    }
    let seed = Seed::new(certificate.as_str(), snapshot.host);
    match backoff::waiting(&revoking.failures, seed, issuer.digest, now) {
        Some(waiting) => Step::Waits {
            until: waiting.until(),
            why: waiting.to_string(),
        },
        None => Step::Due,
    }
}

/// When what is to be revoked ends by itself, as far as is known.
fn end(snapshot: &Snapshot, certificate: &CertificateId, revoking: &Revoking) -> Option<Timestamp> {
    let state = snapshot.certificates.get(certificate);
    let remembered = || state?.not_after(&revoking.revision);
    revoking.until.or_else(remembered)
}

/// Why a revision cannot be missed yet.
fn in_use(
    policy: &Policy,
    snapshot: &Snapshot,
    id: &CertificateId,
    revoking: &Revoking,
) -> Option<String> {
    let revision = &revoking.revision;
    if let Some(certificate) = policy.certificates.get(id) {
        let state = snapshot.certificates.get(id)?;
        let newest = state.newest.as_ref()?;
        if newest.id == *revision {
            return Some("the one that replaces it is not there yet".to_owned());
        }
        if revoking.by != RevokedBy::Policy && Some(newest.facts.spki) == revoking.spki {
            return Some("the newest revision has the same key".to_owned());
        }
        if let Some(why) = not_everywhere(certificate, state, snapshot, newest) {
            return Some(why);
        }
    }
    let serves = |set: &BTreeMap<CertificateId, RevisionId>| set.get(id) == Some(revision);
    for (target, state) in &snapshot.targets {
        if serves(&state.live) {
            return Some(format!("{target} still has it"));
        }
        if state.wanted.as_ref().is_some_and(serves) {
            return Some(format!("a person wants it back on {target}"));
        }
    }
    let mut rollouts = snapshot.rollouts.values();
    let rollout = rollouts.find(|open| serves(&open.revisions) || serves(&open.previous))?;
    Some(format!(
        "a rollout of {} is open, which may return to it",
        rollout.target
    ))
}

/// Where the newest revision is not yet.
fn not_everywhere(
    certificate: &CertificatePolicy,
    state: &CertificateState,
    snapshot: &Snapshot,
    newest: &RevisionFacts,
) -> Option<String> {
    let elsewhere = certificate.targets.iter().find(|&target| {
        let place = snapshot.targets.get(target);
        place.and_then(|place| place.live.get(&certificate.id)) != Some(&newest.id)
    });
    if let Some(target) = elsewhere {
        return Some(format!(
            "{target} does not serve revision {} yet",
            newest.id
        ));
    }
    let behind = certificate.push.iter().find(|&push| {
        let done = state.pushes.get(push).and_then(|push| push.done.as_ref());
        done.is_none_or(|done| done.revision != newest.id)
    })?;
    Some(format!("{behind} does not have revision {} yet", newest.id))
}

/// How long after they were replaced certificates of an issuer are revoked; `None` for never.
fn grace(policy: &Policy, issuer: &IssuerId) -> Option<Seconds> {
    match &policy.issuers.get(issuer)?.kind {
        IssuerKind::Pca(pca) => match pca.superseded {
            Superseded::Keep => None,
            Superseded::RevokeAfter(grace) => Some(grace),
        },
        IssuerKind::Scm(_) => None,
    }
}

/// Revisions that were replaced, and that the policy wants revoked. `known` is every revision of the journal: the state of
/// the certificate has the last few only, and what was revoked before must not be again. None of a journal that is a copy:
/// its other owner may serve what is replaced here.
#[must_use]
pub fn superseded(
    policy: &Policy,
    snapshot: &Snapshot,
    certificate: &CertificatePolicy,
    known: &[KnownRevision],
    now: Timestamp,
) -> Vec<Revoking> {
    let Some(state) = snapshot.certificates.get(&certificate.id) else {
        return Vec::new();
    };
    let Some(newest) = state.newest.as_ref() else {
        return Vec::new();
    };
    if certificate.order != OrderMode::Auto
        || snapshot.stale.is_some()
        || not_everywhere(certificate, state, snapshot, newest).is_some()
    {
        return Vec::new();
    }
    let mut found = Vec::new();
    for one in known.iter().filter(|one| one.ours && !one.revoked) {
        let (issuer, revision) = (&one.issuer, &one.revision);
        let Some(grace) = grace(policy, issuer) else {
            continue;
        };
        let wanted = revision.id != newest.id
            && revision.issued_at <= newest.issued_at
            && revision.facts.not_after > now + grace
            && !revision.reference.is_empty()
            && !state.is_revoked(&revision.id)
            && !state.revoking.iter().any(|one| one.revision == revision.id);
        if wanted {
            let (reason, by) = (RevocationReason::Superseded, RevokedBy::Policy);
            found.push(Revoking {
                not_before: now + grace,
                ..revoking(one, reason, by, now)
            });
        }
    }
    found
}

/// Revisions with a key that can still be revoked: neither at their end nor taken back. All of them have to go where others may
/// know the private one.
pub fn with_key<'a>(
    known: &'a [KnownRevision],
    state: &'a CertificateState,
    key: &'a Fingerprint,
    now: Timestamp,
) -> impl Iterator<Item = &'a KnownRevision> {
    known.iter().filter(move |one| {
        one.revision.facts.spki == *key
            && one.revision.facts.not_after > now
            && !one.revoked
            && !state.is_revoked(&one.revision.id)
    })
}

/// Revisions with a key that others may know, and that nobody has had revoked yet: an order that was under way brings one after
/// a person spoke of the key.
#[must_use]
pub fn compromised(
    state: &CertificateState,
    known: &[KnownRevision],
    now: Timestamp,
) -> Vec<Revoking> {
    let keys = state.compromised.iter();
    let all = keys.flat_map(|key| with_key(known, state, &key.spki, now));
    let all = all.filter(|one| !one.revision.reference.is_empty());
    let noted = |id: &RevisionId| {
        let mut noted = state.revoking.iter();
        noted.any(|one| one.revision == *id && one.by != RevokedBy::Policy)
    };
    all.filter(|one| !noted(&one.revision.id))
        .map(|one| {
            let (reason, by) = (RevocationReason::KeyCompromise, RevokedBy::Person);
            revoking(one, reason, by, now)
        })
        .collect()
}

/// That a revision is to be revoked, as soon as it may be.
#[must_use]
pub fn revoking(
    one: &KnownRevision,
    reason: RevocationReason,
    by: RevokedBy,
    now: Timestamp,
) -> Revoking {
    Revoking {
        revision: one.revision.id.clone(),
        reference: one.revision.reference.clone(),
        issuer: one.issuer.clone(),
        reason,
        not_before: now,
        asked_at: now,
        by,
        spki: Some(one.revision.facts.spki),
        until: Some(one.revision.facts.not_after),
        failures: Failures::default(),
    }
}

/// Whether certificates that were replaced may have to be revoked: only then is the journal asked for them.
#[must_use]
pub fn may_supersede(
    policy: &Policy,
    certificate: &CertificatePolicy,
    state: &CertificateState,
) -> bool {
    certificate.order == OrderMode::Auto
        && !state.earlier.is_empty()
        && policy
            .issuers
            .keys()
            .any(|issuer| grace(policy, issuer).is_some())
}

/// Which of an account's expired certificates may be deleted: `known` are the ids of ours with the end of what the
/// journal knows of them. Both must say that it is over, and a day must have passed.
#[must_use]
pub fn deletable(
    expired: &[Listed],
    known: &BTreeMap<String, Timestamp>,
    now: Timestamp,
) -> Vec<String> {
    let over = |end: Timestamp| end + SLACK <= now;
    expired
        .iter()
        .filter(|one| one.standing == ListedStanding::Expired)
        .filter(|one| known.get(&one.id).is_some_and(|end| over(*end)))
        .filter(|one| one.not_after.is_none_or(over))
        .map(|one| one.id.clone())
        .collect()
}

/// Adds what is due, and what a person must know.
pub(crate) fn decide(policy: &Policy, snapshot: &Snapshot, now: Timestamp, draft: &mut Draft) {
    let all = snapshot.certificates.iter();
    for (id, state) in all.filter(|(_, state)| !state.revoking.is_empty()) {
        for revoking in &state.revoking {
            let step = step(policy, snapshot, id, revoking, now);
            match &step {
                Step::Due => match draft.rests(&revoking.issuer) {
                    Some(until) => draft.wake(until),
                    None => draft.tend(id, Tending::Revoke(revoking.revision.clone())),
                },
                Step::Waits {
                    until: Some(until), ..
                } => draft.wake(*until),
                Step::Waits { until: None, .. } | Step::Dropped => {}
                // The next check forgets it; nobody could do anything about it meanwhile.
                Step::Ended => continue,
            }
            if let Some(end) = end(snapshot, id, revoking) {
                draft.wake(end);
            }
            let digest = policy.issuers.get(&revoking.issuer).map(|one| one.digest);
            failing(id, revoking, digest, draft);
            waiting(id, revoking, &step, now, draft);
        }
    }
    if let Some(stale) = &snapshot.stale {
        kept_by_copy(policy, snapshot, stale, draft);
    }
}

/// What would be revoked by now is good until its end, and nobody would know why.
fn kept_by_copy(policy: &Policy, snapshot: &Snapshot, stale: &Stale, draft: &mut Draft) {
    let all = policy.certificates.iter();
    let replaced = all.filter(|(id, certificate)| {
        let state = snapshot.certificates.get(*id);
        state.is_some_and(|state| may_supersede(policy, certificate, state))
    });
    let issuers: BTreeSet<&IssuerId> = replaced
        .filter_map(|(id, _)| snapshot.certificates.get(id)?.issuer.as_ref())
        .filter(|issuer| grace(policy, issuer).is_some())
        .collect();
    for issuer in issuers {
        draft.alert(
            Severity::Warning,
            "stale-journal",
            issuer.as_str(),
            format!("{issuer}: nothing that was replaced is revoked: {stale}"),
            "Where the other one is gone, or this is the one that goes on, `renewd state claim` makes it a journal of its own. What it replaces from then on is revoked; what came before that is left alone, since the other one may serve it: have it revoked by `renewd revoke`, if need be.".to_owned(),
        );
    }
}

fn failing(
    id: &CertificateId,
    revoking: &Revoking,
    digest: Option<Fingerprint>,
    draft: &mut Draft,
) {
    let count = digest.map_or(0, |digest| backoff::count(&revoking.failures, digest));
    let Some(last) = revoking.failures.last.as_ref().filter(|_| count > 0) else {
        return;
    };
    if count < 2 && passes(last.class) {
        return;
    }
    let revision = &revoking.revision;
    draft.alert_step(
        Severity::Warning,
        ("revocation-failing", alerts::step(count)),
        &format!("{revision}/{id}"),
        format!("{id}: revision {revision} cannot be revoked: {}", last.message),
        format!(
            "It is {} at issuer {}, and good until its end for whoever has its key. It is tried again by itself; revoke it at the issuer by hand if it cannot wait.",
            revoking.reference, revoking.issuer
        ),
    );
}

/// What a person wants revoked is not for long without anybody knowing why.
fn waiting(
    id: &CertificateId,
    revoking: &Revoking,
    step: &Step,
    now: Timestamp,
    draft: &mut Draft,
) {
    let Step::Waits { until: None, why } = step else {
        return;
    };
    if revoking.by == RevokedBy::Policy {
        return;
    }
    let told_at = revoking.asked_at + PATIENCE;
    if now < told_at {
        draft.wake(told_at);
        return;
    }
    let revision = &revoking.revision;
    draft.alert(
        Severity::Warning,
        "revocation-waits",
        &format!("{revision}/{id}"),
        format!("{id}: revision {revision} is not revoked yet: {why}"),
        format!(
            "It was asked for at {} ({}). `renewd status {id}` says what keeps the one that replaces it back; `renewd revoke {id} --revision {revision} --reason {} --now` waits for nothing.",
            revoking.asked_at, revoking.reason, revoking.reason
        ),
    );
}

/// Whether a failure of this class may be over before anybody could do something about it.
pub(super) const fn passes(class: ErrorClass) -> bool {
    match class {
        ErrorClass::Transient | ErrorClass::RateLimited => true,
        ErrorClass::Authentication
        | ErrorClass::Configuration
        | ErrorClass::Rejected
        | ErrorClass::Bug => false,
    }
}

/// An order takes minutes, and a rollout waits for its window.
const PATIENCE: Seconds = Seconds::hours(1);

/// The account's times carry no zone.
const SLACK: Seconds = Seconds::hours(24);

#[cfg(test)]
mod tests;
