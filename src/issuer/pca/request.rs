//! What PCA is asked for a certificate (CCM API 4.2.2.2, 4.2.2.3).

use crate::ccm::{
    CertificateKind, DistinguishedName, ExtendedKeyUsage, Issue, IssueByCsr, KeyUsage, NameKind,
    PcaAlgorithm, SignatureAlgorithm, SubjectAlternativeName, Validity, ValidityUnit,
};
use crate::issuer::IssuerError;
use crate::issuer::failure::own;
use crate::model::{ErrorClass, KeyAlgorithm, Name, OrderRequest, Seconds, SubjectAltNames};

pub(super) fn by_csr(
    request: &OrderRequest,
    csr: &str,
    issuer_id: String,
) -> Result<IssueByCsr, IssuerError> {
    if csr.len() > LONGEST_CSR {
        return Err(own(
            ErrorClass::Configuration,
            format!(
                "the CSR has {} characters and PCA takes {LONGEST_CSR}; ask for fewer names or a smaller key",
                csr.len()
            ),
        ));
    }
    let names = alternative_names(&request.names);
    Ok(IssueByCsr {
        issuer_id,
        csr: csr.to_owned(),
        validity: validity(request.validity)?,
        kind: Some(CertificateKind::Entity),
        path_length: None,
        // PCA ignores them here; a list that is too long could only be refused.
        subject_alternative_names: if names.len() > MOST_NAMES {
            Vec::new()
        } else {
            names
        },
    })
}

pub(super) fn with_key(request: &OrderRequest, issuer_id: String) -> Result<Issue, IssuerError> {
    let wrong = |message: String| own(ErrorClass::Configuration, message);
    let names = alternative_names(&request.names);
    if names.len() > MOST_NAMES {
        return Err(wrong(format!(
            "{} names, and PCA takes {MOST_NAMES} with a key of its own; use key = \"local\"",
            names.len()
        )));
    }
    let (key_algorithm, signature_algorithm, rsa) = match request.key_algorithm {
        KeyAlgorithm::Rsa2048 => (PcaAlgorithm::Rsa2048, SignatureAlgorithm::Sha256, true),
        KeyAlgorithm::Rsa4096 => (PcaAlgorithm::Rsa4096, SignatureAlgorithm::Sha256, true),
        KeyAlgorithm::EcP256 => (PcaAlgorithm::Ec256, SignatureAlgorithm::Sha256, false),
        KeyAlgorithm::EcP384 => (PcaAlgorithm::Ec384, SignatureAlgorithm::Sha384, false),
        KeyAlgorithm::Rsa3072 => {
            return Err(wrong(
                "PCA makes no RSA keys of 3072 bit; use key = \"local\" or another size".to_owned(),
            ));
        }
    };
    // RFC 5280 §4.2.1.3: an RSA key of a TLS server signs, and with old suites also decrypts.
    let key_usages = if rsa {
        vec![KeyUsage::DigitalSignature, KeyUsage::KeyEncipherment]
    } else {
        vec![KeyUsage::DigitalSignature]
    };
    let subject = request.subject.clone();
    Ok(Issue {
        issuer_id,
        key_algorithm,
        signature_algorithm,
        distinguished_name: DistinguishedName {
            common_name: Some(request.common_name.clone()),
            country: subject.country,
            state: subject.state,
            locality: subject.locality,
            organization: subject.organization,
            organizational_unit: subject.organizational_unit,
        },
        validity: validity(request.validity)?,
        key_usages,
        subject_alternative_names: names,
        extended_key_usage: ExtendedKeyUsage {
            server_auth: true,
            ..ExtendedKeyUsage::default()
        },
        customized_extension: None,
    })
}

/// Whole days where it is some, else hours, rounded up: PCA knows no smaller unit, and a month or a year is not the
/// same length on every page of the reference.
fn validity(length: Seconds) -> Result<Validity, IssuerError> {
    const DAY: i64 = Seconds::days(1).0;
    const HOUR: i64 = Seconds::hours(1).0;
    if length.0 <= 0 {
        return Err(own(
            ErrorClass::Configuration,
            format!("a validity of {length} is none"),
        ));
    }
    let (unit, size) = if length.0 % DAY == 0 {
        (ValidityUnit::Day, DAY)
    } else {
        (ValidityUnit::Hour, HOUR)
    };
    Ok(Validity {
        unit,
        value: length.0 / size + i64::from(length.0 % size != 0),
        start_from: None,
    })
}

fn alternative_names(names: &SubjectAltNames) -> Vec<SubjectAlternativeName> {
    let one = |name: &Name| SubjectAlternativeName {
        kind: match name {
            Name::Dns(_) => NameKind::Dns,
            Name::Ip(_) => NameKind::Ip,
            Name::Uri(_) => NameKind::Uri,
            Name::Email(_) => NameKind::Email,
        },
        value: name.to_string(),
    };
    names.iter().map(one).collect()
}

/// 4.2.2.2: array size 0 to 20.
const MOST_NAMES: usize = 20;
/// 4.2.2.3.
const LONGEST_CSR: usize = 5120;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_validity_is_whole_days_or_else_hours() {
        for (seconds, unit, value) in [
            (86_400, "DAY", 1),
            (365 * 86_400, "DAY", 365),
            (7200, "HOUR", 2),
            (90_000, "HOUR", 25),
            (5400, "HOUR", 2),
            (1, "HOUR", 1),
        ] {
            assert_eq!(
                validity(Seconds(seconds)).unwrap(),
                Validity {
                    unit: ValidityUnit::from(unit.to_owned()),
                    value,
                    start_from: None
                }
            );
        }
        let error = validity(Seconds(0)).unwrap_err();
        assert_eq!(error.class, ErrorClass::Configuration);
    }
}
