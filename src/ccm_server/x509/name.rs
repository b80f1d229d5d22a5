//! Distinguished names: the six members of the API, as JSON and as DER.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use x509_parser::x509::X509Name;

use crate::ccm_server::x509::der;

/// A subject in the API's words (CCM API 4.2.1.2, `DistinguishedName`).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(in crate::ccm_server) struct Subject {
    /// CN, 1 to 64 characters.
    pub(in crate::ccm_server) common_name: String,
    /// C, two letters.
    pub(in crate::ccm_server) country: Option<String>,
    /// ST, 1 to 128 characters.
    pub(in crate::ccm_server) state: Option<String>,
    /// L, 1 to 128 characters.
    pub(in crate::ccm_server) locality: Option<String>,
    /// O, 1 to 64 characters.
    pub(in crate::ccm_server) organization: Option<String>,
    /// OU, 1 to 64 characters.
    pub(in crate::ccm_server) organizational_unit: Option<String>,
}

/// Why a subject is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(in crate::ccm_server) enum SubjectError {
    /// No common name.
    #[error("the subject has no common name")]
    NoCommonName,
    /// One member breaks its limits.
    #[error("{0} must be {1}")]
    Member(&'static str, &'static str),
}

impl Subject {
    /// Checks the limits of the reference.
    pub(in crate::ccm_server) fn check(&self) -> Result<(), SubjectError> {
        let within = |text: &str, most: usize| {
            let count = text.chars().count();
            (1..=most).contains(&count) && !text.chars().any(char::is_control)
        };
        let optional = |text: &Option<String>, most| text.as_ref().is_none_or(|t| within(t, most));
        if self.common_name.is_empty() {
            return Err(SubjectError::NoCommonName);
        }
        if !within(&self.common_name, 64) {
            return Err(SubjectError::Member("common_name", "1 to 64 characters"));
        }
        let country =
            |text: &String| text.len() == 2 && text.bytes().all(|c| c.is_ascii_alphabetic());
        if !self.country.as_ref().is_none_or(country) {
            return Err(SubjectError::Member("country", "two letters"));
        }
        if !optional(&self.state, 128) {
            return Err(SubjectError::Member("state", "1 to 128 characters"));
        }
        if !optional(&self.locality, 128) {
            return Err(SubjectError::Member("locality", "1 to 128 characters"));
        }
        if !optional(&self.organization, 64) {
            return Err(SubjectError::Member("organization", "1 to 64 characters"));
        }
        if !optional(&self.organizational_unit, 64) {
            return Err(SubjectError::Member(
                "organizational_unit",
                "1 to 64 characters",
            ));
        }
        Ok(())
    }

    /// Takes over what is absent, except for the common name, from the parent CA (CCM API 4.2.2.2).
    pub(in crate::ccm_server) fn inherit(&mut self, parent: &Self) {
        let take = |own: &mut Option<String>, theirs: &Option<String>| {
            if own.is_none() {
                own.clone_from(theirs);
            }
        };
        take(&mut self.country, &parent.country);
        take(&mut self.state, &parent.state);
        take(&mut self.locality, &parent.locality);
        take(&mut self.organization, &parent.organization);
        take(&mut self.organizational_unit, &parent.organizational_unit);
    }

    /// As the API answers it.
    pub(in crate::ccm_server) fn json(&self) -> Value {
        json!({
            "common_name": self.common_name,
            "country": self.country,
            "state": self.state,
            "locality": self.locality,
            "organization": self.organization,
            "organizational_unit": self.organizational_unit,
        })
    }

    /// `Name`: country as PrintableString (RFC 5280 A.1), the rest as UTF8String.
    pub(in crate::ccm_server) fn der(&self) -> Vec<u8> {
        let members = [
            (6, &self.country),
            (8, &self.state),
            (7, &self.locality),
            (10, &self.organization),
            (11, &self.organizational_unit),
            (3, &Some(self.common_name.clone())),
        ];
        let mut rdns = Vec::new();
        for (kind, text) in members {
            let Some(text) = text else { continue };
            let value = if kind == 6 {
                der::printable(text)
            } else {
                der::utf8(text)
            };
            let attribute = der::sequence(&[&der::oid(&[2, 5, 4, kind]), &value]);
            rdns.extend(der::set(&attribute));
        }
        der::tlv(0x30, &rdns)
    }

    /// The members that the API knows, from a parsed name; the last common name counts, as in browsers.
    pub(in crate::ccm_server) fn from_name(name: &X509Name<'_>) -> Self {
        let mut subject = Self::default();
        for attribute in name.iter_attributes() {
            let Ok(text) = attribute.as_str() else {
                continue;
            };
            let text = text.to_owned();
            match attribute.attr_type().to_id_string().as_str() {
                "2.5.4.3" => subject.common_name = text,
                "2.5.4.6" => subject.country = Some(text),
                "2.5.4.8" => subject.state = Some(text),
                "2.5.4.7" => subject.locality = Some(text),
                "2.5.4.10" => subject.organization = Some(text),
                "2.5.4.11" => subject.organizational_unit = Some(text),
                _ => {}
            }
        }
        subject
    }
}
