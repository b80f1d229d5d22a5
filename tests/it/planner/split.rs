//! Where nobody is named, or everybody, the set is halved: all good members go in, the bad ones alone are blocked, and the number of
//! attempts is bounded, for every set and every choice of bad members.

use std::collections::BTreeSet;

use super::aside::{all_due, id, is_blocked, live, newest, rollouts};
use super::script::obey;
use super::world::World;

/// Attempts of one bad member in twenty days.
const BLOCKED: usize = 5 + 20;

/// Those of the members whose bit is set.
fn chosen(members: usize, bits: u32) -> BTreeSet<usize> {
    (0..members).filter(|at| bits & (1 << at) != 0).collect()
}

fn names(of: &BTreeSet<usize>) -> String {
    let names: Vec<String> = of.iter().map(|at| format!("c{at}")).collect();
    names.join("+")
}

/// Rollouts that were undone.
fn undone(world: &World) -> usize {
    let lines = world.log.lines.iter();
    let of_rollouts = lines.filter(|line| line.starts_with("rollout web"));
    of_rollouts
        .map(|line| line.matches(", rolled-back c").count())
        .sum()
}

fn log2(members: usize) -> usize {
    usize::try_from(members.next_power_of_two().ilog2()).unwrap()
}

/// The bad ones fail at the step, which never says who it was: it blames nobody (`unnamed`) or `everybody`.
fn every_good_one_goes_in(members: usize, bad: &BTreeSet<usize>, step: &str, blame: &str) {
    let mut world = all_due(members);
    let old = live(&world);
    let (opened, failed) = (rollouts(&world), undone(&world));
    obey(
        &mut world,
        &format!("fail {step} web times=always {blame}={}", names(bad)),
    );
    obey(&mut world, "run");
    let at_once = undone(&world) - failed;
    let log = || world.log.lines.join("\n");
    assert!(
        at_once <= 2 * log2(members) + 2,
        "{bad:?} {step}: {}",
        log()
    );
    if bad.len() == 1 {
        // Found without any wait.
        assert!(
            rollouts(&world) - opened <= 2 * log2(members) + 1,
            "{}",
            log()
        );
        for member in (0..members).filter(|at| !bad.contains(at)) {
            assert_eq!(
                &live(&world)[&id(member)],
                newest(&world, member),
                "{}",
                log()
            );
        }
    }

    obey(&mut world, "run for 20d");
    let plan = world.plan();
    let log = || world.log.lines.join("\n");
    for member in 0..members {
        let is_bad = bad.contains(&member);
        let wanted = if is_bad {
            &old[&id(member)]
        } else {
            newest(&world, member)
        };
        assert_eq!(
            &world.services["web"].served[&id(member)],
            wanted,
            "{}",
            log()
        );
        let verdict = &plan.verdicts[&id(member)];
        assert_eq!(
            is_blocked(verdict, step),
            is_bad,
            "{verdict:?} of c{member}, {bad:?}: {}",
            log()
        );
    }
    assert_eq!(world.snapshot.targets["web"].split, None);
    // Each bad one alone five times and then once a day, and the searches that found it; where everybody is blamed, each level of them with
    // a pause of its own.
    let most = if blame == "everybody" {
        bad.len() * BLOCKED + 8 * members.next_power_of_two()
    } else {
        bad.len() * (BLOCKED + 2 * log2(members) + 2)
    };
    assert!(undone(&world) - failed <= most, "{bad:?}: {}", log());
}

#[test]
fn every_choice_of_bad_members_among_two_to_four() {
    for members in 2..=4 {
        for bits in 1..1_u32 << members {
            let step = ["test", "reload", "verify"][usize::try_from(bits).unwrap() % 3];
            every_good_one_goes_in(members, &chosen(members, bits), step, "unnamed");
            every_good_one_goes_in(members, &chosen(members, bits), "verify", "everybody");
        }
    }
}

#[test]
fn each_single_bad_member_and_some_choices_among_five_to_eight() {
    for members in 5..=8 {
        let singles = (0..members).map(|at| 1_u32 << at);
        let all = (1_u32 << members) - 1;
        let some = [all, all & 0b0101_0101, all & 0b1100_0011, all & !1];
        for bits in singles.chain(some) {
            for blame in ["unnamed", "everybody"] {
                every_good_one_goes_in(members, &chosen(members, bits), "verify", blame);
            }
        }
    }
}

