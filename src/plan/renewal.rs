//! When a revision is due for renewal, and when that becomes an emergency.

use std::collections::BTreeMap;

use crate::model::{
    Assurance, CertificateId, CertificatePolicy, CertificateState, IssuerId, IssuerKind,
    IssuerPolicy, OrderMode, Policy, RenewRule, RevisionFacts, Seconds, Timestamp,
};
use crate::plan::backoff;

/// The moments that matter in the life of a revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Renewal is due from here on: the rule's moment, or a little earlier.
    pub renew_at: Timestamp,
    /// From here on less than a tenth of the lifetime is left, or less than half of what the rule leaves.
    pub emergency_at: Timestamp,
    /// It is no longer valid.
    pub not_after: Timestamp,
    /// Whether the rule fits the lifetime. A rule that asks for nine tenths of it or more would renew without end, when
    /// an issuer gives less than it was asked for; then a third of the lifetime is taken.
    pub fits: bool,
}

/// How much sooner than by its rule a certificate is renewed: a CA that looks at the organization takes days.
#[derive(Debug, Default)]
pub(crate) struct Leads<'a> {
    /// Of issuers where it is not nothing, or not the same for all: so most certificates cost no lookup.
    some: BTreeMap<&'a IssuerId, Lead>,
}

/// Of an issuer.
#[derive(Debug, Clone, Copy)]
enum Lead {
    /// Of all that it issues.
    Same(Seconds),
    /// renewd buys nothing there: by what each certificate was bought as last.
    ByLast,
}

impl Leads<'_> {
    pub(crate) fn of(&self, certificate: &CertificatePolicy, state: &CertificateState) -> Seconds {
        if self.some.is_empty() || certificate.order == OrderMode::Never {
            return Seconds(0);
        }
        let lead = self.some.get(&certificate.issuer);
        lead.map_or(Seconds(0), |lead| lead.of(state))
    }
}

impl Lead {
    fn of(self, state: &CertificateState) -> Seconds {
        match self {
            Self::Same(lead) => lead,
            Self::ByLast => assurance(state).lead(),
        }
    }
}

/// Of every issuer.
pub(crate) fn leads(policy: &Policy) -> Leads<'_> {
    let all = policy.issuers.iter();
    let some = all.filter_map(|(id, issuer)| Some((id, lead(issuer)?)));
    Leads {
        some: some.collect(),
    }
}

fn lead(issuer: &IssuerPolicy) -> Option<Lead> {
    match &issuer.kind {
        IssuerKind::Scm(scm) => match &scm.purchase {
            Some(purchase) => {
                let lead = Assurance::of_kind(&purchase.kind)?.lead();
                (lead.0 > 0).then_some(Lead::Same(lead))
            }
            None => Some(Lead::ByLast),
        },
        IssuerKind::Pca(_) => None,
    }
}

/// What the CA proved for the certificate's last entitlement whose kind is known; else as for a domain.
pub(crate) fn assurance(state: &CertificateState) -> Assurance {
    // The newest first.
    let mut kinds = state
        .entitlements
        .iter()
        .filter_map(|one| one.kind.as_deref());
    let kind = kinds.next().and_then(Assurance::of_kind);
    kind.unwrap_or(Assurance::Domain)
}

/// The window of a revision of a certificate, with its lead.
#[must_use]
pub fn of(
    policy: &Policy,
    certificate: &CertificatePolicy,
    state: &CertificateState,
    revision: &RevisionFacts,
) -> Window {
    let issuer = policy.issuers.get(&certificate.issuer);
    let lead = match certificate.order {
        OrderMode::Auto => issuer.and_then(lead),
        OrderMode::Never => None,
    };
    let lead = lead.map_or(Seconds(0), |lead| lead.of(state));
    window(certificate.renew, lead, &certificate.id, revision)
}

