//! The way back of a rollout: what was there is put into place again, told, and asked for.

use std::collections::{BTreeMap, BTreeSet};

use crate::deploy::deployer::Job;
use crate::deploy::{StepDone, StepError, commit, prove, service, told};
use crate::model::{CertificateId, Probe, ProbeReport, RolloutEvent};
use crate::sys::crash;

impl Job {
    pub(super) async fn restore(&self) -> Result<StepDone, StepError> {
        let back = self
            .on_disk(|site, job| commit::restore(site, job.now))
            .await?;
        Ok(StepDone {
            event: RolloutEvent::Restored,
            output: self.left_behind(back.failed.as_ref()),
        })
    }

    /// The others go all the way back before it counts that one could not; it counts in the end, see [`Self::verify_back`].
    fn left_behind(&self, failed: Option<&StepError>) -> String {
        failed.map_or_else(String::new, |error| {
            tracing::error!(rollout = %self.rollout.id, %error, "not everything went back; the others go on");
            format!("not everything went back: {error}")
        })
    }

    /// The service was told of the new set only if the failure came after its test. Before that, a reload could do
    /// harm (with a configuration that is broken for another reason some servers end), so it must pass its test first.
    pub(super) async fn reload_back(&self) -> Result<StepDone, StepError> {
        let back = self
            .on_disk(|site, job| commit::restore(site, job.now))
            .await?;
        self.left_behind(back.failed.as_ref());
        let runner = self.deployer.runner();
        let done = |output| StepDone {
            event: RolloutEvent::ReloadedBack { refused: false },
            output,
        };
        if !self.deployer.has_previous(&self.rollout, self.now) {
            return Ok(done(String::new()));
        }
        let told = self.rollout.phase.service_was_told();
        let fragile = self.target.kind.is_fragile();
        // What was ended by a restart is started by the next one; else nobody is started who does not run.
        let may_have_ended_it = told && self.target.restart.is_some();
        if !may_have_ended_it
            && self.needs_telling()
            && let Err(error) = self.somebody_to_tell().await
            && !error.service_runs
        {
            return Ok(self.reload_back_failed(error));
        }
        let fit = if fragile {
            self.fit_to_reload().await
        } else if told {
            Ok(())
        } else {
            service::test(runner, &self.target).await.map(drop)
        };
        match (fit, &self.target.probe) {
            (Ok(()), _) => {}
            (Err(error), Probe::None) if told => return Err(error),
            (Err(error), Probe::None | Probe::Tls { .. }) => {
                return Ok(self.reload_back_failed(error));
            }
        }
        match (self.tell().await, &self.target.probe) {
            (Ok(output), _) => Ok(done(output)),
            // What is served decides, not what a command says; and who was not told needs no reload.
            (Err(error), Probe::Tls { .. }) => Ok(self.reload_back_failed(error)),
            (Err(error), Probe::None) if !told => Ok(self.reload_back_failed(error)),
            (Err(error), Probe::None) => Err(error),
        }
    }

    fn reload_back_failed(&self, error: StepError) -> StepDone {
        tracing::warn!(rollout = %self.rollout.id, %error, "no reload on the way back");
        StepDone {
            event: RolloutEvent::ReloadedBack { refused: true },
            output: error.output,
        }
    }

    /// Also the last attempt to put back what could not be: without it the way back has failed, whatever is served.
    pub(super) async fn verify_back(&self) -> Result<StepDone, StepError> {
        let (left, owed) = self
            .on_disk(|site, job| Ok((commit::not_back(site, job.now)?, told::is_owed(site))))
            .await?;
        // A service reads some time after it was told. An attempt of which only the key succeeds makes a pair of two halves for
        // a moment, and who reads that refuses the others too; so it waits until they are served.
        let before = match left.is_empty() {
            true => None,
            false => Some(self.serves_the_former(left.clone()).await),
        };
        let back = self
            .on_disk(|site, job| {
                told::owe(site);
                commit::restore(site, job.now)
            })
            .await?;
        crash::point("rollout.verify-back.restored");
        let tells = back.changed || owed;
        if tells {
            // It came back after the service was told.
            self.reload_back().await?;
        }
        self.on_disk(|site, _| {
            told::settle(site);
            Ok(())
        })
        .await?;
        let stays = back.failed.iter().flat_map(|error| error.named.clone());
        let stays: BTreeSet<CertificateId> = stays.collect();
        let seen = match before {
            Some(seen) if !tells && stays == left => seen,
            _ => self.serves_the_former(stays).await,
        };
        match (seen, back.failed) {
            (seen, None) => seen,
            (Ok(_), Some(failed)) => Err(failed),
            (Err(unproven), Some(failed)) => Err(failed.and(unproven)),
        }
    }

    /// Of members other than these.
    async fn serves_the_former(
        &self,
        stays: BTreeSet<CertificateId>,
    ) -> Result<StepDone, StepError> {
        let Probe::Tls {
            connect,
            deadline,
            wildcard_label,
            prelude,
            ..
        } = self.target.probe.clone()
        else {
            return Ok(verified_back(Vec::new()));
        };
        let questions = self
            .on_disk(move |site, job| Ok(prove::backward(site, &wildcard_label, stays, job.now)))
            .await?;
        let seen = prove::ask(&connect, prelude, deadline, questions).await;
        let was_absent = match &seen {
            Ok(_) => false,
            Err(unproven) => self.was_absent(unproven).await?,
        };
        match seen {
            Ok(reports) => Ok(verified_back(reports)),
            // What could be asked is as before, and nothing of it is at the other listeners, as before too.
            Err(unproven) if was_absent && !unproven.reports.is_empty() => {
                tracing::warn!(rollout = %self.rollout.id, error = %unproven.error, "a listener was not there before either");
                Ok(verified_back(unproven.reports))
            }
            // Nothing of this target can be seen, so nothing says that the way back failed: it was gone to its end.
            Err(unproven) if unproven.error.foreign && self.rollout.phase.suspects_the_probe() => {
                tracing::warn!(rollout = %self.rollout.id, error = %unproven.error, "the probe is at fault");
                Ok(StepDone {
                    event: RolloutEvent::VerifiedBack {
                        reports: Vec::new(),
                        blind: true,
                        strange: BTreeMap::new(),
                    },
                    output: unproven.error.message,
                })
            }
            // It was not told of the new set and does not run: there is nobody to whom anything changed.
            Err(unproven) if unproven.nobody() && !self.rollout.phase.service_was_told() => {
                tracing::warn!(rollout = %self.rollout.id, error = %unproven.error, "the service does not run");
                Ok(verified_back(Vec::new()))
            }
            // Whoever answered, answered with what was there before.
            Err(unproven) if self.rollout.is_innocent_of(&unproven.error.named) => {
                tracing::warn!(rollout = %self.rollout.id, error = %unproven.error, "the set before is served but for names that this rollout does not change");
                let StepError {
                    named,
                    message,
                    output,
                    ..
                } = unproven.error;
                let strange = named.into_iter().map(|id| (id, message.clone()));
                Ok(StepDone {
                    event: RolloutEvent::VerifiedBack {
                        reports: Vec::new(),
                        blind: false,
                        strange: strange.collect(),
                    },
                    output,
                })
            }
            Err(unproven) => Err(unproven.error),
        }
    }
}

fn verified_back(reports: Vec<ProbeReport>) -> StepDone {
    RolloutEvent::VerifiedBack {
        reports,
        blind: false,
        strange: BTreeMap::new(),
    }
    .into()
}
