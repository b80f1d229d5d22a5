//! The year's account: what was in use at each moment, what was ordered and mailed, and what grew.
#![expect(clippy::print_stdout, reason = "the account is for people")]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use renewd::model::{CertificateId, Seconds, Timestamp};
use renewd::pki::{facts, pem};

use crate::soak::world::{Scale, Trouble, Year, name};

/// What is counted.
pub(super) struct Account {
    scale: Scale,
    seed: u64,
    begun: Instant,
    ticks: u64,
    kills: u64,
    troubles: BTreeMap<String, u64>,
    /// Each is told once a tick, with the moment at which it began.
    expired: Vec<String>,
    last_look: Option<Timestamp>,
    /// When the journal was read last, and when the first of what is in use ends by that.
    known: Option<(Timestamp, Option<Timestamp>)>,
    /// What was told lately, for whoever has to find out why something expired.
    told: Vec<String>,
    /// Memory (KiB) and descriptors, day by day.
    days: Vec<(u64, usize)>,
}

impl Account {
    pub(super) fn begin(scale: Scale, seed: u64) -> Self {
        println!("RENEWD_SOAK_SEED={seed} {scale:?}");
        Self {
            scale,
            seed,
            begun: Instant::now(),
            ticks: 0,
            kills: 0,
            troubles: BTreeMap::new(),
            expired: Vec::new(),
            last_look: None,
            known: None,
            told: Vec::new(),
            days: Vec::new(),
        }
    }

    pub(super) fn killed(&mut self) {
        self.kills += 1;
    }

    pub(super) fn trouble(&mut self, trouble: &Trouble) {
        let text = format!("{trouble:?}");
        let kind = text.split(' ').next().unwrap().to_owned();
        *self.troubles.entry(kind).or_default() += 1;
    }

    /// Its loop wakes.
    pub(super) fn woken(&mut self) {
        self.ticks += 1;
    }

    /// While nobody is at work. Once a day one certificate is read from where its service would read it.
    pub(super) async fn look(&mut self, year: &Year, draw: u64, spent: String) {
        let at = year.now();
        let told = year.rig.told();
        self.told
            .extend(told.into_iter().map(|line| format!("{at} {line}")));
        let old = self.told.len().saturating_sub(REMEMBERED);
        self.told.drain(..old);
        let now = year.now();
        let day = Seconds::days(1);
        if self.last_look.is_some_and(|last| last.until(now) < day) {
            return;
        }
        self.last_look = Some(now);
        self.days.push((memory(), descriptors()));
        if self.days.len() < 3 {
            return;
        }
        let all = self.scale.long + self.scale.short;
        let at = usize::try_from(draw).unwrap() % all;
        let (certificate, _) = name(self.scale, at);
        let target = format!("t{:02}", at % self.scale.targets);
        let text = std::fs::read_to_string(year.live(&target, &certificate)).unwrap();
        let leaf = facts(&pem::certificates(&text).unwrap()[0]).unwrap();
        if leaf.not_after <= now {
            self.expired.push(format!("{certificate} on disk at {now}"));
        }
        // From the third day on each has been put into place, and never leaves it.
        let snapshot = year.known().await.expect("a journal");
        let placed: usize = snapshot
            .targets
            .values()
            .map(|target| target.live.len())
            .sum();
        assert_eq!(placed, all, "at {now}: {:#?}", self.told);
        if self.days.len().is_multiple_of(10) {
            let (memory, descriptors) = self.days[self.days.len() - 1];
            println!(
                "day {}: {:?}, {} ticks, {} kills, {:?} mails and digests, {memory} KiB, {descriptors} descriptors; {spent}",
                self.days.len(),
                self.begun.elapsed(),
                self.ticks,
                self.kills,
                year.mails()
            );
        }
    }

    /// Nothing changes until this moment: what is in use must last. The journal is read where what was known before does not say
    /// that it does, and now and then: what is in use is only ever followed by what ends later.
    pub(super) async fn until(&mut self, year: &Year, moment: Timestamp) {
        let now = year.now();
        let fresh = self.known.is_some_and(|(at, first)| {
            at.until(now).0.abs() < BETWEEN_READS.0 && first.is_some_and(|first| first > moment)
        });
        if fresh {
            return;
        }
        let Some(snapshot) = year.known().await else {
            return;
        };
        let mut first = None;
        for (target, state) in &snapshot.targets {
            for (certificate, revision) in &state.live {
                let end = snapshot.certificates[certificate].not_after(revision);
                if end.is_none_or(|end| end <= moment) {
                    if self.expired.is_empty() {
                        println!("{:#?}", self.told);
                    }
                    self.expired.push(format!(
                        "{certificate} on {target} before {moment}: {end:?}"
                    ));
                }
                first = [first, end].into_iter().flatten().min();
            }
        }
        self.known = Some((now, first));
    }

