//! One HTTP endpoint: TLS, time-outs, the size bound, and what a failed exchange says about the effect.
//!
//! HTTP/1.1 only, as Huawei's SDK speaks it: one exchange at a time on a connection, so that a broken connection leaves
//! no doubt about other calls.

use std::error::Error;
use std::io;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use reqwest::Url;
use reqwest::header::HeaderMap;
use rustls::CertificateError;
use rustls::ClientConfig;
use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tokio::time::Instant;
use zeroize::Zeroizing;

use crate::ccm::Answer;
use crate::ccm::answer::Reply;
use crate::ccm::error::{CcmError, Class, Effect, Operation};

/// A base URL with everything needed to speak to it.
pub(crate) struct Endpoint {
    http: reqwest::Client,
    /// Without a final slash.
    base: String,
    host: String,
}

impl Endpoint {
    /// Checks the URL and the roots; sends nothing. `roots` is PEM; without it the system's roots are taken.
    pub(crate) fn new(url: &str, roots: Option<&[u8]>, connect_timeout: Duration) -> Answer<Self> {
        Self::build(url, roots, connect_timeout, false)
    }

    /// The metadata service of an ECS: plain HTTP to a link-local address too, since nobody else can be there, and never
    /// by a proxy, which would see the keys.
    pub(crate) fn metadata(url: &str, connect_timeout: Duration) -> Answer<Self> {
        Self::build(url, None, connect_timeout, true)
    }

    fn build(
        url: &str,
        roots: Option<&[u8]>,
        connect_timeout: Duration,
        metadata: bool,
    ) -> Answer<Self> {
        let setup = |message: String| Box::new(CcmError::setup(message));
        let parsed =
            Url::parse(url).map_err(|error| setup(format!("endpoint {url:?}: {error}")))?;
        let host = parsed.host_str().unwrap_or("").to_owned();
        if host.is_empty() || !matches!(parsed.scheme(), "http" | "https") {
            return Err(setup(format!(
                "endpoint {url:?}: write https:// and a host name"
            )));
        }
        let extra = !parsed.username().is_empty()
            || parsed.password().is_some()
            || parsed.query().is_some()
            || parsed.fragment().is_some()
            || parsed.path() != "/";
        if extra {
            // The URL is not repeated: it may hold a password.
            return Err(setup(format!(
                "endpoint at {host}: write only scheme, host and port"
            )));
        }
        let plain = parsed.scheme() == "http";
        let loopback = is_loopback(&host) || metadata && is_link_local(&host);
        if plain && !loopback {
            return Err(setup(format!(
                "endpoint {url:?}: credentials are sent over http only to this very host (a loopback address); use https://"
            )));
        }
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls(roots, plain)?)
            .http1_only()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(connect_timeout)
            .pool_idle_timeout(IDLE);
        if loopback {
            // A proxy would be another host, and `localhost` must not be what some name server says.
            builder = builder.no_proxy().resolve_to_addrs(
                "localhost",
                &[
                    SocketAddr::from(([127, 0, 0, 1], 0)),
                    SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], 0)),
                ],
            );
        }
        let http = builder
            .build()
            .map_err(|error| setup(format!("endpoint {url:?}: {}", reasons(&error))))?;
        Ok(Self {
            http,
            base: parsed.as_str().trim_end_matches('/').to_owned(),
            host: match parsed.port() {
                Some(port) => format!("{host}:{port}"),
                None => host,
            },
        })
    }

    /// `host`, or `host:port` where the port is not the scheme's own: the `Host` header that is sent and signed.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// One exchange. An answer of any status is `Ok`; an error says whether the request may have had its effect.
    pub(crate) async fn exchange(
        &self,
        operation: &Operation,
        query: &str,
        headers: HeaderMap,
        body: Option<Vec<u8>>,
        deadline: Instant,
    ) -> Answer<Reply> {
        let begun = Instant::now();
        let error = |class, effect, message: String| {
            Box::new(CcmError::call(
                operation, &self.host, class, effect, message,
            ))
        };
        let mut url = format!("{}{}", self.base, operation.path);
        if !query.is_empty() {
            url.push('?');
            url.push_str(query);
        }
        let method = Method::from_bytes(operation.method.as_bytes())
            .map_err(|_| error(Class::Bug, Effect::None, "no such method".to_owned()))?;
        let mut request = self.http.request(method, url).headers(headers);
        if let Some(body) = body {
            request = request.body(body);
        }
        let outcome = tokio::time::timeout_at(deadline, async {
            let mut response = request.send().await.map_err(Failure::Exchange)?;
            let body = read(&mut response).await?;
            Ok(Reply::new(&response, body))
        })
        .await;
        match outcome {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(Failure::TooLarge)) => Err(error(
                Class::Transient,
                Effect::Unknown,
                format!(
                    "the answer is larger than {} MiB",
                    LARGEST_ANSWER / (1024 * 1024)
                ),
            )),
            Ok(Err(Failure::Exchange(cause))) => {
                let (class, effect, message) = judge(cause);
                Err(error(class, effect, message))
            }
            Err(_) => Err(error(
                Class::Transient,
                Effect::Unknown,
                format!(
                    "no complete answer within {} s",
                    begun.elapsed().as_secs_f32().round()
                ),
            )),
        }
    }
}

