//! A step that is killed (SIGKILL, a real process) at each boundary inside it, and then done again.
#![expect(
    clippy::disallowed_methods,
    reason = "tests arrange files and processes directly"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use renewd::deploy::{CRASH_POINTS, Materials};
use renewd::model::{CertificateId, Reload, RevisionId, Rollout, RolloutPhase, RolloutStep};

use crate::deploy::faults::{Fault, undoing};
use crate::deploy::stand::{Stand, is_pair, pem, serial_in};

/// The step that has a point inside.
fn step_of(point: &str) -> RolloutStep {
    let step = point.split('.').nth(1).unwrap();
    let found = RolloutStep::ALL.into_iter().find(|one| one.code() == step);
    found.unwrap_or_else(|| panic!("{point} is of no step"))
}

/// Certificates below the link and in loose files.
fn stand(dir: &Path) -> Stand {
    let at = |name: &str| dir.join("etc").join(name).display().to_string();
    let exports = vec![
        pem("live", "fullchain.pem", "key.pem"),
        pem("loose", &at("{certificate}.pem"), &at("{certificate}.key")),
    ];
    let mut stand = Stand::new(dir, exports);
    let words = ["/bin/sh", "-c", TELL, "tell"].map(str::to_owned);
    let at = dir.display().to_string();
    stand.target.reload = Some(Reload::Command(words.into_iter().chain([at]).collect()));
    stand
}

/// Stands for a service that reads one of its certificates when it is told, and cannot be told while `deaf` is there.
const TELL: &str = r#"test ! -e "$1/deaf" && cp "$1/etc/www.pem" "$1/read""#;

type Set = BTreeMap<CertificateId, RevisionId>;

/// What the process that is killed has to know.
#[derive(serde::Serialize, serde::Deserialize)]
struct Task {
    dir: PathBuf,
    step: RolloutStep,
    phase: RolloutPhase,
    live: Set,
    generation: Option<u64>,
    next: u64,
    set: Set,
}

impl Task {
    fn rollout(&self, stand: &mut Stand) -> Rollout {
        stand.live.clone_from(&self.live);
        stand.generation = self.generation;
        stand.next = self.next;
        let set: Vec<_> = self.set.clone().into_iter().collect();
        Rollout {
            phase: self.phase.clone(),
            ..stand.open(&set)
        }
    }
}

/// Runs in a process of its own when a task is given; by itself it does the whole of a rollout, to be sure that nothing
/// but the kill makes a difference.
#[tokio::test]
async fn one_step_in_a_process_of_its_own() {
    let Ok(task) = std::env::var("RENEWD_TEST_TASK") else {
        let dir = tempfile::tempdir().unwrap();
        let (mut stand, task) = prepared(dir.path(), 0).await;
        let rollout = task.rollout(&mut stand);
        let rollout = stand.drive(rollout).await;
        stand.live_now(&rollout);
        return;
    };
    renewd::sys::crash::setup();
    if let Some(from) = task.strip_prefix("store ") {
        let (from, to) = from.split_once(' ').unwrap();
        let (from, to) = (Materials::new(from.into()), Materials::new(to.into()));
        let www = CertificateId::new("www").unwrap();
        let revision = from.revisions(&www).unwrap().remove(0);
        to.store_revision(&www, &from.load_revision(&www, &revision).unwrap())
            .unwrap();
        return;
    }
    let task: Task = serde_json::from_str(&task).unwrap();
    let mut stand = stand(&task.dir);
    let rollout = task.rollout(&mut stand);
    stand.step(&rollout, task.step).await.unwrap();
}

/// Does a task in another process; whether it was killed at the `pass`th time (from 0) at the point.
fn killed(task: &str, point: &str, pass: u32) -> bool {
    let action = match pass {
        0 => format!("{point}=return"),
        pass => format!("{point}={pass}*off->return"),
    };
    let output = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "deploy::killed::one_step_in_a_process_of_its_own",
            "--nocapture",
        ])
        .env("RENEWD_TEST_TASK", task)
        .env("FAILPOINTS", action)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let by_signal = output.status.signal() == Some(9);
    assert!(
        by_signal || output.status.success(),
        "{point}: {}",
        String::from_utf8_lossy(&output.stdout)
    );
    by_signal
}

/// A live set of two certificates, after so many rollouts before it, and another one to go in.
async fn prepared(dir: &Path, before: usize) -> (Stand, Task) {
    let mut stand = stand(dir);
    for _ in 0..=before {
        let set = [
            stand.issue("www", &["www.test"]),
            stand.issue("shop", &["shop.test"]),
        ];
        let rollout = stand.open(&set);
        let rollout = stand.drive(rollout).await;
        stand.live_now(&rollout);
    }
    let set = [
        stand.issue("www", &["www.test"]),
        stand.issue("shop", &["shop.test"]),
    ];
    let task = Task {
        dir: dir.to_owned(),
        step: RolloutStep::Stage,
        phase: RolloutPhase::Opened,
        live: stand.live.clone(),
        generation: stand.generation,
        next: stand.next,
        set: set.into_iter().collect(),
    };
    (stand, task)
}

