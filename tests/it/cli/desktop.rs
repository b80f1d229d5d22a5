//! `renewd notify-agent` on a real session bus, with a notification service that writes down what it is asked to show.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::cli::Plain;
use crate::cli::daemon::Daemon;
use crate::support::agent::Agent;

/// A bus of its own, and who shows notifications on it.
struct Desktop {
    bus: Child,
    service: Option<Child>,
    address: String,
    log: PathBuf,
}

impl Desktop {
    fn new(directory: &Path) -> Self {
        let mut bus = Command::new("dbus-daemon")
            .args(["--session", "--nofork", "--print-address"])
            .arg(format!("--address=unix:path={}/bus", directory.display()))
            .stdout(Stdio::piped())
            .spawn()
            .expect("dbus-daemon is installed");
        let mut address = String::new();
        let mut out = BufReader::new(bus.stdout.take().unwrap());
        out.read_line(&mut address).unwrap();
        assert!(address.starts_with("unix:"), "{address}");
        Self {
            bus,
            service: None,
            address: address.trim().to_owned(),
            log: directory.join("shown"),
        }
    }

    /// The service that a desktop has.
    fn serve(&mut self) {
        let service = Command::new("/usr/bin/python3")
            .args(["-m", "dbusmock", "--session", "-t", "notification_daemon"])
            .arg("--logfile")
            .arg(&self.log)
            .env("DBUS_SESSION_BUS_ADDRESS", &self.address)
            .stdout(Stdio::null())
            .spawn()
            .expect("python3 is installed");
        self.service = Some(service);
    }

    /// What was asked of it, once there are so many.
    #[track_caller]
    fn shown(&self, many: usize) -> Vec<String> {
        let end = Instant::now() + PATIENCE;
        loop {
            let log = std::fs::read_to_string(&self.log).unwrap_or_default();
            let asked = log.lines().filter(|line| line.contains(" Notify "));
            let asked: Vec<String> = asked.map(str::to_owned).collect();
            if asked.len() >= many {
                return asked;
            }
            assert!(
                Instant::now() < end,
                "{many} are awaited, there are {asked:#?}"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Desktop {
    fn drop(&mut self) {
        for child in self.service.iter_mut().chain([&mut self.bus]) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

struct Shower(Child);

impl Shower {
    fn start(agent: &Agent, desktop: &Desktop) -> Self {
        let log = std::fs::File::create(agent.path().join("agent.log")).unwrap();
        let child = agent
            .command(&["notify-agent"])
            .env("DBUS_SESSION_BUS_ADDRESS", &desktop.address)
            .env_remove("JOURNAL_STREAM")
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        Self(child.unwrap())
    }
}

impl Drop for Shower {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_and_their_end_are_shown_on_the_desktop_across_a_killed_daemon() {
    let plain = Plain::new().await;
    plain.change(
        "[target.files.store.export",
        "[target.files.store]\ndrift = \"report\"\n[target.files.store.export",
    );
    plain.agent.run(&["once"]).expect(0);
    let mut desktop = Desktop::new(plain.agent.path());
    // Neither the daemon nor the service is there yet.
    let mut shower = Shower::start(&plain.agent, &desktop);
    let mut daemon = Daemon::start(&plain.agent);
    daemon.tells("STATUS=1 of 1 certificate healthy");

    let file = plain.agent.live("store").join("www/server.crt");
    let good = std::fs::read(&file).unwrap();
    std::fs::write(&file, [&good[..], b"\n# somebody was here\n"].concat()).unwrap();
    plain.agent.run(&["jobs", "run", "check"]);
    let alerts = plain.agent.run(&["status", "--json"]).expect(0).json();
    let alert = &alerts["alerts"][0];
    let title = alert["title"]
        .as_str()
        .unwrap_or_else(|| panic!("{alerts:#}"));
    desktop.serve();
    let shown = desktop.shown(1);
    assert_eq!(shown.len(), 1, "{shown:#?}");
    for part in ["\"renewd\" 0 ", title, "\"urgency\": 1"] {
        assert!(shown[0].contains(part), "{part} is not in {}", shown[0]);
    }

    // A new daemon tells of it again, and nobody is bothered; its end takes its place.
    daemon.child.kill().unwrap();
    daemon.child.wait().unwrap();
    let daemon = Daemon::start(&plain.agent);
    daemon.tells("READY=1");
    std::fs::write(&file, &good).unwrap();
    plain.agent.run(&["jobs", "run", "check"]).expect(0);
    let shown = desktop.shown(2);
    assert_eq!(shown.len(), 2, "{shown:#?}");
    for part in ["\"renewd\" 1 ", "Resolved: ", title, "\"urgency\": 0"] {
        assert!(shown[1].contains(part), "{part} is not in {}", shown[1]);
    }
    daemon.stop();

    let process = Pid::from_raw(i32::try_from(shower.0.id()).unwrap());
    kill(process, Signal::SIGTERM).unwrap();
    assert_eq!(shower.0.wait().unwrap().code(), Some(0));
}

/// For whatever is waited for; ample for a busy machine, and for the agent's own pauses.
const PATIENCE: Duration = Duration::from_secs(150);
