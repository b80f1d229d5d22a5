//! Answers of success held against the reference: its tables and its examples (`tests/fixtures/ccm/contract.json`, made by
//! `scripts/ccm-contract.py`). A walk through a life notes whatever is otherwise, and whatever was never answered at all.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::ccm_server::http::{Reply, Send};
use crate::support::ccm::Ccm;
use crate::support::contract;
use crate::support::described;

/// How one group of the reference's operations answers in the course of a life.
pub(crate) struct Walk<'a> {
    ccm: &'a Ccm,
    group: &'static str,
    /// By the paths as they are printed, where these differ.
    printed: bool,
    tables: BTreeMap<String, Value>,
    answered: BTreeSet<String>,
    /// What is otherwise than the reference has it, with an example of it.
    faults: BTreeMap<String, String>,
    /// Fields that had a value.
    shown: BTreeSet<String>,
    /// Fields that had none, of those that the server describes so.
    empty: BTreeSet<String>,
}

impl<'a> Walk<'a> {
    /// Begins one; `group` is `scm-v3`, `pca-v1` or `scm-v2`.
    pub(crate) fn of(ccm: &'a Ccm, group: &'static str) -> Self {
        let all = contract::tables().into_iter();
        let own = all.filter(|table| table["group"] == group);
        Self {
            ccm,
            group,
            printed: false,
            tables: own.map(|table| (text(&table, "chapter"), table)).collect(),
            answered: BTreeSet::new(),
            faults: BTreeMap::new(),
            shown: BTreeSet::new(),
            empty: BTreeSet::new(),
        }
    }

    /// By the paths as the reference prints them (CCM API 4.2.1: `private-certificateAuthorities`).
    pub(crate) fn printed(mut self) -> Self {
        self.printed = true;
        self
    }

    /// Calls the operation of this chapter with these ids in its path and this body, null for none; it must succeed.
    pub(crate) async fn ok(&mut self, chapter: &str, ids: &[&str], body: &Value) -> Reply {
        self.ask(chapter, ids, "", body).await
    }

    /// The same with a query.
    pub(crate) async fn ask(
        &mut self,
        chapter: &str,
        ids: &[&str],
        query: &str,
        body: &Value,
    ) -> Reply {
        let bytes = match body {
            Value::Null => Vec::new(),
            body => body.to_string().into_bytes(),
        };
        self.send(chapter, ids, query, bytes).await
    }

    /// The same with anything as its body.
    pub(crate) async fn send(
        &mut self,
        chapter: &str,
        ids: &[&str],
        query: &str,
        body: Vec<u8>,
    ) -> Reply {
        let table = self.tables[chapter].clone();
        let path = text(
            &table,
            if self.printed {
                "path_as_printed"
            } else {
                "path"
            },
        );
        let path = path.replace("{project_id}", &self.ccm.user.project_id);
        let mut send = Send::new(
            contract::verb(&text(&table, "method")),
            &format!("{}{query}", filled(&path, ids)),
        );
        send.body = body;
        let reply = send.by_user(self.ccm).send(self.ccm).await;
        let wanted = table["status"].as_u64();
        assert_eq!(
            Some(u64::from(reply.status)),
            wanted,
            "{chapter} {path}: {}",
            reply.body
        );
        self.answered.insert(chapter.to_owned());
        self.check(chapter, &table, &reply);
        let nulls = described::nulls(chapter, &reply.body).into_iter();
        self.empty
            .extend(nulls.map(|path| format!("{chapter} {path}")));
        reply
    }

    fn check(&mut self, chapter: &str, table: &Value, reply: &Reply) {
        let kind = reply.header("content-type").unwrap_or_default();
        let fields = list(&table["answer"]);
        if table["binary"] == true && !kind.starts_with("application/json") {
            let named = reply.header("content-disposition").unwrap_or_default();
            if !named.starts_with("attachment; filename=") || !reply.bytes.starts_with(b"PK") {
                self.note(chapter, "", "is no archive with a name", &Value::Null);
            }
        } else if fields.is_empty() {
            if !reply.bytes.is_empty() {
                self.note(chapter, "", "has a body", &reply.body);
            }
        } else {
            assert!(kind.starts_with("application/json"), "{chapter}: {kind}");
            let ours = reply.body.as_object().unwrap();
            self.object(chapter, "", fields, &[&table["response"]], ours);
        }
        // Which the SDK tells its user of every answer.
        let id = reply.header("x-request-id").unwrap_or_default();
        assert!(!id.is_empty(), "{chapter} has no X-Request-Id");
    }

