//! A real server in the foreground, in a process group of its own; stopped when dropped.
#![expect(
    clippy::disallowed_methods,
    reason = "tests arrange files and processes directly"
)]

use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// One program with its environment.
pub(crate) struct Server {
    argv: Vec<String>,
    env: Vec<(String, String)>,
    /// Everything that it printed.
    log: PathBuf,
    process: Option<Child>,
}

impl Server {
    /// Nothing runs yet.
    pub(crate) fn new(argv: &[&str], env: &[(&str, &str)], log: &Path) -> Self {
        let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Self {
            argv: argv.iter().map(|word| (*word).to_owned()).collect(),
            env: env.iter().map(pair).collect(),
            log: log.to_owned(),
            process: None,
        }
    }

    /// Starts it and waits until it accepts connections at every one of these ports.
    #[track_caller]
    pub(crate) fn start(&mut self, ports: &[u16]) {
        assert!(self.process.is_none(), "it runs already");
        let log = std::fs::File::create(&self.log).unwrap();
        let mut command = Command::new(&self.argv[0]);
        command
            .args(&self.argv[1..])
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .process_group(0);
        let spawned = command.spawn();
        let mut process = spawned.unwrap_or_else(|error| panic!("{}: {error}", self.argv[0]));
        let end = Instant::now() + Duration::from_secs(90);
        for port in ports {
            while TcpStream::connect(("127.0.0.1", *port)).is_err() {
                let ended = process.try_wait().unwrap();
                let log = std::fs::read_to_string(&self.log).unwrap_or_default();
                assert!(
                    ended.is_none() && Instant::now() < end,
                    "{} did not start ({ended:?}):\n{log}",
                    self.argv[0]
                );
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        self.process = Some(process);
    }

    /// Whether it is alive.
    pub(crate) fn runs(&mut self) -> bool {
        let process = self.process.as_mut();
        process.is_some_and(|process| matches!(process.try_wait(), Ok(None)))
    }

    pub(crate) fn stop(&mut self) {
        let Some(mut process) = self.process.take() else {
            return;
        };
        let pid = nix::unistd::Pid::from_raw(i32::try_from(process.id()).unwrap());
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let end = Instant::now() + Duration::from_secs(10);
        while matches!(process.try_wait(), Ok(None)) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(10));
        }
        // Its children are in its group.
        let _ = nix::sys::signal::killpg(pid, nix::sys::signal::Signal::SIGKILL);
        let _ = process.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}
