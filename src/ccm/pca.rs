//! PCA (CCM API 4.2): private CAs and certificates.
//!
//! The reference prints `/v1/private-certificateAuthorities` on most pages, by an accident of its own making; the SDK,
//! its chapter 6 and we say `/v1/private-certificate-authorities`.

use serde_json::json;

use crate::ccm::Answer;
use crate::ccm::client::{Call, Client, segment};
use crate::ccm::paging::Page;
use crate::ccm::wire::{
    Authority, AuthorityList, ExportedPem, Issue, IssueByCsr, Made, PrivateCertificate,
    PrivateCertificateList,
};

/// The operations of PCA.
pub struct Pca {
    client: Client,
}

/// Which CAs (4.2.1.1).
#[derive(Debug, Clone, Default)]
pub struct AuthorityQuery<'a> {
    /// Those whose common name contains it; at most 64 characters.
    pub name: Option<&'a str>,
    /// At most so many in the answer, up to 1000.
    pub limit: u32,
    /// Leaving out so many.
    pub offset: u64,
}

/// Which certificates (4.2.2.1); those made last come first.
#[derive(Debug, Clone, Default)]
pub struct CertificateQuery<'a> {
    /// Those whose common name contains it; at most 64 characters.
    pub name: Option<&'a str>,
    /// Only of this status, such as `ISSUED`.
    pub status: Option<&'a str>,
    /// At most so many in the answer, up to 1000.
    pub limit: u32,
    /// Leaving out so many.
    pub offset: u64,
}

impl Pca {
    /// Speaks PCA over `client`.
    #[must_use]
    pub const fn new(client: Client) -> Self {
        Self { client }
    }

    /// `host:port`, for people.
    #[must_use]
    pub fn host(&self) -> &str {
        self.client.host()
    }

    /// 4.2.1.1.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn list_authorities(&self, query: &AuthorityQuery<'_>) -> Answer<Page<Authority>> {
        let mut call = Call::get("PCA list CAs", AUTHORITIES.to_owned())
            .query("limit", query.limit)
            .query("offset", query.offset);
        if let Some(name) = query.name {
            call = call.query("name", name);
        }
        self.client
            .call::<AuthorityList>(call)
            .await
            .map(Page::from)
    }

    /// 4.2.1.4.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn show_authority(&self, id: &str) -> Answer<Authority> {
        let path = format!("{AUTHORITIES}/{}", segment(id)?);
        self.client.call(Call::get("PCA show CA", path)).await
    }

    /// 4.2.2.1.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn list_certificates(
        &self,
        query: &CertificateQuery<'_>,
    ) -> Answer<Page<PrivateCertificate>> {
        let mut call = Call::get("PCA list certificates", CERTIFICATES.to_owned())
            .query("limit", query.limit)
            .query("offset", query.offset)
            .query("sort_key", "create_time")
            .query("sort_dir", "DESC");
        if let Some(name) = query.name {
            call = call.query("name", name);
        }
        if let Some(status) = query.status {
            call = call.query("status", status);
        }
        self.client
            .call::<PrivateCertificateList>(call)
            .await
            .map(Page::from)
    }

    /// 4.2.2.3; returns the certificate's id. Has no idempotency key: a second one makes a second certificate.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn issue_by_csr(&self, request: &IssueByCsr) -> Answer<String> {
        let call = Call::act("PCA issue by CSR", format!("{CERTIFICATES}/csr")).json(request)?;
        let made: Made = self.client.call(call).await?;
        Ok(made.certificate_id)
    }

    /// 4.2.2.2; returns the certificate's id. Has no idempotency key: a second one makes a second certificate.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn issue(&self, request: &Issue) -> Answer<String> {
        let call = Call::act("PCA issue with key", CERTIFICATES.to_owned()).json(request)?;
        let made: Made = self.client.call(call).await?;
        Ok(made.certificate_id)
    }

    /// 4.2.2.6.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn show_certificate(&self, id: &str) -> Answer<PrivateCertificate> {
        let path = format!("{CERTIFICATES}/{}", segment(id)?);
        self.client
            .call(Call::get("PCA show certificate", path))
            .await
    }

    /// 4.2.2.8, as PEM in JSON. Only ISSUED certificates can be exported; the key is there only if PCA made it.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn export_certificate(&self, id: &str) -> Answer<ExportedPem> {
        let path = format!("{CERTIFICATES}/{}/export", segment(id)?);
        let body = json!({"type": "OTHER", "is_compressed": "false"});
        let call = Call::read("PCA export certificate", path).json(&body)?;
        self.client.call(call).await
    }

    /// 4.2.1.10: the CA's own certificate and its chain.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn export_authority(&self, id: &str) -> Answer<ExportedPem> {
        let path = format!("{AUTHORITIES}/{}/export", segment(id)?);
        self.client
            .call(Call::read("PCA export CA certificate", path))
            .await
    }

    /// 4.2.2.9. Without a reason the body is still `{}`: none at all is an error.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn revoke_certificate(&self, id: &str, reason: Option<&str>) -> Answer<()> {
        let path = format!("{CERTIFICATES}/{}/revoke", segment(id)?);
        let body = reason.map_or_else(|| json!({}), |reason| json!({"reason": reason}));
        let call = Call::act("PCA revoke certificate", path).json(&body)?;
        self.client.call_silent(call).await
    }
}

const AUTHORITIES: &str = "/v1/private-certificate-authorities";
const CERTIFICATES: &str = "/v1/private-certificates";
