//! A plan that opens no order for which there is no room.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::deploy;
use crate::engine::Engine;
use crate::engine::hanging::{self, Subject};
use crate::model::{CertificateId, Policy, Shortage, Snapshot, TargetId, Timestamp};
use crate::plan::{Action, Plan, plan};

/// The plan, after a look at the disks that new orders would be written to; what was found stays in the snapshot. While
/// nothing is ordered nothing is looked at. For a person's command: a disk that gives no answer is waited for.
#[must_use]
pub fn plan_within_space(policy: &Policy, snapshot: &mut Snapshot, now: Timestamp) -> Plan {
    let silent = silent(snapshot);
    if !snapshot.tight.is_empty() {
        snapshot.tight = tight(policy, &silent);
    }
    let first = plan(policy, snapshot, now);
    let asked = asked(&first, snapshot);
    if asked.is_empty() {
        return first;
    }
    let shortages = look(policy, &asked, &silent);
    if shortages == snapshot.shortages {
        return first;
    }
    snapshot.shortages = shortages;
    plan(policy, snapshot, now)
}

impl Engine {
    /// The same for the loop, which waits for no disk.
    pub(super) async fn plan_within_space(&self, snapshot: &mut Snapshot, now: Timestamp) -> Plan {
        if !snapshot.tight.is_empty() {
            self.look_at_disks(snapshot).await;
        }
        let first = plan(&self.policy, snapshot, now);
        let asked = asked(&first, snapshot);
        if asked.is_empty() {
            return first;
        }
        let found = self.ask_disks(snapshot, move |policy, silent| look(policy, &asked, silent));
        // Who gives no answer counts as roomy.
        let shortages = found.await.unwrap_or_default();
        if shortages == snapshot.shortages {
            return first;
        }
        snapshot.shortages = shortages;
        plan(&self.policy, snapshot, now)
    }

    /// Whether the next order will find room, long before it is due: a disk that is full then is told of now.
    pub(super) async fn look_at_disks(&self, snapshot: &mut Snapshot) {
        let found = self.ask_disks(snapshot, tight).await;
        if let Some(found) = found {
            snapshot.tight = found;
        }
    }

    /// Asks the disks of all targets that give answers; `None` where one of them does not.
    async fn ask_disks<T: Send + 'static>(
        &self,
        snapshot: &Snapshot,
        ask: impl FnOnce(&Policy, &BTreeSet<TargetId>) -> T + Send + 'static,
    ) -> Option<T> {
        let (policy, silent) = (Arc::clone(&self.policy), silent(snapshot));
        let targets = self.policy.targets.keys();
        let asked = targets.filter(|id| !silent.contains(*id)).cloned();
        let subject = Subject::Room(policy.state_dir.clone(), asked.collect());
        let read = hanging::read(subject, ANSWER, move |_| ask(&policy, &silent));
        let found = tokio::select! {
            found = read => found,
            () = self.stopped() => return None,
        };
        if found.is_none() {
            tracing::warn!("a disk does not say how much room it has");
        }
        found
    }
}

/// Targets whose disks nobody asks anything.
fn silent(snapshot: &Snapshot) -> BTreeSet<TargetId> {
    let known = snapshot.targets.iter();
    let silent = known.filter(|(_, state)| state.silent.is_some());
    silent.map(|(id, _)| id.clone()).collect()
}

/// The certificates that a plan orders. What was short is looked at again: space comes back without anybody telling.
fn asked(plan: &Plan, snapshot: &Snapshot) -> BTreeSet<CertificateId> {
    let ordered = plan.actions.iter().filter_map(|action| match action {
        Action::OpenOrder { certificate, .. } => Some(certificate),
        _ => None,
    });
    ordered.chain(snapshot.shortages.keys()).cloned().collect()
}

/// Each file system once.
fn tight(policy: &Policy, silent: &BTreeSet<TargetId>) -> Vec<Shortage> {
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
        if let Some(members) = members.get(id).filter(|_| !silent.contains(id)) {
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

fn look(
    policy: &Policy,
    asked: &BTreeSet<CertificateId>,
    silent: &BTreeSet<TargetId>,
) -> BTreeMap<CertificateId, Shortage> {
    let members = members(policy);
    // Certificates of the same targets have the same needs.
    let mut known = BTreeMap::new();
    let mut found = BTreeMap::new();
    for id in asked {
        let Some(certificate) = policy.certificates.get(id) else {
            continue;
        };
        let shortage = known.entry(&certificate.targets).or_insert_with(|| {
            let targets = certificate
                .targets
                .iter()
                .filter(|id| !silent.contains(*id));
            let targets = targets.filter_map(|id| {
                let members = members.get(id).copied().unwrap_or_default();
                Some((policy.targets.get(id)?, members))
            });
            let targets: Vec<_> = targets.collect();
            deploy::shortage(&policy.state_dir, asked.len(), &targets)
        });
        if let Some(shortage) = shortage {
            found.insert(id.clone(), shortage.clone());
        }
    }
    found
}

/// For all disks together.
const ANSWER: Duration = Duration::from_secs(10);
