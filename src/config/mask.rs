//! Which pieces of a policy file must not be shown, because somebody may have written a secret there.
//!
//! Two nets: the tree (every value at the place of a secret that is no reference, and every value of an unknown key in
//! a table that takes secrets) and, for files that do not parse, the lines (whatever follows the name of a secret).

use std::ops::Range;

use crate::config::raw::{self, Holds};
use crate::config::source::LONG_LINE;
use crate::config::tree::{Node, Table, Value};

/// Pieces of the file that hold, or may hold, literal secrets.
pub(super) fn of_tree(root: &Table) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    table(root, &raw::ROOT, &mut found);
    found
}

fn table(from: &Table, schema: &raw::Table, found: &mut Vec<Range<usize>>) {
    for (name, entry) in &from.entries {
        let node = &entry.node;
        let Some(key) = schema.key(name) else {
            let hide = match node.value {
                Value::Table(_) => schema.leads_to_secrets(),
                _ => schema.takes_secrets(),
            };
            if hide {
                everything(node, found);
            }
            continue;
        };
        match (&key.holds, &node.value) {
            (Holds::Secret, Value::Text(text)) if is_reference(text) => {}
            (Holds::Secret, _) => everything(node, found),
            (Holds::Table(inner), Value::Table(node)) => table(node, inner, found),
            (Holds::Tables(inner), Value::Table(node)) => {
                for (name, each) in &node.entries {
                    match &each.node.value {
                        Value::Table(node) => table(node, inner, found),
                        // A key one level too high: what it holds is known all the same.
                        _ => match inner.key(name) {
                            Some(key) if !key.holds.leads_to_secrets() => {}
                            _ if inner.takes_secrets() => everything(&each.node, found),
                            _ => {}
                        },
                    }
                }
            }
            _ if key.holds.leads_to_secrets() => everything(node, found),
            _ => {}
        }
    }
}

/// Every value below; not the header of a table, which shows where they are.
fn everything(node: &Node, found: &mut Vec<Range<usize>>) {
    match &node.value {
        Value::Table(inner) => {
            for entry in inner.entries.values() {
                everything(&entry.node, found);
            }
        }
        _ => found.push(node.place.range()),
    }
}

/// What follows the name of a secret on a line and does not look like a reference, and user and password in a URL.
///
/// In `bad`, the pieces of the text that do not parse, misspelt names count as well; elsewhere the tree finds those.
pub(super) fn suspicious(text: &str, bad: &[Range<usize>]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut start = 0;
    // The value goes on: it has not come yet, or its quotes are still open.
    let mut open = false;
    // The last letters of the line before, the last one first: a name may be broken in two.
    let mut before = String::new();
    for line in text.split_inclusive('\n') {
        let next = bad.partition_point(|piece| piece.end < start);
        let broken = bad
            .get(next)
            .is_some_and(|piece| piece.start <= start + line.len());
        let value = if open && is_value(line) {
            Some(0)
        } else {
            value_of_secret(line, broken.then_some(before.as_str()))
        };
        before = letters(line).rev().take(LONGEST_NAME).collect();
        open = false;
        if let Some(from) = value {
            let value = line[from..].trim();
            let closed = value.len() > 1 && value.ends_with(['"', '\'', '}', ']', ',']);
            open = !closed;
            found.push(start + from..start + line.len());
        }
        for (scheme, _) in line.match_indices("://") {
            let from = scheme + 3;
            let to = line[from..].find(['/', '"', '\'', ' ', '\n']);
            let to = to.map_or(line.len(), |length| from + length);
            if let Some(at) = line[from..to].rfind('@') {
                found.push(start + from..start + from + at);
            }
        }
        start += line.len();
    }
    found
}

/// Whether a line can be the rest of a value: it is neither a header nor a key with a value of its own.
fn is_value(line: &str) -> bool {
    !line.trim_start().starts_with('[') && !is_assignment(line)
}

