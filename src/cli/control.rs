//! Commands that speak with the daemon, and the daemon's end of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Map, Value, json};
use tokio::sync::{mpsc, watch};

use crate::cli;
use crate::cli::args::Arguments;
use crate::cli::exit::Exit;
use crate::cli::output::{self, BOLD};
use crate::cli::{CommandResult, Failure, act, context};
use crate::config;
use crate::control::{
    Answer, Client, ClientError, Connected, Entry, FaultCode, Feed, Message, Operation, Request,
    Server, Surroundings,
};
use crate::engine::{Judged, Outcome, Wanted, Wish};
use crate::model::{Control, Policy, Seconds};
use crate::plan::status::Status;
use crate::store::Store;
use crate::sys::clock::{Clock, SystemClock};
use crate::sys::listener::{Socket, SocketError};
use crate::sys::{error_chain, fs};

/// Has the daemon do it, and shows what it does as if it were done here. `None` when there is no daemon, or one with
/// another policy: then the command does it itself.
pub(crate) async fn through(
    arguments: &Arguments,
    control: &Control,
    wanted: Wanted,
    wait: Seconds,
) -> Result<Option<Exit>, Failure> {
    let Some(mut client) = connect(control).await? else {
        return Ok(None);
    };
    let request = Request {
        id: None,
        policy: Some(policy_file(&arguments.config).display().to_string()),
        operation: Operation::Do(wanted, wait),
    };
    client.ask(&request).await.map_err(lost)?;
    let show = output::progress_sink(arguments.quiet);
    loop {
        match client.next().await.map_err(lost)? {
            Message::Event(event) => match serde_json::from_value::<Entry>(event) {
                Ok(entry) => show(entry.progress),
                // A sign of life, or something of a later version.
                Err(_) => continue,
            },
            Message::Answer(Answer::Done(fields)) => {
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                let errors = fields.get("errors").and_then(Value::as_array);
                for error in errors.into_iter().flatten() {
                    output::error(&text(error));
                }
                let note = fields.get("note").map(text).unwrap_or_default();
                if !arguments.quiet && !note.is_empty() {
                    output::note(&note);
                }
                let exit = fields.get("exit").and_then(Value::as_u64);
                return Ok(Some(exit.and_then(Exit::from_code).unwrap_or(Exit::Bug)));
            }
            // One of an earlier version leaves it to the command, as it always did.
            Message::Answer(Answer::Refused(fault))
                if matches!(
                    fault.code,
                    FaultCode::OtherPolicy | FaultCode::UnknownOperation
                ) =>
            {
                return Ok(None);
            }
            Message::Answer(Answer::Refused(fault)) => return Err(refused(&fault)),
        }
    }
}

/// The same where the policy that lies there cannot be used, which is `failure`: a daemon that runs goes by an older one.
pub(crate) async fn despite(
    arguments: &Arguments,
    failure: Failure,
    wanted: Wanted,
    wait: Seconds,
) -> CommandResult {
    let control = control(arguments);
    if let Ok(None) | Err(_) = connect(&control).await {
        return Err(failure);
    }
    output::note(&older_policy(&failure));
    let done = through(arguments, &control, wanted, wait).await?;
    done.ok_or(failure)
}

/// What a person is told in place of an error.
pub(crate) fn older_policy(failure: &Failure) -> String {
    format!("warning: {failure}; this is by the policy that the daemon goes by")
}

/// The same as SIGHUP, with an answer.
pub(crate) async fn reload(arguments: &Arguments) -> CommandResult {
    let control = control(arguments);
    match through(arguments, &control, Wanted::Reload, Seconds(0)).await? {
        Some(exit) => Ok(exit),
        None => Err(absent(&control)),
    }
}

/// What happened last, or what happens from now on.
pub(crate) async fn events(arguments: &Arguments, follow: bool, as_json: bool) -> CommandResult {
    let control = control(arguments);
    let Some(mut client) = connect(&control).await? else {
        return Err(absent(&control));
    };
    if !follow {
        let fields = asked(&mut client, Operation::Recent).await?;
        for event in fields["events"].as_array().into_iter().flatten() {
            print_event(event, as_json);
        }
        return Ok(Exit::Done);
    }
    let request = Request {
        id: None,
        policy: None,
        operation: Operation::Events,
    };
    client.ask(&request).await.map_err(lost)?;
    loop {
        match client.next().await {
            Ok(Message::Event(event)) => print_event(&event, as_json),
            Ok(Message::Answer(Answer::Refused(fault))) => return Err(refused(&fault)),
            Ok(Message::Answer(Answer::Done(_))) => return Ok(Exit::Done),
            Err(error) => return Err(Failure::new(Exit::TryLater, error.to_string())),
        }
    }
}

