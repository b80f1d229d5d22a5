//! Whole listings: page after page, and where the service lets an offset end at 100 (4.1.4.2, 4.1.5.1), from several
//! sides, narrowed by what it can filter by, until all is seen or nothing more can be had. Then it says how many are left.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;

use crate::ccm::error::Class;
use crate::ccm::limits::Word;
use crate::ccm::paging::{Collector, Page};
use crate::ccm::pca::{AuthorityQuery, CertificateQuery, Pca};
use crate::ccm::scm::{CsrQuery, Scm, ScmQuery};
use crate::ccm::v2::{OrderQuery, ScmV2};
use crate::ccm::wire::authorities::Authority;
use crate::ccm::wire::csr::Csr;
use crate::ccm::wire::private::PrivateCertificate;
use crate::ccm::wire::scm::ScmCertificate;
use crate::ccm::wire::tags::{FilterTags, TaggedCertificate};
use crate::ccm::wire::v2::OrderV2;
use crate::ccm::wire::words::{CsrAlgorithm, ScmStatus};
use crate::ccm::{Answer, CcmError};

/// What could be read of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing<T> {
    /// Each one that was seen, once.
    pub items: Vec<T>,
    /// How many there are, by the service.
    pub total: u64,
}

impl<T> Listing<T> {
    /// How many the service has and did not show, whatever it was asked.
    #[must_use]
    pub fn unread(&self) -> u64 {
        self.total.saturating_sub(self.items.len() as u64)
    }
}

/// What is seen of a listing while it is asked for again and again.
struct Seen<T> {
    items: Vec<T>,
    ids: BTreeSet<String>,
    /// Of the listing that is wanted, by its first reading.
    total: u64,
}

impl<T> Seen<T> {
    fn of(collector: Collector<T>, id: fn(&T) -> &str) -> Self {
        let total = collector.total();
        let mut seen = Self {
            items: Vec::new(),
            ids: BTreeSet::new(),
            total,
        };
        seen.take(collector, id);
        seen
    }

    /// How many new ones came.
    fn take(&mut self, collector: Collector<T>, id: fn(&T) -> &str) -> usize {
        let before = self.items.len();
        for item in collector.into_items() {
            if self.ids.insert(id(&item).to_owned()) {
                self.items.push(item);
            }
        }
        self.items.len() - before
    }

    fn complete(&self) -> bool {
        self.items.len() as u64 >= self.total
    }

    fn done(self) -> Listing<T> {
        Listing {
            items: self.items,
            total: self.total,
        }
    }
}

/// Reads page after page, for as long as the service takes the offset. That it does not is no error but the end.
///
/// The pages are boxed: with an async closure in its place the compiler does not see that the whole may be sent to another
/// thread.
async fn pages<'a, T>(
    id: fn(&T) -> &str,
    mut page: impl FnMut(u64) -> Paged<'a, T>,
) -> Answer<Collector<T>> {
    let mut collector = Collector::default();
    loop {
        match page(collector.offset()).await {
            Ok(next) => {
                if !collector.add(next, id) {
                    return Ok(collector);
                }
            }
            Err(error) if ends(&error, collector.offset()) => return Ok(collector),
            Err(error) => return Err(error),
        }
    }
}

type Paged<'a, T> = Pin<Box<dyn Future<Output = Answer<Page<T>>> + Send + 'a>>;

/// Whether it is the offset that the service does not take.
fn ends(error: &CcmError, offset: u64) -> bool {
    error.class == Class::Rejected && error.status.is_some() && offset > LAST_OFFSET
}

impl Pca {
    /// Every CA that fits (4.2.1.1); `limit` and `offset` of the query are not looked at.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn all_authorities(&self, query: &AuthorityQuery<'_>) -> Answer<Listing<Authority>> {
        let id: fn(&Authority) -> &str = |one| &one.ca_id;
        let all = pages(id, |offset| {
            Box::pin(async move {
                self.list_authorities(&AuthorityQuery {
                    limit: PCA_PAGE,
                    offset,
                    ..query.clone()
                })
                .await
            })
        });
        Ok(Seen::of(all.await?, id).done())
    }

    /// Every certificate that fits (4.2.2.1); `limit` and `offset` of the query are not looked at.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn all_certificates(
        &self,
        query: &CertificateQuery<'_>,
    ) -> Answer<Listing<PrivateCertificate>> {
        let id: fn(&PrivateCertificate) -> &str = |one| &one.certificate_id;
        let all = pages(id, |offset| {
            Box::pin(async move {
                self.list_certificates(&CertificateQuery {
                    limit: PCA_PAGE,
                    offset,
                    ..query.clone()
                })
                .await
            })
        });
        Ok(Seen::of(all.await?, id).done())
    }
}

