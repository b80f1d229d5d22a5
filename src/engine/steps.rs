//! The steps under way: what each is about, how many at once, how long they have been at it.
//!
//! Whoever hangs (a reload up to its time-out, an issuer that does not answer) must not keep others waiting. So a round
//! of steps ends without those that take long: they go on beside the next rounds, and nothing else is begun about their
//! order or target until they are over.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;
use tracing::Instrument as _;

use crate::engine::{Engine, EngineError, progress};
use crate::model::{CertificateId, IssuerId, Policy, Snapshot, TargetId, Timestamp};
use crate::plan::{Action, Tending};
use crate::store::Touched;

/// What an action is about: never more than one action at a time about the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Subject {
    /// A certificate, its order or its offer.
    Certificate(CertificateId),
    /// A target or its rollout.
    Target(TargetId),
    /// What the snapshot does not know any more.
    Nobody,
}

/// What the steps under way write about: nobody else may write about these meanwhile, nor judge what lies on disk of them.
#[derive(Debug, Default)]
pub(super) struct Busy {
    pub(super) certificates: BTreeSet<CertificateId>,
    pub(super) targets: BTreeSet<TargetId>,
}

impl Busy {
    /// Whether anything is.
    pub(super) fn is_empty(&self) -> bool {
        self.certificates.is_empty() && self.targets.is_empty()
    }

    /// Whether a step is about this certificate, or about a target of it.
    pub(super) fn has_to_do_with(&self, name: &CertificateId, engine: &Engine) -> bool {
        let of = engine.policy.certificates.get(name);
        self.certificates.contains(name)
            || of.is_some_and(|of| !of.targets.is_disjoint(&self.targets))
    }
}

/// Who is kept busy by an action: what waits for one of them takes no place of another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lane {
    /// The host itself: files and the journal.
    Host,
    /// An issuer is asked.
    Issuer(IssuerId),
    /// Commands and handshakes of targets; each waits for its own service.
    Targets,
    /// Looks at what services serve: many handshakes of each.
    Looks,
}

impl Lane {
    /// Steps at the same time.
    fn room(&self, policy: &Policy) -> usize {
        match self {
            Self::Host | Self::Looks => 16,
            Self::Issuer(id) => {
                let pace = policy.issuers.get(id).map(|issuer| issuer.pace);
                let most = pace.unwrap_or_default().concurrency;
                usize::try_from(most).unwrap_or(usize::MAX)
            }
            Self::Targets => 64,
        }
    }
}

/// Of an action of a plan for this snapshot.
pub(super) fn about(action: &Action, snapshot: &Snapshot, policy: &Policy) -> (Subject, Lane) {
    let asking = |id: &CertificateId| {
        let of = policy.certificates.get(id);
        of.map_or(Lane::Host, |of| Lane::Issuer(of.issuer.clone()))
    };
    match action {
        Action::OpenOrder { certificate, .. } | Action::Survey { certificate } => {
            let subject = Subject::Certificate(certificate.clone());
            (subject, asking(certificate))
        }
        Action::Tend { certificate, task } => {
            let account = match task {
                Tending::Revoke(revision) => {
                    let state = snapshot.certificates.get(certificate);
                    let mut all = state.into_iter().flat_map(|state| &state.revoking);
                    all.find(|one| one.revision == *revision)
                        .map(|one| &one.issuer)
                }
                Tending::Push(push) => policy.pushes.get(push).map(|push| &push.account),
                Tending::TakeBack(late) => {
                    let state = snapshot.certificates.get(certificate);
                    let mut all = state.into_iter().flat_map(|state| &state.unseen);
                    all.find(|one| one.supplement == *late)
                        .map(|one| &one.issuer)
                }
            };
            let lane = account.map_or(Lane::Host, |account| Lane::Issuer(account.clone()));
            (Subject::Certificate(certificate.clone()), lane)
        }
        Action::AdvanceOrder { order, .. }
        | Action::AbandonOrder { order, .. }
        | Action::RecordOrder { order, .. } => {
            let Some(order) = snapshot.orders.get(order) else {
                return (Subject::Nobody, Lane::Host);
            };
            let lane = match action {
                Action::AdvanceOrder { step, .. } if step.asks_issuer() => {
                    Lane::Issuer(order.issuer.clone())
                }
                _ => Lane::Host,
            };
            (Subject::Certificate(order.certificate.clone()), lane)
        }
        Action::OpenRollout { target, .. } | Action::Observe { target } => {
            (Subject::Target(target.clone()), Lane::Targets)
        }
        Action::AdvanceRollout { rollout, .. } | Action::RecordRollout { rollout, .. } => {
            let subject = snapshot
                .rollouts
                .get(rollout)
                .map_or(Subject::Nobody, |r| Subject::Target(r.target.clone()));
            (subject, Lane::Targets)
        }
    }
}

