//! Which revisions stay on disk, by count and by age.

use std::collections::BTreeSet;

use crate::model::{CertificateId, EarlierRevision, RevisionId, Seconds, Snapshot, Timestamp};

/// The revisions of a certificate that stay on disk: what somebody serves, or is to serve, whatever its age; the newest;
/// and of the few that the journal remembers before it those that ended no more than a month ago.
#[must_use]
pub fn referenced_revisions(
    snapshot: &Snapshot,
    certificate: &CertificateId,
    now: Timestamp,
) -> BTreeSet<RevisionId> {
    let mut found = BTreeSet::new();
    for target in snapshot.targets.values() {
        found.extend(target.live.get(certificate).cloned());
        let wanted = target.wanted.as_ref().and_then(|w| w.get(certificate));
        found.extend(wanted.cloned());
    }
    for rollout in snapshot.rollouts.values() {
        found.extend(rollout.revisions.get(certificate).cloned());
        found.extend(rollout.previous.get(certificate).cloned());
    }
    if let Some(state) = snapshot.certificates.get(certificate) {
        found.extend(state.newest.iter().map(|newest| newest.id.clone()));
        let earlier = state.earlier.iter();
        let fresh = earlier.filter(|earlier| !is_over(earlier, now));
        found.extend(fresh.map(|earlier| earlier.id.clone()));
    }
    found
}

/// Whether an earlier revision ended so long ago that nobody asks for it any more.
#[must_use]
pub fn is_over(earlier: &EarlierRevision, now: Timestamp) -> bool {
    earlier.not_after + KEPT_AFTER_END < now
}

/// What has expired is never put back; a month is for whoever has to find out what was served. Its key goes with it.
const KEPT_AFTER_END: Seconds = Seconds::days(30);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{CertificateState, TargetId, TargetState};

    #[test]
    fn an_earlier_revision_goes_by_its_age_unless_somebody_has_it() {
        let id = CertificateId::new("www").unwrap();
        let revision = |name: &str| RevisionId::new(name).unwrap();
        let end = Timestamp(1_000_000);
        let earlier = |name: &str| EarlierRevision {
            id: revision(name),
            serial: name.to_owned(),
            not_after: end,
            reference: String::new(),
            revoked: false,
        };
        let mut snapshot = Snapshot::default();
        let state = CertificateState {
            earlier: ["live", "wanted", "before", "idle"].map(earlier).to_vec(),
            ..CertificateState::default()
        };
        snapshot.certificates.insert(id.clone(), state);
        let set = |name: &str| [(id.clone(), revision(name))].into_iter().collect();
        let target = TargetState {
            live: set("live"),
            wanted: Some(set("wanted")),
            ..TargetState::default()
        };
        let web = TargetId::new("web").unwrap();
        snapshot.targets.insert(web, target);
        let kept = |now| referenced_revisions(&snapshot, &id, now);
        let all = ["live", "wanted", "before", "idle"].map(revision);
        assert_eq!(kept(end + KEPT_AFTER_END), all.into_iter().collect());
        let used = ["live", "wanted"].map(revision);
        let late = end + KEPT_AFTER_END + Seconds(1);
        assert_eq!(kept(late), used.into_iter().collect());
    }
}
