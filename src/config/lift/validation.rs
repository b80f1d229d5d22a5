//! The ways of proving domains, and whether a certificate's names can be proven by its way.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::config::code::Code;
use crate::config::diagnostic::Diagnostic;
use crate::config::digest::Canon;
use crate::config::fields::Fields;
use crate::config::lift::Lift;
use crate::config::lift::defined::Defined;
use crate::config::lift::value::{account, mode};
use crate::config::scalar::{self, PathRule, Refusal};
use crate::model::{
    CertificatePolicy, DomainMethod, IssuerId, IssuerPolicy, Name, ProofPorts, RemoteAccess,
    Seconds, TsigAlgorithm, ValidationId, ValidationKind, ValidationPolicy,
};

impl Lift<'_> {
    /// Every way. Issuers come first: a way may be that of an issuer's account.
    pub(super) fn validations(
        &mut self,
        top: &Fields<'_>,
        issuers: &BTreeMap<IssuerId, IssuerPolicy>,
        issuers_defined: &mut Defined<'_>,
    ) -> BTreeMap<ValidationId, ValidationPolicy> {
        let mut all = BTreeMap::new();
        for (name, kind, fields) in Defined::validations(top).each(top) {
            let Ok(id) = ValidationId::new(name) else {
                continue;
            };
            let kind = self.validation_kind(kind, &fields, issuers, issuers_defined);
            let resolvers = self.resolvers(&fields);
            let longest = (Seconds(1), Seconds::days(2));
            let propagation = match fields.knows("propagation") {
                true => self.duration(&fields, "propagation", Seconds::minutes(10), longest),
                false => Some(Seconds::minutes(10)),
            };
            let usual = ProofPorts::default();
            let dns = self.proof_port(&fields, "dns_port", usual.dns);
            let http = self.proof_port(&fields, "http_port", usual.http);
            let (Some(kind), Some(resolvers), Some(propagation), Some(dns), Some(http)) =
                (kind, resolvers, propagation, dns, http)
            else {
                continue;
            };
            let ports = ProofPorts { dns, http };
            let mut canon = Canon::new("validation");
            canon.validation(&kind);
            canon.list("resolvers", &resolvers);
            canon.put("propagation", propagation.0);
            canon.put("dns_port", ports.dns);
            canon.put("http_port", ports.http);
            let policy = ValidationPolicy {
                id: id.clone(),
                kind,
                resolvers,
                propagation,
                ports,
                digest: canon.finish(),
            };
            all.insert(id, policy);
        }
        all
    }

    fn validation_kind(
        &mut self,
        kind: &str,
        fields: &Fields<'_>,
        issuers: &BTreeMap<IssuerId, IssuerPolicy>,
        issuers_defined: &mut Defined<'_>,
    ) -> Option<ValidationKind> {
        match kind {
            "automatic" => Some(ValidationKind::Automatic),
            "huawei_dns" => self.huawei_dns(fields, issuers, issuers_defined),
            "rfc2136" => self.rfc2136(fields),
            "command" => self.proof_command(fields),
            "web_root" => {
                let path = self.path(fields, "path", PathRule::Absolute);
                let owner = account(self, fields, "owner");
                let group = account(self, fields, "group");
                // A web server reads what is in it: nobody but renewd has to write.
                let mode = match fields.has("mode") {
                    true => mode(self, fields, "mode", 0),
                    false => Some(0o644),
                };
                let refused =
                    |key: &str, found: &Option<String>| fields.has(key) && found.is_none();
                if refused("owner", &owner) || refused("group", &group) {
                    return None;
                }
                Some(ValidationKind::WebRoot {
                    path: path?.0,
                    owner,
                    group,
                    mode: mode?,
                })
            }
            "responder" => self
                .socket_address(fields, "listen", "0.0.0.0:80")
                .map(|listen| ValidationKind::Responder { listen }),
            _ => Some(ValidationKind::Email),
        }
    }

    /// The credentials are those of an issuer: DNS is another service of the same account.
    fn huawei_dns(
        &mut self,
        fields: &Fields<'_>,
        issuers: &BTreeMap<IssuerId, IssuerPolicy>,
        issuers_defined: &mut Defined<'_>,
    ) -> Option<ValidationKind> {
        let endpoint = self.endpoint(fields, "endpoint");
        let (name, place) = fields.text("account")?;
        issuers_defined.find(name, place, self.problems, self.sources)?;
        // One that was refused is told of already.
        let issuer = issuers.get(&IssuerId::new(name).ok()?)?;
        Some(ValidationKind::HuaweiDns {
            access: RemoteAccess {
                endpoint: endpoint?,
                ..issuer.access.clone()
            },
        })
    }

    fn rfc2136(&mut self, fields: &Fields<'_>) -> Option<ValidationKind> {
        let server = fields
            .text("server")
            .and_then(|(text, place)| match scalar::host_port(text) {
                Ok(server) => Some(server),
                Err(_) => {
                    let refusal = Refusal::new("is no address and port").help(
                        "write the primary server of the zone, such as `192.0.2.53:53` or `ns1.example.com:53`",
                    );
                    let problems = &mut *self.problems;
                    problems.refuse(Code::Validation, place, "`server`", refusal);
                    None
                }
            });
        let zone = self.dns_name(fields, "zone");
        let key_name = self.dns_name(fields, "key_name");
        let algorithm = match fields.text("algorithm") {
            Some((word, _)) => TsigAlgorithm::ALL
                .into_iter()
                .find(|algorithm| algorithm.as_str() == word),
            None => (!fields.has("algorithm")).then_some(TsigAlgorithm::HmacSha256),
        };
        let key = self.secret(fields, "tsig_key");
        let longest = (Seconds(1), Seconds::days(1));
        let ttl = self.duration(fields, "ttl", Seconds(60), longest);
        Some(ValidationKind::Rfc2136 {
            server: server?,
            zone: zone?,
            key_name: key_name??,
            algorithm: algorithm?,
            key: key.ok()??,
            ttl: ttl?,
        })
    }

    fn proof_command(&mut self, fields: &Fields<'_>) -> Option<ValidationKind> {
        let auth = self.command(fields, "auth");
        let cleanup = self.command(fields, "cleanup");
        let limits = (Seconds(1), Seconds::hours(1));
        let timeout = self.duration(fields, "timeout", Seconds(60), limits);
        let method = match fields.text("method") {
            Some(("dns", _)) => Some(DomainMethod::Dns),
            Some(("file", _)) => Some(DomainMethod::File),
            _ => (!fields.has("method")).then_some(DomainMethod::Dns),
        };
        Some(ValidationKind::Command {
            auth: auth.ok()??,
            cleanup: cleanup.ok()?,
            timeout: timeout?,
            method: method?,
        })
    }

    /// A name in DNS, also one that no host can have: of a zone or a key. The inner `None` where none is written.
    fn dns_name(&mut self, fields: &Fields<'_>, key: &str) -> Option<Option<String>> {
        let Some((text, place)) = fields.text(key) else {
            return (!fields.has(key)).then_some(None);
        };
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        let label = |label: &str| !label.is_empty() && label.len() <= 63 && label.chars().all(good);
        if name.len() <= 253 && name.split('.').all(label) {
            return Some(Some(name));
        }
        let what = format!("`{key}`");
        let refusal = Refusal::new("is no name in DNS").help("write for example `example.com`");
        self.problems
            .refuse(Code::Validation, place, &what, refusal);
        None
    }

    /// Addresses with ports: names would need a resolver to be found.
    fn resolvers(&mut self, fields: &Fields<'_>) -> Option<Vec<String>> {
        let Some(list) = fields.list("resolvers") else {
            return (!fields.has("resolvers")).then(Vec::new);
        };
        let mut good = list.whole;
        let mut all = Vec::new();
        for (text, place) in list.texts {
            match text.parse::<SocketAddr>() {
                Ok(address) if address.port() != 0 => all.push(address.to_string()),
                _ => {
                    let what = format!("the resolver {text:?}");
                    let refusal = Refusal::new("is no address with a port")
                        .help("write for example `192.0.2.53:53` or `[2001:db8::53]:53`");
                    self.problems
                        .refuse(Code::Validation, place, &what, refusal);
                    good = false;
                }
            }
        }
        good.then_some(all)
    }

    fn socket_address(&mut self, fields: &Fields<'_>, key: &str, example: &str) -> Option<String> {
        let (text, place) = fields.text(key)?;
        match text.parse::<SocketAddr>() {
            Ok(address) if address.port() != 0 => Some(address.to_string()),
            _ => {
                let what = format!("`{key}`");
                let refusal = Refusal::new("is no address with a port")
                    .help(format!("write for example `{example}`"));
                self.problems
                    .refuse(Code::Validation, place, &what, refusal);
                None
            }
        }
    }

    fn proof_port(&mut self, fields: &Fields<'_>, key: &str, usual: u16) -> Option<u16> {
        if !fields.knows(key) {
            return Some(usual);
        }
        let Some((count, place)) = fields.count(key) else {
            return (!fields.has(key)).then_some(usual);
        };
        let port = u16::try_from(count).ok().filter(|port| *port > 0);
        if port.is_none() {
            let message = format!("`{key}` is no port");
            let label = "from 1 to 65535";
            self.problems
                .push(Diagnostic::error(Code::Validation, place, message, label));
        }
        port
    }

    /// What no way of this method proves: a wildcard by a file, an address by a record.
    pub(super) fn validation_fits(
        &mut self,
        certificate: &CertificatePolicy,
        fields: &Fields<'_>,
        validations: &BTreeMap<ValidationId, ValidationPolicy>,
    ) {
        let way = certificate.validation.as_ref();
        let Some(way) = way.and_then(|id| validations.get(id)) else {
            return;
        };
        let method = way.kind.method();
        let unfit = certificate.names.iter().find(|name| match method {
            DomainMethod::File => name.is_wildcard(),
            DomainMethod::Dns => matches!(name, Name::Ip(_)),
            DomainMethod::Email => false,
        });
        let Some(unfit) = unfit else {
            return;
        };
        let place = fields
            .text("validation")
            .or_else(|| fields.text("issuer"))
            .map_or(fields.header, |(_, place)| place);
        let (id, word, by) = (&certificate.id, way.kind.word(), &way.id);
        let message = format!("certificate `{id}` has a name that `{by}` cannot prove: {unfit}");
        let (label, help) = match method {
            DomainMethod::File => (
                format!("`{by}` ({word}) proves by files, and no CA takes those for a wildcard"),
                "name a validation by DNS: automatic, huawei_dns, rfc2136 or command",
            ),
            DomainMethod::Dns | DomainMethod::Email => (
                format!("`{by}` ({word}) proves by records, and addresses have none"),
                "name a validation by files: web_root, responder or command",
            ),
        };
        let problem = Diagnostic::error(Code::Validation, place, message, label);
        self.problems.push(problem.help(help));
    }
}
