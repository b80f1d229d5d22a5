//! A target whose files give no answer.

use renewd::model::{AlertKey, Blocked, CertificateId};
use renewd::plan::Verdict;

use super::script::obey;
use super::world::World;

fn newest(world: &World, id: &str) -> String {
    let newest = world.snapshot.certificates[id].newest.as_ref();
    newest.unwrap().id.to_string()
}

fn live(world: &World, target: &str, id: &str) -> String {
    world.snapshot.targets[target].live[id].to_string()
}

#[test]
fn nothing_is_rolled_out_to_it_and_everything_else_goes_on() {
    let mut world = World::new();
    obey(&mut world, "now 2030-01-01");
    obey(&mut world, "policy c0: targets=web");
    obey(&mut world, "policy c1: targets=mail");
    obey(&mut world, "run");
    let first = newest(&world, "c0");

    obey(&mut world, "hang web");
    let since = world.now;
    let plan = world.plan();
    let id = CertificateId::new("c0").unwrap();
    let blocked = Verdict::Blocked(Blocked::NoAnswer { since });
    assert_eq!(plan.verdicts[&id], blocked);
    let alert = AlertKey::new("file-unreadable", "web");
    assert!(
        !plan.alerts.contains_key(&alert),
        "a server takes over from another: {:?}",
        plan.alerts
    );
    assert!(plan.next_wake <= since + renewd::model::Seconds(60));
    for id in ["c0", "c1"] {
        obey(&mut world, &format!("force {id}"));
    }
    obey(&mut world, "run for 5m");
    let plan = world.plan();
    assert!(plan.alerts.contains_key(&alert), "{:?}", plan.alerts);
    assert_ne!(newest(&world, "c0"), first);
    assert_eq!(live(&world, "web", "c0"), first);
    assert_eq!(live(&world, "mail", "c1"), newest(&world, "c1"));

    obey(&mut world, "answer web");
    obey(&mut world, "run");
    assert_eq!(live(&world, "web", "c0"), newest(&world, "c0"));
    assert!(!world.plan().alerts.contains_key(&alert));
}

#[test]
fn a_rollout_under_way_is_carried_on_when_it_answers() {
    let mut world = World::new();
    obey(&mut world, "now 2030-01-01");
    obey(&mut world, "policy c0: targets=web");
    obey(&mut world, "run");
    obey(&mut world, "force c0");
    obey(
        &mut world,
        "fail stage web times=1 class=transient again=yes",
    );
    obey(&mut world, "run");
    assert_eq!(world.snapshot.rollouts.len(), 1);
    obey(&mut world, "hang web");
    obey(&mut world, "run for 30m");
    assert_eq!(world.snapshot.rollouts.len(), 1);
    assert_ne!(live(&world, "web", "c0"), newest(&world, "c0"));
    obey(&mut world, "answer web");
    obey(&mut world, "run");
    assert_eq!(live(&world, "web", "c0"), newest(&world, "c0"));
}
