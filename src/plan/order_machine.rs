//! The order machine: `Opened → KeyStored → Submitted → Issued → Closed`, with `Unclear` for a submit whose answer is
//! lost.
//!
//! | source | way |
//! |---|---|
//! | `Csr` | store the key, submit, fetch, close |
//! | `Ccm` | submit, fetch, close |
//! | `Follow` | locate, fetch, close |
//!
//! A submit is the one step that must not be done twice. Once its intent is in the journal without an outcome, or its
//! answer is lost, the order is `Unclear`: the issuer's listings are searched for the key at once and again, and only
//! two complete listings without it, the first no earlier than the call's time-out plus the issuer's settling time,
//! allow another submit.

use crate::model::{
    ErrorClass, Fingerprint, HostSeed, IssuerPolicy, Order, OrderClosing, OrderEvent, OrderPhase,
    OrderStep, Seconds, Source, Timestamp, Waiting,
};
use crate::plan::backoff::{self, Seed};
use crate::plan::{IllegalTransition, Next, OnError, Trouble};

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

/// What comes next for an order. `policy` is [`backoff::digest`] of certificate and issuer.
#[must_use]
pub fn next(
    order: &Order,
    timing: Timing,
    policy: Fingerprint,
    host: HostSeed,
    now: Timestamp,
) -> Next<OrderStep, OrderEvent> {
    if let Some(submitted_at) = submit_in_doubt(order) {
        return Next::Record(lost(submitted_at, timing));
    }
    match &order.phase {
        OrderPhase::Closed { .. } => return Next::Done,
        OrderPhase::Unclear { absences, .. } if *absences >= ABSENCES => {
            return Next::Record(OrderEvent::DefinitelyAbsent);
        }
        OrderPhase::Opened
        | OrderPhase::KeyStored { .. }
        | OrderPhase::Unclear { .. }
        | OrderPhase::Submitted { .. }
        | OrderPhase::Issued { .. } => {}
    }
    let seed = Seed::new(order.certificate.as_str(), host);
    if let Some(waiting) = backoff::waiting(&order.failures, seed, policy, now) {
        return Next::Wait(waiting);
    }
    match &order.phase {
        OrderPhase::Opened => Next::Step(match order.request.source {
            Source::Csr => OrderStep::StoreKey,
            Source::Ccm => OrderStep::Submit,
            Source::Follow => OrderStep::Locate,
        }),
        OrderPhase::KeyStored { .. } => Next::Step(OrderStep::Submit),
        OrderPhase::Unclear { look_at, .. } if backoff::is_ahead(*look_at, now) => {
            Next::Wait(Waiting::Settling { until: *look_at })
        }
        OrderPhase::Unclear { .. } => Next::Step(OrderStep::Resolve),
        OrderPhase::Submitted { poll_after, .. } if backoff::is_ahead(*poll_after, now) => {
            Next::Wait(Waiting::Issuance { until: *poll_after })
        }
        OrderPhase::Submitted { .. } => Next::Step(OrderStep::Fetch),
        OrderPhase::Issued { .. } => Next::Step(OrderStep::Close),
        OrderPhase::Closed { .. } => Next::Done,
    }
}

/// When a submit began whose outcome is not in the journal; the process died within it.
#[must_use]
pub fn submit_in_doubt(order: &Order) -> Option<Timestamp> {
    let started = order.started.as_ref()?;
    let before = matches!(
        order.phase,
        OrderPhase::Opened | OrderPhase::KeyStored { .. }
    );
    (before && started.step == OrderStep::Submit).then_some(started.at)
}

/// The issuer has it, or may have it: giving the order up would waste a certificate, or buy another one.
#[must_use]
pub fn is_submitted(order: &Order) -> bool {
    match order.phase {
        OrderPhase::Opened | OrderPhase::KeyStored { .. } => submit_in_doubt(order).is_some(),
        OrderPhase::Unclear { .. }
        | OrderPhase::Submitted { .. }
        | OrderPhase::Issued { .. }
        | OrderPhase::Closed { .. } => true,
    }
}

