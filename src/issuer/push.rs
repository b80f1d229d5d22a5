//! What is done at SCM with certificates after they are issued: brought in, pushed, deployed, tagged, deleted.
//!
//! Each answers "did it happen?" by looking first; what is due is decided by `plan::push` and `plan::revoke`.

use std::collections::{BTreeMap, BTreeSet};

use crate::ccm::{
    BatchTags, Class, CloudService as WireService, Collector, Deploy, Deployed, Import, Push,
    Resource, ResourceKind, Scm, ScmQuery, ScmStatus, ServiceFilter, Tag, TagAction,
};
use crate::issuer::IssuerError;
use crate::issuer::exported;
use crate::issuer::failure::{acting, own, reading};
use crate::model::{CloudService, ErrorClass, Fingerprint, WafResource};

/// Certificates of one SCM account, after they were issued.
pub struct Pushing<'a> {
    scm: &'a Scm,
}

/// A certificate with its key, to be brought in.
pub struct Upload<'a> {
    /// 3 to 63 characters.
    pub name: &'a str,
    /// PEM.
    pub certificate: &'a str,
    /// PEM, intermediates first; may be empty.
    pub chain: &'a str,
    /// PEM.
    pub private_key: &'a str,
}

/// Where a certificate goes.
#[derive(Debug, Clone, Copy)]
pub struct Whereto<'a> {
    /// Which service.
    pub service: CloudService,
    /// Project (region) name; empty for CDN.
    pub region: &'a str,
}

impl<'a> Pushing<'a> {
    pub(super) const fn new(scm: &'a Scm) -> Self {
        Self { scm }
    }

