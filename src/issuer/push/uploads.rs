//! Whether a certificate was brought into an account already: an import that is made twice leaves a second upload behind.

use std::collections::{BTreeMap, BTreeSet};

use crate::ccm::{
    Class, Collector, FilterTags, Match, ScmCertificate, ScmQuery, ScmStatus, TaggedCertificate,
};
use crate::issuer::IssuerError;
use crate::issuer::exported;
use crate::issuer::failure::{own, reading};
use crate::issuer::push::Pushing;
use crate::issuer::scm::moment;
use crate::model::{CertificateFacts, ErrorClass, Seconds};

/// What is known of the uploads of an account.
#[derive(Default)]
struct Uploads {
    /// Names by id; empty where the account does not say it.
    names: BTreeMap<String, String>,
    /// Those that end when the wanted one does, or of which that is not said; those that were updated last come first.
    alike: Vec<String>,
    /// Of these the leaf was compared.
    compared: BTreeSet<String>,
    /// How many there are, by 4.1.5.1.
    total: u64,
}

impl Uploads {
    fn listed(&mut self, one: &ScmCertificate, leaf: &CertificateFacts) {
        if one.status != ScmStatus::Upload {
            return;
        }
        let end = one.expire_time.as_deref().and_then(moment);
        // The time has no zone.
        let near = |end| leaf.not_after.until(end).0.abs() <= A_DAY.0;
        let name = one.name.clone().unwrap_or_default();
        if self.names.insert(one.id.clone(), name).is_none() && end.is_none_or(near) {
            self.alike.push(one.id.clone());
        }
    }

    fn tagged(&mut self, one: &TaggedCertificate) {
        let detail = one.resource_detail.as_ref();
        let status = detail.and_then(|detail| detail.order_status.clone());
        let upload = status.is_some_and(|status| ScmStatus::from(status) == ScmStatus::Upload);
        let id = one.resource_id.clone();
        let id = id.or_else(|| detail?.cert_id.clone());
        let name = one.resource_name.clone();
        let name = name.or_else(|| detail?.cert_name.clone());
        if let (true, Some(id)) = (upload, id.filter(|id| !id.is_empty())) {
            self.names.entry(id).or_insert(name.unwrap_or_default());
        }
    }

    /// Every one that there is was seen.
    fn complete(&self) -> bool {
        self.names.len() as u64 >= self.total
    }

    fn called(&self, name: &str) -> Vec<String> {
        let named = self.names.iter().filter(|(_, own)| own.as_str() == name);
        named.map(|(id, _)| id.clone()).collect()
    }
}

impl Pushing<'_> {
    /// The id of an uploaded certificate with this leaf. One called `name` is found wherever it is, or it is certain that
    /// there is none; one of another name among those that were updated last.
    ///
    /// An offset of 4.1.5.1 ends at 100, so that it shows 150 and no more; that of 4.1.2.1 has no end, but its index may
    /// lag. What was updated last comes first in 4.1.5.1, so each shows what the other may not, and together they must
    /// show as many as there are.
    ///
    /// # Errors
    /// Those of every call; `Transient` where neither says that all was seen: then nothing follows from what was not.
    pub async fn find(
        &self,
        name: &str,
        leaf: &CertificateFacts,
    ) -> Result<Option<String>, IssuerError> {
        let mut seen = Uploads::default();
        self.newest(&mut seen, leaf).await?;
        if let Some(found) = self.among(&mut seen, name, leaf).await? {
            return Ok(Some(found));
        }
        if !seen.complete() {
            // By its name at once, by all that there is for certain.
            for filter in [by_name(name), FilterTags::default()] {
                let request = FilterTags {
                    action: Some("filter".to_owned()),
                    ..filter
                };
                match self.scm.all_by_tags(&request).await {
                    Ok(listing) => listing.items.iter().for_each(|one| seen.tagged(one)),
                    // 4.1.5.1 is asked for what this does not tell.
                    Err(error) if error.class != Class::Authentication => {
                        tracing::debug!(error = %error, "uploads are not listed by tag");
                    }
                    Err(error) => return Err(reading(error)),
                }
                if let Some(found) = self.among(&mut seen, name, leaf).await? {
                    return Ok(Some(found));
                }
            }
        }
        if !seen.complete() {
            let query = ScmQuery {
                status: Some(ScmStatus::Upload.as_str()),
                ..ScmQuery::default()
            };
            let listing = self.scm.all_certificates(&query).await.map_err(reading)?;
            listing.items.iter().for_each(|one| seen.listed(one, leaf));
            seen.total = seen.total.max(listing.total);
            if let Some(found) = self.among(&mut seen, name, leaf).await? {
                return Ok(Some(found));
            }
        }
        if seen.complete() {
            return Ok(None);
        }
        let message = format!(
            "whether {name} is at {} already is unknown: {} of {} uploaded certificates could be listed; it is not imported as long as it may be among the others",
            self.scm.host(),
            seen.names.len(),
            seen.total
        );
        Err(own(ErrorClass::Transient, message))
    }

    /// What was updated last, as far as an offset goes.
    async fn newest(&self, seen: &mut Uploads, leaf: &CertificateFacts) -> Result<(), IssuerError> {
        let mut collector = Collector::default();
        loop {
            let query = ScmQuery {
                status: Some(ScmStatus::Upload.as_str()),
                sort_key: Some("certUpdateTime"),
                sort_dir: Some("DESC"),
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
                Err(error) if error.class == Class::Rejected && collector.offset() > 100 => break,
                Err(error) => return Err(reading(error)),
            }
        }
        seen.total = collector.total();
        for one in collector.into_items() {
            seen.listed(&one, leaf);
        }
        Ok(())
    }

    /// The one with this leaf, of those that bear the name and of those that end alike. Each is looked at once.
    async fn among(
        &self,
        seen: &mut Uploads,
        name: &str,
        leaf: &CertificateFacts,
    ) -> Result<Option<String>, IssuerError> {
        let mut candidates = seen.called(name);
        let alike = seen.alike.iter().take(MOST_COMPARED);
        candidates.extend(alike.cloned());
        for id in candidates {
            if !seen.compared.insert(id.clone()) {
                continue;
            }
            let found = match self.scm.export_certificate(&id).await {
                Ok(found) => found,
                // Deleted meanwhile, or not to be exported.
                Err(error) if error.class == Class::Rejected => continue,
                Err(error) => return Err(reading(error)),
            };
            let found = exported::leaf(&found, &id);
            if found.is_ok_and(|facts| facts.fingerprint == leaf.fingerprint) {
                return Ok(Some(id));
            }
        }
        Ok(None)
    }
}

fn by_name(name: &str) -> FilterTags {
    FilterTags {
        matches: vec![Match {
            key: "resource_name".to_owned(),
            value: name.to_owned(),
        }],
        ..FilterTags::default()
    }
}

/// The most that 4.1.5.1 gives at once.
const PAGE: u32 = 50;
/// Uploaded certificates of other names whose leaf is compared: an export brings the private key along.
const MOST_COMPARED: usize = 32;
const A_DAY: Seconds = Seconds::days(1);
