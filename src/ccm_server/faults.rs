//! Unpleasantness on purpose: what networks and busy services do to clients, drawn from a seeded generator or at a
//! given request. For tests and rehearsals; none by default.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex};

use crate::model::Seconds;

/// What may go wrong, and how often. Shares are in percent of all requests.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Faults {
    /// Seed of the generator: the same seed and the same requests give the same faults.
    pub seed: u64,
    /// A listing never gives more items than this, whatever limit was asked for.
    pub page_limit: Option<u32>,
    /// An issued private certificate can be exported only after it was tried so many times.
    pub polls_until_issued: u32,
    /// Share answered with 429 and `Retry-After`.
    pub rate_limited: u8,
    /// The seconds of `Retry-After`.
    pub retry_after: u32,
    /// Share answered with 500, without effect.
    pub server_error: u8,
    /// Share never answered, without effect.
    pub stalled: u8,
    /// Share whose connection is dropped before anything happens.
    pub lost_request: u8,
    /// Share whose connection is dropped after everything happened.
    pub lost_response: u8,
    /// Tokens end so soon.
    pub token_lifetime: Option<Seconds>,
    /// Every object of an answer has further fields that no reference knows.
    pub extra_fields: bool,
    /// Line ends in PEM of all answers are CRLF (PCA's always are).
    pub crlf: bool,
    /// How SCM's list reads `expired_days_since`.
    pub expiry_filter: ExpiryFilter,
    /// A purchase is answered at once, and takes effect only so much later by the server's clock: until then nobody sees
    /// what was bought. It is forgotten if the server ends before.
    pub late_effect: Option<Seconds>,
    /// The tags of a purchase appear only so much after its effect. They are forgotten if the server ends before.
    pub late_tags: Option<Seconds>,
    /// A tag that a certificate has keeps its value: another one for its key is refused.
    pub tags_stand: bool,
    /// Faults at given requests.
    pub triggers: Vec<Trigger>,
}

/// What `expired_days_since` of 4.1.5.1 means; documents disagree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ExpiryFilter {
    /// Valid, and ends within so many days (the reference).
    #[default]
    Reference,
    /// Valid, or ended at most so many days ago (the SDK).
    Sdk,
    /// It filters nothing.
    Unfiltered,
    /// As the reference, but what ends first is left out.
    Forgetful,
}

impl ExpiryFilter {
    const ALL: [Self; 4] = [
        Self::Reference,
        Self::Sdk,
        Self::Unfiltered,
        Self::Forgetful,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Reference => "reference",
            Self::Sdk => "sdk",
            Self::Unfiltered => "unfiltered",
            Self::Forgetful => "forgetful",
        }
    }
}

/// One fault at one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trigger {
    /// The chapter of the operation, such as `4.2.2.3`.
    pub operation: String,
    /// Which of its requests, counted from 1.
    pub nth: u32,
    /// What happens to it.
    pub fault: Fault,
}

/// What happens to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// 429 with `Retry-After`.
    RateLimited,
    /// 500, without effect.
    ServerError,
    /// No answer until the client gives up, without effect.
    Stalled,
    /// The connection is dropped before the effect.
    LostRequest,
    /// The connection is dropped after the effect.
    LostResponse,
    /// No answer until the client gives up, after the effect.
    Withheld,
}

/// A text that describes no faults.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no fault; write seed=N pages=N polls=N retry-after=N token=SECONDS crlf extra-fields tags-stand filter=WORD \
     late-effect=SECONDS late-tags=SECONDS, a share such as rate-limited=5, or at=4.2.2.3:1:lost-response, separated by commas"
)]
pub struct FaultsError(String);

impl Faults {
    /// Everything works.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Everything that a client must get over, at shares that let a job end.
    #[must_use]
    pub fn hostile(seed: u64) -> Self {
        Self {
            seed,
            page_limit: Some(3),
            polls_until_issued: 2,
            rate_limited: 5,
            retry_after: 1,
            server_error: 5,
            stalled: 0,
            lost_request: 5,
            lost_response: 5,
            token_lifetime: None,
            extra_fields: true,
            crlf: true,
            expiry_filter: ExpiryFilter::Reference,
            late_effect: None,
            late_tags: None,
            tags_stand: false,
            triggers: Vec::new(),
        }
    }

    /// Adds a fault at the `nth` request (from 1) of the operation in this chapter.
    #[must_use]
    pub fn at(mut self, operation: &str, nth: u32, fault: Fault) -> Self {
        self.triggers.push(Trigger {
            operation: operation.to_owned(),
            nth,
            fault,
        });
        self
    }
}

