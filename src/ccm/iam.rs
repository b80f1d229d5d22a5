//! IAM tokens (CCM API 3.2): one for all calls, fetched once however many wait for it, renewed before it ends.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use crate::ccm::Answer;
use crate::ccm::client::{JSON, USER_AGENT, header_value};
use crate::ccm::error::{CcmError, Class, Effect, Operation};
use crate::ccm::http::Endpoint;
use crate::pki::Secret;
use crate::sys::clock::Clock;

/// Who asks for the token, and for which project.
pub(crate) struct Identity {
    pub(crate) user: String,
    pub(crate) password: Secret,
    pub(crate) domain: String,
    pub(crate) project: String,
}

/// Gives tokens.
pub(crate) struct Tokens {
    endpoint: Endpoint,
    identity: Identity,
    clock: Arc<dyn Clock>,
    timeout: Duration,
    /// Replaced as a whole, never changed: whoever holds an old one does not disturb the others.
    slot: Mutex<Arc<Slot>>,
}

/// A place for one token. Everybody who finds it empty waits for the same fetch and gets the same outcome, also when
/// that is an error: a wrong password is sent once, not once per waiting call.
#[derive(Default)]
struct Slot {
    outcome: OnceCell<Answer<Token>>,
    /// The token before, which is good until its end if this fetch fails.
    previous: Option<Token>,
}

#[derive(Clone)]
struct Token {
    value: Arc<Secret>,
    /// Seconds since 1970, by our clock.
    refresh_at: i64,
    expires_at: i64,
}

/// A token to be used for one exchange.
pub(crate) struct Lease {
    slot: Arc<Slot>,
    token: Token,
    fresh: bool,
}

impl Lease {
    pub(crate) fn value(&self) -> &Secret {
        &self.token.value
    }

    /// Whether it was fetched while this very call waited: a second fetch would bring nothing better.
    pub(crate) const fn is_fresh(&self) -> bool {
        self.fresh
    }
}

impl Tokens {
    pub(crate) fn new(
        endpoint: Endpoint,
        identity: Identity,
        clock: Arc<dyn Clock>,
        timeout: Duration,
    ) -> Answer<Self> {
        if identity.password.expose_str().is_none_or(str::is_empty) {
            let message = "the password for IAM is empty or not UTF-8";
            return Err(Box::new(CcmError::setup(message)));
        }
        Ok(Self {
            endpoint,
            identity,
            clock,
            timeout,
            slot: Mutex::default(),
        })
    }

    pub(crate) fn password(&self) -> &[u8] {
        self.identity.password.expose()
    }

    /// A token that is good for a while yet. Fails no later than `deadline`.
    pub(crate) async fn get(&self, deadline: Instant) -> Answer<Lease> {
        loop {
            let slot = self.current();
            let fresh = slot.outcome.get().is_none();
            let fetched = slot.outcome.get_or_init(|| self.fetch());
            let Ok(outcome) = tokio::time::timeout_at(deadline, fetched).await else {
                let message = "no token in the time of the call";
                return Err(self.error(Class::Transient, message));
            };
            match outcome {
                Ok(token) if fresh || self.clock.now().0 < token.refresh_at => {
                    let token = token.clone();
                    return Ok(Lease { slot, token, fresh });
                }
                Ok(token) => self.replace(
                    &slot,
                    Slot {
                        previous: Some(token.clone()),
                        ..Slot::default()
                    },
                ),
                Err(error) => {
                    let now = self.clock.now().0;
                    let Some(previous) = slot.previous.clone().filter(|old| now < old.expires_at)
                    else {
                        self.replace(&slot, Slot::default());
                        return Err(error.clone());
                    };
                    tracing::warn!(%error, "IAM token not renewed; the old one is used while it is valid");
                    let old = Token {
                        refresh_at: previous.expires_at.min(now + REFRESH_AGAIN),
                        ..previous
                    };
                    self.replace(
                        &slot,
                        Slot {
                            outcome: OnceCell::new_with(Some(Ok(old))),
                            previous: None,
                        },
                    );
                }
            }
        }
    }

    /// Forgets a token that was refused, unless somebody else has replaced it already.
    pub(crate) fn discard(&self, lease: &Lease) {
        self.replace(&lease.slot, Slot::default());
    }

