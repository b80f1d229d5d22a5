//! `renewd notify-agent`: in the session of a user, shows what the daemon tells of alerts.
//!
//! The daemon itself cannot: a session's bus lets nobody in but its user.

use std::time::Duration;

use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

use crate::cli::args::Arguments;
use crate::cli::exit::Exit;
use crate::cli::{CommandResult, Failure, control};
use crate::control::{Answer, Client, Connected, Entry, FaultCode, Message, Operation, Request};
use crate::engine::Progress;
use crate::model::Severity;
use crate::notify::desktop::{self, Board, Card};
use crate::sys::{error_chain, host_name};

/// Until SIGTERM or SIGINT. A daemon that is not there, and a desktop that shows nothing, are waited for.
pub(crate) async fn run(arguments: &Arguments) -> CommandResult {
    crate::telemetry::start("renewd=info");
    let listen = |kind| {
        signal(kind).map_err(|error| {
            Failure::new(Exit::Bug, format!("failed to listen for signals: {error}"))
        })
    };
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut agent = Agent::new();
    tokio::select! {
        result = agent.work(arguments) => result,
        _ = terminate.recv() => Ok(Exit::Done),
        _ = interrupt.recv() => Ok(Exit::Done),
    }
}

struct Agent {
    board: Board,
    begun: Instant,
    /// After popups that could not be shown.
    not_before: Instant,
    desktop: Backoff,
}

/// How a connection ended.
enum Ended {
    /// Another one may be better, after a while.
    Lost(String),
    /// The daemon says that this user, or this version, is not welcome.
    Refused(Failure),
}

impl Agent {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            board: Board::new(host_name()),
            begun: now,
            not_before: now,
            desktop: Backoff::default(),
        }
    }

    async fn work(&mut self, arguments: &Arguments) -> CommandResult {
        let mut daemon = Backoff::default();
        loop {
            // The policy may say another place by now.
            let control = control::control(arguments);
            let socket = control.socket.display();
            match Client::connect(&control.socket).await {
                Ok(Connected::Yes(client)) => match self.listen(client, &mut daemon).await {
                    Ended::Lost(why) => tracing::info!("the connection to renewd ended: {why}"),
                    Ended::Refused(failure) => return Err(failure),
                },
                Ok(Connected::Nobody) => tracing::debug!("no renewd listens at {socket}"),
                Ok(Connected::Forbidden) => {
                    let text = format!(
                        "{socket} is for root and the group {}: make this user a member of it and log in anew",
                        control.group
                    );
                    return Err(Failure::new(Exit::NoPermission, text));
                }
                Err(error) => tracing::info!("renewd cannot be reached at {socket}: {error}"),
            }
            let end = Instant::now() + daemon.next();
            // What waits is shown meanwhile.
            while let Some(due) = self.next_popup().filter(|due| *due < end) {
                tokio::time::sleep_until(due).await;
                self.show().await;
            }
            tokio::time::sleep_until(end).await;
        }
    }

    async fn listen(&mut self, mut client: Client, daemon: &mut Backoff) -> Ended {
        let request = Request {
            id: None,
            policy: None,
            operation: Operation::Events,
        };
        if let Err(error) = client.ask(&request).await {
            return Ended::Lost(error.to_string());
        }
        let (lines, mut received) = tokio::sync::mpsc::channel(LINES);
        // A task of its own: a line that was half read must not be lost when a popup is due.
        let reading = tokio::spawn(async move {
            loop {
                let line = client.next().await;
                let last = line.is_err();
                if lines.send(line).await.is_err() || last {
                    return;
                }
            }
        });
        let ended = loop {
            let due = self.next_popup();
            let line = tokio::select! {
                line = received.recv() => line,
                () = sleep_until(due) => {
                    self.show().await;
                    continue;
                }
            };
            match line {
                Some(Ok(Message::Event(event))) => {
                    daemon.reset();
                    if self.hear(&event) == Heard::Gap {
                        break Ended::Lost("events were missed".to_owned());
                    }
                }
                Some(Ok(Message::Answer(Answer::Refused(fault)))) => {
                    break match fault.code {
                        FaultCode::Stopping | FaultCode::Busy | FaultCode::Failed => {
                            Ended::Lost(fault.message)
                        }
                        _ => Ended::Refused(control::refused(&fault)),
                    };
                }
                Some(Ok(Message::Answer(Answer::Done(_)))) | None => {
                    break Ended::Lost("it said nothing more".to_owned());
                }
                Some(Err(error)) => break Ended::Lost(error.to_string()),
            }
        };
        reading.abort();
        ended
    }

    fn hear(&mut self, event: &Value) -> Heard {
        let now = self.begun.elapsed();
        match event["kind"].as_str() {
            Some("listening") => {
                let alerts = event["alerts"].as_array();
                let cards = alerts.into_iter().flatten().filter_map(card).collect();
                self.board.standing(cards, now);
            }
            // What was missed may be an alert: a new connection begins with all that stand.
            Some("lagged") => return Heard::Gap,
            Some("alert") => {
                if let Some(card) = card(event) {
                    self.board.raise(card, now);
                }
            }
            Some("resolved") => {
                if let Ok(Entry {
                    progress: Progress::Resolved { key, .. },
                    ..
                }) = serde_json::from_value(event.clone())
                {
                    self.board.resolve(&key, now);
                }
            }
            _ => {}
        }
        Heard::All
    }

    fn next_popup(&self) -> Option<Instant> {
        let due = self.begun + self.board.due()?;
        Some(due.max(self.not_before))
    }

    async fn show(&mut self) {
        for popup in self.board.take(self.begun.elapsed()) {
            match tokio::time::timeout(LONGEST_SHOW, desktop::show(&popup)).await {
                Ok(Ok(number)) => {
                    self.board.number(&popup, number);
                    self.desktop.reset();
                    continue;
                }
                Ok(Err(error)) => {
                    let error = error_chain(&error);
                    tracing::warn!("the desktop shows nothing: {error}");
                }
                Err(_) => tracing::warn!("the desktop does not answer"),
            }
            self.board.put_back(&popup, self.begun.elapsed());
            self.not_before = Instant::now() + self.desktop.next();
        }
    }
}

#[derive(PartialEq, Eq)]
enum Heard {
    All,
    Gap,
}

fn card(alert: &Value) -> Option<Card> {
    let text = |key: &str| alert[key].as_str().map(str::to_owned);
    let severity = text("severity")?;
    let severity = Severity::ALL.into_iter().find(|one| one.code() == severity);
    Some(Card {
        key: text("key")?,
        // Of a later version: rather seen than not.
        severity: severity.unwrap_or(Severity::Warning),
        title: text("title")?,
        text: text("text").unwrap_or_default(),
    })
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// Longer and longer waits, from one second to a minute.
#[derive(Default)]
struct Backoff {
    failures: u32,
}

impl Backoff {
    fn next(&mut self) -> Duration {
        let wait = Duration::from_secs(1 << self.failures.min(6)).min(LONGEST_WAIT);
        self.failures += 1;
        wait
    }

    fn reset(&mut self) {
        self.failures = 0;
    }
}

const LONGEST_WAIT: Duration = Duration::from_secs(60);
const LONGEST_SHOW: Duration = Duration::from_secs(10);
/// Read and not looked at yet; the rest waits in the daemon.
const LINES: usize = 64;
