//! Rows of the journal: what the transactions of `sqlite` are made of.

use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::{Row, Sqlite, Transaction};

use crate::model::{
    CertificateId, CertificateState, Failures, IssuerId, RevisionFacts, RevisionId, StepFailure,
    TargetId, TargetState, Timestamp,
};
use crate::store::StoreError;
use crate::store::codec::{decode, encode};

pub(super) fn query(what: &'static str) -> impl Fn(sqlx::Error) -> StoreError {
    move |source| StoreError::Query { what, source }
}

pub(super) fn open_error(what: &'static str, of: &str) -> impl Fn(sqlx::Error) -> StoreError {
    let of = of.to_owned();
    move |source| match source.as_database_error() {
        Some(error) if error.is_unique_violation() => StoreError::AlreadyOpen(of.clone()),
        _ => StoreError::Query { what, source },
    }
}

pub(super) async fn commit(
    tx: Transaction<'_, Sqlite>,
    what: &'static str,
) -> Result<(), StoreError> {
    fault("journal.commit").map_err(query(what))?;
    tx.commit().await.map_err(query(what))
}

/// Where a test lets a disk fail under the journal (EIO); nothing at all in a build without `failpoints`.
#[cfg(feature = "failpoints")]
pub(super) fn fault(point: &str) -> Result<(), sqlx::Error> {
    fail::fail_point!(point, |_| Err(sqlx::Error::Io(
        std::io::Error::from_raw_os_error(5)
    )));
    Ok(())
}

#[cfg(not(feature = "failpoints"))]
#[expect(clippy::unnecessary_wraps, reason = "as with the feature")]
pub(super) const fn fault(_point: &str) -> Result<(), sqlx::Error> {
    Ok(())
}

pub(super) async fn subject(
    tx: &mut Transaction<'_, Sqlite>,
    certificate: &CertificateId,
    machine: &str,
    id: &str,
) -> Result<(), StoreError> {
    sqlx::query("INSERT OR IGNORE INTO subjects (certificate, machine, id) VALUES ($1, $2, $3)")
        .bind(certificate.as_str())
        .bind(machine)
        .bind(id)
        .execute(&mut **tx)
        .await
        .map_err(query("note a subject"))?;
    Ok(())
}

pub(super) async fn read_open<T: DeserializeOwned>(
    tx: &mut Transaction<'_, Sqlite>,
    machine: &'static str,
    id: &str,
) -> Result<T, StoreError> {
    let sql = match machine {
        ORDER => "SELECT body FROM orders WHERE id = $1 AND closed_at IS NULL",
        _ => "SELECT body FROM rollouts WHERE id = $1 AND closed_at IS NULL",
    };
    let row = sqlx::query(sql)
        .bind(id)
        .fetch_optional(&mut **tx)
        .await
        .map_err(query("read what is open"))?
        .ok_or_else(|| StoreError::Missing(format!("an open {machine} {id}")))?;
    decode("body", row.get(0))
}

/// The open order of a certificate, the open rollout of a target; there is one at most.
pub(super) async fn read_open_of<T: DeserializeOwned>(
    tx: &mut Transaction<'_, Sqlite>,
    sql: &'static str,
    of: &str,
) -> Result<Option<T>, StoreError> {
    sqlx::query(sql)
        .bind(of)
        .fetch_optional(&mut **tx)
        .await
        .map_err(query("read what is open"))?
        .map(|row| decode("body", row.get(0)))
        .transpose()
}

pub(super) async fn write_open<T: Serialize>(
    tx: &mut Transaction<'_, Sqlite>,
    machine: &'static str,
    id: &str,
    value: &T,
    closed: Option<Timestamp>,
) -> Result<(), StoreError> {
    let sql = match machine {
        ORDER => "UPDATE orders SET body = $1, closed_at = $2 WHERE id = $3 AND closed_at IS NULL",
        _ => "UPDATE rollouts SET body = $1, closed_at = $2 WHERE id = $3 AND closed_at IS NULL",
    };
    let done = sqlx::query(sql)
        .bind(encode("body", value)?)
        .bind(closed.map(|at| at.0))
        .bind(id)
        .execute(&mut **tx)
        .await
        .map_err(query("write what is open"))?;
    if done.rows_affected() == 0 {
        return Err(StoreError::Missing(format!("an open {machine} {id}")));
    }
    Ok(())
}

