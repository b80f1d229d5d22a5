//! Policies that nobody writes by hand: huge ones, damaged ones, and plain noise.

use std::fmt::Write as _;
use std::fs;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::{Etc, fixtures};

/// So many certificates in one file, each with this issuer.
fn many(count: usize, issuer: &str) -> String {
    let mut text = fs::read_to_string(fixtures("good").join("minimal.toml")).unwrap();
    for n in 0..count {
        write!(
            text,
            "[certificate.c{n}]\nissuer = \"{issuer}\"\nnames = [\"c{n}.example.com\"]\ntargets = [\"web\"]\n"
        )
        .unwrap();
    }
    text
}

#[test]
fn a_hundred_thousand_certificates_load_in_seconds() {
    let etc = Etc::new();
    etc.write("renewd.toml", many(100_000, "corp"));
    let start = Instant::now();
    let loaded = etc.load().unwrap();
    assert_eq!(loaded.policy.certificates.len(), 100_001);
    // An unoptimised build on a busy machine takes a few seconds; anything quadratic takes hours.
    assert!(
        start.elapsed() < Duration::from_secs(120),
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn many_thousand_mistakes_are_told_in_seconds() {
    let etc = Etc::new();
    etc.write("renewd.toml", many(30_000, "nobody"));
    let start = Instant::now();
    let diagnostics = etc.load().unwrap_err();
    assert_eq!(diagnostics.errors(), 30_000);
    assert!(diagnostics.render(false).len() > 30_000 * 50);
    assert!(
        start.elapsed() < Duration::from_secs(120),
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn many_thousand_mistakes_on_one_line_are_told_in_seconds() {
    let etc = Etc::new();
    let items: Vec<String> = (0..30_000).map(|n| format!("\"c{n}..example\"")).collect();
    let names = items.join(",");
    etc.write(
        "renewd.toml",
        format!("[certificate.x]\nissuer = \"corp\"\nnames = [{names}]\n"),
    );
    let start = Instant::now();
    let diagnostics = etc.load().unwrap_err();
    assert_eq!(diagnostics.errors(), 30_001);
    assert!(!diagnostics.render(false).contains(&names[..5000]));
    assert!(
        start.elapsed() < Duration::from_secs(120),
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn many_thousand_syntax_errors_are_told_in_seconds() {
    let etc = Etc::new();
    etc.write("renewd.toml", "x = = 1\n".repeat(30_000));
    let start = Instant::now();
    let diagnostics = etc.load().unwrap_err();
    assert!(diagnostics.errors() > 0);
    assert!(!diagnostics.render(false).is_empty());
    assert!(
        start.elapsed() < Duration::from_secs(120),
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn deep_nesting_is_refused_and_not_followed() {
    for text in [
        format!("x = {}1{}\n", "[".repeat(200_000), "]".repeat(200_000)),
        format!("x = {}", "{a=".repeat(200_000)),
        format!("[{}a]\n", "a.".repeat(100_000)),
    ] {
        let etc = Etc::new();
        etc.write("renewd.toml", text);
        let diagnostics = etc.load().unwrap_err();
        assert!(!diagnostics.render(false).is_empty());
    }
}

/// The sample with every setting in force, and secrets in the place of references to them.
fn sample_with_secrets() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/config/renewd.toml");
    let text = crate::sample::uncommented(&fs::read_to_string(path).unwrap());
    let lines = text.lines().map(|line| {
        let (key, value) = line.split_once(" = ").unwrap_or((line, ""));
        let reference = value.starts_with("\"file:") || value.starts_with("\"credential:");
        if reference && !line.starts_with('#') {
            format!("{key} = \"HUNTER2HUNTER2\"\n")
        } else {
            format!("{line}\n")
        }
    });
    lines.collect()
}

fn shown(text: impl AsRef<[u8]>) -> String {
    let etc = Etc::new();
    etc.write("renewd.toml", text);
    match etc.load() {
        Ok(loaded) => loaded.warnings.render(true),
        Err(diagnostics) => diagnostics.render(false),
    }
}

/// What a slip of the hand does to a text.
#[derive(Debug, Clone)]
enum Slip {
    Delete(usize),
    Insert(usize, char),
    Replace(usize, char),
    DeleteLine(usize),
    SwapLines(usize),
}

fn slip() -> impl Strategy<Value = Slip> {
    let c = prop_oneof![
        proptest::char::range(' ', '~'),
        Just('\n'),
        Just('"'),
        Just('\''),
        Just('='),
        Just('['),
        Just(']'),
        Just('\\'),
        Just('é'),
        Just('\u{0}'),
    ];
    prop_oneof![
        any::<usize>().prop_map(Slip::Delete),
        (any::<usize>(), c.clone()).prop_map(|(at, c)| Slip::Insert(at, c)),
        (any::<usize>(), c).prop_map(|(at, c)| Slip::Replace(at, c)),
        any::<usize>().prop_map(Slip::DeleteLine),
        any::<usize>().prop_map(Slip::SwapLines),
    ]
}

fn damage(text: &str, slip: &Slip) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
    match slip {
        Slip::Delete(at) => drop(chars.remove(at % chars.len())),
        Slip::Insert(at, c) => chars.insert(at % chars.len(), *c),
        Slip::Replace(at, c) => {
            let at = at % chars.len();
            chars[at] = *c;
        }
        Slip::DeleteLine(at) => {
            let at = at % lines.len();
            lines.remove(at);
            return lines.concat();
        }
        Slip::SwapLines(at) => {
            let at = at % (lines.len() - 1);
            lines.swap(at, at + 1);
            return lines.concat();
        }
    }
    chars.into_iter().collect()
}

#[test]
fn no_single_slip_in_a_policy_with_secrets_in_it_shows_one() {
    let text = "[issuer.pca.corp]\naccess_key = \"HUNTER2HUNTER2\"\ntimeout = \"60s\"\n[issuer.scm.b]\n\
                password = { user = \"u\", password = 'HUNTER2HUNTER2' }\n";
    let length = text.chars().count();
    let mut slips: Vec<Slip> = (0..length).map(Slip::Delete).collect();
    for c in [' ', '\n', '"', '=', ']', '{', '.', '\\'] {
        slips.extend((0..length).map(|at| Slip::Insert(at, c)));
        slips.extend((0..length).map(|at| Slip::Replace(at, c)));
    }
    slips.extend((0..5).flat_map(|at| [Slip::DeleteLine(at), Slip::SwapLines(at)]));
    let etc = Etc::new();
    let mut leaks = Vec::new();
    for slip in slips {
        etc.write("renewd.toml", damage(text, &slip));
        let shown = etc.load().unwrap_err().render(false);
        if shown.contains("HUNTER2") {
            leaks.push(format!("{slip:?}\n{shown}"));
        }
    }
    let count = leaks.len();
    assert!(leaks.is_empty(), "{count}\n{}", leaks.join("\n"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn noise_is_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 1..2000)) {
        shown(bytes);
    }

    #[test]
    fn words_of_the_format_in_any_order_never_panic(
        words in proptest::collection::vec(
            prop::sample::select(vec![
                "[", "]", "{", "}", "=", ".", ",", "\"", "'", "\"\"\"", "\n", "#", " ", "issuer", "pca", "certificate",
                "target", "nginx", "export", "pem", "names", "www", "true", "1", "\"x\"", "é", "\r\n", "\\u0000",
            ]),
            0..200,
        )
    ) {
        shown(words.concat());
    }

    #[test]
    fn a_slip_of_the_hand_shows_no_secret(slip in slip()) {
        let text = shown(damage(&sample_with_secrets(), &slip));
        prop_assert!(!text.contains("HUNTER2"), "{slip:?}\n{text}");
    }

    #[test]
    fn many_slips_never_panic(slips in proptest::collection::vec(slip(), 1..20)) {
        let text = slips.iter().fold(sample_with_secrets(), |text, slip| damage(&text, slip));
        shown(text);
    }
}
