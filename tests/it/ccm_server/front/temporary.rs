//! Tokens by ids and scopes, and access keys that end by themselves.

use renewd::model::Seconds;
use serde_json::{Value, json};

use crate::ccm_server::http::{Reply, Send, date, get};
use crate::support::ccm::{Ccm, Wanted};

const LIST: &str = "/v1/private-certificate-authorities?limit=10&offset=0";
const TEMPORARY: &str = "/v3.0/OS-CREDENTIAL/securitytokens";

async fn login(ccm: &Ccm, user: Value, scope: Value) -> Reply {
    let body = json!({"auth": {
        "identity": {"methods": ["password"], "password": {"user": user}},
        "scope": scope,
    }});
    let send = Send::new("POST", "/v3/auth/tokens?nocatalog=true").json(&body);
    send.send(ccm).await
}

fn named(ccm: &Ccm) -> Value {
    json!({"name": ccm.user.name, "password": ccm.password(), "domain": {"name": ccm.user.account}})
}

async fn token(ccm: &Ccm) -> String {
    let reply = login(
        ccm,
        named(ccm),
        json!({"domain": {"id": ccm.user.domain_id}}),
    )
    .await;
    let reply = reply.expect(201);
    reply.header("x-subject-token").unwrap().to_owned()
}

fn wish(token: Value) -> Value {
    json!({"auth": {"identity": {"methods": ["token"], "token": token}}})
}

/// AK, SK and security token.
struct Keys(String, String, String);

impl Keys {
    async fn get(ccm: &Ccm, seconds: i64) -> Self {
        let body = wish(json!({"id": token(ccm).await, "duration_seconds": seconds}));
        let reply = Send::new("POST", TEMPORARY).json(&body).send(ccm).await;
        Self::of(&reply.expect(201))
    }
    fn of(reply: &Reply) -> Self {
        let text = |field: &str| {
            let value = &reply.body["credential"][field];
            value
                .as_str()
                .unwrap_or_else(|| panic!("{field}"))
                .to_owned()
        };
        Self(text("access"), text("secret"), text("securitytoken"))
    }
    fn sign(&self, ccm: &Ccm, send: Send) -> Send {
        let send = send.header("x-security-token", &self.2);
        send.signed(ccm, &self.0, &self.1, &date(ccm))
    }
}

#[tokio::test]
async fn users_log_in_by_name_or_id_and_scopes_are_given_by_name_or_id() {
    let ccm = Ccm::start().await;
    let by_name = login(
        &ccm,
        named(&ccm),
        json!({"project": {"name": ccm.user.project}}),
    );
    let first = by_name.await.expect(201);
    let user_id = first.body["token"]["user"]["id"].as_str().unwrap();
    let project = &first.body["token"]["project"];
    assert_eq!(project["id"], ccm.user.project_id.as_str());
    assert_eq!(project["domain"]["id"], ccm.user.domain_id.as_str());
    let users = [
        json!({"id": user_id, "password": ccm.password()}),
        json!({"name": ccm.user.name, "password": ccm.password(), "domain": {"id": ccm.user.domain_id}}),
    ];
    for user in users {
        let reply = login(&ccm, user, json!({"project": {"id": ccm.user.project_id}})).await;
        let body = reply.expect(201).body;
        assert_eq!(body["token"]["project"]["name"], ccm.user.project.as_str());
        assert_eq!(body["token"]["user"]["id"], user_id);
        assert_eq!(body["token"]["methods"], json!(["password"]));
    }
    for scope in [
        json!({"domain": {"name": ccm.user.account}}),
        json!({"domain": {"id": ccm.user.domain_id}}),
    ] {
        let body = login(&ccm, named(&ccm), scope).await.expect(201).body;
        assert_eq!(body["token"]["domain"]["id"], ccm.user.domain_id.as_str());
        assert!(body["token"].get("project").is_none());
    }
}

#[tokio::test]
async fn foreign_scopes_other_methods_and_half_a_user_are_refused() {
    let ccm = Ccm::start().await;
    for scope in [
        json!({"domain": {"name": "elsewhere"}}),
        json!({"domain": {"id": "0123"}}),
        json!({"project": {"name": "nowhere"}}),
        json!({"project": {"name": ccm.user.project, "domain": {"name": "elsewhere"}}}),
    ] {
        let reply = login(&ccm, named(&ccm), scope.clone()).await;
        assert_eq!(reply.status, 401, "{scope}: {}", reply.body);
        assert!(reply.header("x-subject-token").is_none());
    }
    let alone = json!({"name": ccm.user.name, "password": ccm.password()});
    login(&ccm, alone, json!({})).await.expect(400);
    let totp =
        json!({"auth": {"identity": {"methods": ["totp"], "password": {"user": named(&ccm)}}}});
    let send = Send::new("POST", "/v3/auth/tokens").json(&totp);
    send.send(&ccm).await.expect(400);
}

