//! The way of a request up to its handler, as plain functions of bytes: for the fuzz target in `fuzz/` and for the test
//! that runs the same on seeds.
//!
//! Everything that reads what a stranger sends is on this way: the parser of HTTP, path, query, headers, signature, body,
//! and the PEM and DER in it. Sockets, the state and the clock are not.

use std::cell::RefCell;
use std::convert::Infallible;
use std::pin::pin;
use std::task::{Context, Waker};

use http_body_util::Full;
use hyper::Response;
use hyper::body::{Bytes, Incoming};
use hyper::http::request::Parts;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Map, Value};

use crate::ccm_server::operation::{Operation, Payload};
use crate::ccm_server::route;
use crate::ccm_server::signature::{self, Authorization, Signed};
use crate::ccm_server::x509::{self, LineEnd, Sm2Key};
use crate::ccm_server::{dispatch, field, http, pca, scm};
use crate::model::Timestamp;
use crate::pki::{PrivateKey, Secret};

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// It is no HTTP.
    Malformed,
    /// There is no such operation.
    Unknown,
    /// Its signature is missing, malformed or wrong.
    Unsigned,
    /// A field is not within its limits.
    Refused,
    /// A handler would have been called.
    Accepted,
}

/// Reads `bytes` as a request (request line, headers, an empty line, body; lines end in LF, with or without CR) that must
/// be signed with `secret_key`, at the time that it claims itself. The body is all that follows, whatever its length is
/// said to be.
#[must_use]
pub fn request(bytes: &[u8], secret_key: &[u8]) -> Outcome {
    let (head, body) = split(bytes);
    let Some(parts) = parse(head) else {
        return Outcome::Malformed;
    };
    let (method, path) = (parts.method.as_str(), parts.uri.path());
    let query = parts.uri.query().unwrap_or_default();
    // An unknown path is looked for in the buckets, by its text alone.
    let _ = pca::is_bucket(path.trim_start_matches('/'));
    let Some(found) = route::find(method, path) else {
        return Outcome::Unknown;
    };
    let headers = dispatch::lines(&parts.headers);
    let signed = Signed {
        method,
        path,
        query,
        headers: &headers,
        body,
    };
    let good = is_signed(&signed, secret_key);
    // Fields are read in any case, so that a fuzzer reaches them without a key.
    let within = fields(found.operation, &found.parameters, query, body);
    match (good, within) {
        (false, _) => Outcome::Unsigned,
        (true, false) => Outcome::Refused,
        (true, true) => Outcome::Accepted,
    }
}

/// Holds the body of a request against the fields of every operation there is, and reads what is PEM in it, or DER where
/// it is no JSON. Says how many operations would take it.
///
/// # Errors
/// The chapter of an operation that changes or refuses what it took, when it is given that again.
pub fn contents(bytes: &[u8]) -> Result<usize, &'static str> {
    let (_, body) = split(bytes);
    let Ok(json) = serde_json::from_slice(body) else {
        encodings(body);
        return Ok(0);
    };
    texts(&json);
    let Value::Object(given) = json else {
        return Ok(0);
    };
    let mut taken = 0;
    for operation in route::operations() {
        let Payload::Json(fields) = operation.body else {
            continue;
        };
        let otherwise = operation.service.bad_parameter();
        let Ok(once) = field::check(fields, &given, otherwise) else {
            continue;
        };
        match field::check(fields, once.all(), otherwise) {
            Ok(twice) if twice.all() == once.all() => taken += 1,
            _ => return Err(operation.chapter),
        }
    }
    Ok(taken)
}

/// Head and body.
fn split(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = |mark: &[u8]| {
        let at = bytes.windows(mark.len()).position(|part| part == mark)?;
        Some((at, at + mark.len()))
    };
    match (end(b"\n\n"), end(b"\n\r\n")) {
        (Some(short), Some(long)) => {
            let (head, body) = short.min(long);
            (&bytes[..head], &bytes[body..])
        }
        (Some((head, body)), None) | (None, Some((head, body))) => (&bytes[..head], &bytes[body..]),
        (None, None) => (bytes, &[]),
    }
}

