//! Commit: what is there is saved, then the new set takes its place. And the way back.
//!
//! The order within a commit: saved.json is durable before the first change; each loose file is one rename, key first
//! and certificate last; the link is one rename, at the end. Called again after a crash at any point it goes on; called
//! when all is done it changes nothing. What somebody else put at a place since it was saved is never lost: see `arrived`.

use std::collections::BTreeSet;
use std::path::Path;

use crate::deploy::arrived::{self, Arrived};
use crate::deploy::layout::Layout;
use crate::deploy::manifest::{
    self, Entry, MOST_BYTES, Manifest, Saved, SavedPlace, VERSION, Was, digest_of, record_seen,
    sha256,
};
use crate::deploy::site::Site;
use crate::deploy::stage::Faults;
use crate::deploy::{StepError, foreign, stage};
use crate::model::{CertificateId, ErrorClass, Timestamp};
use crate::pki::Secret;
use crate::sys::crash;
use crate::sys::fs::{self, Attributes, Kind, Stat};

/// Carries the step out, or completes it.
pub(super) fn run(site: &Site<'_>, now: Timestamp) -> Result<(), StepError> {
    let manifest = site.staged()?;
    let ours = Layout::live_target(manifest.generation);
    if fs::read_link(&site.layout.live())? != Some(ours) {
        // A window, a hook or a failing disk may have kept the staged set for days. What is kept since then needs no second
        // word, but as it is now.
        let kept = manifest::read_kept(&site.generation())?;
        let mut late = foreign::spare(site, &manifest, |id| site.facts(id), now)?;
        late.retain(|certificate| !kept.contains(certificate));
        if let Some(certificate) = late.first() {
            let text = "somebody put a later certificate into its place since the set was staged";
            return Err(StepError::new(ErrorClass::Rejected, text).about(certificate));
        }
        stage::carry_over(site, &manifest, &kept)?;
    }
    let saved = match Saved::read(&site.generation())? {
        Some(saved) => {
            Arrived::look(site, &manifest, &saved, now)?.none()?;
            saved
        }
        None => save(site, &manifest)?,
    };
    let done = put_in_place(site, &manifest, &saved);
    if done.is_err() {
        // A key without its certificate must not stay where a service may be started.
        let back = restore(site, now);
        if let Err(error) = back.and_then(|back| back.failed.map_or(Ok(()), Err)) {
            tracing::error!(rollout = %site.rollout.id, %error, "a half-done commit could not be taken back");
        }
    }
    done
}

/// What came of a way back.
#[derive(Debug, Default)]
pub(super) struct Back {
    /// Something was put back, which a service that was told before has not read.
    pub(super) changed: bool,
    /// Members at whose places it failed, with the reasons. They are left with the new set, as a pair.
    pub(super) failed: Option<StepError>,
}

