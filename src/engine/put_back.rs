//! What a person wants of the targets of a certificate: an earlier revision again, or an end of a hold.

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::wish::{forget_wish, unblock};
use crate::engine::{Engine, EngineError};
use crate::model::{
    CertificateId, Failures, RevisionFacts, RevisionId, RolloutPhase, TargetId, TargetState,
    Timestamp,
};
use crate::plan::rollout_machine;
use crate::store::StoreError;

/// Why it was not written down.
#[derive(Debug)]
pub enum NotAsked {
    /// The policy has no such certificate, or none with targets.
    Unknown(String),
    /// A rollout is on its way there: it has to end first.
    Open(String),
    /// It cannot be put there.
    Unfit(String),
    /// The journal, or a fault.
    Failed(EngineError),
}

impl From<StoreError> for NotAsked {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.into())
    }
}

impl Engine {
    /// Writes the wish for an earlier revision down for all targets of the certificate, or for none: that one, or the one
    /// before what is live. With `force` it also replaces what somebody else put there. Answers what a person should know.
    ///
    /// # Errors
    /// When it cannot be put there, or the journal cannot be written.
    pub async fn ask_rollback(
        &self,
        name: &CertificateId,
        to: Option<&RevisionId>,
        force: bool,
    ) -> Result<Vec<String>, NotAsked> {
        let targets = self.targets_of(name)?;
        let snapshot = self.store.snapshot().await?;
        // One that only waits for its service has its set in place and can be left; any other is on its way.
        let mut awaiting = BTreeMap::new();
        for open in snapshot.rollouts.values() {
            match &open.phase {
                _ if !targets.contains(&open.target) => {}
                // A set whose `post` hook fails is the live one: another one may follow it.
                _ if rollout_machine::waits_for_post_hook(open) => {}
                RolloutPhase::AwaitingService { .. }
                    if rollout_machine::may_be_superseded(open) =>
                {
                    awaiting.insert(&open.target, &open.revisions);
                }
                phase => {
                    return Err(NotAsked::Open(format!(
                        "a rollout of target {} is open ({}); `renewd once` carries it on",
                        open.target,
                        phase.code()
                    )));
                }
            }
        }
        let stored = self.on_disk(name).await?;
        let certificate = snapshot.certificates.get(name);
        let newest = certificate
            .and_then(|state| state.newest.as_ref())
            .map(|newest| &newest.id);
        let now = self.clock.now();
        let mut notes = Vec::new();
        // Nothing is changed on any target unless it can be on all.
        let mut changes = BTreeMap::new();
        for target in targets {
            let mut state = snapshot.targets.get(target).cloned().unwrap_or_default();
            let in_place = awaiting.get(target).copied().unwrap_or(&state.live);
            let there = in_place.get(name);
            let goal = choose(&stored, there, to, now)
                .map_err(|why| NotAsked::Unfit(format!("{name} on {target}: {why}")))?;
            if certificate.is_some_and(|state| state.is_revoked(&goal.id)) {
                return Err(NotAsked::Unfit(format!(
                    "{name} on {target}: revision {} was revoked; a revoked certificate is never put back",
                    goal.id
                )));
            }
            if certificate.is_some_and(|state| state.is_compromised(&goal.facts.spki)) {
                return Err(NotAsked::Unfit(format!(
                    "{name} on {target}: others may know the key of revision {}, by what was asked with `renewd revoke`; it is never put back",
                    goal.id
                )));
            }
            if there == Some(&goal.id) && newest == Some(&goal.id) {
                notes.push(format!(
                    "{name} on {target}: revision {} is live and the newest; nothing to do",
                    goal.id
                ));
                continue;
            }
            let mut wanted = in_place.clone();
            // Whatever is live at the moment: the newest stays off until it is released.
            let newer = newest.filter(|newest| **newest != goal.id);
            state.held.extend(newer.cloned());
            state.held.remove(&goal.id);
            wanted.insert(name.clone(), goal.id.clone());
            state.wanted = Some(wanted);
            // Whatever is newer stays away, were it never rolled out.
            let newer = stored.iter().take_while(|revision| revision.id != goal.id);
            state.held.extend(newer.map(|revision| revision.id.clone()));
            unblock(&mut state);
            if force {
                state.overwrite.insert(name.clone());
            }
            changes.insert(target, state);
        }
        for (target, state) in changes {
            self.store.change_target(target, &state).await?;
        }
        Ok(notes)
    }

