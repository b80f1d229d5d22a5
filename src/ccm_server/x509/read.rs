//! Reads certificates that others made.

use aws_lc_rs::digest;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::{FromDer as _, GeneralName, KeyUsage, ParsedExtension};

use crate::ccm_server::text;
use crate::ccm_server::x509::X509Error;
use crate::ccm_server::x509::csr::signature_name;
use crate::ccm_server::x509::name::Subject;
use crate::model::Timestamp;

/// What SCM shows of a certificate, and what it takes to check a chain.
#[derive(Debug, Clone)]
pub(in crate::ccm_server) struct Facts {
    /// Subject in the API's words; the common name may be empty.
    pub(in crate::ccm_server) subject: Subject,
    /// Subject, byte for byte.
    pub(in crate::ccm_server) subject_der: Vec<u8>,
    /// Issuer, byte for byte.
    pub(in crate::ccm_server) issuer_der: Vec<u8>,
    /// DNS names and addresses, in the certificate's order.
    pub(in crate::ccm_server) names: Vec<String>,
    /// First moment.
    pub(in crate::ccm_server) not_before: Timestamp,
    /// Last moment.
    pub(in crate::ccm_server) not_after: Timestamp,
    /// The key.
    pub(in crate::ccm_server) spki: Vec<u8>,
    /// SHA-1, 40 hexadecimal digits: the reference's `fingerprint`.
    pub(in crate::ccm_server) fingerprint: String,
    /// Such as `SHA256WITHRSA`.
    pub(in crate::ccm_server) signature_algorithm: String,
    /// The same with the size of the key that signed, such as `SHA256withRSA2048`.
    pub(in crate::ccm_server) encryption: String,
    /// Whether it may issue.
    pub(in crate::ccm_server) is_authority: bool,
    /// Whether its key may sign certificates, by `keyUsage`; one without it may do everything.
    pub(in crate::ccm_server) signs_certificates: bool,
    /// The same of lists of revoked certificates.
    pub(in crate::ccm_server) signs_lists: bool,
    /// How many CAs may be below it, where that is limited.
    pub(in crate::ccm_server) path_length: Option<u8>,
    /// Big-endian, without a leading zero.
    pub(in crate::ccm_server) serial: Vec<u8>,
    /// `subjectKeyIdentifier`.
    pub(in crate::ccm_server) key_id: Option<Vec<u8>>,
    /// Common name of the issuer; may be empty.
    pub(in crate::ccm_server) issuer_name: String,
}

/// Reads one certificate.
pub(in crate::ccm_server) fn facts(certificate: &[u8]) -> Result<Facts, X509Error> {
    let malformed = || X509Error::Malformed("the certificate is malformed".to_owned());
    let (rest, parsed) = X509Certificate::from_der(certificate).map_err(|_| malformed())?;
    if !rest.is_empty() {
        return Err(malformed());
    }
    let mut names = Vec::new();
    if let Ok(Some(extension)) = parsed.subject_alternative_name() {
        for name in &extension.value.general_names {
            match name {
                GeneralName::DNSName(text) => names.push((*text).to_owned()),
                GeneralName::IPAddress(bytes) => {
                    let four = <[u8; 4]>::try_from(*bytes).map(std::net::IpAddr::from);
                    let six = <[u8; 16]>::try_from(*bytes).map(std::net::IpAddr::from);
                    if let Ok(address) = four.or(six) {
                        names.push(address.to_string());
                    }
                }
                _ => {}
            }
        }
    }
    let sha1 = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, certificate);
    let algorithm = parsed.signature_algorithm.algorithm.to_id_string();
    let signed = signature_name(&algorithm);
    let bits = signer_bits(&signed, parsed.signature_value.data.len());
    Ok(Facts {
        subject: Subject::from_name(parsed.subject()),
        subject_der: parsed.subject().as_raw().to_vec(),
        issuer_der: parsed.issuer().as_raw().to_vec(),
        names,
        not_before: Timestamp(parsed.validity().not_before.timestamp()),
        not_after: Timestamp(parsed.validity().not_after.timestamp()),
        spki: parsed.public_key().raw.to_vec(),
        fingerprint: text::hex(sha1.as_ref()),
        signature_algorithm: signed.to_ascii_uppercase(),
        encryption: format!(
            "{signed}{}",
            bits.map_or_else(String::new, |bits| bits.to_string())
        ),
        is_authority: parsed.is_ca(),
        signs_certificates: may(&parsed, KeyUsage::key_cert_sign),
        signs_lists: may(&parsed, KeyUsage::crl_sign),
        path_length: path_length(&parsed),
        serial: parsed.tbs_certificate.serial.to_bytes_be(),
        key_id: key_id(&parsed),
        issuer_name: Subject::from_name(parsed.issuer()).common_name,
    })
}

/// The size of the key that made a signature of so many bytes: an RSA signature is as long as its modulus, and one on a curve
/// has two numbers of the curve's size at most.
fn signer_bits(algorithm: &str, bytes: usize) -> Option<usize> {
    let (_, key) = algorithm.split_once("with")?;
    match key {
        "RSA" => Some(bytes * 8),
        "ECDSA" | "SM2" => Some(match bytes {
            ..=72 => 256,
            73..=104 => 384,
            _ => 521,
        }),
        _ => None,
    }
}

fn may(parsed: &X509Certificate<'_>, what: fn(&KeyUsage) -> bool) -> bool {
    match parsed.key_usage() {
        Ok(Some(usage)) => what(usage.value),
        Ok(None) => true,
        Err(_) => false,
    }
}

fn key_id(parsed: &X509Certificate<'_>) -> Option<Vec<u8>> {
    parsed
        .extensions()
        .iter()
        .find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
            _ => None,
        })
}

fn path_length(parsed: &X509Certificate<'_>) -> Option<u8> {
    let constraints = parsed.basic_constraints().ok().flatten()?;
    let length = constraints.value.path_len_constraint?;
    Some(u8::try_from(length).unwrap_or(u8::MAX))
}

/// Whether the key of `issuer` made the signature of `certificate`.
pub(in crate::ccm_server) fn signed_by(certificate: &[u8], issuer: &[u8]) -> bool {
    let parsed = X509Certificate::from_der(certificate);
    let issuer = X509Certificate::from_der(issuer);
    match (parsed, issuer) {
        (Ok((_, parsed)), Ok((_, issuer))) => {
            parsed.verify_signature(Some(issuer.public_key())).is_ok()
        }
        _ => false,
    }
}
