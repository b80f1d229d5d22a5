//! What a person must know, as long as it stands.
//!
//! An alert has a key, so that it is told once; what gets worse by steps is told again at each of them. Every text ends
//! with what to do.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::model::{
    Blocked, CertificateId, ErrorClass, Failures, Fingerprint, OrderMode, ProbeFault,
    RemoteTrouble, Rollout, RolloutPhase, RolloutStep, Seconds, SetAside, Severity, Shortage,
    Snapshot, Standing, StepFailure, Timestamp, Waiting,
};
use crate::plan::certificates::Subject;
use crate::plan::draft::{Draft, Met};
use crate::plan::renewal::Window;
use crate::plan::targets::{self, Member, Place};
use crate::plan::{Verdict, again, backoff, blame, drift, orders, rollout_machine, served};

/// What stands for a certificate. `digest` is [`backoff::digest`] of certificate and issuer, `days` the policy's steps.
pub(crate) fn certificate(
    subject: &Subject<'_>,
    window: Option<Window>,
    verdict: &Verdict,
    (digest, days): (Fingerprint, &BTreeSet<u32>),
    now: Timestamp,
    draft: &mut Draft,
) {
    let id = subject.policy.id.as_str();
    let failing = failing(subject, digest);
    let long = subject
        .order
        .is_some_and(|order| orders::is_long(order, now));
    let untroubled = matches!(verdict, Verdict::Act(_)) && !troubled(subject, digest) && !long;
    if let Some(failure) = latest(subject, digest) {
        draft.met.push(Met {
            certificate: subject.policy.id.clone(),
            issuer: orders::asked(subject).clone(),
            count: failure.0,
            failure: failure.1.clone(),
            not_after: window.map(|window| window.not_after),
        });
    }
    if let Some((class, count, message)) = &failing {
        let until = match window {
            Some(window) if window.not_after > now => {
                format!("The present one is valid until {}.", window.not_after)
            }
            Some(_) | None => "There is no valid one.".to_owned(),
        };
        draft.alert_step(
            Severity::Warning,
            ("renewal-failing", step(*count)),
            id,
            format!("{id}: no new certificate: {message}"),
            format!("{until} {}", help(*class, id)),
        );
    }
    if let Verdict::Blocked(blocked @ Blocked::IssuerShortens { .. }) = verdict {
        draft.alert(
            Severity::Warning,
            blocked.code(),
            id,
            format!("{id}: the issuer gives no longer validity"),
            format!("Renewal brought nothing that ends later: {blocked}."),
        );
    }
    if let Verdict::Wait(Waiting::NoSpace { shortage, .. }) = verdict {
        no_space(shortage, draft);
    }
    if let Some(trouble) = subject.state.trouble() {
        remote(subject, trouble, draft);
    }
    let Some(window) = window else {
        if let Verdict::Wait(Waiting::NoOffer { .. }) = verdict {
            draft.alert(
                Severity::Warning,
                "no-offer",
                id,
                format!("{id}: the account has no certificate for its names"),
                format!(
                    "This host follows: it applies for nothing (`order = \"never\"`). Obtain or import a certificate for {} in the account.",
                    subject.policy.names
                ),
            );
        }
        return;
    };
    if !untroubled || window.not_after <= now {
        expiring(subject, window, days, now, draft);
    }
    // A follower renews nothing: for it the rule only says when others should have.
    if !window.fits && subject.policy.order == OrderMode::Auto {
        draft.alert(
            Severity::Notice,
            "renewal-rule",
            id,
            format!("{id}: the policy's renewal rule does not fit what the issuer gave"),
            "It would renew at once and without end, so the certificate is renewed when a third of its lifetime is left. Set `renew_at = \"1/3\"`, or a day count below nine tenths of the lifetime.".to_owned(),
        );
    }
}

/// One disk, one alert, however many certificates wait for it; also while none does yet.
pub(crate) fn no_space(shortage: &Shortage, draft: &mut Draft) {
    let path = shortage.path.display().to_string();
    draft.alert(
        Severity::Warning,
        "no-space",
        &path,
        format!("{path}: no room for new certificates"),
        format!("{shortage}. Nothing is ordered that could not be stored; free some space, and it goes on by itself."),
    );
}

