//! Looks at the places of targets: whether they are as they were committed, and whether the sandbox of our own unit lets
//! us write there.
//!
//! A place may lie on a file system that never answers. Each target is looked at on a thread of its own, so that one that
//! hangs is told of, and keeps nothing else back.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

use crate::deploy::loose_directories;
use crate::engine::hanging::{self, Pulse, Subject};
use crate::engine::observe::{Left, left};
use crate::engine::steps::Busy;
use crate::engine::{Engine, EngineError};
use crate::model::{CertificateId, Drift, Snapshot, TargetId, TargetState, Timestamp};
use crate::sys::{fs, systemd};

/// What a look is for.
struct Sought {
    target: TargetId,
    drift: Drifted,
    /// Whether places outside of the state directory are looked at.
    places: bool,
}

/// Whether drift is looked for.
#[derive(Clone, Copy)]
enum Drifted {
    /// A rollout knows better.
    Unasked,
    /// There is nothing yet that could differ.
    Nothing,
    /// From this generation.
    From(u64),
}

/// What a look has shown.
#[derive(Default)]
struct Found {
    drift: Option<Drift>,
    unwritable: BTreeMap<CertificateId, PathBuf>,
}

impl Engine {
    /// Looks at those of the targets that are wanted. What is found is written down, since a person's command shows it too,
    /// and has no sandbox.
    pub(super) async fn observe_targets(
        &self,
        snapshot: &mut Snapshot,
        wanted: impl Fn(&TargetId) -> bool + Send,
    ) -> Result<(), EngineError> {
        self.look_at_targets(snapshot, wanted, ANSWER).await
    }

    /// Marks those that give no answer, of the targets that no step is about.
    pub(super) async fn look_who_answers(
        &self,
        snapshot: &mut Snapshot,
        busy: &Busy,
    ) -> Result<(), EngineError> {
        self.look_at_targets(snapshot, |id| !busy.targets.contains(id), ANSWER_AGAIN)
            .await
    }

    /// Whether those answer by now that did not. As soon as one may: nothing is begun of what hangs still.
    pub(super) async fn look_again(
        &self,
        snapshot: &mut Snapshot,
        busy: &Busy,
    ) -> Result<(), EngineError> {
        let known = snapshot.targets.iter();
        let silent =
            known.filter(|(id, state)| state.silent.is_some() && !busy.targets.contains(*id));
        let silent: BTreeSet<TargetId> = silent.map(|(id, _)| id.clone()).collect();
        if silent.is_empty() {
            return Ok(());
        }
        self.look_at_targets(snapshot, |id| silent.contains(id), ANSWER_AGAIN)
            .await
    }

    async fn look_at_targets(
        &self,
        snapshot: &mut Snapshot,
        wanted: impl Fn(&TargetId) -> bool + Send,
        limit: Duration,
    ) -> Result<(), EngineError> {
        let now = self.clock.now();
        let targets = self.policy.targets.keys().filter(|id| wanted(id));
        let sought: Vec<Sought> = targets.map(|id| self.sought(id, snapshot)).collect();
        let mut waiting = VecDeque::from(sought);
        let places = Arc::new(Semaphore::new(AT_ONCE));
        let mut looks = JoinSet::new();
        while !(waiting.is_empty() && looks.is_empty()) {
            let joined = tokio::select! {
                // Never closed.
                Ok(place) = Arc::clone(&places).acquire_owned(), if !waiting.is_empty() => {
                    let Some(sought) = waiting.pop_front() else {
                        continue;
                    };
                    if !sought.places && !matches!(sought.drift, Drifted::From(_)) {
                        let nothing = Some(Found::default());
                        self.found(snapshot, &sought, nothing, now).await?;
                        continue;
                    }
                    let look = self.look_at_target(&sought, now, limit, place);
                    looks.spawn(async move { (sought, look.await) });
                    continue;
                }
                Some(joined) = looks.join_next() => joined,
                // What hangs holds up no stop.
                () = self.stopped() => return Ok(()),
            };
            systemd::alive();
            let (sought, found) = joined.map_err(|error| EngineError::Bug(error.to_string()))?;
            self.found(snapshot, &sought, found, now).await?;
        }
        Ok(())
    }

