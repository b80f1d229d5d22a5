//! TLS of the listener: a certificate from files or from the server's own CA, exchanged without a restart.
//!
//! Connections that are open keep what they were made with; each new handshake takes the newest. What cannot be read or
//! made leaves the one of before in place: an old certificate is better than none.

mod own;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use aws_lc_rs::digest;
use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use crate::ccm_server::failure::Failure;
use crate::ccm_server::operation::Service;
use crate::ccm_server::server::Shared;
use crate::model::Name;
use crate::pki::Secret;
use crate::sys::error_chain;
use crate::sys::fs::{self, FsError};

/// Where the certificate comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlsSource {
    /// PEM files; looked at every few seconds.
    Files {
        /// The server's own certificate first, then those above it.
        certificate: PathBuf,
        /// The key of the first.
        key: PathBuf,
    },
    /// The issuing CA of the account `default`; renewed when a third of its life is left.
    Own {
        /// Names and addresses beside those that the server knows itself.
        names: Vec<String>,
    },
}

/// Why there is no certificate to show.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("failed to read the certificate for TLS")]
    Read(#[source] FsError),
    /// A file holds something else.
    #[error("{path} is of no use for TLS: {problem}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Something is no name.
    #[error("{0:?} is no name for a certificate; give a DNS name or an IP address")]
    Name(String),
    /// There is nobody to issue it.
    #[error(
        "there is no issuing CA for the server's own certificate; make one with `renewd-ccm ca init`"
    )]
    NoIssuer,
    /// The CA refused.
    #[error("the server's own CA made no certificate for TLS: {0}")]
    Own(String),
    /// The state cannot be read.
    #[error("failed to read or write the state")]
    State(#[from] sqlx::Error),
}

impl From<Failure> for TlsError {
    fn from(failure: Failure) -> Self {
        let code = failure.code(Service::Pca);
        let detail = failure.detail().unwrap_or(code.message);
        Self::Own(format!("{}: {detail}", code.name))
    }
}

/// The TLS side of one listener.
pub(super) struct Tls {
    source: TlsSource,
    /// Those of the server's own certificate.
    names: Vec<Name>,
    shown: Arc<Shown>,
    acceptor: TlsAcceptor,
}

/// What handshakes show.
#[derive(Debug)]
struct Shown(RwLock<Current>);

#[derive(Debug)]
struct Current {
    key: Arc<CertifiedKey>,
    /// Tells this one from the next: a digest of the files, or the id of the certificate.
    mark: Vec<u8>,
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.read().key))
    }
}

impl Shown {
    fn read(&self) -> std::sync::RwLockReadGuard<'_, Current> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tls {
    /// Reads or makes the first certificate; without one nothing is served.
    pub(super) async fn open(
        source: TlsSource,
        mut names: Vec<Name>,
        shared: &Arc<Shared>,
    ) -> Result<Self, TlsError> {
        if let TlsSource::Own { names: more } = &source {
            for text in more {
                let Ok(name @ (Name::Dns(_) | Name::Ip(_))) = Name::parse(text) else {
                    return Err(TlsError::Name(text.clone()));
                };
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        }
        let first = newest(&source, &names, shared, None).await?;
        let Some(first) = first else {
            return Err(TlsError::NoIssuer);
        };
        let shown = Arc::new(Shown(RwLock::new(first)));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError::Own(error.to_string()))?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&shown) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            source,
            names,
            shown,
            acceptor: TlsAcceptor::from(Arc::new(config)),
        })
    }

    /// The handshake with one client.
    pub(super) async fn accept(&self, stream: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
        self.acceptor.accept(stream).await
    }

    /// Takes another certificate if the files changed, or if the own one is near its end.
    pub(super) async fn refresh(&self, shared: &Arc<Shared>) -> Result<(), TlsError> {
        let mark = self.shown.read().mark.clone();
        if let Some(next) = newest(&self.source, &self.names, shared, Some(&mark)).await? {
            *self.shown.0.write().unwrap_or_else(PoisonError::into_inner) = next;
            tracing::info!("new connections are shown another certificate");
        }
        Ok(())
    }

    /// Refreshes until `stop`. The same problem is logged once.
    pub(super) async fn keep(self: Arc<Self>, shared: Arc<Shared>, stop: CancellationToken) {
        let mut told = String::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(BETWEEN_LOOKS) => {}
            }
            let problem = match self.refresh(&shared).await {
                Ok(()) => String::new(),
                Err(error) => error_chain(&error).to_string(),
            };
            if !problem.is_empty() && problem != told {
                let error = &problem;
                tracing::error!(error, "the certificate for TLS stays as it is");
            }
            told = problem;
        }
    }
}

