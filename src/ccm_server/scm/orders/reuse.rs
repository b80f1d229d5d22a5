//! Proofs of domains that still hold: a CA need not ask again for what it saw not long ago (CA/Browser Forum, Baseline
//! Requirements §4.2.1, as ballot SC-081v3 shortens it).
//!
//! A proof is that of a name in the same account; it counts from the day on which it was seen, however often it is used, and
//! goes with the certificate that it was made for.

use std::str::FromStr;

use sqlx::SqliteConnection;

use crate::ccm_server::failure::Failure;
use crate::model::{Seconds, Timestamp};

/// For how long a proof of a domain is used again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ProofReuse {
    /// Never: each application is proven anew.
    #[default]
    Never,
    /// As long as public CAs may on the day of the application.
    Ballot,
    /// So many days.
    Days(u16),
}

/// A text that says no length.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither `never` nor `ballot`, nor a number of days up to {LONGEST}")]
pub struct ProofReuseError(String);

impl FromStr for ProofReuse {
    type Err = ProofReuseError;

    fn from_str(text: &str) -> Result<Self, ProofReuseError> {
        match text {
            "never" => Ok(Self::Never),
            "ballot" => Ok(Self::Ballot),
            _ => match text.parse() {
                Ok(days) if days <= LONGEST => Ok(Self::Days(days)),
                Ok(_) | Err(_) => Err(ProofReuseError(text.to_owned())),
            },
        }
    }
}

impl ProofReuse {
    /// What was proven after this moment need not be proven again.
    pub(super) fn since(self, now: Timestamp) -> Option<Timestamp> {
        let days = match self {
            Self::Never => return None,
            Self::Days(days) => i64::from(days),
            Self::Ballot => {
                let step = STEPS.iter().rev().find(|(from, _)| now >= *from);
                step.map_or(STEPS[0].1, |(_, days)| *days)
            }
        };
        Some(now - Seconds::days(days))
    }
}

/// When a name of an account was last proven, if that was after `since`.
pub(super) async fn held(
    connection: &mut SqliteConnection,
    certificate: &str,
    name: &str,
    since: Option<Timestamp>,
) -> Result<Option<i64>, Failure> {
    let Some(since) = since else {
        return Ok(None);
    };
    let last: Option<i64> = sqlx::query_scalar(
        "SELECT max(d.validated) FROM scm_domain d JOIN scm_certificate c ON c.id = d.certificate \
         WHERE d.domain = $1 AND d.validated > $2 \
         AND c.account = (SELECT account FROM scm_certificate WHERE id = $3)",
    )
    .bind(name)
    .bind(since.0)
    .bind(certificate)
    .fetch_one(connection)
    .await?;
    Ok(last)
}

/// From when on how many days.
const STEPS: [(Timestamp, i64); 4] = [
    // 2020-09-01
    (Timestamp(1_598_918_400), 398),
    // 2026-03-15
    (Timestamp(1_773_532_800), 200),
    // 2027-03-15
    (Timestamp(1_805_068_800), 100),
    // 2029-03-15
    (Timestamp(1_868_227_200), 10),
];
/// Days.
const LONGEST: u16 = 825;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_steps_are_those_of_the_ballot() {
        for (day, days) in [
            ("2026-03-14", 398),
            ("2026-03-15", 200),
            ("2027-03-14", 200),
            ("2027-03-15", 100),
            ("2029-03-14", 100),
            ("2029-03-15", 10),
        ] {
            let now = Timestamp::parse(day).unwrap();
            let since = ProofReuse::Ballot.since(now);
            assert_eq!(since, Some(now - Seconds::days(days)), "{day}");
        }
    }

    #[test]
    fn a_length_is_read_or_refused() {
        let read = |text: &str| text.parse::<ProofReuse>().ok();
        assert_eq!(read("never"), Some(ProofReuse::Never));
        assert_eq!(read("ballot"), Some(ProofReuse::Ballot));
        assert_eq!(read("10"), Some(ProofReuse::Days(10)));
        for bad in ["", "-1", "826", "10d", "Ballot"] {
            assert_eq!(read(bad), None, "{bad}");
        }
        assert_eq!(ProofReuse::Never.since(Timestamp(0)), None);
    }
}
