//! What an order or a rollout looks like when it is opened: everything it needs is frozen here.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use crate::model::{
    Buying, CertificateId, CertificatePolicy, CertificateState, DomainType, Drift, DriftKind,
    Failures, Fingerprint, IssuerKind, KeySource, NameKinds, Order, OrderId, OrderMode, OrderPhase,
    OrderRequest, Policy, Product, PublicRequest, PurchasePolicy, Reason, RevisionFacts,
    RevisionId, Rollout, RolloutId, RolloutPhase, Source, TargetPolicy, TargetState, Timestamp,
};
use crate::plan::{renewal, supplement};

/// An order for a certificate of the policy, of which this is known.
#[must_use]
pub fn order(
    id: OrderId,
    policy: &Policy,
    certificate: &CertificatePolicy,
    state: &CertificateState,
    reason: Reason,
    now: Timestamp,
) -> Order {
    let asked = if is_by_time(&reason) {
        asked(policy, certificate, state, now)
    } else {
        Cow::Borrowed(certificate)
    };
    let certificate = asked.as_ref();
    let mut request = request(certificate);
    request.public = public(policy, certificate).map(|mut public| {
        if let Some(newest) = succeeded(certificate, state, &reason) {
            public.replaces = Some(newest.reference.clone());
            public.replaces_until = Some(newest.facts.not_after);
        }
        let supplement = supplement::of(policy, certificate, state, &reason, now);
        public.supplements = supplement.and_then(Result::ok).map(Box::new);
        Box::new(public)
    });
    Order {
        id,
        certificate: certificate.id.clone(),
        issuer: certificate.issuer.clone(),
        reason,
        request,
        opened_at: now,
        phase: OrderPhase::Opened,
        started: None,
        failures: Failures::default(),
    }
}

/// The policy by which a certificate is renewed at this moment. While the next certificate of its order comes before names that
/// were added, it is the one of the names that it has: those are still missing in what comes of it.
pub(crate) fn asked<'a>(
    policy: &Policy,
    certificate: &'a CertificatePolicy,
    state: &CertificateState,
    now: Timestamp,
) -> Cow<'a, CertificatePolicy> {
    let Some(newest) = &state.newest else {
        return Cow::Borrowed(certificate);
    };
    let window = renewal::of(policy, certificate, state, newest);
    match supplement::successor_first(certificate, state, window, now) {
        None => Cow::Borrowed(certificate),
        Some(names) => Cow::Owned(CertificatePolicy {
            names: names.clone(),
            digest: newest.policy.unwrap_or(UNKNOWN_POLICY),
            ..certificate.clone()
        }),
    }
}

/// What is asked for, by the policy as it is now.
#[must_use]
pub fn request(certificate: &CertificatePolicy) -> OrderRequest {
    OrderRequest {
        source: match (certificate.order, certificate.key_source) {
            (OrderMode::Never, _) => Source::Follow,
            (OrderMode::Auto, KeySource::Local) => Source::Csr,
            (OrderMode::Auto, KeySource::Ccm) => Source::Ccm,
        },
        common_name: certificate.common_name.clone(),
        names: certificate.names.clone(),
        subject: certificate.subject.clone(),
        key_algorithm: certificate.key_algorithm,
        key_reuse: certificate.key_reuse,
        validity: certificate.validity,
        policy: certificate.digest,
        public: None,
    }
}

/// What only a public certificate needs, by the policy as it is now; `None` for every other.
#[must_use]
pub(crate) fn public(policy: &Policy, certificate: &CertificatePolicy) -> Option<PublicRequest> {
    let issuer = policy.issuers.get(&certificate.issuer)?;
    let scm = match (&issuer.kind, certificate.order) {
        (IssuerKind::Scm(scm), OrderMode::Auto) => scm,
        (IssuerKind::Scm(_), OrderMode::Never) | (IssuerKind::Pca(_), _) => return None,
    };
    let validation = certificate.validation.as_ref().or(scm.validation.as_ref());
    let purchase = scm.purchase.as_ref();
    Some(PublicRequest {
        buying: purchase.map(|purchase| Buying {
            product: product(purchase, certificate),
            automatic_payment: purchase.automatic_payment,
            budget: purchase.budget,
            reserve: purchase.reserve,
        }),
        validation: validation?.clone(),
        kind: purchase.map(|purchase| purchase.kind.clone()),
        replaces: None,
        replaces_until: None,
        supplements: None,
    })
}

