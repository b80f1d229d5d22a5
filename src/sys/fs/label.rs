//! The SELinux context of a file (security.selinux in xattr(7)).

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fs::{XattrFlags, fsetxattr, lgetxattr};

/// As it is stored; `None` for a file without one, and where there is no file.
#[must_use]
pub fn label_of(path: &Path) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(LONGEST);
    lgetxattr(path, NAME, rustix::buffer::spare_capacity(&mut bytes)).ok()?;
    Some(bytes)
}

pub(super) fn set(file: &File, label: &[u8]) -> io::Result<()> {
    // In its own words: the remedy for other attributes does not help here.
    fsetxattr(file, NAME, label, XattrFlags::empty())
        .map_err(|e| io::Error::other(io::Error::from(e).to_string()))
}

const NAME: &str = "security.selinux";
/// Far longer than any context.
const LONGEST: usize = 4096;
