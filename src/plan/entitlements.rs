//! What is remembered of the entitlements that a certificate came from: which certificates are yet to come without a
//! purchase, and which keys they come with.

use std::collections::BTreeSet;

use crate::model::{
    CertificateState, Entitlement, Fingerprint, Order, OrderPhase, Seconds, Timestamp, Unused,
};
use crate::plan::supplement;

/// Remembers what the account said of an entitlement, and forgets those that ended.
pub fn remember(state: &mut CertificateState, mut entitlement: Entitlement, now: Timestamp) {
    let reference = entitlement.reference.clone();
    let mut before = state.entitlements.iter();
    if let Some(before) = before.find(|old| old.reference == reference) {
        entitlement.after(before);
    }
    state.entitlements.retain(|old| old.reference != reference);
    state.entitlements.insert(0, entitlement);
    forget(state, now);
}

/// Drops those that ended. The present certificate's stays: that its successor is missing is for a person to see.
pub(crate) fn forget(state: &mut CertificateState, now: Timestamp) {
    let newest = state.newest.as_ref().map(|newest| newest.reference.clone());
    state.entitlements.retain(|entitlement| {
        newest.as_ref() == Some(&entitlement.reference) || entitlement.until + LATE > now
    });
}

/// End of the present certificate, where the order that it came from has certificates to come.
#[must_use]
pub fn successor(state: &CertificateState, replaces: &str) -> Option<Timestamp> {
    let own = of(state, replaces)?;
    own.has_successor().then_some(own.until)
}

/// Whether the present certificate's order has certificates to come: with the key of its first application.
#[must_use]
pub(crate) fn has_successor(state: &CertificateState) -> bool {
    let newest = state.newest.as_ref();
    newest.is_some_and(|newest| successor(state, &newest.reference).is_some())
}

/// Certificates that the present one's order brings yet, as far as is known: of automatic renewal the next one.
#[must_use]
pub(crate) fn to_come(state: &CertificateState) -> u32 {
    let newest = state.newest.as_ref();
    let own = newest.and_then(|newest| of(state, &newest.reference));
    own.map_or(0, |own| own.remaining.max(u32::from(own.has_successor())))
}

/// Whether the present certificate's order has another one, which is there already or yet to come.
#[must_use]
pub(crate) fn goes_on(state: &CertificateState) -> bool {
    let newest = state.newest.as_ref();
    let own = newest.and_then(|newest| of(state, &newest.reference));
    own.is_some_and(|own| own.has_successor() || own.brought)
}

/// What is remembered of an id at SCM.
#[must_use]
pub(crate) fn of<'a>(state: &'a CertificateState, reference: &str) -> Option<&'a Entitlement> {
    let mut all = state.entitlements.iter();
    all.find(|entitlement| entitlement.reference == reference)
}

/// Public keys whose private ones must be kept, since the account may bring a certificate for them yet: by an order of
/// several years, or by an application that was given up and may have been granted all the same. Until another one is there.
#[must_use]
pub fn keys(state: &CertificateState, now: Timestamp) -> BTreeSet<Fingerprint> {
    let all = state.entitlements.iter();
    let to_come = all
        .filter(|entitlement| entitlement.has_successor() && entitlement.until + LATE > now)
        .filter_map(|entitlement| entitlement.spki);
    let given_up = state.unused.as_ref().and_then(|unused| unused.spki);
    to_come
        .chain(given_up)
        .chain(state.gone.iter().copied())
        .collect()
}

