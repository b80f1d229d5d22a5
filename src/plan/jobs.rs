//! When jobs run: the schedule, late by this host's share of the jitter, never twice within the floor.
//!
//! Only the beginning of the last run is needed. Whatever was missed meanwhile (the process was down, the machine
//! suspended, the clock set forward) is one run, at once; a last run that lies far ahead means that the clock was set back.

use std::collections::BTreeMap;

use crate::model::{
    AlertKey, HostSeed, JobName, JobPolicy, JobResult, JobRun, Policy, Seconds, Snapshot, Timestamp,
};
use crate::plan::{Plan, backoff, clock};

/// When the next run of a job begins; `now` or earlier means at once.
#[must_use]
pub fn next(
    name: JobName,
    job: &JobPolicy,
    last: Option<Timestamp>,
    host: HostSeed,
    now: Timestamp,
) -> Timestamp {
    let Some(last) = last else {
        return now;
    };
    // A small step back is how a clock is kept right, and repeats nothing.
    if last > now + clock::TOLERANCE {
        return now;
    }
    let late = lateness(name, job, host);
    // The run that belongs to a moment of the schedule begins so much later.
    let at = occurrence(job, last - late).map_or(last + FALLBACK, |moment| moment + late);
    at.max(last + job.floor)
}

/// The jobs that begin now, in their order. A clock in doubt begins no digest: that is named by its moment.
#[must_use]
pub fn due(policy: &Policy, snapshot: &Snapshot, now: Timestamp) -> Vec<JobName> {
    begun(policy, snapshot, now)
        .filter(|(_, at)| *at <= now)
        .map(|(name, _)| name)
        .collect()
}

/// When the next job begins, if there is any.
#[must_use]
pub fn next_of_all(policy: &Policy, snapshot: &Snapshot, now: Timestamp) -> Option<Timestamp> {
    begun(policy, snapshot, now).map(|(_, at)| at).min()
}

/// Those that are not held back. One that is due and neither run nor remembered would be due again at once, and so the
/// daemon would never sleep.
fn begun(
    policy: &Policy,
    snapshot: &Snapshot,
    now: Timestamp,
) -> impl Iterator<Item = (JobName, Timestamp)> {
    let doubted = clock::doubt(&snapshot.clock, now).is_some();
    schedule(policy, snapshot, now).filter(move |(name, _)| !doubted || *name != JobName::Digest)
}

/// Until when orders of renewals that are due are not opened; `None` for a run of `renew` that is due, and where the
/// policy has no such job.
#[must_use]
pub fn renewals_from(policy: &Policy, snapshot: &Snapshot, now: Timestamp) -> Option<Timestamp> {
    schedule(policy, snapshot, now)
        .find(|(name, at)| *name == JobName::Renew && *at > now)
        .map(|(_, at)| at)
}

/// Each job with the moment of its next run.
pub fn schedule(
    policy: &Policy,
    snapshot: &Snapshot,
    now: Timestamp,
) -> impl Iterator<Item = (JobName, Timestamp)> {
    policy.jobs.iter().map(move |(name, job)| {
        let last = last(&snapshot.jobs, *name);
        (*name, next(*name, job, last, snapshot.host, now))
    })
}

/// Since when nothing was done although the checks of some time were to be, if that is so: the process did not run, or
/// the machine was suspended. Not known where the last check was made by a clock that was not believed.
#[must_use]
pub fn down_since(policy: &Policy, snapshot: &Snapshot, now: Timestamp) -> Option<Timestamp> {
    let job = policy.jobs.get(&JobName::Check)?;
    let run = snapshot.jobs.get(&JobName::Check)?;
    if run.result == JobResult::Doubted {
        return None;
    }
    let since = run.started_at;
    let mut at = since;
    for _ in 0..CHECKS_MISSED {
        at = next(JobName::Check, job, Some(at), snapshot.host, at);
    }
    (at.max(since + SHORTEST_DOWNTIME) <= now).then_some(since)
}

