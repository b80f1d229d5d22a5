//! Carries out one step of a rollout: intent in the journal, effect, outcome in the journal.
//!
//! What a step's outcome means is decided by `plan::rollout_machine` and `plan::outcome`; here it is only brought about.

use std::collections::{BTreeMap, BTreeSet};

use crate::deploy::StepError;
use crate::engine::progress::Progress;
use crate::engine::{Engine, EngineError};
use crate::model::{
    CertificateId, Milestone, Probe, Reason, RevisionId, Rollout, RolloutClosing, RolloutEvent,
    RolloutPhase, RolloutStep, Snapshot, TargetId, TargetPolicy, TargetState, Timestamp,
};
use crate::plan::explain::{counted, describe_report};
use crate::plan::rollout_machine::{self, Failed};
use crate::plan::{OnError, Trouble, open, outcome};
use crate::store::{RolloutAdvance, StoreError, Touched};
use crate::sys::crash;

impl Engine {
    /// Opens a rollout of a whole set on a target of the policy.
    pub(crate) async fn open_rollout(
        &self,
        target: &TargetId,
        revisions: BTreeMap<CertificateId, RevisionId>,
        reasons: BTreeMap<CertificateId, Reason>,
        now: Timestamp,
    ) -> Result<Touched, EngineError> {
        let mut touched = Touched::default();
        let Some(policy) = self.policy.targets.get(target) else {
            return Ok(touched);
        };
        touched.targets.insert(target.clone());
        let state = self.target_state(target).await?;
        let generation = self.store.next_generation(target).await?;
        let id = crate::engine::ids::rollout()?;
        let rollout = open::rollout(id, policy, &state, revisions, reasons, generation, now);
        touched.rollouts.insert(rollout.id.clone());
        match self.store.open_rollout(&rollout).await {
            Ok(()) => {}
            // Somebody else opened one since the snapshot: the next tick sees it.
            Err(StoreError::AlreadyOpen(_)) => return Ok(touched),
            Err(error) => return Err(error.into()),
        }
        crash::point("rollout.open.done");
        let names: Vec<String> = rollout
            .reasons
            .iter()
            .map(|(certificate, reason)| format!("{certificate} ({reason})"))
            .collect();
        self.done(target, format!("rollout opened: {}", names.join(", ")));
        Ok(touched)
    }

    /// Carries out one step.
    pub(crate) async fn rollout_step(
        &self,
        rollout: &Rollout,
        step: RolloutStep,
        snapshot: &Snapshot,
        now: Timestamp,
    ) -> Result<Touched, EngineError> {
        self.store.rollout_started(&rollout.id, step, now).await?;
        crash::point(&format!("rollout.{step}.started"));
        let result = match self.policy.targets.get(&rollout.target) {
            _ if step == RolloutStep::Close => {
                self.deployer.close(rollout).await;
                Ok(RolloutEvent::Closed.into())
            }
            Some(target) => self.deployer.step(step, rollout, target, now).await,
            None => Err(StepError::configuration(format!(
                "target {} left the policy while its rollout is open; put it back until the rollout is closed",
                rollout.target
            ))),
        };
        crash::point(&format!("rollout.{step}.effect"));
        match result {
            Ok(done) => {
                self.rollout_outcome(rollout, Some(step), done.event, done.output)
                    .await?;
            }
            Err(error) => self.rollout_failure(rollout, step, error, snapshot).await?,
        }
        crash::point(&format!("rollout.{step}.done"));
        Ok(touched(rollout))
    }

    /// Writes down what follows from what is known; nothing happens outside.
    pub(crate) async fn record_rollout(
        &self,
        rollout: &Rollout,
        event: RolloutEvent,
    ) -> Result<Touched, EngineError> {
        self.rollout_outcome(rollout, None, event, String::new())
            .await?;
        Ok(touched(rollout))
    }

    async fn rollout_failure(
        &self,
        rollout: &Rollout,
        step: RolloutStep,
        error: StepError,
        snapshot: &Snapshot,
    ) -> Result<(), EngineError> {
        let policy = self.policy.targets.get(&rollout.target);
        let failed = Failed {
            step,
            trouble: Trouble {
                class: error.class,
                message: error.message.clone(),
                output: error.output.clone(),
                retry_after: None,
            },
            again: error.retry,
            restorable: error.restorable,
            service_runs: error.service_runs,
            foreign: error.foreign,
            named: error.named,
        };
        let digest = policy.map_or(rollout.policy, |target| target.digest);
        let now = self.clock.now();
        match rollout_machine::on_error(rollout, snapshot, failed, digest, now) {
            OnError::Event(event) => {
                self.rollout_outcome(rollout, Some(step), event, error.output)
                    .await
            }
            OnError::Retry(stored) => {
                self.store
                    .rollout_failed(&rollout.id, step, &stored, &error.output)
                    .await?;
                (self.progress)(Progress::Failed {
                    subject: rollout.target.to_string(),
                    text: format!("{step} failed ({}): {}", error.class, error.message),
                    output: error.output,
                    milestone: None,
                });
                Ok(())
            }
        }
    }

