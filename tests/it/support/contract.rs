//! What the reference says of each operation (`tests/fixtures/ccm/contract.json`, made by `scripts/ccm-contract.py`), and a
//! peer that answers as its examples do. Client and command line are held to the same.

use serde_json::Value;

use crate::support::peer::{Peer, Reply};

/// Ids of the kinds that stand in paths.
pub(crate) const CERTIFICATE: &str = "scs1590053258704";
pub(crate) const CSR: &str = "48e392628b0f47769e47d91acc7654a5";
pub(crate) const PRIVATE: &str = "6434f74f-2d13-4e6a-89eb-93ee313f1a43";
pub(crate) const CA: &str = "4c0e772e-a30c-4029-b929-b7acb04143f7";
pub(crate) const PROJECT: &str = "0605767a5a0010f52f7ac01e4d3a4b2f";
pub(crate) const PRODUCT: &str = "00301-106005-0--0";

/// One operation of the reference.
#[derive(Debug, Clone)]
pub(crate) struct Contract {
    pub(crate) chapter: String,
    pub(crate) method: String,
    /// Ids in braces.
    pub(crate) path: String,
    /// Of success.
    pub(crate) status: u16,
    pub(crate) query: Vec<String>,
    /// The example request, as a strict client sends it; null without a body.
    pub(crate) request: Value,
    /// The example answer; null without one.
    pub(crate) response: Value,
}

/// All of them, in the order of the reference.
pub(crate) fn contracts() -> Vec<Contract> {
    tables().iter().map(contract).collect()
}

/// The operations as the fixture has them, with the tables of their fields.
pub(crate) fn tables() -> Vec<Value> {
    serde_json::from_str(include_str!("../../fixtures/ccm/contract.json")).unwrap()
}

/// A method of the fixture as a request has it.
pub(crate) fn verb(method: &str) -> &'static str {
    ["GET", "POST", "PUT", "DELETE"]
        .into_iter()
        .find(|verb| *verb == method)
        .unwrap_or_else(|| panic!("{method} is no method of the reference"))
}

/// The one of this chapter.
#[track_caller]
pub(crate) fn of(chapter: &str) -> Contract {
    let found = contracts().into_iter().find(|one| one.chapter == chapter);
    found.unwrap_or_else(|| panic!("the reference has no chapter {chapter}"))
}

fn contract(one: &Value) -> Contract {
    let text = |key: &str| one[key].as_str().unwrap().to_owned();
    let chapter = text("chapter");
    let mut request = one["request"].clone();
    match chapter.as_str() {
        // Mandatory by the table, missing in the example.
        "4.1.1.1" => request["domain_method"] = "DNS".into(),
        // As the table has them.
        "4.1.6.1" | "4.1.6.2" => request["target_service"] = "WAF".into(),
        "4.2.2.8" => {
            request["type"] = "OTHER".into();
            request["is_compressed"] = "false".into();
        }
        _ => {}
    }
    let names = one["query"].as_array().unwrap().iter();
    Contract {
        chapter,
        method: text("method"),
        path: text("path"),
        status: u16::try_from(one["status"].as_u64().unwrap()).unwrap(),
        query: names
            .map(|field| field["name"].as_str().unwrap().to_owned())
            .collect(),
        request,
        response: one["response"].clone(),
    }
}

impl Contract {
    /// The path with the ids above.
    pub(crate) fn filled(&self) -> String {
        let private = self.path.starts_with("/v1/");
        self.path
            .replace("{project_id}", PROJECT)
            .replace(
                "{certificate_id}",
                if private { PRIVATE } else { CERTIFICATE },
            )
            .replace("{cert_id}", CERTIFICATE)
            .replace("{resource_id}", CERTIFICATE)
            .replace("{ca_id}", CA)
            .replace("{id}", CSR)
            .replace("{type}", "BL")
            .replace("{product_id}", PRODUCT)
    }

    /// A peer that answers this operation as the example does, and everything else with 404.
    pub(crate) async fn peer(&self) -> Peer {
        let wanted = self.clone();
        Peer::start(move |request| {
            if request.method != wanted.method || request.path() != wanted.filled() {
                return Reply::text(
                    404,
                    r#"{"error_code": "APIGW.0101", "error_msg": "no such API"}"#,
                );
            }
            match &wanted.response {
                Value::Null if wanted.chapter == "7.1.14" => Reply::text(200, "Rar!\u{1a}"),
                Value::Null => Reply::text(wanted.status, ""),
                answer => Reply::json(wanted.status, answer),
            }
        })
        .await
    }

    /// Exactly one request came, and it was this one, with the body of the example and this query, in whatever order.
    #[track_caller]
    pub(crate) fn was_sent_to(&self, peer: &Peer, query: &[(&str, &str)]) {
        let requests = peer.requests();
        assert_eq!(requests.len(), 1, "{requests:?}");
        let request = &requests[0];
        assert_eq!(request.method, self.method);
        assert_eq!(request.path(), self.filled());
        for (name, _) in query {
            let known = self.query.iter().any(|known| known == name);
            assert!(known, "{name} is no parameter of {}", self.chapter);
        }
        let wanted = query.iter().map(|(name, value)| format!("{name}={value}"));
        let mut wanted: Vec<String> = wanted.collect();
        wanted.sort();
        let sent = request.target.split_once('?').map_or("", |(_, sent)| sent);
        let mut sent: Vec<&str> = sent.split('&').filter(|pair| !pair.is_empty()).collect();
        sent.sort_unstable();
        assert_eq!(sent, wanted, "the query of {}", self.chapter);
        if self.chapter == "7.1.13" {
            assert_eq!(request.body, "a picture");
            assert_eq!(request.header("content-type"), "application/octet-stream");
        } else if self.request.is_null() {
            assert_eq!(request.body, "");
        } else {
            assert_eq!(request.json(), self.request);
        }
    }
}

/// Whether everything that the example answers stands in ours, under the name of the table and in any type of its kind.
#[track_caller]
pub(crate) fn covers(ours: &Value, example: &Value, at: &str) {
    match example {
        Value::Null => {}
        Value::Object(fields) => {
            for (key, value) in fields {
                let ours_key = match key.as_str() {
                    "order_state" => "order_status",
                    "domain" if ours.get("domain").is_none() => "domain_name",
                    key => key,
                };
                let at = format!("{at}.{key}");
                covers(&ours[ours_key], value, &at);
            }
        }
        Value::Array(list) => {
            let ours = ours
                .as_array()
                .unwrap_or_else(|| panic!("{at} is no list in {ours}"));
            assert_eq!(ours.len(), list.len(), "{at}");
            for (position, value) in list.iter().enumerate() {
                covers(&ours[position], value, &format!("{at}.{position}"));
            }
        }
        scalar => assert_eq!(plain(ours), plain(scalar), "{at}"),
    }
}

/// A scalar as text, without the blanks and damages of the reference.
fn plain(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.trim().to_owned(),
        Value::Null => String::new(),
        other => other.to_string(),
    };
    match text.as_str() {
        "GLOBALLYSIGN" => "GLOBALSIGN".to_owned(),
        "MULT_DOMAIN" => "MULTI_DOMAIN".to_owned(),
        _ => text,
    }
}
