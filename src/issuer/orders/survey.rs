//! One complete view of an account: every certificate with its tags, by two listings that are asked in different ways.
//!
//! 4.1.2.1 without a filter shows all there is, with tags and the details of orders, and lets an offset grow as it likes;
//! its index may lag. So what 4.1.5.1 lists as PAID or UNPASSED is added: what one of the two shows is there.

use std::collections::{BTreeMap, BTreeSet};

use crate::ccm::{
    FilterTags, Listing, Match, Scm, ScmCertificate, ScmQuery, ScmStatus, TagChoice,
    TaggedCertificate, TaggedDetail, Values,
};
use crate::issuer::IssuerError;
use crate::issuer::failure::{own, reading};
use crate::issuer::orders::fit::Sold;
use crate::issuer::orders::tags::{self, Tags};
use crate::issuer::scm::{moment, names_of};
use crate::model::{ErrorClass, Seconds, SubjectAltNames, Timestamp};

/// A certificate of the account, whatever its status.
#[derive(Debug, Clone)]
pub(super) struct One {
    pub(super) id: String,
    pub(super) status: ScmStatus,
    /// Of its application; none before.
    pub(super) names: SubjectAltNames,
    pub(super) sold: Sold,
    pub(super) ends: Option<Timestamp>,
    pub(super) issued: Option<Timestamp>,
    /// When it was bought, where the account says so.
    pub(super) created: Option<Timestamp>,
    /// Of what follows another within one order: the first of them, and the one before.
    pub(super) follows: BTreeSet<String>,
    pub(super) remaining: u32,
    pub(super) auto_renew: bool,
    pub(super) fail_reason: Option<String>,
    pub(super) tags: Tags,
}

impl One {
    /// Whether it may be applied for.
    pub(super) const fn is_unused(&self) -> bool {
        matches!(self.status, ScmStatus::Paid | ScmStatus::Unpassed)
    }

    /// One line for people.
    pub(super) fn told(&self) -> String {
        format!("{} ({}) for {}", self.id, self.status, self.names)
    }
}

/// Everything of the account, by id.
#[derive(Debug, Default)]
pub(super) struct Survey(pub(super) BTreeMap<String, One>);

impl Survey {
    /// Reads the account.
    pub(super) async fn of(scm: &Scm) -> Result<Self, IssuerError> {
        let tagged = tagged(scm, &filter(Vec::new())).await?;
        let mut all: BTreeMap<String, One> = tagged
            .into_iter()
            .filter_map(of_tagged)
            .map(|one| (one.id.clone(), one))
            .collect();
        for status in [ScmStatus::Paid, ScmStatus::Unpassed] {
            let query = ScmQuery {
                status: Some(status.as_str()),
                ..ScmQuery::default()
            };
            for entry in listed(scm, &query).await? {
                if all.contains_key(&entry.id) {
                    continue;
                }
                let mut one = of_listed(entry);
                // Its tags are not in the index yet.
                if let Some(found) = tags::of(scm, &one.id).await? {
                    one.tags = found;
                    all.insert(one.id.clone(), one);
                }
            }
        }
        Ok(Self(all))
    }

    /// Every certificate that comes from the same order as one of these, by what follows what. They themselves are among
    /// them.
    pub(super) fn relatives<'a>(
        &'a self,
        known: impl Iterator<Item = &'a String>,
    ) -> BTreeSet<&'a str> {
        let mut related: BTreeSet<&str> = known.map(String::as_str).collect();
        loop {
            let before = related.len();
            for one in self.0.values() {
                let ids = || one.follows.iter().map(String::as_str);
                if related.contains(one.id.as_str()) {
                    related.extend(ids());
                } else if ids().any(|id| related.contains(id)) {
                    related.insert(&one.id);
                }
            }
            if related.len() == before {
                return related;
            }
        }
    }
}

