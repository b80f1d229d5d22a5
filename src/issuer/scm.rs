//! SCM as an issuer: what others bought or brought in, for followers, and the orders of our own (`orders`).

use std::sync::Arc;

use crate::ccm::{
    CcmError, Class, Collector, Scm, ScmCertificate, ScmDetails, ScmQuery, ScmStatus,
};
use crate::issuer::exported::{self, Examination, Examined};
use crate::issuer::failure::{own, reading};
use crate::issuer::orders::Where;
use crate::issuer::pca::boxed;
use crate::issuer::{
    Accepted, Account, BoxFuture, Fetched, Issuer, IssuerError, Lookup, Orders, Part, Pushing,
    Revoked, Trouble, account,
};
use crate::model::{
    CertificateFacts, ErrorClass, Fingerprint, Name, Offer, OrderRequest, RevocationReason,
    Seconds, Standing, SubjectAltNames, Timestamp,
};

/// The certificates of one SCM account.
pub(super) struct ScmIssuer {
    scm: Arc<Scm>,
    orders: Orders,
    examined: Examined,
}

impl ScmIssuer {
    pub(super) fn new(scm: Scm, project: Where) -> Self {
        let scm = Arc::new(scm);
        Self {
            orders: Orders::new(Arc::clone(&scm), project),
            scm,
            examined: Examined::default(),
        }
    }

    async fn fetch(&self, reference: &str, with_key: bool) -> Result<Fetched, IssuerError> {
        let shown = self
            .scm
            .show_certificate(reference)
            .await
            .map_err(reading)?;
        match &shown.status {
            ScmStatus::Issued | ScmStatus::Upload => {}
            ScmStatus::Paid
            | ScmStatus::Checking
            | ScmStatus::CheckingDomain
            | ScmStatus::CheckingOrganization
            | ScmStatus::Issuing
            | ScmStatus::SupplementChecking
            | ScmStatus::CancelChecking
            | ScmStatus::CancelSupplementing
            | ScmStatus::CancelRevoking
            | ScmStatus::Unknown(_) => {
                return Ok(Fetched::NotYet {
                    poll_after: POLL_AFTER,
                    status: shown.status.to_string(),
                    proofs: self.orders.proofs(&shown).await?,
                });
            }
            ScmStatus::Unpassed => {
                let reason = self.orders.fail_reason(&shown).await?;
                let reason = reason.map_or_else(String::new, |reason| format!(": {reason}"));
                let what = "the CA rejected the application";
                return Err(own(
                    ErrorClass::Rejected,
                    format!(
                        "certificate {reference} at {} is {}, {what}{reason}",
                        self.scm.host(),
                        shown.status
                    ),
                ));
            }
            ScmStatus::Expired | ScmStatus::Revoking | ScmStatus::Revoked => {
                return Err(own(
                    ErrorClass::Rejected,
                    format!(
                        "certificate {reference} at {} is {}",
                        self.scm.host(),
                        shown.status
                    ),
                ));
            }
        }
        let exported = self.scm.export_certificate(reference).await;
        exported::issued(exported.map_err(reading)?, with_key, reference).map(Fetched::Issued)
    }

    async fn standings(&self, references: &[String]) -> Vec<Result<Option<Trouble>, IssuerError>> {
        let mut found = Vec::with_capacity(references.len());
        for reference in references {
            let trouble = match self.scm.show_certificate(reference).await {
                Ok(shown) if shown.status == ScmStatus::Revoked => Some((
                    Standing::Revoked,
                    format!("certificate {reference} was revoked by its issuer"),
                )),
                Ok(_) => None,
                Err(error) if is_gone(&error) => Some((
                    Standing::Deleted,
                    format!("certificate {reference} was deleted at {}", self.scm.host()),
                )),
                Err(error) => {
                    found.push(Err(reading(error)));
                    break;
                }
            };
            found.push(Ok(trouble));
        }
        found
    }