    /// The id of an uploaded certificate with this leaf, if it is among those that can be listed, which ends at an offset
    /// of 100 and begins with what was updated last. A listing that changes while it is read is an error, never "none".
    /// Those called `name` are looked at first, and no more than a few dozen.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn find(&self, name: &str, leaf: Fingerprint) -> Result<Option<String>, IssuerError> {
        let mut collector = Collector::default();
        loop {
            let query = ScmQuery {
                status: Some("UPLOAD"),
                limit: PAGE,
                offset: collector.offset(),
                ..ScmQuery::default()
            };
            let page = match self.scm.list_certificates(&query).await {
                Ok(page) => page,
                // An offset ends at 100 there. What was updated last comes first, and so does what was brought in a
                // moment ago.
                Err(error) if error.class == Class::Rejected && collector.offset() > 100 => break,
                Err(error) => return Err(reading(error)),
            };
            if !collector.add(page, |one| &one.id) {
                if !collector.complete() {
                    let message = format!(
                        "the listing of uploaded certificates at {} is incomplete: {}",
                        self.scm.host(),
                        collector.progress()
                    );
                    return Err(own(ErrorClass::Transient, message));
                }
                break;
            }
        }
        let mut all = collector.into_items();
        all.retain(|one| one.status == ScmStatus::Upload);
        all.sort_by_key(|one| one.name.as_deref() != Some(name));
        for one in all.iter().take(MOST_EXAMINED) {
            let found = match self.scm.export_certificate(&one.id).await {
                Ok(found) => found,
                // Deleted meanwhile, or not to be exported.
                Err(error) if error.class == Class::Rejected => continue,
                Err(error) => return Err(reading(error)),
            };
            if exported::leaf(&found, &one.id).is_ok_and(|facts| facts.fingerprint == leaf) {
                return Ok(Some(one.id.clone()));
            }
        }
        Ok(None)
    }

    /// Brings it in (CCM API 4.1.5.2); answers its id.
    ///
    /// # Errors
    /// Those of every call; with `Effect::Unknown` it may be there: [`Self::find`] tells.
    pub async fn import(&self, upload: &Upload<'_>) -> Result<String, IssuerError> {
        let import = Import {
            name: upload.name,
            certificate: upload.certificate,
            certificate_chain: Some(upload.chain).filter(|chain| !chain.is_empty()),
            private_key: upload.private_key,
        };
        let made = self.scm.import_certificate(&import).await;
        made.map_err(acting)
    }

    /// To the service's own list of certificates (CCM API 4.1.6.1). Doing it twice is harmless.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn push(&self, reference: &str, to: Whereto<'_>) -> Result<(), IssuerError> {
        let request = Push {
            // The API wants one for CDN, too, and does not look at it.
            target_project: match to.region {
                "" => "global".to_owned(),
                region => region.to_owned(),
            },
            target_service: wire(to.service),
        };
        self.scm.push(reference, &request).await.map_err(acting)
    }

    /// Has resources use it (CCM API 4.1.6.3), twenty at a time; answers those that do not, with what was said.
    ///
    /// # Errors
    /// Those of every call. Some may use it already: [`Self::deployed`] tells.
    pub async fn deploy(
        &self,
        reference: &str,
        to: Whereto<'_>,
        resources: &[&str],
    ) -> Result<BTreeMap<String, String>, IssuerError> {
        let mut failed = BTreeMap::new();
        for part in resources.chunks(MOST_AT_ONCE) {
            let request = Deploy {
                project_name: Some(to.region.to_owned()).filter(|region| !region.is_empty()),
                service_name: wire(to.service),
                resources: part.iter().map(|one| resource(to.service, one)).collect(),
            };
            let answer = self.scm.deploy(reference, &request).await.map_err(acting)?;
            for failure in answer.failure_list {
                let name = failure.resource.unwrap_or_default();
                let why = failure.failure_info.unwrap_or_default();
                // By the id alone, or by the whole of what the policy says.
                let known = part.iter().find(|one| id(to.service, one) == name);
                failed.insert(known.map_or(name, |one| (*one).to_owned()), why);
            }
        }
        Ok(failed)
    }

    /// Which of these resources use it (CCM API 4.1.6.4).
    ///
    /// # Errors
    /// Those of every call; `Transient` where a region could not be asked.
    pub async fn deployed<'r>(
        &self,
        reference: &str,
        to: Whereto<'_>,
        resources: &[&'r str],
    ) -> Result<BTreeSet<&'r str>, IssuerError> {
        let request = Deployed {
            certificate_ids: vec![reference.to_owned()],
            service_names: vec![ServiceFilter::from(to.service.as_str().to_owned())],
        };
        let answer = self.scm.deployed(&request).await.map_err(reading)?;
        let mut using = BTreeSet::new();
        for service in answer
            .results
            .into_iter()
            .flat_map(|result| result.deployed_resources)
        {
            for region in service.region_resources {
                let here = region.region_id.as_deref() == Some(to.region);
                if region.is_error == Some(true) && (here || to.region.is_empty()) {
                    let message = format!(
                        "which resources of {} use certificate {reference} cannot be read: the service does not answer for {}",
                        to.service,
                        region.region_id.as_deref().unwrap_or("its region")
                    );
                    return Err(own(ErrorClass::Transient, message));
                }
                for resource in region.resources {
                    using.extend(resource.resource_id);
                    using.extend(resource.resource_name);
                }
            }
        }
        let uses = |one: &&&str| using.contains(id(to.service, one));
        Ok(resources.iter().filter(uses).copied().collect())
    }

    /// The tags of a certificate; `None` where there is no such certificate any more.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn tags(
        &self,
        reference: &str,
    ) -> Result<Option<BTreeMap<String, String>>, IssuerError> {
        match self.scm.list_tags(reference).await {
            Ok(answer) => {
                let tags = answer.tags.into_iter();
                Ok(Some(
                    tags.map(|tag| (tag.key, tag.value.unwrap_or_default()))
                        .collect(),
                ))
            }
            Err(error) if error.class == Class::Rejected => Ok(None),
            Err(error) => Err(reading(error)),
        }
    }

    /// Adds tags, or gives them other values.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn tag(
        &self,
        reference: &str,
        tags: &BTreeMap<String, String>,
    ) -> Result<(), IssuerError> {
        let request = BatchTags {
            action: TagAction::Create,
            tags: tags
                .iter()
                .map(|(key, value)| Tag {
                    key: key.clone(),
                    value: value.clone(),
                })
                .collect(),
        };
        let done = self.scm.batch_tags(reference, &request).await;
        done.map(|_| ()).map_err(acting)
    }

    /// Deletes a certificate (CCM API 4.1.5.4).
    ///
    /// # Errors
    /// Those of every call.
    pub async fn delete(&self, reference: &str) -> Result<(), IssuerError> {
        self.scm.delete_certificate(reference).await.map_err(acting)
    }
}

fn wire(service: CloudService) -> WireService {
    WireService::from(service.as_str().to_owned())
}

/// As the API knows a resource of the policy.
fn id(service: CloudService, resource: &str) -> &str {
    match service {
        CloudService::Waf => WafResource::parse(resource).map_or(resource, |one| one.id),
        CloudService::Elb | CloudService::Cdn => resource,
    }
}

fn resource(service: CloudService, text: &str) -> Resource {
    match service {
        CloudService::Elb => Resource {
            id: Some(text.to_owned()),
            ..Resource::default()
        },
        CloudService::Cdn => Resource {
            domain_name: Some(text.to_owned()),
            ..Resource::default()
        },
        CloudService::Waf => {
            let parsed = WafResource::parse(text);
            Resource {
                id: Some(parsed.map_or(text, |one| one.id).to_owned()),
                kind: parsed.map(|one| ResourceKind::from(one.kind.to_owned())),
                enterprise_project_id: parsed.map(|one| one.project.to_owned()),
                domain_name: None,
            }
        }
    }
}

/// The most that 4.1.5.1 gives at once.
const PAGE: u32 = 50;
/// Uploaded certificates whose leaf is compared; ours is called as it would be now, and looked at first.
const MOST_EXAMINED: usize = 32;
/// Resources of one request (CCM API 4.1.6.3).
const MOST_AT_ONCE: usize = 20;
