//! Whether the sandbox of our own unit lets us write where the policy wants it.

use crate::deploy::loose_directories;
use crate::engine::{Engine, EngineError};
use crate::model::Snapshot;
use crate::sys::{fs, systemd};

impl Engine {
    /// The sandbox is made when the unit is started, and another policy may ask for more. What is found is written down, since a person's command, which has no sandbox, shows it too.
    pub(super) async fn observe_places(&self, snapshot: &mut Snapshot) -> Result<(), EngineError> {
        let service = systemd::is_service();
        for (id, target) in &self.policy.targets {
            let found = if service {
                let directories = loose_directories(&self.policy, target);
                directories.into_iter().find(|path| fs::is_read_only(path))
            } else {
                None
            };
            let known = snapshot.targets.get(id);
            if known.and_then(|state| state.unwritable.as_ref()) == found.as_ref() {
                continue;
            }
            if let Some(path) = &found {
                tracing::error!(
                    target = %id,
                    path = %path.display(),
                    "target {id}: the sandbox of the unit keeps {} from being written; install what `renewd systemd dropin` prints, then restart renewd",
                    path.display()
                );
            }
            let state = snapshot.targets.entry(id.clone()).or_default();
            state.unwritable = found;
            self.store.change_target(id, state).await?;
        }
        Ok(())
    }
}
