//! The status as metrics in Prometheus' text format, version 0.0.4: for node_exporter's textfile collector, and by HTTP.
//!
//! Names are a contract, listed in operations.md. Moments are seconds since 1970, so that what is relative to the present
//! is computed where it is asked: `renewd_certificate_not_after_timestamp_seconds - time()`.

use std::fmt::Write as _;

use crate::model::Timestamp;
use crate::plan::status::{CertificateStatus, Status, TargetStatus, moment};

/// All of it.
#[must_use]
pub fn render(status: &Status) -> String {
    let mut out = Text(String::new());
    let version = [("version", status.agent.version.as_str())];
    out.family("renewd_build_info", "Which renewd this is of.");
    out.sample("renewd_build_info", &version, 1.0);
    out.family(
        PROGRESS,
        "When renewd last came to the end of a round. It stands still when renewd is dead.",
    );
    if let Some(at) = moment(status.agent.progress_at.as_ref()) {
        out.sample(PROGRESS, &[], at.0 as f64);
    }
    counts(&mut out, status);
    certificates(&mut out, &status.certificates);
    targets(&mut out, &status.targets);
    channels(&mut out, status);
    purchases(&mut out, status);
    out.0
}

/// The same text with another moment of progress.
#[must_use]
pub fn with_progress(text: &str, now: Timestamp) -> Option<String> {
    let start = text.find(&format!("\n{PROGRESS} "))? + PROGRESS.len() + 2;
    let end = start + text.get(start..)?.find('\n')?;
    let (before, after) = (text.get(..start)?, text.get(end..)?);
    Some(format!("{before}{}{after}", now.0))
}

fn counts(out: &mut Text, status: &Status) {
    let sum = &status.summary;
    let name = "renewd_certificates";
    out.family(name, "Certificates of the policy by verdict.");
    for (verdict, count) in [
        ("healthy", sum.healthy),
        ("act", sum.act),
        ("wait", sum.wait),
        ("blocked", sum.blocked),
    ] {
        out.sample(name, &[("verdict", verdict)], count as f64);
    }
    let name = "renewd_alerts";
    out.family(name, "Open alerts by severity.");
    for severity in ["critical", "warning", "notice"] {
        let all = status.alerts.iter();
        let count = all.filter(|alert| alert.severity == severity).count();
        out.sample(name, &[("severity", severity)], count as f64);
    }
}

fn certificates(out: &mut Text, all: &[CertificateStatus]) {
    type Value = fn(&CertificateStatus) -> Option<f64>;
    let families: [(&str, &str, Value); 8] = [
        (
            "not_after_timestamp_seconds",
            "End of validity of the newest revision.",
            |one| seconds(one.report.not_after.as_ref()),
        ),
        (
            "not_before_timestamp_seconds",
            "Begin of validity of the newest revision.",
            |one| seconds(one.not_before.as_ref()),
        ),
        (
            "renewal_timestamp_seconds",
            "When renewal of the newest revision is due.",
            |one| seconds(one.renewal_at.as_ref()),
        ),
        (
            "emergency_timestamp_seconds",
            "From when on it is an emergency that it was not renewed.",
            |one| seconds(one.emergency_at.as_ref()),
        ),
        (
            "lifetime_seconds",
            "From begin to end of validity of the newest revision.",
            |one| Some(one.lifetime? as f64),
        ),
        (
            "failures",
            "Orders that failed in a row; 0 when the last one succeeded.",
            |one| Some(f64::from(one.failures)),
        ),
        (
            "urgency",
            "How soon a person should look: 0 not at all, 1 something is under way, 2 something fails, 3 now.",
            |one| Some(f64::from(one.urgency as u8)),
        ),
        (
            "live",
            "1 where every target of the certificate has its newest revision in place.",
            |one| {
                let mut places = one.report.targets.iter();
                let live = places.all(|at| ["live", "unproven"].contains(&&*at.state));
                Some(f64::from(u8::from(live)))
            },
        ),
    ];
    for (name, help, value) in families {
        let name = format!("renewd_certificate_{name}");
        out.family(&name, help);
        for one in all {
            if let Some(value) = value(one) {
                out.sample(&name, &[("certificate", &one.report.name)], value);
            }
        }
    }
    let name = "renewd_certificate_verdict";
    out.family(name, "1 for the verdict that was given, 0 for the others.");
    for one in all {
        for verdict in ["healthy", "act", "wait", "blocked"] {
            let labels = [("certificate", &*one.report.name), ("verdict", verdict)];
            let given = one.report.verdict == verdict;
            out.sample(name, &labels, f64::from(u8::from(given)));
        }
    }
}

