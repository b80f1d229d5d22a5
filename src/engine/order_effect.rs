//! The effect of each step of an order: keys, calls to the issuer, checks, revisions. Nothing here writes the journal.

use crate::deploy::MaterialError;
use crate::engine::Engine;
use crate::issuer::{Effect, Fetched, IssuedPem, IssuerError, Lookup};
use crate::model::{
    Entitlement, ErrorClass, Fingerprint, KeyAlgorithm, KeyReuse, Order, OrderClosing, OrderEvent,
    OrderPhase, Reason, Review, RevisionFacts, Seconds, Snapshot, Source, Timestamp,
};
use crate::pki::{self, Material, PrivateKey};
use crate::plan::order_machine::{self, Timing};
use crate::store::referenced_revisions;
use crate::sys::error_chain;

/// What a step's effect led to.
pub(super) struct Outcome {
    pub(super) event: OrderEvent,
    pub(super) message: String,
    pub(super) revision: Option<RevisionFacts>,
    /// What is known of the order at SCM that it came from.
    pub(super) entitlement: Option<Entitlement>,
}

impl Outcome {
    pub(super) fn new(event: OrderEvent, message: String) -> Self {
        Self {
            event,
            message,
            revision: None,
            entitlement: None,
        }
    }
}

/// A failure, and whether the step may have had its effect all the same.
pub(super) struct Failure {
    pub(super) class: ErrorClass,
    pub(super) message: String,
    pub(super) retry_after: Option<i64>,
    pub(super) effect_unknown: bool,
    /// Any other call to the issuer would have met the same.
    pub(super) everybody: bool,
}

impl Failure {
    pub(super) fn local(class: ErrorClass, message: String) -> Self {
        Self {
            class,
            message,
            retry_after: None,
            effect_unknown: false,
            everybody: false,
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
            everybody: error.everybody,
        }
    }
}
impl Engine {
    pub(super) async fn store_key(
        &self,
        order: &Order,
        snapshot: &Snapshot,
    ) -> Result<Outcome, Failure> {
        // Did it happen? A key that is already there is the one to use; one that cannot be read never was used.
        match self.deployer.materials().load_key(&order.id) {
            Ok(Some(key)) => return Ok(key_stored(key.spki(), order, "key was stored already")),
            Ok(None) | Err(MaterialError::Content { .. } | MaterialError::Mismatch { .. }) => {}
            Err(error @ MaterialError::Fs(_)) => return Err(material_failure(&error)),
        }
        let key = match self.key_to_reuse(order, snapshot) {
            Some(key) => key,
            None => generate(order.request.key_algorithm).await?,
        };
        let spki = self
            .deployer
            .materials()
            .store_key(&order.id, &key)
            .map_err(|error| material_failure(&error))?;
        Ok(key_stored(spki, order, "key stored"))
    }

    /// With `rekey = false` the newest revision's key, if it is of the wanted kind.
    fn key_to_reuse(&self, order: &Order, snapshot: &Snapshot) -> Option<PrivateKey> {
        if order.request.key_reuse != KeyReuse::Reuse {
            return None;
        }
        let state = snapshot.certificates.get(&order.certificate)?;
        let newest = state.newest.as_ref()?;
        // Its key may be known to others.
        if order.reason == Reason::Revoked
            || state.is_revoked(&newest.id)
            || state.is_given_up(&newest.facts.spki)
        {
            return None;
        }
        let material = self
            .deployer
            .materials()
            .load_revision(&order.certificate, &newest.id)
            .ok()?;
        (material.key.algorithm() == order.request.key_algorithm).then_some(material.key)
    }

    pub(super) async fn submit(&self, order: &Order) -> Result<Outcome, Failure> {
        let issuer = self.issuers.get(&order.issuer)?;
        let key = match order.request.source {
            Source::Csr => Some(self.order_key(order)?),
            Source::Ccm | Source::Follow => None,
        };
        let csr = match key {
            Some(key) => {
                let request = order.request.clone();
                let built = blocking(move || {
                    let csr = pki::csr::build(&key, &request);
                    let csr = csr
                        .map_err(|e| Failure::local(ErrorClass::Configuration, error_chain(&e)))?;
                    Ok((key, csr))
                });
                Some(built.await?)
            }
            None => None,
        };
        let (key, csr) = csr.map_or((None, None), |(key, csr)| (Some(key), Some(csr)));
        let accepted = match &order.phase {
            OrderPhase::Entitled { reference }
            | OrderPhase::KeyStored {
                entitlement: Some(reference),
                ..
            } => {
                self.apply(order, reference, key.as_ref(), csr.as_deref())
                    .await?
            }
            _ => issuer.submit(&order.request, csr.as_deref()).await?,
        };
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
        let unreadable = |class, why: &str| {
            let message = format!("the key of order {} cannot be read: {why}", order.id);
            Failure::local(class, message)
        };
        match self.deployer.materials().load_key(&order.id) {
            Ok(Some(key)) => Ok(key),
            // Without its key no certificate of this order can be used: it ends, and another one is opened.
            Ok(None) => Err(unreadable(ErrorClass::Rejected, "it is missing")),
            Err(error @ MaterialError::Content { .. }) => {
                Err(unreadable(ErrorClass::Rejected, &error_chain(&error)))
            }
            Err(error) => Err(unreadable(ErrorClass::Transient, &error_chain(&error))),
        }
    }

