//! Lists of revoked certificates: configured with a CA (CCM API 4.2.1.2), made at once when something is revoked, and in
//! time before the last one ends.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use sqlx::{Row as _, SqliteConnection};
use tokio::task::JoinSet;

use crate::ccm_server::codes::code;
use crate::ccm_server::failure::Failure;
use crate::ccm_server::field::Input;
use crate::ccm_server::operation::Call;
use crate::ccm_server::pca::authority::{Authority, COLUMNS, IssuedBy};
use crate::ccm_server::pca::obs;
use crate::ccm_server::server::Shared;
use crate::ccm_server::x509::{self, Hash, List, Revoked};
use crate::model::{Seconds, Timestamp};

/// The configuration that a call asks for, as it is kept and shown. `id` names the list where the call does not.
pub(super) async fn configuration(call: &Call<'_>, id: &str) -> Result<Value, Failure> {
    let given = call.body.object("crl_configuration");
    if !given.boolean("enabled") {
        return Ok(none());
    }
    let (bucket, days, name) = wanted(&given, id)?;
    let mut connection = call.shared.db.read().acquire().await?;
    obs::must_be_writable(&mut connection, call.account(), bucket).await?;
    Ok(json!({
        "enabled": true,
        "crl_name": name,
        "obs_bucket_name": bucket,
        "valid_days": days,
        "crl_dis_point": call.shared.obs.url(bucket, &file(name)),
    }))
}

fn wanted<'a>(given: &'a Input, id: &'a str) -> Result<(&'a str, i64, &'a str), Failure> {
    let refuse = |detail: String| Err(Failure::because(code("PCA.00020204"), detail));
    let (Some(bucket), Some(days)) = (
        given.optional("obs_bucket_name"),
        given.integer("valid_days"),
    ) else {
        return refuse("an enabled CRL needs obs_bucket_name and valid_days".to_owned());
    };
    let name = given.optional("crl_name").unwrap_or(id);
    if !obs::is_object(&file(name)) {
        return refuse(format!(
            "crl_name {name:?} must consist of letters, digits, `-`, `_` and `.`: it is part of a URL"
        ));
    }
    Ok((bucket, days, name))
}

/// Refuses a configuration whose list is another CA's, also one that is gone: its certificates still name it, and what they
/// find there must not become good again.
pub(super) async fn must_be_free(
    connection: &mut SqliteConnection,
    account: &str,
    configuration: &str,
) -> Result<(), Failure> {
    let written: Option<Value> = serde_json::from_str(configuration).ok();
    if written.is_some_and(|written| written["enabled"] == false) {
        return Ok(());
    }
    let taken: Option<String> = sqlx::query_scalar(
        "SELECT id FROM authority INDEXED BY authority_list WHERE account = $1 \
         AND json_extract(crl, '$.obs_bucket_name') = json_extract($2, '$.obs_bucket_name') \
         AND json_extract(crl, '$.crl_name') = json_extract($2, '$.crl_name') LIMIT 1",
    )
    .bind(account)
    .bind(configuration)
    .fetch_optional(connection)
    .await?;
    match taken {
        None => Ok(()),
        Some(id) => Err(Failure::because(
            code("PCA.00020204"),
            format!("the list of the CA {id} has this crl_name in this bucket already"),
        )),
    }
}

/// Warns of CAs that share a list, as a state may have them from a time when that was not refused: each writes it without what
/// the other revoked.
pub(in crate::ccm_server) async fn warn_of_shared(shared: &Shared) -> Result<(), sqlx::Error> {
    let found = sqlx::query(
        "SELECT json_extract(crl, '$.obs_bucket_name') AS bucket, json_extract(crl, '$.crl_name') AS name, \
         group_concat(id, ' and ') AS ids FROM authority \
         WHERE key IS NOT NULL AND json_extract(crl, '$.crl_name') IS NOT NULL \
         GROUP BY account, bucket, name HAVING count(*) > 1",
    );
    for row in found.fetch_all(shared.db.read()).await? {
        let list = format!("{}/{}", row.get::<&str, _>("bucket"), file(row.get("name")));
        let cas: &str = row.get("ids");
        tracing::warn!(
            list,
            cas,
            "these CAs share one list of revoked certificates, and each writes it without what the others revoked: of all but \
             one, make a new CA with a crl_name of its own, replace the certificates, and delete the old CA"
        );
    }
    Ok(())
}

/// As a CA without CRLs shows it, whatever else was sent.
pub(in crate::ccm_server) fn none() -> Value {
    json!({
        "enabled": false,
        "crl_name": null,
        "obs_bucket_name": null,
        "valid_days": null,
        "crl_dis_point": null,
    })
}

