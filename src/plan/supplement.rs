//! Whether names that the policy added go into the certificate that is there (CCM API 7.1.20), which costs nothing, or lead
//! to another one.
//!
//! A supplement keeps the certificate's id, its key and its end. So it is no renewal, and `rekey` does not speak against it;
//! but it is nothing for a certificate that is due, whose key has to change, or that a person wants another one for. Where a
//! certificate is due whose order has another one to come, that one comes first, and the names are added to it.

pub(crate) mod late;

use std::collections::BTreeMap;
use std::fmt;

use crate::model::{
    CertificateId, CertificatePolicy, CertificateState, Entitlement, IssuerKind, KeySource, Name,
    Order, OrderMode, OrderPhase, Policy, Reason, RevisionFacts, Severity, Snapshot, Source,
    SubjectAltNames, Supplement, Timestamp, Unsupplemented,
};
use crate::plan::certificates::Subject;
use crate::plan::draft::Draft;
use crate::plan::renewal::{self, Window};
use crate::plan::{Action, Plan, entitlements};

/// Why added names lead to another certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// Nothing is known of what it was bought as.
    Unknown,
    /// A certificate keeps the names that it has.
    NamesLeft(SubjectAltNames),
    /// The first name stays the first one.
    OtherFirst,
    /// It has no room.
    Quota {
        /// At SCM.
        reference: String,
        /// Names that it was bought for.
        bought: u32,
        /// Names that are wanted.
        wanted: u32,
    },
    /// Another key is wanted, or the one it has is not ours.
    Key,
    /// A person asked for another one.
    Asked,
    /// It was taken back.
    Revoked,
    /// Another one is due.
    Due(Timestamp),
    /// It was tried.
    Refused {
        /// At SCM.
        reference: String,
        /// What was said.
        why: String,
    },
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("what the present one was bought as is not known"),
            Self::NamesLeft(names) => write!(f, "{names} left the policy as well"),
            Self::OtherFirst => f.write_str("its first name is another one now"),
            Self::Quota {
                reference,
                bought: 1,
                ..
            } => {
                write!(f, "{reference} was bought for one name")
            }
            Self::Quota {
                reference,
                bought,
                wanted,
            } => write!(
                f,
                "{reference} was bought for {bought} names, and {wanted} are wanted"
            ),
            Self::Key => f.write_str("the key has to change"),
            Self::Asked => f.write_str("somebody asked for another one"),
            Self::Revoked => f.write_str("the present one is revoked"),
            Self::Due(at) => write!(f, "another one is due since {at} anyway"),
            Self::Refused { reference, why } => {
                write!(f, "they could not be added to {reference}: {why}")
            }
        }
    }
}

/// For a certificate whose policy has names that its newest revision lacks; `None` where that is not the reason, or names
/// are added nowhere.
pub(crate) fn of(
    policy: &Policy,
    certificate: &CertificatePolicy,
    state: &CertificateState,
    reason: &Reason,
    now: Timestamp,
) -> Option<Result<Supplement, Unfit>> {
    let Reason::NamesChanged { missing } = reason else {
        return None;
    };
    let issuer = policy.issuers.get(&certificate.issuer)?;
    let public = match (&issuer.kind, certificate.order) {
        (IssuerKind::Scm(_), OrderMode::Auto) => true,
        (IssuerKind::Scm(_), OrderMode::Never) | (IssuerKind::Pca(_), _) => false,
    };
    let newest = state.newest.as_ref()?;
    if !public || missing.is_empty() || state.issuer.as_ref() != Some(&certificate.issuer) {
        return None;
    }
    let window = renewal::of(policy, certificate, state, newest);
    Some(match unfit(certificate, state, missing, window, now) {
        Some(unfit) => Err(unfit),
        None => Ok(Supplement {
            reference: newest.reference.clone(),
            spki: match certificate.key_source {
                KeySource::Local => Some(newest.facts.spki),
                KeySource::Ccm => None,
            },
            adds: missing.clone(),
        }),
    })
}

