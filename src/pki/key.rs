//! Private keys: made, read in the forms that exist, held and written in one form.

use std::fmt;

use aws_lc_rs::encoding::{AsBigEndian, AsDer, EcPrivateKeyBin, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use zeroize::Zeroizing;

use crate::model::{Fingerprint, KeyAlgorithm};
use crate::pki::der::{self, Reader};
use crate::pki::facts::sha256;
use crate::pki::{PkiError, Secret, pem};

/// A private key as canonical PKCS #8 version 1 DER, zeroised when dropped. Without `Debug`, `Clone`, `Display` and
/// `Serialize`, so that it cannot reach a log by accident.
pub struct PrivateKey {
    pkcs8: Zeroizing<Vec<u8>>,
    algorithm: KeyAlgorithm,
    /// SubjectPublicKeyInfo, DER.
    public: Vec<u8>,
}

impl PrivateKey {
    /// A new key from the system's randomness. RSA takes up to seconds: call it on a blocking thread.
    ///
    /// # Errors
    /// Only when the system gives no randomness.
    pub fn generate(algorithm: KeyAlgorithm) -> Result<Self, PkiError> {
        let failed = |_| PkiError::Generate { algorithm };
        let rsa = |size| RsaKeyPair::generate(size).map(Pair::Rsa).map_err(failed);
        let pair = match algorithm {
            KeyAlgorithm::Rsa2048 => rsa(KeySize::Rsa2048),
            KeyAlgorithm::Rsa3072 => rsa(KeySize::Rsa3072),
            KeyAlgorithm::Rsa4096 => rsa(KeySize::Rsa4096),
            KeyAlgorithm::EcP256 => EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING)
                .map(Pair::P256)
                .map_err(failed),
            KeyAlgorithm::EcP384 => EcdsaKeyPair::generate(&ECDSA_P384_SHA384_ASN1_SIGNING)
                .map(Pair::P384)
                .map_err(failed),
        }?;
        Self::from_pair(&pair, algorithm)
    }

    /// Reads the one private key of a PEM text: PKCS #8, PKCS #1 or SEC 1, also behind an `EC PARAMETERS` block.
    ///
    /// # Errors
    /// No key or more than one, an encrypted one, one that is damaged or of a kind that renewd does not serve.
    pub fn from_pem(text: &[u8]) -> Result<Self, PkiError> {
        let text = std::str::from_utf8(text)
            .map_err(|_| PkiError::malformed("private key", "not a PEM text"))?;
        let mut found = None;
        for block in pem::blocks(text)? {
            if !block.label.ends_with("PRIVATE KEY") {
                continue;
            }
            if found.is_some() {
                let problem = "more than one private key in the PEM text";
                return Err(PkiError::malformed("private key", problem));
            }
            if block.encrypted || block.label == "ENCRYPTED PRIVATE KEY" {
                return Err(refused(
                    "it is encrypted; decrypt it with `openssl pkey -in FILE -out FILE`",
                ));
            }
            found = Some(match block.label {
                "PRIVATE KEY" => Self::from_pkcs8(&block.der)?,
                "RSA PRIVATE KEY" => RsaKeyPair::from_der(&block.der)
                    .map_err(|error| refused(&format!("PKCS #1: {error}")))
                    .and_then(Self::from_rsa)?,
                "EC PRIVATE KEY" => Self::from_ec(&block.der)?,
                other => return Err(refused(&format!("`{other}` is not supported"))),
            });
        }
        found.ok_or_else(|| PkiError::malformed("private key", "no private key in the PEM text"))
    }

    /// Reads PKCS #8 DER of either version.
    ///
    /// # Errors
    /// As for [`Self::from_pem`].
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, PkiError> {
        match pkcs8_algorithm(der) {
            Some(RSA_ENCRYPTION) => RsaKeyPair::from_pkcs8(der)
                .map_err(|error| refused(&format!("PKCS #8: {error}")))
                .and_then(Self::from_rsa),
            Some(EC_PUBLIC_KEY) => Self::from_ec(der),
            Some(_) => Err(refused(
                "PKCS #8 of another kind than RSA or EC; use RSA 2048, 3072 or 4096, or EC P-256 or P-384",
            )),
            None => Err(PkiError::malformed("private key", "not PKCS #8")),
        }
    }

    /// Canonical PKCS #8 version 1 DER.
    #[must_use]
    pub fn pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    /// As a `PRIVATE KEY` block, which every server of the last fifteen years reads.
    #[must_use]
    pub fn to_pem(&self) -> Secret {
        Secret::from(pem::encode("PRIVATE KEY", &self.pkcs8))
    }

    /// Kind and size.
    #[must_use]
    pub const fn algorithm(&self) -> KeyAlgorithm {
        self.algorithm
    }

    /// SHA-256 of the SubjectPublicKeyInfo: equal to that of every certificate that was issued for this key.
    #[must_use]
    pub fn spki(&self) -> Fingerprint {
        sha256(&self.public)
    }

    /// SubjectPublicKeyInfo as DER.
    #[must_use]
    pub fn public_key(&self) -> &[u8] {
        &self.public
    }

    /// The key in working form, for `rcgen`: signs requests here and certificates in renewd-ccm.
    ///
    /// # Errors
    /// None in practice: the bytes were written by ourselves.
    pub fn signer(&self) -> Result<Signer, PkiError> {
        let failed = |error: aws_lc_rs::error::KeyRejected| refused(&error.to_string());
        let ec = |algorithm| EcdsaKeyPair::from_pkcs8(algorithm, &self.pkcs8).map_err(failed);
        let pair = match self.algorithm {
            KeyAlgorithm::Rsa2048 | KeyAlgorithm::Rsa3072 | KeyAlgorithm::Rsa4096 => {
                Pair::Rsa(RsaKeyPair::from_pkcs8(&self.pkcs8).map_err(failed)?)
            }
            KeyAlgorithm::EcP256 => Pair::P256(ec(&ECDSA_P256_SHA256_ASN1_SIGNING)?),
            KeyAlgorithm::EcP384 => Pair::P384(ec(&ECDSA_P384_SHA384_ASN1_SIGNING)?),
        };
        Ok(Signer(pair))
    }

    fn from_rsa(pair: RsaKeyPair) -> Result<Self, PkiError> {
        let bits = pair.public_modulus_len() * 8;
        let algorithm = match bits {
            2048 => KeyAlgorithm::Rsa2048,
            3072 => KeyAlgorithm::Rsa3072,
            4096 => KeyAlgorithm::Rsa4096,
            _ => {
                let problem = format!("RSA with {bits} bit; use 2048, 3072 or 4096");
                return Err(refused(&problem));
            }
        };
        Self::from_pair(&Pair::Rsa(pair), algorithm)
    }

    /// From PKCS #8 or SEC 1. A key that came without its public half would be written without it too, which not every
    /// reader accepts; so the pair is put together anew from its two numbers.
    fn from_ec(der: &[u8]) -> Result<Self, PkiError> {
        let read = |curve: &'static EcdsaSigningAlgorithm| {
            let pair = EcdsaKeyPair::from_private_key_der(curve, der).ok()?;
            let private: EcPrivateKeyBin<'_> = pair.private_key().as_be_bytes().ok()?;
            let public = pair.public_key().as_ref();
            EcdsaKeyPair::from_private_key_and_public_key(curve, private.as_ref(), public).ok()
        };
        if let Some(pair) = read(&ECDSA_P256_SHA256_ASN1_SIGNING) {
            return Self::from_pair(&Pair::P256(pair), KeyAlgorithm::EcP256);
        }
        if let Some(pair) = read(&ECDSA_P384_SHA384_ASN1_SIGNING) {
            return Self::from_pair(&Pair::P384(pair), KeyAlgorithm::EcP384);
        }
        Err(refused(
            "an EC key that is damaged or on another curve than P-256 or P-384",
        ))
    }

    /// The library's own writer makes the form canonical: a key read as PKCS #1 or SEC 1 must not keep its old DER
    /// under a `PRIVATE KEY` label, and OpenSSL 3.0 does not read PKCS #8 version 2.
    fn from_pair(pair: &Pair, algorithm: KeyAlgorithm) -> Result<Self, PkiError> {
        let failed = |_| refused("it cannot be written as PKCS #8");
        let (pkcs8, public): (_, PublicKeyX509Der<'_>) = match pair {
            Pair::Rsa(pair) => {
                let der: Pkcs8V1Der<'_> = pair.as_der().map_err(failed)?;
                let der = Zeroizing::new(der.as_ref().to_vec());
                (der, pair.public_key().as_der().map_err(failed)?)
            }
            Pair::P256(pair) | Pair::P384(pair) => {
                let der = pair.to_pkcs8v1().map_err(failed)?;
                let der = Zeroizing::new(der.as_ref().to_vec());
                (der, pair.public_key().as_der().map_err(failed)?)
            }
        };
        Ok(Self {
            pkcs8,
            algorithm,
            public: public.as_ref().to_vec(),
        })
    }
}

