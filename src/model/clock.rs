//! What is known of the host's clock beside what it shows.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::{Seconds, Timestamp};

/// The evidence for and against the clock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ClockFacts {
    /// No moment before this renewd was built can be now.
    pub built_at: Timestamp,
    /// What an issuer said last of the time, by the journal.
    pub remembered: Option<Heard>,
    /// What this very process knows.
    pub fresh: Option<Fresh>,
}

/// A trusted remote side said what time it is (`Date` of its answer, RFC 9110 §6.6.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heard {
    /// What it said.
    pub date: Timestamp,
    /// What this host's clock showed then.
    pub at: Timestamp,
}

impl Heard {
    /// By how much the host's clock was ahead.
    #[must_use]
    pub const fn ahead(self) -> Seconds {
        self.date.until(self.at)
    }
}

/// What was heard by this process, which also knows how its clock went on since then, or since its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fresh {
    /// What; `None` for nothing yet.
    pub heard: Option<Heard>,
    /// By how much the clock was set forward since: what it gained over a clock that nobody sets, suspend included.
    pub moved: Seconds,
    /// For how long it has been known that it was set far.
    pub unsure_for: Seconds,
}

/// Why the clock is not believed. Nothing is ordered, rolled out or removed meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Doubt {
    /// It shows a moment before this renewd was built.
    BeforeBuild {
        /// When that was.
        built_at: Timestamp,
    },
    /// It shows a moment before one that an issuer confirmed.
    BeforeMark {
        /// Which.
        mark: Timestamp,
    },
    /// It is far from the issuer's.
    Far {
        /// By so much ahead; negative where it is behind.
        ahead: Seconds,
    },
    /// It was set far from where it was, and no issuer could be asked since.
    Moved {
        /// By so much forward; negative for back.
        by: Seconds,
    },
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = |length: &Seconds| Seconds(length.0.saturating_abs());
        match self {
            Self::BeforeBuild { built_at } => write!(
                f,
                "the clock shows a moment before this renewd was built, {}",
                built_at.date()
            ),
            Self::BeforeMark { mark } => write!(
                f,
                "the clock shows a moment before {mark}, which an issuer has confirmed"
            ),
            Self::Far { ahead } if ahead.0 >= 0 => {
                write!(f, "the clock is {} ahead of the issuer's", size(ahead))
            }
            Self::Far { ahead } => {
                write!(f, "the clock is {} behind the issuer's", size(ahead))
            }
            Self::Moved { by } => write!(
                f,
                "the clock was set {} by {}, and no issuer could say whether that is right",
                if by.0 >= 0 { "forward" } else { "back" },
                size(by)
            ),
        }
    }
}
