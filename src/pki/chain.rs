//! Chains: who signed whom, in which order, and whether a client would follow the path.

use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm, UnixTime};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};

use crate::model::Timestamp;
use crate::pki::PkiError;
use crate::pki::der::{self, Reader};
use crate::pki::facts::parse;

/// The path upward from the leaf: its issuer first, each next one the signer of the one before, at most to a
/// self-signed certificate. Repetitions and alternatives to a certificate of the path are left out, and strangers too
/// once the path is complete. What keeps a path from being complete stays, at the end or with its bad signature, so
/// that the check of the chain can name it.
#[must_use]
pub fn sort(leaf: &[u8], pool: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    sort_by(leaf, pool, |child, issuer| {
        link(child, issuer) == Link::Signed
    })
}

/// The same. `signed` is asked only where several have the name of an issuer: a signature costs more than all the rest, and
/// chains are sorted whenever a revision is read.
fn sort_by(
    leaf: &[u8],
    pool: Vec<Vec<u8>>,
    mut signed: impl FnMut(&[u8], &[u8]) -> bool,
) -> Vec<Vec<u8>> {
    let pool = pool.into_iter().filter(|der| der != leaf);
    let mut pool: Vec<Named> = pool.map(Named::of).collect();
    let leaf = Named::of(leaf.to_vec());
    let mut sorted: Vec<Named> = Vec::new();
    loop {
        let child = sorted.last().unwrap_or(&leaf);
        if child.is_below(child) {
            // What else was sent is of no use to anybody; beside a self-signed leaf it is a mistake to be told.
            if !sorted.is_empty() {
                pool.clear();
            }
            break;
        }
        let named = (0..pool.len()).filter(|at| child.is_below(&pool[*at]));
        let named: Vec<usize> = named.collect();
        let next = match named[..] {
            [] => break,
            // Whether it signed is for the check of the chain to say.
            [only] => only,
            [first, ..] => {
                let mut signers = named.into_iter();
                let signer = signers.find(|at| signed(&child.der, &pool[*at].der));
                signer.unwrap_or(first)
            }
        };
        let next = pool.remove(next);
        // Repetitions, and the same issuer signed by somebody else (cross-signed).
        pool.retain(|one| one.subject != next.subject);
        sorted.push(next);
    }
    sorted.append(&mut pool);
    sorted.into_iter().map(|one| one.der).collect()
}

/// A certificate with its names as they are encoded; without, where it is none.
struct Named {
    der: Vec<u8>,
    subject: Option<Vec<u8>>,
    issuer: Option<Vec<u8>>,
}

impl Named {
    fn of(der: Vec<u8>) -> Self {
        let names = parse(&der).ok().map(|certificate| {
            let (subject, issuer) = (certificate.subject(), certificate.issuer());
            (subject.as_raw().to_vec(), issuer.as_raw().to_vec())
        });
        let (subject, issuer) = names.unzip();
        Self {
            der,
            subject,
            issuer,
        }
    }

    /// By the names alone.
    fn is_below(&self, issuer: &Self) -> bool {
        self.issuer.is_some() && self.issuer == issuer.subject
    }
}

/// Whether the certificate names itself as its issuer, as roots do; `false` for what is no certificate.
#[must_use]
pub fn is_self_issued(der: &[u8]) -> bool {
    parse(der)
        .is_ok_and(|certificate| certificate.subject().as_raw() == certificate.issuer().as_raw())
}

