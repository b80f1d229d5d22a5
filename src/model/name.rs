//! Names a certificate is valid for: parsed, normalised, ordered.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};

/// One subject alternative name (RFC 5280 §4.2.1.6).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Name {
    /// Lower-case host name without final dot; the first label may be `*`.
    Dns(String),
    /// An IPv4 or IPv6 address.
    Ip(IpAddr),
    /// A URI with scheme, as written.
    Uri(String),
    /// A mailbox, as written.
    Email(String),
}

/// Why a text is no name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing was given.
    #[error("is empty")]
    Empty,
    /// RFC 1035 §2.3.4: 253 characters in text form.
    #[error("is longer than 253 characters")]
    TooLong,
    /// RFC 1035 §2.3.4 and RFC 1123 §2.1.
    #[error("has the label {0:?}; a label has 1 to 63 letters, digits and inner hyphens")]
    Label(String),
    /// Only a whole first label may be a wildcard (RFC 6125 §6.4.3).
    #[error("has a `*` that is not the whole first label")]
    Wildcard,
    /// Names travel in ASCII.
    #[error("is not ASCII; write the name in its `xn--` form")]
    NotAscii,
    /// A mailbox needs exactly one `@` with text on both sides.
    #[error("is no email address")]
    Email,
    /// A URI needs a scheme and something behind it.
    #[error("is no URI")]
    Uri,
}

impl Name {
    /// Tells the four kinds apart: an address, a text with `://` or a leading `urn:`, a text with `@`, else a host name.
    ///
    /// # Errors
    /// [`NameError`] says which rule of the kind is broken.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if !text.is_ascii() {
            return Err(NameError::NotAscii);
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::Ip(address));
        }
        if let Some((scheme, rest)) = text.split_once(':')
            && (rest.starts_with("//") || scheme == "urn")
        {
            let rest = rest.trim_start_matches('/');
            let clean = |c: char| c.is_ascii_graphic();
            if rest.is_empty() || scheme.is_empty() || !text.chars().all(clean) {
                return Err(NameError::Uri);
            }
            return Ok(Self::Uri(text.to_owned()));
        }
        if let Some((mailbox, host)) = text.split_once('@') {
            if mailbox.is_empty()
                || host.contains('@')
                || !text.chars().all(|c| c.is_ascii_graphic())
            {
                return Err(NameError::Email);
            }
            dns(host).map_err(|_| NameError::Email)?;
            return Ok(Self::Email(text.to_owned()));
        }
        dns(text).map(Self::Dns)
    }

    /// Whether a certificate with this name is good for `wanted`: equal, or a wildcard over exactly one label.
    #[must_use]
    pub fn covers(&self, wanted: &Self) -> bool {
        if self == wanted {
            return true;
        }
        let (Self::Dns(have), Self::Dns(want)) = (self, wanted) else {
            return false;
        };
        let Some(parent) = have.strip_prefix("*.") else {
            return false;
        };
        want.split_once('.')
            .is_some_and(|(first, rest)| first != "*" && rest == parent)
    }

    /// Whether this is a host name that begins with `*.`.
    #[must_use]
    pub fn is_wildcard(&self) -> bool {
        matches!(self, Self::Dns(name) if name.starts_with("*."))
    }
}

fn dns(text: &str) -> Result<String, NameError> {
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if name.len() > 253 {
        return Err(NameError::TooLong);
    }
    let body = name.strip_prefix("*.").unwrap_or(&name);
    for label in body.split('.') {
        if label.contains('*') {
            return Err(NameError::Wildcard);
        }
        let good = |c: u8| c.is_ascii_alphanumeric() || c == b'-' || c == b'_';
        if label.is_empty()
            || label.len() > 63
            || label.starts_with('-')
            || label.ends_with('-')
            || !label.bytes().all(good)
        {
            return Err(NameError::Label(label.to_owned()));
        }
    }
    Ok(name)
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(text) | Self::Uri(text) | Self::Email(text) => f.pad(text),
            Self::Ip(address) => f.pad(&address.to_string()),
        }
    }
}

impl TryFrom<String> for Name {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        Self::parse(&text)
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.to_string()
    }
}

/// The names of one certificate, without repetition, in a fixed order. Shared: policy, journal and deployer have the same, and a
/// tree for a name or two is mostly room for more.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(from = "Vec<Name>")]
pub struct SubjectAltNames(Arc<[Name]>);

impl SubjectAltNames {
    /// The names in order.
    pub fn iter(&self) -> impl Iterator<Item = &Name> {
        self.0.iter()
    }
    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    /// Whether every name of `wanted` is good under one of these.
    #[must_use]
    pub fn cover(&self, wanted: &Self) -> bool {
        let has = |want| self.0.binary_search(want).is_ok();
        wanted
            .0
            .iter()
            .all(|want| has(want) || self.0.iter().any(|have| have.covers(want)))
    }
}

impl FromIterator<Name> for SubjectAltNames {
    fn from_iter<T: IntoIterator<Item = Name>>(names: T) -> Self {
        let mut names: Vec<Name> = names.into_iter().collect();
        names.sort_unstable();
        names.dedup();
        Self(names.into())
    }
}

impl From<Vec<Name>> for SubjectAltNames {
    fn from(names: Vec<Name>) -> Self {
        names.into_iter().collect()
    }
}

impl Serialize for SubjectAltNames {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl fmt::Display for SubjectAltNames {
    /// Comma-separated.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.pad(&names.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    #[test]
    fn the_four_kinds_are_told_apart() {
        assert_eq!(
            name("WWW.Example.com."),
            Name::Dns("www.example.com".into())
        );
        assert!(matches!(name("::1"), Name::Ip(_)));
        assert!(matches!(name("spiffe://corp/web"), Name::Uri(_)));
        assert!(matches!(name("ops@example.com"), Name::Email(_)));
    }

    #[test]
    fn bad_names_are_refused_by_rule() {
        assert_eq!(Name::parse("a.*.b"), Err(NameError::Wildcard));
        assert_eq!(Name::parse("-a.b"), Err(NameError::Label("-a".into())));
        assert_eq!(Name::parse("münchen.de"), Err(NameError::NotAscii));
        assert_eq!(Name::parse("a..b"), Err(NameError::Label(String::new())));
        assert_eq!(Name::parse("a b"), Err(NameError::Label("a b".into())));
        assert_eq!(Name::parse("https://"), Err(NameError::Uri));
    }

    #[test]
    fn a_wildcard_covers_exactly_one_label() {
        assert!(name("*.example.com").covers(&name("www.example.com")));
        assert!(!name("*.example.com").covers(&name("example.com")));
        assert!(!name("*.example.com").covers(&name("a.b.example.com")));
        assert!(!name("*.example.com").covers(&name("*.other.com")));
        assert!(name("*.example.com").covers(&name("*.example.com")));
    }
}