fn product(purchase: &PurchasePolicy, certificate: &CertificatePolicy) -> Product {
    let names = &certificate.names;
    let domain_type = purchase.domain_type.unwrap_or(DomainType::of(names));
    Product {
        brand: purchase.brand.clone(),
        kind: purchase.kind.clone(),
        domain_type,
        domains: match domain_type {
            DomainType::SingleDomain | DomainType::Wildcard => 1,
            DomainType::MultiDomain => u32::try_from(names.iter().count()).unwrap_or(u32::MAX),
        },
        years: purchase.years,
        kinds: match domain_type {
            DomainType::SingleDomain | DomainType::Wildcard => None,
            DomainType::MultiDomain => Some(NameKinds::of(&certificate.common_name, names)),
        },
    }
}

/// The revision whose successor, should its order of several years have one to come, is all that is asked for. Other names,
/// another key and what a person asks for need an order of their own.
fn succeeded<'a>(
    certificate: &CertificatePolicy,
    state: &'a CertificateState,
    reason: &Reason,
) -> Option<&'a RevisionFacts> {
    let by_time = is_by_time(reason);
    let newest = state.newest.as_ref().filter(|_| by_time && !state.forced)?;
    let same = state.issuer.as_ref() == Some(&certificate.issuer)
        && newest.facts.covers(&certificate.names)
        && !state.is_revoked(&newest.id)
        // It would come with the same key.
        && !state.is_given_up(&newest.facts.spki);
    same.then_some(newest)
}

const fn is_by_time(reason: &Reason) -> bool {
    match reason {
        Reason::RenewalDue { .. } | Reason::Emergency { .. } | Reason::Expired { .. } => true,
        Reason::NoRevision
        | Reason::Unusable { .. }
        | Reason::IssuerChanged
        | Reason::NamesChanged { .. }
        | Reason::KeyChanged
        | Reason::Revoked
        | Reason::NewerOffered
        | Reason::Forced
        | Reason::NotDeployed
        | Reason::TargetChanged
        | Reason::Drifted { .. }
        | Reason::RollbackAsked
        | Reason::UndoFailed { .. } => false,
    }
}

/// Where the journal does not say under which policy a certificate was issued: not the present one.
const UNKNOWN_POLICY: Fingerprint = Fingerprint([0; 32]);

/// A rollout on a target of the policy; `generation` was never given to another rollout of the target.
#[must_use]
pub fn rollout(
    id: RolloutId,
    target: &TargetPolicy,
    state: &TargetState,
    revisions: BTreeMap<CertificateId, RevisionId>,
    reasons: BTreeMap<CertificateId, Reason>,
    generation: u64,
    now: Timestamp,
) -> Rollout {
    let asked = reasons
        .values()
        .any(|reason| matches!(reason, Reason::RollbackAsked));
    Rollout {
        id,
        target: target.id.clone(),
        reasons,
        revisions,
        previous: state.live.clone(),
        generation,
        previous_generation: state.generation,
        policy: target.digest,
        hooks: target.hooks.steps(),
        overwrite: state.overwrite.clone(),
        strange: strange(state),
        wary: state.undo_failed.is_some() && !state.never_served && !asked,
        opened_at: now,
        phase: RolloutPhase::Opened,
        started: None,
        failures: Failures::default(),
    }
}

