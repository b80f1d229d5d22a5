//! Revocation of private certificates; that of public ones is in `orders`.

use crate::ccm::{Class, Pca, PrivateStatus};
use crate::issuer::IssuerError;
use crate::issuer::failure::{acting, reading};

/// CCM API 4.2.2.9. The status decides what a refusal means: what is revoked already is done.
pub(super) async fn of_pca(pca: &Pca, reference: &str, reason: &str) -> Result<(), IssuerError> {
    let word = match reason.replace('-', "_").to_ascii_uppercase().as_str() {
        "CA_COMPROMISE" => "CERTIFICATE_AUTHORITY_COMPROMISE".to_owned(),
        word => word.to_owned(),
    };
    match pca.revoke_certificate(reference, Some(&word)).await {
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
