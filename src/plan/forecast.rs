//! Which renewals come until a day that is far ahead, and where a certificate would be missing: what `renewd plan --at` adds to
//! the plan of that day, whose journal has none of what happens until then.
//!
//! Each certificate is taken to be renewed when it is due, by its rule, and to be issued for as long as is allowed on that day:
//! what lives shorter today keeps its own length. Of public ones CA/Browser Forum, ballot SC-081v3, sets the length, and for
//! how long a proof of a domain holds. Where nothing may be bought, only what is paid for comes, and to the copy of a journal only
//! what was applied for. Failures, budgets and
//! maintenance windows are not foreseen.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::{
    Blocked, Budget, CertificateFacts, CertificateId, CertificatePolicy, CertificateState,
    Fingerprint, IssuerId, IssuerKind, Order, OrderMode, OrderPhase, Policy, RevisionFacts,
    RevisionId, Seconds, Snapshot, Stale, Timestamp,
};
use crate::plan::explain::counted;
use crate::plan::{Verdict, entitlements, plan, renewal, supplement};

/// What comes of one certificate.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Foreseen {
    /// In order.
    pub renewals: Vec<Renewal>,
    /// When there would be none.
    pub gaps: Vec<Gap>,
    /// How far is looked, RFC 3339: short of the day that was asked for where there are too many renewals.
    pub until: String,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renewal {
    /// When it is ordered, RFC 3339; renewd may be a little earlier.
    pub at: String,
    /// End of the certificate that it brings.
    pub not_after: String,
    /// Whether its domains are proven anew; `null` where none are proven.
    pub proof: Option<bool>,
}

/// A time without a valid certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// RFC 3339.
    pub from: String,
    /// `null`: nothing that is foreseen ends it.
    pub until: Option<String>,
    /// In words.
    pub why: String,
}

/// For each certificate of the policy, from `now` to `at`.
#[must_use]
pub fn forecast(
    policy: &Policy,
    snapshot: &Snapshot,
    (now, at): (Timestamp, Timestamp),
) -> BTreeMap<CertificateId, Foreseen> {
    let unknown = CertificateState::default();
    let leads = renewal::leads(policy);
    // What a target waits for, or is busy with, hides what is said of the certificate itself.
    let alone = Policy {
        targets: BTreeMap::new(),
        ..policy.clone()
    };
    let present = plan(&alone, snapshot, now);
    let orders = snapshot.orders.values();
    let orders: BTreeMap<&CertificateId, &Order> =
        orders.map(|order| (&order.certificate, order)).collect();
    let copies = copies(snapshot);
    let one = |(id, certificate): (&CertificateId, &CertificatePolicy)| {
        let state = snapshot.certificates.get(id).unwrap_or(&unknown);
        let account = snapshot.account(&certificate.issuer);
        let course = Course {
            policy,
            certificate,
            state,
            order: orders.get(id).copied(),
            copied: snapshot.stale.as_ref(),
            stale: copies.get(account),
            takes: leads.of(certificate, state),
            span: (now, at),
        };
        (id.clone(), course.run(present.verdicts.get(id)))
    };
    policy.certificates.iter().map(one).collect()
}

/// Accounts with purchases that the journal does not know, as far as an order has seen them.
fn copies(snapshot: &Snapshot) -> BTreeMap<&IssuerId, Stale> {
    let found = snapshot.orders.values().filter_map(|order| {
        let OrderPhase::Bare { spent, .. } = &order.phase else {
            return None;
        };
        let references = spent.unknown.clone();
        let how = Stale::UnknownPurchases { references };
        (!spent.unknown.is_empty()).then(|| (snapshot.account(&order.issuer), how))
    });
    found.collect()
}

