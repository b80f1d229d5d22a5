//! What somebody else put at the places of a rollout since it saved what was there.
//!
//! A set that waits for its service is completed before each look, and an undo may come days after the commit. Whatever
//! is neither ours nor what was saved came in between: what is newer stays, by the rule of `foreign`, and of the rest a
//! copy is kept before it is replaced, since it may be a key that is nowhere else.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::deploy::StepError;
use crate::deploy::foreign::{self, Ours};
use crate::deploy::keystores::Opened;
use crate::deploy::layout::Layout;
use crate::deploy::manifest::{
    Entry, MOST_BYTES, Manifest, Saved, Was, read_kept, read_seen, sha256,
};
use crate::deploy::site::Site;
use crate::model::{
    CertificateFacts, CertificateId, ErrorClass, Fingerprint, RevisionId, Timestamp,
};
use crate::pki::{Secret, facts};
use crate::sys::fs::{self, Attributes, Kind};

/// Members at whose places something newer of somebody else has come.
#[derive(Debug, Default)]
pub(super) struct Arrived {
    /// What, in words.
    found: BTreeMap<CertificateId, String>,
    /// It is below the link, which therefore stays as it is.
    pub(super) linked: bool,
}

impl Arrived {
    /// Looks at every place. Nothing is found of what a person wants replaced.
    pub(super) fn look(
        site: &Site<'_>,
        manifest: &Manifest,
        saved: &Saved,
        now: Timestamp,
    ) -> Result<Self, StepError> {
        let mut arrived = Self::default();
        let places = Places::of(site, manifest, saved)?;
        for ((certificate, export), strange) in &places.strange {
            if site.rollout.overwrite.contains(*certificate) {
                continue;
            }
            let within = strange.iter().any(|entry| !entry.is_loose());
            if let Some(sealed) = places.sealed(site, strange) {
                arrived.linked |= within;
                let detail = foreign::sealed(&sealed);
                arrived.found.insert((*certificate).clone(), detail);
                continue;
            }
            let Some(revision) = site.rollout.revisions.get(*certificate) else {
                continue;
            };
            // Without ours there is nothing to compare it with, and it may be newer: it stays.
            let Some(ours) = ours(site, certificate, revision) else {
                arrived.linked |= within;
                let detail = "what is stored of it cannot be read, so nobody can say whether what somebody put into its place is newer";
                arrived
                    .found
                    .insert((*certificate).clone(), detail.to_owned());
                continue;
            };
            let compared = Ours {
                facts: &ours,
                names: site.names.get(*certificate),
            };
            let entries = foreign::of_export(&manifest.files, certificate, export);
            // An absolute path replaces what it is joined to.
            let at = |entry: &Entry| places.below.join(&entry.path);
            if let Some(newer) = foreign::newer(entries, at, compared, site.keystores(), now) {
                arrived.linked |= within;
                let detail = newer.describe(&ours);
                arrived.found.insert((*certificate).clone(), detail);
            }
        }
        Ok(arrived)
    }

    /// Whether the places of a member are somebody else's now.
    pub(super) fn has(&self, certificate: &CertificateId) -> bool {
        self.found.contains_key(certificate)
    }

    /// That nothing is found: the rollout must not go on over it.
    pub(super) fn none(&self) -> Result<(), StepError> {
        let errors = self.found.iter().map(|(certificate, detail)| {
            StepError::new(
                ErrorClass::Rejected,
                foreign::nothing_older(certificate, detail),
            )
            .about(certificate)
        });
        errors.reduce(StepError::and).map_or(Ok(()), Err)
    }
}

fn ours(
    site: &Site<'_>,
    certificate: &CertificateId,
    revision: &RevisionId,
) -> Option<CertificateFacts> {
    let read = site.materials.load_public(certificate, revision);
    let public = read.inspect_err(
        |error| tracing::warn!(%certificate, %error, "what is stored of it cannot be read"),
    );
    facts(public.ok()?.first()?).ok()
}

/// Where files are now, and those of each export of each certificate that are neither ours nor what was saved.
struct Places<'a> {
    /// What relative paths are below.
    below: PathBuf,
    strange: BTreeMap<(&'a CertificateId, &'a str), Vec<&'a Entry>>,
}

