//! Maintenance windows such as `Mon-Fri 22:00-04:00`.

use crate::config::scalar::Refusal;
use crate::model::{MaintenanceWindow, Seconds};

/// Reads days and a span of time in UTC. A span that ends before it begins ends on the next day.
pub(in crate::config) fn window(text: &str) -> Result<MaintenanceWindow, Refusal> {
    let mut words = text.split_whitespace();
    let (Some(days), Some(span), None) = (words.next(), words.next(), words.next()) else {
        return Err(Refusal::new("is not days and a span of time").help(FORM));
    };
    let mut on = [false; 7];
    for part in days.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (day(first)?, day(last)?);
        // `Sat-Mon` goes over the end of the week.
        let count = (last + 7 - first) % 7;
        for step in 0..=count {
            on[(first + step) % 7] = true;
        }
    }
    let Some((from, to)) = span.split_once('-') else {
        return Err(Refusal::new("has no span of time").help(FORM));
    };
    let (from, to) = (time(from)?, time(to)?);
    if from == DAY {
        return Err(Refusal::new("begins at 24:00").help("write 00:00 of the next day"));
    }
    if from == to {
        return Err(Refusal::new("ends when it begins").help("a whole day is `00:00-24:00`"));
    }
    let until = if to > from { to } else { to + DAY };
    Ok(MaintenanceWindow {
        days: on,
        from: Seconds(from),
        length: Seconds(until - from),
    })
}

fn day(word: &str) -> Result<usize, Refusal> {
    let mut days = MaintenanceWindow::DAYS.iter();
    days.position(|day| day.eq_ignore_ascii_case(word))
        .ok_or_else(|| {
            Refusal::new(format!("has the unknown day `{}`", word.escape_debug()))
                .help("the days are Mon, Tue, Wed, Thu, Fri, Sat and Sun")
        })
}

/// Seconds since midnight.
fn time(word: &str) -> Result<i64, Refusal> {
    let two = |text: &str| {
        let digits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse::<i64>().ok()).flatten()
    };
    let read = word
        .split_once(':')
        .and_then(|(hour, minute)| Some((two(hour)?, two(minute)?)));
    match read {
        Some((hour, minute)) if minute < 60 && (hour < 24 || (hour == 24 && minute == 0)) => {
            Ok(hour * 3600 + minute * 60)
        }
        Some(_) | None => {
            Err(Refusal::new(format!("has no time of day in `{}`", word.escape_debug())).help(FORM))
        }
    }
}

const FORM: &str = "write for example `Mon-Fri 22:00-04:00` or `Sat,Sun 00:00-24:00`, in UTC";

const DAY: i64 = 86_400;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_read() {
        let read = |text: &str| window(text).map(|w| (w.days, w.from.0 / 60, w.length.0 / 60));
        let week = [true, true, true, true, true, false, false];
        assert_eq!(read("Mon-Fri 22:00-04:00"), Ok((week, 1320, 360)));
        let sunday = [false, false, false, false, false, false, true];
        assert_eq!(read("sun 00:00-24:00"), Ok((sunday, 0, 1440)));
        assert_eq!(read("Sun 22:30-24:00"), Ok((sunday, 1350, 90)));
        assert_eq!(read("Sun 22:30-00:00"), Ok((sunday, 1350, 90)));
        let over = [true, false, false, true, false, true, true];
        assert_eq!(read("Thu,Sat-Mon 01:00-02:15"), Ok((over, 60, 75)));
    }

    #[test]
    fn what_is_shown_can_be_written() {
        for (text, shown) in [
            ("Mon-Fri 22:00-04:00", "Mon-Fri 22:00-04:00"),
            ("sun 00:00-24:00", "Sun 00:00-24:00"),
            ("Sun 22:30-00:00", "Sun 22:30-24:00"),
            ("Sat,Thu,Sun-Mon 01:00-02:15", "Mon,Thu,Sat-Sun 01:00-02:15"),
            ("Mon-Sun 23:59-00:01", "Mon-Sun 23:59-00:01"),
        ] {
            let read = window(text).unwrap();
            assert_eq!(read.to_string(), shown);
            assert_eq!(window(shown), Ok(read));
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for bad in [
            "",
            "Mon",
            "22:00-04:00",
            "Mon 22:00",
            "Mon 22:00-22:00",
            "Mon 24:00-02:00",
            "Mon 22-04",
            "Mon 9:00-10:00",
            "Mon 10:60-11:00",
            "Mon 10:00-24:01",
            "Mon 10:00-25:00",
            "Mon- 10:00-11:00",
            "Mo 10:00-11:00",
            "Mon, 10:00-11:00",
            "Mon 10:00-11:00 UTC",
            "Mon 10:00-1١:00",
            "Mon +1:00-02:00",
        ] {
            assert!(window(bad).is_err(), "{bad}");
        }
    }
}
