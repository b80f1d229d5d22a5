//! What of an account an order may take, by what comes first: nothing is bought while there is any of it.

mod narrower;

use std::collections::BTreeSet;

use crate::ccm::ScmStatus;
use crate::issuer::IssuerError;
use crate::issuer::failure::{own, reading};
use crate::issuer::orders::fit::Wanted;
use crate::issuer::orders::keys::Applicant;
use crate::issuer::orders::survey::{One, Survey};
use crate::issuer::orders::{Look, Orders, Sighting, tags};
use crate::issuer::scm::is_gone;
use crate::model::{
    ErrorClass, Fingerprint, PublicRequest, Purchase, Seconds, Source, Spent, Timestamp,
    brings_successor,
};

/// A look with what was seen.
struct View<'a> {
    look: &'a Look<'a>,
    public: &'a PublicRequest,
    wanted: Wanted,
    survey: &'a Survey,
    /// What comes from the orders of certificates that are known.
    related: BTreeSet<&'a str>,
}

impl<'a> View<'a> {
    fn new(look: &'a Look<'a>, survey: &'a Survey) -> Result<Self, IssuerError> {
        let Some(public) = look.request.public.as_deref() else {
            return Err(own(
                ErrorClass::Bug,
                "an order at SCM lacks what only public certificates need",
            ));
        };
        let known = look.known.iter().chain(&public.replaces);
        Ok(Self {
            look,
            public,
            wanted: Wanted::of(look.request, public),
            survey,
            related: survey.relatives(known),
        })
    }

    fn others(&self) -> impl Iterator<Item = &'a One> {
        let known =
            |id: &str| self.look.known.contains(id) || self.public.replaces.as_deref() == Some(id);
        let all = self.survey.0.values();
        all.filter(move |one| !known(&one.id))
    }

    fn replaced(&self) -> Option<&'a One> {
        self.survey.0.get(self.public.replaces.as_ref()?)
    }

    fn covers(&self, one: &One) -> bool {
        one.names.cover(&self.wanted.names)
    }

    fn is_exact(&self, one: &One) -> bool {
        one.names == self.wanted.names
    }

    fn is_related(&self, one: &One) -> bool {
        self.related.contains(one.id.as_str())
    }

    /// Ours by tags, for this order or for one of this journal that is over.
    fn is_ours(&self, one: &One) -> bool {
        one.tags.are_of(self.look.order) || one.tags.are_of_journal(self.look.identity)
    }

    fn has_key(&self, spki: Fingerprint) -> bool {
        self.look.keys.contains(&spki)
    }

    /// Issued later than what it would replace, or ending later.
    fn is_newer(&self, one: &One) -> bool {
        let issued = |one: &One| one.issued;
        let before = self.replaced().and_then(issued);
        let later = |this: Option<Timestamp>, that: Option<Timestamp>| match (this, that) {
            (Some(this), Some(that)) => this > that,
            (Some(_) | None, None) | (None, Some(_)) => false,
        };
        self.public.replaces_until.is_none()
            || later(one.ends, self.public.replaces_until)
            || later(one.issued, before)
    }

    /// By what the account lists of a certificate that has been issued.
    fn may_be_taken_over(&self, one: &One) -> bool {
        self.covers(one)
            && one.sold.may_be_taken_over(&self.wanted)
            && one.ends.is_none_or(|end| self.look.now < end)
            && self.is_newer(one)
    }

    /// Fits, is the first of its order, and bears no word of who bought it, or of this very order; not what was there long
    /// before `then`.
    fn is_untold(&self, one: &One, then: Timestamp) -> bool {
        let old = match one.status {
            ScmStatus::Expired
            | ScmStatus::Revoked
            | ScmStatus::Revoking
            | ScmStatus::CancelRevoking
            | ScmStatus::Upload => true,
            ref status => {
                let long = one.issued.is_some_and(|at| at + LONG < then);
                long && *status != ScmStatus::Unpassed
            }
        };
        let unsaid = one.tags.intent().is_none() || one.tags.are_of(self.look.order);
        unsaid && !old && one.follows.is_empty() && one.sold.fits(&self.wanted)
    }

    /// Unused ones that fit, the first to be taken first.
    fn unused(&self) -> Vec<&'a One> {
        let fits = |one: &&One| {
            let free = match one.status {
                ScmStatus::Paid => true,
                // Somebody else may be busy with what the CA objects to.
                ScmStatus::Unpassed => self.is_ours(one) || self.is_related(one),
                _ => false,
            };
            // The next of somebody else's order is theirs, also while it waits to be applied for again.
            let own = one.follows.is_empty() || self.is_ours(one) || self.is_related(one);
            free && own && one.sold.fits(&self.wanted) && !one.tags.held_by_others(self.look)
        };
        let mut all: Vec<&One> = self.others().filter(fits).collect();
        all.sort_by_key(|one| {
            (
                !one.tags.are_of(self.look.order),
                !self.is_related(one),
                !self.is_ours(one),
                one.sold.rank(),
                one.id.as_str(),
            )
        });
        all
    }
}