    pub(super) async fn locate(&self, order: &Order, now: Timestamp) -> Result<Outcome, Failure> {
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

    pub(super) async fn fetch(&self, order: &Order, now: Timestamp) -> Result<Outcome, Failure> {
        let OrderPhase::Submitted {
            reference, spki, ..
        } = &order.phase
        else {
            return Err(wrong_phase("fetch", order));
        };
        let issuer = self.issuers.get(&order.issuer)?;
        // What was taken over may be for a key that is here, whatever the policy asks for by now.
        let with_key = order.request.source != Source::Csr && spki.is_none();
        match issuer.fetch(reference, with_key).await? {
            Fetched::NotYet {
                poll_after,
                status,
                proofs,
            } => {
                let poll_after = self.clock.now() + Seconds(poll_after);
                let review = Review {
                    status,
                    since: self.clock.now(),
                };
                let timing = self.issuers.policy(&order.issuer).map(Timing::from);
                if timing
                    .is_some_and(|timing| order_machine::was_taken_back(order, &review, timing))
                {
                    // The next order finds what it was made with, and applies anew.
                    return Err(Failure::local(
                        ErrorClass::Rejected,
                        format!(
                            "the application {reference} was taken back: {} has it as {}",
                            order.issuer, review.status
                        ),
                    ));
                }
                let by = order.request.public.as_ref();
                let by = by.map(|public| public.validation.clone());
                let (event, message) = match by.filter(|_| !proofs.is_empty()) {
                    Some(by) => {
                        let domains: Vec<&str> =
                            proofs.iter().map(|proof| proof.domain.as_str()).collect();
                        let message = format!("to be proven: {}", domains.join(", "));
                        let event = OrderEvent::ProofWanted {
                            by,
                            proofs,
                            review,
                            poll_after,
                        };
                        (event, message)
                    }
                    None => (
                        OrderEvent::NotYet { poll_after, review },
                        format!("not issued yet; next look at {poll_after}"),
                    ),
                };
                Ok(Outcome::new(event, message))
            }
            Fetched::Issued(pem) => match self.lacking(order, &pem).await? {
                Some(outcome) => Ok(outcome),
                None => self.accept(order, reference, pem, now).await,
            },
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
            authority,
        } = pem;
        let rejected = |why: String| Failure::local(ErrorClass::Rejected, why);
        let applied_with = match &order.phase {
            OrderPhase::Submitted { spki, .. } => *spki,
            _ => None,
        };
        let public = order.request.public.is_some();
        let key = match (order.request.source, private_key, applied_with) {
            (Source::Csr | Source::Ccm, _, Some(spki)) if public => self.key_of(order, spki)?,
            (Source::Csr, _, _) => self.order_key(order)?,
            (Source::Ccm | Source::Follow, Some(key), _) => PrivateKey::from_pem(key.expose())
                .map_err(|e| rejected(format!("certificate {reference}: {}", error_chain(&e))))?,
            (Source::Ccm | Source::Follow, None, _) => {
                return Err(rejected(format!(
                    "certificate {reference} was exported without its private key; CCM hands out only keys that it made or that were imported with it"
                )));
            }
        };
        let material = Material::from_pem(key, &certificate, &chain)
            .map_err(|e| rejected(format!("certificate {reference}: {}", error_chain(&e))))?;
        let mut request = order.request.clone();
        if request.public.is_some() {
            // It may come of another application than this order's: with the key of that one, and of its names another as
            // the first. What counts is that it is good for all that are wanted.
            request.key_algorithm = material.key.algorithm();
            if let Ok(facts) = material.facts() {
                request.common_name = facts.common_name.unwrap_or_default();
            }
        }
        let facts = pki::check::issued(&material, &request, now).map_err(|e| {
            rejected(format!(
                "certificate {reference} is not what was asked for: {}",
                error_chain(&e)
            ))
        })?;
        if let Some(authority) = authority {
            let authorities = pki::pem::certificates(&authority).map_err(|e| {
                let why = error_chain(&e);
                Failure::local(
                    ErrorClass::Transient,
                    format!("the CA's certificate: {why}"),
                )
            })?;
            let authority = authorities.first().map_or(&[][..], Vec::as_slice);
            pki::check::issued_by(&material, authority)
                .map_err(|e| rejected(format!("certificate {reference}: {}", error_chain(&e))))?;
        }
        let id = self
            .deployer
            .materials()
            .store_revision(&order.certificate, &material)
            .map_err(|error| material_failure(&error))?;
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
            applied: Some(order.request.names.clone()),
        };
        let entitlement = self.entitlement(order, &revision, applied_with, now).await;
        Ok(Outcome {
            event: OrderEvent::Issued { revision: id },
            message,
            revision: Some(revision),
            entitlement,
        })
    }

