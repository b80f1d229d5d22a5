//! SSL certificates, version 2 (CCM API 7.1): another face of the state that `scm` keeps, with a project in every path.

mod applications;
mod certificate_fields;
mod certificate_table;
mod certificates;
mod download;
mod fields;
mod products;
mod project;

pub(super) use applications::APPLICATION_OPERATIONS;
pub(super) use certificate_table::CERTIFICATE_OPERATIONS;
