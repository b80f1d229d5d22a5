//! Files by shell patterns, and what a path leads to: for files of others, whose links are followed.

use std::path::{Path, PathBuf};

use glob::{MatchOptions, glob_with};
use nix::errno::Errno;

use crate::sys::fs::{FsError, Stat};

/// Whether a path is a pattern.
#[must_use]
pub fn is_pattern(path: &str) -> bool {
    path.contains(['*', '?', '['])
}

/// The files that a pattern matches, in order, and whether there are more than `most`. Directories are left out, and so is
/// what begins with a dot unless the pattern says so.
///
/// # Errors
/// In words, where the pattern or a directory cannot be read.
pub fn matching(pattern: &str, most: usize) -> Result<(Vec<PathBuf>, bool), String> {
    let options = MatchOptions {
        case_sensitive: true,
        require_literal_separator: true,
        require_literal_leading_dot: true,
    };
    let mut found = Vec::new();
    for path in glob_with(pattern, options).map_err(|error| error.to_string())? {
        let path =
            path.map_err(|error| format!("{}: {}", error.path().display(), error.error()))?;
        if path.is_dir() {
            continue;
        }
        if found.len() == most {
            return Ok((found, true));
        }
        found.push(path);
    }
    Ok((found, false))
}

/// What a path leads to, through links; `None` if that is nothing.
///
/// # Errors
/// [`FsError`].
pub fn stat_followed(path: &Path) -> Result<Option<Stat>, FsError> {
    match nix::sys::stat::stat(path) {
        Ok(stat) => Ok(Some(stat.into())),
        Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
        Err(error) => Err(FsError::new("look at", path, error)),
    }
}
