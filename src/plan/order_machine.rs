//! The order machine: `Opened → KeyStored → Submitted → Issued → Closed`, with `Unclear` for a submit whose answer is
//! lost.
//!
//! | source | way |
//! |---|---|
//! | `Csr` | store the key, submit, fetch, close |
//! | `Ccm` | submit, fetch, close |
//! | `Follow` | locate, fetch, close |
//! | public | look (buy), store the key, submit, publish the domain proof, fetch, close, retract: see `public` |
//! | public, names added | supplement, publish the proofs of the new names, fetch, close, retract |
//!
//! A submit is the one step that must not be done twice. Once its intent is in the journal without an outcome, or its
//! answer is lost, the order is `Unclear`: the issuer's listings are searched for the key at once and again, and only
//! two complete listings without it, the first no earlier than the call's time-out plus the issuer's settling time,
//! allow another submit. The same holds, by its own rules, for a purchase.

mod events;
mod public;
mod unclear;

pub use events::transition;
pub(crate) use public::last_purchase;
pub use public::{
    Money, allowed_at, copied, is_buying, keeps, looks_again, may_buy, spent, was_taken_back,
};
pub(crate) use public::{OVERDUE, buying};
pub use unclear::{absent, gone};

use crate::model::{
    Blocked, ErrorClass, Fingerprint, HostSeed, IssuerPolicy, Order, OrderClosing, OrderEvent,
    OrderPhase, OrderStep, Seconds, Source, Timestamp, Waiting,
};
use crate::plan::backoff::{self, Seed};
use crate::plan::{Next, OnError, Trouble, supplement};

/// How long an issuer may take, from its policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Of one call.
    pub timeout: Seconds,
    /// After the time-out, until a submit can no longer take effect.
    pub settle: Seconds,
}

impl From<&IssuerPolicy> for Timing {
    fn from(issuer: &IssuerPolicy) -> Self {
        Self {
            timeout: issuer.access.timeout,
            settle: issuer.settle,
        }
    }
}

/// What comes next for an order. `policy` is [`backoff::digest`] of certificate and issuer; `money` is of its issuer.
#[must_use]
pub fn next(
    order: &Order,
    timing: Timing,
    money: &Money<'_>,
    policy: Fingerprint,
    host: HostSeed,
    now: Timestamp,
) -> Next<OrderStep, OrderEvent> {
    if let Some(submitted_at) = order.submit_in_doubt() {
        return Next::Record(lost(order, submitted_at, timing));
    }
    if let Some(began_at) = order.purchase_in_doubt() {
        return Next::Record(public::purchase_lost(order, began_at, timing));
    }
    match &order.phase {
        OrderPhase::Closed { .. } => return Next::Done,
        OrderPhase::Unclear { absences, .. } if *absences >= ABSENCES => {
            return Next::Record(OrderEvent::DefinitelyAbsent);
        }
        OrderPhase::PurchaseUnclear { purchase, .. } if public::was_not_bought(purchase) => {
            return Next::Record(OrderEvent::DefinitelyNotBought);
        }
        OrderPhase::Opened
        | OrderPhase::Seeking { .. }
        | OrderPhase::Claiming { .. }
        | OrderPhase::Bare { .. }
        | OrderPhase::PurchaseUnclear { .. }
        | OrderPhase::Entitled { .. }
        | OrderPhase::KeyStored { .. }
        | OrderPhase::Unclear { .. }
        | OrderPhase::Submitted { .. }
        | OrderPhase::Issued { .. }
        | OrderPhase::Ending { .. } => {}
    }
    if let Some(how) = copied(order, money) {
        let how = how.clone();
        return Next::Blocked(Blocked::StaleJournal { how });
    }
    let seed = Seed::new(order.certificate.as_str(), host);
    if let Some(waiting) = backoff::waiting(&order.failures, seed, policy, now) {
        return Next::Wait(waiting);
    }
    match &order.phase {
        OrderPhase::Opened if supplement::of_order(order).is_some() => {
            Next::Step(OrderStep::Supplement)
        }
        OrderPhase::Opened if order.request.public.is_some() => Next::Step(OrderStep::Look),
        OrderPhase::Opened => Next::Step(match order.request.source {
            Source::Csr => OrderStep::StoreKey,
            Source::Ccm => OrderStep::Submit,
            Source::Follow => OrderStep::Locate,
        }),
        OrderPhase::Entitled { .. } => Next::Step(match order.request.source {
            Source::Csr => OrderStep::StoreKey,
            Source::Ccm | Source::Follow => OrderStep::Submit,
        }),
        OrderPhase::Seeking { .. }
        | OrderPhase::Claiming { .. }
        | OrderPhase::Bare { .. }
        | OrderPhase::PurchaseUnclear { .. } => public::next(order, money, now),
        OrderPhase::KeyStored { .. } => Next::Step(OrderStep::Submit),
        OrderPhase::Unclear { look_at, .. } if backoff::is_ahead(*look_at, now) => {
            Next::Wait(Waiting::Settling { until: *look_at })
        }
        OrderPhase::Unclear { .. } => Next::Step(OrderStep::Resolve),
        OrderPhase::Submitted {
            poll_after,
            proof,
            review,
            ..
        } => public::submitted(order, proof.as_deref(), review, *poll_after, now),
        OrderPhase::Issued { .. } => Next::Step(OrderStep::Close),
        OrderPhase::Ending {
            withdraw, proof, ..
        } => Next::Step(public::ending(withdraw.is_some(), proof.is_some())),
        OrderPhase::Closed { .. } => Next::Done,
    }
}

