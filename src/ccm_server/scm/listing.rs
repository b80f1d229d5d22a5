//! Pages of the list of certificates (CCM API 4.1.5.1, and 7.1.2, which is another face of it).
//!
//! A page costs as much with a hundred thousand certificates as with ten: what filters and orders look at is in an index,
//! only the rows of the page are read whole, and how many there are without a filter is counted when one comes or goes. What
//! has to be looked for among all is looked for once for all pages (`searches`).

use std::collections::BTreeSet;

use sqlx::sqlite::{Sqlite, SqliteRow};
use sqlx::{AssertSqlSafe, QueryBuilder, Row, SqliteConnection};

use crate::ccm_server::failure::Failure;
use crate::ccm_server::faults::ExpiryFilter;
use crate::ccm_server::scm::certificates::shown_status;
use crate::ccm_server::searches::{Found, Question, Searches};
use crate::ccm_server::server::Shared;
use crate::model::{Seconds, Timestamp};

/// What is to be listed.
#[derive(Clone, Copy)]
pub(in crate::ccm_server) struct Wanted<'a> {
    /// Of whom.
    pub(in crate::ccm_server) account: &'a str,
    /// Now: what has ended is `EXPIRED`.
    pub(in crate::ccm_server) now: Timestamp,
    /// Only of this status, in the words of the answer.
    pub(in crate::ccm_server) status: Option<&'a str>,
    /// Only what is valid now, hence neither revoked nor about to be, and ends within this time.
    pub(in crate::ccm_server) ends_within: Option<Seconds>,
    /// Only what can be deployed.
    pub(in crate::ccm_server) deployable: bool,
    /// Only what has this in its name or domains.
    pub(in crate::ccm_server) content: Option<&'a str>,
    /// Nothing: what is asked for is in an enterprise project that is not here.
    pub(in crate::ccm_server) elsewhere: bool,
    /// By what.
    pub(in crate::ccm_server) sort: Sort,
    /// In which direction.
    pub(in crate::ccm_server) ascending: bool,
    /// How many at most.
    pub(in crate::ccm_server) limit: i64,
    /// How many are left out before.
    pub(in crate::ccm_server) offset: i64,
}

/// The order of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ccm_server) enum Sort {
    /// By the end.
    End,
    /// By the status, as a word.
    Status,
    /// By the last change.
    Update,
}

impl Sort {
    /// By the reference's name; anything else is the default.
    pub(in crate::ccm_server) fn named(name: &str) -> Self {
        match name {
            "certExpiredTime" => Self::End,
            "certStatus" => Self::Status,
            _ => Self::Update,
        }
    }
}

/// A page and how many there are in all.
pub(in crate::ccm_server) struct Page {
    pub(in crate::ccm_server) total: i64,
    /// Whole rows with their `shown_status`, but for certificate, chain and key.
    pub(in crate::ccm_server) rows: Vec<SqliteRow>,
}

/// Reads one.
pub(in crate::ccm_server) async fn page(
    shared: &Shared,
    wanted: &Wanted<'_>,
) -> Result<Page, Failure> {
    let reading = shared.faults.faults().expiry_filter;
    let wanted = Wanted {
        limit: shared.faults.page(wanted.limit),
        ..*wanted
    };
    let mut snapshot = shared.db.read().begin().await?;
    if wanted.is_search() {
        return search(&shared.searches, &mut snapshot, &wanted, reading).await;
    }
    let total = total(&mut snapshot, &wanted, reading).await?;
    let rows = if wanted.sort == Sort::Status && wanted.is_everything() {
        by_status(&mut snapshot, &wanted, reading).await?
    } else {
        let mut rows = wanted.rows(reading);
        rows.build().fetch_all(&mut *snapshot).await?
    };
    Ok(Page { total, rows })
}

/// A page of what an earlier one found, or of what is found among all.
async fn search(
    searches: &Searches,
    snapshot: &mut SqliteConnection,
    wanted: &Wanted<'_>,
    reading: ExpiryFilter,
) -> Result<Page, Failure> {
    let sql = "SELECT coalesce(sum(changes), 0) FROM scm_stock WHERE account = $1";
    let changes = sqlx::query_scalar(sql).bind(wanted.account.to_owned());
    let question = Question {
        asked: wanted.asked(),
        changes: changes.fetch_one(&mut *snapshot).await?,
        now: wanted.now.0,
    };
    let found = match searches.find(&question) {
        Some(found) => found,
        None => {
            let first = Wanted {
                limit: REACHED,
                offset: 0,
                ..*wanted
            };
            let total = total(&mut *snapshot, wanted, reading).await?;
            let mut rows = first.numbers(reading);
            let rows = rows.build().fetch_all(&mut *snapshot).await?;
            let rows = rows.iter().map(|row| row.get(0)).collect();
            let found = Found::first(total, rows);
            // The next one that ends is shown as what it is to the second of its end.
            let until = sqlx::query_scalar(
                "SELECT not_after FROM scm_certificate INDEXED BY scm_certificate_end \
                 WHERE account = $1 AND not_after >= $2 ORDER BY not_after LIMIT 1",
            );
            let until = until.bind(wanted.account.to_owned()).bind(wanted.now.0);
            let until: Option<i64> = until.fetch_optional(&mut *snapshot).await?;
            searches.keep(question, until.unwrap_or(i64::MAX), &found);
            found
        }
    };
    let status = shown_status(wanted.now);
    let sql = format!(
        "SELECT {COLUMNS}, {status} AS shown_status FROM (SELECT key AS place, value AS wanted FROM json_each($1)) \
         JOIN scm_certificate ON seq = wanted ORDER BY place"
    );
    let page = found.page(wanted.limit, wanted.offset);
    let rows = sqlx::query(AssertSqlSafe(sql)).bind(page);
    Ok(Page {
        total: found.total,
        rows: rows.fetch_all(&mut *snapshot).await?,
    })
}

