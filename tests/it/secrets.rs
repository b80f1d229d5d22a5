//! Key material, access keys and passwords are where they belong and nowhere else: not in what is printed or logged, not
//! in the journal, not in the environment of commands, not in files that others may read.
#![expect(
    clippy::disallowed_methods,
    reason = "tests arrange files and processes directly"
)]

mod tokens;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use renewd::pki::PrivateKey;

use crate::support::agent::{Agent, write_secret};

#[test]
fn secrets_are_where_they_belong_and_nowhere_else() {
    let mut server = Server::start();
    let agent = agent(&server);
    let mut secrets = Secrets::default();
    secrets.add("the secret key", server.secret_key.as_bytes());
    let mut said = Vec::new();

    // The daemon obtains everything while it logs all it can.
    let daemon = Daemon::start(&agent, &server.secret_key);
    daemon.wait_until_healthy(&agent);
    said.push(("run".to_owned(), daemon.stop()));
    secrets.collect(&agent);

    let mut run = |arguments: &[&str], secret_key: &str, code: i32| {
        let output = command(&agent, arguments, secret_key).output().unwrap();
        let text = [output.stdout, output.stderr].map(|b| String::from_utf8_lossy(&b).into_owned());
        let text = text.concat();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
        said.push((arguments.join(" "), text));
        secrets.collect(&agent);
    };
    let good = server.secret_key.clone();
    for arguments in [
        &["validate"][..],
        &["plan"],
        &["plan", "--json"],
        &["renew", "local"],
        &["renew", "remote"],
        &["once"],
    ] {
        run(arguments, &good, 0);
    }
    // What a failing command prints is kept; this one prints its environment.
    fs::write(agent.path().join("broken"), "").unwrap();
    run(&["renew", "local"], &good, 65);
    run(&["renew", "local"], WRONG, 77);
    for arguments in [
        &["status"][..],
        &["status", "--json"],
        &["history", "local"],
        &["history", "local", "--json"],
        &["history", "remote", "--json"],
    ] {
        run(arguments, &good, 0);
    }
    secrets.add("the wrong secret key", WRONG.as_bytes());
    said.push(("renewd-ccm".to_owned(), server.stop()));

    // Both keys that were made here and keys that came from CCM, and the passwords of keystores.
    assert!(secrets.kinds() >= 6, "{:?}", secrets.0.keys());
    let environment = said.iter().any(|(_, text)| text.contains("PATH=/"));
    assert!(environment, "the environment of the command was not kept");
    assert_kept(&secrets, &said, &agent, &server);
}

/// None of them is in what was said, in a file of the agent that is not its place or that others may read, or in any
/// file of the server.
#[track_caller]
fn assert_kept(secrets: &Secrets, said: &[(String, String)], agent: &Agent, server: &Server) {
    for (what, text) in said {
        assert_eq!(
            secrets.found_in(text.as_bytes()),
            None,
            "in the output of {what}: {text}"
        );
    }
    for file in files(&agent.state()) {
        let inside = file.strip_prefix(agent.state()).unwrap().to_owned();
        let place = inside.iter().next().unwrap().to_string_lossy().into_owned();
        let Some(secret) = secrets.found_in(&fs::read(&file).unwrap()) else {
            continue;
        };
        let belongs = ["keys", "revisions", "targets", "secrets"].contains(&place.as_str());
        assert!(belongs, "{secret} is in {}", inside.display());
        let mode = fs::metadata(&file).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{secret} is in {}", inside.display());
    }
    for file in files(&server.state()) {
        let found = secrets.found_in(&fs::read(&file).unwrap());
        assert_eq!(found, None, "in renewd-ccm's {}", file.display());
    }
}

