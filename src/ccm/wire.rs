//! What travels: the JSON of PCA (CCM API 4.2) and SCM (4.1), as far as renewd speaks it.
//!
//! Written apart from renewd-ccm's own types on purpose: both are tested against the reference's examples, so that a
//! misspelt field cannot agree with itself. Answers are read leniently (`lenient`), requests hold no null.

use serde::{Deserialize, Serialize};

use crate::ccm::lenient::{count, id, integer, list, secret, text, wire_enum};
use crate::ccm::paging::Page;
use crate::pki::Secret;

wire_enum! {
    /// Status of a CA (4.2.1.1).
    AuthorityStatus {
        /// Waits for its certificate.
        Pending = "PENDING",
        /// Issues.
        Actived = "ACTIVED" | "ACTIVATED" | "ACTIVE",
        /// Switched off.
        Disabled = "DISABLED",
        /// Will be deleted as scheduled.
        Deleted = "DELETED",
        /// Past its end.
        Expired = "EXPIRED",
    }
}

wire_enum! {
    /// Status of a private certificate (4.2.2.1).
    PrivateStatus {
        /// In use.
        Issued = "ISSUED",
        /// Past its end.
        Expired = "EXPIRED",
        /// Taken back.
        Revoked = "REVOKED" | "REVOKE",
    }
}

wire_enum! {
    /// Where the key of a private certificate was made (4.2.2.1).
    GenMode {
        /// At PCA: it can be exported with its key.
        Generate = "GENERATE",
        /// Elsewhere, and brought in.
        Import = "IMPORT",
        /// Elsewhere: exported without a key.
        Csr = "CSR",
    }
}

wire_enum! {
    /// Status of an SCM certificate (4.1.5.1, 4.1.5.3). The reference and the SDK spell some of them differently.
    ScmStatus {
        /// Bought, not applied for.
        Paid = "PAID",
        /// In use.
        Issued = "ISSUED",
        /// In use, brought in by its owner.
        Upload = "UPLOAD" | "UPLOADED",
        /// Under review.
        Checking = "CHECKING" | "CHECKING_DOMAIN" | "CHECKING_ORG" | "ISSUING",
        /// The withdrawal of an application is under review.
        CancelChecking = "CANCELCHECKING",
        /// The review said no.
        Unpassed = "UNPASSED",
        /// Past its end.
        Expired = "EXPIRED",
        /// Being taken back; still valid.
        Revoking = "REVOKING" | "REVOKEING",
        /// The revocation is being withdrawn.
        CancelRevoking = "CANCELREVOKING" | "CANCLEREVOKING",
        /// Taken back.
        Revoked = "REVOKED" | "REVOKE",
        /// Further names are under review.
        SupplementChecking = "SUPPLEMENTCHECKING",
        /// Further names are being withdrawn.
        CancelSupplementing = "CANCELSUPPLEMENTING",
    }
}

/// A distinguished name, in answers and requests.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DistinguishedName {
    /// CN.
    #[serde(
        default,
        deserialize_with = "text",
        skip_serializing_if = "Option::is_none"
    )]
    pub common_name: Option<String>,
    /// C.
    #[serde(
        default,
        deserialize_with = "text",
        skip_serializing_if = "Option::is_none"
    )]
    pub country: Option<String>,
    /// ST.
    #[serde(
        default,
        deserialize_with = "text",
        skip_serializing_if = "Option::is_none"
    )]
    pub state: Option<String>,
    /// L.
    #[serde(
        default,
        deserialize_with = "text",
        skip_serializing_if = "Option::is_none"
    )]
    pub locality: Option<String>,
    /// O.
    #[serde(
        default,
        deserialize_with = "text",
        skip_serializing_if = "Option::is_none"
    )]
    pub organization: Option<String>,
    /// OU.
    #[serde(
        default,
        deserialize_with = "text",
        skip_serializing_if = "Option::is_none"
    )]
    pub organizational_unit: Option<String>,
}

