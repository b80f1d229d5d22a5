//! What the steps of one rollout have in common.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::deploy::keystores::Keystores;
use crate::deploy::layout::{Layout, Records, new_tag, old_tag};
use crate::deploy::manifest::{Entry, Manifest};
use crate::deploy::selinux::Selinux;
use crate::deploy::service::is_alarming;
use crate::deploy::{Materials, SecretResolver, StepError};
use crate::model::{
    CertificateFacts, CertificateId, ErrorClass, ExportSpec, Rollout, SubjectAltNames,
};
use crate::pki::PkiError;
use crate::sys::fs::Attributes;

/// One rollout and the places it is about.
pub(super) struct Site<'a> {
    pub(super) rollout: &'a Rollout,
    pub(super) layout: Layout,
    pub(super) materials: &'a Materials,
    pub(super) resolve: &'a SecretResolver,
    /// Of the target, by the policy.
    pub(super) exports: &'a [ExportSpec],
    /// Where SELinux is on.
    pub(super) selinux: Option<Selinux>,
    /// What a service is asked for, by the policy; of a certificate that is not here, all its names.
    pub(super) names: &'a BTreeMap<CertificateId, SubjectAltNames>,
}

impl Site<'_> {
    /// To open keystores at the target's places.
    pub(super) fn keystores(&self) -> Keystores<'_> {
        Keystores {
            layout: &self.layout,
            resolve: self.resolve,
            exports: self.exports,
        }
    }

    /// The directory of the rollout's generation.
    pub(super) fn generation(&self) -> PathBuf {
        self.layout.generation(self.rollout.generation)
    }

    /// Our records in it.
    pub(super) fn records(&self) -> Records {
        Records::of(&self.generation())
    }

    /// The manifest of the rollout's generation, if this rollout wrote it.
    pub(super) fn manifest(&self) -> Option<Manifest> {
        Manifest::read(&self.generation()).filter(|manifest| manifest.is_of(self.rollout))
    }

    /// The same where it must be there.
    pub(super) fn staged(&self) -> Result<Manifest, StepError> {
        self.manifest().ok_or_else(|| {
            let text = format!(
                "the files of rollout {} are gone from {}",
                self.rollout.id,
                self.generation().display()
            );
            StepError::new(ErrorClass::Configuration, text)
        })
    }

    /// What the revision of a member says, if that is whole in the store.
    pub(super) fn facts(
        &self,
        certificate: &CertificateId,
    ) -> Option<Result<CertificateFacts, PkiError>> {
        let revision = self.rollout.revisions.get(certificate)?;
        let material = self.materials.load_revision(certificate, revision).ok()?;
        Some(material.facts())
    }

    /// Members whose files a program complains about. Remarks do not count: nginx warns of certificates that it accepts.
    pub(super) fn mentioned(&self, output: &str) -> BTreeSet<CertificateId> {
        let complaints: Vec<&str> = output.lines().filter(|line| is_alarming(line)).collect();
        if complaints.is_empty() {
            return BTreeSet::new();
        }
        let files = self.manifest().map(|manifest| manifest.files);
        let files = files.into_iter().flatten();
        files
            .filter(|entry| {
                // An absolute path replaces what it is joined to.
                [self.layout.live(), self.generation()]
                    .iter()
                    .map(|below| below.join(&entry.path).display().to_string())
                    .any(|path| complaints.iter().any(|line| has_path(line, &path)))
            })
            .map(|entry| entry.certificate)
            .collect()
    }

    /// Whether the rollout may go on without these, whose own places fail: it brings them nothing newer, and it is about
    /// others as well.
    pub(super) fn may_lag(&self, named: &BTreeSet<CertificateId>) -> bool {
        let reasons = &self.rollout.reasons;
        !named.is_empty()
            && named.iter().all(|id| self.rollout.repeats(id))
            && reasons.keys().any(|id| !named.contains(id))
    }

    /// What faults at the places of single members mean: an error about those that were to get something newer, else the
    /// members that stay as they are. A disk that fails for one must not hold back the others.
    pub(super) fn without(
        &self,
        faults: BTreeMap<CertificateId, StepError>,
    ) -> Result<BTreeSet<CertificateId>, StepError> {
        let failed: BTreeSet<CertificateId> = faults.keys().cloned().collect();
        if failed.is_empty() {
            return Ok(failed);
        }
        if self.may_lag(&failed) {
            for (certificate, error) in &faults {
                tracing::warn!(
                    target = %self.rollout.target, %certificate, %error,
                    "left as it is, so that the others go on"
                );
            }
            return Ok(failed);
        }
        let newer = failed.iter().any(|id| !self.rollout.repeats(id));
        let grave = faults.into_iter();
        let grave = grave.filter(|(id, _)| !newer || !self.rollout.repeats(id));
        let error = grave.map(|(_, error)| error).reduce(StepError::and);
        error.map_or(Ok(failed), Err)
    }

    /// With what a loose file is written.
    pub(super) fn attributes(&self, entry: &Entry) -> Attributes {
        match &self.selinux {
            Some(host) => host.at(entry),
            None => entry.attributes(),
        }
    }

    /// Of upcoming loose files.
    pub(super) fn new_tag(&self) -> String {
        new_tag(self.rollout.generation)
    }

    /// Of former loose files.
    pub(super) fn old_tag(&self) -> String {
        old_tag(self.rollout.generation)
    }
}

/// Whether a line has this very path, and not only one that begins or ends like it.
fn has_path(line: &str, path: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '/');
    line.match_indices(path).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let mut after = line[at + path.len()..].chars();
        let goes_on = match after.next() {
            // The end of a sentence, or of another file's name.
            Some('.') => after.next().is_some_and(part),
            Some(c) => part(c),
            None => false,
        };
        !before.is_some_and(part) && !goes_on
    })
}

#[cfg(test)]
mod tests {
    use super::has_path;

    #[test]
    fn a_path_is_found_as_a_whole() {
        let path = "/etc/ssl/www.pem";
        for line in [
            "nginx: [emerg] cannot load certificate \"/etc/ssl/www.pem\": no",
            "AH02572: Failed to configure /etc/ssl/www.pem",
            "error in /etc/ssl/www.pem.",
        ] {
            assert!(has_path(line, path), "{line}");
        }
        for line in [
            "error in /etc/ssl/www.pem.key",
            "error in /srv/etc/ssl/www.pem",
            "error in /etc/ssl/www.pem2",
        ] {
            assert!(!has_path(line, path), "{line}");
        }
    }
}
