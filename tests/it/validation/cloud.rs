//! Huawei Cloud DNS, which cannot be had here: a small account of it that keeps zones and record sets, and refuses as the real
//! one does. What is published there is shown by a real name server only where a test puts it there.

use std::sync::{Arc, Mutex};

use renewd::model::{
    ErrorClass, RemoteAccess, RemoteAuth, Seconds, SecretRef, ValidationId, ValidationKind,
    ValidationPolicy,
};
use serde_json::{Value, json};

use super::{record, validations};
use crate::support::peer::{Peer, Reply, Request};

const PLACE: &str = "_dnsauth.www.example.com";
const ZONE: &str = "2c9eb155587194ec01587224c9f90149";

/// Record sets: name, type, values.
#[derive(Default)]
struct Account {
    sets: Vec<(String, String, Vec<String>)>,
    /// Somebody else adds a value before the next change is looked at.
    meanwhile: Option<String>,
}

impl Account {
    fn answer(&mut self, request: &Request) -> Reply {
        assert!(
            request
                .header("authorization")
                .starts_with("SDK-HMAC-SHA256 Access=ak")
        );
        let path = request.path();
        let sets = format!("/v2/zones/{ZONE}/recordsets");
        if path == "/v2/zones" {
            let zone = json!({"id": ZONE, "name": "example.com.", "zone_type": "public"});
            let found = request.query("name") == "example.com.";
            let zones: Vec<Value> = found.then_some(zone).into_iter().collect();
            return Reply::json(200, &json!({"zones": zones}));
        }
        let id = path
            .strip_prefix(&sets)
            .and_then(|rest| rest.strip_prefix("/set"));
        let id = id.and_then(|id| id.parse::<usize>().ok());
        let shown = |index: usize, set: &(String, String, Vec<String>)| json!({"id": format!("set{index}"), "name": set.0, "type": set.1, "ttl": 300, "records": set.2});
        match (request.method.as_str(), id) {
            ("GET", None) => {
                let all = self.sets.iter().enumerate();
                let fit =
                    all.filter(|(_, set)| set.0 == request.query("name") && !set.2.is_empty());
                let found: Vec<Value> = fit.map(|(index, set)| shown(index, set)).collect();
                Reply::json(200, &json!({"recordsets": found}))
            }
            ("POST", None) => {
                let (name, kind, values) = wanted(request);
                if self
                    .sets
                    .iter()
                    .any(|set| set.0 == name && !set.2.is_empty())
                {
                    let error =
                        json!({"code": "DNS.0312", "message": "This record set already exists."});
                    return Reply::json(400, &error);
                }
                self.sets.push((name, kind, values));
                let last = self.sets.len() - 1;
                Reply::json(202, &shown(last, &self.sets[last]))
            }
            ("PUT", Some(id)) => {
                // Two hosts read and write: the later one's list is taken as a whole.
                let (_, _, values) = wanted(request);
                self.sets[id].2 = values;
                let answer = shown(id, &self.sets[id]);
                if let Some(other) = self.meanwhile.take() {
                    self.sets[id].2 = vec![other];
                }
                Reply::json(202, &answer)
            }
            ("DELETE", Some(id)) => {
                self.sets[id].2.clear();
                Reply::json(202, &json!({"id": format!("set{id}")}))
            }
            _ => Reply::json(
                404,
                &json!({"code": "DNS.0004", "message": "No record sets found."}),
            ),
        }
    }
}

fn wanted(request: &Request) -> (String, String, Vec<String>) {
    let body = request.json();
    let text = |key: &str| body[key].as_str().unwrap().to_owned();
    let values = body["records"].as_array().unwrap().iter();
    let values: Vec<String> = values
        .map(|value| value.as_str().unwrap().to_owned())
        .collect();
    assert!(body["ttl"].as_u64().is_some() && !values.is_empty());
    (text("name"), text("type"), values)
}

