//! What the sandbox of the unit keeps in, and what is run outside of it.

use renewd::model::{Kind, Milestone};

use crate::systemd::host::Host;

#[test]
fn the_sandbox_follows_the_policy_and_commands_are_run_outside_of_it() {
    let host = Host::up();
    let machine = &host.machine;
    host.write_program("/usr/local/sbin/hook", HOOK);
    let hooks = "[target.nginx.web.hooks]\npre = [\"/usr/local/sbin/hook\", \"for $5, ${HOME} and 100%\"]\nuser = \"www-data\"\n";
    host.write_program("/usr/local/sbin/reload", RELOAD);
    let reload = "[target.nginx.web]\nreload = [\"/usr/local/sbin/reload\"]\n";
    let policy = host.policy().replace("[target.nginx.web]\n", reload);
    let policy = format!("{policy}{hooks}");
    host.write_policy(&policy);
    machine.ok(&["install", "-d", "-o", "www-data", "/var/log/hook"]);
    machine.ok(&["systemctl", "start", "renewd"]);
    let first = host.is_live();
    // What a reload leaves running is a service, and stays.
    machine.ok(&["pgrep", "-f", "sleep 100008"]);

    // The daemon itself may write to its own places only.
    let process = machine.show("renewd", "MainPID");
    let touch = |path: &str| {
        let argv = ["nsenter", "--target", &process, "--mount", "touch", path];
        machine.run(&argv).code
    };
    assert_eq!(touch("/etc/nginx/tls/x"), Some(0));
    assert_eq!(touch("/etc/nginx/x"), Some(1));
    assert_eq!(touch("/var/log/x"), Some(1));
    // The hook wrote a log, as its user, in an environment of its own.
    let log = machine.ok(&["cat", "/var/log/hook/log"]);
    for line in [
        "www-data: for $5, ${HOME} and 100%",
        "NoNewPrivs:\t0",
        "RENEWD_TARGET=web",
        "/etc/nginx/tls/server.key",
        "HOME=/var/www",
        "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
    ] {
        let there = |known: &str| known == line || known.ends_with(&format!("={line}"));
        assert!(log.lines().any(there), "{line} is not in {log}");
    }
    assert!(!log.contains("CREDENTIALS_DIRECTORY"), "{log}");
    assert!(!log.contains("NOTIFY_SOCKET"), "{log}");
    let history = host.history("www");
    let said = "the hook says so\nand complains\n";
    assert!(
        history.iter().any(|event| event["output"] == said),
        "{history:#?}"
    );

    // A reload asks for another place: that takes a restart, is said, and nothing is tried meanwhile.
    machine.ok(&["mkdir", "/srv/copies"]);
    let more =
        "[target.nginx.web.export.pem.copies]\nfullchain = \"/srv/copies/{certificate}.pem\"\n";
    host.write_policy(&format!("{policy}{more}"));
    machine.ok(&["systemctl", "reload", "renewd"]);
    let blocked = machine.until(
        || host.certificate("www"),
        |www| www["verdict"] == "blocked",
    );
    assert_eq!(blocked["reason"], "restart-needed", "{blocked}");
    let message = blocked["message"].as_str().unwrap();
    for part in ["/srv/copies", "renewd systemd dropin", "restart"] {
        assert!(message.contains(part), "{message}");
    }
    let errors = machine.entries(&["_SYSTEMD_UNIT=renewd.service", "PRIORITY=3"]);
    let told = |entry: &serde_json::Value| entry["RENEWD_PATH"] == "/srv/copies";
    assert!(errors.iter().any(told), "{errors:#?}");
    // The alert by its number, and with what the catalog knows of it.
    let kind = Kind::find("restart-needed").unwrap();
    let number = format!("MESSAGE_ID={}", kind.message);
    let alert = machine.until(|| machine.entries(&[&number]), |found| !found.is_empty());
    assert_eq!(alert[0]["RENEWD_ALERT"], "restart-needed/web", "{alert:#?}");
    assert_eq!(alert[0]["RENEWD_EVENT"], "restart-needed", "{alert:#?}");
    let said = machine.ok(&["journalctl", "--no-pager", "-x", &number]);
    let subject = "Subject: Alert restart-needed/web (warning)\n";
    assert!(said.contains(subject), "{said}");
    assert!(said.contains("over when renewd may write there."), "{said}");
    assert_eq!(machine.show("renewd", "ActiveState"), "active");
    assert_eq!(host.served(), first.trim_start_matches('0'));

    host.allow_places();
    machine.ok(&["systemctl", "restart", "renewd"]);
    host.is_live();
    machine.ok(&["test", "-s", "/srv/copies/www.pem"]);
    let over = format!("MESSAGE_ID={}", Milestone::Over.message());
    let over = machine.until(
        || machine.entries(&[&over, "RENEWD_ALERT=restart-needed/web"]),
        |found| !found.is_empty(),
    );
    assert_eq!(over.len(), 1, "{over:#?}");
    machine.ok(&["systemctl", "stop", "renewd"]);

    ends_of_commands(&host);

    // Who may change the policy says what root runs.
    machine.ok(&["chown", "www-data", "/etc/renewd/renewd.toml"]);
    let started = machine.run(&["systemctl", "start", "renewd"]);
    assert_ne!(started.code, Some(0), "{started:?}");
    assert_eq!(machine.show("renewd", "ExecMainStatus"), "78");
    let journal = machine.journal();
    assert!(
        journal.contains("may change /etc/renewd/renewd.toml"),
        "{journal}"
    );
}

