//! Whether those who are to read the files can: asked before anything is committed, and of the kernel.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::deploy::StepError;
use crate::deploy::manifest::{Entry, Manifest};
use crate::deploy::site::Site;
use crate::model::CertificateId;
use crate::sys::access::{Account, Obstacle};
use crate::sys::fs;

/// Of a set that is staged: each file where it waits.
pub(super) fn of_staged(site: &Site<'_>, manifest: &Manifest) -> Result<(), StepError> {
    let (generation, tag) = (site.generation(), site.new_tag());
    check(manifest, |entry| {
        if !entry.is_loose() {
            return generation.join(&entry.path);
        }
        let waiting = fs::beside(&entry.path, &tag).filter(|path| entry.is_at(path));
        waiting.unwrap_or_else(|| entry.path.clone())
    })
}

/// Of a set that is live, in this directory.
pub(super) fn of_live(generation: &Path, manifest: &Manifest) -> Result<(), StepError> {
    // An absolute path replaces what it is joined to.
    check(manifest, |entry| generation.join(&entry.path))
}

fn check(manifest: &Manifest, place: impl Fn(&Entry) -> PathBuf) -> Result<(), StepError> {
    let mut by_reader: BTreeMap<&str, BTreeMap<PathBuf, &Entry>> = BTreeMap::new();
    for entry in &manifest.files {
        if let Some(reader) = &entry.reader {
            let files = by_reader.entry(reader).or_default();
            files.insert(place(entry), entry);
        }
    }
    for (reader, files) in by_reader {
        let account = Account::find(reader).map_err(|problem| {
            StepError::configuration(format!(
                "{problem}; name the user that the service runs as with `reader`"
            ))
        })?;
        match account.hindered(files.keys().cloned().collect()) {
            Ok(hindered) => refuse(&account, manifest, &files, &hindered)?,
            // Without the rights to ask there are none to give files away either; whoever runs it so knows.
            Err(problem) => {
                tracing::warn!(target = %manifest.target, problem, "it was not checked whether the files can be read");
            }
        }
    }
    Ok(())
}

fn refuse(
    account: &Account,
    manifest: &Manifest,
    files: &BTreeMap<PathBuf, &Entry>,
    hindered: &[(PathBuf, Obstacle)],
) -> Result<(), StepError> {
    let entries = hindered.iter().filter_map(|(path, obstacle)| {
        let entry = files.get(path)?;
        Some((*entry, obstacle))
    });
    let entries: Vec<(&Entry, &Obstacle)> = entries.collect();
    let Some((first, obstacle)) = entries.first() else {
        return Ok(());
    };
    let (user, file) = (account.name(), first.path.display());
    let why = match obstacle {
        Obstacle::Directory(at) => format!(
            "it may not pass through the directory {0}: let it (`setfacl -m u:{user}:x {0}`, or mode and group of the directory)",
            at.display()
        ),
        Obstacle::File(_) => format!(
            "the file itself is closed to it: change `owner`, `group` or the modes of export {}, or write `acl = [\"u:{user}:r\"]`",
            first.export
        ),
        Obstacle::Other(at, problem) => format!("{}: {problem}", at.display()),
    };
    let more = match entries.len() {
        1 => String::new(),
        count => format!(" ({count} files in all)"),
    };
    let error = StepError::configuration(format!(
        "the user {user} cannot read {file} of certificate {}{more}: {why}",
        first.certificate
    ));
    let named: BTreeSet<&CertificateId> = entries
        .iter()
        .map(|(entry, _)| &entry.certificate)
        .collect();
    // What hinders all of them lies with none.
    if named.len() == manifest.revisions.len() {
        return Err(error);
    }
    Err(named
        .into_iter()
        .fold(error, |error, certificate| error.about(certificate)))
}
