//! Who is told of alerts, and by which way.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;

use crate::model::{ChannelId, Pace, Seconds, SecretRef, Severity, Timestamp};

/// What the policy says about alerts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alerting {
    /// Days before the end at which a certificate that is not renewed is told of again.
    pub days: BTreeSet<u32>,
    /// By name.
    pub channels: BTreeMap<ChannelId, Channel>,
    /// What is called after each completed tick, so that somebody notices when that ends.
    pub heartbeat: Option<UrlSource>,
}

impl Default for Alerting {
    fn default() -> Self {
        Self {
            days: Self::DAYS.into(),
            channels: BTreeMap::new(),
            heartbeat: None,
        }
    }
}

impl Alerting {
    /// Unless the policy says otherwise.
    pub const DAYS: [u32; 5] = [30, 14, 7, 3, 1];
}

/// A URL, which may be a secret itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UrlSource {
    /// As it is.
    Plain(String),
    /// Where it is kept.
    Secret(SecretRef),
}

/// A way by which alerts leave the host, and which of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channel {
    /// Name in the policy.
    pub id: ChannelId,
    /// Which service, and whom.
    pub way: Way,
    /// Alerts below this are not sent.
    pub least: Severity,
    /// Only alerts about certificates with one of these tags, and those that are about none; empty for every alert.
    pub tags: BTreeSet<String>,
    /// While these last nothing leaves but what is critical.
    pub quiet: Option<Quiet>,
    /// Whether the digest of the job `digest` goes there.
    pub digest: bool,
    /// How many messages a recipient gets; `None` where each alert is one.
    pub pace: Option<Pace>,
    /// For one attempt, with connection and answer.
    pub timeout: Seconds,
}

impl Channel {
    /// Whom each alert is sent to; at least one.
    #[must_use]
    pub fn recipients(&self) -> &[String] {
        match &self.way {
            Way::Email(email) => &email.to,
            Way::Webhook(hook) => &hook.to,
        }
    }
}

/// The services.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// Mails.
    Email(EmailPolicy),
    /// Calls of a URL.
    Webhook(WebhookPolicy),
}

/// Settings of a channel of calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookPolicy {
    /// What is called.
    pub url: UrlSource,
    /// Signs what is sent (HMAC-SHA256).
    pub signing_key: Option<SecretRef>,
    /// PEM file with the only authorities that are trusted; `None` takes the system's.
    pub roots: Option<PathBuf>,
    /// What the receiver is called in lists: one word.
    pub to: Vec<String>,
}

/// Settings of a channel of mails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmailPolicy {
    /// The sender's address.
    pub from: String,
    /// Addresses; never empty.
    pub to: Vec<String>,
    /// Who takes the mails over.
    pub relay: Relay,
}

impl EmailPolicy {
    /// PEM file with the only authorities that the server is trusted by, if there is one.
    #[must_use]
    pub fn roots(&self) -> Option<&Path> {
        match &self.relay {
            Relay::Smtp(server) => server.roots.as_deref(),
            Relay::Sendmail(_) => None,
        }
    }
}

/// Who takes mails over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Relay {
    /// A server.
    Smtp(SmtpPolicy),
    /// This host's own mail system: a program like sendmail(8), by absolute path.
    Sendmail(PathBuf),
}

/// A mail server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SmtpPolicy {
    /// Name or address; the name that its certificate must show.
    pub server: String,
    /// Port.
    pub port: u16,
    /// TLS.
    pub security: Security,
    /// User and password.
    pub login: Option<(String, SecretRef)>,
    /// PEM file with the only authorities that are trusted; `None` takes the system's.
    pub roots: Option<PathBuf>,
}

/// How the connection to a mail server is kept secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// Plain, then TLS before anything is said (RFC 3207); a server that offers none is refused.
    StartTls,
    /// TLS from the first byte (RFC 8314).
    Tls,
    /// None: for a server on this host.
    None,
}

impl Security {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::StartTls, Self::Tls, Self::None];

    /// As the policy writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::StartTls => "starttls",
            Self::Tls => "tls",
            Self::None => "none",
        }
    }

    /// The port that belongs to it: submission (RFC 6409), submission over TLS (RFC 8314), SMTP.
    #[must_use]
    pub const fn port(self) -> u16 {
        match self {
            Self::StartTls => 587,
            Self::Tls => 465,
            Self::None => 25,
        }
    }
}

