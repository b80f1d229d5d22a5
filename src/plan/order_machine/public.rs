//! What an order of a public certificate does before it applies, and while the CA reviews it.
//!
//! ```text
//! Opened ─look─▶ Seeking (waits: a successor to come, an entitlement, a person) ─look─▶ …
//!          ├───▶ Submitted            taken over: issued or under way, and ours
//!          ├───▶ Claiming ─confirm─▶ Entitled ─store-key─▶ KeyStored ─submit─▶ Submitted
//!          └───▶ Bare ─buy─▶ Entitled
//!                      └──▶ PurchaseUnclear ─trace─▶ Entitled, or two absences ─▶ Opened
//! Submitted ─fetch─▶ proof wanted ─publish─▶ ─examine─▶ visible ─fetch─▶ Issued ─close─▶ Ending ─retract─▶ Closed
//! ```
//!
//! A definite no is two complete answers ten minutes apart, the first no earlier than ten minutes after the time-out of
//! the purchase. Nothing else allows a second purchase for an order.

use crate::model::{
    Blocked, Budget, DomainMethod, Order, OrderEvent, OrderPhase, OrderStep, ProofStage,
    ProofState, Purchase, Review, Seconds, Stale, Timestamp, Waiting, Want,
};
use crate::plan::Next;
use crate::plan::backoff;
use crate::plan::order_machine::Timing;

/// What speaks for and against a purchase, beside what the order saw itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Money<'a> {
    /// Purchases of this journal within the last 30 days, in order.
    pub journal: &'a [Timestamp],
    /// Why the journal may not buy at all.
    pub stale: Option<&'a Stale>,
    /// Another order of the issuer may be buying now: purchases go one after the other, so that the budget is known.
    pub busy: bool,
}

/// When another purchase may be made; `None` for at once. What counts is the larger of what journal and account say.
pub(super) fn allowed_at(
    budget: Budget,
    journal: &[Timestamp],
    account: &[Timestamp],
    now: Timestamp,
) -> Option<(Timestamp, (u32, u32), (u32, u32))> {
    let day = within(journal, account, DAY, now);
    let month = within(journal, account, MONTH, now);
    let free = |made: &[Timestamp], most: u32, span: Seconds| match most {
        0 => Some(now + span),
        _ => {
            let too_many = made.len().checked_sub(usize::try_from(most).ok()?)?;
            made.get(too_many).map(|at| *at + span)
        }
    };
    let until = free(day, budget.per_day, DAY).max(free(month, budget.per_month, MONTH))?;
    let count = |made: &[Timestamp]| u32::try_from(made.len()).unwrap_or(u32::MAX);
    Some((
        until,
        (count(day), budget.per_day),
        (count(month), budget.per_month),
    ))
}

/// Of both the one with more purchases within `span` before `now`; one of the future counts too.
fn within<'a>(
    journal: &'a [Timestamp],
    account: &'a [Timestamp],
    span: Seconds,
    now: Timestamp,
) -> &'a [Timestamp] {
    let late = |all: &'a [Timestamp]| {
        let from = all.partition_point(|at| *at + span <= now);
        &all[from..]
    };
    let (journal, account) = (late(journal), late(account));
    if account.len() > journal.len() {
        account
    } else {
        journal
    }
}

/// The next of an order that has nothing to apply with yet.
pub(super) fn next(
    order: &Order,
    money: &Money<'_>,
    now: Timestamp,
) -> Next<OrderStep, OrderEvent> {
    match &order.phase {
        OrderPhase::Seeking { look_at, want } if backoff::is_ahead(*look_at, now) => {
            waits(want, *look_at, now)
        }
        OrderPhase::Claiming { confirm_at, .. } if backoff::is_ahead(*confirm_at, now) => {
            Next::Wait(Waiting::Settling { until: *confirm_at })
        }
        OrderPhase::Claiming { .. } => Next::Step(OrderStep::Confirm),
        OrderPhase::PurchaseUnclear { purchase, look_at } if backoff::is_ahead(*look_at, now) => {
            if purchase.automatic_payment || *look_at < purchase.decisive_at {
                Next::Wait(Waiting::Purchase { until: *look_at })
            } else {
                Next::Blocked(Blocked::PurchaseUnclear {
                    since: purchase.began_at,
                    until: *look_at,
                })
            }
        }
        OrderPhase::PurchaseUnclear { .. } => Next::Step(OrderStep::Trace),
        OrderPhase::Bare {
            looked_at, spent, ..
        } => bare(order, *looked_at, spent, money, now),
        OrderPhase::Seeking { .. }
        | OrderPhase::Opened
        | OrderPhase::Entitled { .. }
        | OrderPhase::KeyStored { .. }
        | OrderPhase::Unclear { .. }
        | OrderPhase::Submitted { .. }
        | OrderPhase::Issued { .. }
        | OrderPhase::Ending { .. }
        | OrderPhase::Closed { .. } => Next::Step(OrderStep::Look),
    }
}

fn waits(want: &Want, until: Timestamp, now: Timestamp) -> Next<OrderStep, OrderEvent> {
    match want {
        Want::Successor { not_after } if now >= *not_after - OVERDUE => {
            let not_after = *not_after;
            Next::Blocked(Blocked::SuccessorOverdue { not_after, until })
        }
        Want::Successor { not_after } => Next::Wait(Waiting::Successor {
            until,
            not_after: *not_after,
        }),
        Want::Entitlement => Next::Wait(Waiting::Entitlement { until }),
        Want::Person { detail } => Next::Blocked(Blocked::ForeignApplication {
            detail: detail.clone(),
            until,
        }),
    }
}

