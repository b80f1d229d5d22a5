//! The queue of those who are about to buy from one account: hosts that share nothing but the account keep within its budget
//! together, also where they look at the same moment.
//!
//! A place is a CSR (CCM API 4.1.4), which costs nothing, whose name has the order, and which the account itself dates. A host
//! takes its place, waits until whatever was written before can be seen, and reads all places and purchases: who is earlier
//! counts as having bought. Of two hosts that read after both had their places, both see which is earlier; one that reads
//! before the other has its place is earlier by more than the wait. So no more buy than the budget allows.

use std::collections::BTreeSet;

use crate::ccm::{CreateCsr, Csr, CsrAlgorithm, CsrQuery, CsrUsage, Scm};
use crate::issuer::IssuerError;
use crate::issuer::failure::{acting, own, reading};
use crate::issuer::orders::survey::Survey;
use crate::issuer::orders::{Look, Orders, tags};
use crate::model::{ErrorClass, Seconds, Spent, Timestamp};

/// One place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    /// Milliseconds since 1970, by the account. One without is ahead of all others: it may be the first.
    made: Option<i64>,
    /// Id of the CSR.
    id: String,
    order: String,
}

impl Place {
    fn of(csr: Csr) -> Option<Self> {
        let order = csr.name.as_deref()?.strip_prefix(PREFIX)?.to_owned();
        Some(Self {
            made: csr.create_time,
            id: csr.id,
            order,
        })
    }

    fn at(&self) -> Option<Timestamp> {
        // The second that it is certainly not after.
        let made = self.made?;
        Some(Timestamp::from_millis(made.saturating_add(999)))
    }

    /// Whether it was taken within that time. Without a date nobody can tell.
    fn is_within(&self, time: Seconds, now: Timestamp) -> Option<bool> {
        self.at().map(|at| at + time > now)
    }
}

impl Orders {
    /// So long a place is relied on, less than others count it: their clocks may be ahead.
    pub const PLACE_HOLDS: Seconds = Seconds::minutes(50);

    /// Counts as bought what others are about to buy who are earlier, and notes when our own place was taken, if it holds.
    pub(super) async fn queue(
        &self,
        look: &Look<'_>,
        survey: &Survey,
        spent: &mut Spent,
    ) -> Result<(), IssuerError> {
        let places = places(&self.scm).await?;
        let bought: BTreeSet<&str> = survey
            .0
            .values()
            .filter_map(|one| one.tags.intent())
            .collect();
        spent.placed = stand(&places, look.order.as_str(), look.now).and_then(Place::at);
        let ahead = ahead(&places, look.order.as_str(), &bought, look.now);
        spent.at.extend((0..ahead).map(|_| look.now));
        spent.at.sort_unstable();
        // What is of no use any more holds a key at SCM.
        let old = places
            .iter()
            .filter(|place| place.is_within(KEPT, look.now) == Some(false));
        for place in old.take(MOST_TIDIED) {
            if let Err(error) = self.scm.delete_csr(&place.id).await {
                tracing::debug!(id = place.id, error = %error, "an old place in the queue stays");
            }
        }
        Ok(())
    }

    pub(super) async fn take_place(&self, look: &Look<'_>) -> Result<Timestamp, IssuerError> {
        // An earlier place of the order that is about to lapse must not be taken for this one.
        for place in places(&self.scm).await? {
            if place.order == look.order.as_str() {
                self.scm.delete_csr(&place.id).await.map_err(acting)?;
            }
        }
        let request = CreateCsr {
            name: format!("{PREFIX}{}", look.order),
            domain_name: domain(&look.request.common_name),
            private_key_algo: CsrAlgorithm::EcP256,
            usage: CsrUsage::Personal,
            ..CreateCsr::default()
        };
        let made = self.scm.create_csr(&request).await.map_err(acting)?;
        let name = request.name;
        let place = Place::of(Csr {
            name: Some(name),
            ..made
        });
        let at = place.and_then(|place| place.at());
        Ok(at.unwrap_or(look.now).max(look.now))
    }
}

/// Every place there is. One that is not seen could be ahead, so that an incomplete answer is an error.
async fn places(scm: &Scm) -> Result<Vec<Place>, IssuerError> {
    let query = CsrQuery {
        name: Some(PREFIX),
        ..CsrQuery::default()
    };
    let listing = scm.all_csrs(&query).await.map_err(reading)?;
    if listing.unread() > 0 {
        let message = format!(
            "who is about to buy from {} is unknown: {} of {} CSRs called {PREFIX}… could be listed; delete those that are old",
            scm.host(),
            listing.items.len(),
            listing.total
        );
        return Err(own(ErrorClass::Transient, message));
    }
    let mut places: Vec<Place> = listing.items.into_iter().filter_map(Place::of).collect();
    places.sort_unstable();
    Ok(places)
}

