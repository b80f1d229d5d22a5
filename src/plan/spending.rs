//! What a plan would spend: which purchases are to be made now, and which may follow from the orders that are open.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::{
    Buying, CertificateId, IssuerId, Order, OrderPhase, OrderStep, Policy, Snapshot, Timestamp,
    Want,
};
use crate::plan::order_machine;
use crate::plan::{Action, Plan, open, supplement};

/// A purchase that a certificate leads to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spending {
    /// Of whom.
    pub issuer: String,
    /// What.
    pub product: String,
    /// How many: 1.
    pub number: u32,
    /// `true`: this very tick buys it. `false`: it may be bought, where the account has nothing that can be used.
    pub now: bool,
    /// Purchases of the account within 24 hours, and what the policy allows.
    pub day: (u32, u32),
    /// Purchases of the account within 30 days, and what the policy allows.
    pub month: (u32, u32),
}

impl Spending {
    /// One line, behind the name of the certificate.
    #[must_use]
    pub fn describe(&self) -> String {
        let Self {
            issuer,
            product,
            number,
            now,
            day,
            month,
        } = self;
        let (verb, unless) = if *now {
            ("would buy", "")
        } else {
            ("may buy", ", unless the account has one to use")
        };
        format!(
            "{verb} {number} × {product} from {issuer}{unless} (today {} of {}, month {} of {})",
            day.0, day.1, month.0, month.1
        )
    }
}

/// By certificate.
#[must_use]
pub(crate) fn of(
    policy: &Policy,
    snapshot: &Snapshot,
    plan: &Plan,
    now: Timestamp,
) -> BTreeMap<CertificateId, Spending> {
    let mut found = BTreeMap::new();
    for action in &plan.actions {
        let Action::OpenOrder {
            certificate,
            reason,
            ..
        } = action
        else {
            continue;
        };
        let wanted = policy.certificates.get(certificate);
        let supplement = wanted
            .zip(snapshot.certificates.get(certificate))
            .and_then(|(wanted, state)| supplement::of(policy, wanted, state, reason, now));
        if let Some(Ok(_)) = supplement {
            continue;
        }
        let public = wanted.and_then(|wanted| open::public(policy, wanted));
        if let (Some(wanted), Some(buying)) = (wanted, public.and_then(|public| public.buying)) {
            let one = spending(&wanted.issuer, &buying, false, &[], snapshot, now);
            found.insert(certificate.clone(), one);
        }
    }
    for order in snapshot.orders.values() {
        let Some(buying) = order_machine::buying(order).filter(|_| may_buy(order)) else {
            continue;
        };
        let buys = plan.actions.iter().any(|action| {
            let Action::AdvanceOrder { order: id, step } = action else {
                return false;
            };
            *id == order.id && *step == OrderStep::Buy
        });
        let seen: &[Timestamp] = if let OrderPhase::Bare { spent, .. } = &order.phase {
            &spent.at
        } else {
            &[]
        };
        let one = spending(&order.issuer, buying, buys, seen, snapshot, now);
        found.insert(order.certificate.clone(), one);
    }
    found
}

/// In one line; `None` where nothing is bought.
#[must_use]
pub(crate) fn sum<'a>(all: impl Iterator<Item = &'a Spending>) -> Option<String> {
    let (mut now, mut perhaps) = (0, 0);
    for one in all {
        *if one.now { &mut now } else { &mut perhaps } += one.number;
    }
    (now + perhaps > 0).then(|| {
        format!("to be bought: {now} now, perhaps {perhaps} more, within what the policy allows")
    })
}

fn spending(
    issuer: &IssuerId,
    buying: &Buying,
    buys: bool,
    account: &[Timestamp],
    snapshot: &Snapshot,
    now: Timestamp,
) -> Spending {
    let journal = snapshot
        .purchases
        .get(issuer)
        .map_or(&[][..], Vec::as_slice);
    let (day, month) = order_machine::spent(journal, account, now);
    Spending {
        issuer: issuer.to_string(),
        product: buying.product.to_string(),
        number: 1,
        now: buys,
        day: (day, buying.budget.per_day),
        month: (month, buying.budget.per_month),
    }
}

/// Whether it has nothing to apply with yet, and waits for nothing that comes without a purchase.
fn may_buy(order: &Order) -> bool {
    if supplement::of_order(order).is_some() {
        return false;
    }
    match &order.phase {
        OrderPhase::Opened
        | OrderPhase::Bare { .. }
        | OrderPhase::Claiming { purchase: None, .. } => true,
        OrderPhase::Seeking { want, .. } => match want {
            Want::Entitlement => true,
            Want::Successor { .. } | Want::Person { .. } | Want::Names { .. } => false,
        },
        OrderPhase::Claiming {
            purchase: Some(_), ..
        }
        | OrderPhase::PurchaseUnclear { .. }
        | OrderPhase::Entitled { .. }
        | OrderPhase::KeyStored { .. }
        | OrderPhase::Unclear { .. }
        | OrderPhase::Submitted { .. }
        | OrderPhase::Issued { .. }
        | OrderPhase::Ending { .. }
        | OrderPhase::Closed { .. } => false,
    }
}
