//! When a revision is revoked, and what is deleted.

use super::*;
use crate::model::{CompromisedKey, PcaPolicy, StepFailure, TargetId, TargetState};
use crate::plan::testing;

const NOW: Timestamp = Timestamp(1_800_000_000);

/// `www` with a second revision that `web` serves, after a first one that is to be revoked.
fn world() -> (Policy, Snapshot, Revoking) {
    let mut policy = testing::policy();
    let issuer = testing::issuer();
    let web = TargetId::new("web").unwrap();
    let mut www = testing::certificate("www");
    www.targets.insert(web.clone());
    let old = testing::revision("01", NOW - Seconds::days(60), Seconds::days(90));
    let mut new = testing::revision("02", NOW - Seconds::days(1), Seconds::days(90));
    new.facts.spki = Fingerprint([4; 32]);
    let revoking = Revoking {
        revision: old.id,
        reference: old.reference,
        issuer: issuer.id.clone(),
        reason: RevocationReason::KeyCompromise,
        not_before: NOW,
        asked_at: NOW,
        by: RevokedBy::Person,
        spki: Some(old.facts.spki),
        until: Some(old.facts.not_after),
        failures: Failures::default(),
    };
    let live = [(www.id.clone(), new.id.clone())].into_iter().collect();
    let state = CertificateState {
        newest: Some(new),
        issuer: Some(issuer.id.clone()),
        revoking: vec![revoking.clone()],
        ..CertificateState::default()
    };
    let mut snapshot = Snapshot::default();
    snapshot.certificates.insert(www.id.clone(), state);
    let place = TargetState {
        live,
        ..TargetState::default()
    };
    snapshot.targets.insert(web, place);
    policy.issuers.insert(issuer.id.clone(), issuer);
    policy.certificates.insert(www.id.clone(), www);
    (policy, snapshot, revoking)
}

fn why(policy: &Policy, snapshot: &Snapshot, revoking: &Revoking) -> String {
    let www = CertificateId::new("www").unwrap();
    match step(policy, snapshot, &www, revoking, NOW) {
        Step::Due => "due".to_owned(),
        Step::Waits { why, .. } => why,
        Step::Dropped => "dropped".to_owned(),
        Step::Ended => "ended".to_owned(),
    }
}

fn refused(policy: &Policy) -> StepFailure {
    StepFailure {
        at: NOW,
        class: ErrorClass::Rejected,
        message: "no".to_owned(),
        retry_after: None,
        policy: policy.issuers.values().next().unwrap().digest,
    }
}

#[test]
fn nothing_that_is_in_use_or_may_be_again_is_revoked_unless_it_cannot_wait() {
    type Change = fn(&mut Policy, &mut Snapshot, &mut Revoking);
    let cases: [(&str, Change); 8] = [
        ("due", |_, _, _| {}),
        (
            "web does not serve revision r02 yet",
            |_, snapshot, revoking| {
                let place = snapshot.targets.values_mut().next().unwrap();
                place
                    .live
                    .values_mut()
                    .for_each(|live| *live = revoking.revision.clone());
            },
        ),
        ("a person wants it back on web", |_, snapshot, revoking| {
            let place = snapshot.targets.values_mut().next().unwrap();
            let www = CertificateId::new("www").unwrap();
            place.wanted = Some([(www, revoking.revision.clone())].into_iter().collect());
        }),
        // Also where the policy does not name the target any more.
        ("old still has it", |_, snapshot, revoking| {
            let www = CertificateId::new("www").unwrap();
            let live = [(www, revoking.revision.clone())].into_iter().collect();
            let place = TargetState {
                live,
                ..TargetState::default()
            };
            snapshot
                .targets
                .insert(TargetId::new("old").unwrap(), place);
        }),
        (
            "the newest revision has the same key",
            |_, snapshot, revoking| {
                let state = snapshot.certificates.values_mut().next().unwrap();
                state.newest.as_mut().unwrap().facts.spki = revoking.spki.unwrap();
            },
        ),
        (
            "the one that replaces it is not there yet",
            |_, snapshot, revoking| {
                let state = snapshot.certificates.values_mut().next().unwrap();
                state.newest.as_mut().unwrap().id = revoking.revision.clone();
            },
        ),
        ("edge does not have revision r02 yet", |policy, _, _| {
            let www = policy.certificates.values_mut().next().unwrap();
            www.push.insert(crate::model::PushId::new("edge").unwrap());
        }),
        ("issuer lab left the policy", |policy, _, _| {
            policy.issuers.clear()
        }),
    ];
    for (expected, change) in cases {
        let (mut policy, mut snapshot, mut revoking) = world();
        change(&mut policy, &mut snapshot, &mut revoking);
        assert_eq!(why(&policy, &snapshot, &revoking), expected);
        if !policy.issuers.is_empty() {
            revoking.by = RevokedBy::PersonAtOnce;
            assert_eq!(why(&policy, &snapshot, &revoking), "due", "{expected}");
        }
    }
}

