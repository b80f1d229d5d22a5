//! The description of the API, OpenAPI 3.1, made of the tables by which requests are found and checked.
//!
//! What is asked is known from the tables; what is answered comes from `answers.json`, which `scripts/ccm-answers.py` makes of
//! the reference. Served without credentials: it says nothing that the reference does not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use hyper::body::Bytes;
use serde_json::{Map, Value, json};

use crate::ccm_server::answer::{Answer, Body};
use crate::ccm_server::codes::CODES;
use crate::ccm_server::field::{self, Field};
use crate::ccm_server::operation::{Access, Operation, Payload, Service};
use crate::ccm_server::route;

/// Where it is.
pub(super) const PATH: &str = "/openapi.json";

/// The answer to whoever asks for it. Made at the first question, and kept.
pub(super) fn answer() -> Answer {
    static TEXT: OnceLock<String> = OnceLock::new();
    let text = TEXT.get_or_init(|| document().to_string());
    Answer {
        status: 200,
        headers: Vec::new(),
        body: Body::Bytes {
            kind: "application/json",
            // The one text for everybody, however slowly it is read.
            bytes: Bytes::from_static(text.as_bytes()),
        },
    }
}

/// The whole document.
pub(super) fn document() -> Value {
    let answers = answers_by_chapter();
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for operation in route::operations() {
        let described = describe(operation, &answers[operation.chapter], &answers);
        let path = paths.entry(operation.path).or_default();
        path.insert(operation.verb.name().to_ascii_lowercase(), described);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "renewd-ccm",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "The API of Huawei Cloud Certificate Manager as this server speaks it. Fields that are not \
                listed are ignored. Numbers and truth values may also be sent as strings, choices in any case of \
                letters, and null is as good as absent. Paths with private-certificate-authorities are served as \
                private-certificateAuthorities too.",
        },
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "X-Auth-Token",
                    "description": "From POST /v3/auth/tokens; good for 24 hours.",
                },
                "signature": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Authorization",
                    "description": "SDK-HMAC-SHA256 Access=…, SignedHeaders=…, Signature=…; with X-Sdk-Date, and with \
                        X-Security-Token where the access key is a temporary one.",
                },
            },
            "schemas": {"Error": error_schema(), "IamError": iam_error_schema()},
            "responses": responses(),
        },
    })
}

fn answers_by_chapter() -> Value {
    serde_json::from_str(ANSWERS).unwrap_or_default()
}

fn describe(operation: &Operation, answer: &Value, all: &Value) -> Value {
    let text = |field: &str| answer[field].as_str();
    let mut described = Map::new();
    let id = text("id").unwrap_or(operation.chapter);
    described.insert("operationId".to_owned(), id.into());
    described.insert("tags".to_owned(), json!([tag(operation.service)]));
    if let Some(summary) = text("summary") {
        described.insert("summary".to_owned(), summary.into());
        let words = text("description").unwrap_or(summary);
        let words = format!("{words} (CCM API {})", operation.chapter);
        described.insert("description".to_owned(), words.into());
    }
    described.insert("x-chapter".to_owned(), operation.chapter.into());
    if let Access::Action(action) = operation.access {
        described.insert("x-action".to_owned(), action.into());
    }
    described.insert("security".to_owned(), security(operation.access));
    let mut parameters: Vec<Value> = Vec::new();
    for field in operation.path_fields {
        parameters.push(parameter(field, "path"));
    }
    for field in operation.query {
        parameters.push(parameter(field, "query"));
    }
    if !parameters.is_empty() {
        described.insert("parameters".to_owned(), parameters.into());
    }
    if let Payload::Json(fields) = operation.body {
        let content = json!({"application/json": {"schema": field::object(fields)}});
        described.insert(
            "requestBody".to_owned(),
            json!({"required": true, "content": content}),
        );
    }
    if let Payload::Raw { most, .. } = operation.body {
        let schema =
            json!({"type": "string", "format": "binary", "minLength": 1, "maxLength": most});
        let content = json!({"application/octet-stream": {"schema": schema}});
        described.insert(
            "requestBody".to_owned(),
            json!({"required": true, "content": content}),
        );
    }
    described.insert("responses".to_owned(), answers(operation, answer, all));
    Value::Object(described)
}

fn parameter(field: &Field, place: &str) -> Value {
    json!({
        "name": field.name(),
        "in": place,
        "required": place == "path" || (field.is_required() && field.other_name().is_none()),
        "schema": field.schema(),
    })
}

