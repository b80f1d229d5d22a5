//! Certificates that are applied for at a public CA: what no CA issues, and what the products on sale are not for.

use crate::config::code::Code;
use crate::config::diagnostic::Diagnostic;
use crate::config::fields::Fields;
use crate::config::lift::Lift;
use crate::config::source::Place;
use crate::model::{
    Assurance, CertificateId, DomainType, Name, PurchasePolicy, ScmPolicy, Subject, SubjectAltNames,
};

/// What a certificate asks for.
pub(super) struct Asked<'a> {
    pub(super) id: &'a CertificateId,
    pub(super) names: &'a [(Name, Place)],
    pub(super) common_name: Option<&'a str>,
    pub(super) subject: &'a Subject,
    /// Whether it is said how the names are proven.
    pub(super) proven: bool,
}

impl Lift<'_> {
    /// Reports what does not go together. `place` is where the issuer is named.
    pub(super) fn public(
        &mut self,
        asked: &Asked<'_>,
        fields: &Fields<'_>,
        scm: &ScmPolicy,
        place: Place,
    ) {
        let Asked { id, names, .. } = *asked;
        if !asked.proven && !fields.has("validation") {
            let message = format!("nothing says how the names of certificate `{id}` are proven");
            let label = "a public CA asks for a proof of each domain";
            let problem = Diagnostic::error(Code::Combination, place, message, label);
            self.problems.push(problem.help(
                "write `validation = \"NAME\"` here or at the issuer, with the name of a table [validation.KIND.NAME]; or `order = \"never\"` to take what others obtain",
            ));
        }
        if scm.applicant.is_none() {
            let message = format!("nobody applies for certificate `{id}`");
            let label = "this issuer has no applicant";
            let problem = Diagnostic::error(Code::Applicant, place, message, label);
            self.problems.push(problem.help(
                "write a table [issuer.scm.NAME.applicant] with `name`, `phone` and `email`; or `order = \"never\"` to take what others obtain",
            ));
        }
        if let Some(entry) = fields.entry("validity") {
            let message = format!("`validity` has no effect on certificate `{id}`");
            let label = "a public CA decides how long its certificates are valid";
            self.problems.push(Diagnostic::warning(
                Code::NoEffect,
                entry.key,
                message,
                label,
            ));
        }
        self.public_names(asked);
        if let Some(common_name) = asked.common_name
            && !names.is_empty()
            && !names
                .iter()
                .any(|(name, _)| name.to_string() == common_name)
        {
            let place = fields.text("common_name").map(|(_, place)| place);
            let message = format!("the common name of certificate `{id}` is none of its names");
            let label = "SCM takes it as the primary domain";
            let place = place.unwrap_or(fields.header);
            let problem = Diagnostic::error(Code::CommonName, place, message, label);
            self.problems
                .push(problem.help("write one of `names`, or leave `common_name` out"));
        }
        if let Some(purchase) = &scm.purchase {
            self.product_fits(asked, purchase, fields);
            self.organization(asked, scm, purchase, place);
        }
    }

    /// What no public CA issues for (CA/Browser Forum, Baseline Requirements §4.2.2).
    fn public_names(&mut self, asked: &Asked<'_>) {
        let id = asked.id;
        let addresses = asked.names.iter();
        let addresses = addresses.filter(|(name, _)| matches!(name, Name::Ip(_)));
        let mixed = !matches!(addresses.count(), 0) && {
            let mut all = asked.names.iter();
            all.any(|(name, _)| matches!(name, Name::Dns(_)))
        };
        for (name, place) in asked.names {
            let why = match name {
                Name::Dns(text) => match unowned(text) {
                    Some(why) => why,
                    None => continue,
                },
                Name::Ip(address) if !is_global(*address) => "is an address of a private network",
                Name::Ip(_) if mixed => {
                    "is an address among domains; SCM proves addresses by files and domains by records, so each needs a certificate of its own"
                }
                Name::Ip(_) => continue,
                Name::Uri(_) => "is a URI",
                Name::Email(_) => "is a mailbox",
            };
            let message = format!("no public CA issues certificate `{id}`");
            let label = format!("{name} {why}");
            let problem = Diagnostic::error(Code::BadName, *place, message, label);
            self.problems
                .push(problem.help("leave it out, or take a private CA: [issuer.pca.NAME]"));
        }
    }

    /// What is bought must be for these names.
    fn product_fits(&mut self, asked: &Asked<'_>, purchase: &PurchasePolicy, fields: &Fields<'_>) {
        let (id, names) = (asked.id, asked.names);
        let all: SubjectAltNames = names.iter().map(|(name, _)| name.clone()).collect();
        let Some((first, first_place)) = names.first() else {
            return;
        };
        let extended = Assurance::of_kind(&purchase.kind) == Some(Assurance::Extended);
        let domain_type = purchase.domain_type.unwrap_or_else(|| DomainType::of(&all));
        let bad = if let Some((name, place)) = names
            .iter()
            .find(|(name, _)| extended && (name.is_wildcard() || matches!(name, Name::Ip(_))))
        {
            Some((
                *place,
                format!("no EV certificate can have {name}"),
                "leave it out, or buy an OV or DV type",
            ))
        } else {
            match domain_type {
                DomainType::SingleDomain | DomainType::Wildcard if names.len() > 1 => {
                    let (_, place) = names[1];
                    let label = format!("{} is for one name", domain_type.as_str());
                    let help = "write `domain_type = \"multi_domain\"` or \"auto\" at the issuer, or split the certificate";
                    Some((place, label, help))
                }
                DomainType::SingleDomain if first.is_wildcard() => Some((
                    *first_place,
                    "SINGLE_DOMAIN is for a name without `*`".to_owned(),
                    "write `domain_type = \"wildcard\"` or \"auto\" at the issuer",
                )),
                DomainType::Wildcard if !first.is_wildcard() => Some((
                    *first_place,
                    "WILDCARD is for a name that begins with `*.`".to_owned(),
                    "write `domain_type = \"single_domain\"` or \"auto\" at the issuer",
                )),
                DomainType::MultiDomain if names.len() < 2 => Some((
                    *first_place,
                    "MULTI_DOMAIN is for two names or more".to_owned(),
                    "write `domain_type = \"auto\"` at the issuer",
                )),
                DomainType::MultiDomain if names.len() > MOST_NAMES => {
                    let (_, place) = names[MOST_NAMES];
                    let label = format!("MULTI_DOMAIN is for {MOST_NAMES} names at most");
                    Some((place, label, "split the certificate"))
                }
                DomainType::SingleDomain | DomainType::Wildcard | DomainType::MultiDomain => None,
            }
        };
        if let Some((place, label, help)) = bad {
            let message = format!("what may be bought is not for certificate `{id}`");
            let problem = Diagnostic::error(Code::Purchase, place, message, label);
            self.problems.push(problem.help(help));
            return;
        }
        let joined: usize = names
            .iter()
            .map(|(name, _)| name.to_string().len() + 1)
            .sum();
        if joined > LONGEST_NAMES {
            let place = fields.node("names").map(|node| node.place);
            let count = names.len();
            let message =
                format!("certificate `{id}` has {count} names, {joined} characters in all");
            let label = format!("SCM takes at most {LONGEST_NAMES}");
            let place = place.unwrap_or(fields.header);
            let problem = Diagnostic::error(Code::TooManyNames, place, message, label);
            self.problems.push(problem.help("split the certificate"));
        }
    }

    /// OV and EV certificates say who their owner is.
    fn organization(
        &mut self,
        asked: &Asked<'_>,
        scm: &ScmPolicy,
        purchase: &PurchasePolicy,
        place: Place,
    ) {
        match Assurance::of_kind(&purchase.kind) {
            Some(Assurance::Organization | Assurance::Extended) => {}
            Some(Assurance::Domain) | None => return,
        }
        let company = scm.applicant.as_ref().and_then(|who| who.company.as_ref());
        let company = company.or(asked.subject.organization.as_ref());
        let fields = [
            ("company", company),
            ("country", asked.subject.country.as_ref()),
            ("state", asked.subject.state.as_ref()),
            ("locality", asked.subject.locality.as_ref()),
        ];
        let missing = fields.iter().filter(|(_, value)| value.is_none());
        let missing: Vec<&str> = missing.map(|(name, _)| *name).collect();
        if missing.is_empty() {
            return;
        }
        let message = format!("the owner of certificate `{}` is not fully named", asked.id);
        let label = format!(
            "{} needs {}",
            purchase.kind,
            missing.join(", ").replace("company", "the company")
        );
        let problem = Diagnostic::error(Code::Subject, place, message, label);
        self.problems.push(problem.help(
            "write `company` in [issuer.scm.NAME.applicant], and `subject = { country = \"SG\", state = \"…\", locality = \"…\" }` for its place",
        ));
    }
}

