//! What is true at one moment, as far as it was observed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::model::{
    Cause, CertificateId, ChannelId, ChannelState, ClockFacts, Drift, EarlierRevision, Entitlement,
    ErrorClass, Fingerprint, HostSeed, Identity, IssuerId, JobName, JobRun, Observed, Order,
    OrderId, Outage, PushId, PushState, RemoteTrouble, RevisionFacts, RevisionId, RevocationReason,
    Rollout, RolloutId, Seconds, Shortage, Stale, Standing, TargetId, Timestamp, Unseen,
    Unsupplemented, WatchId, WatchState, Wire,
};

/// The planner's view of the world. May be stale: every action is checked again before it is carried out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// By certificate; one that the journal never saw is absent.
    pub certificates: BTreeMap<CertificateId, CertificateState>,
    /// By target; one that the journal never saw is absent.
    pub targets: BTreeMap<TargetId, TargetState>,
    /// Open orders.
    pub orders: BTreeMap<OrderId, Order>,
    /// Open rollouts.
    pub rollouts: BTreeMap<RolloutId, Rollout>,
    /// When orders were opened, by issuer, within the last hour before the latest of all these, in order.
    pub opened: BTreeMap<IssuerId, Vec<Timestamp>>,
    /// The last run of each job; one that never ran is absent.
    pub jobs: BTreeMap<JobName, JobRun>,
    /// Of this host.
    pub host: HostSeed,
    /// Certificates for which no order is worth its price: a disk that they are written to has no room.
    pub shortages: BTreeMap<CertificateId, Shortage>,
    /// File systems without room for one order and what it brings to its targets, as they were seen last.
    pub tight: Vec<Shortage>,
    /// How alerts leave the host, by channel; one without letters is absent.
    pub channels: BTreeMap<ChannelId, ChannelState>,
    /// When the host itself was last looked at; `None` where only the journal was read.
    pub checked_at: Option<Timestamp>,
    /// Issuers that answer nobody at present, as far as this process met it.
    pub outages: BTreeMap<IssuerId, Outage>,
    /// When each issuer last answered a check; one that never did is absent.
    pub answered: BTreeMap<IssuerId, Timestamp>,
    /// When what renewd itself relies on ends, by the last check.
    pub relied: BTreeMap<Relied, Timestamp>,
    /// What speaks for and against its clock.
    pub clock: ClockFacts,
    /// What was seen of what is watched; a table that was never looked at is absent.
    pub watches: BTreeMap<WatchId, WatchState>,
    /// Purchases of this journal within the last 30 days, by issuer: when each began. One that certainly was not made
    /// is not here; one that may have been is.
    pub purchases: BTreeMap<IssuerId, Vec<Timestamp>>,
    /// Issuers by account, each account called by the first of them; empty until purchases are counted so.
    pub accounts: BTreeMap<IssuerId, IssuerId>,
    /// Who the journal is; `None` before its first executor.
    pub identity: Option<Identity>,
    /// Why the policy that lies there is not in force, but an older one, where a daemon knows that.
    pub refused: Option<String>,
    /// Why nothing may be bought by this journal, if it may be a copy or too old.
    pub stale: Option<Stale>,
}

impl Snapshot {
    /// How the account of an issuer is called.
    #[must_use]
    pub fn account<'a>(&'a self, issuer: &'a IssuerId) -> &'a IssuerId {
        self.accounts.get(issuer).unwrap_or(issuer)
    }

    /// Purchases by issuer with those of every other issuer of the same account, as far as it is known who shares one.
    #[must_use]
    pub fn by_account(
        &self,
        made: BTreeMap<IssuerId, Vec<Timestamp>>,
    ) -> BTreeMap<IssuerId, Vec<Timestamp>> {
        let mut sums: BTreeMap<&IssuerId, Vec<Timestamp>> = BTreeMap::new();
        for (issuer, at) in &made {
            sums.entry(self.account(issuer)).or_default().extend(at);
        }
        for sum in sums.values_mut() {
            sum.sort_unstable();
        }
        let known = self.accounts.keys().chain(made.keys());
        let all = known.filter_map(|issuer| {
            let sum = sums.get(self.account(issuer))?;
            Some((issuer.clone(), sum.clone()))
        });
        all.collect()
    }

