//! When a failed thing is tried again. Backoff lives in the journal, so a restart neither forgets nor shortens it.

use crate::model::{
    CertificatePolicy, ErrorClass, Failures, Fingerprint, HostSeed, IssuerPolicy, Seconds,
    StepFailure, Timestamp, Waiting,
};
use crate::plan::Trouble;

/// What spreads attempts: a fleet with one policy loses its issuer at one moment, and must not come back at one.
#[derive(Debug, Clone, Copy)]
pub struct Seed<'a> {
    /// Id of the certificate, target or issuer.
    pub of: &'a str,
    /// Of this host.
    pub host: HostSeed,
}

impl<'a> Seed<'a> {
    /// For this id on this host.
    #[must_use]
    pub const fn new(of: &'a str, host: HostSeed) -> Self {
        Self { of, host }
    }
}

/// When the next attempt is allowed; `None` when nothing failed, or what failed did so under another policy.
///
/// The same seed and count give the same answer, also after a restart.
#[must_use]
pub fn until(failures: &Failures, seed: Seed<'_>, policy: Fingerprint) -> Option<Timestamp> {
    let last = failures.last.as_ref()?;
    if failures.count == 0 || last.policy != policy {
        return None;
    }
    let (base, cap) = pace(last.class);
    let doublings = failures.count.saturating_sub(1).min(32);
    let delay = base.0.saturating_mul(1 << doublings).min(cap.0);
    let (host, count) = (seed.host.0.to_string(), failures.count.to_string());
    let share = hash(&[seed.of, &host, &count]) % JITTER_STEPS;
    let jitter = i128::from(delay) * i128::from(share);
    let jitter = i64::try_from(jitter / i128::from(JITTER_STEPS * JITTER_SHARE)).unwrap_or(0);
    let own = last.at + Seconds(delay.saturating_add(jitter));
    let asked = last.retry_after.map(|at| at.min(last.at + LONGEST_ASKED));
    Some(asked.map_or(own, |asked| asked.max(own)))
}

/// The wait that failures impose at `now`, if it is not over.
#[must_use]
pub fn waiting(
    failures: &Failures,
    seed: Seed<'_>,
    policy: Fingerprint,
    now: Timestamp,
) -> Option<Waiting> {
    let until = until(failures, seed, policy)?;
    let last = failures.last.as_ref()?;
    // A failure in the future means that the clock was set back: its wait could last for ever. The next one is dated
    // right.
    if until <= now || last.at > now {
        return None;
    }
    Some(Waiting::Backoff {
        until,
        failures: failures.count,
        class: last.class,
        message: last.message.clone(),
    })
}

/// Whether a moment that something waits for is still to come. One that is days ahead was written before the clock was
/// set back: waiting for it could take for ever, so it counts as past.
#[must_use]
pub fn is_ahead(moment: Timestamp, now: Timestamp) -> bool {
    moment > now && moment <= now + LONGEST_ASKED
}

/// How long what failed this often in a row, and always so, was tried at least.
#[must_use]
pub fn lasted(failures: &Failures) -> Seconds {
    let Some(last) = &failures.last else {
        return Seconds(0);
    };
    let (base, cap) = pace(last.class);
    let delays = (1..failures.count.min(LASTED_COUNTED)).map(|count| {
        base.0
            .saturating_mul(1 << count.saturating_sub(1).min(32))
            .min(cap.0)
    });
    Seconds(delays.sum())
}

/// How many failures in a row count under this policy.
#[must_use]
pub fn count(failures: &Failures, policy: Fingerprint) -> u32 {
    match &failures.last {
        Some(last) if last.policy == policy => failures.count,
        Some(_) | None => 0,
    }
}

/// What an order depends on as one digest: a change of the certificate's or the issuer's policy clears backoff.
#[must_use]
pub fn digest(certificate: &CertificatePolicy, issuer: Option<&IssuerPolicy>) -> Fingerprint {
    let mut both = certificate.digest;
    if let Some(issuer) = issuer {
        // Two digests are independent, so their sum changes when either does.
        for (byte, other) in both.0.iter_mut().zip(issuer.digest.0) {
            *byte ^= other;
        }
    }
    both
}

