//! Chains: who signed whom, in which order, and whether a client would follow the path.

use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm, UnixTime};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};

use crate::model::Timestamp;
use crate::pki::PkiError;
use crate::pki::der::{self, Reader};
use crate::pki::facts::parse;

/// The path upward from the leaf: its issuer first, each next one the signer of the one before, at most to a
/// self-signed certificate. Repetitions and strangers are left out. Where not even the first step can be made, the
/// pool comes back as it is, so that the check of the chain can say what is wrong with it.
#[must_use]
pub fn sort(leaf: &[u8], mut pool: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    pool.retain(|der| der != leaf);
    let mut sorted: Vec<Vec<u8>> = Vec::new();
    loop {
        let child = sorted.last().map_or(leaf, Vec::as_slice);
        if is_self_issued(child) {
            break;
        }
        let next = pool.iter().position(|candidate| {
            matches!(link(child, candidate), Link::Signed) && !sorted.contains(candidate)
        });
        match next {
            Some(at) => {
                let next = pool.remove(at);
                sorted.push(next);
            }
            None => break,
        }
    }
    if sorted.is_empty() { pool } else { sorted }
}

/// Whether the certificate names itself as its issuer, as roots do; `false` for what is no certificate.
#[must_use]
pub fn is_self_issued(der: &[u8]) -> bool {
    parse(der)
        .is_ok_and(|certificate| certificate.subject().as_raw() == certificate.issuer().as_raw())
}

/// The chain as a server sends it: without the root, which a client either has or does not trust (RFC 8446 §4.4.2).
#[must_use]
pub fn without_root(chain: &[Vec<u8>]) -> &[Vec<u8>] {
    match chain {
        [rest @ .., top] if is_self_issued(top) => rest,
        all => all,
    }
}

/// How two certificates stand to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// Names match and the signature is good.
    Signed,
    /// The child names another issuer.
    Stranger,
    /// Names match, but this is not the key that signed (or by an algorithm that TLS clients refuse).
    BadSignature,
}

/// Whether `issuer` signed `child`, by names and by signature.
#[must_use]
pub fn link(child: &[u8], issuer: &[u8]) -> Link {
    let (Ok(below), Ok(above)) = (parse(child), parse(issuer)) else {
        return Link::Stranger;
    };
    if below.issuer().as_raw() != above.subject().as_raw() {
        return Link::Stranger;
    }
    match signature_holds(child, above.public_key().raw) {
        Some(true) => Link::Signed,
        Some(false) | None => Link::BadSignature,
    }
}

/// Whether a TLS client that trusts `roots` would follow the path at `now` for server authentication.
///
/// # Errors
/// [`PkiError::Path`] with the client library's reason, or a root that is no certificate.
pub fn verify(
    leaf: &[u8],
    chain: &[Vec<u8>],
    roots: &[Vec<u8>],
    now: Timestamp,
) -> Result<(), PkiError> {
    let roots: Vec<CertificateDer<'_>> = roots
        .iter()
        .map(|der| CertificateDer::from(der.as_slice()))
        .collect();
    let anchors = roots
        .iter()
        .map(|der| anchor_from_trusted_cert(der))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| PkiError::malformed("trusted root", error))?;
    let intermediates: Vec<CertificateDer<'_>> = chain
        .iter()
        .map(|der| CertificateDer::from(der.as_slice()))
        .collect();
    let path = |error: webpki::Error| PkiError::Path {
        problem: error.to_string(),
    };
    let leaf = CertificateDer::from(leaf);
    let leaf = EndEntityCert::try_from(&leaf).map_err(path)?;
    let since_epoch = std::time::Duration::from_secs(u64::try_from(now.0).unwrap_or(0));
    leaf.verify_for_usage(
        webpki::ALL_VERIFICATION_ALGS,
        &anchors,
        &intermediates,
        UnixTime::since_unix_epoch(since_epoch),
        KeyUsage::server_auth(),
        None,
        None,
    )
    .map_err(path)?;
    Ok(())
}

/// Whether the signature of a certificate was made by this SubjectPublicKeyInfo, by the algorithms that TLS clients
/// accept; `None` where the two do not fit any of them.
fn signature_holds(certificate: &[u8], public_key: &[u8]) -> Option<bool> {
    let mut outer = Reader::new(Reader::new(certificate).expect(der::SEQUENCE)?.content);
    let signed = outer.expect(der::SEQUENCE)?.whole;
    let algorithm = outer.expect(der::SEQUENCE)?.content;
    let signature = bits(&mut outer)?;
    let mut info = Reader::new(Reader::new(public_key).expect(der::SEQUENCE)?.content);
    let key_algorithm = info.expect(der::SEQUENCE)?.content;
    let key = bits(&mut info)?;
    let fitting: Vec<&&dyn SignatureVerificationAlgorithm> = webpki::ALL_VERIFICATION_ALGS
        .iter()
        .filter(|one| {
            *one.signature_alg_id() == *algorithm && *one.public_key_alg_id() == *key_algorithm
        })
        .collect();
    if fitting.is_empty() {
        return None;
    }
    Some(
        fitting
            .iter()
            .any(|one| one.verify_signature(key, signed, signature).is_ok()),
    )
}

/// Content of a bit string of whole bytes.
fn bits<'a>(reader: &mut Reader<'a>) -> Option<&'a [u8]> {
    match reader.expect(der::BIT_STRING)?.content.split_first()? {
        (0, bytes) => Some(bytes),
        _ => None,
    }
}
