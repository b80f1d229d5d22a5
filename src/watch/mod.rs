//! One look at what is not managed: files of others and listeners elsewhere. Nothing here changes anything.
//!
//! A look that brings nothing keeps what was seen before, and counts; what that means is decided by `plan`.

mod files;
mod host;

pub use files::{Files, files};
pub use host::{Host, host};

use crate::model::{Timestamp, WatchTrouble, WatchTroubleKind, WatchedCertificate, WatchedPlace};

/// The place after a look that brought certificates.
fn seen(
    before: Option<&WatchedPlace>,
    certificates: Vec<WatchedCertificate>,
    stamp: String,
    now: Timestamp,
) -> WatchedPlace {
    let first = |certificates: &[WatchedCertificate]| certificates.first()?.fingerprint;
    let changed = before.is_some_and(|before| {
        let known = first(&before.certificates);
        known.is_some() && known != first(&certificates)
    });
    WatchedPlace {
        stamp,
        failures: 0,
        trouble: None,
        changed_at: if changed {
            Some(now)
        } else {
            before.and_then(|before| before.changed_at)
        },
        certificates,
    }
}

/// The place after a look that brought none.
fn failed(before: Option<&WatchedPlace>, kind: WatchTroubleKind, detail: String) -> WatchedPlace {
    let before = before.cloned().unwrap_or_default();
    WatchedPlace {
        stamp: String::new(),
        failures: before.failures.saturating_add(1),
        trouble: Some(WatchTrouble { kind, detail }),
        ..before
    }
}
