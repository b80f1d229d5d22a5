//! Proofs of domains for a public CA: published, looked for from where the CA looks, and taken away again.
//!
//! [`Validations`] does each in the way that the policy names; doing it twice does no harm, so that a crash between effect
//! and journal costs nothing. Which proof is published when is decided by `plan::order_machine`.
//!
//! `dns` speaks DNS itself: signed updates, every authoritative server of a zone, the signs of a broken DNSSEC chain, CAA.

mod command;
mod dns;
mod error;
mod huawei;
mod responder;
mod sighting;
mod web;
mod web_root;

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

pub use error::ValidationError;
pub use sighting::{Gap, Lack, Sighting};

use crate::ccm::Dns;
use crate::issuer::client_of;
use crate::model::{
    DomainMethod, DomainProof, ErrorClass, RemoteAccess, Seconds, SecretRef, TsigAlgorithm,
    ValidationKind, ValidationPolicy,
};
use crate::pki::Secret;
use crate::sys::clock::Clock;
use crate::sys::process::Runner;
use crate::sys::systemd;

use command::Call;
use dns::{Changed, Primary, TsigKey};
use responder::Responder;
use web_root::Root;

/// Reads a secret by its reference.
pub type Resolve = Arc<dyn Fn(&SecretRef) -> Result<Secret, String> + Send + Sync>;

/// Publishes proofs, looks for them, takes them away. One for the life of the process, whatever becomes of the policy: what
/// the responder shows lives in here.
pub struct Validations {
    resolve: Resolve,
    clock: Arc<dyn Clock>,
    runner: Arc<dyn Runner>,
    responder: Responder,
    /// What is read, changed and written back goes one after the other.
    turn: tokio::sync::Mutex<()>,
}

/// Proofs that were published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    /// A look at them makes no sense before this has passed: servers tell each other.
    pub examine_after: Seconds,
}

impl Validations {
    /// Nothing is published yet.
    #[must_use]
    pub fn new(resolve: Resolve, clock: Arc<dyn Clock>, runner: Arc<dyn Runner>) -> Self {
        Self {
            resolve,
            clock,
            runner,
            responder: Responder::default(),
            turn: tokio::sync::Mutex::default(),
        }
    }

    /// Publishes proofs; no change where they are there.
    ///
    /// # Errors
    /// With what helps. Some of the proofs may be there all the same.
    pub async fn publish(
        &self,
        policy: &ValidationPolicy,
        proofs: &[DomainProof],
    ) -> Result<Published, ValidationError> {
        let done = async {
            fits(policy, proofs)?;
            match &policy.kind {
                // By somebody else.
                ValidationKind::Automatic | ValidationKind::Email => {}
                ValidationKind::HuaweiDns { access } => {
                    let dns = self.huawei(access)?;
                    let _turn = self.turn.lock().await;
                    for proof in proofs {
                        huawei::publish(&dns, proof).await?;
                        systemd::alive();
                    }
                }
                ValidationKind::Rfc2136 { ttl, .. } => {
                    let ttl = u32::try_from(ttl.0).unwrap_or(0);
                    self.update(policy, proofs, Changed::Added(ttl)).await?;
                }
                ValidationKind::Command { auth, timeout, .. } => {
                    command::run(&*self.runner, Call::Auth, auth, *timeout, proofs).await?;
                }
                ValidationKind::WebRoot { .. } => {
                    let each = |root: &Root, proofs: &[DomainProof]| {
                        proofs.iter().try_for_each(|proof| root.publish(proof))
                    };
                    self.files(policy, proofs, each).await?;
                }
                ValidationKind::Responder { listen } => {
                    self.responder.show(listen, proofs).await?;
                }
            }
            Ok(Published {
                examine_after: examine_after(&policy.kind),
            })
        };
        done.await
            .map_err(|error: ValidationError| error.of(&told(policy)))
    }

