//! What is one alert for many certificates: an issuer that refuses or fails them all, a way by which no alert leaves the
//! host, and a time in which nothing was done.
//!
//! Decided from the journal alone, so that a restart neither ends such an alert nor raises it again.

use std::collections::BTreeMap;

use crate::model::{
    AlertKey, CertificateId, ErrorClass, IssuerId, LONGEST_QUEUE, Policy, Seconds, Severity,
    Snapshot, Timestamp,
};
use crate::plan::draft::{Draft, Met};
use crate::plan::{alerts, jobs, renewal};

/// One alert for each issuer that refuses the credentials, or fails for several, instead of one for each certificate.
pub(crate) fn issuers(policy: &Policy, snapshot: &Snapshot, draft: &mut Draft) {
    let met = std::mem::take(&mut draft.met);
    let mut by_issuer: BTreeMap<&IssuerId, Vec<&Met>> = BTreeMap::new();
    for one in &met {
        by_issuer.entry(&one.issuer).or_default().push(one);
    }
    for (issuer, met) in by_issuer {
        let answered = answered(policy, snapshot, issuer);
        let (since, before): (Vec<&Met>, Vec<&Met>) = met
            .into_iter()
            .filter(|one| kind(one.failure.class).is_some())
            .partition(|one| answered.is_none_or(|at| one.failure.at >= at));
        // It has answered another one meanwhile; the next attempt of this one says whether it is alone.
        for one in before {
            draft.cover("renewal-failing", one.certificate.as_str());
        }
        for wanted in [AlertKey::CREDENTIALS, AlertKey::ISSUER] {
            let of = since.iter().copied();
            let of: Vec<&Met> = of
                .filter(|one| kind(one.failure.class) == Some(wanted))
                .collect();
            tell(issuer, wanted, &of, draft);
        }
    }
}

/// When the issuer is known to have issued something last.
fn answered(policy: &Policy, snapshot: &Snapshot, issuer: &IssuerId) -> Option<Timestamp> {
    let of = policy.certificates.iter();
    let of = of.filter(|(_, certificate)| certificate.issuer == *issuer);
    let newest = of.filter_map(|(id, _)| snapshot.certificates.get(id)?.newest.as_ref());
    newest.map(|newest| newest.issued_at).max()
}

/// Which alert speaks for it; `None` for what is about one certificate.
const fn kind(class: ErrorClass) -> Option<&'static str> {
    match class {
        ErrorClass::Authentication => Some(AlertKey::CREDENTIALS),
        ErrorClass::Transient | ErrorClass::RateLimited => Some(AlertKey::ISSUER),
        ErrorClass::Rejected | ErrorClass::Configuration | ErrorClass::Bug => None,
    }
}

fn tell(issuer: &IssuerId, kind: &str, met: &[&Met], draft: &mut Draft) {
    let count = met.iter().map(|one| one.count).max().unwrap_or(0);
    let refused = kind == AlertKey::CREDENTIALS;
    // What may pass by itself, or be one certificate's own matter, is not told of the issuer.
    let Some(first) = met.first() else {
        return;
    };
    if !refused && (met.len() < SEVERAL || count < FAILURES) {
        return;
    }
    for one in met {
        draft.cover("renewal-failing", one.certificate.as_str());
    }
    let last = met.iter().max_by_key(|one| one.failure.at);
    let message = last.map_or("", |last| last.failure.message.as_str());
    let (title, help) = if refused {
        (
            format!("{issuer}: the issuer refuses the credentials: {message}"),
            format!(
                "Check the issuer's credentials and what they may do, then `renewd renew {}`. They are tried again by themselves, at growing intervals.",
                first.certificate
            ),
        )
    } else {
        (
            format!("{issuer}: the issuer fails for several certificates: {message}"),
            "It is asked again by itself, at growing intervals. If it goes on, look at the network and at the issuer.".to_owned(),
        )
    };
    let names: Vec<&CertificateId> = met.iter().map(|one| &one.certificate).collect();
    let text = format!("{}{} {help}", waiting(&names), first_end(met));
    draft.alert_step(
        Severity::Warning,
        (kind, alerts::step(count)),
        issuer.as_str(),
        title,
        text,
    );
}

