//! A world for the planner: a policy, a journal, an account and services, all in memory, driven by the real decisions.
//!
//! What the engine does with files and network is done here with maps; what it asks the planner is asked the same way.

use std::collections::{BTreeMap, BTreeSet};

use renewd::model::{
    Alert, AlertKey, CertificateId, CertificateState, Control, ErrorClass, Failures, Fingerprint,
    IssuerId, Name, Offer, Order, OrderClosing, OrderEvent, OrderId, OrderPhase, OrderStep, Policy,
    RevisionFacts, RevisionId, Rollout, RolloutClosing, RolloutEvent, RolloutId, RolloutPhase,
    RolloutStep, Seconds, Snapshot, Started, StepFailure, TargetId, Timestamp, Want,
};
use renewd::plan::order_machine::{self, Timing};
use renewd::plan::rollout_machine::{self, Failed};
use renewd::plan::{
    self, Action, OnError, Plan, Tending, Trouble, Verdict, backoff, open, outcome,
};

use super::account::{Account, Issued};
use super::faults::{Fault, Faults};
use super::scm::Scm;

/// The files and the service of a target.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Service {
    pub(crate) disk: BTreeMap<CertificateId, RevisionId>,
    pub(crate) served: BTreeMap<CertificateId, RevisionId>,
    /// Its configuration is refused, whatever the files are.
    pub(crate) broken: bool,
    /// It knows nothing of these, whatever the files are.
    pub(crate) retired: BTreeSet<CertificateId>,
    /// With another revision of the first, the second is not shown.
    pub(crate) hides: Option<(CertificateId, CertificateId)>,
}

/// Everything.
#[derive(Debug, Clone)]
pub(crate) struct World {
    pub(crate) policy: Policy,
    pub(crate) snapshot: Snapshot,
    pub(crate) now: Timestamp,
    pub(crate) account: Account,
    pub(crate) faults: Faults,
    pub(crate) services: BTreeMap<TargetId, Service>,
    pub(crate) log: Log,
    /// Codes that were seen: the scenarios together must show each.
    pub(crate) seen: BTreeSet<String>,
    alerts: BTreeMap<AlertKey, Alert>,
    pub(super) keys: BTreeMap<OrderId, Fingerprint>,
    pub(crate) scm: Scm,
    /// Purchases that were made or may have been, by order.
    pub(super) purchases: BTreeMap<OrderId, (IssuerId, Timestamp)>,
    /// Orders whose purchases the journal knows.
    pub(super) bought: BTreeSet<OrderId>,
    count: u32,
}

/// Lines of a transcript; what happens to one thing in a row shares a line.
#[derive(Debug, Clone, Default)]
pub(crate) struct Log {
    pub(crate) lines: Vec<String>,
    subject: String,
    /// The last event and how often it came in a row.
    last: (String, u32),
}

impl Log {
    pub(crate) fn line(&mut self, text: String) {
        self.subject.clear();
        self.lines.push(text);
    }

    fn event(&mut self, subject: &str, text: &str) {
        match self.lines.last_mut() {
            Some(line) if self.subject == subject && self.last.0 == text => {
                let before = times(text, self.last.1);
                line.truncate(line.len() - before.len());
                self.last.1 += 1;
                line.push_str(&times(text, self.last.1));
            }
            Some(line) if self.subject == subject => {
                line.push_str(&format!(", {text}"));
                self.last = (text.to_owned(), 1);
            }
            _ => {
                self.lines.push(format!("{subject}: {text}"));
                self.subject = subject.to_owned();
                self.last = (text.to_owned(), 1);
            }
        }
    }
}

fn times(text: &str, count: u32) -> String {
    match count {
        1 => text.to_owned(),
        more => format!("{text} ({more} times)"),
    }
}

