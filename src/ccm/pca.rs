//! PCA (CCM API 4.2): private CAs and certificates. CAs are in `authorities`, certificates here.
//!
//! The reference prints `/v1/private-certificateAuthorities` on most pages, by an accident of its own making; the SDK,
//! its chapter 6 and we say `/v1/private-certificate-authorities`.

mod authorities;

use crate::ccm::Answer;
use crate::ccm::client::{Call, Client};
use crate::ccm::error::{CcmError, Class, Effect};
use crate::ccm::operations as op;
use crate::ccm::paging::Page;
use crate::ccm::wire::authorities::{Quota, QuotaAnswer, Revoke};
use crate::ccm::wire::private::{
    ExportWanted, ExportedPem, Issue, IssueByCsr, ParseCsr, ParsedCsr, PrivateCertificate,
    PrivateCertificateList,
};
use crate::ccm::wire::scm::Made;
use crate::ccm::wire::words::{
    AuthorityKind, AuthoritySort, AuthorityStatus, CertificateSort, ExportKind, RevocationReason,
    SortDirection,
};
use crate::pki::Secret;

/// The operations of PCA.
pub struct Pca {
    client: Client,
}

/// Which CAs (4.2.1.1).
#[derive(Debug, Clone, Default)]
pub struct AuthorityQuery<'a> {
    /// Those whose common name contains it; at most 64 characters.
    pub name: Option<&'a str>,
    /// Only of this status.
    pub status: Option<AuthorityStatus>,
    /// Only of this kind.
    pub kind: Option<AuthorityKind>,
    /// By what they are sorted; when they were made without it.
    pub sort_key: Option<AuthoritySort>,
    /// The other way round than the last first.
    pub sort_dir: Option<SortDirection>,
    /// At most so many in the answer, up to 1000.
    pub limit: u32,
    /// Leaving out so many.
    pub offset: u64,
}

/// Which certificates (4.2.2.1); those made last come first, unless another order is asked for.
#[derive(Debug, Clone, Default)]
pub struct CertificateQuery<'a> {
    /// Those whose common name contains it; at most 64 characters.
    pub name: Option<&'a str>,
    /// Only of this status, such as `ISSUED`.
    pub status: Option<&'a str>,
    /// By what they are sorted.
    pub sort_key: Option<CertificateSort>,
    /// In which direction.
    pub sort_dir: Option<SortDirection>,
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

    /// 4.2.2.1.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn list_certificates(
        &self,
        query: &CertificateQuery<'_>,
    ) -> Answer<Page<PrivateCertificate>> {
        let sort_key = query.sort_key.clone().unwrap_or(CertificateSort::Created);
        let sort_dir = query.sort_dir.clone().unwrap_or(SortDirection::Descending);
        let call = Call::of(&op::CERT_LIST, &[])?
            .query("limit", query.limit)
            .query("offset", query.offset)
            .query("sort_key", sort_key)
            .query("sort_dir", sort_dir)
            .maybe("name", query.name)
            .maybe("status", query.status);
        self.client
            .call::<PrivateCertificateList>(call)
            .await
            .map(Page::from)
    }

    /// 4.2.2.3; returns the certificate's id. Has no idempotency key: a second one makes a second certificate.
    ///
    /// # Errors
    /// Those of every call; `Rejected` without sending where a limit is passed.
    pub async fn issue_by_csr(&self, request: &IssueByCsr) -> Answer<String> {
        let call = Call::of(&op::CERT_BY_CSR, &[])?.body(request)?;
        let made: Made = self.client.call(call).await?;
        Ok(made.certificate_id)
    }

    /// 4.2.2.2; returns the certificate's id. Has no idempotency key: a second one makes a second certificate.
    ///
    /// # Errors
    /// Those of every call; `Rejected` without sending where a limit is passed.
    pub async fn issue(&self, request: &Issue) -> Answer<String> {
        let call = Call::of(&op::CERT_ISSUE, &[])?.body(request)?;
        let made: Made = self.client.call(call).await?;
        Ok(made.certificate_id)
    }

    /// 4.2.2.4: what the service reads in a CSR; nothing is made.
    ///
    /// # Errors
    /// Those of every call; `Rejected` without sending where the CSR is too long.
    pub async fn parse_csr(&self, csr: &str) -> Answer<ParsedCsr> {
        let request = ParseCsr {
            csr: csr.to_owned(),
        };
        let call = Call::of(&op::CERT_PARSE, &[])?.body(&request)?;
        self.client.call(call).await
    }

    /// 4.2.2.5: how many certificates there are and may be.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn certificate_quota(&self) -> Answer<Vec<Quota>> {
        let call = Call::of(&op::CERT_QUOTA, &[])?;
        let answer: QuotaAnswer = self.client.call(call).await?;
        Ok(answer.quotas.unwrap_or_default().resources)
    }

    /// 4.2.2.6.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn show_certificate(&self, id: &str) -> Answer<PrivateCertificate> {
        self.client.call(Call::of(&op::CERT_SHOW, &[id])?).await
    }

    /// 4.2.2.7. It is gone for good; a certificate that is in use goes on being trusted, and cannot be revoked any more.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn delete_certificate(&self, id: &str) -> Answer<()> {
        let call = Call::of(&op::CERT_DELETE, &[id])?;
        self.client.call_silent(call).await
    }

    /// 4.2.2.8, as PEM in JSON. Only ISSUED certificates can be exported; the key is there only if PCA made it.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn export_certificate(&self, id: &str) -> Answer<ExportedPem> {
        self.export_certificate_for(id, ExportKind::Other).await
    }

    /// 4.2.2.8, as PEM in JSON for a server. For IIS and Tomcat the reference defines no such answer.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn export_certificate_for(&self, id: &str, kind: ExportKind) -> Answer<ExportedPem> {
        self.client.call(export(id, kind, false)?).await
    }

    /// 4.2.2.8, as an archive with the files that this kind of server reads; IIS and Tomcat get a keystore and its
    /// password. The archive holds the private key.
    ///
    /// # Errors
    /// Those of every call; `Transient` where what came is no archive.
    pub async fn export_certificate_zip(&self, id: &str, kind: ExportKind) -> Answer<Secret> {
        let call = export(id, kind, true)?;
        let operation = call.operation.clone();
        let archive = self.client.call_file(call).await?;
        if archive.expose().starts_with(b"PK") {
            return Ok(archive);
        }
        let message = "the answer is no zip archive";
        Err(Box::new(CcmError::call(
            &operation,
            self.host(),
            Class::Transient,
            Effect::None,
            message,
        )))
    }

    /// 4.2.2.9. Without a reason the body is still `{}`: none at all is an error.
    ///
    /// # Errors
    /// Those of every call; `Rejected` without sending for a reason that the reference does not list.
    pub async fn revoke_certificate(&self, id: &str, reason: Option<&str>) -> Answer<()> {
        let reason = reason.map(|reason| RevocationReason::from(reason.to_owned()));
        let call = Call::of(&op::CERT_REVOKE, &[id])?.body(&Revoke { reason })?;
        self.client.call_silent(call).await
    }
}

fn export(id: &str, kind: ExportKind, compressed: bool) -> Answer<Call<'static>> {
    let request = ExportWanted {
        kind,
        is_compressed: compressed.to_string(),
    };
    Call::of(&op::CERT_EXPORT, &[id])?.body(&request)
}
