//! Where in the cloud certificates go after they are issued.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::code::Code;
use crate::config::diagnostic::Diagnostic;
use crate::config::digest::Canon;
use crate::config::fields::Fields;
use crate::config::lift::Lift;
use crate::config::lift::defined::Defined;
use crate::config::problems::Problems;
use crate::config::raw;
use crate::config::source::Place;
use crate::model::{
    CertificateId, CertificatePolicy, CloudService, IssuerId, KeySource, Name, PushId, PushPolicy,
    WafResource,
};

/// The places of a policy, and which of them are named by a certificate.
pub(super) struct Pushes<'a> {
    defined: BTreeMap<&'a str, Definition>,
}

struct Definition {
    place: Place,
    /// `None` where something about it was reported.
    policy: Option<PushPolicy>,
    used: bool,
}

impl Pushes<'_> {
    pub(super) fn report_unused(&self, problems: &mut Problems) {
        if problems.hide_uses() {
            return;
        }
        for (name, definition) in self.defined.iter().filter(|(_, one)| !one.used) {
            let message = format!("`push.{name}` is not used");
            let label = "no certificate names it in its `push`";
            problems.push(Diagnostic::warning(
                Code::Unused,
                definition.place,
                message,
                label,
            ));
        }
    }

    pub(super) fn into_policies(self) -> BTreeMap<PushId, PushPolicy> {
        let policies = self.defined.into_values().filter_map(|one| one.policy);
        policies.map(|push| (push.id.clone(), push)).collect()
    }
}

