//! What is watched, as lines of `renewd status` and as data.

use serde::{Deserialize, Serialize};

use crate::model::{Policy, Seconds, Snapshot, Timestamp};
use crate::plan::status::Code;
use crate::plan::watch::{self, Verdict};

/// One certificate that is watched, or a place that shows none: in `watched` of `renewd status --json`, and behind the
/// certificates of the policy in `renewd plan --json`, where `watch` tells it from them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchReport {
    /// The table `[watch.NAME]`.
    pub watch: String,
    /// `files`, `host` or `account`.
    pub kind: Code,
    /// File, listener or id; empty for an account as a whole, and for what was not looked at yet.
    pub place: String,
    /// A few of the certificate's names, `null` where there is none.
    pub names: Option<String>,
    /// `good`, `changed`, `failing` (not often enough to be told), `unseen`, or what is wrong: `expired`, `missing`,
    /// `unreadable`, `unreachable`, `not-yet-valid`, `key-mismatch`, `wrong-name`, `chain`, `expiring`.
    pub verdict: Code,
    /// In words; empty where all is well.
    pub message: String,
    /// Serial in hex, or the issuer's id for an account.
    pub serial: Option<String>,
    /// RFC 3339.
    pub not_after: Option<String>,
    /// Whole days until then; negative behind it.
    pub days_left: Option<i64>,
}

/// Everything that is watched, in the order of the policy.
#[must_use]
pub fn report(policy: &Policy, snapshot: &Snapshot, now: Timestamp) -> Vec<WatchReport> {
    let all = watch::sightings(policy, snapshot, now);
    all.into_iter()
        .map(|seen| {
            let certificate = seen.certificate;
            let which = certificate.map_or("", |one| one.which.as_str());
            WatchReport {
                watch: seen.watch.id.to_string(),
                kind: seen.watch.what.word().into(),
                place: format!("{} {which}", seen.place).trim().to_owned(),
                names: certificate.map(|one| one.names.clone()),
                verdict: seen.verdict.code().into(),
                message: seen.detail,
                serial: certificate.map(|one| one.serial.clone()),
                not_after: certificate.map(|one| one.not_after.to_string()),
                days_left: certificate.map(|one| days(one.not_after, now)),
            }
        })
        .collect()
}

impl WatchReport {
    /// What is relative to the present, at another moment.
    pub(crate) fn settle(&mut self, now: Timestamp) {
        let end = self.not_after.as_ref();
        let end = end.and_then(|end| Timestamp::parse(end).ok());
        self.days_left = end.map(|end| days(end, now));
    }
}

fn days(end: Timestamp, now: Timestamp) -> i64 {
    now.until(end).0.div_euclid(Seconds::days(1).0)
}

/// A line for each; of many that are well only how many they are.
#[must_use]
pub fn text(reports: &[WatchReport]) -> String {
    let mut text = String::new();
    let mut at = 0;
    while let Some(first) = reports.get(at) {
        let group = &reports[at..];
        let length = group
            .iter()
            .take_while(|one| one.watch == first.watch)
            .count();
        let group = &group[..length];
        at += length;
        text.push_str(&format!("watch {} ({}):\n", first.watch, first.kind));
        let (good, other): (Vec<&WatchReport>, Vec<&WatchReport>) = group
            .iter()
            .partition(|one| one.verdict == Verdict::Good.code());
        let shown = if good.len() > MOST_GOOD {
            0
        } else {
            good.len()
        };
        for one in other.into_iter().chain(good.iter().take(shown).copied()) {
            text.push_str(&line(one));
        }
        if shown < good.len() {
            text.push_str(&format!("  {} more are well\n", good.len()));
        }
    }
    text
}

fn line(one: &WatchReport) -> String {
    let mut line = format!("  {}", one.verdict);
    for part in [one.place.as_str(), one.names.as_deref().unwrap_or("")] {
        if !part.is_empty() {
            line.push_str(&format!("  {part}"));
        }
    }
    if let (Some(not_after), Some(days)) = (&one.not_after, one.days_left) {
        line.push_str(&format!("  until {not_after}, {days} days left"));
    }
    if !one.message.is_empty() {
        line.push_str(&format!("  {}", one.message));
    }
    line.push('\n');
    line
}

/// More of one table are only counted.
const MOST_GOOD: usize = 20;
