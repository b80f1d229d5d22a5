//! Files below a web root: made with their directories, and taken away again with those that were made for them.
//!
//! Links below the root are not followed: the web server's users may write there. A directory that is made gets a note
//! that it is ours, before it has its name; one that has the note and nothing else in the end goes away again.

use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};

use crate::model::{DomainProof, ErrorClass};
use crate::sys::fs::{self, Attributes, FsError, Kind};
use crate::validation::ValidationError;

/// Where and with which rights.
#[derive(Debug, Clone)]
pub(super) struct Root {
    pub(super) path: PathBuf,
    pub(super) owner: Option<String>,
    pub(super) group: Option<String>,
    pub(super) mode: u32,
}

impl Root {
    /// Writes the file of a proof; no change where it is there.
    pub(super) fn publish(&self, proof: &DomainProof) -> Result<(), ValidationError> {
        let path = self.file(proof)?;
        let what = format!("writing the file {}", path.display());
        self.write(&path, proof).map_err(|error| {
            let error = error.of(&what);
            if fs::is_read_only(&self.path) {
                let message = format!(
                    "{}; where renewd is a service, install what `renewd systemd dropin` prints, then restart it",
                    error.message
                );
                return ValidationError::configuration(message);
            }
            error
        })
    }

    /// Removes the file of a proof and directories that were made for it. What has other content is somebody else's.
    pub(super) fn retract(&self, proof: &DomainProof) -> Result<(), ValidationError> {
        let path = self.file(proof)?;
        let what = format!("removing the file {}", path.display());
        self.remove(&path, proof).map_err(|error| error.of(&what))
    }

    fn write(&self, path: &Path, proof: &DomainProof) -> Result<(), ValidationError> {
        match fs::stat(&self.path)? {
            Some(_) if self.path.is_dir() => {}
            _ => {
                return Err(ValidationError::configuration(format!(
                    "the web root {} is no directory; correct `path`",
                    self.path.display()
                )));
            }
        }
        self.no_links(path)?;
        for directory in self.between(path) {
            make(&directory)?;
        }
        let wrong = |why: String| ValidationError::configuration(why);
        let uid = self.owner.as_deref().map(fs::user_id).transpose();
        let gid = self.group.as_deref().map(fs::group_id).transpose();
        let attributes = Attributes {
            mode: self.mode,
            uid: uid.map_err(wrong)?,
            gid: gid.map_err(wrong)?,
            acl: None,
            label: None,
        };
        Ok(fs::write_atomic(path, proof.value.as_bytes(), &attributes)?)
    }

    fn remove(&self, path: &Path, proof: &DomainProof) -> Result<(), ValidationError> {
        self.no_links(path)?;
        let there = fs::read_in_place(path, LARGEST);
        match there {
            Ok((content, _)) if content == proof.value.as_bytes() => {
                fs::remove_file(path)?;
            }
            Ok(_) => return Ok(()),
            Err(error) if is_absent(&error) => {}
            Err(error) => return Err(error.into()),
        }
        let mut directories = self.between(path);
        while let Some(directory) = directories.pop() {
            let names = fs::list(&directory)?;
            if names.iter().any(|name| name != NOTE) {
                break;
            }
            let note = directory.join(NOTE);
            if names.is_empty() || fs::stat(&note)?.is_none() {
                break;
            }
            fs::remove_file(&note)?;
            if let Err(error) = fs::remove_empty_dir(&directory) {
                // Somebody put something into it just now: it is theirs from here on.
                tracing::debug!(%error, "a directory below a web root stays");
                break;
            }
        }
        Ok(())
    }

    /// What a CA asked for as a path below the root: it comes from outside.
    fn file(&self, proof: &DomainProof) -> Result<PathBuf, ValidationError> {
        let place = proof.place.trim_start_matches('/');
        let good = |part: Component<'_>| match part {
            Component::Normal(name) => {
                let name = name.to_string_lossy();
                name != NOTE && !name.ends_with(NEW) && name.chars().all(is_plain)
            }
            Component::RootDir
            | Component::CurDir
            | Component::ParentDir
            | Component::Prefix(_) => false,
        };
        let relative = Path::new(place);
        if place.is_empty() || place.ends_with('/') || !relative.components().all(good) {
            return Err(ValidationError::new(
                ErrorClass::Rejected,
                format!(
                    "{:?} is no path that is written below a web root",
                    proof.place
                ),
            ));
        }
        Ok(self.path.join(relative))
    }

    /// The directories between the root and a file, outermost first.
    fn between(&self, path: &Path) -> Vec<PathBuf> {
        let mut all: Vec<PathBuf> = path
            .ancestors()
            .skip(1)
            .take_while(|directory| *directory != self.path)
            .map(Path::to_owned)
            .collect();
        all.reverse();
        all
    }

    fn no_links(&self, path: &Path) -> Result<(), ValidationError> {
        for place in self
            .between(path)
            .iter()
            .map(PathBuf::as_path)
            .chain([path])
        {
            if fs::stat(place)?.is_some_and(|stat| stat.kind == Kind::Link) {
                return Err(ValidationError::configuration(format!(
                    "{} is a symbolic link, and links below a web root are not followed; set `path` to the directory that it leads to",
                    place.display()
                )));
            }
        }
        Ok(())
    }
}

