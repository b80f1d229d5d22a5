//! The one writer to the terminal: colours only there, and a closed pipe is no reason to fail.

use std::io::Write;

use anstyle::{AnsiColor, Style};

use crate::engine::{Progress, ProgressSink};

/// Writes data to standard output.
pub(crate) fn data(text: &str) {
    let mut stdout = anstream::stdout().lock();
    let _ = stdout.write_all(text.as_bytes());
    let _ = stdout.flush();
}

/// Moves about on a terminal, also on one without colours.
pub(crate) fn control(sequence: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(sequence.as_bytes());
    let _ = stdout.flush();
}

/// Writes a note to standard error.
pub(crate) fn note(text: &str) {
    let mut stderr = anstream::stderr().lock();
    let _ = writeln!(stderr, "{text}");
}

/// Writes an error to standard error, one `error:` before it.
pub(crate) fn error(text: &str) {
    note(&format!("{RED}error:{RED:#} {text}"));
}

/// Writes progress to standard error as it happens.
pub(crate) fn progress_sink(quiet: bool) -> ProgressSink {
    std::sync::Arc::new(move |progress| {
        if let Some(text) = render(&progress, quiet) {
            note(&text);
        }
    })
}

pub(crate) fn render(progress: &Progress, quiet: bool) -> Option<String> {
    match progress {
        Progress::Alert {
            severity,
            title,
            text,
            ..
        } => Some(format!(
            "{RED}ALERT{RED:#} ({severity}) {title}\n{}",
            indent(text)
        )),
        _ if quiet => None,
        Progress::Done { subject, text, .. } => Some(format!(
            "{GREEN}ok{GREEN:#}    {BOLD}{subject}{BOLD:#}: {text}"
        )),
        Progress::Failed {
            subject,
            text,
            output,
            ..
        } => {
            let mut lines = format!("{RED}fail{RED:#}  {BOLD}{subject}{BOLD:#}: {text}");
            if !output.trim().is_empty() {
                lines.push('\n');
                lines.push_str(&indent(output.trim_end()));
            }
            Some(lines)
        }
        Progress::Waiting { subject, text } => Some(format!(
            "{YELLOW}wait{YELLOW:#}  {BOLD}{subject}{BOLD:#}: {text}"
        )),
        Progress::Policy { accepted, text } => Some(if *accepted {
            format!("{GREEN}ok{GREEN:#}    {text}")
        } else {
            format!("{RED}fail{RED:#}  {text}")
        }),
        Progress::Resolved { title, .. } => {
            Some(format!("{GREEN}ok{GREEN:#}    resolved: {title}"))
        }
    }
}

fn indent(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(|line| format!("      {line}")).collect();
    lines.join("\n")
}

/// For names.
pub(crate) const BOLD: Style = Style::new().bold();
/// For what is well.
pub(crate) const GREEN: Style = AnsiColor::Green.on_default();
/// For what waits.
pub(crate) const YELLOW: Style = AnsiColor::Yellow.on_default();
/// For what a person must see.
pub(crate) const RED: Style = AnsiColor::Red.on_default().bold();