impl Lift<'_> {
    /// Every table `[push.NAME]`.
    pub(super) fn pushes<'a>(&mut self, top: &Fields<'a>, issuers: &mut Defined<'_>) -> Pushes<'a> {
        let mut defined = BTreeMap::new();
        for (name, fields) in top.tables("push", &raw::PUSH) {
            let id = PushId::new(name).ok();
            let definition = Definition {
                place: fields.header,
                policy: id.and_then(|id| self.push(id, &fields, issuers)),
                used: false,
            };
            defined.insert(name, definition);
        }
        Pushes { defined }
    }

    fn push(
        &mut self,
        id: PushId,
        fields: &Fields<'_>,
        issuers: &mut Defined<'_>,
    ) -> Option<PushPolicy> {
        let account = self.account_of_push(&id, fields, issuers);
        let service = match fields.text("service").map(|(word, _)| word) {
            Some("ELB") => CloudService::Elb,
            Some("WAF") => CloudService::Waf,
            Some("CDN") => CloudService::Cdn,
            _ => return None,
        };
        let region = self.region(&id, service, fields);
        let resources = self.resources(&id, service, fields);
        let import = match fields.flag("import") {
            None if fields.has("import") => return None,
            flag => flag.unwrap_or(false),
        };
        let (account, region, resources) = (account?, region?, resources?);
        let mut canon = Canon::new("push");
        canon.put("account", &account);
        canon.put("service", service);
        canon.put("region", &region);
        canon.list("resources", &resources);
        canon.put("import", import);
        Some(PushPolicy {
            id,
            account,
            service,
            region,
            resources,
            import,
            digest: canon.finish(),
        })
    }

    fn account_of_push(
        &mut self,
        id: &PushId,
        fields: &Fields<'_>,
        issuers: &mut Defined<'_>,
    ) -> Option<IssuerId> {
        let (name, place) = fields.text("account")?;
        let kind = issuers.find(name, place, self.problems, self.sources)?;
        if kind != "scm" {
            let message = format!("`push.{id}` cannot go by the account of `{name}`");
            let label = format!("an issuer of kind {kind}: only SCM pushes certificates");
            let problem = Diagnostic::error(Code::Push, place, message, label);
            self.problems.push(problem.help(
                "name an [issuer.scm.NAME]; a certificate of another issuer is imported there with `import = true`",
            ));
            return None;
        }
        IssuerId::new(name).ok()
    }

    fn region(
        &mut self,
        id: &PushId,
        service: CloudService,
        fields: &Fields<'_>,
    ) -> Option<String> {
        match (service, fields.entry("region")) {
            (CloudService::Cdn, Some(entry)) => {
                let message = format!("`region` has no effect on `push.{id}`");
                let problem =
                    Diagnostic::warning(Code::NoEffect, entry.key, message, "CDN has none");
                self.problems.push(problem);
                Some(String::new())
            }
            (CloudService::Cdn, None) => Some(String::new()),
            (CloudService::Elb | CloudService::Waf, Some(_)) => {
                self.line(fields, "region", LONGEST).map(|(text, _)| text)
            }
            (CloudService::Elb | CloudService::Waf, None) => {
                if !fields.is_partial() {
                    let message = format!("`push.{id}` has no `region`");
                    let label = format!("{service} is one for each region");
                    let problem = Diagnostic::error(Code::Push, fields.header, message, label);
                    self.problems
                        .push(problem.help("write `region = \"ap-southeast-1\"`, or the project"));
                }
                None
            }
        }
    }

    fn resources(
        &mut self,
        id: &PushId,
        service: CloudService,
        fields: &Fields<'_>,
    ) -> Option<Vec<String>> {
        let Some(list) = fields.list("resources") else {
            return (!fields.has("resources")).then(Vec::new);
        };
        let mut good = list.whole;
        let mut first: BTreeMap<&str, Place> = BTreeMap::new();
        let mut resources = Vec::new();
        for (text, place) in &list.texts {
            if let Some(before) = first.insert(text, *place) {
                let message = format!("`push.{id}` names {text:?} twice");
                let problem = Diagnostic::error(Code::Repeated, *place, message, "the second time")
                    .also(before, "the first time");
                self.problems.push(problem.help("leave one of them out"));
                good = false;
                continue;
            }
            if let Some((why, help)) = misshapen(service, text) {
                let message = format!("{text:?} is no resource of {service}");
                let problem = Diagnostic::error(Code::Push, *place, message, why);
                self.problems.push(problem.help(help));
                good = false;
                continue;
            }
            resources.push((*text).to_owned());
        }
        if resources.len() > MOST {
            let message = format!("`push.{id}` has more than {MOST} resources");
            let problem = Diagnostic::error(Code::Push, list.place, message, "");
            self.problems
                .push(problem.help("write several tables, and name each of them"));
            return None;
        }
        good.then_some(resources)
    }

    /// Where a certificate goes; whether it can is said here.
    pub(super) fn pushed_to(
        &mut self,
        id: &CertificateId,
        fields: &Fields<'_>,
        certificate: Option<&CertificatePolicy>,
        pushes: &mut Pushes<'_>,
    ) -> Option<BTreeSet<PushId>> {
        let Some(list) = fields.list("push") else {
            return (!fields.has("push")).then(BTreeSet::new);
        };
        let mut good = list.whole;
        let mut first: BTreeMap<&str, Place> = BTreeMap::new();
        let mut found = BTreeSet::new();
        for (text, place) in list.texts {
            if let Some(before) = first.insert(text, place) {
                let message = format!("certificate `{id}` names the push {text:?} twice");
                let problem = Diagnostic::error(Code::Repeated, place, message, "the second time")
                    .also(before, "the first time");
                self.problems.push(problem.help("leave one of them out"));
                good = false;
                continue;
            }
            let Some(definition) = pushes.defined.get_mut(text) else {
                if !self.problems.is_incomplete() {
                    let unknown = self.unknown_push(text, place, pushes);
                    self.problems.push(unknown);
                }
                good = false;
                continue;
            };
            definition.used = true;
            let (Some(push), Some(certificate)) = (&definition.policy, certificate) else {
                good = false;
                continue;
            };
            match unfit(certificate, push) {
                Some(problem) => {
                    let problem = problem.at(place, definition.place);
                    self.problems.push(problem);
                    good = false;
                }
                None => {
                    self.report_idle_import(certificate, push, definition.place);
                    found.insert(push.id.clone());
                }
            }
        }
        good.then_some(found)
    }

    /// It is in that very account, with its key.
    fn report_idle_import(
        &mut self,
        certificate: &CertificatePolicy,
        push: &PushPolicy,
        place: Place,
    ) {
        let there = certificate.issuer == push.account && certificate.key_source == KeySource::Ccm;
        if push.import && there {
            let message = format!(
                "`import = true` of `push.{}` brings certificate `{}` into an account that has it",
                push.id, certificate.id
            );
            let label = "it is pushed as well without";
            self.problems
                .push(Diagnostic::warning(Code::NoEffect, place, message, label));
        }
    }

    fn unknown_push(&mut self, name: &str, place: Place, pushes: &Pushes<'_>) -> Diagnostic {
        let message = format!("unknown push `{}`", name.escape_debug());
        let label = "no push of this name in any policy file";
        let problem = Diagnostic::error(Code::UnknownPush, place, message, label);
        let near = self
            .problems
            .suggest(name, pushes.defined.keys().copied())
            .and_then(|near| Some((near, pushes.defined.get(near)?)));
        match near {
            Some((near, definition)) => problem.help(format!(
                "`{near}` is defined in {}",
                self.sources.name(definition.place)
            )),
            None => problem.help(format!("define it with [push.{name}]")),
        }
    }
}

