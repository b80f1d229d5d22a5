//! A service that is told by a signal to the main process of its unit.

use crate::systemd::host::Host;

#[test]
fn the_main_process_of_a_unit_gets_the_signal_and_a_stopped_unit_is_waited_for() {
    let host = Host::up();
    let machine = &host.machine;
    host.write_program("/usr/local/sbin/listener", LISTENER);
    machine.write("/etc/systemd/system/listener.service", UNIT);
    machine.ok(&["mkdir", "/etc/listener"]);
    machine.ok(&["systemctl", "daemon-reload"]);
    let www = "targets = [\"web\"]";
    assert!(host.policy().contains(www));
    let policy = host.policy().replace(www, "targets = [\"listener\"]");
    let (before, _) = policy.split_once("[target.nginx.web]").unwrap();
    host.write_policy(&format!("{before}{TARGET}"));
    host.allow_places();

    // A unit that is not running is neither told nor started.
    machine.ok(&["systemctl", "start", "renewd"]);
    let waiting = machine.until(
        || host.certificate("www"),
        |www| www["targets"][0]["state"] == "pending",
    );
    assert!(
        waiting.to_string().contains("listener.service is inactive"),
        "{waiting}"
    );
    assert_eq!(machine.show("listener", "ActiveState"), "inactive");
    machine.ok(&["test", "-s", "/etc/listener/tls.pem"]);

    // It comes up with the new files, is told once more, and that is that. A new policy looks at once.
    machine.ok(&["systemctl", "start", "listener"]);
    host.write_policy(&format!("{before}{TARGET}mode = \"0640\"\n"));
    machine.ok(&["systemctl", "reload", "renewd"]);
    machine.until(
        || host.certificate("www"),
        |www| www["targets"][0]["state"] == "unproven",
    );
    let main = machine.show("listener", "MainPID");
    let log = machine.until(
        || machine.run(&["cat", "/run/listener.log"]).stdout,
        |log| log.contains("HUP"),
    );
    // Children of the main process get nothing: the child of the listener would say so.
    assert_eq!(log, format!("HUP to {main}\n"));
}

const TARGET: &str = r#"
[target.command.listener]
signal = "HUP"
unit = "listener"
probe = "none"

[target.command.listener.export.pem.files]
fullchain = "/etc/listener/tls.pem"
key = "/etc/listener/tls.key"
"#;

const UNIT: &str = "[Service]\nType=exec\nExecStart=/usr/local/sbin/listener\n";

/// Main process and child, which both tell what they get.
const LISTENER: &str = r#"#!/bin/bash
hear() {
  trap 'echo "HUP to $BASHPID" >>/run/listener.log' HUP
  while :; do sleep 0.1; done
}
hear &
hear
"#;
