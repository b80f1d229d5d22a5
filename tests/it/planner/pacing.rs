//! Windows and budgets over random weeks, against a calendar of the test's own.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use proptest::prelude::*;

use renewd::model::{
    CertificateId, Look, MaintenanceWindow, Reason, RolloutId, RolloutPhase, RolloutStep, Seconds,
    TargetId, Timestamp,
};
use renewd::plan::Action;

use super::properties::config;
use super::script::obey;
use super::world::World;

proptest! {
    #![proptest_config(config())]

    /// No routine rollout begins while the windows are closed, none goes over the budget, and whatever is due is there
    /// once a window was open.
    #[test]
    fn services_are_disturbed_when_and_as_often_as_they_may_be(
        windows in windows(),
        reloads in 1..4_u32,
        commands in prop::collection::vec(command(), 1..40),
    ) {
        let mut week = Week::new(&windows, reloads);
        for line in &commands {
            week.obey(line);
        }
        for line in ["mend", "uncrash", "lifetime asked", "target t1: rev=99", "target t2: rev=99"] {
            week.obey(line);
        }
        let since = week.world.now;
        // A window a week, and what a budget of one puts off.
        week.go(since + Seconds::days(8));
        prop_assert!(week.world.services.len() == 2);
        let world = &week.world;
        for certificate in world.policy.certificates.values() {
            let known = &world.snapshot.certificates[&certificate.id];
            let newest = known.newest.as_ref().unwrap();
            for target in &certificate.targets {
                let served = world.services[target].served.get(&certificate.id);
                prop_assert!(
                    served == Some(&newest.id) || newest.issued_at > since,
                    "{} on {target}\n{}", certificate.id, world.log.lines.join("\n")
                );
            }
        }
    }
}

/// A world in which each step of a rollout is looked at.
struct Week {
    world: World,
    pacing: String,
    reloads: BTreeMap<TargetId, Vec<Timestamp>>,
}

impl Week {
    fn new(windows: &str, reloads: u32) -> Self {
        let mut week = Self {
            world: World::new(),
            pacing: format!("windows={windows} reloads={reloads}"),
            reloads: BTreeMap::new(),
        };
        for line in [
            "now 2030-01-01",
            "target t1: rev=1",
            "target t2: rev=1",
            "policy a: targets=t1",
            "policy b: targets=t1,t2 validity=20d",
            "policy c: targets=t2 validity=3d",
        ] {
            week.obey(line);
        }
        week
    }

    fn obey(&mut self, line: &str) {
        let certificates = &self.world.snapshot.certificates;
        let targets = &self.world.snapshot.targets;
        let mut words = line.split_whitespace();
        match (words.next().unwrap(), words.next()) {
            ("target", _) => obey(&mut self.world, &format!("{line} {}", self.pacing)),
            ("run", _) => {
                let hours = words.next().unwrap().trim_end_matches('h');
                let hours: i64 = hours.parse().unwrap();
                self.go(self.world.now + Seconds::hours(hours));
            }
            ("force", Some(id)) if !certificates.contains_key(id) => {}
            ("drift", Some(id)) if targets.get(id).is_none_or(|t| t.generation.is_none()) => {}
            _ => obey(&mut self.world, line),
        }
    }

    fn go(&mut self, deadline: Timestamp) {
        for _ in 0..ROUNDS {
            let plan = self.world.plan();
            if plan.actions.is_empty() {
                if plan.next_wake > deadline {
                    return;
                }
                self.world.now = plan.next_wake;
                continue;
            }
            for action in plan.actions {
                self.execute(action);
            }
        }
        panic!("it does not end:\n{}", self.world.log.lines.join("\n"));
    }

    fn execute(&mut self, action: Action) {
        match action {
            Action::OpenRollout {
                ref target,
                ref reasons,
                ..
            } => self.may_begin(target, reasons),
            Action::AdvanceRollout {
                ref rollout,
                step: RolloutStep::Commit,
            } => {
                let rollout = &self.world.snapshot.rollouts[rollout];
                // What was begun and killed half-way is brought to its end.
                if rollout.started.is_none() {
                    self.may_begin(&rollout.target, &rollout.reasons);
                }
            }
            Action::AdvanceRollout {
                ref rollout,
                step: RolloutStep::Reload,
            } => {
                let id = rollout.clone();
                self.world.execute(action);
                return self.reloaded(&id);
            }
            _ => {}
        }
        self.world.execute(action);
    }

    #[track_caller]
    fn may_begin(&self, target: &TargetId, reasons: &BTreeMap<CertificateId, Reason>) {
        let now = self.world.now;
        let pacing = &self.world.policy.targets[target].pacing;
        let open = pacing.windows.is_empty() || is_open(&pacing.windows, now);
        let budget = usize::try_from(pacing.reloads_per_hour.unwrap()).unwrap();
        let room = self.recent(target) < budget;
        assert!(
            (open && room) || self.is_pressing(target, reasons),
            "{target} at {now}, open: {open}, room: {room}, {reasons:?}\n{}",
            self.world.log.lines.join("\n")
        );
    }

