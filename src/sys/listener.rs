//! A listening UNIX socket with an owner and a mode from its first moment, one per path, gone when dropped.

use std::ffi::OsString;
use std::io;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use nix::fcntl::{AT_FDCWD, renameat};
use nix::sys::stat::{FchmodatFlags, Mode, fchmodat};
use nix::unistd::{Gid, chown};

use crate::sys::fs::{self, FsError, Lock, LockError};

/// Holds a lock beside it, so that one that a killed process left is told from one that is in use.
#[derive(Debug)]
pub struct Socket {
    path: PathBuf,
    /// The kernel hands out connections here.
    pub listener: tokio::net::UnixListener,
    _lock: Lock,
}

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Another process listens there.
    #[error("{0}")]
    Taken(LockError),
    /// A file beside it, or what was there before.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// The socket itself.
    #[error("failed to listen on {}: {error}", path.display())]
    Listen {
        /// Where.
        path: PathBuf,
        /// What the kernel said.
        error: io::Error,
    },
}

impl Socket {
    /// Listens at `path`, for the user of this process and for the members of `group`.
    ///
    /// # Errors
    /// When another process listens there, or the place cannot be written.
    pub fn bind(path: &Path, group: Option<u32>) -> Result<Self, SocketError> {
        let lock = Lock::try_acquire(&with(path, ".lock"), "renewd run").map_err(|e| match e {
            LockError::Busy { .. } => SocketError::Taken(e),
            LockError::Fs(error) => SocketError::Fs(error),
        })?;
        let new = with(path, ".new");
        fs::remove_file(&new)?;
        let failed = |error: io::Error| SocketError::Listen {
            path: path.to_owned(),
            error,
        };
        let listener = UnixListener::bind(&new).map_err(failed)?;
        let made = Self::open_to(&new, group)
            .and_then(|()| renameat(AT_FDCWD, &new, AT_FDCWD, path).map_err(io::Error::from))
            .and_then(|()| listener.set_nonblocking(true))
            .and_then(|()| tokio::net::UnixListener::from_std(listener));
        match made {
            Ok(listener) => Ok(Self {
                path: path.to_owned(),
                listener,
                _lock: lock,
            }),
            Err(error) => {
                let _ = fs::remove_file(&new);
                Err(failed(error))
            }
        }
    }

    fn open_to(path: &Path, group: Option<u32>) -> io::Result<()> {
        let mode = |bits| {
            let mode = Mode::from_bits_truncate(bits);
            fchmodat(AT_FDCWD, path, mode, FchmodatFlags::FollowSymlink).map_err(io::Error::from)
        };
        mode(0o600)?;
        let Some(group) = group else {
            return Ok(());
        };
        chown(path, None, Some(Gid::from_raw(group)))?;
        mode(0o660)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Whoever finds it afterwards finds nobody listening, which means the same.
        let _ = fs::remove_file(&self.path);
    }
}

fn with(path: &Path, end: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(end);
    PathBuf::from(name)
}
