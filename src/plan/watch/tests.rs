//! Verdicts at every moment of a certificate's life, what is told of them, and that nothing else comes of it.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::model::{Name, Prelude, WatchFault, WatchId, WatchTrouble};
use crate::plan::{plan, testing};

const DAY: i64 = 86_400;

fn day(number: i64) -> Timestamp {
    Timestamp(number * DAY)
}

fn certificate(from: i64, until: i64) -> WatchedCertificate {
    WatchedCertificate {
        which: String::new(),
        names: "www.example.com".to_owned(),
        serial: "01".to_owned(),
        fingerprint: None,
        not_before: Some(day(from)),
        not_after: day(until),
        faults: Vec::new(),
    }
}

fn place(certificate: WatchedCertificate) -> WatchedPlace {
    WatchedPlace {
        certificates: vec![certificate],
        ..WatchedPlace::default()
    }
}

/// One host that was looked at.
fn world(places: &[(&str, WatchedPlace)]) -> (Policy, Snapshot) {
    let mut policy = testing::policy();
    let id = WatchId::new("mail").unwrap();
    let digest = Fingerprint([3; 32]);
    policy.watches.insert(
        id.clone(),
        WatchPolicy {
            id: id.clone(),
            what: Watched::Host {
                connect: "mail.example.com:993".to_owned(),
                names: vec![Name::parse("mail.example.com").unwrap()],
                prelude: Prelude::default(),
                roots: None,
                timeout: Seconds(10),
            },
            tags: BTreeSet::new(),
            digest,
        },
    );
    let places = places.iter().cloned();
    let state = WatchState {
        policy: Some(digest),
        places: places.map(|(name, seen)| (name.to_owned(), seen)).collect(),
        ..WatchState::default()
    };
    let mut snapshot = Snapshot::default();
    snapshot.watches.insert(id, state);
    (policy, snapshot)
}

fn verdict(seen: WatchedPlace, now: Timestamp) -> Verdict {
    let (policy, snapshot) = world(&[("here", seen)]);
    let all = sightings(&policy, &snapshot, now);
    all.iter().map(|seen| seen.verdict).min().unwrap()
}

/// Key, severity and step of what stands.
fn told(policy: &Policy, snapshot: &Snapshot, now: Timestamp) -> Vec<(String, Severity, u32)> {
    let plan = plan(policy, snapshot, now);
    let alerts = plan.alerts.values();
    alerts
        .map(|alert| (alert.key.to_string(), alert.severity, alert.step))
        .collect()
}

#[test]
fn a_life_is_told_at_the_steps_of_the_policy_and_ends_as_critical() {
    let (policy, snapshot) = world(&[("here", place(certificate(0, 90)))]);
    let key = || "watched-expiring/mail here".to_owned();
    let at = |now| told(&policy, &snapshot, now);
    assert_eq!(at(day(59)), []);
    assert_eq!(at(day(60)), [(key(), Severity::Warning, 1)]);
    assert_eq!(at(day(76)), [(key(), Severity::Warning, 2)]);
    // A tenth of its life is nine days.
    assert_eq!(at(day(81)), [(key(), Severity::Critical, 3)]);
    assert_eq!(at(day(90)), [(key(), Severity::Critical, 7)]);
    // And each step wakes the planner.
    for (now, next) in [
        (59, 60),
        (60, 76),
        (76, 81),
        (81, 83),
        (83, 87),
        (87, 89),
        (89, 90),
    ] {
        let moment = day(next) - Seconds(60);
        assert_eq!(
            plan(&policy, &snapshot, moment).next_wake,
            day(next),
            "{now}"
        );
    }
}

#[test]
fn a_short_life_has_the_same_steps_as_shares() {
    let (policy, snapshot) = world(&[("here", place(certificate(0, 6)))]);
    let at = |now| told(&policy, &snapshot, now).len();
    assert_eq!(at(day(4) - Seconds(1)), 0);
    assert_eq!(at(day(4)), 1);
    // A certificate of ten years is no emergency for a whole one.
    let (policy, snapshot) = world(&[("here", place(certificate(0, 3650)))]);
    let alert = |now| told(&policy, &snapshot, now)[0].1;
    assert_eq!(alert(day(3639)), Severity::Warning);
    assert_eq!(alert(day(3640)), Severity::Critical);
}