/// Whether nothing is ordered until a person acts. What keeps a target back keeps no order back, nor does what the issuer
/// says of a certificate that is there.
const fn stops_orders(blocked: &Blocked) -> bool {
    match blocked {
        Blocked::IssuerShortens { .. }
        | Blocked::ForeignApplication { .. }
        | Blocked::StaleJournal { .. }
        | Blocked::PurchaseUnclear { .. }
        | Blocked::SuccessorOverdue { .. }
        | Blocked::SuccessorLacksNames { .. }
        | Blocked::Person { .. } => true,
        Blocked::UndoFailed { .. }
        | Blocked::RolloutFailed { .. }
        | Blocked::RestartNeeded { .. }
        | Blocked::NoAnswer { .. }
        | Blocked::Held
        | Blocked::Remote { .. }
        | Blocked::NewerElsewhere { .. }
        | Blocked::Drifted { .. } => false,
    }
}

struct Course<'a> {
    policy: &'a Policy,
    certificate: &'a CertificatePolicy,
    state: &'a CertificateState,
    order: Option<&'a Order>,
    /// Why the journal may take nothing of an account.
    copied: Option<&'a Stale>,
    /// Why it may buy nothing.
    stale: Option<&'a Stale>,
    /// From an order to its certificate.
    takes: Seconds,
    span: (Timestamp, Timestamp),
}