    /// Looks for proofs where a CA looks. `brand` is what was bought (CCM API 4.1.3.1, `cert_brand`): the CAA records of
    /// the domains must let its CA issue.
    ///
    /// # Errors
    /// Where it cannot be told, such as without a resolver that answers.
    pub async fn examine(
        &self,
        policy: &ValidationPolicy,
        proofs: &[DomainProof],
        brand: Option<&str>,
    ) -> Result<Sighting, ValidationError> {
        let now = self.clock.now().0;
        let look = async {
            let mut gaps = Vec::new();
            for proof in proofs {
                gaps.extend(match proof.method {
                    DomainMethod::Dns => dns::record(policy, proof, now).await?,
                    DomainMethod::File => web::file(policy, proof).await?,
                    DomainMethod::Email => Vec::new(),
                });
                if let Some(brand) = brand {
                    gaps.extend(dns::forbids(policy, &proof.domain, brand).await?);
                }
                systemd::alive();
            }
            Ok(Sighting::of(gaps))
        };
        look.await
            .map_err(|error: ValidationError| error.of(&told(policy)))
    }

    /// Takes proofs away; no change where they are gone. What others published at the same places stays. One that cannot be
    /// taken away, such as of a domain that moved elsewhere, keeps none of the others.
    ///
    /// # Errors
    /// With what helps against the first of them. The others are gone all the same.
    pub async fn retract(
        &self,
        policy: &ValidationPolicy,
        proofs: &[DomainProof],
    ) -> Result<(), ValidationError> {
        let done = async {
            match &policy.kind {
                ValidationKind::Automatic | ValidationKind::Email => Ok(()),
                ValidationKind::HuaweiDns { access } => {
                    let dns = self.huawei(access)?;
                    let _turn = self.turn.lock().await;
                    let mut all = Every::default();
                    for proof in proofs {
                        all.note(huawei::retract(&dns, proof).await);
                        systemd::alive();
                    }
                    all.done()
                }
                ValidationKind::Rfc2136 { .. } => {
                    self.update(policy, proofs, Changed::Deleted).await
                }
                ValidationKind::Command {
                    cleanup: Some(cleanup),
                    timeout,
                    ..
                } => {
                    let (runner, call) = (&*self.runner, Call::Cleanup);
                    command::run(runner, call, cleanup, *timeout, proofs).await
                }
                ValidationKind::Command { cleanup: None, .. } => Ok(()),
                ValidationKind::WebRoot { .. } => {
                    let each = |root: &Root, proofs: &[DomainProof]| {
                        let mut all = Every::default();
                        for proof in proofs {
                            all.note(root.retract(proof));
                        }
                        all.done()
                    };
                    self.files(policy, proofs, each).await
                }
                ValidationKind::Responder { listen } => {
                    self.responder.hide(listen, proofs).await;
                    Ok(())
                }
            }
        };
        done.await
            .map_err(|error: ValidationError| error.of(&told(policy)))
    }

    /// After a start: what lives in memory only is shown again, for orders whose proofs are published. Nothing else is
    /// touched. What cannot be is told by the errors; the next examination finds it missing.
    pub async fn resume(
        &self,
        published: &[(&ValidationPolicy, &[DomainProof])],
    ) -> Vec<ValidationError> {
        let mut errors = Vec::new();
        for (policy, proofs) in published {
            if let ValidationKind::Responder { listen } = &policy.kind
                && let Err(error) = self.responder.show(listen, proofs).await
            {
                errors.push(error.of(&told(policy)));
            }
        }
        errors
    }

    fn huawei(&self, access: &RemoteAccess) -> Result<Dns, ValidationError> {
        let client = client_of(access, &*self.resolve, Arc::clone(&self.clock));
        client
            .map(Dns::new)
            .map_err(|error| ValidationError::new(error.class, error.message))
    }

