//! The steps of a rollout, behind one door.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::deploy::keystores::Keystores;
use crate::deploy::layout::Layout;
use crate::deploy::manifest::{Manifest, Saved};
use crate::deploy::observe::{Resolver, SystemResolver};
use crate::deploy::prove::{Chains, Trust, Unproven};
use crate::deploy::selinux::{self, Selinux};
use crate::deploy::site::Site;
use crate::deploy::{
    Materials, StepDone, StepError, commit, drift, hooks, places, prove, prune, service, stage,
    told,
};
use crate::model::{
    CertificateId, Drift, ErrorClass, ExportSpec, Hook, Listeners, Probe, RevisionId, Rollout,
    RolloutEvent, RolloutStep, SecretRef, SubjectAltNames, TargetPolicy, Timestamp,
};
use crate::pki::Secret;
use crate::sys::error_chain;
use crate::sys::process::Runner;

/// Reads a secret that the policy refers to.
pub type SecretResolver = Arc<dyn Fn(&SecretRef) -> Result<Secret, String> + Send + Sync>;

/// Carries out the steps of rollouts in one state directory. Cheap to clone.
#[derive(Clone)]
pub struct Deployer {
    state_dir: PathBuf,
    materials: Materials,
    /// Of the host, where it is looked at.
    root: PathBuf,
    runner: Arc<dyn Runner>,
    resolve: SecretResolver,
    names: Arc<BTreeMap<CertificateId, SubjectAltNames>>,
    resolver: Arc<dyn Resolver>,
}

impl Deployer {
    /// Over this state directory, which exists; `runner` starts tests and reloads, `resolve` gives passwords.
    #[must_use]
    pub fn new(state_dir: PathBuf, runner: Arc<dyn Runner>, resolve: SecretResolver) -> Self {
        Self {
            materials: Materials::new(state_dir.clone()),
            state_dir,
            root: PathBuf::from("/"),
            runner,
            resolve,
            names: Arc::default(),
            resolver: Arc::new(SystemResolver),
        }
    }

    /// Finds the addresses of names by this; without it by the system.
    #[must_use]
    pub fn resolving_by(mut self, resolver: Arc<dyn Resolver>) -> Self {
        self.resolver = resolver;
        self
    }

    /// Asks services for these names of a certificate, which are those of the policy. A certificate often has more, such
    /// as a follower's wildcard or what the issuer added, that this host does not serve.
    #[must_use]
    pub fn asking_for(mut self, names: BTreeMap<CertificateId, SubjectAltNames>) -> Self {
        self.names = Arc::new(names);
        self
    }

    /// Looks at the host below another directory than `/`, to find whether SELinux is on.
    #[must_use]
    pub fn on_host(mut self, root: PathBuf) -> Self {
        self.root = root;
        self
    }

    /// Keys and revisions.
    #[must_use]
    pub const fn materials(&self) -> &Materials {
        &self.materials
    }

    /// Carries out one step, or finds that it was carried out already, or completes what a crash left half-done.
    ///
    /// # Errors
    /// [`StepError`] says whether the step is worth repeating and whether there is something to return to.
    pub async fn step(
        &self,
        step: RolloutStep,
        rollout: &Rollout,
        target: &TargetPolicy,
        now: Timestamp,
    ) -> Result<StepDone, StepError> {
        let job = Job {
            deployer: self.clone(),
            rollout: rollout.clone(),
            target: target.clone(),
            now,
        };
        let done = match step {
            RolloutStep::Stage => job.stage().await,
            RolloutStep::Commit => job.commit().await,
            RolloutStep::Test => job.test().await,
            RolloutStep::Reload => job.reload().await,
            RolloutStep::Verify => job.verify().await,
            RolloutStep::PreHook => job.hook(Hook::Pre, RolloutEvent::PreHookPassed).await,
            RolloutStep::PostHook => job.hook(Hook::Post, RolloutEvent::PostHookPassed).await,
            RolloutStep::FailureHook => {
                let ended = RolloutEvent::FailureHookEnded { trouble: None };
                job.hook(Hook::OnFailure, ended).await
            }
            RolloutStep::Restore => job.restore().await,
            RolloutStep::ReloadBack => job.reload_back().await,
            RolloutStep::VerifyBack => job.verify_back().await,
            RolloutStep::Close => {
                self.close(rollout).await;
                Ok(RolloutEvent::Closed.into())
            }
        };
        done.map_err(|error| StepError {
            restorable: error.restorable && self.has_previous(rollout, now),
            ..error
        })
    }

