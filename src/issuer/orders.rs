//! Orders of public certificates at SCM: what is in the account, what is claimed, bought, applied for, withdrawn.
//!
//! Each answers "did it happen?" for the one before it. Decisions are `plan::order_machine`'s.

mod apply;
mod buy;
mod fit;
mod keys;
mod life;
mod look;
mod proofs;
mod queue;
mod supplement;
mod survey;
pub(super) mod tags;
mod version2;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::OnceCell;

pub(super) use version2::{iam_of, region_of};

use crate::ccm::{Projects, Scm, ScmV2};
use crate::issuer::IssuerError;
use crate::issuer::orders::keys::Leaves;
use crate::model::{
    Applicant, Buying, Claim, Entitlement, Fingerprint, Identity, OrderId, OrderRequest, Purchase,
    Spent, Supplement, Timestamp, ValidationKind,
};

/// The orders of one SCM account.
pub struct Orders {
    scm: Arc<Scm>,
    /// Project id of the policy.
    project: Option<String>,
    /// Who is asked for it, where the policy has none.
    projects: Option<Projects>,
    /// How the project is called that is asked for.
    project_name: Option<String>,
    version2: OnceCell<ScmV2>,
    leaves: Leaves,
}

/// In which project chapter 7 of the API is spoken.
pub(super) enum Where {
    /// That of the policy.
    Known(String),
    /// One that IAM tells, of this name if there is one.
    AskedFrom(Projects, Option<String>),
}

/// What a look through the account is for.
#[derive(Debug, Clone, Copy)]
pub struct Look<'a> {
    /// Which order.
    pub order: &'a OrderId,
    /// What it asks for; `public` of it is there.
    pub request: &'a OrderRequest,
    /// Whose journal.
    pub identity: &'a Identity,
    /// Public keys of which the private ones are here: a certificate or an application of one of them is ours. One that
    /// became known to others is none of them.
    pub keys: &'a BTreeSet<Fingerprint>,
    /// References that are revisions already, or belong to other orders of this journal.
    pub known: &'a BTreeSet<String>,
    /// Orders of this journal that bought something within the last 30 days or tried to, for [`Spent::unknown`].
    pub purchases: &'a BTreeSet<OrderId>,
    /// Now.
    pub now: Timestamp,
}

/// What was seen, by what comes first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sighting {
    /// Issued for these names and not known yet: the successor of a multi-year order, or a colleague's. Its key is ours
    /// (`spki`) or CCM hands it out.
    Issued {
        /// Id at SCM.
        reference: String,
        /// Of our key in it.
        spki: Option<Fingerprint>,
    },
    /// An application under way that is ours, such as a successor that awaits the proof of its domains.
    UnderWay {
        /// Id at SCM.
        reference: String,
        /// Of our key in it.
        spki: Option<Fingerprint>,
    },
    /// The next certificate of the order that was in use, ours and without some of the names: they were added to the one
    /// before when this one was made already.
    Narrower {
        /// One line: id, status, names, and which are lacking.
        detail: String,
    },
    /// The entitlement that was in use has certificates to come, and the next is not there yet.
    SuccessorToCome,
    /// An application for exactly these names that cannot be shown to be ours.
    Foreign {
        /// One line: id, status, names.
        detail: String,
    },
    /// An unused entitlement that fits, without a fresh claim of another host.
    Unused {
        /// Id at SCM; one that bears a claim or intent of this very order comes first.
        reference: String,
    },
    /// Nothing that may be taken, by complete listings.
    Nothing {
        /// Unused entitlements of any kind: ids.
        unused: BTreeSet<String>,
        /// Purchases, by the account's tags.
        spent: Spent,
    },
}

/// What was found of a purchase with a lost answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Traced {
    /// It bears our intent.
    Found {
        /// Id at SCM.
        reference: String,
    },
    /// An unused entitlement that was not there before, fits, and that nobody claims: it may be ours, its tags late.
    Perhaps {
        /// Id at SCM.
        reference: String,
    },
    /// What came since and may be it is claimed or used by somebody else, and its tags do not say who bought it.
    Untold {
        /// One line.
        detail: String,
    },
    /// Complete answers do not have it.
    Absent,
}

