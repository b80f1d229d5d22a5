//! The record of a rollout that its service is being told, and of which of its listeners were there then; and the record that
//! it has to be told once more.
//!
//! After a crash the first tells a service that the reload may have ended from one that did not run, and a listener that is
//! gone since from one that was not there before. The second is there before anything is put back late, and until the service
//! was told of it: whoever is killed in between, or finds that the service cannot be told, leaves the telling to the next run.

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

/// Before something is put back of which the service will not have been told. A disk that takes no record does not keep what
/// was there before from going back: then only a crash right after it leaves the service with what it has read.
pub(super) fn owe(site: &Site<'_>) {
    // Where no such directory is, nothing was saved that could go back.
    let written = match fs::stat(site.records().directory()) {
        Ok(Some(_)) => fs::write_atomic(&site.records().untold(), b"", &Attributes::PRIVATE),
        Ok(None) => Ok(()),
        Err(error) => Err(error),
    };
    if let Err(error) = written {
        tracing::warn!(rollout = %site.rollout.id, %error, "no record that the service has to be told again");
    }
}

/// Whether it has to be told, by an earlier run. What cannot be looked at counts: a reload too many does no harm.
pub(super) fn is_owed(site: &Site<'_>) -> bool {
    !matches!(fs::stat(&site.records().untold()), Ok(None))
}

/// After it was told, or when nothing went back after all.
pub(super) fn settle(site: &Site<'_>) {
    if is_owed(site)
        && let Err(error) = fs::remove_file(&site.records().untold())
    {
        tracing::warn!(rollout = %site.rollout.id, %error, "the service may be told once too often");
    }
}

/// A few listeners.
const MOST_BYTES: u64 = 64 << 10;
