//! Rollouts on Debian's real Apache, HAProxy and Tomcat, with clients that count what they get.
#![expect(clippy::disallowed_methods, reason = "tests arrange files directly")]

mod apache;
mod haproxy;
mod tomcat;

use std::time::Duration;

use renewd::deploy::probe::{KeyKind, handshake};
use renewd::model::{
    CertificateId, ErrorClass, ExportSpec, KeyAlgorithm, Name, Probe, Reload, RevisionId, Rollout,
    RolloutStep, Seconds,
};
use renewd::pki::{Material, Secret, bundle};

use crate::deploy::stand::{Stand, validity};
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
    port: u16,
    readers: Readers,
}

/// Readers of what the server reads, from the first set to the end: by one descriptor, as renewd promises a pair, and by two
/// paths, as most servers open theirs.
#[derive(Default)]
struct Readers(Vec<Reader>);

impl Readers {
    fn watch(&mut self, live: &std::path::Path) {
        let names = [
            ("www/server.crt", "www/server.key"),
            ("www/site.crt", "www/site.key"),
            ("www/haproxy.pem", "www/haproxy.pem"),
        ];
        let there = names.into_iter().find(|(leaf, _)| live.join(leaf).exists());
        if let Some((certificate, key)) = there {
            self.0.push(Reader::start(live, certificate, key).paced());
            self.0
                .push(Reader::by_paths(&live.join(certificate), &live.join(key)));
        }
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
    /// A stand that proves at this port; the caller says how the server is told.
    fn stand(dir: &std::path::Path, exports: Vec<ExportSpec>, port: u16) -> Stand {
        let mut stand = Stand::new(dir, exports);
        stand.target.command_timeout = Seconds(20);
        stand.target.probe = Probe::Tls {
            connect: format!("127.0.0.1:{port}"),
            deadline: Seconds(10),
            roots: None,
            wildcard_label: "x".into(),
            prelude: renewd::model::Prelude::default(),
        };
        stand
    }

    fn issue(&self) -> Revision {
        self.stand.issue("www", &[NAME])
    }

    /// Puts a first set into place, starts the server with it, and proves it.
    async fn begin(&mut self, ports: &[u16]) -> Revision {
        self.begin_when(ports, || {}).await
    }

    /// The same, once the server is found to be ready.
    async fn begin_when(&mut self, ports: &[u16], ready: impl FnOnce()) -> Revision {
        let first = self.issue();
        let rollout = self.stand.open(std::slice::from_ref(&first));
        for step in [RolloutStep::Stage, RolloutStep::Commit] {
            self.stand.step(&rollout, step).await.unwrap();
        }
        self.readers.watch(&self.stand.live_path(""));
        self.server.start(ports);
        ready();
        let rollout = self.stand.drive(rollout).await;
        self.stand.live_now(&rollout);
        self.stand.log.clear();
        first
    }

    async fn roll(&mut self, revision: &Revision) -> Rollout {
        let rollout = self.stand.open(std::slice::from_ref(revision));
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
        let seen = handshake(
            &format!("127.0.0.1:{port}"),
            Some(NAME),
            KeyKind::Any,
            Duration::from_secs(10),
        )
        .await
        .unwrap();
        let serial = renewd::pki::facts(&seen.presented[0]).unwrap().serial;
        assert_eq!(serial, self.stand.serial(revision), "served at {port}");
    }

    /// A certificate for other names than the policy's is refused before anything is changed.
    async fn refuses_other_names(&mut self, old: &Revision) {
        let names = std::iter::once(Name::parse(NAME).unwrap()).collect();
        let id = CertificateId::new("www").unwrap();
        self.stand.deployer = (self.stand.deployer.clone()).asking_for([(id, names)].into());
        self.stand.log.clear();
        let other = self.stand.issue("www", &["other.test"]);
        let rollout = self.roll(&other).await;
        self.ended(&rollout, "abandoned");
        assert_eq!(self.stand.steps(), ["stage"]);
        let error = self.stand.error(RolloutStep::Stage);
        assert_eq!(error.class, ErrorClass::Rejected, "{}", error.message);
        let names = "is for other.test, the policy wants www.test";
        assert!(error.message.contains(names), "{}", error.message);
        self.assert_serves(self.port, old).await;
    }

    /// A reload that hangs is killed, and the set before it comes back.
    async fn survives_a_reload_that_hangs(&mut self, dir: &std::path::Path, old: &Revision) {
        let once = dir.join("hung-once").display().to_string();
        // On the way back nobody needs telling: it never was told of the new set.
        let script = format!("test -e {once} || {{ touch {once}; sleep 600; }}");
        let reload = Reload::Command(argv(&["/bin/sh", "-c", &script]));
        let reload = self.stand.target.reload.replace(reload);
        let patience = std::mem::replace(&mut self.stand.target.command_timeout, Seconds(5));
        self.stand.log.clear();
        let new = self.issue();
        let rollout = self.roll(&new).await;
        self.stand.target.reload = reload;
        self.stand.target.command_timeout = patience;
        self.ended(&rollout, "rolled-back");
        let error = self.stand.error(RolloutStep::Reload);
        assert!(error.message.contains("was killed"), "{}", error.message);
        self.assert_serves(self.port, old).await;
    }

    /// What is served after the reload is neither the new nor the old one, but somebody else's for the same name:
    /// `conf` is changed behind our back, and is as before on the way back. `reload` is a shell command.
    async fn finds_a_foreign_certificate(
        &mut self,
        dir: &std::path::Path,
        conf: &std::path::Path,
        reload: &str,
        old: &Revision,
    ) {
        let foreign = dir.join("foreign");
        let material = self
            .stand
            .material(&[NAME], KeyAlgorithm::EcP256, validity());
        write_foreign(&foreign, &material);
        let good = std::fs::read_to_string(conf).unwrap();
        let live = self.stand.live_path("www").display().to_string();
        let bad = good.replace(&live, &foreign.display().to_string());
        assert_ne!(bad, good);
        let (good_copy, bad_copy) = (dir.join("good.conf"), dir.join("bad.conf"));
        std::fs::write(&good_copy, &good).unwrap();
        std::fs::write(&bad_copy, &bad).unwrap();
        let script = format!(
            "if test -e {bad}; then mv {bad} {conf}; else cp {good} {conf}; fi; {reload}",
            bad = bad_copy.display(),
            good = good_copy.display(),
            conf = conf.display(),
        );
        let reload = Reload::Command(argv(&["/bin/sh", "-c", &script]));
        let before = self.stand.target.reload.replace(reload);
        self.deadline(3);
        self.stand.log.clear();
        let new = self.issue();
        let rollout = self.roll(&new).await;
        self.stand.target.reload = before;
        self.ended(&rollout, "rolled-back");
        let error = self.stand.error(RolloutStep::Verify);
        let serial = renewd::pki::facts(&material.leaf).unwrap().serial;
        assert!(error.message.contains(&serial), "{}", error.message);
        self.assert_serves(self.port, old).await;
    }

    fn deadline(&mut self, seconds: i64) {
        if let Probe::Tls { deadline, .. } = &mut self.stand.target.probe {
            *deadline = Seconds(seconds);
        }
    }
}

/// In every form that the servers of these tests read.
fn write_foreign(directory: &std::path::Path, material: &Material) {
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

/// Stops the clients, who must have got everything they asked for.
#[track_caller]
fn no_request_failed(load: Load) {
    let got = load.stop();
    assert_eq!(got.failed, Vec::<String>::new());
    assert!(got.good > 0);
}

fn argv(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}
