//! Why not at all, until a person acts.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::model::{DriftKind, Stale, Standing, Timestamp};

/// Why not, until a person acts; some of it is tried again by itself, rarely.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "code", rename_all = "kebab-case")]
pub enum Blocked {
    /// What the issuer gives ends no later than what is there; another order would only repeat it.
    IssuerShortens {
        /// End of validity of what it gave.
        not_after: Timestamp,
    },
    /// An undo could not be proven; the target is left alone for long.
    UndoFailed {
        /// What happened.
        detail: String,
        /// The next attempt.
        until: Timestamp,
    },
    /// The same revision failed on the target too often.
    RolloutFailed {
        /// In a row.
        failures: u32,
        /// Of the last one.
        message: String,
        /// The next attempt.
        until: Timestamp,
    },
    /// The sandbox of renewd's unit keeps a place of the policy from being written; it is made at the start.
    RestartNeeded {
        /// The directory.
        path: PathBuf,
    },
    /// The files of the target give no answer: nothing is rolled out to it until they do.
    NoAnswer {
        /// Since when.
        since: Timestamp,
    },
    /// An application or a certificate for these names is in the account and not ours, or cannot be told from others'.
    ForeignApplication {
        /// Which, and what to do.
        detail: String,
        /// Next look.
        until: Timestamp,
    },
    /// Nothing is bought: the journal may be a copy, or an old one.
    StaleJournal {
        /// How.
        how: Stale,
    },
    /// Whether a purchase was made cannot be known from here: it is not paid for by itself.
    PurchaseUnclear {
        /// When it was sent.
        since: Timestamp,
        /// Next look.
        until: Timestamp,
    },
    /// The next certificate of an order of several years should be there and is not.
    SuccessorOverdue {
        /// End of validity of the one before.
        not_after: Timestamp,
        /// Next look.
        until: Timestamp,
    },
    /// The next certificate of an order of several years lacks names that the present one has.
    SuccessorLacksNames {
        /// Which, and what it lacks.
        detail: String,
        /// Next look.
        until: Timestamp,
    },
    /// A person must answer a mail, or the like.
    Person {
        /// What to do.
        detail: String,
        /// Next look.
        until: Timestamp,
    },
    /// A rollback by hand holds the newest revision off the target.
    Held,
    /// The issuer says that the certificate, or the CA that issued it, is not in order. What is there stays in use.
    Remote {
        /// What; gives the code.
        standing: Standing,
        /// One line.
        detail: String,
    },
    /// Somebody else installed a certificate on the target that was issued later; nothing older replaces it.
    NewerElsewhere {
        /// Where, and what.
        detail: String,
    },
    /// The target is not as it was rolled out, and is left so: by the policy, or since telling the service did not help.
    Drifted {
        /// How; gives the code.
        kind: DriftKind,
        /// What differs.
        detail: String,
    },
}

impl Blocked {
    /// The code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::IssuerShortens { .. } => "issuer-shortens",
            Self::UndoFailed { .. } => "undo-failed",
            Self::RolloutFailed { .. } => "rollout-failed",
            Self::RestartNeeded { .. } => "restart-needed",
            Self::NoAnswer { .. } => DriftKind::FileUnreadable.code(),
            Self::ForeignApplication { .. } => "foreign-application",
            Self::StaleJournal { .. } => "stale-journal",
            Self::PurchaseUnclear { .. } => "purchase-unclear",
            Self::SuccessorOverdue { .. } => "successor-overdue",
            Self::SuccessorLacksNames { .. } => "successor-lacks-names",
            Self::Person { .. } => "person",
            Self::Held => "held",
            Self::Remote { standing, .. } => standing.code(),
            Self::NewerElsewhere { .. } => DriftKind::NewerElsewhere.code(),
            Self::Drifted { kind, .. } => kind.code(),
        }
    }

    /// When it is tried again without a person; `None` for never.
    #[must_use]
    pub const fn until(&self) -> Option<Timestamp> {
        match self {
            Self::UndoFailed { until, .. }
            | Self::RolloutFailed { until, .. }
            | Self::ForeignApplication { until, .. }
            | Self::PurchaseUnclear { until, .. }
            | Self::SuccessorOverdue { until, .. }
            | Self::SuccessorLacksNames { until, .. }
            | Self::Person { until, .. } => Some(*until),
            Self::IssuerShortens { .. }
            | Self::RestartNeeded { .. }
            | Self::NoAnswer { .. }
            | Self::StaleJournal { .. }
            | Self::Held
            | Self::Remote { .. }
            | Self::NewerElsewhere { .. }
            | Self::Drifted { .. } => None,
        }
    }
}

impl fmt::Display for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::IssuerShortens { not_after } => write!(
                f,
                "the issuer cuts validity to {not_after}; renew the CA's own certificate, then `renewd renew`"
            ),
            Self::UndoFailed { detail, until } => write!(
                f,
                "undo failed: {detail}; check the service, then `renewd rollback` or `renewd renew`; next attempt without you at {until}"
            ),
            Self::RolloutFailed {
                failures,
                message,
                until,
            } => write!(
                f,
                "failed {failures} times: {message}; mend it, then `renewd renew`; next attempt without you at {until}"
            ),
            Self::Remote { detail, .. } => write!(f, "{detail}; what is there stays in use"),
            Self::NewerElsewhere { detail } => write!(
                f,
                "{detail}; left alone until `renewd renew` or `renewd release --force`"
            ),
            Self::Drifted { detail, .. } => {
                write!(
                    f,
                    "the target differs: {detail}; left so until a person acts, or the next rollout"
                )
            }
            Self::RestartNeeded { path } => write!(
                f,
                "{} cannot be written: the sandbox of the unit does not allow it (install what `renewd systemd dropin` prints, then restart renewd), or its file system has become read-only",
                path.display()
            ),
            Self::NoAnswer { since } => write!(
                f,
                "the files of a target have given no answer since {since}, most likely since the server of their file system is gone; it is left alone until they do"
            ),
            Self::ForeignApplication { detail, until } => write!(
                f,
                "{detail}; nothing is applied for or bought meanwhile, next look at {until}"
            ),
            Self::StaleJournal { how } => {
                let what = match how {
                    Stale::OtherMachine => "applied for, bought or taken back",
                    Stale::UnknownPurchases { .. } => "bought",
                };
                write!(f, "{how}; nothing is {what} until `renewd state claim`")
            }
            Self::PurchaseUnclear { since, until } => write!(
                f,
                "the answer to a purchase at {since} was lost, and it is not paid for by itself: look for an unpaid order in the console and pay it, or where there is none, buy one there; renewd takes either, and buys nothing for it meanwhile, next look at {until}"
            ),
            Self::SuccessorOverdue { not_after, until } => write!(
                f,
                "the order of several years should have brought the next certificate by now, and the present one ends at {not_after}: look at the order in the console; renewd buys none in its place, next look at {until}"
            ),
            Self::SuccessorLacksNames { detail, until } => write!(
                f,
                "{detail}: add them to it in the console, or withdraw it if it is not issued; it is not taken without them, and none is bought in its place, next look at {until}"
            ),
            Self::Person { detail, until } => write!(f, "{detail}; next look at {until}"),
            Self::Held => {
                f.write_str("rolled back by hand; held until `renewd release` or a newer revision")
            }
        }
    }
}
