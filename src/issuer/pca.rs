//! PCA as an issuer: private certificates by CSR or with a key made there, and followers of what others made.

mod request;

use std::future::Future;

use crate::ccm::{
    CcmError, CertificateQuery, Class, Collector, GenMode, Page, Pca, PrivateCertificate,
    PrivateStatus,
};
use crate::issuer::authority::{self, Signer};
use crate::issuer::exported::{self, Examination, Examined};
use crate::issuer::failure::{acting, own, reading};
use crate::issuer::newest::{Candidate, Newest};
use crate::issuer::pca::request::{by_csr, with_key};
use crate::issuer::{
    Accepted, Account, BoxFuture, Fetched, Issuer, IssuerError, Lookup, Part, Revoked, Trouble,
    account, revoke,
};
use crate::model::{
    ErrorClass, Fingerprint, Offer, OrderRequest, RevocationReason, Seconds, Source, Standing,
    SubjectAltNames, Timestamp,
};

/// One CA of PCA.
pub(super) struct PcaIssuer {
    pca: Pca,
    signer: Signer,
    examined: Examined,
}

impl PcaIssuer {
    /// Signs with the CA of this id or exact common name.
    pub(super) fn new(pca: Pca, ca: String) -> Self {
        Self {
            pca,
            signer: Signer::new(ca),
            examined: Examined::default(),
        }
    }

    async fn submit(
        &self,
        request: &OrderRequest,
        csr_pem: Option<&str>,
    ) -> Result<Accepted, IssuerError> {
        let issuer_id = self.signer.find_active(&self.pca).await?.ca_id.clone();
        let sent = match (request.source, csr_pem) {
            (Source::Csr, Some(csr)) => {
                self.pca
                    .issue_by_csr(&by_csr(request, csr, issuer_id)?)
                    .await
            }
            (Source::Ccm, _) => self.pca.issue(&with_key(request, issuer_id)?).await,
            (Source::Csr, None) | (Source::Follow, _) => {
                return Err(own(
                    ErrorClass::Bug,
                    "nothing to submit: an order by CSR without its CSR, or of a follower",
                ));
            }
        };
        match sent {
            Ok(reference) => Ok(Accepted {
                reference,
                poll_after: 0,
            }),
            Err(error) => {
                // The CA may have been disabled or replaced since it was found.
                self.signer.forget();
                Err(acting(error))
            }
        }
    }

    /// Candidates are of our CA and the exact common name, made by the same way; only those are exported. A public key
    /// tells ours; where CCM makes the key, the time does: since 15 minutes before the submit began.
    async fn lookup(
        &self,
        request: &OrderRequest,
        spki: Option<Fingerprint>,
        submitted_at: Timestamp,
    ) -> Result<Lookup, IssuerError> {
        let ca_id = self.signer.find(&self.pca).await?.ca_id.clone();
        let since = (submitted_at - LOOK_BACK).0.saturating_mul(1000);
        let mut candidates = self.listing(&request.common_name).await?;
        candidates.retain(|one| {
            let same_way = match (request.source, &one.gen_mode) {
                (Source::Csr, GenMode::Csr) | (Source::Ccm, GenMode::Generate) => true,
                (_, GenMode::Unknown(_)) => true,
                (_, GenMode::Csr | GenMode::Generate | GenMode::Import) => false,
            };
            same_way
                && one.issuer_id.as_deref().is_none_or(|id| id == ca_id)
                && one.common_name() == request.common_name
                // A public key is ours whenever it was certified; the clocks of two machines need not agree.
                && (spki.is_some() || one.create_time.is_none_or(|at| at >= since))
                // What was revoked or has expired is of no use: another submit is right then.
                && !matches!(one.status, PrivateStatus::Revoked | PrivateStatus::Expired)
        });
        candidates.sort_by_key(|one| std::cmp::Reverse(one.create_time));
        for candidate in candidates {
            let id = &candidate.certificate_id;
            let exported = match self.pca.export_certificate(id).await {
                Ok(exported) => exported,
                Err(error) if error.class == Class::Rejected => {
                    self.must_be_gone(id, reading(error)).await?;
                    continue;
                }
                Err(error) => return Err(reading(error)),
            };
            // One that cannot be read could be ours: absence would be a guess.
            let facts = exported::leaf(&exported, id).map_err(|error| IssuerError {
                class: ErrorClass::Transient,
                ..error
            })?;
            let ours = match spki {
                Some(spki) => facts.spki == spki,
                None => facts.names == request.names,
            };
            if ours {
                return Ok(Lookup::Found {
                    reference: candidate.certificate_id,
                });
            }
        }
        Ok(Lookup::Absent)
    }

