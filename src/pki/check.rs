//! Is what the CA returned fit for the order? Every reason against it is named, not only the first.

use std::fmt;

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{ExtendedKeyUsage, KeyUsage};
use x509_parser::signature_algorithm::RsaSsaPssParams;

use crate::model::{
    CertificateFacts, Fingerprint, KeyAlgorithm, Name, OrderRequest, Seconds, Source,
    SubjectAltNames, Timestamp,
};
use crate::pki::chain::{self, Link};
use crate::pki::facts::{parse, rsa_bits, subject};
use crate::pki::{Material, PkiError};

/// Material that must not be used for its order.
#[derive(Debug)]
pub struct Unfit {
    /// Never empty; in the order in which they were looked for.
    pub failures: Vec<Failure>,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, failure) in self.failures.iter().enumerate() {
            let separator = if at == 0 { "" } else { "; " };
            write!(f, "{separator}{failure}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Unfit {}

/// One reason.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// A certificate cannot be read; nothing else was looked at.
    #[error("{0}")]
    Unreadable(String),
    /// Certificate and private key are no pair.
    #[error(
        "the certificate is for another key (public key {}) than ours ({})",
        found.short(), ours.short()
    )]
    KeyMismatch {
        /// Digest of our public key.
        ours: Fingerprint,
        /// Digest of the certificate's.
        found: Fingerprint,
    },
    /// The issuer made a key of another kind than was ordered.
    #[error("the key is {}, not {wanted} as ordered", found.map_or("of another kind", KeyAlgorithm::as_str))]
    KeyAlgorithm {
        /// Ordered.
        wanted: KeyAlgorithm,
        /// As in [`CertificateFacts`].
        found: Option<KeyAlgorithm>,
    },
    /// Too small a key.
    #[error("the key of `{subject}` is weak: RSA with {bits} bit, clients want 2048 or more")]
    WeakKey {
        /// Whose.
        subject: String,
        /// Size of the modulus.
        bits: usize,
    },
    /// Signed with SHA-1, MD5 or MD2.
    #[error("`{subject}` is signed with {digest}, which clients refuse")]
    WeakSignature {
        /// Whose signature by its issuer.
        subject: String,
        /// Such as `SHA-1`.
        digest: &'static str,
    },
    /// Ordered names that the certificate is not good for.
    #[error("the certificate does not cover {missing}; it has {}", shown(found))]
    NamesMissing {
        /// Which.
        missing: SubjectAltNames,
        /// What it has instead.
        found: SubjectAltNames,
    },
    /// Another common name than was ordered.
    #[error("the common name is {found:?}, not {wanted:?} as ordered")]
    CommonName {
        /// Ordered.
        wanted: String,
        /// In the certificate.
        found: String,
    },
    /// Begins later than the clock's tolerance allows.
    #[error("`{subject}` is not valid before {not_before}; it is {now} now (is the clock right?)")]
    NotYetValid {
        /// Whose validity.
        subject: String,
        /// Its begin.
        not_before: Timestamp,
        /// Our clock.
        now: Timestamp,
    },
    /// Over.
    #[error("`{subject}` expired at {not_after}; it is {now} now")]
    Expired {
        /// Whose validity.
        subject: String,
        /// Its end.
        not_after: Timestamp,
        /// Our clock.
        now: Timestamp,
    },
    /// The leaf may sign certificates.
    #[error("the certificate is a CA certificate, not one for a server")]
    LeafIsCa,
    /// The leaf is for other uses.
    #[error("the certificate is not for TLS servers: its {extension} lacks {lacks}")]
    Purpose {
        /// Which list of uses.
        extension: &'static str,
        /// What a server needs of it.
        lacks: &'static str,
    },
    /// Signed by somebody, and nobody was sent along.
    #[error("the issuer `{issuer}` sent no chain")]
    ChainMissing {
        /// By the certificate's own word.
        issuer: String,
    },
    /// Two neighbours of the chain that do not belong together.
    #[error("the chain has a gap: `{subject}` names `{issuer}` as its issuer, next comes `{next}`")]
    ChainGap {
        /// The lower one.
        subject: String,
        /// Wanted next.
        issuer: String,
        /// What is next.
        next: String,
    },
    /// The names fit and the signature does not.
    #[error("the signature of `{subject}` was not made by the key of `{issuer}`")]
    BadSignature {
        /// The lower one.
        subject: String,
        /// The upper one.
        issuer: String,
    },
    /// A certificate of the chain may not sign.
    #[error("`{subject}` in the chain is no CA certificate")]
    IssuerIsNoCa {
        /// Which.
        subject: String,
    },
    /// Another CA signed than was asked.
    #[error("the certificate was issued by `{found}`, not by `{expected}`")]
    OtherIssuer {
        /// Subject of the CA that was asked.
        expected: String,
        /// The issuer by the certificate's own word; the same name with another key is possible.
        found: String,
    },
    /// Something else for which TLS clients refuse the path: path length, name constraints, unknown critical parts.
    #[error("TLS clients would refuse the chain: {0}")]
    Path(String),
}

