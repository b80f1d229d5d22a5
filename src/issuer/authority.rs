//! Which CA signs: found by its id or its exact common name, once.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::ccm::{Authority, AuthorityQuery, AuthorityStatus, Collector, Pca};
use crate::issuer::failure::{own, reading};
use crate::issuer::{IssuerError, Trouble};
use crate::model::{ErrorClass, Standing, Timestamp};

/// The CA of an issuer's policy.
pub(super) struct Signer {
    /// An id or an exact common name.
    wanted: String,
    found: Mutex<Option<Arc<Authority>>>,
    certificate: Mutex<Option<Arc<str>>>,
}

impl Signer {
    pub(super) const fn new(wanted: String) -> Self {
        Self {
            wanted,
            found: Mutex::new(None),
            certificate: Mutex::new(None),
        }
    }

    /// The CA's own certificate as PEM, asked for only once: what it issued is held against it.
    pub(super) async fn certificate(&self, pca: &Pca) -> Result<Arc<str>, IssuerError> {
        if let Some(known) = lock(&self.certificate).clone() {
            return Ok(known);
        }
        let authority = self.find(pca).await?;
        let exported = pca
            .export_authority(&authority.ca_id)
            .await
            .map_err(reading)?;
        let text: Arc<str> = exported.certificate.unwrap_or_default().into();
        if text.trim().is_empty() {
            let message = format!("the export of {} holds no certificate", show(&authority));
            return Err(own(ErrorClass::Transient, message));
        }
        *lock(&self.certificate) = Some(Arc::clone(&text));
        Ok(text)
    }

    /// The CA, asked for only once.
    pub(super) async fn find(&self, pca: &Pca) -> Result<Arc<Authority>, IssuerError> {
        if let Some(known) = self.known() {
            return Ok(known);
        }
        let found = if is_id(&self.wanted) {
            self.by_id(pca).await?
        } else {
            self.by_name(pca).await?
        };
        let found = Arc::new(found);
        *lock(&self.found) = Some(Arc::clone(&found));
        Ok(found)
    }

    /// The CA, if it can issue. One that cannot is asked for anew next time, since a person may have mended it.
    pub(super) async fn find_active(&self, pca: &Pca) -> Result<Arc<Authority>, IssuerError> {
        let found = self.find(pca).await?;
        let problem = match &found.status {
            AuthorityStatus::Actived if found.freeze_flag.is_some_and(|flag| flag != 0) => {
                "is frozen; settle the account"
            }
            AuthorityStatus::Actived => return Ok(found),
            AuthorityStatus::Pending => "is not activated; activate it at PCA",
            AuthorityStatus::Disabled => "is disabled; enable it at PCA",
            AuthorityStatus::Deleted => "is to be deleted; restore it at PCA or name another one",
            AuthorityStatus::Expired => "has expired; name another one",
            AuthorityStatus::Unknown(_) => "cannot issue",
        };
        self.forget();
        Err(own(
            ErrorClass::Configuration,
            format!("{} {problem}", show(&found)),
        ))
    }

    /// What keeps the CA from issuing, asked for anew.
    pub(super) async fn trouble(&self, pca: &Pca) -> Result<Option<Trouble>, IssuerError> {
        *lock(&self.found) = None;
        let found = self.find(pca).await?;
        let frozen = found.freeze_flag.is_some_and(|flag| flag != 0);
        let (standing, is) = match &found.status {
            _ if frozen => (Standing::Frozen, "is frozen"),
            AuthorityStatus::Disabled => (Standing::IssuerDisabled, "is disabled"),
            AuthorityStatus::Deleted => (Standing::IssuerDisabled, "is to be deleted"),
            AuthorityStatus::Expired => (Standing::IssuerDisabled, "has expired"),
            AuthorityStatus::Actived | AuthorityStatus::Pending | AuthorityStatus::Unknown(_) => {
                return Ok(None);
            }
        };
        Ok(Some((standing, format!("{} {is}", show(&found)))))
    }

    /// When it ends, as it was last read.
    pub(super) fn ends(&self) -> Option<Timestamp> {
        self.known()?.not_after.map(Timestamp::from_millis)
    }