fn print_event(event: &Value, as_json: bool) {
    if event["kind"] == "alive" {
        return;
    }
    if as_json {
        output::data(&format!("{event}\n"));
        return;
    }
    let at = event["at"].as_str().unwrap_or_default();
    let text = match serde_json::from_value::<Entry>(event.clone()) {
        Ok(entry) => output::render(&entry.progress, false).unwrap_or_default(),
        Err(_) if event["kind"] == "lagged" => format!("{} events were missed", event["missed"]),
        Err(_) if event["kind"] == "listening" => {
            let standing = event["alerts"].as_array().map_or(0, Vec::len);
            output::note(&format!("listening; alerts that stand: {standing}"));
            return;
        }
        Err(_) => return,
    };
    output::data(&format!("{BOLD}{at}{BOLD:#}  {text}\n"));
}

/// The daemon's status, for whoever cannot read the journal. `None` when there is no daemon.
pub(crate) async fn status(control: &Control) -> Result<Option<Status>, Failure> {
    let Some(mut client) = connect(control).await? else {
        return Ok(None);
    };
    let mut fields = asked(&mut client, Operation::Status).await?;
    let status = serde_json::from_value(fields["status"].take());
    status
        .map(Some)
        .map_err(|error| lost(ClientError::Garbled(error.to_string())))
}

async fn status_fields(policy: &Policy) -> Result<Map<String, Value>, String> {
    let status = cli::status::present(policy, SystemClock.now()).await;
    let status = status.map_err(|failure| failure.message)?;
    let status = serde_json::to_value(status).map_err(|error| error.to_string())?;
    Ok(Map::from_iter([("status".to_owned(), status)]))
}

/// The alerts that stand, in the words of the status.
async fn alert_fields(policy: &Policy) -> Result<Map<String, Value>, String> {
    let store = context::reader(policy)
        .await
        .map_err(|failure| failure.message)?;
    let Some(store) = store else {
        return Ok(Map::from_iter([("alerts".to_owned(), json!([]))]));
    };
    let alerts = store
        .open_alerts()
        .await
        .map_err(|error| error_chain(&error))?;
    let objects = alerts.into_iter().map(|alert| {
        json!({
            "key": alert.key,
            "severity": alert.severity,
            "title": alert.title,
            "text": alert.text,
            "since": alert.raised_at.to_string(),
        })
    });
    Ok(Map::from_iter([("alerts".to_owned(), objects.collect())]))
}

async fn asked(client: &mut Client, operation: Operation) -> Result<Value, Failure> {
    let request = Request {
        id: None,
        policy: None,
        operation,
    };
    match client.answer(&request).await.map_err(lost)? {
        Answer::Done(fields) => Ok(Value::Object(fields)),
        Answer::Refused(fault) => Err(refused(&fault)),
    }
}

async fn connect(control: &Control) -> Result<Option<Client>, Failure> {
    let socket = &control.socket;
    match Client::connect(socket).await {
        Ok(Connected::Yes(client)) => Ok(Some(client)),
        Ok(Connected::Nobody) => Ok(None),
        Ok(Connected::Forbidden) => {
            let text = format!(
                "{} is for root and the group {}; become one of them",
                socket.display(),
                control.group
            );
            Err(Failure::new(Exit::NoPermission, text))
        }
        Err(error) => {
            let text = format!("renewd cannot be reached at {}: {error}", socket.display());
            Err(Failure::new(Exit::TryLater, text))
        }
    }
}

/// Where the daemon is, also by a policy with a mistake.
pub(crate) fn control(arguments: &Arguments) -> Control {
    let mut control = config::control(&arguments.config);
    if let Some(socket) = &arguments.socket {
        control.socket.clone_from(socket);
    }
    control
}