impl Scm {
    /// Every certificate that fits (4.1.5.1); `limit`, `offset` and sort of the query are not looked at.
    ///
    /// An offset ends at 100, so that one reading shows 150. What is more is read from both ends of each sort, then for
    /// each status, then for fewer and fewer days until expiry: whichever meaning the service gives to that filter, it
    /// moves the window. What still hides is what ends on one day, in one status, with more than 150 others.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn all_certificates(&self, query: &ScmQuery<'_>) -> Answer<Listing<ScmCertificate>> {
        let mut seen = Seen::of(self.scm_pages(query, SORTS[0]).await?, scm_id);
        self.more_sorts(&mut seen, query).await?;
        if seen.complete() {
            return Ok(seen.done());
        }
        let statuses: Vec<&str> = match query.status {
            Some(status) => vec![status],
            None => ScmStatus::KNOWN.to_vec(),
        };
        for status in statuses {
            let narrowed = ScmQuery {
                status: Some(status),
                ..query.clone()
            };
            let first = match self.scm_pages(&narrowed, SORTS[0]).await {
                Ok(first) => first,
                // Not every status is one of the filter.
                Err(error) if error.class == Class::Rejected => continue,
                Err(error) => return Err(error),
            };
            let total = first.total();
            let mut part = Seen::of(first, scm_id);
            self.more_sorts(&mut part, &narrowed).await?;
            if !part.complete() && query.expired_days_since.is_none() {
                self.by_days(&mut part, &narrowed).await?;
            }
            part.total = total;
            for item in part.items {
                if seen.ids.insert(item.id.clone()) {
                    seen.items.push(item);
                }
            }
            if seen.complete() {
                break;
            }
        }
        Ok(seen.done())
    }

    /// The other sorts and directions, for as long as something is missing.
    async fn more_sorts(
        &self,
        seen: &mut Seen<ScmCertificate>,
        query: &ScmQuery<'_>,
    ) -> Answer<()> {
        for sort in &SORTS[1..] {
            if seen.complete() {
                break;
            }
            seen.take(self.scm_pages(query, *sort).await?, scm_id);
        }
        Ok(())
    }

    /// Narrows by days until expiry. The windows of the filter lie within one another, so that what a wider one shows more
    /// than a narrower one lies at one end of it: where that is no more than one reading shows, both have been seen to the
    /// end; where it is more, a window between them is looked at.
    async fn by_days(&self, seen: &mut Seen<ScmCertificate>, query: &ScmQuery<'_>) -> Answer<()> {
        let widest = self.window(seen, query, MOST_DAYS).await?;
        let mut open = vec![((0, 0), (MOST_DAYS, widest))];
        let mut readings = 1;
        while let Some((narrow, wide)) = open.pop() {
            if seen.complete() || readings >= MOST_READINGS {
                break;
            }
            let between = wide.1.saturating_sub(narrow.1);
            if between <= SHOWN_AT_MOST || wide.0 - narrow.0 <= 1 {
                continue;
            }
            let days = narrow.0 + (wide.0 - narrow.0) / 2;
            let middle = (days, self.window(seen, query, days).await?);
            readings += 1;
            open.push((middle, wide));
            open.push((narrow, middle));
        }
        Ok(())
    }

    /// Reads one window from both of its ends; how many are in it.
    async fn window(
        &self,
        seen: &mut Seen<ScmCertificate>,
        query: &ScmQuery<'_>,
        days: u32,
    ) -> Answer<u64> {
        let windowed = ScmQuery {
            expired_days_since: Some(days),
            ..query.clone()
        };
        let first = self.scm_pages(&windowed, SORTS[0]).await?;
        let (total, whole) = (first.total(), first.complete());
        seen.take(first, scm_id);
        if !whole {
            seen.take(self.scm_pages(&windowed, SORTS[1]).await?, scm_id);
        }
        Ok(total)
    }

    async fn scm_pages(
        &self,
        query: &ScmQuery<'_>,
        (key, direction): (&str, &str),
    ) -> Answer<Collector<ScmCertificate>> {
        pages(scm_id, |offset| {
            Box::pin(async move {
                self.list_certificates(&ScmQuery {
                    sort_key: Some(key),
                    sort_dir: Some(direction),
                    limit: SCM_PAGE,
                    offset,
                    ..query.clone()
                })
                .await
            })
        })
        .await
    }

    /// Every CSR that fits (4.1.4.2); `limit` and `offset` of the query are not looked at. Where an offset of 100 is not
    /// enough it is narrowed by key algorithm, then by single characters of the name.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn all_csrs(&self, query: &CsrQuery<'_>) -> Answer<Listing<Csr>> {
        let mut seen = Seen::of(self.csr_pages(query).await?, csr_id);
        if seen.complete() {
            return Ok(seen.done());
        }
        let algorithms: Vec<CsrAlgorithm> = match &query.private_key_algo {
            Some(algorithm) => vec![algorithm.clone()],
            None => CsrAlgorithm::KNOWN
                .iter()
                .map(|word| CsrAlgorithm::from((*word).to_owned()))
                .collect(),
        };
        for algorithm in algorithms {
            let narrowed = CsrQuery {
                private_key_algo: Some(algorithm),
                ..query.clone()
            };
            let part = self.csr_pages(&narrowed).await?;
            let whole = part.complete();
            seen.take(part, csr_id);
            if !whole && query.name.is_none() {
                self.csrs_by_name(&mut seen, &narrowed).await?;
            }
            if seen.complete() {
                break;
            }
        }
        Ok(seen.done())
    }

    async fn csrs_by_name(&self, seen: &mut Seen<Csr>, query: &CsrQuery<'_>) -> Answer<()> {
        for character in NAME_CHARACTERS.split("") {
            if character.is_empty() {
                continue;
            }
            let named = CsrQuery {
                name: Some(character),
                ..query.clone()
            };
            seen.take(self.csr_pages(&named).await?, csr_id);
            if seen.complete() {
                break;
            }
        }
        Ok(())
    }

    async fn csr_pages(&self, query: &CsrQuery<'_>) -> Answer<Collector<Csr>> {
        pages(csr_id, |offset| {
            Box::pin(async move {
                self.list_csrs(&CsrQuery {
                    limit: SCM_PAGE,
                    offset,
                    ..query.clone()
                })
                .await
            })
        })
        .await
    }

    /// Every certificate with such tags (4.1.2.1), whose offset has no end; `limit` and `offset` are not looked at.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn all_by_tags(&self, request: &FilterTags) -> Answer<Listing<TaggedCertificate>> {
        let id: fn(&TaggedCertificate) -> &str = |one| {
            let detail = one.resource_detail.as_ref();
            let id = one.resource_id.as_deref();
            id.or_else(|| detail.and_then(|detail| detail.cert_id.as_deref()))
                .unwrap_or("")
        };
        let all = pages(id, |offset| {
            Box::pin(async move {
                self.filter_by_tags(&FilterTags {
                    limit: Some(i64::from(SCM_PAGE)),
                    offset: Some(i64::try_from(offset).unwrap_or(i64::MAX)),
                    ..request.clone()
                })
                .await
            })
        });
        Ok(Seen::of(all.await?, id).done())
    }
}

