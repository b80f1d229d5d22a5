//! What a check found that is not as it was rolled out.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::{CertificateId, Timestamp};

/// Every difference between what was committed on a target and what is there. Never empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Drift {
    /// In the order in which they were found: the link first, then files in the order of the commit.
    pub differences: Vec<Difference>,
    /// The generation that was looked at: that of the live set, or of a rollout that waits for its service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
}

impl Drift {
    /// The differences of one kind.
    pub fn of(&self, kind: DriftKind) -> impl Iterator<Item = &Difference> {
        self.differences.iter().filter(move |d| d.kind == kind)
    }

    /// Places of somebody else's that may hold something newer.
    pub fn perhaps_newer(&self) -> impl Iterator<Item = &Difference> {
        self.differences.iter().filter(|d| d.may_be_newer())
    }

    /// What comes first of a kind in [`DriftKind::ALL`], so that a person reads the worst.
    #[must_use]
    pub fn worst(&self) -> Option<&Difference> {
        self.differences.iter().min_by_key(|found| found.kind)
    }
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(worst) = self.worst() else {
            return f.write_str("nothing differs");
        };
        f.write_str(&worst.detail)?;
        match self.differences.len().saturating_sub(1) {
            0 => Ok(()),
            more => write!(f, ", and {more} more"),
        }
    }
}

/// What a service was seen to serve that is not what was rolled out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Wire {
    /// At most one for a certificate. Never empty.
    pub differences: Vec<Difference>,
    /// The service was told once more, and it did not help; until it serves what it should.
    pub retold: bool,
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// Which kind.
    pub kind: DriftKind,
    /// Whose file it is; `None` for what all certificates of the target share.
    pub certificate: Option<CertificateId>,
    /// The path, and what is wrong with it.
    pub detail: String,
    /// Begin of validity of the certificate that is there, for [`DriftKind::NewerElsewhere`] and [`DriftKind::ServedNewer`]. For
    /// [`DriftKind::FileEdited`], of a keystore that could not be opened: when it was written, and nothing in it was issued later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issued_at: Option<Timestamp>,
}

impl Difference {
    /// A keystore is there that somebody else wrote, and nobody can say what is in it.
    #[must_use]
    pub fn is_sealed(&self) -> bool {
        self.kind == DriftKind::FileEdited && self.issued_at.is_some()
    }

    /// What is on disk there was, or may have been, issued later than what was committed.
    #[must_use]
    pub fn may_be_newer(&self) -> bool {
        self.kind == DriftKind::NewerElsewhere || self.is_sealed()
    }
}

/// The kinds, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DriftKind {
    /// Somebody else installed a valid certificate for the same names that was issued later.
    NewerElsewhere,
    /// Others may read a private key, or it belongs to somebody else.
    KeyExposed,
    /// A link points elsewhere, is missing, or stands where a file was.
    LinkChanged,
    /// A file is not there.
    FileMissing,
    /// A file cannot be looked at or read.
    FileUnreadable,
    /// Its content was changed.
    FileEdited,
    /// The service serves a certificate of somebody else that was issued later.
    ServedNewer,
    /// The service serves something that renewd does not manage there.
    ServedOther,
    /// The file is new, and the service serves an older revision.
    ServedOld,
    /// The service serves the right leaf, and what comes behind it is missing or another chain.
    ServedChain,
    /// Mode, owner or group were changed.
    AttributesChanged,
}

impl DriftKind {
    /// The code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::NewerElsewhere => "newer-elsewhere",
            Self::KeyExposed => "key-exposed",
            Self::FileMissing => "file-missing",
            Self::FileUnreadable => "file-unreadable",
            Self::FileEdited => "file-edited",
            Self::LinkChanged => "link-changed",
            Self::ServedNewer => "served-newer",
            Self::ServedOther => "served-other",
            Self::ServedOld => "served-old",
            Self::ServedChain => "served-chain",
            Self::AttributesChanged => "attributes-changed",
        }
    }

    /// Whether it was seen in a handshake, and not on disk.
    #[must_use]
    pub const fn is_served(self) -> bool {
        matches!(
            self,
            Self::ServedNewer | Self::ServedOther | Self::ServedOld | Self::ServedChain
        )
    }

    /// Every kind.
    pub const ALL: [Self; 11] = [
        Self::NewerElsewhere,
        Self::KeyExposed,
        Self::LinkChanged,
        Self::FileMissing,
        Self::FileUnreadable,
        Self::FileEdited,
        Self::ServedNewer,
        Self::ServedOther,
        Self::ServedOld,
        Self::ServedChain,
        Self::AttributesChanged,
    ];
}

impl fmt::Display for DriftKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.code())
    }
}
