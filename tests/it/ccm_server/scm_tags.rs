//! Tags of certificates, and certificates by their tags (CCM API 4.1.2).

use serde_json::{Value, json};

use super::http::{delete, get, post};
use super::openssl::self_signed;
use crate::support::ccm::{Ccm, Wanted};
use renewd::model::Seconds;

const FILTER: &str = "/v3/scm/resource_instances/action";

/// A server on which the clock goes on by a second with each certificate, and its certificates by name.
async fn with_certificates(names: &[&str]) -> (Ccm, Vec<String>) {
    let ccm = Wanted::new().at("2027-01-01").start().await;
    let (certificate, key) = self_signed("www.example.com", "DNS:www.example.com", "900");
    let mut ids = Vec::new();
    for name in names {
        let id = ccm.import_scm(name, "UPLOAD", &certificate, "", &key).await;
        ids.push(id);
        ccm.advance(Seconds(1));
    }
    (ccm, ids)
}

async fn tag(ccm: &Ccm, id: &str, tags: &[(&str, &str)]) {
    let tags: Vec<Value> = tags
        .iter()
        .map(|(key, value)| json!({"key": key, "value": value}))
        .collect();
    let body = json!({"action": "create", "tags": tags});
    let done = post(ccm, &format!("/v3/scm/{id}/tags/action"), &body)
        .await
        .expect(200);
    assert_eq!(done.body, json!({"desc": "success"}));
}

async fn tags_of(ccm: &Ccm, id: &str) -> Value {
    get(ccm, &format!("/v3/scm/{id}/tags"))
        .await
        .expect(200)
        .body["tags"]
        .clone()
}

#[tokio::test]
async fn tags_are_set_changed_listed_and_removed() {
    let (ccm, ids) = with_certificates(&["one", "two"]).await;
    let single = json!({"tag": {"key": "env", "value": "test"}});
    let path = format!("/v3/scm/{}/tags", ids[0]);
    post(&ccm, &path, &single).await.expect(200);
    tag(&ccm, &ids[0], &[("env", "prod"), ("team", "")]).await;
    tag(&ccm, &ids[1], &[("env", "Größe 1/2")]).await;
    assert_eq!(
        tags_of(&ccm, &ids[0]).await,
        json!([{"key": "env", "value": "prod"}, {"key": "team", "value": ""}])
    );
    assert_eq!(
        get(&ccm, "/v3/scm/tags").await.expect(200).body,
        json!({"tags": [{"key": "env", "values": ["Größe 1/2", "prod"]}, {"key": "team", "values": [""]}]})
    );
    let remove = |tags: Value| json!({"action": "delete", "tags": tags});
    let batch = format!("{path}/action");
    // All or nothing.
    let body = remove(json!([{"key": "env"}, {"key": "missing"}]));
    post(&ccm, &batch, &body).await.refused(400, "SCM.0301");
    let body = remove(json!([{"key": "env", "value": "test"}]));
    post(&ccm, &batch, &body).await.refused(400, "SCM.0301");
    assert_eq!(tags_of(&ccm, &ids[0]).await.as_array().unwrap().len(), 2);
    let body = remove(json!([{"key": "env", "value": "prod"}, {"key": "team"}]));
    post(&ccm, &batch, &body).await.expect(200);
    assert_eq!(tags_of(&ccm, &ids[0]).await, json!([]));
    // They end with their certificate.
    delete(&ccm, &format!("/v3/scm/certificates/{}", ids[1]))
        .await
        .expect(204);
    assert_eq!(
        get(&ccm, "/v3/scm/tags").await.expect(200).body,
        json!({"tags": []})
    );
}

