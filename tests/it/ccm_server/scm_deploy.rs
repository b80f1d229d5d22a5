//! Certificates pushed and deployed to ELB, WAF and CDN (CCM API 4.1.6).

use renewd::ccm_server::NewResource;
use renewd::model::Seconds;
use serde_json::{Value, json};

use super::http::{Reply, Send, date, delete, get, post};
use super::openssl::self_signed;
use crate::support::ccm::{Ccm, Wanted};

const DEPLOYED: &str = "/v3/scm/deployed-resources";
const REGION: &str = "ap-southeast-3";

/// Adds a resource of the default account; answers its id.
pub(super) async fn resource(ccm: &Ccm, service: &str, region: &str, name: &str) -> String {
    let new = NewResource {
        account: "default".to_owned(),
        service: service.to_owned(),
        region: region.to_owned(),
        name: name.to_owned(),
        kind: None,
        enterprise_project: "0".to_owned(),
    };
    let added = ccm.running.admin().add_resource(new).await.unwrap();
    added["id"].as_str().unwrap().to_owned()
}

/// Imports a certificate; answers its id, PEM and key.
async fn imported(ccm: &Ccm, names: &str) -> (String, String, String) {
    let (certificate, key) = self_signed("www.example.com", names, "900");
    let id = ccm
        .import_scm("www", "UPLOAD", &certificate, "", &key)
        .await;
    (id, certificate, key)
}

fn path(id: &str, what: &str) -> String {
    format!("/v3/scm/certificates/{id}/{what}")
}

async fn push(ccm: &Ccm, id: &str, service: &str, project: &str) -> Reply {
    let body = json!({"target_service": service, "target_project": project});
    post(ccm, &path(id, "push"), &body).await
}

/// The `deployed_resources` of one certificate.
async fn deployed(ccm: &Ccm, id: &str, services: &[&str]) -> Value {
    let body = json!({"certificate_ids": [id], "service_names": services});
    let answer = post(ccm, DEPLOYED, &body).await.expect(200).body;
    assert_eq!(answer["results"][0]["certificate_id"], id);
    answer["results"][0].clone()
}

#[tokio::test]
async fn a_deployed_certificate_is_served_with_its_key_and_read_back() {
    let ccm = Ccm::start().await;
    let (id, certificate, key) = imported(&ccm, "DNS:www.example.com,DNS:*.example.com").await;
    let listener = resource(&ccm, "elb", REGION, "front").await;
    let second = resource(&ccm, "ELB", "cn-north-4", "back").await;
    let firewall = resource(&ccm, "WAF", REGION, "www.example.com").await;
    resource(&ccm, "cdn", "", "cdn.example.com").await;
    let admin = ccm.running.admin();
    assert!(admin.served(&listener).await.unwrap().is_none());
    for body in [
        json!({"service_name": "ELB", "project_name": REGION, "resources": [{"id": listener}]}),
        // Without a project, the resource is found wherever it is.
        json!({"service_name": "elb", "resources": [{"id": second}]}),
        json!({
            "service_name": "waf", "project_name": REGION,
            "resources": [{"id": firewall, "type": "cloud", "enterprise_project_id": "0"}],
        }),
        json!({"service_name": "CDN", "resources": [{"domain_name": "cdn.example.com"}]}),
    ] {
        let done = post(&ccm, &path(&id, "deploy"), &body).await.expect(200);
        assert_eq!(done.body, json!({"failure_list": []}), "{body}");
    }
    let served = admin.served(&listener).await.unwrap().unwrap();
    assert_eq!(served.certificate, certificate);
    assert_eq!(served.private_key.expose_str().unwrap(), key);

    let all = deployed(&ccm, &id, &["ALL"]).await;
    assert_eq!(all["total_num"], 4);
    let region = |region: &str, id: &str, name: &str| {
        json!({
            "region_id": region, "is_error": false,
            "resources": [{"resource_id": id, "resource_name": name}],
        })
    };
    assert_eq!(
        all["deployed_resources"][0],
        json!({
            "service": "ELB", "resource_num": 2, "resource_location": "region",
            "region_resources": [region(REGION, &listener, "front"), region("cn-north-4", &second, "back")],
        })
    );
    assert_eq!(all["deployed_resources"][1]["service"], "WAF");
    let cdn = &all["deployed_resources"][2];
    assert_eq!(cdn["resource_location"], "global");
    assert_eq!(cdn["region_resources"][0]["region_id"], "global");
    let waf = deployed(&ccm, &id, &["WAF"]).await;
    assert_eq!(waf["total_num"], 1);
    assert_eq!(waf["deployed_resources"].as_array().unwrap().len(), 1);

    // Another certificate takes the place of the first, which is then nowhere in this region.
    let (next, _, _) = imported(&ccm, "DNS:www.example.com").await;
    let body = json!({"service_name": "ELB", "resources": [{"id": listener}]});
    post(&ccm, &path(&next, "deploy"), &body).await.expect(200);
    assert_eq!(deployed(&ccm, &next, &["ELB"]).await["total_num"], 1);
    assert_eq!(deployed(&ccm, &id, &["ELB"]).await["total_num"], 1);
    // What serves goes on serving when SCM forgets the certificate.
    delete(&ccm, &format!("/v3/scm/certificates/{next}"))
        .await
        .expect(204);
    assert!(admin.served(&listener).await.unwrap().is_some());
}

