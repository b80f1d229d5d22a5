//! The bell that has the daemon look around: tokio-cron-scheduler, which may fall silent, and is missed then.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_cron_scheduler::{Job, JobScheduler};

/// When the bell rings, and when it is missed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rings {
    /// Cron expression with seconds, UTC.
    pub schedule: String,
    /// So long without a ring, and the daemon looks around without. Twice as long, and it hangs up another bell.
    pub unheard: Duration,
}

impl Default for Rings {
    /// Once a minute, so that a host that has nothing to do is left alone.
    fn default() -> Self {
        Self {
            schedule: "0 * * * * *".to_owned(),
            unheard: UNHEARD,
        }
    }
}

/// Only rings; may fall silent for good after a stall of the process.
pub(super) struct Bell {
    when: Rings,
    rings: mpsc::Receiver<()>,
    heard_at: Instant,
    _scheduler: JobScheduler,
}

impl Bell {
    pub(super) async fn hang(when: Rings) -> Result<Self, String> {
        let failed = |error: tokio_cron_scheduler::JobSchedulerError| {
            format!("failed to start the bell: {error}")
        };
        let (ring, rings) = mpsc::channel(1);
        let scheduler = JobScheduler::new_with_channel_size(CHANNEL).await;
        let scheduler = scheduler.map_err(failed)?;
        let job = Job::new(when.schedule.as_str(), move |_, _| {
            // A full channel means that a wake is waiting already.
            let _ = ring.try_send(());
        })
        .map_err(failed)?;
        scheduler.add(job).await.map_err(failed)?;
        scheduler.start().await.map_err(failed)?;
        Ok(Self {
            when,
            rings,
            heard_at: Instant::now(),
            _scheduler: scheduler,
        })
    }

    /// The next ring.
    pub(super) async fn rung(&mut self) {
        // A bell whose scheduler is gone is a silent one.
        if self.rings.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
        self.heard_at = Instant::now();
    }

    pub(super) fn is_silent(&self) -> bool {
        self.heard_at.elapsed() >= self.when.unheard * 2
    }

    /// Another one in its place, since it was not heard for long; without one, the silence itself wakes.
    pub(super) async fn replace(&mut self) {
        let silent = self.heard_at.elapsed().as_secs();
        tracing::debug!("the bell was not heard for {silent} s; another one is hung up");
        match Self::hang(self.when.clone()).await {
            Ok(new) => *self = new,
            Err(error) => tracing::warn!("{error}"),
        }
    }
}

/// Messages in each of the scheduler's ten channels, which have their memory from the beginning: 0.2 MiB with the 200
/// that it would take, for one job.
const CHANNEL: usize = 4;

/// A little longer than from one ring to the next, which the scheduler may be half a second late with: nobody is woken twice
/// in a minute.
const UNHEARD: Duration = Duration::from_secs(61);
