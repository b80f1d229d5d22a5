//! A rollout: the attempt to put a set of revisions on one target.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::{
    CertificateId, ErrorClass, Failures, Fingerprint, HookSteps, Reason, RevisionId, RolloutId,
    Started, TargetId, Timestamp,
};

/// A rollout with everything the planner needs to know of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollout {
    /// Made when it was opened.
    pub id: RolloutId,
    /// Where.
    pub target: TargetId,
    /// Why, for each certificate that changes.
    pub reasons: BTreeMap<CertificateId, Reason>,
    /// The whole set the target has afterwards, changed or not.
    pub revisions: BTreeMap<CertificateId, RevisionId>,
    /// The whole set it had before.
    pub previous: BTreeMap<CertificateId, RevisionId>,
    /// The generation to be written.
    pub generation: u64,
    /// The generation to return to; `None` when `live` did not exist.
    pub previous_generation: Option<u64>,
    /// Digest of the target's policy it was opened with.
    pub policy: Fingerprint,
    /// The hooks that its target had then.
    #[serde(default, skip_serializing_if = "HookSteps::is_empty")]
    pub hooks: HookSteps,
    /// Certificates whose newer ones, which somebody else installed, are to be replaced.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub overwrite: BTreeSet<CertificateId>,
    /// Certificates in place of which the service was seen to serve something else before: the way back cannot be proven
    /// by them, and where they do not change the way there is not asked for them either.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub strange: BTreeSet<CertificateId>,
    /// The way back of an earlier one failed and nobody has looked since: nothing is put into place unless the service
    /// accepts its configuration as it is before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub wary: bool,
    /// When.
    pub opened_at: Timestamp,
    /// The last phase that was reached and written down.
    pub phase: RolloutPhase,
    /// A step whose intent is in the journal and whose outcome is not.
    pub started: Option<Started<RolloutStep>>,
    /// Of the present step, in a row.
    pub failures: Failures,
}

impl Rollout {
    /// Nothing changes; the service is only told once more, since it serves something else.
    #[must_use]
    pub fn only_tells_again(&self) -> bool {
        let served =
            |reason: &Reason| matches!(reason, Reason::Drifted { kind, .. } if kind.is_served());
        !self.reasons.is_empty() && self.reasons.values().all(served)
    }

    /// Whether it is no fault of this rollout, on its way back, that these are not served as they should: it repeats what
    /// was there of them, and they were served no better with its set, or nobody was told of that. A name that was taken
    /// out of the service's configuration, and not out of the policy, must not keep the others away.
    #[must_use]
    pub fn is_innocent_of(&self, named: &BTreeSet<CertificateId>) -> bool {
        let RolloutPhase::Undoing { cause, .. } = &self.phase else {
            return false;
        };
        let as_bad_before = |id| {
            (cause.step == RolloutStep::Verify && cause.named.contains(id))
                || !self.phase.service_was_told()
        };
        !named.is_empty()
            && named
                .iter()
                .all(|id| self.repeats(id) && !self.reasons.contains_key(id) && as_bad_before(id))
    }

    /// Whether the set has of this certificate what was there before.
    #[must_use]
    pub fn repeats(&self, id: &CertificateId) -> bool {
        let previous = self.previous.get(id);
        previous.is_some() && self.revisions.get(id) == previous
    }

    /// Something else was served in place of this certificate, and this rollout is not about it.
    #[must_use]
    pub fn leaves_strange(&self, id: &CertificateId) -> bool {
        self.strange.contains(id) && !self.reasons.contains_key(id)
    }
}