#[tokio::test]
async fn a_temporary_key_is_good_with_its_token_until_it_ends() {
    let ccm = Wanted::new().at("2027-01-01").start().await;
    let body = wish(json!({"id": token(&ccm).await, "duration_seconds": 3600}));
    let reply = Send::new("POST", TEMPORARY).json(&body).send(&ccm).await;
    let reply = reply.expect(201);
    assert_eq!(
        reply.body["credential"]["expires_at"],
        "2027-01-01T01:00:00.000000Z"
    );
    let keys = Keys::of(&reply);
    let call = || keys.sign(&ccm, Send::new("GET", LIST));
    assert_eq!(call().send(&ccm).await.expect(200).body["total"], 2);
    // Without its token, or with another one, the key is nothing.
    let alone = Send::new("GET", LIST).signed(&ccm, &keys.0, &keys.1, &date(&ccm));
    alone.send(&ccm).await.refused(401, "APIGW.0301");
    let other = Keys::get(&ccm, 900).await;
    let mixed = Keys(keys.0.clone(), keys.1.clone(), other.2.clone());
    let mixed = mixed.sign(&ccm, Send::new("GET", LIST));
    mixed.send(&ccm).await.refused(401, "APIGW.0301");
    // The token must be under the signature.
    let added = Send::new("GET", LIST).signed(&ccm, &keys.0, &keys.1, &date(&ccm));
    let added = added.header("x-security-token", &keys.2);
    added.send(&ccm).await.refused(401, "APIGW.0301");
    // A key for good has none.
    let own = Send::new("GET", LIST).header("x-security-token", &keys.2);
    let own = own.by_user(&ccm).send(&ccm).await;
    own.refused(401, "APIGW.0301");
    ccm.advance(Seconds(3599));
    call().send(&ccm).await.expect(200);
    ccm.advance(Seconds(1));
    let late = call().send(&ccm).await;
    late.refused(401, "APIGW.0301");
    assert!(
        late.text("error_detail").contains("expired"),
        "{}",
        late.body
    );
}

#[tokio::test]
async fn temporary_keys_come_of_a_token_or_a_key_for_good_and_not_of_each_other() {
    let ccm = Ccm::start().await;
    let token = token(&ccm).await;
    let by_header = Send::new("POST", TEMPORARY)
        .json(&wish(json!({})))
        .header("x-auth-token", &token);
    let keys = Keys::of(&by_header.send(&ccm).await.expect(201));
    let signed = Send::new("POST", TEMPORARY)
        .json(&wish(json!({"duration_seconds": 86400})))
        .by_user(&ccm);
    signed.send(&ccm).await.expect(201);
    let again = Send::new("POST", TEMPORARY).json(&wish(json!({})));
    keys.sign(&ccm, again).send(&ccm).await.expect(401);
    for (token, status) in [
        (json!({}), 401),
        (json!({"id": "unheard-of"}), 401),
        (json!({"id": token, "duration_seconds": 899}), 400),
        (json!({"id": token, "duration_seconds": 86401}), 400),
    ] {
        let send = Send::new("POST", TEMPORARY).json(&wish(token.clone()));
        let reply = send.send(&ccm).await;
        assert_eq!(reply.status, status, "{token}: {}", reply.body);
        assert!(reply.body["error"]["title"].is_string(), "{}", reply.body);
    }
    let wrong = Send::new("POST", TEMPORARY)
        .json(&wish(json!({})))
        .header("x-auth-token", "unheard-of");
    wrong.send(&ccm).await.expect(401);
    let mut narrowed = wish(json!({"id": token}));
    narrowed["auth"]["identity"]["policy"] = json!({"Version": "1.1", "Statement": []});
    let send = Send::new("POST", TEMPORARY).json(&narrowed);
    send.send(&ccm).await.expect(400);
}

#[tokio::test]
async fn temporary_keys_survive_a_restart_and_have_the_rights_of_their_user() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("ccm");
    let ccm = Wanted::new().state(&state).start().await;
    let keys = Keys::get(&ccm, 900).await;
    let name = ccm.user.name.clone();
    ccm.stop().await;
    let ccm = Wanted::new().state(&state).start().await;
    let call = || keys.sign(&ccm, Send::new("GET", LIST));
    call().send(&ccm).await.expect(200);
    let admin = ccm.running.admin();
    admin.allow(&name, "default", "scm:*").await.unwrap();
    call().send(&ccm).await.refused(401, "PCA.00010004");
    admin.remove_user(&name, "default").await.unwrap();
    call().send(&ccm).await.refused(401, "APIGW.0301");
}

#[tokio::test]
async fn the_sdk_learns_its_account_in_both_ways() {
    let ccm = Ccm::start().await;
    let identity = get(&ccm, "/v5/caller-identity").await.expect(200).body;
    assert_eq!(identity["account_id"], ccm.user.domain_id.as_str());
    let domains = get(&ccm, "/v3/auth/domains").await.expect(200).body;
    assert_eq!(domains["domains"][0]["id"], ccm.user.domain_id.as_str());
    let urn = identity["principal_urn"].as_str().unwrap();
    assert!(urn.ends_with(&format!(":user:{}", ccm.user.name)), "{urn}");
}
