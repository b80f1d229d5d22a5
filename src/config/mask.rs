//! Which pieces of a policy file must not be shown, because somebody may have written a secret there.
//!
//! Two nets: the tree (every value at the place of a secret that is no reference, and every value of an unknown key in
//! a table that takes secrets) and, for files that do not parse, the lines (whatever follows the name of a secret).

use std::ops::Range;

use crate::config::raw::{self, Holds};
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

/// Pieces of some lines that follow the name of a secret and do not look like a reference, and user and password in a
/// URL.
pub(super) fn suspicious(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        if let Some(from) = value_of_secret(line) {
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

/// Where the value of a secret begins on this line.
fn value_of_secret(line: &str) -> Option<usize> {
    let mut at = 0;
    while let Some(found) = line[at..].find('=') {
        let equals = at + found;
        at = equals + 1;
        let key = line[..equals].trim_end().trim_end_matches(['"', '\'']);
        let names = raw::secret_names();
        let value = &line[at..];
        if names.iter().any(|name| key.ends_with(name)) && !refers(value) {
            return Some(at + value.len() - value.trim_start().len());
        }
    }
    None
}

/// Whether what follows the equals sign begins like a reference in quotes.
fn refers(value: &str) -> bool {
    let value = value.trim_start();
    let value = value.strip_prefix(['"', '\'']).unwrap_or(value);
    is_reference(value)
}

/// Whether a text is meant as a reference.
pub(super) fn is_reference(text: &str) -> bool {
    ["file:", "env:", "credential:"]
        .iter()
        .any(|scheme| text.starts_with(scheme))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_shows_nothing_behind_the_name_of_a_secret() {
        assert_eq!(suspicious("secret_key = \"abc"), vec![13..17]);
        assert_eq!(suspicious("a = 1\n\"password\"=x\n"), vec![17..19]);
        assert_eq!(suspicious("u = \"https://a:b@c/d@e\""), vec![13..16]);
        assert_eq!(suspicious("user = \"a\", password = 'b' }"), vec![23..28]);
        assert!(suspicious("secret_key = \"file:/x\"").is_empty());
        assert!(suspicious("[issuer.pca.corp.password]").is_empty());
        assert!(suspicious("endpoint = \"https://x\"").is_empty());
    }
}
