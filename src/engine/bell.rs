//! The bell that has the daemon look around: tokio-cron-scheduler, which may fall silent, and is missed then.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_cron_scheduler::{Job, JobScheduler};

/// Only rings; may fall silent for good after a stall of the process.
pub(super) struct Bell {
    rings: mpsc::Receiver<()>,
    heard_at: Instant,
    _scheduler: JobScheduler,
}

impl Bell {
    pub(super) async fn hang() -> Result<Self, String> {
        let failed = |error: tokio_cron_scheduler::JobSchedulerError| {
            format!("failed to start the bell: {error}")
        };
        let (ring, rings) = mpsc::channel(1);
        let scheduler = JobScheduler::new().await.map_err(failed)?;
        let job = Job::new(BELL, move |_, _| {
            // A full channel means that a wake is waiting already.
            let _ = ring.try_send(());
        })
        .map_err(failed)?;
        scheduler.add(job).await.map_err(failed)?;
        scheduler.start().await.map_err(failed)?;
        Ok(Self {
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
        self.heard_at.elapsed() >= SILENCE
    }

    /// Another one in its place, since it was not heard for long; without one, the silence itself wakes.
    pub(super) async fn replace(&mut self) {
        tracing::debug!("the bell was not heard for {} s", SILENCE.as_secs());
        match Self::hang().await {
            Ok(new) => *self = new,
            Err(error) => tracing::warn!("{error}"),
        }
    }
}

/// The bell's cron expression, with seconds, UTC.
const BELL: &str = "*/15 * * * * *";
/// After so long without a ring, a new bell. Four rings; the loop wakes by itself as well.
pub(super) const SILENCE: Duration = Duration::from_secs(60);
