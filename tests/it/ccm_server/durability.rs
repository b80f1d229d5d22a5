//! What was answered stays, whatever happens to the process; and what is kept is sealed.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::http::{Peer, Send, get, post};
use super::openssl::{EC, csr, self_signed};
use super::process::{self, Process, command, fresh, new_user, run};
use crate::support::ccm::Wanted;

const BY_CSR: &str = "/v1/private-certificates/csr";

async fn ids(peer: &impl Peer) -> Vec<String> {
    let list = get(peer, "/v1/private-certificates?limit=1000")
        .await
        .expect(200)
        .body;
    let list = list["certificates"].as_array().unwrap().clone();
    list.iter()
        .map(|c| c["certificate_id"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_under_load_loses_nothing_that_was_answered() {
    let (_directory, state) = fresh();
    let keys = new_user(&state, "loader");
    let issuing = process::json(&state, &["ca", "init", "--json"])["issuing_ca_id"].clone();
    let request = csr(EC, &["-subj", "/CN=load.example"]);
    let body =
        json!({"issuer_id": issuing, "csr": request, "validity": {"type": "DAY", "value": 1}});
    let mut answered: Vec<String> = Vec::new();
    for round in 1..=3 {
        let server = Arc::new(Process::start(&state, keys.clone()));
        let stop = Arc::new(AtomicBool::new(false));
        let clients: Vec<_> = (0..4)
            .map(|_| {
                let (server, stop, body) = (Arc::clone(&server), Arc::clone(&stop), body.clone());
                tokio::spawn(async move {
                    let mut got = Vec::new();
                    while !stop.load(Ordering::Relaxed) {
                        let send = Send::new("POST", BY_CSR).json(&body).by_user(&*server);
                        match send.attempt(&*server).await {
                            Ok(reply) => got.push(reply.expect(200).text("certificate_id")),
                            // The server was killed meanwhile.
                            Err(_) => break,
                        }
                    }
                    got
                })
            })
            .collect();
        // Let each client have some answers before the kill, however slow the machine is.
        while ids(&*server).await.len() < 20 * round {
            tokio::task::yield_now().await;
        }
        server.signal(Signal::SIGKILL);
        stop.store(true, Ordering::Relaxed);
        for client in clients {
            answered.extend(client.await.unwrap());
        }
    }
    assert!(answered.len() >= 30, "only {} answers", answered.len());
    let server = Process::start(&state, keys);
    let kept = ids(&server).await;
    for id in &answered {
        assert!(kept.contains(id), "{id} was answered and is lost");
    }
    let one = format!("/v1/private-certificates/{}/export", answered[0]);
    post(
        &server,
        &one,
        &json!({"type": "OTHER", "is_compressed": false}),
    )
    .await
    .expect(200);
    server.terminate();
}

#[tokio::test]
async fn a_restart_changes_nothing_a_client_can_see() {
    let (_directory, state) = fresh();
    let ccm = Wanted::new().at("2027-01-01").state(&state).start().await;
    let keys = ccm.keys();
    let request = csr(EC, &["-subj", "/CN=a.example"]);
    let body = json!({"issuer_id": ccm.issuing(), "csr": request, "validity": {"type": "DAY", "value": 9}});
    let id = post(&ccm, BY_CSR, &body)
        .await
        .expect(200)
        .text("certificate_id");
    let (certificate, key) = self_signed("b.example", "DNS:b.example", "3000");
    let body = json!({"name": "own", "certificate": certificate, "private_key": key});
    let scm = post(&ccm, "/v3/scm/certificates/import", &body)
        .await
        .expect(200)
        .text("certificate_id");
    let look = async |peer: &crate::support::ccm::Ccm| -> Vec<Value> {
        let mut seen = Vec::new();
        for target in [
            "/v1/private-certificate-authorities".to_owned(),
            format!("/v1/private-certificates/{id}"),
            format!("/v3/scm/certificates/{scm}"),
        ] {
            let send = Send::new("GET", &target);
            let date = super::http::date(peer);
            seen.push(
                send.signed(peer, &keys.0, &keys.1, &date)
                    .send(peer)
                    .await
                    .expect(200)
                    .body,
            );
        }
        let send = Send::new("POST", &format!("/v3/scm/certificates/{scm}/export"));
        let date = super::http::date(peer);
        seen.push(
            send.signed(peer, &keys.0, &keys.1, &date)
                .send(peer)
                .await
                .expect(200)
                .body,
        );
        seen
    };
    let before = look(&ccm).await;
    let clock = ccm.clock.clone().unwrap();
    let port = ccm.running.address().port();
    ccm.stop().await;
    let again = Wanted::new().clock(clock).state(&state).port(port);
    let ccm = again.start().await;
    assert_eq!(look(&ccm).await, before);
}

#[tokio::test]
async fn no_secret_stands_in_the_state_in_the_clear() {
    let (_directory, state) = fresh();
    let ccm = Wanted::new().state(&state).start().await;
    let (_, secret_key) = ccm.keys();
    let password = ccm.password().to_owned();
    let (certificate, key) = self_signed("b.example", "DNS:b.example", "30");
    let body = json!({"name": "own", "certificate": certificate, "private_key": key});
    post(&ccm, "/v3/scm/certificates/import", &body)
        .await
        .expect(200);
    ccm.stop().await;
    let kept = files(&state);
    let body: String = key
        .lines()
        .filter(|line| !line.starts_with("-----"))
        .collect();
    // The whole secret of a P-256 key is within these bytes.
    let der = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, body).unwrap();
    let secrets = [
        secret_key.as_bytes(),
        password.as_bytes(),
        &der[36..68],
        b"PRIVATE KEY",
    ];
    for (name, bytes) in kept {
        for secret in secrets {
            assert!(
                !bytes.windows(secret.len()).any(|part| part == secret),
                "a secret is in {name}"
            );
        }
        if name == "ccm.db" {
            let own = &certificate_der(&certificate)[..64];
            assert!(
                bytes.windows(64).any(|part| part == own),
                "the certificate itself is found, so the search works"
            );
        }
    }
}

fn certificate_der(pem: &str) -> Vec<u8> {
    let body: String = pem
        .lines()
        .filter(|line| !line.starts_with("-----"))
        .collect();
    base64::Engine::decode(&base64::engine::general_purpose::STANDARD, body).unwrap()
}

fn files(state: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(state)
        .unwrap()
        .map(|entry| entry.unwrap());
    let files = entries.map(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        (name, std::fs::read(entry.path()).unwrap())
    });
    files.collect()
}

#[test]
fn the_master_key_is_made_once_kept_private_and_announced() {
    use std::os::unix::fs::PermissionsExt as _;
    let (_directory, state) = fresh();
    let first = run(&state, &["ca", "init", "--json"]);
    assert!(first.status.success());
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&state), 0o700);
    assert_eq!(mode(&state.join("master.key")), 0o600);
    let said = String::from_utf8(first.stderr).unwrap();
    assert!(
        said.contains("master key") && said.contains("master.key"),
        "{said}"
    );
    let second = run(&state, &["ca", "init", "--json"]);
    assert!(
        second.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&second.stderr)
    );
    assert_eq!(first.stdout, second.stdout, "the same CAs");
}

