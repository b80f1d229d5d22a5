//! What is in a file or was presented by a server that renewd does not manage: certificates and what is wrong with
//! them beside their dates. The format is told by the content, since names of files say little.

use p12_keystore::{KeyStore, KeyStoreEntry, Pkcs12ImportPolicy};

use crate::model::{
    CertificateFacts, Fingerprint, Name, Timestamp, WatchFault, WatchFaultKind, WatchedCertificate,
};
use crate::pki::chain::{self, Link};
use crate::pki::{PkiError, PrivateKey, Secret, der, facts, jks, pem};

/// Certificates that belong together: a leaf first, then what was put or sent with it.
struct Group {
    /// Alias in a keystore.
    alias: String,
    certificates: Vec<Vec<u8>>,
    key: Option<PrivateKey>,
}

/// Every certificate of a file: PEM, DER, PKCS #12 or JKS.
///
/// None in a file of keys alone.
///
/// # Errors
/// What is none of them, or needs another password.
pub fn file(bytes: &[u8], password: Option<&Secret>) -> Result<Vec<WatchedCertificate>, PkiError> {
    let groups = groups(bytes, password)?;
    let mut found = Vec::new();
    let alone = groups.len() == 1;
    for group in groups {
        let most = group.certificates.len();
        let mut faults = faults_of(&group);
        for (at, der) in group.certificates.iter().enumerate() {
            let which = match (group.alias.as_str(), at) {
                ("", _) if most == 1 => String::new(),
                ("", at) => format!("#{}", at + 1),
                (_, 0) if alone && most == 1 => String::new(),
                (alias, 0) => alias.to_owned(),
                (alias, at) => format!("{alias}#{}", at + 1),
            };
            let faults = std::mem::take(&mut faults);
            found.push(watched(which, &facts(der)?, faults));
        }
    }
    found.truncate(MOST);
    Ok(found)
}

/// A private key of a keystore.
pub struct Held {
    /// Leaf first, DER.
    pub certificates: Vec<Vec<u8>>,
    /// SHA-256 of its public key.
    pub spki: Fingerprint,
}

/// The private keys of a keystore (PKCS #12 or JKS) with their certificates.
///
/// # Errors
/// What is no keystore, or needs another password.
pub fn keystore_keys(bytes: &[u8], password: &Secret) -> Result<Vec<Held>, PkiError> {
    if !is_keystore(bytes) {
        return Err(PkiError::malformed(
            "keystore",
            "it is neither PKCS #12 nor JKS",
        ));
    }
    let held = groups(bytes, Some(password))?.into_iter();
    Ok(held
        .filter_map(|group| {
            Some(Held {
                spki: group.key?.spki(),
                certificates: group.certificates,
            })
        })
        .collect())
}

/// Whether bytes have the form of a keystore from end to end, whatever its password: what is cut off or overwritten has
/// not.
#[must_use]
pub fn is_keystore(bytes: &[u8]) -> bool {
    if bytes.starts_with(&JKS_MAGIC) {
        return jks::is_whole(bytes);
    }
    // A PFX is a sequence that begins with the version 3 (RFC 7292 §4).
    let mut outer = der::Reader::new(bytes);
    let whole = outer.expect(der::SEQUENCE);
    whole.is_some_and(|store| {
        store.whole.len() == bytes.len() && store.content.starts_with(&[der::INTEGER, 1, 3])
    })
}

