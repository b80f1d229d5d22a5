//! Why something happens, why not yet, why not at all: stable codes with the values a person needs.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::{Doubt, DriftKind, Shortage, SubjectAltNames, Timestamp};

/// What kind of failure it was, and so what helps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorClass {
    /// May pass by itself: network, 5xx, a full disk.
    Transient,
    /// The remote side asked to wait.
    RateLimited,
    /// The remote side or a check says no to this very request.
    Rejected,
    /// Credentials are wrong or may not do this.
    Authentication,
    /// The policy or the host's configuration must change.
    Configuration,
    /// A fault of renewd.
    Bug,
}

impl ErrorClass {
    /// Every class.
    pub const ALL: [Self; 6] = [
        Self::Transient,
        Self::RateLimited,
        Self::Rejected,
        Self::Authentication,
        Self::Configuration,
        Self::Bug,
    ];

    /// The code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Transient => "transient",
            Self::RateLimited => "rate-limited",
            Self::Rejected => "rejected",
            Self::Authentication => "authentication",
            Self::Configuration => "configuration",
            Self::Bug => "bug",
        }
    }
}

impl fmt::Display for ErrorClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.code())
    }
}

/// Why an order or a rollout is opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "code", rename_all = "kebab-case")]
pub enum Reason {
    /// There is no usable revision.
    NoRevision,
    /// The stored revision cannot be read or its key does not match.
    Unusable {
        /// What is wrong.
        detail: String,
    },
    /// The policy names another issuer than the revision came from.
    IssuerChanged,
    /// The names of the policy are not those of the revision.
    NamesChanged {
        /// In the policy and not in the revision.
        missing: SubjectAltNames,
    },
    /// The policy wants another kind of key.
    KeyChanged,
    /// The issuer took it back: a new key, a new order, and a rollout that waits for nothing.
    Revoked,
    /// Its end of validity is past.
    Expired {
        /// When.
        since: Timestamp,
    },
    /// Less than a tenth of the lifetime is left: everything that waits for comfort is overridden.
    Emergency {
        /// End of validity.
        not_after: Timestamp,
    },
    /// The renewal rule's moment has come.
    RenewalDue {
        /// That moment, with jitter.
        since: Timestamp,
    },
    /// A follower's account offers a revision that was issued later.
    NewerOffered,
    /// A person asked.
    Forced,
    /// A revision exists that the target does not serve.
    NotDeployed,
    /// The target's policy changed.
    TargetChanged,
    /// Files or link are not what was committed, or the service does not serve it.
    Drifted {
        /// How; gives the code.
        #[serde(default = "edited")]
        kind: DriftKind,
        /// What differs.
        detail: String,
    },
    /// A person asked for an earlier revision.
    RollbackAsked,
    /// What is wanted is in place, but the way back to it could not be proven.
    UndoFailed {
        /// What happened.
        detail: String,
    },
}

impl Reason {
    /// The code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoRevision => "no-revision",
            Self::Unusable { .. } => "unusable",
            Self::IssuerChanged => "issuer-changed",
            Self::NamesChanged { .. } => "names-changed",
            Self::KeyChanged => "key-changed",
            Self::Revoked => "revoked",
            Self::Expired { .. } => "expired",
            Self::Emergency { .. } => "emergency",
            Self::RenewalDue { .. } => "renewal-due",
            Self::NewerOffered => "newer-offered",
            Self::Forced => "forced",
            Self::NotDeployed => "not-deployed",
            Self::TargetChanged => "target-changed",
            Self::Drifted { kind, .. } => kind.code(),
            Self::RollbackAsked => "rollback-asked",
            Self::UndoFailed { .. } => "undo-failed",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRevision => f.write_str("there is no certificate yet"),
            Self::Unusable { detail } => write!(f, "the stored revision is unusable: {detail}"),
            Self::IssuerChanged => f.write_str("the policy names another issuer"),
            Self::NamesChanged { missing } if missing.is_empty() => {
                f.write_str("it names more than the policy")
            }
            Self::NamesChanged { missing } => write!(f, "it does not name {missing}"),
            Self::KeyChanged => f.write_str("the policy wants another kind of key"),
            Self::Revoked => f.write_str("the issuer took it back"),
            Self::Expired { since } => write!(f, "it expired at {since}"),
            Self::Emergency { not_after } => write!(f, "it expires soon, at {not_after}"),
            Self::RenewalDue { since } => write!(f, "renewal is due since {since}"),
            Self::NewerOffered => f.write_str("the account has a newer one"),
            Self::Forced => f.write_str("asked for by a person"),
            Self::NotDeployed => f.write_str("the target does not serve it yet"),
            Self::TargetChanged => f.write_str("the target's policy changed"),
            Self::Drifted { detail, .. } => write!(f, "the target differs: {detail}"),
            Self::RollbackAsked => f.write_str("a person asked for an earlier revision"),
            Self::UndoFailed { detail } => {
                write!(f, "the way back to it could not be proven: {detail}")
            }
        }
    }
}

