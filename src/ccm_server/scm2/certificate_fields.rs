//! The fields of version 2's requests about certificates with their limits and codes (CCM API 7.1).

use crate::ccm_server::codes::code;
use crate::ccm_server::field::Field;
use crate::ccm_server::text::is_scm_id;

pub(super) const PROJECT: &[Field] = &[PROJECT_ID];

pub(super) const CERTIFICATE: &[Field] = &[
    PROJECT_ID,
    Field::form(
        "cert_id",
        is_scm_id,
        "an id of 16 letters and digits such as scs1554192131150",
    )
    .required()
    .or(code("SCM.0020")),
];

pub(super) const PRODUCT: &[Field] = &[PROJECT_ID, Field::text("product_id", 1, 64).required()];

pub(super) const LIST: &[Field] = &[
    Field::choice("order_status", STATUSES).or(code("SCM.0072")),
    Field::text("content", 0, 255),
    Field::choice(
        "sort_key",
        &["certExpiredTime", "certStatus", "certUpdateTime"],
    ),
    Field::choice("sort_dir", &["ASC", "DESC"]),
    Field::numbers("limit", &[10, 20, 50]),
    // As printed: the first page is asked for without an offset.
    Field::integer("offset", 1, 30),
];

/// The value can be null where it is a description; how long it may be depends on the key.
pub(super) const MODIFY: &[Field] = &[
    Field::choice("modify_key", &["CERT_NAME", "DESCRIPTION"])
        .required()
        .or(code("SCM.0023")),
    Field::text("modify_value", 0, 255)
        .required()
        .nullable()
        .or(code("SCM.0024")),
];

/// The limit is that of 4.1.1.1; 7.1.8 has none.
pub(super) const CHECK_CSR: &[Field] =
    &[Field::text("csr", 1, 5120).required().or(code("SCM.0034"))];

/// The certificate comes with its chain in one field, so its limit is that of both in 4.1.5.2; 7.1.15 has none.
pub(super) const UPLOAD: &[Field] = &[
    Field::text("cert_name", 0, 63)
        .required()
        .or(code("SCM.0032")),
    Field::text("cert", 1, 12_288)
        .required()
        .or(code("SCM.0006")),
    Field::text("private_key", 1, 4096)
        .required()
        .or(code("SCM.0012")),
];

pub(super) const PUSH: &[Field] = &[
    Field::choice("service_type", &["CDN", "WAF"])
        .required()
        .or(code("SCM.0030")),
    Field::text("remote_project", 1, 255)
        .required()
        .or(code("SCM.0061")),
];

const PROJECT_ID: Field = Field::text("project_id", 1, 64).required();

const STATUSES: &[&str] = &[
    "PAID",
    "ISSUED",
    "CHECKING",
    "CANCELCHECKING",
    "UNPASSED",
    "EXPIRED",
    "REVOKING",
    "REVOKE",
    "UPLOAD",
    "SUPPLEMENTCHECKING",
    "CANCELSUPPLEMENTING",
];
