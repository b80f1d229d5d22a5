//! Writes and signs certificates (RFC 5280 §4).

use aws_lc_rs::digest;
use x509_parser::prelude::{FromDer as _, SubjectPublicKeyInfo};

use crate::ccm_server::x509::signer::{Hash, Signer};
use crate::ccm_server::x509::{X509Error, der};
use crate::model::{Name, Timestamp};

/// What is to be certified. Nothing is taken from anywhere else.
pub(in crate::ccm_server) struct Template<'a> {
    /// Positive, big-endian.
    pub(in crate::ccm_server) serial: &'a [u8],
    /// The issuer's subject, byte for byte.
    pub(in crate::ccm_server) issuer: &'a [u8],
    /// The identifier of the issuer's key as its certificate has it; absent: made from the key.
    pub(in crate::ccm_server) issuer_key: Option<&'a [u8]>,
    /// URL of the issuer's list of revoked certificates.
    pub(in crate::ccm_server) crl: Option<&'a str>,
    /// The subject as DER.
    pub(in crate::ccm_server) subject: &'a [u8],
    /// First moment.
    pub(in crate::ccm_server) not_before: Timestamp,
    /// Last moment.
    pub(in crate::ccm_server) not_after: Timestamp,
    /// The subject's key.
    pub(in crate::ccm_server) spki: &'a [u8],
    /// CA or not.
    pub(in crate::ccm_server) constraints: BasicConstraints,
    /// What the key may do; never empty.
    pub(in crate::ccm_server) usages: &'a [KeyUsage],
    /// What the certificate is for; empty means anything.
    pub(in crate::ccm_server) extended: &'a [ExtendedUsage],
    /// Names.
    pub(in crate::ccm_server) names: &'a [Name],
    /// One more extension: its identifier and the text of its value.
    pub(in crate::ccm_server) custom: Option<(Vec<u64>, String)>,
}

/// The `basicConstraints` extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ccm_server) enum BasicConstraints {
    /// Cannot issue.
    Leaf,
    /// Can issue, with at most so many CAs below it.
    Authority {
        /// Absent: without limit.
        path_length: Option<u8>,
    },
}

/// A bit of `keyUsage`; the number is the bit's (RFC 5280 §4.2.1.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::ccm_server) enum KeyUsage {
    /// digitalSignature
    DigitalSignature = 0,
    /// nonRepudiation
    NonRepudiation = 1,
    /// keyEncipherment
    KeyEncipherment = 2,
    /// dataEncipherment
    DataEncipherment = 3,
    /// keyAgreement
    KeyAgreement = 4,
    /// keyCertSign
    KeyCertSign = 5,
    /// cRLSign
    CrlSign = 6,
    /// encipherOnly
    EncipherOnly = 7,
    /// decipherOnly
    DecipherOnly = 8,
}

impl KeyUsage {
    /// The API's names, by bit.
    pub(in crate::ccm_server) const NAMES: &'static [&'static str] = &[
        "digitalSignature",
        "nonRepudiation",
        "keyEncipherment",
        "dataEncipherment",
        "keyAgreement",
        "keyCertSign",
        "cRLSign",
        "encipherOnly",
        "decipherOnly",
    ];

    /// By bit.
    pub(in crate::ccm_server) fn bit(bit: usize) -> Option<Self> {
        ALL_USAGES.get(bit).copied()
    }

    /// By the API's name.
    pub(in crate::ccm_server) fn named(name: &str) -> Option<Self> {
        let bit = Self::NAMES.iter().position(|known| *known == name)?;
        Self::bit(bit)
    }

    /// Whether only a CA may have it.
    pub(in crate::ccm_server) const fn is_for_authorities(self) -> bool {
        matches!(self, Self::KeyCertSign | Self::CrlSign)
    }
}

/// A purpose in `extendedKeyUsage`; these and no others are certified: `anyExtendedKeyUsage` and OCSP signing would
/// make more of a certificate than its issuer meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::ccm_server) enum ExtendedUsage {
    /// 1.3.6.1.5.5.7.3.1
    ServerAuth,
    /// 1.3.6.1.5.5.7.3.2
    ClientAuth,
    /// 1.3.6.1.5.5.7.3.3
    CodeSigning,
    /// 1.3.6.1.5.5.7.3.4
    EmailProtection,
    /// 1.3.6.1.5.5.7.3.8
    TimeStamping,
    /// 1.3.6.1.4.1.311.20.2.2
    SmartCardLogon,
}