/// Puts link and loose files back as they were before the commit. Repeatable, and nothing if nothing was committed. A
/// place that fails keeps back its own member alone.
///
/// # Errors
/// What concerns the set as a whole, or every member of it.
pub(super) fn restore(site: &Site<'_>, now: Timestamp) -> Result<Back, StepError> {
    let generation = site.generation();
    let Some(saved) = Saved::read(&generation)? else {
        return unlink_lost(site).map(|()| Back::default());
    };
    let manifest = site.manifest();
    let arrived = match &manifest {
        Some(manifest) => Arrived::look(site, manifest, &saved, now)?,
        None => Arrived::default(),
    };
    let mut back = Back::default();
    // A link that fails does not keep the files from going back.
    let linked = match arrived.linked {
        true => Ok(false),
        false => point_back(site, saved.live.as_deref()),
    };
    back.changed |= *linked.as_ref().unwrap_or(&false);
    crash::point("rollout.restore.linked");
    let mut whole = linked.map(drop);
    let mut faults = Faults::default();
    let mut moved = BTreeSet::new();
    for place in &saved.places {
        let entry = manifest
            .as_ref()
            .and_then(|manifest| manifest.files.get(place.index));
        match entry {
            Some(entry) if arrived.has(&entry.certificate) => continue,
            Some(entry) => faults.at(entry, || {
                let done = put_back(site, place, Some(entry));
                if done.map_err(|error| error.about(&entry.certificate))? {
                    moved.insert(&entry.certificate);
                }
                Ok(())
            })?,
            None => match put_back(site, place, None) {
                Ok(changed) => back.changed |= changed,
                Err(error) => {
                    whole = match whole {
                        Ok(()) => Err(error),
                        Err(first) => Err(first.and(error)),
                    };
                }
            },
        }
        if entry.is_none_or(|entry| !faults.found.contains_key(&entry.certificate)) {
            tidy(site, &place.path);
        }
        crash::point("rollout.restore.file");
    }
    whole?;
    if let Some(manifest) = &manifest {
        stay_paired(site, manifest, &saved, &faults);
    }
    let failed: BTreeSet<CertificateId> = faults.found.keys().cloned().collect();
    back.changed |= moved.iter().any(|id| !failed.contains(*id));
    back.failed = faults.found.into_values().reduce(StepError::and);
    if let Some(number) = site.rollout.previous_generation {
        let former = site.layout.generation(number);
        if let Some(manifest) = Manifest::read(&former) {
            record_seen(&former, &manifest);
        }
    }
    let all = site.rollout.revisions.keys();
    match back.failed {
        Some(error) if all.clone().all(|id| failed.contains(id)) => Err(error),
        _ => Ok(back),
    }
}

/// Members at whose places something else is than was there before the commit, and than somebody else put there since.
pub(super) fn not_back(
    site: &Site<'_>,
    now: Timestamp,
) -> Result<BTreeSet<CertificateId>, StepError> {
    let (Some(saved), Some(manifest)) = (Saved::read(&site.generation())?, site.manifest()) else {
        return Ok(BTreeSet::new());
    };
    let arrived = Arrived::look(site, &manifest, &saved, now)?;
    let mut found = BTreeSet::new();
    for place in &saved.places {
        if let Some(entry) = manifest.files.get(place.index)
            && !arrived.has(&entry.certificate)
            && !is_back(place, Some(entry)).unwrap_or(false)
        {
            found.insert(entry.certificate.clone());
        }
    }
    Ok(found)
}

/// A key that went back while its certificate could not would make the service refuse what goes back of the others: such
/// a member keeps the new pair.
fn stay_paired(site: &Site<'_>, manifest: &Manifest, saved: &Saved, faults: &Faults) {
    for at in &saved.places {
        let Some(entry) = manifest.files.get(at.index) else {
            continue;
        };
        if faults.found.contains_key(&entry.certificate)
            && let Err(error) = place(site, entry, at)
        {
            tracing::error!(rollout = %site.rollout.id, %error, "a half-done way back could not be taken back");
        }
    }
}

/// Nothing waits beside a place any more. What was there before is there again, so a disk that has become read-only in
/// between does not make the way back fail.
fn tidy(site: &Site<'_>, path: &Path) {
    for tag in [site.old_tag(), site.new_tag()] {
        if let Err(error) = fs::discard(path, &tag) {
            tracing::warn!(rollout = %site.rollout.id, %error, "a temporary file was left behind");
        }
    }
}

/// Without saved.json nothing was changed, unless somebody removed the whole generation since.
fn unlink_lost(site: &Site<'_>) -> Result<(), StepError> {
    let ours = Layout::live_target(site.rollout.generation);
    if fs::read_link(&site.layout.live())? != Some(ours) {
        return Ok(());
    }
    let former = site.rollout.previous_generation.map(Layout::live_target);
    point_back(site, former.as_deref()).map(drop)
}

/// Answers whether it pointed elsewhere.
fn point_back(site: &Site<'_>, former: Option<&Path>) -> Result<bool, StepError> {
    let live = site.layout.live();
    let differs = fs::read_link(&live)?.as_deref() != former;
    if differs {
        match former {
            Some(target) => fs::switch_link(&live, target)?,
            None => drop(fs::remove_file(&live)?),
        }
    }
    Ok(differs)
}

