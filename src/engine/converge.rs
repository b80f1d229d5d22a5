//! Plans and executes until nothing can be done any more.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::engine::progress::Progress;
use crate::engine::steps::{self, Queues, Steps};
use crate::engine::watchdog::longest_step;
use crate::engine::{Engine, EngineError};
use crate::model::{
    CertificateId, ErrorClass, OrderClosing, OrderEvent, Seconds, Snapshot, StepFailure, TargetId,
    Timestamp,
};
use crate::plan::{Action, Plan, Tending, Verdict};
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
        let mut steps = Steps::default();
        let course = self.rounds(snapshot, scope, patience, &mut steps, None);
        let result = course.await;
        // Whatever ended the rounds, what is under way is ended and written down.
        let mut touched = Touched::default();
        let mut failure = None;
        while let Some(ended) = steps.next().await {
            match ended {
                Ok(part) => touched.merge(part),
                Err(error) => failure = Some(error),
            }
        }
        let plan = result?;
        self.store.refresh(snapshot, &touched).await?;
        failure.map_or(Ok(plan), Err)
    }

    /// The same for the daemon, which comes back by itself: beside steps of earlier ticks, and without waiting for any
    /// when it is called. Those go on.
    ///
    /// # Errors
    /// As [`Engine::converge`].
    pub(super) async fn go_on(
        self: &Arc<Self>,
        snapshot: &mut Snapshot,
        steps: &mut Steps,
        course: Course<'_>,
    ) -> Result<Plan, EngineError> {
        self.rounds(snapshot, &Scope::All, Patience::NONE, steps, Some(course))
            .await
    }

    /// Whether anything about the scope is under way or can be begun.
    pub(super) fn is_at_work(
        &self,
        plan: &Plan,
        snapshot: &Snapshot,
        scope: &Scope,
        steps: &Steps,
    ) -> bool {
        let mut actions = plan.actions.iter();
        if actions.any(|action| self.in_scope(action, snapshot, scope)) {
            return true;
        }
        let Scope::One(wanted) = scope else {
            return !steps.is_empty();
        };
        let busy = steps.busy();
        let Some(policy) = self.policy.certificates.get(wanted) else {
            return busy.certificates.contains(wanted);
        };
        busy.has_to_do_with(wanted, self)
            || busy.certificates.iter().any(|other| {
                let other = self.policy.certificates.get(other);
                other.is_some_and(|other| !other.targets.is_disjoint(&policy.targets))
            })
    }

    async fn rounds(
        self: &Arc<Self>,
        snapshot: &mut Snapshot,
        scope: &Scope,
        patience: Patience,
        steps: &mut Steps,
        course: Option<Course<'_>>,
    ) -> Result<Plan, EngineError> {
        let since = Instant::now();
        let mut idle_rounds = 0;
        let mut first = true;
        loop {
            let begun = Instant::now();
            self.look_at_the_clock(snapshot).await?;
            snapshot.outages = self.issuers.outages();
            let now = self.clock.now();
            let plan = self.plan_within_space(snapshot, &steps.busy(), now).await?;
            self.tell_alerts(&plan, snapshot, now).await?;
            let mut queues = Queues::default();
            let mut nothing = true;
            for action in &plan.actions {
                let (subject, lane) = steps::about(action, snapshot, &self.policy);
                if self.in_scope(action, snapshot, scope) && !steps.is_busy(&subject) {
                    queues.push(lane, subject, action.clone());
                    nothing = false;
                }
            }
            // One round in any case: whoever calls all the time holds nothing up.
            let called = !first && course.is_some_and(|course| course.call.is_rung());
            if called || self.stop.load(Ordering::SeqCst) {
                return Ok(plan);
            }
            // What can be said now is not to wait for the steps under way.
            let said = course.is_some_and(|course| match course.awaited {
                Awaited::No => false,
                Awaited::Yes => !first,
                Awaited::AtOnce => true,
            });
            if nothing && said {
                return Ok(plan);
            }
            first = false;
            if nothing && steps.is_empty() {
                // Not by the clock on the wall, which may be set meanwhile: then waits would end before a deadline of another time.
                let left = patience.total.to_std().saturating_sub(since.elapsed());
                if left.is_zero() {
                    return Ok(plan);
                }
                let deadline = self.clock.now() + Seconds::of(left);
                let Some((until, subject, text)) = self.next_in_scope(&plan, scope, deadline)
                else {
                    return Ok(plan);
                };
                (self.progress)(Progress::Waiting { subject, text });
                let _ = tokio::time::timeout(left, self.clock.sleep_until(until)).await;
                continue;
            }
            let round = Round {
                now,
                ends: begun + GRACE.max(begun.elapsed() * PLANNING_SHARE),
                next_plan: plan.next_wake,
            };
            let call = course.map(|course| course.call);
            let (touched, ended) = self.round(queues, snapshot, round, steps, call).await?;
            let changed = self.store.refresh(snapshot, &touched).await?;
            // Every step of a plan writes an outcome, so a round of them without a change can only be a fault; stop instead of
            // spinning. A look at a service may find nothing.
            idle_rounds = if changed || !ended || nothing {
                0
            } else {
                idle_rounds + 1
            };
            if idle_rounds > IDLE_LIMIT {
                return Err(EngineError::Bug(format!(
                    "the plan does not end: {:?}",
                    plan.actions
                )));
            }
        }
    }

    /// Begins all that is to do, and waits for what of it ends soon. Answers what that changed, and whether anything
    /// ended at all.
    async fn round(
        self: &Arc<Self>,
        mut queues: Queues,
        snapshot: &mut Snapshot,
        round: Round,
        steps: &mut Steps,
        call: Option<&Call>,
    ) -> Result<(Touched, bool), EngineError> {
        // Steps do not depend on each other: there is one at a time about each order, rollout and certificate.
        self.issuers.begin_round();
        steps.grow_old();
        let shared = Arc::new(std::mem::take(snapshot));
        let longest = longest_step(&self.policy);
        let mut touched = Touched::default();
        let mut ended = false;
        let mut failure = None;
        loop {
            if failure.is_none() && !self.stop.load(Ordering::SeqCst) {
                steps.fill(self, &mut queues, &shared, round.now);
            }
            if ended && !steps.has_fresh() {
                break;
            }
            let part = tokio::select! {
                part = steps.next() => part,
                () = tokio::time::sleep_until(round.ends), if ended => break,
                () = self.clock.sleep_until(round.next_plan) => break,
                () = rung(call) => break,
            };
            let Some(part) = part else {
                break;
            };
            ended = true;
            // One that does not keep its limit is not spoken for by those that do.
            if steps.oldest() <= longest {
                systemd::alive();
            }
            match part {
                Ok(part) => touched.merge(part),
                Err(error) => failure = Some(error),
            }
        }
        *snapshot = Arc::try_unwrap(shared).unwrap_or_else(|still| (*still).clone());
        match failure {
            Some(error) => Err(error),
            None => Ok((touched, ended)),
        }
    }

    pub(super) async fn act(
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
            Action::Tend { certificate, task } => match task {
                Tending::Revoke(revision) => self.revoke(&certificate, &revision, now).await,
                Tending::Push(push) => self.push(&certificate, &push, now).await,
                Tending::TakeBack(late) => self.take_back(&certificate, &late, now).await,
            },
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
        let round = self.issuers.round();
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
                    self.issuers
                        .failed(&policy.issuer, certificate, met, (round, now));
                }
                if error.class == ErrorClass::Authentication {
                    self.issuers.forget(&policy.issuer);
                }
                (self.progress)(Progress::Failed {
                    subject: certificate.to_string(),
                    text: format!("asking the account failed ({}): {error}", error.class),
                    output: String::new(),
                    milestone: None,
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
            Action::OpenOrder { certificate, .. }
            | Action::Survey { certificate }
            | Action::Tend { certificate, .. } => certificate == wanted,
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

/// When a tick of the daemon comes back.
#[derive(Debug, Clone, Copy)]
pub(super) struct Course<'a> {
    pub(super) call: &'a Call,
    pub(super) awaited: Awaited,
}

/// Whether somebody waits to hear what becomes of a tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Awaited {
    /// Nobody.
    No,
    /// When anything has changed.
    Yes,
    /// When all that can be begun is begun: something was asked for in this very tick, or a job is run.
    AtOnce,
}

