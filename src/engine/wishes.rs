//! The wishes of people on their way through a tick: begun, waited for, answered.

use tokio::sync::mpsc;

use crate::engine::converge::Awaited;
use crate::engine::steps::{Busy, Steps};
use crate::engine::wish::Pending;
use crate::engine::{
    Engine, EngineError, Judge, Judged, NotAsked, Outcome, Progress, Wanted, Wish, look_at_services,
};
use crate::model::{JobName, Policy, Snapshot, Timestamp};
use crate::plan::{Plan, jobs};

/// All of them.
#[derive(Default)]
pub(super) struct Wishes {
    pending: Vec<Pending>,
    /// Whether the present tick has news for one of them.
    news: bool,
}

impl Wishes {
    /// For the next tick.
    pub(super) fn keep(&mut self, pending: Pending) {
        self.pending.push(pending);
    }

    /// Whether the journal knows of all.
    pub(super) fn are_begun(&self) -> bool {
        self.pending.iter().all(|one| one.begun)
    }

    /// How soon somebody wants to hear of the tick.
    pub(super) fn awaited(&self) -> Awaited {
        match self.pending.is_empty() {
            _ if self.news => Awaited::AtOnce,
            true => Awaited::No,
            false => Awaited::Yes,
        }
    }

    /// The tick could not be finished, as a command alone could not have finished.
    pub(super) fn fail(&mut self, error: &EngineError, judge: &Judge) {
        for pending in self.pending.drain(..) {
            pending.answer(judge(&Judged::Failed(error)));
        }
    }

    /// Writes new wishes into the journal, so that a daemon that is killed carries them on. A step under way writes about
    /// its own subject: what is about the same waits for its end.
    pub(super) async fn begin(&mut self, engine: &Engine, busy: &Busy) -> Result<(), EngineError> {
        let mut waiting = std::mem::take(&mut self.pending).into_iter();
        let mut result = Ok(());
        self.news = false;
        while result.is_ok()
            && let Some(mut pending) = waiting.next()
        {
            let certificate = pending.wish.wanted.certificate();
            if pending.begun || certificate.is_some_and(|name| busy.has_to_do_with(name, engine)) {
                self.pending.push(pending);
                continue;
            }
            // One that is hindered by what is under way has none before that is over.
            self.news |= pending.hindrance.is_none();
            match write_down(engine, &pending.wish.wanted).await {
                Ok(notes) => {
                    pending.notes = notes;
                    pending.fresh = true;
                    pending.begun = true;
                    self.pending.push(pending);
                }
                Err(NotAsked::Open(why)) => {
                    pending.hindrance = Some(why);
                    self.pending.push(pending);
                }
                Err(NotAsked::Unknown(why)) => pending.answer(Outcome::refused(USAGE, why)),
                Err(NotAsked::Unfit(why)) => pending.answer(Outcome::refused(DATA_INVALID, why)),
                Err(NotAsked::Failed(error)) => {
                    self.pending.push(pending);
                    result = Err(error);
                }
            }
        }
        self.pending.extend(waiting);
        result
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
                Wanted::Renew(_)
                | Wanted::Rollback { .. }
                | Wanted::Release { .. }
                | Wanted::Revoke(_)
                | Wanted::Reload => {}
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
        (snapshot, plan): (&Snapshot, &Plan),
        steps: &Steps,
        judge: &Judge,
    ) {
        let now = engine.clock.now();
        for mut pending in std::mem::take(&mut self.pending) {
            let scope = pending.wish.wanted.scope();
            pending.fresh = false;
            if engine.is_at_work(plan, snapshot, &scope, steps) {
                pending.in_vain = false;
                self.pending.push(pending);
                continue;
            }
            if !pending.begun {
                match pending.hindrance.take() {
                    // What hindered it may be over.
                    hindrance if !pending.in_vain => {
                        pending.in_vain = hindrance.is_some();
                        self.pending.push(pending);
                    }
                    Some(why) => pending.answer(Outcome::refused(TRY_LATER, why)),
                    None => self.pending.push(pending),
                }
                continue;
            }
            match engine.still_waits(plan, &scope, pending.deadline(now)) {
                Some((subject, text)) if !pending.wish.answer.is_closed() => {
                    (engine.progress)(Progress::Waiting { subject, text });
                    self.pending.push(pending);
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
        let (late, rest): (Vec<_>, Vec<_>) = waiting.partition(|one| one.deadline(now) <= now);
        for pending in late {
            pending.answer(Outcome::refused(TRY_LATER, why));
        }
        self.pending = rest;
        !self.pending.is_empty()
    }

    /// The end: whoever still waits is told.
    pub(super) fn give_up(&mut self, heard: &mut mpsc::Receiver<Wish>) {
        heard.close();
        while let Ok(wish) = heard.try_recv() {
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

async fn write_down(engine: &Engine, wanted: &Wanted) -> Result<Vec<String>, NotAsked> {
    match wanted {
        Wanted::Renew(name) if !engine.policy.certificates.contains_key(name) => {
            let why = format!("the policy in force has no certificate `{name}`");
            Err(NotAsked::Unknown(why))
        }
        Wanted::Renew(name) => {
            engine.ask_renewal(name).await?;
            Ok(Vec::new())
        }
        Wanted::Rollback { name, to, force } => {
            engine.ask_rollback(name, to.as_ref(), *force).await
        }
        Wanted::Release { name, force } => engine.ask_release(name, *force).await,
        Wanted::Revoke(wanted) => engine.ask_revocation(wanted).await,
        Wanted::Job(_) | Wanted::Once | Wanted::Reload => Ok(Vec::new()),
    }
}

/// The exit statuses of the command line that a wish can have here.
const TRY_LATER: u8 = 75;
const USAGE: u8 = 64;
const DATA_INVALID: u8 = 65;