/// Whether it says that it is the certificate of a CA (RFC 5280 §4.2.1.9).
#[must_use]
pub fn is_ca(der: &[u8]) -> bool {
    parse(der).is_ok_and(
        |certificate| matches!(certificate.basic_constraints(), Ok(Some(found)) if found.value.ca),
    )
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
/// [`PkiError::UnknownIssuer`], [`PkiError::Path`] with the client library's reason, or a root that is no certificate.
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
    let path = |error: webpki::Error| match error {
        webpki::Error::UnknownIssuer => PkiError::UnknownIssuer,
        error => PkiError::Path {
            problem: error.to_string(),
        },
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

/// Whether TLS clients can use it as a root at all.
#[must_use]
pub fn is_root(der: &[u8]) -> bool {
    anchor_from_trusted_cert(&CertificateDer::from(der)).is_ok()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::KeyAlgorithm;
    use crate::pki::certs::{self, Authority, Sample};
    use crate::pki::tests::{NAMES, NOW, year};

    fn sample() -> Sample {
        certs::sample(KeyAlgorithm::EcP256, NAMES, year())
    }

    #[test]
    fn a_chain_in_any_order_is_sorted_upward() {
        let Sample { material, .. } = sample();
        let (leaf, [issuing, root]) = (&material.leaf, material.chain.as_slice()) else {
            panic!("a sample has two certificates above the leaf");
        };
        let sorted = [issuing.clone(), root.clone()];
        for pool in [
            vec![issuing, root],
            vec![root, issuing],
            vec![leaf, root, issuing, leaf, root, issuing],
        ] {
            let pool = pool.into_iter().cloned().collect();
            assert_eq!(sort(leaf, pool), sorted);
        }
    }

    #[test]
    fn strangers_are_left_out_once_the_path_is_complete() {
        let Sample { material, .. } = sample();
        let stranger = Authority::root("Stranger", KeyAlgorithm::EcP256, year()).der;
        let mut pool = vec![stranger.clone()];
        pool.extend(material.chain.iter().cloned());
        assert_eq!(sort(&material.leaf, pool), material.chain);
        // Where a certificate is missing in between, what lies above stays and shows the gap.
        let pool = vec![stranger.clone(), material.chain[0].clone()];
        let kept = [material.chain[0].clone(), stranger];
        assert_eq!(sort(&material.leaf, pool), kept);
    }

    #[test]
    fn the_first_of_two_certificates_of_one_issuer_is_taken() {
        let other = Authority::root("Other Root", KeyAlgorithm::EcP256, year());
        let root = Authority::root("Root", KeyAlgorithm::EcP256, year());
        let key = certs::key(KeyAlgorithm::EcP256).signer().unwrap();
        let parameters = certs::authority("Issuing", year());
        let (one, two) = (root.sign(&key, &parameters), other.sign(&key, &parameters));
        let issuer = rcgen::Issuer::new(parameters, key);
        let leaf = certs::key(KeyAlgorithm::EcP256).signer().unwrap();
        let leaf = certs::leaf(NAMES, year())
            .signed_by(&leaf, &issuer)
            .unwrap();
        let pool = vec![two.clone(), one, other.der.clone()];
        assert_eq!(sort(leaf.der(), pool), [two, other.der]);
    }

    #[test]
    fn no_signature_is_verified_where_names_tell_the_order() {
        let Sample { root, material, .. } = sample();
        let count = |pool: &[&Vec<u8>]| {
            let mut asked = 0;
            let pool = pool.iter().map(|der| der.to_vec()).collect();
            let sorted = sort_by(&material.leaf, pool, |child, issuer| {
                asked += 1;
                link(child, issuer) == Link::Signed
            });
            (sorted, asked)
        };
        let [issuing, top] = material.chain.as_slice() else {
            panic!("a sample has two certificates above the leaf");
        };
        assert_eq!(count(&[top, issuing]), (material.chain.clone(), 0));
        // Of its name there is only this one, whoever signed.
        let forged = root.intermediate("Sample Issuing", KeyAlgorithm::EcP256, year());
        let chain = vec![forged.der.clone(), top.clone()];
        assert_eq!(count(&[top, &forged.der]), (chain, 0));
        let both = [top, &forged.der, issuing];
        assert_eq!(count(&both), (material.chain.clone(), 2));
    }

    #[test]
    fn a_leaf_is_no_ca() {
        let Sample { material, .. } = sample();
        assert!(!is_ca(&material.leaf));
        assert!(material.chain.iter().all(|der| is_ca(der)));
    }

    #[test]
    fn only_the_root_is_left_out_for_servers() {
        let Sample { material, .. } = sample();
        assert_eq!(without_root(&material.chain), &material.chain[..1]);
        assert_eq!(without_root(&material.chain[..1]), &material.chain[..1]);
        assert!(without_root(&[]).is_empty());
    }

    #[test]
    fn links_are_proven_by_signature_and_not_by_name_alone() {
        let Sample {
            root,
            intermediate,
            material,
        } = sample();
        assert_eq!(link(&material.leaf, &intermediate.der), Link::Signed);
        assert_eq!(link(&intermediate.der, &root.der), Link::Signed);
        assert_eq!(link(&root.der, &root.der), Link::Signed);
        assert_eq!(link(&material.leaf, &root.der), Link::Stranger);
        let forged = root.intermediate("Sample Issuing", KeyAlgorithm::EcP256, year());
        assert_eq!(link(&material.leaf, &forged.der), Link::BadSignature);
        assert_eq!(link(&[], &root.der), Link::Stranger);
    }

    #[test]
    fn a_path_is_good_only_below_a_trusted_root() {
        let Sample { root, material, .. } = sample();
        let roots = [root.der];
        assert!(verify(&material.leaf, &material.chain, &roots, NOW).is_ok());
        let stranger = [Authority::root("Stranger", KeyAlgorithm::EcP256, year()).der];
        assert!(verify(&material.leaf, &material.chain, &stranger, NOW).is_err());
        assert!(verify(&material.leaf, &[], &roots, NOW).is_err());
        let late = NOW + crate::model::Seconds::days(400);
        assert!(verify(&material.leaf, &material.chain, &roots, late).is_err());
    }
}
