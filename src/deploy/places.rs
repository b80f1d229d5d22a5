//! What a service reads, by the policy: the places of certificates and keys, whoever wrote what is there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::deploy::StepError;
use crate::deploy::layout::Layout;
use crate::deploy::manifest::MOST_BYTES;
use crate::model::{CertificateId, ExportKind, ExportLayout, PemFiles, Policy, TargetPolicy};
use crate::pki::{PrivateKey, Secret, facts, pem};
use crate::sys::error_chain as causes;
use crate::sys::fs;

/// A certificate and its key as a service reads them; one path where both are in one file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Pair {
    certificate: PathBuf,
    key: PathBuf,
}

/// The directories outside of the state directory that a target's files are written to, for each certificate that uses
/// it; empty where all of its files lie in the state directory.
#[must_use]
pub fn loose_directories(
    policy: &Policy,
    target: &TargetPolicy,
) -> BTreeMap<CertificateId, BTreeSet<PathBuf>> {
    let files: Vec<PathBuf> = target
        .exports
        .iter()
        .flat_map(|export| export.kind.files())
        .filter(|file| file.is_absolute())
        .collect();
    // Most targets have none, and there may be many certificates.
    if files.is_empty() {
        return BTreeMap::new();
    }
    let of = |id| {
        let named = files.iter().map(|file| named(file, id));
        named
            .filter_map(|file| file.parent().map(Path::to_owned))
            .collect()
    };
    let certificates = policy.certificates.values();
    certificates
        .filter(|certificate| certificate.targets.contains(&target.id))
        .map(|certificate| (certificate.id.clone(), of(&certificate.id)))
        .collect()
}

/// That each certificate in PEM that the target has at its places goes with the key beside it. What is not there is left
/// to the service's own test.
pub(super) fn check_pairs<'a>(
    layout: &Layout,
    target: &TargetPolicy,
    certificates: impl Iterator<Item = &'a CertificateId>,
) -> Result<(), StepError> {
    for certificate in certificates {
        for export in &target.exports {
            for pair in pairs(layout, &export.kind, certificate) {
                pair.check().map_err(|problem| {
                    StepError::configuration(format!(
                        "{} and {} cannot be served: {problem}",
                        pair.certificate.display(),
                        pair.key.display()
                    ))
                })?;
            }
        }
    }
    Ok(())
}

/// The files with key and certificate in one, in the order of certificates.
pub(super) fn combined<'a>(
    layout: &Layout,
    target: &TargetPolicy,
    certificates: impl Iterator<Item = &'a CertificateId>,
) -> Vec<PathBuf> {
    let exports = &target.exports;
    certificates
        .flat_map(|certificate| {
            let files = exports.iter().filter_map(|export| match &export.kind {
                ExportKind::Pem(files) => files.combined.as_deref(),
                ExportKind::Pfx { .. }
                | ExportKind::Jks { .. }
                | ExportKind::Trust { .. }
                | ExportKind::Layout { .. } => None,
            });
            files.map(|path| place(layout, certificate, path))
        })
        .collect()
}

impl Pair {
    fn check(&self) -> Result<(), String> {
        let read = |path: &Path| {
            let bytes = fs::read_if_exists(path, MOST_BYTES).map_err(|error| causes(&error))?;
            Ok::<_, String>(bytes.map(Secret::new))
        };
        let (Some(certificate), Some(key)) = (read(&self.certificate)?, read(&self.key)?) else {
            return Ok(());
        };
        let text = certificate
            .expose_str()
            .ok_or("the certificate is no text")?;
        let leaf = pem::certificates(text)
            .map_err(|error| causes(&error))?
            .into_iter()
            .next()
            .ok_or("there is no certificate")?;
        let leaf = facts(&leaf).map_err(|error| causes(&error))?;
        let key = PrivateKey::from_pem(key.expose()).map_err(|error| causes(&error))?;
        if leaf.spki == key.spki() {
            Ok(())
        } else {
            Err("the key is not the certificate's".to_owned())
        }
    }
}

fn pairs(layout: &Layout, kind: &ExportKind, certificate: &CertificateId) -> Vec<Pair> {
    let at = |path: &Path| place(layout, certificate, path);
    match kind {
        ExportKind::Pem(PemFiles {
            certificate,
            chain: _,
            fullchain,
            key,
            combined,
        }) => {
            let leaves = [certificate, fullchain];
            let split = leaves.into_iter().flatten().flat_map(|leaf| {
                key.iter().map(move |key| Pair {
                    certificate: at(leaf),
                    key: at(key),
                })
            });
            let both = combined.iter().map(|both| Pair {
                certificate: at(both),
                key: at(both),
            });
            split.chain(both).collect()
        }
        ExportKind::Layout {
            layout, directory, ..
        } => {
            let (leaf, key) = match layout {
                ExportLayout::Nginx | ExportLayout::Apache => ("server.crt", "server.key"),
                ExportLayout::Other => ("cert.pem", "key.pem"),
                ExportLayout::Tomcat | ExportLayout::Iis => return Vec::new(),
            };
            vec![Pair {
                certificate: at(&directory.join(leaf)),
                key: at(&directory.join(key)),
            }]
        }
        ExportKind::Pfx { .. } | ExportKind::Jks { .. } | ExportKind::Trust { .. } => Vec::new(),
    }
}

/// Where a file of an export is found once it is committed, as a service is pointed at it.
fn place(layout: &Layout, certificate: &CertificateId, path: &Path) -> PathBuf {
    let path = named(path, certificate);
    // An absolute path replaces what it is joined to.
    layout.live().join(certificate.as_str()).join(path)
}

fn named(path: &Path, certificate: &CertificateId) -> PathBuf {
    match path.to_str() {
        Some(text) => PathBuf::from(text.replace("{certificate}", certificate.as_str())),
        None => path.to_owned(),
    }
}
