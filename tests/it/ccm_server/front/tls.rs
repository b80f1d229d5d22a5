//! TLS: certificates from files and from the server's own CA, exchanged without a restart, and clients without manners.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;
use renewd::ccm_server::{Limits, Server, ServerOptions, TlsError, TlsSource};
use renewd::model::{Seconds, Timestamp};
use renewd::sys::clock::{Clock as _, ManualClock, SystemClock};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::ccm_server::http::{Peer, get};
use crate::ccm_server::openssl::self_signed;
use crate::ccm_server::process::{Process, fresh, new_user, run};
use crate::support::ccm::{Ccm, Wanted};

const LIST: &str = "/v1/private-certificates";

/// A server and a client that trusts one root and nothing else.
pub(super) struct Trusting<'a, P> {
    peer: &'a P,
    client: reqwest::Client,
}

impl<P: Peer> Peer for Trusting<'_, P> {
    fn endpoint(&self) -> String {
        self.peer.endpoint()
    }
    fn keys(&self) -> (String, String) {
        self.peer.keys()
    }
    fn time(&self) -> Timestamp {
        self.peer.time()
    }
    fn client(&self) -> reqwest::Client {
        self.client.clone()
    }
}

/// A client of the server that trusts this root.
pub(super) fn trusting<'a, P: Peer>(peer: &'a P, root: &str) -> Trusting<'a, P> {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let root = reqwest::Certificate::from_pem(root.as_bytes()).unwrap();
    let builder = reqwest::Client::builder().no_proxy();
    let client = builder.tls_certs_only([root]).build().unwrap();
    Trusting { peer, client }
}

/// The certificate that a handshake shows, which must lead to `root` and be good for the address.
async fn shown(address: SocketAddr, root: &str) -> Vec<u8> {
    let stream = connect(address, root).await.unwrap();
    let (_, connection) = stream.get_ref();
    connection.peer_certificates().unwrap()[0].to_vec()
}

async fn connect(
    address: SocketAddr,
    root: &str,
) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(root.as_bytes()).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(("127.0.0.1", address.port())).await?;
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    connector.connect(name, stream).await
}

/// The server's own CA.
pub(super) fn own() -> TlsSource {
    TlsSource::Own { names: Vec::new() }
}

/// A certificate for 127.0.0.1 with its key in files.
struct Files {
    directory: tempfile::TempDir,
}

impl Files {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
        }
    }
    fn certificate(&self) -> PathBuf {
        self.directory.path().join("server.crt")
    }
    fn key(&self) -> PathBuf {
        self.directory.path().join("server.key")
    }
    fn source(&self) -> TlsSource {
        TlsSource::Files {
            certificate: self.certificate(),
            key: self.key(),
        }
    }
    /// Puts a new pair there, and answers the certificate, which is its own root.
    fn renew(&self) -> String {
        let names = ["127.0.0.1".to_owned(), "ccm.test".to_owned()];
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(names).unwrap();
        let certificate = params.self_signed(&key).unwrap().pem();
        std::fs::write(self.certificate(), &certificate).unwrap();
        std::fs::write(self.key(), key.serialize_pem()).unwrap();
        certificate
    }
}

#[tokio::test]
async fn a_server_with_a_certificate_of_its_own_ca_is_trusted_by_who_trusts_that_ca() {
    let ccm = Wanted::new().tls(own()).start().await;
    assert!(ccm.endpoint().starts_with("https://"), "{}", ccm.endpoint());
    let root = ccm.root_pem().await;
    let peer = trusting(&ccm, &root);
    let list = get(&peer, LIST).await.expect(200).body;
    // It stands in the list like any other, and has a name.
    assert_eq!(list["total"], 1);
    let own = &list["certificates"][0];
    assert_eq!(own["distinguished_name"]["common_name"], "renewd-ccm");
    assert_eq!(own["status"], "ISSUED");
    assert_eq!(own["issuer_id"], ccm.issuing());
    let (foreign, _) = self_signed("ccm.test", "IP:127.0.0.1", "30");
    assert!(connect(ccm.running.address(), &foreign).await.is_err());
}

