//! Files and patterns. Blocks; call it where that may be.

use std::collections::BTreeMap;
use std::path::Path;

use crate::model::{Timestamp, WatchTroubleKind, WatchedPlace};
use crate::pki::{Secret, inspect};
use crate::sys::{error_chain, fs};
use crate::watch::{failed, seen};

/// What there was to see.
pub struct Files {
    /// By path; by pattern where that matches nothing.
    pub places: BTreeMap<String, WatchedPlace>,
    /// Files that were not looked at.
    pub left: usize,
}

/// Looks at every file. One whose stamp is that of `before` is not read again. `password` is for keystores, or says why
/// there is none.
#[must_use]
pub fn files(
    paths: &[String],
    password: &Result<Option<Secret>, String>,
    before: &BTreeMap<String, WatchedPlace>,
    now: Timestamp,
) -> Files {
    let mut places = BTreeMap::new();
    let mut left = 0;
    for path in paths {
        if !fs::is_pattern(path) {
            let place = one(path, password, before.get(path), now)
                .unwrap_or_else(|| no_certificate(before.get(path)));
            places.insert(path.clone(), place);
            continue;
        }
        let found = match fs::matching(path, MOST_FILES.saturating_sub(places.len())) {
            Ok((found, more)) => {
                left += usize::from(more);
                found
            }
            Err(error) => {
                let place = failed(before.get(path), WatchTroubleKind::Unreadable, error);
                places.insert(path.clone(), place);
                continue;
            }
        };
        if found.is_empty() && left == 0 {
            let detail = "no file fits this pattern".to_owned();
            let place = failed(before.get(path), WatchTroubleKind::Missing, detail);
            places.insert(path.clone(), place);
        }
        for file in found {
            let file = file.to_string_lossy().into_owned();
            // Keys beside certificates are none of anybody's business.
            if let Some(place) = one(&file, password, before.get(&file), now) {
                places.insert(file, place);
            }
        }
    }
    Files { places, left }
}

/// `None` for a file of keys alone.
fn one(
    path: &str,
    password: &Result<Option<Secret>, String>,
    before: Option<&WatchedPlace>,
    now: Timestamp,
) -> Option<WatchedPlace> {
    let unreadable = |detail| Some(failed(before, WatchTroubleKind::Unreadable, detail));
    let stat = match fs::stat_followed(Path::new(path)) {
        Ok(Some(stat)) => stat,
        Ok(None) => {
            let detail = "there is no such file, or its link leads nowhere".to_owned();
            return Some(failed(before, WatchTroubleKind::Missing, detail));
        }
        Err(error) => return unreadable(error_chain(&error)),
    };
    let stamp = format!(
        "{}:{}:{}:{}",
        stat.inode, stat.size, stat.modified, stat.changed
    );
    if let Some(before) = before.filter(|before| before.stamp == stamp) {
        return Some(before.clone());
    }
    // It may hold a key.
    let bytes = match fs::read(Path::new(path), LARGEST) {
        Ok(bytes) => Secret::new(bytes),
        Err(error) => return unreadable(error_chain(&error)),
    };
    let secret = password.as_ref().ok().and_then(Option::as_ref);
    match inspect::file(bytes.expose(), secret) {
        Ok(certificates) if certificates.is_empty() => None,
        Ok(certificates) => Some(seen(before, certificates, stamp, now)),
        Err(error) => unreadable(match password {
            Err(why) => format!("{error} ({why})"),
            Ok(_) => error.to_string(),
        }),
    }
}

fn no_certificate(before: Option<&WatchedPlace>) -> WatchedPlace {
    let detail = "there is no certificate in it".to_owned();
    failed(before, WatchTroubleKind::Unreadable, detail)
}

/// Of one table.
const MOST_FILES: usize = 1000;
/// Bytes: several times the bundle of all public roots.
const LARGEST: u64 = 4 << 20;
