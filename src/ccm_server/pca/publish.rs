//! Lists of revoked certificates: made at once when something is revoked, and in time before the last one ends.
//!
//! Each attempt is a task that nobody cuts off, and that alone has the list until it ends: its lock, and a place in the bucket. Who
//! asked for it waits a while and goes on. Where a bucket does not answer, such a task stays, with one thread, and nobody begins another
//! for the list: the list is due, and so it is made when the bucket is well again.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqliteConnection};
use tokio::sync::OwnedMutexGuard;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::ccm_server::failure::Failure;
use crate::ccm_server::pca::authority::{Authority, COLUMNS, IssuedBy};
use crate::ccm_server::pca::crl::{ENDING, file};
use crate::ccm_server::server::Shared;
use crate::ccm_server::x509::{self, Hash, Revoked};
use crate::model::{Seconds, Timestamp};

/// How the list of a CA fares; what fails there is its own.
#[derive(Default)]
pub(super) struct List {
    /// One attempt after the other, so that an older list never replaces a newer one.
    publishing: Arc<tokio::sync::Mutex<()>>,
    /// When the one that is under way began.
    since: Mutex<Option<Instant>>,
    /// When the last attempt failed, if it did.
    failed: Mutex<Option<Timestamp>>,
}

/// Who publishes a list.
struct Alone {
    list: Arc<List>,
    _lock: OwnedMutexGuard<()>,
}

impl List {
    /// Notes an attempt to publish, with its moment if it failed.
    pub(super) fn tried(&self, failed: Option<Timestamp>) {
        *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = failed;
    }

    /// Whether the last attempt failed.
    pub(super) fn failed(&self) -> bool {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.is_some()
    }

    /// Whether an attempt failed so lately that nobody who only reads makes another.
    fn failed_lately(&self, now: Timestamp) -> bool {
        let failed = *self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.is_some_and(|at| at <= now && now < at + BETWEEN)
    }

    /// Whether the attempt that is under way has taken longer than anybody waits.
    fn hangs(&self) -> bool {
        let since = *self.since.lock().unwrap_or_else(PoisonError::into_inner);
        since.is_some_and(|since| since.elapsed() >= PATIENCE)
    }