    /// Puts away what a rollout leaves: temporary files and generations that nobody needs any more. Needs no policy,
    /// since the target may have left it; what cannot be removed is logged, and the next rollout tries again.
    pub async fn close(&self, rollout: &Rollout) {
        let (deployer, owned) = (self.clone(), rollout.clone());
        let pruned = on_disk(move || prune::close(&deployer.site(&owned, &[]))).await;
        if let Err(error) = pruned {
            tracing::warn!(rollout = %rollout.id, %error, "old generations could not be removed");
        }
    }

    /// Whether there is something worth returning to: a previous generation or originals of loose files that were
    /// saved, and of the certificates that would be served again not every one has expired.
    #[must_use]
    pub fn has_previous(&self, rollout: &Rollout, now: Timestamp) -> bool {
        let site = self.site(rollout, &[]);
        let saved = Saved::read(&site.generation()).ok().flatten();
        let former = rollout.previous_generation;
        let former = former.and_then(|number| Manifest::read(&site.layout.generation(number)));
        let there = former.is_some() || saved.is_some_and(|saved| saved.has_original());
        there && !prove::former_expired(&site, now)
    }

    /// What of a target is not as this generation was committed. Cheap: content is read only where the file system says
    /// that it was touched. `beat` hears of each file.
    #[must_use]
    pub fn drift(
        &self,
        target: &TargetPolicy,
        generation: u64,
        now: Timestamp,
        beat: &dyn Fn(),
    ) -> Option<Drift> {
        let layout = Layout::new(&self.state_dir, &target.id);
        let look = self.look(&layout, &target.exports, now);
        drift::Look { beat, ..look }.at(generation, true)
    }

    pub(super) fn look<'a>(
        &'a self,
        layout: &'a Layout,
        exports: &'a [ExportSpec],
        now: Timestamp,
    ) -> drift::Look<'a> {
        drift::Look {
            layout,
            materials: &self.materials,
            names: &self.names,
            keystores: Keystores {
                layout,
                resolve: &self.resolve,
                exports,
            },
            now,
            beat: &|| {},
        }
    }

    /// Whether a target has this very set already, by this policy and unchanged: then a rollout would do nothing.
    #[must_use]
    pub fn is_current(
        &self,
        target: &TargetPolicy,
        revisions: &BTreeMap<CertificateId, RevisionId>,
    ) -> bool {
        let layout = Layout::new(&self.state_dir, &target.id);
        drift::is_current(&layout, target.digest, revisions)
    }

    /// Of the policy.
    pub(super) fn names(&self, certificate: &CertificateId) -> Option<&SubjectAltNames> {
        self.names.get(certificate)
    }

    pub(super) fn runner(&self) -> &dyn Runner {
        &*self.runner
    }

    pub(super) fn resolver(&self) -> &Arc<dyn Resolver> {
        &self.resolver
    }

    pub(super) fn state_dir(&self) -> &Path {
        &self.state_dir
    }

    /// `exports` are those of the target; without them no keystore there can be opened.
    pub(super) fn site<'a>(&'a self, rollout: &'a Rollout, exports: &'a [ExportSpec]) -> Site<'a> {
        Site {
            rollout,
            exports,
            layout: Layout::new(&self.state_dir, &rollout.target),
            materials: &self.materials,
            resolve: &self.resolve,
            selinux: Selinux::of(&self.root),
            names: &self.names,
        }
    }
}

/// One step's arguments, owned, so that they can go to a blocking thread.
#[derive(Clone)]
pub(super) struct Job {
    pub(super) deployer: Deployer,
    pub(super) rollout: Rollout,
    pub(super) target: TargetPolicy,
    pub(super) now: Timestamp,
}

impl Job {
    async fn stage(&self) -> Result<StepDone, StepError> {
        if self.rollout.wary {
            self.accepts_what_is_there().await?;
        }
        self.on_disk(|site, job| stage::run(site, &job.target, job.now).map(drop))
            .await?;
        Ok(RolloutEvent::Staged.into())
    }

