//! Whether what was presented is what was deployed. Pure.

use crate::deploy::probe::{KeyKind, Seen};
use crate::deploy::prove::Trust;
use crate::model::{CertificateFacts, KeyAlgorithm, Timestamp};
use crate::pki::facts;

/// What a server should present for one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::deploy) struct Expected {
    /// The leaf, DER; `None`: any certificate will do.
    pub(in crate::deploy) leaf: Option<Vec<u8>>,
    /// A leaf that must not be shown any more; what is wanted where it is not known what was there before.
    pub(in crate::deploy) not: Option<Vec<u8>>,
    /// What comes behind it; `None`: not looked at.
    pub(in crate::deploy) behind: Option<Behind>,
}

/// What a server should present behind the leaf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::deploy) struct Behind {
    /// DER, the leaf's issuer first, the root last if the issuer sent it.
    pub(in crate::deploy) chain: Vec<Vec<u8>>,
    /// How many of them at least: all but the root, or none where no export holds the chain.
    pub(in crate::deploy) at_least: usize,
    /// Whom the presented path must convince at this time.
    pub(in crate::deploy) trust: Option<(Trust, Timestamp)>,
}

impl Expected {
    /// Kind of the leaf's key.
    pub(in crate::deploy) fn keys(&self) -> KeyKind {
        self.leaf.as_deref().map_or(KeyKind::Any, kind)
    }

    /// Whether the server may have the expected certificate as well, and chose one of another kind of key.
    pub(in crate::deploy) fn may_be_hidden(&self, seen: &Seen) -> bool {
        let shown = seen.presented.first();
        let shown = shown.map_or(KeyKind::Any, |leaf| kind(leaf));
        self.keys() != KeyKind::Any && shown != self.keys()
    }

    /// Whether this was presented; the error begins with a verb: `serves …`.
    pub(in crate::deploy) fn judge(&self, seen: &Seen) -> Result<(), String> {
        let Some((shown, behind)) = seen.presented.split_first() else {
            return Err("serves no certificate".to_owned());
        };
        if let Some(leaf) = self.leaf.as_ref().filter(|leaf| *leaf != shown) {
            return Err(format!(
                "serves {}, not {}",
                describe(shown),
                describe(leaf)
            ));
        }
        if self.not.as_ref() == Some(shown) {
            return Err(format!(
                "still serves {}, which was taken back",
                describe(shown)
            ));
        }
        self.behind
            .as_ref()
            .map_or(Ok(()), |expected| expected.judge(shown, behind))
    }
}

impl Behind {
    fn judge(&self, leaf: &[u8], presented: &[Vec<u8>]) -> Result<(), String> {
        for (at, shown) in presented.iter().enumerate() {
            if self.chain.get(at) != Some(shown) {
                return Err(format!(
                    "serves the right leaf with another chain: {} is not number {} of what was written",
                    describe(shown),
                    at + 1
                ));
            }
        }
        if presented.len() < self.at_least {
            let missing = self.chain.get(presented.len());
            let missing = missing.map_or_else(String::new, |der| describe(der));
            return Err(format!(
                "serves the right leaf without {missing}; point the service at the full chain"
            ));
        }
        let Some((trust, now)) = &self.trust else {
            return Ok(());
        };
        trust
            .accepts(leaf, presented, *now)
            .map_err(|problem| format!("serves a chain that clients refuse: {problem}"))
    }
}

fn describe(der: &[u8]) -> String {
    let Ok(facts) = facts(der) else {
        return "something that is no certificate".to_owned();
    };
    let CertificateFacts {
        serial, not_after, ..
    } = &facts;
    format!("serial {serial} ({}; until {not_after})", naming(&facts))
}

/// Few of the names, since there may be hundreds.
pub(in crate::deploy) fn naming(facts: &CertificateFacts) -> String {
    let names: Vec<String> = facts
        .names
        .iter()
        .take(MOST_NAMES)
        .map(ToString::to_string)
        .collect();
    let more = facts.names.len() - names.len();
    match (names.is_empty(), more) {
        (true, _) => facts.common_name.clone().unwrap_or_default(),
        (false, 0) => names.join(", "),
        (false, more) => format!("{} and {more} more", names.join(", ")),
    }
}

fn kind(leaf: &[u8]) -> KeyKind {
    match facts(leaf).ok().and_then(|facts| facts.key_algorithm) {
        Some(KeyAlgorithm::Rsa2048 | KeyAlgorithm::Rsa3072 | KeyAlgorithm::Rsa4096) => KeyKind::Rsa,
        Some(KeyAlgorithm::EcP256 | KeyAlgorithm::EcP384) => KeyKind::Ecdsa,
        None => KeyKind::Any,
    }
}

/// In one line.
const MOST_NAMES: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(presented: &[&[u8]]) -> Seen {
        Seen {
            address: "127.0.0.1:443".into(),
            presented: presented.iter().map(|der| der.to_vec()).collect(),
            protocol: "TLSv1.3".into(),
            elapsed: std::time::Duration::ZERO,
        }
    }

    fn expected(at_least: usize) -> Expected {
        Expected {
            leaf: Some(b"leaf".to_vec()),
            not: None,
            behind: Some(Behind {
                chain: vec![b"issuing".to_vec(), b"root".to_vec()],
                at_least,
                trust: None,
            }),
        }
    }

    #[test]
    fn the_chain_is_whole_and_in_order_with_or_without_its_root() {
        let judge = |presented: &[&[u8]]| expected(1).judge(&seen(presented));
        assert_eq!(judge(&[b"leaf", b"issuing"]), Ok(()));
        assert_eq!(judge(&[b"leaf", b"issuing", b"root"]), Ok(()));
        for (presented, says) in [
            (&[][..], "no certificate"),
            (&[b"other".as_slice(), b"issuing"], ", not "),
            (&[b"leaf"], "the full chain"),
            (&[b"leaf", b"root", b"issuing"], "another chain"),
            (&[b"leaf", b"issuing", b"root", b"more"], "another chain"),
            (&[b"leaf", b"other"], "another chain"),
        ] {
            let problem = judge(presented).unwrap_err();
            assert!(problem.contains(says), "{says}: {problem}");
        }
    }

    #[test]
    fn without_a_chain_in_any_export_the_leaf_will_do() {
        assert_eq!(expected(0).judge(&seen(&[b"leaf"])), Ok(()));
        assert!(expected(0).judge(&seen(&[b"leaf", b"other"])).is_err());
    }

    #[test]
    fn on_the_way_back_only_the_leaf_counts_if_it_is_known() {
        let mut back = Expected {
            behind: None,
            ..expected(1)
        };
        assert_eq!(back.judge(&seen(&[b"leaf", b"whatever"])), Ok(()));
        assert!(back.judge(&seen(&[b"other"])).is_err());
        back.leaf = None;
        assert_eq!(back.judge(&seen(&[b"other"])), Ok(()));
        back.not = Some(b"leaf".to_vec());
        assert_eq!(back.judge(&seen(&[b"other"])), Ok(()));
        let problem = back.judge(&seen(&[b"leaf"])).unwrap_err();
        assert!(problem.contains("taken back"), "{problem}");
    }
}
