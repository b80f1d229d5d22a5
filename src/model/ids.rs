//! Names that people give to things, and the ids renewd gives to its own.
//!
//! All are file-name safe: they become directory names below the state directory.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

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

/// A short ASCII text in place, a longer one shared.
///
/// The planner compares some ids of every certificate in each plan; a text in place is in the cache by then, while a
/// text elsewhere is another access to memory, which is most of what a large plan costs.
#[derive(Clone)]
enum Text {
    InPlace { length: u8, bytes: [u8; IN_PLACE] },
    Shared(Arc<str>),
}

impl Text {
    fn new(text: &str) -> Self {
        let mut bytes = [0; IN_PLACE];
        match (bytes.get_mut(..text.len()), u8::try_from(text.len())) {
            (Some(place), Ok(length)) => {
                place.copy_from_slice(text.as_bytes());
                Self::InPlace { length, bytes }
            }
            _ => Self::Shared(Arc::from(text)),
        }
    }

    fn as_bytes(&self) -> &[u8] {
        match self {
            Self::InPlace { length, bytes } => &bytes[..usize::from(*length)],
            Self::Shared(text) => text.as_bytes(),
        }
    }

    fn as_str(&self) -> &str {
        match self {
            Self::InPlace { .. } => {
                std::str::from_utf8(self.as_bytes()).expect("a text in place was a text before")
            }
            Self::Shared(text) => text,
        }
    }
}

// As of `str`, which `Borrow<str>` promises: bytes in order.
impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Text {}

impl PartialOrd for Text {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Text {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl Hash for Text {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Text);

        impl $name {
            /// Accepts letters, digits, `.`, `_`, `-`; at most 64 characters.
            ///
            /// # Errors
            /// [`IdError`] says which rule the text breaks.
            pub fn new(text: &str) -> Result<Self, IdError> {
                check(text)?;
                Ok(Self(Text::new(text)))
            }

            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                self.0.as_str()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.as_str())
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                self.as_str()
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        // Without a text of its own on the way: a start reads some of each certificate.
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Checked;
                impl Visitor<'_> for Checked {
                    type Value = $name;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("a string")
                    }
                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$name, E> {
                        $name::new(text).map_err(E::custom)
                    }
                }
                deserializer.deserialize_str(Checked)
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
                id.as_str().to_owned()
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
id!(/** A way by which alerts leave the host, such as `ops`; unique over all kinds of way. */ ChannelId);
id!(/** Something that is watched and not managed, such as `mail`. */ WatchId);
id!(/** A way of proving domains, such as `zone`; unique over all kinds of way. */ ValidationId);
id!(/** A place of the cloud that certificates are pushed to, such as `edge`. */ PushId);
id!(/** One attempt to obtain a revision. */ OrderId);
id!(/** One attempt to put a set of revisions on a target. */ RolloutId);
id!(/** One issued key, leaf and chain: the first 16 hex digits of the SHA-256 of the leaf. */ RevisionId);

const MAX_LENGTH: usize = 64;

/// With its length and the mark of its kind as large as a shared text; most names and every revision's id fit.
const IN_PLACE: usize = 22;

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

    #[test]
    fn ids_compare_and_hash_as_their_texts_whatever_their_length() {
        use std::collections::{BTreeSet, HashSet};
        let texts: Vec<String> = (1..=64)
            .flat_map(|length| ["a", "b"].map(|c| c.repeat(length)))
            .collect();
        let ids: BTreeSet<CertificateId> = texts
            .iter()
            .map(|text| CertificateId::new(text).unwrap())
            .collect();
        let sorted: BTreeSet<&String> = texts.iter().collect();
        assert!(ids.iter().map(CertificateId::as_str).eq(sorted));
        let hashed: HashSet<CertificateId> = ids.iter().cloned().collect();
        for text in &texts {
            assert!(ids.contains(text.as_str()) && hashed.contains(text.as_str()));
        }
        assert_eq!(size_of::<CertificateId>(), 24);
    }
}
