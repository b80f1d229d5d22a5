//! Random schedules through the order machine: crashes, lost answers, late effects, late tags, listings that lag or stop,
//! 429, 5xx, refused credentials and time-outs, for several certificates of one to three hosts that share an account.
//!
//! Names are added to certificates too: by supplements, or where those are refused or turned down by another purchase.
//!
//! Whatever happens: nobody buys more than certificates were due, or more than the budget allows; every certificate that
//! was due is there once the faults end; no proof stays published; and a key is kept for as long as a successor may come
//! with it. `RENEWD_SEEDS` asks for more schedules than the suite has time for (`RENEWD_EXECUTOR_SEEDS` for those through the
//! real executor); `RENEWD_SEED` plays one and prints it.

use std::collections::{BTreeMap, BTreeSet};

use renewd::model::{
    Budget, CertificateId, CertificatePolicy, CertificateState, ErrorClass, Fingerprint, HostSeed,
    Name, Order, OrderClosing, OrderEvent, OrderId, OrderPhase, OrderStep, Policy, Reason, Review,
    RevisionFacts, Seconds, Started, SubjectAltNames, Timestamp,
};
use renewd::plan::order_machine::{self, Money, Timing};
use renewd::plan::{Next, OnError, Trouble, entitlements, open, outcome};

use super::public::supplement;
use super::scm::{Scm, Stage, Trace, Who, taken};
use super::script::obey;
use super::world::World;

/// How many schedules the suite plays.
const SEEDS: u64 = 10_000;

#[test]
fn no_schedule_buys_twice_or_leaves_a_certificate_out() {
    if let Ok(seed) = std::env::var("RENEWD_SEED") {
        let mut one = Schedule::new(seed.parse().expect("RENEWD_SEED is a number"));
        one.loud = true;
        one.play();
        return;
    }
    let asked = std::env::var("RENEWD_SEEDS").ok();
    let seeds: u64 = asked.map_or(SEEDS, |text| {
        text.parse().expect("RENEWD_SEEDS is a number")
    });
    let workers = std::thread::available_parallelism().map_or(1, |count| count.get() as u64);
    let parts: Vec<_> = (0..workers)
        .map(|part| {
            std::thread::spawn(move || {
                let mut sum = Counts::default();
                for seed in (part..seeds).step_by(workers as usize) {
                    sum.add(&Schedule::new(seed).play());
                }
                sum
            })
        })
        .collect();
    let mut sum = Counts::default();
    for part in parts {
        sum.add(&part.join().expect("a schedule failed"));
    }
    print(seeds, &sum);
    // A world in which nothing goes wrong proves nothing.
    for (what, count) in sum.of() {
        assert!(
            count * 200 >= seeds,
            "only {count} {what} in {seeds} schedules"
        );
    }
}

#[expect(clippy::print_stderr, reason = "for people")]
fn say(line: &str) {
    eprintln!("{line}");
}

fn print(seeds: u64, sum: &Counts) {
    let all: Vec<String> = sum
        .of()
        .into_iter()
        .map(|(what, count)| format!("{count} {what}"))
        .collect();
    say(&format!("{seeds} schedules: {}", all.join(", ")));
}

/// What happened.
#[derive(Debug, Default)]
struct Counts {
    steps: u64,
    due: u64,
    bought: u64,
    obtained: u64,
    successors: u64,
    renewed_alone: u64,
    adopted: u64,
    yielded: u64,
    lost_with_effect: u64,
    lost_without: u64,
    traced: u64,
    taken_for_ours: u64,
    not_bought: u64,
    crashes: u64,
    refused: u64,
    abandoned: u64,
    withdrawn: u64,
    budget_waits: u64,
    untold: u64,
    supplemented: u64,
    supplements_refused: u64,
}

impl Counts {
    fn of(&self) -> Vec<(&'static str, u64)> {
        vec![
            ("steps", self.steps),
            ("certificates due", self.due),
            ("bought", self.bought),
            ("obtained", self.obtained),
            ("successors", self.successors),
            (
                "of orders that say only that they renew",
                self.renewed_alone,
            ),
            ("unused ones adopted", self.adopted),
            ("claims yielded", self.yielded),
            ("answers lost after the effect", self.lost_with_effect),
            ("answers lost without one", self.lost_without),
            ("purchases traced by their tag", self.traced),
            ("purchases found by comparison", self.taken_for_ours),
            ("purchases known not to be made", self.not_bought),
            ("crashes", self.crashes),
            ("calls refused", self.refused),
            ("orders abandoned", self.abandoned),
            ("applications withdrawn", self.withdrawn),
            ("waits for the budget", self.budget_waits),
            ("waits for tags of what others use", self.untold),
            ("names added to a certificate", self.supplemented),
            ("names not added", self.supplements_refused),
        ]
    }

