//! Errors that no file system here gives, for tests; nothing at all in a build without `failpoints`.
//!
//! The point `fs.write=return(EDQUOT /etc/tls/.www.key)` makes the next write to a path with this text in it fail as the
//! kernel would, and `HANG` in the place of an error makes it not come back before the file at the path is removed. There are `fs.create`, `fs.write`, `fs.sync`, `fs.rename` and `fs.read`.

use std::io;
use std::path::Path;

/// Whether an operation on a path shall fail.
#[cfg(feature = "failpoints")]
pub(super) fn at(point: &str, path: &Path) -> io::Result<()> {
    fail::fail_point!(point, |given| told(given.as_deref(), path));
    Ok(())
}

/// Whether an operation on a path shall fail.
#[cfg(not(feature = "failpoints"))]
#[inline]
pub(super) const fn at(_point: &str, _path: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(feature = "failpoints")]
fn told(given: Option<&str>, path: &Path) -> io::Result<()> {
    use nix::errno::Errno;
    let Some((word, part)) = given.and_then(|given| given.split_once(' ')) else {
        return Ok(());
    };
    if !path.display().to_string().contains(part) {
        return Ok(());
    }
    if word == "HANG" {
        while path.symlink_metadata().is_ok() {
            std::thread::park_timeout(std::time::Duration::from_millis(20));
        }
        return Ok(());
    }
    Err(match word {
        "EDQUOT" => Errno::EDQUOT,
        "ENOSPC" => Errno::ENOSPC,
        "EROFS" => Errno::EROFS,
        "EACCES" => Errno::EACCES,
        _ => Errno::EIO,
    }
    .into())
}
