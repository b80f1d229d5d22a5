//! Connections to issuers, made when first needed and kept.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::issuer::{Effect, Issuer, IssuerError, connect};
use crate::model::{ErrorClass, IssuerId, IssuerPolicy, SecretRef};
use crate::pki::Secret;
use crate::sys::clock::Clock;

/// Reads a secret by its reference.
pub type Resolve = Arc<dyn Fn(&SecretRef) -> Result<Secret, String> + Send + Sync>;

/// The issuers of a policy.
pub struct Issuers {
    policies: BTreeMap<IssuerId, IssuerPolicy>,
    resolve: Resolve,
    clock: Arc<dyn Clock>,
    connected: Mutex<BTreeMap<IssuerId, Arc<dyn Issuer>>>,
}

impl Issuers {
    /// For these policies; connects to none yet.
    #[must_use]
    pub fn new(
        policies: BTreeMap<IssuerId, IssuerPolicy>,
        resolve: Resolve,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            policies,
            resolve,
            clock,
            connected: Mutex::new(BTreeMap::new()),
        }
    }

    /// The policy of an issuer, for its time-outs and digest.
    #[must_use]
    pub fn policy(&self, id: &IssuerId) -> Option<&IssuerPolicy> {
        self.policies.get(id)
    }

    /// What reads secrets.
    #[must_use]
    pub fn resolve(&self) -> &Resolve {
        &self.resolve
    }

    /// Forgets a connection whose credentials were refused: the next one reads the secrets anew, which may have been
    /// rotated.
    pub fn forget(&self, id: &IssuerId) {
        self.connections().remove(id);
    }

    fn connections(&self) -> MutexGuard<'_, BTreeMap<IssuerId, Arc<dyn Issuer>>> {
        self.connected
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Connected; a failure is not kept, so that a mended secret is read at the next attempt.
    ///
    /// # Errors
    /// `Configuration` when the policy does not know it or its settings cannot be used.
    pub fn get(&self, id: &IssuerId) -> Result<Arc<dyn Issuer>, IssuerError> {
        let mut connected = self.connections();
        if let Some(issuer) = connected.get(id) {
            return Ok(Arc::clone(issuer));
        }
        let Some(policy) = self.policies.get(id) else {
            return Err(IssuerError {
                class: ErrorClass::Configuration,
                effect: Effect::None,
                message: format!("issuer {id} is no longer in the policy"),
                retry_after: None,
            });
        };
        let issuer: Arc<dyn Issuer> =
            Arc::from(connect(policy, &*self.resolve, Arc::clone(&self.clock))?);
        connected.insert(id.clone(), Arc::clone(&issuer));
        Ok(issuer)
    }
}
