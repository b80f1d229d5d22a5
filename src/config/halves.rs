//! A large file, parsed in two pieces side by side: parsing is most of a start with ten thousand certificates.
//!
//! Nothing is judged here. Whatever is not two sound pieces that fit together without a doubt is left to the parser of the
//! whole, which says what is wrong.

use std::thread;

use toml::de::DeTable;

use crate::config::source::FileId;
use crate::config::tree::{Entry, Table, Value, table};

/// The file as one tree, as the parser of the whole would give it; `None` for one that is small, or that is not to be cut.
pub(super) fn parse(file: FileId, text: &str) -> Option<Table> {
    if text.len() < LARGE || thread::available_parallelism().is_ok_and(|cores| cores.get() < 2) {
        return None;
    }
    let at = cut(text)?;
    let (first, second) = thread::scope(|scope| {
        let second = thread::Builder::new().spawn_scoped(scope, || piece(file, text, at));
        let first = piece(file, text.get(..at)?, 0);
        // Where there can be no further thread, the whole is parsed.
        Some((first, second.ok()?.join().ok()?))
    })?;
    join(text, at, first?, second?)
}

/// From about two thousand certificates.
const LARGE: usize = 1 << 18;

/// Where a certificate's table begins, near the middle.
fn cut(text: &str) -> Option<usize> {
    let mut from = text.len() / 2;
    while !text.is_char_boundary(from) {
        from += 1;
    }
    let headers = text.get(from..)?.match_indices(HEADER);
    let mut starts = headers.map(|(at, _)| from + at + 1);
    starts.find(|at| {
        let name = text.get(at + HEADER.len() - 1..).unwrap_or_default();
        let bare = |at: char| at.is_ascii_alphanumeric() || at == '-' || at == '_';
        // No table within a certificate's: what it is in may stand before.
        name.trim_start_matches(bare).starts_with("]\n")
    })
}

const HEADER: &str = "\n[certificate.";

/// What stands there from `at` on, if it is sound.
fn piece(file: FileId, text: &str, at: usize) -> Option<Table> {
    let (root, errors) = DeTable::parse_recoverable(text.get(at..)?);
    errors
        .is_empty()
        .then(|| table((file, at), root.into_inner(), false))
}

/// Both as one. A table may go on in the second piece by headers of tables within it, which the first one does not have.
fn join(text: &str, at: usize, mut first: Table, second: Table) -> Option<Table> {
    let mut shared = Vec::new();
    for (key, entry) in second.entries {
        let Some(before) = first.entries.get_mut(&key) else {
            first.entries.insert(key, entry);
            continue;
        };
        let by_headers = begins_a_header(text, before) && begins_a_header(text, &entry);
        let (Value::Table(before), Value::Table(entry)) =
            (&mut before.node.value, entry.node.value)
        else {
            return None;
        };
        if !by_headers {
            return None;
        }
        for (name, inner) in entry.entries {
            if before.entries.insert(name, inner).is_some() {
                return None;
            }
        }
        shared.push(key);
    }
    let own = |line: &str| {
        let header = line
            .strip_prefix('[')
            .and_then(|rest| rest.split(']').next());
        let header = header.map(|name| name.trim().trim_matches(['"', '\'']));
        header.is_some_and(|name| shared.iter().any(|key| key == name))
    };
    // Its own header would move its place, or be there twice.
    let rest = text.get(at..)?;
    (!rest.lines().any(|line| own(line.trim_start()))).then_some(first)
}

/// Whether the key is the first word of a header, with more words behind it.
fn begins_a_header(text: &str, entry: &Entry) -> bool {
    let key = entry.key.range();
    let before = text.get(..key.start).unwrap_or_default();
    let behind = text.get(key.end..).unwrap_or_default();
    before.ends_with("\n[") && behind.starts_with('.')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::source::Source;
    use crate::config::tree;

    const FILE: FileId = FileId(0);

    fn certificates(from: usize, to: usize) -> String {
        let table = |at| {
            format!(
                "[certificate.c{at}]\nissuer = \"corp\" # for now\nnames = [\n  \"c{at}.example.test\",\n]\ntags = {{ a = 1 }}\n\n"
            )
        };
        (from..to).map(table).collect()
    }

    fn head() -> String {
        "state_dir = \"/var/lib/renewd\"\n\n[issuer.pca.corp]\nca = \"é\"\n\n".to_owned()
    }

    fn whole(text: &str) -> tree::Parsed {
        tree::parse_whole(FILE, &Source::new("renewd.toml".into(), text.to_owned()))
    }

    #[test]
    fn two_pieces_are_what_the_whole_is() {
        let tail = "[target.files.web]\nowner = \"root\"\n";
        let text = head() + &certificates(0, 5000) + tail;
        assert!(text.len() > LARGE);
        let joined = parse(FILE, &text).expect("it is cut");
        assert_eq!(format!("{joined:?}"), format!("{:?}", whole(&text).root));
    }

    #[test]
    fn what_may_mean_something_else_as_a_whole_is_not_cut() {
        let many = |from| certificates(from, from + 3000);
        let twice = head() + &many(0) + &many(0);
        let headed = head() + &many(0) + &many(3000) + "[certificate]\n";
        let inline = "certificate = {}\n".to_owned() + &many(0) + &many(3000);
        let dotted = "certificate.c.issuer = \"corp\"\n".to_owned() + &many(0) + &many(3000);
        let broken = head() + &many(0) + &many(3000) + "[certificate.x\n";
        let text = head() + "note = '''\n" + &many(0) + &many(3000) + "'''\n";
        let small = head() + &certificates(0, 10);
        for (text, why) in [
            (twice, "twice"),
            (headed, "headed"),
            (inline, "inline"),
            (dotted, "dotted"),
            (broken, "broken"),
            (text, "text"),
            (small, "small"),
        ] {
            assert!(parse(FILE, &text).is_none(), "{why}");
        }
    }
}
