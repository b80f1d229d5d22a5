//! The journal in one SQLite file: WAL, `synchronous=FULL`, every write in `BEGIN IMMEDIATE`.
//!
//! FULL, not NORMAL: with NORMAL a committed row can vanish on power loss, which here means forgetting that an
//! order was sent. IMMEDIATE, since a transaction that reads first and writes later loses to another writer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sqlx::sqlite::SqlitePool;
use sqlx::{Row, Sqlite, Transaction};

use crate::model::{
    CertificateId, ChannelId, Delivery, Failures, Heard, Identity, IssuerId, JobName, JobRun,
    KnownRevision, Letter, Order, OrderClosing, OrderEvent, OrderId, OrderPhase, OrderStep, Post,
    Relied, Rollout, RolloutEvent, RolloutId, RolloutPhase, RolloutStep, Snapshot, Started,
    StepFailure, TargetId, TargetState, Timestamp, WatchId, WatchState,
};
use crate::store::codec::encode;
use crate::store::purchases;
use crate::store::rows::{
    Event, ORDER, ROLLOUT, commit, count, fault, insert_revision, open_error, query, read_open,
    read_open_of, subject, write_certificate, write_open, write_target,
};
use crate::store::sqlite_read::Alerts;
use crate::store::{
    BoxFuture, CertificateChange, Claimed, HistoryEntry, MailsSent, OrderAdvance, PostEntry,
    RolloutAdvance, Slips, Store, StoreError, StoredAlert, Told, Touched,
};

/// The journal of one state directory.
pub struct SqliteStore {
    pub(crate) pool: SqlitePool,
}

impl SqliteStore {
    /// Takes the write lock and keeps it until the answer is dropped: for tests of what readers do meanwhile.
    ///
    /// # Errors
    /// [`StoreError::Query`].
    #[doc(hidden)]
    pub async fn hold_write_lock(&self) -> Result<impl Sized + '_, StoreError> {
        self.begin("hold the write lock").await
    }

    pub(super) async fn begin(
        &self,
        what: &'static str,
    ) -> Result<Transaction<'_, Sqlite>, StoreError> {
        fault("journal.begin").map_err(query(what))?;
        let begun = self.pool.begin_with("BEGIN IMMEDIATE").await;
        begun.map_err(query(what))
    }
}