impl fmt::Display for Faults {
    /// In the form that is read back: what is none is left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut items = vec![format!("seed={}", self.seed)];
        let numbers = [
            ("polls", self.polls_until_issued),
            ("rate-limited", u32::from(self.rate_limited)),
            ("server-error", u32::from(self.server_error)),
            ("stalled", u32::from(self.stalled)),
            ("lost-request", u32::from(self.lost_request)),
            ("lost-response", u32::from(self.lost_response)),
        ];
        let numbers = numbers.iter().filter(|(_, number)| *number > 0);
        items.extend(numbers.map(|(name, number)| format!("{name}={number}")));
        items.extend(self.page_limit.map(|limit| format!("pages={limit}")));
        items.push(format!("retry-after={}", self.retry_after));
        items.extend(
            self.token_lifetime
                .map(|length| format!("token={}", length.0)),
        );
        items.extend(self.crlf.then(|| "crlf".to_owned()));
        items.extend(self.extra_fields.then(|| "extra-fields".to_owned()));
        items.extend(self.tags_stand.then(|| "tags-stand".to_owned()));
        if self.expiry_filter != ExpiryFilter::default() {
            items.push(format!("filter={}", self.expiry_filter.name()));
        }
        let late = [
            ("late-effect", self.late_effect),
            ("late-tags", self.late_tags),
        ];
        let late = late
            .iter()
            .filter_map(|(name, time)| Some((name, (*time)?)));
        items.extend(late.map(|(name, time)| format!("{name}={}", time.0)));
        let triggers = self.triggers.iter();
        items.extend(triggers.map(|t| format!("at={}:{}:{}", t.operation, t.nth, t.fault.name())));
        f.pad(&items.join(","))
    }
}

impl FromStr for Faults {
    type Err = FaultsError;

    /// Reads the form of the hidden option `--faults`, such as `seed=7,pages=3,lost-response=5,at=4.2.2.3:1:stalled`.
    fn from_str(text: &str) -> Result<Self, FaultsError> {
        let mut faults = Self {
            retry_after: 1,
            ..Self::none()
        };
        for item in text.split(',').filter(|item| !item.is_empty()) {
            let bad = || FaultsError(item.to_owned());
            let (name, value) = item.split_once('=').unwrap_or((item, ""));
            let number = || value.parse::<u32>().map_err(|_| bad());
            let seconds = || number().map(|number| Some(Seconds(i64::from(number))));
            let share = || {
                let share = value.parse::<u8>().map_err(|_| bad())?;
                if share <= 100 { Ok(share) } else { Err(bad()) }
            };
            match name {
                "seed" => faults.seed = value.parse().map_err(|_| bad())?,
                "pages" => faults.page_limit = Some(number()?),
                "polls" => faults.polls_until_issued = number()?,
                "retry-after" => faults.retry_after = number()?,
                "token" => faults.token_lifetime = seconds()?,
                "late-effect" => faults.late_effect = seconds()?,
                "late-tags" => faults.late_tags = seconds()?,
                "filter" => {
                    let mut all = ExpiryFilter::ALL.into_iter();
                    faults.expiry_filter = all.find(|one| one.name() == value).ok_or_else(bad)?;
                }
                "crlf" if value.is_empty() => faults.crlf = true,
                "extra-fields" if value.is_empty() => faults.extra_fields = true,
                "tags-stand" if value.is_empty() => faults.tags_stand = true,
                "rate-limited" => faults.rate_limited = share()?,
                "server-error" => faults.server_error = share()?,
                "stalled" => faults.stalled = share()?,
                "lost-request" => faults.lost_request = share()?,
                "lost-response" => faults.lost_response = share()?,
                "at" => {
                    let parts: Vec<&str> = value.split(':').collect();
                    let [operation, nth, fault] = parts.as_slice() else {
                        return Err(bad());
                    };
                    let nth = nth.parse().map_err(|_| bad())?;
                    let fault = Fault::named(fault).ok_or_else(bad)?;
                    faults = faults.at(operation, nth, fault);
                }
                _ => return Err(bad()),
            }
        }
        Ok(faults)
    }
}

impl Fault {
    /// In `--faults` and in the log.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RateLimited => "rate-limited",
            Self::ServerError => "server-error",
            Self::Stalled => "stalled",
            Self::LostRequest => "lost-request",
            Self::LostResponse => "lost-response",
            Self::Withheld => "withheld",
        }
    }

    fn named(name: &str) -> Option<Self> {
        ALL.into_iter().find(|fault| fault.name() == name)
    }
}

/// The faults of one server and how far it is in them.
pub(super) struct FaultPlan {
    state: Mutex<PlanState>,
}

struct PlanState {
    /// As they were given last.
    faults: Arc<Faults>,
    generator: u64,
    seen: BTreeMap<&'static str, u32>,
    polls: BTreeMap<String, u32>,
}