    /// After a way back that failed. A service that refuses what it has will refuse anything, and what could be seen of
    /// the next way back would be worth no more; unless what it has is not the whole former set, or nothing of that is
    /// valid: whatever goes in is better, and tested before anybody is told.
    async fn accepts_what_is_there(&self) -> Result<(), StepError> {
        let Err(error) = service::test(&*self.deployer.runner, &self.target).await else {
            return Ok(());
        };
        let whole = self
            .on_disk(|site, job| {
                let look = job.deployer.look(&site.layout, site.exports, job.now);
                let former = site.rollout.previous_generation;
                Ok(former.is_some_and(|number| look.at(number, false).is_none()))
            })
            .await?;
        if !whole || !self.deployer.has_previous(&self.rollout, self.now) {
            tracing::warn!(rollout = %self.rollout.id, %error, "the service refuses what is there, which is no whole set");
            return Ok(());
        }
        let message = format!(
            "the service refuses what it has, so nothing else is put into place: {}",
            error.message
        );
        Err(StepError {
            message,
            retry: false,
            ..error
        })
    }

    async fn commit(&self) -> Result<StepDone, StepError> {
        self.on_disk(|site, job| {
            // Somebody removed it; but once something was saved it must not be written anew, or what was saved is lost.
            if site.manifest().is_none() && Saved::read(&site.generation())?.is_none() {
                stage::run(site, &job.target, job.now)?;
            }
            commit::run(site, job.now)
        })
        .await?;
        let output = match Selinux::of(&self.deployer.root) {
            Some(host) => {
                let places = self
                    .on_disk(|site, _| Ok(selinux::new_places(site)))
                    .await?;
                selinux::restore(&host, &*self.deployer.runner, &places).await
            }
            None => String::new(),
        };
        Ok(StepDone {
            event: RolloutEvent::Committed,
            output,
        })
    }

    /// A service must not be tested, let alone reloaded, with a half-done set: it is completed first.
    async fn test(&self) -> Result<StepDone, StepError> {
        self.on_disk(|site, job| commit::run(site, job.now)).await?;
        match service::test(&*self.deployer.runner, &self.target).await {
            Ok(output) => Ok(StepDone {
                event: RolloutEvent::Tested,
                output,
            }),
            Err(error) => {
                let output = error.output.clone();
                let named = self
                    .on_disk(move |site, _| Ok(site.mentioned(&output)))
                    .await?;
                Err(StepError { named, ..error })
            }
        }
    }

    async fn reload(&self) -> Result<StepDone, StepError> {
        self.on_disk(|site, job| commit::run(site, job.now)).await?;
        let mut there = Listeners::default();
        if self.needs_telling() {
            let cut_off = self.was_cut_off().await?;
            there = match self.somebody_to_tell().await {
                // The reload that was cut off may have ended it: that is for an undo, and not to be waited for.
                Err(error) if cut_off => {
                    return Err(StepError {
                        message: format!("a reload was cut off, and since then {}", error.message),
                        service_runs: true,
                        ..error
                    });
                }
                // With the files as they are now it will start with the new set.
                other => other?,
            };
        }
        if self.target.kind.is_fragile() {
            self.fit_to_reload().await?;
        }
        if self.needs_telling() {
            self.on_disk(move |site, _| told::write(site, &there))
                .await?;
        }
        let output = self.tell().await?;
        Ok(StepDone {
            event: RolloutEvent::Reloaded,
            output,
        })
    }

    async fn verify(&self) -> Result<StepDone, StepError> {
        let Probe::Tls {
            connect,
            deadline,
            roots,
            wildcard_label,
            prelude,
        } = self.target.probe.clone()
        else {
            return Ok(RolloutEvent::Verified {
                reports: Vec::new(),
            }
            .into());
        };
        let questions = self
            .on_disk(move |site, job| {
                let trust = roots.as_ref().map(Trust::of).transpose()?;
                let chains = Chains::Incoming(trust);
                prove::forward(site, &job.target, &wildcard_label, chains, job.now)
            })
            .await?;
        match prove::ask(&connect, prelude, deadline, questions).await {
            Ok(reports) => Ok(RolloutEvent::Verified { reports }.into()),
            Err(unproven) => {
                let was_absent = self.was_absent(&unproven).await?;
                // A service that did not need telling cannot have been ended by it: it was not running before.
                let untold = !self.needs_telling() && unproven.absent.is_some();
                Err(StepError {
                    service_runs: !was_absent && !untold,
                    ..unproven.error
                })
            }
        }
    }

