//! What renewd itself relies on and what ends: the CA behind an issuer, and the roots by which it trusts issuers and ways
//! out of the host. Looked at by each check, kept in the journal.

use std::path::Path;

use crate::engine::{Engine, EngineError};
use crate::model::{Relied, Snapshot, Timestamp, Way};
use crate::pki::{facts, pem};
use crate::sys::{error_chain, fs};

impl Engine {
    /// Reads the ends anew. What cannot be read is as it was: whoever needs it says what is wrong.
    pub(super) async fn look_at_credentials(
        &self,
        snapshot: &mut Snapshot,
    ) -> Result<(), EngineError> {
        let mut found = Vec::new();
        for (id, policy) in &self.policy.issuers {
            if let Some(end) = policy.access.roots.as_deref().and_then(last_end) {
                found.push((Relied::Roots(id.clone()), end));
            }
            if let Ok(issuer) = self.issuers.get(id)
                && let Some(end) = issuer.ends()
            {
                found.push((Relied::Authority(id.clone()), end));
            }
        }
        for (id, channel) in &self.policy.alerting.channels {
            let roots = match &channel.way {
                Way::Email(email) => email.roots(),
                Way::Webhook(hook) => hook.roots.as_deref(),
            };
            if let Some(end) = roots.and_then(last_end) {
                found.push((Relied::ChannelRoots(id.clone()), end));
            }
        }
        for (relied, end) in found {
            if snapshot.relied.insert(relied.clone(), end) != Some(end) {
                self.store.relied(&relied, end).await?;
            }
        }
        Ok(())
    }
}

/// When nothing in a file with certificates is valid any more.
fn last_end(path: &Path) -> Option<Timestamp> {
    let text = match fs::read(path, LARGEST) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) => {
            tracing::debug!(error = error_chain(&error), "roots cannot be read");
            return None;
        }
    };
    let certificates = pem::certificates(&text).ok()?;
    let ends = certificates.iter().filter_map(|der| facts(der).ok());
    ends.map(|facts| facts.not_after).max()
}

/// Bytes; the system's own bundle of all public roots has a quarter of it.
const LARGEST: u64 = 1024 * 1024;
