//! The life of SSL certificates in version 3 (CCM API 4.1).

use renewd::ccm_server::Faults;
use renewd::model::Seconds;
use serde_json::{Value, json};

use crate::ccm_server::applicant::{Applicant, form_with, order};
use crate::ccm_server::http::{post, put};
use crate::ccm_server::openssl::{EC, csr_and_key, self_signed};
use crate::ccm_server::scm_csr;
use crate::ccm_server::scm_deploy::resource;
use crate::support::answers::Walk;

const REGION: &str = "cn-north-7";

#[tokio::test]
async fn certificates_answer_as_the_reference_has_it() {
    life(Faults::none()).await;
}

/// All of it, on a server with these faults.
pub(super) async fn life(faults: Faults) {
    let world = Applicant::with("2027-01-01", faults).await;
    let mut walk = Walk::of(&world.ccm, "scm-v3");
    let own = bought(&world, &mut walk).await;
    tags(&mut walk, &own).await;
    deployments(&world, &mut walk, &own).await;
    succession(&world, &mut walk).await;
    endings(&world, &mut walk, &own).await;
    csrs(&world, &mut walk).await;
    walk.end(OTHERWISE);
}

/// One that is bought, applied for, cancelled, applied for again and issued.
async fn bought(world: &Applicant, walk: &mut Walk<'_>) -> String {
    let null = Value::Null;
    let mut buy = order("OV_SSL_CERT", "MULTI_DOMAIN", 3);
    buy["primary_domain_type"] = json!("SINGLE_DOMAIN");
    buy["single_domain_number"] = json!(2);
    let bought = walk.ok("4.1.3.1", &[], &buy).await;
    let id = bought.body["cert"][0]["cert_id"].as_str().unwrap();
    walk.ok("4.1.5.3", &[id], &null).await;
    walk.ok("4.1.5.1", &[], &null).await;
    let mut form = form_with("www.test.com", "sans", &json!("a.test.com;b.test.com"));
    form["key_algorithm"] = json!("RSA_2048");
    walk.ok("4.1.1.1", &[id], &form).await;
    world.look().await;
    walk.ok("4.1.5.3", &[id], &null).await;
    walk.ok("4.1.1.2", &[id], &null).await;
    walk.ok("4.1.1.1", &[id], &form).await;
    world.prove(id).await;
    world.pass(Seconds::minutes(1)).await;
    let describe = json!({"modify_key": "DESCRIPTION", "modify_value": "of the shop"});
    let path = format!("/v2/{}/scm/cert/{id}", world.ccm.user.project_id);
    put(&world.ccm, &path, &describe).await.expect(200);
    let shown = walk.ok("4.1.5.3", &[id], &null).await;
    assert_eq!(shown.text("status"), "ISSUED");
    walk.ok("4.1.5.5", &[id], &null).await;
    walk.ask("4.1.5.1", &[], "?status=ISSUED", &null).await;
    id.to_owned()
}

async fn tags(walk: &mut Walk<'_>, id: &str) {
    let null = Value::Null;
    let (certificate, key) = self_signed("www.test.com", "DNS:www.test.com", "900");
    let import = json!({"name": "test_cert", "certificate": certificate, "private_key": key});
    let other = walk.ok("4.1.5.2", &[], &import).await;
    let other = other.text("certificate_id");
    walk.ok("4.1.5.3", &[&other], &null).await;
    walk.ok("4.1.5.1", &[], &null).await;
    walk.ok("4.1.5.5", &[&other], &null).await;
    walk.ok("4.1.2.4", &[&other], &null).await;
    walk.ok("4.1.2.5", &[], &null).await;
    let tag = json!({"tag": {"key": "key1", "value": "value1"}});
    walk.ok("4.1.2.3", &[id], &tag).await;
    let two = json!({"action": "create", "tags": [
        {"key": "key1", "value": "value2"}, {"key": "key2", "value": "value2"},
    ]});
    walk.ok("4.1.2.2", &[&other], &two).await;
    for one in [id, &other] {
        walk.ok("4.1.2.4", &[one], &null).await;
    }
    walk.ok("4.1.2.5", &[], &null).await;
    let mut find = json!({
        "action": "filter", "tags": [{"key": "key1", "values": ["value1", "value2"]}],
    });
    let found = walk.ok("4.1.2.1", &[], &find).await;
    assert_eq!(found.body["total_count"], 2);
    find["action"] = json!("count");
    let counted = walk.ok("4.1.2.1", &[], &find).await;
    assert_eq!(counted.body["total_count"], 2);
    let remove = json!({"action": "delete", "tags": [{"key": "key2", "value": "value2"}]});
    walk.ok("4.1.2.2", &[&other], &remove).await;
    walk.ok("4.1.5.4", &[&other], &null).await;
}

