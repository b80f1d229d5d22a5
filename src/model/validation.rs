//! How the control of a domain is proven to a public CA (CCM API 4.1.1.1, `domain_method`), by hand or by renewd.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::model::{Fingerprint, RemoteAccess, Seconds, SecretRef, Timestamp, ValidationId};

/// One way of proving domains, `[validation.KIND.NAME]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidationPolicy {
    /// Name in the policy.
    pub id: ValidationId,
    /// Which way.
    pub kind: ValidationKind,
    /// Resolvers that find the authoritative servers, as `address:port`; empty takes the system's.
    pub resolvers: Vec<String>,
    /// From the publication until a proof that is not visible everywhere is a failure.
    pub propagation: Seconds,
    /// Where authoritative servers and web servers are looked for.
    pub ports: ProofPorts,
    /// Changes with any setting above; a change clears backoff.
    pub digest: Fingerprint,
}

/// Where proofs are looked for. CAs know the usual ports only; others are for laboratories, and for web servers that are
/// reached from outside by another port than from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProofPorts {
    /// Of authoritative servers.
    pub dns: u16,
    /// Of web servers.
    pub http: u16,
}

impl Default for ProofPorts {
    fn default() -> Self {
        Self { dns: 53, http: 80 }
    }
}

/// The ways.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ValidationKind {
    /// `auto_dns_auth`: SCM writes the record into Huawei Cloud DNS of the same account by itself.
    Automatic,
    /// By the API of Huawei Cloud DNS.
    HuaweiDns {
        /// Base URL and credentials.
        access: RemoteAccess,
    },
    /// RFC 2136 dynamic update, signed by TSIG (RFC 8945).
    Rfc2136 {
        /// `address:port` of the primary server.
        server: String,
        /// Zone that takes the records; `None` asks the server for the zone of each name.
        zone: Option<String>,
        /// Name of the key.
        key_name: String,
        /// Its algorithm.
        algorithm: TsigAlgorithm,
        /// Base64.
        key: SecretRef,
        /// Of the records.
        ttl: Seconds,
    },
    /// By commands, with the record as environment.
    Command {
        /// Publishes, as argv.
        auth: Vec<String>,
        /// Retracts, as argv; `None` where nothing is to be taken away.
        cleanup: Option<Vec<String>>,
        /// For each call.
        timeout: Seconds,
        /// What the CA is asked for: a record or a file.
        method: DomainMethod,
    },
    /// Files below a web root.
    WebRoot {
        /// The directory served as `/`.
        path: PathBuf,
        /// Who owns the files; `None` leaves them to renewd's user.
        owner: Option<String>,
        /// Group of the files.
        group: Option<String>,
        /// Permissions of the files.
        mode: u32,
    },
    /// Served by renewd itself while the proof is needed.
    Responder {
        /// `address:port`.
        listen: String,
    },
    /// Mail to the domain's owner: a person confirms.
    Email,
}

impl ValidationKind {
    /// What the CA is asked for.
    #[must_use]
    pub const fn method(&self) -> DomainMethod {
        match self {
            Self::Automatic | Self::HuaweiDns { .. } | Self::Rfc2136 { .. } => DomainMethod::Dns,
            Self::Command { method, .. } => *method,
            Self::WebRoot { .. } | Self::Responder { .. } => DomainMethod::File,
            Self::Email => DomainMethod::Email,
        }
    }

    /// As the policy's table is called.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Automatic => "automatic",
            Self::HuaweiDns { .. } => "huawei_dns",
            Self::Rfc2136 { .. } => "rfc2136",
            Self::Command { .. } => "command",
            Self::WebRoot { .. } => "web_root",
            Self::Responder { .. } => "responder",
            Self::Email => "email",
        }
    }
}

/// Algorithms of TSIG keys (RFC 8945 §6) that are not broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TsigAlgorithm {
    /// `hmac-sha256`.
    HmacSha256,
    /// `hmac-sha384`.
    HmacSha384,
    /// `hmac-sha512`.
    HmacSha512,
}

impl TsigAlgorithm {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::HmacSha256, Self::HmacSha384, Self::HmacSha512];

    /// Its name in DNS, which is also the policy's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::HmacSha256 => "hmac-sha256",
            Self::HmacSha384 => "hmac-sha384",
            Self::HmacSha512 => "hmac-sha512",
        }
    }
}

/// What a CA looks at (CCM API 4.1.1.1, `domain_method`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DomainMethod {
    /// A TXT record.
    Dns,
    /// A file of a web server.
    File,
    /// A person's answer to a mail.
    Email,
}

impl fmt::Display for DomainMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dns => "DNS",
            Self::File => "FILE",
            Self::Email => "EMAIL",
        })
    }
}

/// What proves the control of one domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainProof {
    /// Which domain.
    pub domain: String,
    /// What kind of proof.
    pub method: DomainMethod,
    /// Name of the record without the final dot, or path of the file from the web root such as
    /// `/.well-known/pki-validation/whois.txt`; who gets the mail.
    pub place: String,
    /// `TXT` or `CNAME`; empty for what is no record.
    pub record_type: String,
    /// What is to be found there.
    pub value: String,
}

/// The proofs of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProofState {
    /// By which way; frozen, so that what was published one way is retracted the same way.
    pub by: ValidationId,
    /// Each.
    pub proofs: Vec<DomainProof>,
    /// How far they are.
    pub stage: ProofStage,
    /// What the issuer asked for before these, and may be published still: retracted with them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub superseded: Vec<DomainProof>,
}

impl ProofState {
    /// Whether every proof is a person's answer to a mail: nothing is published.
    #[must_use]
    pub fn is_by_mail(&self) -> bool {
        let mut proofs = self.proofs.iter().chain(&self.superseded);
        proofs.all(|proof| proof.method == DomainMethod::Email)
    }
}

/// How far proofs are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "stage", rename_all = "kebab-case")]
pub enum ProofStage {
    /// To be published.
    Wanted,
    /// Published; not seen yet.
    Published {
        /// When.
        at: Timestamp,
    },
    /// Seen at every authoritative server.
    Visible {
        /// When.
        at: Timestamp,
    },
}
