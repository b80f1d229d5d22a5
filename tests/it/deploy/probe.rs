//! Handshakes with servers that behave in every way but the usual.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use renewd::deploy::probe::{KeyKind, ProbeError, Seen, handshake};
use renewd::model::{KeyAlgorithm, Probe, RolloutEvent, RolloutStep, Seconds};
use renewd::pki::Material;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::deploy::stand::{Stand, pem, validity};
use crate::support::certs::{self, Sample};

const LONG: Duration = Duration::from_secs(30);

/// Serves one of these, by the number of the connection; the last one for good.
#[derive(Debug)]
struct InTurn {
    keys: Vec<Arc<CertifiedKey>>,
    connections: AtomicUsize,
}

impl ResolvesServerCert for InTurn {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let number = self.connections.fetch_add(1, Ordering::SeqCst);
        Some(Arc::clone(&self.keys[number.min(self.keys.len() - 1)]))
    }
}

pub(super) fn certified(material: &Material, key: &Material) -> Arc<CertifiedKey> {
    let all = std::iter::once(&material.leaf).chain(&material.chain[..1]);
    let chain = all.map(|der| CertificateDer::from(der.clone())).collect();
    let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.key.pkcs8().to_vec()));
    let signer = aws_lc_rs::sign::any_supported_type(&der).unwrap();
    Arc::new(CertifiedKey::new(chain, signer))
}

pub(super) fn config(
    keys: Vec<Arc<CertifiedKey>>,
    versions: &[&'static SupportedProtocolVersion],
    clients: Option<&Sample>,
) -> ServerConfig {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .unwrap();
    let resolver = Arc::new(InTurn {
        keys,
        connections: AtomicUsize::new(0),
    });
    match clients {
        None => builder.with_no_client_auth().with_cert_resolver(resolver),
        Some(sample) => {
            let mut roots = RootCertStore::empty();
            roots
                .add(CertificateDer::from(sample.root.der.clone()))
                .unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .build()
                .unwrap();
            builder
                .with_client_cert_verifier(verifier)
                .with_cert_resolver(resolver)
        }
    }
}

/// Accepts connections for as long as the test runs; returns its address and the most it had at once.
async fn serve(config: ServerConfig, delay: Duration) -> (String, Arc<AtomicUsize>) {
    serve_at("127.0.0.1:0", config, delay).await
}

pub(super) async fn serve_at(
    address: &str,
    config: ServerConfig,
    delay: Duration,
) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind(address).await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let peak = Arc::clone(&most);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, now, most) = (acceptor.clone(), Arc::clone(&now), Arc::clone(&most));
            tokio::spawn(async move {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::time::sleep(delay).await;
                if let Ok(mut stream) = acceptor.accept(stream).await {
                    let _ = stream.read(&mut [0; 1]).await;
                }
                now.fetch_sub(1, Ordering::SeqCst);
            });
        }
    });
    (address, peak)
}

fn sample() -> Sample {
    certs::sample(KeyAlgorithm::EcP256, &["www.test"], validity())
}

async fn look(address: &str) -> Result<Seen, ProbeError> {
    handshake(address, Some("www.test"), KeyKind::Any, LONG).await
}

#[tokio::test]
async fn both_protocols_show_leaf_and_chain_in_order() {
    let sample = sample();
    for (version, name) in [
        (&rustls::version::TLS12, "TLSv1.2"),
        (&rustls::version::TLS13, "TLSv1.3"),
    ] {
        let key = certified(&sample.material, &sample.material);
        let (address, _) = serve(config(vec![key], &[version], None), Duration::ZERO).await;
        let seen = look(&address).await.unwrap();
        assert_eq!(seen.protocol, name);
        assert_eq!(seen.address, address);
        assert_eq!(
            seen.presented,
            [
                sample.material.leaf.clone(),
                sample.intermediate.der.clone()
            ]
        );
    }
}

#[tokio::test]
async fn a_server_that_wants_a_certificate_of_ours_has_shown_its_own() {
    let sample = sample();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let key = certified(&sample.material, &sample.material);
        let (address, _) =
            serve(config(vec![key], &[version], Some(&sample)), Duration::ZERO).await;
        let seen = look(&address).await.unwrap();
        assert_eq!(seen.presented[0], sample.material.leaf);
    }
}

