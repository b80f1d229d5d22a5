//! `renewd.service` from its start to its stop.

use std::time::{Duration, Instant};

use renewd::model::Milestone;

use crate::support::canary;
use crate::systemd::host::Host;

#[test]
fn the_shipped_unit_keeps_the_packaged_nginx_served_and_takes_a_new_policy() {
    let host = Host::up();
    let machine = &host.machine;
    let self_signed = host.served();

    // Credentials come in sealed and unsealed; the start is over when the policy is planned.
    machine.ok(&["systemctl", "start", "renewd"]);
    assert_eq!(machine.show("renewd", "ActiveState"), "active");
    let first = host.is_live();
    assert_ne!(first, self_signed);
    let status = host.status_text(|text| text.starts_with("1 of 1 certificate healthy"));
    assert!(status.contains("next renewal www at 20"), "{status}");

    // What happened can be asked for by certificate, target, order.
    let unit = "_SYSTEMD_UNIT=renewd.service";
    let of_certificate = machine.entries(&[unit, "RENEWD_CERTIFICATE=www"]);
    let issued = of_certificate
        .iter()
        .find(|entry| entry["MESSAGE"].as_str().unwrap().contains("issued"))
        .unwrap_or_else(|| panic!("{of_certificate:#?}"));
    assert_eq!(issued["PRIORITY"], "5", "{issued}");
    assert_eq!(issued["SYSLOG_IDENTIFIER"], "renewd", "{issued}");
    let order = issued["RENEWD_ORDER"].as_str().unwrap();
    let of_order = machine.entries(&[unit, &format!("RENEWD_ORDER={order}")]);
    assert!(of_order.len() > 2, "{of_order:#?}");
    let of_target = machine.entries(&[unit, "RENEWD_TARGET=web"]);
    let proven = |entry: &serde_json::Value| {
        entry["MESSAGE"]
            .as_str()
            .unwrap()
            .contains("handshake proven")
            && entry["RENEWD_CERTIFICATE"] == "www"
            && entry["RENEWD_ROLLOUT"].is_string()
    };
    assert!(of_target.iter().any(proven), "{of_target:#?}");

    // A good policy takes over, a bad one does not, and that is said.
    let process = machine.show("renewd", "MainPID");
    let more = format!(
        "{}\n[certificate.api]\nissuer = \"corp\"\nnames = [\"api.example.test\"]\n",
        host.policy()
    );
    host.write_policy(&more);
    machine.ok(&["systemctl", "reload", "renewd"]);
    host.status_text(|text| text.starts_with("2 of 2 certificates healthy"));

    host.write_policy("[certificate.www]\nnames = 7\n");
    machine.ok(&["systemctl", "reload", "renewd"]);
    host.status_text(|text| text.contains("in force"));
    assert_eq!(machine.show("renewd", "ActiveState"), "active");
    assert_eq!(machine.show("renewd", "MainPID"), process);
    let refused = machine.entries(&[unit, "PRIORITY=3"]);
    let refused = refused.last().unwrap()["MESSAGE"].as_str().unwrap();
    assert!(refused.contains("/etc/renewd/renewd.toml:2:"), "{refused}");
    // By its number it is found, and explained.
    for (one, subject) in [
        (Milestone::Started, "renewd: started"),
        (Milestone::Issued, "renewd: issued (www)"),
        (Milestone::Live, "renewd: live (web)"),
        (Milestone::PolicyInForce, "renewd: policy-in-force"),
        (Milestone::PolicyRefused, "renewd: policy-refused"),
    ] {
        let number = format!("MESSAGE_ID={}", one.message());
        let found = machine.entries(&[unit, &number]);
        assert!(!found.is_empty(), "{subject}");
        for entry in found {
            assert_eq!(entry["RENEWD_EVENT"], one.code(), "{entry}");
        }
        let said = machine.ok(&["journalctl", "--no-pager", "-x", unit, &number]);
        assert!(said.contains(&format!("Subject: {subject}\n")), "{said}");
        assert!(said.contains("Documentation: man:renewd(8)"), "{said}");
    }

    host.write_policy(&more);
    machine.ok(&["systemctl", "reload", "renewd"]);
    host.status_text(|text| text.starts_with("2 of 2 certificates healthy"));
    assert_eq!(host.is_live(), first);

    machine.ok(&["systemctl", "stop", "renewd"]);
    assert_eq!(machine.show("renewd", "Result"), "success");
    assert_eq!(machine.show("renewd", "NRestarts"), "0");
    let said = machine.ok(&["journalctl", "--no-pager", "--all", "--output=verbose"]);
    let places = [("the journal of systemd".to_owned(), said.into_bytes())];
    canary::nowhere(&[("the secret key", &host.secret_key)], &places);

    for (unit, most) in [("renewd", 3.0), ("renewd-once", 3.0), ("renewd-ccm", 1.5)] {
        let unit = format!("{unit}.service");
        let table = machine.ok(&["systemd-analyze", "security", "--no-pager", &unit]);
        let exposure = table.split("exposure level for").nth(1).unwrap();
        let exposure = exposure.split_whitespace().nth(1).unwrap();
        assert!(exposure.parse::<f32>().unwrap() <= most, "{table}");
        let verify = machine.run(&["systemd-analyze", "verify", "--man=no", &unit]);
        assert_eq!(
            (verify.code, verify.stderr.as_str()),
            (Some(0), ""),
            "{unit}"
        );
    }
    let owner = machine.ok(&["stat", "--format=%U %a", "/var/lib/private/renewd-ccm"]);
    assert_ne!(owner.split(' ').next(), Some("root"), "{owner}");
}

