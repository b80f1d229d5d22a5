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
        let rows = sqlx::query(
            "SELECT certificate, count(*), max(issued_at) FROM revisions WHERE issued_at > $1
             GROUP BY certificate ORDER BY certificate LIMIT $2",
        )
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
        let rows = sqlx::query(
            "SELECT body, closed_at FROM rollouts WHERE closed_at > $1 ORDER BY closed_at LIMIT $2",
        )
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
