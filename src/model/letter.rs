//! What is told of an alert to one recipient, and how far it came.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::{ChannelId, Seconds, Severity, Timestamp};

/// What there is to tell of an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Occasion {
    /// It stands, and is this bad: the higher the worse.
    Raised(u32),
    /// It stands no more.
    Over,
    /// Not an alert: all that there is to tell, by the calendar.
    Digest,
}

impl Occasion {
    /// As a part of identifiers.
    #[must_use]
    pub fn code(self) -> String {
        match self {
            Self::Raised(step) => format!("raised-{step}"),
            Self::Over => "over".to_owned(),
            Self::Digest => "digest".to_owned(),
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
    /// What a digest says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
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

/// All that there is to tell at some moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest {
    /// When the last one was made, if there was one.
    pub since: Option<Timestamp>,
    /// In the order in which they are read.
    pub sections: Vec<Section>,
}

/// A part of a digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Section {
    /// What it is about.
    pub title: String,
    /// One for each thing; empty where there is nothing to say.
    pub lines: Vec<String>,
    /// So many more there would be.
    pub more: usize,
}

impl Section {
    /// With as many lines as somebody reads.
    #[must_use]
    pub fn new(title: &str, mut lines: Vec<String>) -> Self {
        let more = lines.len().saturating_sub(Self::LONGEST);
        lines.truncate(Self::LONGEST);
        Self {
            title: title.to_owned(),
            lines,
            more,
        }
    }

    /// Lines.
    const LONGEST: usize = 50;
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

/// A letter that waits, without its words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slip {
    /// Number in the journal; a letter that was queued later has a higher one.
    pub seq: i64,
    /// Of the alert, and when that was raised: what belongs together.
    pub thread: (String, Timestamp),
    /// Why it was written.
    pub occasion: Occasion,
    /// Of the alert.
    pub severity: Severity,
    /// When it was queued.
    pub queued_at: Timestamp,
    /// Not before this moment.
    pub due_at: Timestamp,
    /// Attempts so far.
    pub attempts: u32,
    /// Whether its alert still stands.
    pub stands: bool,
    /// Whether anything of its thread left for this recipient, or was to.
    pub begun: bool,
    /// What it waits for beside its time.
    pub held: Held,
    /// It goes in a mail of its own, since one with others was refused.
    pub alone: bool,
    /// It was refused by itself, and is tried again since what it tells stands.
    pub refused: bool,
    /// The mail that it went into, where that may have been taken over already: the very same is sent again.
    pub mail: Option<String>,
}

/// What a letter waits for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Held {
    /// Nothing but its time.
    #[default]
    No,
    /// Others to go with, since a mail left not long ago.
    Gather,
    /// Another day: the mails of this one are sent.
    Budget,
}

impl Held {
    /// Every one; the journal keeps the place in it.
    pub const ALL: [Self; 3] = [Self::No, Self::Gather, Self::Budget];
}

/// How many mails a recipient gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// The least time from one mail to the next; after the n-th of a day n times as much.
    pub gather: Seconds,
    /// The most in 24 hours, those with something critical aside.
    pub per_day: u32,
}

impl Pace {
    /// Unless the policy says otherwise.
    pub const GATHER: Seconds = Seconds::minutes(10);
    /// Unless the policy says otherwise: as many as somebody reads.
    pub const PER_DAY: u32 = 12;
}

/// What leaves as one: a letter, or several to one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// With angle brackets; of the letter, where there is one.
    pub id: String,
    /// Those of earlier mails about the same alerts, the oldest first.
    pub references: Vec<String>,
    /// At least one, what matters most first.
    pub letters: Vec<Letter>,
    /// So many were held back until now, since the mails of a day were sent.
    pub held: usize,
}

impl Message {
    /// Of one letter.
    #[must_use]
    pub fn one(letter: Letter) -> Self {
        Self {
            id: letter.message_id.clone(),
            references: letter.follows.iter().cloned().collect(),
            letters: vec![letter],
            held: 0,
        }
    }
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
        /// It may have been taken over all the same: the same mail is sent again, not one with other letters in it.
        unsure: bool,
    },
    /// The other side refused it among others: it is tried again by itself.
    Apart(String),
    /// The other side refused it.
    Refused {
        /// Why.
        why: String,
        /// When it is tried again, by itself, since what it tells stands; `None` where that is over.
        again: Option<Timestamp>,
    },
    /// It was tried for long enough, and what it tells is over.
    GivenUp(String),
    /// Not tried: the policy has no such recipient any more. Comes the recipient back, what stands is told.
    Withdrawn,
    /// Not tried: it waits for others, or another day.
    Held(Held, Timestamp),
    /// Not tried: what it tells was over before its time came.
    Spared,
}

/// How the letters of a channel fare.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChannelState {
    /// Letters that were tried in vain and wait for another attempt, those that were refused aside.
    pub failing: u32,
    /// When the oldest of them was queued.
    pub failing_since: Option<Timestamp>,
    /// Why the last attempt failed.
    pub last: String,
    /// Letters on their way to the recipient that has most of them.
    pub longest_queue: u32,
    /// Letters that wait for another day, since the mails of this one are sent.
    pub held: u32,
    /// Recipients who have a letter that was refused and waits for another attempt, or whose last one was refused or given
    /// up, with the reason.
    pub refused: BTreeMap<String, String>,
}

/// Letters that may wait for one recipient at a time.
pub const LONGEST_QUEUE: u32 = 1000;
