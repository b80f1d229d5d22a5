//! Runs of jobs: what they do is a tick like any other; here it is written down that they ran.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::time::Instant;

use crate::engine::converge::Course;
use crate::engine::steps::{Busy, Steps};
use crate::engine::{Engine, EngineError, Patience, Scope};
use crate::model::{JobName, JobResult, JobRun, Seconds, Snapshot, Timestamp};
use crate::plan::Plan;
use crate::plan::explain::summary;
use crate::sys::clock::Clock;
use crate::sys::error_chain;

/// A run that has begun.
#[derive(Debug, Clone, Copy)]
pub struct Begun {
    /// By the clock on the wall, which may be set meanwhile.
    pub at: Timestamp,
    steady: Instant,
}

impl Begun {
    /// Now.
    #[must_use]
    pub fn now(clock: &dyn Clock) -> Self {
        Self {
            at: clock.now(),
            steady: Instant::now(),
        }
    }
}

/// Of the history: a year and what a person needs to look back at it.
const KEPT: Seconds = Seconds::days(400);

/// Some hundred bytes each; ten thousand certificates at 47 days make as many in half a year.
const MOST_EVENTS: i64 = 500_000;

impl Engine {
    /// Converges, as a run of these jobs; a check asks the services first what they serve and lists the accounts that are watched, and `watch` looks at what is watched. A run that was stopped on its way, or killed, is no run: it is due again.
    ///
    /// # Errors
    /// As [`Engine::converge`]; that the runs failed is then in the journal, where that can still be written.
    pub async fn run_jobs(
        self: &Arc<Self>,
        jobs: &[JobName],
        begun: Begun,
        snapshot: &mut Snapshot,
        patience: Patience,
    ) -> Result<Plan, EngineError> {
        let result = match self.look_for(jobs, snapshot, None).await {
            Ok(()) => self.converge(snapshot, &Scope::All, patience).await,
            Err(error) => Err(error),
        };
        self.ran(jobs, begun, snapshot, result, true).await
    }

    /// The same for the daemon, beside steps of earlier ticks. What goes on when it comes back does so for the next tick.
    ///
    /// # Errors
    /// The same.
    pub(super) async fn run_jobs_beside(
        self: &Arc<Self>,
        jobs: &[JobName],
        begun: Begun,
        snapshot: &mut Snapshot,
        steps: &mut Steps,
        course: Course<'_>,
    ) -> Result<Plan, EngineError> {
        let result = match self.look_for(jobs, snapshot, Some(&mut *steps)).await {
            Ok(()) => self.go_on(snapshot, steps, course).await,
            Err(error) => Err(error),
        };
        let idle = steps.only_look();
        self.ran(jobs, begun, snapshot, result, idle).await
    }

    async fn look_for(
        &self,
        jobs: &[JobName],
        snapshot: &mut Snapshot,
        steps: Option<&mut Steps>,
    ) -> Result<(), EngineError> {
        if jobs.contains(&JobName::Check) {
            let mut busy = Busy::default();
            match steps {
                // A service that says nothing holds up nobody else: the looks go on beside the ticks.
                Some(steps) => {
                    busy = steps.busy();
                    steps.look_at(self.all_that_show(snapshot));
                }
                None => self.observe_services_beside(snapshot, &busy).await?,
            }
            self.observe_issuers_beside(snapshot, &busy).await?;
            self.note_superseded(snapshot, &busy).await?;
            self.note_siblings(snapshot, &busy).await?;
            self.keep_up(snapshot).await?;
            self.look_at_credentials(snapshot).await?;
            self.look_at_accounts(snapshot).await?;
        }
        if jobs.contains(&JobName::Watch) {
            self.look_at_watched(snapshot).await?;
        }
        Ok(())
    }

    async fn ran(
        &self,
        jobs: &[JobName],
        begun: Begun,
        snapshot: &mut Snapshot,
        result: Result<Plan, EngineError>,
        idle: bool,
    ) -> Result<Plan, EngineError> {
        let result = match result {
            Ok(plan) if jobs.contains(&JobName::Digest) && plan.doubt.is_none() => self
                .queue_digest(snapshot, &plan, self.clock.now())
                .await
                .map(|()| plan),
            result => result,
        };
        if jobs.is_empty() || self.stop.load(Ordering::SeqCst) {
            return result;
        }
        let took = begun.steady.elapsed().as_millis();
        let (ended, message) = match &result {
            Ok(plan) if plan.doubt.is_some() => (JobResult::Doubted, summary(plan)),
            Ok(plan) => (JobResult::Done, summary(plan)),
            Err(error) => (JobResult::Failed, error_chain(error)),
        };
        let run = JobRun {
            started_at: begun.at,
            took_ms: u64::try_from(took).unwrap_or(u64::MAX),
            result: ended,
            message,
        };
        if let Ok(plan) = &result
            && plan.doubt.is_none()
            && jobs.contains(&JobName::Check)
        {
            // What goes is gone: only by a time that an issuer has vouched for. A host that has not reached one since its
            // clock went wrong would throw away everything.
            if let Some(heard) = snapshot.clock.remembered {
                let now = self.clock.now().min(heard.date);
                // A step under way may just be writing one.
                if idle {
                    self.tidy_revisions(snapshot, now);
                }
                self.store.forget(now - KEPT, MOST_EVENTS).await?;
            }
        }
        for name in jobs {
            // Its time comes when the clock is believed again, or the journal can be written: the period is told then.
            let told = result.as_ref().is_ok_and(|plan| plan.doubt.is_none());
            if *name == JobName::Digest && !told {
                continue;
            }
            let written = self.store.job_ran(*name, &run).await;
            if result.is_ok() {
                written?;
            }
            snapshot.jobs.insert(*name, run.clone());
        }
        result
    }
}
