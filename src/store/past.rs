//! What was done since some moment, for digests, and what is known of those that renewd relies on.

use sqlx::Row;

use crate::model::{
    CertificateId, IssuerId, JobName, JobRun, Relied, Rollout, RolloutClosing, RolloutPhase,
    TargetId, Timestamp,
};
use crate::store::StoreError;
use crate::store::codec::{decode, encode};
use crate::store::rows::query;
use crate::store::sqlite::SqliteStore;
use crate::store::sqlite_read::id;

impl SqliteStore {
    pub(super) async fn read_job(&self, name: JobName) -> Result<Option<JobRun>, StoreError> {
        let row = sqlx::query("SELECT run FROM jobs WHERE name = $1")
            .bind(name.as_str())
            .fetch_optional(&self.pool)
            .await
            .map_err(query("read the last run of a job"))?;
        row.map(|row| decode("jobs.run", row.get(0))).transpose()
    }

    pub(super) async fn read_issued(
        &self,
        since: Timestamp,
        most: u32,
    ) -> Result<Vec<(CertificateId, u32, Timestamp)>, StoreError> {
        let rows = sqlx::query(ISSUED)
            .bind(since.0)
            .bind(most)
            .fetch_all(&self.pool)
            .await
            .map_err(query("read what was issued"))?;
        rows.iter()
            .map(|row| Ok((id(row.get(0))?, row.get(1), Timestamp(row.get(2)))))
            .collect()
    }

    pub(super) async fn read_rolled_out(
        &self,
        since: Timestamp,
        most: u32,
    ) -> Result<Vec<(TargetId, Timestamp, bool)>, StoreError> {
        let rows = sqlx::query(ROLLED_OUT)
            .bind(since.0)
            .bind(most)
            .fetch_all(&self.pool)
            .await
            .map_err(query("read what was rolled out"))?;
        let mut found = Vec::with_capacity(rows.len());
        for row in &rows {
            let rollout: Rollout = decode("rollouts.body", row.get(0))?;
            let live = matches!(
                rollout.phase,
                RolloutPhase::Closed {
                    closing: RolloutClosing::Live
                }
            );
            found.push((rollout.target, Timestamp(row.get(1)), live));
        }
        Ok(found)
    }

    pub(super) async fn write_relied(
        &self,
        what: &Relied,
        ends: Timestamp,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO relied (what, ends) VALUES ($1, $2) ON CONFLICT (what) DO UPDATE SET ends = excluded.ends",
        )
        .bind(encode("relied.what", what)?)
        .bind(ends.0)
        .execute(&self.pool)
        .await
        .map_err(query("write when something ends"))?;
        Ok(())
    }

    pub(super) async fn write_answered(
        &self,
        issuer: &IssuerId,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO answered (issuer, at) VALUES ($1, $2) ON CONFLICT (issuer) DO UPDATE SET at = excluded.at",
        )
        .bind(issuer.as_str())
        .bind(at.0)
        .execute(&self.pool)
        .await
        .map_err(query("write that an issuer answered"))?;
        Ok(())
    }
}

/// By index: a digest costs what is told in it, however long the journal is. Left to itself SQLite goes through all revisions, in
/// the order of their certificates.
const ISSUED: &str =
    "SELECT certificate, count(*), max(issued_at) FROM revisions INDEXED BY revisions_issued
     WHERE issued_at > $1 GROUP BY certificate ORDER BY certificate LIMIT $2";

const ROLLED_OUT: &str =
    "SELECT body, closed_at FROM rollouts WHERE closed_at > $1 ORDER BY closed_at LIMIT $2";

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_digest_reads_by_index_what_was_done_in_its_period() {
        let directory = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&directory.path().join("state.db"))
            .await
            .unwrap();
        for (sql, expected) in [
            (
                ISSUED,
                &[
                    "SEARCH revisions USING COVERING INDEX revisions_issued (issued_at>?)",
                    "USE TEMP B-TREE FOR GROUP BY",
                ][..],
            ),
            (
                ROLLED_OUT,
                &["SEARCH rollouts USING INDEX rollouts_closed (closed_at>?)"],
            ),
        ] {
            let explained = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"));
            let rows = sqlx::query(explained)
                .bind(1_i64)
                .bind(1_i64)
                .fetch_all(&store.pool)
                .await
                .unwrap();
            let steps: Vec<&str> = rows.iter().map(|row| row.get("detail")).collect();
            assert_eq!(steps, expected, "{sql}");
        }
    }
}