impl ScmV2 {
    /// Every certificate that fits (7.1.2), as far as the service shows it; `limit` and `offset` are not looked at. The
    /// reference gives the offset as 1 to 30 without saying of what, so that the first page is asked for without one, and
    /// the others by how many were seen.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn all(&self, query: &OrderQuery<'_>) -> Answer<Listing<OrderV2>> {
        let id: fn(&OrderV2) -> &str = |one| &one.cert_id;
        let mut collector = Collector::default();
        loop {
            let offset = collector.offset();
            let next = self
                .list(&OrderQuery {
                    limit: Some(SCM_PAGE),
                    offset: (offset > 0).then_some(offset),
                    ..query.clone()
                })
                .await;
            match next {
                Ok(page) => {
                    if !collector.add(Page::from(page), id) {
                        break;
                    }
                }
                Err(error) if error.class == Class::Rejected && offset > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(Seen::of(collector, id).done())
    }
}

fn scm_id(one: &ScmCertificate) -> &str {
    &one.id
}

fn csr_id(one: &Csr) -> &str {
    &one.id
}

/// The most that 4.2.1.1 and 4.2.2.1 give at once.
const PCA_PAGE: u32 = 1000;
/// The most that 4.1.4.2 and 4.1.5.1 give at once.
const SCM_PAGE: u32 = 50;
/// The last offset of 4.1.4.2 and 4.1.5.1.
const LAST_OFFSET: u64 = 100;
/// Every sort of 4.1.5.1 from both of its ends; the first shows what ends first, which matters most.
const SORTS: [(&str, &str); 6] = [
    ("certExpiredTime", "ASC"),
    ("certExpiredTime", "DESC"),
    ("certUpdateTime", "DESC"),
    ("certUpdateTime", "ASC"),
    ("certStatus", "ASC"),
    ("certStatus", "DESC"),
];
/// The widest window of `expired_days_since`.
const MOST_DAYS: u32 = 1095;
/// What one reading of 4.1.5.1 shows: three pages.
const SHOWN_AT_MOST: u64 = LAST_OFFSET + SCM_PAGE as u64;
/// Windows read for one status: enough for ten thousand certificates, which is the reference's own bound of a total, and
/// an end where the filter does nothing.
const MOST_READINGS: u32 = 400;
/// What names are made of.
const NAME_CHARACTERS: &str = "abcdefghijklmnopqrstuvwxyz0123456789-_.";
