//! Buying certificates and applying for them (CCM API 4.1.1, 4.1.3).

use crate::ccm::Answer;
use crate::ccm::client::Call;
use crate::ccm::operations as op;
use crate::ccm::scm::Scm;
use crate::ccm::wire::orders::{Apply, Buy, Cancelled, Purchase, RequestInfo};

impl Scm {
    /// 4.1.3.1. It costs money, and a second one costs it again.
    ///
    /// # Errors
    /// Those of every call; `Rejected` without sending where a limit is passed.
    pub async fn buy(&self, request: &Buy) -> Answer<Purchase> {
        let call = Call::of(&op::BUY, &[])?.body(request)?;
        self.client.call(call).await
    }

    /// 4.1.1.1, for a certificate that was bought.
    ///
    /// # Errors
    /// Those of every call; `Rejected` without sending where a limit is passed.
    pub async fn apply(&self, id: &str, request: &Apply) -> Answer<RequestInfo> {
        let call = Call::of(&op::APPLY, &[id])?.body(request)?;
        self.client.call(call).await
    }

    /// 4.1.1.2: withdraws an application.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn cancel(&self, id: &str) -> Answer<Cancelled> {
        self.client.call(Call::of(&op::CANCEL, &[id])?).await
    }
}