/// How far a rollout has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "kebab-case")]
pub enum RolloutPhase {
    /// Written down.
    Opened,
    /// The generation and the temporary copies are on disk, fsynced, checked.
    Staged,
    /// The `pre` hook let it pass; not without one.
    PreHooks,
    /// What was there before is saved, the link is switched, loose files are replaced.
    Committed,
    /// The service accepts its configuration.
    Tested,
    /// The service was told.
    Reloaded,
    /// Every deciding probe saw the new leaf.
    Verified {
        /// What each saw; empty where the policy says `probe = "none"`.
        reports: Vec<ProbeReport>,
    },
    /// The `post` hook went well; not without one.
    PostHooks,
    /// Committed with nothing to return to, and the service does not serve it yet: test, reload and proof are repeated.
    AwaitingService {
        /// What was seen.
        detail: String,
        /// Next look not before.
        look_at: Timestamp,
        /// How far the present look has come.
        #[serde(default)]
        look: Look,
    },
    /// On the way back.
    Undoing {
        /// What made it necessary.
        cause: Cause,
        /// How far.
        undo: UndoPhase,
    },
    /// It ends badly, and the `on_failure` hook is to be run before it is put away; not without one.
    OnFailure {
        /// How it ends.
        closing: RolloutClosing,
    },
    /// Done.
    Closed {
        /// How it ended.
        closing: RolloutClosing,
    },
}

impl RolloutPhase {
    /// The code, for people and the journal.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Staged => "staged",
            Self::PreHooks => "pre-hooks",
            Self::Committed => "committed",
            Self::Tested => "tested",
            Self::Reloaded => "reloaded",
            Self::Verified { .. } => "verified",
            Self::PostHooks => "post-hooks",
            Self::OnFailure { .. } => "on-failure",
            Self::AwaitingService { .. } => "awaiting-service",
            Self::Undoing { undo, .. } => match undo {
                UndoPhase::Decided => "undo-decided",
                UndoPhase::Restored => "undo-restored",
                UndoPhase::Reloaded => "undo-reloaded",
                UndoPhase::Verified => "undo-verified",
            },
            Self::Closed { closing } => closing.code(),
        }
    }
}

/// How far one look at a service has come: the steps after the commit, once more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Look {
    /// Not begun.
    #[default]
    Waiting,
    /// The service accepts its configuration.
    Tested,
    /// The service was told.
    Reloaded,
}

impl RolloutPhase {
    /// On the way back from a set with which somebody answered in another protocol than the probe speaks.
    #[must_use]
    pub const fn suspects_the_probe(&self) -> bool {
        matches!(self, Self::Undoing { cause, .. } if matches!(cause.probe, ProbeFault::Suspected))
    }

    /// Whether the service was told of the new set, on the way there or before the rollout turned back.
    #[must_use]
    pub const fn service_was_told(&self) -> bool {
        match self {
            Self::Undoing { cause, .. } => match cause.step {
                RolloutStep::Stage
                | RolloutStep::PreHook
                | RolloutStep::Commit
                | RolloutStep::Test => false,
                RolloutStep::Reload
                | RolloutStep::Verify
                | RolloutStep::PostHook
                | RolloutStep::FailureHook
                | RolloutStep::Restore
                | RolloutStep::ReloadBack
                | RolloutStep::VerifyBack
                | RolloutStep::Close => true,
            },
            Self::Opened
            | Self::Staged
            | Self::PreHooks
            | Self::Committed
            | Self::Tested
            | Self::Reloaded
            | Self::Verified { .. }
            | Self::PostHooks
            | Self::OnFailure { .. }
            | Self::AwaitingService { .. }
            | Self::Closed { .. } => true,
        }
    }
}

/// How far an undo has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UndoPhase {
    /// Written down.
    Decided,
    /// Link and loose files are as before.
    Restored,
    /// The service was told.
    Reloaded,
    /// The old leaf is served.
    Verified,
}