/// As it is written, from the root on. What a link in it leads to may change while the daemon runs.
fn policy_file(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn absent(control: &Control) -> Failure {
    let text = format!(
        "no renewd listens at {}: `renewd run` does, and its unit runs that",
        control.socket.display()
    );
    Failure::new(Exit::Unavailable, text)
}

pub(crate) fn refused(fault: &crate::control::Fault) -> Failure {
    let exit = match fault.code {
        FaultCode::Forbidden => Exit::NoPermission,
        FaultCode::BadRequest
        | FaultCode::Version
        | FaultCode::UnknownOperation
        | FaultCode::Other => Exit::Usage,
        FaultCode::OtherPolicy => Exit::Configuration,
        FaultCode::Busy | FaultCode::Failed | FaultCode::Stopping => Exit::TryLater,
    };
    Failure::new(exit, fault.message.clone())
}

/// What was asked for is in the journal by then, most likely, and is carried on.
fn lost(error: ClientError) -> Failure {
    let text = format!(
        "{error}; what was begun is in the journal and carried on when renewd runs again, see `renewd status`"
    );
    Failure::new(Exit::TryLater, text)
}

/// What a daemon needs to be reached.
pub(crate) struct Desk {
    server: Option<Server>,
    pub(crate) feed: Feed,
    pub(crate) wishes: mpsc::Receiver<Wish>,
    pub(crate) in_force: watch::Sender<Arc<Policy>>,
}

impl Desk {
    /// Opens the socket. A daemon without one does its work all the same; why is in the log.
    pub(crate) fn open(arguments: &Arguments, policy: &Arc<Policy>) -> Self {
        let feed = Feed::new(context::clock());
        let (sender, wishes) = mpsc::channel(LONGEST_QUEUE);
        let (in_force, current) = watch::channel(Arc::clone(policy));
        let surroundings = Surroundings {
            status: Box::new(|policy| Box::pin(async move { status_fields(&policy).await })),
            alerts: Box::new(|policy| Box::pin(async move { alert_fields(&policy).await })),
            feed: feed.clone(),
            wishes: sender,
            in_force: current,
            policy_file: policy_file(&arguments.config),
        };
        let server = match listen(policy) {
            Ok(socket) => Some(Server::start(socket, surroundings)),
            Err(error) => {
                tracing::warn!("there is no control socket: {}", error_chain(&error));
                None
            }
        };
        Self {
            server,
            feed,
            wishes,
            in_force,
        }
    }

    /// Takes the part that stays until the end.
    pub(crate) fn server(&mut self) -> Option<Server> {
        self.server.take()
    }
}

fn listen(policy: &Policy) -> Result<Socket, SocketError> {
    let control = &policy.control;
    if let Some(directory) = control.socket.parent() {
        // The state directory as whoever executes would make it; others pass through.
        let mode = if directory == policy.state_dir {
            0o711
        } else {
            0o755
        };
        fs::create_dir_all(directory, mode)?;
    }
    let group = match fs::group_id(&control.group) {
        Ok(group) => Some(group),
        Err(why) => {
            tracing::info!("{why}, so the control socket is for root only");
            None
        }
    };
    match Socket::bind(&control.socket, group) {
        // Whoever is not root gives files to his own groups only.
        Err(SocketError::Listen { error, .. })
            if group.is_some() && error.kind() == std::io::ErrorKind::PermissionDenied =>
        {
            tracing::warn!(
                "the control socket cannot be given to the group {}",
                control.group
            );
            Socket::bind(&control.socket, None)
        }
        bound => bound,
    }
}

/// What a wish has come to, in the words that the same command has without a daemon.
pub(crate) fn judge(judged: &Judged<'_>) -> Outcome {
    match judged {
        Judged::Planned {
            engine,
            snapshot,
            plan,
            scope,
        } => Outcome {
            exit: act::summary(engine, snapshot, plan, scope).code(),
            note: act::counts(plan),
            errors: [
                act::shortages(plan, scope),
                act::unrevoked(engine, snapshot, scope),
            ]
            .concat(),
        },
        Judged::Failed(error) => {
            let failure = context::engine_failure(error);
            Outcome::refused(failure.exit.code(), failure.message)
        }
    }
}

/// Wishes that wait for the end of a tick; the sessions of others wait in turn.
const LONGEST_QUEUE: usize = 32;
