//! What an order of a public certificate does before it applies, and while the CA reviews it.
//!
//! ```text
//! Opened ─look─▶ Seeking (waits: a successor to come, an entitlement, a person) ─look─▶ …
//!          ├───▶ Submitted            taken over: issued or under way, and ours
//!          ├───▶ Claiming ─confirm─▶ Entitled ─store-key─▶ KeyStored ─submit─▶ Submitted
//!          └───▶ Bare ─buy─▶ Entitled
//!                      └──▶ PurchaseUnclear ─trace─▶ Entitled, or two absences ─▶ Opened
//! Opened ─supplement─▶ Submitted      names are added to an issued certificate; refused: Closed, and another order follows
//!          └─────────▶ Unclear ─resolve─▶ Submitted, or two absences ─▶ Opened
//! Submitted ─fetch─▶ proof wanted ─publish─▶ ─examine─▶ visible ─fetch─▶ Issued ─close─▶ Ending ─retract─▶ Closed
//! ```
//!
//! A definite no is two complete answers ten minutes apart, the first no earlier than ten minutes after the time-out of
//! the purchase. Nothing else allows a second purchase for an order.

use std::collections::BTreeSet;

use crate::model::{
    Blocked, Budget, Buying, DomainMethod, Order, OrderClosing, OrderEvent, OrderPhase, OrderStep,
    ProofStage, ProofState, Purchase, Review, Seconds, Snapshot, Spent, Stale, Timestamp, Unused,
    Waiting, Want,
};
use crate::plan::Next;
use crate::plan::backoff;
use crate::plan::order_machine::Timing;
use crate::plan::supplement;

/// What speaks for and against a purchase, beside what the order saw itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Money<'a> {
    /// Purchases of this journal at the account within the last 30 days, in order.
    pub journal: &'a [Timestamp],
    /// The last purchase of this journal at whatever issuer: two of them may be one account, and what a look before it saw
    /// does not count it.
    pub last: Option<Timestamp>,
    /// Why the journal may neither take nor buy anything at all.
    pub stale: Option<&'a Stale>,
    /// Another order of the account may be buying now: purchases go one after the other, so that the budget is known.
    pub busy: bool,
    /// The entitlement of the present certificate, which ends then, has certificates to come: nothing is bought in their
    /// place, whatever a listing shows.
    pub successor: Option<Timestamp>,
    /// What an earlier order of the certificate left unused: soon after, it is looked for instead of bought again.
    pub unused: Option<&'a Unused>,
}

/// Why an order stands still: what its journal has marked is another one's, too, and neither can tell which of both a mark is
/// of. What may have been sent already is still looked for, and what was is fetched: that takes nothing from anybody. To take an
/// application back, or its proof away, would.
#[must_use]
pub fn copied<'a>(order: &Order, money: &Money<'a>) -> Option<&'a Stale> {
    let stale = money.stale.filter(|_| order.request.public.is_some())?;
    let takes = match &order.phase {
        OrderPhase::Opened
        | OrderPhase::Seeking { .. }
        | OrderPhase::Claiming { .. }
        | OrderPhase::Bare { .. }
        | OrderPhase::Entitled { .. }
        | OrderPhase::KeyStored { .. } => true,
        // Of what is issued nobody needs the proof any more.
        OrderPhase::Ending {
            closing,
            withdraw,
            proof,
        } => {
            let fulfilled = matches!(closing, OrderClosing::Fulfilled { .. });
            withdraw.is_some() || (proof.is_some() && !fulfilled)
        }
        OrderPhase::PurchaseUnclear { .. }
        | OrderPhase::Unclear { .. }
        | OrderPhase::Submitted { .. }
        | OrderPhase::Issued { .. }
        | OrderPhase::Closed { .. } => false,
    };
    takes.then_some(stale)
}

/// Why an order that nobody wants is not given up: its end would take back what the other owner of the journal has sent.
#[must_use]
pub fn keeps<'a>(order: &Order, money: &Money<'a>) -> Option<&'a Stale> {
    let sent = match &order.phase {
        OrderPhase::Submitted { public, .. } => *public,
        OrderPhase::Unclear { supplement, .. } => *supplement,
        OrderPhase::Ending { .. } => return copied(order, money),
        OrderPhase::Opened
        | OrderPhase::Seeking { .. }
        | OrderPhase::Claiming { .. }
        | OrderPhase::Bare { .. }
        | OrderPhase::PurchaseUnclear { .. }
        | OrderPhase::Entitled { .. }
        | OrderPhase::KeyStored { .. }
        | OrderPhase::Issued { .. }
        | OrderPhase::Closed { .. } => false,
    };
    money.stale.filter(|_| sent)
}