#[test]
fn a_copy_revokes_only_what_a_person_asks_it_to() {
    let (mut policy, mut snapshot, mut revoking) = world();
    for issuer in policy.issuers.values_mut() {
        issuer.kind = IssuerKind::Pca(PcaPolicy {
            ca: "corp".to_owned(),
            superseded: Superseded::RevokeAfter(Seconds::hours(1)),
        });
    }
    let state = snapshot.certificates.values_mut().next().unwrap();
    state.revoking.clear();
    let known = [KnownRevision {
        issuer: revoking.issuer.clone(),
        revision: testing::revision("01", NOW - Seconds::days(60), Seconds::days(90)),
        ours: true,
        revoked: false,
    }];
    let www = policy.certificates.values().next().unwrap();
    let found = |snapshot: &Snapshot| superseded(&policy, snapshot, www, &known, NOW).len();
    assert_eq!(found(&snapshot), 1);
    snapshot.stale = Some(Stale::OtherMachine);
    assert_eq!(found(&snapshot), 0);
    assert_eq!(why(&policy, &snapshot, &revoking), "due");
    revoking.by = RevokedBy::Policy;
    let kept = why(&policy, &snapshot, &revoking);
    assert!(kept.contains("made on another machine"), "{kept}");
    snapshot.stale = None;
    assert_eq!(why(&policy, &snapshot, &revoking), "due");
}

#[test]
fn what_has_ended_is_neither_revoked_nor_told_of_whatever_kept_it_back() {
    type Change = fn(&mut Policy, &mut Snapshot, &mut Revoking);
    let cases: [Change; 5] = [
        |_, _, _| {},
        |_, _, revoking| revoking.by = RevokedBy::PersonAtOnce,
        |policy, _, _| policy.issuers.clear(),
        |policy, _, _| policy.certificates.clear(),
        // Of a journal from before the end was kept, by what it remembers of the revision.
        |_, snapshot, revoking| {
            revoking.until = None;
            let state = snapshot.certificates.values_mut().next().unwrap();
            let newest = state.newest.as_mut().unwrap();
            newest.id = revoking.revision.clone();
            newest.facts.not_after = NOW + Seconds::days(30);
        },
    ];
    let www = CertificateId::new("www").unwrap();
    for change in cases {
        let (mut policy, mut snapshot, mut revoking) = world();
        let end = revoking.until.unwrap();
        revoking.failures.add(refused(&policy));
        change(&mut policy, &mut snapshot, &mut revoking);
        let state = snapshot.certificates.values_mut().next().unwrap();
        state.revoking = vec![revoking.clone()];
        let tells = |now| {
            let mut draft = Draft::new(now);
            decide(&policy, &snapshot, now, &mut draft);
            !draft.finish(Vec::new()).alerts.is_empty()
        };
        let before = end - Seconds(1);
        let step = |now| step(&policy, &snapshot, &www, &revoking, now);
        assert_ne!(step(before), Step::Ended);
        assert!(tells(before));
        assert_eq!(step(end), Step::Ended);
        assert!(!tells(end));
    }
}