#[test]
fn the_search_finds_a_key_in_every_writing() {
    let pem = PrivateKey::generate(renewd::model::KeyAlgorithm::EcP256)
        .unwrap()
        .to_pem();
    let text = String::from_utf8(pem.expose().to_vec()).unwrap();
    let mut secrets = Secrets::default();
    secrets.add_key("a key", text.as_bytes());
    let scalar = scalar(&PrivateKey::from_pem(text.as_bytes()).unwrap());
    let hex: String = scalar.iter().map(|byte| format!("{byte:02x}")).collect();
    for writing in [
        text.clone().into_bytes(),
        text.replace('\n', "\\n").into_bytes(),
        text.replace('\n', "").into_bytes(),
        [b"raw ", &scalar[..], b" bytes"].concat(),
        hex.to_uppercase().into_bytes(),
        hex.into_bytes(),
    ] {
        assert_eq!(secrets.found_in(&writing), Some("a key".to_owned()));
    }
    assert_eq!(secrets.found_in(b"nothing of the kind"), None);
}

/// What must not be seen, in each writing that somebody could think of.
#[derive(Default)]
struct Secrets(BTreeMap<String, Vec<Vec<u8>>>);

impl Secrets {
    fn add(&mut self, name: &str, secret: &[u8]) {
        assert!(secret.len() >= 16, "{name} is too short to be searched for");
        self.0.insert(name.to_owned(), vec![secret.to_vec()]);
    }

    fn add_key(&mut self, name: &str, pem: &[u8]) {
        let scalar = scalar(&PrivateKey::from_pem(pem).unwrap());
        let hex: String = scalar.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut writings = vec![scalar, hex.to_uppercase().into_bytes(), hex.into_bytes()];
        // The first two lines of the body hold the scalar of a P-256 key.
        let text = String::from_utf8_lossy(pem);
        let body = text.lines().skip(1).take(2);
        writings.extend(body.map(|line| line.trim().as_bytes().to_vec()));
        self.0.insert(name.to_owned(), writings);
    }

    /// Every key and password that the agent has right now; older ones stay remembered.
    fn collect(&mut self, agent: &Agent) {
        for file in files(&agent.state()) {
            let inside = file.strip_prefix(agent.state()).unwrap();
            let name = inside.display().to_string();
            if name.starts_with("secrets/") {
                self.add(&name, &fs::read(&file).unwrap());
            } else if name.starts_with("keys/")
                || name.starts_with("revisions/") && name.ends_with("/key.pem")
            {
                self.add_key(&name, &fs::read(&file).unwrap());
            }
        }
    }

    fn kinds(&self) -> usize {
        self.0.len()
    }

    fn found_in(&self, bytes: &[u8]) -> Option<String> {
        let holds = |writing: &Vec<u8>| {
            bytes
                .windows(writing.len())
                .any(|window| window == writing.as_slice())
        };
        self.0
            .iter()
            .find(|(_, writings)| writings.iter().any(holds))
            .map(|(name, _)| name.clone())
    }
}

/// The 32 bytes that are the private key.
fn scalar(key: &PrivateKey) -> Vec<u8> {
    let der = key.pkcs8();
    // RFC 5915: version 1, then an octet string of 32 bytes.
    let mark = [0x02, 0x01, 0x01, 0x04, 0x20];
    let at = der.windows(mark.len()).position(|window| window == mark);
    let at = at.expect("a P-256 key") + mark.len();
    der[at..at + 32].to_vec()
}

fn agent(server: &Server) -> Agent {
    let policy = format!(
        r#"
[issuer.pca.corp]
endpoint = "{}"
ca = "renewd-ccm Issuing CA"
access_key = "file:{{dir}}/ak"
secret_key = "env:{VARIABLE}"
settle = "1s"

[certificate.local]
issuer = "corp"
names = ["local.example.test"]
targets = ["store", "service"]

[certificate.remote]
issuer = "corp"
names = ["remote.example.test"]
key = "ccm"
targets = ["store"]

[target.files.store.export.pem.all]
combined = "combined.pem"
key = "key.pem"

[target.files.store.export.pfx.windows]
path = "server.pfx"

[target.files.store.export.jks.java]
path = "server.jks"

[target.files.store.export.layout.tomcat]
layout = "tomcat"
directory = "tomcat"

[target.command.service]
test = ["{{dir}}/test"]
probe = "none"

[target.command.service.export.layout.site]
layout = "nginx"
"#,
        server.endpoint
    );
    let agent = Agent::new(&policy);
    write_secret(&agent.path().join("ak"), &server.access_key);
    let test = agent.path().join("test");
    let broken = agent.path().join("broken");
    let script = format!(
        "#!/bin/sh\nenv\ntr '\\0' ' ' </proc/$PPID/cmdline\n[ ! -e {} ]\n",
        broken.display()
    );
    fs::write(&test, script).unwrap();
    fs::set_permissions(&test, fs::Permissions::from_mode(0o755)).unwrap();
    agent
}