impl Course<'_> {
    fn run(&self, verdict: Option<&Verdict>) -> Foreseen {
        let (now, at) = self.span;
        let mut foreseen = Foreseen {
            until: at.to_string(),
            ..Foreseen::default()
        };
        let never = match (verdict, self.certificate.order) {
            (_, OrderMode::Never) => Some(OTHERS.to_owned()),
            (Some(Verdict::Blocked(blocked)), OrderMode::Auto) if stops_orders(blocked) => {
                Some(blocked.to_string())
            }
            (Some(_) | None, OrderMode::Auto) => None,
        };
        let mut present = self.usable().cloned();
        if let Some(why) = never {
            foreseen.gaps.extend(self.end(present.as_ref(), why));
            return foreseen;
        }
        // Taken to be as old as the first certificate that is known to have come of it.
        let mut proven = self.state.newest.as_ref().map(|newest| newest.issued_at);
        let unbought = self.unbought();
        let mut paid = self.paid();
        loop {
            let due = match &present {
                Some(one) => self.due(one).max(now),
                None => now,
            };
            if due > at {
                return foreseen;
            }
            if foreseen.renewals.len() >= MOST {
                foreseen.until = due.to_string();
                return foreseen;
            }
            if let Some(why) = &unbought {
                if paid == 0 {
                    foreseen
                        .gaps
                        .extend(self.end(present.as_ref(), why.clone()));
                    return foreseen;
                }
                paid -= 1;
            }
            let begins = due + self.takes;
            let (from, why) = match &present {
                Some(one) => (one.facts.not_after, TOO_LATE.to_owned()),
                None => (now, self.lacks()),
            };
            if from < begins {
                foreseen.gaps.push(gap(from, Some(begins), why));
            }
            let next = self.next(begins);
            let proof = self.is_public().then(|| {
                let holds = proven.is_some_and(|proven| proven + reuse(due) > due);
                !holds
            });
            if proof == Some(true) {
                proven = Some(due);
            }
            foreseen.renewals.push(Renewal {
                at: due.to_string(),
                not_after: next.facts.not_after.to_string(),
                proof,
            });
            present = Some(next);
        }
    }

    /// What is there, if it is of use.
    fn usable(&self) -> Option<&RevisionFacts> {
        let newest = self.state.newest.as_ref()?;
        let usable = self.state.unusable.is_none() && !self.state.is_revoked(&newest.id);
        usable.then_some(newest)
    }

    /// Why there is none of use.
    fn lacks(&self) -> String {
        match (&self.state.unusable, &self.state.newest) {
            (Some(detail), _) => format!("the present one is unusable: {detail}"),
            (None, Some(_)) => "the present one is revoked".to_owned(),
            (None, None) => "there is none yet".to_owned(),
        }
    }

    /// The gap behind the last one, if it begins in time.
    fn end(&self, last: Option<&RevisionFacts>, why: String) -> Option<Gap> {
        let (now, at) = self.span;
        let from = last.map_or(now, |last| last.facts.not_after.max(now));
        (from < at).then(|| gap(from, None, why))
    }

    /// Why nothing may be bought for it, or be taken at all, where certificates are bought.
    fn unbought(&self) -> Option<String> {
        let issuer = self.policy.issuers.get(&self.certificate.issuer)?;
        let IssuerKind::Scm(scm) = &issuer.kind else {
            return None;
        };
        if let Some(how) = self.copied {
            let how = how.clone();
            return Some(Blocked::StaleJournal { how }.to_string());
        }
        let Some(purchase) = &scm.purchase else {
            return Some(NO_PURCHASE.to_owned());
        };
        let Budget { per_day, per_month } = purchase.budget;
        if per_day == 0 || per_month == 0 {
            return Some(NO_BUDGET.to_owned());
        }
        let how = self.stale?.clone();
        Some(Blocked::StaleJournal { how }.to_string())
    }

    /// Certificates that come without a purchase: those that the present one's order brings yet, or what an order holds.
    fn paid(&self) -> u32 {
        // A copy takes nothing more, whatever it holds; what was applied for is fetched.
        let applied = |order: &&Order| match order.phase {
            OrderPhase::Unclear { supplement, .. } => !supplement,
            OrderPhase::Submitted { .. } | OrderPhase::Issued { .. } => true,
            _ => false,
        };
        if self.copied.is_some() {
            return u32::from(self.order.filter(applied).is_some());
        }
        let same = self.state.issuer.as_ref() == Some(&self.certificate.issuer);
        let to_come = match self.usable() {
            Some(_) if same => entitlements::to_come(self.state),
            Some(_) | None => 0,
        };
        // An order that adds names to what is there has nothing else.
        let order = self.order;
        let order = order.filter(|order| supplement::of_order(order).is_none());
        let held = order.is_some_and(|order| {
            matches!(order.phase, OrderPhase::Issued { .. })
                || entitlements::left(order, self.span.0).is_some()
        });
        let unused = self.state.unused.as_ref();
        let unused = unused.is_some_and(|unused| !unused.reference.is_empty());
        // What is held may be what the order brings.
        to_come.max(u32::from(held || unused))
    }

    fn due(&self, revision: &RevisionFacts) -> Timestamp {
        renewal::of(self.policy, self.certificate, self.state, revision).renew_at
    }

    fn is_public(&self) -> bool {
        let issuer = self.policy.issuers.get(&self.certificate.issuer);
        issuer.is_some_and(|issuer| matches!(issuer.kind, IssuerKind::Scm(_)))
    }

    /// What is issued at this moment.
    fn next(&self, begins: Timestamp) -> RevisionFacts {
        let lifetime = self.lifetime(begins);
        let id = self.certificate.id.as_str();
        let certificate = self.certificate;
        RevisionFacts {
            id: RevisionId::new("foreseen").unwrap_or_else(|_| unreachable!("it is a good id")),
            facts: CertificateFacts {
                serial: format!("{id}/{}", begins.0),
                fingerprint: Fingerprint([0; 32]),
                spki: Fingerprint([0; 32]),
                common_name: None,
                names: certificate.names.clone(),
                issuer_name: String::new(),
                not_before: begins,
                not_after: begins + lifetime,
                key_algorithm: Some(certificate.key_algorithm),
            },
            issued_at: begins,
            reference: String::new(),
            policy: Some(certificate.digest),
            applied: None,
        }
    }

    fn lifetime(&self, begins: Timestamp) -> Seconds {
        let newest = self.state.newest.as_ref().map(|newest| &newest.facts);
        let asked = if self.is_public() {
            longest(begins)
        } else {
            self.certificate.validity
        };
        let seen = newest.and_then(|facts| {
            let allowed = if self.is_public() {
                longest(facts.not_before)
            } else {
                self.certificate.validity
            };
            let lifetime = facts.lifetime();
            // A day less is no other length.
            (lifetime.0 > 0 && lifetime.0 < allowed.0 - Seconds::days(1).0).then_some(lifetime)
        });
        Seconds(asked.0.min(seen.unwrap_or(asked).0))
    }
}

