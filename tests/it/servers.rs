//! Rollouts on Debian's real servers, with clients that count what they get and readers that count what they see.
//!
//! Each cell of this table is the same code with another stand: the rows are the cases of
//! `Served::withstands_everything` in `cases.rs`, in this order; the columns are the tests that run all of them,
//! `nginx::nginx_withstands_everything` and so on. A load asks without end in each row, none of its requests may fail, and
//! the server must be alive at the row's end. The counts are printed.
//!
//! | row | nginx | Apache | HAProxy | Tomcat: PKCS #12, JKS, PEM |
//! |---|---|---|---|---|
//! | success | ✓ | ✓ | ✓ runtime API | ✓ |
//! | broken server configuration | ✓ | ✓ | ✓ | ✓ not read by `sslReload`: goes live |
//! | mismatched pair | ✓ | ✓ | ✓ | ✓ |
//! | wrong names | ✓ | ✓ | ✓ | ✓ |
//! | reload that hangs | ✓ | ✓ | ✓ | ✓ |
//! | reload that exits 0 without effect | ✓ | ✓ | ✓ | ✓ |
//! | foreign certificate on the wire, and undo | ✓ | ✓ | ✓ | ✓ |
//! | server down, and proof once it is up (no load) | ✓ | ✓ | ✓ | ✓ |
//! | success after that | ✓ | ✓ | ✓ | ✓ |
//!
//! Readers run through all of them: of certificate and key by one descriptor of the live directory, where every pair must
//! match; of both by their paths, where two opens may straddle a commit, which is counted; of keystores, whose key must be
//! that of their certificate; and of Apache's loose files. What one server alone has is tested in its own file.
#![expect(clippy::disallowed_methods, reason = "tests arrange files directly")]

mod apache;
mod cases;
mod haproxy;
mod nginx;
mod tomcat;

use std::path::{Path, PathBuf};
use std::time::Duration;

use renewd::deploy::probe::{KeyKind, handshake};
use renewd::model::{CertificateId, ExportSpec, Probe, RevisionId, Rollout, RolloutStep, Seconds};
use renewd::pki::{Material, Secret, bundle};

use cases::Ways;

use crate::deploy::stand::Stand;
use crate::support::nginx::Load;
use crate::support::reader::Reader;
use crate::support::server::Server;

type Revision = (CertificateId, RevisionId);

/// The host name that is served.
const NAME: &str = "www.test";

/// A stand with a real server on it.
struct Served {
    stand: Stand,
    server: Server,
    /// Where it is proven, and asked by the load: the first of these.
    port: u16,
    tls_ports: Vec<u16>,
    /// A certificate that goes in with every set.
    beside: Option<Revision>,
    /// Waits for more than open ports.
    ready: Box<dyn Fn() + Send>,
    /// Where loose files are instead of those below the link.
    loose: Option<PathBuf>,
    readers: Readers,
}

/// Readers of what the server reads, from the first set to the end: by one descriptor, as renewd promises a pair, and by two
/// paths, as most servers open theirs.
#[derive(Default)]
struct Readers(Vec<Reader>);

impl Readers {
    /// `live` by a descriptor of it, `at` by paths below it.
    fn watch(&mut self, live: &Path, at: &Path) {
        let names = [
            ("server.crt", "server.key"),
            ("site.crt", "site.key"),
            ("haproxy.pem", "haproxy.pem"),
        ];
        for (certificate, key) in names {
            if live.join("www").join(certificate).exists() {
                let [certificate, key] = [certificate, key].map(|file| format!("www/{file}"));
                self.0.push(Reader::start(live, &certificate, &key).paced());
            }
            if at.join(certificate).exists() {
                self.0
                    .push(Reader::by_paths(&at.join(certificate), &at.join(key)));
            }
        }
        for store in ["site.p12", "site.jks"] {
            if at.join(store).exists() {
                self.0
                    .push(Reader::of_store(&at.join(store), tomcat::PASSWORD));
            }
        }
        assert!(!self.0.is_empty(), "nothing to read at {}", at.display());
    }
}

#[expect(clippy::print_stdout, reason = "what was counted is for people")]
impl Drop for Readers {
    fn drop(&mut self) {
        for reader in self.0.drain(..) {
            let seen = reader.stop();
            println!("{seen}");
            if !std::thread::panicking() {
                assert_eq!(seen.wrong, Vec::<String>::new());
                assert!(seen.pairs > 0);
            }
        }
    }
}

impl Served {
    fn new(stand: Stand, server: Server, tls_ports: Vec<u16>) -> Self {
        Self {
            stand,
            server,
            port: tls_ports[0],
            tls_ports,
            beside: None,
            ready: Box::new(|| {}),
            loose: None,
            readers: Readers::default(),
        }
    }

    /// A stand that proves at this port; the caller says how the server is told.
    fn stand(dir: &Path, exports: Vec<ExportSpec>, port: u16) -> Stand {
        let mut stand = Stand::new(dir, exports);
        stand.target.command_timeout = Seconds(20);
        Self::prove_at(&mut stand, port);
        stand
    }