    /// One more order was opened.
    pub fn order_opened(&mut self, issuer: &IssuerId, at: Timestamp) {
        let all = self.opened.entry(issuer.clone()).or_default();
        all.push(at);
        all.sort();
        let latest = self.opened.values().filter_map(|all| all.last()).max();
        let latest = latest.copied().unwrap_or(at);
        self.opened.retain(|_, all| {
            all.retain(|at| at.until(latest) < Seconds::hours(1));
            !all.is_empty()
        });
    }
}

/// Something that renewd itself relies on and that ends.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Relied {
    /// The CA that an issuer signs with.
    Authority(IssuerId),
    /// The last of the roots by which an issuer is trusted.
    Roots(IssuerId),
    /// The last of the roots by which a way for alerts is trusted.
    ChannelRoots(ChannelId),
}

/// What is known of a certificate.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CertificateState {
    /// The revision issued last.
    pub newest: Option<RevisionFacts>,
    /// Who issued it; `None` before the first.
    pub issuer: Option<IssuerId>,
    /// Why the stored revision cannot be used, if it cannot.
    pub unusable: Option<String>,
    /// The last few revisions before the newest, latest first.
    pub earlier: Vec<EarlierRevision>,
    /// What a follower's account offered when it was last asked.
    pub offer: Option<Offer>,
    /// Digest of the certificate's policy under which it was asked; under another one it is asked anew.
    pub offered_under: Option<Fingerprint>,
    /// Of asking a follower's account, in a row.
    pub survey_failures: Failures,
    /// A person asked for a new revision.
    pub forced: bool,
    /// Of orders that were closed as failed, in a row.
    pub failures: Failures,
    /// The last order for `renewal-due` brought nothing that ends later.
    pub shortened: bool,
    /// What the issuer said of the newest revision when it was last asked, if that was trouble.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote: Option<RemoteTrouble>,
    /// Entitlements at SCM that may still bring certificates for it, the newest first; those that ended are dropped.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub entitlements: Vec<Entitlement>,
    /// The entitlement that its last order left unused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unused: Option<Unused>,
    /// Public keys that its orders applied with, or may have, for what was found deleted then: should that be untrue, what is
    /// issued still has its private one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gone: Vec<Fingerprint>,
    /// Names that its issuer did not add to the newest revision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unsupplemented: Option<Unsupplemented>,
    /// Names that its orders sent to be added to certificates, and that may come late.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unseen: Vec<Unseen>,
    /// What its orders left elsewhere for a person to clear away, the newest last.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left_behind: Vec<LeftBehind>,
    /// Where in the cloud it is, by place.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub pushes: BTreeMap<PushId, PushState>,
    /// A person asked for its revocation, or for that of earlier revisions; the newest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub revoking: Vec<Revoking>,
    /// Public keys whose private ones others may know: no further certificate is to have one, and nothing returns to one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub compromised: Vec<CompromisedKey>,
    /// The order that was fulfilled last: should the same reason stand again at once, the next one waits.
    pub fulfilled: Option<FulfilledOrder>,
}

impl CertificateState {
    /// What the issuer says of the newest revision, where it is not in order.
    #[must_use]
    pub fn trouble(&self) -> Option<&RemoteTrouble> {
        let newest = self.newest.as_ref()?;
        self.remote
            .as_ref()
            .filter(|trouble| trouble.revision == newest.id)
    }

    /// Whether the issuer took a revision back. Such a one is replaced at once, and nothing returns to it.
    #[must_use]
    pub fn is_revoked(&self, revision: &RevisionId) -> bool {
        let newest = self.trouble().is_some_and(|trouble| {
            trouble.revision == *revision && trouble.standing == Standing::Revoked
        });
        let mut earlier = self.earlier.iter();
        newest || earlier.any(|earlier| earlier.id == *revision && earlier.revoked)
    }

