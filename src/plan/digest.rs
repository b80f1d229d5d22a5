//! The digest: what is wrong, what was done, what comes next, and how renewd itself is, in one letter.

use std::collections::BTreeSet;

use crate::model::{
    CertificateId, Digest, IssuerId, OrderMode, Policy, Section, Severity, Snapshot, TargetId,
    Timestamp,
};
use crate::plan::explain::counted;
use crate::plan::{Plan, Verdict, renewal};

/// What there is to tell beside the snapshot and its plan.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// When the last digest was made, if there was one.
    pub since: Option<Timestamp>,
    /// When the next one will be.
    pub next: Timestamp,
    /// What stands: how bad, since when, and the line of it.
    pub alerts: Vec<(Severity, Timestamp, String)>,
    /// How often a certificate was issued since, and when last.
    pub issued: Vec<(CertificateId, u32, Timestamp)>,
    /// Rollouts that ended since: where, when, and whether the new set is in place.
    pub rollouts: Vec<(TargetId, Timestamp, bool)>,
}

/// One line about all, and the rest in sections. Only of the certificates with one of these tags, and of their targets
/// and issuers; of all without tags.
#[must_use]
pub fn digest(
    policy: &Policy,
    snapshot: &Snapshot,
    plan: &Plan,
    facts: &Facts,
    tags: &BTreeSet<String>,
    now: Timestamp,
) -> (String, Digest) {
    let of = policy.certificates.iter();
    let ids: BTreeSet<&CertificateId> = of
        .filter(|(_, one)| tags.is_empty() || !one.tags.is_disjoint(tags))
        .map(|(id, _)| id)
        .collect();
    let targets: BTreeSet<&TargetId> = ids
        .iter()
        .filter_map(|id| policy.certificates.get(*id))
        .flat_map(|one| &one.targets)
        .collect();
    let sections = vec![
        counts(plan, snapshot, &ids, now),
        standing(facts),
        done(facts, snapshot, &ids, &targets),
        coming(policy, snapshot, facts, &ids, now),
        own(policy, snapshot, &ids),
    ];
    let wrong = match facts.alerts.len() {
        0 => "all is well".to_owned(),
        count => counted(count, "alert"),
    };
    let title = format!("digest: {}, {wrong}", counted(ids.len(), "certificate"));
    let digest = Digest {
        since: facts.since,
        sections,
    };
    (title, digest)
}

fn counts(
    plan: &Plan,
    snapshot: &Snapshot,
    ids: &BTreeSet<&CertificateId>,
    now: Timestamp,
) -> Section {
    let (mut healthy, mut act, mut wait, mut blocked) = (0, 0, 0, 0);
    for verdict in ids.iter().filter_map(|id| plan.verdicts.get(*id)) {
        let count = match verdict {
            Verdict::Healthy { .. } => &mut healthy,
            Verdict::Act(_) => &mut act,
            Verdict::Wait(_) => &mut wait,
            Verdict::Blocked(_) => &mut blocked,
        };
        *count += 1_usize;
    }
    let newest = |id: &&&CertificateId| snapshot.certificates.get(**id)?.newest.as_ref();
    let (mut none, mut expired) = (0_usize, 0_usize);
    for id in ids {
        match newest(&id) {
            None => none += 1,
            Some(newest) => expired += usize::from(newest.facts.not_after <= now),
        }
    }
    let all = [
        ("healthy", healthy),
        ("under way", act),
        ("waiting", wait),
        ("blocked: a person must act", blocked),
        ("expired", expired),
        ("without any certificate yet", none),
    ];
    let some = all
        .into_iter()
        .filter(|(what, n)| *n > 0 || *what == "healthy");
    Section::new(
        "Certificates",
        some.map(|(what, n)| format!("{n} {what}")).collect(),
    )
}

fn standing(facts: &Facts) -> Section {
    let mut alerts: Vec<_> = facts.alerts.iter().collect();
    alerts.sort_by_key(|(severity, since, title)| {
        (std::cmp::Reverse(*severity), *since, title.clone())
    });
    let line = |(severity, since, title): &(Severity, Timestamp, String)| {
        format!("{severity}: {title} (since {since})")
    };
    Section::new("What is wrong", alerts.into_iter().map(line).collect())
}

fn done(
    facts: &Facts,
    snapshot: &Snapshot,
    ids: &BTreeSet<&CertificateId>,
    targets: &BTreeSet<&TargetId>,
) -> Section {
    let mut lines = Vec::new();
    for (id, count, at) in facts.issued.iter().filter(|(id, ..)| ids.contains(id)) {
        let newest = snapshot
            .certificates
            .get(id)
            .and_then(|one| one.newest.as_ref());
        let until = newest.map_or(String::new(), |newest| {
            format!(", valid until {}", newest.facts.not_after)
        });
        let times = match count {
            1 => String::new(),
            count => format!("{count} times, last "),
        };
        lines.push(format!("{id}: issued {times}at {at}{until}"));
    }
    for (target, at, live) in facts
        .rollouts
        .iter()
        .filter(|(id, ..)| targets.contains(id))
    {
        let how = if *live {
            "rolled out"
        } else {
            "a rollout failed"
        };
        lines.push(format!("{target}: {how} at {at}"));
    }
    Section::new("Since the last digest", lines)
}

