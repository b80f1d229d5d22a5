//! Private keys: made, loaded, and used to sign.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _,
    RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RsaKeyPair,
};

use crate::ccm_server::x509::{X509Error, der};
use crate::model::KeyAlgorithm;

/// The keys that the API makes (CCM API 4.2.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::ccm_server) enum KeyKind {
    /// RSA of 2048 bits.
    Rsa2048,
    /// RSA of 4096 bits.
    Rsa4096,
    /// EC on P-256.
    Ec256,
    /// EC on P-384.
    Ec384,
}

impl KeyKind {
    /// The API's names, in its order.
    pub(in crate::ccm_server) const NAMES: &'static [&'static str] =
        &["RSA2048", "RSA4096", "EC256", "EC384"];

    /// By the API's name.
    pub(in crate::ccm_server) fn named(name: &str) -> Option<Self> {
        let kinds = [Self::Rsa2048, Self::Rsa4096, Self::Ec256, Self::Ec384];
        kinds.into_iter().find(|kind| kind.name() == name)
    }

    /// As `pki` makes it.
    pub(in crate::ccm_server) const fn algorithm(self) -> KeyAlgorithm {
        match self {
            Self::Rsa2048 => KeyAlgorithm::Rsa2048,
            Self::Rsa4096 => KeyAlgorithm::Rsa4096,
            Self::Ec256 => KeyAlgorithm::EcP256,
            Self::Ec384 => KeyAlgorithm::EcP384,
        }
    }

    /// The API's name.
    pub(in crate::ccm_server) const fn name(self) -> &'static str {
        match self {
            Self::Rsa2048 => "RSA2048",
            Self::Rsa4096 => "RSA4096",
            Self::Ec256 => "EC256",
            Self::Ec384 => "EC384",
        }
    }
}

/// A hash under a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::ccm_server) enum Hash {
    /// SHA-256
    Sha256,
    /// SHA-384
    Sha384,
    /// SHA-512
    Sha512,
}

impl Hash {
    /// The API's names.
    pub(in crate::ccm_server) const NAMES: &'static [&'static str] =
        &["SHA256", "SHA384", "SHA512"];

    /// By the API's name.
    pub(in crate::ccm_server) fn named(name: &str) -> Option<Self> {
        let hashes = [Self::Sha256, Self::Sha384, Self::Sha512];
        hashes.into_iter().find(|hash| hash.name() == name)
    }

    /// The API's name.
    pub(in crate::ccm_server) const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "SHA256",
            Self::Sha384 => "SHA384",
            Self::Sha512 => "SHA512",
        }
    }
}

/// A loaded key that signs.
pub(in crate::ccm_server) struct Signer {
    pair: Pair,
    spki: Vec<u8>,
}

enum Pair {
    Rsa(Box<RsaKeyPair>),
    Ec256(EcdsaKeyPair),
    Ec384(EcdsaKeyPair),
}

