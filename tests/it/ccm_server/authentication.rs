//! Who may call: signatures, tokens, actions, and the refusals of each.

use renewd::model::Seconds;
use serde_json::json;

use super::http::{Reply, Send, date, get, post, sdk_date};
use crate::support::ccm::{Ccm, Wanted};

const LIST: &str = "/v1/private-certificate-authorities?limit=10&offset=0";

async fn token(ccm: &Ccm, password: &str) -> Reply {
    let body = json!({"auth": {
        "identity": {"methods": ["password"], "password": {"user": {
            "name": ccm.user.name, "password": password, "domain": {"name": ccm.user.account},
        }}},
        "scope": {"project": {"name": ccm.user.project}},
    }});
    Send::new("POST", "/v3/auth/tokens")
        .json(&body)
        .send(ccm)
        .await
}

#[tokio::test]
async fn a_signed_request_is_answered_and_carries_a_request_id() {
    let ccm = Ccm::start().await;
    let reply = get(&ccm, LIST).await.expect(200);
    assert_eq!(reply.body["total"], 2);
    let id = reply.header("x-request-id").unwrap();
    assert_eq!(id.len(), 32);
    assert_ne!(Some(id), get(&ccm, LIST).await.header("x-request-id"));
}

#[tokio::test]
async fn requests_without_or_with_wrong_credentials_are_refused_by_the_service_s_code() {
    let ccm = Ccm::start().await;
    Send::new("GET", LIST)
        .send(&ccm)
        .await
        .refused(401, "PCA.00010001");
    Send::new("GET", "/v3/scm/certificates")
        .send(&ccm)
        .await
        .refused(401, "SCM.1000");
    let unknown = Send::new("GET", LIST).header("x-auth-token", &"x".repeat(40));
    unknown.send(&ccm).await.refused(401, "PCA.00010001");
    let iam = Send::new("GET", "/v3/projects")
        .send(&ccm)
        .await
        .expect(401);
    assert_eq!(iam.body["error"]["title"], "Unauthorized");
}

#[tokio::test]
async fn signatures_fall_with_every_change_of_key_body_query_and_time() {
    let ccm = Ccm::start().await;
    let (access_key, secret_key) = (ccm.access_key().to_owned(), ccm.secret_key().to_owned());
    let fresh = || Send::new("GET", LIST);
    let wrong_secret = fresh().signed(&ccm, &access_key, "wrong", &date(&ccm));
    wrong_secret.send(&ccm).await.refused(401, "APIGW.0301");
    let unknown_key = fresh().signed(&ccm, "NOBODY", &secret_key, &date(&ccm));
    unknown_key.send(&ccm).await.refused(401, "APIGW.0301");
    let mut other_query = fresh().by_user(&ccm);
    other_query.target = LIST.replace("10", "11");
    other_query.send(&ccm).await.refused(401, "APIGW.0301");
    let mut other_body = Send::new("POST", "/v1/private-certificates/csr/parse")
        .json(&json!({"csr": "x"}))
        .by_user(&ccm);
    other_body.body = json!({"csr": "y"}).to_string().into_bytes();
    other_body.send(&ccm).await.refused(401, "APIGW.0301");
    for off in [-901, 901] {
        let then = sdk_date(ccm.now() + Seconds(off));
        let late = fresh().signed(&ccm, &access_key, &secret_key, &then);
        late.send(&ccm).await.refused(401, "APIGW.0303");
    }
    let unsigned_body = Send::new("POST", "/v1/private-certificates/csr/parse")
        .json(&json!({"csr": "x"}))
        .header("x-sdk-content-sha256", "UNSIGNED-PAYLOAD")
        .by_user(&ccm);
    unsigned_body.send(&ccm).await.refused(401, "APIGW.0301");
}

#[tokio::test]
async fn a_request_may_be_sent_again_as_it_is() {
    let ccm = Ccm::start().await;
    let body = json!({"csr": super::openssl::csr(super::openssl::EC, &["-subj", "/CN=a.example"])});
    let path = "/v1/private-certificates/csr/parse";
    let send = Send::new("POST", path).json(&body).by_user(&ccm);
    for _ in 0..2 {
        send.clone().send(&ccm).await.expect(200);
    }
}

#[tokio::test]
async fn foreign_domain_and_project_ids_are_refused_and_own_ones_accepted() {
    let ccm = Ccm::start().await;
    let with = |name: &str, value: &str| Send::new("GET", LIST).header(name, value).by_user(&ccm);
    with("x-domain-id", &ccm.user.domain_id)
        .send(&ccm)
        .await
        .expect(200);
    with("x-project-id", &ccm.user.project_id)
        .send(&ccm)
        .await
        .expect(200);
    with("x-domain-id", "0123")
        .send(&ccm)
        .await
        .refused(401, "PCA.00010004");
    with("x-project-id", "0123")
        .send(&ccm)
        .await
        .refused(401, "PCA.00010004");
    let scm = Send::new("GET", "/v3/scm/certificates")
        .header("x-domain-id", "0123")
        .by_user(&ccm);
    scm.send(&ccm).await.refused(403, "SCM.0002");
    // A header that says whose request it is must be under the signature.
    let late = Send::new("GET", LIST)
        .by_user(&ccm)
        .header("x-domain-id", &ccm.user.domain_id);
    late.send(&ccm).await.refused(401, "APIGW.0301");
}

