//! A week without an issuer and without a mail server, for two hundred certificates: what is asked, written down and kept
//! in memory stays bounded, and all ends well.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use renewd::engine::{Patience, Scope};
use renewd::model::{LONGEST_QUEUE, Seconds};
use renewd::plan::Plan;
use tokio::net::TcpListener;

use crate::support::ccm::Wanted;
use crate::support::engine::{Rig, healthy, id};
use crate::support::nginx::free_port;

const MANY: usize = 200;

/// Tasks that live, and KiB of memory in use.
fn kept() -> (usize, u64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let memory = line.unwrap().split_whitespace().nth(1).unwrap();
    let runtime = tokio::runtime::Handle::current();
    (runtime.metrics().num_alive_tasks(), memory.parse().unwrap())
}

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
    let nobody = free_port();
    policy.push_str(&format!(
        "\n[alert.email.ops]\nserver = \"127.0.0.1\"\nport = {nobody}\ntls = \"none\"\nfrom = \"renewd@example.test\"\nto = [\"ops@example.test\", \"boss@example.test\"]\n"
    ));
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
    let courier = engine.courier().await.unwrap().unwrap();
    let mut rounds = 0;
    let mut next_round = rig.clock_now();
    // When the first day is over, all that is needed is there.
    let first_day = rig.clock_now() + Seconds::days(1);
    let mut before = None;
    loop {
        let tick = engine.converge(&mut snapshot, &Scope::All, Patience::NONE);
        plan = tick.await.unwrap();
        assert!(plan.next_wake > rig.clock_now(), "a tight loop");
        ticks += 1;
        if next_round <= rig.clock_now() {
            let round = courier.deliver().await.unwrap();
            assert_eq!(round.sent, 0);
            rounds += 1;
            // As the daemon does where somebody else wrote into the journal.
            snapshot = engine.observe().await.unwrap();
            next_round = round.next.unwrap_or(rig.clock_now() + Seconds::hours(1));
        }
        if before.is_none() && rig.clock_now() >= first_day {
            before = Some(kept());
        }
        if plan.next_wake.min(next_round) > end {
            break;
        }
        if next_round < plan.next_wake {
            rig.clock.set(next_round.max(rig.clock_now() + Seconds(1)));
        } else {
            rig.wake(&plan);
        }
    }
    let (tasks, memory) = before.expect("a first day");
    let (tasks_after, memory_after) = kept();
    assert!(
        tasks_after <= tasks + 8,
        "{tasks} tasks became {tasks_after}"
    );
    assert!(
        memory_after <= memory + 24 * 1024,
        "{memory} KiB became {memory_after}"
    );
    assert!((24 * 6..1000).contains(&rounds), "{rounds} rounds");
    let letters = engine.store.posts(10 * LONGEST_QUEUE).await.unwrap();
    // One issuer, one alert with three steps, and what is said of the mails themselves: not one for each certificate.
    assert!((2..20).contains(&letters.len()), "{letters:#?}");
    assert!(letters.iter().all(|one| one.state == "waiting"));
    let open = engine.store.open_alerts().await.unwrap();
    assert!(
        open.iter().any(|one| one.key == "alerts-stuck/ops"),
        "{open:#?}"
    );
    let asked = connections.load(Ordering::SeqCst);
    let mut events = 0;
    for n in 0..MANY {
        let name = id(&format!("c{n:03}"));
        events += engine.store.history(&name).await.unwrap().len();
    }
    // Four questions a day at the longest interval, after some more in the first hours.
    assert!((20..200).contains(&asked), "{asked} connections");
    assert!(events < 6 * MANY, "{events} events");
    assert!(ticks < 1000 + rounds, "{ticks} ticks");
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
