//! Which phase an event leads to.

use crate::model::{
    Fingerprint, OrderClosing, OrderEvent, OrderPhase, ProofStage, ProofState, Purchase, Review,
    Timestamp, Want,
};
use crate::plan::IllegalTransition;
use crate::plan::order_machine::ABSENCES;

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
        OrderEvent::Confirmed => match phase {
            OrderPhase::Claiming { reference, .. } => Some(OrderPhase::Entitled {
                reference: reference.clone(),
            }),
            _ => None,
        },
        OrderEvent::Yielded { look_at } => match phase {
            OrderPhase::Claiming { purchase, .. } => Some(match purchase {
                // What was bought is still to be found.
                Some(purchase) => OrderPhase::PurchaseUnclear {
                    purchase: purchase.clone(),
                    look_at: *look_at,
                },
                None => OrderPhase::Seeking {
                    look_at: *look_at,
                    want: Want::Entitlement,
                },
            }),
            _ => None,
        },
        OrderEvent::Adopted {
            reference,
            spki,
            poll_after,
        } => {
            looking(phase)?;
            Some(submitted(*spki, reference, *poll_after, true))
        }
        OrderEvent::Wanting { want, look_at } => match looking(phase)? {
            // Nothing else is looked for while it is not known whether something was bought.
            Some(purchase) => Some(OrderPhase::PurchaseUnclear {
                purchase,
                look_at: *look_at,
            }),
            None => Some(OrderPhase::Seeking {
                look_at: *look_at,
                want: want.clone(),
            }),
        },
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
        OrderEvent::Bought { reference } => match phase {
            OrderPhase::Bare { .. } | OrderPhase::PurchaseUnclear { .. } => {
                Some(OrderPhase::Entitled {
                    reference: reference.clone(),
                })
            }
            _ => None,
        },
        OrderEvent::PurchaseLost {
            began_at,
            decisive_at,
            automatic_payment,
        } => match phase {
            OrderPhase::Bare { listed, .. } => Some(OrderPhase::PurchaseUnclear {
                purchase: Box::new(Purchase {
                    began_at: *began_at,
                    decisive_at: *decisive_at,
                    absences: 0,
                    listed: listed.clone(),
                    automatic_payment: *automatic_payment,
                }),
                // At once: a purchase that was made is found without waiting.
                look_at: *began_at,
            }),
            _ => None,
        },
        OrderEvent::NotBought { asked_at, look_at } => match phase {
            OrderPhase::PurchaseUnclear { purchase, .. } => {
                let mut purchase = purchase.clone();
                let counts = u32::from(*asked_at >= purchase.decisive_at);
                purchase.absences = purchase.absences.saturating_add(counts);
                Some(OrderPhase::PurchaseUnclear {
                    purchase,
                    look_at: *look_at,
                })
            }
            _ => None,
        },
        OrderEvent::DefinitelyNotBought => match phase {
            OrderPhase::PurchaseUnclear { purchase, .. }
                if super::public::was_not_bought(purchase) =>
            {
                Some(OrderPhase::Opened)
            }
            _ => None,
        },
        OrderEvent::ProofWanted {
            by,
            proofs,
            review,
            poll_after,
        } => match phase {
            OrderPhase::Submitted {
                spki,
                reference,
                public,
                proof,
                review: before,
                ..
            } => {
                // The same ones again are where they are: published once, looked at as often as need be.
                let stage = proof
                    .as_ref()
                    .filter(|had| had.proofs == *proofs && had.by == *by)
                    .map_or(ProofStage::Wanted, |had| had.stage);
                Some(OrderPhase::Submitted {
                    spki: *spki,
                    reference: reference.clone(),
                    poll_after: *poll_after,
                    public: *public,
                    proof: Some(Box::new(ProofState {
                        by: by.clone(),
                        proofs: proofs.clone(),
                        stage,
                    })),
                    review: since(before, review),
                })
            }
            _ => None,
        },
        OrderEvent::Published { at, examine_at } => {
            let (mut phase, mut state) = with_proof(phase)?;
            state.stage = ProofStage::Published { at: *at };
            if let OrderPhase::Submitted {
                poll_after, proof, ..
            } = &mut phase
            {
                *poll_after = *examine_at;
                *proof = Some(state);
            }
            Some(phase)
        }
        OrderEvent::Visible { at } => {
            let (mut phase, mut state) = with_proof(phase)?;
            if state.stage == ProofStage::Wanted {
                return None;
            }
            state.stage = ProofStage::Visible { at: *at };
            if let OrderPhase::Submitted {
                poll_after, proof, ..
            } = &mut phase
            {
                *poll_after = *at;
                *proof = Some(state);
            }
            Some(phase)
        }
        OrderEvent::Retracted => match phase {
            OrderPhase::Ending {
                closing,
                withdraw: None,
                proof: Some(_),
            } => Some(OrderPhase::Ending {
                closing: closing.clone(),
                withdraw: None,
                proof: None,
            }),
            _ => None,
        },
        OrderEvent::Withdrawn => match phase {
            OrderPhase::Ending {
                closing,
                withdraw: Some(_),
                proof,
            } => Some(OrderPhase::Ending {
                closing: closing.clone(),
                withdraw: None,
                proof: proof.clone(),
            }),
            _ => None,
        },
        OrderEvent::KeyStored { spki } => match phase {
            OrderPhase::Opened => Some(OrderPhase::KeyStored {
                spki: *spki,
                entitlement: None,
            }),
            OrderPhase::Entitled { reference } => Some(OrderPhase::KeyStored {
                spki: *spki,
                entitlement: Some(reference.clone()),
            }),
            _ => None,
        },
        OrderEvent::Accepted {
            reference,
            poll_after,
        } => {
            let (spki, entitlement) = unsubmitted(phase)?;
            let public = entitlement.is_some();
            Some(submitted(spki, reference, *poll_after, public))
        }
        OrderEvent::AnswerLost {
            submitted_at,
            look_at,
        } => match phase {
            OrderPhase::Opened | OrderPhase::Entitled { .. } | OrderPhase::KeyStored { .. } => {
                let (spki, entitlement) = unsubmitted(phase)?;
                Some(OrderPhase::Unclear {
                    spki,
                    submitted_at: *submitted_at,
                    decisive_at: *look_at,
                    absences: 0,
                    // At once: a submit that had its effect is found without waiting.
                    look_at: *submitted_at,
                    entitlement,
                })
            }
            _ => None,
        },
        OrderEvent::Absent { asked_at, look_at } => match phase {
            OrderPhase::Unclear {
                spki,
                submitted_at,
                decisive_at,
                absences,
                entitlement,
                ..
            } => {
                let counts = u32::from(asked_at >= decisive_at);
                Some(OrderPhase::Unclear {
                    spki: *spki,
                    submitted_at: *submitted_at,
                    decisive_at: *decisive_at,
                    absences: absences.saturating_add(counts),
                    look_at: *look_at,
                    entitlement: entitlement.clone(),
                })
            }
            _ => None,
        },
        OrderEvent::DefinitelyAbsent => match phase {
            OrderPhase::Unclear {
                spki,
                absences,
                entitlement,
                ..
            } if *absences >= ABSENCES => Some(match (spki, entitlement) {
                (Some(spki), entitlement) => OrderPhase::KeyStored {
                    spki: *spki,
                    entitlement: entitlement.clone(),
                },
                (None, Some(reference)) => OrderPhase::Entitled {
                    reference: reference.clone(),
                },
                (None, None) => OrderPhase::Opened,
            }),
            _ => None,
        },
        OrderEvent::NotYet { poll_after, review } => match phase {
            OrderPhase::Submitted {
                spki,
                reference,
                public,
                proof,
                review: before,
                ..
            } => Some(OrderPhase::Submitted {
                spki: *spki,
                reference: reference.clone(),
                poll_after: *poll_after,
                public: *public,
                proof: proof.clone(),
                review: since(before, review),
            }),
            _ => None,
        },
        OrderEvent::Issued { revision } => match phase {
            OrderPhase::Submitted { proof, .. } => Some(OrderPhase::Issued {
                revision: revision.clone(),
                proof: proof.clone(),
            }),
            _ => None,
        },
        OrderEvent::Closed { closing } => closed(phase, closing),
    }
}

