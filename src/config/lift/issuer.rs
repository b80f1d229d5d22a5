//! Issuers.

use crate::config::code::Code;
use crate::config::diagnostic::Diagnostic;
use crate::config::digest::Canon;
use crate::config::fields::Fields;
use crate::config::lift::Lift;
use crate::config::raw;
use crate::config::scalar::PathRule;
use crate::model::{
    IssuerId, IssuerKind, IssuerPace, IssuerPolicy, PcaPolicy, RemoteAccess, RemoteAuth, Seconds,
    Superseded, Timestamp,
};

impl Lift<'_> {
    /// One issuer of either kind.
    pub(super) fn issuer(
        &mut self,
        id: IssuerId,
        kind: &str,
        fields: &Fields<'_>,
    ) -> Option<IssuerPolicy> {
        let word = kind;
        let kind = match kind {
            "pca" => self.pca(fields).map(IssuerKind::Pca),
            _ => self.scm(fields).map(IssuerKind::Scm),
        };
        let endpoint = self.endpoint(fields, "endpoint");
        let roots = self.path(fields, "roots", PathRule::Absolute);
        let auth = self.auth(&id, word, fields);
        let limits = (Seconds(1), Seconds::minutes(10));
        let connect_timeout = self.duration(fields, "connect_timeout", Seconds(10), limits);
        let timeout = self.duration(fields, "timeout", Seconds(60), limits);
        let longest = (Seconds(0), Seconds::hours(1));
        let settle = self.duration(fields, "settle", Seconds::minutes(2), longest);
        if let (Some(IssuerKind::Scm(scm)), Some(length)) = (&kind, settle)
            && scm
                .purchase
                .as_ref()
                .is_some_and(|purchase| purchase.reserve)
            && length > LONGEST_IN_QUEUE
        {
            let place = fields.text("settle");
            let place = place.map_or(fields.header, |(_, place)| place);
            let message = "`settle` is too long for a purchase with `reserve = true`";
            let label = "the place in the queue would lapse before anything is bought";
            let problem = Diagnostic::error(Code::Duration, place, message, label);
            let help = format!("write a time of at most {LONGEST_IN_QUEUE}");
            self.problems.push(problem.help(help));
        }
        let pace = self.issuer_pace(fields);
        if let (Some(connect), Some(whole)) = (connect_timeout, timeout)
            && connect > whole
        {
            let place = ["connect_timeout", "timeout"]
                .iter()
                .find_map(|key| fields.text(key))
                .map_or(fields.header, |(_, place)| place);
            let message = "`connect_timeout` is longer than `timeout`";
            let label = format!("{connect} to connect, {whole} for the whole call");
            self.problems
                .push(Diagnostic::error(Code::Duration, place, message, label));
        }
        let credentials_expire = match fields.text("credentials_expire") {
            None if fields.has("credentials_expire") => return None,
            None => None,
            Some((text, place)) => match Timestamp::parse(text) {
                Ok(at) => Some(at),
                Err(error) => {
                    let message = "`credentials_expire` is no moment";
                    let problem =
                        Diagnostic::error(Code::Credentials, place, message, error.to_string());
                    let help = "write `2027-05-01` or `2027-05-01T12:00:00Z`";
                    self.problems.push(problem.help(help));
                    return None;
                }
            },
        };
        let kind = kind?;
        let access = RemoteAccess {
            endpoint: endpoint?,
            roots: roots.map(|(path, _)| path),
            auth: auth?,
            connect_timeout: connect_timeout?,
            timeout: timeout?,
        };
        let settle = settle?;
        let mut canon = Canon::new("issuer");
        canon.issuer_kind(&kind);
        canon.access(&access);
        canon.put("settle", settle.0);
        Some(IssuerPolicy {
            id,
            kind,
            access,
            credentials_expire,
            settle,
            digest: canon.finish(),
            pace: pace?,
        })
    }

    fn pca(&mut self, fields: &Fields<'_>) -> Option<PcaPolicy> {
        let ca = self.line(fields, "ca", LONGEST_NAME);
        let grace = (Seconds(0), Seconds::days(365));
        let superseded = match fields.has("revoke_superseded") {
            true => self
                .duration(fields, "revoke_superseded", Seconds::days(7), grace)
                .map(Superseded::RevokeAfter),
            false => Some(Superseded::Keep),
        };
        Some(PcaPolicy {
            ca: ca?.0,
            superseded: superseded?,
        })
    }

    /// How much is asked of it.
    fn issuer_pace(&mut self, fields: &Fields<'_>) -> Option<IssuerPace> {
        let usual = IssuerPace::default();
        let concurrency = self.at_most(fields, "concurrency", usual.concurrency, 1000);
        let per_second = self.at_most(
            fields,
            "requests_per_second",
            usual.requests_per_second,
            1000,
        );
        let per_hour = self.at_most(fields, "orders_per_hour", usual.orders_per_hour, 1_000_000);
        Some(IssuerPace {
            concurrency: concurrency?,
            requests_per_second: per_second?,
            orders_per_hour: per_hour?,
        })
    }

    /// A number from 1 on: with none nothing would ever be done.
    fn at_most(&mut self, fields: &Fields<'_>, key: &str, usual: u32, most: u32) -> Option<u32> {
        let Some((count, place)) = fields.count(key) else {
            return (!fields.has(key)).then_some(usual);
        };
        let count = u32::try_from(count).ok();
        let good = count.filter(|count| (1..=most).contains(count));
        if good.is_none() {
            let message = format!("`{key}` is out of range");
            let label = format!("from 1 to {most}");
            self.problems
                .push(Diagnostic::error(Code::Pacing, place, message, label));
        }
        good
    }

    /// An access key, a password or an agency, one of them.
    fn auth(&mut self, id: &IssuerId, kind: &str, fields: &Fields<'_>) -> Option<RemoteAuth> {
        let login = fields.table("password", &raw::PASSWORD);
        let keys = ["access_key", "secret_key", "security_token"];
        let written = keys.iter().find_map(|key| fields.entry(key));
        let by_key = self.access_key(fields);
        let by_password = login.map(|login| self.password(&login));
        let by_agency = self.agency(fields);
        if fields.flag("agency") == Some(true) {
            let Some(other) = written.or_else(|| fields.entry("password")) else {
                return by_agency;
            };
            let message = format!("issuer `{id}` has an agency and other credentials");
            let label = "one way to be recognised";
            let problem = Diagnostic::error(Code::Credentials, other.key, message, label)
                .help("keep either these or `agency = true`");
            self.problems.push(problem);
            return None;
        }
        match (written, login) {
            (Some(key), Some(login)) => {
                let message = format!("issuer `{id}` has an access key and a password");
                let label = "one way to be recognised";
                let problem = Diagnostic::error(Code::Credentials, key.key, message, label)
                    .also(login.header, "and another")
                    .help(format!(
                        "keep the access key or [issuer.{kind}.{id}.password], not both"
                    ));
                self.problems.push(problem);
                None
            }
            (Some(_), None) => by_key,
            (None, Some(_)) => by_password?,
            (None, None) if fields.has("password") || fields.is_partial() => None,
            // Neither true nor false, which was said already.
            (None, None) if fields.has("agency") && fields.flag("agency").is_none() => None,
            (None, None) => {
                let message = format!("issuer `{id}` has no credentials");
                let label = "needs an access key, a password or an agency";
                let problem = Diagnostic::error(Code::Credentials, fields.header, message, label);
                self.problems.push(problem.help(format!(
                    "write `access_key = \"file:/path\"` and `secret_key = \"file:/path\"`, a table [issuer.{kind}.{id}.password], or `agency = true` on an ECS"
                )));
                None
            }
        }
    }

    fn agency(&mut self, fields: &Fields<'_>) -> Option<RemoteAuth> {
        let metadata_endpoint = match fields.has("metadata_endpoint") {
            true => self.endpoint(fields, "metadata_endpoint")?,
            false => METADATA.to_owned(),
        };
        Some(RemoteAuth::Agency { metadata_endpoint })
    }

    fn access_key(&mut self, fields: &Fields<'_>) -> Option<RemoteAuth> {
        let access_key = self.secret(fields, "access_key");
        let secret_key = self.secret(fields, "secret_key");
        let security_token = self.secret(fields, "security_token");
        let some = [&access_key, &secret_key, &security_token];
        if some.iter().all(|secret| **secret == Ok(None)) {
            return None;
        }
        for (key, secret) in [("access_key", &access_key), ("secret_key", &secret_key)] {
            if *secret == Ok(None) && !fields.is_partial() {
                let message = format!("`{key}` is missing beside the other part of the key");
                let label = "needs both";
                let problem = Diagnostic::error(Code::Credentials, fields.header, message, label);
                self.problems
                    .push(problem.help(format!("write `{key} = \"file:/path\"`")));
            }
        }
        Some(RemoteAuth::AccessKey {
            access_key: access_key.ok()??,
            secret_key: secret_key.ok()??,
            security_token: security_token.ok()?,
        })
    }

    fn password(&mut self, fields: &Fields<'_>) -> Option<RemoteAuth> {
        let iam_endpoint = self.endpoint(fields, "iam_endpoint");
        let user = self.line(fields, "user", LONGEST_NAME);
        let password = self.secret(fields, "password");
        let domain = self.line(fields, "domain", LONGEST_NAME);
        let project = self.line(fields, "project", LONGEST_NAME);
        Some(RemoteAuth::Password {
            iam_endpoint: iam_endpoint?,
            user: user?.0,
            password: password.ok()??,
            domain: domain?.0,
            project: project?.0,
        })
    }
}

/// Characters: common names and the names of IAM have at most 64.
const LONGEST_NAME: usize = 64;
/// A place in the queue of those who buy is relied on for 50 minutes, and after this much of them something must be bought.
const LONGEST_IN_QUEUE: Seconds = Seconds::minutes(30);
/// Where every ECS finds its metadata.
const METADATA: &str = "http://169.254.169.254";
