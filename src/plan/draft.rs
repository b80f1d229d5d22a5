//! A plan in the making.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{
    Alert, AlertKey, CertificateId, HostSeed, IssuerId, OrderId, Seconds, Severity, StepFailure,
    Timestamp, Waiting,
};
use crate::plan::outage::Hold;
use crate::plan::pacing::OrderBudget;
use crate::plan::{Action, Plan, Tending, Verdict};

/// The last of the failures in a row that a certificate met at its issuer.
#[derive(Debug)]
pub(crate) struct Met {
    /// For whom it was asked.
    pub(crate) certificate: CertificateId,
    /// Whom.
    pub(crate) issuer: IssuerId,
    /// How many in a row.
    pub(crate) count: u32,
    /// The last one.
    pub(crate) failure: StepFailure,
    /// End of what there is, where there is something.
    pub(crate) not_after: Option<Timestamp>,
}

/// Collects what the parts decide.
#[derive(Debug)]
pub(crate) struct Draft {
    now: Timestamp,
    /// Of this host.
    pub(crate) host: HostSeed,
    /// Steps of open rollouts: what is half done is finished first.
    pub(crate) rollouts: Vec<Action>,
    /// Steps of open orders.
    pub(crate) orders: Vec<Action>,
    /// New rollouts.
    pub(crate) new_rollouts: Vec<Action>,
    /// New orders.
    pub(crate) new_orders: Vec<Action>,
    /// Questions to followers' accounts.
    pub(crate) surveys: Vec<Action>,
    /// What is left to do for certificates that are issued.
    pub(crate) tending: Vec<Action>,
    /// Of issuers that answer nobody.
    pub(crate) holds: BTreeMap<IssuerId, Hold>,
    /// What issuers may still be given in this hour.
    pub(crate) budgets: BTreeMap<IssuerId, OrderBudget>,
    /// Orders that may be buying, by account: one purchase at a time.
    buying: BTreeSet<(IssuerId, OrderId)>,
    /// Issuers by account, as [`Snapshot::accounts`](crate::model::Snapshot::accounts) has them.
    pub(crate) accounts: BTreeMap<IssuerId, IssuerId>,
    /// Whom one question is asked already.
    asked: BTreeSet<IssuerId>,
    /// Renewals that are due are ordered from then on; `None` for now.
    pub(crate) renewals_from: Option<Timestamp>,
    /// Looks at what decides nothing.
    pub(crate) observations: Vec<Action>,
    alerts: BTreeMap<AlertKey, Alert>,
    covered: BTreeSet<AlertKey>,
    /// What issuers said no to, or nothing.
    pub(crate) met: Vec<Met>,
    next_wake: Timestamp,
}

impl Draft {
    /// Nothing to do.
    pub(crate) fn new(now: Timestamp) -> Self {
        Self {
            now,
            host: HostSeed::default(),
            rollouts: Vec::new(),
            orders: Vec::new(),
            new_rollouts: Vec::new(),
            new_orders: Vec::new(),
            surveys: Vec::new(),
            tending: Vec::new(),
            holds: BTreeMap::new(),
            budgets: BTreeMap::new(),
            buying: BTreeSet::new(),
            accounts: BTreeMap::new(),
            asked: BTreeSet::new(),
            renewals_from: None,
            observations: Vec::new(),
            alerts: BTreeMap::new(),
            covered: BTreeSet::new(),
            met: Vec::new(),
            next_wake: now + LONGEST_SLEEP,
        }
    }

    /// Takes a certificate's questions to its issuer back, where that may not be asked now: what it waits for. `before`
    /// is the [mark](Self::mark) from before they were added.
    pub(crate) fn hold_back(
        &mut self,
        before: (usize, usize, usize),
        issuer: &IssuerId,
    ) -> Option<Waiting> {
        let hold = self.holds.get(issuer)?;
        let asks = |action: &Action| match action {
            Action::AdvanceOrder { step, .. } => step.asks_issuer(),
            _ => false,
        };
        let (orders, new_orders, surveys) = before;
        let questions = self.orders[orders..].iter().any(asks)
            || self.new_orders.len() > new_orders
            || self.surveys.len() > surveys;
        if !questions {
            return None;
        }
        let waiting = match hold {
            Hold::Ask(_) if self.asked.insert(issuer.clone()) => return None,
            Hold::Ask(waiting) | Hold::Rest(waiting) => waiting.clone(),
        };
        self.orders.truncate(orders);
        self.new_orders.truncate(new_orders);
        self.surveys.truncate(surveys);
        Some(waiting)
    }

