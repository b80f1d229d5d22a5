//! SCM's version 2, its operations on certificates (CCM API 7.1): another face of the same state.

use renewd::model::Seconds;
use serde_json::{Value, json};

use super::http::{delete, get, post, put};
use super::openssl::{self, EC, csr, self_signed};
use crate::support::ccm::{Ccm, Wanted};

/// A path of version 2 in the user's project.
fn path(ccm: &Ccm, rest: &str) -> String {
    format!("/v2/{}/scm/{rest}", ccm.user.project_id)
}

async fn uploaded(ccm: &Ccm, name: &str, names: &str, days: &str) -> String {
    let (certificate, key) = self_signed("www.example.com", names, days);
    let body = json!({"cert_name": name, "cert": certificate, "private_key": key});
    post(ccm, &path(ccm, "cert/upload"), &body)
        .await
        .expect(200)
        .text("cert_id")
}

#[tokio::test]
async fn version_2_and_version_3_show_the_same_certificates() {
    let ccm = Ccm::start().await;
    let names = "DNS:www.example.com,DNS:*.example.org";
    let id = uploaded(&ccm, "test", names, "30").await;
    let shown = get(&ccm, &path(&ccm, &format!("cert/{id}")))
        .await
        .expect(200)
        .body;
    assert_eq!(shown["cert_id"], id.as_str());
    assert_eq!(shown["cert_name"], "test");
    assert_eq!(shown["status"], "UPLOAD");
    assert_eq!(shown["domain_name"], "www.example.com;*.example.org");
    assert_eq!(shown["domain_type"], "MULTI_DOMAIN");
    assert_eq!(shown["domain_number"], 2);
    assert_eq!(shown["push_support"], "on");
    assert_eq!(shown["DNS_push_status"], "NONE");
    let v3 = get(&ccm, &format!("/v3/scm/certificates/{id}"))
        .await
        .expect(200)
        .body;
    assert_eq!(v3["name"], "test");
    let list = get(&ccm, &path(&ccm, "certlist")).await.expect(200).body;
    assert_eq!(list["total"], 1);
    assert_eq!(list["free_remain"], 20);
    let entry = &list["order_list"][0];
    assert_eq!(entry["cert_id"], id.as_str());
    assert_eq!(entry["order_status"], "UPLOAD");
    assert_eq!(entry["purchase_period"], 1);
    assert_eq!(
        (&entry["domain_num"], &entry["wildcard_number"]),
        (&json!(2), &json!(1))
    );
    assert_eq!(entry["expired_time"].as_str().unwrap().len(), 13);
    let done = delete(&ccm, &path(&ccm, &format!("cert/{id}")))
        .await
        .expect(200);
    assert_eq!(done.body, json!({"message": "success"}));
    get(&ccm, &format!("/v3/scm/certificates/{id}"))
        .await
        .refused(404, "SCM.0094");
}

#[tokio::test]
async fn a_project_that_is_not_the_caller_s_is_refused_everywhere() {
    let ccm = Ccm::start().await;
    let id = uploaded(&ccm, "test", "DNS:www.example.com", "30").await;
    let admin = ccm.running.admin();
    let other = admin
        .add_user_with("other", "elsewhere", "*")
        .await
        .unwrap();
    for project in [other.project_id.as_str(), "unknown"] {
        let at = |rest: &str| format!("/v2/{project}/scm/{rest}");
        let request = csr(EC, &["-subj", "/CN=a.example"]);
        let (certificate, key) = self_signed("a.example", "DNS:a.example", "30");
        let replies = [
            get(&ccm, &at("certlist")).await,
            get(&ccm, &at(&format!("cert/{id}"))).await,
            put(
                &ccm,
                &at(&format!("cert/{id}")),
                &json!({"modify_key": "CERT_NAME", "modify_value": "x"}),
            )
            .await,
            get(&ccm, &at("cert/product")).await,
            get(&ccm, &at("product/00301-106101-0--0")).await,
            post(&ccm, &at("check-csr"), &json!({"csr": request})).await,
            delete(&ccm, &at(&format!("cert/{id}"))).await,
            get(&ccm, &at(&format!("cert/{id}/cert_file"))).await,
            post(
                &ccm,
                &at("cert/upload"),
                &json!({"cert_name": "x", "cert": certificate, "private_key": key}),
            )
            .await,
            post(
                &ccm,
                &at(&format!("cert/{id}/push")),
                &json!({"service_type": "WAF", "remote_project": "ap-southeast-1"}),
            )
            .await,
            get(&ccm, &at(&format!("cert/{id}/push-history"))).await,
        ];
        for reply in replies {
            reply.refused(403, "SCM.0002");
        }
    }
}