    /// After a refused export: passes for a certificate that was revoked or deleted since the listing. One that is in
    /// place and only not ready could be the one that is looked for, and must not pass for absent.
    async fn must_be_gone(&self, id: &str, refusal: IssuerError) -> Result<(), IssuerError> {
        match self.pca.show_certificate(id).await {
            Ok(shown) => match shown.status {
                PrivateStatus::Revoked | PrivateStatus::Expired => Ok(()),
                PrivateStatus::Issued | PrivateStatus::Unknown(_) => Err(IssuerError {
                    class: ErrorClass::Transient,
                    ..refusal
                }),
            },
            Err(error) if error.class == Class::Rejected => Ok(()),
            Err(error) => Err(reading(error)),
        }
    }

    async fn standings(&self, references: &[String]) -> Vec<Result<Option<Trouble>, IssuerError>> {
        let authority = match self.signer.trouble(&self.pca).await {
            Ok(trouble) => trouble,
            // What a CA issued that is not there any more can be asked for all the same.
            Err(error) => match error.class {
                ErrorClass::Configuration | ErrorClass::Rejected => None,
                ErrorClass::Transient
                | ErrorClass::RateLimited
                | ErrorClass::Authentication
                | ErrorClass::Bug => return vec![Err(error)],
            },
        };
        let mut found = Vec::with_capacity(references.len());
        for reference in references {
            let own = match self.pca.show_certificate(reference).await {
                Ok(shown) => standing(&shown),
                Err(error) if is_gone(&error) => Some((
                    Standing::Deleted,
                    format!("certificate {reference} was deleted at {}", self.pca.host()),
                )),
                Err(error) => {
                    found.push(Err(reading(error)));
                    break;
                }
            };
            found.push(Ok(own.or_else(|| authority.clone())));
        }
        found
    }

    /// Every certificate whose common name contains `name`; read twice if it changes meanwhile.
    async fn listing(&self, name: &str) -> Result<Vec<PrivateCertificate>, IssuerError> {
        // Nothing says how the filter takes a `*`, and what it left out would pass for absent.
        let plain = name.strip_prefix("*.").unwrap_or(name);
        let filter = Some(plain).filter(|name| (1..=64).contains(&name.len()));
        let mut progress = String::new();
        for _ in 0..READINGS {
            let mut collector = Collector::default();
            loop {
                let page = self.page(filter, None, PAGE, collector.offset()).await?;
                if !collector.add(page, |one| &one.certificate_id) {
                    break;
                }
            }
            if collector.complete() {
                return Ok(collector.into_items());
            }
            progress = collector.progress();
        }
        Err(self.incomplete(&progress))
    }

    async fn page(
        &self,
        name: Option<&str>,
        status: Option<&str>,
        limit: u32,
        offset: u64,
    ) -> Result<Page<PrivateCertificate>, IssuerError> {
        let query = CertificateQuery {
            name,
            status,
            limit,
            offset,
            ..CertificateQuery::default()
        };
        self.pca.list_certificates(&query).await.map_err(reading)
    }

    fn incomplete(&self, progress: &str) -> IssuerError {
        own(
            ErrorClass::Transient,
            format!(
                "PCA list certificates at {}: incomplete, {progress} read; certificates come and go meanwhile",
                self.pca.host()
            ),
        )
    }

