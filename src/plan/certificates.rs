//! What happens to one certificate: which order is opened, carried on or given up.

use std::borrow::Cow;

use crate::model::{
    Blocked, CertificatePolicy, CertificateState, ErrorClass, Fingerprint, IssuerPolicy, Order,
    OrderClosing, OrderMode, OrderPhase, OrderStep, Policy, Reason, RevisionId, Seconds, Shortage,
    Snapshot, Timestamp, Waiting,
};
use crate::plan::backoff::{self, Seed};
use crate::plan::checks::{self, CheckInput};
use crate::plan::draft::Draft;
use crate::plan::order_machine::{self, Timing};
use crate::plan::renewal::{self, Window};
use crate::plan::{Action, Next, Verdict, alerts, open, orders, supplement};

/// A certificate of the policy with what is known of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject<'a> {
    /// What the administrator wants.
    pub(crate) policy: &'a CertificatePolicy,
    /// What is known.
    pub(crate) state: &'a CertificateState,
    /// Its open order.
    pub(crate) order: Option<&'a Order>,
    /// There is no room for what another order would bring.
    pub(crate) shortage: Option<&'a Shortage>,
    /// By how much it is renewed sooner than its rule says.
    pub(crate) lead: Seconds,
}

impl Subject<'_> {
    /// Of the newest revision.
    pub(crate) fn window(&self) -> Option<Window> {
        let newest = self.state.newest.as_ref()?;
        let policy = self.policy;
        Some(renewal::window(policy.renew, self.lead, &policy.id, newest))
    }

    /// When it is an emergency that a revision is served still, by the measure of the newest one, and its end.
    pub(crate) fn end_of(&self, revision: &RevisionId) -> Option<(Timestamp, Timestamp)> {
        let not_after = self.state.not_after(revision)?;
        let window = self.window()?;
        let margin = window.emergency_at.until(window.not_after);
        Some((not_after - margin, not_after))
    }

    /// Whether a newer revision of it is on its way, after `verdict` was given.
    pub(crate) fn coming(&self, verdict: &Verdict, now: Timestamp) -> Coming {
        let age = self.order.map(|order| order.opened_at.until(now));
        let under_way = age.is_some_and(|age| age < BATCH_WINDOW);
        match verdict {
            Verdict::Act(_) if under_way => Coming::Now,
            Verdict::Act(_) if age.is_none() => Coming::Soon { from: now },
            Verdict::Wait(Waiting::Issuance { .. } | Waiting::Settling { .. }) if under_way => {
                Coming::Soon { from: now }
            }
            Verdict::Healthy { renew_at } if self.policy.order == OrderMode::Auto => {
                Coming::Soon { from: *renew_at }
            }
            // Nobody knows how long what is in trouble will last.
            Verdict::Act(_) | Verdict::Wait(_) | Verdict::Healthy { .. } | Verdict::Blocked(_) => {
                Coming::No
            }
        }
    }
}

/// Whether other certificates of a target have something to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coming {
    /// No.
    No,
    /// An order of it can be carried on this very moment.
    Now,
    /// The issuer is at work on it, or it is to be ordered at this moment.
    Soon {
        /// Not sooner.
        from: Timestamp,
    },
}

