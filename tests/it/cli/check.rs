//! `renewd check` as Nagios and Icinga call it: status, one line with performance data, more below; as root and not.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use renewd::model::Seconds;
use renewd::sys::clock::{Clock, SystemClock};

use crate::cli::Plain;
use crate::support::agent::Run;

/// The numbers of the performance data, by the guidelines of the monitoring plugins:
/// `'label'=value[UOM];[warn];[crit];[min];[max]`.
#[track_caller]
fn data(run: &Run) -> BTreeMap<String, (f64, Vec<String>)> {
    let line = run.stdout.lines().next().unwrap();
    let (_, mut rest) = line.split_once(" | ").unwrap();
    assert_eq!(run.stdout.matches('|').count(), 1, "{}", run.stdout);
    let mut found = BTreeMap::new();
    while !rest.is_empty() {
        let (label, value) = match rest.strip_prefix('\'') {
            Some(quoted) => quoted.split_once("'=").unwrap(),
            None => rest.split_once('=').unwrap(),
        };
        assert!(!label.is_empty() && !label.contains(['=', '\'']), "{line}");
        let (value, after) = value.split_once(' ').unwrap_or((value, ""));
        rest = after;
        let mut parts = value.split(';').map(str::to_owned);
        let number = parts.next().unwrap();
        let digits = number.trim_end_matches('s');
        let limits: Vec<String> = parts.collect();
        assert!(limits.len() <= 4, "{line}");
        for limit in &limits[..2.min(limits.len())] {
            let limit = limit.trim_end_matches(':');
            assert!(limit.is_empty() || limit.parse::<f64>().is_ok(), "{line}");
        }
        for bound in limits.iter().skip(2) {
            assert!(bound.is_empty() || bound.parse::<f64>().is_ok(), "{line}");
        }
        found.insert(label.to_owned(), (digits.parse().unwrap(), limits));
    }
    found
}