fn coming(
    policy: &Policy,
    snapshot: &Snapshot,
    facts: &Facts,
    ids: &BTreeSet<&CertificateId>,
    now: Timestamp,
) -> Section {
    let mut lines = Vec::new();
    for id in ids {
        let (Some(one), Some(state)) =
            (policy.certificates.get(*id), snapshot.certificates.get(*id))
        else {
            continue;
        };
        let Some(newest) = &state.newest else {
            continue;
        };
        let window = renewal::of(policy, one, state, newest);
        let end = window.not_after;
        if one.order == OrderMode::Auto && window.renew_at <= facts.next && end > now {
            let when = window.renew_at.max(now);
            lines.push((when, format!("{id}: renewal at {when}, valid until {end}")));
        } else if end > now && end <= facts.next {
            lines.push((
                end,
                format!("{id}: ends at {end}, and this host does not renew it"),
            ));
        }
    }
    lines.sort();
    Section::new(
        &format!("Due until {}", facts.next),
        lines.into_iter().map(|(_, line)| line).collect(),
    )
}

/// How renewd itself is: whether issuers answer, and letters leave.
fn own(policy: &Policy, snapshot: &Snapshot, ids: &BTreeSet<&CertificateId>) -> Section {
    let of = ids.iter().filter_map(|id| policy.certificates.get(*id));
    let issuers: BTreeSet<&IssuerId> = of.map(|one| &one.issuer).collect();
    let mut lines: Vec<String> = issuers
        .iter()
        .map(|id| match answered(snapshot, id) {
            Some(at) => format!("issuer {id}: answered last at {at}"),
            None => format!("issuer {id}: never answered yet"),
        })
        .collect();
    for (id, state) in &snapshot.channels {
        if policy.alerting.channels.contains_key(id) && state.longest_queue > 0 {
            let failing = state.failing_since.map_or(String::new(), |since| {
                format!(", in vain since {since}: {}", state.last)
            });
            let waiting = counted(usize::try_from(state.longest_queue).unwrap_or(0), "letter");
            lines.push(format!("{id}: {waiting} on the way{failing}"));
        }
    }
    Section::new("renewd itself", lines)
}

/// When an issuer is known to have answered last.
fn answered(snapshot: &Snapshot, issuer: &IssuerId) -> Option<Timestamp> {
    let of = snapshot.certificates.values();
    let of = of.filter(|state| state.issuer.as_ref() == Some(issuer));
    let issued = of
        .filter_map(|state| Some(state.newest.as_ref()?.issued_at))
        .max();
    issued.max(snapshot.answered.get(issuer).copied())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Seconds, TargetState};
    use crate::plan::testing;

    #[test]
    fn it_says_what_is_wrong_done_due_and_how_renewd_is() {
        let now = Timestamp(1_900_000_000);
        let issuer = testing::issuer();
        let mut policy = testing::policy();
        let mut snapshot = Snapshot::default();
        policy.issuers.insert(issuer.id.clone(), issuer.clone());
        snapshot
            .targets
            .insert(TargetId::new("t").unwrap(), TargetState::default());
        snapshot
            .answered
            .insert(issuer.id.clone(), now - Seconds(60));
        let plan = crate::plan::plan(&policy, &snapshot, now);
        let facts = Facts {
            since: None,
            next: now + Seconds::days(1),
            alerts: vec![
                (Severity::Notice, now, "b: good to know".to_owned()),
                (Severity::Critical, now, "a: gone".to_owned()),
            ],
            ..Facts::default()
        };
        let (title, told) = digest(&policy, &snapshot, &plan, &facts, &BTreeSet::new(), now);
        let count = policy.certificates.len();
        assert_eq!(
            title,
            format!("digest: {}, 2 alerts", counted(count, "certificate"))
        );
        let titles: Vec<&str> = told.sections.iter().map(|one| one.title.as_str()).collect();
        assert_eq!(
            titles[..3],
            ["Certificates", "What is wrong", "Since the last digest"]
        );
        let wrong = &told.sections[1].lines;
        assert!(wrong[0].starts_with("critical: a: gone (since ") && wrong.len() == 2);
        assert_eq!(told.sections[2].lines, Vec::<String>::new());
        // Of a team's certificates alone.
        let tags = BTreeSet::from(["nobody".to_owned()]);
        let (title, _) = digest(&policy, &snapshot, &plan, &Facts::default(), &tags, now);
        assert_eq!(title, "digest: 0 certificates, all is well");
    }

    #[test]
    fn a_section_has_an_end_however_much_there_is() {
        let section = Section::new("x", (0..1000).map(|n| n.to_string()).collect());
        assert_eq!((section.lines.len(), section.more), (50, 950));
    }
}
