//! Whose key a certificate or an application is for: by the exported certificate, by the CSR that was handed in.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use crate::issuer::failure::reading;
use crate::issuer::orders::Orders;
use crate::issuer::scm::is_gone;
use crate::issuer::{IssuerError, exported};
use crate::model::{CertificateFacts, Fingerprint};
use crate::pki;

/// An issued certificate.
#[derive(Debug, Clone)]
pub(super) struct Leaf {
    pub(super) facts: Arc<CertificateFacts>,
    /// Whether it comes with its key.
    pub(super) with_key: bool,
}

/// What was exported once, so that it is not done at every look. Keys are not kept.
#[derive(Default)]
pub(super) struct Leaves(Mutex<BTreeMap<String, Leaf>>);

/// What an application says of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Applicant {
    /// It came with this key's CSR.
    Csr(Fingerprint),
    /// It came without one: the key is CCM's.
    Ccm,
    /// The account does not say.
    Unsaid,
}

impl Orders {
    /// The certificate under this id, where it can be exported. `print` tells whether it is the one that was there before:
    /// SCM keeps an id when a certificate is issued anew.
    pub(super) async fn leaf(&self, id: &str) -> Result<Option<Leaf>, IssuerError> {
        let shown = match self.scm.show_certificate(id).await {
            Ok(shown) => shown,
            Err(error) if is_gone(&error) => return Ok(None),
            Err(error) => return Err(reading(error)),
        };
        let print = shown.fingerprint.unwrap_or_default();
        let key = format!("{id} {print}");
        if !print.is_empty()
            && let Some(leaf) = self.leaves.get(&key)
        {
            return Ok(Some(leaf));
        }
        let found = match self.scm.export_certificate(id).await {
            Ok(found) => found,
            Err(error) if error.class == crate::ccm::Class::Rejected => return Ok(None),
            Err(error) => return Err(reading(error)),
        };
        let facts = match exported::leaf(&found, id) {
            Ok(facts) => facts,
            Err(error) => {
                tracing::warn!(%error, "certificate of the account passed over");
                return Ok(None);
            }
        };
        let leaf = Leaf {
            facts: Arc::new(facts),
            with_key: found.private_key.is_some(),
        };
        self.leaves.put(key, leaf.clone());
        Ok(Some(leaf))
    }

    /// By whom an application was made (CCM API 7.1.10). A CSR that comes back with other line ends is the same one.
    pub(super) async fn applicant(&self, id: &str) -> Result<Applicant, IssuerError> {
        let saved = match self.v2().await?.saved(id).await {
            Ok(saved) => saved,
            // Gone, or brought in and never applied for.
            Err(error) if is_gone(&error) || error.class == crate::ccm::Class::Rejected => {
                return Ok(Applicant::Unsaid);
            }
            Err(error) => return Err(reading(error)),
        };
        let csr = saved.csr.as_deref().map(str::trim).unwrap_or_default();
        if csr.is_empty() {
            let nothing = saved.domain_name.is_none_or(|name| name.trim().is_empty());
            return Ok(if nothing {
                Applicant::Unsaid
            } else {
                Applicant::Ccm
            });
        }
        Ok(match pki::csr::spki(csr) {
            Ok(spki) => Applicant::Csr(spki),
            Err(error) => {
                tracing::warn!(%error, certificate = id, "the CSR of an application is not readable");
                Applicant::Unsaid
            }
        })
    }

    /// The key with which an entitlement was first applied for, by whatever of the order says it.
    pub(super) async fn key_of_order(
        &self,
        ids: &BTreeSet<&str>,
    ) -> Result<Applicant, IssuerError> {
        for id in ids {
            match self.applicant(id).await? {
                Applicant::Unsaid => {}
                said => return Ok(said),
            }
        }
        for id in ids {
            if let Some(leaf) = self.leaf(id).await? {
                return Ok(if leaf.with_key {
                    Applicant::Ccm
                } else {
                    Applicant::Csr(leaf.facts.spki)
                });
            }
        }
        Ok(Applicant::Unsaid)
    }
}

impl Leaves {
    fn get(&self, key: &str) -> Option<Leaf> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(key).cloned()
    }

    fn put(&self, key: String, leaf: Leaf) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST_REMEMBERED {
            known.clear();
        }
        known.insert(key, leaf);
    }
}

/// Certificates.
const MOST_REMEMBERED: usize = 1000;