impl Orders {
    pub(super) async fn sight(&self, look: &Look<'_>) -> Result<Sighting, IssuerError> {
        let survey = Survey::of(&self.scm).await?;
        let view = View::new(look, &survey)?;
        if let Some(found) = self.issued(&view).await? {
            return Ok(found);
        }
        let (ours, foreign) = self.under_way(&view).await?;
        if let Some(found) = ours {
            return Ok(found);
        }
        being_withdrawn(&view)?;
        self.being_supplemented(&view).await?;
        let unused = view.unused();
        // A successor that the CA turned down, or that was withdrawn, does not come again by itself.
        let again = unused.iter().find(|one| view.is_related(one));
        if let Some(again) = again
            && self.is_free(&view, again).await?
        {
            return Ok(Sighting::Unused {
                reference: again.id.clone(),
            });
        }
        if let Some(detail) = self.narrower(&view).await? {
            return Ok(Sighting::Narrower { detail });
        }
        if self.successor_to_come(&view).await? {
            return Ok(Sighting::SuccessorToCome);
        }
        if let Some(detail) = foreign {
            return Ok(Sighting::Foreign { detail });
        }
        for one in &unused {
            if self.is_free(&view, one).await? {
                let reference = one.id.clone();
                return Ok(Sighting::Unused { reference });
            }
        }
        let mut spent = spent(&survey, look);
        spent.untold = ids(&survey, |one| {
            view.is_untold(one, look.now) && !one.is_unused()
        });
        let buying = view.public.buying.as_ref();
        if buying.is_some_and(|buying| buying.reserve) {
            self.queue(look, &survey, &mut spent).await?;
        }
        Ok(Sighting::Nothing {
            unused: ids(&survey, One::is_unused),
            spent,
        })
    }

    /// Issued for these names and not known yet, with a key that is ours or that CCM hands out.
    async fn issued(&self, view: &View<'_>) -> Result<Option<Sighting>, IssuerError> {
        let mut fitting: Vec<&One> = view
            .others()
            .filter(|one| one.status == ScmStatus::Issued && view.may_be_taken_over(one))
            .collect();
        fitting.sort_by(|one, other| {
            let rank = |one: &One| (view.is_exact(one), one.ends);
            rank(other).cmp(&rank(one)).then(one.id.cmp(&other.id))
        });
        for one in fitting.into_iter().take(MOST_SHOWN) {
            let Some(leaf) = self.leaf(&one.id).await? else {
                continue;
            };
            if !leaf.facts.covers(&view.look.request.names) || leaf.facts.not_after <= view.look.now
            {
                continue;
            }
            // What follows within our own order keeps its key, whatever the policy asks for by now.
            let algorithm = view.look.request.key_algorithm;
            let other = leaf
                .facts
                .key_algorithm
                .is_none_or(|made| made != algorithm);
            if other && !view.is_related(one) {
                continue;
            }
            let here = view.has_key(leaf.facts.spki);
            let spki = match view.look.request.source {
                Source::Csr if here => Some(leaf.facts.spki),
                Source::Ccm if leaf.with_key => None,
                // It was paid for with the first one, whose key was made here before the policy wanted CCM's.
                Source::Ccm if here && view.is_related(one) => Some(leaf.facts.spki),
                Source::Csr | Source::Ccm | Source::Follow => continue,
            };
            let reference = one.id.clone();
            return Ok(Some(Sighting::Issued { reference, spki }));
        }
        Ok(None)
    }