/// What to show from now on; `None` when that is what `mark` stands for.
async fn newest(
    source: &TlsSource,
    names: &[Name],
    shared: &Arc<Shared>,
    mark: Option<&[u8]>,
) -> Result<Option<Current>, TlsError> {
    match source {
        TlsSource::Files { certificate, key } => from_files(certificate, key, mark),
        TlsSource::Own { .. } => own::newest(shared, names, mark).await,
    }
}

fn from_files(
    certificate: &Path,
    key: &Path,
    mark: Option<&[u8]>,
) -> Result<Option<Current>, TlsError> {
    let chain = fs::read(certificate, FILE_LIMIT).map_err(TlsError::Read)?;
    let secret = Secret::new(fs::read(key, FILE_LIMIT).map_err(TlsError::Read)?);
    let mut both = digest::Context::new(&digest::SHA256);
    both.update(&chain);
    both.update(&[0]);
    both.update(secret.expose());
    let found = both.finish().as_ref().to_vec();
    if mark == Some(found.as_slice()) {
        return Ok(None);
    }
    let problem = |path: &Path, problem: String| TlsError::File {
        path: path.to_owned(),
        problem,
    };
    let certified = certified(&chain, &secret).map_err(|error| match error {
        Unusable::Chain(text) => problem(certificate, text),
        Unusable::Key(text) => problem(key, text),
    })?;
    Ok(Some(Current {
        key: certified,
        mark: found,
    }))
}

enum Unusable {
    Chain(String),
    Key(String),
}

/// Key and certificates, which must belong together.
fn certified(chain: &[u8], key: &Secret) -> Result<Arc<CertifiedKey>, Unusable> {
    let chain: Result<Vec<CertificateDer<'static>>, _> =
        CertificateDer::pem_slice_iter(chain).collect();
    let chain = chain.map_err(|error| Unusable::Chain(error.to_string()))?;
    if chain.is_empty() {
        return Err(Unusable::Chain("there is no certificate in it".to_owned()));
    }
    let key = PrivateKeyDer::from_pem_slice(key.expose())
        .map_err(|error| Unusable::Key(error.to_string()))?;
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    CertifiedKey::from_der(chain, key, &provider)
        .map(Arc::new)
        .map_err(|error| Unusable::Key(error.to_string()))
}

/// What clients may call this server: its loopback names, its host name, the address it listens at, and its public URL.
pub(super) fn names(listen: IpAddr, public_url: Option<&str>) -> Vec<Name> {
    let host = crate::sys::host::name();
    let public = public_url.and_then(host_of);
    let mut texts = vec!["localhost".to_owned()];
    texts.extend(host);
    texts.extend(public);
    texts.extend(["127.0.0.1".to_owned(), "::1".to_owned()]);
    if !listen.is_unspecified() {
        texts.push(listen.to_string());
    }
    let mut names = Vec::new();
    for text in texts {
        // A host name may be anything; what is no DNS name is left out.
        if let Ok(name @ (Name::Dns(_) | Name::Ip(_))) = Name::parse(&text)
            && !names.contains(&name)
        {
            names.push(name);
        }
    }
    names
}

/// The host of a URL, without port and brackets.
pub(super) fn host_of(url: &str) -> Option<String> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit('@').next()?;
    let host = match host.strip_prefix('[') {
        Some(six) => six.split(']').next()?,
        None => host.split(':').next()?,
    };
    Some(host.to_owned())
}

/// Certificates and keys are small.
const FILE_LIMIT: u64 = 1024 * 1024;
/// Files are compared as often; a look costs two small reads.
const BETWEEN_LOOKS: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_a_server_are_its_own_and_those_of_its_url() {
        let told = |listen: &str, url: Option<&str>| -> Vec<String> {
            let listen: IpAddr = listen.parse().unwrap();
            names(listen, url).iter().map(ToString::to_string).collect()
        };
        let plain = told("0.0.0.0", None);
        assert!(plain.contains(&"localhost".to_owned()));
        assert!(plain.contains(&"127.0.0.1".to_owned()));
        assert!(!plain.contains(&"0.0.0.0".to_owned()));
        let with = told("192.0.2.7", Some("https://ca.example.com:8443/x"));
        assert!(with.contains(&"192.0.2.7".to_owned()));
        assert!(with.contains(&"ca.example.com".to_owned()));
        assert_eq!(
            host_of("https://[2001:db8::1]:1/"),
            Some("2001:db8::1".to_owned())
        );
        assert_eq!(host_of("http://u@h/"), Some("h".to_owned()));
    }
}
