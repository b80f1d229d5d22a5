//! What an applicant says (CCM API 4.1.1.1 and 7.1.7), and what of it is accepted.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::ccm_server::codes::{Code, code};
use crate::ccm_server::failure::Failure;
use crate::ccm_server::field::Input;
use crate::ccm_server::scm::orders::order::{Order, is_address};
use crate::ccm_server::scm::orders::review::Class;
use crate::ccm_server::server::Shared;
use crate::ccm_server::x509::{Request, Subject};
use crate::model::{KeyAlgorithm, Name};

/// An application. It is about people: no `Debug`, and sealed where it is kept.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Form {
    pub(super) domain: String,
    pub(super) sans: Vec<String>,
    /// PEM; absent: the key is made here.
    pub(super) csr: Option<String>,
    company_name: String,
    company_unit: String,
    company_province: String,
    company_city: String,
    country: String,
    applicant_name: String,
    applicant_phone: String,
    pub(super) applicant_email: String,
    contact_name: String,
    contact_phone: String,
    contact_email: String,
    pub(super) auto_dns_auth: bool,
    /// Absent in what was only saved.
    pub(super) method: Option<String>,
    key_algorithm: String,
}

/// What is done with a form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// It is an application.
    Submit,
    /// It is kept for a later one (CCM API 7.1.9).
    Save,
}

impl Form {
    /// Reads a body whose fields are within their limits, and refuses what this order could not be issued for.
    pub(super) async fn read(
        shared: &Shared,
        body: &Input,
        order: &Order,
        purpose: Purpose,
    ) -> Result<Self, Failure> {
        if !body.boolean("agree_privacy_protection") {
            return Err(bad("agree_privacy_protection must be true"));
        }
        let own = |name: &str| body.text(name).trim().to_owned();
        let domain = name(body.text("domain"))?;
        let mut sans = names(body.text("sans"))?;
        // The reference's example of sans names the primary domain again.
        sans.retain(|san| *san != domain);
        let form = Self {
            domain,
            sans,
            csr: Some(own("csr")).filter(|csr| !csr.is_empty()),
            company_name: own("company_name"),
            company_unit: own("company_unit"),
            company_province: own("company_province"),
            company_city: own("company_city"),
            country: own("country").to_ascii_uppercase(),
            applicant_name: own("applicant_name"),
            applicant_phone: own("applicant_phone"),
            applicant_email: own("applicant_email"),
            contact_name: own("contact_name"),
            contact_phone: own("contact_phone"),
            contact_email: own("contact_email"),
            auto_dns_auth: body.boolean("auto_dns_auth"),
            method: body.optional("domain_method").map(str::to_owned),
            key_algorithm: own("key_algorithm"),
        };
        fits(order, &form.domain, &form.sans)?;
        form.people()?;
        if purpose == Purpose::Submit {
            form.organization(order.class())?;
            form.way(order.class())?;
        }
        form.request(shared).await?;
        Ok(form)
    }

    /// Whether the records that prove the names are to be written into Huawei Cloud DNS.
    pub(super) fn is_pushed(&self) -> bool {
        self.auto_dns_auth && self.method.as_deref() == Some("DNS")
    }

    /// Who applies: names, telephones, mailboxes.
    fn people(&self) -> Result<(), Failure> {
        let named = [
            (
                "applicant_name",
                &self.applicant_name,
                code("SCM.0083"),
                true,
            ),
            ("contact_name", &self.contact_name, BAD, false),
        ];
        for (field, text, code, required) in named {
            let sound = |c: char| c.is_alphanumeric() || "_-.()[]{} ,'".contains(c);
            if (required && text.is_empty()) || !text.chars().all(sound) {
                let detail = format!(
                    "{field} must have letters, digits, blanks, and of signs _ - . , ' and brackets"
                );
                return Err(Failure::because(code, detail));
            }
        }
        let phones = [
            (
                "applicant_phone",
                &self.applicant_phone,
                code("SCM.0085"),
                true,
            ),
            ("contact_phone", &self.contact_phone, BAD, false),
        ];
        for (field, text, code, required) in phones {
            let sound = |c: char| c.is_ascii_digit() || "+-() ".contains(c);
            if (required && text.is_empty()) || !text.chars().all(sound) {
                let detail = format!("{field} must be a telephone number such as 13212345678");
                return Err(Failure::because(code, detail));
            }
        }
        let boxes = [
            (
                "applicant_email",
                &self.applicant_email,
                code("SCM.0086"),
                true,
            ),
            ("contact_email", &self.contact_email, BAD, false),
        ];
        for (field, text, code, required) in boxes {
            let sound = matches!(Name::parse(text), Ok(Name::Email(_)));
            if (required || !text.is_empty()) && !sound {
                let detail = format!("{field} must be a mailbox such as example@huawei.com");
                return Err(Failure::because(code, detail));
            }
        }
        Ok(())
    }