/// The failure that is written down for a trouble.
#[must_use]
pub fn failure(trouble: Trouble, policy: Fingerprint, now: Timestamp) -> StepFailure {
    StepFailure {
        at: now,
        class: trouble.class,
        message: trouble.message,
        retry_after: trouble.retry_after,
        policy,
    }
}

/// FNV-1a over words of eight bytes, part by part, then a finalizer that spreads the last bits. Not for secrets: it
/// spreads moments, and must give the same number in every version of renewd and on every machine.
#[must_use]
pub(crate) fn hash(parts: &[&str]) -> u64 {
    let mut sum: u64 = 0xcbf2_9ce4_8422_2325;
    let mut take = |word: u64| {
        sum = (sum ^ word).wrapping_mul(0x0100_0000_01b3).rotate_left(29);
    };
    for part in parts {
        let (words, rest) = part.as_bytes().as_chunks::<8>();
        for word in words {
            take(u64::from_le_bytes(*word));
        }
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        take(u64::from_le_bytes(last));
        // Parts another border apart are another input.
        take(part.len() as u64);
    }
    sum ^= sum >> 33;
    sum = sum.wrapping_mul(0xff51_afd7_ed55_8ccd);
    sum ^= sum >> 33;
    sum = sum.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    sum ^ (sum >> 33)
}

/// First delay and longest delay of a class, before jitter.
#[must_use]
pub const fn pace(class: ErrorClass) -> (Seconds, Seconds) {
    match class {
        // Most outages end within minutes; six hours still give four attempts a day while a long one lasts.
        ErrorClass::Transient | ErrorClass::RateLimited => (Seconds::minutes(1), Seconds::hours(6)),
        // Wrong credentials, tried often, lock an account; a person needs minutes to mend them.
        ErrorClass::Authentication | ErrorClass::Configuration => {
            (Seconds::minutes(15), Seconds::hours(6))
        }
        // The same request gets the same answer, and may leave another certificate at the issuer each time.
        ErrorClass::Rejected | ErrorClass::Bug => (Seconds::hours(1), Seconds::hours(24)),
    }
}

/// The delay grows by up to a quarter: enough to part a fleet, too little to matter to one host.
const JITTER_SHARE: u64 = 4;

/// Finer than a second on the longest delay.
const JITTER_STEPS: u64 = 1 << 20;

/// Enough for months.
const LASTED_COUNTED: u32 = 1000;