fn command(agent: &Agent, arguments: &[&str], secret_key: &str) -> Command {
    let mut command = agent.command(arguments);
    command
        .env(VARIABLE, secret_key)
        .env("RENEWD_LOG", "trace")
        .env("RUST_LOG", "trace")
        .env("RUST_BACKTRACE", "1");
    command
}

/// `renewd run`.
struct Daemon {
    child: Child,
    log: PathBuf,
}

impl Daemon {
    fn start(agent: &Agent, secret_key: &str) -> Self {
        let log = agent.path().join("daemon.log");
        let child = command(agent, &["run"], secret_key)
            .env_remove("JOURNAL_STREAM")
            .env_remove("NOTIFY_SOCKET")
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Self { child, log }
    }

    fn wait_until_healthy(&self, agent: &Agent) {
        let begun = Instant::now();
        loop {
            let all = agent.run(&["status", "--json"]).expect(0).json();
            let all = all["certificates"].as_array().unwrap();
            if all.iter().all(|one| one["verdict"] == "healthy") {
                return;
            }
            let log = fs::read_to_string(&self.log).unwrap();
            assert!(begun.elapsed() < PATIENCE, "{all:?}\n{log}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Ends it as systemd does, and gives its log.
    fn stop(mut self) -> String {
        terminate(&self.child);
        let status = self.child.wait().unwrap();
        let log = fs::read_to_string(&self.log).unwrap();
        assert!(status.success(), "{status}: {log}");
        assert!(log.len() > 1000, "it logged next to nothing: {log}");
        log
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
    }
}

/// renewd-ccm as a process, for what it prints.
struct Server {
    directory: tempfile::TempDir,
    child: Child,
    endpoint: String,
    access_key: String,
    secret_key: String,
    /// As `user add --json` printed it.
    user: serde_json::Value,
}

impl Server {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path().join("state");
        let log = fs::File::create(directory.path().join("log")).unwrap();
        let server = |arguments: &[&str]| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_renewd-ccm"));
            command
                .arg("--state")
                .arg(&state)
                .args(arguments)
                .env("RENEWD_CCM_LOG", "trace")
                .stderr(log.try_clone().unwrap())
                .stdin(Stdio::null());
            command
        };
        let user = server(&["user", "add", "tester", "--json"])
            .output()
            .unwrap();
        let user: serde_json::Value = serde_json::from_slice(&user.stdout).unwrap();
        let mut child = server(&["serve", "--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        out.read_line(&mut line).unwrap();
        let endpoint = line.trim().strip_prefix("listening on ");
        Self {
            endpoint: endpoint.unwrap_or_else(|| panic!("{line}")).to_owned(),
            access_key: user["access_key"].as_str().unwrap().to_owned(),
            secret_key: user["secret_key"].as_str().unwrap().to_owned(),
            user,
            directory,
            child,
        }
    }

    fn state(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    fn stop(&mut self) -> String {
        terminate(&self.child);
        self.child.wait().unwrap();
        fs::read_to_string(self.directory.path().join("log")).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
    }
}

fn terminate(child: &Child) {
    let id = i32::try_from(child.id()).unwrap();
    kill(Pid::from_raw(id), Signal::SIGTERM).unwrap();
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![directory.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            let kind = fs::symlink_metadata(&path).unwrap().file_type();
            if kind.is_dir() {
                open.push(path);
            } else if kind.is_file() {
                found.push(path);
            }
        }
    }
    found
}

/// The variable that the policy reads the secret key from.
const VARIABLE: &str = "RENEWD_TEST_SECRET_KEY";
const WRONG: &str = "wrong-secret-key-of-somebody-else";
const PATIENCE: Duration = Duration::from_secs(60);