/// The revision runs out and is not renewed: told at each step on the way, as one alert that becomes worse.
fn expiring(
    subject: &Subject<'_>,
    window: Window,
    days: &BTreeSet<u32>,
    now: Timestamp,
    draft: &mut Draft,
) {
    let id = subject.policy.id.as_str();
    let lifetime = subject.state.newest.as_ref().map(|n| n.facts.lifetime());
    let mut steps = steps(window, lifetime.unwrap_or(Seconds(0)), days);
    steps.extend([window.emergency_at, window.not_after]);
    let step = steps.iter().filter(|at| **at <= now).count();
    if now >= window.renew_at {
        steps.iter().for_each(|at| draft.wake(*at));
    }
    if step == 0 {
        return;
    }
    let end = window.not_after;
    let title = if end <= now {
        format!("{id}: expired at {end}")
    } else {
        format!("{id}: expires at {end} and is not renewed")
    };
    let text = match subject.policy.order {
        OrderMode::Auto => format!(
            "`renewd status` says what keeps renewal back; `renewd renew {id}` tries at once."
        ),
        OrderMode::Never => {
            "This host follows: somebody must renew the certificate in the account.".to_owned()
        }
    };
    let severity = if window.emergency_at <= now {
        Severity::Critical
    } else {
        Severity::Warning
    };
    let step = u32::try_from(step).unwrap_or(u32::MAX);
    draft.alert_step(severity, ("expiring", step), id, title, text);
}

/// The moments of the days before the end, in any order. The days are those of a certificate of 90 days or more; of a
/// shorter one they are the same shares. Those before renewal had its time are none.
fn steps(window: Window, lifetime: Seconds, days: &BTreeSet<u32>) -> Vec<Timestamp> {
    let margin = window.renew_at.until(window.not_after).0 / 4;
    moments(window.not_after, lifetime, days)
        .filter(|at| *at >= window.renew_at + Seconds(margin))
        .collect()
}

/// So many days before an end, or the same shares of a lifetime below the usual one.
pub(crate) fn moments(
    end: Timestamp,
    lifetime: Seconds,
    days: &BTreeSet<u32>,
) -> impl Iterator<Item = Timestamp> {
    let lifetime = lifetime.0.clamp(0, USUAL_LIFETIME.0);
    days.iter().map(move |days| {
        let whole = Seconds::days(i64::from(*days)).0;
        end - Seconds(whole.saturating_mul(lifetime) / USUAL_LIFETIME.0)
    })
}

/// What the issuer says of the newest revision.
fn remote(subject: &Subject<'_>, trouble: &RemoteTrouble, draft: &mut Draft) {
    let id = subject.policy.id.as_str();
    let (severity, then) = match (trouble.standing, subject.policy.order) {
        (Standing::Revoked, OrderMode::Auto) => (
            Severity::Critical,
            format!("Another one with a new key is obtained and rolled out at once. Its key may be known to others; `renewd history {id}` shows how far it is."),
        ),
        (Standing::Revoked, OrderMode::Never) => (
            Severity::Critical,
            "This host follows: somebody must obtain another one in the account.".to_owned(),
        ),
        (Standing::Deleted, _) => (
            Severity::Warning,
            format!("Clients accept it still. `renewd renew {id}` obtains one that the issuer knows."),
        ),
        (Standing::Frozen, _) => (
            Severity::Warning,
            "Settle the account; until then nothing can be renewed.".to_owned(),
        ),
        (Standing::IssuerDisabled, _) => (
            Severity::Warning,
            "Enable the CA at its service, or name another one in the policy; until then nothing can be renewed.".to_owned(),
        ),
    };
    draft.alert(
        severity,
        trouble.standing.code(),
        id,
        format!("{id}: {}", trouble.detail),
        then,
    );
}

