//! Killed while it recovers from a kill. The suite takes one pair of every kind; `make soak` takes each boundary after each.

use crate::crash::{Converged, assert_one_new, boundaries_of_a_renewal, look, soaking};
use crate::support::ccm::Ccm;
use crate::support::reader::Reader;
use crate::support::world::World;

/// Every one is met: the second kill hits what the first one made necessary.
const PAIRS: [(&str, &str); 9] = [
    ("order.open.done", "order.store-key.effect"),
    ("order.store-key.effect", "order.store-key.effect"),
    ("order.submit.started", "order.submit.effect"),
    ("order.submit.effect", "order.fetch.started"),
    ("order.fetch.effect", "order.close.effect"),
    ("rollout.stage.effect", "rollout.commit.started"),
    ("rollout.commit.effect", "rollout.commit.effect"),
    ("rollout.reload.effect", "rollout.verify.started"),
    ("rollout.verify.effect", "rollout.close.effect"),
];

/// Whether both kills met something.
async fn survive(world: &World, first: &str, second: &str) -> bool {
    let before: Converged = look(world).await;
    let at = format!("{first}, then {second}");
    let killed = world
        .agent
        .run_with(&format!("{first}=return"), &["renew", "www"]);
    if killed.signal != Some(9) {
        killed.expect(0);
        return false;
    }
    let again = world
        .agent
        .run_with(&format!("{second}=return"), &["once", "--wait", "60s"]);
    let twice = again.signal == Some(9);
    if !twice {
        again.expect(0);
    }
    world.agent.run(&["once", "--wait", "60s"]).expect(0);
    assert_one_new(world, &before, &at).await;
    twice
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_kill_on_the_way_out_of_the_first_still_leads_to_one_new_certificate() {
    let world = World::live(Ccm::start().await).await;
    let reader = Reader::start(&world.agent.live("web"), "www/server.crt", "www/server.key");
    let mut met = 0;
    for (first, second) in PAIRS {
        assert!(
            survive(&world, first, second).await,
            "never killed twice: {first}, {second}"
        );
        met += 1;
    }
    if soaking() {
        let points = boundaries_of_a_renewal();
        for first in &points {
            for second in &points {
                met += usize::from(survive(&world, first, second).await);
            }
        }
    }
    let seen = reader.stop();
    println!(
        "killed twice at {met} pairs of boundaries; {} matching pairs of {} certificates read meanwhile, {} others",
        seen.pairs,
        seen.certificates.len(),
        seen.wrong.len()
    );
    assert_eq!(seen.wrong, Vec::<String>::new());
    assert!(seen.pairs > 1000, "the reader saw too little");
}
