//! What renewd remembers: the journal of orders and rollouts, and what follows from it.
//!
//! One transaction writes the event and the new phase. The intent (`started`) is written before the effect.
//! `engine` writes, `plan` reads it as part of the snapshot; nobody else knows how it is kept.

mod change;
mod codec;
mod error;
mod foreseen;
mod keep;
mod outbox;
mod past;
mod prune;
mod purchases;
mod rows;
mod sqlite;
mod sqlite_change;
mod sqlite_open;
mod sqlite_read;
mod watches;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use change::{CertificateChange, Claimed};
pub use error::StoreError;
pub use foreseen::Foreseen;
pub use keep::{is_over, referenced_revisions};
pub use sqlite::SqliteStore;
pub use sqlite_open::journal;

use crate::model::{
    CertificateId, CertificateState, ChannelId, Delivery, Heard, Identity, IssuerId, JobName,
    JobRun, KnownRevision, Letter, Order, OrderEvent, OrderId, OrderPhase, OrderStep, Post,
    ProbeReport, Relied, RevisionFacts, Rollout, RolloutEvent, RolloutId, RolloutStep, Slip,
    Snapshot, StepFailure, TargetId, TargetState, Timestamp, WatchId, WatchState,
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
    fn revisions<'a>(&'a self, certificate: &'a CertificateId)
    -> BoxFuture<'a, Vec<KnownRevision>>;

    /// Every event of every order and rollout of a certificate, oldest first.
    fn history<'a>(&'a self, certificate: &'a CertificateId) -> BoxFuture<'a, Vec<HistoryEntry>>;

    /// Raises an alert and queues the letters about it, in one transaction. An open one of the same key is kept true, and
    /// told again only when its step has grown. Answers whether it is new, or worse.
    fn raise_alert<'a>(&'a self, alert: &'a StoredAlert, posts: &'a [Post]) -> BoxFuture<'a, bool>;

    /// Resolves an open alert and queues the letters about it, in one transaction. Answers whether there was one.
    fn resolve_alert<'a>(
        &'a self,
        key: &'a str,
        at: Timestamp,
        posts: &'a [Post],
    ) -> BoxFuture<'a, bool>;

    /// Queues letters about no alert. One that was queued before, of the same period, stays as it is.
    fn queue_posts<'a>(&'a self, posts: &'a [Post]) -> BoxFuture<'a, ()>;

    /// The last run of a job.
    fn job_run(&self, name: JobName) -> BoxFuture<'_, Option<JobRun>>;

    /// How often certificates were issued since a moment, and when last.
    fn issued(
        &self,
        since: Timestamp,
        most: u32,
    ) -> BoxFuture<'_, Vec<(CertificateId, u32, Timestamp)>>;

    /// Rollouts that ended since a moment: where, when, and whether the new set is in place.
    fn rolled_out(
        &self,
        since: Timestamp,
        most: u32,
    ) -> BoxFuture<'_, Vec<(TargetId, Timestamp, bool)>>;

    /// Remembers when something that renewd itself relies on ends.
    fn relied<'a>(&'a self, what: &'a Relied, ends: Timestamp) -> BoxFuture<'a, ()>;

    /// Remembers that an issuer answered.
    fn answered<'a>(&'a self, issuer: &'a IssuerId, at: Timestamp) -> BoxFuture<'a, ()>;

    /// Remembers the last run of a job.
    fn job_ran<'a>(&'a self, name: JobName, run: &'a JobRun) -> BoxFuture<'a, ()>;

    /// Remembers what was seen of what is watched; `None` forgets it, where it left the policy.
    fn watch_seen<'a>(
        &'a self,
        id: &'a WatchId,
        state: Option<&'a WatchState>,
    ) -> BoxFuture<'a, ()>;

    /// Forgets events from before a moment and all but so many of the latest; answers how many went.
    fn forget(&self, before: Timestamp, most: i64) -> BoxFuture<'_, u64>;

    /// Remembers what an issuer said of the time, in place of what it said before.
    fn time_heard(&self, heard: Heard) -> BoxFuture<'_, ()>;

    /// Open alerts.
    fn open_alerts(&self) -> BoxFuture<'_, Vec<StoredAlert>>;

    /// Alerts that no notifier has delivered yet.
    fn undelivered_alerts(&self) -> BoxFuture<'_, Vec<StoredAlert>>;

    /// Puts everything in order for whoever opens the journal next; nothing may be asked of it afterwards.
    fn close(&self) -> BoxFuture<'_, ()>;

    /// It was printed or logged.
    fn alert_delivered<'a>(&'a self, key: &'a str, at: Timestamp) -> BoxFuture<'a, ()>;

    /// Who was told, or will be, of the alerts that are open: not those whose letter was refused for good, given up or withdrawn.
    fn told(&self) -> BoxFuture<'_, Told>;

    /// What waits for those for whom a letter's time has come, in the order in which it was queued.
    fn slips(&self, now: Timestamp) -> BoxFuture<'_, Slips>;

    /// Letters by their numbers, and the Message-IDs of the mails that told of the same alerts first, the oldest first.
    fn letters<'a>(&'a self, numbers: &'a [i64]) -> BoxFuture<'a, (Vec<Letter>, Vec<String>)>;

    /// Writes down which mail letters are about to leave with, so that the same one is sent again if that is not known.
    fn seal<'a>(&'a self, numbers: &'a [i64], mail: &'a str) -> BoxFuture<'a, ()>;

    /// When mails were sent since a moment, the oldest first.
    fn mails_sent(&self, since: Timestamp) -> BoxFuture<'_, MailsSent>;

    /// When the next letter is due, if any waits.
    fn next_post(&self, now: Timestamp) -> BoxFuture<'_, Option<Timestamp>>;

    /// How attempts ended, by the letters' numbers.
    fn posts_tried<'a>(
        &'a self,
        outcomes: &'a [(i64, Delivery)],
        at: Timestamp,
    ) -> BoxFuture<'a, ()>;

    /// A letter past the outbox was taken over for these recipients: where letters to them were refused before, those that
    /// wait are due, and the latest that is known of them is this one.
    fn passed<'a>(
        &'a self,
        recipients: &'a [(ChannelId, String)],
        letter: &'a Letter,
        at: Timestamp,
    ) -> BoxFuture<'a, ()>;

    /// Forgets letters that were done with before a moment and whose alert is over.
    fn forget_posts(&self, before: Timestamp) -> BoxFuture<'_, ()>;

    /// The letters that were queued last, the latest first, with their state and how the last attempt ended.
    fn posts(&self, most: u32) -> BoxFuture<'_, Vec<PostEntry>>;

    /// Who this journal is; `None` before it was said.
    fn identity(&self) -> BoxFuture<'_, Option<Identity>>;

    /// Says who it is, where nobody did before.
    fn identify<'a>(&'a self, identity: &'a Identity) -> BoxFuture<'a, ()>;

    /// Says anew who it is, after a person decided that it may buy. Orders of public certificates that have applied for
    /// nothing yet are given up, since their ids may be those of another journal, too; purchases that were not known are
    /// purchases of now.
    fn claim<'a>(&'a self, identity: &'a Identity, at: Timestamp) -> BoxFuture<'a, Claimed>;

    /// Orders that bought something, or tried to, and when they did so last.
    fn bought(&self) -> BoxFuture<'_, BTreeMap<OrderId, Timestamp>>;

    /// The same journal once more, for work beside that of this one.
    fn another(&self) -> BoxFuture<'_, Arc<dyn Store>>;
}

