//! `renewd status`: what people see, what scripts read (by an independent validator), with and without a daemon.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::cli::Plain;

/// Says nothing where the instance on standard input is what the schema says, and no more than that.
const VALIDATE: &str = r#"
import json, sys
import jsonschema
schema = json.load(open(sys.argv[1]))
jsonschema.Draft202012Validator.check_schema(schema)
def strict(node):
    if isinstance(node, dict):
        if "properties" in node:
            node["additionalProperties"] = False
            assert sorted(node["required"]) == sorted(node["properties"]), node
        for value in node.values(): strict(value)
    elif isinstance(node, list):
        for value in node: strict(value)
strict(schema)
checker = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())
for error in checker.iter_errors(json.load(sys.stdin)):
    print(error.json_path, error.message)
"#;

#[track_caller]
pub(crate) fn validate(status: &Value) {
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/status.schema.json");
    let mut python = Command::new("/usr/bin/python3")
        .args(["-c", VALIDATE])
        .arg(schema)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = python.stdin.take().unwrap();
    input.write_all(status.to_string().as_bytes()).unwrap();
    drop(input);
    let said = python.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&said.stdout) + String::from_utf8_lossy(&said.stderr);
    assert!(said.status.success() && text.is_empty(), "{text}\n{status}");
}

fn json(plain: &Plain) -> Value {
    let status = plain.agent.run(&["status", "--json"]).expect(0).json();
    validate(&status);
    status
}

/// Certificates with tags, on a target that nobody asks, one of which cannot be had.
fn several(plain: &Plain) {
    let issuer = plain.ccm.issuer("5s");
    let broken = plain
        .ccm
        .issuer("5s")
        .replace("[issuer.pca.corp]", "[issuer.pca.gone]");
    assert_ne!(issuer, broken);
    let broken = broken
        .lines()
        .map(|line| match line.strip_prefix("ca = ") {
            Some(_) => "ca = \"no such authority\"",
            None => line,
        })
        .collect::<Vec<_>>()
        .join("\n");
    let policy = format!(
        r#"{}
[certificate.alpha]
issuer = "corp"
names = ["alpha.example.test"]
targets = ["store"]
tags = ["shop"]

[certificate.zulu]
issuer = "gone"
names = ["zulu.example.test"]
targets = ["store"]
tags = ["bank", "shop"]

[target.files.store.export.layout.site]
layout = "nginx"

{broken}
"#,
        plain.ccm.issuer("5s")
    );
    plain.agent.write_policy(&policy);
}

