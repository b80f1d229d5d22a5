//! Names that an order sent to be added to a certificate, and never saw there. A CA, or what lies between it and the account,
//! may act on them hours later: an order that wants them still takes them over, else they are taken back.

use crate::model::{
    CertificateId, CertificateState, Fingerprint, Order, OrderMode, OrderPhase, Policy,
    RevisionFacts, Seconds, Severity, Snapshot, Supplement, Timestamp, Unseen,
};
use crate::plan::backoff::{self, Seed};
use crate::plan::draft::Draft;
use crate::plan::revoke::passes;
use crate::plan::{Tending, alerts, order_machine, supplement};

/// What is to be done about them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Look for them now, and take them back if they are there.
    Due,
    /// Not before; `None` where an order or a person ends the wait.
    Waits(Option<Timestamp>),
    /// Nothing is added to the certificate any more: forget them.
    Over,
}

/// Notes that an order ends, or sends once more, without having seen what it sent; answers whether there was anything to note.
pub(crate) fn note(state: &mut CertificateState, order: &Order, now: Timestamp) -> bool {
    // What was never sent, or refused, is none of them.
    let sent = matches!(
        order.phase,
        OrderPhase::Submitted { .. }
            | OrderPhase::Unclear {
                supplement: true,
                ..
            }
    );
    let Some(supplement) = supplement::of_order(order).filter(|_| sent) else {
        return false;
    };
    let unseen = Unseen {
        issuer: order.issuer.clone(),
        supplement: supplement.clone(),
        since: now,
        looked_at: now,
        until: end(state, &supplement.reference).unwrap_or(now + UNKNOWN_END),
        unsure: false,
        issued: None,
        failures: crate::model::Failures::default(),
    };
    state
        .unseen
        .retain(|before| before.supplement != unseen.supplement);
    state.unseen.insert(0, unseen);
    true
}

fn end(state: &CertificateState, reference: &str) -> Option<Timestamp> {
    let newest = state.newest.iter();
    let newest = newest.map(|one| (&one.reference, one.facts.not_after));
    let earlier = state.earlier.iter();
    let earlier = earlier.map(|one| (&one.reference, one.not_after));
    let mut all = newest.chain(earlier);
    all.find(|(one, _)| *one == reference).map(|(_, end)| end)
}

/// Forgets what this revision has.
pub(crate) fn forget(state: &mut CertificateState, revision: &RevisionFacts) {
    state.unseen.retain(|unseen| {
        let one = &unseen.supplement;
        let mut adds = one.adds.iter();
        one.reference != revision.reference || !adds.all(|name| revision.facts.covers_name(name))
    });
}

/// What is to be done about those of a certificate.
pub(crate) fn step(
    policy: &Policy,
    snapshot: &Snapshot,
    id: &CertificateId,
    unseen: &Unseen,
    now: Timestamp,
) -> Step {
    if unseen.until <= now {
        return Step::Over;
    }
    if let Some(issued) = unseen.issued {
        let until = issued + TOLD;
        return if backoff::is_ahead(until, now) {
            Step::Waits(Some(until))
        } else {
            Step::Over
        };
    }
    if snapshot.stale.is_some() {
        // The journal's other owner may wait for them.
        return Step::Waits(None);
    }
    let Some(issuer) = policy.issuers.get(&unseen.issuer) else {
        return Step::Waits(None);
    };
    let reference = &unseen.supplement.reference;
    // What is under way there may be what an order of this moment has sent.
    let mut orders = snapshot.orders.values();
    let busy = orders.any(|order| {
        let one = supplement::of_order(order);
        order.certificate == *id
            && one.is_some_and(|one| one.reference == *reference)
            && order_machine::is_submitted(order)
    });
    if busy || is_wanted(policy, snapshot, id, unseen) {
        return Step::Waits(None);
    }
    let lasts = unseen.since.until(unseen.looked_at);
    let next = unseen.looked_at + Seconds(lasts.0.clamp(FIRST.0, LONGEST.0));
    if backoff::is_ahead(next, now) {
        return Step::Waits(Some(next));
    }
    let seed = Seed::new(id.as_str(), snapshot.host);
    match backoff::waiting(&unseen.failures, seed, issuer.digest, now) {
        Some(waiting) => Step::Waits(waiting.until()),
        None => Step::Due,
    }
}