    async fn fetch(&self, reference: &str, with_key: bool) -> Result<Fetched, IssuerError> {
        let shown = self
            .pca
            .show_certificate(reference)
            .await
            .map_err(reading)?;
        match shown.status {
            PrivateStatus::Issued => {}
            PrivateStatus::Unknown(status) => {
                tracing::info!(reference, status, "not issued yet, or in a new status");
                return Ok(Fetched::NotYet {
                    poll_after: POLL_AFTER,
                    status: String::new(),
                    proofs: Vec::new(),
                });
            }
            PrivateStatus::Expired | PrivateStatus::Revoked => {
                return Err(own(
                    ErrorClass::Rejected,
                    format!(
                        "certificate {reference} at {} is {}",
                        self.pca.host(),
                        shown.status
                    ),
                ));
            }
        }
        match self.pca.export_certificate(reference).await {
            Ok(exported) => {
                let mut issued = exported::issued(exported, with_key, reference)?;
                let authority = self.signer.certificate(&self.pca).await?;
                issued.authority = Some(authority.as_ref().to_owned());
                Ok(Fetched::Issued(issued))
            }
            // Shown as issued and not to be exported in this status: it is not ready.
            Err(error) if error.code.as_deref() == Some(WRONG_STATUS) => Ok(Fetched::NotYet {
                poll_after: POLL_AFTER,
                status: String::new(),
                proofs: Vec::new(),
            }),
            Err(error) => Err(reading(error)),
        }
    }

    /// Reads the listing from its newest end only as far as needed: a new request for every follower, but no export
    /// that was made before.
    async fn offer(&self, names: &SubjectAltNames, now: Timestamp) -> Result<Offer, IssuerError> {
        let ca_id = self.signer.find(&self.pca).await?.ca_id.clone();
        let mut progress = String::new();
        for _ in 0..READINGS {
            let mut newest = Newest::new(names, &ca_id, now);
            let mut budget = MOST_EXPORTS;
            let mut ids: Collector<String> = Collector::default();
            let mut limit = FIRST_PAGE;
            loop {
                let page = self.page(None, Some("ISSUED"), limit, ids.offset()).await?;
                page.items.iter().for_each(|one| newest.take(one));
                let likely = newest.likely_so_far();
                if let Some(offer) = self.choose(likely, names, now, &mut budget).await? {
                    return Ok(offer);
                }
                let page = Page {
                    total: page.total,
                    items: page
                        .items
                        .into_iter()
                        .map(|one| one.certificate_id)
                        .collect(),
                };
                if !ids.add(page, |id| id) {
                    break;
                }
                limit = PAGE;
            }
            if let Some(offer) = self.choose(newest.rest(), names, now, &mut budget).await? {
                return Ok(offer);
            }
            if ids.complete() {
                return Ok(Offer {
                    asked_at: now,
                    reference: None,
                    issued_at: None,
                });
            }
            progress = ids.progress();
        }
        Err(self.incomplete(&progress))
    }

    /// The first of the candidates that is what a follower wants.
    async fn choose(
        &self,
        candidates: Vec<Candidate>,
        names: &SubjectAltNames,
        now: Timestamp,
        budget: &mut u32,
    ) -> Result<Option<Offer>, IssuerError> {
        for candidate in candidates {
            let seen = match self.examined.get(&candidate.id) {
                Some(seen) => seen,
                None if *budget == 0 => {
                    tracing::warn!(%names, "not every certificate of the account was looked at");
                    return Ok(None);
                }
                None => {
                    *budget -= 1;
                    self.examine(&candidate.id).await?
                }
            };
            if let Examination::Usable(facts) = seen
                && facts.covers(names)
                && facts.not_before <= now
                && now < facts.not_after
            {
                let issued_at = match candidate.created {
                    0 => facts.not_before,
                    created => Timestamp::from_millis(created),
                };
                return Ok(Some(Offer {
                    asked_at: now,
                    reference: Some(candidate.id),
                    issued_at: Some(issued_at),
                }));
            }
        }
        Ok(None)
    }

