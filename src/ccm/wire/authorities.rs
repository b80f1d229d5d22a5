//! CAs (CCM API 4.2.1) and the buckets of their revocation lists (4.2.3).

use serde::{Deserialize, Serialize};

use crate::ccm::lenient::{Object, answer, count, list, text};
use crate::ccm::limits::{Chars, Country, Each, Either, Given, Inner, Known, Limit, Problems};
use crate::ccm::limits::{Range, Request, request};
use crate::ccm::paging::Page;
use crate::ccm::wire::words::{
    AuthorityKind, AuthorityStatus, GenMode, KeyUsage, PcaAlgorithm, RevocationReason,
    SignatureAlgorithm, ValidityUnit,
};

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

impl Object for DistinguishedName {}

impl Request for DistinguishedName {
    fn check(&self, problems: &mut Problems) {
        if self.common_name.is_none() {
            problems.add("common_name", "is missing");
        }
        Chars(1, 64).check("common_name", &self.common_name, problems);
        Country.check("country", &self.country, problems);
        Chars(1, 128).check("state", &self.state, problems);
        Chars(1, 128).check("locality", &self.locality, problems);
        Chars(1, 64).check("organization", &self.organization, problems);
        Chars(1, 64).check("organizational_unit", &self.organizational_unit, problems);
    }
}

impl Given for DistinguishedName {
    fn is_absent(&self) -> bool {
        false
    }
}

/// A name without a gap, as a CA needs it (4.2.1.2).
struct Whole;

impl Limit<DistinguishedName> for Whole {
    fn check(&self, field: &str, value: &DistinguishedName, problems: &mut Problems) {
        Inner.check(field, value, problems);
        for (part, given) in [
            ("country", &value.country),
            ("state", &value.state),
            ("locality", &value.locality),
            ("organization", &value.organization),
            ("organizational_unit", &value.organizational_unit),
        ] {
            if given.is_none() {
                problems.add(&format!("{field}.{part}"), "is missing, and a CA needs it");
            }
        }
    }
}

