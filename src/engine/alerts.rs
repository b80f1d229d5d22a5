//! Raises what the plan says stands, resolves what stands no more, and queues the letters about both.

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::digest::severity;
use crate::engine::progress::Progress;
use crate::engine::{Engine, EngineError};
use crate::model::{
    About, Alert, AlertKey, CertificateId, CertificatePolicy, Channel, Concerned, Occasion, Policy,
    Post, Severity, Snapshot, TargetId, Timestamp,
};
use crate::notify;
use crate::plan::Plan;
use crate::store::{StoredAlert, Told};
use crate::sys::{crash, host_name};

impl Engine {
    /// Compares the plan's standing alerts with the journal's: the same key is told once until it is over, or worse.
    pub(crate) async fn tell_alerts(
        &self,
        plan: &Plan,
        snapshot: &Snapshot,
        now: Timestamp,
    ) -> Result<(), EngineError> {
        let known = self.store.open_alerts().await?;
        if plan.alerts.is_empty() && known.is_empty() {
            return Ok(());
        }
        let told = self.store.told().await?;
        let known: BTreeMap<String, StoredAlert> = known
            .into_iter()
            .map(|alert| (alert.key.clone(), alert))
            .collect();
        for (key, alert) in &plan.alerts {
            let before = known.get(key.as_str());
            let raised_at = before.map_or(now, |known| known.raised_at);
            // It does not become better by half: a step that was reached stays until all is over.
            let step = before.map_or(alert.step, |known| known.step.max(alert.step));
            let posts = self.posts(alert, snapshot, &told, (raised_at, step, now));
            let same = before.is_some_and(|one| {
                one.title == alert.title && one.text == alert.text && one.step == step
            });
            if same && posts.is_empty() {
                continue;
            }
            let stored = StoredAlert {
                key: key.to_string(),
                severity: alert.severity.to_string(),
                title: alert.title.clone(),
                text: alert.text.clone(),
                step,
                raised_at,
            };
            self.store.raise_alert(&stored, &posts).await?;
            crash::point("alert.raised");
        }
        self.deliver_alerts(now).await?;
        if plan.doubt.is_some() {
            return Ok(());
        }
        for over in known.values() {
            let mut standing = plan.alerts.keys().chain(&plan.covered);
            if standing.any(|key| key.as_str() == over.key) {
                continue;
            }
            let posts = self.posts_over(over, snapshot, &told, now);
            if self.store.resolve_alert(&over.key, now, &posts).await? {
                crash::point("alert.resolved");
                let title = over.title.clone();
                let key = over.key.clone();
                (self.progress)(Progress::Resolved { key, title });
            }
        }
        Ok(())
    }

    /// Tells what nobody was told yet, also what an earlier process raised and was killed before it could say it.
    async fn deliver_alerts(&self, now: Timestamp) -> Result<(), EngineError> {
        for alert in self.store.undelivered_alerts().await? {
            (self.progress)(Progress::Alert {
                key: alert.key.clone(),
                severity: alert.severity,
                title: alert.title,
                text: alert.text,
            });
            crash::point("alert.told");
            // Standard error or the log cannot fail; whoever else is told has letters in the outbox.
            self.store.alert_delivered(&alert.key, now).await?;
        }
        Ok(())
    }

    /// Letters for everybody who should know of a standing alert and was not told of it, or of less.
    fn posts(
        &self,
        alert: &Alert,
        snapshot: &Snapshot,
        told: &Told,
        (raised_at, step, now): (Timestamp, u32, Timestamp),
    ) -> Vec<Post> {
        let told = told.get(alert.key.as_str());
        let about = about(&self.policy, &alert.key);
        let mut posts = Vec::new();
        for channel in self.policy.alerting.channels.values() {
            if !wants(channel, alert, &about, &self.policy) {
                continue;
            }
            for recipient in channel.recipients() {
                let key = (channel.id.clone(), recipient.clone());
                let known = told.and_then(|told| told.get(&key));
                if known.is_some_and(|known| *known >= step) {
                    continue;
                }
                let occasion = Occasion::Raised(step);
                let names = concerned(&about, snapshot);
                let when = (occasion, now, known.is_none());
                let letter = notify::letter(&host_name(), alert, names, raised_at, when);
                posts.push(Post {
                    channel: channel.id.clone(),
                    recipient: recipient.clone(),
                    letter,
                    due_at: due(channel, alert.severity, now),
                });
            }
        }
        posts
    }

    /// Letters for everybody who was told of an alert and is in the policy still, now that it is over.
    fn posts_over(
        &self,
        over: &StoredAlert,
        snapshot: &Snapshot,
        told: &Told,
        now: Timestamp,
    ) -> Vec<Post> {
        let Some(told) = told.get(&over.key) else {
            return Vec::new();
        };
        let severity = severity(&over.severity);
        let (kind, subject) = over.key.split_once('/').unwrap_or((&over.key, ""));
        let alert = Alert {
            key: AlertKey::new(kind, subject),
            severity,
            step: over.step,
            title: over.title.clone(),
            text: String::new(),
        };
        let names = concerned(&about(&self.policy, &alert.key), snapshot);
        let when = (Occasion::Over, now, false);
        let letter = notify::letter(&host_name(), &alert, names, over.raised_at, when);
        let channels = &self.policy.alerting.channels;
        told.keys()
            .filter_map(|(channel, recipient)| {
                let channel = channels.get(channel)?;
                let known = channel.recipients().contains(recipient);
                known.then(|| Post {
                    channel: channel.id.clone(),
                    recipient: recipient.clone(),
                    letter: letter.clone(),
                    due_at: due(channel, severity, now),
                })
            })
            .collect()
    }
}

