//! How a step ends.

use std::collections::BTreeSet;

use crate::model::{CertificateId, ErrorClass, RolloutEvent};
use crate::sys::error_chain;
use crate::sys::fs::FsError;

/// A step that was carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepDone {
    /// For the machine.
    pub event: RolloutEvent,
    /// Captured output of the command, for the journal; empty where there was none.
    pub output: String,
}

impl From<RolloutEvent> for StepDone {
    fn from(event: RolloutEvent) -> Self {
        Self {
            event,
            output: String::new(),
        }
    }
}

/// A step that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct StepError {
    /// What helps.
    pub class: ErrorClass,
    /// One line: what failed, on what, what to do.
    pub message: String,
    /// Captured output of the command; empty where there was none.
    pub output: String,
    /// `true`: nothing is spoilt, the same step is tried again later. `false`: the rollout is undone or abandoned.
    pub retry: bool,
    /// Whether there is something worth returning to; goes into [`RolloutEvent::Failed`].
    ///
    /// [`RolloutEvent::Failed`]: crate::model::RolloutEvent::Failed
    pub restorable: bool,
    /// Whether the service runs, as far as the step could tell: one that does not run cannot prove an undo either, so
    /// the set stays in place and is proven once the service is back.
    pub service_runs: bool,
    /// Somebody answers, in another protocol than the probe speaks: whatever certificate is there, it could not be seen.
    pub foreign: bool,
    /// Members of the set that it is about, as far as the step can tell; empty where it could be any.
    pub named: BTreeSet<CertificateId>,
}

impl StepError {
    pub(super) fn new(class: ErrorClass, message: impl Into<String>) -> Self {
        Self {
            class,
            message: message.into(),
            output: String::new(),
            retry: false,
            // Until the deployer has looked whether there is something.
            restorable: true,
            service_runs: true,
            foreign: false,
            named: BTreeSet::new(),
        }
    }

    /// The same, blamed on this member of the set.
    pub(super) fn about(mut self, certificate: &CertificateId) -> Self {
        self.named.insert(certificate.clone());
        self
    }

    /// Both, of several members of the set. One that may pass by itself is not counted beside one that does not.
    pub(super) fn and(mut self, other: Self) -> Self {
        match (self.retry, other.retry) {
            (false, true) => return self,
            (true, false) => return other,
            (true, true) | (false, false) => {}
        }
        for line in [&self.message, &other.message] {
            if !self.output.lines().any(|known| known == line) {
                self.output = format!("{}{line}\n", self.output);
            }
        }
        self.named.extend(other.named);
        self
    }

    /// The policy or the host must change.
    pub(crate) fn configuration(message: impl Into<String>) -> Self {
        Self::new(ErrorClass::Configuration, message)
    }
}

impl From<FsError> for StepError {
    /// What may pass by itself, such as a full disk, is tried again.
    fn from(error: FsError) -> Self {
        let class = error.class();
        Self {
            retry: class == ErrorClass::Transient,
            ..Self::new(class, error_chain(&error))
        }
    }
}
