//! Whether a target is still as it was committed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::deploy::Materials;
use crate::deploy::foreign::{self, Ours};
use crate::deploy::keystores::{Keystores, Opened};
use crate::deploy::layout::Layout;
use crate::deploy::manifest::{self, Entry, MOST_BYTES, Manifest, digest_of, read_seen};
use crate::model::{
    CertificateId, Difference, Drift, DriftKind, Fingerprint, RevisionId, SubjectAltNames,
    Timestamp,
};
use crate::pki::{Secret, facts};
use crate::sys::fs::{self, Kind, Stat};

/// What a look needs to know beside the files.
pub(super) struct Look<'a> {
    pub(super) layout: &'a Layout,
    pub(super) materials: &'a Materials,
    /// By the policy.
    pub(super) names: &'a BTreeMap<CertificateId, SubjectAltNames>,
    pub(super) keystores: Keystores<'a>,
    pub(super) now: Timestamp,
    /// Hears of each file that was answered for.
    pub(super) beat: &'a dyn Fn(),
}

impl Look<'_> {
    /// Every difference. Content is read only where the file system says that a file was touched since it was last
    /// known to be right; with `remember` that moment moves, so that a mere touch costs one reading.
    pub(super) fn at(&self, generation: u64, remember: bool) -> Option<Drift> {
        let directory = self.layout.generation(generation);
        let mut differences = Vec::new();
        let link = link(self.layout, generation);
        // What is served is below the link, wherever it points.
        let below = if link.is_some() {
            self.layout.live()
        } else {
            directory.clone()
        };
        differences.extend(link.map(|detail| Difference {
            kind: DriftKind::LinkChanged,
            certificate: None,
            detail,
            issued_at: None,
        }));
        let link_differs = !differences.is_empty();
        match Manifest::read(&directory) {
            Some(manifest) => {
                let sealed = |entry: &Entry, path: &Path| self.is_sealed(entry, path);
                let touched = files(&directory, &manifest, &sealed, &mut differences, self.beat);
                self.name_newer(&manifest, &below, link_differs, &mut differences);
                if let (true, true, Some(seen)) = (remember, differences.is_empty(), touched) {
                    manifest::remember_seen(&directory, &seen);
                }
            }
            None => differences.push(Difference {
                kind: DriftKind::FileUnreadable,
                certificate: None,
                detail: format!(
                    "{} cannot be read or is not what renewd wrote",
                    directory.display()
                ),
                issued_at: None,
            }),
        }
        (!differences.is_empty()).then_some(Drift {
            differences,
            generation: Some(generation),
        })
    }

    fn is_sealed(&self, entry: &Entry, path: &Path) -> bool {
        let bytes = fs::read(path, MOST_BYTES).ok().map(Secret::new);
        let opened = bytes.map(|bytes| self.keystores.open(entry, bytes.expose()));
        matches!(opened, Some(Opened::Sealed))
    }

    /// What was edited turns out to be a newer certificate of somebody else.
    fn name_newer(
        &self,
        manifest: &Manifest,
        below: &Path,
        link_differs: bool,
        differences: &mut Vec<Difference>,
    ) {
        let changed = |kind| matches!(kind, DriftKind::FileEdited | DriftKind::LinkChanged);
        let edited: BTreeSet<&CertificateId> = differences
            .iter()
            .filter(|found| changed(found.kind))
            .filter_map(|found| found.certificate.as_ref())
            .collect();
        let suspects: Vec<(CertificateId, RevisionId)> = manifest
            .revisions
            .iter()
            .filter(|(id, _)| link_differs || edited.contains(id))
            .map(|(id, revision)| (id.clone(), revision.clone()))
            .collect();
        for (certificate, revision) in suspects {
            let Some((issued_at, detail)) = self.newer(manifest, below, &certificate, &revision)
            else {
                continue;
            };
            differences.retain(|found| {
                found.certificate.as_ref() != Some(&certificate) || !changed(found.kind)
            });
            differences.push(Difference {
                kind: DriftKind::NewerElsewhere,
                certificate: Some(certificate),
                detail,
                issued_at: Some(issued_at),
            });
        }
    }

    fn newer(
        &self,
        manifest: &Manifest,
        below: &Path,
        certificate: &CertificateId,
        revision: &RevisionId,
    ) -> Option<(Timestamp, String)> {
        let public = self.materials.load_public(certificate, revision).ok()?;
        let ours = facts(public.first()?).ok()?;
        let exports: BTreeSet<&str> = manifest
            .files
            .iter()
            .filter(|entry| entry.certificate == *certificate)
            .map(|entry| entry.export.as_str())
            .collect();
        let found = exports.into_iter().find_map(|export| {
            let entries = foreign::of_export(&manifest.files, certificate, export);
            let compared = Ours {
                facts: &ours,
                names: self.names.get(certificate),
            };
            // An absolute path replaces what it is joined to.
            let at = |entry: &Entry| below.join(&entry.path);
            foreign::newer(entries, at, compared, self.keystores, self.now)
        })?;
        Some((found.facts.not_before, found.describe(&ours)))
    }
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
    let directory = layout.generation(manifest.generation);
    let mut differences = Vec::new();
    files(
        &directory,
        &manifest,
        &|_, _| false,
        &mut differences,
        &|| {},
    );
    manifest.policy == policy
        && manifest.revisions == *revisions
        && link(layout, manifest.generation).is_none()
        && differences.is_empty()
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

