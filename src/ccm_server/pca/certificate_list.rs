//! Pages of the list of private certificates (CCM API 4.2.2.1), and how many there are.
//!
//! A page costs about as much with a hundred thousand certificates as with ten: how many there are of each status is counted
//! when one comes or goes, by the day of its end, and rows before a page are skipped in an index alone. Only for a part of a
//! name are all names of the account looked through, once for all pages (`searches`). Who walks through the pages of one
//! status in an order that has no index for it gets them in the same way from the third page on, if nothing changes meanwhile.

use serde_json::{Value, json};
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Row, SqliteConnection};

use crate::ccm_server::answer::Answer;
use crate::ccm_server::failure::Failure;
use crate::ccm_server::operation::Call;
use crate::ccm_server::pca::certificates::{COLUMNS, shown};
use crate::ccm_server::pca::listing;
use crate::ccm_server::searches::{Found, Question};

/// 4.2.2.1
pub(super) async fn list(call: &Call<'_>) -> Result<Answer, Failure> {
    let (limit, offset) = listing::page(call, 10);
    let status = call.query.optional("status").map(Status::named);
    let order = Order::named(call.query.text("sort_key"));
    let direction = call.query.text("sort_dir");
    let mut snapshot = call.shared.db.read().begin().await?;
    let name = call.query.optional("name");
    let walks = offset > 0 && status.is_some() && order.column != CREATED;
    let found = if name.is_some() || walks {
        search(call, &mut snapshot, name, status, order, direction).await?
    } else {
        None
    };
    let (total, rows) = match found {
        Some(found) => {
            let sql = format!(
                "SELECT {COLUMNS} FROM (SELECT key AS place, value AS wanted FROM json_each($1)) \
                 JOIN certificate ON seq = wanted ORDER BY place"
            );
            let rows = sqlx::query(AssertSqlSafe(sql)).bind(found.page(limit, offset));
            (found.total, rows.fetch_all(&mut *snapshot).await?)
        }
        None => {
            let page = (limit, offset, direction);
            read_off(call, &mut snapshot, status, order, page).await?
        }
    };
    let now = call.now.0;
    let items: Result<Vec<Value>, Failure> = rows.iter().map(|row| shown(row, now)).collect();
    Ok(Answer::ok(json!({"total": total, "certificates": items?})))
}

/// What has `name` in its name, or all: as an earlier page found it, or everything looked through. That is not worth it for all
/// of a status before somebody asks for a second page of the same state.
async fn search(
    call: &Call<'_>,
    snapshot: &mut SqliteConnection,
    name: Option<&str>,
    status: Option<Status>,
    order: Order,
    direction: &str,
) -> Result<Option<Found>, Failure> {
    let (account, now, searches) = (call.account(), call.now.0, &call.shared.searches);
    let changes = sqlx::query_scalar("SELECT changes FROM stock WHERE account = $1").bind(account);
    let changes: Option<i64> = changes.fetch_optional(&mut *snapshot).await?;
    let among = listing::order_of(order.column, direction);
    let question = Question {
        asked: format!("pca {account} {status:?}{among} {name:?}"),
        changes: changes.unwrap_or(0),
        now,
    };
    if let Some(found) = searches.find(&question) {
        return Ok(Some(found));
    }
    if name.is_none() && !searches.asked_before(&question) {
        return Ok(None);
    }
    let by_status = status.map_or("", Status::condition);
    let (index, by_name) = match name {
        Some(_) => ("certificate_name", " AND common_name LIKE $3 ESCAPE '\\'"),
        None => (order.index, " AND $3 = $3"),
    };
    let sql = format!(
        "SELECT group_concat(seq) FROM (SELECT seq FROM certificate INDEXED BY {index} \
         WHERE account = $1{by_status}{by_name}{among})"
    );
    let rows = sqlx::query_scalar(AssertSqlSafe(sql))
        .bind(account.to_owned())
        .bind(now)
        .bind(listing::anywhere(name.unwrap_or_default()));
    let rows: Option<String> = rows.fetch_one(&mut *snapshot).await?;
    let found = Found::all(rows.as_deref())?;
    let until = match status {
        None | Some(Status::Revoked) => None,
        // The next one that ends is ISSUED to the second of its end.
        Some(Status::Issued | Status::Expired) => {
            let next = sqlx::query_scalar(
                "SELECT not_after FROM certificate INDEXED BY certificate_end \
                 WHERE account = $1 AND not_after >= $2 ORDER BY not_after LIMIT 1",
            );
            let next = next.bind(account).bind(now);
            next.fetch_optional(&mut *snapshot).await?
        }
    };
    searches.keep(question, until.unwrap_or(i64::MAX), &found);
    Ok(Some(found))
}

