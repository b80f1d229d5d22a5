//! Trust stores: the CA certificates of a chain, the root with them where the issuer sent it, and never a key.

use crate::model::TrustFormat;
use crate::pki::{Material, PkiError, Secret, facts, jks, pem, pfx};

/// The store in its form, the issuing CA first.
///
/// # Errors
/// A chain without any certificate, since programs refuse an empty store; a missing or unusable password.
pub(super) fn write(
    material: &Material,
    format: TrustFormat,
    password: Option<&Secret>,
) -> Result<Secret, PkiError> {
    if material.chain.is_empty() {
        return Err(PkiError::Keystore {
            format: "trust",
            problem: "the issuer sent no CA certificate".to_owned(),
        });
    }
    match format {
        TrustFormat::Pem => {
            let blocks = material.chain.iter().map(|der| pem::certificate(der));
            Ok(blocks.collect::<String>().into())
        }
        TrustFormat::Jks => jks::write_trusted(&named(material), password),
        TrustFormat::Pkcs12(profile) => pfx::write_trusted(&named(material), profile, password),
    }
}

/// Each certificate under a name that follows from it alone, so that a chain that grows or changes renames nothing.
fn named(material: &Material) -> Vec<(String, &[u8])> {
    let name = |der: &[u8]| format!("ca-{}", facts::sha256(der).short());
    let all = material.chain.iter();
    all.map(|der| (name(der), der.as_slice())).collect()
}