/// What stands for a target.
pub(crate) fn target(
    place: &Place<'_>,
    members: &[Member<'_>],
    snapshot: &Snapshot,
    now: Timestamp,
    draft: &mut Draft,
) {
    let id = place.policy.id.as_str();
    if let Some(detail) = &place.state.undo_failed {
        draft.alert(
            Severity::Critical,
            "rollback-failed",
            id,
            format!("{id}: the way back failed at {detail}"),
            format!(
                "Nobody knows what the service is in. Look at it, then `renewd rollback NAME` or `renewd renew NAME`, with {}. Without you {DAILY}.",
                names(members)
            ),
        );
    }
    drift::alerts(place, now, draft);
    let paths: BTreeSet<&PathBuf> = place.state.unwritable.values().collect();
    if let Some(path) = paths.first() {
        let more = match paths.len() {
            1 => String::new(),
            count => format!(" and {} more", count - 1),
        };
        draft.alert(
            Severity::Warning,
            "restart-needed",
            id,
            format!("{id}: renewd may not write to {}{more}", path.display()),
            "The sandbox of the unit is made when renewd is started, and allows other places: install what `renewd systemd dropin` prints, then restart renewd. Where that is installed already, the file system itself has become read-only, as after an error of its disk: the kernel's log says so, and renewd goes on by itself once it can be written.".to_owned(),
        );
    }
    failed_rollouts(place, members, draft);
    if let Some(rollout) = place.rollout {
        open_rollout(place, rollout, snapshot, now, draft);
    }
    for member in members {
        served::old_one(place, member, now, draft);
        served::revoked_one(place, member, draft);
    }
}

/// A member that the others went without.
fn set_aside(target: &str, certificate: &CertificateId, aside: &SetAside, draft: &mut Draft) {
    let last = aside.failures.last.as_ref();
    let why = last.map_or("", |last| last.message.as_str());
    let (severity, code, then) = if blame::is_given_up(aside) {
        (
            Severity::Critical,
            "rollout-blocked",
            "It is tried again once a day, and when its end comes near",
        )
    } else {
        (
            Severity::Warning,
            "set-aside",
            if aside.harmless {
                "It is tried again by itself"
            } else {
                "It is tried again by itself, a few times"
            },
        )
    };
    draft.alert(
        severity,
        code,
        &format!("{target}/{certificate}"),
        format!("{certificate} on {target}: set aside, so that the others go without it: {why}"),
        format!("{then}; what was served of it before is served still."),
    );
}

fn failed_rollouts(place: &Place<'_>, members: &[Member<'_>], draft: &mut Draft) {
    let id = place.policy.id.as_str();
    for member in members {
        if let Some(aside) = again::aside(place, member) {
            set_aside(id, &member.subject.policy.id, aside, draft);
        }
    }
    let count = backoff::count(&place.state.failures, place.policy.digest);
    let Some(failed) = place.state.failed.as_ref().filter(|_| count > 0) else {
        return;
    };
    let cause = format!("{} failed: {}", failed.cause.step, failed.cause.message);
    let output = match failed.cause.output.trim() {
        "" => String::new(),
        output => format!("\n{output}\n"),
    };
    if failed.rolled_back == 0 {
        if failed.cause.step == RolloutStep::PreHook {
            draft.alert_step(
                Severity::Warning,
                ("hook-failing", step(count)),
                id,
                format!("{id}: the `pre` hook keeps everything from being rolled out: {cause}"),
                format!(
                    "{output}What was served before is served still. It is tried again by itself."
                ),
            );
        } else if count >= patience(failed.cause.class) {
            draft.alert(
                Severity::Warning,
                "rollout-failing",
                id,
                format!("{id}: nothing could be rolled out, {cause}"),
                format!(
                    "{output}What was served before is served still. It is tried again by itself."
                ),
            );
        }
        return;
    }
    if place.state.undo_failed.is_some() {
        return;
    }
    if failed.cause.probe == ProbeFault::Certain {
        draft.alert(
            Severity::Critical,
            "probe-broken",
            id,
            format!("{id}: {}", failed.cause.message),
            format!(
                "{output}With what was there before it is the same, so it says nothing about the certificates: what was there before is in place again, unproven, and nothing new goes in. Mend `connect`, `starttls` or `proxy_protocol` of the target, or the listener, until `renewd target test {id}` is content; a change of the policy is tried at once."
            ),
        );
    } else {
        draft.alert(
            Severity::Warning,
            "rolled-back",
            id,
            format!("{id}: rolled back, {cause}"),
            format!("{output}What was served before is in place again. It is tried again by itself, a few times."),
        );
    }
    if failed.rolled_back >= targets::LONGEST_ROW {
        draft.alert(
            Severity::Critical,
            "rollout-blocked",
            id,
            format!("{id}: rolled back {} times, {cause}", failed.rolled_back),
            format!(
                "{output}Mend it, then `renewd renew NAME`, with {}. Without you {DAILY}.",
                names(members)
            ),
        );
    }
}

fn open_rollout(
    place: &Place<'_>,
    rollout: &Rollout,
    snapshot: &Snapshot,
    now: Timestamp,
    draft: &mut Draft,
) {
    let id = place.policy.id.as_str();
    let count = backoff::count(&rollout.failures, place.policy.digest);
    if let Some(last) = rollout.failures.last.as_ref()
        && count > 0
        && count >= patience(last.class)
    {
        if rollout_machine::waits_for_post_hook(rollout) {
            draft.alert_step(
                Severity::Warning,
                ("hook-failing", step(count)),
                id,
                format!(
                    "{id}: the `post` hook failed {count} times: {}",
                    last.message
                ),
                "The new set is served and proven; its hook is tried again by itself.".to_owned(),
            );
        } else {
            draft.alert(
                Severity::Warning,
                "rollout-failing",
                id,
                format!("{id}: {count} attempts failed: {}", last.message),
                "It is tried again by itself.".to_owned(),
            );
        }
    }
    let RolloutPhase::AwaitingService { detail, .. } = &rollout.phase else {
        return;
    };
    if let Some(why) = rollout_machine::expired_before(rollout, snapshot, now) {
        draft.alert(
            Severity::Critical,
            "no-way-back",
            id,
            format!("{id}: the new set is in place and not proven: {detail}"),
            format!("There is no way back, since {why}. Look at the service; the proof is repeated by itself."),
        );
    } else if rollout.opened_at.until(now) >= SERVICE_PATIENCE {
        draft.alert(
            Severity::Warning,
            "awaiting-service",
            id,
            format!("{id}: the new set is in place, and the service does not show it: {detail}"),
            "Start or mend the service; renewd never starts one. The proof is repeated by itself."
                .to_owned(),
        );
    }
}

