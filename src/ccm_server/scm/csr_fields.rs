//! The fields of requests about CSRs with their limits and codes (CCM API 4.1.4).
//!
//! Some limits of the reference cannot be meant, since they shut out every CSR and every key, or its own examples. They
//! are read as follows; the numbers are those of the same thing elsewhere in the reference:
//!
//! | field | the reference | here | why |
//! |---|---|---|---|
//! | `id` | 16 (answers), 32 (paths), 16 to 40 (4.1.4.5) | 32 hexadecimal digits | every example has 32; 4.1.4.5 takes 16 to 40, and finds only those of 32 |
//! | `name` | 0 to 63, 0 to 255 (4.1.4.4) | 1 to 63, 1 to 255 (4.1.4.4) | it is mandatory; what a request may set is shown whole, though the tables of answers end at 63 |
//! | `csr` (4.1.4.6) | 0 to 2555 | 1 to 5120 | that of 4.1.1.1, where the CSR is used |
//! | `csr` (answers) | 3 to 255 | whole | no CSR fits |
//! | `private_key` (4.1.4.6) | 0 to 63 | 1 to 4096 | that of 4.1.5.2; no key has 63 characters |
//! | `private_key` (4.1.4.7) | 0 to 2555 | whole | a key of RSA 4096 has more |
//! | `company_country` | 0 to 255 | two letters | no certificate holds another (RFC 5280 A.1) |
//! | `company_province`, `company_city` | 0 to 255 | 1 to 128 | the bounds of RFC 5280 A.1 |
//! | `company_name` | 0 to 255 | 1 to 64 | the bound of RFC 5280 A.1 |
//! | `limit`, `offset` (4.1.4.2) | 10 to 50, 0 to 100 | 10, 20 or 50, 0 to 100 | as printed |

use crate::ccm_server::codes::code;
use crate::ccm_server::field::Field;

pub(super) const ID: &[Field] = &[Field::form(
    "id",
    is_id,
    "an id of 32 hexadecimal digits such as 48e392628b0f47769e47d91acc7654a5",
)
.required()];

/// The reference takes other lengths for this one; what is none of ours is not found.
pub(super) const ID_TO_DELETE: &[Field] = &[Field::text("id", 16, 40).required()];

pub(super) const CREATE: &[Field] = &[
    Field::text("name", 1, 63).required(),
    Field::text("domain_name", 1, 63)
        .required()
        .or(code("SCM.0108")),
    Field::text("sans", 0, 255).or(code("SCM.0108")),
    Field::choice("private_key_algo", ALGORITHMS).required(),
    Field::choice("usage", &["PERSONAL", "ENTERPRISE"]).required(),
    Field::text("company_country", 0, 255),
    Field::text("company_province", 0, 255),
    Field::text("company_city", 0, 255),
    Field::text("company_name", 0, 255),
];

pub(super) const LIST: &[Field] = &[
    Field::numbers("limit", &[10, 20, 50]),
    Field::integer("offset", 0, 100),
    Field::text("name", 0, 32),
    Field::choice("private_key_algo", ALGORITHMS),
];

pub(super) const UPDATE: &[Field] = &[Field::text("name", 1, 255).required()];

pub(super) const UPLOAD: &[Field] = &[
    Field::text("name", 1, 63).required(),
    Field::text("csr", 1, 5120).required().or(code("SCM.0034")),
    Field::text("private_key", 1, 4096).or(code("SCM.0012")),
];

fn is_id(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|c| c.is_ascii_hexdigit())
}

/// What keys SCM makes and takes.
pub(super) const ALGORITHMS: &[&str] = &[
    "RSA_2048", "RSA_3072", "RSA_4096", "EC_P256", "EC_P384", "SM2",
];
