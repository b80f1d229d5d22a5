//! The letters of the job `digest`.

use std::collections::BTreeSet;

use crate::engine::alerts::{due, wants_of};
use crate::engine::{Engine, EngineError};
use crate::model::{
    Channel, JobName, Letter, Policy, Post, Seconds, Severity, Snapshot, Timestamp,
};
use crate::notify;
use crate::plan::digest::{self, Facts};
use crate::plan::{Plan, jobs};
use crate::store::{Store, StoreError};
use crate::sys::{crash, host_name};

impl Engine {
    /// Queues a digest for everybody who wants one. The period that it is about is named by the last one, as the journal
    /// has it: a run that is repeated, since the process died before it was written down, queues nothing again.
    pub(crate) async fn queue_digest(
        &self,
        snapshot: &Snapshot,
        plan: &Plan,
        now: Timestamp,
    ) -> Result<(), EngineError> {
        let mut posts = Vec::new();
        for channel in self.policy.alerting.channels.values() {
            if !channel.digest {
                continue;
            }
            let tags = &channel.tags;
            let told = Some(channel);
            let letter = digest_letter(
                &self.policy,
                snapshot,
                plan,
                &*self.store,
                (told, tags),
                now,
            );
            let letter = letter.await?;
            posts.extend(channel.recipients().iter().map(|recipient| Post {
                channel: channel.id.clone(),
                recipient: recipient.clone(),
                letter: letter.clone(),
                due_at: due(channel, Severity::Notice, now),
            }));
        }
        self.store.queue_posts(&posts).await?;
        crash::point("digest.queued");
        Ok(())
    }
}

/// The digest of this moment, as `channel` tells it, or whoever is told everything.
///
/// # Errors
/// When the journal cannot be read.
pub async fn digest_letter(
    policy: &Policy,
    snapshot: &Snapshot,
    plan: &Plan,
    store: &dyn Store,
    (channel, tags): (Option<&Channel>, &BTreeSet<String>),
    now: Timestamp,
) -> Result<Letter, StoreError> {
    let last = store.job_run(JobName::Digest).await?;
    let since = last.map(|run| run.started_at);
    let from = since.filter(|since| *since <= now);
    let from = from.unwrap_or(now - FIRST);
    let mut facts = Facts {
        since,
        next: next(policy, snapshot, now),
        issued: store.issued(from, MOST).await?,
        rollouts: store.rolled_out(from, MOST).await?,
        ..Facts::default()
    };
    for alert in store.open_alerts().await? {
        let severity = severity(&alert.severity);
        let key = alert.key.split_once('/').unwrap_or((&alert.key, ""));
        if channel.is_none_or(|channel| wants_of(channel, key, severity, policy)) {
            facts.alerts.push((severity, alert.raised_at, alert.title));
        }
    }
    let (title, digest) = digest::digest(policy, snapshot, plan, &facts, tags, now);
    let period = since.unwrap_or(Timestamp(0));
    let way = channel.map_or("", |channel| channel.id.as_str());
    let from = (host_name(), way);
    Ok(notify::digest(
        (&from.0, from.1),
        title,
        digest,
        period,
        now,
    ))
}

fn next(policy: &Policy, snapshot: &Snapshot, now: Timestamp) -> Timestamp {
    let job = policy.jobs.get(&JobName::Digest);
    job.map_or(now + FIRST, |job| {
        jobs::next(JobName::Digest, job, Some(now), snapshot.host, now)
    })
}

/// As the journal writes it.
pub(crate) fn severity(code: &str) -> Severity {
    let mut all = Severity::ALL.into_iter();
    all.find(|severity| severity.code() == code)
        .unwrap_or(Severity::Warning)
}

/// Of the first digest, which follows none.
const FIRST: Seconds = Seconds::days(1);

/// Lines of one kind that are read; a digest shows fewer.
const MOST: u32 = 10_000;
