//! Certificates.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::code::Code;
use crate::config::diagnostic::Diagnostic;
use crate::config::digest::Canon;
use crate::config::fields::Fields;
use crate::config::lift::Lift;
use crate::config::lift::defined::Defined;
use crate::config::lift::value::Values;
use crate::config::raw;
use crate::config::scalar;
use crate::config::source::Place;
use crate::model::{
    CertificateId, CertificatePolicy, IssuerId, IssuerPolicy, KeyAlgorithm, KeyReuse, KeySource,
    Name, OrderMode, RenewRule, Seconds, Subject, SubjectAltNames, TargetId,
};

/// How a certificate comes about.
#[derive(Debug, Clone, Copy)]
struct Way {
    order: OrderMode,
    key: KeySource,
    algorithm: KeyAlgorithm,
    reuse: KeyReuse,
}

impl Lift<'_> {
    /// One certificate.
    pub(super) fn certificate(
        &mut self,
        id: CertificateId,
        fields: &Fields<'_>,
        issuers: &BTreeMap<IssuerId, IssuerPolicy>,
        issuers_defined: &mut Defined<'_>,
        targets_defined: &mut Defined<'_>,
    ) -> Option<CertificatePolicy> {
        let issuer = fields.text("issuer").and_then(|(name, place)| {
            let kind = issuers_defined.find(name, place, self.problems, self.sources)?;
            Some((IssuerId::new(name).ok()?, kind, place))
        });
        let names = self.names(&id, fields);
        let way = self.way(
            &id,
            fields,
            issuer.as_ref().map(|(_, kind, place)| (*kind, *place)),
        );
        let follower = way.is_some_and(|way| way.order == OrderMode::Never);
        let common_name = match &names {
            Some(names) => self.common_name(&id, fields, names, follower),
            None => self
                .line(fields, "common_name", usize::MAX)
                .map(|(name, _)| name),
        };
        let subject = self.subject(fields);
        let validity = self.validity(fields, issuer.as_ref().map(|(_, kind, _)| *kind));
        let renew = self.renew(&id, fields, validity, follower);
        let targets = self.target_names(&id, fields, targets_defined);
        if follower {
            self.no_effect_on_follower(&id, fields);
        }
        if let (Some(names), Some(way), Some((_, kind, _))) = (&names, way, &issuer) {
            self.fits(&id, fields, names, way, kind);
        }

        let (issuer, _, _) = issuer?;
        let names: SubjectAltNames = names?.into_iter().map(|(name, _)| name).collect();
        let way = way?;
        let common_name = common_name?;
        let validity = validity?;
        let mut canon = Canon::new("certificate");
        canon.put("issuer", &issuer);
        canon.maybe(
            "issuer_digest",
            issuers.get(&issuer).map(|issuer| issuer.digest),
        );
        canon.names(&names);
        canon.put("common_name", &common_name);
        canon.subject(&subject);
        canon.put("key", word_of_key(way.key));
        canon.put("order", word_of_order(way.order));
        canon.put("key_algorithm", way.algorithm);
        canon.put("rekey", way.reuse == KeyReuse::Rekey);
        canon.put("validity", validity.0);
        Some(CertificatePolicy {
            id,
            issuer,
            names,
            common_name,
            subject,
            key_source: way.key,
            order: way.order,
            key_algorithm: way.algorithm,
            key_reuse: way.reuse,
            validity,
            renew: renew?,
            targets: targets?,
            digest: canon.finish(),
        })
    }

    /// The names as written; `None` if one of them cannot be used.
    fn names(&mut self, id: &CertificateId, fields: &Fields<'_>) -> Option<Vec<(Name, Place)>> {
        let (texts, place) = fields.list("names")?;
        if texts.is_empty() {
            let message = format!("certificate `{id}` has no names");
            let problem = Diagnostic::error(Code::BadName, place, message, "is empty");
            self.problems
                .push(problem.help("write at least one, such as `names = [\"www.example.com\"]`"));
            return None;
        }
        let mut names: Vec<(Name, Place)> = Vec::with_capacity(texts.len());
        let mut first: BTreeMap<Name, Place> = BTreeMap::new();
        let mut good = true;
        for (text, place) in texts {
            match Name::parse(text) {
                Ok(name) => {
                    if let Some(before) = first.get(&name) {
                        let message = format!("certificate `{id}` has the name `{name}` twice");
                        let problem =
                            Diagnostic::error(Code::Repeated, place, message, "the second time")
                                .also(*before, "the first time");
                        self.problems.push(problem.help("leave one of them out"));
                        good = false;
                        continue;
                    }
                    first.insert(name.clone(), place);
                    names.push((name, place));
                }
                Err(error) => {
                    let message = format!("`{}` cannot be in a certificate", text.escape_debug());
                    self.problems.push(Diagnostic::error(
                        Code::BadName,
                        place,
                        message,
                        error.to_string(),
                    ));
                    good = false;
                }
            }
        }
        good.then_some(names)
    }

    /// Key, order and issuer have to go together.
    fn way(
        &mut self,
        id: &CertificateId,
        fields: &Fields<'_>,
        issuer: Option<(&'static str, Place)>,
    ) -> Option<Way> {
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
        if let (Some(("scm", place)), OrderMode::Auto) = (issuer, order) {
            let message = format!("certificate `{id}` cannot be ordered from SCM yet");
            let label = "a public certificate, which has to be bought";
            let mut problem = Diagnostic::error(Code::Combination, place, message, label);
            if let Some((_, order)) = fields.text("order") {
                problem = problem.also(order, "cannot be `auto` with this issuer");
            }
            let help = "set order = \"never\": renewd then takes what the account holds; buying comes later";
            self.problems.push(problem.help(help));
            return None;
        }
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
    fn fits(
        &mut self,
        id: &CertificateId,
        fields: &Fields<'_>,
        names: &[(Name, Place)],
        way: Way,
        kind: &str,
    ) {
        if kind != "pca" || way.order == OrderMode::Never {
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
                if way.reuse == KeyReuse::Reuse {
                    let place = fields.node("rekey").map(|node| node.place);
                    let message = format!("the key of certificate `{id}` cannot be used again");
                    let label = "CCM makes a new key with each certificate";
                    let problem = Diagnostic::error(
                        Code::Combination,
                        place.unwrap_or(fields.header),
                        message,
                        label,
                    );
                    self.problems
                        .push(problem.help("write `rekey = true` or `key = \"local\"`"));
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

    fn common_name(
        &mut self,
        id: &CertificateId,
        fields: &Fields<'_>,
        names: &[(Name, Place)],
        follower: bool,
    ) -> Option<String> {
        if fields.has("common_name") {
            let (text, place) = self.line(fields, "common_name", usize::MAX)?;
            let length = text.chars().count();
            if length > COMMON_NAME {
                let message =
                    format!("the common name of certificate `{id}` has {length} characters");
                let label = format!("more than {COMMON_NAME}");
                let problem = Diagnostic::error(Code::CommonName, place, message, label);
                self.problems.push(advise(problem, names));
                return None;
            }
            let all: SubjectAltNames = names.iter().map(|(name, _)| name.clone()).collect();
            // A free text is a fine common name; a host name that is not covered is a mistake.
            if let Ok(name @ Name::Dns(_)) = Name::parse(&text)
                && text.contains('.')
                && !all.cover(&std::iter::once(name).collect())
            {
                let message = format!("certificate `{id}` is not valid for its common name");
                let label = "not among `names`, and clients look only there";
                let problem = Diagnostic::warning(Code::CommonName, place, message, label);
                self.problems
                    .push(problem.help("add it to `names` if it is to be served"));
            }
            return Some(text);
        }
        let dns = names.iter().find(|(name, _)| matches!(name, Name::Dns(_)));
        let (name, place) = dns.or_else(|| names.first())?;
        let text = name.to_string();
        if text.chars().count() <= COMMON_NAME {
            return Some(text);
        }
        if follower {
            // Nothing is applied for: the common name is what the certificate brings along.
            return Some(String::new());
        }
        let length = text.chars().count();
        let message =
            format!("the common name of certificate `{id}` would have {length} characters");
        let label = format!("is taken as common name, which has at most {COMMON_NAME}");
        let problem = Diagnostic::error(Code::CommonName, *place, message, label);
        self.problems.push(advise(problem, names));
        None
    }

    fn subject(&mut self, fields: &Fields<'_>) -> Subject {
        let Some(fields) = fields.table("subject", &raw::SUBJECT) else {
            return Subject::default();
        };
        let mut field = |key, longest| self.line(&fields, key, longest).map(|(text, _)| text);
        // RFC 5280 A.1, and CCM API 4.2.2.2 with the same numbers.
        let subject = Subject {
            country: None,
            state: field("state", 128),
            locality: field("locality", 128),
            organization: field("organization", 64),
            organizational_unit: field("organizational_unit", 64),
        };
        let Some((country, place)) = fields.text("country") else {
            return subject;
        };
        if country.len() != 2 || !country.bytes().all(|b| b.is_ascii_uppercase()) {
            let message = "`country` is not two capital letters";
            let problem = Diagnostic::error(Code::Subject, place, message, "");
            self.problems
                .push(problem.help("write the code of ISO 3166, such as \"DE\" or \"SG\""));
        }
        Subject {
            country: Some(country.to_owned()),
            ..subject
        }
    }

    fn validity(&mut self, fields: &Fields<'_>, kind: Option<&str>) -> Option<Seconds> {
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

    fn renew(
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
                    format!("certificate `{id}` would be due for renewal from its first moment");
                let label = format!("does not fit a validity of {validity}");
                let mut problem = Diagnostic::error(Code::Renewal, place, message, label);
                if let Some((_, validity)) = fields.text("validity") {
                    problem = problem.also(validity, "the validity");
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

    fn target_names(
        &mut self,
        id: &CertificateId,
        fields: &Fields<'_>,
        defined: &mut Defined<'_>,
    ) -> Option<BTreeSet<TargetId>> {
        let Some((texts, _)) = fields.list("targets") else {
            return (!fields.has("targets")).then(BTreeSet::new);
        };
        let mut first: BTreeMap<&str, Place> = BTreeMap::new();
        let mut targets = BTreeSet::new();
        let mut good = true;
        for (text, place) in texts {
            if let Some(before) = first.insert(text, place) {
                let message = format!(
                    "certificate `{id}` names the target `{}` twice",
                    text.escape_debug()
                );
                let problem = Diagnostic::error(Code::Repeated, place, message, "the second time")
                    .also(before, "the first time");
                self.problems.push(problem.help("leave one of them out"));
                good = false;
                continue;
            }
            let known = defined.find(text, place, self.problems, self.sources);
            match TargetId::new(text) {
                Ok(target) if known.is_some() => {
                    targets.insert(target);
                }
                _ => good = false,
            }
        }
        good.then_some(targets)
    }

    /// Settings of an application, where nothing is applied for.
    fn no_effect_on_follower(&mut self, id: &CertificateId, fields: &Fields<'_>) {
        let keys = [
            "common_name",
            "key_algorithm",
            "rekey",
            "validity",
            "subject",
        ];
        for entry in keys
            .iter()
            .filter_map(|key| Some((key, fields.entry(key)?)))
        {
            let (key, entry) = entry;
            let message = format!("`{key}` has no effect on certificate `{id}`");
            let label = "nothing is applied for with `order = \"never\"`";
            self.problems.push(Diagnostic::warning(
                Code::NoEffect,
                entry.key,
                message,
                label,
            ));
        }
    }
}

/// Names a shorter name as common name, if the certificate has one.
fn advise(problem: Diagnostic, names: &[(Name, Place)]) -> Diagnostic {
    let short = names
        .iter()
        .filter(|(name, _)| matches!(name, Name::Dns(_)))
        .map(|(name, _)| name.to_string())
        .find(|name| name.len() <= COMMON_NAME);
    match short {
        Some(name) => problem.help(format!("write `common_name = \"{name}\"`")),
        None => problem.help(format!(
            "add a name of at most {COMMON_NAME} characters to `names` and write it as `common_name`, too"
        )),
    }
}

const fn word_of_key(key: KeySource) -> &'static str {
    match key {
        KeySource::Local => "local",
        KeySource::Ccm => "ccm",
    }
}

const fn word_of_order(order: OrderMode) -> &'static str {
    match order {
        OrderMode::Auto => "auto",
        OrderMode::Never => "never",
    }
}

/// RFC 5280 A.1, ub-common-name.
const COMMON_NAME: usize = 64;
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
