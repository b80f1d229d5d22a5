//! Connections to issuers, made when first needed and kept.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::issuer::{Effect, Issuer, IssuerError, Limit, connect_within, limit};
use crate::model::{
    CertificateId, ErrorClass, IssuerId, IssuerPolicy, Outage, SecretRef, StepFailure, Timestamp,
};
use crate::pki::Secret;
use crate::plan::outage;
use crate::sys::clock::Clock;

/// Reads a secret by its reference.
pub type Resolve = Arc<dyn Fn(&SecretRef) -> Result<Secret, String> + Send + Sync>;

/// The issuers of a policy.
pub struct Issuers {
    policies: BTreeMap<IssuerId, IssuerPolicy>,
    resolve: Resolve,
    clock: Arc<dyn Clock>,
    connected: Mutex<BTreeMap<IssuerId, Arc<dyn Issuer>>>,
    /// What each may be asked in a second, whatever becomes of a connection.
    limits: BTreeMap<IssuerId, Arc<Limit>>,
    met: Mutex<Met>,
    /// Held by who buys.
    buying: tokio::sync::Mutex<()>,
}

/// Outages by the rounds of steps.
#[derive(Default)]
struct Met {
    round: u64,
    outages: BTreeMap<IssuerId, Silence>,
}

/// One issuer's outage.
struct Silence {
    outage: Outage,
    /// The round in which the last call that failed was begun: those of one round fail for one reason.
    begun: u64,
    /// The round in which it was known.
    known: u64,
}

impl Issuers {
    /// For these policies; connects to none yet.
    #[must_use]
    pub fn new(
        policies: BTreeMap<IssuerId, IssuerPolicy>,
        resolve: Resolve,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let limits = policies.iter();
        Self {
            limits: limits
                .map(|(id, policy)| (id.clone(), limit(policy)))
                .collect(),
            policies,
            resolve,
            clock,
            connected: Mutex::new(BTreeMap::new()),
            met: Mutex::default(),
            buying: tokio::sync::Mutex::default(),
        }
    }

    /// Waits until nobody else buys.
    pub(super) async fn buying(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.buying.lock().await
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

    /// Another round of steps begins.
    pub(crate) fn begin_round(&self) {
        self.met().round += 1;
    }

    /// The present round.
    pub(crate) fn round(&self) -> u64 {
        self.met().round
    }

    /// Issuers that answered nobody since they answered last.
    pub(crate) fn outages(&self) -> BTreeMap<IssuerId, Outage> {
        let met = self.met();
        let outages = met.outages.iter();
        outages
            .map(|(id, met)| (id.clone(), met.outage.clone()))
            .collect()
    }

    /// Whether it answered nobody in this very round: another call would only wait for its time-out as well.
    pub(crate) fn is_silent(&self, id: &IssuerId) -> bool {
        let met = self.met();
        let last = met.outages.get(id);
        last.is_some_and(|last| last.known == met.round)
    }

    /// It answered.
    pub(crate) fn answered(&self, id: &IssuerId) {
        self.met().outages.remove(id);
    }

    /// It did not answer a call that was begun in this round, and would not have answered anybody.
    pub(crate) fn failed(
        &self,
        id: &IssuerId,
        certificate: &CertificateId,
        error: (ErrorClass, String),
        (begun, now): (u64, Timestamp),
    ) {
        let Some(policy) = self.policies.get(id) else {
            return;
        };
        let (class, message) = error;
        let failure = StepFailure {
            at: now,
            class,
            message,
            retry_after: None,
            policy: policy.digest,
        };
        let mut met = self.met();
        let known = met.round;
        let before = met.outages.remove(id);
        let same_round = before.as_ref().is_some_and(|last| last.begun == begun);
        let before = before.map(|last| last.outage);
        let outage = outage::after(before, certificate, failure, same_round);
        let silence = Silence {
            outage,
            begun,
            known,
        };
        met.outages.insert(id.clone(), silence);
    }

    fn met(&self) -> MutexGuard<'_, Met> {
        self.met.lock().unwrap_or_else(PoisonError::into_inner)
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
                everybody: false,
            });
        };
        let within = self
            .limits
            .get(id)
            .map_or_else(|| limit(policy), Arc::clone);
        let clock = Arc::clone(&self.clock);
        let issuer: Arc<dyn Issuer> =
            Arc::from(connect_within(policy, &*self.resolve, clock, within)?);
        connected.insert(id.clone(), Arc::clone(&issuer));
        Ok(issuer)
    }
}