/// Adds what differs; answers how the files look now, where a touched one had to be read.
fn files(
    directory: &Path,
    manifest: &Manifest,
    is_sealed: &dyn Fn(&Entry, &Path) -> bool,
    differences: &mut Vec<Difference>,
    beat: &dyn Fn(),
) -> Option<Vec<Option<Stat>>> {
    let mut seen = read_seen(directory);
    seen.resize(manifest.files.len(), None);
    let mut touched = false;
    for (entry, seen) in manifest.files.iter().zip(&mut seen) {
        beat();
        let path = directory.join(&entry.path);
        let mut differs = |kind, detail, issued_at| {
            differences.push(Difference {
                kind,
                certificate: Some(entry.certificate.clone()),
                detail,
                issued_at,
            });
        };
        let stat = match fs::stat(&path) {
            Ok(Some(stat)) => stat,
            Ok(None) => {
                differs(
                    DriftKind::FileMissing,
                    format!("{} is missing", path.display()),
                    None,
                );
                continue;
            }
            Err(error) => {
                differs(DriftKind::FileUnreadable, error.to_string(), None);
                continue;
            }
        };
        if *seen == Some(stat) {
            continue;
        }
        for (kind, detail) in file(&path, entry, *seen, &stat) {
            if kind == DriftKind::FileEdited && is_sealed(entry, &path) {
                let written = Timestamp(stat.modified.div_euclid(1_000_000_000));
                differs(kind, foreign::sealed(&path), Some(written));
            } else {
                differs(kind, detail, None);
            }
        }
        touched = true;
        // As it was before it was read: what happens while it is read shows at the next look.
        *seen = Some(stat);
    }
    touched.then_some(seen)
}

/// What is wrong with a file that was touched.
fn file(path: &Path, entry: &Entry, seen: Option<Stat>, stat: &Stat) -> Vec<(DriftKind, String)> {
    let at = path.display();
    let mut wrong = Vec::new();
    if let Some(problem) = entry.misfit(stat) {
        let kind = match stat.kind {
            Kind::File if exposes(entry, stat) => DriftKind::KeyExposed,
            Kind::File => DriftKind::AttributesChanged,
            Kind::Link => DriftKind::LinkChanged,
            Kind::Directory | Kind::Other => DriftKind::FileEdited,
        };
        wrong.push((kind, format!("{at} {problem}")));
    } else if let Some(problem) = entry.acl_misfit(path) {
        // Whom a list lets in that the policy does not know is not told by the mode.
        let let_in = fs::acl_of(path).is_ok_and(|there| there.is_some());
        let kind = if entry.holds_key && let_in {
            DriftKind::KeyExposed
        } else {
            DriftKind::AttributesChanged
        };
        wrong.push((kind, format!("{at} {problem}")));
    } else if let Some(seen) = seen
        && (seen.uid, seen.gid) != (stat.uid, stat.gid)
    {
        // Without an owner in the policy the one at the commit is the right one.
        let kind = if entry.holds_key && (seen.uid != stat.uid || stat.mode & 0o040 != 0) {
            DriftKind::KeyExposed
        } else {
            DriftKind::AttributesChanged
        };
        let problem = format!(
            "{at} belongs to {}:{}, not {}:{}",
            stat.uid, stat.gid, seen.uid, seen.gid
        );
        wrong.push((kind, problem));
    }
    if stat.kind == Kind::File {
        match digest_of(path) {
            Some(digest) if digest == entry.sha256 => {}
            Some(_) => wrong.push((
                DriftKind::FileEdited,
                format!("the content of {at} was changed"),
            )),
            None => wrong.push((DriftKind::FileUnreadable, format!("{at} cannot be read"))),
        }
    }
    wrong
}

/// Whether a key can be read by more than the policy lets: by other users, another group, or another owner.
fn exposes(entry: &Entry, stat: &Stat) -> bool {
    let readable = stat.mode & !entry.mode & 0o044 != 0;
    let owner = entry.uid.is_some_and(|uid| uid != stat.uid);
    let group = entry.gid.is_some_and(|gid| gid != stat.gid) && stat.mode & 0o040 != 0;
    entry.holds_key && (readable || owner || group)
}
