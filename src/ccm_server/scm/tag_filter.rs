//! Certificates by their tags (CCM API 4.1.2.1).
//!
//! The values of one key are alternatives everywhere, and none at all stand for any. Keys go together like this:
//!
//! | field | finds certificates that |
//! |---|---|
//! | `tags` | have every key (AND) |
//! | `tags_any` | have at least one key (OR) |
//! | `not_tags` | lack every key: "instances containing no tag in this list", keys with AND |
//! | `not_tags_any` | lack at least one key: "do not contain all tags listed", keys with OR |
//! | `without_any_tag` | have no tag; the other four are not looked at then |
//!
//! All that is given must hold, `matches` too.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use sqlx::sqlite::{Sqlite, SqliteRow};
use sqlx::{QueryBuilder, Row};

use crate::ccm_server::answer::Answer;
use crate::ccm_server::codes::code;
use crate::ccm_server::failure::Failure;
use crate::ccm_server::field::Input;
use crate::ccm_server::operation::Call;
use crate::ccm_server::scm::certificates::shown_status;
use crate::ccm_server::scm::{orders, tag_fields, tags};
use crate::ccm_server::text::{self, is_scm_id};

/// 4.1.2.1
pub(super) async fn filter(call: &Call<'_>) -> Result<Answer, Failure> {
    let body = &call.body;
    let filter = Filter::read(body)?;
    let mut snapshot = call.shared.db.read().begin().await?;
    let mut count = filter.sql("SELECT count(*)", call.account());
    let total: i64 = count.build().fetch_one(&mut *snapshot).await?.get(0);
    if body.text("action") == "count" {
        return Ok(Answer::ok(json!({"total_count": total})));
    }
    let head = format!(
        "SELECT {COLUMNS}, {} AS shown_status",
        shown_status(call.now)
    );
    let mut page = filter.sql(&head, call.account());
    page.push(" ORDER BY updated DESC, seq DESC LIMIT ");
    page.push_bind(call.shared.faults.page(body.integer("limit").unwrap_or(10)));
    page.push(" OFFSET ");
    page.push_bind(body.integer("offset").unwrap_or(0));
    let rows = page.build().fetch_all(&mut *snapshot).await?;
    let ids: Vec<String> = rows.iter().map(|row| row.get("id")).collect();
    let mut tags = tags::of_certificates(&mut snapshot, &ids).await?;
    let mut resources = Vec::with_capacity(rows.len());
    for row in &rows {
        let id: String = row.get("id");
        let mut detail = detail(row);
        orders::add_succession(&mut snapshot, &id, call.now, &mut detail).await?;
        resources.push(json!({
            "resource_id": id,
            "resource_name": row.get::<String, _>("name"),
            "tags": tags.remove(&id).unwrap_or_default(),
            "resource_detail": detail,
        }));
    }
    Ok(Answer::ok(
        json!({"resources": resources, "total_count": total}),
    ))
}

/// What is asked for, checked.
struct Filter {
    untagged: bool,
    all: Vec<Wanted>,
    any: Vec<Wanted>,
    none: Vec<Wanted>,
    not_all: Vec<Wanted>,
    name: Option<String>,
    id: Option<String>,
}

/// A key with one of these values, or with any.
struct Wanted {
    key: String,
    values: Vec<String>,
}

impl Filter {
    fn read(body: &Input) -> Result<Self, Failure> {
        let untagged = body.boolean("without_any_tag");
        let list = |name: &str| {
            let list = wanted(body, name)?;
            Ok::<_, Failure>(if untagged { Vec::new() } else { list })
        };
        let mut filter = Self {
            untagged,
            all: list("tags")?,
            any: list("tags_any")?,
            none: list("not_tags")?,
            not_all: list("not_tags_any")?,
            name: None,
            id: None,
        };
        for pair in body.objects("matches") {
            let value = pair.text("value");
            tag_fields::check_value(value)
                .map_err(|_| Failure::because(code("SCM.0303"), format!("{value:?}")))?;
            let place = match pair.text("key") {
                "resource_name" => &mut filter.name,
                "resource_id" if is_scm_id(value) => &mut filter.id,
                "resource_id" => {
                    let detail = format!("{value:?} is no id of a certificate");
                    return Err(Failure::because(code("SCM.0314"), detail));
                }
                other => {
                    let detail = format!("{other:?} is neither resource_name nor resource_id");
                    return Err(Failure::because(code("SCM.0303"), detail));
                }
            };
            if place.replace(value.to_owned()).is_some() {
                return Err(Failure::because(code("SCM.0303"), "a key is there twice"));
            }
        }
        Ok(filter)
    }

