//! What an issuer says of a certificate that it issued.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::RevisionId;

/// Trouble that an issuer reports; that a certificate is in order is the absence of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// Taken back: clients may refuse it, and its key may be known to others.
    Revoked,
    /// The issuer does not know it any more; clients do not notice.
    Deleted,
    /// Nothing can be done with it or its CA until the account is settled.
    Frozen,
    /// The CA that issued it issues no more.
    IssuerDisabled,
}

impl Standing {
    /// The code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Revoked => "revoked",
            Self::Deleted => "deleted",
            Self::Frozen => "frozen",
            Self::IssuerDisabled => "issuer-disabled",
        }
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.code())
    }
}

/// The trouble of one revision, as it was last read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteTrouble {
    /// Of which revision: with a newer one it is over.
    pub revision: RevisionId,
    /// What.
    pub standing: Standing,
    /// One line.
    pub detail: String,
}