    /// What somebody adds names to at this moment is issued again before long, and may be taken over then.
    async fn being_supplemented(&self, view: &View<'_>) -> Result<(), IssuerError> {
        let changes = |one: &&One| {
            matches!(
                one.status,
                ScmStatus::SupplementChecking | ScmStatus::CancelSupplementing
            )
        };
        for one in view
            .others()
            .filter(changes)
            .filter(|one| view.may_be_taken_over(one))
        {
            let leaf = self.leaf(&one.id).await?;
            let usable = match (view.look.request.source, leaf) {
                (Source::Csr, Some(leaf)) => view.has_key(leaf.facts.spki),
                (Source::Ccm, Some(leaf)) => {
                    leaf.with_key || view.is_related(one) && view.has_key(leaf.facts.spki)
                }
                // It may be handed out only afterwards.
                (Source::Ccm, None) => true,
                (Source::Csr, None) | (Source::Follow, _) => false,
            };
            if usable {
                return Err(own(
                    ErrorClass::Transient,
                    format!("names are being added to {}; it is waited for", one.told()),
                ));
            }
        }
        Ok(())
    }

    /// An application that is ours, and what is told of one that is not.
    async fn under_way(
        &self,
        view: &View<'_>,
    ) -> Result<(Option<Sighting>, Option<String>), IssuerError> {
        let mut foreign = None;
        for one in view.others() {
            if !is_under_way(&one.status) || !view.covers(one) {
                continue;
            }
            let mut said = self.applicant(&one.id).await?;
            if said == Applicant::Unsaid && view.is_related(one) {
                // What follows within an order comes with what its first certificate was applied for with.
                let order = view.survey.relatives(std::iter::once(&one.id));
                said = self.key_of_order(&order).await?;
            }
            let ours = match (view.look.request.source, said) {
                (Source::Csr, Applicant::Csr(spki)) if view.has_key(spki) => Some(Some(spki)),
                (Source::Ccm, Applicant::Csr(spki))
                    if view.is_related(one) && view.has_key(spki) =>
                {
                    Some(Some(spki))
                }
                (Source::Ccm, Applicant::Ccm) if view.is_exact(one) || view.is_related(one) => {
                    Some(None)
                }
                _ => None,
            };
            if let Some(spki) = ours {
                let reference = one.id.clone();
                return Ok((Some(Sighting::UnderWay { reference, spki }), None));
            }
            if view.is_exact(one) && foreign.is_none() {
                let why = match said {
                    Applicant::Csr(_) => "its CSR is of a key that is not here",
                    Applicant::Ccm => "its key is made at CCM, and the policy wants one made here",
                    Applicant::Unsaid => "nothing says of which key it is",
                };
                foreign = Some(format!("{}: {why}", one.told()));
            }
        }
        Ok((None, foreign))
    }

    /// Whether the order of the certificate that is replaced brings another one by itself, with which we can do something.
    async fn successor_to_come(&self, view: &View<'_>) -> Result<bool, IssuerError> {
        let brings = |one: &&One| {
            let ended = matches!(one.status, ScmStatus::Revoked | ScmStatus::Revoking);
            !ended && brings_successor(one.remaining, one.auto_renew) && view.covers(one)
        };
        let Some(replaced) = view.replaced().filter(brings) else {
            return Ok(false);
        };
        Ok(match view.look.request.source {
            Source::Follow => false,
            // It comes on the key of the first one, which may have become known to others since, and then is not here.
            Source::Csr | Source::Ccm => match self.leaf(&replaced.id).await? {
                Some(leaf) => {
                    let made_there = view.look.request.source == Source::Ccm && leaf.with_key;
                    made_there || view.has_key(leaf.facts.spki)
                }
                None => true,
            },
        })
    }

    /// Whether it is unused and not held by anybody else, by another question than the listing's.
    async fn is_free(&self, view: &View<'_>, one: &One) -> Result<bool, IssuerError> {
        let Some(found) = tags::of(&self.scm, &one.id).await? else {
            return Ok(false);
        };
        Ok(self.is_unused(&one.id).await? && !found.held_by_others(view.look))
    }

