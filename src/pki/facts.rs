//! What a certificate says of itself, read from its DER form.
//!
//! Reading is lenient about names: one that is no name to us covers nothing, and is no reason to refuse the rest.

use std::net::IpAddr;

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::{SubjectPublicKeyInfo, X509Name};

use crate::model::{CertificateFacts, Fingerprint, KeyAlgorithm, Name, SubjectAltNames, Timestamp};
use crate::pki::PkiError;

/// Reads one certificate.
///
/// # Errors
/// Bytes that are no X.509 certificate, or followed by others.
pub fn facts(der: &[u8]) -> Result<CertificateFacts, PkiError> {
    let certificate = parse(der)?;
    Ok(CertificateFacts {
        serial: serial(&certificate),
        fingerprint: sha256(der),
        spki: sha256(certificate.public_key().raw),
        common_name: common_name(certificate.subject()),
        names: names(&certificate)?,
        issuer_name: common_name(certificate.issuer())
            .unwrap_or_else(|| certificate.issuer().to_string()),
        not_before: Timestamp(certificate.validity().not_before.timestamp()),
        not_after: Timestamp(certificate.validity().not_after.timestamp()),
        key_algorithm: key_algorithm(certificate.public_key()),
    })
}

/// The parsed form, refusing what follows the certificate.
pub(super) fn parse(der: &[u8]) -> Result<X509Certificate<'_>, PkiError> {
    let (rest, certificate) = X509Certificate::from_der(der)
        .map_err(|error| PkiError::malformed("certificate", error))?;
    if rest.is_empty() {
        Ok(certificate)
    } else {
        Err(PkiError::malformed("certificate", "bytes behind its end"))
    }
}

/// The subject for people: its common name, else the whole.
pub(super) fn subject(certificate: &X509Certificate<'_>) -> String {
    common_name(certificate.subject()).unwrap_or_else(|| certificate.subject().to_string())
}

pub(super) fn sha256(bytes: &[u8]) -> Fingerprint {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    let mut print = [0; 32];
    print.copy_from_slice(digest.as_ref());
    Fingerprint(print)
}

/// Size of an RSA key in bits; `None` for other kinds.
pub(super) fn rsa_bits(key: &SubjectPublicKeyInfo<'_>) -> Option<usize> {
    match key.parsed() {
        Ok(PublicKey::RSA(rsa)) => {
            let zeros = rsa.modulus.iter().take_while(|byte| **byte == 0).count();
            let first = rsa.modulus.get(zeros)?.leading_zeros();
            Some((rsa.modulus.len() - zeros) * 8 - usize::try_from(first).ok()?)
        }
        _ => None,
    }
}

