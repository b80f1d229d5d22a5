//! Issuers that answer nobody: one question at a time, at longer and longer intervals, however many certificates wait.

use std::collections::BTreeMap;

use crate::model::{
    CertificateId, ErrorClass, Failures, IssuerId, Outage, Policy, Seconds, Snapshot, StepFailure,
    Timestamp, Waiting,
};
use crate::plan::backoff::{self, Seed};

/// After another call that any call would have shared the fate of. Calls that were made side by side, in one round of
/// steps, fail for one reason.
#[must_use]
pub fn after(
    before: Option<Outage>,
    certificate: &CertificateId,
    failure: StepFailure,
    same_round: bool,
) -> Outage {
    let mut outage = before.unwrap_or_else(|| Outage {
        failures: Failures::default(),
        first: certificate.clone(),
        several: false,
    });
    outage.several |= outage.first != *certificate;
    if same_round {
        outage.failures.last = Some(failure);
    } else {
        outage.failures.add(failure);
    }
    outage
}

/// What may be asked of an issuer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Hold {
    /// Nothing, until then.
    Rest(Waiting),
    /// One question, to see whether it answers again; everybody else waits for what comes of it.
    Ask(Waiting),
}

/// Of each issuer that answers nobody.
#[must_use]
pub(crate) fn holds(
    policy: &Policy,
    snapshot: &Snapshot,
    now: Timestamp,
) -> BTreeMap<IssuerId, Hold> {
    let several = snapshot.outages.iter().filter(|(_, met)| met.several);
    several
        .filter_map(|(id, met)| {
            let digest = policy.issuers.get(id)?.digest;
            if backoff::count(&met.failures, digest) == 0 {
                return None;
            }
            let seed = Seed::new(id.as_str(), snapshot.host);
            let hold = match backoff::waiting(&met.failures, seed, digest, now) {
                Some(waiting) => Hold::Rest(waiting),
                None => Hold::Ask(Waiting::Backoff {
                    until: now + ANSWER,
                    failures: met.failures.count,
                    class: met
                        .failures
                        .last
                        .as_ref()
                        .map_or(ErrorClass::Transient, |f| f.class),
                    message: format!("issuer {id} is asked by one certificate first"),
                }),
            };
            Some((id.clone(), hold))
        })
        .collect()
}

/// Until the one question is answered; the next plan comes with the answer.
const ANSWER: Seconds = Seconds::minutes(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Fingerprint;
    use crate::plan::testing;

    const NOW: Timestamp = Timestamp(1_800_000_000);

    fn failure(at: Timestamp, policy: Fingerprint) -> StepFailure {
        StepFailure {
            at,
            class: ErrorClass::Transient,
            message: "no connection".to_owned(),
            retry_after: None,
            policy,
        }
    }

    fn id(name: &str) -> CertificateId {
        CertificateId::new(name).unwrap()
    }

    #[test]
    fn a_round_counts_once_and_what_meets_one_alone_holds_up_no_other() {
        let issuer = testing::issuer();
        let mut policy = testing::policy();
        let digest = issuer.digest;
        policy.issuers.insert(issuer.id.clone(), issuer.clone());
        let mut snapshot = Snapshot::default();
        let mut holds_after = |met: &Outage, now| {
            snapshot.outages.insert(issuer.id.clone(), met.clone());
            holds(&policy, &snapshot, now).remove(&issuer.id)
        };

        let mut met = after(None, &id("a"), failure(NOW, digest), false);
        for round in 1..5 {
            let now = NOW + Seconds(round * 600);
            met = after(Some(met), &id("a"), failure(now, digest), false);
        }
        assert_eq!((met.failures.count, met.several), (5, false));
        assert_eq!(holds_after(&met, NOW + Seconds(2401)), None, "b may go");

        let now = NOW + Seconds(3000);
        for (other, same_round) in [("b", false), ("c", true), ("d", true)] {
            met = after(Some(met), &id(other), failure(now, digest), same_round);
        }
        assert_eq!((met.failures.count, met.several), (6, true));
        let soon = now + Seconds(1);
        assert!(matches!(holds_after(&met, soon), Some(Hold::Rest(_))));
        let later = now + Seconds::hours(1);
        assert!(matches!(holds_after(&met, later), Some(Hold::Ask(_))));
        // Another policy of the issuer begins anew.
        met.failures.last.as_mut().unwrap().policy = Fingerprint([9; 32]);
        assert_eq!(holds_after(&met, soon), None);
    }
}
