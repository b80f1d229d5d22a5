//! The client of one endpoint: authentication, time, retries inside one call.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::error::Category;
use tokio::time::Instant;

use crate::ccm::Answer;
use crate::ccm::answer::Reply;
use crate::ccm::codes::blames_the_token;
use crate::ccm::error::{CcmError, Class, Effect, Operation};
use crate::ccm::http::Endpoint;
use crate::ccm::iam::{Identity, Tokens};
use crate::ccm::limit::Limit;
use crate::ccm::sign;
use crate::pki::Secret;
use crate::sys::clock::Clock;
use crate::sys::systemd;

/// Where, as whom, and how patiently.
pub struct Access {
    /// Base URL without path, such as `https://ccm.ap-southeast-3.myhuaweicloud.com`.
    pub endpoint: String,
    /// PEM of the roots that the endpoint's (and IAM's) certificate must chain to; `None` takes the system's.
    pub roots: Option<Vec<u8>>,
    /// As whom.
    pub auth: Auth,
    /// To establish a connection. Cut to four fifths of `timeout`: only a connect that fails by itself is known to
    /// have sent nothing.
    pub connect_timeout: Duration,
    /// For a whole call: token, waits and answer included.
    pub timeout: Duration,
}

/// As whom.
pub enum Auth {
    /// Requests are signed.
    AccessKey {
        /// AK.
        access_key: String,
        /// SK.
        secret_key: Secret,
        /// Goes with temporary keys.
        security_token: Option<Secret>,
    },
    /// Requests carry a token that IAM gives for a password.
    Password {
        /// Base URL of IAM.
        iam_endpoint: String,
        /// IAM user.
        user: String,
        /// Its password.
        password: Secret,
        /// Account (domain) name.
        domain: String,
        /// Project (region) name.
        project: String,
    },
}

/// Speaks to one endpoint as one user. Cheap to share; holds the token and the connections.
pub struct Client {
    endpoint: Endpoint,
    credentials: Credentials,
    clock: Arc<dyn Clock>,
    timeout: Duration,
    limit: Option<Arc<Limit>>,
}

enum Credentials {
    AccessKey {
        access_key: String,
        secret_key: Secret,
        security_token: Option<Secret>,
    },
    Token(Box<Tokens>),
}

/// One operation to be carried out.
pub(crate) struct Call<'a> {
    pub(crate) operation: Operation,
    query: Vec<(&'a str, String)>,
    body: Option<Vec<u8>>,
    /// Whether a second one does no harm.
    repeatable: bool,
}

impl<'a> Call<'a> {
    pub(crate) const fn get(name: &'static str, path: String) -> Self {
        Self::new(name, "GET", path, true)
    }

    /// A POST that only reads, such as an export.
    pub(crate) const fn read(name: &'static str, path: String) -> Self {
        Self::new(name, "POST", path, true)
    }

    /// A POST that makes or changes something.
    pub(crate) const fn act(name: &'static str, path: String) -> Self {
        Self::new(name, "POST", path, false)
    }

    const fn new(name: &'static str, method: &'static str, path: String, repeatable: bool) -> Self {
        Self {
            operation: Operation { name, method, path },
            query: Vec::new(),
            body: None,
            repeatable,
        }
    }

    pub(crate) fn query(mut self, key: &'a str, value: impl ToString) -> Self {
        self.query.push((key, value.to_string()));
        self
    }

    /// Sends `body` as JSON.
    pub(crate) fn json(mut self, body: &impl Serialize) -> Answer<Self> {
        let bytes = serde_json::to_vec(body).map_err(|_| {
            let message = "the request cannot be written as JSON";
            CcmError::call(&self.operation, "", Class::Bug, Effect::None, message)
        })?;
        self.body = Some(bytes);
        Ok(self)
    }
}

impl Client {
    /// Checks endpoints, roots and credentials; sends nothing.
    ///
    /// # Errors
    /// `Configuration`, with what to change.
    pub fn new(access: Access, clock: Arc<dyn Clock>) -> Answer<Self> {
        let connect = access.connect_timeout.min(access.timeout.mul_f32(0.8));
        let roots = access.roots.as_deref();
        let endpoint = Endpoint::new(&access.endpoint, roots, connect)?;
        let credentials = match access.auth {
            Auth::AccessKey {
                access_key,
                secret_key,
                security_token,
            } => {
                let shown = access_key.bytes().all(|byte| byte.is_ascii_graphic());
                if access_key.is_empty() || !shown || secret_key.expose().is_empty() {
                    return Err(Box::new(CcmError::setup(
                        "access key or secret key is empty or no plain text",
                    )));
                }
                if let Some(token) = &security_token {
                    header_value(token.expose(), "the security token")?;
                }
                Credentials::AccessKey {
                    access_key,
                    secret_key,
                    security_token,
                }
            }
            Auth::Password {
                iam_endpoint,
                user,
                password,
                domain,
                project,
            } => Credentials::Token(Box::new(Tokens::new(
                Endpoint::new(&iam_endpoint, roots, connect)?,
                Identity {
                    user,
                    password,
                    domain,
                    project,
                },
                Arc::clone(&clock),
                access.timeout,
            )?)),
        };
        Ok(Self {
            endpoint,
            credentials,
            clock,
            timeout: access.timeout,
            limit: None,
        })
    }