impl<'a> Places<'a> {
    fn of(site: &Site<'_>, manifest: &'a Manifest, saved: &Saved) -> Result<Self, StepError> {
        let generation = site.generation();
        let link = fs::read_link(&site.layout.live())?;
        let ours = Layout::live_target(manifest.generation);
        // Before the switch nobody has been pointed at what is in the generation.
        let elsewhere = link.is_some() && link != saved.live && link != Some(ours);
        let below = if elsewhere {
            site.layout.live()
        } else {
            generation.clone()
        };
        let kept = read_kept(&generation)?;
        let seen = read_seen(&generation);
        let mut strange: BTreeMap<_, Vec<&Entry>> = BTreeMap::new();
        for (index, entry) in manifest.files.iter().enumerate() {
            let was = saved.places.iter().find(|place| place.index == index);
            // What is kept was somebody else's when the set was staged.
            if (entry.is_loose() && was.is_none()) || kept.contains(&entry.certificate) {
                continue;
            }
            let path = below.join(&entry.path);
            let known = seen.get(index).copied().flatten();
            if known.is_some() && fs::stat(&path).is_ok_and(|stat| stat == known) {
                continue;
            }
            if is_strange(&path, entry, was.map(|place| &place.was)) {
                let export = (&entry.certificate, entry.export.as_str());
                strange.entry(export).or_default().push(entry);
            }
        }
        Ok(Self { below, strange })
    }

    /// A keystore that nobody can open, so that it may be newer: it came since the commit.
    fn sealed(&self, site: &Site<'_>, strange: &[&Entry]) -> Option<PathBuf> {
        strange.iter().find_map(|entry| {
            // An absolute path replaces what it is joined to.
            let path = self.below.join(&entry.path);
            let (_, bytes) = content(&path)?;
            let opened = site.keystores().open(entry, bytes.expose());
            matches!(opened, Opened::Sealed).then_some(path)
        })
    }
}

/// Whether what is there is neither what belongs there nor what was there before.
fn is_strange(path: &Path, entry: &Entry, was: Option<&Was>) -> bool {
    let Ok(Some(stat)) = fs::stat(path) else {
        return false;
    };
    match (stat.kind, was) {
        (Kind::Link, Some(Was::Link { target })) => {
            !fs::read_link(path).is_ok_and(|there| there.as_ref() == Some(target))
        }
        (Kind::Link, _) => true,
        (Kind::File, was) => content(path).is_some_and(|(digest, _)| !is_known(digest, entry, was)),
        (Kind::Directory | Kind::Other, _) => false,
    }
}

fn is_known(digest: Fingerprint, entry: &Entry, was: Option<&Was>) -> bool {
    digest == entry.sha256 || matches!(was, Some(Was::File { sha256, .. }) if *sha256 == digest)
}

fn content(path: &Path) -> Option<(Fingerprint, Secret)> {
    let bytes = Secret::new(fs::read(path, MOST_BYTES).ok()?);
    Some((sha256(bytes.expose()), bytes))
}

/// Keeps a copy of what is at a loose place, if it is neither ours nor what was saved, before it is replaced.
///
/// # Errors
/// The copy cannot be written: then nothing may be replaced.
pub(super) fn keep_copy(
    site: &Site<'_>,
    index: usize,
    entry: &Entry,
    was: &Was,
) -> Result<(), StepError> {
    let stat = fs::stat(&entry.path).map_err(|error| entry.blame(error))?;
    // What a link points at stays where it is.
    if stat.is_none_or(|stat| stat.kind != Kind::File) {
        return Ok(());
    }
    let Some((digest, bytes)) = content(&entry.path) else {
        return Ok(());
    };
    if is_known(digest, entry, Some(was)) {
        return Ok(());
    }
    let copy = site.records().found_copy(index, digest);
    if fs::stat(&copy)?.is_none() {
        fs::create_dir_all(&site.records().found_copies(), 0o700)?;
        fs::write_atomic(&copy, bytes.expose(), &Attributes::PRIVATE)?;
        tracing::warn!(
            target = %site.rollout.target, rollout = %site.rollout.id,
            "somebody changed {} since the rollout was committed; what was there is kept as {}",
            entry.path.display(), copy.display()
        );
    }
    Ok(())
}

/// Of the members at whose places something newer has come; none where it cannot be known.
pub(super) fn of(site: &Site<'_>, now: Timestamp) -> BTreeSet<CertificateId> {
    let (Some(manifest), Ok(Some(saved))) = (site.manifest(), Saved::read(&site.generation()))
    else {
        return BTreeSet::new();
    };
    let arrived = Arrived::look(site, &manifest, &saved, now).unwrap_or_default();
    arrived.found.into_keys().collect()
}