#[test]
fn a_certificate_that_left_the_policy_is_revoked_when_nothing_serves_it() {
    let (mut policy, mut snapshot, revoking) = world();
    policy.certificates.clear();
    assert_eq!(why(&policy, &snapshot, &revoking), "due");
    let place = snapshot.targets.values_mut().next().unwrap();
    place
        .live
        .values_mut()
        .for_each(|live| *live = revoking.revision.clone());
    assert_eq!(why(&policy, &snapshot, &revoking), "web still has it");
}

#[test]
fn what_the_policy_gave_up_is_dropped_and_what_failed_waits_and_is_told() {
    let (policy, mut snapshot, mut revoking) = world();
    revoking.by = RevokedBy::Policy;
    assert_eq!(
        why(&policy, &snapshot, &revoking),
        "dropped",
        "SCM has no such setting"
    );
    revoking.by = RevokedBy::Person;
    revoking.failures.add(refused(&policy));
    assert!(why(&policy, &snapshot, &revoking).contains("no"));
    let state = snapshot.certificates.values_mut().next().unwrap();
    state.revoking = vec![revoking];
    let plan = crate::plan::plan(&policy, &snapshot, NOW);
    let alert = plan
        .alerts
        .values()
        .find(|alert| alert.key.kind() == "revocation-failing");
    assert!(
        alert.is_some_and(|alert| alert.key.subject() == "r01/www"),
        "{plan:?}"
    );
}

#[test]
fn whatever_has_a_key_that_others_know_is_revoked_unless_it_is_or_is_over() {
    let (_, snapshot, asked) = world();
    let key = asked.spki.unwrap();
    let known = |id: &str, begun: i64, revoked: bool| KnownRevision {
        issuer: asked.issuer.clone(),
        revision: testing::revision(id, NOW - Seconds::days(begun), Seconds::days(90)),
        ours: true,
        revoked,
    };
    let mut other = known("05", 1, false);
    other.revision.facts.spki = Fingerprint([4; 32]);
    let all = [
        known("01", 60, false),
        known("03", 1, false),
        known("04", 1, true),
        other,
        known("06", 91, false),
    ];
    let mut state = snapshot.certificates.values().next().unwrap().clone();
    assert!(state.is_compromised(&key), "a person has said so");
    assert_eq!(compromised(&state, &all, NOW), []);
    state.compromised.push(CompromisedKey {
        spki: key,
        until: NOW,
    });
    // The first is noted already, as long as it is a person who wants it.
    let found = |state: &CertificateState| -> Vec<String> {
        let found = compromised(state, &all, NOW).into_iter();
        found.map(|one| one.revision.to_string()).collect()
    };
    assert_eq!(found(&state), ["r03"]);
    state.revoking[0].by = RevokedBy::Policy;
    assert_eq!(found(&state), ["r01", "r03"]);
    state.revoking.clear();
    assert!(state.is_given_up(&key), "also when all of them are revoked");
}

#[test]
fn only_what_both_sides_call_over_and_the_journal_knows_is_deleted() {
    let listed = |id: &str, standing, ended: i64| Listed {
        id: id.to_owned(),
        name: String::new(),
        names: Vec::new(),
        not_before: None,
        not_after: Some(NOW - Seconds::days(ended)),
        standing,
    };
    let expired = [
        listed("ours", ListedStanding::Expired, 3),
        listed("theirs", ListedStanding::Expired, 3),
        listed("just", ListedStanding::Expired, 0),
        listed("good-here", ListedStanding::Expired, 3),
        listed("good-there", ListedStanding::Valid, 3),
    ];
    let ended = NOW - Seconds::days(3);
    let known = [
        ("ours", ended),
        ("just", NOW),
        ("good-here", NOW + Seconds::days(3)),
        ("good-there", ended),
    ];
    let known = known
        .map(|(id, end)| (id.to_owned(), end))
        .into_iter()
        .collect();
    assert_eq!(deletable(&expired, &known, NOW), ["ours"]);
}