#[tokio::test]
async fn a_certificate_has_at_most_twenty_tags() {
    let (ccm, ids) = with_certificates(&["one"]).await;
    let keys: Vec<String> = (0..20).map(|nth| format!("k{nth:02}")).collect();
    let tags: Vec<(&str, &str)> = keys.iter().map(|key| (key.as_str(), "v")).collect();
    tag(&ccm, &ids[0], &tags).await;
    let path = format!("/v3/scm/{}/tags", ids[0]);
    let one = |key: &str| json!({"tag": {"key": key, "value": "w"}});
    post(&ccm, &path, &one("k20"))
        .await
        .refused(400, "SCM.0302");
    post(&ccm, &path, &one("k19")).await.expect(200);
    assert_eq!(tags_of(&ccm, &ids[0]).await.as_array().unwrap().len(), 20);
}

#[tokio::test]
async fn what_breaks_a_limit_of_a_tag_is_refused() {
    let (ccm, ids) = with_certificates(&["one"]).await;
    let single = format!("/v3/scm/{}/tags", ids[0]);
    let batch = format!("{single}/action");
    let long = |count: usize| "x".repeat(count);
    let many: Vec<Value> = (0..21).map(|n| json!({"key": n.to_string()})).collect();
    let cases = [
        (&single, json!({}), "SCM.0323"),
        (&single, json!({"tag": []}), "SCM.0323"),
        (&single, json!({"tag": {}}), "SCM.0310"),
        (&single, json!({"tag": {"key": ""}}), "SCM.0310"),
        (&single, json!({"tag": {"key": long(129)}}), "SCM.0310"),
        (&single, json!({"tag": {"key": "a/b"}}), "SCM.0306"),
        (&single, json!({"tag": {"key": "a\tb"}}), "SCM.0306"),
        (
            &single,
            json!({"tag": {"key": "a", "value": long(256)}}),
            "SCM.0309",
        ),
        (
            &single,
            json!({"tag": {"key": "a", "value": "b*"}}),
            "SCM.0305",
        ),
        (&batch, json!({"tags": [{"key": "a"}]}), "SCM.0304"),
        (
            &batch,
            json!({"action": "update", "tags": [{"key": "a"}]}),
            "SCM.0304",
        ),
        (&batch, json!({"action": "create"}), "SCM.0313"),
        (&batch, json!({"action": "create", "tags": []}), "SCM.0313"),
        (
            &batch,
            json!({"action": "create", "tags": many}),
            "SCM.0313",
        ),
        (
            &batch,
            json!({"action": "create", "tags": [{"key": "a"}, {"key": "a"}]}),
            "SCM.0311",
        ),
    ];
    for (path, body, code) in cases {
        let reply = post(&ccm, path, &body).await;
        assert_eq!(
            (reply.status, reply.body["error_code"].as_str()),
            (400, Some(code)),
            "{body}: {}",
            reply.body
        );
    }
    assert_eq!(tags_of(&ccm, &ids[0]).await, json!([]));
    let body = json!({"tag": {"key": "a", "value": "b"}});
    post(&ccm, "/v3/scm/scs0000000000000/tags", &body)
        .await
        .refused(404, "SCM.0094");
    get(&ccm, "/v3/scm/scs0000000000000/tags")
        .await
        .refused(404, "SCM.0094");
    post(&ccm, "/v3/scm/short/tags", &body)
        .await
        .refused(400, "SCM.0020");
}

/// The names that a filter finds, newest first, after holding the count against them.
async fn found(ccm: &Ccm, filter: Value) -> String {
    let listed = post(ccm, FILTER, &filter).await.expect(200).body;
    let mut count = filter.clone();
    count["action"] = json!("count");
    let counted = post(ccm, FILTER, &count).await.expect(200).body;
    assert_eq!(
        counted,
        json!({"total_count": listed["total_count"]}),
        "{filter}"
    );
    let names = listed["resources"].as_array().unwrap().iter();
    let names: Vec<&str> = names
        .map(|resource| resource["resource_name"].as_str().unwrap())
        .collect();
    assert_eq!(listed["total_count"], names.len(), "{filter}");
    names.join(" ")
}

