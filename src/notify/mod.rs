//! Who is told: letters out of alerts, and the ways by which they leave the host.
//!
//! A notifier tries once and says how it went. When to try again, and what was delivered, is the journal's matter.

pub mod desktop;
mod email;
mod merged;
mod render;
mod webhook;

use std::future::Future;
use std::pin::Pin;

pub use email::Email;
pub use merged::{html, message, subject, text};
pub use render::{digest, letter};
pub use webhook::{SIGNATURE, Webhook, heartbeat};

use crate::model::{Channel, Message, SecretRef, Way};
use crate::pki::Secret;

/// A way out of the host, for letters and several of them as one; keeps its connection for the next letter.
pub trait Notifier: Send {
    /// Tries once; ends within a bounded time whatever the other side does.
    fn send<'a>(
        &'a mut self,
        message: &'a Message,
        recipient: &'a str,
    ) -> BoxFuture<'a, Result<Receipt, SendError>>;

    /// Says goodbye to the other side.
    fn close(&mut self) -> BoxFuture<'_, ()>;
}

/// A boxed future, so that the trait can be an object.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What the other side said when it took the letter over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt(pub String);

/// Why a letter did not leave.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// No letter can leave by this way at present: no connection, no trust, a login that is refused, bad settings.
    #[error("{0}")]
    Unreachable(String),
    /// Handed over, and no answer came: it may have been taken over.
    #[error("{0}")]
    Unknown(String),
    /// Not this letter to this recipient, at present: an answer 4xx (RFC 5321, 4.2.1).
    #[error("{0}")]
    Later(String),
    /// Not this letter to this recipient, ever: an answer 5xx.
    #[error("{0}")]
    Refused(String),
}

/// The notifier of a channel. Secrets are read now.
///
/// # Errors
/// [`SendError::Unreachable`] when a secret or a file cannot be read.
pub fn notifier(
    channel: &Channel,
    resolve: &dyn Fn(&SecretRef) -> Result<Secret, String>,
) -> Result<Box<dyn Notifier>, SendError> {
    match &channel.way {
        Way::Email(policy) => Ok(Box::new(Email::new(
            policy,
            channel.timeout.to_std(),
            resolve,
        )?)),
        Way::Webhook(policy) => Ok(Box::new(Webhook::new(
            policy,
            channel.timeout.to_std(),
            resolve,
        )?)),
    }
}
