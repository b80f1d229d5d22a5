//! Child processes: argv arrays, never a shell; bounded in time and output; killed as a group.
#![expect(
    clippy::disallowed_methods,
    reason = "this is the one place that starts processes"
)]

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, Uid, User};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

/// What is to be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invocation {
    /// Absolute path of the program, then its arguments.
    pub argv: Vec<String>,
    /// Added to the minimal environment (`PATH`, `LANG`).
    pub env: Vec<(String, String)>,
    /// Working directory; `/` when absent.
    pub directory: Option<PathBuf>,
    /// Name or number of the account it runs as, with that account's own group and no other; renewd's when absent.
    pub user: Option<String>,
    /// After this the process group gets SIGTERM, and SIGKILL five seconds later.
    pub timeout: Duration,
    /// What it leaves running when it ends by itself is a service and stays, as after a reload that starts new processes;
    /// at a time-out all of it is ended.
    pub leaves_daemon: bool,
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Status, or why there is none.
    pub end: End,
    /// Standard output and error in the order in which they came, lossy UTF-8, limited to [`OUTPUT_LIMIT`] with a
    /// note of how much was left out.
    pub output: String,
    /// From start to end.
    pub elapsed: Duration,
}

/// The end of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// It exited with this status.
    Exited(i32),
    /// A signal ended it.
    Signalled(i32),
    /// It took too long and was killed.
    TimedOut,
    /// It could not be started.
    NotStarted(String),
}

impl Outcome {
    /// Whether the status was 0.
    #[must_use]
    pub fn success(&self) -> bool {
        self.end == End::Exited(0)
    }
}

/// Runs programs.
pub trait Runner: Send + Sync {
    /// Runs to the end; every failure is an [`Outcome`], never an error.
    fn run<'a>(
        &'a self,
        invocation: &'a Invocation,
    ) -> Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>;
}

/// Runs real processes.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemRunner;

impl Runner for SystemRunner {
    fn run<'a>(
        &'a self,
        invocation: &'a Invocation,
    ) -> Pin<Box<dyn Future<Output = Outcome> + Send + 'a>> {
        Box::pin(to_the_end(invocation, None))
    }
}

/// Runs to the end with this on its standard input; every failure is an [`Outcome`], never an error.
pub async fn feed(invocation: &Invocation, input: &[u8]) -> Outcome {
    to_the_end(invocation, Some(input)).await
}

async fn to_the_end(invocation: &Invocation, input: Option<&[u8]>) -> Outcome {
    let start = Instant::now();
    let mut kept = Kept::default();
    let end = match run(invocation, input, &mut kept).await {
        Ok(end) => end,
        Err(reason) => End::NotStarted(reason),
    };
    Outcome {
        end,
        output: kept.into_text(),
        elapsed: start.elapsed(),
    }
}

async fn run(
    invocation: &Invocation,
    input: Option<&[u8]>,
    kept: &mut Kept,
) -> Result<End, String> {
    let (mut child, output) = spawn(invocation, input.is_some()).await?;
    let stdin = child.stdin.take();
    let group = Group::of(&child)?;
    let mut output = pipe::Receiver::from_owned_fd(output)
        .map_err(|e| format!("failed to read its output: {e}"))?;

    let ended = timeout(invocation.timeout, async {
        let feeding = async {
            if let (Some(mut stdin), Some(input)) = (stdin, input) {
                // One that ends before it has read everything says why by its status.
                let _ = stdin.write_all(input).await;
                let _ = stdin.shutdown().await;
            }
        };
        tokio::join!(feeding, drain(&mut child, &mut output, kept)).1
    })
    .await;
    let (end, left_running) = match ended {
        Ok(status) => (status.map(end_of), true),
        Err(_) => {
            group.end(&mut child, &mut output, kept).await;
            (Ok(End::TimedOut), false)
        }
    };
    // What it left behind on purpose, such as a server that went into the background, may keep the pipe open: the
    // rest of the output is waited for only shortly. What escaped a killed group by `setsid` is not waited for.
    if left_running {
        let _ = timeout(AFTER_THE_END, read_all(&mut output, kept)).await;
    }
    group.let_go();
    end.map_err(|e| format!("failed to wait for it: {e}"))
}

/// What can be said before anything is started: program, directory and account are there.
pub(super) async fn check(invocation: &Invocation) -> Result<Option<User>, String> {
    let Some(program) = invocation.argv.first() else {
        return Err("no program is given".to_owned());
    };
    if !Path::new(program).is_absolute() {
        return Err(format!("{program} is no absolute path"));
    }
    let directory = invocation.directory.as_deref().unwrap_or(Path::new("/"));
    if !directory.is_dir() {
        return Err(format!(
            "its working directory {} is not there",
            directory.display()
        ));
    }
    match invocation.user.clone() {
        Some(user) => account(user).await.map(Some),
        None => Ok(None),
    }
}

