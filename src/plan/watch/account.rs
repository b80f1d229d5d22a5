//! What the listings of a CCM account say: which certificates end and are renewed by nobody, and whether the filters of the
//! API show what the whole listing shows.
//!
//! Documents read `expired_days_since` (CCM API 4.1.5.1) in two ways: "valid and ends within so many days" (the reference),
//! or "valid, or ended at most so many days ago" (the SDK). What is valid and ends soon is in the answer by either.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{
    Listed, ListedStanding, Name, Seconds, SubjectAltNames, Timestamp, WatchedCertificate,
    WatchedPlace,
};

/// What the listings say. `ending` and `expired` are those by filter; `None` where the API has no such filter.
#[derive(Debug, Clone, Copy)]
pub struct Listings<'a> {
    /// By `expired_days_since`.
    pub ending: Option<&'a [Listed]>,
    /// By status EXPIRED.
    pub expired: &'a [Listed],
}

/// By whose measure.
#[derive(Debug, Clone, Copy)]
pub struct Measure<'a> {
    /// Certificates that end within so many days.
    pub days: u32,
    /// Patterns of the policy, in lower case.
    pub ignore: &'a [String],
    /// Ids of certificates that this host manages.
    pub managed: &'a BTreeSet<String>,
    /// Names that this host has open orders for at that account.
    pub ordered: &'a [SubjectAltNames],
    /// The moment.
    pub now: Timestamp,
}

impl Measure<'_> {
    /// Whether somebody should have renewed it: it ends soon, or ended not long ago, and is none of those that others care for.
    #[must_use]
    pub fn asks(&self, one: &Listed) -> bool {
        let Some(end) = one
            .not_after
            .filter(|_| one.standing != ListedStanding::Other)
        else {
            return false;
        };
        let until = self.now + Seconds::days(i64::from(self.days));
        end <= until
            && end > self.now - FORGOTTEN
            && !self.managed.contains(&one.id)
            && !self.ignores(one)
    }

    fn ignores(&self, one: &Listed) -> bool {
        let texts = [&one.id, &one.name];
        let texts = texts.into_iter().chain(&one.names);
        let mut texts = texts.map(|text| text.to_ascii_lowercase());
        texts.any(|text| self.ignore.iter().any(|pattern| fits(pattern, &text)))
    }
}

/// Places for everything that nobody renews, by the whole listing, and the ids that are in good hands though they end.
#[must_use]
pub fn orphans(
    whole: &[Listed],
    measure: &Measure<'_>,
) -> (BTreeMap<String, WatchedPlace>, BTreeSet<String>) {
    let mut places = BTreeMap::new();
    let mut settled = BTreeSet::new();
    for one in whole.iter().filter(|one| measure.asks(one)) {
        if superseded(one, whole, measure.now) || is_ordered(one, measure.ordered) {
            settled.insert(one.id.clone());
        } else if let Some(not_after) = one.not_after {
            let certificate = WatchedCertificate {
                which: String::new(),
                names: few(one),
                serial: one.id.clone(),
                fingerprint: None,
                not_before: one.not_before,
                not_after,
                faults: Vec::new(),
            };
            let place = WatchedPlace {
                certificates: vec![certificate],
                ..WatchedPlace::default()
            };
            places.insert(one.id.clone(), place);
        }
    }
    (places, settled)
}

/// Takes what another host cares for, as its tags say, out of what nobody renews, and adds it to what is in good hands: it renews
/// in its own time. Not what is so near its end that it should have been renewed. `hosts` by id; `own` are the names of this one:
/// what it is called now, and what its journal calls it, since certificates are marked with either.
pub fn leave_to_others(
    places: &mut BTreeMap<String, WatchedPlace>,
    settled: &mut BTreeSet<String>,
    hosts: &BTreeMap<String, String>,
    own: &BTreeSet<String>,
    now: Timestamp,
) {
    places.retain(|id, place| {
        let anothers = hosts.get(id).is_some_and(|host| !own.contains(host));
        let time = place.certificates.iter().all(|one| {
            let life = one.not_before.map(|from| from.until(one.not_after));
            let share = life.map_or(IN_DANGER, |life| Seconds(life.0 / 6));
            !may_be_late(one.not_after, now) || one.not_after > now + share
        });
        let left = anothers && time;
        if left {
            settled.insert(id.clone());
        }
        !left
    });
}