/// The window of a revision under a rule, begun by `lead` sooner; never in the first third of the lifetime for that, since
/// what takes long costs much.
///
/// The jitter only ever brings renewal forward, by at most a twentieth of the lifetime and a quarter of what the rule
/// leaves: the rule is kept as a promise, and a fleet that was installed on one day does not come back on one day. It
/// depends on certificate and serial alone, so asking twice gives the same
/// answer, and each revision another one.
#[must_use]
pub fn window(
    rule: RenewRule,
    lead: Seconds,
    id: &CertificateId,
    revision: &RevisionFacts,
) -> Window {
    let facts = &revision.facts;
    let lifetime = facts.lifetime().0.max(0);
    let asked = rule.due(facts.not_before, facts.not_after);
    let fits = asked >= facts.not_before + Seconds(lifetime / 10 + 1);
    let due = if fits {
        asked
    } else {
        FALLBACK.due(facts.not_before, facts.not_after)
    };
    let left = due.until(facts.not_after).0.max(0);
    // Half of what the rule leaves, where that is less: 30 days before the end of a year is no alarm yet.
    let emergency_at = facts.not_after - Seconds((lifetime / 10).min(left / 2));
    let spread = (lifetime / 20).min(left / 4);
    let share = backoff::hash(&[id.as_str(), &facts.serial]) % SPREAD_STEPS;
    let jitter = spread.saturating_mul(i64::try_from(share).unwrap_or(0)) / SPREAD_STEPS as i64;
    // A leaf may be dated back. Counting from the moment it was issued keeps a fresh one from being due at once.
    let begin = revision
        .issued_at
        .clamp(facts.not_before, facts.not_after.max(facts.not_before));
    let left = begin.until(facts.not_after).0.max(0);
    let earliest = begin + Seconds(left / 20);
    let early = (due - lead).max(due.min(begin + Seconds(left / 3)));
    Window {
        renew_at: (early - Seconds(jitter)).max(earliest),
        emergency_at,
        not_after: facts.not_after,
        fits,
    }
}

/// What is taken where the policy's rule cannot work.
const FALLBACK: RenewRule = RenewRule::Share { part: 1, whole: 3 };

