//! Directories and whole trees.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::fcntl::renameat;
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::sys::fs::FsError;
use crate::sys::fs::dir::Dir;
use crate::sys::fs::file::{MARK, remove_file};

/// Makes a directory and those above it where they are missing, with exactly this mode; existing ones keep theirs.
///
/// # Errors
/// [`FsError`].
pub fn create_dir_all(path: &Path, mode: u32) -> Result<(), FsError> {
    Dir::create(path, mode).map(drop)
}

/// Makes the names in a directory durable.
///
/// # Errors
/// [`FsError`].
pub fn sync_dir(path: &Path) -> Result<(), FsError> {
    Dir::open(path)?.sync()
}

/// Renames a directory to a name that is free or an empty directory, durably.
///
/// # Errors
/// [`FsError`].
pub fn rename_dir(from: &Path, to: &Path) -> Result<(), FsError> {
    let (old, old_name) = Dir::of(from)?;
    let (new, new_name) = Dir::of(to)?;
    renameat(&old, old_name, &new, new_name).map_err(|e| FsError::new("rename to", to, e))?;
    new.sync()?;
    old.sync()
}

/// Removes a directory with all that is in it; links in it are removed, never followed. Nothing there is no error.
///
/// # Errors
/// [`FsError`].
#[expect(clippy::disallowed_methods, reason = "this is where trees are removed")]
pub fn remove_tree(path: &Path) -> Result<(), FsError> {
    let dir = match Dir::of(path) {
        Ok((dir, _)) => dir,
        Err(e) if e.io().kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(e),
    };
    match std::fs::remove_dir_all(path) {
        Ok(()) => dir.sync(),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(FsError::new("remove", path, e)),
    }
}

/// Removes a directory in which nothing is, durably.
///
/// # Errors
/// [`FsError`], also where something is in it, or nothing is there.
pub fn remove_empty_dir(path: &Path) -> Result<(), FsError> {
    let (dir, name) = Dir::of(path)?;
    unlinkat(&dir, name, UnlinkatFlags::RemoveDir).map_err(|e| FsError::new("remove", path, e))?;
    dir.sync()
}

/// The names in a directory, sorted; none if there is no such directory.
///
/// # Errors
/// [`FsError`].
pub fn list(path: &Path) -> Result<Vec<OsString>, FsError> {
    let failed = |e| FsError::new("list", path, e);
    let entries = match std::fs::read_dir(path) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(failed(e)),
    };
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry.map_err(failed)?.file_name());
    }
    names.sort();
    Ok(names)
}

/// Removes temporary files that a killed process left in one of our own directories. Only under the lock.
///
/// # Errors
/// [`FsError`].
pub fn sweep(path: &Path) -> Result<(), FsError> {
    let mark = MARK.as_bytes();
    for name in list(path)? {
        let bytes = name.as_bytes();
        if bytes.starts_with(b".") && bytes.windows(mark.len()).any(|part| part == mark) {
            remove_file(&path.join(name))?;
        }
    }
    Ok(())
}
