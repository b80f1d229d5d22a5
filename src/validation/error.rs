//! What stopped a proof from being published, looked for or taken away.

use crate::ccm::{CcmError, Class};
use crate::model::ErrorClass;
use crate::sys::error_chain;
use crate::sys::fs::FsError;

/// A call that failed. Never holds a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ValidationError {
    /// What helps.
    pub class: ErrorClass,
    /// One line: what was attempted on what, what went wrong, what to do.
    pub message: String,
}

impl ValidationError {
    pub(super) fn new(class: ErrorClass, message: impl Into<String>) -> Self {
        Self {
            class,
            message: message.into(),
        }
    }

    /// May pass by itself.
    pub(super) fn transient(message: impl Into<String>) -> Self {
        Self::new(ErrorClass::Transient, message)
    }

    /// The policy or something around it must change.
    pub(super) fn configuration(message: impl Into<String>) -> Self {
        Self::new(ErrorClass::Configuration, message)
    }

    /// The same, saying which table of the policy it is about.
    pub(super) fn of(self, what: &str) -> Self {
        Self {
            message: format!("{what}: {}", self.message),
            ..self
        }
    }
}

impl From<FsError> for ValidationError {
    fn from(error: FsError) -> Self {
        Self::new(error.class(), error_chain(&error))
    }
}

impl From<Box<CcmError>> for ValidationError {
    fn from(error: Box<CcmError>) -> Self {
        let class = match error.class {
            Class::Transient => ErrorClass::Transient,
            Class::RateLimited => ErrorClass::RateLimited,
            Class::Rejected => ErrorClass::Rejected,
            Class::Authentication => ErrorClass::Authentication,
            Class::Configuration => ErrorClass::Configuration,
            Class::Bug => ErrorClass::Bug,
        };
        Self::new(class, error.to_string())
    }
}
