//! Random schedules through the real executor: crashes at any await, lost answers, answers that never come, effects and tags
//! that come late, 429, 5xx.
//! In a share of them the policy adds a name midway ([`grown`]).
//! Whatever happens: no more orders are bought than certificates are due, and every certificate that is due is obtained.
//!
//! `RENEWD_EXECUTOR_SEEDS=5000` runs so many, `RENEWD_SEED=17` one alone. A schedule takes a second and not a millisecond as those
//! through the pure machines do, so it is no `RENEWD_SEEDS`.

mod grown;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use renewd::ccm::ScmStatus;
use renewd::ccm_server::{Fault, Faults};
use renewd::model::{OrderPhase, Seconds};
use renewd::plan::Plan;
use serde_json::json;

use crate::ccm_server::http::post;
use crate::support::engine::{healthy, id, tick};
use crate::support::shop::{Host, Shop, issuer, purchase};

/// Splitmix: the same for ever.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, most: u64) -> u64 {
        self.next() % most
    }

    fn chance(&mut self, hundredths: u64) -> bool {
        self.below(100) < hundredths
    }
}

/// What happened over all seeds.
#[derive(Default)]
struct Counts {
    seeds: AtomicU64,
    due: AtomicU64,
    bought: AtomicU64,
    by_hand: AtomicU64,
    crashes: AtomicU64,
    unclear: AtomicU64,
    stalled: AtomicU64,
    added: AtomicU64,
    replaced: AtomicU64,
    /// Of them, with what lay unused in the account.
    adopted: AtomicU64,
    refused: AtomicU64,
    turned_down: AtomicU64,
    queued: AtomicU64,
    doubted: AtomicU64,
    requests: AtomicU64,
    ticks: AtomicU64,
}

fn faults(random: &mut Random, seed: u64) -> Faults {
    let mut faults = Faults {
        seed,
        retry_after: 3600,
        rate_limited: u8::try_from(random.below(6)).unwrap(),
        server_error: u8::try_from(random.below(6)).unwrap(),
        lost_request: u8::try_from(random.below(5)).unwrap(),
        lost_response: u8::try_from(random.below(8)).unwrap(),
        page_limit: random.chance(30).then_some(2),
        ..Faults::none()
    };
    if random.chance(30) {
        // Less than what a definite no waits for.
        faults.late_effect = Some(Seconds(1 + i64::try_from(random.below(540)).unwrap()));
    }
    if random.chance(30) {
        faults.late_tags = Some(Seconds(1 + i64::try_from(random.below(3600)).unwrap()));
    }
    if random.chance(35) {
        // It is waited for until the time-out, by the clock on the wall: seldom, and where it matters.
        let operation = STALLING[usize::try_from(random.below(7)).unwrap()];
        let fault = if random.chance(50) {
            Fault::Stalled
        } else {
            Fault::Withheld
        };
        let nth = 1 + u32::try_from(random.below(2)).unwrap();
        faults = faults.at(operation, nth, fault);
    }
    for nth in 1..=2 {
        if random.chance(60) {
            let which = usize::try_from(random.below(5)).unwrap();
            faults = faults.at("4.1.3.1", nth, LOST[which]);
        }
        if random.chance(30) {
            let which = usize::try_from(random.below(5)).unwrap();
            faults = faults.at("4.1.1.1", nth, LOST[which]);
        }
    }
    faults
}

/// The account, for a host that waits for answers only briefly.
fn account(shop: &Shop, per_day: u32, reserve: bool) -> String {
    let mut purchase = purchase(per_day, 1);
    if reserve {
        purchase.push_str("reserve = true\n");
    }
    let text = issuer(&shop.ccm.endpoint(), &purchase);
    let usual = "\ntimeout = \"20s\"\n";
    assert!(text.contains(usual));
    let short = "\nconnect_timeout = \"2s\"\ntimeout = \"2s\"\n";
    text.replace(usual, short)
}

fn policy(shop: &Shop, names: &[String], reserve: bool) -> String {
    // The budget is the account's: as many as all of them need.
    let mut text = account(shop, 4, reserve);
    for name in names {
        text.push_str(&format!(
            "\n[certificate.{name}]\nissuer = \"public\"\nnames = [\"{name}.example.com\"]\n"
        ));
    }
    text
}

/// One start of a host, which may be killed at any moment; `None` if it was.
async fn start(host: &Host, random: &mut Random, kill: bool) -> Option<Plan> {
    let engine = host.engine().await;
    if !kill {
        return Some(tick(&engine).await);
    }
    let moment = Duration::from_micros(random.below(30_000));
    let ended = tokio::time::timeout(moment, tick(&engine)).await.ok();
    if ended.is_none() {
        // What was under way on other threads is over before the next one begins, as after a real death.
        engine.store.close().await.unwrap();
    }
    ended
}