async fn total(
    connection: &mut SqliteConnection,
    wanted: &Wanted<'_>,
    reading: ExpiryFilter,
) -> Result<i64, Failure> {
    let row = wanted.count(reading).build().fetch_one(connection).await?;
    Ok(row.get(0))
}

/// One status after the other, within each by the last change: an order by what is shown would have to look at
/// everything, since what has ended is stored as what it was before.
async fn by_status(
    connection: &mut SqliteConnection,
    wanted: &Wanted<'_>,
    reading: ExpiryFilter,
) -> Result<Vec<SqliteRow>, Failure> {
    let stored = sqlx::query("SELECT status FROM scm_stock WHERE account = $1")
        .bind(wanted.account)
        .fetch_all(&mut *connection)
        .await?;
    let mut statuses: BTreeSet<String> = stored.iter().map(|row| row.get(0)).collect();
    statuses.insert(EXPIRED.to_owned());
    let mut statuses: Vec<String> = statuses.into_iter().collect();
    if !wanted.ascending {
        statuses.reverse();
    }
    let (mut left_out, mut room) = (wanted.offset, wanted.limit);
    let mut rows = Vec::new();
    for status in &statuses {
        let part = Wanted {
            status: Some(status),
            sort: Sort::Update,
            limit: room,
            offset: left_out,
            ..*wanted
        };
        let count = total(connection, &part, reading).await?;
        if count <= left_out {
            left_out -= count;
            continue;
        }
        let found = part
            .rows(reading)
            .build()
            .fetch_all(&mut *connection)
            .await?;
        room -= i64::try_from(found.len()).unwrap_or(room);
        rows.extend(found);
        left_out = 0;
        if room <= 0 {
            break;
        }
    }
    Ok(rows)
}