/// The leaf that a server presented for a name, and what a client of `roots` would say of it; without roots the chain
/// must only be whole in itself.
///
/// # Errors
/// What is no certificate.
pub fn presented(
    presented: &[Vec<u8>],
    name: &Name,
    roots: Option<&[Vec<u8>]>,
    now: Timestamp,
) -> Result<WatchedCertificate, PkiError> {
    let Some((leaf, behind)) = presented.split_first() else {
        return Err(PkiError::malformed("handshake", "no certificate was sent"));
    };
    let read = facts(leaf)?;
    let mut faults = Vec::new();
    if !read.covers_name(name) {
        faults.push(WatchFault {
            kind: WatchFaultKind::WrongName,
            detail: format!("it is for {}, not for {name}", names(&read)),
        });
    }
    let path = match roots {
        // Dates have verdicts of their own, so the path is judged at a moment at which the leaf is valid.
        Some(roots) => {
            let at = now.clamp(read.not_before, read.not_after.max(read.not_before));
            chain::verify(leaf, behind, roots, at)
                .err()
                .map(|error| error.to_string())
        }
        None => broken_chain(leaf, behind),
    };
    faults.extend(path.map(|detail| WatchFault {
        kind: WatchFaultKind::Chain,
        detail,
    }));
    Ok(watched(String::new(), &read, faults))
}

/// Certificates of a PEM file that are trusted, however many.
///
/// # Errors
/// What is no PEM, or holds no certificate.
pub fn roots(text: &str) -> Result<Vec<Vec<u8>>, PkiError> {
    let found = certificates(&pem::blocks(text)?);
    if found.is_empty() {
        return Err(PkiError::malformed(
            "roots",
            "there is no certificate in it",
        ));
    }
    Ok(found)
}

fn groups(bytes: &[u8], password: Option<&Secret>) -> Result<Vec<Group>, PkiError> {
    if bytes.starts_with(&JKS_MAGIC) {
        return keystore(bytes, needed("JKS", password)?);
    }
    if bytes.first() == Some(&DER_SEQUENCE) {
        if facts(bytes).is_ok() {
            return Ok(vec![Group {
                alias: String::new(),
                certificates: vec![bytes.to_vec()],
                key: None,
            }]);
        }
        return pkcs12(bytes, needed("PKCS #12", password)?);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| unknown())?;
    let blocks = pem::blocks(text)?;
    if blocks.is_empty() {
        return Err(unknown());
    }
    let certificates = certificates(&blocks);
    let keys = blocks
        .iter()
        .filter(|block| block.label.ends_with("PRIVATE KEY"));
    // Of several nobody can say which belongs to what; one of a kind that renewd does not make says nothing.
    let key = (keys.count() == 1)
        .then(|| PrivateKey::from_pem(bytes).ok())
        .flatten();
    Ok(vec![Group {
        alias: String::new(),
        certificates,
        key,
    }])
}

