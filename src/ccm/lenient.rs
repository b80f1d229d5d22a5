//! Reading what the reference's tables and examples spell in different ways: numbers as text, text as numbers, null
//! for nothing, one object as a list of one, enumerations with values of tomorrow.

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::pki::Secret;

/// What a field of an answer may hold, read by its type alone: the same in every answer.
pub(crate) trait Lenient: Sized {
    /// Reads it; an error says what was expected, never what was there.
    fn from_json(value: Value) -> Result<Self, &'static str>;

    /// Whether there is nothing to be shown.
    fn is_absent(&self) -> bool {
        false
    }
}

/// Reads a field by its type; for `deserialize_with`.
pub(crate) fn read<'de, D: Deserializer<'de>, T: Lenient>(from: D) -> Result<T, D::Error> {
    T::from_json(Value::deserialize(from)?).map_err(D::Error::custom)
}

/// An id, a name: a text or a number that is not empty.
impl Lenient for String {
    fn from_json(value: Value) -> Result<Self, &'static str> {
        Option::<Self>::from_json(value)?
            .filter(|text| !text.is_empty())
            .ok_or("expected an id")
    }
}

/// A count.
impl Lenient for u64 {
    fn from_json(value: Value) -> Result<Self, &'static str> {
        Option::<i64>::from_json(value)?
            .and_then(|number| Self::try_from(number).ok())
            .ok_or("expected a count")
    }
}

/// A text, a number or a flag as text.
impl Lenient for Option<String> {
    fn from_json(value: Value) -> Result<Self, &'static str> {
        match value {
            Value::Null => Ok(None),
            Value::String(text) => Ok(Some(text)),
            Value::Number(number) => Ok(Some(number.to_string())),
            Value::Bool(flag) => Ok(Some(flag.to_string())),
            Value::Array(_) | Value::Object(_) => Err("expected a text"),
        }
    }

    fn is_absent(&self) -> bool {
        self.is_none()
    }
}

/// A whole number, or a text that holds one; an empty text is nothing.
impl Lenient for Option<i64> {
    fn from_json(value: Value) -> Result<Self, &'static str> {
        const WRONG: &str = "expected a whole number";
        match value {
            Value::Null => Ok(None),
            Value::Number(number) => number.as_i64().map(Some).ok_or(WRONG),
            Value::String(text) if text.trim().is_empty() => Ok(None),
            Value::String(text) => text.trim().parse().map(Some).map_err(|_| WRONG),
            Value::Bool(_) | Value::Array(_) | Value::Object(_) => Err(WRONG),
        }
    }

    fn is_absent(&self) -> bool {
        self.is_none()
    }
}

/// A flag, as such, as text (`"true"`, `"on"`) or as a number.
impl Lenient for Option<bool> {
    fn from_json(value: Value) -> Result<Self, &'static str> {
        const WRONG: &str = "expected true or false";
        match value {
            Value::Null => Ok(None),
            Value::Bool(flag) => Ok(Some(flag)),
            Value::Number(number) => match number.as_i64() {
                Some(0) => Ok(Some(false)),
                Some(1) => Ok(Some(true)),
                _ => Err(WRONG),
            },
            Value::String(text) => match text.trim().to_ascii_lowercase().as_str() {
                "" => Ok(None),
                "true" | "on" | "yes" | "1" => Ok(Some(true)),
                "false" | "off" | "no" | "0" => Ok(Some(false)),
                _ => Err(WRONG),
            },
            Value::Array(_) | Value::Object(_) => Err(WRONG),
        }
    }

    fn is_absent(&self) -> bool {
        self.is_none()
    }
}

/// A list.
impl<T: DeserializeOwned> Lenient for Vec<T> {
    fn from_json(value: Value) -> Result<Self, &'static str> {
        match value {
            Value::Null => Ok(Self::new()),
            Value::Array(_) => serde_json::from_value(value).map_err(|_| "a list with odd entries"),
            _ => Err("expected a list"),
        }
    }

    fn is_absent(&self) -> bool {
        self.is_empty()
    }
}

/// An object of an answer, as the macro `answer` makes them.
pub(crate) trait Object: DeserializeOwned {}

/// An object within another one; a list of one object stands for that (the example of 4.1.2.1).
impl<T: Object> Lenient for Option<T> {
    fn from_json(value: Value) -> Result<Self, &'static str> {
        let value = match value {
            Value::Null => return Ok(None),
            Value::Array(mut list) if list.len() <= 1 => match list.pop() {
                Some(one) => one,
                None => return Ok(None),
            },
            other => other,
        };
        serde_json::from_value(value)
            .map(Some)
            .map_err(|_| "expected an object")
    }

    fn is_absent(&self) -> bool {
        self.is_none()
    }
}

/// A text or a number as text; null and absence are `None`.
pub(crate) fn text<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    read(from)
}

/// A count that must be there.
pub(crate) fn count<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    read(from)
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

        impl $crate::ccm::limits::Word for $name {
            const KNOWN: &'static [&'static str] = &[$($text),+];

            fn is_known(&self) -> bool {
                !matches!(self, Self::Unknown(_))
            }
        }

        impl $crate::ccm::lenient::Lenient for $name {
            fn from_json(value: serde_json::Value) -> Result<Self, &'static str> {
                let text = Option::<String>::from_json(value)?.unwrap_or_default();
                Ok(Self::from(text.trim().to_owned()))
            }

            fn is_absent(&self) -> bool {
                self.as_str().is_empty()
            }
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
                $crate::ccm::lenient::read(from)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(self.as_str())
            }
        }
    };
}

pub(crate) use wire_enum;

/// The objects of an answer: before the semicolon what must be there, behind it what may be missing. All are read by
/// [`read`] and can be shown as JSON again, with what was there.
macro_rules! answer {
    ($($(#[$doc:meta])* $name:ident {
        $($(#[$rdoc:meta])* $rfield:ident : $rtype:ty),* ;
        $($(#[$fdoc:meta])* $field:ident : $ftype:ty),* $(,)?
    })+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
        pub struct $name {
            $(
                $(#[$rdoc])*
                #[serde(deserialize_with = "crate::ccm::lenient::read")]
                pub $rfield: $rtype,
            )*
            $(
                $(#[$fdoc])*
                #[serde(
                    default,
                    deserialize_with = "crate::ccm::lenient::read",
                    skip_serializing_if = "crate::ccm::lenient::Lenient::is_absent"
                )]
                pub $field: $ftype,
            )*
        }

        impl $crate::ccm::lenient::Object for $name {}
    )+};
}

pub(crate) use answer;

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Sample {
        #[serde(default, deserialize_with = "text")]
        text: Option<String>,
        #[serde(default, deserialize_with = "read")]
        integer: Option<i64>,
        #[serde(default, deserialize_with = "read")]
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
    fn flags_come_as_flags_words_and_numbers() {
        for (json, flag) in [
            ("true", Some(true)),
            (r#""False""#, Some(false)),
            (r#""ON""#, Some(true)),
            (r#""off""#, Some(false)),
            ("1", Some(true)),
            ("null", None),
            (r#""""#, None),
        ] {
            let value = serde_json::from_str(json).unwrap();
            assert_eq!(Option::<bool>::from_json(value), Ok(flag), "{json}");
        }
        assert!(Option::<bool>::from_json("perhaps".into()).is_err());
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
