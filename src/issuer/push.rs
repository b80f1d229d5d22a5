//! What is done at SCM with certificates after they are issued: brought in, pushed, deployed, tagged, deleted.
//!
//! Each answers "did it happen?" by looking first; what is due is decided by `plan::push` and `plan::revoke`.

mod uploads;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::ccm::{
    CcmError, Class, CloudService as WireService, Deploy, Deployed, Import, Push, Resource,
    ResourceKind, Scm, ServiceFilter,
};
use crate::issuer::IssuerError;
use crate::issuer::failure::{acting, own, reading};
use crate::issuer::orders::tags;
use crate::issuer::scm::is_gone;
use crate::model::{CloudService, ErrorClass, WafResource};

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

/// What was said of a resource that did not take a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What helps.
    pub class: ErrorClass,
    /// One line; may be empty.
    pub why: String,
}

/// Status and code of an answer that is an error.
type Answered = (Option<u16>, Option<String>);

/// What came of a deployment.
#[derive(Debug)]
pub struct Said {
    /// The resources that did not take it.
    pub refused: BTreeMap<String, Refusal>,
    /// Where each was asked by itself and all met the same error: it may be none of theirs.
    pub alike: Option<IssuerError>,
    /// What no resource has to do with: nothing was sent after it.
    pub stopped: Option<IssuerError>,
}

impl<'a> Pushing<'a> {
    pub(super) const fn new(scm: &'a Scm) -> Self {
        Self { scm }
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

    /// Has resources use it (CCM API 4.1.6.3), twenty at a time, and answers what was said. A request that fails as a whole
    /// is made again for each resource by itself, after all others, so that one that the service chokes on keeps it from
    /// no other. (4.1.6.2, the push in batches, names regions and no resources: it has no word on any.) Some may use it
    /// whatever was said: [`Self::deployed`] tells.
    pub async fn deploy(&self, reference: &str, to: Whereto<'_>, resources: &[&str]) -> Said {
        let mut refused = BTreeMap::new();
        let mut stopped = None;
        let mut first: Option<(Answered, IssuerError)> = None;
        let mut alike = true;
        let mut parts: VecDeque<&[&str]> = resources.chunks(MOST_AT_ONCE).collect();
        while let Some(part) = parts.pop_front() {
            match self.deploy_at_once(reference, to, part).await {
                Ok(some) => {
                    alike = false;
                    refused.extend(some);
                }
                Err(error) if !is_about_resources(&error) => {
                    stopped = Some(acting(error));
                    break;
                }
                Err(error) => match part {
                    [one] => {
                        let said = (error.status, error.code.clone());
                        let error = acting(error);
                        let refusal = Refusal {
                            class: error.class,
                            why: error.message.clone(),
                        };
                        refused.insert((*one).to_owned(), refusal);
                        let (before, _) = first.get_or_insert_with(|| (said.clone(), error));
                        alike &= *before == said;
                    }
                    several => parts.extend(several.chunks(1)),
                },
            }
        }
        Said {
            refused,
            alike: first
                .filter(|_| alike && stopped.is_none())
                .map(|(_, error)| error),
            stopped,
        }
    }

    async fn deploy_at_once(
        &self,
        reference: &str,
        to: Whereto<'_>,
        resources: &[&str],
    ) -> Result<BTreeMap<String, Refusal>, Box<CcmError>> {
        let request = Deploy {
            project_name: Some(to.region.to_owned()).filter(|region| !region.is_empty()),
            service_name: wire(to.service),
            resources: resources
                .iter()
                .map(|one| resource(to.service, one))
                .collect(),
        };
        let answer = self.scm.deploy(reference, &request).await?;
        let refused = answer.failure_list.into_iter().map(|failure| {
            let name = failure.resource.unwrap_or_default();
            // By the id alone, or by the whole of what the policy says.
            let known = resources.iter().find(|one| id(to.service, one) == name);
            let refusal = Refusal {
                class: ErrorClass::Configuration,
                why: failure.failure_info.unwrap_or_default(),
            };
            (known.map_or(name, |one| (*one).to_owned()), refusal)
        });
        Ok(refused.collect())
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
        match tags::of(self.scm, reference).await {
            Ok(found) => Ok(found.map(|found| found.0)),
            Err(error) if error.class == ErrorClass::Rejected => Ok(None),
            Err(error) => Err(error),
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
        let wanted: Vec<(&str, &str)> = tags
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .collect();
        tags::put(self.scm, reference, &wanted).await
    }

    /// Deletes a certificate (CCM API 4.1.5.4); one that is gone is no error.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn delete(&self, reference: &str) -> Result<(), IssuerError> {
        match self.scm.delete_certificate(reference).await {
            Ok(()) => Ok(()),
            Err(error) if is_gone(&error) => Ok(()),
            Err(error) => Err(acting(error)),
        }
    }
}

fn wire(service: CloudService) -> WireService {
    WireService::from(service.as_str().to_owned())
}

/// Whether the service answered, and no to this very request or with an error of its own: it may be one resource that
/// it does not get along with.
fn is_about_resources(error: &CcmError) -> bool {
    error.status.is_some() && matches!(error.class, Class::Rejected | Class::Transient)
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

/// Resources of one request (CCM API 4.1.6.3).
const MOST_AT_ONCE: usize = 20;