async fn run(seed: u64, counts: &Counts) {
    let mut random = Random(seed);
    let plan = faults(&mut random, seed);
    let shown = plan.to_string();
    let shop = Shop::with("2027-04-01", plan.clone()).await;
    let hosts = 1 + random.below(2);
    // They queue for purchases.
    let reserve = seed.is_multiple_of(5);
    let mut machines = Vec::new();
    let mut due = Vec::new();
    for host in 0..hosts {
        let names: Vec<String> = (0..=random.below(2))
            .map(|n| format!("h{host}c{n}"))
            .collect();
        machines.push((shop.host(&policy(&shop, &names, reserve)), names.clone()));
        due.extend(names);
    }
    let context = |machines: &[(Host, Vec<String>)]| {
        let told: Vec<String> = machines.iter().flat_map(|(host, _)| host.told()).collect();
        format!("seed {seed}, faults {shown}\n{told:#?}")
    };
    // What a person bought is taken first, by one of them.
    let by_hand = usize::from(random.chance(25));
    if by_hand > 0 {
        buy(&shop, "SINGLE_DOMAIN", 1).await;
    }
    *shop.board.failing.lock().unwrap() = u32::try_from(random.below(3)).unwrap();
    for _ in 0..ROUGH {
        for (host, _) in &machines {
            let kill = random.chance(35);
            let plan = start(host, &mut random, kill).await;
            counts.ticks.fetch_add(1, Ordering::Relaxed);
            match plan {
                Some(plan) if random.chance(70) => shop.wake(&plan).await,
                Some(_) => shop.pass(Seconds(1)).await,
                None => {
                    counts.crashes.fetch_add(1, Ordering::Relaxed);
                    let wait = i64::try_from(random.below(120)).unwrap();
                    shop.pass(Seconds(wait)).await;
                }
            }
        }
        let snapshot = machines[0].0.snapshot().await;
        let mut open = snapshot.orders.values();
        if open.any(|order| matches!(order.phase, OrderPhase::PurchaseUnclear { .. })) {
            counts.unclear.fetch_add(1, Ordering::Relaxed);
        }
    }
    let stalled = stalled(&shop, &plan);
    counts.stalled.fetch_add(stalled, Ordering::Relaxed);
    // The account is as it should be again.
    shop.faults("seed=1").await;
    *shop.board.failing.lock().unwrap() = 0;
    let mut done = false;
    for _ in 0..CALM {
        done = true;
        let mut next = None;
        for (host, _) in &machines {
            let engine = host.engine().await;
            let plan = tick(&engine).await;
            counts.ticks.fetch_add(1, Ordering::Relaxed);
            let open = engine.store.snapshot().await.unwrap().orders;
            done &= healthy(&plan) && open.is_empty();
            let at = plan.next_wake;
            next = Some(next.map_or(at, |next: renewd::model::Timestamp| next.min(at)));
        }
        if done {
            break;
        }
        let wait = shop.clock_now().until(next.unwrap()).0;
        shop.pass(Seconds(wait.clamp(1, 3600))).await;
    }
    assert!(done, "not obtained: {}", context(&machines));
    for (host, names) in &machines {
        let snapshot = host.snapshot().await;
        for name in names {
            assert!(
                snapshot.certificates[&id(name)].newest.is_some(),
                "{name} is missing: {}",
                context(&machines)
            );
        }
    }
    let all = shop.all().await;
    let bought = all.len() - by_hand;
    assert!(
        bought <= due.len(),
        "{bought} bought for {} due: {all:#?}\n{}",
        due.len(),
        context(&machines)
    );
    let issued = all.iter().filter(|one| one.status == ScmStatus::Issued);
    assert_eq!(issued.count(), due.len(), "{}", context(&machines));
    assert_eq!(
        shop.board.left(),
        Vec::<String>::new(),
        "proofs stay: {}",
        context(&machines)
    );
    let add = |counter: &AtomicU64, number: usize| {
        counter.fetch_add(u64::try_from(number).unwrap(), Ordering::Relaxed);
    };
    add(&counts.seeds, 1);
    add(&counts.due, due.len());
    add(&counts.bought, bought);
    add(&counts.by_hand, by_hand);
    let sent = shop.ccm.running.requests_of("4.1.3.1");
    add(&counts.requests, sent);
    if reserve {
        add(&counts.queued, shop.ccm.running.requests_of("4.1.4.1"));
    }
}

