//! What can go wrong with keys, certificates and bundles.

use crate::model::KeyAlgorithm;

/// A key, certificate or bundle that could not be read or made.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// Bytes from outside are not what they should be.
    #[error("failed to read {what}: {problem}")]
    Malformed {
        /// Such as `certificate`.
        what: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// A private key of a kind that is not served here.
    #[error("failed to use the private key: {problem}")]
    Key {
        /// What is wrong with it and what helps.
        problem: String,
    },
    /// The random generator or the machine failed.
    #[error("failed to generate a {algorithm} key")]
    Generate {
        /// Which.
        algorithm: KeyAlgorithm,
    },
    /// A CSR cannot say what was asked.
    #[error("failed to write the certificate request: {problem}")]
    Request {
        /// Which part and why.
        problem: String,
    },
    /// A keystore password that readers of the format refuse, or none at all.
    #[error("failed to write the {format} keystore: the password {problem}")]
    Password {
        /// `PFX`, `JKS` or `trust`.
        format: &'static str,
        /// What is wrong with it; never the password.
        problem: &'static str,
    },
    /// A keystore cannot be written.
    #[error("failed to write the {format} keystore: {problem}")]
    Keystore {
        /// `PFX`, `JKS` or `trust`.
        format: &'static str,
        /// Why.
        problem: String,
    },
    /// A keystore was opened with another password than it was written with, or was damaged since.
    #[error("failed to open the {format} keystore: wrong password, or the file is damaged")]
    Integrity {
        /// `PFX`, `JKS` or `trust`.
        format: &'static str,
    },
    /// The path ends at an issuer that is no trusted root.
    #[error("failed to find a path from the leaf to a trusted root: UnknownIssuer")]
    UnknownIssuer,
    /// No path from a leaf to a trusted root.
    #[error("failed to find a path from the leaf to a trusted root: {problem}")]
    Path {
        /// As the path check words it.
        problem: String,
    },
}

impl PkiError {
    pub(super) fn malformed(what: &'static str, problem: impl std::fmt::Display) -> Self {
        Self::Malformed {
            what,
            problem: problem.to_string(),
        }
    }
}
