//! How much room a file system has.

use std::path::{Path, PathBuf};

use rustix::fs::{stat, statvfs};

use crate::sys::fs::FsError;

/// What is free on one file system, for the user that renewd runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Room {
    /// Equal for paths on the same one.
    pub device: u64,
    /// The directory that was asked.
    pub at: PathBuf,
    /// Bytes.
    pub bytes: u64,
    /// Inodes; `None` where there is no limit.
    pub inodes: Option<u64>,
}

/// Of the file system that a path lies on, or will lie on once its directories are made.
///
/// # Errors
/// [`FsError`] when that cannot be known.
pub fn room(path: &Path) -> Result<Room, FsError> {
    let failed = |at: &Path, e: rustix::io::Errno| FsError::new("look for free space at", at, e);
    for at in path.ancestors() {
        let there = match stat(at) {
            Ok(there) => there,
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => continue,
            Err(e) => return Err(failed(at, e)),
        };
        let vfs = statvfs(at).map_err(|e| failed(at, e))?;
        // Some blocks are kept for root.
        let (blocks, inodes) = if nix::unistd::geteuid().is_root() {
            (vfs.f_bfree, vfs.f_ffree)
        } else {
            (vfs.f_bavail, vfs.f_favail)
        };
        return Ok(Room {
            device: there.st_dev,
            at: at.to_owned(),
            bytes: blocks.saturating_mul(vfs.f_frsize),
            // Btrfs and others make inodes as they need them and say 0 of all.
            inodes: (vfs.f_files > 0).then_some(inodes),
        });
    }
    Err(failed(path, rustix::io::Errno::NOENT))
}