fn put_in_place(site: &Site<'_>, manifest: &Manifest, saved: &Saved) -> Result<(), StepError> {
    let mut faults = Faults::default();
    for saved in &saved.places {
        let Some(entry) = manifest.files.get(saved.index) else {
            continue;
        };
        faults.at(entry, || place(site, entry, saved))?;
        crash::point("rollout.commit.file");
    }
    let lagging = site.without(faults.found)?;
    for place in &saved.places {
        let entry = manifest.files.get(place.index);
        if entry.is_some_and(|entry| lagging.contains(&entry.certificate))
            && let Err(error) = put_back(site, place, entry)
        {
            // It is what it was before but for this, and drift is looked for.
            tracing::warn!(rollout = %site.rollout.id, %error, "a half-done repair could not be taken back");
        }
    }
    let (live, target) = (site.layout.live(), Layout::live_target(manifest.generation));
    if fs::read_link(&live)?.as_deref() != Some(target.as_path()) {
        crash::point("rollout.commit.link");
        fs::switch_link(&live, &target)?;
    }
    crash::point("rollout.commit.linked");
    record_seen(&site.generation(), manifest);
    Ok(())
}

/// What is at the places of the loose files, and where the link points, before the first change.
fn save(site: &Site<'_>, manifest: &Manifest) -> Result<Saved, StepError> {
    fs::create_dir_all(&site.records().saved_copies(), 0o700)?;
    let mut places = Vec::new();
    let mut faults = Faults::default();
    let kept = manifest::read_kept(&site.generation())?;
    let ours = |(_, entry): &(usize, &Entry)| !kept.contains(&entry.certificate);
    for (index, entry) in manifest.loose().filter(ours) {
        faults.at(entry, || {
            let was = save_one(site, index, entry)?;
            places.push(SavedPlace {
                index,
                path: entry.path.clone(),
                was,
            });
            Ok(())
        })?;
        crash::point("rollout.commit.save");
    }
    let lagging = site.without(faults.found)?;
    places.retain(|place| {
        let entry = manifest.files.get(place.index);
        entry.is_some_and(|entry| !lagging.contains(&entry.certificate))
    });
    let saved = Saved {
        version: VERSION,
        live: fs::read_link(&site.layout.live())?,
        places,
    };
    manifest::write(&site.records().saved(), &saved)?;
    crash::point("rollout.commit.saved");
    Ok(saved)
}

fn save_one(site: &Site<'_>, index: usize, entry: &Entry) -> Result<Was, StepError> {
    let path = &entry.path;
    let blame = |error| entry.blame(error);
    let Some(Stat { kind, .. }) = fs::stat(path).map_err(blame)? else {
        return Ok(Was::Nothing);
    };
    match kind {
        Kind::File => {}
        Kind::Link => {
            // It was a link a moment ago; without a target it is gone.
            let target = fs::read_link(path).map_err(blame)?;
            return Ok(target.map_or(Was::Nothing, |target| Was::Link { target }));
        }
        Kind::Directory | Kind::Other => return Err(entry.no_file()),
    }
    // What it was a moment ago it need not be now; owner and mode are those of what is read.
    let read = fs::read_in_place(path, MOST_BYTES).map_err(blame)?;
    let (bytes, Stat { mode, uid, gid, .. }) = read;
    let bytes = Secret::new(bytes);
    fs::write_atomic(
        &site.records().saved_copy(index),
        bytes.expose(),
        &Attributes::PRIVATE,
    )?;
    // The very same file costs no space and comes back with all that a copy would lose, such as access lists. Where the
    // file system has no second names for files the copy serves.
    fs::keep(path, &site.old_tag()).map_err(blame)?;
    Ok(Was::File {
        sha256: sha256(bytes.expose()),
        mode,
        uid,
        gid,
        acl: fs::acl_of(path).map_err(blame)?,
    })
}

