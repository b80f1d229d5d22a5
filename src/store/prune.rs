//! What the journal forgets, by age and by count.

use sqlx::{Sqlite, Transaction};

use crate::model::Timestamp;
use crate::store::StoreError;
use crate::store::rows::{commit, query};
use crate::store::sqlite::SqliteStore;

impl SqliteStore {
    /// Forgets events from before a moment and all but so many of the latest, then what is closed and has none left.
    /// Answers how many events went.
    pub(crate) async fn forget_events(
        &self,
        before: Timestamp,
        most: i64,
    ) -> Result<u64, StoreError> {
        let mut tx = self.begin(WHAT).await?;
        let gone = sqlx::query(
            "DELETE FROM events WHERE seq IN (
               SELECT seq FROM events
               WHERE at < $1 OR seq <= (SELECT max(seq) FROM events) - $2
               ORDER BY seq LIMIT $3)",
        )
        .bind(before.0)
        .bind(most)
        .bind(AT_A_TIME)
        .execute(&mut *tx)
        .await
        .map_err(query(WHAT))?
        .rows_affected();
        if gone > 0 {
            for sql in LEFT_OVER {
                delete(&mut tx, sql).await?;
            }
        }
        commit(tx, WHAT).await?;
        Ok(gone)
    }
}

async fn delete(tx: &mut Transaction<'_, Sqlite>, sql: &'static str) -> Result<(), StoreError> {
    sqlx::query(sql)
        .execute(&mut **tx)
        .await
        .map_err(query(WHAT))?;
    Ok(())
}

const WHAT: &str = "forget old events";

/// In one transaction; the rest goes next time. Nobody waits for long.
const AT_A_TIME: i64 = 20_000;

/// What is open stays, and so does what something is told of.
const LEFT_OVER: [&str; 3] = [
    "DELETE FROM orders WHERE closed_at IS NOT NULL
       AND NOT EXISTS (SELECT 1 FROM events e WHERE e.machine = 'order' AND e.id = orders.id)",
    "DELETE FROM rollouts WHERE closed_at IS NOT NULL
       AND NOT EXISTS (SELECT 1 FROM events e WHERE e.machine = 'rollout' AND e.id = rollouts.id)",
    "DELETE FROM subjects WHERE NOT EXISTS
       (SELECT 1 FROM events e WHERE e.machine = subjects.machine AND e.id = subjects.id)
       AND id NOT IN (SELECT id FROM orders) AND id NOT IN (SELECT id FROM rollouts)",
];