/// Decides, and adds what is to be done to the draft.
pub(crate) fn decide(
    (policy, snapshot): (&Policy, &Snapshot),
    subject: &Subject<'_>,
    now: Timestamp,
    draft: &mut Draft,
) -> Verdict {
    let window = subject.window();
    let input = CheckInput {
        policy: subject.policy,
        state: subject.state,
        newest: subject.state.newest.as_ref().zip(window),
        now,
    };
    let order = subject
        .order
        .filter(|order| !matches!(order.phase, OrderPhase::Closed { .. }));
    let mark = draft.mark();
    let verdict = match (order, subject.policy.order) {
        (Some(order), _) => {
            let due = || checks::first(&input);
            match orders::leaves_behind(order, subject.state, due) {
                Some(event) => {
                    draft.orders.push(Action::RecordOrder {
                        order: order.id.clone(),
                        event,
                    });
                    Verdict::Act(order.reason.clone())
                }
                None => carry_on(policy, snapshot, subject, order, now, draft),
            }
        }
        (None, OrderMode::Auto) => match checks::first(&input) {
            // Asking again would bring the same: a person should know now, not when it is due again.
            None if subject.state.shortened => shortened(subject, draft),
            None => in_order(subject, healthy(window, now, draft)),
            Some(reason) => open(policy, subject, reason, now, draft),
        },
        (None, OrderMode::Never) => follow(policy, subject, &input, now, draft),
    };
    let issuer = order.map_or(&subject.policy.issuer, |order| &order.issuer);
    let verdict = match draft.hold_back(mark, issuer) {
        Some(waiting) => wait(waiting, draft),
        None => verdict,
    };
    let verdict = match (order, window) {
        // Only what it left is still cleared away: the certificate is there.
        (Some(order), Some(window)) if window.renew_at > now && is_fulfilled(order) => {
            match verdict {
                Verdict::Wait(_) => in_order(subject, healthy(Some(window), now, draft)),
                Verdict::Act(_) | Verdict::Healthy { .. } | Verdict::Blocked(_) => verdict,
            }
        }
        (Some(_) | None, _) => verdict,
    };
    orders::left_behind(&subject.policy.id, subject.state, now, draft);
    supplement::alert(subject, draft);
    if let Some(order) = order {
        orders::alerts(policy, snapshot, (subject, order, window), now, draft);
    }
    let quiet = matches!(verdict, Verdict::Healthy { .. })
        && subject.state.failures.count == 0
        && subject.state.survey_failures.count == 0
        && window.is_some_and(|window| window.fits);
    if !quiet {
        let digest = digest(policy, subject.policy);
        let days = &policy.alerting.days;
        alerts::certificate(subject, window, &verdict, (digest, days), now, draft);
    }
    verdict
}

/// Another order would bring nothing that ends later. Once it has expired, an attempt per backoff is worth what it costs.
fn shortened(subject: &Subject<'_>, draft: &mut Draft) -> Verdict {
    let newest = subject.state.newest.as_ref();
    let not_after = newest.map_or(Timestamp(0), |newest| newest.facts.not_after);
    draft.wake(not_after);
    Verdict::Blocked(Blocked::IssuerShortens { not_after })
}

/// Opens an order, unless something keeps it back.
pub(crate) fn open(
    policy: &Policy,
    subject: &Subject<'_>,
    reason: Reason,
    now: Timestamp,
    draft: &mut Draft,
) -> Verdict {
    let state = subject.state;
    let routine = matches!(reason, Reason::RenewalDue { .. } | Reason::Emergency { .. });
    if routine && state.shortened && !state.forced {
        return shortened(subject, draft);
    }
    let digest = digest(policy, subject.policy);
    let seed = seed(subject.policy, draft);
    let waiting = backoff::waiting(&state.failures, seed, digest, now)
        .or_else(|| fruitless(subject, &reason, now));
    if let Some(waiting) = waiting {
        return wait(waiting, draft);
    }
    if let Some(until) = draft.renewals_from
        && matches!(reason, Reason::RenewalDue { .. })
        && !state.forced
    {
        // A schedule that comes too late is not waited for.
        let until = subject
            .window()
            .map_or(until, |window| until.min(window.emergency_at));
        if until > now {
            return wait(Waiting::Schedule { until }, draft);
        }
    }
    if let Some(shortage) = subject.shortage {
        let (until, shortage) = (now + SPACE_INTERVAL, shortage.clone());
        return wait(Waiting::NoSpace { until, shortage }, draft);
    }
    // Nor is what is needed now, or wanted by a person, held up by what could wait.
    let waits = !state.forced
        && !matches!(
            reason,
            Reason::Revoked | Reason::Expired { .. } | Reason::Emergency { .. } | Reason::Forced
        );
    let budget = draft.budgets.get_mut(&subject.policy.issuer);
    if let Some(until) = budget.and_then(|budget| budget.take(waits)) {
        let emergency = subject.window().map(|window| window.emergency_at);
        let until = emergency.map_or(until, |at| until.min(at.max(now + Seconds(1))));
        return wait(Waiting::IssuerBudget { until }, draft);
    }
    draft.new_orders.push(Action::OpenOrder {
        certificate: subject.policy.id.clone(),
        reason: reason.clone(),
        expect: state.newest.as_ref().map(|newest| newest.id.clone()),
    });
    Verdict::Act(reason)
}

