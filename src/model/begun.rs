//! What an order may have sent or spent, by what its journal says.

use crate::model::{Order, OrderPhase, OrderStep, Timestamp};

impl Order {
    /// When a submit began whose outcome is not in the journal; the process died within it.
    #[must_use]
    pub fn submit_in_doubt(&self) -> Option<Timestamp> {
        let started = self.started.as_ref()?;
        let before = matches!(
            self.phase,
            OrderPhase::Opened | OrderPhase::Entitled { .. } | OrderPhase::KeyStored { .. }
        );
        let sends = matches!(started.step, OrderStep::Submit | OrderStep::Supplement);
        (before && sends).then_some(started.at)
    }

    /// When a purchase began whose outcome is not in the journal; the process died within it.
    #[must_use]
    pub fn purchase_in_doubt(&self) -> Option<Timestamp> {
        let started = self.started.as_ref()?;
        let before = matches!(self.phase, OrderPhase::Bare { .. });
        (before && started.step == OrderStep::Buy).then_some(started.at)
    }

    /// Of a public certificate, and nothing was applied for yet, and nothing may have been bought that is not known: nothing
    /// is lost when another one takes its place.
    #[must_use]
    pub fn is_unbegun(&self) -> bool {
        let public = self.request.public.is_some();
        // The first look writes down that its answer is lost.
        let in_doubt = self.submit_in_doubt().is_some() || self.purchase_in_doubt().is_some();
        public
            && !in_doubt
            && match &self.phase {
                OrderPhase::Claiming { purchase, .. } => purchase.is_none(),
                OrderPhase::Opened
                | OrderPhase::Seeking { .. }
                | OrderPhase::Bare { .. }
                | OrderPhase::Entitled { .. }
                | OrderPhase::KeyStored { .. } => true,
                // By its intent it is found whatever the journal is called.
                OrderPhase::PurchaseUnclear { .. }
                | OrderPhase::Unclear { .. }
                | OrderPhase::Submitted { .. }
                | OrderPhase::Issued { .. }
                | OrderPhase::Ending { .. }
                | OrderPhase::Closed { .. } => false,
            }
    }

    /// Whether it was looking through the account when the process died: it may have marked something there as its own.
    #[must_use]
    pub fn may_have_claimed(&self) -> bool {
        let started = self.started.as_ref();
        started.is_some_and(|started| started.step == OrderStep::Look)
    }
}
