//! The whole plan: every certificate, then every target, merged in the order of their ids.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap, btree_map};
use std::iter::Peekable;

use crate::model::{
    CertificateId, CertificateState, IssuerId, IssuerPolicy, Order, OrderMode, Policy, Reason,
    RevisionId, Rollout, Snapshot, TargetId, TargetState, Timestamp,
};
use crate::plan::certificates::{self, Subject};
use crate::plan::draft::Draft;
use crate::plan::pacing::OrderBudget;
use crate::plan::targets::{self, Finding, Member, Place};
use crate::plan::{
    Plan, Verdict, alerts, clock, jobs, observed, order_machine, orders, outage, push, relied,
    renewal, revoke, supplement, watch, widespread,
};

/// Decides what should happen next. Reads nothing but its arguments.
///
/// Policy and snapshot are walked side by side, so that a hundred thousand healthy certificates cost no lookup each.
#[must_use]
pub fn plan(policy: &Policy, snapshot: &Snapshot, now: Timestamp) -> Plan {
    if let Some(doubt) = clock::doubt(&snapshot.clock, now) {
        return clock::wait(policy, snapshot, doubt, now);
    }
    let mut draft = Draft::new(now);
    draft.host = snapshot.host;
    draft.accounts = snapshot.accounts.clone();
    draft.holds = outage::holds(policy, snapshot, now);
    let budget = |(id, issuer): (&IssuerId, &IssuerPolicy)| {
        let opened = snapshot.opened.get(id).map_or(&[][..], Vec::as_slice);
        let per_hour = issuer.pace.orders_per_hour;
        (id.clone(), OrderBudget::new(opened, per_hour, now))
    };
    draft.budgets = policy.issuers.iter().map(budget).collect();
    draft.renewals_from = jobs::renewals_from(policy, snapshot, now);
    for order in snapshot.orders.values() {
        if order_machine::is_buying(order) {
            draft.buys(&order.issuer, &order.id);
        }
    }
    let leads = renewal::leads(policy);
    if let Some(at) = jobs::next_of_all(policy, snapshot, now) {
        draft.wake(at);
    }
    let unknown_certificate = CertificateState::default();
    let unknown_target = TargetState::default();
    let mut places = places(policy, snapshot, &unknown_target);
    let open = open_orders(snapshot);

    for shortage in &snapshot.tight {
        alerts::no_space(shortage, &mut draft);
        draft.wake(now + certificates::SPACE_INTERVAL);
    }
    let mut subjects = Vec::with_capacity(policy.certificates.len());
    let mut verdicts = Vec::with_capacity(policy.certificates.len());
    let mut states = snapshot.certificates.iter().peekable();
    let mut order = open.iter().peekable();
    for (at, (id, certificate)) in policy.certificates.iter().enumerate() {
        let state = advance(&mut states, id).unwrap_or(&unknown_certificate);
        let subject = Subject {
            policy: certificate,
            state,
            order: advance(&mut order, &id).copied(),
            shortage: snapshot.shortages.get(id),
            lead: leads.of(certificate, state),
        };
        let verdict = certificates::decide((policy, snapshot), &subject, now, &mut draft);
        places.visit(at, id, &subject);
        subjects.push((subject, subject.coming(&verdict, now)));
        verdicts.push(verdict);
    }
    for (id, state) in &snapshot.certificates {
        if !state.left_behind.is_empty() && !policy.certificates.contains_key(id) {
            orders::left_behind(id, state, now, &mut draft);
        }
    }
    for order in open.values() {
        if !policy.certificates.contains_key(&order.certificate) {
            certificates::orphan(policy, snapshot, order, now, &mut draft);
        }
    }
    for work in places.list.iter().filter(|work| work.needs_a_look) {
        let members: Vec<Member<'_>> = work
            .members
            .iter()
            .map(|&at| Member {
                at,
                subject: subjects[at].0,
                coming: subjects[at].1,
            })
            .collect();
        let place = work.place.with(&members);
        let findings = targets::decide(&place, &members, now, &mut draft);
        for Finding { at, verdict } in findings {
            merge(&mut verdicts[at], verdict);
        }
        for member in &members {
            let renewed = renew_what_is_served(
                policy,
                &place,
                member,
                now,
                &mut draft,
                &verdicts[member.at],
            );
            if let Some(verdict) = renewed {
                verdicts[member.at] = verdict;
            }
        }
        alerts::target(&place, &members, snapshot, now, &mut draft);
    }
    revoke::decide(policy, snapshot, now, &mut draft);
    supplement::late::decide(policy, snapshot, now, &mut draft);
    push::decide(policy, snapshot, now, &mut draft);
    watch::alerts(policy, snapshot, now, &mut draft);
    relied::alerts(policy, snapshot, now, &mut draft);
    widespread::channels(policy, snapshot, now, &mut draft);
    widespread::issuers(policy, snapshot, &mut draft);
    widespread::downtime(policy, snapshot, now, &mut draft);
    widespread::policy(snapshot, &mut draft);
    for work in &places.list {
        observed::decide(&work.place, snapshot.checked_at, now, &mut draft);
    }
    let ids = policy.certificates.keys().cloned();
    draft.finish(ids.zip(verdicts).collect())
}

