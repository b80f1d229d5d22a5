//! Cron expressions, and the time zones that they are read in.

use croner::Cron;
use croner::parser::{CronParser, Seconds};
use jiff::civil::date;
use jiff::tz::TimeZone;

use crate::config::scalar::Refusal;

/// Reads five fields, or six with seconds in front.
pub(in crate::config) fn schedule(text: &str) -> Result<Cron, Refusal> {
    let fields: Vec<&str> = text.split_whitespace().collect();
    let six = match fields.len() {
        5 => format!("0 {}", fields.join(" ")),
        6 => fields.join(" "),
        count => {
            let many = if count == 1 { "field" } else { "fields" };
            return Err(Refusal::new(format!("has {count} {many}")).help(FORM));
        }
    };
    if text.len() > LONGEST {
        return Err(Refusal::new(format!("is longer than {LONGEST} characters")));
    }
    let parser = CronParser::builder().seconds(Seconds::Required).build();
    let cron = parser.parse(&six).map_err(|error| {
        let why = error.to_string();
        Refusal::new(format!(
            "is no cron expression: {}",
            why.trim_end_matches('.')
        ))
        .help(FORM)
    })?;
    // A fixed moment keeps the answer the same on every day; it lies just before a leap day.
    let from = date(2024, 2, 28)
        .to_zoned(TimeZone::UTC)
        .map_err(|_| Refusal::new("cannot be checked"))?;
    match cron.find_next_occurrence(&from, true) {
        Ok(_) => Ok(cron),
        Err(_) => Err(Refusal::new("never fires").help("no such day is in the calendar")),
    }
}

/// Reads the name of a time zone.
pub(in crate::config) fn zone(text: &str) -> Result<TimeZone, Refusal> {
    if text == "UTC" {
        // Known to a host without any list of zones as well.
        return Ok(TimeZone::UTC);
    }
    TimeZone::get(text).map_err(|_| {
        Refusal::new("is no time zone that this host knows").help(
            "write `UTC` or a name such as `Europe/Berlin`; the names come from the package tzdata",
        )
    })
}

const FORM: &str = "write `minute hour day month weekday`, with seconds in front if you like";

/// Every list of values of every field fits; anything longer is an accident.
const LONGEST: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_fields_become_six() {
        for (written, read) in [
            ("17 */6 * * *", "0 17 */6 * * *"),
            ("5 0  0 29 2 *", "5 0 0 29 2 *"),
            ("0 0 * * MON-FRI", "0 0 0 * * 1-5"),
        ] {
            let cron = schedule(written).unwrap();
            assert_eq!(cron.as_str(), read);
            assert_eq!(schedule(read).unwrap(), cron);
        }
    }

    #[test]
    fn a_zone_is_one_that_the_host_knows() {
        assert_eq!(zone("UTC"), Ok(TimeZone::UTC));
        let berlin = zone("Europe/Berlin").unwrap();
        assert_eq!(berlin.iana_name(), Some("Europe/Berlin"));
        for bad in ["", "CEST+", "Europe/Atlantis", "../../etc/passwd"] {
            assert!(zone(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_schedule_that_never_fires_is_refused() {
        let refused = schedule("0 0 31 2 *").map_err(|e| e.why);
        assert_eq!(refused, Err("never fires".to_owned()));
        for bad in [
            "",
            "* * *",
            "0 0 0 * * * 2030",
            "@daily",
            "61 * * * *",
            "a b c d e",
        ] {
            assert!(schedule(bad).is_err(), "{bad}");
        }
    }
}
