//! An order: the attempt to obtain one revision of a certificate.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::{
    CertificateId, DomainProof, ErrorClass, Failures, Fingerprint, IssuerId, KeyAlgorithm,
    KeyReuse, OrderId, ProofState, PublicRequest, Purchase, Reason, RevisionId, Seconds, Spent,
    Started, SubjectAltNames, Supplement, Timestamp, ValidationId,
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
    /// What only a public certificate needs; `None` for every other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public: Option<Box<PublicRequest>>,
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
    /// The account has nothing that may be taken yet.
    Seeking {
        /// Next look not before.
        look_at: Timestamp,
        /// What is waited for.
        want: Want,
    },
    /// A claim was written to an unused entitlement; it is read back, since another host may have written over it.
    Claiming {
        /// The certificate's id at SCM.
        reference: String,
        /// Not before.
        confirm_at: Timestamp,
        /// Of this order, with its answer lost: what was found may not be what was bought.
        purchase: Option<Box<Purchase>>,
    },
    /// A complete listing had nothing that may be taken: a purchase may be.
    Bare {
        /// Unused entitlements that were listed: their ids at SCM.
        listed: BTreeSet<String>,
        /// When the listing was asked for.
        looked_at: Timestamp,
        /// Purchases, by the account's tags.
        spent: Spent,
    },
    /// The answer to a purchase was lost; it is looked for, and no second one is made.
    PurchaseUnclear {
        /// What is known.
        purchase: Box<Purchase>,
        /// The next look not before.
        look_at: Timestamp,
    },
    /// An unused entitlement is ours.
    Entitled {
        /// The certificate's id at SCM.
        reference: String,
    },
    /// `keys/<order>.key` is on disk, fsynced.
    KeyStored {
        /// Of its public key: finds the certificate again after a lost answer.
        spki: Fingerprint,
        /// The entitlement that is applied for; `None` where none is needed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        entitlement: Option<String>,
    },
    /// The answer to a submit was lost; complete listings without our key are being counted.
    Unclear {
        /// As in `KeyStored`; `None` when CCM makes the key.
        spki: Option<Fingerprint>,
        /// When the submit began.
        submitted_at: Timestamp,
        /// From when on a complete listing without a match counts.
        decisive_at: Timestamp,
        /// Complete listings without a match that counted; of an application the answers that its entitlement is unused.
        absences: u32,
        /// Since when answers that count say that the entitlement itself is not there any more.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        gone: Option<Timestamp>,
        /// The next one not before. The first look is at once: finding it early is fine, only absence must wait.
        look_at: Timestamp,
        /// As in `KeyStored`; of a supplement the certificate that the names are added to.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        entitlement: Option<String>,
        /// It was no application, but names for an issued certificate.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        supplement: bool,
    },
    /// The issuer has it.
    Submitted {
        /// As in `KeyStored`; `None` when CCM makes the key.
        spki: Option<Fingerprint>,
        /// The issuer's own id for it.
        reference: String,
        /// Next look not before.
        poll_after: Timestamp,
        /// It is an application at SCM, which can be withdrawn.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        public: bool,
        /// How its domains are proven, once the issuer said what proves them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        proof: Option<Box<ProofState>>,
        /// How far the issuer is, in its own words, and since when; empty before the first look.
        #[serde(default)]
        review: Review,
    },
    /// Checked and stored as a revision.
    Issued {
        /// Which.
        revision: RevisionId,
        /// What is still to be retracted.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        proof: Option<Box<ProofState>>,
    },
    /// Its end is decided; what it left elsewhere is cleared away first.
    Ending {
        /// How it ends.
        closing: OrderClosing,
        /// An application that is withdrawn.
        withdraw: Option<String>,
        /// Proofs that are retracted.
        proof: Option<Box<ProofState>>,
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
            Self::Seeking { .. } => "seeking",
            Self::Claiming { .. } => "claiming",
            Self::Bare { .. } => "bare",
            Self::PurchaseUnclear { .. } => "purchase-unclear",
            Self::Entitled { .. } => "entitled",
            Self::KeyStored { .. } => "key-stored",
            Self::Unclear { .. } => "unclear",
            Self::Submitted { .. } => "submitted",
            Self::Issued { .. } => "issued",
            Self::Ending { .. } => "ending",
            Self::Closed { closing } => match closing {
                OrderClosing::Fulfilled { .. } => "fulfilled",
                OrderClosing::Failed { .. } => "failed",
                OrderClosing::Abandoned { .. } => "abandoned",
            },
        }
    }
}

