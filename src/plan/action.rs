//! The planner's output, and the small types that both machines speak.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{
    Alert, AlertKey, Blocked, CertificateId, Doubt, ErrorClass, OrderEvent, OrderId, OrderStep,
    PushId, Reason, RevisionId, RolloutEvent, RolloutId, RolloutStep, StepFailure, Supplement,
    TargetId, Timestamp, Waiting,
};

/// What should happen now, what was decided for every certificate, and when to look again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// In the order in which they should be carried out. At most one per order, per rollout, per certificate (opening,
    /// asking) and per target (opening). Empty when nothing is to be done now.
    pub actions: Vec<Action>,
    /// One for every certificate of the policy.
    pub verdicts: BTreeMap<CertificateId, Verdict>,
    /// Every alert that stands now; one that is raised and not in here is over.
    pub alerts: BTreeMap<AlertKey, Alert>,
    /// What another alert speaks for: it is not raised, and where it was raised before it is not over.
    pub covered: BTreeSet<AlertKey>,
    /// Why the clock is not believed, if it is not: then nothing was decided, and no alert is over.
    pub doubt: Option<Doubt>,
    /// When to look again if nothing else wakes us; always later than the moment of the plan.
    pub next_wake: Timestamp,
}

/// One thing to do. The snapshot may be stale: what an action assumes is checked again before it is carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Write a conclusion into the journal, such as a lost answer after a crash. Has no effect outside.
    RecordOrder {
        /// Which order.
        order: OrderId,
        /// To be given to [`crate::plan::order_machine::transition`].
        event: OrderEvent,
    },
    /// Carry out one step of an order.
    AdvanceOrder {
        /// Which order.
        order: OrderId,
        /// Which step.
        step: OrderStep,
    },
    /// Close an order that nobody wants any more: the event is `Closed { Abandoned { message } }`.
    AbandonOrder {
        /// Which order.
        order: OrderId,
        /// Why.
        message: String,
    },
    /// Write a conclusion into the journal. Has no effect outside.
    RecordRollout {
        /// Which rollout.
        rollout: RolloutId,
        /// To be given to [`crate::plan::rollout_machine::after`].
        event: RolloutEvent,
    },
    /// Carry out one step of a rollout.
    AdvanceRollout {
        /// Which rollout.
        rollout: RolloutId,
        /// Which step.
        step: RolloutStep,
    },
    /// Open an order, by [`crate::plan::open::order`].
    OpenOrder {
        /// For which certificate; it has no open order.
        certificate: CertificateId,
        /// Why.
        reason: Reason,
        /// Its newest revision as the planner saw it; another one makes the action stale.
        expect: Option<RevisionId>,
    },
    /// Open a rollout, by [`crate::plan::open::rollout`].
    OpenRollout {
        /// On which target; it has no open rollout.
        target: TargetId,
        /// The whole set the target has afterwards.
        revisions: BTreeMap<CertificateId, RevisionId>,
        /// Why, for each certificate that changes.
        reasons: BTreeMap<CertificateId, Reason>,
    },
    /// Ask a follower's account for its offer.
    Survey {
        /// For which certificate.
        certificate: CertificateId,
    },
    /// Do what is left to do for a certificate that is issued.
    Tend {
        /// For which.
        certificate: CertificateId,
        /// What.
        task: Tending,
    },
    /// Look at addresses that decide nothing. Only where nothing else is to be done: nobody waits for it.
    Observe {
        /// Of which target; it has no open rollout.
        target: TargetId,
    },
}

/// What is left to do after a certificate was issued. Each is its own answer to "did it happen?": it looks first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tending {
    /// Have a revision of it revoked.
    Revoke(RevisionId),
    /// Bring its newest revision to a place of the cloud.
    Push(PushId),
    /// Take back names that are added to a certificate of it late, if they are.
    TakeBack(Supplement),
}

impl Tending {
    /// The code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Revoke(_) => "revoke",
            Self::Push(_) => "push",
            Self::TakeBack(_) => "take-back",
        }
    }
}

/// What was decided for one certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Valid, and served by every target.
    Healthy {
        /// When renewal is due (for a follower: when a newer one should have been offered).
        renew_at: Timestamp,
    },
    /// Something is done for it now.
    Act(Reason),
    /// Not yet.
    Wait(Waiting),
    /// Not without a person, or not before it is tried again for want of one.
    Blocked(Blocked),
}

impl Verdict {
    /// `healthy`, `act`, `wait` or `blocked`.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Healthy { .. } => "healthy",
            Self::Act(_) => "act",
            Self::Wait(_) => "wait",
            Self::Blocked(_) => "blocked",
        }
    }

    /// When it is looked at again; `None` where another action or a person ends it.
    #[must_use]
    pub const fn until(&self) -> Option<Timestamp> {
        match self {
            Self::Wait(waiting) => waiting.until(),
            Self::Blocked(blocked) => blocked.until(),
            Self::Healthy { .. } | Self::Act(_) => None,
        }
    }
}

/// What a machine does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next<Step, Event> {
    /// Carry out this step.
    Step(Step),
    /// Write down this event: it follows from what is known.
    Record(Event),
    /// Not yet.
    Wait(Waiting),
    /// Not until a person acts, or what is waited for comes late after all.
    Blocked(Blocked),
    /// It is closed.
    Done,
}

/// What the outside said when a step failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// What helps.
    pub class: ErrorClass,
    /// One line.
    pub message: String,
    /// Captured output of a command; empty where there was none.
    pub output: String,
    /// Not before, where the remote side said so.
    pub retry_after: Option<Timestamp>,
}

/// What a failed step means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OnError<Event> {
    /// Give this event to the machine's `transition`.
    Event(Event),
    /// Write down the failure; the phase stays, and the step is tried again after backoff.
    Retry(StepFailure),
}

/// An event that does not fit the phase: a fault of the caller, or a journal that was changed by hand.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the phase {phase} has no way for the event {event}")]
pub struct IllegalTransition {
    /// Code of the phase.
    pub phase: &'static str,
    /// Code of the event.
    pub event: &'static str,
}
