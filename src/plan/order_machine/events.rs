//! Which phase an event leads to.

use crate::model::{
    DomainProof, Fingerprint, OrderClosing, OrderEvent, OrderPhase, ProofStage, ProofState,
    Purchase, Review, Seconds, Timestamp, ValidationId, Want,
};
use crate::plan::IllegalTransition;
use crate::plan::order_machine::{public, unclear};

/// The phase an event leads to.
///
/// # Errors
/// [`IllegalTransition`] when the event does not fit the phase; the order stays as it is.
pub fn transition(phase: &OrderPhase, event: &OrderEvent) -> Result<OrderPhase, IllegalTransition> {
    after(phase, event).ok_or_else(|| IllegalTransition {
        phase: phase.code(),
        event: event.code(),
    })
}

fn after(phase: &OrderPhase, event: &OrderEvent) -> Option<OrderPhase> {
    match event {
        OrderEvent::Claimed {
            reference,
            confirm_at,
        } => Some(OrderPhase::Claiming {
            reference: reference.clone(),
            confirm_at: *confirm_at,
            purchase: looking(phase)?,
        }),
        OrderEvent::Confirmed => {
            let OrderPhase::Claiming { reference, .. } = phase else {
                return None;
            };
            let reference = reference.clone();
            Some(OrderPhase::Entitled { reference })
        }
        OrderEvent::Yielded { look_at } => yielded(phase, *look_at),
        OrderEvent::Adopted {
            reference,
            spki,
            poll_after,
        } => match looking(phase)? {
            Some(_) => None,
            None => Some(submitted(*spki, reference, *poll_after, true)),
        },
        OrderEvent::Wanting { want, look_at } => wanting(phase, want, *look_at),
        OrderEvent::NothingFree {
            listed,
            looked_at,
            spent,
        } => match looking(phase)? {
            Some(_) => None,
            None => Some(OrderPhase::Bare {
                listed: listed.clone(),
                looked_at: *looked_at,
                spent: spent.clone(),
            }),
        },
        OrderEvent::Bought { reference } => {
            let (OrderPhase::Bare { .. } | OrderPhase::PurchaseUnclear { .. }) = phase else {
                return None;
            };
            let reference = reference.clone();
            Some(OrderPhase::Entitled { reference })
        }
        OrderEvent::PurchaseLost {
            began_at,
            decisive_at,
            automatic_payment,
        } => {
            let OrderPhase::Bare { listed, spent, .. } = phase else {
                return None;
            };
            Some(OrderPhase::PurchaseUnclear {
                purchase: Box::new(Purchase {
                    began_at: *began_at,
                    decisive_at: *decisive_at,
                    absences: 0,
                    listed: listed.union(&spent.untold).cloned().collect(),
                    automatic_payment: *automatic_payment,
                }),
                // At once: a purchase that was made is found without waiting.
                look_at: *began_at,
            })
        }
        OrderEvent::NotBought { asked_at, look_at } => {
            let OrderPhase::PurchaseUnclear { purchase, .. } = phase else {
                return None;
            };
            Some(OrderPhase::PurchaseUnclear {
                purchase: public::counted(purchase, *asked_at),
                look_at: *look_at,
            })
        }
        OrderEvent::PurchaseUntold { look_at } => {
            let OrderPhase::PurchaseUnclear { purchase, .. } = phase else {
                return None;
            };
            Some(OrderPhase::PurchaseUnclear {
                purchase: purchase.clone(),
                look_at: *look_at,
            })
        }
        OrderEvent::DefinitelyNotBought => {
            let OrderPhase::PurchaseUnclear { purchase, .. } = phase else {
                return None;
            };
            public::was_not_bought(purchase).then_some(OrderPhase::Opened)
        }
        OrderEvent::ProofWanted {
            by,
            proofs,
            review,
            poll_after,
        } => reviewed(phase, review, *poll_after, |before| {
            Some(Box::new(wanted(before, by, proofs, review.since)))
        }),
        OrderEvent::Published { at, examine_at } => with_proof(phase, *examine_at, |stage| {
            Some(match stage {
                // Since the first time: it is not seen for so long.
                ProofStage::Published { at } => ProofStage::Published { at },
                ProofStage::Wanted | ProofStage::Visible { .. } => {
                    ProofStage::Published { at: *at }
                }
            })
        }),
        OrderEvent::Visible { at } => with_proof(phase, *at, |stage| match stage {
            ProofStage::Wanted => None,
            ProofStage::Published { .. } | ProofStage::Visible { .. } => {
                Some(ProofStage::Visible { at: *at })
            }
        }),
        OrderEvent::Retracted => {
            let OrderPhase::Ending {
                closing,
                withdraw: None,
                proof: Some(_),
            } = phase
            else {
                return None;
            };
            Some(OrderPhase::Ending {
                closing: closing.clone(),
                withdraw: None,
                proof: None,
            })
        }
        OrderEvent::Withdrawn => {
            let OrderPhase::Ending {
                closing,
                withdraw: Some(_),
                proof,
            } = phase
            else {
                return None;
            };
            Some(OrderPhase::Ending {
                closing: closing.clone(),
                withdraw: None,
                proof: proof.clone(),
            })
        }
        OrderEvent::LeftBehind { what } => {
            let OrderPhase::Ending {
                closing,
                withdraw,
                proof,
            } = phase
            else {
                return None;
            };
            // One after the other: what the next one is left with is tried on its own.
            let kept = proof.clone().filter(|_| withdraw.is_some());
            (withdraw.is_some() || proof.is_some()).then(|| OrderPhase::Ending {
                closing: noting(closing, what),
                withdraw: None,
                proof: kept,
            })
        }
        OrderEvent::KeyStored { spki } => {
            let entitlement = match phase {
                OrderPhase::Entitled { reference } => Some(reference.clone()),
                OrderPhase::Opened => None,
                OrderPhase::Seeking { .. }
                | OrderPhase::Claiming { .. }
                | OrderPhase::Bare { .. }
                | OrderPhase::PurchaseUnclear { .. }
                | OrderPhase::KeyStored { .. }
                | OrderPhase::Unclear { .. }
                | OrderPhase::Submitted { .. }
                | OrderPhase::Issued { .. }
                | OrderPhase::Ending { .. }
                | OrderPhase::Closed { .. } => return None,
            };
            Some(OrderPhase::KeyStored {
                spki: *spki,
                entitlement,
            })
        }
        OrderEvent::Accepted {
            reference,
            poll_after,
        } => {
            let (spki, entitlement) = unsubmitted(phase)?;
            let public = entitlement.is_some();
            Some(submitted(spki, reference, *poll_after, public))
        }
        OrderEvent::Supplemented {
            reference,
            spki,
            poll_after,
        } => {
            let begun = matches!(
                phase,
                OrderPhase::Opened
                    | OrderPhase::Unclear {
                        supplement: true,
                        ..
                    }
            );
            begun.then(|| submitted(*spki, reference, *poll_after, true))
        }
        OrderEvent::AnswerLost {
            submitted_at,
            look_at,
            supplement,
        } => {
            let (spki, entitlement) = match (supplement, phase) {
                (_, OrderPhase::Unclear { .. }) => return None,
                (None, _) => unsubmitted(phase)?,
                (Some(supplement), OrderPhase::Opened) => {
                    (supplement.spki, Some(supplement.reference.clone()))
                }
                (Some(_), _) => return None,
            };
            Some(OrderPhase::Unclear {
                supplement: supplement.is_some(),
                spki,
                submitted_at: *submitted_at,
                decisive_at: *look_at,
                absences: 0,
                gone: None,
                // At once: a submit that had its effect is found without waiting.
                look_at: *submitted_at,
                entitlement,
            })
        }
        OrderEvent::Absent {
            asked_at,
            look_at,
            gone,
        } => unclear::counted(phase, *asked_at, *look_at, *gone),
        OrderEvent::DefinitelyAbsent => unclear::definitely_absent(phase),
        OrderEvent::NotYet { poll_after, review } => {
            reviewed(phase, review, *poll_after, |before| {
                before.cloned().map(Box::new)
            })
        }
        OrderEvent::Issued { revision } => {
            let OrderPhase::Submitted { proof, .. } = phase else {
                return None;
            };
            Some(OrderPhase::Issued {
                revision: revision.clone(),
                proof: proof.clone(),
            })
        }
        OrderEvent::Closed { closing } => closed(phase, closing),
    }
}

