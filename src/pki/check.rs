//! (skeleton)

use crate::model::{CertificateFacts, OrderRequest, Timestamp};
use crate::pki::{Material, PkiError};

/// Why material is not fit for its order.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unfit(PkiError);

/// Whether what the CA returned is fit for the order.
///
/// # Errors
/// Every reason against it.
pub fn issued(
    material: &Material,
    _: &OrderRequest,
    _: Timestamp,
) -> Result<CertificateFacts, Unfit> {
    material.facts().map_err(Unfit)
}
