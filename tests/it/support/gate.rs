//! A command that says when it has begun, and does not end before it is let.
#![expect(
    clippy::disallowed_methods,
    reason = "tests arrange files and processes directly"
)]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Closed until it is [opened](Gate::open); whoever comes later finds it open.
pub(crate) struct Gate {
    begun: PathBuf,
    open: PathBuf,
}

impl Gate {
    /// The command is the program `name` in this directory.
    pub(crate) fn new(directory: &Path, name: &str) -> Self {
        let script = directory.join(name);
        let gate = Self {
            begun: script.with_extension("begun"),
            open: script.with_extension("open"),
        };
        // It does not outlive a test that fails.
        let body = format!(
            "#!/bin/sh\necho >>'{}'\nwhile [ -d '{}' ] && ! [ -e '{open}' ]; do sleep 0.05; done\nread -r code <'{open}'\nexit \"$code\"\n",
            gate.begun.display(),
            directory.display(),
            open = gate.open.display()
        );
        std::fs::write(&script, body).unwrap();
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
        gate
    }

    /// Waits until the command runs.
    pub(crate) async fn begun(&self) {
        let since = Instant::now();
        while !self.begun.exists() {
            assert!(since.elapsed() < PATIENCE, "the command was not run");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) fn open(&self) {
        self.end(0);
    }

    /// Opens it; the command ends with this exit status.
    pub(crate) fn end(&self, code: u8) {
        let fresh = self.open.with_extension("new");
        std::fs::write(&fresh, format!("{code}\n")).unwrap();
        std::fs::rename(&fresh, &self.open).unwrap();
    }

    /// Closes it again, and nobody was there.
    pub(crate) fn close(&self) {
        for file in [&self.open, &self.begun] {
            std::fs::remove_file(file).unwrap();
        }
    }
}

/// Ample for a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