    /// What OV and EV certificates say of their owner is mandatory for them.
    fn organization(&self, class: Class) -> Result<(), Failure> {
        if class == Class::Dv {
            return Ok(());
        }
        let wanted = [
            ("company_name", &self.company_name),
            ("company_province", &self.company_province),
            ("company_city", &self.company_city),
            ("country", &self.country),
        ];
        match wanted.iter().find(|(_, text)| text.is_empty()) {
            Some((field, _)) => Err(bad(&format!(
                "{field} is mandatory for OV and EV certificates"
            ))),
            None => Ok(()),
        }
    }

    /// How the domains are to be proven. "File verification is supported by only IP address certificates", and these can
    /// be verified in no other way (CCM API 4.1.1.1); EMAIL is for OV and EV (7.1.7).
    fn way(&self, class: Class) -> Result<(), Failure> {
        let addresses = self.names().filter(|name| is_address(name)).count();
        let all = self.sans.len() + 1;
        match self.method.as_deref() {
            Some("FILE") if addresses < all => Err(bad(
                "domain_method FILE is for IP addresses only; verify domains by DNS",
            )),
            Some("FILE") => Ok(()),
            Some("EMAIL") if class == Class::Dv => {
                Err(bad("domain_method of a DV certificate must be DNS"))
            }
            Some(_) if addresses > 0 => Err(bad(
                "IP addresses can only be verified by domain_method FILE",
            )),
            Some(_) => Ok(()),
            None => Err(bad("domain_method is missing")),
        }
    }

    /// The CSR, if there is one: it must be for the primary domain.
    pub(super) async fn request(&self, shared: &Shared) -> Result<Option<Request>, Failure> {
        let Some(csr) = self.csr.clone() else {
            return Ok(None);
        };
        let parsed = shared.heavy(move || Request::parse(&csr)).await;
        let request =
            parsed.map_err(|error| Failure::because(code("SCM.0034"), error.to_string()))?;
        let common = request.subject.common_name.to_ascii_lowercase();
        let named = |name: &Name| name.to_string() == self.domain;
        if common.is_empty() && request.names.is_empty() {
            return Err(Failure::new(code("SCM.0033")));
        }
        if common == self.domain || (common.is_empty() && request.names.iter().any(named)) {
            return Ok(Some(request));
        }
        let detail = format!(
            "the CSR is for {common:?}, the application for {:?}",
            self.domain
        );
        Err(Failure::because(code("SCM.0035"), detail))
    }

    /// All names, the primary one first.
    pub(super) fn names(&self) -> impl Iterator<Item = &String> {
        std::iter::once(&self.domain).chain(&self.sans)
    }

    /// The key that is made where the applicant has none; the reference's default is RSA_2048.
    pub(super) fn key_algorithm(&self) -> KeyAlgorithm {
        match self.key_algorithm.as_str() {
            "RSA_3072" => KeyAlgorithm::Rsa3072,
            "RSA_4096" => KeyAlgorithm::Rsa4096,
            "EC_P256" => KeyAlgorithm::EcP256,
            "EC_P384" => KeyAlgorithm::EcP384,
            _ => KeyAlgorithm::Rsa2048,
        }
    }

    /// The subject of the certificate: the domain, and of OV and EV the owner. The department stays out, as public CAs
    /// must not certify it any more (CA/Browser Forum, Baseline Requirements §7.1.2.7.4).
    pub(super) fn subject(&self, class: Class) -> Subject {
        let owner = |text: &str| {
            let said = class != Class::Dv && !text.is_empty();
            said.then(|| text.to_owned())
        };
        Subject {
            common_name: self.domain.clone(),
            country: owner(&self.country),
            state: owner(&self.company_province),
            locality: owner(&self.company_city),
            organization: owner(&self.company_name),
            organizational_unit: None,
        }
    }

    /// CCM API 4.1.5.3, `application_info`.
    pub(super) fn application_info(&self) -> Value {
        json!({
            "country": self.country,
            "company_name": self.company_name,
            "company_province": self.company_province,
            "company_city": self.company_city,
            "applicant_name": self.applicant_name,
            "applicant_phone": self.applicant_phone,
            "applicant_email": self.applicant_email,
            "contact_name": self.contact_name,
            "contact_phone": self.contact_phone,
            "contact_email": self.contact_email,
        })
    }

    /// The same in the fields of CCM API 7.1.3, which has the department too.
    pub(super) fn applicant(&self) -> Value {
        let mut body = self.application_info();
        body["organization_unit"] = self.company_unit.as_str().into();
        body
    }

    /// CCM API 7.1.10, without what was uploaded.
    pub(super) fn read_back(&self) -> Value {
        let mut body = self.application_info();
        if let Some(fields) = body.as_object_mut() {
            fields.insert("domain_name".to_owned(), self.domain.as_str().into());
            fields.insert("sans".to_owned(), self.sans.join(";").into());
            fields.insert("CSR".to_owned(), self.csr.as_deref().into());
            fields.insert("company_unit".to_owned(), self.company_unit.as_str().into());
        }
        body
    }
}

