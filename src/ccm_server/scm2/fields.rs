//! The fields of version 2 with their limits and codes (CCM API 7.1). Its tables state few limits: where they state none,
//! those of version 3 hold, which says the same of the same fields.

use crate::ccm_server::codes::code;
use crate::ccm_server::field::Field;
use crate::ccm_server::scm::orders;
use crate::ccm_server::text::is_scm_id;

const PROJECT: Field = Field::text("project_id", 1, 64)
    .required()
    .or(code("SCM.0002"));

const CERT: Field = Field::form(
    "cert_id",
    is_scm_id,
    "an id of 16 letters and digits such as scs1481110651012",
)
.required()
.or(code("SCM.0020"));

pub(super) const ACCOUNT: &[Field] = &[PROJECT];

pub(super) const CERTIFICATE: &[Field] = &[PROJECT, CERT];

pub(super) const PAPER: &[Field] = &[
    PROJECT,
    CERT,
    Field::choice("type", &["BL", "TL"]).required(),
];

pub(super) const PURCHASE: &[Field] = &[
    Field::choice("cert_brand", orders::BRANDS)
        .required()
        .or(code("SCM.0049")),
    Field::choice("cert_type", orders::TYPES)
        .required()
        .or(code("SCM.0050")),
    Field::choice("domain_type", orders::DOMAIN_TYPES)
        .required()
        .or(code("SCM.0051")),
    Field::integer("effective_time", 1, 2)
        .required()
        .or(code("SCM.0052")),
    Field::integer("domain_numbers", 1, 100)
        .required()
        .or(orders::BAD_COUNT),
    Field::integer("order_number", 1, 1000)
        .required()
        .or(code("SCM.0060")),
    Field::boolean("agree_privacy_protection").required(),
];

/// The last is `domain_method`, which is nothing to save.
pub(super) const COMPLETE: &[Field] = &[
    DOMAIN,
    SANS,
    CSR,
    COMPANY_NAME,
    COMPANY_UNIT,
    COMPANY_PROVINCE,
    COMPANY_CITY,
    COUNTRY,
    APPLICANT_NAME,
    APPLICANT_PHONE,
    APPLICANT_EMAIL,
    CONTACT_NAME,
    CONTACT_PHONE,
    CONTACT_EMAIL,
    Field::boolean("auto_dns_auth"),
    AGREED,
    Field::choice("domain_method", orders::METHODS).required(),
];

pub(super) const SAVE: &[Field] = &[
    DOMAIN,
    SANS,
    CSR,
    COMPANY_NAME,
    COMPANY_UNIT,
    COMPANY_PROVINCE,
    COMPANY_CITY,
    COUNTRY,
    APPLICANT_NAME,
    APPLICANT_PHONE,
    APPLICANT_EMAIL,
    CONTACT_NAME,
    CONTACT_PHONE,
    CONTACT_EMAIL,
    AGREED,
];

pub(super) const REVOKE: &[Field] = &[Field::text("reason", 0, 63).required().or(code("SCM.0027"))];

pub(super) const SUPPLEMENT: &[Field] = &[
    Field::text("ori_sans", 0, 4096).required(),
    Field::text("add_sans", 0, 4096),
    Field::text("email", 0, 256),
];

const DOMAIN: Field = Field::text("domain", 0, 255)
    .required()
    .or(code("SCM.0108"));
const SANS: Field = Field::text("sans", 0, 4096).or(code("SCM.0108"));
const CSR: Field = Field::text("csr", 0, 5120).or(code("SCM.0034"));
/// Mandatory here for every certificate; that it says something, for OV and EV only.
const COMPANY_NAME: Field = Field::text("company_name", 0, 63).required();
const COMPANY_UNIT: Field = Field::text("company_unit", 0, 63);
const COMPANY_PROVINCE: Field = Field::text("company_province", 0, 63).required();
const COMPANY_CITY: Field = Field::text("company_city", 0, 63).required();
const COUNTRY: Field = Field::form("country", is_country, "two letters").required();
const APPLICANT_NAME: Field = Field::text("applicant_name", 0, 63)
    .required()
    .or(code("SCM.0083"));
const APPLICANT_PHONE: Field = Field::text("applicant_phone", 0, 63)
    .required()
    .or(code("SCM.0085"));
const APPLICANT_EMAIL: Field = Field::text("applicant_email", 0, 256)
    .required()
    .or(code("SCM.0086"));
const CONTACT_NAME: Field = Field::text("contact_name", 0, 63);
const CONTACT_PHONE: Field = Field::text("contact_phone", 0, 63);
const CONTACT_EMAIL: Field = Field::text("contact_email", 0, 256);
const AGREED: Field = Field::boolean("agree_privacy_protection").required();

fn is_country(text: &str) -> bool {
    text.is_empty() || (text.len() == 2 && text.bytes().all(|c| c.is_ascii_alphabetic()))
}
