//! Certificates in an account that came with a key that others may know, and that are no revisions of ours: an order of several
//! years brings the next one on the key of the first. Nobody takes it; whoever has the key could use it all the same.

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::steps::Busy;
use crate::engine::{Engine, EngineError};
use crate::issuer::{IssuerError, Sibling};
use crate::model::{
    CertificateId, CertificateState, Failures, Fingerprint, IssuerId, OrderMode, RevisionId,
    RevocationReason, RevokedBy, Revoking, Snapshot, Timestamp,
};
use crate::store::CertificateChange;
use crate::sys::systemd;

impl Engine {
    /// Writes down that they are to be revoked. An account that does not answer is asked again at the next check.
    pub(super) async fn note_siblings(
        &self,
        snapshot: &mut Snapshot,
        busy: &Busy,
    ) -> Result<(), EngineError> {
        let now = self.clock.now();
        let mut changes = Vec::new();
        for (id, certificate) in &self.policy.certificates {
            let state = snapshot.certificates.get(id);
            let leaked = state.map(|state| leaked(state, now)).unwrap_or_default();
            if leaked.is_empty()
                || certificate.order != OrderMode::Auto
                || busy.certificates.contains(id)
            {
                continue;
            }
            let mut all = Vec::new();
            for (issuer, of) in self.references(id).await? {
                match self.siblings(&issuer, &of, &leaked).await {
                    Ok(found) => {
                        let found = found.into_iter().filter_map(|one| noted(one, &issuer, now));
                        all.extend(found);
                    }
                    Err(error) => {
                        tracing::info!(certificate = %id, %issuer, %error, "what else came with its key");
                    }
                }
                systemd::alive();
            }
            let noted = state.map_or(&[][..], |state| &state.revoking);
            all.retain(|one| noted.iter().all(|old| old.reference != one.reference));
            if all.is_empty() {
                continue;
            }
            let compromised = None;
            changes.push((id.clone(), CertificateChange::Revoke { all, compromised }));
        }
        self.write_revocations(snapshot, changes).await
    }

    /// The ids of its revisions, by who issued them.
    async fn references(
        &self,
        id: &CertificateId,
    ) -> Result<BTreeMap<IssuerId, BTreeSet<String>>, EngineError> {
        let mut all: BTreeMap<IssuerId, BTreeSet<String>> = BTreeMap::new();
        for one in self.store.revisions(id).await? {
            if !one.revision.reference.is_empty() {
                let of = all.entry(one.issuer).or_default();
                of.insert(one.revision.reference);
            }
        }
        Ok(all)
    }

    async fn siblings(
        &self,
        issuer: &IssuerId,
        of: &BTreeSet<String>,
        keys: &BTreeSet<Fingerprint>,
    ) -> Result<Vec<Sibling>, IssuerError> {
        let issuer = self.issuers.get(issuer)?;
        match issuer.orders() {
            Some(orders) => orders.siblings(of, keys).await,
            None => Ok(Vec::new()),
        }
    }
}

/// Keys that others may know, as long as anything with them is good.
fn leaked(state: &CertificateState, now: Timestamp) -> BTreeSet<Fingerprint> {
    let all = state.compromised.iter().filter(|key| key.until > now);
    all.map(|key| key.spki).collect()
}

fn noted(sibling: Sibling, issuer: &IssuerId, now: Timestamp) -> Option<Revoking> {
    let Sibling {
        reference,
        spki,
        until,
    } = sibling;
    (until > now).then_some(())?;
    Some(Revoking {
        // It never was one: the account's id stands for it.
        revision: RevisionId::new(&reference).ok()?,
        reference,
        issuer: issuer.clone(),
        reason: RevocationReason::KeyCompromise,
        not_before: now,
        asked_at: now,
        by: RevokedBy::Person,
        spki: Some(spki),
        until: Some(until),
        failures: Failures::default(),
    })
}