/// Whether another purchase at the same issuer has to wait for this order: it may be buying at this moment, or it is
/// found out soon whether it has bought. What only a person can find out holds nobody else up; it is counted as bought.
#[must_use]
pub fn is_buying(order: &Order) -> bool {
    let unclear = |purchase: &Purchase| purchase.automatic_payment || purchase.absences == 0;
    match &order.phase {
        OrderPhase::Bare { .. } => order.purchase_in_doubt().is_some(),
        OrderPhase::PurchaseUnclear { purchase, .. } => unclear(purchase),
        OrderPhase::Claiming { purchase, .. } => purchase.as_deref().is_some_and(unclear),
        OrderPhase::Opened
        | OrderPhase::Seeking { .. }
        | OrderPhase::Entitled { .. }
        | OrderPhase::KeyStored { .. }
        | OrderPhase::Unclear { .. }
        | OrderPhase::Submitted { .. }
        | OrderPhase::Issued { .. }
        | OrderPhase::Ending { .. }
        | OrderPhase::Closed { .. } => false,
    }
}

/// The last purchase of a journal.
pub(crate) fn last_purchase(snapshot: &Snapshot) -> Option<Timestamp> {
    let all = snapshot.purchases.values();
    all.filter_map(|of| of.last()).max().copied()
}

/// The last purchase, where a look cannot have counted it. One of a clock that was far ahead says nothing.
fn unseen(last: Option<Timestamp>, looked_at: Timestamp, now: Timestamp) -> Option<Timestamp> {
    last.filter(|last| *last >= looked_at && *last <= now + FRESH)
}

/// Whether an order may buy at this moment, by the journal as it is at this moment: a plan can be older than what other
/// steps have done since.
#[must_use]
pub fn may_buy(order: &Order, snapshot: &Snapshot, now: Timestamp) -> bool {
    let Some(order) = snapshot.orders.get(&order.id) else {
        return false;
    };
    let (
        OrderPhase::Bare {
            spent, looked_at, ..
        },
        Some(buying),
    ) = (&order.phase, buying(order))
    else {
        return false;
    };
    let journal = snapshot.purchases.get(&order.issuer);
    let journal = journal.map_or(&[][..], Vec::as_slice);
    order.started.is_none()
        && unseen(last_purchase(snapshot), *looked_at, now).is_none()
        && allowed_at(buying.budget, journal, &spent.at, now).is_none()
        && !snapshot.orders.values().any(|other| {
            let one = snapshot.account(&other.issuer) == snapshot.account(&order.issuer);
            other.id != order.id && one && is_buying(other)
        })
}

/// When another purchase may be made; `None` for at once. What counts is the larger of what journal and account say.
#[must_use]
pub fn allowed_at(
    budget: Budget,
    journal: &[Timestamp],
    account: &[Timestamp],
    now: Timestamp,
) -> Option<Waiting> {
    let day = within(journal, account, DAY, now);
    let month = within(journal, account, MONTH, now);
    let free = |made: &[Timestamp], most: u32, span: Seconds| match most {
        0 => Some(now + span),
        _ => {
            let too_many = made.len().checked_sub(usize::try_from(most).ok()?)?;
            // One of the future was made by a clock that is wrong: it counts, for no longer than the others.
            made.get(too_many).map(|at| *at.min(&now) + span)
        }
    };
    let until = free(day, budget.per_day, DAY).max(free(month, budget.per_month, MONTH))?;
    Some(Waiting::PurchaseBudget {
        until,
        day: (count(day), budget.per_day),
        month: (count(month), budget.per_month),
    })
}

/// How much was bought within 24 hours and 30 days: the larger of what journal and account say.
#[must_use]
pub fn spent(journal: &[Timestamp], account: &[Timestamp], now: Timestamp) -> (u32, u32) {
    let of = |span| count(within(journal, account, span, now));
    (of(DAY), of(MONTH))
}

fn count(made: &[Timestamp]) -> u32 {
    u32::try_from(made.len()).unwrap_or(u32::MAX)
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
            Next::Wait(Waiting::Claim { until: *confirm_at })
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
            looked_at,
            spent,
            listed,
        } => bare(order, *looked_at, (listed, spent), money, now),
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
        Want::Names { detail } => Next::Blocked(Blocked::SuccessorLacksNames {
            detail: detail.clone(),
            until,
        }),
    }
}

/// With what the order may buy.
pub(crate) fn buying(order: &Order) -> Option<&Buying> {
    order.request.public.as_ref()?.buying.as_ref()
}

