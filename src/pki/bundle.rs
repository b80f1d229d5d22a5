//! (skeleton)

use std::path::PathBuf;

use crate::model::{CertificateId, ExportKind, Fingerprint};
use crate::pki::{Material, PkiError, Secret, facts};

/// One file to write.
pub struct BundleFile {
    /// Where, with `{certificate}` replaced; absolute or relative as the export says.
    pub path: PathBuf,
    /// What.
    pub bytes: Secret,
    /// A private key or a password is inside: decides which mode the file gets.
    pub holds_key: bool,
}

/// The files of one export in the order in which they are safe to write: key, chain, certificate last.
///
/// # Errors
/// A missing or unusable password, an alias that the format refuses.
pub fn render(
    _: &Material,
    _: &ExportKind,
    _: &CertificateId,
    _: Option<&Secret>,
) -> Result<Vec<BundleFile>, PkiError> {
    Ok(Vec::new())
}

/// SHA-256 over everything that determines the content of an export.
#[must_use]
pub fn input_digest(
    material: &Material,
    _: &ExportKind,
    _: &CertificateId,
    _: Option<&Secret>,
) -> Fingerprint {
    facts::sha256(&material.leaf)
}
