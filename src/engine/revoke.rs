//! Revocations: what a person asks for, what the policy wants of replaced certificates, and the call itself.

use crate::engine::steps::Busy;
use crate::engine::{Engine, EngineError, NotAsked, Progress};
use crate::issuer::{IssuerError, Revoked};
use crate::model::{
    CertificateId, CompromisedKey, ErrorClass, IssuerId, KnownRevision, OrderMode, RevisionFacts,
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
        let known = self.store.revisions(name).await?;
        let chosen = self.revocable(name, wanted.revision.as_ref(), &known);
        let chosen = chosen.await?;
        let revision = &chosen.revision;
        let now = self.clock.now();
        let (id, key) = (&revision.id, &revision.facts.spki);
        let state = self
            .certificate_state(name)
            .await
            .map_err(NotAsked::Failed)?;
        let leaked = wanted.reason == RevocationReason::KeyCompromise;
        let alike = revoke::with_key(&known, &state, key, now);
        let alike: Vec<&KnownRevision> = alike
            .filter(|one| leaked && one.revision.id != *id)
            .collect();
        let is_over = revision.facts.not_after <= now;
        if is_over && alike.is_empty() {
            return Err(NotAsked::Unfit(format!(
                "{name}: revision {id} ended at {}; there is nothing left to revoke",
                revision.facts.not_after
            )));
        }
        let mut notes = Vec::new();
        let is_revoked = chosen.revoked || state.is_revoked(id);
        if is_revoked {
            notes.push(format!(
                "{name}: revision {id} is revoked already, or gone at its issuer"
            ));
            if alike.is_empty() {
                return Ok(notes);
            }
        }
        let by = if wanted.at_once {
            RevokedBy::PersonAtOnce
        } else {
            RevokedBy::Person
        };
        let first = Some(chosen).filter(|_| !is_over && !is_revoked);
        let mut all: Vec<Revoking> = first
            .map(|one| revoke::revoking(one, wanted.reason, by, now))
            .into_iter()
            .collect();
        for one in alike {
            let RevisionFacts { id, facts, .. } = &one.revision;
            if one.revision.reference.is_empty() {
                notes.push(format!(
                    "{name}: revision {id} has the same key, and the issuer's id of it is not known; revoke serial {} there by hand",
                    facts.serial
                ));
                continue;
            }
            notes.push(format!(
                "{name}: revision {id} has the same key and will be revoked, too (serial {})",
                facts.serial
            ));
            all.push(revoke::revoking(one, wanted.reason, by, now));
        }
        let ends = known.iter().filter(|one| one.revision.facts.spki == *key);
        let until = ends.map(|one| one.revision.facts.not_after).max();
        let compromised = until
            .filter(|_| leaked)
            .map(|until| CompromisedKey { spki: *key, until });
        let same_key = state
            .newest
            .as_ref()
            .is_some_and(|newest| newest.facts.spki == *key);
        self.store
            .change_certificate(name, CertificateChange::Revoke { all, compromised })
            .await?;
        crash::point("revoke.asked");
        if policy.is_some() && same_key {
            // It is wanted already; this clears what blocks it elsewhere.
            self.ask_renewal(name).await?;
        }
        Ok(notes)
    }

    async fn revocable<'a>(
        &self,
        name: &CertificateId,
        which: Option<&RevisionId>,
        all: &'a [KnownRevision],
    ) -> Result<&'a KnownRevision, NotAsked> {
        let found = match which {
            Some(id) => all.iter().find(|known| known.revision.id == *id),
            None => {
                let state = self
                    .certificate_state(name)
                    .await
                    .map_err(NotAsked::Failed)?;
                let newest = state.newest.map(|newest| newest.id);
                all.iter()
                    .find(|known| Some(&known.revision.id) == newest.as_ref())
            }
        };
        let Some(found) = found else {
            return Err(match which {
                Some(id) => NotAsked::Unfit(format!("{name} has no revision {id}")),
                None => NotAsked::Unknown(format!("there is no certificate `{name}`")),
            });
        };
        let revision = &found.revision;
        if revision.reference.is_empty() {
            return Err(NotAsked::Unfit(format!(
                "{name}: the issuer's id of revision {} is not known; revoke serial {} there by hand",
                revision.id, revision.facts.serial
            )));
        }
        Ok(found)
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
        let snapshot = self.known().await?;
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
            Ok(Revoked::Gone) => {
                self.issuers.answered(&revoking.issuer);
                let until = revoking.until.map(|until| format!(" until {until}"));
                let message = format!(
                    "certificate {reference} is gone at issuer {}, where nobody can revoke it any more; it stays good{} for whoever has its key",
                    revoking.issuer,
                    until.unwrap_or_default()
                );
                self.done(certificate, message.clone());
                let change = CertificateChange::RevocationDropped {
                    revision: revision.clone(),
                    gone: true,
                    news: Some((self.clock.now(), message)),
                };
                self.store.change_certificate(certificate, change).await?;
            }
            Ok(Revoked::Done) => {
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

    /// Writes down what was replaced and is to be revoked by the policy, and what came with a key that others may know, and
    /// forgets what the policy wants no more and what has ended.
    pub(super) async fn note_superseded(
        &self,
        snapshot: &mut Snapshot,
        busy: &Busy,
    ) -> Result<(), EngineError> {
        let now = self.clock.now();
        let mut changes = Vec::new();
        let idle = |id: &CertificateId| !busy.certificates.contains(id);
        // Also of what left the policy.
        for (id, state) in snapshot.certificates.iter().filter(|(id, _)| idle(id)) {
            for revoking in &state.revoking {
                let step = revoke::step(&self.policy, snapshot, id, revoking, now);
                changes.extend(dropped(revoking, &step, now).map(|change| (id.clone(), change)));
            }
        }
        for (id, certificate) in &self.policy.certificates {
            let Some(state) = snapshot.certificates.get(id).filter(|_| idle(id)) else {
                continue;
            };
            let supersedes = revoke::may_supersede(&self.policy, certificate, state);
            let leaked = certificate.order == OrderMode::Auto && !state.compromised.is_empty();
            if !supersedes && !leaked {
                continue;
            }
            let known = self.store.revisions(id).await?;
            let mut all = Vec::new();
            if leaked {
                all = revoke::compromised(state, &known, now);
            }
            if supersedes {
                let mut found =
                    revoke::superseded(&self.policy, snapshot, certificate, &known, now);
                found.retain(|one| all.iter().all(|other| other.revision != one.revision));
                all.append(&mut found);
            }
            if !all.is_empty() {
                let compromised = None;
                changes.push((id.clone(), CertificateChange::Revoke { all, compromised }));
            }
        }
        self.write_revocations(snapshot, changes).await
    }

    /// Writes down what is to be revoked.
    pub(super) async fn write_revocations(
        &self,
        snapshot: &mut Snapshot,
        changes: Vec<(CertificateId, CertificateChange)>,
    ) -> Result<(), EngineError> {
        let mut touched = Touched::default();
        for (id, change) in changes {
            self.store.change_certificate(&id, change).await?;
            crash::point("revoke.noted");
            touched.certificates.insert(id);
        }
        self.store.refresh(snapshot, &touched).await?;
        Ok(())
    }
}

/// What is to be written down of a revocation that is wanted no more.
fn dropped(revoking: &Revoking, step: &Step, now: Timestamp) -> Option<CertificateChange> {
    let Revoking {
        revision,
        reference,
        ..
    } = revoking;
    let asked_for = revoking.by != RevokedBy::Policy;
    let news = match step {
        Step::Due | Step::Waits { .. } => return None,
        Step::Dropped => None,
        Step::Ended => asked_for.then(|| {
            let message = format!("{reference} was not revoked, and has ended by itself");
            (now, message)
        }),
    };
    Some(CertificateChange::RevocationDropped {
        revision: revision.clone(),
        gone: false,
        news,
    })
}
