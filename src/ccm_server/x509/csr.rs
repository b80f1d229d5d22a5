//! Certificate signing requests: read, and trusted in nothing but subject, key and names; and those of CAs of ours that
//! somebody else is to certify.

use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::{FromDer as _, GeneralName, ParsedExtension};
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::ccm_server::x509::X509Error;
use crate::ccm_server::x509::certificate::{ExtendedUsage, KeyUsage, authority_extensions};
use crate::ccm_server::x509::name::Subject;
use crate::ccm_server::x509::signer::{Hash, Signer};
use crate::ccm_server::x509::{der, pem, sm2};
use crate::model::Name;

/// What is taken from a request. That it wants to be a CA (`basicConstraints`) is not in here, so it cannot get into a
/// certificate.
pub(in crate::ccm_server) struct Request {
    /// The subject, byte for byte.
    pub(in crate::ccm_server) subject_der: Vec<u8>,
    /// Its members that the API knows.
    pub(in crate::ccm_server) subject: Subject,
    /// The `SubjectPublicKeyInfo`, byte for byte.
    pub(in crate::ccm_server) spki: Vec<u8>,
    /// `RSA`, `EC` or `SM2`.
    pub(in crate::ccm_server) key_family: &'static str,
    /// Bits of the key.
    pub(in crate::ccm_server) key_bits: usize,
    /// Such as `SHA256withRSA`.
    pub(in crate::ccm_server) signature: String,
    /// Names, without those of kinds nobody serves.
    pub(in crate::ccm_server) names: Vec<Name>,
    /// Wanted key usages, without those of CAs.
    pub(in crate::ccm_server) usages: Vec<KeyUsage>,
    /// The same with those of CAs: for who means to certify one.
    pub(in crate::ccm_server) all_usages: Vec<KeyUsage>,
    /// Wanted purposes, of those that are certified at all.
    pub(in crate::ccm_server) extended: Vec<ExtendedUsage>,
}

impl Request {
    /// Reads a PEM request with either line ends, and checks that its sender has the private key.
    pub(in crate::ccm_server) fn parse(text: &str) -> Result<Self, X509Error> {
        Self::read(text, false)
    }

    /// The same for SCM, which also takes requests with SM2 keys.
    pub(in crate::ccm_server) fn parse_for_scm(text: &str) -> Result<Self, X509Error> {
        Self::read(text, true)
    }

    fn read(text: &str, with_sm2: bool) -> Result<Self, X509Error> {
        let wrong = |what: &str| X509Error::Malformed(format!("the CSR {what}"));
        let der = pem::one(text, &["CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"])
            .ok_or_else(|| wrong("is no PEM block CERTIFICATE REQUEST"))?;
        let (rest, csr) = X509CertificationRequest::from_der(&der)
            .map_err(|_| wrong("is no PKCS #10 request"))?;
        if !rest.is_empty() {
            return Err(wrong("has bytes behind its end"));
        }
        let info = &csr.certification_request_info;
        let on_sm2 = with_sm2 && curve(&info.subject_pki).as_deref() == Some(sm2::CURVE);
        let (key_family, key_bits) = if on_sm2 {
            ("SM2", 256)
        } else {
            key_kind(&info.subject_pki)?
        };
        let signed = if on_sm2 {
            let point = &info.subject_pki.subject_public_key.data;
            sm2::verified(point, info.raw, &csr.signature_value.data)
        } else {
            csr.verify_signature().is_ok()
        };
        if !signed {
            return Err(wrong("is not signed by its own key"));
        }
        let mut request = Self {
            subject_der: info.subject.as_raw().to_vec(),
            subject: Subject::from_name(&info.subject),
            spki: info.subject_pki.raw.to_vec(),
            key_family,
            key_bits,
            signature: signature_name(&csr.signature_algorithm.algorithm.to_id_string()),
            names: Vec::new(),
            usages: Vec::new(),
            all_usages: Vec::new(),
            extended: Vec::new(),
        };
        for extension in csr.requested_extensions().into_iter().flatten() {
            request.take(extension)?;
        }
        Ok(request)
    }

    fn take(&mut self, extension: &ParsedExtension<'_>) -> Result<(), X509Error> {
        match extension {
            ParsedExtension::SubjectAlternativeName(names) => {
                for name in &names.general_names {
                    let name = read_name(name)?;
                    if !self.names.contains(&name) {
                        self.names.push(name);
                    }
                }
            }
            ParsedExtension::KeyUsage(usage) => {
                let wanted = (0..9).filter(|bit| usage.flags >> bit & 1 == 1);
                self.all_usages = wanted.filter_map(KeyUsage::bit).collect();
                self.usages.clone_from(&self.all_usages);
                self.usages.retain(|usage| !usage.is_for_authorities());
            }
            ParsedExtension::ExtendedKeyUsage(usage) => {
                let wanted = [
                    (usage.server_auth, ExtendedUsage::ServerAuth),
                    (usage.client_auth, ExtendedUsage::ClientAuth),
                    (usage.code_signing, ExtendedUsage::CodeSigning),
                    (usage.email_protection, ExtendedUsage::EmailProtection),
                    (usage.time_stamping, ExtendedUsage::TimeStamping),
                ];
                let wanted = wanted.into_iter().filter(|(set, _)| *set);
                self.extended = wanted.map(|(_, usage)| usage).collect();
            }
            // Must-staple, policies and what else is asked for is not promised: the issuer decides.
            _ => {}
        }
        Ok(())
    }
}

