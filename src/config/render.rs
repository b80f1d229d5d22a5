//! Draws one problem in the manner of rustc.

use annotate_snippets::{
    Annotation, AnnotationKind, Group, Level, Message, Origin, Renderer, Snippet,
};

use crate::config::diagnostic::{Diagnostic, Label, Severity};
use crate::config::source::{LONG_LINE, Source, Sources};

/// Without a final line end.
pub(super) fn one(item: &Diagnostic, sources: &Sources, colour: bool) -> String {
    let level = match item.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let title = level
        .primary_title(item.message.as_str())
        .id(item.code.as_str());
    let mut group = Group::with_title(title);
    if item.labels.is_empty() {
        let path = sources.get(item.file).path().display().to_string();
        group = group.element(Origin::path(path));
    }
    let mut rest = item.labels.as_slice();
    let mut first = true;
    while let Some(label) = rest.first() {
        let file = label.place.file;
        let same = rest.iter().take_while(|next| next.place.file == file);
        let (here, there) = rest.split_at(same.count());
        group = snippet(group, sources.get(file), here, first);
        rest = there;
        first = false;
    }
    for note in &item.notes {
        group = group.element(text(Level::NOTE, note));
    }
    for help in &item.helps {
        group = group.element(text(Level::HELP, help));
    }
    let renderer = if colour {
        Renderer::styled()
    } else {
        Renderer::plain()
    };
    renderer.render(&[group])
}

fn text<'a>(level: Level<'a>, text: &'a str) -> Message<'a> {
    level.message(text)
}

/// The lines of one file that some labels are on; each label gets its own window, so that far ones do not bring
/// everything in between along.
fn snippet<'a>(
    mut group: Group<'a>,
    source: &'a Source,
    labels: &'a [Label],
    primary: bool,
) -> Group<'a> {
    let path = source.path().display().to_string();
    let lines = |label: &Label| {
        let range = label.place.range();
        let last = range.end.saturating_sub(1).max(range.start);
        (source.line_of(range.start), source.line_of(last))
    };
    let from = labels.iter().map(|label| lines(label).0).min().unwrap_or(0);
    let to = labels.iter().map(|label| lines(label).1).max().unwrap_or(0);
    let window = source.line_range(from, to);
    // Near labels share one window, as rustc draws them.
    if to - from <= FAR_LINES && window.len() <= LONG_LINE {
        let marks = labels.iter().enumerate().map(|(at, label)| {
            let kind = kind(primary && at == 0);
            annotation(kind, label, window.start, window.len())
        });
        return group.element(
            Snippet::source(&source.text()[window.clone()])
                .line_start(from + 1)
                .path(path)
                .annotations(marks.collect::<Vec<_>>()),
        );
    }
    for (at, label) in labels.iter().enumerate() {
        let (first, last) = lines(label);
        // A value over many lines is shown by its first.
        let last = if last - first > FAR_LINES {
            first
        } else {
            last
        };
        let window = source.line_range(first, last);
        if window.len() > LONG_LINE {
            let (line, column) = source.position(label.place.start as usize);
            group = group
                .element(Origin::path(path.clone()).line(line).char_column(column))
                .element(text(Level::NOTE, &label.text));
            continue;
        }
        let mark = annotation(kind(primary && at == 0), label, window.start, window.len());
        group = group.element(
            Snippet::source(&source.text()[window.clone()])
                .line_start(first + 1)
                .path(path.clone())
                .annotation(mark),
        );
    }
    group
}

const fn kind(primary: bool) -> AnnotationKind {
    if primary {
        AnnotationKind::Primary
    } else {
        AnnotationKind::Context
    }
}

fn annotation<'a>(
    kind: AnnotationKind,
    label: &'a Label,
    start: usize,
    length: usize,
) -> Annotation<'a> {
    let range = label.place.range();
    let from = range.start.saturating_sub(start).min(length);
    let to = range.end.saturating_sub(start).clamp(from, length);
    let mark = kind.span(from..to);
    if label.text.is_empty() {
        mark
    } else {
        mark.label(label.text.as_str())
    }
}

/// Lines between two labels beyond which each is shown by itself.
const FAR_LINES: usize = 12;
