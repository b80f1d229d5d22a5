//! Jobs: run by the calendar, caught up with, shown, and run by hand; through suspend, jumps and clocks that are set.
#![expect(
    clippy::disallowed_methods,
    reason = "tests arrange files and programs directly"
)]

use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use renewd::deploy::Deployer;
use renewd::engine::{Engine, Rings, RunError, RunOptions};
use renewd::model::{JobName, JobResult, JobRun, Policy, Seconds, Snapshot, Timestamp, Waiting};
use renewd::plan::Verdict;
use renewd::store::{SqliteStore, Store};
use renewd::sys::fs::Lock;
use renewd::sys::process::{Invocation, Outcome, Runner};
use serde_json::Value;

use crate::clock::other_clock;
use crate::support::ccm::{Ccm, Wanted};
use crate::support::engine::{BoxFuture, Rig, due, healthy, id};
use crate::support::gate::Gate;
use crate::support::peer::{Peer, Reply};
use crate::support::world::{NAME, World};

/// `renewd run` in this process, over the clock of a rig.
struct Daemon {
    task: tokio::task::JoinHandle<Result<(), RunError<String>>>,
    stop: Arc<Mutex<Option<Arc<AtomicBool>>>>,
    /// How often it looked at the policy's files: at each tick, and at each ring of the bell.
    looks: Arc<AtomicUsize>,
    naps: tokio::sync::watch::Receiver<Option<Timestamp>>,
}

impl Daemon {
    fn start(rig: &Rig) -> Self {
        Self::start_with(rig, rig.maker(), Rings::default())
    }

    fn start_with(
        rig: &Rig,
        make: impl Fn(Policy) -> BoxFuture<Engine> + Send + Sync + 'static,
        rings: Rings,
    ) -> Self {
        let stop = Arc::new(Mutex::new(None));
        let seen = Arc::clone(&stop);
        let looks: Arc<AtomicUsize> = Arc::default();
        let counted = Arc::clone(&looks);
        let file = rig.world.agent.path().join("renewd.toml");
        let written = file.clone();
        let missing = file.with_file_name(MISSING);
        let lies_down = tokio::sync::watch::Sender::default();
        let naps = lies_down.subscribe();
        let options = RunOptions {
            load: Box::new(move || match renewd::config::load(&file) {
                Ok(_) if missing.exists() => Err(format!("{} is there", missing.display())),
                Ok(loaded) => Ok(loaded.policy),
                Err(problems) => Err(problems.to_string()),
            }),
            first_stamp: renewd::config::stamp(&written),
            stamp: Box::new(move || {
                counted.fetch_add(1, Ordering::SeqCst);
                renewd::config::stamp(&written)
            }),
            rings,
            engine: Box::new(move |policy| {
                let (engine, seen) = (make((*policy).clone()), Arc::clone(&seen));
                Box::pin(async move {
                    let engine = engine.await;
                    // The first one: a reload keeps it.
                    let mut stop = seen.lock().unwrap();
                    stop.get_or_insert_with(|| Arc::clone(&engine.stop));
                    drop(stop);
                    Ok(engine)
                })
            }),
            lock: Box::new(|state| {
                Box::pin(async move {
                    let lock = Lock::acquire(&state.join("lock"), "test", PATIENCE).await;
                    lock.map_err(|error| error.to_string())
                })
            }),
            judge: Arc::new(|_| renewd::engine::Outcome::refused(70, "nobody asks")),
            in_force: tokio::sync::watch::Sender::new(Arc::new(rig.policy())),
            foreseen: None,
            naps: lies_down,
        };
        let (_, wishes) = tokio::sync::mpsc::channel(1);
        let task = tokio::spawn(renewd::engine::run(Arc::new(rig.policy()), options, wishes));
        Self {
            task,
            stop,
            looks,
            naps,
        }
    }

    /// Waits until it lies down: a clock that is moved before that would have it wait for a second that never comes.
    async fn asleep(&self) {
        let mut naps = self.naps.clone();
        let lies = naps.wait_for(Option::is_some);
        let lies = tokio::time::timeout(PATIENCE, lies).await;
        assert!(lies.is_ok_and(|lies| lies.is_ok()), "it is awake");
    }

    fn looks(&self) -> usize {
        self.looks.load(Ordering::SeqCst)
    }

    async fn stop(self, rig: &Rig) {
        let stop = self.stop.lock().unwrap().clone();
        stop.expect("it was started").store(true, Ordering::SeqCst);
        // A tick in the far future wakes it.
        rig.clock.advance(Seconds::days(2));
        let ended = tokio::time::timeout(PATIENCE, self.task).await;
        assert!(
            matches!(ended, Ok(Ok(Ok(())))),
            "the daemon did not end well"
        );
    }
}