    /// After a refusal that may be due to a CA that is no longer what it was.
    pub(super) fn forget(&self) {
        *lock(&self.found) = None;
        *lock(&self.certificate) = None;
    }

    fn known(&self) -> Option<Arc<Authority>> {
        lock(&self.found).clone()
    }

    async fn by_id(&self, pca: &Pca) -> Result<Authority, IssuerError> {
        match pca.show_authority(&self.wanted).await {
            Err(error) if error.code.as_deref() == Some("PCA.00030102") => {
                let error = reading(error);
                let others = candidates(&list(pca, None).await?);
                Err(IssuerError {
                    class: ErrorClass::Configuration,
                    message: format!("{}; the account has {others}", error.message),
                    ..error
                })
            }
            other => other.map_err(reading),
        }
    }

    async fn by_name(&self, pca: &Pca) -> Result<Authority, IssuerError> {
        // The API's filter takes 64 characters and finds every name that contains them.
        let filter = Some(self.wanted.as_str()).filter(|name| (1..=64).contains(&name.len()));
        let mut same: Vec<Authority> = list(pca, filter)
            .await?
            .into_iter()
            .filter(|authority| authority.common_name() == self.wanted)
            .collect();
        if same.len() > 1 && same.iter().filter(|one| is_active(one)).count() == 1 {
            // The others are what is left of earlier ones of that name.
            same.retain(is_active);
        }
        let wrong = |message| Err(own(ErrorClass::Configuration, message));
        match (same.pop(), same.as_slice()) {
            (Some(found), []) => Ok(found),
            (None, _) => {
                let others = candidates(&list(pca, None).await?);
                let wanted = &self.wanted;
                wrong(format!(
                    "no CA has the common name `{wanted}`; the account has {others}"
                ))
            }
            (Some(last), _) => {
                same.push(last);
                let (wanted, several) = (&self.wanted, candidates(&same));
                wrong(format!(
                    "several CAs have the common name `{wanted}`: {several}; set `ca` to the id of one"
                ))
            }
        }
    }
}

fn lock<T>(slot: &Mutex<T>) -> MutexGuard<'_, T> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A CA in one phrase, such as `CA corp-issuing (6f7e…, ACTIVED)`.
pub(super) fn show(authority: &Authority) -> String {
    format!(
        "CA {} ({}, {})",
        authority.common_name(),
        authority.ca_id,
        authority.status
    )
}

async fn list(pca: &Pca, name: Option<&str>) -> Result<Vec<Authority>, IssuerError> {
    let mut collector = Collector::default();
    loop {
        let query = AuthorityQuery {
            name,
            limit: PAGE,
            offset: collector.offset(),
            ..AuthorityQuery::default()
        };
        let page = pca.list_authorities(&query).await.map_err(reading)?;
        if !collector.add(page, |authority| &authority.ca_id) {
            break;
        }
    }
    if collector.complete() {
        return Ok(collector.into_items());
    }
    let progress = collector.progress();
    Err(own(
        ErrorClass::Transient,
        format!(
            "PCA list CAs at {}: incomplete, {progress} read",
            pca.host()
        ),
    ))
}

fn is_active(authority: &Authority) -> bool {
    authority.status == AuthorityStatus::Actived
}

fn candidates(all: &[Authority]) -> String {
    let mut shown: Vec<String> = all.iter().take(MOST_SHOWN).map(show).collect();
    if all.len() > MOST_SHOWN {
        shown.push(format!("{} more", all.len() - MOST_SHOWN));
    }
    if shown.is_empty() {
        "no CA that this user may see".to_owned()
    } else {
        shown.join(", ")
    }
}

/// 36 characters, as all ids of PCA: `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx`.
fn is_id(text: &str) -> bool {
    let groups: Vec<&str> = text.split('-').collect();
    groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12])
        && text.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit())
}

/// The most that 4.2.1.1 gives at once; an account has 100 CAs unless its quota was raised.
const PAGE: u32 = 1000;
/// CAs named in a message.
const MOST_SHOWN: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_told_from_a_name() {
        assert!(is_id("4c0e772e-a30c-4029-b929-b7acb04143f7"));
        assert!(!is_id("corp-issuing"));
        assert!(!is_id("4c0e772e-a30c-4029-b929-b7acb04143fg"));
    }
}