/// Hex of the magnitude: the sign byte that DER puts before a high bit is not part of the number.
fn serial(certificate: &X509Certificate<'_>) -> String {
    let raw = certificate.raw_serial();
    let digits = match raw {
        [0, rest @ ..] if !rest.is_empty() => rest,
        all => all,
    };
    digits.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The most specific common name, which is the last one (RFC 6125 §1.8).
fn common_name(name: &X509Name<'_>) -> Option<String> {
    let last = name.iter_common_name().last()?;
    last.as_str().ok().map(str::to_owned)
}

fn names(certificate: &X509Certificate<'_>) -> Result<SubjectAltNames, PkiError> {
    let extension = certificate
        .subject_alternative_name()
        .map_err(|error| PkiError::malformed("certificate", format!("names: {error}")))?;
    let Some(extension) = extension else {
        return Ok(SubjectAltNames::default());
    };
    Ok(extension
        .value
        .general_names
        .iter()
        .filter_map(name)
        .collect())
}

/// Only a name that is of its own kind when it is parsed as text: a host name field that holds `10.0.0.1` is none.
fn name(general: &GeneralName<'_>) -> Option<Name> {
    match general {
        GeneralName::DNSName(text) => Name::parse(text)
            .ok()
            .filter(|name| matches!(name, Name::Dns(_))),
        GeneralName::RFC822Name(text) => Name::parse(text)
            .ok()
            .filter(|name| matches!(name, Name::Email(_))),
        GeneralName::URI(text) => Name::parse(text)
            .ok()
            .filter(|name| matches!(name, Name::Uri(_))),
        GeneralName::IPAddress(octets) => {
            if let Ok(four) = <[u8; 4]>::try_from(*octets) {
                Some(Name::Ip(IpAddr::from(four)))
            } else {
                let sixteen = <[u8; 16]>::try_from(*octets).ok()?;
                Some(Name::Ip(IpAddr::from(sixteen)))
            }
        }
        GeneralName::OtherName(..)
        | GeneralName::X400Address(_)
        | GeneralName::DirectoryName(_)
        | GeneralName::EDIPartyName(_)
        | GeneralName::RegisteredID(_)
        | GeneralName::Invalid(..) => None,
    }
}

fn key_algorithm(key: &SubjectPublicKeyInfo<'_>) -> Option<KeyAlgorithm> {
    if let Some(bits) = rsa_bits(key) {
        return match bits {
            2048 => Some(KeyAlgorithm::Rsa2048),
            3072 => Some(KeyAlgorithm::Rsa3072),
            4096 => Some(KeyAlgorithm::Rsa4096),
            _ => None,
        };
    }
    match key
        .algorithm
        .parameters
        .as_ref()?
        .as_oid()
        .ok()?
        .to_id_string()
        .as_str()
    {
        // RFC 5480 §2.1.1.1.
        "1.2.840.10045.3.1.7" => Some(KeyAlgorithm::EcP256),
        "1.3.132.0.34" => Some(KeyAlgorithm::EcP384),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{DnType, SanType, SerialNumber};

    use super::*;
    use crate::pki::certs::{self, leaf};
    use crate::pki::tests::{NAMES, NOW, year};

    #[test]
    fn names_of_all_four_kinds_are_read() {
        let sample = certs::sample(KeyAlgorithm::EcP256, NAMES, year());
        let facts = sample.material.facts().unwrap();
        let expected: SubjectAltNames = NAMES
            .iter()
            .map(|name| Name::parse(name).unwrap())
            .collect();
        assert_eq!(facts.names, expected);
        assert_eq!(facts.common_name.as_deref(), Some(NAMES[0]));
        assert_eq!(facts.issuer_name, "Sample Issuing");
        assert_eq!(facts.spki, sample.material.key.spki());
        assert_eq!(facts.not_before, NOW - crate::model::Seconds::days(1));
        assert_eq!(facts.not_after, NOW + crate::model::Seconds::days(364));
    }

    #[test]
    fn a_name_in_a_field_of_another_kind_covers_nothing() {
        let mut parameters = leaf(&["a.example"], year());
        for text in ["10.0.0.1", "x@y.example", "a b", "*"] {
            let name = SanType::DnsName(text.try_into().unwrap());
            parameters.subject_alt_names.push(name);
        }
        let uri = SanType::URI("not-a-uri".try_into().unwrap());
        parameters.subject_alt_names.push(uri);
        let key = certs::key(KeyAlgorithm::EcP256).signer().unwrap();
        let der = parameters.self_signed(&key).unwrap();
        assert_eq!(facts(der.der()).unwrap().names.to_string(), "a.example");
    }

    #[test]
    fn a_serial_is_shown_without_the_sign_byte() {
        let key = certs::key(KeyAlgorithm::EcP256).signer().unwrap();
        for (bytes, shown) in [(&[0x80, 1][..], "8001"), (&[7], "07"), (&[0], "00")] {
            let mut parameters = leaf(&["a.example"], year());
            parameters.serial_number = Some(SerialNumber::from_slice(bytes));
            let der = parameters.self_signed(&key).unwrap();
            assert_eq!(facts(der.der()).unwrap().serial, shown);
        }
    }

    #[test]
    fn an_issuer_without_common_name_is_shown_whole() {
        let key = certs::key(KeyAlgorithm::EcP256).signer().unwrap();
        let mut parameters = leaf(&["a.example"], year());
        parameters.distinguished_name = rcgen::DistinguishedName::new();
        parameters
            .distinguished_name
            .push(DnType::OrganizationName, "Corp");
        let der = parameters.self_signed(&key).unwrap();
        let facts = facts(der.der()).unwrap();
        assert_eq!(facts.common_name, None);
        assert_eq!(facts.issuer_name, "O=Corp");
    }

    #[test]
    fn bytes_behind_a_certificate_are_refused() {
        let mut der = certs::sample(KeyAlgorithm::EcP256, NAMES, year())
            .material
            .leaf;
        der.push(0);
        assert!(facts(&der).is_err());
    }
}
