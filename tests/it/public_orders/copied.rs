//! The daemon itself on a state directory that is a copy, or comes from a backup: it buys nothing until it is claimed, and a
//! copy takes nothing, either. A
//! journal that lies there when `renewd run` starts is read ahead, beside the policy.
#![expect(
    clippy::disallowed_methods,
    reason = "tests arrange files and processes directly"
)]

use std::process::Command;
use std::time::{Duration, Instant};

use renewd::ccm_server::ScmOptions;

use crate::ccm_server::resolver::Resolver;
use crate::cli::daemon::Daemon;
use crate::support::agent::{Agent, write_secret};
use crate::support::ccm::{Ccm, Wanted};
use crate::support::shop::{issuer, purchase};

/// An account under the machine's clock, as every process has it, and a host.
struct Scene {
    ccm: Ccm,
    agent: Agent,
    _names: Resolver,
}

impl Scene {
    async fn new() -> Self {
        let names = Resolver::start().await;
        let scm = ScmOptions {
            dns_servers: vec![names.address],
            ..ScmOptions::default()
        };
        let ccm = Wanted::new().scm(scm).start().await;
        let agent = Agent::new("");
        write_secret(&agent.path().join("ak"), ccm.access_key());
        write_secret(&agent.path().join("sk"), ccm.secret_key());
        Self {
            ccm,
            agent,
            _names: names,
        }
    }

    /// These certificates, with such a purchase table.
    fn write(&self, purchase: &str, names: &[&str]) {
        let mut text = issuer(&self.ccm.endpoint(), purchase);
        for name in names {
            text.push_str(&format!(
                "\n[certificate.{name}]\nissuer = \"public\"\nnames = [\"{name}.example.test\"]\n"
            ));
        }
        self.agent.write_policy(&text);
    }

    fn bought(&self) -> usize {
        self.ccm.running.requests_of("4.1.3.1")
    }

    /// Waits until the certificate is blocked for this reason.
    #[track_caller]
    fn is_blocked(&self, daemon: &Daemon, name: &str, code: &str) {
        let begun = Instant::now();
        loop {
            let status = self.agent.status(name);
            if status["verdict"] == "blocked" && status["reason"] == code {
                return;
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "{name} is not {code}: {status}\n{}",
                daemon.log()
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Waits until so many purchases were sent.
    #[track_caller]
    fn has_bought(&self, daemon: &Daemon, wanted: usize) {
        let begun = Instant::now();
        while self.bought() < wanted {
            assert!(begun.elapsed() < PATIENCE, "{}", daemon.log());
            std::thread::sleep(Duration::from_millis(100));
        }
        assert_eq!(self.bought(), wanted, "{}", daemon.log());
    }

    fn copy(&self, from: &str, to: &str) {
        let place = |name: &str| self.agent.path().join(name);
        let _ = std::fs::remove_dir_all(place(to));
        let done = Command::new("cp")
            .arg("-a")
            .arg(place(from))
            .arg(place(to))
            .status();
        assert!(done.unwrap().success());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_on_the_journal_of_another_machine_buys_nothing_until_it_is_claimed() {
    let scene = Scene::new().await;
    scene.write("", &["www"]);
    // It may not buy yet, so its order waits for an entitlement.
    scene.agent.run(&["once", "--wait", "0s"]).expect(75);
    let done = Command::new("sqlite3")
        .arg(scene.agent.state().join("state.db"))
        .arg("UPDATE identity SET body = json_set(body, '$.d.machine', 'another')")
        .status();
    assert!(done.unwrap().success());
    scene.write(&purchase(3, 1), &["www"]);
    let daemon = Daemon::start(&scene.agent);
    daemon.tells("READY=1");
    scene.is_blocked(&daemon, "www", "stale-journal");
    assert_eq!(scene.bought(), 0);
    let asked = scene.agent.run(&["once", "--wait", "0s"]).expect(65);
    assert_eq!(scene.bought(), 0, "{}", asked.stderr);

    // Which tells the daemon.
    scene.agent.run(&["state", "claim", "--yes"]).expect(0);
    scene.has_bought(&daemon, 1);
    let log = daemon.stop();
    assert!(
        log.contains("the journal was made on another machine"),
        "{log}"
    );
    assert_eq!(scene.bought(), 1, "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_on_a_journal_from_before_its_purchases_buys_nothing_until_it_is_claimed() {
    let scene = Scene::new().await;
    scene.write("", &["www"]);
    scene.agent.run(&["once", "--wait", "0s"]).expect(75);
    scene.copy("state", "saved");
    scene.write(&purchase(3, 1), &["www"]);
    scene.agent.run(&["once", "--wait", "0s"]);
    assert_eq!(scene.bought(), 1);

    // Its backup comes back, and something else is wanted, too.
    scene.copy("saved", "state");
    scene.write(&purchase(3, 1), &["www", "other"]);
    let daemon = Daemon::start(&scene.agent);
    daemon.tells("READY=1");
    scene.is_blocked(&daemon, "other", "stale-journal");
    scene.is_blocked(&daemon, "www", "foreign-application");
    assert_eq!(scene.bought(), 1, "{}", daemon.log());

    let claimed = scene.agent.run(&["state", "claim", "--yes"]).expect(0);
    assert!(
        claimed.stdout.contains("1 purchase taken over"),
        "{}",
        claimed.stdout
    );
    scene.has_bought(&daemon, 2);
    scene.is_blocked(&daemon, "www", "foreign-application");
    let log = daemon.stop();
    assert_eq!(scene.bought(), 2, "{log}");
}

/// For a daemon on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