    /// What it comes to.
    pub(super) async fn settle(mut self, year: &Year, spent: String) {
        let engine = year.engine().await;
        let snapshot = engine.observe().await.unwrap();
        let plan = renewd::plan::plan(&engine.policy, &snapshot, year.now());
        // A renewal may be under way at any moment; trouble may not be left.
        let left = plan.alerts.len();
        let (mut orders, mut planned, mut events) = (0, 0, 0);
        for at in 0..self.scale.long + self.scale.short {
            let (certificate, days) = name(self.scale, at);
            let issued = year
                .rig
                .world
                .ccm
                .issued(&format!("{certificate}.example.test"))
                .await;
            let most = needed(days, self.scale.days);
            assert!(
                issued <= most,
                "{certificate}: {issued} certificates for {most} lives"
            );
            orders += issued;
            planned += most;
            let id = CertificateId::new(&certificate).unwrap();
            events += engine.store.history(&id).await.unwrap().len();
        }
        let (mails, digests) = year.mails();
        let spans: u64 = self.troubles.values().sum();
        println!(
            "{:?} for {} days (seed {}): {} ticks, {} kills, troubles {:?}; {orders} of {planned} certificates, {events} events, {mails} mails, {digests} digests",
            self.begun.elapsed(),
            self.scale.days,
            self.seed,
            self.ticks,
            self.kills,
            self.troubles
        );
        println!("{spent}");
        assert_eq!(self.expired, [""; 0]);
        assert_eq!(left, 0, "{:?}", plan.alerts);
        assert!(spans >= 10, "no trouble, no test");
        assert!(mails > 0, "nothing was told");
        assert!(mails <= self.mail_budget(), "{mails} mails");
        // One for each day, but for those that left together with something else, and never a second one.
        let days = u64::from(self.scale.days);
        assert!(
            digests >= days / 2 && digests <= days + 1,
            "{digests} digests in {days} days"
        );

        // Nothing is looked at again and again: some wakes for each life, and some for each day.
        let most = u64::try_from(orders).unwrap() * 40 + days * 100;
        assert!(self.ticks < most, "{} ticks", self.ticks);

        // Eleven or so for a life in which nothing goes wrong.
        assert!(events < 40 * orders, "{events} events of {orders} orders");
        let state = year.rig.world.agent.state();
        let journal = std::fs::metadata(state.join("state.db")).unwrap().len();
        let bound = (1 << 20) + u64::try_from(orders).unwrap() * 64 * 1024;
        assert!(journal < bound, "{journal} bytes of journal");
        assert_eq!(entries(&state.join("keys")), snapshot.orders.len(), "keys");
        for at in 0..self.scale.long + self.scale.short {
            let revisions = entries(&state.join("revisions").join(name(self.scale, at).0));
            assert!(revisions <= 8, "{revisions} revisions");
        }
        for at in 0..self.scale.targets {
            let directory = state
                .join("targets")
                .join(format!("t{at:02}"))
                .join("generations");
            assert!(entries(&directory) <= 8, "generations of t{at:02}");
        }

        // Both are higher while something is under way, so the tenth day is no measure alone.
        engine.store.close().await.unwrap();
        drop(engine);
        let third = self.days.len() / 3;
        let highest = |days: &[(u64, usize)]| {
            let memory = days.iter().map(|day| day.0).max().unwrap();
            (memory, days.iter().map(|day| day.1).max().unwrap())
        };
        let (memory_before, descriptors_before) = highest(&self.days[..third]);
        let last = self.days.split_off(2 * third);
        let (memory_after, descriptors_after) = highest(&last);
        println!(
            "memory {memory_before} then {memory_after} KiB, descriptors {descriptors_before} then {descriptors_after}"
        );
        assert!(
            memory_after < memory_before * 5 / 4 + 32 * 1024,
            "memory grows"
        );
        assert!(
            descriptors_after <= descriptors_before + 24,
            "descriptors are left open"
        );
        let begun = Instant::now();
        while descriptors() > descriptors_before {
            assert!(
                begun.elapsed() < Duration::from_secs(60),
                "descriptors stay open"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// For each trouble one mail, one that it is over, and one for every second target.
    fn mail_budget(&self) -> u64 {
        let spans: u64 = self.troubles.values().sum();
        spans * (2 + u64::try_from(self.scale.targets).unwrap() / 2)
    }
}

/// How many lives of a certificate a number of days can need: each is renewed at two thirds of its life, and at most a
/// twentieth sooner.
fn needed(life: u16, days: u16) -> usize {
    1 + usize::from(days) * 1000 / (usize::from(life) * 616)
}

/// Lines of what was told.
const REMEMBERED: usize = 100;

/// Between two reads of the journal.
const BETWEEN_READS: Seconds = Seconds::hours(6);

/// KiB in use by this process.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn descriptors() -> usize {
    entries(Path::new("/proc/self/fd"))
}

fn entries(directory: &Path) -> usize {
    std::fs::read_dir(directory).map_or(0, Iterator::count)
}
