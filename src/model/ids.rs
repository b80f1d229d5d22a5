//! Names that people give to things, and the ids renewd gives to its own.
//!
//! All are file-name safe: they become directory names below the state directory.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Why a text cannot be an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Nothing was given.
    #[error("is empty")]
    Empty,
    /// Longer than the 64 characters that fit every place an id is shown.
    #[error("is longer than {MAX_LENGTH} characters")]
    TooLong,
    /// A character that is not safe in a file name.
    #[error(
        "contains {0:?}; use letters, digits, `.`, `_` and `-`, beginning with a letter or digit"
    )]
    Character(char),
}

fn check(text: &str) -> Result<(), IdError> {
    let Some(first) = text.chars().next() else {
        return Err(IdError::Empty);
    };
    if text.len() > MAX_LENGTH {
        return Err(IdError::TooLong);
    }
    if !first.is_ascii_alphanumeric() {
        return Err(IdError::Character(first));
    }
    match text
        .chars()
        .find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')))
    {
        Some(bad) => Err(IdError::Character(bad)),
        None => Ok(()),
    }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Accepts letters, digits, `.`, `_`, `-`; at most 64 characters.
            ///
            /// # Errors
            /// [`IdError`] says which rule the text breaks.
            pub fn new(text: &str) -> Result<Self, IdError> {
                check(text)?;
                Ok(Self(Arc::from(text)))
            }

            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                Self::new(&text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0.as_ref().to_owned()
            }
        }

        impl std::str::FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::new(text)
            }
        }
    };
}

id!(/** A certificate of the policy, such as `www`; lives for years and many revisions. */ CertificateId);
id!(/** An issuer of the policy, such as `corp`; unique over all kinds of issuer. */ IssuerId);
id!(/** A target of the policy, such as `web`; unique over all kinds of target. */ TargetId);
id!(/** One attempt to obtain a revision. */ OrderId);
id!(/** One attempt to put a set of revisions on a target. */ RolloutId);
id!(/** One issued key, leaf and chain: the first 16 hex digits of the SHA-256 of the leaf. */ RevisionId);

const MAX_LENGTH: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_safe_as_a_file_name() {
        assert!(CertificateId::new("www.example-1_a").is_ok());
        assert_eq!(CertificateId::new(""), Err(IdError::Empty));
        assert_eq!(CertificateId::new(".."), Err(IdError::Character('.')));
        assert_eq!(CertificateId::new("a/b"), Err(IdError::Character('/')));
        assert_eq!(CertificateId::new(&"a".repeat(65)), Err(IdError::TooLong));
    }
}