fn yielded(phase: &OrderPhase, look_at: Timestamp) -> Option<OrderPhase> {
    let OrderPhase::Claiming { purchase, .. } = phase else {
        return None;
    };
    Some(match purchase {
        // What was bought is still to be found.
        Some(purchase) => OrderPhase::PurchaseUnclear {
            purchase: purchase.clone(),
            look_at,
        },
        None => OrderPhase::Seeking {
            look_at,
            want: Want::Entitlement,
        },
    })
}

fn wanting(phase: &OrderPhase, want: &Want, look_at: Timestamp) -> Option<OrderPhase> {
    // An application with a lost answer, on an entitlement that somebody else has used meanwhile.
    let foreign = matches!(
        (phase, want),
        (
            OrderPhase::Unclear {
                entitlement: Some(_),
                ..
            },
            Want::Person { .. }
        )
    );
    let purchase = if foreign { None } else { looking(phase)? };
    Some(match purchase {
        // Nothing else is looked for while it is not known whether something was bought.
        Some(purchase) => OrderPhase::PurchaseUnclear { purchase, look_at },
        None => OrderPhase::Seeking {
            look_at,
            want: want.clone(),
        },
    })
}

/// An application of which the issuer said how far it is.
fn reviewed(
    phase: &OrderPhase,
    review: &Review,
    poll_after: Timestamp,
    then: impl FnOnce(Option<&ProofState>) -> Option<Box<ProofState>>,
) -> Option<OrderPhase> {
    let OrderPhase::Submitted {
        spki,
        reference,
        public,
        proof,
        review: before,
        ..
    } = phase
    else {
        return None;
    };
    Some(OrderPhase::Submitted {
        spki: *spki,
        reference: reference.clone(),
        poll_after,
        public: *public,
        proof: then(proof.as_deref()),
        review: since(before, review),
    })
}

