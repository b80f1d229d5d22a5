//! What was seen at addresses that decide nothing: load balancers, other hosts.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::{CertificateId, RevisionId, Timestamp};

/// Where else the names of a target's certificates are looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observe {
    /// At the addresses that each name resolves to, at the port of the target's listener.
    Names,
    /// All names at the addresses of this `host:port`.
    At(String),
}

impl fmt::Display for Observe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Names => "names",
            Self::At(place) => place,
        })
    }
}

/// One look at all of these addresses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observed {
    /// When.
    pub at: Timestamp,
    /// The set that was live then.
    pub revisions: BTreeMap<CertificateId, RevisionId>,
    /// What the policy said of where to look, in its words.
    pub asked: Vec<String>,
    /// Something differed at every look from this moment on; `None` where nothing differs.
    pub since: Option<Timestamp>,
    /// What was seen, by name and address.
    pub sights: Vec<Sight>,
    /// Addresses that nobody looked at, since there were too many or time was up.
    pub left: usize,
}

impl Observed {
    /// What is worth a word: differences, else who did not answer; [`SightKind::Same`] where all is well.
    #[must_use]
    pub fn worst(&self) -> SightKind {
        let kinds = self.sights.iter().map(|sight| sight.kind);
        kinds.max().unwrap_or(SightKind::Same)
    }

    /// What differs.
    pub fn differing(&self) -> impl Iterator<Item = &Sight> {
        let differs = |sight: &&Sight| sight.kind == SightKind::Differs;
        self.sights.iter().filter(differs)
    }
}

/// What was seen of one name at one address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sight {
    /// As it was asked for.
    pub name: String,
    /// `address:port`; `host:port` where that resolved to nothing.
    pub address: String,
    /// What came of it.
    pub kind: SightKind,
    /// In words.
    pub detail: String,
}

/// What came of a look, the worst last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SightKind {
    /// The certificate that is live.
    Same,
    /// No certificate: nobody answers, or the name has no address.
    Silent,
    /// Another certificate.
    Differs,
}

impl SightKind {
    /// The code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Same => "observed-same",
            Self::Silent => "observed-silent",
            Self::Differs => "observed-differs",
        }
    }
}
