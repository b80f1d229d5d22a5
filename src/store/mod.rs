//! What renewd remembers: the journal of orders and rollouts, and what follows from it.
//!
//! One transaction writes the event and the new phase. The intent (`started`) is written before the effect.
//! `engine` writes, `plan` reads it as part of the snapshot; nobody else knows how it is kept.

mod codec;
mod rows;
mod sqlite;
mod sqlite_open;
mod sqlite_read;

use std::collections::BTreeSet;
use std::path::PathBuf;

use sqlx::migrate::MigrateError;

pub use sqlite::SqliteStore;

use crate::model::{
    CertificateId, CertificateState, Fingerprint, IssuerId, JobName, JobRun, Offer, Order,
    OrderEvent, OrderId, OrderPhase, OrderStep, ProbeReport, RevisionFacts, RevisionId, Rollout,
    RolloutEvent, RolloutId, RolloutStep, Snapshot, StepFailure, TargetId, TargetState, Timestamp,
};

/// An async answer of a store.
pub type BoxFuture<'a, T> =
    std::pin::Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// The journal of one state directory.
pub trait Store: Send + Sync {
    /// Everything the planner needs.
    fn snapshot(&self) -> BoxFuture<'_, Snapshot>;

    /// Parts of the snapshot anew, after something may have changed; answers whether anything did.
    fn refresh<'a>(
        &'a self,
        snapshot: &'a mut Snapshot,
        touched: &'a Touched,
    ) -> BoxFuture<'a, bool>;

    /// A number that changes with every write of anybody.
    fn data_version(&self) -> BoxFuture<'_, i64>;

    /// Opens an order; [`StoreError::AlreadyOpen`] when its certificate has one.
    fn open_order<'a>(&'a self, order: &'a Order) -> BoxFuture<'a, ()>;

    /// The intent of a step, before its effect.
    fn order_started<'a>(
        &'a self,
        id: &'a OrderId,
        step: OrderStep,
        at: Timestamp,
    ) -> BoxFuture<'a, ()>;

    /// The outcome of a step: event, new phase and what follows from it, in one transaction.
    fn order_advanced<'a>(&'a self, advance: &'a OrderAdvance) -> BoxFuture<'a, ()>;

    /// A step failed and will be tried again.
    fn order_failed<'a>(
        &'a self,
        id: &'a OrderId,
        step: OrderStep,
        failure: &'a StepFailure,
    ) -> BoxFuture<'a, ()>;

    /// Opens a rollout; [`StoreError::AlreadyOpen`] when its target has one.
    fn open_rollout<'a>(&'a self, rollout: &'a Rollout) -> BoxFuture<'a, ()>;

    /// The intent of a step, before its effect.
    fn rollout_started<'a>(
        &'a self,
        id: &'a RolloutId,
        step: RolloutStep,
        at: Timestamp,
    ) -> BoxFuture<'a, ()>;

    /// The outcome of a step: event, new phase and what follows from it, in one transaction.
    fn rollout_advanced<'a>(&'a self, advance: &'a RolloutAdvance) -> BoxFuture<'a, ()>;

    /// A step failed and will be tried again.
    fn rollout_failed<'a>(
        &'a self,
        id: &'a RolloutId,
        step: RolloutStep,
        failure: &'a StepFailure,
        output: &'a str,
    ) -> BoxFuture<'a, ()>;

    /// The number of the next generation of a target; never given twice.
    fn next_generation<'a>(&'a self, target: &'a TargetId) -> BoxFuture<'a, u64>;

    /// Changes what is known of a certificate.
    fn change_certificate<'a>(
        &'a self,
        id: &'a CertificateId,
        change: CertificateChange,
    ) -> BoxFuture<'a, ()>;

    /// Forgets the failures of a target's open rollout, so that its step is tried at once.
    fn hurry_rollout<'a>(&'a self, target: &'a TargetId) -> BoxFuture<'a, ()>;

    /// Changes what is known of a target.
    fn change_target<'a>(&'a self, id: &'a TargetId, state: &'a TargetState) -> BoxFuture<'a, ()>;

    /// Every revision of a certificate, newest first.
    fn revisions<'a>(
        &'a self,
        certificate: &'a CertificateId,
    ) -> BoxFuture<'a, Vec<(IssuerId, RevisionFacts)>>;

    /// Every event of every order and rollout of a certificate, oldest first.
    fn history<'a>(&'a self, certificate: &'a CertificateId) -> BoxFuture<'a, Vec<HistoryEntry>>;

    /// Raises an alert; the same key is raised once until it is resolved. Answers whether it is new.
    fn raise_alert<'a>(&'a self, alert: &'a StoredAlert) -> BoxFuture<'a, bool>;

    /// Resolves every open alert whose key is not in `standing`; answers those that were resolved.
    fn resolve_alerts<'a>(
        &'a self,
        standing: &'a BTreeSet<String>,
        at: Timestamp,
    ) -> BoxFuture<'a, Vec<StoredAlert>>;

    /// Remembers the last run of a job.
    fn job_ran<'a>(&'a self, name: JobName, run: &'a JobRun) -> BoxFuture<'a, ()>;

    /// Open alerts.
    fn open_alerts(&self) -> BoxFuture<'_, Vec<StoredAlert>>;

    /// Alerts that no notifier has delivered yet.
    fn undelivered_alerts(&self) -> BoxFuture<'_, Vec<StoredAlert>>;

    /// Puts everything in order for whoever opens the journal next; nothing may be asked of it afterwards.
    fn close(&self) -> BoxFuture<'_, ()>;

    /// A notifier delivered it.
    fn alert_delivered<'a>(&'a self, key: &'a str, at: Timestamp) -> BoxFuture<'a, ()>;
}

