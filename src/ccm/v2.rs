//! The former face of SCM (CCM API chapter 7), which the reference keeps beside `/v3`: the same certificates, a project in
//! every path, other names of the fields.

use std::sync::Arc;

use crate::ccm::Answer;
use crate::ccm::client::{Call, Client};
use crate::ccm::operations as op;
use crate::ccm::wire::orders::{Cancelled, Purchase, RequestInfo};
use crate::ccm::wire::v2::{
    ApplyV2, BuyV2, CheckCsr, CheckedCsr, DetailsV2, DomainVerification, Message, Modify,
    OrderPage, Product, Products, PushHistory, PushV2, ResponseInfo, RevokeV2, SavedApplication,
    Supplement, UploadV2, Uploaded,
};
use crate::ccm::wire::words::{AuthenticationKind, ScmSort, SortDirection};
use crate::pki::Secret;

/// The operations of chapter 7 within one project.
pub struct ScmV2 {
    client: Arc<Client>,
    project: String,
}

/// Which certificates (7.1.2).
#[derive(Debug, Clone, Default)]
pub struct OrderQuery<'a> {
    /// Only of this status.
    pub order_status: Option<&'a str>,
    /// Those whose name or domain contains it.
    pub content: Option<&'a str>,
    /// By what they are sorted.
    pub sort_key: Option<ScmSort>,
    /// In which direction.
    pub sort_dir: Option<SortDirection>,
    /// 10, 20 or 50.
    pub limit: Option<u32>,
    /// 1 to 30, by the reference; not sent without.
    pub offset: Option<u64>,
}

impl ScmV2 {
    /// Speaks chapter 7 over `client`, within the project of this id.
    #[must_use]
    pub fn new(client: Client, project: String) -> Self {
        Self::over(Arc::new(client), project)
    }

    pub(in crate::ccm) const fn over(client: Arc<Client>, project: String) -> Self {
        Self { client, project }
    }

    /// `host:port`, for people.
    #[must_use]
    pub fn host(&self) -> &str {
        self.client.host()
    }

    /// 7.1.1. It costs money, and a second one costs it again.
    ///
    /// # Errors
    /// Those of every call; `Rejected` without sending where a limit is passed.
    pub async fn buy(&self, request: &BuyV2) -> Answer<Purchase> {
        let call = Call::of(&op::V2_BUY, &[&self.project])?.body(request)?;
        self.client.call(call).await
    }

