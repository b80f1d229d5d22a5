//! How names are proven to a public CA: by which of the policy's ways.

use crate::config::code::Code;
use crate::config::diagnostic::Diagnostic;
use crate::config::fields::Fields;
use crate::config::lift::Lift;
use crate::config::source::Place;
use crate::model::{CertificateId, ValidationId};

impl Lift<'_> {
    /// The way named by `validation`; the inner `None` where none is written.
    pub(super) fn proving(&mut self, fields: &Fields<'_>) -> Option<Option<ValidationId>> {
        let Some((name, place)) = fields.text("validation") else {
            return (!fields.has("validation")).then_some(None);
        };
        if !self.is_validation(name, place) {
            return None;
        }
        match ValidationId::new(name) {
            Ok(id) => Some(Some(id)),
            Err(error) => {
                let message = format!("{name:?} cannot be the name of a validation");
                let label = error.to_string();
                self.problems
                    .push(Diagnostic::error(Code::BadId, place, message, label));
                None
            }
        }
    }

    /// Whether there is a way of this name; reports one that there is not.
    fn is_validation(&mut self, name: &str, place: Place) -> bool {
        let defined = &mut self.validations_defined;
        let found = defined.find(name, place, self.problems, self.sources);
        found.is_some()
    }

    /// Where nothing is proven to anybody.
    pub(super) fn no_proof_needed(&mut self, id: &CertificateId, fields: &Fields<'_>) {
        if let Some(entry) = fields.entry("validation") {
            let message = format!("`validation` has no effect on certificate `{id}`");
            let label = "only what is applied for at SCM is proven";
            self.problems.push(Diagnostic::warning(
                Code::NoEffect,
                entry.key,
                message,
                label,
            ));
        }
    }
}
