//! What of a certificate's state is changed beside its orders (`sqlite_change` writes it), and what a claim of the journal
//! changes.

use std::collections::BTreeSet;

use crate::model::{
    CompromisedKey, Entitlement, Fingerprint, Offer, OrderId, PushId, PushState, RemoteTrouble,
    RevisionId, Revoking, StepFailure, Supplement, Timestamp, Unseen,
};

/// A change of what is known of a certificate, beside orders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CertificateChange {
    /// A follower's account was asked.
    Offer {
        /// What it said.
        offer: Offer,
        /// Digest of the certificate's policy whose names were asked for.
        under: Fingerprint,
    },
    /// Asking a follower's account failed.
    SurveyFailed(StepFailure),
    /// A person asked for a new revision; clears what blocks one, also failures of the open order.
    Forced,
    /// Whether the stored revision can be used.
    Unusable(Option<String>),
    /// What the issuer says of the newest revision; `None`: it is in order.
    Remote(Option<RemoteTrouble>),
    /// What its issuer says of the orders at SCM that it came from.
    Entitlements(Vec<Entitlement>),
    /// The issuer took a revision back that is not the newest any more.
    Revoked(RevisionId),
    /// Revisions are to be revoked; in place of what was asked for the same ones before.
    Revoke {
        /// Which.
        all: Vec<Revoking>,
        /// Their key, where others may know it.
        compromised: Option<CompromisedKey>,
    },
    /// It was revoked.
    RevocationDone {
        /// Which.
        revision: RevisionId,
        /// When.
        at: Timestamp,
        /// One line for people.
        message: String,
    },
    /// Revoking it failed.
    RevocationFailed {
        /// Which.
        revision: RevisionId,
        /// Why.
        failure: StepFailure,
    },
    /// It is not to be revoked any more.
    RevocationDropped {
        /// Which.
        revision: RevisionId,
        /// Whether its issuer does not have it any more: then it is as good as taken back, and never asked for again.
        gone: bool,
        /// When, and one line for people; where a person may ask what became of it.
        news: Option<(Timestamp, String)>,
    },
    /// Names that may be added to a certificate of it late were looked for.
    Unseen {
        /// Which.
        supplement: Box<Supplement>,
        /// What is known of them now; `None`: they come no more.
        left: Option<Box<Unseen>>,
        /// What was done about them, if anything: when, whether in vain, and one line for people.
        news: Option<(Timestamp, bool, String)>,
    },
    /// What is known of it at a place of the cloud.
    Push {
        /// Which place.
        push: PushId,
        /// All that is known.
        state: Box<PushState>,
        /// When, and one line for people.
        news: (Timestamp, String),
    },
}

/// What a claim changed beside the identity.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Claimed {
    /// Orders that were given up.
    pub orders: BTreeSet<OrderId>,
    /// Purchases that were taken over: their ids at SCM.
    pub purchases: BTreeSet<String>,
}
