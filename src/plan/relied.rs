//! What renewd itself relies on and what ends: told at the steps of `alert_days`, until something else is there.

use crate::model::{
    AlertKey, IssuerKind, IssuerPolicy, Policy, Relied, Seconds, Severity, Snapshot, Timestamp, Way,
};
use crate::plan::alerts;
use crate::plan::draft::Draft;

/// What stands for the credentials of issuers, for their CAs, and for what is trusted.
pub(crate) fn alerts(policy: &Policy, snapshot: &Snapshot, now: Timestamp, draft: &mut Draft) {
    let end_of = |relied: Relied| snapshot.relied.get(&relied).copied();
    let mut tell = |kind: &str,
                    name: &str,
                    (end, early): (Timestamp, Option<Timestamp>),
                    what: &str,
                    help: String| {
        let usual = Seconds::days(USUAL);
        let mut steps: Vec<Timestamp> =
            alerts::moments(end, usual, &policy.alerting.days).collect();
        steps.extend(early);
        steps.push(end);
        steps.iter().for_each(|at| draft.wake(*at));
        let step = steps.iter().filter(|at| **at <= now).count();
        if step == 0 {
            return;
        }
        let (severity, verb) = if end <= now {
            (Severity::Critical, "ended")
        } else {
            (Severity::Warning, "ends")
        };
        let step = u32::try_from(step).unwrap_or(u32::MAX);
        draft.alert_step(
            severity,
            (kind, step),
            name,
            format!("{name}: {what} {verb} at {end}"),
            help,
        );
    };
    for (id, issuer) in &policy.issuers {
        let name = id.as_str();
        if let Some(end) = issuer.credentials_expire {
            let help = format!(
                "Write new ones where the policy says, and their end into `credentials_expire` of [issuer.{}.{id}]; `systemctl reload renewd` takes them.",
                kind(issuer)
            );
            tell(
                AlertKey::ENDING,
                name,
                (end, None),
                "what renewd is known by to the issuer",
                help,
            );
        }
        if issuer.access.roots.is_some()
            && let Some(end) = end_of(Relied::Roots(id.clone()))
        {
            let help = format!(
                "Behind that nothing of the issuer is believed. Put the new ones into the file that `roots` of [issuer.{}.{id}] names.",
                kind(issuer)
            );
            tell(
                AlertKey::ROOTS,
                name,
                (end, None),
                "the last root that the issuer is trusted by",
                help,
            );
        }
        if let Some(end) = end_of(Relied::Authority(id.clone())) {
            // What it issues ends no later: from then on renewals are shorter and shorter.
            let of = policy.certificates.values().filter(|one| one.issuer == *id);
            let longest = of.map(|one| one.validity).max();
            let early = longest.map(|longest| end - longest);
            let help = "What it issues ends no later, so renewals become shorter from now on. Let the CA be renewed, or name another one in `ca` of the issuer.".to_owned();
            tell(
                AlertKey::AUTHORITY,
                name,
                (end, early),
                "the CA that signs",
                help,
            );
        }
    }
    for (id, channel) in &policy.alerting.channels {
        let roots = match &channel.way {
            Way::Email(email) => email.roots(),
            Way::Webhook(hook) => hook.roots.as_deref(),
        };
        if roots.is_some()
            && let Some(end) = end_of(Relied::ChannelRoots(id.clone()))
        {
            let help = format!(
                "Behind that no alert leaves by it. Put the new ones into the file that its `roots` names, and try it: `renewd alert test {id}`."
            );
            tell(
                "channel-expiring",
                id.as_str(),
                (end, None),
                "the last root that this way for alerts is trusted by",
                help,
            );
        }
    }
}

fn kind(issuer: &IssuerPolicy) -> &'static str {
    match issuer.kind {
        IssuerKind::Pca(_) => "pca",
        IssuerKind::Scm(_) => "scm",
    }
}

/// Days: for which `alert_days` are meant.
const USUAL: i64 = 90;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::testing;

    #[test]
    fn what_ends_is_told_at_each_step_and_no_more_when_something_else_is_there() {
        let now = Timestamp(1_900_000_000);
        let mut issuer = testing::issuer();
        issuer.credentials_expire = Some(now + Seconds::days(10));
        issuer.access.roots = Some("/etc/roots.pem".into());
        let mut policy = testing::policy();
        policy.issuers.insert(issuer.id.clone(), issuer.clone());
        let mut snapshot = Snapshot::default();
        let told = |policy: &Policy, snapshot: &Snapshot, now: Timestamp| {
            let mut draft = Draft::new(now);
            alerts(policy, snapshot, now, &mut draft);
            let plan = draft.finish(Default::default());
            let told = plan.alerts.values();
            told.map(|one| (one.key.to_string(), one.severity, one.step))
                .collect::<Vec<_>>()
        };
        let key = |kind: &str| format!("{kind}/{}", issuer.id);
        let ending = |severity, step| vec![(key("credentials-expiring"), severity, step)];
        // 30 and 14 days before are past.
        assert_eq!(told(&policy, &snapshot, now), ending(Severity::Warning, 2));
        let gone = now + Seconds::days(10);
        assert_eq!(
            told(&policy, &snapshot, gone),
            ending(Severity::Critical, 6)
        );
        policy
            .issuers
            .get_mut(&issuer.id)
            .unwrap()
            .credentials_expire = None;
        assert_eq!(told(&policy, &snapshot, gone), []);

        for (relied, kind) in [
            (Relied::Roots(issuer.id.clone()), "roots-expiring"),
            (Relied::Authority(issuer.id.clone()), "issuer-expiring"),
        ] {
            snapshot
                .relied
                .insert(relied.clone(), now + Seconds::days(1000));
            assert_eq!(told(&policy, &snapshot, now), [], "{kind}");
            snapshot
                .relied
                .insert(relied.clone(), now + Seconds::days(2));
            assert!(
                told(&policy, &snapshot, now)
                    .iter()
                    .any(|one| one.0 == key(kind)),
                "{kind}"
            );
            snapshot.relied.remove(&relied);
        }
    }
}