    fn sought(&self, id: &TargetId, snapshot: &Snapshot) -> Sought {
        let state = snapshot.targets.get(id);
        let open = snapshot.rollouts.values().find(|open| open.target == *id);
        let generation = match open.map_or(Left::ToUs, left) {
            Left::ToTheRollout => None,
            Left::ToUs => Some(state.and_then(|state| state.generation)),
            Left::AsCommitted(generation) => Some(Some(generation)),
        };
        let drift = match generation {
            None => Drifted::Unasked,
            Some(None) => Drifted::Nothing,
            // What the journal never saw has nothing that could be noted.
            Some(Some(_)) if state.is_none() => Drifted::Nothing,
            Some(Some(generation)) => Drifted::From(generation),
        };
        // The sandbox is made when the unit is started, and another policy may ask for more. A rollout is not to be carried on
        // where nothing answers.
        let touched = systemd::is_service() || matches!(drift, Drifted::Unasked);
        let exports = self.policy.targets.get(id).map(|target| &target.exports);
        let mut files = exports
            .into_iter()
            .flatten()
            .flat_map(|export| export.kind.files());
        let places = touched && files.any(|file| file.is_absolute());
        Sought {
            target: id.clone(),
            drift,
            places,
        }
    }

    fn look_at_target(
        &self,
        sought: &Sought,
        now: Timestamp,
        limit: Duration,
        place: OwnedSemaphorePermit,
    ) -> impl Future<Output = Option<Found>> + Send + use<> {
        let (policy, deployer) = (Arc::clone(&self.policy), self.deployer.clone());
        let (id, drift, places) = (sought.target.clone(), sought.drift, sought.places);
        async move {
            let digest = policy.targets.get(&id)?.digest;
            let subject = Subject::Target(policy.state_dir.clone(), id.clone(), digest);
            let read = hanging::read_in_turn(subject, limit, place, move |pulse| {
                let mut found = Found::default();
                let Some(target) = policy.targets.get(&id) else {
                    return found;
                };
                if let Drifted::From(generation) = drift {
                    found.drift = deployer.drift(target, generation, now, &|| pulse.beat());
                }
                let directories = loose_directories(&policy, target);
                // A server that is gone may be asked for what is remembered of it, and not for what it has free.
                for path in directories.values().flatten().collect::<BTreeSet<_>>() {
                    drop(fs::room(path));
                    pulse.beat();
                }
                if places {
                    let closed = unwritable(directories, pulse);
                    if systemd::is_service() {
                        found.unwritable = closed;
                    }
                }
                found
            });
            read.await
        }
    }

    async fn found(
        &self,
        snapshot: &mut Snapshot,
        sought: &Sought,
        found: Option<Found>,
        now: Timestamp,
    ) -> Result<(), EngineError> {
        let id = &sought.target;
        let unknown = TargetState::default();
        let known = snapshot.targets.get(id).unwrap_or(&unknown);
        let Some(found) = found else {
            if known.silent.is_none() {
                tracing::error!(
                    target = %id,
                    "target {id}: its files give no answer, so it is left alone until they do"
                );
                let state = snapshot.targets.entry(id.clone()).or_default();
                state.silent = Some(now);
                self.store.change_target(id, state).await?;
            }
            return Ok(());
        };
        let asked = !matches!(sought.drift, Drifted::Unasked);
        let drifted = asked && found.drift != known.drift;
        let closed = found.unwritable != known.unwritable;
        if !drifted && !closed && known.silent.is_none() {
            return Ok(());
        }
        if known.silent.is_some() {
            tracing::info!(target = %id, "target {id}: its files answer again");
        }
        if closed {
            for path in found.unwritable.values().collect::<BTreeSet<_>>() {
                tracing::error!(
                    target = %id,
                    path = %path.display(),
                    "target {id}: the sandbox of the unit keeps {} from being written; install what `renewd systemd dropin` prints, then restart renewd",
                    path.display()
                );
            }
        }
        let state = snapshot.targets.entry(id.clone()).or_default();
        state.silent = None;
        if drifted {
            state.drift = found.drift;
        }
        state.unwritable = found.unwritable;
        self.store.change_target(id, state).await?;
        Ok(())
    }
}

/// The first directory of each certificate that cannot be written. Each is asked for once: many share one.
fn unwritable(
    directories: BTreeMap<CertificateId, BTreeSet<PathBuf>>,
    pulse: &Pulse,
) -> BTreeMap<CertificateId, PathBuf> {
    let mut known: BTreeMap<PathBuf, bool> = BTreeMap::new();
    let mut is_closed = |path: &PathBuf| {
        let closed = known.get(path).copied();
        closed.unwrap_or_else(|| {
            pulse.beat();
            let closed = fs::is_read_only(path);
            known.insert(path.clone(), closed);
            closed
        })
    };
    let of = directories.into_iter();
    of.filter_map(|(id, paths)| Some((id, paths.into_iter().find(&mut is_closed)?)))
        .collect()
}

/// Targets that are looked at side by side, and not counted those that hang.
const AT_ONCE: usize = 16;
/// For one file; the slowest disk needs less to wake up.
const ANSWER: Duration = Duration::from_secs(10);
/// Where nobody answered before, and everything else waits meanwhile.
const ANSWER_AGAIN: Duration = Duration::from_secs(1);