#[tokio::test]
async fn the_list_of_version_2_has_filters_orders_and_pages() {
    let ccm = Wanted::new().at("2027-01-01").start().await;
    for (name, days) in [("d100", "100"), ("d200", "200"), ("d300", "300")] {
        let (certificate, key) = self_signed("www.example.com", "DNS:www.example.com", days);
        ccm.import_scm(name, "UPLOAD", &certificate, "", &key).await;
        ccm.advance(Seconds(1));
    }
    let names = |query: &str| {
        let target = path(&ccm, &format!("certlist?{query}"));
        let ccm = &ccm;
        async move {
            let body = get(ccm, &target).await.expect(200).body;
            let list = body["order_list"].as_array().unwrap();
            let names = list.iter().map(|c| c["cert_name"].as_str().unwrap());
            names.collect::<Vec<_>>().join(" ")
        }
    };
    assert_eq!(names("").await, "d300 d200 d100");
    assert_eq!(
        names("order_status=&content=&sort_key=&sort_dir=&limit=&offset=").await,
        "d300 d200 d100"
    );
    assert_eq!(
        names("sort_key=certExpiredTime&sort_dir=ASC").await,
        "d100 d200 d300"
    );
    assert_eq!(names("offset=1").await, "d200 d100");
    assert_eq!(names("content=D2").await, "d200");
    assert_eq!(names("order_status=ISSUED").await, "");
    ccm.advance(Seconds::days(120));
    assert_eq!(names("order_status=EXPIRED").await, "d100");
    for (query, code) in [
        ("limit=30", "SCM.0005"),
        ("offset=0", "SCM.0005"),
        ("offset=31", "SCM.0005"),
        ("sort_key=name", "SCM.0005"),
        ("order_status=CHECKING_ORG", "SCM.0072"),
    ] {
        get(&ccm, &path(&ccm, &format!("certlist?{query}")))
            .await
            .refused(400, code);
    }
}

#[tokio::test]
async fn name_and_description_are_modified_within_their_limits() {
    let ccm = Ccm::start().await;
    let id = uploaded(&ccm, "test", "DNS:www.example.com", "30").await;
    let target = path(&ccm, &format!("cert/{id}"));
    let modify = |key: &str, value: Value| json!({"modify_key": key, "modify_value": value});
    let done = put(&ccm, &target, &modify("CERT_NAME", json!("ssssaaaa")))
        .await
        .expect(200);
    assert_eq!(done.body, json!({"response_info": "success"}));
    let note = "d".repeat(255);
    put(&ccm, &target, &modify("description", json!(note)))
        .await
        .expect(200);
    let shown = get(&ccm, &target).await.expect(200).body;
    assert_eq!(shown["cert_name"], "ssssaaaa");
    assert_eq!(shown["cert_describe"], note);
    put(&ccm, &target, &modify("DESCRIPTION", Value::Null))
        .await
        .expect(200);
    let shown = get(&ccm, &target).await.expect(200).body;
    assert_eq!(shown["cert_describe"], Value::Null);
    for (body, code) in [
        (modify("COLOUR", json!("red")), "SCM.0023"),
        (json!({"modify_value": "x"}), "SCM.0023"),
        (json!({"modify_key": "DESCRIPTION"}), "SCM.0024"),
        (modify("CERT_NAME", Value::Null), "SCM.0024"),
        (modify("CERT_NAME", json!("")), "SCM.0024"),
        (modify("CERT_NAME", json!("a_b")), "SCM.0024"),
        (modify("CERT_NAME", json!("n".repeat(64))), "SCM.0024"),
        (modify("DESCRIPTION", json!("d".repeat(256))), "SCM.0024"),
    ] {
        put(&ccm, &target, &body).await.refused(400, code);
    }
    put(
        &ccm,
        &path(&ccm, "cert/scs0000000000000"),
        &modify("CERT_NAME", json!("x")),
    )
    .await
    .refused(404, "SCM.0094");
}

