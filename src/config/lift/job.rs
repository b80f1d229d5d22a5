//! Jobs: when what is done by the calendar is done.

use std::collections::BTreeMap;

use croner::Cron;
use jiff::tz::TimeZone;

use crate::config::code::Code;
use crate::config::fields::Fields;
use crate::config::lift::Lift;
use crate::config::raw;
use crate::config::scalar;
use crate::model::{JobName, JobPolicy, Seconds};

impl Lift<'_> {
    /// Every job, with its defaults where nothing is written.
    pub(super) fn jobs(&mut self, top: &Fields<'_>) -> BTreeMap<JobName, JobPolicy> {
        let written = top.table("job", &raw::JOB);
        let mut jobs = BTreeMap::new();
        for name in JobName::ALL {
            let (schema, schedule) = match name {
                JobName::Check => (&raw::CHECK, raw::CHECK_SCHEDULE),
                JobName::Renew => (&raw::RENEW, raw::RENEW_SCHEDULE),
            };
            let fields = written.and_then(|table| table.table(name.as_str(), schema));
            if let Some(job) = self.job(fields.as_ref(), schedule) {
                jobs.insert(name, job);
            }
        }
        jobs
    }

    fn job(&mut self, fields: Option<&Fields<'_>>, schedule: &str) -> Option<JobPolicy> {
        let Some(fields) = fields else {
            return Some(JobPolicy {
                schedule: scalar::schedule(schedule).ok()?,
                zone: TimeZone::UTC,
                jitter: JITTER,
                floor: FLOOR,
            });
        };
        let schedule = self.schedule(fields, schedule);
        let zone = self.zone(fields);
        let jitter = self.duration(fields, "jitter", JITTER, (Seconds(0), Seconds::hours(24)));
        let floor = self.duration(fields, "floor", FLOOR, (Seconds(1), Seconds::hours(24)));
        Some(JobPolicy {
            schedule: schedule?,
            zone: zone?,
            jitter: jitter?,
            floor: floor?,
        })
    }

    fn schedule(&mut self, fields: &Fields<'_>, default: &str) -> Option<Cron> {
        let Some((text, place)) = fields.text("schedule") else {
            return scalar::schedule(default).ok();
        };
        let schedule = scalar::schedule(text);
        schedule
            .map_err(|refusal| {
                let what = "`schedule`";
                self.problems.refuse(Code::Schedule, place, what, refusal);
            })
            .ok()
    }

    fn zone(&mut self, fields: &Fields<'_>) -> Option<TimeZone> {
        let Some((text, place)) = fields.text("time_zone") else {
            return Some(TimeZone::UTC);
        };
        let zone = scalar::zone(text);
        zone.map_err(|refusal| {
            let what = "`time_zone`";
            self.problems.refuse(Code::Schedule, place, what, refusal);
        })
        .ok()
    }
}

/// Of the schedules' defaults: a fleet that was set up by one script does not call at one moment.
const JITTER: Seconds = Seconds::minutes(10);

/// Nobody wants a look at every file more often.
const FLOOR: Seconds = Seconds::minutes(1);
