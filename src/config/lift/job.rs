//! Jobs: when what is done by the calendar is done.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;

use crate::config::code::Code;
use crate::config::fields::Fields;
use crate::config::lift::Lift;
use crate::config::raw;
use crate::config::scalar::{self, Refusal};
use crate::config::source::Place;
use crate::model::{JobName, JobPolicy, Seconds};

impl Lift<'_> {
    /// Every job, with its defaults where nothing is written. `watches` says whether anything is watched.
    pub(super) fn jobs(&mut self, top: &Fields<'_>, watches: bool) -> BTreeMap<JobName, JobPolicy> {
        let written = top.table("job", &raw::JOB);
        let mut jobs = BTreeMap::new();
        for name in JobName::ALL {
            let (schema, schedule) = match name {
                JobName::Check => (&raw::CHECK, raw::CHECK_SCHEDULE),
                JobName::Renew => (&raw::RENEW, raw::RENEW_SCHEDULE),
                JobName::Watch => (&raw::WATCHING, raw::WATCH_SCHEDULE),
                JobName::Digest => (&raw::DIGEST, raw::DIGEST_SCHEDULE),
            };
            let fields = written.and_then(|table| table.table(name.as_str(), schema));
            // Where nothing is watched, nobody is woken for it; a digest is for who asks for it.
            let unwanted = match name {
                JobName::Check | JobName::Renew => false,
                JobName::Watch => !watches,
                JobName::Digest => true,
            };
            if fields.is_none() && unwanted {
                continue;
            }
            if let Some(job) = self.job(fields.as_ref(), top.header, schedule) {
                jobs.insert(name, job);
            }
        }
        jobs
    }

    /// `top` is where a fault of a default is told, which nobody wrote.
    fn job(&mut self, fields: Option<&Fields<'_>>, top: Place, default: &str) -> Option<JobPolicy> {
        let written = fields.and_then(|fields| fields.text("schedule"));
        let (schedule, place) = written.unwrap_or((default, top));
        let schedule = self.taken(scalar::schedule(schedule), "`schedule`", place);
        let zone = match fields.and_then(|fields| fields.text("time_zone")) {
            Some((zone, place)) => self.taken(scalar::zone(zone), "`time_zone`", place),
            None => Some(TimeZone::UTC),
        };
        let mut length = |key, default, limits| match fields {
            Some(fields) => self.duration(fields, key, default, limits),
            None => Some(default),
        };
        let jitter = length("jitter", JITTER, (Seconds(0), Seconds::hours(24)));
        let floor = length("floor", FLOOR, (Seconds(1), Seconds::hours(24)));
        Some(JobPolicy {
            schedule: schedule?,
            zone: zone?,
            jitter: jitter?,
            floor: floor?,
        })
    }

    fn taken<T>(&mut self, read: Result<T, Refusal>, what: &str, place: Place) -> Option<T> {
        match read {
            Ok(value) => Some(value),
            Err(refusal) => {
                self.problems.refuse(Code::Schedule, place, what, refusal);
                None
            }
        }
    }
}

/// Of the schedules' defaults: a fleet that was set up by one script does not call at one moment.
const JITTER: Seconds = Seconds::minutes(10);

/// Nobody wants a look at every file more often.
const FLOOR: Seconds = Seconds::minutes(1);
