//! Exit statuses, after sysexits(3): a contract that scripts rely on.

use std::process::ExitCode;

use crate::model::{Blocked, ErrorClass, Waiting};
use crate::plan::Verdict;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Everything that was asked for is done.
    Done,
    /// The command line is wrong.
    Usage,
    /// What came back, or what is stored, cannot be used: a person must look.
    DataInvalid,
    /// The issuer cannot be reached or is not in order.
    Unavailable,
    /// A fault of renewd.
    Bug,
    /// A file could not be written.
    CannotWrite,
    /// Not finished; a later run goes on.
    TryLater,
    /// Credentials are refused or may not do this.
    NoPermission,
    /// The policy is wrong, or the host's configuration is.
    Configuration,
    /// Of `check`: somebody should look.
    CheckWarning,
    /// Of `check`: somebody must look.
    CheckCritical,
    /// Of `check`: it cannot be told.
    CheckUnknown,
}

/// What it is that is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// An order, or asking a follower's account.
    Order,
    /// A rollout that changed nothing so far.
    Rollout,
    /// A rollout that was taken back.
    UndoneRollout,
    /// The `post` hook of a rollout whose set is live and proven.
    PostHook,
}

impl Exit {
    /// The number.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Usage => 64,
            Self::DataInvalid => 65,
            Self::Unavailable => 69,
            Self::Bug => 70,
            Self::CannotWrite => 73,
            Self::TryLater => 75,
            Self::NoPermission => 77,
            Self::Configuration => 78,
            // As monitoring plugins answer.
            Self::CheckWarning => 1,
            Self::CheckCritical => 2,
            Self::CheckUnknown => 3,
        }
    }

    /// The one with this number.
    #[must_use]
    pub fn from_code(code: u64) -> Option<Self> {
        [
            Self::Done,
            Self::Usage,
            Self::DataInvalid,
            Self::Unavailable,
            Self::Bug,
            Self::CannotWrite,
            Self::TryLater,
            Self::NoPermission,
            Self::Configuration,
        ]
        .into_iter()
        .find(|exit| u64::from(exit.code()) == code)
    }

    /// What a verdict means for somebody who wanted everything done.
    #[must_use]
    pub fn of(verdict: &Verdict, attempt: Attempt) -> Self {
        match verdict {
            Verdict::Healthy { .. }
            | Verdict::Blocked(Blocked::Held)
            | Verdict::Wait(Waiting::Schedule { .. }) => Self::Done,
            // Left over when the journal could not go on, or when waiting was cut short.
            Verdict::Act(_) => Self::TryLater,
            Verdict::Wait(Waiting::Backoff { class, .. }) => match (class, attempt) {
                (ErrorClass::Bug, _) => Self::Bug,
                (_, Attempt::PostHook) => Self::TryLater,
                (_, Attempt::UndoneRollout) => Self::DataInvalid,
                // On this host: a disk that is full or may not be written.
                (ErrorClass::Transient, Attempt::Rollout) => Self::CannotWrite,
                // The new set was refused before anything was changed.
                (ErrorClass::Configuration, Attempt::Rollout) => Self::DataInvalid,
                (ErrorClass::Transient | ErrorClass::RateLimited, _) => Self::Unavailable,
                (ErrorClass::Rejected, _) => Self::DataInvalid,
                (ErrorClass::Authentication, _) => Self::NoPermission,
                (ErrorClass::Configuration, _) => Self::Configuration,
            },
            Verdict::Wait(Waiting::NoSpace { .. }) => Self::CannotWrite,
            Verdict::Wait(
                Waiting::Issuance { .. }
                | Waiting::Successor { .. }
                | Waiting::Entitlement { .. }
                | Waiting::Claim { .. }
                | Waiting::PurchaseBudget { .. }
                | Waiting::Purchase { .. }
                | Waiting::DomainProof { .. }
                | Waiting::Review { .. }
                | Waiting::Clock { .. }
                | Waiting::Settling { .. }
                | Waiting::Service { .. }
                | Waiting::NoOffer { .. }
                | Waiting::Window { .. }
                | Waiting::ReloadBudget { .. }
                | Waiting::IssuerBudget { .. }
                | Waiting::Rollout
                | Waiting::Batch { .. },
            ) => Self::TryLater,
            Verdict::Blocked(Blocked::NoAnswer { .. }) => Self::CannotWrite,
            Verdict::Blocked(Blocked::RestartNeeded { .. }) => Self::Configuration,
            Verdict::Blocked(
                Blocked::IssuerShortens { .. }
                | Blocked::ForeignApplication { .. }
                | Blocked::StaleJournal { .. }
                | Blocked::PurchaseUnclear { .. }
                | Blocked::SuccessorOverdue { .. }
                | Blocked::SuccessorLacksNames { .. }
                | Blocked::Person { .. }
                | Blocked::UndoFailed { .. }
                | Blocked::NewerElsewhere { .. }
                | Blocked::Remote { .. }
                | Blocked::Drifted { .. }
                | Blocked::RolloutFailed { .. },
            ) => Self::DataInvalid,
        }
    }

    /// The one that says more: a person's business before what passes by itself.
    #[must_use]
    pub fn worse(self, other: Self) -> Self {
        let rank = |exit: Self| match exit {
            Self::Done => 0,
            Self::CheckWarning | Self::CheckUnknown | Self::CheckCritical | Self::TryLater => 1,
            Self::Unavailable => 2,
            Self::DataInvalid => 3,
            Self::CannotWrite => 4,
            Self::NoPermission => 5,
            Self::Configuration => 6,
            Self::Usage => 7,
            Self::Bug => 8,
        };
        if rank(other) > rank(self) {
            other
        } else {
            self
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