/// Nothing is there that may be taken: bought is only what the policy allows, by a journal that can be believed, after a
/// look that is fresh.
fn bare(
    order: &Order,
    looked_at: Timestamp,
    spent: &crate::model::Spent,
    money: &Money<'_>,
    now: Timestamp,
) -> Next<OrderStep, OrderEvent> {
    let buying = order
        .request
        .public
        .as_ref()
        .and_then(|p| p.buying.as_ref());
    let Some(buying) = buying else {
        return Next::Record(OrderEvent::Wanting {
            want: Want::Entitlement,
            look_at: looked_at + ENTITLEMENT_INTERVAL,
        });
    };
    let fresh = looked_at <= now && looked_at.until(now) <= FRESH;
    if let Some(stale) = money.stale {
        return Next::Blocked(Blocked::StaleJournal { how: stale.clone() });
    }
    if !spent.unknown.is_empty() && fresh {
        let references = spent.unknown.clone();
        return Next::Blocked(Blocked::StaleJournal {
            how: Stale::UnknownPurchases { references },
        });
    }
    if let Some((until, day, month)) = allowed_at(buying.budget, money.journal, &spent.at, now) {
        return Next::Wait(Waiting::PurchaseBudget { until, day, month });
    }
    if money.busy {
        return Next::Wait(Waiting::Purchase {
            until: now + Seconds::minutes(1),
        });
    }
    if fresh {
        Next::Step(OrderStep::Buy)
    } else {
        Next::Step(OrderStep::Look)
    }
}

/// The next of an application.
pub(super) fn submitted(
    proof: Option<&ProofState>,
    review: &Review,
    poll_after: Timestamp,
    now: Timestamp,
) -> Next<OrderStep, OrderEvent> {
    let ahead = backoff::is_ahead(poll_after, now);
    match proof.map(|proof| (proof, proof.stage)) {
        Some((_, ProofStage::Wanted)) => Next::Step(OrderStep::Publish),
        Some((_, ProofStage::Published { .. })) if ahead => {
            Next::Wait(Waiting::DomainProof { until: poll_after })
        }
        Some((_, ProofStage::Published { .. })) => Next::Step(OrderStep::Examine),
        Some((state, ProofStage::Visible { .. })) if ahead && by_mail(state) => {
            Next::Blocked(Blocked::Person {
                detail: mails(state),
                until: poll_after,
            })
        }
        Some((_, ProofStage::Visible { .. })) | None if ahead => {
            Next::Wait(if review.status.is_empty() {
                Waiting::Issuance { until: poll_after }
            } else {
                Waiting::Review {
                    until: poll_after,
                    status: review.status.clone(),
                    since: review.since,
                }
            })
        }
        Some((_, ProofStage::Visible { .. })) | None => Next::Step(OrderStep::Fetch),
    }
}

fn by_mail(state: &ProofState) -> bool {
    let mut proofs = state.proofs.iter();
    proofs.any(|proof| proof.method == DomainMethod::Email)
}

fn mails(state: &ProofState) -> String {
    let proofs = state.proofs.iter();
    let mails = proofs.filter(|proof| proof.method == DomainMethod::Email);
    let all: Vec<String> = mails
        .map(|proof| format!("{} for {}", proof.place, proof.domain))
        .collect();
    format!(
        "the CA wrote a mail to confirm the domain ({}); answer it",
        all.join(", ")
    )
}

/// The next of an order whose end is decided.
pub(super) const fn ending(withdraw: bool, proof: bool) -> OrderStep {
    if withdraw {
        OrderStep::Withdraw
    } else if proof {
        OrderStep::Retract
    } else {
        OrderStep::Close
    }
}

pub(super) fn purchase_lost(order: &Order, began_at: Timestamp, timing: Timing) -> OrderEvent {
    let public = order.request.public.as_ref();
    let buying = public.and_then(|public| public.buying.as_ref());
    OrderEvent::PurchaseLost {
        automatic_payment: buying.is_some_and(|buying| buying.automatic_payment),
        began_at,
        decisive_at: began_at + timing.timeout + timing.settle.max(PURCHASE_SETTLES),
    }
}

pub(super) fn was_not_bought(purchase: &Purchase) -> bool {
    // What is not paid for by itself may lie there unpaid, which no listing shows: a person's.
    purchase.automatic_payment && purchase.absences >= super::ABSENCES
}

pub(super) fn not_bought(order: &Order, asked_at: Timestamp) -> OrderEvent {
    let look_at = match &order.phase {
        OrderPhase::PurchaseUnclear { purchase, .. } if asked_at < purchase.decisive_at => {
            purchase.decisive_at.min(asked_at + EARLY_TRACE)
        }
        OrderPhase::PurchaseUnclear { purchase, .. } if !purchase.automatic_payment => {
            asked_at + ENTITLEMENT_INTERVAL
        }
        _ => asked_at + BETWEEN_TRACES,
    };
    OrderEvent::NotBought { asked_at, look_at }
}

const DAY: Seconds = Seconds::days(1);
const MONTH: Seconds = Seconds::days(30);
/// Before the end of a certificate: its successor, which the reference promises 30 days before, is missed.
const OVERDUE: Seconds = Seconds::days(20);
/// Between looks for what a person buys.
const ENTITLEMENT_INTERVAL: Seconds = Seconds::hours(1);
/// A purchase rests on a look no older than this.
const FRESH: Seconds = Seconds::minutes(5);
/// After the time-out of a purchase until its absence counts.
const PURCHASE_SETTLES: Seconds = Seconds::minutes(10);
/// Between two answers that count.
const BETWEEN_TRACES: Seconds = Seconds::minutes(10);
/// Between looks before absence counts.
const EARLY_TRACE: Seconds = Seconds::minutes(1);
