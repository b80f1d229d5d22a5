//! Operations on SSL certificates that exist (CCM API 4.1.5).

use serde_json::{Value, json};
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Row, SqliteConnection};

use crate::ccm_server::answer::Answer;
use crate::ccm_server::codes::code;
use crate::ccm_server::failure::Failure;
use crate::ccm_server::faults::ExpiryFilter;
use crate::ccm_server::operation::Call;
use crate::ccm_server::scm::import::key_label;
use crate::ccm_server::scm::orders;
use crate::ccm_server::text;
use crate::ccm_server::x509::{self, LineEnd};
use crate::model::{Seconds, Timestamp};

/// 4.1.5.1
pub(super) async fn list(call: &Call<'_>) -> Result<Answer, Failure> {
    let query = &call.query;
    let limit = call
        .shared
        .faults
        .page(query.integer("limit").unwrap_or(10));
    let offset = query.integer("offset").unwrap_or(0);
    let column = match query.text("sort_key") {
        "certExpiredTime" => "not_after",
        "certStatus" => STATUS,
        _ => "updated",
    };
    let direction = if query.text("sort_dir") == "ASC" {
        "ASC"
    } else {
        "DESC"
    };
    let status = match query.optional("status") {
        None | Some("ALL") => None,
        Some("REVOKEING") => Some("REVOKING"),
        Some("REVOKED") => Some("REVOKE"),
        Some(other) => Some(other),
    };
    // "Within the validity period and expires in a maximum of xx days"; 0, the default, filters nothing.
    let ends_by = query.integer("expired_days_since").filter(|days| *days > 0);
    let ends_by = ends_by.map(|days| (call.now + Seconds::days(days)).0);
    let content = query
        .optional("content")
        .filter(|content| !content.is_empty());
    let reading = match call.shared.faults.faults().expiry_filter {
        ExpiryFilter::Reference => REFERENCE.to_owned(),
        // As long ago as the bound lies ahead.
        ExpiryFilter::Sdk => "not_after > 2 * $4 - $6".to_owned(),
        ExpiryFilter::Unfiltered => "1".to_owned(),
        ExpiryFilter::Forgetful => format!(
            "{REFERENCE} AND id <> (SELECT id FROM scm_certificate WHERE account = $3 AND not_after > $4 \
             ORDER BY not_after, seq LIMIT 1)"
        ),
    };
    let filter = format!(
        "FROM scm_certificate WHERE account = $3 AND ($5 IS NULL OR $5 = {STATUS}) \
         AND ($6 IS NULL OR ({reading})) \
         AND ($7 = 0 OR (deploy_support = 1 AND not_after >= $4)) \
         AND ($8 IS NULL OR instr(lower(name), lower($8)) OR instr(lower(domain || ';' || sans), lower($8)))"
    );
    let bind = |sql: String| {
        sqlx::query(AssertSqlSafe(sql))
            .bind(limit)
            .bind(offset)
            .bind(call.account().to_owned())
            .bind(call.now.0)
            .bind(status)
            .bind(ends_by)
            .bind(query.boolean("deploy_support"))
            .bind(content.map(str::to_owned))
    };
    let mut snapshot = call.shared.db.read().begin().await?;
    let count = bind(format!("SELECT count(*) {filter}"));
    let total: i64 = count.fetch_one(&mut *snapshot).await?.get(0);
    let rows = bind(format!(
        "SELECT *, {STATUS} AS shown_status {filter} ORDER BY {column} {direction}, seq {direction} LIMIT $1 OFFSET $2"
    ));
    let rows = rows.fetch_all(&mut *snapshot).await?;
    let items: Vec<Value> = rows.iter().map(item).collect();
    Ok(Answer::ok(
        json!({"total_count": total, "certificates": items}),
    ))
}

/// 4.1.5.3
pub(super) async fn show(call: &Call<'_>) -> Result<Answer, Failure> {
    let row = read(call).await?;
    let mut shown = json!({
        "id": text_of(&row, "id"),
        "status": text_of(&row, "shown_status"),
        "order_id": text_of(&row, "order_id"),
        "name": text_of(&row, "name"),
        "type": text_of(&row, "kind"),
        "brand": text_of(&row, "brand"),
        "push_support": if row.get::<bool, _>("deploy_support") { "ON" } else { "OFF" },
        "revoke_reason": text_of(&row, "revoke_reason"),
        "signature_algorithm": text_of(&row, "signature_algorithm"),
        "issue_time": time_of(&row, "issued"),
        "not_before": time_of(&row, "not_before"),
        "not_after": time_of(&row, "not_after"),
        "validity_period": row.get::<i64, _>("validity_period"),
        "validation_method": Value::Null,
        "domain_type": text_of(&row, "domain_type"),
        "multi_domain_type": Value::Null,
        "domain": text_of(&row, "domain"),
        "sans": text_of(&row, "sans"),
        "domain_count": row.get::<i64, _>("domain_count"),
        "wildcard_count": row.get::<i64, _>("wildcard_count"),
        "fingerprint": text_of(&row, "fingerprint"),
        "shared": false,
        "description": text_of(&row, "description"),
        "enterprise_project_id": "0",
        "authentification": [],
    });
    orders::shown(call, call.path.text("certificate_id"), &mut shown).await?;
    Ok(Answer::ok(shown))
}