impl FaultPlan {
    /// From the start.
    pub(super) fn new(faults: Faults) -> Self {
        let state = PlanState {
            generator: faults.seed,
            faults: Arc::new(faults),
            seen: BTreeMap::new(),
            polls: BTreeMap::new(),
        };
        Self {
            state: Mutex::new(state),
        }
    }

    /// What goes wrong at present.
    pub(super) fn faults(&self) -> Arc<Faults> {
        Arc::clone(&self.lock().faults)
    }

    /// From now on other things go wrong; requests are counted from the start again.
    pub(super) fn replace(&self, faults: Faults) {
        let mut state = self.lock();
        state.generator = faults.seed;
        state.faults = Arc::new(faults);
        state.seen.clear();
        state.polls.clear();
    }

    /// What happens to the next request of this operation.
    pub(super) fn draw(&self, operation: &'static str) -> Option<Fault> {
        let mut state = self.lock();
        let faults = Arc::clone(&state.faults);
        let seen = state.seen.entry(operation).or_insert(0);
        *seen += 1;
        let nth = *seen;
        let mut triggers = faults.triggers.iter();
        if let Some(found) = triggers.find(|t| t.operation == operation && t.nth == nth) {
            return Some(found.fault);
        }
        let shares = [
            (faults.rate_limited, Fault::RateLimited),
            (faults.server_error, Fault::ServerError),
            (faults.stalled, Fault::Stalled),
            (faults.lost_request, Fault::LostRequest),
            (faults.lost_response, Fault::LostResponse),
        ];
        if shares.iter().all(|(share, _)| *share == 0) {
            return None;
        }
        let mut dice = next(&mut state.generator) % 100;
        for (share, fault) in shares {
            if dice < u64::from(share) {
                return Some(fault);
            }
            dice -= u64::from(share);
        }
        None
    }

    /// How many requests of this operation there were.
    pub(super) fn seen(&self, operation: &str) -> u32 {
        self.lock().seen.get(operation).copied().unwrap_or(0)
    }

    /// Whether this look at a certificate still comes too early.
    pub(super) fn too_early(&self, certificate: &str) -> bool {
        let mut state = self.lock();
        let wanted = state.faults.polls_until_issued;
        if wanted == 0 {
            return false;
        }
        let polls = state.polls.entry(certificate.to_owned()).or_insert(0);
        *polls = polls.saturating_add(1);
        *polls <= wanted
    }

    /// The most items of a page when `asked` were asked for.
    pub(super) fn page(&self, asked: i64) -> i64 {
        let most = self.faults().page_limit.map_or(i64::MAX, i64::from);
        asked.min(most)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, PlanState> {
        // Nothing between lock and unlock can panic half-way, so a poisoned lock still holds sound values.
        self.state
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): tiny, and the same on every machine.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

const ALL: [Fault; 6] = [
    Fault::RateLimited,
    Fault::ServerError,
    Fault::Stalled,
    Fault::LostRequest,
    Fault::LostResponse,
    Fault::Withheld,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_draws_the_same_faults() {
        let draw = |seed| {
            let plan = FaultPlan::new(Faults::hostile(seed));
            (0..200).map(|_| plan.draw("4.2.2.3")).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        let hits = draw(7).iter().flatten().count();
        assert!(
            (20..60).contains(&hits),
            "{hits} of 200 at shares of 20 percent together"
        );
    }

    #[test]
    fn a_trigger_hits_its_request_and_no_other() {
        let plan = FaultPlan::new(Faults::none().at("4.2.2.3", 2, Fault::LostResponse));
        assert_eq!(plan.draw("4.2.2.3"), None);
        assert_eq!(plan.draw("4.2.2.8"), None);
        assert_eq!(plan.draw("4.2.2.3"), Some(Fault::LostResponse));
        assert_eq!(plan.draw("4.2.2.3"), None);
    }

    #[test]
    fn the_option_is_read_whole_or_refused() {
        let faults: Faults = "seed=7,pages=3,lost-response=5,crlf,at=4.2.2.3:1:stalled"
            .parse()
            .unwrap();
        assert_eq!(faults.seed, 7);
        assert_eq!(faults.page_limit, Some(3));
        assert_eq!(faults.lost_response, 5);
        assert!(faults.crlf);
        assert_eq!(faults.triggers[0].fault, Fault::Stalled);
        let late = Faults {
            late_effect: Some(Seconds(90)),
            late_tags: Some(Seconds(5)),
            ..Faults::none()
        };
        for whole in [faults, late, Faults::hostile(3), Faults::none()] {
            assert_eq!(whole.to_string().parse(), Ok(whole));
        }
        for bad in [
            "x",
            "seed=",
            "lost-response=101",
            "at=1:2",
            "at=1:2:3",
            "crlf=1",
            "filter=other",
            "late-tags=",
            "late-effect=-1",
        ] {
            assert!(bad.parse::<Faults>().is_err(), "{bad}");
        }
    }
}
