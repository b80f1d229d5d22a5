//! The steps of an order of a public certificate, as the world of a scenario carries them out.

use std::collections::BTreeSet;

use renewd::model::{
    CertificateId, ErrorClass, Fingerprint, IssuerId, Order, OrderEvent, OrderId, OrderPhase,
    OrderStep, Review, Seconds, Supplement, Timestamp,
};
use renewd::plan::{entitlements, order_machine};

use super::faults::Fault;
use super::scm::{Stage, Trace, Who, taken};
use super::world::{Came, World};

/// What an order adds to which certificate.
pub(super) fn supplement(order: &Order) -> Option<&Supplement> {
    order.request.public.as_ref()?.supplements.as_deref()
}

/// The name of the world's journal.
const JOURNAL: &str = "ours";

impl World {
    /// The intent of a purchase is in the journal before it is sent.
    pub(super) fn purchase_begins(&mut self, order: &Order) {
        let made = (order.issuer.clone(), self.now);
        self.purchases.insert(order.id.clone(), made);
        self.bought.insert(order.id.clone());
        self.count_purchases(&order.issuer);
    }

    /// It certainly was not made.
    pub(super) fn purchase_forgotten(&mut self, order: &OrderId) {
        self.bought.remove(order);
        if let Some((issuer, _)) = self.purchases.remove(order) {
            self.count_purchases(&issuer);
        }
    }

    fn count_purchases(&mut self, of: &IssuerId) {
        let made = self.purchases.values().filter(|(issuer, _)| issuer == of);
        let mut made: Vec<Timestamp> = made.map(|(_, at)| *at).collect();
        made.sort();
        self.snapshot.purchases.insert(of.clone(), made);
    }

    /// After its certificate was stored.
    pub(super) fn remember_entitlement(&mut self, order: &Order) {
        let OrderPhase::Submitted { reference, .. } = &order.phase else {
            return;
        };
        let facts = self.scm.entitlement(reference, self.now);
        let state = self.snapshot.certificates.get_mut(&order.certificate);
        entitlements::remember(state.unwrap(), facts, self.now);
    }

