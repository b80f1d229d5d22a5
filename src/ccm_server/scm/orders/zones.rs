//! Zones that stand for Huawei Cloud DNS. Where an application asks for it (`auto_dns_auth`), the server writes the records
//! that prove its names into the zones of its account, and asks no resolver for those.

use serde_json::{Value, json};
use sqlx::{Row as _, SqliteConnection};

use crate::ccm_server::failure::Failure;
use crate::ccm_server::scm::orders::form::Form;
use crate::ccm_server::scm::orders::order::{Domain, proof, record_name};
use crate::model::Timestamp;

/// Writes the records of an application that are not written yet, as far as there are zones for them.
pub(super) async fn push(
    connection: &mut SqliteConnection,
    id: &str,
    form: &Form,
) -> Result<(), Failure> {
    if !form.is_pushed() {
        return Ok(());
    }
    let rows = sqlx::query(
        "SELECT d.position, d.domain, c.account FROM scm_domain d JOIN scm_certificate c ON c.id = d.certificate \
         WHERE d.certificate = $1 AND d.zone IS NULL",
    )
    .bind(id)
    .fetch_all(&mut *connection)
    .await?;
    for row in rows {
        let record = record_name(row.get("domain"));
        let Some(zone) = home(connection, row.get("account"), &record).await? else {
            continue;
        };
        sqlx::query("UPDATE scm_domain SET zone = $1 WHERE certificate = $2 AND position = $3")
            .bind(zone)
            .bind(id)
            .bind(row.get::<i64, _>("position"))
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// The zone that a record belongs to, if it is the account's: of several that fit, a name server knows only the longest.
async fn home(
    connection: &mut SqliteConnection,
    account: &str,
    record: &str,
) -> Result<Option<String>, Failure> {
    let row = sqlx::query(
        "SELECT name, account FROM dns_zone WHERE substr($1, -length(name) - 1) = '.' || name \
         ORDER BY length(name) DESC LIMIT 1",
    )
    .bind(record)
    .fetch_optional(connection)
    .await?;
    let own = row.filter(|row| row.get::<&str, _>("account") == account);
    Ok(own.map(|row| row.get("name")))
}

/// Whether the records were written (CCM API 7.1.3, `DNS_push_status`): `ON` is all of them, `OFF` that one is missing,
/// `NONE` that nobody asked for it.
pub(super) fn status(form: Option<&Form>, names: &[Domain]) -> &'static str {
    match form {
        Some(form) if form.is_pushed() && !names.is_empty() => {
            if names.iter().all(|name| name.zone.is_some()) {
                "ON"
            } else {
                "OFF"
            }
        }
        _ => "NONE",
    }
}

/// Adds a zone; false where another account has it.
pub(in crate::ccm_server) async fn add_zone(
    connection: &mut SqliteConnection,
    account: &str,
    name: &str,
    now: Timestamp,
) -> Result<bool, sqlx::Error> {
    sqlx::query("INSERT OR IGNORE INTO dns_zone (name, account, created) VALUES ($1, $2, $3)")
        .bind(name)
        .bind(account)
        .bind(now.0)
        .execute(&mut *connection)
        .await?;
    let owner: String = sqlx::query_scalar("SELECT account FROM dns_zone WHERE name = $1")
        .bind(name)
        .fetch_one(connection)
        .await?;
    Ok(owner == account)
}

/// Removes a zone with the records in it; false where the account has none of this name. Names that were proven by them stay
/// proven; those that are not yet wait for their applicant, or for another zone.
pub(in crate::ccm_server) async fn remove_zone(
    connection: &mut SqliteConnection,
    account: &str,
    name: &str,
) -> Result<bool, sqlx::Error> {
    let own = sqlx::query("SELECT 1 FROM dns_zone WHERE name = $1 AND account = $2")
        .bind(name)
        .bind(account)
        .fetch_optional(&mut *connection)
        .await?;
    if own.is_none() {
        return Ok(false);
    }
    sqlx::query("UPDATE scm_domain SET zone = NULL WHERE zone = $1")
        .bind(name)
        .execute(&mut *connection)
        .await?;
    sqlx::query("DELETE FROM dns_zone WHERE name = $1")
        .bind(name)
        .execute(connection)
        .await?;
    Ok(true)
}

/// The zones of an account, each with the records that were written into it.
pub(in crate::ccm_server) async fn zones(
    connection: &mut SqliteConnection,
    account: &str,
) -> Result<Vec<Value>, sqlx::Error> {
    let names: Vec<String> =
        sqlx::query_scalar("SELECT name FROM dns_zone WHERE account = $1 ORDER BY name")
            .bind(account)
            .fetch_all(&mut *connection)
            .await?;
    let mut all = Vec::with_capacity(names.len());
    for name in names {
        let rows = sqlx::query(
            "SELECT d.domain, o.token, d.certificate FROM scm_domain d JOIN scm_order o ON o.certificate = d.certificate \
             WHERE d.zone = $1 AND o.token IS NOT NULL ORDER BY d.domain, d.certificate",
        )
        .bind(&name)
        .fetch_all(&mut *connection)
        .await?;
        let records = rows.iter().map(|row| {
            let proof = proof("DNS", row.get("token"), row.get("domain"));
            json!({
                "name": proof["record_name"],
                "type": proof["record_type"],
                "value": proof["record_value"],
                "certificate_id": row.get::<String, _>("certificate"),
            })
        });
        let records: Vec<Value> = records.collect();
        all.push(json!({"name": name, "records": records}));
    }
    Ok(all)
}