    async fn rollout_outcome(
        &self,
        rollout: &Rollout,
        step: Option<RolloutStep>,
        event: RolloutEvent,
        output: String,
    ) -> Result<(), EngineError> {
        let now = self.clock.now();
        let phase = rollout_machine::after(rollout, &event)
            .map_err(|error| EngineError::Bug(error.to_string()))?;
        let mut after = rollout.clone();
        after.phase = phase;
        if is_given_up(&after.phase) {
            // It has no `Close` of its own, and what it staged holds keys.
            self.deployer.close(rollout).await;
        }
        let state = self.target_state(&rollout.target).await?;
        let target = outcome::target_after(&state, &after, now);
        let message = describe(&event, &after, self.policy.targets.get(&rollout.target));
        let advance = RolloutAdvance {
            id: rollout.id.clone(),
            at: now,
            step,
            event,
            rollout: after,
            message: message.clone(),
            output: output.clone(),
            target,
        };
        self.store.rollout_advanced(&advance).await?;
        let subject = rollout.target.to_string();
        match &advance.event {
            RolloutEvent::Failed { .. } | RolloutEvent::FailureHookEnded { trouble: Some(_) } => {
                (self.progress)(Progress::Failed {
                    subject,
                    text: message,
                    output,
                    milestone: None,
                });
            }
            RolloutEvent::Closed if was_rolled_back(&advance.rollout.phase) => {
                (self.progress)(Progress::Failed {
                    subject,
                    text: message,
                    output: String::new(),
                    milestone: Some(Milestone::RolledBack),
                });
            }
            RolloutEvent::Closed if is_live(&advance.rollout.phase) => {
                (self.progress)(Progress::Done {
                    subject,
                    text: message,
                    milestone: Some(Milestone::Live),
                });
            }
            RolloutEvent::Verified { reports } | RolloutEvent::VerifiedBack { reports, .. } => {
                self.done(&subject, message);
                for report in reports {
                    self.done(&subject, describe_report(report));
                }
            }
            RolloutEvent::Staged
            | RolloutEvent::PreHookPassed
            | RolloutEvent::PostHookPassed
            | RolloutEvent::FailureHookEnded { trouble: None }
            | RolloutEvent::Committed
            | RolloutEvent::Tested
            | RolloutEvent::Reloaded
            | RolloutEvent::Restored
            | RolloutEvent::ReloadedBack { .. }
            | RolloutEvent::Superseded { .. }
            | RolloutEvent::Closed => self.done(&subject, message),
        }
        Ok(())
    }

    pub(crate) async fn target_state(&self, id: &TargetId) -> Result<TargetState, EngineError> {
        let mut part = Snapshot::default();
        let mut touched = Touched::default();
        touched.targets.insert(id.clone());
        self.store.refresh(&mut part, &touched).await?;
        Ok(part.targets.remove(id).unwrap_or_default())
    }
}

fn touched(rollout: &Rollout) -> Touched {
    let mut touched = Touched::default();
    touched.rollouts.insert(rollout.id.clone());
    touched.targets.insert(rollout.target.clone());
    touched
}