impl Wanted<'_> {
    fn count(&self, reading: ExpiryFilter) -> QueryBuilder<Sqlite> {
        // Both are one number for each account and status, less or more what has ended since.
        if let (Some(status), true) = (self.status, self.is_of_status_alone()) {
            let mut sql = self.stock();
            sql.push(" AND status = ");
            sql.push_bind(status.to_owned());
            sql.push(")");
            let (sign, ended) = match status {
                EXPIRED => ("+", "status IN ('ISSUED', 'UPLOAD')"),
                "ISSUED" => ("-", "status = 'ISSUED'"),
                "UPLOAD" => ("-", "status = 'UPLOAD'"),
                _ => return sql,
            };
            sql.push(format!(
                " {sign} (SELECT count(*) FROM scm_certificate INDEXED BY scm_certificate_status \
                 WHERE {ended} AND not_after < {} AND account = ",
                self.now.0
            ));
            sql.push_bind(self.account.to_owned());
            sql.push(")");
            return sql;
        }
        if self.is_everything() {
            let mut sql = self.stock();
            sql.push(")");
            return sql;
        }
        let mut sql = QueryBuilder::new("SELECT count(*)");
        self.filter(&mut sql, Sort::End, reading);
        sql
    }

    /// The begin of a number out of the stock; its bracket is open.
    fn stock(&self) -> QueryBuilder<Sqlite> {
        let mut sql = QueryBuilder::new(
            "SELECT (SELECT coalesce(sum(certificates), 0) FROM scm_stock WHERE account = ",
        );
        sql.push_bind(self.account.to_owned());
        sql
    }

    fn rows(&self, reading: ExpiryFilter) -> QueryBuilder<Sqlite> {
        let status = shown_status(self.now);
        let head = format!(
            "SELECT {COLUMNS}, {status} AS shown_status FROM scm_certificate WHERE seq IN ("
        );
        let mut sql = QueryBuilder::new(head);
        self.push_numbers(&mut sql, reading);
        sql.push(")");
        sql.push(self.order());
        sql
    }

    /// The sequence numbers of the rows, in order.
    fn numbers(&self, reading: ExpiryFilter) -> QueryBuilder<Sqlite> {
        let mut sql = QueryBuilder::new("");
        self.push_numbers(&mut sql, reading);
        sql
    }

    fn push_numbers(&self, sql: &mut QueryBuilder<Sqlite>, reading: ExpiryFilter) {
        sql.push("SELECT seq");
        self.filter(sql, self.sort, reading);
        sql.push(self.order());
        sql.push(" LIMIT ");
        sql.push_bind(self.limit);
        sql.push(" OFFSET ");
        sql.push_bind(self.offset);
    }

    fn order(&self) -> String {
        let status = shown_status(self.now);
        let direction = if self.ascending { "ASC" } else { "DESC" };
        let column = match self.sort {
            Sort::End => "not_after",
            Sort::Status => status.as_str(),
            Sort::Update => "updated",
        };
        // The sequence number makes the order of equals, and with it the pages, stable.
        format!(" ORDER BY {column} {direction}, seq {direction}")
    }

    /// Whether all have to be looked at, and a page can be cut out of the first ones that are found. What ends within some time
    /// is few, and changes with the time.
    const fn is_search(&self) -> bool {
        let wide = self.content.is_some() || self.deployable;
        let reached = self.limit.saturating_add(self.offset) <= REACHED;
        wide && reached && self.ends_within.is_none() && !self.elsewhere
    }

    /// What tells this search from others.
    fn asked(&self) -> String {
        let (status, deployable, content) = (self.status, self.deployable, self.content);
        let order = (self.sort, self.ascending);
        let account = self.account;
        format!("scm {account} {status:?} {deployable} {order:?} {content:?}")
    }

    /// Whether nothing is left out.
    const fn is_everything(&self) -> bool {
        self.status.is_none() && self.is_of_status_alone()
    }

    /// Whether nothing is left out but what has another status.
    const fn is_of_status_alone(&self) -> bool {
        self.ends_within.is_none() && self.content.is_none() && !self.deployable && !self.elsewhere
    }

    /// Which index has what is looked at, in the wanted order if that can be: SQLite cannot know which filter leaves
    /// out most.
    fn index(&self, sort: Sort) -> &'static str {
        if self.content.is_some() {
            return "scm_certificate_content";
        }
        match (self.status, self.ends_within, sort) {
            (None, None, Sort::Update) if self.deployable => "scm_certificate_deployable",
            _ if self.deployable => "scm_certificate_deployable_end",
            (None, Some(_), _) => "scm_certificate_window",
            (None, None, Sort::Update) => "scm_certificate_updated",
            (None, None, _) => "scm_certificate_end",
            (Some(status), None, Sort::Update) if status != EXPIRED => "scm_certificate_turned",
            (Some(_), _, _) => "scm_certificate_status",
        }
    }

    fn filter(&self, sql: &mut QueryBuilder<Sqlite>, sort: Sort, reading: ExpiryFilter) {
        let now = self.now.0;
        sql.push(" FROM scm_certificate INDEXED BY ");
        sql.push(self.index(sort));
        sql.push(" WHERE account = ");
        sql.push_bind(self.account.to_owned());
        match self.status {
            None => {}
            Some(EXPIRED) => {
                sql.push(" AND status IN ('EXPIRED', 'ISSUED', 'UPLOAD') AND not_after < ");
                sql.push(now);
            }
            Some(status) => {
                sql.push(" AND status = ");
                sql.push_bind(status.to_owned());
                if matches!(status, "ISSUED" | "UPLOAD") {
                    sql.push(" AND not_after >= ");
                    sql.push(now);
                }
            }
        }
        if let Some(time) = self.ends_within {
            let by = now.saturating_add(time.0);
            match reading {
                ExpiryFilter::Reference | ExpiryFilter::Forgetful => sql.push(format!(
                    " AND not_before <= {now} AND not_after > {now} AND not_after <= {by} \
                     AND status NOT IN ('REVOKE', 'REVOKING')"
                )),
                ExpiryFilter::Sdk => {
                    sql.push(format!(" AND not_after > {}", now.saturating_sub(time.0)))
                }
                ExpiryFilter::Unfiltered => sql.push(""),
            };
            if reading == ExpiryFilter::Forgetful {
                sql.push(" AND id <> (SELECT id FROM scm_certificate WHERE account = ");
                sql.push_bind(self.account.to_owned());
                sql.push(format!(
                    " AND not_after > {now} ORDER BY not_after, seq LIMIT 1)"
                ));
            }
        }
        if self.deployable {
            sql.push(" AND deploy_support = 1 AND not_after >= ");
            sql.push(now);
        }
        if let Some(content) = self.content {
            sql.push(" AND (instr(lower(name), lower(");
            sql.push_bind(content.to_owned());
            sql.push(")) OR instr(lower(domain || ';' || sans), lower(");
            sql.push_bind(content.to_owned());
            sql.push(")))");
        }
        if self.elsewhere {
            sql.push(" AND 0");
        }
    }
}

/// Rows that pages can reach: their offset ends at 100 and their limit at 50 (CCM API 4.1.5.1).
const REACHED: i64 = 150;
/// What a certificate is shown as that has ended.
const EXPIRED: &str = "EXPIRED";
/// Every column of an answer; not certificate, chain and key, which would be most of what is read.
const COLUMNS: &str = "seq, id, account, name, status, domain, sans, kind, brand, domain_type, domain_count, \
     wildcard_count, signature_algorithm, order_id, validity_period, fingerprint, not_before, not_after, issued, \
     updated, description, deploy_support, revoke_reason";

#[cfg(test)]
mod tests;