    fn reloaded(&mut self, id: &RolloutId) {
        let Some(rollout) = self.world.snapshot.rollouts.get(id).cloned() else {
            return;
        };
        let (RolloutPhase::Reloaded
        | RolloutPhase::AwaitingService {
            look: Look::Reloaded,
            ..
        }) = &rollout.phase
        else {
            return;
        };
        let all = self.reloads.entry(rollout.target.clone()).or_default();
        all.push(self.world.now);
        let pacing = &self.world.policy.targets[&rollout.target].pacing;
        let budget = usize::try_from(pacing.reloads_per_hour.unwrap()).unwrap();
        assert!(
            self.recent(&rollout.target) <= budget
                || self.is_pressing(&rollout.target, &rollout.reasons),
            "{} at {}\n{}",
            rollout.target,
            self.world.now,
            self.world.log.lines.join("\n")
        );
        let kept = &self.world.snapshot.targets[&rollout.target].reloads;
        assert!(
            kept.iter()
                .all(|at| at.until(self.world.now) < Seconds::hours(1))
        );
    }

    fn recent(&self, target: &TargetId) -> usize {
        let reloads = self.reloads.get(target).into_iter().flatten();
        let hour = Seconds::hours(1);
        reloads.filter(|at| at.until(self.world.now) < hour).count()
    }

    fn is_pressing(&self, target: &TargetId, reasons: &BTreeMap<CertificateId, Reason>) -> bool {
        let now = self.world.now;
        let Some(state) = self.world.snapshot.targets.get(target) else {
            return true;
        };
        if state.live.is_empty() || state.never_served {
            return true;
        }
        let windows = &self.world.policy.targets[target].pacing.windows;
        let soon = next_opening(windows, now).max(now + Seconds::hours(1));
        reasons.iter().any(|(id, reason)| {
            let certificate = &self.world.snapshot.certificates[id];
            let fulfilled = certificate.fulfilled.as_ref();
            let forced = fulfilled.is_some_and(|last| last.reason == "forced");
            if *reason == Reason::NotDeployed && forced {
                return true;
            }
            let Some(live) = state.live.get(id) else {
                return false;
            };
            let Some(not_after) = certificate.not_after(live) else {
                return true;
            };
            let lifetime = certificate.newest.as_ref().unwrap().facts.lifetime();
            not_after <= soon || not_after - Seconds(lifetime.0 / 10) <= now
        })
    }
}

/// By the calendar: on a day that it opens on, or on the night after.
fn is_open(windows: &[MaintenanceWindow], now: Timestamp) -> bool {
    let zoned = jiff::Timestamp::from_second(now.0).unwrap();
    let zoned = zoned.to_zoned(TimeZone::UTC);
    windows.iter().any(|window| {
        [zoned.clone(), zoned.yesterday().unwrap()]
            .iter()
            .any(|day| {
                let weekday = usize::try_from(day.weekday().to_monday_zero_offset()).unwrap();
                let midnight = day.start_of_day().unwrap().timestamp().as_second();
                let into = now.0 - midnight - window.from.0;
                window.days[weekday] && (0..window.length.0).contains(&into)
            })
    })
}

/// Windows of these tests open on the hour.
fn next_opening(windows: &[MaintenanceWindow], now: Timestamp) -> Timestamp {
    let hour = 3600;
    let first = now.0.div_euclid(hour) + 1;
    let mut hours = (first..first + 8 * 24).map(|at| Timestamp(at * hour));
    hours.find(|at| is_open(windows, *at)).unwrap_or(now)
}

fn windows() -> impl Strategy<Value = String> {
    let one = (0..7_u32, 0..24_u32, 1..=24_u32);
    let one = one.prop_map(|(day, from, length)| format!("{day}:{from}h+{length}h"));
    prop::collection::vec(one, 0..3).prop_map(|windows| windows.join(","))
}

fn command() -> impl Strategy<Value = String> {
    let target = || prop::sample::select(vec!["t1", "t2"]);
    let certificate = prop::sample::select(vec!["a", "b", "c"]);
    let step = prop::sample::select(vec!["stage", "commit", "test", "reload", "verify"]);
    let when = prop::sample::select(vec!["before", "after"]);
    let service = prop::sample::select(vec!["up", "down"]);
    prop_oneof![
        6 => (1..72_u32).prop_map(|hours| format!("run for {hours}h")),
        2 => (1..500_u32).prop_map(|hours| format!("advance {hours}h")),
        4 => target().prop_map(|target| format!("drift {target} file-missing - a file is gone")),
        2 => (target(), 1..4_u32).prop_map(|(target, rev)| format!("target {target}: rev={rev}")),
        1 => certificate.prop_map(|id| format!("force {id}")),
        2 => (step.clone(), target(), 1..4_u32, service).prop_map(|(step, target, times, service)| {
            format!("fail {step} {target} times={times} class=transient again=yes service={service}")
        }),
        2 => (step, target(), when).prop_map(|(step, target, when)| format!("crash {step} {target} {when}")),
        1 => (1..40_u32).prop_map(|days| format!("lifetime {days}d")),
    ]
}

const ROUNDS: usize = 5000;
