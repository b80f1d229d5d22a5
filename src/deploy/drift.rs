//! Whether a target is still as it was committed.

use std::collections::BTreeMap;
use std::path::Path;

use crate::deploy::layout::Layout;
use crate::deploy::manifest::{self, Entry, Manifest, digest_of, read_seen};
use crate::model::{CertificateId, Drift, Fingerprint, RevisionId};
use crate::sys::fs::{self, Stat};

/// The first difference, if there is one. Content is read only where the file system says that it was touched.
pub(super) fn of(layout: &Layout, generation: u64) -> Option<Drift> {
    let found = link(layout, generation).or_else(|| {
        let directory = layout.generation(generation);
        match Manifest::read(&directory) {
            Some(manifest) => files(&directory, &manifest),
            None => Some(format!(
                "{} cannot be read or is not what renewd wrote",
                directory.display()
            )),
        }
    });
    found.map(|detail| Drift { detail })
}

/// Whether this very set is live, unchanged.
pub(super) fn is_current(
    layout: &Layout,
    policy: Fingerprint,
    revisions: &BTreeMap<CertificateId, RevisionId>,
) -> bool {
    let Some(manifest) = manifest::live(layout) else {
        return false;
    };
    manifest.policy == policy
        && manifest.revisions == *revisions
        && of(layout, manifest.generation).is_none()
}

fn link(layout: &Layout, generation: u64) -> Option<String> {
    let live = layout.live();
    let wanted = Layout::live_target(generation);
    let at = live.display();
    match fs::read_link(&live) {
        Ok(Some(target)) if target == wanted => None,
        Ok(Some(target)) => Some(format!(
            "{at} points at {}, not at {}",
            target.display(),
            wanted.display()
        )),
        Ok(None) => Some(format!("{at} is missing")),
        Err(error) => Some(error.to_string()),
    }
}

fn files(directory: &Path, manifest: &Manifest) -> Option<String> {
    let seen = read_seen(directory);
    manifest
        .files
        .iter()
        .enumerate()
        .find_map(|(index, entry)| {
            let seen = seen.get(index).copied().flatten();
            file(&directory.join(&entry.path), entry, seen)
        })
}

fn file(path: &Path, entry: &Entry, seen: Option<Stat>) -> Option<String> {
    let at = path.display();
    let stat = match fs::stat(path) {
        Ok(Some(stat)) => stat,
        Ok(None) => return Some(format!("{at} is missing")),
        Err(error) => return Some(error.to_string()),
    };
    if seen == Some(stat) {
        return None;
    }
    if let Some(problem) = entry.misfit(&stat).or_else(|| entry.acl_misfit(path)) {
        return Some(format!("{at} {problem}"));
    }
    // Without an owner in the policy the one at the commit is the right one.
    if let Some(seen) = seen
        && (seen.uid, seen.gid) != (stat.uid, stat.gid)
    {
        return Some(format!(
            "{at} belongs to {}:{}, not {}:{}",
            stat.uid, stat.gid, seen.uid, seen.gid
        ));
    }
    match digest_of(path) {
        Some(digest) if digest == entry.sha256 => None,
        Some(_) => Some(format!("the content of {at} was changed")),
        None => Some(format!("{at} cannot be read")),
    }
}
