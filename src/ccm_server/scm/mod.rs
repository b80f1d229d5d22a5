//! SSL certificates, version 3 (CCM API 4.1): the table of their operations.

mod certificates;
mod csr;
mod csr_fields;
mod deploy;
mod deploy_fields;
mod fields;
mod import;
mod listing;
mod made_csr;
pub(super) mod orders;
mod push;
mod services;
mod tables;
mod tag_fields;
mod tag_filter;
mod tags;

use crate::ccm_server::operation::{Access, Operation, Payload, Service, Verb};

pub(super) use certificates::{find as find_certificate, remove as remove_certificate, text_of};
pub(super) use deploy_fields::KINDS;
pub(super) use import::{
    Import, check as check_upload, insert as insert_upload, keep as import_certificate, key_label,
    seal as seal_upload,
};
pub(super) use listing::{Sort, Wanted, page};
pub(super) use made_csr::parse as parse_csr;
pub use orders::{Class, Outcome, ProofReuse, ProofReuseError, Review, ReviewError, ScmOptions};
pub(super) use orders::{
    LONGEST as LONGEST_REVIEW, Life, ORDER_OPERATIONS, add_zone, approve,
    keep as keep_applications, listed as applications, look as look_at_applications, reject,
    remove_zone, root as root_certificate, set_review, zones,
};
pub(super) use push::{RECORDS, push_to, target as push_target};
pub(super) use services::{Resource, Target, add as add_resource, key_label as copy_label, place};
pub(super) use tables::{CSR_OPERATIONS, DEPLOY_OPERATIONS, TAG_OPERATIONS};

/// The operations of 4.1.
pub(super) static OPERATIONS: &[Operation] = &[
    Operation {
        chapter: "4.1.5.1",
        service: Service::Scm,
        verb: Verb::Get,
        path: "/v3/scm/certificates",
        access: Access::Action("scm:cert:list"),
        path_fields: &[],
        query: fields::LIST,
        body: Payload::None,
        run: |call| Box::pin(certificates::list(call)),
    },
    Operation {
        chapter: "4.1.5.2",
        service: Service::Scm,
        verb: Verb::Post,
        path: "/v3/scm/certificates/import",
        access: Access::Action("scm:cert:upload"),
        path_fields: &[],
        query: &[],
        body: Payload::Json(fields::IMPORT),
        run: |call| Box::pin(import::import(call)),
    },
    Operation {
        chapter: "4.1.5.3",
        service: Service::Scm,
        verb: Verb::Get,
        path: "/v3/scm/certificates/{certificate_id}",
        access: Access::Action("scm:cert:get"),
        path_fields: fields::ID,
        query: &[],
        body: Payload::None,
        run: |call| Box::pin(certificates::show(call)),
    },
    Operation {
        chapter: "4.1.5.4",
        service: Service::Scm,
        verb: Verb::Delete,
        path: "/v3/scm/certificates/{certificate_id}",
        access: Access::Action("scm:cert:delete"),
        path_fields: fields::ID,
        query: &[],
        body: Payload::None,
        run: |call| Box::pin(certificates::delete(call)),
    },
    Operation {
        chapter: "4.1.5.5",
        service: Service::Scm,
        verb: Verb::Post,
        path: "/v3/scm/certificates/{certificate_id}/export",
        access: Access::Action("scm:cert:download"),
        path_fields: fields::ID,
        query: &[],
        body: Payload::None,
        run: |call| Box::pin(certificates::export(call)),
    },
];