/// Reads a head as the listener does, by the same parser with the same limits.
fn parse(head: &[u8]) -> Option<Parts> {
    let read = [head, b"\n\n"].concat();
    let parts = RefCell::new(None);
    let service = service_fn(|request: hyper::Request<Incoming>| {
        parts.borrow_mut().get_or_insert(request.into_parts().0);
        std::future::ready(Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())))
    });
    let stream = tokio::io::join(read.as_slice(), tokio::io::sink());
    {
        let connection = http::protocol().serve_connection(TokioIo::new(stream), service);
        let mut connection = pin!(connection);
        let mut context = Context::from_waker(Waker::noop());
        // All is there from the start, so nothing is ever waited for.
        for _ in 0..TURNS {
            if connection.as_mut().poll(&mut context).is_ready() || parts.borrow().is_some() {
                break;
            }
        }
    }
    parts.into_inner()
}

fn is_signed(request: &Signed<'_>, secret_key: &[u8]) -> bool {
    let header = |name: &str| {
        let mut headers = request.headers.iter();
        headers
            .find(|(have, _)| have == name)
            .map(|(_, value)| value.as_str())
    };
    let now = header("x-sdk-date").and_then(signature::parse_date);
    let now = now.unwrap_or(Timestamp(0));
    let Some(authorization) = header("authorization") else {
        return false;
    };
    match Authorization::parse(authorization) {
        Ok(authorization) => authorization.verify(request, secret_key, now).is_ok(),
        Err(_) => false,
    }
}

fn fields(
    operation: &Operation,
    parameters: &Map<String, Value>,
    query: &str,
    body: &[u8],
) -> bool {
    let otherwise = operation.service.bad_parameter();
    let path = field::check(operation.path_fields, parameters, otherwise).is_ok();
    let query = field::check(operation.query, &dispatch::given(query), otherwise).is_ok();
    let body = dispatch::parse(operation, body).is_ok();
    path && query && body
}

/// Every text of a body as what it may be.
fn texts(value: &Value) {
    match value {
        Value::String(text) if text.contains("-----BEGIN") => pem(text, text, text),
        Value::Object(fields) => {
            let text = |name: &str| fields.get(name).and_then(Value::as_str);
            if let (Some(certificate), Some(key)) = (text("certificate"), text("private_key")) {
                pem(
                    certificate,
                    text("certificate_chain").unwrap_or_default(),
                    key,
                );
            }
            fields.values().for_each(texts);
        }
        Value::Array(items) => items.iter().for_each(texts),
        _ => {}
    }
}

/// The bytes as the inside of every kind of PEM, so that a fuzzer need not find its way through Base64.
fn encodings(der: &[u8]) {
    for label in LABELS {
        let text = x509::encode(label, der, LineEnd::Lf);
        pem(&text, "", &text);
    }
}

fn pem(text: &str, chain: &str, key: &str) {
    let _ = x509::Request::parse(text);
    let _ = x509::Request::parse_for_scm(text);
    let _ = scm::parse_csr(text);
    if let Some(key) = Sm2Key::from_pem(key) {
        let _ = (key.spki(), key.pkcs8());
    }
    if let Ok(key) = PrivateKey::from_pem(key.as_bytes()) {
        let _ = key.to_pem();
    }
    for certificate in x509::certificates(text).unwrap_or_default() {
        let _ = x509::facts(&certificate);
        let _ = x509::signed_by(&certificate, &certificate);
    }
    let _ = scm::check_upload(text, chain, &Secret::from(key.to_owned()));
}

/// What a stranger may put between BEGIN and END.
const LABELS: [&str; 5] = [
    "CERTIFICATE REQUEST",
    "CERTIFICATE",
    "PRIVATE KEY",
    "EC PRIVATE KEY",
    "RSA PRIVATE KEY",
];
/// Far more than a head takes.
const TURNS: usize = 16;
