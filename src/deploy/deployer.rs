//! The steps of a rollout, behind one door.

use std::path::PathBuf;
use std::sync::Arc;

use crate::deploy::{Materials, StepError};
use crate::model::{
    Drift, ErrorClass, Rollout, RolloutEvent, RolloutStep, SecretRef, TargetPolicy, TargetState,
    Timestamp,
};
use crate::pki::Secret;
use crate::sys::process::Runner;

/// Reads a secret that the policy refers to.
pub type SecretResolver = Arc<dyn Fn(&SecretRef) -> Result<Secret, String> + Send + Sync>;

/// Carries out the steps of rollouts in one state directory. Cheap to clone.
#[derive(Clone)]
pub struct Deployer {
    materials: Materials,
    runner: Arc<dyn Runner>,
    resolve: SecretResolver,
}

impl Deployer {
    /// Over this state directory, which exists; `runner` starts tests and reloads, `resolve` gives passwords.
    #[must_use]
    pub fn new(state_dir: PathBuf, runner: Arc<dyn Runner>, resolve: SecretResolver) -> Self {
        Self {
            materials: Materials::new(state_dir),
            runner,
            resolve,
        }
    }

    /// Keys and revisions.
    #[must_use]
    pub const fn materials(&self) -> &Materials {
        &self.materials
    }

    /// Carries out one step, or finds that it was carried out already.
    ///
    /// # Errors
    /// [`StepError`] says whether the step is worth repeating and whether there is something to return to.
    pub async fn step(
        &self,
        _step: RolloutStep,
        _rollout: &Rollout,
        _target: &TargetPolicy,
        _now: Timestamp,
    ) -> Result<RolloutEvent, StepError> {
        let _ = (&self.runner, &self.resolve);
        Err(StepError::new(ErrorClass::Bug, "not there yet"))
    }

    /// What of a target is not as it was committed. Cheap: content is read only where the file system says that it
    /// was touched.
    #[must_use]
    pub fn drift(&self, _target: &TargetPolicy, _state: &TargetState) -> Option<Drift> {
        None
    }
}
