//! Which renewals come until a day that is far ahead, and where a certificate would be missing: what `renewd plan --at` adds to
//! the plan of that day, whose journal has none of what happens until then.
//!
//! Each certificate is taken to be renewed when it is due, by its rule, and to be issued for as long as is allowed on that day:
//! what lives shorter today keeps its own length. Of public ones CA/Browser Forum, ballot SC-081v3, sets the length, and for
//! how long a proof of a domain holds. Failures, budgets and maintenance windows are not foreseen.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::{
    CertificateFacts, CertificateId, CertificatePolicy, CertificateState, Fingerprint, IssuerKind,
    OrderMode, Policy, RevisionFacts, RevisionId, Seconds, Snapshot, Timestamp,
};
use crate::plan::explain::counted;
use crate::plan::renewal;
use crate::plan::{Plan, Verdict};

/// What comes of one certificate.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Foreseen {
    /// In order.
    pub renewals: Vec<Renewal>,
    /// When there would be none.
    pub gaps: Vec<Gap>,
    /// How far is looked, RFC 3339: short of the day that was asked for where there are too many renewals.
    pub until: String,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renewal {
    /// When it is ordered, RFC 3339; renewd may be a little earlier.
    pub at: String,
    /// End of the certificate that it brings.
    pub not_after: String,
    /// Whether its domains are proven anew; `null` where none are proven.
    pub proof: Option<bool>,
}

/// A time without a valid certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// RFC 3339.
    pub from: String,
    /// `null`: nothing that is foreseen ends it.
    pub until: Option<String>,
    /// In words.
    pub why: String,
}

/// For each certificate of the policy, from `now` to `at`; `present` is the plan of `now`.
#[must_use]
pub fn forecast(
    policy: &Policy,
    snapshot: &Snapshot,
    present: &Plan,
    (now, at): (Timestamp, Timestamp),
) -> BTreeMap<CertificateId, Foreseen> {
    let unknown = CertificateState::default();
    let leads = renewal::leads(policy);
    let one = |(id, certificate): (&CertificateId, &CertificatePolicy)| {
        let state = snapshot.certificates.get(id).unwrap_or(&unknown);
        let course = Course {
            policy,
            certificate,
            state,
            takes: leads.of(certificate, state),
            span: (now, at),
        };
        (id.clone(), course.run(present.verdicts.get(id)))
    };
    policy.certificates.iter().map(one).collect()
}

struct Course<'a> {
    policy: &'a Policy,
    certificate: &'a CertificatePolicy,
    state: &'a CertificateState,
    /// From an order to its certificate.
    takes: Seconds,
    span: (Timestamp, Timestamp),
}