/// The target serves an older revision because the newest is held off. A person wanted it so, and it is usually due for
/// renewal already, so nothing is ordered behind their back; but before it expires, or once it is revoked,
/// another order ends the hold.
fn renew_what_is_served(
    policy: &Policy,
    place: &Place<'_>,
    member: &Member<'_>,
    now: Timestamp,
    draft: &mut Draft,
    verdict: &Verdict,
) -> Option<Verdict> {
    let subject = &member.subject;
    let newest = subject.state.newest.as_ref()?;
    let applies = match subject.policy.order {
        OrderMode::Auto => subject.order.is_none() && !matches!(verdict, Verdict::Act(_)),
        OrderMode::Never => false,
    };
    if !applies || !place.state.held.contains(&newest.id) {
        return None;
    }
    let served = place.state.live.get(&subject.policy.id)?;
    if subject.state.is_revoked(served) {
        let reason = Reason::Revoked;
        return Some(certificates::open(policy, subject, reason, now, draft));
    }
    let (emergency_at, not_after) = subject.end_of(served)?;
    if now < emergency_at {
        draft.wake(emergency_at);
        return None;
    }
    Some(certificates::open(
        policy,
        subject,
        Reason::Emergency { not_after },
        now,
        draft,
    ))
}

/// One verdict speaks for a certificate and all its targets: what is being done, else what a person must do, else what
/// is waited for. Of equals the first is kept, and the certificate's own comes first.
fn merge(verdict: &mut Verdict, other: Verdict) {
    let rank = |verdict: &Verdict| match verdict {
        Verdict::Healthy { .. } => 0,
        Verdict::Wait(_) => 1,
        Verdict::Blocked(_) => 2,
        Verdict::Act(_) => 3,
    };
    if rank(&other) > rank(verdict) {
        *verdict = other;
    }
}

fn open_orders(snapshot: &Snapshot) -> BTreeMap<&CertificateId, &Order> {
    snapshot
        .orders
        .values()
        .map(|order| (&order.certificate, order))
        .collect()
}

/// The targets of the policy while the certificates pass by.
struct Places<'a> {
    list: Vec<Work<'a>>,
    /// Only ever asked for one id, so its order does not show.
    index: HashMap<&'a TargetId, usize>,
}

struct Work<'a> {
    place: Place<'a>,
    /// Moves along with the certificates, which come in the same order.
    live: Peekable<btree_map::Iter<'a, CertificateId, RevisionId>>,
    members: Vec<usize>,
    needs_a_look: bool,
}

fn places<'a>(policy: &'a Policy, snapshot: &'a Snapshot, unknown: &'a TargetState) -> Places<'a> {
    let mut states = snapshot.targets.iter().peekable();
    // A rollout of a target that left the policy rests until the target is back: nobody knows its files any more.
    let rollouts: BTreeMap<&TargetId, &Rollout> = snapshot
        .rollouts
        .values()
        .map(|rollout| (&rollout.target, rollout))
        .collect();
    let mut rollout = rollouts.iter().peekable();
    let mut list = Vec::with_capacity(policy.targets.len());
    let mut index = HashMap::with_capacity(policy.targets.len());
    for (id, target) in &policy.targets {
        let place = Place {
            policy: target,
            host: snapshot.host,
            state: advance(&mut states, id).unwrap_or(unknown),
            rollout: advance(&mut rollout, &id).copied(),
            days: &policy.alerting.days,
            asked: None,
        };
        index.insert(id, list.len());
        list.push(Work {
            place,
            live: place.state.live.iter().peekable(),
            members: Vec::new(),
            needs_a_look: !targets::is_quiet(&place),
        });
    }
    Places { list, index }
}

impl Places<'_> {
    /// Notes a certificate on its targets; must be called in the order of ids.
    fn visit(&mut self, at: usize, id: &CertificateId, subject: &Subject<'_>) {
        for target in &subject.policy.targets {
            let Some(&found) = self.index.get(target) else {
                continue;
            };
            let work = &mut self.list[found];
            work.members.push(at);
            let newest = subject.state.newest.as_ref().map(|newest| &newest.id);
            let live = advance(&mut work.live, id);
            work.needs_a_look |= newest.is_some() && newest != live;
        }
    }
}

/// The value of a key, from an iterator in the order of keys that is asked for rising keys.
fn advance<'a, K: Ord + 'a, V: 'a>(
    iterator: &mut Peekable<impl Iterator<Item = (&'a K, &'a V)>>,
    key: &K,
) -> Option<&'a V> {
    loop {
        // One comparison for the usual case: each costs two texts from memory.
        let (have, value) = *iterator.peek()?;
        match have.cmp(key) {
            Ordering::Less => iterator.next(),
            Ordering::Equal => {
                iterator.next();
                return Some(value);
            }
            Ordering::Greater => return None,
        };
    }
}