async fn spawn(invocation: &Invocation, fed: bool) -> Result<(Child, OwnedFd), String> {
    let account = check(invocation).await?;
    let (program, arguments) = invocation.argv.split_first().ok_or("no program is given")?;
    let directory = invocation.directory.as_deref().unwrap_or(Path::new("/"));
    let mut tries = 0;
    loop {
        // One pipe for both streams keeps the order in which things were said.
        let (reader, writer) = io::pipe().map_err(|e| format!("failed to make a pipe: {e}"))?;
        let other = writer
            .try_clone()
            .map_err(|e| format!("failed to make a pipe: {e}"))?;
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .envs(ENVIRONMENT)
            .current_dir(directory)
            .stdin(if fed { Stdio::piped() } else { Stdio::null() })
            .stdout(writer)
            .stderr(other)
            .process_group(0)
            .kill_on_drop(true);
        if let Some(account) = &account {
            // Groups of ours go as well: the standard library drops them where it sets a user.
            command
                .uid(account.uid.as_raw())
                .gid(account.gid.as_raw())
                .env("USER", &account.name)
                .env("LOGNAME", &account.name)
                .env("HOME", &account.dir);
        }
        command.envs(invocation.env.iter().map(|(name, value)| (name, value)));
        match command.spawn() {
            // The command holds our copies of the writing end; they go here, or the pipe would never end.
            Ok(child) => return Ok((child, reader.into())),
            // Somebody is just replacing the program.
            Err(e) if e.raw_os_error() == Some(Errno::ETXTBSY as i32) && tries < 10 => {
                tries += 1;
                sleep(BETWEEN_TRIES).await;
            }
            Err(e) => {
                let user = invocation.user.as_ref();
                let user = user.map_or(String::new(), |user| format!(" as {user}"));
                return Err(format!("failed to start {program}{user}: {e}"));
            }
        }
    }
}

/// Looked up on a blocking thread: a directory service may take its time.
async fn account(user: String) -> Result<User, String> {
    let looked_up = tokio::task::spawn_blocking(move || {
        let found = match user.parse::<u32>() {
            Ok(number) => User::from_uid(Uid::from_raw(number)),
            Err(_) => User::from_name(&user),
        };
        match found {
            Ok(Some(account)) => Ok(account),
            Ok(None) => Err(format!("there is no user {user:?} on this machine")),
            Err(e) => Err(format!("failed to look up the user {user:?}: {e}")),
        }
    });
    looked_up.await.map_err(|e| e.to_string())?
}

/// Reads until the child ends; a full pipe must not block it.
async fn drain(
    child: &mut Child,
    output: &mut pipe::Receiver,
    kept: &mut Kept,
) -> io::Result<ExitStatus> {
    tokio::select! {
        status = child.wait() => status,
        // The output may end before the child does.
        never = async { read_all(output, kept).await; std::future::pending().await } => never,
    }
}

async fn read_all(output: &mut pipe::Receiver, kept: &mut Kept) {
    let mut buffer = vec![0; 16 * 1024];
    // An error is the end as well: nothing more will come.
    while let Ok(length @ 1..) = output.read(&mut buffer).await {
        kept.push(&buffer[..length]);
    }
}

fn end_of(status: ExitStatus) -> End {
    match (status.code(), status.signal()) {
        (Some(code), _) => End::Exited(code),
        (None, signal) => End::Signalled(signal.unwrap_or_default()),
    }
}

/// The child's process group. Dropped before [`Group::let_go`] (the future was cancelled), it is killed.
struct Group {
    leader: Pid,
    armed: bool,
}

impl Group {
    fn of(child: &Child) -> Result<Self, String> {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        let id = id.ok_or("it has no process id")?;
        Ok(Self {
            leader: Pid::from_raw(id),
            armed: true,
        })
    }

    /// SIGTERM, some time, SIGKILL; to all of it.
    async fn end(&self, child: &mut Child, output: &mut pipe::Receiver, kept: &mut Kept) {
        let _ = killpg(self.leader, Signal::SIGTERM);
        let last = Instant::now() + GRACE;
        let gone = timeout(GRACE, drain(child, output, kept)).await.is_ok();
        // The leader may go at once and its children not.
        while gone && self.exists() && Instant::now() < last {
            sleep(BETWEEN_TRIES).await;
        }
        if !gone || self.exists() {
            let _ = killpg(self.leader, Signal::SIGKILL);
        }
        if !gone {
            // A process in an uninterruptible wait (a dead network mount) does not even end now; tokio reaps it later.
            let _ = timeout(GRACE, drain(child, output, kept)).await;
        }
        // Death is not instant, and the next command should not meet the last one's remains.
        let last = Instant::now() + DYING;
        while self.exists() && Instant::now() < last {
            sleep(BETWEEN_TRIES).await;
        }
    }

    fn exists(&self) -> bool {
        killpg(self.leader, None).is_ok()
    }

    fn let_go(mut self) {
        self.armed = false;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if self.armed {
            let _ = killpg(self.leader, Signal::SIGKILL);
        }
    }
}

/// The beginning and the end of what a process said: errors stand in one of the two.
#[derive(Default)]
struct Kept {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    left_out: u64,
}

impl Kept {
    fn push(&mut self, bytes: &[u8]) {
        let room = (OUTPUT_LIMIT / 2).saturating_sub(self.head.len());
        let (head, rest) = bytes.split_at(room.min(bytes.len()));
        self.head.extend_from_slice(head);
        self.tail.extend(rest);
        let over = self.tail.len().saturating_sub(OUTPUT_LIMIT / 2);
        self.tail.drain(..over);
        self.left_out += u64::try_from(over).unwrap_or(u64::MAX);
    }

    fn into_text(self) -> String {
        let mut text = String::from_utf8_lossy(&self.head).into_owned();
        if self.left_out > 0 {
            text.push_str(&format!("\n[{} bytes left out]\n", self.left_out));
        }
        let tail: Vec<u8> = self.tail.into();
        text.push_str(&String::from_utf8_lossy(&tail));
        text
    }
}

/// Bytes of output that are kept of one process.
pub const OUTPUT_LIMIT: usize = 64 * 1024;

/// All that a child sees of our environment.
pub(super) const ENVIRONMENT: [(&str, &str); 2] = [
    ("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"),
    ("LANG", "C.UTF-8"),
];

/// Between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(5);

/// How long the output may go on after the end of the process.
const AFTER_THE_END: Duration = Duration::from_millis(500);

/// How long the death of a killed group is watched; those that init has not reaped yet still count as there.
const DYING: Duration = Duration::from_secs(1);

const BETWEEN_TRIES: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests;