impl Course<'_> {
    fn run(&self, verdict: Option<&Verdict>) -> Foreseen {
        let (now, at) = self.span;
        let mut foreseen = Foreseen {
            until: at.to_string(),
            ..Foreseen::default()
        };
        let newest = self.state.newest.clone();
        let end = newest.as_ref().map(|newest| newest.facts.not_after);
        let never = match (verdict, self.certificate.order) {
            (_, OrderMode::Never) => Some(OTHERS.to_owned()),
            (Some(Verdict::Blocked(blocked)), OrderMode::Auto) => Some(blocked.to_string()),
            (Some(_) | None, OrderMode::Auto) => None,
        };
        if let Some(why) = never {
            let from = end.map_or(now, |end| end.max(now));
            if from < at {
                foreseen.gaps.push(gap(from, None, why));
            }
            return foreseen;
        }
        // A proof is as old as the first certificate that is known to have come of it.
        let mut proven = newest.as_ref().map(|newest| newest.issued_at);
        let mut present = newest;
        loop {
            let due = match &present {
                Some(one) => self.due(one).max(now),
                None => now,
            };
            if due > at {
                return foreseen;
            }
            if foreseen.renewals.len() >= MOST {
                foreseen.until = due.to_string();
                return foreseen;
            }
            let begins = due + self.takes;
            let (from, why) = match &present {
                Some(one) => (one.facts.not_after, TOO_LATE),
                None => (now, "there is none yet"),
            };
            if from < begins || present.is_none() {
                foreseen.gaps.push(gap(from, Some(begins), why.to_owned()));
            }
            let next = self.next(begins);
            let proof = self.is_public().then(|| {
                let holds = proven.is_some_and(|proven| proven + reuse(due) > due);
                !holds
            });
            if proof == Some(true) {
                proven = Some(begins);
            }
            foreseen.renewals.push(Renewal {
                at: due.to_string(),
                not_after: next.facts.not_after.to_string(),
                proof,
            });
            present = Some(next);
        }
    }

    fn due(&self, revision: &RevisionFacts) -> Timestamp {
        renewal::of(self.policy, self.certificate, self.state, revision).renew_at
    }

    fn is_public(&self) -> bool {
        let issuer = self.policy.issuers.get(&self.certificate.issuer);
        issuer.is_some_and(|issuer| matches!(issuer.kind, IssuerKind::Scm(_)))
    }

    /// What is issued at this moment.
    fn next(&self, begins: Timestamp) -> RevisionFacts {
        let lifetime = self.lifetime(begins);
        let id = self.certificate.id.as_str();
        let certificate = self.certificate;
        RevisionFacts {
            id: RevisionId::new("foreseen").unwrap_or_else(|_| unreachable!("it is a good id")),
            facts: CertificateFacts {
                serial: format!("{id}/{}", begins.0),
                fingerprint: Fingerprint([0; 32]),
                spki: Fingerprint([0; 32]),
                common_name: None,
                names: certificate.names.clone(),
                issuer_name: String::new(),
                not_before: begins,
                not_after: begins + lifetime,
                key_algorithm: Some(certificate.key_algorithm),
            },
            issued_at: begins,
            reference: String::new(),
            policy: Some(certificate.digest),
            applied: None,
        }
    }

    fn lifetime(&self, begins: Timestamp) -> Seconds {
        let newest = self.state.newest.as_ref().map(|newest| &newest.facts);
        let asked = if self.is_public() {
            longest(begins)
        } else {
            self.certificate.validity
        };
        let seen = newest.and_then(|facts| {
            let allowed = if self.is_public() {
                longest(facts.not_before)
            } else {
                self.certificate.validity
            };
            let lifetime = facts.lifetime();
            // A day less is no other length.
            (lifetime.0 > 0 && lifetime.0 < allowed.0 - Seconds::days(1).0).then_some(lifetime)
        });
        Seconds(asked.0.min(seen.unwrap_or(asked).0))
    }
}

fn gap(from: Timestamp, until: Option<Timestamp>, why: String) -> Gap {
    Gap {
        from: from.to_string(),
        until: until.map(|until| until.to_string()),
        why,
    }
}

/// How long a public certificate may be valid that is issued then (CA/Browser Forum, ballot SC-081v3).
fn longest(at: Timestamp) -> Seconds {
    Seconds::days(step(at).0)
}

/// How old a proof of a domain may be then (the same ballot).
fn reuse(at: Timestamp) -> Seconds {
    Seconds::days(step(at).1)
}

fn step(at: Timestamp) -> (i64, i64) {
    let step = STEPS.iter().rev().find(|(from, _)| at >= *from);
    step.map_or((398, 398), |(_, days)| *days)
}

/// One line for each certificate, and whether there is a gap.
#[must_use]
pub fn text(all: &BTreeMap<CertificateId, Foreseen>, at: Timestamp) -> String {
    let mut text = format!("renewals until {at}, if each is made when it is due:\n");
    let (mut renewals, mut gaps) = (0, 0);
    for (id, foreseen) in all {
        renewals += foreseen.renewals.len();
        gaps += usize::from(!foreseen.gaps.is_empty());
        text.push_str(&format!("{id}: {}\n", line(foreseen, at)));
        for gap in &foreseen.gaps {
            let until = gap
                .until
                .as_ref()
                .map_or_else(|| "on".to_owned(), |until| format!("until {until}"));
            text.push_str(&format!(
                "{id}: GAP from {} {until}: {}\n",
                gap.from, gap.why
            ));
        }
    }
    let of = counted(all.len(), "certificate");
    text.push_str(&match gaps {
        0 => format!("no gap: {of}, {}\n", counted(renewals, "renewal")),
        _ => format!(
            "{gaps} of {of} with a gap, {}\n",
            counted(renewals, "renewal")
        ),
    });
    text
}

