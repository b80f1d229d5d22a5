//! `renewd check`: a plugin for Nagios, Icinga and whatever else reads the answers of monitoring plugins.
//!
//! One line with performance data, then one line for each thing that is not well. Whatever goes wrong is an answer as
//! well: unknown. Root is answered from the journal, everybody else from the status file, in which nothing is secret.

use std::collections::BTreeSet;
use std::path::Path;

use crate::cli::args::{Arguments, Check, Threshold};
use crate::cli::exit::Exit;
use crate::cli::{context, output};
use crate::config;
use crate::engine;
use crate::model::{Policy, Seconds, Timestamp};
use crate::plan::explain::counted;
use crate::plan::status::{CertificateStatus, Status, Urgency, VERSION, moment};
use crate::store::Store;
use crate::sys::clock::{Clock, SystemClock};
use crate::sys::{error_chain, fs};

/// Answers, on standard output, whatever happens.
pub(crate) async fn check(arguments: &Arguments, ask: &Check) -> Exit {
    let now = SystemClock.now();
    match seen(arguments, ask, now).await {
        Ok(status) => {
            let answer = Answer::new(&status, ask, now);
            output::data(&answer.text());
            match answer.worst {
                Level::Ok => Exit::Done,
                Level::Warning => Exit::CheckWarning,
                Level::Critical => Exit::CheckCritical,
            }
        }
        Err(why) => {
            let (line, rest) = why.split_once('\n').unwrap_or((&why, ""));
            output::data(&format!("RENEWD UNKNOWN - {}\n{rest}", plain(line)));
            Exit::CheckUnknown
        }
    }
}

async fn seen(arguments: &Arguments, ask: &Check, now: Timestamp) -> Result<Status, String> {
    let tags: BTreeSet<String> = ask.tags.iter().cloned().collect();
    let root = fs::own_ids().0 == 0;
    let status = match (&ask.file, config::load(&arguments.config)) {
        (Some(file), _) => stored(file)?,
        (None, Ok(loaded)) if root => journal(&loaded.policy, now).await?,
        (None, Ok(loaded)) => {
            let file = engine::status_file(&loaded.policy);
            stored(file.as_deref().unwrap_or(Path::new(engine::STATUS_FILE)))?
        }
        // A policy that only root may read says nothing to others, and nothing of itself.
        (None, Err(_)) if !root => stored(Path::new(engine::STATUS_FILE))?,
        (None, Err(problems)) => {
            let file = arguments.config.display();
            return Err(format!("the policy {file} cannot be used\n{problems}"));
        }
    };
    let status = status.as_of(now).only(&ask.names, &tags);
    for name in &ask.names {
        let all = &status.certificates;
        if ask.tags.is_empty() && !all.iter().any(|one| one.report.name == name.as_str()) {
            return Err(format!("there is no certificate `{name}`"));
        }
    }
    if status.certificates.is_empty() && !(ask.names.is_empty() && ask.tags.is_empty()) {
        return Err("no certificate is what was asked for".to_owned());
    }
    Ok(status)
}

async fn journal(policy: &Policy, now: Timestamp) -> Result<Status, String> {
    let store = context::reader(policy)
        .await
        .map_err(|failure| failure.message)?;
    let seen = store.as_ref().map(|store| -> &dyn Store { store });
    let status = engine::status(policy, seen, now).await;
    if let Some(store) = &store {
        // It was only read.
        let _ = store.close().await;
    }
    status.map_err(|error| error_chain(&error))
}

/// From the status file; its time of change is the last sign of life.
fn stored(file: &Path) -> Result<Status, String> {
    let read = fs::read_if_exists(file, LONGEST).map_err(|error| error_chain(&error))?;
    let Some(bytes) = read else {
        return Err(format!(
            "{} is not there: renewd never ran here as a service, or leaves its status elsewhere (`status_file` in [metrics]; --file)",
            file.display()
        ));
    };
    let failed = |error: &dyn std::fmt::Display| {
        format!("{} is no status of renewd: {error}", file.display())
    };
    let mut status: Status = serde_json::from_slice(&bytes).map_err(|error| failed(&error))?;
    if status.version != VERSION {
        return Err(failed(&format!("its form is {}", status.version)));
    }
    if let Ok(Some(found)) = fs::stat(file) {
        let touched = Timestamp(found.modified.div_euclid(1_000_000_000));
        status.agent.progress_at = Some(touched.to_string());
    }
    // As of when it was written: what is true of it now is in the time of change.
    status.agent.running = None;
    Ok(status)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Ok,
    Warning,
    Critical,
}

struct Answer {
    worst: Level,
    /// What is not well, the worst first.
    found: Vec<(Level, String)>,
    /// What is well, or nobody's business.
    notes: Vec<String>,
    summary: String,
    data: Vec<String>,
}

