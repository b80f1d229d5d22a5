//! The control socket: where people and programs reach the daemon, and who may.

use std::path::{Path, PathBuf};

/// Settings of the control socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Control {
    /// Where it is.
    pub socket: PathBuf,
    /// Name or number of the group whose members may connect.
    pub group: String,
    /// Who of those that may connect may also have something done; everybody else only reads.
    pub act: Acting,
}

/// Who may have something done through the control socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acting {
    /// Whoever may connect.
    Group,
    /// Only root, and the user that the daemon runs as.
    Root,
}

impl Control {
    /// What is so where the policy says nothing. The state directory decides, so that daemons with a state each do not
    /// stand in each other's way.
    #[must_use]
    pub fn of(state_dir: &Path) -> Self {
        let socket = if state_dir == Path::new(DEFAULT_STATE_DIR) {
            PathBuf::from(DEFAULT_SOCKET)
        } else {
            state_dir.join("control.sock")
        };
        Self {
            socket,
            group: DEFAULT_GROUP.to_owned(),
            act: Acting::Group,
        }
    }
}

/// FHS: `/var/lib` is for state of programs.
pub const DEFAULT_STATE_DIR: &str = "/var/lib/renewd";
/// Of the unit: `RuntimeDirectory=`.
pub const DEFAULT_SOCKET: &str = "/run/renewd/control.sock";
const DEFAULT_GROUP: &str = "renewd";
