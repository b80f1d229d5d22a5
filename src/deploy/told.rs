//! The record of a rollout that its service is being told, and of which of its listeners were there then.
//!
//! After a crash it tells a service that the reload may have ended from one that did not run, and a listener that is gone
//! since from one that was not there before.

use std::collections::BTreeSet;

use crate::deploy::StepError;
use crate::deploy::site::Site;
use crate::model::Listeners;
use crate::sys::fs::{self, Attributes};

/// Before the service is told. Without a probe there are no listeners, and the record says only that it was told.
pub(super) fn write(site: &Site<'_>, there: &Listeners) -> Result<(), StepError> {
    let mut text = String::new();
    for listener in there.iter() {
        text.push_str(listener);
        text.push('\n');
    }
    fs::write_atomic(
        &site.records().told(),
        text.as_bytes(),
        &Attributes::PRIVATE,
    )?;
    Ok(())
}

/// Who was there; `None` where nobody was told.
pub(super) fn read(site: &Site<'_>) -> Result<Option<BTreeSet<String>>, StepError> {
    let bytes = fs::read_if_exists(&site.records().told(), MOST_BYTES)?;
    Ok(bytes.map(|bytes| {
        let text = String::from_utf8_lossy(&bytes);
        text.lines().map(str::to_owned).collect()
    }))
}

/// Before the first attempt.
pub(super) fn forget(site: &Site<'_>) -> Result<(), StepError> {
    fs::remove_file(&site.records().told())?;
    Ok(())
}

/// A few listeners.
const MOST_BYTES: u64 = 64 << 10;
