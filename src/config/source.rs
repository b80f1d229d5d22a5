//! The text of one file: lines and columns in linear time, and what of it must never be shown.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Number of a file in the order in which files are applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FileId(pub(super) u32);

/// A piece of a file, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// Which file.
    pub(super) file: FileId,
    /// First byte.
    pub(super) start: u32,
    /// First byte behind it.
    pub(super) end: u32,
}

impl Place {
    /// From the spans of the TOML parser; files are limited to far below 4 GiB.
    pub(super) fn new(file: FileId, span: Range<usize>) -> Self {
        let cut = |at| u32::try_from(at).unwrap_or(u32::MAX);
        Self {
            file,
            start: cut(span.start),
            end: cut(span.end.max(span.start)),
        }
    }

    pub(super) const fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// One file of the policy.
pub(super) struct Source {
    path: PathBuf,
    text: String,
    /// Where each line begins.
    lines: Vec<u32>,
    /// Pieces that must not be shown.
    hidden: Vec<Range<usize>>,
    /// Pieces that do not parse, in which more may be hidden.
    bad: Vec<Range<usize>>,
}

impl Source {
    pub(super) fn new(path: PathBuf, text: String) -> Self {
        let ends = text.match_indices('\n');
        let mut lines = vec![0];
        lines.extend(ends.map(|(at, _)| u32::try_from(at + 1).unwrap_or(u32::MAX)));
        Self {
            path,
            text,
            lines,
            hidden: Vec::new(),
            bad: Vec::new(),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Keeps in mind what is not to be shown, and what of it does not parse, until it is known whether anything is shown at
    /// all: see [`Source::seal`].
    pub(super) fn hide(&mut self, hidden: Vec<Range<usize>>, bad: Vec<Range<usize>>) {
        self.hidden = hidden;
        self.bad = bad;
    }

    /// The pieces that do not parse.
    pub(super) fn bad(&self) -> &[Range<usize>] {
        &self.bad
    }

    /// Turns these pieces, and those that were to be hidden, into asterisks. Bytes and lines stay where they are. From here on
    /// the text is good for showing and no longer for reading.
    pub(super) fn seal(&mut self, mut hidden: Vec<Range<usize>>) {
        hidden.append(&mut self.hidden);
        if hidden.is_empty() {
            return;
        }
        hidden.sort_by_key(|piece| piece.start);
        let mut hidden = hidden.into_iter().peekable();
        // Where the farthest of the pieces that have begun ends.
        let mut until = 0;
        let mut sealed = String::with_capacity(self.text.len());
        for (at, c) in self.text.char_indices() {
            while let Some(piece) = hidden.next_if(|piece| piece.start <= at) {
                until = until.max(piece.end);
            }
            if at < until && c != '\n' && c != '\r' {
                sealed.extend(std::iter::repeat_n('*', c.len_utf8()));
            } else {
                sealed.push(c);
            }
        }
        self.text = sealed;
    }

    /// Forgets the text of a file that has no problem.
    pub(super) fn forget(&mut self) {
        self.text = String::new();
        self.lines = vec![0];
    }

    /// Number of the line, from 0.
    pub(super) fn line_of(&self, at: usize) -> usize {
        let begun = self.lines.partition_point(|start| *start as usize <= at);
        begun.saturating_sub(1)
    }

    /// Line and column of a byte, both from 1; the column counts characters.
    pub(super) fn position(&self, at: usize) -> (usize, usize) {
        let line = self.line_of(at);
        let start = self.lines[line] as usize;
        let before = self.text.get(start..at).unwrap_or_default();
        // On absurdly long lines the column counts bytes, so that many problems on one line stay cheap.
        let column = if before.len() > LONG_LINE {
            before.len()
        } else {
            before.chars().count()
        };
        (line + 1, column + 1)
    }

    /// The bytes of lines `first..=last` without the final line end.
    pub(super) fn line_range(&self, first: usize, last: usize) -> Range<usize> {
        let start = self.lines.get(first).map_or(0, |at| *at as usize);
        let end = match self.lines.get(last + 1) {
            Some(next) => (*next as usize).saturating_sub(1),
            None => self.text.len(),
        };
        start..end.max(start)
    }
}

impl fmt::Debug for Source {
    /// Without the text, which may hold what must not be shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Source").field(&self.path).finish()
    }
}

/// All files, by [`FileId`].
#[derive(Debug, Default)]
pub(super) struct Sources(Vec<Source>);

impl Sources {
    pub(super) fn add(&mut self, source: Source) -> FileId {
        let id = FileId(u32::try_from(self.0.len()).unwrap_or(u32::MAX));
        self.0.push(source);
        id
    }

    pub(super) fn get(&self, id: FileId) -> &Source {
        &self.0[id.0 as usize]
    }

    pub(super) fn get_mut(&mut self, id: FileId) -> &mut Source {
        &mut self.0[id.0 as usize]
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (FileId, &mut Source)> {
        let numbered = self.0.iter_mut().enumerate();
        numbered.map(|(at, source)| (FileId(u32::try_from(at).unwrap_or(u32::MAX)), source))
    }

    /// `FILE:LINE`, as help texts name a place.
    pub(super) fn name(&self, place: Place) -> String {
        let source = self.get(place.file);
        let (line, _) = source.position(place.start as usize);
        format!("{}:{line}", source.path().display())
    }
}

/// Bytes of a line beyond which it is not shown and its columns are not counted in characters.
pub(super) const LONG_LINE: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_count_from_one_and_in_characters() {
        let source = Source::new(PathBuf::from("x"), "ab\nü = 1\n".to_owned());
        assert_eq!(source.position(0), (1, 1));
        assert_eq!(source.position(3), (2, 1));
        assert_eq!(source.position(6), (2, 3));
        assert_eq!(source.position(10), (3, 1));
        assert_eq!(source.line_range(1, 1), 3..9);
    }

    #[test]
    fn a_sealed_text_keeps_its_length_and_hides_its_secrets() {
        let text = "a = \"hün\nter\"\nb = 1\n";
        let mut source = Source::new(PathBuf::from("x"), text.to_owned());
        source.seal(vec![4..8, 4..14]);
        let sealed = "a = *****\n****\nb = 1\n";
        assert_eq!(source.text(), sealed);
        assert_eq!(sealed.len(), text.len());
        assert!(!format!("{source:?}").contains("b = 1"));
    }
}