/// What a step came to.
pub(super) enum Came<Event> {
    Event(Event),
    Trouble(Fault),
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            policy: Policy {
                state_dir: "/nowhere".into(),
                control: Control::of(std::path::Path::new("/nowhere")),
                jobs: BTreeMap::new(),
                issuers: BTreeMap::new(),
                certificates: BTreeMap::new(),
                targets: BTreeMap::new(),
                alerting: renewd::model::Alerting::default(),
                watches: BTreeMap::new(),
                metrics: renewd::model::Metrics::default(),
                validations: BTreeMap::new(),
                pushes: BTreeMap::new(),
            },
            snapshot: Snapshot::default(),
            now: Timestamp(0),
            account: Account::default(),
            faults: Faults::default(),
            services: BTreeMap::new(),
            log: Log::default(),
            seen: BTreeSet::new(),
            alerts: BTreeMap::new(),
            keys: BTreeMap::new(),
            scm: Scm::default(),
            purchases: BTreeMap::new(),
            bought: BTreeSet::new(),
            count: 0,
        }
    }

    /// Plans and executes until nothing is to be done; then, while waits end before `deadline`, goes on there.
    pub(crate) fn run(&mut self, deadline: Timestamp) -> Plan {
        for _ in 0..ROUNDS {
            let plan = self.plan();
            if plan.actions.is_empty() {
                if plan.next_wake > deadline {
                    return plan;
                }
                self.now = plan.next_wake;
                continue;
            }
            for action in plan.actions {
                self.execute(action);
            }
        }
        panic!("the plan does not end:\n{}", self.log.lines.join("\n"));
    }

    /// Plans once, with everything that must hold for every plan.
    pub(crate) fn plan(&mut self) -> Plan {
        let plan = plan::plan(&self.policy, &self.snapshot, self.now);
        assert_eq!(
            plan,
            plan::plan(&self.policy, &self.snapshot, self.now),
            "the same input gives the same plan"
        );
        assert!(plan.next_wake > self.now && plan.next_wake <= self.now + Seconds::hours(24));
        assert!(plan.verdicts.keys().eq(self.policy.certificates.keys()));
        one_action_each(&plan, &self.snapshot);
        for (id, verdict) in &plan.verdicts {
            match verdict {
                Verdict::Healthy { renew_at } => {
                    assert!(*renew_at > self.now, "{id} is due and called healthy");
                }
                Verdict::Act(reason) => drop(self.seen.insert(format!("reason {}", reason.code()))),
                Verdict::Wait(waiting) => {
                    assert!(waiting.until().is_none_or(|until| until > self.now));
                    self.seen.insert(format!("waiting {}", waiting.code()));
                }
                Verdict::Blocked(blocked) => {
                    self.seen.insert(format!("blocked {}", blocked.code()));
                }
            }
        }
        self.tell_alerts(&plan);
        plan
    }

    fn tell_alerts(&mut self, plan: &Plan) {
        for (key, alert) in &plan.alerts {
            let before = self.alerts.get(key);
            if before.is_none_or(|before| before.step < alert.step) {
                let kind = key.as_str().split('/').next().unwrap();
                self.seen.insert(format!("alert {kind}"));
                self.log
                    .line(format!("alert {key} ({}): {}", alert.severity, alert.title));
            }
        }
        let over: Vec<&AlertKey> = self
            .alerts
            .keys()
            .filter(|key| !plan.alerts.contains_key(key) && !plan.covered.contains(key))
            .collect();
        for key in over {
            self.log.line(format!("resolved {key}"));
        }
        self.alerts.retain(|key, _| plan.covered.contains(key));
        self.alerts.extend(plan.alerts.clone());
    }

    /// The standing alerts with their whole text.
    pub(crate) fn show_alerts(&mut self) {
        for alert in self.alerts.values() {
            self.log.line(format!(
                "{} ({}): {}\n  {}",
                alert.key, alert.severity, alert.title, alert.text
            ));
        }
    }

    /// Verdicts and what is served, after a run.
    pub(crate) fn summary(&mut self, plan: &Plan) {
        for (id, verdict) in &plan.verdicts {
            self.log.line(match verdict {
                Verdict::Healthy { renew_at } => format!("healthy {id}: renew at {renew_at}"),
                Verdict::Act(reason) => format!("act {id}: {}: {reason}", reason.code()),
                Verdict::Wait(waiting) => format!("wait {id}: {}: {waiting}", waiting.code()),
                Verdict::Blocked(blocked) => format!("blocked {id}: {}: {blocked}", blocked.code()),
            });
        }
        for (target, service) in &self.services {
            self.log
                .line(format!("serves {target}: {}", set(&service.served)));
        }
    }

    pub(crate) fn execute(&mut self, action: Action) {
        match action {
            Action::OpenOrder {
                certificate,
                reason,
                expect,
            } => {
                let newest = self
                    .state(&certificate)
                    .newest
                    .as_ref()
                    .map(|n| n.id.clone());
                assert_eq!(newest, expect, "the world does not change behind a plan");
                self.log
                    .line(format!("open-order {certificate}: {}", reason.code()));
                self.count += 1;
                let id = OrderId::new(&format!("o{}", self.count)).unwrap();
                let state = self.state(&certificate).clone();
                let (policy, now) = (&self.policy, self.now);
                let wanted = &policy.certificates[&certificate];
                let order = open::order(id.clone(), policy, wanted, &state, reason, now);
                self.snapshot.order_opened(&order.issuer, self.now);
                self.snapshot.orders.insert(id, order);
            }
            Action::AdvanceOrder { order, step } => self.order_step(&order, step),
            Action::AbandonOrder { order, message } => {
                let closing = OrderClosing::Abandoned { message };
                self.order_event(&order, OrderEvent::Closed { closing }, None);
            }
            Action::RecordOrder { order, event } => self.order_event(&order, event, None),
            Action::OpenRollout {
                target,
                revisions,
                reasons,
            } => {
                let why: Vec<String> = reasons
                    .iter()
                    .map(|(id, reason)| {
                        self.seen.insert(format!("reason {}", reason.code()));
                        format!("{id} {}", reason.code())
                    })
                    .collect();
                self.log
                    .line(format!("open-rollout {target}: {}", why.join(", ")));
                self.count += 1;
                let id = RolloutId::new(&format!("p{}", self.count)).unwrap();
                let state = self.snapshot.targets.entry(target.clone()).or_default();
                let policy = &self.policy.targets[&target];
                let generation = u64::from(self.count);
                let rollout = open::rollout(
                    id.clone(),
                    policy,
                    state,
                    revisions,
                    reasons,
                    generation,
                    self.now,
                );
                self.snapshot.rollouts.insert(id, rollout);
            }
            Action::AdvanceRollout { rollout, step } => self.rollout_step(&rollout, step),
            Action::RecordRollout { rollout, event } => self.rollout_event(&rollout, event),
            Action::Survey { certificate } => self.survey(&certificate),
            Action::Tend {
                certificate,
                task: Tending::TakeBack(late),
            } => self.take_back(&certificate, &late),
            Action::Tend { certificate, task } => {
                panic!("{certificate}: no scenario has a {}", task.code())
            }
            Action::Observe { target } => panic!("{target} observes nothing"),
        }
    }

    pub(super) fn state(&mut self, id: &CertificateId) -> &mut CertificateState {
        self.snapshot.certificates.entry(id.clone()).or_default()
    }

    fn digest(&self, order: &Order) -> Fingerprint {
        match self.policy.certificates.get(&order.certificate) {
            Some(policy) => backoff::digest(policy, self.policy.issuers.get(&order.issuer)),
            None => order.request.policy,
        }
    }

    pub(super) fn timing(&self, order: &Order) -> Timing {
        Timing::from(&self.policy.issuers[&order.issuer])
    }

    fn order_step(&mut self, id: &OrderId, step: OrderStep) {
        let order = self.snapshot.orders.get_mut(id).unwrap();
        order.started = Some(Started { step, at: self.now });
        let order = order.clone();
        let certificate = order.certificate.to_string();
        if step == OrderStep::Buy {
            self.purchase_begins(&order);
        }
        if self.faults.crash(step.code(), &certificate, false) {
            self.log
                .line(format!("crash before {step} of {certificate}"));
            return;
        }
        let fault = self.faults.take(step.code(), &certificate);
        let came = match fault {
            Some(fault) if fault.lost == Some(true) => {
                // Sent, arrived, and the answer never came back.
                let _ = self.order_effect(&order, step);
                Came::Trouble(fault)
            }
            Some(fault) => {
                if fault.lost == Some(false) && order.request.public.is_none() {
                    let key = self.key_of(&order);
                    self.account.sent(&order, key);
                }
                Came::Trouble(fault)
            }
            None => self.order_effect(&order, step),
        };
        if self.faults.crash(step.code(), &certificate, true) {
            self.log
                .line(format!("crash after {step} of {certificate}"));
            return;
        }
        match came {
            Came::Event(event) => {
                let revision = match &event {
                    OrderEvent::Issued { .. } => Some(self.fetched(&order)),
                    _ => None,
                };
                self.order_event(id, event, revision);
            }
            Came::Trouble(fault) => self.order_trouble(&order, step, fault),
        }
    }

    pub(super) fn key_of(&self, order: &Order) -> Fingerprint {
        self.keys
            .get(&order.id)
            .copied()
            .unwrap_or(Fingerprint([0; 32]))
    }

    fn fetched(&self, order: &Order) -> RevisionFacts {
        let OrderPhase::Submitted { reference, .. } = &order.phase else {
            panic!("fetched in {}", order.phase.code());
        };
        if order.request.public.is_some() {
            return self.scm.revision(reference, order);
        }
        self.account.revision(reference, order)
    }

    fn order_effect(&mut self, order: &Order, step: OrderStep) -> Came<OrderEvent> {
        let now = self.now;
        let closes = matches!(order.phase, OrderPhase::Issued { .. });
        if order.request.public.is_some() && step != OrderStep::StoreKey && !closes {
            return self.public_effect(order, step);
        }
        Came::Event(match step {
            OrderStep::StoreKey => {
                self.count += 1;
                let fresh = Fingerprint([u8::try_from(self.count % 251).unwrap(); 32]);
                let spki = *self.keys.entry(order.id.clone()).or_insert(fresh);
                OrderEvent::KeyStored { spki }
            }
            OrderStep::Submit => {
                let key = self.key_of(order);
                OrderEvent::Accepted {
                    reference: self.account.submit(order, key, now),
                    poll_after: now + Seconds(if self.account.pending > 0 { 60 } else { 0 }),
                }
            }
            OrderStep::Locate => match self.account.offers.get(&order.certificate) {
                Some(reference) => OrderEvent::Accepted {
                    reference: reference.clone(),
                    poll_after: now,
                },
                None => {
                    let mut fault = Fault::new(step.code(), order.certificate.as_str());
                    fault.class = ErrorClass::Rejected;
                    fault.message = "the account has none any more".to_owned();
                    return Came::Trouble(fault);
                }
            },
            OrderStep::Resolve => match self.account.lookup(order) {
                Some(reference) => OrderEvent::Accepted {
                    reference,
                    poll_after: now,
                },
                None => order_machine::absent(order, self.timing(order), now),
            },
            OrderStep::Fetch => {
                let OrderPhase::Submitted { reference, .. } = &order.phase else {
                    panic!("fetch in {}", order.phase.code());
                };
                let issued = self.account.issued.get_mut(reference).unwrap();
                if issued.pending > 0 {
                    issued.pending -= 1;
                    OrderEvent::NotYet {
                        poll_after: now + Seconds(60),
                        review: renewd::model::Review::default(),
                    }
                } else if let Some(why) = unfit(issued, order, now) {
                    let mut fault = Fault::new(step.code(), order.certificate.as_str());
                    fault.class = ErrorClass::Rejected;
                    fault.message = why.to_owned();
                    return Came::Trouble(fault);
                } else {
                    OrderEvent::Issued {
                        revision: self.account.revision(reference, order).id,
                    }
                }
            }
            OrderStep::Look
            | OrderStep::Confirm
            | OrderStep::Buy
            | OrderStep::Trace
            | OrderStep::Publish
            | OrderStep::Examine
            | OrderStep::Retract
            | OrderStep::Supplement
            | OrderStep::Withdraw => panic!("{step} of an order that is not public"),
            OrderStep::Close => {
                let OrderPhase::Issued { revision, .. } = &order.phase else {
                    panic!("close in {}", order.phase.code());
                };
                OrderEvent::Closed {
                    closing: OrderClosing::Fulfilled {
                        revision: revision.clone(),
                    },
                }
            }
        })
    }

    fn order_trouble(&mut self, order: &Order, step: OrderStep, fault: Fault) {
        let lost = fault.lost.is_some();
        let trouble = Trouble {
            class: fault.class,
            message: fault.message.clone(),
            output: String::new(),
            retry_after: fault.retry_after.map(|wait| self.now + wait),
        };
        let decision = order_machine::on_error(
            order,
            step,
            trouble,
            lost,
            self.timing(order),
            self.digest(order),
            self.now,
        );
        if lost {
            // The call ran into its time-out.
            self.now = self.now + self.timing(order).timeout;
        }
        let subject = format!("order {}", order.certificate);
        self.log
            .event(&subject, &format!("{step} failed ({})", fault.message));
        if step == OrderStep::Buy && !lost {
            self.purchase_forgotten(&order.id);
        }
        match decision {
            OnError::Event(event) => self.order_event(&order.id, event, None),
            OnError::Retry(failure) => {
                let order = self.snapshot.orders.get_mut(&order.id).unwrap();
                order.started = None;
                order.failures.add(failure);
            }
        }
    }

    fn order_event(&mut self, id: &OrderId, event: OrderEvent, revision: Option<RevisionFacts>) {
        let order = self.snapshot.orders[id].clone();
        if event == OrderEvent::DefinitelyNotBought {
            self.purchase_forgotten(id);
        }
        if event == OrderEvent::DefinitelyAbsent && order.request.public.is_none() {
            self.account.allow_again(&order);
        }
        let phase = order_machine::transition(&order.phase, &event).unwrap();
        let digest = self.digest(&order);
        let state = self.state(&order.certificate).clone();
        let after =
            outcome::certificate_after(&state, &order, &event, revision.as_ref(), digest, self.now);
        if let Some(after) = after {
            self.snapshot
                .certificates
                .insert(order.certificate.clone(), after);
        }
        if revision.is_some() && order.request.public.is_some() {
            self.remember_entitlement(&order);
        }
        let mut text = match (&event, &phase) {
            (OrderEvent::Absent { .. }, OrderPhase::Unclear { absences, .. }) => {
                format!("absent ({absences} counted)")
            }
            (OrderEvent::NotBought { .. }, OrderPhase::PurchaseUnclear { purchase, .. }) => {
                format!("not-bought ({} counted)", purchase.absences)
            }
            (OrderEvent::Wanting { want, .. }, _) => {
                let what = match want {
                    Want::Successor { .. } => "a successor",
                    Want::Entitlement => "an entitlement",
                    Want::Person { .. } | Want::Names { .. } => "a person",
                };
                format!("wanting {what}")
            }
            (OrderEvent::Closed { closing }, OrderPhase::Ending { .. }) => {
                let end = OrderPhase::Closed {
                    closing: closing.clone(),
                };
                format!("to be {}", end.code())
            }
            (OrderEvent::Closed { .. }, _) => phase.code().to_owned(),
            _ => event.code().to_owned(),
        };
        match &phase {
            OrderPhase::Closed { closing } => {
                match closing {
                    OrderClosing::Failed { class, message } => {
                        text.push_str(&format!(" ({class}: {message})"));
                    }
                    OrderClosing::Abandoned { message } => text.push_str(&format!(" ({message})")),
                    OrderClosing::Fulfilled { .. } => {}
                }
                self.seen.insert(format!("closing {}", phase.code()));
                self.snapshot.orders.remove(id);
            }
            OrderPhase::Opened
            | OrderPhase::Seeking { .. }
            | OrderPhase::Claiming { .. }
            | OrderPhase::Bare { .. }
            | OrderPhase::PurchaseUnclear { .. }
            | OrderPhase::Entitled { .. }
            | OrderPhase::Ending { .. }
            | OrderPhase::KeyStored { .. }
            | OrderPhase::Unclear { .. }
            | OrderPhase::Submitted { .. }
            | OrderPhase::Issued { .. } => {
                let order = self.snapshot.orders.get_mut(id).unwrap();
                order.phase = phase;
                order.started = None;
                order.failures = Failures::default();
            }
        }
        if let Some(revision) = &revision {
            let facts = &revision.facts;
            text.push_str(&format!(
                " serial={} until {}",
                facts.serial,
                facts.not_after.date()
            ));
        }
        self.log
            .event(&format!("order {}", order.certificate), &text);
    }

    fn survey(&mut self, id: &CertificateId) {
        let policy = self.policy.certificates[id].clone();
        let now = self.now;
        if let Some(fault) = self.faults.take("survey", id.as_str()) {
            self.log
                .line(format!("survey {id}: failed ({})", fault.message));
            self.state(id).survey_failures.add(StepFailure {
                at: now,
                class: fault.class,
                message: fault.message,
                retry_after: None,
                policy: policy.digest,
            });
            return;
        }
        let reference = self.account.offers.get(id).cloned();
        let issued_at = reference.as_ref().map(|r| self.account.issued[r].issued_at);
        let text = reference.as_deref().unwrap_or("nothing").to_owned();
        let state = self.state(id);
        state.survey_failures = Failures::default();
        state.offered_under = Some(policy.digest);
        state.offer = Some(Offer {
            asked_at: now,
            reference,
            issued_at,
        });
        self.log.event(&format!("survey {id}"), &text);
    }

    fn rollout_step(&mut self, id: &RolloutId, step: RolloutStep) {
        let rollout = self.snapshot.rollouts.get_mut(id).unwrap();
        rollout.started = Some(Started { step, at: self.now });
        let rollout = rollout.clone();
        let target = rollout.target.to_string();
        if self.faults.crash(step.code(), &target, false) {
            self.log.line(format!("crash before {step} on {target}"));
            return;
        }
        let came = match self.faults.take_of(step.code(), &target, &rollout) {
            Some(fault) => Came::Trouble(fault),
            None => self.rollout_effect(&rollout, step),
        };
        if self.faults.crash(step.code(), &target, true) {
            self.log.line(format!("crash after {step} on {target}"));
            return;
        }
        match came {
            Came::Event(event) => self.rollout_event(id, event),
            Came::Trouble(fault) => self.rollout_trouble(&rollout, step, fault),
        }
    }

    fn rollout_effect(&mut self, rollout: &Rollout, step: RolloutStep) -> Came<RolloutEvent> {
        let service = self.services.entry(rollout.target.clone()).or_default();
        let wrong = |what: &str, service: &Service| {
            let mut fault = Fault::new(step.code(), rollout.target.as_str());
            fault.message = format!("{what}: {}", set(&service.served));
            Came::Trouble(fault)
        };
        Came::Event(match step {
            RolloutStep::Stage
                if rollout.wary && service.broken && service.disk == rollout.previous =>
            {
                return wrong("refuses what it has, and serves", service);
            }
            RolloutStep::Stage => RolloutEvent::Staged,
            RolloutStep::PreHook => RolloutEvent::PreHookPassed,
            RolloutStep::PostHook => RolloutEvent::PostHookPassed,
            RolloutStep::FailureHook => RolloutEvent::FailureHookEnded { trouble: None },
            RolloutStep::Commit => {
                service.disk = rollout.revisions.clone();
                RolloutEvent::Committed
            }
            RolloutStep::Test if service.broken => {
                return wrong("its configuration is broken, and it serves", service);
            }
            RolloutStep::Test => RolloutEvent::Tested,
            RolloutStep::Reload => {
                service.served = service.disk.clone();
                RolloutEvent::Reloaded
            }
            RolloutStep::Verify if service.served != rollout.revisions => {
                return wrong("serves", service);
            }
            RolloutStep::Verify
                if asked_in_vain(service, rollout, &rollout.revisions)
                    .next()
                    .is_some() =>
            {
                let named = asked_in_vain(service, rollout, &rollout.revisions)
                    .cloned()
                    .collect();
                return Came::Trouble(unnamed_fault(step, rollout, named));
            }
            RolloutStep::Verify => RolloutEvent::Verified {
                reports: Vec::new(),
            },
            RolloutStep::Restore => {
                service.disk = rollout.previous.clone();
                RolloutEvent::Restored
            }
            RolloutStep::ReloadBack if service.broken => {
                RolloutEvent::ReloadedBack { refused: true }
            }
            RolloutStep::ReloadBack => {
                service.served = service.disk.clone();
                RolloutEvent::ReloadedBack { refused: false }
            }
            RolloutStep::VerifyBack if service.served != rollout.previous => {
                return wrong("still serves", service);
            }
            RolloutStep::VerifyBack => {
                let mut strange: BTreeSet<CertificateId> =
                    asked_in_vain(service, rollout, &rollout.previous)
                        .cloned()
                        .collect();
                strange.retain(|id| !rollout.strange.contains(id));
                if !strange.is_empty() && !rollout.is_innocent_of(&strange) {
                    return Came::Trouble(unnamed_fault(step, rollout, strange));
                }
                let seen = |id| (id, "refuses the name".to_owned());
                RolloutEvent::VerifiedBack {
                    reports: vec![],
                    blind: false,
                    strange: strange.into_iter().map(seen).collect(),
                }
            }
            RolloutStep::Close => RolloutEvent::Closed,
        })
    }

    fn rollout_trouble(&mut self, rollout: &Rollout, step: RolloutStep, fault: Fault) {
        let digest = self.policy.targets[&rollout.target].digest;
        let subject = format!("rollout {}", rollout.target);
        self.log
            .event(&subject, &format!("{step} failed ({})", fault.message));
        let failed = Failed {
            step,
            trouble: Trouble {
                class: fault.class,
                message: fault.message,
                output: String::new(),
                retry_after: None,
            },
            again: fault.again,
            restorable: rollout.previous_generation.is_some(),
            service_runs: !fault.down,
            foreign: false,
            named: fault.named,
        };
        match rollout_machine::on_error(rollout, &self.snapshot, failed, digest, self.now) {
            OnError::Event(event) => self.rollout_event(&rollout.id, event),
            OnError::Retry(failure) => {
                let rollout = self.snapshot.rollouts.get_mut(&rollout.id).unwrap();
                rollout.started = None;
                rollout.failures.add(failure);
            }
        }
    }

    fn rollout_event(&mut self, id: &RolloutId, event: RolloutEvent) {
        let rollout = self.snapshot.rollouts.get_mut(id).unwrap();
        rollout.phase = rollout_machine::after(rollout, &event).unwrap();
        rollout.started = None;
        rollout.failures = Failures::default();
        let rollout = rollout.clone();
        let state = self
            .snapshot
            .targets
            .entry(rollout.target.clone())
            .or_default();
        if let Some(after) = outcome::target_after(state, &rollout, self.now) {
            *state = after;
        }
        let subject = format!("rollout {}", rollout.target);
        match &rollout.phase {
            RolloutPhase::Closed { closing } => {
                let mut text = rollout.phase.code().to_owned();
                match closing {
                    RolloutClosing::Live => text.push_str(&format!(" {}", set(&rollout.revisions))),
                    RolloutClosing::RolledBack { .. } => {
                        text.push_str(&format!(" {}", set(&rollout.previous)));
                    }
                    RolloutClosing::Superseded { message, .. } => {
                        text.push_str(&format!(" ({message})"));
                    }
                    RolloutClosing::RollbackFailed { .. } | RolloutClosing::Abandoned { .. } => {}
                }
                self.seen
                    .insert(format!("closing rollout {}", rollout.phase.code()));
                self.log.event(&subject, &text);
                self.snapshot.rollouts.remove(id);
            }
            phase => {
                let failed = matches!(event, RolloutEvent::Failed { .. });
                let code = if failed { phase.code() } else { event.code() };
                self.log.event(&subject, code);
            }
        }
    }

    /// Puts a certificate into the account that somebody else obtained.
    pub(crate) fn offer(&mut self, id: &CertificateId, names: &str, lifetime: Seconds) -> String {
        let reference = self.account.add(Issued {
            serial: String::new(),
            names: names
                .split(',')
                .map(|name| Name::parse(name).unwrap())
                .collect(),
            key: Fingerprint([0; 32]),
            key_algorithm: renewd::model::KeyAlgorithm::Rsa2048,
            issued_at: self.now,
            not_after: self.now + lifetime,
            order: None,
            pending: 0,
        });
        self.account.offers.insert(id.clone(), reference.clone());
        reference
    }
}