#[tokio::test]
async fn every_product_is_shown_and_unknown_ones_are_not() {
    let ccm = Ccm::start().await;
    let all = get(&ccm, &path(&ccm, "cert/product"))
        .await
        .expect(200)
        .body;
    let all = all["type_list"].as_array().unwrap();
    assert_eq!(all.len(), 60);
    let mut seen = std::collections::BTreeSet::new();
    for product in all {
        let id = product["product_id"].as_str().unwrap();
        assert!(seen.insert(id), "{id} twice");
        let shown = get(&ccm, &path(&ccm, &format!("product/{id}")))
            .await
            .expect(200)
            .body;
        for field in ["cert_type", "cert_brand", "domain_type", "effective_time"] {
            assert_eq!(shown[field], product[field], "{id}");
        }
        assert!(
            product["cert_type"] != "EV_SSL_CERT" || product["domain_type"] != "WILDCARD",
            "{product}"
        );
    }
    get(&ccm, &path(&ccm, "product/00301-106005-0--0"))
        .await
        .refused(404, "SCM.0094");
}

#[tokio::test]
async fn a_csr_is_checked_and_its_domain_told() {
    let ccm = Ccm::start().await;
    let target = path(&ccm, "check-csr");
    let sound = csr(EC, &["-subj", "/CN=a.example1.com"]);
    // In the spelling of the example.
    let sound = sound.replace("CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST");
    let told = post(&ccm, &target, &json!({"csr": sound}))
        .await
        .expect(200)
        .body;
    assert_eq!(
        told,
        json!({"domain_name": "a.example1.com", "domain": "a.example1.com"})
    );
    let nameless = csr(EC, &["-subj", "/O=Company"]);
    for (given, code) in [
        (json!(nameless), "SCM.0033"),
        (json!("x"), "SCM.0034"),
        (json!(""), "SCM.0034"),
        (Value::Null, "SCM.0034"),
    ] {
        post(&ccm, &target, &json!({"csr": given}))
            .await
            .refused(400, code);
    }
}

#[tokio::test]
async fn an_upload_of_version_2_is_checked_like_an_import() {
    let ccm = Ccm::start().await;
    let target = path(&ccm, "cert/upload");
    let (certificate, key) = self_signed("www.example.com", "DNS:www.example.com", "30");
    let (_, other) = self_signed("www.example.com", "DNS:www.example.com", "30");
    let with = |name: Value, certificate: &str, key: &str| json!({"cert_name": name, "cert": certificate, "private_key": key});
    for (body, code) in [
        (with(json!("test"), &certificate, &other), "SCM.0014"),
        (with(json!("test"), "x", &key), "SCM.0006"),
        (with(json!("test"), &certificate, "x"), "SCM.0012"),
        (with(json!("n".repeat(64)), &certificate, &key), "SCM.0032"),
        (with(Value::Null, &certificate, &key), "SCM.0032"),
    ] {
        post(&ccm, &target, &body).await.refused(400, code);
    }
    let body = with(json!(""), &certificate, &key);
    let id = post(&ccm, &target, &body).await.expect(200).text("cert_id");
    let shown = get(&ccm, &path(&ccm, &format!("cert/{id}"))).await;
    assert!(shown.text("cert_name").starts_with("scm-"));
}