/// What is still to be begun in a round, by whom it keeps busy.
#[derive(Debug, Default)]
pub(super) struct Queues(BTreeMap<Lane, VecDeque<(Subject, Action)>>);

impl Queues {
    pub(super) fn push(&mut self, lane: Lane, subject: Subject, action: Action) {
        self.0.entry(lane).or_default().push_back((subject, action));
    }
}

struct Step {
    subject: Subject,
    lane: Lane,
    since: Instant,
    /// Begun in this round.
    fresh: bool,
}

/// All that run.
#[derive(Default)]
pub(super) struct Steps {
    tasks: JoinSet<Result<Touched, EngineError>>,
    about: HashMap<Id, Step>,
    /// Targets whose services are still to be looked at.
    looks: VecDeque<TargetId>,
}

impl Steps {
    /// Nothing is under way, and no look is still to be begun.
    pub(super) fn is_empty(&self) -> bool {
        self.tasks.is_empty() && self.looks.is_empty()
    }

    /// Nothing is under way that writes files.
    pub(super) fn only_look(&self) -> bool {
        self.about.values().all(|step| step.lane == Lane::Looks)
    }

    /// These are looked at as soon as there is room and nothing else is under way about them.
    pub(super) fn look_at(&mut self, targets: Vec<TargetId>) {
        for target in targets {
            if !self.looks.contains(&target) {
                self.looks.push_back(target);
            }
        }
    }

    pub(super) fn is_busy(&self, subject: &Subject) -> bool {
        self.about.values().any(|step| step.subject == *subject)
    }

    /// What all of them are about.
    pub(super) fn busy(&self) -> Busy {
        let mut busy = Busy::default();
        for step in self.about.values() {
            match &step.subject {
                Subject::Certificate(id) => {
                    busy.certificates.insert(id.clone());
                }
                Subject::Target(id) => {
                    busy.targets.insert(id.clone());
                }
                Subject::Nobody => {}
            }
        }
        busy
    }

    /// Whether a step of this round is under way.
    pub(super) fn has_fresh(&self) -> bool {
        self.about.values().any(|step| step.fresh)
    }

    /// The round is over: who is under way still is not waited for any more.
    pub(super) fn grow_old(&mut self) {
        for step in self.about.values_mut() {
            step.fresh = false;
        }
    }

    /// Of the one that has been under way for the longest time.
    pub(super) fn oldest(&self) -> Duration {
        let ages = self.about.values().map(|step| step.since.elapsed());
        ages.max().unwrap_or_default()
    }

    /// Of the one that was begun last.
    pub(super) fn youngest(&self) -> Duration {
        let ages = self.about.values().map(|step| step.since.elapsed());
        ages.min().unwrap_or_default()
    }

    /// Begins what there is room for.
    pub(super) fn fill(
        &mut self,
        engine: &Arc<Engine>,
        queues: &mut Queues,
        snapshot: &Arc<Snapshot>,
        now: Timestamp,
    ) {
        for (lane, queue) in &mut queues.0 {
            let mut busy = self
                .about
                .values()
                .filter(|step| step.lane == *lane)
                .count();
            while busy < lane.room(&engine.policy)
                && let Some((subject, action)) = queue.pop_front()
            {
                // The plan knows of no two about one; should it, the second one waits for the next plan.
                if !self.is_busy(&subject) {
                    self.start(engine, (lane.clone(), subject, action), snapshot, now);
                    busy += 1;
                }
            }
        }
        queues.0.retain(|_, queue| !queue.is_empty());
        let looks = self.about.values();
        let mut looks = looks.filter(|step| step.lane == Lane::Looks).count();
        while looks < Lane::Looks.room(&engine.policy)
            && let Some(target) = self.looks.pop_front()
        {
            let subject = Subject::Target(target.clone());
            // Whoever is at work there proves what it does, and the next check looks again.
            let Some(state) = engine
                .shows(&target, snapshot)
                .filter(|_| !self.is_busy(&subject))
            else {
                continue;
            };
            let (engine, state) = (Arc::clone(engine), state.clone());
            let task = async move { engine.look_at_service(&target, &state, now).await };
            self.spawn(Lane::Looks, subject, task);
            looks += 1;
        }
    }

