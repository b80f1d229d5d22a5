//! Lengths of time such as `30d` and `1h 30m`.

use crate::config::scalar::Refusal;
use crate::model::Seconds;

/// Reads whole numbers with the units `w`, `d`, `h`, `m`, `s`, from large to small, each at most once.
pub(in crate::config) fn duration(text: &str) -> Result<Seconds, Refusal> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(Refusal::new("is empty").help(EXAMPLES));
    }
    let mut total: i64 = 0;
    let mut smallest = i64::MAX;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        if digits == 0 {
            return Err(Refusal::new("does not begin with a number").help(EXAMPLES));
        }
        let (number, behind) = rest.split_at(digits);
        let letters = behind
            .find(|c: char| c.is_ascii_digit() || c.is_whitespace())
            .unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(letters);
        if unit.is_empty() {
            let gap = behind.trim_start();
            if gap.starts_with(|c: char| c.is_ascii_alphabetic()) {
                return Err(Refusal::new("has a space between number and unit")
                    .help(format!("write `{number}{gap}`")));
            }
            return Err(
                Refusal::new("has no unit").help(format!("write `{number}d` or `{number}s`"))
            );
        }
        let size = seconds(number, unit)?;
        if size >= smallest {
            return Err(
                Refusal::new("does not go from large units to small ones, each once")
                    .help(EXAMPLES),
            );
        }
        smallest = size;
        let part = number.parse::<i64>().ok().and_then(|n| n.checked_mul(size));
        total = part
            .and_then(|part| total.checked_add(part))
            .filter(|total| *total <= LONGEST)
            .ok_or_else(|| Refusal::new("is longer than 100 years"))?;
        rest = behind.trim_start();
    }
    Ok(Seconds(total))
}

fn seconds(number: &str, unit: &str) -> Result<i64, Refusal> {
    match unit {
        "s" => Ok(1),
        "m" => Ok(60),
        "h" => Ok(3600),
        "d" => Ok(86_400),
        "w" => Ok(7 * 86_400),
        "M" | "mon" | "month" | "months" => {
            Err(Refusal::new("counts in months, which differ in length")
                .help("write days, such as `30d`"))
        }
        "y" | "Y" | "year" | "years" => {
            Err(Refusal::new("counts in years, which differ in length")
                .help("write days, such as `365d`"))
        }
        _ => {
            let known = unit.chars().next().filter(|c| "smhdw".contains(*c));
            let refusal = Refusal::new(format!("has the unknown unit `{unit}`"));
            Err(match known {
                Some(short) if unit.chars().all(|c| c.is_ascii_lowercase()) => {
                    refusal.help(format!("write `{number}{short}`"))
                }
                _ => refusal.help("the units are w, d, h, m (minutes) and s"),
            })
        }
    }
}

const EXAMPLES: &str = "write for example `30d`, `12h`, `1h 30m` or `45s`";

/// Seconds: far beyond every certificate, and far from overflow when added to a date.
const LONGEST: i64 = 100 * 366 * 86_400;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_read() {
        assert_eq!(duration("30d"), Ok(Seconds::days(30)));
        assert_eq!(duration("1h 30m"), Ok(Seconds(5400)));
        assert_eq!(duration("1h30m"), Ok(Seconds(5400)));
        assert_eq!(duration(" 2w 1d "), Ok(Seconds::days(15)));
        assert_eq!(duration("0s"), Ok(Seconds(0)));
    }

    #[test]
    fn everything_else_is_refused_with_a_way_out() {
        for (text, why) in [
            ("", "is empty"),
            ("30", "has no unit"),
            ("30 d", "has a space between number and unit"),
            ("d", "does not begin with a number"),
            ("-1d", "does not begin with a number"),
            ("1.5h", "has the unknown unit `.`"),
            ("1M", "counts in months, which differ in length"),
            ("2y", "counts in years, which differ in length"),
            ("30days", "has the unknown unit `days`"),
            (
                "1m 1h",
                "does not go from large units to small ones, each once",
            ),
            (
                "1d 1d",
                "does not go from large units to small ones, each once",
            ),
            ("99999999999999999999d", "is longer than 100 years"),
            ("40000d", "is longer than 100 years"),
            ("5µ", "has the unknown unit `µ`"),
        ] {
            assert_eq!(
                duration(text).map_err(|e| e.why),
                Err(why.to_owned()),
                "{text}"
            );
        }
        assert_eq!(
            duration("30days").map_err(|e| e.help),
            Err(Some("write `30d`".to_owned()))
        );
    }
}