    /// The listing tells names but not when a certificate was issued, so the few that fit are looked at one by one.
    async fn offer(&self, names: &SubjectAltNames, now: Timestamp) -> Result<Offer, IssuerError> {
        let mut fitting = self.fitting("ISSUED", names, now).await?;
        fitting.append(&mut self.fitting("UPLOAD", names, now).await?);
        let mut shown = Vec::new();
        for candidate in fitting.into_iter().take(MOST_SHOWN) {
            let details = match self.scm.show_certificate(&candidate.id).await {
                Ok(details) => details,
                // Deleted between listing and look.
                Err(error) if error.class == Class::Rejected => continue,
                Err(error) => return Err(reading(error)),
            };
            if matches!(details.status, ScmStatus::Issued | ScmStatus::Upload) {
                // Without a time it must be looked at: it may be the newest.
                let begins = begins(&details).unwrap_or(Timestamp(i64::MAX));
                shown.push((begins, details));
            }
        }
        shown.sort_by(|one, other| (other.0, &other.1.id).cmp(&(one.0, &one.1.id)));
        let mut best: Option<(String, Arc<CertificateFacts>)> = None;
        for (begins, details) in shown {
            if let Some((_, facts)) = &best
                && facts.not_before >= begins + ANY_ZONE
            {
                break;
            }
            if let Some(facts) = self.examine(&details).await?
                && facts.covers(names)
                && facts.not_before <= now
                && now < facts.not_after
                && best
                    .as_ref()
                    .is_none_or(|(_, best)| best.not_before < facts.not_before)
            {
                best = Some((details.id, facts));
            }
        }
        Ok(Offer {
            asked_at: now,
            issued_at: best.as_ref().map(|(_, facts)| facts.not_before),
            reference: best.map(|(id, _)| id),
        })
    }

    /// Certificates of this status that cover the names and have not expired. `expired_days_since` is not used: see
    /// [`ScmQuery`].
    async fn fitting(
        &self,
        status: &str,
        names: &SubjectAltNames,
        now: Timestamp,
    ) -> Result<Vec<ScmCertificate>, IssuerError> {
        let mut progress = String::new();
        for _ in 0..READINGS {
            let (mut collector, mut refused) = (Collector::default(), None);
            loop {
                let query = ScmQuery {
                    status: Some(status),
                    limit: PAGE,
                    offset: collector.offset(),
                    ..ScmQuery::default()
                };
                match self.scm.list_certificates(&query).await {
                    Ok(page) => {
                        if !collector.add(page, |one| &one.id) {
                            break;
                        }
                    }
                    // The reference allows an offset of 100 at most, and a total of 10 000. The listing begins with
                    // what was updated last, so that the newest is among what was read.
                    Err(error) if error.class == Class::Rejected && collector.offset() > 100 => {
                        tracing::warn!(%error, read = collector.progress(), "SCM lists no further");
                        refused = Some(reading(error));
                        break;
                    }
                    Err(error) => return Err(reading(error)),
                }
            }
            progress = collector.progress();
            let complete = collector.complete();
            let mut found = collector.into_items();
            found.retain(|one| fits(one, names, now));
            match refused {
                _ if complete => return Ok(found),
                Some(_) if !found.is_empty() => return Ok(found),
                Some(error) => return Err(error),
                None => {}
            }
        }
        Err(own(
            ErrorClass::Transient,
            format!(
                "SCM list certificates at {}: incomplete, {progress} read; certificates come and go meanwhile",
                self.scm.host()
            ),
        ))
    }

    async fn examine(
        &self,
        details: &ScmDetails,
    ) -> Result<Option<Arc<CertificateFacts>>, IssuerError> {
        // SCM keeps the id when a certificate is reissued; the fingerprint tells.
        let print = details.fingerprint.as_deref().unwrap_or_default();
        let key = format!("{} {print}", details.id);
        let seen = match self.examined.get(&key) {
            Some(seen) if !print.is_empty() => seen,
            _ => {
                let seen = match self.scm.export_certificate(&details.id).await {
                    Ok(exported) => Examination::of(&exported, &details.id),
                    Err(error) if error.class == Class::Rejected => return Ok(None),
                    Err(error) => return Err(reading(error)),
                };
                self.examined.put(key, seen.clone());
                seen
            }
        };
        Ok(match seen {
            Examination::Usable(facts) => Some(facts),
            Examination::Useless => None,
        })
    }
}

impl Issuer for ScmIssuer {
    fn submit<'a>(
        &'a self,
        _request: &'a OrderRequest,
        _csr_pem: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Accepted, IssuerError>> {
        boxed(async { Err(no_submit()) })
    }