    /// 7.1.2.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn list(&self, query: &OrderQuery<'_>) -> Answer<OrderPage> {
        let call = Call::of(&op::V2_LIST, &[&self.project])?
            .maybe("order_status", query.order_status)
            .maybe("content", query.content)
            .maybe("sort_key", query.sort_key.as_ref())
            .maybe("sort_dir", query.sort_dir.as_ref())
            .maybe("limit", query.limit)
            .maybe("offset", query.offset);
        self.client.call(call).await
    }

    /// 7.1.3.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn show(&self, id: &str) -> Answer<DetailsV2> {
        let call = Call::of(&op::V2_SHOW, &[&self.project, id])?;
        self.client.call(call).await
    }

    /// 7.1.4: another name or description.
    ///
    /// # Errors
    /// Those of every call; `Rejected` without sending where a limit is passed.
    pub async fn modify(&self, id: &str, request: &Modify) -> Answer<ResponseInfo> {
        let call = Call::of(&op::V2_MODIFY, &[&self.project, id])?.body(request)?;
        self.client.call(call).await
    }

    /// 7.1.5: what can be bought.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn products(&self) -> Answer<Products> {
        let call = Call::of(&op::V2_PRODUCTS, &[&self.project])?;
        self.client.call(call).await
    }

    /// 7.1.6.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn product(&self, id: &str) -> Answer<Product> {
        let call = Call::of(&op::V2_PRODUCT, &[&self.project, id])?;
        self.client.call(call).await
    }

    /// 7.1.7, for a certificate that was bought.
    ///
    /// # Errors
    /// Those of every call; `Rejected` without sending where a limit is passed.
    pub async fn apply(&self, id: &str, request: &ApplyV2) -> Answer<RequestInfo> {
        let call = Call::of(&op::V2_APPLY, &[&self.project, id])?.body(request)?;
        self.client.call(call).await
    }

    /// 7.1.8: the common name that the service reads in a CSR.
    ///
    /// # Errors
    /// Those of every call; `Rejected` without sending where the CSR is too long.
    pub async fn check_csr(&self, csr: &str) -> Answer<CheckedCsr> {
        let request = CheckCsr {
            csr: csr.to_owned(),
        };
        let call = Call::of(&op::V2_CHECK_CSR, &[&self.project])?.body(&request)?;
        let mut checked: CheckedCsr = self.client.call(call).await?;
        let domain = checked.domain.take();
        checked.domain_name = checked.domain_name.or(domain);
        Ok(checked)
    }

    /// 7.1.9: keeps an application without handing it in. What it does not know (`auto_dns_auth`, `domain_method`) is
    /// left out.
    ///
    /// # Errors
    /// Those of every call; `Rejected` without sending where a limit is passed.
    pub async fn save(&self, id: &str, request: &ApplyV2) -> Answer<RequestInfo> {
        let request = ApplyV2 {
            auto_dns_auth: None,
            domain_method: None,
            ..request.clone()
        };
        let call = Call::of(&op::V2_SAVE, &[&self.project, id])?.body(&request)?;
        self.client.call(call).await
    }

    /// 7.1.10: what was kept; a POST without a body.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn saved(&self, id: &str) -> Answer<SavedApplication> {
        let call = Call::of(&op::V2_READ, &[&self.project, id])?;
        self.client.call(call).await
    }

    /// 7.1.11: withdraws an application.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn cancel(&self, id: &str) -> Answer<Cancelled> {
        let call = Call::of(&op::V2_CANCEL, &[&self.project, id])?;
        self.client.call(call).await
    }

    /// 7.1.12. It is gone for good.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn delete(&self, id: &str) -> Answer<Message> {
        let call = Call::of(&op::V2_DELETE, &[&self.project, id])?;
        self.client.call(call).await
    }

    /// 7.1.13: a picture for the review. The reference says only that the content is the body.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn upload_authentication(
        &self,
        id: &str,
        kind: &AuthenticationKind,
        picture: Vec<u8>,
    ) -> Answer<RequestInfo> {
        let ids = [self.project.as_str(), id, kind.as_str()];
        let call = Call::of(&op::V2_AUTHENTICATION, &ids)?.bytes(PICTURE, picture);
        self.client.call(call).await
    }

    /// 7.1.14: certificate and key as an archive, as the service packs it.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn download(&self, id: &str) -> Answer<Secret> {
        let call = Call::of(&op::V2_DOWNLOAD, &[&self.project, id])?;
        self.client.call_file(call).await
    }

    /// 7.1.15; returns the new id.
    ///
    /// # Errors
    /// Those of every call; `Rejected` without sending where a limit is passed.
    pub async fn upload(&self, request: &UploadV2<'_>) -> Answer<String> {
        let call = Call::of(&op::V2_UPLOAD, &[&self.project])?.body(request)?;
        let uploaded: Uploaded = self.client.call(call).await?;
        Ok(uploaded.cert_id)
    }

    /// 7.1.16, with a reason in words.
    ///
    /// # Errors
    /// Those of every call; `Rejected` without sending where a limit is passed.
    pub async fn revoke(&self, id: &str, reason: &str) -> Answer<Message> {
        let request = RevokeV2 {
            reason: reason.to_owned(),
        };
        let call = Call::of(&op::V2_REVOKE, &[&self.project, id])?.body(&request)?;
        self.client.call(call).await
    }

    /// 7.1.17: to one service of one project.
    ///
    /// # Errors
    /// Those of every call; `Rejected` without sending where a limit is passed.
    pub async fn push(&self, id: &str, request: &PushV2) -> Answer<Message> {
        let call = Call::of(&op::V2_PUSH, &[&self.project, id])?.body(request)?;
        self.client.call(call).await
    }

    /// 7.1.18.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn push_history(&self, id: &str) -> Answer<PushHistory> {
        let call = Call::of(&op::V2_HISTORY, &[&self.project, id])?;
        self.client.call(call).await
    }

    /// 7.1.19: takes the consent to the use of personal data back.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn cancel_privacy(&self, id: &str) -> Answer<Message> {
        let call = Call::of(&op::V2_PRIVACY, &[&self.project, id])?;
        self.client.call(call).await
    }

    /// 7.1.20: further names for a multi-domain certificate.
    ///
    /// # Errors
    /// Those of every call; `Rejected` without sending where a limit is passed.
    pub async fn supplement(&self, id: &str, request: &Supplement) -> Answer<RequestInfo> {
        let call = Call::of(&op::V2_SUPPLEMENT, &[&self.project, id])?.body(request)?;
        self.client.call(call).await
    }

    /// 7.1.21: what must be done to prove the domain.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn domain_verification(&self, id: &str) -> Answer<DomainVerification> {
        let call = Call::of(&op::V2_VERIFY, &[&self.project, id])?;
        self.client.call(call).await
    }
}

/// Any bytes: the reference names no type.
const PICTURE: &str = "application/octet-stream";