    async fn update(
        &self,
        policy: &ValidationPolicy,
        proofs: &[DomainProof],
        changed: Changed,
    ) -> Result<(), ValidationError> {
        let ValidationKind::Rfc2136 {
            server,
            zone,
            key_name,
            algorithm,
            key,
            ttl: _,
        } = &policy.kind
        else {
            return Ok(());
        };
        let primary = Primary {
            server,
            zone: zone.as_deref(),
            key_name,
            key: self.tsig(key_name, *algorithm, key)?,
            policy,
        };
        let now = u64::try_from(self.clock.now().0).unwrap_or(0);
        let mut all = Every::default();
        for proof in proofs {
            match (dns::change(&primary, proof, changed, now).await, changed) {
                (Err(error), Changed::Added(_)) => return Err(error),
                (done, Changed::Added(_) | Changed::Deleted) => all.note(done),
            }
            systemd::alive();
        }
        all.done()
    }

    fn tsig(
        &self,
        name: &str,
        algorithm: TsigAlgorithm,
        key: &SecretRef,
    ) -> Result<TsigKey, ValidationError> {
        let wrong =
            |why: &str| ValidationError::configuration(format!("the TSIG key {key}: {why}"));
        let secret = (self.resolve)(key).map_err(|why| wrong(&why))?;
        let text = secret.expose().trim_ascii();
        let bytes = STANDARD.decode(text).map(Zeroizing::new).map_err(|_| {
            wrong("it is no base64; write what stands after `secret` in the server's key")
        })?;
        if bytes.is_empty() {
            return Err(wrong("it is empty"));
        }
        TsigKey::new(name, algorithm, &bytes).ok_or_else(|| wrong("its name is no name of DNS"))
    }

    /// On a thread where it may block: a web root may be on a network.
    async fn files(
        &self,
        policy: &ValidationPolicy,
        proofs: &[DomainProof],
        work: fn(&Root, &[DomainProof]) -> Result<(), ValidationError>,
    ) -> Result<(), ValidationError> {
        let ValidationKind::WebRoot {
            path,
            owner,
            group,
            mode,
        } = &policy.kind
        else {
            return Ok(());
        };
        let root = Root {
            path: path.clone(),
            owner: owner.clone(),
            group: group.clone(),
            mode: *mode,
        };
        let _turn = self.turn.lock().await;
        let proofs = proofs.to_vec();
        tokio::task::spawn_blocking(move || work(&root, &proofs))
            .await
            .map_err(|error| ValidationError::new(ErrorClass::Bug, error.to_string()))?
    }
}

/// What is tried to its end, whatever fails of it.
#[derive(Default)]
struct Every(Option<ValidationError>);

impl Every {
    fn note(&mut self, done: Result<(), ValidationError>) {
        if let Err(error) = done {
            match &self.0 {
                None => self.0 = Some(error),
                // One line has room for one reason.
                Some(_) => tracing::warn!(%error, "a further proof is not taken away"),
            }
        }
    }

    fn done(self) -> Result<(), ValidationError> {
        self.0.map_or(Ok(()), Err)
    }
}

/// Whether a way can show what the CA asks for.
fn fits(policy: &ValidationPolicy, proofs: &[DomainProof]) -> Result<(), ValidationError> {
    let method = policy.kind.method();
    match proofs.iter().find(|proof| proof.method != method) {
        None => Ok(()),
        Some(proof) => Err(ValidationError::configuration(format!(
            "the CA asks for a proof of {} by {}, and this way proves by {method}; name another `validation`",
            proof.domain, proof.method
        ))),
    }
}

fn told(policy: &ValidationPolicy) -> String {
    format!("validation {}", policy.id)
}

const fn examine_after(kind: &ValidationKind) -> Seconds {
    match kind {
        // Servers tell each other within moments where they do so at all.
        ValidationKind::Automatic
        | ValidationKind::HuaweiDns { .. }
        | ValidationKind::Rfc2136 { .. } => Seconds(5),
        ValidationKind::Command { method, .. } => match method {
            DomainMethod::Dns => Seconds(5),
            DomainMethod::File | DomainMethod::Email => Seconds(0),
        },
        ValidationKind::WebRoot { .. }
        | ValidationKind::Responder { .. }
        | ValidationKind::Email => Seconds(0),
    }
}
