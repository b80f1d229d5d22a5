//! schemathesis against the server's own description: whatever is sent, no failure of the server, and no answer that is
//! not described.

use serde_json::json;

use crate::ccm_server::applicant::{Applicant, CERTIFICATES, form};
use crate::ccm_server::http::{Send, post};
use crate::ccm_server::openssl::self_signed;
use crate::sdk::run;
use crate::support::ccm::Ccm;

/// Orders in three states, a CSR, a tag and a certificate at a service, beside the private ones.
async fn arrange(world: &Applicant) {
    let ccm = &world.ccm;
    let (certificate, key) = self_signed("b.example", "DNS:b.example", "30");
    let body = json!({"name": "own", "certificate": certificate, "private_key": key});
    let imported = post(ccm, &format!("{CERTIFICATES}/import"), &body).await;
    let imported = imported.expect(200).text("certificate_id");
    let tag = json!({"tag": {"key": "owner", "value": "test"}});
    post(ccm, &format!("/v3/scm/{imported}/tags"), &tag)
        .await
        .expect(200);
    let push = json!({"target_service": "WAF", "target_project": "cn-north-4"});
    post(ccm, &format!("{CERTIFICATES}/{imported}/push"), &push)
        .await
        .expect(204);
    world.buy("DV_SSL_CERT", "SINGLE_DOMAIN", 1).await;
    let waiting = world.buy("OV_SSL_CERT", "MULTI_DOMAIN", 2).await;
    world
        .apply(&waiting, &form("www.b.example"))
        .await
        .expect(200);
    let body = json!({
        "name": "front", "domain_name": "b.example", "private_key_algo": "EC_P256", "usage": "PERSONAL",
    });
    post(ccm, "/v3/scm/csr", &body).await.expect(201);
    let body = json!({
        "issuer_id": ccm.issuing(), "key_algorithm": "EC256", "signature_algorithm": "SHA256",
        "distinguished_name": {"common_name": "www.example.com"}, "validity": {"type": "DAY", "value": 90},
    });
    post(ccm, "/v1/private-certificates", &body)
        .await
        .expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_sent_is_answered_as_described_and_never_by_a_failure() {
    // With a name server of its own: what is sent may apply for names, and nobody outside is asked for them.
    let world = Applicant::now().await;
    arrange(&world).await;
    let ccm: &Ccm = &world.ccm;
    let login = json!({"auth": {"identity": {"methods": ["password"], "password": {"user": {
        "name": ccm.user.name, "password": ccm.password(), "domain": {"name": ccm.user.account},
    }}}}});
    let reply = Send::new("POST", "/v3/auth/tokens")
        .json(&login)
        .send(ccm)
        .await;
    let reply = reply.expect(201);
    // Of this test alone, and gone with it.
    let token = format!("X-Auth-Token:{}", reply.header("x-subject-token").unwrap());
    let url = format!("{}/openapi.json", ccm.endpoint());
    let arguments = [
        "run",
        &url,
        "--header",
        &token,
        "--checks",
        CHECKS,
        "--max-examples",
        "8",
        "--seed",
        "5",
        "--generation-database",
        "none",
        "--generation-with-security-parameters",
        "false",
        "--phases",
        "coverage,fuzzing,stateful",
        "--warnings",
        "off",
        "--no-color",
        "--request-timeout",
        "60",
    ];
    let output = run("schemathesis", &arguments, String::new()).await;
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    // Nothing passes because nothing was tried.
    let cases = said.lines().find_map(|line| line.split_once(" generated,"));
    let cases = cases.and_then(|(count, _)| count.trim().parse::<u32>().ok());
    assert!(cases.is_some_and(|cases| cases >= 1000), "{said}");
    let document = Send::new("GET", "/openapi.json").send(ccm).await;
    let document = document.expect(200).body;
    let paths = document["paths"].as_object().unwrap().values();
    let methods = paths.flat_map(|path| path.as_object().unwrap().values());
    let untried: Vec<&str> = methods
        .map(|method| method["x-chapter"].as_str().unwrap())
        .filter(|operation| ccm.running.requests_of(operation) == 0)
        .collect();
    assert!(untried.is_empty(), "{untried:?}");
}

/// No 5xx but the reference's own; status, type and form of every answer as described.
const CHECKS: &str = "fails_only_as_the_reference_does,status_code_conformance,content_type_conformance,response_schema_conformance";