async fn deployments(world: &Applicant, walk: &mut Walk<'_>, id: &str) {
    let push = json!({"target_service": "waf", "target_project": REGION});
    walk.ok("4.1.6.1", &[id], &push).await;
    let many = json!({"target_service": "waf", "target_projects": [REGION, "moon-1"]});
    walk.ok("4.1.6.2", &[id], &many).await;
    let front = resource(&world.ccm, "ELB", REGION, "front").await;
    resource(&world.ccm, "CDN", "", "www.test.com").await;
    let mut deploy = json!({
        "service_name": "ELB", "project_name": REGION, "resources": [{"id": front}],
    });
    walk.ok("4.1.6.3", &[id], &deploy).await;
    deploy["resources"][0]["id"] = json!("982b8a6a6ebc43809d82a46ca99aaeb7");
    walk.ok("4.1.6.3", &[id], &deploy).await;
    let cdn = json!({"service_name": "CDN", "resources": [{"domain_name": "www.test.com"}]});
    walk.ok("4.1.6.3", &[id], &cdn).await;
    let ask = json!({"certificate_ids": [id], "service_names": ["ALL"]});
    let told = walk.ok("4.1.6.4", &[], &ask).await;
    assert_eq!(told.body["results"][0]["total_num"], 2);
}

/// Of two years that were paid for, there are several certificates one after the other.
async fn succession(world: &Applicant, walk: &mut Walk<'_>) {
    let null = Value::Null;
    world.issued("www.years.example", 2).await;
    world.pass(Seconds::days(171)).await;
    let all = json!({"action": "filter", "without_any_tag": true, "limit": 50});
    let found = walk.ok("4.1.2.1", &[], &all).await;
    let found = found.body["resources"].as_array().unwrap().clone();
    let later = found
        .iter()
        .filter(|one| !one["resource_detail"]["origin_cert_id"].is_null());
    assert_eq!(later.count(), 1);
    walk.ask("4.1.5.1", &[], "?limit=50&sort_key=certStatus", &null)
        .await;
}

/// What was rejected and what was revoked; and one whose key was never here.
async fn endings(world: &Applicant, walk: &mut Walk<'_>, revoked: &str) {
    let null = Value::Null;
    let keyless = world.buy("DV_SSL_CERT", "SINGLE_DOMAIN", 1).await;
    let (request, _) = csr_and_key(EC, &["-subj", "/CN=d.test.com"]);
    let form = form_with("d.test.com", "csr", &json!(request));
    walk.ok("4.1.1.1", &[&keyless], &form).await;
    world.prove(&keyless).await;
    world.pass(Seconds::minutes(1)).await;
    walk.ok("4.1.5.5", &[&keyless], &null).await;
    let rejected = world.buy("DV_SSL_CERT", "SINGLE_DOMAIN", 1).await;
    let form = form_with("c.test.com", "sans", &json!(""));
    walk.ok("4.1.1.1", &[&rejected], &form).await;
    world.look().await;
    let path = format!("/applications/{rejected}/reject");
    let reason = json!({"reason": "the names are those of somebody else"});
    assert_eq!(world.manage("POST", &path, &reason).await.0, 200);
    let all = json!({"action": "filter", "without_any_tag": true, "limit": 50});
    walk.ok("4.1.2.1", &[], &all).await;
    let path = format!(
        "/v2/{}/scm/cert/{revoked}/revoke",
        world.ccm.user.project_id
    );
    let reason = json!({"reason": "certificate information filled incorrectly"});
    post(&world.ccm, &path, &reason).await.expect(200);
    for id in [rejected.as_str(), revoked] {
        walk.ok("4.1.5.3", &[id], &null).await;
    }
    walk.ask("4.1.5.1", &[], "?limit=50", &null).await;
    walk.ok("4.1.5.4", &[revoked], &null).await;
}

