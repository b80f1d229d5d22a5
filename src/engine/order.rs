//! Carries out one step of an order: intent in the journal, effect, outcome in the journal.
//!
//! What a step's outcome means is decided by `plan::order_machine` and `plan::outcome`; here it is only brought about.

use crate::engine::progress::Progress;
use crate::engine::{Engine, EngineError};
use crate::issuer::{Effect, Fetched, IssuedPem, IssuerError, Lookup};
use crate::model::{
    CertificateId, CertificateState, ErrorClass, Fingerprint, IssuerId, KeyReuse, Order,
    OrderClosing, OrderEvent, OrderPhase, OrderStep, Reason, RevisionFacts, RevisionId, Seconds,
    Snapshot, Source, Timestamp,
};
use crate::pki::{Material, PrivateKey};
use crate::plan::order_machine::{self, Timing};
use crate::plan::{OnError, Trouble, backoff, open, outcome};
use crate::store::{OrderAdvance, StoreError, Touched};
use crate::sys::{crash, error_chain};

/// What a step's effect led to.
struct Outcome {
    event: OrderEvent,
    message: String,
    revision: Option<RevisionFacts>,
}

impl Outcome {
    fn new(event: OrderEvent, message: String) -> Self {
        Self {
            event,
            message,
            revision: None,
        }
    }
}

/// A failure, and whether the step may have had its effect all the same.
struct Failure {
    class: ErrorClass,
    message: String,
    retry_after: Option<i64>,
    effect_unknown: bool,
}

impl Failure {
    fn local(class: ErrorClass, message: String) -> Self {
        Self {
            class,
            message,
            retry_after: None,
            effect_unknown: false,
        }
    }
}

impl From<IssuerError> for Failure {
    fn from(error: IssuerError) -> Self {
        Self {
            class: error.class,
            message: error.message,
            retry_after: error.retry_after,
            effect_unknown: error.effect == Effect::Unknown,
        }
    }
}

impl Engine {
    /// Opens an order for a certificate of the policy.
    pub(crate) async fn open_order(
        &self,
        certificate: &CertificateId,
        reason: Reason,
        expect: Option<&RevisionId>,
        now: Timestamp,
    ) -> Result<Touched, EngineError> {
        let mut touched = Touched::default();
        touched.certificates.insert(certificate.clone());
        let Some(policy) = self.policy.certificates.get(certificate) else {
            return Ok(touched);
        };
        // The plan may be stale: another revision than it saw means that the reason may be gone.
        let state = self.certificate_state(certificate).await?;
        if state.newest.as_ref().map(|newest| &newest.id) != expect {
            return Ok(touched);
        }
        let order = open::order(crate::engine::ids::order()?, policy, reason, now);
        touched.orders.insert(order.id.clone());
        match self.store.open_order(&order).await {
            Ok(()) => {}
            // Somebody else opened one since the snapshot: the next tick sees it.
            Err(StoreError::AlreadyOpen(_)) => return Ok(touched),
            Err(error) => return Err(error.into()),
        }
        crash::point("order.open.done");
        self.done(certificate, format!("order opened: {}", order.reason));
        self.tell_who_signs(certificate, &policy.issuer).await;
        Ok(touched)
    }

    /// Carries out one step.
    pub(crate) async fn order_step(
        &self,
        order: &Order,
        step: OrderStep,
        snapshot: &Snapshot,
        now: Timestamp,
    ) -> Result<Touched, EngineError> {
        self.store.order_started(&order.id, step, now).await?;
        crash::point(&format!("order.{step}.started"));
        let result = match step {
            OrderStep::StoreKey => self.store_key(order, snapshot).await,
            OrderStep::Submit => self.submit(order).await,
            OrderStep::Locate => self.locate(order, now).await,
            OrderStep::Resolve => self.resolve(order, now).await,
            OrderStep::Fetch => self.fetch(order, now).await,
            OrderStep::Close => self.put_away(order),
        };
        crash::point(&format!("order.{step}.effect"));
        match result {
            Ok(outcome) => self.order_outcome(order, Some(step), outcome).await?,
            Err(failure) => self.order_failure(order, step, failure, now).await?,
        }
        crash::point(&format!("order.{step}.done"));
        Ok(touched(order))
    }

    /// Writes down what follows from what is known; nothing happens outside.
    pub(crate) async fn record_order(
        &self,
        order: &Order,
        event: OrderEvent,
    ) -> Result<Touched, EngineError> {
        let message = match &event {
            OrderEvent::AnswerLost { look_at, .. } => format!(
                "the answer to an application is not known; looking for it, and sending no second one before {look_at}"
            ),
            OrderEvent::DefinitelyAbsent => {
                "the application had no effect; it may be sent again".to_owned()
            }
            OrderEvent::Closed {
                closing: OrderClosing::Abandoned { message },
            } => format!("order abandoned: {message}"),
            OrderEvent::KeyStored { .. }
            | OrderEvent::Accepted { .. }
            | OrderEvent::Absent { .. }
            | OrderEvent::NotYet { .. }
            | OrderEvent::Issued { .. }
            | OrderEvent::Closed { .. } => event.code().to_owned(),
        };
        self.order_outcome(order, None, Outcome::new(event, message))
            .await?;
        Ok(touched(order))
    }