    /// Whether it may be applied for; false where it is gone.
    pub(super) async fn is_unused(&self, id: &str) -> Result<bool, IssuerError> {
        match self.scm.show_certificate(id).await {
            Ok(shown) => Ok(matches!(
                shown.status,
                ScmStatus::Paid | ScmStatus::Unpassed
            )),
            Err(error) if is_gone(&error) => Ok(false),
            Err(error) => Err(reading(error)),
        }
    }

    /// What came to the account after `purchase` was sent and may have been bought by it, as far as the listing says; what is
    /// unused comes first. Whether each is free for this order, too.
    pub(super) fn new_ones<'s>(
        look: &Look<'_>,
        survey: &'s Survey,
        purchase: &Purchase,
    ) -> Result<Vec<(&'s One, bool)>, IssuerError> {
        let view = View::new(look, survey)?;
        let new = |one: &One| {
            view.is_untold(one, purchase.began_at) && !purchase.listed.contains(&one.id)
        };
        let unused: Vec<&str> = view.unused().iter().map(|one| one.id.as_str()).collect();
        let place = |one: &One| unused.iter().position(|id| *id == one.id);
        let known = |id: &str| look.known.contains(id);
        let all = survey.0.values();
        let mut found: Vec<&One> = all.filter(|one| new(one) && !known(&one.id)).collect();
        found.sort_by_key(|one| place(one).unwrap_or(usize::MAX));
        let found = found.into_iter();
        Ok(found.map(|one| (one, place(one).is_some())).collect())
    }
}

/// What is on its way back to be unused is not replaced by a purchase.
fn being_withdrawn(view: &View<'_>) -> Result<(), IssuerError> {
    let going = view.others().find(|one| {
        one.status == ScmStatus::CancelChecking
            && one.sold.fits(&view.wanted)
            && (view.is_exact(one) || view.is_ours(one))
    });
    match going {
        None => Ok(()),
        Some(one) => Err(own(
            ErrorClass::Transient,
            format!(
                "the application {} is being withdrawn; what it was made with is waited for",
                one.told()
            ),
        )),
    }
}

pub(super) const fn is_under_way(status: &ScmStatus) -> bool {
    match status {
        ScmStatus::Checking
        | ScmStatus::CheckingDomain
        | ScmStatus::CheckingOrganization
        | ScmStatus::Issuing
        | ScmStatus::Unknown(_) => true,
        ScmStatus::Paid
        | ScmStatus::Issued
        | ScmStatus::Upload
        | ScmStatus::CancelChecking
        | ScmStatus::Unpassed
        | ScmStatus::Expired
        | ScmStatus::Revoking
        | ScmStatus::CancelRevoking
        | ScmStatus::Revoked
        | ScmStatus::SupplementChecking
        | ScmStatus::CancelSupplementing => false,
    }
}

fn ids(survey: &Survey, which: impl Fn(&One) -> bool) -> BTreeSet<String> {
    let all = survey.0.values().filter(|one| which(one));
    all.map(|one| one.id.clone()).collect()
}

/// What all hosts bought within the last 30 days, by its tags. What follows within an order has the tags of the first
/// certificate and cost nothing.
pub(super) fn spent(survey: &Survey, look: &Look<'_>) -> Spent {
    let mut spent = Spent::default();
    for one in survey.0.values() {
        let (Some(intent), true) = (one.tags.intent(), one.follows.is_empty()) else {
            continue;
        };
        let bought = one.tags.bought().or(one.created);
        if bought.is_some_and(|at| at + MONTH <= look.now) {
            continue;
        }
        // Without any time it may have been just now.
        spent.at.push(bought.unwrap_or(look.now));
        // Not even what bears the very order of this look: a journal from before its purchase has the same order.
        let knows = look.purchases.contains(intent);
        if one.tags.journal() == Some(look.identity.journal.as_str()) && !knows {
            spent.unknown.insert(one.id.clone());
        }
    }
    spent.at.sort_unstable();
    spent
}

/// Certificates that are looked at one by one.
const MOST_SHOWN: usize = 32;
/// Before a purchase: what was issued then is not of it, whatever the clocks say.
const LONG: Seconds = Seconds::days(1);
/// The longest span of a budget.
const MONTH: Seconds = Seconds::days(30);
