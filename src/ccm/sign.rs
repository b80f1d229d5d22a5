//! Request signing, algorithm SDK-HMAC-SHA256: pure, checked against the vectors of Huawei's own SDK.
//!
//! What is signed and when is the client's business; here are only the canonical forms and the signature.

use std::fmt::Write;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;

/// What is to be signed. `Host` and `X-Sdk-Date` must be among the headers: a verifier asks for both.
pub(crate) struct Request<'a> {
    /// In capitals.
    pub(crate) method: &'a str,
    /// Path of the URL; may be percent-encoded.
    pub(crate) path: &'a str,
    /// Query as pairs of plain text, in any order.
    pub(crate) query: &'a [(&'a str, &'a str)],
    /// All are signed, except names with an underscore.
    pub(crate) headers: &'a [(&'a str, &'a str)],
    /// Exactly the bytes that are sent.
    pub(crate) body: &'a [u8],
}

/// The result with its intermediate forms, which tell a failing vector's reason.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Signed {
    pub(crate) canonical_request: String,
    pub(crate) string_to_sign: String,
    pub(crate) signed_headers: String,
    pub(crate) signature: String,
    /// Value of the `Authorization` header.
    pub(crate) authorization: String,
}

/// Signs with an access key; `date` is the value of `X-Sdk-Date`, such as `20250526T083000Z`.
pub(crate) fn sign(
    request: &Request<'_>,
    access_key: &str,
    secret_key: &[u8],
    date: &str,
) -> Signed {
    let mut headers: Vec<(String, &str)> = request
        .headers
        .iter()
        .filter(|(name, _)| !name.contains('_'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim()))
        .collect();
    headers.sort();
    let signed_headers = headers
        .iter()
        .map(|(name, _)| name.as_str())
        .collect::<Vec<_>>()
        .join(";");
    let mut canonical_request = format!(
        "{}\n{}\n{}\n",
        request.method,
        canonical_path(request.path),
        canonical_query(request.query)
    );
    for (name, value) in &headers {
        canonical_request.push_str(name);
        canonical_request.push(':');
        canonical_request.push_str(value);
        canonical_request.push('\n');
    }
    canonical_request.push('\n');
    canonical_request.push_str(&signed_headers);
    canonical_request.push('\n');
    canonical_request.push_str(&payload_hash(&headers, request.body));

    let string_to_sign = format!(
        "{ALGORITHM}\n{date}\n{}",
        hex(digest(&SHA256, canonical_request.as_bytes()).as_ref())
    );
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret_key);
    let signature = hex(hmac::sign(&key, string_to_sign.as_bytes()).as_ref());
    let authorization = format!(
        "{ALGORITHM} Access={access_key}, SignedHeaders={signed_headers}, Signature={signature}"
    );
    Signed {
        canonical_request,
        string_to_sign,
        signed_headers,
        signature,
        authorization,
    }
}

/// The query as it is signed, which is also exactly how it must be sent: sorted before encoding, blank as `%20`.
pub(crate) fn canonical_query(pairs: &[(&str, &str)]) -> String {
    let mut sorted = pairs.to_vec();
    sorted.sort_unstable();
    let encoded: Vec<String> = sorted
        .iter()
        .map(|(key, value)| format!("{}={}", encode(key.as_bytes()), encode(value.as_bytes())))
        .collect();
    encoded.join("&")
}

/// Only the signed form ends in `/`; the URL that is sent need not.
fn canonical_path(path: &str) -> String {
    let segments: Vec<String> = decode(path)
        .split(|byte| *byte == b'/')
        .map(encode)
        .collect();
    let mut joined = segments.join("/");
    if !joined.ends_with('/') {
        joined.push('/');
    }
    joined
}

/// The SDK lets `X-Sdk-Content-Sha256` (such as `UNSIGNED-PAYLOAD`) stand in for the digest, but not of an empty body.
fn payload_hash(headers: &[(String, &str)], body: &[u8]) -> String {
    let given = headers
        .iter()
        .find(|(name, _)| name == "x-sdk-content-sha256");
    match given {
        Some((_, value)) if !body.is_empty() => (*value).to_owned(),
        _ => hex(digest(&SHA256, body).as_ref()),
    }
}

