//! The renewd binary as a user runs it: its own directory, a policy, real processes.
#![expect(
    clippy::disallowed_methods,
    reason = "tests arrange files and processes directly"
)]

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A directory with a policy, in which the binary is run.
pub(crate) struct Agent {
    directory: tempfile::TempDir,
}

/// How a run ended.
pub(crate) struct Run {
    /// Exit status; `None` when a signal ended it.
    pub(crate) code: Option<i32>,
    /// The signal that ended it.
    pub(crate) signal: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    pub(crate) fn new(output: &Output) -> Self {
        Self {
            code: output.status.code(),
            signal: output.status.signal(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Fails with everything that was printed unless the exit status is this.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(
            self.code,
            Some(code),
            "signal {:?}\n--- stdout\n{}--- stderr\n{}",
            self.signal,
            self.stdout,
            self.stderr
        );
        self
    }

    /// Standard output as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error}\n{}", self.stdout))
    }
}

impl Agent {
    /// With this policy; `{dir}` in it is the agent's directory, and `state_dir` is `{dir}/state`.
    pub(crate) fn new(policy: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let agent = Self { directory };
        agent.write_policy(policy);
        agent
    }

    pub(crate) fn write_policy(&self, policy: &str) {
        let dir = self.path().display().to_string();
        let text = format!(
            "state_dir = \"{dir}/state\"\n{}",
            policy.replace("{dir}", &dir)
        );
        std::fs::write(self.path().join("renewd.toml"), text).unwrap();
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.path().join("state")
    }

    /// The live directory of a target.
    pub(crate) fn live(&self, target: &str) -> PathBuf {
        self.state().join("targets").join(target).join("live")
    }

    /// The command with the policy, ready for more.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_renewd"));
        command
            .arg("--config")
            .arg(self.path().join("renewd.toml"))
            .args(arguments)
            .env_remove("FAILPOINTS")
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Run {
        Run::new(&self.command(arguments).output().unwrap())
    }

    /// Runs with fail points, such as `rollout.commit.effect=return`.
    pub(crate) fn run_with(&self, failpoints: &str, arguments: &[&str]) -> Run {
        let mut command = self.command(arguments);
        Run::new(&command.env("FAILPOINTS", failpoints).output().unwrap())
    }

    /// Runs on a host whose system store is this file.
    pub(crate) fn run_trusting(&self, roots: &Path, arguments: &[&str]) -> Run {
        let mut command = self.command(arguments);
        command.env_remove("SSL_CERT_DIR");
        Run::new(&command.env("SSL_CERT_FILE", roots).output().unwrap())
    }

    /// The certificate's object of `status --json`.
    #[track_caller]
    pub(crate) fn status(&self, name: &str) -> serde_json::Value {
        let all = self.run(&["status", "--json"]).expect(0).json();
        let certificates = all["certificates"].as_array().unwrap();
        let found = certificates.iter().find(|c| c["name"] == name);
        found
            .unwrap_or_else(|| panic!("no {name} in {all}"))
            .clone()
    }
}

/// Writes a secret file as the policy demands it.
pub(crate) fn write_secret(path: &Path, value: &str) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, value).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}
