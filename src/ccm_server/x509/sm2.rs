//! SM2 (GB/T 32918): keys and signatures in the forms that X.509 has for them. No other crypto library here knows the
//! curve, so it has its own file; SM2 certificates are not issued here.

use sm2::SecretKey;
use sm2::dsa::signature::{Signer as _, Verifier as _};
use sm2::dsa::{Signature, SigningKey, VerifyingKey};
use sm2::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _, EncodePublicKey as _};
use zeroize::Zeroizing;

use crate::ccm_server::x509::{X509Error, der, pem};
use crate::sys::entropy;

/// A private key on the SM2 curve; its number is zeroised when it is dropped.
pub(in crate::ccm_server) struct Sm2Key(SecretKey);

impl Sm2Key {
    /// A new one.
    pub(in crate::ccm_server) fn generate() -> Self {
        loop {
            let mut number = Zeroizing::new([0_u8; 32]);
            entropy::fill(number.as_mut());
            // All but one in about 2^32 numbers are below the order of the group.
            if let Ok(key) = SecretKey::from_slice(number.as_ref()) {
                return Self(key);
            }
        }
    }

    /// The first block of a PEM text that is one: PKCS #8 or SEC 1.
    pub(in crate::ccm_server) fn from_pem(text: &str) -> Option<Self> {
        if let Some(found) = pem::one(text, &["PRIVATE KEY"]) {
            let found = Zeroizing::new(found);
            return SecretKey::from_pkcs8_der(&found).ok().map(Self);
        }
        let found = Zeroizing::new(pem::one(text, &["EC PRIVATE KEY"])?);
        SecretKey::from_sec1_der(&found).ok().map(Self)
    }

    /// PKCS #8 as DER.
    pub(in crate::ccm_server) fn pkcs8(&self) -> Result<Zeroizing<Vec<u8>>, X509Error> {
        let written = self.0.to_pkcs8_der();
        let written = written.map_err(|_| X509Error::Key("write"))?;
        Ok(written.to_bytes())
    }

    /// `SubjectPublicKeyInfo` as DER.
    pub(in crate::ccm_server) fn spki(&self) -> Result<Vec<u8>, X509Error> {
        let written = self.0.public_key().to_public_key_der();
        let written = written.map_err(|_| X509Error::Key("write"))?;
        Ok(written.into_vec())
    }

    /// Signs with the identity that GB/T 35276 prescribes, as the DER that X.509 wants (`SEQUENCE` of r and s), which
    /// is not the form of the library.
    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, X509Error> {
        let failed = |_| X509Error::Key("sign");
        let key = SigningKey::new(IDENTITY, &self.0).map_err(failed)?;
        let signature = key.try_sign(message).map_err(failed)?.to_bytes();
        let (r, s) = signature.split_at(32);
        Ok(der::sequence(&[&der::unsigned(r), &der::unsigned(s)]))
    }
}

/// Whether `point`, an uncompressed point on the curve, signed `message`. OpenSSL 3.0 signs with an empty identity unless
/// it is told another; possession of the key is proven with either.
pub(super) fn verified(point: &[u8], message: &[u8], signature: &[u8]) -> bool {
    let Some(signature) = read_signature(signature) else {
        return false;
    };
    [IDENTITY, ""].into_iter().any(|identity| {
        VerifyingKey::from_sec1_bytes(identity, point)
            .is_ok_and(|key| key.verify(message, &signature).is_ok())
    })
}

fn read_signature(signature: &[u8]) -> Option<Signature> {
    let (inside, behind) = pem::content(signature, 0x30)?;
    let (r, rest) = pem::content(inside, 0x02)?;
    let (s, after) = pem::content(rest, 0x02)?;
    if !behind.is_empty() || !after.is_empty() {
        return None;
    }
    let mut both = [0_u8; 64];
    for (number, place) in [r, s].into_iter().zip(both.chunks_exact_mut(32)) {
        let zeros = number.iter().take_while(|byte| **byte == 0).count();
        let used = &number[zeros..];
        let start = place.len().checked_sub(used.len())?;
        place[start..].copy_from_slice(used);
    }
    Signature::from_slice(&both).ok()
}

/// `AlgorithmIdentifier` of `SM2-with-SM3`, without parameters as OpenSSL writes it.
pub(super) fn algorithm() -> Vec<u8> {
    der::sequence(&[&der::oid(&[1, 2, 156, 10_197, 1, 501])])
}

/// The identifier of the curve in a `SubjectPublicKeyInfo`.
pub(super) const CURVE: &str = "1.2.156.10197.1.301";
/// The signer's identity where none was agreed upon (GB/T 35276).
const IDENTITY: &str = "1234567812345678";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn point(key: &Sm2Key) -> Vec<u8> {
        let spki = key.spki().unwrap();
        spki[spki.len() - 65..].to_vec()
    }

    #[test]
    fn a_signature_is_good_for_its_message_and_its_key_alone() {
        let (key, other) = (Sm2Key::generate(), Sm2Key::generate());
        for round in 0..40_u8 {
            let signature = key.sign(&[round]).unwrap();
            assert!(verified(&point(&key), &[round], &signature));
            assert!(!verified(&point(&key), &[round + 1], &signature));
            assert!(!verified(&point(&other), &[round], &signature));
        }
    }

    #[test]
    fn a_key_survives_its_written_form() {
        let key = Sm2Key::generate();
        let written = pem::encode("PRIVATE KEY", &key.pkcs8().unwrap(), pem::LineEnd::Lf);
        let read = Sm2Key::from_pem(&written).unwrap();
        assert_eq!(read.spki().unwrap(), key.spki().unwrap());
        assert!(Sm2Key::from_pem("no PEM").is_none());
    }

    proptest! {
        #[test]
        fn anything_may_come_in_as_a_signature(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let key = Sm2Key::generate();
            prop_assert!(!verified(&point(&key), b"message", &bytes));
            prop_assert!(!verified(&bytes, b"message", &key.sign(b"message").unwrap()));
        }
    }
}