/// Makes a directory that everybody may read, with the note that it is ours; one that is there stays as it is.
fn make(directory: &Path) -> Result<(), FsError> {
    if fs::stat(directory)?.is_some() {
        return Ok(());
    }
    let mut name = directory.file_name().unwrap_or(OsStr::new("")).to_owned();
    name.push(NEW);
    let new = directory.with_file_name(name);
    fs::create_dir_all(&new, READABLE)?;
    let note = Attributes {
        mode: 0o644,
        ..Attributes::PRIVATE
    };
    fs::write_atomic(&new.join(NOTE), NOTE_TEXT, &note)?;
    fs::rename_dir(&new, directory)
}

fn is_absent(error: &FsError) -> bool {
    error.io().kind() == std::io::ErrorKind::NotFound
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '~')
}

/// In a directory that renewd made.
const NOTE: &str = ".made-by-renewd";
const NOTE_TEXT: &[u8] =
    b"renewd made this directory to prove a domain, and removes it when nothing else is in it.\n";
/// Ends the name of a directory that has no note yet.
const NEW: &str = ".renewd-new";
/// A web server looks through it as another user.
const READABLE: u32 = 0o755;
/// Bytes of a proof.
const LARGEST: u64 = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::DomainMethod;

    const PLACE: &str = "/.well-known/pki-validation/a.txt";

    fn proof(place: &str, value: &str) -> DomainProof {
        DomainProof {
            domain: "www.example.com".to_owned(),
            method: DomainMethod::File,
            place: place.to_owned(),
            record_type: String::new(),
            value: value.to_owned(),
        }
    }

    fn root(path: &Path) -> Root {
        Root {
            path: path.to_owned(),
            owner: None,
            group: None,
            mode: 0o644,
        }
    }

    #[test]
    fn a_file_comes_with_its_directories_and_goes_with_them() {
        let dir = tempfile::tempdir().unwrap();
        let root = root(dir.path());
        let file = dir.path().join(".well-known/pki-validation/a.txt");
        root.publish(&proof(PLACE, "one")).unwrap();
        root.publish(&proof(PLACE, "one")).unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "one");
        assert_eq!(fs::stat(&file).unwrap().unwrap().mode, 0o644);
        let parent = fs::stat(file.parent().unwrap()).unwrap().unwrap();
        assert_eq!(parent.mode, 0o755);
        root.retract(&proof(PLACE, "one")).unwrap();
        assert_eq!(fs::list(dir.path()).unwrap(), Vec::<&str>::new());
        root.retract(&proof(PLACE, "one")).unwrap();
    }

    #[test]
    fn a_directory_that_others_use_stays() {
        let dir = tempfile::tempdir().unwrap();
        let root = root(dir.path());
        let inner = dir.path().join(".well-known");
        std::fs::create_dir(&inner).unwrap();
        root.publish(&proof(PLACE, "one")).unwrap();
        root.publish(&proof("/.well-known/pki-validation/b.txt", "two"))
            .unwrap();
        root.retract(&proof(PLACE, "one")).unwrap();
        assert!(inner.join("pki-validation/b.txt").exists());
        root.retract(&proof("/.well-known/pki-validation/b.txt", "two"))
            .unwrap();
        // That one was there before.
        assert!(inner.exists() && !inner.join("pki-validation").exists());
    }

    #[test]
    fn another_one_s_file_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let root = root(dir.path());
        root.publish(&proof(PLACE, "one")).unwrap();
        root.retract(&proof(PLACE, "another")).unwrap();
        assert!(dir.path().join(".well-known/pki-validation/a.txt").exists());
    }

    #[test]
    fn nothing_outside_of_the_root_is_touched() {
        let dir = tempfile::tempdir().unwrap();
        let (inside, outside) = (dir.path().join("www"), dir.path().join("other"));
        std::fs::create_dir(&inside).unwrap();
        std::fs::create_dir(&outside).unwrap();
        let root = root(&inside);
        for place in [
            "",
            "/",
            "/../other/a",
            "/a/../../other/a",
            "/./..",
            "/a b",
            "/a/",
            "/.made-by-renewd",
        ] {
            let error = root.publish(&proof(place, "x")).unwrap_err();
            assert_eq!(error.class, ErrorClass::Rejected, "{place}: {error}");
        }
        fs::switch_link(&inside.join(".well-known"), &outside).unwrap();
        let error = root.publish(&proof(PLACE, "x")).unwrap_err();
        assert!(error.message.contains("is a symbolic link"), "{error}");
        assert_eq!(error.class, ErrorClass::Configuration);
        assert_eq!(fs::list(&outside).unwrap(), Vec::<&str>::new());
    }
}
