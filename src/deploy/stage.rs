//! Stage: the whole generation on disk beside the live one, and loose files under temporary names beside their places.
//!
//! Everything that can fail for want of space, rights or sense fails here, while nothing has changed for anybody.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::deploy::former::{Former, Source};
use crate::deploy::layout::{Layout, Place, Records};
use crate::deploy::manifest::{self, Entry, MOST_BYTES, Manifest, VERSION, sha256, write};
use crate::deploy::prove::Trust;
use crate::deploy::site::Site;
use crate::deploy::{StepError, foreign, password, preflight, prove, readers};
use crate::model::{
    AclReader, CertificateId, ErrorClass, ExportSpec, Probe, Reason, RevisionId, TargetPolicy,
    Timestamp,
};
use crate::pki::bundle::{self, BundleFile};
use crate::pki::{Material, Secret};
use crate::sys::crash;
use crate::sys::error_chain as causes;
use crate::sys::fs::{self, Acl, Attributes, Kind, Named};

/// Carries the step out. What was staged already stays as it is.
pub(super) fn run(
    site: &Site<'_>,
    target: &TargetPolicy,
    now: Timestamp,
) -> Result<Manifest, StepError> {
    let attempt = || {
        let former = site.rollout.previous_generation;
        let former = former.and_then(|number| Former::open(site.layout.generation(number)));
        let former = former.as_ref();
        let (sources, damaged) = members(site, target, former, now)?;
        let staged = site.manifest();
        let begun = staged.is_some();
        let mut manifest = match staged {
            Some(manifest) => manifest,
            None => write_generation(site, target, former, &sources, &damaged)?,
        };
        let ours = |id: &CertificateId| sources.get(id).map(Source::facts);
        let spared = foreign::spare(site, &manifest, ours, now)?;
        let kept: BTreeSet<CertificateId> = damaged.union(&spared).cloned().collect();
        // An earlier attempt may have carried over what nobody spares any more.
        if begun && !is_whole(site, &manifest, &kept) {
            manifest = write_generation(site, target, former, &sources, &damaged)?;
        }
        carry_over(site, &manifest, &spared)?;
        if kept != manifest::read_kept(&site.generation())? {
            write(&site.records().kept(), &kept)?;
        }
        let mut faults = Faults::default();
        let ours = |(_, entry): &(usize, &Entry)| !kept.contains(&entry.certificate);
        for (index, entry) in manifest.loose().filter(ours) {
            faults.at(entry, || put_beside(site, index, entry))?;
            crash::point("rollout.stage.beside");
        }
        site.without(faults.found)?;
        match readers::of_staged(site, &manifest) {
            Err(error) if site.may_lag(&error.named) => {
                tracing::warn!(target = %site.rollout.target, %error, "left as it is");
            }
            other => other?,
        }
        Ok(manifest)
    };
    attempt().inspect_err(|_| clean_up(site))
}

/// Where what is to be put into place of each member comes from, after its checks, and the members of which nothing is written.
/// Of members that stay, the generation before is asked first: a rollout of one certificate is about all of its target, and the
/// private keys of the others are nothing to it.
///
/// # Errors
/// What is wrong with any that is to go in; all of them, so that every bad one is set aside at once.
pub(super) fn members<'a>(
    site: &Site<'a>,
    target: &TargetPolicy,
    former: Option<&Former>,
    now: Timestamp,
) -> Result<Members<'a>, StepError> {
    let trust = match &target.probe {
        Probe::Tls { roots, .. } => roots.as_ref().map(Trust::of).transpose()?,
        Probe::None => None,
    };
    let mut sources = BTreeMap::new();
    let mut kept = BTreeSet::new();
    let mut refused: Option<StepError> = None;
    for (certificate, revision) in &site.rollout.revisions {
        if site.rollout.repeats(certificate)
            && let Some(made) =
                former.and_then(|former| former.made(site, target, certificate, revision))
        {
            sources.insert(certificate, Source::Former(made));
            continue;
        }
        match member(site, target, trust.as_ref(), certificate, revision, now) {
            Ok(material) => drop(sources.insert(certificate, Source::Revision(material))),
            // What is there already stays, whatever is wrong with its source: it must not hold back the others.
            Err(error) if site.rollout.repeats(certificate) => {
                tracing::warn!(
                    target = %site.rollout.target, %certificate, %error,
                    "its files stay as they are"
                );
                kept.insert(certificate.clone());
            }
            Err(error) => {
                let error = error.about(certificate);
                refused = Some(match refused {
                    Some(first) => first.and(error),
                    None => error,
                });
            }
        }
    }
    if let Some(error) = refused {
        return Err(error);
    }
    Ok((sources, kept))
}