#[tokio::test]
async fn a_certificate_without_its_key_is_no_proof() {
    let (sample, other) = (sample(), sample());
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let key = certified(&sample.material, &other.material);
        let (address, _) = serve(config(vec![key], &[version], None), Duration::ZERO).await;
        let error = look(&address).await.unwrap_err();
        assert!(matches!(error, ProbeError::Handshake { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn nobody_silence_and_strangers_are_told_apart() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    // The connection waits in the queue: nobody ever answers.
    let error = handshake(&address, None, KeyKind::Any, Duration::from_millis(200))
        .await
        .unwrap_err();
    assert!(matches!(error, ProbeError::Silent { .. }), "{error:?}");
    drop(listener);
    let error = look(&address).await.unwrap_err();
    assert!(
        matches!(error, ProbeError::Connect { .. }) && error.to_string().contains(&address),
        "{error}"
    );

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        let _ = stream.read(&mut [0; 1]).await;
    });
    let error = look(&address).await.unwrap_err();
    assert!(
        matches!(error, ProbeError::Handshake { .. }) && error.to_string().contains(&address),
        "{error}"
    );
    let error = handshake(&address, Some("no name"), KeyKind::Any, LONG)
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            ProbeError::Handshake { .. } | ProbeError::Connect { .. }
        ),
        "{error}"
    );
}

/// A stand whose target is proven at this address.
fn stand(dir: &std::path::Path, address: &str, deadline: i64) -> Stand {
    let mut stand = Stand::new(dir, vec![pem("pem", "fullchain.pem", "key.pem")]);
    stand.target.probe = Probe::Tls {
        connect: address.to_owned().into(),
        deadline: Seconds(deadline),
        roots: None,
        wildcard_label: "x".into(),
        prelude: renewd::model::Prelude::default(),
    };
    stand
}

#[tokio::test]
async fn old_workers_are_borne_until_the_new_ones_answer() {
    let dir = tempfile::tempdir().unwrap();
    let mut stand = stand(dir.path(), "", 60);
    let new = stand.issue("www", &["www.test"]);
    let old = stand.material(&["www.test"], KeyAlgorithm::EcP256, validity());
    let material = stand
        .deployer
        .materials()
        .load_revision(&new.0, &new.1)
        .unwrap();
    let (old, fresh) = (certified(&old, &old), certified(&material, &material));
    let keys = vec![Arc::clone(&old), Arc::clone(&old), old, fresh];
    let both = [&rustls::version::TLS12, &rustls::version::TLS13];
    let (address, _) = serve(config(keys, &both, None), Duration::ZERO).await;
    if let Probe::Tls { connect, .. } = &mut stand.target.probe {
        *connect = address.into();
    }
    let rollout = stand.open(std::slice::from_ref(&new));
    let event = stand.step(&rollout, RolloutStep::Verify).await.unwrap();
    assert!(matches!(event, RolloutEvent::Verified { reports } if reports.len() == 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_names_are_asked_for_few_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let mut stand = stand(dir.path(), "", 60);
    let names: Vec<String> = (0..60).map(|n| format!("host-{n}.test")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let new = stand.issue("www", &names);
    let material = stand
        .deployer
        .materials()
        .load_revision(&new.0, &new.1)
        .unwrap();
    let keys = vec![certified(&material, &material)];
    let (address, most) = serve(
        config(keys, &[&rustls::version::TLS13], None),
        Duration::from_millis(20),
    )
    .await;
    if let Probe::Tls { connect, .. } = &mut stand.target.probe {
        *connect = address.clone().into();
    }
    let rollout = stand.open(std::slice::from_ref(&new));
    let event = stand.step(&rollout, RolloutStep::Verify).await.unwrap();
    let RolloutEvent::Verified { reports } = event else {
        panic!("{event:?}");
    };
    assert_eq!(reports.len(), 60);
    assert!(
        reports
            .iter()
            .all(|report| report.names.ends_with("and 57 more")),
        "{reports:?}"
    );
    let most = most.load(Ordering::SeqCst);
    // A connection that is over may not be counted off yet when the next one comes.
    assert!((2..=32).contains(&most), "{most} at once");
}

#[tokio::test]
async fn a_certificate_that_names_no_host_is_what_everybody_gets() {
    let dir = tempfile::tempdir().unwrap();
    let mut stand = stand(dir.path(), "", 0);
    let new = stand.issue("www", &["spiffe://test/www"]);
    let other = stand.issue("www", &["spiffe://test/www"]);
    let material = stand
        .deployer
        .materials()
        .load_revision(&new.0, &new.1)
        .unwrap();
    let keys = vec![certified(&material, &material)];
    let (address, _) = serve(
        config(keys, &[&rustls::version::TLS13], None),
        Duration::ZERO,
    )
    .await;
    if let Probe::Tls { connect, .. } = &mut stand.target.probe {
        *connect = address.into();
    }
    for (revision, good) in [(&new, true), (&other, false)] {
        let rollout = stand.open(std::slice::from_ref(revision));
        assert_eq!(
            stand.step(&rollout, RolloutStep::Verify).await.is_ok(),
            good
        );
    }
}
