//! A CSR with its key before it is kept: made to order, or read and checked. Values and bytes only.

use crate::ccm_server::codes::{Code, code};
use crate::ccm_server::failure::Failure;
use crate::ccm_server::field::Input;
use crate::ccm_server::x509::{
    self, LineEnd, Request, Requester, Signer, Sm2Key, Subject, X509Error,
};
use crate::model::{KeyAlgorithm, Name};
use crate::pki::{PrivateKey, Secret};

/// What is to be kept.
pub(super) struct Made {
    /// The user's name for it.
    pub(super) name: String,
    /// The domain it is bound to.
    pub(super) domain: String,
    /// Further domains, separated by semicolons.
    pub(super) sans: String,
    /// Such as `RSA_2048`.
    pub(super) algorithm: &'static str,
    /// `PERSONAL` or `ENTERPRISE`.
    pub(super) usage: &'static str,
    /// The company is in here.
    pub(super) subject: Subject,
    /// PEM.
    pub(super) csr: String,
    /// The public key in it, DER.
    pub(super) spki: Vec<u8>,
    /// PKCS #8; absent when it was not brought along.
    pub(super) key: Option<Secret>,
}

/// A CSR that is to be made (CCM API 4.1.4.1).
pub(super) struct Order {
    name: String,
    names: Vec<Name>,
    algorithm: &'static Algorithm,
    usage: &'static str,
    subject: Subject,
}

/// A kind of key by the reference's name.
struct Algorithm {
    name: &'static str,
    /// Absent for SM2, which has code of its own.
    usual: Option<KeyAlgorithm>,
}

impl Order {
    /// From the fields of the request, which are within their limits.
    pub(super) fn read(body: &Input) -> Result<Self, Failure> {
        let algorithm = algorithm(body.text("private_key_algo"))?;
        let own = |name: &str| body.optional(name).filter(|text| !text.is_empty());
        let enterprise = body.text("usage") == ENTERPRISE;
        if enterprise && let Some(missing) = COMPANY.iter().find(|name| own(name).is_none()) {
            let detail = format!("{missing} is mandatory when usage is ENTERPRISE");
            return Err(Failure::because(code("SCM.0005"), detail));
        }
        let names = domains(body.text("domain_name"), body.text("sans"))?;
        let subject = Subject {
            common_name: names[0].to_string(),
            country: own("company_country").map(str::to_ascii_uppercase),
            state: own("company_province").map(str::to_owned),
            locality: own("company_city").map(str::to_owned),
            organization: own("company_name").map(str::to_owned),
            organizational_unit: None,
        };
        subject.check().map_err(|error| {
            Failure::because(code("SCM.0005"), in_scm_words(&error.to_string()))
        })?;
        Ok(Self {
            name: body.text("name").to_owned(),
            names,
            algorithm,
            usage: if enterprise { ENTERPRISE } else { PERSONAL },
            subject,
        })
    }

    /// Makes key and CSR. RSA takes up to seconds.
    pub(super) fn make(self) -> Result<Made, Failure> {
        let subject = self.subject.der();
        let (der, spki, key) = match self.algorithm.usual {
            Some(usual) => {
                let key = PrivateKey::generate(usual)?;
                let signer = Signer::load(key.pkcs8())?;
                let der = x509::request(&subject, &self.names, &Requester::Usual(&signer))?;
                let spki = key.public_key().to_vec();
                (der, spki, Secret::new(key.pkcs8().to_vec()))
            }
            None => {
                let key = Sm2Key::generate();
                let der = x509::request(&subject, &self.names, &Requester::Sm2(&key))?;
                (der, key.spki()?, Secret::from(key.pkcs8()?))
            }
        };
        let (domain, sans) = joined(&self.names);
        Ok(Made {
            name: self.name,
            domain,
            sans,
            algorithm: self.algorithm.name,
            usage: self.usage,
            subject: self.subject,
            csr: x509::encode("CERTIFICATE REQUEST", &der, LineEnd::Lf),
            spki,
            key: Some(key),
        })
    }
}

/// Reads a CSR that a user brings along, and holds it against the key, if that came with it (CCM API 4.1.4.6). Whether it
/// is meant for a company follows from its subject.
pub(super) fn read(name: String, text: &str, key: Option<&Secret>) -> Result<Made, Failure> {
    let (request, names) = parse(text)?;
    let bits = request.key_bits;
    let algorithm = match (request.key_family, bits) {
        ("RSA", 2048 | 3072 | 4096) => algorithm(&format!("RSA_{bits}"))?,
        ("EC", 256 | 384) => algorithm(&format!("EC_P{bits}"))?,
        ("SM2", _) => algorithm("SM2")?,
        (family, bits) => {
            let detail = format!("SCM has no keys of {family} with {bits} bits");
            return Err(Failure::because(code("SCM.0034"), detail));
        }
    };
    let key = match key {
        None => None,
        Some(key) => Some(matching(key, &request)?),
    };
    let (domain, sans) = joined(&names);
    let company = request.subject.organization.is_some();
    Ok(Made {
        name,
        domain,
        sans,
        algorithm: algorithm.name,
        usage: if company { ENTERPRISE } else { PERSONAL },
        subject: request.subject,
        csr: text.to_owned(),
        spki: request.spki,
        key,
    })
}