/// Whether anything failed at all, were it once.
fn troubled(subject: &Subject<'_>, digest: Fingerprint) -> bool {
    let order = orders::renewing(subject).map(|order| &order.failures);
    let surveys = backoff::count(&subject.state.survey_failures, subject.policy.digest);
    order.is_some_and(|failures| backoff::count(failures, digest) > 0)
        || backoff::count(&subject.state.failures, digest) > 0
        || surveys > 0
}

/// Class, number and message of the failures in a row that are worth a word: of the open order, of orders before, of
/// surveys. What only a person can help with is worth it at once, all else from the second on.
fn failing(subject: &Subject<'_>, digest: Fingerprint) -> Option<(ErrorClass, u32, String)> {
    let of = |failures: &Failures, digest| {
        let last = failures.last.as_ref()?;
        let count = backoff::count(failures, digest);
        (count >= patience(last.class).min(2)).then(|| (last.class, count, last.message.clone()))
    };
    orders::renewing(subject)
        .and_then(|order| of(&order.failures, digest))
        .or_else(|| of(&subject.state.failures, digest))
        .or_else(|| of(&subject.state.survey_failures, subject.policy.digest))
}

/// Number and last of the failures in a row of what is asked of the issuer for this certificate, told or not.
fn latest<'a>(subject: &Subject<'a>, digest: Fingerprint) -> Option<(u32, &'a StepFailure)> {
    let of = |failures: &'a Failures, digest| {
        let count = backoff::count(failures, digest);
        failures
            .last
            .as_ref()
            .filter(|_| count > 0)
            .map(|last| (count, last))
    };
    orders::renewing(subject)
        .and_then(|order| of(&order.failures, digest))
        .or_else(|| of(&subject.state.failures, digest))
        .or_else(|| of(&subject.state.survey_failures, subject.policy.digest))
}

/// How often failures in a row were told again.
pub(crate) fn step(count: u32) -> u32 {
    let told = FAILURES_TOLD.iter().filter(|told| **told <= count).count();
    u32::try_from(told).unwrap_or(0)
}

/// How many failures in a row are nobody's business: what may pass by itself gets three attempts, which take minutes.
pub(crate) const fn patience(class: ErrorClass) -> u32 {
    match class {
        ErrorClass::Transient | ErrorClass::RateLimited => 3,
        ErrorClass::Rejected
        | ErrorClass::Authentication
        | ErrorClass::Configuration
        | ErrorClass::Bug => 1,
    }
}

fn help(class: ErrorClass, id: &str) -> String {
    match class {
        ErrorClass::Transient | ErrorClass::RateLimited => {
            "It is tried again by itself. If it goes on, look at the network and at the issuer."
                .to_owned()
        }
        ErrorClass::Rejected => {
            format!(
                "Compare the policy of {id} with what the issuer allows, then `renewd renew {id}`."
            )
        }
        ErrorClass::Authentication => {
            format!(
                "Check the issuer's credentials and what they may do, then `renewd renew {id}`."
            )
        }
        ErrorClass::Configuration => {
            format!("Check the policy (`renewd validate`), then `renewd renew {id}`.")
        }
        ErrorClass::Bug => {
            format!(
                "This is a fault of renewd: report it with the output of `renewd history {id}`."
            )
        }
    }
}

/// A few names to put for NAME.
fn names(members: &[Member<'_>]) -> String {
    let ids: Vec<&str> = members
        .iter()
        .take(NAMES_SHOWN)
        .map(|member| member.subject.policy.id.as_str())
        .collect();
    let more = if members.len() > NAMES_SHOWN {
        ", …"
    } else {
        ""
    };
    format!("NAME one of {}{more}", ids.join(", "))
}

/// Of what is blocked. When exactly is in `renewd status`: an alert is told once.
const DAILY: &str = "it is tried again once a day, and when the end of what is served comes near";

/// Longer lists are in `renewd status`.
const NAMES_SHOWN: usize = 5;

/// A restart or a first start by hand takes less.
const SERVICE_PATIENCE: Seconds = Seconds::minutes(10);

/// The days of the policy are meant for it.
const USUAL_LIFETIME: Seconds = Seconds::days(90);

/// Failures in a row at which a renewal that goes on failing is told again.
const FAILURES_TOLD: [u32; 2] = [10, 50];
