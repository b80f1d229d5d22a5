//! Names that the policy adds midway, under the same schedules: they go into the certificate that is there, or another one has
//! them all, and nothing lies idle in the account.

use std::sync::atomic::{AtomicU64, Ordering};

use renewd::ccm::ScmStatus;
use renewd::model::{Name, OrderPhase, RevisionFacts, Seconds};
use serde_json::json;

use super::{Counts, LOST, ROUGH, Random, account, buy, faults, stalled, start};
use crate::ccm_server::http::post;
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
    let (account, names) = (account(shop, 4, false), names.join(", "));
    format!("{account}\n[certificate.www]\nissuer = \"public\"\nnames = [{names}]\n")
}

/// What becomes of the name that is added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Taken,
    /// By CCM, at once.
    Refused,
    /// By the CA, once it is accepted.
    TurnedDown,
}

/// For two names and a wildcard: there is room for a third name, and CCM does not take it.
async fn buy_for_others(shop: &Shop) {
    let body = json!({
        "cert_brand": "GEOTRUST", "cert_type": "DV_SSL_CERT", "domain_type": "MULTI_DOMAIN", "effective_time": 1,
        "domain_numbers": 3, "single_domain_number": 1, "wildcard_domain_number": 1, "primary_domain_type": "SINGLE_DOMAIN",
        "order_number": 1, "agree_privacy_protection": true,
    });
    let plan = shop.faults("seed=1").await;
    post(&shop.ccm, "/v3/scm/certificates/buy", &body)
        .await
        .expect(200);
    shop.faults(&plan).await;
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
    let fate = match random.below(5) {
        0 => Fate::Refused,
        1 => Fate::TurnedDown,
        _ => Fate::Taken,
    };
    match fate {
        Fate::Refused => buy_for_others(&shop).await,
        // With room for the name that comes.
        Fate::Taken | Fate::TurnedDown => buy(&shop, "MULTI_DOMAIN", 3).await,
    }
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
    // What could be had in its place without a purchase.
    let spare = usize::from(fate != Fate::Taken && random.chance(50));
    if spare > 0 {
        buy(&shop, "MULTI_DOMAIN", 3).await;
    }
    let mut turned_down = false;
    if fate == Fate::TurnedDown {
        shop.board.hide();
    }
    host.write(&policy(&shop, "abc"));
    failing(random.below(3));
    for _ in 0..ROUGH {
        if step(&shop, &host, &mut random, counts).await {
            break;
        }
        if fate == Fate::TurnedDown
            && !turned_down
            && shop.count(&ScmStatus::SupplementChecking).await > 0
        {
            turned_down = true;
            shop.reject(&first.reference, "a CAA record forbids it")
                .await;
            shop.board.show();
        }
    }
    shop.board.show();
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
    assert_eq!(issued.count(), 1 + replaced, "{all:#?}\n{}", context());
    // Nothing is bought where something lies unused.
    let there = 1 + replaced.max(spare);
    assert_eq!(all.len(), there, "{fate:?} {all:#?}\n{}", context());
    assert!(fate != Fate::Refused || replaced == 1, "{}", context());
    let left = shop.board.left();
    assert_eq!(left, Vec::<String>::new(), "proofs stay: {}", context());
    let add = |counter: &AtomicU64, number: usize| {
        counter.fetch_add(u64::try_from(number).unwrap(), Ordering::Relaxed);
    };
    add(&counts.seeds, 1);
    add(&counts.due, 1 + replaced);
    add(&counts.by_hand, 1 + spare);
    add(&counts.bought, replaced * (1 - spare));
    add(&counts.added, 1 - replaced);
    add(&counts.replaced, replaced);
    add(&counts.adopted, replaced * spare);
    add(&counts.refused, usize::from(fate == Fate::Refused));
    add(&counts.turned_down, usize::from(turned_down));
    let sent = shop.ccm.running.requests_of("4.1.3.1");
    let sent = u64::try_from(sent).unwrap();
    counts.requests.fetch_add(sent, Ordering::Relaxed);
}
