//! The client of one endpoint: authentication, time, retries inside one call.

mod call;

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde::de::DeserializeOwned;
use serde_json::error::Category;
use tokio::time::Instant;

use crate::ccm::Answer;
use crate::ccm::answer::Reply;
use crate::ccm::codes::blames_the_token;
use crate::ccm::error::{CcmError, Class, Effect};
use crate::ccm::http::Endpoint;
use crate::ccm::iam::{Identity, Lease, Tokens};
use crate::ccm::limit::Limit;
use crate::ccm::metadata::Agency;
use crate::ccm::pace::Pace;
use crate::ccm::sign;
use crate::pki::Secret;
use crate::sys::clock::Clock;
use crate::sys::entropy;
use crate::sys::systemd;

pub(crate) use call::{Call, segment};

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
    /// Requests are signed with temporary keys that this ECS gets for its agency.
    Agency {
        /// Base URL of the metadata service; that of every ECS without it.
        metadata: Option<String>,
    },
}

/// Speaks to one endpoint as one user. Cheap to share; holds the token and the connections.
pub struct Client {
    endpoint: Endpoint,
    credentials: Credentials,
    clock: Arc<dyn Clock>,
    timeout: Duration,
    limit: Option<Arc<Limit>>,
    pace: Arc<Pace>,
    /// Whether calls that do no harm twice are tried again while their time lasts.
    patient: bool,
}

enum Credentials {
    Keys(Arc<Keys>),
    Token(Box<Tokens>),
    Agency(Box<Agency>),
}

/// What a request is signed with.
pub(crate) struct Keys {
    pub(crate) access_key: String,
    pub(crate) secret_key: Secret,
    /// Goes with temporary keys.
    pub(crate) security_token: Option<Secret>,
}

impl Keys {
    /// Whether they can be sent at all.
    pub(crate) fn check(&self) -> Answer<()> {
        let shown = self.access_key.bytes().all(|byte| byte.is_ascii_graphic());
        if self.access_key.is_empty() || !shown || self.secret_key.expose().is_empty() {
            return Err(Box::new(CcmError::setup(
                "access key or secret key is empty or no plain text",
            )));
        }
        if let Some(token) = &self.security_token {
            header_value(token.expose(), "the security token")?;
        }
        Ok(())
    }

    fn secrets(&self) -> Vec<&[u8]> {
        std::iter::once(&self.secret_key)
            .chain(&self.security_token)
            .map(Secret::expose)
            .collect()
    }
}

/// By what one exchange is recognised.
enum Proof {
    Keys { keys: Arc<Keys>, fresh: bool },
    Token(Lease),
}

impl Proof {
    /// Whether it was fetched for this very call, so that another one would be no better.
    const fn is_fresh(&self) -> bool {
        match self {
            Self::Keys { fresh, .. } => *fresh,
            Self::Token(lease) => lease.is_fresh(),
        }
    }

    fn secrets(&self) -> Vec<&[u8]> {
        match self {
            Self::Keys { keys, .. } => keys.secrets(),
            Self::Token(lease) => vec![lease.value().expose()],
        }
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
        let clock_of = || Arc::clone(&clock);
        let (account, credentials) = match access.auth {
            Auth::AccessKey {
                access_key,
                secret_key,
                security_token,
            } => {
                let keys = Keys {
                    access_key,
                    secret_key,
                    security_token,
                };
                keys.check()?;
                let account = format!("key {}", keys.access_key);
                (account, Credentials::Keys(Arc::new(keys)))
            }
            Auth::Password {
                iam_endpoint,
                user,
                password,
                domain,
                project,
            } => {
                let account = format!("user {iam_endpoint} {domain} {user}");
                let identity = Identity {
                    user,
                    password,
                    domain,
                    project,
                };
                let iam = Endpoint::new(&iam_endpoint, roots, connect)?;
                let tokens = Tokens::new(iam, identity, clock_of(), access.timeout)?;
                (account, Credentials::Token(Box::new(tokens)))
            }
            Auth::Agency { metadata } => {
                let agency = Agency::new(metadata.as_deref(), clock_of(), access.timeout)?;
                let account = format!("agency {}", agency.host());
                (account, Credentials::Agency(Box::new(agency)))
            }
        };
        Ok(Self {
            pace: Pace::of(endpoint.host(), &account),
            endpoint,
            credentials,
            clock,
            timeout: access.timeout,
            limit: None,
            patient: false,
        })
    }