#[test]
fn a_reload_without_effect_is_tried_three_times_then_rarely_and_goes_in_whole_once_it_works() {
    let mut world = all_due(8);
    let old = live(&world);
    let failed = undone(&world);
    obey(
        &mut world,
        "fail verify web times=always everybody=c0+c1+c2+c3+c4+c5+c6+c7",
    );
    obey(&mut world, "run");
    // The whole, and each half: then it is probably not one of them.
    assert_eq!(undone(&world) - failed, 3, "{}", world.log.lines.join("\n"));
    assert_eq!(live(&world), old);
    assert!(world.snapshot.targets["web"].aside.is_empty());
    obey(&mut world, "mend");
    let opened = rollouts(&world);
    obey(&mut world, "run for 1h");
    assert_eq!(rollouts(&world), opened + 1);
    for member in 0..8 {
        assert_eq!(&live(&world)[&id(member)], newest(&world, member));
    }
    assert_eq!(world.snapshot.targets["web"].split, None);
}

#[test]
fn the_other_half_is_in_place_before_the_first_is_split_further() {
    let mut world = all_due(8);
    obey(&mut world, "fail verify web times=always everybody=c0");
    while rollouts(&world) < 1 + 4 {
        for action in world.plan().actions {
            world.execute(action);
        }
    }
    for member in 4..8 {
        assert_eq!(&live(&world)[&id(member)], newest(&world, member));
    }
}

#[test]
fn a_search_does_not_exceed_the_budget_of_reloads() {
    let mut world = all_due(8);
    obey(&mut world, "run");
    obey(&mut world, "target web: reloads=4");
    obey(&mut world, "run for 2h");
    // Nobody asks for these, so they do not pass the budget.
    for member in 0..8 {
        let line = format!("policy c{member}: targets=web algorithm=rsa-4096");
        obey(&mut world, &line);
    }
    obey(
        &mut world,
        "fail verify web times=always everybody=c0+c3+c5",
    );
    obey(&mut world, "run");
    let mut hours = Vec::new();
    for _ in 0..24 {
        let before = undone(&world);
        obey(&mut world, "run for 1h");
        hours.push(undone(&world) - before);
    }
    assert!(hours.iter().all(|undone| *undone <= 4), "{hours:?}");
    obey(&mut world, "run for 10d");
    for member in [1, 2, 4, 6, 7] {
        assert_eq!(&live(&world)[&id(member)], newest(&world, member));
    }
}

#[test]
fn a_service_that_refuses_the_old_set_as_well_is_left_alone_and_nothing_is_split() {
    let mut world = all_due(8);
    let old = live(&world);
    let opened = rollouts(&world);
    obey(&mut world, "break web");
    obey(&mut world, "run");
    assert_eq!(rollouts(&world), opened + 1);
    assert_eq!(world.snapshot.targets["web"].split, None);
    obey(&mut world, "run for 5d");
    let attempts = rollouts(&world) - opened;
    assert!(
        (8..=10).contains(&attempts),
        "five, then one a day: {attempts}"
    );
    assert_eq!(live(&world), old);
    obey(&mut world, "mend");
    obey(&mut world, "run for 1d");
    for member in 0..8 {
        assert_eq!(&live(&world)[&id(member)], newest(&world, member));
    }
}

#[test]
fn a_service_that_breaks_during_the_search_ends_it_until_later() {
    let mut world = all_due(8);
    obey(&mut world, "fail verify web times=always unnamed=c7");
    // Until the first half is in place.
    while live(&world)[&id(0)] != *newest(&world, 0) {
        let plan = world.plan();
        for action in plan.actions {
            world.execute(action);
        }
    }
    let opened = rollouts(&world);
    obey(&mut world, "break web");
    obey(&mut world, "run");
    assert!(
        rollouts(&world) <= opened + 2,
        "{}",
        world.log.lines.join("\n")
    );
    obey(&mut world, "mend");
    obey(&mut world, "fail verify web times=always unnamed=c7");
    obey(&mut world, "run for 1d");
    for member in 0..7 {
        assert_eq!(&live(&world)[&id(member)], newest(&world, member));
    }
    assert!(world.snapshot.targets["web"].aside.contains_key(&id(7)));
}