type Members<'a> = (BTreeMap<&'a CertificateId, Source>, BTreeSet<CertificateId>);

/// What is to be put into place of one member, after its checks.
fn member(
    site: &Site<'_>,
    target: &TargetPolicy,
    trust: Option<&Trust>,
    certificate: &CertificateId,
    revision: &RevisionId,
    now: Timestamp,
) -> Result<Material, StepError> {
    let material = preflight::load(site.materials, certificate, revision)?;
    if site.rollout.repeats(certificate) {
        // It is served already, and may have ended since.
        return Ok(material);
    }
    preflight::check(&material, certificate, revision, now)?;
    // What a person asked for goes in, were it for other names.
    let reason = site.rollout.reasons.get(certificate);
    if !matches!(reason, Some(Reason::RollbackAsked)) {
        prove::fits(site, certificate, &material.leaf)?;
    }
    if let Some(trust) = trust {
        let chain = prove::presentable(target, &material.chain);
        preflight::path(certificate, &material.leaf, chain, trust, now)?;
    }
    Ok(material)
}

/// Faults at the places of single members, the first of each.
#[derive(Default)]
pub(super) struct Faults {
    pub(super) found: BTreeMap<CertificateId, StepError>,
}

impl Faults {
    /// Does the work at one place, unless the same member failed already. What is no fault of the place ends it all.
    pub(super) fn at(
        &mut self,
        entry: &Entry,
        work: impl FnOnce() -> Result<(), StepError>,
    ) -> Result<(), StepError> {
        if self.found.contains_key(&entry.certificate) {
            return Ok(());
        }
        match work() {
            Err(error) if error.named.contains(&entry.certificate) => {
                self.found.insert(entry.certificate.clone(), error);
                Ok(())
            }
            other => other,
        }
    }
}

/// The content of a loose file as it was staged.
pub(super) fn loose_content(
    site: &Site<'_>,
    index: usize,
    entry: &Entry,
) -> Result<Secret, StepError> {
    let copy = site.records().loose_copy(index);
    let bytes = Secret::new(fs::read(&copy, MOST_BYTES)?);
    if sha256(bytes.expose()) != entry.sha256 {
        let text = format!("{} was changed since it was written", copy.display());
        return Err(StepError::configuration(text));
    }
    Ok(bytes)
}

