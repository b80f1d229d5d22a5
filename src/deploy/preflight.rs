//! What is checked before anything is written: a service must never be handed what it cannot use. Some do not notice
//! (Apache's own test accepts a key of another certificate, and its reload then ends the server).

use crate::deploy::prove::Trust;
use crate::deploy::{MaterialError, Materials, StepError};
use crate::model::{CertificateFacts, CertificateId, ErrorClass, RevisionId, Seconds, Timestamp};
use crate::pki::chain::{Link, is_self_issued, link};
use crate::pki::{Material, PkiError, check as pki_check, facts};
use crate::sys::error_chain as causes;

/// A revision as it is stored.
pub(super) fn load(
    materials: &Materials,
    certificate: &CertificateId,
    revision: &RevisionId,
) -> Result<Material, StepError> {
    materials
        .load_revision(certificate, revision)
        .map_err(|error| {
            let class = match &error {
                MaterialError::Fs(error) => error.class(),
                MaterialError::Content { .. } | MaterialError::Mismatch { .. } => {
                    ErrorClass::Rejected
                }
            };
            StepError {
                retry: class == ErrorClass::Transient,
                ..refused(certificate, revision, class, &causes(&error))
            }
        })
}

/// Whether a revision is fit to be served at `now`: key and leaf a pair, valid, named, its chain linked by signatures.
pub(super) fn check(
    material: &Material,
    certificate: &CertificateId,
    revision: &RevisionId,
    now: Timestamp,
) -> Result<(), StepError> {
    is_fit(material, now)
        .map_err(|problem| refused(certificate, revision, ErrorClass::Rejected, &problem))
}

fn refused(
    certificate: &CertificateId,
    revision: &RevisionId,
    class: ErrorClass,
    problem: &str,
) -> StepError {
    let text = format!("certificate {certificate}, revision {revision}: {problem}");
    StepError::new(class, text)
}

/// Whether clients that trust these roots will follow the path that the service will present.
pub(super) fn path(
    certificate: &CertificateId,
    leaf: &[u8],
    chain: &[Vec<u8>],
    trust: &Trust,
    now: Timestamp,
) -> Result<(), StepError> {
    trust.accepts(leaf, chain, now).map_err(|problem| {
        let text = format!("certificate {certificate}: clients will refuse it: {problem}");
        StepError::new(ErrorClass::Rejected, text)
    })
}

fn is_fit(material: &Material, now: Timestamp) -> Result<(), String> {
    let read = |error: PkiError| causes(&error);
    let leaf = material.facts().map_err(read)?;
    if leaf.spki != material.key.spki() {
        return Err("the key is not the certificate's".to_owned());
    }
    if leaf.names.is_empty() && leaf.common_name.is_none() {
        return Err("it names nothing, so no client will accept it".to_owned());
    }
    // Looked at when it was issued too; what was imported or stored by hand comes by here alone.
    pki_check::purpose_of(&material.leaf).map_err(|unfit| unfit.to_string())?;
    validity("it", &leaf, now)?;
    let mut below = material.leaf.as_slice();
    for above in &material.chain {
        let facts = facts(above).map_err(read)?;
        let name = facts
            .common_name
            .clone()
            .unwrap_or_else(|| facts.serial.clone());
        // Clients do not look at the dates of a root (RFC 5280 §6.1.1), and public chains have had expired ones.
        if !is_self_issued(above) {
            validity(&format!("the chain's {name}"), &facts, now)?;
        }
        match link(below, above) {
            Link::Signed => {}
            Link::Stranger => {
                return Err(format!(
                    "the chain is broken: {name} is not the issuer of the one before"
                ));
            }
            Link::BadSignature => {
                return Err(format!(
                    "the chain is broken: {name} did not sign the one before"
                ));
            }
        }
        below = above;
    }
    Ok(())
}

fn validity(what: &str, facts: &CertificateFacts, now: Timestamp) -> Result<(), String> {
    if facts.not_after <= now {
        return Err(format!("{what} expired at {}", facts.not_after));
    }
    if facts.not_before > now + SKEW {
        return Err(format!("{what} is not valid before {}", facts.not_before));
    }
    Ok(())
}

/// Clocks differ; CAs backdate by minutes for the same reason.
const SKEW: Seconds = Seconds::minutes(5);
