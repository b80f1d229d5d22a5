//! Pages of a list: limit, offset, order, and filters, as SQL with numbered parameters.

use crate::ccm_server::operation::Call;

/// The texts of an `ORDER BY` with its page; only fixed texts get into a statement.
pub(super) fn order_by(column: &'static str, direction: &str) -> String {
    format!("{} LIMIT $1 OFFSET $2", order_of(column, direction))
}

/// The same without a page.
pub(super) fn order_of(column: &'static str, direction: &str) -> String {
    let direction = if direction == "ASC" { "ASC" } else { "DESC" };
    // The sequence number makes the order of equals, and with it the pages, stable.
    format!(" ORDER BY {column} {direction}, seq {direction}")
}

/// A page as it is read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) limit: i64,
    pub(super) offset: i64,
    pub(super) direction: &'static str,
    /// The rows come in the opposite order.
    pub(super) turned: bool,
}

/// A page of so many rows in all, counted from the end where that is nearer.
pub(super) fn nearer(limit: i64, offset: i64, total: i64, direction: &str) -> Page {
    let (direction, opposite) = if direction == "ASC" {
        ("ASC", "DESC")
    } else {
        ("DESC", "ASC")
    };
    let left = total.saturating_sub(offset).max(0);
    let limit = limit.min(left);
    if offset <= total / 2 {
        return Page {
            limit,
            offset,
            direction,
            turned: false,
        };
    }
    Page {
        limit,
        offset: left - limit,
        direction: opposite,
        turned: true,
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_from_either_end_are_the_same_rows() {
        for total in [0, 1, 7, 10, 101] {
            let rows: Vec<i64> = (0..total).collect();
            for limit in [0, 1, 3, 10, 1000] {
                for offset in 0..total + 5 {
                    let slice = |rows: &[i64], limit: i64, offset: i64| -> Vec<i64> {
                        let skip = usize::try_from(offset).unwrap();
                        let take = usize::try_from(limit).unwrap();
                        rows.iter().copied().skip(skip).take(take).collect()
                    };
                    let expected = slice(&rows, limit, offset);
                    let page = nearer(limit, offset, total, "ASC");
                    let mut from = rows.clone();
                    if page.turned {
                        assert_eq!(page.direction, "DESC");
                        from.reverse();
                    }
                    let mut got = slice(&from, page.limit, page.offset);
                    if page.turned {
                        got.reverse();
                    }
                    assert_eq!(got, expected, "{total} {limit} {offset}");
                    assert!(page.offset <= total / 2 + 1, "{total} {limit} {offset}");
                }
            }
        }
        assert_eq!(nearer(10, i64::MAX, 5, "").limit, 0);
    }
}
