//! The fields of requests about tags with their limits and codes (CCM API 4.1.2).
//!
//! The tables of 4.1.2.2 and 4.1.2.3 allow a key of 0 characters, those of 4.1.2.1 and 4.1.2.5 do not: an empty key is
//! refused. They call `key` and `value` optional; without a key there is no tag, and a value that is left out is empty.
//! Values may have a `/` everywhere, since the table of `ScsMatch` allows it, so that what can be set can be asked for.

use crate::ccm_server::codes::code;
use crate::ccm_server::failure::Failure;
use crate::ccm_server::field::Field;
use crate::ccm_server::text::is_scm_id;

pub(super) const RESOURCE: &[Field] = &[Field::form(
    "resource_id",
    is_scm_id,
    "an id of 16 letters and digits such as scs1554192131150",
)
.required()
.or(code("SCM.0020"))];

/// The path parameter of 4.1.2.1 has one legal value.
pub(super) const INSTANCES: &[Field] = &[Field::form(
    "resource_instances",
    |text| text == "resource_instances",
    "resource_instances",
)
.required()];

pub(super) const CREATE: &[Field] = &[Field::object("tag", TAG).required().or(code("SCM.0323"))];

pub(super) const BATCH: &[Field] = &[
    Field::choice("action", &["create", "delete"])
        .required()
        .or(code("SCM.0304")),
    // Not mandatory by the table; but the list has 1 to 20 tags, and without any there is nothing to do.
    Field::objects("tags", TAG, MOST)
        .required()
        .or(code("SCM.0313")),
];

pub(super) const FILTER: &[Field] = &[
    Field::boolean("without_any_tag").or(code("SCM.0323")),
    Field::objects("tags", WANTED, MOST).or(code("SCM.0313")),
    Field::objects("tags_any", WANTED, MOST).or(code("SCM.0313")),
    Field::objects("not_tags", WANTED, MOST).or(code("SCM.0313")),
    Field::objects("not_tags_any", WANTED, MOST).or(code("SCM.0313")),
    Field::numbers("limit", &[10, 20, 50]).or(code("SCM.0318")),
    Field::integer("offset", 0, i64::MAX).or(code("SCM.0319")),
    Field::choice("action", &["filter", "count"]).or(code("SCM.0304")),
    Field::objects("matches", MATCH, 10).or(code("SCM.0303")),
];

const TAG: &[Field] = &[
    Field::text("key", 1, 128).required().or(code("SCM.0310")),
    Field::text("value", 0, 255).or(code("SCM.0309")),
];

const WANTED: &[Field] = &[
    Field::text("key", 1, 128).required().or(code("SCM.0310")),
    Field::texts("values", 0, 255, MOST)
        .required()
        .or(code("SCM.0312"))
        .each_or(code("SCM.0309")),
];

const MATCH: &[Field] = &[
    Field::text("key", 1, 128).required().or(code("SCM.0303")),
    Field::text("value", 0, 255).or(code("SCM.0303")),
];

/// Checks the characters of a key.
pub(super) fn check_key(key: &str) -> Result<(), Failure> {
    if key.chars().all(is_common) {
        return Ok(());
    }
    let detail = format!("the key {key:?} may have letters, digits, spaces and _ . : = + - @");
    Err(Failure::because(code("SCM.0306"), detail))
}

/// Checks the characters of a value.
pub(super) fn check_value(value: &str) -> Result<(), Failure> {
    if value.chars().all(|c| c == '/' || is_common(c)) {
        return Ok(());
    }
    let detail =
        format!("the value {value:?} may have letters, digits, spaces and _ . : / = + - @");
    Err(Failure::because(code("SCM.0305"), detail))
}

fn is_common(c: char) -> bool {
    c.is_alphanumeric() || " _.:=+-@".contains(c)
}

/// Tags of one certificate, tags of one request, values of one key.
pub(super) const MOST: usize = 20;
