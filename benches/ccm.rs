//! renewd-ccm under load: certificates per second at 1, 8 and 64 connections, beside Pebble and `openssl ca` on the same
//! machine and what that machine can do at all; pages of lists of 100 000 certificates; memory with them stored.
#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark prints, and runs programs with files of its own"
)]

mod acme;
mod bare;
mod openssl;
mod scm;
mod wire;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use wire::Connection;

use crate::daemon;

/// Prints all of it.
pub(crate) fn run() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(all());
}

async fn all() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let csr = csr();
    let (signs, verifies) = bare::signing();
    let writes = bare::writes(directory.path());
    println!(
        "the machine: {signs:.0} signatures and {verifies:.0} verifications a second on one thread (EC P-256), {writes:.0} appends that are on disk"
    );
    println!("renewd-ccm: certificates by CSR, EC P-256, each on disk before it is answered");
    let mut server = Server::start(directory.path());
    let token = server.token().await;
    for connections in [1, 8, 64] {
        let rate = server
            .issue(&token, &csr, connections, Limit::Time(LOAD))
            .await;
        println!("  {connections:>3} connections {rate:>26.0} certificates/s");
    }
    println!(
        "Pebble: new order, finalize, certificate, with authorizations reused; in memory only"
    );
    for connections in [1, 8, 64] {
        match acme::rate(directory.path(), connections, LOAD).await {
            Some(rate) => println!("  {connections:>3} connections {rate:>26.0} certificates/s"),
            None => println!("  pebble is not installed (scripts/install-tools.sh bench)"),
        }
    }
    println!("openssl ca: one process after the other");
    let rate = openssl::rate(directory.path(), &csr);
    println!("    1 at a time   {rate:>26.0} certificates/s");

    let begin = Instant::now();
    let full = server.issue(&token, &csr, 64, Limit::Full).await;
    println!(
        "renewd-ccm: filled up to 100 000 certificates in {:.0} s, {full:.0} certificates/s; resident {:.1} MiB then",
        begin.elapsed().as_secs_f64(),
        server.resident()
    );
    for (what, query) in LISTS {
        let pages = (0..100_000).step_by(100);
        let pages = pages
            .map(|offset| format!("/v1/private-certificates?limit=100&offset={offset}{query}"));
        show(what, server.pages(&token, pages).await);
    }
    println!("  resident after the lists {:>8.1} MiB", server.resident());
    tokio::time::sleep(QUIET).await;
    println!("  resident after quiet     {:>8.1} MiB", server.resident());
    drop(server);
    server = Server::start(directory.path());
    println!("  resident after a start   {:>8.1} MiB", server.resident());
    let token = server.token().await;
    scm::run(&server, &token).await;
    drop(server);
    server = Server::start(directory.path());
    println!("  resident after a start   {:>8.1} MiB", server.resident());
}

/// A line about how long the pages of a list took.
fn show(what: &str, mut times: Vec<Duration>) {
    times.sort();
    println!(
        "  {what:<46} {:>5} pages  median {:>6.2} ms  p99 {:>6.2} ms  worst {:>6.2} ms",
        times.len(),
        millis(times[times.len() / 2]),
        millis(times[times.len() * 99 / 100]),
        millis(times[times.len() - 1]),
    );
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// An EC P-256 request for two names.
fn csr() -> String {
    let names = ["www.example.test".to_owned(), "example.test".to_owned()];
    let key = rcgen::KeyPair::generate().expect("a key");
    let mut params = rcgen::CertificateParams::new(names).expect("names");
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, "www.example.test");
    let request = params.serialize_request(&key).expect("a request");
    request.pem().expect("PEM")
}

/// How long to go on.
#[derive(Clone, Copy)]
enum Limit {
    Time(Duration),
    /// Until the account has as many certificates as it may.
    Full,
}

/// The server in a process of its own; ends when dropped.
struct Server {
    child: Child,
    address: String,
    login: Value,
    issuer: String,
}