/// Nothing is there that may be taken: bought is only what the policy allows, by a journal that the account does not
/// contradict, after a look that is fresh.
fn bare(
    order: &Order,
    looked_at: Timestamp,
    (listed, spent): (&BTreeSet<String>, &Spent),
    money: &Money<'_>,
    now: Timestamp,
) -> Next<OrderStep, OrderEvent> {
    let want = match (money.successor, buying(order)) {
        (Some(not_after), _) => Want::Successor { not_after },
        (None, None) => Want::Entitlement,
        (None, Some(buying)) => {
            // What a person buys meanwhile, or frees, is seen.
            let old = looked_at > now || looked_at + ENTITLEMENT_INTERVAL <= now;
            let fresh = !old
                && looked_at.until(now) <= FRESH
                && unseen(money.last, looked_at, now).is_none();
            // What others claim and do not use is free before long, too.
            let listed = !listed.is_empty();
            if money.unused.is_some_and(|unused| {
                unused.at + COMES_BACK > now || (listed && unused.at + COMES_FREE > now)
            }) {
                let until = looked_at + BETWEEN_TRACES;
                return if backoff::is_ahead(until, now) && !old {
                    Next::Wait(Waiting::Entitlement { until })
                } else {
                    Next::Step(OrderStep::Look)
                };
            }
            return match hindrance(buying, spent, money, now) {
                Some(_) if old => Next::Step(OrderStep::Look),
                Some(Hindrance::Wait(waiting)) => Next::Wait(waiting),
                Some(Hindrance::Blocked(blocked)) => Next::Blocked(blocked),
                None if fresh => placed(buying, spent, looked_at, now),
                // A look of the same second would not be later.
                None => match unseen(money.last, looked_at, now).filter(|last| *last >= now) {
                    Some(last) => Next::Wait(Waiting::Purchase {
                        until: last + Seconds(1),
                    }),
                    None => Next::Step(OrderStep::Look),
                },
            };
        }
    };
    Next::Record(OrderEvent::Wanting {
        want,
        look_at: looked_at + ENTITLEMENT_INTERVAL,
    })
}

/// Buys at once, or after a look that counted whoever is earlier in the queue of those who buy from the account.
fn placed(
    buying: &Buying,
    spent: &Spent,
    looked_at: Timestamp,
    now: Timestamp,
) -> Next<OrderStep, OrderEvent> {
    match spent.placed {
        _ if !buying.reserve => Next::Step(OrderStep::Buy),
        Some(from) if from <= looked_at => Next::Step(OrderStep::Buy),
        Some(from) if backoff::is_ahead(from, now) => Next::Wait(Waiting::Purchase { until: from }),
        // A look takes the place, or counts the others.
        Some(_) | None => Next::Step(OrderStep::Look),
    }
}

/// What keeps an order from buying.
enum Hindrance {
    Wait(Waiting),
    Blocked(Blocked),
}

fn hindrance(
    buying: &Buying,
    spent: &Spent,
    money: &Money<'_>,
    now: Timestamp,
) -> Option<Hindrance> {
    if !spent.unknown.is_empty() {
        let references = spent.unknown.clone();
        let how = Stale::UnknownPurchases { references };
        return Some(Hindrance::Blocked(Blocked::StaleJournal { how }));
    }
    if let Some(waiting) = allowed_at(buying.budget, money.journal, &spent.at, now) {
        return Some(Hindrance::Wait(waiting));
    }
    money.busy.then(|| {
        let until = now + BUSY;
        Hindrance::Wait(Waiting::Purchase { until })
    })
}

/// When an order that is kept from buying looks through the account again.
#[must_use]
pub fn looks_again(order: &Order) -> Option<Timestamp> {
    let OrderPhase::Bare { looked_at, .. } = &order.phase else {
        return None;
    };
    Some(*looked_at + ENTITLEMENT_INTERVAL)
}

/// The next of an application.
pub(super) fn submitted(
    order: &Order,
    proof: Option<&ProofState>,
    review: &Review,
    poll_after: Timestamp,
    now: Timestamp,
) -> Next<OrderStep, OrderEvent> {
    let ahead = backoff::is_ahead(poll_after, now);
    let fetch = || {
        if !ahead {
            Next::Step(OrderStep::Fetch)
        } else if review.status.is_empty() {
            Next::Wait(Waiting::Issuance { until: poll_after })
        } else {
            Next::Wait(Waiting::Review {
                until: poll_after,
                status: review.status.clone(),
                since: review.since,
            })
        }
    };
    let Some(state) = proof else {
        return fetch();
    };
    if by_mail(state) && ahead && (state.is_by_mail() || state.stage != ProofStage::Wanted) {
        return Next::Blocked(Blocked::Person {
            detail: mails(state),
            until: poll_after,
        });
    }
    if state.is_by_mail() {
        return fetch();
    }
    match state.stage {
        ProofStage::Wanted => Next::Step(OrderStep::Publish),
        ProofStage::Published { .. } if ahead => {
            Next::Wait(Waiting::DomainProof { until: poll_after })
        }
        // Perhaps only this host cannot see it: after a while the issuer is asked in turns.
        ProofStage::Published { at } if at + UNSEEN <= now && order.failures.count % 2 == 1 => {
            Next::Step(OrderStep::Fetch)
        }
        ProofStage::Published { .. } => Next::Step(OrderStep::Examine),
        ProofStage::Visible { .. } => fetch(),
    }
}

