//! Temporary keys of the agency that an ECS has: asked for at its metadata service, renewed long before they end.
//!
//! The service is spoken to in its newer form, with a token of its own, and without one where it does not know that. It
//! lies at a link-local address that is this very host to the network, hence plain HTTP and never by a proxy.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::ccm::Answer;
use crate::ccm::client::{Keys, USER_AGENT, header_value};
use crate::ccm::error::{CcmError, Class, Effect, Operation};
use crate::ccm::http::Endpoint;
use crate::pki::Secret;
use crate::sys::clock::Clock;

/// Gives the keys of the agency.
pub(crate) struct Agency {
    endpoint: Endpoint,
    clock: Arc<dyn Clock>,
    timeout: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    keys: Option<Held>,
    /// The service's own token.
    token: Option<Secret>,
    /// Seconds since 1970 until which the token, or the knowledge that there is none, is good.
    token_until: i64,
    /// When asking failed last, and how: whoever waited meanwhile hears the same.
    failed: Option<(Instant, Box<CcmError>)>,
}

struct Held {
    keys: Arc<Keys>,
    /// Seconds since 1970.
    refresh_at: i64,
    expires_at: i64,
}

/// Keys for one exchange.
pub(crate) struct AgencyLease {
    pub(crate) keys: Arc<Keys>,
    /// Whether they were fetched for this very call: asking again would bring nothing better.
    pub(crate) fresh: bool,
}

impl Agency {
    /// Checks the address; sends nothing. Without one it is that of every ECS.
    pub(crate) fn new(
        address: Option<&str>,
        clock: Arc<dyn Clock>,
        timeout: Duration,
    ) -> Answer<Self> {
        let endpoint = Endpoint::metadata(address.unwrap_or(METADATA), ATTEMPT)?;
        Ok(Self {
            endpoint,
            clock,
            timeout,
            state: Mutex::default(),
        })
    }

    /// `host:port`, for people.
    pub(crate) fn host(&self) -> &str {
        self.endpoint.host()
    }

