//! The fields of PCA's requests with their limits and codes (CCM API 4.2.1 and 4.2.2).

use crate::ccm_server::codes::{Code, code};
use crate::ccm_server::field::Field;
use crate::ccm_server::text::is_uuid;
use crate::ccm_server::x509::{Hash, KeyKind, KeyUsage, Unit};

pub(super) const CA_ID: &[Field] = &[Field::form("ca_id", is_uuid, UUID).required().or(BAD_CA_ID)];

pub(super) const CERTIFICATE_ID: &[Field] = &[Field::form("certificate_id", is_uuid, UUID)
    .required()
    .or(code("PCA.00020301"))];

pub(super) const LIST_AUTHORITIES: &[Field] = &[
    Field::integer("limit", 0, 1000),
    Field::integer("offset", 0, i64::MAX),
    Field::text("name", 1, 64),
    Field::choice(
        "status",
        &["PENDING", "ACTIVED", "DISABLED", "DELETED", "EXPIRED"],
    )
    .or(code("PCA.00020404")),
    Field::choice("type", CA_KINDS).or(code("PCA.00020202")),
    // `ca_type` in the reference, `type` in the SDK.
    Field::choice(
        "sort_key",
        &["create_time", "common_name", "ca_type", "type", "not_after"],
    ),
    Field::choice("sort_dir", DIRECTIONS),
];

pub(super) const CREATE_AUTHORITY: &[Field] = &[
    Field::choice("type", CA_KINDS)
        .required()
        .or(code("PCA.00020202")),
    Field::object("distinguished_name", CA_NAME)
        .required()
        .or(BAD_NAME),
    Field::choice("key_algorithm", KeyKind::NAMES)
        .required()
        .or(BAD_KEY_ALGORITHM),
    Field::object("validity", VALIDITY).or(BAD_VALIDITY),
    Field::form("issuer_id", is_uuid, UUID).or(BAD_CA_ID),
    Field::integer("path_length", 0, 6).or(BAD_PATH_LENGTH),
    Field::choice("signature_algorithm", Hash::NAMES).or(BAD_HASH),
    Field::choices("key_usages", KeyUsage::NAMES, 9),
    Field::object("crl_configuration", CRL).or(code("PCA.00020204")),
];

pub(super) const ACTIVATE: &[Field] = &[
    Field::form("issuer_id", is_uuid, UUID)
        .required()
        .or(BAD_CA_ID),
    // Mandatory in the reference, optional in the SDK.
    Field::integer("path_length", 0, 6).or(BAD_PATH_LENGTH),
    Field::choice("signature_algorithm", Hash::NAMES)
        .required()
        .or(BAD_HASH),
    Field::object("validity", VALIDITY)
        .required()
        .or(BAD_VALIDITY),
    Field::choices("key_usages", KeyUsage::NAMES, 9),
];

pub(super) const DELETE_AUTHORITY: &[Field] = &[Field::integer("pending_days", 7, 30).required()];

pub(super) const IMPORT_AUTHORITY: &[Field] = &[
    Field::text("certificate", 1, 32_768)
        .required()
        .or(code("PCA.00020402")),
    Field::text("certificate_chain", 0, 2_097_152).or(code("PCA.00020403")),
];

pub(super) const LIST_CERTIFICATES: &[Field] = &[
    Field::integer("limit", 0, 1000),
    Field::integer("offset", 0, i64::MAX),
    Field::text("name", 1, 64),
    Field::choice("status", &["ISSUED", "REVOKED", "EXPIRED"]),
    Field::choice(
        "sort_key",
        &["create_time", "common_name", "issuer_name", "not_after"],
    ),
    Field::choice("sort_dir", DIRECTIONS),
];

pub(super) const APPLY: &[Field] = &[
    Field::form("issuer_id", is_uuid, UUID)
        .required()
        .or(BAD_CA_ID),
    Field::choice("key_algorithm", KeyKind::NAMES)
        .required()
        .or(BAD_KEY_ALGORITHM),
    Field::choice("signature_algorithm", Hash::NAMES)
        .required()
        .or(BAD_HASH),
    Field::object("distinguished_name", CERTIFICATE_NAME)
        .required()
        .or(BAD_NAME),
    Field::object("validity", VALIDITY)
        .required()
        .or(BAD_VALIDITY),
    Field::choices("key_usages", KeyUsage::NAMES, 9),
    Field::objects("subject_alternative_names", NAME, 20).or(BAD_NAME_KIND),
    Field::object("extended_key_usage", PURPOSES),
    Field::object("customized_extension", CUSTOM),
];

