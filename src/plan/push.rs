//! When the newest revision of a certificate goes to a place of the cloud.

mod report;

pub use report::{PushReport, ResourceReport};
pub(crate) use report::{report, text};

use crate::model::{
    CertificateId, CertificatePolicy, CertificateState, HostSeed, Policy, PushPolicy, PushState,
    Pushed, RevisionFacts, RevisionId, Severity, Snapshot, StepFailure, Timestamp, Waiting,
};
use crate::plan::backoff::{self, Seed};
use crate::plan::draft::Draft;
use crate::plan::revoke::passes;
use crate::plan::{Tending, alerts, entitlements};

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
    if is_done(known, push, &newest.id) {
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
    if keyless(state, newest, push) {
        return Step::Waits {
            until: None,
            why: "the key of the newest revision was made here, and CCM does not have it"
                .to_owned(),
        };
    }
    let seed = Seed::new(certificate.id.as_str(), snapshot.host);
    // What was said of one revision says nothing of the next.
    let holds = known.refused.as_ref().is_none_or(|of| *of == newest.id);
    let waiting = backoff::waiting(&known.failures, seed, push.digest, now);
    if let Some(waiting) = waiting.filter(|_| holds) {
        return waits(&waiting);
    }
    if push.resources.is_empty() {
        return Step::Due;
    }
    let (id, host) = (&certificate.id, snapshot.host);
    if !due(id, push, known, &newest.id, host, now).is_empty() {
        return Step::Due;
    }
    let behind = behind(push, known, &newest.id);
    let waiting = behind.filter_map(|one| held(id, push, known, one, &newest.id, host, now));
    match waiting.min_by_key(Waiting::until) {
        Some(first) => waits(&first),
        // Every resource has it, and that is not written down as a whole yet.
        None => Step::Due,
    }
}

fn waits(waiting: &Waiting) -> Step {
    Step::Waits {
        until: waiting.until(),
        why: waiting.to_string(),
    }
}

/// Resources of the policy that do not use the revision, and whose turn it is: each waits for itself after it failed.
#[must_use]
pub fn due<'p>(
    certificate: &CertificateId,
    push: &'p PushPolicy,
    known: &PushState,
    revision: &RevisionId,
    host: HostSeed,
    now: Timestamp,
) -> Vec<&'p str> {
    behind(push, known, revision)
        .filter(|one| held(certificate, push, known, one, revision, host, now).is_none())
        .collect()
}

/// Resources of the policy that do not use the revision.
fn behind<'p>(
    push: &'p PushPolicy,
    known: &PushState,
    revision: &RevisionId,
) -> impl Iterator<Item = &'p str> {
    let uses = |one: &String| {
        let used = known.resources.get(one).and_then(|one| one.used.as_ref());
        used.is_some_and(|used| is_of(used, push, revision))
    };
    push.resources
        .iter()
        .filter(move |one| !uses(one))
        .map(String::as_str)
}

/// Until when a resource is left alone after it did not take this very revision.
fn held(
    certificate: &CertificateId,
    push: &PushPolicy,
    known: &PushState,
    resource: &str,
    revision: &RevisionId,
    host: HostSeed,
    now: Timestamp,
) -> Option<Waiting> {
    let state = known.resources.get(resource)?;
    if state.refused.as_ref() != Some(revision) {
        return None;
    }
    let of = format!("{certificate}/{resource}");
    backoff::waiting(&state.failures, Seed::new(&of, host), push.digest, now)
}

/// Whether what was read back is this revision, by the policy as it is.
#[must_use]
pub fn is_of(used: &Pushed, push: &PushPolicy, revision: &RevisionId) -> bool {
    used.revision == *revision && used.policy == push.digest
}

/// Whether CCM has the certificate without its key, with which no service can use it: the policy wanted a key made here when it
/// was ordered.
fn keyless(state: &CertificateState, newest: &RevisionFacts, push: &PushPolicy) -> bool {
    let made_here =
        || entitlements::of(state, &newest.reference).is_some_and(|of| of.spki.is_some());
    !push.import && made_here()
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

fn is_done(known: &PushState, push: &PushPolicy, revision: &RevisionId) -> bool {
    let done = known.done.as_ref();
    done.is_some_and(|done| is_of(done, push, revision))
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
                    if let Some(newest) = wanted(state, now)
                        && keyless(state, newest, push)
                    {
                        tell_keyless(&certificate.id, newest, push, draft);
                        continue;
                    }
                }
            }
            failing(&certificate.id, state, push, draft);
        }
    }
}