async fn cloud() -> (Peer, Arc<Mutex<Account>>, ValidationPolicy) {
    let account = Arc::new(Mutex::new(Account::default()));
    let served = Arc::clone(&account);
    let peer = Peer::start(move |request| served.lock().unwrap().answer(request)).await;
    let policy = ValidationPolicy {
        id: ValidationId::new("cloud").unwrap(),
        kind: ValidationKind::HuaweiDns {
            access: RemoteAccess {
                endpoint: peer.url.clone(),
                roots: None,
                auth: RemoteAuth::AccessKey {
                    access_key: SecretRef::Env("AK".to_owned()),
                    secret_key: SecretRef::Env("SK".to_owned()),
                    security_token: None,
                },
                connect_timeout: Seconds(5),
                timeout: Seconds(20),
            },
        },
        resolvers: Vec::new(),
        propagation: Seconds(600),
        ports: renewd::model::ProofPorts::default(),
        digest: renewd::model::Fingerprint([0; 32]),
    };
    (peer, account, policy)
}

fn ways() -> renewd::validation::Validations {
    super::validations_with(Arc::new(renewd::sys::clock::SystemClock), "ak")
}

fn values(account: &Mutex<Account>) -> Vec<String> {
    let account = account.lock().unwrap();
    account.sets.iter().flat_map(|set| set.2.clone()).collect()
}

#[tokio::test]
async fn values_of_one_name_share_a_record_set_and_come_and_go_one_by_one() {
    let (_peer, account, policy) = cloud().await;
    let validations = ways();
    let one = [record("www.example.com", PLACE, "one")];
    let two = [record("*.www.example.com", PLACE, "two")];
    for proofs in [&one, &two, &two, &one] {
        validations.publish(&policy, proofs).await.unwrap();
    }
    assert_eq!(values(&account), ["\"one\"", "\"two\""]);
    validations.retract(&policy, &one).await.unwrap();
    validations.retract(&policy, &one).await.unwrap();
    assert_eq!(values(&account), ["\"two\""]);
    validations.retract(&policy, &two).await.unwrap();
    assert_eq!(values(&account), Vec::<String>::new());
    validations.publish(&policy, &two).await.unwrap();
    assert_eq!(values(&account), ["\"two\""]);
}

#[tokio::test]
async fn a_value_that_another_host_wrote_over_is_written_again_beside_the_other() {
    let (_peer, account, policy) = cloud().await;
    let validations = ways();
    let one = [record("www.example.com", PLACE, "one")];
    let two = [record("www.example.com", PLACE, "two")];
    validations.publish(&policy, &one).await.unwrap();
    account.lock().unwrap().meanwhile = Some("\"theirs\"".to_owned());
    validations.publish(&policy, &two).await.unwrap();
    assert_eq!(values(&account), ["\"theirs\"", "\"two\""]);
}

#[tokio::test]
async fn a_domain_that_the_account_has_no_zone_for_is_told_of() {
    let (_peer, _account, policy) = cloud().await;
    let proofs = [record("www.example.org", "_dnsauth.www.example.org", "one")];
    let error = ways().publish(&policy, &proofs).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Configuration);
    assert!(
        error
            .message
            .contains("the account has no public zone for it"),
        "{error}"
    );
    assert!(
        error
            .message
            .contains("validation cloud: adding the record _dnsauth.www.example.org"),
        "{error}"
    );
    // Nothing is called where the way of proving is another.
    assert!(
        validations()
            .resume(&[(&policy, &proofs[..])])
            .await
            .is_empty()
    );
}

#[tokio::test]
async fn a_domain_whose_zone_left_the_account_keeps_no_record_of_the_others() {
    let (_peer, account, policy) = cloud().await;
    let validations = ways();
    let there = record("www.example.com", PLACE, "one");
    let gone = record("www.example.org", "_dnsauth.www.example.org", "two");
    validations
        .publish(&policy, std::slice::from_ref(&there))
        .await
        .unwrap();
    assert_eq!(values(&account).len(), 1);
    let error = validations.retract(&policy, &[gone, there]).await;
    let error = error.unwrap_err();
    assert_eq!(error.class, ErrorClass::Configuration);
    assert!(error.message.contains("example.org"), "{error}");
    assert_eq!(values(&account), Vec::<String>::new());
}