fn unfit(
    certificate: &CertificatePolicy,
    state: &CertificateState,
    missing: &SubjectAltNames,
    window: Window,
    now: Timestamp,
) -> Option<Unfit> {
    let newest = state.newest.as_ref()?;
    let (facts, reference) = (&newest.facts, &newest.reference);
    let left: SubjectAltNames = newest
        .applied_for()
        .iter()
        .filter(|name| !certificate.names.iter().any(|wanted| wanted == *name))
        .cloned()
        .collect();
    if !left.is_empty() {
        return Some(Unfit::NamesLeft(left));
    }
    let first = &certificate.common_name;
    let same_first = match &facts.common_name {
        Some(name) => name == first,
        // Not every CA repeats it there.
        None => facts.names.iter().any(|name| name.to_string() == *first),
    };
    if !same_first {
        return Some(Unfit::OtherFirst);
    }
    let due = match overtaken(state, window, now) {
        Some(Unfit::Due(at)) => Some(Unfit::Due(at)),
        None => None,
        Some(why) => return Some(why),
    };
    let Some(bought) = bought(state) else {
        return Some(Unfit::Unknown);
    };
    let key = match certificate.key_source {
        KeySource::Local => Some(facts.spki),
        KeySource::Ccm => None,
    };
    if bought.spki != key || facts.key_algorithm != Some(certificate.key_algorithm) {
        return Some(Unfit::Key);
    }
    // Where the account did not say it yet, it is asked before anything is sent.
    let wanted = u32::try_from(certificate.names.len()).unwrap_or(u32::MAX);
    if let Some(bought) = bought.domains.filter(|bought| *bought < wanted) {
        let reference = reference.clone();
        return Some(Unfit::Quota {
            reference,
            bought,
            wanted,
        });
    }
    refused(state)
        .filter(|refused| refused.adds == *missing)
        .map(|refused| Unfit::Refused {
            reference: refused.reference.clone(),
            why: refused.why.clone(),
        })
        .or(due)
}

/// The names that the next certificate of the present one's order is for, where it comes before those that the policy added:
/// the present one is due, the next one costs nothing and has room for them.
pub(crate) fn successor_first<'a>(
    certificate: &CertificatePolicy,
    state: &'a CertificateState,
    window: Window,
    now: Timestamp,
) -> Option<&'a SubjectAltNames> {
    let newest = state.newest.as_ref()?;
    let missing = missing(certificate, newest);
    let first = certificate.order == OrderMode::Auto
        && !missing.is_empty()
        && newest.policy != Some(certificate.digest)
        && state.issuer.as_ref() == Some(&certificate.issuer)
        && entitlements::goes_on(state)
        && matches!(
            unfit(certificate, state, &missing, window, now),
            Some(Unfit::Due(_))
        );
    first.then(|| newest.applied_for())
}

fn missing(certificate: &CertificatePolicy, newest: &RevisionFacts) -> SubjectAltNames {
    let have = &newest.facts.names;
    let wanted = certificate.names.iter();
    wanted
        .filter(|name| !have.iter().any(|one| one == *name))
        .cloned()
        .collect()
}

/// Why the certificate that is there is not to be issued again, whatever its names are: also where names are being added
/// to it already.
fn overtaken(state: &CertificateState, window: Window, now: Timestamp) -> Option<Unfit> {
    let newest = state.newest.as_ref()?;
    if state.is_revoked(&newest.id) {
        return Some(Unfit::Revoked);
    }
    if state.is_given_up(&newest.facts.spki) {
        return Some(Unfit::Key);
    }
    if state.forced {
        return Some(Unfit::Asked);
    }
    (window.renew_at <= now).then_some(Unfit::Due(window.renew_at))
}

/// Why an order that adds names is given up for one that brings another certificate, if so.
pub(crate) fn given_up(subject: &Subject<'_>, order: &Order, now: Timestamp) -> Option<String> {
    let supplement = of_order(order)?;
    let why = overtaken(subject.state, subject.window()?, now)?;
    Some(format!(
        "no names are added to {} any more: {why}",
        supplement.reference
    ))
}

/// What an order adds to which certificate, where that is all it does.
pub(crate) fn of_order(order: &Order) -> Option<&Supplement> {
    order.request.public.as_ref()?.supplements.as_deref()
}

/// What the newest revision came from.
fn bought(state: &CertificateState) -> Option<&Entitlement> {
    let newest = state.newest.as_ref()?;
    entitlements::of(state, &newest.reference)
}