/// What made a step fail for good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// Which step.
    pub step: RolloutStep,
    /// What helps.
    pub class: ErrorClass,
    /// One line.
    pub message: String,
    /// Captured output of the command, limited; empty where there was none.
    pub output: String,
    /// Members of the set that the step blames, as far as it can tell; empty where it could be any.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub named: BTreeSet<CertificateId>,
    /// Members that the set does not change, and that were served no better without it, with what was seen: no fault of
    /// the set.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub strange: BTreeMap<CertificateId, String>,
    /// The service refused what was there before as well, when it was put back: the fault is not in the set.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub refused: bool,
    /// Whether the fault is the probe's.
    #[serde(default, skip_serializing_if = "ProbeFault::is_none")]
    pub probe: ProbeFault,
}

/// Whether what failed is the probe, and not what is served.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProbeFault {
    /// It works, as far as is known.
    #[default]
    None,
    /// With the new set somebody answered in another protocol: the probe may be wrong, or the service with this set.
    Suspected,
    /// With the old set too: no certificate of this target can be seen by this probe.
    Certain,
}

impl ProbeFault {
    /// For the journal, which does not repeat what is usual.
    #[must_use]
    pub const fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }
}

/// How a rollout ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "closing", rename_all = "kebab-case")]
pub enum RolloutClosing {
    /// Proven (or unproven by policy).
    Live,
    /// The old set is served and proven.
    RolledBack {
        /// Why.
        cause: Cause,
    },
    /// The old set could not be proven: a person must act.
    RollbackFailed {
        /// Why there was an undo.
        cause: Cause,
        /// Why it failed.
        undo: Cause,
    },
    /// A step failed before anything had been committed.
    Abandoned {
        /// Why.
        cause: Cause,
    },
    /// Another set is wanted, and this one was not committed yet or still waited for its service; no failure.
    Superseded {
        /// Why.
        message: String,
        /// Whether it had been committed: then its set is the live one, though never proven.
        committed: bool,
    },
}

impl RolloutClosing {
    /// Why it ended badly; `None` where it did not.
    #[must_use]
    pub const fn cause(&self) -> Option<&Cause> {
        match self {
            Self::Live | Self::Superseded { .. } => None,
            Self::RolledBack { cause }
            | Self::RollbackFailed { cause, .. }
            | Self::Abandoned { cause } => Some(cause),
        }
    }

    /// The code, for people and hooks.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::RolledBack { .. } => "rolled-back",
            Self::RollbackFailed { .. } => "rollback-failed",
            Self::Abandoned { .. } => "abandoned",
            Self::Superseded { .. } => "superseded",
        }
    }
}

/// What can be done next for a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RolloutStep {
    /// Preflight, then write the generation and temporary copies.
    Stage,
    /// The target's `pre` hook, if it has one.
    PreHook,
    /// Save what is there, switch the link, replace loose files.
    Commit,
    /// The service's own configuration test.
    Test,
    /// Tell the service.
    Reload,
    /// Handshakes.
    Verify,
    /// The target's `post` hook, if it has one.
    PostHook,
    /// The target's `on_failure` hook, if it has one.
    FailureHook,
    /// Put link and loose files back.
    Restore,
    /// Tell the service, on the way back.
    ReloadBack,
    /// Handshakes, on the way back.
    VerifyBack,
    /// Put the rollout away.
    Close,
}

impl RolloutStep {
    /// The code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Stage => "stage",
            Self::PreHook => "pre-hook",
            Self::PostHook => "post-hook",
            Self::FailureHook => "failure-hook",
            Self::Commit => "commit",
            Self::Test => "test",
            Self::Reload => "reload",
            Self::Verify => "verify",
            Self::Restore => "restore",
            Self::ReloadBack => "reload-back",
            Self::VerifyBack => "verify-back",
            Self::Close => "close",
        }
    }

    /// Every step, for tests that visit each boundary.
    pub const ALL: [Self; 12] = [
        Self::Stage,
        Self::PreHook,
        Self::Commit,
        Self::Test,
        Self::Reload,
        Self::Verify,
        Self::PostHook,
        Self::FailureHook,
        Self::Restore,
        Self::ReloadBack,
        Self::VerifyBack,
        Self::Close,
    ];
}