/// A remote side that asks for more than a day is believed for a day: a wrong header must not end renewals. No wait that
/// is written down is longer.
const LONGEST_ASKED: Seconds = Seconds::hours(24);

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::plan::testing;

    const POLICY: Fingerprint = Fingerprint([1; 32]);
    const NOW: Timestamp = Timestamp(1_000_000);
    const WWW: Seed<'_> = Seed {
        of: "www",
        host: HostSeed(7),
    };

    fn failures(count: u32, class: ErrorClass) -> Failures {
        Failures {
            count,
            last: Some(StepFailure {
                at: NOW,
                class,
                message: "no".to_owned(),
                retry_after: None,
                policy: POLICY,
            }),
        }
    }

    fn delay(count: u32, class: ErrorClass) -> i64 {
        let until = until(&failures(count, class), WWW, POLICY).unwrap();
        NOW.until(until).0
    }

    #[test]
    fn delays_double_up_to_their_cap_with_a_quarter_of_jitter() {
        for (count, base) in [
            (1, 60),
            (2, 120),
            (5, 960),
            (9, 15_360),
            (10, 21_600),
            (99, 21_600),
        ] {
            let delay = delay(count, ErrorClass::Transient);
            assert!((base..=base * 5 / 4).contains(&delay), "{count}: {delay}");
        }
        assert!(delay(1, ErrorClass::Authentication) >= 900);
        assert!(delay(1, ErrorClass::Rejected) >= 3600);
        assert!(delay(u32::MAX, ErrorClass::Rejected) <= 86_400 * 5 / 4);
    }

    #[test]
    fn jitter_is_stable_for_one_seed_and_differs_between_seeds() {
        let failures = failures(8, ErrorClass::Transient);
        let at = |of, host| {
            let host = HostSeed(host);
            until(&failures, Seed { of, host }, POLICY).unwrap()
        };
        assert_eq!(at("www", 1), at("www", 1));
        let names: Vec<String> = (0..50).map(|n| format!("www{n}")).collect();
        let moments: BTreeSet<_> = names.iter().map(|name| at(name, 1)).collect();
        assert!(moments.len() > 40);
    }

    #[test]
    fn a_fleet_with_one_policy_does_not_come_back_at_one_moment() {
        for count in [1, 4, 10] {
            let failures = failures(count, ErrorClass::Transient);
            let at = |host| {
                let seed = Seed {
                    host: HostSeed(host),
                    ..WWW
                };
                NOW.until(until(&failures, seed, POLICY).unwrap()).0
            };
            let delays: Vec<i64> = (0..500).map(at).collect();
            let (least, most) = (delays.iter().min().unwrap(), delays.iter().max().unwrap());
            // Over the whole quarter, and evenly: no eighth of it has a third of the hosts.
            let span = least / 4;
            assert!((most - least) * 10 >= span * 9, "{least} to {most}");
            for eighth in 0..8 {
                let (from, to) = (least + span * eighth / 8, least + span * (eighth + 1) / 8);
                let hosts = delays.iter().filter(|at| **at >= from && **at < to).count();
                assert!(hosts < 500 / 3, "{count}: {hosts} from {from} to {to}");
            }
        }
    }

    #[test]
    fn the_hash_is_the_same_in_every_version() {
        // Another number here moves every renewal of every installed host.
        assert_eq!(hash(&["www", "0123456789abcdef"]), 0x1d48_13ac_57a8_a19d);
        assert_ne!(hash(&["ab", "c"]), hash(&["a", "bc"]));
        assert_ne!(hash(&["a", ""]), hash(&["a"]));
    }

    #[test]
    fn another_policy_clears_backoff() {
        let failures = failures(5, ErrorClass::Configuration);
        assert_eq!(until(&failures, WWW, Fingerprint([2; 32])), None);
        assert_eq!(count(&failures, Fingerprint([2; 32])), 0);
        assert_eq!(count(&failures, POLICY), 5);
        assert_eq!(until(&Failures::default(), WWW, POLICY), None);
    }

    #[test]
    fn what_the_remote_side_asks_is_honoured_within_a_day() {
        let mut failures = failures(1, ErrorClass::RateLimited);
        let mut asks = |seconds| {
            failures.last.as_mut().unwrap().retry_after = Some(NOW + Seconds(seconds));
            NOW.until(until(&failures, WWW, POLICY).unwrap())
        };
        assert_eq!(asks(7200), Seconds(7200));
        assert!(asks(1) >= Seconds(60), "never sooner than our own pace");
        assert_eq!(asks(i64::MAX / 2), Seconds::hours(24));
    }

    #[test]
    fn a_clock_that_was_set_back_does_not_wait_for_ever() {
        let failures = failures(3, ErrorClass::Transient);
        assert!(waiting(&failures, WWW, POLICY, NOW).is_some());
        assert_eq!(
            waiting(&failures, WWW, POLICY, NOW - Seconds::days(400)),
            None
        );
        assert!(is_ahead(NOW + Seconds(1), NOW));
        assert!(!is_ahead(NOW, NOW));
        assert!(!is_ahead(NOW + Seconds::days(400), NOW));
    }

    #[test]
    fn a_changed_issuer_changes_the_digest_of_both() {
        let certificate = testing::certificate("www");
        let mut issuer = testing::issuer();
        let before = digest(&certificate, Some(&issuer));
        issuer.digest = Fingerprint([7; 32]);
        assert_ne!(before, digest(&certificate, Some(&issuer)));
        assert_eq!(certificate.digest, digest(&certificate, None));
    }
}
