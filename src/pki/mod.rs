//! Codecs: keys, requests, certificates and bundles; bytes in, bytes out.
//!
//! No files, no network, no clock. What a file is called and who may read it is `deploy`'s business.
//!
//! ```text
//!   PrivateKey ──csr::build──▶ request ─▶ (issuer) ─▶ PEM ──Material::from_pem──▶ Material
//!                                                                                  │
//!               CertificateFacts or every reason against it ◀──check::issued───────┤
//!               PEM, PFX and JKS files in write order ◀──bundle::render────────────┘
//! ```

mod der;
mod error;
mod facts;
mod key;
mod material;
mod secret;
mod trust;

pub mod bundle;
pub mod chain;
pub mod check;
pub mod csr;
pub mod inspect;
pub mod jks;
pub mod password;
pub mod pem;
pub mod pfx;

pub use error::PkiError;
pub use facts::facts;
pub use key::{PrivateKey, Signer};
pub use material::Material;
pub use secret::Secret;

#[cfg(test)]
#[path = "../../tests/it/support/certs.rs"]
mod certs;
#[cfg(test)]
mod tests;