fn targets(out: &mut Text, all: &[TargetStatus]) {
    type Value = fn(&TargetStatus) -> Option<f64>;
    let families: [(&str, &str, Value); 4] = [
        (
            "failures",
            "Rollouts that failed in a row; 0 when the last one succeeded.",
            |one| Some(f64::from(one.failures)),
        ),
        (
            "undo_failed",
            "1 where an undo could not be proven: what is served is unknown.",
            |one| Some(f64::from(u8::from(one.undo_failed))),
        ),
        ("rollout_open", "1 while a rollout is open.", |one| {
            Some(f64::from(u8::from(one.rollout.is_some())))
        }),
        (
            "proven_timestamp_seconds",
            "When a handshake last showed the present set.",
            |one| seconds(one.proven_at.as_ref()),
        ),
    ];
    for (name, help, value) in families {
        let name = format!("renewd_target_{name}");
        out.family(&name, help);
        for one in all {
            if let Some(value) = value(one) {
                out.sample(&name, &[("target", &one.name)], value);
            }
        }
    }
}

fn channels(out: &mut Text, status: &Status) {
    let families = [
        (
            "renewd_outbox_failing_letters",
            "Letters about alerts that were tried in vain and wait for another attempt.",
        ),
        (
            "renewd_outbox_longest_queue_letters",
            "Letters on their way to the recipient that has most of them.",
        ),
        (
            "renewd_outbox_refused_recipients",
            "Recipients who have a letter that was refused.",
        ),
    ];
    for (at, (name, help)) in families.into_iter().enumerate() {
        out.family(name, help);
        for one in &status.channels {
            let values = [
                f64::from(one.failing),
                f64::from(one.longest_queue),
                one.refused as f64,
            ];
            let value = values.get(at).copied().unwrap_or_default();
            out.sample(name, &[("channel", &one.name)], value);
        }
    }
}

fn purchases(out: &mut Text, status: &Status) {
    let families = [
        (
            "renewd_purchases",
            "Certificates that this host has bought, or may have, within a day and within 30 days.",
            false,
        ),
        (
            "renewd_purchases_allowed",
            "Certificates that the policy allows all hosts of the account to buy within that time.",
            true,
        ),
    ];
    for (name, help, allowed) in families {
        out.family(name, help);
        for one in &status.purchases {
            let (day, month) = match allowed {
                false => (one.day, one.month),
                true => (one.day_allowed, one.month_allowed),
            };
            for (within, count) in [("1d", day), ("30d", month)] {
                let labels = [("issuer", one.name.as_str()), ("within", within)];
                out.sample(name, &labels, f64::from(count));
            }
        }
    }
}

fn seconds(text: Option<&String>) -> Option<f64> {
    moment(text).map(|at| at.0 as f64)
}

struct Text(String);

impl Text {
    /// What is measured is all of one kind: it may go up and down.
    fn family(&mut self, name: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} gauge");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.0.push_str(name);
        for (at, (label, text)) in labels.iter().enumerate() {
            self.0.push(if at == 0 { '{' } else { ',' });
            let _ = write!(self.0, "{label}=\"{}\"", escaped(text));
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        let _ = writeln!(self.0, " {value}");
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

const PROGRESS: &str = "renewd_last_progress_timestamp_seconds";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_a_label_is_escaped() {
        let mut out = Text(String::new());
        out.sample("a", &[("b", "c\"d\\e\nf")], 1_790_000_000.0);
        assert_eq!(out.0, "a{b=\"c\\\"d\\\\e\\nf\"} 1790000000\n");
    }

    #[test]
    fn progress_is_replaced_and_nothing_else() {
        let text = format!("# TYPE {PROGRESS} gauge\n{PROGRESS} 17\nother 17\n");
        let expected = format!("# TYPE {PROGRESS} gauge\n{PROGRESS} 18\nother 17\n");
        assert_eq!(with_progress(&text, Timestamp(18)), Some(expected));
        assert_eq!(with_progress("other 17\n", Timestamp(18)), None);
        assert_eq!(
            with_progress(&format!("\n{PROGRESS} 17"), Timestamp(18)),
            None
        );
    }
}
