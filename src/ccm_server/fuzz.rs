//! The way of a request up to its handler, as a plain function of bytes: for the fuzz target in `fuzz/` and for the test
//! that runs the same on seeds.
//!
//! Everything that reads what a stranger sends is on this way: path, query, headers, signature, body, and the PEM texts in
//! it. Sockets, the state and the clock are not.

use serde_json::{Map, Value};

use crate::ccm_server::field;
use crate::ccm_server::operation::{Operation, Payload};
use crate::ccm_server::pca;
use crate::ccm_server::route;
use crate::ccm_server::signature::{self, Authorization, Signed};
use crate::ccm_server::x509;
use crate::model::Timestamp;

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
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
/// be signed with `secret_key`, at the time that it claims itself.
#[must_use]
pub fn request(bytes: &[u8], secret_key: &[u8]) -> Outcome {
    let (head, body) = split(bytes);
    let head = String::from_utf8_lossy(head);
    let mut lines = head.lines();
    let mut words = lines.next().unwrap_or_default().split(' ');
    let method = words.next().unwrap_or_default();
    let target = words.next().unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    // An unknown path is looked for in the buckets, by its text alone.
    let _ = pca::is_bucket(path.trim_start_matches('/'));
    let Some(found) = route::find(method, path) else {
        return Outcome::Unknown;
    };
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
    let mut given = Map::new();
    for (name, value) in signature::pairs(query) {
        given.insert(name, Value::String(value));
    }
    let path = field::check(operation.path_fields, parameters, otherwise).is_ok();
    let query = field::check(operation.query, &given, otherwise).is_ok();
    let Payload::Json(fields) = operation.body else {
        return path && query;
    };
    let Ok(Value::Object(given)) = serde_json::from_slice(body) else {
        return false;
    };
    let body = field::check(fields, &given, otherwise);
    if let Ok(body) = &body {
        let _ = x509::Request::parse(body.text("csr"));
        for chain in ["certificate", "certificate_chain"] {
            let certificates = x509::certificates(body.text(chain)).unwrap_or_default();
            for certificate in certificates {
                let _ = x509::facts(&certificate);
            }
        }
    }
    path && query && body.is_ok()
}