#[tokio::test(flavor = "multi_thread")]
async fn status_as_json_is_what_its_schema_says_in_every_state() {
    let plain = Plain::new().await;
    let before = json(&plain);
    assert_eq!(before["agent"]["running"], false, "{before}");
    assert_eq!(before["agent"]["mode"], Value::Null, "{before}");
    assert_eq!(before["certificates"][0]["days_left"], Value::Null);
    assert_eq!(before["summary"]["act"], 1, "{before}");

    plain.agent.run(&["once"]).expect(0);
    let after = json(&plain);
    let one = &after["certificates"][0];
    assert_eq!(one["verdict"], "healthy", "{after}");
    assert_eq!(one["urgency"], "ok", "{after}");
    assert!(one["days_left"].as_f64().unwrap() > 0.0, "{after}");
    assert_eq!(one["renewal_at"], one["next_action"]["at"], "{after}");
    assert_eq!(after["summary"]["next_renewal"]["certificate"], "www");
    assert_eq!(after["agent"]["mode"], "once", "{after}");
    assert!(after["agent"]["progress_at"].is_string(), "{after}");

    several(&plain);
    plain.agent.run(&["once", "--wait", "0s"]);
    let failing = json(&plain);
    let all = failing["certificates"].as_array().unwrap();
    let names: Vec<&str> = all.iter().map(|c| c["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["zulu", "alpha"], "the urgent one first: {failing}");
    assert_eq!(all[0]["urgency"], "warning", "{failing}");
    assert_ne!(all[0]["failures"], 0, "{failing}");
    assert!(all[0]["failure"].is_string(), "{failing}");
    assert_eq!(failing["summary"]["healthy"], 1, "{failing}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_shown_can_be_chosen_by_name_and_tag() {
    let plain = Plain::new().await;
    several(&plain);
    plain.agent.run(&["once", "--wait", "0s"]);
    let shown = |arguments: &[&str]| -> Vec<String> {
        let mut all = vec!["status", "--json"];
        all.extend(arguments);
        let status = plain.agent.run(&all).expect(0).json();
        validate(&status);
        let sum = status["summary"]["certificates"].as_u64().unwrap();
        let shown = status["certificates"].as_array().unwrap();
        assert_eq!(sum, shown.len() as u64);
        let names = shown
            .iter()
            .map(|one| one["name"].as_str().unwrap().to_owned());
        names.collect()
    };
    assert_eq!(shown(&[]), ["zulu", "alpha"]);
    assert_eq!(shown(&["alpha"]), ["alpha"]);
    assert_eq!(shown(&["--tag", "shop"]), ["zulu", "alpha"]);
    assert_eq!(shown(&["--tag", "bank"]), ["zulu"]);
    assert_eq!(shown(&["alpha", "--tag", "bank"]), [""; 0]);
    let run = plain.agent.run(&["status", "alhpa"]).expect(64);
    run.says("the policy has no certificate `alhpa`; did you mean `alpha`?");
    let run = plain.agent.run(&["status", "--tag", "shops"]).expect(64);
    run.says("no certificate of the policy has the tag `shops`");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bar_fits_the_terminal_and_its_characters() {
    let plain = Plain::new().await;
    plain.agent.run(&["once"]).expect(0);
    let shown = |columns: &str, locale: &str| {
        let mut command = plain.agent.command(&["status"]);
        command.env("COLUMNS", columns).env("LC_ALL", locale);
        let output = command.output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    };
    let plain_text = shown("60", "C");
    assert!(plain_text.is_ascii(), "{plain_text}");
    let bar = plain_text.lines().find(|line| line.contains("*---"));
    let bar = bar.unwrap_or_else(|| panic!("no bar in {plain_text}"));
    assert!(bar.contains("R---") && bar.contains("| 2"), "{bar}");
    assert_eq!(bar.chars().count(), 60, "{bar}");
    let unicode = shown("100", "C.UTF-8");
    let bar = unicode.lines().find(|line| line.contains('┼')).unwrap();
    assert_eq!(bar.chars().count(), 100, "{bar}");
    assert!(!shown("20", "C").contains("---"), "there is no room");
    assert!(plain_text.contains("1 certificate: 1 healthy; next renewal www at "));
    assert!(plain_text.contains("no daemon runs; last run of `renewd once`"));
}

#[tokio::test(flavor = "multi_thread")]
async fn whether_a_daemon_runs_and_got_on_is_told() {
    let plain = Plain::new().await;
    let mut daemon = plain
        .agent
        .command(&["run"])
        .env_remove("NOTIFY_SOCKET")
        .env_remove("JOURNAL_STREAM")
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    let running = loop {
        let status = json(&plain);
        if status["certificates"][0]["verdict"] == "healthy" {
            break status;
        }
        assert!(begun.elapsed() < PATIENCE, "{status}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert_eq!(running["agent"]["running"], true, "{running}");
    assert_eq!(running["agent"]["mode"], "daemon", "{running}");
    assert_eq!(running["agent"]["process"], daemon.id(), "{running}");
    let at = running["agent"]["progress_at"].as_str().unwrap();
    let at = renewd::model::Timestamp::parse(at).unwrap();
    let now = renewd::model::Timestamp::parse(running["at"].as_str().unwrap()).unwrap();
    assert!(at.until(now).0.abs() < 600, "{running}");
    let text = plain.agent.run(&["status"]).expect(0).stdout;
    let line = format!("the daemon runs (process {}), last progress ", daemon.id());
    assert!(text.contains(&line), "{text}");

    // Killed: nobody could say that it ends.
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    let dead = json(&plain);
    assert_eq!(dead["agent"]["running"], false, "{dead}");
    assert_eq!(dead["agent"]["process"], Value::Null, "{dead}");
    assert_eq!(dead["agent"]["mode"], "daemon", "{dead}");
    let text = plain.agent.run(&["status"]).expect(0).stdout;
    assert!(text.contains("no daemon runs, last progress "), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn watch_draws_anew_and_gives_the_terminal_back() {
    let plain = Plain::new().await;
    plain.agent.run(&["once"]).expect(0);
    plain
        .agent
        .run(&["status", "--watch"])
        .expect(64)
        .says("--watch draws on a terminal");

    // A terminal, made by script(1), and an interrupt as Ctrl-C sends it: to the foreground group.
    for (colours, expected) in [(None, true), (Some("1"), false)] {
        // `exec`: a shell that stays beside its child (dash, where script(1) finds no $SHELL) dies of the interrupt itself.
        let line = format!(
            "exec {} --config {} status --watch",
            env!("CARGO_BIN_EXE_renewd"),
            plain.agent.path().join("renewd.toml").display()
        );
        let mut terminal = Command::new("script");
        terminal
            .args(["--quiet", "--return", "--command", &line, "/dev/null"])
            .env("TERM", "xterm")
            .env_remove("NO_COLOR")
            .env_remove("COLUMNS");
        if let Some(no) = colours {
            terminal.env("NO_COLOR", no);
        }
        let mut terminal = terminal
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut keyboard = terminal.stdin.take().unwrap();
        let mut screen = terminal.stdout.take().unwrap();
        let mut seen = Vec::new();
        let mut buffer = [0; 4096];
        // The second drawing is another one.
        while String::from_utf8_lossy(&seen)
            .matches("valid until")
            .count()
            < 2
        {
            let read = screen.read(&mut buffer).unwrap();
            assert_ne!(read, 0, "{}", String::from_utf8_lossy(&seen));
            seen.extend_from_slice(&buffer[..read]);
        }
        keyboard.write_all(b"\x03").unwrap();
        screen.read_to_end(&mut seen).unwrap();
        drop(keyboard);
        let text = String::from_utf8_lossy(&seen).into_owned();
        assert_eq!(terminal.wait().unwrap().code(), Some(0), "{text}");
        assert!(text.contains("\x1b[?1049h\x1b[?25l"), "{text:?}");
        assert!(
            text.trim_end().ends_with("\x1b[?25h\x1b[?1049l"),
            "{text:?}"
        );
        let coloured = text.contains("\x1b[32m");
        assert_eq!(coloured, expected, "{text:?}");
    }
}

const PATIENCE: Duration = Duration::from_secs(60);