#[tokio::test]
async fn the_archive_of_a_certificate_opens_in_every_form() {
    let ccm = Ccm::start().await;
    let (certificate, key) = self_signed("www.example.com", "DNS:www.example.com", "30");
    let id = ccm
        .import_scm("www", "UPLOAD", &certificate, "", &key)
        .await;
    let reply = get(&ccm, &path(&ccm, &format!("cert/{id}/cert_file")))
        .await
        .expect(200);
    assert_eq!(reply.header("content-type"), Some("application/zip"));
    let wanted = format!("attachment; filename=\"{id}.zip\"");
    assert_eq!(reply.header("content-disposition"), Some(wanted.as_str()));
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("a.zip"), &reply.bytes).unwrap();
    let program = "import sys, zipfile; z = zipfile.ZipFile('a.zip'); assert z.testzip() is None; z.extractall()";
    let unpacked = std::process::Command::new("python3")
        .args(["-c", program])
        .current_dir(directory.path())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&unpacked.stderr).into_owned();
    assert!(unpacked.status.success(), "{errors}");
    let read = |name: &str| std::fs::read_to_string(directory.path().join(name)).unwrap();
    for name in ["Apache/server.crt", "Nginx/server.crt"] {
        assert_eq!(read(name), certificate);
    }
    for name in ["Apache/server.key", "Nginx/server.key"] {
        assert_eq!(read(name), key);
    }
    let password = format!("pass:{}", read("IIS/keystorePass.txt"));
    let opened = openssl::said(
        directory.path(),
        &[
            "pkcs12",
            "-in",
            "IIS/server.pfx",
            "-nodes",
            "-passin",
            &password,
        ],
    );
    assert!(opened.contains("PRIVATE KEY") && opened.contains("BEGIN CERTIFICATE"));
    let listed = std::process::Command::new("keytool")
        .args(["-list", "-keystore", "Tomcat/server.jks", "-storepass"])
        .arg(read("Tomcat/keystorePass.txt"))
        .current_dir(directory.path())
        .output()
        .unwrap();
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(listed.contains("PrivateKeyEntry"), "{listed}");
}

#[tokio::test]
async fn the_last_ten_pushes_are_remembered_the_newest_first() {
    let ccm = Wanted::new().at("2027-01-01").start().await;
    let id = uploaded(&ccm, "test", "DNS:www.example.com", "900").await;
    let target = path(&ccm, &format!("cert/{id}/push"));
    let history = path(&ccm, &format!("cert/{id}/push-history"));
    assert_eq!(
        get(&ccm, &history).await.expect(200).body,
        json!({"push_history_list": []})
    );
    for nth in 0..12 {
        let service = if nth == 11 { "CDN" } else { "WAF" };
        let body = json!({"service_type": service, "remote_project": "ap-southeast-1"});
        let done = post(&ccm, &target, &body).await.expect(200);
        assert_eq!(done.body, json!({"message": "success"}));
        ccm.advance(Seconds(1));
    }
    // Not known to version 2.
    let body = json!({"target_service": "ELB", "target_project": "ap-southeast-1"});
    post(&ccm, &format!("/v3/scm/certificates/{id}/push"), &body)
        .await
        .expect(204);
    let told = get(&ccm, &history).await.expect(200).body;
    let told = told["push_history_list"].as_array().unwrap();
    assert_eq!(told.len(), 10);
    assert_eq!(
        told[0],
        json!({"push_time": "1798761611000", "push_remote_project": null, "push_service": "CDN"})
    );
    assert_eq!(
        told[1],
        json!({
            "push_time": "1798761610000", "push_remote_project": "ap-southeast-1", "push_service": "WAF",
        })
    );
    for (body, code) in [
        (
            json!({"service_type": "ELB", "remote_project": "ap-southeast-1"}),
            "SCM.0030",
        ),
        (
            json!({"service_type": "WAF", "remote_project": "moon-1"}),
            "SCM.0224",
        ),
        (json!({"service_type": "WAF"}), "SCM.0061"),
    ] {
        post(&ccm, &target, &body).await.refused(400, code);
    }
}
