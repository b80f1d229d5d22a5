//! Which letters leave now, and which of them together: few mails, and each of them read.
//!
//! The first letter of a quiet day leaves at once. Those that follow soon are gathered into one mail; the more mails a day
//! has had, the longer. What is critical waits for nothing, and takes along what does; so does a
//! digest, which has its time.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Held, Occasion, Pace, Quiet, Seconds, Severity, Slip, Timestamp};

/// What to do with the letters that wait for one recipient.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sorting {
    /// Mails to send now, in this order, each with the numbers of its letters.
    pub mails: Vec<Vec<i64>>,
    /// Letters that wait until then.
    pub held: Vec<(i64, Held, Timestamp)>,
    /// Letters that nobody needs any more: what they tell was over before their time came.
    pub spared: Vec<i64>,
}

/// Sorts what waits for one recipient, in the order in which it was queued. `sent` are the moments of the mails that this
/// one was sent in the last [`DAY`], the oldest first.
#[must_use]
pub fn sort(
    waiting: &[Slip],
    sent: &[Timestamp],
    pace: Option<Pace>,
    quiet: Option<&Quiet>,
    now: Timestamp,
) -> Sorting {
    // What was refused and will most likely be refused again holds nothing back, and is no mail that somebody reads: each
    // is tried by itself, behind all others. As soon as one passes the rest of them are letters like any other.
    let (refused, waiting): (Vec<Slip>, Vec<Slip>) = waiting
        .iter()
        .cloned()
        .partition(|slip| slip.refused && slip.mail.is_none());
    let mut sorting = sort_others(&waiting, sent, pace, quiet, now);
    let due = refused.iter().filter(|slip| slip.due_at <= now);
    sorting.mails.extend(due.map(|slip| vec![slip.seq]));
    sorting
}

fn sort_others(
    waiting: &[Slip],
    sent: &[Timestamp],
    pace: Option<Pace>,
    quiet: Option<&Quiet>,
    now: Timestamp,
) -> Sorting {
    let mut sorting = Sorting {
        spared: spared(waiting),
        ..Sorting::default()
    };
    let mut open: Vec<&Slip> = waiting.iter().collect();
    open.retain(|slip| !sorting.spared.contains(&slip.seq));
    // What may have been taken over is sent again as it was.
    let mut sealed: BTreeMap<&str, Vec<&Slip>> = BTreeMap::new();
    for slip in &open {
        if let Some(mail) = &slip.mail {
            sealed.entry(mail).or_default().push(slip);
        }
    }
    let mut again: Vec<Vec<&Slip>> = sealed.into_values().collect();
    let mut sent: Vec<Timestamp> = sent.to_vec();
    sent.extend(again.iter().map(|_| now));
    again.retain(|mail| mail.iter().all(|slip| slip.due_at <= now));
    again.sort_by_key(|mail| mail.first().map(|slip| slip.seq));
    for mail in &again {
        sorting
            .mails
            .push(mail.iter().map(|slip| slip.seq).collect());
    }
    let gone: BTreeSet<i64> = sorting.mails.iter().flatten().copied().collect();
    open.retain(|slip| !gone.contains(&slip.seq));

    loop {
        let free = free(&open);
        let mut due: Vec<&Slip> = free.iter().copied().filter(|s| s.due_at <= now).collect();
        let Some(pace) = pace else {
            // One by one, and none before what comes before it in its thread.
            due.retain(|slip| {
                let before = |other: &&&Slip| other.seq < slip.seq && other.thread == slip.thread;
                !free.iter().any(|other| before(&other))
            });
            let Some(seq) = due.first().map(|slip| slip.seq) else {
                return sorting;
            };
            sorting.mails.push(vec![seq]);
            open.retain(|slip| slip.seq != seq);
            continue;
        };
        if due.is_empty() {
            return sorting;
        }
        let (held, until) = allowed(pace, &sent, now);
        let hurries =
            |slip: &Slip| slip.severity == Severity::Critical || slip.occasion == Occasion::Digest;
        let urgent = due.iter().any(|slip| hurries(slip));
        if !urgent && until > now {
            let until = quiet.and_then(|quiet| quiet.end(until)).unwrap_or(until);
            sorting
                .held
                .extend(due.iter().map(|slip| (slip.seq, held, until)));
            return sorting;
        }
        let mut apart = due.iter().filter(|slip| slip.alone);
        let apart = apart.find(|slip| !urgent || hurries(slip));
        let mail: Vec<i64> = match apart {
            Some(alone) => vec![alone.seq],
            // A mail leaves anyway: it takes along what waits for nothing but that.
            None => together(&free, &due),
        };
        open.retain(|slip| !mail.contains(&slip.seq));
        sent.push(now);
        sorting.mails.push(mail);
    }
}

