//! Verifies SDK-HMAC-SHA256 request signatures (CCM API 3.2; the form of Huawei's SDK 3.1).
//!
//! Pure: request, secret key and time in, verdict out. Replays inside the time window are allowed, as in the original.

use aws_lc_rs::{constant_time, digest, hmac};

use crate::ccm_server::text;
use crate::model::{Seconds, Timestamp};

/// The parts of a request that a signature covers.
pub(super) struct Signed<'a> {
    /// Such as `GET`.
    pub(super) method: &'a str,
    /// The path as it was sent.
    pub(super) path: &'a str,
    /// The query as it was sent, without the question mark.
    pub(super) query: &'a str,
    /// Names in lower case; values as sent, repeated headers one after the other.
    pub(super) headers: &'a [(String, String)],
    /// The body.
    pub(super) body: &'a [u8],
}

/// An `Authorization` header, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Authorization {
    /// The access key.
    pub(super) access_key: String,
    /// Names of the signed headers, in the signed order.
    signed_headers: Vec<String>,
    /// Hexadecimal.
    signature: String,
}

/// Why a signature is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum SignatureError {
    /// No header of this scheme, or parts are missing.
    #[error(
        "the Authorization header is not `SDK-HMAC-SHA256 Access=…, SignedHeaders=…, Signature=…`"
    )]
    Malformed,
    /// A header that must be signed is not.
    #[error("the header {0} is not signed")]
    Unsigned(&'static str),
    /// A header that is named as signed was not sent.
    #[error("the signed header {0} was not sent")]
    Absent(String),
    /// No time, or not in the form `20250526T083000Z`.
    #[error("X-Sdk-Date is no time of the form 20250526T083000Z")]
    Date,
    /// Too far from the server's clock.
    #[error("X-Sdk-Date is more than 15 minutes off; the server's clock says {0}")]
    Window(Timestamp),
    /// The body is not the one whose hash was sent.
    #[error("X-Sdk-Content-Sha256 is not the hash of the body")]
    Body,
    /// Another secret key, or the request was changed.
    #[error("the signature does not fit the request and the secret key")]
    Wrong,
}

/// What was proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Verified {
    /// False for `UNSIGNED-PAYLOAD`: the body is anybody's.
    pub(super) body_signed: bool,
}

impl Authorization {
    /// Takes the header apart.
    pub(super) fn parse(header: &str) -> Result<Self, SignatureError> {
        let rest = header
            .trim()
            .strip_prefix(ALGORITHM)
            .ok_or(SignatureError::Malformed)?;
        let (mut access_key, mut signed_headers, mut signature) = (None, None, None);
        for part in rest.split(',') {
            let (name, value) = part
                .trim()
                .split_once('=')
                .ok_or(SignatureError::Malformed)?;
            match name {
                "Access" => access_key = Some(value.to_owned()),
                "SignedHeaders" => {
                    signed_headers = Some(value.split(';').map(str::to_ascii_lowercase).collect());
                }
                "Signature" => signature = Some(value.to_owned()),
                _ => return Err(SignatureError::Malformed),
            }
        }
        match (access_key, signed_headers, signature) {
            (Some(access_key), Some(signed_headers), Some(signature)) => Ok(Self {
                access_key,
                signed_headers,
                signature,
            }),
            _ => Err(SignatureError::Malformed),
        }
    }

    /// Checks everything: the time window first, so that a wrong clock is named even though the signature fits.
    pub(super) fn verify(
        &self,
        request: &Signed<'_>,
        secret_key: &[u8],
        now: Timestamp,
    ) -> Result<Verified, SignatureError> {
        for name in MUST_BE_SIGNED {
            let sent = header(request, name).is_some() || ALWAYS_SIGNED.contains(&name);
            if sent && !self.signed_headers.iter().any(|signed| signed == name) {
                return Err(SignatureError::Unsigned(name));
            }
        }
        let date = header(request, "x-sdk-date").ok_or(SignatureError::Date)?;
        let at = parse_date(&date).ok_or(SignatureError::Date)?;
        if at.until(now).0.abs() > WINDOW.0 {
            return Err(SignatureError::Window(now));
        }
        let (payload, body_signed) = payload_hash(request)?;
        let canonical = self.canonical_request(request, &payload)?;
        let to_sign = string_to_sign(&canonical, &date);
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret_key);
        let expected = text::hex(hmac::sign(&key, to_sign.as_bytes()).as_ref());
        constant_time::verify_slices_are_equal(expected.as_bytes(), self.signature.as_bytes())
            .map_err(|_| SignatureError::Wrong)?;
        Ok(Verified { body_signed })
    }

    fn canonical_request(
        &self,
        request: &Signed<'_>,
        payload: &str,
    ) -> Result<String, SignatureError> {
        let mut headers = String::new();
        for name in &self.signed_headers {
            let value =
                header(request, name).ok_or_else(|| SignatureError::Absent(name.clone()))?;
            headers.push_str(&format!("{name}:{}\n", value.trim()));
        }
        Ok(format!(
            "{}\n{}\n{}\n{headers}\n{}\n{payload}",
            request.method,
            canonical_path(request.path),
            canonical_query(request.query),
            self.signed_headers.join(";"),
        ))
    }
}