#[test]
fn a_stop_ends_the_step_under_way_and_a_power_cut_in_mid_rollout_is_carried_on_from() {
    let mut host = Host::up();
    host.write_program("/usr/local/sbin/slow-reload", SLOW_RELOAD);
    let slow = "[target.nginx.web]\nreload = [\"/usr/local/sbin/slow-reload\"]";
    let policy = host.policy().replace("[target.nginx.web]", slow);
    host.write_policy(&policy);
    // Far less than the step takes: systemd is asked for more (EXTEND_TIMEOUT_USEC), or it would kill.
    host.drop_in("renewd", "hasty", "[Service]\nTimeoutStopSec=2s\n");

    // The files are in place, and nginx is just being told.
    host.machine.ok(&["systemctl", "start", "renewd"]);
    reloading(&host);
    host.machine
        .ok(&["systemctl", "stop", "--no-block", "renewd"]);
    let machine = &host.machine;
    machine.until(
        || machine.show("renewd", "ActiveState"),
        |state| state == "deactivating",
    );
    let asked = Instant::now();
    machine.until(
        || (asked.elapsed(), machine.show("renewd", "ActiveState")),
        |(passed, state)| *passed > 3 * HASTY || state != "deactivating",
    );
    assert_eq!(machine.show("renewd", "ActiveState"), "deactivating");
    assert_eq!(host.certificate("www")["targets"][0]["rollout"], "tested");
    machine.ok(&["touch", "/run/go"]);
    machine.until(
        || machine.show("renewd", "ActiveState"),
        |state| state == "inactive",
    );
    assert_eq!(machine.show("renewd", "Result"), "success");
    assert_eq!(host.certificate("www")["targets"][0]["rollout"], "reloaded");
    machine.ok(&["systemctl", "start", "renewd"]);
    let first = host.is_live();

    // Another name, another certificate; and the plug is pulled.
    machine.ok(&["rm", "/run/go", "/run/reloading"]);
    host.drop_in("renewd", "restart", "[Service]\nRestartSec=100ms\n");
    host.write_policy(&policy.replace("names = [", "names = [\"example.test\", "));
    machine.ok(&["systemctl", "reload", "renewd"]);
    reloading(&host);
    // A renewd that is killed takes what it was having run with it, or it would be run twice at once.
    host.machine.ok(&["rm", "/run/reloading"]);
    host.machine.ok(&[
        "systemctl",
        "kill",
        "--kill-whom=main",
        "--signal=KILL",
        "renewd",
    ]);
    reloading(&host);
    assert_eq!(host.machine.ok(&["pgrep", "-c", "slow-reload"]), "1");
    assert_eq!(host.machine.show("renewd", "NRestarts"), "1");
    host.machine.cut_power();
    host.machine.start();
    let machine = &host.machine;
    machine.ok(&["touch", "/run/go"]);
    machine.ok(&["systemctl", "start", "nginx", "renewd-ccm", "renewd"]);
    let second = host.is_live();
    assert_ne!(first, second);
    // One order each: what was under way was finished, not begun again.
    assert_eq!(host.orders("www"), 2);
    assert_eq!(machine.show("renewd", "NRestarts"), "0");
}