/// Says in the transaction of a revocation that the issuer's list is out of date, so that nothing forgets it: with another number each
/// time, so that who makes the list sees that something was revoked meanwhile.
pub(super) async fn outdated(
    connection: &mut SqliteConnection,
    issuer: &str,
) -> Result<(), Failure> {
    sqlx::query(
        "UPDATE authority SET crl_due = min(crl_due, 0) - 1 WHERE id = $1 AND crl_due IS NOT NULL",
    )
    .bind(issuer)
    .execute(connection)
    .await?;
    Ok(())
}

/// Makes and publishes every list that is due. What fails is logged and stays due; one that takes long holds up none of the others.
pub(in crate::ccm_server) async fn publish_due(shared: &Arc<Shared>, now: Timestamp) {
    let due = sqlx::query_scalar(DUE)
        .bind(now.0)
        .bind(newest_begin(now).0)
        .fetch_all(shared.db.read());
    let ids: Vec<String> = match due.await {
        Ok(ids) => ids,
        Err(error) => {
            tracing::error!(%error, "failed to look for CRLs that are due");
            return;
        }
    };
    let mut under_way = JoinSet::new();
    for id in ids {
        if under_way.len() >= AT_ONCE {
            under_way.join_next().await;
        }
        let shared = Arc::clone(shared);
        under_way.spawn(async move {
            let publish = publish_of(&shared, &id, now);
            if tokio::time::timeout(LONGEST, publish).await.is_err() {
                tracing::error!(
                    ca = id,
                    "publishing a CRL takes too long; it will be tried again"
                );
            }
        });
    }
    while under_way.join_next().await.is_some() {}
}

/// Makes and publishes the list of one CA if it is due. What fails is logged and stays due.
pub(super) async fn publish_of(shared: &Shared, id: &str, now: Timestamp) {
    let list = shared.obs.list(id);
    let _alone = list.publishing.lock().await;
    publish_alone(shared, &list, id, now).await;
}

/// The same for who only reads a list: without a look where it is not due, once in a while where it fails, and never for long. Lists
/// of other CAs, and buckets that take none, are no concern of his.
pub(super) async fn publish_for_reader(
    shared: &Shared,
    (bucket, object): (&str, &str),
    now: Timestamp,
) {
    let name = object.strip_suffix(ENDING).unwrap_or(object);
    let due = sqlx::query_scalar(
        "SELECT id FROM authority INDEXED BY authority_list \
         WHERE account = (SELECT account FROM bucket WHERE name = $1) \
         AND json_extract(crl, '$.obs_bucket_name') = $1 AND json_extract(crl, '$.crl_name') = $2 \
         AND (crl_due <= $3 OR crl_due - 86400 * json_extract(crl, '$.valid_days') > $4) AND key IS NOT NULL",
    );
    let due = due.bind(bucket).bind(name).bind(now.0);
    let due = due.bind(newest_begin(now).0);
    let due: Result<Vec<String>, sqlx::Error> = due.fetch_all(shared.db.read()).await;
    for id in due.unwrap_or_default() {
        let list = shared.obs.list(&id);
        if list.failed_lately(now) {
            continue;
        }
        let publish = async {
            let _alone = list.publishing.lock().await;
            // Whoever had the lock before may have failed meanwhile.
            if !list.failed_lately(now) {
                publish_alone(shared, &list, &id, now).await;
            }
        };
        // Cut off at any point, a list is still due.
        if tokio::time::timeout(PATIENCE, publish).await.is_err() {
            list.tried(Some(now));
        }
    }
}

/// For who has the lock.
async fn publish_alone(shared: &Shared, list: &obs::List, id: &str, now: Timestamp) {
    let done = publish(shared, list, id, now).await;
    list.tried(done.is_err().then_some(now));
    if let Err(failure) = done {
        let detail = failure.detail();
        tracing::error!(
            ca = id,
            detail,
            "failed to publish a CRL; it will be tried again"
        );
    }
}

