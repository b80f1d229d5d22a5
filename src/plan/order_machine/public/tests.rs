//! Unit tests of what only orders of public certificates do.

mod application;
mod purchase;

use super::*;
use crate::model::{
    CertificateState, DomainProof, DomainType, ErrorClass, Fingerprint, HostSeed, OrderClosing,
    OrderId, Product, PublicRequest, Reason, RevisionId, Started, ValidationId,
};
use crate::plan::order_machine::{absent, gone, next as machine, on_error, transition};
use crate::plan::{OnError, Trouble, entitlements, open, outcome, testing};

const TIMING: Timing = Timing {
    timeout: Seconds(30),
    settle: Seconds(120),
};
const POLICY: Fingerprint = Fingerprint([1; 32]);
const KEY: Fingerprint = Fingerprint([5; 32]);
const NOW: Timestamp = Timestamp(1_000_000_000);

fn order(phase: OrderPhase) -> Order {
    let (certificate, state) = (testing::certificate("www"), CertificateState::default());
    let policy = testing::policy();
    let id = OrderId::new("o1").unwrap();
    let mut order = open::order(id, &policy, &certificate, &state, Reason::NoRevision, NOW);
    order.request.public = Some(Box::new(PublicRequest {
        buying: Some(Buying {
            product: Product {
                brand: "GEOTRUST".to_owned(),
                kind: "DV_SSL_CERT".to_owned(),
                domain_type: DomainType::SingleDomain,
                domains: 1,
                years: 1,
                kinds: None,
            },
            automatic_payment: true,
            budget: Budget {
                per_day: 1,
                per_month: 3,
            },
            reserve: false,
        }),
        validation: ValidationId::new("zone").unwrap(),
        kind: Some("DV_SSL_CERT".to_owned()),
        replaces: None,
        replaces_until: None,
        supplements: None,
    }));
    order.phase = phase;
    order
}

fn bare_order(spent: Spent) -> Order {
    order(OrderPhase::Bare {
        listed: BTreeSet::new(),
        looked_at: NOW,
        spent,
    })
}

fn without_payment(mut order: Order) -> Order {
    let public = order.request.public.as_mut().unwrap();
    public.buying.as_mut().unwrap().automatic_payment = false;
    order
}

fn step(order: &Order, money: &Money<'_>, now: Timestamp) -> Next<OrderStep, OrderEvent> {
    machine(order, TIMING, money, POLICY, HostSeed(7), now)
}

fn trouble(class: ErrorClass) -> Trouble {
    Trouble {
        class,
        message: "no".to_owned(),
        output: String::new(),
        retry_after: None,
    }
}

fn lost(order: &mut Order) {
    order.started = Some(Started {
        step: OrderStep::Buy,
        at: NOW,
    });
    let Next::Record(event) = step(order, &Money::default(), NOW) else {
        panic!("a purchase in doubt comes first");
    };
    order.phase = transition(&order.phase, &event).unwrap();
    order.started = None;
}

fn proof(domain: &str, value: &str, method: DomainMethod) -> DomainProof {
    DomainProof {
        domain: domain.to_owned(),
        method,
        place: format!("_dnsauth.{domain}"),
        record_type: "TXT".to_owned(),
        value: value.to_owned(),
    }
}

fn submitted_with(proof: Option<ProofState>) -> OrderPhase {
    OrderPhase::Submitted {
        spki: Some(KEY),
        reference: "scs1".to_owned(),
        poll_after: NOW,
        public: true,
        proof: proof.map(Box::new),
        review: Review::default(),
    }
}

fn wanted(value: &str, method: DomainMethod, at: Timestamp) -> OrderEvent {
    OrderEvent::ProofWanted {
        by: ValidationId::new("zone").unwrap(),
        proofs: vec![proof("a.example", value, method)],
        review: Review {
            status: "CHECKING_DOMAIN".to_owned(),
            since: at,
        },
        poll_after: at + Seconds(60),
    }
}

fn state_of(phase: &OrderPhase) -> &ProofState {
    let OrderPhase::Submitted {
        proof: Some(state), ..
    } = phase
    else {
        panic!("no proof in {}", phase.code());
    };
    state
}