#[tokio::test]
async fn keys_go_together_by_and_or_as_the_reference_says_and_values_are_alternatives() {
    let (ccm, ids) = with_certificates(&["a", "b", "c", "d", "e"]).await;
    tag(&ccm, &ids[0], &[("env", "prod"), ("team", "web")]).await;
    tag(&ccm, &ids[1], &[("env", "test"), ("team", "web")]).await;
    tag(&ccm, &ids[2], &[("env", "prod")]).await;
    tag(&ccm, &ids[3], &[("team", "mail")]).await;
    let key = |key: &str, values: &[&str]| json!({"key": key, "values": values});
    let prod = || key("env", &["prod"]);
    let web = || key("team", &["web"]);
    let cases = [
        (json!({}), "e d c b a"),
        (json!({"tags": [prod()]}), "c a"),
        (json!({"tags": [prod(), web()]}), "a"),
        (json!({"tags": [key("env", &["prod", "test"])]}), "c b a"),
        (json!({"tags": [key("team", &[])]}), "d b a"),
        (json!({"tags": [key("missing", &[])]}), ""),
        (json!({"tags_any": [prod(), web()]}), "c b a"),
        (
            json!({"tags_any": [key("env", &["test"]), key("team", &["mail"])]}),
            "d b",
        ),
        (json!({"not_tags": [prod()]}), "e d b"),
        (json!({"not_tags": [prod(), web()]}), "e d"),
        (json!({"not_tags_any": [prod()]}), "e d b"),
        (json!({"not_tags_any": [prod(), web()]}), "e d c b"),
        (json!({"tags": [web()], "not_tags": [prod()]}), "b"),
        (
            json!({"tags_any": [prod(), web()], "not_tags_any": [prod(), web()]}),
            "c b",
        ),
        (json!({"without_any_tag": true}), "e"),
        // The other fields are not looked at then.
        (json!({"without_any_tag": true, "tags": [prod()]}), "e"),
        (json!({"without_any_tag": false, "tags": [prod()]}), "c a"),
        (
            json!({"matches": [{"key": "resource_name", "value": "C"}]}),
            "c",
        ),
        (
            json!({"matches": [{"key": "resource_id", "value": ids[3]}]}),
            "d",
        ),
        (
            json!({"matches": [{"key": "resource_name", "value": "a"}], "not_tags": [prod()]}),
            "",
        ),
        (json!({"matches": []}), "e d c b a"),
    ];
    for (filter, names) in cases {
        assert_eq!(found(&ccm, filter.clone()).await, names, "{filter}");
    }
}

#[tokio::test]
async fn a_certificate_that_is_found_comes_with_its_tags_and_details() {
    let (ccm, ids) = with_certificates(&["a", "b"]).await;
    tag(&ccm, &ids[0], &[("key1", "value1"), ("key2", "value2")]).await;
    let body =
        json!({"action": "filter", "tags": [{"key": "key1", "values": ["value1", "value2"]}]});
    let answer = post(&ccm, FILTER, &body).await.expect(200).body;
    let resource = &answer["resources"][0];
    assert_eq!(resource["resource_id"], ids[0].as_str());
    assert_eq!(
        resource["tags"],
        json!([{"key": "key1", "value": "value1"}, {"key": "key2", "value": "value2"}])
    );
    let detail = &resource["resource_detail"];
    assert_eq!(detail["cert_id"], ids[0].as_str());
    assert_eq!(detail["domain"], "www.example.com");
    assert_eq!(detail["order_status"], "UPLOAD");
    assert_eq!(detail["domain_type"], "SINGLE_DOMAIN");
    assert_eq!(detail["purchase_period"], 1);
    assert_eq!(detail["expired_time"].as_str().unwrap().len(), 13);
    for field in [
        "cert_type",
        "cert_brand",
        "fail_reason",
        "partner_order_id",
        "push_support",
        "cert_issued_time",
        "unsubscribe_support",
        "origin_cert_id",
        "renewal_cert_id",
        "auto_renew_status",
        "remain_cert_number",
        "auto_deploy_support",
        "wildcard_number",
        "sans",
        "cert_des",
        "signature_algorithm",
    ] {
        assert!(detail.get(field).is_some(), "{field} is missing: {detail}");
    }
}