/// Whether the issuer has said for longer than a submit takes to settle that what was applied for is only paid for: somebody
/// took the application back. Of names that are added to a certificate: that it is issued, and lacks them still after an
/// hour, since another certificate would be bought for them. `review` is its present answer.
#[must_use]
pub fn was_taken_back(order: &Order, review: &Review, timing: Timing) -> bool {
    let OrderPhase::Submitted {
        public: true,
        review: before,
        ..
    } = &order.phase
    else {
        return false;
    };
    let (nothing, settles) = match supplement::of_order(order) {
        Some(_) => (AS_BEFORE, SUPPLEMENT_SETTLES),
        None => (UNUSED, PURCHASE_SETTLES),
    };
    let settled = before.since + timing.settle.max(settles);
    before.status == nothing && review.status == nothing && review.since >= settled
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
    OrderEvent::PurchaseLost {
        automatic_payment: buying(order).is_some_and(|buying| buying.automatic_payment),
        began_at,
        decisive_at: began_at + timing.timeout + timing.settle.max(PURCHASE_SETTLES),
    }
}

/// After a complete answer without it: one counts from the decisive moment on, and the next one that counts is asked for
/// no sooner than ten minutes later, whatever asks.
pub(super) fn counted(purchase: &Purchase, asked_at: Timestamp) -> Box<Purchase> {
    let mut purchase = purchase.clone();
    if asked_at >= purchase.decisive_at {
        purchase.absences = purchase.absences.saturating_add(1);
        purchase.decisive_at = asked_at + BETWEEN_TRACES;
    }
    Box::new(purchase)
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
        OrderPhase::PurchaseUnclear { .. }
        | OrderPhase::Opened
        | OrderPhase::Seeking { .. }
        | OrderPhase::Claiming { .. }
        | OrderPhase::Bare { .. }
        | OrderPhase::Entitled { .. }
        | OrderPhase::KeyStored { .. }
        | OrderPhase::Unclear { .. }
        | OrderPhase::Submitted { .. }
        | OrderPhase::Issued { .. }
        | OrderPhase::Ending { .. }
        | OrderPhase::Closed { .. } => asked_at + BETWEEN_TRACES,
    };
    OrderEvent::NotBought { asked_at, look_at }
}

/// After a complete answer in which somebody uses what may be it.
pub(super) fn untold(asked_at: Timestamp) -> OrderEvent {
    OrderEvent::PurchaseUntold {
        look_at: asked_at + BETWEEN_TRACES,
    }
}

const DAY: Seconds = Seconds::days(1);
const MONTH: Seconds = Seconds::days(30);
/// Before the end of a certificate: its successor, which the reference promises 30 days before, is missed.
pub(crate) const OVERDUE: Seconds = Seconds::days(20);
/// Between looks for what a person buys.
const ENTITLEMENT_INTERVAL: Seconds = Seconds::hours(1);
/// A purchase rests on a look no older than this.
const FRESH: Seconds = Seconds::minutes(5);
/// After the time-out of a purchase until its absence counts.
const PURCHASE_SETTLES: Seconds = Seconds::minutes(10);
/// After names were accepted until a certificate that is issued without them says that they came to nothing.
const SUPPLEMENT_SETTLES: Seconds = Seconds::hours(1);
/// `status` of what is paid for and not applied for.
const UNUSED: &str = "PAID";
/// `status` of what has a certificate.
const AS_BEFORE: &str = "ISSUED";
/// Between two answers that count: a listing may come from a replica that lags.
const BETWEEN_TRACES: Seconds = Seconds::minutes(10);
/// Between looks before absence counts.
const EARLY_TRACE: Seconds = Seconds::minutes(1);
/// Until it is looked whether another order of the issuer is done with its purchase; its steps say so sooner.
const BUSY: Seconds = Seconds::minutes(10);
/// From the end of an order until what it left unused is free for the next one, or something else is: a listing may lag,
/// and another host that took it for its own lost purchase leaves that one in its place, with a claim that lasts an hour.
const COMES_BACK: Seconds = Seconds::minutes(75);
/// The same, while others claim what is unused.
const COMES_FREE: Seconds = Seconds::hours(6);
/// From the publication of a proof that is not seen from here until the issuer is asked all the same.
const UNSEEN: Seconds = Seconds::hours(1);

#[cfg(test)]
mod tests;