impl Answer {
    fn new(status: &Status, ask: &Check, now: Timestamp) -> Self {
        let mut found = Vec::new();
        let mut notes = Vec::new();
        alive(status, ask.stale, now, &mut found, &mut notes);
        for one in &status.certificates {
            certificate(one, ask, now, &mut found, &mut notes);
        }
        for target in &status.targets {
            if target.undo_failed {
                let why = "an undo could not be proven, what is served is unknown";
                found.push((Level::Critical, format!("target {}: {why}", target.name)));
            } else if target.failures > 0 {
                let last = target.failure.as_deref().unwrap_or("no reason is known");
                let text = format!(
                    "target {}: {} failed in a row, the last with: {last}",
                    target.name,
                    counted(target.failures as usize, "rollout")
                );
                found.push((Level::Warning, text));
            }
        }
        for alert in &status.alerts {
            let level = match alert.severity.as_str() {
                "critical" => Level::Critical,
                "warning" => Level::Warning,
                _ => Level::Ok,
            };
            found.push((level, format!("alert: {}", alert.title)));
        }
        for channel in status.channels.iter().filter(|one| one.failing > 0) {
            let text = format!(
                "{}: {} about alerts could not be sent",
                channel.name,
                counted(channel.failing as usize, "letter")
            );
            found.push((Level::Warning, text));
        }
        found.sort_by_key(|(level, _)| std::cmp::Reverse(*level));
        let worst = found.first().map_or(Level::Ok, |(level, _)| *level);
        let sum = &status.summary;
        let soonest = status
            .certificates
            .iter()
            .filter_map(|one| Some((one.ends()?, one)))
            .min_by_key(|(end, _)| *end);
        let mut summary = format!(
            "{} of {} healthy",
            sum.healthy,
            counted(sum.certificates, "certificate")
        );
        if let Some((end, one)) = soonest {
            let left = days(now.until(end));
            summary.push_str(&format!(", {} ends first, in {left} days", one.report.name));
        }
        Self {
            worst,
            found,
            notes,
            summary,
            data: data(status, ask, now),
        }
    }

    fn text(&self) -> String {
        let (word, line) = match (self.worst, self.found.first()) {
            (Level::Critical, Some((_, first))) => ("CRITICAL", first),
            (Level::Warning, Some((_, first))) => ("WARNING", first),
            _ => ("OK", &self.summary),
        };
        let bad = self.found.iter().filter(|(level, _)| *level > Level::Ok);
        let more = match bad.count() {
            0 | 1 => String::new(),
            count => format!(" (and {} more)", count - 1),
        };
        let mut text = format!(
            "RENEWD {word} - {}{more} | {}\n",
            plain(line),
            self.data.join(" ")
        );
        for (level, line) in &self.found {
            let word = match level {
                Level::Ok => "note",
                Level::Warning => "warning",
                Level::Critical => "critical",
            };
            text.push_str(&format!("{word}: {}\n", plain(line)));
        }
        for note in &self.notes {
            text.push_str(&format!("{}\n", plain(note)));
        }
        if self.worst != Level::Ok {
            text.push_str(&format!("{}\n", plain(&self.summary)));
        }
        text
    }
}

/// Whether somebody looks after the certificates.
fn alive(
    status: &Status,
    stale: Option<Seconds>,
    now: Timestamp,
    found: &mut Vec<(Level, String)>,
    notes: &mut Vec<String>,
) {
    let agent = &status.agent;
    let Some(at) = moment(agent.progress_at.as_ref()) else {
        found.push((Level::Critical, "renewd never ran here".to_owned()));
        return;
    };
    let daemon = agent.mode.as_deref() != Some("once");
    let limit = stale.unwrap_or(if daemon { DAEMON } else { TIMER });
    let age = at.until(now);
    let who = if daemon {
        "the daemon"
    } else {
        "`renewd once`"
    };
    if age.0 < -limit.0 {
        let text = format!("{who} got on last at {at}, which is to come: the clock was set");
        found.push((Level::Critical, text));
    } else if agent.running == Some(false) && daemon && age > RESTART.min(limit) {
        found.push((
            Level::Critical,
            format!("no daemon runs, since {age} at least"),
        ));
    } else if age > limit {
        let text = format!("{who} did not get on for {age}: it is dead, or stands still");
        found.push((Level::Critical, text));
    } else {
        notes.push(format!("{who} got on {} ago", Seconds(age.0.max(0))));
    }
}