/// Whether an order for names of the policy takes them over when they come.
fn is_wanted(policy: &Policy, snapshot: &Snapshot, id: &CertificateId, unseen: &Unseen) -> bool {
    let Some(certificate) = policy.certificates.get(id) else {
        return false;
    };
    let state = snapshot.certificates.get(id);
    let Some(newest) = state.and_then(|state| state.newest.as_ref()) else {
        return false;
    };
    let mut adds = unseen.supplement.adds.iter();
    // Another host orders for this one.
    if certificate.order != OrderMode::Auto {
        return adds.any(|name| certificate.names.iter().any(|wanted| wanted == name));
    }
    certificate.issuer == unseen.issuer
        && newest.reference == unseen.supplement.reference
        && adds.any(|name| {
            certificate.names.iter().any(|wanted| wanted == name) && !newest.facts.covers_name(name)
        })
}

/// Whether what is being added now may be what was sent then: days later it is somebody else's, and is told and left alone.
pub(crate) fn may_be_ours(unseen: &Unseen, now: Timestamp) -> bool {
    unseen.since.until(now).0 <= LATEST.0
}

/// Adds what is due, and what a person must know.
pub(crate) fn decide(policy: &Policy, snapshot: &Snapshot, now: Timestamp, draft: &mut Draft) {
    for (id, state) in &snapshot.certificates {
        for unseen in &state.unseen {
            let task = || Tending::TakeBack(unseen.supplement.clone());
            match step(policy, snapshot, id, unseen, now) {
                // Without a question to anybody.
                Step::Over => draft.tend(id, task()),
                Step::Due => match draft.rests(&unseen.issuer) {
                    Some(until) => draft.wake(until),
                    None => draft.tend(id, task()),
                },
                Step::Waits(Some(until)) => draft.wake(until),
                Step::Waits(None) => {}
            }
            if snapshot.stale.is_some() && unseen.issued.is_none() {
                continue;
            }
            let digest = policy.issuers.get(&unseen.issuer).map(|one| one.digest);
            tell(id, unseen, digest, draft);
        }
    }
}

/// That they are in the certificate, in one line.
pub(crate) fn issued(unseen: &Unseen) -> String {
    let Supplement {
        adds, reference, ..
    } = &unseen.supplement;
    format!("{adds} were added to {reference} after all, and stay there")
}

fn tell(id: &CertificateId, unseen: &Unseen, digest: Option<Fingerprint>, draft: &mut Draft) {
    let (adds, reference) = (&unseen.supplement.adds, &unseen.supplement.reference);
    if unseen.issued.is_some() {
        draft.alert(
            Severity::Warning,
            "supplement-late",
            &format!("{reference}/{id}"),
            format!("{id}: {}", issued(unseen)),
            format!(
                "The order that asked for them ended at {}, and nobody waited for them any more. What is issued stays: as long as the certificate lives, it is good for these names as well. Revoke {reference} in the console if that must not be and nothing uses it.",
                unseen.since
            ),
        );
        return;
    }
    let count = digest.map_or(0, |digest| backoff::count(&unseen.failures, digest));
    let last = unseen.failures.last.as_ref().filter(|_| count > 0);
    let title = match last.filter(|last| count > 1 || !passes(last.class)) {
        Some(last) => format!(
            "{id}: whether {adds} were added to {reference} late is not known: {}",
            last.message
        ),
        None if unseen.unsure => {
            format!("{id}: names are being added to {reference}, perhaps {adds}")
        }
        None => return,
    };
    draft.alert_step(
        Severity::Warning,
        ("supplement-late", alerts::step(count)),
        &format!("{reference}/{id}"),
        title,
        format!(
            "The order that asked for them ended at {}, and nobody waits for them any more. It is looked again by itself. What is being added by {} and is certain to be these names alone is taken back; anything else, and whatever comes later, is left alone. Look at {reference} in the console, and take back there what nobody wants.",
            unseen.since,
            unseen.since + LATEST
        ),
    );
}

/// Until the first look; then the pauses grow with the time that they have not come.
const FIRST: Seconds = Seconds::minutes(10);
/// Between two looks, as long as the certificate lasts.
const LONGEST: Seconds = Seconds::days(1);
/// For an answer that comes late.
const LATEST: Seconds = Seconds::days(2);
/// That they were issued.
const TOLD: Seconds = Seconds::days(1);
/// Where the journal has the certificate's end no more.
const UNKNOWN_END: Seconds = Seconds::days(30);

#[cfg(test)]
mod tests;