fn strange(state: &TargetState) -> BTreeSet<CertificateId> {
    let wire = state.wire.iter();
    let seen = wire.flat_map(|wire| &wire.differences);
    // The right leaf with a bad chain proves a way back as well as any.
    let served = seen.filter(|seen| seen.kind != DriftKind::ServedChain);
    // What somebody else put there is served from the next reload on, if it is not yet.
    let drift = state.drift.iter();
    let theirs = drift.flat_map(Drift::perhaps_newer);
    served
        .chain(theirs)
        .filter_map(|seen| seen.certificate.clone())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Budget, Name, ScmPolicy, Seconds, ValidationId};
    use crate::plan::testing;

    const NOW: Timestamp = Timestamp(1_000_000_000);

    fn world() -> (Policy, CertificatePolicy, CertificateState) {
        let mut policy = testing::policy();
        let mut issuer = testing::issuer();
        issuer.kind = IssuerKind::Scm(ScmPolicy {
            purchase: Some(PurchasePolicy {
                brand: "GEOTRUST".to_owned(),
                kind: "OV_SSL_CERT".to_owned(),
                domain_type: None,
                years: 2,
                automatic_payment: true,
                budget: Budget {
                    per_day: 1,
                    per_month: 5,
                },
                reserve: false,
            }),
            validation: Some(ValidationId::new("zone").unwrap()),
            ..ScmPolicy::default()
        });
        policy.issuers.insert(issuer.id.clone(), issuer);
        let certificate = testing::certificate("www");
        let state = testing::healthy(&certificate, NOW, Seconds::days(200));
        (policy, certificate, state)
    }

    fn replaces(
        reason: Reason,
        change: impl Fn(&mut CertificatePolicy, &mut CertificateState),
    ) -> bool {
        let (policy, mut certificate, mut state) = world();
        change(&mut certificate, &mut state);
        let id = OrderId::new("o1").unwrap();
        let order = order(id, &policy, &certificate, &state, reason, NOW);
        order.request.public.unwrap().replaces.is_some()
    }

    #[test]
    fn a_successor_is_enough_only_where_time_is_the_reason() {
        let due = || Reason::RenewalDue { since: NOW };
        assert!(replaces(due(), |_, _| {}));
        assert!(replaces(Reason::Expired { since: NOW }, |_, _| {}));
        for reason in [Reason::Revoked, Reason::Forced, Reason::KeyChanged] {
            assert!(!replaces(reason, |_, _| {}));
        }
        assert!(!replaces(due(), |_, state| state.forced = true));
        let more = |certificate: &mut CertificatePolicy, _: &mut CertificateState| {
            let names = ["www.example", "more.example"].map(|name| Name::parse(name).unwrap());
            certificate.names = names.into_iter().collect();
        };
        assert!(!replaces(due(), more), "names were added");
    }

    #[test]
    fn what_is_bought_goes_by_the_names() {
        let (policy, mut certificate, _) = world();
        let product = |certificate: &CertificatePolicy| {
            let buying = public(&policy, certificate).unwrap().buying.unwrap();
            buying.product.to_string()
        };
        let ov = "GEOTRUST OV_SSL_CERT";
        let single = format!("{ov} SINGLE_DOMAIN for 1, 2 years");
        assert_eq!(product(&certificate), single);
        let mut named = |names: &[&str]| {
            certificate.common_name = names[0].to_owned();
            let names = names.iter().map(|name| Name::parse(name).unwrap());
            certificate.names = names.collect();
            product(&certificate)
        };
        assert_eq!(
            named(&["*.example"]),
            format!("{ov} WILDCARD for 1, 2 years")
        );
        let multi = format!("{ov} MULTI_DOMAIN for 3 with 1 wildcard, 2 years");
        assert_eq!(named(&["a.example", "b.example", "*.example"]), multi);
        let plain = format!("{ov} MULTI_DOMAIN for 2, 2 years");
        assert_eq!(named(&["a.example", "b.example"]), plain);
    }

    #[test]
    fn a_follower_and_a_private_certificate_are_not_public() {
        let (mut policy, mut certificate, _) = world();
        certificate.order = OrderMode::Never;
        assert_eq!(public(&policy, &certificate), None);
        certificate.order = OrderMode::Auto;
        assert!(public(&policy, &certificate).is_some());
        policy.issuers.clear();
        assert_eq!(public(&policy, &certificate), None);
    }
}
