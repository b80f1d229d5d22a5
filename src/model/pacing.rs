//! When a service may be disturbed: maintenance windows, and a budget of reloads.

use std::fmt;

use crate::model::Seconds;

/// When a target's routine rollouts may begin, and how many. What cannot wait passes both.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pacing {
    /// Any of these; none at all is always.
    pub windows: Vec<MaintenanceWindow>,
    /// Reloads in any hour, at least 1; `None` for as many as there are reasons.
    pub reloads_per_hour: Option<u32>,
}

/// A span that comes back every week, in UTC: no day of it is skipped or had twice when clocks are moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MaintenanceWindow {
    /// The days on which it opens, from Monday.
    pub days: [bool; 7],
    /// When it opens, from midnight, less than a day.
    pub from: Seconds,
    /// How long it is open, more than nothing and at most a day; it may reach into the next day.
    pub length: Seconds,
}

impl MaintenanceWindow {
    /// The days as the policy writes them, from Monday.
    pub const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
}

impl fmt::Display for MaintenanceWindow {
    /// As the policy writes it, such as `Mon-Fri 22:00-04:00`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let on = |day: usize| self.days.get(day) == Some(&true);
        let mut comma = "";
        let mut day = 0;
        while day < Self::DAYS.len() {
            let last = (day..).take_while(|day| on(*day)).last();
            if let Some(last) = last {
                write!(f, "{comma}{}", Self::DAYS[day])?;
                if last > day {
                    write!(f, "-{}", Self::DAYS[last])?;
                }
                comma = ",";
                day = last;
            }
            day += 1;
        }
        let time = |at: i64| format!("{:02}:{:02}", at / 3600, at / 60 % 60);
        let until = self.from.0 + self.length.0;
        let until = if until > DAY { until - DAY } else { until };
        write!(f, " {}-{}", time(self.from.0), time(until))
    }
}

const DAY: i64 = 86_400;
