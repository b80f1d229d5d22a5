//! Why a certificate is revoked: the reasons of RFC 5280 §5.3.1 that CCM API 4.2.2.9 knows.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The reasons. `removeFromCRL` is none: it takes a hold back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RevocationReason {
    /// Not said.
    Unspecified,
    /// The key is known to others.
    KeyCompromise,
    /// The key of the CA is.
    CaCompromise,
    /// The subject is called otherwise now.
    AffiliationChanged,
    /// Another certificate takes its place.
    Superseded,
    /// It is not needed any more.
    CessationOfOperation,
    /// For a while.
    CertificateHold,
    /// Its rights were taken away.
    PrivilegeWithdrawn,
    /// What gave it its rights is known to others.
    AaCompromise,
}

impl RevocationReason {
    /// Every reason, in the order of their numbers.
    pub const ALL: [Self; 9] = [
        Self::Unspecified,
        Self::KeyCompromise,
        Self::CaCompromise,
        Self::AffiliationChanged,
        Self::Superseded,
        Self::CessationOfOperation,
        Self::CertificateHold,
        Self::PrivilegeWithdrawn,
        Self::AaCompromise,
    ];

    /// As people write it, such as `key_compromise`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::KeyCompromise => "key_compromise",
            Self::CaCompromise => "ca_compromise",
            Self::AffiliationChanged => "affiliation_changed",
            Self::Superseded => "superseded",
            Self::CessationOfOperation => "cessation_of_operation",
            Self::CertificateHold => "certificate_hold",
            Self::PrivilegeWithdrawn => "privilege_withdrawn",
            Self::AaCompromise => "aa_compromise",
        }
    }

    /// As CCM API 4.2.2.9 writes it.
    #[must_use]
    pub const fn ccm(self) -> &'static str {
        match self {
            Self::Unspecified => "UNSPECIFIED",
            Self::KeyCompromise => "KEY_COMPROMISE",
            Self::CaCompromise => "CERTIFICATE_AUTHORITY_COMPROMISE",
            Self::AffiliationChanged => "AFFILIATION_CHANGED",
            Self::Superseded => "SUPERSEDED",
            Self::CessationOfOperation => "CESSATION_OF_OPERATION",
            Self::CertificateHold => "CERTIFICATE_HOLD",
            Self::PrivilegeWithdrawn => "PRIVILEGE_WITHDRAWN",
            Self::AaCompromise => "ATTRIBUTE_AUTHORITY_COMPROMISE",
        }
    }

    /// As RFC 5280 writes it.
    #[must_use]
    pub const fn rfc(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::KeyCompromise => "keyCompromise",
            Self::CaCompromise => "cACompromise",
            Self::AffiliationChanged => "affiliationChanged",
            Self::Superseded => "superseded",
            Self::CessationOfOperation => "cessationOfOperation",
            Self::CertificateHold => "certificateHold",
            Self::PrivilegeWithdrawn => "privilegeWithdrawn",
            Self::AaCompromise => "aACompromise",
        }
    }
}

impl fmt::Display for RevocationReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for RevocationReason {
    type Err = UnknownReason;

    /// By any of its three spellings.
    fn from_str(text: &str) -> Result<Self, UnknownReason> {
        let text = text.replace('-', "_");
        let mut all = Self::ALL.into_iter();
        all.find(|one| {
            [one.as_str(), one.ccm(), one.rfc()]
                .iter()
                .any(|spelling| spelling.eq_ignore_ascii_case(&text))
        })
        .ok_or(UnknownReason)
    }
}

/// No such reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a reason of RFC 5280: unspecified, key_compromise, ca_compromise, affiliation_changed, superseded, \
     cessation_of_operation, certificate_hold, privilege_withdrawn or aa_compromise"
)]
pub struct UnknownReason;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_is_read_in_each_of_its_spellings() {
        for reason in RevocationReason::ALL {
            for text in [reason.as_str(), reason.ccm(), reason.rfc()] {
                assert_eq!(text.parse(), Ok(reason), "{text}");
            }
            let written = serde_json::to_value(reason).unwrap();
            assert_eq!(written, reason.as_str());
        }
        assert_eq!(
            "key-compromise".parse(),
            Ok(RevocationReason::KeyCompromise)
        );
        assert_eq!("because".parse::<RevocationReason>(), Err(UnknownReason));
        // The message lists them all.
        for reason in RevocationReason::ALL {
            assert!(UnknownReason.to_string().contains(reason.as_str()));
        }
    }
}