/// How many there are, and the rows of a page, out of indexes.
async fn read_off(
    call: &Call<'_>,
    snapshot: &mut SqliteConnection,
    status: Option<Status>,
    order: Order,
    (limit, offset, direction): (i64, i64, &str),
) -> Result<(i64, Vec<SqliteRow>), Failure> {
    let (account, now) = (call.account(), call.now.0);
    let all = in_stock(&mut *snapshot, account).await?;
    let total = match status {
        None => all,
        Some(status) => status.count(&mut *snapshot, account, now).await?,
    };
    let index = match status {
        None => order.index,
        // Few are found and put into order; many are found on the way in the order that is there.
        Some(_) if order.column == CREATED || total < all / FEW => "certificate_status",
        Some(_) => order.index,
    };
    // Spelled out by status, so that an index answers it: EXPIRED is no status of its own in the state.
    let by_status = status.map_or("", Status::condition);
    // Skipping rows is what a late page costs: they are skipped from the nearer end.
    let page = listing::nearer(limit, offset, total, direction);
    let among = listing::order_of(order.column, page.direction);
    let sql = format!(
        "SELECT {COLUMNS} FROM certificate WHERE seq IN (SELECT seq FROM certificate INDEXED BY {index} \
         WHERE account = $1{by_status}{among} LIMIT $3 OFFSET $4){among}"
    );
    let rows = sqlx::query(AssertSqlSafe(sql))
        .bind(account.to_owned())
        .bind(now)
        .bind(page.limit)
        .bind(page.offset);
    let mut rows = rows.fetch_all(&mut *snapshot).await?;
    if page.turned {
        rows.reverse();
    }
    Ok((total, rows))
}

/// How many certificates an account has.
pub(super) async fn in_stock(
    connection: &mut SqliteConnection,
    account: &str,
) -> Result<i64, Failure> {
    let count = sqlx::query_scalar("SELECT certificates FROM stock WHERE account = $1");
    let count: Option<i64> = count.bind(account).fetch_optional(connection).await?;
    Ok(count.unwrap_or(0))
}

/// An order of the list and the index that has it.
#[derive(Debug, Clone, Copy)]
struct Order {
    column: &'static str,
    index: &'static str,
}

impl Order {
    /// By the reference's name; anything else is the default.
    fn named(name: &str) -> Self {
        let (column, index) = match name {
            "common_name" => ("common_name", "certificate_name"),
            "issuer_name" => ("issuer_name", "certificate_issuer_name"),
            "not_after" => ("not_after", "certificate_end"),
            _ => (CREATED, "certificate_created"),
        };
        Self { column, index }
    }
}

/// A status as it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Issued,
    Expired,
    Revoked,
}

impl Status {
    fn named(name: &str) -> Self {
        match name {
            "ISSUED" => Self::Issued,
            "EXPIRED" => Self::Expired,
            _ => Self::Revoked,
        }
    }

    /// With `$2` for now. The plus keeps the moment from choosing the index.
    const fn condition(self) -> &'static str {
        match self {
            Self::Issued => " AND status = 'ISSUED' AND +not_after >= $2",
            Self::Expired => " AND status = 'ISSUED' AND +not_after < $2",
            Self::Revoked => " AND status = 'REVOKED'",
        }
    }

    /// How many of an account have it: whole days out of the stock, and those of today that have ended, or have not.
    async fn count(
        self,
        connection: &mut SqliteConnection,
        account: &str,
        now: i64,
    ) -> Result<i64, Failure> {
        let today = now.div_euclid(DAY);
        let (days, stored, from, to) = match self {
            Self::Issued => ("day > $2", "ISSUED", now, (today + 1) * DAY),
            Self::Expired => ("day < $2", "ISSUED", today * DAY, now),
            Self::Revoked => ("$2 = $2", "REVOKED", 0, 0),
        };
        let sql = format!(
            "SELECT (SELECT coalesce(sum(certificates), 0) FROM stock_day WHERE account = $1 AND status = $3 AND {days}) \
             + (SELECT count(*) FROM certificate INDEXED BY certificate_end \
             WHERE account = $1 AND not_after >= $4 AND not_after < $5 AND status = $3)"
        );
        let count = sqlx::query(AssertSqlSafe(sql))
            .bind(account.to_owned())
            .bind(today)
            .bind(stored)
            .bind(from)
            .bind(to);
        Ok(count.fetch_one(connection).await?.get(0))
    }
}

const CREATED: &str = "created";
/// Seconds.
const DAY: i64 = 86_400;
/// Fewer than this part of all are few.
const FEW: i64 = 4;