/// Such as `a, b and 3 more wait for it.`
fn waiting(names: &[&CertificateId]) -> String {
    let shown: Vec<&str> = names
        .iter()
        .take(NAMES_SHOWN)
        .map(|name| name.as_str())
        .collect();
    let more = match names.len().saturating_sub(shown.len()) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let verb = if names.len() == 1 { "waits" } else { "wait" };
    format!("{}{more} {verb} for it.", shown.join(", "))
}

fn first_end(met: &[&Met]) -> String {
    let ends = met
        .iter()
        .filter_map(|one| Some((one.not_after?, &one.certificate)));
    ends.min().map_or(String::new(), |(end, name)| {
        format!(" The first to end is {name}, at {end}.")
    })
}

/// What stands for the ways by which alerts leave the host: a letter that nobody gets is no reason to be silent.
pub(crate) fn channels(policy: &Policy, snapshot: &Snapshot, now: Timestamp, draft: &mut Draft) {
    for (id, state) in &snapshot.channels {
        // What waits for a channel that left the policy is withdrawn by the next delivery.
        let Some(channel) = policy.alerting.channels.get(id) else {
            continue;
        };
        let help = format!("Mend it and try it: `renewd alert test {id}`.");
        if let Some(since) = state.failing_since {
            if since.until(now) >= CHANNEL_PATIENCE {
                draft.alert(
                    Severity::Warning,
                    "alerts-stuck",
                    id.as_str(),
                    format!(
                        "{id}: alerts have not left this host since {since}: {}",
                        state.last
                    ),
                    format!("They are kept and tried again. {help}"),
                );
            } else {
                draft.wake(since + CHANNEL_PATIENCE);
            }
        }
        // Nor is one who left it waited for.
        let mut refused = state
            .refused
            .iter()
            .filter(|(recipient, _)| channel.recipients().contains(recipient));
        if let Some((recipient, why)) = refused.next() {
            let more = match refused.count() {
                0 => String::new(),
                count => format!(" and {count} more"),
            };
            draft.alert(
                Severity::Warning,
                "alerts-refused",
                id.as_str(),
                format!("{id}: an alert to {recipient}{more} was refused: {why}"),
                format!("As long as what it tells stands it is tried again once a day; `renewd status` shows what that is. {help}"),
            );
        }
        if state.held > 0 {
            draft.alert(
                Severity::Notice,
                "alerts-held",
                id.as_str(),
                format!("{id}: alerts wait, since the mails of a day are sent"),
                "They go in one mail as soon as there may be another one, or with the next critical one; `renewd status` shows what stands. `mails_per_day` says how many there may be.".to_owned(),
            );
        }
        if state.longest_queue >= LONGEST_QUEUE {
            draft.alert(
                Severity::Warning,
                "alerts-overflow",
                id.as_str(),
                format!("{id}: {} alerts wait to be sent to one recipient", state.longest_queue),
                format!(
                    "Further ones are only in the log and in `renewd status` until there is room. {help}"
                ),
            );
        }
    }
}

/// Nothing was done for long. It stands until a check has run, which is what follows.
pub(crate) fn downtime(policy: &Policy, snapshot: &Snapshot, now: Timestamp, draft: &mut Draft) {
    let Some(since) = jobs::down_since(policy, snapshot, now) else {
        return;
    };
    let (mut due, mut ended) = (0_u32, 0_u32);
    for (id, certificate) in &policy.certificates {
        let state = snapshot.certificates.get(id);
        let newest = state.and_then(|state| Some((state, state.newest.as_ref()?)));
        let Some((state, newest)) = newest else {
            continue;
        };
        let window = renewal::of(policy, certificate, state, newest);
        let meanwhile = |at: Timestamp| at > since && at <= now;
        due += u32::from(meanwhile(window.renew_at));
        ended += u32::from(meanwhile(window.not_after));
    }
    let missed = match (due, ended) {
        (0, 0) => "Nothing that came due meanwhile is left to do.".to_owned(),
        (due, 0) => format!("Of what came due meanwhile, {due} renewals are left to do."),
        (due, ended) => format!(
            "Of what came due meanwhile, {due} renewals are left to do; {ended} certificates expired."
        ),
    };
    draft.alert(
        Severity::Warning,
        "agent-was-down",
        "host",
        format!("renewd did nothing since {since}"),
        format!("Down from {since} to {now}: it did not run, or the machine was suspended. {missed} It is caught up with by itself, as soon as renewd runs; `systemctl status renewd` shows whether it does."),
    );
}