#[tokio::test]
async fn the_own_certificate_is_kept_over_a_restart_and_renewed_before_its_end() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("ccm");
    // The client checks against the machine's clock, so it begins there.
    let clock = Arc::new(ManualClock::new(SystemClock.now()));
    let start = || {
        let wanted = Wanted::new().state(&state).clock(Arc::clone(&clock));
        wanted.tls(own()).start()
    };
    let ccm = start().await;
    let root = ccm.root_pem().await;
    let first = shown(ccm.running.address(), &root).await;
    ccm.stop().await;
    let ccm = start().await;
    assert_eq!(shown(ccm.running.address(), &root).await, first);
    ccm.advance(Seconds::hours(19 * 24));
    ccm.running.reload().await.unwrap();
    assert_eq!(shown(ccm.running.address(), &root).await, first);
    ccm.advance(Seconds::hours(2 * 24));
    // Who is connected stays connected.
    let mut open = connect(ccm.running.address(), &root).await.unwrap();
    ccm.running.reload().await.unwrap();
    // The new one begins when the server's clock says so, and for the client that is in the future.
    let next = connect(ccm.running.address(), &root).await.unwrap_err();
    assert!(next.to_string().contains("not valid yet"), "{next}");
    open.write_all(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    open.read_to_end(&mut answer).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200 OK"));
}

#[tokio::test]
async fn an_own_certificate_from_the_future_is_replaced_when_the_clock_is_right_again() {
    // The client checks against the machine's clock, so that one is right.
    let clock = Arc::new(ManualClock::new(SystemClock.now()));
    let wanted = Wanted::new().clock(Arc::clone(&clock)).tls(own());
    let ccm = wanted.start().await;
    let root = ccm.root_pem().await;
    clock.jump(Seconds::days(25));
    ccm.running.reload().await.unwrap();
    let ahead = connect(ccm.running.address(), &root).await.unwrap_err();
    assert!(ahead.to_string().contains("not valid yet"), "{ahead}");
    clock.jump(Seconds::days(-25));
    ccm.running.reload().await.unwrap();
    let right = shown(ccm.running.address(), &root).await;
    ccm.running.reload().await.unwrap();
    assert_eq!(shown(ccm.running.address(), &root).await, right);
}

#[tokio::test]
async fn a_revoked_or_deleted_own_certificate_is_replaced() {
    let ccm = Wanted::new().tls(own()).start().await;
    let root = ccm.root_pem().await;
    let peer = trusting(&ccm, &root);
    let first = shown(ccm.running.address(), &root).await;
    let list = get(&peer, LIST).await.expect(200).body;
    let id = list["certificates"][0]["certificate_id"].as_str().unwrap();
    let revoke = format!("{LIST}/{id}/revoke");
    let body = serde_json::json!({"reason": "SUPERSEDED"});
    crate::ccm_server::http::post(&peer, &revoke, &body)
        .await
        .expect(204);
    ccm.running.reload().await.unwrap();
    assert_ne!(shown(ccm.running.address(), &root).await, first);
}

#[tokio::test]
async fn changed_files_are_shown_to_new_connections_and_bad_ones_change_nothing() {
    let files = Files::new();
    let first = files.renew();
    let ccm = Wanted::new().tls(files.source()).start().await;
    let address = ccm.running.address();
    let before = shown(address, &first).await;
    let second = files.renew();
    // Until somebody looks, the old one is shown.
    assert_eq!(shown(address, &first).await, before);
    ccm.running.reload().await.unwrap();
    let after = shown(address, &second).await;
    assert_ne!(after, before);
    let good = std::fs::read(files.key()).unwrap();
    let (_, foreign) = self_signed("x.test", "DNS:x.test", "30");
    for (bad, what) in [(foreign.as_bytes(), "another key"), (b"nothing", "no key")] {
        std::fs::write(files.key(), bad).unwrap();
        let refused = ccm.running.reload().await;
        assert!(
            matches!(refused, Err(TlsError::File { .. })),
            "{what}: {refused:?}"
        );
        assert_eq!(shown(address, &second).await, after, "{what}");
    }
    std::fs::remove_file(files.key()).unwrap();
    let refused = ccm.running.reload().await;
    assert!(matches!(refused, Err(TlsError::Read(_))), "{refused:?}");
    assert_eq!(shown(address, &second).await, after);
    std::fs::write(files.key(), good).unwrap();
    ccm.running.reload().await.unwrap();
    assert_eq!(shown(address, &second).await, after);
}

#[tokio::test]
async fn with_tls_an_address_of_other_machines_needs_no_flag() {
    let directory = tempfile::tempdir().unwrap();
    let options = ServerOptions {
        listen: SocketAddr::from(([0, 0, 0, 0], 0)),
        tls: Some(TlsSource::Own {
            names: vec!["ca.corp.example".to_owned()],
        }),
        ..ServerOptions::new(directory.path().join("ccm"))
    };
    let running = Server::start(options).await.unwrap();
    let cas = running.admin().init_ca().await.unwrap();
    let root = running.admin().ca_certificate(&cas.root).await.unwrap();
    let certificate = shown(running.address(), &root).await;
    let has = |name: &[u8]| certificate.windows(name.len()).any(|part| part == name);
    assert!(has(b"ca.corp.example") && has(b"localhost"));
    running.stop().await;
}

