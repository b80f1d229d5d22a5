//! CAs that issue often, kept as they are needed for it.
//!
//! What is kept of a CA does not change once it is ACTIVED, but its status does, and another process may change it. So what was made
//! with what is kept here is stored by a statement that looks at the status once more.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::ccm_server::failure::Failure;
use crate::ccm_server::operation::Call;
use crate::ccm_server::pca::authority::{IssuedBy, active};
use crate::ccm_server::x509::{Signer, Subject};
use crate::model::Timestamp;

/// A CA with what it takes to issue.
pub(super) struct Issuer {
    /// The CA's id.
    pub(super) id: String,
    account: String,
    /// Its subject.
    pub(super) subject: Subject,
    /// How what it issues points at it.
    pub(super) by: IssuedBy,
    /// The end of its certificate.
    pub(super) not_after: Option<Timestamp>,
    /// Its key, opened.
    pub(super) signer: Arc<Signer>,
}

impl Issuer {
    /// The CA that `issuer_id` of a request names; refused unless it is ACTIVED, as far as is known without a transaction.
    pub(super) async fn of(call: &Call<'_>) -> Result<Arc<Self>, Failure> {
        let id = call.body.text("issuer_id").to_ascii_lowercase();
        if let Some(kept) = call.shared.issuers.get(&id, call.account(), call.now) {
            return Ok(kept);
        }
        let mut connection = call.shared.db.read().acquire().await?;
        let found = active(&mut connection, call.account(), &id, call.now).await?;
        drop(connection);
        let issuer = Arc::new(Self {
            by: IssuedBy::of(&found)?,
            signer: found.signer(call.shared).await?,
            account: call.account().to_owned(),
            not_after: found.not_after.map(Timestamp),
            id: found.id,
            subject: found.subject,
        });
        call.shared.issuers.put(Arc::clone(&issuer));
        Ok(issuer)
    }
}

/// Those that issued, by id. At most as many as there are CAs whose keys are open.
#[derive(Default)]
pub(in crate::ccm_server) struct Issuers(Mutex<BTreeMap<String, Arc<Issuer>>>);

impl Issuers {
    fn get(&self, id: &str, account: &str, now: Timestamp) -> Option<Arc<Issuer>> {
        let issuers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = issuers.get(id)?;
        let lasts = kept.not_after.is_some_and(|end| end >= now);
        (lasts && kept.account == account).then(|| Arc::clone(kept))
    }

    fn put(&self, issuer: Arc<Issuer>) {
        let mut issuers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        issuers.insert(issuer.id.clone(), issuer);
    }

    /// Forgets a CA that does not issue any more.
    pub(in crate::ccm_server) fn forget(&self, id: &str) {
        let mut issuers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        issuers.remove(id);
    }
}
