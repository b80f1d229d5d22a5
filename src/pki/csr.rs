//! Certificate signing requests (RFC 2986): everything an issuer should put into the certificate is in the request.

use rcgen::string::Ia5String;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, DnValue, ExtendedKeyUsagePurpose,
    KeyUsagePurpose, SanType,
};

use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer;

use crate::model::{Fingerprint, KeyAlgorithm, Name, OrderRequest};
use crate::pki::facts::sha256;
use crate::pki::{PkiError, PrivateKey, pem};

/// Whose key a request is for: SHA-256 of its SubjectPublicKeyInfo, which tells a CSR that came back by another way with
/// other line ends.
///
/// # Errors
/// A text without a request, and bytes that are none.
pub fn spki(text: &str) -> Result<Fingerprint, PkiError> {
    let blocks = pem::blocks(text)?;
    let mut requests = blocks.iter().filter(|block| {
        matches!(
            block.label,
            "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST"
        )
    });
    let Some(block) = requests.next() else {
        return Err(PkiError::malformed("certificate request", "no such block"));
    };
    let (_, request) = X509CertificationRequest::from_der(&block.der)
        .map_err(|error| PkiError::malformed("certificate request", error))?;
    Ok(sha256(request.certification_request_info.subject_pki.raw))
}

/// The request for this key as PEM: subject, names of all four kinds, key usage and server authentication. PCA takes
/// names and usages from the CSR alone.
///
/// # Errors
/// Parts that do not fit X.509: a common name over 64 characters, a country that is not two letters.
pub fn build(key: &PrivateKey, request: &OrderRequest) -> Result<String, PkiError> {
    let failed = |error: rcgen::Error| refused(error.to_string());
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = subject(request)?;
    parameters.subject_alt_names = request
        .names
        .iter()
        .map(alternative_name)
        .collect::<Result<_, _>>()?;
    parameters.key_usages = key_usages(key.algorithm()).to_vec();
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let signer = key.signer()?;
    parameters
        .serialize_request(&signer)
        .and_then(|csr| csr.pem())
        .map_err(failed)
}

/// RSA keys also decrypt the premaster secret of TLS 1.2's oldest suites; EC keys only sign.
const fn key_usages(algorithm: KeyAlgorithm) -> &'static [KeyUsagePurpose] {
    match algorithm {
        KeyAlgorithm::Rsa2048 | KeyAlgorithm::Rsa3072 | KeyAlgorithm::Rsa4096 => &[
            KeyUsagePurpose::DigitalSignature,
            KeyUsagePurpose::KeyEncipherment,
        ],
        KeyAlgorithm::EcP256 | KeyAlgorithm::EcP384 => &[KeyUsagePurpose::DigitalSignature],
    }
}

fn subject(request: &OrderRequest) -> Result<DistinguishedName, PkiError> {
    let mut name = DistinguishedName::new();
    if let Some(country) = &request.subject.country {
        // RFC 5280 A.1: exactly two characters, as PrintableString.
        let letters = country.len() == 2 && country.bytes().all(|byte| byte.is_ascii_alphabetic());
        let value = country.as_str().try_into().ok().filter(|_| letters);
        let Some(value) = value else {
            return Err(refused(format!("country {country:?} is not two letters")));
        };
        name.push(DnType::CountryName, DnValue::PrintableString(value));
    }
    let fields = [
        (DnType::StateOrProvinceName, &request.subject.state),
        (DnType::LocalityName, &request.subject.locality),
        (DnType::OrganizationName, &request.subject.organization),
        (
            DnType::OrganizationalUnitName,
            &request.subject.organizational_unit,
        ),
    ];
    for (kind, value) in fields {
        if let Some(value) = value {
            name.push(kind, value.as_str());
        }
    }
    if request.common_name.chars().count() > MAX_COMMON_NAME {
        return Err(refused(format!(
            "common name {:?} is longer than {MAX_COMMON_NAME} characters",
            request.common_name
        )));
    }
    if !request.common_name.is_empty() {
        name.push(DnType::CommonName, request.common_name.as_str());
    }
    Ok(name)
}

fn alternative_name(name: &Name) -> Result<SanType, PkiError> {
    let ascii = |text: &str| {
        Ia5String::try_from(text).map_err(|_| refused(format!("name {text:?} is not ASCII")))
    };
    Ok(match name {
        Name::Dns(text) => SanType::DnsName(ascii(text)?),
        Name::Ip(address) => SanType::IpAddress(*address),
        Name::Uri(text) => SanType::URI(ascii(text)?),
        Name::Email(text) => SanType::Rfc822Name(ascii(text)?),
    })
}

fn refused(problem: String) -> PkiError {
    PkiError::Request { problem }
}

/// RFC 5280 A.1, `ub-common-name`.
const MAX_COMMON_NAME: usize = 64;

#[cfg(test)]
mod tests {
    use rcgen::CertificateSigningRequestParams;

    use super::*;
    use crate::model::Subject;
    use crate::pki::certs::{key, request};
    use crate::pki::tests::NAMES;

    #[test]
    fn a_request_says_everything_that_was_ordered() {
        for algorithm in KeyAlgorithm::ALL {
            let mut order = request(algorithm, NAMES);
            order.subject = Subject {
                country: Some("DE".to_owned()),
                state: Some("Bayern".to_owned()),
                locality: Some("München".to_owned()),
                organization: Some("Beispiel 有限公司".to_owned()),
                organizational_unit: Some("Web".to_owned()),
            };
            let text = build(&key(algorithm), &order).unwrap();
            // Reading checks the signature.
            let read = CertificateSigningRequestParams::from_pem(&text)
                .unwrap()
                .params;
            let expected: Vec<SanType> = order
                .names
                .iter()
                .map(|name| alternative_name(name).unwrap())
                .collect();
            assert_eq!(read.subject_alt_names, expected);
            assert_eq!(read.key_usages, key_usages(algorithm));
            assert_eq!(
                read.extended_key_usages,
                [ExtendedKeyUsagePurpose::ServerAuth]
            );
            assert_eq!(read.distinguished_name, subject(&order).unwrap());
            assert_eq!(read.distinguished_name.iter().count(), 6);
        }
    }

    #[test]
    fn parts_that_do_not_fit_are_refused_by_name() {
        let key = key(KeyAlgorithm::EcP256);
        let mut order = request(KeyAlgorithm::EcP256, NAMES);
        order.common_name = "x".repeat(65);
        assert!(
            build(&key, &order)
                .unwrap_err()
                .to_string()
                .contains("longer than 64")
        );
        order.common_name.pop();
        assert!(build(&key, &order).is_ok());
        for country in ["DEU", "D", "日本", ""] {
            order.subject.country = Some(country.to_owned());
            assert!(
                build(&key, &order)
                    .unwrap_err()
                    .to_string()
                    .contains("two letters")
            );
        }
    }
}
