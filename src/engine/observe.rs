//! Compares what the journal says with what is on disk.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::engine::hanging::{self, Subject};
use crate::engine::steps::Busy;
use crate::engine::{Engine, EngineError, identity};
use crate::model::{
    CertificateId, Difference, Look, RevisionId, Rollout, RolloutPhase, SightKind, Snapshot,
    TargetId, TargetPolicy, TargetState, Timestamp, Wire,
};
use crate::plan::explain::counted;
use crate::plan::{count_by_account, rollout_machine};
use crate::store::{self, CertificateChange, Touched};
use crate::sys::{error_chain, host, systemd};

impl Engine {
    /// The snapshot of the journal, with drift of every target and the readability of every newest revision.
    ///
    /// Costs one look at each file of each target; the loop between two checks keeps the snapshot instead.
    ///
    /// # Errors
    /// When the journal cannot be read or written.
    pub async fn observe(&self) -> Result<Snapshot, EngineError> {
        let known = self.known().await?;
        self.look_beside(known, &Busy::default()).await
    }

    /// What the journal knows, without a look at anything else.
    pub(super) async fn known(&self) -> Result<Snapshot, EngineError> {
        let snapshot = self.store.snapshot().await?;
        self.own(snapshot).await
    }

    /// Says in a snapshot of the journal whose it is: this host's, and perhaps not only.
    pub(super) async fn own(&self, mut snapshot: Snapshot) -> Result<Snapshot, EngineError> {
        snapshot.host = self.host;
        if snapshot.identity.is_none() {
            // The first look of an executor, which holds the lock.
            self.store.identify(&identity::new()).await?;
            snapshot.identity = self.store.identity().await?;
        }
        let identity = snapshot.identity.as_ref();
        snapshot.stale = identity.and_then(|identity| identity.stale_on(&host::machine()));
        count_by_account(&self.policy, &mut snapshot);
        Ok(snapshot)
    }

    /// Adds to it what is on disk, while steps may be under way: what they are about is left to them, and then nothing is
    /// tidied.
    pub(super) async fn look_beside(
        &self,
        mut snapshot: Snapshot,
        busy: &Busy,
    ) -> Result<Snapshot, EngineError> {
        snapshot.checked_at = Some(self.clock.now());
        self.resume_proofs(&snapshot).await;
        if busy.is_empty() {
            self.tidy_keys(&snapshot);
        }
        self.observe_revisions(&mut snapshot, busy).await?;
        self.observe_targets(&mut snapshot, |target| !busy.targets.contains(target))
            .await?;
        self.look_at_disks(&mut snapshot, busy).await?;
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
        self.tidy_kept_keys(snapshot);
    }

    /// What ended long ago goes with its key, also where no order comes that would put it away. `now` is a time that an
    /// issuer vouches for: by a clock that is ahead, everything has ended.
    pub(crate) fn tidy_revisions(&self, snapshot: &Snapshot, now: Timestamp) {
        let materials = self.deployer.materials();
        for (id, state) in &snapshot.certificates {
            if !state
                .earlier
                .iter()
                .any(|earlier| store::is_over(earlier, now))
            {
                continue;
            }
            let keep = store::referenced_revisions(snapshot, id, now);
            if let Err(error) = materials.prune(id, &keep) {
                tracing::warn!(certificate = %id, error = error_chain(&error), "old revisions stay on disk");
            }
        }
    }