/// The same proofs again are where they are: published once, looked at as often as need be, and published again where the
/// issuer does not find what was seen long ago, since somebody may have taken it away. Others take their place, and what
/// may be published of the ones before is not forgotten.
fn wanted(
    before: Option<&ProofState>,
    by: &ValidationId,
    proofs: &[DomainProof],
    now: Timestamp,
) -> ProofState {
    let Some(before) = before else {
        return ProofState {
            by: by.clone(),
            proofs: proofs.to_vec(),
            stage: ProofStage::Wanted,
            superseded: Vec::new(),
        };
    };
    if before.proofs == proofs {
        let stage = match before.stage {
            ProofStage::Visible { at } if at + AGAIN <= now => ProofStage::Wanted,
            ProofStage::Wanted | ProofStage::Published { .. } | ProofStage::Visible { .. } => {
                before.stage
            }
        };
        return ProofState {
            stage,
            ..before.clone()
        };
    }
    let mut superseded = before.superseded.clone();
    superseded.extend(before.proofs.iter().cloned());
    superseded.retain(|old| !proofs.contains(old));
    ProofState {
        // By the way of the ones before: what was published one way is retracted the same way.
        by: before.by.clone(),
        proofs: proofs.to_vec(),
        stage: ProofStage::Wanted,
        superseded,
    }
}

/// The same with what stayed of an order that nobody wants, lest its last word be that all is cleared away.
fn noting(closing: &OrderClosing, what: &str) -> OrderClosing {
    match closing {
        OrderClosing::Abandoned { message } => OrderClosing::Abandoned {
            message: format!("{message}; {what}"),
        },
        OrderClosing::Fulfilled { .. } | OrderClosing::Failed { .. } => closing.clone(),
    }
}

/// Ends an order: at once, or after what it left elsewhere is cleared away.
fn closed(phase: &OrderPhase, closing: &OrderClosing) -> Option<OrderPhase> {
    let given_up = match closing {
        OrderClosing::Fulfilled { .. } => None,
        OrderClosing::Failed { .. } => Some(false),
        OrderClosing::Abandoned { .. } => Some(true),
    };
    match phase {
        OrderPhase::Opened
        | OrderPhase::Seeking { .. }
        | OrderPhase::Bare { .. }
        | OrderPhase::Entitled { .. }
        | OrderPhase::KeyStored { .. } => {
            given_up?;
            ended(closing, None, None)
        }
        OrderPhase::Unclear {
            supplement: true,
            entitlement,
            ..
        } => match given_up? {
            true => ended(closing, entitlement.clone(), None),
            false => None,
        },
        // An unclear order may not fail, since another would follow.
        OrderPhase::Unclear { .. }
        | OrderPhase::Claiming { .. }
        | OrderPhase::PurchaseUnclear { .. } => match given_up? {
            true => ended(closing, None, None),
            false => None,
        },
        OrderPhase::Submitted {
            proof,
            reference,
            public,
            ..
        } => {
            // Only a public application with an end of its own can be taken back; the issuer that refused one has ended it.
            let withdraw = (given_up? && *public).then(|| reference.clone());
            ended(closing, withdraw, proof.clone())
        }
        // An issued revision is stored and only put away.
        OrderPhase::Issued { revision, proof } => match closing {
            OrderClosing::Fulfilled { revision: closed } if revision == closed => {
                ended(closing, None, proof.clone())
            }
            OrderClosing::Fulfilled { .. }
            | OrderClosing::Failed { .. }
            | OrderClosing::Abandoned { .. } => None,
        },
        OrderPhase::Ending {
            closing: decided,
            withdraw: None,
            proof: None,
        } if decided == closing => ended(closing, None, None),
        OrderPhase::Ending { .. } | OrderPhase::Closed { .. } => None,
    }
}