/// Whether `plan` tells of a time in which nothing was done that the check which has run since has ended: it is over at
/// once, and not when the next check is due.
#[must_use]
pub fn is_back(plan: &Plan, policy: &Policy, snapshot: &Snapshot, now: Timestamp) -> bool {
    let told = AlertKey::new("agent-was-down", "host");
    plan.alerts.contains_key(&told) && down_since(policy, snapshot, now).is_none()
}

fn last(runs: &BTreeMap<JobName, JobRun>, name: JobName) -> Option<Timestamp> {
    runs.get(&name).map(|run| run.started_at)
}

fn lateness(name: JobName, job: &JobPolicy, host: HostSeed) -> Seconds {
    let spread = u64::try_from(job.jitter.0).unwrap_or(0).saturating_add(1);
    let share = backoff::hash(&[name.as_str(), &host.0.to_string()]) % spread;
    Seconds(i64::try_from(share).unwrap_or(0))
}

/// The first moment of the schedule after this one.
fn occurrence(job: &JobPolicy, after: Timestamp) -> Option<Timestamp> {
    let from = jiff::Timestamp::from_second(after.0).ok()?;
    let next = job
        .schedule
        .find_next_occurrence(&from.to_zoned(job.zone.clone()), false)
        .ok()?;
    let at = Timestamp(next.timestamp().as_second());
    // Never standing still, whatever the calendar of a zone makes of it.
    (at > after).then_some(at)
}

/// One may be late, and the next one wait for a tick that takes long.
const CHECKS_MISSED: u32 = 3;

/// A schedule may want a check every minute, and a machine may be restarted.
const SHORTEST_DOWNTIME: Seconds = Seconds::hours(2);

/// For a moment that no calendar has.
const FALLBACK: Seconds = Seconds::hours(24);

#[cfg(test)]
mod tests {
    use croner::parser::{CronParser, Seconds as WithSeconds};
    use jiff::tz::TimeZone;

    use super::*;

    const HOST: HostSeed = HostSeed(7);

    fn job(schedule: &str, zone: &str) -> JobPolicy {
        let parser = CronParser::builder().seconds(WithSeconds::Required).build();
        JobPolicy {
            schedule: parser.parse(schedule).unwrap(),
            zone: TimeZone::get(zone).unwrap(),
            jitter: Seconds(0),
            floor: Seconds(1),
        }
    }

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    /// The runs of `job` from one moment to another, each at its very moment.
    fn runs(job: &JobPolicy, from: &str, to: &str) -> Vec<String> {
        let mut last = at(from);
        let mut found = Vec::new();
        loop {
            let next = next(JobName::Check, job, Some(last), HOST, last);
            if next >= at(to) {
                return found;
            }
            found.push(next.to_string());
            last = next;
        }
    }

    #[test]
    fn a_job_that_never_ran_is_due_at_once() {
        let job = job("0 0 0 * * *", "UTC");
        let now = at("2027-03-01T12:00:00Z");
        assert_eq!(next(JobName::Check, &job, None, HOST, now), now);
    }

    #[test]
    fn what_was_missed_is_one_run_and_then_the_schedule_again() {
        let job = job("0 17 */6 * * *", "UTC");
        let last = at("2027-03-01T06:17:00Z");
        let next = |last, now: &str| next(JobName::Check, &job, Some(last), HOST, at(now));
        assert_eq!(
            next(last, "2027-03-01T06:17:01Z"),
            at("2027-03-01T12:17:00Z")
        );
        // Ninety days of suspend, or of a clock that was set forward.
        let woken = "2027-05-30T08:00:00Z";
        assert!(next(last, woken) <= at(woken));
        assert_eq!(next(at(woken), woken), at("2027-05-30T12:17:00Z"));
    }