/// Whether what ends then should have been renewed by now, if it lives for long.
#[must_use]
pub fn may_be_late(not_after: Timestamp, now: Timestamp) -> bool {
    not_after <= now + IN_DANGER
}

/// A valid certificate that ends later is good for all of its names.
fn superseded(one: &Listed, whole: &[Listed], now: Timestamp) -> bool {
    let wanted: Vec<Name> = names(one).collect();
    if wanted.is_empty() {
        return false;
    }
    whole.iter().any(|other| {
        let later = other
            .not_after
            .is_some_and(|end| end > now && one.not_after.is_some_and(|before| end > before));
        later && other.standing == ListedStanding::Valid && other.id != one.id && {
            let have: Vec<Name> = names(other).collect();
            wanted
                .iter()
                .all(|name| have.iter().any(|one| one.covers(name)))
        }
    })
}

/// An open order is for all of its names; should it fail, that is told of the order, and of this one when it is closed.
fn is_ordered(one: &Listed, ordered: &[SubjectAltNames]) -> bool {
    let wanted: SubjectAltNames = names(one).collect();
    !wanted.is_empty() && ordered.iter().any(|order| order.cover(&wanted))
}

fn names(one: &Listed) -> impl Iterator<Item = Name> {
    one.names.iter().filter_map(|name| Name::parse(name).ok())
}

/// Ids that the filters should have shown by either reading and did not, and those that only they show. `complete` says
/// whether the whole listing was read to its end.
#[must_use]
pub fn differing(
    filtered: Listings<'_>,
    whole: &[Listed],
    complete: bool,
    measure: &Measure<'_>,
) -> BTreeSet<String> {
    let ids = |listed: &[Listed]| -> BTreeSet<String> {
        listed.iter().map(|one| one.id.clone()).collect()
    };
    let mut found = BTreeSet::new();
    let expired = ids(filtered.expired);
    let now = measure.now;
    let until = now + Seconds::days(i64::from(measure.days));
    if let Some(ending) = filtered.ending {
        let shown = ids(ending);
        for one in whole
            .iter()
            .filter(|one| one.standing == ListedStanding::Valid)
        {
            // Ends carry no zone, and the service's clock is another one.
            let soon = one
                .not_after
                .is_some_and(|end| end > now + SLACK && end < until - SLACK);
            if soon && !shown.contains(&one.id) {
                found.insert(one.id.clone());
            }
        }
    }
    for one in whole
        .iter()
        .filter(|one| one.standing == ListedStanding::Expired)
    {
        if one.not_after.is_none_or(|end| end < now - SLACK) && !expired.contains(&one.id) {
            found.insert(one.id.clone());
        }
    }
    if complete {
        let all = ids(whole);
        let shown = filtered
            .ending
            .unwrap_or_default()
            .iter()
            .chain(filtered.expired);
        found.extend(
            shown
                .map(|one| one.id.clone())
                .filter(|id| !all.contains(id)),
        );
    }
    found
}

fn few(one: &Listed) -> String {
    let shown: Vec<&str> = one.names.iter().take(3).map(String::as_str).collect();
    match (shown.is_empty(), one.names.len().saturating_sub(3)) {
        (true, _) => one.name.clone(),
        (false, 0) => shown.join(", "),
        (false, more) => format!("{} and {more} more", shown.join(", ")),
    }
}