impl Store for SqliteStore {
    fn snapshot(&self) -> BoxFuture<'_, Snapshot> {
        Box::pin(self.read_snapshot())
    }

    fn refresh<'a>(
        &'a self,
        snapshot: &'a mut Snapshot,
        touched: &'a Touched,
    ) -> BoxFuture<'a, bool> {
        Box::pin(self.read_touched(snapshot, touched))
    }

    fn data_version(&self) -> BoxFuture<'_, i64> {
        Box::pin(async move {
            let row = sqlx::query("PRAGMA data_version")
                .fetch_one(&self.pool)
                .await
                .map_err(query("read the data version"))?;
            Ok(row.get(0))
        })
    }

    fn open_order<'a>(&'a self, order: &'a Order) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            const WHAT: &str = "open an order";
            let mut tx = self.begin(WHAT).await?;
            let body = encode("orders.body", order)?;
            sqlx::query(
                "INSERT INTO orders (id, certificate, body, opened_at) VALUES ($1, $2, $3, $4)",
            )
            .bind(order.id.as_str())
            .bind(order.certificate.as_str())
            .bind(body)
            .bind(order.opened_at.0)
            .execute(&mut *tx)
            .await
            .map_err(open_error(WHAT, order.certificate.as_str()))?;
            subject(&mut tx, &order.certificate, ORDER, order.id.as_str()).await?;
            let message = format!("order opened: {}", order.reason);
            let event = Event::new(
                ORDER,
                order.id.as_str(),
                order.opened_at,
                "opened",
                order.phase.code(),
            );
            event.message(&message).insert(&mut tx).await?;
            commit(tx, WHAT).await
        })
    }

    fn order_started<'a>(
        &'a self,
        id: &'a OrderId,
        step: OrderStep,
        at: Timestamp,
    ) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            const WHAT: &str = "start a step of an order";
            let mut tx = self.begin(WHAT).await?;
            let mut order: Order = read_open(&mut tx, ORDER, id.as_str()).await?;
            order.started = Some(Started { step, at });
            write_open(&mut tx, ORDER, id.as_str(), &order, None).await?;
            if step == OrderStep::Buy {
                purchases::began(&mut tx, &order, at).await?;
            }
            Event::new(ORDER, id.as_str(), at, "started", order.phase.code())
                .step(step.code())
                .insert(&mut tx)
                .await?;
            commit(tx, WHAT).await
        })
    }

    fn order_advanced<'a>(&'a self, advance: &'a OrderAdvance) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            const WHAT: &str = "write an order's outcome";
            let id = advance.id.as_str();
            let mut tx = self.begin(WHAT).await?;
            let mut order: Order = read_open(&mut tx, ORDER, id).await?;
            let (before, event) = (&order.phase, &advance.event);
            purchases::ended(&mut tx, &advance.id, before, advance.step, event).await?;
            order.phase = advance.phase.clone();
            order.started = None;
            order.failures = Failures::default();
            let closed = matches!(order.phase, OrderPhase::Closed { .. }).then_some(advance.at);
            write_open(&mut tx, ORDER, id, &order, closed).await?;
            if let Some(revision) = &advance.revision {
                insert_revision(&mut tx, id, revision).await?;
            }
            if let Some((certificate, state)) = &advance.certificate {
                write_certificate(&mut tx, certificate, state).await?;
            }
            let kind = match &advance.event {
                OrderEvent::AnswerLost { .. }
                | OrderEvent::PurchaseLost { .. }
                | OrderEvent::LeftBehind { .. }
                | OrderEvent::Closed {
                    closing: OrderClosing::Failed { .. } | OrderClosing::Abandoned { .. },
                } => "failed",
                OrderEvent::Claimed { .. }
                | OrderEvent::Confirmed
                | OrderEvent::Yielded { .. }
                | OrderEvent::Adopted { .. }
                | OrderEvent::Wanting { .. }
                | OrderEvent::NothingFree { .. }
                | OrderEvent::Bought { .. }
                | OrderEvent::NotBought { .. }
                | OrderEvent::PurchaseUntold { .. }
                | OrderEvent::DefinitelyNotBought
                | OrderEvent::ProofWanted { .. }
                | OrderEvent::Published { .. }
                | OrderEvent::Visible { .. }
                | OrderEvent::Retracted
                | OrderEvent::Withdrawn
                | OrderEvent::KeyStored { .. }
                | OrderEvent::Accepted { .. }
                | OrderEvent::Supplemented { .. }
                | OrderEvent::Absent { .. }
                | OrderEvent::DefinitelyAbsent
                | OrderEvent::NotYet { .. }
                | OrderEvent::Issued { .. }
                | OrderEvent::Closed {
                    closing: OrderClosing::Fulfilled { .. },
                } => "succeeded",
            };
            let event = encode("events.event", &advance.event)?;
            Event::new(ORDER, id, advance.at, kind, order.phase.code())
                .step_of(advance.step.map(OrderStep::code))
                .message(&advance.message)
                .event(&event)
                .insert(&mut tx)
                .await?;
            commit(tx, WHAT).await
        })
    }

    fn order_failed<'a>(
        &'a self,
        id: &'a OrderId,
        step: OrderStep,
        failure: &'a StepFailure,
    ) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            const WHAT: &str = "write an order's failure";
            let mut tx = self.begin(WHAT).await?;
            let mut order: Order = read_open(&mut tx, ORDER, id.as_str()).await?;
            order.started = None;
            count(&mut order.failures, failure);
            write_open(&mut tx, ORDER, id.as_str(), &order, None).await?;
            if step == OrderStep::Buy {
                purchases::refused(&mut tx, id).await?;
            }
            Event::new(ORDER, id.as_str(), failure.at, "failed", order.phase.code())
                .step(step.code())
                .message(&failure.message)
                .insert(&mut tx)
                .await?;
            commit(tx, WHAT).await
        })
    }

    fn open_rollout<'a>(&'a self, rollout: &'a Rollout) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            const WHAT: &str = "open a rollout";
            let mut tx = self.begin(WHAT).await?;
            let body = encode("rollouts.body", rollout)?;
            sqlx::query(
                "INSERT INTO rollouts (id, target, body, opened_at) VALUES ($1, $2, $3, $4)",
            )
            .bind(rollout.id.as_str())
            .bind(rollout.target.as_str())
            .bind(body)
            .bind(rollout.opened_at.0)
            .execute(&mut *tx)
            .await
            .map_err(open_error(WHAT, rollout.target.as_str()))?;
            // Those that change; an unchanged member's history is not about this rollout.
            for certificate in rollout.reasons.keys() {
                subject(&mut tx, certificate, ROLLOUT, rollout.id.as_str()).await?;
            }
            let reasons: BTreeSet<String> =
                rollout.reasons.values().map(ToString::to_string).collect();
            let reasons: Vec<String> = reasons.into_iter().collect();
            let message = format!("rollout opened: {}", reasons.join("; "));
            Event::new(
                ROLLOUT,
                rollout.id.as_str(),
                rollout.opened_at,
                "opened",
                rollout.phase.code(),
            )
            .message(&message)
            .insert(&mut tx)
            .await?;
            commit(tx, WHAT).await
        })
    }

    fn rollout_started<'a>(
        &'a self,
        id: &'a RolloutId,
        step: RolloutStep,
        at: Timestamp,
    ) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            const WHAT: &str = "start a step of a rollout";
            let mut tx = self.begin(WHAT).await?;
            let mut rollout: Rollout = read_open(&mut tx, ROLLOUT, id.as_str()).await?;
            rollout.started = Some(Started { step, at });
            write_open(&mut tx, ROLLOUT, id.as_str(), &rollout, None).await?;
            Event::new(ROLLOUT, id.as_str(), at, "started", rollout.phase.code())
                .step(step.code())
                .insert(&mut tx)
                .await?;
            commit(tx, WHAT).await
        })
    }

    fn rollout_advanced<'a>(&'a self, advance: &'a RolloutAdvance) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            const WHAT: &str = "write a rollout's outcome";
            let id = advance.id.as_str();
            let mut tx = self.begin(WHAT).await?;
            let mut rollout = advance.rollout.clone();
            rollout.started = None;
            rollout.failures = Failures::default();
            let closed = matches!(rollout.phase, RolloutPhase::Closed { .. }).then_some(advance.at);
            write_open(&mut tx, ROLLOUT, id, &rollout, closed).await?;
            if let Some(state) = &advance.target {
                write_target(&mut tx, &rollout.target, state).await?;
            }
            let kind = if matches!(&advance.event, RolloutEvent::Failed { .. }) {
                "failed"
            } else {
                "succeeded"
            };
            let event = encode("events.event", &advance.event)?;
            Event::new(ROLLOUT, id, advance.at, kind, rollout.phase.code())
                .step_of(advance.step.map(RolloutStep::code))
                .message(&advance.message)
                .output(&advance.output)
                .event(&event)
                .insert(&mut tx)
                .await?;
            commit(tx, WHAT).await
        })
    }

    fn rollout_failed<'a>(
        &'a self,
        id: &'a RolloutId,
        step: RolloutStep,
        failure: &'a StepFailure,
        output: &'a str,
    ) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            const WHAT: &str = "write a rollout's failure";
            let mut tx = self.begin(WHAT).await?;
            let mut rollout: Rollout = read_open(&mut tx, ROLLOUT, id.as_str()).await?;
            rollout.started = None;
            count(&mut rollout.failures, failure);
            write_open(&mut tx, ROLLOUT, id.as_str(), &rollout, None).await?;
            Event::new(
                ROLLOUT,
                id.as_str(),
                failure.at,
                "failed",
                rollout.phase.code(),
            )
            .step(step.code())
            .message(&failure.message)
            .output(output)
            .insert(&mut tx)
            .await?;
            commit(tx, WHAT).await
        })
    }

    fn next_generation<'a>(&'a self, target: &'a TargetId) -> BoxFuture<'a, u64> {
        Box::pin(async move {
            const WHAT: &str = "number a generation";
            let state = encode("targets.state", &TargetState::default())?;
            let row = sqlx::query(
                "INSERT INTO targets (id, state, last_generation) VALUES ($1, $2, 1)
                 ON CONFLICT (id) DO UPDATE SET last_generation = last_generation + 1
                 RETURNING last_generation",
            )
            .bind(target.as_str())
            .bind(state)
            .fetch_one(&self.pool)
            .await
            .map_err(query(WHAT))?;
            let number: i64 = row.get(0);
            Ok(u64::try_from(number).unwrap_or(0))
        })
    }

    fn change_certificate<'a>(
        &'a self,
        id: &'a CertificateId,
        change: CertificateChange,
    ) -> BoxFuture<'a, ()> {
        Box::pin(self.write_change(id, change))
    }

    fn hurry_rollout<'a>(&'a self, target: &'a TargetId) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            const WHAT: &str = "hurry a rollout";
            const SQL: &str = "SELECT body FROM rollouts WHERE target = $1 AND closed_at IS NULL";
            let mut tx = self.begin(WHAT).await?;
            let open: Option<Rollout> = read_open_of(&mut tx, SQL, target.as_str()).await?;
            if let Some(mut rollout) = open {
                rollout.failures = Failures::default();
                write_open(&mut tx, ROLLOUT, rollout.id.as_str(), &rollout, None).await?;
            }
            commit(tx, WHAT).await
        })
    }

    fn change_target<'a>(&'a self, id: &'a TargetId, state: &'a TargetState) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            const WHAT: &str = "change a target";
            let mut tx = self.begin(WHAT).await?;
            write_target(&mut tx, id, state).await?;
            commit(tx, WHAT).await
        })
    }

    fn revisions<'a>(
        &'a self,
        certificate: &'a CertificateId,
    ) -> BoxFuture<'a, Vec<KnownRevision>> {
        Box::pin(self.read_revisions(certificate))
    }

    fn history<'a>(&'a self, certificate: &'a CertificateId) -> BoxFuture<'a, Vec<HistoryEntry>> {
        Box::pin(self.read_history(certificate))
    }

    fn raise_alert<'a>(&'a self, alert: &'a StoredAlert, posts: &'a [Post]) -> BoxFuture<'a, bool> {
        Box::pin(self.write_alert(alert, posts))
    }

    fn resolve_alert<'a>(
        &'a self,
        key: &'a str,
        at: Timestamp,
        posts: &'a [Post],
    ) -> BoxFuture<'a, bool> {
        Box::pin(self.write_resolved(key, at, posts))
    }

    fn job_ran<'a>(&'a self, name: JobName, run: &'a JobRun) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            sqlx::query("INSERT INTO jobs (name, run) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET run = excluded.run")
                .bind(name.as_str())
                .bind(encode("jobs.run", run)?)
                .execute(&self.pool)
                .await
                .map_err(query("write the run of a job"))?;
            Ok(())
        })
    }

    fn watch_seen<'a>(
        &'a self,
        id: &'a WatchId,
        state: Option<&'a WatchState>,
    ) -> BoxFuture<'a, ()> {
        Box::pin(self.write_watch(id, state))
    }

    fn forget(&self, before: Timestamp, most: i64) -> BoxFuture<'_, u64> {
        Box::pin(self.forget_events(before, most))
    }

    fn time_heard(&self, heard: Heard) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            sqlx::query("INSERT INTO clock (one, heard) VALUES (1, $1) ON CONFLICT (one) DO UPDATE SET heard = excluded.heard")
                .bind(encode("clock.heard", &heard)?)
                .execute(&self.pool)
                .await
                .map_err(query("write what was heard of the time"))?;
            Ok(())
        })
    }

    fn open_alerts(&self) -> BoxFuture<'_, Vec<StoredAlert>> {
        Box::pin(self.read_alerts(Alerts::Open))
    }

    fn undelivered_alerts(&self) -> BoxFuture<'_, Vec<StoredAlert>> {
        Box::pin(self.read_alerts(Alerts::Undelivered))
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            // The last connection puts the log into the file and removes it.
            self.pool.close().await;
            Ok(())
        })
    }

    fn alert_delivered<'a>(&'a self, key: &'a str, at: Timestamp) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            sqlx::query("UPDATE alerts SET delivered_at = $1 WHERE key = $2")
                .bind(at.0)
                .bind(key)
                .execute(&self.pool)
                .await
                .map_err(query("mark an alert as delivered"))?;
            Ok(())
        })
    }

    fn told(&self) -> BoxFuture<'_, Told> {
        Box::pin(self.read_told())
    }

    fn queue_posts<'a>(&'a self, posts: &'a [Post]) -> BoxFuture<'a, ()> {
        Box::pin(self.write_posts(posts))
    }

    fn job_run(&self, name: JobName) -> BoxFuture<'_, Option<JobRun>> {
        Box::pin(self.read_job(name))
    }

    fn issued(
        &self,
        since: Timestamp,
        most: u32,
    ) -> BoxFuture<'_, Vec<(CertificateId, u32, Timestamp)>> {
        Box::pin(self.read_issued(since, most))
    }

    fn rolled_out(
        &self,
        since: Timestamp,
        most: u32,
    ) -> BoxFuture<'_, Vec<(TargetId, Timestamp, bool)>> {
        Box::pin(self.read_rolled_out(since, most))
    }

    fn relied<'a>(&'a self, what: &'a Relied, ends: Timestamp) -> BoxFuture<'a, ()> {
        Box::pin(self.write_relied(what, ends))
    }

    fn answered<'a>(&'a self, issuer: &'a IssuerId, at: Timestamp) -> BoxFuture<'a, ()> {
        Box::pin(self.write_answered(issuer, at))
    }

    fn slips(&self, now: Timestamp) -> BoxFuture<'_, Slips> {
        Box::pin(self.read_slips(now))
    }

    fn letters<'a>(&'a self, numbers: &'a [i64]) -> BoxFuture<'a, (Vec<Letter>, Vec<String>)> {
        Box::pin(self.read_letters(numbers))
    }

    fn seal<'a>(&'a self, numbers: &'a [i64], mail: &'a str) -> BoxFuture<'a, ()> {
        Box::pin(self.write_sealed(numbers, mail))
    }

    fn mails_sent(&self, since: Timestamp) -> BoxFuture<'_, MailsSent> {
        Box::pin(self.read_mails_sent(since))
    }

    fn next_post(&self, now: Timestamp) -> BoxFuture<'_, Option<Timestamp>> {
        Box::pin(self.read_next_post(now))
    }

    fn posts_tried<'a>(
        &'a self,
        outcomes: &'a [(i64, Delivery)],
        at: Timestamp,
    ) -> BoxFuture<'a, ()> {
        Box::pin(self.write_tried(outcomes, at))
    }

    fn passed<'a>(
        &'a self,
        recipients: &'a [(ChannelId, String)],
        letter: &'a Letter,
        at: Timestamp,
    ) -> BoxFuture<'a, ()> {
        Box::pin(self.write_passed(recipients, letter, at))
    }

    fn forget_posts(&self, before: Timestamp) -> BoxFuture<'_, ()> {
        Box::pin(self.delete_posts(before))
    }

    fn posts(&self, most: u32) -> BoxFuture<'_, Vec<PostEntry>> {
        Box::pin(self.read_posts(most))
    }

    fn identity(&self) -> BoxFuture<'_, Option<Identity>> {
        Box::pin(self.read_identity())
    }

    fn identify<'a>(&'a self, identity: &'a Identity) -> BoxFuture<'a, ()> {
        Box::pin(self.write_identity(identity))
    }

    fn claim<'a>(&'a self, identity: &'a Identity, at: Timestamp) -> BoxFuture<'a, Claimed> {
        Box::pin(self.write_claim(identity, at))
    }

    fn bought(&self) -> BoxFuture<'_, BTreeMap<OrderId, Timestamp>> {
        Box::pin(self.read_bought())
    }

    fn another(&self) -> BoxFuture<'_, Arc<dyn Store>> {
        Box::pin(async move {
            let store: Arc<dyn Store> = Arc::new(self.open_another().await?);
            Ok(store)
        })
    }
}