fn certificates(blocks: &[pem::Block<'_>]) -> Vec<Vec<u8>> {
    let labels = ["CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE"];
    let certificates = blocks.iter().filter(|block| labels.contains(&block.label));
    certificates.map(|block| block.der.to_vec()).collect()
}

fn keystore(bytes: &[u8], password: &Secret) -> Result<Vec<Group>, PkiError> {
    let (entries, trusted) = jks::read_all(bytes, password)?;
    let entries = entries.into_iter().map(|entry| Group {
        alias: entry.alias,
        certificates: entry.certificates,
        key: PrivateKey::from_pkcs8(entry.pkcs8.expose()).ok(),
    });
    let trusted = trusted.into_iter().map(|(alias, der)| Group {
        alias,
        certificates: vec![der],
        key: None,
    });
    Ok(entries.chain(trusted).collect())
}

fn pkcs12(bytes: &[u8], password: &Secret) -> Result<Vec<Group>, PkiError> {
    let Some(password) = password.expose_str() else {
        return Err(PkiError::malformed("PKCS #12", "the password is not UTF-8"));
    };
    let store =
        KeyStore::from_pkcs12(bytes, password, Pkcs12ImportPolicy::Relaxed).map_err(|error| {
            PkiError::malformed("PKCS #12", format!("{error}; is it the right password?"))
        })?;
    Ok(store
        .entries()
        .filter_map(|(alias, entry)| match entry {
            KeyStoreEntry::PrivateKeyChain(chain) => Some(Group {
                alias: alias.clone(),
                certificates: chain
                    .certs()
                    .iter()
                    .map(|one| one.as_der().to_vec())
                    .collect(),
                key: PrivateKey::from_pkcs8(chain.key().as_der()).ok(),
            }),
            KeyStoreEntry::Certificate(one) => Some(Group {
                alias: alias.clone(),
                certificates: vec![one.as_der().to_vec()],
                key: None,
            }),
            _ => None,
        })
        .collect())
}

/// What is wrong with the first certificate of a group.
fn faults_of(group: &Group) -> Vec<WatchFault> {
    let mut faults = Vec::new();
    let Some((leaf, others)) = group.certificates.split_first() else {
        return faults;
    };
    if let Some(key) = &group.key {
        let mut all = group.certificates.iter();
        if !all.any(|der| facts(der).is_ok_and(|read| read.spki == key.spki())) {
            faults.push(WatchFault {
                kind: WatchFaultKind::KeyMismatch,
                detail: "the private key beside it is of another certificate".to_owned(),
            });
        }
    }
    // A file of roots, or of servers' certificates beside each other, is no chain.
    let a_chain = !chain::is_ca(leaf) && others.iter().any(|der| chain::is_ca(der));
    if a_chain && let Some(detail) = broken_chain(leaf, others) {
        faults.push(WatchFault {
            kind: WatchFaultKind::Chain,
            detail,
        });
    }
    faults
}

/// Why a client that has only the root does not come from the leaf to it; `None` where each is signed by the next. A leaf
/// alone may be signed by a root.
fn broken_chain(leaf: &[u8], behind: &[Vec<u8>]) -> Option<String> {
    let mut below = leaf;
    for above in behind {
        match chain::link(below, above) {
            Link::Signed => below = above,
            Link::BadSignature => {
                return Some(format!(
                    "it has a certificate of {} behind it whose key did not sign it",
                    issuer(below)
                ));
            }
            Link::Stranger
                if behind
                    .iter()
                    .any(|one| chain::link(below, one) == Link::Signed) =>
            {
                return Some("its chain is not in order: each certificate must be followed by that of its issuer".to_owned());
            }
            Link::Stranger if chain::is_self_issued(below) => return None,
            Link::Stranger => {
                return Some(format!(
                    "its chain lacks the certificate of {}",
                    issuer(below)
                ));
            }
        }
    }
    None
}

fn issuer(der: &[u8]) -> String {
    facts(der).map_or_else(|_| "its issuer".to_owned(), |read| read.issuer_name)
}

fn watched(which: String, facts: &CertificateFacts, faults: Vec<WatchFault>) -> WatchedCertificate {
    WatchedCertificate {
        which,
        names: names(facts),
        serial: facts.serial.clone(),
        fingerprint: Some(facts.fingerprint),
        not_before: Some(facts.not_before),
        not_after: facts.not_after,
        faults,
    }
}

/// A few of its names, else its common name.
fn names(facts: &CertificateFacts) -> String {
    let all: Vec<String> = facts.names.iter().map(ToString::to_string).collect();
    match all.as_slice() {
        [] => facts
            .common_name
            .clone()
            .unwrap_or_else(|| format!("serial {}", facts.serial)),
        some if some.len() <= MOST_NAMES => some.join(", "),
        some => format!(
            "{} and {} more",
            some[..MOST_NAMES].join(", "),
            some.len() - MOST_NAMES
        ),
    }
}

fn needed<'a>(format: &'static str, password: Option<&'a Secret>) -> Result<&'a Secret, PkiError> {
    password.ok_or_else(|| {
        PkiError::malformed(
            format,
            "a keystore needs `password`, a reference to a secret",
        )
    })
}

fn unknown() -> PkiError {
    PkiError::malformed("file", "it is neither PEM nor DER, PKCS #12 or JKS")
}

/// Of one file; the bundle of all public roots has some 150.
const MOST: usize = 500;
/// For people.
const MOST_NAMES: usize = 3;
const JKS_MAGIC: [u8; 4] = [0xfe, 0xed, 0xfe, 0xed];
const DER_SEQUENCE: u8 = 0x30;
