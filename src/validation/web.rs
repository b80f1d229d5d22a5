//! Whether a file is seen from where a CA looks: by plain HTTP at each address of the domain.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use reqwest::redirect::Policy;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::model::{DomainProof, ValidationPolicy};
use crate::sys::error_chain;
use crate::validation::ValidationError;
use crate::validation::dns::Resolvers;
use crate::validation::sighting::{Gap, Lack};

/// What is missing of a file; nothing where every address shows it.
pub(super) async fn file(
    policy: &ValidationPolicy,
    proof: &DomainProof,
) -> Result<Vec<Gap>, ValidationError> {
    let domain = proof.domain.strip_prefix("*.").unwrap_or(&proof.domain);
    let place = proof.place.trim_start_matches('/');
    let port = policy.ports.http;
    let (addresses, host) = match domain.parse::<IpAddr>() {
        Ok(address @ IpAddr::V4(_)) => (vec![address], domain.to_owned()),
        Ok(address @ IpAddr::V6(_)) => (vec![address], format!("[{domain}]")),
        Err(_) => (
            Resolvers::of(policy)?.addresses(domain).await?,
            domain.to_owned(),
        ),
    };
    let shown_port = if port == 80 {
        String::new()
    } else {
        format!(":{port}")
    };
    let url = format!("http://{host}{shown_port}/{place}");
    let gap = |server: &str, lack| Gap {
        place: url.clone(),
        server: server.to_owned(),
        lack,
    };
    if addresses.is_empty() {
        let why = format!("{domain} has no address in DNS");
        return Ok(vec![gap("", Lack::NoZone(why))]);
    }
    let mut gaps = Vec::new();
    let mut reached = false;
    let mut unreached = Vec::new();
    for address in addresses {
        let at = SocketAddr::new(address, port);
        let who = address.to_string();
        match get(&url, domain, at).await {
            Ok(content) => {
                reached = true;
                if content.trim() != proof.value.trim() {
                    gaps.push(gap(&who, Lack::Other(vec![content])));
                }
            }
            Err(Failed::Status(404)) => {
                reached = true;
                gaps.push(gap(&who, Lack::Absent));
            }
            Err(Failed::Status(status)) => {
                reached = true;
                gaps.push(gap(&who, Lack::Refused(format!("HTTP {status}"))));
            }
            Err(Failed::Away(why)) => unreached.push(gap(&who, Lack::Silent(why))),
        }
    }
    // This host may lack IPv6, or the way to it: one kind of address that answers is enough.
    if !reached {
        gaps.extend(unreached);
    }
    Ok(gaps)
}

enum Failed {
    Status(u16),
    Away(String),
}

async fn get(url: &str, domain: &str, at: SocketAddr) -> Result<String, Failed> {
    let away = |error: reqwest::Error| Failed::Away(error_chain(&error.without_url()));
    let tls = any_certificate().map_err(|error| Failed::Away(error.to_string()))?;
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .no_proxy()
        .redirect(Policy::limited(MOST_REDIRECTS))
        .resolve_to_addrs(domain, &[at])
        .timeout(WAIT)
        .user_agent(concat!("renewd/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(away)?;
    let mut response = client.get(url).send().await.map_err(away)?;
    if response.status() != reqwest::StatusCode::OK {
        return Err(Failed::Status(response.status().as_u16()));
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(away)? {
        body.extend_from_slice(&chunk);
        if body.len() > LARGEST {
            break;
        }
    }
    body.truncate(LARGEST);
    Ok(String::from_utf8_lossy(&body).into_owned())
}

/// CAs follow a redirection to HTTPS whatever certificate is there: a domain that is about to get its first one, or whose
/// last one ended, has no better. What is compared is the content, which is no secret.
fn any_certificate() -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let any = Arc::new(Any(Arc::clone(&provider)));
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(any)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Takes any certificate; whoever shows it must have its key all the same.
#[derive(Debug)]
struct Any(Arc<CryptoProvider>);

impl ServerCertVerifier for Any {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// One after the other.
const MOST_REDIRECTS: usize = 5;
/// For one address, redirections included.
const WAIT: Duration = Duration::from_secs(10);
/// Bytes of a proof that are looked at.
const LARGEST: usize = 4096;