/// Where the value of a secret begins on this line; with the last letters of the line before, also that of one whose
/// name is misspelt.
fn value_of_secret(line: &str, before: Option<&str>) -> Option<usize> {
    let names = raw::secret_names();
    let named = names
        .iter()
        .flat_map(|name| line.match_indices(name).map(|(at, _)| at + name.len()));
    let mut ends: Vec<usize> = named.collect();
    ends.extend(before.and_then(|before| behind_misspelt(line, before, &names)));
    ends.sort_unstable();
    ends.into_iter().find_map(|end| {
        let behind = &line[end..];
        // The quote that closes a quoted key.
        let unquoted = behind.trim_start_matches(['"', '\'']);
        let behind = if unquoted.trim_start().starts_with('=') {
            unquoted
        } else {
            behind
        };
        let value = behind.trim_start_matches([' ', '\t', '=']);
        let bare = value.trim_start_matches(['"', '\'']);
        // The word in a header, or a table of this name, whose keys speak for themselves.
        let other = if behind[..behind.len() - value.len()].contains('=') {
            value.strip_prefix('{').is_some_and(is_assignment)
        } else {
            before.is_none() || bare.trim().is_empty() || bare.starts_with([']', '.'])
        };
        (!other && !is_reference(bare)).then(|| line.len() - value.len())
    })
}

/// Whether a text begins with a word and an equals sign.
fn is_assignment(text: &str) -> bool {
    let text = text.trim_start();
    let word = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    word.is_some_and(|at| at > 0 && text[at..].trim_start().starts_with('='))
}

/// Where quotes open, if what stands before them was probably meant as the name of a secret.
fn behind_misspelt(line: &str, before: &str, names: &[&str]) -> Option<usize> {
    if line.len() > LONG_LINE {
        // Too long to be shown at all.
        return None;
    }
    let mut head: String = before.chars().rev().collect();
    for (at, c) in line.char_indices() {
        if matches!(c, '"' | '\'') && names.iter().any(|name| ends_nearly(&head, name)) {
            return Some(at);
        }
        if c.is_ascii_alphanumeric() || c == '_' {
            head.push(c);
        }
    }
    None
}

/// The characters of which names are made.
fn letters(line: &str) -> impl DoubleEndedIterator<Item = char> {
    line.chars()
        .filter(|c| c.is_ascii_alphanumeric() || *c == '_')
}

/// Whether the last letters are a name but for two typing mistakes. `head` is ASCII.
fn ends_nearly(head: &str, name: &str) -> bool {
    (name.len() - 2..=name.len() + 2).any(|length| {
        let start = head.len().checked_sub(length);
        let tail = start.and_then(|start| head.get(start..));
        tail.is_some_and(|tail| strsim::damerau_levenshtein(tail, name) <= 2)
    })
}

/// Whether a text is meant as a reference.
pub(super) fn is_reference(text: &str) -> bool {
    ["file:", "env:", "credential:"]
        .iter()
        .any(|scheme| text.starts_with(scheme))
}

/// Characters: `security_token` and two more.
const LONGEST_NAME: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        let hidden = suspicious(text, std::slice::from_ref(&(0..text.len())));
        let mask = |(at, c): (usize, char)| match hidden.iter().any(|h| h.contains(&at)) {
            true if c != '\n' => '*',
            _ => c,
        };
        text.char_indices().map(mask).collect()
    }

    #[test]
    fn a_line_shows_nothing_behind_the_name_of_a_secret() {
        for (text, want) in [
            ("secret_key = \"abc", "secret_key = ****"),
            ("a = 1\n\"password\"=x\n", "a = 1\n\"password\"=*\n"),
            (
                "user = \"a\", password = 'b' }",
                "user = \"a\", password = *****",
            ),
            ("password  \"abc\"", "password  *****"),
            ("pass=word = \"abc\"", "pass=word = *****"),
            ("pasword = \"abc", "pasword = ****"),
            ("\"assword = \"abc\"", "\"assword = *****"),
            ("password =\n\"abc\"\nb = 1", "password =\n*****\nb = 1"),
            ("password = \"ab\nc\"\nb = 1", "password = ***\n**\nb = 1"),
            (
                "password = \"ab\nuser = \"x\"",
                "password = ***\nuser = \"x\"",
            ),
            ("u = \"https://a:b@c/d@e\"", "u = \"https://***@c/d@e\""),
        ] {
            assert_eq!(shown(text), want);
        }
        for same in [
            "secret_key = \"file:/x\"",
            "[issuer.pca.corp.password]",
            "password = { user = \"u\" }",
            "password.user = \"u\"",
            "endpoint = \"https://x\"",
            "project = \"x\"",
        ] {
            assert_eq!(shown(same), same);
        }
    }
}
