//! A plan that opens no order for which there is no room.

use std::collections::{BTreeMap, BTreeSet};

use crate::deploy;
use crate::engine::Engine;
use crate::model::{CertificateId, Policy, Shortage, Snapshot, TargetId, Timestamp};
use crate::plan::{Action, Plan, plan};

/// The plan, after a look at the disks that new orders would be written to; what was found stays in the snapshot. While
/// nothing is ordered nothing is looked at.
#[must_use]
pub fn plan_within_space(policy: &Policy, snapshot: &mut Snapshot, now: Timestamp) -> Plan {
    if !snapshot.tight.is_empty() {
        snapshot.tight = tight(policy);
    }
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

impl Engine {
    /// Whether the next order will find room, long before it is due: a disk that is full then is told of now.
    pub(super) fn look_at_disks(&self, snapshot: &mut Snapshot) {
        snapshot.tight = tight(&self.policy);
    }
}

/// Each file system once.
fn tight(policy: &Policy) -> Vec<Shortage> {
    let mut found: BTreeMap<_, Shortage> = BTreeMap::new();
    if policy.certificates.is_empty() {
        return Vec::new();
    }
    let members = members(policy);
    let mut look = |targets: &[_]| {
        if let Some(shortage) = deploy::shortage(&policy.state_dir, 1, targets) {
            found.insert(shortage.path.clone(), shortage);
        }
    };
    look(&[]);
    for (id, target) in &policy.targets {
        if let Some(members) = members.get(id) {
            look(&[(target, *members)]);
        }
    }
    found.into_values().collect()
}

/// How many certificates are on each target.
fn members(policy: &Policy) -> BTreeMap<&TargetId, usize> {
    let mut members = BTreeMap::new();
    for certificate in policy.certificates.values() {
        for target in &certificate.targets {
            *members.entry(target).or_insert(0) += 1;
        }
    }
    members
}

fn look(policy: &Policy, asked: &BTreeSet<&CertificateId>) -> BTreeMap<CertificateId, Shortage> {
    let members = members(policy);
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
