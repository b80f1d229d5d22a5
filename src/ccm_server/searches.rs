//! What searches found, kept for the pages that follow the first one.
//!
//! A part of a name stands in no index: finding it means looking through all names of an account. Who walks through the
//! pages of such a list asks the same each time, so the first page keeps which rows it found, in their order, and the pages
//! after it look there. Rows themselves are read anew for each page. Who walks through all of one status, which costs as much
//! as skipping its rows for some pages, is recognised by asking twice.
//!
//! What is kept counts only for the state that it was found in. The state counts the changes of each account's lists
//! (`stock.changes`, `scm_stock.changes`) in the transaction of each change, whoever makes it; and where a list depends on
//! the time, it counts from the moment it was found until the next certificate ends.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, PoisonError};

use crate::ccm_server::failure::Failure;

/// The rows of one search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// How many there are.
    pub(super) total: i64,
    /// Their sequence numbers, in order: all of them, or those that pages can reach.
    rows: Arc<[i64]>,
}

/// What tells one search from another, and one state from another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Question {
    /// The list, whose it is, its filters and its order.
    pub(super) asked: String,
    /// How many changes the list has seen.
    pub(super) changes: i64,
    /// Seconds since 1970.
    pub(super) now: i64,
}

/// The searches of a server: few, and small.
#[derive(Default)]
pub(super) struct Searches(Mutex<State>);

#[derive(Default)]
struct State {
    /// Those that were used last at the end.
    kept: VecDeque<Kept>,
    made: usize,
    /// What was asked last, and of which state.
    asked: VecDeque<(String, i64)>,
}

struct Kept {
    asked: String,
    changes: i64,
    counts: RangeInclusive<i64>,
    found: Found,
    /// Since the last look at what nobody uses.
    used: bool,
}

impl Found {
    /// All rows, from their sequence numbers separated by commas, as `group_concat` writes them; none for none.
    pub(super) fn all(text: Option<&str>) -> Result<Self, Failure> {
        let numbers = text.into_iter().flat_map(|text| text.split(','));
        let rows: Result<Vec<i64>, _> = numbers.map(str::parse).collect();
        let rows = rows.map_err(|error| Failure::internal(&error))?;
        let total = i64::try_from(rows.len()).unwrap_or(i64::MAX);
        Ok(Self::first(total, rows))
    }

    /// Of so many rows the first ones.
    pub(super) fn first(total: i64, rows: Vec<i64>) -> Self {
        Self {
            total,
            rows: rows.into(),
        }
    }

    /// The sequence numbers of a page as a JSON list, for `json_each`.
    pub(super) fn page(&self, limit: i64, offset: i64) -> String {
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let most = usize::try_from(limit).unwrap_or(0);
        let rows = self.rows.get(from..).unwrap_or_default();
        serde_json::Value::from(&rows[..most.min(rows.len())]).to_string()
    }
}

impl Searches {
    /// What the same search found, if the same would be found now.
    pub(super) fn find(&self, question: &Question) -> Option<Found> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = state
            .kept
            .iter()
            .position(|kept| kept.asked == question.asked)?;
        // Taken out, and put back as the one that was used last; what counts no more stays out.
        let mut kept = state.kept.remove(place)?;
        if kept.changes != question.changes || !kept.counts.contains(&question.now) {
            return None;
        }
        kept.used = true;
        let found = kept.found.clone();
        state.kept.push_back(kept);
        Some(found)
    }

    /// Whether the same was asked of the same state before; it was from now on.
    pub(super) fn asked_before(&self, question: &Question) -> bool {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (asked, changes) = (&question.asked, question.changes);
        if state.asked.contains(&(asked.clone(), changes)) {
            return true;
        }
        state.asked.retain(|(before, _)| before != asked);
        state.asked.push_back((asked.clone(), changes));
        if state.asked.len() > MOST {
            state.asked.pop_front();
        }
        false
    }

    /// Keeps what was found. It counts from now until `until`, while nothing changes.
    pub(super) fn keep(&self, question: Question, until: i64, found: &Found) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.made += 1;
        state.kept.retain(|kept| kept.asked != question.asked);
        if found.rows.len() > MOST_ROWS {
            return;
        }
        state.kept.push_back(Kept {
            asked: question.asked,
            changes: question.changes,
            counts: question.now..=until,
            found: found.clone(),
            used: true,
        });
        while state.kept.len() > MOST || state.rows() > MOST_ROWS {
            state.kept.pop_front();
        }
    }

    /// Drops what nobody used since the last time.
    pub(super) fn forget_unused(&self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.kept.retain_mut(|kept| std::mem::take(&mut kept.used));
    }

    /// How many searches looked through everything.
    pub(super) fn made(&self) -> usize {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.made
    }
}

