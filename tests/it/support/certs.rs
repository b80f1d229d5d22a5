//! Certificates in memory for tests: a root, an intermediate, leaves of any kind, with any validity.
//!
//! Unit tests of `pki` use the same file, so it speaks of `renewd::` only.

use std::collections::BTreeMap;
use std::sync::Mutex;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyUsagePurpose, PublicKeyData, SanType,
};
use renewd::model::{
    Fingerprint, KeyAlgorithm, KeyReuse, Name, OrderRequest, Seconds, Source, Subject, Timestamp,
};
use renewd::pki::{Material, PrivateKey, Signer};

/// A certificate authority.
pub(crate) struct Authority {
    /// Its own certificate.
    pub(crate) der: Vec<u8>,
    issuer: Issuer<'static, Signer>,
}

impl Authority {
    /// A self-signed one.
    pub(crate) fn root(name: &str, algorithm: KeyAlgorithm, validity: Validity) -> Self {
        Self::with(authority(name, validity), algorithm, None)
    }

    /// One below this one.
    pub(crate) fn intermediate(
        &self,
        name: &str,
        algorithm: KeyAlgorithm,
        validity: Validity,
    ) -> Self {
        Self::with(authority(name, validity), algorithm, Some(self))
    }

    /// Signed by `above`, or by itself; whatever the parameters say.
    pub(crate) fn with(
        parameters: CertificateParams,
        algorithm: KeyAlgorithm,
        above: Option<&Self>,
    ) -> Self {
        let signer = key(algorithm).signer().unwrap();
        let certificate = match above {
            Some(above) => parameters.signed_by(&signer, &above.issuer),
            None => parameters.self_signed(&signer),
        };
        Self {
            der: certificate.unwrap().der().to_vec(),
            issuer: Issuer::new(parameters, signer),
        }
    }

    /// Signs a certificate for this key, whatever the parameters say.
    pub(crate) fn sign(&self, key: &impl PublicKeyData, parameters: &CertificateParams) -> Vec<u8> {
        let certificate = parameters.signed_by(key, &self.issuer).unwrap();
        certificate.der().to_vec()
    }
}

/// A root, an intermediate and a leaf below it.
pub(crate) struct Sample {
    pub(crate) root: Authority,
    pub(crate) intermediate: Authority,
    /// Key and leaf; the chain holds the intermediate and the root, as PCA sends it.
    pub(crate) material: Material,
}

/// A whole sample; the authorities have EC keys, which are quick to make.
pub(crate) fn sample(algorithm: KeyAlgorithm, names: &[&str], validity: Validity) -> Sample {
    let root = Authority::root("Sample Root", KeyAlgorithm::EcP384, validity);
    let intermediate = root.intermediate("Sample Issuing", KeyAlgorithm::EcP256, validity);
    let key = key(algorithm);
    let leaf = intermediate.sign(&key.signer().unwrap(), &leaf(names, validity));
    let chain = vec![intermediate.der.clone(), root.der.clone()];
    Sample {
        root,
        intermediate,
        material: Material { key, leaf, chain },
    }
}

/// From when until when.
#[derive(Clone, Copy)]
pub(crate) struct Validity(pub(crate) Timestamp, pub(crate) Timestamp);

/// Parameters of a server certificate; the first name is the common name too.
pub(crate) fn leaf(names: &[&str], validity: Validity) -> CertificateParams {
    let mut parameters = named(names[0], validity);
    parameters.subject_alt_names = names
        .iter()
        .map(|name| match Name::parse(name).unwrap() {
            Name::Dns(text) => SanType::DnsName(text.try_into().unwrap()),
            Name::Ip(address) => SanType::IpAddress(address),
            Name::Uri(text) => SanType::URI(text.try_into().unwrap()),
            Name::Email(text) => SanType::Rfc822Name(text.try_into().unwrap()),
        })
        .collect();
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    parameters
}

/// The order that a sample's leaf was made for.
pub(crate) fn request(algorithm: KeyAlgorithm, names: &[&str]) -> OrderRequest {
    OrderRequest {
        source: Source::Csr,
        common_name: names[0].to_owned(),
        names: names
            .iter()
            .map(|name| Name::parse(name).unwrap())
            .collect(),
        subject: Subject::default(),
        key_algorithm: algorithm,
        key_reuse: KeyReuse::Rekey,
        validity: Seconds::days(90),
        policy: Fingerprint([0; 32]),
        public: None,
    }
}

/// A key; RSA keys are made once for each size, as they take up to seconds.
pub(crate) fn key(algorithm: KeyAlgorithm) -> PrivateKey {
    static MADE: Mutex<BTreeMap<KeyAlgorithm, Vec<u8>>> = Mutex::new(BTreeMap::new());
    match algorithm {
        KeyAlgorithm::EcP256 | KeyAlgorithm::EcP384 => PrivateKey::generate(algorithm).unwrap(),
        KeyAlgorithm::Rsa2048 | KeyAlgorithm::Rsa3072 | KeyAlgorithm::Rsa4096 => {
            let mut made = MADE.lock().unwrap();
            let der = made.entry(algorithm).or_insert_with(|| {
                let key = PrivateKey::generate(algorithm).unwrap();
                key.pkcs8().to_vec()
            });
            PrivateKey::from_pkcs8(der).unwrap()
        }
    }
}

/// Parameters of a CA certificate.
pub(crate) fn authority(name: &str, validity: Validity) -> CertificateParams {
    let mut parameters = named(name, validity);
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    parameters
}

fn named(name: &str, Validity(from, until): Validity) -> CertificateParams {
    let date = |at: Timestamp| time::OffsetDateTime::from_unix_timestamp(at.0).unwrap();
    let mut parameters = CertificateParams::default();
    parameters.not_before = date(from);
    parameters.not_after = date(until);
    parameters.use_authority_key_identifier_extension = true;
    parameters.distinguished_name = DistinguishedName::new();
    parameters.distinguished_name.push(DnType::CommonName, name);
    parameters
}
