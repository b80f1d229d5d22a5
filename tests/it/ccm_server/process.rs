//! The binary itself, as a child process that can be killed.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Seek as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::Mutex;

use nix::sys::signal::Signal;
use renewd::model::Timestamp;
use renewd::sys::clock::{Clock as _, SystemClock};
use serde_json::Value;

use super::http::Peer;

/// A running `renewd-ccm serve`; killed when dropped.
pub(crate) struct Process {
    child: Child,
    endpoint: String,
    keys: (String, String),
    log: File,
    output: Mutex<BufReader<ChildStdout>>,
}

impl Peer for Process {
    fn endpoint(&self) -> String {
        self.endpoint.clone()
    }
    fn keys(&self) -> (String, String) {
        self.keys.clone()
    }
    fn time(&self) -> Timestamp {
        SystemClock.now()
    }
}

/// A user of a server that somebody else holds.
pub(crate) struct Other {
    endpoint: String,
    keys: (String, String),
}

impl Peer for Other {
    fn endpoint(&self) -> String {
        self.endpoint.clone()
    }
    fn keys(&self) -> (String, String) {
        self.keys.clone()
    }
    fn time(&self) -> Timestamp {
        SystemClock.now()
    }
}

/// `renewd-ccm --state DIR …`, not yet run, with none of this process's credentials.
pub(crate) fn command(state: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_renewd-ccm"));
    command.arg("--state").arg(state).args(arguments);
    command
        .env_remove("CREDENTIALS_DIRECTORY")
        .env_remove("RENEWD_CCM_MASTER_KEY")
        .env_remove("RENEWD_CCM_LOG");
    command
}

/// Runs it to its end.
pub(crate) fn run(state: &Path, arguments: &[&str]) -> Output {
    command(state, arguments).output().unwrap()
}

/// Runs it to its end and reads the JSON it prints.
#[track_caller]
pub(crate) fn json(state: &Path, arguments: &[&str]) -> Value {
    let output = run(state, arguments);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Adds a user; AK and SK.
pub(crate) fn new_user(state: &Path, name: &str) -> (String, String) {
    let user = json(state, &["user", "add", name, "--json"]);
    let text = |field: &str| user[field].as_str().unwrap().to_owned();
    (text("access_key"), text("secret_key"))
}

impl Process {
    /// Starts it on a free port and waits for its first line.
    pub(crate) fn start(state: &Path, keys: (String, String)) -> Self {
        Self::start_with(state, keys, &[])
    }
    /// The same with further options of `serve`.
    pub(crate) fn start_with(state: &Path, keys: (String, String), options: &[&str]) -> Self {
        Self::spawn(
            command(state, &["serve", "--listen", "127.0.0.1:0"]).args(options),
            keys,
        )
    }
    /// The same with all that stands on the command line.
    pub(crate) fn serve(state: &Path, keys: (String, String), arguments: &[&str]) -> Self {
        Self::spawn(&mut command(state, arguments), keys)
    }
    /// The same with a filter of what it logs.
    pub(crate) fn start_logging(state: &Path, keys: (String, String), filter: &str) -> Self {
        let mut command = command(state, &["serve", "--listen", "127.0.0.1:0"]);
        Self::spawn(command.env("RENEWD_CCM_LOG", filter), keys)
    }
    fn spawn(command: &mut Command, keys: (String, String)) -> Self {
        // A file, not a pipe: nobody reads it while the server runs.
        let log = tempfile::tempfile().unwrap();
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(log.try_clone().unwrap())
            .spawn()
            .unwrap();
        let mut first = String::new();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        output.read_line(&mut first).unwrap();
        let Some(endpoint) = first.trim_end().strip_prefix("listening on ") else {
            panic!("the first line is {first:?}; {}", content(&log));
        };
        Self {
            endpoint: endpoint.to_owned(),
            child,
            keys,
            log,
            output: Mutex::new(output),
        }
    }
    /// The TCP ports it listens at, as the kernel has it.
    pub(crate) fn ports(&self) -> BTreeSet<u16> {
        let own = PathBuf::from(format!("/proc/{}", self.child.id()));
        let links = std::fs::read_dir(own.join("fd")).unwrap();
        let links = links.map(|entry| std::fs::read_link(entry.unwrap().path()).unwrap());
        let sockets: BTreeSet<String> = links
            .filter_map(|link| {
                let inode = link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
                Some(inode.to_owned())
            })
            .collect();
        let mut ports = BTreeSet::new();
        for table in ["net/tcp", "net/tcp6"] {
            // Without IPv6 there is no second one.
            let table = std::fs::read_to_string(own.join(table)).unwrap_or_default();
            for line in table.lines().skip(1) {
                let fields: Vec<&str> = line.split_whitespace().collect();
                // proc_pid_net(5): local address, state (0A is LISTEN), inode.
                let (local, state, inode) = (fields[1], fields[3], fields[9]);
                if state == "0A" && sockets.contains(inode) {
                    let port = local.rsplit(':').next().unwrap();
                    ports.insert(u16::from_str_radix(port, 16).unwrap());
                }
            }
        }
        ports
    }
    /// What it says after where it listens.
    pub(crate) fn second_line(&self) -> String {
        let mut line = String::new();
        let mut output = self.output.lock().unwrap();
        output.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }
    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).unwrap();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(id), signal).unwrap();
    }
    /// The same server, as another user.
    pub(crate) fn as_another(&self, keys: (String, String)) -> Other {
        Other {
            endpoint: self.endpoint.clone(),
            keys,
        }
    }
    /// SIGTERM; what it wrote to standard error.
    pub(crate) fn terminate(self) -> String {
        self.signal(Signal::SIGTERM);
        self.end()
    }
    /// Waits until it ended by itself, with status 0; what it wrote to standard error.
    pub(crate) fn end(mut self) -> String {
        let status = self.child.wait().unwrap();
        let errors = content(&self.log);
        assert!(status.success(), "{errors}");
        errors
    }
}

fn content(mut file: &File) -> String {
    let mut text = String::new();
    file.rewind().unwrap();
    file.read_to_string(&mut text).unwrap();
    text
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A state directory that does not exist yet, in a temporary one.
pub(crate) fn fresh() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("ccm");
    (directory, state)
}