/// What an order would get another certificate for though it was asked to be added before, and came to nothing: it may have
/// come late, and then the newest revision's own certificate is all that is wanted.
pub(crate) fn late(order: &Order, state: &CertificateState) -> Option<Supplement> {
    let Reason::NamesChanged { missing } = &order.reason else {
        return None;
    };
    let request = &order.request;
    let newest = state.newest.as_ref()?;
    let spki = match request.source {
        Source::Csr => Some(newest.facts.spki),
        Source::Ccm => None,
        Source::Follow => return None,
    };
    let wanted = |name: &Name| request.names.iter().any(|one| one == name);
    let fits = refused(state).is_some()
        && bought(state)?.spki == spki
        && newest.facts.key_algorithm == Some(request.key_algorithm)
        && newest.applied_for().iter().all(wanted)
        && !state.forced
        && !state.is_revoked(&newest.id)
        && !state.is_given_up(&newest.facts.spki)
        && !missing.is_empty();
    fits.then(|| Supplement {
        reference: newest.reference.clone(),
        spki,
        adds: missing.clone(),
    })
}

/// Names that were refused for the newest revision.
fn refused(state: &CertificateState) -> Option<&Unsupplemented> {
    let newest = state.newest.as_ref()?;
    let refused = state.unsupplemented.as_ref();
    refused.filter(|refused| refused.reference == newest.reference)
}

/// That names could not be added, for as long as they are not in a certificate.
pub(crate) fn alert(subject: &Subject<'_>, draft: &mut Draft) {
    let Some(refused) = refused(subject.state) else {
        return;
    };
    let wanted = |name| subject.policy.names.iter().any(|one| one == name);
    if !refused.adds.iter().any(wanted) {
        return;
    }
    let id = subject.policy.id.as_str();
    let Unsupplemented {
        reference,
        adds,
        why,
        ..
    } = refused;
    draft.alert(
        Severity::Warning,
        "supplement-refused",
        id,
        format!("{id}: {adds} cannot be added to {reference}: {why}"),
        "Another certificate is ordered for all names instead: it takes what is unused in the account, or buys one where the policy allows (`renewd plan` says what). Take the new names out of the policy to stop that.".to_owned(),
    );
}

/// How added names come in, by certificate: what is done, or why it is another certificate.
pub(crate) fn notes(
    policy: &Policy,
    snapshot: &Snapshot,
    plan: &Plan,
    now: Timestamp,
) -> BTreeMap<CertificateId, String> {
    let note = |id: &CertificateId, reason: &Reason| {
        let (certificate, state) = (policy.certificates.get(id)?, snapshot.certificates.get(id)?);
        let newest = state.newest.as_ref()?;
        let window = renewal::of(policy, certificate, state, newest);
        if successor_first(certificate, state, window, now).is_some() {
            return Some(format!(
                "has {} added to the next certificate of its order, which costs nothing and comes first",
                missing(certificate, newest)
            ));
        }
        Some(match of(policy, certificate, state, reason, now)? {
            Ok(supplement) => describe(&supplement),
            Err(unfit) => format!("needs another certificate for its new names, since {unfit}"),
        })
    };
    let mut notes = BTreeMap::new();
    for action in &plan.actions {
        if let Action::OpenOrder {
            certificate,
            reason,
            ..
        } = action
        {
            notes.extend(note(certificate, reason).map(|note| (certificate.clone(), note)));
        }
    }
    // Once it is issued, or given up, nothing is added any more.
    let open = |order: &&Order| {
        !matches!(
            order.phase,
            OrderPhase::Issued { .. } | OrderPhase::Ending { .. } | OrderPhase::Closed { .. }
        )
    };
    for order in snapshot.orders.values().filter(open) {
        let id = &order.certificate;
        let found = match of_order(order) {
            Some(supplement) => Some(describe(supplement)),
            None => note(id, &order.reason),
        };
        notes.extend(found.map(|note| (id.clone(), note)));
    }
    notes
}

fn describe(supplement: &Supplement) -> String {
    format!(
        "has {} added to {}, which costs nothing",
        supplement.adds, supplement.reference
    )
}

#[cfg(test)]
mod tests;