#[tokio::test]
async fn certificates_by_tag_come_in_pages() {
    let names: Vec<String> = (0..12).map(|nth| format!("n{nth:02}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let (ccm, ids) = with_certificates(&names).await;
    for id in &ids {
        tag(&ccm, id, &[("env", "prod")]).await;
    }
    let body = |offset: i64| json!({"tags": [{"key": "env", "values": []}], "limit": 10, "offset": offset});
    let page = post(&ccm, FILTER, &body(0)).await.expect(200).body;
    assert_eq!(page["total_count"], 12);
    assert_eq!(page["resources"].as_array().unwrap().len(), 10);
    let rest = post(&ccm, FILTER, &body(10)).await.expect(200).body;
    assert_eq!(rest["resources"].as_array().unwrap().len(), 2);
    assert_eq!(rest["resources"][1]["resource_name"], "n00");
    // Beyond the hundred of other lists: this one has no such bound.
    assert_eq!(
        post(&ccm, FILTER, &body(1000)).await.expect(200).body["resources"],
        json!([])
    );
}

#[tokio::test]
async fn what_breaks_a_limit_of_the_filter_is_refused() {
    let (ccm, _) = with_certificates(&[]).await;
    let key = |count: usize| {
        let keys = (0..count).map(|n| json!({"key": n.to_string(), "values": []}));
        keys.collect::<Vec<Value>>()
    };
    let values: Vec<String> = (0..21).map(|n| n.to_string()).collect();
    let matches: Vec<Value> = (0..11).map(|_| json!({"key": "resource_name"})).collect();
    let cases = [
        (json!({"action": "list"}), "SCM.0304"),
        (json!({"limit": 11}), "SCM.0318"),
        (json!({"offset": -1}), "SCM.0319"),
        (json!({"without_any_tag": "perhaps"}), "SCM.0323"),
        (json!({"tags": []}), "SCM.0313"),
        (json!({"tags_any": key(21)}), "SCM.0313"),
        (json!({"not_tags": [{"values": []}]}), "SCM.0310"),
        (json!({"not_tags_any": [{"key": "a"}]}), "SCM.0312"),
        (
            json!({"tags": [{"key": "a", "values": values}]}),
            "SCM.0312",
        ),
        (
            json!({"tags": [{"key": "a", "values": ["b", "b"]}]}),
            "SCM.0312",
        ),
        (
            json!({"tags": [{"key": "a", "values": ["x".repeat(256)]}]}),
            "SCM.0309",
        ),
        (json!({"tags": [{"key": "a", "values": ["*"]}]}), "SCM.0305"),
        (json!({"tags": [{"key": "a;", "values": []}]}), "SCM.0306"),
        (
            json!({"tags": [{"key": "a", "values": []}, {"key": "a", "values": ["b"]}]}),
            "SCM.0311",
        ),
        (
            json!({"matches": [{"key": "colour", "value": "a"}]}),
            "SCM.0303",
        ),
        (json!({"matches": [{"value": "a"}]}), "SCM.0303"),
        (
            json!({"matches": [{"key": "resource_name", "value": "a"}, {"key": "resource_name", "value": "b"}]}),
            "SCM.0303",
        ),
        (json!({"matches": matches}), "SCM.0303"),
        (
            json!({"matches": [{"key": "resource_id", "value": "short"}]}),
            "SCM.0314",
        ),
    ];
    for (body, code) in cases {
        let reply = post(&ccm, FILTER, &body).await;
        assert_eq!(
            (reply.status, reply.body["error_code"].as_str()),
            (400, Some(code)),
            "{body}: {}",
            reply.body
        );
    }
    post(&ccm, "/v3/scm/resource-instances/action", &json!({}))
        .await
        .refused(400, "SCM.0005");
}
