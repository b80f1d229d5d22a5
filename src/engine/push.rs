//! Brings a certificate to a place of the cloud: imports it where it must, pushes or deploys it, and reads back where it
//! is used.

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::{Engine, EngineError, Progress};
use crate::issuer::{Effect, Issuer, IssuerError, Pushing, Refusal, Upload, Whereto};
use crate::model::{
    CertificateId, CertificatePolicy, CertificateState, ErrorClass, Failures, Imported, PushId,
    PushPolicy, PushState, Pushed, ResourceState, RevisionFacts, Snapshot, StepFailure, Timestamp,
};
use crate::plan::push::{self, Step};
use crate::store::{CertificateChange, Touched};
use crate::sys::{crash, error_chain};

impl Engine {
    /// Brings the newest revision there.
    pub(super) async fn push(
        &self,
        certificate: &CertificateId,
        place: &PushId,
        now: Timestamp,
    ) -> Result<Touched, EngineError> {
        let mut touched = Touched::default();
        touched.certificates.insert(certificate.clone());
        let (Some(policy), Some(push)) = (
            self.policy.certificates.get(certificate),
            self.policy.pushes.get(place),
        ) else {
            return Ok(touched);
        };
        // The plan may be stale.
        let state = self.certificate_state(certificate).await?;
        let asked = Snapshot {
            host: self.host,
            ..Snapshot::default()
        };
        let due = push::step(&asked, policy, &state, push, now) == Step::Due;
        let Some(newest) = push::wanted(&state, now).filter(|_| due) else {
            return Ok(touched);
        };
        if self.issuers.is_silent(&push.account) {
            return Ok(touched);
        }
        let round = self.issuers.round();
        let mut known = state.pushes.get(place).cloned().unwrap_or_default();
        let brought = match self.issuers.get(&push.account) {
            Ok(issuer) => {
                self.bring(&*issuer, (policy, push), (&state, newest), &mut known, now)
                    .await
            }
            Err(error) => Err(error),
        };
        let brought = match brought {
            Ok(mut brought) => {
                self.record_push(push, newest, &brought, &mut known);
                match brought.stopped.take() {
                    Some(error) => Err(error),
                    None => Ok(brought),
                }
            }
            Err(error) => Err(error),
        };
        let news = match brought {
            Ok(brought) => {
                self.issuers.answered(&push.account);
                self.judge_push((certificate, push), newest, brought, &mut known)
            }
            Err(error) => {
                // Another revision may get another answer.
                let answered = !error.everybody
                    && matches!(error.class, ErrorClass::Rejected | ErrorClass::Transient);
                let doubt = error.effect == Effect::Unknown;
                let what = format!("bringing it to {place}");
                let mut failure =
                    self.tending_failed(certificate, &push.account, &what, error, (round, now));
                failure.policy = push.digest;
                if doubt {
                    // What was sent may take effect late; until it would have, nothing is sent twice.
                    let late = self.issuers.policy(&push.account);
                    let late = late.map(|late| now + late.access.timeout + late.settle);
                    failure.retry_after = failure.retry_after.max(late);
                }
                let message = failure.message.clone();
                known.add(answered.then_some(&newest.id), failure);
                message
            }
        };
        self.write_push(certificate, place, known, news).await?;
        crash::point("push.done");
        Ok(touched)
    }