/// That what is below the link are pairs of one set, and loose files are whole.
#[track_caller]
fn assert_whole(stand: &Stand, task: &Task, what: &str) {
    let mut sets = BTreeSet::new();
    for certificate in task.set.keys() {
        let at = |name: &str| stand.live_path(&format!("{certificate}/{name}"));
        assert!(is_pair(&at("fullchain.pem"), &at("key.pem")), "{what}");
        let serial = serial_in(&at("fullchain.pem"));
        sets.insert(
            [&task.live, &task.set].map(|set| {
                stand.serial(&(certificate.clone(), set[certificate].clone())) == serial
            }),
        );
        let loose = stand.dir.join("etc").join(format!("{certificate}.pem"));
        assert!(!serial_in(&loose).is_empty(), "{what}");
        let key = fs::read(loose.with_extension("key")).unwrap();
        renewd::pki::PrivateKey::from_pem(&key).unwrap();
    }
    assert_eq!(sets.len(), 1, "{what}: one set is live");
}

/// That one set is everywhere, and nothing waits beside.
#[track_caller]
fn assert_is(stand: &Stand, set: &Set, what: &str) {
    for (certificate, revision) in set {
        let serial = stand.serial(&(certificate.clone(), revision.clone()));
        let loose = stand.dir.join("etc").join(format!("{certificate}.pem"));
        let live = stand.live_path(&format!("{certificate}/fullchain.pem"));
        assert_eq!(serial_in(&live), serial, "{what}");
        assert_eq!(serial_in(&loose), serial, "{what}");
        assert!(is_pair(&loose, &loose.with_extension("key")), "{what}");
    }
    let names: Vec<_> = fs::read_dir(stand.dir.join("etc"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names.len(), 2 * set.len(), "{what}: {names:?}");
}

async fn kill_everywhere(points: &[&str]) {
    for point in points {
        let step = step_of(point);
        let mut kills = 0;
        for pass in 0.. {
            let what = format!("{point}, pass {pass}");
            let dir = tempfile::tempdir().unwrap();
            let before = if step == RolloutStep::Close { 6 } else { 0 };
            let (mut stand, mut task) = prepared(dir.path(), before).await;
            let rollout = task.rollout(&mut stand);
            let done: &[RolloutStep] = match step {
                RolloutStep::Stage => &[],
                RolloutStep::Commit => &[RolloutStep::Stage],
                _ => &[RolloutStep::Stage, RolloutStep::Commit],
            };
            for earlier in done {
                stand.step(&rollout, *earlier).await.unwrap();
            }
            task.step = step;
            if !killed(&serde_json::to_string(&task).unwrap(), point, pass) {
                break;
            }
            kills += 1;
            assert_whole(&stand, &task, &what);
            // The same step again, and then on, and then all the way back.
            stand
                .step(&rollout, step)
                .await
                .unwrap_or_else(|error| panic!("{what}: {error}"));
            if step == RolloutStep::Restore {
                assert_is(&stand, &task.live, &what);
            }
            for later in [
                RolloutStep::Stage,
                RolloutStep::Commit,
                RolloutStep::Test,
                RolloutStep::Reload,
            ] {
                stand
                    .step(&rollout, later)
                    .await
                    .unwrap_or_else(|error| panic!("{what}: {error}"));
            }
            assert_whole(&stand, &task, &what);
            if step == RolloutStep::Close {
                continue;
            }
            stand.step(&rollout, RolloutStep::Restore).await.unwrap();
            assert_is(&stand, &task.live, &what);
            stand.step(&rollout, RolloutStep::Commit).await.unwrap();
            stand.step(&rollout, RolloutStep::Close).await.unwrap();
            assert_is(&stand, &task.set, &what);
        }
        assert!(kills > 0, "{point} is never passed");
    }
}

fn points_of(step: &str) -> Vec<&'static str> {
    let prefix = format!("rollout.{step}.");
    CRASH_POINTS
        .iter()
        .copied()
        .filter(|point| point.starts_with(&prefix))
        .collect()
}

#[tokio::test]
async fn a_killed_stage_is_done_again() {
    kill_everywhere(&points_of("stage")).await;
}

#[tokio::test]
async fn a_killed_commit_is_completed() {
    kill_everywhere(&points_of("commit")).await;
}

#[tokio::test]
async fn a_killed_restore_is_completed() {
    kill_everywhere(&points_of("restore")).await;
}

#[tokio::test]
async fn a_killed_close_is_completed() {
    kill_everywhere(&points_of("close")).await;
}

