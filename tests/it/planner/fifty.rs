//! Fifty public certificates through the years of short lifetimes: no gap, and no purchase that was not needed.

use renewd::model::{Seconds, Timestamp};
use renewd::plan::explain;
use renewd::plan::{Verdict, plan};

use super::script::obey;
use super::world::World;

const DAY: Seconds = Seconds::days(1);

fn fifty(renew: &str) -> World {
    let mut world = World::new();
    obey(&mut world, "now 2028-12-20");
    let prod = "issuer prod: kind=scm purchase=DV_SSL_CERT day=50 month=500";
    obey(&mut world, prod);
    for number in 0..50 {
        obey(
            &mut world,
            &format!("policy c{number:02}: issuer=prod renew_at={renew}"),
        );
    }
    obey(&mut world, "scm-lifetime 100d");
    world
}

/// The shortest rest of a validity that was seen, in days.
fn live(world: &mut World, days: i64) -> i64 {
    let mut shortest = i64::MAX;
    for _ in 0..days {
        let end = world.now + DAY;
        let _ = world.run(end);
        world.now = world.now.max(end);
        world.log.lines.clear();
        for (id, state) in &world.snapshot.certificates {
            let newest = state.newest.as_ref().unwrap();
            let left = world.now.until(newest.facts.not_after).0 / DAY.0;
            assert!(left > 0, "{id} is over at {}", world.now);
            shortest = shortest.min(left);
        }
    }
    shortest
}

#[test]
fn fifty_certificates_pass_into_lifetimes_of_47_days_without_a_gap() {
    for (renew, least) in [("1/3", 12), ("10", 7)] {
        let mut world = fifty(renew);
        // A year that was paid for has so many certificates.
        world.scm.more = 8;
        let _ = live(&mut world, 85);
        // CA/Browser Forum, ballot SC-081v3: from 2029-03-15 on.
        obey(&mut world, "scm-lifetime 47d");
        let _ = live(&mut world, 11);
        let now = world.now;
        // `renewd plan --at 2029-04-01`, from what the journal has today.
        let at = Timestamp::parse("2029-04-01T00:00:00Z").unwrap();
        assert!(now < at, "{now}");
        let ahead = plan(&world.policy, &world.snapshot, at);
        for (id, verdict) in &ahead.verdicts {
            let newest = world.snapshot.certificates[id].newest.as_ref().unwrap();
            match verdict {
                Verdict::Healthy { renew_at } => {
                    assert!(*renew_at < newest.facts.not_after, "{id}")
                }
                Verdict::Act(reason) => assert_eq!(reason.code(), "renewal-due", "{id}"),
                Verdict::Wait(waiting) => panic!("{id}: {waiting}"),
                Verdict::Blocked(blocked) => panic!("{id}: {blocked}"),
            }
            assert!(newest.facts.not_after > at, "{id}: a gap");
        }
        assert_eq!(ahead.alerts.len(), 0, "{:?}", ahead.alerts);
        let text = explain::text(&world.policy, &world.snapshot, &ahead, at);
        assert!(!text.contains("expired"), "{text}");
        let shortest = live(&mut world, 200);
        assert!(shortest >= least, "{renew}: {shortest} days were left");
        assert_eq!(world.scm.bought, 50, "a year of each was bought once");
    }
}