    pub(super) fn public_effect(&mut self, order: &Order, step: OrderStep) -> Came<OrderEvent> {
        let now = self.now;
        let rejected = |message: &str| {
            let mut fault = Fault::new(step.code(), order.certificate.as_str());
            fault.class = ErrorClass::Rejected;
            fault.message = message.to_owned();
            Came::Trouble(fault)
        };
        let keys: BTreeSet<Fingerprint> = self.keys.values().copied().collect();
        let others = self.snapshot.orders.values();
        let others: Vec<&Order> = others.filter(|other| other.id != order.id).collect();
        let open: BTreeSet<OrderId> = others.iter().map(|other| other.id.clone()).collect();
        let mut known: BTreeSet<String> = others
            .iter()
            .filter_map(|other| taken(other))
            .map(str::to_owned)
            .collect();
        for state in self.snapshot.certificates.values() {
            known.extend(state.newest.iter().map(|newest| newest.reference.clone()));
            known.extend(
                state
                    .earlier
                    .iter()
                    .map(|earlier| earlier.reference.clone()),
            );
        }
        let bought = self.bought.clone();
        let who = Who {
            journal: JOURNAL,
            keys: &keys,
            known: &known,
            open: &open,
            bought: &bought,
        };
        let key = self.key_of(order);
        self.scm.pass(now);
        Came::Event(match (step, &order.phase) {
            (OrderStep::Look, _) => self.scm.look(order, &who, now),
            (OrderStep::Confirm, _) => self.scm.confirm(order, now),
            (OrderStep::Buy, _) => OrderEvent::Bought {
                reference: self.scm.buy(order, &who, now),
            },
            (OrderStep::Trace, OrderPhase::PurchaseUnclear { purchase, .. }) => {
                match self.scm.trace(order, purchase, &who, now) {
                    Trace::Event(event) => event,
                    Trace::Absent => order_machine::not_bought(order, now),
                    Trace::Untold => order_machine::untold(now),
                }
            }
            (OrderStep::Submit, _) => {
                let reference = taken(order).unwrap().to_owned();
                if !self.scm.apply(&reference, order, key) {
                    return rejected("the certificate is not unused");
                }
                OrderEvent::Accepted {
                    reference,
                    poll_after: now,
                }
            }
            (OrderStep::Supplement, _) => {
                let Some(event) = self.scm.supplement(supplement(order).unwrap(), now) else {
                    return rejected("SCM.0067: no further domains");
                };
                event
            }
            (OrderStep::Resolve, _) if supplement(order).is_some() => self
                .scm
                .supplemented(supplement(order).unwrap(), now)
                .unwrap_or_else(|| order_machine::absent(order, self.timing(order), now)),
            (OrderStep::Fetch, _)
                if supplement(order).is_some_and(|one| self.scm.is_as_before(one)) =>
            {
                let review = Review {
                    status: "ISSUED".to_owned(),
                    since: now,
                };
                if order_machine::was_taken_back(order, &review, self.timing(order)) {
                    return rejected("the CA turned the new names down");
                }
                OrderEvent::NotYet {
                    poll_after: now + Seconds::minutes(1),
                    review,
                }
            }
            (OrderStep::Resolve, _) => self
                .scm
                .applied(taken(order).unwrap(), key, now)
                .unwrap_or_else(|| order_machine::absent(order, self.timing(order), now)),
            (OrderStep::Fetch, OrderPhase::Submitted { reference, .. }) => {
                match self.scm.fetch(order, now) {
                    Some(event) => event,
                    None => OrderEvent::Issued {
                        revision: self.scm.revision(reference, order).id,
                    },
                }
            }
            (
                OrderStep::Publish,
                OrderPhase::Submitted {
                    proof: Some(proof), ..
                },
            ) => {
                self.scm.publish(&proof.proofs);
                OrderEvent::Published {
                    at: now,
                    examine_at: now + Seconds(30),
                }
            }
            (OrderStep::Examine, _) => OrderEvent::Visible { at: now },
            (
                OrderStep::Retract,
                OrderPhase::Ending {
                    proof: Some(proof), ..
                },
            ) => {
                let all = proof.proofs.iter().chain(&proof.superseded);
                self.scm.retract(all);
                OrderEvent::Retracted
            }
            (
                OrderStep::Withdraw,
                OrderPhase::Ending {
                    withdraw: Some(reference),
                    ..
                },
            ) => {
                self.scm.withdraw(reference);
                OrderEvent::Withdrawn
            }
            (OrderStep::Close, OrderPhase::Ending { closing, .. }) => OrderEvent::Closed {
                closing: closing.clone(),
            },
            (step, phase) => panic!("{step} in {}", phase.code()),
        })
    }

    /// Names that nobody waits for, and that may have come late.
    pub(super) fn take_back(&mut self, certificate: &CertificateId, late: &Supplement) {
        let now = self.now;
        self.scm.pass(now);
        let reference = &late.reference;
        let stage = &self.scm.get(reference).stage;
        let came = matches!(stage, Stage::Adding { adds, .. } if *adds == late.adds);
        let news = if came { "taken back" } else { "not there" };
        self.log
            .line(format!("take-back {certificate} {reference}: {news}"));
        if came {
            self.scm.withdraw(reference);
        }
        let is_over = came || self.scm.supplemented(late, now).is_some();
        let unseen = &mut self.state(certificate).unseen;
        unseen.retain(|one| one.supplement != *late || (!is_over && one.until > now));
        let mut left = unseen.iter_mut();
        if let Some(one) = left.find(|one| one.supplement == *late) {
            one.looked_at = now;
        }
    }

    /// What the account has, for a transcript.
    pub(super) fn show_account(&mut self) {
        self.scm.pass(self.now);
        for paper in &self.scm.papers {
            let stage = match &paper.stage {
                Stage::Paid => "unused".to_owned(),
                Stage::Checking { names, .. } => format!("applied for {names}"),
                Stage::Issued {
                    names, not_after, ..
                } => format!("issued for {names} until {}", not_after.date()),
                Stage::Adding { names, adds, .. } => {
                    format!("issued for {names}, {adds} to be added")
                }
            };
            let more = match paper.remaining {
                0 => String::new(),
                more => format!(", {more} to come"),
            };
            let line = format!("{} {}: {stage}{more}", paper.reference, paper.kind);
            self.log.line(line);
        }
        for (place, value) in &self.scm.published {
            self.log.line(format!("published: {place} {value}"));
        }
    }
}
