//! Who signs, and as whom and how much it is asked: an issuer of the policy.

use std::path::PathBuf;

use crate::model::{
    Budget, DomainType, Fingerprint, IssuerId, Seconds, SecretRef, Timestamp, ValidationId,
};

/// One issuer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuerPolicy {
    /// Name in the policy.
    pub id: IssuerId,
    /// Which service, with what only that service needs.
    pub kind: IssuerKind,
    /// Where and as whom.
    pub access: RemoteAccess,
    /// When the credentials end, where a person wrote that down: nothing says it of a temporary key.
    pub credentials_expire: Option<Timestamp>,
    /// How long after a call's time-out a submit with a lost answer may still take effect; no second one before.
    pub settle: Seconds,
    /// Changes with any setting above; a change clears backoff.
    pub digest: Fingerprint,
    /// How much is asked of it. No part of the digest: what failed does not go better for it.
    pub pace: IssuerPace,
}

/// How much is asked of an issuer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IssuerPace {
    /// Steps that ask it at the same time.
    pub concurrency: u32,
    /// Requests that begin within any second.
    pub requests_per_second: u32,
    /// Orders that are opened within any hour. What cannot wait is ordered all the same, and counts.
    pub orders_per_hour: u32,
}

impl Default for IssuerPace {
    /// More than any host needs, and an end to what a mistake could do.
    fn default() -> Self {
        Self {
            concurrency: 16,
            requests_per_second: 100,
            orders_per_hour: 3600,
        }
    }
}

/// The services.
#[expect(
    clippy::large_enum_variant,
    reason = "a policy has a handful of issuers, and each is read far more often than moved"
)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IssuerKind {
    /// Private certificates.
    Pca(PcaPolicy),
    /// Public certificates.
    Scm(ScmPolicy),
}

/// Settings of a PCA issuer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PcaPolicy {
    /// The CA that signs: its `ca_id` (36 characters) or its exact common name.
    pub ca: String,
    /// What happens to certificates that were replaced.
    pub superseded: Superseded,
}

/// Settings of an SCM issuer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScmPolicy {
    /// What may be bought; `None`: nothing.
    pub purchase: Option<PurchasePolicy>,
    /// Who applies; needed wherever a certificate of this issuer is applied for.
    pub applicant: Option<Applicant>,
    /// Where certificates do not say how their names are proven.
    pub validation: Option<ValidationId>,
    /// Project id for the operations of chapter 7; `None` asks IAM.
    pub project: Option<String>,
    /// Certificates of ours that have expired are deleted from the account.
    pub delete_expired: bool,
}

/// `[issuer.scm.NAME.purchase]`: what may be bought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PurchasePolicy {
    /// `cert_brand`.
    pub brand: String,
    /// `cert_type`.
    pub kind: String,
    /// `None`: by the names of each certificate.
    pub domain_type: Option<DomainType>,
    /// `effective_time`.
    pub years: u32,
    /// `is_auto_pay`.
    pub automatic_payment: bool,
    /// How many.
    pub budget: Budget,
    /// A place is taken in the queue of those who buy from the account first.
    pub reserve: bool,
}

/// `[issuer.scm.NAME.applicant]`: who applies (CCM API 4.1.1.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applicant {
    /// `applicant_name`.
    pub name: String,
    /// `applicant_phone`.
    pub phone: String,
    /// `applicant_email`.
    pub email: String,
    /// `company_name`; needed for OV and EV, as its place is, which is the subject of the certificate.
    pub company: Option<String>,
    /// `contact_name`, `contact_phone`, `contact_email`.
    pub contact: Option<(String, String, String)>,
}

/// What happens to private certificates that were replaced.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Superseded {
    /// Nothing.
    #[default]
    Keep,
    /// Revoked so long after the one that replaced them was proven everywhere.
    RevokeAfter(Seconds),
}

/// How the CCM API is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteAccess {
    /// Base URL without path, such as `https://ccm.ap-southeast-3.myhuaweicloud.com`.
    pub endpoint: String,
    /// PEM file with the roots that the endpoint's certificate must chain to; `None` takes the system's.
    pub roots: Option<PathBuf>,
    /// As whom.
    pub auth: RemoteAuth,
    /// To establish a connection.
    pub connect_timeout: Seconds,
    /// For a whole call with its answer.
    pub timeout: Seconds,
}

/// As whom the CCM API is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RemoteAuth {
    /// Signed with an access key (SDK-HMAC-SHA256).
    AccessKey {
        /// AK.
        access_key: SecretRef,
        /// SK.
        secret_key: SecretRef,
        /// Goes with temporary keys.
        security_token: Option<SecretRef>,
    },
    /// With an IAM token by password (IAM `POST /v3/auth/tokens`).
    Password {
        /// Base URL of IAM.
        iam_endpoint: String,
        /// IAM user.
        user: String,
        /// Its password.
        password: SecretRef,
        /// Account (domain) name.
        domain: String,
        /// Project (region) name.
        project: String,
    },
    /// Signed with temporary keys of the agency that this ECS has.
    Agency {
        /// Base URL of the metadata service.
        metadata_endpoint: String,
    },
}
