//! Services of the cloud that certificates are pushed to (CCM API 4.1.6): ELB, WAF and CDN.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::{Failures, Fingerprint, IssuerId, PushId, RevisionId, StepFailure, Timestamp};

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

/// A domain of WAF as the policy names it: `cloud:ID` or `premium:ID`, with `@PROJECT` behind it for an enterprise
/// project.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WafResource<'a> {
    /// `cloud` or `premium` (dedicated).
    pub kind: &'a str,
    /// Its id.
    pub id: &'a str,
    /// Id of the enterprise project; `0` is the default one.
    pub project: &'a str,
}

impl<'a> WafResource<'a> {
    /// Reads one; `None` for what is none.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<Self> {
        let (kind, rest) = text.split_once(':')?;
        let (id, project) = rest.split_once('@').unwrap_or((rest, "0"));
        let good = |text: &str| {
            (1..=63).contains(&text.len())
                && text
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        };
        (matches!(kind, "cloud" | "premium") && good(id) && good(project)).then_some(Self {
            kind,
            id,
            project,
        })
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
    /// Project (region) name, such as `ap-southeast-1`; empty for CDN, which has none.
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
    /// The last that was read back from every resource that it was pushed to.
    pub done: Option<Pushed>,
    /// Each resource by itself, as the policy names it: one that does not take it holds no other back.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub resources: BTreeMap<String, ResourceState>,
    /// Uploads of it to the account, the newest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub imports: Vec<Imported>,
    /// In a row, of what concerns every resource: the import, the push, reading back.
    pub failures: Failures,
    /// The first of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failing_since: Option<Timestamp>,
    /// The revision that the last of them is an answer to: another one is tried at once. `None` where no revision had
    /// fared better.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<RevisionId>,
}

/// What is known of one resource that a certificate is deployed to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ResourceState {
    /// The last that was read back from it.
    pub used: Option<Pushed>,
    /// In a row.
    pub failures: Failures,
    /// The first of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failing_since: Option<Timestamp>,
    /// The revision that it did not take; another one is tried at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<RevisionId>,
}

impl ResourceState {
    /// Counts one more attempt to bring it this revision that failed.
    pub fn add(&mut self, revision: &RevisionId, failure: StepFailure) {
        self.failing_since.get_or_insert(failure.at);
        self.refused = Some(revision.clone());
        self.failures.add(failure);
    }
}

impl PushState {
    /// Whether the last attempt failed, of the whole or of a resource.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        let mut resources = self.resources.values();
        self.failures.count > 0 || resources.any(|one| one.failures.count > 0)
    }

    /// Counts one more failure that concerns every resource; `refused` is the revision that it is an answer to, if one.
    pub fn add(&mut self, refused: Option<&RevisionId>, failure: StepFailure) {
        self.failing_since.get_or_insert(failure.at);
        self.refused = refused.cloned();
        self.failures.add(failure);
    }
}

/// A revision that was brought into an account as an uploaded certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imported {
    /// Which revision.
    pub revision: RevisionId,
    /// The certificate's id at SCM.
    pub reference: String,
    /// Whose account.
    pub account: IssuerId,
    /// End of its validity.
    pub not_after: Timestamp,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_of_waf_is_named_with_its_mode_and_perhaps_its_enterprise_project() {
        let own = WafResource::parse("premium:0a1b").unwrap();
        assert_eq!((own.kind, own.id, own.project), ("premium", "0a1b", "0"));
        let other = WafResource::parse("cloud:0a1b@f-2").unwrap();
        assert_eq!((other.kind, other.project), ("cloud", "f-2"));
        for bad in ["0a1b", "elb:0a1b", "cloud:", "cloud:a b", "cloud:a@"] {
            assert_eq!(WafResource::parse(bad), None, "{bad}");
        }
    }
}
