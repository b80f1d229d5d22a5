//! What is left for monitoring.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Where the state of everything is left for others. Nothing of it is secret.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metrics {
    /// Metrics in Prometheus' text format, for the textfile collector of node_exporter.
    pub textfile: Option<PathBuf>,
    /// The status as JSON, for `renewd check` by a user who may not read the journal; `None`: in the directory that systemd
    /// gives the service, where there is one.
    pub status_file: Option<PathBuf>,
    /// Where metrics are answered by HTTP.
    pub listen: Option<Listen>,
}

/// An address of this host alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// A loopback address.
    Tcp(SocketAddr),
    /// A UNIX socket.
    Unix(PathBuf),
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}
