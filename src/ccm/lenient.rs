//! Reading what the reference's tables and examples spell in different ways: numbers as text, text as numbers, null
//! for nothing, enumerations with values of tomorrow.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::pki::Secret;

/// A text or a number as text; null and absence are `None`.
pub(crate) fn text<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    match Value::deserialize(from)? {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text)),
        Value::Number(number) => Ok(Some(number.to_string())),
        Value::Bool(flag) => Ok(Some(flag.to_string())),
        Value::Array(_) | Value::Object(_) => Err(D::Error::custom("expected a text")),
    }
}

/// An id that must be there: a text or a number, not empty.
pub(crate) fn id<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    text(from)?
        .filter(|text| !text.is_empty())
        .ok_or_else(|| D::Error::custom("expected an id"))
}

/// A whole number or a text that holds one; null, absence and an empty text are `None`.
pub(crate) fn integer<'de, D: Deserializer<'de>>(from: D) -> Result<Option<i64>, D::Error> {
    let wrong = || D::Error::custom("expected a whole number");
    match Value::deserialize(from)? {
        Value::Null => Ok(None),
        Value::Number(number) => number.as_i64().map(Some).ok_or_else(wrong),
        Value::String(text) if text.trim().is_empty() => Ok(None),
        Value::String(text) => text.trim().parse().map(Some).map_err(|_| wrong()),
        Value::Bool(_) | Value::Array(_) | Value::Object(_) => Err(wrong()),
    }
}

/// A count that must be there.
pub(crate) fn count<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    integer(from)?
        .and_then(|number| u64::try_from(number).ok())
        .ok_or_else(|| D::Error::custom("expected a count"))
}

/// A list; null is an empty one.
pub(crate) fn list<'de, D, T>(from: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Ok(Option::<Vec<T>>::deserialize(from)?.unwrap_or_default())
}

/// A secret text; null and an empty text are `None`. The text is taken over, not copied.
pub(crate) fn secret<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Secret>, D::Error> {
    let text = Option::<String>::deserialize(from)?;
    Ok(text
        .filter(|text| !text.trim().is_empty())
        .map(Secret::from))
}

/// An enumeration of the wire: compared without regard to case, several spellings for one value, and `Unknown` for
/// what the reference does not list.
macro_rules! wire_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal $(| $alias:literal)*),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum $name {
            $($(#[$vdoc])* $variant,)+
            /// A value that the reference does not list.
            Unknown(String),
        }

        impl $name {
            /// As it is sent.
            #[must_use]
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $text,)+
                    Self::Unknown(text) => text,
                }
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::Unknown(String::new())
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                $(if [$text $(, $alias)*].iter().any(|known| text.eq_ignore_ascii_case(known)) {
                    return Self::$variant;
                })+
                Self::Unknown(text)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                Ok(Self::from($crate::ccm::lenient::text(from)?.unwrap_or_default()))
            }
        }
    };
}

pub(crate) use wire_enum;

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Sample {
        #[serde(default, deserialize_with = "text")]
        text: Option<String>,
        #[serde(default, deserialize_with = "integer")]
        integer: Option<i64>,
        #[serde(default, deserialize_with = "list")]
        list: Vec<u8>,
    }

    fn sample(json: &str) -> Option<Sample> {
        serde_json::from_str(json).ok()
    }

    #[test]
    fn numbers_and_texts_stand_in_for_each_other() {
        let read = sample(r#"{"text": 7, "integer": " 7 ", "list": null}"#).unwrap();
        assert_eq!(read.text.as_deref(), Some("7"));
        assert_eq!(read.integer, Some(7));
        assert!(read.list.is_empty());
        let read = sample(r#"{"text": null, "integer": ""}"#).unwrap();
        assert_eq!((read.text, read.integer), (None, None));
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for json in [
            r#"{"text": []}"#,
            r#"{"integer": "seven"}"#,
            r#"{"integer": 1.5}"#,
            r#"{"list": 3}"#,
        ] {
            assert!(sample(json).is_none(), "{json}");
        }
    }
}
