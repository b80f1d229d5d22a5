//! Private certificates (CCM API 4.2.2).

use serde::{Deserialize, Serialize};

use crate::ccm::lenient::{answer, count, list, secret, text};
use crate::ccm::limits::{Chars, Each, Given, Inner, Known, Limit, Problems};
use crate::ccm::limits::{Range, Request, request};
use crate::ccm::paging::Page;
use crate::ccm::wire::authorities::{DistinguishedName, Validity};
use crate::ccm::wire::words::{
    CertificateKind, ExportKind, GenMode, KeyUsage, NameKind, PcaAlgorithm, PrivateStatus,
    SignatureAlgorithm,
};
use crate::pki::Secret;

answer! {
    /// A private certificate (4.2.2.1, 4.2.2.6). Times are milliseconds since 1970.
    PrivateCertificate {
        /// Its id.
        certificate_id: String,
        /// Whether it can be exported.
        status: PrivateStatus;
        /// The CA that signed it.
        issuer_id: Option<String>,
        /// That one's common name.
        issuer_name: Option<String>,
        /// Such as `EC256`.
        key_algorithm: Option<String>,
        /// Such as `SHA256`.
        signature_algorithm: Option<String>,
        /// Not 0 when it is frozen (arrears).
        freeze_flag: Option<i64>,
        /// Where its key was made.
        gen_mode: GenMode,
        /// PCA's own number of it.
        serial_number: Option<String>,
        /// When it was made.
        create_time: Option<i64>,
        /// When it will be deleted.
        delete_time: Option<i64>,
        /// Begin of validity.
        not_before: Option<i64>,
        /// End of validity.
        not_after: Option<i64>,
        /// Its subject; alternative names are only in the certificate itself.
        distinguished_name: Option<DistinguishedName>,
        /// Enterprise project; known to the SDK only.
        enterprise_project_id: Option<String>,
    }

    /// What a CSR says (4.2.2.4).
    ParsedCsr {
        ;
        /// Such as `RSA`.
        key_algorithm: Option<String>,
        /// Bits; a text in the reference's table and a number in its example.
        key_algorithm_length: Option<i64>,
        /// Such as `SHA256withRSA`.
        signature_algorithm: Option<String>,
        /// PEM.
        public_key: Option<String>,
        /// Whose it is.
        distinguished_name: Option<DistinguishedName>,
    }
}

impl PrivateCertificate {
    /// The common name, or nothing.
    #[must_use]
    pub fn common_name(&self) -> &str {
        let name = self.distinguished_name.as_ref();
        name.and_then(|name| name.common_name.as_deref())
            .unwrap_or("")
    }
}

/// 4.2.2.1.
#[derive(Deserialize)]
pub(crate) struct PrivateCertificateList {
    #[serde(deserialize_with = "count")]
    total: u64,
    #[serde(default, deserialize_with = "list")]
    certificates: Vec<PrivateCertificate>,
}

impl From<PrivateCertificateList> for Page<PrivateCertificate> {
    fn from(list: PrivateCertificateList) -> Self {
        Self {
            total: list.total,
            items: list.certificates,
        }
    }
}

/// An exported certificate (4.1.5.5, 4.2.1.10, 4.2.2.8), as PEM with CRLF, LF or no line ends at all.
#[derive(Deserialize)]
pub struct ExportedPem {
    /// The leaf, or the certificate of the CA.
    #[serde(default, deserialize_with = "text")]
    pub certificate: Option<String>,
    /// Intermediates, then the root.
    #[serde(default, deserialize_with = "text")]
    pub certificate_chain: Option<String>,
    /// Leaf and chain in one; only from SCM (4.1.5.5).
    #[serde(default, deserialize_with = "text")]
    pub entire_certificate: Option<String>,
    /// The key, where CCM has it.
    #[serde(default, deserialize_with = "secret")]
    pub private_key: Option<Secret>,
}

