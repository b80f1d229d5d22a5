//! One handshake that records what is presented.

use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::{
    AlertDescription, ClientConfig, DigitallySignedStruct, ProtocolVersion, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, IpAddr, Ipv4Addr, ServerName, UnixTime};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;

use crate::deploy::probe::prelude::{self, Ends};
use crate::model::{Prelude, StartTls};

/// Which keys are offered to the server to sign with: one that has a certificate of each kind serves the one asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyKind {
    /// Whatever it likes best.
    Any,
    /// RSA alone.
    Rsa,
    /// ECDSA alone.
    Ecdsa,
}

/// What a server showed, with proof that it has the leaf's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// `address:port` that was spoken to.
    pub address: String,
    /// DER, leaf first, in the order in which they were sent.
    pub presented: Vec<Vec<u8>>,
    /// Such as `TLSv1.3`.
    pub protocol: String,
    /// From connect to the end of the handshake.
    pub elapsed: Duration,
}

/// Why a server showed nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProbeError {
    /// Nobody listens, or nobody can be reached.
    #[error("failed to connect to {connect}: {problem}")]
    Connect {
        /// `host:port` of the policy.
        connect: String,
        /// The system's words.
        problem: String,
    },
    /// Somebody answers, but does not come to the beginning of TLS.
    #[error("{address} does not begin TLS: {problem}")]
    Prelude {
        /// `address:port`.
        address: String,
        /// What was expected, and what came.
        problem: String,
        /// Nobody was found who speaks the protocol at all.
        foreign: bool,
    },
    /// Somebody answers, but not in TLS, or refuses the name.
    #[error("failed to shake hands with {address}: {problem}")]
    Handshake {
        /// `address:port`.
        address: String,
        /// The TLS library's words.
        problem: String,
        /// What came is no TLS, or the connection was closed at once.
        foreign: bool,
    },
    /// Nothing within the time.
    #[error("no answer from {connect} within {:.0} s{}", after.as_secs_f64(), awaited.map_or("", StartTls::silence))]
    Silent {
        /// `host:port` of the policy.
        connect: String,
        /// How long was waited.
        after: Duration,
        /// What should have come before TLS and did not; `None` in the handshake itself, or where nothing comes before.
        awaited: Option<StartTls>,
    },
}

impl ProbeError {
    /// Whether somebody answers who speaks another protocol than the policy says: as long as both stay so, nothing can be
    /// proven, whatever certificate is there.
    #[must_use]
    pub const fn is_foreign(&self) -> bool {
        match self {
            Self::Prelude { foreign, .. } | Self::Handshake { foreign, .. } => *foreign,
            Self::Silent { awaited, .. } => awaited.is_some(),
            Self::Connect { .. } => false,
        }
    }
}

/// Connects anew, sends `name` in SNI (`None`, or an address: no SNI), and returns what is presented, whatever it is.
///
/// # Errors
/// [`ProbeError`] when no certificate was presented with proof of its key.
pub async fn handshake(
    connect: &str,
    name: Option<&str>,
    keys: KeyKind,
    within: Duration,
) -> Result<Seen, ProbeError> {
    handshake_after(connect, Prelude::default(), name, keys, within).await
}

/// [`handshake`] with a server that awaits something else first.
///
/// # Errors
/// As for [`handshake`], and [`ProbeError::Prelude`] where the server does not come to TLS.
pub async fn handshake_after(
    connect: &str,
    prelude: Prelude,
    name: Option<&str>,
    keys: KeyKind,
    within: Duration,
) -> Result<Seen, ProbeError> {
    // Whoever is silent is told apart by what was awaited last.
    let passed = AtomicBool::new(false);
    timeout(within, attempt(connect, prelude, name, keys, &passed))
        .await
        .unwrap_or_else(|_| {
            Err(ProbeError::Silent {
                connect: connect.to_owned(),
                after: within,
                awaited: prelude.starttls.filter(|_| !passed.load(Ordering::Relaxed)),
            })
        })
}

async fn attempt(
    connect: &str,
    prelude: Prelude,
    name: Option<&str>,
    keys: KeyKind,
    passed: &AtomicBool,
) -> Result<Seen, ProbeError> {
    let start = Instant::now();
    let failed = |problem: String| ProbeError::Connect {
        connect: connect.to_owned(),
        problem,
    };
    let mut stream = TcpStream::connect(connect)
        .await
        .map_err(|e| failed(e.to_string()))?;
    let ends = Ends {
        ours: stream.local_addr().map_err(|e| failed(e.to_string()))?,
        theirs: stream.peer_addr().map_err(|e| failed(e.to_string()))?,
    };
    let address = ends.theirs.to_string();
    let failed = |problem: String| ProbeError::Handshake {
        address: address.clone(),
        problem,
        foreign: false,
    };
    // An address as the name means that no SNI is sent (RFC 6066 §3).
    let nameless = || ServerName::IpAddress(IpAddr::V4(Ipv4Addr::from([127, 0, 0, 1])));
    let server = match name {
        Some(name) => {
            ServerName::try_from(name.to_owned()).map_err(|e| failed(format!("{name}: {e}")))?
        }
        None => nameless(),
    };
    prelude::pass(&mut stream, ends, prelude)
        .await
        .map_err(|missed| ProbeError::Prelude {
            address: address.clone(),
            problem: missed.problem,
            // Who does not know the header takes it for the first command.
            foreign: missed.foreign || prelude.proxy_protocol.is_some(),
        })?;
    passed.store(true, Ordering::Relaxed);
    let recorder = Arc::new(Recorder::new(keys));
    let config = config(&recorder).map_err(|e| failed(e.to_string()))?;
    let result = TlsConnector::from(Arc::new(config))
        .connect(server, stream)
        .await;
    let elapsed = start.elapsed();
    let record = recorder.take();
    let protocol = match &result {
        Ok(stream) => stream.get_ref().1.protocol_version(),
        // A server that wants a certificate of ours has shown its own before it gives up on us.
        Err(_) if record.proven => record.protocol,
        Err(error) => {
            let (problem, foreign) = explained(error, prelude);
            return Err(ProbeError::Handshake {
                address,
                problem,
                foreign,
            });
        }
    };
    Ok(Seen {
        address,
        presented: record.presented,
        protocol: protocol.map_or("TLS", protocol_name).to_owned(),
        elapsed,
    })
}

