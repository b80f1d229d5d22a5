//! Names that are added to an issued certificate of several domains (CCM API 7.1.20): sent, and looked for after a lost
//! answer. The certificate keeps its id, so that its names tell whether it was issued again.

use crate::ccm::{Class, DomainType, ScmDetails, ScmStatus, Supplement as Request};
use crate::issuer::IssuerError;
use crate::issuer::failure::{acting, own, reading};
use crate::issuer::orders::{Orders, Supplemented, Whose};
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
                let have = self.names_before(&shown, &supplement.adds).await?;
                Supplemented::UnderWay(whose(&asked, &have, &supplement.adds))
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

    /// The names of a certificate without those that are being added to it; none where they cannot be told.
    async fn names_before(
        &self,
        shown: &ScmDetails,
        adds: &SubjectAltNames,
    ) -> Result<SubjectAltNames, IssuerError> {
        let applied = names_of(shown.domain.as_deref(), shown.sans.as_deref());
        if !adds
            .iter()
            .any(|name| applied.iter().any(|one| one == name))
        {
            return Ok(applied);
        }
        // The account names what it has not issued yet.
        let leaf = self.leaf(&shown.id).await?;
        Ok(leaf.map_or_else(SubjectAltNames::default, |leaf| leaf.facts.names.clone()))
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
        if supplement
            .adds
            .iter()
            .all(|name| leaf.facts.covers_name(name))
        {
            return Ok(Supplemented::Done);
        }
        // What a CA adds by itself (`www.`) takes no room: the account has what was applied for.
        let applied = names_of(shown.domain.as_deref(), shown.sans.as_deref());
        let have = if applied.is_empty() {
            &leaf.facts.names
        } else {
            &applied
        };
        Ok(match no_room(shown, have, &supplement.adds) {
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

/// Why a certificate that was applied for with these names takes no further ones, by what it was bought as.
fn no_room(shown: &ScmDetails, have: &SubjectAltNames, adds: &SubjectAltNames) -> Option<String> {
    let reference = &shown.id;
    let domain_type = shown.domain_type.clone().map(DomainType::from);
    let room = shown
        .domain_count
        .and_then(|count| u32::try_from(count).ok());
    let new = adds
        .iter()
        .filter(|name| !have.iter().any(|one| one == *name));
    let wanted = u32::try_from(have.len() + new.count()).unwrap_or(u32::MAX);
    match (domain_type, room) {
        (Some(DomainType::Single | DomainType::Wildcard), _) => {
            Some(format!("{reference} was bought for one name"))
        }
        (_, Some(room @ 1..)) if room < wanted => Some(format!(
            "{reference} was bought for {room} names, and {wanted} are wanted"
        )),
        _ => None,
    }
}

/// Whose the domains are that are to be proven, of a certificate that has names already. A CA may ask for those of the names
/// that it has too, leave out what it has a proof of, and have a name proven by a domain above it.
fn whose(asked: &[&str], have: &SubjectAltNames, adds: &SubjectAltNames) -> Whose {
    let is_one = |domain: &&str| adds.iter().any(|name| is_for(domain, name));
    let is_above_one = |domain: &&str| adds.iter().any(|name| is_above(domain, name));
    let is_old = |domain: &&str| have.iter().any(|name| is_for(domain, name));
    let new: Vec<&str> = asked
        .iter()
        .copied()
        .filter(|domain| is_one(domain) || !is_old(domain))
        .collect();
    let all = |name: &Name| new.iter().any(|domain| is_for(domain, name));
    if new.is_empty() {
        Whose::Unclear
    } else if new.iter().all(is_one) {
        Whose::Ours
    } else if adds.iter().all(all) {
        Whose::Wider
    } else if new.iter().any(is_one) || new.iter().any(is_above_one) {
        Whose::Unclear
    } else {
        Whose::Others
    }
}

fn is_above(domain: &str, name: &Name) -> bool {
    let domain = domain.trim().trim_end_matches('.').to_ascii_lowercase();
    let name = name.to_string();
    let before = name.strip_suffix(domain.as_str());
    !domain.is_empty() && before.is_some_and(|before| before.ends_with('.'))
}

fn joined(names: &SubjectAltNames) -> String {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    names.join(";")
}

/// Whether the proof of a domain, by the issuer's word for it, is that of a name: a wildcard is proven by what it stands for.
fn is_for(domain: &str, name: &Name) -> bool {
    let domain = domain.trim().trim_end_matches('.');
    let name = name.to_string();
    let parent = name.strip_prefix("*.");
    domain.eq_ignore_ascii_case(&name)
        || parent.is_some_and(|parent| domain.eq_ignore_ascii_case(parent))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(all: &[&str]) -> SubjectAltNames {
        all.iter().map(|name| Name::parse(name).unwrap()).collect()
    }

    #[test]
    fn names_are_told_from_those_of_others_by_what_is_to_be_proven() {
        let (a, b, x) = ("a.example.com", "b.example.com", "x.example.org");
        let have = names(&[a]);
        let cases: [(&[&str], &[&str], Whose); 15] = [
            (&[b], &[b], Whose::Ours),
            (&[x, b], &[b, x], Whose::Ours),
            // Those that it has are told as well.
            (&[a, b], &[b], Whose::Ours),
            // For one of them there is a proof already.
            (&[b], &[b, x], Whose::Ours),
            // Somebody wants these and others.
            (&[b, x], &[b], Whose::Wider),
            (&[a, b, x], &[b], Whose::Wider),
            (&[b, "example.com"], &[b], Whose::Wider),
            // By the domain above it.
            (&["example.com"], &[b], Whose::Unclear),
            (&["Example.com."], &[b], Whose::Unclear),
            // Perhaps somebody else's.
            (&["c.example.com", b], &[b, x], Whose::Unclear),
            (&[], &[b], Whose::Unclear),
            // Of what is added nothing is told.
            (&[a], &[b], Whose::Unclear),
            (&["c.example.com"], &[b], Whose::Others),
            (&["ample.com"], &[b], Whose::Others),
            (&[""], &[b], Whose::Others),
        ];
        for (asked, adds, expected) in cases {
            let found = whose(asked, &have, &names(adds));
            assert_eq!(found, expected, "{asked:?} {adds:?}");
        }
        // Where it is not known which names it has, what is told beside these may be somebody's.
        let nothing = SubjectAltNames::default();
        assert_eq!(whose(&[a, b], &nothing, &names(&[b])), Whose::Wider);
    }

    #[test]
    fn room_is_counted_by_what_was_applied_for() {
        let shown = ScmDetails {
            id: "scs1".to_owned(),
            domain_type: Some("MULTI_DOMAIN".to_owned()),
            domain_count: Some(3),
            ..ScmDetails::default()
        };
        let have = names(&["a.example.com", "b.example.com"]);
        assert_eq!(no_room(&shown, &have, &names(&["c.example.com"])), None);
        // One of them is there already.
        let again = names(&["b.example.com", "c.example.com"]);
        assert_eq!(no_room(&shown, &have, &again), None);
        let two = names(&["c.example.com", "d.example.com"]);
        let why = no_room(&shown, &have, &two).unwrap();
        assert_eq!(why, "scs1 was bought for 3 names, and 4 are wanted");
    }

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
