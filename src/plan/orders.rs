//! Orders of public certificates beside their next step: what a person must know while they wait, and how one that nobody
//! wants any more is given up without a trace.
//!
//! Each alert follows from the phase, never from what is done at this moment: a look that changes nothing neither ends it
//! nor raises it again. Every phase that waits has a deadline after which it is told.

mod leftovers;

pub(crate) use leftovers::{is_told, leaves_behind, left_behind, left_over};

use crate::model::{
    Assurance, Blocked, Buying, DomainMethod, Fingerprint, IssuerId, IssuerPolicy, Order,
    OrderEvent, OrderPhase, Policy, ProofStage, ProofState, PublicRequest, Purchase, Review,
    Seconds, Severity, Snapshot, Spent, Stale, Timestamp, Waiting, Want,
};
use crate::plan::certificates::{Subject, wait};
use crate::plan::draft::Draft;
use crate::plan::order_machine::{self, Money, Timing};
use crate::plan::renewal::{self, Window};
use crate::plan::{Action, Next, Verdict, entitlements, open, supplement};

/// What speaks for and against a purchase for this order.
pub(crate) fn money<'a>(
    order: &Order,
    subject: Option<&Subject<'a>>,
    snapshot: &'a Snapshot,
    draft: &Draft,
) -> Money<'a> {
    let purchases = snapshot.purchases.get(&order.issuer);
    let replaces = order.request.public.as_ref();
    let replaces = replaces.and_then(|public| public.replaces.as_deref());
    Money {
        journal: purchases.map_or(&[], Vec::as_slice),
        last: order_machine::last_purchase(snapshot),
        stale: snapshot.stale.as_ref(),
        busy: draft.is_buying(&order.issuer, &order.id),
        unused: subject.and_then(|subject| subject.state.unused.as_ref()),
        successor: subject.zip(replaces).and_then(|(subject, replaces)| {
            // One for fewer names than are wanted is taken, never bought.
            let fewer = order.request.names != subject.policy.names;
            let own = entitlements::of(subject.state, replaces).filter(|_| fewer);
            entitlements::successor(subject.state, replaces).or_else(|| own.map(|own| own.until))
        }),
    }
}

/// Ends an order that nobody wants any more, `because`: at once, or after it is known what it has done, or left. What was
/// bought for it stays in the account, unused and with our tags, and is found by the next order. `digest` is
/// [`backoff::digest`](crate::plan::backoff::digest) of certificate and issuer, or the order's own. Answers what keeps it.
pub(crate) fn give_up(
    order: &Order,
    (issuer, digest): (Option<&IssuerPolicy>, Fingerprint),
    because: &str,
    snapshot: &Snapshot,
    now: Timestamp,
    draft: &mut Draft,
) -> Option<Verdict> {
    let money = money(order, None, snapshot, draft);
    if let Some(how) = order_machine::keeps(order, &money) {
        stale(order.issuer.as_str(), how, draft);
        let how = how.clone();
        return Some(Verdict::Blocked(Blocked::StaleJournal { how }));
    }
    let abandon = |message: String| Action::AbandonOrder {
        order: order.id.clone(),
        message,
    };
    let public = order.request.public.is_some();
    let in_doubt =
        order.submit_in_doubt().is_some() && public || order.purchase_in_doubt().is_some();
    let (known, message) = match &order.phase {
        OrderPhase::Closed { .. } => return None,
        // Stored, and only put away.
        OrderPhase::Issued { .. } => (false, String::new()),
        OrderPhase::Ending {
            withdraw: Some(_), ..
        } if issuer.is_none() => {
            // Nobody can be asked any more; what was published is still taken away.
            draft.orders.push(Action::RecordOrder {
                order: order.id.clone(),
                event: OrderEvent::Withdrawn,
            });
            return None;
        }
        OrderPhase::Ending { .. } => (false, String::new()),
        OrderPhase::Submitted {
            reference,
            public: true,
            ..
        } => (
            true,
            match supplement::of_order(order) {
                Some(_) => {
                    format!("{because}; what is being added to {reference} is to be taken back")
                }
                None => format!("{because}; the application {reference} is to be withdrawn"),
            },
        ),
        OrderPhase::Submitted { reference, .. } => (
            true,
            format!("{because}; the issuer knows it as {reference}, should it be revoked"),
        ),
        OrderPhase::PurchaseUnclear { purchase, .. } => lost(purchase, because),
        OrderPhase::Claiming {
            purchase: Some(purchase),
            ..
        } => lost(purchase, because),
        // Nothing is lost with it, and what may be under way is taken back: once it is seen if it is.
        OrderPhase::Unclear {
            supplement: true,
            decisive_at,
            ..
        } => (*decisive_at <= now, because.to_owned()),
        OrderPhase::Unclear { .. } => (!public, because.to_owned()),
        OrderPhase::Opened
        | OrderPhase::Seeking { .. }
        | OrderPhase::Claiming { .. }
        | OrderPhase::Bare { .. }
        | OrderPhase::Entitled { .. }
        | OrderPhase::KeyStored { .. } => (!in_doubt, because.to_owned()),
    };
    let ends = matches!(
        order.phase,
        OrderPhase::Issued { .. } | OrderPhase::Ending { .. }
    );
    if known || (issuer.is_none() && !ends) {
        draft.orders.push(abandon(message));
        return None;
    }
    // Of an issuer that left the policy only what asks it nothing is left to do.
    let timing = issuer.map_or(
        Timing {
            timeout: Seconds(0),
            settle: Seconds(0),
        },
        Timing::from,
    );
    let (mark, host) = (draft.mark(), draft.host);
    match order_machine::next(order, timing, &money, digest, host, now) {
        Next::Step(step) => draft.orders.push(Action::AdvanceOrder {
            order: order.id.clone(),
            step,
        }),
        Next::Record(event) => draft.orders.push(Action::RecordOrder {
            order: order.id.clone(),
            event,
        }),
        Next::Wait(waiting) => return Some(wait(waiting, draft)),
        Next::Blocked(blocked) => {
            if let Some(until) = blocked.until() {
                draft.wake(until);
            }
            return None;
        }
        Next::Done => return None,
    }
    let waiting = draft.hold_back(mark, &order.issuer)?;
    Some(wait(waiting, draft))
}

