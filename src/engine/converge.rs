//! Plans and executes until nothing can be done any more.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::task::JoinSet;
use tracing::Instrument as _;

use crate::engine::progress::{self, Progress};
use crate::engine::{Engine, EngineError, plan_within_space};
use crate::model::{
    CertificateId, ErrorClass, OrderClosing, OrderEvent, Seconds, Snapshot, StepFailure, TargetId,
    Timestamp,
};
use crate::plan::{Action, Plan, Verdict};
use crate::store::{CertificateChange, Touched};
use crate::sys::systemd;

/// What may be acted upon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Everything in the policy.
    All,
    /// One certificate, and whatever its targets need.
    One(CertificateId),
}

/// How long to wait for what cannot be done yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// In all.
    pub total: Seconds,
}

impl Patience {
    /// Never waits: the daemon comes back by itself.
    pub const NONE: Self = Self { total: Seconds(0) };
}

impl Engine {
    /// Plans and executes until the plan is empty, waiting `patience` at most for what is not ready yet. Answers the
    /// last plan.
    ///
    /// # Errors
    /// When the journal cannot be written, or on a bug. Failures of steps are in the journal and in the plan.
    pub async fn converge(
        self: &Arc<Self>,
        snapshot: &mut Snapshot,
        scope: &Scope,
        patience: Patience,
    ) -> Result<Plan, EngineError> {
        let deadline = self.clock.now() + patience.total;
        let mut idle_rounds = 0;
        loop {
            self.look_at_the_clock(snapshot).await?;
            snapshot.outages = self.issuers.outages();
            let now = self.clock.now();
            let plan = plan_within_space(&self.policy, snapshot, now);
            self.tell_alerts(&plan, snapshot, now).await?;
            let actions: Vec<Action> = plan
                .actions
                .iter()
                .filter(|action| self.in_scope(action, snapshot, scope))
                .cloned()
                .collect();
            if self.stop.load(Ordering::SeqCst) {
                return Ok(plan);
            }
            if actions.is_empty() {
                let Some((until, subject, text)) = self.next_in_scope(&plan, scope, deadline)
                else {
                    return Ok(plan);
                };
                (self.progress)(Progress::Waiting { subject, text });
                self.clock.sleep_until(until).await;
                continue;
            }
            let changed = self.execute(actions, snapshot, now).await?;
            // Every step writes an outcome, so a round without a change can only be a fault; stop instead of spinning.
            idle_rounds = if changed { 0 } else { idle_rounds + 1 };
            if idle_rounds > IDLE_LIMIT {
                return Err(EngineError::Bug(format!(
                    "the plan does not end: {:?}",
                    plan.actions
                )));
            }
        }
    }

    async fn execute(
        self: &Arc<Self>,
        actions: Vec<Action>,
        snapshot: &mut Snapshot,
        now: Timestamp,
    ) -> Result<bool, EngineError> {
        // Steps of one round do not depend on each other: the plan has one action per order, rollout and certificate.
        self.issuers.begin_round();
        let shared = Arc::new(std::mem::take(snapshot));
        let mut tasks = JoinSet::new();
        let mut waiting = actions.into_iter();
        let mut touched = Touched::default();
        let mut failure = None;
        loop {
            while tasks.len() < CONCURRENT_STEPS
                && failure.is_none()
                && !self.stop.load(Ordering::SeqCst)
                && let Some(action) = waiting.next()
            {
                let engine = Arc::clone(self);
                let seen = Arc::clone(&shared);
                let span = progress::span(&action, &seen);
                tasks.spawn(async move { engine.act(action, &seen, now).await }.instrument(span));
            }
            let Some(joined) = tasks.join_next().await else {
                break;
            };
            systemd::alive();
            match joined {
                Ok(Ok(part)) => touched.merge(part),
                Ok(Err(error)) => failure = Some(error),
                Err(error) => failure = Some(EngineError::Bug(error.to_string())),
            }
        }
        *snapshot = Arc::try_unwrap(shared).unwrap_or_else(|still| (*still).clone());
        let changed = self.store.refresh(snapshot, &touched).await?;
        match failure {
            Some(error) => Err(error),
            None => Ok(changed),
        }
    }

