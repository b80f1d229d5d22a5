//! Raises what the plan says stands, resolves what stands no more.

use std::collections::BTreeSet;

use crate::engine::progress::Progress;
use crate::engine::{Engine, EngineError};
use crate::model::Timestamp;
use crate::plan::Plan;
use crate::store::StoredAlert;
use crate::sys::crash;

impl Engine {
    /// Compares the plan's standing alerts with the journal's: the same key is told once until it is over.
    pub(crate) async fn tell_alerts(&self, plan: &Plan, now: Timestamp) -> Result<(), EngineError> {
        let standing: BTreeSet<String> = plan.alerts.keys().map(ToString::to_string).collect();
        let known = self.store.open_alerts().await?;
        for (key, alert) in &plan.alerts {
            let told = known.iter().any(|one| {
                one.key == key.as_str() && one.title == alert.title && one.text == alert.text
            });
            if told {
                continue;
            }
            let stored = StoredAlert {
                key: key.to_string(),
                severity: alert.severity.to_string(),
                title: alert.title.clone(),
                text: alert.text.clone(),
                raised_at: now,
            };
            self.store.raise_alert(&stored).await?;
            crash::point("alert.raised");
        }
        self.deliver_alerts(now).await?;
        let known: BTreeSet<String> = known.into_iter().map(|alert| alert.key).collect();
        if known.is_subset(&standing) {
            return Ok(());
        }
        for over in self.store.resolve_alerts(&standing, now).await? {
            (self.progress)(Progress::Resolved { title: over.title });
        }
        Ok(())
    }

    /// Tells what nobody was told yet, also what an earlier process raised and was killed before it could say it.
    async fn deliver_alerts(&self, now: Timestamp) -> Result<(), EngineError> {
        for alert in self.store.undelivered_alerts().await? {
            (self.progress)(Progress::Alert {
                severity: alert.severity,
                title: alert.title,
                text: alert.text,
            });
            crash::point("alert.told");
            // Standard error or the log is the one notifier of this build; it cannot fail.
            self.store.alert_delivered(&alert.key, now).await?;
        }
        Ok(())
    }
}