async fn snapshot(rig: &Rig) -> Snapshot {
    let journal = rig.world.agent.state().join("state.db");
    let store = SqliteStore::open_read_only(&journal)
        .await
        .unwrap()
        .unwrap();
    let snapshot = store.snapshot().await.unwrap();
    store.close().await.unwrap();
    snapshot
}

/// Waits until both jobs ran at this moment.
async fn ran_at(rig: &Rig, moment: Timestamp) {
    let begun = Instant::now();
    loop {
        let jobs = snapshot(rig).await.jobs;
        let at = |name| jobs.get(&name).map(|run: &JobRun| run.started_at);
        if at(JobName::Check) == Some(moment) && at(JobName::Renew) == Some(moment) {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "not at {moment}: {jobs:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_notices_that_it_slept_and_that_the_clock_was_set() {
    let rig = Rig::live(Wanted::new().at("2027-04-01")).await;
    let start = rig.clock_now();
    let daemon = Daemon::start(&rig);
    ran_at(&rig, start).await;

    // A long suspend: one run for all that was missed, and the certificate that expired meanwhile is renewed.
    daemon.asleep().await;
    rig.clock.advance(Seconds::days(90));
    let woken = rig.clock_now();
    ran_at(&rig, woken).await;
    assert_eq!(rig.world.ccm.issued(NAME).await, 2);

    // Back again: nothing waits for the time that was.
    daemon.asleep().await;
    rig.clock.set(start + Seconds::days(1));
    ran_at(&rig, start + Seconds::days(1)).await;

    daemon.asleep().await;
    rig.clock.advance(Seconds::days(1));
    ran_at(&rig, start + Seconds::days(2)).await;
    let plan = rig.engine().await.store.snapshot().await.unwrap();
    assert!(
        plan.orders.is_empty() && plan.rollouts.is_empty(),
        "{plan:?}"
    );
    daemon.stop(&rig).await;
}

/// While it is there, no policy is accepted: something that is not in the files of the policy.
const MISSING: &str = "not-yet";

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_was_refused_for_what_is_not_in_it_comes_into_force_by_itself() {
    let rig = Rig::live(Wanted::new().at("2027-04-01")).await;
    let rings = Rings {
        schedule: "0 0 0 29 2 *".to_owned(),
        unheard: Duration::from_millis(50),
    };
    let daemon = Daemon::start_with(&rig, rig.maker(), rings);
    ran_at(&rig, rig.clock_now()).await;
    let missing = rig.world.agent.path().join(MISSING);
    std::fs::write(&missing, "").unwrap();
    let more =
        "\n[certificate.more]\nissuer = \"corp\"\nnames = [\"more.example.test\"]\ntargets = []\n";
    let policy = rig.world.policy() + more;
    rig.world.agent.write_policy(&policy);
    let mut told = Vec::new();
    for _ in 0..5 {
        let looks = daemon.looks();
        rig.clock.advance(Seconds::minutes(2));
        until(|| (daemon.looks() > looks + 1).then_some(()).ok_or("no look")).await;
        told.extend(rig.told());
    }
    until(|| {
        told.extend(rig.told());
        let refused = told.iter().filter(|line| line.contains("is there"));
        (refused.count() > 0).then_some(()).ok_or("nothing is told")
    })
    .await;
    let refused = told.iter().filter(|line| line.contains("is there"));
    assert_eq!(refused.count(), 1, "{told:#?}");
    assert_eq!(rig.world.ccm.issued("more.example.test").await, 0);

    std::fs::remove_file(&missing).unwrap();
    let begun = Instant::now();
    while rig.world.ccm.issued("more.example.test").await == 0 {
        assert!(begun.elapsed() < PATIENCE, "{:#?}", rig.told());
        rig.clock.advance(Seconds::minutes(1));
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    daemon.stop(&rig).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_whose_step_takes_long_is_not_taken_for_dead_and_runs_its_jobs() {
    let rig = Rig::live(Wanted::new().at("2027-04-01")).await;
    let gate = Gate::new(rig.world.agent.path(), "reload-slow");
    let metrics = "[metrics]\ntextfile = \"{dir}/renewd.prom\"\n";
    let policy = rig.world.policy() + SLOW + metrics;
    rig.world.agent.write_policy(&policy);
    let daemon = Daemon::start(&rig);
    gate.begun().await;

    // An hour, by the minute: what is left for monitoring goes on.
    for _ in 0..4 {
        rig.clock.advance(Seconds::minutes(15));
        let now = rig.clock_now();
        let moment = format!("renewd_last_progress_timestamp_seconds {}", now.0);
        until(|| {
            let status = rig.world.agent.run(&["status", "--json"]).expect(0).json();
            let textfile = std::fs::read_to_string(rig.world.agent.path().join("renewd.prom"));
            (status["agent"]["progress_at"] == now.to_string()
                && textfile.unwrap_or_default().contains(&moment))
            .then_some(())
            .ok_or(status)
        })
        .await;
    }
    // The next day, a renewal that is due.
    let (served, before) = (rig.world.served(), rig.world.ccm.issued(NAME).await);
    rig.clock.advance(Seconds::days(25));
    let moment = rig.clock_now();
    ran_at(&rig, moment).await;
    until(|| {
        let live = rig.world.agent.status("www");
        (live["serial"] == rig.world.served() && rig.world.served() != served)
            .then_some(())
            .ok_or(live)
    })
    .await;
    assert_eq!(rig.world.ccm.issued(NAME).await, before + 1);
    let slow = rig.world.agent.status("slow");
    assert_eq!(slow["targets"][0]["rollout"], "tested", "{slow}");
    gate.open();
    daemon.stop(&rig).await;
}

const SLOW: &str = r#"
[certificate.slow]
issuer = "corp"
names = ["slow.example.test"]
targets = ["slow"]
validity = "90d"

[target.command.slow]
reload = ["{dir}/reload-slow"]
probe = "none"
command_timeout = "1h"

[target.command.slow.export.pem.files]
fullchain = "fullchain.pem"
key = "key.pem"
"#;

const DIGEST: &str = r#"
[job.digest]
schedule = "*/15 * * * *"
jitter = "0s"

[alert.email.ops]
sendmail = "{dir}/sendmail"
from = "renewd@web1.example.test"
to = ["ops@example.test"]
"#;

/// A policy with a digest four times an hour, and letters that go nowhere.
fn write_digest(rig: &Rig, more: &str) {
    let sendmail = rig.world.agent.path().join("sendmail");
    std::fs::write(&sendmail, "#!/bin/sh\ncat >/dev/null\n").unwrap();
    std::fs::set_permissions(&sendmail, PermissionsExt::from_mode(0o755)).unwrap();
    let policy = rig.world.policy() + DIGEST + more;
    rig.world.agent.write_policy(&policy);
}

/// Lets minutes pass, a second at a time, so that whoever wakes every second is seen to.
async fn pass(rig: &Rig, minutes: u32) {
    for _ in 0..minutes * 60 {
        rig.clock.advance(Seconds(1));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn digest_ran_at(rig: &Rig) -> Option<Timestamp> {
    let jobs = snapshot(rig).await.jobs;
    jobs.get(&JobName::Digest).map(|run| run.started_at)
}

/// Waits until the daemon says that it does not believe its clock.
async fn in_doubt(rig: &Rig) {
    let begun = Instant::now();
    while !rig.told().iter().any(|line| line.contains("the clock")) {
        assert!(begun.elapsed() < PATIENCE, "it believes its clock");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_digest_that_is_due_while_the_clock_is_in_doubt_keeps_nobody_awake_and_comes_afterwards()
{
    let rig = Rig::live(Wanted::new().at("2027-04-01")).await;
    write_digest(&rig, "");
    let right = rig.clock_now();
    let rig = other_clock(rig, right).await;
    let daemon = Daemon::start_with(&rig, rig.doubting(), Rings::default());
    ran_at(&rig, right).await;
    let begun = Instant::now();
    while digest_ran_at(&rig).await != Some(right) {
        assert!(begun.elapsed() < PATIENCE, "no first digest");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    rig.told();

    rig.clock.jump(Seconds::days(90));
    in_doubt(&rig).await;
    let looks = daemon.looks();
    pass(&rig, 10).await;
    // A doubt is looked at again once a minute, by two looks.
    let looks = daemon.looks() - looks;
    assert!(looks <= 40, "{looks} looks in ten minutes");
    assert!(looks >= 5, "it looks at its clock again");
    assert_eq!(
        digest_ran_at(&rig).await,
        Some(right),
        "it is named by its moment"
    );

    rig.clock.jump(Seconds(-Seconds::days(90).0));
    // The issuer's clock stands still: within an hour it is believed.
    rig.clock.advance(Seconds::minutes(20));
    let now = rig.clock_now();
    let begun = Instant::now();
    while digest_ran_at(&rig).await.is_none_or(|at| at < now) {
        assert!(begun.elapsed() < PATIENCE, "no digest after the doubt");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    daemon.stop(&rig).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_digest_that_is_due_in_doubt_beside_a_step_under_way_is_no_loop_without_sleep() {
    let rig = Rig::live(Wanted::new().at("2027-04-01")).await;
    let gate = Gate::new(rig.world.agent.path(), "reload-slow");
    write_digest(&rig, SLOW);
    let right = rig.clock_now();
    let daemon = Daemon::start_with(&rig, rig.doubting(), Rings::default());
    gate.begun().await;
    let rig = other_clock(rig, right).await;
    rig.told();
    rig.clock.jump(Seconds::days(90));
    in_doubt(&rig).await;
    // Some thousands without a sleep; the clock stands still.
    let looks = daemon.looks();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let looks = daemon.looks() - looks;
    assert!(looks < 50, "{looks} looks while nothing happens");
    gate.open();
    rig.clock.jump(Seconds(-Seconds::days(90).0));
    daemon.stop(&rig).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bell_that_never_rings_is_done_without() {
    let rig = Rig::live(Wanted::new().at("2027-04-01")).await;
    // Its next ring is years away, and it is missed at once.
    let rings = Rings {
        schedule: "0 0 0 29 2 *".to_owned(),
        unheard: Duration::from_millis(50),
    };
    let daemon = Daemon::start_with(&rig, rig.maker(), rings);
    ran_at(&rig, rig.clock_now()).await;
    // More than one bell was replaced by then.
    let looks = daemon.looks();
    let begun = Instant::now();
    while daemon.looks() < looks + 10 {
        assert!(begun.elapsed() < PATIENCE, "it does not look around");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    rig.clock.advance(Seconds::days(1));
    ran_at(&rig, rig.clock_now()).await;

    // Nobody says that the policy was changed.
    let more = "\n[certificate.api]\nissuer = \"corp\"\nnames = [\"api.example.test\"]\n";
    rig.world.agent.write_policy(&(rig.world.policy() + more));
    until(|| {
        let api = rig.world.agent.run(&["status", "--json"]).expect(0).json();
        let all = api["certificates"].as_array().unwrap();
        let issued = all
            .iter()
            .any(|one| one["name"] == "api" && one["verdict"] == "healthy");
        issued.then_some(()).ok_or(api)
    })
    .await;
    assert_eq!(rig.world.ccm.issued("api.example.test").await, 1);
    daemon.stop(&rig).await;
}

/// Never comes to an end, whatever its time-out: as a process that waits for a dead disk.
struct Stuck(Arc<AtomicBool>);

impl Runner for Stuck {
    fn run<'a>(
        &'a self,
        _invocation: &'a Invocation,
    ) -> std::pin::Pin<Box<dyn Future<Output = Outcome> + Send + 'a>> {
        self.0.store(true, Ordering::SeqCst);
        Box::pin(std::future::pending())
    }
}

/// What the textfile of the metrics says of the daemon's progress.
fn progress(rig: &Rig) -> Option<i64> {
    let text = std::fs::read_to_string(rig.world.agent.path().join("renewd.prom")).ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("renewd_last_progress_timestamp_seconds "))?;
    line.parse().ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_told_that_the_daemon_got_on_while_a_step_does_not_keep_its_limit() {
    let rig = Rig::new(Wanted::new().at("2027-04-01")).await;
    let slow = SLOW.replace("command_timeout = \"1h\"", "command_timeout = \"1s\"");
    let peer = Peer::start(|_| Reply::text(200, "")).await;
    let told = format!(
        "[metrics]\ntextfile = \"{{dir}}/renewd.prom\"\n[alert]\nheartbeat = \"{}/beat\"\n",
        peer.url
    );
    let policy = rig.world.ccm.issuer("2s") + &slow + &told;
    rig.world.agent.write_policy(&policy);
    std::fs::create_dir_all(rig.world.agent.state()).unwrap();
    let _program = Gate::new(rig.world.agent.path(), "reload-slow");
    let stuck: Arc<AtomicBool> = Arc::default();
    let (make, entered) = (rig.maker(), Arc::clone(&stuck));
    let maker = move |policy: Policy| -> BoxFuture<Engine> {
        let (names, state) = (policy.names(), policy.state_dir.clone());
        let (made, runner) = (make(policy), Arc::new(Stuck(Arc::clone(&entered))));
        Box::pin(async move {
            let mut engine = made.await;
            let resolve = Arc::clone(engine.issuers.resolve());
            engine.deployer = Deployer::new(state, runner, resolve).asking_for(names);
            engine
        })
    };
    let daemon = Daemon::start_with(&rig, maker, Rings::default());
    until(|| {
        stuck
            .load(Ordering::SeqCst)
            .then_some(())
            .ok_or_else(|| rig.told())
    })
    .await;
    let since = Instant::now();
    // It is within its limit, and the rest goes on.
    rig.clock.advance(Seconds::minutes(1));
    let within = rig.clock_now();
    until(|| {
        let seen = (progress(&rig), peer.requests().len());
        (seen.0 == Some(within.0) && seen.1 > 0)
            .then_some(())
            .ok_or(seen)
    })
    .await;

    // Three commands of a second each, and eleven seconds to die.
    while since.elapsed() < Duration::from_secs(15) {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // Jobs run all the same, and nobody takes them for progress.
    let beats = peer.requests().len();
    for _ in 0..2 {
        rig.clock.advance(Seconds::hours(7));
        ran_at(&rig, rig.clock_now()).await;
    }
    assert_eq!(progress(&rig), Some(within.0));
    assert_eq!(peer.requests().len(), beats, "a dead man lives");
    daemon.task.abort();
}

/// Waits until it is so; else says how it is.
async fn until<E: std::fmt::Debug>(mut is_so: impl FnMut() -> Result<(), E>) {
    let begun = Instant::now();
    while let Err(seen) = is_so() {
        assert!(begun.elapsed() < PATIENCE, "{seen:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_waits_for_its_job_and_not_beyond_the_emergency() {
    let rig = Rig::live(Wanted::new().at("2027-04-01")).await;
    let yearly = "[job.renew]\nschedule = \"0 0 1 1 *\"\n";
    let policy = rig.world.policy();
    rig.world.agent.write_policy(&format!("{yearly}{policy}"));
    let run = JobRun {
        started_at: rig.clock_now(),
        took_ms: 1,
        result: JobResult::Done,
        message: String::new(),
    };
    let store = &rig.engine().await.store;
    store.job_ran(JobName::Renew, &run).await.unwrap();
    let renew_at = due(&rig.tick().await, "www");

    rig.clock.set(renew_at);
    let plan = rig.tick().await;
    let Verdict::Wait(Waiting::Schedule { until }) = &plan.verdicts[&id("www")] else {
        panic!("{:?}", plan.verdicts);
    };
    // A tenth of the life of thirty days.
    assert!(*until > renew_at + Seconds::days(6), "{until}");
    assert!(plan.next_wake <= *until);
    assert_eq!(rig.world.ccm.issued(NAME).await, 1);
    assert!(plan.alerts.is_empty(), "{:?}", plan.alerts);

    rig.clock.set(*until);
    assert!(healthy(&rig.tick().await));
    assert_eq!(rig.world.ccm.issued(NAME).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_are_shown_and_run_by_hand() {
    let world = World::live(Ccm::start().await).await;
    let shown = |name: &str| -> Value {
        let all = world.agent.run(&["jobs", "--json"]).expect(0).json();
        let found = all
            .as_array()
            .unwrap()
            .iter()
            .find(|job| job["name"] == name);
        found
            .unwrap_or_else(|| panic!("no {name} in {all}"))
            .clone()
    };
    // `once` is a run of both.
    let (check, renew) = (shown("check"), shown("renew"));
    for job in [&check, &renew] {
        assert_eq!(job["result"], "done", "{job}");
        assert!(
            job["message"].as_str().unwrap().contains("1 certificate"),
            "{job}"
        );
        assert!(job["duration"].as_f64().unwrap() >= 0.0, "{job}");
        assert_eq!(job["time_zone"], "UTC", "{job}");
        assert!(job["next_run"].as_str() > job["last_run"].as_str(), "{job}");
    }
    assert_eq!(check["schedule"], "0 17 */6 * * *");

    // A moment has whole seconds.
    while shown("check")["last_run"] == check["last_run"] {
        world.agent.run(&["jobs", "run", "check"]).expect(0);
    }
    assert_eq!(shown("renew"), renew, "only what was asked for ran");
    let text = world.agent.run(&["jobs"]).expect(0).stdout;
    for part in [
        "check: 0 17 */6 * * * (UTC)",
        "renew: ",
        "last: 20",
        "next: 20",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    let refused = world.agent.run(&["jobs", "run", "chekc"]).expect(64);
    assert!(
        refused.stderr.contains("check, renew, watch and digest"),
        "{}",
        refused.stderr
    );
}

/// More than the minute within which the bell of each full minute lets a daemon notice a clock that was set just as it lay down.
const PATIENCE: Duration = Duration::from_secs(150);
