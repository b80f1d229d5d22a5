//! Certificates.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::code::Code;
use crate::config::diagnostic::Diagnostic;
use crate::config::digest::Canon;
use crate::config::fields::Fields;
use crate::config::lift::Lift;
use crate::config::lift::defined::Defined;
use crate::config::lift::public::Asked;
use crate::config::source::Place;
use crate::model::{
    CertificateId, CertificatePolicy, IssuerId, IssuerKind, IssuerPolicy, KeyReuse, KeySource,
    OrderMode, SubjectAltNames, TargetId,
};

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
        let way = self.way(&id, fields);
        let follower = way.is_some_and(|way| way.order == OrderMode::Never);
        let common_name = match &names {
            Some(names) => self.common_name(&id, fields, names, follower),
            None => self
                .line(fields, "common_name", usize::MAX)
                .map(|(name, _)| name),
        };
        let subject = self.subject(fields);
        let kind = issuer.as_ref().map(|(_, kind, _)| *kind);
        let validity = self.validity(fields, kind);
        // How long a public certificate is valid is the CA's to say.
        let asked = validity.filter(|_| kind != Some("scm"));
        let renew = self.renew(&id, fields, asked, follower);
        let proving = self.proving(fields);
        let targets = self.target_names(&id, fields, targets_defined);
        let tags = self.tags(fields);
        if follower {
            self.no_effect_on_follower(&id, fields);
        }
        if let (Some(names), Some(way), Some((_, kind, _))) = (&names, way, &issuer) {
            self.fits(&id, fields, names, way, kind);
        }
        let policy = issuer.as_ref().and_then(|(id, _, _)| issuers.get(id));
        let scm = policy.and_then(|policy| match &policy.kind {
            IssuerKind::Scm(scm) if !follower => Some(scm),
            IssuerKind::Scm(_) | IssuerKind::Pca(_) => None,
        });
        let mut validation = proving?;
        if let (Some(scm), Some((_, _, place))) = (scm, &issuer) {
            validation = validation.or_else(|| scm.validation.clone());
            let asked = Asked {
                id: &id,
                names: names.as_deref().unwrap_or_default(),
                common_name: common_name.as_deref(),
                subject: &subject,
                proven: validation.is_some(),
            };
            self.public(&asked, fields, scm, *place);
        } else if policy.is_some() {
            self.no_proof_needed(&id, fields);
            validation = None;
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
        if let Some(validation) = &validation {
            canon.put("validation", validation);
        }
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
            validation,
            push: BTreeSet::new(),
            tags: tags?,
            digest: canon.finish(),
        })
    }

    fn target_names(
        &mut self,
        id: &CertificateId,
        fields: &Fields<'_>,
        defined: &mut Defined<'_>,
    ) -> Option<BTreeSet<TargetId>> {
        let Some(list) = fields.list("targets") else {
            return (!fields.has("targets")).then(BTreeSet::new);
        };
        let mut first: BTreeMap<&str, Place> = BTreeMap::new();
        let mut targets = BTreeSet::new();
        let mut good = list.whole;
        for (text, place) in list.texts {
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
                    let users = self.users.entry(target.clone()).or_default();
                    users.push(id.clone());
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