/// A way back on which `www` stays the new one, and the service was told of that; then its place is well again.
async fn left_behind(dir: &Path) -> (Stand, Task, Rollout) {
    use RolloutStep::{Commit, Reload, ReloadBack, Restore, Stage, Test, VerifyBack};
    let (mut stand, mut task) = prepared(dir, 0).await;
    (task.step, task.phase) = (VerifyBack, undoing());
    let rollout = task.rollout(&mut stand);
    for step in [Stage, Commit, Test, Reload] {
        stand.step(&rollout, step).await.unwrap();
    }
    let www = dir.join("etc/www.pem").display().to_string();
    let fault = Fault::at("fs.rename", "EIO", &www);
    for step in [Restore, ReloadBack] {
        stand.step(&rollout, step).await.unwrap();
    }
    drop(fault);
    assert_eq!(read(&stand), serial_of(&stand, &task.set));
    (stand, task, rollout)
}

/// What the service read when it was told last.
fn read(stand: &Stand) -> String {
    serial_in(&stand.dir.join("read"))
}

fn serial_of(stand: &Stand, set: &Set) -> String {
    let www = CertificateId::new("www").unwrap();
    let revision = set[&www].clone();
    stand.serial(&(www, revision))
}

/// Without a probe nothing but a reload brings a service to what came back after it was told.
#[tokio::test]
async fn a_service_is_told_of_what_came_back_late_by_the_run_after_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let (stand, task, rollout) = left_behind(dir.path()).await;
    let point = "rollout.verify-back.restored";
    // Twice: who is killed once more still owes it.
    for _ in 0..2 {
        let text = serde_json::to_string(&task).unwrap();
        assert!(killed(&text, point, 0), "{point} is never passed");
        assert_is(&stand, &task.live, point);
        assert_eq!(read(&stand), serial_of(&stand, &task.set));
    }
    stand.step(&rollout, RolloutStep::VerifyBack).await.unwrap();
    assert_eq!(read(&stand), serial_of(&stand, &task.live));
    // And then it is told no more.
    fs::remove_file(dir.path().join("read")).unwrap();
    stand.step(&rollout, RolloutStep::VerifyBack).await.unwrap();
    assert!(!dir.path().join("read").exists());
}

#[tokio::test]
async fn a_service_that_cannot_be_told_of_what_came_back_late_is_told_at_the_next_attempt() {
    let dir = tempfile::tempdir().unwrap();
    let (stand, task, rollout) = left_behind(dir.path()).await;
    fs::write(dir.path().join("deaf"), "").unwrap();
    for _ in 0..2 {
        let step = stand.step(&rollout, RolloutStep::VerifyBack).await;
        step.unwrap_err();
        assert_is(&stand, &task.live, "its place is well again");
    }
    fs::remove_file(dir.path().join("deaf")).unwrap();
    stand.step(&rollout, RolloutStep::VerifyBack).await.unwrap();
    assert_eq!(read(&stand), serial_of(&stand, &task.live));
}

/// What is not put back at the last attempt either is no reason to tell the service again and again.
#[tokio::test]
async fn a_last_attempt_that_changes_nothing_tells_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let (stand, task, rollout) = left_behind(dir.path()).await;
    fs::remove_file(dir.path().join("read")).unwrap();
    let www = dir.path().join("etc/www.pem").display().to_string();
    let fault = Fault::at("fs.rename", "EIO", &www);
    for _ in 0..2 {
        let step = stand.step(&rollout, RolloutStep::VerifyBack).await;
        assert!(step.unwrap_err().message.contains("etc/www.pem"));
        assert!(!dir.path().join("read").exists());
    }
    drop(fault);
    stand.step(&rollout, RolloutStep::VerifyBack).await.unwrap();
    assert_eq!(read(&stand), serial_of(&stand, &task.live));
}

#[test]
fn every_point_is_of_a_step_that_is_killed_here() {
    let known: usize = ["stage", "commit", "restore", "verify-back", "close"]
        .into_iter()
        .map(|step| points_of(step).len())
        .sum();
    let orders = CRASH_POINTS
        .iter()
        .filter(|point| point.starts_with("order."))
        .count();
    assert_eq!(known + orders, CRASH_POINTS.len());
    assert_eq!(orders, 1);
}

#[test]
fn a_revision_killed_while_it_is_stored_is_not_there_until_it_is_stored_again() {
    let dir = tempfile::tempdir().unwrap();
    let source = Stand::new(&dir.path().join("source"), Vec::new());
    let (www, revision) = source.issue("www", &["www.test"]);
    let mut kills = 0;
    for pass in 0..3 {
        let state = dir.path().join(format!("state-{pass}"));
        fs::create_dir(&state).unwrap();
        let task = format!(
            "store {} {}",
            dir.path().join("source/state").display(),
            state.display()
        );
        assert!(killed(&task, "order.store-revision.file", pass));
        kills += 1;
        let there = Materials::new(state);
        let complete = pass == 2;
        assert_eq!(there.revision_fault(&www, &revision).is_none(), complete);
        assert_eq!(there.load_revision(&www, &revision).is_ok(), complete);
        let material = source
            .deployer
            .materials()
            .load_revision(&www, &revision)
            .unwrap();
        there.store_revision(&www, &material).unwrap();
        assert!(there.load_revision(&www, &revision).is_ok());
    }
    assert_eq!(kills, 3);
}