/// Looks at what the issuer returned, before anything uses it. A longer or shorter validity than asked is fine: issuers
/// round, and cut to their own end.
///
/// A follower's certificate was ordered by somebody else: its common name and kind of key are not compared, and it may
/// come without a chain, as it may have been imported so.
///
/// # Errors
/// [`Unfit`] with every reason against it.
pub fn issued(
    material: &Material,
    request: &OrderRequest,
    now: Timestamp,
) -> Result<CertificateFacts, Unfit> {
    let unreadable = |error: PkiError| Unfit {
        failures: vec![Failure::Unreadable(error.to_string())],
    };
    let facts = material.facts().map_err(unreadable)?;
    let leaf = parse(&material.leaf).map_err(unreadable)?;
    let chain = material
        .chain
        .iter()
        .map(|der| parse(der))
        .collect::<Result<Vec<_>, _>>()
        .map_err(unreadable)?;

    let mut failures = Vec::new();
    key(&mut failures, material, &facts, request);
    names(&mut failures, &facts, request);
    validity(&mut failures, &leaf, now);
    purpose(&mut failures, &leaf);
    strength(&mut failures, &leaf);
    for certificate in &chain {
        // Clients do not look at the dates of a root (RFC 5280 §6.1.1), and public chains have had expired ones.
        if !names_itself(certificate) {
            validity(&mut failures, certificate, now);
        }
        strength(&mut failures, certificate);
        if !is_ca(certificate) {
            failures.push(Failure::IssuerIsNoCa {
                subject: subject(certificate),
            });
        }
    }
    links(&mut failures, material, &leaf, &chain, request.source);
    if failures.is_empty() {
        path(&mut failures, material, &leaf, &chain, now);
    }
    if failures.is_empty() {
        Ok(facts)
    } else {
        Err(Unfit { failures })
    }
}

/// Whether this CA, given by its own certificate, signed the leaf.
///
/// # Errors
/// [`Failure::OtherIssuer`], or what cannot be read.
pub fn issued_by(material: &Material, authority: &[u8]) -> Result<(), Unfit> {
    let unreadable = |error: PkiError| Failure::Unreadable(error.to_string());
    let failure = match (parse(&material.leaf), parse(authority)) {
        (Ok(_), Ok(_)) if chain::link(&material.leaf, authority) == Link::Signed => return Ok(()),
        (Ok(leaf), Ok(authority)) => Failure::OtherIssuer {
            expected: authority.subject().to_string(),
            found: leaf.issuer().to_string(),
        },
        (Err(error), _) | (_, Err(error)) => unreadable(error),
    };
    Err(Unfit {
        failures: vec![failure],
    })
}

/// Whether a leaf may be used by a TLS server at all: it is no CA, and its uses allow it.
///
/// # Errors
/// [`Failure::LeafIsCa`] and [`Failure::Purpose`], or what cannot be read.
pub fn purpose_of(leaf: &[u8]) -> Result<(), Unfit> {
    let mut failures = Vec::new();
    match parse(leaf) {
        Ok(leaf) => purpose(&mut failures, &leaf),
        Err(error) => failures.push(Failure::Unreadable(error.to_string())),
    }
    if failures.is_empty() {
        Ok(())
    } else {
        Err(Unfit { failures })
    }
}

