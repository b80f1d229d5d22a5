//! A directory that is open and was reached without following anybody else's link.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstatat, mkdirat};
use nix::unistd::{getegid, geteuid};

use crate::sys::fs::FsError;
use crate::sys::fs::error::unsafe_link;

/// An open directory; whatever happens to its path meanwhile, names are looked up in this one.
pub(super) struct Dir {
    fd: File,
    path: PathBuf,
}

impl Dir {
    /// Opens an existing directory.
    pub(super) fn open(path: &Path) -> Result<Self, FsError> {
        Self::walk(path, None)
    }

    /// Opens a directory and makes it, and those above it, with this mode where they are missing.
    pub(super) fn create(path: &Path, mode: u32) -> Result<Self, FsError> {
        Self::walk(path, Some(mode))
    }

    /// Opens the directory of a file and says the file's name.
    pub(super) fn of(path: &Path) -> Result<(Self, &OsStr), FsError> {
        let (parent, name) = split(path)?;
        Ok((Self::open(parent)?, name))
    }

    /// The path it was opened by, joined with a name.
    pub(super) fn join(&self, name: &OsStr) -> PathBuf {
        self.path.join(name)
    }

    /// What a name in it is, links not followed; `None` if there is nothing.
    pub(super) fn stat(&self, name: &OsStr) -> io::Result<Option<FileStat>> {
        match fstatat(self, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Makes what happened to its names durable.
    pub(super) fn sync(&self) -> Result<(), FsError> {
        self.fd
            .sync_all()
            .map_err(|e| FsError::new("sync directory", &self.path, e))
    }

    fn walk(path: &Path, make: Option<u32>) -> Result<Self, FsError> {
        let failed = |at: &Path, e: io::Error| {
            FsError::new(
                "open directory",
                if at.as_os_str().is_empty() { path } else { at },
                e,
            )
        };
        let mut todo: VecDeque<OsString> = components(path);
        let mut at = PathBuf::new();
        let mut here: Option<OwnedFd> = None;
        let mut links = 0;
        while let Some(name) = todo.pop_front() {
            let start = here.as_ref().map_or(AT_FDCWD, |fd| fd.as_fd());
            let step = at.join(&name);
            match openat(start, name.as_os_str(), PASS, Mode::empty()) {
                Ok(fd) => {
                    here = Some(fd);
                    at = step;
                }
                Err(Errno::ENOENT) if make.is_some() => {
                    let mode = make.unwrap_or_default();
                    here = Some(
                        make_dir(start, &name, mode)
                            .map_err(|e| FsError::new("create directory", &step, e))?,
                    );
                    at = step;
                }
                Err(Errno::ENOTDIR | Errno::ELOOP) if is_link(start, &name) => {
                    links += 1;
                    if links > MOST_LINKS {
                        return Err(failed(&step, Errno::ELOOP.into()));
                    }
                    if !trusted(start).map_err(|e| failed(&step, e))? {
                        return Err(failed(&step, unsafe_link(&step)));
                    }
                    let target =
                        readlinkat(start, name.as_os_str()).map_err(|e| failed(&step, e.into()))?;
                    let target = Path::new(&target);
                    if target.is_absolute() {
                        here = None;
                        at = PathBuf::new();
                    }
                    for name in components(target).into_iter().rev() {
                        todo.push_front(name);
                    }
                }
                Err(errno) => return Err(failed(&step, errno.into())),
            }
        }
        // The handles on the way need no right to read; this one is for fsync, which does.
        let start = here.as_ref().map_or(AT_FDCWD, |fd| fd.as_fd());
        let fd = openat(start, ".", LAST, Mode::empty()).map_err(|e| failed(path, e.into()))?;
        Ok(Self {
            fd: File::from(fd),
            path: path.to_owned(),
        })
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Splits off the name of a file; `/`, `..` and the empty path have none.
pub(super) fn split(path: &Path) -> Result<(&Path, &OsStr), FsError> {
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) if parent.as_os_str().is_empty() => Ok((Path::new("."), name)),
        (Some(parent), Some(name)) => Ok((parent, name)),
        _ => Err(FsError::new("use as a file name", path, Errno::EINVAL)),
    }
}

fn components(path: &Path) -> VecDeque<OsString> {
    path.components()
        .map(|part| match part {
            Component::RootDir | Component::Prefix(_) => OsString::from("/"),
            Component::CurDir => OsString::from("."),
            Component::ParentDir => OsString::from(".."),
            Component::Normal(name) => name.to_owned(),
        })
        .collect()
}

/// Makes a directory with exactly this mode, whatever the umask, and opens it.
fn make_dir(parent: BorrowedFd<'_>, name: &OsStr, mode: u32) -> io::Result<OwnedFd> {
    match mkdirat(parent, name, Mode::from_bits_truncate(mode)) {
        Ok(()) => {
            let fd = File::from(openat(parent, name, LAST, Mode::empty())?);
            set_mode(&fd, mode)?;
            fd.sync_all()?;
            // The parent was opened to pass through; the name in it is made durable by a handle that may sync.
            File::from(openat(parent, ".", LAST, Mode::empty())?).sync_all()?;
            Ok(fd.into())
        }
        // Somebody else was faster; it must still be a directory of its own and no link.
        Err(Errno::EEXIST) => Ok(openat(parent, name, PASS, Mode::empty())?),
        Err(errno) => Err(errno.into()),
    }
}

fn is_link(dir: BorrowedFd<'_>, name: &OsStr) -> bool {
    fstatat(dir, name, AtFlags::AT_SYMLINK_NOFOLLOW).is_ok_and(|stat| {
        SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits()) == SFlag::S_IFLNK
    })
}

/// Whether only root and ourselves can put names into this directory.
fn trusted(dir: BorrowedFd<'_>) -> io::Result<bool> {
    let stat = fstatat(dir, ".", AtFlags::empty())?;
    let owner = stat.st_uid == 0 || stat.st_uid == geteuid().as_raw();
    let group = stat.st_mode & 0o020 == 0 || stat.st_gid == 0 || stat.st_gid == getegid().as_raw();
    Ok(owner && group && stat.st_mode & 0o002 == 0)
}

pub(super) fn set_mode(file: &File, mode: u32) -> io::Result<()> {
    file.set_permissions(std::fs::Permissions::from_mode(mode))
}

/// To pass through; needs no right to read, and fails on a link.
const PASS: OFlag = OFlag::O_PATH
    .union(OFlag::O_DIRECTORY)
    .union(OFlag::O_NOFOLLOW)
    .union(OFlag::O_CLOEXEC);

/// To stay; can be fsynced.
const LAST: OFlag = OFlag::O_RDONLY
    .union(OFlag::O_DIRECTORY)
    .union(OFlag::O_NOFOLLOW)
    .union(OFlag::O_CLOEXEC);

/// As many as the kernel follows (path_resolution(7)).
const MOST_LINKS: usize = 40;