fn security(access: Access) -> Value {
    match access {
        Access::Open => json!([]),
        Access::Optional => json!([{}, {"token": []}, {"signature": []}]),
        Access::Known | Access::Action(_) => json!([{"token": []}, {"signature": []}]),
    }
}

const fn tag(service: Service) -> &'static str {
    match service {
        Service::Scm => "SCM",
        Service::Pca => "PCA",
        Service::Iam => "IAM",
    }
}

/// What is answered when all is well, and every status of the codes that may come instead.
fn answers(operation: &Operation, answer: &Value, every: &Value) -> Value {
    let mut all = Map::new();
    let (status, schema) = match iam_answer(operation.chapter) {
        Some((status, schema)) => (status, Some(schema)),
        None => (
            answer["status"].as_u64().unwrap_or(200),
            answer.get("schema").cloned(),
        ),
    };
    let mut content = Map::new();
    if let Some(schema) = schema {
        content.insert("application/json".to_owned(), json!({"schema": schema}));
    }
    if answer["binary"] == true {
        let binary = json!({"schema": {"type": "string", "format": "binary"}});
        content.insert("application/zip".to_owned(), binary.clone());
        content.insert("application/octet-stream".to_owned(), binary);
    }
    let mut good = json!({"description": "Done."});
    let links = links(operation, answer, every);
    if !links.is_empty() {
        good["links"] = links.into();
    }
    if !content.is_empty() {
        good["content"] = content.into();
    }
    all.insert(status.to_string(), good);
    for status in statuses(operation.service) {
        let name = response_name(operation.service, status);
        all.insert(
            status.to_string(),
            json!({"$ref": format!("#/components/responses/{name}")}),
        );
    }
    Value::Object(all)
}

/// To the operations that take an id which this one answers, alone or in the first item of a list.
fn links(operation: &Operation, answer: &Value, answers: &Value) -> Map<String, Value> {
    let mut links = Map::new();
    for target in route::operations().filter(|target| target.service == operation.service) {
        // One id is enough to find something; with more than one it would have to be guessed which belong together.
        let [field] = target.path_fields else {
            continue;
        };
        if let Some(pointer) = pointer(&answer["schema"]["properties"], field.name())
            && target.chapter != operation.chapter
        {
            let id = answers[target.chapter]["id"].as_str();
            let id = id.unwrap_or(target.chapter);
            let value = format!("$response.body#{pointer}");
            let parameter = format!("path.{}", field.name());
            links.insert(
                id.to_owned(),
                json!({"operationId": id, "parameters": {parameter: value}}),
            );
        }
    }
    links
}

/// Where in an answer the id is.
fn pointer(properties: &Value, name: &str) -> Option<String> {
    if properties.get(name).is_some() {
        return Some(format!("/{name}"));
    }
    properties.as_object()?.iter().find_map(|(list, schema)| {
        let items = schema["items"]["properties"].as_object()?;
        // SCM's lists call their own ids `id`.
        let own = list == "certificates" && name == "certificate_id" && items.contains_key("id");
        if items.contains_key(name) {
            Some(format!("/{list}/0/{name}"))
        } else if own {
            Some(format!("/{list}/0/id"))
        } else {
            None
        }
    })
}

fn response_name(service: Service, status: u16) -> String {
    format!("{}-{status}", tag(service))
}

/// IAM refuses with PCA's codes for want of its own.
fn prefixes(service: Service) -> [&'static str; 2] {
    match service {
        Service::Scm => ["SCM.", "APIGW."],
        Service::Pca | Service::Iam => ["PCA.", "APIGW."],
    }
}

fn statuses(service: Service) -> BTreeSet<u16> {
    let prefixes = prefixes(service);
    let codes = CODES
        .iter()
        .filter(|code| prefixes.iter().any(|prefix| code.name.starts_with(prefix)));
    codes.map(|code| code.status).collect()
}

