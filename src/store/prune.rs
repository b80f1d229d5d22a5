//! What the journal forgets, by age and by count.

use sqlx::Row;

use crate::model::Timestamp;
use crate::store::StoreError;
use crate::store::rows::{commit, query};
use crate::store::sqlite::SqliteStore;

/// The oldest that are from before $1, and the first of those that are more than $2; at most $3 of each.
macro_rules! going {
    () => {
        "SELECT seq FROM (SELECT seq FROM events WHERE at < $1 ORDER BY at, seq LIMIT $3)
         UNION SELECT seq FROM (
           SELECT seq FROM events WHERE seq <= (SELECT max(seq) FROM events) - $2 ORDER BY seq LIMIT $3)"
    };
}
impl SqliteStore {
    /// Forgets events from before a moment and all but so many of the latest, then what they were about, if that is closed and
    /// has none left. Answers how many events went.
    ///
    /// Looks only at what goes, by index: a check of a long journal costs no more than one of a short one, and what was written
    /// by a clock that was ahead holds up nothing else. That itself stays until its time comes, or until so many others are later.
    pub(crate) async fn forget_events(
        &self,
        before: Timestamp,
        most: i64,
    ) -> Result<u64, StoreError> {
        let mut tx = self.begin(WHAT).await?;
        let about = sqlx::query(concat!(
            "SELECT json_group_array(json_array(machine, id)) FROM (
               SELECT DISTINCT machine, id FROM events WHERE seq IN (",
            going!(),
            "))"
        ))
        .bind(before.0)
        .bind(most)
        .bind(AT_A_TIME)
        .fetch_one(&mut *tx)
        .await
        .map_err(query(WHAT))?;
        let gone = sqlx::query(concat!("DELETE FROM events WHERE seq IN (", going!(), ")"))
            .bind(before.0)
            .bind(most)
            .bind(AT_A_TIME)
            .execute(&mut *tx)
            .await
            .map_err(query(WHAT))?
            .rows_affected();
        if gone > 0 {
            for sql in LEFT_OVER {
                sqlx::query(sql)
                    .bind(about.get::<&str, _>(0))
                    .execute(&mut *tx)
                    .await
                    .map_err(query(WHAT))?;
            }
        }
        commit(tx, WHAT).await?;
        Ok(gone)
    }
}

const WHAT: &str = "forget old events";

/// Events that go in one transaction for each of the two reasons; the rest goes next time. Nobody waits for long.
const AT_A_TIME: i64 = 20_000;

/// Of what the events in $1 were about. What is open stays, and so does what something is told of.
const LEFT_OVER: [&str; 3] = [
    "DELETE FROM orders WHERE closed_at IS NOT NULL
       AND id IN (SELECT json_extract(value, '$[1]') FROM json_each($1))
       AND NOT EXISTS (SELECT 1 FROM events e WHERE e.machine = 'order' AND e.id = orders.id)",
    "DELETE FROM rollouts WHERE closed_at IS NOT NULL
       AND id IN (SELECT json_extract(value, '$[1]') FROM json_each($1))
       AND NOT EXISTS (SELECT 1 FROM events e WHERE e.machine = 'rollout' AND e.id = rollouts.id)",
    "DELETE FROM subjects
       WHERE (machine, id) IN (SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each($1))
       AND NOT EXISTS (SELECT 1 FROM events e WHERE e.machine = subjects.machine AND e.id = subjects.id)
       AND NOT EXISTS (SELECT 1 FROM orders o WHERE o.id = subjects.id)
       AND NOT EXISTS (SELECT 1 FROM rollouts r WHERE r.id = subjects.id)",
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
             SELECT iif(i % 2, 'order', 'rollout'), 'o' || i, $2 + i, 'opened', 'opened', '' FROM n",
        )
        .bind(events)
        .bind(BEGIN.0)
        .execute(&store.pool)
        .await
        .unwrap();
        // Each is about something that is closed.
        for sql in [
            "INSERT INTO orders (id, certificate, body, opened_at, closed_at)
             SELECT id, 'c', '', at, at FROM events WHERE machine = 'order'",
            "INSERT INTO rollouts (id, target, body, opened_at, closed_at)
             SELECT id, 't', '', at, at FROM events WHERE machine = 'rollout'",
            "INSERT INTO subjects (certificate, machine, id) SELECT 'c' || seq % 100, machine, id FROM events",
        ] {
            sqlx::query(sql).execute(&store.pool).await.unwrap();
        }
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
            let events = times * 20_000;
            let store = journal(directory.path(), events).await;
            let count = counted(&store).await;
            let before = |seq: i64| BEGIN + Seconds(seq);
            let forget = async |before, most| store.forget_events(before, most).await.unwrap();
            assert_eq!(forget(before(1), i64::MAX).await, 0);
            let mut spent = vec![count.swap(0, Ordering::SeqCst)];
            // By age, and by count.
            assert_eq!(forget(before(1001), i64::MAX).await, 1000);
            spent.push(count.swap(0, Ordering::SeqCst));
            assert_eq!(forget(before(1), events - 2000).await, 1000);
            spent.push(count.swap(0, Ordering::SeqCst));
            for table in ["orders", "rollouts", "subjects"] {
                let left = format!("SELECT count(*) FROM {table}");
                let left = sqlx::query_scalar::<_, i64>(sqlx::AssertSqlSafe(left));
                let left = left.fetch_one(&store.pool).await.unwrap();
                let expected = if table == "subjects" { 1 } else { 2 };
                assert_eq!(left, (events - 2000) / expected, "{table}");
            }
            costs.push(spent);
        }
        assert!(costs[0][1] > 0, "nothing was counted");
        for (short, long) in costs[0].iter().zip(&costs[1]) {
            assert!(*long <= short + short / 20 + 1, "{costs:?}");
        }
    }

    #[tokio::test]
    async fn as_many_as_a_check_forgets_that_were_written_by_a_clock_ahead_hold_up_no_other() {
        let directory = tempfile::tempdir().unwrap();
        let store = journal(directory.path(), 20_010).await;
        sqlx::query("UPDATE events SET at = $1 WHERE seq <= 20000")
            .bind((BEGIN + Seconds::days(1000)).0)
            .execute(&store.pool)
            .await
            .unwrap();
        let before = BEGIN + Seconds(20_006);
        assert_eq!(store.forget_events(before, i64::MAX).await.unwrap(), 5);
        // They go by count, and when their time comes.
        assert_eq!(store.forget_events(before, 10_005).await.unwrap(), 10_005);
        let before = BEGIN + Seconds::days(1001);
        assert_eq!(store.forget_events(before, i64::MAX).await.unwrap(), 10_000);
    }

    /// A clock that was set back, and one that was behind: age is what an event says, wherever it is.
    #[tokio::test]
    async fn events_out_of_order_go_by_their_own_age() {
        let directory = tempfile::tempdir().unwrap();
        let store = journal(directory.path(), 100).await;
        sqlx::query("UPDATE events SET at = $1 - at WHERE seq % 2 = 0")
            .bind(2 * BEGIN.0 + 100)
            .execute(&store.pool)
            .await
            .unwrap();
        let before = BEGIN + Seconds(50);
        assert_eq!(store.forget_events(before, i64::MAX).await.unwrap(), 50);
        let left = sqlx::query("SELECT min(at), count(*) FROM events");
        let left = left.fetch_one(&store.pool).await.unwrap();
        assert_eq!((left.get::<i64, _>(0), left.get(1)), (before.0, 50));
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
