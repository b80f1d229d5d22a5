//! Users and groups by name or number.

use nix::unistd::{Gid, Group, Uid, User};

/// The number of a user.
///
/// # Errors
/// A sentence when there is no such user.
pub fn user_id(text: &str) -> Result<u32, String> {
    if let Ok(number) = text.parse::<u32>() {
        return Ok(number);
    }
    match User::from_name(text) {
        Ok(Some(user)) => Ok(user.uid.as_raw()),
        Ok(None) => Err(format!("there is no user {text:?} on this machine")),
        Err(e) => Err(format!("failed to look up the user {text:?}: {e}")),
    }
}

/// The number of a group.
///
/// # Errors
/// A sentence when there is no such group.
pub fn group_id(text: &str) -> Result<u32, String> {
    if let Ok(number) = text.parse::<u32>() {
        return Ok(number);
    }
    match Group::from_name(text) {
        Ok(Some(group)) => Ok(group.gid.as_raw()),
        Ok(None) => Err(format!("there is no group {text:?} on this machine")),
        Err(e) => Err(format!("failed to look up the group {text:?}: {e}")),
    }
}

/// User and group that files get by themselves.
#[must_use]
pub fn own_ids() -> (u32, u32) {
    (Uid::effective().as_raw(), Gid::effective().as_raw())
}
