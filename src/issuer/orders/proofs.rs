//! What the CA wants to see of the domains of an application (CCM API 4.1.5.3, 7.1.21), and why it said no.

use crate::ccm::{Class, DomainMethod as Method, DomainVerification, ScmDetails, ScmStatus};
use crate::issuer::IssuerError;
use crate::issuer::failure::reading;
use crate::issuer::orders::{Orders, survey};
use crate::model::{DomainMethod, DomainProof};

impl Orders {
    /// The proofs that an application waits for; none where it waits for something else, or the account does not say yet.
    pub(in crate::issuer) async fn proofs(
        &self,
        shown: &ScmDetails,
    ) -> Result<Vec<DomainProof>, IssuerError> {
        if !matches!(
            shown.status,
            ScmStatus::Checking | ScmStatus::CheckingDomain | ScmStatus::SupplementChecking
        ) {
            return Ok(Vec::new());
        }
        let listed = shown.authentification.iter();
        let mut proofs: Vec<DomainProof> = listed
            .filter_map(|one| {
                proof(
                    one.domain.as_deref(),
                    one.record_name.as_deref(),
                    one.record_type.as_deref(),
                    one.record_value.as_deref(),
                    shown.validation_method.as_deref(),
                )
            })
            .collect();
        // Records are all there is in 4.1.5.3 by the reference; files and mails are in 7.1.21 alone.
        let records = shown.validation_method.as_deref().map(str::trim);
        let later = shown.status == ScmStatus::Checking
            && records.is_none_or(|method| Method::from(method.to_owned()) == Method::Dns);
        let lacking =
            proofs.is_empty() && !later || proofs.iter().any(|proof| proof.place.is_empty());
        if lacking && let Some(one) = self.verification(&shown.id).await? {
            complete(&mut proofs, &one, shown.domain.as_deref());
        }
        proofs.retain(|proof| !proof.place.is_empty());
        Ok(proofs)
    }

    async fn verification(&self, id: &str) -> Result<Option<DomainVerification>, IssuerError> {
        match self.v2().await?.domain_verification(id).await {
            Ok(found) => Ok(Some(found)),
            // Nothing is to be proven just now.
            Err(error) if error.class == Class::Rejected => Ok(None),
            Err(error) => Err(reading(error)),
        }
    }

    /// Why the review said no, in the CA's words.
    pub(in crate::issuer) async fn fail_reason(
        &self,
        shown: &ScmDetails,
    ) -> Result<Option<String>, IssuerError> {
        let one = survey::one(&self.scm, &shown.id, shown.name.as_deref()).await?;
        Ok(one.and_then(|one| one.fail_reason))
    }
}

fn proof(
    domain: Option<&str>,
    place: Option<&str>,
    kind: Option<&str>,
    value: Option<&str>,
    method: Option<&str>,
) -> Option<DomainProof> {
    let text = |text: Option<&str>| text.unwrap_or_default().trim().to_owned();
    let kind = text(kind);
    // The kind of record tells; where it is none, it is the method that was applied for.
    let method = match kind.to_ascii_uppercase().as_str() {
        "TXT" | "CNAME" => DomainMethod::Dns,
        "FILE" => DomainMethod::File,
        "EMAIL" => DomainMethod::Email,
        _ => known(&Method::from(text(method)))?,
    };
    let place = text(place);
    Some(DomainProof {
        domain: text(domain),
        method,
        place: match method {
            DomainMethod::Dns => place.trim_end_matches('.').to_owned(),
            DomainMethod::File if !place.is_empty() && !place.starts_with('/') => {
                format!("/{place}")
            }
            DomainMethod::File | DomainMethod::Email => place,
        },
        record_type: match method {
            DomainMethod::Dns if kind.is_empty() => "TXT".to_owned(),
            DomainMethod::Dns => kind.to_ascii_uppercase(),
            DomainMethod::File | DomainMethod::Email => String::new(),
        },
        value: text(value),
    })
}

fn known(method: &Method) -> Option<DomainMethod> {
    match method {
        Method::Dns => Some(DomainMethod::Dns),
        Method::File => Some(DomainMethod::File),
        Method::Email => Some(DomainMethod::Email),
        Method::Unknown(_) => None,
    }
}

/// Puts what 7.1.21 says where 4.1.5.3 said nothing.
fn complete(proofs: &mut Vec<DomainProof>, said: &DomainVerification, domain: Option<&str>) {
    let by_mail = said.domain_method == Method::Email;
    let place = if by_mail {
        said.domain_email
            .as_deref()
            .or(said.applicant_email.as_deref())
    } else {
        said.record_name.as_deref()
    };
    let one = proof(
        said.domain_name.as_deref().or(domain),
        place,
        if by_mail {
            Some("EMAIL")
        } else {
            said.record_type.as_deref()
        },
        said.record_value.as_deref(),
        Some(said.domain_method.as_str()),
    );
    let Some(one) = one else { return };
    if proofs.is_empty() {
        proofs.push(one);
        return;
    }
    for proof in proofs.iter_mut().filter(|proof| proof.place.is_empty()) {
        // Every name of an application is proven in the same way, and at the same place for what is no record.
        if proof.method == one.method
            && (proof.method != DomainMethod::Dns || proof.domain == one.domain)
        {
            proof.place.clone_from(&one.place);
        }
    }
}