    async fn act(
        &self,
        action: Action,
        snapshot: &Snapshot,
        now: Timestamp,
    ) -> Result<Touched, EngineError> {
        match action {
            Action::OpenOrder {
                certificate,
                reason,
                expect,
            } => {
                self.open_order(&certificate, reason, expect.as_ref(), now)
                    .await
            }
            Action::AdvanceOrder { order, step } => match snapshot.orders.get(&order) {
                Some(order) => self.order_step(order, step, snapshot, now).await,
                None => Ok(Touched::default()),
            },
            Action::AbandonOrder { order, message } => match snapshot.orders.get(&order) {
                Some(order) => {
                    let closing = OrderClosing::Abandoned { message };
                    self.record_order(order, OrderEvent::Closed { closing })
                        .await
                }
                None => Ok(Touched::default()),
            },
            Action::RecordOrder { order, event } => match snapshot.orders.get(&order) {
                Some(order) => self.record_order(order, event).await,
                None => Ok(Touched::default()),
            },
            Action::RecordRollout { rollout, event } => match snapshot.rollouts.get(&rollout) {
                Some(rollout) => self.record_rollout(rollout, event).await,
                None => Ok(Touched::default()),
            },
            Action::OpenRollout {
                target,
                revisions,
                reasons,
            } => self.open_rollout(&target, revisions, reasons, now).await,
            Action::AdvanceRollout { rollout, step } => match snapshot.rollouts.get(&rollout) {
                Some(rollout) => self.rollout_step(rollout, step, snapshot, now).await,
                None => Ok(Touched::default()),
            },
            Action::Survey { certificate } => self.survey(&certificate, now).await,
            Action::Observe { target } => self.observe_addresses(&target, now).await,
        }
    }

    /// Asks a follower's account what it offers.
    async fn survey(
        &self,
        certificate: &CertificateId,
        now: Timestamp,
    ) -> Result<Touched, EngineError> {
        let mut touched = Touched::default();
        touched.certificates.insert(certificate.clone());
        let Some(policy) = self.policy.certificates.get(certificate) else {
            return Ok(touched);
        };
        if self.issuers.is_silent(&policy.issuer) {
            return Ok(Touched::default());
        }
        let asked = match self.issuers.get(&policy.issuer) {
            Ok(issuer) => issuer.offer(&policy.names, now).await,
            Err(error) => Err(error),
        };
        match asked {
            Ok(offer) => {
                self.issuers.answered(&policy.issuer);
                if let Some(reference) = &offer.reference {
                    self.done(certificate, format!("the account offers {reference}"));
                }
                self.store
                    .change_certificate(
                        certificate,
                        CertificateChange::Offer {
                            offer,
                            under: policy.digest,
                        },
                    )
                    .await?;
            }
            Err(error) => {
                if error.everybody {
                    let met = (error.class, error.message.clone());
                    self.issuers.failed(&policy.issuer, certificate, met, now);
                }
                if error.class == ErrorClass::Authentication {
                    self.issuers.forget(&policy.issuer);
                }
                (self.progress)(Progress::Failed {
                    subject: certificate.to_string(),
                    text: format!("asking the account failed ({}): {error}", error.class),
                    output: String::new(),
                });
                self.store
                    .change_certificate(
                        certificate,
                        CertificateChange::SurveyFailed(StepFailure {
                            at: now,
                            class: error.class,
                            message: error.message,
                            retry_after: error.retry_after.map(|wait| now + Seconds(wait)),
                            policy: policy.digest,
                        }),
                    )
                    .await?;
            }
        }
        Ok(touched)
    }

    fn in_scope(&self, action: &Action, snapshot: &Snapshot, scope: &Scope) -> bool {
        let Scope::One(wanted) = scope else {
            return true;
        };
        let targets: BTreeSet<&TargetId> = self
            .policy
            .certificates
            .get(wanted)
            .map(|c| c.targets.iter().collect())
            .unwrap_or_default();
        match action {
            Action::OpenOrder { certificate, .. } | Action::Survey { certificate } => {
                certificate == wanted
            }
            // What its targets wait for, so that all go in with one reload, is carried on too.
            Action::AdvanceOrder { order, .. }
            | Action::AbandonOrder { order, .. }
            | Action::RecordOrder { order, .. } => {
                snapshot.orders.get(order).is_some_and(|order| {
                    let of = self.policy.certificates.get(&order.certificate);
                    order.certificate == *wanted
                        || of.is_some_and(|of| of.targets.iter().any(|t| targets.contains(t)))
                })
            }
            Action::OpenRollout { target, .. } | Action::Observe { target } => {
                targets.contains(target)
            }
            Action::AdvanceRollout { rollout, .. } | Action::RecordRollout { rollout, .. } => {
                snapshot
                    .rollouts
                    .get(rollout)
                    .is_some_and(|rollout| targets.contains(&rollout.target))
            }
        }
    }

    /// The first wait of the scope that ends before the deadline.
    pub(super) fn next_in_scope(
        &self,
        plan: &Plan,
        scope: &Scope,
        deadline: Timestamp,
    ) -> Option<(Timestamp, String, String)> {
        plan.verdicts
            .iter()
            .filter(|(id, _)| match scope {
                Scope::All => true,
                Scope::One(wanted) => *id == wanted,
            })
            .filter_map(|(id, verdict)| match verdict {
                Verdict::Wait(waiting) => {
                    Some((waiting.until()?, id.to_string(), waiting.to_string()))
                }
                Verdict::Healthy { .. } | Verdict::Act(_) | Verdict::Blocked(_) => None,
            })
            .filter(|(until, _, _)| *until <= deadline)
            .min()
    }
}

/// Steps carried out at the same time: most wait for the network.
const CONCURRENT_STEPS: usize = 16;

/// Rounds without any change before the loop gives up.
const IDLE_LIMIT: u32 = 3;
