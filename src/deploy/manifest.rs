//! What is written down beside the files of a generation, so that every step can tell whether it happened.
//!
//! JSON with a version: a newer renewd reads an older one's records, since the state directory outlives an upgrade.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::deploy::StepError;
use crate::deploy::layout::{Layout, Records};
use crate::model::{
    CertificateId, ErrorClass, Fingerprint, RevisionId, Rollout, RolloutId, TargetId,
};
use crate::pki::Secret;
use crate::sys::error_chain;
use crate::sys::fs::{self, Acl, Attributes, FsError, Kind, Stat};

/// What a generation consists of. Written with it, never changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Manifest {
    /// Of this format.
    pub(super) version: u32,
    /// Which rollout wrote it.
    pub(super) rollout: RolloutId,
    /// Of which target.
    pub(super) target: TargetId,
    /// Its number.
    pub(super) generation: u64,
    /// Digest of the target's policy when the rollout was opened.
    pub(super) policy: Fingerprint,
    /// The whole set.
    pub(super) revisions: BTreeMap<CertificateId, RevisionId>,
    /// In the order in which they are safe to put into place: per export key, chain, certificate last.
    pub(super) files: Vec<Entry>,
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    /// Of which certificate.
    pub(super) certificate: CertificateId,
    /// By which export.
    pub(super) export: String,
    /// Absolute for a loose file, else below the generation.
    pub(super) path: PathBuf,
    /// Of its content.
    pub(super) sha256: Fingerprint,
    /// Of everything that its content was made from: equal means it need not be made again.
    pub(super) input: Fingerprint,
    /// Whether a private key or a password is inside.
    pub(super) holds_key: bool,
    /// Permission bits.
    pub(super) mode: u32,
    /// Owner, if the policy names one.
    pub(super) uid: Option<u32>,
    /// Group, if the policy names one.
    pub(super) gid: Option<u32>,
    /// Access list, if the policy names readers; the mode is the one that such a file shows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) acl: Option<Acl>,
    /// The user that must be able to read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) reader: Option<String>,
}

impl Manifest {
    /// Of a generation; `None` where there is none, or one that cannot be read.
    pub(super) fn read(generation: &Path) -> Option<Self> {
        read(&Records::of(generation).manifest()).ok().flatten()
    }

    /// Whether it was written by this rollout.
    pub(super) fn is_of(&self, rollout: &Rollout) -> bool {
        self.version == VERSION
            && self.rollout == rollout.id
            && self.target == rollout.target
            && self.generation == rollout.generation
            && self.revisions == rollout.revisions
    }

    /// The loose files with their places in the list.
    pub(super) fn loose(&self) -> impl Iterator<Item = (usize, &Entry)> {
        let all = self.files.iter().enumerate();
        all.filter(|(_, entry)| entry.is_loose())
    }
}

impl Entry {
    pub(super) fn is_loose(&self) -> bool {
        self.path.is_absolute()
    }

    /// A fault at its place, which is its member's own.
    pub(super) fn blame(&self, error: FsError) -> StepError {
        StepError::from(error).about(&self.certificate)
    }

    /// That its place is taken by what can hold no content.
    pub(super) fn no_file(&self) -> StepError {
        let text = format!(
            "{} is no file; move it away or name another path",
            self.path.display()
        );
        StepError::configuration(text).about(&self.certificate)
    }

    pub(super) fn attributes(&self) -> Attributes {
        Attributes {
            mode: self.mode,
            uid: self.uid,
            gid: self.gid,
            acl: self.acl.clone(),
            label: None,
        }
    }

    /// What is wrong with the attributes of what is there, if anything.
    pub(super) fn misfit(&self, stat: &Stat) -> Option<String> {
        if stat.kind != Kind::File {
            return Some("is no regular file".to_owned());
        }
        if stat.mode != self.mode {
            return Some(format!("has mode {:04o}, not {:04o}", stat.mode, self.mode));
        }
        if let Some(uid) = self.uid.filter(|uid| *uid != stat.uid) {
            return Some(format!("belongs to user {}, not {uid}", stat.uid));
        }
        if let Some(gid) = self.gid.filter(|gid| *gid != stat.gid) {
            return Some(format!("belongs to group {}, not {gid}", stat.gid));
        }
        None
    }

    /// What is wrong with the access list of what is there, if anything.
    pub(super) fn acl_misfit(&self, path: &Path) -> Option<String> {
        let there = match fs::acl_of(path) {
            Ok(there) => there,
            Err(error) => return Some(format!("has an access list that cannot be read: {error}")),
        };
        let said = |acl: &Option<Acl>| match acl {
            Some(acl) if acl.to_string().is_empty() => "an access list without names".to_owned(),
            Some(acl) => format!("the access list {acl}"),
            None => "no access list".to_owned(),
        };
        (there != self.acl).then(|| format!("has {}, not {}", said(&there), said(&self.acl)))
    }

    /// Whether this very file is at a path, by attributes and content.
    pub(super) fn is_at(&self, path: &Path) -> bool {
        let Ok(Some(stat)) = fs::stat(path) else {
            return false;
        };
        self.misfit(&stat).is_none()
            && self.acl_misfit(path).is_none()
            && digest_of(path).is_some_and(|there| there == self.sha256)
    }
}