/// What an executed action may have changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Touched {
    /// Certificates.
    pub certificates: BTreeSet<CertificateId>,
    /// Targets.
    pub targets: BTreeSet<TargetId>,
    /// Orders.
    pub orders: BTreeSet<OrderId>,
    /// Rollouts.
    pub rollouts: BTreeSet<RolloutId>,
}

impl Touched {
    /// Both.
    pub fn merge(&mut self, other: Self) {
        self.certificates.extend(other.certificates);
        self.targets.extend(other.targets);
        self.orders.extend(other.orders);
        self.rollouts.extend(other.rollouts);
    }
}

/// The outcome of an order's step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderAdvance {
    /// Which order.
    pub id: OrderId,
    /// When.
    pub at: Timestamp,
    /// By which step; `None` when the planner closed it.
    pub step: Option<OrderStep>,
    /// What was found out.
    pub event: OrderEvent,
    /// By the order machine.
    pub phase: OrderPhase,
    /// One line for people.
    pub message: String,
    /// A revision that was stored on disk by the step.
    pub revision: Option<(CertificateId, IssuerId, RevisionFacts)>,
    /// What the certificate is after it, where that changes.
    pub certificate: Option<(CertificateId, CertificateState)>,
}

/// The outcome of a rollout's step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RolloutAdvance {
    /// Which rollout.
    pub id: RolloutId,
    /// When.
    pub at: Timestamp,
    /// By which step.
    pub step: Option<RolloutStep>,
    /// What was found out.
    pub event: RolloutEvent,
    /// The rollout as it is after it, its phase by the rollout machine.
    pub rollout: Rollout,
    /// One line for people.
    pub message: String,
    /// Captured output of a command.
    pub output: String,
    /// What the target is after it, where that changes.
    pub target: Option<TargetState>,
}

/// A change of what is known of a certificate, beside orders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CertificateChange {
    /// A follower's account was asked.
    Offer {
        /// What it said.
        offer: Offer,
        /// Digest of the certificate's policy whose names were asked for.
        under: Fingerprint,
    },
    /// Asking a follower's account failed.
    SurveyFailed(StepFailure),
    /// A person asked for a new revision; clears what blocks one, also failures of the open order.
    Forced,
    /// Whether the stored revision can be used.
    Unusable(Option<String>),
}

