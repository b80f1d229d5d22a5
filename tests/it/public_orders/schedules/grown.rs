//! Names that the policy adds midway, under the same schedules: they go into the certificate that is there, or another one has
//! them all, and nothing lies idle in the account.

use std::sync::atomic::Ordering;

use renewd::ccm::ScmStatus;
use renewd::model::{Name, OrderPhase, RevisionFacts, Seconds};

use super::{Counts, LOST, ROUGH, Random, account, buy, faults, stalled, start};
use crate::public_orders::supplement::SUPPLEMENT;
use crate::support::engine::{healthy, id};
use crate::support::shop::{Host, Shop};

/// Whether it is one of these schedules.
pub(super) const fn is_one(seed: u64) -> bool {
    seed.is_multiple_of(6)
}

fn policy(shop: &Shop, names: &str) -> String {
    let names: Vec<String> = names
        .chars()
        .map(|name| format!("\"{name}.example.com\""))
        .collect();
    let (account, names) = (account(shop, 4), names.join(", "));
    format!("{account}\n[certificate.www]\nissuer = \"public\"\nnames = [{names}]\n")
}

async fn newest(host: &Host) -> Option<RevisionFacts> {
    let snapshot = host.snapshot().await;
    snapshot.certificates.get(&id("www"))?.newest.clone()
}

/// One start, and time; answers whether nothing is left to do.
async fn step(shop: &Shop, host: &Host, random: &mut Random, counts: &Counts) -> bool {
    let kill = random.chance(35);
    let plan = start(host, random, kill).await;
    counts.ticks.fetch_add(1, Ordering::Relaxed);
    let orders = host.snapshot().await.orders;
    let mut open = orders.values();
    if open.any(|order| {
        matches!(
            order.phase,
            OrderPhase::Unclear {
                supplement: true,
                ..
            }
        )
    }) {
        counts.doubted.fetch_add(1, Ordering::Relaxed);
    }
    let Some(plan) = plan else {
        counts.crashes.fetch_add(1, Ordering::Relaxed);
        let wait = i64::try_from(random.below(120)).unwrap();
        shop.pass(Seconds(wait)).await;
        return false;
    };
    if random.chance(70) {
        shop.wake(&plan).await;
    } else {
        shop.pass(Seconds(1)).await;
    }
    healthy(&plan) && orders.is_empty()
}

pub(super) async fn run(seed: u64, counts: &Counts) {
    let mut random = Random(seed);
    let mut plan = faults(&mut random, seed);
    for nth in 1..=2 {
        if random.chance(60) {
            let which = usize::try_from(random.below(5)).unwrap();
            plan = plan.at(SUPPLEMENT, nth, LOST[which]);
        }
    }
    let shop = Shop::with("2027-04-01", plan.clone()).await;
    let shown = plan.to_string();
    let failing = |count: u64| {
        let count = u32::try_from(count).unwrap();
        *shop.board.failing.lock().unwrap() = count;
    };
    // With room for the name that comes.
    buy(&shop, "MULTI_DOMAIN", 3).await;
    let host = shop.host(&policy(&shop, "ab"));
    let context = || format!("seed {seed}, faults {shown}\n{:#?}", host.told());
    failing(random.below(3));
    for _ in 0..ROUGH {
        step(&shop, &host, &mut random, counts).await;
        if newest(&host).await.is_some() {
            break;
        }
    }
    if newest(&host).await.is_none() {
        shop.faults("seed=1").await;
        host.settle(&shop).await;
        shop.faults(&shown).await;
    }
    let first = newest(&host).await.unwrap();
    host.write(&policy(&shop, "abc"));
    failing(random.below(3));
    for _ in 0..ROUGH {
        if step(&shop, &host, &mut random, counts).await {
            break;
        }
    }
    let met = stalled(&shop, &plan);
    counts.stalled.fetch_add(met, Ordering::Relaxed);
    shop.faults("seed=1").await;
    failing(0);
    host.settle(&shop).await;
    let then = newest(&host).await.unwrap();
    for name in ["a", "b", "c"] {
        let name = Name::parse(&format!("{name}.example.com")).unwrap();
        assert!(then.facts.covers_name(&name), "{name}: {}", context());
    }
    let replaced = usize::from(then.reference != first.reference);
    let all = shop.all().await;
    let issued = all.iter().filter(|one| one.status == ScmStatus::Issued);
    assert_eq!(issued.count(), all.len(), "{all:#?}\n{}", context());
    assert_eq!(all.len(), 1 + replaced, "{all:#?}\n{}", context());
    let left = shop.board.left();
    assert_eq!(left, Vec::<String>::new(), "proofs stay: {}", context());
    for counter in [&counts.seeds, &counts.due, &counts.by_hand] {
        counter.fetch_add(1, Ordering::Relaxed);
    }
    let counter = if replaced == 0 {
        &counts.added
    } else {
        counts.bought.fetch_add(1, Ordering::Relaxed);
        counts.due.fetch_add(1, Ordering::Relaxed);
        &counts.replaced
    };
    counter.fetch_add(1, Ordering::Relaxed);
    let sent = shop.ccm.running.requests_of("4.1.3.1");
    let sent = u64::try_from(sent).unwrap();
    counts.requests.fetch_add(sent, Ordering::Relaxed);
}