    /// An order may be buying, or is to.
    pub(crate) fn buys(&mut self, issuer: &IssuerId, order: &OrderId) {
        let account = self.accounts.get(issuer).unwrap_or(issuer);
        self.buying.insert((account.clone(), order.clone()));
    }

    /// Whether another order of the issuer's account may be buying.
    pub(crate) fn is_buying(&self, issuer: &IssuerId, but: &OrderId) -> bool {
        let account = self.accounts.get(issuer).unwrap_or(issuer);
        let mut all = self.buying.iter();
        all.any(|(of, order)| of == account && order != but)
    }

    /// One more thing for a certificate that is issued; where something else is done for it already, after that.
    pub(crate) fn tend(&mut self, certificate: &CertificateId, task: Tending) {
        let begun = |action: &Action| match action {
            Action::OpenOrder {
                certificate: id, ..
            }
            | Action::Survey { certificate: id }
            | Action::Tend {
                certificate: id, ..
            } => id == certificate,
            Action::RecordOrder { .. }
            | Action::AdvanceOrder { .. }
            | Action::AbandonOrder { .. }
            | Action::RecordRollout { .. }
            | Action::AdvanceRollout { .. }
            | Action::OpenRollout { .. }
            | Action::Observe { .. } => false,
        };
        let mut others = self.new_orders.iter().chain(&self.surveys);
        if !others.any(begun) && !self.tending.iter().any(begun) {
            let certificate = certificate.clone();
            self.tending.push(Action::Tend { certificate, task });
        }
    }

    /// Whether an issuer may be asked one more thing: what is waited for, if not.
    pub(crate) fn rests(&self, issuer: &IssuerId) -> Option<Timestamp> {
        match self.holds.get(issuer)? {
            Hold::Ask(waiting) | Hold::Rest(waiting) => waiting.until(),
        }
    }

    /// How much there is of what may have to be taken back.
    pub(crate) const fn mark(&self) -> (usize, usize, usize) {
        (self.orders.len(), self.new_orders.len(), self.surveys.len())
    }

    /// Look again at this moment, or sooner; a moment that is past asks for nothing.
    pub(crate) fn wake(&mut self, at: Timestamp) {
        if at > self.now {
            self.next_wake = self.next_wake.min(at);
        }
    }

    /// This stands.
    pub(crate) fn alert(
        &mut self,
        severity: Severity,
        kind: &str,
        subject: &str,
        title: String,
        text: String,
    ) {
        self.alert_step(severity, (kind, 0), subject, title, text);
    }

    /// This stands, and has come so far: it is told again when the step has grown.
    pub(crate) fn alert_step(
        &mut self,
        severity: Severity,
        (kind, step): (&str, u32),
        subject: &str,
        title: String,
        text: String,
    ) {
        let key = AlertKey::new(kind, subject);
        self.alerts.insert(
            key.clone(),
            Alert {
                key,
                severity,
                step,
                title,
                text,
            },
        );
    }

    /// Another alert speaks for this one as well, or it was overtaken: it is not raised for that, and not over.
    pub(crate) fn cover(&mut self, kind: &str, subject: &str) {
        let key = AlertKey::new(kind, subject);
        if self.alerts.remove(&key).is_some() {
            self.covered.insert(key);
        }
    }

    /// The plan. `verdicts` must be in the order of their ids.
    pub(crate) fn finish(mut self, verdicts: Vec<(CertificateId, Verdict)>) -> Plan {
        let mut actions = self.rollouts;
        actions.append(&mut self.orders);
        actions.append(&mut self.new_rollouts);
        actions.append(&mut self.new_orders);
        actions.append(&mut self.surveys);
        actions.append(&mut self.tending);
        if actions.is_empty() {
            actions = self.observations;
        }
        Plan {
            actions,
            // In order, so that the tree is built in one pass.
            verdicts: verdicts.into_iter().collect(),
            alerts: self.alerts,
            covered: self.covered,
            next_wake: self.next_wake,
            doubt: None,
        }
    }
}

/// Once a day everything is looked at even if nothing is due: a wrong clock or a lost wake-up costs a day at most.
const LONGEST_SLEEP: Seconds = Seconds::hours(24);
