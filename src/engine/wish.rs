//! What people ask of the daemon: written into the journal at the next tick, answered when it has come as far as it can.

use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::engine::{Engine, Revocation, Scope};
use crate::model::{
    CertificateId, JobName, RevisionId, RolloutPhase, Seconds, Snapshot, TargetState, Timestamp,
};
use crate::plan::Plan;
use crate::store::{CertificateChange, StoreError};

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// A new revision of a certificate, rolled out.
    Renew(CertificateId),
    /// An earlier revision of a certificate on its targets: that one, or the one before what is live.
    Rollback {
        /// Of which certificate.
        name: CertificateId,
        /// Which one.
        to: Option<RevisionId>,
        /// Also in the place of what somebody else put there.
        force: bool,
    },
    /// The end of a hold on the targets of a certificate.
    Release {
        /// Of which certificate.
        name: CertificateId,
        /// Also in the place of what somebody else put there.
        force: bool,
    },
    /// A revision of a certificate revoked.
    Revoke(Revocation),
    /// A run of a job, whatever its schedule says.
    Job(JobName),
    /// Everything that is due, with a look at services that are waited for.
    Once,
    /// The policy read again.
    Reload,
}

impl Wanted {
    /// The certificate that it is about, if it is about one.
    #[must_use]
    pub const fn certificate(&self) -> Option<&CertificateId> {
        match self {
            Self::Renew(name) | Self::Rollback { name, .. } | Self::Release { name, .. } => {
                Some(name)
            }
            Self::Revoke(revocation) => Some(&revocation.name),
            Self::Job(_) | Self::Once | Self::Reload => None,
        }
    }

    /// What its outcome is about.
    #[must_use]
    pub fn scope(&self) -> Scope {
        let certificate = self.certificate().cloned();
        certificate.map_or(Scope::All, Scope::One)
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
    /// What came of it, where nothing is wrong.
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

/// A wish that is not settled yet.
pub(super) struct Pending {
    pub(super) wish: Wish,
    /// Not by the clock on the wall, which may be set meanwhile.
    since: Instant,
    /// Whether the journal knows of it.
    pub(super) begun: bool,
    /// Whether it is from the present tick, which shall do what no plan does by itself.
    pub(super) fresh: bool,
    /// What is to be told besides how it ended.
    pub(super) notes: Vec<String>,
    /// What kept it from being begun.
    pub(super) hindrance: Option<String>,
    /// Whether that was so although nothing was under way.
    pub(super) in_vain: bool,
}

impl Pending {
    pub(super) fn new(wish: Wish) -> Self {
        Self {
            wish,
            since: Instant::now(),
            begun: false,
            fresh: false,
            notes: Vec::new(),
            hindrance: None,
            in_vain: false,
        }
    }

    /// Until when it waits for what cannot be done yet, by the clock as it is set now.
    pub(super) fn deadline(&self, now: Timestamp) -> Timestamp {
        let wait = Seconds(self.wish.wait.0.clamp(0, LONGEST_WAIT.0)).to_std();
        now + Seconds::of(wait.saturating_sub(self.since.elapsed()))
    }

    pub(super) fn answer(self, mut outcome: Outcome) {
        let mut notes = self.notes;
        notes.extend((!outcome.note.is_empty()).then_some(outcome.note));
        outcome.note = notes.join("\n");
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
pub(super) fn forget_wish(state: &mut TargetState, name: &CertificateId) {
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
pub(super) fn unblock(state: &mut TargetState) {
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