/// Why nobody can own a domain, if so (RFC 6761, RFC 6762, RFC 8375; `internal` is reserved by ICANN). Names for
/// documentation and tests are let through: a laboratory has a CA of its own.
fn unowned(name: &str) -> Option<&'static str> {
    let name = name.strip_prefix("*.").unwrap_or(name);
    let Some((_, last)) = name.rsplit_once('.') else {
        return Some("is a single label, which nobody can own");
    };
    if last.bytes().all(|c| c.is_ascii_digit()) {
        return Some("is neither a domain nor an address");
    }
    let below = |parent: &str| {
        name.strip_suffix(parent)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    UNOWNED
        .iter()
        .any(|parent| below(parent))
        .then_some("is a name of private networks, which nobody can own")
}

fn is_global(address: std::net::IpAddr) -> bool {
    match address {
        std::net::IpAddr::V4(v4) => {
            let shared = v4.octets()[0] == 100 && (64..128).contains(&v4.octets()[1]);
            !(v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_unspecified()
                || v4.is_broadcast()
                || v4.is_multicast()
                || shared)
        }
        // Global unicast (RFC 4291 §2.4).
        std::net::IpAddr::V6(v6) => v6.segments()[0] & 0xe000 == 0x2000,
    }
}

const UNOWNED: &[&str] = &[
    "internal",
    "local",
    "localhost",
    "localdomain",
    "lan",
    "intranet",
    "private",
    "corp",
    "home",
    "home.arpa",
    "in-addr.arpa",
    "ip6.arpa",
    "onion",
    "invalid",
];
/// CCM API 4.1.3.1, `domain_numbers`.
const MOST_NAMES: usize = 100;
/// CCM API 4.1.1.1, `sans`.
const LONGEST_NAMES: usize = 4096;