#[tokio::test]
async fn a_token_is_good_for_a_day_and_survives_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("ccm");
    let ccm = Wanted::new().at("2027-01-01").state(&state).start().await;
    let reply = token(&ccm, ccm.password()).await.expect(201);
    let token = reply.header("x-subject-token").unwrap().to_owned();
    assert!(token.len() >= 32);
    assert_eq!(
        reply.body["token"]["expires_at"],
        "2027-01-02T00:00:00.000000Z"
    );
    assert_eq!(
        reply.body["token"]["project"]["id"],
        ccm.user.project_id.as_str()
    );
    let call = || Send::new("GET", LIST).header("x-auth-token", &token);
    call().send(&ccm).await.expect(200);
    let clock = ccm.clock.clone().unwrap();
    ccm.stop().await;
    let ccm = Wanted::new().clock(clock).state(&state).start().await;
    ccm.advance(Seconds(24 * 3600 - 1));
    call().send(&ccm).await.expect(200);
    ccm.advance(Seconds(1));
    call().send(&ccm).await.refused(401, "PCA.00010001");
}

#[tokio::test]
async fn wrong_passwords_and_foreign_projects_get_no_token() {
    let ccm = Ccm::start().await;
    let reply = token(&ccm, "wrong").await.expect(401);
    assert!(reply.header("x-subject-token").is_none());
    assert_eq!(reply.body["error"]["title"], "Unauthorized");
    let body = json!({"auth": {
        "identity": {"methods": ["password"], "password": {"user": {
            "name": ccm.user.name, "password": ccm.password(), "domain": {"name": ccm.user.account},
        }}},
        "scope": {"project": {"name": "nowhere"}},
    }});
    Send::new("POST", "/v3/auth/tokens")
        .json(&body)
        .send(&ccm)
        .await
        .expect(401);
    Send::new("POST", "/v3/auth/tokens")
        .json(&json!({}))
        .send(&ccm)
        .await
        .expect(400);
}

#[tokio::test]
async fn a_token_for_a_project_is_refused_in_the_paths_of_another_one() {
    let ccm = Ccm::start().await;
    let projects = get(&ccm, "/v3/projects").await.expect(200).body;
    let ids = projects["projects"].as_array().unwrap().iter();
    let ids = ids.map(|project| project["id"].as_str().unwrap().to_owned());
    let own = ccm.user.project_id.clone();
    let other = ids.into_iter().find(|id| *id != own).unwrap();
    let reply = token(&ccm, ccm.user.password.expose_str().unwrap())
        .await
        .expect(201);
    let token = reply.header("x-subject-token").unwrap().to_owned();
    let list = |project: &str| {
        let target = format!("/v2/{project}/scm/certlist");
        Send::new("GET", &target).header("x-auth-token", &token)
    };
    list(&own).send(&ccm).await.expect(200);
    list(&other).send(&ccm).await.refused(403, "SCM.0002");
    let named = list(&own).header("x-project-id", &other);
    named.send(&ccm).await.refused(403, "SCM.0002");
    // A key is good for all of them.
    get(&ccm, &format!("/v2/{other}/scm/certlist"))
        .await
        .expect(200);
}

#[tokio::test]
async fn projects_and_account_are_told() {
    let ccm = Ccm::start().await;
    let target = format!("/v3/projects?name={}", ccm.user.project);
    let projects = get(&ccm, &target).await.expect(200);
    assert_eq!(
        projects.body["projects"][0]["id"],
        ccm.user.project_id.as_str()
    );
    let domains = get(&ccm, "/v3/auth/domains").await.expect(200);
    assert_eq!(
        domains.body["domains"][0]["id"],
        ccm.user.domain_id.as_str()
    );
}

#[tokio::test]
async fn a_user_may_do_what_its_actions_say_and_sees_its_account_only() {
    let ccm = Ccm::start().await;
    let admin = ccm.running.admin();
    let reader = admin
        .add_user_with("reader", "default", "pca:*:list pca:*:get")
        .await
        .unwrap();
    let stranger = admin
        .add_user_with("stranger", "elsewhere", "*")
        .await
        .unwrap();
    let by = |send: Send, user: &renewd::ccm_server::UserKeys| {
        let secret_key = user.secret_key.expose_str().unwrap().to_owned();
        send.signed(&ccm, &user.access_key, &secret_key, &date(&ccm))
    };
    by(Send::new("GET", LIST), &reader)
        .send(&ccm)
        .await
        .expect(200);
    let disable = format!(
        "/v1/private-certificate-authorities/{}/disable",
        ccm.issuing()
    );
    let refused = by(Send::new("POST", &disable), &reader).send(&ccm).await;
    refused.refused(401, "PCA.00010004");
    let scm = by(Send::new("GET", "/v3/scm/certificates"), &reader)
        .send(&ccm)
        .await;
    scm.refused(403, "SCM.1019");
    let foreign = by(Send::new("GET", LIST), &stranger)
        .send(&ccm)
        .await
        .expect(200);
    assert_eq!(foreign.body["total"], 0);
    let show = format!("/v1/private-certificate-authorities/{}", ccm.issuing());
    by(Send::new("GET", &show), &stranger)
        .send(&ccm)
        .await
        .refused(404, "PCA.00030102");
}

#[tokio::test]
async fn unknown_routes_are_the_gateway_s_404() {
    let ccm = Ccm::start().await;
    for target in [
        "/",
        "/v1/unheard-of",
        "/v1/private-certificates/a/b/c",
        "/v3/scm",
        "/v3/auth/unheard-of",
    ] {
        let reply = Send::new("GET", target).send(&ccm).await;
        reply.refused(404, "APIGW.0101");
        assert_eq!(
            reply.body["request_id"].as_str(),
            reply.header("x-request-id")
        );
    }
    post(&ccm, "/v3/scm/certificates", &json!({}))
        .await
        .refused(404, "APIGW.0101");
}