/// A key that can sign, for `rcgen`'s writers of requests, certificates and lists.
pub struct Signer(Pair);

impl rcgen::PublicKeyData for Signer {
    fn der_bytes(&self) -> &[u8] {
        match &self.0 {
            Pair::Rsa(pair) => pair.public_key().as_ref(),
            Pair::P256(pair) | Pair::P384(pair) => pair.public_key().as_ref(),
        }
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        match &self.0 {
            Pair::Rsa(_) => &rcgen::PKCS_RSA_SHA256,
            Pair::P256(_) => &rcgen::PKCS_ECDSA_P256_SHA256,
            Pair::P384(_) => &rcgen::PKCS_ECDSA_P384_SHA384,
        }
    }
}

impl rcgen::SigningKey for Signer {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let failed = |_| rcgen::Error::RingUnspecified;
        let random = SystemRandom::new();
        match &self.0 {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)
                    .map_err(failed)?;
                Ok(signature)
            }
            Pair::P256(pair) | Pair::P384(pair) => {
                let signature = pair.sign(&random, message).map_err(failed)?;
                Ok(signature.as_ref().to_vec())
            }
        }
    }
}

/// Keys in the library's form, which zeroises them itself.
enum Pair {
    Rsa(RsaKeyPair),
    P256(EcdsaKeyPair),
    P384(EcdsaKeyPair),
}