    /// Keys that are good for a while yet. Fails no later than `deadline`.
    pub(crate) async fn get(&self, deadline: Instant) -> Answer<AgencyLease> {
        let begun = Instant::now();
        let late = || self.error("no keys of the agency in the time of the call");
        let Ok(mut state) = tokio::time::timeout_at(deadline, self.state.lock()).await else {
            return Err(late());
        };
        if let Some(lease) = self.held(&state) {
            return Ok(lease);
        }
        if let Some((at, error)) = &state.failed
            && *at >= begun
        {
            return Err(error.clone());
        }
        let until = deadline.min(Instant::now() + self.timeout);
        match self.fetch(&mut state, until).await {
            Ok(held) => {
                let keys = Arc::clone(&held.keys);
                state.keys = Some(held);
                state.failed = None;
                Ok(AgencyLease { keys, fresh: true })
            }
            Err(error) => {
                let now = self.clock.now().0;
                if let Some(old) = &mut state.keys
                    && now < old.expires_at
                {
                    tracing::warn!(%error, "keys of the agency not renewed; the old ones are used while they are valid");
                    old.refresh_at = old.expires_at.min(now + REFRESH_AGAIN);
                    return Ok(AgencyLease {
                        keys: Arc::clone(&old.keys),
                        fresh: true,
                    });
                }
                state.failed = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    /// Forgets keys that were refused, unless others have taken their place.
    pub(crate) async fn discard(&self, keys: &Arc<Keys>) {
        let mut state = self.state.lock().await;
        if state
            .keys
            .as_ref()
            .is_some_and(|held| Arc::ptr_eq(&held.keys, keys))
        {
            state.keys = None;
        }
    }

    fn held(&self, state: &State) -> Option<AgencyLease> {
        let held = state.keys.as_ref()?;
        (self.clock.now().0 < held.refresh_at).then(|| AgencyLease {
            keys: Arc::clone(&held.keys),
            fresh: false,
        })
    }

    /// `GET /openstack/latest/securitykey`, with a new token once where the old one is refused.
    async fn fetch(&self, state: &mut State, until: Instant) -> Answer<Held> {
        let mut renewed = false;
        loop {
            self.renew_token(state, until).await?;
            let mut headers = common();
            if let Some(token) = &state.token {
                let value = header_value(token.expose(), "the token of the metadata service")?;
                headers.insert(HeaderName::from_static("x-metadata-token"), value);
            }
            let call = operation("metadata get keys of agency", "GET", KEYS);
            let reply = self
                .endpoint
                .exchange(&call, "", headers, None, until.min(attempt()))
                .await
                .map_err(harmless)?;
            let now = self.clock.now().0;
            if reply.is_success() {
                return read(&reply.body, now).map_err(|what| self.error(what));
            }
            let unconfigured = std::str::from_utf8(&reply.body)
                .is_ok_and(|text| text.contains("Please configure Cloud Service Agency first"));
            if reply.status == 401 && !renewed && !unconfigured {
                state.token = None;
                state.token_until = 0;
                renewed = true;
                continue;
            }
            let secrets: Vec<&[u8]> = state.token.iter().map(Secret::expose).collect();
            let refusal = reply.refusal(&call, self.endpoint.host(), now, &secrets);
            let class = if reply.status >= 500 {
                Class::Transient
            } else {
                // No agency on this ECS, or no such service here.
                Class::Configuration
            };
            return Err(harmless(Box::new(CcmError { class, ..refusal })));
        }
    }

    /// `PUT /meta-data/latest/api/token`. A service that does not know it is asked without one for a day.
    async fn renew_token(&self, state: &mut State, until: Instant) -> Answer<()> {
        let now = self.clock.now().0;
        if now < state.token_until {
            return Ok(());
        }
        let mut headers = common();
        headers.insert(
            HeaderName::from_static("x-metadata-token-ttl-seconds"),
            HeaderValue::from_static(TOKEN_LIFE_TEXT),
        );
        let call = operation("metadata get token", "PUT", TOKEN);
        let reply = self
            .endpoint
            .exchange(&call, "", headers, None, until.min(attempt()))
            .await
            .map_err(harmless)?;
        let now = self.clock.now().0;
        match reply.status {
            200..=299 => {
                let token = reply.body.trim_ascii().to_vec();
                header_value(&token, "the token of the metadata service")?;
                state.token = Some(Secret::new(token));
                // Not to the last second: a call that begins with it must not outlive it.
                state.token_until = now + TOKEN_LIFE - 60;
            }
            404 | 405 | 503 => {
                state.token = None;
                state.token_until = now + WITHOUT_TOKEN;
            }
            _ => {
                let refusal = reply.refusal(&call, self.endpoint.host(), now, &[]);
                return Err(harmless(Box::new(refusal)));
            }
        }
        Ok(())
    }

    fn error(&self, message: impl Into<String>) -> Box<CcmError> {
        let call = operation("metadata get keys of agency", "GET", KEYS);
        let host = self.endpoint.host();
        Box::new(CcmError::call(
            &call,
            host,
            Class::Transient,
            Effect::None,
            message,
        ))
    }
}

/// The answer in either of its spellings. What is wrong with it is told without what it holds.
fn read(body: &[u8], now: i64) -> Result<Held, &'static str> {
    #[derive(Deserialize)]
    struct Both {
        #[serde(alias = "credentials")]
        credential: Value,
    }
    let both: Both = serde_json::from_slice(body).map_err(|_| "the answer holds no keys")?;
    let text = |keys: &[&str]| {
        keys.iter()
            .find_map(|key| both.credential.get(key)?.as_str())
            .map(str::trim)
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
    };
    let access_key = text(&["access", "accessKeyId", "access_key_id"]);
    let secret_key = text(&["secret", "secretAccessKey", "secret_access_key"]);
    let token = text(&["securitytoken", "securityToken", "security_token"]);
    let keys = Keys {
        access_key: access_key.ok_or("the answer holds no access key")?,
        secret_key: Secret::from(secret_key.ok_or("the answer holds no secret key")?),
        security_token: Some(Secret::from(token.ok_or("the answer holds no token")?)),
    };
    keys.check()
        .map_err(|_| "the answer holds keys that no request can carry")?;
    let end = text(&["expires_at", "expiration"])
        .and_then(|end| end.parse::<jiff::Timestamp>().ok())
        .map_or(now + LIFETIME_IF_UNSAID, |end| end.as_second());
    Ok(Held {
        keys: Arc::new(keys),
        // The service may hold on to keys that have less left than that: they are not asked for again before every call.
        refresh_at: (end - REFRESH_BEFORE).max(now + REFRESH_AGAIN).min(end),
        expires_at: end,
    })
}

/// Asking for keys changes nothing, and the call they are for was not sent.
fn harmless(mut error: Box<CcmError>) -> Box<CcmError> {
    error.effect = Effect::None;
    error
}

fn operation(name: &'static str, method: &'static str, path: &str) -> Operation {
    Operation {
        name,
        method,
        path: path.to_owned(),
    }
}

fn common() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(
        HeaderName::from_static("user-agent"),
        HeaderValue::from_static(USER_AGENT),
    );
    headers
}

fn attempt() -> Instant {
    Instant::now() + ATTEMPT
}

/// Where every ECS finds its metadata.
const METADATA: &str = "http://169.254.169.254";
const TOKEN: &str = "/meta-data/latest/api/token";
const KEYS: &str = "/openstack/latest/securitykey";
/// Seconds that a token of the service lives, as the SDK asks for it.
const TOKEN_LIFE: i64 = 21_600;
const TOKEN_LIFE_TEXT: &str = "21600";
/// Seconds until a service without tokens is asked for one again.
const WITHOUT_TOKEN: i64 = 86_400;
/// Seconds before their end at which keys are renewed, as the SDK does.
const REFRESH_BEFORE: i64 = 40 * 60;
/// Seconds until keys are asked for again while those that are there are good: after a failed renewal, or one that brought keys
/// near their end.
const REFRESH_AGAIN: i64 = 60;
/// Seconds, for an answer without an end: good for some minutes, then asked again.
const LIFETIME_IF_UNSAID: i64 = REFRESH_BEFORE + 300;
/// For one exchange with the service, which is next door.
const ATTEMPT: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_of_the_answer_are_read() {
        for text in [
            r#"{"credential": {"access": "AK", "secret": "SK", "securitytoken": "T", "expires_at": "2024-05-08T09:10:07.720000Z"}}"#,
            r#"{"credentials": {"accessKeyId": "AK", "secretAccessKey": "SK", "securityToken": "T", "expiration": "2024-05-08T09:10:07.720000Z"}}"#,
            r#"{"credentials": {"access_key_id": "AK", "secret_access_key": "SK", "security_token": "T", "expiration": "2024-05-08T09:10:07Z"}}"#,
        ] {
            let held = read(text.as_bytes(), 0).unwrap_or_else(|what| panic!("{what}: {text}"));
            assert_eq!(held.keys.access_key, "AK");
            assert_eq!(held.keys.secret_key.expose(), b"SK");
            assert_eq!(held.expires_at, 1_715_159_407);
            assert_eq!(held.refresh_at, 1_715_159_407 - 2400);
        }
    }