    async fn bring(
        &self,
        issuer: &dyn Issuer,
        (certificate, push): (&CertificatePolicy, &PushPolicy),
        (state, newest): (&CertificateState, &RevisionFacts),
        known: &mut PushState,
        now: Timestamp,
    ) -> Result<Brought, IssuerError> {
        let Some(pushing) = issuer.pushing() else {
            return Err(wrong(format!("issuer {} pushes nothing", push.account)));
        };
        let reference = if push.import {
            self.imported(&pushing, (certificate, push), (state, newest), known)
                .await?
        } else {
            newest.reference.clone()
        };
        let to = Whereto {
            service: push.service,
            region: &push.region,
        };
        if push.resources.is_empty() {
            pushing.push(&reference, to).await?;
            crash::point("push.place.effect");
            return Ok(Brought {
                reference,
                there: BTreeSet::new(),
                refused: BTreeMap::new(),
                stopped: None,
            });
        }
        let wanted: Vec<&str> = push.resources.iter().map(String::as_str).collect();
        let mut there = pushing.deployed(&reference, to, &wanted).await?;
        // A certificate that names were added to has the id of the one before, and what uses that one has no new names.
        let stale = |one: &str| {
            let used = known.resources.get(one).and_then(|one| one.used.as_ref());
            let used = used.or(known.done.as_ref());
            used.is_some_and(|used| used.reference == reference && used.revision != newest.id)
        };
        let stale: BTreeSet<&str> = wanted.iter().copied().filter(|one| stale(one)).collect();
        there.retain(|one| !stale.contains(one));
        let due = push::due(&certificate.id, push, known, &newest.id, self.host, now);
        let due = due.into_iter().filter(|one| !there.contains(one));
        let due: Vec<&str> = due.collect();
        let (mut refused, mut stopped) = (BTreeMap::new(), None);
        if !due.is_empty() {
            let mut said = pushing.deploy(&reference, to, &due).await;
            crash::point("push.deploy.effect");
            stopped = said.stopped;
            // What counts is what is used, not what was answered; but of the same id only the answer tells.
            match pushing.deployed(&reference, to, &wanted).await {
                Ok(seen) => {
                    let complete = stopped.is_none();
                    let taken = |one: &str| {
                        complete && due.contains(&one) && !said.refused.contains_key(one)
                    };
                    there = seen;
                    there.retain(|one| !stale.contains(one) || taken(one));
                }
                // What was seen before stands, and what was answered.
                Err(error) => stopped = stopped.or(Some(error)),
            }
            let all = due.len() == wanted.len() && there.is_empty();
            if let Some(error) = said.alike.filter(|_| all) {
                // None of them has it, and each says the same: that is of the place, or of the certificate.
                stopped = Some(error);
                said.refused.clear();
            }
            for one in due.into_iter().filter(|one| !there.contains(one)) {
                let mut refusal = match said.refused.remove(one) {
                    Some(refusal) => refusal,
                    // Perhaps it was not asked, or could not be seen.
                    None if stopped.is_some() => continue,
                    None => Refusal {
                        class: ErrorClass::Configuration,
                        why: String::new(),
                    },
                };
                if refusal.why.is_empty() {
                    NOT_SEEN.clone_into(&mut refusal.why);
                }
                refused.insert(one.to_owned(), refusal);
            }
        }
        Ok(Brought {
            reference,
            there: there.into_iter().map(str::to_owned).collect(),
            refused,
            stopped,
        })
    }

    /// The id of the upload of this revision; brings it in where the account has none.
    async fn imported(
        &self,
        pushing: &Pushing<'_>,
        (certificate, push): (&CertificatePolicy, &PushPolicy),
        (state, newest): (&CertificateState, &RevisionFacts),
        known: &mut PushState,
    ) -> Result<String, IssuerError> {
        if let Some(here) = uploaded(state, push, newest, known) {
            // A person may have deleted it since; that is looked at where something went wrong only.
            if !known.is_failing() || pushing.tags(&here).await?.is_some() {
                return Ok(here);
            }
            known.imports.retain(|one| one.reference != here);
        }
        let name = upload_name(&certificate.id, newest);
        // Did it happen? An answer may have been lost.
        let (reference, news) = match pushing.find(&name, &newest.facts).await? {
            Some(reference) => {
                let news = format!("it is there as {reference}");
                (reference, news)
            }
            None => {
                let materials = self.deployer.materials();
                let material = materials
                    .load_revision(&certificate.id, &newest.id)
                    .map_err(|error| wrong(error_chain(&error)))?;
                let key = material.key.to_pem();
                let upload = Upload {
                    name: &name,
                    certificate: &material.leaf_pem(),
                    chain: &material.chain_pem(),
                    private_key: key
                        .expose_str()
                        .ok_or_else(|| wrong("the key is not PEM".to_owned()))?,
                };
                let reference = pushing.import(&upload).await?;
                crash::point("push.import.effect");
                let news = format!("imported as {reference}");
                (reference, news)
            }
        };
        known.imports.insert(
            0,
            Imported {
                revision: newest.id.clone(),
                reference: reference.clone(),
                account: push.account.clone(),
                not_after: newest.facts.not_after,
            },
        );
        known.imports.truncate(IMPORTS_KEPT);
        self.done(&certificate.id, news.clone());
        let written = self
            .write_push(&certificate.id, &push.id, known.clone(), news)
            .await;
        written.map_err(|error| wrong(error_chain(&error)))?;
        crash::point("push.import.done");
        self.keep_tags(pushing, &certificate.id, &reference).await?;
        Ok(reference)
    }