    async fn order_outcome(
        &self,
        order: &Order,
        step: Option<OrderStep>,
        outcome: Outcome,
    ) -> Result<(), EngineError> {
        let now = self.clock.now();
        let phase = order_machine::transition(&order.phase, &outcome.event)
            .map_err(|error| EngineError::Bug(error.to_string()))?;
        let state = self.certificate_state(&order.certificate).await?;
        let after = outcome::certificate_after(
            &state,
            order,
            &outcome.event,
            outcome.revision.as_ref(),
            self.order_digest(order),
            now,
        );
        let advance = OrderAdvance {
            id: order.id.clone(),
            at: now,
            step,
            event: outcome.event,
            phase,
            message: outcome.message,
            revision: outcome
                .revision
                .map(|facts| (order.certificate.clone(), order.issuer.clone(), facts)),
            certificate: after.map(|state| (order.certificate.clone(), state)),
        };
        self.store.order_advanced(&advance).await?;
        self.tell_order(order, advance);
        Ok(())
    }

    fn tell_order(&self, order: &Order, advance: OrderAdvance) {
        let subject = order.certificate.to_string();
        let text = advance.message;
        (self.progress)(match &advance.phase {
            OrderPhase::Unclear { .. } => Progress::Waiting { subject, text },
            OrderPhase::Closed {
                closing: OrderClosing::Failed { .. },
            } => Progress::Failed {
                subject,
                text,
                output: String::new(),
            },
            OrderPhase::Opened
            | OrderPhase::KeyStored { .. }
            | OrderPhase::Submitted { .. }
            | OrderPhase::Issued { .. }
            | OrderPhase::Closed { .. } => Progress::Done { subject, text },
        });
    }

    async fn order_failure(
        &self,
        order: &Order,
        step: OrderStep,
        failure: Failure,
        started_at: Timestamp,
    ) -> Result<(), EngineError> {
        let now = self.clock.now();
        let text = format!("{step} failed ({}): {}", failure.class, failure.message);
        let trouble = Trouble {
            class: failure.class,
            message: failure.message,
            output: String::new(),
            retry_after: failure.retry_after.map(|wait| now + Seconds(wait)),
        };
        // A submit in doubt began when its intent was written, not when its failure was noticed.
        let at = if failure.effect_unknown {
            started_at
        } else {
            now
        };
        let decision = order_machine::on_error(
            order,
            step,
            trouble,
            failure.effect_unknown,
            self.timing(order),
            self.order_digest(order),
            at,
        );
        match decision {
            OnError::Event(event) => {
                let outcome = Outcome::new(event, text);
                self.order_outcome(order, Some(step), outcome).await
            }
            OnError::Retry(stored) => {
                self.store.order_failed(&order.id, step, &stored).await?;
                (self.progress)(Progress::Failed {
                    subject: order.certificate.to_string(),
                    text,
                    output: String::new(),
                });
                Ok(())
            }
        }
    }

    fn timing(&self, order: &Order) -> Timing {
        // An issuer that left the policy: its order cannot be carried on, and these bounds only date its records.
        self.issuers.policy(&order.issuer).map_or(
            Timing {
                timeout: Seconds::minutes(1),
                settle: Seconds::minutes(2),
            },
            Timing::from,
        )
    }

    /// What backoff depends on: another policy of the certificate or the issuer clears it.
    fn order_digest(&self, order: &Order) -> Fingerprint {
        match self.policy.certificates.get(&order.certificate) {
            Some(policy) => backoff::digest(policy, self.issuers.policy(&order.issuer)),
            None => order.request.policy,
        }
    }

    async fn store_key(&self, order: &Order, snapshot: &Snapshot) -> Result<Outcome, Failure> {
        let local = |error: &dyn std::error::Error| {
            Failure::local(ErrorClass::Transient, error_chain(error))
        };
        // Did it happen? A key that is already there is the one to use.
        if let Some(key) = self
            .deployer
            .materials()
            .load_key(&order.id)
            .map_err(|e| local(&e))?
        {
            let spki = key.spki();
            return Ok(key_stored(spki, order, "key was stored already"));
        }
        let key = match self.key_to_reuse(order, snapshot) {
            Some(key) => key,
            None => generate(order.request.key_algorithm).await?,
        };
        let spki = key.spki();
        self.deployer
            .materials()
            .store_key(&order.id, &key)
            .map_err(|e| local(&e))?;
        Ok(key_stored(spki, order, "key stored"))
    }

