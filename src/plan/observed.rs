//! When addresses that decide nothing are looked at, and what is told of them. What they show never undoes, never blocks
//! and never causes a rollout.

use crate::model::{Observed, Seconds, Severity, Timestamp};
use crate::plan::Action;
use crate::plan::draft::Draft;
use crate::plan::targets::Place;

/// A look after each check and after each proven change, and the alert that stands. `checked_at` is when the host was
/// last looked at.
pub(crate) fn decide(
    place: &Place<'_>,
    checked_at: Option<Timestamp>,
    now: Timestamp,
    draft: &mut Draft,
) {
    let (policy, state) = (place.policy, place.state);
    if policy.observe.is_empty() || state.live.is_empty() || state.never_served {
        return;
    }
    if let Some(observed) = &state.observed {
        tell(place, observed, draft);
    }
    // What is on its way is looked at once it is there.
    if place.rollout.is_some() || state.silent.is_some() {
        return;
    }
    let due = state.observed.as_ref().is_none_or(|observed| {
        let asked = policy.observe.iter().map(ToString::to_string);
        observed.revisions != state.live
            || !asked.eq(observed.asked.iter().cloned())
            || checked_at.is_some_and(|checked_at| observed.at < checked_at)
            || confirmation(observed).is_some_and(|at| at <= now)
    });
    if due {
        let target = policy.id.clone();
        draft.observations.push(Action::Observe { target });
    } else if let Some(at) = state.observed.as_ref().and_then(confirmation) {
        draft.wake(at);
    }
}

/// When a difference that is new has to be looked at once more before it is told.
fn confirmation(observed: &Observed) -> Option<Timestamp> {
    let at = observed.since? + PATIENCE;
    (observed.at < at).then_some(at)
}

fn tell(place: &Place<'_>, observed: &Observed, draft: &mut Draft) {
    let stands = observed.since.is_some() && confirmation(observed).is_none();
    let mut differing = observed.differing();
    let Some(first) = differing.next().filter(|_| stands) else {
        return;
    };
    let more = match differing.count() {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    let id = &place.policy.id;
    draft.alert(
        Severity::Warning,
        "observed-differs",
        id.as_str(),
        format!("{id}: another address {}{more}", first.detail),
        format!(
            "This host serves what it should, and nothing is undone. Bring the certificate there, or take the address out of `observe`; `renewd target list` shows all that was seen of {id}."
        ),
    );
}

/// Load balancers and other hosts get a new certificate by ways of their own, which take some time.
const PATIENCE: Seconds = Seconds::hours(1);
