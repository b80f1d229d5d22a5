//! A year in an hour at most: many certificates of 47 and of 6 days, over a clock that the test moves, while issuers, reloads,
//! hooks and renewd itself fail again and again. No certificate expires in use, and nothing grows.
//!
//! What runs is the daemon's own loop, with its schedule, its courier and its watchdog: time passes while it sleeps, and always
//! to the next moment for which it wanted to be woken. `make soak` (`RENEWD_SOAK=1`) takes a year of 1 100 certificates, the suite
//! some weeks of a few; both are the same code. The troubles are drawn from `RENEWD_SOAK_SEED`, which is printed. Only the moments
//! at which renewd is killed are the machine's.

mod account;
mod daemon;
mod spent;
mod watched;
mod world;

use std::time::Duration;

use renewd::model::Seconds;

use crate::soak::account::Account;
use crate::soak::daemon::Daemon;
use crate::soak::spent::Spent;
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

#[test]
fn nothing_expires_nothing_is_ordered_twice_and_nothing_grows() {
    if watched::is_watched() {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(year());
    } else {
        watched::watch("soak::nothing_expires_nothing_is_ordered_twice_and_nothing_grows");
    }
}

async fn year() {
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

    let mut spent = Spent::default();
    let mut daemon = Daemon::start(&year);
    loop {
        let killed = if random.below(100) < KILLED {
            Duration::from_micros(random.below(40_000))
        } else {
            NEVER
        };
        let asleep = spent.on("work", async {
            tokio::select! {
                biased;
                wake = daemon.asleep() => Some(wake),
                () = tokio::time::sleep(killed) => None,
            }
        });
        let Some(wake) = asleep.await else {
            account.killed();
            spent.on("kills", daemon.kill()).await;
            daemon = Daemon::start(&year);
            continue;
        };
        let drawn = random.below(1 << 32);
        let told = spent.told();
        spent.on("looks", account.look(&year, drawn, told)).await;
        if year.now() >= end {
            break;
        }

        // What happens to the world until then.
        let mut wake = wake;
        let mut noticed = false;
        while let Some((_, trouble)) = troubles.next_if(|(at, _)| *at <= wake) {
            account.trouble(&trouble);
            match trouble {
                Trouble::Asleep { length } => wake = wake + length,
                Trouble::SetBack { by } => {
                    let noticing = daemon.noticing(|| year.set_back(by));
                    spent.on("clock set back", noticing).await;
                    noticed = true;
                }
                Trouble::Restart => {
                    spent.on("stops", daemon.stop()).await;
                    daemon = Daemon::start(&year);
                    noticed = true;
                }
                Trouble::Reload => {
                    spent.on("reloads", daemon.reload()).await;
                    noticed = true;
                }
                other => year.happens(&other),
            }
        }
        // It is at work, and wants to be woken at another moment perhaps.
        if noticed {
            continue;
        }
        let until = account.until(&year, wake);
        spent.on("readings of the journal", until).await;
        if daemon.wakes_at(wake) {
            account.woken();
        }
        year.pass_until(wake);
    }
    spent.on("stops", daemon.stop()).await;
    account.settle(&year, spent.told()).await;
}

/// Ticks in a hundred that renewd may not see the end of.
const KILLED: u64 = 4;
const NEVER: Duration = Duration::from_secs(3600);