    /// Whether the only listeners that fail are some that were not there either when the service was told.
    pub(super) async fn was_absent(&self, unproven: &Unproven) -> Result<bool, StepError> {
        let Some(absent) = unproven.absent.clone() else {
            return Ok(false);
        };
        self.on_disk(move |site, _| {
            let there = told::read(site)?;
            Ok(there.is_some_and(|there| !there.is_empty() && there.is_disjoint(&absent)))
        })
        .await
    }

    /// Whether this very step was cut off while it told a service that ran. The journal knows that it was begun, and the
    /// record in the generation how far it came.
    async fn was_cut_off(&self) -> Result<bool, StepError> {
        let started = self.rollout.started.as_ref();
        let cut_off = started.is_some_and(|started| started.step == RolloutStep::Reload);
        self.on_disk(move |site, _| match cut_off {
            true => Ok(told::read(site)?.is_some()),
            false => told::forget(site).map(|()| false),
        })
        .await
    }

    /// A hook that the policy had when the rollout was opened and has no more has nothing to say.
    async fn hook(&self, hook: Hook, passed: RolloutEvent) -> Result<StepDone, StepError> {
        let Some(argv) = self.target.hooks.argv(hook) else {
            return Ok(passed.into());
        };
        let environment = self
            .on_disk(move |site, job| Ok(hooks::environment(site, &job.target, hook)))
            .await?;
        let runner = &*self.deployer.runner;
        let output = hooks::run(runner, &self.target.hooks, hook, argv, environment).await?;
        Ok(StepDone {
            event: passed,
            output,
        })
    }

    pub(super) const fn needs_telling(&self) -> bool {
        self.target.reload.is_some() || self.target.restart.is_some()
    }

    /// Nobody is started who does not run: there is nobody to tell, and nothing to undo.
    pub(super) async fn somebody_to_tell(&self) -> Result<Listeners, StepError> {
        match &self.target.probe {
            Probe::Tls { connect, .. } => {
                prove::somebody_listens(connect)
                    .await
                    .map_err(|error| StepError {
                        service_runs: false,
                        ..error
                    })
            }
            Probe::None => {
                let runs = service::runs(&*self.deployer.runner, &self.target).await;
                runs.map(|()| Listeners::default())
            }
        }
    }

    pub(super) async fn tell(&self) -> Result<String, StepError> {
        let certificates = self.rollout.revisions.keys();
        let layout = Layout::new(&self.deployer.state_dir, &self.target.id);
        let combined = places::combined(&layout, &self.target, certificates);
        let host = service::Host {
            runner: &*self.deployer.runner,
            resolve: &self.deployer.resolve,
            combined: &combined,
        };
        let told = service::reload(&host, &self.target).await;
        told.map_err(|error| service::nobody_was_told(&self.target, error))
    }

    /// For a server that a bad reload ends: that what it will read goes together, and that it accepts its configuration.
    pub(super) async fn fit_to_reload(&self) -> Result<(), StepError> {
        self.on_disk(|site, job| {
            let certificates = site.rollout.revisions.keys();
            places::check_pairs(&site.layout, &job.target, certificates)
        })
        .await?;
        service::test(&*self.deployer.runner, &self.target)
            .await
            .map(drop)
    }

    pub(super) async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Site<'_>, &Self) -> Result<T, StepError> + Send + 'static,
    ) -> Result<T, StepError> {
        let job = self.clone();
        on_disk(move || work(&job.deployer.site(&job.rollout, &job.target.exports), &job)).await
    }
}

/// Files and CPU work (PFX) on a blocking thread.
async fn on_disk<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StepError> + Send + 'static,
) -> Result<T, StepError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| {
        let text = format!("a step broke off: {}", error_chain(&error));
        Err(StepError::new(ErrorClass::Bug, text))
    })
}
