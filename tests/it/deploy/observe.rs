//! Looks at addresses that decide nothing: who is asked what, and that it stays bounded.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use renewd::deploy::{Addresses, Resolver};
use renewd::model::{
    CertificateId, KeyAlgorithm, Observe, Observed, Prelude, Probe, ProxyProtocol, RevisionId,
    Seconds, Sight, SightKind, TargetState,
};
use renewd::pki::Material;

use crate::deploy::probe::{certified, config, serve_at};
use crate::deploy::stand::{Stand, now, pem, validity};

/// Answers from a list, and remembers who was asked for.
#[derive(Default)]
struct Hosts {
    known: BTreeMap<&'static str, Vec<String>>,
    silent: bool,
    asked: Mutex<BTreeSet<String>>,
}

impl Resolver for Hosts {
    fn addresses<'a>(&'a self, host: &'a str, port: u16) -> Addresses<'a> {
        Box::pin(async move {
            self.asked.lock().unwrap().insert(host.to_owned());
            if self.silent {
                std::future::pending::<()>().await;
            }
            let found = self.known.get(host).ok_or_else(|| {
                std::io::Error::new(std::io::ErrorKind::NotFound, "nobody knows this name")
            })?;
            let ip = |ip: &String| SocketAddr::new(ip.parse().unwrap(), port);
            Ok(found.iter().map(ip).collect())
        })
    }
}

/// A stand whose listener is at 127.0.0.1 and serves its live set.
struct Looker {
    stand: Stand,
    port: u16,
    live: (CertificateId, RevisionId),
    material: Material,
}

impl Looker {
    async fn new(dir: &std::path::Path, names: &[&str]) -> Self {
        let mut stand = Stand::new(dir, vec![pem("pem", "fullchain.pem", "key.pem")]);
        let live = stand.issue("www", names);
        let material = stand
            .deployer
            .materials()
            .load_revision(&live.0, &live.1)
            .unwrap();
        let address = serve("127.0.0.1:0", &material).await;
        let port = address.parse::<SocketAddr>().unwrap().port();
        stand.target.probe = Probe::Tls {
            connect: address.into(),
            deadline: Seconds(10),
            roots: None,
            wildcard_label: "renewd-probe".into(),
            prelude: Prelude::default(),
        };
        Self {
            stand,
            port,
            live,
            material,
        }
    }

    async fn observe(&mut self, observe: &[Observe], hosts: &Arc<Hosts>) -> Observed {
        self.stand.target.observe = observe.to_vec();
        let resolver: Arc<dyn Resolver> = Arc::<Hosts>::clone(hosts);
        let deployer = self.stand.deployer.clone().resolving_by(resolver);
        let state = TargetState {
            live: [self.live.clone()].into(),
            generation: Some(1),
            ..TargetState::default()
        };
        deployer.observe(&self.stand.target, &state, now()).await
    }
}

async fn serve(address: &str, material: &Material) -> String {
    let keys = vec![certified(material, material)];
    let config = config(keys, &[&rustls::version::TLS13], None);
    serve_at(address, config, Duration::ZERO).await.0
}

fn seen(observed: &Observed) -> Vec<(&str, &str, SightKind)> {
    let sights = observed.sights.iter();
    sights
        .map(|sight| (sight.name.as_str(), sight.address.as_str(), sight.kind))
        .collect()
}