/// One event of an order or a rollout.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct HistoryEntry {
    /// When.
    pub at: Timestamp,
    /// `order` or `rollout`.
    pub machine: String,
    /// Its id.
    pub id: String,
    /// Target of a rollout.
    pub target: Option<String>,
    /// `opened`, `started`, `succeeded`, `failed`.
    pub kind: String,
    /// Which step.
    pub step: Option<String>,
    /// The phase after it.
    pub phase: String,
    /// One line for people.
    pub message: String,
    /// Captured output of a command; empty where there was none.
    pub output: String,
    /// What handshakes showed, where the step was a proof; one for each name that was asked for.
    pub probes: Vec<ProbeReport>,
}

/// An alert as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct StoredAlert {
    /// What it is about; one open alert per key.
    pub key: String,
    /// `critical`, `warning` or `notice`.
    pub severity: String,
    /// One line.
    pub title: String,
    /// What happened and what to do.
    pub text: String,
    /// When.
    pub raised_at: Timestamp,
}

/// Why the journal could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Opening or migrating it failed.
    #[error("failed to open the journal {path}")]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: sqlx::Error,
    },
    /// The schema could not be brought up to date.
    #[error("failed to bring the schema of the journal {path} up to date")]
    Migrate {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: MigrateError,
    },
    /// A query failed.
    #[error("failed to {what} in the journal")]
    Query {
        /// What was attempted.
        what: &'static str,
        /// Why.
        #[source]
        source: sqlx::Error,
    },
    /// A value could not be written as JSON.
    #[error("failed to write the journal column {what}")]
    Encode {
        /// Which column.
        what: &'static str,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A value could not be read.
    #[error("failed to read the journal column {what}")]
    Decode {
        /// Which column.
        what: &'static str,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// Written by a newer renewd.
    #[error(
        "the journal column {what} has version {found}, which this renewd does not know; use a newer renewd"
    )]
    Version {
        /// Which column.
        what: &'static str,
        /// Which version.
        found: u32,
    },
    /// A certificate has an open order, or a target an open rollout.
    #[error("{0} has one open already")]
    AlreadyOpen(String),
    /// The row is not there (any more).
    #[error("the journal does not have {0}")]
    Missing(String),
    /// An id in the journal is not one.
    #[error("the journal holds the impossible id {0:?}")]
    Id(String),
}

impl StoreError {
    /// Whether the cause is a full or read-only disk.
    #[must_use]
    pub fn is_full_or_read_only(&self) -> bool {
        // SQLITE_READONLY, SQLITE_IOERR, SQLITE_FULL.
        matches!(self.sqlite_code(), Some(8 | 10 | 13))
    }

    /// Whether the file is no journal, or no whole one.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        // SQLITE_CORRUPT, SQLITE_NOTADB.
        matches!(self.sqlite_code(), Some(11 | 26))
    }

    /// The primary result code; extended ones have theirs in the lowest byte.
    fn sqlite_code(&self) -> Option<u32> {
        let source = match self {
            Self::Query { source, .. } | Self::Open { source, .. } => source,
            Self::Migrate { source, .. } => match source {
                MigrateError::Execute(source) | MigrateError::ExecuteMigration(source, _) => source,
                _ => return None,
            },
            Self::Encode { .. }
            | Self::Decode { .. }
            | Self::Version { .. }
            | Self::AlreadyOpen(_)
            | Self::Missing(_)
            | Self::Id(_) => return None,
        };
        let code = source.as_database_error()?.code()?.parse::<u32>().ok()?;
        Some(code & 0xff)
    }
}

/// The revisions of a certificate that somebody may still serve or return to, and so must stay on disk.
#[must_use]
pub fn referenced_revisions(
    snapshot: &Snapshot,
    certificate: &CertificateId,
) -> BTreeSet<RevisionId> {
    let mut found = BTreeSet::new();
    for target in snapshot.targets.values() {
        found.extend(target.live.get(certificate).cloned());
        let wanted = target.wanted.as_ref().and_then(|w| w.get(certificate));
        found.extend(wanted.cloned());
    }
    for rollout in snapshot.rollouts.values() {
        found.extend(rollout.revisions.get(certificate).cloned());
        found.extend(rollout.previous.get(certificate).cloned());
    }
    if let Some(state) = snapshot.certificates.get(certificate) {
        found.extend(state.newest.iter().map(|newest| newest.id.clone()));
        found.extend(state.earlier.iter().map(|earlier| earlier.id.clone()));
    }
    found
}
