//! SCM (CCM API 4.1): public and imported certificates. Applications and purchases are in `orders`, CSRs in `csr`, tags in
//! `tags`, other services in `deploy`.

mod csr;
mod deploy;
mod orders;
mod tags;

pub use csr::CsrQuery;

use std::sync::Arc;

use crate::ccm::Answer;
use crate::ccm::client::{Call, Client};
use crate::ccm::operations as op;
use crate::ccm::paging::Page;
use crate::ccm::v2::ScmV2;
use crate::ccm::wire::private::ExportedPem;
use crate::ccm::wire::scm::{Import, Made, ScmCertificate, ScmCertificateList, ScmDetails};

/// The operations of SCM.
pub struct Scm {
    client: Arc<Client>,
}

/// Which certificates (4.1.5.1).
///
/// `expired_days_since` is the API's own filter by expiry. Reference and SDK contradict each other about its meaning
/// (expires within N days; expired at most N days ago), so nothing here relies on it: renewd looks at `expire_time`.
#[derive(Debug, Clone, Default)]
pub struct ScmQuery<'a> {
    /// Only of this status, such as `ISSUED`; all without it.
    pub status: Option<&'a str>,
    /// `certExpiredTime`, `certStatus` or `certUpdateTime` (the API's default).
    pub sort_key: Option<&'a str>,
    /// `ASC` or `DESC` (the API's default).
    pub sort_dir: Option<&'a str>,
    /// 1 to 1095; sent only for people who ask for it.
    pub expired_days_since: Option<u32>,
    /// Only those that can be deployed to other services.
    pub deploy_support: Option<bool>,
    /// Only those that belong to the account itself; the API's default.
    pub owned_by_self: Option<bool>,
    /// 10, 20 or 50.
    pub limit: u32,
    /// Leaving out so many, up to 100.
    pub offset: u64,
}

impl Scm {
    /// Speaks SCM over `client`.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self {
            client: Arc::new(client),
        }
    }

    /// Its former face within the project of this id, over the same client.
    #[must_use]
    pub fn v2(&self, project: String) -> ScmV2 {
        ScmV2::over(Arc::clone(&self.client), project)
    }

    /// `host:port`, for people.
    #[must_use]
    pub fn host(&self) -> &str {
        self.client.host()
    }

    /// 4.1.5.1.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn list_certificates(&self, query: &ScmQuery<'_>) -> Answer<Page<ScmCertificate>> {
        let call = Call::of(&op::SCM_LIST, &[])?
            .query("limit", query.limit)
            .query("offset", query.offset)
            .maybe("status", query.status)
            .maybe("sort_key", query.sort_key)
            .maybe("sort_dir", query.sort_dir)
            .maybe("expired_days_since", query.expired_days_since)
            .maybe("deploy_support", query.deploy_support)
            .maybe("owned_by_self", query.owned_by_self);
        self.client
            .call::<ScmCertificateList>(call)
            .await
            .map(Page::from)
    }

    /// 4.1.5.3.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn show_certificate(&self, id: &str) -> Answer<ScmDetails> {
        self.client.call(Call::of(&op::SCM_SHOW, &[id])?).await
    }

    /// 4.1.5.5; a POST without a body.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn export_certificate(&self, id: &str) -> Answer<ExportedPem> {
        self.client.call(Call::of(&op::SCM_EXPORT, &[id])?).await
    }

    /// 4.1.5.2; returns the new id. `duplicate_check` is left out: compare fingerprints first.
    ///
    /// # Errors
    /// Those of every call; `Rejected` without sending where a limit is passed.
    pub async fn import_certificate(&self, import: &Import<'_>) -> Answer<String> {
        let call = Call::of(&op::SCM_IMPORT, &[])?.body(import)?;
        let made: Made = self.client.call(call).await?;
        Ok(made.certificate_id)
    }

    /// 4.1.5.4. It is gone for good, with its key.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn delete_certificate(&self, id: &str) -> Answer<()> {
        let call = Call::of(&op::SCM_DELETE, &[id])?;
        self.client.call_silent(call).await
    }
}