    /// With `rekey = false` the newest revision's key, if it is of the wanted kind.
    fn key_to_reuse(&self, order: &Order, snapshot: &Snapshot) -> Option<PrivateKey> {
        if order.request.key_reuse != KeyReuse::Reuse {
            return None;
        }
        let newest = snapshot
            .certificates
            .get(&order.certificate)?
            .newest
            .as_ref()?;
        let material = self
            .deployer
            .materials()
            .load_revision(&order.certificate, &newest.id)
            .ok()?;
        (material.key.algorithm() == order.request.key_algorithm).then_some(material.key)
    }

    async fn submit(&self, order: &Order) -> Result<Outcome, Failure> {
        let issuer = self.issuers.get(&order.issuer)?;
        let csr = match order.request.source {
            Source::Csr => {
                let key = self.order_key(order)?;
                let request = order.request.clone();
                Some(
                    blocking(move || {
                        crate::pki::csr::build(&key, &request)
                            .map_err(|e| Failure::local(ErrorClass::Configuration, error_chain(&e)))
                    })
                    .await?,
                )
            }
            Source::Ccm | Source::Follow => None,
        };
        let accepted = issuer.submit(&order.request, csr.as_deref()).await?;
        let poll_after = self.clock.now() + Seconds(accepted.poll_after);
        let what = if csr.is_some() {
            "CSR sent"
        } else {
            "application sent"
        };
        let message = format!("{what}: {}", accepted.reference);
        let reference = accepted.reference;
        Ok(Outcome::new(
            OrderEvent::Accepted {
                reference,
                poll_after,
            },
            message,
        ))
    }

    fn order_key(&self, order: &Order) -> Result<PrivateKey, Failure> {
        let missing = |why: String| {
            Failure::local(
                ErrorClass::Transient,
                format!("the key of order {} cannot be read: {why}", order.id),
            )
        };
        match self.deployer.materials().load_key(&order.id) {
            Ok(Some(key)) => Ok(key),
            Ok(None) => Err(missing("it is missing".to_owned())),
            Err(error) => Err(missing(error_chain(&error))),
        }
    }

    async fn locate(&self, order: &Order, now: Timestamp) -> Result<Outcome, Failure> {
        let issuer = self.issuers.get(&order.issuer)?;
        let offer = issuer.offer(&order.request.names, now).await?;
        let Some(reference) = offer.reference else {
            return Err(Failure::local(
                ErrorClass::Transient,
                format!(
                    "the account has no issued certificate for {}",
                    order.request.names
                ),
            ));
        };
        let message = format!("certificate found: {reference}");
        let event = OrderEvent::Accepted {
            reference,
            poll_after: now,
        };
        Ok(Outcome::new(event, message))
    }

    async fn fetch(&self, order: &Order, now: Timestamp) -> Result<Outcome, Failure> {
        let OrderPhase::Submitted { reference, .. } = &order.phase else {
            return Err(wrong_phase("fetch", order));
        };
        let issuer = self.issuers.get(&order.issuer)?;
        let with_key = order.request.source != Source::Csr;
        match issuer.fetch(reference, with_key).await? {
            Fetched::NotYet { poll_after } => {
                let poll_after = self.clock.now() + Seconds(poll_after);
                let message = format!("not issued yet; next look at {poll_after}");
                Ok(Outcome::new(OrderEvent::NotYet { poll_after }, message))
            }
            Fetched::Issued(pem) => self.accept(order, reference, pem, now).await,
        }
    }

    /// Checks what came and stores it as a revision.
    async fn accept(
        &self,
        order: &Order,
        reference: &str,
        pem: IssuedPem,
        now: Timestamp,
    ) -> Result<Outcome, Failure> {
        let IssuedPem {
            certificate,
            chain,
            private_key,
        } = pem;
        let rejected = |why: String| Failure::local(ErrorClass::Rejected, why);
        let key = match (order.request.source, private_key) {
            (Source::Csr, _) => self.order_key(order)?,
            (Source::Ccm | Source::Follow, Some(key)) => PrivateKey::from_pem(key.expose())
                .map_err(|e| rejected(format!("certificate {reference}: {}", error_chain(&e))))?,
            (Source::Ccm | Source::Follow, None) => {
                return Err(rejected(format!(
                    "certificate {reference} was exported without its private key; CCM hands out only keys that it made or that were imported with it"
                )));
            }
        };
        let material = Material::from_pem(key, &certificate, &chain)
            .map_err(|e| rejected(format!("certificate {reference}: {}", error_chain(&e))))?;
        let facts = crate::pki::check::issued(&material, &order.request, now).map_err(|e| {
            rejected(format!(
                "certificate {reference} is not what was asked for: {}",
                error_chain(&e)
            ))
        })?;
        let id = self
            .deployer
            .materials()
            .store_revision(&order.certificate, &material)
            .map_err(|e| Failure::local(ErrorClass::Transient, error_chain(&e)))?;
        let message = format!(
            "certificate issued: serial {}, valid until {}",
            facts.serial, facts.not_after
        );
        // A follower's certificate is as old as the offer said; what we asked for is issued now.
        let issued_at = match order.request.source {
            Source::Follow => self.offered_at(order, reference, facts.not_before).await,
            Source::Csr | Source::Ccm => now,
        };
        let revision = RevisionFacts {
            id: id.clone(),
            facts,
            issued_at,
            reference: reference.to_owned(),
            policy: Some(order.request.policy),
        };
        Ok(Outcome {
            event: OrderEvent::Issued { revision: id },
            message,
            revision: Some(revision),
        })
    }

