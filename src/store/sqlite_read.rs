//! Reading the journal: snapshots, history, alerts.

use std::collections::BTreeMap;

use sqlx::sqlite::SqliteRow;
use sqlx::{Row, Sqlite, Transaction};

use crate::model::{
    CertificateId, CertificateState, IssuerId, KnownRevision, Order, Rollout, RolloutEvent,
    Snapshot, TargetId, TargetState, Timestamp,
};
use crate::store::codec::decode;
use crate::store::outbox;
use crate::store::purchases;
use crate::store::rows::query;
use crate::store::sqlite::SqliteStore;
use crate::store::{HistoryEntry, StoreError, StoredAlert, Touched};

impl SqliteStore {
    pub(crate) async fn read_snapshot(&self) -> Result<Snapshot, StoreError> {
        const WHAT: &str = "read the snapshot";
        // One read transaction, so that an order and its certificate are of the same moment.
        let mut tx = self.pool.begin().await.map_err(query(WHAT))?;
        let mut snapshot = Snapshot::default();
        let mut last = String::new();
        loop {
            const SQL: &str =
                "SELECT id, state FROM certificates WHERE id > $1 ORDER BY id LIMIT $2";
            let rows = page(&mut tx, SQL, &last).await?;
            let Some(end) = rows.last() else { break };
            last = end.get(0);
            for row in &rows {
                let (id, state) = certificate(row)?;
                snapshot.certificates.insert(id, state);
            }
        }
        last.clear();
        loop {
            const SQL: &str = "SELECT id, state FROM targets WHERE id > $1 ORDER BY id LIMIT $2";
            let rows = page(&mut tx, SQL, &last).await?;
            let Some(end) = rows.last() else { break };
            last = end.get(0);
            for row in &rows {
                let (id, state) = target(row)?;
                snapshot.targets.insert(id, state);
            }
        }
        let rows = sqlx::query("SELECT body FROM orders WHERE closed_at IS NULL")
            .fetch_all(&mut *tx)
            .await
            .map_err(query(WHAT))?;
        for row in &rows {
            let order: Order = decode("orders.body", row.get(0))?;
            snapshot.orders.insert(order.id.clone(), order);
        }
        let rows = sqlx::query(
            "SELECT body, opened_at FROM orders
             WHERE opened_at > (SELECT max(opened_at) FROM orders) - 3600 ORDER BY opened_at",
        )
        .fetch_all(&mut *tx)
        .await
        .map_err(query(WHAT))?;
        for row in &rows {
            let order: OfIssuer = decode("orders.body", row.get(0))?;
            let opened = snapshot.opened.entry(order.issuer).or_default();
            opened.push(Timestamp(row.get(1)));
        }
        let rows = sqlx::query("SELECT body FROM rollouts WHERE closed_at IS NULL")
            .fetch_all(&mut *tx)
            .await
            .map_err(query(WHAT))?;
        for row in &rows {
            let rollout: Rollout = decode("rollouts.body", row.get(0))?;
            snapshot.rollouts.insert(rollout.id.clone(), rollout);
        }
        let rows = sqlx::query("SELECT name, run FROM jobs")
            .fetch_all(&mut *tx)
            .await
            .map_err(query(WHAT))?;
        for row in &rows {
            // One that a newer renewd knew is passed over.
            if let Ok(name) = row.get::<&str, _>(0).parse() {
                snapshot.jobs.insert(name, decode("jobs.run", row.get(1))?);
            }
        }
        let rows = sqlx::query("SELECT id, state FROM watches")
            .fetch_all(&mut *tx)
            .await
            .map_err(query(WHAT))?;
        for row in &rows {
            let state = decode("watches.state", row.get(1))?;
            snapshot.watches.insert(id(row.get(0))?, state);
        }
        let rows = sqlx::query("SELECT issuer, at FROM answered")
            .fetch_all(&mut *tx)
            .await
            .map_err(query(WHAT))?;
        for row in &rows {
            let at = Timestamp(row.get(1));
            snapshot.answered.insert(id(row.get(0))?, at);
        }
        let rows = sqlx::query("SELECT what, ends FROM relied")
            .fetch_all(&mut *tx)
            .await
            .map_err(query(WHAT))?;
        for row in &rows {
            let what = decode("relied.what", row.get(0))?;
            snapshot.relied.insert(what, Timestamp(row.get(1)));
        }
        snapshot.channels = outbox::channels(&mut tx).await?;
        snapshot.identity = purchases::identity(&mut tx).await?;
        snapshot.purchases = purchases::purchases(&mut tx).await?;
        let row = sqlx::query("SELECT heard FROM clock")
            .fetch_optional(&mut *tx)
            .await
            .map_err(query(WHAT))?;
        let heard = row.map(|row| decode("clock.heard", row.get(0)));
        snapshot.clock.remembered = heard.transpose()?;
        tx.commit().await.map_err(query(WHAT))?;
        Ok(snapshot)
    }

