//! When the newest revision of a certificate goes to a place of the cloud.

use crate::model::{
    CertificateId, CertificatePolicy, CertificateState, Policy, PushPolicy, PushState,
    RevisionFacts, RevisionId, Severity, Snapshot, Timestamp,
};
use crate::plan::backoff::{self, Seed};
use crate::plan::draft::Draft;
use crate::plan::revoke::passes;
use crate::plan::{Tending, alerts};

/// What is to be done for one certificate at one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The newest revision is there, or there is none that could be.
    Done,
    /// Bring it there now.
    Due,
    /// Not yet.
    Waits {
        /// When to look again; `None` where another action or a person ends the wait.
        until: Option<Timestamp>,
        /// For what.
        why: String,
    },
}

/// What is to be done. `state` is of the certificate.
#[must_use]
pub fn step(
    snapshot: &Snapshot,
    certificate: &CertificatePolicy,
    state: &CertificateState,
    push: &PushPolicy,
    now: Timestamp,
) -> Step {
    let Some(newest) = wanted(state, now) else {
        return Step::Done;
    };
    let unknown = PushState::default();
    let known = state.pushes.get(&push.id).unwrap_or(&unknown);
    if is_there(known, push, &newest.id) {
        return Step::Done;
    }
    if !push.import && state.issuer.as_ref() != Some(&push.account) {
        return Step::Waits {
            until: None,
            why: format!(
                "the newest revision is not from issuer {}, and is not imported there",
                push.account
            ),
        };
    }
    let seed = Seed::new(certificate.id.as_str(), snapshot.host);
    match backoff::waiting(&known.failures, seed, push.digest, now) {
        Some(waiting) => Step::Waits {
            until: waiting.until(),
            why: waiting.to_string(),
        },
        None => Step::Due,
    }
}

/// The revision that belongs there: the newest, while clients take it.
#[must_use]
pub fn wanted(state: &CertificateState, now: Timestamp) -> Option<&RevisionFacts> {
    let newest = state.newest.as_ref()?;
    let good = newest.facts.not_after > now
        && state.unusable.is_none()
        && !state.is_revoked(&newest.id)
        && !state.is_given_up(&newest.facts.spki);
    good.then_some(newest)
}

fn is_there(known: &PushState, push: &PushPolicy, revision: &RevisionId) -> bool {
    known.missing.is_empty()
        && known
            .done
            .as_ref()
            .is_some_and(|done| done.revision == *revision && done.policy == push.digest)
}

/// Adds what is due, and what a person must know.
pub(crate) fn decide(policy: &Policy, snapshot: &Snapshot, now: Timestamp, draft: &mut Draft) {
    if policy.pushes.is_empty() {
        return;
    }
    let unknown = CertificateState::default();
    let pushed = policy.certificates.values();
    for certificate in pushed.filter(|certificate| !certificate.push.is_empty()) {
        let state = snapshot.certificates.get(&certificate.id);
        let state = state.unwrap_or(&unknown);
        for push in certificate
            .push
            .iter()
            .filter_map(|id| policy.pushes.get(id))
        {
            match step(snapshot, certificate, state, push, now) {
                Step::Done => continue,
                Step::Due => match draft.rests(&push.account) {
                    Some(until) => draft.wake(until),
                    None => draft.tend(&certificate.id, Tending::Push(push.id.clone())),
                },
                Step::Waits { until, .. } => {
                    if let Some(until) = until {
                        draft.wake(until);
                    }
                }
            }
            failing(&certificate.id, state, push, draft);
        }
    }
}

fn failing(
    certificate: &CertificateId,
    state: &CertificateState,
    push: &PushPolicy,
    draft: &mut Draft,
) {
    let Some(known) = state.pushes.get(&push.id) else {
        return;
    };
    let count = backoff::count(&known.failures, push.digest);
    let Some(last) = known.failures.last.as_ref().filter(|_| count > 0) else {
        return;
    };
    // A resource that says no is named at once: the others have the new certificate, and it has the old one.
    if count < 2 && passes(last.class) && known.missing.is_empty() {
        return;
    }
    let place = &push.id;
    let title = if known.missing.is_empty() {
        format!("{certificate}: not brought to {place}: {}", last.message)
    } else {
        let names: Vec<&str> = known.missing.keys().map(String::as_str).collect();
        format!(
            "{certificate}: {} of {place} did not take it: {}",
            push.service,
            names.join(", ")
        )
    };
    let mut text = String::new();
    for (resource, why) in &known.missing {
        text.push_str(&format!("{resource}: {why}. "));
    }
    text.push_str(match &known.done {
        Some(_) => "What was there before is used until then. ",
        None => "Nothing of renewd is used there yet. ",
    });
    text.push_str(&format!(
        "It is tried again by itself; `renewd renew {certificate}` is not needed for it. Look at [push.{place}] of the policy, and at the service."
    ));
    draft.alert_step(
        Severity::Warning,
        ("push-failing", alerts::step(count)),
        &format!("{place}/{certificate}"),
        title,
        text,
    );
}
