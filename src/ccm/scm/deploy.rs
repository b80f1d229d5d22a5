//! Pushing certificates to other services and deploying them there (CCM API 4.1.6).

use crate::ccm::Answer;
use crate::ccm::client::Call;
use crate::ccm::operations as op;
use crate::ccm::scm::Scm;
use crate::ccm::wire::deploy::{
    BatchPush, Deploy, DeployResult, Deployed, Push, PushResults, UsingList,
};

impl Scm {
    /// 4.1.6.1: to one service of one project.
    ///
    /// # Errors
    /// Those of every call; `Rejected` without sending where a limit is passed.
    pub async fn push(&self, id: &str, request: &Push) -> Answer<()> {
        let call = Call::of(&op::PUSH, &[id])?.body(request)?;
        self.client.call_silent(call).await
    }

    /// 4.1.6.2: to one service of several projects; each has its own result.
    ///
    /// # Errors
    /// Those of every call; `Rejected` without sending where a limit is passed.
    pub async fn batch_push(&self, id: &str, request: &BatchPush) -> Answer<PushResults> {
        let call = Call::of(&op::BATCH_PUSH, &[id])?.body(request)?;
        self.client.call(call).await
    }

    /// 4.1.6.3: things of a service use it from now on. The answer lists those that do not.
    ///
    /// # Errors
    /// Those of every call; `Rejected` without sending where a limit is passed.
    pub async fn deploy(&self, id: &str, request: &Deploy) -> Answer<DeployResult> {
        let call = Call::of(&op::DEPLOY, &[id])?.body(request)?;
        self.client.call(call).await
    }

    /// 4.1.6.4: where certificates are used.
    ///
    /// # Errors
    /// Those of every call; `Rejected` without sending where a limit is passed.
    pub async fn deployed(&self, request: &Deployed) -> Answer<UsingList> {
        let call = Call::of(&op::DEPLOYED, &[])?.body(request)?;
        self.client.call(call).await
    }
}
