//! What is watched and not managed: certificates of other programs, other hosts and other people.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::model::{Fingerprint, IssuerId, Name, Prelude, Seconds, SecretRef, Timestamp, WatchId};

/// One table `[watch.NAME]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchPolicy {
    /// Name in the policy.
    pub id: WatchId,
    /// What is looked at.
    pub what: Watched,
    /// Words by which alerts find those who care.
    pub tags: BTreeSet<String>,
    /// Changes with what is looked at; what was seen under another one is forgotten.
    pub digest: Fingerprint,
}

/// Where watched certificates are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Watched {
    /// In files.
    Files {
        /// Absolute paths and shell patterns; links are followed.
        paths: Vec<String>,
        /// Of keystores among them.
        password: Option<SecretRef>,
    },
    /// At a listener.
    Host {
        /// `host:port`.
        connect: String,
        /// Each is sent in SNI, and must be covered by what is shown.
        names: Vec<Name>,
        /// What the listener awaits before the handshake.
        prelude: Prelude,
        /// PEM file with the roots that clients of it trust; `None`: the chain must only be whole in itself.
        roots: Option<PathBuf>,
        /// For one look.
        timeout: Seconds,
    },
    /// In the whole account of an issuer.
    Account {
        /// Whose account.
        issuer: IssuerId,
        /// Certificates that end within so many days are asked for (`expired_days_since`, CCM API 4.1.5.1).
        days: u32,
        /// Ids, names and domains with `*` that are nobody's business here.
        ignore: Vec<String>,
    },
}

impl Watched {
    /// The word of its key in the policy.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Files { .. } => "files",
            Self::Host { .. } => "host",
            Self::Account { .. } => "account",
        }
    }
}

/// What was seen of one table at the last look.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WatchState {
    /// Digest of the policy under which it was seen.
    pub policy: Option<Fingerprint>,
    /// When the last look ended.
    pub looked_at: Option<Timestamp>,
    /// By file, name at a host, or id in an account.
    pub places: BTreeMap<String, WatchedPlace>,
    /// Places that nobody looked at, since there were too many or time was up.
    pub left: usize,
    /// Of an account: what is only known of the whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<AccountLook>,
}

/// A file, a name at a host, or an entry of an account.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WatchedPlace {
    /// Tells an unchanged file without reading it; empty for what is no file.
    pub stamp: String,
    /// Looks in a row that brought no certificate.
    pub failures: u32,
    /// Why the last of them did not.
    pub trouble: Option<WatchTrouble>,
    /// What was there when it was last read; stays while it cannot be.
    pub certificates: Vec<WatchedCertificate>,
    /// When another certificate took the place of the first one.
    pub changed_at: Option<Timestamp>,
}

/// Why a place shows nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchTrouble {
    /// Of which kind.
    pub kind: WatchTroubleKind,
    /// In words.
    pub detail: String,
}

/// The kinds of [`WatchTrouble`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WatchTroubleKind {
    /// There is no such file.
    Missing,
    /// It cannot be read, or holds no certificate.
    Unreadable,
    /// No handshake, or no answer of the account.
    Unreachable,
}

impl WatchTroubleKind {
    /// The code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Missing => "watched-missing",
            Self::Unreadable => "watched-unreadable",
            Self::Unreachable => "watched-unreachable",
        }
    }
}

/// One certificate that was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchedCertificate {
    /// Which of the place, such as an alias or `#2`; empty for the only one.
    pub which: String,
    /// For people: a few of its names.
    pub names: String,
    /// Serial in hex, or the id in an account.
    pub serial: String,
    /// SHA-256 of its DER form; `None` where only a listing was read.
    pub fingerprint: Option<Fingerprint>,
    /// Begin of validity, where it is known.
    pub not_before: Option<Timestamp>,
    /// End of validity.
    pub not_after: Timestamp,
    /// What is wrong with it beside its dates.
    pub faults: Vec<WatchFault>,
}

impl WatchedCertificate {
    /// The whole validity period; 90 days where the begin is not known.
    #[must_use]
    pub fn lifetime(&self) -> Seconds {
        self.not_before
            .map_or(Seconds::days(90), |from| from.until(self.not_after))
    }
}

/// What is wrong with a certificate that was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchFault {
    /// Of which kind.
    pub kind: WatchFaultKind,
    /// In words.
    pub detail: String,
}

/// The kinds of [`WatchFault`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WatchFaultKind {
    /// The private key beside it is of another certificate.
    KeyMismatch,
    /// It is not good for the name that was asked for.
    WrongName,
    /// Clients do not get from it to a root.
    Chain,
}

impl WatchFaultKind {
    /// The code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::KeyMismatch => "watched-key-mismatch",
            Self::WrongName => "watched-wrong-name",
            Self::Chain => "watched-chain",
        }
    }
}

impl fmt::Display for WatchFaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.code())
    }
}

/// An entry in the listing of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The issuer's own.
    pub id: String,
    /// What its owner calls it.
    pub name: String,
    /// As far as the listing tells them.
    pub names: Vec<String>,
    /// Begin of validity, where the listing tells it.
    pub not_before: Option<Timestamp>,
    /// End of validity.
    pub not_after: Option<Timestamp>,
    /// What the service says of it.
    pub standing: ListedStanding,
}

/// What a service says of a certificate in its listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListedStanding {
    /// In use.
    Valid,
    /// Past its end.
    Expired,
    /// Anything else, such as revoked, or not issued yet.
    Other,
}

/// What is known of a whole account.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AccountLook {
    /// When its listing was last read without any filter.
    pub listed_at: Option<Timestamp>,
    /// How many certificates it had then.
    pub listed: usize,
    /// How many more it said to have than could be read.
    pub unread: u64,
    /// How many more of those that end within the days of the watch it said to have than could be read.
    pub ending_unread: u64,
    /// Ids that a filter should have shown and did not, or that the whole listing lacks.
    pub differing: Vec<String>,
    /// Looks in a row that failed.
    pub failures: u32,
    /// How the last of them failed.
    pub problem: String,
    /// Ids near their end that were found to be in good hands at the last whole listing.
    pub settled: BTreeSet<String>,
}