/// `*` stands for anything.
fn fits(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(rest) = text.strip_prefix(parts.next().unwrap_or("")) else {
        return false;
    };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else {
        return rest.is_empty();
    };
    let mut rest = rest;
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// Before its end a certificate should have been renewed by whomever; of a short life a sixth, half of what is left when renewal
/// is due. A CA that looks at an organization takes up to ten working days.
const IN_DANGER: Seconds = Seconds::days(21);
/// What ended longer ago and is missed by nobody is no news.
const FORGOTTEN: Seconds = Seconds::days(30);
/// A day around the bounds of a filter.
const SLACK: Seconds = Seconds::hours(24);

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400;
    const NOW: Timestamp = Timestamp(1000 * DAY);

    fn listed(id: &str, names: &[&str], left: i64) -> Listed {
        Listed {
            id: id.to_owned(),
            name: format!("name-of-{id}"),
            names: names.iter().map(ToString::to_string).collect(),
            not_before: None,
            not_after: Some(NOW + Seconds::days(left)),
            standing: if left > 0 {
                ListedStanding::Valid
            } else {
                ListedStanding::Expired
            },
        }
    }

    fn told(whole: &[Listed], ignore: &[&str], managed: &[&str]) -> Vec<String> {
        let ignore: Vec<String> = ignore.iter().map(ToString::to_string).collect();
        let managed = managed.iter().map(ToString::to_string).collect();
        let measure = Measure {
            days: 30,
            ignore: &ignore,
            managed: &managed,
            ordered: &[],
            now: NOW,
        };
        orphans(whole, &measure).0.into_keys().collect()
    }

    #[test]
    fn what_an_open_order_of_this_host_is_for_is_renewed() {
        let whole = [
            listed("ours", &["www.example.com"], 5),
            listed("wider", &["www.example.com", "example.com"], 5),
        ];
        let ordered: SubjectAltNames = [Name::parse("*.example.com").unwrap()]
            .into_iter()
            .collect();
        let measure = Measure {
            days: 30,
            ignore: &[],
            managed: &BTreeSet::new(),
            ordered: &[ordered],
            now: NOW,
        };
        let (told, settled) = orphans(&whole, &measure);
        assert_eq!(told.into_keys().collect::<Vec<_>>(), ["wider"]);
        assert!(settled.contains("ours"));
    }

    #[test]
    fn what_ends_and_is_in_nobodys_hands_is_told() {
        let whole = [
            listed("soon", &["soon.example.com"], 5),
            listed("late", &["late.example.com"], 31),
            listed("ended", &["ended.example.com"], -2),
            listed("forgotten", &["forgotten.example.com"], -40),
        ];
        assert_eq!(told(&whole, &[], &[]), ["ended", "soon"]);
        assert_eq!(told(&whole, &[], &["soon"]), ["ended"]);
        assert_eq!(told(&whole, &["soon.*"], &[]), ["ended"]);
        assert_eq!(told(&whole, &["name-of-*"], &[]), [""; 0]);
        assert_eq!(told(&whole, &["*.example.com"], &[]), [""; 0]);
        assert_eq!(told(&whole, &["ended"], &[]), ["soon"]);
        let mut revoked = whole[0].clone();
        revoked.standing = ListedStanding::Other;
        assert_eq!(told(&[revoked], &[], &[]), [""; 0]);
    }

    #[test]
    fn what_another_host_cares_for_is_told_only_when_it_is_late() {
        let mut whole = [
            listed("theirs", &["a.example.com"], 20),
            listed("late", &["b.example.com"], 6),
            listed("short", &["c.example.com"], 2),
            listed("shorter", &["d.example.com"], 2),
            listed("ours", &["e.example.com"], 20),
            listed("ended", &["f.example.com"], -1),
            listed("long", &["g.example.com"], 22),
            listed("longer", &["h.example.com"], 20),
            listed("unknown", &["i.example.com"], 20),
            listed("renamed", &["j.example.com"], 25),
        ];
        whole[0].not_before = Some(NOW - Seconds::days(80));
        whole[1].not_before = Some(NOW - Seconds::days(84));
        whole[2].not_before = Some(NOW - Seconds::days(8));
        whole[3].not_before = Some(NOW - Seconds::days(20));
        // An organization is looked at for two weeks.
        whole[6].not_before = Some(NOW - Seconds::days(178));
        whole[7].not_before = Some(NOW - Seconds::days(180));
        let (ignore, managed) = (Vec::new(), BTreeSet::new());
        let measure = Measure {
            days: 30,
            ignore: &ignore,
            managed: &managed,
            ordered: &[],
            now: NOW,
        };
        let hosts = |ids: &[&str]| -> BTreeMap<String, String> {
            let host = |id: &str| match id {
                "ours" => "here",
                "renamed" => "as-it-was-called",
                _ => "there",
            };
            let all = ids.iter().map(|id| ((*id).to_owned(), host(id).to_owned()));
            all.collect()
        };
        let own: BTreeSet<String> = ["here", "as-it-was-called"].map(str::to_owned).into();
        let told = |hosts: &BTreeMap<String, String>| {
            let (mut places, mut settled) = orphans(&whole, &measure);
            leave_to_others(&mut places, &mut settled, hosts, &own, NOW);
            let told: Vec<String> = places.into_keys().collect();
            (
                told.join(" "),
                settled.into_iter().collect::<Vec<_>>().join(" "),
            )
        };
        let ids: Vec<&str> = whole.iter().map(|one| one.id.as_str()).collect();
        let all = hosts(&ids);
        let (orphaned, settled) = told(&all);
        assert_eq!(orphaned, "ended late longer ours renamed shorter unknown");
        assert_eq!(settled, "long short theirs");
        assert_eq!(told(&hosts(&[])).1, "");
    }

    #[test]
    fn a_newer_one_takes_the_place_of_an_older_one_only_for_all_of_its_names() {
        let old = || listed("old", &["www.example.com", "example.com"], 5);
        assert_eq!(
            told(&[old(), listed("new", &["www.example.com"], 300)], &[], &[]),
            ["old"]
        );
        let new = listed("new", &["example.com", "*.example.com"], 300);
        assert_eq!(told(&[old(), new.clone()], &[], &[]), [""; 0]);
        // One that ends before it, or was taken back, does not.
        let sooner = listed("new", &["example.com", "*.example.com"], 4);
        assert_eq!(told(&[old(), sooner], &[], &[]), ["new", "old"]);
        let revoked = Listed {
            standing: ListedStanding::Other,
            ..new
        };
        assert_eq!(told(&[old(), revoked], &[], &[]), ["old"]);
    }

    #[test]
    fn both_readings_of_the_filter_agree_and_one_that_leaves_something_out_does_not() {
        let whole = [
            listed("soon", &["a.example.com"], 5),
            listed("edge", &["b.example.com"], 30),
            listed("far", &["c.example.com"], 200),
            listed("ended", &["d.example.com"], -5),
        ];
        let of = |ids: &[&str]| -> Vec<Listed> {
            let all = whole.iter();
            all.filter(|one| ids.contains(&one.id.as_str()))
                .cloned()
                .collect()
        };
        let (ignore, managed) = (Vec::new(), BTreeSet::new());
        let measure = Measure {
            days: 30,
            ignore: &ignore,
            managed: &managed,
            ordered: &[],
            now: NOW,
        };
        let said = |ending: &[&str], expired: &[&str]| -> Vec<String> {
            let (ending, expired) = (of(ending), of(expired));
            let filtered = Listings {
                ending: Some(&ending),
                expired: &expired,
            };
            differing(filtered, &whole, true, &measure)
                .into_iter()
                .collect()
        };
        // The reference, with and without what ends at the very bound; the SDK.
        assert_eq!(said(&["soon"], &["ended"]), [""; 0]);
        assert_eq!(said(&["soon", "edge"], &["ended"]), [""; 0]);
        assert_eq!(said(&["soon", "edge", "far", "ended"], &["ended"]), [""; 0]);
        assert_eq!(said(&[], &["ended"]), ["soon"]);
        assert_eq!(said(&["soon"], &[]), ["ended"]);
        // The whole listing is what is short.
        let ending = [whole[0].clone(), listed("hidden", &["e.example.com"], 3)];
        let expired = of(&["ended"]);
        let filtered = Listings {
            ending: Some(&ending),
            expired: &expired,
        };
        let found = differing(filtered, &whole, true, &measure);
        assert_eq!(found.into_iter().collect::<Vec<_>>(), ["hidden"]);
        assert!(differing(filtered, &whole, false, &measure).is_empty());
    }

    #[test]
    fn patterns_stand_for_anything_between_their_parts() {
        for (pattern, text, wanted) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("*", "", true),
            ("*.example.com", "www.example.com", true),
            ("*.example.com", "example.com", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("scs1*", "scs1600000000", true),
        ] {
            assert_eq!(fits(pattern, text), wanted, "{pattern} {text}");
        }
    }
}
