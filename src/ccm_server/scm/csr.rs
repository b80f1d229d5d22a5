//! CSRs that SCM keeps with their keys (CCM API 4.1.4): made here, or brought along.

use serde_json::{Value, json};
use sqlx::sqlite::{Sqlite, SqliteRow};
use sqlx::{QueryBuilder, Row, SqliteConnection};

use crate::ccm_server::answer::Answer;
use crate::ccm_server::codes::code;
use crate::ccm_server::failure::Failure;
use crate::ccm_server::operation::Call;
use crate::ccm_server::scm::made_csr::{self, Made, Order};
use crate::ccm_server::text;
use crate::ccm_server::x509::{self, LineEnd};
use crate::model::Timestamp;
use crate::pki::Secret;

/// 4.1.4.1
pub(super) async fn create(call: &Call<'_>) -> Result<Answer, Failure> {
    let order = Order::read(&call.body)?;
    let made = call.shared.heavy(move || order.make()).await?;
    let mut body = shown(&keep(call, made).await?);
    // The answer of 4.1.4.1 has everything but the CSR itself.
    if let Value::Object(fields) = &mut body {
        fields.remove("csr");
    }
    Ok(Answer::created(body))
}

/// 4.1.4.2
pub(super) async fn list(call: &Call<'_>) -> Result<Answer, Failure> {
    let query = &call.query;
    let filtered = |head: &str| {
        let mut sql: QueryBuilder<Sqlite> = QueryBuilder::new(head);
        sql.push(" FROM scm_csr WHERE account = ");
        sql.push_bind(call.account().to_owned());
        if let Some(algorithm) = query.optional("private_key_algo") {
            sql.push(" AND key_algorithm = ");
            sql.push_bind(algorithm.to_owned());
        }
        if let Some(name) = query.optional("name") {
            sql.push(" AND instr(lower(name), lower(");
            sql.push_bind(name.to_owned());
            sql.push("))");
        }
        sql
    };
    let mut snapshot = call.shared.db.read().begin().await?;
    let mut count = filtered("SELECT count(*)");
    let total: i64 = count.build().fetch_one(&mut *snapshot).await?.get(0);
    let mut page = filtered(&format!("SELECT {COLUMNS}"));
    page.push(" ORDER BY created DESC, seq DESC LIMIT ");
    page.push_bind(
        call.shared
            .faults
            .page(query.integer("limit").unwrap_or(10)),
    );
    page.push(" OFFSET ");
    page.push_bind(query.integer("offset").unwrap_or(0));
    let rows = page.build().fetch_all(&mut *snapshot).await?;
    let items: Vec<Value> = rows.iter().map(shown).collect();
    Ok(Answer::ok(json!({"total": total, "csr_list": items})))
}

/// 4.1.4.3
pub(super) async fn show(call: &Call<'_>) -> Result<Answer, Failure> {
    let mut connection = call.shared.db.read().acquire().await?;
    let row = find(&mut connection, call.account(), &id_of(call)).await?;
    Ok(Answer::ok(shown(&row)))
}

/// 4.1.4.4
pub(super) async fn update(call: &Call<'_>) -> Result<Answer, Failure> {
    let (account, id, now) = (call.account().to_owned(), id_of(call), call.now);
    let name = call.body.text("name").to_owned();
    let write = call.shared.db.write(|connection| {
        Box::pin(async move {
            sqlx::query(
                "UPDATE scm_csr SET name = $1, updated = $2 WHERE id = $3 AND account = $4",
            )
            .bind(name)
            .bind(now.0)
            .bind(&id)
            .bind(&account)
            .execute(&mut *connection)
            .await?;
            find(connection, &account, &id).await
        })
    });
    Ok(Answer::ok(shown(&write.await?)))
}

/// 4.1.4.5
pub(super) async fn delete(call: &Call<'_>) -> Result<Answer, Failure> {
    let (account, id) = (call.account().to_owned(), id_of(call));
    let write = call.shared.db.write(|connection| {
        Box::pin(async move {
            find(connection, &account, &id).await?;
            sqlx::query("DELETE FROM scm_csr WHERE id = $1")
                .bind(&id)
                .execute(connection)
                .await?;
            Ok::<_, Failure>(())
        })
    });
    write.await?;
    Ok(Answer::no_content())
}

/// 4.1.4.6
pub(super) async fn upload(call: &Call<'_>) -> Result<Answer, Failure> {
    let name = call.body.text("name").to_owned();
    let csr = call.body.text("csr").to_owned();
    let key = call.body.optional("private_key");
    let key = key.map(|key| Secret::from(key.to_owned()));
    let read = move || made_csr::read(name, &csr, key.as_ref());
    let made = call.shared.heavy(read).await?;
    let row = keep(call, made).await?;
    Ok(Answer::ok(json!({
        "id": row.get::<String, _>("id"),
        "name": row.get::<String, _>("name"),
        "create_time": text::millis(row.get("created")),
    })))
}

