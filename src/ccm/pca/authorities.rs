//! CAs (CCM API 4.2.1) and what their revocation lists need of OBS (4.2.3).

use crate::ccm::Answer;
use crate::ccm::client::Call;
use crate::ccm::error::{CcmError, Class};
use crate::ccm::operations as op;
use crate::ccm::paging::Page;
use crate::ccm::pca::{AuthorityQuery, Pca};
use crate::ccm::wire::authorities::{
    ActivateAuthority, Authority, AuthorityCsr, AuthorityList, AuthorityMade, CreateAuthority,
    ImportAuthority, ObsAgency, ObsAgencyMade, ObsBuckets, Quota, QuotaAnswer, Revoke,
};
use crate::ccm::wire::private::ExportedPem;
use crate::ccm::wire::words::RevocationReason;

impl Pca {
    /// 4.2.1.1.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn list_authorities(&self, query: &AuthorityQuery<'_>) -> Answer<Page<Authority>> {
        let call = Call::of(&op::CA_LIST, &[])?
            .query("limit", query.limit)
            .query("offset", query.offset)
            .maybe("name", query.name)
            .maybe("status", query.status.as_ref())
            .maybe("type", query.kind.as_ref())
            .maybe("sort_key", query.sort_key.as_ref())
            .maybe("sort_dir", query.sort_dir.as_ref());
        self.client
            .call::<AuthorityList>(call)
            .await
            .map(Page::from)
    }

    /// 4.2.1.2; returns the new CA's id. Has no idempotency key, and a CA costs money.
    ///
    /// # Errors
    /// Those of every call; `Rejected` without sending where a limit is passed.
    pub async fn create_authority(&self, request: &CreateAuthority) -> Answer<String> {
        let call = Call::of(&op::CA_CREATE, &[])?.body(request)?;
        let made: AuthorityMade = self.client.call(call).await?;
        Ok(made.ca_id)
    }

    /// 4.2.1.3: how many CAs there are and may be.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn authority_quota(&self) -> Answer<Vec<Quota>> {
        let call = Call::of(&op::CA_QUOTA, &[])?;
        let answer: QuotaAnswer = self.client.call(call).await?;
        Ok(answer.quotas.unwrap_or_default().resources)
    }

    /// 4.2.1.4.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn show_authority(&self, id: &str) -> Answer<Authority> {
        self.client.call(Call::of(&op::CA_SHOW, &[id])?).await
    }

    /// 4.2.1.5: after so many days, 7 to 30; a pending CA is deleted at once, and the days must be there all the same.
    ///
    /// # Errors
    /// Those of every call; `Rejected` without sending for another number of days.
    pub async fn delete_authority(&self, id: &str, pending_days: u32) -> Answer<()> {
        if !(7..=30).contains(&pending_days) {
            let message = format!("`pending_days` is {pending_days}; 7 to 30 are allowed");
            return Err(Box::new(CcmError {
                class: Class::Rejected,
                ..CcmError::setup(message)
            }));
        }
        let call = Call::of(&op::CA_DELETE, &[id])?.query("pending_days", pending_days);
        self.client.call_silent(call).await
    }

    /// 4.2.1.6: another CA signs a pending one.
    ///
    /// # Errors
    /// Those of every call; `Rejected` without sending where a limit is passed.
    pub async fn activate_authority(&self, id: &str, request: &ActivateAuthority) -> Answer<()> {
        let call = Call::of(&op::CA_ACTIVATE, &[id])?.body(request)?;
        self.client.call_silent(call).await
    }

    /// 4.2.1.7: the CSR of a pending CA, for another one to sign; PEM.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn authority_csr(&self, id: &str) -> Answer<String> {
        let answer: AuthorityCsr = self.client.call(Call::of(&op::CA_CSR, &[id])?).await?;
        Ok(answer.csr)
    }

    /// 4.2.1.8: it issues no more, until it is enabled.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn disable_authority(&self, id: &str) -> Answer<()> {
        let call = Call::of(&op::CA_DISABLE, &[id])?;
        self.client.call_silent(call).await
    }

    /// 4.2.1.9.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn enable_authority(&self, id: &str) -> Answer<()> {
        let call = Call::of(&op::CA_ENABLE, &[id])?;
        self.client.call_silent(call).await
    }

    /// 4.2.1.10: the CA's own certificate and its chain.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn export_authority(&self, id: &str) -> Answer<ExportedPem> {
        self.client.call(Call::of(&op::CA_EXPORT, &[id])?).await
    }

    /// 4.2.1.11: a certificate that somebody else signed, for a pending CA.
    ///
    /// # Errors
    /// Those of every call; `Rejected` without sending where a limit is passed.
    pub async fn import_authority(&self, id: &str, request: &ImportAuthority) -> Answer<()> {
        let call = Call::of(&op::CA_IMPORT, &[id])?.body(request)?;
        self.client.call_silent(call).await
    }

    /// 4.2.1.12: takes a scheduled deletion back; the CA is disabled afterwards.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn restore_authority(&self, id: &str) -> Answer<()> {
        let call = Call::of(&op::CA_RESTORE, &[id])?;
        self.client.call_silent(call).await
    }

    /// 4.2.1.13: a subordinate CA, and with it all that it signed. Without a reason the body is still `{}`.
    ///
    /// # Errors
    /// Those of every call; `Rejected` without sending for a reason that the reference does not list.
    pub async fn revoke_authority(&self, id: &str, reason: Option<RevocationReason>) -> Answer<()> {
        let call = Call::of(&op::CA_REVOKE, &[id])?.body(&Revoke { reason })?;
        self.client.call_silent(call).await
    }

    /// 4.2.3.1: whether PCA may write to buckets of the account.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn obs_agency(&self) -> Answer<bool> {
        let answer: ObsAgency = self.client.call(Call::of(&op::OBS_AGENCY, &[])?).await?;
        Ok(answer.agency_granted.unwrap_or(false))
    }

    /// 4.2.3.2: lets it; returns the agency's id. Needs the role `secu_admin`.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn create_obs_agency(&self) -> Answer<String> {
        let answer: ObsAgencyMade = self.client.call(Call::of(&op::OBS_GRANT, &[])?).await?;
        Ok(answer.agency_id)
    }

    /// 4.2.3.3; works once there is an agency.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn list_obs_buckets(&self) -> Answer<ObsBuckets> {
        self.client.call(Call::of(&op::OBS_BUCKETS, &[])?).await
    }
}
