//! (skeleton)

use crate::pki::{Material, PkiError, Secret};

/// Key, leaf and chain as a JKS keystore with one entry; the same input gives the same bytes.
///
/// # Errors
/// A password or alias that the format cannot hold.
pub fn write(_: &Material, _: &str, _: Option<&Secret>) -> Result<Secret, PkiError> {
    Err(PkiError::malformed("JKS", "not written yet"))
}
