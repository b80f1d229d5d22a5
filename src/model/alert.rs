//! What a person is told.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::{About, Kind};

/// Something a person should know, as long as it stands. The planner names every standing alert in each plan; raising
/// it once and saying when it is over is a matter of comparing keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// What it is about.
    pub key: AlertKey,
    /// How bad.
    pub severity: Severity,
    /// How far it has come: an alert that stands is told again when this has grown. 0 where nothing grows.
    #[serde(default)]
    pub step: u32,
    /// One line.
    pub title: String,
    /// What happened and what to do.
    pub text: String,
}

/// What an alert is about, such as `rolled-back/web`: a kind and the certificate or target.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AlertKey(String);

impl AlertKey {
    /// Of a kind and what it concerns.
    #[must_use]
    pub fn new(kind: &str, subject: &str) -> Self {
        Self(format!("{kind}/{subject}"))
    }

    /// What it concerns: a certificate, a target, `TARGET/CERTIFICATE`.
    #[must_use]
    pub fn subject(&self) -> &str {
        self.0.split_once('/').map_or("", |(_, subject)| subject)
    }

    /// Whether it is about a way by which alerts leave the host.
    #[must_use]
    pub fn is_about_channels(&self) -> bool {
        self.0.starts_with(Self::CHANNELS)
    }

    /// The name of the table `[watch.NAME]` that it is about, where it is about one.
    #[must_use]
    pub fn watch(&self) -> Option<&str> {
        let subject = self.0.starts_with("watched-").then(|| self.subject())?;
        Some(subject.split_once(' ').map_or(subject, |(name, _)| name))
    }

    /// Its kind: what stands before the subject.
    #[must_use]
    pub fn kind(&self) -> &str {
        Self::kind_of(&self.0)
    }

    /// The kind of a key that was written down.
    #[must_use]
    pub fn kind_of(key: &str) -> &str {
        key.split_once('/').map_or(key, |(kind, _)| kind)
    }

    /// What its subject names; `None` for a kind that an earlier renewd knew.
    #[must_use]
    pub fn about(&self) -> Option<About> {
        Kind::find(self.kind()).map(|kind| kind.about)
    }

    /// Kind: an issuer refuses the credentials.
    pub const CREDENTIALS: &str = "credentials-refused";

    /// Kind: the credentials for an issuer end soon.
    pub const ENDING: &str = "credentials-expiring";

    /// Kind: the CA that an issuer signs with ends soon.
    pub const AUTHORITY: &str = "issuer-expiring";

    /// Kind: the roots by which an issuer is trusted end soon.
    pub const ROOTS: &str = "roots-expiring";

    /// Kind: an issuer fails for several certificates.
    pub const ISSUER: &str = "issuer-failing";

    /// Kinds of alerts about ways by which alerts leave the host begin with it.
    pub const CHANNELS: &str = "alerts-";

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AlertKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// How bad it is. A kind of alert has one severity; what gets worse is another kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Good to know.
    Notice,
    /// Will become critical unless a person acts.
    Warning,
    /// Users are affected, or will be soon.
    Critical,
}

impl Severity {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Notice, Self::Warning, Self::Critical];

    /// The code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Notice => "notice",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.code())
    }
}
