//! What issuers say of the certificates that they issued: read at each check.

use std::collections::{BTreeMap, BTreeSet};

use tokio::task::JoinSet;

use crate::engine::steps::Busy;
use crate::engine::{Engine, EngineError};
use crate::issuer::{IssuerError, Trouble};
use crate::model::{
    CertificateId, CertificateState, ErrorClass, IssuerId, RemoteTrouble, RevisionId, Seconds,
    Snapshot, Standing, Timestamp,
};
use crate::store::CertificateChange;
use crate::sys::systemd;

/// One revision to ask for.
struct Asked {
    certificate: CertificateId,
    revision: RevisionId,
    reference: String,
}

impl Engine {
    /// Asks each issuer for the newest revisions, and for those that are served still. One that does not answer is not
    /// asked further, and what was known stays: no answer never counts as revoked.
    ///
    /// # Errors
    /// When the journal cannot be written.
    pub async fn observe_issuers(&self, snapshot: &mut Snapshot) -> Result<(), EngineError> {
        self.observe_issuers_beside(snapshot, &Busy::default())
            .await
    }

    /// The same while steps are under way.
    pub(super) async fn observe_issuers_beside(
        &self,
        snapshot: &mut Snapshot,
        busy: &Busy,
    ) -> Result<(), EngineError> {
        let mut calls = JoinSet::new();
        for (id, asked) in self.to_be_asked(snapshot, busy) {
            let issuer = match self.issuers.get(&id) {
                Ok(issuer) => issuer,
                Err(error) => {
                    self.unknown(&id, &error);
                    continue;
                }
            };
            calls.spawn(async move {
                let mut answers = Vec::with_capacity(asked.len());
                for part in asked.chunks(PART) {
                    let references: Vec<String> =
                        part.iter().map(|one| one.reference.clone()).collect();
                    answers.extend(issuer.standings(&references).await);
                    systemd::alive();
                    if answers.last().is_some_and(Result::is_err) {
                        break;
                    }
                }
                (id, asked, answers)
            });
        }
        while let Some(done) = calls.join_next().await {
            let (id, asked, answers) = done.map_err(|error| EngineError::Bug(error.to_string()))?;
            if answers.iter().any(Result::is_ok) {
                let now = self.clock.now();
                self.store.answered(&id, now).await?;
                snapshot.answered.insert(id.clone(), now);
            }
            for (one, answer) in asked.iter().zip(answers) {
                match answer {
                    Ok(trouble) => self.note(one, trouble, snapshot).await?,
                    Err(error) => self.unknown(&id, &error),
                }
            }
        }
        self.refresh_entitlements(snapshot).await
    }

    fn unknown(&self, id: &IssuerId, error: &IssuerError) {
        if error.class == ErrorClass::Authentication {
            self.issuers.forget(id);
        }
        tracing::info!(issuer = %id, %error, "what it says of its certificates could not be read");
    }

    async fn note(
        &self,
        asked: &Asked,
        trouble: Option<Trouble>,
        snapshot: &mut Snapshot,
    ) -> Result<(), EngineError> {
        let id = &asked.certificate;
        let Some(state) = snapshot.certificates.get_mut(id) else {
            return Ok(());
        };
        let newest = state.newest.as_ref().map(|newest| &newest.id);
        if newest == Some(&asked.revision) {
            let remote = trouble.map(|(standing, detail)| RemoteTrouble {
                revision: asked.revision.clone(),
                standing,
                detail,
            });
            if remote == state.remote {
                return Ok(());
            }
            state.remote.clone_from(&remote);
            let change = CertificateChange::Remote(remote);
            self.store.change_certificate(id, change).await?;
            return Ok(());
        }
        let revoked = matches!(trouble, Some((Standing::Revoked, _)));
        let mut earlier = state.earlier.iter_mut();
        let earlier = earlier.find(|earlier| earlier.id == asked.revision && !earlier.revoked);
        if let (true, Some(earlier)) = (revoked, earlier) {
            earlier.revoked = true;
            let change = CertificateChange::Revoked(asked.revision.clone());
            self.store.change_certificate(id, change).await?;
        }
        Ok(())
    }

    /// Each issuer of the policy with what it is asked for: at most so many at one check, and others at the next.
    fn to_be_asked(&self, snapshot: &Snapshot, busy: &Busy) -> BTreeMap<IssuerId, Vec<Asked>> {
        let now = self.clock.now();
        let mut all: BTreeMap<IssuerId, Vec<Asked>> = BTreeMap::new();
        let certificates = self.policy.certificates.iter();
        for (id, policy) in certificates.filter(|(id, _)| !busy.certificates.contains(*id)) {
            let Some(state) = snapshot.certificates.get(id) else {
                continue;
            };
            let Some(issuer) = &state.issuer else {
                continue;
            };
            let live: BTreeSet<&RevisionId> = policy
                .targets
                .iter()
                .filter_map(|target| snapshot.targets.get(target)?.live.get(id))
                .collect();
            let asked = revisions(state, &live, now).map(|(revision, reference)| Asked {
                certificate: id.clone(),
                revision: revision.clone(),
                reference: reference.to_owned(),
            });
            all.entry(issuer.clone()).or_default().extend(asked);
        }
        for asked in all.values_mut() {
            turn(asked, now);
        }
        all.retain(|_, asked| !asked.is_empty());
        all
    }
}

/// The newest revision, and earlier ones that are live, where the issuer's id of them is known and they are valid.
fn revisions<'a>(
    state: &'a CertificateState,
    live: &'a BTreeSet<&RevisionId>,
    now: Timestamp,
) -> impl Iterator<Item = (&'a RevisionId, &'a str)> {
    let newest = state.newest.iter().map(|newest| {
        let end = newest.facts.not_after;
        (&newest.id, newest.reference.as_str(), end)
    });
    // What was taken back stays so.
    let earlier = state.earlier.iter().filter(|earlier| !earlier.revoked);
    let earlier = earlier
        .filter(|earlier| live.contains(&earlier.id))
        .map(|earlier| (&earlier.id, earlier.reference.as_str(), earlier.not_after));
    newest
        .chain(earlier)
        .filter(move |(_, reference, end)| !reference.is_empty() && *end > now)
        .map(|(revision, reference, _)| (revision, reference))
}

/// Leaves those whose turn it is: by the time, so that nothing needs to be remembered.
fn turn(asked: &mut Vec<Asked>, now: Timestamp) {
    let count = asked.len();
    if count <= MOST_ASKED {
        return;
    }
    let turns = i64::try_from(count.div_ceil(MOST_ASKED)).unwrap_or(i64::MAX);
    let hour = now.0.div_euclid(Seconds::hours(1).0);
    let at = usize::try_from(hour.rem_euclid(turns)).unwrap_or(0);
    asked.drain(..at * MOST_ASKED);
    asked.truncate(MOST_ASKED);
}

/// Between two signs of life to systemd.
const PART: usize = 20;
/// Of one issuer at one check; each is a request.
const MOST_ASKED: usize = 200;
