//! One bad certificate among many does not hold back the rest, whichever step finds it and how many there are.

use std::collections::BTreeMap;

use proptest::prelude::*;
use renewd::model::{Blocked, CertificateId, RevisionId};
use renewd::plan::Verdict;

use super::script::obey;
use super::world::World;

pub(crate) fn id(of: usize) -> CertificateId {
    CertificateId::new(&format!("c{of}")).unwrap()
}

pub(crate) fn live(world: &World) -> BTreeMap<CertificateId, RevisionId> {
    world.snapshot.targets["web"].live.clone()
}

pub(crate) fn rollouts(world: &World) -> usize {
    let lines = world.log.lines.iter();
    lines
        .filter(|line| line.contains("open-rollout web"))
        .count()
}

/// All are live, and a new revision of each is wanted.
pub(crate) fn all_due(members: usize) -> World {
    let mut world = World::new();
    obey(&mut world, "now 2030-01-01");
    for member in 0..members {
        obey(&mut world, &format!("policy c{member}: targets=web"));
    }
    obey(&mut world, "run");
    assert_eq!(live(&world).len(), members);
    for member in 0..members {
        obey(&mut world, &format!("force c{member}"));
    }
    world
}

pub(crate) fn newest(world: &World, of: usize) -> &RevisionId {
    let newest = world.snapshot.certificates[&id(of)].newest.as_ref();
    &newest.unwrap().id
}

/// Failed too often, and tried again within a day.
pub(crate) fn is_blocked(verdict: &Verdict, step: &str) -> bool {
    matches!(verdict, Verdict::Blocked(Blocked::RolloutFailed { failures, message, .. })
        if *failures >= 5 && *message == format!("{step}: it does not work"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_rest_goes_at_once_and_the_bad_one_is_blocked_alone(
        members in 2_usize..8,
        bad in any::<prop::sample::Index>(),
        step in prop::sample::select(vec!["stage", "test", "verify"]),
    ) {
        let bad = bad.index(members);
        let mut world = all_due(members);
        let (before, old) = (rollouts(&world), live(&world));
        obey(&mut world, &format!("fail {step} web times=always named=c{bad}"));
        obey(&mut world, "run");
        for member in 0..members {
            let served = &world.services["web"].served[&id(member)];
            let wanted = if member == bad { &old[&id(bad)] } else { newest(&world, member) };
            prop_assert_eq!(served, wanted);
        }
        // One that failed, and one without the culprit.
        prop_assert_eq!(rollouts(&world), before + 2);

        obey(&mut world, "run for 5d");
        let plan = world.plan();
        for member in 0..members {
            let verdict = &plan.verdicts[&id(member)];
            prop_assert_eq!(is_blocked(verdict, step), member == bad, "{:?}", verdict);
        }
        // Five within hours, then one a day.
        let count = world.snapshot.targets["web"].aside[&id(bad)].failures.count;
        prop_assert!((8..=10).contains(&count), "{}", count);

        // A newer one is welcome, and nothing is left of the old trouble.
        obey(&mut world, "mend");
        obey(&mut world, &format!("force c{bad}"));
        obey(&mut world, "run");
        prop_assert_eq!(&live(&world)[&id(bad)], newest(&world, bad));
        obey(&mut world, "run for 1h");
        let plan = world.plan();
        let healthy = matches!(plan.verdicts[&id(bad)], Verdict::Healthy { .. });
        prop_assert!(healthy);
    }
}

#[test]
fn one_that_was_set_aside_is_tried_again_alone_until_it_goes() {
    let mut world = all_due(3);
    obey(&mut world, "fail verify web times=2 named=c1");
    obey(&mut world, "run for 1d");
    assert_eq!(&live(&world)[&id(1)], newest(&world, 1));
    assert!(world.snapshot.targets["web"].aside.is_empty());
}

#[test]
fn a_disk_of_one_that_is_full_delays_the_others_not_at_all_and_the_one_until_there_is_room() {
    let mut world = all_due(3);
    let opened = rollouts(&world);
    obey(
        &mut world,
        "fail stage web times=always class=transient again=yes named=c1",
    );
    obey(&mut world, "run");
    assert_eq!(rollouts(&world), opened + 2);
    for member in [0, 2] {
        assert_eq!(&live(&world)[&id(member)], newest(&world, member));
    }
    // Beyond the attempts that others get: it costs nobody anything.
    obey(&mut world, "run for 3d");
    let plan = world.plan();
    let verdict = &plan.verdicts[&id(1)];
    assert!(matches!(verdict, Verdict::Wait(_)), "{verdict:?}");
    obey(&mut world, "mend");
    obey(&mut world, "run for 8h");
    assert_eq!(&live(&world)[&id(1)], newest(&world, 1));
    assert!(world.snapshot.targets["web"].aside.is_empty());
}

#[test]
fn a_disk_of_all_is_waited_for_by_all() {
    let mut world = all_due(3);
    let opened = rollouts(&world);
    obey(
        &mut world,
        "fail stage web times=5 class=transient again=yes named=c0+c1+c2",
    );
    obey(&mut world, "run for 1d");
    // The same one all the time.
    assert_eq!(rollouts(&world), opened + 1);
    for member in 0..3 {
        assert_eq!(&live(&world)[&id(member)], newest(&world, member));
    }
}

#[test]
fn one_that_is_blocked_goes_in_by_itself_within_a_day_of_being_mended() {
    let mut world = all_due(3);
    obey(&mut world, "fail stage web times=always named=c1");
    obey(&mut world, "run for 3d");
    let plan = world.plan();
    assert!(is_blocked(&plan.verdicts[&id(1)], "stage"));
    assert!(
        plan.alerts
            .keys()
            .any(|key| key.as_str() == "rollout-blocked/web/c1")
    );
    obey(&mut world, "mend");
    obey(&mut world, "run for 1d");
    assert_eq!(&live(&world)[&id(1)], newest(&world, 1));
    let plan = world.plan();
    assert!(plan.alerts.is_empty(), "{:?}", plan.alerts);
}