/// What became of an application with a lost answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Applied {
    /// The entitlement is unused still.
    Unused,
    /// Under way or issued, and ours by its CSR or public key.
    Ours,
    /// Under way or issued with another key than ours: an application of ours had no effect and can have none any more.
    Taken {
        /// One line.
        detail: String,
    },
    /// The entitlement is not there: deleted, or not there yet.
    Gone {
        /// One line.
        detail: String,
    },
    /// Under way or issued, and nothing says whose it is.
    Foreign {
        /// One line.
        detail: String,
    },
}

/// What became of names that were added to an issued certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Supplemented {
    /// It is issued without them, and they may be added.
    Open,
    /// They are being proven.
    UnderWay(Whose),
    /// It is issued with them.
    Done,
    /// Something else is done with it at this moment.
    Busy {
        /// One line.
        detail: String,
    },
    /// They can never be added.
    Over {
        /// One line.
        detail: String,
    },
}

/// Whose names are being proven for an issued certificate, by what the account wants proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// These and no others; some of them may be proven already.
    Ours,
    /// These among others: somebody else asked for all of them.
    Wider,
    /// The account does not say.
    Unclear,
    /// Others.
    Others,
}

/// A certificate that came from the same order as another one, with its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sibling {
    /// Id at SCM.
    pub reference: String,
    /// Of its public key.
    pub spki: Fingerprint,
    /// End of its validity.
    pub until: Timestamp,
}

/// Who buys, as tags on what is bought.
#[derive(Debug, Clone, Copy)]
pub struct Intent<'a> {
    /// Which order.
    pub order: &'a OrderId,
    /// Of which journal.
    pub identity: &'a Identity,
    /// Name of the certificate in the policy.
    pub certificate: &'a str,
    /// Now.
    pub now: Timestamp,
}

impl Orders {
    pub(super) fn new(scm: Arc<Scm>, project: Where) -> Self {
        let (project, projects, project_name) = match project {
            Where::Known(project) => (Some(project), None, None),
            Where::AskedFrom(projects, name) => (None, Some(projects), name),
        };
        Self {
            scm,
            project,
            projects,
            project_name,
            version2: OnceCell::new(),
            leaves: Leaves::default(),
        }
    }

