//! Every operation of the reference against its own tables (`tests/fixtures/ccm/contract.json`): what is mandatory is
//! demanded, and what is beyond a limit or an enumeration is refused, in objects and lists too, with a code and status of the
//! reference: that of the very field, where it has one.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::http::{Reply, Send};
use crate::support::ccm::Ccm;
use crate::support::contract::{self, CA, CERTIFICATE, CSR, PRIVATE, PRODUCT};

/// The operations as the fixture has them, with the example request of `support::contract`.
fn operations() -> Vec<(Value, contract::Contract)> {
    let examples = contract::contracts().into_iter().map(|mut one| {
        if one.chapter == "7.1.7" {
            // Mandatory by the table, missing in the example.
            one.request["domain_method"] = "DNS".into();
        }
        one
    });
    contract::tables().into_iter().zip(examples).collect()
}

/// Every refusal there is: code, status and message.
fn refusals() -> Vec<(String, u64, String)> {
    let text = include_str!("../../fixtures/ccm/errors.json");
    let all: Vec<Value> = serde_json::from_str(text).unwrap();
    let text = |one: &Value, key: &str| one[key].as_str().unwrap().to_owned();
    let parts = all.iter().map(|one| {
        let status = one["http_status"].as_u64().unwrap();
        (text(one, "code"), status, text(one, "message"))
    });
    parts.collect()
}

/// What is sent in the place of a parameter of the path.
type Instead<'a> = Option<(&'a str, &'a str)>;

/// Sends the operation with ids that nothing has.
async fn send(
    ccm: &Ccm,
    one: &contract::Contract,
    instead: Instead<'_>,
    query: &str,
    body: Option<&Value>,
) -> Reply {
    let private = one.path.starts_with("/v1/");
    let certificate = if private { PRIVATE } else { CERTIFICATE };
    let mut path = one.path.clone();
    match instead {
        // The one parameter that has one legal value, which the path has already.
        Some(("resource_instances", value)) => {
            path = path.replace("/resource_instances/", &format!("/{value}/"));
        }
        Some((name, value)) => path = path.replace(&format!("{{{name}}}"), value),
        None => {}
    }
    let ids = [
        ("project_id", ccm.user.project_id.as_str()),
        ("certificate_id", certificate),
        ("cert_id", CERTIFICATE),
        ("resource_id", CERTIFICATE),
        ("ca_id", CA),
        ("id", CSR),
        ("type", "BL"),
        ("product_id", PRODUCT),
    ];
    for (name, id) in ids {
        path = path.replace(&format!("{{{name}}}"), id);
    }
    let send = Send::new(contract::verb(&one.method), &format!("{path}{query}"));
    let send = match body {
        Some(body) => send.json(body),
        None => send,
    };
    send.by_user(ccm).send(ccm).await
}

/// One thing that is wrong: where, what, and the object that has it.
struct Probe {
    at: String,
    what: &'static str,
    body: Map<String, Value>,
}

/// All that can be wrong with an object of these fields, and inside it; `sound` has every object and list.
fn probes(fields: &[Value], sound: &Map<String, Value>) -> Vec<Probe> {
    let mut all = Vec::new();
    for field in fields {
        let name = field["name"].as_str().unwrap();
        let own = sound.get(name).cloned().unwrap_or_default();
        let with = |at: &str, what: &'static str, value: Value| {
            let mut body = sound.clone();
            body.insert(name.to_owned(), value);
            Probe {
                at: format!("{name}{at}"),
                what,
                body,
            }
        };
        if field["required"] == true {
            let mut body = sound.clone();
            body.remove(name);
            all.push(Probe {
                at: name.to_owned(),
                what: "missing",
                body,
            });
        }
        for (what, value) in breaks(field, &own) {
            all.push(with("", what, value));
        }
        let inside = list(&field["fields"]);
        match field["type"].as_str().unwrap_or_default() {
            "array<string>" => {
                let mut item = field.clone();
                item["type"] = "string".into();
                item["array_length"] = Value::Null;
                for (what, value) in breaks(&item, &own[0]) {
                    all.push(with("[]", what, json!([value])));
                }
            }
            "array<object>" if !inside.is_empty() => {
                for inner in probes(inside, own[0].as_object().unwrap()) {
                    let at = format!("[].{}", inner.at);
                    all.push(with(&at, inner.what, json!([inner.body])));
                }
            }
            "object" => {
                for inner in probes(inside, own.as_object().unwrap()) {
                    let at = format!(".{}", inner.at);
                    all.push(with(&at, inner.what, inner.body.into()));
                }
            }
            _ => {}
        }
    }
    all
}