impl Signer {
    /// Loads a PKCS #8 key of any supported kind.
    pub(in crate::ccm_server) fn load(pkcs8: &[u8]) -> Result<Self, X509Error> {
        let failed = |_| X509Error::Key("load");
        if let Ok(pair) = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8) {
            let spki: PublicKeyX509Der<'_> = pair.public_key().as_der().map_err(failed)?;
            let spki = spki.as_ref().to_vec();
            return Ok(Self {
                pair: Pair::Ec256(pair),
                spki,
            });
        }
        if let Ok(pair) = EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_ASN1_SIGNING, pkcs8) {
            let spki: PublicKeyX509Der<'_> = pair.public_key().as_der().map_err(failed)?;
            let spki = spki.as_ref().to_vec();
            return Ok(Self {
                pair: Pair::Ec384(pair),
                spki,
            });
        }
        let pair = RsaKeyPair::from_pkcs8(pkcs8).map_err(|_| X509Error::Key("load"))?;
        let spki: PublicKeyX509Der<'_> = pair.public_key().as_der().map_err(failed)?;
        let spki = spki.as_ref().to_vec();
        Ok(Self {
            pair: Pair::Rsa(Box::new(pair)),
            spki,
        })
    }

    /// The `SubjectPublicKeyInfo` of the key.
    pub(in crate::ccm_server) fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// The hash that is used when `asked` is asked for. An EC key signs with the hash of its curve's strength: the
    /// crypto library offers no other, and no other would be stronger than the weaker of the two.
    pub(in crate::ccm_server) const fn hash(&self, asked: Hash) -> Hash {
        match self.pair {
            Pair::Rsa(_) => asked,
            Pair::Ec256(_) => Hash::Sha256,
            Pair::Ec384(_) => Hash::Sha384,
        }
    }

    /// Whether a signature takes some ten microseconds and not milliseconds.
    pub(in crate::ccm_server) const fn is_quick(&self) -> bool {
        matches!(self.pair, Pair::Ec256(_))
    }

    /// The `AlgorithmIdentifier` of signatures with what [`Signer::hash`] gives for `asked`.
    pub(super) fn algorithm(&self, asked: Hash) -> Vec<u8> {
        match (&self.pair, self.hash(asked)) {
            (Pair::Rsa(_), Hash::Sha256) => rsa_algorithm(11),
            (Pair::Rsa(_), Hash::Sha384) => rsa_algorithm(12),
            (Pair::Rsa(_), Hash::Sha512) => rsa_algorithm(13),
            (_, Hash::Sha256) => ec_algorithm(2),
            (_, Hash::Sha384) => ec_algorithm(3),
            (_, Hash::Sha512) => ec_algorithm(4),
        }
    }

    /// Signs.
    pub(super) fn sign(&self, asked: Hash, message: &[u8]) -> Result<Vec<u8>, X509Error> {
        let failed = |_| X509Error::Key("sign");
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Rsa(pair) => {
                let padding = match asked {
                    Hash::Sha256 => &RSA_PKCS1_SHA256,
                    Hash::Sha384 => &RSA_PKCS1_SHA384,
                    Hash::Sha512 => &RSA_PKCS1_SHA512,
                };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(padding, &random, message, &mut signature)
                    .map_err(failed)?;
                Ok(signature)
            }
            Pair::Ec256(pair) | Pair::Ec384(pair) => {
                let signature = pair.sign(&random, message).map_err(failed)?;
                Ok(signature.as_ref().to_vec())
            }
        }
    }
}

/// Opened CA keys by CA id: loading an RSA key costs more than signing with it.
#[derive(Default)]
pub(in crate::ccm_server) struct Signers(Mutex<BTreeMap<String, Arc<Signer>>>);

impl Signers {
    /// The key of a CA, if it was opened before.
    pub(in crate::ccm_server) fn get(&self, id: &str) -> Option<Arc<Signer>> {
        let signers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        signers.get(id).cloned()
    }

    /// Whose keys are open.
    pub(in crate::ccm_server) fn ids(&self) -> Vec<String> {
        let signers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        signers.keys().cloned().collect()
    }

    /// Forgets the key of a CA that is gone.
    pub(in crate::ccm_server) fn forget(&self, id: &str) {
        let mut signers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        signers.remove(id);
    }

    /// Keeps an opened key.
    pub(in crate::ccm_server) fn put(&self, id: &str, signer: Arc<Signer>) {
        let mut signers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        signers.insert(id.to_owned(), signer);
    }
}

/// `1.2.840.113549.1.1.n` with the NULL that RFC 4055 §5 demands.
fn rsa_algorithm(n: u64) -> Vec<u8> {
    der::sequence(&[&der::oid(&[1, 2, 840, 113_549, 1, 1, n]), &der::null()])
}

/// `1.2.840.10045.4.3.n`, without parameters (RFC 5758 §3.2).
fn ec_algorithm(n: u64) -> Vec<u8> {
    der::sequence(&[&der::oid(&[1, 2, 840, 10_045, 4, 3, n])])
}
