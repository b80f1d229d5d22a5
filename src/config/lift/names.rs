//! Names and subject of a certificate.

use std::collections::BTreeMap;

use crate::config::code::Code;
use crate::config::diagnostic::Diagnostic;
use crate::config::fields::Fields;
use crate::config::lift::Lift;
use crate::config::raw;
use crate::config::source::Place;
use crate::model::{CertificateId, Name, Subject, SubjectAltNames};

impl Lift<'_> {
    /// The names as written; `None` if one of them cannot be used.
    pub(super) fn names(
        &mut self,
        id: &CertificateId,
        fields: &Fields<'_>,
    ) -> Option<Vec<(Name, Place)>> {
        let list = fields.list("names")?;
        if list.texts.is_empty() && list.whole {
            let message = format!("certificate `{id}` has no names");
            let problem = Diagnostic::error(Code::BadName, list.place, message, "is empty");
            self.problems
                .push(problem.help("write at least one, such as `names = [\"www.example.com\"]`"));
            return None;
        }
        let mut names: Vec<(Name, Place)> = Vec::with_capacity(list.texts.len());
        let mut first: BTreeMap<Name, Place> = BTreeMap::new();
        let mut good = list.whole;
        for (text, place) in list.texts {
            match Name::parse(text) {
                Ok(name) => {
                    if let Some(before) = first.get(&name) {
                        let message = format!("certificate `{id}` has the name `{name}` twice");
                        let problem =
                            Diagnostic::error(Code::Repeated, place, message, "the second time")
                                .also(*before, "the first time");
                        self.problems.push(problem.help("leave one of them out"));
                        good = false;
                        continue;
                    }
                    first.insert(name.clone(), place);
                    names.push((name, place));
                }
                Err(error) => {
                    let message = format!("{text:?} cannot be in a certificate");
                    self.problems.push(Diagnostic::error(
                        Code::BadName,
                        place,
                        message,
                        error.to_string(),
                    ));
                    good = false;
                }
            }
        }
        good.then_some(names)
    }

    /// As written, or the first DNS name, or the first name; `None` if that cannot be a common name.
    pub(super) fn common_name(
        &mut self,
        id: &CertificateId,
        fields: &Fields<'_>,
        names: &[(Name, Place)],
        follower: bool,
    ) -> Option<String> {
        if fields.has("common_name") {
            let (text, place) = self.line(fields, "common_name", usize::MAX)?;
            let length = text.chars().count();
            if length > COMMON_NAME {
                let message =
                    format!("the common name of certificate `{id}` has {length} characters");
                let label = format!("more than {COMMON_NAME}");
                let problem = Diagnostic::error(Code::CommonName, place, message, label);
                self.problems.push(advise(problem, names));
                return None;
            }
            let all: SubjectAltNames = names.iter().map(|(name, _)| name.clone()).collect();
            // A free text is a fine common name; a host name that is not covered is a mistake.
            if let Ok(name @ Name::Dns(_)) = Name::parse(&text)
                && text.contains('.')
                && !all.cover(&std::iter::once(name).collect())
            {
                let message = format!("certificate `{id}` is not valid for its common name");
                let label = "not among `names`, and clients look only there";
                let problem = Diagnostic::warning(Code::CommonName, place, message, label);
                self.problems
                    .push(problem.help("add it to `names` if it is to be served"));
            }
            return Some(text);
        }
        let dns = names.iter().find(|(name, _)| matches!(name, Name::Dns(_)));
        let (name, place) = dns.or_else(|| names.first())?;
        let text = name.to_string();
        if text.chars().count() <= COMMON_NAME {
            return Some(text);
        }
        if follower {
            // Nothing is applied for: the common name is what the certificate brings along.
            return Some(String::new());
        }
        let length = text.chars().count();
        let message =
            format!("the common name of certificate `{id}` would have {length} characters");
        let label = format!("is taken as common name, which has at most {COMMON_NAME}");
        let problem = Diagnostic::error(Code::CommonName, *place, message, label);
        self.problems.push(advise(problem, names));
        None
    }

    /// The rest of the subject.
    pub(super) fn subject(&mut self, fields: &Fields<'_>) -> Subject {
        let Some(fields) = fields.table("subject", &raw::SUBJECT) else {
            return Subject::default();
        };
        let mut field = |key, longest| self.line(&fields, key, longest).map(|(text, _)| text);
        // RFC 5280 A.1, and CCM API 4.2.2.2 with the same numbers.
        let subject = Subject {
            country: None,
            state: field("state", 128),
            locality: field("locality", 128),
            organization: field("organization", 64),
            organizational_unit: field("organizational_unit", 64),
        };
        let Some((country, place)) = fields.text("country") else {
            return subject;
        };
        if country.len() != 2 || !country.bytes().all(|b| b.is_ascii_uppercase()) {
            let message = "`country` is not two capital letters";
            let problem = Diagnostic::error(Code::Subject, place, message, "");
            self.problems
                .push(problem.help("write the code of ISO 3166, such as \"DE\" or \"SG\""));
        }
        Subject {
            country: Some(country.to_owned()),
            ..subject
        }
    }
}

/// Names a shorter name as common name, if the certificate has one.
fn advise(problem: Diagnostic, names: &[(Name, Place)]) -> Diagnostic {
    let short = names
        .iter()
        .filter(|(name, _)| matches!(name, Name::Dns(_)))
        .map(|(name, _)| name.to_string())
        .find(|name| name.len() <= COMMON_NAME);
    match short {
        Some(name) => problem.help(format!("write `common_name = \"{name}\"`")),
        None => problem.help(format!(
            "add a name of at most {COMMON_NAME} characters to `names` and write it as `common_name`, too"
        )),
    }
}

/// RFC 5280 A.1, ub-common-name.
const COMMON_NAME: usize = 64;
