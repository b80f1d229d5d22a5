//! Errors that no file system here gives, for tests; nothing at all in a build without `failpoints`.
//!
//! The point `fs.write=return(EDQUOT /etc/tls/.www.key)` makes the next write to a path with this text in it fail as the
//! kernel would, and `HANG` in the place of an error makes it never come back. There are `fs.create`, `fs.write`, `fs.sync`, `fs.rename` and `fs.read`.

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
        loop {
            std::thread::park();
        }
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
