//! Compares what the journal says with what is on disk.

use crate::engine::{Engine, EngineError};
use crate::model::Snapshot;
use crate::store::CertificateChange;
use crate::sys::error_chain;

impl Engine {
    /// The snapshot of the journal, with drift of every target and the readability of every newest revision.
    ///
    /// Costs one look at each file of each target; the loop between two checks keeps the snapshot instead.
    ///
    /// # Errors
    /// When the journal cannot be read or written.
    pub async fn observe(&self) -> Result<Snapshot, EngineError> {
        let mut snapshot = self.store.snapshot().await?;
        snapshot.host = self.host;
        self.tidy_keys(&snapshot);
        self.observe_revisions(&mut snapshot).await?;
        self.observe_targets(&mut snapshot).await?;
        Ok(snapshot)
    }

    /// What refused, abandoned and killed orders left of private keys goes.
    fn tidy_keys(&self, snapshot: &Snapshot) {
        let open = snapshot.orders.keys().cloned().collect();
        let materials = self.deployer.materials();
        let tidied = materials.sweep().and_then(|()| materials.keep_keys(&open));
        if let Err(error) = tidied {
            tracing::warn!(error = error_chain(&error), "keys of closed orders stay");
        }
    }

    async fn observe_revisions(&self, snapshot: &mut Snapshot) -> Result<(), EngineError> {
        for (id, state) in &mut snapshot.certificates {
            let Some(newest) = &state.newest else {
                continue;
            };
            if !self.policy.certificates.contains_key(id) {
                continue;
            }
            let materials = self.deployer.materials();
            let found = (!materials.revision_exists(id, &newest.id))
                .then(|| format!("revision {} is missing or incomplete on disk", newest.id));
            if found != state.unusable {
                state.unusable.clone_from(&found);
                self.store
                    .change_certificate(id, CertificateChange::Unusable(found))
                    .await?;
            }
        }
        Ok(())
    }

    async fn observe_targets(&self, snapshot: &mut Snapshot) -> Result<(), EngineError> {
        let now = self.clock.now();
        for id in self.policy.targets.keys() {
            let Some(state) = snapshot.targets.get_mut(id) else {
                continue;
            };
            // An open rollout knows better what it has left on disk; what it is to put right stands until it has.
            if snapshot.rollouts.values().any(|r| r.target == *id) {
                continue;
            }
            let found = self.deployer.drift(id, state, now);
            if found != state.drift {
                state.drift = found;
                self.store.change_target(id, state).await?;
            }
        }
        Ok(())
    }
}