/// Why not yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "code", rename_all = "kebab-case")]
pub enum Waiting {
    /// The issuer has not issued yet.
    Issuance {
        /// Next look.
        until: Timestamp,
    },
    /// The account brings the next certificate of an order of several years by itself.
    Successor {
        /// Next look.
        until: Timestamp,
        /// End of validity of the one before.
        not_after: Timestamp,
    },
    /// There is nothing to apply with.
    Entitlement {
        /// Next look.
        until: Timestamp,
    },
    /// An unused entitlement was claimed; another host may have done the same.
    Claim {
        /// When the claim is read back.
        until: Timestamp,
    },
    /// All that may be bought was bought.
    PurchaseBudget {
        /// When another may be.
        until: Timestamp,
        /// Within the last 24 hours, and what is allowed.
        day: (u32, u32),
        /// Within the last 30 days, and what is allowed.
        month: (u32, u32),
    },
    /// A purchase may have been made; until it is known no second one is.
    Purchase {
        /// When the next look may decide.
        until: Timestamp,
    },
    /// The proof of a domain is published and not seen from everywhere yet.
    DomainProof {
        /// Next look.
        until: Timestamp,
    },
    /// The issuer reviews the application.
    Review {
        /// Next look.
        until: Timestamp,
        /// Its word for how far it is.
        status: String,
        /// Since when.
        since: Timestamp,
    },
    /// A submit may have had an effect; until it is known no second one is sent.
    Settling {
        /// When the next look may decide.
        until: Timestamp,
    },
    /// After failures.
    Backoff {
        /// Next attempt.
        until: Timestamp,
        /// In a row.
        failures: u32,
        /// Of the last one.
        class: ErrorClass,
        /// Of the last one.
        message: String,
    },
    /// Committed, but the service does not answer or does not use the files yet.
    Service {
        /// Next look.
        until: Timestamp,
        /// What was seen.
        detail: String,
    },
    /// A follower's account has nothing that covers the names.
    NoOffer {
        /// Next look.
        until: Timestamp,
    },
    /// For a clock that can be believed.
    Clock {
        /// Next look.
        until: Timestamp,
        /// Why it is not.
        doubt: Doubt,
    },
    /// Due, and ordered in the next run of the job `renew`.
    Schedule {
        /// When that begins, or when it is too late to wait for it.
        until: Timestamp,
    },
    /// No order is opened: what it brings could not be stored.
    NoSpace {
        /// Next look.
        until: Timestamp,
        /// Where.
        shortage: Shortage,
    },
    /// No maintenance window of the target is open.
    Window {
        /// When one opens, or when it is too late to wait for one.
        until: Timestamp,
    },
    /// The target had all the reloads that it may have in an hour.
    ReloadBudget {
        /// When it may have another, or when it is too late to wait for one.
        until: Timestamp,
    },
    /// The issuer was given all the orders that it may be given in an hour.
    IssuerBudget {
        /// When it may be given another, or when it is too late to wait for that.
        until: Timestamp,
    },
    /// Another step of the same target is under way.
    Rollout,
    /// Other certificates of the same target are on their way; all go in with one reload.
    Batch {
        /// Not longer.
        until: Timestamp,
    },
}