pub(super) const ISSUE_BY_CSR: &[Field] = &[
    Field::form("issuer_id", is_uuid, UUID)
        .required()
        .or(BAD_CA_ID),
    Field::text("csr", 1, 5120)
        .required()
        .or(code("PCA.00020401")),
    Field::object("validity", VALIDITY)
        .required()
        .or(BAD_VALIDITY),
    Field::choice("type", &["ENTITY_CERT", "INTERMEDIATE_CA"]),
    Field::integer("path_length", 0, 6).or(BAD_PATH_LENGTH),
    // `subject_alternative_names` is reserved and ignored, so it is not even checked.
];

pub(super) const PARSE_CSR: &[Field] = &[Field::text("csr", 1, 5120)
    .required()
    .or(code("PCA.00020401"))];

pub(super) const EXPORT: &[Field] = &[
    Field::boolean("is_compressed").required(),
    Field::choice("type", &["APACHE", "NGINX", "IIS", "TOMCAT", "OTHER"]).required(),
];

pub(super) const REVOKE: &[Field] = &[Field::choice("reason", REASONS)];

const VALIDITY: &[Field] = &[
    Field::choice("type", Unit::NAMES)
        .required()
        .or(BAD_VALIDITY),
    Field::integer("value", 1, i64::MAX)
        .required()
        .or(BAD_VALIDITY),
    Field::integer("start_from", 0, i64::MAX).or(BAD_VALIDITY),
];

const CA_NAME: &[Field] = &[
    Field::text("common_name", 1, 64).required().or(BAD_NAME),
    Field::text("country", 2, 2).required().or(BAD_NAME),
    Field::text("state", 1, 128).required().or(BAD_NAME),
    Field::text("locality", 1, 128).required().or(BAD_NAME),
    Field::text("organization", 1, 64).required().or(BAD_NAME),
    // The reference's own example writes `organization_unit`.
    Field::text("organizational_unit", 1, 64)
        .alias("organization_unit")
        .required()
        .or(BAD_NAME),
];

const CERTIFICATE_NAME: &[Field] = &[
    Field::text("common_name", 1, 64).required().or(BAD_NAME),
    Field::text("country", 2, 2).or(BAD_NAME),
    Field::text("state", 1, 128).or(BAD_NAME),
    Field::text("locality", 1, 128).or(BAD_NAME),
    Field::text("organization", 1, 64).or(BAD_NAME),
    Field::text("organizational_unit", 1, 64)
        .alias("organization_unit")
        .or(BAD_NAME),
];

const NAME: &[Field] = &[
    Field::choice("type", &["DNS", "IP", "EMAIL", "URI"])
        .required()
        .or(BAD_NAME_KIND),
    Field::text("value", 1, 256)
        .required()
        .or(code("PCA.00020110")),
];

const PURPOSES: &[Field] = &[
    Field::boolean("server_auth"),
    Field::boolean("client_auth"),
    Field::boolean("code_signing"),
    Field::boolean("email_protection"),
    Field::boolean("time_stamping"),
    Field::boolean("smart_card_logon"),
];

const CUSTOM: &[Field] = &[
    Field::text("object_identifier", 1, 64),
    Field::text("value", 1, 64),
];

const CRL: &[Field] = &[
    Field::boolean("enabled").required(),
    Field::text("crl_name", 1, 64),
    Field::text("obs_bucket_name", 3, 63),
    Field::integer("valid_days", 7, 30),
];

/// RFC 5280 §5.3.1 in the reference's words.
const REASONS: &[&str] = &[
    "UNSPECIFIED",
    "KEY_COMPROMISE",
    "CERTIFICATE_AUTHORITY_COMPROMISE",
    "AFFILIATION_CHANGED",
    "SUPERSEDED",
    "CESSATION_OF_OPERATION",
    "CERTIFICATE_HOLD",
    "PRIVILEGE_WITHDRAWN",
    "ATTRIBUTE_AUTHORITY_COMPROMISE",
];

const CA_KINDS: &[&str] = &["ROOT", "SUBORDINATE"];
const DIRECTIONS: &[&str] = &["DESC", "ASC"];
const UUID: &str = "an id of 36 characters such as a6bbf0be-79f3-4f66-858a-0fdcb96dfcbe";
pub(super) const BAD_NAME: &Code = code("PCA.00020101");
pub(super) const BAD_KEY_ALGORITHM: &Code = code("PCA.00020102");
pub(super) const BAD_HASH: &Code = code("PCA.00020103");
pub(super) const BAD_VALIDITY: &Code = code("PCA.00020109");
pub(super) const BAD_NAME_KIND: &Code = code("PCA.00020112");
pub(super) const BAD_CA_ID: &Code = code("PCA.00020201");
pub(super) const BAD_PATH_LENGTH: &Code = code("PCA.00020203");