async fn csrs(world: &Applicant, walk: &mut Walk<'_>) {
    let null = Value::Null;
    let made = walk.ok("4.1.4.1", &[], &scm_csr::order("RSA_2048")).await;
    let id = made.text("id");
    world.ccm.advance(Seconds(5));
    walk.ok("4.1.4.4", &[&id], &json!({"name": "renamed"}))
        .await;
    walk.ok("4.1.4.3", &[&id], &null).await;
    walk.ok("4.1.4.7", &[&id], &null).await;
    let personal = json!({
        "name": "own", "domain_name": "www.test.com", "private_key_algo": "EC_P256", "usage": "PERSONAL",
    });
    let own = walk.ok("4.1.4.1", &[], &personal).await.text("id");
    walk.ok("4.1.4.4", &[&own], &json!({"name": "my own"}))
        .await;
    let (request, key) = csr_and_key(EC, &["-subj", "/CN=www.test.com"]);
    let upload = json!({"name": "brought", "csr": request, "private_key": key});
    let brought = walk.ok("4.1.4.6", &[], &upload).await.text("id");
    walk.ok("4.1.4.3", &[&brought], &null).await;
    walk.ok("4.1.4.2", &[], &null).await;
    walk.ok("4.1.4.5", &[&brought], &null).await;
}

/// Where answers are otherwise than the reference has them, and why.
const OTHERWISE: &[(&str, &str)] = &[
    (
        "4.1.2.1 resources is missing",
        "only the number is asked for (line 856)",
    ),
    (
        "4.1.2.1 resources[].resource_detail.cert_issued_time is not as the example, a number",
        "a string in the table (line 919), a number in the example (line 984)",
    ),
    (
        "4.1.2.1 resources[].resource_detail.expired_time is not as the example, a number",
        "the same (lines 907, 990)",
    ),
    (
        "4.1.2.1 resources[].resource_detail.cert_type is none of the enumeration",
        "there are DV certificates too (4.1.3.1)",
    ),
    (
        "4.1.2.1 resources[].resource_detail.enterprise_project_id is not as the example, id of PCA",
        "all are in the default one, as in the example of 4.1.5.3 (line 3178)",
    ),
    (
        "4.1.2.1 resources[].resource_detail.wildcard_number is beyond 1 to 100",
        "there may be none (line 910 describes something else), as in the example of 4.1.5.1",
    ),
    (
        "4.1.2.4 tags has not 1 to 20 items",
        "a certificate may have no tags (line 1375)",
    ),
    (
        "4.1.2.5 tags has not 1 to 20 items",
        "an account may have none (line 1499)",
    ),
    (
        "4.1.4.2 csr_list[].sans is beyond 1 to 4096",
        "empty in the example (line 2017), in spite of the table (line 1967)",
    ),
    (
        "4.1.4.3 sans is beyond 1 to 4096",
        "empty in the example (line 2163), in spite of the table (line 2118)",
    ),
    (
        "4.1.4.4 sans is beyond 1 to 4096",
        "as shown (4.1.4.3), which has no other example",
    ),
    (
        "4.1.5.1 certificates[].enterprise_project_id is in neither table nor example",
        "the SDK has it, and the example of 4.1.5.3 (line 3178)",
    ),
    (
        "4.1.5.5 private_key is not as the example, RSA key",
        "a key on a curve is PKCS #8: the form inside lacks its curve (line 3368)",
    ),
    (
        "4.1.6.2 results[].message is not as the example, success",
        "of a region that failed it says why, as in the example of 4.1.6.3 (line 3610)",
    ),
    (
        "4.1.6.3 failure_list has not 1 to 20 items",
        "nothing may fail (line 3755)",
    ),
];
