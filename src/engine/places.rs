//! Whether the sandbox of our own unit lets us write where the policy wants it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::deploy::loose_directories;
use crate::engine::steps::Busy;
use crate::engine::{Engine, EngineError};
use crate::model::{CertificateId, Snapshot};
use crate::sys::{fs, systemd};

impl Engine {
    /// The sandbox is made when the unit is started, and another policy may ask for more. What is found is written down, since a person's command, which has no sandbox, shows it too.
    pub(super) async fn observe_places(
        &self,
        snapshot: &mut Snapshot,
        busy: &Busy,
    ) -> Result<(), EngineError> {
        let service = systemd::is_service();
        let targets = self.policy.targets.iter();
        for (id, target) in targets.filter(|(id, _)| !busy.targets.contains(*id)) {
            let found = if service {
                unwritable(loose_directories(&self.policy, target))
            } else {
                BTreeMap::new()
            };
            let known = snapshot.targets.get(id).map(|state| &state.unwritable);
            if known.map_or(found.is_empty(), |known| *known == found) {
                continue;
            }
            for path in found.values().collect::<BTreeSet<_>>() {
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

/// The first directory of each certificate that cannot be written. Each is asked for once: many share one.
fn unwritable(
    directories: BTreeMap<CertificateId, BTreeSet<PathBuf>>,
) -> BTreeMap<CertificateId, PathBuf> {
    let mut known: BTreeMap<PathBuf, bool> = BTreeMap::new();
    let mut is_closed = |path: &PathBuf| {
        let closed = known.get(path).copied();
        closed.unwrap_or_else(|| {
            let closed = fs::is_read_only(path);
            known.insert(path.clone(), closed);
            closed
        })
    };
    let of = directories.into_iter();
    of.filter_map(|(id, paths)| Some((id, paths.into_iter().find(&mut is_closed)?)))
        .collect()
}
