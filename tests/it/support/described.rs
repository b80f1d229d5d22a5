//! Answers held against the description that the server gives of itself, and refusals against the reference's list of codes:
//! every answer to every test.

use std::sync::OnceLock;

use serde_json::{Map, Value};

use crate::support::contract;

/// The operation that a request is for, with what its answer is described as: chapter, status and schema.
struct Described {
    chapter: String,
    status: u64,
    schema: Value,
}

/// Method and path, split; a part in braces is any.
type Route = (String, Vec<String>);

fn all() -> &'static [(Route, Described)] {
    static ALL: OnceLock<Vec<(Route, Described)>> = OnceLock::new();
    ALL.get_or_init(|| {
        let answers = include_str!("../../../src/ccm_server/openapi/answers.json");
        let answers: Map<String, Value> = serde_json::from_str(answers).unwrap();
        let described = |table: &Value| {
            let text = |key: &str| table[key].as_str().unwrap().to_owned();
            let answer = &answers[&text("chapter")];
            let path = text("path").split('/').map(str::to_owned).collect();
            let described = Described {
                chapter: text("chapter"),
                status: answer["status"].as_u64().unwrap(),
                schema: answer["schema"].clone(),
            };
            ((text("method"), path), described)
        };
        contract::tables().iter().map(described).collect()
    })
}

/// Of two routes that fit, the one without a parameter in the place is meant (`…/certificates/import`).
fn find(method: &str, path: &str) -> Option<&'static Described> {
    let path = path.replace(
        "private-certificateAuthorities",
        "private-certificate-authorities",
    );
    let parts: Vec<&str> = path.split('/').collect();
    let fits = |route: &Route| {
        route.0 == method
            && route.1.len() == parts.len()
            && route
                .1
                .iter()
                .zip(&parts)
                .all(|(own, part)| own.starts_with('{') || own == part)
    };
    let found = all().iter().filter(|(route, _)| fits(route));
    let fixed = |route: &Route| route.1.iter().filter(|own| !own.starts_with('{')).count();
    let best = found.max_by_key(|(route, _)| fixed(route));
    best.map(|(_, described)| described)
}

/// Stops the test where an answer of success is otherwise than described, or a refusal is none of the reference's.
#[track_caller]
pub(crate) fn check(method: &str, target: &str, status: u16, body: &Value) {
    let path = target.split('?').next().unwrap_or_default();
    if status >= 400 {
        assert!(
            is_refusal(path, status, body),
            "{method} {target}: {status} {body}"
        );
        return;
    }
    let Some(described) = find(method, path) else {
        return;
    };
    if u64::from(status) != described.status || body.is_null() {
        return;
    }
    let mut wrong = Vec::new();
    value(&described.schema, body, "", &mut wrong);
    let chapter = &described.chapter;
    assert!(wrong.is_empty(), "{chapter} {method} {target}: {wrong:?}");
}

/// Whether it is one of the 165 codes, or of the gateway's, with its own status and message; IAM has a form of its own (CCM
/// API 3.3).
fn is_refusal(path: &str, status: u16, body: &Value) -> bool {
    static CODES: OnceLock<Vec<Value>> = OnceLock::new();
    let codes = CODES.get_or_init(|| {
        let codes = include_str!("../../fixtures/ccm/errors.json");
        serde_json::from_str(codes).unwrap()
    });
    let code = body["error_code"].as_str().unwrap_or_default();
    if let Some((_, its)) = GATEWAY.iter().find(|(name, _)| *name == code) {
        return *its == status && body["request_id"].is_string();
    }
    if IAM.contains(&path) {
        let text = |field: &str| body["error"][field].is_string();
        return body["error"]["code"] == status && text("message") && text("title");
    }
    codes.iter().any(|one| {
        one["code"] == code
            && one["http_status"] == status
            && says(
                one["message"].as_str().unwrap_or_default(),
                body["error_msg"].as_str().unwrap_or_default(),
            )
    })
}

/// Whether it is the reference's message, with something at the place that some leave open at their end.
fn says(message: &str, said: &str) -> bool {
    let open = message.strip_suffix("{0}");
    let open = open.or_else(|| message.ends_with(':').then_some(message));
    match open {
        Some(begin) => said.starts_with(begin) && said.len() > begin.len() && !said.contains("{0}"),
        None => said == message,
    }
}

/// The gateway's codes that the server gives; the reference has none of them.
const GATEWAY: &[(&str, u16)] = &[
    ("APIGW.0101", 404),
    ("APIGW.0201", 413),
    ("APIGW.0301", 401),
    ("APIGW.0303", 401),
    ("APIGW.0308", 429),
];
const IAM: &[&str] = &[
    "/v3/auth/tokens",
    "/v3/projects",
    "/v3/auth/domains",
    "/v3.0/OS-CREDENTIAL/securitytokens",
    "/v5/caller-identity",
];

fn value(schema: &Value, ours: &Value, at: &str, wrong: &mut Vec<String>) {
    let kind = match ours {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_i64() => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let fits = match &schema["type"] {
        Value::Array(kinds) => kinds.iter().any(|one| one == kind),
        one => one == kind,
    };
    if !fits {
        wrong.push(format!("{at} is {kind}"));
        return;
    }
    match ours {
        Value::Object(ours) => {
            for name in schema["required"].as_array().into_iter().flatten() {
                let name = name.as_str().unwrap();
                if !ours.contains_key(name) {
                    wrong.push(format!("{at}{name} is missing"));
                }
            }
            for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
                if let Some(ours) = ours.get(name) {
                    let at = format!("{at}{name}");
                    let inside = if ours.is_object() { "." } else { "" };
                    value(schema, ours, &format!("{at}{inside}"), wrong);
                }
            }
        }
        Value::Array(items) => {
            let at = format!("{at}[]");
            for item in items {
                let inside = if item.is_object() { "." } else { "" };
                value(&schema["items"], item, &format!("{at}{inside}"), wrong);
            }
        }
        _ => {}
    }
}

/// The fields of an answer that may be null, by what is described.
pub(crate) fn nullable(chapter: &str) -> Vec<String> {
    let mut found = Vec::new();
    every(&of(chapter).schema, "", &mut |at, schema| {
        if schema["type"].is_array() {
            found.push(at.to_owned());
        }
    });
    found
}

/// The fields that are null in this one.
pub(crate) fn nulls(chapter: &str, body: &Value) -> Vec<String> {
    nullable(chapter)
        .into_iter()
        .filter(|path| is_null(body, path))
        .collect()
}

fn of(chapter: &str) -> &'static Described {
    let mut all = all().iter();
    let found = all.find(|(_, described)| described.chapter == chapter);
    &found.unwrap_or_else(|| panic!("no {chapter}")).1
}

fn every(schema: &Value, at: &str, seen: &mut impl FnMut(&str, &Value)) {
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        let at = format!("{at}{name}");
        seen(&at, schema);
        every(schema, &format!("{at}."), seen);
        every(&schema["items"], &format!("{at}[]."), seen);
    }
}

/// Whether something at this path is null, in any item of the lists on the way.
fn is_null(value: &Value, path: &str) -> bool {
    let (first, rest) = path.split_once('.').unwrap_or((path, ""));
    let inside = match first.strip_suffix("[]") {
        Some(list) => value[list].as_array().cloned().unwrap_or_default(),
        None => value.get(first).cloned().into_iter().collect(),
    };
    inside.iter().any(|value| {
        if rest.is_empty() {
            value.is_null()
        } else {
            is_null(value, rest)
        }
    })
}
