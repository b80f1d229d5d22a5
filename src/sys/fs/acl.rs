//! POSIX access lists (acl(5)): who may read a file besides its owner, its group and the others.

use std::fmt;
use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fs::{XattrFlags, fremovexattr, fsetxattr, lgetxattr};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::sys::fs::FsError;

/// A whole access list in the order of the kernel: owner, users, group, groups, mask, others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acl(Vec<Entry>);

/// One line of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    /// One of the `ACL_…` numbers below; they rise in the order in which the kernel wants them.
    tag: u16,
    /// 4 read, 2 write, 1 execute.
    may: u16,
    /// Of a named user or group; else [`NOBODY`].
    id: u32,
}

/// Somebody whom a list names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Named {
    /// By number.
    User(u32),
    /// By number.
    Group(u32),
}

impl Acl {
    /// The list of a file with this mode that these may read as well; the group bits of the mode are those of the owning
    /// group alone.
    #[must_use]
    pub fn readable(mode: u32, by: &[Named]) -> Self {
        let bits = |shift: u32| u16::try_from(mode >> shift & 7).unwrap_or_default();
        let mut entries = vec![
            Entry::of(USER_OBJ, bits(6)),
            Entry::of(GROUP_OBJ, bits(3)),
            // No more than anybody of them needs.
            Entry::of(MASK, bits(3) | READ),
            Entry::of(OTHER, bits(0)),
        ];
        entries.extend(by.iter().map(|named| {
            let (tag, id) = match *named {
                Named::User(id) => (USER, id),
                Named::Group(id) => (GROUP, id),
            };
            Entry { tag, may: READ, id }
        }));
        entries.sort_by_key(|entry| (entry.tag, entry.id));
        entries.dedup();
        Self(entries)
    }

    /// The permission bits that a file with this list shows: those of its group are the mask.
    #[must_use]
    pub fn mode(&self) -> u32 {
        let of = |tag| {
            let found = self.0.iter().find(|entry| entry.tag == tag);
            found.map_or(0, |entry| u32::from(entry.may))
        };
        of(USER_OBJ) << 6 | of(MASK) << 3 | of(OTHER)
    }

    /// As in `linux/posix_acl_xattr.h`: a version, then tag, permissions and id of each, little-endian.
    fn encode(&self) -> Vec<u8> {
        let mut bytes = VERSION.to_le_bytes().to_vec();
        for entry in &self.0 {
            bytes.extend(entry.tag.to_le_bytes());
            bytes.extend(entry.may.to_le_bytes());
            bytes.extend(entry.id.to_le_bytes());
        }
        bytes
    }

    /// `None` for what is no list of this version.
    fn decode(bytes: &[u8]) -> Option<Self> {
        let entries = bytes.strip_prefix(&VERSION.to_le_bytes())?;
        let (entries, rest) = entries.as_chunks::<8>();
        let entries = entries.iter().map(|entry| {
            let [a, b, c, d, id @ ..] = *entry;
            Entry {
                tag: u16::from_le_bytes([a, b]),
                may: u16::from_le_bytes([c, d]),
                id: u32::from_le_bytes(id),
            }
        });
        rest.is_empty().then(|| Self(entries.collect()))
    }
}

impl Entry {
    const fn of(tag: u16, may: u16) -> Self {
        Self {
            tag,
            may,
            id: NOBODY,
        }
    }
}

/// Only whom it names, as `setfacl` is given it: `u:104:r,g:115:r`.
impl fmt::Display for Acl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = self.0.iter().filter(|entry| entry.id != NOBODY);
        for (index, entry) in named.enumerate() {
            let kind = if entry.tag == USER { "u" } else { "g" };
            let comma = if index > 0 { "," } else { "" };
            write!(f, "{comma}{kind}:{}:", entry.id)?;
            for (bit, letter) in [(READ, "r"), (2, "w"), (1, "x")] {
                if entry.may & bit != 0 {
                    f.write_str(letter)?;
                }
            }
        }
        Ok(())
    }
}

/// The access list of a file; `None` for one that has a mode only. Links are not followed.
///
/// # Errors
/// [`FsError`] when that cannot be known.
pub fn acl_of(path: &Path) -> Result<Option<Acl>, FsError> {
    let failed = |e: io::Error| FsError::new("read the access list of", path, e);
    let mut bytes = Vec::with_capacity(LONGEST);
    match lgetxattr(path, NAME, rustix::buffer::spare_capacity(&mut bytes)) {
        Ok(_) => Acl::decode(&bytes)
            .map(Some)
            .ok_or_else(|| failed(io::Error::other("it is of an unknown form"))),
        Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::NOENT) => Ok(None),
        Err(e) => Err(failed(e.into())),
    }
}

/// Gives an open file this list, and the mode that goes with it.
pub(super) fn set(file: &File, acl: &Acl) -> io::Result<()> {
    Ok(fsetxattr(file, NAME, &acl.encode(), XattrFlags::empty())?)
}

/// Takes away what a new file has inherited from its directory (`setfacl --default`): its mask would follow the mode.
pub(super) fn clear(file: &File) -> io::Result<()> {
    match fremovexattr(file, NAME) {
        Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

const NAME: &str = "system.posix_acl_access";
const VERSION: u32 = 2;
const USER_OBJ: u16 = 0x01;
const USER: u16 = 0x02;
const GROUP_OBJ: u16 = 0x04;
const GROUP: u16 = 0x08;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;
const READ: u16 = 4;
const NOBODY: u32 = u32::MAX;
/// The longest value of an attribute (`XATTR_SIZE_MAX`).
const LONGEST: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_survives_its_encoding_and_shows_the_mask() {
        let acl = Acl::readable(0o600, &[Named::Group(7), Named::User(9), Named::User(5)]);
        assert_eq!(acl.to_string(), "u:5:r,u:9:r,g:7:r");
        assert_eq!(acl.mode(), 0o640);
        assert_eq!(Acl::decode(&acl.encode()), Some(acl.clone()));
        assert_eq!(acl.encode().len(), 4 + 7 * 8);
        for bad in [&b""[..], &[2, 0, 0, 0, 1], &[3, 0, 0, 0]] {
            assert_eq!(Acl::decode(bad), None);
        }
    }
}
