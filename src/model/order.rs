//! An order: the attempt to obtain one revision of a certificate.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::{
    CertificateId, ErrorClass, Failures, Fingerprint, IssuerId, KeyAlgorithm, KeyReuse, OrderId,
    Reason, RevisionId, Seconds, Started, SubjectAltNames, Timestamp,
};

/// Subject fields beside the common name (RFC 5280 §4.1.2.6).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// Two letters, ISO 3166.
    pub country: Option<String>,
    /// State or province.
    pub state: Option<String>,
    /// City.
    pub locality: Option<String>,
    /// Legal name.
    pub organization: Option<String>,
    /// Department.
    pub organizational_unit: Option<String>,
}

/// How the revision comes about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// Key made here, certificate by CSR.
    Csr,
    /// Key and certificate made at CCM, both exported.
    Ccm,
    /// Found in the account and exported with its key; nothing is applied for.
    Follow,
}

/// What is asked for, frozen when the order is opened: a later change of the policy leads to another order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderRequest {
    /// How.
    pub source: Source,
    /// Subject common name.
    pub common_name: String,
    /// Subject alternative names.
    pub names: SubjectAltNames,
    /// Rest of the subject.
    pub subject: Subject,
    /// Kind of key.
    pub key_algorithm: KeyAlgorithm,
    /// Whether the key of the newest revision is taken again.
    pub key_reuse: KeyReuse,
    /// Asked from the issuer.
    pub validity: Seconds,
    /// Digest of the certificate's policy; another digest abandons the order before it is submitted.
    pub policy: Fingerprint,
}

/// An order with everything the planner needs to know of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Made when it was opened.
    pub id: OrderId,
    /// For which certificate.
    pub certificate: CertificateId,
    /// From whom.
    pub issuer: IssuerId,
    /// Why.
    pub reason: Reason,
    /// What.
    pub request: OrderRequest,
    /// When.
    pub opened_at: Timestamp,
    /// The last phase that was reached and written down.
    pub phase: OrderPhase,
    /// A step whose intent is in the journal and whose outcome is not.
    pub started: Option<Started<OrderStep>>,
    /// Of the present step, in a row.
    pub failures: Failures,
}

/// How far an order has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "kebab-case")]
pub enum OrderPhase {
    /// Written down.
    Opened,
    /// `keys/<order>.key` is on disk, fsynced.
    KeyStored {
        /// Of its public key: finds the certificate again after a lost answer.
        spki: Fingerprint,
    },
    /// The answer to a submit was lost; complete listings without our key are being counted.
    Unclear {
        /// As in `KeyStored`; `None` when CCM makes the key.
        spki: Option<Fingerprint>,
        /// When the submit began.
        submitted_at: Timestamp,
        /// From when on a complete listing without a match counts.
        decisive_at: Timestamp,
        /// Complete listings without a match that counted.
        absences: u32,
        /// The next one not before. The first look is at once: finding it early is fine, only absence must wait.
        look_at: Timestamp,
    },
    /// The issuer has it.
    Submitted {
        /// As in `KeyStored`; `None` when CCM makes the key.
        spki: Option<Fingerprint>,
        /// The issuer's own id for it.
        reference: String,
        /// Next look not before.
        poll_after: Timestamp,
    },
    /// Checked and stored as a revision.
    Issued {
        /// Which.
        revision: RevisionId,
    },
    /// Done.
    Closed {
        /// How it ended.
        closing: OrderClosing,
    },
}

impl OrderPhase {
    /// The code, for people and the journal.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::KeyStored { .. } => "key-stored",
            Self::Unclear { .. } => "unclear",
            Self::Submitted { .. } => "submitted",
            Self::Issued { .. } => "issued",
            Self::Closed { closing } => match closing {
                OrderClosing::Fulfilled { .. } => "fulfilled",
                OrderClosing::Failed { .. } => "failed",
                OrderClosing::Abandoned { .. } => "abandoned",
            },
        }
    }
}

/// How an order ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "closing", rename_all = "kebab-case")]
pub enum OrderClosing {
    /// The revision is there.
    Fulfilled {
        /// Which.
        revision: RevisionId,
    },
    /// The issuer or a check said no for good.
    Failed {
        /// What helps.
        class: ErrorClass,
        /// What was said.
        message: String,
    },
    /// Nobody wants it any more.
    Abandoned {
        /// Why.
        message: String,
    },
}

/// What can be done next for an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OrderStep {
    /// Make the key and store it.
    StoreKey,
    /// Send the CSR, or ask CCM to make key and certificate.
    Submit,
    /// Find the follower's certificate in the account.
    Locate,
    /// Look whether a submit with a lost answer had an effect.
    Resolve,
    /// Ask for the certificate; when it is issued, check it and store the revision.
    Fetch,
    /// Put the order away.
    Close,
}

impl OrderStep {
    /// Whether the issuer is asked something.
    #[must_use]
    pub const fn asks_issuer(self) -> bool {
        match self {
            Self::Submit | Self::Locate | Self::Resolve | Self::Fetch => true,
            Self::StoreKey | Self::Close => false,
        }
    }

    /// The code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::StoreKey => "store-key",
            Self::Submit => "submit",
            Self::Locate => "locate",
            Self::Resolve => "resolve",
            Self::Fetch => "fetch",
            Self::Close => "close",
        }
    }

    /// Every step, for tests that visit each boundary.
    pub const ALL: [Self; 6] = [
        Self::StoreKey,
        Self::Submit,
        Self::Locate,
        Self::Resolve,
        Self::Fetch,
        Self::Close,
    ];
}

impl fmt::Display for OrderStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.code())
    }
}

/// What a step found out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum OrderEvent {
    /// The key is on disk.
    KeyStored {
        /// Of its public key.
        spki: Fingerprint,
    },
    /// The issuer accepted, or a lost submit or a follower's certificate was found.
    Accepted {
        /// The issuer's own id.
        reference: String,
        /// Next look not before.
        poll_after: Timestamp,
    },
    /// Whether the submit had an effect is not known.
    AnswerLost {
        /// When the submit began.
        submitted_at: Timestamp,
        /// First look that may count as an absence.
        look_at: Timestamp,
    },
    /// A complete listing does not have it.
    Absent {
        /// When the listing was asked for; one before `decisive_at` does not count.
        asked_at: Timestamp,
        /// Next look not before.
        look_at: Timestamp,
    },
    /// It certainly had no effect: it may be sent again.
    DefinitelyAbsent,
    /// The issuer is not done.
    NotYet {
        /// Next look not before.
        poll_after: Timestamp,
    },
    /// Checked and stored.
    Issued {
        /// Which.
        revision: RevisionId,
    },
    /// Ended.
    Closed {
        /// How.
        closing: OrderClosing,
    },
}

impl OrderEvent {
    /// The code, for the journal and for errors.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::KeyStored { .. } => "key-stored",
            Self::Accepted { .. } => "accepted",
            Self::AnswerLost { .. } => "answer-lost",
            Self::Absent { .. } => "absent",
            Self::DefinitelyAbsent => "definitely-absent",
            Self::NotYet { .. } => "not-yet",
            Self::Issued { .. } => "issued",
            Self::Closed { .. } => "closed",
        }
    }
}