/// Everything but the unreserved characters of RFC 3986 §2.3 becomes `%XX`.
fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for byte in bytes {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            text.push(char::from(*byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

/// Undoes `%XX`; a `%` that begins no such triple stays.
fn decode(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let pair = bytes
            .get(at + 1..at + 3)
            .filter(|pair| *byte == b'%' && pair.iter().all(u8::is_ascii_hexdigit))
            .and_then(|pair| std::str::from_utf8(pair).ok())
            .and_then(|pair| u8::from_str_radix(pair, 16).ok());
        plain.push(pair.unwrap_or(*byte));
        at += if pair.is_some() { 3 } else { 1 };
    }
    plain
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The SDK's default; the other algorithms of its core are never used by CCM.
const ALGORITHM: &str = "SDK-HMAC-SHA256";

#[cfg(test)]
mod tests {
    use super::*;

    use serde_json::Value;

    fn pairs(value: &Value) -> Vec<(String, String)> {
        let text = |value: &Value| match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let mut pairs = Vec::new();
        for pair in value.as_array().unwrap() {
            let key = text(&pair[0]);
            match &pair[1] {
                Value::Array(values) => {
                    pairs.extend(values.iter().map(|value| (key.clone(), text(value))));
                }
                single => pairs.push((key, text(single))),
            }
        }
        pairs
    }

    #[test]
    fn every_vector_of_the_sdk_is_signed_alike() {
        let file = include_str!("../../tests/fixtures/ccm/aksk-vectors.json");
        let file: Value = serde_json::from_str(file).unwrap();
        let vectors = file["vectors"].as_array().unwrap();
        assert_eq!(vectors.len(), 6, "the vectors are there");
        for vector in vectors {
            let (input, expect) = (&vector["input"], &vector["expect"]);
            let name = &vector["name"];
            let query = pairs(&input["query"]);
            let query: Vec<(&str, &str)> = query
                .iter()
                .map(|(key, value)| (key.as_str(), value.as_str()))
                .collect();
            let headers: Vec<(&str, &str)> = expect["request_headers"]
                .as_object()
                .unwrap()
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str().unwrap()))
                .collect();
            let signed = sign(
                &Request {
                    method: input["method"].as_str().unwrap(),
                    path: input["resource_path"].as_str().unwrap(),
                    query: &query,
                    headers: &headers,
                    body: input["body"].as_str().unwrap_or("").as_bytes(),
                },
                input["ak"].as_str().unwrap(),
                input["sk"].as_str().unwrap().as_bytes(),
                input["x_sdk_date"].as_str().unwrap(),
            );
            assert_eq!(
                signed.canonical_request, expect["canonical_request"],
                "{name}"
            );
            assert_eq!(signed.string_to_sign, expect["string_to_sign"], "{name}");
            assert_eq!(signed.signed_headers, expect["signed_headers"], "{name}");
            assert_eq!(signed.signature, expect["signature"], "{name}");
            assert_eq!(signed.authorization, expect["authorization"], "{name}");
            let url = expect["url"].as_str().unwrap();
            let sent = canonical_query(&query);
            assert_eq!(url.split_once('?').map_or("", |(_, query)| query), sent);
        }
    }

    #[test]
    fn the_digest_header_stands_in_for_a_body_only() {
        let header = vec![("x-sdk-content-sha256".to_owned(), "UNSIGNED-PAYLOAD")];
        assert_eq!(payload_hash(&header, b"x"), "UNSIGNED-PAYLOAD");
        assert!(payload_hash(&header, b"").starts_with("e3b0c442"));
    }

    #[test]
    fn a_stray_percent_sign_stays() {
        assert_eq!(canonical_path("/a%2/%zz/%41"), "/a%252/%25zz/A/");
    }
}
