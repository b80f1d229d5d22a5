//! `renewd status`: every certificate, the most urgent one first, with a bar from its issue to its end. Never writes.

use std::collections::BTreeSet;
use std::io::IsTerminal as _;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use crate::cli::args::Arguments;
use crate::cli::bar::{self, Look};
use crate::cli::context;
use crate::cli::exit::Exit;
use crate::cli::output::{self, BOLD, GREEN, RED, YELLOW};
use crate::cli::{CommandResult, Failure, control};
use crate::engine;
use crate::model::{CertificateId, Policy, Timestamp};
use crate::plan;
use crate::plan::explain::{counted, place};
use crate::plan::status::{AgentStatus, CertificateStatus, Status, Urgency, moment};
use crate::store::Store;
use crate::sys::clock::{Clock, SystemClock};

/// What is asked for.
pub(crate) struct Ask<'a> {
    pub(crate) names: &'a [CertificateId],
    pub(crate) tags: &'a [String],
    pub(crate) json: bool,
    pub(crate) watch: bool,
}

/// What is served and what happens next.
pub(crate) async fn status(arguments: &Arguments, ask: Ask<'_>) -> CommandResult {
    let policy = match context::load(arguments) {
        Ok(loaded) => loaded.policy,
        Err(failure) => return by_older_policy(arguments, ask, failure).await,
    };
    for name in ask.names {
        context::known(&policy, name)?;
    }
    let tags: BTreeSet<String> = ask.tags.iter().cloned().collect();
    known(&policy, &tags)?;
    if ask.watch {
        return watch(arguments, ask.names, &tags).await;
    }
    let (status, _) = look(&policy, ask.names, &tags).await?;
    show(&status, ask.json)
}

fn show(status: &Status, json: bool) -> CommandResult {
    if json {
        let mut text = serde_json::to_string_pretty(status)
            .map_err(|error| Failure::new(Exit::Bug, error.to_string()))?;
        text.push('\n');
        output::data(&text);
    } else {
        output::data(&text(status, Look::of_terminal()));
    }
    Ok(Exit::Done)
}

/// A daemon that runs goes by the policy from before the mistake, and knows what is so.
async fn by_older_policy(arguments: &Arguments, ask: Ask<'_>, failure: Failure) -> CommandResult {
    let tags: BTreeSet<String> = ask.tags.iter().cloned().collect();
    let Ok(Some(status)) = control::status(&control::control(arguments)).await else {
        return Err(failure);
    };
    output::note(&control::older_policy(&failure));
    if ask.watch {
        return watch(arguments, ask.names, &tags).await;
    }
    let of = |name: &CertificateId| {
        let mut all = status.certificates.iter();
        all.any(|one| one.report.name == name.as_str())
    };
    if let Some(name) = ask.names.iter().find(|name| !of(name)) {
        let text = format!("the policy in force has no certificate `{name}`");
        return Err(Failure::new(Exit::Usage, text));
    }
    show(&status.only(ask.names, &tags), ask.json)
}

async fn look(
    policy: &Policy,
    names: &[CertificateId],
    tags: &BTreeSet<String>,
) -> Result<(Status, Timestamp), Failure> {
    let now = SystemClock.now();
    // A member of the socket's group sees by the daemon what he may not read himself.
    if !context::may_read(policy)
        && let Some(status) = control::status(&policy.control).await?
    {
        return Ok((status.only(names, tags), now));
    }
    Ok((present(policy, now).await?.only(names, tags), now))
}

/// The status by the journal: what this command shows, and what the control socket answers.
pub(crate) async fn present(policy: &Policy, now: Timestamp) -> Result<Status, Failure> {
    let failed = |error| context::store_failure(&error);
    let store = context::reader(policy).await?;
    let seen = store.as_ref().map(|store| -> &dyn Store { store });
    let status = engine::status(policy, seen, now).await.map_err(failed)?;
    if let Some(store) = store {
        store.close().await.map_err(failed)?;
    }
    Ok(status)
}

