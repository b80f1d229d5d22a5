//! Who is told of alerts.

use std::collections::{BTreeMap, BTreeSet};

use jiff::tz::TimeZone;

use crate::config::code::Code;
use crate::config::diagnostic::Diagnostic;
use crate::config::fields::Fields;
use crate::config::lift::Lift;
use crate::config::raw;
use crate::config::scalar::{self, PathRule};
use crate::config::source::Place;
use crate::model::{
    Alerting, CertificateId, CertificatePolicy, Channel, ChannelId, EmailPolicy, Pace, Quiet,
    Relay, Seconds, Security, Severity, SmtpPolicy, UrlSource, Way, WebhookPolicy,
};

impl Lift<'_> {
    /// Everything about alerts.
    pub(super) fn alerting(
        &mut self,
        top: &Fields<'_>,
        certificates: &BTreeMap<CertificateId, CertificatePolicy>,
    ) -> Alerting {
        let mut alerting = Alerting {
            days: self.alert_days(top),
            ..Alerting::default()
        };
        let Some(alert) = top.table("alert", &raw::ALERT) else {
            return alerting;
        };
        alerting.heartbeat = self.url(&alert, "heartbeat").map(|(url, _)| url);
        let emails = alert.tables("email", &raw::EMAIL);
        let hooks = alert.tables("webhook", &raw::WEBHOOK);
        for (name, fields) in &hooks {
            if let Some((_, other)) = emails.iter().find(|(email, _)| email == name) {
                let message = format!("two ways for alerts have the name `{name}`");
                let label = "the second";
                let problem = Diagnostic::error(Code::SameName, fields.header, message, label);
                self.problems.push(problem.also(other.header, "the first"));
            }
        }
        for (name, fields) in emails {
            let (email, pace) = (self.email(&fields), self.pace(&fields));
            let way = email.zip(pace);
            let way = way.map(|(email, pace)| (Way::Email(email), Some(pace)));
            self.take_channel(&mut alerting, (name, &fields), way, certificates);
        }
        for (name, fields) in hooks {
            // A program that is called wants one call for each alert.
            let way = self.webhook(name, &fields);
            let way = way.map(|hook| (Way::Webhook(hook), None));
            self.take_channel(&mut alerting, (name, &fields), way, certificates);
        }
        alerting
    }

    fn take_channel(
        &mut self,
        alerting: &mut Alerting,
        (name, fields): (&str, &Fields<'_>),
        way: Option<(Way, Option<Pace>)>,
        certificates: &BTreeMap<CertificateId, CertificatePolicy>,
    ) {
        let Ok(id) = ChannelId::new(name) else {
            return;
        };
        if let Some(channel) = self.channel(id, fields, way, certificates) {
            alerting.channels.insert(channel.id.clone(), channel);
        }
    }

    /// Days before the end.
    fn alert_days(&mut self, top: &Fields<'_>) -> BTreeSet<u32> {
        let mut days = BTreeSet::new();
        let Some((numbers, _)) = top.counts("alert_days") else {
            return Alerting::DAYS.into();
        };
        for (number, place) in numbers {
            match u32::try_from(number) {
                Ok(number) if (1..=MOST_DAYS).contains(&number) => {
                    days.insert(number);
                }
                _ => {
                    let message = format!("`alert_days` has {number}");
                    let label = format!("expected 1 to {MOST_DAYS}");
                    self.problems
                        .push(Diagnostic::error(Code::Channel, place, message, label));
                }
            }
        }
        days
    }

    fn webhook(&mut self, name: &str, fields: &Fields<'_>) -> Option<WebhookPolicy> {
        let url = self.url(fields, "url");
        let signing_key = self.secret(fields, "signing_key").ok();
        let roots = self.path(fields, "roots", PathRule::Absolute);
        if fields.has("roots") && roots.is_none() {
            return None;
        }
        let (url, host) = url?;
        Some(WebhookPolicy {
            url,
            signing_key: signing_key?,
            roots: roots.map(|(path, _)| path),
            to: vec![host.unwrap_or_else(|| name.to_owned())],
        })
    }

    /// A URL, or a reference to one; with its host where that is no secret.
    fn url(&mut self, fields: &Fields<'_>, key: &str) -> Option<(UrlSource, Option<String>)> {
        let (text, place) = fields.text(key)?;
        if let Ok(reference) = scalar::reference(text) {
            return Some((UrlSource::Secret(reference), None));
        }
        match scalar::url(text) {
            Ok((url, host)) => Some((UrlSource::Plain(url), Some(host))),
            Err(refusal) => {
                let what = format!("`{key}`");
                self.problems.refuse(Code::Channel, place, &what, refusal);
                None
            }
        }
    }

    /// What every way has.
    fn channel(
        &mut self,
        id: ChannelId,
        fields: &Fields<'_>,
        way: Option<(Way, Option<Pace>)>,
        certificates: &BTreeMap<CertificateId, CertificatePolicy>,
    ) -> Option<Channel> {
        let least = match fields.text("least") {
            None => (!fields.has("least")).then_some(Severity::Notice),
            Some((word, _)) => Severity::ALL.iter().find(|s| s.code() == word).copied(),
        };
        let tags = self.tags(fields);
        self.unused_tags(fields, certificates);
        let quiet = self.quiet(fields, least.unwrap_or(Severity::Notice));
        let limits = (Seconds(1), Seconds::minutes(5));
        let timeout = self.duration(fields, "timeout", Seconds(30), limits);
        let (way, pace) = way?;
        let digest = match fields.flag("digest") {
            Some(flag) => flag,
            None if fields.has("digest") => return None,
            None => matches!(way, Way::Email(_)),
        };
        Some(Channel {
            id,
            way,
            least: least?,
            tags: tags?,
            quiet: quiet?,
            digest,
            pace,
            timeout: timeout?,
        })
    }

    /// How many mails a recipient gets.
    fn pace(&mut self, fields: &Fields<'_>) -> Option<Pace> {
        let limits = (Seconds(0), Seconds::hours(24));
        let gather = self.duration(fields, "gather", Pace::GATHER, limits);
        let per_day = match fields.count("mails_per_day") {
            None => (!fields.has("mails_per_day")).then_some(Pace::PER_DAY),
            Some((number, place)) => match u32::try_from(number) {
                Ok(number) if (1..=MOST_MAILS).contains(&number) => Some(number),
                _ => {
                    let message = format!("`mails_per_day` is {number}");
                    let label = format!("expected 1 to {MOST_MAILS}");
                    self.problems
                        .push(Diagnostic::error(Code::Channel, place, message, label));
                    None
                }
            },
        };
        Some(Pace {
            gather: gather?,
            per_day: per_day?,
        })
    }

    fn email(&mut self, fields: &Fields<'_>) -> Option<EmailPolicy> {
        let from = self.mail(fields, "from");
        let to = self.mails(fields, "to");
        let relay = self.relay(fields);
        Some(EmailPolicy {
            from: from?,
            to: to?,
            relay: relay?,
        })
    }

    /// A program or a server, one of them.
    fn relay(&mut self, fields: &Fields<'_>) -> Option<Relay> {
        let Some(program) = fields.entry("sendmail") else {
            return self.smtp(fields).map(Relay::Smtp);
        };
        for key in ["server", "port", "tls", "user", "password", "roots"] {
            if let Some(entry) = fields.entry(key) {
                let message = format!("`{key}` has no effect beside `sendmail`");
                let problem = Diagnostic::error(Code::Channel, entry.key, message, "");
                self.problems
                    .push(problem.also(program.key, "this takes the mails over"));
            }
        }
        let path = self.path(fields, "sendmail", PathRule::Absolute)?;
        Some(Relay::Sendmail(path.0))
    }

    fn smtp(&mut self, fields: &Fields<'_>) -> Option<SmtpPolicy> {
        let security = match fields.text("tls") {
            None => Some(Security::StartTls),
            Some((word, _)) => Security::ALL.iter().find(|s| s.as_str() == word).copied(),
        };
        let server = match fields.text("server") {
            None if fields.has("server") || fields.is_partial() => None,
            None => {
                let message = "nobody takes the mails over";
                let label = "needs a server";
                let problem = Diagnostic::error(Code::Channel, fields.header, message, label);
                self.problems.push(problem.help(
                    "write `server = \"mail.example.com\"`, or `sendmail = \"/usr/sbin/sendmail\"`",
                ));
                None
            }
            Some((text, place)) => match scalar::server(text) {
                Ok(server) => Some((server, place)),
                Err(refusal) => {
                    self.problems
                        .refuse(Code::Channel, place, "`server`", refusal);
                    None
                }
            },
        };
        let port = match fields.count("port") {
            None if fields.has("port") => None,
            None => security.map(Security::port),
            Some((number, place)) => match u16::try_from(number) {
                Ok(number) if number > 0 => Some(number),
                _ => {
                    let message = "`port` is no port";
                    let problem = Diagnostic::error(Code::Channel, place, message, "");
                    self.problems
                        .push(problem.help("write a number from 1 to 65535"));
                    None
                }
            },
        };
        let login = self.login(fields);
        let roots = self.path(fields, "roots", PathRule::Absolute);
        if fields.has("roots") && roots.is_none() {
            return None;
        }
        let (security, (server, place)) = (security?, server?);
        if security == Security::None && !scalar::is_loopback(&server) {
            let message = "alerts would go over a network in the clear";
            let label = "is another host";
            let problem = Diagnostic::error(Code::Channel, place, message, label);
            self.problems.push(problem.help(
                "write `tls = \"starttls\"` or `tls = \"tls\"`; none is for a server on this host itself",
            ));
            return None;
        }
        Some(SmtpPolicy {
            server,
            port: port?,
            security,
            login: login?,
            roots: roots.map(|(path, _)| path),
        })
    }

    /// User and password, both or none.
    fn login(&mut self, fields: &Fields<'_>) -> Option<Option<(String, crate::model::SecretRef)>> {
        let password = self.secret(fields, "password").ok()?;
        if !fields.has("user") && password.is_none() {
            return Some(None);
        }
        let user = self.line(fields, "user", LONGEST_USER);
        if fields.has("user") && user.is_none() {
            return None;
        }
        match (user, password) {
            (Some((user, _)), Some(password)) => Some(Some((user, password))),
            (user, _) => {
                if !fields.is_partial() {
                    let (there, missing) = match user {
                        Some(_) => ("user", "password"),
                        None => ("password", "user"),
                    };
                    let message = format!("`{there}` is there and `{missing}` is not");
                    let problem =
                        Diagnostic::error(Code::Credentials, fields.header, message, "needs both");
                    self.problems.push(problem);
                }
                None
            }
        }
    }

    fn mail(&mut self, fields: &Fields<'_>, key: &str) -> Option<String> {
        let (text, place) = fields.text(key)?;
        self.one_mail(key, text, place)
    }

    fn one_mail(&mut self, key: &str, text: &str, place: Place) -> Option<String> {
        match scalar::mail_address(text) {
            Ok(address) => Some(address),
            Err(refusal) => {
                let what = format!("`{key}`");
                self.problems.refuse(Code::Channel, place, &what, refusal);
                None
            }
        }
    }

    fn mails(&mut self, fields: &Fields<'_>, key: &str) -> Option<Vec<String>> {
        let list = fields.list(key)?;
        let mut good = list.whole;
        let mut found = Vec::new();
        for (text, place) in &list.texts {
            match self.one_mail(key, text, *place) {
                Some(address) if found.contains(&address) => {
                    let message = format!("`{key}` has {address} twice");
                    self.problems
                        .push(Diagnostic::error(Code::Repeated, *place, message, ""));
                    good = false;
                }
                Some(address) => found.push(address),
                None => good = false,
            }
        }
        if list.whole && found.is_empty() && good {
            let message = format!("`{key}` is empty");
            let problem = Diagnostic::error(Code::Channel, list.place, message, "");
            self.problems
                .push(problem.help(format!("write `{key} = [\"ops@example.com\"]`")));
            return None;
        }
        good.then_some(found)
    }

    fn quiet(&mut self, fields: &Fields<'_>, least: Severity) -> Option<Option<Quiet>> {
        let Some((text, place)) = fields.text("quiet") else {
            if let (false, Some(entry)) = (fields.has("quiet"), fields.entry("time_zone")) {
                let message = "`time_zone` has no effect without `quiet`";
                self.problems
                    .push(Diagnostic::warning(Code::NoEffect, entry.key, message, ""));
            }
            return (!fields.has("quiet")).then_some(None);
        };
        let zone = match fields.text("time_zone") {
            None if fields.has("time_zone") => return None,
            None => TimeZone::UTC,
            Some((zone, place)) => match scalar::zone(zone) {
                Ok(zone) => zone,
                Err(refusal) => {
                    self.problems
                        .refuse(Code::Schedule, place, "`time_zone`", refusal);
                    return None;
                }
            },
        };
        match scalar::quiet(text).map(|quiet| Quiet { zone, ..quiet }) {
            Ok(quiet) => {
                if least == Severity::Critical {
                    let message = "`quiet` has no effect: what is critical is always sent";
                    let problem = Diagnostic::warning(Code::NoEffect, place, message, "");
                    self.problems.push(problem);
                }
                Some(Some(quiet))
            }
            Err(refusal) => {
                self.problems
                    .refuse(Code::Channel, place, "`quiet`", refusal);
                None
            }
        }
    }

    /// Words of a certificate, or of those who care.
    pub(super) fn tags(&mut self, fields: &Fields<'_>) -> Option<BTreeSet<String>> {
        let Some(list) = fields.list("tags") else {
            return (!fields.has("tags")).then(BTreeSet::new);
        };
        let mut good = list.whole;
        let mut found = BTreeSet::new();
        for (text, place) in &list.texts {
            // The rules of all names.
            if let Err(error) = CertificateId::new(text) {
                let message = format!("{text:?} cannot be a tag");
                let problem = Diagnostic::error(Code::BadId, *place, message, error.to_string());
                self.problems.push(problem);
                good = false;
            } else if !found.insert((*text).to_owned()) {
                let message = format!("`tags` has {text} twice");
                self.problems
                    .push(Diagnostic::error(Code::Repeated, *place, message, ""));
                good = false;
            }
        }
        good.then_some(found)
    }

    /// A misspelt tag would keep alerts from people without a word.
    fn unused_tags(
        &mut self,
        fields: &Fields<'_>,
        certificates: &BTreeMap<CertificateId, CertificatePolicy>,
    ) {
        if self.problems.hide_uses() || self.problems.has_errors() {
            return;
        }
        for (tag, place) in fields.list("tags").map_or(Vec::new(), |list| list.texts) {
            if certificates.values().any(|one| one.tags.contains(tag))
                || self.watch_tags.contains(tag)
            {
                continue;
            }
            let message = format!("no certificate has the tag `{tag}`");
            let problem = Diagnostic::warning(Code::Unused, place, message, "");
            self.problems.push(problem);
        }
    }
}

/// Characters; a mail address fits.
const LONGEST_USER: usize = 254;
/// A day has so many minutes.
const MOST_MAILS: u32 = 1440;
/// As `expired_days_since`.
const MOST_DAYS: u32 = 1095;
