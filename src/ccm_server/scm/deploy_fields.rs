//! The fields of requests that bring certificates to other services, with their limits and codes (CCM API 4.1.6).

use crate::ccm_server::codes::code;
use crate::ccm_server::field::Field;
use crate::ccm_server::scm::services::Target;

pub(super) const PUSH: &[Field] = &[
    Field::text("target_project", 1, 255)
        .required()
        .or(code("SCM.0061")),
    Field::choice("target_service", Target::NAMES)
        .required()
        .or(code("SCM.0030")),
];

pub(super) const BATCH: &[Field] = &[
    Field::texts("target_projects", 1, 32, 10)
        .required()
        .or(code("SCM.0505"))
        .each_or(code("SCM.0061")),
    Field::choice("target_service", Target::NAMES)
        .required()
        .or(code("SCM.0030")),
];

/// Which of a resource's fields are mandatory depends on the service.
pub(super) const DEPLOY: &[Field] = &[
    Field::text("project_name", 1, 255).or(code("SCM.0061")),
    Field::choice("service_name", Target::NAMES)
        .required()
        .or(code("SCM.0030")),
    Field::objects("resources", RESOURCE, MOST_RESOURCES)
        .required()
        .or(code("SCM.0505")),
];

const RESOURCE: &[Field] = &[
    Field::text("id", 0, 63).or(code("SCM.0005")),
    Field::choice("type", KINDS).or(code("SCM.0005")),
    Field::text("domain_name", 0, 63).or(code("SCM.0005")),
    Field::text("enterprise_project_id", 0, 63).or(code("SCM.0005")),
];

/// The lists have 1 to 50 entries; that is checked with their contents, since each fault has its own code.
pub(super) const DEPLOYED: &[Field] = &[
    Field::texts("certificate_ids", 16, 16, MOST_ASKED)
        .required()
        .or(code("SCM.0505"))
        .each_or(code("SCM.0506")),
    Field::texts("service_names", 0, 5, MOST_ASKED)
        .required()
        .or(code("SCM.0505"))
        .each_or(code("SCM.0501")),
];

/// Of WAF: in the cloud, or dedicated.
pub(in crate::ccm_server) const KINDS: &[&str] = &["cloud", "premium"];
/// Resources of one request to deploy.
pub(super) const MOST_RESOURCES: usize = 20;
/// Certificates, and services, of one question where they are deployed.
const MOST_ASKED: usize = 50;