fn string_to_sign(canonical: &str, date: &str) -> String {
    let hash = digest::digest(&digest::SHA256, canonical.as_bytes());
    format!("{ALGORITHM}\n{date}\n{}", text::hex(hash.as_ref()))
}

fn header(request: &Signed<'_>, name: &str) -> Option<String> {
    let mut values = request
        .headers
        .iter()
        .filter(|(have, _)| have == name)
        .map(|(_, v)| v);
    let first = values.next()?;
    Some(values.fold(first.clone(), |all, next| all + "," + next))
}

/// Decoded, encoded anew segment by segment, and closed by a slash.
fn canonical_path(path: &str) -> String {
    let decoded = text::percent_decode(path);
    let segments: Vec<String> = decoded.split('/').map(text::percent_encode).collect();
    let mut canonical = segments.join("/");
    if !canonical.ends_with('/') {
        canonical.push('/');
    }
    canonical
}

/// Sorted by what the names and values mean, then encoded.
fn canonical_query(query: &str) -> String {
    let mut pairs = pairs(query);
    pairs.sort();
    let encoded: Vec<String> = pairs
        .iter()
        .map(|(name, value)| {
            format!(
                "{}={}",
                text::percent_encode(name),
                text::percent_encode(value)
            )
        })
        .collect();
    encoded.join("&")
}

/// The decoded names and values of a query.
pub(super) fn pairs(query: &str) -> Vec<(String, String)> {
    let parts = query.split('&').filter(|part| !part.is_empty());
    parts
        .map(|part| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            (text::percent_decode(name), text::percent_decode(value))
        })
        .collect()
}

/// The hash as it is signed, and whether it binds the body. An empty body has the hash of nothing whatever the header
/// says; that is how the SDK does it.
fn payload_hash(request: &Signed<'_>) -> Result<(String, bool), SignatureError> {
    let actual = text::hex(digest::digest(&digest::SHA256, request.body).as_ref());
    if request.body.is_empty() {
        return Ok((actual, true));
    }
    match header(request, "x-sdk-content-sha256") {
        None => Ok((actual, true)),
        Some(value) if value == UNSIGNED => Ok((value, false)),
        Some(value) if value == actual => Ok((value, true)),
        Some(_) => Err(SignatureError::Body),
    }
}

/// `20250526T083000Z`.
pub(super) fn parse_date(text: &str) -> Option<Timestamp> {
    let plain = text.len() == 16 && text.is_ascii();
    if !plain {
        return None;
    }
    let part = |from: usize, to: usize| &text[from..to];
    let rfc3339 = format!(
        "{}-{}-{}{}{}:{}:{}{}",
        part(0, 4),
        part(4, 6),
        part(6, 8),
        part(8, 9),
        part(9, 11),
        part(11, 13),
        part(13, 15),
        part(15, 16),
    );
    Timestamp::parse(&rfc3339).ok()
}

