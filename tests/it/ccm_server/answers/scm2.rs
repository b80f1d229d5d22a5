//! The life of SSL certificates in version 2 (CCM API 7.1).

use renewd::ccm_server::Faults;
use renewd::model::Seconds;
use serde_json::{Value, json};

use crate::ccm_server::applicant::{Applicant, form};
use crate::ccm_server::openssl::{EC, csr, self_signed};
use crate::support::answers::Walk;

#[tokio::test]
async fn certificates_of_version_2_answer_as_the_reference_has_it() {
    life(Faults::none()).await;
}

/// All of it, on a server with these faults.
pub(super) async fn life(faults: Faults) {
    let world = Applicant::with("2027-01-01", faults).await;
    let mut walk = Walk::of(&world.ccm, "scm-v2");
    let null = Value::Null;
    let all = walk.ok("7.1.5", &[], &null).await;
    let product = all.body["type_list"][0]["product_id"].as_str().unwrap();
    walk.ok("7.1.6", &[product], &null).await;
    let id = applied(&world, &mut walk).await;
    issued(&world, &mut walk, &id).await;

    let (certificate, key) = self_signed("www.test.com", "DNS:www.test.com", "900");
    let upload = json!({"cert_name": "test", "cert": certificate, "private_key": key});
    let own = walk.ok("7.1.15", &[], &upload).await.text("cert_id");
    let request = json!({"csr": csr(EC, &["-subj", "/CN=a.example1.com"])});
    walk.ok("7.1.8", &[], &request).await;
    for id in [&id, &own] {
        walk.ok("7.1.3", &[id], &null).await;
    }
    walk.ok("7.1.2", &[], &null).await;
    walk.ok("7.1.14", &[&own], &null).await;

    let reason = json!({"reason": "certificate information filled incorrectly"});
    walk.ok("7.1.16", &[&id], &reason).await;
    walk.ok("7.1.3", &[&id], &null).await;
    walk.ok("7.1.19", &[&id], &null).await;
    walk.ok("7.1.21", &[&id], &null).await;
    walk.ok("7.1.10", &[&id], &null).await;
    walk.ok("7.1.3", &[&id], &null).await;
    walk.ok("7.1.12", &[&own], &null).await;
    walk.end(OTHERWISE);
}

/// One that is bought and applied for twice; the second time by mail.
async fn applied(world: &Applicant, walk: &mut Walk<'_>) -> String {
    let null = Value::Null;
    let buy = json!({
        "cert_brand": "GLOBALSIGN", "cert_type": "OV_SSL_CERT", "domain_type": "MULTI_DOMAIN", "effective_time": 1,
        "domain_numbers": 5, "order_number": 1, "agree_privacy_protection": true,
    });
    let bought = walk.ok("7.1.1", &[], &buy).await;
    let id = bought.body["cert"][0]["cert_id"].as_str().unwrap();
    walk.ok("7.1.10", &[id], &null).await;
    let mut form = form("www.test.com");
    form["sans"] = json!("abc.test.com;*.xyz.test.com");
    form["csr"] = json!(csr(EC, &["-subj", "/CN=www.test.com"]));
    walk.ok("7.1.9", &[id], &form).await;
    let picture = b"\x89PNG picture".to_vec();
    walk.send("7.1.13", &[id, "TL"], "", picture).await;
    walk.ok("7.1.10", &[id], &null).await;
    form["domain_method"] = json!("email");
    walk.ok("7.1.7", &[id], &form).await;
    world.look().await;
    walk.ok("7.1.21", &[id], &null).await;
    walk.ok("7.1.3", &[id], &null).await;
    walk.ok("7.1.11", &[id], &null).await;
    form["domain_method"] = json!("dns");
    form["csr"] = json!("");
    form["auto_dns_auth"] = json!(true);
    walk.ok("7.1.7", &[id], &form).await;
    world.look().await;
    walk.ok("7.1.21", &[id], &null).await;
    walk.ok("7.1.3", &[id], &null).await;
    walk.ok("7.1.2", &[], &null).await;
    id.to_owned()
}

/// It is issued, named, gets one domain more and goes to two services.
async fn issued(world: &Applicant, walk: &mut Walk<'_>, id: &str) {
    let null = Value::Null;
    world.prove(id).await;
    world.pass(Seconds::minutes(1)).await;
    for (key, value) in [("CERT_NAME", "ssssaaaa"), ("DESCRIPTION", "of the shop")] {
        let modify = json!({"modify_key": key, "modify_value": value});
        walk.ok("7.1.4", &[id], &modify).await;
    }
    let more = json!({
        "ori_sans": "abc.test.com;*.xyz.test.com", "add_sans": "c.test.com", "email": "tom@example.com",
    });
    walk.ok("7.1.20", &[id], &more).await;
    walk.ok("7.1.3", &[id], &null).await;
    world.prove(id).await;
    world.pass(Seconds::minutes(1)).await;
    assert_eq!(world.shown(id).await["status"], "ISSUED");
    walk.ok("7.1.3", &[id], &null).await;
    for service in ["WAF", "CDN"] {
        let push = json!({"service_type": service, "remote_project": "ap-southeast-1"});
        walk.ok("7.1.17", &[id], &push).await;
    }
    walk.ok("7.1.18", &[id], &null).await;
    walk.ok("7.1.14", &[id], &null).await;
    walk.ok("7.1.2", &[], &null).await;
}

/// Where answers are otherwise than the reference has them, and why.
const OTHERWISE: &[(&str, &str)] = &[
    (
        "7.1.2 free_remain is not as the example, a string",
        "an integer in the table (line 9196), a string in the example (line 9228)",
    ),
    (
        "7.1.2 order_list[].order_state is missing",
        "it is order_status in the table (line 9212), order_state in the example (line 9238)",
    ),
    (
        "7.1.21 record_name is not as the example, _dnsauth of a domain",
        "there is no record where the proof is by mail (lines 10781, 10794)",
    ),
];