/// 4.1.4.7
pub(super) async fn private_key(call: &Call<'_>) -> Result<Answer, Failure> {
    let id = id_of(call);
    let mut connection = call.shared.db.read().acquire().await?;
    let row = find(&mut connection, call.account(), &id).await?;
    let Some(sealed) = row.get::<Option<Vec<u8>>, _>("key") else {
        let detail = "the CSR was uploaded without its private key";
        return Err(Failure::because(code("SCM.0059"), detail));
    };
    let key = call.shared.vault.open(&key_label(&id), &sealed)?;
    let pem = x509::private_key_pem(key.expose(), LineEnd::Lf);
    Ok(Answer::ok(json!({"private_key": pem})))
}

/// Seals the key and keeps everything; answers the row.
async fn keep(call: &Call<'_>, made: Made) -> Result<SqliteRow, Failure> {
    let id = text::random_hex::<16>();
    let key = match &made.key {
        Some(key) => Some(call.shared.vault.seal(&key_label(&id), key.expose())?),
        None => None,
    };
    let (account, now) = (call.account().to_owned(), call.now);
    let write = call.shared.db.write(|connection| {
        Box::pin(async move {
            insert(connection, &account, &id, made, key, now).await?;
            find(connection, &account, &id).await
        })
    });
    write.await
}

async fn insert(
    connection: &mut SqliteConnection,
    account: &str,
    id: &str,
    made: Made,
    key: Option<Vec<u8>>,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO scm_csr (id, account, name, domain, sans, key_algorithm, usage, company_country, \
         company_province, company_city, company_name, csr, spki, key, created, updated) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $15)",
    )
    .bind(id)
    .bind(account)
    .bind(made.name)
    .bind(made.domain)
    .bind(made.sans)
    .bind(made.algorithm)
    .bind(made.usage)
    .bind(made.subject.country)
    .bind(made.subject.state)
    .bind(made.subject.locality)
    .bind(made.subject.organization)
    .bind(made.csr)
    .bind(made.spki)
    .bind(key)
    .bind(now.0)
    .execute(connection)
    .await?;
    Ok(())
}

async fn find(
    connection: &mut SqliteConnection,
    account: &str,
    id: &str,
) -> Result<SqliteRow, Failure> {
    let row = sqlx::query("SELECT * FROM scm_csr WHERE id = $1 AND account = $2")
        .bind(id)
        .bind(account)
        .fetch_optional(connection)
        .await?;
    // The reference has no code of its own for a CSR that is not there.
    row.ok_or_else(|| Failure::because(code("SCM.0094"), format!("there is no CSR {id}")))
}

/// The key of an account's CSR with this public key: what it is sealed for, and the key, sealed.
pub(super) async fn sealed_key(
    connection: &mut SqliteConnection,
    account: &str,
    spki: &[u8],
) -> Result<Option<(String, Vec<u8>)>, Failure> {
    let row = sqlx::query(
        "SELECT id, key FROM scm_csr WHERE account = $1 AND spki = $2 AND key IS NOT NULL LIMIT 1",
    )
    .bind(account)
    .bind(spki)
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|row| (key_label(row.get(0)), row.get(1))))
}

/// Ids are compared in lower case, as they are made.
fn id_of(call: &Call<'_>) -> String {
    call.path.text("id").to_ascii_lowercase()
}

/// As the API answers it (`CSRResponseBody`).
fn shown(row: &SqliteRow) -> Value {
    let own = |column: &str| row.get::<Option<String>, _>(column);
    json!({
        "id": own("id"),
        "name": own("name"),
        "csr": own("csr"),
        "domain_name": own("domain"),
        "sans": own("sans"),
        "private_key_algo": own("key_algorithm"),
        "usage": own("usage"),
        "company_country": own("company_country"),
        "company_province": own("company_province"),
        "company_city": own("company_city"),
        "company_name": own("company_name"),
        "create_time": text::millis(row.get("created")),
        "update_time": text::millis(row.get("updated")),
    })
}

/// Where a CSR's key is sealed for.
fn key_label(id: &str) -> String {
    format!("scm_csr.key/{id}")
}

/// What [`shown`] needs.
const COLUMNS: &str = "id, name, csr, domain, sans, key_algorithm, usage, company_country, company_province, \
     company_city, company_name, created, updated";