/// Whether an order with a lost purchase may be given up, and with what words.
fn lost(purchase: &Purchase, because: &str) -> (bool, String) {
    let persons = !purchase.automatic_payment && purchase.absences > 0;
    let message = format!(
        "{because}; an order of {} may lie unpaid in the account: cancel it in the console",
        purchase.began_at
    );
    (persons, message)
}

/// The open order, unless it only clears away what it left: of that it is told on its own.
pub(crate) fn renewing<'a>(subject: &Subject<'a>) -> Option<&'a Order> {
    subject
        .order
        .filter(|order| !matches!(order.phase, OrderPhase::Ending { .. }))
}

/// The issuer that is asked at present.
pub(crate) fn asked<'a>(subject: &Subject<'a>) -> &'a IssuerId {
    subject
        .order
        .map_or(&subject.policy.issuer, |order| &order.issuer)
}

/// Whether an order has come to where it waits for others, however often it looks.
pub(crate) fn is_long(order: &Order, now: Timestamp) -> bool {
    order.request.public.is_some() && order.opened_at + PATIENCE <= now
}

/// What stands for the order of a certificate of the policy.
pub(crate) fn alerts(
    policy: &Policy,
    snapshot: &Snapshot,
    (subject, order, window): (&Subject<'_>, &Order, Option<Window>),
    now: Timestamp,
    draft: &mut Draft,
) {
    let id = subject.policy.id.as_str();
    let issuer = order.issuer.as_str();
    let money = money(order, Some(subject), snapshot, draft);
    if let Some(how) = order_machine::copied(order, &money) {
        // Nothing else that could be told is of use before.
        return stale(issuer, how, draft);
    }
    match &order.phase {
        OrderPhase::Seeking { want, .. } => wanting(id, order, want, now, draft),
        OrderPhase::Bare { spent, .. } => {
            bare(id, order, spent, &money, window, now, draft);
            if money.busy {
                held_up(id, order, snapshot, now, draft);
            }
        }
        OrderPhase::PurchaseUnclear { purchase, .. }
        | OrderPhase::Claiming {
            purchase: Some(purchase),
            ..
        } => {
            purchase_lost(id, issuer, purchase, now, draft);
            if let Some(how) = money.stale {
                stale(issuer, how, draft);
            }
        }
        OrderPhase::Submitted { proof, review, .. } => {
            reviewed(subject, order, review, now, draft);
            if let Some(proof) = proof {
                proven(policy, id, proof, now, draft);
            }
        }
        OrderPhase::Ending { .. } => left_over(id, order, draft),
        OrderPhase::Opened
        | OrderPhase::Claiming { purchase: None, .. }
        | OrderPhase::Entitled { .. }
        | OrderPhase::KeyStored { .. }
        | OrderPhase::Unclear { .. }
        | OrderPhase::Issued { .. }
        | OrderPhase::Closed { .. } => {}
    }
}

fn wanting(id: &str, order: &Order, want: &Want, now: Timestamp, draft: &mut Draft) {
    match want {
        Want::Successor { not_after } => {
            let from = *not_after - order_machine::OVERDUE;
            draft.wake(from);
            if from > now {
                return;
            }
            draft.alert(
                Severity::Warning,
                "successor-overdue",
                id,
                format!("{id}: the next certificate of its order is missing"),
                format!(
                    "The order of several years should have brought the next certificate 30 days before {not_after}, when the present one ends. Look at the order in the console: it may wait for the proof of a domain, or for a document. renewd buys none in its place; `renewd renew {id}` has it look for another way, and buy where the policy allows."
                ),
            );
        }
        Want::Entitlement => no_entitlement(id, order, now, draft),
        Want::Person { detail } => draft.alert(
            Severity::Warning,
            "foreign-application",
            id,
            format!("{id}: {detail}"),
            "Nothing is applied for or bought for it meanwhile. Withdraw the application in the console if it is nobody's, or let it come to its end; it is looked at again once an hour.".to_owned(),
        ),
        Want::Names { detail } => draft.alert(
            Severity::Warning,
            "successor-lacks-names",
            id,
            format!("{id}: {detail}"),
            format!(
                "The names were added to the present certificate when the next one of its order was made already. Add them to that one, too, in the console, which costs nothing: it is taken once it is issued with them. One that is not issued yet may be withdrawn there instead; renewd then applies for it with all names. It is looked at again once an hour, and nothing is bought in its place; `renewd renew {id}` has renewd look for another way, and buy where the policy allows."
            ),
        ),
    }
}

/// A journal that is a copy, or an old one.
fn stale(issuer: &str, how: &Stale, draft: &mut Draft) {
    let (what, until) = match how {
        Stale::OtherMachine => (
            "nothing is applied for, bought or taken back",
            "makes it a journal of its own. Until then no order takes anything of the account; what was applied for already is fetched, and stays also where nobody wants it here.",
        ),
        Stale::UnknownPurchases { .. } => (
            "nothing is bought",
            "makes it the owner of what was bought. Until then only what is unused in the account is applied for.",
        ),
    };
    draft.alert(
        Severity::Warning,
        "stale-journal",
        issuer,
        format!("{issuer}: {what}: {how}"),
        format!("Where the other one is gone, or this is the one that goes on, `renewd state claim` {until}"),
    );
}

fn no_entitlement(id: &str, order: &Order, now: Timestamp, draft: &mut Draft) {
    let from = order.opened_at + PATIENCE;
    draft.wake(from);
    if from > now {
        return;
    }
    let why = match order_machine::buying(order) {
        Some(_) => "Others were faster with what was there",
        None => "The policy buys nothing (`purchase` of the issuer)",
    };
    draft.alert(
        Severity::Warning,
        "no-entitlement",
        id,
        format!("{id}: the account has nothing to apply with"),
        format!(
            "{why}. Buy a certificate for {} in the console and leave it unused: it is found within the hour, and applied for.",
            order.request.names
        ),
    );
}

fn bare(
    id: &str,
    order: &Order,
    spent: &Spent,
    money: &Money<'_>,
    window: Option<Window>,
    now: Timestamp,
    draft: &mut Draft,
) {
    if money.successor.is_some() {
        let want = Want::Successor {
            not_after: money.successor.unwrap_or(now),
        };
        return wanting(id, order, &want, now, draft);
    }
    let Some(buying) = order_machine::buying(order) else {
        return no_entitlement(id, order, now, draft);
    };
    if !spent.unknown.is_empty() {
        let references = spent.unknown.clone();
        let how = Stale::UnknownPurchases { references };
        return stale(order.issuer.as_str(), &how, draft);
    }
    let limit = order_machine::allowed_at(buying.budget, money.journal, &spent.at, now);
    let Some(Waiting::PurchaseBudget { until, day, month }) = limit else {
        return unplaced(id, order, (buying, spent), money, now, draft);
    };
    // It is what the policy says, as long as nobody runs out of a certificate for it.
    let from = match window {
        Some(window) if until < window.emergency_at => return,
        Some(window) => now.min(window.renew_at),
        None => order.opened_at + DAY,
    };
    draft.wake(from);
    if from > now {
        return;
    }
    draft.alert(
        Severity::Warning,
        "purchase-budget",
        id,
        format!("{id}: not bought: {} of {} purchases within 24 hours, {} of {} within 30 days", day.0, day.1, month.0, month.1),
        format!("The next may be made at {until}. Raise `max_orders_per_day` or `max_orders_per_month` of the issuer's purchase if that is too late, or buy one in the console: it is found and applied for."),
    );
}

/// One that queues at the account buys within minutes once the budget leaves room.
fn unplaced(
    id: &str,
    order: &Order,
    (buying, spent): (&Buying, &Spent),
    money: &Money<'_>,
    now: Timestamp,
    draft: &mut Draft,
) {
    if !buying.reserve || money.busy || money.unused.is_some() {
        return;
    }
    let before = now - PATIENCE;
    let full = order_machine::allowed_at(buying.budget, money.journal, &spent.at, before);
    let free = full.and_then(|full| full.until()).unwrap_or(before);
    let from = free.max(order.opened_at) + PATIENCE;
    draft.wake(from);
    if from > now {
        return;
    }
    draft.alert(
        Severity::Warning,
        "purchase-budget",
        id,
        format!("{id}: not bought: its place in the queue of those who buy has led to no purchase for an hour"),
        "A place counts after `settle` of the issuer, and for 50 minutes: renewd has to look at the account within that time, and the account has to show its CSRs called `renewd-buys-…`. Where renewd runs only now and then, run it as a daemon or without `reserve`.".to_owned(),
    );
}

/// Purchases go one after the other, so one whose outcome nobody finds out holds up all others of its issuer.
fn held_up(id: &str, order: &Order, snapshot: &Snapshot, now: Timestamp, draft: &mut Draft) {
    if order_machine::buying(order).is_none() {
        return;
    }
    let others = snapshot.orders.values().filter(|other| {
        let one = snapshot.account(&other.issuer) == snapshot.account(&order.issuer);
        one && other.id != order.id && order_machine::is_buying(other)
    });
    let began = |other: &Order| {
        let (OrderPhase::PurchaseUnclear { purchase, .. }
        | OrderPhase::Claiming {
            purchase: Some(purchase),
            ..
        }) = &other.phase
        else {
            return None;
        };
        Some(purchase.began_at)
    };
    let longest = others.filter_map(|other| Some((began(other)?, other)));
    let Some((began_at, other)) = longest.min_by_key(|(began_at, _)| *began_at) else {
        return;
    };
    let from = began_at.max(order.opened_at) + PATIENCE;
    draft.wake(from);
    if from > now {
        return;
    }
    let (whose, issuer) = (&other.certificate, &order.issuer);
    draft.alert(
        Severity::Warning,
        "purchase-unclear",
        id,
        format!("{id}: not bought: it waits for the purchase of {whose}, begun at {began_at}"),
        format!(
            "Nothing is bought of {issuer} until it is known whether that purchase was made: see what is told of {whose}. What a person buys for {id} in the console is found and applied for."
        ),
    );
}

fn purchase_lost(id: &str, issuer: &str, purchase: &Purchase, now: Timestamp, draft: &mut Draft) {
    // By then two complete answers were given, if the account answers at all.
    let from = if purchase.automatic_payment {
        purchase.began_at + PATIENCE
    } else {
        purchase.decisive_at
    };
    draft.wake(from);
    if from > now && (purchase.automatic_payment || purchase.absences == 0) {
        return;
    }
    let at = purchase.began_at;
    let help = if purchase.automatic_payment {
        format!(
            "No second one is made for it until {issuer} has twice given a complete answer; `renewd status` says what keeps it from that. Look at the orders of that moment in the console: where there is none, or credentials may not list them, mend that."
        )
    } else {
        "It is not paid for by itself (`automatic_payment = false`). Look for an unpaid order in the console and pay it, or where there is none, buy one there: renewd takes either, and buys nothing for it itself.".to_owned()
    };
    draft.alert(
        Severity::Warning,
        "purchase-unclear",
        id,
        format!("{id}: whether the purchase of {at} was made is not known"),
        help,
    );
}

fn reviewed(
    subject: &Subject<'_>,
    order: &Order,
    review: &Review,
    now: Timestamp,
    draft: &mut Draft,
) {
    let id = subject.policy.id.as_str();
    if review.status.is_empty() {
        return;
    }
    let public = order.request.public.as_ref();
    let kind = public.and_then(|public| public.kind.as_deref());
    let assurance = kind
        .and_then(Assurance::of_kind)
        .unwrap_or_else(|| renewal::assurance(subject.state));
    let from = review.since + assurance.lead().max(DAY);
    draft.wake(from);
    if from > now {
        return;
    }
    let (status, since) = (&review.status, review.since);
    let help = match assurance {
        Assurance::Domain => {
            "A review of a domain takes minutes. Look at the application in the console; the CA may not see the proof of a domain, or a CAA record may forbid it."
        }
        Assurance::Organization | Assurance::Extended => {
            "A review of an organization takes three to ten working days. Look at the application in the console, and answer the CA's calls and mails."
        }
    };
    draft.alert(
        Severity::Warning,
        "review-late",
        id,
        format!("{id}: under review ({status}) since {since}"),
        help.to_owned(),
    );
}

fn proven(policy: &Policy, id: &str, proof: &ProofState, now: Timestamp, draft: &mut Draft) {
    let mails: Vec<&str> = proof
        .proofs
        .iter()
        .filter(|proof| proof.method == DomainMethod::Email)
        .map(|proof| proof.place.as_str())
        .collect();
    if !mails.is_empty() {
        draft.alert(
            Severity::Warning,
            "mail-to-answer",
            id,
            format!("{id}: the CA wrote a mail to confirm its domains"),
            format!(
                "Somebody has to follow the link in the mail to {}; nothing goes on before.",
                mails.join(", ")
            ),
        );
    }
    let ProofStage::Published { at } = proof.stage else {
        return;
    };
    let way = policy.validations.get(&proof.by);
    let from = at
        + way
            .map_or(PROPAGATION, |way| way.propagation)
            .max(PROPAGATION);
    draft.wake(from);
    if from > now {
        return;
    }
    let places: Vec<String> = proof
        .proofs
        .iter()
        .map(|proof| format!("{} {}", proof.record_type, proof.place))
        .collect();
    draft.alert(
        Severity::Warning,
        "proof-unseen",
        id,
        format!("{id}: the proof of its domains is published since {at} and not seen"),
        format!(
            "Looked for: {}. `renewd status` has what the last look said. Mend the zone, the web server or `validation` {}; it is looked at again by itself.",
            places.join(", ").trim(),
            proof.by
        ),
    );
}

/// Whether an application under way is still for what the policy wants.
pub(crate) fn is_wanted(policy: &Policy, subject: &Subject<'_>, order: &Order) -> bool {
    let (old, new) = (&order.request, open::request(subject.policy));
    let public = open::public(policy, subject.policy);
    let validation =
        |public: Option<&PublicRequest>| public.map(|public| public.validation.clone());
    order.issuer == subject.policy.issuer
        && old.source == new.source
        && old.names == new.names
        && old.common_name == new.common_name
        && old.subject == new.subject
        && old.key_algorithm == new.key_algorithm
        && validation(old.public.as_deref()) == validation(public.as_ref())
}

/// Whether an order that has applied for nothing yet still rests on what the policy says of purchases and proofs.
pub(crate) fn is_current(policy: &Policy, subject: &Subject<'_>, order: &Order) -> bool {
    let now = open::public(policy, subject.policy);
    match (order.request.public.as_deref(), now) {
        (Some(old), Some(new)) => {
            old.buying == new.buying && old.validation == new.validation && old.kind == new.kind
        }
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

/// Long enough for the steps in between, and for a purchase to be found.
const PATIENCE: Seconds = Seconds::hours(1);
const DAY: Seconds = Seconds::days(1);
/// Where the policy no longer has the way by which a proof was published.
const PROPAGATION: Seconds = Seconds::minutes(10);

#[cfg(test)]
mod tests;
