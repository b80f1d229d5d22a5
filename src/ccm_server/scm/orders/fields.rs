//! The fields of orders and applications with their limits and codes (CCM API 4.1.1.1 and 4.1.3.1).
//!
//! Two limits of the reference contradict themselves. `applicant_name` has 0 to 63 characters in its table and "4 to 100
//! characters" in its text, and two in its example: 1 to 63 are taken. `domain_method` is mandatory in its table and
//! missing in its example: it is mandatory.

use crate::ccm_server::codes::{Code, code};
use crate::ccm_server::field::Field;
use crate::ccm_server::text::is_scm_id;

pub(super) const ID: &[Field] = &[Field::form(
    "certificate_id",
    is_scm_id,
    "an id of 16 letters and digits such as scs1554192131150",
)
.required()
.or(code("SCM.0020"))];

pub(super) const BUY: &[Field] = &[
    Field::choice("cert_brand", BRANDS)
        .required()
        .or(code("SCM.0049")),
    Field::choice("cert_type", TYPES)
        .required()
        .or(code("SCM.0050")),
    Field::choice("domain_type", DOMAIN_TYPES)
        .required()
        .or(code("SCM.0051")),
    Field::integer("effective_time", 1, 3)
        .required()
        .or(code("SCM.0052")),
    Field::integer("domain_numbers", 1, 100)
        .required()
        .or(BAD_COUNT),
    Field::integer("order_number", 1, 100)
        .required()
        .or(code("SCM.0060")),
    Field::boolean("agree_privacy_protection").required(),
    Field::choice("primary_domain_type", &["SINGLE_DOMAIN", "WILDCARD_DOMAIN"])
        .or(code("SCM.0051")),
    Field::integer("single_domain_number", 1, 100).or(BAD_COUNT),
    Field::integer("wildcard_domain_number", 1, 100).or(BAD_COUNT),
    Field::boolean("is_auto_pay"),
    Field::text("order_id", 0, 63),
    Field::objects("tags", TAG, 10).or(code("SCM.0313")),
];

const TAG: &[Field] = &[
    Field::text("key", 0, 128).or(code("SCM.0310")),
    Field::text("value", 0, 255).or(code("SCM.0309")),
];

pub(super) const APPLY: &[Field] = &[
    Field::text("domain", 0, 255)
        .required()
        .or(code("SCM.0108")),
    Field::text("sans", 0, 4096).or(code("SCM.0108")),
    Field::text("csr", 0, 5120).or(code("SCM.0034")),
    Field::text("company_name", 0, 63),
    Field::text("company_unit", 0, 63),
    Field::text("company_province", 0, 63),
    Field::text("company_city", 0, 63),
    Field::form("country", is_country, "two letters"),
    Field::text("applicant_name", 0, 63)
        .required()
        .or(code("SCM.0083")),
    Field::text("applicant_phone", 0, 63)
        .required()
        .or(code("SCM.0085")),
    Field::text("applicant_email", 0, 256)
        .required()
        .or(code("SCM.0086")),
    Field::text("contact_name", 0, 63),
    Field::text("contact_phone", 0, 63),
    Field::text("contact_email", 0, 256),
    Field::boolean("auto_dns_auth"),
    Field::boolean("agree_privacy_protection").required(),
    Field::choice("domain_method", METHODS).required(),
    Field::choice("key_algorithm", KEY_ALGORITHMS),
    // The SDK's; both mean the same here.
    Field::choice("ca_hash_algorithm", &["DEFAULT", "SHA-256"]),
];

fn is_country(text: &str) -> bool {
    text.len() == 2 && text.bytes().all(|c| c.is_ascii_alphabetic())
}

/// CCM API 4.1.3.1; its table writes GLOBALENGINE for the third, its example and the SDK GLOBALSIGN.
pub(in crate::ccm_server) const BRANDS: &[&str] = &[
    "GEOTRUST",
    "GLOBALSIGN",
    "SYMANTEC",
    "CFCA",
    "TRUSTASIA",
    "VTRUS",
];
/// The same.
pub(in crate::ccm_server) const TYPES: &[&str] = &[
    "DV_SSL_CERT",
    "DV_SSL_CERT_BASIC",
    "EV_SSL_CERT",
    "EV_SSL_CERT_PRO",
    "OV_SSL_CERT",
    "OV_SSL_CERT_PRO",
];
/// The same.
pub(in crate::ccm_server) const DOMAIN_TYPES: &[&str] =
    &["SINGLE_DOMAIN", "MULTI_DOMAIN", "WILDCARD"];
/// CCM API 4.1.1.1 spells them `DNS`, `File`, `Email`, and 7.1.7 in small letters.
pub(in crate::ccm_server) const METHODS: &[&str] = &["DNS", "FILE", "EMAIL"];
/// Those of CCM API 4.1.4.1 that the CA signs; the empty text is the default.
pub(super) const KEY_ALGORITHMS: &[&str] =
    &["RSA_2048", "RSA_3072", "RSA_4096", "EC_P256", "EC_P384", ""];
/// "Domain number not match product."
pub(in crate::ccm_server) const BAD_COUNT: &Code = code("SCM.0036");