/// Has a tick come back although steps are under way.
#[derive(Debug, Default)]
pub(super) struct Call {
    is_rung: AtomicBool,
    rings: Notify,
}

impl Call {
    pub(super) fn ring(&self) {
        self.is_rung.store(true, Ordering::SeqCst);
        self.rings.notify_one();
    }

    pub(super) fn is_rung(&self) -> bool {
        self.is_rung.load(Ordering::SeqCst)
    }
}

/// Nobody calls a command.
async fn rung(call: Option<&Call>) {
    let Some(call) = call else {
        return std::future::pending().await;
    };
    while !call.is_rung() {
        call.rings.notified().await;
    }
}

/// The moments of a round.
#[derive(Debug, Clone, Copy)]
struct Round {
    /// Of its plan.
    now: Timestamp,
    /// Who is not ready by then goes on beside the next round, if anybody is.
    ends: Instant,
    /// Something else is due.
    next_plan: Timestamp,
}

/// Commands and calls that do not hang take less; the next plan waits no longer for those that do.
const GRACE: Duration = Duration::from_millis(250);

/// A plan over many certificates takes long itself: no more than a tenth of the time is for planning.
const PLANNING_SHARE: u32 = 10;

/// Rounds without any change before the loop gives up.
const IDLE_LIMIT: u32 = 3;
