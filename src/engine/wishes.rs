//! The wishes of people on their way through a tick: begun, waited for, answered.

use tokio::sync::mpsc;

use crate::engine::wish::Pending;
use crate::engine::{
    Engine, EngineError, Judge, Judged, Outcome, Progress, Wanted, Wish, look_at_services,
};
use crate::model::{JobName, Policy, Snapshot, Timestamp};
use crate::plan::{Plan, jobs};

/// All of them.
pub(super) struct Wishes {
    heard: mpsc::Receiver<Wish>,
    pending: Vec<Pending>,
}

impl Wishes {
    pub(super) const fn new(heard: mpsc::Receiver<Wish>) -> Self {
        Self {
            heard,
            pending: Vec::new(),
        }
    }

    /// The next one, once there is one; `None` when nobody can have any.
    pub(super) async fn next(&mut self) -> Option<Wish> {
        self.heard.recv().await
    }

    /// One that is there already.
    pub(super) fn heard(&mut self) -> Option<Wish> {
        self.heard.try_recv().ok()
    }

    /// For the next tick.
    pub(super) fn keep(&mut self, pending: Pending) {
        self.pending.push(pending);
    }

    /// Whether the journal knows of all.
    pub(super) fn are_begun(&self) -> bool {
        self.pending.iter().all(|one| one.begun)
    }

    /// The tick could not be finished, as a command alone could not have finished.
    pub(super) fn fail(&mut self, error: &EngineError, judge: &Judge) {
        for pending in self.pending.drain(..) {
            pending.answer(judge(&Judged::Failed(error)));
        }
    }

    /// Writes new wishes into the journal, so that a daemon that is killed carries them on.
    pub(super) async fn begin(&mut self, engine: &Engine) -> Result<(), EngineError> {
        let mut waiting = std::mem::take(&mut self.pending).into_iter();
        let mut result = Ok(());
        while result.is_ok()
            && let Some(pending) = waiting.next()
        {
            result = self.begin_one(engine, pending).await;
        }
        self.pending.extend(waiting);
        result
    }

    async fn begin_one(
        &mut self,
        engine: &Engine,
        mut pending: Pending,
    ) -> Result<(), EngineError> {
        if !pending.begun
            && let Wanted::Renew(name) = &pending.wish.wanted
        {
            if !engine.policy.certificates.contains_key(name) {
                let error = format!("the policy in force has no certificate `{name}`");
                pending.answer(Outcome::refused(USAGE, error));
                return Ok(());
            }
            let asked = engine.ask_renewal(name).await;
            if let Err(error) = asked {
                self.pending.push(pending);
                return Err(error.into());
            }
        }
        pending.fresh = !pending.begun;
        pending.begun = true;
        self.pending.push(pending);
        Ok(())
    }

    /// The jobs that the calendar says are due, and those that people want now. One that never ran is due.
    pub(super) fn due(
        &self,
        policy: &Policy,
        snapshot: &mut Snapshot,
        now: Timestamp,
    ) -> Vec<JobName> {
        for pending in self.pending.iter().filter(|pending| pending.fresh) {
            match &pending.wish.wanted {
                Wanted::Job(name) => {
                    snapshot.jobs.remove(name);
                }
                Wanted::Once => {
                    look_at_services(snapshot, now);
                    snapshot
                        .jobs
                        .retain(|name, _| !JobName::ONCE.contains(name));
                }
                Wanted::Renew(_) | Wanted::Reload => {}
            }
        }
        let fresh = self.pending.iter().filter(|pending| pending.fresh);
        let wanted: Vec<_> = fresh.map(|pending| &pending.wish.wanted).collect();
        let due = jobs::due(policy, snapshot, now);
        JobName::ALL
            .into_iter()
            .filter(|name| {
                due.contains(name)
                    || wanted.contains(&&Wanted::Job(*name))
                    || (wanted.contains(&&Wanted::Once) && JobName::ONCE.contains(name))
            })
            .collect()
    }

    /// Answers wishes that have come as far as they can.
    pub(super) fn settle(
        &mut self,
        engine: &Engine,
        snapshot: &Snapshot,
        plan: &Plan,
        judge: &Judge,
    ) {
        for pending in std::mem::take(&mut self.pending) {
            let scope = pending.wish.wanted.scope();
            match engine.still_waits(plan, &scope, pending.deadline) {
                Some((subject, text)) if !pending.wish.answer.is_closed() => {
                    (engine.progress)(Progress::Waiting { subject, text });
                    self.pending.push(Pending {
                        fresh: false,
                        ..pending
                    });
                }
                _ => {
                    let outcome = judge(&Judged::Planned {
                        engine,
                        snapshot,
                        plan,
                        scope,
                    });
                    pending.answer(outcome);
                }
            }
        }
    }

    /// Somebody else has the lock: whoever waited long enough is told; answers whether anybody still waits.
    pub(super) fn refuse_late(&mut self, now: Timestamp, why: &str) -> bool {
        let waiting = std::mem::take(&mut self.pending).into_iter();
        let (late, rest): (Vec<_>, Vec<_>) = waiting.partition(|one| one.deadline <= now);
        for pending in late {
            pending.answer(Outcome::refused(TRY_LATER, why));
        }
        self.pending = rest;
        !self.pending.is_empty()
    }

    /// The end: whoever still waits is told.
    pub(super) fn give_up(&mut self) {
        self.heard.close();
        while let Ok(wish) = self.heard.try_recv() {
            let outcome = Outcome::refused(TRY_LATER, "renewd is being stopped; nothing was begun");
            let _ = wish.answer.send(outcome);
        }
        for pending in self.pending.drain(..) {
            let error = if pending.begun {
                "renewd is being stopped; what was begun is carried on when it runs again"
            } else {
                "renewd is being stopped; nothing was begun"
            };
            pending.answer(Outcome::refused(TRY_LATER, error));
        }
    }
}

/// The exit statuses of the command line that a wish can have here.
const TRY_LATER: u8 = 75;
const USAGE: u8 = 64;