#[test]
fn each_verdict_is_given_and_the_worst_is_shown() {
    let now = day(10);
    let good = certificate(0, 90);
    assert_eq!(verdict(place(good.clone()), now), Verdict::Good);
    assert_eq!(verdict(place(certificate(0, 10)), now), Verdict::Expired);
    assert_eq!(
        verdict(place(certificate(11, 90)), now),
        Verdict::NotYetValid
    );
    assert_eq!(verdict(place(certificate(0, 12)), now), Verdict::Expiring);
    for (kind, wanted) in [
        (WatchFaultKind::Chain, Verdict::Chain),
        (WatchFaultKind::WrongName, Verdict::WrongName),
        (WatchFaultKind::KeyMismatch, Verdict::KeyMismatch),
    ] {
        let fault = WatchFault {
            kind,
            detail: "it is bad".to_owned(),
        };
        let faults = vec![fault];
        let bad = WatchedCertificate {
            faults,
            ..good.clone()
        };
        assert_eq!(verdict(place(bad.clone()), now), wanted);
        let (policy, snapshot) = world(&[("here", place(bad))]);
        let key = format!("{}/mail here", kind.code());
        assert_eq!(told(&policy, &snapshot, now), [(key, Severity::Warning, 0)]);
    }
    let mut changed = place(good);
    changed.changed_at = Some(now);
    assert_eq!(verdict(changed.clone(), now), Verdict::Changed);
    assert_eq!(verdict(changed.clone(), day(11)), Verdict::Good);
    let (policy, snapshot) = world(&[("here", changed)]);
    assert_eq!(told(&policy, &snapshot, now), [], "news is no alert");
}

#[test]
fn the_first_packet_that_is_lost_is_nobodys_business() {
    let now = day(10);
    for (kind, wanted) in [
        (WatchTroubleKind::Missing, Verdict::Missing),
        (WatchTroubleKind::Unreadable, Verdict::Unreadable),
        (WatchTroubleKind::Unreachable, Verdict::Unreachable),
    ] {
        let mut seen = place(certificate(0, 90));
        seen.trouble = Some(WatchTrouble {
            kind,
            detail: "nobody answers".to_owned(),
        });
        for failures in 1..PATIENCE {
            seen.failures = failures;
            let (policy, snapshot) = world(&[("here", seen.clone())]);
            assert_eq!(verdict(seen.clone(), now), Verdict::Failing);
            assert_eq!(told(&policy, &snapshot, now), []);
        }
        seen.failures = PATIENCE;
        assert_eq!(verdict(seen.clone(), now), wanted);
        let (policy, snapshot) = world(&[("here", seen)]);
        let key = format!("{}/mail here", kind.code());
        assert_eq!(told(&policy, &snapshot, now), [(key, Severity::Warning, 0)]);
        // Its dates go on meanwhile.
        assert_eq!(told(&policy, &snapshot, day(88)).len(), 2);
    }
}

#[test]
fn one_certificate_in_many_files_ends_once_and_many_are_bounded() {
    let print = Some(Fingerprint([9; 32]));
    let same = WatchedCertificate {
        fingerprint: print,
        ..certificate(0, 12)
    };
    let (policy, snapshot) = world(&[("a", place(same.clone())), ("b", place(same))]);
    assert_eq!(told(&policy, &snapshot, day(10)).len(), 1);
    let names: Vec<String> = (0..80).map(|n| format!("{n:03}")).collect();
    let many: Vec<_> = names
        .iter()
        .map(|name| (name.as_str(), place(certificate(0, 12))))
        .collect();
    let (policy, snapshot) = world(&many);
    let all = told(&policy, &snapshot, day(10));
    assert_eq!(all.len(), MOST_ALERTS + 1);
    assert!(all.iter().any(|(key, ..)| key == "watched-more/mail"));
}

#[test]
fn what_was_seen_under_another_policy_is_no_verdict() {
    let (mut policy, snapshot) = world(&[("here", place(certificate(0, 5)))]);
    for watch in policy.watches.values_mut() {
        watch.digest = Fingerprint([4; 32]);
    }
    assert_eq!(told(&policy, &snapshot, day(10)), []);
    assert_eq!(
        sightings(&policy, &snapshot, day(10))[0].verdict,
        Verdict::Unseen
    );
}

fn any_place() -> impl Strategy<Value = WatchedPlace> {
    let dates = (-100i64..200, 0i64..400);
    (proptest::collection::vec(dates, 0..4), 0u32..5).prop_map(|(dates, failures)| WatchedPlace {
        failures,
        trouble: (failures > 0).then(|| WatchTrouble {
            kind: WatchTroubleKind::Unreachable,
            detail: "nobody answers".to_owned(),
        }),
        certificates: dates
            .into_iter()
            .map(|(from, length)| certificate(from, from + length))
            .collect(),
        ..WatchedPlace::default()
    })
}

proptest! {
    #[test]
    fn nothing_that_is_watched_is_ever_ordered_or_rolled_out(
        places in proptest::collection::vec(any_place(), 0..6),
        now in 0i64..300,
    ) {
        let names: Vec<String> = (0..places.len()).map(|n| n.to_string()).collect();
        let places: Vec<_> = names.iter().map(String::as_str).zip(places).collect();
        let (policy, snapshot) = world(&places);
        let with = plan(&policy, &snapshot, day(now));
        prop_assert_eq!(&with.actions, &[]);
        prop_assert_eq!(&with.verdicts, &BTreeMap::new());
        prop_assert!(with.next_wake > day(now));
        // What stands is about what is watched, and nothing is told twice.
        for key in with.alerts.keys() {
            prop_assert_eq!(key.watch(), Some("mail"));
        }
    }
}