answer! {
    /// Where revocation lists go (4.2.1.1).
    CrlConfiguration {
        ;
        /// Whether they are made.
        enabled: Option<bool>,
        /// Name of the list.
        crl_name: Option<String>,
        /// Bucket of OBS.
        obs_bucket_name: Option<String>,
        /// Days until the next one.
        valid_days: Option<i64>,
        /// The address that certificates name.
        crl_dis_point: Option<String>,
    }

    /// A CA (4.2.1.1, 4.2.1.4). Times are milliseconds since 1970.
    Authority {
        /// Its id.
        ca_id: String,
        /// Whether it can issue.
        status: AuthorityStatus;
        /// Root or subordinate.
        #[serde(rename = "type")]
        kind: AuthorityKind,
        /// How many CAs may follow it; 7 for a root.
        path_length: Option<i64>,
        /// The CA that signed it; nothing for a root.
        issuer_id: Option<String>,
        /// That one's common name.
        issuer_name: Option<String>,
        /// Such as `RSA4096`.
        key_algorithm: Option<String>,
        /// Such as `SHA512`.
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
        /// End of validity: what it issues ends no later.
        not_after: Option<i64>,
        /// Whose it is; the common name is what people call it.
        distinguished_name: Option<DistinguishedName>,
        /// Where its revocation lists go.
        crl_configuration: Option<CrlConfiguration>,
        /// Enterprise project; known to the SDK only.
        enterprise_project_id: Option<String>,
    }

    /// How much of something is used (4.2.1.3, 4.2.2.5).
    Quota {
        ;
        /// `CERTIFICATE_AUTHORITY` or `CERTIFICATE`.
        #[serde(rename = "type")]
        kind: Option<String>,
        /// In use.
        used: Option<i64>,
        /// Allowed.
        quota: Option<i64>,
    }

    /// The quotas of an account (4.2.1.3, 4.2.2.5).
    Quotas {
        ;
        /// One for each kind.
        resources: Vec<Quota>,
    }

    /// The answer of 4.2.1.3 and 4.2.2.5.
    QuotaAnswer {
        ;
        /// What is in it.
        quotas: Option<Quotas>,
    }

    /// The answer of 4.2.1.2.
    AuthorityMade {
        /// The new CA.
        ca_id: String;
    }

    /// The answer of 4.2.1.7.
    AuthorityCsr {
        /// PEM.
        csr: String;
    }

    /// The answer of 4.2.3.1.
    ObsAgency {
        ;
        /// Whether PCA may write to buckets of the account; the text `true` or `false` on the wire.
        agency_granted: Option<bool>,
    }

    /// The answer of 4.2.3.2.
    ObsAgencyMade {
        /// The new agency.
        agency_id: String;
    }

    /// A bucket (4.2.3.3).
    ObsBucket {
        /// Its name.
        bucket_name: String;
        /// When it was made.
        create_time: Option<i64>,
    }

    /// The answer of 4.2.3.3.
    ObsBuckets {
        ;
        /// How many.
        total: Option<i64>,
        /// Each of them.
        obs_buckets: Vec<ObsBucket>,
    }
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

request! {
    /// How long something is to be valid (4.2.1.2, 4.2.2.2): at most 30 years for a root, 20 for anything else.
    #[derive(Debug, Clone, Default, PartialEq, Eq)]
    Validity {
        /// In what it is counted.
        unit as "type": ValidityUnit = Known;
        /// How many.
        value: i64 = Range(1, 30 * 366 * 24);
        /// From when, in milliseconds since 1970 and at most five minutes ago; without it from now.
        start_from: Option<i64> = Range(0, i64::MAX);
    }

    /// Where revocation lists shall go (4.2.1.2).
    #[derive(Debug, Clone, Default, PartialEq, Eq)]
    CrlWanted {
        /// Whether they are made.
        enabled: bool = Either;
        /// Name of the list; PCA takes the CA's id without it.
        crl_name: Option<String> = Chars(1, 64);
        /// Bucket of OBS.
        obs_bucket_name: Option<String> = Chars(3, 63);
        /// Days until the next one.
        valid_days: Option<i64> = Range(7, 30);
    }

    /// A new CA (4.2.1.2). A subordinate one is activated at once where issuer, digest and validity are all given,
    /// and stays `PENDING` otherwise.
    #[derive(Debug, Clone, Default, PartialEq, Eq)]
    CreateAuthority {
        /// Root or subordinate.
        kind as "type": AuthorityKind = Known;
        /// Whose it is, without a gap.
        distinguished_name: DistinguishedName = Whole;
        /// Its key.
        key_algorithm: PcaAlgorithm = Known;
        /// For how long; a root needs it.
        validity: Option<Validity> = Inner;
        /// The CA that signs a subordinate one.
        issuer_id: Option<String> = Chars(36, 36);
        /// How many CAs may follow a subordinate one.
        path_length: Option<i64> = Range(0, 6);
        /// Digest of its signature; a root needs it.
        signature_algorithm: Option<SignatureAlgorithm> = Known;
        /// What its key may be used for.
        key_usages: Vec<KeyUsage> = Each(0, 9, Known);
        /// Where its revocation lists go.
        crl_configuration: Option<CrlWanted> = Inner;
    }

    /// Signs a pending CA (4.2.1.6).
    #[derive(Debug, Clone, Default, PartialEq, Eq)]
    ActivateAuthority {
        /// The CA that signs.
        issuer_id: String = Chars(1, 64);
        /// How many CAs may follow; the reference demands it.
        path_length: i64 = Range(0, 6);
        /// Digest of the signature.
        signature_algorithm: SignatureAlgorithm = Known;
        /// For how long.
        validity: Validity = Inner;
    }

    /// A certificate that somebody else signed for a pending CA (4.2.1.11).
    #[derive(Debug, Clone, Default, PartialEq, Eq)]
    ImportAuthority {
        /// PEM.
        certificate: String = Chars(1, 32_768);
        /// PEM, from the signer up.
        certificate_chain: Option<String> = Chars(0, 2_097_152);
    }

    /// Why something is revoked (4.2.1.13, 4.2.2.9). Without a reason `{}` is sent: no body at all is an error.
    #[derive(Debug, Clone, Default, PartialEq, Eq)]
    Revoke {
        /// The reason; `UNSPECIFIED` without one.
        reason: Option<RevocationReason> = Known;
    }
}
