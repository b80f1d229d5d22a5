//! A listener, by one handshake.

use std::path::Path;
use std::time::Duration;

use crate::deploy::probe::{KeyKind, handshake_after};
use crate::model::{Name, Prelude, Timestamp, WatchTroubleKind, WatchedPlace};
use crate::pki::inspect;
use crate::sys::{error_chain, fs};
use crate::watch::{failed, seen};

/// Whom to ask for what.
pub struct Host<'a> {
    /// `host:port`.
    pub connect: &'a str,
    /// Sent in SNI unless it is an address.
    pub name: &'a Name,
    /// What it awaits before the handshake.
    pub prelude: Prelude,
    /// PEM file with the roots of its clients.
    pub roots: Option<&'a Path>,
    /// For all of it.
    pub timeout: Duration,
}

/// Shakes hands once and looks at what is shown.
pub async fn host(asked: &Host<'_>, before: Option<&WatchedPlace>, now: Timestamp) -> WatchedPlace {
    let unreachable = |detail| failed(before, WatchTroubleKind::Unreachable, detail);
    let unreadable = |detail| failed(before, WatchTroubleKind::Unreadable, detail);
    let roots = match asked.roots.map(read_roots).transpose() {
        Ok(roots) => roots,
        Err(error) => return unreadable(error),
    };
    let name = asked.name.to_string();
    let shown = handshake_after(
        asked.connect,
        asked.prelude,
        Some(&name),
        KeyKind::Any,
        asked.timeout,
    );
    let shown = match shown.await {
        Ok(shown) => shown,
        Err(error) => return unreachable(error_chain(&error)),
    };
    match inspect::presented(&shown.presented, asked.name, roots.as_deref(), now) {
        Ok(certificate) => seen(before, vec![certificate], String::new(), now),
        Err(error) => unreadable(error.to_string()),
    }
}

fn read_roots(path: &Path) -> Result<Vec<Vec<u8>>, String> {
    let text = fs::read(path, LARGEST).map_err(|error| error_chain(&error))?;
    inspect::roots(&String::from_utf8_lossy(&text))
        .map_err(|error| format!("the roots in {}: {error}", path.display()))
}

/// Bytes: several times the bundle of all public roots.
const LARGEST: u64 = 4 << 20;