/// Members that are asked for and not shown.
fn asked_in_vain<'a>(
    service: &'a Service,
    rollout: &'a Rollout,
    set: &'a BTreeMap<CertificateId, RevisionId>,
) -> impl Iterator<Item = &'a CertificateId> {
    let hidden = service.hides.iter().filter(|(by, _)| {
        // The one that was there when the two got along.
        service
            .served
            .get(by)
            .is_some_and(|there| rollout.previous.get(by) != Some(there))
    });
    let hidden: BTreeSet<&CertificateId> = hidden.map(|(_, whom)| whom).collect();
    set.keys()
        .filter(move |id| service.retired.contains(*id) || hidden.contains(id))
        .filter(|id| !rollout.leaves_strange(id))
}

fn unnamed_fault(step: RolloutStep, rollout: &Rollout, named: BTreeSet<CertificateId>) -> Fault {
    let mut fault = Fault::new(step.code(), rollout.target.as_str());
    let first = named.first().map_or("nobody", CertificateId::as_str);
    fault.message = format!("the name of {first} is refused");
    fault.named = named;
    fault
}

/// As `pki::check` does before anything is stored.
fn unfit(issued: &Issued, order: &Order, now: Timestamp) -> Option<&'static str> {
    if issued.not_after <= now {
        Some("it has expired")
    } else if !issued.names.cover(&order.request.names) {
        Some("it does not cover the names")
    } else {
        None
    }
}