    fn lookup<'a>(
        &'a self,
        _request: &'a OrderRequest,
        _spki: Option<Fingerprint>,
        _submitted_at: Timestamp,
    ) -> BoxFuture<'a, Result<Lookup, IssuerError>> {
        boxed(async { Err(no_submit()) })
    }

    fn fetch<'a>(
        &'a self,
        reference: &'a str,
        with_key: bool,
    ) -> BoxFuture<'a, Result<Fetched, IssuerError>> {
        boxed(self.fetch(reference, with_key))
    }

    fn list(&self, part: Part) -> BoxFuture<'_, Result<Option<Account>, IssuerError>> {
        boxed(account::of_scm(&self.scm, part))
    }

    fn offer<'a>(
        &'a self,
        names: &'a SubjectAltNames,
        now: Timestamp,
    ) -> BoxFuture<'a, Result<Offer, IssuerError>> {
        boxed(self.offer(names, now))
    }

    fn standings<'a>(
        &'a self,
        references: &'a [String],
    ) -> BoxFuture<'a, Vec<Result<Option<Trouble>, IssuerError>>> {
        boxed(self.standings(references))
    }

    fn revoke<'a>(
        &'a self,
        reference: &'a str,
        reason: RevocationReason,
    ) -> BoxFuture<'a, Result<Revoked, IssuerError>> {
        boxed(self.orders.revoke(reference, reason.as_str()))
    }

    fn orders(&self) -> Option<&Orders> {
        Some(&self.orders)
    }

    fn pushing(&self) -> Option<Pushing<'_>> {
        Some(Pushing::new(&self.scm))
    }

    fn describe<'a>(&'a self) -> BoxFuture<'a, Result<String, IssuerError>> {
        boxed(async { Ok(format!("SCM at {}", self.scm.host())) })
    }
}

/// CCM API, appendix of error codes: there is no such certificate.
const NOT_FOUND: &str = "SCM.0094";

/// Whether the certificate of a call is not there any more.
pub(super) fn is_gone(error: &CcmError) -> bool {
    error.code.as_deref() == Some(NOT_FOUND)
}

/// What the order machine never asks for: entitlements are applied for by [`Orders`].
fn no_submit() -> IssuerError {
    own(
        ErrorClass::Bug,
        "SCM certificates are applied for with an entitlement",
    )
}

fn fits(certificate: &ScmCertificate, names: &SubjectAltNames, now: Timestamp) -> bool {
    let end = certificate.expire_time.as_deref().and_then(moment);
    matches!(certificate.status, ScmStatus::Issued | ScmStatus::Upload)
        && named(certificate).cover(names)
        && end.is_none_or(|end| now < end + ANY_ZONE)
}

/// The names of a listing's entry; what is no name is passed over.
fn named(certificate: &ScmCertificate) -> SubjectAltNames {
    names_of(certificate.domain.as_deref(), certificate.sans.as_deref())
}

/// The names in the two fields that the API has for them; what is no name is passed over.
pub(super) fn names_of(domain: Option<&str>, sans: Option<&str>) -> SubjectAltNames {
    sans.unwrap_or_default()
        .split([';', ','])
        .chain(domain)
        .filter_map(|text| Name::parse(text.trim()).ok())
        .collect()
}

fn begins(details: &ScmDetails) -> Option<Timestamp> {
    [&details.not_before, &details.issue_time]
        .into_iter()
        .find_map(|text| moment(text.as_deref()?))
}

/// A time such as `2021-05-27 16:46:25.0`, taken as UTC: the reference states no zone, hence [`ANY_ZONE`]. Also what
/// other pages use: RFC 3339, and milliseconds since 1970.
pub(super) fn moment(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    if let Ok(millis) = text.parse() {
        return Some(Timestamp::from_millis(millis));
    }
    if let Ok(moment) = Timestamp::parse(text) {
        return Some(moment);
    }
    let civil: jiff::civil::DateTime = text.parse().ok()?;
    let zoned = civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some(Timestamp(zoned.timestamp().as_second()))
}

/// The farthest that a local time can be from UTC.
const ANY_ZONE: Seconds = Seconds::hours(14);
/// Seconds until the next look at an application under review.
const POLL_AFTER: i64 = 300;
/// The most that 4.1.5.1 gives at once.
const PAGE: u32 = 50;
/// Certificates with the wanted names that are looked at.
const MOST_SHOWN: usize = 32;
/// How often a listing that changes while it is read is read.
const READINGS: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_without_a_zone_are_read_as_utc() {
        let expected = Some(Timestamp(1_622_133_985));
        for text in [
            "2021-05-27 16:46:25.0",
            "2021-05-27 16:46:25",
            "2021-05-27T16:46:25Z",
            "1622133985000",
        ] {
            assert_eq!(moment(text), expected, "{text}");
        }
        assert_eq!(moment("soon"), None);
        assert_eq!(moment(""), None);
    }

    #[test]
    fn domain_and_further_names_count_alike() {
        let entry: ScmCertificate = serde_json::from_str(
            r#"{"id": "scs1", "status": "ISSUED", "domain": "www.zx.com", "sans": "a.zx.com;*.b.zx.com; x y"}"#,
        )
        .unwrap();
        let wanted = |texts: &[&str]| -> SubjectAltNames {
            texts
                .iter()
                .map(|text| Name::parse(text).unwrap())
                .collect()
        };
        assert!(named(&entry).cover(&wanted(&["www.zx.com", "c.b.zx.com"])));
        assert!(!named(&entry).cover(&wanted(&["zx.com"])));
    }
}
