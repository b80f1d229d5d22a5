//! What becomes of a submit with a lost answer, by answers that do not have it.

use crate::model::{Order, OrderClosing, OrderEvent, OrderPhase, Seconds, Timestamp};
use crate::plan::order_machine::{ABSENCES, Timing};

/// The event for a complete listing, asked for at `asked_at`, that does not have the order's key.
#[must_use]
pub fn absent(order: &Order, timing: Timing, asked_at: Timestamp) -> OrderEvent {
    let look_at = match &order.phase {
        OrderPhase::Unclear { decisive_at, .. } if asked_at < *decisive_at => {
            *decisive_at.min(&(asked_at + EARLY_LOOK))
        }
        OrderPhase::Unclear { .. }
        | OrderPhase::Opened
        | OrderPhase::Seeking { .. }
        | OrderPhase::Claiming { .. }
        | OrderPhase::Bare { .. }
        | OrderPhase::PurchaseUnclear { .. }
        | OrderPhase::Entitled { .. }
        | OrderPhase::KeyStored { .. }
        | OrderPhase::Submitted { .. }
        | OrderPhase::Issued { .. }
        | OrderPhase::Ending { .. }
        | OrderPhase::Closed { .. } => asked_at + timing.settle.max(Seconds(1)),
    };
    OrderEvent::Absent {
        asked_at,
        look_at,
        gone: false,
    }
}

/// The event for an answer, asked for at `asked_at`, that what an unclear order applied with is not there: it was deleted, or
/// is not shown at this moment. Two such answers end the order, since there is nothing to wait for; the next one looks, and
/// buys by the rules. What the order itself `bought` a few hours ago may not be shown yet, and is paid for.
#[must_use]
pub fn gone(
    order: &Order,
    detail: &str,
    asked_at: Timestamp,
    bought: Option<Timestamp>,
) -> OrderEvent {
    let new = bought.is_some_and(|at| asked_at < at + SHOWN && at < asked_at + SHOWN);
    let look_at = match &order.phase {
        OrderPhase::Unclear {
            gone: Some(first), ..
        } if !new && *first + BETWEEN_GONE <= asked_at => {
            let message = format!("what it applied with was deleted: {detail}");
            let closing = OrderClosing::Abandoned { message };
            return OrderEvent::Closed { closing };
        }
        OrderPhase::Unclear { decisive_at, .. } if asked_at < *decisive_at => {
            *decisive_at.min(&(asked_at + EARLY_LOOK))
        }
        _ => asked_at + BETWEEN_GONE,
    };
    OrderEvent::Absent {
        asked_at,
        look_at,
        gone: true,
    }
}

/// The phase after such an answer.
pub(super) fn counted(
    phase: &OrderPhase,
    asked_at: Timestamp,
    look_at: Timestamp,
    is_gone: bool,
) -> Option<OrderPhase> {
    let OrderPhase::Unclear {
        spki,
        submitted_at,
        decisive_at,
        absences,
        gone,
        entitlement,
        supplement,
        ..
    } = phase
    else {
        return None;
    };
    let counts = asked_at >= *decisive_at;
    // Nothing is sent again for what is not there.
    let absent = u32::from(counts && !is_gone);
    Some(OrderPhase::Unclear {
        spki: *spki,
        submitted_at: *submitted_at,
        decisive_at: *decisive_at,
        absences: absences.saturating_add(absent),
        gone: if counts && is_gone {
            gone.or(Some(asked_at))
        } else {
            gone.filter(|_| is_gone)
        },
        look_at,
        entitlement: entitlement.clone(),
        supplement: *supplement,
    })
}

pub(super) fn definitely_absent(phase: &OrderPhase) -> Option<OrderPhase> {
    let OrderPhase::Unclear {
        spki,
        absences,
        entitlement,
        supplement,
        ..
    } = phase
    else {
        return None;
    };
    (*absences >= ABSENCES).then(|| match (spki, entitlement) {
        // With the key of the certificate that is there: nothing of the order's own is left.
        _ if *supplement => OrderPhase::Opened,
        (Some(spki), entitlement) => OrderPhase::KeyStored {
            spki: *spki,
            entitlement: entitlement.clone(),
        },
        (None, Some(reference)) => OrderPhase::Entitled {
            reference: reference.clone(),
        },
        (None, None) => OrderPhase::Opened,
    })
}

/// Between looks before absence counts: a slow issuer is noticed soon, and a busy one not asked too often.
const EARLY_LOOK: Seconds = Seconds(30);

/// Between two answers that an entitlement is gone: one may come from a replica that lags.
const BETWEEN_GONE: Seconds = Seconds::minutes(10);

/// After a purchase: by then every answer shows it.
const SHOWN: Seconds = Seconds::hours(6);
