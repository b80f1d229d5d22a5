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

use crate::ccm_server::seen::Seen;
use crate::ccm_server::server::{ServerError, Shared};
use crate::ccm_server::{dispatch, pca, text, tls};
use crate::model::Name;

/// Answers a request.
pub(super) async fn handle(
    request: hyper::Request<Incoming>,
    shared: Arc<Shared>,
) -> Response<Full<Bytes>> {
    let (method, path) = (request.method(), request.uri().path());
    let request_id = text::random_hex::<16>();
    let found = match *method {
        // Without the body of a HEAD: hyper leaves it out.
        Method::GET | Method::HEAD => pca::fetch(&shared, path).await,
        _ => Ok(None),
    };
    let response = match found {
        Ok(Some(list)) => dispatch::respond(list, &request_id),
        Ok(None) => empty(StatusCode::NOT_FOUND),
        // Logged where it failed. Whoever checks a certificate must not take it for the absence of a list.
        Err(_) => empty(StatusCode::INTERNAL_SERVER_ERROR),
    };
    let status = response.status().as_u16();
    tracing::info!(%request_id, %method, %path, status, "request for a list");
    shared.log.add(Seen {
        operation: pca::operation_of(path).to_owned(),
        status,
        request_id,
        fault: None,
    });
    dispatch::dated(response, &shared)
}

fn empty(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}

/// The URL that distribution points begin with where they do not lead to the API: what was given; or that of the listener,
/// with the host under which clients reach the server.
///
/// # Errors
/// [`ServerError::Invalid`] for what no certificate should name, the public URL included.
pub(super) fn base(
    given: Option<&str>,
    listener: Option<SocketAddr>,
    public_url: Option<&str>,
) -> Result<Option<String>, ServerError> {
    if let Some(url) = public_url {
        let what =
            "an address under which clients reach this server, such as https://ca.example.com:8920";
        check("--public-url", url, &["https", "http"], what)?;
    }
    if let Some(url) = given {
        let what = "an address under which clients fetch lists of revoked certificates by plain HTTP, such as \
                    http://lists.example.com";
        check("--crl-url", url, &["http"], what)?;
        return Ok(Some(url.trim_end_matches('/').to_owned()));
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

/// What certificates may name: the URL is not repeated in the refusal where it may hold a password.
fn check(option: &str, url: &str, schemes: &[&str], what: &str) -> Result<(), ServerError> {
    let parsed: Option<Uri> = url.parse().ok();
    let fits = parsed.is_some_and(|uri| {
        let scheme = uri
            .scheme_str()
            .is_some_and(|scheme| schemes.contains(&scheme));
        let host = uri.host().is_some_and(|host| !host.is_empty());
        scheme && host && uri.query().is_none()
    });
    if fits && !url.contains(['@', '#']) {
        return Ok(());
    }
    let shown = if url.contains('@') { "" } else { url };
    Err(ServerError::Invalid(format!(
        "{option} {shown} does not fit: write {what}, without a user, a query or a fragment"
    )))
}

/// The same where nothing was said: the address of the API; or where that stands for all of this host's, the host's name.
pub(super) fn of_api(scheme: &str, address: SocketAddr, host: Option<&str>) -> String {
    let host = host.filter(|host| match Name::parse(host) {
        Ok(Name::Dns(name)) => name != "localhost",
        _ => false,
    });
    match host {
        Some(host) if address.ip().is_unspecified() => {
            format!("{scheme}://{host}:{}", address.port())
        }
        _ => format!("{scheme}://{address}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_nothing_was_said_the_host_s_name_stands_for_any_address() {
        let of = |address: &str, host| of_api("https", address.parse().unwrap(), host);
        let host = Some("ca.example.com");
        assert_eq!(of("0.0.0.0:89", host), "https://ca.example.com:89");
        assert_eq!(of("[::]:89", host), "https://ca.example.com:89");
        assert_eq!(of("192.0.2.7:89", host), "https://192.0.2.7:89");
        for useless in [None, Some("localhost"), Some("a b"), Some("127.0.0.1")] {
            assert_eq!(of("0.0.0.0:89", useless), "https://0.0.0.0:89");
        }
    }

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
        let said = |given, public| match base(given, None, public) {
            Err(error) => error.to_string(),
            Ok(base) => panic!("{base:?}"),
        };
        for url in [
            "https://a.example",
            "http://",
            "a.example",
            "/obs",
            "http://a b",
            "http://a/?x",
            "http://a/#x",
        ] {
            let said = said(Some(url), None);
            assert!(said.contains(&format!("--crl-url {url} ")), "{said}");
        }
        for url in [
            "ca.example.com",
            "ca.example.com:8920",
            "ldap://ca.example.com",
            "https://",
            "/",
            "https://a/?x",
        ] {
            let said = said(None, Some(url));
            assert!(said.contains(&format!("--public-url {url} ")), "{said}");
        }
        // Also where the other one decides.
        assert!(base(Some("http://a.example"), None, Some("a.example")).is_err());
        for url in ["http://user:hidden@a.example", "http://hidden@a.example/x"] {
            for said in [said(Some(url), None), said(None, Some(url))] {
                assert!(
                    !said.contains("hidden") && said.contains("without a user"),
                    "{said}"
                );
            }
        }
    }
}
