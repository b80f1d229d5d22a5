//! A key, its certificate and its chain, held together.

use crate::model::{CertificateFacts, RevisionId};
use crate::pki::{PkiError, PrivateKey, chain, facts, pem};

/// What one revision is made of. Nothing here was checked against an order; that is `check::issued`.
pub struct Material {
    /// The private key.
    pub key: PrivateKey,
    /// The leaf, DER.
    pub leaf: Vec<u8>,
    /// The chain, DER: the leaf's issuer first, the root last if the issuer sent it.
    pub chain: Vec<Vec<u8>>,
}

impl Material {
    /// Takes apart what an issuer sent: the leaf alone or followed by its chain, the chain in any order, with or
    /// without the leaf in it. The leaf is the first certificate of this key; where there is none, the first of all,
    /// so that the check of key and certificate can say so.
    ///
    /// # Errors
    /// Texts that are no PEM, no certificate, or hold a block that is no certificate inside.
    pub fn from_pem(
        key: PrivateKey,
        certificate_pem: &str,
        chain_pem: &str,
    ) -> Result<Self, PkiError> {
        let own = pem::certificates(certificate_pem)?;
        if own.is_empty() {
            let problem = "no certificate in the PEM text";
            return Err(PkiError::malformed("certificate", problem));
        }
        let mut all = own;
        all.extend(pem::certificates(chain_pem)?);
        let mut leaf = 0;
        for (at, der) in all.iter().enumerate().rev() {
            if facts::parse(der)?.public_key().raw == key.public_key() {
                leaf = at;
            }
        }
        let leaf = all.remove(leaf);
        let chain = chain::sort(&leaf, all);
        Ok(Self { key, leaf, chain })
    }

    /// What the leaf says of itself.
    ///
    /// # Errors
    /// A leaf that is no certificate.
    pub fn facts(&self) -> Result<CertificateFacts, PkiError> {
        facts(&self.leaf)
    }

    /// The first 16 hex digits of the SHA-256 of the leaf.
    #[must_use]
    pub fn revision_id(&self) -> RevisionId {
        let short = facts::sha256(&self.leaf).short();
        RevisionId::new(&short).expect("invariant: 16 hex digits are an id")
    }

    /// The leaf as one PEM block.
    #[must_use]
    pub fn leaf_pem(&self) -> String {
        pem::certificate(&self.leaf)
    }

    /// The whole chain, root included if the issuer sent it; empty without one.
    #[must_use]
    pub fn chain_pem(&self) -> String {
        self.chain.iter().map(|der| pem::certificate(der)).collect()
    }
}