    #[test]
    fn a_clock_that_was_set_back_does_not_hold_a_job_up() {
        let job = job("0 0 0 1 1 *", "UTC");
        let now = at("2027-03-01T00:00:00Z");
        let last = at("2027-05-30T00:00:00Z");
        assert_eq!(next(JobName::Renew, &job, Some(last), HOST, now), now);
    }

    #[test]
    fn a_small_step_back_of_the_clock_repeats_nothing() {
        let mut job = job("0 0 * * * *", "UTC");
        job.floor = Seconds::minutes(10);
        let last = at("2027-03-01T08:00:00Z");
        for back in [1, 300] {
            let next = next(
                JobName::Digest,
                &job,
                Some(last),
                HOST,
                last - Seconds(back),
            );
            assert_eq!(next, at("2027-03-01T09:00:00Z"), "{back} s");
        }
        // Every second, and the floor alone holds it.
        let mut job = self::job("* * * * * *", "UTC");
        job.floor = Seconds::minutes(10);
        let next = next(JobName::Check, &job, Some(last), HOST, last - Seconds(300));
        assert_eq!(next, last + job.floor);
    }

    #[test]
    fn the_floor_is_kept_by_a_schedule_that_would_run_without_end() {
        let mut job = job("* * * * * *", "UTC");
        job.floor = Seconds::minutes(1);
        let now = at("2027-03-01T00:00:00Z");
        assert_eq!(
            next(JobName::Check, &job, Some(now), HOST, now),
            now + Seconds(60)
        );
    }

    #[test]
    fn jitter_is_stable_on_a_host_and_spreads_a_fleet() {
        let mut job = job("0 0 * * * *", "UTC");
        job.jitter = Seconds::minutes(10);
        let last = at("2027-03-01T00:30:00Z");
        let hour = at("2027-03-01T01:00:00Z");
        let mut seen = std::collections::BTreeSet::new();
        for host in 0..200 {
            let moment = next(JobName::Check, &job, Some(last), HostSeed(host), last);
            assert_eq!(
                moment,
                next(JobName::Check, &job, Some(last), HostSeed(host), last)
            );
            assert!(moment >= hour && moment <= hour + Seconds(600), "{moment}");
            // One run an hour, not two around the full hour.
            let after = next(JobName::Check, &job, Some(moment), HostSeed(host), moment);
            assert_eq!(moment.until(after), Seconds::hours(1));
            seen.insert(moment);
        }
        assert!(seen.len() > 100, "{}", seen.len());
        let other = next(JobName::Renew, &job, Some(last), HOST, last);
        assert_ne!(other, next(JobName::Check, &job, Some(last), HOST, last));
    }

    #[test]
    fn a_run_by_hand_does_not_move_the_schedule() {
        let mut job = job("0 0 * * * *", "UTC");
        job.jitter = Seconds::minutes(30);
        let late = lateness(JobName::Check, &job, HOST);
        assert!(late > Seconds(0));
        // After the full hour and before this host's moment.
        let by_hand = at("2027-03-01T01:00:00Z") + Seconds(late.0 - 1);
        let moment = next(JobName::Check, &job, Some(by_hand), HOST, by_hand);
        assert_eq!(moment, at("2027-03-01T01:00:00Z") + late);
    }

    #[test]
    fn a_night_that_has_one_hour_less_or_more_has_one_run_all_the_same() {
        let job = job("0 30 2 * * *", "Europe/Berlin");
        // 02:30 does not exist on 28 March 2027, and exists twice on 31 October.
        assert_eq!(
            runs(&job, "2027-03-26T12:00:00Z", "2027-03-30T12:00:00Z"),
            [
                "2027-03-27T01:30:00Z",
                "2027-03-28T01:00:00Z",
                "2027-03-29T00:30:00Z",
                "2027-03-30T00:30:00Z",
            ]
        );
        assert_eq!(
            runs(&job, "2027-10-30T12:00:00Z", "2027-11-02T00:00:00Z"),
            ["2027-10-31T00:30:00Z", "2027-11-01T01:30:00Z"]
        );
    }