/// What an order that ends in this phase leaves unused in the account, or will once its application is withdrawn.
pub(crate) fn left(order: &Order, now: Timestamp) -> Option<Unused> {
    if supplement::of_order(order).is_some() {
        // It had nothing but a certificate that is there.
        return None;
    }
    let unknown = String::new();
    let (reference, spki) = match &order.phase {
        // Whatever was bought, or may have been.
        OrderPhase::PurchaseUnclear { .. }
        | OrderPhase::Claiming {
            purchase: Some(_), ..
        } => (&unknown, None),
        OrderPhase::Entitled { reference } => (reference, None),
        OrderPhase::Submitted {
            reference,
            public: true,
            spki,
            ..
        } => (reference, *spki),
        OrderPhase::KeyStored { entitlement, spki } => (entitlement.as_ref()?, Some(*spki)),
        OrderPhase::Unclear { gone: Some(_), .. } => return None,
        OrderPhase::Unclear {
            entitlement, spki, ..
        } => (entitlement.as_ref()?, *spki),
        OrderPhase::Opened
        | OrderPhase::Seeking { .. }
        | OrderPhase::Claiming { purchase: None, .. }
        | OrderPhase::Bare { .. }
        | OrderPhase::Submitted { .. }
        | OrderPhase::Issued { .. }
        | OrderPhase::Ending { .. }
        | OrderPhase::Closed { .. } => return None,
    };
    Some(Unused {
        reference: reference.clone(),
        spki,
        at: now,
    })
}

/// Of the key that an order in this phase may have applied with for what was deleted, by all answers.
pub(crate) const fn key_of_gone(phase: &OrderPhase) -> Option<Fingerprint> {
    match phase {
        OrderPhase::Unclear {
            gone: Some(_),
            supplement: false,
            spki,
            ..
        } => *spki,
        _ => None,
    }
}

/// A successor may come after the end of the one before: a review takes its time.
const LATE: Seconds = Seconds::days(30);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::testing;

    const NOW: Timestamp = Timestamp(1_800_000_000);

    /// A certificate that ends in ten days, and what the account says of its order.
    fn state(remaining: u32, auto_renew: bool) -> CertificateState {
        let newest = testing::revision("01", NOW - Seconds::days(90), Seconds::days(100));
        let entitlement = Entitlement {
            reference: newest.reference.clone(),
            purchase: None,
            kind: None,
            domains: None,
            spki: Some(Fingerprint([7; 32])),
            remaining,
            auto_renew,
            brought: false,
            until: newest.facts.not_after,
            asked_at: NOW,
        };
        CertificateState {
            newest: Some(newest),
            entitlements: vec![entitlement],
            ..CertificateState::default()
        }
    }

    #[test]
    fn a_successor_comes_by_number_or_by_automatic_renewal_and_its_key_is_kept() {
        for (remaining, auto_renew, comes) in [
            (0, false, false),
            (1, false, true),
            (0, true, true),
            (2, true, true),
        ] {
            let state = state(remaining, auto_renew);
            let case = (remaining, auto_renew);
            let end = NOW + Seconds::days(10);
            assert_eq!(
                successor(&state, "ref-01"),
                comes.then_some(end),
                "{case:?}"
            );
            assert_eq!(successor(&state, "ref-02"), None, "another order's");
            assert_eq!(has_successor(&state), comes, "{case:?}");
            assert_eq!(to_come(&state), remaining.max(u32::from(comes)), "{case:?}");
            assert_eq!(goes_on(&state), comes, "{case:?}");
            let kept: BTreeSet<_> = comes.then_some(Fingerprint([7; 32])).into_iter().collect();
            assert_eq!(keys(&state, NOW), kept, "{case:?}");
            // It may come some days late.
            assert_eq!(keys(&state, end + Seconds::days(29)), kept, "{case:?}");
            assert_eq!(keys(&state, end + LATE), BTreeSet::new(), "{case:?}");
        }
    }

    #[test]
    fn a_successor_that_is_counted_no_more_is_there() {
        let mut state = state(1, false);
        let said = |remaining| Entitlement {
            remaining,
            ..state.entitlements[0].clone()
        };
        let (none, one) = (said(0), said(1));
        remember(&mut state, none.clone(), NOW);
        assert!(!has_successor(&state) && goes_on(&state));
        // Whatever is said from then on.
        remember(&mut state, none.clone(), NOW);
        assert!(goes_on(&state));
        // One that never had any brings none.
        state.entitlements = vec![none.clone()];
        remember(&mut state, none, NOW);
        assert!(!goes_on(&state));
        remember(&mut state, one, NOW);
        assert!(goes_on(&state));
    }
}