    fn add(&mut self, other: &Self) {
        self.steps += other.steps;
        self.due += other.due;
        self.bought += other.bought;
        self.obtained += other.obtained;
        self.successors += other.successors;
        self.renewed_alone += other.renewed_alone;
        self.adopted += other.adopted;
        self.yielded += other.yielded;
        self.lost_with_effect += other.lost_with_effect;
        self.lost_without += other.lost_without;
        self.traced += other.traced;
        self.taken_for_ours += other.taken_for_ours;
        self.not_bought += other.not_bought;
        self.crashes += other.crashes;
        self.refused += other.refused;
        self.abandoned += other.abandoned;
        self.withdrawn += other.withdrawn;
        self.budget_waits += other.budget_waits;
        self.untold += other.untold;
        self.supplemented += other.supplemented;
        self.supplements_refused += other.supplements_refused;
    }
}

/// xorshift64*: cheap, and the same everywhere.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11
    }

    /// From 0 to one below.
    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }

    fn seconds(&mut self, most: i64) -> Seconds {
        Seconds(self.below(most as u64 + 1) as i64)
    }
}

/// What a call comes to.
enum Call {
    Answered,
    /// Refused with an answer: no effect.
    Refused(ErrorClass),
    /// It had its effect, or will have, or has none; nobody knows.
    Lost {
        effect: bool,
    },
    /// The process dies, before or after the effect.
    Crash {
        effect: bool,
    },
}

/// One certificate of one host.
struct Wanted {
    id: CertificateId,
    names: SubjectAltNames,
    /// Stays the first one.
    common_name: String,
    state: CertificateState,
    order: Option<Order>,
    /// Certificates that were due up to now, and those of them that have to be bought.
    due: u32,
    to_buy: u32,
    obtained: u32,
    next_at: Timestamp,
    /// Its policy changed: what is not sent yet is given up.
    changed: bool,
    /// Supplements that CCM may have accepted for it.
    to_supplement: u32,
}

/// Why certificates are due.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Round {
    First,
    Forced,
    Adding,
    End,
}

/// One host: what its journal and its disk have.
struct Host {
    journal: String,
    wanted: Vec<Wanted>,
    /// Private keys of open orders, and of revisions, by their public ones.
    order_keys: BTreeMap<OrderId, Fingerprint>,
    kept_keys: BTreeSet<Fingerprint>,
    purchases: Vec<(OrderId, Timestamp)>,
    /// All that it ever sent, with or without effect, by time: for the budget.
    sent: Vec<Timestamp>,
}

struct Schedule {
    seed: u64,
    random: Random,
    /// When the account has no word of successors.
    silence: Random,
    now: Timestamp,
    begin: Timestamp,
    scm: Scm,
    hosts: Vec<Host>,
    budget: Budget,
    years: u32,
    /// Chances of a hundred while they last.
    faults: u64,
    /// Every answer to a purchase of the first hours is lost, as it would be by an outage: all come to be found at once.
    storm: bool,
    /// Tags are seen so much later at most, in seconds.
    tags_late: i64,
    faults_end: Timestamp,
    /// How far listings are behind changes then.
    lag_until: Timestamp,
    /// Names that are bought.
    domains: u32,
    count: u32,
    loud: bool,
    sum: Counts,
}

const TIMING: Timing = Timing {
    timeout: Seconds(30),
    settle: Seconds(120),
};
const POLICY: Fingerprint = Fingerprint([1; 32]);
/// A purchase has its effect no later than this after its time-out.
const PURCHASE_SETTLES: i64 = 10 * 60;

