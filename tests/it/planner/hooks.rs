//! A `post` hook that never passes: what is changed meanwhile is put right, and nothing goes round in circles.

use renewd::model::{Alert, Reason};

use super::aside::{all_due, id, live, newest, rollouts};
use super::script::obey;
use super::world::World;

fn hooked(members: usize) -> World {
    let mut world = all_due(members);
    let target = world.policy.targets.get_mut("web").unwrap();
    target.hooks.post = Some(vec!["/bin/false".to_owned()]);
    obey(
        &mut world,
        "fail post-hook web times=always class=transient again=yes",
    );
    obey(&mut world, "run");
    assert_eq!(world.snapshot.rollouts.len(), 1);
    for member in 0..members {
        assert_eq!(&live(&world)[&id(member)], newest(&world, member));
    }
    world
}

fn alerts(world: &mut World) -> Vec<Alert> {
    world.plan().alerts.into_values().collect()
}

#[test]
fn a_difference_is_told_and_put_right_once() {
    let mut world = hooked(2);
    let opened = rollouts(&world);
    obey(
        &mut world,
        "drift web file-edited c0 somebody edited a file",
    );
    let told = alerts(&mut world);
    assert!(
        told.iter()
            .any(|alert| alert.title.contains("edited a file")),
        "{told:?}"
    );
    obey(&mut world, "run");
    assert_eq!(rollouts(&world), opened + 1);
    let open = world.snapshot.rollouts.values().next().unwrap();
    let reason = &open.reasons[&id(0)];
    assert!(matches!(reason, Reason::Drifted { .. }), "{reason:?}");
    assert_eq!(world.snapshot.targets["web"].drift, None);
    obey(&mut world, "run for 1d");
    assert_eq!(rollouts(&world), opened + 1);
    // And the hook is what is left to do.
    obey(&mut world, "mend");
    obey(&mut world, "run for 1d");
    assert!(world.snapshot.rollouts.is_empty());
}

#[test]
fn what_waits_for_a_budget_does_not_keep_the_hook_from_being_run() {
    let mut world = hooked(1);
    obey(&mut world, "run for 2h");
    let reloads = world.now;
    let target = world.policy.targets.get_mut("web").unwrap();
    target.pacing.reloads_per_hour = Some(1);
    let state = world.snapshot.targets.get_mut("web").unwrap();
    state.reloads = vec![reloads];
    let opened = rollouts(&world);
    obey(
        &mut world,
        "drift web file-edited c0 somebody edited a file",
    );
    obey(&mut world, "mend");
    obey(&mut world, "run for 10m");
    assert_eq!(rollouts(&world), opened, "not yet");
    obey(&mut world, "run for 2h");
    assert_eq!(rollouts(&world), opened + 1);
    assert!(world.snapshot.rollouts.is_empty());
}