/// A CA (4.2.1.1, 4.2.1.4). Times are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Authority {
    /// Its id.
    #[serde(deserialize_with = "id")]
    pub ca_id: String,
    /// Whether it can issue.
    pub status: AuthorityStatus,
    /// Whose it is; the common name is what people call it.
    #[serde(default)]
    pub distinguished_name: Option<DistinguishedName>,
    /// Not 0 when it is frozen (arrears).
    #[serde(default, deserialize_with = "integer")]
    pub freeze_flag: Option<i64>,
    /// End of validity: what it issues ends no later.
    #[serde(default, deserialize_with = "integer")]
    pub not_after: Option<i64>,
}

impl Authority {
    /// The common name, or nothing.
    #[must_use]
    pub fn common_name(&self) -> &str {
        let name = self.distinguished_name.as_ref();
        name.and_then(|name| name.common_name.as_deref())
            .unwrap_or("")
    }
}

/// A private certificate (4.2.2.1, 4.2.2.6). Times are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct PrivateCertificate {
    /// Its id.
    #[serde(deserialize_with = "id")]
    pub certificate_id: String,
    /// Whether it can be exported.
    pub status: PrivateStatus,
    /// The CA that signed it.
    #[serde(default, deserialize_with = "text")]
    pub issuer_id: Option<String>,
    /// Where its key was made.
    #[serde(default)]
    pub gen_mode: GenMode,
    /// Its subject; alternative names are only in the certificate itself.
    #[serde(default)]
    pub distinguished_name: Option<DistinguishedName>,
    /// Not 0 when it is frozen (arrears).
    #[serde(default, deserialize_with = "integer")]
    pub freeze_flag: Option<i64>,
    /// When it was made.
    #[serde(default, deserialize_with = "integer")]
    pub create_time: Option<i64>,
    /// Begin of validity.
    #[serde(default, deserialize_with = "integer")]
    pub not_before: Option<i64>,
    /// End of validity.
    #[serde(default, deserialize_with = "integer")]
    pub not_after: Option<i64>,
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

/// 4.2.1.1. The reference prints `certificateAuthorities`, the SDK reads `certificate_authorities`.
#[derive(Deserialize)]
pub(crate) struct AuthorityList {
    #[serde(deserialize_with = "count")]
    total: u64,
    #[serde(default, deserialize_with = "list")]
    certificate_authorities: Vec<Authority>,
    #[serde(default, rename = "certificateAuthorities", deserialize_with = "list")]
    certificate_authorities_as_printed: Vec<Authority>,
}

impl From<AuthorityList> for Page<Authority> {
    fn from(list: AuthorityList) -> Self {
        let items = if list.certificate_authorities.is_empty() {
            list.certificate_authorities_as_printed
        } else {
            list.certificate_authorities
        };
        Self {
            total: list.total,
            items,
        }
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

/// The answer of an operation that makes a certificate (4.1.5.2, 4.2.2.2, 4.2.2.3).
#[derive(Deserialize)]
pub(crate) struct Made {
    #[serde(deserialize_with = "id")]
    pub(crate) certificate_id: String,
}

/// An exported certificate (4.1.5.5, 4.2.2.8), as PEM with CRLF, LF or no line ends at all.
#[derive(Deserialize)]
pub struct ExportedPem {
    /// The leaf.
    #[serde(default, deserialize_with = "text")]
    pub certificate: Option<String>,
    /// Intermediates, then the root.
    #[serde(default, deserialize_with = "text")]
    pub certificate_chain: Option<String>,
    /// The key, where CCM has it.
    #[serde(default, deserialize_with = "secret")]
    pub private_key: Option<Secret>,
}

/// How long a certificate is to be valid (4.2.2.2). A MONTH has 31 days there and a YEAR 12 of them or a calendar
/// year, depending on the page; days and hours mean the same everywhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Validity {
    /// `DAY` or `HOUR`.
    #[serde(rename = "type")]
    pub unit: &'static str,
    /// How many.
    pub value: i64,
}

/// One alternative name (4.2.2.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SubjectAlternativeName {
    /// `DNS`, `IP`, `EMAIL` or `URI`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The name.
    pub value: String,
}

