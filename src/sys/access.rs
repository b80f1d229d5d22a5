//! Whether another user can read a file: not computed from modes, but asked of the kernel as that user, so that every
//! directory on the way, supplementary groups and access lists count.
//!
//! Linux keeps identity per thread. The question is asked on a thread of its own that takes the user's, gives up every
//! capability, opens and closes the file without reading it, and ends; no other thread changes.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::sys::stat::Mode;
use nix::unistd::{Gid, Uid, User, geteuid, getgrouplist, setfsgid, setfsuid};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities, set_thread_groups};

/// A user with all groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    name: String,
    uid: Uid,
    gid: Gid,
    groups: Vec<Gid>,
}

/// Why a user cannot read a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Obstacle {
    /// A directory that the user may not pass through.
    Directory(PathBuf),
    /// The file itself.
    File(PathBuf),
    /// Another failure, at this path.
    Other(PathBuf, String),
}

impl Account {
    /// By name or number.
    ///
    /// # Errors
    /// A sentence when there is no such user.
    pub fn find(text: &str) -> Result<Self, String> {
        let found = match text.parse::<u32>() {
            Ok(number) => User::from_uid(Uid::from_raw(number)),
            Err(_) => User::from_name(text),
        };
        let failed = |e: Errno| format!("failed to look up the user {text:?}: {e}");
        let Some(user) = found.map_err(failed)? else {
            return Err(format!("there is no user {text:?} on this machine"));
        };
        let name = CString::new(user.name.as_str()).map_err(|e| e.to_string())?;
        let groups = getgrouplist(&name, user.gid).map_err(failed)?;
        Ok(Self {
            name: user.name,
            uid: user.uid,
            gid: user.gid,
            groups,
        })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Of these files, those that it cannot read, each with what stands in the way.
    ///
    /// # Errors
    /// A sentence when that cannot be asked: only root can take another identity.
    pub fn hindered(&self, paths: Vec<PathBuf>) -> Result<Vec<(PathBuf, Obstacle)>, String> {
        // Nothing keeps root out that could be told beforehand.
        if self.uid.is_root() || paths.is_empty() {
            return Ok(Vec::new());
        }
        let account = self.clone();
        let asked = std::thread::Builder::new()
            .name("reader".to_owned())
            .spawn(move || account.ask(paths));
        asked
            .map_err(|e| format!("failed to start a thread: {e}"))?
            .join()
            .unwrap_or_else(|_| Err("the thread that asked broke off".to_owned()))
    }

    fn ask(&self, paths: Vec<PathBuf>) -> Result<Vec<(PathBuf, Obstacle)>, String> {
        if self.uid != geteuid() {
            self.become_it()
                .map_err(|e| format!("failed to act as the user {}: {e}", self.name))?;
        }
        let hindered = paths.into_iter().filter_map(|path| {
            let obstacle = open(&path).err()?;
            Some((path, obstacle))
        });
        Ok(hindered.collect())
    }

    /// For the calling thread, and for good.
    fn become_it(&self) -> io::Result<()> {
        let groups = self.groups.iter().map(|gid| gid.as_raw());
        let groups: Vec<_> = groups.map(rustix::thread::Gid::from_raw).collect();
        set_thread_groups(&groups)?;
        setfsgid(self.gid);
        setfsuid(self.uid);
        // Only the answer to a second call says whether the first one was obeyed.
        if setfsgid(self.gid) != self.gid || setfsuid(self.uid) != self.uid {
            return Err(Errno::EPERM.into());
        }
        let none = CapabilitySet::empty();
        set_capabilities(
            None,
            CapabilitySets {
                effective: none,
                permitted: none,
                inheritable: none,
            },
        )?;
        Ok(())
    }
}

/// One component at a time, so that the one in the way can be named.
fn open(path: &Path) -> Result<(), Obstacle> {
    let mut here: Option<OwnedFd> = None;
    let mut at = PathBuf::new();
    let mut parts = path.components().peekable();
    while let Some(part) = parts.next() {
        let name = match part {
            Component::RootDir | Component::Prefix(_) => Path::new("/"),
            part @ (Component::CurDir | Component::ParentDir | Component::Normal(_)) => {
                Path::new(part.as_os_str())
            }
        };
        let above = at.clone();
        at.push(name);
        let start = here.as_ref().map_or(AT_FDCWD, |fd| fd.as_fd());
        let step = openat(start, name, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty());
        let step = step.map_err(|errno| match errno {
            // A link can be reached although what it points at cannot.
            Errno::EACCES if openat(start, name, LINK, Mode::empty()).is_err() => {
                Obstacle::Directory(above)
            }
            Errno::EACCES => Obstacle::Directory(at.clone()),
            errno => Obstacle::Other(at.clone(), errno.desc().to_owned()),
        })?;
        if parts.peek().is_none() {
            let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
            return match openat(start, name, flags, Mode::empty()) {
                Ok(_) => Ok(()),
                Err(Errno::EACCES) => Err(Obstacle::File(at)),
                Err(errno) => Err(Obstacle::Other(at, errno.desc().to_owned())),
            };
        }
        here = Some(step);
    }
    Ok(())
}

const LINK: OFlag = OFlag::O_PATH
    .union(OFlag::O_NOFOLLOW)
    .union(OFlag::O_CLOEXEC);
