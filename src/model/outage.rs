//! An issuer that answers nobody.

use crate::model::{CertificateId, Failures};

/// What this process met at an issuer since it answered last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outage {
    /// Calls that any other call would have shared the fate of, a round of steps counted once.
    pub failures: Failures,
    /// For whom the first of them was made.
    pub first: CertificateId,
    /// Whether others met the same. What meets one certificate alone holds up no other.
    pub several: bool,
}
