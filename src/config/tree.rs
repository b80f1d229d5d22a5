//! A TOML document as a tree whose every key and value knows its place.
//!
//! The parser goes on after a syntax error, so that one missing quote does not hide the rest; the places it could not
//! make sense of are kept, and nothing else is said about them.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::config::halves;
use crate::config::source::{FileId, Place, Source};

/// A table.
#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) entries: BTreeMap<String, Entry>,
    /// Whether some of it stood in a file with syntax errors: what is missing here may be there.
    pub(super) partial: bool,
}

/// One key of a table.
#[derive(Debug)]
pub(super) struct Entry {
    /// Of the key; for a table, its last word in the header.
    pub(super) key: Place,
    pub(super) node: Node,
}

/// A value.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) value: Value,
}

#[derive(Debug)]
pub(super) enum Value {
    Text(String),
    /// `None` beyond 64 bits.
    Integer {
        value: Option<i64>,
        radix: u32,
    },
    Float,
    Flag(bool),
    Date,
    List(Vec<Node>),
    Table(Table),
}

impl Value {
    /// For messages: `a string`.
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "a string",
            Self::Integer { .. } => "an integer",
            Self::Float => "a float",
            Self::Flag(_) => "a boolean",
            Self::Date => "a date",
            Self::List(_) => "an array",
            Self::Table(_) => "a table",
        }
    }
}

/// What the parser could not read.
#[derive(Debug)]
pub(super) struct SyntaxError {
    pub(super) place: Place,
    pub(super) message: String,
    /// The same key or table a second time: everything around it is sound.
    pub(super) duplicate: bool,
}

/// A parsed file.
#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) root: Table,
    pub(super) errors: Vec<SyntaxError>,
    /// Pieces that cannot be trusted.
    pub(super) bad: Vec<Range<usize>>,
}

/// Reads a file to the end, syntax errors or not.
pub(super) fn parse(file: FileId, source: &Source) -> Parsed {
    match halves::parse(file, source.text()) {
        Some(root) => Parsed {
            root,
            errors: Vec::new(),
            bad: Vec::new(),
        },
        None => parse_whole(file, source),
    }
}

pub(super) fn parse_whole(file: FileId, source: &Source) -> Parsed {
    let (root, found) = DeTable::parse_recoverable(source.text());
    let errors: Vec<SyntaxError> = found
        .iter()
        .map(|error| SyntaxError {
            place: place_of(file, source, error.span()),
            message: error.message().to_owned(),
            duplicate: error.message() == "duplicate key",
        })
        .collect();
    let partial = errors.iter().any(|error| !error.duplicate);
    let root = table((file, 0), root.into_inner(), partial);
    let (errors, bad) = separate(source, &root, errors);
    Parsed { root, errors, bad }
}

fn place_of(file: FileId, source: &Source, span: Option<Range<usize>>) -> Place {
    let length = source.text().len();
    let span = span.unwrap_or(0..0);
    Place::new(file, span.start.min(length)..span.end.min(length))
}

/// The tree of a piece of a file that begins at this byte of it.
pub(super) fn table(piece: (FileId, usize), from: DeTable<'_>, partial: bool) -> Table {
    let entries = from.into_iter().map(|(key, value)| {
        let place = place_in(piece, key.span());
        let node = node(piece, value, partial);
        (key.into_inner().into_owned(), Entry { key: place, node })
    });
    Table {
        entries: entries.collect(),
        partial,
    }
}

fn place_in((file, at): (FileId, usize), span: Range<usize>) -> Place {
    Place::new(file, span.start + at..span.end + at)
}

fn node(piece: (FileId, usize), from: Spanned<DeValue<'_>>, partial: bool) -> Node {
    let place = place_in(piece, from.span());
    let value = match from.into_inner() {
        DeValue::String(text) => Value::Text(text.into_owned()),
        DeValue::Integer(number) => Value::Integer {
            value: i64::from_str_radix(number.as_str(), number.radix()).ok(),
            radix: number.radix(),
        },
        DeValue::Float(_) => Value::Float,
        DeValue::Boolean(flag) => Value::Flag(flag),
        DeValue::Datetime(_) => Value::Date,
        DeValue::Array(items) => {
            let items = items.into_iter().map(|item| node(piece, item, partial));
            Value::List(items.collect())
        }
        DeValue::Table(inner) => Value::Table(table(piece, inner, partial)),
    };
    Node { place, value }
}

/// Keeps the errors that are no mere consequence of an earlier one, and says what each of them spoils: its line; a value
/// that it lies in, to its end; behind a broken table header, everything up to the next header.
fn separate(
    source: &Source,
    root: &Table,
    mut errors: Vec<SyntaxError>,
) -> (Vec<SyntaxError>, Vec<Range<usize>>) {
    if errors.is_empty() {
        return (errors, Vec::new());
    }
    let mut values = Vec::new();
    spans(root, &mut values);
    values.sort_by_key(|span| (span.start, span.end));
    let mut values = values.into_iter().peekable();
    // The value that reaches farthest of those that begin before the error.
    let mut around = 0..0;
    let mut bad: Vec<Range<usize>> = Vec::new();
    errors.sort_by_key(|error| error.place.start);
    errors.retain(|error| {
        if error.duplicate {
            return true;
        }
        let at = error.place.start as usize;
        let spoilt = bad.last().map_or(0, |last| last.end);
        if at < spoilt {
            return false;
        }
        while let Some(value) = values.next_if(|value| value.start <= at) {
            if value.end > around.end {
                around = value;
            }
        }
        let line = source.line_of(at);
        let mut piece = source.line_range(line, line);
        if source.text()[piece.clone()].trim_start().starts_with('[') {
            piece.end = next_header(source, line);
        }
        if around.end >= at {
            piece.start = piece.start.min(around.start);
            piece.end = piece.end.max(around.end);
        }
        // One more, so that an error at the very end of the line or of the file lies inside.
        bad.push(piece.start.max(spoilt)..piece.end + 1);
        true
    });
    (errors, bad)
}

/// Of all values; a table's is its header or its braces.
fn spans(from: &Table, found: &mut Vec<Range<usize>>) {
    for entry in from.entries.values() {
        found.push(entry.node.place.range());
        if let Value::Table(inner) = &entry.node.value {
            spans(inner, found);
        }
    }
}

/// The end of the last line before the next table header.
fn next_header(source: &Source, line: usize) -> usize {
    let mut next = line + 1;
    loop {
        let range = source.line_range(next, next);
        if range.start == 0 {
            return source.text().len();
        }
        if source.text()[range.clone()].trim_start().starts_with('[') {
            return range.start.saturating_sub(1);
        }
        next += 1;
    }
}
