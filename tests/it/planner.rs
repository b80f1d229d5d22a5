//! The planner: scenario scripts against their golden transcripts, and properties over random worlds.

#![expect(
    clippy::disallowed_methods,
    reason = "tests arrange files and processes directly"
)]

mod account;
mod aside;
mod batch;
mod faults;
mod fifty;
mod hooks;
mod pacing;
mod properties;
mod public;
mod sandbox;
mod schedules;
mod scm;
mod script;
mod silent;
mod split;
mod world;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// `UPDATE_GOLDEN=1 cargo test --test it planner::` writes the transcripts anew; read the difference before you commit.
#[test]
fn every_scenario_has_its_transcript() {
    let mut wrong = Vec::new();
    for file in scenarios() {
        let name = file.file_name().unwrap();
        let golden = file.parent().unwrap().join("golden").join(name);
        let (transcript, _) = script::play(&fs::read_to_string(&file).unwrap());
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&golden, &transcript).unwrap();
        }
        let expected = fs::read_to_string(&golden).unwrap_or_default();
        if expected != transcript {
            wrong.push(difference(&file, &expected, &transcript));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_transcript_is_left_over() {
    let scripts: BTreeSet<_> = scenarios()
        .iter()
        .map(|f| f.file_name().unwrap().to_owned())
        .collect();
    let golden = fs::read_dir(directory().join("golden")).unwrap();
    let golden: BTreeSet<_> = golden.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(scripts, golden);
}

#[test]
fn the_scenarios_show_every_code() {
    let mut seen = BTreeSet::new();
    for file in scenarios() {
        let (_, world) = script::play(&fs::read_to_string(&file).unwrap());
        seen.extend(world.seen);
    }
    let missing: Vec<&&str> = CODES.iter().filter(|code| !seen.contains(**code)).collect();
    assert!(missing.is_empty(), "no scenario shows {missing:?}");
}

fn difference(file: &Path, expected: &str, got: &str) -> String {
    let line = expected
        .lines()
        .zip(got.lines())
        .position(|(a, b)| a != b)
        .unwrap_or_else(|| expected.lines().count().min(got.lines().count()));
    format!(
        "{} differs from its transcript at line {}:\n  - {}\n  + {}",
        file.display(),
        line + 1,
        expected.lines().nth(line).unwrap_or("(end)"),
        got.lines().nth(line).unwrap_or("(end)")
    )
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios")
}

fn scenarios() -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(directory())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|kind| kind == "txt"))
        .collect();
    files.sort();
    assert!(files.len() >= 15, "only {} scenarios", files.len());
    files
}

/// Every code that a person may read. A new one needs a scenario that shows it.
const CODES: [&str; 108] = [
    "reason no-revision",
    "reason unusable",
    "reason issuer-changed",
    "reason names-changed",
    "reason key-changed",
    "reason revoked",
    "reason expired",
    "reason emergency",
    "reason newer-offered",
    "reason forced",
    "reason renewal-due",
    "reason not-deployed",
    "reason target-changed",
    "reason newer-elsewhere",
    "reason key-exposed",
    "reason link-changed",
    "reason file-missing",
    "reason file-unreadable",
    "reason file-edited",
    "reason attributes-changed",
    "reason served-other",
    "reason served-old",
    "reason rollback-asked",
    "reason undo-failed",
    "waiting issuance",
    "waiting settling",
    "waiting backoff",
    "waiting service",
    "waiting no-offer",
    "waiting no-space",
    "waiting window",
    "waiting reload-budget",
    "waiting rollout",
    "waiting batch",
    "blocked issuer-shortens",
    "blocked undo-failed",
    "blocked rollout-failed",
    "blocked held",
    "blocked deleted",
    "blocked frozen",
    "blocked issuer-disabled",
    "blocked newer-elsewhere",
    "blocked file-missing",
    "blocked served-other",
    "blocked served-newer",
    "closing fulfilled",
    "closing failed",
    "closing abandoned",
    "closing rollout live",
    "closing rollout rolled-back",
    "closing rollout rollback-failed",
    "closing rollout abandoned",
    "closing rollout superseded",
    "alert renewal-failing",
    "alert expiring",
    "alert issuer-shortens",
    "alert renewal-rule",
    "alert no-offer",
    "alert no-space",
    "alert rolled-back",
    "alert set-aside",
    "alert rollback-failed",
    "alert rollout-failing",
    "alert hook-failing",
    "alert credentials-refused",
    "alert issuer-failing",
    "alert agent-was-down",
    "alert old-policy",
    "alert rollout-blocked",
    "alert awaiting-service",
    "alert no-way-back",
    "alert newer-elsewhere",
    "alert key-exposed",
    "alert revoked",
    "alert deleted",
    "alert frozen",
    "alert issuer-disabled",
    "alert served-other",
    "alert served-old",
    "alert served-newer",
    "alert file-missing",
    "alert file-edited",
    "alert old-one-served",
    "waiting successor",
    "waiting entitlement",
    "waiting claim",
    "waiting purchase-budget",
    "waiting purchase",
    "waiting domain-proof",
    "waiting review",
    "blocked foreign-application",
    "blocked stale-journal",
    "blocked purchase-unclear",
    "blocked successor-overdue",
    "blocked successor-lacks-names",
    "blocked person",
    "alert stale-journal",
    "alert purchase-unclear",
    "alert purchase-budget",
    "alert no-entitlement",
    "alert supplement-refused",
    "alert foreign-application",
    "alert successor-overdue",
    "alert successor-lacks-names",
    "alert review-late",
    "alert proof-unseen",
    "alert mail-to-answer",
    "alert left-over",
];