fn ended(
    closing: &OrderClosing,
    withdraw: Option<String>,
    proof: Option<Box<ProofState>>,
) -> Option<OrderPhase> {
    let closing = closing.clone();
    // Of what is proven by mail nothing was published.
    let proof = proof.filter(|proof| !proof.is_by_mail());
    Some(if withdraw.is_none() && proof.is_none() {
        OrderPhase::Closed { closing }
    } else {
        OrderPhase::Ending {
            closing,
            withdraw,
            proof,
        }
    })
}

fn submitted(
    spki: Option<Fingerprint>,
    reference: &str,
    poll_after: Timestamp,
    public: bool,
) -> OrderPhase {
    OrderPhase::Submitted {
        spki,
        reference: reference.to_owned(),
        poll_after,
        public,
        proof: None,
        review: Review::default(),
    }
}

/// An order that is looking through the account, with a purchase whose answer it lost.
fn looking(phase: &OrderPhase) -> Option<Option<Box<Purchase>>> {
    match phase {
        OrderPhase::Opened | OrderPhase::Seeking { .. } | OrderPhase::Bare { .. } => Some(None),
        OrderPhase::PurchaseUnclear { purchase, .. } => Some(Some(purchase.clone())),
        OrderPhase::Claiming { .. }
        | OrderPhase::Entitled { .. }
        | OrderPhase::KeyStored { .. }
        | OrderPhase::Unclear { .. }
        | OrderPhase::Submitted { .. }
        | OrderPhase::Issued { .. }
        | OrderPhase::Ending { .. }
        | OrderPhase::Closed { .. } => None,
    }
}

/// Key and entitlement of an order that can still be accepted; the inner `None` when CCM makes the key, or none is needed.
fn unsubmitted(phase: &OrderPhase) -> Option<(Option<Fingerprint>, Option<String>)> {
    match phase {
        OrderPhase::Opened => Some((None, None)),
        OrderPhase::Entitled { reference } => Some((None, Some(reference.clone()))),
        OrderPhase::KeyStored { spki, entitlement } => Some((Some(*spki), entitlement.clone())),
        OrderPhase::Unclear {
            spki,
            entitlement,
            supplement: false,
            ..
        } => Some((*spki, entitlement.clone())),
        OrderPhase::Seeking { .. }
        | OrderPhase::Claiming { .. }
        | OrderPhase::Bare { .. }
        | OrderPhase::PurchaseUnclear { .. }
        | OrderPhase::Unclear { .. }
        | OrderPhase::Submitted { .. }
        | OrderPhase::Issued { .. }
        | OrderPhase::Ending { .. }
        | OrderPhase::Closed { .. } => None,
    }
}

fn with_proof(
    phase: &OrderPhase,
    look_at: Timestamp,
    then: impl FnOnce(ProofStage) -> Option<ProofStage>,
) -> Option<OrderPhase> {
    let mut phase = phase.clone();
    let OrderPhase::Submitted {
        poll_after,
        proof: Some(state),
        ..
    } = &mut phase
    else {
        return None;
    };
    state.stage = then(state.stage)?;
    *poll_after = look_at;
    Some(phase)
}

/// A status that was there before is that since before.
fn since(before: &Review, now: &Review) -> Review {
    if before.status == now.status && !before.status.is_empty() {
        before.clone()
    } else {
        now.clone()
    }
}

/// Longer than a CA takes to look again.
const AGAIN: Seconds = Seconds::hours(1);
