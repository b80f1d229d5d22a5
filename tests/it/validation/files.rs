//! Files are shown by a real nginx, or by the responder, and looked for as a CA does.
#![expect(
    clippy::disallowed_methods,
    reason = "tests arrange files and processes directly"
)]

use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use renewd::model::{DomainMethod, DomainProof, ErrorClass, ValidationKind, ValidationPolicy};
use renewd::validation::Sighting;

use super::validations;
use crate::support::names::{Names, Zone};
use crate::support::nginx::{NGINX, free_port};

const PLACE: &str = "/.well-known/pki-validation/fileauth.txt";

fn file(domain: &str, place: &str, value: &str) -> DomainProof {
    DomainProof {
        domain: domain.to_owned(),
        method: DomainMethod::File,
        place: place.to_owned(),
        record_type: String::new(),
        value: value.to_owned(),
    }
}

fn domains() -> Zone {
    let records = "www A 127.0.0.1\nshop CNAME www\nbare TXT \"no address\"\n";
    Zone::new("example.test", records)
}

fn policy(names: &Names, kind: ValidationKind, port: u16) -> ValidationPolicy {
    let mut policy = names.policy_of(kind);
    policy.ports.http = port;
    policy
}

fn web_root(path: &Path) -> ValidationKind {
    ValidationKind::WebRoot {
        path: path.to_owned(),
        owner: None,
        group: None,
        mode: 0o644,
    }
}

#[tokio::test]
async fn a_file_of_a_web_root_is_seen_through_nginx_and_leaves_nothing_behind() {
    let names = Names::start(&[domains()], "", "");
    let nginx = Www::start();
    let policy = policy(&names, web_root(&nginx.root()), nginx.port);
    let validations = validations();
    let proofs = [
        file("www.example.test", PLACE, "one"),
        // Moved elsewhere by the server, as whole sites are to HTTPS.
        file("shop.example.test", "/.well-known/a.txt", "two"),
    ];
    let seen = validations.examine(&policy, &proofs, None).await.unwrap();
    let text = seen.to_string();
    assert!(matches!(seen, Sighting::NotYet(_)), "{text}");
    let url = format!(
        "http://www.example.test:{}{PLACE}: not visible yet at 127.0.0.1",
        nginx.port
    );
    assert!(text.contains(&url), "{text}");

    validations.publish(&policy, &proofs).await.unwrap();
    let seen = validations.examine(&policy, &proofs, None).await.unwrap();
    assert_eq!(seen, Sighting::Everywhere);
    let moved = [file("www.example.test", "/moved/.well-known/a.txt", "two")];
    let seen = validations.examine(&policy, &moved, None).await.unwrap();
    assert_eq!(seen, Sighting::Everywhere);
    let other = [file("www.example.test", PLACE, "three")];
    let seen = validations.examine(&policy, &other, None).await.unwrap();
    assert!(
        seen.to_string()
            .contains("another value than the proof's: \"one\""),
        "{seen}"
    );

    validations.retract(&policy, &proofs).await.unwrap();
    assert_eq!(std::fs::read_dir(nginx.root()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_web_server_that_is_away_is_told_from_a_domain_without_an_address() {
    let names = Names::start(&[domains()], "", "");
    let dir = tempfile::tempdir().unwrap();
    let policy = policy(&names, web_root(dir.path()), free_port());
    let validations = validations();
    let look = async |domain: &str| {
        let proofs = [file(domain, PLACE, "one")];
        validations.examine(&policy, &proofs, None).await.unwrap()
    };
    let seen = look("www.example.test").await;
    assert!(matches!(seen, Sighting::NotYet(_)), "{seen}");
    assert!(
        seen.to_string().contains("127.0.0.1 cannot be asked"),
        "{seen}"
    );
    let seen = look("bare.example.test").await;
    assert!(matches!(seen, Sighting::Hindered(_)), "{seen}");
    assert!(seen.to_string().contains("has no address in DNS"), "{seen}");
}

#[tokio::test]
async fn a_file_that_cannot_be_taken_away_keeps_none_of_the_others() {
    let names = Names::start(&[domains()], "", "");
    let root = tempfile::tempdir().unwrap();
    let policy = policy(&names, web_root(root.path()), 80);
    let validations = validations();
    let proofs = [
        file("www.example.test", "/one/a.txt", "one"),
        file("www.example.test", "/two/b.txt", "two"),
    ];
    validations.publish(&policy, &proofs).await.unwrap();
    std::fs::rename(root.path().join("one"), root.path().join("other")).unwrap();
    std::os::unix::fs::symlink(root.path().join("other"), root.path().join("one")).unwrap();
    let error = validations.retract(&policy, &proofs).await.unwrap_err();
    assert!(error.message.contains("is a symbolic link"), "{error}");
    assert!(!root.path().join("two").exists());
    assert!(root.path().join("other/a.txt").exists());
}

#[tokio::test]
async fn a_web_root_that_is_none_is_told_with_its_key() {
    let names = Names::start(&[domains()], "", "");
    let dir = tempfile::tempdir().unwrap();
    let policy = policy(&names, web_root(&dir.path().join("none")), 80);
    let proofs = [file("www.example.test", PLACE, "one")];
    let error = validations().publish(&policy, &proofs).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Configuration);
    assert!(
        error.message.contains("is no directory; correct `path`"),
        "{error}"
    );
    let records = [super::record(
        "www.example.test",
        "_dnsauth.www.example.test",
        "one",
    )];
    let error = validations().publish(&policy, &records).await.unwrap_err();
    assert!(
        error
            .message
            .contains("by DNS, and this way proves by FILE"),
        "{error}"
    );
}

#[tokio::test]
async fn the_responder_listens_while_proofs_are_needed_and_after_a_restart() {
    let names = Names::start(&[domains()], "", "");
    let port = free_port();
    let listen = format!("127.0.0.1:{port}");
    let kind = ValidationKind::Responder {
        listen: listen.clone(),
    };
    let policy = policy(&names, kind, port);
    let first = validations();
    // One path, two domains: who asks for which is told by the host.
    let one = [file("www.example.test", PLACE, "one")];
    let two = [file("shop.example.test", PLACE, "two")];
    first.publish(&policy, &one).await.unwrap();
    first.publish(&policy, &two).await.unwrap();
    for proofs in [&one, &two] {
        let seen = first.examine(&policy, proofs, None).await.unwrap();
        assert_eq!(seen, Sighting::Everywhere);
    }
    let error = validations().publish(&policy, &one).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Configuration);
    assert!(
        error.message.contains("[validation.web_root.NAME]"),
        "{error}"
    );

    first.retract(&policy, &one).await.unwrap();
    let seen = first.examine(&policy, &one, None).await.unwrap();
    assert!(matches!(seen, Sighting::NotYet(_)), "{seen}");
    let seen = first.examine(&policy, &two, None).await.unwrap();
    assert_eq!(seen, Sighting::Everywhere);
    first.retract(&policy, &two).await.unwrap();
    assert!(TcpStream::connect(&listen).is_err());

    // Another process has what is in the journal, and nothing in memory.
    first.publish(&policy, &two).await.unwrap();
    drop(first);
    let second = validations();
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        let errors = second.resume(&[(&policy, &two[..])]).await;
        if errors.is_empty() {
            break;
        }
        // The listener of the first one goes away in its own task.
        assert!(Instant::now() < end, "{errors:?}");
        tokio::task::yield_now().await;
    }
    let seen = second.examine(&policy, &two, None).await.unwrap();
    assert_eq!(seen, Sighting::Everywhere);
}

