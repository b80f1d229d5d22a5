//! Collects problems while a policy is read.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::config::code::Code;
use crate::config::diagnostic::{Diagnostic, Severity};
use crate::config::scalar::Refusal;
use crate::config::source::{FileId, Place};

/// The problems so far.
#[derive(Debug, Default)]
pub(super) struct Problems {
    items: Vec<Diagnostic>,
    /// Pieces that syntax errors have spoilt, in order and apart; whatever is read there may be no one's mistake.
    bad: BTreeMap<FileId, Vec<Range<usize>>>,
    /// Some file could not be read or parsed as a whole: what is missing may be in it.
    incomplete: bool,
    suggestions: u32,
}

impl Problems {
    /// Takes a problem, unless it lies where a syntax error was.
    pub(super) fn push(&mut self, problem: Diagnostic) {
        let spoilt = problem
            .labels
            .first()
            .is_some_and(|label| self.is_bad(label.place));
        if !spoilt || problem.code == Code::Syntax {
            self.items.push(problem);
        }
    }

    /// A value that cannot be taken; `what` is its key or what it is.
    pub(super) fn refuse(&mut self, code: Code, place: Place, what: &str, refusal: Refusal) {
        let problem = Diagnostic::error(code, place, format!("{what} {}", refusal.why), "");
        self.push(match refusal.help {
            Some(help) => problem.help(help),
            None => problem,
        });
    }

    /// Marks a file that was not read whole.
    pub(super) fn incomplete(&mut self, file: FileId, bad: Vec<Range<usize>>) {
        self.incomplete = true;
        self.bad.insert(file, bad);
    }

    pub(super) const fn is_incomplete(&self) -> bool {
        self.incomplete
    }

    pub(super) fn has_errors(&self) -> bool {
        let mut items = self.items.iter();
        items.any(|item| item.severity == Severity::Error)
    }

    /// Whether a problem may hide that one thing refers to another.
    pub(super) fn hide_uses(&self) -> bool {
        let hiding = |item: &Diagnostic| {
            matches!(
                item.code,
                Code::Syntax
                    | Code::UnknownKey
                    | Code::WrongType
                    | Code::UnknownIssuer
                    | Code::UnknownTarget
                    | Code::Missing
                    | Code::BadId
            )
        };
        self.incomplete || self.items.iter().any(hiding)
    }

    pub(super) fn into_items(self) -> Vec<Diagnostic> {
        self.items
    }

    /// What was probably meant. Stops looking after some hundred, since each look goes through all candidates.
    pub(super) fn suggest<'a>(
        &mut self,
        wanted: &str,
        candidates: impl Iterator<Item = &'a str>,
    ) -> Option<&'a str> {
        if self.suggestions >= MAX_SUGGESTIONS {
            return None;
        }
        self.suggestions += 1;
        nearest(wanted, candidates)
    }

    fn is_bad(&self, place: Place) -> bool {
        let Some(pieces) = self.bad.get(&place.file) else {
            return false;
        };
        let at = place.start as usize;
        let next = pieces.partition_point(|piece| piece.end <= at);
        pieces.get(next).is_some_and(|piece| piece.contains(&at))
    }
}

/// The candidate with the fewest typing mistakes in it, if they are few for its length.
fn nearest<'a>(wanted: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if wanted.len() > LONGEST_WORD {
        return None;
    }
    let plain = |text: &str| text.to_ascii_lowercase().replace('-', "_");
    let wanted = plain(wanted);
    candidates
        .filter(|candidate| candidate.len() <= LONGEST_WORD)
        .map(|candidate| {
            let other = plain(candidate);
            let distance = strsim::damerau_levenshtein(&wanted, &other);
            (distance, candidate)
        })
        .filter(|(distance, candidate)| *distance <= wanted.len().min(candidate.len()).div_ceil(3))
        .min()
        .map(|(_, candidate)| candidate)
}

/// Enough for every hand-written policy.
const MAX_SUGGESTIONS: u32 = 200;
/// Characters; the comparison takes the square of it.
const LONGEST_WORD: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suggestion_is_near() {
        let keys = ["issuer", "names", "key", "key_algorithm", "renew_at"];
        let near = |text| nearest(text, keys.into_iter());
        assert_eq!(near("isuer"), Some("issuer"));
        assert_eq!(near("name"), Some("names"));
        assert_eq!(near("Renew-At"), Some("renew_at"));
        assert_eq!(near("keys"), Some("key"));
        assert_eq!(near("colour"), None);
        assert_eq!(near(""), None);
        assert_eq!(near("x"), None);
    }
}
