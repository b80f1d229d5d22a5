//! The proofs of an order's domains: where they are published is the validation's matter, what follows from that is here.

use std::future::Future;
use std::pin::Pin;

use crate::engine::Engine;
use crate::engine::order_effect::{Failure, Outcome, wrong_phase};
use crate::model::{
    DomainProof, ErrorClass, Order, OrderEvent, OrderPhase, ProofStage, ProofState, Review,
    Seconds, Snapshot, Timestamp, ValidationId, ValidationPolicy,
};
use crate::validation::{Sighting, ValidationError, Validations};

/// An async answer of a prover.
pub type Proving<'a, T> = Pin<Box<dyn Future<Output = Result<T, ProofError>> + Send + 'a>>;

/// What could not be shown again.
pub type Resumed<'a> = Pin<Box<dyn Future<Output = Vec<ProofError>> + Send + 'a>>;

/// Who publishes proofs, looks for them and takes them away. Each may be done again.
pub trait Prover: Send + Sync {
    /// Puts them where the issuer looks; answers how long a look for them makes no sense.
    fn publish<'a>(
        &'a self,
        way: &'a ValidationPolicy,
        proofs: &'a [DomainProof],
    ) -> Proving<'a, Seconds>;

    /// Whether they are seen from everywhere, and whether the CA of this brand may issue at all.
    fn examine<'a>(
        &'a self,
        way: &'a ValidationPolicy,
        proofs: &'a [DomainProof],
        brand: Option<&'a str>,
    ) -> Proving<'a, Seen>;

    /// Takes them away.
    fn retract<'a>(
        &'a self,
        way: &'a ValidationPolicy,
        proofs: &'a [DomainProof],
    ) -> Proving<'a, ()>;

    /// After a start: what lives in memory alone is shown again, for proofs that are published.
    fn resume<'a>(
        &'a self,
        published: &'a [(&'a ValidationPolicy, &'a [DomainProof])],
    ) -> Resumed<'a>;
}

/// What was seen of proofs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// All of them, everywhere.
    Everywhere,
    /// Some are not there yet, which passes by itself: one line.
    NotYet(String),
    /// A person must do something, whatever is waited for: one line.
    Hindered(String),
}

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ProofError {
    /// What helps.
    pub class: ErrorClass,
    /// One line.
    pub message: String,
}

impl Prover for Validations {
    fn publish<'a>(
        &'a self,
        way: &'a ValidationPolicy,
        proofs: &'a [DomainProof],
    ) -> Proving<'a, Seconds> {
        Box::pin(async move { Ok(self.publish(way, proofs).await?.examine_after) })
    }

    fn examine<'a>(
        &'a self,
        way: &'a ValidationPolicy,
        proofs: &'a [DomainProof],
        brand: Option<&'a str>,
    ) -> Proving<'a, Seen> {
        Box::pin(async move {
            let seen = self.examine(way, proofs, brand).await?;
            Ok(match &seen {
                Sighting::Everywhere => Seen::Everywhere,
                Sighting::NotYet(_) => Seen::NotYet(seen.to_string()),
                Sighting::Hindered(_) => Seen::Hindered(seen.to_string()),
            })
        })
    }

    fn retract<'a>(
        &'a self,
        way: &'a ValidationPolicy,
        proofs: &'a [DomainProof],
    ) -> Proving<'a, ()> {
        Box::pin(async move { Ok(self.retract(way, proofs).await?) })
    }

    fn resume<'a>(
        &'a self,
        published: &'a [(&'a ValidationPolicy, &'a [DomainProof])],
    ) -> Resumed<'a> {
        Box::pin(async move {
            let errors = self.resume(published).await;
            errors.into_iter().map(ProofError::from).collect()
        })
    }
}

impl From<ValidationError> for ProofError {
    fn from(error: ValidationError) -> Self {
        Self {
            class: error.class,
            message: error.message,
        }
    }
}

impl From<ProofError> for Failure {
    fn from(error: ProofError) -> Self {
        Self::local(error.class, error.message)
    }
}