/// 4.1.2.1 with everything that it says it has. A listing that changes while it is read is read once more.
async fn tagged(scm: &Scm, request: &FilterTags) -> Result<Vec<TaggedCertificate>, IssuerError> {
    let mut progress = String::new();
    for _ in 0..READINGS {
        let listing = scm.all_by_tags(request).await.map_err(reading)?;
        match whole(listing) {
            Ok(items) => return Ok(items),
            Err(read) => progress = read,
        }
    }
    Err(incomplete(scm, "SCM list by tags", &progress))
}

/// 4.1.5.1, in the same way.
async fn listed(scm: &Scm, query: &ScmQuery<'_>) -> Result<Vec<ScmCertificate>, IssuerError> {
    let mut progress = String::new();
    for _ in 0..READINGS {
        let listing = scm.all_certificates(query).await.map_err(reading)?;
        match whole(listing) {
            Ok(items) => return Ok(items),
            Err(read) => progress = read,
        }
    }
    Err(incomplete(scm, "SCM list certificates", &progress))
}

fn whole<T>(listing: Listing<T>) -> Result<Vec<T>, String> {
    let (read, total) = (listing.items.len(), listing.total);
    if read as u64 == total {
        Ok(listing.items)
    } else {
        Err(format!("{read} of {total}"))
    }
}

fn incomplete(scm: &Scm, what: &str, progress: &str) -> IssuerError {
    let message = format!(
        "{what} at {}: incomplete, {progress} read; nothing follows from what is missing",
        scm.host()
    );
    own(ErrorClass::Transient, message)
}

fn filter(matches: Vec<Match>) -> FilterTags {
    FilterTags {
        action: Some("filter".to_owned()),
        matches,
        ..FilterTags::default()
    }
}

fn of_tagged(found: TaggedCertificate) -> Option<One> {
    let detail = found.resource_detail.unwrap_or_default();
    let id = [&found.resource_id, &detail.cert_id]
        .into_iter()
        .flatten()
        .find(|id| !id.is_empty())?
        .clone();
    let tags = found.tags.into_iter();
    let tags = tags.map(|tag| (tag.key, tag.value.unwrap_or_default()));
    Some(One {
        tags: Tags(tags.collect()),
        ..of_detail(id, detail)
    })
}

fn of_detail(id: String, detail: TaggedDetail) -> One {
    let time = |text: &Option<String>| text.as_deref().and_then(moment);
    let follows = [&detail.origin_cert_id, &detail.renewal_cert_id];
    let follows = follows.into_iter().flatten();
    One {
        status: ScmStatus::from(detail.order_status.clone().unwrap_or_default()),
        names: names_of(detail.domain.as_deref(), detail.sans.as_deref()),
        sold: Sold::of_detail(&detail),
        ends: time(&detail.expired_time),
        issued: time(&detail.cert_issued_time),
        created: time(&detail.cert_created_time),
        follows: follows
            .filter(|other| !other.is_empty() && **other != id)
            .cloned()
            .collect(),
        remaining: match detail.remain_cert_number {
            Some(count) => u32::try_from(count).unwrap_or(0),
            None => by_years(&detail),
        },
        auto_renew: detail.auto_renew_status == Some(1),
        fail_reason: detail.fail_reason.filter(|text| !text.is_empty()),
        tags: Tags::default(),
        id,
    }
}

/// What is to come by the years that were bought, where the account does not count: one at least, while they go on for longer
/// than the certificate. What follows another does not say when the years began.
fn by_years(detail: &TaggedDetail) -> u32 {
    let time = |text: &Option<String>| text.as_deref().and_then(moment);
    let follows = [&detail.origin_cert_id, &detail.renewal_cert_id];
    let first = follows.into_iter().flatten().all(String::is_empty);
    let began = time(&detail.cert_created_time).or_else(|| time(&detail.cert_issued_time));
    let paid = began
        .zip(detail.purchase_period)
        .map(|(began, years)| began + Seconds::days(years.clamp(0, MOST_YEARS) * 365));
    let ends = time(&detail.expired_time);
    let goes_on = paid
        .zip(ends)
        .is_some_and(|(paid, ends)| paid > ends + SLACK);
    u32::from(first && goes_on)
}

