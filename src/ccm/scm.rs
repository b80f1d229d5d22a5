//! SCM (CCM API 4.1): public and imported certificates. Orders and purchases are not here yet.

use crate::ccm::Answer;
use crate::ccm::client::{Call, Client, segment};
use crate::ccm::paging::Page;
use crate::ccm::wire::{ExportedPem, Import, Made, ScmCertificate, ScmCertificateList, ScmDetails};

/// The operations of SCM.
pub struct Scm {
    client: Client,
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
    /// 10, 20 or 50.
    pub limit: u32,
    /// Leaving out so many.
    pub offset: u64,
}

impl Scm {
    /// Speaks SCM over `client`.
    #[must_use]
    pub const fn new(client: Client) -> Self {
        Self { client }
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
        let mut call = Call::get("SCM list certificates", CERTIFICATES.to_owned())
            .query("limit", query.limit)
            .query("offset", query.offset);
        for (key, value) in [
            ("status", query.status),
            ("sort_key", query.sort_key),
            ("sort_dir", query.sort_dir),
        ] {
            if let Some(value) = value {
                call = call.query(key, value);
            }
        }
        if let Some(days) = query.expired_days_since {
            call = call.query("expired_days_since", days);
        }
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
        let path = format!("{CERTIFICATES}/{}", segment(id)?);
        self.client
            .call(Call::get("SCM show certificate", path))
            .await
    }

    /// 4.1.5.5; a POST without a body.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn export_certificate(&self, id: &str) -> Answer<ExportedPem> {
        let path = format!("{CERTIFICATES}/{}/export", segment(id)?);
        self.client
            .call(Call::read("SCM export certificate", path))
            .await
    }

    /// 4.1.5.2; returns the new id. `duplicate_check` is left out: compare fingerprints first.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn import_certificate(&self, import: &Import<'_>) -> Answer<String> {
        let path = format!("{CERTIFICATES}/import");
        let call = Call::act("SCM import certificate", path).json(import)?;
        let made: Made = self.client.call(call).await?;
        Ok(made.certificate_id)
    }
}

const CERTIFICATES: &str = "/v3/scm/certificates";