    #[test]
    fn an_hourly_job_runs_every_hour_through_a_change_of_the_clocks() {
        let job = job("0 0 * * * *", "Europe/Berlin");
        for day in ["2027-03-28", "2027-10-31"] {
            let (from, to) = (format!("{day}T00:00:00Z"), format!("{day}T06:00:00Z"));
            assert_eq!(runs(&job, &from, &to).len(), 5, "{day}");
        }
    }

    #[test]
    fn a_downtime_is_over_with_the_next_check_and_unknown_after_one_by_a_doubted_clock() {
        let now = at("2027-03-01T09:30:00Z");
        let mut policy = crate::plan::testing::policy();
        policy.jobs = [(JobName::Check, job("0 0 * * * *", "UTC"))].into();
        let mut snapshot = Snapshot::default();
        let mut check = |started_at, result| {
            let run = JobRun {
                started_at,
                took_ms: 5,
                result,
                message: String::new(),
            };
            snapshot.jobs.insert(JobName::Check, run);
            let plan = crate::plan::plan(&policy, &snapshot, now);
            let down = down_since(&policy, &snapshot, now);
            (down, is_back(&plan, &policy, &snapshot, now), plan)
        };
        let long_ago = now - Seconds::days(90);
        let (down, back, told) = check(long_ago, JobResult::Done);
        assert_eq!((down, back), (Some(long_ago), false));
        let (down, back, _) = check(now, JobResult::Done);
        assert_eq!((down, back), (None, false));
        assert_eq!(check(long_ago, JobResult::Doubted).0, None);
        // What was told before the check that ended it.
        check(now, JobResult::Done);
        assert!(is_back(&told, &policy, &snapshot, now));
    }

    #[test]
    fn a_digest_waits_for_a_clock_that_is_believed_and_keeps_nobody_awake_meanwhile() {
        let now = at("2027-03-01T00:30:00Z");
        let mut policy = crate::plan::testing::policy();
        policy.jobs.clear();
        for name in [JobName::Check, JobName::Digest] {
            policy.jobs.insert(name, job("0 0 * * * *", "UTC"));
        }
        let mut snapshot = Snapshot::default();
        let run = JobRun {
            started_at: now,
            took_ms: 5,
            result: JobResult::Done,
            message: String::new(),
        };
        snapshot.jobs.insert(JobName::Check, run);
        assert_eq!(due(&policy, &snapshot, now), [JobName::Digest]);
        assert_eq!(next_of_all(&policy, &snapshot, now), Some(now));
        // The clock stands before the date of the build.
        snapshot.clock.built_at = now + Seconds::days(1);
        assert_eq!(due(&policy, &snapshot, now), []);
        let hour = at("2027-03-01T01:00:00Z");
        assert_eq!(next_of_all(&policy, &snapshot, now), Some(hour));
    }

    #[test]
    fn renewals_wait_for_their_job_where_there_is_one() {
        let now = at("2027-03-01T00:30:00Z");
        let mut policy = crate::plan::testing::policy();
        let mut snapshot = Snapshot::default();
        assert_eq!(renewals_from(&policy, &snapshot, now), None);
        policy
            .jobs
            .insert(JobName::Renew, job("0 0 * * * *", "UTC"));
        assert_eq!(renewals_from(&policy, &snapshot, now), None, "it never ran");
        assert_eq!(due(&policy, &snapshot, now), [JobName::Renew]);
        let run = JobRun {
            started_at: now,
            took_ms: 5,
            result: JobResult::Done,
            message: String::new(),
        };
        snapshot.jobs.insert(JobName::Renew, run);
        let hour = at("2027-03-01T01:00:00Z");
        assert_eq!(renewals_from(&policy, &snapshot, now), Some(hour));
        assert_eq!(next_of_all(&policy, &snapshot, now), Some(hour));
        assert_eq!(renewals_from(&policy, &snapshot, hour), None);
        assert_eq!(due(&policy, &snapshot, now), []);
    }
}
