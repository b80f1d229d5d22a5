//! What is left for monitoring: the status file and the metrics textfile.
//!
//! Both are written when their content changes, after a tick. In between a daemon that is idle only says that it is alive,
//! once a minute: the status file's time of change, and the one line of the textfile that holds a moment. Failures are told
//! and hold nothing up.

use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};

use crate::engine::status::status_of;
use crate::engine::{Engine, EngineError, status};
use crate::model::{Policy, Snapshot, Timestamp};
use crate::plan::status::Status;
use crate::plan::{Plan, metrics};
use crate::sys::fs::{self, Attributes, FsError};
use crate::sys::{error_chain, systemd};

/// Knows what was written last.
#[derive(Debug, Default)]
pub struct Publisher {
    written: Option<Vec<u8>>,
    /// What was in the way last, so that it is told once.
    trouble: Option<String>,
}

impl Publisher {
    /// What is known now, by the journal.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn publish(&mut self, engine: &Engine) -> Result<(), EngineError> {
        let files = Files::of(&engine.policy);
        if files.is_empty() {
            return Ok(());
        }
        let now = engine.clock.now();
        let status = status(&engine.policy, Some(&*engine.store), now).await?;
        self.write(&files, status, now);
        Ok(())
    }

    /// The same after a tick, by what that has in memory.
    pub(super) async fn after_tick(
        &mut self,
        engine: &Engine,
        snapshot: &Snapshot,
        plan: &Plan,
    ) -> Result<(), EngineError> {
        let files = Files::of(&engine.policy);
        if files.is_empty() {
            return Ok(());
        }
        let now = engine.clock.now();
        let alerts = engine.store.open_alerts().await?;
        let status = status_of(&engine.policy, snapshot, plan, alerts, now);
        self.write(&files, status, now);
        Ok(())
    }

    /// Says that we are alive; where that cannot be said of what is there, it is written anew.
    pub(super) async fn beat(&mut self, engine: &Engine, now: Timestamp) {
        let files = Files::of(&engine.policy);
        if files.is_empty() || (self.trouble.is_none() && files.say(now)) {
            return;
        }
        // Gone, or somebody else's.
        self.written = None;
        if let Err(error) = self.publish(engine).await {
            tracing::debug!(error = error_chain(&error), "the status was not written");
        }
    }

    fn write(&mut self, files: &Files, mut status: Status, now: Timestamp) {
        status.agent.progress_at = Some(now.to_string());
        let state = serde_json::to_vec(&status.clone().timeless()).unwrap_or_default();
        let digest = digest(&SHA256, &state).as_ref().to_vec();
        if self.written.as_ref() == Some(&digest) && self.trouble.is_none() && files.say(now) {
            return;
        }
        let result = write(files, &status);
        self.written = result.is_ok().then_some(digest);
        let trouble = result.err().map(|error| error_chain(&error));
        if trouble != self.trouble {
            match &trouble {
                Some(text) => tracing::warn!(
                    "what is left for monitoring is out of date: {text}; where renewd is a service, install what `renewd systemd dropin` prints"
                ),
                None => tracing::info!("what is left for monitoring is written again"),
            }
        }
        self.trouble = trouble;
    }
}

fn write(files: &Files, status: &Status) -> Result<(), FsError> {
    if let Some(path) = &files.status {
        let mut text = serde_json::to_vec_pretty(status).unwrap_or_default();
        text.push(b'\n');
        fs::write_atomic(path, &text, &PUBLIC)?;
    }
    if let Some(path) = &files.textfile {
        fs::write_atomic(path, metrics::render(status).as_bytes(), &PUBLIC)?;
    }
    Ok(())
}

/// As a whole, since the collector may read it at any moment.
fn refresh(path: &Path, now: Timestamp) -> Result<(), FsError> {
    let text = fs::read(path, LONGEST)?;
    let text = String::from_utf8_lossy(&text);
    match metrics::with_progress(&text, now) {
        Some(text) => fs::write_atomic(path, text.as_bytes(), &PUBLIC),
        None => {
            let why = std::io::Error::other("it is not what we wrote");
            Err(FsError::new("refresh", path, why))
        }
    }
}

struct Files {
    status: Option<PathBuf>,
    textfile: Option<PathBuf>,
}

impl Files {
    fn of(policy: &Policy) -> Self {
        Self {
            status: status_file(policy),
            textfile: policy.metrics.textfile.clone(),
        }
    }

    const fn is_empty(&self) -> bool {
        self.status.is_none() && self.textfile.is_none()
    }

    fn say(&self, now: Timestamp) -> bool {
        let touched = self.status.as_deref().map(|path| fs::touch(path, now));
        let refreshed = self.textfile.as_deref().map(|path| refresh(path, now));
        [touched, refreshed].iter().flatten().all(Result::is_ok)
    }
}

/// Where the status is left: where the policy says, else in the directory that systemd gives the service. A person's command
/// beside that service keeps the same file true.
#[must_use]
pub fn status_file(policy: &Policy) -> Option<PathBuf> {
    let written = policy.metrics.status_file.clone();
    written.or_else(|| {
        let given = systemd::runtime_directory();
        let usual = Path::new(RUNTIME_DIRECTORY);
        let ours = policy.state_dir == Path::new(STATE_DIRECTORY) && usual.is_dir();
        let directory = given.or_else(|| ours.then(|| usual.to_owned()))?;
        Some(directory.join("status.json"))
    })
}

/// Where the packaged service leaves it.
pub const STATUS_FILE: &str = "/run/renewd/status.json";

const RUNTIME_DIRECTORY: &str = "/run/renewd";
const STATE_DIRECTORY: &str = "/var/lib/renewd";

/// There is no secret in it, and whoever watches is not root.
const PUBLIC: Attributes = Attributes {
    mode: 0o644,
    ..Attributes::PRIVATE
};

/// Bytes; ten thousand certificates make about twenty million.
const LONGEST: u64 = 256 << 20;