#[tokio::test]
async fn what_fails_for_one_resource_is_told_and_the_others_are_deployed() {
    let ccm = Ccm::start().await;
    let (id, ..) = imported(&ccm, "DNS:www.example.com").await;
    let good = resource(&ccm, "ELB", REGION, "front").await;
    let elsewhere = resource(&ccm, "ELB", "cn-north-4", "back").await;
    let missing = "982b8a6a6ebc43809d82a46ca99aaeb7";
    let body = json!({
        "service_name": "ELB", "project_name": REGION,
        "resources": [{"id": missing}, {"id": good}, {"id": elsewhere}],
    });
    let done = post(&ccm, &path(&id, "deploy"), &body).await.expect(200);
    let failed =
        |id: &str| json!({"resource": id, "failure_info": "SCM.0103:This resource is not exist."});
    assert_eq!(
        done.body,
        json!({"failure_list": [failed(missing), failed(&elsewhere)]})
    );
    assert_eq!(deployed(&ccm, &id, &["ELB"]).await["total_num"], 1);

    resource(&ccm, "CDN", "", "www.example.com").await;
    resource(&ccm, "CDN", "", "cdn.example.org").await;
    let body = json!({
        "service_name": "CDN",
        "resources": [{"domain_name": "www.example.com"}, {"domain_name": "cdn.example.org"}],
    });
    let done = post(&ccm, &path(&id, "deploy"), &body).await.expect(200);
    assert_eq!(
        done.body["failure_list"],
        json!([{
            "resource": "cdn.example.org",
            "failure_info": "SCM.0106:The resource domain is not equals the cert.",
        }])
    );
    let firewall = resource(&ccm, "WAF", REGION, "www.example.com").await;
    for (kind, project) in [("premium", "0"), ("cloud", "other")] {
        let body = json!({
            "service_name": "WAF",
            "resources": [{"id": firewall, "type": kind, "enterprise_project_id": project}],
        });
        let done = post(&ccm, &path(&id, "deploy"), &body).await.expect(200);
        assert_eq!(done.body["failure_list"][0]["resource"], firewall.as_str());
    }
}