    async fn alone(self: &Arc<Self>) -> Alone {
        let lock = Arc::clone(&self.publishing).lock_owned().await;
        *self.since.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        Alone {
            list: Arc::clone(self),
            _lock: lock,
        }
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        let since = self.list.since.lock();
        *since.unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Makes and publishes every list that is due. What fails is logged and stays due; one that takes long holds up none of the others.
pub(in crate::ccm_server) async fn publish_due(shared: &Arc<Shared>, now: Timestamp) {
    let due = sqlx::query_as(DUE)
        .bind(now.0)
        .bind(newest_begin(now).0)
        .fetch_all(shared.db.read());
    let due: Vec<(String, String)> = match due.await {
        Ok(due) => due,
        Err(error) => {
            tracing::error!(%error, "failed to look for CRLs that are due");
            return;
        }
    };
    let mut under_way = JoinSet::new();
    for (id, bucket) in due {
        if under_way.len() >= AT_ONCE {
            under_way.join_next().await;
        }
        let shared = Arc::clone(shared);
        under_way.spawn(async move { attempt(&shared, (&id, &bucket), now, For::Server).await });
    }
    while under_way.join_next().await.is_some() {}
    shared.obs.tidy();
}

/// Makes and publishes the list of one CA if it is due, and waits for it, but not for long. What fails is logged and stays due.
pub(super) async fn publish_of(shared: &Arc<Shared>, id: &str, now: Timestamp) {
    let found = async {
        let mut connection = shared.db.read().acquire().await?;
        due(&mut connection, id, now).await
    };
    match found.await {
        Ok(Some(row)) => {
            let bucket: &str = row.get("bucket");
            attempt(shared, (id, bucket), now, For::Server).await;
        }
        // Most CAs have none.
        Ok(None) => {}
        Err(error) => {
            tracing::error!(ca = id, %error, "failed to see whether a CRL is due; it will be tried again");
        }
    }
}

/// The same for who only reads a list: without a look where it is not due, once in a while where it fails. Lists of other CAs, and
/// buckets that take none, are no concern of his.
pub(super) async fn publish_for_reader(
    shared: &Arc<Shared>,
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
    let ids: Vec<String> = match due.fetch_all(shared.db.read()).await {
        Ok(ids) => ids,
        // He gets the list that is there; this is logged as that of `publish_due` is.
        Err(error) => {
            tracing::error!(bucket, object, %error, "failed to see whether a CRL that is fetched is due");
            return;
        }
    };
    for id in ids {
        attempt(shared, (&id, bucket), now, For::Reader).await;
    }
}

/// For whom a list is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum For {
    Server,
    /// Who comes as often as he likes.
    Reader,
}

/// Publishes a list and waits for that as long as anybody does; at once no longer where an attempt before this one takes so long.
async fn attempt(shared: &Arc<Shared>, (id, bucket): (&str, &str), now: Timestamp, whom: For) {
    let list = shared.obs.list(id);
    let lately = || whom == For::Reader && list.failed_lately(now);
    if lately() {
        return;
    }
    let publish = async {
        let alone = list.alone().await;
        // Whoever had the lock before may have failed meanwhile.
        if !lately() {
            let (shared, place) = (Arc::clone(shared), (id.to_owned(), bucket.to_owned()));
            // It goes on, and keeps the lock, when nobody waits for it any more; a panic in it was reported by the runtime.
            let _ =
                tokio::spawn(async move { publish_alone(&shared, alone, place, now).await }).await;
        }
    };
    if list.hangs() || tokio::time::timeout(PATIENCE, publish).await.is_err() {
        list.tried(Some(now));
        tracing::error!(
            ca = id,
            bucket,
            "publishing a CRL takes too long; it is still due"
        );
    }
}

async fn publish_alone(
    shared: &Shared,
    alone: Alone,
    (id, bucket): (String, String),
    now: Timestamp,
) {
    let done = publish(shared, &id, &bucket, now).await;
    alone.list.tried(done.is_err().then_some(now));
    if let Err(failure) = done {
        let detail = failure.detail();
        tracing::error!(
            ca = id,
            detail,
            "failed to publish a CRL; it will be tried again"
        );
    }
}

async fn publish(shared: &Shared, id: &str, bucket: &str, now: Timestamp) -> Result<(), Failure> {
    // Before a number is taken, and before it is looked at what was revoked: both may be long ago when a bucket answers.
    let place = shared.obs.place_to_write(bucket).await;
    let place = place.map_err(|error| Failure::internal(&error))?;
    let mut snapshot = shared.db.read().begin().await?;
    let Some(row) = due(&mut snapshot, id, now).await? else {
        // Whoever had the lock before made it.
        return Ok(());
    };
    let (last, due): (i64, i64) = (row.get("crl_number"), row.get("crl_due"));
    let sql = format!("SELECT {COLUMNS} WHERE a.id = $1");
    let row = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(id)
        .fetch_one(&mut *snapshot)
        .await?;
    let authority = Authority::from_row(&row)?;
    let revoked = revoked(&mut snapshot, id).await?;
    drop(snapshot);
    let crl = authority.crl()?;
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
        let wanted = x509::List {
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
    let object = file(crl["crl_name"].as_str().unwrap_or_default());
    shared.obs.put(place, (bucket, &object), made).await?;
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

/// The list of a CA if it is due: number, moment and bucket.
async fn due(
    connection: &mut SqliteConnection,
    id: &str,
    now: Timestamp,
) -> Result<Option<SqliteRow>, sqlx::Error> {
    let row = sqlx::query(
        "SELECT crl_number, crl_due, json_extract(crl, '$.obs_bucket_name') AS bucket FROM authority \
         WHERE id = $1 AND key IS NOT NULL \
         AND (crl_due <= $2 OR crl_due - 86400 * json_extract(crl, '$.valid_days') > $3)",
    );
    let row = row.bind(id).bind(now.0).bind(newest_begin(now).0);
    row.fetch_optional(connection).await
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

/// The CAs whose lists are due, and their buckets: out of date or near their end, or from the future.
const DUE: &str = "SELECT id, json_extract(crl, '$.obs_bucket_name') FROM authority WHERE crl_due <= $1 AND key IS NOT NULL \
     UNION ALL SELECT id, json_extract(crl, '$.obs_bucket_name') FROM authority INDEXED BY authority_crl_made \
     WHERE crl_due - 86400 * json_extract(crl, '$.valid_days') > $2 AND crl_due IS NOT NULL AND key IS NOT NULL";
/// How far requests are apart that are carried out at one time: each goes by the moment at which it came.
const SKEW: Seconds = Seconds::minutes(1);
/// The shortest `valid_days`.
const LEAST_DAYS: i64 = 7;
/// The next list is there a day before the last one ends.
const AHEAD: Seconds = Seconds(-86_400);
/// Between two attempts on behalf of readers; the server itself tries once a minute.
const BETWEEN: Seconds = Seconds(60);
/// How long anybody waits for a list: who revokes, who fetches it, and who makes all that are due.
const PATIENCE: Duration = Duration::from_secs(5);
/// Lists that are waited for at the same time because they are due.
const AT_ONCE: usize = 4;
