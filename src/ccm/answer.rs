//! An answer, and the refusals that hide in it: four shapes of error bodies, `Retry-After`, request ids.
//!
//! Everything here comes from outside: it is cut to a length, freed of control characters and of our own secrets
//! before it may stand in a message.

use reqwest::header::HeaderMap;
use serde_json::Value;
use zeroize::Zeroizing;

use crate::ccm::error::{CcmError, Effect, Operation, classify};
use crate::pki::Secret;

/// What came back.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: Zeroizing<Vec<u8>>,
    /// IAM's token (`X-Subject-Token`).
    pub(crate) subject_token: Option<Secret>,
    request_id: Option<String>,
    retry_after: Option<String>,
    /// What the other side's clock shows, in seconds since 1970.
    pub(crate) date: Option<i64>,
    /// Host that a redirect leads to.
    leads_to: Option<String>,
}

impl Reply {
    pub(crate) fn new(response: &reqwest::Response, body: Zeroizing<Vec<u8>>) -> Self {
        let headers = response.headers();
        let token = headers.get("x-subject-token").map(|value| value.as_bytes());
        Self {
            status: response.status().as_u16(),
            body,
            subject_token: token
                .map(|value| Secret::new(value.trim_ascii().to_vec()))
                .filter(|token| !token.expose().is_empty()),
            request_id: header(headers, "x-request-id")
                .or_else(|| header(headers, "x-iam-trace-id")),
            retry_after: header(headers, "retry-after"),
            date: header(headers, "date").and_then(|date| moment(&date)),
            leads_to: header(headers, "location")
                .and_then(|to| reqwest::Url::parse(&to).ok())
                .and_then(|to| to.host_str().map(str::to_owned)),
        }
    }

    pub(crate) const fn is_success(&self) -> bool {
        matches!(self.status, 200..=299)
    }

    /// The request id, fit for a message.
    pub(crate) fn request_id(&self, secrets: &[&[u8]]) -> Option<String> {
        let id = self.request_id.clone().or_else(|| {
            let body: Option<Value> = serde_json::from_slice(&self.body).ok();
            let id = body.as_ref().and_then(|body| body.get("request_id"));
            id.and_then(Value::as_str).map(str::to_owned)
        });
        id.map(|id| clean(&id, LONGEST_WORD, secrets))
    }

    /// What an answer that is no success says. `now` (seconds since 1970) is for a `Retry-After` that is a date;
    /// `secrets` are those that must not stand in the message.
    pub(crate) fn refusal(
        &self,
        operation: &Operation,
        host: &str,
        now: i64,
        secrets: &[&[u8]],
    ) -> CcmError {
        let said = error_body(&self.body);
        let code = said
            .as_ref()
            .and_then(|said| said.code.as_deref())
            .map(|code| clean(code, LONGEST_WORD, secrets));
        let message = match (said.and_then(|said| said.message), &self.leads_to) {
            (Some(message), _) => {
                let message = clean(&message, LONGEST_MESSAGE, secrets);
                message.trim_end_matches('.').to_owned()
            }
            (None, Some(host)) if (300..400).contains(&self.status) => format!(
                "leads to {}, and redirects are not followed; set the endpoint to where the service is",
                clean(host, LONGEST_WORD, secrets)
            ),
            (None, _) => {
                let status = reqwest::StatusCode::from_u16(self.status).ok();
                let reason = status.and_then(|status| status.canonical_reason());
                format!("{}, without an error of CCM", reason.unwrap_or("no reason"))
            }
        };
        CcmError {
            status: Some(self.status),
            request_id: self.request_id(secrets),
            retry_after: self
                .retry_after
                .as_deref()
                .and_then(|text| seconds_until(text, now)),
            ..CcmError::call(
                operation,
                host,
                classify(self.status, code.as_deref()),
                effect(self.status),
                message,
            )
        }
        .with_code(code)
    }
}

impl CcmError {
    fn with_code(mut self, code: Option<String>) -> Self {
        self.code = code;
        self
    }
}