/// Purposes of a certificate (4.2.2.2).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ExtendedKeyUsage {
    /// TLS servers.
    pub server_auth: bool,
}

/// Key and certificate made at PCA (4.2.2.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Issue {
    /// The CA.
    pub issuer_id: String,
    /// `RSA2048`, `RSA4096`, `EC256` or `EC384`.
    pub key_algorithm: &'static str,
    /// `SHA256`, `SHA384` or `SHA512`.
    pub signature_algorithm: &'static str,
    /// Whose it is; what is absent is inherited from the CA.
    pub distinguished_name: DistinguishedName,
    /// For how long.
    pub validity: Validity,
    /// As in RFC 5280 §4.2.1.3, such as `digitalSignature`.
    pub key_usages: Vec<&'static str>,
    /// At most 20.
    pub subject_alternative_names: Vec<SubjectAlternativeName>,
    /// For what.
    pub extended_key_usage: ExtendedKeyUsage,
}

/// A certificate for a key made elsewhere (4.2.2.3).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct IssueByCsr {
    /// The CA.
    pub issuer_id: String,
    /// PEM.
    pub csr: String,
    /// For how long.
    pub validity: Validity,
    /// `ENTITY_CERT`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Ignored by PCA today, which takes the CSR's own; sent as the SDK knows it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub subject_alternative_names: Vec<SubjectAlternativeName>,
}

/// An SCM certificate in a listing (4.1.5.1).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ScmCertificate {
    /// Its id, `scs` and 13 digits.
    #[serde(deserialize_with = "id")]
    pub id: String,
    /// What its owner calls it.
    #[serde(default, deserialize_with = "text")]
    pub name: Option<String>,
    /// The domain it is bound to.
    #[serde(default, deserialize_with = "text")]
    pub domain: Option<String>,
    /// Further names, separated by `;`.
    #[serde(default, deserialize_with = "text")]
    pub sans: Option<String>,
    /// How far it is.
    pub status: ScmStatus,
    /// End of validity such as `2021-05-27 16:46:25.0`, in no stated zone.
    #[serde(default, deserialize_with = "text")]
    pub expire_time: Option<String>,
}

/// 4.1.5.1.
#[derive(Deserialize)]
pub(crate) struct ScmCertificateList {
    #[serde(deserialize_with = "count")]
    total_count: u64,
    #[serde(default, deserialize_with = "list")]
    certificates: Vec<ScmCertificate>,
}

impl From<ScmCertificateList> for Page<ScmCertificate> {
    fn from(list: ScmCertificateList) -> Self {
        Self {
            total: list.total_count,
            items: list.certificates,
        }
    }
}

/// An SCM certificate in full (4.1.5.3).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ScmDetails {
    /// Its id.
    #[serde(deserialize_with = "id")]
    pub id: String,
    /// How far it is.
    pub status: ScmStatus,
    /// When it was issued, in the form of `expire_time`.
    #[serde(default, deserialize_with = "text")]
    pub issue_time: Option<String>,
    /// Begin of validity, in the form of `expire_time`.
    #[serde(default, deserialize_with = "text")]
    pub not_before: Option<String>,
    /// SHA-1 of the certificate, 40 hex digits: tells whether the id holds another certificate than before.
    #[serde(default, deserialize_with = "text")]
    pub fingerprint: Option<String>,
}

/// A certificate brought in (4.1.5.2). `duplicate_check` is never sent: the reference and the SDK read it in opposite
/// ways.
#[derive(Serialize)]
pub struct Import<'a> {
    /// 3 to 63 characters.
    pub name: &'a str,
    /// PEM.
    pub certificate: &'a str,
    /// PEM, intermediates first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate_chain: Option<&'a str>,
    /// PEM.
    pub private_key: &'a str,
}

#[cfg(test)]
mod tests;
