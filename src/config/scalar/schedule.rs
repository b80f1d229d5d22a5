//! Cron expressions.

use croner::parser::{CronParser, Seconds};
use jiff::civil::date;
use jiff::tz::TimeZone;

use crate::config::scalar::Refusal;

/// Reads five fields, or six with seconds in front, and gives back six.
pub(in crate::config) fn schedule(text: &str) -> Result<String, Refusal> {
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
        Ok(_) => Ok(six),
        Err(_) => Err(Refusal::new("never fires").help("no such day is in the calendar")),
    }
}

const FORM: &str =
    "write `minute hour day month weekday`, with seconds in front if you like, in UTC";

/// Every list of values of every field fits; anything longer is an accident.
const LONGEST: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_fields_become_six() {
        assert_eq!(schedule("17 */6 * * *").as_deref(), Ok("0 17 */6 * * *"));
        assert_eq!(schedule("5 0  0 29 2 *").as_deref(), Ok("5 0 0 29 2 *"));
        assert_eq!(
            schedule("0 0 * * MON-FRI").as_deref(),
            Ok("0 0 0 * * MON-FRI")
        );
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