#[tokio::test]
async fn a_push_puts_the_certificate_there_and_a_batch_tells_of_each_region() {
    let ccm = Ccm::start().await;
    let (id, ..) = imported(&ccm, "DNS:www.example.com").await;
    // In the case of letters of the reference's example, and its region.
    let pushed = push(&ccm, &id, "waf", "cn-north-7").await.expect(204);
    assert!(pushed.bytes.is_empty());
    push(&ccm, &id, "CDN", "anywhere").await.expect(204);
    let body =
        json!({"target_service": "elb", "target_projects": [REGION, "moon-1", "cn-north-4"]});
    let done = post(&ccm, &path(&id, "batch-push"), &body)
        .await
        .expect(200);
    let result = |project: &str, message: &str| json!({"project_name": project, "cert_id": id, "message": message});
    assert_eq!(
        done.body["results"],
        json!([
            result(REGION, "success"),
            result("moon-1", "SCM.0204:ELB does not support this region."),
            result("cn-north-4", "success"),
        ])
    );
    // It is there, but serves nowhere yet.
    assert_eq!(deployed(&ccm, &id, &["ALL"]).await["total_num"], 0);
}

#[tokio::test]
async fn what_breaks_a_limit_of_a_push_is_refused() {
    let ccm = Ccm::start().await;
    let (id, ..) = imported(&ccm, "DNS:www.example.com").await;
    push(&ccm, &id, "OBS", REGION)
        .await
        .refused(400, "SCM.0030");
    push(&ccm, &id, "ELB", "moon-1")
        .await
        .refused(400, "SCM.0204");
    push(&ccm, &id, "WAF", "moon-1")
        .await
        .refused(400, "SCM.0224");
    push(&ccm, &id, "ELB", "").await.refused(400, "SCM.0061");
    push(&ccm, &id, "ELB", &"x".repeat(256))
        .await
        .refused(400, "SCM.0061");
    push(&ccm, "scs0000000000000", "ELB", REGION)
        .await
        .refused(404, "SCM.0094");
    post(&ccm, &path(&id, "push"), &json!({"target_service": "ELB"}))
        .await
        .refused(400, "SCM.0061");
    post(&ccm, &path(&id, "push"), &json!({"target_project": REGION}))
        .await
        .refused(400, "SCM.0030");
    let eleven: Vec<String> = (0..11).map(|nth| format!("r{nth}")).collect();
    for (projects, code) in [
        (json!([]), "SCM.0505"),
        (json!(null), "SCM.0505"),
        (json!(eleven), "SCM.0505"),
        (json!([REGION, REGION]), "SCM.0507"),
        (json!(["x".repeat(33)]), "SCM.0061"),
        (json!([""]), "SCM.0061"),
    ] {
        let body = json!({"target_service": "ELB", "target_projects": projects});
        post(&ccm, &path(&id, "batch-push"), &body)
            .await
            .refused(400, code);
    }
}

#[tokio::test]
async fn what_breaks_a_limit_of_a_deployment_is_refused() {
    let ccm = Ccm::start().await;
    let (id, ..) = imported(&ccm, "DNS:www.example.com").await;
    let one = "982b8a6a6ebc43809d82a46ca99aaeb7";
    let many: Vec<Value> = (0..21).map(|nth| json!({"id": nth.to_string()})).collect();
    let waf = |resource: Value| json!({"service_name": "WAF", "resources": [resource]});
    for (body, code) in [
        (json!({"resources": [{"id": one}]}), "SCM.0030"),
        (
            json!({"service_name": "OBS", "resources": [{"id": one}]}),
            "SCM.0030",
        ),
        (json!({"service_name": "ELB"}), "SCM.0505"),
        (json!({"service_name": "ELB", "resources": []}), "SCM.0505"),
        (
            json!({"service_name": "ELB", "resources": many}),
            "SCM.0505",
        ),
        (
            json!({"service_name": "ELB", "resources": [{"id": one}, {"id": one}]}),
            "SCM.0507",
        ),
        (
            json!({"service_name": "ELB", "resources": [{"domain_name": "www.example.com"}]}),
            "SCM.0005",
        ),
        (
            json!({"service_name": "CDN", "resources": [{"id": one}]}),
            "SCM.0005",
        ),
        (
            waf(json!({"id": one, "enterprise_project_id": "0"})),
            "SCM.0005",
        ),
        (waf(json!({"id": one, "type": "cloud"})), "SCM.0005"),
        (
            waf(json!({"type": "cloud", "enterprise_project_id": "0"})),
            "SCM.0005",
        ),
        (
            waf(json!({"id": one, "type": "hybrid", "enterprise_project_id": "0"})),
            "SCM.0005",
        ),
        (
            json!({"service_name": "ELB", "resources": [{"id": "x".repeat(64)}]}),
            "SCM.0005",
        ),
        (
            json!({"service_name": "ELB", "project_name": "moon-1", "resources": [{"id": one}]}),
            "SCM.0204",
        ),
        (
            json!({"service_name": "ELB", "project_name": "", "resources": [{"id": one}]}),
            "SCM.0061",
        ),
    ] {
        let reply = post(&ccm, &path(&id, "deploy"), &body).await;
        assert_eq!(
            (reply.status, reply.body["error_code"].as_str()),
            (400, Some(code)),
            "{body}: {}",
            reply.body
        );
    }
}

