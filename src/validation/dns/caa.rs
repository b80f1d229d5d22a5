//! Whether a domain's CAA records let a CA issue (RFC 8659).

use crate::model::ValidationPolicy;
use crate::validation::ValidationError;
use crate::validation::dns::find::{Resolvers, usable};
use crate::validation::dns::name;
use crate::validation::dns::wire::{Data, Rcode, kind};
use crate::validation::sighting::{Gap, Lack, quoted};

/// What forbids the CA of a brand to issue for a domain; `None` where nothing does, or where it is not known which CA that
/// is. `domain` may be a wildcard.
pub(in crate::validation) async fn forbids(
    policy: &ValidationPolicy,
    domain: &str,
    brand: &str,
) -> Result<Option<Gap>, ValidationError> {
    let Some(issuers) = issuers(brand) else {
        return Ok(None);
    };
    let resolvers = Resolvers::of(policy)?;
    let domain = name::plain(domain);
    let (bare, wildcard) = match domain.strip_prefix("*.") {
        Some(bare) => (bare, true),
        None => (domain.as_str(), false),
    };
    let gap = |lack| Gap {
        place: domain.clone(),
        server: String::new(),
        lack,
    };
    for at in name::upwards(bare) {
        let answer = resolvers.ask(at, kind::CAA, true).await?;
        if answer.rcode() == Rcode::SERVER_FAILURE
            && resolvers.answers_unchecked(at, kind::CAA).await
        {
            let why = format!("a validating resolver refuses the CAA records of {at} (SERVFAIL)");
            return Ok(Some(gap(Lack::Dnssec(why))));
        }
        if !usable(answer.rcode()) {
            let why = format!("{} to the question for CAA records of {at}", answer.rcode());
            let lack = Lack::Refused(why);
            return Ok(Some(Gap {
                server: "the resolver".to_owned(),
                ..gap(lack)
            }));
        }
        let records: Vec<Property<'_>> = answer
            .answers
            .iter()
            .filter_map(|record| match &record.data {
                Data::Authorization {
                    critical,
                    tag,
                    value,
                } => Some(Property {
                    critical: *critical,
                    tag,
                    value,
                }),
                _ => None,
            })
            .collect();
        if !records.is_empty() {
            let refusal = refusal(&records, issuers, wildcard);
            return Ok(refusal.map(|why| gap(Lack::Caa(format!("{at} {why}")))));
        }
    }
    Ok(None)
}

struct Property<'a> {
    critical: bool,
    tag: &'a str,
    value: &'a str,
}

/// RFC 8659 §4: why this set of records does not let the CA with these names issue.
fn refusal(records: &[Property<'_>], issuers: &[&str], wildcard: bool) -> Option<String> {
    let unknown = records
        .iter()
        .find(|one| one.critical && !KNOWN.contains(&one.tag));
    if let Some(unknown) = unknown {
        return Some(format!(
            "has the critical property {}, which no CA knows",
            quoted(unknown.tag)
        ));
    }
    let of = |tag: &str| -> Vec<&str> {
        let of = records.iter().filter(|one| one.tag == tag);
        of.map(|one| issuer_of(one.value)).collect()
    };
    let (issue, wild) = (of("issue"), of("issuewild"));
    let (tag, allowed) = match wildcard && !wild.is_empty() {
        true => ("issuewild", wild),
        false => ("issue", issue),
    };
    // Without a record of the kind everybody may.
    if allowed.is_empty()
        || allowed.iter().any(|name| {
            issuers
                .iter()
                .any(|issuer| name.eq_ignore_ascii_case(issuer))
        })
    {
        return None;
    }
    let names: Vec<String> = allowed
        .iter()
        .filter(|name| !name.is_empty())
        .map(|name| quoted(name))
        .collect();
    let told = if names.is_empty() {
        "nobody".to_owned()
    } else {
        names.join(", ")
    };
    let wanted = issuers.first().copied().unwrap_or_default();
    Some(format!(
        "lets {told} issue; add a record: CAA 0 {tag} \"{wanted}\""
    ))
}

/// The name of the CA, without its parameters; empty where nobody is meant.
fn issuer_of(value: &str) -> &str {
    value.split(';').next().unwrap_or_default().trim()
}

/// By which names the CA of a brand of Huawei's recognises itself, the usual one first; `None` for a brand that is not known.
fn issuers(brand: &str) -> Option<&'static [&'static str]> {
    let known = BRANDS.iter();
    let mut of = known.filter(|(known, _)| known.eq_ignore_ascii_case(brand));
    of.next().map(|(_, issuers)| *issuers)
}

