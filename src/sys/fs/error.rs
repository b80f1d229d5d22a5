//! What went wrong with a file, and what helps.

use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use crate::model::ErrorClass;

/// A file operation that failed. The text names operation, path and, where there is one, the remedy; the system's
/// own words are the source.
#[derive(Debug, thiserror::Error)]
#[error("failed to {operation} {}{}", path.display(), remedy(source))]
pub struct FsError {
    operation: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl FsError {
    pub(crate) fn new(operation: &'static str, path: &Path, source: impl Into<io::Error>) -> Self {
        Self {
            operation,
            path: path.to_owned(),
            source: source.into(),
        }
    }

    /// Whether waiting may help: a full disk passes, a read-only one does not.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        match errno(&self.source) {
            Some(
                Errno::ENOSPC
                | Errno::EDQUOT
                | Errno::EIO
                | Errno::EMFILE
                | Errno::ENFILE
                | Errno::ENOMEM
                | Errno::EINTR
                | Errno::EAGAIN
                | Errno::EBUSY
                | Errno::ESTALE,
            ) => ErrorClass::Transient,
            _ => ErrorClass::Configuration,
        }
    }

    /// The path it was about.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The system's answer.
    #[must_use]
    pub fn io(&self) -> &io::Error {
        &self.source
    }
}

/// The refusal to follow a link out of a directory in which others can write.
pub(super) fn unsafe_link(link: &Path) -> io::Error {
    io::Error::other(format!(
        "{} is a symbolic link in a directory where others can write",
        link.display()
    ))
}

fn errno(error: &io::Error) -> Option<Errno> {
    error.raw_os_error().map(Errno::from_raw)
}

fn remedy(error: &io::Error) -> &'static str {
    match errno(error) {
        Some(Errno::ENOSPC) => "; free space (or inodes) on its file system",
        Some(Errno::EDQUOT) => "; raise the quota of its owner",
        Some(Errno::EROFS) => {
            "; its file system is read-only: remount it, or allow the path in the service's `ReadWritePaths=`"
        }
        Some(Errno::EACCES) => "; give the user that renewd runs as access to it",
        Some(Errno::EPERM) => {
            "; changing owners needs root (or CAP_CHOWN), and an immutable file refuses everybody"
        }
        Some(Errno::EOPNOTSUPP) => {
            "; its file system keeps no POSIX access lists: mount it with them, or leave `acl` out and let `owner`, `group` and `key_mode` do"
        }
        Some(Errno::EIO) => "; look at the kernel log: the disk below it may be failing",
        Some(Errno::EMFILE | Errno::ENFILE) => "; raise the limit of open files",
        _ => "",
    }
}
