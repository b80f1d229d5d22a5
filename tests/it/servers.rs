//! Rollouts on Debian's real Apache, HAProxy and Tomcat, with clients that count what they get.

mod apache;
mod haproxy;
mod tomcat;

use std::time::Duration;

use renewd::deploy::probe::{KeyKind, handshake};
use renewd::model::{CertificateId, ExportSpec, Probe, RevisionId, Rollout, RolloutStep, Seconds};

use crate::deploy::stand::Stand;
use crate::support::nginx::Load;
use crate::support::server::Server;

type Revision = (CertificateId, RevisionId);

/// The host name that is served.
const NAME: &str = "www.test";

/// A stand with a real server on it.
struct Served {
    stand: Stand,
    server: Server,
    port: u16,
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

    fn deadline(&mut self, seconds: i64) {
        if let Probe::Tls { deadline, .. } = &mut self.stand.target.probe {
            *deadline = Seconds(seconds);
        }
    }
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
