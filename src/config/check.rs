//! The first pass over a tree: are all keys known, all types right, all required keys there, all table names usable?

use std::fmt;

use crate::config::code::Code;
use crate::config::diagnostic::Diagnostic;
use crate::config::problems::Problems;
use crate::config::raw::{self, Holds, Key, Need};
use crate::config::scalar;
use crate::config::source::Place;
use crate::config::tree::{Entry, Node, Table, Value};
use crate::model::CertificateId;

/// Reports everything that can be said without knowing what the values mean.
pub(super) fn structure(root: &Table, problems: &mut Problems) {
    table(root, None, &raw::ROOT, &Name::TOP, problems);
}

/// The full name of a table, such as `certificate.www`. It is put together only where there is something to say of it.
struct Name<'a> {
    above: Option<&'a Self>,
    word: &'a str,
}

impl<'a> Name<'a> {
    const TOP: Self = Self {
        above: None,
        word: "",
    };

    const fn below(&'a self, word: &'a str) -> Self {
        Self {
            above: Some(self),
            word,
        }
    }
}

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(above) = self.above.filter(|above| above.above.is_some()) {
            write!(f, "{above}.")?;
        }
        f.write_str(self.word)
    }
}

fn table(
    found: &Table,
    header: Option<Place>,
    schema: &'static raw::Table,
    name: &Name<'_>,
    problems: &mut Problems,
) {
    for (word, entry) in &found.entries {
        match schema.key(word) {
            None => unknown(word, entry, schema, &name.to_string(), problems),
            Some(key) => value(key, entry, name, problems),
        }
    }
    let Some(header) = header else { return };
    // What is not here may stand in the part of a file that could not be parsed.
    if found.partial {
        return;
    }
    for key in schema.keys() {
        if key.need == Need::Required && !found.entries.contains_key(key.name) {
            problems.push(missing(key, header, name));
        }
    }
}

fn missing(key: &Key, header: Place, name: &Name<'_>) -> Diagnostic {
    let message = format!("`{}` is missing in [{name}]", key.name);
    let problem = Diagnostic::error(Code::Missing, header, message, "needs it");
    match example(key) {
        Some(example) => problem.help(format!("write `{} = {example}`", key.name)),
        None => problem,
    }
}

/// What a required key may look like.
fn example(key: &Key) -> Option<String> {
    let text = match key.name {
        "issuer" => {
            "\"NAME\"` with the name of an [issuer.KIND.NAME] table, as in `issuer = \"corp\""
        }
        "names" => "[\"www.example.com\"]",
        "endpoint" => "\"https://ccm.ap-southeast-3.myhuaweicloud.com\"",
        "iam_endpoint" => "\"https://iam.ap-southeast-3.myhuaweicloud.com\"",
        "ca" => "\"…\"` with the CA's id or common name, as in `ca = \"corp-issuing\"",
        "probe" => "\"tls\"` to prove it by a handshake, or `probe = \"none\"",
        "path" => "\"keystore.pfx\"",
        "layout" => "\"nginx\"",
        "user" => "\"…\"` with the name of the IAM user, as in `user = \"renewd\"",
        "domain" => "\"…\"` with the name of the account, as in `domain = \"my-account\"",
        "project" => "\"…\"` with the region, as in `project = \"ap-southeast-3\"",
        "password" => "\"file:/etc/renewd/secrets/password\"",
        _ => return None,
    };
    Some(text.to_owned())
}

fn value(key: &'static Key, entry: &Entry, name: &Name<'_>, problems: &mut Problems) {
    let node = &entry.node;
    let full = name.below(key.name);
    match (&key.holds, &node.value) {
        (Holds::Table(schema), Value::Table(inner)) => {
            table(inner, Some(entry.key), schema, &full, problems);
        }
        (Holds::Tables(schema), Value::Table(inner)) => {
            for (id, each) in &inner.entries {
                named(id, each, schema, &full, problems);
            }
        }
        (Holds::Word(words), Value::Text(text)) => {
            if !words.contains(&text.as_str()) {
                problems.push(unknown_word(key, words, text, node.place));
            }
        }
        (Holds::List | Holds::Texts, Value::List(items)) => {
            for item in items {
                if !matches!(item.value, Value::Text(_)) {
                    let message = format!("`{}` holds {}", key.name, item.value.kind());
                    let label = "expected a string";
                    problems.push(Diagnostic::error(
                        Code::WrongType,
                        item.place,
                        message,
                        label,
                    ));
                }
            }
        }
        (Holds::Counts, Value::List(items)) => {
            for item in items {
                if !matches!(item.value, Value::Integer { value: Some(_), .. }) {
                    let message = format!("`{}` holds {}", key.name, item.value.kind());
                    let label = "expected a whole number";
                    problems.push(Diagnostic::error(
                        Code::WrongType,
                        item.place,
                        message,
                        label,
                    ));
                }
            }
        }
        (Holds::Count, Value::Integer { value: Some(_), .. })
        | (Holds::Flag, Value::Flag(_))
        | (
            Holds::Text
            | Holds::Texts
            | Holds::Duration
            | Holds::Path
            | Holds::Mode
            | Holds::Account
            | Holds::Secret,
            Value::Text(_),
        )
        | (Holds::Mode | Holds::Account, Value::Integer { value: Some(_), .. }) => {}
        _ => problems.push(wrong_type(key, node)),
    }
}

