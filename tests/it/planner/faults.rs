//! What goes wrong in a scenario: failures and crashes of steps, by name.

use std::collections::BTreeSet;

use renewd::model::{CertificateId, ErrorClass, Rollout};

/// A failure that is waiting for its step.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    pub(crate) step: String,
    pub(crate) subject: String,
    /// How often; `u32::MAX` until mended.
    pub(crate) times: u32,
    pub(crate) class: ErrorClass,
    pub(crate) message: String,
    pub(crate) retry_after: Option<renewd::model::Seconds>,
    /// An order's call was sent and its answer lost; the value says whether it had its effect.
    pub(crate) lost: Option<bool>,
    /// A rollout's step may succeed later by itself.
    pub(crate) again: bool,
    /// The service does not run.
    pub(crate) down: bool,
    /// Members of the set that a rollout's step blames; without any of them in the set it does not fail.
    pub(crate) named: BTreeSet<CertificateId>,
    /// Members of the set that are to blame, which the step does not say; likewise.
    pub(crate) unnamed: BTreeSet<CertificateId>,
    /// Members of the set that are to blame, for which the step blames everybody; likewise.
    pub(crate) everybody: BTreeSet<CertificateId>,
}

impl Fault {
    pub(crate) fn new(step: &str, subject: &str) -> Self {
        Self {
            step: step.to_owned(),
            subject: subject.to_owned(),
            times: 1,
            class: ErrorClass::Configuration,
            message: "it does not work".to_owned(),
            retry_after: None,
            lost: None,
            again: false,
            down: false,
            named: BTreeSet::new(),
            unnamed: BTreeSet::new(),
            everybody: BTreeSet::new(),
        }
    }
}

/// Where the process dies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Crash {
    pub(crate) step: String,
    pub(crate) subject: String,
    /// Whether the effect has happened by then; the outcome is lost either way.
    pub(crate) after_effect: bool,
}

/// All of them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Faults {
    pub(crate) failures: Vec<Fault>,
    pub(crate) crashes: Vec<Crash>,
}

impl Faults {
    /// The failure of this step, used up by one.
    pub(crate) fn take(&mut self, step: &str, subject: &str) -> Option<Fault> {
        self.take_where(|fault| fault.step == step && fault.subject == subject)
    }

    /// The same of a rollout's step: one that blames members stands while any of them is to be changed.
    pub(crate) fn take_of(
        &mut self,
        step: &str,
        subject: &str,
        rollout: &Rollout,
    ) -> Option<Fault> {
        let changes = |id: &CertificateId| rollout.revisions.get(id) != rollout.previous.get(id);
        let mut fault = self.take_where(|fault| {
            let blamed = || {
                let said = fault.named.iter().chain(&fault.unnamed);
                said.chain(&fault.everybody)
            };
            fault.step == step
                && fault.subject == subject
                && (blamed().next().is_none() || blamed().any(changes))
        })?;
        if !fault.everybody.is_empty() {
            fault.named = rollout.revisions.keys().cloned().collect();
        }
        Some(fault)
    }

    fn take_where(&mut self, is_it: impl Fn(&Fault) -> bool) -> Option<Fault> {
        let at = self.failures.iter().position(is_it)?;
        let fault = self.failures[at].clone();
        if fault.times != u32::MAX {
            self.failures[at].times -= 1;
        }
        if self.failures[at].times == 0 {
            self.failures.remove(at);
        }
        Some(fault)
    }

    /// The crash of this step, used up.
    pub(crate) fn crash(&mut self, step: &str, subject: &str, after_effect: bool) -> bool {
        let wanted = Crash {
            step: step.to_owned(),
            subject: subject.to_owned(),
            after_effect,
        };
        let at = self.crashes.iter().position(|crash| *crash == wanted);
        at.map(|at| self.crashes.remove(at)).is_some()
    }
}
