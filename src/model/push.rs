//! Services of the cloud that certificates are pushed to (CCM API 4.1.6): ELB, WAF and CDN.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::{Failures, Fingerprint, IssuerId, PushId, RevisionId, Timestamp};

/// The services.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum CloudService {
    /// Load balancers.
    Elb,
    /// Web application firewall.
    Waf,
    /// Content delivery.
    Cdn,
}

impl CloudService {
    /// As the API writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Elb => "ELB",
            Self::Waf => "WAF",
            Self::Cdn => "CDN",
        }
    }
}

impl fmt::Display for CloudService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// `[push.NAME]`: where in the cloud a certificate goes after it is issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushPolicy {
    /// Name in the policy.
    pub id: PushId,
    /// An SCM issuer: whose account it is done by.
    pub account: IssuerId,
    /// Which service.
    pub service: CloudService,
    /// Project (region) name, such as `ap-southeast-1`.
    pub region: String,
    /// Resources that the certificate is deployed to; empty: it is pushed to the service's list of certificates only.
    pub resources: Vec<String>,
    /// It is brought into the account as an uploaded certificate first: the way for keys that were made here.
    pub import: bool,
    /// Changes with any setting above.
    pub digest: Fingerprint,
}

/// What is known of a push, of one certificate to one place.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PushState {
    /// The last that was read back from where it was pushed to.
    pub done: Option<Pushed>,
    /// Resources that did not take it, with what was said; tried again.
    pub missing: BTreeMap<String, String>,
    /// In a row.
    pub failures: Failures,
}

/// A push that was read back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pushed {
    /// Which revision.
    pub revision: RevisionId,
    /// The certificate's id at SCM that was pushed.
    pub reference: String,
    /// When.
    pub at: Timestamp,
    /// Digest of the push's policy.
    pub policy: Fingerprint,
}