fn describe(event: &RolloutEvent, after: &Rollout, policy: Option<&TargetPolicy>) -> String {
    let test = policy.and_then(|target| target.test.as_ref());
    let reload = policy.and_then(|target| target.reload.as_ref());
    match event {
        RolloutEvent::PreHookPassed => "pre hook passed".to_owned(),
        RolloutEvent::PostHookPassed => "post hook passed".to_owned(),
        RolloutEvent::FailureHookEnded { trouble: None } => "on_failure hook passed".to_owned(),
        RolloutEvent::FailureHookEnded {
            trouble: Some(trouble),
        } => format!("{trouble}; this changes nothing, and it is not run again"),
        RolloutEvent::Staged => format!("bundles written to generation {}", after.generation),
        RolloutEvent::Tested => match test {
            Some(argv) => format!("configuration tested ({})", argv.join(" ")),
            None => "no configuration to test: the policy has no `test`".to_owned(),
        },
        RolloutEvent::Reloaded => match reload {
            Some(how) => format!("service reloaded ({how})"),
            None => "nobody to tell: the policy has no `reload`".to_owned(),
        },
        RolloutEvent::Committed => format!("generation {} committed", after.generation),
        RolloutEvent::Verified { reports } if reports.is_empty() => {
            match policy.map(|target| &target.probe) {
                Some(Probe::Tls { .. }) => {
                    "unproven: no certificate has a name that a handshake could ask for".to_owned()
                }
                Some(Probe::None) | None => {
                    "unproven: the policy says `probe = \"none\"`".to_owned()
                }
            }
        }
        RolloutEvent::Verified { reports } => {
            let names: BTreeSet<&str> = reports.iter().map(|report| report.name.as_str()).collect();
            format!("handshake proven for {}", counted(names.len(), "name"))
        }
        RolloutEvent::Failed { cause, .. } => {
            let then = match &after.phase {
                RolloutPhase::Undoing { .. } => "; going back",
                RolloutPhase::AwaitingService { .. } => {
                    "; the files stay, since there is nothing to go back to"
                }
                RolloutPhase::Closed {
                    closing: RolloutClosing::RollbackFailed { .. },
                }
                | RolloutPhase::OnFailure {
                    closing: RolloutClosing::RollbackFailed { .. },
                } => "; the way back failed",
                RolloutPhase::Opened
                | RolloutPhase::Staged
                | RolloutPhase::PreHooks
                | RolloutPhase::Committed
                | RolloutPhase::Tested
                | RolloutPhase::Reloaded
                | RolloutPhase::Verified { .. }
                | RolloutPhase::PostHooks
                | RolloutPhase::OnFailure { .. }
                | RolloutPhase::Closed { .. } => "; nothing was changed",
            };
            format!("{} failed: {}{then}", cause.step, cause.message)
        }
        RolloutEvent::Restored => "files and link are as before".to_owned(),
        RolloutEvent::ReloadedBack { .. } if reload.is_none() => {
            "nobody to tell: the policy has no `reload`".to_owned()
        }
        RolloutEvent::ReloadedBack { refused: true } => {
            "no reload on the way back: the service refuses the old set as well".to_owned()
        }
        RolloutEvent::ReloadedBack { .. } if after.phase.service_was_told() => {
            "service reloaded with the old set".to_owned()
        }
        RolloutEvent::ReloadedBack { .. } => {
            "service was not told of the new set and keeps the old one".to_owned()
        }
        RolloutEvent::VerifiedBack { blind: true, .. } => {
            "the old set is in place, unproven: the probe cannot see it either".to_owned()
        }
        RolloutEvent::VerifiedBack { strange, .. } if !strange.is_empty() => {
            let names: Vec<&str> = strange.keys().map(CertificateId::as_str).collect();
            format!(
                "the old set is served but for {}, which this rollout does not change and which is not served as it should either way",
                names.join(", ")
            )
        }
        RolloutEvent::VerifiedBack { reports, .. } if reports.is_empty() => {
            "the old set is in place, unproven".to_owned()
        }
        RolloutEvent::VerifiedBack { reports, .. } => format!(
            "the old set is served: handshake proven for {}",
            counted(reports.len(), "name")
        ),
        RolloutEvent::Superseded { message } => format!("rollout superseded: {message}"),
        RolloutEvent::Closed => closed(&after.phase),
    }
}

/// Ended on the way, by a failure before the commit or for the sake of another set.
const fn is_given_up(phase: &RolloutPhase) -> bool {
    matches!(
        phase,
        RolloutPhase::Closed {
            closing: RolloutClosing::Abandoned { .. } | RolloutClosing::Superseded { .. }
        }
    )
}

const fn is_live(phase: &RolloutPhase) -> bool {
    matches!(
        phase,
        RolloutPhase::Closed {
            closing: RolloutClosing::Live
        }
    )
}

const fn was_rolled_back(phase: &RolloutPhase) -> bool {
    matches!(
        phase,
        RolloutPhase::Closed {
            closing: RolloutClosing::RolledBack { .. }
        } | RolloutPhase::OnFailure {
            closing: RolloutClosing::RolledBack { .. }
        }
    )
}

fn closed(phase: &RolloutPhase) -> String {
    let (RolloutPhase::Closed { closing } | RolloutPhase::OnFailure { closing }) = phase else {
        return phase.code().to_owned();
    };
    match closing {
        RolloutClosing::Live => "rollout is live".to_owned(),
        RolloutClosing::RolledBack { cause } => {
            format!(
                "rolled back, because {} failed: {}",
                cause.step, cause.message
            )
        }
        RolloutClosing::RollbackFailed { undo, .. } => {
            format!("rollback failed at {}: {}", undo.step, undo.message)
        }
        RolloutClosing::Abandoned { cause } => {
            format!(
                "abandoned, because {} failed: {}",
                cause.step, cause.message
            )
        }
        RolloutClosing::Superseded { message, .. } => format!("superseded: {message}"),
    }
}
