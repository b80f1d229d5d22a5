//! The control socket of `renewd run`: other programs by its protocol, and the commands that go through it.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::cli::Plain;
use crate::cli::daemon::Daemon;
use crate::support::agent::Agent;

/// A program that speaks the protocol.
struct Client {
    stream: BufReader<UnixStream>,
}

impl Client {
    fn connect(agent: &Agent) -> Self {
        let stream = UnixStream::connect(socket(agent)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self {
            stream: BufReader::new(stream),
        }
    }

    fn send(&mut self, line: &str) {
        let line = format!("{line}\n");
        self.stream.get_mut().write_all(line.as_bytes()).unwrap();
    }

    /// The next line; `Null` at the end.
    fn line(&mut self) -> Value {
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        if line.is_empty() {
            return Value::Null;
        }
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    fn ask(&mut self, request: &Value) -> Value {
        self.send(&request.to_string());
        self.line()
    }
}

fn socket(agent: &Agent) -> PathBuf {
    agent.state().join("control.sock")
}

/// A certificate that is live, and a daemon that has nothing to do.
async fn idle() -> (Plain, Daemon) {
    let plain = Plain::new().await;
    plain.agent.run(&["once"]).expect(0);
    let daemon = Daemon::start(&plain.agent);
    daemon.tells("STATUS=1 of 1 certificate healthy");
    (plain, daemon)
}

#[tokio::test(flavor = "multi_thread")]
async fn other_programs_ask_by_lines_of_json_and_nonsense_is_answered_too() {
    let (plain, daemon) = idle().await;
    let mut client = Client::connect(&plain.agent);
    let status = client.ask(&json!({ "v": 1, "id": 7, "op": "status" }));
    assert_eq!((&status["ok"], &status["id"]), (&json!(true), &json!(7)));
    // What the command prints, which reads the journal itself.
    let printed = plain.agent.run(&["status", "--json"]).expect(0).json();
    assert_eq!(status["status"]["certificates"], printed["certificates"]);
    assert_eq!(status["status"]["agent"]["running"], true, "{status}");
    let alerts = client.ask(&json!({ "v": 1, "op": "alerts" }));
    assert_eq!(alerts["alerts"], json!([]), "{alerts}");

    for (line, code) in [
        ("GET / HTTP/1.1", "bad-request"),
        ("\u{0}\u{fffd}{{{", "bad-request"),
        (r#"{"v":2,"op":"status"}"#, "version"),
        (r#"{"v":1,"op":"shutdown"}"#, "unknown-operation"),
        (r#"{"v":1,"op":"renew","name":"a/b"}"#, "bad-request"),
        (
            r#"{"v":1,"op":"renew","name":"www","policy":"/etc/other.toml"}"#,
            "other-policy",
        ),
    ] {
        client.send(line);
        let answer = client.line();
        assert_eq!(answer["ok"], false, "{line}: {answer}");
        assert_eq!(answer["error"]["code"], code, "{line}: {answer}");
        assert_ne!(answer["error"]["message"], "", "{line}: {answer}");
    }
    // A certificate that the policy does not have is the outcome of a request that was understood.
    let answer = client.ask(&json!({ "v": 1, "op": "renew", "name": "api" }));
    assert_eq!((&answer["ok"], &answer["exit"]), (&json!(true), &json!(64)));

    // What has no end is cut off.
    client.send(&"x".repeat(20_000));
    assert_eq!(client.line()["error"]["code"], "bad-request");
    // The rest may lie unread when the daemon closes.
    let mut rest = Vec::new();
    let _ = client.stream.read_to_end(&mut rest);
    assert!(rest.is_empty());

    // Events and the one answer to a request that acts.
    let mut listener = Client::connect(&plain.agent);
    let first = listener.ask(&json!({ "v": 1, "id": "l", "op": "events" }));
    assert_eq!(
        first,
        json!({ "v": 1, "id": "l", "event": { "kind": "listening", "alerts": [] } })
    );
    let before = plain.serial();
    let mut client = Client::connect(&plain.agent);
    client.send(&json!({ "v": 1, "op": "renew", "name": "www", "wait": 60 }).to_string());
    let mut seen = Vec::new();
    let answer = loop {
        let line = client.line();
        if line.get("event").is_none() {
            break line;
        }
        seen.push(line["event"].clone());
    };
    assert_eq!((&answer["ok"], &answer["exit"]), (&json!(true), &json!(0)));
    assert_ne!(plain.serial(), before);
    let issued = |event: &Value| event["kind"] == "done" && event["subject"] == "www";
    assert!(seen.iter().any(issued), "{seen:#?}");
    let numbers: Vec<u64> = seen.iter().map(|e| e["seq"].as_u64().unwrap()).collect();
    assert!(numbers.is_sorted(), "{numbers:?}");
    let heard = listener.line();
    assert_eq!(heard["event"], seen[0], "who listens hears the same");

    let log = daemon.stop();
    // The listener is told why it hears nothing more.
    let last = std::iter::repeat_with(|| listener.line())
        .find(|line| line.get("event").is_none())
        .unwrap();
    assert_eq!(last["error"]["code"], "stopping", "{last}");
    assert!(!socket(&plain.agent).exists(), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_commands_at_once_are_all_carried_out_and_none_meets_the_lock() {
    let (plain, daemon) = idle().await;
    let mode = std::fs::metadata(socket(&plain.agent)).unwrap();
    assert!(mode.file_type().is_socket());
    assert_eq!(mode.permissions().mode() & 0o7, 0, "others may not connect");
    let before = plain.serial();
    let issued = plain.ccm.issued("www.example.test").await;
    let words: [&[&str]; 5] = [
        &["renew", "www", "--wait", "2m"],
        &["jobs", "run", "check", "--wait", "2m"],
        &["once", "--wait", "2m"],
        &["status"],
        &["jobs", "run", "renew", "--wait", "2m"],
    ];
    let running: Vec<(&[&str], Child)> = (0..20)
        .map(|number| {
            let words = words[number % words.len()];
            let mut command = plain.agent.command(words);
            let child = command.stdout(Stdio::piped()).stderr(Stdio::piped());
            (words, child.spawn().unwrap())
        })
        .collect();
    for (words, child) in running {
        let output = child.wait_with_output().unwrap();
        let said = text(&output);
        assert_eq!(output.status.code(), Some(0), "{words:?}: {said}");
        assert!(!said.contains("held by"), "{words:?}: {said}");
        if words[0] == "renew" {
            // As without a daemon: its steps, and what came of it.
            assert!(said.contains("ok    www: "), "{said}");
            assert!(said.contains("1 certificate: 1 healthy"), "{said}");
        }
    }
    assert_ne!(plain.serial(), before);
    let more = plain.ccm.issued("www.example.test").await - issued;
    // Wishes of one moment are one renewal.
    assert!((1..=4).contains(&more), "{more}");
    let log = daemon.stop();
    assert!(!log.contains("held by"), "{log}");
    plain.agent.run(&["renew", "www"]).expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_says_when_the_daemon_is_killed_and_the_next_daemon_goes_on() {
    let plain = Plain::new().await;
    plain.agent.run(&["once"]).expect(0);
    let before = plain.serial();
    let mut daemon = Daemon::start_with(&plain.agent, "rollout.stage.renamed=return");
    daemon.tells("STATUS=1 of 1 certificate healthy");
    let run = plain.agent.run(&["renew", "www"]).expect(75);
    assert!(
        run.stderr.contains("renewd ended before it answered"),
        "{}",
        run.stderr
    );
    daemon.child.wait().unwrap();
    assert_eq!(plain.serial(), before);
    // Its socket is still there, and hinders nobody.
    assert!(socket(&plain.agent).exists());
    let run = plain.agent.run(&["reload"]).expect(69);
    assert!(run.stderr.contains("no renewd listens"), "{}", run.stderr);
    let daemon = Daemon::start(&plain.agent);
    daemon.tells("STATUS=1 of 1 certificate healthy");
    assert_ne!(plain.serial(), before, "{}", daemon.log());
    plain.agent.run(&["jobs", "run", "check"]).expect(0);
    let events = plain.agent.run(&["events", "--json"]).expect(0).stdout;
    assert!(events.contains("\"kind\":\"done\""), "{events}");

    // A second daemon leaves the socket to the first.
    let second = Daemon::start(&plain.agent);
    second.tells("STATUS=1 of 1 certificate healthy");
    let log = second.stop();
    assert!(log.contains("there is no control socket"), "{log}");
    plain.agent.run(&["jobs", "run", "check"]).expect(0);
    // The second one took over who hears the notices; this one ends all the same.
    let mut daemon = daemon;
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.child.wait().unwrap().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_answers_with_what_is_wrong_and_the_command_without_a_daemon_says_so() {
    let (plain, daemon) = idle().await;
    let more = format!(
        "{}\n[certificate.api]\nissuer = \"corp\"\nnames = [\"api.example.test\"]\n",
        plain.policy()
    );
    plain
        .agent
        .write_policy(&format!("{more}\nnonsense = 1\n[["));
    let run = plain.agent.run(&["reload"]).expect(78);
    for part in ["the old one stays in force", "renewd.toml:", "nonsense"] {
        assert!(run.stderr.contains(part), "{}", run.stderr);
    }
    plain.agent.write_policy(&more);
    let run = plain.agent.run(&["reload"]).expect(0);
    let told = "the policy is in force: 2 certificates";
    assert!(run.stderr.contains(told), "{}", run.stderr);
    daemon.tells("STATUS=2 of 2 certificates healthy");
    let events = plain.agent.run(&["events", "--json"]).expect(0).stdout;
    let of_policy: Vec<Value> = events
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|event: &Value| event["kind"] == "policy")
        .collect();
    let accepted: Vec<_> = of_policy.iter().map(|event| &event["accepted"]).collect();
    assert!(accepted.contains(&&json!(false)), "{of_policy:#?}");
    assert_eq!(accepted.last(), Some(&&json!(true)), "{of_policy:#?}");
    daemon.stop();
    plain.agent.run(&["reload"]).expect(69);
    plain.agent.run(&["events", "--follow"]).expect(69);
}

/// As configuration management switches a whole directory.
#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_a_link_switches_to_another_version_is_the_same_policy() {
    let plain = Plain::new().await;
    plain.agent.run(&["once"]).expect(0);
    let at = |name: &str| plain.agent.path().join(name);
    let policy = at("renewd.toml");
    for version in ["v1", "v2"] {
        std::fs::create_dir(at(version)).unwrap();
        std::fs::copy(&policy, at(version).join("renewd.toml")).unwrap();
    }
    std::fs::remove_file(&policy).unwrap();
    let switch = |to: &str| {
        std::os::unix::fs::symlink(at(to).join("renewd.toml"), at("new")).unwrap();
        std::fs::rename(at("new"), &policy).unwrap();
    };
    switch("v1");
    let daemon = Daemon::start(&plain.agent);
    daemon.tells("STATUS=1 of 1 certificate healthy");
    switch("v2");
    plain.agent.run(&["reload"]).expect(0);
    plain.agent.run(&["jobs", "run", "check"]).expect(0);
    let mut client = Client::connect(&plain.agent);
    for path in [policy.clone(), at("v2/renewd.toml")] {
        let asked = client.ask(&json!({ "v": 1, "op": "renew", "name": "none", "policy": path }));
        assert_eq!(asked["exit"], 64, "{asked}");
    }
    let asked = at("v1/renewd.toml");
    let refused = client.ask(&json!({ "v": 1, "op": "renew", "name": "none", "policy": asked }));
    assert_eq!(refused["error"]["code"], "other-policy", "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_of_the_group_may_and_a_stranger_may_not() {
    let plain = Plain::new().await;
    let group = format!("control.group = {GROUP}\n");
    let open = |path: PathBuf| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o711)).unwrap();
    };
    open(plain.agent.path().to_owned());
    let policy = plain.policy();
    plain.agent.write_policy(&format!("{group}{policy}"));
    plain.agent.run(&["once"]).expect(0);
    let daemon = Daemon::start(&plain.agent);
    daemon.tells("STATUS=1 of 1 certificate healthy");
    let seen = std::fs::metadata(socket(&plain.agent)).unwrap();
    assert_eq!(
        (seen.permissions().mode() & 0o777, seen.gid()),
        (0o660, GROUP)
    );

    let before = plain.serial();
    let stranger = |words: &[&str]| as_user(&plain.agent, &[], words);
    let member = |words: &[&str]| as_user(&plain.agent, &[GROUP], words);
    let said = member(&["status", "--json"]);
    assert_eq!(said.status.code(), Some(0), "{}", text(&said));
    let status: Value = serde_json::from_slice(&said.stdout).unwrap();
    let by_root = plain.agent.run(&["status", "--json"]).json();
    assert_eq!(status["certificates"], by_root["certificates"]);
    assert_eq!(status["certificates"][0]["name"], "www", "{status}");
    let said = member(&["renew", "www", "--wait", "2m"]);
    assert_eq!(said.status.code(), Some(0), "{}", text(&said));
    assert_ne!(plain.serial(), before);

    let before = plain.serial();
    for words in [&["status"][..], &["renew", "www"], &["reload"], &["events"]] {
        let said = stranger(words);
        assert_eq!(said.status.code(), Some(77), "{words:?}: {}", text(&said));
        assert!(
            text(&said).contains("is for root and the group"),
            "{}",
            text(&said)
        );
    }
    assert_eq!(plain.serial(), before);

    // The group may be one that only looks.
    plain
        .agent
        .write_policy(&format!("{group}control.act = \"root\"\n{policy}"));
    plain.agent.run(&["reload"]).expect(0);
    let said = member(&["renew", "www"]);
    assert_eq!(said.status.code(), Some(77), "{}", text(&said));
    assert!(text(&said).contains("only root"), "{}", text(&said));
    assert_eq!(member(&["status"]).status.code(), Some(0));
    assert_eq!(member(&["events"]).status.code(), Some(0));
    assert_eq!(plain.serial(), before);
    plain.agent.run(&["renew", "www"]).expect(0);
    daemon.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_read_nothing_or_are_too_many_hold_nothing_up() {
    let (plain, daemon) = idle().await;
    // They ask for events and for much more than a socket takes, and read nothing of it.
    let mut idlers: Vec<UnixStream> = Vec::new();
    for number in 0..20 {
        let mut stream = UnixStream::connect(socket(&plain.agent)).unwrap();
        stream.set_nonblocking(true).unwrap();
        let op = if number % 2 == 0 { "events" } else { "status" };
        for _ in 0..400 {
            let line = format!("{{\"v\":1,\"op\":\"{op}\"}}\n");
            if stream.write_all(line.as_bytes()).is_err() {
                break;
            }
        }
        idlers.push(stream);
    }
    let before = plain.serial();
    plain.agent.run(&["renew", "www", "--wait", "2m"]).expect(0);
    assert_ne!(plain.serial(), before);

    // Up to a number that nobody but an attacker reaches.
    let mut clients: Vec<Client> = Vec::new();
    let busy = loop {
        assert!(clients.len() < 200, "there is no limit");
        let mut client = Client::connect(&plain.agent);
        client.send(r#"{"v":1,"op":"alerts"}"#);
        let answer = client.line();
        if answer["ok"] == false {
            break answer;
        }
        clients.push(client);
    };
    assert_eq!(busy["error"]["code"], "busy", "{busy}");
    drop(clients);
    drop(idlers);
    // Those who left make room.
    let end = Instant::now() + PATIENCE;
    while plain.agent.run(&["reload"]).code != Some(0) {
        assert!(Instant::now() < end, "{}", daemon.log());
    }
    daemon.signal(Signal::SIGTERM);
    daemon.stop();
}

/// As a user who is nobody here, with these groups besides his own.
fn as_user(agent: &Agent, groups: &[u32], words: &[&str]) -> Output {
    let groups: Vec<String> = groups.iter().map(u32::to_string).collect();
    let groups = if groups.is_empty() {
        "--clear-groups".to_owned()
    } else {
        format!("--groups={}", groups.join(","))
    };
    let command = agent.command(words);
    Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", &groups, "--"])
        .arg(command.get_program())
        .args(command.get_args())
        .stdin(Stdio::null())
        .output()
        .expect("setpriv is installed")
}

fn text(output: &Output) -> String {
    let out = String::from_utf8_lossy(&output.stdout);
    format!("{out}{}", String::from_utf8_lossy(&output.stderr))
}

/// Of nobody on this machine.
const GROUP: u32 = 54_321;

/// For whatever is waited for; ample for a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);
