//! The Debian package in a real systemd: installed without and with a policy, upgraded over a daemon that is in the middle
//! of a rollout, removed, put back, purged.

#![expect(
    clippy::disallowed_methods,
    reason = "tests arrange files and processes directly"
)]

use std::path::{Path, PathBuf};
use std::process::Command;

use renewd::model::Milestone;

use super::host::Host;

/// Made from the programs that were just built.
fn package(directory: &Path) -> PathBuf {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    let built = Path::new(env!("CARGO_BIN_EXE_renewd")).parent().unwrap();
    assert_eq!(built.file_name().unwrap(), "debug", "{}", built.display());
    let run = Command::new(repository.join("packaging/deb.sh"))
        .args(["--profile", "dev", "--output"])
        .arg(directory)
        .env("CARGO_TARGET_DIR", built.parent().unwrap())
        .output()
        .unwrap();
    assert!(run.status.success(), "{run:?}");
    let found = std::fs::read_dir(directory).unwrap();
    let mut found = found.map(|entry| entry.unwrap().path());
    found
        .find(|path| path.extension().is_some_and(|e| e == "deb"))
        .unwrap()
}

#[test]
fn the_package_is_installed_upgraded_over_a_rollout_removed_and_purged() {
    let directory = tempfile::tempdir().unwrap();
    let deb = package(directory.path());
    let lint = Command::new("lintian")
        .args(["--fail-on", "error,warning", "--allow-root"])
        .arg(&deb)
        .output()
        .expect("lintian is installed");
    let said = String::from_utf8_lossy(&lint.stdout).into_owned();
    assert!(lint.status.success(), "{said}");

    let install = ["dpkg", "--install", "/renewd.deb"];
    // Installed before there was a policy: nothing runs, and everything a person needs is there.
    let host = Host::installed(
        |machine| {
            std::fs::copy(&deb, machine.root().join("renewd.deb")).unwrap();
        },
        |machine| {
            let said = machine.ok(&install);
            assert!(said.contains("write /etc/renewd/renewd.toml"), "{said}");
            let state = |what| machine.run(&["systemctl", what, "renewd"]).stdout;
            assert_eq!(state("is-enabled"), "disabled\n");
            assert_eq!(state("is-active"), "inactive\n");
            machine.ok(&[
                "sh",
                "-c",
                "MANPAGER=cat man 8 renewd | grep -q 'renewd check'",
            ]);
            machine.ok(&["bash", "-c", COMPLETES]);
            machine.ok(&["test", "-e", "/usr/share/doc/renewd/status.schema.json"]);
            machine.ok(&["test", "-e", "/usr/share/doc/renewd/examples/renewd.toml"]);
            machine.ok(&["test", "-e", "/usr/share/doc/renewd/alerts.md"]);
            // By the trigger of systemd's own package.
            let started = Milestone::Started.message();
            let listed = machine.ok(&["journalctl", "--list-catalog", started]);
            assert!(listed.contains("renewd: started"), "{listed}");
        },
    );
    let machine = &host.machine;
    let state = |what| machine.run(&["systemctl", what, "renewd"]).stdout;
    let process = || machine.show("renewd", "MainPID");
    let there = |path: &str| machine.run(&["test", "-e", path]).code == Some(0);
    host.write_program("/usr/local/sbin/slow-reload", SLOW_RELOAD);
    let slow = "[target.nginx.web]\nreload = [\"/usr/local/sbin/slow-reload\"]";
    let policy = host.policy().replace("[target.nginx.web]", slow);
    host.write_policy(&policy);
    host.drop_in("renewd", "server", AFTER_THE_SERVER);
    machine.ok(&["touch", "/run/go"]);

    // Installed for the first time where a policy is: it is begun with.
    machine.ok(&["sh", "-c", KEEP]);
    machine.ok(&["dpkg", "--purge", "renewd"]);
    assert!(!there("/etc/renewd") && !there("/usr/bin/renewd"));
    machine.ok(&["sh", "-c", PUT_BACK]);
    machine.ok(&install);
    assert_eq!(state("is-enabled"), "enabled\n");
    let first = host.is_live();
    // Somebody without rights is answered.
    let check = ["runuser", "-u", "nobody", "--", "renewd", "check"];
    let said = machine.until(|| machine.run(&check), |said| said.code == Some(0));
    assert!(
        said.stdout
            .starts_with("RENEWD OK - 1 of 1 certificate healthy"),
        "{said:?}"
    );

    // An upgrade while a service is just being told: that ends, and the new daemon goes on.
    machine.ok(&["rm", "-f", "/run/go", "/run/reloading"]);
    host.write_policy(&policy.replace("names = [", "names = [\"example.test\", "));
    let old = process();
    machine.ok(&["systemctl", "reload", "renewd"]);
    machine.until(|| there("/run/reloading"), |there| *there);
    machine.ok(&[&["systemd-run", "--quiet", "--unit=upgrade"][..], &install].concat());
    machine.until(
        || machine.show("renewd", "ActiveState"),
        |state| state == "deactivating",
    );
    machine.ok(&["touch", "/run/go"]);
    machine.until(process, |new| *new != old && new != "0");
    machine.until(
        || machine.run(&["systemctl", "is-active", "upgrade"]).stdout,
        |state| state == "inactive\n",
    );
    let second = host.is_live();
    assert_ne!(second, first);
    assert_eq!(host.orders("www"), 2, "nothing was ordered twice");

    // Whoever stopped it is not overruled by an upgrade.
    machine.ok(&["systemctl", "stop", "renewd"]);
    machine.ok(&install);
    assert_eq!(state("is-active"), "inactive\n");
    machine.ok(&["systemctl", "start", "renewd"]);

    // Removed: nothing runs, what was obtained stays and is served. Put back: it goes on where it was.
    let said = machine.ok(&["dpkg", "--remove", "renewd"]);
    assert!(
        said.contains("keys and certificates are in it: /var/lib/renewd"),
        "{said}"
    );
    assert_eq!(machine.run(&["pgrep", "-x", "renewd"]).code, Some(1));
    assert!(there("/var/lib/renewd/state.db") && there("/etc/renewd/renewd.toml"));
    assert_eq!(host.served(), second.trim_start_matches('0'));
    machine.ok(&install);
    assert_eq!(state("is-active"), "active\n");
    assert_eq!(host.is_live(), second);
    assert_eq!(host.orders("www"), 2);

    let said = machine.ok(&["dpkg", "--purge", "renewd"]);
    assert!(
        said.contains("removing /var/lib/renewd, with every key"),
        "{said}"
    );
    for gone in [
        "/var/lib/renewd",
        "/etc/renewd",
        "/run/renewd",
        "/usr/bin/renewd",
    ] {
        assert!(!there(gone), "{gone}");
    }
    assert_eq!(machine.run(&["pgrep", "-x", "renewd"]).code, Some(1));
}

/// What a person gets who presses the tabulator in bash.
const COMPLETES: &str = r#"
. /usr/share/bash-completion/completions/renewd
COMP_WORDS=(renewd sta) COMP_CWORD=1
_renewd renewd sta renewd
printf '%s\n' "${COMPREPLY[@]}" | grep -qx status
"#;

/// Until `/run/go` is there.
const SLOW_RELOAD: &str = "#!/bin/sh\ntouch /run/reloading\nwhile ! [ -e /run/go ]; do sleep 0.1; done\nexec /usr/sbin/nginx -s reload\n";

/// The package starts renewd before anybody could start the server.
const AFTER_THE_SERVER: &str = "
[Unit]
Wants=renewd-ccm.service
After=renewd-ccm.service
[Service]
ExecStartPre=/bin/sh -c 'until curl -s -o /dev/null http://127.0.0.1:8920/; do sleep 0.1; done'
";

const KEEP: &str = "set -e; systemctl stop renewd-ccm; cp -a /etc/renewd /root/policy; cp -a /var/lib/private/renewd-ccm /root/ccm";
const PUT_BACK: &str =
    "set -e; cp -a /root/policy /etc/renewd; cp -a /root/ccm /var/lib/private/renewd-ccm";
