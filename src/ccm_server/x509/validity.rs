//! How long a certificate is valid: the API's units, its limits, and the minute it adds.

use jiff::tz::TimeZone;
use jiff::{Span, ToSpan as _};

use crate::ccm_server::text;
use crate::model::{Seconds, Timestamp};

/// A unit of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ccm_server) enum Unit {
    /// A calendar year.
    Year,
    /// A calendar month. The tables say 31 days; the dates in the examples say a month of the calendar.
    Month,
    /// 24 hours.
    Day,
    /// An hour.
    Hour,
}

impl Unit {
    /// The API's names.
    pub(in crate::ccm_server) const NAMES: &'static [&'static str] =
        &["YEAR", "MONTH", "DAY", "HOUR"];

    /// By the API's name.
    pub(in crate::ccm_server) fn named(name: &str) -> Option<Self> {
        match name {
            "YEAR" => Some(Self::Year),
            "MONTH" => Some(Self::Month),
            "DAY" => Some(Self::Day),
            "HOUR" => Some(Self::Hour),
            _ => None,
        }
    }
}

/// A wanted validity (CCM API 4.2.1.2, `Validity`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ccm_server) struct Period {
    /// The unit.
    pub(in crate::ccm_server) unit: Unit,
    /// How many.
    pub(in crate::ccm_server) value: i64,
    /// Where it begins, if not now.
    pub(in crate::ccm_server) start_from: Option<Timestamp>,
}

/// Why a validity is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(in crate::ccm_server) enum PeriodError {
    /// Not positive, or past the calendar.
    #[error("the validity is not a positive number of units")]
    Value,
    /// Longer than allowed.
    #[error("the validity is longer than {0} years")]
    TooLong(i64),
    /// Too far in the past.
    #[error("start_from is more than 5 minutes in the past")]
    Start,
    /// It would begin when the issuer has ended.
    #[error("the validity would begin after the issuer's end")]
    AfterIssuer,
}

impl Period {
    /// First and last moment: one minute more than the units say, as the dates in the reference's examples show, and
    /// cut to the end of the issuer, as those show as well.
    pub(in crate::ccm_server) fn dates(
        &self,
        now: Timestamp,
        most_years: i64,
        issuer_end: Option<Timestamp>,
    ) -> Result<(Timestamp, Timestamp), PeriodError> {
        let begin = self.start_from.unwrap_or(now);
        if begin < now - EARLIEST {
            return Err(PeriodError::Start);
        }
        if self.value < 1 || self.value > MOST_UNITS {
            return Err(PeriodError::Value);
        }
        let span = match self.unit {
            Unit::Year => self.value.years(),
            Unit::Month => self.value.months(),
            // Calendar days are 24 hours in UTC.
            Unit::Day => self.value.days(),
            Unit::Hour => self.value.hours(),
        };
        let end = add(begin, span).ok_or(PeriodError::Value)?;
        let latest = add(begin, most_years.years()).ok_or(PeriodError::Value)?;
        if end > latest {
            return Err(PeriodError::TooLong(most_years));
        }
        let end = end + Seconds::minutes(1);
        let end = issuer_end.map_or(end, |issuer_end| end.min(issuer_end));
        if end <= begin {
            return Err(PeriodError::AfterIssuer);
        }
        Ok((begin, end))
    }
}

fn add(at: Timestamp, span: Span) -> Option<Timestamp> {
    let stamp = jiff::Timestamp::from_second(at.0).ok()?;
    let later = stamp.to_zoned(TimeZone::UTC).checked_add(span).ok()?;
    Some(Timestamp(later.timestamp().as_second()))
}

/// A certificate's serial number: 20 octets, positive (RFC 5280 §4.1.2.2), 158 of the bits random.
pub(in crate::ccm_server) fn new_serial() -> Vec<u8> {
    let mut serial = text::random::<20>();
    serial[0] = serial[0] & 0x3f | 0x40;
    serial.to_vec()
}

/// `start_from` may lie so far back.
const EARLIEST: Seconds = Seconds::minutes(5);
/// Keeps the arithmetic far from its limits: 30 years have 262 980 hours.
const MOST_UNITS: i64 = 300_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }
    fn period(unit: Unit, value: i64) -> Period {
        Period {
            unit,
            value,
            start_from: None,
        }
    }

    #[test]
    fn the_dates_are_those_of_the_reference_s_examples() {
        let cases = [
            // Chapter 4.2.1.1, both roots, and 4.2.1.4.
            (Unit::Year, 1, 1_646_623_375, 1_678_159_435),
            (Unit::Year, 3, 1_632_797_952, 1_727_492_412),
            (Unit::Month, 1, 1_645_148_632, 1_647_567_892),
        ];
        for (unit, value, begin, end) in cases {
            let dates = period(unit, value).dates(Timestamp(begin), 30, None);
            assert_eq!(dates, Ok((Timestamp(begin), Timestamp(end))));
        }
    }

    #[test]
    fn the_end_is_cut_to_the_issuer_s() {
        let now = at("2026-01-01");
        let end = at("2026-06-01");
        assert_eq!(
            period(Unit::Year, 1).dates(now, 20, Some(end)),
            Ok((now, end))
        );
        assert_eq!(
            period(Unit::Year, 1).dates(now, 20, Some(now)),
            Err(PeriodError::AfterIssuer)
        );
    }

    #[test]
    fn limits_are_those_of_the_reference() {
        let now = at("2026-01-01");
        assert!(period(Unit::Year, 20).dates(now, 20, None).is_ok());
        assert!(period(Unit::Month, 240).dates(now, 20, None).is_ok());
        assert_eq!(
            period(Unit::Year, 21).dates(now, 20, None),
            Err(PeriodError::TooLong(20))
        );
        assert_eq!(
            period(Unit::Day, 7306).dates(now, 20, None),
            Err(PeriodError::TooLong(20))
        );
        for value in [0, -1, i64::MIN, i64::MAX] {
            assert_eq!(
                period(Unit::Hour, value).dates(now, 20, None),
                Err(PeriodError::Value)
            );
        }
        let mut early = period(Unit::Day, 1);
        early.start_from = Some(now - Seconds::minutes(5));
        assert!(early.dates(now, 20, None).is_ok());
        early.start_from = Some(now - Seconds(301));
        assert_eq!(early.dates(now, 20, None), Err(PeriodError::Start));
        early.start_from = Some(Timestamp(i64::MAX));
        assert_eq!(early.dates(now, 20, None), Err(PeriodError::Value));
    }
}
