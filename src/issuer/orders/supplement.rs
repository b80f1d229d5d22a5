//! Names that are added to an issued certificate of several domains (CCM API 7.1.20): sent, and looked for after a lost
//! answer. The certificate keeps its id, so that its names tell whether it was issued again.

use crate::ccm::{Class, DomainType, ScmDetails, ScmStatus, Supplement as Request};
use crate::issuer::IssuerError;
use crate::issuer::failure::{acting, own, reading};
use crate::issuer::orders::{Orders, Supplemented};
use crate::issuer::scm::{is_gone, names_of};
use crate::model::{ErrorClass, Name, SubjectAltNames, Supplement};

impl Orders {
    pub(super) async fn how_supplemented(
        &self,
        supplement: &Supplement,
    ) -> Result<Supplemented, IssuerError> {
        let reference = &supplement.reference;
        let shown = match self.scm.show_certificate(reference).await {
            Ok(shown) => shown,
            Err(error) if is_gone(&error) => {
                let detail = format!("{reference} was deleted at {}", self.scm.host());
                return Ok(Supplemented::Over { detail });
            }
            Err(error) => return Err(reading(error)),
        };
        let detail = format!("{reference} is {}", shown.status);
        Ok(match &shown.status {
            ScmStatus::Issued => self.issued_with(&shown, supplement).await?,
            ScmStatus::SupplementChecking => {
                let asked = shown.authentification.iter();
                let asked: Vec<&str> = asked.filter_map(|one| one.domain.as_deref()).collect();
                let is_asked = |name: &Name| asked.iter().any(|domain| is_for(domain, name));
                Supplemented::UnderWay {
                    ours: (!asked.is_empty()).then(|| supplement.adds.iter().all(is_asked)),
                }
            }
            ScmStatus::Expired
            | ScmStatus::Revoking
            | ScmStatus::CancelRevoking
            | ScmStatus::Revoked
            | ScmStatus::Upload
            | ScmStatus::Paid
            | ScmStatus::Unpassed => Supplemented::Over { detail },
            ScmStatus::Checking
            | ScmStatus::CheckingDomain
            | ScmStatus::CheckingOrganization
            | ScmStatus::Issuing
            | ScmStatus::CancelChecking
            | ScmStatus::CancelSupplementing
            | ScmStatus::Unknown(_) => Supplemented::Busy { detail },
        })
    }

    /// By the certificate itself: the account may name what it has not issued yet.
    async fn issued_with(
        &self,
        shown: &ScmDetails,
        supplement: &Supplement,
    ) -> Result<Supplemented, IssuerError> {
        let reference = &shown.id;
        let Some(leaf) = self.leaf(reference).await? else {
            let message = format!("certificate {reference} cannot be read");
            return Err(own(ErrorClass::Transient, message));
        };
        let have = &leaf.facts.names;
        if supplement
            .adds
            .iter()
            .all(|name| leaf.facts.covers_name(name))
        {
            return Ok(Supplemented::Done);
        }
        let domain_type = shown.domain_type.clone().map(DomainType::from);
        let room = shown
            .domain_count
            .and_then(|count| u32::try_from(count).ok());
        let wanted = u32::try_from(have.len() + supplement.adds.len()).unwrap_or(u32::MAX);
        let why_not = match (domain_type, room) {
            (Some(DomainType::Single | DomainType::Wildcard), _) => {
                Some(format!("{reference} was bought for one name"))
            }
            (_, Some(room @ 1..)) if room < wanted => Some(format!(
                "{reference} was bought for {room} names, and {wanted} are wanted"
            )),
            _ => None,
        };
        Ok(match why_not {
            Some(detail) => Supplemented::Over { detail },
            None => Supplemented::Open,
        })
    }

    /// CCM API 7.1.20. Which names it has the account says itself: it holds what is sent against them.
    pub(super) async fn send_supplement(&self, supplement: &Supplement) -> Result<(), IssuerError> {
        let reference = &supplement.reference;
        let shown = self
            .scm
            .show_certificate(reference)
            .await
            .map_err(reading)?;
        let first = names_of(shown.domain.as_deref(), None);
        let further = names_of(None, shown.sans.as_deref());
        let further: SubjectAltNames = further
            .iter()
            .filter(|name| !first.iter().any(|one| one == *name))
            .cloned()
            .collect();
        // The field may not be empty: without further names it has the first one.
        let before = if further.is_empty() { first } else { further };
        let request = Request {
            ori_sans: joined(&before),
            add_sans: Some(joined(&supplement.adds)),
            email: None,
        };
        match self.v2().await?.supplement(reference, &request).await {
            Ok(_) => Ok(()),
            Err(error) => Err(acting(error)),
        }
    }

    pub(super) async fn why_as_before(
        &self,
        reference: &str,
    ) -> Result<Option<String>, IssuerError> {
        match self.scm.show_certificate(reference).await {
            Ok(shown) => self.fail_reason(&shown).await,
            Err(error) if error.class == Class::Rejected => Ok(None),
            Err(error) => Err(reading(error)),
        }
    }
}

fn joined(names: &SubjectAltNames) -> String {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    names.join(";")
}

/// Whether the proof of a domain, by the issuer's word for it, is that of a name: a wildcard is proven by what it stands for.
pub(crate) fn is_for(domain: &str, name: &Name) -> bool {
    let domain = domain.trim().trim_end_matches('.');
    let name = name.to_string();
    let parent = name.strip_prefix("*.");
    domain.eq_ignore_ascii_case(&name)
        || parent.is_some_and(|parent| domain.eq_ignore_ascii_case(parent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_is_proven_by_the_domain_it_stands_for() {
        for (domain, name, fits) in [
            ("b.example.com", "b.example.com", true),
            ("B.example.com.", "b.example.com", true),
            ("example.com", "*.example.com", true),
            ("*.example.com", "*.example.com", true),
            ("example.com", "b.example.com", false),
            ("b.example.com", "*.example.com", false),
        ] {
            let name = Name::parse(name).unwrap();
            assert_eq!(is_for(domain, &name), fits, "{domain} {name}");
        }
    }
}