fn of_listed(entry: ScmCertificate) -> One {
    One {
        names: names_of(entry.domain.as_deref(), entry.sans.as_deref()),
        sold: Sold::of_entry(&entry),
        ends: entry.expire_time.as_deref().and_then(moment),
        status: entry.status,
        id: entry.id,
        issued: None,
        created: None,
        follows: BTreeSet::new(),
        remaining: 0,
        auto_renew: false,
        fail_reason: None,
        tags: Tags::default(),
    }
}

/// Ids of those that bear this value under this key, by the question of 4.1.2.1 that is made for it.
pub(super) async fn marked(scm: &Scm, key: &str, value: &str) -> Result<Vec<String>, IssuerError> {
    let found = bearing(scm, key, value).await?;
    Ok(found.map(|one| one.id).collect())
}

/// By certificate, the host that cares for it: those that this program has marked.
pub(super) async fn hosts(scm: &Scm) -> Result<BTreeMap<String, String>, IssuerError> {
    let (key, value) = tags::MANAGED;
    let found = bearing(scm, key, value).await?;
    let host = |one: One| Some((one.id, one.tags.host()?.to_owned()));
    Ok(found.filter_map(host).collect())
}

async fn bearing(
    scm: &Scm,
    key: &str,
    value: &str,
) -> Result<impl Iterator<Item = One>, IssuerError> {
    let choice = TagChoice {
        key: key.to_owned(),
        values: Values(vec![value.to_owned()]),
    };
    let request = FilterTags {
        tags: vec![choice],
        ..filter(Vec::new())
    };
    let found = tagged(scm, &request).await?;
    Ok(found.into_iter().filter_map(of_tagged))
}

/// One certificate as 4.1.2.1 shows it; `None` where it is gone. The reference lets one ask for a name, which need not be
/// the only one of its kind; where that does not find it, everything is looked through.
pub(super) async fn one(
    scm: &Scm,
    id: &str,
    name: Option<&str>,
) -> Result<Option<One>, IssuerError> {
    let name = name.filter(|name| !name.is_empty());
    if let Some(name) = name {
        let named = Match {
            key: "resource_name".to_owned(),
            value: name.to_owned(),
        };
        let found = match tagged(scm, &filter(vec![named])).await {
            Ok(found) => found,
            // A name may have characters that this question may not.
            Err(error) if error.class == ErrorClass::Rejected => Vec::new(),
            Err(error) => return Err(error),
        };
        let mut found = found.into_iter().filter_map(of_tagged);
        if let Some(one) = found.find(|one| one.id == id) {
            return Ok(Some(one));
        }
    }
    let all = tagged(scm, &filter(Vec::new())).await?;
    let mut all = all.into_iter().filter_map(of_tagged);
    Ok(all.find(|one| one.id == id))
}

/// More than CCM sells.
const MOST_YEARS: i64 = 100;
/// What is left of the years by less than this brings no certificate.
const SLACK: Seconds = Seconds::days(30);
/// How often a listing that changes while it is read is read.
const READINGS: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    fn bought(years: i64, ends: &str) -> TaggedDetail {
        TaggedDetail {
            purchase_period: Some(years),
            cert_issued_time: Some("2026-06-01T00:00:00Z".to_owned()),
            expired_time: Some(ends.to_owned()),
            ..TaggedDetail::default()
        }
    }

    #[test]
    fn the_years_count_where_the_account_does_not() {
        let remaining = |detail: TaggedDetail| of_detail("scs1".to_owned(), detail).remaining;
        assert_eq!(remaining(bought(2, "2026-12-18T00:00:00Z")), 1);
        assert_eq!(remaining(bought(1, "2027-05-31T00:00:00Z")), 0);
        let mut counted = bought(2, "2026-12-18T00:00:00Z");
        counted.remain_cert_number = Some(0);
        assert_eq!(remaining(counted), 0, "the account's word goes first");
        let mut following = bought(2, "2026-12-18T00:00:00Z");
        following.origin_cert_id = Some("scs0".to_owned());
        assert_eq!(remaining(following), 0, "its years began earlier");
        assert_eq!(remaining(TaggedDetail::default()), 0);
    }
}
