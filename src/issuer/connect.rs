//! From an issuer's policy to a connected [`Issuer`]: secrets are resolved here and go no further than the client.

use std::sync::Arc;

use crate::issuer::{Effect, Issuer, IssuerError};
use crate::model::{ErrorClass, IssuerPolicy, SecretRef};
use crate::pki::Secret;
use crate::sys::clock::Clock;

/// Prepares an issuer: reads roots and secrets, checks the endpoint. Sends nothing.
///
/// # Errors
/// `Configuration` for an unusable endpoint, roots file or secret.
pub fn connect(
    policy: &IssuerPolicy,
    _resolve: &dyn Fn(&SecretRef) -> Result<Secret, String>,
    _clock: Arc<dyn Clock>,
) -> Result<Box<dyn Issuer>, IssuerError> {
    Err(IssuerError {
        class: ErrorClass::Bug,
        effect: Effect::None,
        message: format!("issuer {} cannot be reached by this build", policy.id),
        retry_after: None,
    })
}