    fn note(&mut self, chapter: &str, at: &str, what: &str, value: &Value) {
        let fault = format!("{chapter} {at} {what}").replace("  ", " ");
        self.faults.entry(fault).or_insert(value.to_string());
    }

    /// Holds an object against the table of its fields and what the example has in its place.
    fn object(
        &mut self,
        chapter: &str,
        at: &str,
        fields: &[Value],
        examples: &[&Value],
        ours: &Map<String, Value>,
    ) {
        let mut known: BTreeSet<&str> = BTreeSet::new();
        for field in fields {
            let name = field["name"].as_str().unwrap();
            let names = list(&field["aliases"]).iter().filter_map(Value::as_str);
            let names: Vec<&str> = std::iter::once(name).chain(names).collect();
            let examples: Vec<&Value> = examples
                .iter()
                .filter_map(|example| names.iter().find_map(|name| example.get(name)))
                .collect();
            known.extend(&names);
            let at = format!("{at}{name}");
            match ours.get(name) {
                None if field["required"] == true || !examples.is_empty() => {
                    self.note(chapter, &at, "is missing", &Value::Object(ours.clone()));
                }
                None | Some(Value::Null) => {}
                Some(value) => self.value(chapter, &at, field, &examples, value),
            }
        }
        for (name, value) in ours {
            if known.contains(name.as_str()) {
                continue;
            }
            let examples: Vec<&Value> = examples.iter().filter_map(|one| one.get(name)).collect();
            let at = format!("{at}{name}");
            if examples.is_empty() {
                self.note(chapter, &at, "is in neither table nor example", value);
            } else if !value.is_null() {
                self.like(chapter, &at, &Value::Null, &examples, value);
            }
        }
        let shown = examples.iter().filter_map(|one| one.as_object());
        for name in shown.flat_map(Map::keys) {
            if !known.contains(name.as_str()) && !ours.contains_key(name) {
                let at = format!("{at}{name}");
                self.note(chapter, &at, "is missing", &Value::Object(ours.clone()));
            }
        }
    }

    fn value(&mut self, chapter: &str, at: &str, field: &Value, examples: &[&Value], ours: &Value) {
        let kind = field["type"].as_str().unwrap();
        let right = match kind {
            "string" => ours.is_string(),
            "integer" | "long" => ours.is_i64(),
            "boolean" => ours.is_boolean(),
            "object" => ours.is_object(),
            _ => kind.starts_with("array<") && ours.is_array(),
        };
        if !right {
            self.note(chapter, at, &format!("is no {kind}"), ours);
            return;
        }
        if *ours != "" && *ours != Value::Array(Vec::new()) {
            self.shown.insert(format!("{chapter} {at}"));
        }
        let fields = list(&field["fields"]);
        // The reference's example of 4.1.2.1 has lists where its table has objects.
        let inside: Vec<&Value> = examples
            .iter()
            .flat_map(|one| match one {
                Value::Array(items) => items.iter().collect(),
                other => vec![*other],
            })
            .collect();
        match ours {
            Value::Array(items) => {
                let fits = |least: u64, most: u64| {
                    (least..=most).contains(&u64::try_from(items.len()).unwrap())
                };
                if let [least, most] = list(&field["array_length"])
                    && !fits(least.as_u64().unwrap(), most.as_u64().unwrap())
                {
                    let what = format!("has not {least} to {most} items");
                    self.note(chapter, at, &what, ours);
                }
                let at = format!("{at}[]");
                for item in items {
                    match item {
                        Value::Object(item) if kind == "array<object>" => {
                            self.object(chapter, &format!("{at}."), fields, &inside, item);
                        }
                        Value::String(_) if kind == "array<string>" => {
                            self.limits(chapter, &at, field, item);
                            self.like(chapter, &at, field, &inside, item);
                        }
                        _ => self.note(chapter, &at, &format!("is no item of {kind}"), item),
                    }
                }
            }
            Value::Object(ours) => self.object(chapter, &format!("{at}."), fields, &inside, ours),
            _ => {
                self.limits(chapter, at, field, ours);
                self.like(chapter, at, field, examples, ours);
            }
        }
    }