/// What is wanted by now is not what is done.
pub(crate) fn policy(snapshot: &Snapshot, draft: &mut Draft) {
    let Some(why) = &snapshot.refused else { return };
    let mut lines: Vec<&str> = why.trim().lines().take(LINES_SHOWN).collect();
    if lines.len() < why.trim().lines().count() {
        lines.push("…");
    }
    draft.alert(
        Severity::Warning,
        "old-policy",
        "host",
        "the policy cannot be used as it is now; an older one is in force".to_owned(),
        format!(
            "{}\nWhat renewd does goes by the policy that it read before, and once it is stopped it will not start by this one. `renewd validate` says what is wrong; as soon as it is mended, it comes into force by itself.",
            lines.join("\n")
        ),
    );
}

/// Of what is wrong with a policy; `renewd validate` shows all.
const LINES_SHOWN: usize = 10;

/// A mail server may be restarted, or ask to come again after a while.
const CHANNEL_PATIENCE: Seconds = Seconds::hours(1);

/// Certificates that share a fate.
const SEVERAL: usize = 2;

/// In a row, of one of them.
const FAILURES: u32 = 2;

/// Longer lists are in `renewd status`.
const NAMES_SHOWN: usize = 10;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::model::{Channel, ChannelId, ChannelState, EmailPolicy, Relay, Way};
    use crate::plan::testing;

    fn told(state: ChannelState) -> Vec<String> {
        let ops = ChannelId::new("ops").unwrap();
        let email = EmailPolicy {
            from: "renewd@localhost".to_owned(),
            to: vec!["root@localhost".to_owned()],
            relay: Relay::Sendmail("/usr/sbin/sendmail".into()),
        };
        let channel = Channel {
            id: ops.clone(),
            way: Way::Email(email),
            least: Severity::Notice,
            tags: BTreeSet::new(),
            quiet: None,
            digest: false,
            pace: None,
            timeout: Seconds(30),
        };
        let mut policy = testing::policy();
        policy.alerting.channels.insert(ops.clone(), channel);
        let mut snapshot = Snapshot::default();
        snapshot.channels.insert(ops, state);
        let mut draft = Draft::new(Timestamp(0));
        channels(&policy, &snapshot, Timestamp(0), &mut draft);
        let plan = draft.finish(Vec::new());
        plan.alerts.keys().map(ToString::to_string).collect()
    }

    #[test]
    fn a_queue_that_is_full_is_told_until_there_is_room() {
        let waiting = |longest_queue: u32| ChannelState {
            longest_queue,
            ..ChannelState::default()
        };
        assert_eq!(told(waiting(LONGEST_QUEUE - 1)), Vec::<String>::new());
        assert_eq!(told(waiting(LONGEST_QUEUE)), ["alerts-overflow/ops"]);
    }

    #[test]
    fn a_recipient_who_left_the_policy_is_not_told_of_for_ever() {
        let refused = |recipients: &[&str]| ChannelState {
            refused: recipients
                .iter()
                .map(|one| ((*one).to_owned(), "550 no such user".to_owned()))
                .collect(),
            ..ChannelState::default()
        };
        assert_eq!(told(refused(&["gone@localhost"])), Vec::<String>::new());
        let both = refused(&["gone@localhost", "root@localhost"]);
        assert_eq!(told(both), ["alerts-refused/ops"]);
    }
}
