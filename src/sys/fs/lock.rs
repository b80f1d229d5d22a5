//! The lock of the state directory: one writer at a time, and its name for the second one.

use std::fs::{File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, fchmod};

use crate::model::Timestamp;
use crate::sys::fs::FsError;
use crate::sys::fs::dir::Dir;

/// Held by whoever executes; released when dropped or when the process ends, however it ends.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

/// Why the lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody else has it.
    #[error("{} is held by {holder}; wait for it or stop it", path.display())]
    Busy {
        /// The lock file.
        path: PathBuf,
        /// As the holder wrote it down: process id and command.
        holder: String,
    },
    /// The file cannot be used.
    #[error(transparent)]
    Fs(#[from] FsError),
}

impl Lock {
    /// Takes the lock if it is free. `command` is what a second comer is told, such as `renewd run`.
    ///
    /// # Errors
    /// [`LockError::Busy`] names the holder.
    pub fn try_acquire(path: &Path, command: &str) -> Result<Self, LockError> {
        let (dir, name) = Dir::of(path)?;
        let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        // Whoever can read it can hold it, shared, and stop everybody else: it is ours alone, also where it was left by
        // a version or a person that made it readable.
        let mode = Mode::from_bits_truncate(0o600);
        let fd = openat(&dir, name, flags, mode).map_err(|e| FsError::new("open", path, e))?;
        let mut file = File::from(fd);
        fchmod(&file, mode).map_err(|e| FsError::new("change the mode of", path, e))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(LockError::Busy {
                    path: path.to_owned(),
                    holder: holder(&mut file),
                });
            }
            Err(TryLockError::Error(e)) => return Err(FsError::new("lock", path, e).into()),
        }
        let text = format!("process {} ({command})\n", std::process::id());
        // Not fsynced: the text is of use only while this process lives.
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(text.as_bytes()))
            .map_err(|e| FsError::new("write", path, e))?;
        Ok(Self { file })
    }

    /// Takes the lock, waiting for it so long.
    ///
    /// # Errors
    /// [`LockError::Busy`] after the wait, naming the holder.
    pub async fn acquire(path: &Path, command: &str, wait: Duration) -> Result<Self, LockError> {
        let end = tokio::time::Instant::now() + wait;
        loop {
            match Self::try_acquire(path, command) {
                Err(LockError::Busy { .. }) if tokio::time::Instant::now() < end => {
                    tokio::time::sleep(BETWEEN_TRIES).await;
                }
                result => return result,
            }
        }
    }

    /// Leaves this moment on the file, for [`Lock::look`]. Not fsynced.
    ///
    /// # Errors
    /// From the file system.
    pub fn mark(&self, now: Timestamp) -> std::io::Result<()> {
        let since = Duration::from_secs(u64::try_from(now.0).unwrap_or(0));
        self.file.set_modified(SystemTime::UNIX_EPOCH + since)
    }

    /// Who holds a lock that is held for as long as a process lives, and the last mark on it; `None` where there never was
    /// anybody. Changes nothing.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn look(path: &Path) -> Result<Option<Held>, FsError> {
        let (dir, name) = match Dir::of(path) {
            Ok(found) => found,
            Err(error) if error.io().kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let mut file = match openat(&dir, name, flags, Mode::empty()) {
            Ok(fd) => File::from(fd),
            Err(nix::errno::Errno::ENOENT) => return Ok(None),
            Err(error) => return Err(FsError::new("open", path, error)),
        };
        let failed = |error| FsError::new("look at", path, error);
        let marked = file.metadata().and_then(|data| data.modified());
        let marked = marked.map_err(failed)?;
        let marked = marked.duration_since(SystemTime::UNIX_EPOCH);
        let marked = marked.map_or(0, |since| since.as_secs());
        let holder = match file.try_lock_shared() {
            Ok(()) => None,
            Err(TryLockError::WouldBlock) => Some(holder(&mut file)),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        };
        Ok(Some(Held {
            by: holder,
            marked_at: Timestamp(i64::try_from(marked).unwrap_or(i64::MAX)),
        }))
    }
}

/// What a lock says of its holder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Process id and command, as the holder wrote them down; `None` where nobody has it.
    pub by: Option<String>,
    /// The last mark.
    pub marked_at: Timestamp,
}

impl Drop for Lock {
    fn drop(&mut self) {
        // So that the text never names somebody who is gone; the lock itself goes with the descriptor.
        let _ = self.file.set_len(0);
    }
}

fn holder(file: &mut File) -> String {
    let mut text = String::new();
    let read = file.take(256).read_to_string(&mut text);
    let line = text.lines().next().unwrap_or_default();
    if read.is_err() || line.is_empty() {
        // Between taking the lock and writing the text.
        return "another process".to_owned();
    }
    line.to_owned()
}

const BETWEEN_TRIES: Duration = Duration::from_millis(100);