/// Those that go with the ones that are due: what waits for a mail alone, and what comes before one in its thread.
fn together(free: &[&Slip], due: &[&Slip]) -> Vec<i64> {
    let mut mail: Vec<&Slip> = free.to_vec();
    mail.retain(|slip| {
        let ready = slip.held != Held::No || slip.attempts > 0;
        !slip.alone && (ready || due.iter().any(|other| other.thread == slip.thread))
    });
    // What is bad is in it, however much there is.
    mail.sort_by_key(|slip| {
        let digest = slip.occasion == Occasion::Digest;
        (!digest, std::cmp::Reverse(slip.severity), slip.seq)
    });
    mail.truncate(MOST_IN_ONE);
    let mut mail: Vec<i64> = mail.iter().map(|slip| slip.seq).collect();
    mail.sort_unstable();
    mail
}

/// When another mail may leave at the earliest, and what it would wait for.
fn allowed(pace: Pace, sent: &[Timestamp], now: Timestamp) -> (Held, Timestamp) {
    // A clock that was set back leaves mails of days that are to come.
    let sent: Vec<Timestamp> = sent
        .iter()
        .copied()
        .filter(|at| *at <= now && at.until(now) < DAY)
        .collect();
    let Some(last) = sent.last() else {
        return (Held::No, now);
    };
    let count = i64::try_from(sent.len()).unwrap_or(i64::MAX);
    let wait = pace.gather.0.saturating_mul(count).min(DAY.0);
    let gathered = *last + Seconds(wait);
    let most = usize::try_from(pace.per_day).unwrap_or(usize::MAX).max(1);
    match sent.len().checked_sub(most) {
        Some(too_many) if sent[too_many] + DAY > gathered => (Held::Budget, sent[too_many] + DAY),
        _ => (Held::Gather, gathered),
    }
}

/// The letters about what was over before their time came, and those about its end where nobody heard of its beginning.
fn spared(waiting: &[Slip]) -> Vec<i64> {
    let mut threads: BTreeMap<&(String, Timestamp), Vec<&Slip>> = BTreeMap::new();
    for slip in waiting {
        threads.entry(&slip.thread).or_default().push(slip);
    }
    let mut spared = Vec::new();
    for slips in threads.into_values() {
        let Some(over) = slips.iter().find(|slip| slip.occasion == Occasion::Over) else {
            continue;
        };
        let raised = slips.iter().filter(|slip| slip.occasion != Occasion::Over);
        let (early, told): (Vec<&Slip>, Vec<&Slip>) = raised.copied().partition(|slip| {
            !ends_at_once(slip)
                && slip.mail.is_none()
                && slip.attempts == 0
                && slip.due_at > over.queued_at
        });
        spared.extend(early.iter().map(|slip| slip.seq));
        if told.is_empty() && !over.begun && over.mail.is_none() && !early.is_empty() {
            spared.push(over.seq);
        }
    }
    spared
}

/// Whether its alert tells of what is past: it is over as soon as it is raised, and that makes it nobody's less.
fn ends_at_once(slip: &Slip) -> bool {
    let kind = slip.thread.0.split('/').next();
    kind.is_some_and(|kind| ENDS_AT_ONCE.contains(&kind))
}

/// Those that nothing of their own thread must leave before: an end is told after what it ended, in another mail; what is
/// over at once, in the same.
fn free<'a>(open: &[&'a Slip]) -> Vec<&'a Slip> {
    let mut raised: BTreeSet<&(String, Timestamp)> = BTreeSet::new();
    let mut sealed: BTreeSet<&(String, Timestamp)> = BTreeSet::new();
    let mut free = Vec::new();
    for slip in open {
        let blocked = match slip.occasion {
            Occasion::Raised(_) | Occasion::Digest => sealed.contains(&slip.thread),
            Occasion::Over => raised.contains(&slip.thread),
        };
        let fresh = slip.mail.is_none() && slip.attempts == 0 && !slip.alone;
        let joins = ends_at_once(slip) && fresh;
        if slip.occasion != Occasion::Over && !joins {
            raised.insert(&slip.thread);
        }
        if slip.mail.is_some() {
            sealed.insert(&slip.thread);
        } else if !blocked {
            free.push(*slip);
        }
    }
    free
}

/// Kinds of alerts that are over with the very tick that raises them.
const ENDS_AT_ONCE: [&str; 1] = ["agent-was-down"];

/// A mail with more is not read.
const MOST_IN_ONE: usize = 200;

/// For which mails are counted.
pub const DAY: Seconds = Seconds::hours(24);

#[cfg(test)]
mod tests;