/// Why a certificate cannot go somewhere.
struct Unfit {
    message: String,
    label: String,
    help: String,
}

impl Unfit {
    fn at(self, place: Place, push: Place) -> Diagnostic {
        Diagnostic::error(Code::Push, place, self.message, self.label)
            .also(push, "where it should go")
            .help(self.help)
    }
}

fn unfit(certificate: &CertificatePolicy, push: &PushPolicy) -> Option<Unfit> {
    let (id, place) = (&certificate.id, &push.id);
    let elsewhere = certificate.issuer != push.account;
    if !push.import && certificate.key_source == KeySource::Local {
        let import = format!(
            "`import = true` in [push.{place}], so that this key is given to CCM with the certificate"
        );
        return Some(Unfit {
            message: format!("certificate `{id}` cannot be pushed by `{place}`"),
            label: "its key is made here and never leaves this host, and a service cannot use a certificate without its key".to_owned(),
            help: if elsewhere {
                format!("write {import}")
            } else {
                format!(
                    "write `key = \"ccm\"` in [certificate.{id}], so that CCM makes the key of the next one and keeps it (`renewd renew {id}` orders that at once), or {import}"
                )
            },
        });
    }
    if !push.import && elsewhere {
        return Some(Unfit {
            message: format!("certificate `{id}` cannot be pushed by `{place}`"),
            label: format!(
                "it is issued by `{}`, and the account of `{}` does not have it",
                certificate.issuer, push.account
            ),
            help: format!(
                "write `import = true` in [push.{place}]: it is then brought into that account with its key"
            ),
        });
    }
    if push.service == CloudService::Cdn {
        let other = push.resources.iter().find(|domain| {
            let name = Name::parse(domain);
            !name.is_ok_and(|name| certificate.names.iter().any(|have| have.covers(&name)))
        })?;
        return Some(Unfit {
            message: format!("certificate `{id}` is not good for {other:?} of `{place}`"),
            label: format!("it is for {}", certificate.names),
            help: "add the domain to `names`, or take it out of `resources`".to_owned(),
        });
    }
    None
}

/// What is wrong with the text of a resource, and what helps.
fn misshapen(service: CloudService, text: &str) -> Option<(&'static str, &'static str)> {
    match service {
        CloudService::Elb => {
            let good = (1..=LONGEST_ID).contains(&text.len())
                && text
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
            (!good).then_some((
                "expected an id of letters, digits and `-`",
                "write the id of the certificate at ELB that its listeners use",
            ))
        }
        CloudService::Waf => WafResource::parse(text).is_none().then_some((
            "expected `cloud:ID` or `premium:ID`",
            "write `cloud:` or `premium:` (dedicated mode) and the id of the domain at WAF, and `@ID` of its enterprise project where that is not the default one",
        )),
        CloudService::Cdn => {
            let good = text.len() <= LONGEST_ID
                && matches!(Name::parse(text), Ok(Name::Dns(_)))
                && !text.starts_with('*');
            (!good).then_some((
                "expected a domain name of at most 63 characters",
                "write the domain as it is called at CDN",
            ))
        }
    }
}

/// Characters of a project (CCM API 4.1.6.1).
const LONGEST: usize = 255;
/// Characters of a resource (CCM API 4.1.6.3).
const LONGEST_ID: usize = 63;
/// Each request takes twenty, and each is read back.
const MOST: usize = 100;
