//! Raises what the plan says stands, resolves what stands no more.

use std::collections::BTreeSet;

use crate::engine::progress::Progress;
use crate::engine::{Engine, EngineError};
use crate::model::Timestamp;
use crate::plan::Plan;
use crate::store::StoredAlert;

impl Engine {
    /// Compares the plan's standing alerts with the journal's: the same key is told once until it is over.
    pub(crate) async fn tell_alerts(&self, plan: &Plan, now: Timestamp) -> Result<(), EngineError> {
        let standing: BTreeSet<String> = plan.alerts.keys().map(ToString::to_string).collect();
        let known: BTreeSet<String> = self
            .store
            .open_alerts()
            .await?
            .into_iter()
            .map(|alert| alert.key)
            .collect();
        for (key, alert) in &plan.alerts {
            if known.contains(key.as_str()) {
                continue;
            }
            let stored = StoredAlert {
                key: key.to_string(),
                severity: alert.severity.to_string(),
                title: alert.title.clone(),
                text: alert.text.clone(),
                raised_at: now,
            };
            if self.store.raise_alert(&stored).await? {
                (self.progress)(Progress::Alert {
                    severity: stored.severity,
                    title: stored.title,
                    text: stored.text,
                });
                // Standard error or the log is the one notifier of this build; it cannot fail.
                self.store.alert_delivered(&stored.key, now).await?;
            }
        }
        if known.is_subset(&standing) {
            return Ok(());
        }
        for over in self.store.resolve_alerts(&standing, now).await? {
            (self.progress)(Progress::Resolved { title: over.title });
        }
        Ok(())
    }
}