impl Waiting {
    /// The code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Issuance { .. } => "issuance",
            Self::Successor { .. } => "successor",
            Self::Entitlement { .. } => "entitlement",
            Self::Claim { .. } => "claim",
            Self::PurchaseBudget { .. } => "purchase-budget",
            Self::Purchase { .. } => "purchase",
            Self::DomainProof { .. } => "domain-proof",
            Self::Review { .. } => "review",
            Self::Settling { .. } => "settling",
            Self::Backoff { .. } => "backoff",
            Self::Service { .. } => "service",
            Self::NoOffer { .. } => "no-offer",
            Self::Clock { .. } => "clock",
            Self::Schedule { .. } => "schedule",
            Self::NoSpace { .. } => "no-space",
            Self::Window { .. } => "window",
            Self::ReloadBudget { .. } => "reload-budget",
            Self::IssuerBudget { .. } => "issuer-budget",
            Self::Rollout => "rollout",
            Self::Batch { .. } => "batch",
        }
    }

    /// When to look again; `None` where another action ends the wait.
    #[must_use]
    pub const fn until(&self) -> Option<Timestamp> {
        match self {
            Self::Issuance { until }
            | Self::Successor { until, .. }
            | Self::Entitlement { until }
            | Self::Claim { until }
            | Self::PurchaseBudget { until, .. }
            | Self::Purchase { until }
            | Self::DomainProof { until }
            | Self::Review { until, .. }
            | Self::Settling { until }
            | Self::Backoff { until, .. }
            | Self::Service { until, .. }
            | Self::NoOffer { until }
            | Self::NoSpace { until, .. }
            | Self::Window { until }
            | Self::ReloadBudget { until }
            | Self::IssuerBudget { until }
            | Self::Batch { until }
            | Self::Schedule { until }
            | Self::Clock { until, .. } => Some(*until),
            Self::Rollout => None,
        }
    }
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Issuance { until } => write!(f, "the issuer is at work; next look at {until}"),
            Self::Successor { until, not_after } => write!(
                f,
                "the order of several years brings the next certificate by itself before {not_after}; next look at {until}"
            ),
            Self::Entitlement { until } => write!(
                f,
                "the account has no unused entitlement for these names that may be taken, and none is bought now; next look at {until}"
            ),
            Self::Claim { until } => write!(
                f,
                "an unused entitlement is claimed for it; the claim is read back at {until}, since another host may have done the same"
            ),
            Self::PurchaseBudget { until, day, month } => write!(
                f,
                "to be bought; {} of {} purchases were made within 24 hours and {} of {} within 30 days, next at {until}",
                day.0, day.1, month.0, month.1
            ),
            Self::Purchase { until } => write!(
                f,
                "a purchase, for it or another certificate of its issuer, is under way or its answer lost; no second one until that is known; next look at {until}"
            ),
            Self::DomainProof { until } => write!(
                f,
                "the proof of its domains is published and not seen from everywhere yet; next look at {until}"
            ),
            Self::Review {
                until,
                status,
                since,
            } => {
                write!(
                    f,
                    "the issuer reviews it ({status} since {since}); next look at {until}"
                )
            }
            Self::Settling { until } => write!(
                f,
                "an application was sent and its answer lost; no second one until it is known to have had no effect; next look at {until}"
            ),
            Self::Backoff {
                until,
                failures,
                class,
                message,
            } => write!(
                f,
                "{failures} failed {} ({class}): {message}; next at {until}",
                if *failures == 1 {
                    "attempt"
                } else {
                    "attempts"
                }
            ),
            Self::Service { until, detail } => {
                write!(f, "written, not served yet: {detail}; next look at {until}")
            }
            Self::NoOffer { until } => write!(
                f,
                "the account has no newer certificate for these names; next look at {until}"
            ),
            Self::Clock { doubt, .. } => write!(f, "{doubt}"),
            Self::Schedule { until } => {
                write!(
                    f,
                    "renewal is due, and ordered in the next run of job renew, at {until}"
                )
            }
            Self::NoSpace { until, shortage } => write!(
                f,
                "nothing is ordered that could not be stored: {shortage}; free some, next look at {until}"
            ),
            Self::Window { until } => write!(
                f,
                "ready; the target's maintenance window is closed, next look at {until}"
            ),
            Self::ReloadBudget { until } => write!(
                f,
                "ready; the target had its reloads for this hour, next at {until}"
            ),
            Self::IssuerBudget { until } => write!(
                f,
                "to be ordered; the issuer was given its orders for this hour, next at {until}"
            ),
            Self::Rollout => f.write_str("another rollout of the target is under way"),
            Self::Batch { until } => write!(
                f,
                "other certificates of the target are on their way, and all go in with one reload, at {until} at the latest"
            ),
        }
    }
}

/// What a difference was called before there were kinds.
const fn edited() -> DriftKind {
    DriftKind::FileEdited
}
