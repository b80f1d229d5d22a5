//! Why a certificate needs a new revision: an ordered list of checks, first hit wins.
//!
//! The order is from what makes a certificate useless to what only asks for another one soon, so that the reason a
//! person reads is the worst one. Followers go through the same list; what their account offers decides later whether
//! anything can be done.

use crate::model::{
    CertificatePolicy, CertificateState, OrderMode, Reason, RevisionFacts, SubjectAltNames,
    Timestamp,
};
use crate::plan::renewal::Window;
use crate::plan::{entitlements, supplement};

/// What a check may look at.
#[derive(Debug, Clone, Copy)]
pub struct CheckInput<'a> {
    /// What the administrator wants.
    pub policy: &'a CertificatePolicy,
    /// What is known.
    pub state: &'a CertificateState,
    /// The newest revision with its window, if there is one.
    pub newest: Option<(&'a RevisionFacts, Window)>,
    /// When.
    pub now: Timestamp,
}

/// One check.
pub type Check = fn(&CheckInput<'_>) -> Option<Reason>;

/// Runs the list.
#[must_use]
pub fn first(input: &CheckInput<'_>) -> Option<Reason> {
    CHECKS.iter().find_map(|check| check(input))
}

/// Whether a follower's account offers something issued later than what is there.
#[must_use]
pub fn offers_newer(policy: &CertificatePolicy, state: &CertificateState) -> bool {
    let Some(newest) = &state.newest else {
        return false;
    };
    offered(policy, state).is_some_and(|(reference, issued_at)| {
        reference != newest.reference && issued_at.is_some_and(|at| at > newest.issued_at)
    })
}

/// What a follower's account offers under the present policy: the issuer's id and the time of issue.
#[must_use]
pub fn offered<'a>(
    policy: &CertificatePolicy,
    state: &'a CertificateState,
) -> Option<(&'a str, Option<Timestamp>)> {
    if !was_asked(policy, state) {
        return None;
    }
    let offer = state.offer.as_ref()?;
    Some((offer.reference.as_deref()?, offer.issued_at))
}

/// Whether a follower's account was asked for the names of the present policy.
#[must_use]
pub fn was_asked(policy: &CertificatePolicy, state: &CertificateState) -> bool {
    state.offer.is_some() && state.offered_under == Some(policy.digest)
}

fn no_revision(input: &CheckInput<'_>) -> Option<Reason> {
    input.newest.is_none().then_some(Reason::NoRevision)
}

fn unusable(input: &CheckInput<'_>) -> Option<Reason> {
    let detail = input.state.unusable.as_ref()?;
    Some(Reason::Unusable {
        detail: detail.clone(),
    })
}

fn issuer_changed(input: &CheckInput<'_>) -> Option<Reason> {
    let issuer = input.state.issuer.as_ref()?;
    (*issuer != input.policy.issuer).then_some(Reason::IssuerChanged)
}

fn names_changed(input: &CheckInput<'_>) -> Option<Reason> {
    let (newest, window) = input.newest?;
    // Checked when it was issued. An issuer may add names of its own (`www.`): comparing again would order for ever.
    if newest.policy == Some(input.policy.digest) {
        return None;
    }
    let (have, want) = (&newest.facts.names, &input.policy.names);
    let missing: SubjectAltNames = match input.policy.order {
        // A name that the policy gave up must not stay in a certificate of ours, so both directions count.
        OrderMode::Auto if have == want => return None,
        OrderMode::Auto => want
            .iter()
            .filter(|name| !have.iter().any(|other| other == *name))
            .cloned()
            .collect(),
        // What others obtained often names more, such as a wildcard.
        OrderMode::Never if have.cover(want) => return None,
        OrderMode::Never => want
            .iter()
            .filter(|name| !newest.facts.covers_name(name))
            .cloned()
            .collect(),
    };
    // What is due comes first where it costs nothing.
    let first = supplement::successor_first(input.policy, input.state, window, input.now);
    first.is_none().then_some(Reason::NamesChanged { missing })
}