/// The phase an event leads to.
///
/// # Errors
/// [`IllegalTransition`] when the event does not fit the phase; the order stays as it is.
pub fn transition(phase: &OrderPhase, event: &OrderEvent) -> Result<OrderPhase, IllegalTransition> {
    let illegal = || IllegalTransition {
        phase: phase.code(),
        event: event.code(),
    };
    match event {
        OrderEvent::KeyStored { spki } => match phase {
            OrderPhase::Opened => Ok(OrderPhase::KeyStored { spki: *spki }),
            OrderPhase::KeyStored { .. }
            | OrderPhase::Unclear { .. }
            | OrderPhase::Submitted { .. }
            | OrderPhase::Issued { .. }
            | OrderPhase::Closed { .. } => Err(illegal()),
        },
        OrderEvent::Accepted {
            reference,
            poll_after,
        } => Ok(OrderPhase::Submitted {
            spki: unsubmitted_key(phase).ok_or_else(illegal)?,
            reference: reference.clone(),
            poll_after: *poll_after,
        }),
        OrderEvent::AnswerLost {
            submitted_at,
            look_at,
        } => match phase {
            OrderPhase::Opened | OrderPhase::KeyStored { .. } => Ok(OrderPhase::Unclear {
                spki: unsubmitted_key(phase).ok_or_else(illegal)?,
                submitted_at: *submitted_at,
                decisive_at: *look_at,
                absences: 0,
                // At once: a submit that had its effect is found without waiting.
                look_at: *submitted_at,
            }),
            OrderPhase::Unclear { .. }
            | OrderPhase::Submitted { .. }
            | OrderPhase::Issued { .. }
            | OrderPhase::Closed { .. } => Err(illegal()),
        },
        OrderEvent::Absent { asked_at, look_at } => {
            let OrderPhase::Unclear {
                spki,
                submitted_at,
                decisive_at,
                absences,
                ..
            } = phase
            else {
                return Err(illegal());
            };
            let counts = u32::from(asked_at >= decisive_at);
            Ok(OrderPhase::Unclear {
                spki: *spki,
                submitted_at: *submitted_at,
                decisive_at: *decisive_at,
                absences: absences.saturating_add(counts),
                look_at: *look_at,
            })
        }
        OrderEvent::DefinitelyAbsent => match phase {
            OrderPhase::Unclear { spki, absences, .. } if *absences >= ABSENCES => {
                Ok(spki.map_or(OrderPhase::Opened, |spki| OrderPhase::KeyStored { spki }))
            }
            OrderPhase::Opened
            | OrderPhase::KeyStored { .. }
            | OrderPhase::Unclear { .. }
            | OrderPhase::Submitted { .. }
            | OrderPhase::Issued { .. }
            | OrderPhase::Closed { .. } => Err(illegal()),
        },
        OrderEvent::NotYet { poll_after } => match phase {
            OrderPhase::Submitted {
                spki, reference, ..
            } => Ok(OrderPhase::Submitted {
                spki: *spki,
                reference: reference.clone(),
                poll_after: *poll_after,
            }),
            OrderPhase::Opened
            | OrderPhase::KeyStored { .. }
            | OrderPhase::Unclear { .. }
            | OrderPhase::Issued { .. }
            | OrderPhase::Closed { .. } => Err(illegal()),
        },
        OrderEvent::Issued { revision } => match phase {
            OrderPhase::Submitted { .. } => Ok(OrderPhase::Issued {
                revision: revision.clone(),
            }),
            OrderPhase::Opened
            | OrderPhase::KeyStored { .. }
            | OrderPhase::Unclear { .. }
            | OrderPhase::Issued { .. }
            | OrderPhase::Closed { .. } => Err(illegal()),
        },
        OrderEvent::Closed { closing } if closes(phase, closing) => Ok(OrderPhase::Closed {
            closing: closing.clone(),
        }),
        OrderEvent::Closed { .. } => Err(illegal()),
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
    let may_close = match step {
        OrderStep::Submit if effect_unknown => {
            let submitted_at = order.started.as_ref().map_or(now, |started| started.at);
            return OnError::Event(lost(submitted_at, timing));
        }
        OrderStep::Submit | OrderStep::Locate | OrderStep::Fetch => true,
        // Nobody refused the order: the disk or the listing is in trouble. Giving up in `Resolve` could buy twice.
        OrderStep::StoreKey | OrderStep::Resolve | OrderStep::Close => false,
    };
    if may_close && trouble.class == ErrorClass::Rejected {
        return OnError::Event(OrderEvent::Closed {
            closing: OrderClosing::Failed {
                class: trouble.class,
                message: trouble.message,
            },
        });
    }
    OnError::Retry(backoff::failure(trouble, policy, now))
}

/// The event for a complete listing, asked for at `asked_at`, that does not have the order's key.
#[must_use]
pub fn absent(order: &Order, timing: Timing, asked_at: Timestamp) -> OrderEvent {
    let look_at = match &order.phase {
        OrderPhase::Unclear { decisive_at, .. } if asked_at < *decisive_at => {
            *decisive_at.min(&(asked_at + EARLY_LOOK))
        }
        OrderPhase::Opened
        | OrderPhase::KeyStored { .. }
        | OrderPhase::Unclear { .. }
        | OrderPhase::Submitted { .. }
        | OrderPhase::Issued { .. }
        | OrderPhase::Closed { .. } => asked_at + timing.settle.max(Seconds(1)),
    };
    OrderEvent::Absent { asked_at, look_at }
}

fn lost(submitted_at: Timestamp, timing: Timing) -> OrderEvent {
    OrderEvent::AnswerLost {
        submitted_at,
        look_at: submitted_at + timing.timeout + timing.settle,
    }
}

/// The key of an order that can still be accepted; the inner `None` when CCM makes it.
fn unsubmitted_key(phase: &OrderPhase) -> Option<Option<Fingerprint>> {
    match phase {
        OrderPhase::Opened => Some(None),
        OrderPhase::KeyStored { spki } => Some(Some(*spki)),
        OrderPhase::Unclear { spki, .. } => Some(*spki),
        OrderPhase::Submitted { .. } | OrderPhase::Issued { .. } | OrderPhase::Closed { .. } => {
            None
        }
    }
}

fn closes(phase: &OrderPhase, closing: &OrderClosing) -> bool {
    match (phase, closing) {
        (OrderPhase::Issued { revision }, OrderClosing::Fulfilled { revision: closed }) => {
            revision == closed
        }
        (
            OrderPhase::Opened | OrderPhase::KeyStored { .. } | OrderPhase::Submitted { .. },
            OrderClosing::Failed { .. } | OrderClosing::Abandoned { .. },
        )
        | (OrderPhase::Unclear { .. }, OrderClosing::Abandoned { .. }) => true,
        // An issued revision is stored and only put away; an unclear order may not fail, since another would follow.
        (
            OrderPhase::Opened
            | OrderPhase::KeyStored { .. }
            | OrderPhase::Submitted { .. }
            | OrderPhase::Unclear { .. },
            OrderClosing::Fulfilled { .. },
        )
        | (OrderPhase::Unclear { .. }, OrderClosing::Failed { .. })
        | (
            OrderPhase::Issued { .. },
            OrderClosing::Failed { .. } | OrderClosing::Abandoned { .. },
        )
        | (
            OrderPhase::Closed { .. },
            OrderClosing::Fulfilled { .. }
            | OrderClosing::Failed { .. }
            | OrderClosing::Abandoned { .. },
        ) => false,
    }
}

/// Complete listings without the key before a submit may be sent again: one alone may have been taken a moment too
/// early, or from a replica that lags.
const ABSENCES: u32 = 2;

/// Between looks before absence counts: a slow issuer is noticed soon, and a busy one not asked too often.
const EARLY_LOOK: Seconds = Seconds(30);

#[cfg(test)]
mod tests;