fn named(
    id: &str,
    entry: &Entry,
    schema: &'static raw::Table,
    parent: &Name<'_>,
    problems: &mut Problems,
) {
    // All ids have the same rules; names of exports become file names as well.
    if let Err(error) = CertificateId::new(id) {
        let message = format!("{id:?} cannot be a name in [{parent}]");
        problems.push(Diagnostic::error(
            Code::BadId,
            entry.key,
            message,
            error.to_string(),
        ));
    }
    let full = parent.below(id);
    if let Value::Table(inner) = &entry.node.value {
        table(inner, Some(entry.key), schema, &full, problems);
        return;
    }
    let message = format!("`{full}` is {}", entry.node.value.kind());
    let problem = Diagnostic::error(
        Code::WrongType,
        entry.node.place,
        message,
        "expected a table",
    );
    let each = if schema.key(id).is_some() {
        format!(
            "`{id}` belongs into a table with a name: [{}]",
            schema.header
        )
    } else {
        format!("write [{full}] above its keys, in single brackets")
    };
    problems.push(problem.help(each));
}

fn unknown_word(key: &Key, words: &[&'static str], text: &str, place: Place) -> Diagnostic {
    let list: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    let message = format!("`{}` cannot be {text:?}", key.name);
    let label = "not one of the words that are allowed";
    Diagnostic::error(Code::UnknownWord, place, message, label)
        .help(format!("write one of {}", list.join(", ")))
}

fn wrong_type(key: &Key, node: &Node) -> Diagnostic {
    let wanted = match key.holds {
        Holds::Text | Holds::Word(_) | Holds::Path => "a string",
        Holds::Duration => "a string such as \"30d\"",
        Holds::Flag => "true or false",
        Holds::Count => "a whole number",
        Holds::Counts => "an array of whole numbers",
        Holds::List => "an array of strings",
        Holds::Texts => "a string, or an array of strings",
        Holds::Mode => "a string such as \"0640\"",
        Holds::Account => "a name or a number",
        Holds::Secret => "a reference to a secret",
        Holds::Table(_) | Holds::Tables(_) => "a table",
    };
    let message = format!("`{}` is {}", key.name, node.value.kind());
    let label = format!("expected {wanted}");
    let problem = Diagnostic::error(Code::WrongType, node.place, message, label);
    match help_with_type(key, &node.value) {
        Some(help) => problem.help(help),
        None => problem,
    }
}

fn help_with_type(key: &Key, found: &Value) -> Option<String> {
    let name = key.name;
    match (&key.holds, found) {
        (Holds::Secret, _) => Some(scalar::REFERENCES.to_owned()),
        (
            Holds::Duration,
            Value::Integer {
                value: Some(number),
                ..
            },
        ) => Some(format!(
            "write the unit, as in `{name} = \"{number}{}\"`",
            if name == "validity" { "d" } else { "s" }
        )),
        (Holds::Flag, Value::Text(text)) if matches!(text.as_str(), "true" | "false") => {
            Some(format!("write `{name} = {text}` without quotes"))
        }
        (Holds::Count, Value::Text(text)) if text.parse::<u32>().is_ok() => {
            Some(format!("write `{name} = {text}` without quotes"))
        }
        (Holds::List, Value::Text(text)) => {
            let words: Vec<String> = match name {
                // A command line, as a shell would split it.
                "test" | "reload" => text.split_whitespace().map(|w| format!("{w:?}")).collect(),
                _ => vec![format!("{text:?}")],
            };
            Some(format!("write `{name} = [{}]`", words.join(", ")))
        }
        (Holds::Table(_) | Holds::Tables(_), Value::List(_)) => {
            Some("write the header in single brackets, with a name of its own".to_owned())
        }
        _ => None,
    }
}

fn unknown(
    word: &str,
    entry: &Entry,
    schema: &'static raw::Table,
    name: &str,
    problems: &mut Problems,
) {
    let is_table = matches!(entry.node.value, Value::Table(_));
    let noun = if is_table { "table" } else { "key" };
    let place = if name.is_empty() {
        String::new()
    } else {
        format!(" in [{name}]")
    };
    let message = format!("unknown {noun} `{}`{place}", shown(word));
    let label = format!(
        "no {noun} of this name{}",
        if name.is_empty() { "" } else { " here" }
    );
    let problem = Diagnostic::error(Code::UnknownKey, entry.key, message, label);
    let help = match &entry.node.value {
        Value::Table(inner) if schema.header.ends_with("NAME") => {
            let near = problems.suggest(word, schema.keys().map(|key| key.name));
            match near {
                Some(near) => Some(format!("did you mean `{near}`?")),
                None => Some(match home(word, &raw::ROOT) {
                    Some(header) => format!("`{word}` belongs into [{header}]"),
                    None => quote(word, inner, name),
                }),
            }
        }
        _ => help_with_unknown(word, schema, name, problems),
    };
    problems.push(match help {
        Some(help) => problem.help(help),
        None => problem,
    });
}

/// The header of [certificate.www.example.com], of which the dots have made tables.
fn quote(word: &str, inner: &Table, name: &str) -> String {
    let (parent, first) = name.rsplit_once('.').unwrap_or(("", name));
    let mut whole = format!("{first}.{word}");
    let mut below = inner;
    while let (1, Some((word, entry))) = (below.entries.len(), below.entries.first_key_value())
        && let Value::Table(inner) = &entry.node.value
        && whole.len() < LONGEST_SHOWN
    {
        whole.push('.');
        whole.push_str(word);
        below = inner;
    }
    let whole = shown(&whole);
    format!("if the dots belong to the name, write it in quotes: [{parent}.\"{whole}\"]")
}

fn help_with_unknown(
    word: &str,
    schema: &'static raw::Table,
    name: &str,
    problems: &mut Problems,
) -> Option<String> {
    let names = || schema.keys().map(|key| key.name);
    if let Some(near) = problems.suggest(word, names()) {
        return Some(format!("did you mean `{near}`?"));
    }
    let meant = OTHER_WORDS.iter().find(|(other, _)| *other == word);
    if let Some((_, key)) = meant.filter(|(_, key)| schema.key(key).is_some()) {
        return Some(format!("did you mean `{key}`?"));
    }
    if matches!(word, "kind" | "type") {
        return Some("the kind is part of the header, as in [target.nginx.web]".to_owned());
    }
    // A kind was left out: [target.web].
    let kinds = || {
        schema
            .keys()
            .all(|key| matches!(key.holds, Holds::Tables(_)))
    };
    if kinds() {
        let headers: Vec<String> = names()
            .map(|kind| format!("[{name}.{kind}.NAME]"))
            .collect();
        return Some(format!("write {}", headers.join(" or ")));
    }
    if raw::ROOT
        .key(word)
        .is_some_and(|key| !matches!(key.holds, Holds::Table(_) | Holds::Tables(_)))
    {
        return Some(format!(
            "`{word}` belongs to the top level: write it before the first [header] of the file"
        ));
    }
    if let Some(header) = home(word, &raw::ROOT) {
        return Some(format!("`{word}` belongs into [{header}]"));
    }
    let list: Vec<String> = names().map(|name| format!("`{name}`")).collect();
    Some(format!("the keys here are {}", list.join(", ")))
}

/// The table that knows this key.
fn home(word: &str, schema: &'static raw::Table) -> Option<&'static str> {
    for key in schema.keys() {
        if let Holds::Table(inner) | Holds::Tables(inner) = key.holds {
            if inner.key(word).is_some() {
                return Some(inner.header);
            }
            if let Some(found) = home(word, inner) {
                return Some(found);
            }
        }
    }
    None
}

fn shown(word: &str) -> String {
    let mut text: String = word.chars().take(LONGEST_SHOWN).collect();
    if text.len() < word.len() {
        text.push('…');
    }
    text.escape_debug().to_string()
}

/// Words of other programs and of the CCM API, and ours.
const OTHER_WORDS: &[(&str, &str)] = &[
    ("domain", "names"),
    ("domains", "names"),
    ("domain_name", "names"),
    ("san", "names"),
    ("sans", "names"),
    ("subject_alternative_names", "names"),
    ("dns_names", "names"),
    ("hosts", "names"),
    ("cn", "common_name"),
    ("ak", "access_key"),
    ("sk", "secret_key"),
    ("token", "security_token"),
    ("url", "endpoint"),
    ("ca_id", "ca"),
    ("issuer_id", "ca"),
    ("ca_file", "roots"),
    ("algorithm", "key_algorithm"),
    ("lifetime", "validity"),
    ("duration", "validity"),
    ("renew_before", "expired_days_since"),
    ("renew_days", "expired_days_since"),
    ("days", "expired_days_since"),
    ("target", "targets"),
    ("deploy", "targets"),
    ("check", "test"),
    ("configtest", "test"),
    ("command", "reload"),
    ("user", "owner"),
    ("dir", "directory"),
    ("file", "path"),
    ("cert", "certificate"),
    ("private_key", "key"),
    ("issuers", "issuer"),
    ("certificates", "certificate"),
];

/// Characters of an unknown key that a message repeats.
const LONGEST_SHOWN: usize = 64;