/// CCM API 4.1.3.1, `cert_brand`. All brands of DigiCert's take its names and those of the CAs that it took over.
///
/// Those of DigiCert, GlobalSign, CFCA and TrustAsia are as the CAs report them to the CCADB (`AllCAAIdentifiersReport`). Of
/// iTrusChina (vTrus) no report was found: its CP/CPS is published at itrus.com.cn, and what else it owns counts for it as
/// well, since a CA that is wrongly thought forbidden would hold an order up, and one that is forbidden says so itself.
const BRANDS: &[(&str, &[&str])] = &[
    ("GEOTRUST", DIGICERT),
    ("SYMANTEC", DIGICERT),
    ("DIGICERT", DIGICERT),
    ("GLOBALSIGN", &["globalsign.com"]),
    ("CFCA", &["cfca.com.cn"]),
    ("TRUSTASIA", &["trustasia.com"]),
    (
        "VTRUS",
        &["itrus.com.cn", "itrus.cn", "vtrus.com.cn", "vtrus.cn"],
    ),
];

const DIGICERT: &[&str] = &[
    "digicert.com",
    "www.digicert.com",
    "digicert.ne.jp",
    "cybertrust.ne.jp",
    "symantec.com",
    "geotrust.com",
    "rapidssl.com",
    "thawte.com",
    "volusion.digitalcertvalidation.com",
    "stratossl.digitalcertvalidation.com",
    "intermediatecertificate.digitalcertvalidation.com",
    "1and1.digitalcertvalidation.com",
];

/// Properties that CAs know (RFC 8659 §4.1, CA/Browser Forum).
const KNOWN: &[&str] = &[
    "issue",
    "issuewild",
    "iodef",
    "issuemail",
    "issuevmc",
    "contactemail",
    "contactphone",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn of(records: &[(&'static str, &'static str)], wildcard: bool) -> Option<String> {
        let records: Vec<Property<'_>> = records
            .iter()
            .map(|(tag, value)| Property {
                critical: false,
                tag,
                value,
            })
            .collect();
        refusal(&records, issuers("GEOTRUST").unwrap(), wildcard)
    }

    #[test]
    fn a_ca_that_is_named_may_issue_and_another_may_not() {
        assert_eq!(
            of(
                &[("issue", "digicert.com; validationmethods=dns-01")],
                false
            ),
            None
        );
        assert_eq!(
            of(&[("issue", "ca.example"), ("issue", "DigiCert.com")], false),
            None
        );
        let why = of(&[("issue", "ca.example")], false).unwrap();
        assert!(why.contains("lets \"ca.example\" issue"), "{why}");
        assert!(why.contains("CAA 0 issue \"digicert.com\""), "{why}");
        let why = of(&[("issue", ";")], false).unwrap();
        assert!(why.contains("lets nobody issue"), "{why}");
    }

    #[test]
    fn wildcards_have_a_record_of_their_own() {
        let both = [("issue", "digicert.com"), ("issuewild", ";")];
        assert_eq!(of(&both, false), None);
        assert!(of(&both, true).unwrap().contains("CAA 0 issuewild"));
        assert!(of(&[("issue", "ca.example")], true).is_some());
        assert_eq!(of(&[("issuewild", "ca.example")], false), None);
        assert_eq!(of(&[("iodef", "mailto:a@example.com")], true), None);
    }

    #[test]
    fn an_unknown_property_that_matters_forbids() {
        let record = |critical| Property {
            critical,
            tag: "future",
            value: "x",
        };
        assert!(refusal(&[record(true)], &["a"], false).is_some());
        assert!(refusal(&[record(false)], &["a"], false).is_none());
    }
}
