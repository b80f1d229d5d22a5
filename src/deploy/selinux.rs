//! SELinux, where it is on: what replaces a file keeps that file's context, which the administrator may have chosen; what
//! is new gets the one that the host's policy has for its path, by `restorecon`.
//!
//! A context that is wrong shows in the service's own test and in the probe; so a `restorecon` that fails is told, and
//! undoes nothing.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::deploy::manifest::{Entry, Saved, Was};
use crate::deploy::site::Site;
use crate::sys::fs::{self, Attributes};
use crate::sys::process::{Invocation, Runner};

/// A host on which SELinux is on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Selinux {
    restorecon: Option<PathBuf>,
}

impl Selinux {
    /// Of the host below this directory, `/` but in tests; `None` where it is off.
    pub(super) fn of(root: &Path) -> Option<Self> {
        let there = |path: &str| {
            let path = root.join(path);
            fs::stat(&path).ok().flatten().map(|_| path)
        };
        // Mounted only where the kernel has a policy.
        there("sys/fs/selinux/enforce")?;
        Some(Self {
            restorecon: there("usr/sbin/restorecon").or_else(|| there("sbin/restorecon")),
        })
    }

    /// The attributes of a file that is about to take a place, with the context of what is there.
    pub(super) fn at(&self, entry: &Entry) -> Attributes {
        Attributes {
            label: fs::label_of(&entry.path),
            ..entry.attributes()
        }
    }
}

/// What a commit put where nothing was: the generation, and loose files that are new.
pub(super) fn new_places(site: &Site<'_>) -> Vec<PathBuf> {
    let generation = site.generation();
    let saved = Saved::read(&generation).ok().flatten();
    let places = saved.into_iter().flat_map(|saved| saved.places);
    let new = places.filter(|place| place.was == Was::Nothing);
    let new = new.map(|place| place.path);
    std::iter::once(generation).chain(new).collect()
}

/// Gives new places their contexts; answers what there is to say about it.
pub(super) async fn restore(host: &Selinux, runner: &dyn Runner, places: &[PathBuf]) -> String {
    let Some(restorecon) = &host.restorecon else {
        let text = "SELinux is on and there is no restorecon (package policycoreutils); contexts are as they came";
        tracing::warn!("{text}");
        return text.to_owned();
    };
    let mut argv = vec![restorecon.display().to_string(), "-R".to_owned()];
    argv.extend(places.iter().map(|path| path.display().to_string()));
    let outcome = runner
        .run(&Invocation {
            argv,
            env: Vec::new(),
            directory: None,
            user: None,
            timeout: PATIENCE,
            leaves_daemon: false,
        })
        .await;
    if outcome.success() {
        return outcome.output;
    }
    let text = format!(
        "restorecon did not succeed ({:?}), so the service may be kept from its files: {}",
        outcome.end, outcome.output
    );
    tracing::warn!("{text}");
    text
}

const PATIENCE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_on_where_the_kernel_says_so_and_its_program_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let file = |path: &str| {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap(), 0o755).unwrap();
            fs::write_atomic(&path, b"1", &Attributes::PRIVATE).unwrap();
        };
        assert_eq!(Selinux::of(dir.path()), None);
        file("usr/sbin/restorecon");
        assert_eq!(
            Selinux::of(dir.path()),
            None,
            "a program alone says nothing"
        );
        file("sys/fs/selinux/enforce");
        let on = Selinux::of(dir.path()).unwrap();
        assert_eq!(on.restorecon, Some(dir.path().join("usr/sbin/restorecon")));
        fs::remove_file(&dir.path().join("usr/sbin/restorecon")).unwrap();
        assert_eq!(Selinux::of(dir.path()).unwrap().restorecon, None);
    }
}