    pub(crate) async fn read_touched(
        &self,
        snapshot: &mut Snapshot,
        touched: &Touched,
    ) -> Result<bool, StoreError> {
        let mut changed = false;
        for id in &touched.certificates {
            const SQL: &str = "SELECT id, state FROM certificates WHERE id = $1";
            let row = self.read_one(SQL, id.as_str()).await?;
            let new = row
                .as_ref()
                .map(certificate)
                .transpose()?
                .map(|(_, state)| state);
            changed |= replace(&mut snapshot.certificates, id, new);
        }
        for id in &touched.targets {
            const SQL: &str = "SELECT id, state FROM targets WHERE id = $1";
            let row = self.read_one(SQL, id.as_str()).await?;
            let new = row
                .as_ref()
                .map(target)
                .transpose()?
                .map(|(_, state)| state);
            changed |= replace(&mut snapshot.targets, id, new);
        }
        for id in &touched.orders {
            const SQL: &str = "SELECT body FROM orders WHERE id = $1 AND closed_at IS NULL";
            let row = self.read_one(SQL, id.as_str()).await?;
            let new: Option<Order> = row
                .map(|row| decode("orders.body", row.get(0)))
                .transpose()?;
            if let Some(new) = new.as_ref().filter(|_| !snapshot.orders.contains_key(id)) {
                snapshot.order_opened(&new.issuer, new.opened_at);
            }
            changed |= replace(&mut snapshot.orders, id, new);
        }
        if !touched.orders.is_empty() {
            let purchases = snapshot.by_account(self.read_purchases().await?);
            changed |= snapshot.purchases != purchases;
            snapshot.purchases = purchases;
        }
        for id in &touched.rollouts {
            const SQL: &str = "SELECT body FROM rollouts WHERE id = $1 AND closed_at IS NULL";
            let row = self.read_one(SQL, id.as_str()).await?;
            let new = row
                .map(|row| decode("rollouts.body", row.get(0)))
                .transpose()?;
            changed |= replace(&mut snapshot.rollouts, id, new);
        }
        Ok(changed)
    }

    async fn read_one(&self, sql: &'static str, id: &str) -> Result<Option<SqliteRow>, StoreError> {
        sqlx::query(sql)
            .bind(id)
            .fetch_optional(&self.pool)
            .await
            .map_err(query("read a part of the snapshot"))
    }

    pub(crate) async fn read_revisions(
        &self,
        certificate: &CertificateId,
    ) -> Result<Vec<KnownRevision>, StoreError> {
        let rows = sqlx::query(
            "SELECT issuer, facts, ours, revoked FROM revisions WHERE certificate = $1 ORDER BY issued_at DESC, seq DESC",
        )
        .bind(certificate.as_str())
        .fetch_all(&self.pool)
        .await
        .map_err(query("read revisions"))?;
        rows.iter()
            .map(|row| {
                Ok(KnownRevision {
                    issuer: id(row.get(0))?,
                    revision: decode("revisions.facts", row.get(1))?,
                    ours: row.get(2),
                    revoked: row.get(3),
                })
            })
            .collect()
    }

