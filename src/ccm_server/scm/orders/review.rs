//! How long the CA's people take, and what they say: the part of an issue that is not decided by a check, and is set by
//! options and by the management listener.

use std::str::FromStr;

use serde_json::{Value, json};

use crate::model::Seconds;

/// How much a certificate says about its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// The domain alone.
    Dv,
    /// The organization.
    Ov,
    /// The organization, looked at closely.
    Ev,
}

/// What the last stage of a review ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The certificate is issued.
    Pass,
    /// The application ends as UNPASSED.
    Fail,
    /// Nothing happens until somebody decides over the management listener.
    Hold,
}

/// The review of one class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Review {
    /// Of the papers of an OV or EV application, before its domains are looked at: CHECKING.
    pub checking: Seconds,
    /// After that, of the organization (CHECKING_ORG); of a DV application, what the CA takes to issue (ISSUING).
    pub issuing: Seconds,
    /// Of a revocation: REVOKING.
    pub revoking: Seconds,
    /// How it ends.
    pub outcome: Outcome,
}

/// A text that describes no review.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no review; write CLASS=SETTING,…: the class dv, ov or ev, and of the settings checking:TIME, issuing:TIME, \
     revoking:TIME, pass, fail and hold those that are wanted, with times such as 30s, 10m, 2h, 3d"
)]
pub struct ReviewError(String);

impl Default for Review {
    /// Nobody is kept waiting.
    fn default() -> Self {
        Self {
            checking: Seconds(0),
            issuing: Seconds(0),
            revoking: Seconds(0),
            outcome: Outcome::Pass,
        }
    }
}

impl Class {
    pub(super) const ALL: [Self; 3] = [Self::Dv, Self::Ov, Self::Ev];

    /// Of a `cert_type`, such as `OV_SSL_CERT_PRO`.
    pub(super) fn of(kind: &str) -> Self {
        match kind.get(..2) {
            Some("OV") => Self::Ov,
            Some("EV") => Self::Ev,
            _ => Self::Dv,
        }
    }

    /// In options and answers.
    pub(in crate::ccm_server) const fn name(self) -> &'static str {
        match self {
            Self::Dv => "dv",
            Self::Ov => "ov",
            Self::Ev => "ev",
        }
    }

    /// By that name, in any case.
    pub(in crate::ccm_server) fn named(name: &str) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|class| class.name().eq_ignore_ascii_case(name))
    }
}

impl Outcome {
    const fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Hold => "hold",
        }
    }

    /// By its name.
    pub(in crate::ccm_server) fn named(name: &str) -> Option<Self> {
        let mut all = [Self::Pass, Self::Fail, Self::Hold].into_iter();
        all.find(|outcome| outcome.name() == name)
    }
}

impl Review {
    /// As the management listener shows it.
    pub(in crate::ccm_server) fn json(self) -> Value {
        json!({
            "checking_seconds": self.checking.0,
            "issuing_seconds": self.issuing.0,
            "revoking_seconds": self.revoking.0,
            "outcome": self.outcome.name(),
        })
    }

    /// Reads one class and its review, such as `ov=checking:1h,issuing:2d,hold`.
    pub(in crate::ccm_server) fn of_class(text: &str) -> Result<(Class, Self), ReviewError> {
        let bad = || ReviewError(text.to_owned());
        let (class, settings) = text.split_once('=').ok_or_else(bad)?;
        let class = Class::named(class).ok_or_else(bad)?;
        Ok((class, settings.parse().map_err(|_: ReviewError| bad())?))
    }
}

impl FromStr for Review {
    type Err = ReviewError;

    fn from_str(text: &str) -> Result<Self, ReviewError> {
        let bad = || ReviewError(text.to_owned());
        let mut review = Self::default();
        for item in text.split(',') {
            match item.split_once(':') {
                None => review.outcome = Outcome::named(item).ok_or_else(bad)?,
                Some((name, time)) => {
                    let time = length(time).ok_or_else(bad)?;
                    match name {
                        "checking" => review.checking = time,
                        "issuing" => review.issuing = time,
                        "revoking" => review.revoking = time,
                        _ => return Err(bad()),
                    }
                }
            }
        }
        Ok(review)
    }
}

/// A number and one of s, m, h, d; a year at most.
fn length(text: &str) -> Option<Seconds> {
    let unit = text.chars().next_back()?;
    let number = text.strip_suffix(unit)?;
    if number.is_empty() || !number.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let number: i64 = number.parse().ok()?;
    let seconds = match unit {
        's' => Some(number),
        'm' => number.checked_mul(60),
        'h' => number.checked_mul(3600),
        'd' => number.checked_mul(86_400),
        _ => None,
    }?;
    (seconds <= LONGEST.0).then_some(Seconds(seconds))
}

/// Longer than any review; keeps moments in the calendar.
pub(in crate::ccm_server) const LONGEST: Seconds = Seconds::days(366);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_review_is_read_whole_or_refused() {
        let (class, review) =
            Review::of_class("OV=checking:30s,issuing:2d,revoking:1h,hold").unwrap();
        assert_eq!(class, Class::Ov);
        assert_eq!(review.checking, Seconds(30));
        assert_eq!(review.issuing, Seconds::days(2));
        assert_eq!(review.revoking, Seconds::hours(1));
        assert_eq!(review.outcome, Outcome::Hold);
        for bad in [
            "",
            "ov",
            "xv=hold",
            "ov=",
            "ov=issuing",
            "ov=issuing:",
            "ov=issuing:5",
            "ov=issuing:-5s",
            "ov=issuing:367d",
            "ov=issuing:99999999999999999999d",
            "ov=lunch:1h",
            "ov=maybe",
            "ov=issuing:5é",
        ] {
            assert!(Review::of_class(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_type_of_certificate_has_its_class() {
        assert_eq!(Class::of("DV_SSL_CERT_BASIC"), Class::Dv);
        assert_eq!(Class::of("OV_SSL_CERT_PRO"), Class::Ov);
        assert_eq!(Class::of("EV_SSL_CERT"), Class::Ev);
        assert_eq!(Class::of(""), Class::Dv);
    }
}