/// Ends an order: at once, or after what it left elsewhere is cleared away.
fn closed(phase: &OrderPhase, closing: &OrderClosing) -> Option<OrderPhase> {
    let closing = closing.clone();
    match (phase, &closing) {
        (OrderPhase::Issued { revision, proof }, OrderClosing::Fulfilled { revision: closed })
            if revision == closed =>
        {
            Some(match proof {
                Some(_) => OrderPhase::Ending {
                    closing,
                    withdraw: None,
                    proof: proof.clone(),
                },
                None => OrderPhase::Closed { closing },
            })
        }
        (
            OrderPhase::Ending {
                closing: decided,
                withdraw: None,
                proof: None,
            },
            _,
        ) if *decided == closing => Some(OrderPhase::Closed { closing }),
        (
            OrderPhase::Submitted {
                proof,
                reference,
                public,
                ..
            },
            OrderClosing::Failed { .. } | OrderClosing::Abandoned { .. },
        ) => {
            let abandoned = matches!(closing, OrderClosing::Abandoned { .. });
            // Only a public application with an end of its own can be taken back; the issuer that refused one has ended it.
            let withdraw = (abandoned && *public).then(|| reference.clone());
            if withdraw.is_none() && proof.is_none() {
                return Some(OrderPhase::Closed { closing });
            }
            Some(OrderPhase::Ending {
                closing,
                withdraw,
                proof: proof.clone(),
            })
        }
        (
            OrderPhase::Opened
            | OrderPhase::Seeking { .. }
            | OrderPhase::Bare { .. }
            | OrderPhase::Entitled { .. }
            | OrderPhase::KeyStored { .. },
            OrderClosing::Failed { .. } | OrderClosing::Abandoned { .. },
        )
        | (
            OrderPhase::Unclear { .. }
            | OrderPhase::Claiming { .. }
            | OrderPhase::PurchaseUnclear { .. },
            OrderClosing::Abandoned { .. },
        ) => Some(OrderPhase::Closed { closing }),
        // An issued revision is stored and only put away; an unclear order may not fail, since another would follow.
        _ => None,
    }
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
        _ => None,
    }
}

/// Key and entitlement of an order that can still be accepted; the inner `None` when CCM makes the key, or none is needed.
fn unsubmitted(phase: &OrderPhase) -> Option<(Option<Fingerprint>, Option<String>)> {
    match phase {
        OrderPhase::Opened => Some((None, None)),
        OrderPhase::Entitled { reference } => Some((None, Some(reference.clone()))),
        OrderPhase::KeyStored { spki, entitlement } => Some((Some(*spki), entitlement.clone())),
        OrderPhase::Unclear {
            spki, entitlement, ..
        } => Some((*spki, entitlement.clone())),
        _ => None,
    }
}

fn with_proof(phase: &OrderPhase) -> Option<(OrderPhase, Box<ProofState>)> {
    match phase {
        OrderPhase::Submitted {
            proof: Some(state), ..
        } => Some((phase.clone(), state.clone())),
        _ => None,
    }
}

/// A status that was there before is that since before.
fn since(before: &Review, now: &Review) -> Review {
    if before.status == now.status && !before.status.is_empty() {
        before.clone()
    } else {
        now.clone()
    }
}
