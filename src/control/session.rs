//! One client: its requests one after the other, each with its events and its answer.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::io::{AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::control::feed::Entry;
use crate::control::line::{self, Line};
use crate::control::protocol::{Answer, Fault, FaultCode, Operation, Request, event_line, parse};
use crate::control::server::{Look, Surroundings};
use crate::engine::{Outcome, Progress, Wanted, Wish};
use crate::model::{Policy, Seconds};

/// Whether the client may have something done under a policy.
type MayAct = Box<dyn Fn(&Policy) -> bool + Send + Sync>;

pub(super) struct Session {
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    around: Arc<Surroundings>,
    may_act: MayAct,
}

/// Tells a client that there are too many.
pub(super) async fn turn_away(mut stream: UnixStream) {
    let message = "too many clients at the moment; try again later";
    let answer = Answer::Refused(Fault::new(FaultCode::Busy, message));
    // It is not there any more, or reads later what the kernel keeps for it.
    let _ = write(&mut stream, answer.to_line(None)).await;
}

impl Session {
    pub(super) fn new(stream: UnixStream, around: Arc<Surroundings>, may_act: MayAct) -> Self {
        let (reader, writer) = stream.into_split();
        Self {
            reader: BufReader::new(reader),
            writer,
            around,
            may_act,
        }
    }

    /// Until the client leaves, says nothing for long, or cannot be understood any more.
    pub(super) async fn serve(&mut self) -> io::Result<()> {
        loop {
            let read = line::read(&mut self.reader, LONGEST_REQUEST);
            let line = tokio::select! {
                line = timeout(LONGEST_SILENCE, read) => line,
                () = self.around.wishes.closed() => return Ok(()),
            };
            let Ok(line) = line else {
                return Ok(());
            };
            let line = match line? {
                Line::Whole(line) if line.trim_ascii().is_empty() => continue,
                Line::Whole(line) => line,
                Line::End => return Ok(()),
                Line::TooLong => {
                    let message = format!("a request has at most {LONGEST_REQUEST} bytes");
                    let fault = Fault::new(FaultCode::BadRequest, message);
                    return self.answer(&Answer::Refused(fault), None).await;
                }
            };
            match parse(&line) {
                Ok(request) => {
                    let answer = self.carry_out(&request).await?;
                    self.answer(&answer, request.id.as_ref()).await?;
                }
                Err((id, fault)) => self.answer(&Answer::Refused(fault), id.as_ref()).await?,
            }
        }
    }

    async fn carry_out(&mut self, request: &Request) -> io::Result<Answer> {
        let policy = Arc::clone(&self.around.in_force.borrow());
        if request.operation.acts() && !(self.may_act)(&policy) {
            let message = "the policy lets only root have something done (`act` of `[control]`)";
            return Ok(Answer::Refused(Fault::new(FaultCode::Forbidden, message)));
        }
        let ours = &self.around.policy_file;
        if let Some(theirs) = &request.policy
            && !is_same_file(Path::new(theirs), ours)
        {
            let message = format!("the daemon goes by {}", ours.display());
            return Ok(Answer::Refused(Fault::new(FaultCode::OtherPolicy, message)));
        }
        let id = request.id.as_ref();
        match &request.operation {
            Operation::Status => Ok(look(&self.around.status, policy).await),
            Operation::Alerts => Ok(look(&self.around.alerts, policy).await),
            Operation::Recent => {
                let events = {
                    let entries = self.around.feed.recent();
                    entries
                        .iter()
                        .map(|entry| json!(**entry))
                        .collect::<Value>()
                };
                let fields = [("events".to_owned(), events)];
                Ok(Answer::Done(fields.into_iter().collect()))
            }
            Operation::Events => self.stream(policy, id).await,
            Operation::Do(wanted, wait) => self.have_done(wanted, *wait, &policy, id).await,
        }
    }

    /// Everything from now on, with the standing alerts first, until the daemon ends or the client does.
    async fn stream(&mut self, policy: Arc<Policy>, id: Option<&Value>) -> io::Result<Answer> {
        // Before the alerts are read: what is raised in between comes twice rather than never.
        let mut events = self.around.feed.listen();
        let standing = match look(&self.around.alerts, policy).await {
            Answer::Done(mut fields) => fields.remove("alerts").unwrap_or_default(),
            refused @ Answer::Refused(_) => return Ok(refused),
        };
        let first = json!({ "kind": "listening", "alerts": standing });
        write(&mut self.writer, event_line(first, id)).await?;
        let around = Arc::clone(&self.around);
        loop {
            tokio::select! {
                event = events.recv() => match forward(event) {
                    Some(event) => write(&mut self.writer, event_line(event, id)).await?,
                    None => return Ok(Answer::Refused(stopping())),
                },
                () = tokio::time::sleep(SIGN_OF_LIFE) => self.sign_of_life(id).await?,
                () = around.wishes.closed() => return Ok(Answer::Refused(stopping())),
            }
        }
    }