fn line(foreseen: &Foreseen, at: Timestamp) -> String {
    let (Some(first), Some(last)) = (foreseen.renewals.first(), foreseen.renewals.last()) else {
        return "no renewal".to_owned();
    };
    let proofs = foreseen
        .renewals
        .iter()
        .filter(|one| one.proof == Some(true));
    let proofs = match (first.proof, proofs.count()) {
        (None, _) => String::new(),
        (Some(_), count) => format!(", {count} with a new proof of its names"),
    };
    let count = counted(foreseen.renewals.len(), "renewal");
    let more = if foreseen.until == at.to_string() {
        String::new()
    } else {
        format!("; looked at until {}", foreseen.until)
    };
    format!(
        "{count}, the next at {}, the last at {} for one until {}{proofs}{more}",
        first.at, last.at, last.not_after
    )
}

/// From when on: days of a certificate, days of a proof.
const STEPS: [(Timestamp, (i64, i64)); 3] = [
    // 2026-03-15
    (Timestamp(1_773_532_800), (200, 200)),
    // 2027-03-15
    (Timestamp(1_805_068_800), (100, 100)),
    // 2029-03-15
    (Timestamp(1_868_227_200), (47, 10)),
];
/// Renewals of one certificate that are looked at.
const MOST: usize = 1000;
const TOO_LATE: &str = "the next one comes too late";
const OTHERS: &str =
    "others order it (`order = \"never\"`), and when the next one comes is not known here";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{PcaPolicy, RenewRule, ScmPolicy, Superseded};
    use crate::plan::{plan, testing};

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    /// One certificate that was issued at this moment for so many days, public or not.
    fn course(issued: &str, days: i64, public: bool, rule: RenewRule) -> (Policy, Snapshot) {
        let mut policy = testing::policy();
        let mut issuer = testing::issuer();
        issuer.kind = if public {
            IssuerKind::Scm(ScmPolicy::default())
        } else {
            IssuerKind::Pca(PcaPolicy {
                ca: "lab".to_owned(),
                superseded: Superseded::Keep,
            })
        };
        policy.issuers.insert(issuer.id.clone(), issuer);
        let mut certificate = testing::certificate("www");
        certificate.renew = rule;
        certificate.validity = Seconds::days(days);
        let mut snapshot = Snapshot::default();
        let state = testing::healthy(&certificate, at(issued), Seconds::days(days));
        snapshot.certificates.insert(certificate.id.clone(), state);
        policy
            .certificates
            .insert(certificate.id.clone(), certificate);
        (policy, snapshot)
    }

    fn foreseen((policy, snapshot): &(Policy, Snapshot), now: &str, until: &str) -> Foreseen {
        let present = plan(policy, snapshot, at(now));
        let all = forecast(policy, snapshot, &present, (at(now), at(until)));
        all.into_values().next().unwrap()
    }

    fn third() -> RenewRule {
        RenewRule::Share { part: 1, whole: 3 }
    }

    #[test]
    fn each_renewal_comes_before_the_end_and_lives_as_long_as_its_day_allows() {
        for rule in [
            third(),
            RenewRule::DaysBefore(10),
            RenewRule::DaysBefore(30),
        ] {
            let world = course("2026-12-01", 200, true, rule);
            let found = foreseen(&world, "2026-12-02", "2029-07-01");
            assert_eq!(found.gaps, []);
            let mut end = at("2026-12-01") + Seconds::days(200);
            let mut lengths = std::collections::BTreeSet::new();
            let mut proven = at("2026-12-01");
            for one in &found.renewals {
                let (ordered, ends) = (at(&one.at), at(&one.not_after));
                assert!(ordered < end, "{rule:?} {one:?}");
                let days = ordered.until(ends).0 / 86_400;
                let (allowed, proof) = match ordered {
                    day if day < at("2027-03-15") => (200, 200),
                    day if day < at("2029-03-15") => (100, 100),
                    _ => (47, 10),
                };
                assert_eq!(days, allowed, "{one:?}");
                let over = proven + Seconds::days(proof) <= ordered;
                assert_eq!(one.proof, Some(over), "{one:?}");
                if over {
                    proven = ordered;
                }
                lengths.insert(days);
                end = ends;
            }
            assert!(end > at("2029-07-01"), "{rule:?}");
            assert_eq!(lengths, [47, 100].into(), "{rule:?}");
            let last = found.renewals.last().unwrap();
            assert_eq!(last.proof, Some(true), "ten days are over each time");
            assert!(found.renewals.iter().any(|one| one.proof == Some(false)));
        }
    }

    #[test]
    fn a_private_one_keeps_its_length_and_proves_nothing() {
        let world = course("2027-01-01", 47, false, third());
        let found = foreseen(&world, "2027-01-02", "2029-04-01");
        assert_eq!(found.gaps, []);
        for one in &found.renewals {
            assert_eq!(at(&one.at).until(at(&one.not_after)), Seconds::days(47));
            assert_eq!(one.proof, None);
        }
        let cut = course("2027-01-01", 1, false, third());
        let found = foreseen(&cut, "2027-01-01", "2037-01-01");
        assert_eq!(found.renewals.len(), MOST);
        assert!(at(&found.until) < at("2037-01-01"));
    }

    #[test]
    fn what_a_ca_makes_shorter_than_it_may_stays_so() {
        let world = course("2026-12-01", 90, true, third());
        let found = foreseen(&world, "2026-12-02", "2029-07-01");
        let lengths = found.renewals.iter();
        let lengths = lengths.map(|one| at(&one.at).until(at(&one.not_after)).0 / 86_400);
        let lengths: std::collections::BTreeSet<i64> = lengths.collect();
        assert_eq!(lengths, [47, 90].into());
    }

    #[test]
    fn a_gap_is_told_with_its_reason() {
        // None yet.
        let (policy, _) = course("2026-12-01", 200, true, third());
        let none = (policy, Snapshot::default());
        let found = foreseen(&none, "2026-12-02", "2027-04-01");
        assert_eq!(found.gaps.len(), 1);
        assert_eq!(found.gaps[0].why, "there is none yet");
        // It ended while nobody looked.
        let world = course("2026-12-01", 31, false, third());
        let found = foreseen(&world, "2027-02-01", "2027-04-01");
        let (from, until) = (at("2027-01-01"), at("2027-02-01"));
        assert_eq!(found.gaps, [gap(from, Some(until), TOO_LATE.to_owned())]);
        assert_eq!(found.renewals[0].at, until.to_string());
        // Somebody else's.
        let (mut policy, snapshot) = course("2026-12-01", 100, true, third());
        for certificate in policy.certificates.values_mut() {
            certificate.order = OrderMode::Never;
        }
        let follower = (policy, snapshot);
        assert_eq!(foreseen(&follower, "2026-12-02", "2027-01-01").gaps, []);
        let found = foreseen(&follower, "2026-12-02", "2027-04-01");
        let end = at("2026-12-01") + Seconds::days(100);
        assert_eq!(found.gaps, [gap(end, None, OTHERS.to_owned())]);
        assert_eq!(found.renewals, []);
        // The issuer gives no longer one.
        let (policy, mut snapshot) = course("2026-12-01", 100, false, third());
        for state in snapshot.certificates.values_mut() {
            state.shortened = true;
        }
        let shortened = (policy, snapshot);
        let found = foreseen(&shortened, "2027-02-20", "2027-04-01");
        assert!(found.gaps[0].why.contains("the issuer cuts"), "{found:?}");
        let all = BTreeMap::from([(CertificateId::new("www").unwrap(), found)]);
        let told = text(&all, at("2027-04-01"));
        assert!(
            told.contains("www: GAP from 2027-03-11T00:00:00Z on: "),
            "{told}"
        );
        assert!(
            told.ends_with("1 of 1 certificate with a gap, 0 renewals\n"),
            "{told}"
        );
    }
}
