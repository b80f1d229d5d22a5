//! Tags of certificates: set, removed, listed (CCM API 4.1.2.2 to 4.1.2.5).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use crate::ccm_server::answer::Answer;
use crate::ccm_server::codes::code;
use crate::ccm_server::failure::Failure;
use crate::ccm_server::field::Input;
use crate::ccm_server::operation::Call;
use crate::ccm_server::scm::certificates;
use crate::ccm_server::scm::tag_fields::{self, MOST};

/// A tag that is to be set or removed.
struct Tag {
    key: String,
    /// Absent only where one is removed whatever its value is.
    value: Option<String>,
}

/// 4.1.2.2
pub(super) async fn batch(call: &Call<'_>) -> Result<Answer, Failure> {
    let tags: Result<Vec<Tag>, Failure> = call.body.objects("tags").iter().map(read).collect();
    let tags = tags?;
    if tags.is_empty() {
        let detail = format!("tags must be a list of 1 to {MOST} tags");
        return Err(Failure::because(code("SCM.0313"), detail));
    }
    let keys: BTreeSet<&str> = tags.iter().map(|tag| tag.key.as_str()).collect();
    if keys.len() < tags.len() {
        return Err(Failure::because(code("SCM.0311"), "a key is there twice"));
    }
    let create = call.body.text("action") == "create";
    change(call, tags, create).await
}

/// 4.1.2.3
pub(super) async fn create(call: &Call<'_>) -> Result<Answer, Failure> {
    let tag = read(&call.body.object("tag"))?;
    change(call, vec![tag], true).await
}

/// 4.1.2.4
pub(super) async fn of_certificate(call: &Call<'_>) -> Result<Answer, Failure> {
    let id = call.path.text("resource_id");
    let mut snapshot = call.shared.db.read().begin().await?;
    certificates::find(&mut snapshot, call.account(), id, call.now).await?;
    let rows = sqlx::query("SELECT key, value FROM scm_tag WHERE certificate = $1 ORDER BY key")
        .bind(id)
        .fetch_all(&mut *snapshot)
        .await?;
    let tags: Vec<Value> = rows.iter().map(shown).collect();
    Ok(Answer::ok(json!({"tags": tags})))
}

/// 4.1.2.5: every key once, with the values that it has anywhere.
pub(super) async fn of_account(call: &Call<'_>) -> Result<Answer, Failure> {
    let rows = sqlx::query(
        "SELECT DISTINCT key, value FROM scm_tag WHERE account = $1 ORDER BY key, value",
    )
    .bind(call.account())
    .fetch_all(call.shared.db.read())
    .await?;
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in &rows {
        let values = all.entry(row.get("key")).or_default();
        values.push(row.get("value"));
    }
    let tags = all
        .into_iter()
        .map(|(key, values)| json!({"key": key, "values": values}));
    Ok(Answer::ok(json!({"tags": tags.collect::<Vec<_>>()})))
}

/// The tags of these certificates as the API answers them, by certificate.
pub(super) async fn of_certificates(
    connection: &mut SqliteConnection,
    ids: &[String],
) -> Result<BTreeMap<String, Vec<Value>>, Failure> {
    let mut all: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for id in ids {
        let rows =
            sqlx::query("SELECT key, value FROM scm_tag WHERE certificate = $1 ORDER BY key")
                .bind(id)
                .fetch_all(&mut *connection)
                .await?;
        all.insert(id.clone(), rows.iter().map(shown).collect());
    }
    Ok(all)
}

async fn change(call: &Call<'_>, tags: Vec<Tag>, create: bool) -> Result<Answer, Failure> {
    let id = call.path.text("resource_id").to_owned();
    let (account, now) = (call.account().to_owned(), call.now);
    let stand = call.shared.faults.faults().tags_stand;
    let write = call.shared.db.write(|connection| {
        Box::pin(async move {
            certificates::find(connection, &account, &id, now).await?;
            if create && stand && has_others(connection, &id, &tags).await? {
                let detail = "a key is there with another value";
                Err(Failure::because(code("SCM.0311"), detail))
            } else if create {
                set(connection, &account, &id, &tags).await
            } else {
                remove(connection, &id, &tags).await
            }
        })
    });
    write.await?;
    Ok(Answer::ok(json!({"desc": "success"})))
}