const ALGORITHM: &str = "SDK-HMAC-SHA256";
/// What the SDK sends for the hash of a body that is neither JSON nor BSON.
const UNSIGNED: &str = "UNSIGNED-PAYLOAD";
/// A request is good for so long before and after its date.
const WINDOW: Seconds = Seconds::minutes(15);
/// Not optional: without them a signature could be moved to another server or another time.
const ALWAYS_SIGNED: [&str; 2] = ["host", "x-sdk-date"];
/// If they were sent: they change who calls, or what the body may be.
const MUST_BE_SIGNED: [&str; 6] = [
    "host",
    "x-sdk-date",
    "x-security-token",
    "x-domain-id",
    "x-project-id",
    "x-sdk-content-sha256",
];

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    struct Vector {
        method: String,
        path: String,
        query: String,
        headers: Vec<(String, String)>,
        body: Vec<u8>,
        secret: String,
        authorization: String,
        canonical: String,
        at: Timestamp,
    }

    impl Vector {
        fn request(&self) -> Signed<'_> {
            Signed {
                method: &self.method,
                path: &self.path,
                query: &self.query,
                headers: &self.headers,
                body: &self.body,
            }
        }
        fn verify(&self) -> Result<Verified, SignatureError> {
            self.verify_at(self.at)
        }
        fn verify_at(&self, now: Timestamp) -> Result<Verified, SignatureError> {
            let authorization = Authorization::parse(&self.authorization)?;
            authorization.verify(&self.request(), self.secret.as_bytes(), now)
        }
    }

    /// Made by Huawei's SDK: what it sends on the wire, hence independent of the client in this package.
    fn vectors() -> Vec<Vector> {
        let file = include_str!("../../tests/fixtures/ccm/aksk-vectors.json");
        let file: Value = serde_json::from_str(file).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let vectors = file["vectors"].as_array().unwrap().iter().map(|vector| {
            let (input, expect) = (&vector["input"], &vector["expect"]);
            let url = text(&expect["url"]);
            let after_scheme = url.split_once("://").unwrap().1;
            let target = &after_scheme[after_scheme.find('/').unwrap()..];
            let (path, query) = target.split_once('?').unwrap_or((target, ""));
            let headers = expect["request_headers"].as_object().unwrap();
            Vector {
                method: text(&input["method"]),
                path: path.to_owned(),
                query: query.to_owned(),
                headers: headers
                    .iter()
                    .map(|(name, value)| (name.to_ascii_lowercase(), text(value)))
                    .collect(),
                body: input["body"]
                    .as_str()
                    .unwrap_or_default()
                    .as_bytes()
                    .to_vec(),
                secret: text(&input["sk"]),
                authorization: text(&expect["authorization"]),
                canonical: text(&expect["canonical_request"]),
                at: parse_date(input["x_sdk_date"].as_str().unwrap()).unwrap(),
            }
        });
        let vectors: Vec<Vector> = vectors.collect();
        assert_eq!(vectors.len(), 6);
        vectors
    }

    #[test]
    fn requests_signed_by_the_official_sdk_are_accepted() {
        for vector in vectors() {
            let request = vector.request();
            let authorization = Authorization::parse(&vector.authorization).unwrap();
            let payload = payload_hash(&request).unwrap().0;
            let canonical = authorization.canonical_request(&request, &payload).unwrap();
            assert_eq!(canonical, vector.canonical);
            assert!(vector.verify().is_ok(), "{}", vector.authorization);
        }
    }

    #[test]
    fn every_change_of_a_signed_part_is_noticed() {
        type Change = fn(&mut Vector);
        let changes: [(&str, Change); 6] = [
            ("method", |v| v.method.push('X')),
            ("path", |v| v.path.push('x')),
            ("query", |v| v.query.push_str("&x=1")),
            ("secret", |v| v.secret.push('x')),
            ("header", |v| {
                let date = v
                    .headers
                    .iter_mut()
                    .find(|(name, _)| name == "host")
                    .unwrap();
                date.1.push('x');
            }),
            ("signature", |v| {
                let last = v.authorization.pop().unwrap();
                v.authorization.push(if last == '0' { '1' } else { '0' });
            }),
        ];
        for (what, change) in changes {
            for mut vector in vectors() {
                change(&mut vector);
                assert_eq!(vector.verify(), Err(SignatureError::Wrong), "{what}");
            }
        }
    }

    #[test]
    fn a_changed_body_is_noticed_unless_it_was_never_signed() {
        let mut unsigned = 0;
        for mut vector in vectors() {
            vector.body.push(b'x');
            match vector.verify() {
                Ok(verified) => {
                    assert!(!verified.body_signed);
                    unsigned += 1;
                }
                Err(error) => assert_eq!(error, SignatureError::Wrong),
            }
        }
        assert_eq!(unsigned, 1, "the picture, whose body the SDK does not sign");
    }

    #[test]
    fn the_time_window_is_fifteen_minutes_both_ways() {
        let vector = &vectors()[0];
        let at = vector.at;
        assert!(vector.verify_at(at + WINDOW).is_ok());
        assert!(vector.verify_at(at - WINDOW).is_ok());
        let late = at + WINDOW + Seconds(1);
        assert_eq!(vector.verify_at(late), Err(SignatureError::Window(late)));
        let early = at - WINDOW - Seconds(1);
        assert_eq!(vector.verify_at(early), Err(SignatureError::Window(early)));
    }

    #[test]
    fn host_and_date_must_be_among_the_signed_headers() {
        for name in ALWAYS_SIGNED {
            let mut vector = vectors().remove(0);
            vector.authorization = vector.authorization.replace(&format!("{name};"), "");
            vector.authorization = vector.authorization.replace(&format!(";{name},"), ",");
            assert_eq!(vector.verify(), Err(SignatureError::Unsigned(name)));
        }
    }

    #[test]
    fn malformed_headers_are_refused_and_do_not_panic() {
        for text in [
            "",
            "Bearer x",
            "SDK-HMAC-SHA256",
            "SDK-HMAC-SHA256 Access=a",
            "SDK-HMAC-SHA256 Access=a, SignedHeaders=host",
            "SDK-HMAC-SHA256 a, b, c",
            "SDK-HMAC-SHA256 Access=a, SignedHeaders=b, Signature=c, Extra=d",
        ] {
            assert_eq!(
                Authorization::parse(text),
                Err(SignatureError::Malformed),
                "{text}"
            );
        }
        for date in [
            "",
            "20250526T083000",
            "2025-05-26T08:30",
            "2025052éT08300Z",
            "20251326T083000Z",
        ] {
            assert_eq!(parse_date(date), None, "{date}");
        }
    }
}
