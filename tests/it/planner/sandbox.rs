//! A place that the sandbox of the unit keeps from being written.

use std::path::PathBuf;

use renewd::model::{AlertKey, Blocked, CertificateId, Seconds};
use renewd::plan::Verdict;
use renewd::plan::status::{Status, Surroundings};

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
    obey(&mut world, "close /srv/copies of c0 on web");
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

    obey(&mut world, "open web");
    obey(&mut world, "run");
    assert_eq!(world.snapshot.targets["web"].live[&id], newest);
    assert!(matches!(
        world.plan().verdicts[&id],
        Verdict::Healthy { .. }
    ));
}

#[test]
fn the_others_of_its_target_go_on() {
    let ids = ["c0", "c1", "c2"].map(|id| CertificateId::new(id).unwrap());
    let mut world = World::new();
    obey(&mut world, "now 2030-01-01");
    for id in &ids {
        obey(&mut world, &format!("policy {id}: targets=web"));
    }
    obey(&mut world, "run");
    let live = |world: &World| world.snapshot.targets["web"].live.clone();
    let old = live(&world);
    obey(&mut world, "close /srv/c1 of c1 on web");
    // Neither what is newer, nor damage, nor another policy of the target is its business until then.
    obey(&mut world, "drift web file-missing c1 a file is gone");
    for id in &ids {
        obey(&mut world, &format!("force {id}"));
    }
    obey(&mut world, "run");
    obey(&mut world, "target web: rev=2");
    obey(&mut world, "run");
    let newest = |world: &World, id: &CertificateId| {
        let newest = world.snapshot.certificates[id].newest.as_ref();
        newest.unwrap().id.clone()
    };
    let plan = world.plan();
    for id in &ids {
        let blocked = matches!(
            &plan.verdicts[id],
            Verdict::Blocked(Blocked::RestartNeeded { path }) if path.as_path() == std::path::Path::new("/srv/c1")
        );
        assert_eq!(blocked, id.as_str() == "c1", "{:?}", plan.verdicts[id]);
        let wanted = if blocked {
            old[id].clone()
        } else {
            newest(&world, id)
        };
        assert_eq!(live(&world)[id], wanted);
    }
    obey(&mut world, "open web");
    obey(&mut world, "run");
    for id in &ids {
        assert_eq!(live(&world)[id], newest(&world, id));
    }
}

#[test]
fn an_open_rollout_that_has_not_begun_goes_on_without_it() {
    let mut world = World::new();
    obey(&mut world, "now 2030-01-01");
    for id in ["c0", "c1"] {
        obey(&mut world, &format!("policy {id}: targets=web"));
    }
    obey(&mut world, "run");
    let old = world.snapshot.targets["web"].live.clone();
    for id in ["c0", "c1"] {
        obey(&mut world, &format!("force {id}"));
    }
    obey(
        &mut world,
        "fail stage web times=1 class=transient again=yes",
    );
    obey(&mut world, "run");
    assert_eq!(world.snapshot.rollouts.len(), 1);
    obey(&mut world, "close /srv/c1 of c1 on web");
    obey(&mut world, "run for 5m");
    let live = &world.snapshot.targets["web"].live;
    assert_ne!(live["c0"], old["c0"]);
    assert_eq!(live["c1"], old["c1"]);
}

#[test]
fn what_it_serves_does_not_run_out_unsaid() {
    let mut world = World::new();
    obey(&mut world, "now 2030-01-01");
    obey(&mut world, "policy c0: targets=web");
    obey(&mut world, "run");
    let id = CertificateId::new("c0").unwrap();
    let first = world.snapshot.certificates[&id].newest.clone().unwrap();
    let end = first.facts.not_after;
    obey(&mut world, "close /srv/c0 of c0 on web");
    obey(&mut world, "run for 70d");
    assert_ne!(
        world.snapshot.certificates[&id].newest.as_ref().unwrap().id,
        first.id
    );
    let alert = AlertKey::new("old-one-served", "web/c0");
    assert!(!world.plan().alerts.contains_key(&alert));
    obey(&mut world, "run for 12d");
    let told = world.plan().alerts[&alert].clone();
    assert!(told.title.contains("ends at"), "{told:?}");
    // What is left is that of what is served.
    let plan = world.plan();
    let status = Status::new(
        &world.policy,
        &world.snapshot,
        &plan,
        world.now,
        Surroundings::default(),
    );
    let left = world.now.until(end).0 as f64 / Seconds::days(1).0 as f64;
    assert!((status.certificates[0].days_left.unwrap() - left).abs() < 0.01);
    obey(&mut world, "run for 10d");
    let over = world.plan().alerts[&alert].clone();
    assert!(over.title.contains("ended at"), "{over:?}");
    assert!(over.step > told.step, "{over:?}");
    obey(&mut world, "open web");
    obey(&mut world, "run");
    assert!(!world.plan().alerts.contains_key(&alert));
}

#[test]
fn what_one_that_fails_alone_serves_does_not_run_out_unsaid() {
    // Tried again within its rollout, and set aside.
    for again in ["yes", "no"] {
        let mut world = World::new();
        obey(&mut world, "now 2030-01-01");
        for id in ["c0", "c1"] {
            obey(&mut world, &format!("policy {id}: targets=web"));
        }
        obey(&mut world, "run for 50d");
        for id in ["c0", "c1"] {
            obey(&mut world, &format!("force {id}"));
        }
        obey(
            &mut world,
            &format!("fail stage web times=always class=transient again={again} named=c1"),
        );
        obey(&mut world, "run for 32d");
        let alert = |id: &str| AlertKey::new("old-one-served", &format!("web/{id}"));
        let plan = world.plan();
        assert!(
            plan.alerts.contains_key(&alert("c1")),
            "{again}: {:?}",
            plan.alerts
        );
        assert!(!plan.alerts.contains_key(&alert("c0")));
        let target = &world.snapshot.targets["web"];
        if again == "no" {
            assert!(target.aside.contains_key("c1"), "{target:?}");
        }
    }
}
