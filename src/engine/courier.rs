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
use crate::model::{
    Channel, ChannelId, Delivery, Held, Message, Seconds, Slip, Timestamp, UrlSource,
};
use crate::notify::{self, SendError};
use crate::plan::{backoff, mails};
use crate::store::{Store, StoreError};
use crate::sys::clock::Clock;
use crate::sys::fs::{Lock, LockError};
use crate::sys::{crash, error_chain, host_name};

/// Sends what is in the outbox of a state directory.
pub struct Courier {
    store: Arc<dyn Store>,
    channels: BTreeMap<ChannelId, Channel>,
    heartbeat: Option<UrlSource>,
    resolve: Resolve,
    clock: Arc<dyn Clock>,
    lock: PathBuf,
    host: String,
    /// Set when no further letter shall be begun.
    stop: AtomicBool,
}

/// What waits for one recipient.
struct Queue {
    recipient: String,
    slips: Vec<Slip>,
    /// When mails were sent to this one, lately.
    sent: Vec<Timestamp>,
}

/// Letters that leave as one, and to whom.
type Mail<'a> = (&'a String, Vec<&'a Slip>);

/// An alert that was raised once.
type Thread = (String, Timestamp);

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
            host: host_name(),
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
        let mut sent = self.store.mails_sent(now - mails::DAY).await?;
        let mut by_channel: BTreeMap<ChannelId, Vec<Queue>> = BTreeMap::new();
        for ((channel, recipient), slips) in self.store.slips(now).await? {
            let queue = Queue {
                sent: sent
                    .remove(&(channel.clone(), recipient.clone()))
                    .unwrap_or_default(),
                recipient,
                slips,
            };
            by_channel.entry(channel).or_default().push(queue);
        }
        let mut round = Round::default();
        let mut tasks = JoinSet::new();
        for (id, queues) in by_channel {
            let courier = Arc::clone(self);
            tasks.spawn(async move { courier.by(&id, queues, now).await });
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
        round.next = self.store.next_post(self.clock.now()).await?;
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
        queues: Vec<Queue>,
        now: Timestamp,
    ) -> Result<(usize, usize), StoreError> {
        let channel = self.channels.get(id);
        let wanted =
            |recipient: &String| channel.is_some_and(|one| one.recipients().contains(recipient));
        let (queues, gone): (Vec<Queue>, Vec<Queue>) = queues
            .into_iter()
            .partition(|queue| wanted(&queue.recipient));
        let gone = gone.iter().flat_map(|queue| &queue.slips);
        let gone: Vec<_> = gone.map(|slip| (slip.seq, Delivery::Withdrawn)).collect();
        if !gone.is_empty() {
            self.tried(&gone).await?;
        }
        let Some(channel) = channel else {
            return Ok((0, 0));
        };
        let mut mails: Vec<Mail<'_>> = Vec::new();
        for queue in &queues {
            let sorting = mails::sort(
                &queue.slips,
                &queue.sent,
                channel.pace,
                channel.quiet.as_ref(),
                now,
            );
            let held = sorting.held.into_iter();
            let mut outcomes: Vec<_> = held
                .map(|(seq, held, until)| (seq, Delivery::Held(held, until)))
                .collect();
            let spared = sorting.spared.into_iter();
            outcomes.extend(spared.map(|seq| (seq, Delivery::Spared)));
            if !outcomes.is_empty() {
                self.tried(&outcomes).await?;
            }
            for numbers in sorting.mails {
                let slips = queue.slips.iter();
                let slips = slips.filter(|slip| numbers.contains(&slip.seq)).collect();
                mails.push((&queue.recipient, slips));
            }
        }
        if mails.is_empty() {
            return Ok((0, 0));
        }
        // Whoever refuses letters keeps nobody else waiting for theirs.
        mails.sort_by_key(|(_, slips)| slips.iter().any(|slip| slip.refused));
        let mut notifier = match notify::notifier(channel, &*self.resolve) {
            Ok(notifier) => notifier,
            Err(error) => {
                let failed = self.nothing_leaves(id, &mails, &error.to_string()).await?;
                return Ok((0, failed));
            }
        };
        let (mut sent, mut failed) = (0, 0);
        let mut held: BTreeSet<(&str, &Thread)> = BTreeSet::new();
        // Who takes again what was refused before gets the rest of that as one mail.
        let mut mended: BTreeSet<&str> = BTreeSet::new();
        for (at, (recipient, slips)) in mails.iter().enumerate() {
            if self.stop.load(Ordering::SeqCst) {
                break;
            }
            let refused = slips.iter().any(|slip| slip.refused);
            if refused && mended.contains(recipient.as_str()) {
                continue;
            }
            // What is over must not be told before what it ended.
            let threads = || slips.iter().map(|slip| (recipient.as_str(), &slip.thread));
            if threads().any(|thread| held.contains(&thread)) {
                held.extend(threads());
                continue;
            }
            let Some(message) = self.message(slips).await? else {
                continue;
            };
            let outcome = match notifier.send(&message, recipient).await {
                Ok(receipt) => Ok(receipt.0),
                Err(SendError::Unreachable(why)) => {
                    failed += self.nothing_leaves(id, &mails[at..], &why).await?;
                    break;
                }
                Err(error) => Err(error),
            };
            crash::point("letter.sent");
            let outcomes = self.outcomes(slips, &outcome);
            if let Err(error) = &outcome {
                failed += slips.len();
                held.extend(threads());
                tracing::warn!(channel = %id, recipient, alert = message.letters[0].key, letters = slips.len(), "an alert was not sent: {error}");
            } else {
                sent += slips.len();
                if refused {
                    mended.insert(recipient);
                }
            }
            self.tried(&outcomes).await?;
            if let Err(SendError::Unknown(why)) = &outcome {
                failed += self.nothing_leaves(id, &mails[at + 1..], why).await?;
                break;
            }
        }
        notifier.close().await;
        Ok((sent, failed))
    }

    /// What these letters leave as; from now on they leave as this, until it is certain that nobody has it.
    async fn message(&self, slips: &[&Slip]) -> Result<Option<Message>, StoreError> {
        let numbers: Vec<i64> = slips.iter().map(|slip| slip.seq).collect();
        let (letters, references) = self.store.letters(&numbers).await?;
        let held = slips.iter().filter(|slip| slip.held == Held::Budget);
        let Some(mut message) = notify::message(letters, references, held.count()) else {
            return Ok(None);
        };
        match slips.first().and_then(|slip| slip.mail.clone()) {
            Some(sealed) => message.id = sealed,
            None => self.store.seal(&numbers, &message.id).await?,
        }
        crash::point("letter.sealed");
        Ok(Some(message))
    }

    /// How the attempt ended for each letter of a mail.
    fn outcomes(
        &self,
        slips: &[&Slip],
        outcome: &Result<String, SendError>,
    ) -> Vec<(i64, Delivery)> {
        let several = slips.len() > 1;
        let delivery = |slip: &Slip| match outcome {
            Ok(said) => Delivery::Sent(said.clone()),
            // One of them may be what the other side does not like.
            Err(SendError::Refused(why)) if several => Delivery::Apart(why.clone()),
            Err(SendError::Later(why)) if several && slip.attempts >= PATIENCE => {
                Delivery::Apart(why.clone())
            }
            // A server that refuses may be told another rule tomorrow; nobody knows of the alert meanwhile.
            Err(SendError::Refused(why)) => Delivery::Refused {
                why: why.clone(),
                again: slip.stands.then(|| self.clock.now() + REFUSED_WAIT),
            },
            Err(SendError::Unknown(why)) => self.later(slips, slip, why, true),
            Err(SendError::Later(why) | SendError::Unreachable(why)) => {
                self.later(slips, slip, why, false)
            }
        };
        slips
            .iter()
            .map(|slip| (slip.seq, delivery(slip)))
            .collect()
    }

    /// No letter leaves by this channel at present: all of them are tried again. Answers how many there are.
    async fn nothing_leaves(
        &self,
        id: &ChannelId,
        mails: &[Mail<'_>],
        why: &str,
    ) -> Result<usize, StoreError> {
        let slips: Vec<&Slip> = mails.iter().flat_map(|(_, slips)| slips.clone()).collect();
        // Once in a while: it may go on for days, and the alert about it tells the rest.
        if slips.iter().any(|slip| slip.attempts == 0) {
            tracing::warn!(channel = %id, letters = slips.len(), "alerts could not be sent: {why}");
        }
        let outcomes: Vec<_> = mails
            .iter()
            .flat_map(|(_, mail)| mail.iter().map(move |slip| (mail, slip)))
            // What may have been taken over before may still have been.
            .map(|(mail, slip)| (slip.seq, self.later(mail, slip, why, slip.mail.is_some())))
            .collect();
        self.tried(&outcomes).await?;
        Ok(slips.len())
    }

    /// Again after a while; not for ever when what it tells is over. All letters of a mail at the same time, since they may
    /// only leave together.
    fn later(&self, mail: &[&Slip], slip: &Slip, why: &str, unsure: bool) -> Delivery {
        let now = self.clock.now();
        // Not by the clock alone, which may have jumped.
        let often = slip.attempts >= OFTEN_TRIED;
        if !slip.stands && often && slip.queued_at.until(now) >= LONGEST_TRIED {
            return Delivery::GivenUp(format!("tried for {LONGEST_TRIED}: {why}"));
        }
        let attempts = mail.iter().map(|slip| slip.attempts).max().unwrap_or(0);
        let wait = FIRST_WAIT.0 << attempts.min(10);
        let wait = wait.min(LONGEST_WAIT.0);
        // Up to a quarter more, the same for each letter of one alert, so that one connection takes them all.
        let first = mail.first().map_or("", |slip| slip.thread.0.as_str());
        let jitter = backoff::hash(&[first, &self.host]) % 1024;
        let jitter = wait / 4 * i64::try_from(jitter).unwrap_or(0) / 1024;
        Delivery::Later {
            why: why.to_owned(),
            at: now + Seconds(wait + jitter),
            unsure,
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
/// After a refusal, as long as the alert stands.
const REFUSED_WAIT: Seconds = Seconds::days(1);
/// A letter about an alert that is over is given up after this; one about an alert that stands never is.
const LONGEST_TRIED: Seconds = Seconds::days(7);
/// And not before as many attempts as a day has with the longest time between two of them.
const OFTEN_TRIED: u32 = 24;
/// What was sent is remembered so long.
const KEPT: Seconds = Seconds::days(30);
/// Another process sends letters.
const BUSY: Seconds = Seconds(15);
/// Attempts after which a mail of several letters that is put off is taken apart: one of them may be the reason.
const PATIENCE: u32 = 8;