/// What an order of a public certificate waits for before it may apply.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "want", rename_all = "kebab-case")]
pub enum Want {
    /// The next certificate of an order of several years, which the account brings by itself.
    Successor {
        /// End of validity of the one before.
        not_after: Timestamp,
    },
    /// An unused entitlement: nothing may be bought, or none could be claimed. A person buys one, or another host is done.
    Entitlement,
    /// A person: an application or a certificate for these names is in the account and not ours, or cannot be told from
    /// others' ones.
    Person {
        /// One line: what, and what to do.
        detail: String,
    },
    /// A person: the next certificate of an order of several years is there, and lacks names that the one before it has by
    /// now.
    Names {
        /// One line: which, and what it lacks.
        detail: String,
    },
}

/// How far a review is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Review {
    /// The issuer's word, such as `CHECKING_ORG`.
    pub status: String,
    /// Since when it is that.
    pub since: Timestamp,
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
    /// Look through the account for what may be taken, and claim it.
    Look,
    /// Read a claim back.
    Confirm,
    /// Buy an entitlement. It costs money.
    Buy,
    /// Look whether a purchase with a lost answer was made.
    Trace,
    /// Make the key and store it.
    StoreKey,
    /// Send the CSR, or ask CCM to make key and certificate.
    Submit,
    /// Ask for further names in an issued certificate.
    Supplement,
    /// Find the follower's certificate in the account.
    Locate,
    /// Look whether a submit with a lost answer had an effect.
    Resolve,
    /// Ask for the certificate; when it is issued, check it and store the revision.
    Fetch,
    /// Put the proofs of the domains where the issuer looks.
    Publish,
    /// Look whether they are seen from everywhere.
    Examine,
    /// Take them away.
    Retract,
    /// Take an application back.
    Withdraw,
    /// Put the order away.
    Close,
}

impl OrderStep {
    /// Whether the issuer is asked something.
    #[must_use]
    pub const fn asks_issuer(self) -> bool {
        match self {
            Self::Look
            | Self::Confirm
            | Self::Buy
            | Self::Trace
            | Self::Submit
            | Self::Supplement
            | Self::Locate
            | Self::Resolve
            | Self::Fetch
            | Self::Withdraw => true,
            Self::StoreKey | Self::Publish | Self::Examine | Self::Retract | Self::Close => false,
        }
    }