#[test]
fn a_daemon_that_stands_still_is_killed_and_started_again() {
    let host = Host::up();
    let machine = &host.machine;
    // A policy that lets no step take long: a certificate that nothing uses.
    let policy = host.policy();
    let (issuer, _) = policy.split_once("[certificate.www]").unwrap();
    let api = "[certificate.api]\nissuer = \"corp\"\nnames = [\"api.example.test\"]\n";
    host.write_policy(&format!("{issuer}{api}"));
    let impatient = "[Service]\nWatchdogSec=2s\nRestartSec=100ms\nEnvironmentFile=-/run/stall\n";
    host.drop_in("renewd", "impatient", impatient);
    // The application is sent, and the answer never written down.
    let stall = "echo 'FAILPOINTS=order.submit.effect=sleep(3600000)' >/run/stall";
    machine.ok(&["sh", "-c", stall]);

    // The start is over with the first plan, before the step that stalls.
    machine.ok(&["systemctl", "start", "renewd"]);
    machine.ok(&["rm", "/run/stall"]);
    assert_eq!(machine.show("renewd", "NRestarts"), "0");
    machine.until(
        || machine.show("renewd", "NRestarts"),
        |restarts| restarts == "1",
    );
    let of_systemd = machine.entries(&["_PID=1", "UNIT=renewd.service"]);
    let watchdog = |entry: &serde_json::Value| {
        entry["MESSAGE"]
            .as_str()
            .unwrap()
            .contains("Watchdog timeout")
    };
    assert!(of_systemd.iter().any(watchdog), "{of_systemd:#?}");
    host.status_text(|text| text.starts_with("1 of 1 certificate healthy"));
    assert_eq!(host.orders("api"), 1);

    // It goes on, and goes on saying so while it has nothing to do.
    let fed = || {
        let fed = machine.show("renewd", "WatchdogTimestampMonotonic");
        fed.parse::<u64>().unwrap()
    };
    let before = fed();
    machine.until(fed, |now| *now > before + 5_000_000);
    assert_eq!(machine.show("renewd", "NRestarts"), "1");
}

#[test]
fn the_timer_does_rounds_without_a_daemon() {
    let host = Host::up();
    let machine = &host.machine;
    // Now, instead of some time within the hour.
    machine.write(
        "/etc/systemd/system/renewd.timer.d/now.conf",
        "[Timer]\nOnCalendar=\nOnActiveSec=0\nRandomizedDelaySec=0\n",
    );
    machine.ok(&["systemctl", "daemon-reload"]);
    machine.ok(&["systemctl", "start", "renewd.timer"]);
    machine.until(
        || machine.show("renewd-once", "ExecMainExitTimestampMonotonic"),
        |moment| moment != "0",
    );
    assert_eq!(machine.show("renewd-once", "Result"), "success");
    assert_eq!(machine.show("renewd-once", "ExecMainStatus"), "0");
    host.is_live();
    let said = machine.ok(&["journalctl", "--no-pager", "--unit=renewd-once"]);
    assert!(said.contains("handshake proven"), "{said}");
    assert!(!said.contains(&host.secret_key), "{said}");
}

/// Waits until nginx is being told.
#[track_caller]
fn reloading(host: &Host) {
    let machine = &host.machine;
    machine.until(
        || machine.run(&["test", "-e", "/run/reloading"]).code,
        |code| *code == Some(0),
    );
}

const SLOW_RELOAD: &str = "#!/bin/sh
touch /run/reloading
while ! [ -e /run/go ]; do sleep 0.1; done
exec /usr/sbin/nginx -s reload
";

/// What the unit gives a stop here.
const HASTY: Duration = Duration::from_secs(2);
