//! A client without manners: it sends what it is told to, signed or not, and shows what came back.

use std::fmt::Write as _;
use std::sync::OnceLock;
use std::time::Duration;

use aws_lc_rs::{digest, hmac};
use serde_json::Value;

use renewd::model::Timestamp;

use crate::support::ccm::Ccm;
use crate::support::described;

/// A server and a user of it.
pub(crate) trait Peer {
    /// The base URL.
    fn endpoint(&self) -> String;
    /// AK and SK.
    fn keys(&self) -> (String, String);
    /// The server's time.
    fn time(&self) -> Timestamp;
    /// Who carries requests there.
    fn client(&self) -> reqwest::Client {
        client().clone()
    }
}

impl Peer for Ccm {
    fn endpoint(&self) -> String {
        self.running.endpoint()
    }
    fn keys(&self) -> (String, String) {
        (self.access_key().to_owned(), self.secret_key().to_owned())
    }
    fn time(&self) -> Timestamp {
        self.now()
    }
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Reply {
    /// The HTTP status.
    pub(crate) status: u16,
    /// Its headers; names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    /// The body as JSON; null when it is none.
    pub(crate) body: Value,
    /// The body as it came.
    pub(crate) bytes: Vec<u8>,
}

impl Reply {
    /// One header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers
            .find(|(have, _)| have == name)
            .map(|(_, value)| value.as_str())
    }
    /// Stops the test unless it has this status.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.body);
        self
    }
    /// Stops the test unless it is this refusal, in the form of the reference.
    #[track_caller]
    pub(crate) fn refused(&self, status: u16, code: &str) {
        assert_eq!(
            (self.status, self.body["error_code"].as_str()),
            (status, Some(code)),
            "{}",
            self.body
        );
        assert!(!self.body["error_msg"].as_str().unwrap().is_empty());
    }
    /// A text of the body.
    #[track_caller]
    pub(crate) fn text(&self, field: &str) -> String {
        self.body[field]
            .as_str()
            .unwrap_or_else(|| panic!("no {field} in {}", self.body))
            .to_owned()
    }
}

/// A request that is being put together.
#[derive(Clone)]
pub(crate) struct Send {
    pub(crate) method: &'static str,
    /// Path and query as they are sent.
    pub(crate) target: String,
    pub(crate) body: Vec<u8>,
    pub(crate) headers: Vec<(String, String)>,
}

impl Send {
    pub(crate) fn new(method: &'static str, target: &str) -> Self {
        Self {
            method,
            target: target.to_owned(),
            body: Vec::new(),
            headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        }
    }
    pub(crate) fn json(mut self, body: &Value) -> Self {
        self.body = body.to_string().into_bytes();
        self
    }
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
    /// Signs with this key at this time.
    pub(crate) fn signed(
        mut self,
        peer: &impl Peer,
        access_key: &str,
        secret_key: &str,
        date: &str,
    ) -> Self {
        let endpoint = peer.endpoint();
        let (_, host) = endpoint.split_once("://").unwrap();
        self = self.header("host", host).header("x-sdk-date", date);
        let mut headers: Vec<(String, String)> = self.headers.clone();
        headers.sort();
        let names: Vec<&str> = headers.iter().map(|(name, _)| name.as_str()).collect();
        let names = names.join(";");
        let mut lines = String::new();
        for (name, value) in &headers {
            writeln!(lines, "{name}:{value}").unwrap();
        }
        let (path, query) = self.target.split_once('?').unwrap_or((&self.target, ""));
        let mut query: Vec<&str> = query.split('&').collect();
        query.sort_unstable();
        let canonical = format!(
            "{}\n{path}/\n{}\n{lines}\n{names}\n{}",
            self.method,
            query.join("&"),
            hex(digest::digest(&digest::SHA256, &self.body).as_ref()),
        );
        let hash = hex(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref());
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret_key.as_bytes());
        let text = format!("SDK-HMAC-SHA256\n{date}\n{hash}");
        let signature = hex(hmac::sign(&key, text.as_bytes()).as_ref());
        let authorization = format!(
            "SDK-HMAC-SHA256 Access={access_key}, SignedHeaders={names}, Signature={signature}"
        );
        self.header("authorization", &authorization)
    }
    /// Signs as the user that every test server has.
    pub(crate) fn by_user(self, peer: &impl Peer) -> Self {
        let (access_key, secret_key) = peer.keys();
        self.signed(peer, &access_key, &secret_key, &date(peer))
    }
    /// Sends it; `Err` when there is no answer.
    pub(crate) async fn attempt(self, peer: &impl Peer) -> Result<Reply, reqwest::Error> {
        let url = format!("{}{}", peer.endpoint(), self.target);
        let mut request = peer.client().request(self.method.parse().unwrap(), url);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let response = request.body(self.body).send().await?;
        let status = response.status().as_u16();
        let headers = response.headers().iter();
        let headers = headers
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
            .collect();
        let bytes = response.bytes().await?;
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        described::check(self.method, &self.target, status, &body);
        Ok(Reply {
            status,
            headers,
            body,
            bytes: bytes.to_vec(),
        })
    }
    /// Sends it.
    pub(crate) async fn send(self, peer: &impl Peer) -> Reply {
        self.attempt(peer).await.unwrap()
    }
}

/// One for all tests, since making one reads the machine's trusted roots; without kept connections, which would belong
/// to the runtime of the test that opened them.
pub(crate) fn client() -> &'static reqwest::Client {
    static CLIENT: OnceLock<reqwest::Client> = OnceLock::new();
    CLIENT.get_or_init(|| {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let builder = reqwest::Client::builder()
            .no_proxy()
            .pool_max_idle_per_host(0);
        builder.timeout(Duration::from_secs(60)).build().unwrap()
    })
}

/// Signed as the server's user.
pub(crate) async fn get(peer: &impl Peer, target: &str) -> Reply {
    Send::new("GET", target).by_user(peer).send(peer).await
}
/// Signed as the server's user.
pub(crate) async fn post(peer: &impl Peer, target: &str, body: &Value) -> Reply {
    Send::new("POST", target)
        .json(body)
        .by_user(peer)
        .send(peer)
        .await
}
/// Signed as the server's user.
pub(crate) async fn put(peer: &impl Peer, target: &str, body: &Value) -> Reply {
    Send::new("PUT", target)
        .json(body)
        .by_user(peer)
        .send(peer)
        .await
}
/// Signed as the server's user, without a body.
pub(crate) async fn post_nothing(peer: &impl Peer, target: &str) -> Reply {
    Send::new("POST", target).by_user(peer).send(peer).await
}
/// Signed as the server's user.
pub(crate) async fn delete(peer: &impl Peer, target: &str) -> Reply {
    Send::new("DELETE", target).by_user(peer).send(peer).await
}

/// The server's time as `X-Sdk-Date` has it.
pub(crate) fn date(peer: &impl Peer) -> String {
    sdk_date(peer.time())
}
/// A time as `X-Sdk-Date` has it.
pub(crate) fn sdk_date(at: Timestamp) -> String {
    at.to_string().replace(['-', ':'], "")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
