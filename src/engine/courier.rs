//! Carries letters out of the outbox, outside of ticks: a mail server that hangs holds nothing else up.
//!
//! At least once: a letter counts as sent when the journal says so, and a process that dies in between sends it again,
//! with the same Message-ID. One courier at a time per state directory, by a lock of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::task::JoinSet;

use crate::engine::issuers::Resolve;
use crate::engine::{Engine, EngineError};
use crate::model::{Channel, ChannelId, Delivery, Seconds, Timestamp, Undelivered, UrlSource};
use crate::notify::{self, SendError};
use crate::plan::backoff;
use crate::store::{Store, StoreError};
use crate::sys::clock::Clock;
use crate::sys::fs::{Lock, LockError};
use crate::sys::{crash, error_chain};

/// Sends what is in the outbox of a state directory.
pub struct Courier {
    store: Arc<dyn Store>,
    channels: BTreeMap<ChannelId, Channel>,
    heartbeat: Option<UrlSource>,
    resolve: Resolve,
    clock: Arc<dyn Clock>,
    lock: PathBuf,
    /// Set when no further letter shall be begun.
    stop: AtomicBool,
}

/// What a round of deliveries came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Round {
    /// Letters that were taken over.
    pub sent: usize,
    /// Letters that were not.
    pub failed: usize,
    /// When the next one is due.
    pub next: Option<Timestamp>,
}

impl Engine {
    /// A courier with a journal of its own, where the policy has somebody to tell.
    ///
    /// # Errors
    /// When the journal cannot be opened once more.
    pub async fn courier(&self) -> Result<Option<Arc<Courier>>, EngineError> {
        let alerting = &self.policy.alerting;
        if alerting.channels.is_empty() && alerting.heartbeat.is_none() {
            return Ok(None);
        }
        Ok(Some(Arc::new(Courier {
            store: self.store.another().await?,
            channels: alerting.channels.clone(),
            heartbeat: alerting.heartbeat.clone(),
            resolve: Arc::clone(self.issuers.resolve()),
            clock: Arc::clone(&self.clock),
            lock: self.policy.state_dir.join("outbox.lock"),
            stop: AtomicBool::new(false),
        })))
    }
}

impl Courier {
    /// Tries every letter whose time has come, once. Nothing is done where another process is at it.
    ///
    /// # Errors
    /// When the journal cannot be read or written.
    pub async fn deliver(self: &Arc<Self>) -> Result<Round, StoreError> {
        let _lock = match Lock::try_acquire(&self.lock, "letters") {
            Ok(lock) => lock,
            Err(LockError::Busy { .. }) => {
                let next = self.clock.now() + BUSY;
                return Ok(Round {
                    next: Some(next),
                    ..Round::default()
                });
            }
            Err(error) => {
                tracing::error!(error = error_chain(&error), "no letter can be sent");
                return Ok(Round {
                    next: Some(self.clock.now() + Seconds::minutes(10)),
                    ..Round::default()
                });
            }
        };
        let now = self.clock.now();
        self.store.forget_posts(now - KEPT).await?;
        let mut by_channel: BTreeMap<ChannelId, Vec<Undelivered>> = BTreeMap::new();
        for letter in self.store.due_posts(now, MOST_AT_ONCE).await? {
            let channel = letter.post.channel.clone();
            by_channel.entry(channel).or_default().push(letter);
        }
        let mut round = Round::default();
        let mut tasks = JoinSet::new();
        for (id, letters) in by_channel {
            let courier = Arc::clone(self);
            tasks.spawn(async move { courier.by(&id, letters).await });
        }
        let mut failure = None;
        while let Some(joined) = tasks.join_next().await {
            match joined {
                Ok(Ok((sent, failed))) => {
                    round.sent += sent;
                    round.failed += failed;
                }
                Ok(Err(error)) => failure = Some(error),
                Err(error) => tracing::error!(%error, "letters were not sent: a bug of renewd"),
            }
        }
        if let Some(error) = failure {
            return Err(error);
        }
        round.next = self.store.next_post().await?;
        Ok(round)
    }

    /// Says that a tick was completed, where the policy wants somebody to know. Tried once: the next tick says it again.
    pub async fn beat(&self) {
        let Some(url) = &self.heartbeat else { return };
        if let Err(error) = notify::heartbeat(url, &*self.resolve).await {
            tracing::warn!("the heartbeat did not come through: {error}");
        }
    }