fn key_changed(input: &CheckInput<'_>) -> Option<Reason> {
    let (newest, _) = input.newest?;
    if newest.policy == Some(input.policy.digest) {
        return None;
    }
    let fits = match input.policy.order {
        // Another order would only bring the successor, and that comes with the key of the first application.
        OrderMode::Auto if entitlements::has_successor(input.state) => true,
        OrderMode::Auto => newest.facts.key_algorithm == Some(input.policy.key_algorithm),
        OrderMode::Never => true,
    };
    (!fits).then_some(Reason::KeyChanged)
}

fn revoked(input: &CheckInput<'_>) -> Option<Reason> {
    let (newest, _) = input.newest?;
    let revoked = input.state.is_revoked(&newest.id);
    revoked.then_some(Reason::Revoked)
}

fn expired(input: &CheckInput<'_>) -> Option<Reason> {
    let (_, window) = input.newest?;
    (window.not_after <= input.now).then_some(Reason::Expired {
        since: window.not_after,
    })
}

fn emergency(input: &CheckInput<'_>) -> Option<Reason> {
    let (_, window) = input.newest?;
    (window.emergency_at <= input.now).then_some(Reason::Emergency {
        not_after: window.not_after,
    })
}

fn newer_offered(input: &CheckInput<'_>) -> Option<Reason> {
    match input.policy.order {
        OrderMode::Auto => None,
        OrderMode::Never => offers_newer(input.policy, input.state).then_some(Reason::NewerOffered),
    }
}

fn forced(input: &CheckInput<'_>) -> Option<Reason> {
    // A key that a person gave up must not stay in use, whoever clears the flag.
    let (auto, newest) = (input.policy.order == OrderMode::Auto, input.newest);
    let given_up = newest.is_some_and(|(newest, _)| input.state.is_given_up(&newest.facts.spki));
    (input.state.forced || (auto && given_up)).then_some(Reason::Forced)
}

fn renewal_due(input: &CheckInput<'_>) -> Option<Reason> {
    let (_, window) = input.newest?;
    (window.renew_at <= input.now).then_some(Reason::RenewalDue {
        since: window.renew_at,
    })
}

