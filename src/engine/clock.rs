//! Whether the clock can be believed: what issuers said of the time, and asking them where there is doubt.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::engine::{Engine, EngineError};
use crate::model::{Heard, IssuerId, Snapshot};
use crate::plan::clock;
use crate::sys::clock::BUILT_AT;

impl Engine {
    /// Brings the evidence of the snapshot up to date. Where it speaks against the clock, the issuers are asked, but not
    /// again and again: their answers may speak for it.
    pub(crate) async fn look_at_the_clock(
        self: &Arc<Self>,
        snapshot: &mut Snapshot,
    ) -> Result<(), EngineError> {
        self.gather(snapshot).await?;
        if clock::doubt(&snapshot.clock, self.clock.now()).is_some() && self.clock.may_ask() {
            self.ask_the_time().await;
            self.gather(snapshot).await?;
        }
        Ok(())
    }

    /// Brings the evidence of the snapshot up to date, by what is known without asking anybody.
    pub(super) async fn gather(&self, snapshot: &mut Snapshot) -> Result<(), EngineError> {
        let facts = &mut snapshot.clock;
        facts.built_at = BUILT_AT;
        facts.fresh = self.clock.heard();
        let Some(heard) = facts.fresh.and_then(|fresh| fresh.heard) else {
            return Ok(());
        };
        if facts.remembered.is_none_or(|old| tells_more(heard, old)) {
            self.store.time_heard(heard).await?;
            facts.remembered = Some(heard);
        }
        Ok(())
    }

    /// Any answer will do, were it a refusal: each has a date.
    async fn ask_the_time(self: &Arc<Self>) {
        let used: BTreeSet<IssuerId> = self
            .policy
            .certificates
            .values()
            .map(|certificate| certificate.issuer.clone())
            .collect();
        let mut asked = JoinSet::new();
        for id in used {
            let engine = Arc::clone(self);
            // What an issuer says of itself may be remembered with its connection.
            self.issuers.forget(&id);
            asked.spawn(async move {
                if let Ok(issuer) = engine.issuers.get(&id) {
                    let _ = tokio::time::timeout(ASKING, issuer.describe()).await;
                }
            });
        }
        while asked.join_next().await.is_some() {}
    }
}

/// Whether it is worth a write: the mark goes on by the hour, or the clock is judged otherwise.
fn tells_more(new: Heard, old: Heard) -> bool {
    let far = |length: i64| length.saturating_abs() >= clock::TOLERANCE.0;
    far(old.date.until(new.date).0) || far(old.ahead().0.saturating_sub(new.ahead().0))
}

/// For an answer; a host in doubt asks again later.
const ASKING: Duration = Duration::from_secs(10);