    /// Asks no more often than this allows, together with all others that share it.
    #[must_use]
    pub fn within(mut self, limit: Arc<Limit>) -> Self {
        self.limit = Some(limit);
        self
    }

    /// `host:port` of the endpoint, for people.
    #[must_use]
    pub fn host(&self) -> &str {
        self.endpoint.host()
    }

    /// Carries out a call and reads its answer.
    pub(crate) async fn call<T: DeserializeOwned>(&self, call: Call<'_>) -> Answer<T> {
        let reply = self.carry_out(&call).await?;
        serde_json::from_slice(&reply.body).map_err(|cause| {
            // The parser's own text repeats values, which may be secret; where it stopped is enough.
            let what = match cause.classify() {
                Category::Io | Category::Eof => "it ends early",
                Category::Syntax => "it is no JSON",
                Category::Data => "it lacks a field or has one of another kind",
            };
            let message = format!(
                "the answer is not understood: {what} (line {}, column {})",
                cause.line(),
                cause.column()
            );
            Box::new(CcmError {
                status: Some(reply.status),
                request_id: reply.request_id(&self.secrets()),
                ..CcmError::call(
                    &call.operation,
                    self.host(),
                    Class::Transient,
                    Effect::Unknown,
                    message,
                )
            })
        })
    }

    /// Carries out a call whose answer says nothing (204).
    pub(crate) async fn call_silent(&self, call: Call<'_>) -> Answer<()> {
        self.carry_out(&call).await.map(|_| ())
    }

    async fn carry_out(&self, call: &Call<'_>) -> Answer<Reply> {
        let mut deadline = Instant::now() + self.timeout;
        let (mut waits, mut renewed) = (0, false);
        loop {
            if let Some(limit) = &self.limit {
                // None of the remote side's time.
                deadline += limit.turn().await;
            }
            let token = match &self.credentials {
                Credentials::Token(tokens) => Some((tokens, tokens.get(deadline).await?)),
                Credentials::AccessKey { .. } => None,
            };
            let value = token.as_ref().map(|(_, token)| token.value());
            let reply = self.exchange(call, value, deadline).await?;
            if reply.is_success() {
                systemd::alive();
                return Ok(reply);
            }
            let mut secrets = self.secrets();
            secrets.extend(value.map(Secret::expose));
            let now = self.clock.now().0;
            let refusal = reply.refusal(&call.operation, self.host(), now, &secrets);
            if let Some((tokens, token)) = &token
                && reply.status == 401
                && !token.is_fresh()
                && !renewed
                && blames_the_token(refusal.code.as_deref())
            {
                tokens.discard(token);
                renewed = true;
                continue;
            }
            match short_wait(&refusal, call.repeatable) {
                Some(wait) if waits < MOST_WAITS && Instant::now() + wait < deadline => {
                    waits += 1;
                    tracing::debug!(operation = %call.operation, ?wait, "asked to wait");
                    tokio::time::sleep(wait).await;
                }
                _ => return Err(Box::new(refusal)),
            }
        }
    }