    fn sql(&self, head: &str, account: &str) -> QueryBuilder<Sqlite> {
        let mut sql = QueryBuilder::new(head);
        sql.push(" FROM scm_certificate WHERE account = ");
        sql.push_bind(account.to_owned());
        if self.untagged {
            sql.push(" AND id NOT IN (SELECT certificate FROM scm_tag WHERE account = ");
            sql.push_bind(account.to_owned());
            sql.push(")");
        }
        for one in &self.all {
            sql.push(" AND id IN ");
            tagged(&mut sql, account, std::slice::from_ref(one));
        }
        if !self.any.is_empty() {
            sql.push(" AND id IN ");
            tagged(&mut sql, account, &self.any);
        }
        if !self.none.is_empty() {
            sql.push(" AND id NOT IN ");
            tagged(&mut sql, account, &self.none);
        }
        for (nth, one) in self.not_all.iter().enumerate() {
            sql.push(if nth == 0 { " AND (" } else { " OR " });
            sql.push("id NOT IN ");
            tagged(&mut sql, account, std::slice::from_ref(one));
            if nth + 1 == self.not_all.len() {
                sql.push(")");
            }
        }
        if let Some(name) = &self.name {
            sql.push(" AND instr(lower(name), lower(");
            sql.push_bind(name.clone());
            sql.push("))");
        }
        if let Some(id) = &self.id {
            sql.push(" AND id = ");
            sql.push_bind(id.clone());
        }
        sql
    }
}

/// The certificates that have one of these.
fn tagged(sql: &mut QueryBuilder<Sqlite>, account: &str, any: &[Wanted]) {
    sql.push("(SELECT certificate FROM scm_tag WHERE account = ");
    sql.push_bind(account.to_owned());
    for (nth, wanted) in any.iter().enumerate() {
        sql.push(if nth == 0 { " AND (" } else { " OR " });
        sql.push("(key = ");
        sql.push_bind(wanted.key.clone());
        if !wanted.values.is_empty() {
            sql.push(" AND value IN (");
            let mut list = sql.separated(", ");
            for value in &wanted.values {
                list.push_bind(value.clone());
            }
            sql.push(")");
        }
        sql.push(")");
    }
    sql.push("))");
}

fn wanted(body: &Input, name: &str) -> Result<Vec<Wanted>, Failure> {
    let given = body.objects(name);
    if body.has(name) && given.is_empty() {
        let detail = format!("{name} must be a list of 1 to {} tags", tag_fields::MOST);
        return Err(Failure::because(code("SCM.0313"), detail));
    }
    let mut keys = BTreeSet::new();
    let mut all = Vec::with_capacity(given.len());
    for tag in &given {
        let key = tag.text("key");
        tag_fields::check_key(key)?;
        if !keys.insert(key.to_owned()) {
            let detail = format!("{name} has the key {key:?} twice");
            return Err(Failure::because(code("SCM.0311"), detail));
        }
        let values = tag.texts("values").unwrap_or_default();
        let once: BTreeSet<&str> = values.iter().copied().collect();
        if once.len() < values.len() {
            let detail = format!("{name} has a value of {key:?} twice");
            return Err(Failure::because(code("SCM.0312"), detail));
        }
        for value in &values {
            tag_fields::check_value(value)?;
        }
        all.push(Wanted {
            key: key.to_owned(),
            values: values.into_iter().map(str::to_owned).collect(),
        });
    }
    Ok(all)
}

/// `resource_detail` of what was not bought; its order adds to it. Moments are strings of milliseconds, as the table has them; the example has numbers.
fn detail(row: &SqliteRow) -> Value {
    let own = |column: &str| row.get::<Option<String>, _>(column);
    let moment = |column: &str| {
        let at = row.get::<Option<i64>, _>(column);
        at.map(|at| text::millis(at).to_string())
    };
    let deployable = row.get::<bool, _>("deploy_support");
    json!({
        "cert_id": own("id"),
        "cert_name": own("name"),
        "domain": own("domain"),
        "sans": own("sans"),
        "cert_type": own("kind"),
        "cert_brand": own("brand"),
        "domain_type": own("domain_type"),
        "purchase_period": row.get::<i64, _>("validity_period") / 12,
        "expired_time": moment("not_after"),
        // In the example alone, and null there too; when a certificate was bought is not kept.
        "cert_created_time": Value::Null,
        "cert_issued_time": moment("issued"),
        "order_status": own("shown_status"),
        "domain_num": row.get::<i64, _>("domain_count"),
        "wildcard_number": row.get::<i64, _>("wildcard_count"),
        "cert_des": own("description"),
        "signature_algorithm": own("signature_algorithm"),
        "fail_reason": Value::Null,
        "partner_order_id": own("order_id"),
        "push_support": deployable,
        "auto_deploy_support": false,
        "resource_id": own("id"),
        "unsubscribe_support": false,
        "origin_cert_id": Value::Null,
        "renewal_cert_id": Value::Null,
        "auto_renew_status": 0,
        "remain_cert_number": 0,
        "multi_domain_type": Value::Null,
        "enterprise_project_id": "0",
    })
}

const COLUMNS: &str = "id, name, domain, sans, kind, brand, domain_type, validity_period, not_after, issued, \
     domain_count, wildcard_count, description, signature_algorithm, order_id, deploy_support";
