//! Files: atomic writes with owner, mode and access list, links switched by rename, trees, bounded reads, the lock.
//!
//! Two rules hold for every call that changes something. *Durable*: when it returns, file and directory are fsynced.
//! *Guarded*: directories are opened one component at a time and kept open; a symbolic link on the way is followed
//! only out of a directory in which nobody else can write (see `Dir`), and never as the last component.
//!
//! Writers of one path must not run side by side: the lock of the state directory sees to that.

mod acl;
mod dir;
mod error;
mod fault;
mod file;
mod glob;
mod label;
mod lock;
mod owner;
mod room;
mod tree;

pub use acl::{Acl, Named, acl_of};
pub use error::FsError;
pub use file::{
    Attributes, Kind, Stat, adopt, beside, create_new, discard, is_read_only, keep, prepare, read,
    read_checked, read_if_exists, read_in_place, read_link, remove_file, set_mode_of, stat,
    switch_link, touch, write_atomic,
};
pub use glob::{is_pattern, matching, stat_followed};
pub use label::label_of;
pub use lock::{Held, Lock, LockError};
pub use owner::{group_id, own_ids, user_id};
pub use room::{Room, room};
pub use tree::{create_dir_all, list, remove_empty_dir, remove_tree, rename_dir, sweep, sync_dir};

#[cfg(test)]
mod tests;