/// A gateway's 408 and every 5xx may be the end of a wait for a service that did its work; 3xx and 4xx are refusals.
const fn effect(status: u16) -> Effect {
    match status {
        300..=407 | 409..=499 => Effect::None,
        _ => Effect::Unknown,
    }
}

struct Said {
    code: Option<String>,
    message: Option<String>,
}

/// The shapes of error bodies that the SDK understands, at the top or one object down, and IAM's `title`.
fn error_body(body: &[u8]) -> Option<Said> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let top = body.as_object()?;
    let nested = top.values().filter(|value| value.is_object());
    std::iter::once(&body).chain(nested).find_map(|object| {
        let text = |keys: &[&str]| {
            keys.iter()
                .find_map(|key| match object.get(key) {
                    Some(Value::String(text)) => Some(text.clone()),
                    Some(Value::Number(number)) => Some(number.to_string()),
                    _ => None,
                })
                .filter(|text| !text.trim().is_empty())
        };
        let said = Said {
            code: text(&["error_code", "errorCode", "code"]),
            message: text(&["error_msg", "errorMsg", "message", "title"]),
        };
        (said.code.is_some() || said.message.is_some()).then_some(said)
    })
}

/// `Retry-After` in seconds from now (RFC 9110 §10.2.3: a number or an HTTP date), at most a day: no single answer may
/// put a host to sleep for longer.
fn seconds_until(text: &str, now: i64) -> Option<i64> {
    let text = text.trim();
    let seconds = if text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty() {
        text.parse().unwrap_or(i64::MAX)
    } else {
        moment(text)?.saturating_sub(now)
    };
    Some(seconds.clamp(0, LONGEST_WAIT))
}

/// An HTTP date (RFC 9110 §5.6.7) in seconds since 1970.
fn moment(text: &str) -> Option<i64> {
    let date = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text);
    date.ok().map(|date| date.as_second())
}

fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = headers.get(name)?.to_str().ok()?.trim();
    (!value.is_empty()).then(|| value.to_owned())
}

/// A text from outside, fit for a message: one line, at most `longest` characters, none of `secrets`, no private key.
fn clean(text: &str, longest: usize, secrets: &[&[u8]]) -> String {
    if text.contains("PRIVATE KEY") {
        return "[left out: it holds a private key]".to_owned();
    }
    let mut text = text.to_owned();
    for secret in secrets {
        // Of shorter ones nothing useful would be left of the message, and guessing them is easy anyway.
        if let Ok(secret) = std::str::from_utf8(secret)
            && secret.len() >= 4
        {
            text = text.replace(secret, "[secret]");
        }
    }
    let line: Vec<&str> = text
        .split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty())
        .collect();
    let line = line.join(" ");
    match line.char_indices().nth(longest) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// Characters of a remote message that are shown.
const LONGEST_MESSAGE: usize = 300;
/// Characters of a code, id or host that are shown.
const LONGEST_WORD: usize = 80;
/// Seconds of a `Retry-After` that are believed.
const LONGEST_WAIT: i64 = 86_400;

#[cfg(test)]
mod tests {
    use super::*;

    use crate::ccm::error::Class;

    fn reply(status: u16, body: &str) -> Reply {
        Reply {
            status,
            body: Zeroizing::new(body.as_bytes().to_vec()),
            subject_token: None,
            request_id: None,
            retry_after: None,
            date: None,
            leads_to: None,
        }
    }

    fn refusal(reply: &Reply) -> CcmError {
        let operation = Operation {
            name: "PCA list CAs",
            method: "GET",
            path: "/v1/x".into(),
        };
        reply.refusal(&operation, "ccm.example", 1_000_000, &[b"s3cr3t"])
    }

