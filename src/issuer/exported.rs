//! What an export brought: as the engine wants it, or only looked at and remembered.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use crate::ccm::ExportedPem;
use crate::issuer::failure::own;
use crate::issuer::{IssuedPem, IssuerError};
use crate::model::{CertificateFacts, ErrorClass};
use crate::pki;

/// The export for the engine, with the key where one was asked for.
pub(super) fn issued(
    exported: ExportedPem,
    with_key: bool,
    reference: &str,
) -> Result<IssuedPem, IssuerError> {
    let certificate = exported
        .certificate
        .filter(|text| !text.trim().is_empty())
        .ok_or_else(|| {
            own(
                ErrorClass::Transient,
                format!("the export of {reference} holds no certificate"),
            )
        })?;
    if with_key && exported.private_key.is_none() {
        return Err(own(
            ErrorClass::Rejected,
            format!("{reference} is exported without its key: the key was not made at CCM"),
        ));
    }
    Ok(IssuedPem {
        certificate,
        chain: exported.certificate_chain.unwrap_or_default(),
        private_key: exported.private_key.filter(|_| with_key),
        authority: None,
    })
}

/// What the exported leaf says of itself.
pub(super) fn leaf(
    exported: &ExportedPem,
    reference: &str,
) -> Result<CertificateFacts, IssuerError> {
    let unreadable = |why: String| {
        own(
            ErrorClass::Rejected,
            format!("the export of {reference} is not readable: {why}"),
        )
    };
    let text = exported.certificate.as_deref().unwrap_or_default();
    let found = pki::pem::certificates(text).map_err(|error| unreadable(error.to_string()))?;
    let der = found
        .first()
        .ok_or_else(|| unreadable("it holds no certificate".to_owned()))?;
    pki::facts(der).map_err(|error| unreadable(error.to_string()))
}

/// Certificates of the account that were exported once to see their names, so that this is not done again: what an id
/// stands for does not change. Keys are not kept.
#[derive(Default)]
pub(super) struct Examined {
    known: Mutex<BTreeMap<String, Examination>>,
}

/// What was seen.
#[derive(Clone)]
pub(super) enum Examination {
    /// It can be exported with its key.
    Usable(Arc<CertificateFacts>),
    /// It has no key here, cannot be exported or not be read.
    Useless,
}

impl Examined {
    pub(super) fn get(&self, id: &str) -> Option<Examination> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(id).cloned()
    }

    pub(super) fn put(&self, id: String, seen: Examination) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        // Simple and rare: everything is looked at once more.
        if known.len() >= MOST_REMEMBERED {
            known.clear();
        }
        known.insert(id, seen);
    }
}

impl Examination {
    /// From an export that succeeded.
    pub(super) fn of(exported: &ExportedPem, reference: &str) -> Self {
        if exported.private_key.is_none() {
            return Self::Useless;
        }
        match leaf(exported, reference) {
            Ok(facts) => Self::Usable(Arc::new(facts)),
            Err(error) => {
                tracing::warn!(%error, "certificate of the account passed over");
                Self::Useless
            }
        }
    }
}

/// Certificates; a few MiB with their names.
const MOST_REMEMBERED: usize = 10_000;
