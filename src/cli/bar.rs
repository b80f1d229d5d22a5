//! The life of a certificate as a line: issued, now, renewal point, end.

use crate::cli::output::{GREEN, RED, YELLOW};
use crate::model::Timestamp;
use crate::plan::status::{CertificateStatus, Urgency, moment};

/// How things are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Look {
    /// Columns.
    pub(crate) width: usize,
    /// Whether the terminal shows more than ASCII.
    pub(crate) unicode: bool,
}

impl Look {
    /// By the terminal and its locale (`LC_ALL`, `LC_CTYPE`, `LANG`, in this order).
    pub(crate) fn of_terminal() -> Self {
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
            .into_iter()
            .filter_map(|name| std::env::var(name).ok())
            .find(|value| !value.is_empty())
            .unwrap_or_default()
            .to_ascii_lowercase();
        Self {
            width: size().0,
            unicode: locale.contains("utf-8") || locale.contains("utf8"),
        }
    }
}

/// Columns and lines of the terminal; `COLUMNS` goes before, and 80 by 24 is taken where there is none.
pub(crate) fn size() -> (usize, usize) {
    let terminal = terminal_size::terminal_size();
    let (width, height) = terminal.map_or((80, 24), |(width, height)| {
        (usize::from(width.0), usize::from(height.0))
    });
    let asked = std::env::var("COLUMNS").ok();
    let asked = asked.and_then(|text| text.parse().ok());
    (asked.unwrap_or(width), height)
}

/// `2026-09-01 ━━━━━━●────────R────────┤ 2026-11-30`: what is past, now, when renewal is due, the end. `None` where there is
/// no certificate, or no room.
pub(crate) fn bar(one: &CertificateStatus, now: Timestamp, look: Look) -> Option<String> {
    let begin = moment(one.not_before.as_ref())?;
    let end = one.not_after()?;
    let room = look.width.min(WIDEST).checked_sub(DATES)?;
    if room < NARROWEST || end <= begin {
        return None;
    }
    // In 128 bits, since dates may be anything.
    let cell = |at: Timestamp| -> usize {
        let whole = i128::from(end.0) - i128::from(begin.0);
        let past = (i128::from(at.0) - i128::from(begin.0)).clamp(0, whole);
        usize::try_from(past * (room as i128 - 1) / whole).unwrap_or(0)
    };
    let here = cell(now);
    let renewal = moment(one.renewal_at.as_ref()).map(cell);
    let [past, future, present, due, last] = if look.unicode {
        ['━', '─', '●', '┼', '┤']
    } else {
        ['=', '-', '*', 'R', '|']
    };
    let style = match one.urgency {
        Urgency::Ok => GREEN,
        Urgency::Notice | Urgency::Warning => YELLOW,
        Urgency::Critical => RED,
    };
    let line: String = (0..room)
        .map(|at| match at {
            _ if at == here => format!("{style}{present}{style:#}"),
            _ if Some(at) == renewal => format!("{YELLOW}{due}{YELLOW:#}"),
            _ if at == room - 1 => last.to_string(),
            _ if at < here => format!("{style}{past}{style:#}"),
            _ => future.to_string(),
        })
        .collect();
    Some(format!("{} {line} {}", begin.date(), end.date()))
}

/// Two dates, with the indentation and the blanks around the line.
const DATES: usize = 2 + 10 + 1 + 1 + 10;
/// A line that is shorter says nothing.
const NARROWEST: usize = 10;
/// A line that is longer says no more.
const WIDEST: usize = 120;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Seconds;
    use crate::plan::explain::Report;

    const BEGIN: Timestamp = Timestamp(1_767_225_600);

    fn of(days: i64, renewal: i64) -> CertificateStatus {
        let at = |days| (BEGIN + Seconds::days(days)).to_string();
        CertificateStatus {
            report: Report {
                name: "www".to_owned(),
                verdict: "healthy".into(),
                reason: "not-due".into(),
                message: String::new(),
                serial: None,
                not_after: Some(at(days)),
                next_action: None,
                spending: None,
                added: None,
                foreseen: None,
                targets: Vec::new(),
            },
            urgency: Urgency::Ok,
            names: Vec::new(),
            tags: Vec::new(),
            not_before: Some(at(0)),
            lifetime: Some(days * 86_400),
            renewal_at: Some(at(renewal)),
            emergency_at: None,
            days_left: None,
            share_left: None,
            failures: 0,
            failure: None,
            pushes: Vec::new(),
        }
    }

    fn drawn(one: &CertificateStatus, day: i64, width: usize, unicode: bool) -> Option<String> {
        let look = Look { width, unicode };
        let bar = bar(one, BEGIN + Seconds::days(day), look)?;
        Some(anstream::adapter::strip_str(&bar).to_string())
    }

    #[test]
    fn a_bar_shows_now_the_renewal_point_and_the_end() {
        let one = of(90, 60);
        let shown = |day| drawn(&one, day, 55, false);
        let line = "2026-01-01 ==========*---------R---------| 2026-04-01";
        assert_eq!(shown(30).as_deref(), Some(line));
        let late = "2026-01-01 ====================R=====*---| 2026-04-01";
        assert_eq!(shown(78).as_deref(), Some(late));
        let over = "2026-01-01 ====================R=========* 2026-04-01";
        assert_eq!(shown(400).as_deref(), Some(over));
        let early = "2026-01-01 *-------------------R---------| 2026-04-01";
        assert_eq!(shown(-400).as_deref(), Some(early));
        let unicode = "2026-01-01 ━━━━━━━━━━●─────────┼─────────┤ 2026-04-01";
        assert_eq!(drawn(&one, 30, 55, true).as_deref(), Some(unicode));
    }

    #[test]
    fn every_width_fits_or_shows_no_bar() {
        let one = of(6, 4);
        for width in 0..300 {
            match drawn(&one, 2, width, true) {
                None => assert!(width < DATES + NARROWEST, "{width}"),
                Some(bar) => assert!(bar.chars().count() + 2 <= width.min(WIDEST), "{width}"),
            }
        }
        assert_eq!(drawn(&of(0, 0), 0, 80, true), None);
    }
}
