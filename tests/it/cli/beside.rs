//! A daemon that has a step under way which takes long: everything else goes on, and nobody meets its lock.

use std::process::{Child, Stdio};

use nix::sys::signal::Signal;
use renewd::store::{SqliteStore, Store};
use tokio::net::TcpListener;

use crate::cli::Plain;
use crate::cli::daemon::Daemon;
use crate::support::gate::Gate;

/// A daemon, `www` on a target that takes no time, and `slow` on one whose reload waits for the gate.
struct Held {
    plain: Plain,
    gate: Gate,
    daemon: Daemon,
    /// Asks for a new `slow`, and waits for it.
    asking: Child,
}

const SLOW: &str = r#"
[certificate.slow]
issuer = "corp"
names = ["slow.example.test"]
targets = ["slow"]

[target.command.slow]
reload = ["{dir}/reload-slow"]
probe = "none"
command_timeout = "5m"

[target.command.slow.export.pem.files]
fullchain = "fullchain.pem"
key = "key.pem"
"#;

impl Held {
    async fn new() -> Self {
        let plain = Plain::new().await;
        let gate = Gate::new(plain.agent.path(), "reload-slow");
        gate.open();
        plain.agent.write_policy(&(plain.policy() + SLOW));
        plain.agent.run(&["once"]).expect(0);
        plain.agent.run(&["renew", "www"]).expect(0);
        gate.close();
        let daemon = Daemon::start(&plain.agent);
        daemon.tells("STATUS=2 of 2 certificates healthy");
        let asking = spawn(&plain, &["renew", "slow"]);
        gate.begun().await;
        Self {
            plain,
            gate,
            daemon,
            asking,
        }
    }

    /// The step is under way, and whoever asked for it waits.
    #[track_caller]
    fn is_held(&mut self) {
        assert_eq!(self.asking.try_wait().unwrap(), None);
        let slow = self.plain.agent.status("slow");
        assert_eq!(slow["targets"][0]["rollout"], "tested", "{slow}");
    }
}

fn spawn(plain: &Plain, words: &[&str]) -> Child {
    let mut command = plain.agent.command(words);
    command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

#[track_caller]
fn ends(child: Child, code: i32) -> String {
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{said}");
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_that_takes_long_holds_up_no_command_about_another_certificate() {
    let mut held = Held::new().await;
    let agent = &held.plain.agent;
    let first = held.plain.serial();
    agent.run(&["renew", "www"]).expect(0);
    let second = held.plain.serial();
    assert_ne!(second, first);
    agent.run(&["rollback", "www"]).expect(0).silent();
    assert_eq!(held.plain.serial(), first);
    agent.run(&["release", "www"]).expect(0);
    assert_eq!(held.plain.serial(), second);
    let run = agent.run(&["release", "www"]).expect(0);
    run.says("www: nothing was held").silent();
    let run = agent.run(&["rollback", "www", "--to", "0000000000000000"]);
    run.expect(65).says("kept are");
    held.is_held();

    // A new policy comes into force meanwhile, twice, and what it wants is done.
    let more = held.plain.policy()
        + SLOW
        + "[certificate.api]\nissuer = \"corp\"\nnames = [\"api.example.test\"]\n";
    let agent = &held.plain.agent;
    agent.write_policy(&more);
    let run = agent.run(&["reload"]).expect(0);
    run.says("in force: 3 certificates");
    agent.run(&["renew", "api"]).expect(0);
    held.daemon.signal(Signal::SIGHUP);
    held.daemon.tells("RELOADING=1");
    held.daemon.tells("READY=1");
    held.is_held();

    // What is about the same target waits for the step, and finds the rollout over.
    let before = held.plain.agent.status("slow")["serial"].clone();
    let back = spawn(&held.plain, &["rollback", "slow"]);
    held.plain.agent.run(&["renew", "www"]).expect(0);
    held.is_held();
    held.gate.open();
    ends(held.asking, 0);
    ends(back, 0);
    let slow = held.plain.agent.status("slow");
    assert_eq!(slow["targets"][0]["state"], "held", "{slow}");
    assert_eq!(slow["serial"], before, "the newest");
    assert_ne!(slow["targets"][0]["serial"], before, "{slow}");
    assert_eq!(held.plain.ccm.issued("slow.example.test").await, 2);
    let log = held.daemon.stop();
    assert!(!log.contains("held by"), "{log}");
}

/// A mail server that takes connections and says nothing, as one that is overloaded does; and something that takes no time.
const MUTE: &str = r#"
[certificate.mute]
issuer = "corp"
names = ["mute.example.test"]
targets = ["mute"]

[target.command.mute]
reload = ["/bin/true"]
command_timeout = "10s"
PROBE

[target.command.mute.export.pem.files]
fullchain = "fullchain.pem"
key = "key.pem"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_says_nothing_at_a_check_holds_up_nobody_else() {
    let plain = Plain::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let unproven = MUTE.replace("PROBE", "probe = \"none\"");
    plain.agent.write_policy(&(plain.policy() + &unproven));
    plain.agent.run(&["once"]).expect(0);
    // From now on it is asked, as if it had been proven before.
    let asked =
        format!("probe = \"tls\"\nconnect = \"{at}\"\nstarttls = \"smtp\"\ndeadline = \"10m\"");
    let policy = plain.policy() + &MUTE.replace("PROBE", &asked);
    plain.agent.write_policy(&policy);
    let loaded = renewd::config::load(&plain.agent.path().join("renewd.toml")).unwrap();
    let store = SqliteStore::open(&plain.agent.state().join("state.db"))
        .await
        .unwrap();
    let mut snapshot = store.snapshot().await.unwrap();
    let (id, mut state) = snapshot.targets.remove_entry("mute").unwrap();
    state.policy = Some(loaded.policy.targets["mute"].digest);
    store.change_target(&id, &state).await.unwrap();
    store.close().await.unwrap();

    let daemon = Daemon::start(&plain.agent);
    daemon.tells("STATUS=2 of 2 certificates healthy");
    let mut checking = spawn(&plain, &["jobs", "run", "check"]);
    let (first, _) = listener.accept().await.unwrap();
    let (second, _) = listener.accept().await.unwrap();
    let serial = plain.serial();
    plain.agent.run(&["renew", "www"]).expect(0);
    assert_ne!(plain.serial(), serial);
    assert_eq!(checking.try_wait().unwrap(), None, "it is looked at still");
    drop((first, second, listener));
    ends(checking, 0);
    daemon.stop();
}