/// Fine enough that a fleet of thousands is spread evenly.
const SPREAD_STEPS: u64 = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::testing;

    const DAY: i64 = 86_400;

    fn revision(serial: &str, days: i64) -> RevisionFacts {
        testing::revision(serial, Timestamp(0), Seconds::days(days))
    }

    fn id(text: &str) -> CertificateId {
        CertificateId::new(text).unwrap()
    }

    fn share(part: u32, whole: u32) -> RenewRule {
        RenewRule::Share { part, whole }
    }

    #[test]
    fn renewal_is_due_at_the_share_or_a_twentieth_earlier() {
        for serial in 0..500 {
            let window = window(
                share(1, 3),
                Seconds(0),
                &id("www"),
                &revision(&serial.to_string(), 90),
            );
            let days = window.renew_at.0 as f64 / DAY as f64;
            assert!((55.5..=60.0).contains(&days), "{days}");
            assert!(window.fits);
            assert_eq!(window.emergency_at, Timestamp(81 * DAY));
        }
    }

    #[test]
    fn jitter_depends_on_certificate_and_serial_alone_and_spreads() {
        let at = |name: &str, serial: &str| {
            window(share(1, 3), Seconds(0), &id(name), &revision(serial, 90)).renew_at
        };
        assert_eq!(at("www", "01"), at("www", "01"));
        let moments: std::collections::BTreeSet<_> =
            (0..100).map(|n| at(&format!("host{n}"), "01")).collect();
        assert!(moments.len() > 90, "{}", moments.len());
        let quarter = (0..100)
            .filter(|n| at("www", &n.to_string()).0 < Seconds::days(90).0 * 2 / 3 - DAY * 27 / 8)
            .count();
        assert!(
            (15..=35).contains(&quarter),
            "{quarter} of 100 in the first quarter"
        );
    }

    #[test]
    fn days_before_expiry_are_kept_where_they_fit() {
        let window = window(
            RenewRule::DaysBefore(30),
            Seconds(0),
            &id("www"),
            &revision("01", 365),
        );
        assert!(window.fits);
        assert!(window.renew_at <= Timestamp(335 * DAY));
        assert!(window.renew_at >= Timestamp(335 * DAY - 15 * DAY / 2));
        assert_eq!(window.emergency_at, Timestamp(350 * DAY));
    }

    #[test]
    fn a_day_count_longer_than_what_the_issuer_gave_becomes_a_third() {
        for days in [7, 30, 33] {
            let window = window(
                RenewRule::DaysBefore(30),
                Seconds(0),
                &id("www"),
                &revision("01", days),
            );
            assert!(!window.fits, "{days}");
            assert!(window.renew_at > Timestamp(days * DAY / 2), "{days}");
        }
        assert!(
            window(
                RenewRule::DaysBefore(30),
                Seconds(0),
                &id("www"),
                &revision("01", 34)
            )
            .fits
        );
    }

    #[test]
    fn a_late_rule_has_a_late_emergency() {
        let window = window(share(1, 50), Seconds(0), &id("www"), &revision("01", 100));
        assert_eq!(window.emergency_at, Timestamp(99 * DAY));
        assert!(window.renew_at < window.emergency_at);
    }

    #[test]
    fn a_leaf_that_is_dated_back_is_not_due_when_it_is_issued() {
        let mut revision = revision("01", 1);
        revision.issued_at = Timestamp(DAY / 2);
        let window = window(share(4, 5), Seconds(0), &id("www"), &revision);
        assert!(
            window.renew_at > revision.issued_at,
            "{:?}",
            window.renew_at
        );
    }

    #[test]
    fn an_organization_is_begun_two_weeks_sooner_but_not_in_the_first_third() {
        let lead = Assurance::Organization.lead();
        let at = |days, rule| {
            let plain = window(rule, Seconds(0), &id("www"), &revision("01", days));
            let early = window(rule, lead, &id("www"), &revision("01", days));
            assert_eq!(early.emergency_at, plain.emergency_at);
            (plain.renew_at.0 - early.renew_at.0) / DAY
        };
        for days in [200, 100] {
            assert_eq!(at(days, share(1, 3)), 14, "{days}");
            assert_eq!(at(days, RenewRule::DaysBefore(30)), 14, "{days}");
        }
        assert_eq!(at(47, share(1, 3)), 14);
        assert_eq!(at(47, share(1, 2)), 7, "two thirds are left");
        assert_eq!(at(47, RenewRule::DaysBefore(40)), 0, "it is early already");
    }

    #[test]
    fn what_is_not_bought_by_us_is_begun_by_what_it_was_bought_as_last() {
        let mut policy = testing::policy();
        let mut issuer = testing::issuer();
        issuer.kind = IssuerKind::Scm(crate::model::ScmPolicy::default());
        let certificate = testing::certificate("www");
        policy.issuers.insert(certificate.issuer.clone(), issuer);
        let entitlement = |kind: Option<&str>| crate::model::Entitlement {
            reference: "scs1".to_owned(),
            purchase: None,
            kind: kind.map(str::to_owned),
            domains: None,
            spki: None,
            remaining: 0,
            auto_renew: false,
            brought: false,
            until: Timestamp(0),
            asked_at: Timestamp(0),
        };
        for (kinds, assurance) in [
            (vec![], Assurance::Domain),
            (vec![None], Assurance::Domain),
            (
                vec![Some("DV_SSL_CERT"), Some("OV_SSL_CERT")],
                Assurance::Domain,
            ),
            (vec![None, Some("OV_SSL_CERT")], Assurance::Organization),
            (vec![Some("EV_SSL_CERT_PRO")], Assurance::Extended),
        ] {
            let state = CertificateState {
                entitlements: kinds.into_iter().map(entitlement).collect(),
                ..CertificateState::default()
            };
            assert_eq!(super::assurance(&state), assurance);
            assert_eq!(leads(&policy).of(&certificate, &state), assurance.lead());
            let revision = revision("01", 200);
            let with = of(&policy, &certificate, &state, &revision);
            let same = window(
                certificate.renew,
                assurance.lead(),
                &certificate.id,
                &revision,
            );
            assert_eq!(with, same);
        }
    }

    #[test]
    fn impossible_validity_is_no_panic() {
        let mut revision = revision("01", -1);
        let _ = window(share(1, 3), Seconds(0), &id("www"), &revision);
        revision.facts.not_after = Timestamp(i64::MAX);
        revision.facts.not_before = Timestamp(i64::MIN);
        let _ = window(share(1, 3), Seconds(0), &id("www"), &revision);
        let _ = window(
            RenewRule::DaysBefore(u32::MAX),
            Seconds(0),
            &id("www"),
            &revision,
        );
    }
}
