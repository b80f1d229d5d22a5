//! What becomes ready for one target within the batch window goes in together, and nothing waits longer than that.

use proptest::prelude::*;
use renewd::model::{CertificateId, Seconds};

use super::script::obey;
use super::world::World;

fn id(of: usize) -> CertificateId {
    CertificateId::new(&format!("c{of}")).unwrap()
}

fn rollouts(world: &World) -> usize {
    let lines = world.log.lines.iter();
    lines
        .filter(|line| line.contains("open-rollout web"))
        .count()
}

/// Whether the newest revision is served.
fn is_live(world: &World, of: usize) -> bool {
    let newest = world.snapshot.certificates[&id(of)].newest.as_ref();
    world.services["web"].served.get(&id(of)) == newest.map(|newest| &newest.id)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(48) })]

    /// All are asked for at the same time; for each, how often the issuer is looked at in vain, once a minute.
    #[test]
    fn the_first_waits_for_the_others_and_ten_minutes_at_most(
        mut minutes in prop::collection::vec(0_u32..20, 2..8),
    ) {
        // The slowest is asked first, so that nobody is ready while nobody else was asked.
        minutes.sort_unstable_by(|a, b| b.cmp(a));
        minutes[0] = minutes[0].max(1);
        let mut world = World::new();
        obey(&mut world, "now 2030-01-01");
        for of in 0..minutes.len() {
            obey(&mut world, &format!("policy c{of}: targets=web"));
        }
        obey(&mut world, "run");
        let (begin, before) = (world.now, rollouts(&world));
        prop_assert_eq!(before, 1);
        for (of, looks) in minutes.iter().enumerate() {
            obey(&mut world, &format!("pending {looks}"));
            obey(&mut world, &format!("policy c{of}: targets=web names=c{of}.example,more.example"));
            obey(&mut world, "run");
            prop_assert_eq!(world.now, begin);
        }
        let first = minutes.len() - 1;
        let patience = Seconds::minutes(i64::from(minutes[first]) + 11);
        world.run(begin + patience);
        prop_assert!(is_live(&world, first), "{}", world.log.lines.join("\n"));
        world.run(begin + Seconds::hours(1));
        prop_assert!((0..minutes.len()).all(|of| is_live(&world, of)));
        let most = if minutes[0] < 9 { 1 } else { minutes.len() };
        prop_assert!(rollouts(&world) - before <= most, "{}", world.log.lines.join("\n"));
    }
}

#[test]
fn those_due_a_few_minutes_apart_are_renewed_with_one_reload() {
    let mut world = World::new();
    obey(&mut world, "now 2030-01-01");
    // With this lifetime renewals are spread over six minutes.
    for of in 0..5 {
        obey(
            &mut world,
            &format!("policy c{of}: targets=web validity=2h"),
        );
    }
    obey(&mut world, "run for 82m");
    let opened = world.log.lines.iter();
    let opened: Vec<&String> = opened
        .filter(|line| line.contains("open-rollout"))
        .collect();
    assert_eq!(opened.len(), 2, "{:#?}", world.log.lines);
    for line in opened {
        assert_eq!(line.matches("not-deployed").count(), 5, "{line}");
    }
}

#[test]
fn what_replaces_one_that_ends_soon_waits_for_nobody() {
    let mut world = World::new();
    obey(&mut world, "now 2030-01-01");
    obey(&mut world, "policy soon: targets=web validity=30m");
    obey(&mut world, "policy slow: targets=web");
    obey(&mut world, "run");
    obey(&mut world, "advance 15m");
    obey(&mut world, "pending 9");
    obey(
        &mut world,
        "policy slow: targets=web names=slow.example,more.example",
    );
    obey(&mut world, "run");
    obey(&mut world, "pending 0");
    let served = world.services["web"].served.clone();
    obey(&mut world, "run for 6m");
    let now = &world.services["web"].served;
    assert_eq!(now["slow"], served["slow"], "the issuer is still at work");
    assert_ne!(now["soon"], served["soon"]);
}