/// Content of the algorithm's object identifier in a PKCS #8 key.
fn pkcs8_algorithm(der: &[u8]) -> Option<&[u8]> {
    let mut info = Reader::new(Reader::new(der).expect(der::SEQUENCE)?.content);
    info.expect(der::INTEGER)?;
    let mut algorithm = Reader::new(info.expect(der::SEQUENCE)?.content);
    Some(algorithm.expect(der::OID)?.content)
}

fn refused(problem: &(impl fmt::Display + ?Sized)) -> PkiError {
    PkiError::Key {
        problem: problem.to_string(),
    }
}

/// 1.2.840.113549.1.1.1 (RFC 8017 A.1).
const RSA_ENCRYPTION: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
/// 1.2.840.10045.2.1 (RFC 5480 §2.1.1).
const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::certs::key;

    fn text(label: &str, der: &[u8]) -> Vec<u8> {
        pem::encode(label, der).to_vec()
    }

    /// The key inside PKCS #8: PKCS #1 or SEC 1.
    fn inner(key: &PrivateKey) -> Vec<u8> {
        let mut info = Reader::new(Reader::new(key.pkcs8()).next().unwrap().content);
        info.expect(der::INTEGER).unwrap();
        info.expect(der::SEQUENCE).unwrap();
        info.expect(der::OCTET_STRING).unwrap().content.to_vec()
    }

    fn problem(read: Result<PrivateKey, PkiError>) -> String {
        read.err().expect("refused").to_string()
    }

    #[test]
    fn a_new_key_is_of_the_kind_that_was_asked_for_and_reads_back() {
        for algorithm in KeyAlgorithm::ALL {
            let made = key(algorithm);
            assert_eq!(made.algorithm(), algorithm);
            let read = PrivateKey::from_pem(made.to_pem().expose()).unwrap();
            assert_eq!(read.pkcs8(), made.pkcs8());
            assert_eq!(read.spki(), made.spki());
        }
    }

    #[test]
    fn older_forms_of_a_key_become_the_same_pkcs8() {
        let rsa = key(KeyAlgorithm::Rsa2048);
        let read = PrivateKey::from_pem(&text("RSA PRIVATE KEY", &inner(&rsa))).unwrap();
        assert_eq!(read.pkcs8(), rsa.pkcs8());
        // The least that SEC 1 allows: version, number and curve, without the public half.
        for (algorithm, curve) in [
            (
                KeyAlgorithm::EcP256,
                &[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7][..],
            ),
            (KeyAlgorithm::EcP384, &[0x2b, 0x81, 4, 0, 0x22]),
        ] {
            let ec = key(algorithm);
            let bare = inner(&ec);
            let mut fields = Reader::new(Reader::new(&bare).next().unwrap().content);
            let version = fields.next().unwrap().whole.to_vec();
            let number = fields.next().unwrap().whole.to_vec();
            let mut oid = Vec::new();
            der::write(&mut oid, der::OID, &[curve]);
            let mut named = Vec::new();
            der::write(&mut named, 0xa0, &[&oid]);
            let mut sec1 = Vec::new();
            der::write(&mut sec1, der::SEQUENCE, &[&version, &number, &named]);
            let mut both = text("EC PARAMETERS", &oid);
            both.extend(text("EC PRIVATE KEY", &sec1));
            let read = PrivateKey::from_pem(&both).unwrap();
            assert_eq!(read.spki(), ec.spki());
            assert_eq!(read.pkcs8(), ec.pkcs8());
        }
    }

    #[test]
    fn a_key_that_cannot_be_used_is_refused_with_the_reason() {
        let encrypted = text("ENCRYPTED PRIVATE KEY", &[0; 9]);
        assert!(problem(PrivateKey::from_pem(&encrypted)).contains("openssl pkey"));
        let old = b"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: DES-EDE3-CBC,AA\n\nAAAA\n-----END RSA PRIVATE KEY-----";
        assert!(problem(PrivateKey::from_pem(old)).contains("openssl pkey"));
        assert!(problem(PrivateKey::from_pem(b"nothing")).contains("no private key"));
        let two = [key(KeyAlgorithm::EcP256), key(KeyAlgorithm::EcP256)];
        let two: Vec<u8> = two
            .iter()
            .flat_map(|key| key.to_pem().expose().to_vec())
            .collect();
        assert!(problem(PrivateKey::from_pem(&two)).contains("more than one"));
        let dsa = text("DSA PRIVATE KEY", &[0; 9]);
        assert!(problem(PrivateKey::from_pem(&dsa)).contains("not supported"));
        // Ed25519, RFC 8410 §10.3.
        let ed25519 = b"-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n-----END PRIVATE KEY-----";
        assert!(problem(PrivateKey::from_pem(ed25519)).contains("another kind"));
    }

    #[test]
    fn a_damaged_rsa_key_is_refused() {
        let mut der = key(KeyAlgorithm::Rsa2048).pkcs8().to_vec();
        let middle = der.len() / 2;
        der[middle] ^= 1;
        assert!(PrivateKey::from_pkcs8(&der).is_err());
    }
}