impl State {
    fn rows(&self) -> usize {
        self.kept.iter().map(|kept| kept.found.rows.len()).sum()
    }
}

/// Searches that are kept.
const MOST: usize = 32;
/// Rows of all of them together, at eight bytes each: three lists of all certificates that an account of PCA may have.
const MOST_ROWS: usize = 300_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn question(asked: &str, changes: i64, now: i64) -> Question {
        Question {
            asked: asked.to_owned(),
            changes,
            now,
        }
    }

    fn rows(count: usize) -> Found {
        Found::first(0, vec![7; count])
    }

    #[test]
    fn pages_are_cut_out_of_what_was_found() {
        let found = Found::all(Some("5,3,9,1")).unwrap();
        assert_eq!(found.total, 4);
        for (limit, offset, page) in [
            (2, 0, "[5,3]"),
            (2, 3, "[1]"),
            (0, 0, "[]"),
            (9, 1, "[3,9,1]"),
            (1, 4, "[]"),
            (1, i64::MAX, "[]"),
        ] {
            assert_eq!(found.page(limit, offset), page, "{limit} {offset}");
        }
        assert_eq!(Found::all(None).unwrap(), Found::first(0, Vec::new()));
        assert!(Found::all(Some("5,x")).is_err());
    }

    #[test]
    fn what_was_found_counts_for_its_state_and_its_time_alone() {
        let searches = Searches::default();
        let keep = || searches.keep(question("a", 4, 100), 110, &rows(2));
        keep();
        for now in [100, 105, 110] {
            assert!(searches.find(&question("a", 4, now)).is_some(), "{now}");
        }
        assert!(searches.find(&question("b", 4, 100)).is_none());
        for other in [
            question("a", 5, 105),
            question("a", 3, 105),
            question("a", 4, 111),
            question("a", 4, 99),
        ] {
            keep();
            assert!(searches.find(&other).is_none(), "{other:?}");
        }
    }

    #[test]
    fn what_was_asked_before_was_asked_of_the_same_state() {
        let searches = Searches::default();
        assert!(!searches.asked_before(&question("a", 4, 0)));
        assert!(searches.asked_before(&question("a", 4, 9)));
        assert!(!searches.asked_before(&question("a", 5, 9)));
        assert!(
            !searches.asked_before(&question("a", 4, 9)),
            "one state each"
        );
        for nth in 0..MOST {
            assert!(!searches.asked_before(&question(&nth.to_string(), 0, 0)));
        }
        assert!(!searches.asked_before(&question("a", 4, 9)));
    }

    #[test]
    fn few_are_kept_those_that_were_used_last_and_for_a_while() {
        let searches = Searches::default();
        let known = |asked: &str| searches.find(&question(asked, 0, 0)).is_some();
        for nth in 0..MOST {
            searches.keep(question(&nth.to_string(), 0, 0), 0, &rows(1));
        }
        assert!(known("0"));
        searches.keep(question("more", 0, 0), 0, &rows(1));
        assert!(known("0") && !known("1") && known("2"));
        // One that is large leaves no room for others, and one that is too large is not kept.
        searches.keep(question("large", 0, 0), 0, &rows(MOST_ROWS - 1));
        assert!(known("large") && !known("0"));
        assert_eq!(searches.0.lock().unwrap().kept.len(), 2);
        searches.keep(question("too large", 0, 0), 0, &rows(MOST_ROWS + 1));
        assert!(known("large") && !known("too large"));
        searches.forget_unused();
        assert!(known("large"));
        searches.forget_unused();
        searches.forget_unused();
        assert!(!known("large"));
        assert_eq!(searches.made(), MOST + 3);
    }
}