    /// The revision holds the key now.
    fn put_away(&self, order: &Order) -> Result<Outcome, Failure> {
        let OrderPhase::Issued { revision } = &order.phase else {
            return Err(wrong_phase("close", order));
        };
        self.deployer
            .materials()
            .remove_key(&order.id)
            .map_err(|e| Failure::local(ErrorClass::Transient, error_chain(&e)))?;
        let closing = OrderClosing::Fulfilled {
            revision: revision.clone(),
        };
        let message = format!("order fulfilled: revision {revision}");
        Ok(Outcome::new(OrderEvent::Closed { closing }, message))
    }

    async fn resolve(&self, order: &Order, now: Timestamp) -> Result<Outcome, Failure> {
        let OrderPhase::Unclear {
            spki, submitted_at, ..
        } = &order.phase
        else {
            return Err(wrong_phase("resolve", order));
        };
        let issuer = self.issuers.get(&order.issuer)?;
        let found = issuer.lookup(&order.request, *spki, *submitted_at).await?;
        Ok(match found {
            Lookup::Found { reference } => {
                let message = format!("the application had its effect: {reference}");
                let event = OrderEvent::Accepted {
                    reference,
                    poll_after: now,
                };
                Outcome::new(event, message)
            }
            Lookup::Absent => {
                let event = order_machine::absent(order, self.timing(order), now);
                Outcome::new(event, "not in the issuer's listing".to_owned())
            }
        })
    }

    /// When the account says that a follower's certificate was issued; it must be the same moment as in the offer,
    /// since "newer" is decided by it.
    async fn offered_at(&self, order: &Order, reference: &str, fallback: Timestamp) -> Timestamp {
        let state = self.certificate_state(&order.certificate).await;
        state
            .ok()
            .and_then(|state| state.offer)
            .filter(|offer| offer.reference.as_deref() == Some(reference))
            .and_then(|offer| offer.issued_at)
            .unwrap_or(fallback)
    }

    pub(crate) async fn certificate_state(
        &self,
        id: &CertificateId,
    ) -> Result<CertificateState, EngineError> {
        let mut part = Snapshot::default();
        let mut touched = Touched::default();
        touched.certificates.insert(id.clone());
        self.store.refresh(&mut part, &touched).await?;
        Ok(part.certificates.remove(id).unwrap_or_default())
    }

    async fn tell_who_signs(&self, certificate: &CertificateId, issuer: &IssuerId) {
        // For people only: a failure shows itself, with its class, in the step that needs the issuer.
        if let Ok(connected) = self.issuers.get(issuer)
            && let Ok(text) = connected.describe().await
        {
            self.done(certificate, format!("issuer found: {text}"));
        }
    }

    pub(crate) fn done(&self, subject: &dyn std::fmt::Display, text: String) {
        (self.progress)(Progress::Done {
            subject: subject.to_string(),
            text,
        });
    }
}

fn touched(order: &Order) -> Touched {
    let mut touched = Touched::default();
    touched.orders.insert(order.id.clone());
    touched.certificates.insert(order.certificate.clone());
    touched
}

fn wrong_phase(step: &str, order: &Order) -> Failure {
    Failure::local(
        ErrorClass::Bug,
        format!("{step} in phase {}", order.phase.code()),
    )
}

fn key_stored(spki: Fingerprint, order: &Order, what: &str) -> Outcome {
    let message = format!(
        "{what}: {}, public key {}",
        order.request.key_algorithm,
        spki.short()
    );
    Outcome::new(OrderEvent::KeyStored { spki }, message)
}

async fn generate(algorithm: crate::model::KeyAlgorithm) -> Result<PrivateKey, Failure> {
    blocking(move || {
        PrivateKey::generate(algorithm)
            .map_err(|e| Failure::local(ErrorClass::Bug, error_chain(&e)))
    })
    .await
}

/// CPU work off the runtime's threads.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(Failure::local(ErrorClass::Bug, error.to_string())))
}