/// The list.
pub const CHECKS: [Check; 11] = [
    no_revision,
    unusable,
    issuer_changed,
    names_changed,
    key_changed,
    revoked,
    expired,
    emergency,
    newer_offered,
    forced,
    renewal_due,
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        Fingerprint, IssuerId, KeyAlgorithm, Name, Offer, RemoteTrouble, Seconds, Standing,
    };
    use crate::plan::renewal;
    use crate::plan::testing;

    const NOW: Timestamp = Timestamp(1_000_000_000);

    /// A way to break a healthy certificate, and the code that is expected for it.
    type Fault = (
        &'static str,
        fn(&mut CertificatePolicy, &mut CertificateState),
    );

    fn newest(state: &mut CertificateState) -> &mut RevisionFacts {
        state.newest.as_mut().unwrap()
    }

    fn ages(state: &mut CertificateState, days: i64) {
        let facts = &mut newest(state).facts;
        let lifetime = facts.lifetime();
        // Two faults of age make the older of the two.
        facts.not_before = facts.not_before.min(NOW - Seconds::days(days));
        facts.not_after = facts.not_before + lifetime;
        newest(state).issued_at = newest(state).facts.not_before;
    }

    const FAULTS: [Fault; 11] = [
        ("no-revision", |_, state| state.newest = None),
        ("unusable", |_, state| {
            state.unusable = Some("key.pem is missing".into());
        }),
        ("issuer-changed", |_, state| {
            state.issuer = Some(IssuerId::new("other").unwrap());
        }),
        ("names-changed", |policy, _| {
            policy.names = [Name::parse("more.example").unwrap()].into_iter().collect();
        }),
        ("key-changed", |policy, _| {
            policy.key_algorithm = KeyAlgorithm::Rsa4096;
        }),
        ("revoked", |_, state| {
            state.remote = Some(RemoteTrouble {
                revision: newest(state).id.clone(),
                standing: Standing::Revoked,
                detail: "taken back".into(),
            });
        }),
        ("expired", |_, state| ages(state, 91)),
        ("emergency", |_, state| ages(state, 82)),
        ("newer-offered", |policy, state| {
            policy.order = OrderMode::Never;
            state.offered_under = Some(policy.digest);
            state.offer = Some(Offer {
                asked_at: NOW,
                reference: Some("newer".into()),
                issued_at: Some(NOW),
            });
        }),
        ("forced", |_, state| state.forced = true),
        ("renewal-due", |_, state| ages(state, 60)),
    ];

    fn code(faults: &[Fault]) -> Option<&'static str> {
        let mut policy = testing::certificate("www");
        let mut state = testing::healthy(&policy, NOW - Seconds::days(1), Seconds::days(90));
        // As after any change of the policy.
        newest(&mut state).policy = Some(Fingerprint([9; 32]));
        for (_, fault) in faults {
            if state.newest.is_some() {
                fault(&mut policy, &mut state);
            }
        }
        let revision = state.newest.clone();
        let window = revision
            .as_ref()
            .map(|revision| renewal::window(policy.renew, Seconds(0), &policy.id, revision));
        let input = CheckInput {
            policy: &policy,
            state: &state,
            newest: revision.as_ref().zip(window),
            now: NOW,
        };
        first(&input).map(|reason| reason.code())
    }

    #[test]
    fn a_healthy_certificate_passes_every_check() {
        assert_eq!(code(&[]), None);
    }

    #[test]
    fn each_check_finds_its_own_fault() {
        for fault in FAULTS {
            assert_eq!(code(&[fault]), Some(fault.0));
        }
    }

    #[test]
    fn of_two_faults_the_earlier_in_the_list_is_named() {
        for (at, earlier) in FAULTS.iter().enumerate() {
            for later in &FAULTS[at + 1..] {
                // A follower is not asked for a kind of key: the two cannot meet.
                if (earlier.0, later.0) == ("key-changed", "newer-offered") {
                    continue;
                }
                // Both orders, so that one fault does not hide behind the way it is made.
                let pair = format!("{} and {}", earlier.0, later.0);
                assert_eq!(code(&[*earlier, *later]), Some(earlier.0), "{pair}");
                assert_eq!(code(&[*later, *earlier]), Some(earlier.0), "{pair}");
            }
        }
    }

    #[test]
    fn names_that_the_issuer_added_are_no_reason() {
        let policy = testing::certificate("www");
        let mut state = testing::healthy(&policy, NOW, Seconds::days(90));
        let more = ["www.example", "extra.example"];
        newest(&mut state).facts.names =
            more.iter().map(|name| Name::parse(name).unwrap()).collect();
        let check = |state: &CertificateState| {
            let revision = state.newest.as_ref().unwrap();
            let window = renewal::window(policy.renew, Seconds(0), &policy.id, revision);
            first(&CheckInput {
                policy: &policy,
                state,
                newest: Some((revision, window)),
                now: NOW,
            })
        };
        assert_eq!(check(&state), None, "ordered under this very policy");
        newest(&mut state).policy = None;
        assert_eq!(
            check(&state),
            Some(Reason::NamesChanged {
                missing: SubjectAltNames::default()
            }),
            "the policy gave a name up"
        );
    }

    #[test]
    fn a_follower_accepts_a_wildcard_that_covers_its_names() {
        let mut policy = testing::certificate("www");
        policy.order = OrderMode::Never;
        policy.key_algorithm = KeyAlgorithm::Rsa4096;
        let mut state = testing::healthy(&policy, NOW, Seconds::days(90));
        newest(&mut state).policy = None;
        newest(&mut state).facts.names = [Name::parse("*.example").unwrap()].into_iter().collect();
        let revision = state.newest.clone().unwrap();
        let window = renewal::window(policy.renew, Seconds(0), &policy.id, &revision);
        let input = CheckInput {
            policy: &policy,
            state: &state,
            newest: Some((&revision, window)),
            now: NOW,
        };
        assert_eq!(first(&input), None);
    }
}