/// What waits, by channel and recipient.
pub type Slips = BTreeMap<(ChannelId, String), Vec<Slip>>;

/// By channel and recipient.
pub type MailsSent = BTreeMap<(ChannelId, String), Vec<Timestamp>>;

/// By alert, channel and recipient: the highest step that was told.
pub type Told = BTreeMap<String, BTreeMap<(ChannelId, String), u32>>;

/// A letter in the list of letters.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct PostEntry {
    /// By which way.
    pub channel: String,
    /// To whom.
    pub recipient: String,
    /// Of the alert.
    pub key: String,
    /// `raised`, `over`, `digest` or `test`.
    pub occasion: String,
    /// When it was queued.
    pub queued_at: Timestamp,
    /// `waiting`, `sent`, `refused`, `given-up`, `withdrawn` or `spared`.
    pub state: String,
    /// How often it was tried.
    pub attempts: u32,
    /// Of the next attempt, where one is to come.
    pub due_at: Option<Timestamp>,
    /// How the last attempt ended.
    pub said: String,
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

/// One event of an order or a rollout.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct HistoryEntry {
    /// When.
    pub at: Timestamp,
    /// `order`, `rollout`, `revocation`, `push` or `supplement`.
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
    /// From the intent of the step to this outcome; `None` for what is no outcome of a step.
    pub milliseconds: Option<u64>,
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
    /// How far it has come.
    pub step: u32,
    /// When.
    pub raised_at: Timestamp,
}