/// Sets one tag; a key that is there gets the new value. How many there are is the caller's to count.
pub(super) async fn put(
    connection: &mut SqliteConnection,
    account: &str,
    certificate: &str,
    key: &str,
    value: &str,
) -> Result<(), Failure> {
    sqlx::query(
        "INSERT INTO scm_tag (certificate, key, value, account) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (certificate, key) DO UPDATE SET value = excluded.value",
    )
    .bind(certificate)
    .bind(key)
    .bind(value)
    .bind(account)
    .execute(connection)
    .await?;
    Ok(())
}

/// Gives a certificate that has no tags yet those of another of its account.
pub(super) async fn copy(
    connection: &mut SqliteConnection,
    from: &str,
    to: &str,
) -> Result<(), Failure> {
    sqlx::query(
        "INSERT INTO scm_tag (certificate, key, value, account) \
         SELECT $1, key, value, account FROM scm_tag WHERE certificate = $2",
    )
    .bind(to)
    .bind(from)
    .execute(connection)
    .await?;
    Ok(())
}

/// Whether one of the keys is there with another value.
async fn has_others(
    connection: &mut SqliteConnection,
    certificate: &str,
    tags: &[Tag],
) -> Result<bool, Failure> {
    for tag in tags {
        let row = sqlx::query(
            "SELECT count(*) FROM scm_tag WHERE certificate = $1 AND key = $2 AND value <> $3",
        )
        .bind(certificate)
        .bind(&tag.key)
        .bind(tag.value.as_deref().unwrap_or_default())
        .fetch_one(&mut *connection)
        .await?;
        if row.get::<i64, _>(0) > 0 {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Sets all of them; a key that is there gets the new value.
async fn set(
    connection: &mut SqliteConnection,
    account: &str,
    certificate: &str,
    tags: &[Tag],
) -> Result<(), Failure> {
    for tag in tags {
        let value = tag.value.as_deref().unwrap_or_default();
        put(connection, account, certificate, &tag.key, value).await?;
    }
    let row = sqlx::query("SELECT count(*) FROM scm_tag WHERE certificate = $1")
        .bind(certificate)
        .fetch_one(connection)
        .await?;
    if usize::try_from(row.get::<i64, _>(0)).unwrap_or(0) <= MOST {
        return Ok(());
    }
    let detail = format!("a certificate has at most {MOST} tags");
    Err(Failure::because(code("SCM.0302"), detail))
}

/// Removes all of them or, where one is not there, none. A value that is given must be the one that the tag has.
async fn remove(
    connection: &mut SqliteConnection,
    certificate: &str,
    tags: &[Tag],
) -> Result<(), Failure> {
    for tag in tags {
        let done = sqlx::query(
            "DELETE FROM scm_tag WHERE certificate = $1 AND key = $2 AND ($3 IS NULL OR value = $3)",
        )
        .bind(certificate)
        .bind(&tag.key)
        .bind(tag.value.as_deref())
        .execute(&mut *connection)
        .await?;
        if done.rows_affected() == 0 {
            let detail = format!("there is no tag {:?} of this value", tag.key);
            return Err(Failure::because(code("SCM.0301"), detail));
        }
    }
    Ok(())
}

fn read(given: &Input) -> Result<Tag, Failure> {
    let tag = Tag {
        key: given.text("key").to_owned(),
        value: given.optional("value").map(str::to_owned),
    };
    tag_fields::check_key(&tag.key)?;
    tag_fields::check_value(tag.value.as_deref().unwrap_or_default())?;
    Ok(tag)
}

fn shown(row: &SqliteRow) -> Value {
    json!({"key": row.get::<String, _>("key"), "value": row.get::<String, _>("value")})
}
