//! The listings of a whole account, as far as the API lets one read: for what is watched.

use crate::ccm::{
    CertificateQuery, Class, Collector, Pca, PrivateStatus, Scm, ScmCertificate, ScmQuery,
    ScmStatus,
};
use crate::issuer::failure::reading;
use crate::issuer::scm::moment;
use crate::issuer::{Account, IssuerError, Part};
use crate::model::{Listed, ListedStanding, Timestamp};

/// SCM (CCM API 4.1.5.1). An offset ends at 100 there, so that a listing is read from both of its ends; what is in between
/// counts as unread.
pub(super) async fn of_scm(scm: &Scm, part: Part) -> Result<Option<Account>, IssuerError> {
    let query = match part {
        Part::Whole => ScmQuery::default(),
        Part::Ending(days) => ScmQuery {
            expired_days_since: Some(days),
            ..ScmQuery::default()
        },
        Part::Expired => ScmQuery {
            status: Some("EXPIRED"),
            ..ScmQuery::default()
        },
    };
    let mut last = None;
    for _ in 0..READINGS {
        let mut collector = Collector::default();
        scm_pages(scm, &query, "ASC", &mut collector).await?;
        if !collector.complete() {
            let mut other = Collector::default();
            scm_pages(scm, &query, "DESC", &mut other).await?;
            collector.merge(other, |one| &one.id);
        }
        let complete = collector.complete();
        let account = Account {
            unread: collector.missing(),
            listed: collector.into_items().iter().map(of_scm_entry).collect(),
        };
        if complete {
            return Ok(Some(account));
        }
        last = Some(account);
    }
    Ok(last)
}

async fn scm_pages(
    scm: &Scm,
    query: &ScmQuery<'_>,
    direction: &str,
    collector: &mut Collector<ScmCertificate>,
) -> Result<(), IssuerError> {
    loop {
        let query = ScmQuery {
            sort_key: Some("certExpiredTime"),
            sort_dir: Some(direction),
            limit: SCM_PAGE,
            offset: collector.offset(),
            ..query.clone()
        };
        match scm.list_certificates(&query).await {
            Ok(page) => {
                if !collector.add(page, |one| &one.id) {
                    return Ok(());
                }
            }
            Err(error) if error.class == Class::Rejected && collector.offset() > 100 => {
                return Ok(());
            }
            Err(error) => return Err(reading(error)),
        }
    }
}

fn of_scm_entry(one: &ScmCertificate) -> Listed {
    let texts = [one.domain.as_deref(), one.sans.as_deref()];
    let mut names: Vec<String> = Vec::new();
    for name in texts.into_iter().flatten().flat_map(|text| text.split(';')) {
        let name = name.trim();
        if !name.is_empty() && !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    Listed {
        id: one.id.clone(),
        name: one.name.clone().unwrap_or_default(),
        names,
        not_before: None,
        not_after: one.expire_time.as_deref().and_then(moment),
        standing: match one.status {
            ScmStatus::Issued | ScmStatus::Upload => ListedStanding::Valid,
            ScmStatus::Expired => ListedStanding::Expired,
            _ => ListedStanding::Other,
        },
    }
}

/// PCA (4.2.2.1), which has no filter by expiry.
pub(super) async fn of_pca(pca: &Pca, part: Part) -> Result<Option<Account>, IssuerError> {
    let status = match part {
        Part::Whole => None,
        Part::Ending(_) => return Ok(None),
        Part::Expired => Some("EXPIRED"),
    };
    let mut last = None;
    for _ in 0..READINGS {
        let mut collector = Collector::default();
        loop {
            let query = CertificateQuery {
                name: None,
                status,
                limit: PCA_PAGE,
                offset: collector.offset(),
                ..CertificateQuery::default()
            };
            let page = pca.list_certificates(&query).await.map_err(reading)?;
            if !collector.add(page, |one| &one.certificate_id) {
                break;
            }
        }
        let complete = collector.complete();
        let unread = collector.missing();
        let listed = collector.into_items().into_iter().map(|one| Listed {
            name: one.common_name().to_owned(),
            names: vec![one.common_name().to_owned()],
            not_before: one.not_before.map(Timestamp::from_millis),
            not_after: one.not_after.map(Timestamp::from_millis),
            standing: match one.status {
                PrivateStatus::Issued => ListedStanding::Valid,
                PrivateStatus::Expired => ListedStanding::Expired,
                _ => ListedStanding::Other,
            },
            id: one.certificate_id,
        });
        let account = Account {
            listed: listed.collect(),
            unread,
        };
        if complete {
            return Ok(Some(account));
        }
        last = Some(account);
    }
    Ok(last)
}

/// How often a listing that changes while it is read is read.
const READINGS: usize = 2;
/// The most that 4.1.5.1 gives at once.
const SCM_PAGE: u32 = 50;
/// The most that 4.2.2.1 gives at once.
const PCA_PAGE: u32 = 1000;