async fn publish(
    shared: &Shared,
    list: &obs::List,
    id: &str,
    now: Timestamp,
) -> Result<(), Failure> {
    let mut snapshot = shared.db.read().begin().await?;
    let row = sqlx::query(
        "SELECT crl_number, crl_due FROM authority WHERE id = $1 AND key IS NOT NULL \
         AND (crl_due <= $2 OR crl_due - 86400 * json_extract(crl, '$.valid_days') > $3)",
    )
    .bind(id)
    .bind(now.0)
    .bind(newest_begin(now).0)
    .fetch_optional(&mut *snapshot)
    .await?;
    let Some(row) = row else {
        // Whoever had the lock before made it.
        return Ok(());
    };
    let (last, due): (i64, i64) = (row.get(0), row.get(1));
    let sql = format!("SELECT {COLUMNS} WHERE a.id = $1");
    let row = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(id)
        .fetch_one(&mut *snapshot)
        .await?;
    let authority = Authority::from_row(&row)?;
    let revoked = revoked(&mut snapshot, id).await?;
    drop(snapshot);
    let crl = authority.crl()?;
    let text = |field: &str| crl[field].as_str().unwrap_or_default().to_owned();
    let valid = Seconds::days(crl["valid_days"].as_i64().unwrap_or(LEAST_DAYS));
    let (by, signer) = (IssuedBy::of(&authority)?, authority.signer(shared).await?);
    let number = last.saturating_add(1);
    let next_update = now + valid;
    // Kept before anybody can see it: a number is never used twice (RFC 5280 §5.2.3), one may be left out.
    let own = id.to_owned();
    let taken = shared.db.write(|connection| {
        Box::pin(async move {
            sqlx::query("UPDATE authority SET crl_number = $1 WHERE id = $2")
                .bind(number)
                .bind(own)
                .execute(connection)
                .await?;
            Ok::<_, Failure>(())
        })
    });
    taken.await?;
    let hash = Hash::named(authority.signature_algorithm()).unwrap_or(Hash::Sha256);
    let made = shared.heavy(move || {
        let wanted = List {
            issuer: &by.subject,
            issuer_key: by.key_id.as_deref(),
            number: u64::try_from(number).unwrap_or(0),
            this_update: now,
            next_update,
            revoked: &revoked,
        };
        x509::list(&wanted, &signer, hash)
    });
    let made = made.await?;
    let (bucket, object) = (text("obs_bucket_name"), file(&text("crl_name")));
    let put = shared.obs.put((list, number), (&bucket, &object), made);
    put.await?;
    let id = id.to_owned();
    let write = shared.db.write(|connection| {
        Box::pin(async move {
            // Whatever was revoked meanwhile made it due again, and that stays.
            sqlx::query(
                "UPDATE authority SET crl_due = CASE WHEN crl_due = $1 THEN $2 ELSE crl_due END WHERE id = $3",
            )
            .bind(due)
            .bind((next_update + AHEAD).0)
            .bind(id)
            .execute(connection)
            .await?;
            Ok::<_, Failure>(())
        })
    });
    write.await
}

/// All that an issuer has taken back: certificates, deleted ones too, and CAs.
async fn revoked(connection: &mut SqliteConnection, issuer: &str) -> Result<Vec<Revoked>, Failure> {
    let rows = sqlx::query(
        "SELECT serial, revoked, revocation_reason FROM certificate WHERE issuer = $1 AND revoked IS NOT NULL \
         UNION ALL SELECT serial, at, reason FROM revocation WHERE issuer = $1 ORDER BY 2, 1",
    )
    .bind(issuer)
    .fetch_all(connection)
    .await?;
    let revoked = rows.iter().map(|row| Revoked {
        serial: row.get(0),
        at: Timestamp(row.get(1)),
        reason: row.get::<Option<String>, _>(2).unwrap_or_default(),
    });
    Ok(revoked.collect())
}

/// What `crl_due` less the days of a list is at most, unless it was made by a clock that was ahead: until its time comes nobody
/// takes such a list.
fn newest_begin(now: Timestamp) -> Timestamp {
    now + AHEAD + SKEW
}

fn file(name: &str) -> String {
    format!("{name}{ENDING}")
}

/// Of the files in a bucket that are lists.
pub(super) const ENDING: &str = ".crl";
/// The CAs whose lists are due: out of date or near their end, or from the future.
const DUE: &str = "SELECT id FROM authority WHERE crl_due <= $1 AND key IS NOT NULL \
     UNION ALL SELECT id FROM authority INDEXED BY authority_crl_made \
     WHERE crl_due - 86400 * json_extract(crl, '$.valid_days') > $2 AND crl_due IS NOT NULL AND key IS NOT NULL";
/// How far requests are apart that are carried out at one time: each goes by the moment at which it came.
const SKEW: Seconds = Seconds::minutes(1);
/// The shortest `valid_days`.
const LEAST_DAYS: i64 = 7;
/// The next list is there a day before the last one ends.
const AHEAD: Seconds = Seconds(-86_400);
/// How long somebody who fetches a list waits for one that is due.
const PATIENCE: Duration = Duration::from_secs(5);
/// Lists that are made at the same time because they are due.
const AT_ONCE: usize = 4;
/// How long one of them may take: a bucket that does not answer must not keep the others from being made in time.
const LONGEST: Duration = Duration::from_secs(60);
