//! Problems of a policy: what is known of each, and all of them together.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use crate::config::code::Code;
use crate::config::source::{FileId, Place, Sources};
use crate::config::{mask, render};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The policy is refused.
    Error,
    /// The policy is accepted; this is probably not meant.
    Warning,
}

/// One problem, on its way to [`Diagnostics`].
#[derive(Debug)]
pub(super) struct Diagnostic {
    pub(super) code: Code,
    pub(super) severity: Severity,
    pub(super) message: String,
    pub(super) file: FileId,
    /// The first is where it is; the others explain. None: the file as a whole.
    pub(super) labels: Vec<Label>,
    /// Facts that explain.
    pub(super) notes: Vec<String>,
    /// What to write or to run.
    pub(super) helps: Vec<String>,
}

/// A piece of a file with a word about it.
#[derive(Debug)]
pub(super) struct Label {
    pub(super) place: Place,
    pub(super) text: String,
}

impl Diagnostic {
    /// An error at a place; the label says what is wrong with just that piece.
    pub(super) fn error(
        code: Code,
        place: Place,
        message: impl Into<String>,
        label: impl Into<String>,
    ) -> Self {
        Self {
            labels: vec![Label {
                place,
                text: label.into(),
            }],
            ..Self::of_file(code, place.file, message)
        }
    }

    /// A warning at a place.
    pub(super) fn warning(
        code: Code,
        place: Place,
        message: impl Into<String>,
        label: impl Into<String>,
    ) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(code, place, message, label)
        }
    }

    /// An error of a whole file.
    pub(super) fn of_file(code: Code, file: FileId, message: impl Into<String>) -> Self {
        Self {
            code,
            severity: Severity::Error,
            message: message.into(),
            file,
            labels: Vec::new(),
            notes: Vec::new(),
            helps: Vec::new(),
        }
    }

    /// Another place that explains this one.
    #[must_use]
    pub(super) fn also(mut self, place: Place, label: impl Into<String>) -> Self {
        self.labels.push(Label {
            place,
            text: label.into(),
        });
        self
    }

    #[must_use]
    pub(super) fn help(mut self, text: impl Into<String>) -> Self {
        self.helps.push(text.into());
        self
    }

    #[must_use]
    pub(super) fn note(mut self, text: impl Into<String>) -> Self {
        self.notes.push(text.into());
        self
    }

    fn start(&self) -> u32 {
        self.labels.first().map_or(0, |label| label.place.start)
    }
}

/// Every problem of a policy, sorted by file and line. [`fmt::Display`] shows them all, without colour.
#[derive(Debug, Default)]
pub struct Diagnostics {
    items: Vec<Diagnostic>,
    sources: Sources,
}

/// One problem as plain data, for machines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem<'a> {
    /// Stable, documented in `renewd.toml(5)`.
    pub code: Code,
    /// Whether the policy is refused for it.
    pub severity: Severity,
    /// One line.
    pub message: &'a str,
    /// Where.
    pub file: &'a Path,
    /// Line and column, from 1; `None` for a file as a whole.
    pub position: Option<(usize, usize)>,
    /// What to write or to run.
    pub helps: &'a [String],
}

impl Diagnostics {
    /// Sorts, drops repetitions, and keeps the text of those files only that are shown, without what must not be.
    pub(super) fn new(mut items: Vec<Diagnostic>, mut sources: Sources) -> Self {
        items.sort_by(|a, b| {
            let key = |d: &Diagnostic| (d.file, d.start(), d.code);
            key(a).cmp(&key(b)).then_with(|| a.message.cmp(&b.message))
        });
        items.dedup_by(|a, b| {
            (a.file, a.start(), a.code, &a.message) == (b.file, b.start(), b.code, &b.message)
        });
        let labels = items.iter().flat_map(|item| &item.labels);
        let shown: BTreeSet<FileId> = labels.map(|label| label.place.file).collect();
        for (id, source) in sources.iter_mut() {
            if shown.contains(&id) {
                let suspicious = mask::suspicious(source.text(), source.bad());
                source.seal(suspicious);
            } else {
                source.forget();
            }
        }
        Self { items, sources }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// How many errors.
    #[must_use]
    pub fn errors(&self) -> usize {
        self.count(Severity::Error)
    }

    /// How many warnings.
    #[must_use]
    pub fn warnings(&self) -> usize {
        self.count(Severity::Warning)
    }

    fn count(&self, severity: Severity) -> usize {
        let same = self.items.iter().filter(|item| item.severity == severity);
        same.count()
    }

    /// The problems in order.
    pub fn iter(&self) -> impl Iterator<Item = Problem<'_>> {
        self.items.iter().map(|item| {
            let source = self.sources.get(item.file);
            let first = item.labels.first();
            Problem {
                code: item.code,
                severity: item.severity,
                message: &item.message,
                file: source.path(),
                position: first.map(|label| source.position(label.place.start as usize)),
                helps: &item.helps,
            }
        })
    }

    /// As rustc shows its own: code, message, file with line and column, the line with carets, help; at the end how
    /// many there are. Ends with a line end unless there is none.
    #[must_use]
    pub fn render(&self, colour: bool) -> String {
        if self.is_empty() {
            return String::new();
        }
        let mut text = String::new();
        for item in &self.items {
            text.push_str(&render::one(item, &self.sources, colour));
            text.push_str("\n\n");
        }
        text.push_str(&self.summary());
        text.push('\n');
        text
    }

    /// Such as `2 errors and 1 warning in 2 files`.
    #[must_use]
    pub fn summary(&self) -> String {
        let many = |count, word| match count {
            1 => format!("1 {word}"),
            _ => format!("{count} {word}s"),
        };
        let files: BTreeSet<FileId> = self.items.iter().map(|item| item.file).collect();
        let files = many(files.len(), "file");
        match (self.errors(), self.warnings()) {
            (0, 0) => "no problems".to_owned(),
            (errors, 0) => format!("{} in {files}", many(errors, "error")),
            (0, warnings) => format!("{} in {files}", many(warnings, "warning")),
            (errors, warnings) => format!(
                "{} and {} in {files}",
                many(errors, "error"),
                many(warnings, "warning")
            ),
        }
    }

    /// `EX_CONFIG` of sysexits, or 0 without an error.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        if self.errors() > 0 { EX_CONFIG } else { 0 }
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.render(false).trim_end())
    }
}

impl std::error::Error for Diagnostics {}

const EX_CONFIG: u8 = 78;
