//! What is known of one issued certificate.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::{IssuerId, Name, RevisionId, Seconds, SubjectAltNames, Timestamp};

/// A SHA-256 digest, shown as 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    /// The first 16 hex digits, for people and for ids.
    #[must_use]
    pub fn short(&self) -> String {
        let mut text = self.to_string();
        text.truncate(16);
        text
    }

    /// From 64 hex digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::try_from(text.to_owned()).ok()
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Written at once: a policy of thousands of certificates has as many of them.
        let mut text = [0; 64];
        for (digits, byte) in text.chunks_exact_mut(2).zip(self.0) {
            digits[0] = DIGITS[usize::from(byte >> 4)];
            digits[1] = DIGITS[usize::from(byte & 15)];
        }
        f.write_str(&String::from_utf8_lossy(&text))
    }
}

const DIGITS: &[u8; 16] = b"0123456789abcdef";

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl TryFrom<String> for Fingerprint {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        const WRONG: &str = "a SHA-256 digest has 64 hex digits";
        if text.len() != 64 || !text.is_ascii() {
            return Err(WRONG);
        }
        let mut bytes = [0; 32];
        for (byte, at) in bytes.iter_mut().zip((0..64).step_by(2)) {
            *byte = u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| WRONG)?;
        }
        Ok(Self(bytes))
    }
}

impl From<Fingerprint> for String {
    fn from(print: Fingerprint) -> Self {
        print.to_string()
    }
}

/// Which key pair a certificate is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyAlgorithm {
    /// RSA with a 2048 bit modulus.
    Rsa2048,
    /// RSA with a 3072 bit modulus; PCA offers it only by CSR.
    Rsa3072,
    /// RSA with a 4096 bit modulus.
    Rsa4096,
    /// ECDSA over NIST P-256.
    EcP256,
    /// ECDSA over NIST P-384.
    EcP384,
}

impl KeyAlgorithm {
    /// As it is spelt in the policy.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rsa2048 => "rsa-2048",
            Self::Rsa3072 => "rsa-3072",
            Self::Rsa4096 => "rsa-4096",
            Self::EcP256 => "ec-p256",
            Self::EcP384 => "ec-p384",
        }
    }

    /// All of them, in the order in which they are offered.
    pub const ALL: [Self; 5] = [
        Self::Rsa2048,
        Self::Rsa3072,
        Self::Rsa4096,
        Self::EcP256,
        Self::EcP384,
    ];
}

impl fmt::Display for KeyAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What a leaf certificate says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateFacts {
    /// Serial number in lower-case hex without separators (RFC 5280 §4.1.2.2).
    pub serial: String,
    /// SHA-256 of the DER form.
    pub fingerprint: Fingerprint,
    /// SHA-256 of the SubjectPublicKeyInfo: equal for certificate and key that belong together.
    pub spki: Fingerprint,
    /// Common name of the subject, if there is one.
    pub common_name: Option<String>,
    /// Subject alternative names.
    pub names: SubjectAltNames,
    /// Common name of the issuer, or its whole name where it has none.
    pub issuer_name: String,
    /// Begin of validity.
    pub not_before: Timestamp,
    /// End of validity.
    pub not_after: Timestamp,
    /// Kind of key; `None` for one that renewd does not make.
    pub key_algorithm: Option<KeyAlgorithm>,
}

impl CertificateFacts {
    /// The whole validity period.
    #[must_use]
    pub const fn lifetime(&self) -> Seconds {
        self.not_before.until(self.not_after)
    }

    /// Whether the certificate is good for every one of these names.
    #[must_use]
    pub fn covers(&self, names: &SubjectAltNames) -> bool {
        self.names.cover(names)
    }

    /// Whether the certificate is good for this one name.
    #[must_use]
    pub fn covers_name(&self, name: &Name) -> bool {
        self.names.iter().any(|have| have.covers(name))
    }
}

/// A revision as the journal remembers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevisionFacts {
    /// Directory name below `revisions/<certificate>/`.
    pub id: RevisionId,
    /// Read from the leaf.
    pub facts: CertificateFacts,
    /// When the issuer made it (for a follower: what the offer says); decides which of two is newer, never the end of
    /// validity.
    pub issued_at: Timestamp,
    /// The issuer's own id, such as PCA's `certificate_id`.
    pub reference: String,
    /// Digest of the certificate's policy it was ordered and checked under; under the same one its names and key fit.
    #[serde(default)]
    pub policy: Option<Fingerprint>,
    /// Names it was ordered for: an issuer may add some of its own (`www.`). `None` of what was issued before this was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied: Option<SubjectAltNames>,
}

impl RevisionFacts {
    /// Names it was ordered for; those of the leaf where they were not kept.
    #[must_use]
    pub fn applied_for(&self) -> &SubjectAltNames {
        self.applied.as_ref().unwrap_or(&self.facts.names)
    }
}

/// A revision as the journal has it for good, whatever else is forgotten of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownRevision {
    /// Who issued it.
    pub issuer: IssuerId,
    /// What it is.
    pub revision: RevisionFacts,
    /// This host applied for it itself: what others applied for is theirs to revoke.
    pub ours: bool,
    /// Its issuer took it back.
    pub revoked: bool,
}

/// What is kept of a revision that is no longer the newest, since a target may still serve it or return to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EarlierRevision {
    /// Which.
    pub id: RevisionId,
    /// Serial number in lower-case hex.
    pub serial: String,
    /// End of its validity.
    pub not_after: Timestamp,
    /// The issuer's own id of it; empty where that was not kept.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reference: String,
    /// The issuer took it back: nothing ever returns to it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub revoked: bool,
}