impl ExtendedUsage {
    /// All, with the API's names.
    pub(in crate::ccm_server) const NAMED: [(&'static str, Self); 6] = [
        ("server_auth", Self::ServerAuth),
        ("client_auth", Self::ClientAuth),
        ("code_signing", Self::CodeSigning),
        ("email_protection", Self::EmailProtection),
        ("time_stamping", Self::TimeStamping),
        ("smart_card_logon", Self::SmartCardLogon),
    ];

    fn oid(self) -> Vec<u8> {
        match self {
            Self::ServerAuth => der::oid(&[1, 3, 6, 1, 5, 5, 7, 3, 1]),
            Self::ClientAuth => der::oid(&[1, 3, 6, 1, 5, 5, 7, 3, 2]),
            Self::CodeSigning => der::oid(&[1, 3, 6, 1, 5, 5, 7, 3, 3]),
            Self::EmailProtection => der::oid(&[1, 3, 6, 1, 5, 5, 7, 3, 4]),
            Self::TimeStamping => der::oid(&[1, 3, 6, 1, 5, 5, 7, 3, 8]),
            Self::SmartCardLogon => der::oid(&[1, 3, 6, 1, 4, 1, 311, 20, 2, 2]),
        }
    }
}

/// The certificate as DER, signed by `signer`.
pub(in crate::ccm_server) fn issue(
    template: &Template<'_>,
    signer: &Signer,
    hash: Hash,
) -> Result<Vec<u8>, X509Error> {
    let algorithm = signer.algorithm(hash);
    let version = der::context_constructed(0, &der::unsigned(&[2]));
    let validity = der::sequence(&[
        &der::time(template.not_before),
        &der::time(template.not_after),
    ]);
    let extensions = extensions(template, signer)?;
    let tbs = der::sequence(&[
        &version,
        &der::unsigned(template.serial),
        &algorithm,
        template.issuer,
        &validity,
        template.subject,
        template.spki,
        &der::context_constructed(3, &der::tlv(0x30, &extensions)),
    ]);
    let signature = signer.sign(hash, &tbs)?;
    Ok(der::sequence(&[&tbs, &algorithm, &der::bits(&signature)]))
}

fn extensions(template: &Template<'_>, signer: &Signer) -> Result<Vec<u8>, X509Error> {
    let issuer_key = match template.issuer_key {
        Some(known) => der::context(0, known),
        None => der::context(0, &key_identifier(signer.spki())?),
    };
    let mut all = extension(&[2, 5, 29, 35], false, &der::sequence(&[&issuer_key]));
    let own_key = der::octets(&key_identifier(template.spki)?);
    all.extend(extension(&[2, 5, 29, 14], false, &own_key));
    all.extend(constraints_and_usages(
        template.constraints,
        template.usages,
    ));
    if !template.extended.is_empty() {
        let purposes: Vec<u8> = template
            .extended
            .iter()
            .flat_map(|usage| usage.oid())
            .collect();
        all.extend(extension(
            &[2, 5, 29, 37],
            false,
            &der::tlv(0x30, &purposes),
        ));
    }
    if !template.names.is_empty() {
        all.extend(names_extension(template.names));
    }
    if let Some(url) = template.crl {
        // RFC 5280 §4.2.1.13: DistributionPoint, distributionPoint, fullName.
        let name = der::context(6, url.as_bytes());
        let name = der::context_constructed(0, &der::context_constructed(0, &name));
        let points = der::sequence(&[&der::sequence(&[&name])]);
        all.extend(extension(&[2, 5, 29, 31], false, &points));
    }
    if let Some((identifier, value)) = &template.custom {
        all.extend(extension(identifier, false, &der::utf8(value)));
    }
    Ok(all)
}

/// The alternative names.
pub(super) fn names_extension(names: &[Name]) -> Vec<u8> {
    let names: Vec<u8> = names.iter().flat_map(general_name).collect();
    extension(&[2, 5, 29, 17], false, &der::tlv(0x30, &names))
}

/// The two extensions that make a CA, for a request.
pub(super) fn authority_extensions(path_length: Option<u8>, usages: &[KeyUsage]) -> Vec<u8> {
    constraints_and_usages(BasicConstraints::Authority { path_length }, usages)
}

fn constraints_and_usages(constraints: BasicConstraints, usages: &[KeyUsage]) -> Vec<u8> {
    let constraints = match constraints {
        BasicConstraints::Leaf => der::sequence(&[]),
        BasicConstraints::Authority { path_length: None } => der::sequence(&[&der::yes()]),
        BasicConstraints::Authority {
            path_length: Some(length),
        } => der::sequence(&[&der::yes(), &der::unsigned(&[length])]),
    };
    let mut both = extension(&[2, 5, 29, 19], true, &constraints);
    let bits: Vec<u8> = usages.iter().map(|usage| *usage as u8).collect();
    both.extend(extension(&[2, 5, 29, 15], true, &der::named_bits(&bits)));
    both
}

pub(super) fn extension(identifier: &[u64], critical: bool, value: &[u8]) -> Vec<u8> {
    let critical = if critical { der::yes() } else { Vec::new() };
    der::sequence(&[&der::oid(identifier), &critical, &der::octets(value)])
}

fn general_name(name: &Name) -> Vec<u8> {
    match name {
        Name::Email(text) => der::context(1, text.as_bytes()),
        Name::Dns(text) => der::context(2, text.as_bytes()),
        Name::Uri(text) => der::context(6, text.as_bytes()),
        Name::Ip(std::net::IpAddr::V4(address)) => der::context(7, &address.octets()),
        Name::Ip(std::net::IpAddr::V6(address)) => der::context(7, &address.octets()),
    }
}

/// The first 160 bits of the SHA-256 of the key's bits (RFC 7093 §2, method 1).
pub(super) fn key_identifier(spki: &[u8]) -> Result<Vec<u8>, X509Error> {
    let (_, parsed) = SubjectPublicKeyInfo::from_der(spki)
        .map_err(|_| X509Error::Malformed("the public key is malformed".to_owned()))?;
    let hash = digest::digest(&digest::SHA256, &parsed.subject_public_key.data);
    Ok(hash.as_ref()[..20].to_vec())
}

const ALL_USAGES: [KeyUsage; 9] = [
    KeyUsage::DigitalSignature,
    KeyUsage::NonRepudiation,
    KeyUsage::KeyEncipherment,
    KeyUsage::DataEncipherment,
    KeyUsage::KeyAgreement,
    KeyUsage::KeyCertSign,
    KeyUsage::CrlSign,
    KeyUsage::EncipherOnly,
    KeyUsage::DecipherOnly,
];
