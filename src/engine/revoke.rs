//! Revocations: what a person asks for, what the policy wants of replaced certificates, and the call itself.

use crate::engine::steps::Busy;
use crate::engine::{Engine, EngineError, NotAsked, Progress};
use crate::issuer::IssuerError;
use crate::model::{
    CertificateId, ErrorClass, Failures, IssuerId, KnownRevision, OrderMode, RevisionFacts,
    RevisionId, RevocationReason, RevokedBy, Revoking, Seconds, Snapshot, StepFailure, Timestamp,
};
use crate::plan::revoke::{self, Step};
use crate::store::{CertificateChange, Touched};
use crate::sys::crash;

/// What a person wants revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    /// Of which certificate.
    pub name: CertificateId,
    /// Which; `None` for the newest.
    pub revision: Option<RevisionId>,
    /// Why.
    pub reason: RevocationReason,
    /// Without waiting for what replaces it.
    pub at_once: bool,
}

impl Engine {
    /// Writes down that a person wants a revision revoked, and asks for one with another key where the newest has the
    /// same. Answers what a person should know.
    ///
    /// # Errors
    /// When it cannot be, or the journal cannot be written.
    pub async fn ask_revocation(&self, wanted: &Revocation) -> Result<Vec<String>, NotAsked> {
        let name = &wanted.name;
        let policy = self.policy.certificates.get(name);
        if policy.is_some_and(|policy| policy.order == OrderMode::Never) {
            return Err(NotAsked::Unfit(format!(
                "{name}: this host follows (`order = \"never\"`); whoever obtained the certificate revokes it"
            )));
        }
        let (issuer, revision) = self.revocable(name, wanted.revision.as_ref()).await?;
        let now = self.clock.now();
        let id = &revision.id;
        if revision.facts.not_after <= now {
            return Err(NotAsked::Unfit(format!(
                "{name}: revision {id} ended at {}; there is nothing left to revoke",
                revision.facts.not_after
            )));
        }
        let state = self
            .certificate_state(name)
            .await
            .map_err(NotAsked::Failed)?;
        if state.is_revoked(id) {
            return Ok(vec![format!("{name}: revision {id} is revoked already")]);
        }
        let same_key = state
            .newest
            .as_ref()
            .is_some_and(|newest| newest.facts.spki == revision.facts.spki);
        let revoking = Revoking {
            revision: id.clone(),
            reference: revision.reference.clone(),
            issuer,
            reason: wanted.reason,
            not_before: now,
            asked_at: now,
            by: if wanted.at_once {
                RevokedBy::PersonAtOnce
            } else {
                RevokedBy::Person
            },
            spki: Some(revision.facts.spki),
            failures: Failures::default(),
        };
        self.store
            .change_certificate(name, CertificateChange::Revoke(revoking))
            .await?;
        crash::point("revoke.asked");
        if policy.is_some() && same_key {
            // It is wanted already; this clears what blocks it elsewhere.
            self.ask_renewal(name).await?;
        }
        Ok(Vec::new())
    }

    async fn revocable(
        &self,
        name: &CertificateId,
        which: Option<&RevisionId>,
    ) -> Result<(IssuerId, RevisionFacts), NotAsked> {
        let all = self.store.revisions(name).await?;
        let found = match which {
            Some(id) => all.into_iter().find(|known| known.revision.id == *id),
            None => {
                let state = self
                    .certificate_state(name)
                    .await
                    .map_err(NotAsked::Failed)?;
                let newest = state.newest.map(|newest| newest.id);
                all.into_iter()
                    .find(|known| Some(&known.revision.id) == newest.as_ref())
            }
        };
        let Some(KnownRevision {
            issuer, revision, ..
        }) = found
        else {
            return Err(match which {
                Some(id) => NotAsked::Unfit(format!("{name} has no revision {id}")),
                None => NotAsked::Unknown(format!("there is no certificate `{name}`")),
            });
        };
        if revision.reference.is_empty() {
            return Err(NotAsked::Unfit(format!(
                "{name}: the issuer's id of revision {} is not known; revoke serial {} there by hand",
                revision.id, revision.facts.serial
            )));
        }
        Ok((issuer, revision))
    }