/// Purposes of a certificate (4.2.2.2); what is not wanted is not sent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ExtendedKeyUsage {
    /// TLS servers.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub server_auth: bool,
    /// TLS clients.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub client_auth: bool,
    /// Signed programs.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub code_signing: bool,
    /// Signed mail.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub email_protection: bool,
    /// Time stamps.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub time_stamping: bool,
}

impl Request for ExtendedKeyUsage {
    fn check(&self, _: &mut Problems) {}
}

impl Given for ExtendedKeyUsage {
    fn is_absent(&self) -> bool {
        *self == Self::default()
    }
}

/// One alternative name with the length that its kind may have (4.2.2.2).
struct NameLength;

impl Limit<SubjectAlternativeName> for NameLength {
    fn check(&self, field: &str, name: &SubjectAlternativeName, problems: &mut Problems) {
        Known.check(field, &name.kind, problems);
        let most = match name.kind {
            NameKind::Ip => 39,
            NameKind::Email => 256,
            NameKind::Dns | NameKind::Uri | NameKind::Unknown(_) => 253,
        };
        Chars(1, most).check(field, &name.value, problems);
    }
}

request! {
    /// One alternative name (4.2.2.2).
    #[derive(Debug, Clone, Default, PartialEq, Eq)]
    SubjectAlternativeName {
        /// Which kind.
        kind as "type": NameKind = Known;
        /// The name.
        value: String = Chars(1, 256);
    }

    /// An extension of one's own (4.2.2.2).
    #[derive(Debug, Clone, Default, PartialEq, Eq)]
    CustomizedExtension {
        /// Its number, such as `1.3.6.1.4.1.311.20.2`.
        object_identifier: String = Chars(1, 64);
        /// What it holds.
        value: String = Chars(1, 64);
    }

    /// Key and certificate made at PCA (4.2.2.2).
    #[derive(Debug, Clone, Default, PartialEq, Eq)]
    Issue {
        /// The CA.
        issuer_id: String = Chars(1, 64);
        /// The key.
        key_algorithm: PcaAlgorithm = Known;
        /// Digest of the signature.
        signature_algorithm: SignatureAlgorithm = Known;
        /// Whose it is; what is absent is inherited from the CA.
        distinguished_name: DistinguishedName = Inner;
        /// For how long.
        validity: Validity = Inner;
        /// What the key may be used for.
        key_usages: Vec<KeyUsage> = Each(0, 9, Known);
        /// Further names.
        subject_alternative_names: Vec<SubjectAlternativeName> = Each(0, 20, NameLength);
        /// For what.
        extended_key_usage: ExtendedKeyUsage = Inner;
        /// An extension of one's own.
        customized_extension: Option<CustomizedExtension> = Inner;
    }

    /// A certificate for a key made elsewhere (4.2.2.3).
    #[derive(Debug, Clone, Default, PartialEq, Eq)]
    IssueByCsr {
        /// The CA.
        issuer_id: String = Chars(1, 64);
        /// PEM.
        csr: String = Chars(1, 5120);
        /// For how long.
        validity: Validity = Inner;
        /// What is made; an entity's certificate without it.
        kind as "type": Option<CertificateKind> = Known;
        /// How many CAs may follow an intermediate one.
        path_length: Option<i64> = Range(0, 6);
        /// Ignored by PCA today, which takes the CSR's own; sent as the SDK knows it.
        subject_alternative_names: Vec<SubjectAlternativeName> = Each(0, 20, NameLength);
    }

    /// A CSR to be looked at (4.2.2.4).
    #[derive(Debug, Clone, Default, PartialEq, Eq)]
    ParseCsr {
        /// PEM.
        csr: String = Chars(1, 5120);
    }

    /// In which form a certificate is exported (4.2.2.8).
    #[derive(Debug, Clone, Default, PartialEq, Eq)]
    ExportWanted {
        /// For which server.
        kind as "type": ExportKind = Known;
        /// `true` for an archive; a text in the reference's table and in the SDK.
        is_compressed: String = Chars(4, 5);
    }
}