    /// Looks through the account. An incomplete listing is an error, never `Nothing`.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn look(&self, look: &Look<'_>) -> Result<Sighting, IssuerError> {
        self.sight(look).await
    }

    /// By certificate, the host that cares for it, as far as renewd has marked it.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn hosts(&self) -> Result<BTreeMap<String, String>, IssuerError> {
        survey::hosts(&self.scm).await
    }

    /// From when on a certificate is valid, which no listing tells; `None` where the account does not say.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn begin(&self, reference: &str) -> Result<Option<Timestamp>, IssuerError> {
        self.valid_from(reference).await
    }

    /// Writes a claim to an unused entitlement, over whatever stands there.
    ///
    /// # Errors
    /// Those of every call; writing it twice does no harm.
    pub async fn claim(&self, reference: &str, claim: &Claim) -> Result<(), IssuerError> {
        tags::put(&self.scm, reference, &[(Claim::KEY, &claim.to_string())]).await
    }

    /// Whether the entitlement is unused and this order's claim stands.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn confirm(&self, reference: &str, order: &OrderId) -> Result<bool, IssuerError> {
        let Some(found) = tags::of(&self.scm, reference).await? else {
            return Ok(false);
        };
        let stands = found.claim().is_some_and(|claim| claim.order == *order);
        Ok(stands && self.is_unused(reference).await?)
    }

    /// Takes a place in the queue of those who are about to buy from the account; answers when that was, by the account's
    /// clock. Who looks later counts it as a purchase for an hour.
    ///
    /// # Errors
    /// Those of every call; with a lost answer the place may be taken, which the next look sees.
    pub async fn reserve(&self, look: &Look<'_>) -> Result<Timestamp, IssuerError> {
        self.take_place(look).await
    }

    /// Buys one, with tags of intent and claim (CCM API 4.1.3.1); answers its id.
    ///
    /// # Errors
    /// Those of every call; with `Effect::Unknown` it may have been bought.
    pub async fn buy(&self, buying: &Buying, intent: Intent<'_>) -> Result<String, IssuerError> {
        self.purchase(buying, intent).await
    }

    /// Looks for a purchase, by tag and by comparison with what was there before.
    ///
    /// # Errors
    /// Those of every call; an incomplete listing is one.
    pub async fn trace(&self, look: &Look<'_>, purchase: &Purchase) -> Result<Traced, IssuerError> {
        self.find_purchase(look, purchase).await
    }

    /// Applies with an entitlement (CCM API 4.1.1.1). `csr_pem` is `None` where CCM makes the key. `validation` says how
    /// the names are proven; `Automatic` lets SCM write the record by itself.
    ///
    /// # Errors
    /// Those of every call; with `Effect::Unknown` it may have been accepted.
    pub async fn apply(
        &self,
        reference: &str,
        request: &OrderRequest,
        applicant: &Applicant,
        validation: &ValidationKind,
        csr_pem: Option<&str>,
    ) -> Result<super::Accepted, IssuerError> {
        self.hand_in(reference, request, applicant, validation, csr_pem)
            .await
    }

    /// What became of an application whose answer is lost.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn applied(
        &self,
        reference: &str,
        request: &OrderRequest,
        spki: Option<Fingerprint>,
    ) -> Result<Applied, IssuerError> {
        self.what_became(reference, request, spki).await
    }

    /// Takes an application back (CCM API 4.1.1.2), or these names that are being added to an issued certificate; what is
    /// over already is no error.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn withdraw(
        &self,
        reference: &str,
        supplement: Option<&Supplement>,
    ) -> Result<(), IssuerError> {
        let under_way = [Whose::Ours, Whose::Unclear];
        let taken = self.take_back(reference, supplement, &under_way).await;
        taken.map(drop)
    }

    /// Takes back names that are being added to an issued certificate, where it is certain that they are these alone; answers
    /// whether it did.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn withdraw_late(&self, supplement: &Supplement) -> Result<bool, IssuerError> {
        let reference = &supplement.reference;
        self.take_back(reference, Some(supplement), &[Whose::Ours])
            .await
    }

    /// Has names added to an issued certificate of several domains (CCM API 7.1.20).
    ///
    /// # Errors
    /// Those of every call; with `Effect::Unknown` it may have been accepted.
    pub async fn supplement(&self, supplement: &Supplement) -> Result<(), IssuerError> {
        self.send_supplement(supplement).await
    }

    /// How far names are that may have been added to a certificate.
    ///
    /// # Errors
    /// Those of every call; `Transient` where the certificate cannot be read.
    pub async fn supplemented(&self, supplement: &Supplement) -> Result<Supplemented, IssuerError> {
        self.how_supplemented(supplement).await
    }

    /// Why a certificate is as it was before names were added, in the CA's words.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn why_not_supplemented(
        &self,
        reference: &str,
    ) -> Result<Option<String>, IssuerError> {
        self.why_as_before(reference).await
    }

    /// What is issued of the orders of these certificates with one of these keys, and is none of them.
    ///
    /// # Errors
    /// Those of every call; an incomplete listing is one.
    pub async fn siblings(
        &self,
        of: &BTreeSet<String>,
        keys: &BTreeSet<Fingerprint>,
    ) -> Result<Vec<Sibling>, IssuerError> {
        self.with_keys(of, keys).await
    }

    /// What is known of the order that a certificate came from (CCM API 4.1.2.1).
    ///
    /// # Errors
    /// Those of every call; `Rejected` where the certificate is gone.
    pub async fn entitlement(
        &self,
        reference: &str,
        now: Timestamp,
    ) -> Result<Entitlement, IssuerError> {
        self.facts(reference, now).await
    }
}