/// An order of a certificate that is no longer in the policy.
pub(crate) fn orphan(
    policy: &Policy,
    snapshot: &Snapshot,
    order: &Order,
    now: Timestamp,
    draft: &mut Draft,
) {
    let issuer = (policy.issuers.get(&order.issuer), order.request.policy);
    let because = "the certificate left the policy";
    let kept = orders::give_up(order, issuer, because, snapshot, now, draft);
    if matches!(kept, Some(Verdict::Blocked(_))) {
        return;
    }
    orders::left_over(order.certificate.as_str(), order, draft);
}

const fn is_fulfilled(order: &Order) -> bool {
    matches!(
        order.phase,
        OrderPhase::Ending {
            closing: OrderClosing::Fulfilled { .. },
            ..
        }
    )
}

/// Of a certificate's policy together with its issuer's.
pub(crate) fn digest(policy: &Policy, certificate: &CertificatePolicy) -> Fingerprint {
    backoff::digest(certificate, policy.issuers.get(&certificate.issuer))
}

fn carry_on(
    policy: &Policy,
    snapshot: &Snapshot,
    subject: &Subject<'_>,
    order: &Order,
    now: Timestamp,
    draft: &mut Draft,
) -> Verdict {
    let certificate = subject.policy;
    let issuer = policy.issuers.get(&order.issuer);
    let because = unwanted(policy, subject, order, issuer, now);
    let digest = backoff::digest(certificate, issuer);
    let (Some(issuer), None) = (issuer, &because) else {
        let because = because.unwrap_or_default();
        let issuer = (issuer, digest);
        let kept = orders::give_up(order, issuer, &because, snapshot, now, draft);
        return kept.unwrap_or_else(|| Verdict::Act(order.reason.clone()));
    };
    if let Some(at) = order_machine::looks_again(order) {
        draft.wake(at);
    }
    if let (Some(_), Some(window)) = (supplement::of_order(order), subject.window()) {
        draft.wake(window.renew_at);
    }
    let money = orders::money(order, Some(subject), snapshot, draft);
    match order_machine::next(order, Timing::from(issuer), &money, digest, draft.host, now) {
        Next::Step(step) => {
            if step == OrderStep::Buy {
                draft.buys(&order.issuer, &order.id);
            }
            draft.orders.push(Action::AdvanceOrder {
                order: order.id.clone(),
                step,
            });
        }
        Next::Record(event) => draft.orders.push(Action::RecordOrder {
            order: order.id.clone(),
            event,
        }),
        Next::Wait(waiting) => return wait(waiting, draft),
        Next::Blocked(blocked) => {
            if let Some(until) = blocked.until() {
                draft.wake(until);
            }
            return Verdict::Blocked(blocked);
        }
        Next::Done => {}
    }
    Verdict::Act(order.reason.clone())
}