fn key(
    failures: &mut Vec<Failure>,
    material: &Material,
    facts: &CertificateFacts,
    request: &OrderRequest,
) {
    let ours = material.key.spki();
    if ours != facts.spki {
        failures.push(Failure::KeyMismatch {
            ours,
            found: facts.spki,
        });
    } else if request.source != Source::Follow && facts.key_algorithm != Some(request.key_algorithm)
    {
        failures.push(Failure::KeyAlgorithm {
            wanted: request.key_algorithm,
            found: facts.key_algorithm,
        });
    }
}

fn names(failures: &mut Vec<Failure>, facts: &CertificateFacts, request: &OrderRequest) {
    let missing = |name: &&Name| !facts.covers_name(name);
    let missing: SubjectAltNames = request.names.iter().filter(missing).cloned().collect();
    if !missing.is_empty() {
        failures.push(Failure::NamesMissing {
            missing,
            found: facts.names.clone(),
        });
    }
    // A certificate without common name is fine: clients look at the other names only, and public CAs stop sending it.
    if request.source != Source::Follow
        && !request.common_name.is_empty()
        && let Some(found) = &facts.common_name
        && !found.eq_ignore_ascii_case(&request.common_name)
    {
        failures.push(Failure::CommonName {
            wanted: request.common_name.clone(),
            found: found.clone(),
        });
    }
}

fn validity(failures: &mut Vec<Failure>, certificate: &X509Certificate<'_>, now: Timestamp) {
    let (not_before, not_after) = bounds(certificate);
    if not_before > now + SKEW {
        failures.push(Failure::NotYetValid {
            subject: subject(certificate),
            not_before,
            now,
        });
    }
    if not_after < now {
        failures.push(Failure::Expired {
            subject: subject(certificate),
            not_after,
            now,
        });
    }
}

fn purpose(failures: &mut Vec<Failure>, leaf: &X509Certificate<'_>) {
    if is_ca(leaf) {
        failures.push(Failure::LeafIsCa);
    }
    // An absent list allows every use (RFC 5280 §4.2.1.12).
    if let Ok(Some(uses)) = leaf.extended_key_usage()
        && !serves(uses.value)
    {
        failures.push(Failure::Purpose {
            extension: "extended key usage",
            lacks: "serverAuth",
        });
    }
    if let Ok(Some(uses)) = leaf.key_usage()
        && !signs_handshakes(uses.value)
    {
        failures.push(Failure::Purpose {
            extension: "key usage",
            lacks: "digitalSignature",
        });
    }
}

const fn serves(uses: &ExtendedKeyUsage<'_>) -> bool {
    uses.server_auth || uses.any
}

/// TLS 1.3 and every ECDHE suite of TLS 1.2 have the server sign (RFC 8446 §4.4.2.2).
fn signs_handshakes(uses: &KeyUsage) -> bool {
    uses.digital_signature()
}

fn strength(failures: &mut Vec<Failure>, certificate: &X509Certificate<'_>) {
    if let Some(bits) = rsa_bits(certificate.public_key())
        && bits < MINIMUM_RSA_BITS
    {
        failures.push(Failure::WeakKey {
            subject: subject(certificate),
            bits,
        });
    }
    // Trust in a root does not rest on its signature of itself.
    if !names_itself(certificate)
        && let Some(digest) = weak_digest(certificate)
    {
        failures.push(Failure::WeakSignature {
            subject: subject(certificate),
            digest,
        });
    }
}

