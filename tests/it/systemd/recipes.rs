//! What is known of a server is enough: Debian's packaged Apache and HAProxy, run by their own units, with a policy that
//! says nothing of paths, commands or sockets, and `renewd-once.service` in its sandbox.

use crate::systemd::host::Host;

/// Where the recipe has the files of the certificate, as seen by the service.
const LIVE: &str = "/var/lib/renewd/targets/front/live/www";

#[test]
fn the_packaged_apache_is_served_by_what_is_known_of_it() {
    let host = Host::up();
    host.machine.ok(&["a2enmod", "ssl"]);
    host.machine.write(
        "/etc/apache2/sites-enabled/000-default.conf",
        &format!(
            "<VirtualHost 127.0.0.1:443>
  ServerName www.example.test
  SSLEngine on
  SSLCertificateFile {LIVE}/server.crt
  SSLCertificateChainFile {LIVE}/chain.crt
  SSLCertificateKeyFile {LIVE}/server.key
</VirtualHost>
"
        ),
    );
    host.machine
        .write("/etc/apache2/ports.conf", "Listen 127.0.0.1:443\n");
    renewed_by_its_recipe(&host, "apache", "apache2");
}

#[test]
fn the_packaged_haproxy_is_served_by_what_is_known_of_it() {
    let host = Host::up();
    let packaged = std::fs::read_to_string(host.machine.root().join("etc/haproxy/haproxy.cfg"));
    let site = format!(
        "\nfrontend front
\tbind 127.0.0.1:443 ssl crt {LIVE}/haproxy.pem
\thttp-request return status 200 content-type text/plain string ok\n"
    );
    let conf = packaged.unwrap() + &site;
    host.machine.write("/etc/haproxy/haproxy.cfg", &conf);
    renewed_by_its_recipe(&host, "haproxy", "haproxy");
}

/// First its files come, then it is started and proven; a renewal reaches it while it runs, and it is the same process
/// still.
fn renewed_by_its_recipe(host: &Host, kind: &str, unit: &str) {
    let machine = &host.machine;
    machine.ok(&["systemctl", "stop", "nginx"]);
    let policy = |key: &str| {
        let policy = host.policy();
        let (before, _) = policy.split_once("[target.nginx.web]").unwrap();
        let before = before.replace(
            "targets = [\"web\"]",
            &format!("targets = [\"front\"]\nkey_algorithm = \"{key}\""),
        );
        format!("{before}\n[target.{kind}.front]\ndeadline = \"10s\"\n")
    };
    host.write_policy(&policy("ec-p256"));
    host.allow_places();
    let once = || {
        // Without a limit to how often it may be started.
        machine.ok(&["systemctl", "reset-failed"]);
        machine.ok(&["systemctl", "start", "renewd-once"]);
    };
    once();
    let www = host.certificate("www");
    assert_eq!(www["targets"][0]["state"], "pending", "{www}");

    machine.ok(&["systemctl", "start", unit]);
    let process = machine.show(unit, "MainPID");
    machine.until(
        || {
            once();
            host.certificate("www")["targets"][0]["state"].clone()
        },
        |state| *state == "live",
    );
    let first = host.is_live();

    host.write_policy(&policy("ec-p384"));
    machine.until(
        || {
            once();
            host.certificate("www")
        },
        |www| www["verdict"] == "healthy" && www["serial"] != first.as_str(),
    );
    let second = host.is_live();
    assert_ne!(second, first);
    assert_eq!(
        machine.show(unit, "MainPID"),
        process,
        "it was not restarted"
    );
    assert_eq!(machine.show(unit, "ActiveState"), "active");
    let proven = host.history("www");
    let proven = proven.iter().filter(|event| {
        let message = event["message"].as_str().unwrap_or_default();
        event["step"] == "verify" && message.contains("handshake proven")
    });
    assert_eq!(proven.count(), 2);
}
