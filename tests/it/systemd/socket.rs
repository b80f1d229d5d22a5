//! The control socket of the shipped unit, for people who are not root.

use crate::support::machine::Said;
use crate::systemd::host::Host;

#[test]
fn the_group_reaches_the_sandboxed_daemon_by_its_socket_and_others_do_not() {
    let host = Host::up();
    let machine = &host.machine;
    machine.ok(&["systemd-sysusers", "/usr/lib/sysusers.d/renewd.conf"]);
    machine.ok(&["useradd", "--groups", "renewd", "anna"]);
    machine.ok(&["useradd", "bert"]);
    machine.ok(&["systemctl", "start", "renewd"]);
    let first = host.is_live();
    let stat = ["stat", "--format=%A %U %G", "/run/renewd/control.sock"];
    assert_eq!(machine.ok(&stat), "srw-rw---- root renewd");

    let by = |user: &str, words: &[&str]| -> Said {
        let become_user = ["setpriv", "--reuid", user, "--regid", user, "--init-groups"];
        machine.run(&[&become_user[..], &["renewd"], words].concat())
    };
    // She may read neither the journal nor the secrets; the daemon has both.
    let said = by("anna", &["status"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.stdout.contains("www"), "{said:?}");
    let said = by("anna", &["renew", "www", "--wait", "1m"]);
    assert_eq!(said.code, Some(0), "{said:?}\n{}", machine.journal());
    assert!(said.stderr.contains("handshake proven"), "{said:?}");
    let second = host.is_live();
    assert_ne!(second, first);
    assert_eq!(by("anna", &["reload"]).code, Some(0));
    for words in [&["renew", "www"][..], &["reload"], &["status"], &["events"]] {
        let said = by("bert", words);
        assert_eq!(said.code, Some(77), "{words:?}: {said:?}");
    }

    // The unit of the timer beside it leaves the work to the daemon, and its socket where it is.
    machine.ok(&["systemctl", "start", "renewd-once"]);
    assert_eq!(machine.show("renewd-once", "Result"), "success");
    assert_eq!(machine.ok(&stat), "srw-rw---- root renewd");

    // A daemon that was killed is started again, and is reached again.
    machine.ok(&["systemctl", "kill", "--signal=KILL", "renewd"]);
    machine.until(
        || by("anna", &["jobs", "run", "check"]),
        |said| said.code == Some(0),
    );
    assert_eq!(host.is_live(), second);
    machine.ok(&["systemctl", "stop", "renewd"]);
    assert_eq!(
        machine
            .run(&["test", "-e", "/run/renewd/control.sock"])
            .code,
        Some(1)
    );
}