    /// Whether a person had a revision revoked whose key is this one: no further certificate is to have it.
    #[must_use]
    pub fn is_given_up(&self, key: &Fingerprint) -> bool {
        let mut asked = self.asked_to_revoke(key);
        asked.next().is_some() || self.is_compromised(key)
    }

    /// Whether others may know the private one of this key: nothing returns to it either.
    #[must_use]
    pub fn is_compromised(&self, key: &Fingerprint) -> bool {
        let mut asked = self.asked_to_revoke(key);
        asked.any(|one| one.reason == RevocationReason::KeyCompromise)
            || self.compromised.iter().any(|one| one.spki == *key)
    }

    fn asked_to_revoke(&self, key: &Fingerprint) -> impl Iterator<Item = &Revoking> {
        let asked = self.revoking.iter();
        asked.filter(move |one| one.by != RevokedBy::Policy && one.spki.as_ref() == Some(key))
    }

    /// End of validity of one of its revisions, where it is remembered.
    #[must_use]
    pub fn not_after(&self, revision: &RevisionId) -> Option<Timestamp> {
        match &self.newest {
            Some(newest) if newest.id == *revision => Some(newest.facts.not_after),
            Some(_) | None => self
                .earlier
                .iter()
                .find(|earlier| earlier.id == *revision)
                .map(|earlier| earlier.not_after),
        }
    }
}

/// A public key whose private one others may know, as a person said of a certificate that had it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompromisedKey {
    /// Which.
    pub spki: Fingerprint,
    /// When the last certificate ends that is known to have it.
    pub until: Timestamp,
}

/// What an order could not clear away, so that the next one was begun all the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftBehind {
    /// What, and why: for a person.
    pub what: String,
    /// When it was given up.
    pub at: Timestamp,
}

/// An entitlement that an order had, and ended without a certificate for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unused {
    /// Its id at SCM; empty where nobody knows what a purchase without an answer came to.
    pub reference: String,
    /// Of the order's key: the application may have been granted before it was withdrawn.
    #[serde(default)]
    pub spki: Option<Fingerprint>,
    /// When that order ended. A listing of soon after may be too old to show it.
    pub at: Timestamp,
}

/// Who wants a revision revoked, and so what is waited for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RevokedBy {
    /// A person: once the one that replaces it is live everywhere.
    #[default]
    Person,
    /// A person who cannot wait for that.
    PersonAtOnce,
    /// The policy, since it was replaced.
    Policy,
}

/// A revision that is to be revoked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revoking {
    /// Which.
    pub revision: RevisionId,
    /// The issuer's id of it.
    pub reference: String,
    /// Who issued it.
    pub issuer: IssuerId,
    /// Why.
    pub reason: RevocationReason,
    /// Not before.
    pub not_before: Timestamp,
    /// When it was asked for, or seen to be due.
    #[serde(default)]
    pub asked_at: Timestamp,
    /// Who wants it.
    #[serde(default)]
    pub by: RevokedBy,
    /// Of its public key: what replaces it must have another one.
    #[serde(default)]
    pub spki: Option<Fingerprint>,
    /// End of its validity, after which there is nothing to revoke; `None` in what was written before this was kept.
    #[serde(default)]
    pub until: Option<Timestamp>,
    /// In a row.
    #[serde(default)]
    pub failures: Failures,
}

/// What is remembered of an order that brought a revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FulfilledOrder {
    /// Code of the reason it was opened for.
    pub reason: String,
    /// When.
    pub at: Timestamp,
}

/// The newest certificate of the account that covers a follower's names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// When the account was asked.
    pub asked_at: Timestamp,
    /// The account's id of it; `None` when there was none.
    pub reference: Option<String>,
    /// When it was issued.
    pub issued_at: Option<Timestamp>,
}

