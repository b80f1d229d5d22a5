//! UNIX sockets that are listened on.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;

use tokio::net::UnixListener;

use crate::sys::fs::{self, FsError, Kind};

/// Listens at a path, in place of a socket there that nobody listens on any more. The mode says who may connect.
///
/// # Errors
/// When somebody listens there, or something else than a socket is in the way.
pub fn listen(path: &Path, mode: u32) -> Result<UnixListener, FsError> {
    let failed = |error: io::Error| FsError::new("listen on", path, error);
    if let Some(found) = fs::stat(path)? {
        if found.kind != Kind::Other || UnixStream::connect(path).is_ok() {
            return Err(failed(io::ErrorKind::AddrInUse.into()));
        }
        fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    fs::set_mode_of(path, mode)?;
    Ok(listener)
}
