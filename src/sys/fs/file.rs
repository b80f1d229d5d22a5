//! Single files and links.

use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, readlinkat, renameat};
use nix::sys::stat::{FchmodatFlags, FileStat, Mode, SFlag, fchmodat};
use nix::unistd::{AccessFlags, UnlinkatFlags, access, linkat, symlinkat, unlinkat};
use serde::{Deserialize, Serialize};

use crate::model::Timestamp;
use crate::sys::fs::FsError;
use crate::sys::fs::acl::{self, Acl};
use crate::sys::fs::dir::{Dir, set_mode};
use crate::sys::fs::{fault, label};

/// Who may do what with a file; set before its content is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attributes {
    /// Permission bits.
    pub mode: u32,
    /// Owner; `None` leaves the process's own.
    pub uid: Option<u32>,
    /// Group; `None` leaves what the file system gives.
    pub gid: Option<u32>,
    /// Access list; with one, its own bits stand in for the mode. `None` leaves a file without, whatever its directory hands
    /// down.
    pub acl: Option<Acl>,
    /// SELinux context, as it is stored; `None` leaves what the kernel gives.
    pub label: Option<Vec<u8>>,
}

impl Attributes {
    /// For our own secrets.
    pub const PRIVATE: Self = Self {
        mode: 0o600,
        uid: None,
        gid: None,
        acl: None,
        label: None,
    };
}

/// What something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A regular file.
    File,
    /// A symbolic link.
    Link,
    /// A directory.
    Directory,
    /// A device, a socket, a pipe.
    Other,
}

/// What the file system says of a file, its content aside. Equal before and after means: not touched in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stat {
    /// What it is.
    pub kind: Kind,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Bytes.
    pub size: u64,
    /// Which file of its file system.
    pub inode: u64,
    /// Last change of the content, in nanoseconds since 1970.
    pub modified: i64,
    /// Last change of anything, in nanoseconds since 1970; cannot be set back by its owner.
    pub changed: i64,
}

impl From<FileStat> for Stat {
    fn from(stat: FileStat) -> Self {
        let nanos = |s: i64, ns: i64| s.saturating_mul(1_000_000_000).saturating_add(ns);
        let kind = match SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits()) {
            SFlag::S_IFREG => Kind::File,
            SFlag::S_IFLNK => Kind::Link,
            SFlag::S_IFDIR => Kind::Directory,
            _ => Kind::Other,
        };
        Self {
            kind,
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            inode: stat.st_ino,
            modified: nanos(stat.st_mtime, stat.st_mtime_nsec),
            changed: nanos(stat.st_ctime, stat.st_ctime_nsec),
        }
    }
}

/// Replaces a file as a whole: a reader sees the old one or the new one, and after a crash one of the two is there.
///
/// # Errors
/// [`FsError`]; the old file is then untouched.
pub fn write_atomic(path: &Path, bytes: &[u8], attributes: &Attributes) -> Result<(), FsError> {
    // Unique among running processes; what a killed one left behind is found by `sweep`.
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let tag = format!(
        "{}-{}",
        std::process::id(),
        COUNTER.fetch_add(1, Ordering::Relaxed)
    );
    let (dir, name) = Dir::of(path)?;
    let temporary = temporary(name, &tag);
    write_new(&dir, &temporary, bytes, attributes)?;
    rename_within(&dir, &temporary, name).inspect_err(|_| {
        let _ = unlink(&dir, &temporary);
    })
}

/// Writes a file that does not exist yet and fsyncs it; its directory is the caller's to sync.
///
/// # Errors
/// [`FsError`], also when something of that name exists; nothing is left of a failed attempt.
pub fn create_new(path: &Path, bytes: &[u8], attributes: &Attributes) -> Result<(), FsError> {
    let (dir, name) = Dir::of(path)?;
    write_new(&dir, name, bytes, attributes)
}

