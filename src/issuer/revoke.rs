//! Revocation of private certificates; that of public ones is in `orders`.

use crate::ccm::{Class, Pca, PrivateStatus};
use crate::issuer::failure::{acting, reading};
use crate::issuer::pca::is_gone;
use crate::issuer::{IssuerError, Revoked};
use crate::model::RevocationReason;

/// CCM API 4.2.2.9. The status decides what a refusal means: what is revoked already is done.
pub(super) async fn of_pca(
    pca: &Pca,
    reference: &str,
    reason: RevocationReason,
) -> Result<Revoked, IssuerError> {
    match pca.revoke_certificate(reference, Some(reason.ccm())).await {
        Ok(()) => Ok(Revoked::Done),
        Err(error) if error.class == Class::Rejected && error.status.is_some() => {
            match pca.show_certificate(reference).await {
                Ok(shown) if shown.status == PrivateStatus::Revoked => Ok(Revoked::Done),
                Ok(_) => Err(acting(error)),
                Err(unseen) if is_gone(&unseen) => Ok(Revoked::Gone),
                Err(unseen) => Err(reading(unseen)),
            }
        }
        Err(error) => Err(acting(error)),
    }
}
