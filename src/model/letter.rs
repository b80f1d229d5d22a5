//! What is told of an alert to one recipient, and how far it came.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::{ChannelId, Severity, Timestamp};

/// What there is to tell of an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Occasion {
    /// It stands, and is this bad: the higher the worse.
    Raised(u32),
    /// It stands no more.
    Over,
}

impl Occasion {
    /// As a part of identifiers.
    #[must_use]
    pub fn code(self) -> String {
        match self {
            Self::Raised(step) => format!("raised-{step}"),
            Self::Over => "over".to_owned(),
        }
    }
}

/// An alert as it is told: the same words on every attempt, by every way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letter {
    /// Name of this host.
    pub host: String,
    /// Of the alert, such as `expiring/www`.
    pub key: String,
    /// Why it is written.
    pub occasion: Occasion,
    /// How bad the alert is, or was.
    pub severity: Severity,
    /// The alert's line.
    pub title: String,
    /// What happened and what to do; empty when it is over.
    pub text: String,
    /// The certificates that it is about.
    pub certificates: Vec<Concerned>,
    /// When the alert was raised.
    pub raised_at: Timestamp,
    /// When this was written.
    pub date: Timestamp,
    /// With angle brackets (RFC 5322, 3.6.4): the same on every attempt, so that a letter sent twice can be told as one.
    pub message_id: String,
    /// That of the first letter about the same alert.
    pub follows: Option<String>,
}

/// A certificate that an alert is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Concerned {
    /// Name in the policy.
    pub name: String,
    /// End of validity of the newest revision, where there is one.
    pub not_after: Option<Timestamp>,
}

/// A letter to one recipient, on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Post {
    /// By which way.
    pub channel: ChannelId,
    /// To whom.
    pub recipient: String,
    /// What.
    pub letter: Letter,
    /// Not before this moment.
    pub due_at: Timestamp,
}

/// A letter that waits for its next attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undelivered {
    /// Number in the journal; a letter that was queued later has a higher one.
    pub seq: i64,
    /// The letter.
    pub post: Post,
    /// When it was queued.
    pub queued_at: Timestamp,
    /// Attempts so far.
    pub attempts: u32,
    /// Whether its alert still stands.
    pub stands: bool,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// Taken over, with the other side's words.
    Sent(String),
    /// To be tried again.
    Later {
        /// Why.
        why: String,
        /// When.
        at: Timestamp,
    },
    /// The other side refused it for good.
    Refused(String),
    /// It was tried for long enough, and what it tells is over.
    GivenUp(String),
}

/// How the letters of a channel fare.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChannelState {
    /// Letters that were tried in vain and wait for another attempt.
    pub failing: u32,
    /// When the oldest of them was queued.
    pub failing_since: Option<Timestamp>,
    /// Why the last attempt failed.
    pub last: String,
    /// Letters on their way to the recipient that has most of them.
    pub longest_queue: u32,
    /// Recipients whose last letter was refused for good or given up, with the reason.
    pub refused: BTreeMap<String, String>,
}

/// Letters that may wait for one recipient at a time.
pub const LONGEST_QUEUE: u32 = 1000;
