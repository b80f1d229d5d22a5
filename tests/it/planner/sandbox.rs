//! A place that the sandbox of the unit keeps from being written.

use std::path::PathBuf;

use renewd::model::{Blocked, CertificateId};
use renewd::plan::Verdict;

use super::script::obey;
use super::world::World;

#[test]
fn nothing_is_rolled_out_to_it_and_orders_go_on() {
    let id = CertificateId::new("c0").unwrap();
    let mut world = World::new();
    obey(&mut world, "now 2030-01-01");
    obey(&mut world, "policy c0: targets=web");
    obey(&mut world, "run");
    let first = world.snapshot.targets["web"].live[&id].clone();

    let path = PathBuf::from("/srv/copies");
    let target = world.snapshot.targets.values_mut().next().unwrap();
    target.unwritable = Some(path.clone());
    // Known at once, not when something is due.
    let blocked = Verdict::Blocked(Blocked::RestartNeeded { path });
    assert_eq!(world.plan().verdicts[&id], blocked);
    obey(&mut world, "force c0");
    obey(&mut world, "run");
    let newest = world.snapshot.certificates[&id].newest.as_ref();
    let newest = newest.unwrap().id.clone();
    assert_ne!(newest, first);
    assert_eq!(world.snapshot.targets["web"].live[&id], first);
    assert_eq!(world.plan().verdicts[&id], blocked);

    let target = world.snapshot.targets.values_mut().next().unwrap();
    target.unwritable = None;
    obey(&mut world, "run");
    assert_eq!(world.snapshot.targets["web"].live[&id], newest);
    assert!(matches!(
        world.plan().verdicts[&id],
        Verdict::Healthy { .. }
    ));
}