/// A revision that an open order brought. It is ours if the order applied for it: a follower finds what others applied for,
/// and so does who takes over what an account has already.
pub(super) async fn insert_revision(
    tx: &mut Transaction<'_, Sqlite>,
    order: &str,
    (certificate, issuer, facts): &(CertificateId, IssuerId, RevisionFacts),
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO revisions (certificate, id, issuer, facts, issued_at, ours)
         VALUES ($1, $2, $3, $4, $5, EXISTS (
           SELECT 1 FROM events WHERE machine = 'order' AND id = $6 AND kind = 'succeeded'
              AND step IN ('submit', 'resolve') AND phase = 'submitted'))
         ON CONFLICT (certificate, id) DO NOTHING",
    )
    .bind(certificate.as_str())
    .bind(facts.id.as_str())
    .bind(issuer.as_str())
    .bind(encode("revisions.facts", facts)?)
    .bind(facts.issued_at.0)
    .bind(order)
    .execute(&mut **tx)
    .await
    .map_err(query("note a revision"))?;
    Ok(())
}

/// Whether the issuer took a revision back.
pub(super) async fn mark_revoked(
    tx: &mut Transaction<'_, Sqlite>,
    certificate: &CertificateId,
    revision: &RevisionId,
    revoked: bool,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE revisions SET revoked = $1 WHERE certificate = $2 AND id = $3")
        .bind(revoked)
        .bind(certificate.as_str())
        .bind(revision.as_str())
        .execute(&mut **tx)
        .await
        .map_err(query("note what became of a revision"))?;
    Ok(())
}

pub(super) async fn write_certificate(
    tx: &mut Transaction<'_, Sqlite>,
    id: &CertificateId,
    state: &CertificateState,
) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO certificates (id, state) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET state = excluded.state")
        .bind(id.as_str())
        .bind(encode("certificates.state", state)?)
        .execute(&mut **tx)
        .await
        .map_err(query("write a certificate"))?;
    Ok(())
}

pub(super) async fn write_target(
    tx: &mut Transaction<'_, Sqlite>,
    id: &TargetId,
    state: &TargetState,
) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO targets (id, state) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET state = excluded.state")
        .bind(id.as_str())
        .bind(encode("targets.state", state)?)
        .execute(&mut **tx)
        .await
        .map_err(query("write a target"))?;
    Ok(())
}

pub(super) fn count(failures: &mut Failures, failure: &StepFailure) {
    failures.count = failures.count.saturating_add(1);
    failures.last = Some(failure.clone());
}

/// A row of `events` in the making.
pub(super) struct Event<'a> {
    machine: &'static str,
    id: &'a str,
    at: Timestamp,
    kind: &'static str,
    phase: &'static str,
    step: Option<&'static str>,
    message: &'a str,
    output: &'a str,
    event: Option<&'a str>,
}

impl<'a> Event<'a> {
    pub(super) fn new(
        machine: &'static str,
        id: &'a str,
        at: Timestamp,
        kind: &'static str,
        phase: &'static str,
    ) -> Self {
        Self {
            machine,
            id,
            at,
            kind,
            phase,
            step: None,
            message: "",
            output: "",
            event: None,
        }
    }
    pub(super) fn step(self, step: &'static str) -> Self {
        self.step_of(Some(step))
    }
    pub(super) fn step_of(mut self, step: Option<&'static str>) -> Self {
        self.step = step;
        self
    }
    pub(super) fn message(mut self, message: &'a str) -> Self {
        self.message = message;
        self
    }
    pub(super) fn output(mut self, output: &'a str) -> Self {
        self.output = output;
        self
    }
    pub(super) fn event(mut self, event: &'a str) -> Self {
        self.event = Some(event);
        self
    }
    pub(super) async fn insert(self, tx: &mut Transaction<'_, Sqlite>) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO events (machine, id, at, kind, step, phase, message, output, event)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        )
        .bind(self.machine)
        .bind(self.id)
        .bind(self.at.0)
        .bind(self.kind)
        .bind(self.step)
        .bind(self.phase)
        .bind(self.message)
        .bind(self.output)
        .bind(self.event)
        .execute(&mut **tx)
        .await
        .map_err(query("write an event"))?;
        Ok(())
    }
}

pub(super) const ORDER: &str = "order";
pub(super) const ROLLOUT: &str = "rollout";
