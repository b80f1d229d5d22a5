//! Pages of a list: limit, offset, order, and filters, as SQL with numbered parameters.

use crate::ccm_server::operation::Call;

/// The texts of an `ORDER BY`; only fixed texts get into a statement.
pub(super) fn order_by(column: &'static str, direction: &str) -> String {
    let direction = if direction == "ASC" { "ASC" } else { "DESC" };
    // The sequence number makes the order of equals, and with it the pages, stable.
    format!(" ORDER BY {column} {direction}, seq {direction} LIMIT $1 OFFSET $2")
}

/// Limit and offset of a call; `default` is the limit when none is given.
pub(super) fn page(call: &Call<'_>, default: i64) -> (i64, i64) {
    let limit = call.query.integer("limit").unwrap_or(default);
    let offset = call.query.integer("offset").unwrap_or(0);
    (call.shared.faults.page(limit), offset)
}

/// A `LIKE` pattern that finds `text` anywhere.
pub(super) fn anywhere(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len() + 2);
    pattern.push('%');
    for c in text.chars() {
        if matches!(c, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.push('%');
    pattern
}