/// Why an order is not carried on, if it is not.
fn unwanted(
    policy: &Policy,
    subject: &Subject<'_>,
    order: &Order,
    issuer: Option<&IssuerPolicy>,
    now: Timestamp,
) -> Option<String> {
    if issuer.is_none() {
        return Some(format!("issuer {} left the policy", order.issuer));
    }
    let under_way = matches!(order.phase, OrderPhase::Submitted { public: true, .. });
    let supplement = matches!(
        order.phase,
        OrderPhase::Unclear {
            supplement: true,
            ..
        }
    );
    if under_way || supplement || !order_machine::is_submitted(order) {
        let given_up = supplement::given_up(subject, order, now);
        if given_up.is_some() {
            return given_up;
        }
    }
    // An order that waits for the next certificate of the present one's goes on when names are added.
    let public = order.request.public.as_ref();
    let asked = match public.and_then(|public| public.replaces.as_ref()) {
        Some(_) => open::asked(policy, subject.policy, subject.state, now),
        None => Cow::Borrowed(subject.policy),
    };
    let subject = &Subject {
        policy: asked.as_ref(),
        ..*subject
    };
    let same = order.request.policy == subject.policy.digest;
    if !order_machine::is_submitted(order) {
        let current = same && orders::is_current(policy, subject, order);
        if current && subject.state.forced && public.is_some_and(|p| p.replaces.is_some()) {
            return Some("a person asked for another one than the successor".to_owned());
        }
        let because = "the certificate's policy changed before the order was sent";
        return (!current).then(|| because.to_owned());
    }
    // What nobody has issued yet can be taken back, and the entitlement used for what is wanted now.
    let unwanted = !same && under_way && !orders::is_wanted(policy, subject, order);
    unwanted.then(|| "the certificate's policy changed while it was under way".to_owned())
}

/// A follower opens an order only for something its account offers.
fn follow(
    policy: &Policy,
    subject: &Subject<'_>,
    input: &CheckInput<'_>,
    now: Timestamp,
    draft: &mut Draft,
) -> Verdict {
    let (certificate, state) = (subject.policy, subject.state);
    let survey = survey(certificate, state, seed(certificate, draft), now);
    let reason = checks::first(input);
    if let Some(reason) = &reason
        && serves(reason, certificate, state)
    {
        return open(policy, subject, reason.clone(), now, draft);
    }
    // What the account offered does not help, so it is asked again in due time.
    match (survey, reason) {
        (Survey::Due, reason) => {
            draft.surveys.push(Action::Survey {
                certificate: certificate.id.clone(),
            });
            match reason {
                // Asked again and again, it is a wait; only the first question may change everything.
                Some(_) if checks::was_asked(certificate, state) => {
                    let until = now + SURVEY_INTERVAL;
                    wait(Waiting::NoOffer { until }, draft)
                }
                Some(reason) => Verdict::Act(reason),
                None => healthy(subject.window(), now, draft),
            }
        }
        (Survey::NotBefore(until), Some(_)) => wait(Waiting::NoOffer { until }, draft),
        (Survey::Failed(waiting), Some(_)) => wait(waiting, draft),
        (Survey::NotBefore(until), None) => {
            draft.wake(until);
            healthy(subject.window(), now, draft)
        }
        (Survey::Failed(waiting), None) => {
            wait(waiting, draft);
            healthy(subject.window(), now, draft)
        }
    }
}

/// When the account may be asked.
enum Survey {
    Due,
    NotBefore(Timestamp),
    Failed(Waiting),
}

/// What spreads attempts for a certificate.
fn seed<'a>(certificate: &'a CertificatePolicy, draft: &Draft) -> Seed<'a> {
    Seed::new(certificate.id.as_str(), draft.host)
}

fn survey(
    certificate: &CertificatePolicy,
    state: &CertificateState,
    seed: Seed<'_>,
    now: Timestamp,
) -> Survey {
    let failures = &state.survey_failures;
    if let Some(waiting) = backoff::waiting(failures, seed, certificate.digest, now) {
        return Survey::Failed(waiting);
    }
    match &state.offer {
        Some(offer) if checks::was_asked(certificate, state) => {
            let next = offer.asked_at + SURVEY_INTERVAL;
            // An answer from the future means that the clock was set back.
            if next > now && offer.asked_at <= now {
                Survey::NotBefore(next)
            } else {
                Survey::Due
            }
        }
        Some(_) | None => Survey::Due,
    }
}