    /// The revision holds the key now; revisions that nobody refers to any more go.
    pub(super) fn put_away(&self, order: &Order, snapshot: &Snapshot) -> Result<Outcome, Failure> {
        let revision = match &order.phase {
            OrderPhase::Issued { revision, .. }
            | OrderPhase::Ending {
                closing: OrderClosing::Fulfilled { revision },
                ..
            } => revision,
            // Its key goes with those of all orders that are over.
            OrderPhase::Ending { closing, .. } => {
                let message = match closing {
                    OrderClosing::Failed { message, .. } => format!("order failed: {message}"),
                    OrderClosing::Abandoned { message } => format!("order abandoned: {message}"),
                    OrderClosing::Fulfilled { .. } => "order fulfilled".to_owned(),
                };
                let closing = closing.clone();
                return Ok(Outcome::new(OrderEvent::Closed { closing }, message));
            }
            _ => return Err(wrong_phase("close", order)),
        };
        let materials = self.deployer.materials();
        materials
            .remove_key(&order.id)
            .map_err(|error| material_failure(&error))?;
        let mut keep = referenced_revisions(snapshot, &order.certificate, self.clock.now());
        keep.insert(revision.clone());
        if let Err(error) = materials.prune(&order.certificate, &keep) {
            // What stays costs a few kilobytes, and the next order tries again.
            tracing::warn!(certificate = %order.certificate, error = error_chain(&error), "old revisions stay on disk");
        }
        let closing = OrderClosing::Fulfilled {
            revision: revision.clone(),
        };
        let message = format!("order fulfilled: revision {revision}");
        Ok(Outcome::new(OrderEvent::Closed { closing }, message))
    }

    pub(super) async fn resolve(&self, order: &Order, now: Timestamp) -> Result<Outcome, Failure> {
        let OrderPhase::Unclear {
            spki,
            submitted_at,
            entitlement,
            ..
        } = &order.phase
        else {
            return Err(wrong_phase("resolve", order));
        };
        if let Some(entitlement) = entitlement {
            return self
                .resolve_application(order, entitlement, *spki, now)
                .await;
        }
        let issuer = self.issuers.get(&order.issuer)?;
        let found = issuer.lookup(&order.request, *spki, *submitted_at).await?;
        let known = self
            .store
            .revisions(&order.certificate)
            .await
            .map_err(|error| Failure::local(ErrorClass::Transient, error_chain(&error)))?;
        // With a key that is used again, or made at CCM, the newest match may be what an earlier order brought.
        let is_known =
            |reference: &str| known.iter().any(|one| one.revision.reference == reference);
        Ok(match found {
            Lookup::Found { reference } if !is_known(&reference) => {
                let message = format!("the application had its effect: {reference}");
                let event = OrderEvent::Accepted {
                    reference,
                    poll_after: now,
                };
                Outcome::new(event, message)
            }
            Lookup::Found { .. } | Lookup::Absent => {
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
}

pub(super) fn wrong_phase(step: &str, order: &Order) -> Failure {
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

async fn generate(algorithm: KeyAlgorithm) -> Result<PrivateKey, Failure> {
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

pub(super) fn material_failure(error: &MaterialError) -> Failure {
    let class = match error {
        MaterialError::Fs(error) => error.class(),
        MaterialError::Content { .. } | MaterialError::Mismatch { .. } => ErrorClass::Transient,
    };
    Failure::local(class, error_chain(error))
}
