//! Applications: handed in, looked for after a lost answer, taken back.

use crate::ccm::{Apply, CsrAlgorithm, DomainMethod as Method, ScmStatus};
use crate::issuer::failure::{acting, own, reading};
use crate::issuer::orders::keys::Applicant as Said;
use crate::issuer::orders::look::is_under_way;
use crate::issuer::orders::survey::Survey;
use crate::issuer::orders::{Applied, Orders, Supplemented, Whose, fit};
use crate::issuer::scm::{is_gone, names_of};
use crate::issuer::{Accepted, IssuerError};
use crate::model::{
    Applicant, DomainMethod, ErrorClass, Fingerprint, KeyAlgorithm, Name, OrderRequest, Supplement,
    ValidationKind,
};

impl Orders {
    /// CCM API 4.1.1.1.
    pub(super) async fn hand_in(
        &self,
        reference: &str,
        request: &OrderRequest,
        applicant: &Applicant,
        validation: &ValidationKind,
        csr_pem: Option<&str>,
    ) -> Result<Accepted, IssuerError> {
        let application = application(request, applicant, validation, csr_pem);
        self.scm
            .apply(reference, &application)
            .await
            .map_err(acting)?;
        Ok(Accepted {
            reference: reference.to_owned(),
            poll_after: POLL_AFTER,
        })
    }

    pub(super) async fn what_became(
        &self,
        reference: &str,
        request: &OrderRequest,
        spki: Option<Fingerprint>,
    ) -> Result<Applied, IssuerError> {
        let shown = match self.scm.show_certificate(reference).await {
            Ok(shown) => shown,
            Err(error) if is_gone(&error) => return self.is_nowhere(reference).await,
            Err(error) => return Err(reading(error)),
        };
        if matches!(shown.status, ScmStatus::Paid | ScmStatus::Unpassed) {
            return Ok(Applied::Unused);
        }
        let names = names_of(shown.domain.as_deref(), shown.sans.as_deref());
        let told = |why: &str| format!("{reference} ({}) for {names}: {why}", shown.status);
        let taken = |why: &str| Applied::Taken { detail: told(why) };
        let mut said = self.applicant(reference).await?;
        if said == Said::Unsaid
            && shown.status == ScmStatus::Issued
            && let Some(leaf) = self.leaf(reference).await?
        {
            said = if leaf.with_key {
                Said::Ccm
            } else {
                Said::Csr(leaf.facts.spki)
            };
        }
        Ok(match (said, spki) {
            (Said::Csr(key), Some(spki)) if key == spki => Applied::Ours,
            (Said::Ccm, None) if names == fit::names(request) => Applied::Ours,
            (Said::Ccm, None) => taken("it is for other names than this order"),
            (Said::Csr(_), _) => taken("its CSR is of another key than this order's"),
            (Said::Ccm, Some(_)) => taken("its key is made at CCM, this order's is not"),
            (Said::Unsaid, _) => Applied::Foreign {
                detail: told("nothing says of which key it is"),
            },
        })
    }

    /// What is not shown is gone where no listing has it, either: another one is bought in its place.
    async fn is_nowhere(&self, reference: &str) -> Result<Applied, IssuerError> {
        let host = self.scm.host();
        if Survey::of(&self.scm).await?.0.contains_key(reference) {
            let message = format!("{reference} is not there at {host}, and is listed there");
            return Err(own(ErrorClass::Transient, message));
        }
        let detail = format!("{reference} is not there at {host}");
        Ok(Applied::Gone { detail })
    }

    /// CCM API 4.1.1.2. The status decides whether there is anything to take back, before and after. Of names that are being
    /// added those are taken back that are `whose`. Answers whether anything was.
    pub(super) async fn take_back(
        &self,
        reference: &str,
        supplement: Option<&Supplement>,
        whose: &[Whose],
    ) -> Result<bool, IssuerError> {
        if !self.is_applied_for(reference, supplement, whose).await? {
            return Ok(false);
        }
        match self.scm.cancel(reference).await {
            Ok(_) => Ok(true),
            Err(error) if error.class == crate::ccm::Class::Rejected => {
                // It may have ended meanwhile.
                if self.is_applied_for(reference, supplement, whose).await? {
                    Err(acting(error))
                } else {
                    Ok(false)
                }
            }
            Err(error) => Err(acting(error)),
        }
    }

    async fn is_applied_for(
        &self,
        reference: &str,
        supplement: Option<&Supplement>,
        whose: &[Whose],
    ) -> Result<bool, IssuerError> {
        if let Some(supplement) = supplement {
            let how = self.how_supplemented(supplement).await?;
            return Ok(matches!(how, Supplemented::UnderWay(one) if whose.contains(&one)));
        }
        match self.scm.show_certificate(reference).await {
            Ok(shown) => Ok(is_under_way(&shown.status)),
            Err(error) if is_gone(&error) => Ok(false),
            Err(error) => Err(reading(error)),
        }
    }
}

fn application(
    request: &OrderRequest,
    applicant: &Applicant,
    validation: &ValidationKind,
    csr_pem: Option<&str>,
) -> Apply {
    let first = Name::parse(&request.common_name).ok();
    let further: Vec<String> = request
        .names
        .iter()
        .filter(|name| Some(*name) != first.as_ref())
        .map(ToString::to_string)
        .collect();
    let subject = &request.subject;
    let contact = |of: fn(&(String, String, String)) -> &String| {
        applicant
            .contact
            .as_ref()
            .map(|contact| of(contact).clone())
    };
    Apply {
        domain: first.map_or_else(|| request.common_name.clone(), |name| name.to_string()),
        sans: Some(further.join(";")).filter(|sans| !sans.is_empty()),
        csr: csr_pem.map(str::to_owned),
        company_name: applicant
            .company
            .clone()
            .or_else(|| subject.organization.clone()),
        company_unit: subject.organizational_unit.clone(),
        company_province: subject.state.clone(),
        company_city: subject.locality.clone(),
        country: subject.country.clone(),
        applicant_name: applicant.name.clone(),
        applicant_phone: applicant.phone.clone(),
        applicant_email: applicant.email.clone(),
        contact_name: contact(|(name, _, _)| name),
        contact_phone: contact(|(_, phone, _)| phone),
        contact_email: contact(|(_, _, email)| email),
        auto_dns_auth: Some(matches!(validation, ValidationKind::Automatic)),
        agree_privacy_protection: true,
        domain_method: match validation.method() {
            DomainMethod::Dns => Method::Dns,
            DomainMethod::File => Method::File,
            DomainMethod::Email => Method::Email,
        },
        key_algorithm: csr_pem.is_none().then_some(match request.key_algorithm {
            KeyAlgorithm::Rsa2048 => CsrAlgorithm::Rsa2048,
            KeyAlgorithm::Rsa3072 => CsrAlgorithm::Rsa3072,
            KeyAlgorithm::Rsa4096 => CsrAlgorithm::Rsa4096,
            KeyAlgorithm::EcP256 => CsrAlgorithm::EcP256,
            KeyAlgorithm::EcP384 => CsrAlgorithm::EcP384,
        }),
    }
}

/// Seconds until the first look, which brings what proves the domains.
const POLL_AFTER: i64 = 10;
