//! Operations on SSL certificates that exist (CCM API 4.1.5).

use serde_json::{Value, json};
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Row, SqliteConnection};

use crate::ccm_server::answer::Answer;
use crate::ccm_server::codes::code;
use crate::ccm_server::failure::Failure;
use crate::ccm_server::operation::Call;
use crate::ccm_server::scm::import::key_label;
use crate::ccm_server::scm::listing::{self, Sort, Wanted};
use crate::ccm_server::scm::orders;
use crate::ccm_server::text;
use crate::ccm_server::x509::{self, LineEnd};
use crate::model::{Seconds, Timestamp};

/// 4.1.5.1. Nothing is shared between accounts here, so `owned_by_self` makes no difference; and there are no enterprise
/// projects but the default one, `0`, so in another there is nothing.
pub(super) async fn list(call: &Call<'_>) -> Result<Answer, Failure> {
    let query = &call.query;
    let days = query.integer("expired_days_since").filter(|days| *days > 0);
    let wanted = Wanted {
        account: call.account(),
        now: call.now,
        status: match query.optional("status") {
            None | Some("ALL") => None,
            Some("REVOKEING") => Some("REVOKING"),
            Some("REVOKED") => Some("REVOKE"),
            Some(other) => Some(other),
        },
        ends_within: days.map(Seconds::days),
        deployable: query.boolean("deploy_support"),
        content: query.optional("content"),
        elsewhere: !matches!(
            query.optional("enterprise_project_id"),
            None | Some("0" | "all")
        ),
        sort: Sort::named(query.text("sort_key")),
        ascending: query.text("sort_dir") == "ASC",
        limit: query.integer("limit").unwrap_or(10),
        offset: query.integer("offset").unwrap_or(0),
    };
    let page = listing::page(call.shared, &wanted).await?;
    let items: Vec<Value> = page.rows.iter().map(item).collect();
    Ok(Answer::ok(
        json!({"total_count": page.total, "certificates": items}),
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
        "domain": filled(&row, "domain"),
        "sans": filled(&row, "sans"),
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
    remove(call, call.path.text("certificate_id")).await?;
    Ok(Answer::no_content())
}

/// Deletes a certificate with its tags and its push records. What was pushed stays where it is.
pub(in crate::ccm_server) async fn remove(call: &Call<'_>, id: &str) -> Result<(), Failure> {
    let (account, id, now) = (call.account().to_owned(), id.to_owned(), call.now);
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
    write.await
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

/// The row of a certificate with its `shown_status`; refused where the account has none of this id.
pub(in crate::ccm_server) async fn find(
    connection: &mut SqliteConnection,
    account: &str,
    id: &str,
    now: Timestamp,
) -> Result<SqliteRow, Failure> {
    let status = shown_status(now);
    let sql = format!(
        "SELECT *, {status} AS shown_status FROM scm_certificate WHERE id = $1 AND account = $2"
    );
    let row = sqlx::query(AssertSqlSafe(sql))
        .bind(id)
        .bind(account)
        .fetch_optional(connection)
        .await?;
    row.ok_or_else(|| Failure::because(code("SCM.0094"), format!("there is no certificate {id}")))
}

/// One entry of the list.
fn item(row: &SqliteRow) -> Value {
    json!({
        "id": text_of(row, "id"),
        "name": text_of(row, "name"),
        "domain": filled(row, "domain"),
        "sans": filled(row, "sans"),
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

pub(in crate::ccm_server) fn text_of(row: &SqliteRow, column: &str) -> Value {
    row.get::<Option<String>, _>(column)
        .map_or(Value::Null, Value::String)
}

/// What is not there is null, as in the example of 4.1.5.3; the table of 4.1.5.1 has no empty texts.
fn filled(row: &SqliteRow, column: &str) -> Value {
    let text = row.get::<Option<String>, _>(column);
    text.filter(|text| !text.is_empty())
        .map_or(Value::Null, Value::String)
}

fn time_of(row: &SqliteRow, column: &str) -> Value {
    let at = row.get::<Option<i64>, _>(column);
    at.map_or(Value::Null, |at| text::scm_time(Timestamp(at)).into())
}

/// The status as it is shown, as SQL: what has a certificate expires by itself.
pub(in crate::ccm_server) fn shown_status(now: Timestamp) -> String {
    format!(
        "CASE WHEN status IN ('ISSUED', 'UPLOAD') AND not_after < {} THEN 'EXPIRED' ELSE status END",
        now.0
    )
}
