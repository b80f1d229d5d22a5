//! CSRs that are kept at SCM (CCM API 4.1.4).

use crate::ccm::Answer;
use crate::ccm::client::Call;
use crate::ccm::error::{CcmError, Class, Effect};
use crate::ccm::operations as op;
use crate::ccm::paging::Page;
use crate::ccm::scm::Scm;
use crate::ccm::wire::csr::{CreateCsr, Csr, CsrKey, CsrList, RenameCsr, UploadCsr};
use crate::ccm::wire::words::CsrAlgorithm;
use crate::pki::Secret;

/// Which CSRs (4.1.4.2).
#[derive(Debug, Clone, Default)]
pub struct CsrQuery<'a> {
    /// Those whose name contains it; at most 32 characters.
    pub name: Option<&'a str>,
    /// Only with such a key.
    pub private_key_algo: Option<CsrAlgorithm>,
    /// 10, 20 or 50.
    pub limit: u32,
    /// Leaving out so many, up to 100.
    pub offset: u64,
}

impl Scm {
    /// 4.1.4.1: SCM makes the key and keeps it.
    ///
    /// # Errors
    /// Those of every call; `Rejected` without sending where a limit is passed.
    pub async fn create_csr(&self, request: &CreateCsr) -> Answer<Csr> {
        let call = Call::of(&op::CSR_CREATE, &[])?.body(request)?;
        self.client.call(call).await
    }

    /// 4.1.4.2.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn list_csrs(&self, query: &CsrQuery<'_>) -> Answer<Page<Csr>> {
        let call = Call::of(&op::CSR_LIST, &[])?
            .query("limit", query.limit)
            .query("offset", query.offset)
            .maybe("name", query.name)
            .maybe("private_key_algo", query.private_key_algo.as_ref());
        self.client.call::<CsrList>(call).await.map(Page::from)
    }

    /// 4.1.4.3.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn show_csr(&self, id: &str) -> Answer<Csr> {
        self.client.call(Call::of(&op::CSR_SHOW, &[id])?).await
    }

    /// 4.1.4.4: gives it another name, the one thing that can be changed.
    ///
    /// # Errors
    /// Those of every call; `Rejected` without sending where a limit is passed.
    pub async fn rename_csr(&self, id: &str, name: &str) -> Answer<Csr> {
        let request = RenameCsr {
            name: name.to_owned(),
        };
        let call = Call::of(&op::CSR_UPDATE, &[id])?.body(&request)?;
        self.client.call(call).await
    }

    /// 4.1.4.5. It is gone for good, with its key.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn delete_csr(&self, id: &str) -> Answer<()> {
        let call = Call::of(&op::CSR_DELETE, &[id])?;
        self.client.call_silent(call).await
    }

    /// 4.1.4.6: one that was made elsewhere, with its key or without.
    ///
    /// # Errors
    /// Those of every call; `Rejected` without sending where a limit is passed.
    pub async fn upload_csr(&self, request: &UploadCsr<'_>) -> Answer<Csr> {
        let call = Call::of(&op::CSR_UPLOAD, &[])?.body(request)?;
        self.client.call(call).await
    }

    /// 4.1.4.7: the private key of a CSR, as PEM.
    ///
    /// # Errors
    /// Those of every call; `Rejected` where SCM has no key of it.
    pub async fn show_csr_key(&self, id: &str) -> Answer<Secret> {
        let call = Call::of(&op::CSR_KEY, &[id])?;
        let operation = call.operation.clone();
        let answer: CsrKey = self.client.call(call).await?;
        answer.private_key.ok_or_else(|| {
            let (class, message) = (Class::Rejected, "SCM has no key of this CSR");
            let error = CcmError::call(&operation, self.host(), class, Effect::None, message);
            Box::new(CcmError {
                status: Some(200),
                ..error
            })
        })
    }
}