/// A CSR and the domains in it, the one that it is bound to first: the common name, or else the first alternative name
/// (CCM API 4.1.4.6 and 7.1.8). Without any it is refused.
pub(in crate::ccm_server) fn parse(text: &str) -> Result<(Request, Vec<Name>), Failure> {
    let malformed = |error: X509Error| Failure::because(code("SCM.0034"), error.to_string());
    let request = Request::parse_for_scm(text).map_err(malformed)?;
    let is_domain = |name: &Name| matches!(name, Name::Dns(_) | Name::Ip(_));
    let common = Name::parse(&request.subject.common_name);
    let mut names: Vec<Name> = common.ok().filter(is_domain).into_iter().collect();
    for name in request.names.iter().filter(|name| is_domain(name)) {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    if names.is_empty() {
        return Err(Failure::new(code("SCM.0033")));
    }
    Ok((request, names))
}

/// The key as PKCS #8, if it is that of the request.
fn matching(key: &Secret, request: &Request) -> Result<Secret, Failure> {
    let foreign = |public: &[u8]| public != request.spki.as_slice();
    let mismatch = || Failure::because(code("SCM.0014"), "the key is not that of the CSR");
    if request.key_family == "SM2" {
        let text = key.expose_str().unwrap_or_default();
        let Some(key) = Sm2Key::from_pem(text) else {
            let detail = "the text holds no private key on the curve SM2";
            return Err(Failure::because(code("SCM.0012"), detail));
        };
        if foreign(&key.spki()?) {
            return Err(mismatch());
        }
        return Ok(Secret::from(key.pkcs8()?));
    }
    let key = PrivateKey::from_pem(key.expose())
        .map_err(|error| Failure::because(code("SCM.0012"), error.to_string()))?;
    if foreign(key.public_key()) {
        return Err(mismatch());
    }
    Ok(Secret::new(key.pkcs8().to_vec()))
}

/// The domain and the further ones of a request, parsed.
fn domains(domain: &str, sans: &str) -> Result<Vec<Name>, Failure> {
    let refuse = |code: &'static Code, text: &str, why: &str| {
        Err(Failure::because(code, format!("{text:?} {why}")))
    };
    let mut names: Vec<Name> = Vec::new();
    let further = sans.split(';').map(str::trim);
    for text in std::iter::once(domain).chain(further.filter(|text| !text.is_empty())) {
        match Name::parse(text) {
            Ok(name @ (Name::Dns(_) | Name::Ip(_))) if names.contains(&name) => {
                return refuse(code("SCM.0063"), text, "is there twice");
            }
            Ok(name @ (Name::Dns(_) | Name::Ip(_))) => names.push(name),
            Ok(_) => return refuse(code("SCM.0108"), text, "is no domain name"),
            Err(error) => return refuse(code("SCM.0108"), text, &error.to_string()),
        }
    }
    Ok(names)
}

fn joined(names: &[Name]) -> (String, String) {
    let texts: Vec<String> = names.iter().map(Name::to_string).collect();
    match texts.split_first() {
        Some((domain, sans)) => (domain.clone(), sans.join(";")),
        None => (String::new(), String::new()),
    }
}

fn algorithm(name: &str) -> Result<&'static Algorithm, Failure> {
    let found = ALL.iter().find(|algorithm| algorithm.name == name);
    found.ok_or_else(|| Failure::because(code("SCM.0005"), format!("there is no key {name}")))
}

/// A refusal of a subject in the words of 4.1.4.1.
fn in_scm_words(detail: &str) -> String {
    let words = [
        ("country", "company_country"),
        ("state", "company_province"),
        ("locality", "company_city"),
        ("organization", "company_name"),
    ];
    let found = words.iter().find(|(ours, _)| detail.starts_with(ours));
    match found {
        Some((ours, theirs)) => detail.replacen(ours, theirs, 1),
        None => detail.to_owned(),
    }
}

const ALL: &[Algorithm] = &[
    Algorithm {
        name: "RSA_2048",
        usual: Some(KeyAlgorithm::Rsa2048),
    },
    Algorithm {
        name: "RSA_3072",
        usual: Some(KeyAlgorithm::Rsa3072),
    },
    Algorithm {
        name: "RSA_4096",
        usual: Some(KeyAlgorithm::Rsa4096),
    },
    Algorithm {
        name: "EC_P256",
        usual: Some(KeyAlgorithm::EcP256),
    },
    Algorithm {
        name: "EC_P384",
        usual: Some(KeyAlgorithm::EcP384),
    },
    Algorithm {
        name: "SM2",
        usual: None,
    },
];
const PERSONAL: &str = "PERSONAL";
const ENTERPRISE: &str = "ENTERPRISE";
const COMPANY: [&str; 4] = [
    "company_country",
    "company_province",
    "company_city",
    "company_name",
];