/// The certificates that an alert is about: its subject is one, or a target that some are on, or their issuer. What is
/// about this host, a way for alerts or something that is watched is about none, whatever that is called.
fn about(policy: &Policy, key: &AlertKey) -> BTreeSet<CertificateId> {
    let subject = key.subject();
    let all = |wanted: &dyn Fn(&CertificatePolicy) -> bool| {
        let mine = policy.certificates.iter().filter(|(_, one)| wanted(one));
        mine.map(|(id, _)| id.clone()).collect()
    };
    // Of one certificate on one target.
    let one = subject.rsplit_once('/').map_or(subject, |(_, one)| one);
    match key.about() {
        Some(About::Issuer) => all(&|one| one.issuer.as_str() == subject),
        Some(About::Target) if !subject.contains('/') => match TargetId::new(subject) {
            Ok(target) => all(&|one| one.targets.contains(&target)),
            Err(_) => BTreeSet::new(),
        },
        Some(About::Certificate | About::Target) => {
            let known = policy.certificates.get_key_value(one);
            known.into_iter().map(|(id, _)| id.clone()).collect()
        }
        Some(About::Watch | About::Channel | About::Host) | None => BTreeSet::new(),
    }
}

fn wants(
    channel: &Channel,
    alert: &Alert,
    about: &BTreeSet<CertificateId>,
    policy: &Policy,
) -> bool {
    if alert.severity < channel.least {
        return false;
    }
    // A way that is broken is no way to say so.
    if alert.key.is_about_channels() && alert.key.subject() == channel.id.as_str() {
        return false;
    }
    let watches = policy.watches.iter();
    let mut watched = watches.filter(|(id, _)| alert.key.watch() == Some(id.as_str()));
    if let Some((_, watch)) = watched.next() {
        return channel.tags.is_empty() || !watch.tags.is_disjoint(&channel.tags);
    }
    if channel.tags.is_empty() || about.is_empty() {
        return true;
    }
    let mut certificates = about.iter().filter_map(|id| policy.certificates.get(id));
    certificates.any(|certificate| !certificate.tags.is_disjoint(&channel.tags))
}

fn concerned(about: &BTreeSet<CertificateId>, snapshot: &Snapshot) -> Vec<Concerned> {
    let end = |id| {
        let newest = snapshot.certificates.get(id)?.newest.as_ref()?;
        Some(newest.facts.not_after)
    };
    about
        .iter()
        .map(|id| Concerned {
            name: id.to_string(),
            not_after: end(id),
        })
        .collect()
}

/// Whether a digest by this way has an alert, by kind and subject of its key.
pub(crate) fn wants_of(
    channel: &Channel,
    (kind, subject): (&str, &str),
    severity: Severity,
    policy: &Policy,
) -> bool {
    let alert = Alert {
        key: AlertKey::new(kind, subject),
        severity,
        step: 0,
        title: String::new(),
        text: String::new(),
    };
    wants(channel, &alert, &about(policy, &alert.key), policy)
}

/// When a letter leaves at the earliest.
pub(crate) fn due(channel: &Channel, severity: Severity, now: Timestamp) -> Timestamp {
    match &channel.quiet {
        Some(quiet) if severity < Severity::Critical => quiet.end(now).unwrap_or(now),
        _ => now,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::testing;

    #[test]
    fn an_alert_about_no_certificate_is_about_none_whatever_that_is_called() {
        let mut policy = testing::policy();
        let mut add = |name: &str, target: &str| {
            let mut certificate = testing::certificate(name);
            certificate.targets = BTreeSet::from([TargetId::new(target).unwrap()]);
            policy
                .certificates
                .insert(certificate.id.clone(), certificate);
        };
        add("shop", "web");
        // A certificate, and a target with it, for each word that is a subject of something else.
        for word in ["host", "ops", "www", "web"] {
            add(word, "ops");
        }
        let of = |kind: &str, subject: &str| -> Vec<String> {
            let found = about(&policy, &AlertKey::new(kind, subject));
            found.iter().map(ToString::to_string).collect()
        };
        for (kind, subject) in [
            ("clock", "host"),
            ("agent-was-down", "host"),
            ("no-space", "/srv/www"),
            ("alerts-stuck", "ops"),
            ("alerts-refused", "ops"),
            ("channel-expiring", "ops"),
            ("watched-more", "www"),
            ("watched-expiring", "mail /etc/ssl/www"),
        ] {
            assert_eq!(of(kind, subject), Vec::<String>::new(), "{kind}/{subject}");
        }
        assert_eq!(of("expiring", "host"), ["host"]);
        // One that is called as a target is no part of it.
        assert_eq!(of("rolled-back", "web"), ["shop"]);
        assert_eq!(of("expiring", "web"), ["web"]);
        assert_eq!(of("set-aside", "web/ops"), ["ops"]);
        assert_eq!(of("issuer-failing", "lab").len(), 5);
    }
}