impl Schedule {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let storm = seed.is_multiple_of(5);
        let years = 1 + random.below(2) as u32;
        let hosts = 1 + random.below(3);
        let per_day = [1, 2, 50, 50, 50, 50, 50, 50][random.below(8) as usize];
        // With room for names that are added.
        let domains = if random.percent(30) { 4 } else { 1 };
        let now = Timestamp(1_800_000_000);
        let mut all = Vec::new();
        for host in 0..hosts {
            let wanted = (0..=random.below(2)).map(|number| {
                // Two hosts may want the same names.
                let name = format!(
                    "c{number}.h{}.example",
                    if random.percent(20) { 0 } else { host }
                );
                let further = format!("www.{name}");
                let common_name = name.clone();
                let names = [name, further].into_iter();
                let names = names.take(if domains > 1 { 2 } else { 1 });
                Wanted {
                    id: CertificateId::new(&format!("c{number}")).unwrap(),
                    names: names.map(|name| Name::parse(&name).unwrap()).collect(),
                    common_name,
                    state: CertificateState::default(),
                    order: None,
                    due: 0,
                    to_buy: 0,
                    obtained: 0,
                    next_at: now + Seconds(60 * number as i64),
                    changed: false,
                    to_supplement: 0,
                }
            });
            all.push(Host {
                journal: format!("j{host}"),
                wanted: wanted.collect(),
                order_keys: BTreeMap::new(),
                kept_keys: BTreeSet::new(),
                purchases: Vec::new(),
                sent: Vec::new(),
            });
        }
        Self {
            seed,
            scm: Scm {
                lifetime: Seconds::days(200),
                review: Seconds::minutes(random.below(60) as i64),
                adds_none: random.percent(20),
                // All or none: one that is bought for may take a successor that was withdrawn.
                auto_renew: random.percent(40),
                ..Scm::default()
            },
            budget: Budget {
                per_day,
                per_month: if random.percent(2) { 3 } else { 20 },
            },
            faults: [0, 10, 30, 60][random.below(4) as usize],
            storm,
            tags_late: if storm { 60 * 60 } else { 15 * 60 },
            faults_end: now,
            lag_until: now,
            random,
            silence: Random::new(!seed),
            now,
            begin: now,
            hosts: all,
            years,
            domains,
            count: 0,
            loud: false,
            sum: Counts::default(),
        }
    }

    /// Until each certificate has been obtained: at first, perhaps once more when a person asks for it, and when it ends.
    fn play(mut self) -> Counts {
        let asked = self.random.percent(30);
        let adding = self.domains > 1 && self.random.percent(70);
        let rounds = [
            Some(Round::First),
            asked.then_some(Round::Forced),
            adding.then_some(Round::Adding),
            Some(Round::End),
        ];
        for round in rounds.into_iter().flatten() {
            let since = match round {
                Round::First => Seconds(0),
                Round::Forced => Seconds::days(60),
                Round::Adding => Seconds::days(90),
                // The ends of what there is come near, and some are past their successor's beginning.
                Round::End => Seconds(Seconds::days(165).0 + self.random.seconds(20 * 86_400).0),
            };
            self.now = self.now.max(self.begin + since);
            self.scm.pass(self.now);
            let forced = round == Round::Forced;
            for host in 0..self.hosts.len() {
                for at in 0..self.hosts[host].wanted.len() {
                    let now = self.now;
                    let wanted = &mut self.hosts[host].wanted[at];
                    wanted.due += 1;
                    wanted.state.forced = forced;
                    wanted.next_at = now;
                    let first = wanted.due == 1;
                    if round == Round::Adding {
                        // What there is was bought with room for it.
                        wanted.to_supplement += 1;
                        wanted.add_name();
                    } else {
                        // An order of several years, or one that is renewed by itself, brings the next one without a purchase.
                        let newest = wanted.state.newest.as_ref();
                        let comes = newest
                            .is_some_and(|newest| self.scm.get(&newest.reference).brings_another());
                        wanted.to_buy += u32::from(first || forced || !comes);
                    }
                    self.open(host, at);
                }
            }
            self.faults_end = self.now + Seconds::hours(1 + self.random.below(8) as i64);
            while let Some((host, at)) = self.first() {
                self.now = self.now.max(self.hosts[host].wanted[at].next_at);
                self.step(host, at);
                self.sum.steps += 1;
                assert!(self.sum.steps < 200_000, "{}", self.fail("it does not end"));
            }
            self.check();
        }
        self.sum.supplemented += u64::from(self.scm.supplemented);
        self.sum.bought += u64::from(self.scm.bought);
        self.sum
    }

    fn fail(&self, what: &str) -> String {
        format!("seed {}: {what}", self.seed)
    }

    /// Whose turn it is.
    fn first(&self) -> Option<(usize, usize)> {
        let mut first = None;
        for (host, of) in self.hosts.iter().enumerate() {
            for (at, wanted) in of.wanted.iter().enumerate() {
                if wanted.obtained >= wanted.due && wanted.order.is_none() {
                    continue;
                }
                if first.is_none_or(|(before, _, _)| wanted.next_at < before) {
                    first = Some((wanted.next_at, host, at));
                }
            }
        }
        first.map(|(_, host, at)| (host, at))
    }

    fn open(&mut self, host: usize, at: usize) {
        self.count += 1;
        let (now, years, budget, domains) = (self.now, self.years, self.budget, self.domains);
        let wanted = &mut self.hosts[host].wanted[at];
        let forced = wanted.state.forced;
        let newest = wanted.state.newest.as_ref();
        let missing = wanted.missing();
        let reason = match newest {
            Some(_) if forced => Reason::Forced,
            Some(_) if !missing.is_empty() => Reason::NamesChanged { missing },
            Some(_) => Reason::RenewalDue { since: now },
            None => Reason::NoRevision,
        };
        let id = OrderId::new(&format!("o{}", self.count)).unwrap();
        let (policy, certificate) = wanted.policy(years, budget);
        let mut order = open::order(id, &policy, &certificate, &wanted.state, reason, now);
        let public = order.request.public.as_mut().unwrap();
        let product = &mut public.buying.as_mut().unwrap().product;
        // With room for what comes, as by people.
        product.domains = domains;
        product.kinds = None;
        let adds = matches!(order.reason, Reason::NamesChanged { .. });
        let unsupplemented = wanted.state.unsupplemented.is_some();
        assert_eq!(
            public.supplements.is_some(),
            adds && !unsupplemented,
            "seed {}: {:?}",
            self.seed,
            order.reason
        );
        wanted.order = Some(order);
    }

    /// What the engine and the planner do with an order at this moment.
    fn step(&mut self, host: usize, at: usize) {
        let now = self.now;
        let faulty = now < self.faults_end;
        // Put back by whatever becomes of it.
        let Some(order) = self.hosts[host].wanted[at].order.take() else {
            return self.open(host, at);
        };
        // A person changes the policy now and then; what is not sent yet is given up for it.
        if faulty && self.random.below(400) == 0 {
            self.hosts[host].wanted[at].changed = true;
        }
        if self.hosts[host].wanted[at].changed {
            let under_way = matches!(order.phase, OrderPhase::Submitted { public: true, .. });
            if under_way || !order_machine::is_submitted(&order) {
                self.hosts[host].wanted[at].changed = false;
                let closing = OrderClosing::Abandoned {
                    message: String::new(),
                };
                self.sum.abandoned += 1;
                return self.event(host, at, order, OrderEvent::Closed { closing });
            }
        }
        let journal: Vec<Timestamp> = self.hosts[host]
            .purchases
            .iter()
            .map(|(_, at)| *at)
            .collect();
        let others = self.hosts[host].wanted.iter().enumerate();
        let mut others = others.filter(|(other, _)| *other != at);
        let busy = others.any(|(_, other)| {
            let order = other.order.as_ref();
            order.is_some_and(order_machine::is_buying)
        });
        let public = order.request.public.as_ref().unwrap();
        let state = &self.hosts[host].wanted[at].state;
        let replaces = public.replaces.as_ref();
        let money = Money {
            journal: &journal,
            last: journal.iter().max().copied(),
            stale: None,
            busy,
            successor: replaces.and_then(|replaces| entitlements::successor(state, replaces)),
            unused: state.unused.as_ref(),
        };
        let host_seed = HostSeed(host as u64);
        match order_machine::next(&order, TIMING, &money, POLICY, host_seed, now) {
            Next::Step(step) => self.carry_out(host, at, order, step),
            Next::Record(event) => self.event(host, at, order, event),
            Next::Wait(waiting) => {
                if waiting.code() == "purchase-budget" {
                    self.sum.budget_waits += 1;
                }
                let until = waiting.until().unwrap();
                let looks = order_machine::looks_again(&order).filter(|at| *at > now);
                let wanted = &mut self.hosts[host].wanted[at];
                wanted.next_at = looks.map_or(until, |at| until.min(at));
                wanted.order = Some(order);
            }
            Next::Blocked(blocked) => {
                let until = blocked.until().unwrap_or(now + Seconds::hours(1));
                let wanted = &mut self.hosts[host].wanted[at];
                wanted.next_at = until;
                wanted.order = Some(order);
            }
            Next::Done => panic!("{}", self.fail("a closed order is open")),
        }
    }

    fn call(&mut self, step: OrderStep) -> Call {
        let faulty = self.now < self.faults_end && self.random.percent(self.faults);
        if self.storm && step == OrderStep::Buy && self.now < self.faults_end {
            return Call::Lost {
                effect: self.random.percent(80),
            };
        }
        if !faulty {
            return Call::Answered;
        }
        let writes = matches!(
            step,
            OrderStep::Buy | OrderStep::Submit | OrderStep::Supplement
        );
        match self.random.below(8) {
            0 | 1 => Call::Crash {
                effect: self.random.percent(50),
            },
            2 => Call::Refused(ErrorClass::RateLimited),
            3 => Call::Refused(ErrorClass::Authentication),
            4..=6 if writes => Call::Lost {
                effect: self.random.percent(60),
            },
            // 5xx, a time-out or a listing that stops half-way, of what changes nothing.
            _ => Call::Refused(ErrorClass::Transient),
        }
    }

    fn carry_out(&mut self, host: usize, at: usize, order: Order, step: OrderStep) {
        let faulty = self.now < self.faults_end;
        // Listings come from replicas, and tags from an index: both may be behind, for a while.
        if !faulty {
            self.scm.lag = Seconds(0);
        } else if self.now >= self.lag_until {
            let behind = self.random.percent(40);
            self.scm.lag = match behind {
                true => self.random.seconds(9 * 60),
                false => Seconds(0),
            };
            self.lag_until = self.now + self.random.seconds(30 * 60);
        }
        let late = match self.storm && faulty {
            true => 60,
            false => self.faults,
        };
        self.scm.tags_in = if self.random.percent(late) {
            self.random.seconds(self.tags_late)
        } else {
            Seconds(0)
        };
        self.scm.silent = faulty && self.silence.percent(self.faults);
        let call = self.call(step);
        let late = matches!(call, Call::Lost { effect: true });
        self.scm.effect_in = match late {
            // As late as can be, or at any time before.
            true if self.random.percent(50) => {
                Seconds(TIMING.timeout.0 + PURCHASE_SETTLES - self.random.seconds(120).0)
            }
            true => self.random.seconds(TIMING.timeout.0 + PURCHASE_SETTLES),
            false => Seconds(0),
        };
        let mut order = order;
        order.started = Some(Started { step, at: self.now });
        if step == OrderStep::Buy {
            self.hosts[host]
                .purchases
                .push((order.id.clone(), self.now));
            self.hosts[host].sent.push(self.now);
        }
        let (class, lost) = match call {
            Call::Answered => match self.effect(host, at, &order, step) {
                Ok(event) => return self.event(host, at, order, event),
                Err(class) => (class, false),
            },
            Call::Crash { effect } => {
                self.sum.crashes += 1;
                if effect {
                    let _ = self.effect(host, at, &order, step);
                }
                // Down for a while; the journal has the intent, and no outcome.
                let down = self.random.seconds(20 * 60);
                let wanted = &mut self.hosts[host].wanted[at];
                wanted.next_at = self.now + down + Seconds(1);
                wanted.order = Some(order);
                return;
            }
            Call::Lost { effect } => {
                if effect {
                    self.sum.lost_with_effect += 1;
                    let _ = self.effect(host, at, &order, step);
                } else {
                    self.sum.lost_without += 1;
                }
                (ErrorClass::Transient, true)
            }
            Call::Refused(class) => (class, false),
        };
        self.sum.refused += 1;
        if step == OrderStep::Buy && !lost {
            self.hosts[host].forget_purchase(&order.id);
            self.hosts[host].sent.pop();
        }
        let trouble = Trouble {
            class,
            message: String::new(),
            output: String::new(),
            retry_after: None,
        };
        match order_machine::on_error(&order, step, trouble, lost, TIMING, POLICY, self.now) {
            OnError::Event(event) => self.event(host, at, order, event),
            OnError::Retry(failure) => {
                order.started = None;
                order.failures.add(failure);
                let wanted = &mut self.hosts[host].wanted[at];
                wanted.next_at = self.now + Seconds(1);
                wanted.order = Some(order);
            }
        }
    }

    /// The effect of a step and what it answers, or how it is refused.
    fn effect(
        &mut self,
        host: usize,
        at: usize,
        order: &Order,
        step: OrderStep,
    ) -> Result<OrderEvent, ErrorClass> {
        let now = self.now;
        self.scm.pass(now);
        let of = &self.hosts[host];
        let keys: BTreeSet<Fingerprint> = of
            .order_keys
            .values()
            .chain(&of.kept_keys)
            .copied()
            .collect();
        let others = of
            .wanted
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != at);
        let open: Vec<&Order> = others.filter_map(|(_, one)| one.order.as_ref()).collect();
        let mut known: BTreeSet<String> = open
            .iter()
            .filter_map(|other| taken(other))
            .map(str::to_owned)
            .collect();
        for wanted in &of.wanted {
            known.extend(
                wanted
                    .state
                    .newest
                    .iter()
                    .map(|newest| newest.reference.clone()),
            );
            known.extend(
                wanted
                    .state
                    .earlier
                    .iter()
                    .map(|earlier| earlier.reference.clone()),
            );
        }
        let open: BTreeSet<OrderId> = open.iter().map(|other| other.id.clone()).collect();
        let bought: BTreeSet<OrderId> = of.purchases.iter().map(|(id, _)| id.clone()).collect();
        let who = Who {
            journal: &of.journal,
            keys: &keys,
            known: &known,
            open: &open,
            bought: &bought,
        };
        let key = of.order_keys.get(&order.id).copied();
        Ok(match (step, &order.phase) {
            (OrderStep::Look, _) => self.scm.look(order, &who, now),
            (OrderStep::Confirm, _) => self.scm.confirm(order, now),
            (OrderStep::Buy, _) => OrderEvent::Bought {
                reference: self.scm.buy(order, &who, now),
            },
            (OrderStep::Trace, OrderPhase::PurchaseUnclear { purchase, .. }) => {
                match self.scm.trace(order, purchase, &who, now) {
                    Trace::Event(event) => event,
                    Trace::Absent => order_machine::not_bought(order, now),
                    Trace::Untold => {
                        self.sum.untold += 1;
                        order_machine::untold(now)
                    }
                }
            }
            (OrderStep::StoreKey, _) => {
                self.count += 1;
                let mut fresh = [0; 32];
                fresh[..4].copy_from_slice(&self.count.to_be_bytes());
                fresh[4] = 1;
                let keys = &mut self.hosts[host].order_keys;
                let spki = *keys.entry(order.id.clone()).or_insert(Fingerprint(fresh));
                OrderEvent::KeyStored { spki }
            }
            (OrderStep::Submit, _) => {
                let reference = taken(order).unwrap().to_owned();
                if !self.scm.apply(&reference, order, key.unwrap()) {
                    return Err(ErrorClass::Rejected);
                }
                OrderEvent::Accepted {
                    reference,
                    poll_after: now,
                }
            }
            (OrderStep::Supplement, _) => {
                let answer = self.scm.supplement(supplement(order).unwrap(), now);
                return answer.ok_or(ErrorClass::Rejected);
            }
            (OrderStep::Resolve, _) if supplement(order).is_some() => self
                .scm
                .supplemented(supplement(order).unwrap(), now)
                .unwrap_or_else(|| order_machine::absent(order, TIMING, now)),
            (OrderStep::Resolve, _) => self
                .scm
                .applied(taken(order).unwrap(), key.unwrap(), now)
                .unwrap_or_else(|| order_machine::absent(order, TIMING, now)),
            (
                OrderStep::Fetch,
                OrderPhase::Submitted {
                    reference, spki, ..
                },
            ) => {
                // It came to nothing, or somebody else has it now: no certificate for our key comes of it.
                if self.scm.get(reference).key() != *spki {
                    return Err(ErrorClass::Rejected);
                }
                // A CA says no now and then, and the entitlement is unused again.
                if now < self.faults_end
                    && self.random.below(100) == 0
                    && matches!(self.scm.get(reference).stage, Stage::Checking { .. })
                    && self.scm.get(reference).renews.is_none()
                {
                    self.scm.withdraw(reference);
                    return Err(ErrorClass::Rejected);
                }
                if let Some(supplement) = supplement(order) {
                    if now < self.faults_end && self.random.below(50) == 0 {
                        self.scm.turn_down(reference);
                    }
                    if self.scm.is_as_before(supplement) {
                        let review = Review {
                            status: "ISSUED".to_owned(),
                            since: now,
                        };
                        let over = order_machine::was_taken_back(order, &review, TIMING);
                        let poll_after = now + Seconds::minutes(1);
                        return match over {
                            true => Err(ErrorClass::Rejected),
                            false => Ok(OrderEvent::NotYet { poll_after, review }),
                        };
                    }
                }
                match self.scm.fetch(order, now) {
                    Some(event) => event,
                    None => OrderEvent::Issued {
                        revision: self.scm.revision(reference, order).id,
                    },
                }
            }
            (
                OrderStep::Publish,
                OrderPhase::Submitted {
                    proof: Some(proof), ..
                },
            ) => {
                self.scm.publish(&proof.proofs);
                OrderEvent::Published {
                    at: now,
                    examine_at: now + Seconds(30),
                }
            }
            (OrderStep::Examine, _) => OrderEvent::Visible { at: now },
            (
                OrderStep::Retract,
                OrderPhase::Ending {
                    proof: Some(proof), ..
                },
            ) => {
                self.scm
                    .retract(proof.proofs.iter().chain(&proof.superseded));
                OrderEvent::Retracted
            }
            (
                OrderStep::Withdraw,
                OrderPhase::Ending {
                    withdraw: Some(reference),
                    ..
                },
            ) => {
                self.scm.withdraw(reference);
                OrderEvent::Withdrawn
            }
            (OrderStep::Close, OrderPhase::Issued { revision, .. }) => OrderEvent::Closed {
                closing: OrderClosing::Fulfilled {
                    revision: revision.clone(),
                },
            },
            (OrderStep::Close, OrderPhase::Ending { closing, .. }) => OrderEvent::Closed {
                closing: closing.clone(),
            },
            (step, phase) => panic!("{}", self.fail(&format!("{step} in {}", phase.code()))),
        })
    }

    /// What the journal writes for an event.
    fn event(&mut self, host: usize, at: usize, mut order: Order, event: OrderEvent) {
        let now = self.now;
        let phase = match order_machine::transition(&order.phase, &event) {
            Ok(phase) => phase,
            Err(error) => panic!("{}", self.fail(&error.to_string())),
        };
        self.tell(&order, &event);
        if let (OrderEvent::Closed { closing }, Some(_)) = (&event, supplement(&order)) {
            let wanted = &mut self.hosts[host].wanted[at];
            match closing {
                OrderClosing::Failed { .. } => {
                    if !matches!(order.phase, OrderPhase::Ending { .. }) {
                        // Another one for all names, which has to be bought.
                        wanted.to_buy += 1;
                        self.sum.supplements_refused += 1;
                    }
                }
                // Given up, it is sent anew.
                OrderClosing::Abandoned { .. } => {
                    let begun =
                        !matches!(order.phase, OrderPhase::Opened | OrderPhase::Ending { .. });
                    wanted.to_supplement += u32::from(begun);
                }
                OrderClosing::Fulfilled { .. } => {}
            }
        }
        if self.loud {
            say(&format!(
                "{now} h{host} {}: {} -> {event:?}",
                order.certificate,
                order.phase.code()
            ));
        }
        let mut revision = None;
        if let (OrderEvent::Issued { .. }, OrderPhase::Submitted { reference, .. }) =
            (&event, &order.phase)
        {
            revision = Some(self.scm.revision(reference, &order));
        }
        if event == OrderEvent::DefinitelyNotBought {
            self.hosts[host].forget_purchase(&order.id);
            let began = match &order.phase {
                OrderPhase::PurchaseUnclear { purchase, .. } => purchase.began_at,
                other => panic!("{}", self.fail(other.code())),
            };
            self.hosts[host].sent.retain(|at| *at != began);
        }
        if let Some(revision) = &revision {
            self.check_key(host, revision);
        }
        let entitlement = revision
            .as_ref()
            .map(|revision| self.scm.entitlement(&revision.reference, now));
        let of = &mut self.hosts[host];
        let wanted = &mut of.wanted[at];
        let after = outcome::certificate_after(
            &wanted.state,
            &order,
            &event,
            revision.as_ref(),
            POLICY,
            now,
        );
        if let Some(after) = after {
            wanted.state = after;
        }
        if let Some(entitlement) = entitlement {
            entitlements::remember(&mut wanted.state, entitlement, now);
        }
        if let OrderPhase::Closed { closing } = &phase {
            wanted.next_at = now + Seconds(1);
            if let OrderClosing::Fulfilled { .. } = closing {
                wanted.obtained += 1;
                self.sum.obtained += 1;
            }
            // As the engine does: a revision's key stays with it, and so do those that are needed yet.
            let key = of.order_keys.remove(&order.id);
            of.kept_keys.extend(key);
            let mut needed = BTreeSet::new();
            for one in &of.wanted {
                needed.extend(entitlements::keys(&one.state, now));
                needed.extend(one.state.newest.iter().map(|newest| newest.facts.spki));
            }
            of.kept_keys.retain(|key| needed.contains(key));
            return;
        }
        order.phase = phase;
        order.started = None;
        order.failures = renewd::model::Failures::default();
        wanted.next_at = now + Seconds(1);
        wanted.order = Some(order);
    }

    /// A certificate without its key is none.
    fn check_key(&self, host: usize, revision: &RevisionFacts) {
        let of = &self.hosts[host];
        let spki = revision.facts.spki;
        let there = of.order_keys.values().any(|key| *key == spki) || of.kept_keys.contains(&spki);
        assert!(there, "{}", self.fail("the key of a successor is gone"));
    }

    fn tell(&mut self, order: &Order, event: &OrderEvent) {
        let unclear = matches!(order.phase, OrderPhase::PurchaseUnclear { .. });
        if let OrderEvent::Adopted { reference, .. } = event
            && let Some(renews) = &self.scm.get(reference).renews
        {
            self.sum.renewed_alone += u64::from(self.scm.get(renews).remaining == 0);
        }
        let count = match event {
            OrderEvent::Adopted { .. } => &mut self.sum.successors,
            OrderEvent::Claimed { .. } if unclear => &mut self.sum.taken_for_ours,
            OrderEvent::Bought { .. } if unclear => &mut self.sum.traced,
            OrderEvent::Confirmed => &mut self.sum.adopted,
            OrderEvent::Yielded { .. } => &mut self.sum.yielded,
            OrderEvent::DefinitelyNotBought => &mut self.sum.not_bought,
            OrderEvent::Withdrawn => &mut self.sum.withdrawn,
            _ => return,
        };
        *count += 1;
    }

    fn check(&mut self) {
        let (mut due, mut to_supplement) = (0, 0);
        for host in &self.hosts {
            let mut sent = host.sent.clone();
            sent.sort();
            for (span, most) in [
                (Seconds::days(1), self.budget.per_day),
                (Seconds::days(30), self.budget.per_month),
            ] {
                for (at, first) in sent.iter().enumerate() {
                    let within = sent[at..]
                        .iter()
                        .filter(|later| first.until(**later) < span);
                    let count = within.count();
                    assert!(
                        count <= most as usize,
                        "{}",
                        self.fail(&format!("{count} purchases within {span}, of {most}"))
                    );
                }
            }
            for wanted in &host.wanted {
                let state = &wanted.state;
                let earlier = state.earlier.iter().map(|earlier| &earlier.reference);
                let newest = state.newest.iter().map(|newest| &newest.reference);
                for reference in earlier.chain(newest) {
                    let paper = self.scm.get(reference);
                    let key = paper.key().unwrap();
                    assert!(
                        !paper.has_certificates_to_come(self.now) || host.kept_keys.contains(&key),
                        "{}",
                        self.fail(&format!(
                            "the key of {reference} is gone before its successor"
                        ))
                    );
                }
                assert_eq!(wanted.obtained, wanted.due, "{}", self.fail("not obtained"));
                due += wanted.to_buy;
                to_supplement += wanted.to_supplement;
                assert!(
                    wanted.missing().is_empty(),
                    "{}",
                    self.fail("names are missing")
                );
            }
        }
        assert!(
            self.scm.supplemented <= to_supplement,
            "{}",
            self.fail(&format!(
                "{} supplements accepted, {to_supplement} due",
                self.scm.supplemented
            ))
        );
        let bought = self.scm.bought;
        assert!(
            bought <= due,
            "{}",
            self.fail(&format!("{bought} bought, {due} due"))
        );
        assert!(
            self.scm.published.is_empty(),
            "{}",
            self.fail(&format!("published still: {:?}", self.scm.published))
        );
        let all: u32 = self.hosts.iter().map(|host| host.wanted.len() as u32).sum();
        self.sum.due += u64::from(all);
    }
}

