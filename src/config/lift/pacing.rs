//! When a target may be disturbed.

use crate::config::code::Code;
use crate::config::diagnostic::Diagnostic;
use crate::config::fields::Fields;
use crate::config::lift::Lift;
use crate::config::lift::value::Reported;
use crate::config::scalar;
use crate::model::{MaintenanceWindow, Pacing};

impl Lift<'_> {
    /// Windows and budget of a target with a service; `told` says whether that is told of new files at all.
    pub(super) fn pacing(&mut self, fields: &Fields<'_>, told: bool) -> Result<Pacing, Reported> {
        let windows = self.windows(fields);
        let reloads_per_hour = self.reloads_per_hour(fields);
        if let (false, Some(entry)) = (told, fields.entry("reloads_per_hour")) {
            let message = "`reloads_per_hour` has no effect";
            let label = "this target reloads nothing";
            self.problems.push(Diagnostic::warning(
                Code::NoEffect,
                entry.key,
                message,
                label,
            ));
        }
        Ok(Pacing {
            windows: windows?,
            reloads_per_hour: Some(reloads_per_hour?).filter(|_| told),
        })
    }

    fn windows(&mut self, fields: &Fields<'_>) -> Result<Vec<MaintenanceWindow>, Reported> {
        if !fields.has("windows") {
            return Ok(Vec::new());
        }
        let list = fields.list("windows").ok_or(Reported)?;
        if list.texts.is_empty() && list.whole {
            let message = "`windows` is empty";
            let problem = Diagnostic::error(Code::Pacing, list.place, message, "never opens");
            self.problems
                .push(problem.help("leave it out: without it every moment will do"));
            return Err(Reported);
        }
        let mut windows = Vec::with_capacity(list.texts.len());
        let mut good = list.whole;
        for (text, place) in list.texts {
            match scalar::window(text) {
                Ok(window) => windows.push(window),
                Err(refusal) => {
                    let what = format!("the window `{}`", text.escape_debug());
                    self.problems.refuse(Code::Pacing, place, &what, refusal);
                    good = false;
                }
            }
        }
        good.then_some(windows).ok_or(Reported)
    }

    fn reloads_per_hour(&mut self, fields: &Fields<'_>) -> Result<u32, Reported> {
        let Some((count, place)) = fields.count("reloads_per_hour") else {
            return if fields.has("reloads_per_hour") {
                Err(Reported)
            } else {
                Ok(RELOADS_PER_HOUR)
            };
        };
        let reloads = u32::try_from(count).ok();
        reloads
            .filter(|count| LIMITS.contains(count))
            .ok_or_else(|| {
                let message = "`reloads_per_hour` is out of range";
                let label = format!("from {} to {}", LIMITS.start(), LIMITS.end());
                self.problems
                    .push(Diagnostic::error(Code::Pacing, place, message, label));
                Reported
            })
    }
}

/// One in five minutes: more than renewals need, and an end to what files that somebody else keeps changing would do.
const RELOADS_PER_HOUR: u32 = 12;

/// With none there would be no renewal at all; a thousand is as good as no budget.
const LIMITS: std::ops::RangeInclusive<u32> = 1..=1000;
