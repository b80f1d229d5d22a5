//! `renewd run` as systemd runs it: notifications, signals, and people's commands beside it.

use std::io::{Read, Write};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};

use crate::cli::Plain;
use crate::support::agent::Agent;
use crate::support::ccm::Ccm;
use crate::support::world::World;

/// A running daemon and what it tells systemd.
pub(crate) struct Daemon {
    pub(super) child: Child,
    notices: mpsc::Receiver<String>,
    log: PathBuf,
}

impl Daemon {
    pub(crate) fn start(agent: &Agent) -> Self {
        Self::start_with(agent, "")
    }

    /// With fail points.
    pub(crate) fn start_with(agent: &Agent, failpoints: &str) -> Self {
        let socket = agent.path().join("notify");
        let _ = std::fs::remove_file(&socket);
        let notices = UnixDatagram::bind(&socket).unwrap();
        // As systemd does: whoever tells is not kept waiting because nobody asks what was told.
        let (told, notices_told) = mpsc::channel();
        notices.set_read_timeout(Some(IDLE)).unwrap();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length) = notices.recv(&mut buffer) {
                let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
                if told.send(text).is_err() {
                    break;
                }
            }
        });
        let log = agent.path().join("daemon.log");
        let child = agent
            .command(&["run"])
            .env("NOTIFY_SOCKET", &socket)
            .env_remove("JOURNAL_STREAM")
            .env_remove("RENEWD_LOG")
            .env("FAILPOINTS", failpoints)
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Self {
            child,
            notices: notices_told,
            log,
        }
    }

    /// The next notice that begins like this, such as `STATUS=`; others before it are passed over.
    #[track_caller]
    pub(crate) fn tells(&self, what: &str) -> String {
        let mut seen = Vec::new();
        loop {
            let Ok(text) = self.notices.recv_timeout(PATIENCE) else {
                panic!("no `{what}` after {seen:?}\n{}", self.log());
            };
            if let Some(line) = text.lines().find(|line| line.starts_with(what)) {
                return line.to_owned();
            }
            seen.push(text);
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).unwrap();
        kill(Pid::from_raw(id), signal).unwrap();
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Ends it as systemd does; it must end well, and must have kept standard output to itself.
    #[track_caller]
    pub(crate) fn stop(mut self) -> String {
        self.signal(Signal::SIGTERM);
        self.tells("STOPPING=1");
        let status = self.child.wait().unwrap();
        let log = self.log();
        assert_eq!(status.code(), Some(0), "{log}");
        let mut out = String::new();
        let stdout = self.child.stdout.as_mut().unwrap();
        stdout.read_to_string(&mut out).unwrap();
        assert_eq!(out, "");
        assert!(!log.contains('\x1b'), "colours in a log file: {log:?}");
        log
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_daemon_works_reloads_its_policy_and_lets_people_work_beside_it() {
    let world = World::live(Ccm::start().await).await;
    let daemon = Daemon::start(&world.agent);
    daemon.tells("READY=1");
    let status = daemon.tells("STATUS=");
    assert!(
        status.starts_with("STATUS=1 of 1 certificate healthy; next renewal www at 20"),
        "{status}"
    );

    // It holds the lock only while it works.
    let old = world.served();
    world.agent.run(&["renew", "www"]).expect(0);
    let new = world.served();
    assert_ne!(new, old);
    world.agent.run(&["rollback", "www"]).expect(0);
    world.agent.run(&["release", "www"]).expect(0);
    assert_eq!(world.served(), new);

    // A policy that is read again is looked at again, and so are the files.
    let (loose, _) = world.loose();
    std::fs::remove_file(&loose).unwrap();
    daemon.signal(Signal::SIGHUP);
    daemon.tells("RELOADING=1");
    daemon.tells("READY=1");
    daemon.tells("STATUS=1 of 1 certificate healthy");
    assert_eq!(world.written(), new);

    let bad = format!("{}\nnonsense = 1\n[[\n", world.policy());
    world.agent.write_policy(&bad);
    daemon.signal(Signal::SIGHUP);
    daemon.tells("RELOADING=1");
    daemon.tells("STATUS=the new policy cannot be used; the old one stays in force");
    daemon.tells("READY=1");
    assert!(daemon.log().contains("renewd.toml:"), "{}", daemon.log());

    let more = format!(
        "{}\n[certificate.api]\nissuer = \"corp\"\nnames = [\"api.example.test\"]\n",
        world.policy()
    );
    world.agent.write_policy(&more);
    daemon.signal(Signal::SIGHUP);
    daemon.tells("RELOADING=1");
    daemon.tells("READY=1");
    daemon.tells("STATUS=2 of 2 certificates healthy");
    assert_eq!(world.ccm.issued("api.example.test").await, 1);
    let log = daemon.stop();
    assert!(
        log.contains("policy reloaded") && log.contains("stopped"),
        "{log}"
    );
    assert_eq!(world.served(), new);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_daemon_ends_the_step_under_way_and_no_other_when_it_is_told_to_stop() {
    let plain = Plain::new().await;
    let dir = plain.agent.path();
    let (begun, go_on) = (dir.join("begun"), dir.join("go-on"));
    for pipe in [&begun, &go_on] {
        mkfifo(pipe, Mode::from_bits_truncate(0o600)).unwrap();
    }
    let script = dir.join("reload");
    let text = format!(
        "#!/bin/sh\necho >'{}'\nread answer <'{}'\n",
        begun.display(),
        go_on.display()
    );
    std::fs::write(&script, text).unwrap();
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&script, executable).unwrap();
    let policy = plain.policy().replace(
        "[target.files.store.export",
        "[target.command.store]\nreload = [\"{dir}/reload\"]\nprobe = \"none\"\n[target.command.store.export",
    );
    plain.agent.write_policy(&policy);

    let daemon = Daemon::start(&plain.agent);
    daemon.tells("READY=1");
    // Opening waits for the script, which waits for us.
    let mut byte = [0];
    let mut told = std::fs::File::open(&begun).unwrap();
    told.read_exact(&mut byte).unwrap();
    daemon.signal(Signal::SIGTERM);
    let mut daemon = daemon;
    daemon.tells("STOPPING=1");
    // A minute and a half is all that the unit gives; the step may take longer, and says so again and again.
    let mut pleas = (0..2).map(|_| {
        let plea = daemon.tells("EXTEND_TIMEOUT_USEC=");
        let microseconds = plea.split_once('=').unwrap().1;
        microseconds.parse::<u64>().unwrap() / 1_000_000
    });
    let (first, second) = (pleas.next().unwrap(), pleas.next().unwrap());
    assert!(first > 90 && second < first, "{first} s, then {second} s");
    assert_eq!(
        daemon.child.try_wait().unwrap(),
        None,
        "the step is not over"
    );
    let mut answer = std::fs::File::options().write(true).open(&go_on).unwrap();
    answer.write_all(b"\n").unwrap();
    assert_eq!(
        daemon.child.wait().unwrap().code(),
        Some(0),
        "{}",
        daemon.log()
    );

    let history = plain
        .agent
        .run(&["history", "www", "--json"])
        .expect(0)
        .json();
    let last = history[0]["events"]
        .as_array()
        .unwrap()
        .last()
        .unwrap()
        .clone();
    assert_eq!(
        (&last["step"], &last["kind"]),
        (&"reload".into(), &"succeeded".into()),
        "{last}"
    );
    assert_eq!(
        plain.agent.status("www")["targets"][0]["rollout"],
        "reloaded"
    );
    plain.agent.run(&["once"]).expect(0);
    assert_eq!(plain.agent.status("www")["targets"][0]["state"], "unproven");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_start_is_over_before_the_first_look_at_a_file_that_may_hang() {
    let plain = Plain::new().await;
    plain.change(
        "[target.files.store.export.layout.site]\nlayout = \"nginx\"",
        "[target.files.store.export.pem.site]\nfullchain = \"fullchain.pem\"\nkey = \"key.pem\"",
    );
    plain.agent.run(&["once"]).expect(0);
    // One that was touched is read again.
    let live = plain.agent.live("store").join("www/fullchain.pem");
    std::fs::write(&live, "touched").unwrap();
    let daemon = Daemon::start_with(&plain.agent, "fs.read=return(HANG /fullchain.pem)");
    let status = daemon.tells("STATUS=");
    assert!(
        status.starts_with("STATUS=1 of 1 certificate healthy"),
        "{status}"
    );
    daemon.tells("READY=1");
    // It does hang: nobody puts the file right.
    assert_eq!(std::fs::read_to_string(&live).unwrap(), "touched");
    drop(daemon);
    plain.agent.run(&["once"]).expect(0);
    assert_ne!(std::fs::read_to_string(&live).unwrap(), "touched");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_writes_the_policy_again_and_again_does_not_hold_up_the_stop() {
    let plain = Plain::new().await;
    let often = "[job.check]\nschedule = \"* * * * * *\"\njitter = \"0s\"\nfloor = \"1s\"\n";
    let policy = format!("{often}{}", plain.policy());
    plain.agent.write_policy(&policy);
    let mut daemon = Daemon::start(&plain.agent);
    daemon.tells("READY=1");
    daemon.tells("STATUS=1 of 1 certificate");
    // Half a minute of this is waited for; systemd waits for us.
    let begun = Instant::now();
    let mut stopping = false;
    for at in 0_u64.. {
        plain.agent.write_policy(&format!("{policy}# {at}\n"));
        std::thread::sleep(Duration::from_millis(100));
        if !stopping && begun.elapsed() > Duration::from_secs(3) {
            stopping = true;
            daemon.signal(Signal::SIGTERM);
        }
        if let Some(status) = daemon.child.try_wait().unwrap() {
            assert!(status.success(), "{}", daemon.log());
            break;
        }
        assert!(begun.elapsed() < MOST_LOOKS, "{}", daemon.log());
    }
    assert!(stopping, "it ended by itself");
}

/// A stop that waits for who writes takes longer.
const MOST_LOOKS: Duration = Duration::from_secs(25);
/// Without any notice, after which nobody listens any more.
const IDLE: Duration = Duration::from_secs(600);
/// For one notice; ample for a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
