//! Looks at a target as a rollout would, and changes nothing: the live set, its files, the service's own test, the probe.

use std::collections::{BTreeMap, BTreeSet};

use crate::deploy::deployer::Deployer;
use crate::deploy::layout::Layout;
use crate::deploy::prove::{Chains, Trust};
use crate::deploy::{StepError, manifest, places, preflight, prove, readers, service, stage};
use crate::model::{
    CertificateId, ErrorClass, Failures, HookSteps, Probe, RevisionId, Rollout, RolloutId,
    RolloutPhase, SightKind, TargetPolicy, TargetState, Timestamp,
};

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Examined {
    /// `preflight`, `files`, `test`, `probe` or `observed`.
    pub what: &'static str,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// As it should be, in words.
    Good(String),
    /// There was nothing to look at, and why.
    Skipped(String),
    /// Not as it should be.
    Bad(StepError),
}

impl Outcome {
    fn of(result: Result<String, StepError>) -> Self {
        result.map_or_else(Self::Bad, Self::Good)
    }
}

impl Deployer {
    /// Everything that can be looked at without changing anything. `state` is what the journal knows of the target;
    /// `newest` are the newest revisions of its certificates, which are looked at where nothing is live yet.
    pub async fn examine(
        &self,
        target: &TargetPolicy,
        state: &TargetState,
        newest: &BTreeMap<CertificateId, RevisionId>,
        now: Timestamp,
    ) -> Vec<Examined> {
        let skipped = || Outcome::Skipped("nothing is live yet".to_owned());
        let (preflight, files) = if !state.live.is_empty() {
            self.on_disk_now(target, state, now).await
        } else if newest.is_empty() {
            (skipped(), skipped())
        } else {
            (self.stored_now(target, newest, now).await, skipped())
        };
        let test = match &target.test {
            None => Outcome::Skipped("the policy has no command for it".to_owned()),
            Some(argv) => Outcome::of(
                service::test(self.runner(), target)
                    .await
                    .map(|_| argv.join(" ")),
            ),
        };
        let probe = self.probe_now(target, state, now).await;
        let mut all = vec![
            ("preflight", preflight),
            ("files", files),
            ("test", test),
            ("probe", probe),
        ];
        if !target.observe.is_empty() && !state.live.is_empty() {
            all.push(("observed", self.observe_now(target, state, now).await));
        }
        let all = all.into_iter();
        all.map(|(what, outcome)| Examined { what, outcome })
            .collect()
    }

    /// Whether what is stored could go in: what a rollout asks before it writes anything, and of all of them.
    async fn stored_now(
        &self,
        target: &TargetPolicy,
        newest: &BTreeMap<CertificateId, RevisionId>,
        now: Timestamp,
    ) -> Outcome {
        let set = TargetState {
            live: newest.clone(),
            ..TargetState::default()
        };
        let rollout = match self.as_if_rolled_out(target, &set) {
            Ok(mut rollout) => {
                rollout.previous.clear();
                rollout
            }
            Err(error) => return Outcome::Bad(error),
        };
        let (deployer, target) = (self.clone(), target.clone());
        let looked = tokio::task::spawn_blocking(move || {
            let site = deployer.site(&rollout, &target.exports);
            stage::members(&site, &target, None, now)?;
            let count = match rollout.revisions.len() {
                1 => "1 certificate is".to_owned(),
                many => format!("{many} certificates are"),
            };
            Ok(format!(
                "{count} stored and fit to be served; nothing is live yet"
            ))
        });
        Outcome::of(
            looked
                .await
                .unwrap_or_else(|error| Err(StepError::new(ErrorClass::Bug, error.to_string()))),
        )
    }