    fn prove_at(stand: &mut Stand, port: u16) {
        stand.target.probe = Probe::Tls {
            connect: format!("127.0.0.1:{port}").into(),
            deadline: Seconds(10),
            roots: None,
            wildcard_label: "x".into(),
            prelude: renewd::model::Prelude::default(),
        };
    }

    fn issue(&self) -> Revision {
        self.stand.issue("www", &[NAME])
    }

    fn start(&mut self) {
        self.server.start(&self.tls_ports);
        (self.ready)();
    }

    /// Puts a first set into place, starts the server with it, and proves it.
    async fn begin(&mut self) -> Revision {
        let first = self.issue();
        let rollout = self.open(&first);
        for step in [RolloutStep::Stage, RolloutStep::Commit] {
            self.stand.step(&rollout, step).await.unwrap();
        }
        let at = self.loose.clone();
        let at = at.unwrap_or_else(|| self.stand.live_path("www"));
        self.readers.watch(&self.stand.live_path(""), &at);
        self.start();
        let rollout = self.stand.drive(rollout).await;
        self.stand.live_now(&rollout);
        self.stand.log.clear();
        first
    }

    fn open(&mut self, revision: &Revision) -> Rollout {
        let mut set = vec![revision.clone()];
        set.extend(self.beside.clone());
        self.stand.open(&set)
    }

    async fn roll(&mut self, revision: &Revision) -> Rollout {
        let rollout = self.open(revision);
        self.stand.drive(rollout).await
    }

    fn load(&self) -> Load {
        let roots = std::slice::from_ref(&self.stand.ca.root.der);
        Load::start(&format!("127.0.0.1:{}", self.port), NAME, roots)
    }

    #[track_caller]
    fn ended(&self, rollout: &Rollout, phase: &str) {
        assert_eq!(rollout.phase.code(), phase, "{:?}", self.stand.log);
    }

    /// Waits until it completes a handshake.
    async fn answers(&self) {
        let address = format!("127.0.0.1:{}", self.port);
        let end = std::time::Instant::now() + Duration::from_secs(60);
        while let Err(error) =
            handshake(&address, Some(NAME), KeyKind::Any, Duration::from_secs(10)).await
        {
            assert!(std::time::Instant::now() < end, "{error}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn assert_serves(&self, port: u16, revision: &Revision) {
        self.assert_serves_as(port, NAME, revision).await;
    }

    async fn assert_serves_as(&self, port: u16, name: &str, revision: &Revision) {
        let address = format!("127.0.0.1:{port}");
        let patience = Duration::from_secs(10);
        let seen = handshake(&address, Some(name), KeyKind::Any, patience).await;
        let serial = renewd::pki::facts(&seen.unwrap().presented[0])
            .unwrap()
            .serial;
        assert_eq!(serial, self.stand.serial(revision), "{name} at {port}");
    }

    fn deadline(&mut self, seconds: i64) {
        if let Probe::Tls { deadline, .. } = &mut self.stand.target.probe {
            *deadline = Seconds(seconds);
        }
    }
}

/// In every form that the servers of these tests read.
fn write_foreign(directory: &Path, material: &Material) {
    let pem = |der: &[u8]| renewd::pki::pem::certificate(der);
    let key = String::from_utf8(material.key.to_pem().expose().to_vec()).unwrap();
    let (leaf, chain) = (pem(&material.leaf), pem(&material.chain[0]));
    std::fs::create_dir_all(directory).unwrap();
    std::fs::write(directory.join("haproxy.pem"), format!("{key}{leaf}{chain}")).unwrap();
    std::fs::write(directory.join("server.crt"), leaf).unwrap();
    std::fs::write(directory.join("chain.crt"), chain).unwrap();
    std::fs::write(directory.join("server.key"), &key).unwrap();
    std::fs::write(
        directory.join("site.crt"),
        pem(&material.leaf) + &chain_of(material),
    )
    .unwrap();
    std::fs::write(directory.join("site.key"), key).unwrap();
    let password = Secret::from(tomcat::PASSWORD.to_owned());
    for (file, kind) in [("site.p12", tomcat::pkcs12()), ("site.jks", tomcat::jks())] {
        let id = CertificateId::new("www").unwrap();
        let mut files = bundle::render(material, &kind, &id, Some(&password)).unwrap();
        std::fs::write(directory.join(file), files.remove(0).bytes.expose()).unwrap();
    }
}

fn chain_of(material: &Material) -> String {
    renewd::pki::pem::certificate(&material.chain[0])
}

/// Stops the clients, who must have got everything they asked for; answers how often they asked.
#[track_caller]
fn no_request_failed(load: Load) -> u64 {
    let got = load.stop();
    assert_eq!(got.failed, Vec::<String>::new());
    assert!(got.good > 0);
    got.good
}

fn argv(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}