    pub(crate) async fn read_history(
        &self,
        certificate: &CertificateId,
    ) -> Result<Vec<HistoryEntry>, StoreError> {
        let rows = sqlx::query(
            "SELECT e.at, e.machine, e.id, e.kind, e.step, e.phase, e.message, e.output, r.target,
                    CASE WHEN e.machine = 'rollout' AND e.phase IN ('verified', 'undo-verified') THEN e.event END,
                    e.written
             FROM subjects s
             JOIN events e ON e.machine = s.machine AND e.id = s.id
             LEFT JOIN rollouts r ON e.machine = 'rollout' AND r.id = e.id
             WHERE s.certificate = $1 ORDER BY e.seq",
        )
        .bind(certificate.as_str())
        .fetch_all(&self.pool)
        .await
        .map_err(query("read the history"))?;
        let mut intents = Intents::default();
        rows.iter()
            .map(|row| {
                let event: Option<&str> = row.get(9);
                let event = event.map(|text| decode::<RolloutEvent>("events.event", text));
                let event = event.transpose()?;
                Ok(HistoryEntry {
                    at: Timestamp(row.get(0)),
                    machine: row.get(1),
                    id: row.get(2),
                    kind: row.get(3),
                    step: row.get(4),
                    phase: row.get(5),
                    message: row.get(6),
                    milliseconds: intents.took(row),
                    output: row.get(7),
                    target: row.get(8),
                    probes: event.map_or_else(Vec::new, |event| event.reports().to_vec()),
                })
            })
            .collect()
    }

    pub(crate) async fn read_alerts(&self, which: Alerts) -> Result<Vec<StoredAlert>, StoreError> {
        let sql = match which {
            Alerts::Undelivered => {
                "SELECT key, severity, title, text, raised_at, step FROM alerts
                 WHERE delivered_at IS NULL AND resolved_at IS NULL ORDER BY raised_at, key"
            }
            Alerts::Open => {
                "SELECT key, severity, title, text, raised_at, step FROM alerts
                 WHERE resolved_at IS NULL ORDER BY raised_at, key"
            }
        };
        let rows = sqlx::query(sql)
            .fetch_all(&self.pool)
            .await
            .map_err(query("read alerts"))?;
        Ok(rows
            .iter()
            .map(|row| StoredAlert {
                key: row.get(0),
                severity: row.get(1),
                title: row.get(2),
                text: row.get(3),
                raised_at: Timestamp(row.get(4)),
                step: row.get(5),
            })
            .collect())
    }
}

/// Which alerts are read.
pub(crate) enum Alerts {
    /// Not resolved.
    Open,
    /// Neither delivered nor resolved.
    Undelivered,
}

/// Puts the new value in place of the old; answers whether it is another.
fn replace<K: Ord + Clone, V: PartialEq>(
    map: &mut BTreeMap<K, V>,
    key: &K,
    new: Option<V>,
) -> bool {
    let changed = map.get(key) != new.as_ref();
    match new {
        Some(value) => drop(map.insert(key.clone(), value)),
        None => drop(map.remove(key)),
    }
    changed
}

/// Rows behind an id, as many as are held in memory at once beside what is made of them.
async fn page(
    tx: &mut Transaction<'_, Sqlite>,
    sql: &'static str,
    behind: &str,
) -> Result<Vec<SqliteRow>, StoreError> {
    let rows = sqlx::query(sql).bind(behind).bind(ROWS);
    let rows = rows.fetch_all(&mut **tx).await;
    rows.map_err(query("read the snapshot"))
}

const ROWS: i64 = 256;

fn certificate(row: &SqliteRow) -> Result<(CertificateId, CertificateState), StoreError> {
    Ok((id(row.get(0))?, decode("certificates.state", row.get(1))?))
}

fn target(row: &SqliteRow) -> Result<(TargetId, TargetState), StoreError> {
    Ok((id(row.get(0))?, decode("targets.state", row.get(1))?))
}

pub(super) fn id<T: std::str::FromStr>(text: &str) -> Result<T, StoreError> {
    text.parse().map_err(|_| StoreError::Id(text.to_owned()))
}

/// What of an order counts after its end.
#[derive(serde::Deserialize)]
struct OfIssuer {
    issuer: IssuerId,
}

/// When the steps were begun that have no outcome yet, by machine, id and step.
#[derive(Default)]
struct Intents(BTreeMap<(String, String, String), i64>);

impl Intents {
    /// How long the step took whose outcome this row of the history is. One that was begun again after a crash counts
    /// from then; a clock that was set back meanwhile says nothing.
    fn took(&mut self, row: &SqliteRow) -> Option<u64> {
        let step: Option<String> = row.get(4);
        let key = (row.get(1), row.get(2), step?);
        let written: i64 = row.get(10);
        if row.get::<&str, _>(3) == "started" {
            self.0.insert(key, written);
            return None;
        }
        let begun = self.0.remove(&key)?;
        u64::try_from(written.checked_sub(begun)?).ok()
    }
}