fn certificate(
    one: &CertificateStatus,
    ask: &Check,
    now: Timestamp,
    found: &mut Vec<(Level, String)>,
    notes: &mut Vec<String>,
) {
    let report = &one.report;
    let name = &report.name;
    match one.ends() {
        None => {
            let text = format!("{name}: no certificate yet: {}", report.message);
            let level = match one.urgency {
                Urgency::Critical => Level::Critical,
                _ => Level::Warning,
            };
            found.push((level, text));
        }
        Some(end) if end <= now => {
            found.push((Level::Critical, format!("{name}: expired at {end}")));
        }
        Some(end) => {
            let (warning, critical) = limits(one, ask);
            let left = now.until(end);
            let below = |limit: Option<Seconds>| limit.is_some_and(|limit| left <= limit);
            let text = format!("{name}: {} days left, until {end}", days(left));
            if below(critical) {
                found.push((Level::Critical, text));
            } else if below(warning) {
                found.push((Level::Warning, text));
            } else {
                notes.push(format!("{text}, {}", report.verdict));
            }
        }
    }
    if one.not_after().is_some() && report.verdict != "healthy" {
        let level = match one.urgency {
            // What is left of the time was said above.
            Urgency::Critical if report.verdict == "blocked" => Level::Critical,
            Urgency::Critical | Urgency::Warning => Level::Warning,
            Urgency::Notice | Urgency::Ok => Level::Ok,
        };
        let text = format!("{name}: {} ({})", report.message, report.reason);
        found.push((level, text));
    } else if one.failures > 0 {
        let last = one.failure.as_deref().unwrap_or("no reason is known");
        found.push((Level::Warning, format!("{name}: {last}")));
    }
    for push in one.pushes.iter().filter(|push| push.is_failing()) {
        let text = format!("{name} at {}: not in use: {}", push.name, push.wrong());
        found.push((Level::Warning, text));
    }
    for place in &report.targets {
        let on = &place.name;
        if place.is_in_doubt() {
            let text = format!("{name} on {on}: in place, and not seen to be served");
            found.push((Level::Warning, text));
        } else if place.state == "unproven" {
            notes.push(format!("{name} on {on}: unproven, as the policy says"));
        }
    }
}

/// Below which time left it is a warning, and critical.
fn limits(one: &CertificateStatus, ask: &Check) -> (Option<Seconds>, Option<Seconds>) {
    let written = |threshold: Option<Threshold>| match threshold? {
        Threshold::Time(time) => Some(time),
        Threshold::Share(share) => {
            let parts = i128::from(one.lifetime?) * i128::from(share);
            i64::try_from(parts / 100).ok().map(Seconds)
        }
    };
    let end = one.not_after();
    let before = |at: Option<Timestamp>| Some(at?.until(end?));
    let margin = before(moment(one.renewal_at.as_ref()));
    let late = margin.map(|margin| Seconds(margin.0 / 4 * 3));
    let emergency = before(moment(one.emergency_at.as_ref()));
    (
        written(ask.warning).or(late),
        written(ask.critical).or(emergency),
    )
}

/// By the guidelines of the monitoring plugins: `'label'=value;warn;crit;min;max`. A limit `5:` is broken by what is below.
/// Days have no unit there.
fn data(status: &Status, ask: &Check, now: Timestamp) -> Vec<String> {
    let sum = &status.summary;
    let all = sum.certificates;
    let mut data = vec![
        format!("certificates={all};;;0;"),
        format!("healthy={};;;0;{all}", sum.healthy),
        format!("blocked={};;;0;{all}", sum.blocked),
        format!("expired={};;;0;{all}", sum.expired),
        format!("alerts={};;;0;", status.alerts.len()),
    ];
    if let Some(at) = moment(status.agent.progress_at.as_ref()) {
        data.push(format!("progress_age={}s;;;0;", at.until(now).0.max(0)));
    }
    // With more of them the answer would be cut off where it is read.
    if all > MOST_SERIES {
        return data;
    }
    for one in &status.certificates {
        let Some(end) = one.ends() else { continue };
        let (warning, critical) = limits(one, ask);
        let limit =
            |limit: Option<Seconds>| limit.map_or(String::new(), |l| format!("{}:", days(l)));
        let most = one
            .lifetime
            .map_or(String::new(), |whole| days(Seconds(whole)));
        data.push(format!(
            "'{} days left'={};{};{};;{most}",
            one.report.name,
            days(now.until(end)),
            limit(warning),
            limit(critical)
        ));
    }
    data
}

fn days(length: Seconds) -> String {
    format!("{:.2}", length.0 as f64 / Seconds::days(1).0 as f64)
}

/// Behind a bar comes performance data, wherever it stands.
fn plain(text: &str) -> String {
    text.replace('|', "/").replace(['\n', '\r'], " ")
}

/// Bytes of a status file.
const LONGEST: u64 = 256 << 20;
/// A tick with slow hooks takes a while.
const DAEMON: Seconds = Seconds::minutes(30);
/// The timer comes every hour, with up to half an hour of delay.
const TIMER: Seconds = Seconds::hours(3);
/// An upgrade is no alarm.
const RESTART: Seconds = Seconds::minutes(5);
/// Nagios reads eight thousand characters.
const MOST_SERIES: usize = 50;