    /// Limits and enumeration of a text or a number.
    fn limits(&mut self, chapter: &str, at: &str, field: &Value, ours: &Value) {
        let words = || {
            list(&field["enum"])
                .iter()
                .chain(list(&field["enum_extra"]))
        };
        if field["enum"].is_array() && !words().any(|word| word == ours) {
            self.note(chapter, at, "is none of the enumeration", ours);
        }
        // Limits that the extraction marks as impossible are nobody's.
        if !field["suspect"].is_null() {
            return;
        }
        let count = match (field["limit_kind"].as_str(), ours) {
            (Some("digits"), number) => i64::try_from(number.to_string().len()).unwrap(),
            (_, Value::String(text)) => i64::try_from(text.chars().count()).unwrap(),
            (_, number) => number.as_i64().unwrap_or_default(),
        };
        let (least, most) = (field["min"].as_i64(), field["max"].as_i64());
        if least.is_some_and(|least| count < least) || most.is_some_and(|most| count > most) {
            let what = format!("is beyond {} to {}", field["min"], field["max"]);
            self.note(chapter, at, &what, ours);
        }
    }

    /// Whether a text, a number or a truth value could stand where the example has another.
    fn like(&mut self, chapter: &str, at: &str, field: &Value, examples: &[&Value], ours: &Value) {
        let examples = || examples.iter().filter(|example| !example.is_null());
        if examples().any(|example| kind_of(example) != kind_of(ours)) {
            let kind = examples().map(|example| kind_of(example)).next();
            let what = format!("is not as the example, {}", kind.unwrap_or_default());
            self.note(chapter, at, &what, ours);
            return;
        }
        // What may stand there is listed.
        if field["enum"].is_array() {
            return;
        }
        let wanted: BTreeSet<&str> = examples().filter_map(|example| shape(example)).collect();
        if !wanted.is_empty() && !shape(ours).is_some_and(|shape| wanted.contains(shape)) {
            let wanted: Vec<&str> = wanted.into_iter().collect();
            let what = format!("is not as the example, {}", wanted.join(" or "));
            self.note(chapter, at, &what, ours);
        }
    }

    /// Ends the walk: every operation of the group was answered with success, every field of every table was shown with a
    /// value, what is described as null at times was null, and nothing is otherwise than the reference has it but what is `known` to be, each with the reason.
    #[track_caller]
    pub(crate) fn end(mut self, known: &[(&str, &str)]) {
        let all: BTreeSet<String> = self.tables.keys().cloned().collect();
        assert_eq!(self.answered, all, "{}", self.group);
        for (chapter, table) in self.tables.clone() {
            let mut paths = Vec::new();
            every(list(&table["answer"]), "", &mut paths);
            for path in paths {
                if !self.shown.contains(&format!("{chapter} {path}")) {
                    self.note(&chapter, &path, "was never shown", &Value::Null);
                }
            }
        }
        for chapter in &all {
            for path in described::nullable(chapter) {
                if !self.empty.contains(&format!("{chapter} {path}")) {
                    self.note(chapter, &path, "was never null", &Value::Null);
                }
            }
        }
        let is_known = |fault: &str| known.iter().any(|(known, _)| *known == fault);
        let unknown: BTreeMap<&String, &String> = self
            .faults
            .iter()
            .filter(|(fault, _)| !is_known(fault))
            .collect();
        assert!(unknown.is_empty(), "{unknown:#?}");
        for (known, reason) in known {
            assert!(
                self.faults.contains_key(*known),
                "{known} is as the reference has it by now ({reason})"
            );
        }
    }
}

/// The paths of all fields, those inside after those they are in.
fn every(fields: &[Value], at: &str, paths: &mut Vec<String>) {
    for field in fields {
        let path = format!("{at}{}", field["name"].as_str().unwrap());
        let inside = match field["type"].as_str().unwrap() {
            kind if kind.starts_with("array") => format!("{path}[]."),
            _ => format!("{path}."),
        };
        paths.push(path);
        every(list(&field["fields"]), &inside, paths);
    }
}

