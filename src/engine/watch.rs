//! Looks at what is watched and not managed, as runs of the jobs `watch` (files and hosts) and `check` (accounts).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::engine::hanging::{self, Subject};
use crate::engine::{Engine, EngineError};
use crate::model::{
    Snapshot, Timestamp, WatchId, WatchPolicy, WatchState, WatchTrouble, WatchTroubleKind, Watched,
    WatchedPlace,
};
use crate::sys::systemd;
use crate::watch::{self, Files, Host};

/// What one look brought.
enum Seen {
    Files(Files),
    /// Nothing that these patterns mean gives an answer.
    Silent(Vec<String>),
    Host(String, WatchedPlace),
}

impl Engine {
    /// Every file and every host of the policy, a few at a time, each with its own time-out; forgets what left the policy.
    ///
    /// # Errors
    /// When the journal cannot be written.
    pub(super) async fn look_at_watched(&self, snapshot: &mut Snapshot) -> Result<(), EngineError> {
        self.forget_watches(snapshot).await?;
        let now = self.clock.now();
        let end = Instant::now() + LONGEST_LOOK;
        let mut states: BTreeMap<WatchId, WatchState> = BTreeMap::new();
        let mut waiting = self.looks(snapshot, &mut states, now).into_iter();
        let mut running = JoinSet::new();
        loop {
            while running.len() < AT_ONCE
                && Instant::now() < end
                && !self.stop.load(Ordering::SeqCst)
                && let Some((id, look)) = waiting.next()
            {
                running.spawn(async move { (id, look.await) });
            }
            let Some(joined) = running.join_next().await else {
                break;
            };
            systemd::alive();
            let (id, seen) = joined.map_err(|error| EngineError::Bug(error.to_string()))?;
            if let Some(state) = states.get_mut(&id) {
                take(state, seen);
            }
        }
        if self.stop.load(Ordering::SeqCst) {
            return Ok(());
        }
        // What could not be asked within the time keeps what was seen before.
        for (id, _) in waiting {
            if let Some(state) = states.get_mut(&id) {
                state.left += 1;
            }
        }
        for (id, mut state) in states {
            // What was not reached comes first at the next look.
            if state.left == 0 {
                state.looked_at = Some(now);
            } else {
                tracing::warn!(watch = %id, left = state.left, "there was more to look at than there was time");
            }
            self.store.watch_seen(&id, Some(&state)).await?;
            snapshot.watches.insert(id, state);
        }
        Ok(())
    }

    /// What left the policy is forgotten, with its alerts.
    pub(super) async fn forget_watches(&self, snapshot: &mut Snapshot) -> Result<(), EngineError> {
        let known = &self.policy.watches;
        let gone: Vec<WatchId> = snapshot
            .watches
            .keys()
            .filter(|id| !known.contains_key(*id))
            .cloned()
            .collect();
        for id in gone {
            self.store.watch_seen(&id, None).await?;
            snapshot.watches.remove(&id);
        }
        Ok(())
    }

    /// One look for each table of files and each name at a host, those that were looked at longest ago first; each table
    /// gets its new state.
    fn looks(
        &self,
        snapshot: &Snapshot,
        states: &mut BTreeMap<WatchId, WatchState>,
        now: Timestamp,
    ) -> Vec<(WatchId, Look)> {
        let mut watches: Vec<&WatchPolicy> = self.policy.watches.values().collect();
        watches.sort_by_key(|watch| snapshot.watches.get(&watch.id).and_then(|s| s.looked_at));
        let mut looks: Vec<(WatchId, Look)> = Vec::new();
        for watch in watches {
            let before = fresh(watch, snapshot.watches.get(&watch.id));
            let id = &watch.id;
            match &watch.what {
                Watched::Account { .. } => continue,
                Watched::Files { paths, password } => {
                    looks.push((
                        id.clone(),
                        self.files_look(id, (paths.clone(), password.as_ref()), &before, now),
                    ));
                }
                Watched::Host { names, .. } => {
                    for at in 0..names.len() {
                        looks.push((id.clone(), host_look(watch, at, &before, now)));
                    }
                }
            }
            let mut state = before;
            state.left = 0;
            states.insert(id.clone(), state);
        }
        looks
    }