/// Whether what the account offers answers the reason.
fn serves(reason: &Reason, certificate: &CertificatePolicy, state: &CertificateState) -> bool {
    let Some((reference, _)) = checks::offered(certificate, state) else {
        return false;
    };
    let other = state
        .newest
        .as_ref()
        .is_none_or(|newest| newest.reference != reference);
    match reason {
        Reason::NoRevision | Reason::Unusable { .. } | Reason::Forced => true,
        // Whatever is offered is valid now and covers the names, so any other one is better than what is there.
        Reason::IssuerChanged
        | Reason::NamesChanged { .. }
        | Reason::KeyChanged
        | Reason::Revoked
        | Reason::Expired { .. } => other,
        Reason::Emergency { .. } | Reason::RenewalDue { .. } | Reason::NewerOffered => {
            checks::offers_newer(certificate, state)
        }
        Reason::NotDeployed
        | Reason::TargetChanged
        | Reason::Drifted { .. }
        | Reason::RollbackAsked
        | Reason::UndoFailed { .. } => false,
    }
}

fn healthy(window: Option<Window>, now: Timestamp, draft: &mut Draft) -> Verdict {
    // Without a revision no check passes, so there always is a window.
    let renew_at = window.map_or(now, |window| window.renew_at);
    draft.wake(renew_at);
    Verdict::Healthy { renew_at }
}

/// What the issuer says of a certificate that is due for nothing else, and that another order would not mend.
fn in_order(subject: &Subject<'_>, healthy: Verdict) -> Verdict {
    match subject.state.trouble() {
        Some(trouble) => Verdict::Blocked(Blocked::Remote {
            standing: trouble.standing,
            detail: trouble.detail.clone(),
        }),
        None => healthy,
    }
}

pub(crate) fn wait(waiting: Waiting, draft: &mut Draft) -> Verdict {
    if let Some(until) = waiting.until() {
        draft.wake(until);
    }
    Verdict::Wait(waiting)
}

/// An order for this very reason was fulfilled a moment ago, under this very policy, and did not help: the fault lies
/// elsewhere, and ordering again and again would use up certificates. A person may (`Forced`).
fn fruitless(subject: &Subject<'_>, reason: &Reason, now: Timestamp) -> Option<Waiting> {
    let state = subject.state;
    let (last, newest) = (state.fulfilled.as_ref()?, state.newest.as_ref()?);
    // That the newest is revoked was said of this very one, at a check: there is no loop that a pause would break.
    let again = last.reason == reason.code()
        && *reason != Reason::Revoked
        && newest.policy == Some(subject.policy.digest)
        && !state.forced;
    let lifetime = newest.facts.lifetime().0.max(0);
    let until = last.at + FRUITLESS_PAUSE.min(Seconds(lifetime / 20));
    (again && until > now && last.at <= now).then(|| Waiting::Backoff {
        until,
        failures: 1,
        class: ErrorClass::Configuration,
        message: format!("a new revision did not help: {reason}"),
    })
}

/// How often a follower looks. Renewals happen weeks before expiry; an hour is early, and cheap for the account.
const SURVEY_INTERVAL: Seconds = Seconds::hours(1);

/// How often the disks are looked at again once there was no room.
pub(crate) const SPACE_INTERVAL: Seconds = Seconds::minutes(10);

/// Long enough for a person to notice, short enough to heal by itself within the day. Never longer than a twentieth of
/// the lifetime: no revision is due sooner.
const FRUITLESS_PAUSE: Seconds = Seconds::hours(1);

/// From the moment its first certificate is ready a rollout waits this long, at most, for others of its target that are
/// on their way: an order takes seconds, a thousand of them minutes, and one reload is better than many.
pub(crate) const BATCH_WINDOW: Seconds = Seconds::minutes(10);
