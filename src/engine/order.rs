//! Carries out one step of an order: intent in the journal, effect, outcome in the journal.
//!
//! What a step's outcome means is decided by `plan::order_machine` and `plan::outcome`; here it is only brought about.

use crate::engine::order_effect::{Failure, Outcome};
use crate::engine::progress::Progress;
use crate::engine::{Engine, EngineError};
use crate::model::{
    CertificateId, CertificateState, ErrorClass, Fingerprint, IssuerId, Milestone, Order,
    OrderClosing, OrderEvent, OrderPhase, OrderStep, Reason, RevisionId, Seconds, Snapshot,
    Timestamp,
};
use crate::plan::order_machine::{self, Timing};
use crate::plan::{OnError, Trouble, backoff, count_by_account, entitlements, open, outcome};
use crate::store::{OrderAdvance, StoreError, Touched};
use crate::sys::crash;

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
        let id = crate::engine::ids::order()?;
        let order = open::order(id, &self.policy, policy, &state, reason, now);
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
        if step.asks_issuer() && self.issuers.is_silent(&order.issuer) {
            // Not begun, so nothing failed: the next plan says when it may be.
            return Ok(Touched::default());
        }
        // Purchases of this process go one after the other, and each is held against what the journal says by then.
        let _alone = if step == OrderStep::Buy {
            let alone = self.issuers.buying().await;
            let mut fresh = self.store.snapshot().await?;
            count_by_account(&self.policy, &mut fresh);
            if !order_machine::may_buy(order, &fresh, self.clock.now()) {
                return Ok(touched(order));
            }
            Some(alone)
        } else {
            None
        };
        let round = self.issuers.round();
        self.store.order_started(&order.id, step, now).await?;
        crash::point(&format!("order.{step}.started"));
        let result = match step {
            OrderStep::StoreKey => self.store_key(order, snapshot).await,
            OrderStep::Submit => self.submit(order).await,
            OrderStep::Supplement => self.supplement(order, now).await,
            OrderStep::Locate => self.locate(order, now).await,
            OrderStep::Resolve => self.resolve(order, now).await,
            OrderStep::Fetch => self.fetch(order, now).await,
            OrderStep::Close => self.put_away(order, snapshot),
            OrderStep::Look => self.look(order, now).await,
            OrderStep::Confirm => self.confirm(order, now).await,
            OrderStep::Buy => self.buy(order, now).await,
            OrderStep::Trace => self.trace(order, now).await,
            OrderStep::Publish => self.publish(order).await,
            OrderStep::Examine => self.examine(order, now).await,
            OrderStep::Retract => self.retract(order).await,
            OrderStep::Withdraw => self.withdraw(order).await,
        };
        crash::point(&format!("order.{step}.effect"));
        match &result {
            Ok(_) if step.asks_issuer() => self.issuers.answered(&order.issuer),
            Err(failure) if failure.everybody => {
                let met = (failure.class, failure.message.clone());
                let now = self.clock.now();
                self.issuers
                    .failed(&order.issuer, &order.certificate, met, (round, now));
            }
            Ok(_) | Err(_) => {}
        }
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
        let public = order.request.public.as_ref();
        let adds_names = public.is_some_and(|public| public.supplements.is_some());
        let message = match &event {
            OrderEvent::AnswerLost {
                look_at,
                supplement: Some(supplement),
                ..
            } => format!(
                "whether {} takes further names is not known; looking for them, and sending them no second time before {look_at}",
                supplement.reference
            ),
            OrderEvent::AnswerLost { look_at, .. } => format!(
                "the answer to an application is not known; looking for it, and sending no second one before {look_at}"
            ),
            OrderEvent::DefinitelyAbsent if adds_names => {
                "the names were not added; they may be sent again".to_owned()
            }
            OrderEvent::DefinitelyAbsent => {
                "the application had no effect; it may be sent again".to_owned()
            }
            OrderEvent::Closed {
                closing: OrderClosing::Abandoned { message },
            } => format!("order abandoned: {message}"),
            OrderEvent::PurchaseLost { decisive_at, .. } => format!(
                "the answer to a purchase is not known; looking for it, and buying no second one before {decisive_at}"
            ),
            OrderEvent::DefinitelyNotBought => {
                "the purchase was not made; another may be".to_owned()
            }
            OrderEvent::Wanting { .. } => "nothing to apply with".to_owned(),
            OrderEvent::LeftBehind { what } => {
                format!("no longer tried, the certificate needs another order: {what}")
            }
            OrderEvent::Claimed { .. }
            | OrderEvent::Confirmed
            | OrderEvent::Yielded { .. }
            | OrderEvent::Adopted { .. }
            | OrderEvent::NothingFree { .. }
            | OrderEvent::Bought { .. }
            | OrderEvent::NotBought { .. }
            | OrderEvent::PurchaseUntold { .. }
            | OrderEvent::ProofWanted { .. }
            | OrderEvent::Published { .. }
            | OrderEvent::Visible { .. }
            | OrderEvent::Retracted
            | OrderEvent::Withdrawn
            | OrderEvent::KeyStored { .. }
            | OrderEvent::Accepted { .. }
            | OrderEvent::Supplemented { .. }
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
        let after = match outcome.entitlement {
            Some(entitlement) => {
                let mut after = after.unwrap_or(state);
                entitlements::remember(&mut after, entitlement, now);
                Some(after)
            }
            None => after,
        };
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
            OrderPhase::Unclear { .. }
            | OrderPhase::PurchaseUnclear { .. }
            | OrderPhase::Seeking { .. } => Progress::Waiting { subject, text },
            OrderPhase::Closed {
                closing: OrderClosing::Failed { .. },
            } => Progress::Failed {
                subject,
                text,
                output: String::new(),
                milestone: None,
            },
            OrderPhase::Issued { .. } => Progress::Done {
                subject,
                text,
                milestone: Some(Milestone::Issued),
            },
            OrderPhase::Opened
            | OrderPhase::Claiming { .. }
            | OrderPhase::Bare { .. }
            | OrderPhase::Entitled { .. }
            | OrderPhase::Ending { .. }
            | OrderPhase::KeyStored { .. }
            | OrderPhase::Submitted { .. }
            | OrderPhase::Closed { .. } => Progress::Done {
                subject,
                text,
                milestone: None,
            },
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
        if failure.class == ErrorClass::Authentication {
            self.issuers.forget(&order.issuer);
        }
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
                    milestone: None,
                });
                Ok(())
            }
        }
    }

    pub(super) fn timing(&self, order: &Order) -> Timing {
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
        // For people only, and so not for long: a failure shows itself, with its class, in the step that needs the issuer.
        let Ok(connected) = self.issuers.get(issuer) else {
            return;
        };
        if self.issuers.is_silent(issuer) {
            return;
        }
        let round = self.issuers.round();
        match tokio::time::timeout(TELLING, connected.describe()).await {
            Ok(Ok(text)) => self.done(certificate, format!("issuer found: {text}")),
            Ok(Err(error)) if error.everybody => {
                let met = (error.class, error.message);
                self.issuers
                    .failed(issuer, certificate, met, (round, self.clock.now()));
            }
            Ok(Err(_)) | Err(_) => {}
        }
    }

    pub(crate) fn done(&self, subject: &dyn std::fmt::Display, text: String) {
        (self.progress)(Progress::Done {
            subject: subject.to_string(),
            text,
            milestone: None,
        });
    }
}

fn touched(order: &Order) -> Touched {
    let mut touched = Touched::default();
    touched.orders.insert(order.id.clone());
    touched.certificates.insert(order.certificate.clone());
    touched
}

/// Spent at most on saying who will sign.
const TELLING: std::time::Duration = std::time::Duration::from_secs(3);
