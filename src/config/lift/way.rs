//! How a certificate comes about and when it is renewed, and whether its issuer can do that.

use crate::config::code::Code;
use crate::config::diagnostic::Diagnostic;
use crate::config::fields::Fields;
use crate::config::lift::Lift;
use crate::config::scalar;
use crate::config::source::Place;
use crate::model::{
    CertificateId, KeyAlgorithm, KeyReuse, KeySource, Name, OrderMode, RenewRule, Seconds,
};

/// How a certificate comes about.
#[derive(Debug, Clone, Copy)]
pub(super) struct Way {
    pub(super) order: OrderMode,
    pub(super) key: KeySource,
    pub(super) algorithm: KeyAlgorithm,
    pub(super) reuse: KeyReuse,
}

impl Lift<'_> {
    /// Key, order and issuer have to go together.
    pub(super) fn way(&mut self, id: &CertificateId, fields: &Fields<'_>) -> Option<Way> {
        let order = match fields.text("order") {
            Some(("auto", _)) => OrderMode::Auto,
            Some(("never", _)) => OrderMode::Never,
            None if !fields.has("order") => OrderMode::Auto,
            _ => return None,
        };
        let key = match (fields.text("key"), order) {
            (Some(("ccm", _)), _) => KeySource::Ccm,
            (Some(("local", _)), OrderMode::Auto) => KeySource::Local,
            (Some(("local", place)), OrderMode::Never) => {
                let message = format!("certificate `{id}` cannot have a local key");
                let label = "a certificate that others obtained comes with their key";
                let mut problem = Diagnostic::error(Code::Combination, place, message, label);
                if let Some((_, order)) = fields.text("order") {
                    problem = problem.also(order, "nothing is applied for here");
                }
                let help = "leave `key` out: it is fetched from CCM; or write `order = \"auto\"`";
                self.problems.push(problem.help(help));
                return None;
            }
            (None, _) if fields.has("key") => return None,
            (None, OrderMode::Auto) => KeySource::Local,
            (None, OrderMode::Never) => KeySource::Ccm,
            (Some(_), _) => return None,
        };
        let algorithm = match fields.text("key_algorithm") {
            Some((word, _)) => KeyAlgorithm::ALL.into_iter().find(|a| a.as_str() == word)?,
            None if !fields.has("key_algorithm") => KeyAlgorithm::EcP256,
            None => return None,
        };
        let reuse = match fields.flag("rekey") {
            Some(false) => KeyReuse::Reuse,
            Some(true) => KeyReuse::Rekey,
            None if !fields.has("rekey") => KeyReuse::Rekey,
            None => return None,
        };
        Some(Way {
            order,
            key,
            algorithm,
            reuse,
        })
    }

    /// What the issuer would refuse.
    pub(super) fn fits(
        &mut self,
        id: &CertificateId,
        fields: &Fields<'_>,
        names: &[(Name, Place)],
        way: Way,
        kind: &str,
    ) {
        if way.order == OrderMode::Never {
            return;
        }
        if way.key == KeySource::Ccm && way.reuse == KeyReuse::Reuse {
            let place = fields.node("rekey").map(|node| node.place);
            let message = format!("the key of certificate `{id}` cannot be used again");
            let label = "CCM makes a new key with each certificate";
            let place = place.unwrap_or(fields.header);
            let problem = Diagnostic::error(Code::Combination, place, message, label);
            self.problems
                .push(problem.help("write `rekey = true` or `key = \"local\"`"));
        }
        if kind != "pca" {
            return;
        }
        match way.key {
            KeySource::Ccm => {
                if way.algorithm == KeyAlgorithm::Rsa3072 {
                    let place = fields.text("key_algorithm").map(|(_, place)| place);
                    let message = format!("PCA makes no rsa-3072 key for certificate `{id}`");
                    let label = "not offered where CCM makes the key";
                    let problem = Diagnostic::error(
                        Code::KeyAlgorithm,
                        place.unwrap_or(fields.header),
                        message,
                        label,
                    );
                    self.problems.push(problem.help(
                        "write rsa-2048, rsa-4096, ec-p256 or ec-p384, or `key = \"local\"`",
                    ));
                }
                if let Some((_, place)) = names.get(PCA_NAMES) {
                    let count = names.len();
                    let message = format!("certificate `{id}` has {count} names");
                    let label = format!("PCA takes {PCA_NAMES} where it makes the key");
                    let problem = Diagnostic::error(Code::TooManyNames, *place, message, label);
                    self.problems
                        .push(problem.help("split the certificate, or write `key = \"local\"`"));
                }
            }
            KeySource::Local => {
                // Each name takes its own bytes and two more for type and length, in base 64.
                let bytes: usize = names
                    .iter()
                    .map(|(name, _)| name.to_string().len() + 2)
                    .sum();
                if bytes.div_ceil(3) * 4 > PCA_REQUEST {
                    let place = fields.node("names").map(|node| node.place);
                    let count = names.len();
                    let message =
                        format!("certificate `{id}` has {count} names, {bytes} bytes in all");
                    let label = format!("PCA takes requests of at most {PCA_REQUEST} characters");
                    let problem = Diagnostic::error(
                        Code::TooManyNames,
                        place.unwrap_or(fields.header),
                        message,
                        label,
                    );
                    self.problems.push(problem.help("split the certificate"));
                }
            }
        }
    }

    /// What is asked from the issuer.
    pub(super) fn validity(&mut self, fields: &Fields<'_>, kind: Option<&str>) -> Option<Seconds> {
        let limits = (Seconds::hours(1), Seconds::days(PCA_VALIDITY));
        let validity = self.duration(fields, "validity", Seconds::days(90), limits)?;
        let whole = validity.0 % Seconds::hours(1).0 == 0;
        if let Some((_, place)) = fields.text("validity")
            && kind == Some("pca")
            && !whole
        {
            let message = "`validity` is no whole number of hours";
            let label = "PCA counts hours, days, months and years";
            self.problems
                .push(Diagnostic::error(Code::Duration, place, message, label));
            return None;
        }
        Some(validity)
    }

    /// When renewal is due.
    pub(super) fn renew(
        &mut self,
        id: &CertificateId,
        fields: &Fields<'_>,
        validity: Option<Seconds>,
        follower: bool,
    ) -> Option<RenewRule> {
        if let (Some(share), Some(days)) =
            (fields.entry("renew_at"), fields.entry("expired_days_since"))
        {
            let message = format!("certificate `{id}` says twice when it is renewed");
            let problem = Diagnostic::error(Code::Renewal, days.key, message, "a number of days")
                .also(share.key, "a share of the lifetime");
            self.problems
                .push(problem.help("keep `renew_at` or `expired_days_since`, not both"));
            return None;
        }
        if let Some((text, place)) = fields.text("renew_at") {
            return match scalar::share(text) {
                Ok(rule) => Some(rule),
                Err(refusal) => {
                    self.problems
                        .refuse(Code::Renewal, place, "`renew_at`", refusal);
                    None
                }
            };
        }
        if let Some((count, place)) = fields.count("expired_days_since") {
            let days = u32::try_from(count).ok().filter(|days| DAYS.contains(days));
            let Some(days) = days else {
                let message = "`expired_days_since` is out of range";
                let label = format!("from {} to {} days", DAYS.start(), DAYS.end());
                self.problems
                    .push(Diagnostic::error(Code::Renewal, place, message, label));
                return None;
            };
            if let Some(validity) = validity.filter(|_| !follower)
                && Seconds::days(i64::from(days)) >= validity
            {
                let message =
                    format!("`expired_days_since = {days}` does not fit certificate `{id}`");
                let label = format!("of a validity of {validity}: it would always be due");
                let mut problem = Diagnostic::error(Code::Renewal, place, message, label);
                if let Some((_, validity)) = fields.text("validity") {
                    problem = problem.also(validity, "its validity");
                }
                self.problems.push(problem.help(format!(
                    "write fewer days than the validity has, or `renew_at = \"1/3\"`{}",
                    if fields.has("validity") {
                        ""
                    } else {
                        "; the validity is 90d where none is written"
                    }
                )));
                return None;
            }
            return Some(RenewRule::DaysBefore(days));
        }
        let absent = !fields.has("renew_at") && !fields.has("expired_days_since");
        absent.then_some(DEFAULT_RENEW)
    }
}

/// CCM API 4.2.2.2, `subject_alternative_names`.
const PCA_NAMES: usize = 20;
/// Characters, CCM API 4.2.2.3, `csr`.
const PCA_REQUEST: usize = 5120;
/// Days: CCM API 4.2.2.2 allows 20 years.
const PCA_VALIDITY: i64 = 20 * 366;
/// CCM API 4.1.5.1, `expired_days_since`; 0 would renew what has expired.
const DAYS: std::ops::RangeInclusive<u32> = 1..=1095;
/// A third is left: 30 of 90 days.
const DEFAULT_RENEW: RenewRule = RenewRule::Share { part: 1, whole: 3 };