    async fn observe_revisions(
        &self,
        snapshot: &mut Snapshot,
        busy: &Busy,
    ) -> Result<(), EngineError> {
        let known = snapshot.certificates.iter().filter(|(id, _)| {
            self.policy.certificates.contains_key(*id) && !busy.certificates.contains(*id)
        });
        let newest =
            known.filter_map(|(id, state)| Some((id.clone(), state.newest.as_ref()?.id.clone())));
        let newest: Vec<(CertificateId, RevisionId)> = newest.collect();
        let materials = self.deployer.materials().clone();
        let subject = Subject::Revisions(self.policy.state_dir.clone());
        let looked = hanging::read(subject, ANSWER, move |pulse| {
            let faults = newest.into_iter().map(|(id, revision)| {
                pulse.beat();
                let fault = materials.revision_fault(&id, &revision);
                (id, fault)
            });
            faults.collect::<Vec<_>>()
        });
        let looked = tokio::select! {
            looked = looked => looked,
            () = self.stopped() => return Ok(()),
        };
        let Some(looked) = looked else {
            tracing::error!(
                "stored revisions could not be looked at: the state directory gives no answer"
            );
            return Ok(());
        };
        for (id, found) in looked {
            let Some(state) = snapshot.certificates.get_mut(&id) else {
                continue;
            };
            if found != state.unusable {
                state.unusable.clone_from(&found);
                self.store
                    .change_certificate(&id, CertificateChange::Unusable(found))
                    .await?;
            }
        }
        Ok(())
    }

    /// What services serve, at a check: a handshake per name of every target that has something to show and nothing
    /// under way. Costs seconds for hundreds of names, so it is no part of [`Self::observe`].
    ///
    /// # Errors
    /// When the journal cannot be written.
    pub async fn observe_services(&self, snapshot: &mut Snapshot) -> Result<(), EngineError> {
        self.observe_services_beside(snapshot, &Busy::default())
            .await
    }

    /// The same while steps are under way.
    pub(super) async fn observe_services_beside(
        &self,
        snapshot: &mut Snapshot,
        busy: &Busy,
    ) -> Result<(), EngineError> {
        let now = self.clock.now();
        let targets = self.policy.targets.values();
        let mut waiting = targets
            .filter(|target| !busy.targets.contains(&target.id))
            .filter_map(|target| Some((target, self.shows(&target.id, snapshot)?)));
        let mut looks = JoinSet::new();
        let mut seen = Vec::new();
        loop {
            while looks.len() < TARGETS_AT_ONCE
                && !self.stop.load(Ordering::SeqCst)
                && let Some((target, state)) = waiting.next()
            {
                let (deployer, target, state) =
                    (self.deployer.clone(), target.clone(), state.clone());
                looks.spawn(async move {
                    let served = deployer.served(&target, &state, now).await;
                    (target.id, served)
                });
            }
            let Some(look) = looks.join_next().await else {
                break;
            };
            systemd::alive();
            let (id, served) = look.map_err(|error| EngineError::Bug(error.to_string()))?;
            seen.extend(served.map(|differences| (id, differences)));
        }
        for (id, differences) in seen {
            let Some(state) = snapshot.targets.get_mut(&id) else {
                continue;
            };
            if shown(state, differences) {
                self.store.change_target(&id, state).await?;
            }
        }
        Ok(())
    }

    /// The targets whose services can be looked at.
    pub(super) fn all_that_show(&self, snapshot: &Snapshot) -> Vec<TargetId> {
        let targets = self.policy.targets.keys();
        let shows = |id: &&TargetId| self.shows(id, snapshot).is_some();
        targets.filter(shows).cloned().collect()
    }