impl Engine {
    pub(super) async fn publish(&self, order: &Order) -> Result<Outcome, Failure> {
        let (state, _) = proof(order, "publish")?;
        let way = self.way(&state.by)?;
        let wait = self.prover.publish(way, &state.proofs).await?;
        let at = self.clock.now();
        let places: Vec<&str> = state
            .proofs
            .iter()
            .map(|proof| proof.domain.as_str())
            .collect();
        let message = format!(
            "proofs published by validation {} for {}",
            state.by,
            places.join(", ")
        );
        let examine_at = at + wait;
        let event = OrderEvent::Published { at, examine_at };
        Ok(Outcome::new(event, message))
    }

    pub(super) async fn examine(&self, order: &Order, now: Timestamp) -> Result<Outcome, Failure> {
        let (state, review) = proof(order, "examine")?;
        let way = self.way(&state.by)?;
        let ProofStage::Published { at: published } = state.stage else {
            return Err(wrong_phase("examine", order));
        };
        let buying = order.request.public.as_ref();
        let buying = buying.and_then(|public| public.buying.as_ref());
        let brand = buying.map(|buying| buying.product.brand.as_str());
        match self.prover.examine(way, &state.proofs, brand).await? {
            Seen::Everywhere => {
                let message = "proofs are visible everywhere".to_owned();
                Ok(Outcome::new(OrderEvent::Visible { at: now }, message))
            }
            Seen::NotYet(text) if now < published + way.propagation => {
                let poll_after = self.clock.now() + EXAMINE_INTERVAL;
                let review = review.clone();
                let event = OrderEvent::NotYet { poll_after, review };
                Ok(Outcome::new(event, format!("proofs: {text}")))
            }
            Seen::NotYet(text) => {
                let message = format!(
                    "the proofs were published at {published} and are not visible everywhere: {text}"
                );
                Err(Failure::local(ErrorClass::Transient, message))
            }
            Seen::Hindered(text) => Err(Failure::local(ErrorClass::Configuration, text)),
        }
    }

    pub(super) async fn retract(&self, order: &Order) -> Result<Outcome, Failure> {
        let OrderPhase::Ending {
            proof: Some(state), ..
        } = &order.phase
        else {
            return Err(wrong_phase("retract", order));
        };
        let all = state.proofs.iter().chain(&state.superseded);
        let Some(way) = self.policy.validations.get(&state.by) else {
            // An order must end; what is left proves nothing to anybody any more, and is a person's.
            let places: Vec<&str> = all.map(|proof| proof.place.as_str()).collect();
            let what = format!(
                "{} is not taken away: validation {} is no longer in the policy",
                places.join(", "),
                state.by
            );
            let message = what.clone();
            return Ok(Outcome::new(OrderEvent::LeftBehind { what }, message));
        };
        let all: Vec<DomainProof> = all.cloned().collect();
        self.prover.retract(way, &all).await?;
        let message = format!("proofs taken away by validation {}", state.by);
        Ok(Outcome::new(OrderEvent::Retracted, message))
    }

    /// What lives in memory alone is shown again, where a proof is published.
    pub(super) async fn resume_proofs(&self, snapshot: &Snapshot) {
        let orders = snapshot.orders.values();
        let states = orders.filter_map(|order| match &order.phase {
            OrderPhase::Submitted { proof, .. } => proof.as_deref(),
            _ => None,
        });
        let published: Vec<(&ValidationPolicy, &[DomainProof])> = states
            .filter(|state| state.stage != ProofStage::Wanted)
            .filter_map(|state| {
                let way = self.policy.validations.get(&state.by)?;
                Some((way, state.proofs.as_slice()))
            })
            .collect();
        if published.is_empty() {
            return;
        }
        for error in self.prover.resume(&published).await {
            tracing::warn!(%error, "a proof that was published is not shown");
        }
    }

    /// One of the policy's ways.
    pub(super) fn way(&self, id: &ValidationId) -> Result<&ValidationPolicy, Failure> {
        self.policy.validations.get(id).ok_or_else(|| {
            Failure::local(
                ErrorClass::Configuration,
                format!("validation {id} is no longer in the policy"),
            )
        })
    }
}

fn proof<'a>(order: &'a Order, step: &str) -> Result<(&'a ProofState, &'a Review), Failure> {
    match &order.phase {
        OrderPhase::Submitted {
            proof: Some(state),
            review,
            ..
        } => Ok((state, review)),
        _ => Err(wrong_phase(step, order)),
    }
}

/// Between two looks for a proof: about as long as zones take to be copied.
const EXAMINE_INTERVAL: Seconds = Seconds(15);
