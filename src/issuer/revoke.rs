//! Revocation of private certificates; that of public ones is in `orders`.

use crate::ccm::{Class, Pca, PrivateStatus};
use crate::issuer::IssuerError;
use crate::issuer::failure::{acting, reading};
use crate::model::RevocationReason;

/// CCM API 4.2.2.9. The status decides what a refusal means: what is revoked already is done.
pub(super) async fn of_pca(
    pca: &Pca,
    reference: &str,
    reason: RevocationReason,
) -> Result<(), IssuerError> {
    let revoked = pca.revoke_certificate(reference, Some(reason.ccm()));
    match revoked.await {
        Ok(()) => Ok(()),
        Err(error) if error.class == Class::Rejected && error.status.is_some() => {
            let shown = pca.show_certificate(reference).await.map_err(reading)?;
            if shown.status == PrivateStatus::Revoked {
                Ok(())
            } else {
                Err(acting(error))
            }
        }
        Err(error) => Err(acting(error)),
    }
}