    /// Has a revision revoked.
    pub(super) async fn revoke(
        &self,
        certificate: &CertificateId,
        revision: &RevisionId,
        now: Timestamp,
    ) -> Result<Touched, EngineError> {
        let mut touched = Touched::default();
        touched.certificates.insert(certificate.clone());
        // What is served may be another than the plan saw.
        let snapshot = self.store.snapshot().await?;
        let state = snapshot.certificates.get(certificate);
        let mut all = state.into_iter().flat_map(|state| &state.revoking);
        let Some(revoking) = all.find(|one| one.revision == *revision) else {
            return Ok(touched);
        };
        let step = revoke::step(&self.policy, &snapshot, certificate, revoking, now);
        if step != Step::Due || self.issuers.is_silent(&revoking.issuer) {
            return Ok(touched);
        }
        let round = self.issuers.round();
        let (reference, reason) = (&revoking.reference, revoking.reason);
        let result = match self.issuers.get(&revoking.issuer) {
            Ok(issuer) => issuer.revoke(reference, reason).await,
            Err(error) => Err(error),
        };
        crash::point("revoke.effect");
        match result {
            Ok(()) => {
                self.issuers.answered(&revoking.issuer);
                let message = format!("certificate {reference} was revoked: {reason}");
                self.done(certificate, message.clone());
                let change = CertificateChange::RevocationDone {
                    revision: revision.clone(),
                    at: self.clock.now(),
                    message,
                };
                self.store.change_certificate(certificate, change).await?;
            }
            Err(error) => {
                let what = format!("revoking {reference}");
                let failure =
                    self.tending_failed(certificate, &revoking.issuer, &what, error, (round, now));
                let change = CertificateChange::RevocationFailed {
                    revision: revision.clone(),
                    failure,
                };
                self.store.change_certificate(certificate, change).await?;
            }
        }
        crash::point("revoke.done");
        Ok(touched)
    }

    /// Notes what an issuer said no to, or nothing, and tells it.
    pub(super) fn tending_failed(
        &self,
        certificate: &CertificateId,
        issuer: &IssuerId,
        what: &str,
        error: IssuerError,
        (round, now): (u64, Timestamp),
    ) -> StepFailure {
        if error.everybody {
            let met = (error.class, error.message.clone());
            self.issuers.failed(issuer, certificate, met, (round, now));
        }
        if error.class == ErrorClass::Authentication {
            self.issuers.forget(issuer);
        }
        (self.progress)(Progress::Failed {
            subject: certificate.to_string(),
            text: format!("{what} failed ({}): {error}", error.class),
            output: String::new(),
            milestone: None,
        });
        let policy = self.issuers.policy(issuer).map(|policy| policy.digest);
        StepFailure {
            at: self.clock.now(),
            class: error.class,
            message: error.message,
            retry_after: error
                .retry_after
                .map(|wait| self.clock.now() + Seconds(wait)),
            policy: policy.unwrap_or(crate::model::Fingerprint([0; 32])),
        }
    }

    /// Writes down what was replaced and is to be revoked by the policy, and forgets what it wants no more.
    pub(super) async fn note_superseded(
        &self,
        snapshot: &mut Snapshot,
        busy: &Busy,
    ) -> Result<(), EngineError> {
        let now = self.clock.now();
        let mut changes = Vec::new();
        for (id, certificate) in &self.policy.certificates {
            let Some(state) = snapshot.certificates.get(id) else {
                continue;
            };
            if busy.certificates.contains(id) {
                continue;
            }
            for revoking in &state.revoking {
                let step = revoke::step(&self.policy, snapshot, id, revoking, now);
                if step == Step::Dropped {
                    let change = CertificateChange::RevocationDropped(revoking.revision.clone());
                    changes.push((id, change));
                }
            }
            if !revoke::may_supersede(&self.policy, certificate, state) {
                continue;
            }
            let known = self.store.revisions(id).await?;
            let found = revoke::superseded(&self.policy, snapshot, certificate, &known, now);
            changes.extend(
                found
                    .into_iter()
                    .map(|one| (id, CertificateChange::Revoke(one))),
            );
        }
        let mut touched = Touched::default();
        for (id, change) in changes {
            self.store.change_certificate(id, change).await?;
            touched.certificates.insert(id.clone());
        }
        self.store.refresh(snapshot, &touched).await?;
        Ok(())
    }
}