/// An nginx that shows a directory over plain HTTP, and moves what is asked for below `/moved`.
struct Www {
    dir: tempfile::TempDir,
    port: u16,
    child: Child,
}

impl Www {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = free_port();
        let base = dir.path().display();
        std::fs::create_dir(dir.path().join("www")).unwrap();
        let user = if nix::unistd::geteuid().is_root() {
            "user root;"
        } else {
            ""
        };
        let text = format!(
            "{user}
daemon off;
pid {base}/nginx.pid;
error_log {base}/error.log warn;
events {{ worker_connections 64; }}
http {{
  access_log off;
  client_body_temp_path {base}/body;
  proxy_temp_path {base}/proxy;
  fastcgi_temp_path {base}/fastcgi;
  uwsgi_temp_path {base}/uwsgi;
  scgi_temp_path {base}/scgi;
  server {{
    listen 127.0.0.1:{port};
    root {base}/www;
    location ~ ^/moved(/.*)$ {{ return 301 http://$host:{port}$1; }}
  }}
}}
"
        );
        std::fs::write(dir.path().join("nginx.conf"), text).unwrap();
        let log = dir.path().join("error.log");
        let mut child = Command::new(NGINX)
            .arg("-p")
            .arg(dir.path())
            .arg("-c")
            .arg(dir.path().join("nginx.conf"))
            .arg("-e")
            .arg(&log)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("nginx is installed");
        let end = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let ended = child.try_wait().unwrap();
            assert!(
                ended.is_none() && Instant::now() < end,
                "nginx did not start ({ended:?}):\n{}",
                std::fs::read_to_string(&log).unwrap_or_default()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        Self { dir, port, child }
    }

    fn root(&self) -> std::path::PathBuf {
        self.dir.path().join("www")
    }
}

impl Drop for Www {
    fn drop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let _ = self.child.wait();
    }
}
