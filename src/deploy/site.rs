//! What the steps of one rollout have in common.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::deploy::layout::{Layout, Records, new_tag, old_tag};
use crate::deploy::manifest::Manifest;
use crate::deploy::{Materials, SecretResolver, StepError};
use crate::model::{CertificateId, ErrorClass, Rollout, SubjectAltNames};

/// One rollout and the places it is about.
pub(super) struct Site<'a> {
    pub(super) rollout: &'a Rollout,
    pub(super) layout: Layout,
    pub(super) materials: &'a Materials,
    pub(super) resolve: &'a SecretResolver,
    /// What a service is asked for, by the policy; of a certificate that is not here, all its names.
    pub(super) names: &'a BTreeMap<CertificateId, SubjectAltNames>,
}

impl Site<'_> {
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

    /// Of upcoming loose files.
    pub(super) fn new_tag(&self) -> String {
        new_tag(self.rollout.generation)
    }

    /// Of former loose files.
    pub(super) fn old_tag(&self) -> String {
        old_tag(self.rollout.generation)
    }
}