    /// Begins no further letter.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
    }

    /// Closes its journal.
    ///
    /// # Errors
    /// When that cannot be closed.
    pub async fn close(&self) -> Result<(), StoreError> {
        self.store.close().await
    }

    /// Sends letters by one channel; answers how many were taken over and how many were not.
    async fn by(
        &self,
        id: &ChannelId,
        letters: Vec<Undelivered>,
    ) -> Result<(usize, usize), StoreError> {
        let Some(channel) = self.channels.get(id) else {
            let why = "the policy has no such way to tell anybody any more".to_owned();
            let outcome = Delivery::GivenUp(why);
            let ended: Vec<_> = letters.iter().map(|l| (l.seq, outcome.clone())).collect();
            self.tried(&ended).await?;
            return Ok((0, ended.len()));
        };
        let mut notifier = match notify::notifier(channel, &*self.resolve) {
            Ok(notifier) => notifier,
            Err(error) => {
                self.nothing_leaves(id, &letters, &error.to_string())
                    .await?;
                return Ok((0, letters.len()));
            }
        };
        let (mut sent, mut failed) = (0, 0);
        let mut held: BTreeSet<(&str, &str)> = BTreeSet::new();
        for (at, letter) in letters.iter().enumerate() {
            if self.stop.load(Ordering::SeqCst) {
                break;
            }
            let post = &letter.post;
            let thread = (post.letter.key.as_str(), post.recipient.as_str());
            // What is over must not be told before what it ended.
            if held.contains(&thread) {
                continue;
            }
            let outcome = match notifier.send(&post.letter, &post.recipient).await {
                Ok(receipt) => Delivery::Sent(receipt.0),
                Err(SendError::Refused(why)) => Delivery::Refused(why),
                Err(SendError::Later(why)) => {
                    held.insert(thread);
                    self.later(letter, why)
                }
                Err(SendError::Unreachable(why)) => {
                    failed += letters.len() - at;
                    self.nothing_leaves(id, &letters[at..], &why).await?;
                    break;
                }
            };
            crash::point("letter.sent");
            match &outcome {
                Delivery::Sent(_) => sent += 1,
                Delivery::Later { why, .. } | Delivery::Refused(why) | Delivery::GivenUp(why) => {
                    failed += 1;
                    tracing::warn!(channel = %id, recipient = post.recipient, alert = post.letter.key, "an alert was not sent: {why}");
                }
            }
            self.tried(&[(letter.seq, outcome)]).await?;
        }
        notifier.close().await;
        Ok((sent, failed))
    }

    /// No letter leaves by this channel at present: all of them are tried again.
    async fn nothing_leaves(
        &self,
        id: &ChannelId,
        letters: &[Undelivered],
        why: &str,
    ) -> Result<(), StoreError> {
        // Once in a while: it may go on for days, and the alert about it tells the rest.
        if letters.iter().any(|letter| letter.attempts == 0) {
            tracing::warn!(channel = %id, letters = letters.len(), "alerts could not be sent: {why}");
        }
        let outcomes: Vec<_> = letters
            .iter()
            .map(|letter| (letter.seq, self.later(letter, why.to_owned())))
            .collect();
        self.tried(&outcomes).await
    }

    /// Again after a while; not for ever when what it tells is over.
    fn later(&self, letter: &Undelivered, why: String) -> Delivery {
        let now = self.clock.now();
        if !letter.stands && letter.queued_at.until(now) >= LONGEST_TRIED {
            return Delivery::GivenUp(format!("tried for {LONGEST_TRIED}: {why}"));
        }
        let wait = FIRST_WAIT.0 << letter.attempts.min(10);
        let wait = wait.min(LONGEST_WAIT.0);
        // Up to a quarter more, the same for each letter of one alert, so that one connection takes them all.
        let key = letter.post.letter.key.as_str();
        let jitter = backoff::hash(&[key, &letter.post.letter.host]) % 1024;
        let jitter = wait / 4 * i64::try_from(jitter).unwrap_or(0) / 1024;
        Delivery::Later {
            why,
            at: now + Seconds(wait + jitter),
        }
    }

    async fn tried(&self, outcomes: &[(i64, Delivery)]) -> Result<(), StoreError> {
        self.store.posts_tried(outcomes, self.clock.now()).await
    }
}

/// Before the second attempt; doubled each time.
const FIRST_WAIT: Seconds = Seconds::minutes(1);
/// Between two attempts.
const LONGEST_WAIT: Seconds = Seconds::hours(1);
/// A letter about an alert that is over is given up after this; one about an alert that stands never is.
const LONGEST_TRIED: Seconds = Seconds::days(7);
/// What was sent is remembered so long.
const KEPT: Seconds = Seconds::days(30);
/// Another process sends letters.
const BUSY: Seconds = Seconds(15);
/// In one round; the next follows at once.
const MOST_AT_ONCE: u32 = 200;