#[test]
fn a_wrong_missing_or_malformed_master_key_is_told_from_each_other() {
    let (directory, state) = fresh();
    let key_file = directory.path().join("key");
    std::fs::write(&key_file, "a1".repeat(32)).unwrap();
    let key = key_file.to_str().unwrap();
    assert!(
        run(&state, &["--key-file", key, "ca", "init"])
            .status
            .success()
    );
    assert!(!state.join("master.key").exists());
    let refused = |arguments: &[&str], environment: Option<&str>, expected: &str| {
        let mut command = command(&state, arguments);
        if let Some(value) = environment {
            command.env("RENEWD_CCM_MASTER_KEY", value);
        }
        let output = command.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(78), "{said}");
        assert!(said.contains(expected), "{said}");
        assert!(output.stdout.is_empty());
    };
    refused(&["ca", "init"], None, "is missing");
    refused(
        &["ca", "init"],
        Some(&"b2".repeat(32)),
        "does not open the state",
    );
    refused(&["ca", "init"], Some("secret"), "is no key");
    refused(
        &["--key-file", "/nonexistent", "ca", "init"],
        None,
        "/nonexistent",
    );
    let mut right = command(&state, &["ca", "init"]);
    assert!(
        right
            .env("RENEWD_CCM_MASTER_KEY", "A1".repeat(32))
            .status()
            .unwrap()
            .success()
    );
    let credentials = tempfile::tempdir().unwrap();
    std::fs::copy(&key_file, credentials.path().join("renewd-ccm-key")).unwrap();
    let mut right = command(&state, &["ca", "init"]);
    assert!(
        right
            .env("CREDENTIALS_DIRECTORY", credentials.path())
            .status()
            .unwrap()
            .success()
    );
}

#[test]
fn first_starts_at_once_end_with_one_master_key_and_one_pair_of_cas() {
    let (_directory, state) = fresh();
    let children: Vec<_> = (0..4)
        .map(|_| {
            let mut command = command(&state, &["ca", "init", "--json"]);
            let piped = std::process::Stdio::piped;
            command.stdout(piped()).stderr(piped()).spawn().unwrap()
        })
        .collect();
    let mut answers = Vec::new();
    for child in children {
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        answers.push(output.stdout);
    }
    answers.dedup();
    assert_eq!(answers.len(), 1);
}