    /// Hands a wish to the loop, and what happens for it to the client, until it is settled.
    async fn have_done(
        &mut self,
        wanted: &Wanted,
        wait: Seconds,
        policy: &Policy,
        id: Option<&Value>,
    ) -> io::Result<Answer> {
        let mut events = self.around.feed.listen();
        let (answer, outcome) = oneshot::channel();
        let wish = Wish {
            wanted: wanted.clone(),
            wait,
            answer,
        };
        let wishes = self.around.wishes.clone();
        let settled = async move {
            // Waits while too much was asked for already.
            wishes.send(wish).await.ok()?;
            outcome.await.ok()
        };
        tokio::pin!(settled);
        let outcome = loop {
            tokio::select! {
                // What happened before the outcome comes before it.
                biased;
                event = events.recv() => self.tell(event, wanted, policy, id).await?,
                outcome = &mut settled => break outcome,
                () = tokio::time::sleep(SIGN_OF_LIFE) => self.sign_of_life(id).await?,
            }
        };
        loop {
            let event = match events.try_recv() {
                Ok(entry) => Ok(entry),
                Err(TryRecvError::Lagged(missed)) => Err(RecvError::Lagged(missed)),
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            };
            self.tell(event, wanted, policy, id).await?;
        }
        Ok(match outcome {
            Some(outcome) => Answer::Done(fields_of(&outcome)),
            None => Answer::Refused(stopping()),
        })
    }

    async fn tell(
        &mut self,
        event: Result<Arc<Entry>, RecvError>,
        wanted: &Wanted,
        policy: &Policy,
        id: Option<&Value>,
    ) -> io::Result<()> {
        if let Ok(entry) = &event
            && !concerns(&entry.progress, wanted, policy)
        {
            return Ok(());
        }
        match forward(event) {
            Some(event) => write(&mut self.writer, event_line(event, id)).await,
            None => Ok(()),
        }
    }

    async fn sign_of_life(&mut self, id: Option<&Value>) -> io::Result<()> {
        let event = json!({ "kind": "alive" });
        write(&mut self.writer, event_line(event, id)).await
    }

    async fn answer(&mut self, answer: &Answer, id: Option<&Value>) -> io::Result<()> {
        write(&mut self.writer, answer.to_line(id)).await
    }
}

fn fields_of(outcome: &Outcome) -> Map<String, Value> {
    [
        ("exit".to_owned(), outcome.exit.into()),
        ("note".to_owned(), outcome.note.as_str().into()),
        ("errors".to_owned(), json!(outcome.errors)),
    ]
    .into_iter()
    .collect()
}

/// `None` when nothing can happen any more.
fn forward(event: Result<Arc<Entry>, RecvError>) -> Option<Value> {
    match event {
        Ok(entry) => Some(json!(*entry)),
        Err(RecvError::Lagged(missed)) => Some(json!({ "kind": "lagged", "missed": missed })),
        Err(RecvError::Closed) => None,
    }
}

/// Whether a person who wants this sees that.
fn concerns(progress: &Progress, wanted: &Wanted, policy: &Policy) -> bool {
    let Some(name) = wanted.certificate() else {
        return true;
    };
    match progress {
        Progress::Done { subject, .. }
        | Progress::Failed { subject, .. }
        | Progress::Waiting { subject, .. } => {
            let certificate = policy.certificates.get(name);
            subject == name.as_str()
                || certificate.is_some_and(|certificate| {
                    let mut targets = certificate.targets.iter();
                    targets.any(|target| target.as_str() == subject)
                })
        }
        Progress::Alert { .. } | Progress::Resolved { .. } => true,
        Progress::Policy { .. } => false,
    }
}

async fn look(look: &Look, policy: Arc<Policy>) -> Answer {
    match timeout(LONGEST_LOOK, look(policy)).await {
        Ok(Ok(fields)) => Answer::Done(fields),
        Ok(Err(message)) => Answer::Refused(Fault::new(FaultCode::Failed, message)),
        Err(_) => {
            let message = "the journal did not answer in time";
            Answer::Refused(Fault::new(FaultCode::Failed, message))
        }
    }
}

fn stopping() -> Fault {
    Fault::new(FaultCode::Stopping, "renewd is being stopped")
}

/// A client that does not read is cut off.
async fn write(stream: &mut (impl AsyncWrite + Unpin), mut line: String) -> io::Result<()> {
    line.push('\n');
    match timeout(LONGEST_WRITE, stream.write_all(line.as_bytes())).await {
        Ok(result) => result,
        Err(_) => Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "the client does not read",
        )),
    }
}

/// In bytes.
const LONGEST_REQUEST: usize = 16 * 1024;
/// Between two requests.
const LONGEST_SILENCE: Duration = Duration::from_secs(120);
const LONGEST_WRITE: Duration = Duration::from_secs(10);
const LONGEST_LOOK: Duration = Duration::from_secs(60);
/// So that either side notices that the other one is gone, or stands still.
const SIGN_OF_LIFE: Duration = Duration::from_secs(30);

/// Whether both names lead to one file now; by name alone where it is gone.
fn is_same_file(one: &Path, other: &Path) -> bool {
    if one == other {
        return true;
    }
    let real = |path: &Path| std::fs::canonicalize(path).ok();
    real(one).is_some_and(|file| real(other) == Some(file))
}