/// The issuer has it, or may have it: giving the order up would waste a certificate, or buy another one.
#[must_use]
pub fn is_submitted(order: &Order) -> bool {
    match order.phase {
        OrderPhase::Opened
        | OrderPhase::Seeking { .. }
        | OrderPhase::Entitled { .. }
        | OrderPhase::KeyStored { .. } => order.submit_in_doubt().is_some(),
        OrderPhase::Bare { .. } => order.purchase_in_doubt().is_some(),
        OrderPhase::Claiming { ref purchase, .. } => purchase.is_some(),
        OrderPhase::PurchaseUnclear { .. }
        | OrderPhase::Unclear { .. }
        | OrderPhase::Submitted { .. }
        | OrderPhase::Issued { .. }
        | OrderPhase::Ending { .. }
        | OrderPhase::Closed { .. } => true,
    }
}

/// What a failed step means. `effect_unknown`: the call was sent and its answer lost, so that it may have happened.
/// `policy` is [`backoff::digest`] of certificate and issuer.
#[must_use]
pub fn on_error(
    order: &Order,
    step: OrderStep,
    trouble: Trouble,
    effect_unknown: bool,
    timing: Timing,
    policy: Fingerprint,
    now: Timestamp,
) -> OnError<OrderEvent> {
    let began_at = || order.started.as_ref().map_or(now, |started| started.at);
    let rejected = trouble.class == ErrorClass::Rejected;
    let may_close = match step {
        OrderStep::Submit | OrderStep::Supplement if effect_unknown => {
            return OnError::Event(lost(order, began_at(), timing));
        }
        OrderStep::Buy if effect_unknown => {
            return OnError::Event(public::purchase_lost(order, began_at(), timing));
        }
        // What cannot be taken back any more is over, or will be: an order that tried for ever would keep the next one back.
        OrderStep::Withdraw if rejected && !effect_unknown => {
            return OnError::Event(OrderEvent::Withdrawn);
        }
        OrderStep::Submit
        | OrderStep::Supplement
        | OrderStep::Locate
        | OrderStep::Fetch
        | OrderStep::Buy => true,
        // Nobody refused the order: the disk or the listing is in trouble. Giving up in `Resolve` or `Trace` could buy
        // twice; in `Look`, `Confirm` and what concerns proofs nothing was asked for yet that another order would not ask.
        OrderStep::Look
        | OrderStep::Confirm
        | OrderStep::Trace
        | OrderStep::StoreKey
        | OrderStep::Resolve
        | OrderStep::Publish
        | OrderStep::Examine
        | OrderStep::Retract
        | OrderStep::Withdraw
        | OrderStep::Close => false,
    };
    if may_close && rejected {
        return OnError::Event(OrderEvent::Closed {
            closing: OrderClosing::Failed {
                class: trouble.class,
                message: trouble.message,
            },
        });
    }
    OnError::Retry(backoff::failure(trouble, policy, now))
}

/// The event for complete answers, asked for at `asked_at`, that do not have what the order may have bought.
#[must_use]
pub fn not_bought(order: &Order, asked_at: Timestamp) -> OrderEvent {
    public::not_bought(order, asked_at)
}

/// A complete look for a purchase with a lost answer that found what may be it in somebody else's hands.
#[must_use]
pub fn untold(asked_at: Timestamp) -> OrderEvent {
    public::untold(asked_at)
}

fn lost(order: &Order, submitted_at: Timestamp, timing: Timing) -> OrderEvent {
    OrderEvent::AnswerLost {
        submitted_at,
        look_at: submitted_at + timing.timeout + timing.settle,
        supplement: supplement::of_order(order).cloned().map(Box::new),
    }
}

/// Complete listings without the key before a submit may be sent again: one alone may have been taken a moment too
/// early, or from a replica that lags.
const ABSENCES: u32 = 2;

#[cfg(test)]
mod tests;