/// The example with all objects and lists that its table has.
fn completed(fields: &[Value], example: &Value) -> Map<String, Value> {
    let mut whole = example.as_object().cloned().unwrap_or_default();
    for field in fields {
        let kind = field["type"].as_str().unwrap_or_default();
        let name = field["name"].as_str().unwrap();
        if (kind == "object" || kind.starts_with("array")) && !whole.contains_key(name) {
            whole.insert(name.to_owned(), sound(field));
        }
    }
    whole
}

/// Something that a field may have.
fn sound(field: &Value) -> Value {
    if let Some(word) = list(&field["enum"]).first() {
        return match field["type"].as_str() {
            Some("array<string>") => json!([word]),
            _ => word.clone(),
        };
    }
    let text = || {
        let least = usize::try_from(field["min"].as_u64().unwrap_or(1)).unwrap();
        let most = usize::try_from(field["max"].as_u64().unwrap_or(64)).unwrap();
        match field["name"].as_str() {
            // Of `matches` (CCM API 4.1.2.1), which knows this key.
            Some("key") => "resource_name".to_owned(),
            _ if (least..=most).contains(&"www.example.com".len()) => "www.example.com".to_owned(),
            _ => "x".repeat(least.max(1)),
        }
    };
    let object = || {
        let fields = list(&field["fields"]).iter();
        let fields = fields.map(|field| (field["name"].as_str().unwrap().to_owned(), sound(field)));
        Value::Object(fields.collect())
    };
    match field["type"].as_str().unwrap() {
        "string" => text().into(),
        "boolean" => true.into(),
        "object" => object(),
        "array<object>" => json!([object()]),
        "array<string>" => json!([text()]),
        _ => field["min"].as_i64().unwrap_or(1).into(),
    }
}

/// Values that a field must not have, each with what is wrong with it.
fn breaks(field: &Value, example: &Value) -> Vec<(&'static str, Value)> {
    let mut all = Vec::new();
    let kind = field["type"].as_str().unwrap_or_default();
    let is_list = kind.starts_with("array");
    let wrong_type = match kind {
        "object" => json!("text"),
        _ if is_list => json!(7),
        _ => json!({"x": 1}),
    };
    all.push(("another type", wrong_type));
    if field["must_be"] == true {
        all.push(("false", json!(false)));
    }
    if field["enum"].is_array() && !is_list {
        all.push(("none of the enumeration", json!("NO_SUCH_VALUE")));
    }
    if let [least, most] = list(&field["array_length"]) {
        let item = example[0].clone();
        let most = usize::try_from(most.as_u64().unwrap()).unwrap();
        all.push(("too many", Value::Array(vec![item; most + 1])));
        if least.as_u64() > Some(0) {
            all.push(("none", json!([])));
        }
    }
    // Limits that the extraction marks as impossible are nobody's.
    if field["suspect"].is_null() && field["enum"].is_null() {
        let bound = |name: &str| field[name].as_i64();
        match (field["limit_kind"].as_str(), kind) {
            (Some("length"), "string") => {
                if let Some(most) = bound("max") {
                    let text = "x".repeat(usize::try_from(most).unwrap() + 1);
                    all.push(("too long", json!(text)));
                }
                if let Some(least) = bound("min").filter(|least| *least > 0) {
                    let text = "x".repeat(usize::try_from(least).unwrap() - 1);
                    all.push(("too short", json!(text)));
                }
            }
            (_, "integer") => {
                if let Some(most) = bound("max") {
                    all.push(("too large", json!(most + 1)));
                }
                if let Some(least) = bound("min") {
                    all.push(("too small", json!(least - 1)));
                }
            }
            _ => {}
        }
    }
    all
}