/// What was at the places of a generation before it was committed. Written before the first change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Saved {
    /// Of this format.
    pub(super) version: u32,
    /// Where `live` pointed.
    pub(super) live: Option<PathBuf>,
    /// For each loose file of the manifest, in its order; without those that could not be saved, which stay as they are.
    pub(super) places: Vec<SavedPlace>,
}

/// What was at one place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SavedPlace {
    /// Of the loose file in the manifest's list; names the copy as well.
    pub(super) index: usize,
    /// Where.
    pub(super) path: PathBuf,
    /// What.
    pub(super) was: Was,
}

/// What was there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "was", rename_all = "kebab-case")]
pub(super) enum Was {
    /// Nothing.
    Nothing,
    /// A link, to be made again.
    Link {
        /// Where it pointed.
        target: PathBuf,
    },
    /// A file, of which there is a copy.
    File {
        /// Of its content.
        sha256: Fingerprint,
        /// Permission bits.
        mode: u32,
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
        /// Access list.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        acl: Option<Acl>,
    },
}

impl Saved {
    /// What was saved before a generation was committed; `None` if nothing was, and so nothing changed.
    pub(super) fn read(generation: &Path) -> Result<Option<Self>, StepError> {
        read(&Records::of(generation).saved())
    }

    /// Whether there is an original among the loose files.
    pub(super) fn has_original(&self) -> bool {
        let original = |place: &SavedPlace| place.was != Was::Nothing;
        self.places.iter().any(original)
    }
}

/// The members of a generation whose files stay as they are, whatever the manifest says of them.
pub(super) fn read_kept(generation: &Path) -> Result<BTreeSet<CertificateId>, StepError> {
    let kept = read(&Records::of(generation).kept())?;
    Ok(kept.unwrap_or_default())
}

/// How the files of a generation looked when they were committed, in the manifest's order. Only a shortcut: where it is
/// missing or different the content is read.
pub(super) fn read_seen(generation: &Path) -> Vec<Option<Stat>> {
    let seen = read(&Records::of(generation).seen());
    seen.ok().flatten().unwrap_or_default()
}

/// Looks at every file and remembers what it sees. Never a failure: without it the content is read.
pub(super) fn record_seen(generation: &Path, manifest: &Manifest) {
    if let Err(error) = try_record_seen(generation, manifest) {
        tracing::warn!(%error, "the look of the committed files could not be written down");
    }
}

fn try_record_seen(generation: &Path, manifest: &Manifest) -> Result<(), StepError> {
    let mut seen = Vec::with_capacity(manifest.files.len());
    for entry in &manifest.files {
        // An absolute path replaces what it is joined to.
        let path = generation.join(&entry.path);
        let stat = if entry.is_at(&path) {
            fs::stat(&path)?
        } else {
            None
        };
        seen.push(stat);
    }
    if seen != read_seen(generation) {
        write(&Records::of(generation).seen(), &seen)?;
    }
    Ok(())
}

/// Writes down how files looked that were read and found right. Never a failure: without it they are read again.
pub(super) fn remember_seen(generation: &Path, seen: &[Option<Stat>]) {
    if let Err(error) = write(&Records::of(generation).seen(), &seen) {
        tracing::warn!(%error, "the look of the committed files could not be written down");
    }
}

/// Of the generation that `live` points at.
pub(super) fn live(layout: &Layout) -> Option<Manifest> {
    let link = fs::read_link(&layout.live()).ok()??;
    let directory = layout.generation(Layout::generation_of(&link)?);
    Manifest::read(&directory)
}

/// Writes a record.
pub(super) fn write<T: Serialize>(path: &Path, record: &T) -> Result<(), StepError> {
    let text = serde_json::to_vec_pretty(record).map_err(|e| {
        let text = format!(
            "failed to write down {}: {}",
            path.display(),
            error_chain(&e)
        );
        StepError::new(ErrorClass::Bug, text)
    })?;
    Ok(fs::write_atomic(path, &text, &Attributes::PRIVATE)?)
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, StepError> {
    let Some(text) = fs::read_if_exists(path, MOST_BYTES_OF_A_RECORD)? else {
        return Ok(None);
    };
    let record = serde_json::from_slice(&text).map_err(|e| {
        StepError::configuration(format!(
            "failed to understand {}: {}",
            path.display(),
            error_chain(&e)
        ))
    })?;
    Ok(Some(record))
}

/// Of a file's content; `None` where it cannot be read.
pub(super) fn digest_of(path: &Path) -> Option<Fingerprint> {
    let bytes = Secret::new(fs::read(path, MOST_BYTES).ok()?);
    Some(sha256(bytes.expose()))
}

pub(super) fn sha256(bytes: &[u8]) -> Fingerprint {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    let mut print = [0; 32];
    print.copy_from_slice(digest.as_ref());
    Fingerprint(print)
}

/// Of the records' format.
pub(super) const VERSION: u32 = 1;
/// Of one exported file or of what was at its place; a bound against a mixed-up path.
pub(super) const MOST_BYTES: u64 = 16 << 20;
/// A target with 10 000 certificates and five files each stays below.
const MOST_BYTES_OF_A_RECORD: u64 = 64 << 20;