/// A part of every day, perhaps over midnight. In minutes of the day; both differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quiet {
    /// First minute.
    pub from: u16,
    /// The minute after the last.
    pub until: u16,
    /// In which the day is read.
    pub zone: TimeZone,
}

impl Quiet {
    /// When it ends, if `now` is in it.
    #[must_use]
    pub fn end(&self, now: Timestamp) -> Option<Timestamp> {
        let zoned = jiff::Timestamp::from_second(now.0).ok()?;
        let local = zoned.to_zoned(self.zone.clone()).datetime();
        let at = u16::try_from(i32::from(local.hour()) * 60 + i32::from(local.minute())).ok()?;
        let (inside, next_day) = if self.from < self.until {
            ((self.from..self.until).contains(&at), false)
        } else {
            (at >= self.from || at < self.until, at >= self.from)
        };
        if !inside {
            return None;
        }
        let day = match next_day {
            true => local.date().tomorrow().ok()?,
            false => local.date(),
        };
        let (hour, minute) = (self.until / 60, self.until % 60);
        let end = day.at(i8::try_from(hour).ok()?, i8::try_from(minute).ok()?, 0, 0);
        // Where clocks change, a moment that does not exist is the first one after it, and one that exists twice is the
        // first that is to come.
        let end = self.zone.to_ambiguous_timestamp(end);
        let first = Timestamp(end.compatible().ok()?.as_second());
        let second = Timestamp(end.later().ok()?.as_second());
        [first, second].into_iter().find(|end| *end > now)
    }
}

impl fmt::Display for Quiet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, until) = (self.from, self.until);
        write!(
            f,
            "{:02}:{:02}-{:02}:{:02}",
            from / 60,
            from % 60,
            until / 60,
            until % 60
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quiet_hours_end_today_or_tomorrow() {
        let at = |text: &str| Timestamp::parse(text).unwrap();
        let night = Quiet {
            from: 22 * 60,
            until: 7 * 60,
            zone: TimeZone::UTC,
        };
        let morning = at("2030-01-02T07:00:00Z");
        assert_eq!(night.end(at("2030-01-01T22:00:00Z")), Some(morning));
        assert_eq!(night.end(at("2030-01-02T06:59:59Z")), Some(morning));
        assert_eq!(night.end(morning), None);
        assert_eq!(night.end(at("2030-01-01T21:59:59Z")), None);
        let noon = Quiet {
            from: 12 * 60,
            until: 13 * 60 + 30,
            zone: TimeZone::UTC,
        };
        assert_eq!(
            noon.end(at("2030-01-01T12:00:00Z")),
            Some(at("2030-01-01T13:30:00Z"))
        );
        assert_eq!(noon.end(at("2030-01-01T13:30:00Z")), None);
        assert_eq!(noon.to_string(), "12:00-13:30");
    }

    #[test]
    fn quiet_hours_are_those_of_their_zone_also_where_clocks_change() {
        let at = |text: &str| Timestamp::parse(text).unwrap();
        let night = |until: u16| Quiet {
            from: 22 * 60,
            until,
            zone: TimeZone::get("Europe/Berlin").unwrap(),
        };
        let end = |until, now: &str| night(until).end(at(now)).map(|end| end.to_string());
        let some = |text: &str| Some(text.to_owned());
        // Winter, the night in which an hour is missing, summer, the night that has one twice.
        for (now, until) in [
            ("2027-01-10T21:00:00Z", "2027-01-11T06:00:00Z"),
            ("2027-03-27T21:00:00Z", "2027-03-28T05:00:00Z"),
            ("2027-07-10T20:00:00Z", "2027-07-11T05:00:00Z"),
            ("2027-10-30T20:00:00Z", "2027-10-31T06:00:00Z"),
        ] {
            assert_eq!(end(7 * 60, now), some(until), "{now}");
        }
        assert_eq!(end(7 * 60, "2027-07-10T19:59:59Z"), None, "21:59 in summer");
        // 02:30 does not exist, and exists twice.
        assert_eq!(
            end(150, "2027-03-28T00:30:00Z"),
            some("2027-03-28T01:30:00Z")
        );
        assert_eq!(
            end(150, "2027-10-31T00:10:00Z"),
            some("2027-10-31T00:30:00Z")
        );
        assert_eq!(
            end(150, "2027-10-31T01:10:00Z"),
            some("2027-10-31T01:30:00Z")
        );
    }
}