fn one_action_each(plan: &Plan, snapshot: &Snapshot) {
    let mut seen = BTreeSet::new();
    for action in &plan.actions {
        if let Action::AdvanceOrder { order, step } = action
            && *step == OrderStep::Buy
        {
            // So that the budget is known.
            let issuer = &snapshot.orders[order].issuer;
            assert!(seen.insert(format!("purchase at {issuer}")));
        }
        let subject = match action {
            Action::RecordOrder { order, .. }
            | Action::AdvanceOrder { order, .. }
            | Action::AbandonOrder { order, .. } => format!("order {order}"),
            Action::RecordRollout { rollout, .. } | Action::AdvanceRollout { rollout, .. } => {
                format!("rollout {rollout}")
            }
            Action::OpenOrder { certificate, .. } => {
                assert!(
                    snapshot
                        .orders
                        .values()
                        .all(|order| order.certificate != *certificate)
                );
                format!("certificate {certificate}")
            }
            Action::Survey { certificate } | Action::Tend { certificate, .. } => {
                format!("certificate {certificate}")
            }
            Action::Observe { target } => format!("target {target}"),
            Action::OpenRollout { target, .. } => {
                assert!(
                    snapshot
                        .rollouts
                        .values()
                        .all(|rollout| rollout.target != *target)
                );
                format!("target {target}")
            }
        };
        assert!(
            seen.insert(subject),
            "two actions for one: {:?}",
            plan.actions
        );
    }
}

/// `web=01 api=02`.
pub(crate) fn set(revisions: &BTreeMap<CertificateId, RevisionId>) -> String {
    let members: Vec<String> = revisions
        .iter()
        .map(|(id, revision)| format!("{id}={}", revision.as_str().trim_start_matches('r')))
        .collect();
    if members.is_empty() {
        "nothing".to_owned()
    } else {
        members.join(" ")
    }
}

/// More rounds than any scenario needs; a plan that never ends fails here.
const ROUNDS: usize = 3000;