    /// Asks no more often than this allows, together with all others that share it; in place of the usual pace of the
    /// account. How much it is asked at once is then the business of whoever set the limit.
    #[must_use]
    pub fn within(mut self, limit: Arc<Limit>) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Calls that do no harm twice are tried again while their time lasts, also where the other side says nothing of
    /// when: for people, who would only type them again. A planner has a backoff of its own and is told at once.
    #[must_use]
    pub fn patient(mut self) -> Self {
        self.patient = true;
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
                request_id: reply.request_id(&self.own_secrets()),
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

    /// Carries out a call whose answer is a file.
    pub(crate) async fn call_file(&self, call: Call<'_>) -> Answer<Secret> {
        let reply = self.carry_out(&call).await?;
        Ok(Secret::from(reply.body))
    }

    async fn carry_out(&self, call: &Call<'_>) -> Answer<Reply> {
        let mut deadline = Instant::now() + self.timeout;
        let (mut waits, mut tries, mut renewed) = (0, 0, false);
        loop {
            if let Some(limit) = &self.limit {
                // None of the remote side's time.
                deadline += limit.turn().await;
            }
            let proof = match &self.credentials {
                Credentials::Keys(keys) => Proof::Keys {
                    keys: Arc::clone(keys),
                    fresh: true,
                },
                Credentials::Token(tokens) => Proof::Token(tokens.get(deadline).await?),
                Credentials::Agency(agency) => {
                    let lease = agency.get(deadline).await?;
                    Proof::Keys {
                        keys: lease.keys,
                        fresh: lease.fresh,
                    }
                }
            };
            let refusal = match self.exchange(call, &proof, deadline).await {
                Ok(reply) if reply.is_success() => {
                    systemd::alive();
                    return Ok(reply);
                }
                Ok(reply) => {
                    let mut secrets = self.own_secrets();
                    secrets.extend(proof.secrets());
                    let now = self.clock.now().0;
                    reply.refusal(&call.operation, self.host(), now, &secrets)
                }
                Err(error) => *error,
            };
            if refusal.status == Some(401)
                && !proof.is_fresh()
                && !renewed
                && blames_the_token(refusal.code.as_deref())
            {
                self.discard(&proof).await;
                renewed = true;
                continue;
            }
            let wait = match short_wait(&refusal, call.repeatable) {
                Some(wait) if waits < MOST_WAITS => {
                    waits += 1;
                    wait
                }
                _ if self.patient
                    && call.repeatable
                    && may_pass(&refusal)
                    && tries < MOST_TRIES =>
                {
                    tries += 1;
                    backoff(tries)
                }
                _ => return Err(Box::new(refusal)),
            };
            if Instant::now() + wait >= deadline {
                return Err(Box::new(refusal));
            }
            tracing::debug!(operation = %call.operation, ?wait, "tried again");
            tokio::time::sleep(wait).await;
        }
    }

    /// Forgets what was refused, so that the next exchange brings something newer.
    async fn discard(&self, proof: &Proof) {
        match (&self.credentials, proof) {
            (Credentials::Token(tokens), Proof::Token(lease)) => tokens.discard(lease),
            (Credentials::Agency(agency), Proof::Keys { keys, .. }) => agency.discard(keys).await,
            _ => {}
        }
    }

    /// One exchange, signed with the clock's time or carrying the token.
    async fn exchange(&self, call: &Call<'_>, proof: &Proof, deadline: Instant) -> Answer<Reply> {
        let place = match self.limit {
            Some(_) => None,
            None => Some(self.pace.place(deadline).await),
        };
        if let Some(None) = place {
            let message = "other calls of this account took all of its time";
            let class = Class::Transient;
            let error = CcmError::call(&call.operation, self.host(), class, Effect::None, message);
            return Err(Box::new(error));
        }
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
        put("content-type", HeaderValue::from_static(call.content_type));
        // Not signed, so that a proxy may change it.
        put("user-agent", HeaderValue::from_static(USER_AGENT));
        match proof {
            Proof::Keys { keys, .. } => {
                let date = sdk_date(self.clock.now().0);
                let mut signed = vec![
                    ("content-type", call.content_type),
                    ("host", self.host()),
                    ("x-sdk-date", date.as_str()),
                ];
                if let Some(text) = keys.security_token.as_ref().and_then(Secret::expose_str) {
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
                let secret_key = keys.secret_key.expose();
                let signature = sign::sign(&request, &keys.access_key, secret_key, &date);
                put("x-sdk-date", header_value(date.as_bytes(), "the date")?);
                put(
                    "authorization",
                    header_value(signature.authorization.as_bytes(), "the access key")?,
                );
            }
            Proof::Token(token) => {
                put(
                    "x-auth-token",
                    header_value(token.value().expose(), "the IAM token")?,
                );
            }
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

    /// What must not stand in a message, whatever a single exchange carries.
    fn own_secrets(&self) -> Vec<&[u8]> {
        match &self.credentials {
            Credentials::Keys(keys) => keys.secrets(),
            Credentials::Token(tokens) => vec![tokens.password()],
            Credentials::Agency(_) => Vec::new(),
        }
    }
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

/// Whether the same call may go well a moment later: throttled, or nobody there for now.
fn may_pass(refusal: &CcmError) -> bool {
    matches!(refusal.class, Class::Transient | Class::RateLimited)
        // A longer wait was asked for than a call has: the person is told.
        && refusal.retry_after.is_none_or(|seconds| seconds <= LONGEST_WAIT)
}

/// How long before the next try: doubled each time, and spread, so that many that failed together do not come together.
fn backoff(tries: u32) -> Duration {
    let mut random = [0];
    entropy::fill(&mut random);
    spread(tries, random[0])
}

/// Between a half and the whole of 0.4 s, 0.8 s, 1.6 s, …
fn spread(tries: u32, random: u8) -> Duration {
    let whole = Duration::from_millis(200) * 2_u32.saturating_pow(tries.min(8));
    whole / 2 + whole / 2 * u32::from(random) / 255
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
/// Further tries of a patient client in one call: together some seconds.
const MOST_TRIES: u32 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_is_in_the_form_that_is_signed() {
        assert_eq!(sdk_date(1_748_248_200), "20250526T083000Z");
    }

    #[test]
    fn waits_between_tries_double_and_are_spread() {
        let millis = |tries, random| spread(tries, random).as_millis();
        assert_eq!((millis(1, 0), millis(1, 255)), (200, 400));
        assert_eq!((millis(2, 0), millis(2, 255)), (400, 800));
        assert_eq!((millis(4, 0), millis(4, 255)), (1600, 3200));
        assert!((200..=400).contains(&backoff(1).as_millis()));
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