    /// The code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Look => "look",
            Self::Confirm => "confirm",
            Self::Buy => "buy",
            Self::Trace => "trace",
            Self::StoreKey => "store-key",
            Self::Submit => "submit",
            Self::Supplement => "supplement",
            Self::Locate => "locate",
            Self::Resolve => "resolve",
            Self::Fetch => "fetch",
            Self::Publish => "publish",
            Self::Examine => "examine",
            Self::Retract => "retract",
            Self::Withdraw => "withdraw",
            Self::Close => "close",
        }
    }

    /// Every step, for tests that visit each boundary.
    pub const ALL: [Self; 15] = [
        Self::Look,
        Self::Confirm,
        Self::Buy,
        Self::Trace,
        Self::StoreKey,
        Self::Submit,
        Self::Supplement,
        Self::Locate,
        Self::Resolve,
        Self::Fetch,
        Self::Publish,
        Self::Examine,
        Self::Retract,
        Self::Withdraw,
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
    /// A claim was written to an unused entitlement.
    Claimed {
        /// The certificate's id at SCM.
        reference: String,
        /// Read back not before.
        confirm_at: Timestamp,
    },
    /// The claim stands.
    Confirmed,
    /// Another host's claim stands in its place, or the entitlement is gone.
    Yielded {
        /// Next look not before.
        look_at: Timestamp,
    },
    /// An application or a certificate of the account is taken over: its key is ours, or CCM hands it out.
    Adopted {
        /// The certificate's id at SCM.
        reference: String,
        /// Of our key in it; `None` where CCM hands it out.
        spki: Option<Fingerprint>,
        /// Next look not before.
        poll_after: Timestamp,
    },
    /// What it needs is to come by itself, or a person must see to it.
    Wanting {
        /// What.
        want: Want,
        /// Next look not before.
        look_at: Timestamp,
    },
    /// A complete listing has nothing that may be taken.
    NothingFree {
        /// Unused entitlements that were listed and do not fit or are claimed: their ids at SCM.
        listed: BTreeSet<String>,
        /// When it was asked for.
        looked_at: Timestamp,
        /// Purchases, by the account's tags.
        spent: Spent,
    },
    /// It was bought, or a purchase with a lost answer was found.
    Bought {
        /// The certificate's id at SCM.
        reference: String,
    },
    /// Whether it was bought is not known.
    PurchaseLost {
        /// When it began.
        began_at: Timestamp,
        /// From when on a complete answer without it counts.
        decisive_at: Timestamp,
        /// Whether it is paid for by itself.
        automatic_payment: bool,
    },
    /// Two complete answers, by tag and by listing, do not have it.
    NotBought {
        /// When the first of both was asked for; one before `decisive_at` does not count.
        asked_at: Timestamp,
        /// Next look not before.
        look_at: Timestamp,
    },
    /// Somebody uses what may be it, and the account does not say yet who bought that: nothing counts.
    PurchaseUntold {
        /// Next look not before.
        look_at: Timestamp,
    },
    /// It certainly was not bought.
    DefinitelyNotBought,
    /// The issuer said what proves the domains.
    ProofWanted {
        /// By which way they are published.
        by: ValidationId,
        /// What.
        proofs: Vec<DomainProof>,
        /// How far the issuer is.
        review: Review,
        /// Next look not before.
        poll_after: Timestamp,
    },
    /// The proofs are where the issuer looks.
    Published {
        /// When.
        at: Timestamp,
        /// Examined not before.
        examine_at: Timestamp,
    },
    /// They are seen from everywhere.
    Visible {
        /// When.
        at: Timestamp,
    },
    /// They are taken away.
    Retracted,
    /// The application is taken back, or nothing is left of it.
    Withdrawn,
    /// It could not be cleared away for long, and the certificate needs another order: it stays where it is.
    LeftBehind {
        /// What, and why: for a person.
        what: String,
    },
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
    /// The issuer adds the names, or has added them.
    Supplemented {
        /// The certificate's id at SCM.
        reference: String,
        /// As in [`Supplement`].
        spki: Option<Fingerprint>,
        /// Next look not before.
        poll_after: Timestamp,
    },
    /// Whether the submit had an effect is not known.
    AnswerLost {
        /// When the submit began.
        submitted_at: Timestamp,
        /// First look that may count as an absence.
        look_at: Timestamp,
        /// Where names for an issued certificate were sent: which.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        supplement: Option<Box<Supplement>>,
    },
    /// A complete listing does not have it.
    Absent {
        /// When the listing was asked for; one before `decisive_at` does not count.
        asked_at: Timestamp,
        /// Next look not before.
        look_at: Timestamp,
        /// What was to be applied for with is not there, either.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        gone: bool,
    },
    /// It certainly had no effect: it may be sent again.
    DefinitelyAbsent,
    /// The issuer is not done.
    NotYet {
        /// Next look not before.
        poll_after: Timestamp,
        /// How far it is; empty where the issuer does not say.
        #[serde(default)]
        review: Review,
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
            Self::Claimed { .. } => "claimed",
            Self::Confirmed => "confirmed",
            Self::Yielded { .. } => "yielded",
            Self::Adopted { .. } => "adopted",
            Self::Wanting { .. } => "wanting",
            Self::NothingFree { .. } => "nothing-free",
            Self::Bought { .. } => "bought",
            Self::PurchaseLost { .. } => "purchase-lost",
            Self::NotBought { .. } => "not-bought",
            Self::PurchaseUntold { .. } => "purchase-untold",
            Self::DefinitelyNotBought => "definitely-not-bought",
            Self::ProofWanted { .. } => "proof-wanted",
            Self::Published { .. } => "published",
            Self::Visible { .. } => "visible",
            Self::Retracted => "retracted",
            Self::Withdrawn => "withdrawn",
            Self::LeftBehind { .. } => "left-behind",
            Self::KeyStored { .. } => "key-stored",
            Self::Accepted { .. } => "accepted",
            Self::Supplemented { .. } => "supplemented",
            Self::AnswerLost { .. } => "answer-lost",
            Self::Absent { .. } => "absent",
            Self::DefinitelyAbsent => "definitely-absent",
            Self::NotYet { .. } => "not-yet",
            Self::Issued { .. } => "issued",
            Self::Closed { .. } => "closed",
        }
    }
}