fn tell_keyless(
    certificate: &CertificateId,
    newest: &RevisionFacts,
    push: &PushPolicy,
    draft: &mut Draft,
) {
    let (place, reference) = (&push.id, &newest.reference);
    draft.alert(
        Severity::Warning,
        "push-failing",
        &format!("{place}/{certificate}"),
        format!("{certificate}: not brought to {place}: the key of {reference} was made here, and CCM does not have it"),
        format!(
            "It is not brought there before the next certificate, and also not then if that one comes from the same order, on the same key. `renewd renew {certificate}` orders one whose key CCM makes, which may be bought (`renewd plan` says so); or write `import = true` in [push.{place}], so that this key is given to CCM."
        ),
    );
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
    let told = |(_, last, count): &(&str, &StepFailure, u32)| *count >= 2 || !passes(last.class);
    let refusing: Vec<(&str, &StepFailure, u32)> = refusing(push, known).filter(told).collect();
    let whole = backoff::count(&known.failures, push.digest);
    let last = known.failures.last.as_ref().filter(|_| whole > 0);
    // A resource that says no is named at once: the others have the new certificate, and it has the old one.
    let last = last.filter(|last| whole >= 2 || !passes(last.class));
    let place = &push.id;
    let title = if !refusing.is_empty() {
        let names: Vec<&str> = refusing.iter().map(|(name, _, _)| *name).collect();
        format!(
            "{certificate}: {} of {place} did not take it: {}",
            push.service,
            names.join(", ")
        )
    } else if let Some(last) = last {
        format!("{certificate}: not brought to {place}: {}", last.message)
    } else {
        return;
    };
    let mut text = String::new();
    for (resource, failure, _) in &refusing {
        text.push_str(&format!("{resource}: {}. ", failure.message));
    }
    if let Some(last) = last.filter(|_| !refusing.is_empty()) {
        text.push_str(&format!(
            "Now it is not brought there at all: {}. ",
            last.message
        ));
    }
    let counts = refusing.iter().map(|(_, _, count)| *count);
    let count = counts.chain([whole]).max().unwrap_or(whole);
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

/// Resources of the policy that did not take a certificate and have none since, with what was said last, and how often in
/// a row.
pub(crate) fn refusing<'a>(
    push: &'a PushPolicy,
    known: &'a PushState,
) -> impl Iterator<Item = (&'a str, &'a StepFailure, u32)> {
    push.resources.iter().filter_map(|one| {
        let failures = &known.resources.get(one)?.failures;
        let count = backoff::count(failures, push.digest);
        let last = failures.last.as_ref().filter(|_| count > 0)?;
        Some((one.as_str(), last, count))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        CloudService, Entitlement, ErrorClass, Fingerprint, IssuerId, PushId, RemoteTrouble,
        ResourceState, Seconds, Standing,
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
        // Another policy, another revision.
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
    fn what_ccm_has_without_its_key_waits_for_another_and_that_is_told() {
        let (www, mut state, mut push) = world();
        let newest = state.newest.as_ref().unwrap();
        let made_here = Entitlement {
            reference: newest.reference.clone(),
            purchase: None,
            kind: None,
            domains: None,
            spki: Some(newest.facts.spki),
            remaining: 0,
            auto_renew: false,
            brought: false,
            until: newest.facts.not_after,
            asked_at: NOW,
        };
        state.entitlements.push(made_here);
        let mut policy = testing::policy();
        policy.certificates.insert(www.id.clone(), www.clone());
        let told = |state: &CertificateState, push: &PushPolicy| {
            let mut policy = policy.clone();
            policy.pushes.insert(push.id.clone(), push.clone());
            let mut snapshot = Snapshot::default();
            snapshot.certificates.insert(www.id.clone(), state.clone());
            let mut draft = Draft::new(NOW);
            decide(&policy, &snapshot, NOW, &mut draft);
            let plan = draft.finish(Vec::new());
            let alerts: Vec<_> = plan.alerts.into_values().collect();
            (plan.actions.len(), alerts)
        };
        let (actions, alerts) = told(&state, &push);
        assert_eq!(actions, 0);
        assert_eq!(alerts.len(), 1);
        assert!(alerts[0].title.contains("was made here"), "{alerts:?}");
        assert!(alerts[0].text.contains("renewd renew www"), "{alerts:?}");
        push.import = true;
        assert_eq!(told(&state, &push).0, 1, "it is given to CCM");
        push.import = false;
        state.entitlements[0].spki = None;
        let (actions, alerts) = told(&state, &push);
        assert_eq!((actions, alerts.len()), (1, 0), "CCM has its key");
    }

    fn failed(push: &PushPolicy, class: ErrorClass, why: &str) -> StepFailure {
        StepFailure {
            at: NOW,
            class,
            message: why.to_owned(),
            retry_after: None,
            policy: push.digest,
        }
    }

    /// `front` has the newest revision and `back` did not take it.
    fn half(state: &CertificateState, push: &PushPolicy) -> PushState {
        let newest = &state.newest.as_ref().unwrap().id;
        let mut known = PushState::default();
        let front = ResourceState {
            used: done(state, push).done,
            ..ResourceState::default()
        };
        let mut back = ResourceState::default();
        back.add(
            newest,
            failed(push, ErrorClass::Configuration, "there is none"),
        );
        known.resources = [("front", front), ("back", back)]
            .map(|(name, of)| (name.to_owned(), of))
            .into();
        known
    }

    #[test]
    fn each_resource_waits_for_itself() {
        let (www, state, mut push) = world();
        let known = half(&state, &push);
        let newest = state.newest.as_ref().unwrap().id.clone();
        let turn = |push: &PushPolicy, known: &PushState, revision: &RevisionId, now| {
            let all = due(&www.id, push, known, revision, HostSeed::default(), now);
            all.join(" ")
        };
        assert_eq!(turn(&push, &known, &newest, NOW), "");
        let later = NOW + Seconds::minutes(20);
        assert_eq!(turn(&push, &known, &newest, later), "back");
        // What came to the policy is not kept waiting by what fails, and neither is another revision.
        push.resources.push("side".to_owned());
        assert_eq!(turn(&push, &known, &newest, NOW), "side");
        let newer = RevisionId::new("r9").unwrap();
        assert_eq!(turn(&push, &known, &newer, NOW), "front back side");
        push.digest = Fingerprint([8; 32]);
        assert_eq!(turn(&push, &known, &newest, NOW), "front back side");
    }

    #[test]
    fn what_concerns_every_resource_holds_all_of_them() {
        let (www, mut state, push) = world();
        let mut known = half(&state, &push);
        known.add(None, failed(&push, ErrorClass::Transient, "no connection"));
        state.pushes.insert(push.id.clone(), known.clone());
        let snapshot = Snapshot::default();
        let later = NOW + Seconds(30);
        let found = step(&snapshot, &www, &state, &push, later);
        assert!(
            matches!(found, Step::Waits { until: Some(_), .. }),
            "{found:?}"
        );
        let found = step(&snapshot, &www, &state, &push, NOW + Seconds::minutes(20));
        assert_eq!(found, Step::Due);
        // An answer to this revision holds it, and not the next one.
        let newest = state.newest.as_ref().unwrap().id.clone();
        let refused = failed(&push, ErrorClass::Rejected, "no such certificate");
        known.add(Some(&newest), refused);
        state.pushes.insert(push.id.clone(), known);
        let found = step(&snapshot, &www, &state, &push, later);
        assert!(
            matches!(found, Step::Waits { until: Some(_), .. }),
            "{found:?}"
        );
        state.newest = Some(testing::revision("02", NOW, Seconds::days(90)));
        assert_eq!(step(&snapshot, &www, &state, &push, later), Step::Due);
    }

    #[test]
    fn failures_wait_and_name_the_resources() {
        let (www, mut state, push) = world();
        let known = half(&state, &push);
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