fn gap(from: Timestamp, until: Option<Timestamp>, why: String) -> Gap {
    Gap {
        from: from.to_string(),
        until: until.map(|until| until.to_string()),
        why,
    }
}

/// How long a public certificate may be valid that is issued then (CA/Browser Forum, ballot SC-081v3).
fn longest(at: Timestamp) -> Seconds {
    Seconds::days(step(at).0)
}

/// How old a proof of a domain may be then (the same ballot).
fn reuse(at: Timestamp) -> Seconds {
    Seconds::days(step(at).1)
}

fn step(at: Timestamp) -> (i64, i64) {
    let step = STEPS.iter().rev().find(|(from, _)| at >= *from);
    step.map_or((398, 398), |(_, days)| *days)
}

/// One line for each certificate, and whether there is a gap.
#[must_use]
pub fn text(all: &BTreeMap<CertificateId, Foreseen>, at: Timestamp) -> String {
    let mut text = format!("renewals until {at}, if each is made when it is due:\n");
    let (mut renewals, mut gaps) = (0, 0);
    let mut seen_until = at.to_string();
    for (id, foreseen) in all {
        renewals += foreseen.renewals.len();
        seen_until = seen_until.min(foreseen.until.clone());
        gaps += usize::from(!foreseen.gaps.is_empty());
        text.push_str(&format!("{id}: {}\n", line(foreseen, at)));
        for gap in &foreseen.gaps {
            let until = gap
                .until
                .as_ref()
                .map_or_else(|| "on".to_owned(), |until| format!("until {until}"));
            text.push_str(&format!(
                "{id}: GAP from {} {until}: {}\n",
                gap.from, gap.why
            ));
        }
    }
    let of = counted(all.len(), "certificate");
    text.push_str(&match gaps {
        0 if seen_until < at.to_string() => {
            let renewals = counted(renewals, "renewal");
            format!("no gap until {seen_until}: {of}, {renewals}\n")
        }
        0 => format!("no gap: {of}, {}\n", counted(renewals, "renewal")),
        _ => format!(
            "{gaps} of {of} with a gap, {}\n",
            counted(renewals, "renewal")
        ),
    });
    text
}

fn line(foreseen: &Foreseen, at: Timestamp) -> String {
    let (Some(first), Some(last)) = (foreseen.renewals.first(), foreseen.renewals.last()) else {
        return "no renewal".to_owned();
    };
    let proofs = foreseen
        .renewals
        .iter()
        .filter(|one| one.proof == Some(true));
    let proofs = match (first.proof, proofs.count()) {
        (None, _) => String::new(),
        (Some(_), count) => format!(", {count} with a new proof of its names"),
    };
    let count = counted(foreseen.renewals.len(), "renewal");
    let more = if foreseen.until == at.to_string() {
        String::new()
    } else {
        format!("; looked at until {}", foreseen.until)
    };
    format!(
        "{count}, the next at {}, the last at {} for one until {}{proofs}{more}",
        first.at, last.at, last.not_after
    )
}

/// From when on: days of a certificate, days of a proof.
const STEPS: [(Timestamp, (i64, i64)); 3] = [
    // 2026-03-15
    (Timestamp(1_773_532_800), (200, 200)),
    // 2027-03-15
    (Timestamp(1_805_068_800), (100, 100)),
    // 2029-03-15
    (Timestamp(1_868_227_200), (47, 10)),
];
/// Renewals of one certificate that are looked at.
const MOST: usize = 1000;
const TOO_LATE: &str = "the next one comes too late";
const NO_PURCHASE: &str = "nothing may be bought for it (no `purchase`)";
const NO_BUDGET: &str = "nothing may be bought for it (its budget is 0)";
const OTHERS: &str =
    "others order it (`order = \"never\"`), and when the next one comes is not known here";

#[cfg(test)]
mod tests;