/// For each service and status, the refusals with their codes.
fn responses() -> Value {
    let mut all = Map::new();
    for service in [Service::Scm, Service::Pca, Service::Iam] {
        for status in statuses(service) {
            let codes = CODES.iter().filter(|code| code.status == status);
            let codes: Vec<_> = codes
                .filter(|code| {
                    prefixes(service)
                        .iter()
                        .any(|prefix| code.name.starts_with(prefix))
                })
                .collect();
            let lines: Vec<String> = codes
                .iter()
                .map(|code| format!("`{}` {}", code.name, code.message))
                .collect();
            let names: Vec<&str> = codes.iter().map(|code| code.name).collect();
            let schema = if service == Service::Iam {
                json!({"$ref": "#/components/schemas/IamError"})
            } else {
                json!({
                    "allOf": [{"$ref": "#/components/schemas/Error"}],
                    "properties": {"error_code": {"enum": names}},
                })
            };
            all.insert(
                response_name(service, status),
                json!({
                    "description": lines.join("\n\n"),
                    "content": {"application/json": {"schema": schema}},
                }),
            );
        }
    }
    Value::Object(all)
}

fn error_schema() -> Value {
    json!({
        "type": "object",
        "required": ["error_code", "error_msg"],
        "properties": {
            "error_code": {"type": "string", "pattern": "^(SCM|PCA|APIGW)\\.[0-9]{4,8}$"},
            "error_msg": {"type": "string", "minLength": 1},
            "error_detail": {"type": "string", "description": "What exactly was wrong; an addition of this server."},
            "request_id": {"type": "string", "description": "With codes of the gateway."},
        },
    })
}

fn iam_error_schema() -> Value {
    json!({
        "type": "object",
        "required": ["error"],
        "properties": {"error": {
            "type": "object",
            "required": ["code", "message", "title"],
            "properties": {
                "code": {"type": "integer"},
                "message": {"type": "string"},
                "title": {"type": "string"},
            },
        }},
    })
}

/// The reference has no chapters of IAM.
fn iam_answer(chapter: &str) -> Option<(u64, Value)> {
    let text = || json!({"type": "string"});
    let named = || texts(&["id", "name"]);
    let list = |name: &str, item: Value| json!({"type": "object", "required": [name], "properties": {name: {"type": "array", "items": item}}});
    let inside = |name: &str, item: Value| json!({"type": "object", "required": [name], "properties": {name: item}});
    let answer = match chapter {
        "iam.tokens" => {
            let mut token = texts(&["expires_at", "issued_at"]);
            token["properties"]["methods"] = json!({"type": "array", "items": text()});
            token["properties"]["user"] = named();
            token["properties"]["domain"] = named();
            token["properties"]["project"] = named();
            (201, inside("token", token))
        }
        "iam.securitytokens" => {
            let names = ["access", "secret", "securitytoken", "expires_at"];
            (201, inside("credential", texts(&names)))
        }
        "iam.projects" => (200, list("projects", texts(&["id", "name", "domain_id"]))),
        "iam.domains" => (200, list("domains", named())),
        "sts.callerIdentity" => (200, texts(&["account_id", "principal_id", "principal_urn"])),
        _ => return None,
    };
    Some(answer)
}

/// An object of texts that are all there.
fn texts(names: &[&str]) -> Value {
    let properties: Map<String, Value> = names
        .iter()
        .map(|name| ((*name).to_owned(), json!({"type": "string"})))
        .collect();
    json!({"type": "object", "required": names, "properties": properties})
}

/// By chapter: id, summary, status, schema.
const ANSWERS: &str = include_str!("openapi/answers.json");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_is_described_with_its_answer() {
        let document = document();
        let answers: Map<String, Value> = serde_json::from_str(ANSWERS).unwrap();
        for operation in route::operations() {
            let described =
                &document["paths"][operation.path][operation.verb.name().to_ascii_lowercase()];
            assert_eq!(described["x-chapter"], operation.chapter);
            let known =
                answers.contains_key(operation.chapter) || iam_answer(operation.chapter).is_some();
            assert!(known, "no answer is described for {}", operation.chapter);
        }
    }

    #[test]
    fn every_reference_within_the_document_leads_somewhere() {
        let document = document();
        let mut left = vec![&document];
        let mut seen = 0;
        while let Some(value) = left.pop() {
            match value {
                Value::Object(fields) => {
                    if let Some(Value::String(to)) = fields.get("$ref") {
                        seen += 1;
                        let path = to.strip_prefix('#').unwrap();
                        assert!(document.pointer(path).is_some(), "{to}");
                    }
                    left.extend(fields.values());
                }
                Value::Array(items) => left.extend(items),
                _ => {}
            }
        }
        assert!(seen > 100, "{seen}");
    }
}
