//! A real HAProxy: by its runtime API, and by reloads.
#![expect(
    clippy::disallowed_methods,
    reason = "tests arrange files and processes directly"
)]

use std::fs;
use std::io::{Read, Write};
use std::path::Path;

use renewd::deploy::probe::{KeyKind, handshake_after};
use renewd::model::{
    ExportKind, ExportSpec, FileAttributes, PemFiles, Prelude, Probe, ProxyProtocol, Reload,
    RolloutStep, TargetKind,
};

use super::{NAME, Served, Ways, argv, no_request_failed};
use crate::deploy::stand::now;
use crate::support::nginx::free_port;
use crate::support::server::Server;

/// Installed by scripts/install-tools.sh; a missing one fails the test.
const HAPROXY: &str = "/usr/sbin/haproxy";

fn prepare(dir: &Path) -> Served {
    prepare_binding(dir, "")
}

/// `more` goes to the line of the listener.
fn prepare_binding(dir: &Path, more: &str) -> Served {
    let port = free_port();
    let export = ExportSpec {
        name: "haproxy".into(),
        kind: ExportKind::Pem(PemFiles {
            combined: Some("haproxy.pem".into()),
            ..PemFiles::default()
        }),
        attributes: FileAttributes::default(),
    };
    let mut stand = Served::stand(dir, vec![export], port);
    let base = dir.join("haproxy");
    fs::create_dir_all(&base).unwrap();
    let conf = base.join("haproxy.cfg");
    let (at, pem) = (base.display(), stand.live_path("www/haproxy.pem"));
    let text = format!(
        "global
  stats socket {at}/admin.sock mode 600 level admin
defaults
  mode http
  timeout connect 5s
  timeout client 5s
  timeout server 5s
frontend f
  bind 127.0.0.1:{port} ssl crt {} {more}
  http-request return status 200 content-type text/plain string \"ok\\n\"
",
        pem.display()
    );
    fs::write(&conf, text).unwrap();
    let conf = conf.display().to_string();
    stand.target.kind = TargetKind::Haproxy;
    stand.target.test = Some(argv(&[HAPROXY, "-c", "-f", &conf]));
    stand.target.reload = Some(Reload::Haproxy {
        admin_socket: base.join("admin.sock"),
        otherwise: Box::new(Reload::HaproxyMaster(base.join("master.sock"))),
    });
    let master = base.join("master.sock").display().to_string();
    let number = base.join("pid").display().to_string();
    let server = Server::new(
        &[HAPROXY, "-W", "-f", &conf, "-S", &master, "-p", &number],
        &[],
        &base.join("output"),
    );
    Served::new(stand, server, vec![port])
}

