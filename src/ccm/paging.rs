//! Collecting a listing page by page, and telling whether it is complete.

use std::collections::BTreeSet;

/// One page of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// How many there are in all, by the remote side.
    pub total: u64,
    /// Those of this page, at most as many as were asked for: a server may send fewer.
    pub items: Vec<T>,
}

/// Gathers pages. A listing that changes meanwhile is found out: then the number of distinct items is not the total.
#[derive(Debug)]
pub struct Collector<T> {
    items: Vec<T>,
    ids: BTreeSet<String>,
    received: u64,
    total: Option<u64>,
}

impl<T> Default for Collector<T> {
    fn default() -> Self {
        Self {
            items: Vec::new(),
            ids: BTreeSet::new(),
            received: 0,
            total: None,
        }
    }
}

impl<T> Collector<T> {
    /// Where the next page begins.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.received
    }

    /// Takes a page; whether another one is to be asked for.
    pub fn add(&mut self, page: Page<T>, id: impl Fn(&T) -> &str) -> bool {
        let empty = page.items.is_empty();
        self.total = Some(page.total);
        for item in page.items {
            self.received += 1;
            if self.ids.insert(id(&item).to_owned()) {
                self.items.push(item);
            }
        }
        !empty && self.received < page.total && self.received < MOST_ITEMS
    }

    /// How many there are in all, by the last page.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total.unwrap_or(0)
    }

    /// Whether every item of the listing was seen.
    #[must_use]
    pub fn complete(&self) -> bool {
        self.total
            .is_some_and(|total| self.items.len() as u64 == total)
    }

    /// How many more the remote side says there are.
    #[must_use]
    pub fn missing(&self) -> u64 {
        self.total
            .unwrap_or(0)
            .saturating_sub(self.items.len() as u64)
    }

    /// Takes what another reading of the same listing saw, in another order.
    pub fn merge(&mut self, other: Self, id: impl Fn(&T) -> &str) {
        for item in other.items {
            if self.ids.insert(id(&item).to_owned()) {
                self.items.push(item);
            }
        }
        self.total = other.total.or(self.total);
    }

    /// `seen of total`, for messages.
    #[must_use]
    pub fn progress(&self) -> String {
        format!("{} of {}", self.items.len(), self.total.unwrap_or(0))
    }

    /// What was seen so far, in the order of the listing.
    #[must_use]
    pub fn items(&self) -> &[T] {
        &self.items
    }

    /// What was seen, in the order of the listing.
    #[must_use]
    pub fn into_items(self) -> Vec<T> {
        self.items
    }
}

/// The reference's own bound of a total (4.2.2.1); a server that never ends is left.
const MOST_ITEMS: u64 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn page(total: u64, items: &[&str]) -> Page<String> {
        Page {
            total,
            items: items.iter().map(ToString::to_string).collect(),
        }
    }

    fn collect(pages: &[Page<String>]) -> (bool, usize) {
        let mut collector = Collector::default();
        let mut asked = 0;
        for page in pages {
            asked += 1;
            if !collector.add(page.clone(), |item| item) {
                break;
            }
        }
        (collector.complete(), asked)
    }

    #[test]
    fn short_pages_are_followed_to_the_end() {
        let pages = [page(5, &["a", "b"]), page(5, &["c", "d"]), page(5, &["e"])];
        assert_eq!(collect(&pages), (true, 3));
        assert_eq!(collect(&[page(0, &[])]), (true, 1));
    }

    #[test]
    fn two_readings_from_both_ends_are_one() {
        let mut first = Collector::default();
        first.add(page(5, &["a", "b", "c"]), |item| item);
        assert_eq!(first.missing(), 2);
        let mut other = Collector::default();
        other.add(page(5, &["e", "d", "c"]), |item| item);
        first.merge(other, |item| item);
        assert!(first.complete());
        assert_eq!(first.into_items(), ["a", "b", "c", "e", "d"]);
    }

    #[test]
    fn a_listing_that_moved_or_ended_early_is_incomplete() {
        // A new item in front pushed `b` to the second page; the new one itself was never seen.
        assert_eq!(
            collect(&[page(3, &["a", "b"]), page(4, &["b", "c"])]),
            (false, 2)
        );
        assert_eq!(collect(&[page(3, &["a", "b"]), page(3, &[])]), (false, 2));
    }
}
