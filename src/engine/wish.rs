//! What people ask of the daemon: written into the journal at the next tick, answered when it has come as far as it can.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::engine::{Engine, Scope};
use crate::model::{
    CertificateId, JobName, RolloutPhase, Seconds, Snapshot, TargetState, Timestamp,
};
use crate::plan::Plan;
use crate::store::{CertificateChange, StoreError};

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// A new revision of a certificate, rolled out.
    Renew(CertificateId),
    /// A run of a job, whatever its schedule says.
    Job(JobName),
    /// Everything that is due, with a look at services that are waited for.
    Once,
    /// The policy read again.
    Reload,
}

impl Wanted {
    /// What its outcome is about.
    #[must_use]
    pub fn scope(&self) -> Scope {
        match self {
            Self::Renew(name) => Scope::One(name.clone()),
            Self::Job(_) | Self::Once | Self::Reload => Scope::All,
        }
    }
}

/// A wish and who waits for its outcome. One who has gone away is not minded: what was asked for is done all the same.
#[derive(Debug)]
pub struct Wish {
    /// What.
    pub wanted: Wanted,
    /// How long to wait for what cannot be done yet.
    pub wait: Seconds,
    /// Hears once.
    pub answer: oneshot::Sender<Outcome>,
}

/// How a wish ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The exit status that the same command has without a daemon.
    pub exit: u8,
    /// One line of what came of it, where nothing is wrong.
    pub note: String,
    /// What went wrong, for people.
    pub errors: Vec<String>,
}

impl Outcome {
    /// One that could not be carried out.
    #[must_use]
    pub fn refused(exit: u8, error: impl Into<String>) -> Self {
        Self {
            exit,
            note: String::new(),
            errors: vec![error.into()],
        }
    }
}

/// A wish that is in the journal and not settled yet.
pub(super) struct Pending {
    pub(super) wish: Wish,
    pub(super) deadline: Timestamp,
    /// Whether the journal knows of it.
    pub(super) begun: bool,
    /// Whether it is from the present tick, which shall do what no plan does by itself.
    pub(super) fresh: bool,
}

impl Pending {
    pub(super) fn new(wish: Wish, now: Timestamp) -> Self {
        let wait = Seconds(wish.wait.0.clamp(0, LONGEST_WAIT.0));
        Self {
            wish,
            deadline: now + wait,
            begun: false,
            fresh: false,
        }
    }

    pub(super) fn answer(self, outcome: Outcome) {
        // Nobody may be waiting any more.
        let _ = self.wish.answer.send(outcome);
    }
}

impl Engine {
    /// Writes down that a person wants a new revision now: what failed before is tried again, and a rollback that was
    /// asked for and is not in place would keep the new one off.
    ///
    /// # Errors
    /// When the journal cannot be written.
    pub async fn ask_renewal(&self, name: &CertificateId) -> Result<(), StoreError> {
        self.store
            .change_certificate(name, CertificateChange::Forced)
            .await?;
        let snapshot = self.store.snapshot().await?;
        let Some(policy) = self.policy.certificates.get(name) else {
            return Ok(());
        };
        for target in &policy.targets {
            if let Some(mut state) = snapshot.targets.get(target).cloned() {
                unblock(&mut state);
                forget_wish(&mut state, name);
                self.store.change_target(target, &state).await?;
            }
            self.store.hurry_rollout(target).await?;
        }
        Ok(())
    }

    /// Whether something of the scope can still be waited for until then; with what is waited for.
    pub(super) fn still_waits(
        &self,
        plan: &Plan,
        scope: &Scope,
        deadline: Timestamp,
    ) -> Option<(String, String)> {
        self.next_in_scope(plan, scope, deadline)
            .map(|(_, subject, text)| (subject, text))
    }
}

/// Whoever starts a service and then runs renewd wants it looked at now, not when the daemon would.
pub fn look_at_services(snapshot: &mut Snapshot, now: Timestamp) {
    for rollout in snapshot.rollouts.values_mut() {
        if let RolloutPhase::AwaitingService { look_at, .. } = &mut rollout.phase {
            *look_at = now.min(*look_at);
        }
    }
}

/// Takes a rollback of this certificate back that is not in place yet; those of others stay.
pub fn forget_wish(state: &mut TargetState, name: &CertificateId) {
    let Some(wanted) = &mut state.wanted else {
        return;
    };
    wanted.remove(name);
    if wanted
        .iter()
        .all(|(id, revision)| state.live.get(id) == Some(revision))
    {
        state.wanted = None;
    }
}

/// A person asked: what failed before is tried again.
pub fn unblock(state: &mut TargetState) {
    state.undo_failed = None;
    state.failures = crate::model::Failures::default();
    state.aside.clear();
    state.split = None;
}

/// What a wish has come to, in the words of the command line.
pub type Judge = Arc<dyn Fn(&Judged<'_>) -> Outcome + Send + Sync>;

/// What is to be judged.
pub enum Judged<'a> {
    /// A tick ended.
    Planned {
        /// The one that was at work.
        engine: &'a Engine,
        /// What is known after it.
        snapshot: &'a Snapshot,
        /// What is left.
        plan: &'a Plan,
        /// What was asked for.
        scope: Scope,
    },
    /// A tick could not be finished.
    Failed(&'a crate::engine::EngineError),
}

/// Nobody is kept in mind longer.
const LONGEST_WAIT: Seconds = Seconds::days(1);
