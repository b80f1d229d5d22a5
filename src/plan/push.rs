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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        CloudService, ErrorClass, Fingerprint, IssuerId, PushId, Pushed, RemoteTrouble, Seconds,
        Standing, StepFailure,
    };
    use crate::plan::testing;

    const NOW: Timestamp = Timestamp(1_800_000_000);

    fn place() -> PushPolicy {
        PushPolicy {
            id: PushId::new("edge").unwrap(),
            account: IssuerId::new("lab").unwrap(),
            service: CloudService::Elb,
            region: "ap-southeast-1".to_owned(),
            resources: vec!["front".to_owned(), "back".to_owned()],
            import: false,
            digest: Fingerprint([9; 32]),
        }
    }

    fn world() -> (CertificatePolicy, CertificateState, PushPolicy) {
        let (mut www, push) = (testing::certificate("www"), place());
        www.push.insert(push.id.clone());
        let state = testing::healthy(&www, NOW - Seconds::days(1), Seconds::days(90));
        (www, state, push)
    }

    fn done(state: &CertificateState, push: &PushPolicy) -> PushState {
        PushState {
            done: Some(Pushed {
                revision: state.newest.as_ref().unwrap().id.clone(),
                reference: "scs1".to_owned(),
                at: NOW,
                policy: push.digest,
            }),
            ..PushState::default()
        }
    }

    #[test]
    fn the_newest_goes_there_once_and_again_when_anything_is_another() {
        let (www, mut state, mut push) = world();
        let snapshot = Snapshot::default();
        let step =
            |state: &CertificateState, push: &PushPolicy| step(&snapshot, &www, state, push, NOW);
        assert_eq!(step(&CertificateState::default(), &push), Step::Done);
        assert_eq!(step(&state, &push), Step::Due);
        let there = done(&state, &push);
        state.pushes.insert(push.id.clone(), there.clone());
        assert_eq!(step(&state, &push), Step::Done);
        // A resource that did not take it, another policy, another revision.
        let mut missing = there;
        missing.missing.insert("back".to_owned(), "no".to_owned());
        let mut behind = state.clone();
        behind.pushes.insert(push.id.clone(), missing);
        assert_eq!(step(&behind, &push), Step::Due);
        let mut newer = state.clone();
        newer.newest = Some(testing::revision("02", NOW, Seconds::days(90)));
        assert_eq!(step(&newer, &push), Step::Due);
        push.digest = Fingerprint([8; 32]);
        assert_eq!(step(&state, &push), Step::Due);
        // What clients refuse goes nowhere.
        newer.remote = Some(RemoteTrouble {
            revision: newer.newest.as_ref().unwrap().id.clone(),
            standing: Standing::Revoked,
            detail: String::new(),
        });
        assert_eq!(step(&newer, &push), Step::Done);
    }

    #[test]
    fn what_another_issuer_made_waits_unless_it_is_imported() {
        let (www, mut state, mut push) = world();
        state.issuer = Some(IssuerId::new("corp").unwrap());
        let snapshot = Snapshot::default();
        let found = step(&snapshot, &www, &state, &push, NOW);
        assert!(
            matches!(found, Step::Waits { until: None, .. }),
            "{found:?}"
        );
        push.import = true;
        assert_eq!(step(&snapshot, &www, &state, &push, NOW), Step::Due);
    }

    #[test]
    fn failures_wait_and_name_the_resources() {
        let (www, mut state, push) = world();
        let mut known = done(&state, &push);
        known
            .missing
            .insert("back".to_owned(), "there is none".to_owned());
        known.failures.add(StepFailure {
            at: NOW,
            class: ErrorClass::Configuration,
            message: "ELB did not take it".to_owned(),
            retry_after: None,
            policy: push.digest,
        });
        state.pushes.insert(push.id.clone(), known);
        let mut policy = testing::policy();
        let issuer = testing::issuer();
        policy.issuers.insert(issuer.id.clone(), issuer);
        policy.pushes.insert(push.id.clone(), push);
        let mut snapshot = Snapshot::default();
        snapshot.certificates.insert(www.id.clone(), state);
        policy.certificates.insert(www.id.clone(), www);
        let plan = crate::plan::plan(&policy, &snapshot, NOW);
        assert_eq!(plan.actions, []);
        let alert = plan.alerts.values().next().unwrap();
        assert_eq!(alert.key.kind(), "push-failing");
        assert!(
            alert.title.ends_with("did not take it: back"),
            "{}",
            alert.title
        );
        assert!(
            alert.text.contains("back: there is none."),
            "{}",
            alert.text
        );
        let later = crate::plan::plan(&policy, &snapshot, NOW + Seconds::minutes(20));
        assert_eq!(later.actions.len(), 1, "{:?}", later.actions);
        assert!(plan.next_wake <= NOW + Seconds::minutes(20));
    }
}