    /// One exchange, signed with the clock's time or carrying the token.
    async fn exchange(
        &self,
        call: &Call<'_>,
        token: Option<&Secret>,
        deadline: Instant,
    ) -> Answer<Reply> {
        let pairs: Vec<(&str, &str)> = call
            .query
            .iter()
            .map(|(key, value)| (*key, value.as_str()))
            .collect();
        let mut headers = HeaderMap::new();
        let mut put = |name: &'static str, value: HeaderValue| {
            headers.insert(HeaderName::from_static(name), value);
        };
        // The SDK sends a type on every call; gateways have been seen to ask for it.
        put("content-type", HeaderValue::from_static(JSON));
        // Not signed, so that a proxy may change it.
        put("user-agent", HeaderValue::from_static(USER_AGENT));
        match (&self.credentials, token) {
            (
                Credentials::AccessKey {
                    access_key,
                    secret_key,
                    security_token,
                },
                _,
            ) => {
                let date = sdk_date(self.clock.now().0);
                let mut signed = vec![
                    ("content-type", JSON),
                    ("host", self.host()),
                    ("x-sdk-date", date.as_str()),
                ];
                if let Some(text) = security_token.as_ref().and_then(Secret::expose_str) {
                    signed.push(("x-security-token", text));
                    put(
                        "x-security-token",
                        header_value(text.trim().as_bytes(), "the security token")?,
                    );
                }
                let request = sign::Request {
                    method: call.operation.method,
                    path: &call.operation.path,
                    query: &pairs,
                    headers: &signed,
                    body: call.body.as_deref().unwrap_or_default(),
                };
                let signature = sign::sign(&request, access_key, secret_key.expose(), &date);
                put("x-sdk-date", header_value(date.as_bytes(), "the date")?);
                put(
                    "authorization",
                    header_value(signature.authorization.as_bytes(), "the access key")?,
                );
            }
            (Credentials::Token(_), Some(token)) => {
                put(
                    "x-auth-token",
                    header_value(token.expose(), "the IAM token")?,
                );
            }
            (Credentials::Token(_), None) => {}
        }
        let reply = self
            .endpoint
            .exchange(
                &call.operation,
                &sign::canonical_query(&pairs),
                headers,
                call.body.clone(),
                deadline,
            )
            .await?;
        // Also of a refusal: a wrong clock here is a usual reason for one.
        if let Some(date) = reply.date {
            self.clock.told(date);
        }
        Ok(reply)
    }

    /// What must not stand in a message.
    fn secrets(&self) -> Vec<&[u8]> {
        match &self.credentials {
            Credentials::AccessKey {
                secret_key,
                security_token,
                ..
            } => std::iter::once(secret_key)
                .chain(security_token)
                .map(Secret::expose)
                .collect(),
            Credentials::Token(tokens) => vec![tokens.password()],
        }
    }
}

/// An id as a path segment: those of CCM are letters, digits and hyphens. Anything else could name another path.
pub(crate) fn segment(id: &str) -> Answer<&str> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if id.is_empty() || id.len() > 64 || !id.bytes().all(good) {
        return Err(Box::new(CcmError {
            class: Class::Rejected,
            ..CcmError::setup(format!("{id:?} is no id of CCM"))
        }));
    }
    Ok(id)
}

/// How long to wait before the same call once more, where the remote side said so and it is short.
fn short_wait(refusal: &CcmError, repeatable: bool) -> Option<Duration> {
    let seconds = refusal
        .retry_after
        .filter(|seconds| *seconds <= LONGEST_WAIT)?;
    match refusal.status {
        Some(429) => {}
        Some(503) if repeatable => {}
        _ => return None,
    }
    u64::try_from(seconds).ok().map(Duration::from_secs)
}

/// A header value that is kept out of debug output.
pub(crate) fn header_value(bytes: &[u8], what: &str) -> Answer<HeaderValue> {
    let mut value = HeaderValue::from_bytes(bytes).map_err(|_| {
        let message = format!("{what} has characters that no HTTP header can carry");
        Box::new(CcmError::setup(message))
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// `20250526T083000Z`, from seconds since 1970.
fn sdk_date(now: i64) -> String {
    let moment = jiff::Timestamp::from_second(now).unwrap_or_default();
    moment.strftime("%Y%m%dT%H%M%SZ").to_string()
}

/// Type of every request body.
pub(crate) const JSON: &str = "application/json";
/// Who calls.
pub(crate) const USER_AGENT: &str = concat!("renewd/", env!("CARGO_PKG_VERSION"));
/// Seconds of a `Retry-After` that are waited inside a call; longer waits are the planner's.
const LONGEST_WAIT: i64 = 5;
/// Such waits in one call.
const MOST_WAITS: u32 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_is_in_the_form_that_is_signed() {
        assert_eq!(sdk_date(1_748_248_200), "20250526T083000Z");
    }

    #[test]
    fn an_id_cannot_lead_to_another_path() {
        assert!(segment("4c0e772e-a30c-4029-b929-b7acb04143f7").is_ok());
        assert!(segment("scs1600313391074").is_ok());
        for id in ["", ".", "..", "a/b", "a?b", "a%2fb", "ä"] {
            assert_eq!(segment(id).unwrap_err().effect, Effect::None, "{id}");
        }
        assert!(segment(&"a".repeat(65)).is_err());
    }

    #[test]
    fn only_short_waits_of_harmless_calls_are_waited_for_here() {
        let refusal = |status, retry_after| CcmError {
            status: Some(status),
            retry_after,
            ..CcmError::setup("")
        };
        let seconds = |n| Some(Duration::from_secs(n));
        assert_eq!(short_wait(&refusal(429, Some(5)), false), seconds(5));
        assert_eq!(short_wait(&refusal(429, Some(6)), true), None);
        assert_eq!(short_wait(&refusal(429, None), true), None);
        assert_eq!(short_wait(&refusal(503, Some(1)), true), seconds(1));
        assert_eq!(short_wait(&refusal(503, Some(1)), false), None);
        assert_eq!(short_wait(&refusal(500, Some(1)), true), None);
    }
}