    fn start(
        &mut self,
        engine: &Arc<Engine>,
        (lane, subject, action): (Lane, Subject, Action),
        snapshot: &Arc<Snapshot>,
        now: Timestamp,
    ) {
        let span = progress::span(&action, snapshot);
        let engine = Arc::clone(engine);
        let seen = match lane {
            // These may take long, and must not hold the whole snapshot meanwhile.
            Lane::Targets | Lane::Issuer(_) | Lane::Looks => Arc::new(part(&action, snapshot)),
            Lane::Host => Arc::clone(snapshot),
        };
        let task = async move { engine.act(action, &seen, now).await };
        self.spawn(lane, subject, task.instrument(span));
    }

    fn spawn(
        &mut self,
        lane: Lane,
        subject: Subject,
        task: impl Future<Output = Result<Touched, EngineError>> + Send + 'static,
    ) {
        let handle = self.tasks.spawn(task);
        let step = Step {
            subject,
            lane,
            since: Instant::now(),
            fresh: true,
        };
        self.about.insert(handle.id(), step);
    }

    /// The next one to end; `None` where none runs.
    pub(super) async fn next(&mut self) -> Option<Result<Touched, EngineError>> {
        let joined = self.tasks.join_next_with_id().await?;
        Some(self.over(joined))
    }

    /// What those changed that are over already.
    pub(super) fn reap(&mut self) -> Result<Touched, EngineError> {
        let mut touched = Touched::default();
        let mut result = Ok(());
        while let Some(joined) = self.tasks.try_join_next_with_id() {
            match self.over(joined) {
                Ok(part) => touched.merge(part),
                Err(error) => result = Err(error),
            }
        }
        result.map(|()| touched)
    }

    fn over(&mut self, joined: Joined) -> Result<Touched, EngineError> {
        let (id, result) = match joined {
            Ok((id, result)) => (id, result),
            Err(error) => (error.id(), Err(EngineError::Bug(error.to_string()))),
        };
        self.about.remove(&id);
        result
    }
}

type Joined = Result<(Id, Result<Touched, EngineError>), JoinError>;

/// What an action that asks others needs to know of the snapshot.
fn part(action: &Action, snapshot: &Snapshot) -> Snapshot {
    let mut part = Snapshot::default();
    match action {
        Action::AdvanceOrder { order, .. }
        | Action::AbandonOrder { order, .. }
        | Action::RecordOrder { order, .. } => {
            if let Some((id, order)) = snapshot.orders.get_key_value(order) {
                part.orders.insert(id.clone(), order.clone());
            }
        }
        Action::AdvanceRollout { rollout, .. } | Action::RecordRollout { rollout, .. } => {
            let Some((id, rollout)) = snapshot.rollouts.get_key_value(rollout) else {
                return part;
            };
            part.rollouts.insert(id.clone(), rollout.clone());
            if let Some((id, state)) = snapshot.targets.get_key_value(&rollout.target) {
                part.targets.insert(id.clone(), state.clone());
            }
            for id in rollout.previous.keys().chain(rollout.revisions.keys()) {
                if let Some(state) = snapshot.certificates.get(id) {
                    part.certificates.insert(id.clone(), state.clone());
                }
            }
        }
        Action::OpenOrder { .. }
        | Action::OpenRollout { .. }
        | Action::Survey { .. }
        | Action::Tend { .. }
        | Action::Observe { .. } => {}
    }
    part
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::testing;

    #[test]
    fn an_issuer_is_asked_by_as_many_steps_at_once_as_the_policy_says() {
        let mut policy = testing::policy();
        let mut issuer = testing::issuer();
        let lane = Lane::Issuer(issuer.id.clone());
        assert_eq!(lane.room(&policy), 16);
        issuer.pace.concurrency = 3;
        policy.issuers.insert(issuer.id.clone(), issuer);
        assert_eq!(lane.room(&policy), 3);
        assert_eq!(
            (Lane::Host.room(&policy), Lane::Targets.room(&policy)),
            (16, 64)
        );
    }
}