    /// What was read back, of each resource.
    fn record_push(
        &self,
        push: &PushPolicy,
        newest: &RevisionFacts,
        brought: &Brought,
        known: &mut PushState,
    ) {
        known
            .resources
            .retain(|one, _| push.resources.contains(one));
        let used = self.used(push, newest, &brought.reference);
        for one in &push.resources {
            let state = known.resources.entry(one.clone()).or_default();
            if brought.there.contains(one) {
                let before = state.used.take();
                let before = before.filter(|before| push::is_of(before, push, &newest.id));
                *state = ResourceState {
                    used: Some(before.unwrap_or_else(|| used.clone())),
                    ..ResourceState::default()
                };
            } else if let Some(refusal) = brought.refused.get(one) {
                let failure = StepFailure {
                    at: used.at,
                    class: refusal.class,
                    message: refusal.why.clone(),
                    retry_after: None,
                    policy: push.digest,
                };
                state.add(&newest.id, failure);
            } else if state
                .used
                .as_ref()
                .is_some_and(|used| push::is_of(used, push, &newest.id))
            {
                // Somebody has it use another one since.
                state.used = None;
            }
        }
    }

    fn used(&self, push: &PushPolicy, newest: &RevisionFacts, reference: &str) -> Pushed {
        Pushed {
            revision: newest.id.clone(),
            reference: reference.to_owned(),
            at: self.clock.now(),
            policy: push.digest,
        }
    }

    /// What became of the place, in the state and in a line, which is told.
    fn judge_push(
        &self,
        (certificate, push): (&CertificateId, &PushPolicy),
        newest: &RevisionFacts,
        brought: Brought,
        known: &mut PushState,
    ) -> String {
        let Brought {
            reference,
            there,
            refused,
            ..
        } = brought;
        known.failures = Failures::default();
        known.failing_since = None;
        known.refused = None;
        if !refused.is_empty() {
            let all: Vec<String> = refused
                .iter()
                .map(|(resource, refusal)| format!("{resource} ({})", refusal.why))
                .collect();
            let news = format!(
                "{} did not take {reference}: {}",
                push.service,
                all.join("; ")
            );
            (self.progress)(Progress::Failed {
                subject: certificate.to_string(),
                text: news.clone(),
                output: String::new(),
                milestone: None,
            });
            return news;
        }
        let what = match (push.resources.len(), there.len()) {
            (0, _) => format!("{} of {}", push.service, push.id),
            (all, some) if all == some => format!("{all} of {} at {}", push.service, push.id),
            (all, some) => format!("{some} of {all} of {} at {}", push.service, push.id),
        };
        let news = format!("{reference} is in use: {what}");
        if push.resources.iter().all(|one| there.contains(one)) {
            known.done = Some(self.used(push, newest, &reference));
        }
        self.done(certificate, news.clone());
        news
    }

    async fn write_push(
        &self,
        certificate: &CertificateId,
        push: &PushId,
        state: PushState,
        message: String,
    ) -> Result<(), crate::store::StoreError> {
        let change = CertificateChange::Push {
            push: push.clone(),
            state: Box::new(state),
            news: (self.clock.now(), message),
        };
        self.store.change_certificate(certificate, change).await
    }
}

/// What was read back.
struct Brought {
    /// The certificate's id at SCM.
    reference: String,
    /// Resources of the policy that use it.
    there: BTreeSet<String>,
    /// Those that were asked to and do not, with what was said.
    refused: BTreeMap<String, Refusal>,
    /// What then went wrong with the whole.
    stopped: Option<IssuerError>,
}

/// The upload of this revision that is known: of this place, or of another one of the same account.
fn uploaded(
    state: &CertificateState,
    push: &PushPolicy,
    newest: &RevisionFacts,
    known: &PushState,
) -> Option<String> {
    let others = state.pushes.iter().filter(|(place, _)| **place != push.id);
    let others = others.flat_map(|(_, other)| &other.imports);
    let mut all = known.imports.iter().chain(others);
    let here = all.find(|one| one.revision == newest.id && one.account == push.account);
    here.map(|one| one.reference.clone())
}

/// The same for the same revision, and no other's: it is found again by it.
fn upload_name(certificate: &CertificateId, revision: &RevisionFacts) -> String {
    let print = revision.facts.fingerprint.short();
    let room = LONGEST_NAME - MARK.len() - print.len() - 1;
    let name: String = certificate.as_str().chars().take(room).collect();
    format!("{MARK}{name}-{print}")
}

fn wrong(message: String) -> IssuerError {
    IssuerError {
        class: ErrorClass::Configuration,
        effect: Effect::None,
        message,
        retry_after: None,
        everybody: false,
    }
}

const NOT_SEEN: &str = "it is not among those that use the certificate";
/// Of one certificate at one place; the rest is forgotten here, and stays in the account.
const IMPORTS_KEPT: usize = 20;
/// CCM API 4.1.5.2.
const LONGEST_NAME: usize = 63;
const MARK: &str = "renewd-";
