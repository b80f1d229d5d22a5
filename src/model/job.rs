//! What the daemon does by the calendar, beside what is due by itself.

use std::fmt;
use std::str::FromStr;

use croner::Cron;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::model::{Seconds, Timestamp};

/// A thing that is done by the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum JobName {
    /// Compares the policy, the journal and what lies on disk; what differs is put right.
    Check,
    /// Opens the orders of renewals that are due. What cannot wait (nothing valid, an emergency, a person's wish) does
    /// not wait for it.
    Renew,
    /// Looks at what is watched and not managed.
    Watch,
    /// Tells everybody how all is.
    Digest,
}

/// Not the name of a job.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no job `{0}`; the jobs are check, renew, watch and digest")]
pub struct UnknownJob(pub String);

impl JobName {
    /// Every one, in the order in which they run.
    pub const ALL: [Self; 4] = [Self::Check, Self::Renew, Self::Watch, Self::Digest];

    /// Those that `renewd once` runs, whatever the calendar says.
    pub const ONCE: [Self; 3] = [Self::Check, Self::Renew, Self::Watch];

    /// As the policy and the journal write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Check => "check",
            Self::Renew => "renew",
            Self::Watch => "watch",
            Self::Digest => "digest",
        }
    }
}

impl fmt::Display for JobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for JobName {
    type Err = UnknownJob;

    fn from_str(text: &str) -> Result<Self, UnknownJob> {
        let found = Self::ALL.into_iter().find(|name| name.as_str() == text);
        found.ok_or_else(|| UnknownJob(text.to_owned()))
    }
}

/// When a job runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobPolicy {
    /// With seconds; it fires at some time.
    pub schedule: Cron,
    /// In which the schedule is read.
    pub zone: TimeZone,
    /// A run is later than its schedule says by up to this, always by the same on one host.
    pub jitter: Seconds,
    /// Between the beginnings of two runs, whatever the schedule says.
    pub floor: Seconds,
}

/// The last run of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRun {
    /// When it began.
    pub started_at: Timestamp,
    /// How long it took, in milliseconds of a steady clock.
    pub took_ms: u64,
    /// How it ended.
    pub result: JobResult,
    /// One line: what there was to see, or what went wrong.
    pub message: String,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JobResult {
    /// To its end. What failed of single certificates is in their own history.
    Done,
    /// The journal could not be read or written, or a fault of renewd.
    Failed,
    /// To its end, by a clock that is not believed: nothing follows from the moment at which it began.
    Doubted,
}

impl JobResult {
    /// The code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Doubted => "doubted",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for JobResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.code())
    }
}

/// Tells one host from another where many do the same at the same time: the same number for ever on one host, another
/// one on the next.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HostSeed(pub u64);