/// Refuses names that the product does not cover.
pub(super) fn fits(order: &Order, domain: &str, sans: &[String]) -> Result<(), Failure> {
    let refuse = |text: String| Err(Failure::because(code("SCM.0015"), text));
    let wild = |name: &str| name.starts_with("*.");
    let further = |wildcards: bool| sans.iter().filter(|san| wild(san) == wildcards).count();
    let above = |count: usize, most: i64| i64::try_from(count).unwrap_or(i64::MAX) > most;
    let class = order.class();
    let mut all = std::iter::once(domain).chain(sans.iter().map(String::as_str));
    if class == Class::Ev && all.clone().any(wild) {
        return refuse("an EV certificate has no wildcards".to_owned());
    }
    if class == Class::Ev && all.any(is_address) {
        return refuse("an EV certificate has no IP addresses".to_owned());
    }
    if domain.len() > COMMON_NAME {
        let detail = format!("the primary domain must have at most {COMMON_NAME} characters");
        return Err(Failure::because(BAD_DOMAIN, detail));
    }
    match order.domain_type.as_str() {
        "SINGLE_DOMAIN" | "WILDCARD" if !sans.is_empty() => {
            refuse("the certificate is for one domain; sans must be empty".to_owned())
        }
        "SINGLE_DOMAIN" if wild(domain) => {
            refuse("the certificate is for a single domain, not for a wildcard".to_owned())
        }
        "WILDCARD" if !wild(domain) => {
            refuse("the certificate is for a wildcard domain such as *.example.com".to_owned())
        }
        _ if above(sans.len() + 1, order.domain_count) => refuse(format!(
            "the certificate is for {} domains at most",
            order.domain_count
        )),
        _ => {
            let primary = match order.primary.as_deref() {
                Some("WILDCARD_DOMAIN") => wild(domain),
                Some(_) => !wild(domain),
                None => true,
            };
            if !primary {
                return refuse("the primary domain is of another kind than was bought".to_owned());
            }
            // Either both kinds were counted when it was bought, or neither.
            if order.singles.is_none() && order.wildcards.is_none() {
                return Ok(());
            }
            let (singles, wildcards) = (order.singles.unwrap_or(0), order.wildcards.unwrap_or(0));
            if above(further(false), singles) || above(further(true), wildcards) {
                return refuse(format!(
                    "beside the primary domain, {singles} single and {wildcards} wildcard domains were bought"
                ));
            }
            Ok(())
        }
    }
}

/// Names separated by semicolons, each once.
pub(super) fn names(text: &str) -> Result<Vec<String>, Failure> {
    let mut all = Vec::new();
    for one in text.split(';').filter(|one| !one.trim().is_empty()) {
        let one = name(one)?;
        if all.contains(&one) {
            let detail = format!("{one} is there twice");
            return Err(Failure::because(code("SCM.0063"), detail));
        }
        all.push(one);
    }
    Ok(all)
}

/// A domain of at least two labels, or an address, as it stands in a certificate.
fn name(text: &str) -> Result<String, Failure> {
    let text = text.trim();
    let refuse = |why: &str| Err(Failure::because(BAD_DOMAIN, format!("{text:?} {why}")));
    match Name::parse(text) {
        Ok(Name::Ip(address)) => Ok(address.to_string()),
        Ok(Name::Dns(name)) => {
            let body = name.strip_prefix("*.").unwrap_or(&name);
            let last = body.rsplit('.').next().unwrap_or_default();
            if !body.contains('.') || last.bytes().all(|c| c.is_ascii_digit()) {
                return refuse("is no domain that anybody could own");
            }
            if body.contains('_') {
                return refuse("has an underscore, which no CA certifies");
            }
            Ok(name)
        }
        Ok(_) => refuse("is neither a domain nor an IP address"),
        Err(error) => refuse(&error.to_string()),
    }
}

fn bad(detail: &str) -> Failure {
    Failure::because(BAD, detail)
}

const BAD: &Code = code("SCM.0005");
const BAD_DOMAIN: &Code = code("SCM.0108");
/// Of a common name, which the primary domain is (RFC 5280 A.1).
const COMMON_NAME: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ccm_server::operation::Service;

    #[test]
    fn domains_are_normalised_or_refused() {
        assert_eq!(
            name(" WWW.Example.COM. ").ok().as_deref(),
            Some("www.example.com")
        );
        assert_eq!(name("*.example.com").ok().as_deref(), Some("*.example.com"));
        assert_eq!(name("192.0.2.1").ok().as_deref(), Some("192.0.2.1"));
        for bad in [
            "",
            "com",
            "*.com",
            "a..b",
            "a b.example",
            "a_b.example",
            "1.2.3.4.5",
            "münchen.de",
            "a@b.example",
            "https://a.example",
            "*.*.example.com",
        ] {
            let refused = name(bad).unwrap_err();
            assert_eq!(refused.code(Service::Scm).name, "SCM.0108", "{bad}");
        }
    }

    #[test]
    fn a_list_of_names_has_each_once() {
        assert_eq!(
            names(";a.example; b.example ;").unwrap(),
            ["a.example", "b.example"]
        );
        assert_eq!(names("").unwrap(), [""; 0]);
        let twice = names("a.example;A.example").unwrap_err();
        assert_eq!(twice.code(Service::Scm).name, "SCM.0063");
    }
}