    fn files_look(
        &self,
        id: &WatchId,
        (paths, password): (Vec<String>, Option<&crate::model::SecretRef>),
        before: &WatchState,
        now: Timestamp,
    ) -> Look {
        let (places, resolve) = (before.places.clone(), Arc::clone(self.issuers.resolve()));
        let password = password.cloned();
        let subject = Subject::Watch(id.clone(), paths.clone());
        let patterns = paths.clone();
        Box::pin(async move {
            let read = hanging::read(subject, FILES_TIMEOUT, move |_| {
                let secret = password.map(|reference| {
                    resolve(&reference).map_err(|why| format!("secret {reference}: {why}"))
                });
                watch::files(&paths, &secret.transpose(), &places, now)
            });
            match read.await {
                Some(files) => Seen::Files(files),
                None => Seen::Silent(patterns),
            }
        })
    }
}

type Look = std::pin::Pin<Box<dyn Future<Output = Seen> + Send>>;

fn host_look(watch: &WatchPolicy, at: usize, before: &WatchState, now: Timestamp) -> Look {
    let what = watch.what.clone();
    let places = before.places.clone();
    Box::pin(async move {
        let Watched::Host {
            connect,
            names,
            prelude,
            roots,
            timeout,
        } = &what
        else {
            return Seen::Silent(Vec::new());
        };
        let place = if names.len() == 1 {
            connect.clone()
        } else {
            format!("{connect} {}", names[at])
        };
        let asked = Host {
            connect,
            name: &names[at],
            prelude: *prelude,
            roots: roots.as_deref(),
            timeout: timeout.to_std(),
        };
        let seen = watch::host(&asked, places.get(&place), now).await;
        Seen::Host(place, seen)
    })
}

fn take(state: &mut WatchState, seen: Seen) {
    match seen {
        Seen::Host(place, seen) => drop(state.places.insert(place, seen)),
        Seen::Files(files) => {
            state.places = files.places;
            state.left += files.left;
        }
        Seen::Silent(patterns) => {
            if state.places.is_empty() {
                // Nobody knows yet which files there are.
                let unknown = patterns
                    .into_iter()
                    .map(|one| (one, WatchedPlace::default()));
                state.places.extend(unknown);
            }
            for place in state.places.values_mut() {
                place.failures = place.failures.saturating_add(1);
                place.trouble = Some(WatchTrouble {
                    kind: WatchTroubleKind::Unreadable,
                    detail: format!("nothing could be read within {} s", FILES_TIMEOUT.as_secs()),
                });
            }
        }
    }
}

/// What was seen by this very policy, else nothing.
pub(super) fn fresh(watch: &WatchPolicy, before: Option<&WatchState>) -> WatchState {
    let same = before.filter(|state| state.policy == Some(watch.digest));
    WatchState {
        policy: Some(watch.digest),
        ..same.cloned().unwrap_or_default()
    }
}

/// Side by side; none waits for another.
const AT_ONCE: usize = 16;
/// Of all looks together; what is under way then still ends by its own time-out.
const LONGEST_LOOK: Duration = Duration::from_secs(60);
/// For all files of a table.
const FILES_TIMEOUT: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hangs_before_anything_was_seen_is_told_by_its_patterns() {
        let silent = || Seen::Silent(vec!["/nfs/*.pem".to_owned(), "/nfs/a.jks".to_owned()]);
        let mut state = WatchState::default();
        take(&mut state, silent());
        take(&mut state, silent());
        let places: Vec<&str> = state.places.keys().map(String::as_str).collect();
        assert_eq!(places, ["/nfs/*.pem", "/nfs/a.jks"]);
        for place in state.places.values() {
            let trouble = place.trouble.as_ref().unwrap();
            assert_eq!(trouble.kind, WatchTroubleKind::Unreadable);
            assert_eq!(place.failures, 2);
        }
        // Once they answer, the files stand in their place.
        let files = Files {
            places: BTreeMap::from([("/nfs/b.pem".to_owned(), WatchedPlace::default())]),
            left: 0,
        };
        take(&mut state, Seen::Files(files));
        assert_eq!(state.places.keys().collect::<Vec<_>>(), ["/nfs/b.pem"]);
    }
}