/// Status, output, signal, time-out and absence of a command that systemd runs, through `renewd target test`.
#[track_caller]
fn ends_of_commands(host: &Host) {
    let machine = &host.machine;
    let check =
        "[target.nginx.web]\ntest = [\"/usr/local/sbin/check\"]\ncommand_timeout = \"2s\"\n";
    host.write_policy(&host.policy().replace("[target.nginx.web]\n", check));
    let test = || {
        let words = ["RENEWD_COMMANDS=outside", "renewd", "target", "test", "web"];
        let said = machine.run(&[&["env"], &words[..]].concat());
        assert_ne!(said.code, Some(0), "{said:?}");
        said.stdout
    };
    let tested = |script: &str| {
        host.write_program("/usr/local/sbin/check", &format!("#!/bin/sh\n{script}\n"));
        test()
    };
    let refused = tested("echo one; echo 'error: two' >&2; exit 7");
    assert!(
        refused.contains("ended with status 7: error: two"),
        "{refused}"
    );
    assert!(
        refused.contains("| one\n") && !refused.contains("Running as unit"),
        "{refused}"
    );
    let killed = tested("kill -KILL $$");
    assert!(killed.contains("was ended by signal 9"), "{killed}");
    let slow = tested("sleep 100007 & echo begun; sleep 100007");
    assert!(slow.contains("took longer than 2s"), "{slow}");
    assert!(slow.contains("| begun"), "{slow}");
    let left = machine.run(&["pgrep", "-f", "sleep 100007"]);
    assert_eq!(left.code, Some(1), "{left:?}");
    machine.ok(&["rm", "/usr/local/sbin/check"]);
    let missing = test();
    assert!(
        missing.contains("was not run") && missing.contains("/usr/local/sbin/check"),
        "{missing}"
    );
}

/// Starts a process that takes over, as some servers do.
const RELOAD: &str =
    "#!/bin/sh\nsetsid sleep 100008 </dev/null >/dev/null 2>&1 &\nexec /usr/sbin/nginx -s reload\n";

/// Writes where only the world outside of the sandbox can.
const HOOK: &str = r#"#!/bin/sh
exec 3>>/var/log/hook/log
echo "$(id -un): $1" >&3
grep NoNewPrivs /proc/self/status >&3
env >&3
echo "the hook says so"
echo "and complains" >&2
"#;
