//! PFX (PKCS #12, RFC 7292) writing.

use p12_keystore::{
    Certificate, EncryptionAlgorithm, KeyStore, KeyStoreEntry, MacAlgorithm, PrivateKeyChain,
};

use crate::model::PfxProfile;
use crate::pki::{Material, PkiError, Secret, chain, facts, password};

/// Key, leaf and chain without root as one entry. The bytes differ at each call: salts are random.
///
/// # Errors
/// A password or an alias that readers of the format refuse.
pub fn write(
    material: &Material,
    alias: &str,
    profile: PfxProfile,
    password: Option<&Secret>,
) -> Result<Secret, PkiError> {
    let password = password::for_pfx(password)?;
    if alias.is_empty() {
        return Err(refused("the alias is empty".to_owned()));
    }
    // The alias travels as BMPString (RFC 2985 §5.5.1), which has two bytes for each character.
    if alias.chars().any(|c| u32::from(c) > 0xffff) {
        let problem = format!("the alias {alias:?} has characters beyond U+FFFF");
        return Err(refused(problem));
    }
    let certificates = std::iter::once(&material.leaf)
        .chain(chain::without_root(&material.chain))
        .map(|der| Certificate::from_der(der))
        .collect::<Result<Vec<_>, _>>()
        .map_err(failed)?;
    // The library keeps its copy of the key in a plain buffer; it is freed, not zeroised, when this call ends.
    let key = p12_keystore::PrivateKey::from_der(material.key.pkcs8()).map_err(failed)?;
    // Links key and leaf inside the file; SHA-1 of the key is custom, any unique value does.
    let id = facts::sha256(&material.leaf).0[..20].to_vec();
    let mut store = KeyStore::new();
    store.add_entry(
        alias,
        KeyStoreEntry::PrivateKeyChain(PrivateKeyChain::new(id, key, certificates)),
    );
    seal(&store, profile, password)
}

/// Certificates under their aliases, each marked with Java's attribute for trusted ones
/// (2.16.840.1.113894.746875.1.1), without which Java lists nothing. The bytes differ at each call: salts are random.
///
/// # Errors
/// A password that readers of the format refuse, or what is no certificate.
pub fn write_trusted(
    certificates: &[(String, &[u8])],
    profile: PfxProfile,
    password: Option<&Secret>,
) -> Result<Secret, PkiError> {
    let password = password::for_pfx(password)?;
    let mut store = KeyStore::new();
    for (alias, der) in certificates {
        let certificate = Certificate::from_der(der).map_err(failed)?;
        store.add_entry(alias, KeyStoreEntry::Certificate(certificate));
    }
    seal(&store, profile, password)
}

fn seal(store: &KeyStore, profile: PfxProfile, password: &str) -> Result<Secret, PkiError> {
    let (encryption, mac, iterations) = match profile {
        PfxProfile::Modern => (
            EncryptionAlgorithm::PbeWithHmacSha256AndAes256,
            MacAlgorithm::HmacSha256,
            MODERN_ITERATIONS,
        ),
        PfxProfile::Java8 | PfxProfile::Windows2016 => (
            EncryptionAlgorithm::PbeWithShaAnd3KeyTripleDesCbc,
            MacAlgorithm::HmacSha1,
            OLD_ITERATIONS,
        ),
    };
    let bytes = store
        .writer(password)
        .encryption_algorithm(encryption)
        .encryption_iterations(iterations)
        .mac_algorithm(mac)
        .mac_iterations(iterations)
        .write()
        .map_err(failed)?;
    Ok(Secret::new(bytes))
}

fn failed(error: p12_keystore::error::Error) -> PkiError {
    refused(error.to_string())
}

fn refused(problem: String) -> PkiError {
    PkiError::Keystore {
        format: "PFX",
        problem,
    }
}

/// What the JDK writes. More would slow down every start of the server that reads the file, and protect little: the
/// password lies beside it, and a generated one has 140 bits.
const MODERN_ITERATIONS: u32 = 10_000;
/// What OpenSSL writes, so that old readers have seen it.
const OLD_ITERATIONS: u32 = 2048;