enum Failure {
    Exchange(reqwest::Error),
    TooLarge,
}

/// Reads the answer up to [`LARGEST_ANSWER`]; it may hold a private key, hence zeroised.
async fn read(response: &mut reqwest::Response) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let announced = response.content_length().unwrap_or(0);
    if announced > LARGEST_ANSWER as u64 {
        return Err(Failure::TooLarge);
    }
    // Reserved once where the length is known: a growing vector would leave copies behind.
    let announced = usize::try_from(announced).unwrap_or(0);
    let mut body = Zeroizing::new(Vec::with_capacity(announced.max(16 * 1024)));
    while let Some(chunk) = response.chunk().await.map_err(Failure::Exchange)? {
        if body.len() + chunk.len() > LARGEST_ANSWER {
            return Err(Failure::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// What a failed exchange means.
fn judge(cause: reqwest::Error) -> (Class, Effect, String) {
    let cause = cause.without_url();
    if cause.is_builder() {
        return (
            Class::Bug,
            Effect::None,
            format!("the request cannot be built: {}", reasons(&cause)),
        );
    }
    // Refused, no such host, no TLS, no connection in time: nothing of the request has left this host.
    if cause.is_connect() {
        if let Some(message) = tls_refusal(&cause) {
            return (Class::Configuration, Effect::None, message);
        }
        return (
            Class::Transient,
            Effect::None,
            format!("no connection: {}", reasons(&cause)),
        );
    }
    (
        Class::Transient,
        Effect::Unknown,
        format!("the connection broke: {}", reasons(&cause)),
    )
}

/// The verifier's own words and what to do, if it was the server's certificate that failed the handshake.
fn tls_refusal(error: &(dyn Error + 'static)) -> Option<String> {
    let mut next: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(tls @ rustls::Error::InvalidCertificate(reason)) = error.downcast_ref() {
            let advice = match reason {
                CertificateError::NotValidForName
                | CertificateError::NotValidForNameContext { .. } => {
                    "check the host name of the endpoint"
                }
                CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. } => "check the clock of this host",
                _ => "set `roots` to the file of its CA",
            };
            return Some(format!(
                "the server's certificate is not accepted ({tls}); {advice}"
            ));
        }
        // `source` of an I/O error passes over the error that it wraps, and TLS errors come wrapped more than once.
        let wrapped = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        next = match wrapped {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        };
    }
    None
}

/// The causes from the outermost to the innermost; what only repeats the next one is left out.
fn reasons(error: &dyn Error) -> String {
    let mut texts: Vec<String> = Vec::new();
    let mut next = error.source().or(Some(error));
    while let Some(error) = next {
        let text = error.to_string();
        // The connector's own layer says only which phase it was, which our message says already.
        if text.starts_with("client error (") && error.source().is_some() {
            next = error.source();
            continue;
        }
        if let Some(last) = texts.last_mut()
            && last.contains(&text)
        {
            *last = text;
        } else {
            texts.push(text);
        }
        next = error.source();
    }
    texts.join(": ")
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// An address that no router passes on (RFC 3927).
fn is_link_local(host: &str) -> bool {
    let ip = host.parse::<std::net::Ipv4Addr>();
    ip.is_ok_and(|ip| ip.is_link_local())
}

/// TLS with our provider and HTTP/1.1 only. An endpoint without TLS needs no roots, and loading the system's takes time.
fn tls(roots: Option<&[u8]>, plain: bool) -> Answer<ClientConfig> {
    let setup = |message: String| Box::new(CcmError::setup(message));
    let mut store = RootCertStore::empty();
    if let Some(pem) = roots {
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|error| setup(format!("roots file: {error}")))?;
            store
                .add(certificate)
                .map_err(|error| setup(format!("roots file: {error}")))?;
        }
        if store.is_empty() {
            return Err(setup("roots file: holds no certificate".to_owned()));
        }
    } else if !plain {
        store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if store.is_empty() {
            return Err(setup(
                "the system has no trusted roots; install ca-certificates or set `roots`"
                    .to_owned(),
            ));
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| setup(format!("TLS: {error}")))?
        .with_root_certificates(store)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Bytes of an answer: a page of 1000 certificates has about 700 KiB, a chain at most 2 MiB (4.2.1.10).
const LARGEST_ANSWER: usize = 16 * 1024 * 1024;

/// Shorter than the minute after which gateways close idle connections, so that a call seldom meets a closing one.
const IDLE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(url: &str) -> String {
        let made = Endpoint::new(url, None, Duration::from_secs(1));
        let error = made.map(|_| ()).unwrap_err();
        assert_eq!(error.class, Class::Configuration);
        assert_eq!(error.effect, Effect::None);
        error.to_string()
    }

    #[test]
    fn plain_http_is_spoken_to_this_host_only() {
        for url in [
            "http://127.0.0.1:8080",
            "http://[::1]:8080/",
            "http://localhost",
            "http://127.9.9.9",
        ] {
            assert!(Endpoint::new(url, None, Duration::from_secs(1)).is_ok());
        }
        for url in [
            "http://ccm.example.com",
            "http://10.0.0.1",
            "http://localhost.example.com",
            "http://[::2]",
        ] {
            assert!(refused(url).contains("use https://"), "{url}");
        }
    }

    #[test]
    fn metadata_is_asked_for_at_a_link_local_address_only() {
        let made = |url| Endpoint::metadata(url, Duration::from_secs(1)).is_ok();
        assert!(made("http://169.254.169.254") && made("http://127.0.0.1:80"));
        assert!(!made("http://10.0.0.1") && !made("http://metadata.example"));
        assert!(refused("http://169.254.169.254").contains("use https://"));
    }

    #[test]
    fn an_endpoint_is_scheme_host_and_port() {
        assert!(refused("ftp://ccm.example.com").contains("write https://"));
        assert!(refused("ccm.example.com").contains("endpoint"));
        assert!(refused("https://ccm.example.com/v1").contains("only scheme, host and port"));
        let text = refused("https://user:geheim@ccm.example.com");
        assert!(!text.contains("geheim"), "{text}");
    }

    #[test]
    fn the_host_header_has_the_port_only_where_it_is_special() {
        let host = |url| {
            Endpoint::new(url, None, Duration::from_secs(1))
                .unwrap()
                .host()
                .to_owned()
        };
        assert_eq!(host("http://127.0.0.1:80"), "127.0.0.1");
        assert_eq!(host("http://127.0.0.1:8080"), "127.0.0.1:8080");
        assert_eq!(host("http://[::1]:8080"), "[::1]:8080");
    }

    #[test]
    fn a_roots_file_without_certificates_is_refused() {
        let made = Endpoint::new("https://a.example", Some(b"x"), Duration::from_secs(1));
        let text = made.map(|_| ()).unwrap_err().to_string();
        assert!(text.contains("holds no certificate"), "{text}");
    }
}