#[tokio::test]
async fn a_question_where_certificates_are_has_its_limits() {
    let ccm = Ccm::start().await;
    let (id, ..) = imported(&ccm, "DNS:www.example.com").await;
    let unknown = "scs0000000000000";
    let many: Vec<String> = (0..51).map(|nth| format!("scs{nth:013}")).collect();
    for (ids, services, code) in [
        (json!([]), json!(["ALL"]), "SCM.0502"),
        (json!(null), json!(["ALL"]), "SCM.0505"),
        (json!(many), json!(["ALL"]), "SCM.0505"),
        (json!([id, id]), json!(["ALL"]), "SCM.0507"),
        (json!([id, unknown]), json!(["ALL"]), "SCM.0506"),
        (json!(["short"]), json!(["ALL"]), "SCM.0506"),
        (json!([id]), json!([]), "SCM.0501"),
        (json!([id]), json!(["OBS"]), "SCM.0501"),
        (json!([id]), json!(["ELBELB"]), "SCM.0501"),
        (json!([id]), json!(["ELB", "elb"]), "SCM.0507"),
        (json!([id]), json!(null), "SCM.0505"),
    ] {
        let body = json!({"certificate_ids": ids, "service_names": services});
        let reply = post(&ccm, DEPLOYED, &body).await;
        assert_eq!(
            (reply.status, reply.body["error_code"].as_str()),
            (400, Some(code)),
            "{body}: {}",
            reply.body
        );
        let said = reply.text("error_msg");
        let open = said.contains("{0}") || said.ends_with(':');
        assert!(!open, "{body}: {said}");
    }
    let body = json!({"certificate_ids": [id, unknown], "service_names": ["ALL"]});
    let said = post(&ccm, DEPLOYED, &body).await.text("error_msg");
    assert!(
        said.ends_with(&format!("cannot be found:{unknown}")),
        "{said}"
    );
    let body = json!({"certificate_ids": [id], "service_names": ["OBS"]});
    let said = post(&ccm, DEPLOYED, &body).await.text("error_msg");
    assert!(said.ends_with("only supports: WAF/CDN/ELB"), "{said}");
    let (certificate, key) = self_signed("www.example.com", "DNS:www.example.com", "30");
    let revoked = ccm
        .import_scm("gone", "REVOKE", &certificate, "", &key)
        .await;
    let body = json!({"certificate_ids": [id, revoked], "service_names": ["ELB"]});
    let reply = post(&ccm, DEPLOYED, &body).await;
    reply.refused(400, "SCM.0508");
    assert_eq!(reply.text("error_detail"), revoked);
    push(&ccm, &revoked, "ELB", REGION)
        .await
        .refused(400, "SCM.0010");
}

