//! The listener for lists of revoked certificates: plain HTTP, open to anybody, and nothing else behind it.
//!
//! Whoever checks a certificate fetches the list that it names, and trusts nobody yet: most clients do not follow a point
//! that needs TLS, and one that did could need the list to check the certificate of who serves it (RFC 5280 §8). What is
//! served is signed, so nothing is lost.

use std::net::SocketAddr;
use std::sync::Arc;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Response, StatusCode, Uri};

use crate::ccm_server::server::{ServerError, Shared};
use crate::ccm_server::{dispatch, pca, text, tls};

/// Answers a request.
pub(super) async fn handle(
    request: hyper::Request<Incoming>,
    shared: Arc<Shared>,
) -> Response<Full<Bytes>> {
    let (method, path) = (request.method(), request.uri().path());
    let found = match *method {
        // Without the body of a HEAD: hyper leaves it out.
        Method::GET | Method::HEAD => pca::fetch(&shared, path).await,
        _ => None,
    };
    let response = match found {
        Some(list) => dispatch::respond(list, &text::random_hex::<16>()),
        None => {
            let mut response = Response::new(Full::default());
            *response.status_mut() = StatusCode::NOT_FOUND;
            response
        }
    };
    let status = response.status().as_u16();
    tracing::info!(%method, %path, status, "request for a list");
    dispatch::dated(response, &shared)
}

/// The URL that distribution points begin with where they do not lead to the API: what was given; or that of the listener,
/// with the host under which clients reach the server.
///
/// # Errors
/// [`ServerError::Invalid`] for what no certificate should name.
pub(super) fn base(
    given: Option<&str>,
    listener: Option<SocketAddr>,
    public_url: Option<&str>,
) -> Result<Option<String>, ServerError> {
    if let Some(url) = given {
        let parsed: Option<Uri> = url.parse().ok();
        let fits = parsed.is_some_and(|uri| {
            let host = uri.host().is_some_and(|host| !host.is_empty());
            uri.scheme_str() == Some("http") && host && uri.query().is_none()
        });
        return if fits {
            Ok(Some(url.trim_end_matches('/').to_owned()))
        } else {
            Err(ServerError::Invalid(format!(
                "{url} is no URL for lists of revoked certificates; clients fetch them by http://, without a query"
            )))
        };
    }
    let Some(address) = listener else {
        return Ok(None);
    };
    let host = match public_url.and_then(tls::host_of) {
        Some(six) if six.contains(':') => format!("[{six}]"),
        Some(host) => host,
        None if address.ip().is_unspecified() => {
            return Err(ServerError::Invalid(format!(
                "{address} is no address that certificates could name; say with --crl-url or --public-url where clients \
                 reach it"
            )));
        }
        None if address.is_ipv6() => format!("[{}]", address.ip()),
        None => address.ip().to_string(),
    };
    Ok(Some(match address.port() {
        80 => format!("http://{host}"),
        port => format!("http://{host}:{port}"),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_lead_to_what_was_given_or_to_the_listener() {
        let of = |url: Option<&str>, listener: Option<&str>, public: Option<&str>| {
            let listener = listener.map(|address| address.parse().unwrap());
            base(url, listener, public)
        };
        let told = |url, listener, public| of(url, listener, public).unwrap().unwrap();
        assert!(
            of(None, None, Some("https://ca.example"))
                .unwrap()
                .is_none()
        );
        let (port, web) = (Some("192.0.2.7:8080"), Some("[2001:db8::7]:80"));
        assert_eq!(told(None, port, None), "http://192.0.2.7:8080");
        assert_eq!(told(None, web, None), "http://[2001:db8::7]");
        let public = Some("https://ca.example:8920/x");
        assert_eq!(told(None, port, public), "http://ca.example:8080");
        assert_eq!(told(None, Some("0.0.0.0:80"), public), "http://ca.example");
        let six = Some("https://[2001:db8::1]:1");
        assert_eq!(told(None, port, six), "http://[2001:db8::1]:8080");
        let lists = Some("http://lists.example/pki/");
        assert_eq!(told(lists, port, public), "http://lists.example/pki");
        assert_eq!(told(lists, None, None), "http://lists.example/pki");
    }

    #[test]
    fn what_no_client_could_follow_is_refused() {
        let any = Some("0.0.0.0:80".parse().unwrap());
        assert!(base(None, any, None).is_err());
        for url in [
            "https://a.example",
            "http://",
            "a.example",
            "/obs",
            "http://a b",
            "http://a/?x",
        ] {
            assert!(base(Some(url), None, None).is_err(), "{url}");
        }
    }
}
