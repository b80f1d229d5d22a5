//! A week without an issuer, for two hundred certificates: what is asked and written down stays bounded, and all ends well.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use renewd::engine::{Patience, Scope};
use renewd::model::Seconds;
use renewd::plan::Plan;
use tokio::net::TcpListener;

use crate::support::ccm::Wanted;
use crate::support::engine::{Rig, healthy, id};

const MANY: usize = 200;

#[tokio::test(flavor = "multi_thread")]
async fn a_week_without_an_issuer_costs_little_and_ends_by_itself() {
    let place = tempfile::tempdir().unwrap();
    let state = place.path().join("ccm");
    let wanted = Wanted::new().at("2027-04-01").state(&state);
    let mut rig = Rig::new(wanted).await;
    let port = rig.world.ccm.running.address().port();
    let mut policy = rig.world.issuer();
    for n in 0..MANY {
        policy.push_str(&format!(
            "\n[certificate.c{n:03}]\nissuer = \"corp\"\nnames = [\"c{n:03}.example.test\"]\n"
        ));
    }
    rig.world.agent.write_policy(&policy);

    // Nobody answers: connections are taken and closed.
    let again = || Wanted::new().clock(Arc::clone(&rig.clock));
    let elsewhere = again().start().await;
    let there = again().state(&state).port(port);
    let old = std::mem::replace(&mut rig.world.ccm, elsewhere);
    old.running.stop().await;
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let silent = tokio::spawn(async move {
        while listener.accept().await.is_ok() {
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });

    let engine = rig.engine().await;
    let mut snapshot = engine.observe().await.unwrap();
    let end = rig.clock_now() + Seconds::days(7);
    let mut ticks = 0;
    let mut plan: Plan;
    loop {
        let tick = engine.converge(&mut snapshot, &Scope::All, Patience::NONE);
        plan = tick.await.unwrap();
        assert!(plan.next_wake > rig.clock_now(), "a tight loop");
        ticks += 1;
        if plan.next_wake > end {
            break;
        }
        rig.wake(&plan);
    }
    let asked = connections.load(Ordering::SeqCst);
    let mut events = 0;
    for n in 0..MANY {
        let name = id(&format!("c{n:03}"));
        events += engine.store.history(&name).await.unwrap().len();
    }
    // Four questions a day at the longest interval, after some more in the first hours.
    assert!((20..200).contains(&asked), "{asked} connections");
    assert!(events < 6 * MANY, "{events} events");
    assert!(ticks < 1000, "{ticks} ticks");
    assert!(!healthy(&plan));

    silent.abort();
    let _ = silent.await;
    rig.world.ccm = there.start().await;
    let back = rig.clock_now();
    while !healthy(&plan) {
        rig.wake(&plan);
        let tick = engine.converge(&mut snapshot, &Scope::All, Patience::NONE);
        plan = tick.await.unwrap();
        let since = back.until(rig.clock_now());
        assert!(
            since < Seconds::hours(24),
            "{:?}",
            plan.verdicts.values().next()
        );
    }
    assert_eq!(snapshot.orders.len(), 0);
}