fn weak_digest(certificate: &X509Certificate<'_>) -> Option<&'static str> {
    let algorithm = &certificate.signature_algorithm;
    match algorithm.algorithm.to_id_string().as_str() {
        "1.2.840.113549.1.1.2" => Some("MD2"),
        "1.2.840.113549.1.1.4" | "1.3.14.3.2.3" => Some("MD5"),
        "1.2.840.113549.1.1.5" | "1.3.14.3.2.29" | "1.2.840.10045.4.1" | "1.2.840.10040.4.3" => {
            Some("SHA-1")
        }
        // RSASSA-PSS, where SHA-1 is the default (RFC 8017 A.2.3).
        "1.2.840.113549.1.1.10" => {
            let parameters = algorithm.parameters.as_ref()?;
            let parameters = RsaSsaPssParams::try_from(parameters).ok()?;
            (parameters.hash_algorithm_oid().to_id_string() == "1.3.14.3.2.26").then_some("SHA-1")
        }
        _ => None,
    }
}

fn links(
    failures: &mut Vec<Failure>,
    material: &Material,
    leaf: &X509Certificate<'_>,
    chain: &[X509Certificate<'_>],
    source: Source,
) {
    if chain.is_empty() && !chain::is_self_issued(&material.leaf) && source != Source::Follow {
        failures.push(Failure::ChainMissing {
            issuer: leaf.issuer().to_string(),
        });
    }
    let below = std::iter::once((leaf, &material.leaf)).chain(chain.iter().zip(&material.chain));
    let above = chain.iter().zip(&material.chain);
    for ((child, child_der), (issuer, issuer_der)) in below.zip(above) {
        match chain::link(child_der, issuer_der) {
            Link::Signed => {}
            Link::Stranger => failures.push(Failure::ChainGap {
                subject: subject(child),
                issuer: child.issuer().to_string(),
                next: issuer.subject().to_string(),
            }),
            // A weak signature or key was named already, and is never verified.
            Link::BadSignature if weak_digest(child).is_some() => {}
            Link::BadSignature
                if rsa_bits(issuer.public_key()) < Some(MINIMUM_RSA_BITS)
                    && rsa_bits(issuer.public_key()).is_some() => {}
            Link::BadSignature => failures.push(Failure::BadSignature {
                subject: subject(child),
                issuer: subject(issuer),
            }),
        }
    }
}

/// What the rules above do not name, asked of the library that TLS clients use, with the top of the chain as root.
fn path(
    failures: &mut Vec<Failure>,
    material: &Material,
    leaf: &X509Certificate<'_>,
    chain: &[X509Certificate<'_>],
    now: Timestamp,
) {
    let (top, intermediates) = match material.chain.split_last() {
        Some((top, rest)) => (top, rest),
        None if chain::is_self_issued(&material.leaf) => {
            (&material.leaf, material.chain.as_slice())
        }
        None => return,
    };
    // The library has no tolerance; ours was applied above.
    let begins = std::iter::once(leaf).chain(chain).map(|one| bounds(one).0);
    let at = begins.fold(now, Timestamp::max);
    let root = std::slice::from_ref(top);
    if let Err(error) = chain::verify(&material.leaf, intermediates, root, at) {
        let problem = match error {
            PkiError::Path { problem } => problem,
            other => other.to_string(),
        };
        failures.push(Failure::Path(problem));
    }
}

fn names_itself(certificate: &X509Certificate<'_>) -> bool {
    certificate.subject().as_raw() == certificate.issuer().as_raw()
}

fn is_ca(certificate: &X509Certificate<'_>) -> bool {
    matches!(certificate.basic_constraints(), Ok(Some(found)) if found.value.ca)
}

fn bounds(certificate: &X509Certificate<'_>) -> (Timestamp, Timestamp) {
    let validity = certificate.validity();
    (
        Timestamp(validity.not_before.timestamp()),
        Timestamp(validity.not_after.timestamp()),
    )
}

fn shown(names: &SubjectAltNames) -> String {
    if names.is_empty() {
        "no names".to_owned()
    } else {
        names.to_string()
    }
}

/// How far the CA's clock may be ahead of ours. There is none at the other end: an expired certificate is of no use.
const SKEW: Seconds = Seconds::minutes(5);
/// CA/Browser Forum Baseline Requirements §6.1.5, and the least that the TLS libraries verify.
const MINIMUM_RSA_BITS: usize = 2048;

#[cfg(test)]
mod tests;