fn known(policy: &Policy, tags: &BTreeSet<String>) -> Result<(), Failure> {
    let used = || policy.certificates.values().flat_map(|one| &one.tags);
    match tags.iter().find(|tag| !used().any(|other| other == *tag)) {
        Some(tag) => Err(Failure::new(
            Exit::Usage,
            format!("no certificate of the policy has the tag `{tag}`"),
        )),
        None => Ok(()),
    }
}

/// Draws it again and again until it is interrupted, and leaves the terminal as it was.
async fn watch(
    arguments: &Arguments,
    names: &[CertificateId],
    tags: &BTreeSet<String>,
) -> CommandResult {
    if !std::io::stdout().is_terminal() {
        let text = "--watch draws on a terminal, and standard output is none";
        return Err(Failure::new(Exit::Usage, text));
    }
    let listen = |kind| {
        signal(kind).map_err(|error| {
            Failure::new(Exit::Bug, format!("failed to listen for signals: {error}"))
        })
    };
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    let mut hangup = listen(SignalKind::hangup())?;
    let mut resized = listen(SignalKind::window_change())?;
    let _screen = Screen::take();
    loop {
        // A policy that is being edited, or a journal that is being replaced, is right again at the next look.
        let drawn = match crate::config::load(&arguments.config) {
            Ok(loaded) => match look(&loaded.policy, names, tags).await {
                Ok((status, _)) => text(&status, Look::of_terminal()),
                Err(failure) => format!("{RED}error:{RED:#} {failure}\n"),
            },
            Err(_) => {
                let wrong = format!(
                    "{RED}error:{RED:#} the policy {} cannot be used; `renewd validate` says why\n",
                    arguments.config.display()
                );
                match control::status(&control::control(arguments)).await {
                    Ok(Some(status)) => {
                        let status = status.only(names, tags);
                        wrong + &text(&status, Look::of_terminal())
                    }
                    Ok(None) | Err(_) => wrong,
                }
            }
        };
        let (_, height) = bar::size();
        let shown: Vec<&str> = drawn.lines().take(height.saturating_sub(1)).collect();
        output::control("\u{1b}[H\u{1b}[2J");
        output::data(&(shown.join("\n") + "\n"));
        tokio::select! {
            () = tokio::time::sleep(BETWEEN_DRAWINGS) => {}
            _ = resized.recv() => {}
            _ = interrupt.recv() => break,
            _ = terminate.recv() => break,
            _ = hangup.recv() => break,
        }
    }
    Ok(Exit::Done)
}

/// The terminal's other screen, without a cursor; given back when dropped.
struct Screen;

impl Screen {
    fn take() -> Self {
        output::control("\u{1b}[?1049h\u{1b}[?25l");
        Self
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        output::control("\u{1b}[?25h\u{1b}[?1049l");
    }
}

fn text(status: &Status, look: Look) -> String {
    let now = Timestamp::parse(&status.at).unwrap_or_default();
    let mut text = head(status, now);
    for one in &status.certificates {
        text.push('\n');
        text.push_str(&certificate(one, now, look));
    }
    if !status.watched.is_empty() {
        text.push('\n');
        text.push_str(&plan::watch::text(&status.watched));
    }
    for alert in &status.alerts {
        text.push_str(&format!(
            "\n{RED}ALERT{RED:#} ({}) since {}: {}\n  {}\n",
            alert.severity,
            alert.since,
            alert.title,
            alert.text.replace('\n', "\n  ")
        ));
    }
    text
}