    /// What is known of a target that has something to show and nothing under way.
    pub(super) fn shows<'a>(
        &self,
        target: &TargetId,
        snapshot: &'a Snapshot,
    ) -> Option<&'a TargetState> {
        let policy = self.policy.targets.get(target)?;
        let state = snapshot.targets.get(target)?;
        let idle = !is_at_work(snapshot, target) && state.silent.is_none();
        (idle && can_show(state, policy)).then_some(state)
    }

    /// Looks at what one service serves, and remembers what differs. Whoever takes connections and says nothing makes it
    /// take a minute.
    pub(super) async fn look_at_service(
        &self,
        target: &TargetId,
        state: &TargetState,
        now: Timestamp,
    ) -> Result<Touched, EngineError> {
        let mut touched = Touched::default();
        let Some(policy) = self.policy.targets.get(target) else {
            return Ok(touched);
        };
        if let Some(differences) = self.deployer.served(policy, state, now).await {
            let mut state = self.target_state(target).await?;
            if shown(&mut state, differences) {
                self.store.change_target(target, &state).await?;
                touched.targets.insert(target.clone());
            }
        }
        Ok(touched)
    }

    /// When the process is to end.
    pub(super) async fn stopped(&self) {
        while !self.stop.load(Ordering::SeqCst) {
            tokio::time::sleep(STOP_LOOK).await;
        }
    }

    /// Looks at the addresses of a target that decide nothing, and remembers what is there.
    pub(crate) async fn observe_addresses(
        &self,
        target: &TargetId,
        now: Timestamp,
    ) -> Result<Touched, EngineError> {
        let mut touched = Touched::default();
        let Some(policy) = self.policy.targets.get(target) else {
            return Ok(touched);
        };
        let mut state = self.target_state(target).await?;
        let mut observed = tokio::select! {
            observed = self.deployer.observe(policy, &state, now) => observed,
            () = self.stopped() => return Ok(touched),
        };
        let before = state.observed.as_ref();
        if observed.worst() == SightKind::Differs {
            observed.since = before.and_then(|before| before.since).or(Some(now));
        }
        if before.is_none_or(|before| before.sights != observed.sights) {
            let differing = observed.differing().count();
            let (all, silent) = (observed.sights.len(), SightKind::Silent);
            let silent = observed.sights.iter().filter(|sight| sight.kind == silent);
            self.done(
                target,
                format!(
                    "observed elsewhere: {}, {differing} with another certificate, {} without an answer",
                    counted(all, "place"),
                    silent.count()
                ),
            );
        }
        state.observed = Some(observed);
        self.store.change_target(target, &state).await?;
        touched.targets.insert(target.clone());
        Ok(touched)
    }
}

/// Whose the files and the service of a target are while a rollout of it is open.
pub(super) enum Left {
    /// As they were before it: it has changed nothing yet, which may last for as long as a window is closed or a disk is
    /// full, or it has done all but run its `post` hook.
    ToUs,
    /// It has put this generation into place and waits for its service, for weeks perhaps.
    AsCommitted(u64),
    /// It knows better what it has left; what it is to put right stands until it has.
    ToTheRollout,
}

pub(super) fn left(open: &Rollout) -> Left {
    match &open.phase {
        _ if rollout_machine::waits_for_post_hook(open) || rollout_machine::is_untouched(open) => {
            Left::ToUs
        }
        RolloutPhase::AwaitingService {
            look: Look::Waiting,
            ..
        } => Left::AsCommitted(open.generation),
        _ => Left::ToTheRollout,
    }
}

/// Whether what a target's service serves is a rollout's own matter. One that waits for it looks by itself.
fn is_at_work(snapshot: &Snapshot, target: &TargetId) -> bool {
    let mut open = snapshot.rollouts.values();
    open.any(|open| open.target == *target && !matches!(left(open), Left::ToUs))
}

/// Takes over what a look has shown; answers whether that is another thing than before.
fn shown(state: &mut TargetState, differences: Vec<Difference>) -> bool {
    let retold = state.wire.as_ref().is_some_and(|wire| wire.retold);
    let wire = (!differences.is_empty()).then_some(Wire {
        differences,
        retold,
    });
    let changed = wire != state.wire;
    state.wire = wire;
    changed
}

/// Its set was proven or put into place by this very policy; anything else a rollout is about to prove anyway.
fn can_show(state: &TargetState, target: &TargetPolicy) -> bool {
    !state.live.is_empty()
        && state.policy == Some(target.digest)
        && state.undo_failed.is_none()
        && !state.never_served
}

/// Each asks a few names at a time.
const TARGETS_AT_ONCE: usize = 16;
/// For one revision.
const ANSWER: Duration = Duration::from_secs(10);
/// How soon a look ends when the process is to end.
const STOP_LOOK: Duration = Duration::from_millis(100);
