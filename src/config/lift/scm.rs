//! What only SCM issuers have: who applies, and what may be bought.

use crate::config::code::Code;
use crate::config::diagnostic::Diagnostic;
use crate::config::fields::Fields;
use crate::config::lift::Lift;
use crate::config::raw;
use crate::model::{Applicant, Budget, DomainType, Name, PurchasePolicy, ScmPolicy};

impl Lift<'_> {
    /// The settings of an SCM issuer beside how it is reached.
    pub(super) fn scm(&mut self, fields: &Fields<'_>) -> Option<ScmPolicy> {
        let validation = self.proving(fields);
        let project = self.line(fields, "project", LONGEST);
        let applicant = fields.table("applicant", &raw::APPLICANT);
        let applicant = applicant.map(|applicant| self.applicant(&applicant));
        let purchase = fields.table("purchase", &raw::PURCHASE);
        let purchase = purchase.map(|purchase| self.purchase(&purchase));
        if fields.has("project") && project.is_none() {
            return None;
        }
        Some(ScmPolicy {
            purchase: match purchase {
                Some(purchase) => Some(purchase?),
                None => None,
            },
            applicant: match applicant {
                Some(applicant) => Some(applicant?),
                None => None,
            },
            validation: validation?,
            project: project.map(|(project, _)| project),
            delete_expired: fields.flag("delete_expired").unwrap_or(false),
        })
    }

    fn applicant(&mut self, fields: &Fields<'_>) -> Option<Applicant> {
        let name = self.person(fields, "name");
        let phone = self.phone(fields, "phone");
        let email = self.mailbox(fields, "email");
        let company = self.line(fields, "company", LONGEST);
        let contact = ["contact_name", "contact_phone", "contact_email"];
        let written = contact.iter().filter(|key| fields.has(key)).count();
        if !matches!(written, 0 | 3) && !fields.is_partial() {
            let message = "a contact is named in part";
            let label = "needs name, telephone and mailbox";
            let problem = Diagnostic::error(Code::Applicant, fields.header, message, label);
            self.problems.push(problem.help(
                "write `contact_name`, `contact_phone` and `contact_email`, or none of them",
            ));
            return None;
        }
        let contact = (written == 3).then(|| {
            let name = self.person(fields, "contact_name");
            let phone = self.phone(fields, "contact_phone");
            let email = self.mailbox(fields, "contact_email");
            Some((name?, phone?, email?))
        });
        if fields.has("company") && company.is_none() {
            return None;
        }
        Some(Applicant {
            name: name?,
            phone: phone?,
            email: email?,
            company: company.map(|(company, _)| company),
            contact: match contact {
                Some(contact) => Some(contact?),
                None => None,
            },
        })
    }

    fn person(&mut self, fields: &Fields<'_>, key: &str) -> Option<String> {
        let sound = |c: char| c.is_alphanumeric() || "_-.()[]{} ,'".contains(c);
        let help = "letters, digits, blanks, and of signs _ - . , ' and brackets";
        self.of_person(fields, key, LONGEST, help, |text| text.chars().all(sound))
    }

    fn phone(&mut self, fields: &Fields<'_>, key: &str) -> Option<String> {
        let sound = |c: char| c.is_ascii_digit() || "+-() ".contains(c);
        let help = "a telephone number such as +49 30 1234567";
        self.of_person(fields, key, LONGEST, help, |text| text.chars().all(sound))
    }

    fn mailbox(&mut self, fields: &Fields<'_>, key: &str) -> Option<String> {
        let help = "a mailbox such as certificates@example.com";
        let sound = |text: &str| matches!(Name::parse(text), Ok(Name::Email(_)));
        self.of_person(fields, key, 256, help, sound)
    }

    fn of_person(
        &mut self,
        fields: &Fields<'_>,
        key: &str,
        longest: usize,
        help: &str,
        sound: impl Fn(&str) -> bool,
    ) -> Option<String> {
        let (text, place) = self.line(fields, key, longest)?;
        if sound(&text) {
            return Some(text);
        }
        let message = format!("`{key}` cannot be sent to the CA as it is");
        let problem = Diagnostic::error(Code::Applicant, place, message, "");
        self.problems
            .push(problem.help(format!("CCM takes {help} here")));
        None
    }

    fn purchase(&mut self, fields: &Fields<'_>) -> Option<PurchasePolicy> {
        let brand = fields.text("brand");
        let kind = fields.text("type");
        let domain_type = match fields.text("domain_type") {
            Some(("auto", _)) => Some(None),
            Some(("single_domain", _)) => Some(Some(DomainType::SingleDomain)),
            Some(("wildcard", _)) => Some(Some(DomainType::Wildcard)),
            Some(("multi_domain", _)) => Some(Some(DomainType::MultiDomain)),
            None if !fields.has("domain_type") => Some(None),
            Some(_) | None => None,
        };
        let years = self.number(fields, "years", (1, 3), Some(1));
        let per_day = self.number(fields, "max_orders_per_day", (0, MOST_ORDERS), None);
        let per_month = self.number(fields, "max_orders_per_month", (0, MOST_ORDERS), None);
        let automatic_payment = fields.flag("automatic_payment");
        if let (Some((kind, place)), Some(Some(DomainType::Wildcard))) = (kind, domain_type)
            && kind.starts_with("EV")
        {
            let message = "no CA sells EV certificates for wildcards";
            let label = "with `domain_type = \"wildcard\"`";
            let problem = Diagnostic::error(Code::Purchase, place, message, label);
            self.problems
                .push(problem.help("write an OV or DV type, or another `domain_type`"));
            return None;
        }
        let budget = Budget {
            per_day: per_day?,
            per_month: per_month?,
        };
        if budget.per_month < budget.per_day
            && let Some((_, place)) = fields.count("max_orders_per_month")
        {
            let message = "`max_orders_per_month` is less than `max_orders_per_day`";
            let label = "would be used up within a day";
            let problem = Diagnostic::error(Code::Purchase, place, message, label);
            self.problems
                .push(problem.help("write at least as many for 30 days as for one"));
            return None;
        }
        Some(PurchasePolicy {
            brand: brand?.0.to_owned(),
            kind: kind?.0.to_owned(),
            domain_type: domain_type?,
            years: years?,
            automatic_payment: automatic_payment?,
            budget,
            reserve: fields.flag("reserve").unwrap_or(false),
        })
    }

    fn number(
        &mut self,
        fields: &Fields<'_>,
        key: &str,
        (least, most): (u32, u32),
        usual: Option<u32>,
    ) -> Option<u32> {
        let Some((count, place)) = fields.count(key) else {
            return usual.filter(|_| !fields.has(key));
        };
        let good = u32::try_from(count)
            .ok()
            .filter(|count| (least..=most).contains(count));
        if good.is_none() {
            let message = format!("`{key}` is out of range");
            let label = format!("from {least} to {most}");
            self.problems
                .push(Diagnostic::error(Code::Purchase, place, message, label));
        }
        good
    }
}

/// Characters, CCM API 4.1.1.1.
const LONGEST: usize = 63;
/// Orders that nobody means to buy in a month by a daemon; more is a slip of the finger.
const MOST_ORDERS: u32 = 1000;