    #[test]
    fn all_shapes_of_error_bodies_are_read() {
        for body in [
            r#"{"error_code": "PCA.00020001", "error_msg": "Incorrect parameter."}"#,
            r#"{"errorCode": "PCA.00020001", "errorMsg": "Incorrect parameter."}"#,
            r#"{"code": "PCA.00020001", "message": "Incorrect parameter."}"#,
            r#"{"error": {"code": "PCA.00020001", "message": "Incorrect parameter."}}"#,
            r#"{"badRequest": {"error_code": "PCA.00020001", "error_msg": "Incorrect parameter."}}"#,
        ] {
            let error = refusal(&reply(400, body));
            assert_eq!(error.code.as_deref(), Some("PCA.00020001"), "{body}");
            assert_eq!(error.message, "Incorrect parameter", "{body}");
            assert_eq!(error.class, Class::Rejected, "{body}");
            assert_eq!(error.effect, Effect::None, "{body}");
        }
        let iam = r#"{"error": {"message": "The username or password is wrong.", "title": "Unauthorized"}}"#;
        let error = refusal(&reply(401, iam));
        assert_eq!(error.message, "The username or password is wrong");
        assert_eq!((error.code, error.class), (None, Class::Authentication));
    }

    #[test]
    fn a_refusal_without_a_body_still_says_something() {
        for body in ["", "<html>nginx</html>", "[1]", "null", "{}"] {
            let error = refusal(&reply(502, body));
            assert_eq!(error.message, "Bad Gateway, without an error of CCM");
            assert_eq!(
                (error.class, error.effect),
                (Class::Transient, Effect::Unknown)
            );
        }
        let mut moved = reply(302, "");
        moved.leads_to = Some("login.example".into());
        let error = refusal(&moved);
        assert!(error.message.starts_with("leads to login.example"));
        assert_eq!(
            (error.class, error.effect),
            (Class::Configuration, Effect::None)
        );
    }

    #[test]
    fn only_a_refusal_is_certainly_without_effect() {
        for (status, expected) in [
            (400, Effect::None),
            (404, Effect::None),
            (429, Effect::None),
            (408, Effect::Unknown),
            (500, Effect::Unknown),
            (504, Effect::Unknown),
        ] {
            assert_eq!(effect(status), expected, "{status}");
        }
    }

    #[test]
    fn a_wait_is_seconds_or_a_date_and_never_longer_than_a_day() {
        for (text, expected) in [
            ("120", Some(120)),
            ("0", Some(0)),
            ("99999999999999999999", Some(LONGEST_WAIT)),
            ("Mon, 12 Jan 1970 13:47:40 GMT", Some(60)),
            ("Mon, 12 Jan 1970 13:00:00 GMT", Some(0)),
            ("Sun, 12 Jan 2070 13:00:00 GMT", Some(LONGEST_WAIT)),
            ("soon", None),
            ("-1", None),
            ("", None),
        ] {
            assert_eq!(seconds_until(text, 1_000_000), expected, "{text}");
        }
    }

    #[test]
    fn a_remote_message_cannot_carry_secrets_or_control_characters() {
        let error = refusal(&reply(
            400,
            r#"{"error_code": "s3cr3t", "error_msg": "token s3cr3t\u001b[31m\nis wrong"}"#,
        ));
        assert_eq!(error.message, "token [secret] [31m is wrong");
        assert_eq!(error.code.as_deref(), Some("[secret]"));
        let error = refusal(&reply(
            400,
            r#"{"error_msg": "bad: -----BEGIN RSA PRIVATE KEY-----MIIE"}"#,
        ));
        assert!(!error.to_string().contains("MIIE"));
        let long = format!(r#"{{"error_msg": "{}"}}"#, "ä".repeat(1000));
        assert_eq!(refusal(&reply(400, &long)).message.chars().count(), 301);
    }

    #[test]
    fn the_request_id_of_the_header_comes_before_that_of_the_body() {
        let mut with = reply(400, r#"{"request_id": "from-body"}"#);
        assert_eq!(refusal(&with).request_id.as_deref(), Some("from-body"));
        with.request_id = Some("from-header".into());
        assert_eq!(refusal(&with).request_id.as_deref(), Some("from-header"));
    }
}