fn head(status: &Status, now: Timestamp) -> String {
    let sum = &status.summary;
    let mut parts = vec![format!("{} healthy", sum.healthy)];
    for (count, word) in [
        (sum.act, "under way"),
        (sum.wait, "waiting"),
        (sum.blocked, "blocked"),
        (sum.expired, "expired"),
    ] {
        if count > 0 {
            parts.push(format!("{count} {word}"));
        }
    }
    if !status.alerts.is_empty() {
        parts.push(counted(status.alerts.len(), "alert"));
    }
    let next = sum.next_renewal.as_ref().map_or_else(String::new, |next| {
        format!(
            "; next renewal {} {}",
            next.certificate,
            when(&next.at, now)
        )
    });
    format!(
        "{BOLD}{}{BOLD:#}: {}: {}{next}\n{}\n",
        status.host,
        counted(sum.certificates, "certificate"),
        parts.join(", "),
        agent(&status.agent, now)
    )
}

fn agent(agent: &AgentStatus, now: Timestamp) -> String {
    let last = moment(agent.progress_at.as_ref());
    let ago = last.map_or_else(String::new, |at| {
        format!(", last progress {} ago", at.min(now).until(now))
    });
    match (agent.running, agent.mode.as_deref(), last) {
        (Some(true), _, _) => {
            let process = agent
                .process
                .map(|number| format!(" (process {number})"))
                .unwrap_or_default();
            format!("{GREEN}the daemon runs{GREEN:#}{process}{ago}")
        }
        (Some(false), Some("once"), Some(at)) => format!(
            "no daemon runs; last run of `renewd once` or of a job {} ago",
            at.min(now).until(now)
        ),
        (Some(false), _, Some(_)) => format!("{YELLOW}no daemon runs{YELLOW:#}{ago}"),
        (Some(false), _, None) => format!("{YELLOW}no daemon runs{YELLOW:#}, and none ever did"),
        (None, _, _) => format!("whether a daemon runs cannot be seen{ago}"),
    }
}

fn certificate(one: &CertificateStatus, now: Timestamp, look: Look) -> String {
    let report = &one.report;
    let style = match one.urgency {
        Urgency::Ok => GREEN,
        Urgency::Notice | Urgency::Warning => YELLOW,
        Urgency::Critical => RED,
    };
    let left = match one.not_after() {
        Some(end) if end > now => format!("{} left", now.until(end)),
        Some(end) => format!("expired {} ago", end.until(now)),
        None => "no certificate yet".to_owned(),
    };
    let mut text = format!(
        "{BOLD}{}{BOLD:#}: {style}{}{style:#}",
        report.name, report.verdict
    );
    if report.verdict == "healthy" {
        text.push_str(&format!(", {left}\n"));
    } else {
        text.push_str(&format!(
            " ({}), {left}: {}\n",
            report.reason, report.message
        ));
    }
    if let Some(bar) = bar::bar(one, now, look) {
        text.push_str(&format!("  {bar}\n"));
    }
    if let (Some(serial), Some(not_after)) = (&report.serial, &report.not_after) {
        text.push_str(&format!("  serial {serial}, valid until {not_after}\n"));
    }
    for target in &report.targets {
        text.push_str(&format!("  on {}: {}\n", target.name, place(target)));
    }
    text.push_str(&plan::push::text(&one.pushes));
    if let Some(next) = &report.next_action {
        let at = next
            .at
            .as_ref()
            .map_or_else(|| "as soon as possible".to_owned(), |at| when(at, now));
        text.push_str(&format!("  next: {} {at}\n", next.action));
    }
    // Where it does not work, the verdict's own words say it already.
    let told = report.message.as_str();
    if let Some(failure) = one.failure.as_ref().filter(|text| !told.contains(*text)) {
        text.push_str(&format!(
            "  failed {}: {failure}\n",
            if one.failures == 1 {
                "once".to_owned()
            } else {
                format!("{} times", one.failures)
            }
        ));
    }
    text
}

fn when(at: &str, now: Timestamp) -> String {
    match Timestamp::parse(at) {
        Ok(moment) if moment > now => format!("at {at}, in {}", now.until(moment)),
        Ok(_) | Err(_) => format!("at {at}"),
    }
}

const BETWEEN_DRAWINGS: Duration = Duration::from_secs(2);