/// What is to be found wrong, and what was.
struct Judge {
    refusals: Vec<(String, u64, String)>,
    wrong: BTreeSet<String>,
    checked: usize,
}

impl Judge {
    /// Looks at how something was refused, held against the answer to the same without a fault.
    fn look(&mut self, chapter: &str, at: &str, what: &str, reply: &Reply, control: &Reply) {
        self.checked += 1;
        if let Some(fault) = self.fault(chapter, at, reply, control) {
            self.wrong.insert(format!("{chapter} {at} {what}: {fault}"));
        }
    }

    fn fault(&self, chapter: &str, at: &str, reply: &Reply, control: &Reply) -> Option<String> {
        let body = &reply.body;
        let code = body["error_code"].as_str().unwrap_or_default();
        // Some refusals have 5xx in the reference; a failure of the server is none of them.
        if reply.status < 400 || ["SCM.0504", "PCA.00000001"].contains(&code) {
            return Some(format!("answered with {}", reply.status));
        }
        if control.status >= 400 && body["error_detail"] == control.body["error_detail"] {
            return Some(format!(
                "refused for something else: {}",
                body["error_detail"]
            ));
        }
        if let Some((wanted, _)) = own_code(chapter, at)
            && wanted != code
        {
            return Some(format!("{code}, where {wanted} is that of the field"));
        }
        let known = |(known, status, _): &(String, u64, String)| {
            known == code && *status == u64::from(reply.status)
        };
        (!self.refusals.iter().any(known)).then(|| {
            format!(
                "{code} with status {} is not of the reference",
                reply.status
            )
        })
    }
}

