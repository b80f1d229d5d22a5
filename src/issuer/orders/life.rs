//! After issue: what a certificate's order still holds, and the end.

use std::collections::BTreeSet;

use crate::ccm::ScmStatus;
use crate::issuer::failure::{acting, own, reading};
use crate::issuer::orders::keys::Applicant;
use crate::issuer::orders::survey::Survey;
use crate::issuer::orders::{Orders, Sibling, survey};
use crate::issuer::scm::{is_gone, moment};
use crate::issuer::{IssuerError, Revoked};
use crate::model::{Entitlement, ErrorClass, Fingerprint, Timestamp};

impl Orders {
    pub(super) async fn facts(
        &self,
        reference: &str,
        now: Timestamp,
    ) -> Result<Entitlement, IssuerError> {
        let gone = || {
            let message = format!("certificate {reference} was deleted at {}", self.scm.host());
            own(ErrorClass::Rejected, message)
        };
        let shown = match self.scm.show_certificate(reference).await {
            Ok(shown) => shown,
            Err(error) if is_gone(&error) => return Err(gone()),
            Err(error) => return Err(reading(error)),
        };
        let found = survey::one(&self.scm, reference, shown.name.as_deref()).await?;
        let one = found.ok_or_else(gone)?;
        let alone = Survey([(one.id.clone(), one.clone())].into());
        // Itself and what it follows: the first application's key is that of all.
        let order = alone.relatives(std::iter::once(&one.id));
        let spki = match self.key_of_order(&order).await? {
            Applicant::Csr(spki) => Some(spki),
            Applicant::Ccm | Applicant::Unsaid => None,
        };
        let until = one
            .ends
            .or_else(|| shown.not_after.as_deref().and_then(moment));
        // No certificate follows one that was taken back.
        let lives = !matches!(shown.status, ScmStatus::Revoked | ScmStatus::Revoking);
        Ok(Entitlement {
            reference: reference.to_owned(),
            purchase: shown.order_id.filter(|id| !id.is_empty()),
            kind: Some(one.sold.kind.clone()).filter(|kind| !kind.is_empty()),
            domains: one.sold.room(),
            spki,
            remaining: if lives { one.remaining } else { 0 },
            auto_renew: lives && one.auto_renew,
            brought: false,
            until: until.unwrap_or(now),
            asked_at: now,
        })
    }

    pub(super) async fn valid_from(
        &self,
        reference: &str,
    ) -> Result<Option<Timestamp>, IssuerError> {
        match self.scm.show_certificate(reference).await {
            Ok(shown) => Ok(shown.not_before.as_deref().and_then(moment)),
            Err(error) if is_gone(&error) => Ok(None),
            Err(error) => Err(reading(error)),
        }
    }

    pub(super) async fn with_keys(
        &self,
        of: &BTreeSet<String>,
        keys: &BTreeSet<Fingerprint>,
    ) -> Result<Vec<Sibling>, IssuerError> {
        let survey = Survey::of(&self.scm).await?;
        let related = survey.relatives(of.iter());
        let mut found = Vec::new();
        for one in survey.0.values() {
            let there = matches!(
                one.status,
                ScmStatus::Issued | ScmStatus::SupplementChecking | ScmStatus::CancelSupplementing
            );
            if !there || of.contains(&one.id) || !related.contains(one.id.as_str()) {
                continue;
            }
            let leaf = self.leaf(&one.id).await?;
            if let Some(leaf) = leaf.filter(|leaf| keys.contains(&leaf.facts.spki)) {
                found.push(Sibling {
                    reference: one.id.clone(),
                    spki: leaf.facts.spki,
                    until: leaf.facts.not_after,
                });
            }
        }
        Ok(found)
    }

    /// CCM API 7.1.16, with the reason in words. What was revoked before, or is being, is no error.
    pub(in crate::issuer) async fn revoke(
        &self,
        reference: &str,
        reason: &str,
    ) -> Result<Revoked, IssuerError> {
        if let Some(before) = self.is_over(reference).await? {
            return Ok(before);
        }
        match self.v2().await?.revoke(reference, reason).await {
            Ok(_) => Ok(Revoked::Done),
            Err(error) if error.class == crate::ccm::Class::Rejected => {
                let after = self.is_over(reference).await?;
                after.ok_or_else(|| acting(error))
            }
            Err(error) => Err(acting(error)),
        }
    }

    /// What is to be said instead of a revocation, where one has nothing to do.
    async fn is_over(&self, reference: &str) -> Result<Option<Revoked>, IssuerError> {
        match self.scm.show_certificate(reference).await {
            Ok(shown) => {
                let revoked = matches!(shown.status, ScmStatus::Revoked | ScmStatus::Revoking);
                Ok(revoked.then_some(Revoked::Done))
            }
            Err(error) if is_gone(&error) => Ok(Some(Revoked::Gone)),
            Err(error) => Err(reading(error)),
        }
    }
}