#[tokio::test]
async fn names_are_looked_at_where_they_resolve_to_and_differences_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let mut looker = Looker::new(dir.path(), &["www.test", "*.wild.test", "gone.test"]).await;
    let port = looker.port;
    let other = looker
        .stand
        .material(&["www.test"], KeyAlgorithm::EcP256, validity());
    let (same_at, other_at) = (format!("127.0.0.2:{port}"), format!("127.0.0.3:{port}"));
    serve(&same_at, &looker.material).await;
    serve(&other_at, &other).await;
    let hosts = Arc::new(Hosts {
        known: [
            // The first is the listener itself, which was proven.
            (
                "www.test",
                vec!["127.0.0.1".into(), "127.0.0.2".into(), "127.0.0.3".into()],
            ),
            ("renewd-probe.wild.test", vec!["127.0.0.4".into()]),
        ]
        .into(),
        ..Hosts::default()
    });
    let observed = looker.observe(&[Observe::Names], &hosts).await;
    let silent_at = format!("127.0.0.4:{port}");
    assert_eq!(
        seen(&observed),
        [
            (
                "gone.test",
                format!("gone.test:{port}").as_str(),
                SightKind::Silent
            ),
            (
                "renewd-probe.wild.test",
                silent_at.as_str(),
                SightKind::Silent
            ),
            ("www.test", same_at.as_str(), SightKind::Same),
            ("www.test", other_at.as_str(), SightKind::Differs),
        ]
    );
    assert_eq!((observed.worst(), observed.left), (SightKind::Differs, 0));
    let differing: Vec<&Sight> = observed.differing().collect();
    let serial = renewd::pki::facts(&other.leaf).unwrap().serial;
    assert_eq!(differing.len(), 1);
    let detail = &differing[0].detail;
    assert!(
        detail.contains(&format!("{other_at} serves serial {serial}")),
        "{detail}"
    );
    assert!(
        observed.sights[0].detail.contains("nobody knows this name"),
        "{observed:?}"
    );
    // A wildcard is asked for by its concrete label.
    let asked: Vec<String> = hosts.asked.lock().unwrap().iter().cloned().collect();
    assert_eq!(asked, ["gone.test", "renewd-probe.wild.test", "www.test"]);

    // A place of the policy is asked for every name, through the system's resolver as well.
    let place = format!("127.0.0.3:{port}");
    let observed = looker.observe(&[Observe::At(place)], &hosts).await;
    let kinds: Vec<SightKind> = observed.sights.iter().map(|sight| sight.kind).collect();
    assert_eq!(kinds, [SightKind::Differs; 3]);
    looker.stand.target.observe = vec![Observe::At(format!("localhost:{port}"))];
    if let Probe::Tls { prelude, .. } = &mut looker.stand.target.probe {
        // The listener is another one for those who send no header, so it is looked at.
        prelude.proxy_protocol = Some(ProxyProtocol::V2);
    }
    let state = TargetState {
        live: [looker.live.clone()].into(),
        generation: Some(1),
        ..TargetState::default()
    };
    let stand = &looker.stand;
    let observed = stand.deployer.observe(&stand.target, &state, now()).await;
    let own = format!("127.0.0.1:{port}");
    let same = observed.sights.iter().filter(|sight| sight.address == own);
    assert_eq!(
        same.filter(|sight| sight.kind == SightKind::Same).count(),
        3,
        "{observed:?}"
    );
}

#[tokio::test]
async fn a_look_is_bounded_in_number_and_in_time() {
    let dir = tempfile::tempdir().unwrap();
    let mut looker = Looker::new(dir.path(), &["www.test"]).await;
    let many = (0..100).map(|n| format!("127.77.0.{n}")).collect();
    let hosts = Arc::new(Hosts {
        known: [("www.test", many)].into(),
        ..Hosts::default()
    });
    let observed = looker.observe(&[Observe::Names], &hosts).await;
    assert_eq!((observed.sights.len(), observed.left), (64, 36));
    assert_eq!(observed.worst(), SightKind::Silent);

    let hosts = Arc::new(Hosts {
        silent: true,
        ..Hosts::default()
    });
    let begun = std::time::Instant::now();
    let observed = looker.observe(&[Observe::Names], &hosts).await;
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(30), "{took:?}");
    assert_eq!(observed.sights.len(), 1);
    let detail = &observed.sights[0].detail;
    assert!(detail.contains("the resolver does not answer"), "{detail}");
}
