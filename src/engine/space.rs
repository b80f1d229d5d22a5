//! A plan that opens no order for which there is no room.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::deploy;
use crate::engine::hanging::{self, Subject};
use crate::engine::steps::Busy;
use crate::engine::{Engine, EngineError};
use crate::model::{CertificateId, Policy, Shortage, Snapshot, TargetId, Timestamp};
use crate::plan::{Action, Plan, plan};

/// The plan, after a look at the disks that new orders would be written to; what was found stays in the snapshot. While
/// nothing is ordered nothing is looked at. For a person's command, which waits for no disk that gives no answer.
#[must_use]
pub async fn plan_within_space(policy: &Policy, snapshot: &mut Snapshot, now: Timestamp) -> Plan {
    let first = plan(policy, snapshot, now);
    let asked = asked(&first, snapshot);
    if asked.is_empty() {
        return first;
    }
    let policy = Arc::new(policy.clone());
    let ask = move |policy: &Policy, silent: &_| look(policy, &asked, silent);
    let found = ask_once(Arc::clone(&policy), snapshot, ANSWER_AT_ONCE, ask);
    again(&policy, snapshot, first, found.await, now)
}

/// The plan by what was found; what nobody answered for is as it was known before.
fn again(
    policy: &Policy,
    snapshot: &mut Snapshot,
    first: Plan,
    found: Option<BTreeMap<CertificateId, Shortage>>,
    now: Timestamp,
) -> Plan {
    match found {
        Some(shortages) if shortages != snapshot.shortages => {
            snapshot.shortages = shortages;
            plan(policy, snapshot, now)
        }
        _ => first,
    }
}

impl Engine {
    /// The same for the loop, which leaves targets alone that give no answer.
    ///
    /// # Errors
    /// When that cannot be written down.
    pub(super) async fn plan_within_space(
        &self,
        snapshot: &mut Snapshot,
        busy: &Busy,
        now: Timestamp,
    ) -> Result<Plan, EngineError> {
        if !snapshot.tight.is_empty() {
            self.look_at_disks(snapshot, busy).await?;
        }
        let first = plan(&self.policy, snapshot, now);
        let asked = asked(&first, snapshot);
        if asked.is_empty() {
            return Ok(first);
        }
        let ask = move |policy: &Policy, silent: &_| look(policy, &asked, silent);
        let found = self.ask_disks(snapshot, busy, ask).await?;
        Ok(again(&self.policy, snapshot, first, found, now))
    }

    /// Whether the next order will find room, long before it is due: a disk that is full then is told of now.
    ///
    /// # Errors
    /// When it cannot be written down who gives no answer.
    pub(super) async fn look_at_disks(
        &self,
        snapshot: &mut Snapshot,
        busy: &Busy,
    ) -> Result<(), EngineError> {
        if let Some(found) = self.ask_disks(snapshot, busy, tight).await? {
            snapshot.tight = found;
        }
        Ok(())
    }

    /// Asks the disks of all targets that give answers. Where one of them does not, it is found out which, and the others are
    /// asked; `None` where that does not help, and at a stop: then what was known stands.
    async fn ask_disks<T: Send + 'static>(
        &self,
        snapshot: &mut Snapshot,
        busy: &Busy,
        ask: impl FnOnce(&Policy, &BTreeSet<TargetId>) -> T + Clone + Send + 'static,
    ) -> Result<Option<T>, EngineError> {
        for again in [false, true] {
            if again {
                self.look_who_answers(snapshot, busy).await?;
            }
            let found = ask_once(Arc::clone(&self.policy), snapshot, ANSWER, ask.clone());
            let found = tokio::select! {
                found = found => found,
                () = self.stopped() => return Ok(None),
            };
            if found.is_some() {
                return Ok(found);
            }
        }
        tracing::debug!("a disk does not say how much room it has");
        Ok(None)
    }
}

fn ask_once<T: Send + 'static>(
    policy: Arc<Policy>,
    snapshot: &Snapshot,
    limit: Duration,
    ask: impl FnOnce(&Policy, &BTreeSet<TargetId>) -> T + Send + 'static,
) -> impl Future<Output = Option<T>> + Send {
    let silent = silent(snapshot);
    let targets = policy.targets.keys();
    let asked = targets.filter(|id| !silent.contains(*id)).cloned();
    let subject = Subject::Room(policy.state_dir.clone(), asked.collect());
    hanging::read(subject, limit, move |_| ask(&policy, &silent))
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
/// The same while a person waits.
const ANSWER_AT_ONCE: Duration = Duration::from_secs(1);
