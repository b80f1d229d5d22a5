//! What orders left elsewhere: told of, and in the end left behind.

use crate::model::{
    CertificateId, CertificateState, LeftBehind, Order, OrderEvent, OrderPhase, ProofState, Reason,
    Seconds, Severity, Timestamp,
};
use crate::plan::draft::Draft;
use crate::plan::{alerts, backoff};

/// What an order has left elsewhere and cannot clear away; also of a certificate that left the policy.
pub(crate) fn left_over(id: &str, order: &Order, draft: &mut Draft) {
    let OrderPhase::Ending {
        withdraw, proof, ..
    } = &order.phase
    else {
        return;
    };
    let Some(last) = order.failures.last.as_ref() else {
        return;
    };
    if order.failures.count < alerts::patience(last.class) {
        return;
    }
    let what = what_is_left(withdraw.as_deref(), proof.as_deref());
    draft.alert_step(
        Severity::Warning,
        ("left-over", alerts::step(order.failures.count)),
        id,
        format!("{id}: {what}: {}", last.message),
        "It is tried again by itself. Another order of the certificate, should it need one, is begun once this has failed for three days, or in an emergency. What stays may be cleared away by hand.".to_owned(),
    );
}

fn what_is_left(withdraw: Option<&str>, proof: Option<&ProofState>) -> String {
    match (withdraw, proof) {
        (Some(reference), _) => format!("the application {reference} is not withdrawn"),
        (None, Some(proof)) => {
            let places: Vec<&str> = proof
                .proofs
                .iter()
                .chain(&proof.superseded)
                .map(|proof| proof.place.as_str())
                .collect();
            format!("{} is not taken away", places.join(", "))
        }
        (None, None) => "its order is not put away".to_owned(),
    }
}

/// Whether an order whose end is decided is to leave behind what it cannot clear away: a certificate does not run out for
/// a record that stayed. As long as nothing is due nothing is lost by trying on.
pub(crate) fn leaves_behind(
    order: &Order,
    state: &CertificateState,
    due: impl FnOnce() -> Option<Reason>,
) -> Option<OrderEvent> {
    let OrderPhase::Ending {
        withdraw, proof, ..
    } = &order.phase
    else {
        return None;
    };
    let last = order.failures.last.as_ref()?;
    if (withdraw.is_none() && proof.is_none())
        || order.failures.count < alerts::patience(last.class)
    {
        return None;
    }
    let reason = due()?;
    let urgent = state.forced
        || matches!(
            reason,
            Reason::Revoked | Reason::Expired { .. } | Reason::Emergency { .. } | Reason::Forced
        );
    if !urgent && backoff::lasted(&order.failures) < CLEARED_WITHIN {
        return None;
    }
    let what = what_is_left(withdraw.as_deref(), proof.as_deref());
    Some(OrderEvent::LeftBehind {
        what: format!("{what}: {}", last.message),
    })
}

/// What earlier orders of a certificate left for a person to clear away. Nobody looks whether it is still there, so it is
/// told of for a month; also where the certificate left the policy, and with it, as a rule, what could have cleared it away.
pub(crate) fn left_behind(
    id: &CertificateId,
    state: &CertificateState,
    now: Timestamp,
    draft: &mut Draft,
) {
    let all = state.left_behind.iter();
    let told: Vec<&LeftBehind> = all.filter(|left| is_told(left, now)).collect();
    let Some(last) = told.last() else {
        return;
    };
    for left in &told {
        draft.wake(left.at + LEFT_TOLD);
    }
    let id = id.as_str();
    let what: Vec<&str> = told.iter().map(|left| left.what.as_str()).collect();
    draft.alert(
        Severity::Warning,
        "left-over",
        id,
        format!("{id}: {}", what.join("; ")),
        format!(
            "It is tried no more since {}: clear it away by hand. This is told of for 30 days.",
            last.at
        ),
    );
}

/// Whether what was left behind is still told of.
pub(crate) fn is_told(left: &LeftBehind, now: Timestamp) -> bool {
    left.at + LEFT_TOLD > now
}

/// So long what an order left is tried to be cleared away while the certificate needs another one.
const CLEARED_WITHIN: Seconds = Seconds::days(3);
/// So long a person is told of what stayed.
const LEFT_TOLD: Seconds = Seconds::days(30);
