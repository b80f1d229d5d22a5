//! Where things lie below the state directory: pure path arithmetic.

use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};

use crate::model::{CertificateId, Fingerprint, TargetId};

/// The places of one target.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    state_dir: PathBuf,
    target: PathBuf,
    id: TargetId,
}

impl Layout {
    pub(super) fn new(state_dir: &Path, target: &TargetId) -> Self {
        Self {
            state_dir: state_dir.to_owned(),
            target: state_dir.join("targets").join(target.as_str()),
            id: target.clone(),
        }
    }

    /// The link that services are pointed at.
    pub(super) fn live(&self) -> PathBuf {
        self.target.join("live")
    }

    /// What `live` says for a generation: relative, so that the state directory can be moved.
    pub(super) fn live_target(generation: u64) -> PathBuf {
        Path::new(GENERATIONS).join(generation.to_string())
    }

    /// The generation that a link of ours points at.
    pub(super) fn generation_of(link: &Path) -> Option<u64> {
        let number = link.strip_prefix(GENERATIONS).ok()?;
        number.to_str()?.parse().ok()
    }

    pub(super) fn generations(&self) -> PathBuf {
        self.target.join(GENERATIONS)
    }

    pub(super) fn generation(&self, generation: u64) -> PathBuf {
        self.generations().join(generation.to_string())
    }

    /// Where a generation is written before it gets its name; no generation has a name that begins with a dot.
    pub(super) fn staging(&self, generation: u64) -> PathBuf {
        self.generations().join(format!(".staging-{generation}"))
    }

    /// The password of one keystore.
    pub(super) fn password(&self, export: &str, certificate: &CertificateId) -> PathBuf {
        self.state_dir
            .join("secrets")
            .join(self.id.as_str())
            .join(export)
            .join(certificate.as_str())
    }
}

/// Our own records within a generation; no certificate has a name that begins with a dot.
#[derive(Debug, Clone)]
pub(super) struct Records(PathBuf);

impl Records {
    /// Of the generation in this directory.
    pub(super) fn of(generation: &Path) -> Self {
        Self(generation.join(".renewd"))
    }

    pub(super) fn directory(&self) -> &Path {
        &self.0
    }

    /// What the generation consists of.
    pub(super) fn manifest(&self) -> PathBuf {
        self.0.join("manifest.json")
    }

    /// Members whose files stay as they are.
    pub(super) fn kept(&self) -> PathBuf {
        self.0.join("kept.json")
    }

    /// How its files looked when they were committed.
    pub(super) fn seen(&self) -> PathBuf {
        self.0.join("seen.json")
    }

    /// What was there before it was committed.
    pub(super) fn saved(&self) -> PathBuf {
        self.0.join("saved.json")
    }

    /// That a reload was begun while somebody ran who could be told.
    pub(super) fn told(&self) -> PathBuf {
        self.0.join("told")
    }

    /// That something goes back, or went back, after the service was told for the last time.
    pub(super) fn untold(&self) -> PathBuf {
        self.0.join("untold")
    }

    /// Copies of what was there before.
    pub(super) fn saved_copies(&self) -> PathBuf {
        self.0.join("saved")
    }

    pub(super) fn saved_copy(&self, index: usize) -> PathBuf {
        self.saved_copies().join(index.to_string())
    }

    /// Copies of what somebody put at loose places after they were saved.
    pub(super) fn found_copies(&self) -> PathBuf {
        self.0.join("found")
    }

    /// One of them, by its place in the manifest and its content.
    pub(super) fn found_copy(&self, index: usize, digest: Fingerprint) -> PathBuf {
        self.found_copies().join(format!("{index}-{digest}"))
    }

    /// Copies of the loose files of this generation.
    pub(super) fn loose_copies(&self) -> PathBuf {
        self.0.join("loose")
    }

    pub(super) fn loose_copy(&self, index: usize) -> PathBuf {
        self.loose_copies().join(index.to_string())
    }
}

/// A path of an export, told apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// Below the generation.
    Within(PathBuf),
    /// Anywhere else.
    Loose(PathBuf),
}

impl Place {
    /// Where a file of an export goes. `None` for a path that would leave the generation, or names no file.
    pub(super) fn of(certificate: &CertificateId, path: &Path) -> Option<Self> {
        path.file_name()?;
        let plain = |part: Component<'_>| matches!(part, Component::Normal(_));
        if path.is_absolute() {
            let loose = path.components().skip(1).all(plain);
            return loose.then(|| Self::Loose(path.to_owned()));
        }
        if !path.components().all(plain) {
            return None;
        }
        Some(Self::Within(Path::new(certificate.as_str()).join(path)))
    }
}

/// Under which an upcoming loose file waits beside its place.
pub(super) fn new_tag(generation: u64) -> String {
    format!("new-{generation}")
}

/// Under which the former loose file waits beside its place.
pub(super) fn old_tag(generation: u64) -> String {
    format!("old-{generation}")
}

/// The number of a directory below `generations/`.
pub(super) fn generation_number(name: &OsStr) -> Option<u64> {
    name.to_str()?.parse().ok()
}

const GENERATIONS: &str = "generations";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stays_in_its_generation_or_is_absolute() {
        let www = CertificateId::new("www").unwrap();
        let place = |path: &str| Place::of(&www, Path::new(path));
        assert_eq!(
            place("tls/key.pem"),
            Some(Place::Within("www/tls/key.pem".into()))
        );
        assert_eq!(
            place("/etc/ssl/www.key"),
            Some(Place::Loose("/etc/ssl/www.key".into()))
        );
        for bad in [
            "../key.pem",
            "a/../../key.pem",
            "/etc/../key.pem",
            "",
            "/",
            "..",
        ] {
            assert_eq!(place(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_link_tells_its_generation() {
        let of = |path: &str| Layout::generation_of(Path::new(path));
        assert_eq!(of("generations/12"), Some(12));
        assert_eq!(Layout::live_target(12), Path::new("generations/12"));
        assert_eq!(of("generations/x"), None);
        assert_eq!(of("/elsewhere"), None);
    }
}