/// A path with its parameters.
fn filled(path: &str, ids: &[&str]) -> String {
    let mut ids = ids.iter();
    let parts = path.split('/').map(|part| match part.strip_prefix('{') {
        // The one of 4.1.2.1, which has one legal value.
        Some("resource_instances}") => "resource_instances",
        Some(_) => ids.next().unwrap_or_else(|| panic!("{path} has more ids")),
        None => part,
    });
    let filled = parts.collect::<Vec<_>>().join("/");
    assert_eq!(ids.next(), None, "{path} has fewer ids");
    filled
}

/// What a value is known by, wherever the reference shows one; `None` is what may look like anything.
fn shape(value: &Value) -> Option<&'static str> {
    let text = match value {
        Value::String(text) => text.as_str(),
        Value::Number(number) if number.to_string().len() == 13 => return Some("milliseconds"),
        _ => return None,
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
    let hex = |text: &str| text.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'));
    let capitals = |text: &str| text.bytes().all(|c| matches!(c, b'0'..=b'9' | b'A'..=b'Z'));
    let like = |pattern: &str| {
        text.len() == pattern.len()
            && text.bytes().zip(pattern.bytes()).all(|pair| match pair {
                (c, b'0') => c.is_ascii_digit(),
                (c, b'x') => matches!(c, b'0'..=b'9' | b'a'..=b'f'),
                (c, fixed) => c == fixed,
            })
    };
    let signature = |with: &str| {
        let (hash, key) = text.strip_prefix("SHA")?.split_once(with)?;
        let name = key.trim_end_matches(|c: char| c.is_ascii_digit());
        let sound = digits(hash) && ["RSA", "ECDSA"].contains(&name);
        sound.then_some(name.len() < key.len())
    };
    if let Some(pem) = text.trim_end().strip_prefix("-----BEGIN ") {
        let label = pem.split("-----").next().unwrap_or_default();
        let end = text.contains("\r\n");
        // The examples of SCM have no ends of lines at all.
        return Some(match (label, end) {
            ("CERTIFICATE", true) => "certificate with CRLF",
            ("CERTIFICATE", false) => "certificate",
            ("CERTIFICATE REQUEST", true) => "request with CRLF",
            ("CERTIFICATE REQUEST", false) => "request",
            ("PUBLIC KEY", true) => "public key with CRLF",
            ("RSA PRIVATE KEY", true) => "RSA key with CRLF",
            ("RSA PRIVATE KEY", false) => "RSA key",
            _ => "other PEM",
        });
    }
    match text {
        "success" => return Some("success"),
        "on" | "off" => return Some("on or off"),
        "ON" | "OFF" => return Some("ON or OFF"),
        "DV" | "OV" | "EV" => return Some("DV, OV or EV"),
        _ => {}
    }
    let forms = [
        ("xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx", "id of PCA"),
        ("scs0000000000000", "id of SCM"),
        ("0000-00-00 00:00:00.0", "time of SCM"),
        ("0000000000000", "milliseconds in a string"),
        ("00000-000000-0--0", "id of a product"),
        ("000000000000000000000000", "serial number"),
    ];
    if let Some((_, name)) = forms.iter().find(|(form, _)| like(form)) {
        return Some(name);
    }
    if let Some(rest) = text.strip_prefix("CS")
        && rest.len() == 15
        && capitals(rest)
    {
        return Some("id of an order");
    }
    match (signature("WITH"), signature("with")) {
        (Some(false), _) => return Some("SHA256WITHRSA"),
        (_, Some(false)) => return Some("SHA256withRSA"),
        (_, Some(true)) => return Some("SHA256withRSA2048"),
        _ => {}
    }
    let numbered = |name: &str| text.strip_prefix(name).is_some_and(digits);
    match text.len() {
        32 if hex(text) => Some("32 hexadecimal digits"),
        40 if hex(text) => Some("40 hexadecimal digits"),
        _ if text.starts_with("_dnsauth.") => Some("_dnsauth of a domain"),
        _ if numbered("SHA") => Some("hash"),
        _ if numbered("RSA") || numbered("EC") => Some("kind of key with its length"),
        _ => None,
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(table: &Value, key: &str) -> String {
    table[key].as_str().unwrap().to_owned()
}