/// 4.1.5.4
pub(super) async fn delete(call: &Call<'_>) -> Result<Answer, Failure> {
    let (account, id, now) = owned(call);
    let write = call.shared.db.write(|connection| {
        Box::pin(async move {
            find(connection, &account, &id, now).await?;
            sqlx::query("DELETE FROM scm_certificate WHERE id = $1")
                .bind(&id)
                .execute(connection)
                .await?;
            Ok::<_, Failure>(())
        })
    });
    write.await?;
    Ok(Answer::no_content())
}

/// 4.1.5.5
pub(super) async fn export(call: &Call<'_>) -> Result<Answer, Failure> {
    let row = read(call).await?;
    let Some(certificate) = row.get::<Option<Vec<u8>>, _>("certificate") else {
        let detail = format!(
            "the certificate is {}",
            row.get::<String, _>("shown_status")
        );
        return Err(Failure::because(code("SCM.0010"), detail));
    };
    let certificate = x509::encode("CERTIFICATE", &certificate, LineEnd::Lf);
    let chain: Vec<u8> = row.get::<Option<Vec<u8>>, _>("chain").unwrap_or_default();
    let chain = String::from_utf8_lossy(&chain).into_owned();
    let key = match row.get::<Option<Vec<u8>>, _>("key") {
        None => Value::Null,
        Some(sealed) => {
            let key = call
                .shared
                .vault
                .open(&key_label(call.path.text("certificate_id")), &sealed)?;
            x509::private_key_pem(key.expose(), LineEnd::Lf).into()
        }
    };
    Ok(Answer::ok(json!({
        "entire_certificate": format!("{certificate}{chain}"),
        "certificate": certificate,
        "certificate_chain": if chain.is_empty() { Value::Null } else { chain.into() },
        "private_key": key,
    })))
}

fn owned(call: &Call<'_>) -> (String, String, Timestamp) {
    let id = call.path.text("certificate_id");
    (call.account().to_owned(), id.to_owned(), call.now)
}

async fn read(call: &Call<'_>) -> Result<SqliteRow, Failure> {
    let (account, id, now) = owned(call);
    let mut connection = call.shared.db.read().acquire().await?;
    find(&mut connection, &account, &id, now).await
}

async fn find(
    connection: &mut SqliteConnection,
    account: &str,
    id: &str,
    now: Timestamp,
) -> Result<SqliteRow, Failure> {
    // The time is $4, as STATUS wants it; $3 is not used.
    let sql = format!(
        "SELECT *, {STATUS} AS shown_status FROM scm_certificate WHERE id = $1 AND account = $2"
    );
    let row = sqlx::query(AssertSqlSafe(sql))
        .bind(id)
        .bind(account)
        .bind(0)
        .bind(now.0)
        .fetch_optional(connection)
        .await?;
    row.ok_or_else(|| Failure::because(code("SCM.0094"), format!("there is no certificate {id}")))
}

/// One entry of the list.
fn item(row: &SqliteRow) -> Value {
    json!({
        "id": text_of(row, "id"),
        "name": text_of(row, "name"),
        "domain": text_of(row, "domain"),
        "sans": text_of(row, "sans"),
        "signature_algorithm": text_of(row, "signature_algorithm"),
        "deploy_support": row.get::<bool, _>("deploy_support"),
        "type": text_of(row, "kind"),
        "brand": text_of(row, "brand"),
        "expire_time": time_of(row, "not_after"),
        "domain_type": text_of(row, "domain_type"),
        "validity_period": row.get::<i64, _>("validity_period"),
        "status": text_of(row, "shown_status"),
        "domain_count": row.get::<i64, _>("domain_count"),
        "wildcard_count": row.get::<i64, _>("wildcard_count"),
        "description": text_of(row, "description"),
        "domain_id": text_of(row, "account"),
        "enterprise_project_id": "0",
    })
}

fn text_of(row: &SqliteRow, column: &str) -> Value {
    row.get::<Option<String>, _>(column)
        .map_or(Value::Null, Value::String)
}

fn time_of(row: &SqliteRow, column: &str) -> Value {
    let at = row.get::<Option<i64>, _>(column);
    at.map_or(Value::Null, |at| text::scm_time(Timestamp(at)).into())
}

/// Of `expired_days_since`: `$4` is the time, `$6` the moment that many days ahead.
const REFERENCE: &str = "not_before <= $4 AND not_after > $4 AND not_after <= $6";
/// What has a certificate expires by itself; `$4` is the time.
const STATUS: &str =
    "CASE WHEN status IN ('ISSUED', 'UPLOAD') AND not_after < $4 THEN 'EXPIRED' ELSE status END";