    async fn examine(&self, id: &str) -> Result<Examination, IssuerError> {
        let seen = match self.pca.export_certificate(id).await {
            Ok(exported) => Examination::of(&exported, id),
            // Revoked between listing and export, or not ready. Not remembered: the second would pass.
            Err(error) if error.class == Class::Rejected => return Ok(Examination::Useless),
            Err(error) => return Err(reading(error)),
        };
        self.examined.put(id.to_owned(), seen.clone());
        Ok(seen)
    }
}

impl Issuer for PcaIssuer {
    fn list(&self, part: Part) -> BoxFuture<'_, Result<Option<Account>, IssuerError>> {
        boxed(account::of_pca(&self.pca, part))
    }

    fn submit<'a>(
        &'a self,
        request: &'a OrderRequest,
        csr_pem: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Accepted, IssuerError>> {
        boxed(self.submit(request, csr_pem))
    }

    fn lookup<'a>(
        &'a self,
        request: &'a OrderRequest,
        spki: Option<Fingerprint>,
        submitted_at: Timestamp,
    ) -> BoxFuture<'a, Result<Lookup, IssuerError>> {
        boxed(self.lookup(request, spki, submitted_at))
    }

    fn fetch<'a>(
        &'a self,
        reference: &'a str,
        with_key: bool,
    ) -> BoxFuture<'a, Result<Fetched, IssuerError>> {
        boxed(self.fetch(reference, with_key))
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

    fn ends(&self) -> Option<Timestamp> {
        self.signer.ends()
    }

    fn revoke<'a>(
        &'a self,
        reference: &'a str,
        reason: RevocationReason,
    ) -> BoxFuture<'a, Result<Revoked, IssuerError>> {
        boxed(revoke::of_pca(&self.pca, reference, reason))
    }

    fn describe<'a>(&'a self) -> BoxFuture<'a, Result<String, IssuerError>> {
        boxed(async move {
            let found = self.signer.find(&self.pca).await?;
            Ok(format!(
                "{} at {}",
                authority::show(&found),
                self.pca.host()
            ))
        })
    }
}

fn standing(shown: &PrivateCertificate) -> Option<Trouble> {
    let id = &shown.certificate_id;
    match shown.status {
        PrivateStatus::Revoked => Some((
            Standing::Revoked,
            format!("certificate {id} was revoked by its issuer"),
        )),
        _ if shown.freeze_flag.is_some_and(|flag| flag != 0) => {
            Some((Standing::Frozen, format!("certificate {id} is frozen")))
        }
        PrivateStatus::Issued | PrivateStatus::Expired | PrivateStatus::Unknown(_) => None,
    }
}

/// CCM API, appendix of error codes: a CA or certificate is not found.
const NOT_FOUND: &str = "PCA.00030102";

/// Whether the certificate of a call is not there any more.
pub(super) fn is_gone(error: &CcmError) -> bool {
    error.code.as_deref() == Some(NOT_FOUND)
}

pub(super) fn boxed<'a, T>(future: impl Future<Output = T> + Send + 'a) -> BoxFuture<'a, T> {
    Box::pin(future)
}

/// How far back a lookup reaches: the clocks of host and service may differ by the 15 minutes that the gateway allows.
const LOOK_BACK: Seconds = Seconds::minutes(15);
/// Seconds until the next look at a certificate that is not ready; PCA issues at once.
const POLL_AFTER: i64 = 5;
/// `Operation not allowed in the current status.`
const WRONG_STATUS: &str = "PCA.00030201";
/// The most that 4.2.2.1 gives at once.
const PAGE: u32 = 1000;
/// Of a listing of which the newest few will mostly do.
const FIRST_PAGE: u32 = 100;
/// Exports that one follower may cause in one look.
const MOST_EXPORTS: u32 = 64;
/// How often a listing that changes while it is read is read.
const READINGS: usize = 2;