    #[test]
    fn keys_near_their_end_are_kept_for_a_minute_but_not_beyond_it() {
        let end = 1_715_159_407;
        let text = r#"{"credential": {"access": "AK", "secret": "SK", "securitytoken": "T", "expires_at": "2024-05-08T09:10:07Z"}}"#;
        let refresh_at = |now| match read(text.as_bytes(), now) {
            Ok(held) => held.refresh_at,
            Err(what) => panic!("{what}"),
        };
        // Exactly forty minutes and one; less; less than a minute; past.
        assert_eq!(refresh_at(end - 2460), end - 2400);
        assert_eq!(refresh_at(end - 2400), end - 2340);
        assert_eq!(refresh_at(end - 600), end - 540);
        assert_eq!(refresh_at(end - 30), end);
        assert_eq!(refresh_at(end + 30), end);
    }

    #[test]
    fn what_is_no_answer_is_refused_without_being_repeated() {
        for text in [
            "",
            "no agency",
            r#"{"credential": {}}"#,
            r#"{"credential": {"access": "AK", "secret": " ", "securitytoken": "T"}}"#,
            r#"{"credential": {"access": "A K", "secret": "SK", "securitytoken": "T"}}"#,
        ] {
            let error = read(text.as_bytes(), 0).err().expect(text);
            assert!(error.starts_with("the answer holds"), "{error}");
        }
        let unsaid = r#"{"credential": {"access": "AK", "secret": "SK", "securitytoken": "T"}}"#;
        let held = read(unsaid.as_bytes(), 1000).unwrap_or_else(|what| panic!("{what}"));
        assert_eq!(held.refresh_at, 1300);
    }
}