impl Server {
    fn start(dir: &Path) -> Self {
        let state = dir.join("ccm");
        let program = |arguments: &[&str]| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_renewd-ccm"));
            command.arg("--state").arg(&state).args(arguments);
            command.stderr(Stdio::null()).env("RENEWD_CCM_LOG", "warn");
            command
        };
        let json = |arguments: &[&str]| -> Value {
            let output = program(arguments).output().expect("renewd-ccm starts");
            serde_json::from_slice(&output.stdout).expect("JSON")
        };
        let issuer = json(&["ca", "init", "--json"]);
        let name = format!("bench-{}", fs::read_dir(dir).expect("a directory").count());
        let user = json(&["user", "add", &name, "--json"]);
        fs::write(dir.join(&name), "").expect("a file");
        let unit = include_str!("../systemd/renewd-ccm.service");
        let mut child = program(&["serve", "--listen", "127.0.0.1:0"])
            .envs(daemon::environment(unit))
            .stdout(Stdio::piped())
            .spawn()
            .expect("renewd-ccm starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("a pipe"))
            .read_line(&mut line)
            .expect("its first line");
        let address = line.trim().strip_prefix("listening on http://");
        Self {
            child,
            address: address.expect("where it listens").to_owned(),
            login: json!({"auth": {"identity": {"methods": ["password"], "password": {"user": {
                "name": user["name"], "password": user["password"], "domain": {"name": user["account"]},
            }}}}}),
            issuer: issuer["issuing_ca_id"].as_str().expect("an id").to_owned(),
        }
    }

    async fn token(&self) -> String {
        let mut connection = Connection::open(&self.address).await;
        let login = self.login.to_string();
        let request = wire::request("POST", "/v3/auth/tokens", "", &login);
        let answer = connection.ask(&request).await;
        assert_eq!(answer.status, 201);
        answer.header("x-subject-token").expect("a token")
    }

    /// Certificates per second.
    async fn issue(&self, token: &str, csr: &str, connections: usize, limit: Limit) -> f64 {
        let body = json!({
            "issuer_id": self.issuer, "csr": csr, "validity": {"type": "DAY", "value": 90},
        });
        let request = wire::request(
            "POST",
            "/v1/private-certificates/csr",
            token,
            &body.to_string(),
        );
        let request: Arc<[u8]> = request.into();
        let (stop, count) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicUsize::new(0)),
        );
        let mut open = Vec::new();
        for _ in 0..connections {
            open.push(Connection::open(&self.address).await);
        }
        let begin = Instant::now();
        let clients: Vec<_> = open
            .into_iter()
            .map(|mut connection| {
                let (stop, count, request) =
                    (Arc::clone(&stop), Arc::clone(&count), Arc::clone(&request));
                tokio::spawn(async move {
                    while !stop.load(Ordering::Relaxed) {
                        let answer = connection.ask(&request).await;
                        if answer.status != 200 {
                            assert!(answer.body.contains("PCA.00030001"), "{}", answer.body);
                            return;
                        }
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        if let Limit::Time(time) = limit {
            tokio::time::sleep(time).await;
            stop.store(true, Ordering::Relaxed);
        }
        for client in clients {
            client.await.expect("no client fails");
        }
        count.load(Ordering::Relaxed) as f64 / begin.elapsed().as_secs_f64()
    }

    /// The time of each of these pages.
    async fn pages(&self, token: &str, targets: impl Iterator<Item = String>) -> Vec<Duration> {
        let mut connection = Connection::open(&self.address).await;
        let mut times = Vec::new();
        for target in targets {
            let request = wire::request("GET", &target, token, "");
            let begin = Instant::now();
            let answer = connection.ask(&request).await;
            times.push(begin.elapsed());
            assert_eq!(answer.status, 200, "{}", answer.body);
        }
        times
    }

    /// MiB of memory that are its own or mapped right now.
    fn resident(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("a process");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<f64>().ok());
        kib.expect("a number") / 1024.0
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Long enough for a rate that stands.
const LOAD: Duration = Duration::from_secs(5);

/// Two minutes without a request, and some seconds: what pages left behind is given back by then.
const QUIET: Duration = Duration::from_secs(130);

/// Orders and filters of the API.
const LISTS: [(&str, &str); 7] = [
    ("newest first, 100 to a page", ""),
    ("by name", "&sort_key=common_name&sort_dir=ASC"),
    ("by end", "&sort_key=not_after"),
    ("only what is issued", "&status=ISSUED"),
    (
        "only what is issued, by name",
        "&status=ISSUED&sort_key=common_name",
    ),
    ("only what is revoked", "&status=REVOKED"),
    ("by a part of the name", "&name=example"),
];
