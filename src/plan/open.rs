//! What an order or a rollout looks like when it is opened: everything it needs is frozen here.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{
    CertificateId, CertificatePolicy, Drift, DriftKind, Failures, KeySource, Order, OrderId,
    OrderMode, OrderPhase, OrderRequest, Reason, RevisionId, Rollout, RolloutId, RolloutPhase,
    Source, TargetPolicy, TargetState, Timestamp,
};

/// An order for a certificate of the policy.
#[must_use]
pub fn order(
    id: OrderId,
    certificate: &CertificatePolicy,
    reason: Reason,
    now: Timestamp,
) -> Order {
    Order {
        id,
        certificate: certificate.id.clone(),
        issuer: certificate.issuer.clone(),
        reason,
        request: request(certificate),
        opened_at: now,
        phase: OrderPhase::Opened,
        started: None,
        failures: Failures::default(),
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