#[tokio::test]
async fn what_has_ended_or_has_no_key_is_not_pushed() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("ccm");
    let ccm = Wanted::new().at("2027-01-01").state(&state).start().await;
    let (id, ..) = imported(&ccm, "DNS:www.example.com").await;
    let file = sqlx::sqlite::SqliteConnectOptions::new().filename(state.join("ccm.db"));
    let pool = sqlx::SqlitePool::connect_with(file).await.unwrap();
    // As a certificate is whose CSR came from elsewhere.
    sqlx::query("UPDATE scm_certificate SET key = NULL")
        .execute(&pool)
        .await
        .unwrap();
    push(&ccm, &id, "ELB", REGION)
        .await
        .refused(400, "SCM.0059");
    let listener = resource(&ccm, "ELB", REGION, "front").await;
    let body = json!({"service_name": "ELB", "resources": [{"id": listener}]});
    post(&ccm, &path(&id, "deploy"), &body)
        .await
        .refused(400, "SCM.0059");
    ccm.advance(Seconds::days(2000));
    push(&ccm, &id, "ELB", REGION)
        .await
        .refused(400, "SCM.0042");
}

#[tokio::test]
async fn a_push_to_cdn_takes_an_action_of_its_own() {
    let ccm = Ccm::start().await;
    let (id, ..) = imported(&ccm, "DNS:www.example.com").await;
    let admin = ccm.running.admin();
    for (name, actions, to_cdn) in [
        ("narrow", "scm:cert:push", false),
        (
            "wide",
            "scm:cert:push cdn:configuration:queryHttpsConf",
            true,
        ),
    ] {
        let user = admin.add_user_with(name, "default", actions).await.unwrap();
        let send = |service: &str| {
            let body = json!({"target_service": service, "target_project": REGION});
            let secret = user.secret_key.expose_str().unwrap();
            Send::new("POST", &path(&id, "push"))
                .json(&body)
                .signed(&ccm, &user.access_key, secret, &date(&ccm))
                .send(&ccm)
        };
        send("WAF").await.expect(204);
        let reply = send("CDN").await;
        if to_cdn {
            reply.expect(204);
        } else {
            reply.refused(400, "SCM.0212");
        }
    }
}

#[tokio::test]
async fn resources_of_another_account_are_out_of_reach() {
    let ccm = Ccm::start().await;
    let (id, ..) = imported(&ccm, "DNS:www.example.com").await;
    let new = NewResource {
        account: "elsewhere".to_owned(),
        service: "ELB".to_owned(),
        region: REGION.to_owned(),
        name: "front".to_owned(),
        kind: None,
        enterprise_project: "0".to_owned(),
    };
    let admin = ccm.running.admin();
    let foreign = admin.add_resource(new).await.unwrap();
    let body = json!({"service_name": "ELB", "resources": [{"id": foreign["id"]}]});
    let done = post(&ccm, &path(&id, "deploy"), &body).await.expect(200);
    assert_eq!(done.body["failure_list"].as_array().unwrap().len(), 1);
    let all = admin.resources("elsewhere").await.unwrap();
    assert_eq!(all.len(), 1);
    assert_eq!(all[0]["certificate_id"], Value::Null);
    assert!(admin.resources("nobody").await.unwrap().is_empty());
}

#[tokio::test]
async fn what_was_pushed_and_deployed_survives_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("ccm");
    let ccm = Wanted::new().state(&state).start().await;
    let (id, ..) = imported(&ccm, "DNS:www.example.com").await;
    let listener = resource(&ccm, "ELB", REGION, "front").await;
    let body = json!({"service_name": "ELB", "resources": [{"id": listener}]});
    post(&ccm, &path(&id, "deploy"), &body).await.expect(200);
    let tag = json!({"tag": {"key": "env", "value": "prod"}});
    post(&ccm, &format!("/v3/scm/{id}/tags"), &tag)
        .await
        .expect(200);
    ccm.stop().await;
    let ccm = Wanted::new().state(&state).start().await;
    assert_eq!(deployed(&ccm, &id, &["ELB"]).await["total_num"], 1);
    assert_eq!(
        get(&ccm, &format!("/v3/scm/{id}/tags"))
            .await
            .expect(200)
            .body["tags"][0]["value"],
        "prod"
    );
}