/// What is known of a target.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TargetState {
    /// The set of the last rollout that was closed with its set in place; an open rollout does not change it.
    pub live: BTreeMap<CertificateId, RevisionId>,
    /// The generation `live` points at, by the journal.
    pub generation: Option<u64>,
    /// Digest of the target's policy that set was written with.
    pub policy: Option<Fingerprint>,
    /// When the deciding probes last saw it; `None` for never or for `probe = "none"`.
    pub proven_at: Option<Timestamp>,
    /// Certificates with a directory of their files that renewd, as a service, is kept from writing by the sandbox of its
    /// unit.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub unwritable: BTreeMap<CertificateId, PathBuf>,
    /// Since when its files have given no answer, if they do not; what is known of them is from before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub silent: Option<Timestamp>,
    /// What is not as it was committed, by the last check.
    pub drift: Option<Drift>,
    /// What its service does not serve as it should, by the last check.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wire: Option<Wire>,
    /// A person asked for our certificates here although somebody else installed newer ones; until the next rollout.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub overwrite: BTreeSet<CertificateId>,
    /// The live set was committed, and its service never showed it: nothing to return to.
    pub never_served: bool,
    /// When its service was told of a new set, within the last hour before the latest of these, in order; not of the
    /// old set on the way back.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reloads: Vec<Timestamp>,
    /// Of rollouts that were rolled back or abandoned, in a row.
    pub failures: Failures,
    /// The last of these; `None` once a rollout succeeded.
    pub failed: Option<FailedRollout>,
    /// Members that made a rollout of several fail: the rest goes without them, and each is tried again alone.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub aside: BTreeMap<CertificateId, SetAside>,
    /// A set of several that failed with nobody to blame, while the bad ones among them are looked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub split: Option<Split>,
    /// Revisions that a rollback by hand keeps off.
    pub held: BTreeSet<RevisionId>,
    /// A rollback asked for by hand: the set to go to.
    pub wanted: Option<BTreeMap<CertificateId, RevisionId>>,
    /// An undo could not be proven.
    pub undo_failed: Option<String>,
    /// The last look at addresses that decide nothing; `None` where there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed: Option<Observed>,
}

/// A rollout that did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedRollout {
    /// Which.
    pub rollout: RolloutId,
    /// The set that did not go in.
    pub revisions: BTreeMap<CertificateId, RevisionId>,
    /// How often this very set was rolled back, in a row; 0 when it never was committed.
    pub rolled_back: u32,
    /// Why.
    pub cause: Cause,
}

/// A member that a target's rollouts go without.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetAside {
    /// What made the rollout fail; a newer one is tried at once.
    pub revision: RevisionId,
    /// Of it, in a row, under the policy of the target that the last one names.
    pub failures: Failures,
    /// The last one will pass by itself and changed nothing for anybody, such as a full disk: tried without an end.
    #[serde(default)]
    pub harmless: bool,
}

/// A set that failed with nobody to blame, or everybody, in parts that go one after the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Split {
    /// Digest of the target's policy that it failed under; another one makes it whole again.
    pub policy: Fingerprint,
    /// What is still to be tried, the next one first; none is empty.
    pub parts: Vec<BTreeMap<CertificateId, RevisionId>>,
    /// How many more rollouts may fail before the search pauses; 0 while it does.
    pub left: u32,
    /// Pauses, in a row.
    pub pauses: Failures,
    /// Failures that blamed every member, since the last pause and while no part has gone in.
    #[serde(default)]
    pub doubts: u32,
    /// A part of it has gone in since the last pause: the service is not what fails.
    #[serde(default)]
    pub went: bool,
}

/// A step whose intent is written and whose outcome is not: it may or may not have happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started<Step> {
    /// Which.
    pub step: Step,
    /// When.
    pub at: Timestamp,
}

/// Failures in a row, of one thing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failures {
    /// How many.
    pub count: u32,
    /// The last one.
    pub last: Option<StepFailure>,
}

impl Failures {
    /// Counts one more.
    pub fn add(&mut self, failure: StepFailure) {
        self.count = self.count.saturating_add(1);
        self.last = Some(failure);
    }
}

/// One failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepFailure {
    /// When.
    pub at: Timestamp,
    /// What helps.
    pub class: ErrorClass,
    /// One line.
    pub message: String,
    /// Not before, where the remote side said so.
    pub retry_after: Option<Timestamp>,
    /// Digest of the policy under which it failed; another one clears the backoff.
    pub policy: Fingerprint,
}