/// Writes the future content of a file under a temporary name beside it, durably, so that [`adopt`] needs no space.
///
/// # Errors
/// [`FsError`]; the file itself is untouched.
pub fn prepare(
    path: &Path,
    tag: &str,
    bytes: &[u8],
    attributes: &Attributes,
) -> Result<(), FsError> {
    let (dir, name) = Dir::of(path)?;
    let temporary = temporary(name, tag);
    unlink(&dir, &temporary)?;
    write_new(&dir, &temporary, bytes, attributes)?;
    dir.sync()
}

/// Keeps the present file reachable under a temporary name beside it (a hard link), so that [`adopt`] can bring back
/// the very same file. `false` where the file system cannot do that.
///
/// # Errors
/// [`FsError`] when the directory cannot be opened or synced.
pub fn keep(path: &Path, tag: &str) -> Result<bool, FsError> {
    let (dir, name) = Dir::of(path)?;
    let temporary = temporary(name, tag);
    unlink(&dir, &temporary)?;
    if linkat(&dir, name, &dir, temporary.as_os_str(), AtFlags::empty()).is_err() {
        return Ok(false);
    }
    dir.sync()?;
    Ok(true)
}

/// Renames what [`prepare`] or [`keep`] left under this tag over the file. `false` if there is nothing.
///
/// # Errors
/// [`FsError`]; the file itself is then untouched.
pub fn adopt(path: &Path, tag: &str) -> Result<bool, FsError> {
    let (dir, name) = Dir::of(path)?;
    let temporary = temporary(name, tag);
    match dir.stat(&temporary) {
        Ok(None) => return Ok(false),
        Ok(Some(_)) => {}
        Err(e) => return Err(FsError::new("look at", &dir.join(&temporary), e)),
    }
    rename_within(&dir, &temporary, name)?;
    // Two links to one file are left alone by rename(2).
    unlink(&dir, &temporary)?;
    Ok(true)
}

/// Where something lies beside a file under this tag, if it does; `None` for a path without a file name.
#[must_use]
pub fn beside(path: &Path, tag: &str) -> Option<PathBuf> {
    let name = path.file_name()?;
    Some(path.with_file_name(temporary(name, tag)))
}

/// Removes what lies beside a file under this tag.
///
/// # Errors
/// [`FsError`]; that there was nothing, or no directory, is none.
pub fn discard(path: &Path, tag: &str) -> Result<(), FsError> {
    match Dir::of(path) {
        Ok((dir, name)) => unlink(&dir, &temporary(name, tag)).map(drop),
        Err(e) if e.io().kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(e),
    }
}

/// Points a link at a target by one rename; creates it if need be.
///
/// # Errors
/// [`FsError`]; the link is then as it was.
pub fn switch_link(link: &Path, target: &Path) -> Result<(), FsError> {
    let (dir, name) = Dir::of(link)?;
    let temporary = temporary(name, "link");
    unlink(&dir, &temporary)?;
    symlinkat(target, &dir, temporary.as_os_str())
        .map_err(|e| FsError::new("create link", &dir.join(&temporary), e))?;
    rename_within(&dir, &temporary, name)
}

