//! Letters as calls of a URL: JSON, signed; and the heartbeat, a call that says only that renewd lives.
//!
//! Redirects are not followed: the letter is for the host that the policy names. The URL may be a secret, and is in no
//! error.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use reqwest::Client;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde_json::json;

use crate::model::{Message, Occasion, SecretRef, UrlSource, WebhookPolicy};
use crate::notify::{self, BoxFuture, Notifier, Receipt, SendError};
use crate::pki::Secret;
use crate::sys::{error_chain, fs};

/// The notifier.
pub struct Webhook {
    client: Client,
    url: Secret,
    key: Option<hmac::Key>,
}

impl Webhook {
    /// Calls of one URL, each within `limit`. Connects to nobody yet.
    ///
    /// # Errors
    /// [`SendError::Unreachable`] when a secret or the roots cannot be read.
    pub fn new(
        policy: &WebhookPolicy,
        limit: Duration,
        resolve: &dyn Fn(&SecretRef) -> Result<Secret, String>,
    ) -> Result<Self, SendError> {
        let roots = policy.roots.as_deref().map(|path| {
            fs::read(path, LARGEST_ROOTS)
                .map_err(|error| SendError::Unreachable(error_chain(&error)))
        });
        let key = policy.signing_key.as_ref().map(resolve).transpose();
        let key = key.map_err(SendError::Unreachable)?;
        Ok(Self {
            client: client(roots.transpose()?.as_deref(), limit)?,
            url: read_url(&policy.url, resolve)?,
            key: key.map(|key| hmac::Key::new(hmac::HMAC_SHA256, key.expose())),
        })
    }

    async fn call(&self, message: &Message) -> Result<Receipt, SendError> {
        let body = body(message).to_string();
        let url = self.url.expose_str().unwrap_or_default();
        let mut request = self
            .client
            .post(url)
            .header("content-type", "application/json");
        if let Some(key) = &self.key {
            request = request.header(SIGNATURE, signature(key, body.as_bytes()));
        }
        let answer = request.body(body).send().await;
        let answer = answer.map_err(|error| {
            if error.is_connect() {
                unreachable(error)
            } else {
                SendError::Unknown(error_chain(&error.without_url()))
            }
        })?;
        let status = answer.status();
        match status.as_u16() {
            200..=299 => Ok(Receipt(status.to_string())),
            // What it says about the letter itself: trying again would change nothing.
            400 | 413 | 415 | 422 => Err(SendError::Refused(format!("it answers {status}"))),
            _ => Err(SendError::Unreachable(format!("it answers {status}"))),
        }
    }
}

impl Notifier for Webhook {
    fn send<'a>(
        &'a mut self,
        message: &'a Message,
        _recipient: &'a str,
    ) -> BoxFuture<'a, Result<Receipt, SendError>> {
        Box::pin(self.call(message))
    }

    fn close(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}

/// Calls a URL by GET; any answer 2xx is good.
///
/// # Errors
/// [`SendError::Unreachable`] says why it did not come through; never the URL.
pub async fn heartbeat(
    url: &UrlSource,
    resolve: &(dyn Fn(&SecretRef) -> Result<Secret, String> + Send + Sync),
) -> Result<(), SendError> {
    let url = read_url(url, resolve)?;
    let client = client(None, HEARTBEAT)?;
    let request = client.get(url.expose_str().unwrap_or_default());
    let status = request.send().await.map_err(unreachable)?.status();
    if status.is_success() {
        Ok(())
    } else {
        Err(SendError::Unreachable(format!("it answers {status}")))
    }
}

fn read_url(
    source: &UrlSource,
    resolve: &dyn Fn(&SecretRef) -> Result<Secret, String>,
) -> Result<Secret, SendError> {
    let url = match source {
        UrlSource::Plain(url) => Secret::from(url.clone()),
        UrlSource::Secret(reference) => resolve(reference).map_err(SendError::Unreachable)?,
    };
    // One in the policy was looked at when that was read; one in a file was not.
    const GOOD: [&str; 4] = [
        "https://",
        "http://127.0.0.1:",
        "http://[::1]:",
        "http://localhost:",
    ];
    let text = url.expose_str().unwrap_or_default();
    if matches!(&source, UrlSource::Plain(_)) || GOOD.iter().any(|good| text.starts_with(good)) {
        Ok(url)
    } else {
        let why = "the URL does not begin with https://";
        Err(SendError::Unreachable(why.to_owned()))
    }
}

fn unreachable(error: reqwest::Error) -> SendError {
    SendError::Unreachable(error_chain(&error.without_url()))
}

fn client(roots: Option<&[u8]>, limit: Duration) -> Result<Client, SendError> {
    let bad = |why: String| SendError::Unreachable(format!("TLS: {why}"));
    let mut store = RootCertStore::empty();
    match roots {
        Some(pem) => {
            for certificate in CertificateDer::pem_slice_iter(pem) {
                let certificate = certificate.map_err(|error| bad(error.to_string()))?;
                let added = store.add(certificate);
                added.map_err(|error| bad(error.to_string()))?;
            }
        }
        None => {
            store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| bad(error.to_string()))?
        .with_root_certificates(store)
        .with_no_client_auth();
    Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(reqwest::redirect::Policy::none())
        .timeout(limit)
        .build()
        .map_err(|error| bad(error_chain(&error)))
}

/// A receiver that gets one twice knows it by its `id`. A call is about one letter.
fn body(message: &Message) -> serde_json::Value {
    let Some(letter) = message.letters.first() else {
        return json!({});
    };
    let certificates: Vec<_> = letter
        .certificates
        .iter()
        .map(|one| {
            json!({
                "name": one.name,
                "not_after": one.not_after.map(|end| end.to_string()),
            })
        })
        .collect();
    let (occasion, step) = match letter.occasion {
        Occasion::Raised(step) => ("raised", step),
        Occasion::Over => ("over", 0),
        Occasion::Digest => ("digest", 0),
    };
    json!({
        "id": message.id,
        "follows": message.references.first(),
        "host": letter.host,
        "alert": letter.key,
        "occasion": occasion,
        "step": step,
        "severity": letter.severity.code(),
        "subject": notify::subject(message),
        "title": letter.title,
        "text": letter.text,
        "certificates": certificates,
        "sections": letter.digest.as_ref().map(|digest| &digest.sections),
        "raised_at": letter.raised_at.to_string(),
        "date": letter.date.to_string(),
    })
}

/// `sha256=` and the HMAC-SHA256 of the body in hex.
fn signature(key: &hmac::Key, body: &[u8]) -> String {
    let tag = hmac::sign(key, body);
    let hex: String = tag.as_ref().iter().map(|b| format!("{b:02x}")).collect();
    format!("sha256={hex}")
}

/// The header with the signature of the body.
pub const SIGNATURE: &str = "x-renewd-signature";
/// For a heartbeat as a whole.
const HEARTBEAT: Duration = Duration::from_secs(20);
/// Bytes.
const LARGEST_ROOTS: u64 = 1024 * 1024;
