//! What was seen of proofs, from where a CA looks.

use std::fmt;

use crate::model::ErrorClass;

/// What was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sighting {
    /// Every proof, by everybody who was asked; and nothing that would stop the CA.
    Everywhere,
    /// Some are not there yet: this passes by itself, as far as it can be seen.
    NotYet(Vec<Gap>),
    /// Something would stop the CA whatever is waited for: a person must change it. What is merely not there yet is in it
    /// too.
    Hindered(Vec<Gap>),
}

/// Something that a CA would miss or mind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// Of which proof: name of the record, or URL.
    pub place: String,
    /// Who was asked: name and address of a server, empty where it is about no single one.
    pub server: String,
    /// What is wrong.
    pub lack: Lack,
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lack {
    /// Nothing is there.
    Absent,
    /// Something else is there.
    Other(Vec<String>),
    /// The server cannot be asked.
    Silent(String),
    /// The server answers that it cannot say.
    Refused(String),
    /// The server does not know that it is responsible for the zone.
    Lame,
    /// No zone holds the name.
    NoZone(String),
    /// The chain of signatures is broken: validating resolvers, and CAs, answer nothing.
    Dnssec(String),
    /// A CAA record forbids the CA.
    Caa(String),
}

impl Lack {
    /// Whether a person must do something.
    const fn hinders(&self) -> bool {
        match self {
            Self::NoZone(_) | Self::Dnssec(_) | Self::Caa(_) => true,
            Self::Absent | Self::Other(_) | Self::Silent(_) | Self::Refused(_) | Self::Lame => {
                false
            }
        }
    }
}

impl Sighting {
    /// From all that was found.
    pub(super) fn of(gaps: Vec<Gap>) -> Self {
        if gaps.is_empty() {
            Self::Everywhere
        } else if gaps.iter().any(|gap| gap.lack.hinders()) {
            Self::Hindered(gaps)
        } else {
            Self::NotYet(gaps)
        }
    }

    /// For an order that cannot go on: what helps, and one line that says everything. `None` where all is well.
    #[must_use]
    pub fn problem(&self) -> Option<(ErrorClass, String)> {
        match self {
            Self::Everywhere => None,
            Self::NotYet(gaps) => Some((ErrorClass::Transient, lines(gaps))),
            Self::Hindered(gaps) => Some((ErrorClass::Configuration, lines(gaps))),
        }
    }
}

impl fmt::Display for Sighting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everywhere => f.write_str("visible everywhere"),
            Self::NotYet(gaps) | Self::Hindered(gaps) => f.write_str(&lines(gaps)),
        }
    }
}

/// What hinders comes first, since waiting does not help there.
fn lines(gaps: &[Gap]) -> String {
    let mut sorted: Vec<&Gap> = gaps.iter().collect();
    sorted.sort_by_key(|gap| !gap.lack.hinders());
    let shown: Vec<String> = sorted
        .iter()
        .take(MOST_SHOWN)
        .map(ToString::to_string)
        .collect();
    let mut text = shown.join("; ");
    if let Some(more @ 1..) = sorted.len().checked_sub(MOST_SHOWN) {
        text.push_str(&format!("; and {more} more"));
    }
    text
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            place,
            server,
            lack,
        } = self;
        match lack {
            Lack::Absent => write!(f, "{place}: not visible yet at {server}"),
            Lack::Other(values) => {
                let values: Vec<String> = values.iter().take(3).map(|v| quoted(v)).collect();
                let values = values.join(", ");
                write!(
                    f,
                    "{place}: {server} has another value than the proof's: {values}"
                )
            }
            Lack::Silent(why) => write!(f, "{place}: {server} cannot be asked: {why}"),
            Lack::Refused(why) => write!(f, "{place}: {server} answers {why}"),
            Lack::Lame => write!(
                f,
                "{place}: {server} is named as a server of the zone and does not serve it; correct its NS records or that server"
            ),
            Lack::NoZone(why) => write!(f, "{place}: {why}"),
            Lack::Dnssec(why) => write!(
                f,
                "{place}: the DNSSEC chain is broken: {why}; sign the zone anew, or take its DS record away at the registrar"
            ),
            Lack::Caa(why) => write!(f, "{place}: a CAA record forbids the CA: {why}"),
        }
    }
}

/// A text from outside, fit for a message.
pub(super) fn quoted(text: &str) -> String {
    let mut shown: String = text.chars().take(80).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    format!("{shown:?}")
}

/// Of what is missing.
const MOST_SHOWN: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn gap(lack: Lack) -> Gap {
        Gap {
            place: "_dnsauth.example.com".to_owned(),
            server: "ns1.example.com (192.0.2.1)".to_owned(),
            lack,
        }
    }

    #[test]
    fn what_waiting_does_not_help_against_is_told_first() {
        let seen = Sighting::of(vec![
            gap(Lack::Absent),
            gap(Lack::Caa("only ca.example may".to_owned())),
        ]);
        let (class, text) = seen.problem().unwrap();
        assert_eq!(class, ErrorClass::Configuration);
        let (first, _) = text.split_once("; ").unwrap();
        assert!(first.contains("a CAA record forbids the CA"), "{text}");
        let seen = Sighting::of(vec![gap(Lack::Absent)]);
        assert_eq!(seen.problem().unwrap().0, ErrorClass::Transient);
        assert_eq!(Sighting::of(Vec::new()).problem(), None);
    }

    #[test]
    fn a_long_list_is_cut() {
        let seen = Sighting::of(vec![gap(Lack::Absent); 7]);
        assert!(seen.to_string().ends_with("; and 3 more"), "{seen}");
    }

    #[test]
    fn a_value_from_outside_cannot_break_the_line() {
        let seen = gap(Lack::Other(vec!["a\nb\u{1b}".to_owned()]));
        assert!(!seen.to_string().contains(['\n', '\u{1b}']));
    }
}
