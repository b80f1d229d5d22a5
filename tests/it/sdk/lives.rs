//! Whole life cycles by Huawei's own SDK (`tests/sdk`), over AK/SK, temporary keys and TLS.

use std::collections::BTreeSet;

use renewd::ccm_server::{NewResource, ScmOptions, TlsSource};
use serde_json::{Value, json};

use crate::ccm_server::http::{self, Send};
use crate::sdk::{run, scripts};
use crate::support::ccm::{Ccm, Wanted};

/// What the life cycles need to know.
async fn account(ccm: &Ccm) -> Value {
    let admin = ccm.running.admin();
    admin.add_bucket("life-bucket", "default").await.unwrap();
    let resource = NewResource {
        account: "default".to_owned(),
        service: "WAF".to_owned(),
        region: ccm.user.project.clone(),
        name: "www.life.example".to_owned(),
        kind: None,
        enterprise_project: "0".to_owned(),
    };
    let resource = admin.add_resource(resource).await.unwrap();
    json!({
        "endpoint": ccm.endpoint(),
        "access_key": ccm.access_key(),
        "secret_key": ccm.secret_key(),
        "domain_id": ccm.user.domain_id,
        "region": ccm.user.project,
        "bucket": "life-bucket",
        "resource": resource["id"],
    })
}

/// Runs them; what the driver says it did.
async fn live(account: &Value) -> Value {
    let driver = scripts().join("run.py");
    let driver = driver.to_str().unwrap();
    let output = run(
        "python",
        &["-W", "error::SyntaxWarning", driver],
        account.to_string(),
    )
    .await;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn texts(value: &Value) -> BTreeSet<String> {
    let items = value.as_array().unwrap().iter();
    items
        .map(|item| item.as_str().unwrap().to_owned())
        .collect()
}

/// The chapters of the reference that the server has in its table.
async fn served(ccm: &Ccm) -> BTreeSet<String> {
    let document = Send::new("GET", "/openapi.json")
        .send(ccm)
        .await
        .expect(200)
        .body;
    let paths = document["paths"].as_object().unwrap().values();
    let methods = paths.flat_map(|path| path.as_object().unwrap().values());
    let chapters = methods.map(|method| method["x-chapter"].as_str().unwrap().to_owned());
    // What IAM has is in no chapter.
    chapters
        .filter(|chapter| chapter.starts_with(|c: char| c.is_ascii_digit()))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_official_sdk_goes_through_every_operation_that_is_served() {
    // Where the life cycles answer for names. The port is free again when they begin, and nobody else takes one of this
    // address.
    let socket = std::net::UdpSocket::bind("127.53.0.1:0").unwrap();
    let names = socket.local_addr().unwrap();
    drop(socket);
    let scm = ScmOptions {
        dns_servers: vec![names],
        ..ScmOptions::default()
    };
    let ccm = Wanted::new().scm(scm).start().await;
    let mut account = account(&ccm).await;
    account["dns"] = names.to_string().into();
    let done = live(&account).await;
    let gone_through = texts(&done["chapters"]);
    let served = served(&ccm).await;
    let left: Vec<&String> = served.difference(&gone_through).collect();
    let mut version_2: Vec<String> = (1..=21).map(|n| format!("7.1.{n}")).collect();
    version_2.sort();
    assert_eq!(left, version_2.iter().collect::<Vec<_>>(), "{NOT_IN_SDK}");
    assert!(gone_through.is_subset(&served) && served.len() == 70);
    // What a life cycle says it needs, it also asked for.
    let asked = |chapter: &&String| ccm.running.requests_of(chapter) > 0;
    let unasked: Vec<&String> = gone_through.iter().filter(|one| !asked(one)).collect();
    assert!(unasked.is_empty(), "declared, never sent: {unasked:?}");
    assert_eq!(gone_through.len(), 49);
    // The last of the life cycles bought what the resource serves.
    let resources = ccm.running.admin().resources("default").await.unwrap();
    assert_eq!(resources.len(), 1);
    assert!(done["served"].is_string(), "{done}");
    assert_eq!(resources[0]["fingerprint"], done["served"]);
    println!("{done}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_official_sdk_works_with_temporary_keys_and_over_tls() {
    let tls = TlsSource::Own { names: Vec::new() };
    let ccm = Wanted::new().tls(tls).start().await;
    let root = ccm.root_pem().await;
    let mut account = account(&ccm).await;
    let wish =
        json!({"auth": {"identity": {"methods": ["token"], "token": {"duration_seconds": 900}}}});
    // Installs the provider of TLS for this process.
    let _ = http::client();
    let client = reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only([reqwest::Certificate::from_pem(root.as_bytes()).unwrap()]);
    let send = Send::new("POST", "/v3.0/OS-CREDENTIAL/securitytokens").json(&wish);
    let send = send.by_user(&ccm);
    let mut request = client
        .build()
        .unwrap()
        .post(format!("{}{}", ccm.endpoint(), send.target))
        .body(send.body);
    for (name, value) in &send.headers {
        request = request.header(name, value);
    }
    let made: Value = request.send().await.unwrap().json().await.unwrap();
    for (to, from) in [
        ("access_key", "access"),
        ("secret_key", "secret"),
        ("security_token", "securitytoken"),
    ] {
        account[to] = made["credential"][from].clone();
    }
    account["root"] = root.into();
    account["only"] = json!(["certificate_by_request", "imported_certificate"]);
    let done = live(&account).await;
    assert_eq!(done["lives"], account["only"]);
}

const NOT_IN_SDK: &str = "the SDK has no method for version 2 of SCM, which is gone through by typed commands \
    (`cli::ccm::scm`), and has one for everything else";