/// Where a link points; `None` if nothing is there.
///
/// # Errors
/// [`FsError`], also when it is no link.
pub fn read_link(link: &Path) -> Result<Option<PathBuf>, FsError> {
    let (dir, name) = match Dir::of(link) {
        Ok(found) => found,
        Err(e) if e.io().kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    match readlinkat(&dir, name) {
        Ok(target) => Ok(Some(target.into())),
        Err(Errno::ENOENT) => Ok(None),
        Err(e) => Err(FsError::new("read link", link, e)),
    }
}

/// Sets the time of the last change of a regular file, as if it had been written then. Not fsynced.
///
/// # Errors
/// [`FsError`], also when there is none.
pub fn touch(path: &Path, now: Timestamp) -> Result<(), FsError> {
    let (dir, name) = Dir::of(path)?;
    let flags = OFlag::O_WRONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
    let fd = openat(&dir, name, flags, Mode::empty()).map_err(|e| FsError::new("open", path, e))?;
    let since = Duration::from_secs(u64::try_from(now.0).unwrap_or(0));
    File::from(fd)
        .set_modified(SystemTime::UNIX_EPOCH + since)
        .map_err(|e| FsError::new("touch", path, e))
}

/// Sets the mode of something that was just made and that nobody else can replace.
///
/// # Errors
/// [`FsError`].
pub fn set_mode_of(path: &Path, mode: u32) -> Result<(), FsError> {
    let (dir, name) = Dir::of(path)?;
    let mode = Mode::from_bits_truncate(mode);
    fchmodat(&dir, name, mode, FchmodatFlags::FollowSymlink)
        .map_err(|e| FsError::new("set the mode of", path, e))
}

/// Removes a file or a link, durably; `false` if nothing was there.
///
/// # Errors
/// [`FsError`].
pub fn remove_file(path: &Path) -> Result<bool, FsError> {
    let (dir, name) = match Dir::of(path) {
        Ok(found) => found,
        Err(e) if e.io().kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(e),
    };
    let was = unlink(&dir, name)?;
    if was {
        dir.sync()?;
    }
    Ok(was)
}

/// Looks at a path without following its last component; `None` if nothing is there.
///
/// # Errors
/// [`FsError`] when that cannot be known.
pub fn stat(path: &Path) -> Result<Option<Stat>, FsError> {
    match nix::sys::stat::lstat(path) {
        Ok(stat) => Ok(Some(stat.into())),
        Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
        Err(e) => Err(FsError::new("look at", path, e)),
    }
}

/// Whether a directory, or the nearest one above it that is there, cannot be written because its file system, or our view
/// of it, is read-only. Rights are another matter.
#[must_use]
pub fn is_read_only(directory: &Path) -> bool {
    let mut there = directory.ancestors().filter(|path| path.is_dir());
    there
        .next()
        .is_some_and(|path| access(path, AccessFlags::W_OK) == Err(Errno::EROFS))
}

/// Reads a regular file of at most `limit` bytes. Links are followed: what is read decides nothing about what is
/// written.
///
/// # Errors
/// [`FsError`], also when it is longer or no regular file.
pub fn read(path: &Path, limit: u64) -> Result<Vec<u8>, FsError> {
    read_checked(path, limit, |_| Ok(()))
}

/// As [`read`], after a look at owner and mode of the very file that is then read.
///
/// # Errors
/// [`FsError`], and whatever `check` says.
pub fn read_checked<E: From<FsError>>(
    path: &Path,
    limit: u64,
    check: impl FnOnce(&Metadata) -> Result<(), E>,
) -> Result<Vec<u8>, E> {
    let failed = |e: io::Error| FsError::new("read", path, e);
    // Without O_NONBLOCK the open of a pipe would wait for a writer.
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let fd = nix::fcntl::open(path, flags, Mode::empty()).map_err(|e| failed(e.into()))?;
    read_open(path, File::from(fd), limit, check)
}

/// Reads the regular file at a place that is about to be replaced, and says what it is. Its content will be written back
/// some day with the owner it has now, so no link is followed: whoever may write in the directory could have put one there
/// that points at another's file.
///
/// # Errors
/// [`FsError`], also when it is longer or no regular file.
pub fn read_in_place(path: &Path, limit: u64) -> Result<(Vec<u8>, Stat), FsError> {
    let (dir, name) = Dir::of(path)?;
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let failed = |e: Errno| FsError::new("read", path, e);
    let file = File::from(openat(&dir, name, flags, Mode::empty()).map_err(failed)?);
    let stat = nix::sys::stat::fstat(&file).map_err(failed)?;
    let bytes = read_open(path, file, limit, |_| Ok::<(), FsError>(()))?;
    Ok((bytes, stat.into()))
}

fn read_open<E: From<FsError>>(
    path: &Path,
    mut file: File,
    limit: u64,
    check: impl FnOnce(&Metadata) -> Result<(), E>,
) -> Result<Vec<u8>, E> {
    let failed = |e: io::Error| FsError::new("read", path, e);
    fault::at("fs.read", path).map_err(failed)?;
    let meta = file.metadata().map_err(failed)?;
    if !meta.is_file() {
        return Err(failed(io::Error::other("it is no regular file")).into());
    }
    check(&meta)?;
    let too_long = || failed(io::Error::other(format!("it is longer than {limit} bytes")));
    if meta.len() > limit {
        return Err(too_long().into());
    }
    // One allocation of the right size: a secret leaves no half-grown copies behind.
    let mut bytes = Vec::with_capacity(usize::try_from(meta.len()).unwrap_or(0) + 1);
    (&mut file)
        .take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if u64::try_from(bytes.len()).is_ok_and(|len| len > limit) {
        return Err(too_long().into());
    }
    Ok(bytes)
}

/// As [`read`]; `None` if nothing is there.
///
/// # Errors
/// [`FsError`].
pub fn read_if_exists(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, FsError> {
    match read(path, limit) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.io().kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// The name under which something waits beside a file. Begins with a dot: HAProxy, nginx and others that read whole
/// directories leave such names out.
pub(super) fn temporary(name: &OsStr, tag: &str) -> OsString {
    let mut temporary = OsString::from(".");
    temporary.push(name);
    temporary.push(MARK);
    temporary.push(tag);
    temporary
}

/// What all temporary names have in common.
pub(super) const MARK: &str = ".renewd-";

/// Owner, group, access list and mode before the first byte, so that nobody opens it while it is too open, and it is never too
/// closed once it is visible.
fn write_new(dir: &Dir, name: &OsStr, bytes: &[u8], wanted: &Attributes) -> Result<(), FsError> {
    let path = dir.join(name);
    let flags =
        OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    fault::at("fs.create", &path).map_err(|e| FsError::new("create", &path, e))?;
    let fd = openat(dir, name, flags, Mode::from_bits_truncate(0o600))
        .map_err(|e| FsError::new("create", &path, e))?;
    let mut file = File::from(fd);
    let fill = || -> Result<(), FsError> {
        own(&file, wanted).map_err(|e| FsError::new("set the owner of", &path, e))?;
        if let Some(context) = &wanted.label {
            label::set(&file, context)
                .map_err(|e| FsError::new("set the SELinux context of", &path, e))?;
        }
        // After the owner, since a change of owner may clear bits.
        match &wanted.acl {
            Some(list) => acl::set(&file, list),
            None => acl::clear(&file),
        }
        .map_err(|e| FsError::new("set the access list of", &path, e))?;
        // The mode of a file with a list says how much of the list counts, so it comes with the list.
        if wanted.acl.is_none() {
            set_mode(&file, wanted.mode).map_err(|e| FsError::new("set the mode of", &path, e))?;
        }
        fault::at("fs.write", &path)
            .and_then(|()| file.write_all(bytes))
            .map_err(|e| FsError::new("write", &path, e))?;
        fault::at("fs.sync", &path)
            .and_then(|()| file.sync_all())
            .map_err(|e| FsError::new("sync", &path, e))
    };
    let mut fill = fill;
    fill().inspect_err(|_| {
        let _ = unlink(dir, name);
    })
}

/// Leaves the owner alone where it is right already: then no privilege is needed.
fn own(file: &File, wanted: &Attributes) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt;
    let meta = file.metadata()?;
    let uid = wanted.uid.filter(|uid| *uid != meta.uid());
    let gid = wanted.gid.filter(|gid| *gid != meta.gid());
    if uid.is_none() && gid.is_none() {
        return Ok(());
    }
    std::os::unix::fs::fchown(file, uid, gid)
}

fn rename_within(dir: &Dir, from: &OsStr, to: &OsStr) -> Result<(), FsError> {
    let path = dir.join(to);
    fault::at("fs.rename", &path)
        .and_then(|()| Ok(renameat(dir, from, dir, to)?))
        .map_err(|e| FsError::new("replace", &path, e))?;
    dir.sync()
}

/// `false` if nothing was there.
fn unlink(dir: &Dir, name: &OsStr) -> Result<bool, FsError> {
    match unlinkat(dir, name, UnlinkatFlags::NoRemoveDir) {
        Ok(()) => Ok(true),
        Err(Errno::ENOENT) => Ok(false),
        Err(e) => Err(FsError::new("remove", &dir.join(name), e)),
    }
}