/// The code of this very field and its message, where the reference has one.
fn own_code(chapter: &str, at: &str) -> Option<(&'static str, &'static str)> {
    let is_in = |of: &str| {
        chapter
            .strip_prefix(of)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    let is_at = |field: &str| {
        at.strip_prefix(field)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    let own = CODES
        .iter()
        .filter(|(of, field, ..)| is_in(of) && is_at(field));
    let nearest = own.max_by_key(|(_, field, ..)| field.len());
    nearest.map(|(_, _, code, message)| (*code, *message))
}

/// A body with a field that is in no table in each of its objects.
fn strange(body: &Value) -> Value {
    match body {
        Value::Object(fields) => {
            let known = fields
                .iter()
                .map(|(name, one)| (name.clone(), strange(one)));
            let unknown = ("x_unheard_of".to_owned(), json!({"n": [1, null]}));
            Value::Object(known.chain([unknown]).collect())
        }
        Value::Array(items) => items.iter().map(strange).collect(),
        other => other.clone(),
    }
}

/// What a parameter of a path or a query must not be, as it is sent.
fn texts(field: &Value) -> Vec<(&'static str, String)> {
    let all = breaks(field, &Value::Null).into_iter();
    let texts = all.filter_map(|(what, value)| match value {
        Value::String(text) if text.is_empty() => None,
        Value::String(text) => Some((what, text)),
        Value::Number(number) => Some((what, number.to_string())),
        _ if field["type"] == "string" => None,
        _ => Some((what, "text".to_owned())),
    });
    texts.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_tables_demand_is_demanded_of_every_operation() {
    let ccm = Ccm::start().await;
    let mut judge = Judge {
        refusals: refusals(),
        wrong: BTreeSet::new(),
        checked: 0,
    };
    let mut places = BTreeSet::new();
    for (table, one) in operations() {
        let chapter = one.chapter.as_str();
        let fields = list(&table["body"]);
        let whole = completed(fields, &one.request);
        let body: Option<Value> = (!one.request.is_null()).then(|| whole.clone().into());
        let body = body.as_ref();
        let needed = list(&table["query"]).iter();
        let needed = needed.filter(|field| field["required"] == true);
        let needed: Vec<String> = needed
            .map(|field| format!("{}={}", field["name"].as_str().unwrap(), field["min"]))
            .collect();
        let query = match needed.as_slice() {
            [] => String::new(),
            needed => format!("?{}", needed.join("&")),
        };
        let control = send(&ccm, &one, None, &query, body).await;
        assert_ne!(control.status, 500, "{chapter}: {}", control.body);
        // What the tables do not have is ignored, wherever it is.
        let more = if query.is_empty() { "?" } else { "&" };
        let more = format!("{query}{more}x_unheard_of=1");
        let with_more = body.map(strange);
        let ignored = send(&ccm, &one, None, &more, with_more.as_ref()).await;
        assert_eq!(
            (ignored.status, &ignored.body["error_code"]),
            (control.status, &control.body["error_code"]),
            "{chapter}: {}",
            ignored.body
        );
        for Probe { at, what, body } in probes(fields, &whole) {
            let reply = send(&ccm, &one, None, &query, Some(&body.into())).await;
            judge.look(chapter, &at, what, &reply, &control);
            places.insert(format!("{chapter} {at}"));
        }
        for field in list(&table["query"]) {
            let name = field["name"].as_str().unwrap();
            places.insert(format!("{chapter} {name}"));
            if field["required"] == true {
                let reply = send(&ccm, &one, None, "", body).await;
                judge.look(chapter, name, "missing", &reply, &control);
            }
            for (what, text) in texts(field) {
                let query = format!("?{name}={text}");
                let reply = send(&ccm, &one, None, &query, body).await;
                judge.look(chapter, name, what, &reply, &control);
            }
        }
        for field in list(&table["path_params"]) {
            let name = field["name"].as_str().unwrap();
            places.insert(format!("{chapter} {name}"));
            for (what, text) in texts(field) {
                let reply = send(&ccm, &one, Some((name, &text)), &query, body).await;
                judge.look(chapter, name, what, &reply, &control);
            }
            // Without it, it is the path of something else, or of nothing.
            let reply = send(&ccm, &one, Some((name, "")), &query, body).await;
            assert!(
                (400..500).contains(&reply.status),
                "{chapter} without {name}: {}",
                reply.status
            );
        }
    }
    let wrong = judge.wrong;
    let known: BTreeSet<&str> = OTHERWISE.iter().copied().collect();
    let unknown: Vec<&String> = wrong
        .iter()
        .filter(|wrong| !known.iter().any(|known| wrong.starts_with(known)))
        .collect();
    assert!(unknown.is_empty(), "{unknown:#?}");
    for known in known {
        let still = wrong.iter().any(|wrong| wrong.starts_with(known));
        assert!(still, "{known} is as the table has it by now");
    }
    let (places, checked) = (places.len(), judge.checked);
    assert!(
        places > 300 && checked > 600,
        "{places} fields, {checked} requests"
    );
}

#[test]
fn the_codes_of_fields_are_those_of_the_reference() {
    let refusals = refusals();
    let mut places = BTreeSet::new();
    for table in contract::tables() {
        let chapter = table["chapter"].as_str().unwrap();
        for part in ["body", "query", "path_params"] {
            for field in list(&table[part]) {
                let name = field["name"].as_str().unwrap();
                places.insert((chapter.to_owned(), name.to_owned()));
            }
        }
    }
    for (of, field, code, message) in CODES {
        let found = refusals.iter().find(|(known, ..)| known == code);
        let (_, _, known) = found.unwrap_or_else(|| panic!("{code} is no code"));
        assert!(known.starts_with(message), "{code} says {known}");
        let top = field.split(['.', '[']).next().unwrap();
        assert!(
            places
                .iter()
                .any(|(chapter, name)| chapter.starts_with(of) && name == top),
            "{of} has no {field}"
        );
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// The fields whose faults have a code of their own: chapter, field, code, and what its message says, by which it is theirs.
/// What is inside a field has its code too, but where the inside is listed itself.
const CODES: &[(&str, &str, &str, &str)] = &[
    (
        "4.1",
        "certificate_id",
        "SCM.0020",
        "Incorrect certificate ID",
    ),
    ("4.1", "resource_id", "SCM.0020", "Incorrect certificate ID"),
    ("4.1.1.1", "domain", "SCM.0108", "Domain format is invalid"),
    ("4.1.1.1", "sans", "SCM.0108", "Domain format is invalid"),
    ("4.1.1.1", "csr", "SCM.0034", "Csr parse error"),
    (
        "4.1.1.1",
        "applicant_name",
        "SCM.0083",
        "Required param first_name",
    ),
    (
        "4.1.1.1",
        "applicant_phone",
        "SCM.0085",
        "Required param phone",
    ),
    (
        "4.1.1.1",
        "applicant_email",
        "SCM.0086",
        "Required param email",
    ),
    ("4.1.2.1", "action", "SCM.0304", "Field action is error"),
    ("4.1.2.1", "limit", "SCM.0318", "Tag limit invalid"),
    ("4.1.2.1", "offset", "SCM.0319", "Tag offset invalid"),
    ("4.1.2.1", "matches", "SCM.0303", "Match tag invalid"),
    ("4.1.2.1", "tags", "SCM.0313", "Tag list is invalid"),
    (
        "4.1.2.1",
        "tags[].key",
        "SCM.0310",
        "Tag key length is invalid",
    ),
    (
        "4.1.2.1",
        "tags[].values",
        "SCM.0312",
        "Tag value list is invalid",
    ),
    (
        "4.1.2.1",
        "tags[].values[]",
        "SCM.0309",
        "Tag value length is invalid",
    ),
    ("4.1.2.1", "tags_any", "SCM.0313", "Tag list is invalid"),
    (
        "4.1.2.1",
        "tags_any[].key",
        "SCM.0310",
        "Tag key length is invalid",
    ),
    (
        "4.1.2.1",
        "tags_any[].values",
        "SCM.0312",
        "Tag value list is invalid",
    ),
    (
        "4.1.2.1",
        "tags_any[].values[]",
        "SCM.0309",
        "Tag value length is invalid",
    ),
    ("4.1.2.1", "not_tags", "SCM.0313", "Tag list is invalid"),
    (
        "4.1.2.1",
        "not_tags[].key",
        "SCM.0310",
        "Tag key length is invalid",
    ),
    (
        "4.1.2.1",
        "not_tags[].values",
        "SCM.0312",
        "Tag value list is invalid",
    ),
    (
        "4.1.2.1",
        "not_tags[].values[]",
        "SCM.0309",
        "Tag value length is invalid",
    ),
    ("4.1.2.1", "not_tags_any", "SCM.0313", "Tag list is invalid"),
    (
        "4.1.2.1",
        "not_tags_any[].key",
        "SCM.0310",
        "Tag key length is invalid",
    ),
    (
        "4.1.2.1",
        "not_tags_any[].values",
        "SCM.0312",
        "Tag value list is invalid",
    ),
    (
        "4.1.2.1",
        "not_tags_any[].values[]",
        "SCM.0309",
        "Tag value length is invalid",
    ),
    ("4.1.2.2", "action", "SCM.0304", "Field action is error"),
    ("4.1.2.2", "tags", "SCM.0313", "Tag list is invalid"),
    (
        "4.1.2.2",
        "tags[].key",
        "SCM.0310",
        "Tag key length is invalid",
    ),
    (
        "4.1.2.2",
        "tags[].value",
        "SCM.0309",
        "Tag value length is invalid",
    ),
    ("4.1.2.3", "tag", "SCM.0323", "Invalid tag parameter"),
    (
        "4.1.2.3",
        "tag.key",
        "SCM.0310",
        "Tag key length is invalid",
    ),
    (
        "4.1.2.3",
        "tag.value",
        "SCM.0309",
        "Tag value length is invalid",
    ),
    ("4.1.3.1", "cert_brand", "SCM.0049", "Cert brand error"),
    ("4.1.3.1", "cert_type", "SCM.0050", "Cert type error"),
    ("4.1.3.1", "domain_type", "SCM.0051", "Domain type error"),
    (
        "4.1.3.1",
        "effective_time",
        "SCM.0052",
        "Cert effective time error",
    ),
    (
        "4.1.3.1",
        "domain_numbers",
        "SCM.0036",
        "Domain number not match product",
    ),
    ("4.1.3.1", "order_number", "SCM.0060", "Order number error"),
    ("4.1.3.1", "tags", "SCM.0313", "Tag list is invalid"),
    (
        "4.1.3.1",
        "tags[].key",
        "SCM.0310",
        "Tag key length is invalid",
    ),
    (
        "4.1.3.1",
        "tags[].value",
        "SCM.0309",
        "Tag value length is invalid",
    ),
    (
        "4.1.4.1",
        "domain_name",
        "SCM.0108",
        "Domain format is invalid",
    ),
    ("4.1.4.1", "sans", "SCM.0108", "Domain format is invalid"),
    ("4.1.4.6", "csr", "SCM.0034", "Csr parse error"),
    (
        "4.1.4.6",
        "private_key",
        "SCM.0012",
        "The uploaded private key failed",
    ),
    (
        "4.1.5.1",
        "status",
        "SCM.0072",
        "SCM does not support this status",
    ),
    ("4.1.5.2", "name", "SCM.0032", "Incorrect certificate name"),
    (
        "4.1.5.2",
        "certificate",
        "SCM.0006",
        "The uploaded certificate failed",
    ),
    (
        "4.1.5.2",
        "certificate_chain",
        "SCM.0013",
        "The uploaded certificate chain failed",
    ),
    (
        "4.1.5.2",
        "private_key",
        "SCM.0012",
        "The uploaded private key failed",
    ),
    (
        "4.1.6.1",
        "target_project",
        "SCM.0061",
        "Region parameter error",
    ),
    (
        "4.1.6.1",
        "target_service",
        "SCM.0030",
        "Certificates cannot be pushed to this service",
    ),
    (
        "4.1.6.2",
        "target_projects",
        "SCM.0505",
        "Parameter error, parameter is null or its list size",
    ),
    (
        "4.1.6.2",
        "target_projects[]",
        "SCM.0061",
        "Region parameter error",
    ),
    (
        "4.1.6.2",
        "target_service",
        "SCM.0030",
        "Certificates cannot be pushed to this service",
    ),
    (
        "4.1.6.3",
        "project_name",
        "SCM.0061",
        "Region parameter error",
    ),
    (
        "4.1.6.3",
        "service_name",
        "SCM.0030",
        "Certificates cannot be pushed to this service",
    ),
    (
        "4.1.6.4",
        "certificate_ids[]",
        "SCM.0506",
        "There is no corresponding certificate ID",
    ),
    (
        "4.1.6.4",
        "service_names[]",
        "SCM.0501",
        "The parameter cannot be null or the parameter is wrong",
    ),
    ("4.2", "ca_id", "PCA.00020201", "Invalid CA ID"),
    (
        "4.2",
        "certificate_id",
        "PCA.00020301",
        "Invalid certificate ID",
    ),
    ("4.2", "issuer_id", "PCA.00020201", "Invalid CA ID"),
    (
        "4.2",
        "distinguished_name",
        "PCA.00020101",
        "Incorrect certificate distinguished name",
    ),
    (
        "4.2",
        "key_algorithm",
        "PCA.00020102",
        "Invalid key algorithm",
    ),
    (
        "4.2",
        "signature_algorithm",
        "PCA.00020103",
        "Invalid signature hash algorithm",
    ),
    (
        "4.2",
        "validity",
        "PCA.00020109",
        "Invalid validity period type or value",
    ),
    (
        "4.2",
        "path_length",
        "PCA.00020203",
        "Invalid CA path length",
    ),
    (
        "4.2",
        "crl_configuration",
        "PCA.00020204",
        "Invalid CRL configuration",
    ),
    (
        "4.2",
        "csr",
        "PCA.00020401",
        "Incorrect certificate signature request",
    ),
    (
        "4.2",
        "certificate",
        "PCA.00020402",
        "Incorrect certificate",
    ),
    (
        "4.2",
        "certificate_chain",
        "PCA.00020403",
        "Incorrect certificate chain",
    ),
    ("4.2.1", "type", "PCA.00020202", "Invalid CA type"),
    ("4.2.1", "status", "PCA.00020404", "Invalid status"),
    (
        "4.2.2.2",
        "subject_alternative_names[].type",
        "PCA.00020112",
        "Invalid alternative name type",
    ),
    (
        "4.2.2.2",
        "subject_alternative_names[].value",
        "PCA.00020110",
        "Incorrect domain name",
    ),
    ("7.1", "cert_id", "SCM.0020", "Incorrect certificate ID"),
    ("7.1", "csr", "SCM.0034", "Csr parse error"),
    ("7.1", "domain", "SCM.0108", "Domain format is invalid"),
    ("7.1", "sans", "SCM.0108", "Domain format is invalid"),
    (
        "7.1",
        "applicant_name",
        "SCM.0083",
        "Required param first_name",
    ),
    ("7.1", "applicant_phone", "SCM.0085", "Required param phone"),
    ("7.1", "applicant_email", "SCM.0086", "Required param email"),
    ("7.1.1", "cert_brand", "SCM.0049", "Cert brand error"),
    ("7.1.1", "cert_type", "SCM.0050", "Cert type error"),
    ("7.1.1", "domain_type", "SCM.0051", "Domain type error"),
    (
        "7.1.1",
        "effective_time",
        "SCM.0052",
        "Cert effective time error",
    ),
    (
        "7.1.1",
        "domain_numbers",
        "SCM.0036",
        "Domain number not match product",
    ),
    ("7.1.1", "order_number", "SCM.0060", "Order number error"),
    (
        "7.1.2",
        "order_status",
        "SCM.0072",
        "SCM does not support this status",
    ),
    ("7.1.4", "modify_key", "SCM.0023", "Modify key format error"),
    (
        "7.1.4",
        "modify_value",
        "SCM.0024",
        "Modify value format error",
    ),
    (
        "7.1.15",
        "cert_name",
        "SCM.0032",
        "Incorrect certificate name",
    ),
    (
        "7.1.15",
        "cert",
        "SCM.0006",
        "The uploaded certificate failed",
    ),
    (
        "7.1.15",
        "private_key",
        "SCM.0012",
        "The uploaded private key failed",
    ),
    ("7.1.16", "reason", "SCM.0027", "Have no revoke reason"),
    (
        "7.1.17",
        "service_type",
        "SCM.0030",
        "Certificates cannot be pushed to this service",
    ),
    (
        "7.1.17",
        "remote_project",
        "SCM.0061",
        "Region parameter error",
    ),
];

/// Where the server is not as the table is, or this test cannot see that it is.
const OTHERWISE: &[&str] = &[
    // Looked at when the certificate is found; `orders` has it with one that is there.
    "4.1.1.1 agree_privacy_protection false",
    // "Can be an empty array", though the table says 1 to 20 (lines 846 to 851 and 863 of the reference): any value will do.
    "4.1.2.1 tags[].values none",
    "4.1.2.1 tags_any[].values none",
    "4.1.2.1 not_tags[].values none",
    "4.1.2.1 not_tags_any[].values none",
    // Optional in the SDK, so that its users need not send it.
    "4.2.1.6 path_length missing",
    // Reserved by the reference and ignored, so not even looked at.
    "4.2.2.3 subject_alternative_names",
];