/// A PKCS #10 request of a CA for its own key, as DER, with the extensions that its certificate needs (RFC 2986, RFC 2985
/// §5.4.2).
pub(in crate::ccm_server) fn request_of_authority(
    subject: &[u8],
    signer: &Signer,
    hash: Hash,
) -> Result<Vec<u8>, X509Error> {
    let hash = signer.hash(hash);
    let usages = [
        KeyUsage::DigitalSignature,
        KeyUsage::KeyCertSign,
        KeyUsage::CrlSign,
    ];
    let extensions = authority_extensions(None, &usages);
    let wanted = der::sequence(&[
        &der::oid(&[1, 2, 840, 113_549, 1, 9, 14]),
        &der::set(&der::tlv(0x30, &extensions)),
    ]);
    let info = der::sequence(&[
        &der::unsigned(&[0]),
        subject,
        signer.spki(),
        &der::context_constructed(0, &wanted),
    ]);
    let signature = signer.sign(hash, &info)?;
    Ok(der::sequence(&[
        &info,
        &signer.algorithm(hash),
        &der::bits(&signature),
    ]))
}

fn read_name(name: &GeneralName<'_>) -> Result<Name, X509Error> {
    let wrong = |text: &str| {
        X509Error::Malformed(format!(
            "the CSR has the alternative name {text:?}, which is none"
        ))
    };
    let parsed = match name {
        GeneralName::DNSName(text) => Name::parse(text).ok().filter(|n| matches!(n, Name::Dns(_))),
        GeneralName::RFC822Name(text) => Name::parse(text)
            .ok()
            .filter(|n| matches!(n, Name::Email(_))),
        // Any scheme will do; the parser of names only knows those with two slashes.
        GeneralName::URI(text) if text.contains(':') && text.is_ascii() => {
            Some(Name::Uri((*text).to_owned()))
        }
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => <[u8; 4]>::try_from(*bytes).ok().map(|b| Name::Ip(b.into())),
            16 => <[u8; 16]>::try_from(*bytes)
                .ok()
                .map(|b| Name::Ip(b.into())),
            _ => None,
        },
        _ => None,
    };
    parsed.ok_or_else(|| wrong(&name.to_string()))
}

/// Family and bits of a key that certificates are made for: RSA from 2048 to 8192 bits, P-256, P-384.
pub(super) fn key_kind(
    spki: &SubjectPublicKeyInfo<'_>,
) -> Result<(&'static str, usize), X509Error> {
    let refuse = |what: String| Err(X509Error::Malformed(what));
    match spki.parsed() {
        Ok(PublicKey::RSA(key)) => match key.key_size() {
            bits @ 2048..=8192 => Ok(("RSA", bits)),
            bits => refuse(format!(
                "the key is RSA with {bits} bits; 2048 to 8192 are served"
            )),
        },
        Ok(PublicKey::EC(_)) => match curve(spki).as_deref() {
            Some("1.2.840.10045.3.1.7") => Ok(("EC", 256)),
            Some("1.3.132.0.34") => Ok(("EC", 384)),
            _ => refuse("the key is on another curve than P-256 or P-384".to_owned()),
        },
        _ => refuse("the key is neither RSA nor EC".to_owned()),
    }
}

/// The identifier of the curve of an EC key.
fn curve(spki: &SubjectPublicKeyInfo<'_>) -> Option<String> {
    let parameters = spki.algorithm.parameters.as_ref()?;
    Some(parameters.as_oid().ok()?.to_id_string())
}

/// Java's name of a signature algorithm, which the reference uses.
pub(super) fn signature_name(oid: &str) -> String {
    match oid {
        "1.2.840.113549.1.1.5" => "SHA1withRSA",
        "1.2.840.113549.1.1.11" => "SHA256withRSA",
        "1.2.840.113549.1.1.12" => "SHA384withRSA",
        "1.2.840.113549.1.1.13" => "SHA512withRSA",
        "1.2.840.10045.4.3.2" => "SHA256withECDSA",
        "1.2.840.10045.4.3.3" => "SHA384withECDSA",
        "1.2.840.10045.4.3.4" => "SHA512withECDSA",
        "1.2.156.10197.1.501" => "SM3withSM2",
        other => other,
    }
    .to_owned()
}