/// The same, as Debian's Monitoring::Plugin reads it, which is what plugins in Perl and much that reads them is made with:
/// value, unit, and the end of each range.
#[track_caller]
fn read_by_others(run: &Run) -> BTreeMap<String, serde_json::Value> {
    const READ: &str = r#"
use strict; use warnings;
use JSON::PP; use Monitoring::Plugin::Performance;
my %found;
for my $one (Monitoring::Plugin::Performance->parse_perfstring($ARGV[0])) {
  my $range = sub { my $r = shift; defined $r && $r->is_set ? $r->start + 0 : undef };
  $found{$one->label} = {
    value => $one->value + 0, unit => $one->uom // "",
    warning => $range->($one->threshold->warning), critical => $range->($one->threshold->critical),
    max => defined $one->max && length $one->max ? $one->max + 0 : undef,
  };
}
print JSON::PP->new->canonical->encode(\%found);
"#;
    let line = run.stdout.lines().next().unwrap();
    let (_, data) = line.split_once(" | ").unwrap();
    let output = Command::new("perl")
        .args(["-e", READ, data])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}\n{data}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn check_answers_as_a_monitoring_plugin() {
    let plain = Plain::new().await;
    let never = plain.agent.run(&["check"]).expect(2);
    assert!(
        never
            .stdout
            .starts_with("RENEWD CRITICAL - renewd never ran here")
    );

    plain.agent.run(&["once"]).expect(0);
    let run = plain.agent.run(&["check"]).expect(0);
    assert!(
        run.stdout
            .starts_with("RENEWD OK - 1 of 1 certificate healthy, www ends first, in "),
        "{}",
        run.stdout
    );
    assert_eq!(run.stderr, "");
    let numbers = data(&run);
    let status = plain.agent.status("www");
    let (left, limits) = &numbers["www days left"];
    assert!((left - status["days_left"].as_f64().unwrap()).abs() < 0.1);
    assert!(
        limits[0].ends_with(':') && limits[1].ends_with(':'),
        "{limits:?}"
    );
    let limit = |at: usize| limits[at].trim_end_matches(':').parse::<f64>().unwrap();
    assert!(limit(0) > limit(1) && limit(1) > 0.0, "{limits:?}");
    let lifetime = status["lifetime"].as_f64().unwrap() / 86_400.0;
    assert!((limits[3].parse::<f64>().unwrap() - lifetime).abs() < 0.1);
    assert_eq!(numbers["certificates"].0, 1.0);
    assert_eq!(numbers["healthy"].0, 1.0);
    // And nobody who was not here reads anything else.
    let others = read_by_others(&run);
    assert_eq!(
        others.keys().collect::<Vec<_>>(),
        numbers.keys().collect::<Vec<_>>()
    );
    for (label, (value, limits)) in &numbers {
        let theirs = &others[label];
        let same = |theirs: &serde_json::Value, at: usize| {
            let ours = limits.get(at).map(|limit| limit.trim_end_matches(':'));
            let ours = ours.filter(|limit| !limit.is_empty());
            theirs.as_f64() == ours.map(|limit| limit.parse().unwrap())
        };
        assert_eq!(theirs["value"].as_f64(), Some(*value), "{label}");
        assert!(same(&theirs["warning"], 0), "{label}: {theirs} {limits:?}");
        assert!(same(&theirs["critical"], 1), "{label}: {theirs} {limits:?}");
        assert!(same(&theirs["max"], 3), "{label}: {theirs} {limits:?}");
    }

    // Thresholds by days and by share, one certificate or all.
    let many = format!("{}", left.ceil() + 1.0);
    let run = plain.agent.run(&["check", "--warning", &many]).expect(1);
    assert!(
        run.stdout.starts_with("RENEWD WARNING - www: "),
        "{}",
        run.stdout
    );
    let run = plain
        .agent
        .run(&["check", "www", "--critical", &format!("{many}d")]);
    data(&run.expect(2));
    plain.agent.run(&["check", "--warning", "100%"]).expect(1);
    plain
        .agent
        .run(&["check", "--warning", "50%", "--critical", "10%"])
        .expect(0);

    // A run by a timer that came too long ago.
    std::thread::sleep(std::time::Duration::from_millis(2100));
    let run = plain.agent.run(&["check", "--stale", "1s"]).expect(2);
    assert!(
        run.stdout.contains("`renewd once` did not get on for"),
        "{}",
        run.stdout
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_told_is_unknown() {
    let plain = Plain::new().await;
    let unknown = |arguments: &[&str], why: &str| {
        let run = plain.agent.run(arguments).expect(3);
        assert!(run.stdout.starts_with("RENEWD UNKNOWN - ") || run.stdout.is_empty());
        let text = run.stdout + &run.stderr;
        assert!(text.contains(why), "{text}");
    };
    unknown(&["check", "mail"], "there is no certificate `mail`");
    unknown(
        &["check", "--tag", "shop"],
        "no certificate is what was asked for",
    );
    unknown(&["check", "--warning", "soon"], "write days");
    unknown(&["check", "--warning", "101%"], "at most 100%");
    let file = plain.agent.path().join("status.json");
    let from = ["check", "--file", file.to_str().unwrap()];
    unknown(&from, "is not there");
    std::fs::write(&file, "{\"version\": 1").unwrap();
    unknown(&from, "is no status of renewd");

    plain.agent.run(&["once"]).expect(0);
    std::fs::write(plain.agent.state().join("state.db"), "rubbish").unwrap();
    let _ = std::fs::remove_file(plain.agent.state().join("state.db-wal"));
    unknown(&["check"], "RENEWD UNKNOWN");
    plain.change("names =", "nmes =");
    unknown(&["check"], "nmes");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_is_a_warning_and_what_has_run_out_is_critical() {
    let plain = Plain::new().await;
    plain.agent.run(&["once"]).expect(0);
    // A service that refuses what a new certificate brings.
    let policy = plain
        .policy()
        .replace("target.files.store", "target.command.store");
    let refuses = "[target.command.store]\ntest = [\"/bin/sh\", \"-c\", \"echo 'no | such' >&2; exit 1\"]\nreload = [\"/bin/true\"]\nprobe = \"none\"\n";
    let policy = format!("{policy}\n{refuses}");
    plain.agent.write_policy(&policy);
    plain.agent.run(&["renew", "www", "--wait", "0s"]);
    let run = plain.agent.run(&["check"]);
    assert!([Some(1), Some(2)].contains(&run.code), "{}", run.stdout);
    assert!(run.stdout.contains("target store: "), "{}", run.stdout);
    data(&run);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_may_read_nothing_is_answered_from_the_status_file() {
    let plain = Plain::new().await;
    // Where anybody can get to, as `/run/renewd` is.
    let open = tempfile::tempdir().unwrap();
    let mode = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(open.path(), 0o755);
    let program = open.path().join("renewd");
    std::fs::copy(env!("CARGO_BIN_EXE_renewd"), &program).unwrap();
    let file = open.path().join("status.json");
    plain.agent.write_policy(&format!(
        "{}\n[metrics]\nstatus_file = \"{}\"\n",
        plain.policy(),
        file.display()
    ));
    plain.agent.run(&["once"]).expect(0);
    let by = |arguments: &[&str]| {
        let output = Command::new("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(&program)
            .arg("check")
            .args(arguments)
            .current_dir("/")
            .output()
            .unwrap();
        Run::new(&output)
    };
    let run = by(&["--file", file.to_str().unwrap()]).expect(0);
    assert!(run.stdout.starts_with("RENEWD OK - "), "{}", run.stdout);
    assert!(
        run.stdout.contains("`renewd once` got on "),
        "{}",
        run.stdout
    );
    data(&run);
    // Neither is theirs to read.
    let config = plain.agent.path().join("renewd.toml");
    let run = by(&[
        "--config",
        config.to_str().unwrap(),
        "--file",
        "/nowhere/status.json",
    ]);
    assert!(
        run.expect(3)
            .stdout
            .contains("/nowhere/status.json is not there")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_served_and_ends_first_is_what_counts() {
    let plain = Plain::new().await;
    plain.agent.run(&["once"]).expect(0);
    let mut status = plain.agent.run(&["status", "--json"]).expect(0).json();
    let file = plain.agent.path().join("seen.json");
    let check = |status: &serde_json::Value| {
        std::fs::write(&file, status.to_string()).unwrap();
        plain
            .agent
            .run(&["check", "--file", file.to_str().unwrap()])
    };
    assert!(data(&check(&status).expect(0))["www days left"].0 > 60.0);
    // The newest is kept back from its target.
    let end = SystemClock.now() + Seconds::days(2);
    status["certificates"][0]["targets"][0]["not_after"] = end.to_string().into();
    let run = check(&status).expect(2);
    let left = data(&run)["www days left"].0;
    assert!(left > 1.9 && left <= 2.0, "{}", run.stdout);
    status["certificates"][0]["targets"][0]["not_after"] = "2026-01-01T00:00:00Z".into();
    let run = check(&status).expect(2);
    assert!(run.stdout.contains("www: expired at"), "{}", run.stdout);
    assert_eq!(data(&run)["expired"].0, 1.0, "{}", run.stdout);
}