    fn current(&self) -> Arc<Slot> {
        let slot = self.slot.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&slot)
    }

    fn replace(&self, old: &Arc<Slot>, new: Slot) {
        let mut slot = self.slot.lock().unwrap_or_else(PoisonError::into_inner);
        if Arc::ptr_eq(&slot, old) {
            *slot = Arc::new(new);
        }
    }

    /// `POST /v3/auth/tokens`.
    async fn fetch(&self) -> Answer<Token> {
        let identity = &self.identity;
        let password = identity.password.expose_str().unwrap_or_default();
        let body = json!({"auth": {
            "identity": {"methods": ["password"], "password": {"user": {
                "name": identity.user,
                "password": password,
                "domain": {"name": identity.domain},
            }}},
            "scope": {"project": {"name": identity.project}},
        }});
        let mut headers = HeaderMap::new();
        let mut put = |name: &'static str, value: &'static str| {
            headers.insert(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        };
        put("content-type", JSON);
        put("user-agent", USER_AGENT);
        let deadline = Instant::now() + self.timeout;
        let reply = self
            .endpoint
            .exchange(
                &operation(),
                // The catalogue is long and of no use here.
                "nocatalog=true",
                headers,
                Some(body.to_string().into_bytes()),
                deadline,
            )
            .await
            .map_err(without_effect)?;
        let now = self.clock.now().0;
        if !reply.is_success() {
            let secrets = [self.password()];
            let refusal = reply.refusal(&operation(), self.endpoint.host(), now, &secrets);
            return Err(without_effect(Box::new(refusal)));
        }
        let Some(value) = reply.subject_token else {
            let message = "the answer has no X-Subject-Token";
            return Err(self.error(Class::Transient, message));
        };
        header_value(value.expose(), "the IAM token")?;
        let lifetime = serde_json::from_slice::<TokenAnswer>(&reply.body)
            .ok()
            .and_then(|answer| answer.token.lifetime(now))
            .unwrap_or(LIFETIME_IF_UNSAID);
        Ok(Token {
            value: Arc::new(value),
            refresh_at: now + lifetime - (lifetime / 10).min(REFRESH_BEFORE),
            expires_at: now + lifetime,
        })
    }

    fn error(&self, class: Class, message: &str) -> Box<CcmError> {
        let host = self.endpoint.host();
        Box::new(CcmError::call(
            &operation(),
            host,
            class,
            Effect::None,
            message,
        ))
    }
}

fn operation() -> Operation {
    Operation {
        name: "IAM get token",
        method: "POST",
        path: "/v3/auth/tokens".to_owned(),
    }
}

/// A token that nobody uses changes nothing, and the call it was for was not sent.
fn without_effect(mut error: Box<CcmError>) -> Box<CcmError> {
    error.effect = Effect::None;
    error
}

#[derive(Deserialize)]
struct TokenAnswer {
    token: TokenTimes,
}

#[derive(Deserialize)]
struct TokenTimes {
    expires_at: Option<String>,
    issued_at: Option<String>,
}

impl TokenTimes {
    /// Seconds. By the difference of the two times, so that a clock that differs from IAM's does no harm.
    fn lifetime(&self, now: i64) -> Option<i64> {
        let read = |text: &Option<String>| {
            let moment: jiff::Timestamp = text.as_deref()?.parse().ok()?;
            Some(moment.as_second())
        };
        let end = read(&self.expires_at)?;
        Some((end - read(&self.issued_at).unwrap_or(now)).max(0))
    }
}

/// Seconds before its end at which a token is renewed, or a tenth of its life if that is shorter: a call that begins
/// with it must not outlive it.
const REFRESH_BEFORE: i64 = 30 * 60;
/// Seconds until a failed renewal is tried again while the old token is good.
const REFRESH_AGAIN: i64 = 60;
/// Seconds, for an answer without times; the reference says 24 hours.
const LIFETIME_IF_UNSAID: i64 = 3600;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lifetime_does_not_depend_on_our_clock() {
        let times = |expires_at: &str, issued_at: Option<&str>| TokenTimes {
            expires_at: Some(expires_at.to_owned()),
            issued_at: issued_at.map(str::to_owned),
        };
        let end = "2019-02-13T06:52:13.855000Z";
        let begin = Some("2019-02-12T06:52:13.855000Z");
        assert_eq!(times(end, begin).lifetime(0), Some(86_400));
        assert_eq!(times(end, None).lifetime(1_550_040_133), Some(600));
        assert_eq!(times(end, None).lifetime(i64::from(u32::MAX)), Some(0));
        assert_eq!(times("soon", None).lifetime(0), None);
    }
}