async fn closed(stream: &mut TcpStream) -> Vec<u8> {
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    // A connection that is never closed fails here, by the clock of the test alone.
    let end = tokio::time::timeout(Duration::from_secs(30), read);
    // Closed with our bytes unread is a reset.
    let _ = end.await.expect("the connection is closed");
    answer
}

async fn impatient(limits: Limits) -> (Ccm, String) {
    let limits = Limits {
        handshake: Duration::from_millis(200),
        header: Duration::from_millis(200),
        ..limits
    };
    let ccm = Wanted::new().limits(limits).tls(own()).start().await;
    let root = ccm.root_pem().await;
    (ccm, root)
}

#[tokio::test]
async fn who_does_not_finish_a_handshake_is_let_go() {
    let limits = Limits {
        connections: 1,
        ..Limits::default()
    };
    let (ccm, root) = impatient(limits).await;
    for bytes in [
        &b""[..],
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/1.1\r\n\r\n",
    ] {
        let mut stream = TcpStream::connect(ccm.running.address()).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let answer = closed(&mut stream).await;
        assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    }
    // The only place is free again each time.
    let peer = trusting(&ccm, &root);
    get(&peer, LIST).await.expect(200);
}

#[tokio::test]
async fn slow_and_large_headers_are_refused_within_tls_too() {
    let (ccm, root) = impatient(Limits::default()).await;
    let mut slow = connect(ccm.running.address(), &root).await.unwrap();
    slow.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nX-")
        .await
        .unwrap();
    let mut answer = Vec::new();
    let read = slow.read_to_end(&mut answer);
    let _ = tokio::time::timeout(Duration::from_secs(30), read)
        .await
        .expect("the connection is closed");
    assert!(!answer.starts_with(b"HTTP/1.1 200"));
    let mut large = connect(ccm.running.address(), &root).await.unwrap();
    let header = format!(
        "GET / HTTP/1.1\r\nHost: x\r\nX-Long: {}\r\n\r\n",
        "x".repeat(200_000)
    );
    // The server may close before it has read everything.
    let _ = large.write_all(header.as_bytes()).await;
    let mut answer = Vec::new();
    let read = large.read_to_end(&mut answer);
    let _ = tokio::time::timeout(Duration::from_secs(30), read)
        .await
        .expect("the connection is closed");
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 431"));
    get(&trusting(&ccm, &root), LIST).await.expect(200);
}

#[tokio::test]
async fn the_command_line_serves_https_and_reads_files_anew_on_sighup() {
    let (_directory, state) = fresh();
    let files = Files::new();
    let first = files.renew();
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let (certificate, key) = (text(&files.certificate()), text(&files.key()));
    let options = ["--tls-cert", &certificate, "--tls-key", &key];
    let server = Process::start_with(&state, new_user(&state, "user"), &options);
    let endpoint = server.endpoint();
    let address: SocketAddr = endpoint.strip_prefix("https://").unwrap().parse().unwrap();
    get(&trusting(&server, &first), LIST).await.expect(200);
    let second = files.renew();
    server.signal(Signal::SIGHUP);
    let mut tries = 0;
    while connect(address, &second).await.is_err() {
        tries += 1;
        assert!(tries < 10_000, "the new certificate is not shown");
        tokio::task::yield_now().await;
    }
    get(&trusting(&server, &second), LIST).await.expect(200);
    server.terminate();
}

#[test]
fn bad_tls_options_have_their_status() {
    let (_directory, state) = fresh();
    let files = Files::new();
    files.renew();
    let path = files.certificate();
    let path = path.to_str().unwrap();
    let status = |options: &[&str]| {
        let mut arguments = vec!["serve", "--listen", "127.0.0.1:0"];
        arguments.extend(options);
        run(&state, &arguments).status.code()
    };
    assert_eq!(status(&["--tls-cert", path]), Some(64));
    assert_eq!(status(&["--tls", "other"]), Some(64));
    assert_eq!(
        status(&["--tls", "self", "--tls-cert", path, "--tls-key", path]),
        Some(64)
    );
    assert_eq!(status(&["--tls", "self", "--tls-name", "a b"]), Some(78));
    assert_eq!(status(&["--tls-cert", path, "--tls-key", path]), Some(78));
    assert_eq!(
        status(&["--tls-cert", path, "--tls-key", "/nonexistent"]),
        Some(78)
    );
}