fn write_generation(
    site: &Site<'_>,
    target: &TargetPolicy,
    former: Option<&Former>,
    sources: &BTreeMap<&CertificateId, Source>,
    kept: &BTreeSet<CertificateId>,
) -> Result<Manifest, StepError> {
    let (layout, number) = (&site.layout, site.rollout.generation);
    let link = fs::read_link(&layout.live())?;
    if link == Some(Layout::live_target(number)) {
        // Never write where a service reads.
        let text = format!("generation {number} is live and is not this rollout's");
        return Err(StepError::new(ErrorClass::Bug, text));
    }
    fs::create_dir_all(&layout.generations(), PASSABLE)?;
    let staging = layout.staging(number);
    fs::remove_tree(&staging)?;
    fs::remove_tree(&site.generation())?;
    let records = Records::of(&staging);
    fs::create_dir_all(&staging, PASSABLE)?;
    fs::create_dir_all(records.directory(), PRIVATE)?;
    fs::create_dir_all(&records.loose_copies(), PRIVATE)?;

    let mut writer = Writer {
        staging: &staging,
        records: &records,
        files: Vec::new(),
        directories: BTreeSet::new(),
        taken: BTreeMap::new(),
    };
    for (certificate, source) in sources {
        for export in &target.exports {
            one_export(site, &mut writer, former, export, certificate, source)?;
        }
    }
    for certificate in kept {
        if let Some(former) = former {
            former.hand_on(&mut writer, target, certificate)?;
        }
    }
    for directory in &writer.directories {
        fs::sync_dir(directory)?;
    }
    let manifest = Manifest {
        version: VERSION,
        rollout: site.rollout.id.clone(),
        target: site.rollout.target.clone(),
        generation: number,
        policy: site.rollout.policy,
        revisions: site.rollout.revisions.clone(),
        files: writer.files,
    };
    write(&records.manifest(), &manifest)?;
    crash::point("rollout.stage.written");
    fs::rename_dir(&staging, &site.generation())?;
    crash::point("rollout.stage.renamed");
    Ok(manifest)
}

fn one_export(
    site: &Site<'_>,
    writer: &mut Writer<'_>,
    former: Option<&Former>,
    export: &ExportSpec,
    certificate: &CertificateId,
    source: &Source,
) -> Result<(), StepError> {
    let refused = |problem: String| {
        let text = format!(
            "export {} of certificate {certificate}: {problem}",
            export.name
        );
        StepError::configuration(text).about(certificate)
    };
    let rendered;
    let (input, files) = match source {
        Source::Former(made) => match made.exports.get(&export.name) {
            Some((input, files)) => (*input, files),
            // Another export of the same name.
            None => return Err(refused("it was not made before".to_owned())),
        },
        Source::Revision(material) => {
            let password = password::of(&site.layout, site.resolve, export, certificate)?;
            let password = password.as_ref();
            let input = bundle::input_digest(material, &export.kind, certificate, password);
            let unchanged = former.and_then(|former| former.files(export, certificate, input));
            rendered = match unchanged {
                Some(files) => files,
                None => bundle::render(material, &export.kind, certificate, password)
                    .map_err(|error| refused(causes(&error)))?,
            };
            (input, &rendered)
        }
    };
    let id = |name: &Option<String>, find: fn(&str) -> Result<u32, String>| {
        name.as_deref().map(find).transpose().map_err(&refused)
    };
    let (uid, gid) = (
        id(&export.attributes.owner, fs::user_id)?,
        id(&export.attributes.group, fs::group_id)?,
    );
    let also = export.attributes.acl.iter().map(|reader| match reader {
        AclReader::User(name) => fs::user_id(name).map(Named::User),
        AclReader::Group(name) => fs::group_id(name).map(Named::Group),
    });
    let also: Vec<Named> = also.collect::<Result<_, _>>().map_err(&refused)?;
    for file in files {
        let mode = if file.holds_key {
            export.attributes.key_mode
        } else {
            export.attributes.mode
        };
        let acl = (!also.is_empty()).then(|| Acl::readable(mode, &also));
        let place = Place::of(certificate, &file.path)
            .ok_or_else(|| refused(format!("{} is no usable path", file.path.display())))?;
        let path = match place {
            Place::Within(path) | Place::Loose(path) => path,
        };
        writer.add(
            file,
            Entry {
                certificate: certificate.clone(),
                export: export.name.clone(),
                path,
                sha256: sha256(file.bytes.expose()),
                input,
                holds_key: file.holds_key,
                mode: acl.as_ref().map_or(mode, Acl::mode),
                uid,
                gid,
                acl,
                reader: export.attributes.reader.clone(),
            },
        )?;
        crash::point("rollout.stage.file");
    }
    Ok(())
}

/// Writes the files of a generation and lists them.
pub(super) struct Writer<'a> {
    staging: &'a Path,
    records: &'a Records,
    files: Vec<Entry>,
    directories: BTreeSet<PathBuf>,
    taken: BTreeMap<PathBuf, String>,
}

