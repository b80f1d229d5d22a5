//! The next certificate of an order that was in use, without some of the names that are wanted.

use crate::ccm::ScmStatus;
use crate::issuer::IssuerError;
use crate::issuer::orders::Orders;
use crate::issuer::orders::keys::Applicant;
use crate::issuer::orders::look::{View, is_under_way};
use crate::issuer::orders::survey::One;
use crate::model::{Name, Source, SubjectAltNames};

impl View<'_> {
    /// Which of the wanted names it lacks.
    fn lacking(&self, one: &One) -> SubjectAltNames {
        let wanted = self.wanted.names.iter();
        let lacks = |name: &&Name| !one.names.iter().any(|have| have.covers(name));
        wanted.filter(lacks).cloned().collect()
    }

    /// Of the order of what is replaced, later than that and lacking some of the wanted names, for which it has room; or
    /// going to be that.
    fn is_narrower(&self, one: &One) -> bool {
        let coming = is_under_way(&one.status);
        let there = matches!(
            one.status,
            ScmStatus::Issued | ScmStatus::SupplementChecking | ScmStatus::CancelSupplementing
        );
        let (wanted, lacking) = (self.wanted.names.len(), self.lacking(one).len());
        let room = one.sold.room();
        self.is_related(one)
            && one.sold.may_be_taken_over(&self.wanted)
            && (coming || there && self.is_newer(one))
            && one.ends.is_none_or(|end| self.look.now < end)
            && (1..wanted).contains(&lacking)
            && room.is_none_or(|room| usize::try_from(room).is_ok_and(|room| wanted <= room))
    }
}

impl Orders {
    /// What is told of a successor that is all that is asked for, but for names that it has room for. It was paid for, and
    /// another purchase would be one too many; without the names it is not taken, since what is there has them.
    pub(super) async fn narrower(&self, view: &View<'_>) -> Result<Option<String>, IssuerError> {
        let ended = |one: &One| matches!(one.status, ScmStatus::Revoked | ScmStatus::Revoking);
        if view.public.replaces.is_none() || view.replaced().is_some_and(ended) {
            return Ok(None);
        }
        for one in view.others().filter(|one| view.is_narrower(one)) {
            let applied = match one.status {
                ref status if is_under_way(status) => {
                    let order = view.survey.relatives(std::iter::once(&one.id));
                    Some(self.key_of_order(&order).await?)
                }
                _ => self.leaf(&one.id).await?.map(|leaf| {
                    if leaf.with_key {
                        Applicant::Ccm
                    } else {
                        Applicant::Csr(leaf.facts.spki)
                    }
                }),
            };
            let usable = match (view.look.request.source, applied) {
                (Source::Csr | Source::Ccm, Some(Applicant::Csr(spki))) => view.has_key(spki),
                (Source::Csr, Some(Applicant::Ccm)) | (Source::Follow, _) => false,
                // Also where nothing says that it cannot be used.
                (Source::Csr | Source::Ccm, Some(Applicant::Ccm | Applicant::Unsaid) | None) => {
                    true
                }
            };
            if usable {
                return Ok(Some(format!(
                    "the next certificate of its order, {}, lacks {}",
                    one.told(),
                    view.lacking(one)
                )));
            }
        }
        Ok(None)
    }
}
