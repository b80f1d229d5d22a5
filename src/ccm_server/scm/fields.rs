//! The fields of SCM's requests with their limits and codes (CCM API 4.1.5).

use crate::ccm_server::codes::code;
use crate::ccm_server::field::Field;
use crate::ccm_server::text::is_scm_id;

pub(super) const ID: &[Field] = &[Field::form(
    "certificate_id",
    is_scm_id,
    "an id of 16 letters and digits such as scs1554192131150",
)
.required()
.or(code("SCM.0020"))];

pub(super) const LIST: &[Field] = &[
    Field::numbers("limit", &[10, 20, 50]),
    Field::integer("offset", 0, 100),
    Field::choice("sort_dir", &["ASC", "DESC"]),
    Field::choice(
        "sort_key",
        &["certExpiredTime", "certStatus", "certUpdateTime"],
    ),
    Field::choice("status", STATUSES).or(code("SCM.0072")),
    Field::boolean("deploy_support"),
    Field::boolean("owned_by_self"),
    Field::integer("expired_days_since", 0, 1095),
    // The SDK's; the reference speaks of searching by name or domain, and has no parameter for it.
    Field::text("content", 0, 255),
    // The SDK's as well.
    Field::text("enterprise_project_id", 0, 63),
];

pub(super) const IMPORT: &[Field] = &[
    Field::form(
        "name",
        is_name,
        "3 to 63 letters, digits, underscores, hyphens and periods",
    )
    .required()
    .or(code("SCM.0032")),
    Field::text("certificate", 1, 4096)
        .required()
        .or(code("SCM.0006")),
    Field::text("certificate_chain", 0, 8192).or(code("SCM.0013")),
    Field::text("private_key", 1, 4096)
        .required()
        .or(code("SCM.0012")),
    Field::boolean("duplicate_check"),
];

fn is_name(text: &str) -> bool {
    (3..=63).contains(&text.len())
        && text
            .bytes()
            .all(|c| c.is_ascii_alphanumeric() || b"_-.".contains(&c))
}

/// With the spellings of the reference's text (`REVOKEING`) and of the SDK (`REVOKED`).
const STATUSES: &[&str] = &[
    "ALL",
    "PAID",
    "ISSUED",
    "CHECKING",
    "CANCELCHECKING",
    "UNPASSED",
    "EXPIRED",
    "REVOKING",
    "REVOKEING",
    "REVOKE",
    "REVOKED",
    "UPLOAD",
    "CHECKING_ORG",
    "ISSUING",
    "SUPPLEMENTCHECKING",
];
