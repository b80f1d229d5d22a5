//! The only time types of the core: whole seconds, UTC.

use std::fmt;
use std::ops::{Add, Sub};

use serde::{Deserialize, Serialize};

/// A length of time in seconds; may be negative as the difference of two moments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seconds(pub i64);

impl Seconds {
    /// So many minutes.
    #[must_use]
    pub const fn minutes(n: i64) -> Self {
        Self(n * 60)
    }
    /// So many hours.
    #[must_use]
    pub const fn hours(n: i64) -> Self {
        Self(n * 3600)
    }
    /// So many days of 24 hours.
    #[must_use]
    pub const fn days(n: i64) -> Self {
        Self(n * 86_400)
    }
    /// A duration, a part of a second counted as a whole one.
    #[must_use]
    pub fn of(duration: std::time::Duration) -> Self {
        let whole = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
        Self(whole.saturating_add(i64::from(duration.subsec_nanos() > 0)))
    }
    /// For APIs that want an unsigned duration; negative lengths become zero.
    #[must_use]
    pub fn to_std(self) -> std::time::Duration {
        std::time::Duration::from_secs(u64::try_from(self.0).unwrap_or(0))
    }
}

impl fmt::Display for Seconds {
    /// Two units at most, such as `61d 4h`, `5m`, `-30s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let total = self.0.unsigned_abs();
        let units = [(86_400, "d"), (3600, "h"), (60, "m"), (1, "s")];
        let Some(first) = units.iter().position(|(size, _)| total >= *size) else {
            return f.pad("0s");
        };
        let mut text = format!("{sign}{}{}", total / units[first].0, units[first].1);
        if let Some((size, unit)) = units.get(first + 1) {
            let rest = total % units[first].0 / size;
            if rest > 0 {
                text.push_str(&format!(" {rest}{unit}"));
            }
        }
        f.pad(&text)
    }
}

/// A moment: seconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

/// A text that is not a moment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no date; write 2027-04-01 or 2027-04-01T12:00:00Z")]
pub struct TimeError(pub String);

impl Timestamp {
    /// Reads `2027-04-01` (midnight UTC) or an RFC 3339 date and time with zone.
    ///
    /// # Errors
    /// [`TimeError`] repeats the text and shows the two forms.
    pub fn parse(text: &str) -> Result<Self, TimeError> {
        if let Ok(stamp) = text.parse::<jiff::Timestamp>() {
            return Ok(Self(stamp.as_second()));
        }
        // A date alone; `civil::Date` would also accept the date of a date and time without zone.
        if text.len() == 10
            && let Ok(date) = text.parse::<jiff::civil::Date>()
            && let Ok(zoned) = date.to_zoned(jiff::tz::TimeZone::UTC)
        {
            return Ok(Self(zoned.timestamp().as_second()));
        }
        Err(TimeError(text.to_owned()))
    }

    /// From milliseconds, as the CCM API counts.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis.div_euclid(1000))
    }

    /// The time until `later`; negative when it is past.
    #[must_use]
    pub const fn until(self, later: Self) -> Seconds {
        Seconds(later.0.saturating_sub(self.0))
    }

    /// The calendar day in UTC, such as `2027-04-01`.
    #[must_use]
    pub fn date(self) -> String {
        let mut text = self.to_string();
        text.truncate(10);
        text
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_second(self.0) {
            Ok(stamp) => f.pad(&stamp.to_string()),
            Err(_) => f.pad(&format!("@{}", self.0)),
        }
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Add<Seconds> for Timestamp {
    type Output = Self;
    fn add(self, length: Seconds) -> Self {
        Self(self.0.saturating_add(length.0))
    }
}

impl Sub<Seconds> for Timestamp {
    type Output = Self;
    fn sub(self, length: Seconds) -> Self {
        Self(self.0.saturating_sub(length.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_moments_are_read() {
        assert_eq!(Timestamp::parse("1970-01-02"), Ok(Timestamp(86_400)));
        assert_eq!(Timestamp::parse("1970-01-01T00:00:09Z"), Ok(Timestamp(9)));
        assert_eq!(
            Timestamp::parse("1970-01-01T01:00:00+01:00"),
            Ok(Timestamp(0))
        );
        assert!(Timestamp::parse("tomorrow").is_err());
        assert!(Timestamp::parse("1970-01-01T01:00:00").is_err());
    }

    #[test]
    fn lengths_show_two_units_at_most() {
        assert_eq!(Seconds(90_061).to_string(), "1d 1h");
        assert_eq!(Seconds(60).to_string(), "1m");
        assert_eq!(Seconds(-30).to_string(), "-30s");
        assert_eq!(Seconds(0).to_string(), "0s");
    }
}
