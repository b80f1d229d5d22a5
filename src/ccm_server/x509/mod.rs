//! Certificates: made, signed and taken apart. Bytes and values only; what is kept and who may ask is decided elsewhere.
//!
//! Certificates are written by hand (`der`, `certificate`), since an issuer's name must go into what it signs byte for
//! byte, and since nothing of a CSR may slip into a certificate that is not put there on purpose.

mod certificate;
mod csr;
mod der;
mod name;
mod pem;
mod read;
mod signer;
mod validity;

pub(super) use certificate::{BasicConstraints, ExtendedUsage, KeyUsage, Template, issue};
pub(super) use csr::Request;
pub(super) use name::Subject;
pub(super) use pem::{LineEnd, certificates, encode, encode_all, private_key_pem, public_key_pem};
pub(super) use read::{Facts, facts, signed_by};
pub(super) use signer::{Hash, KeyKind, Signer, Signers};
pub(super) use validity::{Period, Unit, new_serial};

/// Why something could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum X509Error {
    /// A key does not load or does not sign.
    #[error("failed to {0} with a key")]
    Key(&'static str),
    /// What was given is not what it should be.
    #[error("{0}")]
    Malformed(String),
}