/// How many requests met a trigger of which no answer came.
fn stalled(shop: &Shop, plan: &Faults) -> u64 {
    let mut met = 0;
    for trigger in &plan.triggers {
        let stalls = matches!(trigger.fault, Fault::Stalled | Fault::Withheld);
        met += u64::from(stalls && shop.ccm.running.received(&trigger.operation) >= trigger.nth);
    }
    met
}

/// A purchase by a person, which nothing disturbs.
async fn buy(shop: &Shop, domains: &str, names: u32) {
    let body = json!({
        "cert_brand": "GEOTRUST", "cert_type": "DV_SSL_CERT", "domain_type": domains, "effective_time": 1,
        "domain_numbers": names, "order_number": 1, "agree_privacy_protection": true,
    });
    let plan = shop.faults("seed=1").await;
    post(&shop.ccm, "/v3/scm/certificates/buy", &body)
        .await
        .expect(200);
    shop.faults(&plan).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_schedule_buys_more_than_is_due_and_every_one_ends() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let one: Option<u64> = number("RENEWD_SEED");
    let (first, seeds) = match one {
        Some(seed) => (seed, 1),
        None => (1, number("RENEWD_EXECUTOR_SEEDS").unwrap_or(SEEDS)),
    };
    let counts = Arc::new(Counts::default());
    let begun = std::time::Instant::now();
    let mut running = tokio::task::JoinSet::new();
    for seed in first..first + seeds {
        if running.len() >= AT_ONCE
            && let Some(ended) = running.join_next().await
        {
            ended.unwrap();
        }
        let counts = Arc::clone(&counts);
        running.spawn(async move {
            if grown::is_one(seed) {
                grown::run(seed, &counts).await;
            } else {
                run(seed, &counts).await;
            }
        });
    }
    while let Some(ended) = running.join_next().await {
        ended.unwrap();
    }
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    println!(
        "{} seeds in {:?}: {} certificates due, {} bought by {} requests, {} bought by hand, {} starts, {} killed, {} answers that never came, {} rounds with a purchase in doubt; {} places in the queue of buyers; {} names added, {} refused, {} turned down, {} with another certificate, {} of them unused before, {} rounds with them in doubt",
        read(&counts.seeds),
        begun.elapsed(),
        read(&counts.due),
        read(&counts.bought),
        read(&counts.requests),
        read(&counts.by_hand),
        read(&counts.ticks),
        read(&counts.crashes),
        read(&counts.stalled),
        read(&counts.unclear),
        read(&counts.queued),
        read(&counts.added),
        read(&counts.refused),
        read(&counts.turned_down),
        read(&counts.replaced),
        read(&counts.adopted),
        read(&counts.doubted),
    );
    if one.is_none() {
        assert!(read(&counts.crashes) > seeds, "too few crashes");
        assert!(read(&counts.unclear) > seeds / 10, "too few lost answers");
        assert!(
            read(&counts.stalled) > seeds / 10,
            "too few answers that never came"
        );
        assert!(read(&counts.added) > seeds / 20, "too few added names");
        assert!(read(&counts.doubted) > seeds / 20, "too few lost names");
        assert!(read(&counts.refused) > seeds / 60, "too few refused names");
        assert!(
            read(&counts.turned_down) > seeds / 90,
            "too few names that the CA turned down"
        );
        let (replaced, adopted) = (read(&counts.replaced), read(&counts.adopted));
        assert!(adopted > seeds / 180, "too few that were unused before");
        assert!(
            replaced - adopted > seeds / 180,
            "too few that were bought in their place"
        );
        assert!(read(&counts.queued) > seeds / 10, "too few that queued");
    }
}

/// With `make test`: 300 that buy, and every sixth lets names grow.
const SEEDS: u64 = 360;
/// Schedules side by side.
const AT_ONCE: usize = 8;
/// What becomes of a request that changes something.
const LOST: [Fault; 5] = [
    Fault::LostResponse,
    Fault::LostResponse,
    Fault::LostRequest,
    Fault::ServerError,
    Fault::RateLimited,
];
/// Calls of which the answer may never come: purchase and application, the listings, tags, and a look at one.
const STALLING: [&str; 7] = [
    "4.1.3.1", "4.1.1.1", "4.1.2.1", "4.1.5.1", "4.1.2.2", "4.1.2.4", "4.1.5.3",
];
/// Starts of each host while everything may go wrong.
const ROUGH: usize = 14;
/// Starts of each host afterwards, at most.
const CALM: usize = 150;