    async fn on_disk_now(
        &self,
        target: &TargetPolicy,
        state: &TargetState,
        now: Timestamp,
    ) -> (Outcome, Outcome) {
        let (deployer, target, state) = (self.clone(), target.clone(), state.clone());
        let looked = tokio::task::spawn_blocking(move || {
            let fit = state.live.iter().try_for_each(|(certificate, revision)| {
                preflight::load(deployer.materials(), certificate, revision)
                    .and_then(|material| preflight::check(&material, certificate, revision, now))
            });
            let layout = Layout::new(deployer.state_dir(), &target.id);
            let manifest = manifest::live(&layout);
            let fit = fit.and_then(|()| match &manifest {
                Some(manifest) => {
                    readers::of_live(&layout.generation(manifest.generation), manifest)
                }
                None => Ok(()),
            });
            let fit =
                fit.map(|()| format!("{} certificates are fit to be served", state.live.len()));
            let look = deployer.look(&layout, &target.exports, now);
            let drift = state
                .generation
                .and_then(|generation| look.at(generation, false));
            let files = match drift {
                Some(drift) => Err(StepError::configuration(drift.to_string())),
                None => places::check_pairs(&layout, &target, state.live.keys())
                    .map(|()| "as they were committed".to_owned()),
            };
            (Outcome::of(fit), Outcome::of(files))
        })
        .await;
        looked.unwrap_or_else(|error| {
            let bug = || Outcome::Bad(StepError::new(ErrorClass::Bug, error.to_string()));
            (bug(), bug())
        })
    }

    /// What is seen elsewhere is no failure of this target.
    async fn observe_now(
        &self,
        target: &TargetPolicy,
        state: &TargetState,
        now: Timestamp,
    ) -> Outcome {
        let observed = self.observe(target, state, now).await;
        let other = observed
            .sights
            .iter()
            .filter(|sight| sight.kind != SightKind::Same);
        let mut lines: Vec<String> = other.map(|sight| sight.detail.clone()).collect();
        if observed.left > 0 {
            lines.push(format!("{} more were not looked at", observed.left));
        }
        if lines.is_empty() {
            let text = "all other addresses serve what is live";
            return Outcome::Good(format!("{text} ({})", observed.sights.len()));
        }
        Outcome::Skipped(lines.join("\n"))
    }

    async fn probe_now(
        &self,
        target: &TargetPolicy,
        state: &TargetState,
        now: Timestamp,
    ) -> Outcome {
        let Probe::Tls {
            connect,
            deadline,
            roots,
            wildcard_label,
            prelude,
        } = target.probe.clone()
        else {
            return Outcome::Skipped("the policy says `probe = \"none\"`".to_owned());
        };
        if state.live.is_empty() {
            return match prove::somebody_listens(&connect).await {
                Ok(connect) => match prove::speaks(&connect, prelude, deadline).await {
                    Ok(()) => Outcome::Skipped(format!(
                        "somebody listens at {connect}, and nothing is live yet"
                    )),
                    Err(error) => Outcome::Bad(error),
                },
                Err(error) => Outcome::Bad(error),
            };
        }
        let live = match self.as_if_rolled_out(target, state) {
            Ok(live) => live,
            Err(error) => return Outcome::Bad(error),
        };
        let (deployer, target) = (self.clone(), target.clone());
        let questions = tokio::task::spawn_blocking(move || {
            let trust = roots.as_ref().map(Trust::of).transpose()?;
            let site = deployer.site(&live, &target.exports);
            prove::forward(&site, &target, &wildcard_label, Chains::All(trust), now)
        })
        .await
        .unwrap_or_else(|error| Err(StepError::new(ErrorClass::Bug, error.to_string())));
        let questions = match questions {
            Ok(questions) => questions,
            Err(error) => return Outcome::Bad(error),
        };
        // What is live was proven before: one round has to do.
        match prove::ask_once(&connect, prelude, deadline, questions).await {
            Ok(reports) => Outcome::Good(format!(
                "{connect} serves what is live for {} names",
                prove::names(&reports)
            )),
            Err(unproven) => Outcome::Bad(unproven.error),
        }
    }

    /// The live set as the rollout that brought it.
    pub(super) fn as_if_rolled_out(
        &self,
        target: &TargetPolicy,
        state: &TargetState,
    ) -> Result<Rollout, StepError> {
        let id = RolloutId::new("examined")
            .map_err(|error| StepError::new(ErrorClass::Bug, error.to_string()))?;
        Ok(Rollout {
            id,
            target: target.id.clone(),
            reasons: BTreeMap::new(),
            revisions: state.live.clone(),
            previous: state.live.clone(),
            generation: state.generation.unwrap_or_default(),
            previous_generation: None,
            policy: target.digest,
            hooks: HookSteps::default(),
            overwrite: BTreeSet::new(),
            strange: BTreeSet::new(),
            wary: false,
            opened_at: Timestamp(0),
            phase: RolloutPhase::Reloaded,
            started: None,
            failures: Failures::default(),
        })
    }
}