/// Makes every way but the runtime API fail.
fn runtime_alone(served: &mut Served, dir: &Path) {
    served.stand.target.reload = Some(Reload::Haproxy {
        admin_socket: dir.join("haproxy/admin.sock"),
        otherwise: Box::new(Reload::Command(argv(&["/bin/false"]))),
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_by_the_runtime_api_needs_no_reload_and_fails_no_request() {
    let dir = tempfile::tempdir().unwrap();
    let mut served = prepare(dir.path());
    let port = served.port;
    served.begin().await;
    runtime_alone(&mut served, dir.path());
    let load = served.load();
    let new = served.issue();
    let rollout = served.roll(&new).await;
    served.ended(&rollout, "live");
    served.assert_serves(port, &new).await;
    no_request_failed(load);
    let output = fs::read_to_string(dir.path().join("haproxy/output")).unwrap();
    let forks = output.matches("forked").count();
    // The first rollout was proven by the runtime API as well.
    assert_eq!(forks, 1, "{output}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_that_haproxy_lost_is_seen_on_the_wire_under_its_own_code() {
    let dir = tempfile::tempdir().unwrap();
    let mut served = prepare(dir.path());
    served.begin().await;
    let state = renewd::model::TargetState {
        live: served.stand.live.clone(),
        generation: served.stand.generation,
        ..renewd::model::TargetState::default()
    };
    let (deployer, target) = (served.stand.deployer.clone(), served.stand.target.clone());
    let look = async || deployer.served(&target, &state, now()).await.unwrap();
    assert_eq!(look().await, Vec::new());
    // Somebody points it at the pair without its chain.
    let pem = served.stand.live_path("www/haproxy.pem");
    let whole = fs::read_to_string(&pem).unwrap();
    let leaf = renewd::pki::pem::certificates(&whole)
        .unwrap()
        .swap_remove(0);
    let key = renewd::pki::PrivateKey::from_pem(whole.as_bytes()).unwrap();
    let bare = dir.path().join("bare.pem");
    let key = String::from_utf8(key.to_pem().expose().to_vec()).unwrap();
    fs::write(
        &bare,
        format!("{}{key}", renewd::pki::pem::certificate(&leaf)),
    )
    .unwrap();
    let conf = dir.path().join("haproxy/haproxy.cfg");
    let text = fs::read_to_string(&conf).unwrap();
    let (from, to) = (pem.display().to_string(), bare.display().to_string());
    fs::write(&conf, text.replace(&from, &to)).unwrap();
    let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
    tell_master(&dir.path().join("haproxy/master.sock"));
    let found = loop {
        let found = look().await;
        if !found.is_empty() {
            break found;
        }
        assert!(
            std::time::Instant::now() < end,
            "the chain is still presented"
        );
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    };
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].kind, renewd::model::DriftKind::ServedChain);
    assert!(
        found[0]
            .detail
            .contains("serves the right leaf without serial"),
        "{found:?}"
    );
}

/// Has the workers of HAProxy replaced, as a person does.
fn tell_master(socket: &Path) {
    use std::io::{Read, Write};
    let mut stream = std::os::unix::net::UnixStream::connect(socket).unwrap();
    stream.write_all(b"reload\n").unwrap();
    let mut said = String::new();
    // The master closes the connection, some versions by a reset.
    let _ = stream.read_to_string(&mut said);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_runtime_api_haproxy_is_reloaded_and_no_request_fails() {
    let dir = tempfile::tempdir().unwrap();
    let mut served = prepare(dir.path());
    let port = served.port;
    served.begin().await;
    served.stand.target.reload = Some(Reload::Haproxy {
        admin_socket: dir.path().join("no.sock"),
        otherwise: Box::new(Reload::HaproxyMaster(
            dir.path().join("haproxy/master.sock"),
        )),
    });
    let load = served.load();
    let new = served.issue();
    let rollout = served.roll(&new).await;
    served.ended(&rollout, "live");
    served.assert_serves(port, &new).await;
    no_request_failed(load);
    let output = fs::read_to_string(dir.path().join("haproxy/output")).unwrap();
    assert!(output.matches("forked").count() > 1, "{output}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undo_goes_back_by_the_runtime_api() {
    let dir = tempfile::tempdir().unwrap();
    let mut served = prepare(dir.path());
    let port = served.port;
    let old = served.begin().await;
    runtime_alone(&mut served, dir.path());
    let load = served.load();
    // It is served, and refused all the same: its chain does not reach these roots.
    let other = crate::support::certs::sample(
        renewd::model::KeyAlgorithm::EcP256,
        &["other.test"],
        crate::deploy::stand::validity(),
    );
    let new = served.issue();
    let mut rollout = served.stand.open(std::slice::from_ref(&new));
    for (step, phase) in [
        (RolloutStep::Stage, renewd::model::RolloutPhase::Staged),
        (RolloutStep::Commit, renewd::model::RolloutPhase::Committed),
        (RolloutStep::Test, renewd::model::RolloutPhase::Tested),
        (RolloutStep::Reload, renewd::model::RolloutPhase::Reloaded),
    ] {
        served.stand.step(&rollout, step).await.unwrap();
        rollout.phase = phase;
    }
    served.assert_serves(port, &new).await;
    let roots = dir.path().join("roots.pem");
    fs::write(&roots, renewd::pki::pem::certificate(&other.root.der)).unwrap();
    if let Probe::Tls { roots: of, .. } = &mut served.stand.target.probe {
        *of = Some(renewd::model::Roots::File(roots));
    }
    served.deadline(1);
    let rollout = served.stand.drive(rollout).await;
    served.ended(&rollout, "rolled-back");
    served.assert_serves(port, &old).await;
    no_request_failed(load);
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_load_balancer_haproxy_is_proven_with_either_version_of_the_proxy_header() {
    let dir = tempfile::tempdir().unwrap();
    let mut served = prepare_binding(dir.path(), "accept-proxy");
    let port = served.port;
    let mut last = None;
    for version in ProxyProtocol::ALL {
        awaiting(&mut served, Some(version));
        let new = match last {
            None => served.begin().await,
            Some(_) => {
                let new = served.issue();
                let rollout = served.roll(&new).await;
                served.ended(&rollout, "live");
                new
            }
        };
        assert_eq!(
            serial_behind(port, version).await,
            served.stand.serial(&new)
        );
        last = Some(new);
    }
    // Without the header nobody answers, neither on the way there nor on the way back. The error says what is missing,
    // and the old certificate is in place again.
    awaiting(&mut served, None);
    served.deadline(2);
    let new = served.issue();
    let rollout = served.roll(&new).await;
    served.ended(&rollout, "rolled-back");
    let error = served.stand.error(RolloutStep::Verify);
    let says = "set `starttls` or `proxy_protocol`";
    assert!(error.message.contains(says), "{}", error.message);
    let serial = serial_behind(port, ProxyProtocol::V1).await;
    assert_eq!(serial, served.stand.serial(&last.unwrap()));
}

fn awaiting(served: &mut Served, version: Option<ProxyProtocol>) {
    let Probe::Tls { prelude, .. } = &mut served.stand.target.probe else {
        panic!("it is probed");
    };
    prelude.proxy_protocol = version;
}

async fn serial_behind(port: u16, version: ProxyProtocol) -> String {
    let prelude = Prelude {
        proxy_protocol: Some(version),
        starttls: None,
    };
    let address = format!("127.0.0.1:{port}");
    let patience = std::time::Duration::from_secs(30);
    let seen = handshake_after(&address, prelude, Some(NAME), KeyKind::Any, patience).await;
    renewd::pki::facts(&seen.unwrap().presented[0])
        .unwrap()
        .serial
}

/// HAProxy has one transaction, and would put what is set for the second one into the first.
#[tokio::test(flavor = "multi_thread")]
async fn two_certificates_go_in_by_the_runtime_api_each_into_its_own_place() {
    let dir = tempfile::tempdir().unwrap();
    let shop = dir.path().join("state/targets/web/live/shop/haproxy.pem");
    let mut served = prepare_binding(dir.path(), &format!("crt {}", shop.display()));
    let port = served.port;
    served.beside = Some(served.stand.issue("shop", &["shop.test"]));
    served.begin().await;
    runtime_alone(&mut served, dir.path());
    let load = served.load();
    for _ in 0..3 {
        let (new, beside) = (served.issue(), served.stand.issue("shop", &["shop.test"]));
        served.beside = Some(beside.clone());
        let rollout = served.roll(&new).await;
        served.ended(&rollout, "live");
        served.assert_serves(port, &new).await;
        served.assert_serves_as(port, "shop.test", &beside).await;
    }
    no_request_failed(load);
    let output = fs::read_to_string(dir.path().join("haproxy/output")).unwrap();
    assert_eq!(output.matches("forked").count(), 1, "{output}");
}

/// A renewd that was killed between two commands leaves the transaction open, and its file may have left the target since.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_somebody_left_open_keeps_no_renewal_from_the_runtime_api() {
    let dir = tempfile::tempdir().unwrap();
    let stranger = dir.path().join("stranger.pem");
    let mut served = prepare_binding(dir.path(), &format!("crt {}", stranger.display()));
    let port = served.port;
    let material = served.stand.material(
        &["stranger.test"],
        renewd::model::KeyAlgorithm::EcP256,
        crate::deploy::stand::validity(),
    );
    let key = String::from_utf8(material.key.to_pem().expose().to_vec()).unwrap();
    let pem = key + &material.leaf_pem();
    fs::write(&stranger, &pem).unwrap();
    served.begin().await;
    runtime_alone(&mut served, dir.path());
    let socket = dir.path().join("haproxy/admin.sock");
    let ask = |command: &str| {
        let mut stream = std::os::unix::net::UnixStream::connect(&socket).unwrap();
        stream.write_all(command.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    let answer = ask(&format!("set ssl cert {} <<\n{pem}\n", stranger.display()));
    assert!(answer.contains("created for certificate"), "{answer}");
    let listed = ask("show ssl cert\n");
    assert!(
        listed.contains(&format!("*{}", stranger.display())),
        "{listed}"
    );
    let new = served.issue();
    let rollout = served.roll(&new).await;
    served.ended(&rollout, "live");
    served.assert_serves(port, &new).await;
    let listed = ask("show ssl cert\n");
    assert!(!listed.contains("\n*"), "{listed}");
}

/// Its configuration test reads every file, so it can name the member that a house rule refuses. (Apache's reads none.)
#[tokio::test(flavor = "multi_thread")]
async fn the_output_of_the_test_names_the_member_and_the_other_goes_in_without_it() {
    let dir = tempfile::tempdir().unwrap();
    let shop = dir.path().join("state/targets/web/live/shop/haproxy.pem");
    let mut served = prepare_binding(dir.path(), &format!("crt {}", shop.display()));
    let port = served.port;
    let first = served.stand.issue("shop", &["shop.test"]);
    served.beside = Some(first.clone());
    let old = served.begin().await;
    // Keys of 112 bits of strength are refused, which RSA-2048 has.
    let rule = dir.path().join("openssl.cnf");
    let text = "openssl_conf = a\n[a]\nssl_conf = b\n[b]\nsystem_default = c\n[c]\nCipherString = DEFAULT@SECLEVEL=3\n";
    fs::write(&rule, text).unwrap();
    let test = served.stand.target.test.as_mut().unwrap();
    let words = [
        "/usr/bin/env".into(),
        format!("OPENSSL_CONF={}", rule.display()),
    ];
    test.splice(0..0, words);
    let load = served.load();

    let algorithm = renewd::model::KeyAlgorithm::Rsa2048;
    let validity = crate::deploy::stand::validity();
    let refused = served
        .stand
        .issue_as("shop", &["shop.test"], algorithm, validity);
    served.beside = Some(refused);
    let new = served.issue();
    let rollout = served.roll(&new).await;
    served.ended(&rollout, "rolled-back");
    let error = served.stand.error(RolloutStep::Test);
    assert!(
        error.output.contains("unable to load SSL certificate"),
        "{error:?}"
    );
    assert_eq!(error.named, [first.0.clone()].into(), "{error:?}");
    served.assert_serves(port, &old).await;
    served.assert_serves_as(port, "shop.test", &first).await;

    served.beside = Some(first.clone());
    let rollout = served.roll(&new).await;
    served.ended(&rollout, "live");
    served.assert_serves(port, &new).await;
    served.assert_serves_as(port, "shop.test", &first).await;
    no_request_failed(load);
}

#[tokio::test(flavor = "multi_thread")]
async fn haproxy_withstands_everything() {
    let dir = tempfile::tempdir().unwrap();
    let mut served = prepare(dir.path());
    let conf = dir.path().join("haproxy/haproxy.cfg");
    let number = dir.path().join("haproxy/pid");
    let tell = format!("kill -USR2 $(cat {})", number.display());
    let ways = Ways::by_configuration(&served, &conf, ("  brokn on", "brokn"), &tell);
    let old = served.begin().await;
    served.withstands_everything(&ways, old).await;
}
