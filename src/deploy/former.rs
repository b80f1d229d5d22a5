//! The generation before a rollout: what it has of members that stay is taken over, where nothing has to be made anew.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::deploy::StepError;
use crate::deploy::layout::Records;
use crate::deploy::manifest::{Entry, MOST_BYTES, Manifest, sha256};
use crate::deploy::site::Site;
use crate::deploy::stage::Writer;
use crate::model::{
    CertificateFacts, CertificateId, ExportSpec, Fingerprint, RevisionId, TargetPolicy,
};
use crate::pki::bundle::{self, BundleFile};
use crate::pki::{self, Material, PkiError, Secret};
use crate::sys::fs;

/// Where the files of a member come from.
pub(super) enum Source {
    /// Its revision, from which they are made.
    Revision(Material),
    /// The generation before, which has them all: its private key stays where it is.
    Former(Made),
}

impl Source {
    /// What the leaf says of itself.
    pub(super) fn facts(&self) -> Result<CertificateFacts, PkiError> {
        match self {
            Self::Revision(material) => material.facts(),
            Self::Former(made) => Ok(made.facts.clone()),
        }
    }
}

/// The files of a member as they were made before, by export, each with the digest of what they were made from.
pub(super) struct Made {
    facts: CertificateFacts,
    pub(super) exports: BTreeMap<String, (Fingerprint, Vec<BundleFile>)>,
}

/// The generation before, as a source of files that need not be made again: a PFX draws random salts, so that a new
/// one of the same certificate would differ for nothing.
pub(super) struct Former {
    directory: PathBuf,
    manifest: Manifest,
}

impl Former {
    pub(super) fn open(directory: PathBuf) -> Option<Self> {
        let manifest = Manifest::read(&directory)?;
        Some(Self {
            directory,
            manifest,
        })
    }

    /// Puts the files of a member into the next generation as they are, whatever became of them: nothing better can be made.
    /// What the policy wants beside them has to wait for another revision.
    pub(super) fn hand_on(
        &self,
        writer: &mut Writer<'_>,
        target: &TargetPolicy,
        certificate: &CertificateId,
    ) -> Result<(), StepError> {
        let wanted = |entry: &Entry| {
            target
                .exports
                .iter()
                .any(|export| export.name == entry.export)
        };
        for (index, entry) in self.manifest.files.iter().enumerate() {
            if entry.certificate != *certificate || !wanted(entry) {
                continue;
            }
            let Ok(bytes) = fs::read(&self.copy(index, entry), MOST_BYTES) else {
                continue;
            };
            let file = BundleFile {
                path: entry.path.clone(),
                bytes: Secret::new(bytes),
                holds_key: entry.holds_key,
            };
            writer.add(&file, entry.clone())?;
        }
        Ok(())
    }

    /// What a member that stays was made of, and its files, if nothing of them has to be made anew. A keystore is told to be the
    /// same by key and password, so with one of those there is no answer.
    pub(super) fn made(
        &self,
        site: &Site<'_>,
        target: &TargetPolicy,
        certificate: &CertificateId,
        revision: &RevisionId,
    ) -> Option<Made> {
        let mut chain = site.materials.load_public(certificate, revision).ok()?;
        if chain.is_empty() {
            return None;
        }
        let leaf = chain.remove(0);
        let facts = pki::facts(&leaf).ok()?;
        if facts.fingerprint.short() != revision.as_str() {
            return None;
        }
        let chain = pki::chain::sort(&leaf, chain);
        let mut exports = BTreeMap::new();
        for export in &target.exports {
            let input = bundle::open_digest(facts.spki, &leaf, &chain, &export.kind, certificate)?;
            let files = self.files(export, certificate, input)?;
            exports.insert(export.name.clone(), (input, files));
        }
        Some(Made { facts, exports })
    }

    /// Where the generation has what it put at a place.
    fn copy(&self, index: usize, entry: &Entry) -> PathBuf {
        if entry.is_loose() {
            Records::of(&self.directory).loose_copy(index)
        } else {
            self.directory.join(&entry.path)
        }
    }

    /// The files of one export, if they were made from the same and are still what they were.
    pub(super) fn files(
        &self,
        export: &ExportSpec,
        certificate: &CertificateId,
        input: Fingerprint,
    ) -> Option<Vec<BundleFile>> {
        let mut files = Vec::new();
        for (index, entry) in self.manifest.files.iter().enumerate() {
            if entry.export != export.name || entry.certificate != *certificate {
                continue;
            }
            let bytes = Secret::new(fs::read(&self.copy(index, entry), MOST_BYTES).ok()?);
            if entry.input != input || sha256(bytes.expose()) != entry.sha256 {
                return None;
            }
            let below = entry.path.strip_prefix(certificate.as_str());
            let path = below.unwrap_or(&entry.path).to_owned();
            files.push(BundleFile {
                path,
                bytes,
                holds_key: entry.holds_key,
            });
        }
        (!files.is_empty()).then_some(files)
    }
}
