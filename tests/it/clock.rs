//! A clock that cannot be believed: nothing is ordered, rolled out or removed, one alert says why, and it ends by itself.
#![expect(
    clippy::disallowed_methods,
    reason = "tests arrange files and processes directly"
)]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use renewd::model::{Doubt, Seconds};
use renewd::plan::Plan;

use crate::support::agent::Agent;
use crate::support::ccm::{Ccm, Wanted};
use crate::support::engine::{Rig, healthy, tick};
use crate::support::world::{NAME, World};

const MONTHS: Seconds = Seconds::days(90);

#[track_caller]
fn nothing_is_done(plan: &Plan) -> Doubt {
    assert_eq!(plan.actions, []);
    let alerts: Vec<&str> = plan.alerts.keys().map(|key| key.as_str()).collect();
    assert_eq!(alerts, ["clock/host"]);
    plan.doubt.expect("a doubt")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_was_set_is_checked_with_the_issuer_before_anything_is_done() {
    // The server's clock stands apart: it is right.
    let rig = Rig::live(Wanted::new().at("2027-04-01")).await;
    let issued = rig.world.ccm.issued(NAME).await;
    let engine = Arc::new((rig.doubting())(rig.policy()).await);
    let (loose, _) = rig.world.loose();
    // What it does now is known to be right: it asked, for something was to be done.
    rig.force("www").await;
    assert!(healthy(&tick(&engine).await));
    assert_eq!(rig.world.ccm.issued(NAME).await, issued + 1);
    rig.told();

    // The renewal is due at once by the host's clock, and by nobody else's. The server shares the host's clock here,
    // so another one takes its place at the same address, which kept the time.
    let right = rig.clock_now();
    std::fs::remove_file(&loose).unwrap();
    let rig = other_clock(rig, right).await;
    rig.clock.jump(MONTHS);
    let plan = tick(&engine).await;
    assert_eq!(nothing_is_done(&plan), Doubt::Far { ahead: MONTHS });
    assert!(!loose.exists(), "a rollout by a clock that is wrong");
    let told = rig.told();
    assert_eq!(told.len(), 1, "{told:#?}");
    assert!(told[0].contains("90d ahead of the issuer's"), "{told:#?}");
    // Again and again: it is said once, and the issuer is not asked each time.
    let asked = rig.world.ccm.running.requests().len();
    for _ in 0..4 {
        rig.clock.advance(Seconds::minutes(1));
        nothing_is_done(&tick(&engine).await);
    }
    assert_eq!(rig.told(), Vec::<String>::new());
    assert_eq!(rig.world.ccm.running.requests().len(), asked);

    // Put right by time synchronisation: nobody has to do anything, and the file is put back.
    rig.clock.jump(Seconds(-MONTHS.0));
    let plan = tick(&engine).await;
    assert_eq!(plan.doubt, None);
    assert!(loose.exists());
    let told = rig.told();
    assert!(
        told.iter()
            .any(|line| line.starts_with("resolved: the clock is")),
        "{told:#?}"
    );

    // And back: before what the issuer confirmed, also for a process that begins with that clock.
    rig.clock.jump(Seconds(-MONTHS.0));
    nothing_is_done(&tick(&engine).await);
    let begun = Arc::new((rig.maker())(rig.policy()).await);
    let plan = tick(&begun).await;
    assert!(matches!(nothing_is_done(&plan), Doubt::BeforeMark { .. }));
    rig.clock.jump(MONTHS);
    assert_eq!(tick(&begun).await.doubt, None);
    assert_eq!(tick(&engine).await.doubt, None);
    assert_eq!(
        rig.world.ccm.issued(NAME).await,
        0,
        "the new server issued nothing"
    );
}

/// Puts a server with a clock of its own, which stands at `now`, at the same address.
pub(crate) async fn other_clock(mut rig: Rig, now: renewd::model::Timestamp) -> Rig {
    let port = rig.world.ccm.running.address().port();
    let clock = Arc::new(renewd::sys::clock::ManualClock::new(now));
    let elsewhere = Wanted::new().clock(Arc::clone(&clock)).start().await;
    let old = std::mem::replace(&mut rig.world.ccm, elsewhere);
    old.running.stop().await;
    rig.world.ccm = Wanted::new().clock(clock).port(port).start().await;
    rig
}

/// `renewd run` under faketime, whose clock follows a file.
struct Daemon {
    child: Child,
    log: PathBuf,
}

impl Daemon {
    fn start(agent: &Agent, shift: &Path) -> Self {
        let log = agent.path().join("daemon.log");
        let mut command = agent.command(&["run"]);
        faked(&mut command, shift);
        let child = command
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Self { child, log }
    }

    /// Says how long it took.
    #[track_caller]
    fn says(&self, what: &str) -> Duration {
        let begun = Instant::now();
        loop {
            let log = std::fs::read_to_string(&self.log).unwrap();
            if log.contains(what) {
                return begun.elapsed();
            }
            assert!(begun.elapsed() < PATIENCE, "no `{what}` in\n{log}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs with the clock that the file says; without the variables only at the start.
pub(crate) fn faked(command: &mut Command, shift: &Path) {
    command
        .env("LD_PRELOAD", library())
        .env("FAKETIME_TIMESTAMP_FILE", shift)
        .env("FAKETIME_NO_CACHE", "1")
        // Rust's own waits hang otherwise.
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
}

/// As `faketime` itself finds it. It shares memory under the number of its process, and fails where one of that number was killed
/// before and left its own; the next attempt has another number.
pub(crate) fn library() -> PathBuf {
    for _ in 0..100 {
        let found = Command::new("faketime")
            .args(["-m", "-f", "+0", "printenv", "LD_PRELOAD"])
            .output()
            .expect("faketime is installed");
        let path = String::from_utf8(found.stdout).unwrap();
        if !path.trim().is_empty() {
            return PathBuf::from(path.trim());
        }
    }
    panic!("faketime does not say where its library is");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_daemon_lives_through_a_clock_that_jumps_by_months_and_back() {
    let world = World::live(Ccm::start().await).await;
    let issued = world.ccm.issued(NAME).await;
    let served = world.served();
    let shift = world.agent.path().join("shift");
    let set = |to: &str| {
        let new = world.agent.path().join("shift.new");
        std::fs::write(&new, to).unwrap();
        std::fs::rename(&new, &shift).unwrap();
    };
    set("+0");
    let daemon = Daemon::start(&world.agent, &shift);
    daemon.says("started with a policy");

    // Thirty days of life are long over, by this clock; a file is missing as well.
    let (loose, _) = world.loose();
    std::fs::remove_file(&loose).unwrap();
    set("+90d");
    let noticed = daemon.says("ahead of the issuer's");
    assert!(noticed < NOTICED, "forward: {noticed:?}");
    assert!(!loose.exists());
    assert_eq!(world.ccm.issued(NAME).await, issued);
    // Whoever asks is told the same, under the same clock.
    let mut plan = world.agent.command(&["plan"]);
    faked(&mut plan, &shift);
    let shown = plan.output().unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("ahead of the issuer's"), "{shown}");

    set("+0");
    let noticed = daemon.says("resolved: the clock is");
    assert!(noticed < NOTICED, "put right: {noticed:?}");
    let begun = Instant::now();
    while !loose.exists() {
        assert!(begun.elapsed() < PATIENCE, "the file was not put back");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }

    set("-90d");
    let begun = Instant::now();
    while world
        .agent
        .run(&["status"])
        .expect(0)
        .stdout
        .matches("ALERT")
        .count()
        == 0
    {
        assert!(begun.elapsed() < NOTICED, "no alert");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    set("+0");
    let begun = Instant::now();
    while world.agent.status("www")["verdict"] != "healthy"
        || world
            .agent
            .run(&["status"])
            .expect(0)
            .stdout
            .contains("ALERT")
    {
        assert!(
            begun.elapsed() < PATIENCE,
            "{}\n{}",
            world.agent.run(&["status"]).expect(0).stdout,
            std::fs::read_to_string(&daemon.log).unwrap()
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(world.ccm.issued(NAME).await, issued, "nothing was ordered");
    assert_eq!(world.served(), served);

    let mut daemon = daemon;
    let id = i32::try_from(daemon.child.id()).unwrap();
    kill(Pid::from_raw(id), Signal::SIGTERM).unwrap();
    assert!(daemon.child.wait().unwrap().success());
}

/// What is thrown away is gone, and a process that just began under such a clock has nothing that speaks against it.
#[tokio::test(flavor = "multi_thread")]
async fn by_a_clock_that_no_issuer_vouches_for_nothing_is_removed() {
    let world = World::live(Ccm::start().await).await;
    world.agent.run(&["renew", "www"]).expect(0);
    let revisions = world.agent.state().join("revisions/www");
    let count = || std::fs::read_dir(&revisions).unwrap().count();
    let history = || world.agent.run(&["history", "www"]).expect(0).stdout;
    let (before, told) = (count(), history());
    assert_eq!(before, 3);
    // The issuer is away, and everything ended a year ago, by this clock.
    let policy = world.policy();
    let away = policy.replace(&world.ccm.endpoint(), "http://127.0.0.1:1");
    assert_ne!(away, policy);
    world.agent.write_policy(&away);
    let shift = world.agent.path().join("shift");
    std::fs::write(&shift, "+800d").unwrap();
    let mut once = world.agent.command(&["once", "--wait", "0s"]);
    faked(&mut once, &shift);
    let once = once.output().unwrap();
    assert!(!once.status.success());
    assert_eq!(count(), before, "{}", String::from_utf8_lossy(&once.stderr));
    assert!(
        world
            .agent
            .run(&["history", "www"])
            .expect(0)
            .stdout
            .contains(told.lines().next().unwrap())
    );
    world.agent.run(&["rollback", "www"]).expect(0);
}

/// A minute, and what a busy machine makes of it. This clock is set without the kernel's knowledge, so nothing tells of it.
const NOTICED: Duration = Duration::from_secs(80);
/// For a daemon on a busy machine.
const PATIENCE: Duration = Duration::from_secs(150);
