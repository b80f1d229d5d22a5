//! A real PostgreSQL, run by a user without rights: it reads its own files alone, and begins in the clear.

use std::path::PathBuf;
use std::process::Command;

use super::service::{Service, ports, served};
use crate::support::server::Server;

/// The newest one of Debian's; installed by scripts/install-tools.sh, and a missing one fails the test.
fn programs() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL is installed");
    let programs = versions.map(|entry| entry.unwrap().path().join("bin"));
    let newest = programs.filter(|bin| bin.join("initdb").exists()).max();
    newest.expect("PostgreSQL is installed")
}

/// Somebody who is not root, as PostgreSQL wants it.
const AS_NOBODY: [&str; 4] = [
    "/usr/bin/setpriv",
    "--reuid=nobody",
    "--regid=nogroup",
    "--clear-groups",
];

#[tokio::test(flavor = "multi_thread")]
async fn postgres_is_proven_behind_its_own_request_for_tls() {
    let service = Service::new().await;
    let [port] = ports();
    let data = service.directory("data");
    let chown = Command::new("/bin/chown")
        .args(["nobody:nogroup", &data])
        .status();
    assert!(chown.unwrap().success());
    let program = |name: &str| programs().join(name).display().to_string();
    let initdb = Command::new(AS_NOBODY[0])
        .args(&AS_NOBODY[1..])
        .args([&program("initdb"), "--no-sync", "-A", "trust", "-D", &data])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&initdb.stderr);
    assert!(initdb.status.success(), "{said}");
    let tls = service.directory("tls/database");
    let settings = format!(
        "listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = '{data}'
fsync = off
ssl = on
ssl_cert_file = '{tls}/fullchain.pem'
ssl_key_file = '{tls}/key.pem'
"
    );
    std::fs::write(format!("{data}/postgresql.auto.conf"), settings).unwrap();
    let mut argv = AS_NOBODY.to_vec();
    let postgres = program("postgres");
    argv.extend([postgres.as_str(), "-D", &data]);
    let log = service.agent.path().join("postgres.log");
    let mut server = Server::new(&argv, &[], &log);
    let reload = [program("pg_ctl"), "reload".into(), "-D".into(), data];
    let reload: Vec<String> = AS_NOBODY
        .iter()
        .map(|word| (*word).to_owned())
        .chain(reload)
        .collect();
    let target = |starttls: &str| {
        format!(
            "reload = {reload:?}\nconnect = \"127.0.0.1:{port}\"\nstarttls = \"{starttls}\"\ndeadline = \"10s\"\nowner = \"nobody\"\ngroup = \"nogroup\"\n"
        )
    };
    service.write_policy(&[("database", &target("postgres"))]);
    service.begin(&mut server, &[port]);
    for _ in 0..2 {
        let serial = service.renew();
        assert_eq!(served(port, "postgres"), serial);
    }
    let said = service.test("database");
    assert_eq!(said.matches("ok ").count(), 3, "{said}");
    // It says nothing until it is asked.
    service.write_policy(&[("database", &target("smtp"))]);
    service.refuses("database", "no word of SMTP before TLS; check `starttls`");
}