impl fmt::Display for RolloutStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.code())
    }
}

/// What a step found out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum RolloutEvent {
    /// Everything is on disk beside the live set.
    Staged,
    /// The `pre` hook let it pass.
    PreHookPassed,
    /// The live set is the new one.
    Committed,
    /// Accepted (or there is no test).
    Tested,
    /// Told (or nobody needs telling).
    Reloaded,
    /// Served.
    Verified {
        /// What each probe saw.
        reports: Vec<ProbeReport>,
    },
    /// The `post` hook went well.
    PostHookPassed,
    /// The `on_failure` hook was run, well or not: it is not repeated.
    FailureHookEnded {
        /// What went wrong with it.
        trouble: Option<String>,
    },
    /// A step failed for good (not: will be tried again).
    Failed {
        /// Which and why.
        cause: Cause,
        /// Next look, should the rollout wait for its service.
        look_at: Timestamp,
        /// Whether there is something worth returning to: a previous generation or saved originals of loose files,
        /// none of them expired. Without it a failing test, reload or proof waits for the service instead of an undo.
        restorable: bool,
    },
    /// Link and loose files are as before.
    Restored,
    /// The service was told, on the way back.
    ReloadedBack {
        /// It refused the old set as well, or nobody was there to be told; what is served decides all the same.
        #[serde(default)]
        refused: bool,
    },
    /// The old set is served.
    VerifiedBack {
        /// What each probe saw.
        #[serde(default)]
        reports: Vec<ProbeReport>,
        /// Nothing could be seen, by the same fault of the probe as on the way there.
        #[serde(default)]
        blind: bool,
        /// All but these, which the rollout has nothing to do with, see [`Rollout::is_innocent_of`]; with what was seen.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        strange: BTreeMap<CertificateId, String>,
    },
    /// Another set is wanted before this one was committed, or while it waits for its service.
    Superseded {
        /// Why.
        message: String,
    },
    /// Put away.
    Closed,
}

impl RolloutEvent {
    /// What probes saw, on the way there or back.
    #[must_use]
    pub fn reports(&self) -> &[ProbeReport] {
        match self {
            Self::Verified { reports } | Self::VerifiedBack { reports, .. } => reports,
            Self::Staged
            | Self::PreHookPassed
            | Self::Committed
            | Self::Tested
            | Self::Reloaded
            | Self::PostHookPassed
            | Self::FailureHookEnded { .. }
            | Self::Failed { .. }
            | Self::Restored
            | Self::ReloadedBack { .. }
            | Self::Superseded { .. }
            | Self::Closed => &[],
        }
    }

    /// The code, for the journal and for errors.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Staged => "staged",
            Self::PreHookPassed => "pre-hook-passed",
            Self::PostHookPassed => "post-hook-passed",
            Self::FailureHookEnded { .. } => "failure-hook-ended",
            Self::Committed => "committed",
            Self::Tested => "tested",
            Self::Reloaded => "reloaded",
            Self::Verified { .. } => "verified",
            Self::Failed { .. } => "failed",
            Self::Restored => "restored",
            Self::ReloadedBack { .. } => "reloaded-back",
            Self::VerifiedBack { .. } => "verified-back",
            Self::Superseded { .. } => "superseded",
            Self::Closed => "closed",
        }
    }
}

/// What one TLS handshake showed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeReport {
    /// Name sent in SNI.
    pub name: String,
    /// `address:port` spoken to.
    pub address: String,
    /// Serial of the leaf that was served, lower-case hex.
    pub serial: String,
    /// Names of the leaf that was served.
    pub names: String,
    /// End of its validity.
    pub not_after: Timestamp,
    /// Certificates presented, leaf included.
    pub chain: usize,
    /// Such as `TLSv1.3`.
    pub protocol: String,
    /// From connect to the end of the handshake.
    pub milliseconds: u64,
}
