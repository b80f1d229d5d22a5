//! What the journal forgets, by age and by count.

use sqlx::{Sqlite, Transaction};

use crate::model::Timestamp;
use crate::store::StoreError;
use crate::store::rows::{commit, query};
use crate::store::sqlite::SqliteStore;

impl SqliteStore {
    /// Forgets events from before a moment and all but so many of the latest, then what is closed and has none left.
    /// Answers how many events went. Looks at the oldest events alone: a check of a long journal costs no more than one of a
    /// short one.
    pub(crate) async fn forget_events(
        &self,
        before: Timestamp,
        most: i64,
    ) -> Result<u64, StoreError> {
        let mut tx = self.begin(WHAT).await?;
        let gone = sqlx::query(
            "DELETE FROM events WHERE seq IN (
               SELECT seq FROM (SELECT seq, at FROM events ORDER BY seq LIMIT $3)
               WHERE at < $1 OR seq <= (SELECT max(seq) FROM events) - $2)",
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

/// Events that are looked at in one transaction; the rest goes next time. Nobody waits for long.
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

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::model::Seconds;

    const BEGIN: Timestamp = Timestamp(1_800_000_000);

    async fn journal(directory: &Path, events: i64) -> SqliteStore {
        let store = SqliteStore::open(&directory.join("state.db"))
            .await
            .unwrap();
        sqlx::query(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1)
             INSERT INTO events (machine, id, at, kind, phase, message)
             SELECT 'order', 'o' || i, $2 + i, 'opened', 'opened', '' FROM n",
        )
        .bind(events)
        .bind(BEGIN.0)
        .execute(&store.pool)
        .await
        .unwrap();
        store
    }

    /// Thousands of instructions of SQLite's machine.
    async fn counted(store: &SqliteStore) -> Arc<AtomicU64> {
        let count = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&count);
        let mut connection = store.pool.acquire().await.unwrap();
        let mut handle = connection.lock_handle().await.unwrap();
        handle.set_progress_handler(1000, move || {
            counter.fetch_add(1, Ordering::SeqCst);
            true
        });
        count
    }

    #[tokio::test]
    async fn a_check_of_a_long_journal_costs_no_more_than_one_of_a_short_one() {
        let mut costs = Vec::new();
        for times in [1, 4] {
            let directory = tempfile::tempdir().unwrap();
            let store = journal(directory.path(), times * AT_A_TIME).await;
            let count = counted(&store).await;
            assert_eq!(store.forget_events(BEGIN, i64::MAX).await.unwrap(), 0);
            costs.push(count.load(Ordering::SeqCst));
        }
        assert!(costs[0] > 0, "nothing was counted");
        assert!(costs[1] <= costs[0] + 1, "{costs:?}");
    }

    #[tokio::test]
    async fn what_was_written_by_a_clock_that_was_ahead_holds_up_no_other() {
        let directory = tempfile::tempdir().unwrap();
        let store = journal(directory.path(), 10).await;
        let ahead = (BEGIN + Seconds::days(1000)).0;
        sqlx::query("UPDATE events SET at = $1 WHERE seq <= 3")
            .bind(ahead)
            .execute(&store.pool)
            .await
            .unwrap();
        let before = BEGIN + Seconds(9);
        assert_eq!(store.forget_events(before, i64::MAX).await.unwrap(), 5);
        assert_eq!(store.forget_events(before, 1).await.unwrap(), 4);
    }
}
