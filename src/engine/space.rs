//! A plan that opens no order for which there is no room.

use std::collections::{BTreeMap, BTreeSet};

use crate::deploy;
use crate::model::{CertificateId, Policy, Shortage, Snapshot, Timestamp};
use crate::plan::{Action, Plan, plan};

/// The plan, after a look at the disks that new orders would be written to; what was found stays in the snapshot. While
/// nothing is ordered nothing is looked at.
#[must_use]
pub fn plan_within_space(policy: &Policy, snapshot: &mut Snapshot, now: Timestamp) -> Plan {
    let first = plan(policy, snapshot, now);
    let ordered = first.actions.iter().filter_map(|action| match action {
        Action::OpenOrder { certificate, .. } => Some(certificate),
        _ => None,
    });
    // What was short is looked at again: space comes back without anybody telling.
    let asked: BTreeSet<&CertificateId> = ordered.chain(snapshot.shortages.keys()).collect();
    if asked.is_empty() {
        return first;
    }
    let shortages = look(policy, &asked);
    if shortages == snapshot.shortages {
        return first;
    }
    snapshot.shortages = shortages;
    plan(policy, snapshot, now)
}

fn look(policy: &Policy, asked: &BTreeSet<&CertificateId>) -> BTreeMap<CertificateId, Shortage> {
    let mut members = BTreeMap::new();
    for certificate in policy.certificates.values() {
        for target in &certificate.targets {
            *members.entry(target).or_insert(0) += 1;
        }
    }
    // Certificates of the same targets have the same needs.
    let mut known = BTreeMap::new();
    let mut found = BTreeMap::new();
    for id in asked {
        let Some(certificate) = policy.certificates.get(*id) else {
            continue;
        };
        let shortage = known.entry(&certificate.targets).or_insert_with(|| {
            let targets = certificate.targets.iter().filter_map(|id| {
                let members = members.get(id).copied().unwrap_or_default();
                Some((policy.targets.get(id)?, members))
            });
            let targets: Vec<_> = targets.collect();
            deploy::shortage(&policy.state_dir, asked.len(), &targets)
        });
        if let Some(shortage) = shortage {
            found.insert((*id).clone(), shortage.clone());
        }
    }
    found
}