/// One loose file, if it is not there already: an unchanged one is not touched.
fn place(site: &Site<'_>, entry: &Entry, saved: &SavedPlace) -> Result<(), StepError> {
    let index = saved.index;
    let tag = site.new_tag();
    let blame = |error| entry.blame(error);
    if entry.is_at(&entry.path) {
        return fs::discard(&entry.path, &tag).map_err(blame);
    }
    arrived::keep_copy(site, index, entry, &saved.was)?;
    let waiting = fs::beside(&entry.path, &tag).is_some_and(|path| entry.is_at(&path));
    if waiting && fs::adopt(&entry.path, &tag).map_err(blame)? {
        return Ok(());
    }
    let content = stage::loose_content(site, index, entry)?;
    fs::prepare(&entry.path, &tag, content.expose(), &site.attributes(entry)).map_err(blame)?;
    fs::adopt(&entry.path, &tag).map(drop).map_err(blame)
}

/// Whether what was there before is there, or nothing of ours where nothing was.
fn is_back(place: &SavedPlace, entry: Option<&Entry>) -> Result<bool, StepError> {
    let path = &place.path;
    let there = fs::stat(path)?;
    Ok(match &place.was {
        // Whatever else has come meanwhile is not ours to remove.
        Was::Nothing => {
            there.is_none() || entry.is_none_or(|entry| digest_of(path) != Some(entry.sha256))
        }
        Was::Link { target } => {
            there.is_some_and(|stat| stat.kind == Kind::Link)
                && fs::read_link(path)?.as_ref() == Some(target)
        }
        was @ Was::File { .. } => is_file(was, path),
    })
}

/// Whether this is the file that was there, content and rights.
fn is_file(was: &Was, path: &Path) -> bool {
    let Was::File {
        sha256: digest,
        mode,
        uid,
        gid,
        acl,
    } = was
    else {
        return false;
    };
    let stat = fs::stat(path).ok().flatten();
    let fits = |stat: Stat| {
        stat.kind == Kind::File && (stat.mode, stat.uid, stat.gid) == (*mode, *uid, *gid)
    };
    stat.is_some_and(fits)
        && fs::acl_of(path).is_ok_and(|there| there == *acl)
        && digest_of(path) == Some(*digest)
}

/// Answers whether something else was there.
fn put_back(site: &Site<'_>, place: &SavedPlace, entry: Option<&Entry>) -> Result<bool, StepError> {
    if is_back(place, entry)? {
        return Ok(false);
    }
    let path = &place.path;
    if let (Some(entry), Was::Link { .. } | Was::File { .. }) = (entry, &place.was) {
        arrived::keep_copy(site, place.index, entry, &place.was)?;
    }
    match &place.was {
        Was::Nothing => drop(fs::remove_file(path)?),
        Was::Link { target } => fs::switch_link(path, target)?,
        Was::File {
            sha256: digest,
            mode,
            uid,
            gid,
            acl,
        } => {
            let kept = fs::beside(path, &site.old_tag());
            if kept.is_some_and(|kept| is_file(&place.was, &kept))
                && fs::adopt(path, &site.old_tag())?
            {
                return Ok(true);
            }
            let copy = site.records().saved_copy(place.index);
            let bytes = Secret::new(fs::read(&copy, MOST_BYTES)?);
            if sha256(bytes.expose()) != *digest {
                let text = format!(
                    "{} was changed since it was saved; the former {} is lost",
                    copy.display(),
                    path.display()
                );
                return Err(StepError::configuration(text));
            }
            let attributes = Attributes {
                mode: *mode,
                uid: Some(*uid),
                gid: Some(*gid),
                acl: acl.clone(),
                label: site.selinux.as_ref().and_then(|_| fs::label_of(path)),
            };
            fs::prepare(path, &site.old_tag(), bytes.expose(), &attributes)?;
            fs::adopt(path, &site.old_tag())?;
        }
    }
    Ok(true)
}
