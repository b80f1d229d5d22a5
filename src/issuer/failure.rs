//! From the client's errors to the issuer's: same meaning, in the words of the model.

use crate::ccm::{CcmError, Class, Effect as RemoteEffect};
use crate::issuer::{Effect, IssuerError};
use crate::model::ErrorClass;

/// A call that changes something failed: its effect is what the client says.
pub(super) fn acting(error: Box<CcmError>) -> IssuerError {
    IssuerError {
        class: match error.class {
            Class::Transient => ErrorClass::Transient,
            Class::RateLimited => ErrorClass::RateLimited,
            Class::Rejected => ErrorClass::Rejected,
            Class::Authentication => ErrorClass::Authentication,
            Class::Configuration => ErrorClass::Configuration,
            Class::Bug => ErrorClass::Bug,
        },
        effect: match error.effect {
            RemoteEffect::None => Effect::None,
            RemoteEffect::Unknown => Effect::Unknown,
        },
        message: error.to_string(),
        retry_after: error.retry_after,
        everybody: match error.status {
            None => matches!(error.class, Class::Transient | Class::Configuration),
            Some(status) => status == 401,
        },
    }
}

/// A call that only reads failed: nothing can have changed, however it ended.
pub(super) fn reading(error: Box<CcmError>) -> IssuerError {
    IssuerError {
        effect: Effect::None,
        ..acting(error)
    }
}

/// Something is wrong here, or with what the issuer sent, and nothing was changed.
pub(super) fn own(class: ErrorClass, message: impl Into<String>) -> IssuerError {
    IssuerError {
        class,
        effect: Effect::None,
        message: message.into(),
        retry_after: None,
        everybody: false,
    }
}
