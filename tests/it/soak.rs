//! A year in an hour at most: many certificates of 47 and of 6 days, over a clock that the test moves, while issuers, reloads,
//! hooks and renewd itself fail again and again. No certificate expires in use, and nothing grows.
//!
//! `make soak` (`RENEWD_SOAK=1`) takes a year of 1 100 certificates, the suite some weeks of a few; both are the same code.
//! The troubles are drawn from `RENEWD_SOAK_SEED`, which is printed. Only the moments at which renewd is killed are the machine's.

mod account;
mod world;

use std::time::Duration;

use renewd::engine::Begun;
use renewd::model::Seconds;
use renewd::plan::jobs;

use crate::soak::account::Account;
use crate::soak::world::{Random, Scale, Trouble, Year};

/// Some weeks of a few certificates.
const SHORT: Scale = Scale {
    long: 8,
    short: 4,
    targets: 4,
    days: 40,
    every: Seconds::hours(40),
};

/// The year.
const FULL: Scale = Scale {
    long: 1000,
    short: 100,
    targets: 22,
    days: 365,
    every: Seconds::days(3),
};

#[tokio::test(flavor = "multi_thread")]
async fn nothing_expires_nothing_is_ordered_twice_and_nothing_grows() {
    let full = std::env::var_os("RENEWD_SOAK").is_some();
    let scale = if full { FULL } else { SHORT };
    let seed = std::env::var("RENEWD_SOAK_SEED").map_or(1, |text| text.parse().unwrap());
    let mut random = Random(seed);
    let year = Year::begin(scale, seed).await;
    let mut account = Account::begin(scale, seed);
    let mut troubles = Trouble::calendar(scale, year.now(), &mut random)
        .into_iter()
        .peekable();
    let end = year.now() + Seconds::days(i64::from(scale.days));

    let mut engine = year.engine().await;
    let mut courier = engine.courier().await.unwrap().unwrap();
    let mut kept = None;
    while year.now() < end {
        let begun = Begun::now(&*engine.clock);
        // As the daemon: a check looks at everything anew, anything else goes by what is known.
        let known = kept.take().filter(|known| {
            !jobs::due(&engine.policy, known, begun.at).contains(&renewd::model::JobName::Check)
        });
        let mut snapshot = match known {
            Some(snapshot) => snapshot,
            None => engine.observe().await.unwrap(),
        };
        let due = jobs::due(&engine.policy, &snapshot, begun.at);
        let work = engine.run_jobs(&due, begun, &mut snapshot, renewd::engine::Patience::NONE);
        let killed = if random.below(100) < KILLED {
            Duration::from_micros(random.below(40_000))
        } else {
            NEVER
        };
        let plan = tokio::select! {
            plan = work => Some(plan.unwrap()),
            () = tokio::time::sleep(killed) => None,
        };
        let Some(plan) = plan else {
            account.killed();
            drop((courier, snapshot));
            year.kill(engine).await;
            engine = year.engine().await;
            courier = engine.courier().await.unwrap().unwrap();
            continue;
        };
        account.letters(courier.deliver().await.unwrap());
        account.look(&year, &snapshot, &plan, random.below(1 << 32));
        let job = jobs::next_of_all(&engine.policy, &snapshot, year.now());
        let mut wake = job.map_or(plan.next_wake, |job| job.min(plan.next_wake));
        assert!(
            wake > year.now(),
            "a tight loop at {}: {plan:?}",
            year.now()
        );
        kept = Some(snapshot);

        // What happens to the world until then.
        while let Some((_, trouble)) = troubles.next_if(|(at, _)| *at <= wake) {
            account.trouble(&trouble);
            match trouble {
                Trouble::Asleep { length } => wake = wake + length,
                Trouble::SetBack { by } => {
                    year.set_back(by);
                    kept = None;
                    wake = year.now();
                }
                Trouble::Restart => {
                    engine.store.close().await.unwrap();
                    engine = year.engine().await;
                    courier = engine.courier().await.unwrap().unwrap();
                    kept = None;
                }
                other => year.happens(&other),
            }
        }
        if let Some(known) = &kept {
            account.until(known, wake);
        }
        year.pass_until(wake);
    }
    drop((courier, kept));
    account.settle(&year, engine).await;
}

/// Ticks in a hundred that renewd may not see the end of.
const KILLED: u64 = 4;
const NEVER: Duration = Duration::from_secs(3600);