impl Wanted {
    fn add_name(&mut self) {
        let first = self.names.iter().next().unwrap().to_string();
        let more = Name::parse(&format!("more.{first}")).unwrap();
        self.names = self.names.iter().cloned().chain([more]).collect();
    }

    /// Names that the newest certificate lacks.
    fn missing(&self) -> SubjectAltNames {
        let Some(newest) = &self.state.newest else {
            return SubjectAltNames::default();
        };
        let has = |name: &&Name| !newest.facts.covers_name(name);
        self.names.iter().filter(has).cloned().collect()
    }

    /// What an administrator would have written for it.
    fn policy(&self, years: u32, budget: Budget) -> (Policy, CertificatePolicy) {
        let mut world = World::new();
        let Budget { per_day, per_month } = budget;
        let issuer = format!(
            "issuer prod: kind=scm purchase=DV_SSL_CERT years={years} day={per_day} month={per_month}"
        );
        obey(&mut world, &issuer);
        let names: Vec<String> = self.names.iter().map(ToString::to_string).collect();
        let names = names.join(",");
        obey(
            &mut world,
            &format!("policy {}: issuer=prod names={names}", self.id),
        );
        let mut certificate = world.policy.certificates[&self.id].clone();
        certificate.common_name = self.common_name.clone();
        certificate.digest = POLICY;
        (world.policy, certificate)
    }
}

impl Host {
    fn forget_purchase(&mut self, order: &OrderId) {
        let last = self.purchases.iter().rposition(|(id, _)| id == order);
        if let Some(last) = last {
            self.purchases.remove(last);
        }
    }
}