/// The TLS library's words; whoever closes the connection or talks in the clear may have been waiting for something else.
fn explained(error: &std::io::Error, prelude: Prelude) -> (String, bool) {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    let other = match inner {
        Some(rustls::Error::InvalidMessage(_)) => true,
        // By who took a PROXY header for the beginning of TLS.
        Some(rustls::Error::AlertReceived(alert)) => {
            prelude.proxy_protocol.is_some() && MISREAD.contains(alert)
        }
        Some(_) => false,
        None => matches!(
            error.kind(),
            ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset
        ),
    };
    let text = match (other, prelude == Prelude::default()) {
        (true, true) => format!(
            "{error}; if the listener awaits STARTTLS or a PROXY header first, set `starttls` or `proxy_protocol`"
        ),
        (true, false) => format!("{error}; check `starttls` and `proxy_protocol`"),
        (false, _) => error.to_string(),
    };
    (text, other)
}

fn config(recorder: &Arc<Recorder>) -> Result<ClientConfig, rustls::Error> {
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&recorder.provider))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(recorder) as Arc<dyn ServerCertVerifier>)
        .with_no_client_auth();
    // A resumed session would show nothing.
    config.resumption = Resumption::disabled();
    Ok(config)
}

fn protocol_name(version: ProtocolVersion) -> &'static str {
    match version {
        ProtocolVersion::TLSv1_2 => "TLSv1.2",
        ProtocolVersion::TLSv1_3 => "TLSv1.3",
        _ => "TLS",
    }
}

/// Accepts every chain, to look at it; insists on the proof that the server has the key.
#[derive(Debug)]
struct Recorder {
    provider: Arc<CryptoProvider>,
    keys: KeyKind,
    record: Mutex<Record>,
}

#[derive(Debug, Default)]
struct Record {
    presented: Vec<Vec<u8>>,
    proven: bool,
    protocol: Option<ProtocolVersion>,
}

impl Recorder {
    fn new(keys: KeyKind) -> Self {
        Self {
            provider: Arc::new(aws_lc_rs::default_provider()),
            keys,
            record: Mutex::default(),
        }
    }

    fn with<T>(&self, change: impl FnOnce(&mut Record) -> T) -> T {
        change(&mut self.record.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn take(&self) -> Record {
        self.with(std::mem::take)
    }

    fn proven(&self, protocol: ProtocolVersion) {
        self.with(|record| {
            record.proven = true;
            record.protocol = Some(protocol);
        });
    }
}

impl ServerCertVerifier for Recorder {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let all = std::iter::once(leaf).chain(chain);
        let presented = all.map(|der| der.as_ref().to_vec()).collect();
        self.with(|record| record.presented = presented);
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        let valid = verify_tls12_signature(message, leaf, signed, algorithms)?;
        self.proven(ProtocolVersion::TLSv1_2);
        Ok(valid)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        let valid = verify_tls13_signature(message, leaf, signed, algorithms)?;
        self.proven(ProtocolVersion::TLSv1_3);
        Ok(valid)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let all = self
            .provider
            .signature_verification_algorithms
            .supported_schemes();
        let fits = |scheme: &SignatureScheme| match self.keys {
            KeyKind::Any => true,
            KeyKind::Rsa => RSA.contains(scheme),
            KeyKind::Ecdsa => ECDSA.contains(scheme),
        };
        all.into_iter().filter(fits).collect()
    }
}

const MISREAD: [AlertDescription; 4] = [
    AlertDescription::ProtocolVersion,
    AlertDescription::DecodeError,
    AlertDescription::UnexpectedMessage,
    AlertDescription::RecordOverflow,
];
const RSA: [SignatureScheme; 6] = [
    SignatureScheme::RSA_PSS_SHA256,
    SignatureScheme::RSA_PSS_SHA384,
    SignatureScheme::RSA_PSS_SHA512,
    SignatureScheme::RSA_PKCS1_SHA256,
    SignatureScheme::RSA_PKCS1_SHA384,
    SignatureScheme::RSA_PKCS1_SHA512,
];
const ECDSA: [SignatureScheme; 2] = [
    SignatureScheme::ECDSA_NISTP256_SHA256,
    SignatureScheme::ECDSA_NISTP384_SHA384,
];