impl Writer<'_> {
    pub(super) fn add(&mut self, file: &BundleFile, entry: Entry) -> Result<(), StepError> {
        let by = format!(
            "export {} of certificate {}",
            entry.export, entry.certificate
        );
        if let Some(other) = self.taken.insert(entry.path.clone(), by.clone()) {
            let text = format!("{} is claimed by {other} and by {by}", entry.path.display());
            return Err(StepError::configuration(text));
        }
        let (path, attributes) = if entry.is_loose() {
            (
                self.records.loose_copy(self.files.len()),
                Attributes::PRIVATE,
            )
        } else {
            (self.staging.join(&entry.path), entry.attributes())
        };
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory, PASSABLE)?;
            self.directories.insert(directory.to_owned());
        }
        fs::create_new(&path, file.bytes.expose(), &attributes)?;
        self.files.push(entry);
        Ok(())
    }
}

/// Whether what is within the generation is as it was written, but for members that are kept.
fn is_whole(site: &Site<'_>, manifest: &Manifest, kept: &BTreeSet<CertificateId>) -> bool {
    let mut within = manifest.files.iter().filter(|entry| !entry.is_loose());
    within.all(|entry| {
        kept.contains(&entry.certificate) || entry.is_at(&site.generation().join(&entry.path))
    })
}

/// What somebody else put into the live generation goes into this one too, in the place of ours. Where the link points
/// nowhere, or elsewhere, it is the generation before that is looked into.
pub(super) fn carry_over(
    site: &Site<'_>,
    manifest: &Manifest,
    spared: &BTreeSet<CertificateId>,
) -> Result<(), StepError> {
    let live = site.layout.live();
    let below = match site.rollout.previous_generation {
        Some(former) if fs::read_link(&live)? != Some(Layout::live_target(former)) => {
            site.layout.generation(former)
        }
        Some(_) | None => live,
    };
    let within = manifest.files.iter().filter(|entry| !entry.is_loose());
    for entry in within.filter(|entry| spared.contains(&entry.certificate)) {
        let Some(theirs) = fs::read_if_exists(&below.join(&entry.path), MOST_BYTES)? else {
            continue;
        };
        let theirs = Secret::new(theirs);
        let path = site.generation().join(&entry.path);
        fs::write_atomic(&path, theirs.expose(), &entry.attributes())?;
    }
    Ok(())
}

/// The upcoming content of a loose file, beside its place. What fails there is blamed on the member, what fails in the
/// state directory is not.
fn put_beside(site: &Site<'_>, index: usize, entry: &Entry) -> Result<(), StepError> {
    let tag = site.new_tag();
    if let Some(directory) = entry.path.parent() {
        fs::create_dir_all(directory, PASSABLE).map_err(|error| entry.blame(error))?;
    }
    let stat = fs::stat(&entry.path).map_err(|error| entry.blame(error))?;
    match stat.map(|stat| stat.kind) {
        None | Some(Kind::File | Kind::Link) => {}
        Some(Kind::Directory | Kind::Other) => return Err(entry.no_file()),
    }
    let waiting = fs::beside(&entry.path, &tag);
    if entry.is_at(&entry.path) || waiting.is_some_and(|path| entry.is_at(&path)) {
        return Ok(());
    }
    let content = loose_content(site, index, entry)?;
    fs::prepare(&entry.path, &tag, content.expose(), &site.attributes(entry))
        .map_err(|error| entry.blame(error))
}

/// After a failure nothing stays behind that takes space or holds a key; the next attempt begins anew.
fn clean_up(site: &Site<'_>) {
    let _ = fs::remove_tree(&site.layout.staging(site.rollout.generation));
    for (_, entry) in site.manifest().iter().flat_map(Manifest::loose) {
        let _ = fs::discard(&entry.path, &site.new_tag());
    }
}

/// Others may pass to the files that are theirs, and see no names.
const PASSABLE: u32 = 0o711;
const PRIVATE: u32 = 0o700;