/// The place of an order, while others certainly count it.
fn stand<'a>(places: &'a [Place], order: &str, now: Timestamp) -> Option<&'a Place> {
    let mut own = places.iter().filter(|place| place.order == order);
    own.find(|place| place.is_within(Orders::PLACE_HOLDS, now) == Some(true))
}

/// How many orders are earlier, or of all others without a place of our own.
fn ahead(places: &[Place], order: &str, bought: &BTreeSet<&str>, now: Timestamp) -> usize {
    let own = stand(places, order, now);
    let earlier = places
        .iter()
        .filter(|place| own.is_none_or(|own| *place < own))
        .filter(|place| place.order != order && place.is_within(tags::FRESH, now) != Some(false))
        .filter(|place| !bought.contains(place.order.as_str()))
        .map(|place| place.order.as_str());
    earlier.collect::<BTreeSet<&str>>().len()
}

/// The reference takes up to 63 characters; what a longer name is below is as good.
fn domain(common_name: &str) -> String {
    let mut name = common_name.strip_prefix("*.").unwrap_or(common_name);
    while name.len() > 63 {
        match name.split_once('.') {
            Some((_, parent)) => name = parent,
            None => break,
        }
    }
    name.to_owned()
}

const PREFIX: &str = "renewd-buys-";
/// After that nobody counts a place, and somebody who looks deletes it.
const KEPT: Seconds = Seconds::hours(3);
/// Places that are deleted at one look.
const MOST_TIDIED: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_800_000_000);

    fn place(order: &str, seconds_ago: i64, id: &str) -> Place {
        Place {
            made: Some((NOW.0 - seconds_ago) * 1000),
            id: id.to_owned(),
            order: order.to_owned(),
        }
    }

    fn count(places: &[Place], bought: &[&str]) -> usize {
        let mut places = places.to_vec();
        places.sort_unstable();
        ahead(&places, "own", &bought.iter().copied().collect(), NOW)
    }

    #[test]
    fn who_is_earlier_counts_once_until_it_has_bought_or_an_hour_is_over() {
        let own = place("own", 60, "5");
        let earlier = place("a", 61, "9");
        assert_eq!(count(&[own.clone(), earlier.clone()], &[]), 1);
        assert_eq!(count(&[own.clone(), place("a", 59, "1")], &[]), 0);
        // Of one moment: by the id, for both.
        assert_eq!(count(&[own.clone(), place("a", 60, "4")], &[]), 1);
        assert_eq!(count(&[own.clone(), place("a", 60, "6")], &[]), 0);
        let twice = [own.clone(), earlier.clone(), place("a", 70, "8")];
        assert_eq!(count(&twice, &[]), 1);
        assert_eq!(count(&[own.clone(), earlier.clone()], &["a"]), 0);
        assert_eq!(count(&[own.clone(), place("a", 3601, "1")], &[]), 0);
        // Without a place, or with one that lapses, everybody is.
        assert_eq!(count(&[earlier.clone(), place("b", 1, "2")], &[]), 2);
        let lapsing = place("own", 3001, "5");
        assert_eq!(count(&[lapsing.clone(), place("b", 1, "2")], &[]), 1);
        assert_eq!(stand(&[lapsing], "own", NOW), None);
        assert_eq!(stand(std::slice::from_ref(&own), "own", NOW), Some(&own));
    }

    #[test]
    fn a_place_without_a_date_is_ahead_and_never_old_and_never_relied_on() {
        let undated = |order: &str| Place {
            made: None,
            ..place(order, 0, "7")
        };
        assert_eq!(count(&[place("own", 60, "5"), undated("a")], &[]), 1);
        assert_eq!(undated("a").is_within(KEPT, NOW), None);
        assert_eq!(stand(&[undated("own")], "own", NOW), None);
    }

    #[test]
    fn a_name_that_is_too_long_is_cut_to_one_it_is_below() {
        assert_eq!(domain("*.example.com"), "example.com");
        let long = format!("{}.{}.example.com", "a".repeat(40), "b".repeat(30));
        assert_eq!(domain(&long), format!("{}.example.com", "b".repeat(30)));
    }
}