    /// Takes holds and wishes of rollbacks by hand back on all targets of the certificate; with `force` also what somebody
    /// else put there is replaced. Answers what a person should know.
    ///
    /// # Errors
    /// When the policy has no such certificate, or the journal cannot be written.
    pub async fn ask_release(
        &self,
        name: &CertificateId,
        force: bool,
    ) -> Result<Vec<String>, NotAsked> {
        let targets = self.targets_of(name)?;
        let mut snapshot = self.store.snapshot().await?;
        // What is there now, not at the last check.
        let observed = self.observe_targets(&mut snapshot, |target| targets.contains(target));
        observed.await.map_err(NotAsked::Failed)?;
        let stored = self.store.revisions(name).await?;
        let mut released = false;
        for target in targets {
            let Some(mut state) = snapshot.targets.get(target).cloned() else {
                continue;
            };
            let before = state.clone();
            for known in &stored {
                state.held.remove(&known.revision.id);
            }
            forget_wish(&mut state, name);
            if force && is_in_the_way(&state, name) {
                state.overwrite.insert(name.clone());
            }
            if state != before {
                released = true;
                state.failures = Failures::default();
                state.aside.clear();
                state.split = None;
                self.store.change_target(target, &state).await?;
            }
        }
        let nothing = || format!("{name}: nothing was held");
        Ok((!released).then(nothing).into_iter().collect())
    }

    fn targets_of(&self, name: &CertificateId) -> Result<&BTreeSet<TargetId>, NotAsked> {
        let Some(policy) = self.policy.certificates.get(name) else {
            let text = format!("the policy in force has no certificate `{name}`");
            return Err(NotAsked::Unknown(text));
        };
        if policy.targets.is_empty() {
            let text = format!("certificate {name} has no targets");
            return Err(NotAsked::Unknown(text));
        }
        Ok(&policy.targets)
    }

    /// The revisions of a certificate that can be put somewhere, newest first. The journal remembers more than are kept.
    async fn on_disk(&self, name: &CertificateId) -> Result<Vec<RevisionFacts>, StoreError> {
        let stored = self.store.revisions(name).await?;
        let materials = self.deployer.materials();
        Ok(stored
            .into_iter()
            .map(|known| known.revision)
            .filter(|facts| materials.revision_fault(name, &facts.id).is_none())
            .collect())
    }
}

fn choose<'a>(
    stored: &'a [RevisionFacts],
    live: Option<&RevisionId>,
    to: Option<&RevisionId>,
    now: Timestamp,
) -> Result<&'a RevisionFacts, String> {
    let goal = match (to, live) {
        (Some(id), _) => stored
            .iter()
            .find(|r| r.id == *id)
            .ok_or_else(|| format!("revision {id} is not here (any more); {}", kept(stored)))?,
        (None, Some(live)) => stored
            .iter()
            .skip_while(|r| r.id != *live)
            .nth(1)
            .ok_or_else(|| format!("no revision before the live one is kept; {}", kept(stored)))?,
        (None, None) => return Err("nothing is live there yet".to_owned()),
    };
    if goal.facts.not_after <= now {
        return Err(format!(
            "revision {} expired at {}; an expired certificate is never put back",
            goal.id, goal.facts.not_after
        ));
    }
    Ok(goal)
}

fn kept(stored: &[RevisionFacts]) -> String {
    if stored.is_empty() {
        return "none is kept".to_owned();
    }
    let all: Vec<String> = stored
        .iter()
        .map(|r| format!("{} (until {})", r.id, r.facts.not_after.date()))
        .collect();
    format!("kept are {}", all.join(", "))
}

/// Something that others left keeps ours away: a difference that was found, or what a rollout stumbled over.
fn is_in_the_way(state: &TargetState, name: &CertificateId) -> bool {
    let disk = state.drift.iter().flat_map(|drift| &drift.differences);
    let wire = state.wire.iter().flat_map(|wire| &wire.differences);
    let differs = disk.chain(wire).any(|found| {
        let whose = found.certificate.as_ref();
        whose.is_none_or(|whose| whose == name)
    });
    differs || state.failed.is_some() || state.aside.contains_key(name)
}
